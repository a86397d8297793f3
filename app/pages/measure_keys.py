"""The keys of the measuring page. Everything that the mouse does has one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.widgets.key_table import Binding, KeyGroup

if TYPE_CHECKING:
    from app.pages.measure import MeasurePage

_LONG_STEP_PX = 10.0
_TURN = math.radians(5.0)
_ARROWS = {"Left": (-1.0, 0.0), "Right": (1.0, 0.0), "Up": (0.0, -1.0), "Down": (0.0, 1.0)}


def measure_keys(page: MeasurePage) -> list[KeyGroup]:
    """All keys, in the order of the help."""
    return [_draw(page), _change(page), _over_time(page), _look(page), _scans(page)]


def _draw(page: MeasurePage) -> KeyGroup:
    board = page.board
    return KeyGroup(
        "Draw",
        (
            Binding(("S",), "Signal region", lambda _: board.arm("signal")),
            Binding(("A",), "Air region", lambda _: board.arm("background")),
            Binding(("L",), "Line across the edge", lambda _: board.arm("line")),
            Binding(("I",), "Line of the y–t profile", lambda _: page.arm_profile()),
            Binding(("E",), "As an ellipse", lambda _: board.set_kind("ellipse")),
            Binding(("R",), "As a rectangle", lambda _: board.set_kind("rectangle")),
            Binding(("P",), "As a polygon", lambda _: board.set_kind("polygon")),
            Binding(("H",), "By hand", lambda _: board.set_kind("freehand")),
            Binding(("N",), "Put it in the middle, without a mouse", lambda _: page.place_shape()),
        ),
    )


def _change(page: MeasurePage) -> KeyGroup:
    board, tools = page.board, page.tools
    arrows = tuple(_ARROWS)

    def nudge(stroke: str) -> None:
        dx, dy = _ARROWS[stroke]
        if not board.nudge(dx, dy) and dx:
            page.clock.step(int(dx))

    def nudge_far(stroke: str) -> None:
        dx, dy = _ARROWS[stroke.removeprefix("Shift+")]
        board.nudge(_LONG_STEP_PX * dx, _LONG_STEP_PX * dy)

    def resize(stroke: str) -> None:
        across, down = _ARROWS[stroke.removeprefix("Ctrl+")]
        # Up makes a shape taller.
        board.resize(across, -down)

    def delete(stroke: str) -> None:
        if stroke != "Backspace" or not board.drop_last_corner():
            board.remove_selected()

    return KeyGroup(
        "Change",
        (
            Binding(arrows, "Move by 1 pixel", nudge, repeats=True),
            Binding(
                tuple(f"Shift+{arrow}" for arrow in arrows),
                "Move by 10 pixels",
                nudge_far,
                repeats=True,
                shown_as="Shift+arrows",
            ),
            Binding(
                tuple(f"Ctrl+{arrow}" for arrow in arrows),
                "Wider, narrower, taller, lower by 1 pixel",
                resize,
                repeats=True,
                shown_as="Ctrl+arrows",
            ),
            Binding(("T",), "Turn by 5°", lambda _: board.turn(_TURN), repeats=True),
            Binding(("Ctrl+T",), "Turn back by 5°", lambda _: board.turn(-_TURN), repeats=True),
            Binding(("V",), "Next corner or end", lambda _: board.select_corner(1)),
            Binding(("Insert",), "Add a corner", lambda _: board.add_corner()),
            Binding(("Delete", "Backspace"), "Delete what is selected", delete),
            Binding(("W",), "Width of the lines", lambda _: tools.next_line_width()),
            Binding(("Ctrl+Z",), "Undo", lambda _: board.undo(), repeats=True),
            Binding(("Ctrl+Shift+Z", "Ctrl+Y"), "Redo", lambda _: board.redo(), repeats=True),
            Binding(("Escape",), "Leave corner, tool, selection", lambda _: page.step_back()),
        ),
    )


def _over_time(page: MeasurePage) -> KeyGroup:
    board, tools = page.board, page.tools
    return KeyGroup(
        "Over time",
        (
            Binding(("K",), "Change all, later or this frame", lambda _: tools.next_scope()),
            Binding(("F",), "Follow the signal region", lambda _: tools.next_following()),
            Binding(("[",), "Measure from this frame on", lambda _: page.set_first_frame()),
            Binding(("]",), "Measure up to this frame", lambda _: page.set_last_frame()),
            Binding(("\\",), "Measure all frames", lambda _: board.set_frame_range(None)),
        ),
    )


def _look(page: MeasurePage) -> KeyGroup:
    clock = page.clock
    return KeyGroup(
        "Look",
        (
            Binding(("Space",), "Play or pause", lambda _: clock.toggle()),
            Binding(("-",), "Slower", lambda _: clock.slower()),
            Binding(("+",), "Faster", lambda _: clock.faster()),
            Binding((",",), "Frame back", lambda _: clock.step(-1), repeats=True),
            Binding((".",), "Frame on", lambda _: clock.step(1), repeats=True),
            Binding(("M",), "Borders of the measured pixels", lambda _: page.toggle_pixels()),
            Binding(("D",), "Draw on the average or on one movie", lambda _: page.toggle_panel()),
            Binding(("Y",), "Curves or y–t profiles", lambda _: page.toggle_view()),
            Binding(("G",), "Agreement of two measurers", lambda _: page.show_agreement()),
        ),
    )


def _scans(page: MeasurePage) -> KeyGroup:
    def enter(_stroke: str) -> None:
        if page.board.pending:
            page.board.close_outline()
        else:
            page.save()

    return KeyGroup(
        "Scans",
        (
            Binding(("Return", "Enter"), "Close the polygon; save and next scan", enter),
            Binding(("PageDown",), "Next scan", lambda _: page.go(1)),
            Binding(("PageUp",), "Scan before", lambda _: page.go(-1)),
            Binding(("C",), "Shapes of the subject's last scan", lambda _: page.copy_previous()),
            Binding(("Ctrl+Shift+C",), "Copy to the subject's other scans", lambda _: page.copy_to_subject()),
            Binding(("O",), "Observer's name", lambda _: page.observer.setFocus()),
            Binding(("Ctrl+S",), "Save", lambda _: page.save()),
            Binding(("Ctrl+Shift+S",), "Drawing to a file", lambda _: page.save_drawing()),
            Binding(("Ctrl+O",), "Drawing from a file", lambda _: page.load_drawing()),
            Binding(("Ctrl+M",), "Masks to a file", lambda _: page.save_masks()),
            Binding(("Ctrl+E",), "y–t profiles to files", lambda _: page.export_profiles()),
            Binding(("?",), "This help", lambda _: page.help.toggle()),
        ),
    )
