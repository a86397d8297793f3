"""A line of text on a page whose keys mean something else: Enter and Escape end the typing, no more."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit


class EntryField(QLineEdit):
    """A line edit that keeps Enter and Escape to itself.

    A plain line edit passes Enter on to its parents after `returnPressed`, where it would save a ranking.
    """

    done = Signal()
    """Enter or Escape was pressed: give the keyboard back to the page."""

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """End the typing at Enter and Escape."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape):
            self.done.emit()
            event.accept()
            return
        super().keyPressEvent(event)
