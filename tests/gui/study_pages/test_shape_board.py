"""The board: in which frames a change counts, corners, sizes and turns by key, undo and redo."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from app.widgets.shape_board import ShapeBoard
from app.widgets.shape_geometry import KINDS, Shape, centre, placed, resized, turned
from studies.drawings import Drawing
from studies.shapes import Ellipse, Freehand, Line, Polygon, Rectangle, Shapes
from studies.timed_shapes import Motion, TimedShapes, edited

SIZE = (40, 30)
FRAMES = 6
SIGNAL = Ellipse((15.0, 11.0), (5.0, 3.0))
SHAPES = Shapes(SIGNAL, Rectangle((30.0, 6.0), (8.0, 5.0)), Line((5.0, 20.0), (25.0, 25.0)))


@pytest.fixture
def board() -> ShapeBoard:
    made = ShapeBoard()
    made.load(Drawing(TimedShapes(SHAPES)), SIZE, FRAMES)
    return made


def centres(board: ShapeBoard) -> list[float]:
    """x of the signal region in every frame."""
    return [centre(board.shapes.at("signal", frame))[0] for frame in range(FRAMES)]  # type: ignore[arg-type]


def test_a_change_counts_in_all_frames_from_here_on_or_in_this_one(board: ShapeBoard) -> None:
    board.select("signal")
    board.set_frame(2)
    board.nudge(1, 0)
    assert centres(board) == [16] * 6
    board.set_scope("onward")
    board.nudge(2, 0)
    assert centres(board) == [16, 16, 18, 18, 18, 18]
    board.set_frame(4)
    board.set_scope("frame")
    board.nudge(0.5, 0)
    assert centres(board) == [16, 16, 18, 18, 18.5, 18]
    # From frame 3 on, but only up to the next change.
    board.set_frame(3)
    board.set_scope("onward")
    board.nudge(1, 0)
    assert centres(board) == [16, 16, 18, 19, 18.5, 18]


def test_from_here_on_ends_at_the_next_change(board: ShapeBoard) -> None:
    shapes = edited(board.shapes, "signal", SIGNAL.moved(7, 0), 4, 5)
    board.load(Drawing(shapes), SIZE, FRAMES)
    board.select("signal")
    board.set_frame(2)
    board.set_scope("onward")
    board.nudge(1, 0)
    assert centres(board) == [15, 15, 16, 16, 22, 22]


def test_moving_all_frames_keeps_the_changes_and_redrawing_drops_them(board: ShapeBoard) -> None:
    board.load(Drawing(edited(board.shapes, "signal", SIGNAL.moved(4, 0), 3, 5)), SIZE, FRAMES)
    board.select("signal")
    board.nudge(1, 0)
    assert centres(board) == [16, 16, 16, 20, 20, 20]
    board.set_frame(3)
    board.resize(2, 0)
    assert centres(board) == [20] * 6
    assert board.shapes.stays
    board.undo()
    assert centres(board) == [16, 16, 16, 20, 20, 20]


def test_deleting_in_a_frame_takes_its_change_back(board: ShapeBoard) -> None:
    board.load(Drawing(edited(board.shapes, "signal", SIGNAL.moved(4, 0), 2, 4)), SIZE, FRAMES)
    board.select("signal")
    board.set_frame(3)
    board.set_scope("frame")
    assert board.remove_selected()
    assert centres(board) == [15, 15, 19, 15, 19, 15]
    board.set_frame(4)
    board.set_scope("onward")
    assert board.remove_selected()
    assert centres(board) == [15, 15, 19, 15, 15, 15]
    assert not board.remove_selected()
    board.set_scope("all")
    assert board.remove_selected()
    assert board.shapes.drawing.signal is None and board.shapes.edits == ()
    assert board.armed == "signal"


def test_a_followed_region_is_moved_where_it_is_seen(board: ShapeBoard) -> None:
    """Dragged in a frame where it lies 3 pixels further, it ends up where the mouse leaves it."""
    motion = Motion(0, (0, 1, 2, 3, 2, 1), (0,) * 6)
    board.load(Drawing(TimedShapes(SHAPES, (), {"signal": motion})), SIZE, FRAMES)
    board.set_frame(3)
    board.put("signal", Ellipse((20.0, 11.0), (2.0, 2.0)))
    assert board.shape("signal") == Ellipse((20.0, 11.0), (2.0, 2.0))
    assert centres(board) == [17, 18, 19, 20, 19, 18]


def test_undo_and_redo_go_both_ways_and_a_new_change_ends_redo(board: ShapeBoard) -> None:
    board.select("line")
    seen = [board.drawing]
    for _ in range(3):
        board.nudge(1, 0)
        seen.append(board.drawing)
    board.set_frame_range((1, 4))
    seen.append(board.drawing)
    for wanted in reversed(seen[:-1]):
        assert board.undo() and board.drawing == wanted
    assert not board.undo()
    for wanted in seen[1:]:
        assert board.redo() and board.drawing == wanted
    assert not board.redo()
    board.undo()
    board.nudge(0, 1)
    assert not board.redoable


def test_a_press_without_a_change_is_no_step(board: ShapeBoard) -> None:
    board.select("signal")
    board.nudge(1, 0)
    board.remember()
    assert board.undo()
    assert centres(board) == [15] * 6


def test_corners_are_moved_added_and_deleted_one_by_one(board: ShapeBoard) -> None:
    board.put("signal", Polygon(((5, 5), (15, 5), (10, 15))))
    board.select("signal")
    board.select_corner(1)
    assert board.nudge(-1, 2)
    board.select_corner(1)
    assert board.add_corner()
    board.nudge(3, 0)
    shape = board.shape("signal")
    assert shape == Polygon(((4, 7), (15, 5), (15.5, 10), (10, 15)))
    assert board.remove_selected()
    assert board.shape("signal") == Polygon(((4, 7), (15, 5), (10, 15)))
    board.select_corner(1)
    board.remove_selected()  # a triangle keeps its corners
    assert board.shape("signal") == Polygon(((4, 7), (15, 5), (10, 15)))


def test_the_ends_of_a_line_are_moved_one_by_one(board: ShapeBoard) -> None:
    board.select("line")
    board.select_corner(1)
    board.nudge(1, 0)
    assert board.shapes.drawing.line == Line((6.0, 20.0), (25.0, 25.0))
    board.select_corner(1)
    board.nudge(0, -1)
    assert board.shapes.drawing.line == Line((6.0, 20.0), (25.0, 24.0))
    board.select_corner(1)
    board.nudge(1, 1)
    assert board.shapes.drawing.line == Line((7.0, 21.0), (26.0, 25.0))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (Ellipse((15, 11), (5, 3), 0.3), lambda s: (2 * s.semi_axes[0], 2 * s.semi_axes[1])),
        (Rectangle((15, 11), (8, 5), 0.3), lambda s: s.size_xy),
        (Polygon(((5, 5), (15, 5), (10, 15))), lambda shape: _box(shape)),
        (Freehand(((5, 5), (15, 5), (11, 9), (10, 15))), lambda shape: _box(shape)),
    ],
)
def test_resizing_adds_exactly_a_pixel(shape: Shape, size: Callable[[Shape], tuple[float, float]]) -> None:
    before, after = size(shape), size(resized(shape, 1, -1))
    assert after == pytest.approx((before[0] + 1, before[1] - 1))
    tiny = size(resized(shape, -100, -100))
    assert min(tiny) >= 1
    if not isinstance(shape, Polygon):
        assert centre(resized(shape, 1, -1)) == centre(shape)


def _box(shape: Shape) -> tuple[float, float]:
    xs, ys = zip(*shape.outline(), strict=True)
    return max(xs) - min(xs), max(ys) - min(ys)


def test_a_line_grows_at_its_end() -> None:
    line = Line((0, 0), (3, 4))
    assert resized(line, 5, 3) == Line((0, 0), (6, 8))
    assert resized(line, -100, 0).length_px == pytest.approx(1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "shape", [SIGNAL, SHAPES.background, SHAPES.line, Polygon(((5, 5), (15, 5), (9, 15)))]
)
def test_turning_turns_every_point_around_the_middle(shape: Shape) -> None:
    angle = math.radians(30)
    x, y = centre(shape)
    for (px, py), (qx, qy) in zip(shape.outline(), turned(shape, angle).outline(), strict=True):
        dx, dy = px - x, py - y
        cosine, sine = math.cos(angle), math.sin(angle)
        assert (qx, qy) == pytest.approx((x + cosine * dx - sine * dy, y + sine * dx + cosine * dy))


def test_every_kind_can_be_put_without_a_mouse() -> None:
    board = ShapeBoard()
    for kind in KINDS:
        board.load(Drawing(TimedShapes(Shapes())), SIZE)
        board.set_kind(kind)
        assert board.place((20, 15), 12)
        shape = board.shapes.drawing.signal
        assert shape is not None and centre(shape) == pytest.approx((20, 15))
        assert 80 < int(shape.mask((30, 40)).sum()) < 180
        assert board.selected == "signal" and board.armed == "background"
    assert placed("line", (20, 15), 12, 3) == Line((14, 15), (26, 15), 3)


def test_the_width_of_lines_reaches_every_line(board: ShapeBoard) -> None:
    shapes = edited(board.shapes, "line", Line((5.0, 21.0), (25.0, 26.0)), 2, 3)
    board.load(Drawing(shapes, profile=Line((0, 0), (9, 9))), SIZE, FRAMES)
    board.set_line_width(5)
    widths = {board.shapes.at("line", frame).width_px for frame in range(FRAMES)}  # type: ignore[union-attr]
    assert widths == {5} and board.drawing.profile == Line((0, 0), (9, 9), 5)
    board.undo()
    assert board.shapes == shapes


def test_the_whole_movie_is_no_range(board: ShapeBoard) -> None:
    board.set_frame_range((2, 5))
    assert board.drawing.frame_range == (2, 5)
    board.set_frame_range((0, FRAMES))
    assert board.drawing.frame_range is None
