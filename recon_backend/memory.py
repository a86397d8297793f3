"""How much memory there is, and arrays of zeros that take memory only where they are written.

 Of zero-filled Cartesian k-space, 17 of 240 lines are written: a scan of 2,000 frames would take gigabytes
of zeros. NumPy asks the system for huge pages, which become resident as a whole at the first write; private
anonymous pages without that advice cost nothing until they are written, and reading them costs nothing.
"""

from __future__ import annotations

import math
import mmap
import os
from typing import Any

import numpy as np
import numpy.typing as npt

_USUAL_MEMORY = 8 * 2**30


def physical_memory() -> int:
    """Bytes of the machine's memory; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return _USUAL_MEMORY


def sparse_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = np.complex64) -> npt.NDArray[Any]:
    """Zeros of a shape and type, resident page by page as they are written."""
    size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    if hasattr(mmap, "MAP_PRIVATE"):
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    else:  # Windows commits the pages without making them resident
        pages = mmap.mmap(-1, size)
    return np.frombuffer(pages, dtype, count=math.prod(shape)).reshape(shape)
