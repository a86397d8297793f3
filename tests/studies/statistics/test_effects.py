"""Effect sizes against SciPy, closed forms and the definition; intervals that keep clusters together."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from studies import statistics as s
from studies.errors import StudyError

BOUNDED = settings(max_examples=30, deadline=None)


@BOUNDED
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12))
def test_hodges_lehmann_by_its_definition(differences: list[float]) -> None:
    """The median of all pairwise means; it moves and turns with the data."""
    means = [(a + b) / 2 for i, a in enumerate(differences) for b in differences[i:]]
    found = s.hodges_lehmann(differences)
    assert found.estimate == pytest.approx(np.median(means), abs=1e-9)
    assert s.hodges_lehmann(np.negative(differences)).estimate == pytest.approx(-found.estimate, abs=1e-9)
    if len(differences) < 6:
        assert math.isnan(found.interval[0])  # 2 / 2^5 > 0.05
    else:
        assert found.interval[0] <= found.estimate <= found.interval[1] and found.level >= 0.95


@pytest.mark.parametrize("size", [6, 7, 9, 10])
def test_hodges_lehmann_interval_inverts_the_signed_rank_test(size: int) -> None:
    """A shift is inside exactly if the exact signed-rank test does not reject it at 5 %."""
    differences = np.random.default_rng(size).normal(1, 2, size)
    found = s.hodges_lehmann(differences)
    for shift in np.random.default_rng(0).uniform(-4, 6, 60):
        p_value = scipy_stats.wilcoxon(differences - shift, method="exact").pvalue
        assert (p_value > 0.05) == (found.interval[0] < shift < found.interval[1])
    # The level reached is 1 less the probability of all sign patterns as extreme as the interval's ends.
    below = int(np.searchsorted(np.sort(_walsh(differences)), found.interval[0]))
    sums = [sum(i + 1 for i, sign in enumerate(signs) if sign) for signs in product((0, 1), repeat=size)]
    assert found.level == pytest.approx(1 - 2 * np.mean(np.array(sums) <= below), abs=1e-12)


def _walsh(differences: np.ndarray) -> np.ndarray:
    return np.array([(a + b) / 2 for i, a in enumerate(differences) for b in differences[i:]])


def test_hodges_lehmann_of_infinite_or_no_differences() -> None:
    """Not defined, and no warning."""
    for differences in ([], [1, np.inf, 2], [1, np.nan]):
        assert math.isnan(s.hodges_lehmann(differences).estimate)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (0, 5), (5, 0), (9, 1), (4, 4)])
def test_share_interval_equals_scipy(wins: int, losses: int) -> None:
    """Clopper-Pearson, as scipy.stats.binomtest gives it; everything is possible without a decided clip."""
    found = s.share_interval(wins, losses)
    if wins + losses:
        expected = scipy_stats.binomtest(wins, wins + losses).proportion_ci(method="exact")
        assert found == pytest.approx((expected.low, expected.high), abs=1e-10)
    else:
        assert found == (0, 1)


def test_cluster_bootstrap_draws_whole_subjects() -> None:
    """Copies of a subject's clips do not narrow the interval; clips taken for independent would."""
    values = np.random.default_rng(1).normal(size=(12, 2))
    single = s.mean_interval(values)
    tripled = np.repeat(values, 3, axis=0)
    subjects = np.repeat(np.arange(12), 3).tolist()
    assert np.allclose(s.mean_interval(tripled, blocks=subjects), single, atol=1e-12)
    narrow = s.mean_interval(tripled)
    assert all(b - a < 0.75 * (d - c) for (a, b), (c, d) in zip(narrow, single, strict=True))
    # Subjects of unequal size: the ratio of drawn sums, against a plain loop with its own draws.
    sizes = np.arange(1, 13)
    rows = np.repeat(values[:, :1], sizes, axis=0)
    names = np.repeat(np.arange(12), sizes).tolist()
    rng = np.random.default_rng(2)
    draws = []
    for _ in range(4000):
        chosen = rng.integers(0, 12, 12)
        draws.append((values[chosen, 0] * sizes[chosen]).sum() / sizes[chosen].sum())
    assert s.mean_interval(rows, blocks=names)[0] == pytest.approx(
        tuple(np.percentile(draws, [2.5, 97.5])), abs=0.05
    )
    with pytest.raises(StudyError, match="12 clips need"):
        s.mean_interval(values, blocks=["a"])


def test_rank_effects_count_readings() -> None:
    """Two readers of six clips: wins over twelve readings; net preference and mean difference by hand."""
    ranks = np.array([[[1, 2]] * 6, [[1, 2], [1, 2], [1, 1], [2, 1], [1, 2], [1, 1]]])
    effect = s.rank_effects(ranks, ["a", "b"])[0]
    assert (effect.wins, effect.ties, effect.losses) == (9, 2, 1)
    assert effect.net_preference == pytest.approx(8 / 12)
    assert effect.mean_difference == pytest.approx(-8 / 12) and effect.shift is None
    assert effect.net_interval[0] < 8 / 12 < effect.net_interval[1] <= 1
    assert effect.mean_interval == pytest.approx((-effect.net_interval[1], -effect.net_interval[0]))


def test_value_effects_know_the_direction_and_the_subject() -> None:
    """Less is better turns wins around; shifts are of subjects' means; infinite values leave only wins."""
    values = np.random.default_rng(3).normal([0, 1], 1, (14, 2))
    more = s.value_effects(values, ["a", "b"], higher_is_better=True)[0]
    less = s.value_effects(values, ["a", "b"], higher_is_better=False)[0]
    assert (more.wins, more.losses) == (less.losses, less.wins) and more.shift == less.shift
    subjects = [place // 2 for place in range(14)]
    joined = s.value_effects(values, ["a", "b"], higher_is_better=True, blocks=subjects)[0]
    means = (values[:, 0] - values[:, 1]).reshape(7, 2).mean(axis=1)
    assert joined.shift is not None
    assert joined.shift.estimate == pytest.approx(s.hodges_lehmann(means).estimate, abs=1e-12)
    values[0, 0] = np.inf
    infinite = s.value_effects(values, ["a", "b"], higher_is_better=True)[0]
    assert math.isinf(infinite.mean_difference) and math.isnan(infinite.mean_interval[0])
    assert infinite.shift is not None and math.isnan(infinite.shift.estimate)
    assert infinite.wins == more.wins + (more.wins < infinite.wins) and math.isfinite(
        infinite.net_interval[0]
    )


def test_subjects_with_opposite_infinities() -> None:
    """inf - inf has no mean and no normality: nan, not an error."""
    values = np.arange(24.0).reshape(12, 2) ** 2
    values[0], values[1] = [np.inf, 1], [-np.inf, 2]
    result = s.analyse_values(
        values, ["a", "b"], higher_is_better=True, blocks=[place // 2 for place in range(12)]
    )
    assert math.isnan(result.shapiro[0].p_value) and result.blocks == 6
