"""Masks, SNR and profiles against NumPy, matplotlib paths and closed forms in both orientations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.path import Path
from scipy.optimize import curve_fit
from scipy.special import erf

from studies import measurement as m
from studies.errors import StudyError

SHAPE = (40, 56)  # not square: a swapped axis shows at once


# Masks


def test_ellipse_mask_equals_a_pixel_loop() -> None:
    """Every pixel centre is tried on its own, in the frame of the turned ellipse."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        cx, cy = rng.uniform(5, 50), rng.uniform(5, 35)
        a, b, angle = rng.uniform(0.6, 12), rng.uniform(0.6, 12), rng.uniform(-4, 4)
        expected = np.zeros(SHAPE, bool)
        for j in range(SHAPE[0]):
            for i in range(SHAPE[1]):
                turned = complex(i - cx, j - cy) * np.exp(-1j * angle)
                expected[j, i] = math.hypot(turned.real / a, turned.imag / b) <= 1
        np.testing.assert_array_equal(m.ellipse_mask(SHAPE, (cx, cy), (a, b), angle), expected)


def test_ellipse_angle_turns_from_x_towards_y() -> None:
    """A thin ellipse at +45° runs down to the right, on the pixels [j, j]."""
    mask = m.ellipse_mask((21, 21), (10, 10), (8, 0.3), math.pi / 4)
    assert mask[14, 14] and mask[6, 6] and not mask[14, 6] and not mask[6, 14]


def test_polygon_mask_equals_matplotlib() -> None:
    """Random star polygons off the grid, against another library's point-in-polygon."""
    rng = np.random.default_rng(2)
    x, y = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    points = np.column_stack([x.ravel(), y.ravel()])
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(4, 17, 9)
        vertices = [
            (27.3 + r * math.cos(t), 19.7 + r * math.sin(t)) for r, t in zip(radii, angles, strict=True)
        ]
        expected = Path([*vertices, vertices[0]]).contains_points(points).reshape(SHAPE)
        np.testing.assert_array_equal(m.polygon_mask(SHAPE, vertices), expected)


def test_rectangle_and_polygon_agree_with_slices_border_included() -> None:
    """Corners on pixel centres: the border belongs to the region, whichever way it was drawn."""
    expected = np.zeros(SHAPE, bool)
    expected[3:9, 10:21] = True  # rows 3…8, columns 10…20
    np.testing.assert_array_equal(m.Rectangle.from_corners((20, 8), (10, 3)).mask(SHAPE), expected)
    corners = [(10, 3), (20, 3), (20, 8), (10, 8)]
    np.testing.assert_array_equal(m.polygon_mask(SHAPE, corners), expected)
    np.testing.assert_array_equal(m.polygon_mask(SHAPE, corners[::-1]), expected)


def test_turned_rectangle_equals_its_polygon() -> None:
    """A turned rectangle and the polygon of its four corners are one region."""
    rectangle = m.Rectangle((25.2, 18.1), (17.3, 9.4), 0.4)
    turn = np.exp(0.4j)
    corners = [
        (25.2 + (turn * complex(u, v)).real, 18.1 + (turn * complex(u, v)).imag)
        for u, v in [(-8.65, -4.7), (8.65, -4.7), (8.65, 4.7), (-8.65, 4.7)]
    ]
    np.testing.assert_array_equal(rectangle.mask(SHAPE), m.polygon_mask(SHAPE, corners))


def test_masks_are_cut_at_the_image() -> None:
    """A region that is half outside keeps its inside half only."""
    assert m.rectangle_mask((10, 10), (0, 0), (4, 4)).sum() == 9  # columns and rows 0…2
    assert m.ellipse_mask((10, 10), (-20, 5), (3, 3)).sum() == 0


# SNR


@pytest.mark.parametrize("centre", [(20.0, 20.0), (20.25, 19.5), (31.13, 12.87)])
def test_snr_equals_numpy_wherever_the_region_sits(centre: tuple[float, float]) -> None:
    """SNR on the raw pixels, to 1e-12, for regions on and off the grid and turned: no interpolation."""
    movie = np.random.default_rng(3).normal(5, 1, (6, *SHAPE)).astype(np.float32)
    signal = m.ellipse_mask(SHAPE, centre, (7, 4), 0.5)
    background = m.rectangle_mask(SHAPE, (40.5, 30.25), (20, 9), 0.5)
    expected = [
        20 * math.log10(frame[signal].astype(float).mean() / frame[background].astype(float).std(ddof=1))
        for frame in movie
    ]
    np.testing.assert_allclose(m.snr_db(movie, signal, background), expected, rtol=0, atol=1e-12)


def test_snr_closed_form_and_scale() -> None:
    """Signal 100 and background 1, 3, 1, 3…: SD is sqrt(n / (n - 1)); doubling the movie changes nothing."""
    movie = np.zeros((2, 10, 10))
    movie[:, :5] = 100
    movie[:, 5:, ::2], movie[:, 5:, 1::2] = 1, 3
    signal, background = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    signal[:5], background[5:] = True, True
    expected = 20 * math.log10(100 / math.sqrt(50 / 49))
    np.testing.assert_allclose(m.snr_db(movie, signal, background), expected, rtol=1e-14)
    np.testing.assert_allclose(m.snr_db(2 * movie, signal, background), expected, rtol=1e-14)
    np.testing.assert_allclose(m.snr_db(movie.astype(np.uint8), signal, background), expected, rtol=1e-14)


def test_constant_background_is_infinite_and_flagged() -> None:
    """Blanked air gives +inf in that frame, a warning, and a mean over the others."""
    movie = np.random.default_rng(4).normal(10, 1, (4, 30, 30))
    movie[1, 20:] = 0
    shapes = m.Shapes(m.Rectangle((10, 8), (10, 10)), m.Rectangle((15, 25), (20, 8)))
    (result,) = m.measure(movie[None], shapes, (1, 1), np.arange(4) * 0.05)
    assert result.snr_db is not None and result.snr is not None
    assert np.isposinf(result.snr_db[1]) and np.isfinite(result.snr_db[[0, 2, 3]]).all()
    assert result.snr == (result.snr_db[[0, 2, 3]].mean(), result.snr_db[[0, 2, 3]].std(ddof=1), 4, 1)
    assert any("constant in 1 frame" in warning for warning in result.warnings)


# Profiles


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
    position, values = m.line_profile(image, start, end, order=order)
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
    position, values = m.line_profile(plane(2.0, -0.5), (20, 18), (36, 22), order=order)
    fraction = position / position[-1]
    np.testing.assert_allclose(values, 2 * (20 + 16 * fraction) - 0.5 * (18 + 4 * fraction), atol=1e-6)


def test_profile_of_integer_images_is_not_truncated() -> None:
    """Half-way between pixels 10 and 11 of a uint8 ramp is 10.5."""
    image = np.tile(np.arange(56, dtype=np.uint8), (40, 1))
    assert m.line_profile(image, (10, 5), (11, 5), spacing_px=0.5).values.tolist() == [10, 10.5, 11]


def test_width_averages_parallel_lines() -> None:
    """Three rows around row 20, for a line along x; the rows of a quadratic image average to y² + 2/3."""
    image = np.tile((np.arange(40.0)[:, None]) ** 2, (1, 56))
    values = m.line_profile(image, (5, 20), (25, 20), width_px=3).values
    np.testing.assert_allclose(values, 400 + 2 / 3, rtol=1e-12)
    # Slanted: the square of the distance from the line averages to (1 + 0 + 1) / 3 at every sample.
    start, end = np.array([20.0, 12.0]), np.array([36.0, 24.0])
    normal = np.array([-(end - start)[1], (end - start)[0]]) / np.hypot(*(end - start))
    distance = plane(normal[0], normal[1]) - normal @ start
    values = m.line_profile(distance**2, tuple(start), tuple(end), width_px=3, order=3).values
    np.testing.assert_allclose(values, 2 / 3, atol=1e-3)


def test_yt_profile_axes_and_movement() -> None:
    """An edge that moves one pixel a frame down the image moves one row a frame in (samples, t)."""
    movie = np.stack([np.repeat((np.arange(40) >= 10 + t)[:, None], 56, axis=1) for t in range(5)]).astype(
        float
    )
    image = m.yt_profile(movie, (30, 0), (30, 39))
    assert image.shape == (40, 5)
    assert [int(np.argmax(image[:, t] > 0.5)) for t in range(5)] == [10, 11, 12, 13, 14]
    assert np.ptp(m.yt_profile(movie, (0, 30), (55, 30)), axis=0).max() == 0  # across: nothing to see


def test_lines_outside_the_image_are_refused() -> None:
    """Also when only the width leaves it; the ends themselves may lie on the outermost pixels."""
    m.line_profile(plane(1, 1), (0, 0), (55, 39))
    for start, end, width in [((-1, 5), (20, 5), 1), ((5, 5), (5, 40), 1), ((0, 0), (30, 0), 3)]:
        with pytest.raises(StudyError, match="leaves the image"):
            m.line_profile(plane(1, 1), start, end, width_px=width)
    with pytest.raises(StudyError, match="no length"):
        m.line_profile(plane(1, 1), (3, 3), (3, 3))


# Sharpness


def test_sharpness_of_a_ramp_in_both_orientations() -> None:
    """A ramp over the whole line has ES 1/length, in mm of each axis."""
    spacing = (2.0, 1.25)  # (y, x)
    movie = np.stack([plane(3, 0), plane(3, 0) * 7 + 2])
    np.testing.assert_allclose(
        m.edge_sharpness(movie, (10, 20), (30, 20), spacing), 1 / (20 * 1.25), atol=1e-6
    )
    movie = np.stack([plane(0, 3), plane(0, -3)])
    np.testing.assert_allclose(m.edge_sharpness(movie, (10, 5), (10, 25), spacing), 1 / (20 * 2.0), atol=1e-6)
    slanted = math.hypot(20 * 1.25, 10 * 2.0)
    np.testing.assert_allclose(
        m.edge_sharpness(np.stack([plane(1, 1)]), (10, 5), (30, 15), spacing), 1 / slanted, atol=1e-6
    )
    with pytest.raises(AssertionError):  # a transposed reading of the same movie must not pass
        np.testing.assert_allclose(
            m.edge_sharpness(movie.transpose(0, 2, 1)[:, :, :40], (10, 5), (10, 25), spacing),
            1 / 40.0,
            atol=1e-6,
        )


def test_sharpness_of_a_kinked_edge() -> None:
    """0 … 0, then 5 px up to 1, then a plateau: slope 1/5 per px whatever the line's ends."""
    edge = np.clip((np.arange(56.0) - 20) / 5, 0, 1)
    movie = np.tile(edge, (1, 40, 1))
    for start, end in [((5, 20), (50, 20)), ((48.7, 11), (9.3, 11))]:
        np.testing.assert_allclose(m.edge_sharpness(movie, start, end, (1, 2)), 1 / 10, atol=1e-6)


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
        slope = m.edge_sharpness(movie, start, end, (1.5, 9))[0]
        assert slope == pytest.approx(1 / (1.5 * sigma * math.sqrt(2 * math.pi)), rel=0.04)
        width = m.edge_width_mm(movie, start, end, (1.5, 9))[0] / (1.5 * 2.56310)
        assert sigma * 0.999 < width < math.sqrt(sigma**2 + 0.25)
    exact = m.edge_width_mm(movie, (2, 8), (2, 52), (1, 1), spacing_px=1)[
        0
    ]  # on the pixels: no interpolation
    assert exact == pytest.approx(2 * 1.2815515655 * sigma, rel=1e-6)


def test_fitted_width_equals_scipy_curve_fit() -> None:
    """Our batched fit finds the minimum that SciPy's solver finds on the same noisy profile."""
    movie = erf_edges(2.0, 0.03, 5)
    widths = m.edge_width_mm(movie, (2, 10), (2, 50), (1, 1), spacing_px=1)
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
    sharpness = m.edge_sharpness(movie, (2, 10), (2, 50), (1, 1)).mean() * 3 * math.sqrt(2 * math.pi)
    width = np.mean(m.edge_width_mm(movie, (2, 10), (2, 50), (1, 1))) / (2.5631 * 3)
    assert sharpness > 1.4 and abs(width - 1) < 0.05


def test_width_takes_the_flank_of_the_extremes() -> None:
    """Blood (0.8) - septum (0) - blood (1): the flank to the brighter side is measured, either way round."""
    x = np.arange(90.0)
    septum = 1 - 0.5 * (1 + erf((x - 30) / (4 * math.sqrt(2)))) * 1.0
    septum = 0.8 * septum + 0.5 * (1 + erf((x - 60) / (1.5 * math.sqrt(2))))
    movie = np.tile(septum, (1, 10, 1))
    for oriented in (movie, movie[:, :, ::-1]):
        width = m.edge_width_mm(oriented, (2, 5), (87, 5), (1, 1), spacing_px=1)[0]
        assert width == pytest.approx(2.5631 * 1.5, rel=0.05)


def test_flat_profile_is_nan_not_zero() -> None:
    """Nothing to normalise: no sharpness, and a warning."""
    movie = np.ones((1, 3, 40, 56))
    shapes = m.Shapes(line=m.Line((5, 5), (30, 5)))
    (result,) = m.measure(movie, shapes, (1, 1), [0, 0.1, 0.2])
    assert (
        result.sharpness is not None and math.isnan(result.sharpness.mean) and result.sharpness.excluded == 3
    )
    assert any("flat in 3" in warning for warning in result.warnings)
    assert result.to_dict()["edge_sharpness_per_mm_mean"] is None


# Clip


def test_summary_takes_the_window() -> None:
    """1.5 s at 50 ms is 30 frames, not 31; SD with N - 1."""
    times = 7.0 + 0.05 * np.arange(40)
    values = np.arange(40.0)
    summary = m.summarise(values, times, 1.5)
    assert summary == (14.5, pytest.approx(np.std(np.arange(30), ddof=1)), 30, 0)
    assert m.summarise(values, times).frames == 40
    with pytest.raises(StudyError, match="increasing"):
        m.summarise([1, 2], [0.1, 0.1])


def test_measure_applies_one_drawing_to_all_arms() -> None:
    """Equal arms get equal numbers; an arm with twice the signal is 6.02 dB higher; JSON has no NaN."""
    rng = np.random.default_rng(5)
    movie = rng.normal(0, 1, (31, *SHAPE)) ** 2
    movie[:, 5:20, 5:30] += 50
    brighter = movie.copy()
    brighter[:, 5:20, 5:30] *= 2
    shapes = m.Shapes(
        m.Ellipse((17, 12), (9, 5), 0.1),
        m.Rectangle((45, 30), (16, 12)),
        m.Line((2, 12), (25, 12), width_px=3),
    )
    first, second, third = m.measure(
        np.stack([movie, brighter, movie]), shapes, (1.5, 1.5), np.arange(31) * 0.05
    )
    assert first.snr == third.snr and first.sharpness == third.sharpness
    assert first.snr is not None and second.snr is not None
    assert second.snr.mean - first.snr.mean == pytest.approx(20 * math.log10(2), abs=1e-9)
    assert first.snr.frames == 30 and first.warnings == ()
    assert first.signal_pixels == int(shapes.signal.mask(SHAPE).sum())  # type: ignore[union-attr]
    stored = m.measurement_values(["x", "y", "z"], [first, second, third])
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert stored["y"]["snr_db_mean"] == second.snr.mean and len(stored["x"]["edge_sharpness_per_mm"]) == 31


def test_warnings_for_poor_regions() -> None:
    """Few pixels, shared pixels, a short line and a short movie are all said."""
    movie = np.random.default_rng(6).random((1, 4, *SHAPE))
    shapes = m.Shapes(m.Rectangle((10, 10), (2, 2)), m.Rectangle((10, 10), (4, 4)), m.Line((5, 5), (8, 5)))
    (result,) = m.measure(movie, shapes, (1, 1), [0, 0.1, 0.2, 0.3])
    said = " ".join(result.warnings)
    assert (
        "signal region holds only 9" in said
        and "share 9 pixel" in said
        and "3.0 pixels" in said
        and "0.40 s" in said
    )


def test_shapes_survive_json_and_refuse_nonsense() -> None:
    """What was drawn can be read back; other schemas and broken fields are named."""
    shapes = m.Shapes(
        m.Polygon(((1, 2), (9, 2.5), (5, 11))), m.Ellipse((4, 5), (2, 3), 0.3), m.Line((1, 2), (3, 4.5), 2)
    )
    stored = json.loads(json.dumps(shapes.to_dict()))
    assert m.Shapes.from_dict(stored) == shapes
    rectangle = m.Rectangle((1, 2), (3, 4), 0.5)
    assert m.shape_from_dict(json.loads(json.dumps(rectangle.to_dict()))) == rectangle
    with pytest.raises(StudyError, match="schema 'other'"):
        m.Shapes.from_dict(stored | {"schema": "other"})
    with pytest.raises(StudyError, match="semi_axes"):
        m.Shapes.from_dict(
            stored | {"background": {"kind": "ellipse", "centre_xy": [1, 2], "semi_axes": [1]}}
        )
    with pytest.raises(StudyError, match="must be regions"):
        m.Shapes.from_dict(stored | {"signal": stored["line"]})
    with pytest.raises(StudyError, match="larger than 0"):
        m.Ellipse((0, 0), (0, 1))


def test_moved_shapes_move_their_masks() -> None:
    """Nudging by whole pixels shifts the mask and nothing else."""
    for shape in [
        m.Ellipse((20.3, 15.1), (6, 4), 0.7),
        m.Rectangle((20, 15), (9, 5), 0.2),
        m.Polygon(((14, 10), (27, 12), (20, 22))),
    ]:
        moved = shape.moved(3, -2).mask(SHAPE)
        np.testing.assert_array_equal(moved, np.roll(shape.mask(SHAPE), (-2, 3), axis=(0, 1)))


def test_wrong_arrays_are_refused() -> None:
    """Complex images, wrong axes, empty and misfitting masks."""
    mask = np.ones(SHAPE, bool)
    for movie, first, second, said in [
        (np.ones(SHAPE), mask, mask, "axes"),
        (np.ones((2, *SHAPE), complex), mask, mask, "magnitude"),
        (np.ones((2, *SHAPE)), ~mask, mask, "signal region holds 0"),
        (np.ones((2, *SHAPE)), mask.T, mask, "shape"),
    ]:
        with pytest.raises(StudyError, match=said):
            m.snr_db(movie, first, second)
