"""Whether the orders are fair: the groups of scans, and how often each method stands in each place.

Methods are told by number, in an order that is drawn at the lock, so the table tells nothing about them.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout, QWidget

from app import theme
from app.study_snapshot import Assessment
from app.widgets.elements import say, styled_label, wrapped
from app.widgets.plain_table import PlainTable
from studies.balance import ReaderBalance
from studies.names import position_letter
from studies.words import counted


class BalanceView(QFrame):
    """Groups, readers, and the counts of the reader that is chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the card, empty."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self.verdict = wrapped(styled_label("muted"))
        self.groups = PlainTable(("Group", "Clips", "Subjects"), "Groups of scans", right=(1, 2), most_rows=8)
        self.readers = PlainTable(
            ("Reader", "Practice", "Clips", "Repeats", "Least gap", "In each place"),
            "Balance of each reader",
            right=(1, 2, 3, 4, 5),
            most_rows=6,
            choose=True,
        )
        self.readers.currentCellChanged.connect(lambda row, *_: self._show_counts(row))
        self.counts_title = wrapped(styled_label("muted"))
        self._counts = QWidget()
        self._grid = QGridLayout(self._counts)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(22)
        self._grid.setVerticalSpacing(4)
        self._rows: tuple[ReaderBalance, ...] = ()
        self._found: Assessment | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addWidget(styled_label("heading", "Balance"))
        layout.addWidget(self.verdict)
        layout.addWidget(self.groups)
        layout.addWidget(self.readers)
        layout.addWidget(self.counts_title)
        layout.addWidget(self._counts, 0, Qt.AlignmentFlag.AlignLeft)

    def show_assessment(self, found: Assessment) -> None:
        """Show what a protocol makes of the scans."""
        if found == self._found:
            return
        self._found = found
        self._rows = found.balance
        self.groups.setVisible(bool(found.strata))
        self.groups.set_rows([(row.name, str(row.clips), str(row.subjects)) for row in found.strata])
        self.readers.setVisible(bool(found.balance))
        self.readers.set_rows([_reader_row(row) for row in found.balance])
        self._show_counts(self.readers.currentRow())
        if found.error:
            say(self.verdict, found.error, "error")
        elif not found.strata:
            say(self.verdict, "Shown as soon as there are scans, or planned ones.", "muted")
        elif any(row.largest_difference_in_a_stratum > 1 for row in found.balance):
            say(self.verdict, "The places are uneven in at least one group.", "warning")
        else:
            say(self.verdict, "Even: in each group the counts differ by 1 at most.", "muted")

    def counts(self) -> list[list[str]]:
        """The counts of the chosen reader as shown: a row for each method, a column for each place."""
        size = len(self._rows[0].counts) if self._rows else 0
        found = []
        for row in range(1, size + 1):
            items = [self._grid.itemAtPosition(row, column) for column in range(1, size + 1)]
            widgets = [item.widget() for item in items if item is not None]
            found.append([widget.text() for widget in widgets if isinstance(widget, QLabel)])
        return found

    def _show_counts(self, row: int) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        shown = 0 <= row < len(self._rows)
        self.counts_title.setVisible(shown)
        self._counts.setVisible(shown)
        if not shown:
            return
        found = self._rows[row]
        self.counts_title.setText(f"{found.reader}: how often each method stands in each place")
        for place in range(len(found.counts)):
            self._grid.addWidget(_cell(position_letter(place), theme.MUTED), 0, place + 1)
        for number, counts in enumerate(found.counts, start=1):
            self._grid.addWidget(_cell(f"method {number}", theme.MUTED, left=True), number, 0)
            for place, count in enumerate(counts, start=1):
                self._grid.addWidget(_cell(str(count), theme.TEXT), number, place)


def _cell(text: str, colour: str, *, left: bool = False) -> QLabel:
    label = QLabel(text)
    label.setStyleSheet(f"color: {colour};")
    label.setAlignment(Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight)
    return label


def _reader_row(row: ReaderBalance) -> tuple[str, ...]:
    counts = [count for counts in row.counts for count in counts]
    least, most = min(counts), max(counts)
    times = f"{least} ×" if least == most else f"{least} to {most} ×"
    gap = "–" if row.least_gap is None else counted(row.least_gap, "clip")
    return (row.reader, str(row.practice), str(row.readings), str(row.repeats), gap, times)
