"""Pseudo-replicas: the noise that comes out against its covariance in closed form, what is kept, files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recon_backend.acquisition import Acquisition
from recon_backend.compressed_sensing import compressed_sensing
from recon_backend.errors import Cancelled, FormatError, ReconstructionError
from recon_backend.formats import open_acquisition
from recon_backend.options import ReconstructionOptions
from recon_backend.preparation import Prepared, prepare
from recon_backend.pseudo_replica import (
    Noise,
    ReplicaSettings,
    RunningVariance,
    read_masks,
    replicate,
    replicate_file,
)
from recon_backend.reconstruct import Preparation, reconstruct
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.tracking import Status, Tracker

SIZE, FRAMES, COILS = 16, 2, 4
LEVEL = 2e-4


def covariance(seed: int = 3) -> np.ndarray:
    """Coils that differ in loudness by 3 and are correlated by up to 0.6, with phases."""
    rng = np.random.default_rng(seed)
    mix = np.eye(COILS) + 0.4 * (rng.normal(size=(COILS, COILS)) + 1j * rng.normal(size=(COILS, COILS)))
    mix *= np.linspace(1, 3, COILS)[:, None]
    return LEVEL**2 * mix @ mix.conj().T


def dft(points: np.ndarray) -> np.ndarray:
    """The orthonormal transform in words: (sample, pixel) for points (sample, (y, x)) in rad/pixel."""
    y, x = (axis.ravel() - SIZE // 2 for axis in np.mgrid[:SIZE, :SIZE])
    return np.exp(-1j * (points[:, :1] * y + points[:, 1:] * x)) / SIZE


def cartesian_points(rows: np.ndarray) -> np.ndarray:
    ky, kx = np.meshgrid(rows, np.arange(SIZE), indexing="ij")
    return 2 * np.pi * (np.stack([ky.ravel(), kx.ravel()], axis=1) - SIZE // 2) / SIZE


def disc(frame: int) -> np.ndarray:
    """Coil images (coil, pixel) of a disc that fills most of the image."""
    y, x = (axis.ravel() / SIZE - 0.5 for axis in np.mgrid[:SIZE, :SIZE])
    shape = 1 / (1 + np.exp(40 * (np.hypot(y, x) - 0.38 - 0.02 * frame)))
    angles = 2 * np.pi * np.arange(COILS)[:, None] / COILS
    reach = (y - 0.5 * np.sin(angles)) ** 2 + (x - 0.5 * np.cos(angles)) ** 2
    return shape * np.exp(-4 * reach + 1j * (angles + x))


def made_scan(sampling: str, **changes: Any) -> Acquisition:
    """A noise-free scan, so that replicas hold nothing but the noise that was added."""
    mask, trajectory = None, None
    if sampling == "cartesian":
        mask = np.zeros((FRAMES, SIZE), bool)
        mask[0, ::2], mask[1, 1::2], mask[:, 6:11] = True, True, True
        kspace = np.zeros((COILS, FRAMES, SIZE, SIZE), complex)
        for frame in range(FRAMES):
            rows = np.flatnonzero(mask[frame])
            kspace[:, frame, rows] = (disc(frame) @ dft(cartesian_points(rows)).T).reshape(COILS, -1, SIZE)
    else:
        trajectory = radial_trajectory(FRAMES, 9, 2 * SIZE)
        kspace = np.stack(
            [disc(frame) @ dft(trajectory[frame].reshape(-1, 2)).T for frame in range(FRAMES)], axis=1
        ).reshape(COILS, FRAMES, 9, 2 * SIZE)
    made = Acquisition(
        sampling=sampling,  # type: ignore[arg-type]
        kspace=kspace.astype(np.complex64),
        matrix=(SIZE, SIZE),
        field_of_view_mm=(160.0, 160.0),
        frame_times_s=0.05 * np.arange(FRAMES),
        mask=mask,
        trajectory=trajectory,
        name=sampling,
    )
    return dataclasses.replace(made, **changes)


def magnitude_variance(prepared: Prepared, frame: int, psi: np.ndarray, combination: str) -> np.ndarray:
    """Variance of the magnitude in closed form, to first order in the noise: (y, x).

    Image of virtual coil v: Σ_c C_cv G y_c with G the adjoint transform with its weights. Then
    |ρ| = Re(e^{-i arg ρ} Σ_v s_v* I_v) for known maps, and |I| = Re(Σ_v I_v* / |I| · I_v) for root sum of
    squares; the variance of Re(Σ a_v δI_v) is half of aᴴ-form of the covariance of δI.
    """
    acquisition = prepared.acquisition
    if acquisition.mask is not None:
        transform = dft(cartesian_points(np.flatnonzero(acquisition.mask[frame]))).conj().T
    else:
        assert acquisition.trajectory is not None and prepared.weights is not None
        points = acquisition.trajectory[frame].reshape(-1, 2)
        transform = dft(points).conj().T * prepared.weights[frame].ravel()
    gain = (np.abs(transform) ** 2).sum(axis=1)  # (pixel,): Σ over samples, independent from one to the next
    mix = prepared.compression / prepared.scale
    coils = mix.T @ psi @ mix.conj()  # E[δI_v δI_w*] per unit of gain
    images = prepared.zero_filled(frame, frame + 1)[:, 0].reshape(len(coils), -1)
    if combination == "sensitivities":
        row = prepared.sensitivities.reshape(len(coils), -1).conj()
    else:
        row = images.conj() / np.sqrt((np.abs(images) ** 2).sum(axis=0))
    variance = 0.5 * gain * np.einsum("vp,vw,wp->p", row, coils, row.conj()).real
    return variance.reshape(SIZE, SIZE)


@pytest.mark.parametrize(
    ("sampling", "combination"),
    [
        ("cartesian", "sensitivities"),
        ("cartesian", "root_sum_of_squares"),
        ("radial", "root_sum_of_squares"),
        ("radial", "sensitivities"),
    ],
)
def test_noise_of_gridding_is_what_the_covariance_says(sampling: str, combination: str) -> None:
    """Pixel by pixel within the scatter of a variance of 200 replicas; coils are correlated and unequal."""
    psi = covariance()
    scan = made_scan(sampling)
    count = 200
    options = ReconstructionOptions(combination=combination, correct_delays=False)  # type: ignore[arg-type]
    ((_, found),) = replicate(scan, ["gridded"], ReplicaSettings(count, covariance=psi), options=options)
    prepared = prepare(scan, correct_delays=False)
    for frame in range(FRAMES):
        expected = magnitude_variance(prepared, frame, psi, combination)
        bright = found.movie.frames[frame] > 20 * np.sqrt(expected)
        assert bright.sum() > 60
        ratio = found.sd[frame][bright] ** 2 / expected[bright]
        # A variance of 200 replicas scatters by 10 %; neighbours share noise, so their mean by less than 3 %.
        assert ratio.mean() == pytest.approx(1, abs=0.03)
        assert ratio.std() == pytest.approx(np.sqrt(2 / (count - 1)), rel=0.35)
        assert 0.6 < ratio.min() and ratio.max() < 1.5
        # Without the correlations the numbers would be others.
        plain = magnitude_variance(prepared, frame, np.diag(np.diag(psi)), combination)
        assert np.median(np.abs(plain[bright] / expected[bright] - 1)) > 0.1


def test_whitened_data_have_unit_noise(scan: Callable[..., Any], tmp_path: Path) -> None:
    """Readings whiten to E|n|² = 1; Ψ = 1 given to the same data as not whitened is the same noise."""
    path = scan(noise_samples=400, coils=3, matrix=(16, 16), readouts=8).write(tmp_path / "raw.h5")
    whitened = open_acquisition(path)
    assert whitened.whitened
    settings = ReplicaSettings(5, seed=4)
    ((_, one),) = replicate(whitened, ["gridded"], settings)
    plain = dataclasses.replace(whitened, whitened=False)
    unit = ReplicaSettings(5, seed=4, covariance=np.eye(3, dtype=complex))
    ((_, other),) = replicate(plain, ["gridded"], unit)
    np.testing.assert_array_equal(one.sd, other.sd)
    with pytest.raises(ReconstructionError, match="no noise scan"):
        replicate(plain, ["gridded"], settings)
    with pytest.raises(ReconstructionError, match="4 coils, but the scan has 3"):
        replicate(whitened, ["gridded"], ReplicaSettings(5, covariance=covariance()))
    prepared = prepare(whitened)
    noise = np.stack([Noise(prepared).added(0, number) - prepared.kspace for number in range(40)])
    power = np.abs(noise[:, :, whitened.mask]) ** 2 * prepared.scale**2
    assert power.mean() == pytest.approx(1, rel=0.02)
    assert not noise[:, :, ~whitened.mask].any(), "what was not acquired stays zero"


def test_noise_is_the_same_for_all_methods_and_other_for_each_replica() -> None:
    prepared = prepare(made_scan("radial"))
    noise = Noise(prepared, covariance())
    first = noise.added(7, 0)
    np.testing.assert_array_equal(first, Noise(prepared, covariance()).added(7, 0))
    for seed, replica in ((7, 1), (8, 0)):
        other = noise.added(seed, replica)
        product = np.vdot(first - prepared.kspace, other - prepared.kspace)
        assert abs(product) < 0.1 * np.linalg.norm(first - prepared.kspace) ** 2


def test_readouts_that_were_not_acquired_get_no_noise() -> None:
    scan = made_scan("radial")
    kspace, acquired = scan.kspace.copy(), np.ones((FRAMES, 9), bool)
    kspace[:, 1, 5:], acquired[1, 5:] = 0, False
    prepared = prepare(dataclasses.replace(scan, kspace=kspace, readout_mask=acquired))
    noisy = Noise(prepared, covariance()).added(0, 0)
    assert not noisy[:, 1, 5:].any() and np.abs(noisy[:, 1, :5] - prepared.kspace[:, 1, :5]).min() > 0


def test_methods_that_are_not_linear_are_measured_and_the_movie_is_the_usual_one() -> None:
    """The same as reconstructing noisy data one by one with what was found in the scan itself."""
    scan = made_scan("cartesian")
    preparation = Preparation(scan)
    settings = ReplicaSettings(4, covariance=covariance())
    names = ["gridded", "compressed_sensing"]
    statuses: list[Status] = []
    tracker = Tracker(statuses.append)
    found = dict(replicate(preparation, names, settings, tracker=tracker))
    noise = Noise(preparation.get(), settings.covariance)
    by_hand = [
        np.abs(compressed_sensing(dataclasses.replace(preparation.get(), kspace=noise.added(0, i))).images)
        for i in range(4)
    ]
    sd, middle = found["compressed_sensing"].sd, np.s_[:, 5:11, 5:11]
    np.testing.assert_allclose(np.std(by_hand, axis=0, ddof=1)[middle], sd[middle], rtol=0.02)
    assert np.median(np.abs(sd / found["gridded"].sd - 1)[middle]) > 0.1
    for name in names:
        usual = reconstruct(scan, name).frames
        np.testing.assert_allclose(found[name].movie.frames, usual, atol=1e-3 * usual.max())
        record = found[name].provenance
        assert record["method"] == name and record["replicas"]["count"] == 4
        assert np.asarray(record["replicas"]["covariance_imag"]).shape == (COILS, COILS)
    fractions = [status.fraction for status in statuses]
    assert fractions == sorted(fractions)
    assert any(status.phase == "Compressed sensing: replica 4 of 4" for status in statuses)
    assert any(status.remaining_s is not None for status in statuses)


def test_running_variance_is_that_of_all_values_at_once() -> None:
    values = 1e4 + np.random.default_rng(1).normal(size=(9, 2, 3)).astype(np.float32)
    running = RunningVariance((2, 3))
    for value in values:
        running.add(value)
    wide = values.astype(float)
    np.testing.assert_allclose(running.mean, wide.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(running.sd, wide.std(axis=0, ddof=1), rtol=1e-9)


def test_a_file_holds_everything_and_regions_count_from_the_last_frame(
    scan: Callable[..., Any], tmp_path: Path
) -> None:
    raw = scan(noise_samples=200, frames=4, coils=3, matrix=(16, 16), readouts=8).write(tmp_path / "raw.h5")
    mask = np.zeros((16, 16), bool)
    mask[4:7, 5:9] = True
    later = np.zeros((2, 16, 16), bool)
    later[0, 2, 2:5], later[1, 3, 3:5] = True, True
    (done,) = replicate_file(
        raw, ["gridded"], tmp_path / "out", ReplicaSettings(6, seed=2), regions={"all": mask, "last": later}
    )
    assert done.path == tmp_path / "out" / "raw_gridded_replicas.h5" and done.seconds_per_replica > 0
    with h5py.File(done.path) as file:
        assert file.attrs["format"] == "blindcine-replicas-1" and file.attrs["count"] == 6
        signal, sd = file["signal"][()], file["sd"][()]
        np.testing.assert_allclose(file["snr_db"], 20 * np.log10(signal / sd), rtol=1e-5)
        values = file["regions/all/values"][()]
        assert values.shape == (6, 4, 12)
        np.testing.assert_allclose(values.std(axis=0, ddof=1), sd[:, mask], rtol=1e-4)
        np.testing.assert_array_equal(file["regions/all/signal"], signal[:, mask])
        last = file["regions/last/signal"][()]
        assert np.isnan(last[:2]).all() and np.isnan(last[3, 2])
        np.testing.assert_array_equal(last[2], signal[2, 2, 2:5])
        np.testing.assert_array_equal(last[3, :2], signal[3, 3, 3:5])
        provenance = json.loads(file.attrs["provenance"])
        assert provenance["replicas"]["seed"] == 2 and provenance["raw_name"] == "raw"
    assert not list((tmp_path / "out").glob(".*")), "nothing half-written stays"


def test_cancelling_stops_between_replicas_and_leaves_no_file(
    scan: Callable[..., Any], tmp_path: Path
) -> None:
    raw = scan(noise_samples=200, coils=3, matrix=(16, 16), readouts=8).write(tmp_path / "raw.h5")

    def stop(status: Status) -> None:
        if "replica 3" in status.phase:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        list(replicate_file(raw, ["gridded"], tmp_path / "out", ReplicaSettings(5), progress=stop))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((8, 8), bool), "bool of"),
        (np.ones((SIZE, SIZE)), "float64"),
        (np.zeros((SIZE, SIZE), bool), "no pixel"),
        (np.ones((10**6, 1, 1), bool) & np.ones((1, SIZE, SIZE), bool), "too much to keep"),
    ],
)
def test_regions_that_do_not_fit_are_refused_before_the_work(mask: np.ndarray, words: str) -> None:
    settings = ReplicaSettings(5, covariance=covariance())
    with pytest.raises(ReconstructionError, match=words):
        replicate(made_scan("cartesian"), ["gridded"], settings, regions={"heart": mask})
    with pytest.raises(ReconstructionError, match="cannot be called"):
        replicate(made_scan("cartesian"), ["gridded"], settings, regions={"a/b": mask})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 2}, "from 3"),
        ({"count": 10**6}, "to 10000"),
        ({"count": 5.0}, "whole number"),
        ({"seed": -1}, "seed"),
        ({"covariance": np.ones((2, 3), complex)}, "Hermitian"),
        ({"covariance": np.array([[1, 1j], [1j, 1]])}, "Hermitian"),
        ({"covariance": np.full((2, 2), np.nan)}, "finite"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ReconstructionError, match=words):
        ReplicaSettings(**arguments)


def test_a_covariance_of_a_silent_coil_is_refused() -> None:
    with pytest.raises(ReconstructionError, match="not positive definite"):
        Noise(prepare(made_scan("cartesian")), np.zeros((COILS, COILS), complex))


def test_masks_come_from_an_archive(tmp_path: Path) -> None:
    mask = np.eye(4, dtype=bool)
    np.savez(tmp_path / "masks.npz", heart=mask)
    np.testing.assert_array_equal(read_masks(tmp_path / "masks.npz")["heart"], mask)
    (tmp_path / "masks.npz").write_bytes(b"PK nonsense")
    with pytest.raises(FormatError, match="masks"):
        read_masks(tmp_path / "masks.npz")
