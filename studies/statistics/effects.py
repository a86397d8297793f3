"""How large a difference is: net preferences, mean differences, Hodges-Lehmann shifts, and their intervals.

    net preference   = P(first better) - P(second better)          over readings of clips, ties count as 0
    share of wins    = wins / (wins + losses)                      over blocks, Clopper-Pearson interval
    Hodges-Lehmann   = median of (d_i + d_j) / 2, i <= j           d = paired differences of the blocks
    its interval     = order statistics of these means, from the exact distribution of the signed-rank sum

Bootstrap intervals draw whole blocks (clusters) with replacement: readings of one clip, and clips of one
subject, stay together. They are percentile intervals, too narrow by a little with few blocks, and are not
given below `MINIMUM_BOOTSTRAP_CLIPS`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.statistics.tables import Table, average_blocks, block_places, checked_table, mid_rank_table

BOOTSTRAP_DRAWS = 4000
BOOTSTRAP_SEED = 20240523
"""Fixed, so that the same data give the same interval."""
MINIMUM_BOOTSTRAP_CLIPS = 6
Interval = tuple[float, float]
UNDEFINED: Interval = (math.nan, math.nan)


# Normality


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
    table = checked_table(values, 2, "(clip, arm)")
    results = []
    for i, j in combinations(range(table.shape[1]), 2):
        with np.errstate(invalid="ignore"):
            difference = table[:, i] - table[:, j]
        defined = difference.size >= 3 and np.isfinite(difference).all() and np.ptp(difference) > 0
        statistic, p_value = stats.shapiro(difference) if defined else UNDEFINED
        results.append(ShapiroResult(arms[i], arms[j], difference.size, float(statistic), float(p_value)))
    return results


# Bootstrap over clusters


@lru_cache(maxsize=16)
def bootstrap_weights(clusters: int) -> NDArray[np.float64]:
    """How often each cluster is drawn: (draw, cluster); not to be written to."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    weights = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=BOOTSTRAP_DRAWS)
    drawn = weights.astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def percentiles(sample: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Percentile interval of the finite values of a bootstrap sample; undefined where there are none."""
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return UNDEFINED
    tail = 50 * (1 - level)
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)


def mean_interval(
    values: ArrayLike, level: float = 0.95, blocks: Sequence[Hashable] | None = None
) -> list[Interval]:
    """Percentile bootstrap interval of the mean of every column of (row, column), drawing whole blocks.

    Args:
        values: Rows are clips, or readings of clips.
        level: Of confidence.
        blocks: The block of every row; None takes every row as one.

    Returns:
        One interval a column; (nan, nan) with fewer than `MINIMUM_BOOTSTRAP_CLIPS` blocks or values that are
        not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    places = np.arange(len(table)) if blocks is None else block_places(blocks, len(table))
    count = int(places.max()) + 1
    if count < MINIMUM_BOOTSTRAP_CLIPS or not np.isfinite(table).all():
        return [UNDEFINED] * table.shape[1]
    sums, sizes = np.zeros((count, table.shape[1])), np.zeros(count)
    np.add.at(sums, places, table)
    np.add.at(sizes, places, 1)
    weights = bootstrap_weights(count)
    means = weights @ sums / (weights @ sizes)[:, None]
    return [percentiles(means[:, column], level) for column in range(table.shape[1])]


# Shifts of paired values


@dataclass(frozen=True)
class ShiftResult:
    """Hodges-Lehmann estimate of a shift; `level` is what the interval reaches (at least the one asked)."""

    estimate: float
    interval: Interval
    level: float


def hodges_lehmann(differences: ArrayLike, level: float = 0.95) -> ShiftResult:
    """The median of the pairwise means of paired differences, with its distribution-free interval.

    Assumes that the differences are independent and symmetric about the shift. With ties among them the
    interval is conservative. nan where a difference is not finite; no interval where `level` is out of reach
    (fewer than 6 differences for 95 %).
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.size == 0 or not np.isfinite(table).all():
        return ShiftResult(math.nan, UNDEFINED, math.nan)
    first, second = np.triu_indices(table.size)
    means = np.sort((table[first] + table[second]) / 2)
    estimate = float(np.median(means))
    below = np.cumsum(_signed_rank_probabilities(table.size))
    rank = int(np.searchsorted(below, (1 - level) / 2 * (1 - 1e-12)))
    if rank == 0:
        return ShiftResult(estimate, UNDEFINED, math.nan)
    return ShiftResult(
        estimate, (float(means[rank - 1]), float(means[-rank])), 1 - 2 * float(below[rank - 1])
    )


def _signed_rank_probabilities(size: int) -> NDArray[np.float64]:
    """P(signed-rank sum = 0, 1, …) of `size` untied differences under symmetry about 0."""
    table = np.ones(1)
    for rank in range(1, size + 1):
        grown = np.zeros(len(table) + rank)
        grown[: len(table)] += table / 2
        grown[rank:] += table / 2
        table = grown
    return table


def share_interval(wins: int, losses: int, level: float = 0.95) -> Interval:
    """Clopper-Pearson interval of the share of wins among decided blocks; (0, 1) where none is decided."""
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, wins, losses + 1)) if wins else 0.0
    high = float(stats.beta.ppf(1 - tail, wins + 1, losses)) if losses else 1.0
    return low, high


@dataclass(frozen=True)
class PairEffect:
    """How far two arms are apart; intervals are of 95 % and nan where blocks are too few.

    `wins`, `ties` and `losses` of `first` are over readings (reader × clip) for ranks, over clips for
    values. `mean_difference` is of mid-ranks or of the values; `shift` is None for ranks.
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    net_preference: float
    net_interval: Interval
    mean_difference: float
    mean_interval: Interval
    shift: ShiftResult | None


def rank_effects(
    ranks: ArrayLike, arms: Sequence[str], blocks: Sequence[Hashable] | None = None
) -> list[PairEffect]:
    """Effects of all pairs in (reader, clip, arm); the blocks are drawn with all their readings."""
    table = mid_rank_table(checked_table(ranks, 3, "(reader, clip, arm)"))
    names = list(range(table.shape[1])) if blocks is None else list(blocks)
    readings = table.reshape(-1, table.shape[2])
    return _effects(-readings, readings, arms, names * table.shape[0], None)


def value_effects(
    values: ArrayLike,
    arms: Sequence[str],
    *,
    higher_is_better: bool,
    blocks: Sequence[Hashable] | None = None,
) -> list[PairEffect]:
    """Effects of all pairs in (clip, arm) of a measured endpoint; shifts are of the blocks' means."""
    table = checked_table(values, 2, "(clip, arm)")
    names = list(range(len(table))) if blocks is None else list(blocks)
    return _effects(table if higher_is_better else -table, table, arms, names, average_blocks(table, blocks))


def _effects(
    merit: Table, values: Table, arms: Sequence[str], blocks: Sequence[Hashable], means: Table | None
) -> list[PairEffect]:
    """Effects from what decides wins (larger is better), what is averaged, and block means for shifts."""
    effects = []
    for i, j in combinations(range(values.shape[1]), 2):
        signs = (merit[:, i] > merit[:, j]).astype(float) - (merit[:, i] < merit[:, j])
        with np.errstate(invalid="ignore"):
            difference = values[:, i] - values[:, j]
            mean_difference = float(difference.mean())
            shift = None if means is None else hodges_lehmann(means[:, i] - means[:, j])
        net, mean = mean_interval(np.stack([signs, difference], axis=1), blocks=blocks)
        if not np.isfinite(difference).all():
            net = mean_interval(signs[:, None], blocks=blocks)[0]
        effects.append(
            PairEffect(
                first=arms[i],
                second=arms[j],
                wins=int((signs > 0).sum()),
                ties=int((signs == 0).sum()),
                losses=int((signs < 0).sum()),
                net_preference=float(signs.mean()),
                net_interval=net,
                mean_difference=mean_difference,
                mean_interval=mean,
                shift=shift,
            )
        )
    return effects
