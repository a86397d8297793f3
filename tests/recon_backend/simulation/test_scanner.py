"""Simulated scans are valid ISMRMRD files whose content is the phantom's, seen through coils and noise."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from recon_backend.movie import Movie
from recon_backend.sampling.cartesian import published_lines
from recon_backend.simulation.phantoms import Phantom
from recon_backend.simulation.scanner import ScanFiles, simulate_scan

MATRIX = 64
FRAMES = 2
COILS = 4
READOUTS = {"cartesian": 4, "radial": 13, "spiral": 15}
SAMPLES = {"cartesian": 128, "radial": 128, "spiral": 1171}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom("short_axis")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom) -> dict[str, ScanFiles]:
    folder = tmp_path_factory.mktemp("scans")
    return {
        sampling: simulate_scan(
            folder / f"{sampling}.h5",
            phantom,
            sampling=sampling,  # type: ignore[arg-type]
            frames=FRAMES,
            matrix=MATRIX,
            coils=COILS,
            snr=1e4,
            moments_per_frame=1,
        )
        for sampling in READOUTS
    }


def _imaging(path: Path) -> list[ismrmrd.Acquisition]:
    with ismrmrd.Dataset(str(path), create_if_needed=False, mode="r") as dataset:
        every = [dataset.read_acquisition(number) for number in range(dataset.number_of_acquisitions())]
    return [
        acquisition
        for acquisition in every
        if not acquisition.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        and not acquisition.is_flag_set(ismrmrd.ACQ_IS_DUMMYSCAN_DATA)
    ]


@pytest.mark.parametrize("sampling", list(READOUTS))
def test_the_standard_package_reads_it(scans: dict[str, ScanFiles], sampling: str) -> None:
    with ismrmrd.Dataset(str(scans[sampling].raw), create_if_needed=False, mode="r") as dataset:
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        flags = [dataset.read_acquisition(number) for number in range(42)]
    assert header.encoding[0].trajectory.value == sampling
    assert header.encoding[0].reconSpace.matrixSize.x == MATRIX
    assert header.encoding[0].encodedSpace.matrixSize.x == (2 * MATRIX if sampling == "cartesian" else MATRIX)
    assert header.acquisitionSystemInformation.receiverChannels == COILS
    assert header.subjectInformation is None
    assert all(entry.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) for entry in flags[:32])
    assert all(entry.is_flag_set(ismrmrd.ACQ_IS_DUMMYSCAN_DATA) for entry in flags[32:])
    imaging = _imaging(scans[sampling].raw)
    assert len(imaging) == FRAMES * READOUTS[sampling]
    assert all(entry.data.shape == (COILS, SAMPLES[sampling]) for entry in imaging)
    assert [entry.idx.repetition for entry in imaging] == sorted(entry.idx.repetition for entry in imaging)
    assert imaging[-1].is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)


def test_compound_types_are_the_standard_ones(scans: dict[str, ScanFiles]) -> None:
    with h5py.File(scans["radial"].raw) as file:
        stored = file["dataset/data"].dtype
    assert stored["head"] == np.dtype(ismrmrd.hdf5.acquisition_header_dtype)
    assert stored.names == ("head", "traj", "data")


def test_cartesian_lines_are_the_published_ones(scans: dict[str, ScanFiles]) -> None:
    imaging = _imaging(scans["cartesian"].raw)
    for frame in range(FRAMES):
        lines = [entry.idx.kspace_encode_step_1 for entry in imaging if entry.idx.repetition == frame]
        assert lines == published_lines(frame, MATRIX).tolist()


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
def test_trajectory_is_in_cycles_per_pixel_from_the_centre(
    scans: dict[str, ScanFiles], sampling: str
) -> None:
    for entry in _imaging(scans[sampling].raw)[:3]:
        radius = np.hypot(entry.traj[:, 0], entry.traj[:, 1])
        assert radius.max() == pytest.approx(0.5, abs=0.005)
        assert radius[entry.center_sample] < 1e-4
    x, y = _imaging(scans["radial"].raw)[1].traj[-1]
    assert np.rad2deg(np.arctan2(y, x)) == pytest.approx(23.628, abs=0.01), "(kx, ky) in this order"


@pytest.mark.parametrize("sampling", list(READOUTS))
def test_samples_are_the_transform_of_one_object_through_smooth_coils(
    scans: dict[str, ScanFiles], phantom: Phantom, sampling: str
) -> None:
    entry = _imaging(scans[sampling].raw)[READOUTS[sampling] // 2]
    if sampling == "cartesian":
        ky = 2 * np.pi * (entry.idx.kspace_encode_step_1 - MATRIX // 2) / MATRIX * np.ones(SAMPLES[sampling])
        kx = 2 * np.pi * (np.arange(SAMPLES[sampling]) - MATRIX) / (2 * MATRIX)
    else:
        kx, ky = 2 * np.pi * entry.traj.T.astype(float)
    # A direct sum over the truth's own coarse pixels, times unknown smooth coils: fit them by a few terms.
    tr_s = {"cartesian": 3.0e-3, "radial": 3.4e-3, "spiral": 3.6408e-3}[sampling]
    image = phantom.frames(np.array([READOUTS[sampling] / 2 * tr_s]), MATRIX)[0]
    index = (np.arange(MATRIX) - MATRIX // 2) / MATRIX
    inner = np.flatnonzero(np.hypot(kx, ky) < 0.9)
    powers = [(i, j) for i in range(5) for j in range(5 - i)]
    columns = []
    for i, j in powers:
        weighted = image * (index[:, None] ** i * index[None, :] ** j)
        phase_y = np.exp(-1j * MATRIX * ky[inner][:, None] * index)
        phase_x = np.exp(-1j * MATRIX * kx[inner][:, None] * index)
        columns.append(np.einsum("ky,yx,kx->k", phase_y, weighted, phase_x))
    model = np.stack(columns, axis=-1)
    measured = entry.data.T[inner]
    fitted, *_ = np.linalg.lstsq(model, measured, rcond=None)
    residual = np.linalg.norm(model @ fitted - measured) / np.linalg.norm(measured)
    assert residual < 0.05
    wrong = np.conj(model) @ np.linalg.lstsq(np.conj(model), measured, rcond=None)[0]
    assert np.linalg.norm(wrong - measured) / np.linalg.norm(measured) > 2 * residual, "the sign matters"


def test_noise_scan_has_the_noise_of_the_scan_and_its_coupling(tmp_path: Path, phantom: Phantom) -> None:
    common = {"sampling": "cartesian", "frames": 1, "matrix": MATRIX, "coils": COILS, "moments_per_frame": 1}
    noisy = simulate_scan(tmp_path / "a.h5", phantom, snr=0.5, seed=3, **common)  # type: ignore[arg-type]
    clean = simulate_scan(tmp_path / "b.h5", phantom, snr=1e9, seed=3, **common)  # type: ignore[arg-type]
    difference = np.concatenate(
        [a.data - b.data for a, b in zip(_imaging(noisy.raw), _imaging(clean.raw), strict=True)], axis=1
    )
    with ismrmrd.Dataset(str(noisy.raw), create_if_needed=False, mode="r") as dataset:
        noise = np.concatenate([dataset.read_acquisition(number).data for number in range(32)], axis=1)
    scan_covariance, noise_covariance = np.cov(difference), np.cov(noise)
    assert np.abs(scan_covariance - noise_covariance).max() < 0.2 * np.abs(noise_covariance).max()
    correlation = np.abs(noise_covariance[0, 1]) / np.sqrt(np.prod(np.diag(noise_covariance)[:2].real))
    assert 0.15 < correlation < 0.6


def test_truth_lies_beside_with_the_frame_times(scans: dict[str, ScanFiles], phantom: Phantom) -> None:
    files = scans["spiral"]
    assert files.truth == files.raw.with_name("spiral_truth.h5")
    truth = Movie.load(files.truth)
    assert truth.frames.shape == (FRAMES, MATRIX, MATRIX)
    assert truth.frames.max() == 1
    assert truth.frame_times_s == pytest.approx([0, 15 * 3.6408e-3])
    assert truth.pixel_spacing_mm == pytest.approx((400 / MATRIX, 400 / MATRIX))
    centre_s = 7.5 * 3.6408e-3
    drawn = phantom.frames(np.array([centre_s, 3 * centre_s]), MATRIX)
    assert truth.frames == pytest.approx(drawn / drawn.max(), abs=1e-5)


def test_time_stamps_run_with_the_repetition_time(scans: dict[str, ScanFiles]) -> None:
    stamps = [entry.acquisition_time_stamp for entry in _imaging(scans["radial"].raw)]
    elapsed = (np.array(stamps) - stamps[0]) * 2.5e-3
    assert elapsed == pytest.approx(np.arange(len(stamps)) * 3.4e-3, abs=2.6e-3)


def test_header_names_nobody(scans: dict[str, ScanFiles]) -> None:
    with h5py.File(scans["radial"].raw) as file:
        text = file["dataset/xml"][0].decode()
    assert not re.search(r"patientName|patientID|birth|institution|station|study", text, re.IGNORECASE)


def test_a_failed_scan_leaves_the_old_file_and_no_other(
    tmp_path: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "scan.h5"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("recon_backend.storage.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate_scan(target, phantom, sampling="cartesian", frames=1, matrix=32, moments_per_frame=1)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_refusals(tmp_path: Path, phantom: Phantom) -> None:
    with pytest.raises(ValueError, match="sampling"):
        simulate_scan(tmp_path / "a.h5", phantom, sampling="zigzag")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="snr"):
        simulate_scan(tmp_path / "a.h5", phantom, sampling="radial", snr=0)
    with pytest.raises(ValueError, match="even number"):
        simulate_scan(tmp_path / "a.h5", phantom, sampling="radial", matrix=63)
    with pytest.raises(ValueError, match="tr_s"):
        simulate_scan(tmp_path / "a.h5", phantom, sampling="radial", tr_s=0.0)
