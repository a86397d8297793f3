"""Cine MR images and fully sampled raw data of one's own: HDF5, NIfTI-1, ISMRMRD.

 Magnitude series come as (slice, frame, y, x): HDF5 data sets of that layout or (frame, y, x), and NIfTI-1
files (x, y, slice, frame), plain or gzipped; the reader follows the NIfTI-1 header's byte layout (348 bytes,
`dim` at 40, `datatype` at 70, `pixdim` at 76, `vox_offset` at 108, scaling at 112) in either byte order. Raw
data come as HDF5 with `/kspace` complex (slice, phase, coil, y, x), or as ISMRMRD with every line measured.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.errors import FormatError
from recon_backend.fourier import centred_ifft
from recon_backend.movie import MOVIE_FORMAT

CINE_SUFFIXES = (".nii", ".nii.gz", ".h5", ".hdf5", ".mrd")
KSPACE_NAME = "kspace"
_PERCENTILE = 99.9
_FEWEST_FRAMES = 5
_HEADER_BYTES = 348
# Code of the header → NumPy's type; complex and colour images are no magnitudes.
_NIFTI_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_SPATIAL_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
_TIME_UNITS_S = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}


@dataclass(frozen=True, eq=False)
class Nifti:
    """A NIfTI-1 image.

    Attributes:
        data: scaled values (x, y, slice, frame) as the header orders them.
        pixel_spacing_mm: (x, y, slice) in mm.
        frame_time_s: time between frames, 0 where the header states none.
    """

    data: npt.NDArray[Any]
    pixel_spacing_mm: tuple[float, float, float]
    frame_time_s: float


def read_nifti(path: Path) -> Nifti:
    """Read a single-file NIfTI-1 image of two to four dimensions.

    Raises:
        FormatError: it is no NIfTI-1 file, of another kind of data, or it ends too soon.
        OSError: the file cannot be read.
    """
    try:
        with _opened(path) as stream:
            header = stream.read(_HEADER_BYTES)
            order = "<" if header[:4] == _HEADER_BYTES.to_bytes(4, "little") else ">"
            if len(header) < _HEADER_BYTES or _integers(header, 0, "i4", order, 1)[0] != _HEADER_BYTES:
                raise FormatError(path, "this is no NIfTI-1 file (its header has another length).")
            if header[344:348] != b"n+1\0":
                raise FormatError(path, "expected NIfTI-1 in a single file (.nii or .nii.gz).")
            code = _integers(header, 70, "i2", order, 1)[0]
            if code not in _NIFTI_TYPES:
                raise FormatError(path, f"the data type {code} is none of magnitude images.")
            shape = _shape(path, _integers(header, 40, "i2", order, 8))
            spacing = np.frombuffer(header, f"{order}f4", 8, 76)
            offset, slope, intercept = np.frombuffer(header, f"{order}f4", 3, 108)
            kind = np.dtype(f"{order}{_NIFTI_TYPES[code]}")
            stream.seek(max(int(offset), _HEADER_BYTES + 4))
            wanted = kind.itemsize * math.prod(shape)
            content = stream.read(wanted)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(path, f"the gzipped file is damaged ({error}).") from error
    if len(content) < wanted:
        raise FormatError(path, f"the file ends after {len(content)} of {wanted} bytes of images.")
    data: npt.NDArray[Any] = np.frombuffer(content, kind).reshape(shape, order="F")
    if np.isfinite(slope) and slope != 0 and (slope, intercept) != (1, 0):
        data = data.astype(np.float32) * slope + intercept
    units = header[123]
    millimetres = _SPATIAL_UNITS_MM.get(units & 7, 1.0)
    x, y, z, t = (abs(float(value)) for value in spacing[1:5])
    seconds = t * _TIME_UNITS_S.get(units & 56, 0.0)
    return Nifti(data, (x * millimetres, y * millimetres, z * millimetres), seconds)


def _opened(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _integers(header: bytes, offset: int, kind: str, order: str, count: int) -> list[int]:
    return [int(value) for value in np.frombuffer(header, f"{order}{kind}", count, offset)]


def _shape(path: Path, dim: list[int]) -> tuple[int, int, int, int]:
    """The four axes (x, y, slice, frame) of `dim`, whose first entry counts the axes."""
    axes = dim[1 : 1 + dim[0]] if 1 <= dim[0] <= 7 else []
    if len(axes) < 2 or min(axes) < 1 or any(size != 1 for size in axes[4:]):
        raise FormatError(path, f"the image has the axes {axes}, but (x, y, slice, frame) was expected.")
    x, y, z, t = (*axes[:4], 1, 1)[:4]
    return x, y, z, t


def cine_names(path: Path) -> list[str]:
    """The magnitude series of a file: its own name (NIfTI, movies of this program) or its data sets' names.

    Raises:
        FormatError: the file holds none, or cannot be read.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return [_stem(path)]
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") == MOVIE_FORMAT:
                return [_stem(path)]
            names = sorted(name for name, value in file.items() if isinstance(value, h5py.Dataset))
    except OSError as error:
        raise FormatError(path, "not an HDF5 file, or damaged.") from error
    if not names:
        raise FormatError(path, "no cine found; expected data sets (slice, frame, y, x).")
    return names


def read_cine(path: Path, name: str) -> npt.NDArray[Any]:
    """One of the series that `cine_names` found: real numbers (slice, frame, y, x).

    Raises:
        FormatError: it is no cine of at least five frames, or cannot be read.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return _checked(path, name, read_nifti(path).data.transpose(2, 3, 1, 0))
    try:
        with h5py.File(path) as file:
            stored = "movie" if file.attrs.get("format") == MOVIE_FORMAT else name
            return _checked(path, name, file[stored][()])
    except (OSError, KeyError) as error:
        raise FormatError(path, f"{name} cannot be read; the file is damaged.") from error


def _stem(path: Path) -> str:
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


def _checked(path: Path, name: str, series: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The series with four axes, or a sentence that says what is wrong with it."""
    if series.ndim == 3:
        series = series[None]
    if series.ndim != 4 or series.dtype.kind not in "uif" or 0 in series.shape:
        raise FormatError(
            path,
            f"{name} has the shape {series.shape} of {series.dtype}, but (slice, frame, y, x) of real "
            "numbers was expected.",
        )
    if series.shape[1] < _FEWEST_FRAMES:
        raise FormatError(
            path, f"{name} is too short: {series.shape[1]} frames, but at least {_FEWEST_FRAMES} are needed."
        )
    if not np.isfinite(series).all():
        raise FormatError(path, f"{name} holds NaN or infinite values.")
    if series.min() == series.max():
        raise FormatError(path, f"every pixel of {name} has the same value; there is nothing to see.")
    return series


def as_bytes(series: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A magnitude series as uint8: 0 to its 99.9th percentile; uint8 stays as it is."""
    if series.dtype == np.uint8:
        return series
    values = np.maximum(series.astype(np.float32), 0)
    top = float(np.percentile(values, _PERCENTILE)) or float(values.max()) or 1.0
    return (np.clip(values / top, 0, 1) * 255 + 0.5).astype(np.uint8)


def is_kspace(path: Path) -> bool:
    """Whether an HDF5 file holds raw data (`/kspace`, or ISMRMRD) rather than images."""
    try:
        with h5py.File(path) as file:
            if KSPACE_NAME in file:
                return True
            return any(isinstance(group, h5py.Group) and "xml" in group for group in file.values())
    except OSError:
        return False


class KspaceFile:
    """Fully sampled multi-coil raw data of one file; a slice is read when it is asked for.

    Attributes:
        name: the file's stem.
        slices, frames, coils: sizes.
    """

    def __init__(self, path: Path) -> None:
        """Look into the file.

        Raises:
            FormatError: it holds no fully sampled Cartesian cine with several coils.
        """
        self.path, self.name = path, path.stem
        self._images: npt.NDArray[np.complex64] | None = None
        try:
            with h5py.File(path) as file:
                shape = file[KSPACE_NAME].shape if KSPACE_NAME in file else None
                kind = file[KSPACE_NAME].dtype.kind if KSPACE_NAME in file else "c"
        except OSError as error:
            raise FormatError(path, "not an HDF5 file, or damaged.") from error
        if shape is None:
            self._images = _ismrmrd_images(path)
            shape = (1, *self._images.swapaxes(0, 1).shape)
        if len(shape) != 5 or kind != "c" or 0 in shape:
            raise FormatError(
                path,
                f"/{KSPACE_NAME} has the shape {shape}, but complex (slice, phase, coil, y, x) was expected.",
            )
        self.slices, self.frames, self.coils = (int(size) for size in shape[:3])
        if self.frames < _FEWEST_FRAMES:
            raise FormatError(
                path, f"too short: {self.frames} frames, but at least {_FEWEST_FRAMES} are needed."
            )

    def images(
        self, slice_index: int, frames: npt.NDArray[np.intp], matrix: int
    ) -> npt.NDArray[np.complex64]:
        """Coil images (coil, frame, matrix, matrix) of chosen frames, cut or padded with zeros to the matrix.

        Raises:
            FormatError: the slice holds no signal, or values that are not finite.
        """
        if self._images is not None:
            chosen = self._images[:, frames]
        else:
            wanted, order = np.unique(frames, return_inverse=True)
            with h5py.File(self.path) as file:
                kspace = file[KSPACE_NAME][slice_index, wanted]
            chosen = centred_ifft(kspace.astype(np.complex64), (2, 3)).swapaxes(0, 1)[:, order]
        if not np.isfinite(chosen).all() or not chosen.any():
            raise FormatError(self.path, f"slice {slice_index} holds no signal, or NaN.")
        return _fitted(chosen.astype(np.complex64), matrix)


def _ismrmrd_images(path: Path) -> npt.NDArray[np.complex64]:
    from recon_backend.formats import open_acquisition

    acquisition = open_acquisition(path)
    if acquisition.mask is None or not acquisition.mask.all():
        lines = "non-Cartesian" if acquisition.mask is None else f"{acquisition.mask.mean():.0%} of the lines"
        raise FormatError(path, f"training needs fully sampled Cartesian raw data, but this is {lines}.")
    return centred_ifft(acquisition.kspace, (2, 3)).astype(np.complex64)


def _fitted(images: npt.NDArray[np.complex64], matrix: int) -> npt.NDArray[np.complex64]:
    """Cut or zero-pad the last two axes round their pixel N // 2."""
    for axis in (-2, -1):
        have = images.shape[axis]
        if have > matrix:
            first = have // 2 - matrix // 2
            images = images.take(range(first, first + matrix), axis=axis)
        elif have < matrix:
            before = matrix // 2 - have // 2
            padding = [(0, 0)] * images.ndim
            padding[axis] = (before, matrix - have - before)
            images = np.pad(images, padding)
    return images
