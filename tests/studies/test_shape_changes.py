"""Changes of shapes in some frames, against a plain list with one shape a frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.shapes import Ellipse, Line, Rectangle, Shapes
from studies.timed_shapes import (
    Edit,
    Motion,
    TimedShapes,
    edit_span,
    edited,
    keyframes,
    moved,
    redrawn,
)

FRAMES = 9
DRAWING = Shapes(Ellipse((10, 10), (3, 3)), Rectangle((20, 5), (4, 4)), Line((2, 2), (9, 9)))
Role = Literal["signal", "line"]

change = st.tuples(
    st.sampled_from(["signal", "line"]),
    st.one_of(st.none(), st.integers(1, 3)),
    st.integers(0, FRAMES - 1),
    st.integers(0, FRAMES - 1),
)


def _shape(role: Role, number: int) -> Ellipse | Line:
    return Ellipse((10 + number, 10), (3, 3)) if role == "signal" else Line((2, 2), (9 + number, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(change, max_size=6))
def test_edits_equal_a_list_with_one_shape_a_frame(changes: list[tuple[Role, int | None, int, int]]) -> None:
    shapes = TimedShapes(DRAWING)
    plain: dict[Role, list[int | None]] = {"signal": [None] * FRAMES, "line": [None] * FRAMES}
    for role, number, one, other in changes:
        first, last = min(one, other), max(one, other)
        shapes = edited(shapes, role, None if number is None else _shape(role, number), first, last)
        plain[role][first : last + 1] = [number] * (last + 1 - first)
    for role, numbers in plain.items():
        drawn = getattr(DRAWING, role)
        wanted = [drawn if number is None else _shape(role, number) for number in numbers]
        assert [shapes.at(role, frame) for frame in range(FRAMES)] == wanted
        for frame in range(FRAMES):
            first = last = frame
            while first > 0 and numbers[first - 1] == numbers[frame]:
                first -= 1
            while last < FRAMES - 1 and numbers[last + 1] == numbers[frame]:
                last += 1
            assert edit_span(shapes, role, frame, FRAMES) == (first, last)
    starts = [
        frame
        for frame in range(1, FRAMES)
        if any(numbers[frame] != numbers[frame - 1] for numbers in plain.values())
    ]
    assert keyframes(shapes, FRAMES) == starts
    assert TimedShapes.from_dict(shapes.to_dict()) == shapes


def test_edits_made_elsewhere_are_counted_as_they_count() -> None:
    """Edits that overlap, as a file may have them: the last one counts."""
    edits = tuple(
        Edit(first, last, Shapes(signal=Ellipse((10 + number, 10), (3, 3))))
        for first, last, number in ((0, 5, 1), (3, 8, 2))
    )
    overlapping = TimedShapes(DRAWING, edits)
    assert edit_span(overlapping, "signal", 4, FRAMES) == (3, 8)
    changed = edited(overlapping, "signal", None, 4, 4)
    centres = [changed.at("signal", frame).centre_xy[0] for frame in range(FRAMES)]  # type: ignore[union-attr]
    assert centres == [11, 11, 11, 12, 10, 12, 12, 12, 12]


def test_redrawing_takes_edits_away_and_keeps_the_others() -> None:
    shapes = TimedShapes(
        DRAWING,
        (Edit(1, 3, Shapes(signal=_shape("signal", 1), line=_shape("line", 2))),),  # type: ignore[arg-type]
        {"signal": Motion(0, (0, 1), (0, 0)), "line": Motion(0, (0, 1), (0, 0))},
    )
    new = Rectangle((5, 5), (2, 2))
    found = redrawn(shapes, "signal", new)
    assert found.at("line", 2) == _shape("line", 2) and found.edits[0].shapes.signal is None
    assert found.drawing.signal == new and set(found.motions) == {"signal", "line"}
    without = redrawn(shapes, "signal", None)
    assert without.drawing.signal is None and not without.motions
    assert set(redrawn(shapes, "line", None).motions) == {"signal"}


def test_moving_moves_every_frame_alike() -> None:
    shapes = edited(TimedShapes(DRAWING), "signal", _shape("signal", 2), 3, 5)
    found = moved(shapes, "signal", 1.5, -2)
    for frame in range(FRAMES):
        before, after = shapes.at("signal", frame), found.at("signal", frame)
        assert after == before.moved(1.5, -2)  # type: ignore[union-attr]
        assert found.at("line", frame) == DRAWING.line


def test_what_was_not_drawn_cannot_change() -> None:
    empty = TimedShapes(Shapes())
    with pytest.raises(StudyError, match="not drawn"):
        moved(empty, "signal", 1, 1)
    with pytest.raises(StudyError, match="not drawn"):
        edited(empty, "line", DRAWING.line, 0, 1)
    with pytest.raises(StudyError, match="frames in order"):
        edited(TimedShapes(DRAWING), "line", DRAWING.line, 3, 2)


def test_masks_follow_the_edits() -> None:
    shapes = edited(TimedShapes(DRAWING), "background", Rectangle((20, 5), (2, 2)), 2, 2)
    counts = shapes.masks("background", 4, (30, 30)).sum(axis=(1, 2))
    np.testing.assert_array_equal(counts, [25, 25, 9, 25])
