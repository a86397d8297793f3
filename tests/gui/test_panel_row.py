"""Panels in rows: where they stand, what they paint, what counts as seen, and the common line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPaintEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.playback import PlaybackClock
from app.widgets.movie_panel import MoviePanel, whole_block
from app.widgets.panel_row import Arrangement, PanelRow
from app.widgets.yt_line import YtLine

FRAMES, HEIGHT, WIDTH = 6, 40, 50
SCALES_SCRIPT = Path(__file__).with_name("screen_pixels.py")


class Time:
    """A time that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def clip(panels: int, seed: int = 4) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (panels, FRAMES, HEIGHT, WIDTH), dtype=np.uint8)


def show(row: PanelRow, panels: int, seed: int = 4) -> None:
    labels = [chr(ord("A") + position) for position in range(panels)]
    row.set_clip(clip(panels, seed), labels, np.arange(FRAMES) * 0.1)


def greys(image: QImage) -> NDArray[np.uint8]:
    image = image.convertToFormat(QImage.Format.Format_Grayscale8)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return pixels[:, : image.width()].copy()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def row(qtbot: QtBot, time: Time) -> PanelRow:
    row = PanelRow(PlaybackClock(elapsed_s=time))
    qtbot.addWidget(row)
    row.resize(960, 600)
    row.show()
    qtbot.waitExposed(row)
    show(row, 3)
    paint()
    return row


def paint() -> None:
    for _ in range(3):
        QCoreApplication.processEvents()


# Where panels stand


@pytest.mark.parametrize("panels", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("layout", ["row", "two_rows", "auto"])
def test_panels_are_equal_and_apart(row: PanelRow, panels: int, layout: str) -> None:
    row.set_layout(layout)  # type: ignore[arg-type]
    show(row, panels)
    row.set_footers([QLabel("Rank") for _ in range(panels)])
    paint()
    assert {panel.size().toTuple() for panel in row.panels} == {row.panels[0].size().toTuple()}
    assert {profile.size().toTuple() for profile in row.profiles} == {row.profiles[0].size().toTuple()}
    areas = [widget.geometry() for widget in (*row.panels, *row.profiles, *row._footers)]
    whole = row._area.rect()
    for index, area in enumerate(areas):
        assert whole.contains(area)
        assert not any(area.intersects(other) for other in areas[:index])
    tops = [panel.y() for panel in row.panels]
    assert len(set(tops)) == (1 if layout == "row" or panels == 1 else row.panel_rows)
    assert layout != "two_rows" or panels == 1 or row.panel_rows == 2
    if row.panel_rows == 2 and panels % 2:
        last = row.panels[-(-panels // 2) :]
        gap_left, gap_right = last[0].x(), whole.width() - last[-1].geometry().right() - 1
        assert abs(gap_left - gap_right) <= 1


@given(
    area=st.tuples(st.integers(300, 2000), st.integers(250, 1400)),
    panels=st.integers(1, 6),
    image=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    ratio=st.sampled_from([1.0, 1.25, 1.5, 2.0]),
    profiles=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_automatic_layout_is_the_larger_of_the_two(
    area: tuple[int, int], panels: int, image: tuple[int, int], ratio: float, profiles: bool
) -> None:
    def pixels(layout: str, block: tuple[int, int] | None) -> tuple[int, float]:
        placed = Arrangement.best(
            QSize(*area),
            panels,
            image,
            layout=layout,  # type: ignore[arg-type]
            profiles=profiles,
            device_pixel_ratio=ratio,
            block=block,
        )
        scale = ratio * min(placed.width / image[0], placed.panel_height / image[1])
        return placed.rows, (float(int(scale)) if block is not None and scale >= 1 else scale)

    for block in (None, (1, 1)):
        automatic = pixels("auto", block)
        one, two = pixels("row", block), pixels("two_rows", block)
        assert automatic[1] == max(one[1], two[1])
        assert automatic[0] == (2 if two[1] > one[1] else 1)


def test_movies_of_a_wide_window_stand_in_a_row_and_of_a_square_one_in_two(row: PanelRow) -> None:
    show(row, 4)
    row.resize(1900, 400)
    paint()
    assert row.panel_rows == 1
    row.resize(900, 1000)
    paint()
    assert row.panel_rows == 2


def test_sizes_settle_at_once(row: PanelRow, monkeypatch: pytest.MonkeyPatch) -> None:
    footers = [QLabel("A sentence that is broken into lines where it is narrow. " * 3) for _ in range(3)]
    for footer in footers:
        footer.setWordWrap(True)
    row.set_footers(footers)
    paint()
    placed: list[QRect] = []
    original = PanelRow._arrange

    def arrange(self: PanelRow) -> None:
        original(self)
        placed.append(self.panels[0].geometry())

    monkeypatch.setattr(PanelRow, "_arrange", arrange)
    row._area._arrange = row._arrange
    for width in range(700, 720):
        placed.clear()
        row.resize(width, 500)
        for _ in range(5):
            paint()
        assert 1 <= len(placed) <= 3
        assert set(map(QRect.getRect, placed)) == {row.panels[0].geometry().getRect()}


def test_unknown_layout_is_refused(row: PanelRow) -> None:
    with pytest.raises(ValueError, match="layout"):
        row.set_layout("three_rows")  # type: ignore[arg-type]


# Screen pixels


@given(width=st.integers(130, 700), height=st.integers(130, 700), clicks=st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_each_image_pixel_is_a_block_of_screen_pixels(
    qapp: object, width: int, height: int, clicks: int
) -> None:
    panel = MoviePanel("")
    panel.resize(width, height)
    movie = clip(1)[0]
    panel.set_frames(movie, adopt_size=True)
    fitting = min(width // WIDTH, height // HEIGHT)
    assert panel.device_pixels_per_pixel == (fitting, fitting)
    for _ in range(clicks):
        panel.view_state.zoom_about(panel._zoom_factor(1), 20, 15)
    across, down = panel.device_pixels_per_pixel
    assert across == down == int(across) >= fitting + clicks
    corner = panel.image_rectangle().topLeft()
    left, top = int(corner.x()), int(corner.y())
    assert (left, top) == (corner.x(), corner.y())
    painted = greys(panel.grab().toImage())
    expected = np.full((height, width), -1)
    blocks = np.kron(movie[0], np.ones((int(across), int(across)), np.uint8))
    rows = slice(max(top, 0), min(top + len(blocks), height))
    columns = slice(max(left, 0), min(left + blocks.shape[1], width))
    expected[rows, columns] = blocks[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    inside = expected >= 0
    assert np.array_equal(painted[inside], expected[inside])
    assert np.all(painted[~inside] < 8)
    panel.deleteLater()


@pytest.mark.parametrize("ratio", ["1.25", "1.5", "2"])
def test_blocks_are_whole_at_every_device_pixel_ratio(ratio: str) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QT_SCALE_FACTOR": ratio}
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
    found = subprocess.run(
        [sys.executable, str(SCALES_SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    used, block = found.stdout.split()
    assert float(used) == float(ratio)
    assert int(block) == int(261 * float(ratio) / 41)  # panels are 261 wide, images 41


@pytest.mark.parametrize(
    ("aspect", "largest", "block"),
    [(1.0, 5.0, (1, 1)), (2.0, 5.0, (1, 2)), (0.5, 5.0, (2, 1)), (1.5, 5.0, (2, 3)), (1.0, 0.7, None)],
)
def test_oblong_pixels_have_blocks_of_their_shape(
    aspect: float, largest: float, block: tuple[int, int] | None
) -> None:
    assert whole_block(aspect, largest) == block
    assert whole_block(np.pi / 2, 3.0) is None


def test_images_fill_the_panels_where_that_is_wanted(row: PanelRow) -> None:
    row.set_integer_scaling(False)
    panel = row.panels[0]
    image = panel.image_rectangle()
    assert image.width() == pytest.approx(panel.width()) or image.height() == pytest.approx(panel.height())
    row.set_integer_scaling(True)
    assert row.device_pixels_per_pixel[0] == min(panel.width() // WIDTH, panel.height() // HEIGHT)


def test_narrow_row_fills_its_panel(qtbot: QtBot) -> None:
    row = PanelRow(compact=True)
    qtbot.addWidget(row)
    assert not row.view_state.integer_scaling


def test_image_larger_than_its_panel_is_fitted(qtbot: QtBot) -> None:
    panel = MoviePanel("")
    qtbot.addWidget(panel)
    panel.resize(150, 150)
    panel.set_frames(np.zeros((1, 300, 300), np.uint8), adopt_size=True)
    assert panel.scale() == (0.5, 0.5)


# What was painted


def test_passes_count_what_each_panel_has_painted(row: PanelRow, qtbot: QtBot, time: Time) -> None:
    told: list[int] = []
    row.loop_completed.connect(told.append)
    assert row.loops_per_panel == [0, 0, 0]
    assert row.unseen_per_panel == [FRAMES - 1] * 3  # the first frame is on the screen
    row.clock.play()
    for _ in range(FRAMES - 1):
        time.now_s += 0.1 + 1e-6
        row.clock.look()
        paint()
    assert row.loops_per_panel == [1, 1, 1]
    assert (row.loops_completed, told) == (1, [1])
    assert (row.frames_shown, row.frames_skipped) == (FRAMES - 1, 0)
    row.panels[0].update()
    paint()
    show(row, 3, seed=5)
    paint()
    assert row.loops_per_panel == [0, 0, 0]
    assert [panel.painted for panel in row.panels] == [True] * 3


def test_frame_that_was_announced_and_not_painted_is_not_seen(row: PanelRow, time: Time) -> None:
    row.clock.play()
    for number in range(FRAMES - 1):
        time.now_s += 0.1 + 1e-6
        row.clock.look()
        if number != 2:  # frame 3 gives way before the window is painted
            paint()
    assert row.loops_per_panel == [0, 0, 0]
    assert (row.frames_shown, row.frames_skipped) == (FRAMES - 2, 1)
    row.clock.seek(3)
    paint()
    assert row.loops_per_panel == [1, 1, 1]


def test_stepping_through_is_a_pass_too_and_the_next_begins_with_the_next_frame(row: PanelRow) -> None:
    for _ in range(FRAMES - 1):
        row.clock.step(1)
        paint()
    assert row.loops_per_panel == [1, 1, 1]
    row.panels[1].update()
    paint()
    assert row.unseen_per_panel == [FRAMES] * 3
    row.clock.step(1)
    paint()
    assert row.unseen_per_panel == [FRAMES - 1] * 3


def test_clip_given_to_the_clock_alone_is_counted_from_its_first_frame(row: PanelRow) -> None:
    row.clock.set_frames(2, 0.1)
    paint()
    assert row.unseen_per_panel == [1, 1, 1]


def test_every_frame_waits_until_it_is_painted(row: PanelRow, time: Time) -> None:
    row.set_every_frame(True)
    row.clock.play()
    seen: list[int] = []
    row.panels[2].frame_painted.connect(seen.append)
    for _ in range(8):
        for _ in range(3):  # looks between two paintings change nothing
            time.now_s += 0.2
            row.clock.look()
        paint()
    assert len(seen) >= 8
    assert seen == [(number + 1) % FRAMES for number in range(len(seen))]
    assert row.frames_skipped == 0


def test_loop_from_a_to_b_is_no_pass(row: PanelRow, time: Time) -> None:
    row.clock.seek(1)
    row.set_a()
    row.clock.seek(3)
    row.set_b()
    row.clock.play()
    for _ in range(10):
        time.now_s += 0.1 + 1e-6
        row.clock.look()
        paint()
    assert row.clock.frame in (1, 2, 3)
    assert row.loops_per_panel == [0, 0, 0]
    assert row.unseen_per_panel == [2, 2, 2]  # frames 4 and 5; frame 0 was on the screen at the beginning


def test_a_frame_repaints_the_image_and_two_strips_only(row: PanelRow) -> None:
    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if isinstance(event, QPaintEvent):
                areas[watched] = event.rect()
            return False

    areas: dict[QObject, QRect] = {}
    watch = Watch()
    panel, profile = row.panels[0], row.profiles[0]
    for widget in (panel, profile):
        widget.installEventFilter(watch)
    row.clock.seek(1)
    paint()
    assert areas[panel] == panel.image_rectangle().toAlignedRect()
    assert areas[profile].width() <= profile.width() / FRAMES + 8


def test_levels_are_common(row: PanelRow) -> None:
    row.view_state.set_levels(100, 100)
    paint()
    for panel in row.panels:
        assert panel.frames is not None
        point = panel.image_to_widget(7, 9)
        painted = QColor(panel.grab().toImage().pixel(int(point.x()), int(point.y()))).red()
        value = float(panel.frames[0, 9, 7])
        assert painted == int(min(max((value - 50) / 100 * 255, 0), 255) + 0.5)


# Profiles and their line


def drag(panel: MoviePanel, start: QPoint, stop: QPoint) -> None:
    QTest.mousePress(panel, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(panel, (start + stop) / 2)
    QTest.mouseMove(panel, stop)
    QTest.mouseRelease(panel, Qt.MouseButton.LeftButton, pos=stop)


@pytest.mark.parametrize("playing", [False, True])
def test_click_in_a_profile_jumps_and_no_more(row: PanelRow, qtbot: QtBot, playing: bool) -> None:
    if playing:
        row.clock.play()
    profile = row.profiles[1]
    with qtbot.waitSignal(row.jumped) as caught:
        qtbot.mouseClick(
            profile, Qt.MouseButton.LeftButton, pos=QPoint(int(profile.width() * 4.5 / FRAMES), 10)
        )
    assert caught.args == [4]
    assert [panel.frame for panel in row.panels] == [4, 4, 4]
    assert row.clock.playing is playing
    row.clock.pause()


def test_row_is_dragged_up_and_down(row: PanelRow) -> None:
    row.set_line_orientation("horizontal")
    panel = row.panels[1]
    drag(panel, panel.image_to_widget(30, 20).toPoint(), panel.image_to_widget(12, 33).toPoint())
    assert row.line == YtLine.row(33, (WIDTH, HEIGHT))
    for profile, movie in zip(row.profiles, clip(3), strict=True):
        assert np.array_equal(profile.profile, movie[:, 33, :].T)
        assert profile.span == panel.visible_columns()


def test_free_line_is_dragged_by_its_ends_and_as_a_whole(row: PanelRow, qtbot: QtBot) -> None:
    row.set_line_orientation("free")
    panel = row.panels[0]
    with qtbot.waitSignal(row.line_changed):
        drag(panel, panel.image_to_widget(*row.line.start).toPoint(), panel.image_to_widget(10, 8).toPoint())
    drag(panel, panel.image_to_widget(*row.line.end).toPoint(), panel.image_to_widget(30, 28).toPoint())
    assert row.line == YtLine.free((10, 8), (30, 28), (WIDTH, HEIGHT))
    drag(panel, panel.image_to_widget(20, 18).toPoint(), panel.image_to_widget(24, 15).toPoint())
    assert row.line == YtLine.free((14, 5), (34, 25), (WIDTH, HEIGHT))
    profiles = [profile.profile for profile in row.profiles]
    for shown, movie in zip(profiles, clip(3), strict=True):
        assert shown is not None
        assert shown == pytest.approx(row.line.cut(movie))
    assert row.profiles[0].span is None


def test_line_keeps_its_place_with_the_view_and_its_orientation_with_the_next_clip(row: PanelRow) -> None:
    row.set_line(YtLine.row(7, (WIDTH, HEIGHT)))
    row.set_clip(clip(3), ["A", "B", "C"], np.arange(FRAMES) * 0.1, keep_view=True)
    assert row.line == YtLine.row(7, (WIDTH, HEIGHT))
    row.set_clip(clip(3)[:, :, :30], ["A", "B", "C"], np.arange(FRAMES) * 0.1)
    assert row.line == YtLine.row(15, (WIDTH, 30))


class Page(QWidget):
    """Gives its keys to the row, as pages do."""

    def __init__(self, row: PanelRow) -> None:
        super().__init__()
        self.row = row
        self.taken = False

    def keyPressEvent(self, event: object) -> None:
        self.taken = self.row.handle_key(event)  # type: ignore[arg-type]


@pytest.fixture
def page(row: PanelRow, qtbot: QtBot) -> Page:
    page = Page(row)
    qtbot.addWidget(page)
    return page


def test_keys_move_and_turn_the_line(row: PanelRow, page: Page, qtbot: QtBot) -> None:
    shift = Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(page, Qt.Key.Key_Right, shift)
    qtbot.keyClick(page, Qt.Key.Key_Down, shift)  # a column does not move down
    assert row.line == YtLine.column(26, (WIDTH, HEIGHT))
    assert row.clock.frame == 0
    qtbot.keyClicks(page, "l")
    qtbot.keyClick(page, Qt.Key.Key_Up, shift)
    assert row.line == YtLine.row(19, (WIDTH, HEIGHT))
    qtbot.keyClicks(page, "l")
    free = row.line
    qtbot.keyClick(page, Qt.Key.Key_PageDown, shift)
    assert row.line == free.turned_by(5, (WIDTH, HEIGHT))
    assert row.line.end[1] > free.end[1]
    qtbot.keyClick(page, Qt.Key.Key_Left, shift)
    assert row.line.middle == pytest.approx((free.middle[0] - 1, free.middle[1]))
    qtbot.keyClicks(page, "l")
    assert row.line.orientation == "vertical"


def test_keys_of_loop_layout_and_scaling(row: PanelRow, page: Page, qtbot: QtBot) -> None:
    row.clock.seek(1)
    qtbot.keyClicks(page, "[")
    row.clock.seek(4)
    qtbot.keyClicks(page, "]")
    assert row.clock.ab_loop == (1, 4)
    assert row.profiles[0]._marks == (1, 4)
    qtbot.keyClicks(page, "\\")
    assert row.clock.ab_loop is None
    qtbot.keyClicks(page, "v")
    assert row.clock.every_frame
    qtbot.keyClicks(page, "gg")
    assert (row.panel_layout, row.panel_rows) == ("two_rows", 2)
    qtbot.keyClicks(page, "p")
    assert not row.view_state.integer_scaling
    # AltGr with a key that makes a bracket is Ctrl and Alt on Windows; Ctrl alone is the page's.
    qtbot.keyClick(page, "[", Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
    assert page.taken
    qtbot.keyClick(page, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    assert not page.taken


def test_menu_does_what_it_says(row: PanelRow) -> None:
    actions = {action.text(): action for action in row.transport.menu.actions() if action.text()}
    actions["Show every frame"].trigger()
    assert row.clock.every_frame
    row.clock.seek(2)
    actions["Loop from this frame (A)"].trigger()
    row.clock.seek(4)
    actions["Loop to this frame (B)"].trigger()
    assert row.clock.ab_loop == (2, 4)
    actions["Play the whole clip"].trigger()
    assert row.clock.marks == (None, None)
    actions["Whole screen pixels"].trigger()
    assert not row.view_state.integer_scaling
    row._orientation_actions["free"].trigger()
    assert row.line.orientation == "free"
    row._layout_actions["two_rows"].trigger()
    assert row.panel_layout == "two_rows"
    row.set_line_orientation("vertical")
    assert row._orientation_actions["vertical"].isChecked()
