"""Work that must not hold up the window, on threads: file loading, hashing, study folders.

For work that releases Python's global lock or is short; anything with TensorFlow goes to the worker process
(`jobs`). A result always arrives in the window's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Qt, Signal, Slot

Result = TypeVar("Result")


class BackgroundTasks(QObject):
    """Runs functions on threads and hands their results to the window's thread.

    Args:
        threads: how many tasks may run at a time; 1 makes them run one after another.
        parent: Qt owner.
    """

    failed = Signal(object)
    """A task without an `on_failed` raised this exception."""

    _finished = Signal(object)

    def __init__(self, threads: int, parent: QObject | None = None) -> None:
        """Start without threads; they come with the first task."""
        super().__init__(parent)
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="blindcine")
        self._callbacks: dict[
            Future[Any], tuple[Callable[[Any], None], Callable[[BaseException], None] | None]
        ] = {}
        self._finished.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """Whether a task is waiting, running or not yet delivered."""
        return bool(self._callbacks)

    def submit(
        self,
        function: Callable[[], Result],
        on_done: Callable[[Result], None],
        on_failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run `function` on a thread, then `on_done(result)` or `on_failed(error)` in the window's thread."""
        future = self._executor.submit(function)
        self._callbacks[future] = (on_done, on_failed)
        future.add_done_callback(self._finished.emit)

    def close(self, *, finish: bool = False) -> None:
        """Wait for the running tasks and deliver nothing more.

        Args:
            finish: also do the waiting tasks first; else they are dropped.
        """
        self._callbacks.clear()
        self._executor.shutdown(wait=True, cancel_futures=not finish)

    @Slot(object)
    def _deliver(self, future: Future[Any]) -> None:
        callbacks = self._callbacks.pop(future, None)
        if callbacks is None or future.cancelled():
            return
        on_done, on_failed = callbacks
        error = future.exception()
        if error is None:
            on_done(future.result())
        elif on_failed is not None:
            on_failed(error)
        else:
            self.failed.emit(error)
