"""Drawing with the mouse: shapes land where they are drawn, and the tint is the measured mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from app.widgets.movie_panel import MoviePanel
from app.widgets.roi_layer import RoiLayer, pixel_outline
from app.widgets.shape_board import ShapeBoard
from app.widgets.view_state import ViewState
from studies.drawings import Drawing as Drawn
from studies.shapes import Ellipse, Freehand, Line, Polygon, Rectangle, Region, Shapes
from studies.timed_shapes import Motion, TimedShapes

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
        self.load(Shapes())

    def load(self, shapes: Shapes) -> None:
        self.board.load(Drawn(TimedShapes(shapes)), (WIDTH, HEIGHT))

    @property
    def shapes(self) -> Shapes:
        return self.board.shapes.drawing

    def click(self, x: float, y: float) -> None:
        self.qtbot.mouseClick(self.panel, Qt.MouseButton.LeftButton, pos=self.at(x, y))

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
    shapes = drawing.shapes
    assert isinstance(shapes.signal, Ellipse)
    assert shapes.signal.centre_xy == pytest.approx((15, 11), abs=0.03)
    assert shapes.signal.semi_axes == pytest.approx((5, 3), abs=0.03)
    assert isinstance(shapes.background, Rectangle)
    assert shapes.background.centre_xy == pytest.approx((34, 4.5), abs=0.03)
    assert shapes.background.size_xy == pytest.approx((8, 5), abs=0.03)
    assert shapes.line is not None
    assert shapes.line.start_xy == pytest.approx((5, 20), abs=0.03)
    assert shapes.line.end_xy == pytest.approx((25, 25), abs=0.03)


def test_each_region_is_drawn_as_what_was_chosen_for_it(drawing: Drawing) -> None:
    drawing.board.arm("background")
    drawing.board.set_kind("ellipse")
    drawing.drag((30, 2), (38, 8))
    assert isinstance(drawing.shapes.background, Ellipse)
    drawing.board.arm("signal")
    drawing.board.set_kind("rectangle")
    drawing.drag((5, 5), (15, 11))
    assert drawing.shapes.signal == Rectangle((10, 8), (10, 6))


def test_a_polygon_is_clicked_and_closed_at_its_first_corner(drawing: Drawing) -> None:
    drawing.board.set_kind("polygon")
    corners = [(5.0, 5.0), (15.0, 6.0), (12.0, 15.0), (4.0, 12.0)]
    for corner in corners:
        drawing.click(*corner)
    assert drawing.shapes.signal is None
    drawing.click(5.2, 4.9)
    signal = drawing.shapes.signal
    assert type(signal) is Polygon
    np.testing.assert_allclose(signal.vertices_xy, corners, atol=0.03)
    assert drawing.board.armed == "background"
    drawing.board.undo()
    assert drawing.shapes == Shapes()


def test_a_polygon_is_closed_by_a_double_click(drawing: Drawing) -> None:
    drawing.board.set_kind("polygon")
    for corner in ((5, 5), (15, 6)):
        drawing.click(*corner)
    drawing.click(12, 15)
    drawing.qtbot.mouseDClick(drawing.panel, Qt.MouseButton.LeftButton, pos=drawing.at(12, 15))
    signal = drawing.shapes.signal
    assert type(signal) is Polygon and len(signal.vertices_xy) == 3


def test_an_open_polygon_gives_corners_back(drawing: Drawing) -> None:
    drawing.board.set_kind("polygon")
    for corner in ((5, 5), (15, 6), (12, 15)):
        drawing.click(*corner)
    assert drawing.board.drop_last_corner()
    assert len(drawing.board.pending) == 2
    assert not drawing.board.close_outline()  # two corners enclose nothing
    assert drawing.shapes == Shapes() and not drawing.board.pending


def test_an_outline_by_hand_keeps_its_points(drawing: Drawing) -> None:
    drawing.board.set_kind("freehand")
    points = [(10 + 5 * math.cos(turn / 6), 10 + 4 * math.sin(turn / 6)) for turn in range(38)]
    drawing.qtbot.mousePress(drawing.panel, Qt.MouseButton.LeftButton, pos=drawing.at(*points[0]))
    for point in points[1:]:
        drawing.qtbot.mouseMove(drawing.panel, pos=drawing.at(*point))
    drawing.qtbot.mouseRelease(drawing.panel, Qt.MouseButton.LeftButton, pos=drawing.at(*points[-1]))
    signal = drawing.shapes.signal
    assert type(signal) is Freehand
    radius = [math.hypot((x - 10) / 5, (y - 10) / 4) for x, y in signal.vertices_xy]
    np.testing.assert_allclose(radius, 1, atol=0.02)
    # All points but those that lie closer than half a pixel to the one before.
    assert 30 <= len(signal.vertices_xy) <= 38
    area = int(signal.mask((HEIGHT, WIDTH)).sum())
    assert area == pytest.approx(math.pi * 20, rel=0.05)


def test_a_corner_of_a_polygon_is_dragged(drawing: Drawing) -> None:
    drawing.load(Shapes(signal=Polygon(((5, 5), (15, 5), (10, 15)))))
    drawing.board.arm(None)
    drawing.board.select("signal")
    drawing.drag((15, 5), (18, 7))
    assert isinstance(drawing.shapes.signal, Polygon)
    np.testing.assert_allclose(drawing.shapes.signal.vertices_xy, ((5, 5), (18, 7), (10, 15)), atol=0.03)
    assert drawing.board.corner == "1"


def test_drawing_lands_at_the_same_image_place_in_a_zoomed_view(drawing: Drawing) -> None:
    drawing.view.set_view(12, 12, 4.0)
    drawing.board.arm("line")
    drawing.drag((9, 11), (14, 13))
    line = drawing.shapes.line
    assert line is not None
    assert line.start_xy == pytest.approx((9, 11), abs=0.01)
    assert line.end_xy == pytest.approx((14, 13), abs=0.01)


def test_a_click_without_a_drag_draws_nothing_and_keeps_the_tool(drawing: Drawing) -> None:
    drawing.drag((10, 10), (10, 10))
    assert drawing.shapes == Shapes()
    assert drawing.board.armed == "signal"


def test_dragging_inside_a_shape_moves_it(drawing: Drawing) -> None:
    drawing.load(Shapes(signal=Ellipse((15, 11), (5, 3)), background=None, line=None))
    drawing.board.arm(None)
    drawing.drag((15, 11), (18, 13))
    signal = drawing.shapes.signal
    assert isinstance(signal, Ellipse)
    assert signal.centre_xy == pytest.approx((18, 13), abs=0.03)
    assert signal.semi_axes == (5, 3)


def test_handles_resize_and_turn(drawing: Drawing) -> None:
    drawing.load(Shapes(signal=Ellipse((15, 11), (5, 3))))
    drawing.board.arm(None)
    drawing.board.select("signal")
    drawing.drag((20, 11), (22, 11))
    signal = drawing.shapes.signal
    assert isinstance(signal, Ellipse)
    assert signal.semi_axes == pytest.approx((7, 3), abs=0.03)
    # The turning handle stands one image pixel (20 on the screen) beyond the right end.
    drawing.drag((23, 11), (15, 19))
    turned = drawing.shapes.signal
    assert isinstance(turned, Ellipse)
    assert turned.angle == pytest.approx(math.pi / 2, abs=0.01)
    drawing.load(Shapes(background=Rectangle((10, 10), (6, 4))))
    drawing.board.arm(None)
    drawing.board.select("background")
    drawing.drag((13, 12), (15, 15))
    rectangle = drawing.shapes.background
    assert isinstance(rectangle, Rectangle)
    assert rectangle.centre_xy == pytest.approx((11, 11.5), abs=0.03)
    assert rectangle.size_xy == pytest.approx((8, 7), abs=0.03)


def test_arrow_steps_move_by_exactly_one_pixel_and_can_be_undone(drawing: Drawing) -> None:
    line = Line((5.25, 6.5), (20.0, 9.0))
    drawing.load(Shapes(line=line))
    assert not drawing.board.nudge(1, 0)
    drawing.board.select("line")
    assert drawing.board.nudge(1, 0)
    assert drawing.board.nudge(0, -1)
    assert drawing.shapes.line == Line((6.25, 5.5), (21.0, 8.0))
    drawing.board.undo()
    drawing.board.undo()
    assert drawing.shapes.line == line
    assert not drawing.board.undo()


def test_one_drag_is_one_undo(drawing: Drawing) -> None:
    drawing.drag((10, 8), (20, 14))
    before = drawing.shapes
    drawing.drag((15, 11), (18, 13))
    assert drawing.shapes != before
    drawing.board.undo()
    assert drawing.shapes == before
    drawing.board.undo()
    assert drawing.shapes == Shapes()
    assert drawing.board.armed == "signal"


def test_deleting_arms_the_tool_of_what_was_deleted(drawing: Drawing) -> None:
    drawing.load(Shapes(signal=Ellipse((15, 11), (5, 3))))
    drawing.board.select("signal")
    assert drawing.board.remove_selected()
    assert drawing.shapes == Shapes()
    assert drawing.board.armed == "signal"
    drawing.board.undo()
    assert drawing.shapes.signal == Ellipse((15, 11), (5, 3))


def test_a_line_cannot_leave_the_image(drawing: Drawing) -> None:
    drawing.board.arm("line")
    drawing.drag((20, 15), (60, 15))
    line = drawing.shapes.line
    assert line is not None
    assert line.end_xy[0] == WIDTH - 1
    drawing.board.select("line")
    drawing.board.nudge(10, 0)
    assert drawing.shapes.line is not None
    assert drawing.shapes.line.end_xy[0] == WIDTH - 1
    assert drawing.shapes.line.length_px == pytest.approx(line.length_px)


def test_line_width_belongs_to_the_line(drawing: Drawing) -> None:
    drawing.board.set_line_width(3)
    drawing.board.arm("line")
    drawing.drag((5, 5), (20, 5))
    assert drawing.shapes.line is not None
    assert drawing.shapes.line.width_px == 3
    drawing.board.set_line_width(5)
    assert drawing.shapes.line.width_px == 5


def test_the_tint_covers_exactly_the_measured_pixels(drawing: Drawing) -> None:
    region = Ellipse((15.3, 11.8), (6.2, 3.4), 0.4)
    drawing.load(Shapes(signal=region))
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
    assert drawing.shapes == Shapes()


REGIONS: list[Region] = [
    Ellipse((15.3, 11.8), (6.2, 3.4), 0.4),
    Rectangle((12.5, 9.0), (7.0, 4.0)),
    Polygon(((3, 3), (9.5, 4), (6, 12))),
    Ellipse((4.0, 4.0), (0.4, 0.4)),
    Rectangle((19.5, 14.5), (40.0, 30.0)),
]


@pytest.mark.parametrize("region", REGIONS)
def test_the_outline_of_pixels_parts_inside_from_outside(region: Region) -> None:
    """Every piece lies between a pixel of the mask and one outside, and every such border has its piece."""
    mask = region.mask((HEIGHT, WIDTH))

    def inside(row: int, column: int) -> bool:
        return 0 <= row < HEIGHT and 0 <= column < WIDTH and bool(mask[row, column])

    wanted = set()
    for row in range(-1, HEIGHT):
        for column in range(-1, WIDTH):
            if inside(row, column) != inside(row + 1, column):
                wanted.add(((column - 0.5, row + 0.5), (column + 0.5, row + 0.5)))
            if inside(row, column) != inside(row, column + 1):
                wanted.add(((column + 0.5, row - 0.5), (column + 0.5, row + 0.5)))
    found = set()
    for (x0, y0), (x1, y1) in pixel_outline(mask):
        steps = round(abs(x1 - x0) + abs(y1 - y0))
        dx, dy = (x1 - x0) / steps, (y1 - y0) / steps
        for step in range(steps):
            piece = ((x0 + step * dx, y0 + step * dy), (x0 + (step + 1) * dx, y0 + (step + 1) * dy))
            assert piece not in found
            found.add(piece)
    assert found == wanted and wanted


def test_the_borders_of_pixels_are_painted_on_demand(drawing: Drawing) -> None:
    """White lines along the pixels of the mask, and nowhere else; without them there is no white."""
    region = Polygon(((10, 10), (16, 10), (16, 16)))
    drawing.load(Shapes(signal=region))
    drawing.board.arm(None)
    assert not _white(drawing).any()
    drawing.layer.show_pixels(True)
    white = _white(drawing)
    # The step between the pixels (11, 12), outside, and (12, 12), on the slanted side.
    corner = drawing.panel.image_to_widget(11.5, 12.0).toPoint()
    assert white[corner.y() - 3 : corner.y() + 4, corner.x() - 2 : corner.x() + 3].any()
    inside = drawing.at(14.5, 12)
    assert not white[inside.y() - 4 : inside.y() + 5, inside.x() - 4 : inside.x() + 5].any()


def _white(drawing: Drawing) -> np.ndarray:
    image = drawing.panel.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width())
    return np.asarray(pixels & 0xFFFFFF == 0xFFFFFF)


def test_the_way_of_a_followed_region_is_shown(drawing: Drawing) -> None:
    motion = Motion(0, (0, 8), (0, 0))
    shapes = TimedShapes(Shapes(signal=Ellipse((10, 11), (3, 3))), (), {"signal": motion})
    drawing.board.load(Drawn(shapes), (WIDTH, HEIGHT), 2)
    drawing.board.arm(None)
    image = drawing.panel.grab().toImage()
    on_the_way, beside_it = (QColor(image.pixel(drawing.at(14.5, y))).green() for y in (11, 12))
    assert on_the_way > 80 and beside_it == 0
    drawing.board.set_frame(1)
    assert drawing.board.shape("signal") == Ellipse((18, 11), (3, 3))
