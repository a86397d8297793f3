"""The measuring page: what stands on the screen is what the studies modules and the closed forms give.

Three scans of movies with known answers, two arms. In scans 1 and 2, of one subject, everything is known in
closed form; scan 2 has pixels of half the size. In scan 3 tissue moves by known whole pixels.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot
from scipy.ndimage import gaussian_filter

from app.context import AppContext
from app.main_window import MainWindow
from app.pages.measure import MeasurePage
from app.widgets.agreement_view import REPEATED
from studies import blinding
from studies.drawings import Drawing, movie_to_draw_on
from studies.mask_files import read_mask
from studies.measurement import BACKGROUND_SNR_WARNING, ArmMeasurement, measure
from studies.repeatability import compare_sets, latest_set
from studies.roi_files import read_roi_file
from studies.shapes import Ellipse, Line, Rectangle, Shapes
from studies.state import MeasurementClip
from studies.study import Study
from studies.timed_shapes import TimedShapes
from studies.yt_files import position_time

ARMS = ("compressed_sensing", "dl_cardiac")
FRAMES, ROWS, COLUMNS = 8, 40, 48
SPACING_MM = (2.0, 1.5)
FRAME_TIME_S = 0.25
WINDOW_S = 2.0
"""All frames lie in it."""
LEVEL, MEAN_OF_AIR = 100.0, 5.0
RAMP_PX = 12
SHIFTS = (0, 1, 2, 3, 2, 1, 0, 1)

SHAPES = Shapes(Rectangle((9.5, 9.5), (8, 8)), Rectangle((38.5, 10), (8, 9)), Line((4, 29), (26, 29)))
"""64 pixels of signal, 8 × 9 of air (4 columns of either sign), a line along the ramp."""
MOVING = Shapes(Ellipse((20, 24), (7, 6)), Rectangle((42, 8), (8, 8)), Line((12, 24), (30, 24)))


def _noise(arm: int) -> tuple[float, float]:
    """Amplitude of the flicker of the tissue and of the pattern of the air."""
    return 1.0 + arm, 0.5 * (1 + arm)


def _known_movie(arm: int) -> np.ndarray:
    """Tissue flickers pixel by pixel, air alternates column by column, an edge is a ramp."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    flicker, pattern = _noise(arm)
    frames = np.empty((FRAMES, ROWS, COLUMNS))
    for frame in range(FRAMES):
        image = LEVEL + flicker * (-1.0) ** (frame + x + y)
        image[20:] = 10 + 80 * np.clip((x[20:] - 8) / RAMP_PX, 0, 1)
        image[:20, 28:] = MEAN_OF_AIR + pattern * (-1.0) ** x[:20, 28:]
        frames[frame] = image
    return frames.astype(np.float32)


def _moving_movie(arm: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    texture = gaussian_filter(generator.normal(size=(ROWS, COLUMNS)), 2, mode="wrap")
    texture = 10 + 2 * texture / texture.std()
    texture[:, 36:] = 0
    movie = np.stack([np.roll(texture, shift, axis=1) for shift in SHIFTS])
    return np.asarray(movie + np.abs(generator.normal(0, 0.1 * (1 + arm), movie.shape)), np.float32)


@pytest.fixture(scope="module")
def known_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A locked study of the three scans; sealing is made quick."""
    folder = tmp_path_factory.mktemp("known")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blinding, "SCRYPT_COST", 2)
        patch.setattr(os, "fsync", lambda descriptor: None)
        study = Study.create(folder / "study", name="Known answers", arms=ARMS, measurement_window_s=WINDOW_S)
        for number, subject in enumerate(("P1", "P1", "P2")):
            scan = study.import_scan(
                folder / f"{number}.h5",
                raw_sha256=f"{number:064x}",
                subject=subject,
                plane="SAX",
                sampling="radial",
            )
            paths = {}
            for place, arm in enumerate(ARMS):
                movie = _moving_movie(place) if number == 2 else _known_movie(place)
                spacing = SPACING_MM
                if number == 1:
                    movie = movie.repeat(2, axis=1).repeat(2, axis=2)
                    spacing = (SPACING_MM[0] / 2, SPACING_MM[1] / 2)
                paths[arm] = folder / f"{number}_{arm}.h5"
                with h5py.File(paths[arm], "w") as file:
                    file["movie"] = movie
                    file.attrs["format"] = "blindcine-movie-1"
                    file.attrs["pixel_spacing_mm"] = spacing
                    file.attrs["frame_times_s"] = FRAME_TIME_S * np.arange(FRAMES)
                    file.attrs["provenance"] = "{}"
            study.attach_movies(scan, paths)
        study.lock(["Ann"], "open sesame")
    yield folder / "study"


@pytest.fixture
def study_folder(known_study: Path, tmp_path: Path) -> Path:
    """The context of these tests opens a copy of this study."""
    return Path(shutil.copytree(known_study, tmp_path / "study"))


class Observer:
    """A person at the page."""

    def __init__(self, qtbot: QtBot, context: AppContext) -> None:
        self.qtbot = qtbot
        self.context = context
        self.page = MeasurePage(context)
        qtbot.addWidget(self.page)
        self.page.resize(1200, 760)
        self.page.show()
        self.page.on_shown()
        self.page.setFocus()
        self.wait_for_clip()

    @property
    def study(self) -> Study:
        assert self.context.study is not None
        return self.context.study

    @property
    def drawing(self) -> Drawing:
        return self.page.board.drawing

    def clip(self, index: int = 0) -> MeasurementClip:
        return self.study.load_movies(self.study.clips[index].clip_id)

    def wait(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=60_000)

    def wait_for_clip(self, index: int = 0) -> None:
        page = self.page
        self.wait(lambda: page.scans.currentRow() == index and page.panel.frames is not None)
        page.clock.pause()

    def wait_for_results(self) -> list[ArmMeasurement]:
        self.wait(lambda: self.page.results is not None and not self.context.tasks.busy)
        assert self.page.results is not None
        return self.page.results

    def go(self, index: int) -> None:
        self.page.select_clip(index)
        self.wait_for_clip(index)

    def draw(self, shapes: Shapes = SHAPES) -> list[ArmMeasurement]:
        for role in ("signal", "background", "line"):
            self.page.board.put(role, getattr(shapes, role))  # type: ignore[arg-type]
        return self.wait_for_results()

    def name(self, name: str) -> None:
        self.page.observer.setText(name)
        self.page.observer.editingFinished.emit()

    def press(self, *keys: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        for key in keys:
            self.qtbot.keyClick(self.page, key, modifier)

    def type(self, text: str) -> None:
        self.qtbot.keyClicks(self.page, text)

    def save(self, count: int) -> None:
        self.press(Qt.Key.Key_Return)
        self.wait(lambda: len(self.study.measurements) == count)
        self.wait(lambda: not self.context.study_busy and not self.context.tasks.busy)

    def column(self, letter: str) -> dict[str, str]:
        """What the table shows for one panel."""
        texts = self.page.side.numbers.texts()
        place = texts[""].index(letter)
        return {name: cells[place] for name, cells in texts.items() if name}


@pytest.fixture
def observer(qtbot: QtBot, context: AppContext) -> Observer:
    return Observer(qtbot, context)


# Numbers


def _closed_form(arm: int) -> dict[str, str]:
    flicker, pattern = _noise(arm)
    sd_of_air = pattern * math.sqrt(72 / 71)
    decibel = lambda ratio: 20 * math.log10(ratio)  # noqa: E731
    # A pixel alternates around its mean over 8 frames; differences of two frames are ± 2 flicker.
    temporal = decibel(LEVEL / (flicker * math.sqrt(FRAMES / (FRAMES - 1))))
    difference = decibel(LEVEL / (2 * flicker * math.sqrt(64 / 63) / math.sqrt(2)))
    return {
        "SNR dB": f"{decibel(LEVEL / sd_of_air):.1f} ± 0.0",
        "Sharpness 1/mm": f"{1 / (RAMP_PX * SPACING_MM[1]):.3f} ± 0.000",
        "Temporal SNR dB": f"{temporal:.1f}",
        "Difference SNR dB": f"{difference:.1f} ± 0.0",
        "10–90 % mm": f"{0.8 * RAMP_PX * SPACING_MM[1]:.2f} ± 0.00",
    }


def test_the_screen_shows_the_closed_form(observer: Observer) -> None:
    observer.draw()
    shown = [observer.column(letter) for letter in "AB"]
    known = [_closed_form(arm) for arm in range(2)]
    for column in shown:
        part = {name: column[name] for name in known[0]}
        assert part in known
    assert shown[0] != shown[1]
    sizes = observer.page.side.numbers.sizes.replace("\u00a0", " ")
    assert "Signal 64 px · 192 mm²" in sizes
    assert "Air 72 px · 216 mm²" in sizes
    assert "Edge 22.0 px · 33.0 mm" in sizes


def test_numbers_and_curves_are_those_of_the_measurement_module(observer: Observer) -> None:
    found = observer.draw()
    clip = observer.clip()
    expected = measure(clip.movies, SHAPES, clip.pixel_spacing_mm, clip.frame_times_s, window_s=WINDOW_S)
    side = observer.page.side
    for letter, result, wanted in zip("AB", found, expected, strict=True):
        assert result.to_dict() == wanted.to_dict()
        column = observer.column(letter)
        assert wanted.snr and wanted.sharpness and wanted.rise and wanted.sigma and wanted.residual
        assert wanted.difference_snr and wanted.temporal_snr_db
        assert column["SNR dB"] == f"{wanted.snr.mean:.1f} ± {wanted.snr.sd:.1f}"
        assert column["Sharpness 1/mm"] == f"{wanted.sharpness.mean:.3f} ± {wanted.sharpness.sd:.3f}"
        assert column["Temporal SNR dB"] == f"{wanted.temporal_snr_db:.1f}"
        assert column["Difference SNR dB"] == (
            f"{wanted.difference_snr.mean:.1f} ± {wanted.difference_snr.sd:.1f}"
        )
        assert column["10–90 % mm"] == f"{wanted.rise.mean:.2f} ± {wanted.rise.sd:.2f}"
        assert column["Fitted σ mm"] == f"{wanted.sigma.mean:.2f} ± {wanted.sigma.sd:.2f}"
        assert column["Fit residual %"] == f"{100 * wanted.residual.mean:.1f}"
    assert [curve.label for curve in side.snr_plot.curves] == ["A", "B"]
    np.testing.assert_array_equal(side.snr_plot.curves[1].values, expected[1].snr_db)
    np.testing.assert_array_equal(side.sharpness_plot.curves[0].values, expected[0].edge_sharpness_per_mm)


def test_movies_and_their_average_are_shown_in_the_opaque_order(observer: Observer) -> None:
    clip = observer.clip()
    for panel, movie in zip(observer.page.arm_panels, clip.movies, strict=True):
        np.testing.assert_array_equal(panel.frames, movie)
    np.testing.assert_allclose(observer.page.panel.frames, np.mean(clip.movies, axis=0), rtol=1e-6)


def test_one_movie_by_lot_is_drawn_on_and_that_is_stored(observer: Observer) -> None:
    observer.name("Ann")
    observer.press(Qt.Key.Key_D)
    clip = observer.clip()
    place = movie_to_draw_on("Ann", clip.clip_id, clip.movie_ids)
    np.testing.assert_array_equal(observer.page.panel.frames, clip.movies[place])
    assert observer.page.panel.label == f"{'AB'[place]}, by lot"
    observer.draw()
    observer.save(1)
    assert observer.study.measurements[0].shapes["drawn_on"] == clip.movie_ids[place]


# Keys


def test_everything_is_drawn_and_changed_by_keys_alone(observer: Observer) -> None:
    observer.type("sen")
    assert observer.page.board.selected == "signal"
    observer.press(Qt.Key.Key_Left, Qt.Key.Key_Up)
    observer.press(Qt.Key.Key_Left, modifier=Qt.KeyboardModifier.ShiftModifier)
    observer.press(Qt.Key.Key_Right, Qt.Key.Key_Down, modifier=Qt.KeyboardModifier.ControlModifier)
    middle = x, y = ((COLUMNS - 1) / 2, (ROWS - 1) / 2)
    assert observer.page.board.shape("signal") == Ellipse((x - 11, y - 1), (6.5, 5.5))
    observer.type("arn")
    assert observer.page.board.shape("background") == Rectangle(middle, (12.0, 12.0))
    observer.press(Qt.Key.Key_Right, modifier=Qt.KeyboardModifier.ShiftModifier)
    observer.type("lnw")
    assert observer.page.board.shape("line") == Line((x - 6, y), (x + 6, y), 3)
    observer.type("vv")
    observer.press(Qt.Key.Key_Right)
    assert observer.page.board.shape("line") == Line((x - 6, y), (x + 7, y), 3)
    before = observer.drawing
    observer.press(Qt.Key.Key_Z, modifier=Qt.KeyboardModifier.ControlModifier)
    assert observer.drawing != before
    observer.press(
        Qt.Key.Key_Z, modifier=Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    )
    assert observer.drawing == before


def test_arrows_without_a_selection_step_through_the_frames(observer: Observer) -> None:
    observer.press(Qt.Key.Key_Escape)
    observer.press(Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left)
    assert observer.page.clock.frame == 1


def test_frames_that_count_are_chosen_by_key_or_typed(observer: Observer) -> None:
    observer.draw()
    observer.page.clock.seek(2)
    observer.type("[")
    observer.page.clock.seek(5)
    observer.type("]")
    assert observer.drawing.frame_range == (2, 6)
    results = observer.wait_for_results()
    assert results[0].first_frame == 2 and results[0].snr is not None and results[0].snr.frames == 4
    assert observer.page.side.frames.text() == "3-6"
    observer.page.side.frames.setText("2–4")
    observer.page.side.frames.editingFinished.emit()
    assert observer.drawing.frame_range == (1, 4)
    observer.page.side.frames.setText("5-99")
    observer.page.side.frames.editingFinished.emit()
    assert "1 to 8" in observer.page.side.words and observer.drawing.frame_range == (1, 4)
    observer.page.setFocus()
    observer.type("\\")
    assert observer.drawing.frame_range is None


def test_the_mask_of_pixels_is_shown_by_key(observer: Observer) -> None:
    observer.draw()
    observer.type("m")
    assert observer.page.view_state.interpolation == "nearest"
    observer.type("m")
    assert observer.page.view_state.interpolation == "smooth"


# Over time


def test_a_changed_frame_is_measured_with_its_own_mask(observer: Observer) -> None:
    observer.draw()
    observer.page.clock.seek(3)
    observer.press(Qt.Key.Key_A, Qt.Key.Key_Escape)
    observer.page.board.select("background")
    observer.type("kk")
    assert observer.page.board.scope == "frame"
    observer.press(Qt.Key.Key_Left, modifier=Qt.KeyboardModifier.ControlModifier)
    results = observer.wait_for_results()
    clip = observer.clip()
    frame_3 = Rectangle((38.5, 10), (7, 9))
    for result, movie in zip(results, clip.movies, strict=True):
        assert result.snr_db is not None
        for frame, region in ((2, SHAPES.background), (3, frame_3)):
            assert isinstance(region, Rectangle) and SHAPES.signal is not None
            air = movie[frame][region.mask((ROWS, COLUMNS))].astype(np.float64)
            signal = movie[frame][SHAPES.signal.mask((ROWS, COLUMNS))].astype(np.float64)
            wanted = 20 * math.log10(signal.mean() / air.std(ddof=1))
            assert result.snr_db[frame] == pytest.approx(wanted, rel=1e-12)


def test_a_region_follows_the_tissue_and_comes_back_when_the_scan_is_opened_again(observer: Observer) -> None:
    observer.name("Ann")
    observer.go(2)
    observer.draw(MOVING)
    observer.page.clock.seek(3)
    observer.page.board.put("signal", MOVING.signal.moved(3, 0))  # type: ignore[union-attr]
    observer.type("f")
    observer.wait(lambda: "signal" in observer.drawing.shapes.motions)
    motion = observer.drawing.shapes.motions["signal"]
    assert motion.dx == tuple(shift - 3 for shift in SHIFTS) and set(motion.dy) == {0}
    results = observer.wait_for_results()
    clip = observer.clip(2)
    shapes = observer.drawing.shapes
    wanted = measure(clip.movies, shapes, clip.pixel_spacing_mm, clip.frame_times_s, window_s=WINDOW_S)
    assert [result.to_dict() for result in results] == [result.to_dict() for result in wanted]
    assert "followed from frame 4 over up to 3.0 pixels" in observer.page.side.words
    before = observer.drawing
    observer.save(1)
    (record,) = observer.study.measurements
    assert Drawing.from_dict(record.shapes) == before
    observer.go(2)
    assert observer.drawing == before
    observer.wait_for_results()
    assert observer.drawing == before and "not saved" not in observer.page.scans.item(2).text()


def test_a_followed_region_that_is_moved_is_followed_again(observer: Observer) -> None:
    observer.go(2)
    observer.draw(MOVING)
    observer.type("f")
    observer.wait(lambda: "signal" in observer.drawing.shapes.motions)
    observer.page.board.select("signal")
    observer.press(Qt.Key.Key_Down)
    observer.wait_for_results()
    moved = observer.drawing.shapes
    assert moved.drawing.signal == MOVING.signal.moved(0, 1)  # type: ignore[union-attr]
    assert moved.motions["signal"].dx == SHIFTS
    observer.type("f")
    observer.wait(lambda: "line" in observer.drawing.shapes.motions)
    observer.wait_for_results()
    observer.type("f")
    assert observer.drawing.shapes.stays
    observer.press(Qt.Key.Key_Z, modifier=Qt.KeyboardModifier.ControlModifier)
    assert set(observer.drawing.shapes.motions) == {"signal", "line"}


def test_a_region_that_cannot_be_followed_stays_and_the_reason_is_told(observer: Observer) -> None:
    """Tissue that flickers is not found again, and the saved drawing has no motion."""
    observer.draw()
    observer.type("f")
    observer.wait(lambda: "is not followed" in observer.page.side.words)
    assert observer.drawing.shapes == TimedShapes(SHAPES)
    assert observer.page.tools.following.currentIndex() == 0
    assert observer.page.results is not None


# Saving


def test_a_measurement_is_saved_with_shapes_and_values_and_the_next_scan_follows(observer: Observer) -> None:
    observer.name("Ann")
    results = observer.draw()
    assert "not saved" in observer.page.scans.item(0).text()
    observer.save(1)
    (record,) = observer.study.measurements
    clip = observer.study.clips[0]
    assert (record.observer, record.clip_id) == ("Ann", clip.clip_id)
    assert Shapes.from_dict(record.shapes) == SHAPES and record.shapes["drawn_on"] == "average"
    for movie_id, result in zip(clip.movie_ids, results, strict=True):
        assert record.values[movie_id] == json.loads(json.dumps(result.to_dict()))
    observer.wait_for_clip(1)
    assert observer.drawing.shapes.drawing == Shapes()
    assert observer.page.scans.item(0).text().endswith("\nmeasured")
    assert observer.page.scans.item(1).text().endswith("not measured")


def test_enter_while_it_is_being_measured_saves_what_was_drawn(observer: Observer) -> None:
    observer.name("Ann")
    for role in ("signal", "background", "line"):
        observer.page.board.put(role, getattr(SHAPES, role))  # type: ignore[arg-type]
    assert observer.page.results is None
    observer.save(1)
    assert Shapes.from_dict(observer.study.measurements[0].shapes) == SHAPES


def test_saving_needs_a_name_and_all_three_shapes(observer: Observer) -> None:
    observer.draw()
    observer.press(Qt.Key.Key_Return)
    assert "Enter the observer's name" in observer.page.side.words
    observer.name("Ann")
    observer.page.setFocus()
    observer.page.board.select("line")
    observer.press(Qt.Key.Key_Delete, Qt.Key.Key_Return)
    assert "Still to be drawn: edge." in observer.page.side.words
    assert observer.study.measurements == []


def test_what_is_drawn_and_not_saved_is_kept_while_other_scans_are_looked_at(observer: Observer) -> None:
    observer.draw()
    observer.press(Qt.Key.Key_PageDown)
    observer.wait_for_clip(1)
    assert observer.drawing.shapes.drawing == Shapes()
    assert "not saved" in observer.page.scans.item(0).text()
    observer.press(Qt.Key.Key_PageUp)
    observer.wait_for_clip(0)
    assert observer.drawing.shapes.drawing == SHAPES


def test_observers_do_not_see_each_others_shapes(observer: Observer) -> None:
    observer.name("Ann")
    observer.draw()
    observer.save(1)
    observer.name("Ben")
    observer.go(0)
    assert observer.drawing.shapes.drawing == Shapes()
    observer.name("Ann")
    assert observer.drawing.shapes.drawing == SHAPES


def test_unsaved_shapes_belong_to_their_observer(observer: Observer) -> None:
    """What is drawn before there is a name goes to the first who gives one, and to nobody else."""
    observer.name("")
    assert observer.page.unsaved == ""
    observer.draw()
    observer.name("Ann")
    assert observer.drawing.shapes.drawing == SHAPES
    observer.name("Ben")
    assert observer.drawing.shapes.drawing == Shapes()
    observer.draw(MOVING)
    assert observer.page.unsaved == "What is drawn on 2 scans"
    observer.name("Ann")
    assert observer.drawing.shapes.drawing == SHAPES
    observer.save(1)
    assert observer.page.unsaved == "What is drawn on 1 scan"
    observer.go(0)
    observer.name("Ben")
    assert observer.drawing.shapes.drawing == MOVING
    assert "not saved" in observer.page.scans.item(0).text()


def test_the_window_asks_before_shapes_are_lost(
    qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def confirm(_parent: QWidget, _title: str, text: str, _action: str) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr(context.dialogs, "confirm", confirm)
    window = MainWindow(context)
    qtbot.addWidget(window)
    page = window.pages["measure"]
    assert isinstance(page, MeasurePage)
    window.show_page("measure")
    qtbot.waitUntil(lambda: page.panel.frames is not None, timeout=60_000)
    page.board.put("signal", SHAPES.signal)  # type: ignore[arg-type]
    assert not window.close()
    assert asked == ["What is drawn on 1 scan is not saved and would be lost."]
    assert window.close()


def test_enter_in_the_name_field_does_not_save(observer: Observer) -> None:
    observer.draw()
    observer.qtbot.keyClicks(observer.page.observer, "Ann")
    observer.qtbot.keyClick(observer.page.observer, Qt.Key.Key_Return)
    assert not observer.context.study_busy
    assert observer.study.measurements == []


def test_the_newest_shapes_win(observer: Observer) -> None:
    """While one measurement runs, later drags replace each other; the last one is measured."""
    observer.draw()
    for step in range(20):
        observer.page.board.put("signal", Ellipse((8.0 + 0.2 * step, 10.0), (4.0, 4.0)))
    results = observer.wait_for_results()
    mask = Ellipse((8.0 + 0.2 * 19, 10.0), (4.0, 4.0)).mask((ROWS, COLUMNS))
    assert results[0].signal_pixels == int(mask.sum())


# Copies


def test_shapes_of_the_subjects_last_scan_come_in_mm(observer: Observer) -> None:
    """On pixels of half the size the same tissue is measured: four times the pixels, the same mm²."""
    observer.name("Ann")
    first = observer.draw()
    observer.save(1)
    observer.wait_for_clip(1)
    observer.type("c")
    results = observer.wait_for_results()
    line = observer.drawing.shapes.drawing.line
    assert line is not None and line.length_mm((1.0, 0.75)) == pytest.approx(33.0)
    assert results[0].signal_area_mm2 == pytest.approx(first[0].signal_area_mm2, rel=0.3)
    signal = observer.drawing.shapes.drawing.signal
    assert isinstance(signal, Rectangle) and signal.size_xy == (16.0, 16.0)
    # Pixel (24, 20) of the first scan and (48, 40) of the second are the middle.
    assert signal.centre_xy == pytest.approx((48 + 2 * (9.5 - 24), 40 + 2 * (9.5 - 20)))


def test_a_scan_of_another_subject_gives_nothing(observer: Observer) -> None:
    observer.draw()
    observer.go(2)
    observer.type("c")
    assert "No other scan of P2" in observer.page.side.words
    assert observer.drawing.shapes.drawing == Shapes()


def test_copies_for_the_subject_wait_to_be_looked_at(observer: Observer) -> None:
    observer.draw()
    control_shift = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    observer.press(Qt.Key.Key_C, modifier=control_shift)
    assert "Copied to scan 2" in observer.page.side.words
    texts = [observer.page.scans.item(index).text() for index in range(3)]
    assert "not saved" in texts[1] and "not measured" in texts[2]
    observer.go(1)
    signal = observer.drawing.shapes.drawing.signal
    assert isinstance(signal, Rectangle) and signal.size_xy == (16.0, 16.0)


# Warnings


def test_warnings_stand_there_at_once_with_the_panels_they_are_about(observer: Observer) -> None:
    """Before the line is drawn: few pixels in both, blanked air told for each movie that has it."""
    board = observer.page.board
    board.put("signal", Rectangle((9.5, 9.5), (4, 4)))
    observer.wait(lambda: "The signal region holds only 16 pixels" in observer.page.side.words)
    observer.go(2)
    board.put("signal", MOVING.signal)  # type: ignore[arg-type]
    board.put("background", Rectangle((38.5, 10), (60, 4)))
    observer.wait(lambda: "leaves the image" in observer.page.side.words)
    assert observer.page.results is None


def test_a_region_without_pixels_is_told_in_words(observer: Observer) -> None:
    observer.page.board.put("background", SHAPES.background)  # type: ignore[arg-type]
    observer.page.board.put("signal", Ellipse((14.5, 12.5), (0.3, 0.3)))
    observer.wait(lambda: "enlarge it" in observer.page.side.words)
    assert observer.page.results is None
    observer.press(Qt.Key.Key_Return)
    assert observer.study.measurements == []


def test_a_warning_of_one_movie_names_its_panel(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = observer.clip()
    movies = clip.movies.copy()
    movies[1, :, 2:19, 34:44] = 1.0
    blanked = MeasurementClip(clip.clip_id, movies, clip.movie_ids, clip.frame_times_s, clip.pixel_spacing_mm)
    monkeypatch.setattr(type(observer.study), "load_movies", lambda _self, _clip_id: blanked)
    observer.go(1)
    observer.go(0)
    observer.draw()
    assert "\nB: The background is constant in 8 frame(s)" in f"\n{observer.page.side.words}"


# Files and profiles


def test_drawing_masks_and_profiles_go_to_files_and_back(
    observer: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogs = observer.context.dialogs
    monkeypatch.setattr(dialogs, "save_file", lambda _p, _t, _k, start: tmp_path / start)
    monkeypatch.setattr(dialogs, "open_file", lambda *_: next(tmp_path.glob("*.json")))
    monkeypatch.setattr(dialogs, "choose_folder", lambda *_: tmp_path)
    observer.name("Ann")
    observer.draw()
    observer.page.board.set_frame_range((1, 6))
    control = Qt.KeyboardModifier.ControlModifier
    observer.press(Qt.Key.Key_S, modifier=control | Qt.KeyboardModifier.ShiftModifier)
    observer.press(Qt.Key.Key_M, modifier=control)
    observer.press(Qt.Key.Key_E, modifier=control)
    observer.wait(lambda: not observer.context.tasks.busy)
    clip = observer.clip()
    roi = read_roi_file(tmp_path / f"{clip.clip_id}.json")
    assert roi.shapes == TimedShapes(SHAPES) and roi.frame_range == (1, 6) and roi.author == "Ann"
    mask = read_mask(tmp_path / f"{clip.clip_id}.nrrd")
    assert SHAPES.signal is not None and SHAPES.background is not None
    for found, region in ((mask.signal, SHAPES.signal), (mask.background, SHAPES.background)):
        np.testing.assert_array_equal(found, [region.mask((ROWS, COLUMNS))] * FRAMES)
    for movie_id, movie in zip(clip.movie_ids, clip.movies, strict=True):
        stem = f"{clip.clip_id}_{movie_id}_yt"
        rows = list(csv.reader((tmp_path / f"{stem}.csv").read_text().splitlines()))
        assert [float(time) for time in rows[0][1:]] == pytest.approx(clip.frame_times_s)
        assert float(rows[-1][0]) == pytest.approx(33.0)
        assert float(rows[1][1]) == pytest.approx(movie[0, 29, 4])
        assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    observer.page.board.replace(Drawing(TimedShapes(Shapes())))
    observer.press(Qt.Key.Key_O, modifier=control)
    observer.wait(lambda: observer.drawing == Drawing(TimedShapes(SHAPES), (1, 6)))


def test_a_drawing_of_other_movies_is_used_only_after_a_question(
    observer: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogs = observer.context.dialogs
    asked: list[str] = []
    monkeypatch.setattr(dialogs, "save_file", lambda _p, _t, _k, _start: tmp_path / "drawing")
    monkeypatch.setattr(dialogs, "open_file", lambda *_: tmp_path / "drawing.json")

    def confirm(_parent: QWidget, _title: str, text: str, _action: str) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr(dialogs, "confirm", confirm)
    observer.draw()
    observer.page.save_drawing()
    observer.wait(lambda: (tmp_path / "drawing.json").exists())
    observer.go(1)
    observer.page.load_drawing()
    observer.wait(lambda: "but the movies have" in observer.page.side.words)
    observer.go(2)
    observer.page.load_drawing()
    observer.wait(lambda: len(asked) == 1 and not observer.context.tasks.busy)
    assert observer.drawing.shapes.drawing == Shapes()
    observer.page.load_drawing()
    observer.wait(lambda: observer.drawing.shapes.drawing == SHAPES)
    assert "other movies" in asked[0]


def test_profiles_over_time_have_physical_axes(observer: Observer) -> None:
    observer.draw()
    observer.type("y")
    view = observer.page.side.profiles
    observer.wait(lambda: len(view.images) == 2 and not observer.context.tasks.busy)
    clip = observer.clip()
    assert SHAPES.line is not None
    for image, movie in zip(view.images, clip.movies, strict=True):
        wanted = position_time(movie, SHAPES.line, clip.pixel_spacing_mm, clip.frame_times_s)
        np.testing.assert_array_equal(image.values, wanted.values)
        assert image.position_mm[-1] == pytest.approx(33.0) and image.time_s[-1] == pytest.approx(1.75)
    # A line of its own replaces the edge line, and is no part of what is measured.
    measured = observer.page.results
    own = Line((2, 25), (44, 35))
    observer.type("i")
    observer.page.board.put("profile", own)
    observer.wait(lambda: view.images[0].position_mm[-1] > 60)
    assert view.images[0].position_mm[-1] == pytest.approx(math.hypot(42 * 1.5, 10 * 2.0))
    assert observer.page.results is measured
    place = view.to_widget(0, 1.25, 10.0).toPoint()
    observer.qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(place.x(), place.y()))
    assert observer.page.clock.frame == 5


def test_a_click_in_a_curve_goes_to_its_frame(observer: Observer) -> None:
    observer.draw()
    plot = observer.page.side.snr_plot
    place = plot.to_widget(0.75, plot.value_range()[0]).toPoint()
    observer.qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=place)
    assert observer.page.clock.frame == 3 and observer.page.panel.frame == 3


# Agreement


def test_agreement_is_shown_only_to_who_has_measured_everything(observer: Observer) -> None:
    for observer_name, shift in (("Ann", 0.0), ("Ben", 1.0)):
        for index, shapes in enumerate((SHAPES, None, MOVING)):
            clip = observer.clip(index)
            if shapes is None or (observer_name == "Ben" and index == 1):
                continue
            drawn = Shapes(shapes.signal.moved(0, shift), shapes.background, shapes.line)  # type: ignore[union-attr]
            results = measure(clip.movies, drawn, clip.pixel_spacing_mm, clip.frame_times_s)
            values = {
                movie_id: result.to_dict() for movie_id, result in zip(clip.movie_ids, results, strict=True)
            }
            observer.study.save_measurement(
                observer_name, clip.clip_id, Drawing(TimedShapes(drawn)).to_dict(), values
            )
    observer.name("Ann")
    observer.page.on_shown()
    observer.wait(lambda: not observer.context.tasks.busy)
    view = observer.page.agreement
    observer.type("g")
    assert view.first.currentText() == "Ann" and view.second.currentText() == "Ben"
    assert view.table.rowCount() == 0 and "2 of 3 so far" in view._status.text()
    observer.qtbot.keyClick(view.table, Qt.Key.Key_Escape)
    observer.go(1)
    observer.type("c")
    observer.wait_for_results()
    observer.save(5)
    observer.type("g")
    observer.wait(lambda: view.table.rowCount() > 0)
    shapes = {clip.clip_id: observer.clip(i).movies.shape[1:] for i, clip in enumerate(observer.study.clips)}
    wanted = compare_sets(
        ("Ann", "Ben"), latest_set(observer.study, "Ann"), latest_set(observer.study, "Ben"), None, shapes
    )
    row = wanted.endpoints[0]
    assert view.table.item(0, 0).text() == "SNR, dB" and view.table.item(0, 1).text() == "2"  # type: ignore[union-attr]
    icc = f"{row.agreement.value:.3f}".replace("-", "−")
    assert view.table.item(0, 2).text().startswith(icc)  # type: ignore[union-attr]
    assert view.plot.points() == [((a + b) / 2, a - b) for a, b in row.pairs]
    dice = sum(wanted.overlap["signal"]) / 2
    assert f"signal masks: mean {dice:.3f}" in view._overlap.text() and 0.8 < dice < 1
    view.second.setCurrentText(REPEATED)
    view.ask()
    observer.wait(lambda: "no clip twice" in view._status.text())


# Blinding


def test_a_reader_does_not_measure(qtbot: QtBot, context: AppContext, study_folder: Path) -> None:
    context.set_study(Study.open(study_folder, role="reader", person="Ann"))
    page = MeasurePage(context)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitUntil(
        lambda: any("open to read" in label.text() for label in page.findChildren(QLabel)), timeout=60_000
    )
    assert page.scans.count() == 0


def test_no_text_of_the_page_tells_a_method(
    observer: Observer, all_texts: Callable[[QWidget], list[str]], forbidden_words: tuple[str, ...]
) -> None:
    observer.name("Ann")
    observer.draw()
    seen: list[Any] = all_texts(observer.page)
    assert any("Save and next" in text for text in seen)
    # The caveat about background SNR speaks of families of methods, on every clip in the same words.
    caveat = " ".join(BACKGROUND_SNR_WARNING.split())
    for text in (" ".join(each.split()) for each in seen):
        if text == caveat:
            continue
        assert not any(word in text.lower() for word in forbidden_words), text
