"""The Data page: open scans, look at them, and put a study together.

From left to right and down: the scans that are open, a quick movie of the one that is selected with what its
file says, and the study with its next step. Files are read by the worker; the page only shows what it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractItemModel,
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSize,
    Qt,
    QTimer,
)
from PySide6.QtGui import QColor, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedLayout,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.clip_loading import LoadedClip, load_clip
from app.context import AppContext
from app.jobs import Job
from app.session import PLANE_NAMES, SessionScan, SessionScans, find_raw_files
from app.study_opening import new_study, open_study
from app.widgets.elements import set_role, styled_label
from app.widgets.panel_row import PanelRow
from studies.folder import StudyFolder
from studies.names import person_name
from studies.state import Scan
from studies.study import Study

_COLUMNS = ("Name", "Subject", "Plane", "Sampling", "Matrix", "Frames", "Frame time", "Coils", "State")
_NAME, _SUBJECT, _PLANE, _SAMPLING, _MATRIX, _FRAMES, _FRAME_TIME, _COILS, _STATE = range(len(_COLUMNS))
_COLUMN_WIDTHS = (180, 84, 108, 84, 92, 64, 90, 56, 136)
_RIGHT_ALIGNED = (_MATRIX, _FRAMES, _FRAME_TIME, _COILS)
_MILLISECONDS = 1000
_NARROW_PAGE = 1300
_NARROWEST_PAGE = 1050
_PREVIEW_WIDTH = 348
_NARROW_PREVIEW_WIDTH = 300
_NARROWEST_PREVIEW_WIDTH = 270
_UNSET = "not set"
_UNITS = {"_ms": "ms", "_s": "s", "_t": "T", "_hz": "Hz", "_deg": "°", "_mm": "mm"}
_ABBREVIATIONS = ("tr", "te", "ti")
_MEGAHERTZ = 1e6


class ScanTable(QAbstractTableModel):
    """The open scans as a table; subject and plane can be edited.

    Args:
        scans: the scans.
        state_text: says what is going on with a scan, in a word or two.
        parent: Qt owner.
    """

    def __init__(
        self, scans: SessionScans, state_text: Callable[[SessionScan], str], parent: QObject | None = None
    ) -> None:
        """Take the scans there are and follow changes."""
        super().__init__(parent)
        self._scans = scans
        self._state_text = state_text
        self._rows = list(scans)
        scans.added.connect(self._on_added)
        scans.changed.connect(self._on_changed)
        scans.removed.connect(self._on_removed)

    def scan(self, row: int) -> SessionScan:
        """The scan of a row."""
        return self._rows[row]

    def row_of(self, scan: SessionScan) -> int:
        """The row of a scan."""
        return self._rows.index(scan)

    def refresh_states(self) -> None:
        """Read all states again."""
        if self._rows:
            self.dataChanged.emit(self.index(0, _STATE), self.index(len(self._rows) - 1, _STATE))

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex = QModelIndex()) -> int:  # noqa: B008, N802
        """Number of scans."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | QPersistentModelIndex = QModelIndex()) -> int:  # noqa: B008, N802
        """Number of columns."""
        return 0 if parent.isValid() else len(_COLUMNS)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """Column titles."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def flags(self, index: QModelIndex | QPersistentModelIndex) -> Qt.ItemFlag:
        """Subject and plane are editable."""
        flags = super().flags(index)
        if index.column() in (_SUBJECT, _PLANE) and self._rows[index.row()].state != "unreadable":
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def data(
        self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """What a cell shows."""
        scan = self._rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            text = self._text(scan, index.column())
            unset = role == Qt.ItemDataRole.DisplayRole and self._unset(scan, index.column())
            return _UNSET if unset else text
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        if role == Qt.ItemDataRole.ForegroundRole and scan.state == "unreadable":
            return QColor(theme.ERROR if index.column() == _STATE else theme.MUTED)
        if role == Qt.ItemDataRole.ForegroundRole and (
            index.column() == _STATE or self._unset(scan, index.column())
        ):
            return QColor(theme.MUTED)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(scan, index.column())
        return None

    def setData(  # noqa: N802
        self, index: QModelIndex | QPersistentModelIndex, value: object, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Take an edited subject or plane."""
        if role != Qt.ItemDataRole.EditRole:
            return False
        scan = self._rows[index.row()]
        if index.column() == _SUBJECT:
            self._scans.set_subject(scan, str(value))
        elif index.column() == _PLANE:
            self._scans.set_plane(scan, str(value))
        else:
            return False
        return True

    def _text(self, scan: SessionScan, column: int) -> str:
        if column == _NAME:
            return scan.name
        if column == _SUBJECT:
            return scan.subject
        if column == _PLANE:
            return scan.plane
        if column == _STATE:
            return self._state_text(scan)
        if not scan.summary:
            return ""
        return _summary_text(scan.summary, column)

    def _unset(self, scan: SessionScan, column: int) -> bool:
        """Whether the user has yet to fill in this cell."""
        return column in (_SUBJECT, _PLANE) and scan.state == "ready" and not self._text(scan, column)

    @staticmethod
    def _tip(scan: SessionScan, column: int) -> str | None:
        if column == _STATE and scan.error:
            return scan.error
        if column == _NAME:
            return str(scan.path)
        if column in (_SUBJECT, _PLANE):
            return "Double click to change"
        return None

    def _on_added(self, scan: SessionScan) -> None:
        row = len(self._rows)
        self.beginInsertRows(QModelIndex(), row, row)
        self._rows.append(scan)
        self.endInsertRows()

    def _on_changed(self, scan: SessionScan) -> None:
        if scan in self._rows:
            row = self.row_of(scan)
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(_COLUMNS) - 1))

    def _on_removed(self, scan: SessionScan) -> None:
        row = self.row_of(scan)
        self.beginRemoveRows(QModelIndex(), row, row)
        del self._rows[row]
        self.endRemoveRows()


def _alignment(column: int) -> Qt.AlignmentFlag:
    horizontal = Qt.AlignmentFlag.AlignRight if column in _RIGHT_ALIGNED else Qt.AlignmentFlag.AlignLeft
    return horizontal | Qt.AlignmentFlag.AlignVCenter


def _summary_text(summary: dict[str, Any], column: int) -> str:
    if column == _SAMPLING:
        return str(summary.get("sampling", ""))
    if column == _MATRIX:
        return " × ".join(str(length) for length in summary.get("matrix", ()))
    if column == _FRAMES:
        return str(summary.get("frames", ""))
    if column == _COILS:
        return str(summary.get("coils", ""))
    frame_time_s = summary.get("frame_time_s")
    if frame_time_s is None:
        return ""
    return f"{frame_time_s * _MILLISECONDS:.1f} ms" if frame_time_s < 1 else f"{frame_time_s:.3g} s"


class _PlaneDelegate(QStyledItemDelegate):
    """Offers the usual planes; any other can be typed."""

    def createEditor(  # noqa: N802
        self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QWidget:
        box = QComboBox(parent)
        box.setEditable(True)
        box.addItems(PLANE_NAMES)
        return box

    def setEditorData(self, editor: QWidget, index: QModelIndex | QPersistentModelIndex) -> None:  # noqa: N802
        assert isinstance(editor, QComboBox)
        editor.setCurrentText(str(index.data(Qt.ItemDataRole.EditRole)))
        line = editor.lineEdit()
        if line is not None:
            line.selectAll()

    def setModelData(  # noqa: N802
        self, editor: QWidget, model: QAbstractItemModel, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        assert isinstance(editor, QComboBox)
        model.setData(index, editor.currentText(), Qt.ItemDataRole.EditRole)


@dataclass(frozen=True)
class StudyOverview:
    """What the page shows of a study, read once after each change.

    The study itself is asked only then: while a thread locks it, its properties wait until the lock is done,
    and the window would wait with them.

    Attributes:
        name: the study's name.
        phase: design, reading or unblinded.
        scans: its scans.
        progress: how far each reader is, in words.
    """

    name: str
    phase: str
    scans: tuple[Scan, ...]
    progress: str


def study_overview(study: Study | None) -> StudyOverview | None:
    """Read what the page shows of a study."""
    if study is None:
        return None
    phase = study.phase
    progress = _progress_text(study) if phase != "design" else ""
    return StudyOverview(study.name, phase, tuple(study.scans), progress)


class DataPage(QWidget):
    """Scans, preview and study.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    title = "Data"

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        self._context = context
        self._study_jobs: dict[str, Job] = {}
        self._attaching: set[str] = set()
        self._overview: StudyOverview | None = None
        self._study_scans: dict[Path, Scan] = {}
        self.model = ScanTable(context.scans, self._state_text, self)
        self.table = self._make_table()
        self.preview = ScanPreview(context)
        self.study_box = StudyBox()
        self._connect_study_box()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 18, 24, 18)
        layout.setSpacing(14)
        layout.addLayout(self._make_header())
        middle = QHBoxLayout()
        middle.setSpacing(16)
        table_area = QWidget()
        self._table_stack = QStackedLayout(table_area)
        self._table_stack.addWidget(self._make_empty_state())
        self._table_stack.addWidget(self.table)
        middle.addWidget(table_area, 1)
        middle.addWidget(self.preview)
        layout.addLayout(middle, 1)
        layout.addWidget(self.study_box)
        context.scans.added.connect(self._on_scans_changed)
        context.scans.removed.connect(self._on_scans_changed)
        context.scans.changed.connect(self._on_scan_changed)
        context.study_changed.connect(self._on_study_changed)
        context.lock.changed.connect(self._refresh_study_box)
        context.jobs.job_added.connect(self._on_job_added)
        context.jobs.job_changed.connect(self._on_job_changed)
        self._on_scans_changed()
        self._on_study_changed()

    def on_shown(self) -> None:
        """Show the study as it is now; another process may have changed it."""
        if not self._context.study_busy:
            self._on_study_changed()

    def on_hidden(self) -> None:
        """Stop the preview."""
        self.preview.pause()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open raw files, folders with raw files, or a study folder."""
        for folder in [path for path in paths if StudyFolder(path).has_log]:
            self._context.open_study_in_background(folder)
        others = [path for path in paths if not StudyFolder(path).has_log]
        if others:
            self._context.tasks.submit(lambda: find_raw_files(others), self._add_found)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """In a narrow window, leave out columns that the preview tells too."""
        super().resizeEvent(event)
        narrow = self.width() < _NARROW_PAGE
        for column in (_FRAMES, _COILS):
            self.table.setColumnHidden(column, narrow)
        narrowest = self.width() < _NARROWEST_PAGE
        for column in (_MATRIX, _FRAME_TIME):
            self.table.setColumnHidden(column, narrowest)
        self.study_box.set_brief(narrowest)
        width = _NARROW_PREVIEW_WIDTH if narrow else _PREVIEW_WIDTH
        self.preview.set_width(_NARROWEST_PREVIEW_WIDTH if narrowest else width)

    def selected_scans(self) -> list[SessionScan]:
        """The selected rows, from top to bottom."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self.model.scan(row) for row in rows]

    def select_scans(self, scans: Sequence[SessionScan]) -> None:
        """Select the rows of some scans and no others."""
        # `selectRow` would obey whatever modifier keys happen to be down.
        selection = QItemSelection()
        for scan in scans:
            row = self.model.row_of(scan)
            selection.select(self.model.index(row, 0), self.model.index(row, self.model.columnCount() - 1))
        self.table.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    # Layout

    def _make_header(self) -> QHBoxLayout:
        title = styled_label("title", "Data")
        open_files = QPushButton(theme.icon("file"), " Open files…")
        open_files.clicked.connect(self._ask_files)
        open_folder = QPushButton(theme.icon("folder"), " Open folder…")
        open_folder.clicked.connect(self._ask_folder)
        self.remove_button = QPushButton(theme.icon("remove"), " Remove")
        self.remove_button.setToolTip("Take the selected scans off the list; the files stay (Delete)")
        self.remove_button.clicked.connect(self._remove_selected)
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(title)
        header.addStretch(1)
        for button in (open_files, open_folder, self.remove_button):
            header.addWidget(button)
        return header

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        table.setAlternatingRowColors(True)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(34)
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        table.horizontalHeader().setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        table.horizontalHeader().setMinimumSectionSize(50)
        for column, width in enumerate(_COLUMN_WIDTHS):
            table.setColumnWidth(column, width)
        table.setItemDelegateForColumn(_PLANE, _PlaneDelegate(table))
        table.setAccessibleName("Scans")
        table.selectionModel().selectionChanged.connect(self._on_selection_changed)
        return table

    def _make_empty_state(self) -> QWidget:
        frame = QFrame()
        frame.setProperty("role", "card")
        sign = QLabel()
        sign.setPixmap(theme.pixmap("data", theme.MUTED, 48, 2.0))
        first = styled_label("heading", "Drop raw data here")
        second = styled_label("muted", "ISMRMRD files (.h5, .mrd), a folder of them, or a study folder")
        layout = QVBoxLayout(frame)
        layout.setSpacing(10)
        layout.addStretch(1)
        for label in (sign, first, second):
            layout.addWidget(label, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        return frame

    # Scans

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Delete takes scans off the list; Space plays the preview."""
        if event.key() == Qt.Key.Key_Delete:
            self._remove_selected()
        elif not self.preview.row.handle_key(event):
            super().keyPressEvent(event)

    def _ask_files(self) -> None:
        files = self._context.dialogs.open_files(self, self._start_folder())
        if files:
            self._context.settings.setValue("data/folder", str(files[0].parent))
            self._context.scans.add_files(files)

    def _ask_folder(self) -> None:
        folder = self._context.dialogs.choose_folder(self, "Open folder", self._start_folder())
        if folder is not None:
            self._context.settings.setValue("data/folder", str(folder))
            self.open_paths([folder])

    def _start_folder(self) -> str:
        return str(self._context.settings.value("data/folder", str(Path.home())))

    def _add_found(self, files: list[Path]) -> None:
        if not files:
            self._context.error.emit("There is no raw data file (.h5, .mrd, .hdf5) in that folder.")
            return
        self._context.scans.add_files(files)

    def _remove_selected(self) -> None:
        for scan in self.selected_scans():
            self._context.scans.remove(scan)

    def _on_scans_changed(self, *_scan: SessionScan) -> None:
        self._table_stack.setCurrentIndex(1 if len(self._context.scans) else 0)
        if len(self._context.scans) and not self.table.selectionModel().hasSelection():
            # Selected from the event loop, when the model has finished telling its views about the row.
            QTimer.singleShot(0, self, self._select_first)
        self._on_selection_changed()

    def _select_first(self) -> None:
        if self.model.rowCount() and not self.table.selectionModel().hasSelection():
            self.select_scans([self.model.scan(0)])

    def _on_scan_changed(self, scan: SessionScan) -> None:
        self.preview.refresh(scan)
        self._refresh_study_box()

    def _on_selection_changed(self) -> None:
        scans = self.selected_scans()
        self.remove_button.setEnabled(bool(scans))
        self.preview.show_scan(scans[0] if scans else None)
        self._refresh_study_box()

    def _state_text(self, scan: SessionScan) -> str:
        if scan.state != "ready":
            return {"reading": "reading…", "unreadable": "cannot be read"}[scan.state]
        study_scan = self._study_scan_of(scan)
        if study_scan is not None:
            return f"study: {self._study_state_text(study_scan)}"
        if scan.movies:
            return f"{len(scan.movies)} movie{'s' if len(scan.movies) > 1 else ''}"
        return "ready"

    # Study

    def _connect_study_box(self) -> None:
        box = self.study_box
        box.new_button.clicked.connect(lambda: new_study(self._context, self))
        box.open_button.clicked.connect(lambda: open_study(self._context, self))
        box.add_button.clicked.connect(self._add_to_study)
        box.take_out_button.clicked.connect(self._take_out_of_study)
        box.reconstruct_button.clicked.connect(self._reconstruct_all)
        box.study_button.clicked.connect(lambda: self._context.page_requested.emit("study"))

    def _design_study(self) -> Study | None:
        locking = self._context.lock.active
        design = self._overview is not None and self._overview.phase == "design" and not locking
        return self._context.study if design else None

    def _study_scan_of(self, scan: SessionScan) -> Scan | None:
        return self._study_scans.get(scan.path)

    def _study_state_text(self, study_scan: Scan) -> str:
        job = self._study_jobs.get(study_scan.scan_id)
        if study_scan.scan_id in self._attaching:
            return "storing"
        if job is not None and job.state == "running":
            return f"{job.fraction:.0%}"
        if job is not None and job.state == "queued":
            return "waiting"
        if job is not None and job.state == "failed":
            return "failed"
        return "complete" if study_scan.complete else "no movies"

    def _on_study_changed(self) -> None:
        self._overview = study_overview(self._context.study)
        design = self._overview is not None and self._overview.phase == "design"
        scans = self._overview.scans if self._overview is not None and design else ()
        self._study_scans = {
            Path(scan.raw_path).absolute(): scan for scan in scans if scan.raw_path is not None
        }
        for path, scan in self._study_scans.items():
            if path.is_file():
                self._context.scans.add_files([path], subject=scan.subject, plane=scan.plane)
        self.model.refresh_states()
        self._refresh_study_box()

    def _refresh_study_box(self) -> None:
        activity = ""
        if self._context.lock.active:
            activity = "Locking…"
        elif self._attaching or any(not job.finished for job in self._study_jobs.values()):
            activity = "Reconstructing…"
        addable = [scan for scan in self.selected_scans() if self._addable(scan)]
        self.study_box.show_study(self._overview, len(addable), len(self._removable()), activity)

    def _addable(self, scan: SessionScan) -> bool:
        return scan.state == "ready" and scan.path not in self._study_scans

    def _removable(self) -> list[Scan]:
        """The selected scans that are in the study; one whose movies are just being stored has to stay."""
        chosen = [self._study_scans.get(scan.path) for scan in self.selected_scans()]
        return [scan for scan in chosen if scan is not None and scan.scan_id not in self._attaching]

    def _add_to_study(self) -> None:
        study = self._design_study()
        scans = [scan for scan in self.selected_scans() if self._addable(scan)]
        if study is None or not scans:
            return
        unnamed = next((scan for scan in scans if not scan.subject or not scan.plane), None)
        if unnamed is not None:
            missing = "subject" if not unnamed.subject else "plane"
            self._context.message.emit(f"Give “{unnamed.name}” a {missing} first, then add it.")
            cell = self.model.index(self.model.row_of(unnamed), _PLANE if unnamed.subject else _SUBJECT)
            self.table.scrollTo(cell)
            self.table.edit(cell)
            return
        wanted = [
            (scan.path, scan.sha256, scan.subject, scan.plane, scan.sampling, scan.name) for scan in scans
        ]

        def add() -> None:
            practised = {person_name(item.subject) for item in study.design.scans if item.practice}
            for path, sha256, subject, plane, sampling, label in wanted:
                study.import_scan(
                    path,
                    raw_sha256=sha256,
                    subject=subject,
                    plane=plane,
                    sampling=sampling,
                    label=label,
                    practice=person_name(subject) in practised,
                )

        self._context.run_study_task(add)

    def _take_out_of_study(self) -> None:
        """Take the selected scans out of the study: one that cannot be reconstructed would bar its lock."""
        study = self._design_study()
        identifiers = [scan.scan_id for scan in self._removable()]
        if study is None or not identifiers:
            return
        for scan_id in identifiers:
            job = self._study_jobs.get(scan_id)
            if job is not None:
                self._context.jobs.cancel(job.job_id)

        def take_out() -> None:
            for scan_id in identifiers:
                study.remove_scan(scan_id)

        self._context.run_study_task(take_out)

    def _reconstruct_all(self) -> None:
        study = self._design_study()
        if study is None:
            return
        arms = list(study.arms)
        for study_scan in study.scans:
            before = self._study_jobs.get(study_scan.scan_id)
            if (
                study_scan.complete
                or study_scan.raw_path is None
                or (before is not None and not before.finished)
            ):
                continue
            out = self._context.scratch_folder / f"study-{study_scan.scan_id}"
            out.mkdir(exist_ok=True)
            job_id = self._context.jobs.submit(
                {
                    "command": "reconstruct",
                    "path": study_scan.raw_path,
                    "methods": arms,
                    "out": out,
                    "device": str(self._context.settings.value("reconstruct/device", "auto")),
                },
                label=study_scan.label or Path(study_scan.raw_path).stem,
                on_finished=partial(self._reconstructed, study, study_scan.scan_id),
            )
            self._study_jobs[study_scan.scan_id] = self._context.jobs.job(job_id)
        self.model.refresh_states()
        self._refresh_study_box()

    def _reconstructed(self, study: Study, scan_id: str, job: Job) -> None:
        self._study_jobs[scan_id] = job
        if job.state != "done" or job.cancel_asked:
            if job.state == "failed":
                self._context.error.emit(f"{job.label}: {job.message}")
            self.model.refresh_states()
            self._refresh_study_box()
            return
        movies = dict(job.movies)
        self._attaching.add(scan_id)

        def attach() -> None:
            study.attach_movies(scan_id, movies)
            # The study has its own copies under opaque ids; copies named by method are not left lying about.
            for path in movies.values():
                path.unlink(missing_ok=True)

        def done(_: None) -> None:
            self._attaching.discard(scan_id)

        def failed(error: BaseException) -> None:
            self._attaching.discard(scan_id)
            self._context.report(error)

        self._context.run_study_task(attach, done, failed)

    def _on_job_added(self, job: Job) -> None:
        for scan_id, other in self._study_jobs.items():
            if other.job_id == job.repeats:
                self._study_jobs[scan_id] = job
                return

    def _on_job_changed(self, job: Job) -> None:
        if any(job is other for other in self._study_jobs.values()):
            self.model.refresh_states()
            self._refresh_study_box()


class ScanPreview(QFrame):
    """A quick movie of one scan and what its file says.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the column."""
        super().__init__(parent)
        self._context = context
        self._scan: SessionScan | None = None
        self._shown: Path | None = None
        self.setProperty("role", "card")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self._name = styled_label("heading")
        self.row = PanelRow(compact=True)
        self.row.set_profiles_visible(False)
        self._facts = QLabel()
        self._facts.setTextFormat(Qt.TextFormat.RichText)
        self._facts.setWordWrap(True)
        self._facts.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        scroll = QScrollArea()
        scroll.setWidget(self._facts)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 12, 14, 12)
        layout.setSpacing(10)
        layout.addWidget(self._name)
        layout.addWidget(self.row)
        layout.addWidget(scroll, 1)
        self.set_width(_PREVIEW_WIDTH)
        self.show_scan(None)

    def set_width(self, width: int) -> None:
        """Be so wide, with a square movie."""
        self.setFixedWidth(width)
        self.row.setFixedHeight(width - 30 + self.row.transport.sizeHint().height())

    def pause(self) -> None:
        """Stop the movie."""
        self.row.clock.pause()

    def show_scan(self, scan: SessionScan | None) -> None:
        """Show another scan."""
        if scan is self._scan and scan is not None:
            return
        self._scan = scan
        self._shown = None
        if scan is None:
            self._name.setText("Preview")
            self._facts.setText("")
            self.row.set_placeholders([""], ["Select a scan to see it."])
            return
        self.row.set_placeholders([""], ["Making a preview…"])
        self._context.scans.forget_preview_error(scan)
        self.refresh(scan)

    def refresh(self, scan: SessionScan) -> None:
        """Show what has become known about a scan, if it is the one shown."""
        if scan is not self._scan:
            return
        self._name.setText(scan.name)
        self._facts.setText(facts_html(scan))
        panel = self.row.panels[0]
        if scan.state == "unreadable":
            panel.set_message("No preview.")
        elif scan.preview_error:
            panel.set_message(f"No preview: {scan.preview_error}")
        elif scan.preview is not None:
            self._load(scan, scan.preview)
        elif scan.state == "ready":
            number = id(scan)
            self._context.scans.request_preview(scan, self._context.scratch_folder / f"preview-{number}.h5")

    def sizeHint(self) -> QSize:  # noqa: N802
        """As wide as the movie."""
        return QSize(_PREVIEW_WIDTH, 600)

    def _load(self, scan: SessionScan, path: Path) -> None:
        if self._shown == path:
            return
        self._shown = path

        def done(clip: LoadedClip) -> None:
            if self._scan is scan:
                self.row.set_clip(
                    clip.display, [""], clip.frame_times_s, pixel_spacing_mm=clip.pixel_spacing_mm
                )
                self.row.clock.play()

        self._context.tasks.submit(lambda: load_clip([path]), done)


def facts_html(scan: SessionScan) -> str:
    """What the file of a scan says, as a small table."""
    if scan.state == "unreadable":
        return f'<p style="color:{theme.ERROR}">{_escaped(scan.error)}</p>'
    if scan.state == "reading":
        return f'<p style="color:{theme.MUTED}">Reading the file…</p>'
    summary = scan.summary
    rows: list[tuple[str, str]] = [("Sampling", scan.sampling)]
    if "acceleration" in summary:
        rows.append(("Acceleration", f"{summary['acceleration']:g}"))
    rows.append(("Matrix", _summary_text(summary, _MATRIX)))
    rows.append(("Field of view", _lengths(summary.get("field_of_view_mm", ()))))
    rows.append(("Pixel", _lengths(summary.get("pixel_spacing_mm", ()))))
    rows.append(("Frames", f"{_summary_text(summary, _FRAMES)} of {_summary_text(summary, _FRAME_TIME)}"))
    if "duration_s" in summary:
        rows.append(("Duration", f"{summary['duration_s']:.1f} s"))
    rows.append(("Coils", f"{summary.get('coils', '')}{', prewhitened' if summary.get('whitened') else ''}"))
    for name, value in (summary.get("details") or {}).items():
        if isinstance(value, (str, int, float)) and str(value):
            rows.append(_detail(name, value))
    cells = "".join(
        f'<tr><td style="color:{theme.MUTED}; padding:1px 14px 3px 0">{_escaped(name)}</td>'
        f'<td style="padding:1px 0 3px 0">{_escaped(value)}</td></tr>'
        for name, value in rows
    )
    notes = "".join(
        f'<p style="color:{theme.MUTED}; margin:6px 0 0 0">{_escaped(note)}</p>'
        for note in summary.get("notes", ())
    )
    return f"<table>{cells}</table>{notes}"


def _detail(name: str, value: str | float) -> tuple[str, str]:
    """A detail of the file in words: ("tr_ms", 2.9) is ("TR", "2.9 ms")."""
    suffix = next((suffix for suffix in _UNITS if name.endswith(suffix)), "")
    words = name.removesuffix(suffix).replace("_", " ")
    label = words.upper() if words in _ABBREVIATIONS else words.capitalize()
    unit = _UNITS.get(suffix, "")
    if isinstance(value, (int, float)) and suffix == "_hz":
        value, unit = value / _MEGAHERTZ, "MHz"
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    gap = "" if unit == "°" else " "
    return label, f"{text}{gap}{unit}".strip()


def _lengths(values: Sequence[float]) -> str:
    return " × ".join(f"{value:.4g}" for value in values) + " mm" if values else ""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class StudyBox(QFrame):
    """The open study, how far it is, and the buttons of its next steps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the box."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self.name = styled_label("heading")
        self.status = styled_label("muted")
        self.status.setWordWrap(True)
        self.new_button = QPushButton(theme.icon("study"), " New study…")
        self.open_button = QPushButton(theme.icon("folder"), " Open study…")
        self.add_button = QPushButton(theme.icon("add"), " Add selected scans")
        self.take_out_button = QPushButton(theme.icon("remove"), " Take out of study")
        self.take_out_button.setToolTip("Take the selected scans and their movies out of the study")
        self.reconstruct_button = QPushButton(theme.icon("reconstruct"), " Reconstruct all")
        self.reconstruct_button.setToolTip(
            "Reconstruct every scan of the study that has no movies, in all arms"
        )
        self.study_button = QPushButton(theme.icon("study"), " Go to Study")
        self.study_button.setToolTip("Protocol, lock and progress of the study")
        self._steps = (self.add_button, self.reconstruct_button, self.study_button)
        texts = QVBoxLayout()
        texts.setSpacing(4)
        texts.addWidget(self.name)
        texts.addWidget(self.status)
        buttons = QGridLayout()
        buttons.setSpacing(8)
        everything = (self.new_button, self.open_button, self.take_out_button, *self._steps)
        for column, button in enumerate(everything):
            buttons.addWidget(button, 0, column)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(18, 14, 14, 14)
        layout.setSpacing(20)
        layout.addLayout(texts, 1)
        layout.addLayout(buttons)

    def set_brief(self, brief: bool) -> None:
        """Call the buttons by fewer words, for a narrow page."""
        for button, full, short in (
            (self.new_button, "New study…", "New…"),
            (self.open_button, "Open study…", "Open…"),
            (self.add_button, "Add selected scans", "Add selected"),
            (self.take_out_button, "Take out of study", "Take out"),
        ):
            button.setText(f" {short if brief else full}")
            button.setAccessibleName(full)

    def show_study(self, study: StudyOverview | None, addable: int, removable: int, activity: str) -> None:
        """Show a study.

        Args:
            study: the open study, or None.
            addable: how many of the selected scans could be added.
            removable: how many of the selected scans could be taken out of the study.
            activity: what is being done to the study, or an empty string.
        """
        phase = study.phase if study is not None else None
        scans = study.scans if study is not None else ()
        complete = sum(scan.complete for scan in scans)
        busy = bool(activity)
        design = phase == "design"
        taking_out = design and removable > 0 and not addable
        self.take_out_button.setVisible(taking_out)
        self.take_out_button.setEnabled(activity != "Locking…")
        self.add_button.setVisible(design and not taking_out)
        self.reconstruct_button.setVisible(design)
        self.study_button.setVisible(study is not None)
        self.add_button.setEnabled(design and addable > 0 and activity != "Locking…")
        self.reconstruct_button.setEnabled(design and not busy and complete < len(scans))
        if study is None:
            self.name.setText("No study open")
            self.status.setText("Make a study to have scans read blinded, or open one.")
            self._mark_next(None)
            return
        designed = design and bool(scans) and complete == len(scans)
        self.name.setText(study.name)
        if phase == "design":
            self.status.setText(_design_text(len(scans), complete, activity))
        elif phase == "reading":
            self.status.setText("Locked. " + study.progress)
        else:
            self.status.setText("Unblinded. " + study.progress)
        if design and not designed:
            ways = (self.reconstruct_button, self.add_button)
            self._mark_next(next((button for button in ways if button.isEnabled()), None))
        else:
            self._mark_next(self.study_button)

    def _mark_next(self, button: QPushButton | None) -> None:
        for step in self._steps:
            set_role(step, "primary" if step is button else "")


def _design_text(scans: int, complete: int, activity: str) -> str:
    if not scans:
        return "No scans yet: select scans above and add them."
    count = f"{scans} scan{'s' if scans > 1 else ''}, {complete} with all movies. "
    if activity:
        return count + activity
    return count + ("Go on to the protocol." if complete == scans else "Reconstruct them next.")


def _progress_text(study: Study) -> str:
    parts = []
    for reader in study.readers:
        done, total = study.progress(reader)
        parts.append(f"{reader}: {done} of {total}")
    return "   ".join(parts)
