"""Threads of the window: what waits when the window closes."""

from __future__ import annotations

import time

import pytest

from app.background import BackgroundTasks


@pytest.mark.parametrize("finish", [True, False])
def test_waiting_tasks_are_finished_only_if_asked(qapp: object, finish: bool) -> None:
    """A commit behind a slow task still reaches the log when study tasks are closed with `finish`."""
    tasks = BackgroundTasks(1)
    done: list[str] = []
    tasks.submit(lambda: time.sleep(0.2), lambda _result: None)
    tasks.submit(lambda: done.append("committed"), lambda _result: None)
    tasks.close(finish=finish)
    assert done == (["committed"] if finish else [])
