"""Edges of known shape in both orientations, read forwards and backwards, on pixels that are not square."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from studies import profiles
from studies.errors import StudyError
from studies.shapes import Line

SPACING = (2.0, 1.25)  # (y, x)
ROWS, COLUMNS = 44, 60
SIGMA_PX = 2.3


def image_of(profile: np.ndarray, axis: str) -> np.ndarray:
    """A movie of one frame whose values follow `profile` along one axis."""
    return np.tile(profile, (1, ROWS, 1)) if axis == "x" else np.tile(profile[:, None], (1, 1, COLUMNS))


def line_along(axis: str, first: float, last: float, backwards: bool, width: int = 1) -> Line:
    ends = [(first, 17.0), (last, 17.0)] if axis == "x" else [(21.0, first), (21.0, last)]
    return Line(*(ends[::-1] if backwards else ends), width)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("width", [1, 4])
def test_erf_edge_in_every_orientation(axis: str, backwards: bool, width: int) -> None:
    """To 1e-6: the slope of the straight lines between pixels, and sigma where pixels are read themselves."""
    size, step = (COLUMNS, SPACING[1]) if axis == "x" else (ROWS, SPACING[0])
    centre = size / 2 - 0.2
    movie = image_of(40 + 300 * ndtr((np.arange(size) - centre) / SIGMA_PX), axis)
    line = line_along(axis, 3, size - 4, backwards, width)
    pixels = ndtr((np.arange(3, size - 3) - centre) / SIGMA_PX)  # its own closed form: no interpolation
    expected = np.diff(pixels).max() / np.ptp(pixels) / step
    found = profiles.edge_measures(movie, line, SPACING)
    assert found.sharpness_per_mm[0] == pytest.approx(expected, rel=1e-6)
    # Linear interpolation can only flatten, and by less than 1/(24 sigma²) plus the offset of the samples.
    continuous = 1 / (SIGMA_PX * step * math.sqrt(2 * math.pi))
    assert 0 < 1 - expected / continuous < 4 / (24 * SIGMA_PX**2)
    exact = profiles.edge_measures(movie, line, SPACING, spacing_px=1)
    assert exact.sigma_mm[0] == pytest.approx(SIGMA_PX * step, rel=1e-6)
    assert exact.width_mm[0] == pytest.approx(2 * 1.2815515655446 * SIGMA_PX * step, rel=1e-6)
    assert exact.residual[0] < 1e-8
    # Between pixels the fit sees the straight lines: wider, but by less than a sixth of a pixel squared.
    assert 0 < (found.sigma_mm[0] / step) ** 2 - SIGMA_PX**2 < 0.2
    # 10-90 % of the piecewise linear profile, crossing by crossing.
    normal = (pixels - pixels.min()) / np.ptp(pixels)
    crossings = np.interp([0.1, 0.9], normal, np.arange(normal.size))
    assert found.rise_mm[0] == pytest.approx(np.diff(crossings)[0] * step, rel=1e-6)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_ramp_in_every_orientation(axis: str, backwards: bool) -> None:
    """A ramp over 10 pixels between two plateaus: ES 1/10 per pixel, 10-90 % distance 8 pixels, to 1e-6."""
    size, step = (COLUMNS, SPACING[1]) if axis == "x" else (ROWS, SPACING[0])
    movie = image_of(np.clip((np.arange(size) - 15.0) / 10, 0, 1), axis)
    found = profiles.edge_measures(movie, line_along(axis, 2.25, size - 3.5, backwards), SPACING)
    assert found.sharpness_per_mm[0] == pytest.approx(1 / (10 * step), rel=1e-6)
    assert found.rise_mm[0] == pytest.approx(8 * step, rel=1e-6)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.2, -1.1])
def test_slanted_ramps_have_physical_slopes(angle: float, backwards: bool) -> None:
    """A plane of slope 1/mm across a line at any angle in mm: ES is 1 over the line's length in mm."""
    y, x = np.mgrid[:ROWS, :COLUMNS] * np.array(SPACING)[:, None, None]
    plane = (math.cos(angle) * x + math.sin(angle) * y)[None]
    centre, reach = np.array([36.0, 42.0]), 22 * np.array([math.cos(angle), math.sin(angle)])
    ends = [tuple((centre + sign * reach) / SPACING[::-1]) for sign in (-1, 1)]
    for width in (1, 3):
        line = Line(*(ends[::-1] if backwards else ends), width)
        found = profiles.edge_measures(plane, line, SPACING)
        assert found.sharpness_per_mm[0] == pytest.approx(1 / 44, rel=1e-6)
        assert found.rise_mm[0] == pytest.approx(0.8 * 44, rel=1e-6)


def test_parallel_lines_lie_at_right_angles_in_mm() -> None:
    """A slanted edge on oblong pixels, crossed at a right angle in mm: averaging must not blur it."""
    y, x = np.mgrid[:ROWS, :COLUMNS] * np.array(SPACING)[:, None, None]
    direction = np.array([math.cos(0.7), math.sin(0.7)])
    centre = np.array([36.0, 42.0])
    distance = direction[0] * (x - centre[0]) + direction[1] * (y - centre[1])
    movie = ndtr(distance / 5.0)[None]
    ends = [tuple((centre + sign * 24 * direction) / SPACING[::-1]) for sign in (-1, 1)]
    one, nine = (profiles.edge_measures(movie, Line(*ends, width), SPACING) for width in (1, 9))
    assert nine.sigma_mm[0] == pytest.approx(one.sigma_mm[0], rel=2e-3)
    # In pixels as if they were square, the same nine lines would not lie along the edge.
    wrong = profiles.edge_measures(movie, Line(*ends, 9), (1.0, 1.0))
    factor = math.hypot(*(np.subtract(*ends))) / 48
    assert wrong.sigma_mm[0] / factor > 1.05 * one.sigma_mm[0]


def test_rise_needs_both_levels_and_takes_the_steepest_flank() -> None:
    """A dip beside the edge is not counted; a flank that only falls from 50 % has no 10-90 % distance."""
    steps = np.array([0.5, 0.5, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    movie = np.tile(steps, (1, 3, 1))
    rise = profiles.edge_measures(movie, Line((0, 1), (8, 1)), (1, 1)).rise_mm[0]
    # The steepest flank (0.5 to 0.0) never passes 90 % on its upper side: 10-90 % is not defined there.
    assert math.isnan(rise)
    rise = profiles.edge_measures(movie[:, :, 2:], Line((0, 1), (6, 1)), (1, 1)).rise_mm[0]
    assert rise == pytest.approx(0.8 * 4)
    shallow_top = np.array([0.0, 0.0, 0.05, 0.6, 0.85, 0.92, 1.0, 0.95])  # 10 % and 90 % in other intervals
    rise = profiles.edge_measures(np.tile(shallow_top, (1, 3, 1)), Line((0, 1), (7, 1)), (1, 1)).rise_mm[0]
    assert rise == pytest.approx((4 + 0.05 / 0.07) - (2 + 0.05 / 0.55))
    low_start = np.array([0.0, 0.08, 0.12, 0.14, 0.16, 0.2, 0.5, 0.92, 1.0, 1.0])
    rise = profiles.edge_measures(np.tile(low_start, (1, 3, 1)), Line((9, 1), (0, 1)), (1, 1)).rise_mm[0]
    assert rise == pytest.approx((6 + 0.4 / 0.42) - 1.5)


def test_residual_tells_a_good_fit_from_a_bad_one() -> None:
    """White noise of 3 % leaves 3 % (of the range, which noise widens); a staircase more; flat is nan."""
    rng = np.random.default_rng(1)
    edge = ndtr((np.arange(COLUMNS) - 30) / 3.0)
    movie = np.tile(edge, (200, 3, 1)) + rng.normal(0, 0.03, (200, 3, COLUMNS))
    line = Line((2, 1), (57, 1))
    residual = profiles.edge_measures(movie, line, (1, 1), spacing_px=1).residual
    assert residual.mean() == pytest.approx(0.03 / 1.12, rel=0.08)
    stairs = np.repeat([0, 0, 0.5, 0.5, 1, 1], 10)[None, None]
    poor = profiles.edge_measures(np.tile(stairs, (1, 3, 1)), line, (1, 1)).residual[0]
    assert 0.1 < poor < 0.3
    flat = profiles.edge_measures(np.ones((1, 3, COLUMNS)), line, (1, 1))
    assert all(math.isnan(part[0]) for part in flat) and math.isnan(flat.width_mm[0])


def test_spacings_that_are_no_lengths_are_refused() -> None:
    with pytest.raises(StudyError, match="larger than 0 mm"):
        profiles.edge_measures(np.ones((1, 5, 9)), Line((0, 1), (8, 1)), (1.0, 0.0))
