"""Results: how far the study has come while it is blinded, the act of unblinding, and the report after it.

Before unblinding this page shows counts only. Afterwards it shows what the report says: the primary result in
words, what it does not show, the paper's tables, every stratum with its figures, and the readers. Statistics,
figures and files are made on threads; an export can be cancelled until its first file is written.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
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
from app.task_progress import TaskProgress
from app.widgets.elements import say, styled_label
from app.widgets.results_view import Results, ResultsView, card, muted
from studies.errors import StudyError
from studies.study import Study

if TYPE_CHECKING:
    from studies.report import Exported
    from studies.report.analysis import Analysis
    from studies.report.drawing import Drawing

_WIDEST_STATUS = 720


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
        self.report = ResultsView()
        self._export: TaskProgress | None = None
        self._stack = QStackedLayout(self)
        for view in (self._message, self.status, self.report):
            self._stack.addWidget(view)
        self.status.unblind.clicked.connect(self.unblind)
        self.status.check.clicked.connect(self.check)
        self.report.check.clicked.connect(self.check)
        self.report.export.clicked.connect(self.export)
        self.report.cancel.clicked.connect(self.cancel_export)
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
            self._stack.setCurrentWidget(self.report)
            if study is not self._analysed:
                self._analysed = study
                self.report.show_waiting(study.name)
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
        """Ask for a folder and write the report there."""
        study = self._context.study
        if study is None or self._export is not None:
            return
        start = str(study.folder.parent)
        folder = self._context.dialogs.choose_folder(self, "Export the results to", start)
        if folder is not None:
            progress = TaskProgress(self)
            progress.advanced.connect(self.report.show_progress)
            self._export = progress
            self.report.set_exporting(True)
            self._say("", "muted")
            self._context.tasks.submit(
                partial(_export, study, folder, progress), self._on_exported, self._on_export_failed
            )

    def cancel_export(self) -> None:
        """End the export before it writes its first file."""
        if self._export is not None:
            self._export.cancel()
            self.report.show_progress("Cancelling", 0.0)

    def _show(self, study: Study, results: Results) -> None:
        if study is self._context.study:
            self.report.show_results(study.name, results)
            self._context.tasks.submit(
                partial(_panels, study, results.analysis), partial(self._show_panels, study), self._fail
            )

    def _show_panels(self, study: Study, drawings: list[Drawing]) -> None:
        if study is self._context.study:
            self.report.add_drawings(drawings)

    def _fail(self, error: BaseException) -> None:
        self._analysed = None
        self.report.say(str(error), "error")
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
        self._export = None
        self.report.set_exporting(False)
        self.report.show_exported(exported)

    def _on_export_failed(self, error: BaseException) -> None:
        from studies.report import ExportCancelled

        self._export = None
        self.report.set_exporting(False)
        if isinstance(error, ExportCancelled):
            self._say("The export was cancelled; nothing was written.", "muted")
            return
        self._say(str(error), "error")
        if not isinstance(error, StudyError):
            self._context.report(error)

    def _on_check_failed(self, error: BaseException) -> None:
        self._say(str(error), "error")
        if not isinstance(error, StudyError):
            self._context.report(error)

    def _say(self, text: str, role: str) -> None:
        view = self._stack.currentWidget()
        if isinstance(view, (_StatusView, ResultsView)):
            view.say(text, role)


def _analyse(study: Study) -> Results:
    from studies.report.analysis import analyse
    from studies.report.drawing import draw
    from studies.report.findings import findings
    from studies.report.tables import tables_of

    analysis = analyse(tables_of(study))
    return Results(analysis, findings(analysis), tuple(draw(analysis)))


def _panels(study: Study, analysis: Analysis) -> list[Drawing]:
    from studies.report.drawing import panels_of

    return panels_of(study, analysis, lambda _what, _fraction: None)


def _export(study: Study, folder: Path, progress: TaskProgress) -> Exported:
    from studies.report import ExportCancelled, export

    def told(what: str, fraction: float) -> None:
        if progress.cancelled:
            raise ExportCancelled("The export was cancelled.")
        progress.tell(what, fraction)

    return export(study, folder, progress=told)


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
        layout.addWidget(card(self._progress))
        layout.addWidget(card(self._form()))
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
            self._place(muted("None yet"), 0, 3)
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
        count = muted(f"{done} of {total}")
        row = self._progress.rowCount()
        for column, widget in enumerate((label, bar, count)):
            self._progress.addWidget(widget, row, column)
            self._widgets.append(widget)

    def _place(self, widget: QWidget, column: int, span: int) -> None:
        self._progress.addWidget(widget, self._progress.rowCount(), column, 1, span)
        self._widgets.append(widget)
