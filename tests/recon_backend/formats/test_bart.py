"""BART's .cfl and .hdr: against a brute-force DFT, and against BART itself where it is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import fft

from recon_backend.formats import open_acquisition


def cartesian(
    frames: int = 3, coils: int = 2, matrix: tuple[int, int] = (12, 9)
) -> tuple[np.ndarray, np.ndarray]:
    """Random k-space (coil, frame, ky, kx) with lines of zeros, and its mask."""
    rng = np.random.default_rng(0)
    kspace = rng.normal(size=(coils, frames, *matrix)) + 1j * rng.normal(size=(coils, frames, *matrix))
    kspace *= np.exp(-np.abs(np.arange(matrix[0]) - matrix[0] // 2))[:, None]  # unlike spokes
    mask = rng.random((frames, matrix[0])) < 0.5
    mask[:, matrix[0] // 2] = True
    return (kspace * mask[None, :, :, None]).astype(np.complex64), mask


def in_bart_order(kspace: np.ndarray, *, readout: int = 0) -> np.ndarray:
    """(coil, frame, ky, kx) with kx along dimension `readout` and ky along the next."""
    array = kspace.transpose(3, 2, 0, 1)
    array = array[:, :, None] if readout == 0 else array[None]
    return array.reshape(*array.shape[:4], *[1] * 6, array.shape[4])


def read_cfl(path: Path) -> np.ndarray:
    dims = [int(word) for word in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.squeeze(np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(dims, order="F"))


@pytest.mark.parametrize("readout", [0, 1])
@pytest.mark.parametrize("ending", [".cfl", ".hdr"])
def test_cartesian(writers: Any, tmp_path: Path, readout: int, ending: str) -> None:
    kspace, mask = cartesian()
    path = writers.write_cfl(tmp_path / "ksp", in_bart_order(kspace, readout=readout))
    acquisition = open_acquisition(path.with_suffix(ending))
    np.testing.assert_array_equal(acquisition.kspace, kspace)
    np.testing.assert_array_equal(acquisition.mask, mask)
    assert acquisition.matrix == (12, 9)
    assert acquisition.field_of_view_mm == (12.0, 9.0)
    assert any("1 mm were assumed" in note for note in acquisition.notes)
    assert any("1 s each" in note for note in acquisition.notes)
    digests = [hashlib.sha256(path.with_suffix(end).read_bytes()).hexdigest() for end in (".cfl", ".hdr")]
    assert acquisition.source_sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_yaml_states_geometry_and_time(writers: Any, tmp_path: Path) -> None:
    kspace, _ = cartesian(matrix=(12, 20))
    path = writers.write_cfl(tmp_path / "ksp", in_bart_order(kspace))
    path.with_suffix(".yaml").write_text(
        "field_of_view_mm: [240, 200]\nframe_time_s: 0.05\nreadout_oversampling: 2\n"
    )
    acquisition = open_acquisition(path)
    assert acquisition.matrix == (12, 10)
    assert acquisition.pixel_spacing_mm == (20.0, 20.0)
    np.testing.assert_allclose(acquisition.frame_times_s, [0, 0.05, 0.1])

    def image(array: np.ndarray) -> np.ndarray:
        return fft.fftshift(fft.ifft(fft.ifftshift(array, axes=-1), axis=-1, norm="ortho"), axes=-1)

    np.testing.assert_allclose(image(acquisition.kspace), image(kspace)[..., 5:15], atol=1e-6)


def test_slices_and_averages(writers: Any, tmp_path: Path, refusal: Any) -> None:
    kspace, _ = cartesian()
    one = in_bart_order(kspace)
    array = np.stack([one, 2 * one], axis=-1).reshape(*one.shape, 1, 1, 2, 1)  # slices, dimension 13
    array = np.concatenate([array, 3 * array], axis=14)
    path = writers.write_cfl(tmp_path / "ksp", array)
    np.testing.assert_allclose(open_acquisition(path).kspace, 2 * kspace, rtol=1e-6)
    np.testing.assert_allclose(open_acquisition(path, slice_index=1).kspace, 4 * kspace, rtol=1e-6)
    assert "slices 0 to 1" in refusal(path, slice_index=2)


def test_empty_frames(writers: Any, tmp_path: Path, refusal: Any) -> None:
    kspace, _ = cartesian(frames=5)
    kspace[:, 3:] = 0
    cut = open_acquisition(writers.write_cfl(tmp_path / "a", in_bart_order(kspace)))
    assert cut.frames == 3
    assert "the last 2 frames are empty and were left out" in cut.notes
    kspace[:, 1] = 0
    assert "frame 1 has no acquired line" in refusal(writers.write_cfl(tmp_path / "b", in_bart_order(kspace)))


def radial(frames: int = 3, spokes: int = 5, samples: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Trajectory (frame, spoke, sample, (x, y)) in cycles/FOV, and random samples of 2 coils."""
    angle = 0.7 * np.arange(frames * spokes).reshape(frames, spokes, 1)
    radius = 8 * (np.arange(samples) - samples // 2) / (samples // 2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    rng = np.random.default_rng(1)
    shape = (2, frames, spokes, samples)
    return points, rng.normal(size=shape) + 1j * rng.normal(size=shape)


def write_radial(writers: Any, path: Path, points: np.ndarray, samples: np.ndarray, name: str) -> Path:
    """k-space and, under another name, its trajectory."""
    kspace = samples.transpose(3, 2, 0, 1)[None]
    where = np.concatenate([points, np.zeros((*points.shape[:3], 1))], axis=-1).transpose(3, 2, 1, 0)
    writers.write_cfl(path.with_name(name), where.reshape(*where.shape[:3], *[1] * 7, where.shape[3]))
    return writers.write_cfl(path, kspace.reshape(*kspace.shape[:4], *[1] * 6, kspace.shape[4]))


@pytest.mark.parametrize("name", ["ksp_traj", "ksp_trj", "traj"])
def test_radial_with_its_trajectory(writers: Any, tmp_path: Path, name: str, refusal: Any) -> None:
    points, samples = radial()
    samples[:, 2, 3] = 0  # not acquired
    path = write_radial(writers, tmp_path / "ksp", points, samples, name)
    acquisition = open_acquisition(path)
    assert acquisition.sampling == "radial"
    assert acquisition.matrix == (16, 16)
    assert acquisition.readouts_per_frame.tolist() == [5, 5, 4]
    np.testing.assert_allclose(acquisition.trajectory[:2], 2 * np.pi * points[:2, ..., ::-1] / 16, atol=1e-6)
    np.testing.assert_allclose(acquisition.kspace[:, :2], samples[:, :2], rtol=1e-6)
    np.testing.assert_allclose(acquisition.kspace[:, 2, 3], samples[:, 2, 4], rtol=1e-6)
    np.testing.assert_allclose(
        acquisition.trajectory[2, 3], 2 * np.pi * points[2, 4, :, ::-1] / 16, atol=1e-6
    )
    assert "this is a trajectory" in refusal((tmp_path / name).with_suffix(".cfl"))


def test_curved_readouts_are_spiral_and_one_frame_of_trajectory_serves_all(
    writers: Any, tmp_path: Path
) -> None:
    points, samples = radial(frames=4)
    turn = np.exp(1j * np.linspace(0, 2, 16))
    whole = (points[..., 0] + 1j * points[..., 1]) * turn
    bent = np.stack([whole.real, whole.imag], axis=-1)[:1]
    acquisition = open_acquisition(write_radial(writers, tmp_path / "ksp", bent, samples, "ksp_traj"))
    assert acquisition.sampling == "spiral"
    assert acquisition.frames == 4
    np.testing.assert_array_equal(acquisition.trajectory[3], acquisition.trajectory[0])


def test_radial_by_yaml_in_one_long_series(writers: Any, tmp_path: Path) -> None:
    _, samples = radial(frames=1, spokes=14)
    kspace = samples.transpose(3, 2, 0, 1)[None, ..., 0]
    path = writers.write_cfl(tmp_path / "ksp", kspace)
    path.with_suffix(".yaml").write_text(
        "sampling: radial\nangle_deg: 30\nspokes_per_frame: 4\nmatrix: 8\nfield_of_view_mm: 100\n"
        "repetition_time_s: 0.003\n"
    )
    acquisition = open_acquisition(path)
    assert acquisition.readouts_per_frame.tolist() == [4, 4, 4, 2]
    assert acquisition.frame_time_s == pytest.approx(0.012)
    np.testing.assert_allclose(acquisition.kspace[:, 1, 2], samples[:, 0, 6], rtol=1e-6)
    last = acquisition.trajectory[1, 2, -1]
    assert np.degrees(np.arctan2(last[0], last[1])) == pytest.approx(180, abs=1e-3)


def test_radial_without_trajectory(writers: Any, tmp_path: Path, refusal: Any) -> None:
    _, samples = radial(spokes=13)
    kspace = samples.transpose(3, 2, 0, 1)[None]
    path = writers.write_cfl(tmp_path / "ksp", kspace.reshape(1, 16, 13, 2, *[1] * 6, 3))
    text = refusal(path)
    assert "'ksp_traj.cfl'" in text
    assert "'ksp.yaml'" in text
    path.with_suffix(".yaml").write_text("field_of_view_mm: 300\n")
    assert "'ksp_traj.cfl'" in refusal(path)
    path.with_suffix(".yaml").write_text("sampling: cartesian\n")
    assert open_acquisition(path).sampling == "cartesian"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("9 12", "9 x", "whole numbers"),
        ("9 12", "9 0", "each at least 1"),
        ("9 12", "9 13", "truncated (5184)"),
        ("9 12", "9 11", "longer than that"),
        ("9 12", "9 999999999999", "the file is truncated"),
        (" 12 1 2 1 1 ", " 12 1 1 1 2 ", "dimension 5 has size 2"),
        ("9 12 1 ", "9 4 3 ", "3-dimensional"),
    ],
)
def test_wrong_header(writers: Any, tmp_path: Path, refusal: Any, old: str, new: str, expected: str) -> None:
    kspace, _ = cartesian()
    path = writers.write_cfl(tmp_path / "ksp", in_bart_order(kspace))
    header = path.with_suffix(".hdr")
    assert old in header.read_text()
    header.write_text(header.read_text().replace(old, new))
    assert expected in refusal(path)


def test_missing_half_and_mismatched_trajectory(writers: Any, tmp_path: Path, refusal: Any) -> None:
    points, samples = radial()
    path = write_radial(writers, tmp_path / "ksp", points[:, :4], samples, "ksp_traj")
    assert "for 4 readouts of 16 samples, but k-space has 5 of 16" in refusal(path)
    path.with_suffix(".yaml").write_text("sampling: radial\nangle_deg: 5\n")
    write_radial(writers, tmp_path / "ksp", points, samples, "ksp_traj")
    assert "keep one of them" in refusal(path)
    path.unlink()
    assert "'ksp.cfl' in the same folder" in refusal(path.with_suffix(".hdr"))
    orphan = tmp_path / "orphan.cfl"
    orphan.write_bytes(bytes(800))
    assert "BART (.cfl with .hdr)" in refusal(orphan)


@pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")
def test_reconstruction_equals_bart(tmp_path: Path) -> None:
    def bart(*words: str) -> None:
        subprocess.run(["bart", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    bart("traj", "-x", "32", "-y", "11", "-r", "-G", "spokes_traj")
    bart("phantom", "-k", "-s", "2", "-t", "spokes_traj", "spokes")
    bart("nufft", "-a", "spokes_traj", "spokes", "adjoint")
    acquisition = open_acquisition(tmp_path / "spokes.cfl")
    height, width = acquisition.matrix
    points = acquisition.trajectory[0].reshape(-1, 2).astype(np.float64)
    along_y = np.exp(1j * points[:, :1] * (np.arange(height) - height // 2))
    along_x = np.exp(1j * points[:, 1:] * (np.arange(width) - width // 2))
    image = np.einsum("cs,sy,sx->cyx", acquisition.kspace[:, 0].reshape(2, -1), along_y, along_x)
    expected = read_cfl(tmp_path / "adjoint").transpose(2, 1, 0)
    scale = np.vdot(image, expected) / np.vdot(image, image)
    assert abs(scale) * np.sqrt(height * width) == pytest.approx(1, abs=0.02)  # BART's own scale
    assert np.linalg.norm(scale * image - expected) < 3e-3 * np.linalg.norm(expected)

    bart("phantom", "-k", "-x", "24", "-s", "2", "lines")
    bart("fft", "-u", "-i", "3", "lines", "image")
    full = open_acquisition(tmp_path / "lines.hdr").kspace[:, 0]
    image = fft.fftshift(fft.ifft2(fft.ifftshift(full, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    expected = read_cfl(tmp_path / "image").transpose(2, 1, 0)
    np.testing.assert_allclose(image, expected, atol=1e-5 * np.abs(expected).max())
