"""The measuring page: the numbers of studies.measurement, stored shapes, independent observers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.pages.measure import MeasurePage
from studies.measurement import BACKGROUND_SNR_WARNING, measure, measurement_values
from studies.shapes import Ellipse, Line, Rectangle, Shapes
from studies.study import Study
from studies.timed_shapes import Edit, TimedShapes

SHAPES = Shapes(
    Ellipse((14.0, 12.0), (4.0, 4.0)), Rectangle((28.0, 12.0), (5.0, 14.0)), Line((14.0, 12.0), (26.0, 12.0))
)


class Observer:
    """A person at the page."""

    def __init__(self, qtbot: QtBot, context: AppContext) -> None:
        self.qtbot = qtbot
        self.context = context
        self.page = MeasurePage(context)
        qtbot.addWidget(self.page)
        self.page.resize(1100, 700)
        self.page.show()
        self.page.on_shown()
        self.page.setFocus()
        self.wait_for_clip()

    @property
    def study(self) -> Study:
        assert self.context.study is not None
        return self.context.study

    def wait_for_clip(self) -> None:
        self.qtbot.waitUntil(lambda: self.page.panel.frames is not None)

    def draw(self, shapes: Shapes = SHAPES) -> None:
        for role in ("signal", "background", "line"):
            self.page.board.put(role, getattr(shapes, role))  # type: ignore[arg-type]
        self.qtbot.waitUntil(lambda: self.page.results is not None and not self.context.tasks.busy)

    def name(self, name: str) -> None:
        self.page.observer.setText(name)
        self.page.observer.editingFinished.emit()

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.page, key, modifier)

    def save(self, count: int) -> None:
        self.press(Qt.Key.Key_Return)
        self.qtbot.waitUntil(lambda: len(self.study.measurements) == count)
        self.qtbot.waitUntil(lambda: not self.context.study_busy)


@pytest.fixture
def observer(qtbot: QtBot, context: AppContext) -> Observer:
    return Observer(qtbot, context)


def test_numbers_are_those_of_the_measurement_module(observer: Observer) -> None:
    observer.draw()
    clip = observer.study.load_movies(observer.study.clips[0].clip_id)
    expected = measure(
        clip.movies,
        SHAPES,
        clip.pixel_spacing_mm,
        clip.frame_times_s,
        window_s=observer.study.protocol.measurement_window_s,
    )
    assert observer.page.results is not None
    for found, wanted in zip(observer.page.results, expected, strict=True):
        np.testing.assert_array_equal(found.snr_db, wanted.snr_db)
        np.testing.assert_array_equal(found.edge_sharpness_per_mm, wanted.edge_sharpness_per_mm)
    rows = observer.page.numbers.texts()
    assert [row[0] for row in rows] == ["A", "B", "C"]
    for row, wanted in zip(rows, expected, strict=True):
        assert wanted.snr is not None and wanted.sharpness is not None
        assert row[1] == f"{wanted.snr.mean:.1f} ± {wanted.snr.sd:.1f}"
        assert row[2] == f"{wanted.sharpness.mean:.3f} ± {wanted.sharpness.sd:.3f}"
    # Counted by hand: pixel centres within 4 pixels of the centre, and 5 × 14 sides around (28, 12).
    assert "Signal 49 px" in observer.page.numbers.sizes
    assert "Air 75 px" in observer.page.numbers.sizes
    assert "Line 18.0 mm" in observer.page.numbers.sizes
    curves = observer.page.snr_plot.curves
    assert [curve.label for curve in curves] == ["A", "B", "C"]
    np.testing.assert_array_equal(curves[1].values, expected[1].snr_db)


def test_movies_and_their_average_are_shown_in_the_opaque_order(observer: Observer) -> None:
    clip = observer.study.load_movies(observer.study.clips[0].clip_id)
    for panel, movie in zip(observer.page.arm_panels, clip.movies, strict=True):
        np.testing.assert_array_equal(panel.frames, movie)
    np.testing.assert_allclose(observer.page.panel.frames, np.mean(clip.movies, axis=0), rtol=1e-6)


def test_arrow_keys_move_the_selected_shape_and_the_numbers_follow(observer: Observer) -> None:
    observer.draw()
    before = observer.page.results
    observer.page.board.select("background")
    observer.press(Qt.Key.Key_Left)
    assert observer.page.board.shapes.background == Rectangle((27.0, 12.0), (5.0, 14.0))
    observer.qtbot.waitUntil(
        lambda: observer.page.results is not None and observer.page.results is not before
    )
    assert before is not None and observer.page.results is not None
    assert not np.array_equal(observer.page.results[0].snr_db, before[0].snr_db)
    observer.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert observer.page.board.shapes == SHAPES


def test_a_measurement_is_saved_with_shapes_and_values_and_the_next_clip_follows(observer: Observer) -> None:
    observer.name("Physicist")
    observer.draw()
    results = observer.page.results
    observer.save(1)
    (record,) = observer.study.measurements
    clip = observer.study.clips[0]
    assert (record.observer, record.clip_id) == ("Physicist", clip.clip_id)
    assert Shapes.from_dict(record.shapes) == SHAPES
    assert set(record.values) == set(clip.movie_ids)
    assert results is not None
    for movie_id, result in zip(clip.movie_ids, results, strict=True):
        assert result.snr is not None
        assert record.values[movie_id]["snr_db_mean"] == pytest.approx(result.snr.mean)
        assert record.values[movie_id]["signal_pixels"] == 49
    observer.qtbot.waitUntil(lambda: observer.page.clip_list.currentRow() == 1)
    assert observer.page.board.shapes == Shapes()


def test_shapes_that_change_over_time_are_not_replaced_unasked(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line can save what the page cannot show: it says so, and asks before it is lost."""
    clip = observer.study.clips[0]
    moved = Edit(1, 2, Shapes(Ellipse((15.0, 12.0), (4.0, 4.0))))
    stored = TimedShapes(SHAPES, (moved,)).to_dict()
    movies = observer.study.load_movies(clip.clip_id)
    results = measure(movies.movies, SHAPES, movies.pixel_spacing_mm, movies.frame_times_s)
    values = measurement_values(clip.movie_ids, results)
    observer.study.save_measurement("Physicist", clip.clip_id, stored, values)
    asked: list[str] = []
    answer = False

    def confirm(_parent: QWidget, _title: str, text: str, _action: str) -> bool:
        asked.append(text)
        return answer

    monkeypatch.setattr(observer.context.dialogs, "confirm", confirm)
    observer.name("Physicist")
    observer.draw()
    assert _shows(observer.page, "follows the motion")
    observer.press(Qt.Key.Key_Return)
    assert "change over time" in asked[0]
    assert [record.shapes for record in observer.study.measurements] == [stored]
    answer = True
    observer.press(Qt.Key.Key_Return)
    observer.qtbot.waitUntil(lambda: not observer.context.study_busy)
    (record,) = observer.study.measurements
    assert TimedShapes.from_dict(record.shapes).stays
    observer.qtbot.waitUntil(lambda: observer.page.clip_list.currentRow() == 1)
    assert not _shows(observer.page, "follows the motion")


def test_saving_needs_a_name_and_all_three_shapes(observer: Observer) -> None:
    observer.draw()
    observer.press(Qt.Key.Key_Return)
    assert _shows(observer.page, "Enter the observer's name before saving.")
    observer.name("Physicist")
    observer.page.setFocus()
    observer.page.board.select("line")
    observer.press(Qt.Key.Key_Delete)
    observer.press(Qt.Key.Key_Return)
    assert _shows(observer.page, "Still to be drawn: line.")
    assert observer.study.measurements == []


def test_what_is_drawn_and_not_saved_is_kept_while_other_clips_are_looked_at(observer: Observer) -> None:
    observer.draw()
    observer.press(Qt.Key.Key_PageDown)
    observer.qtbot.waitUntil(lambda: observer.page.clip_list.currentRow() == 1)
    observer.wait_for_clip()
    assert observer.page.board.shapes == Shapes()
    assert "not saved" in observer.page.clip_list.item(0).text()
    observer.press(Qt.Key.Key_PageUp)
    observer.wait_for_clip()
    assert observer.page.board.shapes == SHAPES


def test_observers_do_not_see_each_others_shapes(observer: Observer) -> None:
    observer.name("Physicist")
    observer.draw()
    observer.save(1)
    observer.name("Second")
    observer.page.select_clip(0)
    observer.wait_for_clip()
    assert observer.page.board.shapes == Shapes()
    observer.name("Physicist")
    assert observer.page.board.shapes == SHAPES


def test_enter_in_the_name_field_does_not_save(observer: Observer) -> None:
    observer.draw()
    observer.qtbot.keyClicks(observer.page.observer, "Physicist")
    observer.qtbot.keyClick(observer.page.observer, Qt.Key.Key_Return)
    assert not observer.context.study_busy
    assert observer.study.measurements == []


def test_a_region_without_pixels_is_told_in_words(observer: Observer) -> None:
    tiny = Ellipse((14.5, 12.5), (0.3, 0.3))
    observer.page.board.put("background", SHAPES.background)
    observer.page.board.put("signal", tiny)
    observer.qtbot.waitUntil(lambda: _shows(observer.page, "enlarge it"))
    assert observer.page.results is None


def test_a_click_in_a_curve_goes_to_its_frame(observer: Observer) -> None:
    observer.draw()
    observer.page.clock.pause()
    plot = observer.page.snr_plot
    place = plot.to_widget(0.03, plot.value_range()[0]).toPoint()
    observer.qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=place)
    assert observer.page.clock.frame == 3
    assert observer.page.panel.frame == 3


def test_the_newest_shapes_win(observer: Observer) -> None:
    """While one measurement runs, later drags replace each other; the last one is measured."""
    observer.draw()
    for step in range(20):
        observer.page.board.put("signal", Ellipse((12.0 + 0.2 * step, 12.0), (3.0, 3.0)))
    observer.qtbot.waitUntil(lambda: observer.page.results is not None and not observer.context.tasks.busy)
    clip = observer.study.load_movies(observer.study.clips[0].clip_id)
    mask = Ellipse((12.0 + 0.2 * 19, 12.0), (3.0, 3.0)).mask(clip.movies.shape[2:])
    assert observer.page.results is not None
    assert observer.page.results[0].signal_pixels == int(mask.sum())


def test_no_text_of_the_page_tells_a_method(
    observer: Observer, all_texts: Callable[[QWidget], list[str]], forbidden_words: tuple[str, ...]
) -> None:
    observer.name("Physicist")
    observer.draw()
    seen: list[Any] = all_texts(observer.page)
    assert any("Save and next" in text for text in seen)
    # The caveat about background SNR speaks of families of methods, on every clip in the same words.
    caveat = " ".join(BACKGROUND_SNR_WARNING.split())
    for text in (" ".join(each.split()) for each in seen):
        if text == caveat:
            continue
        assert not any(word in text.lower() for word in forbidden_words), text


def _shows(page: QWidget, text: str) -> bool:
    return any(text in label.text() for label in page.findChildren(QLabel))
