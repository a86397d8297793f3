"""The list of reconstructions: order, pause, retry, times; with the fake worker."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.jobs import Job, JobManager
from app.session import MethodShelf
from app.widgets.job_list import JobList, duration_text, ratio_text, times_table

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
PATIENCE_MS = 15_000


@pytest.fixture
def jobs(qapp: object) -> Iterator[JobManager]:
    manager = JobManager([sys.executable, str(FAKE_WORKER)])
    yield manager
    manager.shutdown()


@pytest.fixture
def shown(jobs: JobManager, qtbot: QtBot) -> JobList:
    widget = JobList(jobs, MethodShelf(jobs))
    qtbot.addWidget(widget)
    widget.resize(700, 300)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


@pytest.fixture
def submit(jobs: JobManager, raw_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Job]:
    def make(stem: str, *methods: str) -> Job:
        request = {
            "command": "reconstruct",
            "path": raw_file(stem),
            "methods": list(methods or ("gridded",)),
            "out": tmp_path,
        }
        return jobs.job(jobs.submit(request, label=stem))

    return make


def labels(widget: JobList) -> list[str]:
    return [row.job.label for row in widget.rows_shown]


def test_the_queue_is_worked_off_in_the_order_that_the_user_gave_it(
    jobs: JobManager, shown: JobList, submit: Callable[..., Job], qtbot: QtBot
) -> None:
    slow = submit("slow")
    waiting = [submit(name) for name in ("a", "b", "c", "d")]
    rows = {row.job.label: row for row in shown.rows}
    qtbot.waitUntil(lambda: slow.state == "running", timeout=PATIENCE_MS)
    assert labels(shown) == ["slow", "a", "b", "c", "d"]
    assert not rows["slow"].up_button.isVisible()
    assert [rows[name].up_button.isEnabled() for name in "abcd"] == [False, True, True, True]
    assert [rows[name].down_button.isEnabled() for name in "abcd"] == [True, True, True, False]
    qtbot.mouseClick(rows["d"].top_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(rows["a"].down_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(rows["c"].up_button, Qt.MouseButton.LeftButton)
    assert labels(shown) == ["slow", "d", "b", "c", "a"]
    assert [job.label for job in jobs.waiting] == ["d", "b", "c", "a"]
    jobs.cancel(slow.job_id)
    qtbot.waitUntil(lambda: all(job.finished for job in waiting), timeout=PATIENCE_MS)
    started = sorted(waiting, key=lambda job: job.started_s or 0)
    assert [job.label for job in started] == ["d", "b", "c", "a"]
    jobs.move(waiting[0].job_id, -1)  # too late, and no error


def test_a_paused_queue_lets_the_running_job_end_and_starts_no_other(
    jobs: JobManager, shown: JobList, submit: Callable[..., Job], qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    first, second = submit("first"), submit("second")
    qtbot.waitUntil(lambda: first.state == "running", timeout=PATIENCE_MS)
    qtbot.mouseClick(shown.pause_button, Qt.MouseButton.LeftButton)
    assert jobs.paused
    assert "the running job goes on" in shown._summary.text()
    assert shown.pause_button.text() == "Resume queue"
    qtbot.waitUntil(lambda: first.finished, timeout=PATIENCE_MS)
    third = submit("third")
    # Files are still read.
    read = jobs.job(jobs.submit({"command": "inspect", "path": raw_file("other")}))
    qtbot.waitUntil(lambda: read.finished, timeout=PATIENCE_MS)
    qtbot.wait(100)
    assert (first.state, second.state, third.state) == ("done", "queued", "queued")
    jobs.cancel(second.job_id)
    qtbot.mouseClick(shown.pause_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: third.finished, timeout=PATIENCE_MS)
    assert (second.state, third.state) == ("cancelled", "done")
    assert not shown.pause_button.isVisible()  # nothing is left to be held back


def test_trying_again_is_offered_once_for_each_failure(
    jobs: JobManager, shown: JobList, submit: Callable[..., Job], qtbot: QtBot
) -> None:
    crash = submit("crash")
    qtbot.waitUntil(lambda: crash.finished, timeout=PATIENCE_MS)
    (row,) = shown.rows
    assert row.end_button.isVisible()
    qtbot.mouseClick(row.end_button, Qt.MouseButton.LeftButton)
    assert not row.end_button.isVisible()
    again = jobs.job(crash.repeated_by or "")
    assert jobs.retry(crash.job_id) == again.job_id
    assert len(shown.rows) == 2
    with pytest.raises(ValueError, match="not ended"):
        jobs.retry(again.job_id)
    qtbot.waitUntil(lambda: again.finished, timeout=PATIENCE_MS)
    assert again.state == "failed"
    # A new worker serves the next job.
    after = submit("after")
    qtbot.waitUntil(lambda: after.finished, timeout=PATIENCE_MS)
    assert after.state == "done"
    qtbot.mouseClick(shown.clear_button, Qt.MouseButton.LeftButton)
    assert shown.rows == ()
    assert jobs.jobs == ()
    assert not shown.clear_button.isVisible()
    jobs.cancel(after.job_id)  # a page may still hold it
    assert after.state == "done"


def test_times_are_shown_on_demand_with_their_ratio_to_compressed_sensing(
    shown: JobList, submit: Callable[..., Job], qtbot: QtBot
) -> None:
    job = submit("times_cached", "compressed_sensing", "dl_natural")
    (row,) = shown.rows
    qtbot.waitUntil(lambda: job.finished, timeout=PATIENCE_MS)
    assert job.cached == {"dl_natural"}
    assert not row._detail.isVisible()
    qtbot.mouseClick(row.times_button, Qt.MouseButton.LeftButton)
    assert row._detail.isVisible()
    assert "1/5" in row._detail.text()
    qtbot.mouseClick(row.times_button, Qt.MouseButton.LeftButton)
    assert not row._detail.isVisible()


def test_table_of_times() -> None:
    job = Job("job-1", {"command": "reconstruct"}, "S01", state="done")
    assert times_table(job, str) == ""
    job.seconds = {
        "compressed_sensing": {"reading": 0.5, "preparation": 1.0, "reconstruction": 20.0, "writing": 0.012},
        "dl_<b>": {"preparation": 1.0, "model_loading": 0.25, "reconstruction": 1.6},
    }
    job.cached = {"dl_<b>"}
    cells = re.findall(r"<td[^>]*>(.*?)</td>", times_table(job, lambda name: name.replace("_", " ")))
    assert cells == [
        "", "reading", "preparation", "model loading", "reconstruction", "writing", "to compressed sensing",
        "compressed sensing", "0.5 s", "1.0 s", "", "20 s", "12 ms", "",
        "dl &lt;b&gt; (computed before)", "", "1.0 s", "0.2 s", "1.6 s", "", "1/12.5",
    ]  # fmt: skip
    del job.seconds["compressed_sensing"]
    assert "to compressed" not in times_table(job, str)


@pytest.mark.parametrize(
    ("seconds", "reference_s", "text"),
    [(1.0, 20.0, "1/20"), (20.0, 1.0, "20 ×"), (1.5, 1.5, "1 ×"), (0.0, 1.0, ""), (1.0, 0.0, "")],
)
def test_ratios(seconds: float, reference_s: float, text: str) -> None:
    assert ratio_text(seconds, reference_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"), (2e-4, "1 ms"), (0.04, "40 ms"), (0.4, "0.4 s"), (9.96, "10 s"), (200.0, "3 min 20 s")
    ],  # fmt: skip
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
