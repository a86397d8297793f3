"""Memory and check sums of reading: a raw file is read in blocks and needs little more than its result.

An accelerated Cartesian scan is mostly zeros once its lines stand in a full matrix. `grid` gives an array
whose pages exist only where something was written, and refuses sizes that no scan of that many samples has:
a damaged header can claim a matrix, a coil or a frame count that would fill any memory.
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from recon_backend.errors import InvalidAcquisition

Progress: TypeAlias = Callable[[str, float], None]

BLOCK_BYTES = 1 << 20
# k-space may hold this many times the samples that were read; acceleration 30 and unequal frames stay below.
LARGEST_GRID_RATIO = 100
_SMALLEST_MAP_BYTES = 1 << 16


def silent(_phase: str, _fraction: float) -> None:
    """Progress that nobody asked for."""


def grid(shape: tuple[int, ...], samples: int) -> npt.NDArray[np.complex64]:
    """Zeros for the k-space of a scan, complex64, whose untouched pages take no memory.

    Args:
        shape: of the array.
        samples: complex samples that the file holds for it.

    Raises:
        InvalidAcquisition: the array would be more than 100 times as large as the samples, or more than the
            machine can address.
    """
    size = math.prod(shape)
    if size > LARGEST_GRID_RATIO * max(samples, 1):
        raise InvalidAcquisition(
            f"k-space of {' x '.join(map(str, shape))} samples (frames, coils, readouts) would be "
            f"{size // max(samples, 1)} times as large as the {samples} samples in the file; "
            "its header or its counters are damaged."
        )
    return zeros(shape, np.complex64)


def line_grid(coils: int, frames: int, lines: int, columns: int, samples: int) -> npt.NDArray[np.complex64]:
    """As `grid`, for Cartesian k-space (coil, frame, ky, kx) of which few lines are acquired.

    In memory the coils of a line lie side by side, so that an acquired line fills its pages.
    """
    return grid((frames, lines, coils, columns), samples).transpose(2, 0, 1, 3)


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros whose untouched pages take no memory, also where huge pages are on.

    Raises:
        InvalidAcquisition: the machine cannot give that much.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        # NumPy asks for pages of 2 MiB, of which one line of k-space would fill a whole one.
        if size < _SMALLEST_MAP_BYTES or not hasattr(mmap, "MADV_NOHUGEPAGE"):
            return np.zeros(shape, dtype)
        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        region.madvise(mmap.MADV_NOHUGEPAGE)
        return np.frombuffer(region, dtype).reshape(shape)
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise InvalidAcquisition(
            f"the scan needs {size / 1e9:.1f} GB of memory, more than this machine can give."
        ) from error


def readouts_a_block(coils: int, length: int) -> int:
    """How many readouts are read at a time."""
    return max(1, min(1024, BLOCK_BYTES // max(1, 8 * coils * length)))


def sha256(paths: Iterable[Path], report: Callable[[float], None]) -> str:
    """SHA-256 of a file; of several (a raw file and what lies beside it), the one of their SHA-256s in turn.

    Args:
        paths: the files.
        report: called with the fraction that is done.
    """
    paths = list(paths)
    total = max(1, sum(path.stat().st_size for path in paths))
    done = 0
    digests = []
    for path in paths:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                report(min(done / total, 1.0))
        digests.append(digest.hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
