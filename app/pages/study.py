"""The Study page: the coordinator's work from the protocol over the lock to the readers' answers.

Before the lock it edits the protocol, shows what it makes of the scans, and how much so many scans can show;
every change that can be used is saved at once. The lock shows what it needs and what it makes final.
Afterwards the protocol is shown as frozen, beside the readers' progress, packages out, responses in,
amendments and the record. All that is shown comes from a snapshot that a thread has taken; from the lock to
the unblinding the page holds no name of a method or raw file, not even out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStackedLayout, QVBoxLayout, QWidget

from app import theme
from app.context import AppContext
from app.newest_task import NewestTask
from app.package_folders import RESPONSE_SUFFIX, package_name, response_beside
from app.session import guess_plane, guess_subject
from app.study_opening import new_study, open_study
from app.study_snapshot import StudySnapshot, lock_checks, next_step, take_snapshot
from app.widgets.design_view import DesignView
from app.widgets.elements import say, styled_label
from app.widgets.next_bar import NextBar
from app.widgets.protocol_form import field_of
from app.widgets.record_view import RecordView
from studies.design import Design
from studies.errors import StudyError
from studies.exchange import MergeSummary
from studies.package import PackageSummary, export_package, merge_response, save_response
from studies.protocol import PlannedScan
from studies.study import KNOWN_METHODS, Study
from studies.words import counted

_SETTLE_MS = 500
_PROTOCOL_FILES = "Protocol (*.yaml *.yml);;All files (*)"
_RESPONSE_FILES = f"Responses (*{RESPONSE_SUFFIX});;All files (*)"
_PHASES = {
    "design": "Being designed; every change is saved",
    "reading": "Locked and blinded",
    "unblinded": "Unblinded",
}


class StudyPage(QWidget):
    """Design, lock and conduct of the open study.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    title = "Study"

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        self._context = context
        self._study: Study | None = None
        self._snapshot: StudySnapshot | None = None
        self._shown = False
        self._snapshots = NewestTask(context.tasks, self)
        self._snapshots.done.connect(self._show)
        self._snapshots.failed.connect(self._on_unreadable)
        self._plan_folder: Path | None = None
        self.design: DesignView | None = None
        self.setObjectName("study_page")
        self.setAccessibleName("Study")
        self.heading = styled_label("title", "Study")
        self.phase = styled_label("muted")
        self.load_button = QPushButton(theme.icon("file"), " Load protocol…")
        self.load_button.setToolTip("Take a protocol file (YAML) in the place of what is here")
        self.load_button.clicked.connect(self._load)
        self.save_button = QPushButton(theme.icon("save"), " Save protocol…")
        self.save_button.setToolTip("Write a protocol file (YAML); it names the methods")
        self.save_button.clicked.connect(self._save_file)
        self.next = NextBar()
        self.next.asked.connect(self._on_step)
        self.next.open_asked.connect(lambda: open_study(self._context, self))
        self.note = QLabel()
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.note.setWordWrap(True)
        self.record = RecordView()
        self._connect_record()
        self._empty = self._make_empty()
        self._stack = QStackedLayout()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self.record)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 18, 24, 14)
        layout.setSpacing(12)
        layout.addLayout(self._make_header())
        layout.addWidget(self.next)
        layout.addWidget(self.note)
        layout.addLayout(self._stack, 1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._save)
        context.study_changed.connect(self._on_study_changed)
        context.lock.changed.connect(self._show_step)
        self._show_nothing()
        self._on_study_changed()

    def on_shown(self) -> None:
        """The page came to the front: show the study as it is now; another process may have changed it."""
        self._shown = True
        if self.design is not None:
            self.design.power.set_active(True)
        self._refresh()

    def on_hidden(self) -> None:
        """Another page came to the front: save what was typed, and stop computing."""
        self._shown = False
        if self._timer.isActive():
            self._timer.stop()
            self._save()
        if self.design is not None:
            self.design.power.set_active(False)

    def merge_responses(self, paths: Sequence[Path]) -> None:
        """Take in response files that were dropped on the window or chosen here."""
        study = self._context.study
        if study is None:
            self._context.error.emit("Open the study first, then take in the response.")
            return
        for path in paths:
            self.record.readers.say(f"Checking “{path.name}” …", "muted")
            self._context.run_study_task(
                partial(merge_response, study, path),
                self._on_merged,
                partial(self._on_failed, self.record.readers.say),
            )

    # Layout

    def _make_header(self) -> QHBoxLayout:
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(self.heading)
        header.addSpacing(10)
        header.addWidget(self.phase, 0, Qt.AlignmentFlag.AlignBottom)
        header.addStretch(1)
        header.addWidget(self.load_button)
        header.addWidget(self.save_button)
        return header

    def _make_empty(self) -> QWidget:
        widget = QWidget()
        sign = QLabel()
        sign.setPixmap(theme.pixmap("study", theme.MUTED, 48, 2.0))
        layout = QVBoxLayout(widget)
        layout.setSpacing(10)
        layout.addStretch(1)
        for label in (
            sign,
            styled_label("heading", "No study is open"),
            styled_label("muted", "Here you design a study, lock it, and follow its readers."),
        ):
            layout.addWidget(label, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        return widget

    def _connect_record(self) -> None:
        self.record.amend_asked.connect(self._amend)
        self.record.package_asked.connect(self._export_package)
        self.record.merge_asked.connect(self._ask_responses)
        self.record.answers_asked.connect(self._save_response)
        self.record.verify_asked.connect(self._verify)
        self.record.copy_asked.connect(self._choose_copy)

    # What is shown

    def _on_study_changed(self) -> None:
        if self._context.study is not self._study:
            self._study = self._context.study
            self._plan_folder = None
            self._snapshot = None
            self._show_nothing()
        # While somebody reads, a snapshot after every ranking would only take time from the movies.
        if self._shown or self.design is not None:
            self._refresh()

    def _refresh(self) -> None:
        study = self._context.study
        if study is None or self._context.lock.active:
            self._show_step()
            return
        self._snapshots.request(study, partial(take_snapshot, study))

    def _show(self, study: object, snapshot: StudySnapshot) -> None:
        # One that a newer one will follow may be of before the lock, with the names of methods.
        if study is not self._study or self._snapshots.busy:
            return
        self._snapshot = snapshot
        self.heading.setText(snapshot.name)
        self.phase.setText("A reader's package" if snapshot.package else _PHASES[snapshot.phase])
        design = snapshot.phase == "design"
        self.load_button.setVisible(design)
        self.save_button.setVisible(snapshot.design is not None)
        if design:
            view = self._design_view()
            view.show_snapshot(snapshot)
            self._stack.setCurrentWidget(view)
        else:
            typing = self.design is not None and self._shown
            self._drop_design_view()
            self.record.show_snapshot(snapshot)
            self._stack.setCurrentWidget(self.record)
            if typing:
                self.next.button.setFocus()
        self._show_step()

    def _on_unreadable(self, study: object, sentence: str) -> None:
        if study is self._study:
            self._say(sentence, "error")

    def _show_nothing(self) -> None:
        """Show that no study is open, or that one is being read."""
        self._timer.stop()
        self._drop_design_view()
        self.heading.setText("Study")
        self.phase.setText("")
        self.load_button.hide()
        self.save_button.hide()
        self.record.readers.say("", "muted")
        self.record.record.say("", "muted")
        self._say("", "muted")
        self._empty.setVisible(self._study is None)
        self._stack.setCurrentWidget(self._empty)
        self._show_step()

    def _show_step(self) -> None:
        if self._context.lock.active:
            self.next.show_waiting("Locking …")
            if self.design is not None:
                self.design.setEnabled(False)
            return
        if self._study is not None and self._snapshot is None:
            self.next.show_waiting("Opening …")
            return
        mistake = ""
        if self.design is not None:
            self.design.setEnabled(True)
            mistake = self.design.form.first_mistake()
        self.next.show_step(next_step(self._snapshot, mistake))

    def _design_view(self) -> DesignView:
        if self.design is None:
            self.design = DesignView([*self._context.methods.names(), *KNOWN_METHODS])
            self.design.form.edited.connect(self._on_edited)
            self.design.plan.practice_asked.connect(self._set_practice)
            self.design.plan.plan_asked.connect(self._set_plan)
            self.design.plan.files_asked.connect(self._plan_files)
            self.design.power.set_active(self._shown)
            self._stack.addWidget(self.design)
        return self.design

    def _drop_design_view(self) -> None:
        """Part with the widgets that hold names of methods and files."""
        if self.design is not None:
            self._timer.stop()
            self.design.power.set_active(False)
            self._stack.removeWidget(self.design)
            self.design.setParent(None)
            self.design.deleteLater()
            self.design = None

    def _say(self, text: str, role: str) -> None:
        say(self.note, text, role)
        self.note.setVisible(bool(text))

    def _on_failed(self, tell: Callable[[str, str], None], error: BaseException) -> None:
        if not isinstance(error, (StudyError, OSError)):
            self._context.report(error)
        tell(str(error), "error")

    # The next step

    def _on_step(self, name: str) -> None:
        if name == "open":
            new_study(self._context, self)
        elif name in ("readers", "repeats"):
            if self.design is not None:
                self.design.show_field("readers" if name == "readers" else "repeat_share")
        elif name == "lock":
            self.lock()
        else:
            if name == "scans":
                self._open_planned()
            page = {"read": "read", "unblind": "results", "results": "results"}.get(name, "data")
            self._context.page_requested.emit(page)

    def _open_planned(self) -> None:
        """Open the planned files that are not in the study yet, with the subject and plane of the list."""
        snapshot = self._snapshot
        if snapshot is None:
            return
        here = {Path(scan.raw_path).name for scan in snapshot.scans if scan.raw_path is not None}
        for item in snapshot.planned:
            path = Path(item.file)
            if not path.is_absolute() and self._plan_folder is not None:
                path = self._plan_folder / path
            if path.name not in here and path.is_file():
                self._context.scans.add_files([path], subject=item.subject, plane=item.plane)

    # The protocol before the lock

    def _on_edited(self) -> None:
        self._say("", "muted")
        self._timer.start()

    def _save(self, then: Callable[[], None] | None = None) -> None:
        """Put what was typed into the study, if all of it can be used."""
        study, snapshot, view = self._context.study, self._snapshot, self.design
        if study is None or snapshot is None or snapshot.design is None or view is None:
            return
        changes = view.form.changes()
        design = view.form.check(snapshot.design)
        self._show_step()
        if design is None or not changes:
            if design is not None and then is not None:
                then()
            return

        def done(_: None) -> None:
            if self.design is view:
                view.form.saved(changes)
            if then is not None:
                then()

        def failed(error: BaseException) -> None:
            self._on_failed(self._say, error)
            if "arms" in changes and self.design is view and isinstance(error, StudyError):
                view.form.show_error("arms", str(error))

        self._context.run_study_task(partial(study.set_design, design), done, failed)

    def _load(self) -> None:
        path = self._context.dialogs.open_file(self, "Load protocol", _PROTOCOL_FILES, self._start_folder())
        study, view = self._context.study, self.design
        if path is None or study is None or view is None:
            return
        self._context.settings.setValue("study/protocol_folder", str(path.parent))

        def take() -> Design:
            design = Design.load(path)
            study.set_design(design)
            return study.design

        def done(design: Design) -> None:
            if self.design is view:
                self._timer.stop()
                self._plan_folder = path.parent
                view.form.take_design(design)
                self._say(f"“{path.name}” is the protocol now.", "muted")

        def failed(error: BaseException) -> None:
            self._on_failed(self._say, error)
            field = field_of(error)
            if self.design is view and field in view.form.editors:
                view.form.show_error(field, str(error))
                view.show_field(field)

        self._context.run_study_task(take, done, failed)

    def _save_file(self) -> None:
        start = str(Path(self._start_folder()) / "protocol.yaml")
        path = self._context.dialogs.save_file(self, "Save protocol", _PROTOCOL_FILES, start)
        study = self._context.study
        if path is None or study is None:
            return
        self._context.settings.setValue("study/protocol_folder", str(path.parent))

        def save() -> None:
            study.design.save(path)

        def done(_: None) -> None:
            self._say(f"Written to {path}. It names the methods: keep it from the readers.", "muted")

        write = partial(self._context.tasks.submit, save, done, partial(self._on_failed, self._say))
        if self.design is None:
            write()
        else:
            self._timer.stop()
            self._save(write)

    def _start_folder(self) -> str:
        return str(self._context.settings.value("study/protocol_folder", str(Path.home())))

    # Planned scans and practice

    def _set_plan(self, scans: Sequence[PlannedScan]) -> None:
        study, snapshot = self._context.study, self._snapshot
        if study is None or snapshot is None or snapshot.design is None:
            return

        def change() -> None:
            study.set_design(replace(study.design, scans=tuple(scans)))

        self._context.run_study_task(change, None, partial(self._on_failed, self._say))

    def _plan_files(self) -> None:
        snapshot = self._snapshot
        start = str(self._context.settings.value("data/folder", str(Path.home())))
        files = self._context.dialogs.open_files(self, start)
        if not files or snapshot is None:
            return
        self._context.settings.setValue("data/folder", str(files[0].parent))
        known = {item.file for item in snapshot.planned}
        new = [
            PlannedScan(
                file=str(path),
                subject=guess_subject(path.stem) or "subject?",
                plane=guess_plane(path.stem) or "plane?",
            )
            for path in files
            if str(path) not in known
        ]
        self._set_plan((*snapshot.planned, *new))

    def _set_practice(self, subject: str, practice: bool) -> None:
        """Make all scans of a subject practice cases, or scans of the study."""
        study, snapshot = self._context.study, self._snapshot
        if study is None or snapshot is None:
            return
        if any(job.command == "reconstruct" and not job.finished for job in self._context.jobs.jobs):
            # The scan would be another one by the time its movies are there.
            self._say("This can be changed when the reconstructions are done.", "warning")
            return
        done = [scan for scan in snapshot.scans if scan.subject == subject and scan.complete]
        if done and not self._context.dialogs.confirm(
            self,
            "Practice cases",
            f"The movies of {subject} ({counted(len(done), 'scan')}) have to be reconstructed again.",
            "Change it",
        ):
            self._refresh()
            return
        self._context.run_study_task(
            partial(change_practice, study, subject, practice), None, partial(self._on_failed, self._say)
        )

    # The lock

    def lock(self) -> None:
        """Show what the lock needs, ask for the passphrase, and lock."""
        study = self._context.study
        if study is None or self.design is None:
            return
        self._timer.stop()
        self._save(
            lambda: self._context.tasks.submit(
                partial(take_snapshot, study),
                partial(self._ask_lock, study),
                partial(self._on_failed, self._say),
            )
        )

    def _ask_lock(self, study: Study, snapshot: StudySnapshot) -> None:
        if study is not self._context.study or snapshot.phase != "design":
            return
        passphrase = self._context.dialogs.lock_study(self, lock_checks(snapshot))
        if passphrase is not None:
            self._say("", "muted")
            self._context.lock.start(study, passphrase, snapshot.scans)

    # After the lock

    def _amend(self) -> None:
        study, snapshot = self._context.study, self._snapshot
        if study is None or snapshot is None:
            return
        answer = self._context.dialogs.amendment(self, snapshot.protocol)
        if answer is not None:
            self._context.run_study_task(
                partial(study.amend, answer.actor, answer.reason, answer.changes),
                lambda _: self._say("The amendment is recorded.", "muted"),
                partial(self._on_failed, self._say),
            )

    def _export_package(self, reader: str) -> None:
        study, snapshot = self._context.study, self._snapshot
        if study is None or snapshot is None:
            return
        start = str(snapshot.folder.parent / package_name(reader))
        path = self._context.dialogs.save_file(
            self, f"Package for {reader}", "Reader packages (*.blindcine)", start
        )
        if path is None:
            return
        self.record.readers.say(f"Writing the package for {reader} …", "muted")
        self._context.run_study_task(
            partial(export_package, study, reader, path),
            partial(self._on_exported, path),
            partial(self._on_failed, self.record.readers.say),
        )

    def _on_exported(self, path: Path, _summary: PackageSummary) -> None:
        text = f"Written: {path}. It opens by double click or by a drop on this window."
        self.record.readers.say(text, "muted")

    def _ask_responses(self) -> None:
        start = str(self._context.settings.value("study/response_folder", str(Path.home())))
        path = self._context.dialogs.open_file(self, "Take in a response", _RESPONSE_FILES, start)
        if path is not None:
            self._context.settings.setValue("study/response_folder", str(path.parent))
            self.merge_responses([path])

    def _on_merged(self, summary: MergeSummary) -> None:
        self.record.readers.say(merge_words(summary), "muted")

    def _save_response(self) -> None:
        study, snapshot = self._context.study, self._snapshot
        if study is None or snapshot is None:
            return
        package = self._context.reader_package
        source = package.source if package is not None else Path.home() / package_name(study.person)
        start = str(response_beside(source))
        path = self._context.dialogs.save_file(self, "Save my answers", _RESPONSE_FILES, start)
        if path is None:
            return
        self._context.run_study_task(
            partial(save_response, study, path),
            lambda _: self.record.readers.say(f"Written: {path}. Send it to the coordinator.", "muted"),
            partial(self._on_failed, self.record.readers.say),
        )

    def _verify(self) -> None:
        study = self._context.study
        if study is None:
            return
        self.record.record.say("Checking …", "muted")
        self._context.tasks.submit(
            study.verify, self._on_verified, partial(self._on_failed, self.record.record.say)
        )

    def _on_verified(self, notes: tuple[str, ...]) -> None:
        sound = "The record, the movies and the sealed key are as they were written."
        self.record.record.say("\n".join((sound, *notes)), "warning" if notes else "good")

    def _choose_copy(self) -> None:
        study, snapshot = self._context.study, self._snapshot
        if study is None or snapshot is None:
            return
        folder = self._context.dialogs.choose_folder(
            self, "Folder of the second copy", str(snapshot.folder.parent)
        )
        if folder is not None:
            self._context.run_study_task(
                partial(study.with_second_copy, folder),
                self._context.set_study,
                partial(self._on_failed, self.record.record.say),
            )


def change_practice(study: Study, subject: str, practice: bool) -> None:
    """Import all scans of a subject anew as practice cases, or as scans of the study. Raises StudyError."""
    design = study.design
    if any(item.subject == subject for item in design.scans):
        planned = tuple(
            replace(item, practice=practice) if item.subject == subject else item for item in design.scans
        )
        study.set_design(replace(design, scans=planned))
    scans = [scan for scan in study.scans if scan.subject == subject]
    for scan in scans:
        study.remove_scan(scan.scan_id)
    for scan in scans:
        if scan.raw_path is not None and scan.raw_sha256 is not None:
            study.import_scan(
                scan.raw_path,
                raw_sha256=scan.raw_sha256,
                subject=scan.subject,
                plane=scan.plane,
                sampling=scan.sampling,
                label=scan.label,
                practice=practice,
            )


def merge_words(summary: MergeSummary) -> str:
    """What came of a response, in one line."""
    words = [f"{summary.reader}: {counted(summary.new, 'new ranking')}"]
    if summary.duplicates:
        words.append(f"{summary.duplicates} known already")
    words.append(f"{summary.missing} still missing" if summary.missing else "complete")
    if summary.clock_set_back:
        words.append(f"its clock was set back {counted(summary.clock_set_back, 'time')}")
    return ", ".join(words) + "."
