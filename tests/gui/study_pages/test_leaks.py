"""No hint of a method in the whole window while a study is blinded, whatever the reader opens or copies.

The pages Data and Reconstruct speak of methods in general and of raw files, which is their purpose; nothing
of theirs belongs to the study that is read. Every other widget, shown or not, is walked on every page and at
every step of a reading; then the clipboard, the logs, the settings and what lies in temporary folders.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.main_window import PAGES, MainWindow
from tests.gui.conftest import PreparedDialogs
from tests.gui.study_pages.conftest import PASSPHRASE, _texts_of
from tests.gui.study_pages.test_read import Reader

OPEN_PAGES = ("data", "reconstruct")
"""Pages that name methods by their purpose."""


class WindowReader(Reader):
    """A reader in front of the whole window."""

    def __init__(self, qtbot: QtBot, context: AppContext) -> None:
        self.qtbot = qtbot
        self.context = context
        context.dialogs = PreparedDialogs()  # digits typed and not saved: the window asks before it closes
        self.window = MainWindow(context)
        qtbot.addWidget(self.window)
        self.page = self.window.pages["read"]
        self.window.show()
        self.window.show_page("read")

    def texts(self) -> list[str]:
        """Every text of the application but those of the open pages."""
        closed = {
            id(child)
            for name in OPEN_PAGES
            for child in (self.window.pages[name], *self.window.pages[name].findChildren(QObject))
        }
        texts: list[str] = []
        for top in QApplication.topLevelWidgets():
            for widget in (top, *top.findChildren(QObject)):
                if id(widget) not in closed:
                    texts.extend(text for text in _texts_of(widget) if text)
        return texts


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, for this test alone; asked for before the context is made."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def reader(temporary: Path, qtbot: QtBot, request: pytest.FixtureRequest) -> Iterator[WindowReader]:
    context: AppContext = request.getfixturevalue("context")
    yield WindowReader(qtbot, context)
    context.close()


def telling(texts: list[str], words: tuple[str, ...]) -> set[str]:
    """The texts that hold a forbidden word."""
    return {text for text in texts if any(word in text.casefold() for word in words)}


def copied_from(widgets: list[QWidget]) -> str:
    """What Ctrl+A, Ctrl+C brings from every widget that takes the keyboard."""
    clipboard = QGuiApplication.clipboard()
    copied = []
    for widget in widgets:
        select, copy = getattr(widget, "selectAll", None), getattr(widget, "copy", None)
        if callable(select) and widget.isVisible():
            clipboard.clear()
            select()
            if callable(copy):
                copy()
            copied.append(clipboard.text())
            mime = clipboard.mimeData()
            copied.extend(mime.formats() if mime is not None else [])
    return "\n".join(copied)


def bytes_of(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Names and contents of all files below a folder."""
    for path in folder.rglob("*"):
        yield path, path.read_bytes() if path.is_file() else b""


def test_no_widget_log_clipboard_or_file_names_a_method_while_a_study_is_read(
    reader: WindowReader,
    temporary: Path,
    tmp_path: Path,
    forbidden_words: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    copied = ""

    def look() -> None:
        nonlocal copied
        texts.extend(reader.texts())
        copied += copied_from(reader.window.findChildren(QWidget))

    look()
    for name in PAGES:
        reader.window.show_page(name)
        reader.qtbot.waitUntil(lambda: not reader.context.study_busy)
        if name not in OPEN_PAGES:
            look()
    reader.window.show_page("read")
    reader.choose("Reader One")
    total = len(reader.study.schedule("Reader One"))
    for number in range(1, total + 1):
        reader.wait_for_clip()
        look()
        reader.type("?")
        look()
        reader.press(Qt.Key.Key_Escape)
        reader.see()
        reader.type("122")
        look()
        if number == total:  # after it the choices appear, see below
            break
        reader.press(Qt.Key.Key_Return)
        reader.wait_for_rankings(number)
    for page in ("study", "measure", "results"):
        reader.window.show_page(page)
        reader.qtbot.waitUntil(lambda: not reader.context.study_busy)
        look()
    assert any("Save and next" in text for text in texts), "the walk must reach what a reader sees"
    assert telling(texts, forbidden_words) == set()
    assert telling([copied], forbidden_words) == set()
    output = "".join(capfd.readouterr())
    assert telling([caplog.text, output], forbidden_words) == set()
    methods = tuple(word.encode() for word in ("compressed_sensing", "dl_natural", "dl_cardiac"))
    settings = Path(reader.context.settings.fileName())
    reader.context.settings.sync()
    contents = [*bytes_of(temporary), *bytes_of(tmp_path), (settings, settings.read_bytes())]
    assert len(contents) > 5
    for path, content in contents:
        assert not any(word in content or word in bytes(path.name, "utf-8") for word in methods), path


def test_the_walk_finds_a_name_wherever_it_hides(
    reader: WindowReader, forbidden_words: tuple[str, ...]
) -> None:
    """The detector itself: a tool tip, an object name or an accessible name of a hidden widget is found."""
    page: Any = reader.window.pages["measure"]
    for put in (page.setToolTip, page.setObjectName, page.setAccessibleName, page.setStatusTip):
        put("panel of dl_natural")
        assert telling(reader.texts(), forbidden_words)
        put("")
    assert not telling(reader.texts(), forbidden_words)


def test_choices_appear_only_after_the_last_clip(
    reader: WindowReader, forbidden_words: tuple[str, ...]
) -> None:
    """Who guesses which was which has to be told what there was; nobody is before the last ranking."""
    reader.choose("Reader One")
    total = len(reader.study.schedule("Reader One"))
    for number in range(1, total + 1):
        reader.wait_for_clip()
        assert not telling(reader.texts(), forbidden_words)
        reader.see()
        reader.type("123")
        reader.press(Qt.Key.Key_Return)
        reader.wait_for_rankings(number)
    reader.qtbot.waitUntil(lambda: reader.page.guessing.isVisible())
    reader.qtbot.waitUntil(lambda: bool(telling(reader.texts(), forbidden_words)))
    reader.guess_all("000")
    reader.qtbot.waitUntil(lambda: reader.page.finished.isVisible())
    reader.qtbot.waitUntil(lambda: not telling(reader.texts(), forbidden_words))  # nobody else sees them


def test_all_panels_of_a_clip_appear_in_one_go(reader: WindowReader) -> None:
    """No panel holds the next clip before the others do: loading tells nothing about an arm."""
    reader.choose("Reader One")
    reader.wait_for_clip()
    session = reader.page.session
    assert session is not None
    together: list[bool] = []

    def compare(_presentation: object, clip: Any) -> None:
        panels = reader.view.row.panels
        together.append(
            len(panels) == len(clip.display)
            and all((panel.frames == movie).all() for panel, movie in zip(panels, clip.display, strict=True))
        )

    session.shown.connect(compare)  # after the page's own slot: connected later
    reader.see()
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    assert together == [True]


def test_after_unblinding_the_names_may_be_seen(
    reader: WindowReader, forbidden_words: tuple[str, ...]
) -> None:
    """The walk is not blind: once unblinded, the page Results names the methods."""
    for name in reader.study.readers:
        for presentation in reader.study.schedule(name):
            reader.study.commit_ranking(name, presentation, (1, 2, 3))
    reader.study.unblind(PASSPHRASE, "the test")
    reader.context.open_study(reader.study.folder)
    reader.window.show_page("results")
    reader.qtbot.waitUntil(lambda: bool(telling(reader.texts(), forbidden_words)), timeout=60_000)

