"""How far a task on a thread has come, told to the window; and the wish to end it, told to the task."""

from __future__ import annotations

from threading import Event

from PySide6.QtCore import QObject, Signal


class TaskProgress(QObject):
    """Carries progress out of a thread and a cancellation into it.

    A Qt signal from another thread is delivered in the thread that this object lives in.
    """

    advanced = Signal(str, float)
    """What is being done, and the fraction done."""

    def __init__(self, parent: QObject | None = None) -> None:
        """Begin without a wish to cancel."""
        super().__init__(parent)
        self._cancelled = Event()

    @property
    def cancelled(self) -> bool:
        """Whether the task should end; safe to ask from any thread."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the task to end at its next step."""
        self._cancelled.set()

    def tell(self, what: str, fraction: float) -> None:
        """Report progress; safe to call from any thread."""
        self.advanced.emit(what, fraction)
