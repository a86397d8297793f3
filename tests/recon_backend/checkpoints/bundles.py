"""A writer of TensorFlow's checkpoint files, independent of the reader: format and checksum byte by byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
FACTS = Path(__file__).parents[2] / "data" / "published_index.json"
RESTART_INTERVAL = 16
BLOCK_BYTES = 4096

# Key, type, shape, offset, size, masked checksum.
Row = tuple[str, int, tuple[int, ...], int, int, int]


def _step(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


TABLE = [_step(value) for value in range(256)]


def crc32c(data: bytes) -> int:
    """The textbook's loop."""
    register = 0xFFFFFFFF
    table = TABLE
    for byte in data:
        register = table[(register ^ byte) & 255] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Rotate right by 15, add the constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def inverse_of_four_bytes(crc: int) -> bytes:
    """The only four bytes with this CRC-32C, by stepping the register back."""
    by_top = {value >> 24: index for index, value in enumerate(TABLE)}
    register = crc ^ 0xFFFFFFFF
    for _ in range(4):
        index = by_top[register >> 24]
        register = ((register ^ TABLE[index]) << 8 & 0xFFFFFFFF) | index
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")


def published_rows(network: str) -> list[Row]:
    """Every entry of a published index."""
    rows = json.loads(FACTS.read_text())[network]
    return [
        (
            key if key.startswith("_") else key + SUFFIX,
            dtype,
            tuple(shape),
            offset,
            size,
            crc,
        )
        for key, dtype, shape, offset, size, crc in rows
    ]


def published_weights(network: str) -> list[Row]:
    """The entries of the network's variables, in the published order."""
    rows = {row[0]: row for row in published_rows(network)}
    found = []
    while (key := f"variables/{len(found)}{SUFFIX}") in rows:
        found.append(rows[key])
    return found


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _entry(dtype: int, shape: Sequence[int], offset: int, size: int, crc: int) -> bytes:
    dimensions = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in shape))
    out = b"\x08" + varint(dtype) + b"\x12" + varint(len(dimensions)) + dimensions
    if offset:
        out += b"\x20" + varint(offset)
    return out + b"\x28" + varint(size) + b"\x35" + struct.pack("<I", crc)


def _block(pairs: Sequence[tuple[bytes, bytes]], interval: int) -> bytes:
    out, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return (
        out
        + b"".join(struct.pack("<I", restart) for restart in restarts or [0])
        + struct.pack("<I", len(restarts or [0]))
    )


def index_bytes(rows: Sequence[Row], *, header: bytes = b"\x08\x01\x1a\x02\x08\x01", kind: int = 0) -> bytes:
    """`variables.index`; `kind` is what the blocks claim of their compression."""
    pairs = [(b"", header)] + sorted((key.encode(), _entry(*rest)) for key, *rest in rows)  # type: ignore[arg-type]
    content, handles = b"", []

    def put(block: bytes) -> bytes:
        nonlocal content
        handle = varint(len(content)) + varint(len(block))
        trailed = block + bytes([kind])
        content += trailed + struct.pack("<I", masked(crc32c(trailed)))
        return handle

    group: list[tuple[bytes, bytes]] = []
    for key, value in pairs:
        group.append((key, value))
        if sum(len(k) + len(v) for k, v in group) > BLOCK_BYTES:
            handles.append((group[-1][0], put(_block(group, RESTART_INTERVAL))))
            group = []
    if group:
        handles.append((group[-1][0], put(_block(group, RESTART_INTERVAL))))
    meta = put(_block([], 1))
    footer = meta + put(_block(handles, 1))
    return content + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write_bundle(
    folder: Path,
    network: str,
    values: Mapping[int, npt.NDArray[np.float32]],
    rows: Sequence[Row] | None = None,
) -> Path:
    """A SavedModel folder in the published layout.

    Args:
        folder: made here.
        network: name of the published one.
        values: of some variables, by number; the other bytes of the data file are a hole of zeros.
        rows: other entries than the published ones.
    """
    inner = folder / "variables"
    inner.mkdir(parents=True)
    rows = list(rows if rows is not None else published_rows(network))
    with (inner / "variables.data-00000-of-00001").open("wb") as stream:
        for number, value in values.items():
            position, row = next(
                (index, row) for index, row in enumerate(rows) if row[0] == f"variables/{number}{SUFFIX}"
            )
            content = value.astype("<f4").tobytes()
            assert (value.shape, len(content)) == (row[2], row[4])
            stream.seek(row[3])
            stream.write(content)
            rows[position] = (*row[:5], masked(crc32c(content)))
        stream.truncate(max(row[3] + row[4] for row in rows))
    (inner / "variables.index").write_bytes(index_bytes(rows))
    return folder


def random_values(network: str, seed: int = 3) -> dict[int, npt.NDArray[np.float32]]:
    """Values of a network's size that keep a signal's size, so that nothing dies out or explodes."""
    rng = np.random.default_rng(seed)
    values = {}
    for number, (_, _, shape, *_) in enumerate(published_weights(network)):
        spread = 1.2 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 0.1
        values[number] = (spread * rng.standard_normal(shape)).astype(np.float32)
    return values
