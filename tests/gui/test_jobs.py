"""The window's side of the worker protocol, with a worker that crashes, hangs and lies when told to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

from app.jobs import CANCEL_PATIENCE_MS, Job, JobManager

LONG_MS = 60_000
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
ARMS = ["compressed_sensing", "dl_natural", "dl_cardiac"]


@pytest.fixture
def jobs(qapp: object) -> Iterator[JobManager]:
    manager = JobManager([sys.executable, str(FAKE_WORKER)])
    yield manager
    manager.shutdown()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def reconstruct(jobs: JobManager, path: Path, out: Path) -> Job:
    request = {"command": "reconstruct", "path": path, "methods": ARMS, "out": out, "device": "auto"}
    return jobs.job(jobs.submit(request, label=path.stem))


def test_reconstruction_reports_progress_movies_and_times(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    ready: list[tuple[str, str, Path]] = []
    fractions: list[float] = []
    jobs.movie_ready.connect(lambda *arguments: ready.append(arguments))
    jobs.job_changed.connect(lambda job: fractions.append(job.fraction))
    ended: list[Job] = []
    request = {
        "command": "reconstruct",
        "path": raw_file("S01"),
        "methods": ARMS,
        "out": out,
        "device": "auto",
    }
    job = jobs.job(jobs.submit(request, on_finished=ended.append))
    assert job.state == "queued"
    qtbot.waitUntil(lambda: job.finished, timeout=LONG_MS)
    assert job.state == "done"
    assert ended == [job]
    assert [method for _, method, _ in ready] == ARMS
    assert all(path.is_file() for *_, path in ready)
    assert job.seconds["dl_natural"] == {"reading": 0.2, "reconstruction": 0.25}
    assert job.cached == set()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_files_are_read_while_another_scan_is_reconstructed(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    slow = reconstruct(jobs, raw_file("slow"), out)
    qtbot.waitUntil(lambda: slow.fraction > 0, timeout=LONG_MS)
    inspect = jobs.job(jobs.submit({"command": "inspect", "path": raw_file("S01_radial")}))
    qtbot.waitUntil(lambda: inspect.finished, timeout=LONG_MS)
    assert inspect.result["summary"]["sampling"] == "radial"
    assert slow.state == "running"


def test_error_fails_one_job_only(jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path]) -> None:
    bad = jobs.job(jobs.submit({"command": "inspect", "path": raw_file("bad")}))
    good = jobs.job(jobs.submit({"command": "inspect", "path": raw_file("good")}))
    qtbot.waitUntil(lambda: good.finished, timeout=LONG_MS)
    assert (bad.state, bad.message) == ("failed", "bad.h5: not raw data.")
    assert good.state == "done"


def test_crash_fails_the_running_job_and_the_next_goes_on(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    lost: list[str] = []
    jobs.worker_lost.connect(lost.append)
    crash = reconstruct(jobs, raw_file("crash"), out)
    after = reconstruct(jobs, raw_file("S02"), out)
    qtbot.waitUntil(lambda: after.finished, timeout=LONG_MS)
    assert crash.state == "failed"
    assert "code 3" in crash.message
    assert len(lost) == 1
    assert lost[0].startswith(f"crash: {crash.message}")  # whose job it was, what happened, what to do
    assert "tried again" in lost[0]
    assert after.state == "done"
    assert "out of memory on the device" in jobs.worker_log()


def test_estimate_runs_down_between_reports_and_ends_when_outlasted(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("job-1", {"command": "reconstruct"}, "S01", state="running")
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    job.started_s = now_s
    assert job.estimate_s() is None
    now_s, job.reported_s, job.fraction = 110.0, 110.0, 0.25
    assert job.estimate_s() == pytest.approx(30.0)  # 10 s for a quarter
    job.remaining_s = 8.0  # the worker's word counts more
    assert job.estimate_s() == pytest.approx(8.0)
    now_s = 115.0
    assert job.estimate_s() == pytest.approx(3.0)
    now_s = 118.5
    assert job.estimate_s() is None


def test_cancel_is_obeyed_and_the_worker_goes_on(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    job = reconstruct(jobs, raw_file("slow"), out)
    qtbot.waitUntil(lambda: job.fraction > 0, timeout=LONG_MS)
    jobs.cancel(job.job_id)
    qtbot.waitUntil(lambda: job.finished, timeout=LONG_MS)
    assert job.state == "cancelled"
    after = reconstruct(jobs, raw_file("S03"), out)
    qtbot.waitUntil(lambda: after.finished, timeout=LONG_MS)
    assert after.state == "done"


def test_worker_that_ignores_a_cancel_is_killed(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    """The patience and the end of a process together stay under two seconds."""
    assert CANCEL_PATIENCE_MS <= 1500
    lost: list[str] = []
    jobs.worker_lost.connect(lost.append)
    job = reconstruct(jobs, raw_file("hang"), out)
    after = reconstruct(jobs, raw_file("S04"), out)
    qtbot.waitUntil(lambda: job.fraction > 0, timeout=LONG_MS)
    jobs.cancel(job.job_id)
    qtbot.waitUntil(lambda: job.finished, timeout=LONG_MS)
    assert job.state == "cancelled"
    assert lost == []  # it was our own doing
    qtbot.waitUntil(lambda: after.finished, timeout=LONG_MS)
    assert after.state == "done"


def test_waiting_job_is_cancelled_without_the_worker(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    first = reconstruct(jobs, raw_file("S05"), out)
    waiting = reconstruct(jobs, raw_file("S06"), out)
    jobs.cancel(waiting.job_id)
    assert waiting.state == "cancelled"
    qtbot.waitUntil(lambda: first.finished, timeout=LONG_MS)
    assert first.state == "done"
    again = jobs.job(jobs.retry(waiting.job_id))
    assert again.repeats == waiting.job_id
    qtbot.waitUntil(lambda: again.finished, timeout=LONG_MS)
    assert again.state == "done"


def test_program_that_does_not_exist_fails_every_job(qapp: object, qtbot: QtBot) -> None:
    jobs = JobManager(["/nonexistent/program"])
    submitted = [jobs.job(jobs.submit({"command": "methods"})) for _ in range(2)]
    qtbot.waitUntil(lambda: all(job.finished for job in submitted), timeout=LONG_MS)
    assert all("could not be started" in job.message for job in submitted)
    jobs.shutdown()


def test_other_protocol_is_refused(jobs: JobManager, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER_SCHEMA", "7")
    job = jobs.job(jobs.submit({"command": "methods"}))
    qtbot.waitUntil(lambda: job.finished, timeout=LONG_MS)
    assert job.state == "failed"
    assert "protocol 7" in job.message


def test_worker_that_dies_at_once_says_why(qapp: object, qtbot: QtBot) -> None:
    jobs = JobManager([sys.executable, "-c", "raise SystemExit('no module named keras')"])
    job = jobs.job(jobs.submit({"command": "methods"}))
    qtbot.waitUntil(lambda: job.finished, timeout=LONG_MS)
    assert "no module named keras" in job.message
    jobs.shutdown()


def test_event_loop_is_not_held_up(
    jobs: JobManager, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    """While a job runs the loop goes round and round: a call that waited for the worker would stop it."""
    seen: list[str] = []
    heartbeat = QTimer()
    heartbeat.timeout.connect(lambda: seen.append("beat"))
    heartbeat.start(5)
    jobs.job_changed.connect(lambda changed: seen.append(changed.state))
    job = reconstruct(jobs, raw_file("S07"), out)
    qtbot.waitUntil(lambda: job.finished, timeout=LONG_MS)
    heartbeat.stop()
    while_running = seen[seen.index("running") : seen.index("done")]
    assert while_running.count("beat") >= 5
    assert while_running.count("running") >= 5


def test_shutdown_does_not_wait_for_a_job_under_way(
    qapp: object, qtbot: QtBot, raw_file: Callable[..., Path], out: Path
) -> None:
    jobs = JobManager([sys.executable, str(FAKE_WORKER)])
    job = reconstruct(jobs, raw_file("hang"), out)
    qtbot.waitUntil(lambda: job.fraction > 0, timeout=LONG_MS)
    jobs.shutdown()
    assert not job.finished and not list(out.glob("*"))  # it was killed in the middle
