"""The process that owns the device: one JSON object a line in, one a line out.

Run as `python -m recon_backend.worker`. Requests come on standard input, events go to standard output, and
everything that libraries print goes to standard error. Jobs run one after another in the main thread; a
second thread takes the requests, so `cancel` is heard at once and takes effect at the job's next progress
report. When standard input ends, the running job is cancelled and the process exits: a worker never outlives
its window.

Requests are `inspect`, `preview`, `reconstruct`, `replicas`, `live`, `methods`, `forget`, `cancel` and
`quit`; events are `hello`, `started`, `progress`, `movie`, `replicas`, `frame`, `result`, `error` and
`cancelled`. Every job ends with exactly one of the last three.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from recon_backend import __version__
from recon_backend.errors import Cancelled, FormatError, ReconstructionError
from recon_backend.options import ReconstructionOptions

if TYPE_CHECKING:
    from recon_backend.acquisition import Acquisition
    from recon_backend.jobs import FinishedMovie
    from recon_backend.movie import Movie
    from recon_backend.pseudo_replica import FinishedReplicas

Request = dict[str, Any]
JobId = str | int

SCHEMA = 1
PREVIEW_FRAMES = 24
DEVICES = ("auto", "cpu", "gpu")

_NICE = 5
"""Below the window: who reads while scans are reconstructed must not see movies stutter."""
_READING_SHARE = 0.05
_PROGRESS_INTERVAL_S = 0.1

_logger = logging.getLogger(__name__)


class ProgressCallback(Protocol):
    """Takes how far a job is; raises `Cancelled` if it shall stop. May be called from any thread."""

    def __call__(self, phase: str, fraction: float, remaining_s: float | None = None) -> None:
        """Phase in words, fraction of the whole, and seconds left if the job can say that itself."""


class Backend(Protocol):
    """What the worker can do; tests put a fake in its place."""

    def inspect(self, path: Path, progress: ProgressCallback) -> Mapping[str, Any]:
        """What a raw-data file holds, ready for JSON."""

    def preview(self, path: Path, out: Path, progress: ProgressCallback) -> Path:
        """Write a quick movie of the first frames."""

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
        """Write one movie a method into the folder `out`, yielding each when it is on disk."""

    def replicas(
        self,
        path: Path,
        methods: Sequence[str],
        out: Path,
        device: str,
        progress: ProgressCallback,
        *,
        options: ReconstructionOptions,
        count: int | None,
        seed: int,
        regions: Path | None,
    ) -> Iterator[FinishedReplicas]:
        """Write one file of pseudo-replicas a method into the folder `out`, yielding each in time."""

    def methods(self) -> Sequence[Mapping[str, Any]]:
        """Name, label, samplings and model of each method at hand."""

    def forget(self, raw_sha256: Sequence[str]) -> int:
        """Remove the kept results of some raw files; returns how many there were."""


class ReconstructionBackend:
    """The real work, by `recon_backend.reconstruct`; the first job that needs TensorFlow imports it."""

    def inspect(self, path: Path, progress: ProgressCallback) -> Mapping[str, Any]:
        """See `Acquisition.summary`."""
        return _open(path, progress).summary()

    def preview(self, path: Path, out: Path, progress: ProgressCallback) -> Path:
        """Gridded reconstruction of at most the first 24 frames."""
        acquisition = _open(path, _part(progress, 0.0, _READING_SHARE))
        acquisition = acquisition.frames_slice(0, min(PREVIEW_FRAMES, acquisition.frames))
        from recon_backend.reconstruct import reconstruct  # heavy

        movie: Movie = reconstruct(acquisition, "gridded", progress=_part(progress, _READING_SHARE, 1.0))
        return movie.save(out)

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
        """See `recon_backend.jobs.reconstruct_file`."""
        from recon_backend.cache import user_cache
        from recon_backend.jobs import reconstruct_file

        return reconstruct_file(
            path,
            methods,
            out,
            device=device,
            options=options,
            cache=user_cache() if use_cache else None,
            progress=lambda status: progress(status.phase, status.fraction, status.remaining_s),
        )

    def replicas(
        self,
        path: Path,
        methods: Sequence[str],
        out: Path,
        device: str,
        progress: ProgressCallback,
        *,
        options: ReconstructionOptions,
        count: int | None,
        seed: int,
        regions: Path | None,
    ) -> Iterator[FinishedReplicas]:
        """See `recon_backend.pseudo_replica.replicate_file`."""
        from recon_backend.pseudo_replica import DEFAULT_COUNT, ReplicaSettings, read_masks, replicate_file

        return replicate_file(
            path,
            methods,
            out,
            ReplicaSettings(DEFAULT_COUNT if count is None else count, seed),
            regions=read_masks(regions) if regions is not None else None,
            options=options,
            device=device,
            progress=lambda status: progress(status.phase, status.fraction, status.remaining_s),
        )

    def methods(self) -> Sequence[Mapping[str, Any]]:
        """See `recon_backend.methods.available_methods`."""
        from recon_backend.methods import available_methods  # heavy

        return [
            {
                "name": info.name,
                "label": info.label,
                "sampling": list(info.samplings),
                "model": info.model,
                "models": info.models,
            }
            for info in available_methods()
        ]

    def forget(self, raw_sha256: Sequence[str]) -> int:
        """See `ResultCache.forget`."""
        from recon_backend.cache import user_cache

        cache = user_cache()
        return 0 if cache is None else cache.forget(raw_sha256)


def serve(requests: BinaryIO, events: BinaryIO, backend: Backend) -> None:
    """Answer requests until `quit` or the end of the stream; returns when the last job has ended.

    Args:
        requests: UTF-8 lines, one JSON object each.
        events: where UTF-8 lines go, flushed one by one.
        backend: who does the work.
    """
    _Worker(requests, events, backend).run()


@dataclass
class _Job:
    identifier: JobId
    command: str
    request: Request
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: bool = False


class _RequestError(ValueError):
    """A request does not follow the protocol."""


class _Worker:
    """The state behind `serve`: the queue, and the jobs that have not ended."""

    def __init__(self, requests: BinaryIO, events: BinaryIO, backend: Backend) -> None:
        self._requests = requests
        self._events = events
        self._backend = backend
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unfinished: dict[JobId, _Job] = {}
        self._jobs_lock = threading.Lock()
        self._events_lock = threading.Lock()
        self._handlers: Mapping[str, Callable[[_Job], None]] = {
            "inspect": self._inspect,
            "preview": self._preview,
            "reconstruct": self._reconstruct,
            "replicas": self._replicas,
            "methods": self._methods,
            "forget": self._forget,
            "live": self._live,
        }

    def run(self) -> None:
        self._emit("hello", schema=SCHEMA, version=__version__)
        reader = threading.Thread(target=self._take_requests, name="requests", daemon=True)
        reader.start()
        while (job := self._queue.get()) is not None:
            self._run_job(job)

    def _take_requests(self) -> None:
        """The reader thread's life."""
        try:
            for line in iter(self._requests.readline, b""):
                if line.strip() and not self._take(line):
                    break
        finally:
            self._stop()

    def _take(self, line: bytes) -> bool:
        """Act on one line; False if it asks to quit."""
        request: Request = {}
        try:
            request = _parsed(line)
            command = request.get("command")
            if not isinstance(command, str):
                raise _RequestError("a request must be a JSON object with a 'command'.")
            if command == "quit":
                return False
            if command == "cancel":
                self._cancel(request.get("id"))
            else:
                self._accept(command, request)
        except _RequestError as error:
            identifier = request.get("id")
            self._emit(
                "error",
                id=identifier if isinstance(identifier, (str, int)) else None,
                **_described(error),
            )
        return True

    def _accept(self, command: str, request: Request) -> None:
        identifier = request.get("id")
        if not isinstance(identifier, (str, int)) or isinstance(identifier, bool):
            raise _RequestError(f"the request '{command}' needs an 'id', a text or a whole number.")
        if command not in self._handlers:
            known = ", ".join((*self._handlers, "cancel", "quit"))
            raise _RequestError(f"the command '{command}' is unknown; expected one of {known}.")
        job = _Job(identifier, command, request)
        with self._jobs_lock:
            if identifier in self._unfinished:
                raise _RequestError(f"the id {identifier!r} belongs to a job that has not ended.")
            self._unfinished[identifier] = job
        self._queue.put(job)

    def _cancel(self, identifier: object) -> None:
        # A job that has just ended is no error: its last event crossed this request.
        with self._jobs_lock:
            job = self._unfinished.get(identifier) if isinstance(identifier, (str, int)) else None
            if job is None:
                return
            job.cancelled.set()
            if job.started:
                return
            del self._unfinished[job.identifier]  # it still waits in the queue and will be passed over there
        self._emit("cancelled", id=job.identifier)

    def _stop(self) -> None:
        with self._jobs_lock:
            for job in self._unfinished.values():
                job.cancelled.set()
        self._queue.put(None)

    def _run_job(self, job: _Job) -> None:
        """One job from start to its last event, in the main thread."""
        with self._jobs_lock:
            if self._unfinished.get(job.identifier) is not job:
                return
            job.started = True
        try:
            if job.cancelled.is_set():
                raise Cancelled("cancelled before it began")
            self._emit("started", id=job.identifier)
            self._handlers[job.command](job)
        except Cancelled:
            self._end(job, "cancelled")
        except (ReconstructionError, OSError, MemoryError, ValueError, RuntimeError) as error:
            if not isinstance(error, (ReconstructionError, OSError, _RequestError)):
                _logger.exception("job %s (%s) failed", job.identifier, job.command)
            self._end(job, "error", **_described(error))
        except Exception as error:
            # Frameworks raise classes of their own. The log gets the trace, the window one sentence.
            _logger.exception("job %s (%s) failed", job.identifier, job.command)
            self._end(job, "error", **_described(error))

    def _inspect(self, job: _Job) -> None:
        path = _path_of(job.request, "path")
        self._end(job, "result", summary=self._backend.inspect(path, self._progress_of(job)))

    def _preview(self, job: _Job) -> None:
        path, out = _path_of(job.request, "path"), _path_of(job.request, "out")
        self._end(job, "result", path=str(self._backend.preview(path, out, self._progress_of(job))))

    def _reconstruct(self, job: _Job) -> None:
        path, out = _path_of(job.request, "path"), _path_of(job.request, "out")
        methods, device, options = _choices(job.request)
        use_cache = job.request.get("cache", True)
        if not isinstance(use_cache, bool):
            raise _RequestError(f"'cache' is {use_cache!r}; expected true or false.")
        movies: dict[str, str] = {}
        for movie in self._backend.reconstruct(
            path,
            methods,
            out,
            device,
            self._progress_of(job),
            options=options,
            use_cache=use_cache,
        ):
            movies[movie.method] = str(movie.path)
            self._emit(
                "movie",
                id=job.identifier,
                method=movie.method,
                path=str(movie.path),
                seconds=dict(movie.seconds),
                cached=movie.cached,
            )
        self._end(job, "result", movies=movies)

    def _replicas(self, job: _Job) -> None:
        """Measure noise by replicas; `regions` names an archive of masks (`pseudo_replica.read_masks`)."""
        path, out = _path_of(job.request, "path"), _path_of(job.request, "out")
        methods, device, options = _choices(job.request)
        count, seed = job.request.get("count"), job.request.get("seed", 0)
        if not (count is None or type(count) is int) or type(seed) is not int:
            raise _RequestError("'count' and 'seed' of 'replicas' are whole numbers.")
        regions = _path_of(job.request, "regions") if job.request.get("regions") is not None else None
        files: dict[str, str] = {}
        for done in self._backend.replicas(
            path,
            methods,
            out,
            device,
            self._progress_of(job),
            options=options,
            count=count,
            seed=seed,
            regions=regions,
        ):
            files[done.method] = str(done.path)
            self._emit(
                "replicas",
                id=job.identifier,
                method=done.method,
                path=str(done.path),
                seconds_per_replica=done.seconds_per_replica,
            )
        self._end(job, "result", files=files)

    def _live(self, job: _Job) -> None:
        """Play a raw file live; the images lie in the ring file (`recon_backend.live`)."""
        path, ring = _path_of(job.request, "path"), _path_of(job.request, "ring")
        method, device = job.request.get("method"), job.request.get("device", DEVICES[0])
        if not isinstance(method, str) or device not in DEVICES:
            raise _RequestError(f"'live' needs a 'method' and a 'device' of {', '.join(DEVICES)}.")
        from recon_backend.live import play_live  # heavy
        from recon_backend.streaming import StreamSettings

        def emit(frame: dict[str, Any]) -> None:
            self._emit("frame", id=job.identifier, **frame)

        settings = StreamSettings(method, device=device)
        live = play_live(path, ring, settings, progress=self._progress_of(job), emit=emit)
        self._end(job, "result", live=live)

    def _methods(self, job: _Job) -> None:
        self._end(job, "result", methods=[dict(method) for method in self._backend.methods()])

    def _forget(self, job: _Job) -> None:
        raw = job.request.get("raw_sha256")
        if not isinstance(raw, list) or not all(isinstance(digest, str) for digest in raw):
            raise _RequestError("'forget' needs 'raw_sha256', a list of checksums.")
        self._end(job, "result", forgotten=self._backend.forget(raw))

    def _progress_of(self, job: _Job) -> ProgressCallback:
        """A callback that reports at most ten times a second and raises `Cancelled` when asked to stop."""
        began = time.monotonic()
        reported = -_PROGRESS_INTERVAL_S
        last_phase = ""

        def report(phase: str, fraction: float, remaining_s: float | None = None) -> None:
            nonlocal reported, last_phase
            if job.cancelled.is_set():
                raise Cancelled("cancelled by the user")
            elapsed = time.monotonic() - began
            if phase == last_phase and elapsed - reported < _PROGRESS_INTERVAL_S and fraction < 1:
                return
            fraction = min(max(float(fraction), 0.0), 1.0)
            reported, last_phase = elapsed, phase
            self._emit(
                "progress",
                id=job.identifier,
                phase=phase,
                fraction=round(fraction, 4),
                remaining_s=None if remaining_s is None else round(remaining_s, 1),
            )

        return report

    def _end(self, job: _Job, event: str, **content: Any) -> None:  # noqa: ANN401
        with self._jobs_lock:
            self._unfinished.pop(job.identifier, None)
        self._emit(event, id=job.identifier, **content)

    def _emit(self, event: str, **content: Any) -> None:  # noqa: ANN401
        line = json.dumps({"event": event, **content}, allow_nan=False).encode() + b"\n"
        with self._events_lock:
            try:
                self._events.write(line)
                self._events.flush()
            except (BrokenPipeError, ConnectionResetError):
                self._stop()  # nobody listens any more


def _parsed(line: bytes) -> Request:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _RequestError("the request is not JSON.") from error
    if not isinstance(request, dict):
        raise _RequestError("a request must be a JSON object with a 'command'.")
    return request


def _path_of(request: Request, key: str) -> Path:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise _RequestError(
            f"the request '{request['command']}' needs '{key}', the path of a file or folder."
        )
    return Path(value)


def _choices(request: Request) -> tuple[list[str], str, ReconstructionOptions]:
    """Methods, device and options of a request that reconstructs."""
    methods = request.get("methods")
    if not isinstance(methods, list) or not methods or not all(isinstance(name, str) for name in methods):
        raise _RequestError(f"'{request['command']}' needs 'methods', a list of method names.")
    device = request.get("device", DEVICES[0])
    if device not in DEVICES:
        raise _RequestError(f"the device is {device!r}; expected one of {', '.join(DEVICES)}.")
    options = request.get("options", {})
    if not isinstance(options, dict):
        raise _RequestError(f"'options' is {options!r}; expected an object.")
    return methods, str(device), ReconstructionOptions.from_dict(options)


def _described(error: Exception) -> dict[str, str]:
    """Code, one sentence and advice for an error event."""
    if isinstance(error, _RequestError):
        return {
            "code": "request",
            "message": str(error),
            "hint": "This is an error in the program that sent the request.",
        }
    if isinstance(error, FormatError):
        return {"code": "format", "message": str(error), "hint": "Check the file, or export it again."}
    if isinstance(error, ReconstructionError):
        return {
            "code": "reconstruction",
            "message": str(error),
            "hint": "Choose another method or another scan.",
        }
    if isinstance(error, OSError):
        name = f"{Path(str(error.filename)).name}: " if error.filename else ""
        return {
            "code": "file",
            "message": f"{name}{error.strerror or error}.",
            "hint": "Check the folder, its permissions and the free disk space.",
        }
    if isinstance(error, MemoryError):
        return {
            "code": "memory",
            "message": "There is not enough memory for this scan.",
            "hint": "Close other programs or reconstruct one method at a time.",
        }
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return {"code": "failure", "message": first_line, "hint": "The log of the worker has the details."}


def _open(path: Path, progress: ProgressCallback) -> Acquisition:
    from recon_backend.formats import open_acquisition  # NumPy and h5py come after `hello`

    return open_acquisition(path, progress=progress)


def _part(progress: ProgressCallback, start: float, stop: float) -> ProgressCallback:
    """A callback for a job's part that goes from `start` to `stop` of the whole."""

    def report(phase: str, fraction: float, remaining_s: float | None = None) -> None:
        progress(phase, start + (stop - start) * fraction, remaining_s)

    return report


def main() -> None:
    """Keep standard output for the protocol, send everything else to standard error, and serve."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Unbuffered: a buffered reader that blocks in a thread is a fatal error when the interpreter ends.
    requests = open(0, "rb", buffering=0, closefd=False)
    serve(requests, events, ReconstructionBackend())
    tracking = sys.modules.get("recon_backend.tracking")
    if tracking is not None and tracking.work_goes_on():
        os._exit(0)  # native code that runs while the interpreter goes down crashes


if __name__ == "__main__":
    main()
