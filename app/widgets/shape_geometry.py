"""What drawing does to shapes: new ones from a drag, handles, dragging, resizing and turning. No painting.

All coordinates are pixels of the image (x = column, y = row, pixel centres at integers). Nothing is rounded:
which pixels belong to a region is decided by `studies.shapes` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainterPath, QPolygonF, QTransform

from studies.errors import StudyError
from studies.shapes import Ellipse, Freehand, Line, Point, Polygon, Rectangle, Region

Shape: TypeAlias = Region | Line
Kind: TypeAlias = Literal["ellipse", "rectangle", "polygon", "freehand"]
KINDS: tuple[Kind, ...] = ("ellipse", "rectangle", "polygon", "freehand")

SMALLEST_DRAWN_PX = 1.0
FREEHAND_STEP_PX = 0.5
"""A hand that moved less adds no point."""
_CORNERS_OF_A_NEW_POLYGON = 6

Clamp: TypeAlias = Callable[[Point], Point]
"""Gives the point of the image nearest to a point."""


# New shapes


def drawn(kind: Kind | Literal["line"], points: Sequence[Point], line_width_px: int) -> Shape | None:
    """The shape of a drag over some points; None while it is too small to mean anything.

    Ellipses, rectangles and lines take the first and the last point, outlines all of them.
    """
    if kind in ("polygon", "freehand"):
        if len(points) < 3 or _extent(points) < SMALLEST_DRAWN_PX:  # noqa: PLR2004
            return None
        return Polygon(tuple(points)) if kind == "polygon" else Freehand(tuple(points))
    start, end = points[0], points[-1]
    dx, dy = end[0] - start[0], end[1] - start[1]
    if kind == "line":
        return Line(start, end, line_width_px) if math.hypot(dx, dy) >= SMALLEST_DRAWN_PX else None
    if min(abs(dx), abs(dy)) < SMALLEST_DRAWN_PX:
        return None
    if kind == "rectangle":
        return Rectangle.from_corners(start, end)
    return Ellipse(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), (abs(dx) / 2, abs(dy) / 2))


def placed(kind: Kind | Literal["line"], centre: Point, size_px: float, line_width_px: int) -> Shape:
    """A new shape of a size around a point, for drawing without a mouse."""
    half, (x, y) = size_px / 2, centre
    if kind == "line":
        return Line((x - half, y), (x + half, y), line_width_px)
    if kind == "ellipse":
        return Ellipse(centre, (half, half))
    if kind == "rectangle":
        return Rectangle(centre, (size_px, size_px))
    turns = [2 * math.pi * number / _CORNERS_OF_A_NEW_POLYGON for number in range(_CORNERS_OF_A_NEW_POLYGON)]
    return Polygon(tuple((x + half * math.cos(turn), y + half * math.sin(turn)) for turn in turns))


# Handles


def handle_points(shape: Shape) -> dict[str, Point]:
    """Handles by name; an outline drawn by hand has none."""
    if isinstance(shape, Line):
        return {"start": shape.start_xy, "end": shape.end_xy}
    if isinstance(shape, Freehand):
        return {}
    if isinstance(shape, Polygon):
        return {str(index): vertex for index, vertex in enumerate(shape.vertices_xy)}
    if isinstance(shape, Ellipse):
        a, b = shape.semi_axes
        corners = {"right": (a, 0.0), "left": (-a, 0.0), "bottom": (0.0, b), "top": (0.0, -b)}
    else:
        x, y = shape.size_xy[0] / 2, shape.size_xy[1] / 2
        corners = {"--": (-x, -y), "+-": (x, -y), "++": (x, y), "-+": (-x, y)}
    return {name: _global(shape, corner) for name, corner in corners.items()}


def corner_names(shape: Shape) -> list[str]:
    """Handles that can be moved one by one from the keyboard: corners of a polygon, ends of a line."""
    if isinstance(shape, Line) or (isinstance(shape, Polygon) and not isinstance(shape, Freehand)):
        return list(handle_points(shape))
    return []


def anchors(shape: Shape) -> list[Point]:
    """Points that have to stay inside the image: both ends of a line, the centre of a region."""
    return [shape.start_xy, shape.end_xy] if isinstance(shape, Line) else [centre(shape)]


def centre(shape: Shape) -> Point:
    """Centre of an ellipse or rectangle, middle of a line, mean of an outline's points."""
    if isinstance(shape, (Ellipse, Rectangle)):
        return shape.centre_xy
    xs, ys = zip(*shape.outline(), strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)


# Changes


def dragged(shape: Shape, handle: str, point: Point, clamp: Clamp) -> Shape:
    """`shape` after one of its handles was dragged to `point`; as it was where the result would be none."""
    if isinstance(shape, Line):
        place = clamp(point)
        changed = replace(shape, start_xy=place) if handle == "start" else replace(shape, end_xy=place)
        return changed if changed.length_px >= SMALLEST_DRAWN_PX else shape
    if isinstance(shape, Polygon):
        vertices = list(shape.vertices_xy)
        vertices[int(handle)] = clamp(point)
        return replace(shape, vertices_xy=tuple(vertices))
    if isinstance(shape, Ellipse):
        return _dragged_ellipse(shape, handle, point)
    return _dragged_rectangle(shape, handle, point)


def resized(shape: Shape, across: float, down: float) -> Shape:
    """`shape` made wider and taller by pixels, around its centre and in its own directions.

    A line becomes longer by `across` at its end; outlines are stretched. Nothing becomes smaller than a
    pixel.
    """
    if isinstance(shape, Ellipse):
        a, b = shape.semi_axes
        least = SMALLEST_DRAWN_PX / 2
        return replace(shape, semi_axes=(max(a + across / 2, least), max(b + down / 2, least)))
    if isinstance(shape, Rectangle):
        width, height = shape.size_xy
        least = SMALLEST_DRAWN_PX
        return replace(shape, size_xy=(max(width + across, least), max(height + down, least)))
    if isinstance(shape, Line):
        length = max(shape.length_px + across, SMALLEST_DRAWN_PX)
        share = length / shape.length_px
        (x0, y0), (x1, y1) = shape.start_xy, shape.end_xy
        return replace(shape, end_xy=(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share))
    xs, ys = zip(*shape.vertices_xy, strict=True)
    (wide, middle_x), (tall, middle_y) = ((max(v) - min(v), (max(v) + min(v)) / 2) for v in (xs, ys))
    if wide + across < SMALLEST_DRAWN_PX or tall + down < SMALLEST_DRAWN_PX:
        return shape
    scale_x, scale_y = (wide + across) / max(wide, 1e-9), (tall + down) / max(tall, 1e-9)
    stretched = (
        (middle_x + (x - middle_x) * scale_x, middle_y + (y - middle_y) * scale_y)
        for x, y in shape.vertices_xy
    )
    return replace(shape, vertices_xy=tuple(stretched))


def turned(shape: Shape, angle: float) -> Shape:
    """`shape` turned around its centre by `angle` in rad, clockwise on the screen."""
    if isinstance(shape, (Ellipse, Rectangle)):
        return replace(shape, angle=math.remainder(shape.angle + angle, 2 * math.pi))
    x, y = centre(shape)

    def place(point: Point) -> Point:
        dx, dy = _turn((point[0] - x, point[1] - y), angle)
        return x + dx, y + dy

    if isinstance(shape, Line):
        return replace(shape, start_xy=place(shape.start_xy), end_xy=place(shape.end_xy))
    return replace(shape, vertices_xy=tuple(map(place, shape.vertices_xy)))


def with_corner_after(shape: Polygon, corner: int) -> Polygon:
    """A polygon with one more corner, in the middle of the side that follows a corner."""
    vertices = list(shape.vertices_xy)
    (x0, y0), (x1, y1) = vertices[corner], vertices[(corner + 1) % len(vertices)]
    vertices.insert(corner + 1, ((x0 + x1) / 2, (y0 + y1) / 2))
    return replace(shape, vertices_xy=tuple(vertices))


def without_corner(shape: Polygon, corner: int) -> Polygon:
    """A polygon without one of its corners; a triangle stays as it is."""
    vertices = [vertex for index, vertex in enumerate(shape.vertices_xy) if index != corner]
    try:
        return replace(shape, vertices_xy=tuple(vertices))
    except StudyError:
        return shape


# Paths


def path_of(shape: Shape) -> QPainterPath:
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
    transform = QTransform()
    transform.translate(*shape.centre_xy)
    transform.rotateRadians(shape.angle)
    return transform.map(path)


def _extent(points: Sequence[Point]) -> float:
    """The smaller side of the upright box around points."""
    xs, ys = zip(*points, strict=True)
    return float(min(max(xs) - min(xs), max(ys) - min(ys)))


def _turn(point: Point, angle: float) -> Point:
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * point[0] - sine * point[1], sine * point[0] + cosine * point[1]


def _local(shape: Ellipse | Rectangle, point: Point) -> Point:
    """A point in the shape's own frame: from its centre, turned back."""
    return _turn((point[0] - shape.centre_xy[0], point[1] - shape.centre_xy[1]), -shape.angle)


def _global(shape: Ellipse | Rectangle, point: Point) -> Point:
    dx, dy = _turn(point, shape.angle)
    return shape.centre_xy[0] + dx, shape.centre_xy[1] + dy


def _dragged_ellipse(shape: Ellipse, handle: str, point: Point) -> Ellipse:
    """The axis of the handle follows the mouse, the centre stays; the turning handle turns."""
    if handle == "turn":
        dx, dy = point[0] - shape.centre_xy[0], point[1] - shape.centre_xy[1]
        return replace(shape, angle=math.atan2(dy, dx))
    x, y = _local(shape, point)
    a, b = shape.semi_axes
    if handle in ("left", "right"):
        return replace(shape, semi_axes=(max(abs(x), SMALLEST_DRAWN_PX / 2), b))
    return replace(shape, semi_axes=(a, max(abs(y), SMALLEST_DRAWN_PX / 2)))


def _dragged_rectangle(shape: Rectangle, handle: str, point: Point) -> Rectangle:
    """The corner follows the mouse, the opposite corner stays."""
    sign_x, sign_y = (1.0 if sign == "+" else -1.0 for sign in handle)
    fixed = (-sign_x * shape.size_xy[0] / 2, -sign_y * shape.size_xy[1] / 2)
    x, y = _local(shape, point)
    size = max(abs(x - fixed[0]), SMALLEST_DRAWN_PX), max(abs(y - fixed[1]), SMALLEST_DRAWN_PX)
    middle = (x + fixed[0]) / 2, (y + fixed[1]) / 2
    return Rectangle(_global(shape, middle), size, shape.angle)
