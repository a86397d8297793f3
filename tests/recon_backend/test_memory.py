"""Sparse zeros are zeros, can be written, and take memory where they were."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from recon_backend.memory import sparse_zeros


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_zeros_that_can_be_written() -> None:
    array = sparse_zeros((3, 5, 7), np.complex64)
    assert array.shape == (3, 5, 7) and array.dtype == np.complex64 and not array.any()
    array[1, 2] = 1 + 2j
    assert array.sum() == 7 * (1 + 2j)
    assert sparse_zeros((0, 4)).shape == (0, 4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_follows_what_is_written() -> None:
    before = resident_bytes()
    array = sparse_zeros((200, 1024, 1024), np.uint8)  # 200 MiB
    array[:, 100:110] = 1
    array[:, 500:900].sum()  # reading costs nothing
    assert resident_bytes() - before < 30 * 2**20
