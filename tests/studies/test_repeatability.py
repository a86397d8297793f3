"""Agreement of measurers against published tables, pingouin's numbers, and intervals found by bisection."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from studies.errors import StudyError
from studies.measurement import measure, measurement_values
from studies.repeatability import (
    MeasuredClip,
    bland_altman,
    compare_sets,
    dice,
    icc_agreement,
    icc_consistency,
    latest_set,
    repeated_sets,
    within_subject,
)
from studies.shapes import Ellipse, Rectangle, Shapes
from studies.timed_shapes import Motion, TimedShapes

# Shrout and Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
# Bland and Altman 1986, table 1: peak flow by a Wright meter (twice) and by a mini Wright meter.
WRIGHT = np.array(
    [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float
)
WRIGHT_AGAIN = np.array(
    [490, 397, 512, 401, 470, 611, 415, 431, 638, 429, 420, 633, 275, 492, 165, 372, 421], float
)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)


def test_icc_of_shrout_and_fleiss() -> None:
    """Published 0.29 and 0.71 (ICC(2,1), ICC(3,1)); pingouin 0.7 gives these digits and intervals."""
    agreement, consistency = icc_agreement(SHROUT_FLEISS), icc_consistency(SHROUT_FLEISS)
    assert agreement.value == pytest.approx(0.28976377952755916, abs=1e-12)
    assert consistency.value == pytest.approx(0.7148407148407154, abs=1e-12)
    assert [round(bound, 2) for bound in agreement.interval] == [0.02, 0.76]
    assert [round(bound, 2) for bound in consistency.interval] == [0.34, 0.95]
    pair = np.column_stack([WRIGHT, MINI])
    assert icc_agreement(pair).value == pytest.approx(0.9459284055773102, abs=1e-12)
    assert icc_consistency(pair).value == pytest.approx(0.9429130724069795, abs=1e-12)
    assert [round(bound, 2) for bound in icc_agreement(pair).interval] == [0.86, 0.98]
    assert [round(bound, 2) for bound in icc_consistency(pair).interval] == [0.85, 0.98]


def test_consistency_interval_is_where_the_f_test_turns() -> None:
    """By bisection: the rho at which the observed F ratio has 2.5 % of its distribution beyond it."""
    n, k = SHROUT_FLEISS.shape
    # Mean squares from a least-squares fit with dummy variables, not from the textbook sums.
    rows, columns = np.divmod(np.arange(n * k), k)
    design = np.column_stack([rows[:, None] == np.arange(n), columns[:, None] == np.arange(1, k)]).astype(
        float
    )
    flat = SHROUT_FLEISS.ravel()
    error = np.linalg.lstsq(design, flat, rcond=None)[1][0]
    without_rows = np.column_stack([np.ones(n * k), design[:, n:]])
    between = (np.linalg.lstsq(without_rows, flat, rcond=None)[1][0] - error) / (n - 1)
    error /= (n - 1) * (k - 1)

    def beyond(rho: float) -> float:
        return float(stats.f.sf(between / error * (1 - rho) / (1 + (k - 1) * rho), n - 1, (n - 1) * (k - 1)))

    low = brentq(lambda rho: beyond(rho) - 0.025, 0, 0.999)
    high = brentq(lambda rho: beyond(rho) - 0.975, 0, 0.999)
    assert icc_consistency(SHROUT_FLEISS).interval == pytest.approx((low, high), abs=1e-9)


def test_agreement_intervals_cover_the_truth() -> None:
    """300 simulated tables with rho = 4 / (4 + 0.5 + 1): about 95 % of the intervals hold it."""
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        table = rng.normal(0, 2, (12, 1)) + rng.normal(0, math.sqrt(0.5), (1, 5)) + rng.normal(0, 1, (12, 5))
        low, high = icc_agreement(table).interval
        covered += bool(low < 4 / 5.5 < high)
    assert 275 <= covered <= 297


def test_icc_at_its_ends() -> None:
    """An offset costs agreement but not consistency; identical sets have 1; constant tables have none."""
    base = np.array([1.0, 2.0, 4.0, 7.0])
    offset = np.column_stack([base, base + 3])
    assert icc_consistency(offset).value == 1 and icc_consistency(offset).interval == (1, 1)
    agreement = icc_agreement(offset)
    assert 0.3 < agreement.value < 0.8 and agreement.interval[0] < agreement.value < agreement.interval[1]
    same = np.column_stack([base, base]) * 20.123456789
    assert icc_agreement(same).value == 1 and icc_agreement(same).interval == (1, 1)
    flat = np.full((4, 2), 5.0)
    assert math.isnan(icc_agreement(flat).value) and math.isnan(icc_consistency(flat).interval[0])
    for table in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan], [2.0, 3.0]], [1.0, 2.0]):
        with pytest.raises(StudyError, match="at least 2 subjects"):
            icc_agreement(table)


def test_bland_altman_of_the_peak_flow_meters() -> None:
    """Published: bias -2.1, SD 38.8, limits -79.7 and 75.5 (with 2 SD); intervals of bias -22.0 to 17.8."""
    found = bland_altman(WRIGHT, MINI)
    assert found.pairs == 17
    assert (round(found.bias, 1), round(found.sd, 1)) == (-2.1, 38.8)
    assert found.bias - 2 * found.sd == pytest.approx(-79.7, abs=0.06)
    assert found.bias + 2 * found.sd == pytest.approx(75.5, abs=0.1)
    assert found.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)
    # Published with SE sqrt(3 SD²/n): -114.3 to -45.1 and 40.9 to 110.1.
    assert found.lower_limit_interval == pytest.approx((-114.3, -45.1), abs=2.5)
    assert found.upper_limit_interval == pytest.approx((40.9, 110.1), abs=2.5)
    z = 1.959963984540054
    assert found.limits == pytest.approx((found.bias - z * found.sd, found.bias + z * found.sd))
    mean, difference = (WRIGHT + MINI) / 2, WRIGHT - MINI
    (slope, _), covariance = np.polyfit(mean, difference, 1, cov=True)
    assert found.slope == pytest.approx(slope)
    reach = stats.t.ppf(0.975, 15) * math.sqrt(covariance[0, 0])
    assert found.slope_interval == pytest.approx((slope - reach, slope + reach))
    assert found.slope_p == pytest.approx(stats.pearsonr(mean, difference).pvalue)


def test_limit_intervals_cover_the_limits() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        found = bland_altman(rng.normal(0.5, 1, 25), np.zeros(25))
        low, high = found.upper_limit_interval
        covered += bool(low < 0.5 + 1.96 < high)
    assert 366 <= covered <= 396


def test_bland_altman_without_a_slope() -> None:
    found = bland_altman([1.0, 3.0], [2.0, 3.0])
    assert found.bias == -0.5 and math.isnan(found.slope) and math.isnan(found.slope_p)
    assert math.isnan(bland_altman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]).slope)
    with pytest.raises(StudyError, match="3 and 2 measurements are no pairs"):
        bland_altman([1.0, 2.0, 3.0], [1.0, 2.0])


def test_within_subject_sd_of_the_wright_meter() -> None:
    """Published: 15.3 l/min; its repeatability is 1.96 sqrt 2 of it, and the interval is chi-square's."""
    found = within_subject(np.column_stack([WRIGHT, WRIGHT_AGAIN]))
    assert round(found.sd, 1) == 15.3 and found.repeatability == pytest.approx(2.7718 * found.sd, rel=1e-4)
    assert found.sd == pytest.approx(math.sqrt(((WRIGHT - WRIGHT_AGAIN) ** 2).mean() / 2))
    low, high = found.interval
    assert stats.chi2.sf(17 * (found.sd / low) ** 2, 17) == pytest.approx(0.025)
    assert stats.chi2.cdf(17 * (found.sd / high) ** 2, 17) == pytest.approx(0.025)


def test_dice_by_counting() -> None:
    first, second = np.zeros((2, 8, 8), bool)
    first[0:4, 0:4], second[2:6, 0:4] = True, True
    assert dice(first, second) == 0.5 and dice(first, first) == 1 and dice(first, ~first) == 0
    assert math.isnan(dice(np.zeros(3), np.zeros(3)))
    with pytest.raises(StudyError, match="shapes"):
        dice(first, second[:3])


# Sets of measurements


def clip_of(values: dict[str, float | None], shapes: Shapes | TimedShapes | None = None) -> MeasuredClip:
    stored = (shapes or Shapes()).to_dict()
    return MeasuredClip({movie: {"snr_db_mean": value} for movie, value in values.items()}, stored)


def test_clips_are_the_units_and_methods_are_apart() -> None:
    """Three movies a clip make one pair of their means, not three pairs; methods stand alone."""
    rng = np.random.default_rng(3)
    tables = rng.normal(20, 3, (6, 3, 1)) + rng.normal(0, 0.5, (6, 3, 2))
    methods = {f"m{clip}{arm}": "xyz"[arm] for clip in range(6) for arm in range(3)}
    sets = [
        {
            f"c{clip}": clip_of({f"m{clip}{arm}": tables[clip, arm, who] for arm in range(3)})
            for clip in range(6)
        }
        for who in range(2)
    ]
    blinded = compare_sets(("Ann", "Bob"), *sets)
    (only,) = blinded.endpoints
    assert (only.group, only.clips, only.bland_altman.pairs) == ("mean of the movies", 6, 6)
    expected = icc_agreement(tables.mean(axis=1))
    assert only.agreement.value == pytest.approx(expected.value)
    assert only.agreement.interval == pytest.approx(expected.interval)
    revealed = compare_sets(("Ann", "Bob"), *sets, method_of=methods)
    assert [item.group for item in revealed.endpoints] == ["mean of the movies", "x", "y", "z"]
    assert revealed.endpoints[2].within == within_subject(tables[:, 1])
    row = revealed.rows()[2]
    assert (row["what"], row["group"], row["clips"]) == ("snr_db_mean", "y", 6)
    assert row["icc_a1"] == revealed.endpoints[2].agreement.value and row["slope_low"] < row["slope"]


def test_gaps_are_left_out_and_said() -> None:
    """A clip that one did not measure, or whose movie has no number, is no pair."""
    first = {f"c{clip}": clip_of({"a": 20.0 + clip, "b": 21.0 + clip**2}) for clip in range(5)}
    second = {f"c{clip}": clip_of({"a": 20.5 + clip, "b": 21.5 if clip else None}) for clip in range(4)}
    found = compare_sets(("Ann", "Bob"), first, second)
    assert found.clips == 4 and found.endpoints[0].clips == 3
    assert found.notes == (
        "1 clip(s) were measured in one of the two sets only and are left out.",
        "SNR: 1 clip(s) lack a value and are left out.",
    )
    with pytest.raises(StudyError, match=r"have 1 clip\(s\) in common"):
        compare_sets(("Ann", "Bob"), first, {"c0": second["c0"]})
    alone = compare_sets(("Ann", "Bob"), first, {"c0": second["c0"], "c1": second["c1"]})
    assert alone.endpoints == ()  # one pair is not enough


def test_overlap_of_masks_over_the_frames() -> None:
    """Dice of the drawings, and of all frames where one of them moves; undrawn regions have none."""
    still = Shapes(Rectangle((10, 10), (9, 9)))
    half = Shapes(Rectangle((15, 10), (9, 9)))
    moving = TimedShapes(still, motions={"signal": Motion(0, (0, 10), (0, 0))})
    first = {"c0": clip_of({}, still), "c1": clip_of({}, still), "c2": clip_of({}, still)}
    second = {"c0": clip_of({}, half), "c1": clip_of({}, moving), "c2": clip_of({}, still)}
    shapes = {"c0": (2, 24, 30), "c1": (2, 24, 30)}
    found = compare_sets(("Ann", "Bob"), first, second, image_shapes=shapes)
    assert found.overlap["signal"] == (4 / 9, 0.5) and all(map(math.isnan, found.overlap["background"]))
    rows = {row["what"]: row for row in found.rows()}
    assert rows["dice_signal"]["mean"] == pytest.approx(17 / 36) and rows["dice_signal"]["clips"] == 2
    assert rows["dice_signal"]["smallest"] == 4 / 9
    assert rows["dice_background"]["mean"] is None and rows["dice_background"]["smallest"] is None


def test_sets_of_a_study(make_study: Any) -> None:  # noqa: ANN401 -- a fixture's callable
    """Latest measurements of two observers; first and latest of one, from the log; strangers are named."""
    study = make_study(scans=3, readers=["Anna"])

    def save(observer: str, clip_id: str, x: float) -> None:
        shapes = Shapes(Ellipse((x, 3), (2.4, 2.4)), Rectangle((4, 6), (7, 2)))
        clip = study.load_movies(clip_id)
        results = measure(clip.movies, shapes, clip.pixel_spacing_mm, clip.frame_times_s)
        study.save_measurement(
            observer, clip_id, shapes.to_dict(), measurement_values(clip.movie_ids, results)
        )

    clips = [clip.clip_id for clip in study.clips]
    for place, clip_id in enumerate(clips):
        save("Phil", clip_id, 3.0)
        save("Quinn", clip_id, 4.0)
        if place < 2:
            save("Phil", clip_id, 3.0 + place)
    assert set(latest_set(study, "Phil")) == set(clips)
    first, latest = repeated_sets(study, "Phil")
    assert set(first) == set(latest) == set(clips[:2])
    assert first[clips[1]].shapes["signal"]["centre_xy"][0] == 3
    assert latest[clips[1]] == latest_set(study, "Phil")[clips[1]]
    assert latest[clips[1]].shapes["signal"]["centre_xy"][0] == 4
    again = compare_sets(("first", "latest"), first, latest)
    assert "snr_db_mean" in {item.endpoint for item in again.endpoints}
    with pytest.raises(StudyError, match="'Rob' measured nothing; the observers are Phil, Quinn"):
        latest_set(study, "Rob")
    with pytest.raises(StudyError, match="'Quinn' measured no clip twice"):
        repeated_sets(study, "Quinn")
