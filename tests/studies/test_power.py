"""Power: against closed forms, enumeration by the statistics package itself, and published simulations."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from studies import power, statistics
from studies.errors import StudyError
from studies.power import (
    order_probabilities,
    outcomes,
    preference_shares,
    sampled_ranks,
    scenario_power,
    what_can_n_show,
)
from studies.ranking import competition, mid_ranks, weak_orders


def test_shares_of_two_arms() -> None:
    """Difference of two normals: Φ((d − τ)/√2); 22 % ties of equal arms at 0.4 SD."""
    better, tied, worse = preference_shares(1.2, 0.4)
    assert better == pytest.approx(stats.norm.sf(0.4, loc=1.2, scale=math.sqrt(2)))
    assert worse == pytest.approx(stats.norm.cdf(-0.4, loc=1.2, scale=math.sqrt(2)))
    assert better + tied + worse == pytest.approx(1)
    assert preference_shares(0)[1] == pytest.approx(0.2227, abs=1e-4)
    assert preference_shares(0, 0.0) == pytest.approx((0.5, 0, 0.5))


@pytest.mark.parametrize(
    "means", [(0.0, 0.0), (0.0, 1.2), (0.0, 0.0, 0.0), (0.0, 1.2, 2.4), (1.0, -0.5, 0.3)]
)
@pytest.mark.parametrize("tie_sd", [0.0, 0.4])
def test_order_probabilities_are_those_of_drawn_studies(means: tuple[float, ...], tie_sd: float) -> None:
    """400 000 draws of the model, made by another way: each order within 5 standard errors; the sum is 1."""
    found = order_probabilities(means, tie_sd)
    assert math.fsum(found.values()) == pytest.approx(1, abs=1e-12)
    assert set(found) == set(weak_orders(len(means)))
    draws = 400_000
    drawn = sampled_ranks(means, tie_sd, (draws,), np.random.default_rng(5))
    orders, counts = np.unique(drawn, axis=0, return_counts=True)
    share = {
        competition(order): count / draws
        for order, count in zip(orders.tolist(), counts.tolist(), strict=True)
    }
    for order, probability in found.items():
        error = math.sqrt(probability * (1 - probability) / draws)
        assert share.get(order, 0.0) == pytest.approx(probability, abs=5 * error + 1e-9)


def test_a_chain_of_close_arms_is_one_tie() -> None:
    """At 0, 0.3 and 0.6 SD all three are tied although the ends are 0.6 apart; checked one by one."""

    class Fixed:
        def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.broadcast_to(np.array([0.6, 0.0, 0.3]), shape)

    assert sampled_ranks((0, 0, 0), 0.4, (1,), Fixed()).tolist() == [[2, 2, 2]]
    assert sampled_ranks((0, 0, 0), 0.2, (1,), Fixed()).tolist() == [[3, 1, 2]]
    assert sampled_ranks((0, 0, 5), 0.4, (1,), Fixed()).tolist() == [[2, 1, 3]]


def test_outcomes_are_all_ways_to_distribute_clips() -> None:
    """Against a plain product; 646 646 for 10 clips and 13 orders."""
    found = sorted(map(tuple, outcomes(3, 4).tolist()))
    assert found == sorted(row for row in product(range(4), repeat=4) if sum(row) == 3)
    assert math.comb(10 + 12, 12) == 646_646 <= power.MAXIMUM_OUTCOMES


@pytest.mark.parametrize(
    ("arms", "clips", "alpha", "tie_sd"), [(2, 6, 0.05, 0.4), (3, 3, 0.2, 0.4), (3, 5, 0.05, 0.0)]
)
def test_exact_power_is_the_sum_over_all_studies_that_the_tests_reject(
    arms: int, clips: int, alpha: float, tie_sd: float
) -> None:
    """Every table of weak orders, each tested by `studies.statistics`, weighted by its probability."""
    means = tuple(0.9 * arm for arm in range(arms))
    probability = order_probabilities(means, tie_sd)
    orders = [order for order in weak_orders(arms) if probability[order]]
    names = tuple("abc"[:arms])
    omnibus, any_closed, pairs = 0.0, 0.0, np.zeros((3, arms * (arms - 1) // 2))
    for counts in outcomes(clips, len(orders)).tolist():
        table = [mid_ranks(order) for order, count in zip(orders, counts, strict=True) for _ in range(count)]
        weight = math.factorial(clips) * math.prod(
            probability[order] ** count / math.factorial(count)
            for order, count in zip(orders, counts, strict=True)
        )
        found = statistics.compare_pairs(table, names)
        omnibus += weight * (statistics.friedman(table).p_exact <= alpha)
        closed = [pair.p_adjusted_exact <= alpha for pair in found]
        any_closed += weight * any(closed)
        pairs[0] += weight * np.array(closed)
        pairs[1] += weight * np.array([pair.p_nemenyi <= alpha for pair in found])
        pairs[2] += weight * np.array([pair.p_single_step_exact <= alpha for pair in found])
    result = scenario_power("steps", means, clips, alpha=alpha, tie_sd=tie_sd)
    assert (result.kind, result.studies, result.standard_error) == ("exact", 0, 0.0)
    assert result.omnibus == pytest.approx(omnibus, abs=1e-12) and omnibus > 0
    assert result.any_closed == pytest.approx(any_closed, abs=1e-12)
    for row, name in zip(pairs, ("closed", "nemenyi", "single_step"), strict=True):
        assert [getattr(pair, name) for pair in result.pairs] == pytest.approx(row.tolist(), abs=1e-12)


def test_signs_are_tested_as_statistics_tests_them() -> None:
    """Every number of wins and losses of up to 12 clips."""
    table = power._sign_table(12)
    for wins, losses in product(range(13), repeat=2):
        assert table[wins, losses] == pytest.approx(statistics.sign_test_p(wins, losses), rel=1e-12)


def test_power_of_two_arms_is_that_of_the_sign_test() -> None:
    """By a trinomial sum with SciPy: 30 clips, ties dropped."""
    better, tied, worse = preference_shares(0.8)
    expected = sum(
        float(stats.multinomial.pmf([wins, losses, 30 - wins - losses], 30, [better, worse, tied]))
        for wins in range(31)
        for losses in range(31 - wins)
        if stats.binomtest(wins, max(wins + losses, 1)).pvalue <= 0.05 and wins + losses
    )
    found = scenario_power("two", (0, 0.8), 30)
    assert found.pairs[0].closed == pytest.approx(expected, abs=1e-10)
    assert found.neighbours == found.pairs


def test_ten_clips_of_three_arms_are_as_simulated_elsewhere() -> None:
    """An earlier, independent simulation of 1500 studies: within 3 of its standard errors."""
    shown = what_can_n_show(10)
    assert all(scenario.kind == "exact" for scenario in shown.scenarios)
    null, worse, _, steps = shown.scenarios
    assert null.any_closed == pytest.approx(0.037, abs=0.015) and null.any_closed <= 0.05
    assert null.any_nemenyi == pytest.approx(0.023, abs=0.012)
    assert null.omnibus <= 0.05
    for pair in worse.pairs[1:]:
        assert (pair.closed, pair.nemenyi, pair.single_step) == pytest.approx((0.59, 0.52, 0.58), abs=0.035)
    for pair in steps.neighbours:
        assert (pair.closed, pair.nemenyi, pair.single_step) == pytest.approx((0.43, 0.155, 0.164), abs=0.035)
    assert (shown.p_nemenyi_neighbours, shown.p_closed) == pytest.approx((0.0653, 2 / 2**10), abs=1e-4)
    assert any("cannot separate neighbouring methods with N = 10" in note for note in shown.notes)


def test_twenty_clips_are_simulated_and_say_so() -> None:
    """Same source; no warning about Nemenyi is left at N = 20, and the error of the simulation is stated."""
    shown = what_can_n_show(20, steps_sd=(1.2,))
    steps = shown.scenarios[-1]
    assert (steps.kind, steps.studies) == ("simulated", power.SIMULATED_STUDIES)
    assert steps.standard_error == pytest.approx(0.5 / math.sqrt(power.SIMULATED_STUDIES))
    for pair in steps.neighbours:
        assert (pair.closed, pair.nemenyi, pair.single_step) == pytest.approx((0.84, 0.525, 0.564), abs=0.05)
    assert shown.notes == ()
    assert what_can_n_show(20, steps_sd=(1.2,)) == shown


def test_sampled_tests_agree_with_exact_ones() -> None:
    """The way for many arms and clips, on tables of 3 arms where the exact way is open too."""
    generator = np.random.default_rng(3)
    tables = sampled_ranks((0, 0.6, 1.2), 0.4, (1500, 8), generator)
    found = power._sampled_rejections(tables, 0.05, generator)
    exact = scenario_power("steps", (0, 0.6, 1.2), 8)
    for sampled, expected in (
        (found.omnibus.mean(), exact.omnibus),
        (found.closed.any(axis=1).mean(), exact.any_closed),
        (found.closed[:, 1].mean(), exact.pairs[1].closed),
        (found.nemenyi[:, 1].mean(), exact.pairs[1].nemenyi),
        (found.single_step[:, 1].mean(), exact.pairs[1].single_step),
    ):
        # 4 standard errors of 1500 studies, and what sampling the p itself may lose.
        assert sampled == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("arms", [4, 6])
def test_many_arms_are_decided_as_statistics_decides(arms: int) -> None:
    """Study by study where the decision is clear; four arms by closed testing, six by Holm."""
    generator = np.random.default_rng(arms)
    tables = sampled_ranks([0.9 * arm for arm in range(arms)], 0.3, (12, 5 if arms == 4 else 9), generator)
    found = power._sampled_rejections(tables, 0.05, generator)
    decided = 0
    for table, closed, nemenyi in zip(tables, found.closed, found.nemenyi, strict=True):
        pairs = statistics.compare_pairs(table, tuple("abcdef"[:arms]))
        for pair, by_closed, by_nemenyi in zip(pairs, closed, nemenyi, strict=True):
            assert by_nemenyi == (pair.p_nemenyi <= 0.05)
            if abs(pair.p_adjusted - 0.05) > 0.03:
                assert by_closed == (pair.p_adjusted <= 0.05)
                decided += 1
    assert decided > 30
    result = scenario_power("none", [0.0] * arms, 6)
    assert result.studies == power.SAMPLED_STUDIES and result.any_closed < 0.1


@pytest.mark.parametrize(("arms", "clips"), [(2, 6), (3, 4), (3, 7), (4, 6), (5, 4), (6, 8)])
def test_smallest_p_values_are_those_of_unanimous_clips(arms: int, clips: int) -> None:
    """Against the tests themselves; Friedman's exact p where its distribution fits, else 1/k!^(n−1)."""
    table = np.tile(np.arange(1.0, arms + 1), (clips, 1))
    pairs = statistics.compare_pairs(table, tuple("abcdef"[:arms]))
    shown = what_can_n_show(clips, arms, steps_sd=())
    assert shown.p_closed == pytest.approx(max(pair.p_adjusted for pair in pairs), rel=0.05, abs=1e-3)
    assert shown.p_nemenyi_neighbours == pytest.approx(pairs[0].p_nemenyi)
    assert shown.p_nemenyi_extremes == pytest.approx(pairs[arms - 2].p_nemenyi)
    exact = statistics.friedman(table).p_exact
    assert exact is None or shown.p_friedman == pytest.approx(exact)
    assert len(shown.scenarios) == 2


def test_five_clips_show_nothing_in_pairs() -> None:
    """Unanimous, 2/2⁵ = 0.0625: the note says so; the power is 0."""
    shown = what_can_n_show(5)
    assert any("No pair of arms can be told apart with N = 5" in note for note in shown.notes)
    assert all(pair.closed == 0 for scenario in shown.scenarios for pair in scenario.pairs)


def test_many_clips_still_have_an_answer() -> None:
    """40 clips of three arms and 150 of two."""
    many = scenario_power("steps", (0, 1.2, 2.4), 40)
    assert many.kind == "simulated" and min(pair.closed for pair in many.pairs) > 0.9
    two = scenario_power("two", (0, 0.3), 150)
    assert two.kind == "exact" and 0.2 < two.omnibus < 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips": 0}, "1 to 1000 clips"),
        ({"clips": 10, "arms": 7}, "2 to 6 arms"),
        ({"clips": 10, "alpha": 0}, "significance level"),
        ({"clips": 10, "tie_sd": -1}, "tied"),
        ({"clips": 10, "tie_sd": math.nan}, "tied"),
    ],
)
def test_bad_requests_are_refused(arguments: dict[str, float], message: str) -> None:
    """Each with its range."""
    with pytest.raises(StudyError, match=message):
        what_can_n_show(**arguments)


def test_multinomial_weights_sum_to_one() -> None:
    """Also with an order that cannot occur."""
    weights = power._multinomial(outcomes(6, 3), np.array([0.2, 0.8, 0.0]))
    assert weights.sum() == pytest.approx(1)
    assert weights.max() == pytest.approx(special.binom(6, 1) * 0.2 * 0.8**5)
