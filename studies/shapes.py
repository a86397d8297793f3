"""Regions and lines drawn on a movie, and the pixels that belong to them.

Shapes live in pixel coordinates (x = column, y = row) in which the centre of pixel ``[j, i]`` is at x = i,
y = j. A pixel belongs to a region if its centre lies in it or on its border, nothing is interpolated:
interpolated noise is weaker noise, and half a pixel off the grid would add 6 dB to the SNR. Sizes are counted
pixels, in mm² counted pixels times the area of one. What reaches over the border of the image is cut by
`mask` and refused by `mask_inside`, which every measurement uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from studies.errors import StudyError

BoolMask: TypeAlias = NDArray[np.bool_]
Point: TypeAlias = tuple[float, float]

SCHEMA = "blindcine-shapes-1"
OUTLINE_POINTS = 64
_BORDER = 1e-9
"""Tolerance of "on the border", in pixels: drawing coordinates are rounded numbers."""


# Masks


def _pixel_grid(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row vector of x and column vector of y of all pixel centres."""
    rows, columns = shape
    if rows < 1 or columns < 1:
        raise StudyError(f"An image of {rows} × {columns} pixels has no region to measure.")
    return np.arange(columns, dtype=np.float64)[None, :], np.arange(rows, dtype=np.float64)[:, None]


def _turned(
    shape: tuple[int, int], centre_xy: Point, angle: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres in the frame of a shape that is turned by `angle` (rad, from +x towards +y)."""
    x, y = _pixel_grid(shape)
    dx, dy = x - centre_xy[0], y - centre_xy[1]
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * dx + sine * dy, -sine * dx + cosine * dy


def ellipse_mask(
    shape: tuple[int, int], centre_xy: Point, semi_axes: tuple[float, float], angle: float = 0.0
) -> BoolMask:
    """Pixels whose centre lies in an ellipse (border included).

    Args:
        shape: (rows, columns) of the image.
        centre_xy: Centre in pixels.
        semi_axes: Half axes in pixels, the first along x before turning; both > 0.
        angle: Turn in rad from +x towards +y (clockwise on screen, where y points down).

    Returns:
        Boolean mask of `shape`.
    """
    u, v = _turned(shape, centre_xy, angle)
    return np.asarray((u / semi_axes[0]) ** 2 + (v / semi_axes[1]) ** 2 <= 1.0 + _BORDER)


def rectangle_mask(
    shape: tuple[int, int], centre_xy: Point, size_xy: tuple[float, float], angle: float = 0.0
) -> BoolMask:
    """Pixels whose centre lies in a rectangle of full sides `size_xy`, turned by `angle`; border included."""
    u, v = _turned(shape, centre_xy, angle)
    return np.asarray((np.abs(u) <= size_xy[0] / 2 + _BORDER) & (np.abs(v) <= size_xy[1] / 2 + _BORDER))


def polygon_mask(shape: tuple[int, int], vertices_xy: Sequence[Point]) -> BoolMask:
    """Pixels whose centre lies in a polygon (border included); the even-odd rule where it crosses itself.

    Args:
        shape: (rows, columns) of the image.
        vertices_xy: At least three corners in pixels, in order; the last is joined to the first.

    Returns:
        Boolean mask of `shape`.
    """
    x, y = _pixel_grid(shape)
    inside = np.zeros(shape, dtype=np.bool_)
    border = np.zeros(shape, dtype=np.bool_)
    corners = [(float(cx), float(cy)) for cx, cy in vertices_xy]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        if length == 0.0:
            continue
        across = ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length
        along = ((x1 - x0) * (x - x0) + (y1 - y0) * (y - y0)) / length
        border |= (np.abs(across) <= _BORDER) & (along >= -_BORDER) & (along <= length + _BORDER)
        # Half-open in y, so that a ray through a corner counts that corner once.
        spans = (y0 <= y) != (y1 <= y)
        if y1 != y0:
            inside ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside | border


# Shapes


def _numbers(data: Mapping[str, Any], key: str, kind: str, count: int | None = None) -> tuple[float, ...]:
    """Read a tuple of finite numbers from a stored shape, naming the field when that fails."""
    try:
        values = tuple(float(value) for value in data[key])
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"A stored {kind} needs the field '{key}' as a list of numbers.") from error
    if (count is not None and len(values) != count) or not all(map(math.isfinite, values)):
        raise StudyError(
            f"The field '{key}' of a stored {kind} needs {count} finite numbers, not {list(values)}."
        )
    return values


def _check_positive(values: Sequence[float], what: str) -> None:
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise StudyError(f"{what} must be larger than 0 pixels, but {tuple(values)} was given.")


@dataclass(frozen=True)
class _Shape:
    """What all shapes share: how they are stored."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the kind, and every field with lists for tuples."""
        stored = {item.name: _listed(getattr(self, item.name)) for item in fields(self)}
        return {"kind": self.kind, **stored}


def _listed(value: object) -> object:
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value


@dataclass(frozen=True)
class _Centred(_Shape):
    """A shape that has a centre."""

    centre_xy: Point

    def moved(self, dx: float, dy: float) -> Self:
        """The same shape `dx` pixels to the right and `dy` pixels down."""
        return replace(self, centre_xy=(self.centre_xy[0] + dx, self.centre_xy[1] + dy))


def _placed(offsets: Iterable[Point], centre_xy: Point, angle: float) -> tuple[Point, ...]:
    """Points of an upright shape around (0, 0), on the shape as it lies."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return tuple(
        (centre_xy[0] + cosine * u - sine * v, centre_xy[1] + sine * u + cosine * v) for u, v in offsets
    )


@dataclass(frozen=True)
class Ellipse(_Centred):
    """An ellipse in pixel coordinates; see `ellipse_mask`."""

    semi_axes: tuple[float, float]
    angle: float = 0.0
    kind: ClassVar[str] = "ellipse"

    def __post_init__(self) -> None:
        """Check the sizes."""
        _check_positive(self.semi_axes, "The half axes of an ellipse")

    def mask(self, shape: tuple[int, int]) -> BoolMask:
        """Pixels inside; boolean of `shape` (rows, columns)."""
        return ellipse_mask(shape, self.centre_xy, self.semi_axes, self.angle)

    def outline(self) -> tuple[Point, ...]:
        """`OUTLINE_POINTS` points on the border, for drawing and for other programs."""
        turns = (2 * math.pi * number / OUTLINE_POINTS for number in range(OUTLINE_POINTS))
        a, b = self.semi_axes
        points = [(a * math.cos(turn), b * math.sin(turn)) for turn in turns]
        return _placed(points, self.centre_xy, self.angle)


@dataclass(frozen=True)
class Rectangle(_Centred):
    """A rectangle in pixel coordinates with full side lengths `size_xy`; see `rectangle_mask`."""

    size_xy: tuple[float, float]
    angle: float = 0.0
    kind: ClassVar[str] = "rectangle"

    def __post_init__(self) -> None:
        """Check the sizes."""
        _check_positive(self.size_xy, "The sides of a rectangle")

    @classmethod
    def from_corners(cls, first_xy: Point, second_xy: Point) -> Rectangle:
        """The upright rectangle between two opposite corners, in any order."""
        (x0, y0), (x1, y1) = first_xy, second_xy
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), (abs(x1 - x0), abs(y1 - y0)))

    def mask(self, shape: tuple[int, int]) -> BoolMask:
        """Pixels inside; boolean of `shape` (rows, columns)."""
        return rectangle_mask(shape, self.centre_xy, self.size_xy, self.angle)

    def outline(self) -> tuple[Point, ...]:
        """The four corners."""
        u, v = self.size_xy[0] / 2, self.size_xy[1] / 2
        return _placed([(-u, -v), (u, -v), (u, v), (-u, v)], self.centre_xy, self.angle)


@dataclass(frozen=True)
class Polygon(_Shape):
    """A closed polygon in pixel coordinates; see `polygon_mask`."""

    vertices_xy: tuple[Point, ...]
    kind: ClassVar[str] = "polygon"

    def __post_init__(self) -> None:
        """Check the sizes."""
        if len(self.vertices_xy) < 3:
            name = "polygon needs at least 3 corners" if type(self) is Polygon else "outline needs 3 points"
            raise StudyError(f"A {name}, but {len(self.vertices_xy)} were given.")

    def mask(self, shape: tuple[int, int]) -> BoolMask:
        """Pixels inside; boolean of `shape` (rows, columns)."""
        return polygon_mask(shape, self.vertices_xy)

    def moved(self, dx: float, dy: float) -> Self:
        """The same outline `dx` pixels to the right and `dy` pixels down."""
        return replace(self, vertices_xy=tuple((x + dx, y + dy) for x, y in self.vertices_xy))

    def outline(self) -> tuple[Point, ...]:
        """The corners."""
        return self.vertices_xy


@dataclass(frozen=True)
class Freehand(Polygon):
    """An outline drawn by hand: the points that the hand passed, joined by straight lines and closed."""

    kind: ClassVar[str] = "freehand"


@dataclass(frozen=True)
class Line(_Shape):
    """A straight line from `start_xy` to `end_xy`, averaged over `width_px` parallel lines 1 px apart."""

    start_xy: Point
    end_xy: Point
    width_px: int = 1
    kind: ClassVar[str] = "line"

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.width_px < 1:
            raise StudyError(f"The width of a line must be at least 1 pixel, but {self.width_px} was given.")

    @property
    def length_px(self) -> float:
        """Length in pixels."""
        return math.hypot(self.end_xy[0] - self.start_xy[0], self.end_xy[1] - self.start_xy[1])

    def length_mm(self, pixel_spacing_mm: tuple[float, float]) -> float:
        """Length in mm for a pixel spacing (y, x)."""
        return math.hypot(
            (self.end_xy[0] - self.start_xy[0]) * pixel_spacing_mm[1],
            (self.end_xy[1] - self.start_xy[1]) * pixel_spacing_mm[0],
        )

    def outline(self) -> tuple[Point, ...]:
        """Its two ends."""
        return self.start_xy, self.end_xy

    def moved(self, dx: float, dy: float) -> Line:
        """The same line `dx` pixels to the right and `dy` pixels down."""
        return Line(
            (self.start_xy[0] + dx, self.start_xy[1] + dy),
            (self.end_xy[0] + dx, self.end_xy[1] + dy),
            self.width_px,
        )


Region: TypeAlias = Ellipse | Rectangle | Polygon
"""A `Freehand` outline is a `Polygon` too."""


def mask_inside(region: Region, shape: tuple[int, int], name: str) -> BoolMask:
    """Pixels of a region that lies in the image as a whole, border pixels with their full area included.

    Raises:
        StudyError: The region reaches over the border of the image, where there is nothing to measure.
    """
    rows, columns = shape
    (x0, y0), (x1, y1) = _bounds(region)
    edge = 0.5 + _BORDER
    if min(x0, y0) < -edge or x1 > columns - 1 + edge or y1 > rows - 1 + edge:
        raise StudyError(
            f"The {name} region reaches from ({x0:.1f}, {y0:.1f}) to ({x1:.1f}, {y1:.1f}) and so leaves the "
            f"image of {columns} × {rows} pixels: move it inside."
        )
    return region.mask(shape)


def _bounds(region: Region) -> tuple[Point, Point]:
    """Smallest and largest x and y."""
    if isinstance(region, Ellipse):
        (a, b), cosine, sine = region.semi_axes, math.cos(region.angle), math.sin(region.angle)
        x, y = math.hypot(a * cosine, b * sine), math.hypot(a * sine, b * cosine)
        (cx, cy) = region.centre_xy
        return (cx - x, cy - y), (cx + x, cy + y)
    points = region.outline()
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys)), (max(xs), max(ys))


def area_mm2(pixels: int, pixel_spacing_mm: tuple[float, float]) -> float:
    """Area of counted pixels for a pixel spacing (y, x)."""
    return pixels * pixel_spacing_mm[0] * pixel_spacing_mm[1]


def shape_from_dict(data: Mapping[str, Any]) -> Region | Line:
    """Read one shape that `to_dict` wrote.

    Raises:
        StudyError: The kind is unknown, or a field is missing or not finite.
    """
    kind = data.get("kind")
    if kind in (Polygon.kind, Freehand.kind):
        vertices = data.get("vertices_xy", ())
        if not isinstance(vertices, Sequence):
            raise StudyError(f"A stored {kind} needs the field 'vertices_xy' as a list of points.")
        outline = tuple(_pair(_numbers({"vertices_xy": point}, "vertices_xy", kind, 2)) for point in vertices)
        return Freehand(outline) if kind == Freehand.kind else Polygon(outline)
    if kind == Line.kind:
        start, end = (_pair(_numbers(data, key, kind, 2)) for key in ("start_xy", "end_xy"))
        return Line(start, end, int(data.get("width_px", 1)))
    if kind in (Ellipse.kind, Rectangle.kind):
        centre = _pair(_numbers(data, "centre_xy", kind, 2))
        (angle,) = _numbers({"angle": [data.get("angle", 0.0)]}, "angle", kind, 1)
        if kind == Ellipse.kind:
            return Ellipse(centre, _pair(_numbers(data, "semi_axes", kind, 2)), angle)
        return Rectangle(centre, _pair(_numbers(data, "size_xy", kind, 2)), angle)
    raise StudyError(
        f"The stored shape '{kind}' is unknown; expected ellipse, rectangle, polygon, freehand or line."
    )


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    first, second = values
    return first, second


@dataclass(frozen=True)
class Shapes:
    """What is drawn once on a clip and applied to all its movies; any of the three may be missing."""

    signal: Region | None = None
    background: Region | None = None
    line: Line | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the schema name and the pixel convention in words."""
        return {
            "schema": SCHEMA,
            "convention": "pixels; x = column, y = row; the centre of pixel [j, i] is at x = i, y = j",
            "signal": self.signal.to_dict() if self.signal else None,
            "background": self.background.to_dict() if self.background else None,
            "line": self.line.to_dict() if self.line else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shapes:
        """Read what `to_dict` wrote.

        Raises:
            StudyError: Another schema, an unknown shape, or a line where a region is expected (and the
                reverse).
        """
        if data.get("schema") != SCHEMA:
            raise StudyError(
                f"Stored shapes have the schema '{data.get('schema')}', but this version reads '{SCHEMA}'."
            )
        found: dict[str, Region | Line | None] = {
            name: shape_from_dict(data[name]) if data.get(name) is not None else None
            for name in ("signal", "background", "line")
        }
        signal, background, line = found["signal"], found["background"], found["line"]
        if isinstance(signal, Line) or isinstance(background, Line):
            raise StudyError("The stored signal and background must be regions, but one of them is a line.")
        if line is not None and not isinstance(line, Line):
            raise StudyError(f"The stored line must be a line, but it is of kind '{line.kind}'.")
        return cls(signal, background, line)
