"""Drawing a signal region, an air region and a line on a movie panel: handles and outlines, never numbers.

A `ShapeBoard` holds the shapes of one clip in image coordinates (x = column, y = row, pixel centres at
integers); any number of `RoiLayer`s show the same board on their panels, so what is drawn once lies at the
same place in every movie. Masks come from `studies.shapes` alone: the tint inside an outline is that module's
own mask, pixel by pixel, so what is seen is what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from app.widgets.movie_panel import MoviePanel
from studies.shapes import Ellipse, Line, Point, Polygon, Rectangle, Region, Shapes

Role: TypeAlias = Literal["signal", "background", "line"]
Shape: TypeAlias = Region | Line

ROLES: tuple[Role, ...] = ("signal", "background", "line")
ROLE_NAMES: Mapping[Role, str] = {"signal": "Signal", "background": "Air", "line": "Line"}
ROLE_COLOURS: Mapping[Role, str] = {"signal": "#5ec8a0", "background": "#e8b04a", "line": "#f07a8c"}

_GRAB_RADIUS_PX = 9.0
_HANDLE_SIZE_PX = 8.0
_TURN_HANDLE_PX = 20.0
_SMALLEST_DRAWN_PX = 1.0
_MAXIMUM_UNDO = 200


class ShapeBoard(QObject):
    """The shapes of one clip while they are being drawn.

    Signals:
        changed: A shape, the selection or the armed tool changed.
        shapes_changed: A shape changed (to measure again).
    """

    changed = Signal()
    shapes_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        """Start empty; `load` begins a clip."""
        super().__init__(parent)
        self._shapes = Shapes()
        self._selected: Role | None = None
        self._armed: Role | None = None
        self._history: list[Shapes] = []
        self._image_size = (1, 1)
        self._line_width_px = 1

    @property
    def shapes(self) -> Shapes:
        """What is drawn now."""
        return self._shapes

    @property
    def selected(self) -> Role | None:
        """The shape that arrow keys and Delete act on."""
        return self._selected

    @property
    def armed(self) -> Role | None:
        """The shape that the next drag of the mouse draws."""
        return self._armed

    @property
    def undoable(self) -> bool:
        """True when a change can be taken back."""
        return bool(self._history)

    @property
    def line_width_px(self) -> int:
        """Number of parallel lines that the profile is averaged over."""
        return self._line_width_px

    def shape(self, role: Role) -> Shape | None:
        """The shape of one role, or None."""
        found: Shape | None = getattr(self._shapes, role)
        return found

    def load(self, shapes: Shapes, image_size: tuple[int, int]) -> None:
        """Begin a clip: show stored shapes, forget undo and selection.

        Args:
            shapes: What was drawn before; empty for a new clip.
            image_size: (width, height) in pixels, which shapes are kept inside of.
        """
        self._shapes = shapes
        self._image_size = image_size
        self._history.clear()
        self._selected = None
        self._armed = self._first_missing()
        if shapes.line is not None:
            self._line_width_px = shapes.line.width_px
        self.changed.emit()
        self.shapes_changed.emit()

    def arm(self, role: Role | None) -> None:
        """Choose the tool: the next drag draws this shape anew (None: drags move what is there)."""
        self._armed = role
        if role is not None:
            self._selected = role
        self.changed.emit()

    def select(self, role: Role | None) -> None:
        """Choose the shape that arrow keys and Delete act on."""
        if role != self._selected:
            self._selected = role
            self.changed.emit()

    def remember(self) -> None:
        """Make the present shapes what one `undo` goes back to; call it once before a change or a drag."""
        if not self._history or self._history[-1] != self._shapes:
            self._history.append(self._shapes)
            del self._history[:-_MAXIMUM_UNDO]

    def put(self, role: Role, shape: Shape | None) -> None:
        """Replace one shape; it is moved so that its centre (a line: all of it) lies inside the image."""
        if shape is not None:
            shape = self._inside(shape)
        changes: dict[str, Any] = {role: shape}
        self._shapes = replace(self._shapes, **changes)
        self.changed.emit()
        self.shapes_changed.emit()

    def nudge(self, dx: float, dy: float) -> bool:
        """Move the selected shape by pixels; False if nothing is selected."""
        if self._selected is None:
            return False
        shape = self.shape(self._selected)
        if shape is None:
            return False
        self.remember()
        self.put(self._selected, shape.moved(dx, dy))
        return True

    def remove_selected(self) -> bool:
        """Delete the selected shape and arm its tool; False if nothing is selected."""
        if self._selected is None or self.shape(self._selected) is None:
            return False
        self.remember()
        self._armed = self._selected
        self.put(self._selected, None)
        return True

    def undo(self) -> bool:
        """Take the last change back; False if there is none."""
        if not self._history:
            return False
        self._shapes = self._history.pop()
        self._armed = self._first_missing()
        self.changed.emit()
        self.shapes_changed.emit()
        return True

    def set_line_width(self, width_px: int) -> None:
        """Average the profile over this many parallel lines, one pixel apart."""
        if width_px == self._line_width_px:
            return
        self._line_width_px = width_px
        if self._shapes.line is not None:
            self.remember()
            self.put("line", replace(self._shapes.line, width_px=width_px))

    def finish_drawing(self, role: Role) -> None:
        """A shape was drawn: select it and arm the next one that is still missing."""
        self._selected = role
        self._armed = self._first_missing()
        self.changed.emit()

    def clamp(self, point: Point) -> Point:
        """The point of the image nearest to a point."""
        width, height = self._image_size
        return min(max(point[0], 0.0), width - 1.0), min(max(point[1], 0.0), height - 1.0)

    def _first_missing(self) -> Role | None:
        return next((role for role in ROLES if self.shape(role) is None), None)

    def _inside(self, shape: Shape) -> Shape:
        xs, ys = zip(*_anchors(shape), strict=True)
        width, height = self._image_size
        dx = max(0.0, -min(xs)) or min(0.0, width - 1.0 - max(xs))
        dy = max(0.0, -min(ys)) or min(0.0, height - 1.0 - max(ys))
        return shape.moved(dx, dy) if dx or dy else shape


@dataclass(frozen=True)
class _Drag:
    """What the mouse is doing: drawing anew, or moving a handle ("body": the whole shape)."""

    role: Role
    handle: str
    start: Point
    original: Shape | None


class RoiLayer(QObject):
    """Shows a board on one panel and, if editable, lets the mouse draw and drag on it.

    Args:
        panel: Panel to draw on.
        board: Shapes to show.
        editable: False shows outlines only.
    """

    def __init__(self, panel: MoviePanel, board: ShapeBoard, *, editable: bool) -> None:
        """Begin to show the board."""
        super().__init__(panel)
        self._panel = panel
        self._board = board
        self._editable = editable
        self._drag: _Drag | None = None
        self._tints: dict[Role, tuple[Shape, tuple[int, int], QImage]] = {}
        panel.add_overlay(self._paint)
        if editable:
            panel.add_mouse_handler(self._mouse)
        board.changed.connect(panel.update)

    # ------------------------------------------------------------------------------------------ painting

    def _paint(self, painter: QPainter, panel: MoviePanel) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for role in ROLES:
            shape = self._board.shape(role)
            if shape is None:
                continue
            selected = self._editable and role == self._board.selected
            if self._editable and not isinstance(shape, Line):
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
                painter.drawImage(panel.image_rectangle(), self._tint(role, shape))
            outline = _image_to_widget(panel).map(_path(shape))
            # A dark line under the bright one keeps the outline visible on fat and on air.
            painter.setPen(QPen(QColor(0, 0, 0, 170), 4.0 if selected else 3.0))
            painter.drawPath(outline)
            painter.setPen(QPen(QColor(ROLE_COLOURS[role]), 2.2 if selected else 1.4))
            painter.drawPath(outline)
            if self._editable:
                self._paint_name(painter, role, shape)
            if selected:
                self._paint_handles(painter, role, shape)

    def _paint_name(self, painter: QPainter, role: Role, shape: Shape) -> None:
        outline = _image_to_widget(self._panel).map(_path(shape)).boundingRect()
        place = QPointF(outline.right() + 10, outline.top() + (-8 if isinstance(shape, Line) else 4))
        painter.setPen(QColor(0, 0, 0, 200))
        painter.drawText(place + QPointF(1, 1), ROLE_NAMES[role])
        painter.setPen(QColor(ROLE_COLOURS[role]))
        painter.drawText(place, ROLE_NAMES[role])

    def _paint_handles(self, painter: QPainter, role: Role, shape: Shape) -> None:
        painter.setPen(QPen(QColor(0, 0, 0, 200), 1.0))
        painter.setBrush(QColor(ROLE_COLOURS[role]))
        half = _HANDLE_SIZE_PX / 2
        for name, place in self._handles(shape).items():
            box = QRectF(place.x() - half, place.y() - half, _HANDLE_SIZE_PX, _HANDLE_SIZE_PX)
            if name == "turn":
                painter.drawEllipse(box)
            else:
                painter.drawRect(box)

    def _tint(self, role: Role, shape: Region) -> QImage:
        """The mask that will be measured, as a translucent image; kept until shape or image change."""
        width, height = self._panel.view_state.image_size
        known = self._tints.get(role)
        if known is not None and known[0] == shape and known[1] == (width, height):
            return known[2]
        colour = QColor(ROLE_COLOURS[role])
        alpha = 56
        pixels = np.zeros((height, width), dtype=np.uint32)
        premultiplied = [channel * alpha // 255 for channel in (colour.red(), colour.green(), colour.blue())]
        red, green, blue = premultiplied
        pixels[shape.mask((height, width))] = (alpha << 24) | (red << 16) | (green << 8) | blue
        image = QImage(
            pixels.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied
        ).copy()
        self._tints[role] = (shape, (width, height), image)
        return image

    # ------------------------------------------------------------------------------------------ mouse

    def _mouse(self, event: QMouseEvent, panel: MoviePanel) -> bool:
        kind = event.type()
        if kind == QEvent.Type.MouseMove:
            return self._moved(event)
        if event.button() != Qt.MouseButton.LeftButton or panel.frames is None:
            return False
        if kind == QEvent.Type.MouseButtonPress:
            return self._pressed(event)
        if kind == QEvent.Type.MouseButtonRelease:
            return self._released()
        # A double click on a shape must not reset the view under it.
        return kind == QEvent.Type.MouseButtonDblClick and self._hit(event.position()) is not None

    def _pressed(self, event: QMouseEvent) -> bool:
        point = self._panel.widget_to_image(event.position())
        hit = self._hit(event.position())
        role = self._board.armed
        if role is not None and (hit is None or hit[0] == role):
            self._board.remember()
            ellipse = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self._drag = _Drag(role, "ellipse" if ellipse else "new", self._board.clamp(point), None)
            return True
        if hit is None:
            self._board.select(None)
            return False
        role, handle = hit
        self._board.select(role)
        self._board.remember()
        self._drag = _Drag(role, handle, point, self._board.shape(role))
        return True

    def _moved(self, event: QMouseEvent) -> bool:
        if self._drag is None:
            self._show_cursor(event.position())
            return False
        point = self._panel.widget_to_image(event.position())
        drag = self._drag
        if drag.original is None:
            drawn = _drawn(
                drag.role,
                drag.start,
                self._board.clamp(point),
                drag.handle == "ellipse",
                self._board.line_width_px,
            )
            if drawn is not None:
                self._board.put(drag.role, drawn)
        else:
            self._board.put(drag.role, _dragged(drag.original, drag.handle, drag.start, point, self._board))
        return True

    def _released(self) -> bool:
        if self._drag is None:
            return False
        drag, self._drag = self._drag, None
        if drag.original is None and self._board.shape(drag.role) is not None:
            self._board.finish_drawing(drag.role)
        return True

    def _show_cursor(self, position: QPointF) -> None:
        hit = self._hit(position)
        if self._board.armed is not None and (hit is None or hit[0] == self._board.armed):
            self._panel.setCursor(Qt.CursorShape.CrossCursor)
        elif hit is None:
            self._panel.unsetCursor()
        elif hit[1] == "body":
            self._panel.setCursor(Qt.CursorShape.SizeAllCursor)
        else:
            self._panel.setCursor(Qt.CursorShape.PointingHandCursor)

    def _hit(self, position: QPointF) -> tuple[Role, str] | None:
        """Shape and handle under a widget position; handles of the selected shape come first."""
        selected = self._board.selected
        if selected is not None and (shape := self._board.shape(selected)) is not None:
            near = {name: _distance(position, place) for name, place in self._handles(shape).items()}
            name = min(near, key=lambda each: near[each])
            if near[name] <= _GRAB_RADIUS_PX:
                return selected, name
        point = self._panel.widget_to_image(position)
        for role in reversed(ROLES):
            shape = self._board.shape(role)
            if shape is not None and self._contains(shape, point, position):
                return role, "body"
        return None

    def _contains(self, shape: Shape, point: Point, position: QPointF) -> bool:
        if isinstance(shape, Line):
            ends = (self._panel.image_to_widget(*shape.start_xy), self._panel.image_to_widget(*shape.end_xy))
            return _distance_to_segment(position, *ends) <= _GRAB_RADIUS_PX
        return _path(shape).contains(QPointF(*point))

    def _handles(self, shape: Shape) -> dict[str, QPointF]:
        """Handles by name, in widget coordinates."""
        places = {name: self._panel.image_to_widget(*point) for name, point in _handle_points(shape).items()}
        if isinstance(shape, Ellipse):
            # The turning handle stands off by a fixed distance on the screen, whatever the zoom.
            centre, tip = self._panel.image_to_widget(*shape.centre_xy), places["right"]
            length = max(_distance(centre, tip), 1e-6)
            places["turn"] = tip + (tip - centre) * (_TURN_HANDLE_PX / length)
        return places


# ---------------------------------------------------------------------------------------------- geometry


def _turn(point: Point, angle: float) -> Point:
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * point[0] - sine * point[1], sine * point[0] + cosine * point[1]


def _local(shape: Ellipse | Rectangle, point: Point) -> Point:
    """A point in the shape's own frame: from its centre, turned back."""
    return _turn((point[0] - shape.centre_xy[0], point[1] - shape.centre_xy[1]), -shape.angle)


def _global(shape: Ellipse | Rectangle, point: Point) -> Point:
    dx, dy = _turn(point, shape.angle)
    return shape.centre_xy[0] + dx, shape.centre_xy[1] + dy


def _anchors(shape: Shape) -> list[Point]:
    """Points that have to stay inside the image."""
    if isinstance(shape, Line):
        return [shape.start_xy, shape.end_xy]
    if isinstance(shape, Polygon):
        xs, ys = zip(*shape.vertices_xy, strict=True)
        return [(sum(xs) / len(xs), sum(ys) / len(ys))]
    return [shape.centre_xy]


def _handle_points(shape: Shape) -> dict[str, Point]:
    """Handles by name, in image coordinates."""
    if isinstance(shape, Line):
        return {"start": shape.start_xy, "end": shape.end_xy}
    if isinstance(shape, Polygon):
        return {str(index): vertex for index, vertex in enumerate(shape.vertices_xy)}
    if isinstance(shape, Ellipse):
        a, b = shape.semi_axes
        corners = {"right": (a, 0.0), "left": (-a, 0.0), "bottom": (0.0, b), "top": (0.0, -b)}
    else:
        x, y = shape.size_xy[0] / 2, shape.size_xy[1] / 2
        corners = {"--": (-x, -y), "+-": (x, -y), "++": (x, y), "-+": (-x, y)}
    return {name: _global(shape, corner) for name, corner in corners.items()}


def _path(shape: Shape) -> QPainterPath:
    """Outline in image coordinates."""
    path = QPainterPath()
    if isinstance(shape, Line):
        path.moveTo(QPointF(*shape.start_xy))
        path.lineTo(QPointF(*shape.end_xy))
        return path
    if isinstance(shape, Polygon):
        path.addPolygon(QPolygonF([QPointF(*vertex) for vertex in shape.vertices_xy]))
        path.closeSubpath()
        return path
    if isinstance(shape, Ellipse):
        path.addEllipse(QPointF(0.0, 0.0), *shape.semi_axes)
    else:
        path.addRect(QRectF(-shape.size_xy[0] / 2, -shape.size_xy[1] / 2, *shape.size_xy))
    turned = QTransform()
    turned.translate(*shape.centre_xy)
    turned.rotateRadians(shape.angle)
    return turned.map(path)


def _drawn(role: Role, start: Point, end: Point, ellipse: bool, line_width_px: int) -> Shape | None:
    """The new shape of a drag from `start` to `end`; None while it is too small to mean anything."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    if role == "line":
        return Line(start, end, line_width_px) if math.hypot(dx, dy) >= _SMALLEST_DRAWN_PX else None
    if min(abs(dx), abs(dy)) < _SMALLEST_DRAWN_PX:
        return None
    if role == "background" and not ellipse:
        return Rectangle.from_corners(start, end)
    return Ellipse(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), (abs(dx) / 2, abs(dy) / 2))


def _dragged(shape: Shape, handle: str, start: Point, point: Point, board: ShapeBoard) -> Shape:
    """`shape` after its handle was dragged from `start` to `point`."""
    if handle == "body":
        return shape.moved(point[0] - start[0], point[1] - start[1])
    if isinstance(shape, Line):
        place = board.clamp(point)
        moved = replace(shape, start_xy=place) if handle == "start" else replace(shape, end_xy=place)
        return moved if moved.length_px >= _SMALLEST_DRAWN_PX else shape
    if isinstance(shape, Polygon):
        vertices = list(shape.vertices_xy)
        vertices[int(handle)] = board.clamp(point)
        return Polygon(tuple(vertices))
    if isinstance(shape, Ellipse):
        return _dragged_ellipse(shape, handle, point)
    return _dragged_rectangle(shape, handle, point)


def _dragged_ellipse(shape: Ellipse, handle: str, point: Point) -> Ellipse:
    """The axis of the handle follows the mouse, the centre stays; the turning handle turns."""
    if handle == "turn":
        dx, dy = point[0] - shape.centre_xy[0], point[1] - shape.centre_xy[1]
        return replace(shape, angle=math.atan2(dy, dx))
    x, y = _local(shape, point)
    a, b = shape.semi_axes
    if handle in ("left", "right"):
        return replace(shape, semi_axes=(max(abs(x), _SMALLEST_DRAWN_PX / 2), b))
    return replace(shape, semi_axes=(a, max(abs(y), _SMALLEST_DRAWN_PX / 2)))


def _dragged_rectangle(shape: Rectangle, handle: str, point: Point) -> Rectangle:
    """The corner follows the mouse, the opposite corner stays."""
    sign_x, sign_y = (1.0 if sign == "+" else -1.0 for sign in handle)
    fixed = (-sign_x * shape.size_xy[0] / 2, -sign_y * shape.size_xy[1] / 2)
    x, y = _local(shape, point)
    size = max(abs(x - fixed[0]), _SMALLEST_DRAWN_PX), max(abs(y - fixed[1]), _SMALLEST_DRAWN_PX)
    centre = (x + fixed[0]) / 2, (y + fixed[1]) / 2
    return Rectangle(_global(shape, centre), size, shape.angle)


def _image_to_widget(panel: MoviePanel) -> QTransform:
    scale_x, scale_y = panel.scale()
    origin = panel.image_to_widget(0.0, 0.0)
    return QTransform(scale_x, 0.0, 0.0, scale_y, origin.x(), origin.y())


def _distance(first: QPointF, second: QPointF) -> float:
    return math.hypot(first.x() - second.x(), first.y() - second.y())


def _distance_to_segment(point: QPointF, start: QPointF, end: QPointF) -> float:
    along = end - start
    squared = along.x() ** 2 + along.y() ** 2
    if squared == 0.0:
        return _distance(point, start)
    part = ((point.x() - start.x()) * along.x() + (point.y() - start.y()) * along.y()) / squared
    return _distance(point, start + along * min(max(part, 0.0), 1.0))
