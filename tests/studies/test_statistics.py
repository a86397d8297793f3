"""Exact tests against enumeration of all permutations, asymptotic ones against SciPy and known tables."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from studies import ranking
from studies import statistics as s
from studies.errors import StudyError

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")


def enumerate_all(table: np.ndarray) -> tuple[Fraction, dict[tuple[int, int], Fraction]]:
    """Exact Friedman and single-step p by trying all (k!)^n assignments; nothing shared with the code."""
    rows = [[Fraction(float(value)) for value in row] for row in table]
    n, k = len(rows), len(rows[0])
    centre = sum(sum(row) for row in rows) / k

    def square(sums: list[Fraction]) -> Fraction:
        return sum(((value - centre) ** 2 for value in sums), Fraction(0))

    observed = [sum((row[j] for row in rows), Fraction(0)) for j in range(k)]
    gaps = {(i, j): abs(observed[i] - observed[j]) for i in range(k) for j in range(i + 1, k)}
    omnibus, ranges, total = 0, dict.fromkeys(gaps, 0), 0
    for assignment in product(*[list(permutations(row)) for row in rows]):
        sums = [sum((row[j] for row in assignment), Fraction(0)) for j in range(k)]
        total += 1
        omnibus += square(sums) >= square(observed)
        spread = max(sums) - min(sums)
        for pair, gap in gaps.items():
            ranges[pair] += spread >= gap
    assert total == math.factorial(k) ** n
    return Fraction(omnibus, total), {pair: Fraction(count, total) for pair, count in ranges.items()}


def random_ranks(seed: int, readers: int, clips: int, arms: int = 3) -> np.ndarray:
    """Random weak orders (reader, clip, arm), many of them tied."""
    rng = np.random.default_rng(seed)
    orders = np.array(ranking.weak_orders(arms))
    return orders[rng.integers(len(orders), size=(readers, clips))]


@pytest.mark.parametrize(
    ("readers", "clips", "arms"), [(1, 1, 3), (1, 3, 3), (2, 4, 3), (3, 4, 3), (1, 2, 4)]
)
def test_exact_p_values_equal_enumeration(readers: int, clips: int, arms: int) -> None:
    """Ties, several readers, 3 and 4 arms, in fractions; statistics/test_exact.py goes on to n = 6, k = 4."""
    for seed in range(4 if arms == 3 and clips < 5 else 2):
        scores = s.clip_scores(random_ranks(seed, readers, clips, arms))
        omnibus, ranges = enumerate_all(scores)
        result = s.friedman(scores)
        assert result.p_exact == pytest.approx(float(omnibus), abs=1e-12)
        for pair in s.compare_pairs(scores, [str(j) for j in range(arms)]):
            expected = float(ranges[int(pair.first), int(pair.second)])
            assert pair.p_single_step_exact == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("square", "statistic", "exact", "chi_square"),
    [
        (86, 8.6, 0.01153, 0.01357),
        (78, 7.8, 0.01793, 0.02024),
        (72, 7.2, 0.03033, 0.02732),
        (62, 6.2, 0.04556, 0.04505),
        (56, 5.6, 0.06647, 0.06081),
    ],
)
def test_friedman_table_for_ten_untied_clips(
    square: int, statistic: float, exact: float, chi_square: float
) -> None:
    """Known tail probabilities for n = 10, k = 3 (critical values of Friedman's statistic, five decimals)."""
    distribution = s.rank_sum_distribution(np.tile(np.array([[-1, 0, 1]]), (10, 1)))
    assert distribution is not None and len(distribution.probability) == 331
    assert math.fsum(distribution.probability) == pytest.approx(1, abs=1e-13)
    assert distribution.tail_of_squares(square) == pytest.approx(exact, abs=5.1e-6)
    assert scipy_stats.chi2.sf(statistic, 2) == pytest.approx(chi_square, abs=5.1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_asymptotic_friedman_equals_scipy(seed: int) -> None:
    """Tie-corrected Q and its chi-square p against scipy.stats.friedmanchisquare; F by its definition."""
    ranks = random_ranks(seed, 1, 12)[0]
    result = s.friedman(s.mid_rank_table(ranks))
    expected = scipy_stats.friedmanchisquare(*ranks.T)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert result.p_chi_square == pytest.approx(expected.pvalue, rel=1e-12)
    # Iman-Davenport's F is the F of a two-way analysis of variance on the mid-ranks, without interaction.
    mid = s.mid_rank_table(ranks)
    between = 12 * ((mid.mean(axis=0) - 2) ** 2).sum() / 2
    within = ((mid - mid.mean(axis=0)) ** 2).sum() / 22  # block means are all 2
    assert result.iman_davenport_f == pytest.approx(between / within, rel=1e-10)
    assert result.kendall_w == pytest.approx(s.kendall_w(ranks), rel=1e-12)


@pytest.mark.parametrize(
    ("clips", "asymptotic", "exact", "sign"),
    [
        (6, 0.193, 0.252, 0.031),
        (10, 0.065, 0.081, 0.0020),
        (12, 0.038, 0.045, 0.0005),
        (20, 0.0045, 0.0046, 2e-6),
    ],
)
def test_unanimous_neighbours(clips: int, asymptotic: float, exact: float, sign: float) -> None:
    """All clips say 1 < 2 < 3: published values, rounded as they are printed."""
    pair = s.compare_pairs(np.tile([1.0, 2.0, 3.0], (clips, 1)), ARMS)[0]
    digits = 3 if clips < 20 else 4
    assert round(pair.p_nemenyi, digits) == asymptotic and pair.p_single_step_exact is not None
    assert round(pair.p_single_step_exact, digits) == exact
    assert pair.p_sign_exact == 2 * 0.5**clips and pair.p_sign_exact == pytest.approx(sign, rel=0.05)
    assert pair.p_nemenyi_tie_corrected == pytest.approx(pair.p_nemenyi)  # nothing is tied
    assert s.unanimous_neighbour_p(clips) == (pair.p_nemenyi, pair.p_single_step_exact)
    assert bool(s.nemenyi_limit_note(clips)) == (clips <= 10)


def test_limit_note_says_when_no_test_helps() -> None:
    """Six agreeing clips reach 2 / 2^6 = 0.031 in the sign test; three reach 0.25 at best."""
    assert "Read the exact sign tests" in s.nemenyi_limit_note(6)
    assert "sign test: p = 0.250 at best" in s.nemenyi_limit_note(3)
    assert s.nemenyi_limit_note(20) == ""


@pytest.mark.parametrize(("clips", "critical"), [(6, 9), (10, 11), (12, 12), (20, 16)])
def test_exact_critical_rank_sum_difference(clips: int, critical: int) -> None:
    """Smallest rank-sum difference with p <= 0.05 (tables of Wilcoxon-Nemenyi-McDonald-Thompson)."""
    distribution = s.rank_sum_distribution(np.tile(np.array([[-1, 0, 1]]), (clips, 1)))
    assert distribution is not None
    assert distribution.tail_of_range(critical) <= 0.05 < distribution.tail_of_range(critical - 1)


@pytest.mark.parametrize(("clips", "critical"), [(10, 1.048), (20, 0.741), (30, 0.605)])
def test_nemenyi_critical_difference(clips: int, critical: float) -> None:
    """Mean-rank differences for k = 3, alpha = 0.05; at the critical difference p is alpha."""
    assert s.nemenyi_critical_difference(clips, 3) == pytest.approx(critical, abs=5.1e-4)
    assert s.nemenyi_p(s.nemenyi_critical_difference(clips, 3), clips, 3) == pytest.approx(0.05, abs=1e-6)


def test_nemenyi_equals_simulated_range_of_normals() -> None:
    """The studentised range with infinite degrees of freedom is the range of k standard normals."""
    draws = np.ptp(np.random.default_rng(0).normal(size=(400_000, 3)), axis=1)
    for difference in (0.3, 0.7, 1.0):
        expected = (draws > difference / math.sqrt(3 * 4 / (12 * 10))).mean()
        assert s.nemenyi_p(difference, 10, 3) == pytest.approx(expected, abs=0.003)


def test_unanimous_study() -> None:
    """Everybody agrees: W = 1, F infinite, exact p = 6 / 6^n."""
    result = s.friedman(np.tile([1.0, 2.0, 3.0], (8, 1)))
    assert result.kendall_w == pytest.approx(1) and math.isinf(result.iman_davenport_f)
    assert result.p_exact == pytest.approx(6 / 6**8, rel=1e-12) and "infinite" in result.note


def test_no_preference() -> None:
    """All tied: p = 1 everywhere, said in words, no warning and no nan among the p values."""
    result = s.analyse_ranks(np.ones((2, 7, 3)), ARMS)
    assert result.omnibus.p_exact == result.omnibus.p_chi_square == 1 and s.NO_PREFERENCE in result.notes
    assert result.mean == (2, 2, 2)
    for pair in result.pairs:
        assert pair.ties == 7 and pair.net_preference == 0
        p_values = (
            pair.p_nemenyi,
            pair.p_nemenyi_tie_corrected,
            pair.p_single_step_exact,
            pair.p_sign_exact,
            pair.p_adjusted_exact,
        )
        assert all(p == pytest.approx(1, abs=1e-12) for p in p_values)


def test_one_clip_shows_nothing() -> None:
    """N = 1: every exact p is 1, whatever the order."""
    result = s.analyse_ranks([[[1, 2, 3]]], ARMS)
    assert (
        result.omnibus.p_exact == 1
        and math.isnan(result.omnibus.p_iman_davenport)
        and math.isnan(result.sd[0])
    )
    assert all(pair.p_adjusted_exact == 1 for pair in result.pairs)


def test_sign_test_equals_scipy_binomtest() -> None:
    """All outcomes of up to 12 decided clips."""
    assert s.sign_test_p(0, 0) == 1
    for wins, losses in product(range(7), range(7)):
        if wins + losses:
            assert s.sign_test_p(wins, losses) == pytest.approx(
                scipy_stats.binomtest(wins, wins + losses).pvalue, rel=1e-12
            )


def test_holm_by_hand() -> None:
    """0.01, 0.04, 0.03 become 3 × 0.01, max(2 × 0.03, 1 × 0.04), 2 × 0.03."""
    assert s.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert s.holm([0.9, 0.8]) == [1.0, 1.0]


def test_closed_test_separates_neighbours_where_nemenyi_cannot() -> None:
    """Ten clips, one strict order: Nemenyi 0.065, closed testing 0.002; adjusted p never below the gate."""
    result = s.analyse_ranks(np.tile([3, 1, 2], (1, 10, 1)), ARMS)
    neighbour = next(
        pair for pair in result.pairs if {pair.first, pair.second} == {"dl_natural", "dl_cardiac"}
    )
    assert neighbour.p_nemenyi > 0.05 and neighbour.p_adjusted_exact == 2 / 2**10
    assert (neighbour.wins, neighbour.ties, neighbour.losses, neighbour.net_preference) == (10, 0, 0, 1)
    assert any("cannot separate" in note for note in result.notes)
    # The first arm beats the third in all six clips, but the omnibus test does not open the gate.
    gated = s.analyse_ranks(np.array([[[1, 3, 2]] * 3 + [[2, 1, 3]] * 3]), ARMS)
    assert gated.pairs[1].p_sign_exact == 2 / 2**6 and gated.omnibus.p_exact is not None
    assert gated.pairs[1].p_adjusted_exact == gated.omnibus.p_exact > 0.2
    assert gated.pairs[0].p_adjusted_exact == gated.pairs[0].p_sign_exact == 1


def test_closed_testing_controls_the_family_wise_error() -> None:
    """Simulated null with ties, 10 clips: false rejections in at most 5 % of studies (SE 1 %)."""
    rng = np.random.default_rng(8)
    orders = np.array(ranking.weak_orders(3))
    false = 0
    for _ in range(400):
        ranks = orders[rng.integers(13, size=10)][None]
        false += any(
            (pair.p_adjusted_exact or 0) <= 0.05 for pair in s.compare_pairs(s.clip_scores(ranks), ARMS)
        )
    assert 0.005 < false / 400 < 0.07


def test_readers_are_summed_not_pooled() -> None:
    """Three readers who always agree add nothing to the evidence of ten clips; pooling them would."""
    one = random_ranks(11, 1, 10)
    single, triple = s.analyse_ranks(one, ARMS), s.analyse_ranks(np.repeat(one, 3, axis=0), ARMS)
    assert triple.omnibus.p_exact == pytest.approx(single.omnibus.p_exact, abs=1e-12)
    assert [p.p_adjusted_exact for p in triple.pairs] == pytest.approx(
        [p.p_adjusted_exact for p in single.pairs]
    )
    assert [p.p_nemenyi for p in triple.pairs] == pytest.approx([p.p_nemenyi for p in single.pairs])
    assert triple.blocks == 10 and triple.readers == 3
    with pytest.raises(StudyError, match="not independent"):
        s.analyse_ranks(np.repeat(one, 3, axis=0).reshape(30, 3), ARMS)


def test_coding_does_not_change_tests_but_changes_means() -> None:
    """Competition, dense and mid-ranks give the same tests; mean ranks differ, so tables must name theirs."""
    ranks = random_ranks(12, 2, 8)
    dense = np.apply_along_axis(ranking.dense, -1, ranks)
    mid, competition = s.analyse_ranks(dense, ARMS), s.analyse_ranks(ranks, ARMS, coding="competition")
    assert mid.omnibus == competition.omnibus and mid.pairs == competition.pairs
    assert sum(mid.mean) == pytest.approx(6) and sum(competition.mean) < 6
    np.testing.assert_allclose(competition.mean, ranks.reshape(-1, 3).mean(axis=0))
    np.testing.assert_allclose(competition.sd, ranks.reshape(-1, 3).std(axis=0, ddof=1))


def test_relabelling_changes_nothing() -> None:
    """Readers, clips and arms in another order give the same results for the same names."""
    ranks = random_ranks(13, 3, 7)
    rng = np.random.default_rng(1)
    order = [2, 0, 1]
    shuffled = ranks[rng.permutation(3)][:, rng.permutation(7)][:, :, order]
    first, second = s.analyse_ranks(ranks, ARMS), s.analyse_ranks(shuffled, [ARMS[j] for j in order])
    assert first.omnibus.p_exact == pytest.approx(second.omnibus.p_exact, abs=1e-12)
    expected = {frozenset((p.first, p.second)): p.p_single_step_exact for p in first.pairs}
    for pair in second.pairs:
        assert pair.p_single_step_exact == pytest.approx(
            expected[frozenset((pair.first, pair.second))], abs=1e-12
        )


def test_clips_of_a_subject_are_one_block() -> None:
    """Two clips of each of five subjects: five blocks, and duplicated clips add no evidence."""
    ranks = random_ranks(14, 1, 5)
    doubled = s.analyse_ranks(np.concatenate([ranks, ranks], axis=1), ARMS, blocks=list("abcdeabcde"))
    assert doubled.blocks == 5 and doubled.clips == 10 and any("subject" in note for note in doubled.notes)
    assert doubled.omnibus.p_exact == pytest.approx(s.analyse_ranks(ranks, ARMS).omnibus.p_exact, abs=1e-12)


def test_values_are_ranked_within_clips() -> None:
    """Tests use ranks, so any monotone scale is equal; mean and SD are of the values; larger SNR wins."""
    rng = np.random.default_rng(15)
    values = rng.normal(20, 3, (9, 1)) + rng.normal([0, 2, 2.5], 1, (9, 3))
    result = s.analyse_values(values, ARMS, higher_is_better=True)
    np.testing.assert_allclose(result.mean, values.mean(axis=0))
    assert result.omnibus.statistic == pytest.approx(scipy_stats.friedmanchisquare(*values.T).statistic)
    assert s.analyse_values(np.exp(values), ARMS, higher_is_better=True).omnibus == result.omnibus
    first = result.pairs[0]
    assert first.losses == int((values[:, 1] > values[:, 0]).sum())
    assert s.analyse_values(values, ARMS, higher_is_better=False).pairs[0].wins == first.losses
    expected = scipy_stats.shapiro(values[:, 0] - values[:, 1])
    assert (result.shapiro[0].statistic, result.shapiro[0].p_value) == pytest.approx(tuple(expected))


def test_infinite_and_missing_values() -> None:
    """Infinite SNR ranks best and leaves Shapiro-Wilk undefined; a missing value is refused."""
    values = np.arange(12.0).reshape(4, 3)
    values[2, 0] = np.inf
    result = s.analyse_values(values, ARMS, higher_is_better=True)
    assert math.isinf(result.mean[0]) and math.isnan(result.shapiro[0].p_value)
    values[1, 1] = np.nan
    with pytest.raises(StudyError, match="missing"):
        s.analyse_values(values, ARMS, higher_is_better=True)


@pytest.mark.parametrize("readers", [2, 3])
def test_kendall_w_formula_with_ties(readers: int) -> None:
    """Against the textbook formula with tie sums; untied, two readers reach only 0, 1/4, 3/4 and 1."""
    for seed in range(6):
        ranks = random_ranks(seed + 20, readers, 1)[:, 0]
        mid = np.apply_along_axis(scipy_stats.rankdata, 1, ranks)
        ties = sum(
            float((count**3 - count).sum()) for count in (np.unique(r, return_counts=True)[1] for r in ranks)
        )
        below = readers**2 * 24 - readers * ties
        expected = (12 * (mid.sum(axis=0) ** 2).sum() - 3 * readers**2 * 48) / below if below else math.nan
        assert s.kendall_w(ranks) == pytest.approx(expected, nan_ok=True)
    found = {round(s.kendall_w([[1, 2, 3], order]), 9) for order in permutations([1, 2, 3])}
    assert found == {0, 0.25, 0.75, 1}


def test_agreement_of_two_readers() -> None:
    """Kappa against its definition by disagreement; equal readers agree with an interval of one point."""
    first, second = random_ranks(30, 2, 15)
    result = s.reader_agreement(first, second, ("R1", "R2"))
    pairs = list(permutations(range(3), 2))  # both directions: which method is named first means nothing
    a = np.array([np.sign(row[j] - row[i]) for row in first for i, j in pairs])
    b = np.array([np.sign(row[j] - row[i]) for row in second for i, j in pairs])
    expected = 1 - ((a - b) ** 2).mean() / ((a[:, None] - b[None, :]) ** 2).mean()
    assert result.kappa_quadratic == pytest.approx(expected, rel=1e-12)
    assert result.identical_preferences == pytest.approx((a == b).mean())
    assert result.kappa_interval[0] < result.kappa_quadratic < result.kappa_interval[1]
    same = s.reader_agreement(first, first, ("R1", "R1"))
    assert same.identical_orders == same.kappa_quadratic == same.gwet_ac2 == 1 and same.kappa_interval == (
        1,
        1,
    )


def test_ac2_by_hand() -> None:
    """Two clips of two arms, readers (better, better) and (better, tie): p_a = 7/8, p_e by the formula."""
    result = s.reader_agreement([[1, 2], [1, 2]], [[1, 2], [1, 1]], ("R1", "R2"))
    share = np.array([3 / 8, 1 / 4, 3 / 8])  # mean prevalence of worse, tie, better, in both directions
    weights_total = 3 + 4 * 0.75 + 2 * 0  # ones on the diagonal, 3/4 beside it, 0 in the corners
    chance = weights_total / (3 * 2) * (share * (1 - share)).sum()
    assert result.gwet_ac2 == pytest.approx((0.875 - chance) / (1 - chance))
    assert math.isnan(result.kappa_interval[0])  # two clips: no interval


def test_mean_interval_matches_scipy_bootstrap() -> None:
    """Percentile interval over clips within Monte Carlo error of scipy.stats.bootstrap; none if few."""
    values = np.random.default_rng(31).normal(size=(20, 2))
    ours = s.mean_interval(values)
    for arm in range(2):
        theirs = scipy_stats.bootstrap((values[:, arm],), np.mean, method="percentile", random_state=1)
        assert ours[arm] == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)
    assert all(math.isnan(low) for low, _ in s.mean_interval(values[:3]))


def test_position_effect_is_seen() -> None:
    """A reader who always prefers the left panel is found out: 3 of the 3^9 outcomes are as extreme."""
    favoured = np.tile([1, 2, 2], (1, 9, 1))
    assert (s.position_effect(favoured).p_exact or 1) == pytest.approx(3 / 3**9)


def test_thirty_clips_five_readers_are_exact() -> None:
    """A large study's distribution is within the limits of exact computing."""
    result = s.analyse_ranks(random_ranks(40, 5, 30), ARMS)
    assert result.omnibus.p_exact is not None


def test_wrong_tables_are_refused() -> None:
    """Axes, names and unranked values."""
    with pytest.raises(StudyError, match="multiples of one half"):
        s.friedman([[0.1, 0.2, 0.3]])
    with pytest.raises(StudyError, match="2 names"):
        s.compare_pairs([[1, 2, 3]], ["a", "b"])
    with pytest.raises(StudyError, match="coded"):
        s.analyse_ranks([[[1, 2, 3]]], ARMS, coding="dense")
    with pytest.raises(StudyError, match="at least 2 arms"):
        s.friedman([[1.0]])
    with pytest.raises(StudyError, match="has 3 arms, but 2 names were given"):
        s.analyse_ranks([[[1, 2, 3]]], ("a", "b"))
    for wrong, shape in (([1.0, 2.0], r"\(2,\)"), (np.empty((0, 3)), r"\(0, 3\)")):
        with pytest.raises(StudyError, match=f"is needed, but its shape is {shape}"):
            s.friedman(wrong)
