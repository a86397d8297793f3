"""Windows without a screen: each test has its own settings, worker and answers, and leaves nothing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import QCoreApplication, QEvent, QSettings  # noqa: E402 - the platform is chosen above
from PySide6.QtWidgets import QApplication, QWidget  # noqa: E402
from pytestqt.qtbot import QtBot  # noqa: E402

from app import theme  # noqa: E402
from app.context import AppContext  # noqa: E402
from app.dialogs import Dialogs  # noqa: E402
from app.reconstruction_options import Options  # noqa: E402
from app.study_snapshot import Check  # noqa: E402
from app.widgets.study_dialogs import AmendmentAnswer  # noqa: E402
from studies.protocol import Protocol  # noqa: E402

# A shared machine may stall for longer than pytest-qt's 5 s: what is waited for comes, or the test fails.
for _wait in (QtBot.waitUntil, QtBot.waitSignal, QtBot.waitSignals, QtBot.waitExposed):
    _wait.__kwdefaults__["timeout"] = 60_000

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


class PreparedDialogs(Dialogs):
    """Answers without asking; a test sets the answers and looks at `asked` afterwards."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.folder: Path | None = None
        self.study: tuple[str, Path] | None = None
        self.passphrase: str | None = None
        self.checks: list[Check] = []
        self.amend: AmendmentAnswer | None = None
        self.options: Options | None = None
        self.confirmed = True
        self.asked: list[str] = []

    def open_files(self, parent: QWidget, start: str = "") -> list[Path]:
        self.asked.append("open_files")
        return self.files

    def choose_folder(self, parent: QWidget, title: str, start: str = "") -> Path | None:
        self.asked.append(title)
        return self.folder

    def new_study(self, parent: QWidget, start: str = "") -> tuple[str, Path] | None:
        self.asked.append("new_study")
        return self.study

    def lock_study(self, parent: QWidget, checks: Sequence[Check]) -> str | None:
        self.asked.append("lock")
        self.checks = list(checks)
        return self.passphrase

    def amendment(self, parent: QWidget, protocol: Protocol) -> AmendmentAnswer | None:
        self.asked.append("amend")
        return self.amend

    def reconstruction_options(self, parent: QWidget, chosen: Options) -> Options | None:
        self.asked.append(f"options {chosen}")
        return self.options

    def confirm(self, parent: QWidget, title: str, text: str, action: str) -> bool:
        self.asked.append(text)
        return self.confirmed

    def show_text(self, parent: QWidget, title: str, text: str) -> None:
        self.asked.append(text)


@pytest.fixture(scope="session", autouse=True)
def look(qapp: QApplication) -> None:
    """The look that users see: layouts depend on it."""
    theme.apply_theme(qapp)


@pytest.fixture(autouse=True)
def no_leaked_windows(qapp: QApplication) -> Iterator[None]:
    """A window that outlives its test would go on painting and take the next test's keys."""
    before = set(QApplication.topLevelWidgets())
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    leaked = [
        widget for widget in QApplication.topLevelWidgets() if widget not in before and widget.isVisible()
    ]
    assert not leaked, f"windows left open: {leaked}"


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    """Settings that no other test and no user sees."""
    return QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def dialogs() -> PreparedDialogs:
    """Prepared answers."""
    return PreparedDialogs()


@pytest.fixture
def context(qapp: QApplication, settings: QSettings, dialogs: PreparedDialogs) -> Iterator[AppContext]:
    """A context with the fake worker; its processes and threads end with the test."""
    built = AppContext(settings=settings, worker_command=[sys.executable, str(FAKE_WORKER)], dialogs=dialogs)
    yield built
    built.close()


@pytest.fixture
def raw_file(tmp_path: Path) -> Callable[..., Path]:
    """Makes a file that the fake worker takes for raw data: ``raw_file("S01_sax_radial")``."""

    def make(stem: str, content: Any = None) -> Path:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        path = folder / f"{stem}.h5"
        path.write_text(str(content or stem), encoding="utf-8")
        return path

    return make
