"""Agreement against definitions written out in plain loops, and what it does at the edges.

Published examples and other packages are in test_references.py.
"""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies import statistics as s
from studies.errors import StudyError
from studies.statistics.agreement import PREFERENCES

BOUNDED = settings(max_examples=30, deadline=None)
MAYBE = st.sampled_from([1.0, 2.0, 3.0, math.nan])


@st.composite
def ratings(draw: st.DrawFn) -> np.ndarray:
    """Three categories by two to four raters, with gaps."""
    raters = draw(st.integers(2, 4))
    row = st.lists(MAYBE, min_size=raters, max_size=raters)
    return np.array(draw(st.lists(row, min_size=2, max_size=10)))


def alpha_by_pairs(table: np.ndarray, level: str) -> float:
    """Krippendorff's alpha by its definition: all pairs within units, all pairs of pairable values."""
    units = [row[np.isfinite(row)] for row in table]
    units = [unit for unit in units if len(unit) > 1]
    values = np.concatenate([*units, []])

    def distance(a: float, b: float) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = ((values >= low) & (values <= high)).sum()
        return (between - ((values == a).sum() + (values == b).sum()) / 2) ** 2

    observed = sum(sum(distance(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(distance(a, b) for a, b in permutations(values, 2)) / max(len(values) - 1, 1)
    return 1 - observed / expected if expected else math.nan


@BOUNDED
@given(ratings(), st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_its_definition(table: np.ndarray, level: str) -> None:
    """With gaps, for any number of raters."""
    assert s.krippendorff_alpha(table, (1, 2, 3), level) == pytest.approx(
        alpha_by_pairs(table, level), abs=1e-9, nan_ok=True
    )


def ac2_by_loops(table: np.ndarray, weights: np.ndarray) -> float:
    """Gwet's AC2 by its definition."""
    categories = (1, 2, 3)
    agreeing, prevalence = [], []
    for row in table:
        given_ratings = [categories.index(value) for value in row[np.isfinite(row)]]
        if given_ratings:
            prevalence.append([given_ratings.count(place) / len(given_ratings) for place in range(3)])
        if len(given_ratings) > 1:
            agreeing.append(np.mean([weights[a, b] for a, b in permutations(given_ratings, 2)]))
    if not agreeing:
        return math.nan
    share = np.mean(prevalence, axis=0)
    chance = weights.sum() / 6 * (share * (1 - share)).sum()
    return (np.mean(agreeing) - chance) / (1 - chance)


@BOUNDED
@given(ratings(), st.sampled_from(["identity", "linear", "quadratic"]))
def test_ac2_equals_its_definition(table: np.ndarray, weights: str) -> None:
    """With gaps, for any number of raters."""
    expected = ac2_by_loops(table, s.agreement_weights((1, 2, 3), weights))
    assert s.gwet_ac2(table, (1, 2, 3), weights) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_kappa_of_untied_orders_is_the_mean_of_kendalls_tau() -> None:
    """What the coefficient means: 1 for equal orders, 0 for unrelated, -1 for opposite ones."""
    orders = np.array(list(permutations([1, 2, 3])))
    first, second = np.repeat(orders, 6, axis=0), np.tile(orders, (6, 1))
    for chosen in (slice(0, 6), slice(3, 17), slice(0, 36)):
        result = s.reader_agreement(first[chosen], second[chosen], ("a", "b"))
        assert result.kappa_quadratic == pytest.approx(result.kendall_tau_b, abs=1e-12)
    assert s.reader_agreement(orders, 4 - orders, ("a", "b")).kappa_quadratic == pytest.approx(-1)
    assert s.reader_agreement(first, second, ("a", "b")).kappa_quadratic == pytest.approx(0, abs=1e-12)


def test_agreement_where_everybody_ranks_one_method_last() -> None:
    """Kappa does not collapse where readers put one method last in every clip and are else unrelated."""
    rng = np.random.default_rng(1)
    first, second = ([[*rng.permutation([1, 2]), 3] for _ in range(40)] for _ in range(2))
    result = s.reader_agreement(first, second, ("a", "b"))
    assert 0.5 < result.kappa_quadratic < 0.85 and result.gwet_ac2 == pytest.approx(
        result.kappa_quadratic, abs=0.25
    )


def test_two_readers_by_either_function() -> None:
    """The AC2 of two readers is that of all readers where there are two; alpha is near kappa."""
    ranks = np.random.default_rng(2).integers(1, 4, size=(2, 20, 3))
    ranks[1, :12] = ranks[0, :12]
    pair, both = s.reader_agreement(*ranks, ("a", "b")), s.readers_agreement(ranks)
    assert both.gwet_ac2 == pytest.approx(pair.gwet_ac2) and both.gwet_ac2_interval == pair.gwet_ac2_interval
    assert both.krippendorff_alpha == pytest.approx(pair.kappa_quadratic, abs=0.05)
    items = s.preferences(ranks).reshape(-1, 2)
    assert both.krippendorff_alpha == pytest.approx(s.krippendorff_alpha(items, PREFERENCES))
    assert both.gwet_ac2 == pytest.approx(s.gwet_ac2(items, PREFERENCES))
    assert pair.kappa_quadratic == pytest.approx(s.weighted_kappa(items[:, 0], items[:, 1], PREFERENCES))
    for interval, value in (
        (both.alpha_interval, both.krippendorff_alpha),
        (both.kendall_w_interval, both.kendall_w_mean),
        (pair.kappa_interval, pair.kappa_quadratic),
    ):
        assert interval[0] < value < interval[1]


def test_intervals_draw_subjects() -> None:
    """Clips said twice in one subject give the intervals of the clips said once."""
    ranks = np.random.default_rng(3).integers(1, 4, size=(3, 9, 3))
    subjects = [*range(9), *range(9)]
    doubled = np.concatenate([ranks, ranks], axis=1)
    once, twice = s.readers_agreement(ranks), s.readers_agreement(doubled, subjects)
    # Alpha corrects for the number of items, so it moves a little.
    assert twice.alpha_interval == pytest.approx(once.alpha_interval, abs=0.01)
    assert twice.gwet_ac2_interval == pytest.approx(once.gwet_ac2_interval)
    assert twice.kendall_w_interval == pytest.approx(once.kendall_w_interval)
    single = s.reader_agreement(ranks[0], ranks[1], ("a", "b"))
    double = s.reader_agreement(doubled[0], doubled[1], ("a", "b"), subjects)
    assert double.kappa_interval == pytest.approx(single.kappa_interval)


def test_missing_and_tied_readings() -> None:
    """A clip that one reader missed has no W but its preferences count; clips tied by all have no W."""
    ranks = np.array([[[1, 2, 3], [1, 2, 3], [1, 1, 1]], [[1, 2, 3], [1, 3, 2], [1, 1, 1]]], dtype=float)
    ranks = np.concatenate([ranks, np.full((1, 3, 3), np.nan)])
    ranks[2, 0] = [1, 2, 3]
    found = s.readers_agreement(ranks)
    assert (found.readers, found.clips, found.kendall_w_counts) == (3, 3, ((1.0, 1),))
    assert found.kendall_w_mean == 1 and math.isnan(found.kendall_w_interval[0])
    items = s.preferences(ranks).reshape(-1, 3)
    assert found.krippendorff_alpha == pytest.approx(alpha_by_pairs(items, "ordinal"))
    tied = s.readers_agreement(np.ones((2, 4, 3)))
    assert math.isnan(tied.kendall_w_mean) and math.isnan(tied.krippendorff_alpha)
    assert tied.gwet_ac2 == 1 and tied.kendall_w_counts == ()
    both = s.reader_agreement(np.ones((4, 3)), np.ones((4, 3)), ("a", "b"))
    assert math.isnan(both.kappa_quadratic) and math.isnan(both.kendall_tau_b) and both.identical_orders == 1


def test_reader_camps_show_opposite_readers() -> None:
    """Two readers with opposite preferences: the mean hides them, the camps do not."""
    sharp = np.tile([1, 2, 3], (8, 1))
    camps = s.reader_camps(np.stack([sharp, 4 - sharp]), "abc", ["Anna", "Ben"])
    assert [camp.mean_rank for camp in camps] == [(1, 2, 3), (3, 2, 1)]
    assert [camp.effects[1].net_preference for camp in camps] == [1, -1]
    assert camps[0].mean_rank_interval[0] == (1, 1) and camps[0].clips == 8
    assert s.analyse_ranks(np.stack([sharp, 4 - sharp]), "abc").effects[1].net_preference == 0
    with pytest.raises(StudyError, match="as many names"):
        s.reader_camps(sharp[None], "abc", ["Anna", "Ben"])


# Blinding


def test_blinding_index_of_three_methods() -> None:
    """Right, wrong and random guesses: Bang 1, -1/2 and 0; James 0, above 0.5 and 0.5; nobody knows: 1."""
    arms = ["a", "b", "c"]
    truth = arms * 8
    clips = [str(place // 3) for place in range(24)]
    right = s.blinding_index(truth, truth, arms, clips)
    assert right.james == 0 and [arm.index for arm in right.bang] == [1, 1, 1]
    wrong = s.blinding_index(truth, [arms[(arms.index(arm) + 1) % 3] for arm in truth], arms, clips)
    assert [arm.index for arm in wrong.bang] == [-0.5] * 3 and wrong.james == pytest.approx(0.75)
    every = [(one, other) for one in arms for other in arms]
    even = s.blinding_index(*zip(*every, strict=True), arms, range(9))
    assert [arm.index for arm in even.bang] == pytest.approx([0, 0, 0], abs=1e-12)
    assert even.james == pytest.approx(0.5)
    nobody = s.blinding_index(truth, [None] * 24, arms, clips)
    assert nobody.james == 1 and nobody.bang[0].unknown == 8 and nobody.bang[0].index == 0


def test_blinding_intervals() -> None:
    """Bang's closed form against its bootstrap where guesses are independent; James' bootstrap holds it."""
    rng = np.random.default_rng(4)
    truth = ["a", "b"] * 150
    guesses = [rng.choice([arm, "b" if arm == "a" else "a", None], p=[0.5, 0.2, 0.3]) for arm in truth]
    found = s.blinding_index(truth, guesses, ["a", "b"], range(300))
    for arm, cluster in zip(found.bang, found.bang_cluster_intervals, strict=True):
        assert cluster == pytest.approx(arm.interval, abs=0.03)
        assert arm.index == pytest.approx((arm.right - arm.wrong) / 150)
    assert found.james_interval[0] < found.james < found.james_interval[1]
    few = s.blinding_index(truth[:4], guesses[:4], ["a", "b"], [1, 1, 2, 2])
    assert math.isnan(few.james_interval[0]) and math.isnan(few.bang_cluster_intervals[0][0])


def test_blinding_of_nobody() -> None:
    """No answer for an arm: nan; wrong shapes and names are refused."""
    assert math.isnan(s.bang_index("a", 0, 0, 0).index)
    assert math.isnan(s.james_index([[0, 0], [0, 0], [0, 0]]))
    with pytest.raises(StudyError, match="k \\+ 1 rows"):
        s.james_index([[1, 2], [3, 4]])
    with pytest.raises(StudyError, match="at least 2 methods"):
        s.bang_index("a", 1, 1, 1, arms=1)
    with pytest.raises(StudyError, match="'x' is none"):
        s.blinding_index(["a"], ["x"], ["a", "b"], [1])
    with pytest.raises(StudyError, match="a method and a clip each"):
        s.blinding_index(["a"], [], ["a", "b"], [1])


def test_wrong_ratings_are_refused() -> None:
    """Categories, weights, levels and shapes."""
    with pytest.raises(StudyError, match="rating 4 is none"):
        s.gwet_ac2([[1, 4]], (1, 2, 3))
    with pytest.raises(StudyError, match="at least 2 different"):
        s.weighted_kappa([1], [1], (1,))
    with pytest.raises(StudyError, match="not 'cubic'"):
        s.gwet_ac2([[1, 2]], (1, 2), "cubic")
    with pytest.raises(StudyError, match="not 'ratio'"):
        s.krippendorff_alpha([[1, 2]], (1, 2), "ratio")
    with pytest.raises(StudyError, match="item, rater"):
        s.krippendorff_alpha([1, 2], (1, 2))
    with pytest.raises(StudyError, match="two readers"):
        s.readers_agreement(np.ones((1, 4, 3)))
    with pytest.raises(StudyError, match="same clips"):
        s.reader_agreement([[1, 2]], [[1, 2], [2, 1]], ("a", "b"))


def test_every_pair_enters_in_both_directions() -> None:
    """A clip of three methods gives six items that mirror each other."""
    items = s.preferences(np.array([[[1, 2, 2]]]))[0, :, 0]
    assert sorted(items) == [-1, -1, 0, 0, 1, 1] and len(items) == 2 * len(list(combinations("abc", 2)))
