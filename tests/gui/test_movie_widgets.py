"""Panels and profiles: what is painted, and where, against arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.widgets.movie_panel import MoviePanel, default_levels
from app.widgets.panel_row import PanelRow
from app.widgets.view_state import ViewState, to_display
from app.widgets.yt_line import YtLine
from app.widgets.yt_profile import YtProfile


def grey(image: QImage, x: float, y: float) -> int:
    return QColor(image.pixel(int(x), int(y))).red()


def wheel(widget: QWidget, position: QPointF, steps: int) -> None:
    event = QWheelEvent(
        position,
        widget.mapToGlobal(position),
        QPoint(),
        QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


def drag(widget: QWidget, start: QPoint, stop: QPoint, button: Qt.MouseButton) -> None:
    """A drag whose move events carry the held button, which QTest's mouseMove leaves out."""
    QTest.mousePress(widget, button, pos=start)
    QTest.mouseMove(widget, stop)
    QTest.mouseRelease(widget, button, pos=stop)


@pytest.fixture
def movie() -> NDArray[np.uint8]:
    """(t, y, x) = (5, 20, 30), all values different along y and x so that a transposition shows."""
    t, y, x = np.mgrid[:5, :20, :30]
    return (t * 10 + y * 3 + x * 5).astype(np.uint8)


def test_painted_pixels_are_the_frame(qtbot: QtBot, movie: NDArray[np.uint8]) -> None:
    panel = MoviePanel("", None)
    qtbot.addWidget(panel)
    panel.resize(300, 200)  # 10 screen pixels for an image pixel
    panel.view_state.set_interpolation("nearest")
    panel.set_frames(movie, adopt_size=True)
    panel.show_frame(3)
    painted = panel.grab().toImage()
    for x, y in [(0, 0), (29, 0), (0, 19), (29, 19), (7, 13)]:
        centre = panel.image_to_widget(x, y)
        assert (centre.x(), centre.y()) == pytest.approx((x * 10 + 5, y * 10 + 5))
        assert grey(painted, centre.x(), centre.y()) == movie[3, y, x]
        assert grey(painted, centre.x() - 4, centre.y() + 4) == movie[3, y, x]


@given(
    zoom=st.floats(1, 20),
    centre=st.tuples(st.floats(-50, 80), st.floats(-50, 80)),
    aspect=st.floats(0.5, 2),
    point=st.tuples(st.floats(-10, 40), st.floats(-10, 40)),
)
@settings(max_examples=40, deadline=None)
def test_mapping_there_and_back(
    qapp: object,
    zoom: float,
    centre: tuple[float, float],
    aspect: float,
    point: tuple[float, float],
) -> None:
    panel = MoviePanel("")
    panel.resize(413, 287)
    panel.view_state.set_image(30, 20, pixel_aspect=aspect)
    panel.view_state.set_view(*centre, zoom)
    assert panel.widget_to_image(panel.image_to_widget(*point)) == pytest.approx(point, abs=1e-9)
    panel.deleteLater()


@given(x=st.floats(0, 29), y=st.floats(0, 19), factor=st.floats(1.05, 4))
@settings(max_examples=40, deadline=None)
def test_zooming_in_holds_the_point(qapp: object, x: float, y: float, factor: float) -> None:
    panel = MoviePanel("")
    panel.resize(300, 200)
    panel.view_state.set_integer_scaling(False)
    panel.view_state.set_image(30, 20)
    before = panel.image_to_widget(x, y)
    panel.view_state.zoom_about(factor, x, y)
    after = panel.image_to_widget(x, y)
    assert (after.x(), after.y()) == pytest.approx((before.x(), before.y()), abs=1e-6)
    panel.deleteLater()


def test_image_cannot_be_lost(qapp: object) -> None:
    view = ViewState()
    view.set_image(30, 20)
    view.set_view(15, 10, 4)
    view.pan(1e6, -1e6)
    x, y = view.centre
    assert -0.5 <= x <= 29.5
    assert -0.5 <= y <= 19.5
    view.zoom_about(1e-9, 3, 3)
    assert view.zoom == 1
    assert view.centre == (14.5, 9.5)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20), st.floats(1, 600), st.floats(-100, 400))
@settings(max_examples=60, deadline=None)
def test_levels_of_bytes_are_those_of_floats(values: list[int], window: float, level: float) -> None:
    as_bytes = to_display(np.array(values, np.uint8), window, level)
    expected = [min(max((value - (level - window / 2)) / window * 255, 0), 255) for value in values]
    assert np.all(np.abs(as_bytes.astype(float) - expected) <= 0.51)


def test_full_range_leaves_bytes_alone() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_display(values, 255.0, 127.5), values)


def test_default_levels_ignore_single_bright_and_broken_pixels() -> None:
    frames = np.ones((4, 50, 50), np.float32)
    frames[0, 0, 0] = 1e6
    frames[1, 1, 1] = np.nan
    window, level = default_levels(frames)
    assert level + window / 2 == pytest.approx(1.0)
    assert level - window / 2 == 0.0


def test_mouse_pans_zooms_and_sets_levels(qtbot: QtBot, movie: NDArray[np.uint8]) -> None:
    panel = MoviePanel("A")
    qtbot.addWidget(panel)
    panel.resize(300, 200)
    panel.set_frames(movie, adopt_size=True)
    wheel(panel, QPointF(150, 100), 3)
    view = panel.view_state
    assert panel.device_pixels_per_pixel == (17, 17)  # 10 · 1.2³ = 17.28
    before = view.centre
    drag(panel, QPoint(150, 100), QPoint(130, 110), Qt.MouseButton.LeftButton)
    scale = panel.scale()[0]
    assert view.centre == pytest.approx((before[0] + 20 / scale, before[1] - 10 / scale))
    centre = panel.image_to_widget(*view.centre)
    assert abs(centre.x() - 150) <= 0.5  # the image keeps to whole pixels of the screen
    assert abs(centre.y() - 100) <= 0.5
    drag(panel, QPoint(150, 100), QPoint(190, 100), Qt.MouseButton.RightButton)
    assert view.window > 255
    assert view.level == 127.5
    qtbot.mouseDClick(panel, Qt.MouseButton.LeftButton)
    assert view.zoom == 1
    qtbot.mouseDClick(panel, Qt.MouseButton.RightButton)
    assert view.window == 255


def test_layers_take_the_mouse_first(qtbot: QtBot, movie: NDArray[np.uint8]) -> None:
    panel = MoviePanel("A")
    qtbot.addWidget(panel)
    panel.resize(300, 200)
    panel.set_frames(movie, adopt_size=True)
    panel.view_state.set_view(10, 10, 3)
    centre = panel.view_state.centre
    taken: list[int] = []
    panel.add_mouse_handler(lambda event, _panel: taken.append(event.type().value) is None)
    drag(panel, QPoint(150, 100), QPoint(100, 60), Qt.MouseButton.LeftButton)
    assert len(taken) == 3
    assert panel.view_state.centre == centre


def test_overlay_is_painted_above_the_image(qtbot: QtBot, movie: NDArray[np.uint8]) -> None:
    panel = MoviePanel("")
    qtbot.addWidget(panel)
    panel.resize(300, 200)
    panel.set_frames(movie, adopt_size=True)

    def mark(painter: QPainter, on: MoviePanel) -> None:
        centre = on.image_to_widget(7, 13)
        painter.fillRect(int(centre.x()) - 2, int(centre.y()) - 2, 4, 4, QColor("#ff0000"))

    panel.add_overlay(mark)
    assert QColor(panel.grab().toImage().pixel(75, 135)) == QColor("#ff0000")
    panel.remove_overlay(mark)
    assert QColor(panel.grab().toImage().pixel(75, 135)) != QColor("#ff0000")


def test_profile_is_the_column_over_time(qtbot: QtBot, movie: NDArray[np.uint8]) -> None:
    view = ViewState()
    profile = YtProfile(view)
    qtbot.addWidget(profile)
    profile.set_frames(movie, np.arange(5) * 0.1)
    profile.set_line(YtLine.column(11, (30, 20)))
    expected = np.array([[movie[t, y, 11] for t in range(5)] for y in range(20)])
    assert np.array_equal(profile.profile, expected)
    profile.resize(100, 200)
    painted = profile.grab().toImage()
    assert grey(painted, 25, 5) == movie[1, 0, 11]  # up is the first row
    assert grey(painted, 85, 195 - 100) == movie[4, 9, 11]
    profile.set_span((9.5, 19.5))
    assert grey(profile.grab().toImage(), 25, 5) == movie[1, 10, 11]


def test_profile_click_asks_for_the_frame(qtbot: QtBot, movie: NDArray[np.uint8]) -> None:
    profile = YtProfile(ViewState())
    qtbot.addWidget(profile)
    profile.resize(100, 50)
    profile.set_frames(movie, np.arange(5) * 0.1)
    with qtbot.waitSignal(profile.seek_requested) as caught:
        qtbot.mouseClick(profile, Qt.MouseButton.LeftButton, pos=QPoint(65, 20))
    assert caught.args == [3]


@pytest.fixture
def row(qtbot: QtBot) -> PanelRow:
    row = PanelRow()
    qtbot.addWidget(row)
    row.resize(960, 600)
    rng = np.random.default_rng(4)
    display = rng.integers(0, 255, (3, 6, 40, 50), dtype=np.uint8)
    row.set_clip(display, ["A", "B", "C"], np.arange(6) * 0.05, pixel_spacing_mm=(2.0, 1.0))
    row.show()
    qtbot.waitExposed(row)
    return row


def test_all_panels_show_the_same_frame_view_and_line(row: PanelRow) -> None:
    row.clock.seek(4)
    assert [panel.frame for panel in row.panels] == [4, 4, 4]
    wheel(row.panels[1], QPointF(50, 60), 4)
    assert len({panel.image_rectangle().getRect() for panel in row.panels}) == 1
    assert {panel.size().toTuple() for panel in row.panels} == {row.panels[0].size().toTuple()}
    row.set_column(33)
    assert [profile.line for profile in row.profiles] == [YtLine.column(33, (50, 40))] * 3
    assert row.view_state.pixel_aspect == 2.0


def test_line_is_dragged_in_any_panel(row: PanelRow, qtbot: QtBot) -> None:
    panel = row.panels[2]
    start = panel.image_to_widget(row.column, 20).toPoint()
    stop = panel.image_to_widget(8, 20).toPoint()
    with qtbot.waitSignal(row.column_changed):
        drag(panel, start, stop, Qt.MouseButton.LeftButton)
    assert row.column == 8
    assert [profile.line for profile in row.profiles] == [YtLine.column(8, (50, 40))] * 3
    drag(panel, stop, QPoint(-500, 10), Qt.MouseButton.LeftButton)
    assert row.column == 0


def test_profiles_show_the_rows_of_the_panels(row: PanelRow, qtbot: QtBot) -> None:
    row.view_state.set_view(25, 10, 4)
    first, last = row.panels[0].visible_rows()
    assert 0 < last - first < 40
    assert row.profiles[2].span == (first, last)


@pytest.mark.parametrize(
    ("key", "frame"),
    [(Qt.Key.Key_Right, 1), (Qt.Key.Key_Period, 1), (Qt.Key.Key_Left, 5), (Qt.Key.Key_Comma, 5)],
)
def test_step_keys(row: PanelRow, qtbot: QtBot, key: Qt.Key, frame: int) -> None:
    class Page(QWidget):
        def keyPressEvent(self, event: object) -> None:
            assert row.handle_key(event)  # type: ignore[arg-type]

    page = Page()
    qtbot.addWidget(page)
    qtbot.keyClick(page, key)
    assert row.clock.frame == frame
    qtbot.keyClick(page, Qt.Key.Key_Space)
    assert row.clock.playing
    qtbot.keyClick(page, Qt.Key.Key_Plus)
    assert row.clock.speed == 1.5
    row.clock.pause()


def test_empty_panel_beside_a_movie(row: PanelRow) -> None:
    movie = np.full((6, 40, 50), 3.0, np.float32)
    row.set_clip([movie, None], ["one", "two"], np.arange(6) * 0.05)
    assert [panel.frames is None for panel in row.panels] == [False, True]
    assert row.clock.frame_count == 6


def test_unequal_movies_are_refused(row: PanelRow) -> None:
    with pytest.raises(ValueError, match="must all be"):
        row.set_clip([np.zeros((6, 4, 4)), np.zeros((6, 5, 4))], ["A", "B"], np.arange(6.0))
    with pytest.raises(ValueError, match="labels"):
        row.set_clip([np.zeros((6, 4, 4))], ["A", "B"], np.arange(6.0))


def test_floats_share_one_grey_range(row: PanelRow) -> None:
    bright = np.full((6, 40, 50), 8.0, np.float32)
    row.set_clip([bright / 2, bright], ["A", "B"], np.arange(6) * 0.05)
    values = [
        grey(panel.grab().toImage(), panel.width() / 2 + 40, panel.height() / 2) for panel in row.panels
    ]
    assert values == [128, 255]
