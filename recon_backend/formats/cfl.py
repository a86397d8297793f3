"""BART's array files: `.hdr` (a text with the dimensions) and `.cfl` (complex64, first dimension fastest).

The dimensions are, in BART's order: 0 readout, 1 and 2 phase encoding, 3 coil, 4 maps, 5 echo, 10 time,
11 time 2, 13 slice, 14 average. A trajectory has its three components along dimension 0, in cycles/FOV,
samples along 1 and readouts along 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recon_backend.errors import FormatError, InvalidAcquisition

DIMENSIONS = 16
_LONGEST_HEADER_BYTES = 1 << 16
_TOLERANCE = 0.02
_FIRST_LINE = b"# Dimensions"


@dataclass(frozen=True)
class Array:
    """A pair of files.

    Attributes:
        header: the .hdr file.
        data: the .cfl file.
        dims: 16 dimensions.
    """

    header: Path
    data: Path
    dims: tuple[int, ...]

    @property
    def files(self) -> tuple[Path, Path]:
        """Both files."""
        return self.data, self.header


def header_of(path: Path) -> Path | None:
    """The header that belongs to either file of a pair, or None if the path is of no such pair."""
    for candidate in (path, path.with_suffix(".hdr")):
        if candidate.is_file():
            with open(candidate, "rb") as file:
                if file.read(len(_FIRST_LINE)) == _FIRST_LINE:
                    return candidate
    return None


def open_array(header: Path) -> Array:
    """Read a header and check that the data are there, as large as it says.

    Raises:
        FormatError: the header is damaged, or the data are missing, truncated or too long.
    """
    with open(header, "rb") as file:
        lines = file.read(_LONGEST_HEADER_BYTES).decode("latin-1").splitlines()
    try:
        dims = [int(word) for word in lines[1].split()]
    except (IndexError, ValueError) as error:
        raise FormatError(header, "the line after '# Dimensions' must hold whole numbers.") from error
    if not 1 <= len(dims) <= DIMENSIONS or min(dims) < 1:
        raise FormatError(header, f"expected 1 to {DIMENSIONS} dimensions, each at least 1.")
    data = header.with_suffix(".cfl")
    if not data.is_file():
        raise FormatError(header, f"the data are missing; expected '{data.name}' in the same folder.")
    size, expected = data.stat().st_size, 8 * math.prod(dims)
    if size != expected:
        state = "truncated" if size < expected else "longer than that"
        shown = " x ".join(str(n) if n < 1e9 else f"{n:.3g}" for n in dims if n > 1) or "1"
        raise FormatError(
            data,
            f"its header says {shown} samples, {float(expected):.10g} bytes, but the file is {state} "
            f"({size}).",
        )
    return Array(header, data, tuple(dims + [1] * (DIMENSIONS - len(dims))))


def read_block(array: Array, **fixed: int) -> npt.NDArray[np.complex64]:
    """Read the part with some of the dimensions from 4 on held fixed; what lies before must be whole.

    Args:
        array: the pair.
        fixed: positions such as `d10=3`; dimensions from 4 on that are not named are at 0.

    Returns:
        complex64 (coil, dimension 2, dimension 1, dimension 0).
    """
    dims = array.dims
    count = math.prod(dims[:4])
    offset, stride = 0, count
    for dimension in range(4, DIMENSIONS):
        offset += stride * fixed.get(f"d{dimension}", 0)
        stride *= dims[dimension]
    values = np.fromfile(array.data, np.dtype("<c8"), count, offset=8 * offset)
    if values.size != count:
        raise FormatError(array.data, "the file became shorter while it was read.")
    return values.reshape(dims[3], dims[2], dims[1], dims[0])


def read_trajectory(path: Path, time_dimension: int = 10) -> npt.NDArray[np.float32]:
    """Read a BART trajectory as float32 (frame, readout, sample, 2), components (y, x), cycles/FOV.

    Raises:
        FormatError: it is no trajectory, or runs in three dimensions.
    """
    header = header_of(path)
    if header is None:
        raise FormatError(path, "this is no .cfl file of BART: its .hdr is missing.")
    array = open_array(header)
    dims = array.dims
    others = [n for n, size in enumerate(dims) if size > 1 and n not in (0, 1, 2, time_dimension)]
    if dims[0] not in (2, 3) or others:
        raise FormatError(
            array.data,
            "this is no trajectory; expected dimensions 3 x samples x readouts, and frames along dimension "
            f"{time_dimension}.",
        )
    whole = np.empty((dims[time_dimension], dims[2], dims[1], 2), np.float32)
    for frame in range(dims[time_dimension]):
        points = read_block(array, **{f"d{time_dimension}": frame})[0].real
        if not np.isfinite(points).all():
            raise FormatError(array.data, "the trajectory holds NaN or infinite values.")
        if dims[0] == 3 and points[..., 2].any():
            raise FormatError(
                array.data, "the trajectory has 3 dimensions; only 2-dimensional slices can be read."
            )
        whole[frame] = points[..., 1::-1]
    return whole


def convert_to_radians(trajectory: npt.NDArray[np.float32], matrix: tuple[int, int]) -> str:
    """Bring a trajectory (frame, readout, sample, 2), components (y, x), from cycles/FOV to rad/pixel.

    It is changed in place.

    Returns:
        A note on the unit.

    Raises:
        InvalidAcquisition: it reaches beyond half the matrix.
    """
    largest = np.abs(trajectory).max(axis=(0, 1, 2))
    if not (largest <= np.asarray(matrix) / 2 * (1 + _TOLERANCE)).all():
        raise InvalidAcquisition(
            f"the trajectory reaches {largest[0]:.4g} x {largest[1]:.4g} cycles/FOV (y x x), more than half "
            f"the matrix of {matrix[0]} x {matrix[1]}."
        )
    for part in trajectory:
        part[:] = np.clip(part * (2 * np.pi / np.asarray(matrix)), -np.pi, np.pi)
    return f"it was in cycles/FOV (largest {largest.max():.4g})"
