"""Statistics of a small blinded comparison: exact tests first, the paper's asymptotic ones beside them.

The unit of inference is the clip (or the subject, where one gave several clips), never a reading: readers
of one clip agree with each other, and pooling readers × clips as blocks raised the type I error to 27 %
with three readers. With r_ij the mid-rank of arm j in clip i, summed over readers, c_ij = r_ij - mean_j
r_ij and R_j = sum_i c_ij::

    Q = (k - 1) sum_j R_j² / sum_ij c_ij²     Friedman with tie correction      W = Q / (n (k - 1))   Kendall
    exact p      = P(sum_j R_j² >= observed)  over the k! orders of each clip's own tie pattern (convolution)
    single step  = P(max R - min R >= |R_i - R_j|)            in the same distribution ("exact Nemenyi")
    Nemenyi      = P(range of k normals > |mean rank difference| / sqrt(k (k + 1) / (12 n)))     as published
    closed test  = max(exact Friedman p, exact sign test p)   for k = 3: two equalities imply the third

Continuous endpoints (SNR, sharpness) go through the same tests on their ranks within the clip.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError

Table = NDArray[np.float64]

MAXIMUM_CELLS = 20_000_000
"""Largest table of the exact distribution; beyond it no exact p is given (never reached with 3 arms)."""
BOOTSTRAP_DRAWS = 4000
BOOTSTRAP_SEED = 20240523
"""Fixed, so that the same data give the same interval."""
MINIMUM_BOOTSTRAP_CLIPS = 6
NO_PREFERENCE = "No preference expressed: all movies are tied in every clip."
POOLING_REFUSED = (
    "Readings of one clip by several readers are not independent, so they are not pooled as blocks: ranks "
    "are summed over "
    "readers and the clip is the unit of inference."
)


# Tables


def _table(values: ArrayLike, dimensions: int, axes: str) -> Table:
    """`values` as a float table without NaN, or `StudyError` that names the axes expected."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        raise StudyError(f"A table with the axes {axes} is needed, but its shape is {array.shape}.")
    if np.isnan(array).any():
        raise StudyError("The table has missing values; leave incomplete clips out before testing.")
    if array.shape[-1] < 2:
        raise StudyError("A comparison needs at least 2 arms, but 1 was given.")
    return array


def mid_rank_table(values: ArrayLike, *, higher_is_better: bool = False) -> Table:
    """Mid-ranks along the last axis; rank 1 is the smallest value, or the largest where higher is better."""
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(stats.rankdata(-array if higher_is_better else array, axis=-1))


def clip_scores(ranks: ArrayLike) -> Table:
    """Rank sums of every clip over its readers.

    Args:
        ranks: (reader, clip, arm) in any coding of weak orders; taken as mid-ranks.

    Returns:
        (clip, arm).

    Raises:
        StudyError: The axes are others, or a reading is missing.
    """
    return np.asarray(mid_rank_table(_table(ranks, 3, "(reader, clip, arm)")).sum(axis=0))


def join_blocks(scores: ArrayLike, blocks: Sequence[Hashable]) -> Table:
    """Sum the rows of each block (the clips of a subject) to permute them together: (block, arm)."""
    table = _table(scores, 2, "(clip, arm)")
    if len(blocks) != len(table):
        raise StudyError(f"{len(table)} clips need {len(table)} block names, but {len(blocks)} were given.")
    names = list(dict.fromkeys(blocks))
    return np.stack([table[[block == name for block in blocks]].sum(axis=0) for name in names])


def _doubled_and_centred(scores: Table) -> NDArray[np.int64]:
    """Rows of mid-rank sums as integers that sum to 0, in half ranks, so that comparisons are exact."""
    doubled = 2 * scores
    if not np.array_equal(doubled, np.rint(doubled)):
        raise StudyError("Exact tests need mid-ranks (multiples of one half); rank continuous values first.")
    arms = scores.shape[1]
    # k (2 c_ij) keeps integers for every k; for mid-ranks of 3 arms the row mean is an integer already.
    centred = arms * doubled - doubled.sum(axis=1, keepdims=True)
    whole = np.rint(centred).astype(np.int64)
    divisor = int(np.gcd.reduce(np.abs(whole).ravel()))
    return whole // divisor if divisor > 1 else whole


# Exact distribution


@dataclass(frozen=True, eq=False)
class RankSumDistribution:
    """Distribution of the centred rank sums when the arms of each block are shuffled.

    `sums` has the shape (points, arm) in integer units, `probability` (points,).
    """

    sums: NDArray[np.int64]
    probability: NDArray[np.float64]

    def tail_of_squares(self, observed: int) -> float:
        """P(sum_j R_j² >= observed)."""
        return self._total((self.sums**2).sum(axis=1) >= observed)

    def tail_of_range(self, observed: int) -> float:
        """P(max_j R_j - min_j R_j >= observed)."""
        return self._total(np.ptp(self.sums, axis=1) >= observed)

    def _total(self, chosen: NDArray[np.bool_]) -> float:
        return min(1.0, math.fsum(self.probability[chosen]))


def rank_sum_distribution(scores: NDArray[np.int64]) -> RankSumDistribution | None:
    """Convolve the permutation distributions of all blocks.

    Args:
        scores: Integers (block, arm); every row sums to 0 and is shuffled over its own tie pattern.

    Returns:
        The distribution, or None where its table would have more than `MAXIMUM_CELLS` cells.
    """
    arms = scores.shape[1]
    reach = int(np.abs(scores).max(axis=1).sum())
    if (2 * reach + 1) ** (arms - 1) > MAXIMUM_CELLS:
        return None
    # The last arm's sum follows from the others, so arms - 1 axes are enough.
    table = np.ones((1,) * (arms - 1))
    half = 0
    for row in scores.tolist():
        step = max(abs(score) for score in row)
        grown = np.zeros((2 * (half + step) + 1,) * (arms - 1))
        for order, count in Counter(permutations(row)).items():
            window = tuple(slice(step + score, step + score + 2 * half + 1) for score in order[:-1])
            grown[window] += table * (count / math.factorial(arms))
        table, half = grown, half + step
    index = np.nonzero(table)
    first = np.stack(index, axis=1).astype(np.int64) - half
    sums = np.concatenate([first, -first.sum(axis=1, keepdims=True)], axis=1)
    return RankSumDistribution(sums, table[index])


# Friedman


@dataclass(frozen=True)
class FriedmanResult:
    """Omnibus test of k arms in n blocks; undefined p are nan, `p_exact` is None where it is too large."""

    blocks: int
    arms: int
    statistic: float
    kendall_w: float
    p_exact: float | None
    p_chi_square: float
    iman_davenport_f: float
    p_iman_davenport: float
    note: str = ""


def kendall_w(ranks: ArrayLike) -> float:
    """Kendall's concordance of the rows of (row, arm), tie-corrected: 1 for equal orders, nan if all tied."""
    centred = _centred(mid_rank_table(_table(ranks, 2, "(row, arm)")))
    spread = float((centred**2).sum())
    return float((centred.sum(axis=0) ** 2).sum() / (len(centred) * spread)) if spread > 0 else math.nan


def _centred(scores: Table) -> Table:
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def friedman(scores: ArrayLike) -> FriedmanResult:
    """Friedman's test on mid-ranks, or on their sums over readers: exact and asymptotic.

    Args:
        scores: (block, arm): one row of mid-ranks, or of rank sums, a clip; see `clip_scores`,
            `mid_rank_table`.

    Returns:
        `FriedmanResult`. The chi-square and F (Iman-Davenport) p values are the asymptotic twins of
        `p_exact`; with few blocks they err on both sides.

    Raises:
        StudyError: The table is not (block, arm), has gaps, or holds no mid-ranks.
    """
    table = _table(scores, 2, "(block, arm)")
    return _friedman(table, rank_sum_distribution(_doubled_and_centred(table)))


def _friedman(table: Table, distribution: RankSumDistribution | None) -> FriedmanResult:
    blocks, arms = table.shape
    centred = _centred(table)
    spread = float((centred**2).sum())
    if spread == 0:
        return FriedmanResult(blocks, arms, 0.0, math.nan, 1.0, 1.0, 0.0, 1.0, NO_PREFERENCE)
    statistic = (arms - 1) * float((centred.sum(axis=0) ** 2).sum()) / spread
    observed = int((_doubled_and_centred(table).sum(axis=0) ** 2).sum())
    remainder = blocks * (arms - 1) - statistic
    note = ""
    if remainder <= 1e-9 * blocks:
        f_value, note = (
            math.inf,
            "All clips give the same order: the F statistic is infinite, only the exact p counts.",
        )
    else:
        f_value = (blocks - 1) * statistic / remainder
    degrees = (arms - 1, (arms - 1) * (blocks - 1))
    return FriedmanResult(
        blocks=blocks,
        arms=arms,
        statistic=statistic,
        kendall_w=statistic / (blocks * (arms - 1)),
        p_exact=distribution.tail_of_squares(observed) if distribution else None,
        p_chi_square=float(stats.chi2.sf(statistic, arms - 1)),
        iman_davenport_f=f_value if blocks > 1 else math.nan,
        p_iman_davenport=float(stats.f.sf(f_value, *degrees)) if blocks > 1 else math.nan,
        note=note,
    )


# Pairs


@dataclass(frozen=True)
class PairResult:
    """Two arms compared; `wins` counts the blocks in which `first` is better (smaller rank sum).

    `mean_rank_difference` is of the ranks of the blocks' rank sums (what the published Nemenyi tests),
    `mean_score_difference` of the rank sums themselves (what the others test); equal with one reader.
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    mean_rank_difference: float
    mean_score_difference: float
    p_nemenyi: float
    p_nemenyi_tie_corrected: float
    p_single_step_exact: float | None
    p_sign_exact: float
    p_adjusted_exact: float | None
    adjustment: str

    @property
    def net_preference(self) -> float:
        """P(first better) - P(second better) over the blocks, -1…1."""
        return (self.wins - self.losses) / (self.wins + self.ties + self.losses)


def nemenyi_p(
    mean_rank_difference: float, blocks: int, arms: int, rank_variance: float | None = None
) -> float:
    """Nemenyi's asymptotic p of a difference of mean ranks.

    Args:
        mean_rank_difference: In ranks.
        blocks: n.
        arms: k.
        rank_variance: None for k (k + 1) / 12, the published form that ignores ties; else the variance of
            the ranks within blocks (with k - 1), which is the tie-corrected form.

    Returns:
        P(studentised range of k normals > q); 1 where the variance is 0.
    """
    variance = arms * (arms + 1) / 12 if rank_variance is None else rank_variance
    if variance == 0:
        return 1.0
    return float(
        stats.studentized_range.sf(abs(mean_rank_difference) / math.sqrt(variance / blocks), arms, np.inf)
    )


def nemenyi_critical_difference(blocks: int, arms: int, alpha: float = 0.05) -> float:
    """Difference of mean ranks that is just significant at `alpha` in Nemenyi's asymptotic test."""
    return float(stats.studentized_range.ppf(1 - alpha, arms, np.inf)) * math.sqrt(
        arms * (arms + 1) / (12 * blocks)
    )


def sign_test_p(wins: int, losses: int) -> float:
    """Exact two-sided sign test of wins against losses (ties dropped); 1 without any decided block."""
    decided = wins + losses
    return min(1.0, 2 * float(stats.binom.cdf(min(wins, losses), decided, 0.5))) if decided else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = running
    return adjusted


def compare_pairs(scores: ArrayLike, arms: Sequence[str]) -> list[PairResult]:
    """All pairs of arms: Nemenyi as published and tie-corrected, exact single step, closed exact sign tests.

    The published Nemenyi works on the ranks of the rank sums within each clip (the same as the ranks with
    one reader); all others work on the rank sums themselves.

    Args:
        scores: (block, arm) mid-ranks or rank sums; smaller is better.
        arms: Names.

    Returns:
        k (k - 1) / 2 results. `p_adjusted_exact` controls the family-wise error: closed testing for 3 arms,
        the sign test itself for 2, Holm's adjustment for more.

    Raises:
        StudyError: As `friedman`, or names do not fit.
    """
    table = _table(scores, 2, "(block, arm)")
    if len(arms) != table.shape[1]:
        raise StudyError(f"The table has {table.shape[1]} arms, but {len(arms)} names were given.")
    whole = _doubled_and_centred(table)
    distribution = rank_sum_distribution(whole)
    return _compare_pairs(table, whole, distribution, _friedman(table, distribution), arms)


def _compare_pairs(
    table: Table,
    whole: NDArray[np.int64],
    distribution: RankSumDistribution | None,
    omnibus: FriedmanResult,
    arms: Sequence[str],
) -> list[PairResult]:
    blocks, count = table.shape
    variance = float((_centred(table) ** 2).sum()) / (blocks * (count - 1))
    means, sums = table.mean(axis=0), whole.sum(axis=0)
    clip_ranks = mid_rank_table(table)
    clip_means = clip_ranks.mean(axis=0)
    pairs = list(combinations(range(count), 2))
    outcomes = [
        (int((table[:, i] < table[:, j]).sum()), int((table[:, i] > table[:, j]).sum())) for i, j in pairs
    ]
    signs = [sign_test_p(wins, losses) for wins, losses in outcomes]
    adjusted, adjustment = _adjusted(signs, count, omnibus.p_exact)
    return [
        PairResult(
            first=arms[i],
            second=arms[j],
            wins=wins,
            ties=blocks - wins - losses,
            losses=losses,
            mean_rank_difference=float(clip_means[i] - clip_means[j]),
            mean_score_difference=float(means[i] - means[j]),
            p_nemenyi=nemenyi_p(float(clip_means[i] - clip_means[j]), blocks, count),
            p_nemenyi_tie_corrected=nemenyi_p(float(means[i] - means[j]), blocks, count, variance),
            p_single_step_exact=distribution.tail_of_range(abs(int(sums[i] - sums[j])))
            if distribution
            else None,
            p_sign_exact=sign,
            p_adjusted_exact=p_adjusted,
            adjustment=adjustment,
        )
        for (i, j), (wins, losses), sign, p_adjusted in zip(pairs, outcomes, signs, adjusted, strict=True)
    ]


def _adjusted(signs: Sequence[float], arms: int, p_omnibus: float | None) -> tuple[list[float | None], str]:
    """Family-wise adjusted p values of the sign tests and the name of the procedure."""
    if arms == 2:
        return list(signs), "exact sign test"
    if arms == 3:
        closed: list[float | None] = [None if p_omnibus is None else max(p_omnibus, sign) for sign in signs]
        return closed, "closed testing: exact Friedman gate, exact sign test"
    return list(holm(signs)), "exact sign test with Holm's adjustment"


def unanimous_neighbour_p(blocks: int, arms: int = 3) -> tuple[float, float]:
    """Nemenyi p (asymptotic, exact single step) of neighbours if all blocks say 1 < 2 < … < k.

    This is what a study of this size can show at most for two arms that are next to each other.
    """
    table = np.tile(np.arange(1.0, arms + 1), (blocks, 1))
    pair = compare_pairs(table, [str(arm) for arm in range(arms)])[0]
    return pair.p_nemenyi, math.nan if pair.p_single_step_exact is None else pair.p_single_step_exact


def nemenyi_limit_note(blocks: int, arms: int = 3, alpha: float = 0.05) -> str:
    """What Nemenyi's test cannot show with so few blocks, and whether the closed test can; else empty."""
    asymptotic, exact = unanimous_neighbour_p(blocks, arms)
    if asymptotic <= alpha and not exact > alpha:
        return ""
    best = sign_test_p(blocks, 0)
    if best <= alpha:
        advice = "Read the exact sign tests instead."
    else:
        advice = f"Nor can the exact sign test: p = {best:.3f} at best."
    return (
        f"Nemenyi's test cannot separate neighbouring methods with N = {blocks}: even if all {blocks} agree "
        f"on one strict order, p = {asymptotic:.3f} (asymptotic) and {exact:.3f} (exact). {advice}"
    )


# Normality, intervals


@dataclass(frozen=True)
class ShapiroResult:
    """Shapiro-Wilk test of the differences first - second over clips; nan where it is not defined."""

    first: str
    second: str
    clips: int
    statistic: float
    p_value: float


def shapiro_of_differences(values: ArrayLike, arms: Sequence[str]) -> list[ShapiroResult]:
    """Normality of the paired differences of (clip, arm), reported only: no test is chosen by its outcome.

    Needs 3 clips and differences that are finite and not all equal; else nan.
    """
    table = _table(values, 2, "(clip, arm)")
    results = []
    for i, j in combinations(range(table.shape[1]), 2):
        with np.errstate(invalid="ignore"):
            difference = table[:, i] - table[:, j]
        defined = difference.size >= 3 and np.isfinite(difference).all() and np.ptp(difference) > 0
        statistic, p_value = stats.shapiro(difference) if defined else (math.nan, math.nan)
        results.append(ShapiroResult(arms[i], arms[j], difference.size, float(statistic), float(p_value)))
    return results


def _bootstrap_weights(clips: int) -> NDArray[np.float64]:
    """How often each clip is drawn: (draw, clip)."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    return generator.multinomial(clips, np.full(clips, 1 / clips), size=BOOTSTRAP_DRAWS).astype(np.float64)


def mean_interval(values: ArrayLike, level: float = 0.95) -> list[tuple[float, float]]:
    """Percentile bootstrap interval of the mean of every arm of (clip, arm), resampling whole clips.

    (nan, nan) with fewer than `MINIMUM_BOOTSTRAP_CLIPS` clips or values that are not finite.
    """
    table = _table(values, 2, "(clip, arm)")
    if len(table) < MINIMUM_BOOTSTRAP_CLIPS or not np.isfinite(table).all():
        return [(math.nan, math.nan)] * table.shape[1]
    means = _bootstrap_weights(len(table)) @ table / len(table)
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


# Agreement of readers


@dataclass(frozen=True)
class AgreementResult:
    """Agreement of two readers on the same clips; intervals are bootstraps over clips, nan with few."""

    first: str
    second: str
    clips: int
    identical_orders: float
    identical_preferences: float
    kappa_quadratic: float
    kappa_interval: tuple[float, float]
    gwet_ac2: float
    gwet_ac2_interval: tuple[float, float]


def _preference_counts(first: Table, second: Table) -> NDArray[np.float64]:
    """Per clip, the 3 × 3 counts of (worse, tie, better) over all pairs of arms: (clip, 3, 3)."""
    counts = np.zeros((len(first), 3, 3))
    for i, j in combinations(range(first.shape[1]), 2):
        rows = np.sign(first[:, j] - first[:, i]).astype(int) + 1
        columns = np.sign(second[:, j] - second[:, i]).astype(int) + 1
        counts[np.arange(len(first)), rows, columns] += 1
    return counts


def _kappa_and_ac2(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quadratic weighted kappa and Gwet's AC2 of tables (…, 3, 3); nan where chance agreement is 1."""
    weights = 1 - (np.subtract.outer(np.arange(3), np.arange(3)) / 2) ** 2
    shares = counts / counts.sum(axis=(-2, -1), keepdims=True)
    rows, columns = shares.sum(axis=-1), shares.sum(axis=-2)
    observed = (weights * shares).sum(axis=(-2, -1))
    expected = np.einsum("ab,...a,...b->...", weights, rows, columns)
    prevalence = (rows + columns) / 2
    expected_ac2 = weights.sum() / 6 * (prevalence * (1 - prevalence)).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)
        ac2 = np.where(expected_ac2 < 1 - 1e-12, (observed - expected_ac2) / (1 - expected_ac2), np.nan)
    return kappa, ac2


def reader_agreement(
    first_ranks: ArrayLike, second_ranks: ArrayLike, names: tuple[str, str]
) -> AgreementResult:
    """Agreement of two readers, on whole orders and on pairwise preferences (better, tie, worse).

    Args:
        first_ranks: (clip, arm) of the first reader.
        second_ranks: (clip, arm) of the second, the same clips in the same order.
        names: The readers.

    Returns:
        `AgreementResult`. The pairs of a clip are dependent, so intervals resample whole clips.

    Raises:
        StudyError: The tables have different shapes or gaps.
    """
    first = mid_rank_table(_table(first_ranks, 2, "(clip, arm)"))
    second = mid_rank_table(_table(second_ranks, 2, "(clip, arm)"))
    if first.shape != second.shape:
        raise StudyError(
            f"Two readers need the same clips, but their tables are {first.shape} and {second.shape}."
        )
    counts = _preference_counts(first, second)
    kappa, ac2 = _kappa_and_ac2(counts.sum(axis=0))
    intervals = [(math.nan, math.nan)] * 2
    if len(first) >= MINIMUM_BOOTSTRAP_CLIPS:
        drawn = (_bootstrap_weights(len(first)) @ counts.reshape(len(first), 9)).reshape(-1, 3, 3)
        for place, sample in enumerate(_kappa_and_ac2(drawn)):
            finite = sample[np.isfinite(sample)]
            if finite.size:
                low, high = np.percentile(finite, [2.5, 97.5])
                intervals[place] = (float(low), float(high))
    return AgreementResult(
        first=names[0],
        second=names[1],
        clips=len(first),
        identical_orders=float((first == second).all(axis=1).mean()),
        identical_preferences=float(np.trace(counts.sum(axis=0)) / counts.sum()),
        kappa_quadratic=float(kappa),
        kappa_interval=intervals[0],
        gwet_ac2=float(ac2),
        gwet_ac2_interval=intervals[1],
    )


# Endpoints


@dataclass(frozen=True)
class EndpointResult:
    """One endpoint in one group of clips.

    `mean` and `sd` are of the endpoint itself: of all reader × clip ranks for rankings (in the coding
    named), of the clips' values for measurements; `sd` has N - 1 and describes spread, no test uses it.
    `interval` is the bootstrap interval of the mean over clips. `mean_rank` is the mean rank within clips,
    1 is best.
    """

    arms: tuple[str, ...]
    readers: int
    clips: int
    blocks: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    interval: tuple[tuple[float, float], ...]
    mean_rank: tuple[float, ...]
    omnibus: FriedmanResult
    pairs: tuple[PairResult, ...]
    shapiro: tuple[ShapiroResult, ...]
    notes: tuple[str, ...]


def _sd(values: Table) -> tuple[float, ...]:
    if len(values) < 2:
        return (math.nan,) * values.shape[1]
    with np.errstate(invalid="ignore"):
        return tuple(float(value) for value in values.std(axis=0, ddof=1))


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _tests(
    scores: Table, arms: Sequence[str], blocks: Sequence[Hashable] | None
) -> tuple[FriedmanResult, tuple[PairResult, ...], int, list[str]]:
    """Omnibus and pairs on clip scores joined to blocks; number of blocks; notes."""
    table = scores if blocks is None else join_blocks(scores, blocks)
    notes = []
    if len(table) < len(scores):
        notes.append(
            f"{len(scores)} clips come from {len(table)} subjects: clips of one subject are permuted "
            "together, the subject is "
            "the unit of inference here."
        )
    whole = _doubled_and_centred(table)
    distribution = rank_sum_distribution(whole)
    omnibus = _friedman(table, distribution)
    pairs = tuple(_compare_pairs(table, whole, distribution, omnibus, arms))
    notes += [note for note in (omnibus.note, nemenyi_limit_note(len(table), len(arms))) if note]
    return omnibus, pairs, len(table), notes


def analyse_ranks(
    ranks: ArrayLike, arms: Sequence[str], *, blocks: Sequence[Hashable] | None = None, coding: str = "mid"
) -> EndpointResult:
    """The ranking endpoint: ranks summed over readers per clip, tests over clips.

    Args:
        ranks: (reader, clip, arm), weak orders in any coding, complete.
        arms: Names of the methods.
        blocks: Subject of every clip, where subjects gave several clips; None takes the clip.
        coding: "mid" or "competition" ranks for the mean and SD; the tests do not depend on it.

    Returns:
        `EndpointResult`; Shapiro-Wilk is not computed for ranks.

    Raises:
        StudyError: Another coding, other axes (readers × clips are not accepted as blocks), or missing
            readings.
    """
    array = np.asarray(ranks, dtype=np.float64)
    if array.ndim == 2:
        raise StudyError(
            f"Ranks need the axes (reader, clip, arm), but the shape is {array.shape}. {POOLING_REFUSED}"
        )
    table = _table(array, 3, "(reader, clip, arm)")
    if coding not in ("mid", "competition"):
        raise StudyError(f"Mean ranks are coded 'mid' or 'competition', not '{coding}'.")
    coded = np.asarray(
        stats.rankdata(table, axis=-1, method="average" if coding == "mid" else "min"), dtype=np.float64
    )
    omnibus, pairs, count, notes = _tests(clip_scores(table), arms, blocks)
    flat = coded.reshape(-1, coded.shape[-1])
    return EndpointResult(
        arms=tuple(arms),
        readers=table.shape[0],
        clips=table.shape[1],
        blocks=count,
        mean=_floats(flat.mean(axis=0)),
        sd=_sd(flat),
        interval=tuple(mean_interval(coded.mean(axis=0))),
        mean_rank=_floats(mid_rank_table(table).mean(axis=(0, 1))),
        omnibus=omnibus,
        pairs=pairs,
        shapiro=(),
        notes=tuple(notes),
    )


def analyse_values(
    values: ArrayLike,
    arms: Sequence[str],
    *,
    higher_is_better: bool,
    blocks: Sequence[Hashable] | None = None,
) -> EndpointResult:
    """A measured endpoint (SNR, ES, STD-ES): Friedman and pairs on ranks within each clip, as in the paper.

    Args:
        values: (clip, arm), complete; infinite values rank but make the mean infinite.
        arms: Names of the methods.
        higher_is_better: Whether the largest value gets rank 1; only wins and losses depend on it, no p
            does.
        blocks: Subject of every clip, where subjects gave several clips; None takes the clip.

    Returns:
        `EndpointResult` with Shapiro-Wilk of the paired differences.

    Raises:
        StudyError: Other axes, or missing values.
    """
    table = _table(values, 2, "(clip, arm)")
    scores = mid_rank_table(table, higher_is_better=higher_is_better)
    omnibus, pairs, count, notes = _tests(scores, arms, blocks)
    return EndpointResult(
        arms=tuple(arms),
        readers=0,
        clips=len(table),
        blocks=count,
        mean=_floats(table.mean(axis=0)),
        sd=_sd(table),
        interval=tuple(mean_interval(table)),
        mean_rank=_floats(scores.mean(axis=0)),
        omnibus=omnibus,
        pairs=pairs,
        shapiro=tuple(shapiro_of_differences(table, arms)),
        notes=tuple(notes),
    )


def position_effect(ranks_by_position: ArrayLike) -> FriedmanResult:
    """Whether a place on the screen was favoured: the same test on ranks (reader, clip, position).

    Sound because the positions were randomised: without a position effect every order of places is equally
    likely.
    """
    return friedman(clip_scores(ranks_by_position))
