"""Open damaged raw files of every format and see that each is read or refused: nothing else may happen.

    python tests/recon_backend/formats/fuzz.py [--count 10000] [--seed 0] [--kinds vd,bart,…]
        [--patience S] [--keep DIR] [--json FILE]

Each file is a good one with changed bytes, numbers or texts, or a part of one. A worker process opens file
after file and reports the time and the peak memory (its own and that of the process that reads HDF5, above
what they had before). The parent ends a worker that takes longer than `--patience` seconds. Counted as a
failure: an exception that is no `FormatError`, a message that is not one sentence, a worker that dies or
hangs, or more memory than twice the file (all files that belong to it) and 16 MiB for libraries and buffers.
Linux only (memory is read from /proc). Failing files are kept in `--keep`.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ALLOWANCE_BYTES = 16 << 20
WORST_SHOWN = 5

Files = dict[str, bytes]


def _module(name: str, path: Path) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def writers() -> Any:
    """The writers of this folder."""
    return _module("formats_writers", HERE / "writers.py")


def scans() -> Any:
    """The recipe of ISMRMRD files, with random numbers for samples: what they show does not matter here."""
    base = _module("formats_scans", HERE.parent / "conftest.py").Scan

    class RandomScan(base):
        def coil_images(self) -> np.ndarray:
            return np.zeros((self.coils, self.frames, 1, 1))

        def _frame(self, _images: np.ndarray, frame: int) -> Any:
            rng = np.random.default_rng(frame)
            lines = np.arange(self.readouts)
            if self.sampling == "cartesian":
                rows = self.rows(frame)
                shape = (self.coils, self.readouts, 2 * self.matrix[1])
                envelope = np.exp(-np.abs(rows - self.matrix[0] // 2) / 4)[:, None]  # unlike spokes
                return (
                    rng.normal(size=shape) * envelope + 0j,
                    None,
                    rows - self.matrix[0] // 2 + self.centre_line,
                )
            points = self.trajectory(frame)
            return rng.normal(size=(self.coils, *points.shape[:2])) + 0j, points, lines

        def trajectory(self, frame: int) -> np.ndarray:
            """Spokes of twice as many samples as pixels."""
            radius = (np.arange(2 * self.matrix[1]) - self.matrix[1]) / (2 * self.matrix[1])
            angle = (frame * self.readouts + np.arange(self.readouts))[:, None] * 0.41
            return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)

    return RandomScan


# --- good files --------------------------------------------------------------------------------------


def _cartesian(folder: Path, big: bool) -> Any:
    size = (
        {"frames": 40, "coils": 8, "matrix": (96, 96), "readouts": 12} if big else {"frames": 6, "coils": 3}
    )
    return scans()(**size, noise_samples=64, dummies=2)


def _ismrmrd_cartesian(folder: Path, big: bool) -> Path:
    return _cartesian(folder, big).write(folder / "scan.h5")


def _ismrmrd_radial(folder: Path, big: bool) -> Path:
    size = (
        {"frames": 40, "coils": 6, "matrix": (96, 96), "readouts": 13} if big else {"frames": 6, "coils": 3}
    )
    return scans()(sampling="radial", **size, noise_samples=64).write(folder / "scan.h5")


def _vd(folder: Path, big: bool) -> Path:
    write = writers()
    recipe = write.TwixScan(_cartesian(folder, big))
    noise = [write.Line(np.random.default_rng(0).normal(size=(recipe.scan.coils, 64)) + 0j, write.NOISE)] * 4
    lines = [part for line in recipe.lines() for part in (line, write.side_block("VD", 32))]
    measurements = [(recipe.text(), noise), (recipe.text(), lines)]
    return write.write_twix(folder / "scan.dat", "VD", measurements)


def _vb(folder: Path, big: bool) -> Path:
    return writers().TwixScan(_cartesian(folder, big), "VB").write(folder / "scan.dat")


def _vd_radial(folder: Path, big: bool) -> Path:
    write = writers()
    samples, count, coils = (192, 520, 6) if big else (16, 40, 2)
    recipe = write.TwixScan(scans()(sampling="radial", matrix=(samples // 2, samples // 2)))
    rng = np.random.default_rng(0)
    lines = [
        write.Line(rng.normal(size=(coils, samples)) + 0j, counters={"Lin": number}, ticks=number)
        for number in range(count)
    ]
    path = recipe.write(folder / "scan.dat", lines)
    path.with_suffix(".yaml").write_text(
        "sampling: radial\nangle_deg: 23.6281\nspokes_per_frame: 13\nmatrix: 96\n"
    )
    return path


def _bart(folder: Path, big: bool) -> Path:
    shape = (96, 96, 1, 6, 1, 1, 1, 1, 1, 1, 12) if big else (12, 10, 1, 2, 1, 1, 1, 1, 1, 1, 5)
    rng = np.random.default_rng(0)
    return writers().write_cfl(folder / "scan", rng.normal(size=shape) + 1j * rng.normal(size=shape))


def _bart_radial(folder: Path, big: bool) -> Path:
    samples, spokes, coils, frames = (192, 13, 6, 40) if big else (16, 5, 2, 4)
    rng = np.random.default_rng(0)
    kspace = rng.normal(size=(1, samples, spokes, coils, *[1] * 6, frames)) + 0j
    points = rng.uniform(-samples / 4, samples / 4, size=(3, samples, spokes, *[1] * 7, frames))
    points[2] = 0
    writers().write_cfl(folder / "scan_traj", points)
    return writers().write_cfl(folder / "scan", kspace)


def _fastmri(folder: Path, big: bool) -> Path:
    import h5py

    shape = (3, 6, 192, 96) if big else (2, 2, 20, 8)
    rng = np.random.default_rng(0)
    header = scans()().header.format(
        y=shape[3], x=shape[2] // 2, encoded_x=shape[2], encoded_x_mm=400, last_line=shape[3] - 1,
        centre_line=shape[3] // 2, trajectory="cartesian",
    )  # fmt: skip
    with h5py.File(folder / "scan.h5", "w") as file:
        file["kspace"] = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
        file["ismrmrd_header"] = header
    return folder / "scan.h5"


def _cmrxrecon(folder: Path, big: bool) -> Path:
    import h5py

    shape = (12, 2, 6, 96, 96) if big else (4, 2, 2, 9, 7)
    rng = np.random.default_rng(0)
    pairs = np.zeros(shape, [("real", "<f4"), ("imag", "<f4")])
    lines = rng.random(shape[3]) < 0.4
    lines[shape[3] // 2] = True
    pairs["real"][..., lines, :] = rng.normal(size=pairs["real"][..., lines, :].shape)
    with h5py.File(folder / "scan.mat", "w", userblock_size=512) as file:
        file.create_dataset("kspace_sub04", data=pairs, chunks=(1, 1, *shape[2:]), compression="gzip")
    return folder / "scan.mat"


KINDS: dict[str, Callable[[Path, bool], Path]] = {
    "ismrmrd_cartesian": _ismrmrd_cartesian,
    "ismrmrd_radial": _ismrmrd_radial,
    "vd": _vd,
    "vb": _vb,
    "vd_radial": _vd_radial,
    "bart": _bart,
    "bart_radial": _bart_radial,
    "fastmri": _fastmri,
    "cmrxrecon": _cmrxrecon,
}


def good_files(kind: str, big: bool) -> tuple[str, Files]:
    """A good file of a kind: the name to open, and the bytes of all files that belong to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = KINDS[kind](folder, big)
        return path.name, {beside.name: beside.read_bytes() for beside in sorted(folder.iterdir())}


# --- damage ------------------------------------------------------------------------------------------

_NUMBER = re.compile(rb"(?<![\w.])\d+(?:\.\d+)?")
_ODD_NUMBERS = [
    b"0",
    b"-1",
    b"1",
    b"65536",
    b"4294967295",
    b"999999999999",
    b"1e308",
    b"nan",
    b"-0.0",
    b"0x7fffffff",
]


def _bytes(data: bytearray, rng: random.Random, where: range) -> None:
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        place = rng.choice(where)
        data[place] = rng.choice([0, 255, rng.randrange(256), data[place] ^ (1 << rng.randrange(8))])


def _word(data: bytearray, rng: random.Random, where: range) -> None:
    """A whole number of 2, 4 or 8 bytes becomes an extreme one."""
    size = rng.choice([2, 4, 8])
    place = rng.choice(where) // size * size
    value = rng.choice(
        [0, 1, 2, (1 << 8 * size) - 1, 1 << (8 * size - 1), 1 << (4 * size), rng.getrandbits(8 * size)]
    )
    if place + size <= len(data):
        data[place : place + size] = value.to_bytes(size, "little")


def _text(data: bytearray, rng: random.Random, where: range) -> None:
    """A number in a text becomes an odd one."""
    found = list(_NUMBER.finditer(bytes(data[where.start : where.stop])))
    if found:
        match = rng.choice(found)
        data[where.start + match.start() : where.start + match.end()] = rng.choice(_ODD_NUMBERS)


def _cut(data: bytearray, rng: random.Random, _where: range) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: random.Random, where: range) -> None:
    place = rng.choice(where)
    del data[place : place + rng.choice([1, 4, 100, 4096])]


def _repeat(data: bytearray, rng: random.Random, where: range) -> None:
    place = rng.choice(where)
    data[place:place] = data[place : place + rng.choice([1, 8, 200])] * rng.choice([1, 3])


def _blank(data: bytearray, rng: random.Random, where: range) -> None:
    place = rng.choice(where)
    size = min(rng.choice([8, 256, 5000]), len(data) - place)
    data[place : place + size] = bytes([rng.choice([0, 255])]) * size


DAMAGES = (_bytes, _bytes, _word, _word, _text, _cut, _remove, _repeat, _blank)


def damaged(name: str, files: Files, rng: random.Random) -> Files:
    """A copy of the files with some damage to one of them, mostly where headers are."""
    chosen = rng.choice(sorted(files)) if rng.random() < 0.5 else name
    data = bytearray(files[chosen])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not data:
            break
        headers = min(len(data), rng.choice([64, 800, 3000, 16384, len(data)]))
        start = rng.choice([0, 0, 0, min(10240, len(data) - headers), rng.randrange(len(data))])
        where = range(start, min(start + headers, len(data)))
        rng.choice(DAMAGES)(data, rng, where)
    return {**files, chosen: bytes(data)}


# --- one file ----------------------------------------------------------------------------------------


def _peak_bytes(pid: int | str) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _forget_peak(pid: int | str) -> int:
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return _peak_bytes(pid)


def open_once(path: Path) -> str:
    """Open a file: "read", "refused", or what is wrong."""
    from recon_backend.errors import FormatError
    from recon_backend.formats import open_acquisition

    try:
        acquisition = open_acquisition(path)
    except FormatError as error:
        text = str(error)
        if "\n" in text or not text.endswith(".") or not text.isprintable():
            return f"not one sentence: {text[:200]!r}"
        return "refused"
    except Exception as error:  # noqa: BLE001 - any other exception is what this looks for
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "read" if np.isfinite(acquisition.kspace[:, 0]).all() else "not finite"


def measure(path: Path) -> tuple[str, float, int]:
    """Open a file: the outcome, seconds, and bytes of peak memory above what there was before."""
    from recon_backend.formats import hdf5

    gc.collect()
    before = _forget_peak("self")
    process = hdf5._child.process
    child = process.pid if process is not None and process.poll() is None else None
    child_before = _forget_peak(child) if child else 0
    start = time.perf_counter()
    outcome = open_once(path)
    seconds = time.perf_counter() - start
    grown = _peak_bytes("self") - before
    process = hdf5._child.process
    if child and process is not None and process.pid == child:
        grown += _peak_bytes(child) - child_before
    return outcome, seconds, grown


# --- many files --------------------------------------------------------------------------------------


def _work(connection: Connection) -> None:
    while True:
        path = connection.recv()
        if path is None:
            return
        connection.send(measure(Path(path)))


class Worker:
    """A process that opens files; a new one takes its place when it dies or hangs."""

    def __init__(self, patience_s: float) -> None:
        """Start it."""
        self.patience_s = patience_s
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other,), daemon=False)
        self.process.start()
        other.close()

    def open(self, path: Path) -> tuple[str, float, int]:
        """As `measure`, also for files that kill or stop the process."""
        start = time.perf_counter()
        try:
            self.connection.send(str(path))
            if self.connection.poll(self.patience_s):
                return self.connection.recv()
            outcome = "hangs"
        except (EOFError, OSError):
            outcome = "dies"
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self._start()
        return (
            f"{outcome} (exit code {code})" if outcome == "dies" else outcome,
            time.perf_counter() - start,
            0,
        )

    def end(self) -> None:
        """End it."""
        self.connection.send(None)
        self.process.join(20)


def main(arguments: list[str] | None = None) -> int:
    """Run; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "blindcine_fuzz")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    kinds = options.kinds.split(",")
    good = {(kind, big): good_files(kind, big) for kind in kinds for big in (False, True)}
    worker = Worker(options.patience)
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    failures: list[dict[str, Any]] = []
    slowest: list[tuple[float, str, int]] = []
    largest: list[tuple[float, str, int, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:  # libraries and buffers are there before anything is measured
            name, files = good[kind, True]
            for beside, data in files.items():
                (Path(folder) / beside).write_bytes(data)
            outcome, seconds, grown = worker.open(Path(folder) / name)
            size = sum(map(len, files.values()))
            sys.stdout.write(
                f"{kind}, undamaged: {outcome}, {size / 1e6:.2f} MB, {seconds:.2f} s, "
                f"{grown / 1e6:.1f} MB of memory\n"
            )
            assert outcome == "read", kind
            for beside in files:
                (Path(folder) / beside).unlink()
        for number in range(options.count):
            kind = kinds[number % len(kinds)]
            rng = random.Random(f"{options.seed}-{number}")
            # Memory shows in files that are larger than the noise of measuring it.
            name, files = good[kind, rng.random() < 0.4]
            bad = damaged(name, files, rng)
            for beside, data in bad.items():
                (Path(folder) / beside).write_bytes(data)
            outcome, seconds, grown = worker.open(Path(folder) / name)
            size = sum(map(len, bad.values()))
            if grown > 2 * size + ALLOWANCE_BYTES:
                outcome = f"{outcome}, but takes too much memory"
            outcomes[kind][outcome.partition(":")[0]] += 1
            slowest = sorted([*slowest, (seconds, kind, number)], reverse=True)[:WORST_SHOWN]
            if size > 1 << 20:
                largest = sorted([*largest, (grown / size, kind, number, size)], reverse=True)[:WORST_SHOWN]
            if outcome not in ("read", "refused"):
                failures.append(
                    {"number": number, "kind": kind, "outcome": outcome, "memory": grown, "file": size}
                )
                kept = options.keep / f"{options.seed}-{number}-{kind}"
                kept.mkdir(parents=True, exist_ok=True)
                for beside, data in bad.items():
                    (kept / beside).write_bytes(data)
                sys.stdout.write(f"{kept}: {outcome} ({grown / 1e6:.1f} MB for {size / 1e6:.2f} MB)\n")
            for beside in bad:
                (Path(folder) / beside).unlink()
    worker.end()
    report = {
        "count": options.count,
        "seed": options.seed,
        "outcomes": {kind: dict(counter) for kind, counter in outcomes.items()},
        "slowest": [{"seconds": round(s, 3), "kind": kind, "number": n} for s, kind, n in slowest],
        "memory_over_file": [
            {"ratio": round(ratio, 2), "kind": kind, "number": n, "file_bytes": size}
            for ratio, kind, n, size in largest
        ],
        "failures": failures,
    }
    sys.stdout.write(
        json.dumps({key: value for key, value in report.items() if key != "failures"}, indent=1) + "\n"
    )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(HERE.parents[2]))
    sys.exit(main())
