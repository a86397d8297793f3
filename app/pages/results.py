"""Results: how far the study has come while it is blinded, the act of unblinding, and the tables after it.

Before unblinding this page shows counts only. Afterwards every plane × sampling has one table as in the
paper: mean ± SD of each endpoint by method with its omnibus and pairwise p values, exact (the default) or as
published. All numbers are those of `studies.report_analysis`, computed on a thread.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.context import AppContext
from app.widgets.elements import say, styled_label
from studies.errors import StudyError
from studies.study import Study

if TYPE_CHECKING:
    from studies.report import Exported
    from studies.report_analysis import EndpointGroup, Group
    from studies.statistics import EndpointResult

_DIGITS = {"rank": 2, "snr": 1, "es": 3, "std_es": 3, "edge_width": 1}
_WIDEST_STATUS = 720
_NARROWEST_COLUMN = 92
_EXACT = "exact"
_PUBLISHED = "published"


class ResultsPage(QWidget):
    """Status, unblinding, tables and export of the open study.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    title = "Results"

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        self._context = context
        self._analysed: Study | None = None
        self.setObjectName("results_page")
        self.setAccessibleName("Results")
        self._message = styled_label("muted")
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.status = _StatusView()
        self.tables = _TablesView()
        self._stack = QStackedLayout(self)
        for view in (self._message, self.status, self.tables):
            self._stack.addWidget(view)
        self.status.unblind.clicked.connect(self.unblind)
        self.status.check.clicked.connect(self.check)
        self.tables.check.clicked.connect(self.check)
        self.tables.export.clicked.connect(self.export)
        context.study_changed.connect(self.refresh)
        self.refresh()

    def on_shown(self) -> None:
        """The page came to the front."""
        self.refresh()

    def on_hidden(self) -> None:
        """Another page came to the front: forget a passphrase that was typed and not used."""
        self.status.passphrase.clear()

    def refresh(self) -> None:
        """Show the study as it is now."""
        study = self._context.study
        if study is None:
            self._analysed = None
            self._message.setText("Open a study on the Data page to see its results.")
            self._stack.setCurrentWidget(self._message)
        elif study.phase == "design":
            self._message.setText("This study is still being designed: it has no results yet.")
            self._stack.setCurrentWidget(self._message)
        elif study.phase == "reading":
            self.status.show_study(study)
            self._stack.setCurrentWidget(self.status)
        else:
            self._stack.setCurrentWidget(self.tables)
            if study is not self._analysed:
                self._analysed = study
                self.tables.show_waiting(study.name)
                self._context.tasks.submit(partial(_analyse, study), partial(self._show, study), self._fail)

    def unblind(self) -> None:
        """Open the sealed key with what was typed; it cannot be undone."""
        study = self._context.study
        actor, passphrase = self.status.actor.text().strip(), self.status.passphrase.text()
        if study is None:
            return
        if not actor:
            self.status.say("Say who unblinds: the study records the name.", "warning")
            self.status.actor.setFocus()
            return
        if not passphrase:
            self.status.say("Enter the passphrase that was chosen at the lock.", "warning")
            self.status.passphrase.setFocus()
            return
        force = self.status.force.isChecked()
        if not force and study.missing_rankings():
            self.status.say(
                "Rankings are missing: tick the box to unblind the study nevertheless.", "warning"
            )
            return
        self.status.set_busy(True)
        self.status.say("Opening the key …", "muted")
        self._context.run_study_task(
            partial(study.unblind, passphrase, actor, force=force),
            lambda _: self._on_unblinded(),
            self._on_refused,
        )

    def check(self) -> None:
        """Check the log, the movies and the sealed key against what was written."""
        study = self._context.study
        if study is not None:
            self._say("Checking …", "muted")
            self._context.tasks.submit(
                study.verify,
                lambda _: self._say(
                    "The record, the movies and the sealed key are as they were written.", "muted"
                ),
                self._on_check_failed,
            )

    def export(self) -> None:
        """Ask for a folder and write the tables and the report there."""
        study = self._context.study
        if study is None:
            return
        start = str(study.folder.parent)
        folder = self._context.dialogs.choose_folder(self, "Export the results to", start)
        if folder is not None:
            self.tables.export.setEnabled(False)
            self._say("Writing …", "muted")
            self._context.tasks.submit(
                partial(_export, study, folder), self._on_exported, self._on_export_failed
            )

    def _show(self, study: Study, groups: list[Group]) -> None:
        if study is self._context.study:
            self.tables.show_groups(study.name, study.protocol.alpha, groups)

    def _fail(self, error: BaseException) -> None:
        self._analysed = None
        self.tables.say(str(error), "error")
        self._context.report(error)

    def _on_unblinded(self) -> None:
        self.status.passphrase.clear()
        self.status.force.setChecked(False)
        self.status.set_busy(False)
        self.status.say("", "muted")

    def _on_refused(self, error: BaseException) -> None:
        self.status.set_busy(False)
        if not isinstance(error, StudyError):
            self._context.report(error)
        self.status.say(str(error), "error")

    def _on_exported(self, exported: Exported) -> None:
        self.tables.export.setEnabled(True)
        self.tables.show_exported(exported.report)

    def _on_export_failed(self, error: BaseException) -> None:
        self.tables.export.setEnabled(True)
        self._say(str(error), "error")
        if not isinstance(error, StudyError):
            self._context.report(error)

    def _on_check_failed(self, error: BaseException) -> None:
        self._say(str(error), "error")
        if not isinstance(error, StudyError):
            self._context.report(error)

    def _say(self, text: str, role: str) -> None:
        view = self._stack.currentWidget()
        if isinstance(view, (_StatusView, _TablesView)):
            view.say(text, role)


def _analyse(study: Study) -> list[Group]:
    from studies.report_analysis import analyse
    from studies.report_tables import tables_of

    return analyse(tables_of(study))


def _export(study: Study, folder: Path) -> Exported:
    from studies.report import export

    return export(study, folder)


class _StatusView(QScrollArea):
    """A blinded study: who has read and measured how much, and the form that unblinds it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self._title = styled_label("title")
        self._phase = styled_label("muted")
        self._phase.setWordWrap(True)
        self._progress = QGridLayout()
        self._progress.setHorizontalSpacing(16)
        self._progress.setVerticalSpacing(10)
        self._progress.setColumnStretch(1, 1)
        self._widgets: list[QWidget] = []
        self.actor = QLineEdit()
        self.actor.setPlaceholderText("Your name")
        self.actor.setAccessibleName("Who unblinds")
        self.passphrase = QLineEdit()
        self.passphrase.setEchoMode(QLineEdit.EchoMode.Password)
        self.passphrase.setPlaceholderText("Passphrase")
        self.passphrase.setAccessibleName("Passphrase")
        self.force = QCheckBox("Unblind although rankings are missing; they can never be given afterwards")
        self.unblind = QPushButton("Unblind the study")
        self.unblind.setIcon(theme.icon("unlock"))
        self.passphrase.returnPressed.connect(self.unblind.click)
        self.check = QPushButton("Check the record")
        self.check.setToolTip("Compare the event log, the movies and the sealed key with their hashes")
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        column = QWidget()
        column.setMaximumWidth(_WIDEST_STATUS)
        layout = QVBoxLayout(column)
        layout.setContentsMargins(24, 28, 24, 28)
        layout.setSpacing(16)
        layout.addWidget(self._title)
        layout.addWidget(self._phase)
        layout.addWidget(_card(self._progress))
        layout.addWidget(_card(self._form()))
        layout.addWidget(self._status)
        layout.addStretch(1)
        body = QWidget()
        outer = QHBoxLayout(body)
        outer.addStretch(1)
        outer.addWidget(column, 6)
        outer.addStretch(1)
        self.setWidget(body)

    def show_study(self, study: Study) -> None:
        """Show the counts of a study that is being read."""
        self._title.setText(study.name)
        clips = len(study.clips)
        self._phase.setText(
            f"{clips} clip{'s' if clips != 1 else ''}, blinded. Which method made which movie is sealed "
            "until the study is unblinded."
        )
        for widget in self._widgets:
            self._progress.removeWidget(widget)
            widget.deleteLater()
        self._widgets.clear()
        self._heading("Rankings")
        for reader in study.readers:
            done, total = study.progress(reader)
            self._line(reader, done, total)
        self._heading("Measurements")
        observers = Counter(record.observer for record in study.measurements)
        for observer, count in sorted(observers.items()):
            self._line(observer, count, clips)
        if not observers:
            self._place(_muted("None yet"), 0, 3)
        missing = sum(study.missing_rankings().values())
        self.force.setVisible(bool(missing))
        if not missing:
            self.force.setChecked(False)

    def set_busy(self, busy: bool) -> None:
        """Take no second request while the key is being opened."""
        for widget in (self.actor, self.passphrase, self.force, self.unblind):
            widget.setEnabled(not busy)

    def say(self, text: str, role: str) -> None:
        """Show a sentence below the form."""
        say(self._status, text, role)

    def _form(self) -> QVBoxLayout:
        heading = styled_label("heading", "Unblind")
        text = QLabel(
            "Opening the sealed key ends the reading and the measuring for good; the study records who "
            "did it and when."
        )
        text.setWordWrap(True)
        text.setProperty("role", "muted")
        fields = QHBoxLayout()
        fields.setSpacing(10)
        fields.addWidget(self.actor, 1)
        fields.addWidget(self.passphrase, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.check)
        buttons.addStretch(1)
        buttons.addWidget(self.unblind)
        form = QVBoxLayout()
        form.setSpacing(12)
        form.addWidget(heading)
        form.addWidget(text)
        form.addLayout(fields)
        form.addWidget(self.force)
        form.addLayout(buttons)
        return form

    def _heading(self, text: str) -> None:
        label = styled_label("heading", text)
        label.setContentsMargins(0, 8 if self._widgets else 0, 0, 0)
        self._place(label, 0, 3)

    def _line(self, name: str, done: int, total: int) -> None:
        label = QLabel(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        bar = QProgressBar()
        bar.setTextVisible(False)
        bar.setRange(0, max(total, 1))
        bar.setValue(done)
        bar.setAccessibleName(f"{name}: {done} of {total}")
        count = _muted(f"{done} of {total}")
        row = self._progress.rowCount()
        for column, widget in enumerate((label, bar, count)):
            self._progress.addWidget(widget, row, column)
            self._widgets.append(widget)

    def _place(self, widget: QWidget, column: int, span: int) -> None:
        self._progress.addWidget(widget, self._progress.rowCount(), column, 1, span)
        self._widgets.append(widget)


class _TablesView(QWidget):
    """An unblinded study: one table a group, the choice of p values, export."""

    def __init__(self) -> None:
        super().__init__()
        self._name = ""
        self._alpha = 0.05
        self._groups: list[Group] = []
        self._report: Path | None = None
        self._title = styled_label("title")
        self.kind = QComboBox()
        self.kind.setAccessibleName("Kind of p values")
        self.kind.addItem("Exact p values (closed testing)", _EXACT)
        self.kind.addItem("As published (χ², Nemenyi)", _PUBLISHED)
        self.kind.setToolTip(
            "Exact: Friedman's test with ties by enumeration, then sign tests adjusted by closed testing.\n"
            "As published: chi-square approximation, then Nemenyi's test."
        )
        self.kind.currentIndexChanged.connect(self._fill)
        self.check = QPushButton("Check the record")
        self.export = QPushButton("Export…")
        self.export.setIcon(theme.icon("export", "#ffffff"))
        self.export.setProperty("role", "primary")
        self.export.setToolTip("Write ranking.csv, measurements.csv, statistics.csv and report.html")
        self.open = QPushButton("Open the report")
        self.open.clicked.connect(self._open_report)
        self.open.hide()
        self._status = QLabel()
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        self._status.setWordWrap(True)
        self._status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        header = QHBoxLayout()
        header.setSpacing(10)
        header.addWidget(self._title)
        header.addStretch(1)
        for widget in (self.kind, self.check, self.open, self.export):
            header.addWidget(widget)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 18, 24, 14)
        layout.setSpacing(10)
        layout.addLayout(header)
        layout.addWidget(self._status)
        layout.addWidget(self._scroll, 1)

    def show_waiting(self, name: str) -> None:
        """Say that the statistics are being computed."""
        self._title.setText(name)
        self._groups = []
        self._report = None
        self.open.hide()
        self._scroll.setWidget(QWidget())
        self.say("Computing the statistics …", "muted")

    def show_groups(self, name: str, alpha: float, groups: list[Group]) -> None:
        """Show the tables."""
        self._name, self._alpha, self._groups = name, alpha, groups
        self._title.setText(name)
        self._fill()

    def show_exported(self, report: Path) -> None:
        """Say where the files lie."""
        self._report = report
        self.open.show()
        self.say(
            f"Written to {report.parent}: ranking.csv, measurements.csv, statistics.csv, report.html.",
            "muted",
        )

    def say(self, text: str, role: str) -> None:
        """Show a sentence above the tables."""
        say(self._status, text, role)

    def _fill(self) -> None:
        exact = self.kind.currentData() == _EXACT
        self.say(
            f"Mean ± SD over clips, of ranks over clips and readers; p ≤ {self._alpha:g} in bold."
            + (" Exact tests." if exact else " Asymptotic tests, as in the paper."),
            "muted",
        )
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(14)
        for group in self._groups:
            column.addWidget(_group_card(group, exact, self._alpha))
        if not self._groups:
            column.addWidget(_muted("Nothing was ranked or measured in this study."))
        column.addStretch(1)
        self._scroll.setWidget(body)

    def _open_report(self) -> None:
        if self._report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._report)))


def _group_card(group: Group, exact: bool, alpha: float) -> QFrame:
    """The table of one group with what must be read beside it."""
    heading = styled_label("heading", group.title)
    clips = "1 clip" if group.clips == 1 else f"{group.clips} clips"
    subjects = "1 subject" if group.subjects == 1 else f"{group.subjects} subjects"
    top = QHBoxLayout()
    top.addWidget(heading)
    top.addSpacing(12)
    top.addWidget(_muted(f"{clips}, {subjects}"))
    top.addStretch(1)
    column = QVBoxLayout()
    column.setSpacing(10)
    column.addLayout(top)
    column.addLayout(_table(group.endpoints, exact, alpha))
    for sentence in _sentences(group):
        note = _muted(sentence)
        note.setWordWrap(True)
        column.addWidget(note)
    return _card(column)


def _table(endpoints: Sequence[EndpointGroup], exact: bool, alpha: float) -> QGridLayout:
    from studies.report_tables import method_label

    grid = QGridLayout()
    grid.setHorizontalSpacing(18)
    grid.setVerticalSpacing(7)
    measured = [endpoint for endpoint in endpoints if endpoint.result is not None]
    if not measured:
        grid.addWidget(_muted("No clip is complete yet."), 0, 0)
        return grid
    first = measured[0].result
    arms = first.arms if first is not None else ()
    pairs = [(pair.first, pair.second) for pair in first.pairs] if first is not None else []
    headings = ["", *(method_label(arm) for arm in arms), "Friedman p"]
    headings += [f"p, {method_label(one)} vs {method_label(other)}" for one, other in pairs]
    for place, text in enumerate(headings):
        label = _muted(text)
        label.setWordWrap(True)
        label.setMinimumWidth(_NARROWEST_COLUMN if place else 0)
        label.setAlignment(_alignment(place))
        grid.addWidget(label, 0, place, Qt.AlignmentFlag.AlignBottom)
        grid.setColumnStretch(place, 3 if place == 0 else 2)
    rule = QFrame()
    rule.setProperty("role", "rule")
    rule.setFixedHeight(1)
    grid.addWidget(rule, 1, 0, 1, len(headings))
    for row, endpoint in enumerate(measured, start=2):
        if endpoint.result is not None:
            for place, cell in enumerate(_cells(endpoint, endpoint.result, exact, alpha)):
                cell.setAlignment(_alignment(place))
                grid.addWidget(cell, row, place)
    return grid


def _cells(endpoint: EndpointGroup, result: EndpointResult, exact: bool, alpha: float) -> list[QLabel]:
    """One row: name, mean ± SD by arm, omnibus p, pairwise p."""
    digits = _DIGITS.get(endpoint.key, 2)
    cells = [QLabel(f"{endpoint.label}  ({endpoint.unit})")]
    for mean, sd in zip(result.mean, result.sd, strict=True):
        spread = f" ± {sd:.{digits}f}" if math.isfinite(sd) else ""
        cells.append(QLabel(f"{mean:.{digits}f}{spread}"))
    values = [result.omnibus.p_permutation if exact else result.omnibus.p_chi_square]
    values += [pair.p_adjusted if exact else pair.p_nemenyi for pair in result.pairs]
    for value in values:
        cell = QLabel(format_p(value))
        if value is not None and value <= alpha:
            cell.setStyleSheet("font-weight: 700;")
            cell.setAccessibleName(f"{format_p(value)}, significant")
        cells.append(cell)
    return cells


def format_p(value: float | None) -> str:
    """A p value in three digits; "–" where there is none, "< 0.001" below that."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def _sentences(group: Group) -> list[str]:
    """Notes of the endpoints (each once), agreement of the readers, effect of the position."""
    measured = [endpoint for endpoint in group.endpoints if endpoint.result is not None]
    notes = list(dict.fromkeys(note for endpoint in group.endpoints for note in endpoint.notes))
    concerned: dict[str, list[str]] = {}
    for endpoint in measured:
        for note in endpoint.result.notes if endpoint.result is not None else ():
            concerned.setdefault(note, []).append(endpoint.label)
    for note, labels in concerned.items():
        notes.append(note if len(labels) == len(measured) else f"{', '.join(labels)}: {note}")
    for row in group.agreement:
        pair = row.pair
        notes.append(
            f"{pair.first} and {pair.second}: the same order in {100 * pair.identical_orders:.0f} % of the "
            f"clips, weighted kappa {_number(pair.kappa_quadratic)}{_interval(pair.kappa_interval)}, "
            f"Kendall's W {_number(row.mean_kendall_w)}."
        )
    if group.position is not None:
        means = ", ".join(
            f"{'ABCDEFGH'[place]} {mean:.2f}" for place, mean in enumerate(group.position_means)
        )
        notes.append(
            f"Mean rank by place on the screen: {means} (exact p {format_p(group.position.p_permutation)})."
        )
    return notes


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else "–"


def _interval(ends: tuple[float, float]) -> str:
    """An interval in brackets; nothing where too few clips give none."""
    return f" ({_number(ends[0])} to {_number(ends[1])})" if all(map(math.isfinite, ends)) else ""


def _alignment(place: int) -> Qt.AlignmentFlag:
    return (
        Qt.AlignmentFlag.AlignRight if place else Qt.AlignmentFlag.AlignLeft
    ) | Qt.AlignmentFlag.AlignVCenter


def _card(layout: QVBoxLayout | QGridLayout) -> QFrame:
    card = QFrame()
    card.setProperty("role", "card")
    card.setLayout(layout)
    layout.setContentsMargins(20, 16, 20, 16)
    return card


def _muted(text: str) -> QLabel:
    label = styled_label("muted", text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
