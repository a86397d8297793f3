"""Line profiles and edge sharpness against ramps and error functions in both orientations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import erf

from studies import profiles
from studies.errors import StudyError

SHAPE = (40, 56)  # not square: a swapped axis shows at once


def plane(slope_x: float, slope_y: float) -> np.ndarray:
    """A linear ramp image: value = slope_x · column + slope_y · row."""
    return slope_x * np.arange(SHAPE[1])[None, :] + slope_y * np.arange(SHAPE[0])[:, None]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    ("start", "end"),
    [((4, 20), (50, 20)), ((30, 3), (30, 36)), ((5.3, 34.2), (47.9, 6.6)), ((55, 39), (0, 0))],
)
def test_profile_of_a_ramp_is_the_ramp(
    start: tuple[float, float], end: tuple[float, float], order: int
) -> None:
    """Exact to 1e-6 along rows, columns and slants, in the direction drawn; transposed profiles differ."""
    image = plane(2.0, -0.5)
    position, values = profiles.line_profile(image, start, end, order=order)
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    fraction = position / length
    expected = 2.0 * (start[0] + fraction * (end[0] - start[0])) - 0.5 * (
        start[1] + fraction * (end[1] - start[1])
    )
    # Splines bend a little at the mirrored border; inside the image they are exact, see the next test.
    np.testing.assert_allclose(values, expected, atol=1e-6 if order == 1 else 0.3)
    assert (
        position[0] == 0 and position[-1] == pytest.approx(length) and np.diff(position).max() <= 0.25 + 1e-12
    )
    transposed = 2.0 * (start[1] + fraction * (end[1] - start[1])) - 0.5 * (
        start[0] + fraction * (end[0] - start[0])
    )
    assert np.abs(values - transposed).max() > 1


@pytest.mark.parametrize("order", [2, 3])
def test_splines_are_exact_on_a_ramp_inside(order: int) -> None:
    """Away from the border, quadratic and cubic interpolation reproduce a ramp to 1e-6 too."""
    position, values = profiles.line_profile(plane(2.0, -0.5), (20, 18), (36, 22), order=order)
    fraction = position / position[-1]
    np.testing.assert_allclose(values, 2 * (20 + 16 * fraction) - 0.5 * (18 + 4 * fraction), atol=1e-6)


def test_profile_of_integer_images_is_not_truncated() -> None:
    """Half-way between pixels 10 and 11 of a uint8 ramp is 10.5."""
    image = np.tile(np.arange(56, dtype=np.uint8), (40, 1))
    assert profiles.line_profile(image, (10, 5), (11, 5), spacing_px=0.5).values.tolist() == [10, 10.5, 11]


def test_width_averages_parallel_lines() -> None:
    """Three rows around row 20, for a line along x; the rows of a quadratic image average to y² + 2/3."""
    image = np.tile((np.arange(40.0)[:, None]) ** 2, (1, 56))
    values = profiles.line_profile(image, (5, 20), (25, 20), width_px=3).values
    np.testing.assert_allclose(values, 400 + 2 / 3, rtol=1e-12)
    # Slanted: the square of the distance from the line averages to (1 + 0 + 1) / 3 at every sample.
    start, end = np.array([20.0, 12.0]), np.array([36.0, 24.0])
    normal = np.array([-(end - start)[1], (end - start)[0]]) / np.hypot(*(end - start))
    distance = plane(normal[0], normal[1]) - normal @ start
    values = profiles.line_profile(distance**2, tuple(start), tuple(end), width_px=3, order=3).values
    np.testing.assert_allclose(values, 2 / 3, atol=1e-3)


def test_yt_profile_axes_and_movement() -> None:
    """An edge that moves one pixel a frame down the image moves one row a frame in (samples, t)."""
    movie = np.stack([np.repeat((np.arange(40) >= 10 + t)[:, None], 56, axis=1) for t in range(5)]).astype(
        float
    )
    image = profiles.yt_profile(movie, (30, 0), (30, 39))
    assert image.shape == (40, 5)
    assert [int(np.argmax(image[:, t] > 0.5)) for t in range(5)] == [10, 11, 12, 13, 14]
    assert np.ptp(profiles.yt_profile(movie, (0, 30), (55, 30)), axis=0).max() == 0  # across: nothing to see


def test_lines_outside_the_image_are_refused() -> None:
    """Also when only the width leaves it; the ends themselves may lie on the outermost pixels."""
    profiles.line_profile(plane(1, 1), (0, 0), (55, 39))
    for start, end, width in [((-1, 5), (20, 5), 1), ((5, 5), (5, 40), 1), ((0, 0), (30, 0), 3)]:
        with pytest.raises(StudyError, match="leaves the image"):
            profiles.line_profile(plane(1, 1), start, end, width_px=width)
    with pytest.raises(StudyError, match="no length"):
        profiles.line_profile(plane(1, 1), (3, 3), (3, 3))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"spacing_px": 0.0}, "spacing > 0 and width >= 1 pixel, not 0.0 and 1"),
        ({"spacing_px": math.nan}, "not nan and 1"),
        ({"width_px": 0}, "and 0"),
        ({"order": 0}, "must be 1, 2 or 3, not 0"),
        ({"order": 4}, "must be 1, 2 or 3, not 4"),
    ],
)
def test_profiles_name_what_is_out_of_range(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        profiles.line_profile(plane(1, 1), (3, 3), (9, 3), **arguments)


def test_sharpness_of_a_ramp_in_both_orientations() -> None:
    """A ramp over the whole line has ES 1/length, in mm of each axis."""
    spacing = (2.0, 1.25)  # (y, x)
    movie = np.stack([plane(3, 0), plane(3, 0) * 7 + 2])
    np.testing.assert_allclose(
        profiles.edge_sharpness(movie, (10, 20), (30, 20), spacing), 1 / (20 * 1.25), atol=1e-6
    )
    movie = np.stack([plane(0, 3), plane(0, -3)])
    np.testing.assert_allclose(
        profiles.edge_sharpness(movie, (10, 5), (10, 25), spacing), 1 / (20 * 2.0), atol=1e-6
    )
    slanted = math.hypot(20 * 1.25, 10 * 2.0)
    np.testing.assert_allclose(
        profiles.edge_sharpness(np.stack([plane(1, 1)]), (10, 5), (30, 15), spacing), 1 / slanted, atol=1e-6
    )
    with pytest.raises(AssertionError):  # a transposed reading of the same movie must not pass
        np.testing.assert_allclose(
            profiles.edge_sharpness(movie.transpose(0, 2, 1)[:, :, :40], (10, 5), (10, 25), spacing),
            1 / 40.0,
            atol=1e-6,
        )


def test_sharpness_of_a_kinked_edge() -> None:
    """0 … 0, then 5 px up to 1, then a plateau: slope 1/5 per px whatever the line's ends."""
    edge = np.clip((np.arange(56.0) - 20) / 5, 0, 1)
    movie = np.tile(edge, (1, 40, 1))
    for start, end in [((5, 20), (50, 20)), ((48.7, 11), (9.3, 11))]:
        np.testing.assert_allclose(profiles.edge_sharpness(movie, start, end, (1, 2)), 1 / 10, atol=1e-6)


def erf_edges(sigma: float, noise: float, frames: int, size: int = 60) -> np.ndarray:
    """Movies (t, y, x) with an error-function edge of SD `sigma` pixels along y, and white noise."""
    edge = 0.5 * (1 + erf((np.arange(size) - 0.5 * size - 0.3) / (sigma * math.sqrt(2))))
    movie = np.tile(edge[:, None], (frames, 1, 5))
    return movie + noise * np.random.default_rng(7).normal(size=movie.shape)


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_error_function_edge(sigma: float) -> None:
    """An erf edge has slope 1/(sigma sqrt(2 pi)) and 10-90 % distance 2.563 sigma, in either direction.

    Linear interpolation between pixels costs up to 4 % of the slope and widens sigma² by less than 1/4
    pixel².
    """
    movie = erf_edges(sigma, 0, 1)
    for start, end in [((2, 8), (2, 52)), ((2, 52), (2, 8))]:
        slope = profiles.edge_sharpness(movie, start, end, (1.5, 9))[0]
        assert slope == pytest.approx(1 / (1.5 * sigma * math.sqrt(2 * math.pi)), rel=0.04)
        width = profiles.edge_width_mm(movie, start, end, (1.5, 9))[0] / (1.5 * 2.56310)
        assert sigma * 0.999 < width < math.sqrt(sigma**2 + 0.25)
    exact = profiles.edge_width_mm(movie, (2, 8), (2, 52), (1, 1), spacing_px=1)[
        0
    ]  # on the pixels: no interpolation
    assert exact == pytest.approx(2 * 1.2815515655 * sigma, rel=1e-6)


def test_fitted_width_equals_scipy_curve_fit() -> None:
    """Our batched fit finds the minimum that SciPy's solver finds on the same noisy profile."""
    movie = erf_edges(2.0, 0.03, 5)
    widths = profiles.edge_width_mm(movie, (2, 10), (2, 50), (1, 1), spacing_px=1)
    for frame, width in zip(movie, widths, strict=True):
        profile = frame[10:51, 2]
        fit, _ = curve_fit(
            lambda s, low, rise, centre, sigma: (
                low + rise * 0.5 * (1 + erf((s - centre) / sigma / math.sqrt(2)))
            ),
            np.arange(41.0),
            profile,
            p0=[0, 1, 20, 2],
        )
        assert width == pytest.approx(2.5631 * abs(fit[3]), rel=1e-3)


def test_companion_is_less_biased_by_noise_than_the_gradient() -> None:
    """At 10 % noise a soft edge reads over 40 % too sharp by gradient; the fitted width stays within 5 %."""
    movie = erf_edges(3.0, 0.1, 300)
    sharpness = profiles.edge_sharpness(movie, (2, 10), (2, 50), (1, 1)).mean() * 3 * math.sqrt(2 * math.pi)
    width = np.mean(profiles.edge_width_mm(movie, (2, 10), (2, 50), (1, 1))) / (2.5631 * 3)
    assert sharpness > 1.4 and abs(width - 1) < 0.05


def test_width_takes_the_flank_of_the_extremes() -> None:
    """Blood (0.8) - septum (0) - blood (1): the flank to the brighter side is measured, either way round."""
    x = np.arange(90.0)
    septum = 1 - 0.5 * (1 + erf((x - 30) / (4 * math.sqrt(2)))) * 1.0
    septum = 0.8 * septum + 0.5 * (1 + erf((x - 60) / (1.5 * math.sqrt(2))))
    movie = np.tile(septum, (1, 10, 1))
    for oriented in (movie, movie[:, :, ::-1]):
        width = profiles.edge_width_mm(oriented, (2, 5), (87, 5), (1, 1), spacing_px=1)[0]
        assert width == pytest.approx(2.5631 * 1.5, rel=0.05)
