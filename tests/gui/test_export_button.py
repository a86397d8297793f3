"""The export button: what it writes, its progress, how it stops, and where the Reconstruct page has it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.pages.reconstruct import ReconstructPage
from app.session import SessionScan
from app.widgets import export_button
from app.widgets.export_button import ExportButton
from studies import clips

PATIENCE_MS = 20_000


@pytest.fixture
def movies(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    paths = [tmp_path / "movies" / f"S01_{method}.h5" for method in ("compressed_sensing", "dl_natural")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        frames = rng.random((4, 16, 16), dtype=np.float32)
        clips.write_blinded(path, clips.ClipMovie(frames, (2.0, 2.0), np.arange(4) * 0.05, {}, path.name))
    return paths


@pytest.fixture
def button(context: AppContext, qtbot: QtBot, movies: list[Path]) -> Iterator[ExportButton]:
    grid = [("radial", path.stem.removeprefix("S01_"), path) for path in movies]
    made = ExportButton(context, lambda: movies, lambda: grid)
    qtbot.addWidget(made)
    made.show()
    yield made
    made.close()


def entry(button: ExportButton, words: str) -> QAction:
    (found,) = [action for action in button.choices.actions() if words in action.text()]
    return found


def test_each_movie_becomes_a_file(
    button: ExportButton, context: AppContext, qtbot: QtBot, tmp_path: Path
) -> None:
    context.dialogs.folder = tmp_path / "out"  # type: ignore[attr-defined]
    messages: list[str] = []
    context.message.connect(messages.append)
    entry(button, "as GIF").trigger()
    assert button.running and "Stop export" in button.text()
    qtbot.waitUntil(lambda: not button.running, timeout=PATIENCE_MS)
    assert messages == [f"2 movies were exported to {tmp_path / 'out'}."]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "S01_compressed_sensing.gif",
        "S01_dl_natural.gif",
    ]
    assert button.text() == " Export…"
    assert context.settings.value("export/folder") == str(tmp_path / "out")


def test_all_in_one_video_gets_the_ending_of_its_format(
    button: ExportButton,
    context: AppContext,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context.dialogs, "save_file", lambda *_arguments: tmp_path / "S2.video")
    entry(button, "one GIF").trigger()
    qtbot.waitUntil(lambda: not button.running, timeout=PATIENCE_MS)
    image = Image.open(io.BytesIO((tmp_path / "S2.video.gif").read_bytes()))
    assert image.width > 2 * 160 and 160 < image.height < 240


def test_a_second_press_stops_and_leaves_nothing(
    button: ExportButton,
    context: AppContext,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pressed = threading.Event()

    def slow(path: Path, target: Path, how: object, report: Callable[[str, float], None]) -> None:
        report("Encoding", 0.5)
        assert pressed.wait(PATIENCE_MS / 1000)
        report("Encoding", 0.6)
        target.mkdir()

    monkeypatch.setattr(export_button, "export_movie", slow)
    context.dialogs.folder = tmp_path / "out"  # type: ignore[attr-defined]
    messages: list[str] = []
    context.message.connect(messages.append)
    entry(button, "as MP4").trigger()
    qtbot.waitUntil(lambda: "25%" in button.text(), timeout=PATIENCE_MS)  # half of the first of two
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    pressed.set()
    qtbot.waitUntil(lambda: not button.running, timeout=PATIENCE_MS)
    assert messages == ["The export was stopped."] and not (tmp_path / "out").exists()


def test_what_goes_wrong_is_told(
    button: ExportButton,
    context: AppContext,
    qtbot: QtBot,
    tmp_path: Path,
    movies: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context.dialogs.folder = tmp_path  # type: ignore[attr-defined]
    movies[1].write_text("damaged")
    with qtbot.waitSignal(context.error, timeout=PATIENCE_MS) as told:
        entry(button, "as NIfTI").trigger()
    assert "S01_dl_natural.h5" in told.args[0] and not button.running

    def without(*_arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'av'", name="av")

    monkeypatch.setattr(export_button, "export_movie", without)
    with qtbot.waitSignal(context.error, timeout=PATIENCE_MS) as told:
        entry(button, "as MP4").trigger()
    assert "the package “av”" in told.args[0]


def test_closing_the_window_stops_an_export(
    button: ExportButton, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def endless(path: Path, target: Path, how: object, report: Callable[[str, float], None]) -> None:
        began.set()
        while True:
            report("Encoding", 0.5)

    monkeypatch.setattr(export_button, "export_movie", endless)
    context.dialogs.folder = tmp_path  # type: ignore[attr-defined]
    entry(button, "as MP4").trigger()
    assert began.wait(PATIENCE_MS / 1000)
    context.close()  # comes back only because the export was stopped


def test_the_reconstruct_page_exports_the_scan_shown_and_a_row_for_each_scan_selected(
    context: AppContext, qtbot: QtBot, movies: list[Path], tmp_path: Path
) -> None:
    page = ReconstructPage(context)
    qtbot.addWidget(page)
    assert not page.export_button.isEnabled()
    for stem in ("S01", "S02"):
        scan = SessionScan(tmp_path / f"{stem}.h5")
        scan.state, scan.summary = "ready", {"sampling": "radial"}
        scan.movies = {"compressed_sensing": movies[0], "dl_natural": movies[1]}
        context.scans.added.emit(scan)
    page.scan_list.setCurrentRow(0)
    assert page.export_button.isEnabled()
    assert page._movies_to_export() == movies
    assert [cell[:2] for cell in page._grid_to_export()] == [
        ("radial", "compressed_sensing"),
        ("radial", "dl_natural"),
    ]
    page.scan_list.selectAll()
    assert {cell[0] for cell in page._grid_to_export()} == {"S01", "S02"}
