"""The process that touches HDF5 files, so that a damaged one cannot take the application with it.

The HDF5 library trusts its files: single changed bytes make it read outside its memory, loop for ever, or ask
for terabytes. This program therefore runs apart (started by `recon_backend.formats.hdf5`), with an upper
limit of memory where the system knows one, and its caller ends it when it does not answer. It imports nothing
of blindcine. Requests are JSON lines on standard input; an answer is a JSON line and as many raw bytes as
its `bytes` says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np

_MOST_OBJECTS = 2000
_LONGEST_TEXT_BYTES = 1 << 25
_ROWS_A_BLOCK = 64
_CACHE_BYTES = 1 << 22
_METADATA_BYTES = 1 << 21
_EXPECTED = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, AttributeError)

Answer = tuple[dict[str, Any], list[Any]]


def limit_memory(room_bytes: int) -> None:
    """Let this process grow by so many bytes from now on, where the system can enforce it."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + room_bytes, hard))
    except (ImportError, OSError, ValueError):
        return  # Windows and macOS: the caller's own checks of sizes remain


def describe_type(dtype: np.dtype[Any]) -> str | dict[str, Any]:
    """A dtype as JSON: its string, `{"fields": …}`, or `{"vlen": …}`."""
    if dtype.names:
        return {"fields": {name: describe_type(dtype[name]) for name in dtype.names}}
    if h5py.check_string_dtype(dtype) is not None or dtype.kind == "S":
        return "text"
    base = h5py.check_vlen_dtype(dtype)
    if base is not None:
        return {"vlen": describe_type(np.dtype(base))}
    return dtype.str


def as_complex(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Complex numbers stored as such or as pairs (real, imag) or (r, i)."""
    if values.dtype.names:
        real, imaginary = values.dtype.names
        whole = np.empty(values.shape, np.complex64)
        whole.real = values[real]
        whole.imag = values[imaginary]
        return whole
    return np.ascontiguousarray(values, np.complex64)


class Server:
    """One open file at a time."""

    def __init__(self) -> None:
        """No file is open."""
        self.file: h5py.File | None = None

    def open(self, request: Mapping[str, Any]) -> Answer:
        """Open a file and list its datasets."""
        limit_memory(int(request["room_bytes"]))
        self.close(request)
        self.file = h5py.File(request["path"], "r", rdcc_nbytes=min(_CACHE_BYTES, int(request["file_bytes"])))
        datasets: list[dict[str, Any]] = []
        seen = 0

        def visit(name: str, item: h5py.HLObject) -> bool | None:
            nonlocal seen
            seen += 1
            if isinstance(item, h5py.Dataset):
                try:
                    datasets.append(self._describe(name, item))
                except _EXPECTED:
                    datasets.append({"name": name, "shape": [], "type": "unreadable"})
            return True if seen >= _MOST_OBJECTS else None

        self.file.visititems(visit)
        self._shrink_cache()
        kind = self.file.attrs.get("format", "")
        return {"datasets": datasets, "format": kind if isinstance(kind, str) else ""}, []

    def _shrink_cache(self) -> None:
        """Keep the library from holding all variable-length data that it has read."""
        assert self.file is not None
        config = self.file.id.get_mdc_config()
        config.set_initial_size = True
        config.initial_size = config.min_size = config.max_size = _METADATA_BYTES
        config.incr_mode = config.flash_incr_mode = config.decr_mode = 0
        self.file.id.set_mdc_config(config)

    @staticmethod
    def _describe(name: str, item: h5py.Dataset) -> dict[str, Any]:
        return {
            "name": name,
            "shape": [int(n) for n in item.shape or ()],
            "type": describe_type(item.dtype),
            "item_bytes": int(item.dtype.itemsize),
            "chunk": [int(n) for n in item.chunks] if item.chunks else None,
            "stored_bytes": int(item.id.get_storage_size()),
        }

    def room(self, request: Mapping[str, Any]) -> Answer:
        """Allow this process to grow by so many bytes from now on."""
        limit_memory(int(request["room_bytes"]))
        return {}, []

    def close(self, _request: Mapping[str, Any]) -> Answer:
        """Close the file, if one is open."""
        if self.file is not None:
            self.file.close()
            self.file = None
        return {}, []

    def text(self, request: Mapping[str, Any]) -> Answer:
        """The bytes of a text, or of the first of a list of texts."""
        dataset = self._dataset(request)
        value = dataset[()] if dataset.shape == () else dataset[0] if dataset.size else b""
        if isinstance(value, np.ndarray):
            value = value.tobytes()
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, bytes):
            raise TypeError("not a text")
        if len(value) > _LONGEST_TEXT_BYTES:
            raise ValueError("text too long")
        return {}, [value]

    def columns(self, request: Mapping[str, Any]) -> Answer:
        """Members of a list of compounds, each as one array of all rows; paths such as ["head", "flags"]."""
        dataset = self._dataset(request)
        paths: list[list[str]] = request["paths"]
        columns: list[Any] = []
        for start, rows in self._heads(dataset, paths[0][0]):
            for place, path in enumerate(paths):
                part = rows
                for member in path[1:]:
                    part = part[member]
                if start == 0:
                    columns.append(np.empty(dataset.shape[0], part.dtype))
                columns[place][start : start + len(part)] = part
        return {"types": [column.dtype.str for column in columns]}, columns

    @staticmethod
    def _heads(dataset: h5py.Dataset, member: str) -> Iterator[tuple[int, Any]]:
        """One member of fixed length of all rows, block by block.

        HDF5 (1.14.6) never frees the variable-length members that a reading leaves out. So rows are taken as
        they are stored, or else whole.
        """
        kind, count = dataset.id.get_type(), dataset.shape[0]
        index = kind.get_member_index(member.encode())
        part = dataset.dtype[member]
        as_stored = kind.get_member_type(index).get_size() == part.itemsize
        if dataset.chunks and as_stored and not dataset.id.get_create_plist().get_nfilters():
            stored = np.dtype(
                {
                    "names": [member],
                    "formats": [part],
                    "offsets": [kind.get_member_offset(index)],
                    "itemsize": kind.get_size(),
                }
            )
            for start in range(0, count, dataset.chunks[0]):
                _, raw = dataset.id.read_direct_chunk((start,))
                rows = min(dataset.chunks[0], count - start)
                yield start, np.frombuffer(raw, stored, rows)[member]
            return
        for start in range(0, count, _ROWS_A_BLOCK):
            yield start, dataset[start : start + _ROWS_A_BLOCK][member]

    def ragged(self, request: Mapping[str, Any]) -> Answer:
        """Arrays of any length of some rows, as float32: the lengths for each member, then all values."""
        rows = self._dataset(request)[request["start"] : request["stop"]]
        members = [
            [np.asarray(rows[member][index], np.float32) for index in request["pick"]]
            for member in request["members"]
        ]
        lengths = np.array([[row.size for row in picked] for picked in members], np.int64)
        if int(lengths.sum()) * 4 > int(request["most_bytes"]):
            raise ValueError("more values than announced")
        return {"rows": len(request["pick"])}, [lengths, *(row for picked in members for row in picked)]

    def slab(self, request: Mapping[str, Any]) -> Answer:
        """A block of a dataset of complex numbers, complex64 in C order."""
        place = tuple(
            slice(start, start + count)
            for start, count in zip(request["start"], request["count"], strict=True)
        )
        return {}, [as_complex(self._dataset(request)[place])]

    def _dataset(self, request: Mapping[str, Any]) -> h5py.Dataset:
        if self.file is None:
            raise OSError("no file is open")
        return self.file[request["name"]]


def main() -> None:
    """Answer requests until standard input ends."""
    # What the libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    server = Server()
    operations: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
        "open": server.open,
        "room": server.room,
        "close": server.close,
        "text": server.text,
        "columns": server.columns,
        "ragged": server.ragged,
        "slab": server.slab,
    }
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            head, parts = operations[request["operation"]](request)
        except MemoryError:
            head, parts = {"error": "memory", "detail": ""}, []
        except _EXPECTED as error:
            head, parts = {"error": type(error).__name__, "detail": str(error)[:500]}, []
        views = [memoryview(part).cast("B") if len(part) else memoryview(b"") for part in parts]
        head["bytes"] = sum(view.nbytes for view in views)
        answers.write(json.dumps(head).encode() + b"\n")
        for view in views:
            answers.write(view)
        answers.flush()


if __name__ == "__main__":
    main()
