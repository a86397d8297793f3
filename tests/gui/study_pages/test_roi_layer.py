"""Drawing with the mouse: shapes land where they are drawn, and the tint is the measured mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from app.widgets.movie_panel import MoviePanel
from app.widgets.roi_layer import RoiLayer, ShapeBoard
from app.widgets.view_state import ViewState
from studies.shapes import Ellipse, Line, Rectangle, Shapes

WIDTH, HEIGHT = 40, 30
SCALE = 20


class Drawing:
    """A panel of 20 screen pixels an image pixel with an editable layer, worked in image coordinates."""

    def __init__(self, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        self.view = ViewState()
        self.panel = MoviePanel("", self.view)
        qtbot.addWidget(self.panel)
        self.panel.resize(WIDTH * SCALE, HEIGHT * SCALE)
        self.panel.set_frames(np.zeros((1, HEIGHT, WIDTH), dtype=np.uint8), adopt_size=True)
        self.board = ShapeBoard()
        self.layer = RoiLayer(self.panel, self.board, editable=True)
        self.board.load(Shapes(), (WIDTH, HEIGHT))

    def at(self, x: float, y: float) -> QPoint:
        return self.panel.image_to_widget(x, y).toPoint()

    def drag(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        left = Qt.MouseButton.LeftButton
        self.qtbot.mousePress(self.panel, left, modifier, pos=self.at(*start))
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.qtbot.mouseMove(self.panel, pos=self.at(*middle))
        self.qtbot.mouseMove(self.panel, pos=self.at(*end))
        self.qtbot.mouseRelease(self.panel, left, modifier, pos=self.at(*end))


@pytest.fixture
def drawing(qtbot: QtBot) -> Drawing:
    return Drawing(qtbot)


def test_the_three_shapes_are_drawn_one_after_another(drawing: Drawing) -> None:
    assert drawing.board.armed == "signal"
    drawing.drag((10, 8), (20, 14))
    assert drawing.board.armed == "background"
    drawing.drag((30, 2), (38, 7))
    assert drawing.board.armed == "line"
    drawing.drag((5, 20), (25, 25))
    assert drawing.board.armed is None
    shapes = drawing.board.shapes
    assert isinstance(shapes.signal, Ellipse)
    assert shapes.signal.centre_xy == pytest.approx((15, 11), abs=0.03)
    assert shapes.signal.semi_axes == pytest.approx((5, 3), abs=0.03)
    assert isinstance(shapes.background, Rectangle)
    assert shapes.background.centre_xy == pytest.approx((34, 4.5), abs=0.03)
    assert shapes.background.size_xy == pytest.approx((8, 5), abs=0.03)
    assert shapes.line is not None
    assert shapes.line.start_xy == pytest.approx((5, 20), abs=0.03)
    assert shapes.line.end_xy == pytest.approx((25, 25), abs=0.03)


def test_shift_draws_the_air_region_as_an_ellipse(drawing: Drawing) -> None:
    drawing.board.arm("background")
    drawing.drag((30, 2), (38, 8), Qt.KeyboardModifier.ShiftModifier)
    assert isinstance(drawing.board.shapes.background, Ellipse)


def test_drawing_lands_at_the_same_image_place_in_a_zoomed_view(drawing: Drawing) -> None:
    drawing.view.set_view(12, 12, 4.0)
    drawing.board.arm("line")
    drawing.drag((9, 11), (14, 13))
    line = drawing.board.shapes.line
    assert line is not None
    assert line.start_xy == pytest.approx((9, 11), abs=0.01)
    assert line.end_xy == pytest.approx((14, 13), abs=0.01)


def test_a_click_without_a_drag_draws_nothing_and_keeps_the_tool(drawing: Drawing) -> None:
    drawing.drag((10, 10), (10, 10))
    assert drawing.board.shapes == Shapes()
    assert drawing.board.armed == "signal"


def test_dragging_inside_a_shape_moves_it(drawing: Drawing) -> None:
    drawing.board.load(Shapes(signal=Ellipse((15, 11), (5, 3)), background=None, line=None), (WIDTH, HEIGHT))
    drawing.board.arm(None)
    drawing.drag((15, 11), (18, 13))
    signal = drawing.board.shapes.signal
    assert isinstance(signal, Ellipse)
    assert signal.centre_xy == pytest.approx((18, 13), abs=0.03)
    assert signal.semi_axes == (5, 3)


def test_handles_resize_and_turn(drawing: Drawing) -> None:
    drawing.board.load(Shapes(signal=Ellipse((15, 11), (5, 3))), (WIDTH, HEIGHT))
    drawing.board.arm(None)
    drawing.board.select("signal")
    drawing.drag((20, 11), (22, 11))
    signal = drawing.board.shapes.signal
    assert isinstance(signal, Ellipse)
    assert signal.semi_axes == pytest.approx((7, 3), abs=0.03)
    # The turning handle stands one image pixel (20 on the screen) beyond the right end.
    drawing.drag((23, 11), (15, 19))
    turned = drawing.board.shapes.signal
    assert isinstance(turned, Ellipse)
    assert turned.angle == pytest.approx(math.pi / 2, abs=0.01)
    drawing.board.load(Shapes(background=Rectangle((10, 10), (6, 4))), (WIDTH, HEIGHT))
    drawing.board.arm(None)
    drawing.board.select("background")
    drawing.drag((13, 12), (15, 15))
    rectangle = drawing.board.shapes.background
    assert isinstance(rectangle, Rectangle)
    assert rectangle.centre_xy == pytest.approx((11, 11.5), abs=0.03)
    assert rectangle.size_xy == pytest.approx((8, 7), abs=0.03)


def test_arrow_steps_move_by_exactly_one_pixel_and_can_be_undone(drawing: Drawing) -> None:
    line = Line((5.25, 6.5), (20.0, 9.0))
    drawing.board.load(Shapes(line=line), (WIDTH, HEIGHT))
    assert not drawing.board.nudge(1, 0)
    drawing.board.select("line")
    assert drawing.board.nudge(1, 0)
    assert drawing.board.nudge(0, -1)
    assert drawing.board.shapes.line == Line((6.25, 5.5), (21.0, 8.0))
    drawing.board.undo()
    drawing.board.undo()
    assert drawing.board.shapes.line == line
    assert not drawing.board.undo()


def test_one_drag_is_one_undo(drawing: Drawing) -> None:
    drawing.drag((10, 8), (20, 14))
    before = drawing.board.shapes
    drawing.drag((15, 11), (18, 13))
    assert drawing.board.shapes != before
    drawing.board.undo()
    assert drawing.board.shapes == before
    drawing.board.undo()
    assert drawing.board.shapes == Shapes()
    assert drawing.board.armed == "signal"


def test_deleting_arms_the_tool_of_what_was_deleted(drawing: Drawing) -> None:
    drawing.board.load(Shapes(signal=Ellipse((15, 11), (5, 3))), (WIDTH, HEIGHT))
    drawing.board.select("signal")
    assert drawing.board.remove_selected()
    assert drawing.board.shapes == Shapes()
    assert drawing.board.armed == "signal"
    drawing.board.undo()
    assert drawing.board.shapes.signal == Ellipse((15, 11), (5, 3))


def test_a_line_cannot_leave_the_image(drawing: Drawing) -> None:
    drawing.board.arm("line")
    drawing.drag((20, 15), (60, 15))
    line = drawing.board.shapes.line
    assert line is not None
    assert line.end_xy[0] == WIDTH - 1
    drawing.board.select("line")
    drawing.board.nudge(10, 0)
    assert drawing.board.shapes.line is not None
    assert drawing.board.shapes.line.end_xy[0] == WIDTH - 1
    assert drawing.board.shapes.line.length_px == pytest.approx(line.length_px)


def test_line_width_belongs_to_the_line(drawing: Drawing) -> None:
    drawing.board.set_line_width(3)
    drawing.board.arm("line")
    drawing.drag((5, 5), (20, 5))
    assert drawing.board.shapes.line is not None
    assert drawing.board.shapes.line.width_px == 3
    drawing.board.set_line_width(5)
    assert drawing.board.shapes.line.width_px == 5


def test_the_tint_covers_exactly_the_measured_pixels(drawing: Drawing) -> None:
    region = Ellipse((15.3, 11.8), (6.2, 3.4), 0.4)
    drawing.board.load(Shapes(signal=region), (WIDTH, HEIGHT))
    drawing.board.arm(None)
    image = drawing.panel.grab().toImage()
    mask = region.mask((HEIGHT, WIDTH))
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    # The outline itself is painted over some pixel centres: those tell nothing.
    turned_x = math.cos(0.4) * (x - 15.3) + math.sin(0.4) * (y - 11.8)
    turned_y = -math.sin(0.4) * (x - 15.3) + math.cos(0.4) * (y - 11.8)
    radius = np.hypot(turned_x / 6.2, turned_y / 3.4)
    clear = np.abs(radius - 1) > 0.08
    named = (x > 20) & (y < 12)  # the shape's name is written here
    tinted = np.array(
        [[QColor(image.pixel(drawing.at(i, j))).green() > 20 for i in range(WIDTH)] for j in range(HEIGHT)]
    )
    judged = clear & ~named
    assert judged.sum() > 900
    np.testing.assert_array_equal(tinted[judged], mask[judged])


def test_a_layer_that_is_not_editable_leaves_the_mouse_to_the_panel(qtbot: QtBot) -> None:
    drawing = Drawing(qtbot)
    other = MoviePanel("", drawing.view)
    qtbot.addWidget(other)
    other.resize(WIDTH * SCALE, HEIGHT * SCALE)
    other.set_frames(np.zeros((1, HEIGHT, WIDTH), dtype=np.uint8))
    RoiLayer(other, drawing.board, editable=False)
    drawing.panel = other
    drawing.drag((10, 8), (20, 14))
    assert drawing.board.shapes == Shapes()
