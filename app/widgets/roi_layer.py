"""Drawing regions and lines on a movie panel with the mouse: handles and outlines, never numbers.

A `ShapeBoard` holds the shapes; any number of `RoiLayer`s show the same board on their panels. Masks come
from `studies.shapes` alone: the tint inside an outline and the outline of the pixels are that module's own
mask, pixel by pixel, so what is seen is what is measured.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from app.widgets.movie_panel import MoviePanel
from app.widgets.shape_board import ROLE_COLOURS, ROLE_NAMES, ROLES, Role, ShapeBoard
from app.widgets.shape_geometry import (
    Shape,
    centre,
    dragged,
    drawn,
    handle_points,
    path_of,
)
from studies.drawings import Drawing
from studies.shapes import BoolMask, Ellipse, Line, Point, Region

Piece: TypeAlias = tuple[Point, Point]
"""A straight piece of an outline, from point to point."""

_GRAB_RADIUS_PX = 9.0
_HANDLE_SIZE_PX = 8.0
_TURN_HANDLE_PX = 20.0
_TINT_ALPHA = 56
_MAXIMUM_MASKS = 64


def pixel_outline(mask: BoolMask) -> list[Piece]:
    """Borders between the pixels of a mask and the others, in image coordinates.

    Args:
        mask: Boolean (y, x).

    Returns:
        Straight pieces, each along one row or column of pixel borders, as long as they go on.
    """
    padded = np.pad(mask, 1)
    pieces: list[Piece] = []
    # Borders between a row and the one above it, then the same on the transposed mask.
    for transposed, array in ((False, padded), (True, padded.T)):
        differs = np.diff(array, axis=0).astype(np.int8)
        turns = np.diff(differs, axis=1, prepend=0, append=0)
        # Both lists are in the order of rows, and begin and end take turns within a row.
        for (row, start), (_, stop) in zip(
            np.argwhere(turns > 0).tolist(), np.argwhere(turns < 0).tolist(), strict=True
        ):
            ends_along, across = (start - 1.5, stop - 1.5), row - 0.5
            first, last = ((across, along) if transposed else (along, across) for along in ends_along)
            pieces.append((first, last))
    return pieces


class MaskImages:
    """Tints and pixel outlines of regions, kept while they are likely to be painted again."""

    def __init__(self) -> None:
        """Start without any."""
        self._outlines: OrderedDict[tuple[Region, tuple[int, int]], list[Piece]] = OrderedDict()
        self._tints: OrderedDict[tuple[Region, tuple[int, int], str], QImage] = OrderedDict()

    def outline(self, region: Region, size: tuple[int, int]) -> list[Piece]:
        """`pixel_outline` of a region's mask in an image of (width, height)."""
        key = (region, size)
        if key not in self._outlines:
            self._outlines[key] = pixel_outline(region.mask((size[1], size[0])))
            if len(self._outlines) > _MAXIMUM_MASKS:
                self._outlines.popitem(last=False)
        return self._outlines[key]

    def tint(self, region: Region, size: tuple[int, int], colour: str) -> QImage:
        """The mask as a translucent image of (width, height)."""
        key = (region, size, colour)
        if key not in self._tints:
            self._tints[key] = _tinted(region.mask((size[1], size[0])), QColor(colour))
            if len(self._tints) > _MAXIMUM_MASKS:
                self._tints.popitem(last=False)
        return self._tints[key]


def _tinted(mask: BoolMask, colour: QColor) -> QImage:
    height, width = mask.shape
    channels = (channel * _TINT_ALPHA // 255 for channel in (colour.red(), colour.green(), colour.blue()))
    red, green, blue = channels
    pixels = np.zeros((height, width), dtype=np.uint32)
    pixels[mask] = (_TINT_ALPHA << 24) | (red << 16) | (green << 8) | blue
    return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied).copy()


@dataclass(frozen=True)
class _Drag:
    """What the mouse is doing: drawing anew, or moving a handle ("body": the whole shape)."""

    role: Role
    handle: str
    start: Point
    original: Shape | None
    drawing: Drawing


class RoiLayer(QObject):
    """Shows a board on one panel and, if editable, lets the mouse draw and drag on it.

    Args:
        panel: Panel to draw on.
        board: Shapes to show.
        editable: False shows outlines only.
        masks: Masks that layers of one board share; its own if None.
    """

    def __init__(
        self, panel: MoviePanel, board: ShapeBoard, *, editable: bool, masks: MaskImages | None = None
    ) -> None:
        """Begin to show the board."""
        super().__init__(panel)
        self._panel = panel
        self._board = board
        self._editable = editable
        self._masks = masks if masks is not None else MaskImages()
        self._drag: _Drag | None = None
        self._hand_down = False
        self._pointer: QPointF | None = None
        self._pixels_shown = False
        panel.add_overlay(self._paint)
        if editable:
            panel.add_mouse_handler(self._mouse)
        board.changed.connect(panel.update)

    @property
    def pixels_shown(self) -> bool:
        """Whether the borders of the measured pixels are painted."""
        return self._pixels_shown

    def show_pixels(self, shown: bool) -> None:
        """Paint the borders of the measured pixels, or do not."""
        self._pixels_shown = shown
        self._panel.update()

    # Painting

    def _paint(self, painter: QPainter, panel: MoviePanel) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for role in ROLES:
            shape = self._board.shape(role)
            if shape is None or (role == "profile" and not self._editable):
                continue
            selected = self._editable and role == self._board.selected
            if not isinstance(shape, Line):
                self._paint_mask(painter, role, shape)
            outline = image_to_widget(panel).map(path_of(shape))
            dashed = Qt.PenStyle.DashLine if role == "profile" else Qt.PenStyle.SolidLine
            # A dark line under the bright one keeps the outline visible on fat and on air.
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(0, 0, 0, 170), 4.0 if selected else 3.0))
            painter.drawPath(outline)
            painter.setPen(QPen(QColor(ROLE_COLOURS[role]), 2.2 if selected else 1.4, dashed))
            painter.drawPath(outline)
            if self._editable:
                self._paint_track(painter, role)
                self._paint_name(painter, role, shape)
            if selected:
                self._paint_handles(painter, role, shape)
        if self._editable:
            self._paint_pending(painter)

    def _paint_mask(self, painter: QPainter, role: Role, shape: Region) -> None:
        size = self._panel.view_state.image_size
        if self._editable:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
            tint = self._masks.tint(shape, size, ROLE_COLOURS[role])
            painter.drawImage(self._panel.image_rectangle(), tint)
        if self._pixels_shown:
            mapping = image_to_widget(self._panel)
            lines = [
                QLineF(mapping.map(QPointF(*start)), mapping.map(QPointF(*end)))
                for start, end in self._masks.outline(shape, size)
            ]
            # Along borders of pixels, smoothing would only make a line grey and wide.
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            painter.setPen(QPen(QColor(0, 0, 0, 200), 3.0))
            painter.drawLines(lines)
            painter.setPen(QPen(QColor("#ffffff"), 1.0))
            painter.drawLines(lines)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _paint_track(self, painter: QPainter, role: Role) -> None:
        """The way of a followed shape's centre, with a dot where it is now."""
        if role == "profile":
            return
        motion = self._board.shapes.motions.get(role)
        drawn_shape: Shape | None = getattr(self._board.shapes.drawing, role)
        if motion is None or drawn_shape is None:
            return
        x, y = centre(drawn_shape)
        places = [
            self._panel.image_to_widget(x + dx, y + dy) for dx, dy in zip(motion.dx, motion.dy, strict=True)
        ]
        painter.setPen(QPen(QColor(0, 0, 0, 170), 3.0))
        painter.drawPolyline(QPolygonF(places))
        painter.setPen(QPen(QColor(ROLE_COLOURS[role]), 1.2))
        painter.drawPolyline(QPolygonF(places))
        if self._board.frame < len(places):
            painter.setBrush(QColor(ROLE_COLOURS[role]))
            painter.drawEllipse(places[self._board.frame], 3.0, 3.0)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _paint_name(self, painter: QPainter, role: Role, shape: Shape) -> None:
        outline = image_to_widget(self._panel).map(path_of(shape)).boundingRect()
        place = QPointF(outline.right() + 10, outline.top() + (-8 if isinstance(shape, Line) else 4))
        width = painter.fontMetrics().horizontalAdvance(ROLE_NAMES[role])
        if place.x() + width > self._panel.width() - 4:
            place.setX(max(outline.left() - 10 - width, 4.0))
        # Beside a shape at the upper edge, not beyond it.
        place.setY(max(place.y(), painter.fontMetrics().ascent() + 2.0))
        painter.setPen(QColor(0, 0, 0, 200))
        painter.drawText(place + QPointF(1, 1), ROLE_NAMES[role])
        painter.setPen(QColor(ROLE_COLOURS[role]))
        painter.drawText(place, ROLE_NAMES[role])

    def _paint_handles(self, painter: QPainter, role: Role, shape: Shape) -> None:
        half = _HANDLE_SIZE_PX / 2
        for name, place in self._handles(shape).items():
            chosen = name == self._board.corner
            painter.setPen(QPen(QColor(0, 0, 0, 200), 1.0))
            painter.setBrush(QColor("#ffffff") if chosen else QColor(ROLE_COLOURS[role]))
            box = QRectF(place.x() - half, place.y() - half, _HANDLE_SIZE_PX, _HANDLE_SIZE_PX)
            if name == "turn":
                painter.drawEllipse(box)
            else:
                painter.drawRect(box.adjusted(-1, -1, 1, 1) if chosen else box)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _paint_pending(self, painter: QPainter) -> None:
        role, points = self._board.armed, self._board.pending
        if role is None or not points:
            return
        places = [self._panel.image_to_widget(*point) for point in points]
        path = QPainterPath(places[0])
        for place in places[1:]:
            path.lineTo(place)
        if self._pointer is not None and not self._hand_down:
            path.lineTo(self._pointer)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((QColor(0, 0, 0, 170), 3.0), (QColor(ROLE_COLOURS[role]), 1.4)):
            painter.setPen(QPen(colour, width))
            painter.drawPath(path)
        if not self._hand_down:
            painter.setBrush(QColor(ROLE_COLOURS[role]))
            for place in places:
                painter.drawEllipse(place, 3.0, 3.0)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    # Mouse

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
        if kind == QEvent.Type.MouseButtonDblClick:
            return self._double_clicked(event)
        return False

    def _pressed(self, event: QMouseEvent) -> bool:
        point = self._panel.widget_to_image(event.position())
        role = self._board.armed
        tool = self._board.kind(role) if role is not None else "line"
        if role is not None and self._board.pending:
            self._add_corner(event.position(), point)
            return True
        hit = self._hit(event.position())
        if role is not None and (hit is None or hit[0] == role):
            if tool in ("polygon", "freehand"):
                self._hand_down = tool == "freehand"
                self._board.begin_outline(point)
                return True
            self._board.remember()
            self._drag = _Drag(role, "new", self._board.clamp(point), None, self._board.drawing)
            return True
        if hit is None:
            self._board.select(None)
            return False
        role, handle = hit
        self._board.select(role)
        self._board.take_corner(handle)
        self._board.remember()
        self._drag = _Drag(role, handle, point, self._board.shape(role), self._board.drawing)
        return True

    def _add_corner(self, position: QPointF, point: Point) -> None:
        """One more corner; a click on the first one closes the outline."""
        first = self._panel.image_to_widget(*self._board.pending[0])
        if len(self._board.pending) > 2 and _distance(position, first) <= _GRAB_RADIUS_PX:  # noqa: PLR2004
            self._board.close_outline()
        else:
            self._board.begin_outline(point)

    def _double_clicked(self, event: QMouseEvent) -> bool:
        if self._board.pending:
            self._board.close_outline()
            return True
        # A double click on a shape must not reset the view under it.
        return self._hit(event.position()) is not None

    def _moved(self, event: QMouseEvent) -> bool:
        self._pointer = event.position()
        point = self._panel.widget_to_image(event.position())
        if self._board.pending:
            if self._hand_down:
                self._board.add_to_outline(point)
            self._panel.update()
            return True
        if self._drag is None:
            self._show_cursor(event.position())
            return False
        self._change(self._drag, point)
        return True

    def _change(self, drag: _Drag, point: Point) -> None:
        board = self._board
        if drag.original is None:
            points = (drag.start, board.clamp(point))
            shape = drawn(board.kind(drag.role), points, board.line_width_px)
            if shape is not None:
                board.put(drag.role, shape)
        elif drag.handle == "body":
            dx, dy = point[0] - drag.start[0], point[1] - drag.start[1]
            board.move(drag.role, dx, dy, drag.drawing)
        else:
            board.put(drag.role, dragged(drag.original, drag.handle, point, board.clamp))

    def _released(self) -> bool:
        if self._hand_down:
            self._hand_down = False
            self._board.close_outline()
            return True
        if self._board.pending:
            return True
        if self._drag is None:
            return False
        drag, self._drag = self._drag, None
        if drag.original is None and self._board.drawing != drag.drawing:
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
            name = min(near, key=lambda each: near[each], default="")
            if name and near[name] <= _GRAB_RADIUS_PX:
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
        return path_of(shape).contains(QPointF(*point))

    def _handles(self, shape: Shape) -> dict[str, QPointF]:
        """Handles by name, in widget coordinates."""
        places = {name: self._panel.image_to_widget(*point) for name, point in handle_points(shape).items()}
        if isinstance(shape, Ellipse):
            # The turning handle stands off by a fixed distance on the screen, whatever the zoom.
            middle, tip = self._panel.image_to_widget(*shape.centre_xy), places["right"]
            length = max(_distance(middle, tip), 1e-6)
            places["turn"] = tip + (tip - middle) * (_TURN_HANDLE_PX / length)
        return places


def image_to_widget(panel: MoviePanel) -> QTransform:
    """The panel's mapping of image points to widget points."""
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
