"""The scans of a study and those that its protocol lists in one table, and which of them are for practice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.study_snapshot import StudySnapshot
from app.widgets.elements import styled_label, wrapped
from app.widgets.plain_table import PlainTable
from studies.names import person_name
from studies.protocol import PlannedScan
from studies.state import Scan
from studies.words import counted

_COLUMNS = ("Subject", "Plane", "Sampling", "File", "Practice", "State")
_SUBJECT, _PLANE, _SAMPLING, _FILE, _PRACTICE, _STATE = range(len(_COLUMNS))


@dataclass(frozen=True)
class PlanRow:
    """One line: a scan that is there, one that is planned, or both."""

    subject: str
    plane: str
    sampling: str
    file: str
    practice: bool
    state: str
    scan: Scan | None
    planned: PlannedScan | None


def plan_rows(scans: Sequence[Scan], planned: Sequence[PlannedScan]) -> list[PlanRow]:
    """Bring scans and plan together, each planned scan with one scan of its subject, plane and practice."""
    left = list(planned)
    rows = []
    for scan in scans:
        match = next((item for item in left if _key(item) == (scan.subject, scan.plane, scan.practice)), None)
        if match is not None:
            left.remove(match)
        state = "complete" if scan.complete else "no movies"
        if planned and match is None:
            state = "not planned"
        file = scan.raw_path.name if scan.raw_path is not None else ""
        rows.append(PlanRow(scan.subject, scan.plane, scan.sampling, file, scan.practice, state, scan, match))
    rows.extend(
        PlanRow(
            subject=item.subject,
            plane=item.plane,
            sampling=item.sampling,
            file=Path(item.file).name,
            practice=item.practice,
            state="planned",
            scan=None,
            planned=item,
        )
        for item in left
    )
    return rows


def _key(scan: PlannedScan) -> tuple[str, str, bool]:
    return person_name(scan.subject), person_name(scan.plane), scan.practice


class ScanPlanView(QFrame):
    """The table with its buttons.

    Args:
        parent: Qt owner.
    """

    practice_asked = Signal(str, bool)
    """A subject shall be, or not be, for practice."""
    plan_asked = Signal(object)
    """The list of planned scans (a tuple of `PlannedScan`) shall be this one."""
    files_asked = Signal()
    """Raw files are to be planned."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the card, empty."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self._rows: list[PlanRow] = []
        self._plan: tuple[PlannedScan, ...] = ()
        self._filling = False
        self.summary = wrapped(styled_label("muted"))
        self.table = PlainTable(_COLUMNS, "Scans of the study", most_rows=10, wide=_FILE)
        self.table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.table.itemChanged.connect(self._on_item)
        self.plan_button = QPushButton("Plan files…")
        self.plan_button.setToolTip("List raw files that are to be in the study; the lock asks for them")
        self.plan_button.clicked.connect(self.files_asked)
        self.fix_button = QPushButton("List these scans as planned")
        self.fix_button.setToolTip("From then on the study can be locked with exactly these scans")
        self.fix_button.clicked.connect(self._fix)
        self.drop_button = QPushButton("Drop the list")
        self.drop_button.setToolTip("Lock with whatever scans are in the study")
        self.drop_button.clicked.connect(lambda: self.plan_asked.emit(()))
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for button in (self.plan_button, self.fix_button, self.drop_button):
            button.setProperty("role", "small")
            buttons.addWidget(button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addWidget(styled_label("heading", "Scans"))
        layout.addWidget(self.summary)
        layout.addWidget(self.table)
        layout.addLayout(buttons)

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        """Show the scans of a study before its lock."""
        rows = plan_rows(snapshot.scans, snapshot.planned)
        if rows == self._rows and snapshot.planned == self._plan and rows:
            return
        self._plan = snapshot.planned
        self._rows = rows
        self.summary.setText(_summary(snapshot))
        self.table.setVisible(bool(self._rows))
        self._filling = True
        self.table.set_rows(
            [(row.subject, row.plane, row.sampling, row.file, "", row.state) for row in self._rows],
            colours=[theme.MUTED if row.scan is None else None for row in self._rows],
        )
        for place, row in enumerate(self._rows):
            self._finish_row(place, row)
        self._filling = False
        self.fix_button.setVisible(bool(snapshot.scans) and snapshot.plan_differences() != ([], []))
        if not snapshot.planned:
            self.fix_button.setVisible(bool(snapshot.scans))
        self.drop_button.setVisible(bool(snapshot.planned))

    def _finish_row(self, place: int, row: PlanRow) -> None:
        for column in range(len(_COLUMNS)):
            item = self.table.item(place, column)
            if item is None:
                continue
            flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
            if column in (_SUBJECT, _PLANE) and row.scan is None:
                flags |= Qt.ItemFlag.ItemIsEditable
                item.setToolTip("Double click to change")
            if column == _FILE:
                item.setToolTip(row.file)
            if column == _PRACTICE:
                flags |= Qt.ItemFlag.ItemIsUserCheckable
                item.setCheckState(Qt.CheckState.Checked if row.practice else Qt.CheckState.Unchecked)
                item.setToolTip("All scans of this subject come first and are never analysed")
            if column == _STATE and row.state == "not planned":
                item.setForeground(QColor(theme.WARNING))
            item.setFlags(flags)

    def _on_item(self, item: QTableWidgetItem) -> None:
        if self._filling or not 0 <= item.row() < len(self._rows):
            return
        row = self._rows[item.row()]
        if item.column() == _PRACTICE:
            # The tick shows what is in the study; it moves when the study has changed.
            self._filling = True
            item.setCheckState(Qt.CheckState.Checked if row.practice else Qt.CheckState.Unchecked)
            self._filling = False
            self.practice_asked.emit(row.subject, not row.practice)
        elif row.scan is None and row.planned is not None and item.column() in (_SUBJECT, _PLANE):
            subject = item.column() == _SUBJECT
            text = person_name(item.text())
            changed = replace(row.planned, subject=text) if subject else replace(row.planned, plane=text)
            self.plan_asked.emit(tuple(changed if other is row.planned else other for other in self._plan))

    def _fix(self) -> None:
        self.plan_asked.emit(
            tuple(
                PlannedScan(
                    file=str(row.scan.raw_path),
                    subject=row.subject,
                    plane=row.plane,
                    sampling=row.sampling,
                    label=row.scan.label or "",
                    practice=row.practice,
                )
                for row in self._rows
                if row.scan is not None
            )
        )


def _summary(snapshot: StudySnapshot) -> str:
    if not snapshot.scans and not snapshot.planned:
        return "None yet. Add scans on the Data page, or plan files first."
    parts = [f"{counted(len(snapshot.scans), 'scan')}, {snapshot.complete} with all movies"]
    practice = sum(scan.practice for scan in snapshot.scans)
    if practice:
        parts.append(f"{practice} for practice")
    if snapshot.planned:
        parts.append(f"{len(snapshot.planned)} planned")
    return " · ".join(parts)
