"""Event files for TensorBoard, written without TensorFlow, so that training under JAX has them too.

 A file is a sequence of records: length (uint64), its masked CRC-32C, the bytes, their masked CRC-32C, little
endian. Each record is a protobuf `Event`: 1 wall_time (double), 2 step (varint), 3 file_version (string), 5
summary; a summary's values (field 1) have 1 tag, 2 simple_value (float) or 4 image (1 height, 2 width, 3
channels, 4 PNG). A record that a killed process left half-written is the last of its file; readers stop
before it, and the next call opens a file of its own.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from recon_backend.checkpoints.crc32c import crc32c, masked

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_PNG_CHANNELS = 4


class EventWriter:
    """One event file in a folder, begun with the first record."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; it is made when something is written."""
        self._folder = folder
        self._path: Path | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append numbers by tag, such as {"validation/ssim": 0.91}."""
        self._append(
            step,
            [
                _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, float(value))
                for tag, value in values.items()
            ],
        )

    def image(self, step: int, tag: str, png: bytes) -> None:
        """Append a picture, given as the bytes of a PNG file."""
        width, height = struct.unpack(">II", png[16:24])
        picture = _field(1, _VARINT, height) + _field(2, _VARINT, width)
        picture += _field(3, _VARINT, _PNG_CHANNELS) + _field(4, _BYTES, png)
        self._append(step, [_field(1, _BYTES, tag.encode()) + _field(4, _BYTES, picture)])

    def _append(self, step: int, values: list[bytes]) -> None:
        summary = b"".join(_field(1, _BYTES, value) for value in values)
        event = _field(1, _DOUBLE, time.time()) + _field(2, _VARINT, step) + _field(5, _BYTES, summary)
        records = b""
        if self._path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns() // 1000}.{socket.gethostname()}.{os.getpid()}"
            self._path = self._folder / name
            version = _field(1, _DOUBLE, time.time()) + _field(3, _BYTES, b"brain.Event:2")
            records = _record(version)
        with self._path.open("ab") as stream:
            stream.write(records + _record(event))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked(crc32c(content)))


def _field(number: int, kind: int, value: float | bytes) -> bytes:
    """One protobuf field: its key, then the value in the wire format `kind`."""
    key = _varint(number << 3 | kind)
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if kind == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if kind == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
