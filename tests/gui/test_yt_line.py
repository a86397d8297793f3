"""Lines of y–t profiles against arrays, brute force and the profiles of the measurements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.widgets.yt_line import ORIENTATIONS, Orientation, YtLine
from app.widgets.yt_profile import _means
from studies.profiles import yt_profile

SIZE = (30, 20)
POINTS = st.tuples(st.floats(0, 29), st.floats(0, 19))


@pytest.fixture
def movie() -> NDArray[np.uint8]:
    """(t, y, x) = (5, 20, 30)."""
    return np.random.default_rng(8).integers(0, 255, (5, 20, 30), dtype=np.uint8)


def test_columns_and_rows_are_the_pixels_themselves(movie: NDArray[np.uint8]) -> None:
    column = YtLine.column(11.4, SIZE).cut(movie)
    row = YtLine.row(6.6, SIZE).cut(movie)
    assert column.dtype == row.dtype == np.uint8
    assert column.tolist() == [[int(movie[t, y, 11]) for t in range(5)] for y in range(20)]
    assert row.tolist() == [[int(movie[t, 7, x]) for t in range(5)] for x in range(30)]


@given(start=POINTS, end=POINTS)
@settings(max_examples=60, deadline=None)
def test_free_line_is_that_of_the_measurements(start: tuple[float, float], end: tuple[float, float]) -> None:
    movie = np.random.default_rng(8).integers(0, 255, (3, 20, 30), dtype=np.uint8)
    line = YtLine.free(start, end, SIZE)
    if line.length < 0.5:
        return
    assert line.cut(movie) == pytest.approx(yt_profile(movie, start, end), abs=1e-3)


def test_free_line_along_pixels_is_the_pixels(movie: NDArray[np.uint8]) -> None:
    diagonal = YtLine.free((3, 2), (3, 12), SIZE).cut(movie)
    assert np.array_equal(diagonal, movie[:, 2:13, 3].T)
    backwards = YtLine.free((20, 5), (10, 5), SIZE).cut(movie)
    assert np.array_equal(backwards, movie[:, 5, 20:9:-1].T)


@given(
    start=POINTS,
    end=POINTS,
    orientation=st.sampled_from(ORIENTATIONS),
    right=st.floats(-60, 60),
    down=st.floats(-60, 60),
    degrees=st.floats(-400, 400),
)
@settings(max_examples=80, deadline=None)
def test_no_line_leaves_the_image(
    start: tuple[float, float],
    end: tuple[float, float],
    orientation: Orientation,
    right: float,
    down: float,
    degrees: float,
) -> None:
    line = YtLine.free(start, end, SIZE).turned_to(orientation, SIZE)
    moved = line.moved(right, down, SIZE)
    turned = moved.turned_by(degrees, SIZE)
    for found in (line, moved, turned):
        assert found.orientation == orientation
        for x, y in (found.start, found.end):
            assert 0 <= x <= 29
            assert 0 <= y <= 19
    assert moved.length == pytest.approx(line.length)


def test_free_line_turns_about_its_middle_clockwise() -> None:
    line = YtLine.free((10, 10), (18, 10), SIZE).turned_by(90, SIZE)
    assert line.start == pytest.approx((14, 6))
    assert line.end == pytest.approx((14, 14))
    # A line as long as the image is broad is shortened to its height.
    assert YtLine.free((0, 10), (29, 10), SIZE).turned_by(90, SIZE).length == pytest.approx(19)


def test_ends_are_put_on_pixels_and_never_together() -> None:
    line = YtLine.free((10, 10), (18, 10), SIZE)
    assert line.with_end("end", (40.0, 3.4), SIZE).end == (29.0, 3.0)
    assert line.with_end("start", (17.6, 10.2), SIZE) == line


@given(
    count=st.integers(1, 40),
    first=st.floats(0, 3),
    last=st.floats(4, 9),
    values=st.lists(st.integers(0, 255), min_size=9, max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_profile_pixels_are_means_of_what_lies_under_them(
    count: int, first: float, last: float, values: list[int]
) -> None:
    rows = np.array(values, np.float32)[:, None]
    found = _means(rows, first, last, count)[:, 0]
    step = (last - first) / count
    for index in range(count):
        low, high = first + index * step, first + (index + 1) * step
        covered = [max(0.0, min(high, row + 1) - max(low, row)) for row in range(9)]
        assert found[index] == pytest.approx(np.dot(covered, values) / step, abs=0.05)
