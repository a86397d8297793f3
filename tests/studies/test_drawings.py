"""Drawings: stored and read back, carried over in mm, and the movie that is drawn on by lot."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from studies.drawings import AVERAGE, Drawing, Geometry, movie_to_draw_on
from studies.errors import StudyError
from studies.shapes import Ellipse, Freehand, Line, Polygon, Rectangle, Region, Shapes
from studies.timed_shapes import Edit, Motion, TimedShapes

SHAPES = Shapes(Ellipse((14.0, 12.0), (4.0, 3.0), 0.2), Rectangle((28, 12), (5, 14)), Line((4, 5), (9, 6), 3))
SMALL = Geometry((20, 30), (3.0, 3.0))
FINE = Geometry((61, 90), (1.0, 1.0))


def test_a_drawing_comes_back_and_older_readers_see_its_shapes() -> None:
    motion = Motion(1, (0, 0, 2), (0, 0, -1), (1.0, 1.0, 0.9), (0.3, 0.3, 0.2))
    edit = Edit(1, 2, Shapes(line=Line((5, 5), (9, 7))))
    drawing = Drawing(TimedShapes(SHAPES, (edit,), {"signal": motion}), (1, 3), Line((0, 1), (20, 1)), "m7")
    stored = json.loads(json.dumps(drawing.to_dict()))
    back = Drawing.from_dict(stored)
    assert back == drawing and back.drawn_on == "m7"
    assert TimedShapes.from_dict(stored) == drawing.shapes
    assert Shapes.from_dict(stored) == SHAPES


def test_shapes_stored_before_there_were_drawings_are_read() -> None:
    assert Drawing.from_dict(SHAPES.to_dict()) == Drawing(TimedShapes(SHAPES), None, None, AVERAGE)


def test_where_it_was_drawn_does_not_change_what_is_measured() -> None:
    drawing = Drawing(TimedShapes(SHAPES))
    assert drawing.on("m1") == drawing and drawing.on("m1").drawn_on == "m1"
    assert drawing != replace(drawing, frame_range=(0, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [("frame_range", [3, 3]), ("frame_range", [1.5, 3]), ("frame_range", "1-3"), ("drawn_on", 3)],
)
def test_a_field_that_is_not_acceptable_is_named(field: str, value: object) -> None:
    with pytest.raises(StudyError, match=field):
        Drawing.from_dict({**SHAPES.to_dict(), field: value})


def test_a_profile_must_be_a_line() -> None:
    with pytest.raises(StudyError, match="profile"):
        Drawing.from_dict({**SHAPES.to_dict(), "profile": SHAPES.signal.to_dict()})  # type: ignore[union-attr]


def test_the_profile_is_its_own_line_or_the_edge_line() -> None:
    own = Line((1, 1), (5, 1))
    assert Drawing(TimedShapes(SHAPES)).profile_line == SHAPES.line
    assert Drawing(TimedShapes(SHAPES), profile=own).profile_line == own


def test_on_the_same_pixels_shapes_are_taken_as_they_are() -> None:
    moving = TimedShapes(SHAPES, (), {"signal": Motion(0, (0, 1), (0, 1))})
    taken = Drawing(moving, (0, 1), SHAPES.line).for_other_clip(SMALL, SMALL)
    assert taken == Drawing(TimedShapes(SHAPES), None, SHAPES.line)


REGIONS: list[Region] = [
    Ellipse((14.0, 12.0), (4.0, 3.0), 0.3),
    Rectangle((14.5, 9.0), (6.0, 4.0), -0.4),
    Polygon(((3, 3), (9, 4), (6, 12))),
    Freehand(((3, 3), (9, 4), (7, 9), (6, 12))),
]


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.kind)
@pytest.mark.parametrize("target", [FINE, Geometry((24, 40), (2.0, 2.25))], ids=["finer", "oblong"])
def test_a_shape_keeps_its_place_in_mm_from_the_middle(region: Region, target: Geometry) -> None:
    """Every point of the outline lies at the same mm from pixel N // 2, also where pixels are oblong."""
    shapes = TimedShapes(Shapes(region, None, Line((2, 3), (11, 8), 5)))
    drawing = Drawing(shapes, profile=Line((0, 0), (9, 9)))
    taken = drawing.for_other_clip(SMALL, target)
    new = taken.shapes.drawing
    assert new.signal is not None and new.line is not None and taken.profile is not None
    np.testing.assert_allclose(_mm(new.signal, target), _mm(region, SMALL), atol=1e-9)
    np.testing.assert_allclose(_mm(new.line, target), _mm(drawing.shapes.drawing.line, SMALL), atol=1e-9)
    np.testing.assert_allclose(_mm(taken.profile, target), _mm(drawing.profile, SMALL), atol=1e-9)
    assert new.line.width_px == 5
    if target is FINE:
        assert type(new.signal) is type(region)


def _mm(shape: Region | Line | None, geometry: Geometry) -> np.ndarray:
    assert shape is not None
    (rows, columns), (dy, dx) = geometry.image_shape, geometry.pixel_spacing_mm
    return (np.array(shape.outline()) - (columns // 2, rows // 2)) * (dx, dy)


def test_the_movie_drawn_on_is_the_same_again_and_evenly_spread() -> None:
    ids = ["a", "b", "c"]
    chosen = [movie_to_draw_on("Ada", f"clip {number}", ids) for number in range(600)]
    assert chosen == [movie_to_draw_on("Ada", f"clip {number}", ids) for number in range(600)]
    counts = Counter(chosen)
    # 600 draws of three: each count is within 5 SD (11.5) of 200.
    assert set(counts) == {0, 1, 2} and all(abs(count - 200) < 58 for count in counts.values())
    other = [movie_to_draw_on("Ben", f"clip {number}", ids) for number in range(600)]
    assert sum(a == b for a, b in zip(chosen, other, strict=True)) < 300
    with pytest.raises(StudyError, match="no movies"):
        movie_to_draw_on("Ada", "clip", [])
