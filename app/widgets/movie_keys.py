"""The keys of the movies in a panel row: playing, the common view, the common y–t line.

Letters A to F and the digits are left free: there they choose and rank movies.
"""

from __future__ import annotations

from app.widgets.key_table import Binding, KeyGroup
from app.widgets.panel_row import LAYOUTS, PanelRow

MOUSE_HELP = (
    "Mouse: wheel zooms; drag moves the image; right drag sets window (across) and level (up and down); "
    "drag the line to move it; click in a profile to go to its time."
)

_ZOOM_STEP = 1.25
_PAN_SHARE = 0.08
"""Of what is visible, at a press."""
_LEVEL_STEP = 12.0
"""At a press, in pixels of a mouse that is dragged."""
_TURN_DEGREES = 3.0
_DIRECTIONS = {"Left": (-1, 0), "Right": (1, 0), "Up": (0, -1), "Down": (0, 1)}


def movie_groups(row: PanelRow) -> list[KeyGroup]:
    """Return the keys of a row's movies, by heading."""
    return [
        KeyGroup("Playing", _playing(row)),
        KeyGroup("Image", _image(row)),
        KeyGroup("Line of the y–t profiles", _line(row)),
    ]


def _playing(row: PanelRow) -> tuple[Binding, ...]:
    clock = row.clock
    return (
        Binding(("Space",), "Play or pause", lambda _: clock.toggle()),
        Binding(("Left", ","), "One frame back", lambda _: clock.step(-1), repeats=True),
        Binding(("Right", "."), "One frame forward", lambda _: clock.step(1), repeats=True),
        Binding(("Home",), "First frame", lambda _: clock.seek(0)),
        Binding(("-",), "Slower, down to a quarter", lambda _: clock.slower()),
        Binding(("+", "="), "Faster, up to twice", lambda _: clock.faster()),
        Binding(("0",), "As fast as it was", lambda _: clock.set_speed(1.0)),
        Binding(("[", "I"), "Mark A: loop from here …", lambda _: row.set_a()),
        Binding(("]", "O"), "Mark B: … to here", lambda _: row.set_b()),
        Binding(("\\", "U"), "Play the whole clip again", lambda _: row.clear_ab()),
        Binding(("V",), "Every frame, or keep time", lambda _: row.set_every_frame(not clock.every_frame)),
    )


def _image(row: PanelRow) -> tuple[Binding, ...]:
    view = row.view_state

    def zoom(factor: float) -> None:
        view.zoom_about(factor, *view.centre)

    def pan(stroke: str) -> None:
        right, down = _direction(stroke)
        width, height = view.image_size
        # The arrow says where to look, so the image moves the other way.
        view.pan(-right * _PAN_SHARE * width / view.zoom, -down * _PAN_SHARE * height / view.zoom)

    def reset(_stroke: str) -> None:
        view.reset_view()
        view.reset_levels()

    def levels(right: float, down: float) -> None:
        view.drag_levels(right * _LEVEL_STEP, down * _LEVEL_STEP)

    def next_layout(_stroke: str) -> None:
        row.set_layout(LAYOUTS[(LAYOUTS.index(row.panel_layout) + 1) % len(LAYOUTS)])

    return (
        Binding(("Z",), "Closer", lambda _: zoom(_ZOOM_STEP), repeats=True),
        Binding(("X",), "Farther", lambda _: zoom(1 / _ZOOM_STEP), repeats=True),
        Binding(_arrows("Ctrl"), "Look to that side", pan, repeats=True, shown_as="Ctrl+← → ↑ ↓"),
        Binding(("PageUp",), "Brighter (level)", lambda _: levels(0, 1), repeats=True),
        Binding(("PageDown",), "Darker (level)", lambda _: levels(0, -1), repeats=True),
        Binding(("Ctrl+PageUp",), "More contrast (window)", lambda _: levels(-1, 0), repeats=True),
        Binding(("Ctrl+PageDown",), "Less contrast (window)", lambda _: levels(1, 0), repeats=True),
        Binding(("R",), "Whole image, own grey levels", reset),
        Binding(
            ("P",),
            "Whole screen pixels, or full size",
            lambda _: row.set_integer_scaling(not view.integer_scaling),
        ),
        Binding(("G",), "One row, two, or as fits best", next_layout),
    )


def _line(row: PanelRow) -> tuple[Binding, ...]:
    return (
        Binding(("L",), "Upright, level or free", lambda _: row.next_line_orientation()),
        Binding(
            _arrows("Shift"),
            "Move the line",
            lambda stroke: row.move_line(*_direction(stroke)),
            repeats=True,
            shown_as="Shift+← → ↑ ↓",
        ),
        Binding(("Shift+PageUp",), "Turn a free line", lambda _: row.turn_line(-_TURN_DEGREES), repeats=True),
        Binding(("Shift+PageDown",), "… the other way", lambda _: row.turn_line(_TURN_DEGREES), repeats=True),
    )


def _arrows(modifier: str) -> tuple[str, ...]:
    return tuple(f"{modifier}+{key}" for key in _DIRECTIONS)


def _direction(stroke: str) -> tuple[int, int]:
    return _DIRECTIONS[stroke.rpartition("+")[2]]
