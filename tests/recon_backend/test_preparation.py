"""Preparation: hard scans, choices and their record, delays, wrong angles, bounded memory."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest

from recon_backend import coils, device
from recon_backend import preparation as preparation_module
from recon_backend.acquisition import Acquisition
from recon_backend.compressed_sensing import CompressedSensingSettings, compressed_sensing
from recon_backend.errors import ReconstructionError
from recon_backend.fourier import NonuniformFourier, centred_fft, centred_ifft
from recon_backend.preparation import NORMALISATION_RULE, PEAK_RULE, Prepared, prepare
from recon_backend.radial_checks import check_radial
from recon_backend.reconstruct import reconstruct
from recon_backend.sampling.density import density_weights
from recon_backend.sampling.presets import preset_sampling
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.sampling.spiral import SpiralDesign, spiral_trajectory

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend


def coil_maps(count: int, matrix: tuple[int, int]) -> np.ndarray:
    """Smooth unit-norm maps (coil, y, x)."""
    y, x = np.mgrid[-1 : 1 : matrix[0] * 1j, -1 : 1 : matrix[1] * 1j]
    angle = 2 * np.pi * np.arange(count) / count
    maps = np.stack(
        [np.exp(-((x - np.cos(a)) ** 2) - (y - np.sin(a)) ** 2) * np.exp(1j * (a + x)) for a in angle]
    )
    return (maps / np.sqrt((np.abs(maps) ** 2).sum(0))).astype(np.complex64)


def disc_movie(frames: int, matrix: tuple[int, int]) -> np.ndarray:
    """A soft disc with a pulsing middle, peak about 1."""
    y, x = np.mgrid[-1 : 1 : matrix[0] * 1j, -1 : 1 : matrix[1] * 1j]
    radius = np.hypot(y, x)
    outer = 1 / (1 + np.exp(20 * (radius - 0.7)))
    size = 0.25 * (1 + 0.3 * np.sin(2 * np.pi * np.arange(frames) / 8))[:, None, None]
    inner = 1 / (1 + np.exp(20 * (radius - size)))
    return (0.6 * outer + 0.4 * inner).astype(np.complex64)


def scan(sampling: str, frames: int, matrix: tuple[int, int], count: int, **changes: Any) -> Acquisition:
    """A scan of `disc_movie` with known maps."""
    images = coil_maps(count, matrix)[:, None] * disc_movie(frames, matrix)
    rng = np.random.default_rng(1)
    mask, trajectory = None, None
    if sampling == "cartesian":
        mask = rng.random((frames, matrix[0])) < 0.3
        mask[:, matrix[0] // 2 - 3 : matrix[0] // 2 + 3] = True
        kspace = (centred_fft(images, (2, 3)) * mask[None, :, :, None]).astype(np.complex64)
    else:
        if sampling == "radial":
            trajectory = radial_trajectory(frames, 13, 2 * max(matrix))
        else:
            design = SpiralDesign(matrix=max(matrix), field_of_view_m=0.2, dwell_s=5.6e-6, full_arms=12)
            trajectory = spiral_trajectory(frames, 11, design=design)
        kspace = NonuniformFourier(trajectory, matrix, tolerance=1e-5).forward(images)
    made = Acquisition(
        sampling=sampling,  # type: ignore[arg-type]
        kspace=kspace,
        matrix=matrix,
        field_of_view_mm=(3.0 * matrix[0], 3.0 * matrix[1]),
        frame_times_s=0.05 * np.arange(frames, dtype=np.float64),
        mask=mask,
        trajectory=trajectory,
    )
    return dataclasses.replace(made, **changes)


def averaged_image(prepared: Prepared) -> np.ndarray:
    """Magnitude of the combined time average."""
    total = prepared.zero_filled(0, prepared.frames).mean(axis=1)
    return np.abs(coils.combine(total, prepared.sensitivities))


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
@pytest.mark.parametrize(("matrix", "count"), [((40, 40), 1), ((41, 41), 3), ((36, 48), 14)])
def test_odd_and_oblong_matrices_one_coil_and_many(
    sampling: str, matrix: tuple[int, int], count: int
) -> None:
    """Scaled to a peak of about 1, at most ten virtual coils, maps as known."""
    prepared = prepare(scan(sampling, 16, matrix, count))
    assert prepared.kspace.shape[0] == min(10, count)
    assert prepared.sensitivities.shape == (min(10, count), *matrix)
    movie = disc_movie(16, matrix).mean(axis=0).real
    average = averaged_image(prepared)
    if sampling == "cartesian":
        assert prepared.scale == pytest.approx(np.percentile(movie, 99.9), rel=0.15)
    assert np.corrcoef(average.ravel(), movie.ravel())[0, 1] > (0.9 if sampling == "cartesian" else 0.97)
    truth = coils.compress(coil_maps(count, matrix), prepared.compression)
    overlap = np.abs((truth.conj() * prepared.sensitivities).sum(axis=0))[movie > 0.5]
    assert np.median(overlap) > 0.97


def test_frames_with_unequal_numbers_of_lines() -> None:
    """Rows average over the frames that have them; a frame of one line is kept."""
    acquisition = scan("cartesian", 16, (40, 40), 3)
    assert acquisition.mask is not None
    mask = acquisition.mask.copy()
    mask[3, :] = False
    mask[3, 20] = True
    mask[7, 10:30] = True
    images = coil_maps(3, (40, 40))[:, None] * disc_movie(16, (40, 40))
    kspace = (centred_fft(images, (2, 3)) * mask[None, :, :, None]).astype(np.complex64)
    prepared = prepare(dataclasses.replace(acquisition, kspace=kspace, mask=mask))
    # By definition: mean over the frames that measured a row, compressed, both FFTs.
    counts = np.maximum(mask.sum(axis=0), 1)[:, None]
    average = centred_ifft(kspace.sum(axis=1) / counts, (1, 2)).astype(np.complex64)
    virtual = coils.compress(average, prepared.compression)
    maps = coils.inati_sensitivities(coils.low_resolution(virtual))
    np.testing.assert_allclose(prepared.sensitivities, maps, atol=1e-3)
    scale = np.percentile(np.abs(coils.combine(virtual, maps)), 99.9)
    assert prepared.scale == pytest.approx(scale, rel=1e-4)
    expected = coils.compress(centred_ifft(kspace, (3,)).astype(np.complex64), prepared.compression) / scale
    np.testing.assert_allclose(prepared.kspace, expected, atol=1e-4)
    assert not prepared.kspace[:, ~mask].any()


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
def test_frames_with_missing_readouts(sampling: str) -> None:
    """Readouts not acquired weigh nothing; the others of that frame share k-space among them."""
    acquisition = scan(sampling, 16, (40, 40), 3)
    mask = np.ones(acquisition.kspace.shape[1:3], bool)
    mask[15, 4:] = False
    kspace = acquisition.kspace.copy()
    kspace[:, ~mask] = 0
    prepared = prepare(dataclasses.replace(acquisition, kspace=kspace, readout_mask=mask))
    assert prepared.weights is not None
    assert not prepared.weights[15, 4:].any() and prepared.weights[15, :4, 5:].all()
    complete = averaged_image(prepare(acquisition))
    found = averaged_image(prepared)
    # One of 16 frames is aliased; the scale is that of the others.
    assert np.linalg.norm(found - complete) < 0.06 * np.linalg.norm(complete)
    assert (found * complete).sum() / (complete**2).sum() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("how", ["inati", "espirit", "walsh"])
@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
def test_choice_of_sensitivities_is_made_and_recorded(how: Any, sampling: str) -> None:  # noqa: ANN401
    prepared = prepare(scan(sampling, 16, (48, 48), 4), sensitivities=how)
    assert prepared.settings["sensitivities"] == how
    movie = disc_movie(16, (48, 48)).mean(axis=0).real
    truth = coils.compress(coil_maps(4, (48, 48)), prepared.compression)
    overlap = np.abs((truth.conj() * prepared.sensitivities).sum(axis=0))[movie > 0.5]
    assert np.median(overlap) > 0.98
    norm = np.sqrt((np.abs(prepared.sensitivities) ** 2).sum(axis=0))
    assert np.all((np.abs(norm - 1) < 1e-3) | (norm == 0))
    default = prepare(scan(sampling, 16, (48, 48), 4))
    assert default.settings["sensitivities"] == "inati"


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="'jsense'"):
        prepare(scan("cartesian", 16, (40, 40), 2), sensitivities="jsense")  # type: ignore[arg-type]


def test_espirit_with_few_complete_rows() -> None:
    """Only six central rows were ever acquired: the calibration region keeps to them."""
    acquisition = scan("cartesian", 16, (40, 40), 3)
    mask = np.zeros((16, 40), bool)
    mask[:, 17:23] = True
    kspace = acquisition.kspace * mask[None, :, :, None]
    few = dataclasses.replace(acquisition, kspace=kspace, mask=mask)
    prepared = prepare(few, sensitivities="espirit")
    assert np.isfinite(prepared.sensitivities).all() and prepared.sensitivities.any()


# --- delays and angles -------------------------------------------------------------------------------------


MATRIX, FRAMES = 64, 16


def radial(radial_scans: Any, trajectory: np.ndarray, sampled: np.ndarray, **options: Any) -> Acquisition:  # noqa: ANN401
    """A scan that claims `trajectory` but was sampled along another one."""
    return Acquisition(
        sampling="radial",
        kspace=radial_scans.samples(sampled, MATRIX, coils=6, noise=2e-4, motion=0.15, **options),
        matrix=(MATRIX, MATRIX),
        field_of_view_mm=(300.0, 300.0),
        frame_times_s=0.04 * np.arange(len(trajectory), dtype=np.float64),
        trajectory=trajectory.astype(np.float32),
        name="made",
    )


def shifted(nominal: np.ndarray, samples: float) -> np.ndarray:
    """Every spoke runs `samples` late along itself."""
    exact = nominal.astype(float)
    return exact + samples * (exact[:, :, 1:2] - exact[:, :, :1])


def truth(radial_scans: Any, count: int = 6) -> np.ndarray:
    """Magnitude of the object times the root-sum-of-squares of its coils, from a 8 × finer grid."""
    fine = 8
    axis = (np.arange(MATRIX * fine) - MATRIX * fine // 2) / (MATRIX * fine)
    y, x = axis[:, None], axis
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((count, 4)) + 1j * rng.standard_normal((count, 4))
    mixing[:, 0] *= 1.5
    shifts = [(0, 0), (0.45, 0), (-0.2, 0.4), (0.1, -0.45)]
    waves = np.stack([np.exp(2j * np.pi * (a * y + b * x)) for a, b in shifts])
    coil = np.sqrt((np.abs(np.einsum("cw,wyx->cyx", mixing, waves)) ** 2).sum(0))
    frames = []
    for frame in range(FRAMES):
        image = np.zeros((MATRIX * fine, MATRIX * fine))
        for amplitude, centre_y, centre_x, half_y, half_x in radial_scans.ellipses(frame, 0.15):
            image += amplitude * (((y - centre_y) / half_y) ** 2 + ((x - centre_x) / half_x) ** 2 <= 1)
        # Pixels are centred on the grid points, so the fine grid is moved by half a pixel before averaging.
        image = np.roll(np.abs(image * coil), (fine // 2, fine // 2), (0, 1))
        frames.append(image.reshape(MATRIX, fine, MATRIX, fine).mean(axis=(1, 3)))
    return np.stack(frames)


def error(images: np.ndarray, expected: np.ndarray) -> float:
    """NRMSE of magnitudes after one least-squares scale."""
    images = np.abs(images)
    images = images * (images * expected).sum() / (images**2).sum()
    return float(np.linalg.norm(images - expected) / np.linalg.norm(expected))


def test_delays_are_corrected_by_default_and_the_error_returns(radial_scans: Any) -> None:
    """Half a sample late: uncorrected compressed sensing is far worse, corrected it is as if nothing was."""
    nominal = radial_trajectory(FRAMES, 13, 2 * MATRIX)
    settings = CompressedSensingSettings(regularisation=0.02, weights="root", iterations=20)
    reference = truth(radial_scans)
    errors, gridded = {}, {}
    for name, samples, correct in (("none", 0.0, True), ("left", 0.5, False), ("corrected", 0.5, True)):
        prepared = prepare(radial(radial_scans, nominal, shifted(nominal, samples)), correct_delays=correct)
        record = prepared.settings["gradient_delays"]
        assert (record["s_xx"], record["s_yy"]) == pytest.approx((samples, samples), abs=0.01)
        assert record["s_xy"] == pytest.approx(0, abs=0.01)
        assert record["corrected"] is (name == "corrected")
        assert len(prepared.notes) == (0 if name == "none" else 1)
        errors[name] = error(compressed_sensing(prepared, settings).images, reference)
        whole = prepared.zero_filled(0, FRAMES).mean(axis=1)
        gridded[name] = error(coils.combine(whole, prepared.sensitivities), reference.mean(axis=0))
    assert errors["left"] > 2 * errors["none"]
    assert errors["corrected"] < 1.03 * errors["none"]
    assert gridded["left"] > 1.35 * gridded["none"]
    assert gridded["corrected"] < 1.1 * gridded["none"]


def test_without_delay_nothing_is_changed(radial_scans: Any) -> None:
    """Bit for bit the same with the correction on and off, and the trajectory is the scan's own."""
    nominal = radial_trajectory(FRAMES, 13, 2 * MATRIX)
    acquisition = radial(radial_scans, nominal, nominal)
    on, off = prepare(acquisition), prepare(acquisition, correct_delays=False)
    assert on.fourier is not None and acquisition.trajectory is not None
    assert np.array_equal(on.fourier.trajectory, acquisition.trajectory)
    assert np.array_equal(on.kspace, off.kspace) and np.array_equal(on.sensitivities, off.sensitivities)
    assert on.weights is not None
    assert np.array_equal(
        on.weights, density_weights(acquisition.trajectory, (MATRIX, MATRIX), sampling="radial")
    )


def test_corrected_samples_beyond_the_edge_are_left_out(radial_scans: Any) -> None:
    nominal = radial_trajectory(FRAMES, 13, 2 * MATRIX)
    prepared = prepare(radial(radial_scans, nominal, shifted(nominal, -1.5)))
    assert prepared.fourier is not None and prepared.weights is not None
    assert prepared.settings["gradient_delays"]["s_xx"] == pytest.approx(-1.5, abs=0.01)
    assert np.abs(prepared.fourier.trajectory).max() <= np.float32(np.pi)
    beyond = np.abs(shifted(nominal, -1.5)).max(axis=-1) > np.pi + 0.01
    assert beyond.any() and not prepared.weights[beyond].any()
    assert prepared.weights[~beyond].mean() > 0


def test_wrong_angles_are_noted_and_no_delay_is_corrected(radial_scans: Any) -> None:
    """A trajectory made with the paper's 23.8° for a scan of 23.628°."""
    true = radial_trajectory(FRAMES, 13, 2 * MATRIX)
    claimed = radial_trajectory(FRAMES, 13, 2 * MATRIX, angle=np.deg2rad(23.8))
    acquisition = radial(radial_scans, claimed, true)
    checks = check_radial(acquisition)
    assert checks.delays is None and len(checks.warnings) == 1 and "23.8" in checks.warnings[0]
    prepared = prepare(acquisition)
    assert prepared.notes == checks.warnings
    assert "gradient_delays" not in prepared.settings
    assert check_radial(radial(radial_scans, true, true)).warnings == ()


def test_choices_and_findings_reach_the_provenance(radial_scans: Any) -> None:
    nominal = radial_trajectory(FRAMES, 13, 2 * MATRIX)
    movie = reconstruct(radial(radial_scans, nominal, shifted(nominal, 0.4)), "gridded")
    parameters = movie.provenance["parameters"]
    assert parameters["sensitivities"] == "inati"
    assert parameters["gradient_delays"]["s_xx"] == pytest.approx(0.4, abs=0.01)
    assert parameters["gradient_delays"]["corrected"] is True
    assert any("gradient delays were corrected" in note for note in movie.provenance["notes"])


# --- length ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_blocks_do_not_change_the_result(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long scan is worked on in blocks; the numbers are those of a scan in one piece."""
    acquisition = scan(sampling, 30, (40, 40), 4)
    whole = prepare(acquisition)
    monkeypatch.setattr(preparation_module, "_BLOCK_BYTES", acquisition.kspace.nbytes // 7)
    blocks = prepare(acquisition)
    np.testing.assert_allclose(blocks.scale, whole.scale, rtol=1e-4)
    # Eigenvectors of the coil covariance may turn by rounding; what they combine to may not.
    np.testing.assert_allclose(
        averaged_image(blocks), averaged_image(whole), atol=1e-3 * averaged_image(whole).max()
    )


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
def test_memory_does_not_hold_the_coil_images(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 120 frames of 64² and 8 coils; images of all of them would be 31 MB, blocks are 2 MB."""
    count, frames, matrix = 8, 120, 64
    made = preset_sampling(f"cardiac_{sampling}", frames, matrix=matrix)
    trajectory = made.trajectory
    assert trajectory is not None
    rng = np.random.default_rng(1)
    envelope = np.exp(-3 * np.hypot(trajectory[..., 0], trajectory[..., 1]))
    shape = (count, *trajectory.shape[:3])
    kspace = (envelope * (1 + 0.1 * rng.standard_normal(shape))).astype(np.complex64)
    acquisition = Acquisition(
        sampling=sampling,  # type: ignore[arg-type]
        kspace=kspace,
        matrix=(matrix, matrix),
        field_of_view_mm=(400.0, 400.0),
        frame_times_s=0.05 * np.arange(frames, dtype=np.float64),
        trajectory=trajectory,
    )
    density_weights(trajectory, (matrix, matrix), sampling=sampling)  # kept, so not measured
    monkeypatch.setattr(preparation_module, "_BLOCK_BYTES", 2**20)
    tracemalloc.start()
    prepared = prepare(acquisition, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = prepared.kspace.nbytes + 2 * trajectory.nbytes
    series = count * frames * matrix**2 * 8
    assert peak - kept < 0.5 * series


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
def test_another_rule_scales_the_images_and_shares_the_data(sampling: str) -> None:
    """By the peak of the time-averaged image; for the gain of gridding both rules account."""
    prepared = prepare(scan(sampling, 12, (40, 40), 4))
    assert prepared.scales[NORMALISATION_RULE] == prepared.scale
    assert prepared.under_rule(NORMALISATION_RULE) is prepared
    view = prepared.under_rule(PEAK_RULE)
    assert view.kspace is prepared.kspace and view.scale == prepared.scale
    np.testing.assert_allclose(
        view.zero_filled(2, 5),
        prepared.zero_filled(2, 5) * (prepared.scale / view.scales[PEAK_RULE]),
        rtol=1e-5,
    )
    if sampling == "cartesian":
        lines = prepared.kspace.sum(axis=1) / np.maximum(prepared.acquisition.mask.sum(axis=0), 1)[:, None]
        average = np.abs(coils.combine(centred_ifft(lines, (1,)), prepared.sensitivities))
        assert average.max() * prepared.scale == pytest.approx(view.scales[PEAK_RULE], rel=1e-4)
        assert np.percentile(average, 99.9) == pytest.approx(1, rel=1e-4)
    with pytest.raises(
        ReconstructionError, match="normalisation is 'brightest', but one of p99.9-time-average"
    ):
        prepared.under_rule("brightest")
