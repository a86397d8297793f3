"""The images of a live scan, read from the ring file that the worker writes (`recon_backend.live`).

Little-endian: 8 bytes `BCLIVE1` and a zero byte, uint32 height, width and slots, zeros up to 64 bytes; then
the slots, each a uint64 number and float32 pixels (y, x), padded to a multiple of 64 bytes. Image n lies in
slot (n − 1) mod slots, and is whole if the slot's number is n before and after it is copied.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"BCLIVE1\0"
_HEADER = struct.Struct("<8sIII")
_HEADER_BYTES = 64
_NUMBER_BYTES = 8
_ALIGNMENT = 64
_LARGEST = 4096
_MOST_SLOTS = 1024


class LiveRing:
    """An open ring file.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no ring file.
    """

    def __init__(self, path: Path) -> None:
        """Map the file."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._map) < _HEADER_BYTES:
            raise ValueError(f"{path.name} is no ring file of live images.")
        magic, height, width, slots = _HEADER.unpack_from(self._map)
        size = _NUMBER_BYTES + 4 * height * width
        self._slot_bytes = size + -size % _ALIGNMENT
        sound = magic == MAGIC and 1 <= height <= _LARGEST and 1 <= width <= _LARGEST
        if not sound or not 1 <= slots <= _MOST_SLOTS:
            raise ValueError(f"{path.name} is no ring file of live images.")
        if len(self._map) < _HEADER_BYTES + slots * self._slot_bytes:
            raise ValueError(f"{path.name} is shorter than its header says.")
        self._shape, self._slots = (height, width), slots

    def image(self, number: int) -> NDArray[np.float32] | None:
        """A copy of image `number` (y, x); None if newer ones have taken its place."""
        start = _HEADER_BYTES + (number - 1) % self._slots * self._slot_bytes
        if self._number_at(start) != number:
            return None
        count = self._shape[0] * self._shape[1]
        pixels = np.frombuffer(self._map, "<f4", count, start + _NUMBER_BYTES).reshape(self._shape)
        image = pixels.astype(np.float32)
        del pixels  # a view of the map would keep it from being closed
        return image if self._number_at(start) == number else None

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()

    def _number_at(self, start: int) -> int:
        return int(struct.unpack_from("<Q", self._map, start)[0])
