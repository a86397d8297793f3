"""HDF5 files, read by a process of their own: whatever a file does to the HDF5 library ends as one sentence.

The process is started at the first file and kept for the next ones; one that crashes, or does not answer
within half a minute, is ended and a new one takes its place. See `hdf5_child` for why.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import JSON
from recon_backend.errors import FormatError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PROGRAM = Path(__file__).with_name("hdf5_child.py")
_PATIENCE_S = 30.0
_START_PATIENCE_S = 120.0
# Beside the file's own size: what the library needs for itself and for one block.
_ROOM_BYTES = 16 << 20
_LONGEST_LINE_BYTES = 1 << 24


def recognises(path: Path) -> bool:
    """True if the file begins as HDF5 does (HDF5 allows 512, 1024, 2048… bytes of anything before it)."""
    with open(path, "rb") as file:
        size = path.stat().st_size
        offset = 0
        while offset < size:
            file.seek(offset)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            offset = offset * 2 or 512
    return False


@dataclass(frozen=True)
class Dataset:
    """What the file says about one dataset.

    Attributes:
        name: path in the file, without leading slash.
        shape: its dimensions.
        type: dtype string, `{"fields": {name: type}}`, `{"vlen": type}` or "text".
        item_bytes: size of an element, without what variable-length members point to.
        chunk: shape of a chunk, or None if it is stored in one piece.
        stored_bytes: what it takes in the file, compressed if it is compressed.
    """

    name: str
    shape: tuple[int, ...]
    type: Any
    item_bytes: int = 0
    chunk: tuple[int, ...] | None = None
    stored_bytes: int = 0

    @property
    def members(self) -> Mapping[str, Any]:
        """Types of the members of a compound; empty if it is none."""
        return self.type.get("fields", {}) if isinstance(self.type, Mapping) else {}

    @property
    def is_complex(self) -> bool:
        """True for complex numbers, also those stored as pairs (real, imag)."""
        if isinstance(self.type, str):
            return self.type[1:2] == "c"
        names = tuple(name.lower() for name in self.members)
        return names in {("real", "imag"), ("r", "i")} and all(
            isinstance(part, str) and part[1:2] == "f" for part in self.members.values()
        )


@dataclass
class _Child:
    process: subprocess.Popen[bytes] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytearray]:
        """One question and its answer.

        Raises:
            EOFError: the process crashed or was ended because it did not answer.
        """
        fresh = self.process is None or self.process.poll() is not None
        if fresh:
            self.end()
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        watchdog = threading.Timer(_START_PATIENCE_S if fresh else _PATIENCE_S, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline(_LONGEST_LINE_BYTES)
            head = json.loads(line) if line.endswith(b"\n") else None
            if not isinstance(head, dict):
                raise EOFError
            payload = bytearray(int(head["bytes"]))
            view = memoryview(payload)
            while view:
                count = process.stdout.readinto(view)  # type: ignore[attr-defined]
                if not count:
                    raise EOFError
                view = view[count:]
        except (EOFError, OSError, ValueError, KeyError) as error:
            self.end()
            raise EOFError from error
        except BaseException:
            self.end()  # an interrupted answer must not be taken for the next one
            raise
        finally:
            watchdog.cancel()
        return head, payload

    def end(self) -> None:
        """End the process, if there is one."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what was not sent yet has no reader any more


_child = _Child()
atexit.register(_child.end)


class File:
    """An open HDF5 file; made by `open_file`."""

    def __init__(self, path: Path, child: _Child) -> None:
        """Open the file in the reading process and list what it holds."""
        self.path = path
        self._child = child
        self.bytes = path.stat().st_size
        head, _ = self.ask(
            "open", path=str(path.resolve()), room_bytes=self.bytes + _ROOM_BYTES, file_bytes=self.bytes
        )
        self.format = str(head["format"])
        self.datasets = {
            item["name"]: Dataset(
                name=item["name"],
                shape=tuple(item["shape"]),
                type=item["type"],
                item_bytes=item.get("item_bytes", 0),
                chunk=tuple(item["chunk"]) if item.get("chunk") else None,
                stored_bytes=item.get("stored_bytes", 0),
            )
            for item in head["datasets"]
        }

    def ask(self, operation: str, **arguments: JSON) -> tuple[dict[str, Any], bytearray]:
        """Put a question to the reading process.

        Raises:
            FormatError: the file is damaged, whatever that did to the process.
        """
        try:
            head, payload = self._child.ask({"operation": operation, **arguments})
        except EOFError as error:
            raise FormatError(
                self.path,
                "the HDF5 file is damaged or truncated (the HDF5 library failed on it); "
                "copy or export it again.",
            ) from error
        if "error" in head:
            reason = "truncated" if "truncated" in head["detail"] else "damaged or truncated"
            raise FormatError(self.path, f"the HDF5 file is {reason}; copy or export it again.")
        return head, payload

    def make_room(self, chunk_bytes: int) -> None:
        """Let the reading process hold a chunk, as it is stored and unpacked."""
        self.ask("room", room_bytes=self.bytes + _ROOM_BYTES + 2 * chunk_bytes)

    def text(self, name: str) -> bytes:
        """The bytes of a text dataset."""
        return bytes(self.ask("text", name=name)[1])

    def columns(self, name: str, paths: Sequence[Sequence[str]]) -> dict[str, npt.NDArray[Any]]:
        """Members of all elements of a list of compounds by their names, as int64 or float64."""
        head, payload = self.ask("columns", name=name, paths=[list(path) for path in paths])
        columns: dict[str, npt.NDArray[Any]] = {}
        offset = 0
        rows = self.datasets[name].shape[0]
        for path, kind in zip(paths, head["types"], strict=True):
            values = np.frombuffer(payload, np.dtype(kind), rows, offset)
            offset += values.nbytes
            if values.dtype.kind not in "iufb":
                raise FormatError(self.path, f"'{path[-1]}' of the readouts is not stored as a number.")
            columns[path[-1]] = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        return columns

    def ragged(
        self, name: str, members: Sequence[str], rows: npt.NDArray[np.int64], most_bytes: int
    ) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """The float arrays of some rows: for each member their lengths, and all values in turn."""
        start = int(rows[0])
        head, payload = self.ask(
            "ragged",
            name=name,
            members=list(members),
            start=start,
            stop=int(rows[-1]) + 1,
            pick=(rows - start).tolist(),
            most_bytes=most_bytes,
        )
        lengths = np.frombuffer(payload, np.int64, head["rows"] * len(members)).reshape(len(members), -1)
        values = np.frombuffer(payload, np.float32, offset=lengths.nbytes)
        ends = np.cumsum(lengths.sum(axis=1))
        return [(length, part) for length, part in zip(lengths, np.split(values, ends[:-1]), strict=True)]

    def slab(self, name: str, start: Sequence[int], count: Sequence[int]) -> npt.NDArray[np.complex64]:
        """A block of a complex dataset, complex64 of shape `count`."""
        _, payload = self.ask("slab", name=name, start=list(start), count=list(count))
        return np.frombuffer(payload, np.complex64).reshape(tuple(count))


@contextmanager
def open_file(path: Path) -> Iterator[File]:
    """Open an HDF5 file for as long as the block lasts.

    Raises:
        FormatError: it cannot be opened.
    """
    with _child.lock:
        file = File(path, _child)
        try:
            yield file
        finally:
            if _child.process is not None:
                try:
                    _child.ask({"operation": "close"})
                except EOFError:
                    pass  # a process that cannot even close is gone; the next file gets a new one
