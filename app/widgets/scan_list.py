"""The list of a study's scans with what one observer has done: measured, not measured, not saved."""

from __future__ import annotations

from collections.abc import Container, Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from app import theme
from studies.state import Clip

_WIDTH = 190


class ScanList(QListWidget):
    """One entry a scan; the words tell its state, the icon only repeats it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Start empty."""
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFixedWidth(_WIDTH)
        self.setIconSize(QSize(16, 16))
        self.setWordWrap(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Scans")
        blank = QPixmap(16, 16)
        blank.fill(Qt.GlobalColor.transparent)
        self._icons = {
            "not measured": QIcon(blank),
            "measured": theme.icon("check", theme.GOOD),
            "not saved": theme.icon("warning", theme.WARNING),
        }

    def show_scans(self, clips: Sequence[Clip], measured: Container[str], unsaved: Container[str]) -> None:
        """Show the scans; the selection stays.

        Args:
            clips: in their order.
            measured: ids of clips that the observer has saved.
            unsaved: ids of clips with shapes that are not saved.
        """
        self.blockSignals(True)
        while self.count() > len(clips):
            self.takeItem(self.count() - 1)
        while self.count() < len(clips):
            self.addItem(QListWidgetItem())
        for index, clip in enumerate(clips):
            state = "measured" if clip.clip_id in measured else "not measured"
            state = "not saved" if clip.clip_id in unsaved else state
            item = self.item(index)
            item.setText(f"{index + 1}   {clip.subject}\n{clip.plane} · {clip.sampling}\n{state}")
            item.setIcon(self._icons[state])
        self.blockSignals(False)
