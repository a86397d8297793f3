"""Starting the window: application object, dark look, error hook, first page."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app import theme
from app.context import AppContext
from app.main_window import MainWindow
from app.scratch import remove_abandoned
from studies.opened import Role

_LOG = logging.getLogger("blindcine")


def display_available() -> bool:
    """Whether a window can be opened here; without a display, Qt would end the process instead of raising."""
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_window(
    study: Path | None = None,
    files: Sequence[Path] = (),
    page: str = "data",
    role: Role = "coordinator",
    person: str = "",
) -> int:
    """Open the window and run until it is closed.

    Args:
        study: study folder to open.
        files: raw data files or folders to open, or a reader package.
        page: page to begin with: data, reconstruct, study, read, measure or results.
        role: in which the study is opened.
        person: who opens it; needed of a reader.

    Returns:
        The exit status.

    Raises:
        StudyError: if `study` holds no sound study; no window has been opened then.
        RuntimeError: if there is no display.
    """
    if not display_available():
        raise RuntimeError(
            "There is no display to open a window on: set DISPLAY, or use the blindcine commands."
        )
    application = QApplication.instance()
    if not isinstance(application, QApplication):
        application = QApplication(sys.argv[:1])
    application.setApplicationName("blindcine")
    application.setApplicationDisplayName("blindcine")
    theme.apply_theme(application)
    # A window that was killed left movies that carry their methods' names; no reader is to come upon them.
    remove_abandoned(Path(tempfile.gettempdir()))
    context = AppContext()
    if study is not None:
        context.open_study(study, role, person)
    window = MainWindow(context)
    application.setWindowIcon(theme.icon("read", theme.ACCENT))
    _install_error_hook(context)
    available = window.screen().availableGeometry()
    if available.width() <= window.width() or available.height() <= window.height():
        window.showMaximized()
    else:
        window.resize(min(1680, available.width() - 80), min(1000, available.height() - 80))
        window.show()
    if files:
        window.open_paths([Path(file) for file in files])
    window.show_page(page)
    if study is not None and role == "reader" and page == "read":
        window.read(person)
    # However the window ends, movies that carry their methods' names are not left behind.
    application.aboutToQuit.connect(context.close)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda _number, _frame: QApplication.exit(0))
    # Python only looks for signals between two bytecodes; without this it would wait for the next event.
    heartbeat = QTimer()
    heartbeat.start(250)
    heartbeat.timeout.connect(lambda: None)
    return int(application.exec())


def _install_error_hook(context: AppContext) -> None:
    """Log what no page has caught and say so in the window, which goes on."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _LOG.error("An error that no page has caught.", exc_info=(kind, error, trace))
        # Without the error's own words, which could name a method in front of a reader.
        context.error.emit(
            f"Something went wrong inside blindcine ({kind.__name__}); its log on the console says what."
        )

    sys.excepthook = hook
