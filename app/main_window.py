"""The window: navigation on the left, one page at a time, a line for messages below.

While the Read page is shown, the message line is out of sight: what other pages have to tell (the name of a
reconstruction that has just ended, say) is not for a reader's eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.context import AppContext
from app.package_folders import RESPONSE_SUFFIX, is_package
from app.pages.data import DataPage
from app.pages.measure import MeasurePage
from app.pages.read import ReadPage
from app.pages.reconstruct import ReconstructPage
from app.pages.results import ResultsPage
from app.pages.study import StudyPage
from app.reader_package import open_reader_package
from app.widgets.message_bar import MessageBar

PAGES = ("data", "reconstruct", "study", "read", "measure", "results")
"""Names of the pages in their order, which is also the order of a study."""

_NAVIGATION_WIDTH = 196
_MESSAGE_MS = 8000


class MainWindow(QMainWindow):
    """The one window of the application.

    Args:
        context: what the pages share; the window closes it.
        parent: Qt owner.
    """

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the window on the Data page."""
        super().__init__(parent)
        self.context = context
        self.setWindowTitle("blindcine")
        self.setAcceptDrops(True)
        self.resize(1366, 768)
        self.setMinimumSize(1100, 680)
        self.pages: dict[str, QWidget] = {
            "data": DataPage(context),
            "reconstruct": ReconstructPage(context),
            "study": StudyPage(context),
            "read": ReadPage(context),
            "measure": MeasurePage(context),
            "results": ResultsPage(context),
        }
        self._stack = QStackedWidget()
        for page in self.pages.values():
            self._stack.addWidget(page)
        self.message_bar = MessageBar()
        self._navigation, self._buttons = self._make_navigation()
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.message_bar)
        column.addWidget(self._stack, 1)
        central = QWidget()
        row = QHBoxLayout(central)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._navigation)
        row.addWidget(right, 1)
        self.setCentralWidget(central)
        self.statusBar().setSizeGripEnabled(False)
        purpose = QLabel("For research use only")
        purpose.setProperty("role", "muted")
        purpose.setContentsMargins(0, 0, 12, 0)
        self.statusBar().addPermanentWidget(purpose)
        self._current = ""
        self._error_pending = False
        self._add_shortcuts()
        context.message.connect(self._show_message)
        context.error.connect(self._show_error)
        self.message_bar.put_away.connect(self._forget_error)
        context.page_requested.connect(self.show_page)
        context.jobs.worker_lost.connect(self._show_error)
        self.show_page("data")

    @property
    def current_page(self) -> str:
        """Name of the page shown."""
        return self._current

    def show_page(self, name: str) -> None:
        """Show a page.

        Raises:
            KeyError: if there is no page of that name.
        """
        page = self.pages[name]
        if name == self._current:
            return
        if self._current:
            self._tell(self.pages[self._current], "on_hidden")
        self._current = name
        self._buttons[name].setChecked(True)
        self._stack.setCurrentWidget(page)
        if name == "read":
            self.statusBar().clearMessage()
        self._arrange()
        self.message_bar.setVisible(bool(self.message_bar.text) and self._error_pending and name != "read")
        self._tell(page, "on_shown")
        page.setFocus(Qt.FocusReason.OtherFocusReason)

    def toggle_full_screen(self) -> None:
        """Use the whole screen, or stop doing so; on the Read page the navigation makes room too."""
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        self._arrange()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open what was dropped: raw files, folders, a study, responses of readers, or a package to read."""
        package = next((path for path in paths if is_package(path)), None)
        if package is not None:
            self._open_package(package)
            return
        responses = [path for path in paths if path.suffix == RESPONSE_SUFFIX]
        others = [path for path in paths if path.suffix != RESPONSE_SUFFIX]
        if responses:
            self.show_page("study")
            study = self.pages["study"]
            assert isinstance(study, StudyPage)
            study.merge_responses(responses)
        if others:
            self.show_page("data")
            data = self.pages["data"]
            assert isinstance(data, DataPage)
            data.open_paths(others)

    def read(self, reader: str) -> None:
        """Lead straight to the reading of one reader."""
        self.show_page("read")
        page = self.pages["read"]
        assert isinstance(page, ReadPage)
        page.start(reader)

    def _open_package(self, path: Path) -> None:
        """Lead straight to the reading of a package, which has one reader."""
        page = self.pages["read"]
        assert isinstance(page, ReadPage)

        def failed(error: BaseException) -> None:
            # On the page Read no error is shown.
            self.show_page("data")
            self.context.report(error)

        self.show_page("read")
        page.chooser.show_message("One moment", f"{path.name} is being opened.")
        open_reader_package(self.context, path, page.start, failed)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Take files."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Open what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open_paths(paths)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Ask first if something is not saved or a reconstruction is under way; then stop everything."""
        for page in (self.pages["read"], self.pages["measure"]):
            unsaved = page.unsaved if isinstance(page, (ReadPage, MeasurePage)) else ""
            if unsaved and not self.context.dialogs.confirm(
                self, "Close blindcine", f"{unsaved} is not saved and would be lost.", "Close without saving"
            ):
                event.ignore()
                return
        running = [job for job in self.context.jobs.jobs if job.command == "reconstruct" and not job.finished]
        if running and not self.context.dialogs.confirm(
            self,
            "Close blindcine",
            f"{_counted(len(running))} not finished and will be stopped.",
            "Stop and close",
        ):
            event.ignore()
            return
        self._tell(self.pages[self._current], "on_hidden")
        self.context.close()
        event.accept()

    def _make_navigation(self) -> tuple[QFrame, dict[str, QToolButton]]:
        frame = QFrame()
        frame.setObjectName("navigation")
        frame.setFixedWidth(_NAVIGATION_WIDTH)
        layout = QVBoxLayout(frame)
        layout.setContentsMargins(10, 18, 10, 12)
        layout.setSpacing(4)
        name = QLabel("blindcine")
        name.setProperty("role", "heading")
        name.setContentsMargins(14, 0, 0, 16)
        layout.addWidget(name)
        group = QButtonGroup(frame)
        buttons = {}
        for number, page in enumerate(PAGES, start=1):
            title = str(getattr(self.pages[page], "title", page.capitalize()))
            button = QToolButton()
            button.setText(f"  {title}")
            button.setIcon(theme.icon(page))
            button.setIconSize(QSize(20, 20))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setCheckable(True)
            button.setToolTip(f"{title} (Ctrl+{number})")
            button.setAccessibleName(title)
            button.setFixedWidth(_NAVIGATION_WIDTH - 21)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(lambda _checked=False, page=page: self.show_page(page))
            group.addButton(button)
            buttons[page] = button
            layout.addWidget(button)
        layout.addStretch(1)
        return frame, buttons

    def _add_shortcuts(self) -> None:
        for number, page in enumerate(PAGES, start=1):
            action = QAction(self)
            action.setShortcut(QKeySequence(f"Ctrl+{number}"))
            action.triggered.connect(lambda _checked=False, page=page: self.show_page(page))
            self.addAction(action)
        full_screen = QAction(self)
        full_screen.setShortcut(QKeySequence("F11"))
        full_screen.triggered.connect(self.toggle_full_screen)
        self.addAction(full_screen)

    def _arrange(self) -> None:
        reading = self._current == "read"
        self.statusBar().setVisible(not reading)
        full = bool(self.windowState() & Qt.WindowState.WindowFullScreen)
        self._navigation.setVisible(not (reading and full))

    def _show_error(self, sentence: str) -> None:
        """Show an error; while somebody reads it waits, since a failed job's sentence may name a method."""
        self.message_bar.show_error(sentence)
        self._error_pending = True
        self.message_bar.setVisible(self._current != "read")

    def _forget_error(self) -> None:
        self._error_pending = False

    def _show_message(self, sentence: str) -> None:
        if self._current != "read":
            self.statusBar().showMessage(f"  {sentence}", _MESSAGE_MS)

    @staticmethod
    def _tell(page: QWidget, what: str) -> None:
        method = getattr(page, what, None)
        if method is not None:
            method()


def _counted(reconstructions: int) -> str:
    return f"{reconstructions} reconstructions are" if reconstructions > 1 else "1 reconstruction is"
