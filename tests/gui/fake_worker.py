"""A worker that speaks the protocol and reconstructs nothing: its movies are moving discs.

What it does with a file is told by the file's name: "bad" cannot be read, "crash" ends the process, "hang"
ignores a cancel, "slow" takes twenty times as long, "cached" has all movies but the first from a cache. Its
replicas are the disc with white noise, twice as much in each further method; "silent" has no noise scan. So
the window's side of the protocol is tested without TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

METHODS = ("gridded", "compressed_sensing", "dl_natural", "dl_cardiac")
LABELS = ("Gridded", "Compressed sensing", "Deep learning, natural videos", "Deep learning, cardiac data")
CAUTION = "Short training run of {name}. Not for clinical use."
MODELS = [
    {"name": "radial-natural", "caution": CAUTION.format(name="dl_natural")},
    {"name": "mine", "caution": "Registered by its owner."},
]
STEP_S = 0.01
FRAMES = 12
SIZE = 48


def emit(**event: Any) -> None:
    """Write one event."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def write_movie(path: Path, method: str, frames: int) -> None:
    """Write a moving disc whose radius depends on the method; one method starts four frames late."""
    import h5py
    import numpy as np

    first = 4 if method == "dl_cardiac" else 0
    y, x = np.mgrid[:SIZE, :SIZE]
    times_s = np.arange(first, frames) * 0.04
    radius = 6 + 2 * (METHODS.index(method) if method in METHODS else 0)
    centres = SIZE / 2 + 8 * np.sin(2 * np.pi * times_s / 0.5)
    movie = np.stack([(np.hypot(y - centre, x - SIZE / 2) < radius) for centre in centres]).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["movie"] = movie + 0.1
        file.attrs["format"] = "blindcine-movie-1"
        file.attrs["pixel_spacing_mm"] = (2.0, 2.0)
        file.attrs["frame_times_s"] = times_s
        file.attrs["provenance"] = json.dumps({"method": method})


def write_replicas(path: Path, method: str, number: int, request: dict[str, Any]) -> None:
    """Write replicas of the method's movie: mean and SD of all pixels, all values of the region."""
    import h5py
    import numpy as np

    write_movie(path, method, FRAMES)
    with h5py.File(path, "r+") as file:
        signal = file["movie"][()]
        times_s = file.attrs["frame_times_s"]
        del file["movie"]
        noise = np.random.default_rng(request["seed"]).normal(
            0, 0.01 * 2**number, (request["count"], *signal.shape)
        )
        values = (signal + noise).astype(np.float32)
        sd = values.std(axis=0, ddof=1)
        snr_db = 20 * np.log10(signal / sd)
        images = {"signal": signal, "mean": values.mean(axis=0), "sd": sd, "snr_db": snr_db}
        for name, image in images.items():
            file[name] = image.astype(np.float32)
        regions = file.create_group("regions")
        if "regions" in request:
            with np.load(request["regions"]) as masks:
                for name, mask in masks.items():
                    group = regions.create_group(name)
                    group["mask"] = np.broadcast_to(mask, signal.shape)
                    group["signal"] = signal[:, mask]
                    group["values"] = values[:, :, mask]
        file.attrs["format"] = "blindcine-replicas-1"
        file.attrs["count"] = request["count"]
        file.attrs["pixel_spacing_mm"] = (2.0, 2.0)
        file.attrs["frame_times_s"] = times_s


def summary(path: Path) -> dict[str, Any]:
    """A summary whose sampling follows the file's name."""
    sampling = next((name for name in ("radial", "spiral") if name in path.stem), "cartesian")
    return {
        "name": path.stem,
        "sampling": sampling,
        "matrix": [SIZE, SIZE],
        "field_of_view_mm": [96.0, 96.0],
        "pixel_spacing_mm": [2.0, 2.0],
        "coils": 8,
        "frames": FRAMES,
        "frame_time_s": 0.04,
        "duration_s": 0.48,
        "whitened": True,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "details": {"protocol": "sax cine", "vendor": "none"},
        "notes": ["10 dummy readouts were dropped."],
    }


class Worker:
    """Takes requests on a thread and works them off one by one."""

    def __init__(self) -> None:
        """Start without jobs."""
        self.requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.cancelled: set[str] = set()

    def read(self) -> None:
        """Take requests until the end of the input."""
        for line in sys.stdin:
            request = json.loads(line)
            if request["command"] == "cancel":
                self.cancelled.add(request["id"])
            elif request["command"] == "quit":
                break
            else:
                self.requests.put(request)
        self.requests.put(None)

    def run(self) -> None:
        """Serve."""
        emit(event="hello", schema=int(os.environ.get("FAKE_WORKER_SCHEMA", "1")), version="0")
        threading.Thread(target=self.read, daemon=True).start()
        while (request := self.requests.get()) is not None:
            self.work(request)

    def work(self, request: dict[str, Any]) -> None:
        """Do one job."""
        identifier = request["id"]
        path = Path(request.get("path", ""))
        emit(event="started", id=identifier)
        if request["command"] == "methods":
            described = [
                {
                    "name": name,
                    "label": label,
                    "sampling": ["cartesian", "radial", "spiral"],
                    "model": {"radial": {"caution": CAUTION.format(name=name)}} if "dl" in name else {},
                    "models": {"radial": MODELS} if name == "dl_natural" else {},
                }
                for name, label in zip(METHODS, LABELS, strict=True)
            ]
            emit(event="result", id=identifier, methods=described)
        elif "bad" in path.stem:
            emit(event="error", id=identifier, code="format", message=f"{path.name}: not raw data.", hint="")
        elif request["command"] == "inspect":
            emit(event="result", id=identifier, summary=summary(path))
        elif request["command"] == "preview":
            write_movie(Path(request["out"]), "gridded", FRAMES)
            emit(event="result", id=identifier, path=request["out"])
        elif request["command"] == "replicas" and "silent" in path.stem:
            hint = "Scan it again."
            emit(event="error", id=identifier, code="data", message="There is no noise scan.", hint=hint)
        else:
            self.reconstruct(identifier, path, request)

    def reconstruct(self, identifier: str, path: Path, request: dict[str, Any]) -> None:
        """Pretend."""
        steps = 10
        files: dict[str, str] = {}
        for number, method in enumerate(request["methods"]):
            for step in range(steps):
                if identifier in self.cancelled and "hang" not in path.stem:
                    emit(event="cancelled", id=identifier)
                    return
                fraction = (number + step / steps) / len(request["methods"])
                emit(
                    event="progress",
                    id=identifier,
                    phase=f"{method} iterations",
                    fraction=fraction,
                    remaining_s=None,
                )
                if "crash" in path.stem and fraction > 0.2:
                    sys.stderr.write("out of memory on the device\n")
                    os._exit(3)
                time.sleep(STEP_S * (20 if "slow" in path.stem or "hang" in path.stem else 1))
            out = Path(request["out"]) / f"{path.stem}_{method}.h5"
            if request["command"] == "replicas":
                files[method] = str(out)
                write_replicas(out, method, number, request)
                emit(event="replicas", id=identifier, method=method, path=str(out), seconds_per_replica=0.1)
                continue
            write_movie(out, method, FRAMES)
            seconds = {"reading": 0.2, "reconstruction": 0.25 if number else 1.25}
            cached = "cached" in path.stem and number > 0
            emit(event="movie", id=identifier, method=method, path=str(out), seconds=seconds, cached=cached)
        emit(event="result", id=identifier, files=files)


if __name__ == "__main__":
    Worker().run()
