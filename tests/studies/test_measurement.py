"""SNR against NumPy and closed forms; all movies of a clip measured with one drawing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from studies import measurement
from studies.errors import StudyError
from studies.shapes import Ellipse, Line, Rectangle, Shapes, ellipse_mask, rectangle_mask

SHAPE = (40, 56)  # not square: a swapped axis shows at once


@pytest.mark.parametrize("centre", [(20.0, 20.0), (20.25, 19.5), (31.13, 12.87)])
def test_snr_equals_numpy_wherever_the_region_sits(centre: tuple[float, float]) -> None:
    """SNR on the raw pixels, to 1e-12, for regions on and off the grid and turned: no interpolation."""
    movie = np.random.default_rng(3).normal(5, 1, (6, *SHAPE)).astype(np.float32)
    signal = ellipse_mask(SHAPE, centre, (7, 4), 0.5)
    background = rectangle_mask(SHAPE, (40.5, 30.25), (20, 9), 0.5)
    expected = [
        20 * math.log10(frame[signal].astype(float).mean() / frame[background].astype(float).std(ddof=1))
        for frame in movie
    ]
    np.testing.assert_allclose(measurement.snr_db(movie, signal, background), expected, rtol=0, atol=1e-12)


def test_snr_closed_form_and_scale() -> None:
    """Signal 100 and background 1, 3, 1, 3…: SD is sqrt(n / (n - 1)); doubling the movie changes nothing."""
    movie = np.zeros((2, 10, 10))
    movie[:, :5] = 100
    movie[:, 5:, ::2], movie[:, 5:, 1::2] = 1, 3
    signal, background = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    signal[:5], background[5:] = True, True
    expected = 20 * math.log10(100 / math.sqrt(50 / 49))
    np.testing.assert_allclose(measurement.snr_db(movie, signal, background), expected, rtol=1e-14)
    np.testing.assert_allclose(measurement.snr_db(2 * movie, signal, background), expected, rtol=1e-14)
    np.testing.assert_allclose(
        measurement.snr_db(movie.astype(np.uint8), signal, background), expected, rtol=1e-14
    )


def test_constant_background_is_infinite_and_flagged() -> None:
    """Blanked air gives +inf in that frame, a warning, and a mean over the others."""
    movie = np.random.default_rng(4).normal(10, 1, (4, 30, 30))
    movie[1, 20:] = 0
    shapes = Shapes(Rectangle((10, 8), (10, 10)), Rectangle((15, 25), (20, 8)))
    (result,) = measurement.measure(movie[None], shapes, (1, 1), np.arange(4) * 0.05)
    assert result.snr_db is not None and result.snr is not None
    assert np.isposinf(result.snr_db[1]) and np.isfinite(result.snr_db[[0, 2, 3]]).all()
    assert result.snr == (result.snr_db[[0, 2, 3]].mean(), result.snr_db[[0, 2, 3]].std(ddof=1), 4, 1)
    assert any("constant in 1 frame" in warning for warning in result.warnings)


def test_flat_profile_is_nan_not_zero() -> None:
    """Nothing to normalise: no sharpness, and a warning."""
    movie = np.ones((1, 3, 40, 56))
    shapes = Shapes(line=Line((5, 5), (30, 5)))
    (result,) = measurement.measure(movie, shapes, (1, 1), [0, 0.1, 0.2])
    assert (
        result.sharpness is not None and math.isnan(result.sharpness.mean) and result.sharpness.excluded == 3
    )
    assert any("flat in 3" in warning for warning in result.warnings)
    assert result.to_dict()["edge_sharpness_per_mm_mean"] is None


def test_summary_takes_the_window() -> None:
    """1.5 s at 50 ms is 30 frames, not 31; SD with N - 1."""
    times = 7.0 + 0.05 * np.arange(40)
    values = np.arange(40.0)
    summary = measurement.summarise(values, times, 1.5)
    assert summary == (14.5, pytest.approx(np.std(np.arange(30), ddof=1)), 30, 0)
    assert measurement.summarise(values, times).frames == 40
    with pytest.raises(StudyError, match="increasing"):
        measurement.summarise([1, 2], [0.1, 0.1])


def test_measure_applies_one_drawing_to_all_arms() -> None:
    """Equal arms get equal numbers; an arm with twice the signal is 6.02 dB higher; JSON has no NaN."""
    rng = np.random.default_rng(5)
    movie = rng.normal(0, 1, (31, *SHAPE)) ** 2
    movie[:, 5:20, 5:30] += 50
    brighter = movie.copy()
    brighter[:, 5:20, 5:30] *= 2
    shapes = Shapes(
        Ellipse((17, 12), (9, 5), 0.1),
        Rectangle((45, 30), (16, 12)),
        Line((2, 12), (25, 12), width_px=3),
    )
    first, second, third = measurement.measure(
        np.stack([movie, brighter, movie]), shapes, (1.5, 1.5), np.arange(31) * 0.05
    )
    assert first.snr == third.snr and first.sharpness == third.sharpness
    assert first.snr is not None and second.snr is not None
    assert second.snr.mean - first.snr.mean == pytest.approx(20 * math.log10(2), abs=1e-9)
    assert first.snr.frames == 30 and first.warnings == ()
    assert first.signal_pixels == int(shapes.signal.mask(SHAPE).sum())  # type: ignore[union-attr]
    stored = measurement.measurement_values(["x", "y", "z"], [first, second, third])
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert stored["y"]["snr_db_mean"] == second.snr.mean and len(stored["x"]["edge_sharpness_per_mm"]) == 31


def test_warnings_for_poor_regions() -> None:
    """Few pixels, shared pixels, a short line and a short movie are all said."""
    movie = np.random.default_rng(6).random((1, 4, *SHAPE))
    shapes = Shapes(Rectangle((10, 10), (2, 2)), Rectangle((10, 10), (4, 4)), Line((5, 5), (8, 5)))
    (result,) = measurement.measure(movie, shapes, (1, 1), [0, 0.1, 0.2, 0.3])
    said = " ".join(result.warnings)
    assert (
        "signal region holds only 9" in said
        and "share 9 pixel" in said
        and "3.0 pixels" in said
        and "0.40 s" in said
    )


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
            measurement.snr_db(movie, first, second)
