"""What an observer drew on a clip: shapes over the frames, the frames that count, and where it was drawn.

Stored beside each other in one JSON object that a reader of `studies.shapes.Shapes` alone can read too. Which
movie was drawn on is told by its opaque id and does not belong to what is measured: two drawings that differ
in nothing else are equal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from studies.errors import StudyError
from studies.shapes import Ellipse, Line, Point, Polygon, Region, Shapes, shape_from_dict
from studies.timed_shapes import TimedShapes

AVERAGE = "average"
"""Drawn on the average of a clip's movies."""

_FRAME_RANGE, _PROFILE, _DRAWN_ON = "frame_range", "profile", "drawn_on"


@dataclass(frozen=True)
class Geometry:
    """The pixels of a clip."""

    image_shape: tuple[int, int]
    """(rows, columns)."""
    pixel_spacing_mm: tuple[float, float]
    """(y, x)."""

    def same_pixels(self, other: Geometry) -> bool:
        """Whether shapes in pixels mean the same on both, to 1e-4 of a pixel's size."""
        pairs = zip(self.pixel_spacing_mm, other.pixel_spacing_mm, strict=True)
        return self.image_shape == other.image_shape and all(
            math.isclose(own, others, rel_tol=1e-4) for own, others in pairs
        )


class _Carry:
    """Carries shapes over from the pixels of one image to those of another."""

    def __init__(self, source: Geometry, target: Geometry) -> None:
        """Take the images."""
        (rows, columns), (new_rows, new_columns) = source.image_shape, target.image_shape
        self._middle = columns // 2, rows // 2
        self._new_middle = new_columns // 2, new_rows // 2
        self._ratio = (
            source.pixel_spacing_mm[1] / target.pixel_spacing_mm[1],
            source.pixel_spacing_mm[0] / target.pixel_spacing_mm[0],
        )

    def point(self, point: Point) -> Point:
        """Where a point comes to lie."""
        x, y = (
            new + (value - old) * ratio
            for value, old, new, ratio in zip(point, self._middle, self._new_middle, self._ratio, strict=True)
        )
        return x, y

    def line(self, line: Line | None) -> Line | None:
        """A line with as many parallel lines as before."""
        if line is None:
            return None
        return replace(line, start_xy=self.point(line.start_xy), end_xy=self.point(line.end_xy))

    def region(self, region: Region | None) -> Region | None:
        """A region; one that is turned and stretched to another shape becomes a polygon."""
        if region is None:
            return None
        if isinstance(region, Polygon):
            return replace(region, vertices_xy=tuple(map(self.point, region.vertices_xy)))
        across, down = self._ratio
        if region.angle and not math.isclose(across, down, rel_tol=1e-9):
            return Polygon(tuple(map(self.point, region.outline())))
        centre = self.point(region.centre_xy)
        if isinstance(region, Ellipse):
            a, b = region.semi_axes
            return replace(region, centre_xy=centre, semi_axes=(a * across, b * down))
        width, height = region.size_xy
        return replace(region, centre_xy=centre, size_xy=(width * across, height * down))


@dataclass(frozen=True)
class Drawing:
    """What is to be measured on a clip."""

    shapes: TimedShapes
    frame_range: tuple[int, int] | None = None
    """(first, end) from 0, the end not included: frames of means and SDs; None for all."""
    profile: Line | None = None
    """Line of the position-time image; None takes the line across the edge."""
    drawn_on: str = field(default=AVERAGE, compare=False)
    """`AVERAGE`, or the opaque id of the movie."""

    @property
    def profile_line(self) -> Line | None:
        """The line of the position-time image: its own, else the line across the edge."""
        return self.profile or self.shapes.drawing.line

    def for_other_clip(self, source: Geometry, target: Geometry) -> Drawing:
        """What can be taken over to another scan: the shapes as drawn, without frames, edits and motion.

        On pixels of another size the shapes keep their place in mm from the middle of the image (pixel N // 2
        of N, where reconstructions by FFT have theirs).
        """
        shapes, profile = self.shapes.drawing, self.profile
        if not source.same_pixels(target):
            carry = _Carry(source, target)
            shapes = Shapes(
                signal=carry.region(shapes.signal),
                background=carry.region(shapes.background),
                line=carry.line(shapes.line),
            )
            profile = carry.line(profile)
        return Drawing(TimedShapes(shapes), None, profile)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; frames count from 0."""
        return {
            **self.shapes.to_dict(),
            _FRAME_RANGE: None if self.frame_range is None else list(self.frame_range),
            _PROFILE: None if self.profile is None else self.profile.to_dict(),
            _DRAWN_ON: self.drawn_on,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Drawing:
        """Read what `to_dict` of this class, of `TimedShapes` or of `Shapes` wrote.

        Raises:
            StudyError: A part is not acceptable.
        """
        profile = shape_from_dict(data[_PROFILE]) if data.get(_PROFILE) is not None else None
        if profile is not None and not isinstance(profile, Line):
            raise StudyError(f"The stored line of the profile is of kind '{profile.kind}', not a line.")
        drawn_on = data.get(_DRAWN_ON, AVERAGE)
        if not isinstance(drawn_on, str):
            raise StudyError("The field 'drawn_on' of a stored drawing must be a text.")
        return cls(TimedShapes.from_dict(data), _frame_range(data.get(_FRAME_RANGE)), profile, drawn_on)

    def on(self, panel: str) -> Drawing:
        """The same drawing, drawn on another panel."""
        return replace(self, drawn_on=panel)


def _frame_range(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    numbers = list(value) if isinstance(value, (list, tuple)) else []
    whole = len(numbers) == 2 and all(type(item) is int for item in numbers)
    if not whole or not 0 <= numbers[0] < numbers[1]:
        raise StudyError(f"The field 'frame_range' of a stored drawing is {value}, not two frames in order.")
    return numbers[0], numbers[1]


def movie_to_draw_on(observer: str, clip_id: str, movie_ids: Sequence[str]) -> int:
    """Place of the movie that an observer who draws on one movie draws on, drawn at random for each clip.

    It is SHA-256(observer, clip) modulo the number of movies: the same whenever the clip is opened again.
    """
    if not movie_ids:
        raise StudyError("The clip has no movies to draw on.")
    digest = hashlib.sha256(f"{observer}\n{clip_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % len(movie_ids)
