"""A cohort on a local cluster of two processes: spread, lost workers, bad files, resuming, stopping."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import pytest

from recon_backend.cluster import FileJob, FileOutcome, reconstruct_on_cluster, run_file
from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.movie import Movie

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[2]
# The workers cannot import the tests: their functions travel by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Cluster:
    """A scheduler in this process, and workers that are processes without anybody to start them again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []
        # A file that has cost two workers is given up.
        dask.config.set({"distributed.scheduler.allowed-failures": 1})
        self._scheduler = distributed.LocalCluster(
            n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        )
        self.scheduler_address: str = self._scheduler.scheduler_address

    def start(self, count: int) -> None:
        """Have at least so many workers that live."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        words = ["--no-nanny", "--nthreads", "2", "--no-dashboard", "--local-directory", str(self._folder)]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.scheduler_address, *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        while len(self._workers) < count:
            self._workers.append(
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
        with distributed.Client(self.scheduler_address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)

    def stop_workers(self) -> None:
        """Leave the scheduler alone."""
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def close(self) -> None:
        """End everything."""
        self.stop_workers()
        self._scheduler.close()
        dask.config.set({"distributed.scheduler.allowed-failures": 3})


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests: workers take seconds to start."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def cluster(machines: Cluster) -> Cluster:
    """The cluster with two workers, though the test before may have killed some."""
    machines.start(2)
    return machines


def jobs_of(folder: Path, count: int) -> list[FileJob]:
    return [FileJob(folder / f"file{number}", ("gridded",), folder) for number in range(count)]


def note_and_wait(job: FileJob, stopped: Callable[[], bool]) -> FileOutcome:
    """A task that leaves a note of its process, waits, and gives up when asked to."""
    note = job.out / f"{job.path.name}.{os.getpid()}.{time.monotonic_ns()}"
    note.touch()
    deadline_s = time.monotonic() + 0.6
    while time.monotonic() < deadline_s:
        time.sleep(0.05)
        if stopped():
            note.with_suffix(".stopped").touch()
            raise Cancelled("stopped")
    return FileOutcome(job.path, worker=str(os.getpid()))


def wait_long(job: FileJob, stopped: Callable[[], bool]) -> FileOutcome:
    """A task that only ends when asked to."""
    (job.out / f"{job.path.name}.started").touch()
    while not stopped():
        time.sleep(0.05)
    (job.out / f"{job.path.name}.stopped").touch()
    raise Cancelled("stopped")


def die(job: FileJob, _stopped: Callable[[], bool]) -> FileOutcome:
    """A task that takes its worker with it, but for one file."""
    if job.path.name == "file0":
        os.kill(os.getpid(), signal.SIGKILL)
    return FileOutcome(job.path)


def raise_anything(job: FileJob, _stopped: Callable[[], bool]) -> FileOutcome:
    """A task with a defect."""
    if job.path.name == "file0":
        raise ZeroDivisionError("division by zero")
    return FileOutcome(job.path)


def test_files_are_spread_and_a_lost_worker_costs_nothing_but_time(cluster: Cluster, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, 6)
    fractions: list[float] = []
    outcomes: list[FileOutcome] = []
    killed = 0
    for outcome in reconstruct_on_cluster(
        cluster.scheduler_address,
        jobs,
        task=note_and_wait,
        progress=lambda _phase, fraction: fractions.append(fraction),
    ):
        outcomes.append(outcome)
        if not killed:
            notes = {path.name.split(".")[0]: path.name.split(".")[1] for path in tmp_path.iterdir()}
            ended = outcome.path.name
            killed = next(int(process) for name, process in notes.items() if name != ended)
            os.kill(killed, signal.SIGKILL)
    assert sorted(outcome.path.name for outcome in outcomes) == [job.path.name for job in jobs]
    assert [outcome.error for outcome in outcomes] == [""] * 6
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1.0
    processes = {path.name.split(".")[1] for path in tmp_path.iterdir()}
    assert str(killed) in processes
    assert len(processes) >= 2
    # The file of the lost worker was begun twice, every other one once.
    begun = [path.name.split(".")[0] for path in tmp_path.iterdir()]
    assert len(begun) == 7


def test_a_defect_in_a_task_fails_its_file_only(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = {
        outcome.path.name: outcome.error
        for outcome in reconstruct_on_cluster(
            cluster.scheduler_address, jobs_of(tmp_path, 2), task=raise_anything
        )
    }
    assert outcomes == {"file0": "ZeroDivisionError: division by zero", "file1": ""}


def test_leaving_early_stops_what_runs(cluster: Cluster, tmp_path: Path) -> None:
    def interrupt(_phase: str, _fraction: float) -> None:
        if len(list(tmp_path.glob("*.started"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(
            reconstruct_on_cluster(
                cluster.scheduler_address, jobs_of(tmp_path, 5), task=wait_long, progress=interrupt
            )
        )
    assert len(list(tmp_path.glob("*.stopped"))) == 2
    assert len(list(tmp_path.glob("*.started"))) == 2


def test_movies_are_made_on_the_workers_and_left_alone_the_next_time(
    cluster: Cluster, scan: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    paths = [
        scan(sampling="radial", frames=3, matrix=(16, 16), seed=seed).write(tmp_path / f"s{seed}.h5")
        for seed in range(3)
    ]
    (tmp_path / "bad.h5").write_text("no raw data")
    jobs = [
        FileJob(path, ("gridded",), out, use_cache=False)
        for path in [*paths, tmp_path / "bad.h5", tmp_path / "missing.h5"]
    ]

    def run() -> dict[str, FileOutcome]:
        found = reconstruct_on_cluster(cluster.scheduler_address, jobs)
        return {outcome.path.name: outcome for outcome in found}

    first = run()
    assert first["bad.h5"].error.startswith("bad.h5: ")
    assert "no such file" in first["missing.h5"].error
    for path in paths:
        (movie,) = first[path.name].movies
        assert not movie.cached
        assert movie.path == out / f"{path.stem}_gridded.h5"
        assert Movie.load(movie.path).frames.shape == (3, 16, 16)
    written = [(out / f"s{seed}_gridded.h5").stat().st_mtime_ns for seed in range(3)]
    (out / "s1_gridded.h5").unlink()
    second = run()
    again = [(out / f"s{seed}_gridded.h5").stat().st_mtime_ns for seed in range(3)]
    assert [after == before for before, after in zip(written, again, strict=True)] == [True, False, True]
    assert [second[path.name].movies[0].cached for path in paths] == [True, False, True]


def test_a_file_that_kills_every_worker_is_named_and_the_others_are_done(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start(3)
    outcomes = {
        outcome.path.name: outcome.error
        for outcome in reconstruct_on_cluster(cluster.scheduler_address, jobs_of(tmp_path, 3), task=die)
    }
    assert "every worker that tried it was lost" in outcomes.pop("file0")
    assert outcomes == {"file1": "", "file2": ""}


def test_a_running_file_gives_up_when_asked(
    scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon_backend.cluster._CANCEL_POLL_S", 0.0)
    path = scan(sampling="radial").write(tmp_path / "scan.h5")
    with pytest.raises(Cancelled):
        run_file(FileJob(path, ("gridded",), tmp_path / "out"), lambda: True)
    assert run_file(FileJob(path, ("gridded",), tmp_path / "out"), lambda: False).error == ""


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "tcp://"])
def test_a_cluster_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("recon_backend.cluster._CONNECT_S", 0.5)
    with pytest.raises(ReconstructionError, match="cannot be reached"):
        list(reconstruct_on_cluster(address, jobs_of(tmp_path, 1)))


def test_a_cluster_without_workers_is_given_up(
    machines: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon_backend.cluster._NO_WORKERS_S", 0.1)
    machines.stop_workers()
    with pytest.raises(ReconstructionError, match="no workers"):
        list(reconstruct_on_cluster(machines.scheduler_address, jobs_of(tmp_path, 1)))


def test_workers_of_another_version_are_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon_backend.cluster.__version__", "99.0")
    with pytest.raises(ReconstructionError, match="but this machine 99.0"):
        list(reconstruct_on_cluster(cluster.scheduler_address, jobs_of(tmp_path, 1)))
