"""A table that shows text and is as high as its rows."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

_ROW_HEIGHT = 30
_FRAME = 4


class PlainTable(QTableWidget):
    """Rows of text.

    Args:
        columns: titles.
        name: accessible name.
        right: columns whose text stands on the right.
        most_rows: rows shown before the table scrolls.
        wide: the column that takes the room that is left.
        choose: whether one row at a time can be chosen; the first one is at the beginning.
        parent: Qt owner.
    """

    def __init__(
        self,
        columns: Sequence[str],
        name: str,
        *,
        right: Sequence[int] = (),
        most_rows: int = 12,
        wide: int = 0,
        choose: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        """Build the table without rows."""
        super().__init__(0, len(columns), parent)
        self._right = tuple(right)
        self._shown: tuple[list[tuple[str, ...]], list[str | None]] = ([], [])
        self._most_rows = most_rows
        self.setAccessibleName(name)
        self.set_columns(columns)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._choose = choose
        mode = QAbstractItemView.SelectionMode
        self.setSelectionMode(mode.SingleSelection if choose else mode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(wide, QHeaderView.ResizeMode.Stretch)
        self._fit()

    def set_columns(self, columns: Sequence[str]) -> None:
        """Have other columns."""
        self.setColumnCount(len(columns))
        for column, title in enumerate(columns):
            item = QTableWidgetItem(title)
            item.setTextAlignment(self._alignment(column))
            self.setHorizontalHeaderItem(column, item)

    def set_rows(self, rows: Sequence[Sequence[str]], *, colours: Sequence[str | None] = ()) -> None:
        """Show rows; where one can be chosen, it stays chosen by its number.

        Args:
            rows: text by column.
            colours: of each row's text, or None for the usual one.
        """
        shown = ([tuple(row) for row in rows], list(colours))
        if shown == self._shown:
            return
        self._shown = shown
        chosen = max(self.currentRow(), 0)
        self.setRowCount(len(rows))
        for place, row in enumerate(rows):
            colour = colours[place] if place < len(colours) else None
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                item.setTextAlignment(self._alignment(column))
                if colour is not None:
                    item.setForeground(QColor(colour))
                self.setItem(place, column, item)
        if rows and self._choose:
            self.selectRow(min(chosen, len(rows) - 1))
        self._fit()

    def texts(self) -> list[list[str]]:
        """All cells."""
        return [
            [item.text() if (item := self.item(row, column)) else "" for column in range(self.columnCount())]
            for row in range(self.rowCount())
        ]

    def _alignment(self, column: int) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if column in self._right else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter

    def _fit(self) -> None:
        rows = min(max(self.rowCount(), 1), self._most_rows)
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows * _ROW_HEIGHT + _FRAME)
