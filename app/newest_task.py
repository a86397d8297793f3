"""Work on a thread of which only the newest request matters: numbers that follow a shape while it is dragged.

While one request runs, later ones replace each other; what was overtaken is never begun. Every result comes
with the key of its request, so that a late one can be told from the present one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.background import BackgroundTasks
from studies.errors import StudyError


class NewestTask(QObject):
    """Runs the newest of several requests.

    Args:
        tasks: runs the work.
        parent: Qt owner.
    """

    done = Signal(object, object)
    """Key and result of a request."""

    failed = Signal(object, str)
    """Key of a request and the sentence that says why it cannot be done."""

    def __init__(self, tasks: BackgroundTasks, parent: QObject | None = None) -> None:
        """Start idle."""
        super().__init__(parent)
        self._tasks = tasks
        self._waiting: tuple[object, Callable[[], Any]] | None = None
        self._running = False

    @property
    def busy(self) -> bool:
        """Whether a request is running or waiting."""
        return self._running or self._waiting is not None

    def request(self, key: object, function: Callable[[], Any]) -> None:
        """Run a function as soon as the one under way has ended, unless a newer request comes."""
        self._waiting = (key, function)
        if not self._running:
            self._next()

    def forget(self) -> None:
        """Drop the waiting request."""
        self._waiting = None

    def _next(self) -> None:
        if self._waiting is None:
            return
        key, function = self._waiting
        self._waiting = None
        self._running = True
        self._tasks.submit(function, partial(self._on_done, key), partial(self._on_failed, key))

    def _on_done(self, key: object, result: object) -> None:
        self._running = False
        self.done.emit(key, result)
        self._next()

    def _on_failed(self, key: object, error: BaseException) -> None:
        self._running = False
        if not isinstance(error, StudyError):
            self._next()
            raise error
        self.failed.emit(key, str(error))
        self._next()
