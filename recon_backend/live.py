"""A scan played live for the window: images go through a memory-mapped ring file, their place through JSON.

The ring file, little-endian: 8 bytes `BCLIVE1` and a zero byte, then uint32 height, width and slots, zeros up
to 64 bytes, then the slots. A slot is a uint64 number and float32 pixels (y, x), padded to a multiple of 64
bytes. Image n (from 1) goes to slot (n − 1) mod slots. The slot's number is 0 while its pixels are being
written and n afterwards: a reader that finds n before and after copying has the whole image n, without any
lock.
"""

from __future__ import annotations

import dataclasses
import mmap
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend.formats import open_acquisition
from recon_backend.streaming import (
    LatencyStatistics,
    ReplayedScan,
    StreamedFrame,
    StreamSettings,
    describe_latency,
    stream,
)

MAGIC = b"BCLIVE1\0"
SLOTS = 8
_HEADER = struct.Struct("<8sIII")
_HEADER_BYTES = 64
_NUMBER_BYTES = 8
_ALIGNMENT = 64
_RECENT_IMAGES = 200


def slot_bytes(height: int, width: int) -> int:
    """Size of a slot."""
    size = _NUMBER_BYTES + 4 * height * width
    return size + -size % _ALIGNMENT


class RingWriter:
    """Writes images into a ring file.

    Args:
        path: the file; it takes its name when it is ready to be read.
        shape: (y, x) of all images.
        slots: images that a reader may fall behind.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int], slots: int = SLOTS) -> None:
        """Make the file."""
        self._shape = shape
        self._slots = slots
        self._slot_bytes = slot_bytes(*shape)
        size = _HEADER_BYTES + slots * self._slot_bytes
        partial = path.with_name(f".{path.name}.part")
        with partial.open("w+b") as file:
            file.truncate(size)
            file.write(_HEADER.pack(MAGIC, *shape, slots))
            file.flush()
            self._map = mmap.mmap(file.fileno(), size)
        partial.replace(path)
        self._written = 0

    def write(self, image: npt.NDArray[np.float32]) -> int:
        """Put an image (y, x) into the next slot; returns its number.

        Raises:
            ValueError: it has another shape.
        """
        if image.shape != self._shape:
            raise ValueError(f"the image is {image.shape}, but the ring holds images of {self._shape}.")
        self._written += 1
        start = _HEADER_BYTES + (self._written - 1) % self._slots * self._slot_bytes
        pixels = start + _NUMBER_BYTES
        struct.pack_into("<Q", self._map, start, 0)
        self._map[pixels : pixels + image.size * 4] = np.ascontiguousarray(image, "<f4").tobytes()
        struct.pack_into("<Q", self._map, start, self._written)
        return self._written

    def close(self) -> None:
        """Let go of the file, which stays."""
        self._map.close()


def play_live(
    path: Path,
    ring: Path,
    settings: StreamSettings,
    *,
    progress: Callable[[str, float], None],
    emit: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Play a raw file at the scanner's pace, over and over, until it is cancelled.

    Args:
        path: raw data.
        ring: the ring file to write.
        settings: method and the rest; the newest image wins whatever they say.
        progress: called before each image; raises `Cancelled` to end.
        emit: takes what is to be told of each image: `number` and `ring` say where it is, `index`, `time_s`,
            `latency_s`, `p95_s` (of the last 200 images, or None), `dropped`, `held`, `shape` and
            `pixel_spacing_mm` what it is.

    Returns:
        The statistics, if the scan ended by itself.

    Raises:
        ReconstructionError: the file cannot be read or the method cannot be used.
        Cancelled: `progress` raised it.
    """
    progress("Reading", 0.0)
    acquisition = open_acquisition(path, progress=progress)
    progress("Starting", 1.0)
    settings = dataclasses.replace(settings, newest_wins=True)
    sentence = describe_latency(settings, acquisition.sampling)
    statistics = LatencyStatistics()
    recent: deque[float] = deque(maxlen=_RECENT_IMAGES)
    writer: RingWriter | None = None
    images = stream(ReplayedScan(acquisition, "real", repeat=True), settings)
    try:
        for frame in images:
            progress("Live", 1.0)
            writer = writer or RingWriter(ring, (frame.image.shape[0], frame.image.shape[1]))
            number = writer.write(frame.image)
            statistics.add(frame)
            if not frame.held:
                recent.append(frame.latency_s)
            emit(_told(frame, number, ring, recent) | ({"note": sentence} if number == 1 else {}))
    finally:
        images.close()
        if writer is not None:
            writer.close()
    return statistics.summary()


def _told(frame: StreamedFrame, number: int, ring: Path, recent: deque[float]) -> dict[str, Any]:
    return {
        "number": number,
        "ring": str(ring),
        "index": frame.index,
        "time_s": round(frame.time_s, 6),
        "latency_s": round(frame.latency_s, 6),
        "p95_s": round(float(np.percentile(list(recent), 95, method="inverted_cdf")), 6) if recent else None,
        "dropped": frame.dropped,
        "held": frame.held,
        "shape": list(frame.image.shape),
        "pixel_spacing_mm": list(frame.raw.acquisition.pixel_spacing_mm),
    }
