"""A cohort of raw files spread over a Dask cluster that is there already.

Each file is one task: a worker reads it, reconstructs it and writes the movies into the common folder, so
nothing large goes over the network. As many files are under way as there are workers, because one
reconstruction fills a machine. A task whose worker is lost goes to another one; movies that are whole on the
disk are left as they are, whoever wrote them. One bad file stops no other.
"""

from __future__ import annotations

import importlib
import platform
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon_backend import __version__
from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.jobs import DEFAULT_OPTIONS, FinishedMovie, reconstruct_file
from recon_backend.options import ReconstructionOptions
from recon_backend.tracking import Status

_POLL_S = 0.2
_CONNECT_S = 10.0
_NO_WORKERS_S = 300.0
_CANCEL_POLL_S = 1.0
_CANCEL_PATIENCE_S = 5.0

_alone = threading.Lock()


@dataclass(frozen=True)
class FileJob:
    """What is asked of a worker; everything in it can be pickled.

    Attributes:
        path: raw file, as the workers see it.
        methods: names of methods, or `all`.
        out: folder of the movies, as the workers see it.
        device: "auto", "cpu" or "gpu".
        options: what was chosen beside the methods.
        use_cache: use the cache of the worker's user.
    """

    path: Path
    methods: tuple[str, ...]
    out: Path
    device: str = "auto"
    options: ReconstructionOptions = DEFAULT_OPTIONS
    use_cache: bool = True


@dataclass(frozen=True)
class FileOutcome:
    """What became of a file.

    Attributes:
        path: the raw file.
        movies: the movies on disk; after a failure, those that were ready before it.
        error: why it failed, in one sentence; empty if it did not.
        worker: the machine that did it.
    """

    path: Path
    movies: tuple[FinishedMovie, ...] = ()
    error: str = ""
    worker: str = ""


Task = Callable[[FileJob, Callable[[], bool]], FileOutcome]


def run_file(job: FileJob, stopped: Callable[[], bool]) -> FileOutcome:
    """Reconstruct one file on this machine; whatever is wrong with it ends in a sentence.

    Args:
        job: what to do.
        stopped: asked about once a second whether to give up.

    Raises:
        Cancelled: `stopped` said so.
    """
    from recon_backend.cache import user_cache

    last_s = time.monotonic()

    def look(_status: Status) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= _CANCEL_POLL_S:
            last_s = time.monotonic()
            if stopped():
                raise Cancelled("cancelled by the user")

    movies: list[FinishedMovie] = []
    error = ""
    try:
        # One at a time in a process, whatever number of threads the worker has.
        with _alone:
            for movie in reconstruct_file(
                job.path,
                job.methods,
                job.out,
                device=job.device,
                options=job.options,
                cache=user_cache() if job.use_cache else None,
                progress=look,
                keep_finished=True,
            ):
                movies.append(movie)
    except Cancelled:
        raise
    except (ReconstructionError, OSError, MemoryError, ImportError) as failure:
        error = _sentence(failure)
    except Exception as failure:  # noqa: BLE001 - frameworks raise classes of their own, and others wait
        error = f"{type(failure).__name__}: {_sentence(failure)}"
    return FileOutcome(job.path, tuple(movies), error, platform.node())


def reconstruct_on_cluster(
    address: str,
    jobs: Sequence[FileJob],
    *,
    task: Task = run_file,
    progress: Callable[[str, float], None] | None = None,
) -> Generator[FileOutcome, None, None]:
    """Reconstruct files on a cluster, yielding what became of each as it ends.

    When the iteration is left early (by Ctrl+C, say), what runs is asked to stop and what waits is dropped.

    Args:
        address: of the Dask scheduler, such as "tcp://host:8786".
        jobs: one for each file.
        task: what a worker does; tests put something quick in its place.
        progress: called with (phase, fraction of the whole) a few times a second.

    Raises:
        ReconstructionError: the cluster cannot be reached, has no workers for five minutes, or they have
            another version of blindcine or none.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise ReconstructionError(
            "Working on a cluster needs the package 'distributed': pip install 'blindcine[cluster]'."
        ) from error
    try:
        client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ReconstructionError(
            f"The cluster at {address} cannot be reached ({_sentence(error)}); "
            "expected the address of a Dask scheduler, such as tcp://host:8786."
        ) from error
    with client:
        yield from _spread(distributed, client, jobs, task, progress or (lambda _phase, _fraction: None))


def _spread(
    distributed: Any,  # noqa: ANN401 - the package has no types
    client: Any,  # noqa: ANN401
    jobs: Sequence[FileJob],
    task: Task,
    report: Callable[[str, float], None],
) -> Generator[FileOutcome, None, None]:
    stop_name = f"blindcine-stop-{uuid.uuid4().hex}"
    stop = distributed.Event(stop_name, client=client)
    waiting, running = list(jobs), dict[Any, FileJob]()
    checked: set[str] = set()
    last_seen_s = time.monotonic()
    try:
        while waiting or running:
            workers = set(client.nthreads())
            if workers:
                last_seen_s = time.monotonic()
                _check_versions(client, sorted(workers - checked))
                checked |= workers
            elif time.monotonic() - last_seen_s > _NO_WORKERS_S:
                raise ReconstructionError("The cluster has no workers; start some, then try again.")
            while waiting and len(running) < len(workers):
                job = waiting.pop(0)
                # Not pure: asked for a second time, it is done a second time.
                running[client.submit(_on_worker, task, job, stop_name, pure=False)] = job
            ended = len(jobs) - len(waiting) - len(running)
            report(f"{ended} of {len(jobs)} files, {len(workers)} workers", ended / len(jobs))
            time.sleep(_POLL_S)
            for future in [future for future in running if future.done()]:
                yield _outcome(future, running.pop(future))
    finally:
        if running:
            stop.set()
            deadline_s = time.monotonic() + _CANCEL_PATIENCE_S
            while time.monotonic() < deadline_s and not all(future.done() for future in running):
                time.sleep(_POLL_S)
            client.cancel(list(running))


def _outcome(future: Any, job: FileJob) -> FileOutcome:  # noqa: ANN401
    try:
        outcome: FileOutcome = future.result()
        return outcome
    except Exception as error:  # noqa: BLE001 - a task may raise anything, and other files wait
        if type(error).__name__ == "KilledWorker":
            return FileOutcome(
                job.path,
                error="every worker that tried it was lost; it may need more memory than they have.",
            )
        return FileOutcome(job.path, error=f"{type(error).__name__}: {_sentence(error)}")


def _on_worker(task: Task, job: FileJob, stop_name: str) -> FileOutcome:
    """A task, in a worker's process."""
    import distributed

    stop = distributed.Event(stop_name, client=distributed.get_client())

    def stopped() -> bool:
        try:
            return bool(stop.is_set())
        except (OSError, RuntimeError):  # the scheduler is gone, and with it who wants the result
            return True

    return task(job, stopped)


def _check_versions(client: Any, workers: list[str]) -> None:  # noqa: ANN401
    """Raises ReconstructionError unless these workers have this version of blindcine."""
    if not workers:
        return
    found = client.run(_worker_version, workers=workers, on_error="return")
    for worker, version in found.items():
        if isinstance(version, ModuleNotFoundError):
            raise ReconstructionError(
                f"blindcine is not installed on the worker {worker}: pip install 'blindcine[cluster]' there."
            )
        if isinstance(version, str) and version != __version__:
            raise ReconstructionError(
                f"The worker {worker} has blindcine {version}, but this machine {__version__}; "
                "install the same version on both."
            )
        # A worker that was lost in the meantime says nothing, and gets no work either.


def _worker_version() -> str:
    from recon_backend import __version__ as version

    return version


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, MemoryError):
        return "not enough memory."
    return (str(error).strip() or type(error).__name__).splitlines()[0]
