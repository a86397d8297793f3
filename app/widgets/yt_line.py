"""The line whose values over time a y–t profile shows: a column, a row, or a free line of the image.

A column or a row is cut exactly on the pixel grid, without interpolation. A free line is sampled at steps of
one pixel or a little less, both ends included, linear between the four pixels around a sample, as
`studies.profiles` does it. Coordinates are those of the view: (x, y) = (column, row) at pixel centres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Orientation = Literal["vertical", "horizontal", "free"]
Point = tuple[float, float]

ORIENTATIONS: tuple[Orientation, ...] = ("vertical", "horizontal", "free")
_FREE_MARGIN = 0.12
_SHORTEST_PIXELS = 2.0


@dataclass(frozen=True)
class YtLine:
    """A line in pixel coordinates of the image.

    Attributes:
        orientation: whether it is a column, a row, or free.
        start: (x, y) of the end that is on top in the profile.
        end: (x, y) of the other end.
    """

    orientation: Orientation
    start: Point
    end: Point

    @classmethod
    def column(cls, x: float, image_size: tuple[int, int]) -> YtLine:
        """The nearest column of an image of this width and height."""
        width, height = image_size
        nearest = float(_limited(round(x), width))
        return cls("vertical", (nearest, 0.0), (nearest, height - 1.0))

    @classmethod
    def row(cls, y: float, image_size: tuple[int, int]) -> YtLine:
        """The nearest row of an image of this width and height."""
        width, height = image_size
        nearest = float(_limited(round(y), height))
        return cls("horizontal", (0.0, nearest), (width - 1.0, nearest))

    @classmethod
    def free(cls, start: Point, end: Point, image_size: tuple[int, int]) -> YtLine:
        """A line between two points, which are brought into the image."""
        return cls("free", _inside(start, image_size), _inside(end, image_size))

    @property
    def middle(self) -> Point:
        """The point half way."""
        return (self.start[0] + self.end[0]) / 2, (self.start[1] + self.end[1]) / 2

    @property
    def length(self) -> float:
        """Distance of the ends in pixels."""
        return math.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1])

    def turned_to(self, orientation: Orientation, image_size: tuple[int, int]) -> YtLine:
        """The line through the same middle with another orientation; a free one begins as it was."""
        if orientation == self.orientation:
            return self
        if orientation == "vertical":
            return YtLine.column(self.middle[0], image_size)
        if orientation == "horizontal":
            return YtLine.row(self.middle[1], image_size)
        # Ends away from the border can be taken hold of.
        (x0, y0), (x1, y1) = self.start, self.end
        start = (x0 + (x1 - x0) * _FREE_MARGIN, y0 + (y1 - y0) * _FREE_MARGIN)
        end = (x1 - (x1 - x0) * _FREE_MARGIN, y1 - (y1 - y0) * _FREE_MARGIN)
        return YtLine.free(_on_pixel(start), _on_pixel(end), image_size)

    def moved(self, right: float, down: float, image_size: tuple[int, int]) -> YtLine:
        """The line moved as far as the image allows; a column moves sideways only, a row up and down."""
        if self.orientation == "vertical":
            return YtLine.column(self.start[0] + right, image_size)
        if self.orientation == "horizontal":
            return YtLine.row(self.start[1] + down, image_size)
        right = _allowed(right, self.start[0], self.end[0], image_size[0])
        down = _allowed(down, self.start[1], self.end[1], image_size[1])
        return replace(
            self,
            start=(self.start[0] + right, self.start[1] + down),
            end=(self.end[0] + right, self.end[1] + down),
        )

    def turned_by(self, degrees: float, image_size: tuple[int, int]) -> YtLine:
        """A free line turned clockwise about its middle; it is moved, and shortened if need be, to fit in."""
        if self.orientation != "free":
            return self
        width, height = image_size
        angle = math.atan2(self.end[1] - self.start[1], self.end[0] - self.start[0]) + math.radians(degrees)
        across, down = abs(math.cos(angle)), abs(math.sin(angle))
        length = min(
            self.length,
            (width - 1) / across if across > 1e-9 else math.inf,
            (height - 1) / down if down > 1e-9 else math.inf,
        )
        half = (math.cos(angle) * length / 2, math.sin(angle) * length / 2)
        x = min(max(self.middle[0], abs(half[0])), width - 1 - abs(half[0]))
        y = min(max(self.middle[1], abs(half[1])), height - 1 - abs(half[1]))
        return YtLine.free((x - half[0], y - half[1]), (x + half[0], y + half[1]), image_size)

    def with_end(self, which: Literal["start", "end"], point: Point, image_size: tuple[int, int]) -> YtLine:
        """A free line with one end on another pixel; unchanged if it would become too short to see."""
        point = _inside(_on_pixel(point), image_size)
        changed = replace(self, start=point) if which == "start" else replace(self, end=point)
        return changed if changed.length >= _SHORTEST_PIXELS else self

    def within(self, image_size: tuple[int, int]) -> YtLine:
        """The line as it is in an image of this size."""
        if self.orientation == "vertical":
            return YtLine.column(self.start[0], image_size)
        if self.orientation == "horizontal":
            return YtLine.row(self.start[1], image_size)
        return YtLine.free(self.start, self.end, image_size)

    def cut(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Values of a movie (t, y, x) along the line: (samples, t), the line's start in the first row.

        A column or a row keeps the movie's data type; a free line gives float32.
        """
        if self.orientation == "vertical":
            return np.ascontiguousarray(frames[:, :, int(self.start[0])].T)
        if self.orientation == "horizontal":
            return np.ascontiguousarray(frames[:, int(self.start[1]), :].T)
        return _sampled(frames, self.start, self.end)


def _sampled(frames: NDArray[Any], start: Point, end: Point) -> NDArray[np.float32]:
    """Four gathers with weights: only the pixels beside the line are touched, so it keeps up with a drag."""
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    samples = math.ceil(length - 1e-9) + 1
    _, height, width = frames.shape
    x = np.clip(np.linspace(start[0], end[0], samples), 0, width - 1)
    y = np.clip(np.linspace(start[1], end[1], samples), 0, height - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    to_right, down = x - left, y - top
    values = (
        frames[:, top, left] * ((1 - down) * (1 - to_right))
        + frames[:, top, right] * ((1 - down) * to_right)
        + frames[:, below, left] * (down * (1 - to_right))
        + frames[:, below, right] * (down * to_right)
    )
    return np.ascontiguousarray(values.T, dtype=np.float32)


def _limited(index: int, count: int) -> int:
    return min(max(index, 0), count - 1)


def _inside(point: Point, image_size: tuple[int, int]) -> Point:
    return min(max(point[0], 0.0), image_size[0] - 1.0), min(max(point[1], 0.0), image_size[1] - 1.0)


def _on_pixel(point: Point) -> Point:
    return float(round(point[0])), float(round(point[1]))


def _allowed(shift: float, first: float, second: float, count: int) -> float:
    return min(max(shift, -min(first, second)), count - 1 - max(first, second))
