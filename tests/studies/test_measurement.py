"""SNR against NumPy and closed forms; all movies of a clip measured with one drawing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from studies import measurement, profiles, snr
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


@pytest.mark.parametrize("window_s", [0.0, -1.0, math.nan])
def test_a_window_needs_a_length(window_s: float) -> None:
    with pytest.raises(StudyError, match=f"longer than 0 s, but {window_s} s"):
        measurement.frames_in_window(np.arange(3.0), window_s)


def test_values_and_movies_need_partners() -> None:
    """As many values as times; as many results as movies."""
    with pytest.raises(StudyError, match=r"\(2,\) values do not fit 3 frame times"):
        measurement.summarise([1.0, 2.0], np.arange(3.0))
    with pytest.raises(StudyError, match="2 movies have 0 measurements"):
        measurement.measurement_values(["ab", "cd"], [])


def test_sizes_and_companions_of_a_clip() -> None:
    """Counted pixels and mm²; companions as their own modules give them, over the window's frames only."""
    movie = np.random.default_rng(7).normal(50, 2, (8, *SHAPE))
    movie[:, :, 30:] *= 0.05
    shapes = Shapes(Rectangle((12, 12), (10, 8)), Rectangle((44, 30), (12, 10)), Line((20, 20), (40, 20), 5))
    times = 0.1 * np.arange(8)
    (result,) = measurement.measure(
        movie[None], shapes, (2.0, 1.25), times, frame_range=(2, 7), window_s=0.35
    )
    assert (result.signal_pixels, result.signal_area_mm2) == (11 * 9, 11 * 9 * 2.5)
    assert (result.background_pixels, result.background_area_mm2) == (13 * 11, 13 * 11 * 2.5)
    assert (result.line_width_px, result.first_frame) == (5, 2)
    used = movie[2:6]  # 0.2 s … 0.5 s: within 0.35 s of frame 3
    signal = shapes.signal.mask(SHAPE)  # type: ignore[union-attr]
    assert result.snr is not None and result.snr.frames == 4 and result.snr_db is not None
    assert result.snr.mean == pytest.approx(result.snr_db[2:6].mean()) and len(result.snr_db) == 8
    assert result.temporal_snr_db == snr.temporal_snr_db(used, signal)
    assert result.difference_snr_db is not None
    np.testing.assert_array_equal(result.difference_snr_db, snr.difference_snr_db(used, signal))
    assert result.difference_snr is not None and result.difference_snr.frames == 3
    edge = profiles.edge_measures(movie, shapes.line, (2.0, 1.25))  # type: ignore[arg-type]
    for summary, series in (
        (result.sharpness, edge.sharpness_per_mm),
        (result.width, edge.width_mm),
        (result.sigma, edge.sigma_mm),
        (result.residual, edge.residual),
        (result.rise, edge.rise_mm),
    ):
        assert summary is not None and summary.mean == pytest.approx(series[2:6].mean())
        assert summary.sd == pytest.approx(series[2:6].std(ddof=1)) and summary.frames == 4
    stored = result.to_dict()
    assert stored["first_frame"] == 3 and stored["frames"] == 4
    assert stored["temporal_snr_db"] == result.temporal_snr_db
    assert stored["edge_sigma_mm_mean"] == result.sigma.mean  # type: ignore[union-attr]
    only_signal = Shapes(shapes.signal)
    (result,) = measurement.measure(movie[None], only_signal, (1, 1), times)
    assert result.snr is None and result.temporal_snr_db is not None and result.edge is None
    (result,) = measurement.measure(movie[None, :1], only_signal, (1, 1), times[:1])
    assert result.temporal_snr_db is None and result.to_dict()["difference_snr_db_mean"] is None


def test_frames_to_be_measured() -> None:
    """The range, and in it the window from its first frame; a range outside the movie is refused."""
    times = 2 + 0.1 * np.arange(10)
    chosen = measurement.measured_frames(times, 0.25, (4, 10))
    assert np.flatnonzero(chosen).tolist() == [4, 5, 6]
    assert (
        measurement.measured_frames(times, None, (4, 6)).sum() == 2
        and measurement.measured_frames(times).all()
    )
    for wrong in ((-1, 4), (4, 4), (4, 11)):
        with pytest.raises(StudyError, match="frames 1…10"):
            measurement.measured_frames(times, None, wrong)
    movie = np.random.default_rng(1).random((1, 10, *SHAPE))
    shapes = Shapes(Rectangle((12, 12), (10, 8)), Rectangle((40, 30), (10, 10)))
    (result,) = measurement.measure(movie, shapes, (1, 1), times, window_s=0.5, frame_range=(7, 10))
    assert any("range of frames lasts 0.30 s" in text for text in result.warnings)
    with pytest.raises(StudyError, match="9 frame times"):
        measurement.measure(movie, shapes, (1, 1), times[:9])


def test_a_region_across_the_crop_is_told_per_arm() -> None:
    """Ten columns of the second arm were set to a constant: pixels that never change and reach the edge."""
    rng = np.random.default_rng(2)
    whole = rng.normal(20, 1, (5, *SHAPE))
    cropped = whole.copy()
    cropped[:, :, -10:] = 3.0
    cropped[:, 20:24, 20:24] = 7.0  # a patch that never changes inside the image is no crop
    shapes = Shapes(Rectangle((22, 22), (20, 12)), Rectangle((44, 20), (10, 8)))
    first, second = measurement.measure(np.stack([whole, cropped]), shapes, (1, 1), np.arange(5) * 0.5)
    assert first.warnings == ()
    (warning,) = second.warnings
    assert warning.startswith("36 of the 99 pixels of the background region lie in a border")
    border = measurement.crop_pixels(cropped)
    assert border[:, -10:].all() and border.sum() == 40 * 10
    assert not measurement.crop_pixels(whole).any() and not measurement.crop_pixels(cropped[:1]).any()
    # A region wholly in the border is zeroed air, which is said in other words.
    inside = Shapes(Rectangle((22, 22), (20, 12)), Rectangle((51, 20), (6, 8)))
    said = measurement.measure(cropped[None], inside, (1, 1), np.arange(5) * 0.5)[0].warnings
    assert len(said) == 1 and "constant in 5 frame(s)" in said[0]


def test_suppressed_air_and_regions_outside() -> None:
    """An air SD below 1e-3 of the signal is told; a region that leaves the image is refused, not cut."""
    movie = np.random.default_rng(3).normal(100, 1, (3, *SHAPE))
    movie[:, 20:, 30:] = 1 + 0.05 * movie[:, 20:, 30:] / 100
    movie[:, 20:, 30:] += np.random.default_rng(4).normal(0, 0.04, movie[:, 20:, 30:].shape)
    shapes = Shapes(Rectangle((12, 12), (10, 8)), Rectangle((42, 30), (10, 10)))
    (result,) = measurement.measure(movie[None], shapes, (1, 1), np.arange(3) * 0.5)
    assert any("below 0.1 % of the signal in 3 frame(s)" in text for text in result.warnings)
    outside = Shapes(Rectangle((3, 12), (10, 8)), Rectangle((42, 30), (10, 10)))
    with pytest.raises(StudyError, match="signal region reaches from"):
        measurement.measure(movie[None], outside, (1, 1), np.arange(3) * 0.5)


def test_a_poor_fit_is_told() -> None:
    stairs = np.tile(np.repeat([0.0, 0.0, 0.5, 0.5, 1.0, 1.0], 10), (1, 2, 9, 1))
    shapes = Shapes(line=Line((2, 4), (57, 4)))
    (result,) = measurement.measure(stairs, shapes, (1, 1), [0.0, 0.1], window_s=None)
    assert any("error function misses the profile by more than 10% in 2" in text for text in result.warnings)


def test_a_line_without_plateaus_is_told() -> None:
    """On the middle of a wide edge the fit has to guess the plateaus: its width exceeds the line."""
    ramp = np.tile(np.arange(56.0), (1, 2, 40, 1))
    (result,) = measurement.measure(
        ramp, Shapes(line=Line((10, 5), (40, 5))), (1, 1), [0.0, 0.1], window_s=None
    )
    assert result.width is not None and result.width.mean > 30
    assert any("wider than the line in 2 frame(s)" in text for text in result.warnings)
