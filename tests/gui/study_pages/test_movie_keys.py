"""Every key of the movies does what the help says it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.playback import SPEEDS
from app.widgets.key_table import KeyTable
from app.widgets.movie_keys import movie_groups
from app.widgets.panel_row import PanelRow

Act = Callable[[str], None]


@pytest.fixture
def row(qtbot: QtBot) -> PanelRow:
    made = PanelRow()
    qtbot.addWidget(made)
    made.resize(900, 600)
    movies = np.random.default_rng(0).integers(0, 255, (3, 10, 40, 60)).astype(np.uint8)
    made.set_clip(movies, "ABC", np.arange(10) * 0.05)
    return made


@pytest.fixture
def act(row: PanelRow) -> Act:
    """Does what a stroke says."""
    bindings = {
        stroke: binding
        for group in movie_groups(row)
        for binding in group.bindings
        for stroke in binding.strokes
    }

    def do(stroke: str) -> None:
        bindings[stroke].act(stroke)

    return do


def test_no_key_has_two_meanings_and_letters_and_digits_are_left_for_the_movies(row: PanelRow) -> None:
    table = KeyTable(movie_groups(row))
    strokes = {stroke for group in table.groups for binding in group.bindings for stroke in binding.strokes}
    assert not strokes & {*"ABCDEF", *"123456789", "Tab", "Return", "Escape", "Backspace"}


def test_playing_keys(row: PanelRow, act: Act) -> None:
    clock = row.clock
    act("Space")
    assert clock.playing
    act("Space")
    assert not clock.playing
    for stroke, frame in ((".", 1), ("Right", 2), ("Left", 1), (",", 0), (",", 9), ("Home", 0)):
        act(stroke)
        assert clock.frame == frame
    act("V")
    assert clock.every_frame
    act("V")
    assert not clock.every_frame


def test_speed_keys_go_through_all_speeds_and_0_is_the_true_one(row: PanelRow, act: Act) -> None:
    seen = []
    for _ in range(len(SPEEDS) + 1):
        act("-")
    for _ in SPEEDS:
        seen.append(row.clock.speed)
        act("+")
    assert tuple(seen) == SPEEDS and SPEEDS[0] == 0.25 and SPEEDS[-1] == 2.0
    act("0")
    assert row.clock.speed == 1.0
    act("=")
    assert row.clock.speed == 1.5


@pytest.mark.parametrize("keys", ["[]\\", "IOU"])
def test_a_part_can_be_looped(row: PanelRow, act: Act, keys: str) -> None:
    for _ in range(2):
        act("Right")
    act(keys[0])
    for _ in range(4):
        act("Right")
    act(keys[1])
    assert row.clock.ab_loop == (2, 6)
    act(keys[2])
    assert row.clock.ab_loop is None


def test_zoom_pan_and_reset_keys(row: PanelRow, act: Act) -> None:
    view = row.view_state
    act("Z")
    assert view.zoom == pytest.approx(1.25)
    for stroke, axis, sign in (
        ("Ctrl+Right", 0, 1),
        ("Ctrl+Left", 0, -1),
        ("Ctrl+Down", 1, 1),
        ("Ctrl+Up", 1, -1),
    ):
        before = view.centre
        act(stroke)
        moved = np.sign(np.subtract(view.centre, before))
        assert moved[axis] == sign and moved[1 - axis] == 0, stroke
    act("X")
    act("X")
    assert view.zoom == 1.0
    act("Z")
    act("PageUp")
    act("R")
    assert (view.zoom, view.window, view.level) == (1.0, 255.0, 127.5)


@pytest.mark.parametrize(
    ("stroke", "compare"),
    [
        ("PageUp", lambda window, level: window == 255.0 and level < 127.5),
        ("PageDown", lambda window, level: window == 255.0 and level > 127.5),
        ("Ctrl+PageUp", lambda window, level: window < 255.0 and level == 127.5),
        ("Ctrl+PageDown", lambda window, level: window > 255.0 and level == 127.5),
    ],
)
def test_level_keys(row: PanelRow, act: Act, stroke: str, compare: Callable[[float, float], Any]) -> None:
    """A lower level makes the image brighter, a narrower window gives it more contrast."""
    act(stroke)
    assert compare(row.view_state.window, row.view_state.level)


def test_scaling_and_layout_keys(row: PanelRow, act: Act) -> None:
    before = row.view_state.integer_scaling
    act("P")
    assert row.view_state.integer_scaling is not before
    layouts = []
    for _ in range(3):
        layouts.append(row.panel_layout)
        act("G")
    assert len(set(layouts)) == 3 and row.panel_layout == layouts[0]


def test_line_keys(row: PanelRow, act: Act) -> None:
    assert (row.line.orientation, row.line.start[0]) == ("vertical", 30)
    act("Shift+Right")
    act("Shift+Right")
    act("Shift+Left")
    assert row.line.start[0] == 31
    act("L")
    assert row.line.orientation == "horizontal"
    before = row.line.start[1]
    act("Shift+Down")
    act("Shift+Down")
    act("Shift+Up")
    assert row.line.start[1] == before + 1
    act("L")
    assert row.line.orientation == "free"
    angles = []
    for stroke in ("Shift+PageDown", "Shift+PageUp", "Shift+PageUp"):
        act(stroke)
        (x0, y0), (x1, y1) = row.line.start, row.line.end
        angles.append(np.degrees(np.arctan2(y1 - y0, x1 - x0)))
    assert angles[0] > angles[1] > angles[2]
    act("L")
    assert row.line.orientation == "vertical"
