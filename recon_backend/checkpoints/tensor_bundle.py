"""TensorFlow's checkpoints ("tensor bundles"), read without TensorFlow.

`variables.index` is a table as LevelDB writes it: blocks of prefix-compressed entries, each followed by its
kind of compression and a masked CRC-32C, found by an index block to which a footer of 48 bytes points. The
value of a key is a small protobuf that says type, shape, place and masked CRC-32C of one variable, whose
bytes lie in `variables.data-00000-of-00001`, little endian and in C order (paper_spec §4.5). Every length and
offset is checked before it is used: a file may be damaged, or made up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recon_backend.checkpoints.crc32c import crc32c, masked
from recon_backend.errors import FormatError

INDEX_NAME = "variables.index"
DATA_NAME = "variables.data-00000-of-00001"
FLOAT32 = 1

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5
_LARGEST_INDEX_BYTES = 1 << 26
_LARGEST_VARINT_BYTES = 10


class _Damaged(ValueError):
    """What is wrong with bytes that do not follow the format."""


@dataclass(frozen=True)
class Entry:
    """One variable as the index describes it.

    Attributes:
        name: its key.
        dtype: TensorFlow's number of the type; 1 is float32.
        shape: its shape.
        offset, size: where its bytes lie in the data file.
        masked_crc32c: their checksum as it is stored.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    masked_crc32c: int


@dataclass(frozen=True)
class TensorBundle:
    """A checkpoint whose index has been read.

    Attributes:
        index_path, data_path: its two files.
        entries: all variables by key, in the order of the index.
    """

    index_path: Path
    data_path: Path
    entries: Mapping[str, Entry]

    @classmethod
    def open(cls, folder: Path) -> TensorBundle:
        """Read the index in `folder`, and compare the size of the data file with it.

        Raises:
            FormatError: one of the files is missing, damaged, cut off, or does not belong to the other.
        """
        index_path, data_path = folder / INDEX_NAME, folder / DATA_NAME
        entries = _read_index(index_path)
        expected = max((entry.offset + entry.size for entry in entries.values()), default=0)
        try:
            found = data_path.stat().st_size
        except OSError as error:
            raise FormatError(
                data_path, f"the weights cannot be read ({error.strerror}); expected {expected:,} bytes."
            ) from error
        if found != expected:
            state = "cut off" if found < expected else "too long"
            raise FormatError(
                data_path,
                f"the file is {state} or belongs to another {INDEX_NAME}: expected {expected:,} bytes, found "
                f"{found:,}; copy both files again.",
            )
        return cls(index_path, data_path, entries)

    def read(self, name: str, described: str) -> npt.NDArray[np.float32]:
        """The values of a float32 variable, compared with its checksum.

        Args:
            name: its key.
            described: what errors call it.

        Raises:
            FormatError: it is of another type, or its bytes do not have the index's checksum.
        """
        entry = self.entries[name]
        expected = 4 * int(np.prod(entry.shape, dtype=np.int64))
        if entry.dtype != FLOAT32 or entry.size != expected:
            raise FormatError(
                self.index_path,
                f"{described} has type {entry.dtype} and {entry.size:,} bytes, expected type {FLOAT32} "
                f"(float32) and {expected:,} bytes.",
            )
        with self.data_path.open("rb") as stream:
            stream.seek(entry.offset)
            content = stream.read(entry.size)
        found = masked(crc32c(content))
        if len(content) != entry.size or found != entry.masked_crc32c:
            raise FormatError(
                self.data_path,
                f"{described} is damaged or belongs to another {INDEX_NAME}: expected checksum "
                f"{entry.masked_crc32c:#010x} in bytes {entry.offset:,} to {entry.offset + entry.size:,}, "
                f"found {found:#010x}; copy both files again.",
            )
        return np.frombuffer(content, "<f4").reshape(entry.shape).astype(np.float32)


def _read_index(path: Path) -> dict[str, Entry]:
    try:
        size = path.stat().st_size
        if size > _LARGEST_INDEX_BYTES:
            raise FormatError(path, f"the index has {size:,} bytes, expected less than 64 MiB.")
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(
            path, f"the checkpoint's index cannot be read ({error.strerror}); is this a SavedModel folder?"
        ) from error
    entries: dict[str, Entry] = {}
    header = False
    try:
        for key, value in _table_entries(content):
            if key == b"":
                _check_header(value)
                header = True
                continue
            name = key.decode()
            if name in entries:
                raise _Damaged(f"the variable {name} occurs twice")
            entries[name] = _entry(name, value)
    except (_Damaged, UnicodeDecodeError) as error:
        raise FormatError(path, f"not a sound checkpoint index: {error}; copy it again.") from error
    if not header:
        raise FormatError(path, "not a checkpoint index: the header entry is missing.")
    return entries


def _table_entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of all blocks in order."""
    if len(content) < _FOOTER_BYTES:
        raise _Damaged(f"{len(content)} bytes are too short for a table, whose footer has {_FOOTER_BYTES}")
    footer = content[-_FOOTER_BYTES:]
    (magic,) = struct.unpack("<Q", footer[-8:])
    if magic != _MAGIC:
        raise _Damaged(f"its last 8 bytes are {magic:#018x}, expected {_MAGIC:#018x}")
    meta, position = _handle(footer, 0)
    _block(content, *meta)  # it is empty, but its checksum has to be right
    index, _ = _handle(footer, position)
    for _, value in _block_entries(_block(content, *index)):
        handle, _ = _handle(value, 0)
        yield from _block_entries(_block(content, *handle))


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the position behind them."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _block(content: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER_BYTES > len(content) - _FOOTER_BYTES:
        raise _Damaged(f"a block ends at byte {end}, beyond the {len(content)} of the file")
    compression = content[end]
    (expected,) = struct.unpack_from("<I", content, end + 1)
    found = masked(crc32c(memoryview(content)[offset : end + 1]))
    if found != expected:
        raise _Damaged(
            f"the block at byte {offset} has checksum {found:#010x}, but {expected:#010x} was expected"
        )
    if compression:
        raise _Damaged(f"the block at byte {offset} is compressed (kind {compression}), expected plain bytes")
    return content[offset:end]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise _Damaged(f"a block has {len(block)} bytes, expected at least 4")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise _Damaged(f"a block of {len(block)} bytes claims {restarts} restart points")
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        added, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + added + length > end:
            raise _Damaged("an entry goes beyond its block")
        key = key[:shared] + block[position : position + added]
        position += added + length
        yield key, block[position - length : position]


def _check_header(value: bytes) -> None:
    """The header: number of data files (1), byte order (2), version (3)."""
    fields = dict(_fields(value))
    shards, order = fields.get(1, 0), fields.get(2, 0)
    if shards != 1:
        raise _Damaged(f"the weights are in {shards!r} files, expected 1 ({DATA_NAME})")
    if order != 0:
        raise _Damaged("the weights are big endian, expected little endian")


def _entry(name: str, value: bytes) -> Entry:
    """The protobuf of a variable: 1 type, 2 shape, 3 data file, 4 offset, 5 size, 6 checksum, 7 slices."""
    dtype = offset = size = checksum = 0
    shape: list[int] = []
    for field, content in _fields(value):
        if field == 2 and isinstance(content, bytes):
            shape = [_extent(name, extent) for number, extent in _fields(content) if number == 2]
        elif field == 7 or (field == 3 and content != 0):
            raise _Damaged(f"{name} is cut into slices or lies in a second data file, expected one piece")
        elif isinstance(content, int):
            dtype = content if field == 1 else dtype
            offset = content if field == 4 else offset
            size = content if field == 5 else size
            checksum = content if field == 6 else checksum
    if max(offset, size, *shape, 0) >= 1 << 48:
        raise _Damaged(f"{name} claims bytes {offset:,} to {offset + size:,} and shape {shape}")
    return Entry(name, dtype, tuple(shape), offset, size, checksum)


def _extent(name: str, dimension: int | bytes) -> int:
    """The size in a dimension's protobuf; absent stands for 0."""
    if not isinstance(dimension, bytes):
        raise _Damaged(f"the shape of {name} is no list of dimensions")
    size = dict(_fields(dimension)).get(1, 0)
    if not isinstance(size, int):
        raise _Damaged(f"the shape of {name} has a dimension that is no number")
    return size


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protobuf."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise _Damaged(f"a field is of kind {kind}")
        if position + length > len(message):
            raise _Damaged("a field goes beyond its message")
        content = message[position : position + length]
        position += length
        yield tag >> 3, content if kind == 2 else int.from_bytes(content, "little")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in seven bits a byte, and the position behind it."""
    value = 0
    for index in range(_LARGEST_VARINT_BYTES):
        if position + index >= len(data):
            raise _Damaged("a number goes beyond the end")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _Damaged("a number has more than 10 bytes")
