"""Cine images and raw data in: NIfTI-1 built byte by byte from the standard, HDF5, ISMRMRD."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from recon_backend.errors import FormatError
from recon_backend.movie import Movie
from recon_backend.simulation import cine
from recon_backend.simulation.phantoms import Phantom
from recon_backend.simulation.scanner import simulate_scan


def nifti(
    data: np.ndarray, *, order: str = "<", code: int = 4, slope: float = 0.0, intercept: float = 0.0
) -> bytes:
    """A NIfTI-1 file of values (x, y, slice, frame): 1.5×1.4×8 mm, 40 ms, as the C structure has it."""
    header = bytearray(348)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, data.ndim, *data.shape, *[1] * (7 - data.ndim))
    struct.pack_into(f"{order}2h", header, 70, code, 8 * data.dtype.itemsize)
    struct.pack_into(f"{order}8f", header, 76, 1, 1.5, 1.4, 8, 40, 0, 0, 0)
    struct.pack_into(f"{order}3f", header, 108, 352, slope, intercept)
    header[123] = 2 | 16  # mm and ms
    header[344:348] = b"n+1\0"
    return bytes(header) + bytes(4) + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")


@pytest.mark.parametrize(("order", "zipped"), [("<", False), (">", True)])
def test_nifti_keeps_axes_values_and_spacing(tmp_path: Path, order: str, zipped: bool) -> None:
    """(x, y, slice, frame) in either byte order, plain and gzipped; scaled by slope and intercept."""
    data = np.arange(4 * 3 * 2 * 6, dtype=np.int16).reshape(4, 3, 2, 6)
    content = nifti(data, order=order, slope=2.0, intercept=-1.0)
    path = tmp_path / ("a.nii.gz" if zipped else "a.nii")
    path.write_bytes(gzip.compress(content) if zipped else content)
    image = cine.read_nifti(path)
    np.testing.assert_array_equal(image.data, 2.0 * data - 1)
    assert image.pixel_spacing_mm == pytest.approx((1.5, 1.4, 8)) and image.frame_time_s == pytest.approx(
        0.04
    )
    assert cine.cine_names(path) == ["a"]
    series = cine.read_cine(path, "a")
    assert series.shape == (2, 6, 3, 4)
    assert series[1, 5, 2, 3] == 2.0 * data[3, 2, 1, 5] - 1


def test_nifti_types_are_read_as_they_are(tmp_path: Path) -> None:
    """uint8 and float32 without scaling (slope 0 means none)."""
    path = tmp_path / "a.nii"
    for code, dtype in ((2, np.uint8), (16, np.float32)):
        data = np.arange(2 * 3 * 1 * 5).reshape(2, 3, 1, 5).astype(dtype)
        path.write_bytes(nifti(data, code=code))
        read = cine.read_nifti(path).data
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "no NIfTI-1"),
        (nifti(np.zeros((4, 3, 2, 6), np.int16))[:-1], "ends after 287 of 288 bytes"),
        (nifti(np.zeros((4, 3, 2, 6), np.int16), code=32), "data type 32"),
        (nifti(np.ones((4, 3, 2, 6), np.int16)), "same value"),
        (nifti(np.arange(4 * 3 * 2 * 3, dtype=np.int16).reshape(4, 3, 2, 3)), "too short: 3 frames"),
    ],
)
def test_bad_nifti_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    """Not NIfTI, cut short, complex, empty, too few frames."""
    path = tmp_path / "bad.nii"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"bad.nii: .*{message}"):
        cine.read_cine(path, "bad")


def test_a_broken_gzip_is_refused_by_name(tmp_path: Path) -> None:
    """Cut inside the compressed stream."""
    path = tmp_path / "bad.nii.gz"
    rng = np.random.default_rng(0)
    path.write_bytes(gzip.compress(nifti(rng.integers(0, 99, (9, 9, 2, 6)).astype(np.int16)))[:-40])
    with pytest.raises(FormatError, match="bad.nii.gz: the gzipped file is damaged"):
        cine.read_cine(path, "bad")


def test_hdf5_series_and_movies(tmp_path: Path) -> None:
    """Each data set is a series; one slice may come without its axis; a movie of this program is one."""
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file["one"] = np.arange(6 * 4 * 5, dtype=np.float32).reshape(6, 4, 5)
        file["two"] = np.arange(2 * 6 * 4 * 5, dtype=np.uint8).reshape(2, 6, 4, 5)
    assert cine.cine_names(path) == ["one", "two"]
    assert cine.read_cine(path, "one").shape == (1, 6, 4, 5)
    assert cine.read_cine(path, "two").shape == (2, 6, 4, 5)
    movie = Movie(np.random.default_rng(0).random((5, 8, 8)), (1, 1), np.arange(5.0))
    saved = movie.save(tmp_path / "movie.h5")
    assert cine.cine_names(saved) == ["movie"] and cine.read_cine(saved, "movie").shape == (1, 5, 8, 8)
    assert not cine.is_kspace(path) and not cine.is_kspace(saved)


def test_bytes_span_the_series() -> None:
    """0 to the 99.9th percentile; uint8 is not touched."""
    values = np.linspace(-5, 1000, 4000, dtype=np.float32).reshape(1, 10, 20, 20)
    out = cine.as_bytes(values)
    assert out.dtype == np.uint8 and out.min() == 0 and out.max() == 255
    np.testing.assert_allclose(out / 255 * np.percentile(np.maximum(values, 0), 99.9), values.clip(0), atol=4)
    same = np.arange(10, dtype=np.uint8)
    assert cine.as_bytes(same) is same


def kspace_of(images: np.ndarray) -> np.ndarray:
    """Centred orthonormal transform of (…, y, x)."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes=axes), norm="ortho"), axes=axes)


def test_kspace_gives_the_images_cut_and_padded_round_the_centre(tmp_path: Path) -> None:
    """/kspace (slice, phase, coil, y, x); frames may repeat; pixel N // 2 stays in the middle."""
    rng = np.random.default_rng(1)
    images = rng.standard_normal((2, 6, 3, 12, 20)) + 1j * rng.standard_normal((2, 6, 3, 12, 20))
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace_of(images).astype(np.complex64)
    file = cine.KspaceFile(path)
    assert (file.slices, file.frames, file.coils) == (2, 6, 3) and cine.is_kspace(path)
    found = file.images(1, np.array([4, 5, 0, 1, 4]), 16)
    assert found.shape == (3, 5, 16, 16)
    wanted = images[1, [4, 5, 0, 1, 4]].swapaxes(0, 1)[..., 2:18]
    np.testing.assert_allclose(found[:, :, 2:14], wanted, atol=1e-5)
    assert not found[:, :, :2].any() and not found[:, :, 14:].any()


def test_kspace_of_another_layout_is_refused(tmp_path: Path) -> None:
    """Four axes, real numbers, too few frames: the file is named."""
    path = tmp_path / "raw.h5"
    for values, message in (
        (np.ones((3, 2, 8, 8), np.complex64), "complex .slice, phase, coil, y, x. was expected"),
        (np.ones((1, 6, 2, 8, 8), np.float32), "complex .slice, phase, coil, y, x. was expected"),
        (np.ones((1, 2, 2, 8, 8), np.complex64), "too short: 2 frames"),
    ):
        with h5py.File(path, "w") as file:
            file["kspace"] = values
        with pytest.raises(FormatError, match=f"raw.h5: .*{message}"):
            cine.KspaceFile(path)


def test_undersampled_ismrmrd_is_no_training_data(tmp_path: Path) -> None:
    """Seventeen of 240 lines are not the truth."""
    files = simulate_scan(
        tmp_path / "scan.h5", Phantom("short_axis"), sampling="cartesian", frames=5, matrix=32, coils=2
    )
    assert cine.is_kspace(files.raw)
    with pytest.raises(FormatError, match="scan.h5: training needs fully sampled"):
        cine.KspaceFile(files.raw)
