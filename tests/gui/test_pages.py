"""The Data and Reconstruct pages and the window around them, used as a person would, with a fake worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.main_window import PAGES, MainWindow
from app.names import folder_name, reader_names
from app.pages.data import DataPage
from app.pages.reconstruct import ReconstructPage
from app.pages.study import StudyPage
from app.reconstruction_options import CHOICES, Options, ReconstructionOptionsDialog
from app.session import SessionScan
from studies.study import Study

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
PATIENCE_MS = 15_000


@pytest.fixture
def window(context: AppContext, qtbot: QtBot) -> Iterator[MainWindow]:
    built = MainWindow(context)
    built.show()
    qtbot.waitExposed(built)
    yield built
    context.dialogs.confirmed = True  # type: ignore[attr-defined]
    built.close()
    built.deleteLater()


@pytest.fixture
def data(window: MainWindow) -> DataPage:
    page = window.pages["data"]
    assert isinstance(page, DataPage)
    return page


@pytest.fixture
def reconstruct(window: MainWindow) -> ReconstructPage:
    page = window.pages["reconstruct"]
    assert isinstance(page, ReconstructPage)
    return page


def opened(context: AppContext, qtbot: QtBot, paths: list[Path]) -> list[SessionScan]:
    scans = context.scans.add_files(paths)
    qtbot.waitUntil(lambda: all(scan.state != "reading" for scan in scans), timeout=PATIENCE_MS)
    return scans


def cell(page: DataPage, row: int, column: int) -> str:
    return str(page.model.index(row, column).data())


def test_pages_by_keyboard(window: MainWindow, qtbot: QtBot) -> None:
    for number, name in enumerate(PAGES, start=1):
        qtbot.keyClick(window, getattr(Qt.Key, f"Key_{number}"), Qt.KeyboardModifier.ControlModifier)
        assert window.current_page == name


def test_reading_hides_messages_and_full_screen_hides_navigation(
    window: MainWindow, context: AppContext
) -> None:
    window.show_page("read")
    assert not window.statusBar().isVisible()
    context.message.emit("compressed_sensing is done")
    assert window.statusBar().currentMessage() == ""
    window.toggle_full_screen()
    assert not window._navigation.isVisible()
    window.show_page("data")
    assert window._navigation.isVisible()
    window.toggle_full_screen()


def test_dropped_files_appear_with_a_preview(
    window: MainWindow, data: DataPage, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(raw_file(name))) for name in ("S01_radial", "bad")])
    event = QDropEvent(
        QPointF(300, 300),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    assert event.isAccepted()
    qtbot.waitUntil(lambda: data.model.rowCount() == 2, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: cell(data, 1, 8) == "cannot be read", timeout=PATIENCE_MS)
    assert [cell(data, 0, column) for column in range(9)] == [
        "S01_radial", "S01", "short axis", "radial", "48 × 48", "12", "40.0 ms", "8", "ready",
    ]  # fmt: skip
    qtbot.waitUntil(lambda: data.preview.row.clock.playing, timeout=PATIENCE_MS)
    frames = data.preview.row.panels[0].frames
    assert frames is not None
    assert frames.shape == (12, 48, 48)
    data.select_scans([data.model.scan(1)])
    assert "not raw data" in " ".join(label.text() for label in data.preview.findChildren(QLabel))


def test_a_dropped_response_goes_to_the_study_page(
    window: MainWindow, context: AppContext, qtbot: QtBot, tmp_path: Path
) -> None:
    with qtbot.waitSignal(context.error) as told:
        window.open_paths([tmp_path / "ada.blindcine-response"])
    assert window.current_page == "study"
    assert "Open the study first" in told.args[0]


def test_subject_and_plane_can_be_edited(
    data: DataPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    (scan,) = opened(context, qtbot, [raw_file("unnamed")])
    assert scan.subject == ""
    assert data.model.setData(data.model.index(0, 1), "  Eve ")
    assert data.model.setData(data.model.index(0, 2), "four chamber")
    assert (scan.subject, scan.plane) == ("Eve", "four chamber")
    assert not data.model.setData(data.model.index(0, 0), "x")


def test_folder_without_raw_data_says_so(
    window: MainWindow, data: DataPage, qtbot: QtBot, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    data.open_paths([empty])
    qtbot.waitUntil(window.message_bar.isVisible, timeout=PATIENCE_MS)
    assert "no raw data" in window.message_bar.text


def test_removing_scans(
    data: DataPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    opened(context, qtbot, [raw_file("S01"), raw_file("S02")])
    data.select_scans(list(context.scans)[:1])
    qtbot.keyClick(data, Qt.Key.Key_Delete)
    assert [scan.name for scan in context.scans] == ["S02"]
    assert raw_file("S01").exists()


def test_study_from_scans_to_lock(
    window: MainWindow,
    data: DataPage,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    scans = opened(context, qtbot, [raw_file("S01_radial"), raw_file("S02_spiral"), raw_file("unnamed")])
    box = data.study_box
    context.dialogs.study = ("Spring", tmp_path / "spring")  # type: ignore[attr-defined]
    qtbot.mouseClick(box.new_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: context.study is not None, timeout=PATIENCE_MS)
    study = context.study
    assert isinstance(study, Study)
    data.select_scans(list(context.scans))
    qtbot.mouseClick(box.add_button, Qt.MouseButton.LeftButton)
    assert "“unnamed” a subject" in window.statusBar().currentMessage()
    editor = data.table.findChild(QLineEdit)  # open on the cell that is missing
    assert editor is not None
    qtbot.keyClick(editor, Qt.Key.Key_Escape)
    context.scans.remove(scans[2])
    data.select_scans(list(context.scans))
    qtbot.mouseClick(box.add_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(study.scans) == 2, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: cell(data, 0, 8) == "study: no movies", timeout=PATIENCE_MS)
    window.show_page("study")
    page = window.pages["study"]
    assert isinstance(page, StudyPage)
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: reconstruct the scans", timeout=PATIENCE_MS)
    # The same scan is also looked at with names, on the other page.
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: len(scans[0].movies) == 3 and scans[0].reconstruction is None, timeout=PATIENCE_MS
    )
    named = list(scans[0].movies.values())
    window.show_page("data")
    qtbot.mouseClick(box.reconstruct_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: all(scan.complete for scan in study.scans), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: cell(data, 1, 8) == "study: complete", timeout=PATIENCE_MS)
    left = [path.name for path in context.scratch_folder.glob("study-*/*")]
    assert left == []  # nothing named by method is left beside the study's own copies
    qtbot.mouseClick(box.study_button, Qt.MouseButton.LeftButton)
    assert window.current_page == "study"
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: name the readers", timeout=PATIENCE_MS)
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(window.focusWidget(), "Ada, Ben")
    # Two clips cannot be repeated: six others would have to stand between.
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: correct “Hidden repeats”", timeout=PATIENCE_MS)
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(window.focusWidget(), "0")
    qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: lock", timeout=PATIENCE_MS)
    context.dialogs.passphrase = "a long passphrase"  # type: ignore[attr-defined]
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: study.phase == "reading", timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: read", timeout=PATIENCE_MS)
    assert study.readers == ("Ada", "Ben")
    assert "Ada: 0 of 2" in box.status.text()
    assert page.design is None  # its widgets named the methods
    assert scans[0].movies == {}
    assert not any(path.exists() for path in named)
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    assert window.current_page == "read"
    assert Study.open(tmp_path / "spring").phase == "reading"


def test_open_study_brings_its_scans(
    data: DataPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path
) -> None:
    raw = raw_file("x_spiral")
    study = Study.create(tmp_path / "old", name="Old")
    study.import_scan(raw, raw_sha256="ab" * 32, subject="Eve", plane="speech", sampling="spiral")
    data.open_paths([tmp_path / "old"])
    qtbot.waitUntil(lambda: data.model.rowCount() == 1, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: cell(data, 0, 8) == "study: no movies", timeout=PATIENCE_MS)
    assert (cell(data, 0, 1), cell(data, 0, 2)) == ("Eve", "speech")
    assert data.study_box.name.text() == "Old"


def test_broken_study_is_reported(
    window: MainWindow, context: AppContext, qtbot: QtBot, tmp_path: Path
) -> None:
    context.open_study_in_background(tmp_path / "nothing")
    qtbot.waitUntil(window.message_bar.isVisible, timeout=PATIENCE_MS)
    assert "nothing" in window.message_bar.text
    assert context.study is None


def test_failed_study_scan_can_be_tried_again(
    data: DataPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path
) -> None:
    (scan,) = opened(context, qtbot, [raw_file("S01_crash")])
    context.set_study(Study.create(tmp_path / "study", name="S"))
    data.select_scans(list(context.scans))
    qtbot.mouseClick(data.study_box.add_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(data.study_box.reconstruct_button.isEnabled, timeout=PATIENCE_MS)
    qtbot.mouseClick(data.study_box.reconstruct_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: cell(data, 0, 8) == "study: failed", timeout=PATIENCE_MS)
    assert data.study_box.reconstruct_button.isEnabled()
    (job,) = [job for job in context.jobs.jobs if job.command == "reconstruct"]
    context.jobs.retry(job.job_id)
    assert cell(data, 0, 8) == "study: waiting"
    qtbot.waitUntil(lambda: cell(data, 0, 8) == "study: failed", timeout=PATIENCE_MS)


def test_scan_that_cannot_be_reconstructed_is_taken_out_of_the_study(
    data: DataPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path
) -> None:
    scans = opened(context, qtbot, [raw_file("S01_hang"), raw_file("S02_radial")])
    study = Study.create(tmp_path / "study", name="S")
    context.set_study(study)
    box = data.study_box
    data.select_scans(scans)
    qtbot.mouseClick(box.add_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(box.reconstruct_button.isEnabled, timeout=PATIENCE_MS)
    qtbot.mouseClick(box.reconstruct_button, Qt.MouseButton.LeftButton)
    data.select_scans(scans[:1])
    assert not box.add_button.isVisible()
    qtbot.mouseClick(box.take_out_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: cell(data, 0, 8) == "ready", timeout=PATIENCE_MS)
    assert box.add_button.isVisible()
    # Its job was stopped, the other scan is reconstructed, and nothing stands in the way of the lock.
    qtbot.waitUntil(lambda: "Go on to the protocol" in box.status.text(), timeout=PATIENCE_MS)
    assert [scan.sampling for scan in study.scans] == ["radial"]
    states = [job.state for job in context.jobs.jobs if job.command == "reconstruct"]
    assert states == ["cancelled", "done"]


def test_a_networks_caution_stands_below_its_movie(
    window: MainWindow,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
) -> None:
    opened(context, qtbot, [raw_file("S01_radial"), raw_file("S02_spiral")])
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    assert reconstruct.method_boxes["compressed_sensing"].toolTip() == ""
    assert "dl_natural" in reconstruct.method_boxes["dl_natural"].toolTip()

    def cautions() -> list[tuple[str, int]]:
        labels = reconstruct.row.findChildren(QLabel)
        found = [label for label in labels if label.isVisible() and "Not for clinical use" in label.text()]
        return sorted((label.text(), label.x()) for label in found)

    assert cautions() == []
    qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
    row = reconstruct.row
    qtbot.waitUntil(lambda: all(panel.frames is not None for panel in row.panels), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: len(cautions()) == 2, timeout=PATIENCE_MS)
    assert cautions() == [
        ("Short training run of dl_cardiac. Not for clinical use.", row.panels[2].x()),
        ("Short training run of dl_natural. Not for clinical use.", row.panels[1].x()),
    ]
    reconstruct.scan_list.setCurrentRow(1)
    qtbot.waitUntil(lambda: cautions() == [], timeout=PATIENCE_MS)


def test_the_smallest_window_keeps_names_and_buttons_whole(
    window: MainWindow,
    data: DataPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    opened(context, qtbot, [raw_file("cardiac_sax_cartesian")])
    context.set_study(Study.create(tmp_path / "study", name="S"))
    window.resize(window.minimumSize())
    qtbot.waitUntil(lambda: window.width() == window.minimumWidth(), timeout=PATIENCE_MS)
    box = data.study_box
    for button in (box.new_button, box.open_button, box.add_button, box.reconstruct_button, box.study_button):
        assert button.width() >= button.sizeHint().width()
    text = data.table.fontMetrics().horizontalAdvance("cardiac_sax_cartesian")
    qtbot.waitUntil(lambda: data.table.columnWidth(0) > text, timeout=60_000)
    window.resize(1800, 900)
    qtbot.waitUntil(lambda: not data.table.isColumnHidden(4), timeout=PATIENCE_MS)
    assert box.new_button.text() == " New study…"


def test_a_crash_is_told_until_it_is_put_away(
    window: MainWindow, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path
) -> None:
    request = {"command": "reconstruct", "path": raw_file("crash"), "methods": ["gridded"], "out": tmp_path}
    context.jobs.submit(request, label="S01")
    qtbot.waitUntil(window.message_bar.isVisible, timeout=PATIENCE_MS)
    assert window.message_bar.text.startswith("S01: The reconstruction worker")


def test_movies_appear_side_by_side_as_they_come(
    window: MainWindow,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    (scan,) = opened(context, qtbot, [raw_file("S01_radial_slow")])
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    assert reconstruct.chosen_methods() == list(ARMS)
    qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
    row = reconstruct.row

    def filled() -> list[bool]:
        return [panel.frames is not None for panel in row.panels]

    qtbot.waitUntil(lambda: filled() == [True, False, False], timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: filled() == [True, True, True], timeout=PATIENCE_MS)
    assert [panel.label for panel in row.panels] == [context.methods.label(name) for name in ARMS]
    # One of the three starts four frames late; all are cut to the frames they share.
    assert row.clock.frame_count == 8
    radii = [int((panel.frames[0] > 60).sum()) for panel in row.panels if panel.frames is not None]
    assert radii == sorted(radii)
    qtbot.waitUntil(lambda: scan.reconstruction is None, timeout=PATIENCE_MS)
    job_row = reconstruct.job_list.rows[0]
    qtbot.mouseClick(job_row.times_button, Qt.MouseButton.LeftButton)
    assert any("1/5" in label.text() for label in job_row.findChildren(QLabel))  # to compressed sensing
    folder = tmp_path / "kept"
    folder.mkdir()
    context.dialogs.folder = folder  # type: ignore[attr-defined]
    qtbot.mouseClick(reconstruct.save_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(list(folder.iterdir())) == 3, timeout=PATIENCE_MS)
    assert (folder / "S01_radial_slow_dl_natural.h5").read_bytes() == scan.movies["dl_natural"].read_bytes()


def test_cancel_in_the_list(
    window: MainWindow,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
) -> None:
    opened(context, qtbot, [raw_file("S01_slow")])
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
    (row,) = reconstruct.job_list.rows
    qtbot.waitUntil(lambda: row.job.fraction > 0, timeout=PATIENCE_MS)
    row.job.phase = "a phase of many words " * 4
    row.refresh()
    assert row.minimumSizeHint().width() < 400  # else a narrow window would push the button out of sight
    qtbot.mouseClick(row.end_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: row.job.state == "cancelled", timeout=PATIENCE_MS)
    qtbot.mouseClick(row.end_button, Qt.MouseButton.LeftButton)
    assert len(reconstruct.job_list.rows) == 2
    assert reconstruct.job_list.rows[1].job.state == "queued"


def test_whether_results_computed_before_are_used_is_the_users_choice_and_remembered(
    window: MainWindow,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
) -> None:
    opened(context, qtbot, [raw_file("S01_radial")])
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    used = []
    for _ in range(2):
        qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
        job = context.jobs.jobs[-1]
        used.append(job.request["cache"])
        qtbot.waitUntil(lambda job=job: job.finished, timeout=PATIENCE_MS)
        reconstruct.cache_box.setChecked(False)
    assert used == [True, False]
    assert not ReconstructPage(context).cache_box.isChecked()


def test_close_asks_while_reconstructing(
    window: MainWindow,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    context.jobs.submit(
        {"command": "reconstruct", "path": raw_file("slow"), "methods": ["gridded"], "out": tmp_path}
    )
    context.dialogs.confirmed = False  # type: ignore[attr-defined]
    window.close()
    assert window.isVisible()
    assert "1 reconstruction is not finished" in context.dialogs.asked[-1]  # type: ignore[attr-defined]


def test_errors_wait_while_somebody_reads(window: MainWindow, context: AppContext) -> None:
    """A failed job's sentence can name a method, so it is shown when the reader has left the page."""
    window.show_page("read")
    context.error.emit("S01: dl_natural failed.")
    assert not window.message_bar.isVisible()
    window.show_page("data")
    assert window.message_bar.isVisible()
    window.show_page("read")
    assert not window.message_bar.isVisible()
    window.show_page("data")
    window.message_bar.put_away.emit()
    window.show_page("measure")
    assert not window.message_bar.isVisible()


def test_scratch_folder_goes_with_the_window(context: AppContext) -> None:
    folder = context.scratch_folder
    (folder / "movie.h5").write_bytes(np.zeros(3).tobytes())
    context.close()
    assert not folder.exists()


def test_names_for_folders_and_readers() -> None:
    assert folder_name("Cardiac cine, spring / 2026") == "cardiac-cine-spring-2026"
    assert folder_name("  ..  ") == ""
    assert reader_names(" Ada, Ben,, Ada ") == ("Ada", "Ben")


def test_options_are_chosen_stored_and_sent(
    window: MainWindow,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
) -> None:
    (scan,) = opened(context, qtbot, [raw_file("S01_radial")])
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    assert reconstruct.options_button.text() == "Options…"
    qtbot.mouseClick(reconstruct.options_button, Qt.MouseButton.LeftButton)  # thought better of it
    assert reconstruct.options == {}
    chosen = {"settings": "fast", "correct_delays": False}
    context.dialogs.options = chosen  # type: ignore[attr-defined]
    qtbot.mouseClick(reconstruct.options_button, Qt.MouseButton.LeftButton)
    assert "Compressed sensing: Fast" in reconstruct.options_button.toolTip()
    assert reconstruct.options_button.text() == "Options (2 changed)…"
    qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
    (job,) = [job for job in context.jobs.jobs if job.command == "reconstruct"]
    assert job.request["options"] == chosen
    assert ReconstructPage(context).options == chosen
    context.settings.setValue("reconstruct/options", '{"settings": "other", "speed": 3}')
    assert ReconstructPage(context).options == {}
    context.settings.setValue("reconstruct/options", "no JSON")
    assert ReconstructPage(context).options == {}
    qtbot.waitUntil(lambda: scan.reconstruction is None, timeout=PATIENCE_MS)


def test_options_dialog_offers_what_the_worker_accepts(qtbot: QtBot) -> None:
    from recon_backend.options import ReconstructionOptions

    offered = {name: tuple(value for _, value in choices) for name, (_, choices) in CHOICES.items()}
    assert offered | {"correct_delays": (True, False)} == ReconstructionOptions.choices()
    parent = QWidget()
    qtbot.addWidget(parent)
    chosen: Options = {"settings": "published", "sensitivities": "espirit", "correct_delays": False}
    dialog = ReconstructionOptionsDialog(parent, chosen)
    assert dialog.answer() == chosen
    ReconstructionOptions.from_dict(dialog.answer())
    dialog.boxes["combination"].setCurrentIndex(1)
    assert dialog.answer()["combination"] == "adaptive"
    dialog.restore_defaults()
    assert dialog.answer() == {}


def test_a_model_is_chosen_where_several_fit(
    window: MainWindow,
    reconstruct: ReconstructPage,
    context: AppContext,
    qtbot: QtBot,
    raw_file: Callable[..., Path],
) -> None:
    """Offered for the network that has two, sent with the request, and its own caution shown."""
    scan, other = opened(context, qtbot, [raw_file("S01_radial"), raw_file("S02_spiral")])
    window.show_page("reconstruct")
    qtbot.waitUntil(lambda: bool(reconstruct.method_boxes), timeout=PATIENCE_MS)
    box = reconstruct.model_boxes["dl_natural"]
    assert [box.itemText(row) for row in range(box.count())] == ["radial-natural (default)", "mine"]
    assert box.isVisible() and not reconstruct.model_boxes["dl_cardiac"].isVisible()
    box.setCurrentIndex(1)
    assert box.toolTip() == "Registered by its owner."
    qtbot.mouseClick(reconstruct.start_button, Qt.MouseButton.LeftButton)
    (job,) = [job for job in context.jobs.jobs if job.command == "reconstruct"]
    assert job.request["options"] == {"models": ["mine"]}
    qtbot.waitUntil(lambda: scan.reconstruction is None, timeout=PATIENCE_MS)
    labels = {label.text() for label in reconstruct.findChildren(QLabel)}
    assert "Registered by its owner." in labels
    assert "Short training run of dl_natural. Not for clinical use." not in labels
    reconstruct.method_boxes["dl_natural"].setChecked(False)
    assert not box.isEnabled()
    reconstruct.scan_list.selectAll()  # two samplings: each has its default
    assert not box.isVisible() and box.count() == 0
    assert other.models == {}
