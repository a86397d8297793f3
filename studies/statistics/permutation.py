"""The permutation distribution of rank sums: convolved exactly, or sampled where the exact one is too large.

Under the null hypothesis every order of the arms within a block is equally likely, given the block's own
ties. With c_i the integer scores of block i (each row sums to 0) and pi_i independent permutations, the
distribution is that of ``R = sum_i pi_i(c_i)``, built block by block by convolution.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

MAXIMUM_CELLS = 8_000_000
"""Largest table of the exact distribution (64 MB)."""
MAXIMUM_STEPS = 220_000_000
"""Most additions spent on it, about two seconds: with ties 189 clips of 3 arms, 20 of 4 or 4 of 5 and one
reader, 64 clips of 3 arms and five readers; without ties more."""
MONTE_CARLO_DRAWS = 20_000
"""Beyond either limit, p is estimated from so many random arrangements: standard error 0.0015 at p = 0.05."""
MONTE_CARLO_SEED = 19370201
"""Fixed, so that the same table gives the same p."""


@dataclass(frozen=True, eq=False)
class RankSumDistribution:
    """Distribution of the centred rank sums when the arms of each block are shuffled.

    `sums` has the shape (points, arm) in integer units, `probability` (points,). `draws` is 0 for the exact
    distribution, else the number of random arrangements; the observed one is then a point too, so that no p
    is 0 and the test keeps its level.
    """

    sums: NDArray[np.int64]
    probability: NDArray[np.float64]
    draws: int = 0

    def tail_of_squares(self, observed: int) -> float:
        """P(sum_j R_j² >= observed)."""
        return self._total((self.sums**2).sum(axis=1) >= observed)

    def tail_of_range(self, observed: int) -> float:
        """P(max_j R_j - min_j R_j >= observed)."""
        return self._total(np.ptp(self.sums, axis=1) >= observed)

    def _total(self, chosen: NDArray[np.bool_]) -> float:
        return min(1.0, math.fsum(self.probability[chosen]))


def _fits(length: int, blocks: int, arms: int) -> bool:
    cells = length ** (arms - 1)
    return cells <= MAXIMUM_CELLS and cells * math.factorial(arms) * blocks / arms <= MAXIMUM_STEPS


def rank_sum_distribution(scores: NDArray[np.int64]) -> RankSumDistribution | None:
    """Convolve the permutation distributions of all blocks.

    Args:
        scores: Integers (block, arm); every row sums to 0 and is shuffled over its own tie pattern.

    Returns:
        The distribution, or None where it would exceed `MAXIMUM_CELLS` or `MAXIMUM_STEPS`.
    """
    arms = scores.shape[1]
    least = scores.min(axis=1, keepdims=True)
    # Counted from each row's least score, in the largest common step: untied ranks of 4 arms need 1/8.
    steps = scores - least
    step = max(1, int(np.gcd.reduce(steps.ravel())))
    steps = steps // step
    if not _fits(int(steps.max(axis=1).sum()) + 1, len(scores), arms):
        return None
    # The last arm's sum follows from the others, so arms - 1 axes are enough.
    table = np.ones((1,) * (arms - 1))
    for row in steps.tolist():
        size = table.shape[0]
        grown = np.zeros((size + max(row),) * (arms - 1))
        for order, count in Counter(permutations(row)).items():
            window = tuple(slice(place, place + size) for place in order[:-1])
            grown[window] += table * (count / math.factorial(arms))
        table = grown
    index = np.nonzero(table)
    first = np.stack(index, axis=1).astype(np.int64) * step + int(least.sum())
    sums = np.concatenate([first, -first.sum(axis=1, keepdims=True)], axis=1)
    return RankSumDistribution(sums, table[index])


def sampled_distribution(
    scores: NDArray[np.int64], draws: int = MONTE_CARLO_DRAWS, seed: int = MONTE_CARLO_SEED
) -> RankSumDistribution:
    """The observed sums and those of `draws` random arrangements, each with probability 1 / (draws + 1)."""
    generator = np.random.default_rng(seed)
    sums = np.zeros((draws + 1, scores.shape[1]), dtype=np.int64)
    sums[0] = scores.sum(axis=0)
    for row in scores:
        sums[1:] += generator.permuted(np.tile(row, (draws, 1)), axis=1)
    return RankSumDistribution(sums, np.full(draws + 1, 1 / (draws + 1)), draws)


def null_distribution(scores: NDArray[np.int64]) -> RankSumDistribution:
    """The exact distribution where it fits, else the sampled one; `draws` says which."""
    return rank_sum_distribution(scores) or sampled_distribution(scores)
