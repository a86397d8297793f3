"""What the pages share: the open study, the worker's jobs, the scans of this session, settings and dialogs.

Pages never reach for each other; they meet here. Changes to the study go through `run_study_task`, which runs
them one after another on a thread, because sealing a key or copying movies takes longer than a window may
stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import QObject, QSettings, Signal

from app.background import BackgroundTasks
from app.dialogs import Dialogs
from app.jobs import JobManager
from app.scratch import ScratchFolder
from app.session import MethodShelf, SessionScans
from app.study_lock import StudyLock
from studies.errors import StudyError
from studies.opened import Role
from studies.study import Study

if TYPE_CHECKING:
    from app.reader_package import ReaderPackage

Result = TypeVar("Result")


class AppContext(QObject):
    """The shared state of one window.

    Args:
        settings: where preferences are kept; the user's own store if None.
        worker_command: program and arguments of the reconstruction worker; the real one if None.
        dialogs: asks the user; the real dialogs if None. Tests pass answers.
        parent: Qt owner.
    """

    study_changed = Signal()
    """Another study was opened, or the open one changed."""

    message = Signal(str)
    """A sentence for the status line."""

    error = Signal(str)
    """A sentence about something that went wrong."""

    page_requested = Signal(str)
    """Show the page of this name: data, reconstruct, study, read, measure, results."""

    closing = Signal()
    """The window closes: work on threads that can be stopped shall stop."""

    def __init__(
        self,
        *,
        settings: QSettings | None = None,
        worker_command: Sequence[str] | None = None,
        dialogs: Dialogs | None = None,
        parent: QObject | None = None,
    ) -> None:
        """Start without a study."""
        super().__init__(parent)
        self.settings = settings if settings is not None else QSettings("blindcine", "blindcine")
        self.dialogs = dialogs if dialogs is not None else Dialogs()
        self.jobs = JobManager(worker_command, self)
        self.tasks = BackgroundTasks(2, self)
        self._study_tasks = BackgroundTasks(1, self)
        self.scans = SessionScans(self.jobs, self)
        self.methods = MethodShelf(self.jobs, self)
        self.lock = StudyLock(self)
        self._study: Study | None = None
        self._scratch: ScratchFolder | None = None
        self.reader_package: ReaderPackage | None = None
        self.tasks.failed.connect(self.report)
        self._study_tasks.failed.connect(self.report)

    @property
    def study(self) -> Study | None:
        """The open study, or None."""
        return self._study

    @property
    def study_busy(self) -> bool:
        """Whether a change to the study is under way."""
        return self._study_tasks.busy

    @property
    def scratch_folder(self) -> Path:
        """A folder for this session's movies; it goes when the window closes."""
        if self._scratch is None:
            self._scratch = ScratchFolder()
        return self._scratch.path

    def set_study(self, study: Study | None) -> None:
        """Make a study the open one."""
        self._study = study
        self.study_changed.emit()

    def open_study(self, path: Path, role: Role = "coordinator", person: str = "") -> None:
        """Open a study folder and make it the open study; for start-up and tests, since it waits.

        Args:
            path: the folder.
            role: of who opens it.
            person: who opens it; needed of a reader.

        Raises:
            StudyError: if the folder holds no sound study.
        """
        self.set_study(Study.open(Path(path), role, person))
        self._remember(Path(path))

    def open_study_in_background(self, path: Path) -> None:
        """Open a study folder without holding up the window; `study_changed` tells when it is there."""

        def done(study: Study) -> None:
            self._remember(path)
            self.set_study(study)
            self.message.emit(f"Study “{study.name}” is open.")

        self._study_tasks.submit(lambda: Study.open(path), done)

    def run_study_task(
        self,
        task: Callable[[], Result],
        on_done: Callable[[Result], None] | None = None,
        on_failed: Callable[[BaseException], None] | None = None,
        *,
        announce: bool = True,
    ) -> None:
        """Change the study on a thread, one change after another; then announce `study_changed`.

        Args:
            task: the change, for instance ``lambda: study.lock(readers, passphrase)``.
            on_done: called with its result in the window's thread, before `study_changed`.
            on_failed: called with its exception; `report` if None.
            announce: False for one change of many in a row, such as a ranking, which other pages learn when
                they are shown: a reader does not wait for them. Who says so announces the last one.
        """

        def done(result: Result) -> None:
            if on_done is not None:
                on_done(result)
            if announce:
                self.study_changed.emit()

        def failed(error: BaseException) -> None:
            (on_failed or self.report)(error)
            # On a full disk the log cannot even be read: the failure is told, the pages stay as they are.
            if self._readable():
                self.study_changed.emit()

        self._study_tasks.submit(task, done, failed)

    def _readable(self) -> bool:
        """Whether the study, if one is open, can be read at this moment."""
        try:
            return self._study is None or bool(self._study.phase)
        except StudyError:
            return False

    def report(self, error: BaseException) -> None:
        """Tell the user about an expected failure; an unexpected one is raised for the error hook.

        Raises:
            BaseException: the error itself, if it is not of a kind that users can meet.
        """
        if not isinstance(error, (StudyError, OSError, ValueError, MemoryError)):
            raise error
        self.error.emit(str(error) or type(error).__name__)

    def close(self) -> None:
        """Stop the worker and the threads and remove the session's movies."""
        self.closing.emit()
        self.jobs.shutdown()
        self.tasks.close()
        # A ranking that waits behind another change was entered: it must reach the log.
        self._study_tasks.close(finish=True)
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None

    def _remember(self, path: Path) -> None:
        self.settings.setValue("study/last", str(path))
