"""A reader package in a real window: dropped, read at once, answered with a file beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.main_window import MainWindow
from app.package_folders import working_folder
from app.pages.read import ReadPage
from app.reader_package import ReaderPackage, open_reader_package
from app.widgets.response_note import ResponseNote
from studies.package import export_package, merge_response, open_package, package_info
from studies.study import Study

READER = "Reader One"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes into the real user's folders."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data home"))
    monkeypatch.setattr(Path, "home", lambda: home)
    return home


@pytest.fixture
def package(context: AppContext, tmp_path: Path) -> Path:
    """A package of the study that is open in the window."""
    assert context.study is not None
    folder = tmp_path / "sent"
    folder.mkdir()
    export_package(context.study, READER, folder / "one.blindcine")
    return folder / "one.blindcine"


def drop(window: MainWindow, path: Path) -> None:
    """Let a file fall on the window."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    nothing = Qt.KeyboardModifier.NoModifier
    window.dropEvent(
        QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, nothing)
    )


def read_all(study: Study, *, guess: bool = True) -> None:
    while (item := study.next_presentation(READER)) is not None:
        study.commit_ranking(READER, item, (1, 2, 3))
    for item in study.guess_presentations(READER) if guess else []:
        study.record_guess(READER, item, (None, None, None))


def test_a_dropped_package_is_read_at_once_and_answered_beside_it(
    context: AppContext,
    package: Path,
    qtbot: QtBot,
    all_texts: Callable[[QWidget], list[str]],
    forbidden_words: tuple[str, ...],
) -> None:
    """Nothing in the window names a method; the response is written when all is ranked and guessed."""
    coordinator = context.study
    assert coordinator is not None
    window = MainWindow(context)
    qtbot.addWidget(window)
    drop(window, package)
    page = window.pages["read"]
    assert isinstance(page, ReadPage)
    assert window.current_page == "read"
    qtbot.waitUntil(lambda: page.session is not None and not context.study_busy)
    assert page.session is not None and page.session.reader == READER
    opened = context.reader_package
    assert isinstance(opened, ReaderPackage) and opened.source == package
    assert opened.study.is_package and context.study is opened.study
    assert opened.study.folder.is_relative_to(package.parents[1] / "data home" / "blindcine" / "packages")
    texts = " ".join(all_texts(page)).casefold()
    assert "can this screen show the clips" in texts
    assert not [word for word in forbidden_words if word.casefold() in texts]

    response = package.with_name("one.blindcine-response")
    read_all(opened.study, guess=False)
    context.study_changed.emit()
    assert context.tasks.busy
    qtbot.waitUntil(lambda: not context.tasks.busy)
    assert not response.exists(), "the guesses are still to come"
    read_all(opened.study)
    with qtbot.waitSignal(opened.saved):
        context.study_changed.emit()
    assert opened.response == response and response.is_file()
    note = page.finished.findChild(ResponseNote)
    assert note is not None and not note.isHidden()
    assert str(response) in note.text.text()
    assert merge_response(coordinator, response).missing == 0

    elsewhere = package.parent / "by mail"
    context.dialogs.save_file = lambda *_: elsewhere  # type: ignore[method-assign]
    with qtbot.waitSignal(opened.saved):
        note.button.click()
    assert elsewhere.read_bytes() == response.read_bytes()
    context.dialogs.save_file = lambda *_: package / "no folder"  # type: ignore[method-assign]
    with qtbot.waitSignal(opened.failed):
        note.button.click()
    assert "cannot be written" in note.text.text()

    context.set_study(coordinator)
    assert context.reader_package is None and note.isHidden()
    window.close()


def test_a_finished_package_whose_response_is_missing_is_answered_when_it_is_opened_again(
    context: AppContext, package: Path, qtbot: QtBot
) -> None:
    """As after a kill between the last guess and the response: nothing is left to do that would write it."""
    read_all(open_package(package, working_folder(package_info(package).package_id)))
    response = package.with_name("one.blindcine-response")
    window = MainWindow(context)
    qtbot.addWidget(window)
    assert not response.exists()
    drop(window, package)
    qtbot.waitUntil(lambda: response.exists() and not context.tasks.busy)
    page = window.pages["read"]
    assert isinstance(page, ReadPage)
    note = page.finished.findChild(ResponseNote)
    assert note is not None and not note.isHidden()
    qtbot.waitUntil(lambda: str(response) in note.text.text())
    window.close()


def test_a_package_that_cannot_be_opened_is_told(context: AppContext, tmp_path: Path, qtbot: QtBot) -> None:
    """On another page than Read, where errors wait until the reading is over."""
    study = context.study
    broken = tmp_path / "broken.blindcine"
    broken.write_text("no package")
    window = MainWindow(context)
    qtbot.addWidget(window)
    drop(window, broken)
    qtbot.waitUntil(lambda: bool(window.message_bar.text))
    assert "'broken.blindcine' is no reader package of blindcine" in window.message_bar.text
    assert window.current_page == "data" and not window.message_bar.isHidden()
    assert context.study is study and context.reader_package is None
    window.close()


def test_the_response_of_a_package_on_a_read_only_medium_goes_home(
    context: AppContext, package: Path, qtbot: QtBot, own_home: Path
) -> None:
    """The medium is gone altogether here, as a stick that was pulled out; reading goes on all the same."""
    readers: list[str] = []
    open_reader_package(context, package, readers.append, pytest.fail)
    qtbot.waitUntil(lambda: not context.study_busy and bool(readers))
    assert readers == [READER]
    shutil.rmtree(package.parent)
    opened = context.reader_package
    assert opened is not None
    read_all(opened.study)
    with qtbot.waitSignal(opened.saved):
        context.study_changed.emit()
    assert opened.response == own_home / "one.blindcine-response"
    assert opened.response.is_file()
    own_home.joinpath("one.blindcine-response").unlink()
    own_home.rmdir()
    with qtbot.waitSignal(opened.failed) as failed:
        opened.save()
    assert "cannot be written" in failed.args[0]
    qtbot.waitUntil(lambda: not context.tasks.busy)
    QApplication.processEvents()
