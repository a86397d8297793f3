"""Which arms differ: Nemenyi as published, its exact form, exact sign tests, and closed testing over them.

With R_j the rank sum of arm j over n blocks of k arms::

    Nemenyi      = P(range of k normals > |mean rank difference| / sqrt(k (k + 1) / (12 n)))     as published
    single step  = P(max R - min R >= |R_i - R_j|)      in the permutation distribution ("exact Nemenyi")
    sign test    = P(as few wins or losses or fewer | wins + losses fair coins), two-sided, ties dropped
    closed test  = max over all partitions of the arms that keep i and j together of the partition's p

A partition says that the arms within each of its groups are alike. Its p is the smallest p of its groups
times their number (Bonferroni); a group's p is the exact sign test for two arms, the exact Friedman test of
its own columns for more. For three arms that is max(Friedman p, sign test p): two equalities imply the third.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError
from studies.statistics.omnibus import FriedmanResult, friedman, friedman_within
from studies.statistics.permutation import RankSumDistribution, null_distribution, rank_sum_distribution
from studies.statistics.tables import Table, centred, checked_table, mid_rank_table, whole_scores

MAXIMUM_CLOSED_ARMS = 5
"""Closed testing goes through all partitions of so many arms (52); beyond, Holm adjusts the sign tests."""


@dataclass(frozen=True)
class PairResult:
    """Two arms compared; `wins` counts the blocks in which `first` is better (smaller rank sum).

    `mean_rank_difference` is of the ranks of the blocks' rank sums (what the published Nemenyi tests),
    `mean_score_difference` of the rank sums themselves (what the others test); equal with one reader.
    `p_single_step_exact` and `p_adjusted_exact` are None where a distribution was too large to be exact;
    `p_single_step` and `p_adjusted` are Monte Carlo estimates then.
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
    p_single_step: float
    p_adjusted: float
    p_holm: float

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
        k (k - 1) / 2 results. `p_adjusted_exact` controls the family-wise error: the sign test itself for 2
        arms, closed testing up to `MAXIMUM_CLOSED_ARMS`, Holm's adjustment for more.

    Raises:
        StudyError: As `friedman`, or names do not fit.
    """
    table = checked_table(scores, 2, "(block, arm)")
    if len(arms) != table.shape[1]:
        raise StudyError(f"The table has {table.shape[1]} arms, but {len(arms)} names were given.")
    whole = whole_scores(table)
    distribution = null_distribution(whole)
    return compare_pairs_within(table, whole, distribution, friedman_within(table, distribution), arms)


def compare_pairs_within(
    table: Table,
    whole: NDArray[np.int64],
    distribution: RankSumDistribution,
    omnibus: FriedmanResult,
    arms: Sequence[str],
) -> list[PairResult]:
    """`compare_pairs` of a checked table whose integer scores, null distribution and omnibus are at hand."""
    blocks, count = table.shape
    variance = float((centred(table) ** 2).sum()) / (blocks * (count - 1))
    means, sums = table.mean(axis=0), whole.sum(axis=0)
    clip_means = mid_rank_table(table).mean(axis=0)
    pairs = list(combinations(range(count), 2))
    outcomes = [
        (int((table[:, i] < table[:, j]).sum()), int((table[:, i] > table[:, j]).sum())) for i, j in pairs
    ]
    signs = [sign_test_p(wins, losses) for wins, losses in outcomes]
    adjusted, sampled, adjustment = _adjusted(table, signs, omnibus)
    single_steps = [distribution.tail_of_range(abs(int(sums[i] - sums[j]))) for i, j in pairs]
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
            p_single_step_exact=None if distribution.draws else single_step,
            p_sign_exact=sign,
            p_adjusted_exact=None if sampled else p_adjusted,
            adjustment=adjustment,
            p_single_step=single_step,
            p_adjusted=p_adjusted,
            p_holm=p_holm,
        )
        for (i, j), (wins, losses), sign, single_step, p_adjusted, p_holm in zip(
            pairs, outcomes, signs, single_steps, adjusted, holm(signs), strict=True
        )
    ]


def _adjusted(table: Table, signs: Sequence[float], omnibus: FriedmanResult) -> tuple[list[float], bool, str]:
    """Family-wise adjusted p values, whether one rests on a sampled distribution, and the procedure."""
    arms = table.shape[1]
    if arms == 2:
        return list(signs), False, "exact sign test"
    if arms > MAXIMUM_CLOSED_ARMS:
        return holm(signs), False, "exact sign test with Holm's adjustment"
    everything = tuple(range(arms))
    groups: dict[tuple[int, ...], float] = dict(zip(combinations(everything, 2), signs, strict=True))
    groups[everything] = omnibus.p_permutation
    sampled = omnibus.draws > 0
    for size in range(3, arms):
        for group in combinations(everything, size):
            result = friedman(table[:, group])
            groups[group] = result.p_permutation
            sampled = sampled or result.draws > 0
    closed = dict.fromkeys(combinations(everything, 2), 0.0)
    for partition in partitions(everything):
        alike = [group for group in partition if len(group) > 1]
        if not alike:
            continue
        p_value = min(1.0, len(alike) * min(groups[group] for group in alike))
        for group in alike:
            for pair in combinations(group, 2):
                closed[pair] = max(closed[pair], p_value)
    name = "closed testing: exact Friedman gate, exact sign test"
    if arms > 3:
        name = "closed testing over all partitions: exact Friedman tests, exact sign tests"
    return list(closed.values()), sampled, name.replace("exact Friedman", "Friedman") if sampled else name


def partitions(items: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    """All ways to part sorted `items` into groups; each group stays sorted."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for size in range(len(rest) + 1):
        for others in combinations(rest, size):
            left = tuple(item for item in rest if item not in others)
            for partition in partitions(left):
                yield [(first, *others), *partition]


@lru_cache(maxsize=64)
def unanimous_neighbour_p(blocks: int, arms: int = 3) -> tuple[float, float]:
    """Nemenyi p (asymptotic, exact single step) of neighbours if all blocks say 1 < 2 < … < k.

    This is what a study of this size can show at most for two arms that are next to each other; the exact p
    is nan where its distribution is too large.
    """
    whole = whole_scores(np.tile(np.arange(1.0, arms + 1), (blocks, 1)))
    distribution = rank_sum_distribution(whole)
    gap = abs(int((whole[:, 1] - whole[:, 0]).sum()))
    return nemenyi_p(1.0, blocks, arms), distribution.tail_of_range(gap) if distribution else math.nan


def nemenyi_limit_note(blocks: int, arms: int = 3, alpha: float = 0.05) -> str:
    """What Nemenyi's test cannot show with so few blocks, and whether the sign test can; else empty."""
    asymptotic, exact = unanimous_neighbour_p(blocks, arms)
    if asymptotic <= alpha and not exact > alpha:
        return ""
    best = sign_test_p(blocks, 0)
    if best <= alpha:
        advice = "Read the exact sign tests instead."
    else:
        advice = f"Nor can the exact sign test: p = {best:.3f} at best."
    found = f"p = {asymptotic:.3f} (asymptotic)"
    if not math.isnan(exact):
        found += f" and {exact:.3f} (exact)"
    return (
        f"Nemenyi's test cannot separate neighbouring methods with N = {blocks}: even if all {blocks} agree "
        f"on one strict order, {found}. {advice}"
    )
