"""The worker's protocol, with a fake backend in threads, and the real process for start, errors and exit."""

from __future__ import annotations

import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recon_backend.cache import user_cache
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.jobs import FinishedMovie
from recon_backend.movie import Movie
from recon_backend.options import ReconstructionOptions
from recon_backend.pseudo_replica import FinishedReplicas
from recon_backend.tracking import Step, Tracker
from recon_backend.worker import ProgressCallback, ReconstructionBackend, serve

REPOSITORY = Path(__file__).resolve().parents[2]
LONG_S = 20.0


class FakeBackend:
    """Does what the path's name says."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release = threading.Event()
        self.inspected: list[str] = []
        self.forgotten: list[str] = []
        self.options = ReconstructionOptions()
        self.asked: dict[str, Any] = {}

    def inspect(self, path: Path, progress: ProgressCallback) -> dict[str, Any]:
        self.inspected.append(path.name)
        errors: dict[str, Exception] = {
            "format": FormatError(path, "this is no raw data."),
            "reconstruction": ReconstructionError("no method fits."),
            "file": PermissionError(13, "Permission denied", str(path)),
            "memory": MemoryError(),
            "failure": RuntimeError("first line\nsecond line"),
            "strange": type("ResourceExhaustedError", (Exception,), {})("device is full"),
        }
        if path.name in errors:
            raise errors[path.name]
        if path.name == "steps":
            for step in range(200):
                progress("one phase", step / 200)
            progress("other phase", 1.0)
        if path.name == "estimate":
            progress("guess", 0.25)
            progress("work", 0.5, 12.345)
        if path.name == "slow":
            self.started.set()
            while not self.release.wait(0.01):
                progress("waiting", 0.5)
        return {"name": path.name}

    def preview(self, path: Path, out: Path, progress: ProgressCallback) -> Path:
        return out

    def reconstruct(
        self,
        path: Path,
        methods: Sequence[str],
        out: Path,
        device: str,
        progress: ProgressCallback,
        *,
        options: ReconstructionOptions,
        use_cache: bool,
    ) -> Iterator[FinishedMovie]:
        self.options = options
        for index, method in enumerate(methods):
            progress(f"{method} on {device}", index / len(methods))
            target = out / f"{path.stem}_{method}.h5"
            yield FinishedMovie(method, target, {"solve": 1.5}, cached=use_cache and index == 0)

    def replicas(
        self, path: Path, methods: Sequence[str], out: Path, device: str, *asked: Any, **settings: Any
    ) -> Iterator[FinishedReplicas]:
        self.asked = {"device": device, **settings}
        for method in methods:
            yield FinishedReplicas(method, out / f"{path.stem}_{method}_replicas.h5", 0.25)

    def methods(self) -> list[dict[str, Any]]:
        return [{"name": "gridded", "label": "Gridded", "sampling": ["radial"], "model": None}]

    def forget(self, raw_sha256: Sequence[str]) -> int:
        self.forgotten.extend(raw_sha256)
        return 3


class EventQueue(io.RawIOBase):
    """Where events go; as a pipe does, it refuses them once its reader is gone."""

    def __init__(self) -> None:
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.broken = False

    def write(self, line: Any) -> int:
        if self.broken:
            raise BrokenPipeError(32, "Broken pipe")
        self.lines.put(bytes(line))
        return len(line)


class Session:
    """`serve` in a thread, its requests through a pipe, its events through a queue."""

    def __init__(self) -> None:
        request_end, own_end = os.pipe()
        self._input = os.fdopen(own_end, "wb", buffering=0)
        self._requests = os.fdopen(request_end, "rb", buffering=0)
        self._events = EventQueue()
        self.backend = FakeBackend()
        arguments = (self._requests, self._events, self.backend)
        self.thread = threading.Thread(target=serve, args=arguments, daemon=True)
        self.thread.start()

    def send(self, *requests: Any) -> None:
        for request in requests:
            line = request if isinstance(request, bytes) else json.dumps(request).encode()
            self._input.write(line + b"\n")

    def event(self) -> dict[str, Any]:
        return json.loads(self._events.lines.get(timeout=LONG_S))

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """Events up to and with the first of these kinds."""
        events = [self.event()]
        while events[-1]["event"] not in kinds:
            events.append(self.event())
        return events

    def hang_up(self) -> None:
        self._input.close()

    def stop_listening(self) -> None:
        self._events.broken = True

    def close(self) -> None:
        self.backend.release.set()
        self._input.close()
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()
        self._requests.close()


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    assert session.event() | {"version": ""} == {"event": "hello", "schema": 1, "version": ""}
    yield session
    session.close()


def test_inspect(session: Session) -> None:
    session.send({"id": "a", "command": "inspect", "path": "/x/good"})
    assert session.event() == {"event": "started", "id": "a"}
    assert session.event() == {"event": "result", "id": "a", "summary": {"name": "good"}}


def test_preview_and_methods(session: Session) -> None:
    session.send(
        {"id": 1, "command": "preview", "path": "/x/a.h5", "out": "/y/b.h5"}, {"id": 2, "command": "methods"}
    )
    assert session.until("result")[-1] == {"event": "result", "id": 1, "path": str(Path("/y/b.h5"))}
    assert session.until("result")[-1]["methods"] == session.backend.methods()


def test_reconstruct_tells_each_movie(session: Session) -> None:
    methods = ["compressed_sensing", "dl_natural"]
    session.send(
        {
            "id": 1,
            "command": "reconstruct",
            "path": "/x/a.h5",
            "methods": methods,
            "out": "/y",
            "device": "cpu",
        }
    )
    events = session.until("result")
    assert [event["event"] for event in events] == [
        "started",
        "progress",
        "movie",
        "progress",
        "movie",
        "result",
    ]
    paths = {method: str(Path(f"/y/a_{method}.h5")) for method in methods}
    movies = [event for event in events if event["event"] == "movie"]
    assert {event["method"]: event["path"] for event in movies} == paths
    assert movies[0]["seconds"] == {"solve": 1.5}
    assert events[-1]["movies"] == paths
    assert [movie["cached"] for movie in movies] == [True, False]
    assert events[1]["phase"] == "compressed_sensing on cpu"
    again = {"id": 2, "command": "reconstruct", "path": "/x/a.h5", "methods": methods, "out": "/y"}
    session.send(again | {"cache": False, "options": {"settings": "fast"}})
    movies = [event for event in session.until("result") if event["event"] == "movie"]
    assert [movie["cached"] for movie in movies] == [False, False]
    assert session.backend.options == ReconstructionOptions("fast")
    session.send(again | {"options": {"settings": "best"}})
    assert "settings is 'best', but one of" in session.until("error")[-1]["message"]


def test_replicas_tell_each_method_and_default_to_the_backends_count(session: Session) -> None:
    request = {"id": 1, "command": "replicas", "path": "/x/a.h5", "methods": ["gridded"], "out": "/y"}
    session.send(request)
    events = session.until("result")
    path = str(Path("/y/a_gridded_replicas.h5"))
    told = {"event": "replicas", "id": 1, "method": "gridded", "path": path, "seconds_per_replica": 0.25}
    assert events[1] == told and events[-1]["files"] == {"gridded": path}
    plain = {"device": "auto", "options": ReconstructionOptions(), "count": None, "seed": 0, "regions": None}
    assert session.backend.asked == plain
    chosen = {"count": 12, "seed": 3, "regions": "/m.npz", "device": "cpu", "options": {"settings": "fast"}}
    session.send(request | chosen)
    session.until("result")
    regions, options = Path("/m.npz"), ReconstructionOptions("fast")
    assert session.backend.asked == chosen | {"regions": regions, "options": options}


def test_forget_names_raw_files_by_checksum(session: Session) -> None:
    session.send({"id": 1, "command": "forget", "raw_sha256": ["ab", "cd"]})
    assert session.until("result")[-1] == {"event": "result", "id": 1, "forgotten": 3}
    assert session.backend.forgotten == ["ab", "cd"]


def test_progress_is_thinned_but_names_every_phase(session: Session) -> None:
    session.send({"id": 1, "command": "inspect", "path": "steps"})
    events = [event for event in session.until("result") if event["event"] == "progress"]
    assert len(events) < 20
    assert events[0] == {
        "event": "progress",
        "id": 1,
        "phase": "one phase",
        "fraction": 0.0,
        "remaining_s": None,
    }
    assert events[-1]["phase"] == "other phase"
    assert events[-1]["fraction"] == 1.0


def test_the_estimate_is_the_jobs_own(session: Session) -> None:
    session.send({"id": 1, "command": "inspect", "path": "estimate"})
    events = [event for event in session.until("result") if event["event"] == "progress"]
    assert [event["remaining_s"] for event in events] == [None, 12.3]


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("format", "format", "format: this is no raw data."),
        ("reconstruction", "reconstruction", "no method fits."),
        ("file", "file", "file: Permission denied."),
        ("memory", "memory", "There is not enough memory for this scan."),
        ("failure", "failure", "first line"),
        ("strange", "failure", "device is full"),
    ],
)
def test_a_failed_job_is_told_and_the_next_one_runs(
    session: Session, kind: str, code: str, message: str
) -> None:
    session.send(
        {"id": 1, "command": "inspect", "path": f"/x/{kind}"}, {"id": 2, "command": "inspect", "path": "good"}
    )
    error = session.until("error")[-1]
    assert (error["id"], error["code"], error["message"]) == (1, code, message)
    assert error["hint"]
    assert session.until("result")[-1]["id"] == 2


@pytest.mark.parametrize(
    "request_line",
    [
        b"{not json",
        b"[1]",
        b'{"id": 3}',
        b'{"id": 3, "command": 5}',
        b'{"id": 3, "command": "fly"}',
        b'{"command": "inspect", "path": "x"}',
        b'{"id": 3, "command": "inspect"}',
        b'{"id": 3, "command": "preview", "path": "x"}',
        b'{"id": 3, "command": "reconstruct", "path": "x", "out": "y", "methods": []}',
        b'{"id": 3, "command": "reconstruct", "path": "x", "out": "y", "methods": ["a"], "device": "tpu"}',
        b'{"id": 3, "command": "reconstruct", "path": "x", "out": "y", "methods": ["a"], "cache": 1}',
        b'{"id": 3, "command": "reconstruct", "path": "x", "out": "y", "methods": ["a"], "options": "fast"}',
        b'{"id": 3, "command": "replicas", "path": "x", "out": "y", "methods": "a"}',
        b'{"id": 3, "command": "replicas", "path": "x", "out": "y", "methods": ["a"], "count": 2.5}',
        b'{"id": 3, "command": "replicas", "path": "x", "out": "y", "methods": ["a"], "regions": 1}',
        b'{"id": 3, "command": "forget", "raw_sha256": "ab"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_bad_request_is_told_and_the_next_one_runs(session: Session, request_line: bytes) -> None:
    session.send(request_line, b"", {"id": 4, "command": "inspect", "path": "good"})
    error = session.until("error")[-1]
    assert error["code"] == "request"
    assert error["id"] == (3 if b'"id": 3' in request_line else None)
    assert session.until("result")[-1]["id"] == 4


def test_the_same_id_twice_at_once_is_refused(session: Session) -> None:
    session.send({"id": 1, "command": "inspect", "path": "slow"})
    assert session.backend.started.wait(LONG_S)
    session.send({"id": 1, "command": "inspect", "path": "good"})
    assert "has not ended" in session.until("error")[-1]["message"]
    session.backend.release.set()
    session.until("result")
    session.send({"id": 1, "command": "inspect", "path": "good"})
    assert session.until("result")[-1]["summary"] == {"name": "good"}


def test_cancel_stops_the_running_job_and_only_it(session: Session) -> None:
    session.send(
        {"id": 1, "command": "inspect", "path": "slow"}, {"id": 2, "command": "inspect", "path": "good"}
    )
    assert session.backend.started.wait(LONG_S)
    session.send({"command": "cancel", "id": 1})
    assert session.until("cancelled")[-1] == {"event": "cancelled", "id": 1}
    assert not session.backend.release.is_set()  # it was left, not waited for
    assert session.until("result")[-1]["id"] == 2


def test_cancel_of_a_waiting_job_is_answered_at_once(session: Session) -> None:
    session.send(
        {"id": 1, "command": "inspect", "path": "slow"}, {"id": 2, "command": "inspect", "path": "good"}
    )
    assert session.backend.started.wait(LONG_S)
    session.send({"command": "cancel", "id": 2})
    assert session.until("cancelled")[-1] == {"event": "cancelled", "id": 2}
    session.backend.release.set()
    assert session.until("result")[-1]["id"] == 1
    session.send({"id": 3, "command": "inspect", "path": "last"})
    assert session.until("result")[-1]["id"] == 3
    assert session.backend.inspected == ["slow", "last"]


def test_cancel_of_an_ended_or_unknown_job_is_no_error(session: Session) -> None:
    session.send(
        {"command": "cancel", "id": "nobody"}, {"command": "cancel"}, {"id": 1, "command": "methods"}
    )
    assert [event["event"] for event in session.until("result")] == ["started", "result"]


@pytest.mark.parametrize("ending", ["quit", "hang up"])
def test_the_end_cancels_what_runs_and_what_waits(session: Session, ending: str) -> None:
    session.send(
        {"id": 1, "command": "inspect", "path": "slow"}, {"id": 2, "command": "inspect", "path": "good"}
    )
    assert session.backend.started.wait(LONG_S)
    if ending == "quit":
        session.send({"command": "quit"})
    else:
        session.hang_up()
    ends = [session.until("cancelled", "result", "error")[-1] for _ in range(2)]
    assert sorted((end["id"], end["event"]) for end in ends) == [(1, "cancelled"), (2, "cancelled")]
    session.thread.join(LONG_S)
    assert not session.thread.is_alive()


def test_nobody_listening_ends_the_worker() -> None:
    session = Session()
    session.send({"id": 1, "command": "inspect", "path": "slow"})
    assert session.backend.started.wait(LONG_S)
    session.stop_listening()
    session.thread.join(LONG_S)
    assert not session.thread.is_alive()
    session.close()


# --- the real backend around a fake reconstruction ---------------------------------------------------


@pytest.fixture
def fake_reconstruction(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Puts modules in the place of recon_backend.reconstruct and .methods; returns the calls made to them."""
    calls: list[tuple[Any, ...]] = []

    def movie_of(acquisition: Any) -> Movie:
        frames = np.ones((acquisition.frames, *acquisition.matrix), np.float32)
        provenance = {"seconds": {"solve": 0.5}, "raw_sha256": "ab"}
        return Movie(frames, acquisition.pixel_spacing_mm, acquisition.frame_times_s, provenance)

    def reconstruct(
        acquisition: Any, method: str, *, progress: ProgressCallback, device: str = "auto"
    ) -> Movie:
        calls.append((acquisition.frames, method, device))
        progress("gridding", 0.5)
        return movie_of(acquisition)

    def reconstruct_all(
        preparation: Any, methods: Sequence[str], *, progress: Tracker, device: str, **options: Any
    ) -> Iterator[tuple[str, Movie]]:
        assert options["reading_s"] > 0
        assert options["settings"] == "quality"
        acquisition, prepared_with = preparation
        assert prepared_with == {"sensitivities": "walsh"}
        cached = options["cache"] is not None
        steps = [Step(method, method, 1.0, 1.0) for method in methods]
        progress.plan(steps)
        for method, step in zip(methods, steps, strict=True):
            calls.append((acquisition.frames, method, device, cached))
            progress.run(step, lambda report: report(0.5))
            yield method, movie_of(acquisition)

    def available_methods() -> list[SimpleNamespace]:
        samplings = ("radial", "spiral")
        return [SimpleNamespace(name="gridded", label="Gridded", samplings=samplings, model=None, models={})]

    for name, content in {
        "reconstruct": {
            "reconstruct": reconstruct,
            "reconstruct_all": reconstruct_all,
            "Preparation": lambda acquisition, options: (acquisition, options),
        },
        "methods": {"available_methods": available_methods, "models_of": lambda *_: {}},
    }.items():
        module = ModuleType(f"recon_backend.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def test_real_backend(scan: Any, tmp_path: Path, fake_reconstruction: list[tuple[Any, ...]]) -> None:
    raw = scan(sampling="radial", frames=30).write(tmp_path / "scan.h5")
    backend = ReconstructionBackend()
    fractions: list[float] = []
    phases: list[str] = []

    def progress(phase: str, fraction: float, remaining_s: float | None = None) -> None:
        fractions.append(fraction)
        phases.append(phase)

    assert backend.inspect(raw, progress)["frames"] == 30
    fractions.clear()
    assert len(Movie.load(backend.preview(raw, tmp_path / "p" / "preview.h5", progress)).frames) == 24
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    fractions.clear()
    methods = ["gridded", "dl_natural"]
    for use_cache in (True, False):
        finished = list(
            backend.reconstruct(
                raw,
                methods,
                tmp_path / "out",
                "cpu",
                progress,
                options=ReconstructionOptions(sensitivities="walsh"),
                use_cache=use_cache,
            )
        )
    assert [movie.method for movie in finished] == methods
    assert finished[1].path == tmp_path / "out" / "scan_dl_natural.h5"
    assert finished[1].seconds["solve"] == 0.5
    assert len(Movie.load(finished[1].path).frames) == 30
    assert fake_reconstruction == [
        (24, "gridded", "auto"),
        (30, "gridded", "cpu", True),
        (30, "dl_natural", "cpu", True),
        (30, "gridded", "cpu", False),
        (30, "dl_natural", "cpu", False),
    ]
    assert {"Reading", "gridded", "dl_natural"} <= set(phases)
    second = len(phases) - phases[::-1].index("Reading") - 1
    assert fractions[second:] == sorted(fractions[second:])
    cache = user_cache()
    assert cache is not None
    cache.store("key", Movie.load(finished[1].path))
    assert backend.forget(["cd"]) == 0
    assert backend.forget(["ab"]) == 1
    assert backend.methods() == [
        {"name": "gridded", "label": "Gridded", "sampling": ["radial", "spiral"], "model": None, "models": {}}
    ]


# --- the real process --------------------------------------------------------------------------------


def test_process_says_hello_inspects_reports_errors_and_quits(scan: Any, tmp_path: Path) -> None:
    raw = scan(sampling="spiral").write(tmp_path / "scan.h5")
    (tmp_path / "letter.h5").write_text("Dear all")
    process = subprocess.Popen(
        [sys.executable, "-m", "recon_backend.worker"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True)
    reader.start()
    try:
        hello = json.loads(lines.get(timeout=LONG_S))
        assert (hello["event"], hello["schema"]) == ("hello", 1)
        for identifier, path in (("a", raw), ("b", tmp_path / "letter.h5")):
            request = {"id": identifier, "command": "inspect", "path": str(path)}
            process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        events = []
        while not events or events[-1]["event"] != "error":
            events.append(json.loads(lines.get(timeout=LONG_S)))
        results = [event for event in events if event["event"] == "result"]
        assert results[0]["summary"]["sampling"] == "spiral"
        assert events[-1]["message"].startswith("letter.h5: ")
        process.stdin.write(b'{"command": "quit"}\n')
        process.stdin.flush()
        assert process.wait(LONG_S) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        reader.join(LONG_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def test_prints_of_libraries_do_not_reach_the_protocol() -> None:
    program = (
        "import os, recon_backend.worker as w\n"
        "class B(w.ReconstructionBackend):\n"
        "    def methods(self):\n"
        "        print('from Python'); os.write(1, b'from C\\n'); return []\n"
        "w.ReconstructionBackend = B\n"
        "w.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"id": 1, "command": "methods"}\n')
    process.stdin.flush()
    events = [json.loads(process.stdout.readline())["event"] for _ in range(3)]
    rest, errors = process.communicate(timeout=LONG_S)
    assert events == ["hello", "started", "result"]
    assert rest == b""
    assert b"from Python" in errors
    assert b"from C" in errors
    assert process.returncode == 0


def test_hello_needs_neither_numpy_nor_tensorflow() -> None:
    program = (
        "import sys, recon_backend.worker; print({'numpy', 'h5py', 'keras', 'tensorflow'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True)
    assert output.stdout.strip() == b"set()"
