"""Every exact p against enumeration of all arrangements, with and without ties; invariances.

The enumeration shares nothing with the code: integer sums of all (k!)^n arrangements, one by one.
"""

from __future__ import annotations

import math
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from studies import statistics as s
from studies.errors import StudyError
from studies.statistics import permutation

BOUNDED = settings(max_examples=25, deadline=None)
MOST_ARRANGEMENTS = 50_000


def all_sums(scores: np.ndarray, *, fix_first: bool = False) -> np.ndarray:
    """Column sums (arrangement, arm) of every arrangement of integer scores (block, arm).

    With `fix_first` the first block stays: relabelling the arms of a whole arrangement changes neither its
    sum of squares nor its range, so each arrangement has (k! - 1) twins that need no visit.
    """
    sums = np.zeros((1, scores.shape[1]), dtype=np.int32)
    for place, row in enumerate(scores):
        orders = [row] if fix_first and place == 0 else list(permutations(row))
        sums = (sums[:, None] + np.array(orders, dtype=np.int32)[None]).reshape(-1, scores.shape[1])
    return sums


def brute_force(scores: np.ndarray, *, fix_first: bool = False) -> tuple[float, dict[tuple[int, int], float]]:
    """Friedman p and the single-step p of every pair, of integer scores (twice the mid-rank sums)."""
    arms = scores.shape[1]
    sums = all_sums(scores, fix_first=fix_first)
    centre = scores.sum()  # arms × sum - total stays an integer
    squares = ((arms * sums.astype(np.int64) - centre) ** 2).sum(axis=1)
    observed = scores.sum(axis=0).astype(np.int64)
    omnibus = (squares >= ((arms * observed - centre) ** 2).sum()).mean()
    ranges = np.ptp(sums, axis=1)
    return float(omnibus), {
        (i, j): float((ranges >= abs(observed[i] - observed[j])).mean())
        for i, j in combinations(range(arms), 2)
    }


def brute_sign(scores: np.ndarray, i: int, j: int) -> float:
    """Two-sided sign test by tossing every decided block both ways."""
    signs = np.sign(scores[:, i] - scores[:, j])
    signs = signs[signs != 0]
    tosses = [abs(sum(toss)) for toss in product((-1, 1), repeat=len(signs))]
    return sum(toss >= abs(signs.sum()) for toss in tosses) / len(tosses)


def brute_closed(scores: np.ndarray) -> dict[tuple[int, int], float]:
    """Closed testing by its definition: the largest p of all hypotheses that imply the pair's equality."""
    arms = scores.shape[1]
    closed = dict.fromkeys(combinations(range(arms), 2), 0.0)
    for labels in product(range(arms), repeat=arms):
        groups = [[arm for arm in range(arms) if labels[arm] == label] for label in set(labels)]
        groups = [group for group in groups if len(group) > 1]
        if not groups:
            continue
        tested = [
            brute_sign(scores, *group) if len(group) == 2 else brute_force(scores[:, group])[0]
            for group in groups
        ]
        p_value = min(1.0, len(groups) * min(tested))
        for group in groups:
            for pair in combinations(group, 2):
                closed[pair] = max(closed[pair], p_value)
    return closed


@st.composite
def rankings(draw: st.DrawFn, *, most_readers: int = 3) -> np.ndarray:
    """Rankings (reader, clip, arm) of at most 6 clips and 4 arms, tied or not, small enough to enumerate."""
    arms = draw(st.integers(2, 4))
    most = max(n for n in range(1, 7) if math.factorial(arms) ** n <= MOST_ARRANGEMENTS)
    clips = draw(st.integers(1, most))
    readers = draw(st.integers(1, most_readers))
    one = st.lists(st.integers(1, arms), min_size=arms, max_size=arms, unique=draw(st.booleans()))
    reading = st.lists(one, min_size=clips, max_size=clips)
    return np.array(draw(st.lists(reading, min_size=readers, max_size=readers)))


@BOUNDED
@given(rankings())
def test_exact_p_equal_enumeration(ranks: np.ndarray) -> None:
    """Friedman, single step, sign and closed test of one to three readers."""
    scores = s.clip_scores(ranks)
    doubled = (2 * scores).astype(np.int64)
    omnibus, single_step = brute_force(doubled)
    result = s.friedman(scores)
    assert result.p_exact == pytest.approx(omnibus, abs=1e-12)
    assert result.p_monte_carlo is None and result.draws == 0
    closed = brute_closed(doubled)
    for pair in s.compare_pairs(scores, list("0123")[: ranks.shape[2]]):
        key = int(pair.first), int(pair.second)
        assert pair.p_single_step_exact == pytest.approx(single_step[key], abs=1e-12)
        assert pair.p_sign_exact == pytest.approx(brute_sign(doubled, *key), abs=1e-12)
        assert pair.p_adjusted_exact == pair.p_adjusted == pytest.approx(closed[key], abs=1e-12)
        assert pair.wins + pair.ties + pair.losses == len(scores)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("clips", "arms"), [(6, 3), (5, 4), (6, 4)])
def test_largest_tables_equal_enumeration(clips: int, arms: int, ties: bool) -> None:
    """n = 6, k = 4: 8 million arrangements besides the first block's."""
    rng = np.random.default_rng(clips + arms)
    values = rng.integers(0, 3, size=(clips, arms)) if ties else rng.normal(size=(clips, arms))
    scores = s.mid_rank_table(values)
    omnibus, single_step = brute_force((2 * scores).astype(np.int64), fix_first=True)
    assert s.friedman(scores).p_exact == pytest.approx(omnibus, abs=1e-12)
    for pair in s.compare_pairs(scores, list("0123")[:arms]):
        expected = single_step[int(pair.first), int(pair.second)]
        assert pair.p_single_step_exact == pytest.approx(expected, abs=1e-12)


@BOUNDED
@given(rankings(), st.randoms(use_true_random=False))
def test_relabelling_changes_no_result(ranks: np.ndarray, random: object) -> None:
    """Readers, clips and methods in any order; the results follow their names."""
    readers, clips, arms = (list(range(size)) for size in ranks.shape)
    for order in (readers, clips, arms):
        random.shuffle(order)  # type: ignore[attr-defined]
    names = "abcd"[: ranks.shape[2]]
    first = s.analyse_ranks(ranks, names)
    second = s.analyse_ranks(ranks[np.ix_(readers, clips, arms)], [names[arm] for arm in arms])
    assert first.omnibus.p_exact == pytest.approx(second.omnibus.p_exact, abs=1e-12)
    assert first.omnibus.statistic == pytest.approx(second.omnibus.statistic, abs=1e-9)
    found = {(pair.first, pair.second): pair for pair in second.pairs}
    for pair in first.pairs:
        other = found.get((pair.first, pair.second)) or found[pair.second, pair.first]
        same = other.first == pair.first
        assert (other.wins, other.losses) == ((pair.wins, pair.losses) if same else (pair.losses, pair.wins))
        for name in (
            "p_nemenyi",
            "p_nemenyi_tie_corrected",
            "p_single_step_exact",
            "p_adjusted_exact",
            "p_holm",
        ):
            assert getattr(other, name) == pytest.approx(getattr(pair, name), abs=1e-9)
    if ranks.shape[0] > 1:
        agreement = s.readers_agreement(ranks)
        shuffled = s.readers_agreement(ranks[np.ix_(readers, clips, arms)])
        for name in ("krippendorff_alpha", "gwet_ac2", "kendall_w_mean"):
            assert getattr(agreement, name) == pytest.approx(getattr(shuffled, name), nan_ok=True)
        one, other = (
            s.reader_agreement(ranks[0], ranks[1], ("x", "y")),
            s.reader_agreement(ranks[1][np.ix_(clips, arms)], ranks[0][np.ix_(clips, arms)], ("y", "x")),
        )
        for name in ("kappa_quadratic", "gwet_ac2", "kendall_tau_b", "identical_orders"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True)


@BOUNDED
@given(rankings(), st.lists(st.floats(0.01, 5), min_size=4, max_size=4))
def test_monotone_recoding_changes_no_test(ranks: np.ndarray, steps: list[float]) -> None:
    """Any increasing coding of the ranks, and any increasing scale of values, gives the same tests."""
    names = "abcd"[: ranks.shape[2]]
    recoded = np.cumsum(steps)[ranks - 1]
    assert s.analyse_ranks(ranks, names).pairs == s.analyse_ranks(recoded, names).pairs
    values = ranks[0] + np.arange(ranks.shape[1])[:, None] * 10.0
    first = s.analyse_values(values, names, higher_is_better=True)
    second = s.analyse_values(np.exp(values / 20), names, higher_is_better=True)
    assert first.omnibus == second.omnibus and first.pairs == second.pairs


@BOUNDED
@given(rankings(most_readers=1), st.integers(2, 4))
def test_copies_of_a_clip_in_one_subject_add_nothing(ranks: np.ndarray, copies: int) -> None:
    """Views of one subject that all say the same leave every exact p where it was."""
    names = "abcd"[: ranks.shape[2]]
    single = s.analyse_ranks(ranks, names)
    subjects = [str(clip) for clip in range(ranks.shape[1])] * copies
    several = s.analyse_ranks(np.tile(ranks, (1, copies, 1)), names, blocks=subjects)
    assert several.blocks == single.blocks
    assert several.omnibus.p_exact == pytest.approx(single.omnibus.p_exact, abs=1e-12)
    for one, other in zip(single.pairs, several.pairs, strict=True):
        assert other.p_adjusted_exact == pytest.approx(one.p_adjusted_exact, abs=1e-12)
        assert (one.wins, one.ties) == (other.wins, other.ties)


# Missing readings


def brute_skillings_mack(table: np.ndarray) -> tuple[float, float]:
    """Statistic and permutation p of (clip, arm) without ties, by the matrix of Skillings and Mack (1981).

    Every method must be compared with every other, so that the last one can be left out.
    """
    arms = table.shape[1]
    rows = [np.flatnonzero(np.isfinite(row)) for row in table]
    matrix = np.zeros((arms, arms))
    for j, k in permutations(range(arms), 2):
        shared = sum(j in present and k in present for present in rows if len(present) > 1)
        matrix[j, k] -= shared
        matrix[j, j] += shared
    inverse = np.linalg.inv(matrix[:-1, :-1])

    def statistic(order: tuple[tuple[float, ...], ...]) -> float:
        total = np.zeros(arms)
        for present, ranks in zip(rows, order, strict=True):
            size = len(present)
            total[present] += math.sqrt(12 / (size + 1)) * (np.array(ranks) - (size + 1) / 2)
        return float(total[:-1] @ inverse @ total[:-1])

    given_ranks = tuple(tuple(rankdata(row[present])) for row, present in zip(table, rows, strict=True))
    observed = statistic(given_ranks)
    orders = list(product(*[list(permutations(ranks)) for ranks in given_ranks]))
    return observed, sum(statistic(order) >= observed - 1e-9 for order in orders) / len(orders)


@pytest.mark.parametrize("seed", range(6))
def test_skillings_mack_equals_enumeration(seed: int) -> None:
    """Four clips of three methods, one cell missing in each of two clips, one cell alone in a third."""
    table = np.random.default_rng(seed).normal(size=(5, 3))
    table[0, seed % 3] = table[1, (seed + 1) % 3] = np.nan
    table[2, [0, 1]] = np.nan
    statistic, p_value = brute_skillings_mack(table)
    result = s.skillings_mack(table[None])
    assert result.statistic == pytest.approx(statistic, rel=1e-9)
    assert result.p_permutation == pytest.approx(p_value, abs=1e-12) and result.draws == 0
    assert (result.blocks, result.readings, result.readings_left_out) == (4, 4, 1)


def test_skillings_mack_published_example() -> None:
    """Hollander and Wolfe (1999): rhythmicity of a metronome (Brady 1969); R's PMCMRplus prints these."""
    table = [
        [3, 5, 15],
        [1, 3, 18],
        [5, 4, 21],
        [2, np.nan, 6],
        [0, 2, 17],
        [0, 2, 10],
        [0, 3, 8],
        [0, 2, 13],
    ]
    result = s.skillings_mack([table])
    assert result.statistic == pytest.approx(13.28095, abs=5e-6) and result.degrees_of_freedom == 2
    assert result.p_chi_square == pytest.approx(0.001306405, abs=5e-10)
    assert result.draws == permutation.MONTE_CARLO_DRAWS and 0 < result.p_permutation < 0.001


def test_skillings_mack_of_a_complete_table_is_friedman() -> None:
    """One to three readers, with ties: the same statistic and chi-square p; the permutation p is near."""
    rng = np.random.default_rng(3)
    for readers in (1, 2, 3):
        ranks = rng.integers(1, 4, size=(readers, 4, 3))
        omnibus = s.friedman(s.clip_scores(ranks))
        result = s.skillings_mack(ranks)
        assert result.statistic == pytest.approx(omnibus.statistic, rel=1e-9)
        assert result.p_chi_square == pytest.approx(omnibus.p_chi_square, rel=1e-9)
        assert result.p_permutation == pytest.approx(omnibus.p_exact, abs=1e-12)


def test_skillings_mack_without_information() -> None:
    """All tied, single cells, methods that never meet, readers who differ in what they left out."""
    assert s.skillings_mack(np.ones((1, 4, 3))).p_permutation == 1
    alone = np.full((1, 3, 3), np.nan)
    alone[0, :, 0] = 1
    result = s.skillings_mack(alone)
    assert (result.p_chi_square, result.readings, result.readings_left_out) == (1, 0, 3)
    apart = np.array([[[1, 2, np.nan, np.nan], [np.nan, np.nan, 1, 2]]])
    assert "never compared" in s.skillings_mack(apart).note
    ragged = np.array([[[1, 2, 3.0]], [[1, np.nan, 2]]])
    result = s.skillings_mack(ragged)  # compared on the first and third method
    assert (result.readings, result.degrees_of_freedom, result.statistic) == (2, 1, pytest.approx(1))
    assert s.skillings_mack(np.tile(ragged, (1, 3, 1)), ["x", "x", "y"]).blocks == 2
    with pytest.raises(StudyError, match="at least 2 arms"):
        s.skillings_mack([[1, 2, 3]])


# Sampled distributions


def test_sampled_p_is_near_the_exact_one() -> None:
    """Within five standard errors, never 0, and the same at every call."""
    scores = s.mid_rank_table(np.random.default_rng(4).normal([0, 0.4, 0.8], 1, (12, 3)))
    whole = np.rint(2 * (scores - 2)).astype(np.int64)
    exact = s.rank_sum_distribution(whole)
    sampled = s.sampled_distribution(whole)
    observed = int((whole.sum(axis=0) ** 2).sum())
    assert exact is not None and sampled.draws == s.MONTE_CARLO_DRAWS
    p_value = exact.tail_of_squares(observed)
    error = math.sqrt(p_value * (1 - p_value) / sampled.draws)
    assert sampled.tail_of_squares(observed) == pytest.approx(p_value, abs=5 * error)
    assert sampled.tail_of_squares(observed) == s.sampled_distribution(whole).tail_of_squares(observed)
    unanimous = np.tile([-1, 0, 1], (40, 1))
    assert s.sampled_distribution(unanimous, draws=99).tail_of_range(80) == pytest.approx(1 / 100)


def test_too_large_tables_are_sampled_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exact p is claimed: None in its place, the estimate under its own name, and a note."""
    ranks = np.random.default_rng(5).integers(1, 4, size=(1, 12, 3))
    exact = s.analyse_ranks(ranks, "abc")
    monkeypatch.setattr(permutation, "MAXIMUM_CELLS", 100)
    sampled = s.analyse_ranks(ranks, "abc")
    assert sampled.omnibus.p_exact is None and exact.omnibus.p_monte_carlo is None
    assert sampled.omnibus.p_monte_carlo == sampled.omnibus.p_permutation
    assert sampled.omnibus.p_monte_carlo == pytest.approx(exact.omnibus.p_exact, abs=0.02)
    assert any("20000 random arrangements" in note for note in sampled.notes)
    for one, other in zip(exact.pairs, sampled.pairs, strict=True):
        assert other.p_single_step_exact is None and other.p_adjusted_exact is None
        assert other.p_single_step == pytest.approx(one.p_single_step_exact, abs=0.02)
        assert other.p_adjusted == pytest.approx(one.p_adjusted_exact, abs=0.02)
        assert other.p_sign_exact == one.p_sign_exact and "exact Friedman" not in other.adjustment


def test_more_arms_than_closed_testing_takes() -> None:
    """Six methods: Holm's adjustment of the sign tests, and the procedure is named."""
    ranks = np.tile(np.arange(1, 7), (1, 8, 1))
    pairs = s.analyse_ranks(ranks, "abcdef").pairs
    assert all("Holm" in pair.adjustment for pair in pairs)
    assert pairs[0].p_adjusted_exact == pairs[0].p_holm == pytest.approx(15 * 2 / 2**8)
