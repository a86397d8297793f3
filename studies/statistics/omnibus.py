"""Whether any arm differs: Friedman's test, Kendall's W, and Skillings-Mack where readings are missing.

With r_ij the mid-rank of arm j in clip i, summed over readers, c_ij = r_ij - mean_j r_ij and R_j = sum_i
c_ij::

    Q = (k - 1) sum_j R_j² / sum_ij c_ij²     Friedman with tie correction      W = Q / (n (k - 1))   Kendall
    F = (n - 1) Q / (n (k - 1) - Q)           Iman-Davenport, k - 1 and (k - 1)(n - 1) degrees of freedom
    exact p = P(sum_j R_j² >= observed)       over the k! orders of each clip's own tie pattern

Skillings-Mack for a clip of which only k_i arms were ranked takes a_ij = sqrt(12 / (k_i + 1)) (r_ij - (k_i +
1) / 2), 0 for a missing arm, and ``T = A' V⁻ A`` with A = sum_i a_i and V its covariance under permutation
of the arms present. Without ties V is the matrix of Skillings and Mack (1981); with complete tables T is Q.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError
from studies.statistics.permutation import (
    MONTE_CARLO_DRAWS,
    MONTE_CARLO_SEED,
    RankSumDistribution,
    null_distribution,
)
from studies.statistics.tables import (
    Table,
    block_places,
    centred,
    checked_table,
    mid_rank_table,
    whole_scores,
)

NO_PREFERENCE = "No preference expressed: all movies are tied in every clip."
UNANIMOUS = "All clips give the same order: the F statistic is infinite, only the exact p counts."
MAXIMUM_ARRANGEMENTS = 50_000
"""Skillings-Mack enumerates up to so many arrangements; beyond, `MONTE_CARLO_DRAWS` are sampled."""


@dataclass(frozen=True)
class FriedmanResult:
    """Omnibus test of k arms in n blocks.

    Undefined p are nan. `p_exact` is None where its distribution is too large; `p_monte_carlo`, from `draws`
    random arrangements, stands in its place then and only then.
    """

    blocks: int
    arms: int
    statistic: float
    kendall_w: float
    p_exact: float | None
    p_chi_square: float
    iman_davenport_f: float
    p_iman_davenport: float
    note: str = ""
    p_monte_carlo: float | None = None
    draws: int = 0

    @property
    def p_permutation(self) -> float:
        """The exact p, or its Monte Carlo estimate where there is no exact one."""
        if self.p_exact is not None:
            return self.p_exact
        return math.nan if self.p_monte_carlo is None else self.p_monte_carlo


def kendall_w(ranks: ArrayLike) -> float:
    """Kendall's concordance of the rows of (row, arm), tie-corrected: 1 for equal orders, nan if all tied."""
    scores = centred(mid_rank_table(checked_table(ranks, 2, "(row, arm)")))
    spread = float((scores**2).sum())
    return float((scores.sum(axis=0) ** 2).sum() / (len(scores) * spread)) if spread > 0 else math.nan


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
    table = checked_table(scores, 2, "(block, arm)")
    return friedman_within(table, null_distribution(whole_scores(table)))


def friedman_within(table: Table, distribution: RankSumDistribution) -> FriedmanResult:
    """`friedman` of a checked table whose null distribution is at hand."""
    blocks, arms = table.shape
    scores = centred(table)
    spread = float((scores**2).sum())
    if spread == 0:
        return FriedmanResult(blocks, arms, 0.0, math.nan, 1.0, 1.0, 0.0, 1.0, NO_PREFERENCE)
    statistic = (arms - 1) * float((scores.sum(axis=0) ** 2).sum()) / spread
    tail = distribution.tail_of_squares(int((whole_scores(table).sum(axis=0) ** 2).sum()))
    remainder = blocks * (arms - 1) - statistic
    notes = []
    if remainder <= 1e-9 * blocks:
        f_value = math.inf
        notes.append(UNANIMOUS)
    else:
        f_value = (blocks - 1) * statistic / remainder
    if distribution.draws:
        notes.append(
            f"The exact distribution of {arms} arms in {blocks} blocks is too large: p values are estimated "
            f"from {distribution.draws} random arrangements."
        )
    degrees = (arms - 1, (arms - 1) * (blocks - 1))
    return FriedmanResult(
        blocks=blocks,
        arms=arms,
        statistic=statistic,
        kendall_w=statistic / (blocks * (arms - 1)),
        p_exact=None if distribution.draws else tail,
        p_chi_square=float(stats.chi2.sf(statistic, arms - 1)),
        iman_davenport_f=f_value if blocks > 1 else math.nan,
        p_iman_davenport=float(stats.f.sf(f_value, *degrees)) if blocks > 1 else math.nan,
        note=" ".join(notes),
        p_monte_carlo=tail if distribution.draws else None,
        draws=distribution.draws,
    )


# Missing readings


@dataclass(frozen=True)
class SkillingsMackResult:
    """Omnibus test that also uses incomplete clips; `draws` is 0 where `p_permutation` is exact."""

    blocks: int
    arms: int
    readings: int
    readings_left_out: int
    statistic: float
    degrees_of_freedom: int
    p_chi_square: float
    p_permutation: float
    draws: int
    note: str = ""


def skillings_mack(ranks: ArrayLike, blocks: Sequence[Hashable] | None = None) -> SkillingsMackResult:
    """The Skillings-Mack test on readings with gaps, readers summed within a clip.

    A reading of fewer than two arms says nothing and is left out. Readings of one block are compared on the
    arms that all of them have, because the arms of a block are permuted jointly over its readings.

    Args:
        ranks: (reader, clip, arm) in any coding, NaN where missing.
        blocks: Subject of every clip, where subjects gave several clips; None takes the clip.

    Returns:
        `SkillingsMackResult`: chi-square p and permutation p, the latter exact for up to
        `MAXIMUM_ARRANGEMENTS` arrangements; p = 1 where no block says anything.

    Raises:
        StudyError: Other axes, or fewer than two arms.
    """
    array = np.asarray(ranks, dtype=np.float64)
    if array.ndim != 3 or array.size == 0 or array.shape[2] < 2:
        raise StudyError(
            f"A table with the axes (reader, clip, arm) and at least 2 arms is needed, but its shape is "
            f"{array.shape}."
        )
    arms = array.shape[2]
    places = np.arange(array.shape[1]) if blocks is None else block_places(blocks, array.shape[1])
    rows = []
    used = 0
    for place in range(int(places.max()) + 1):
        readings = array[:, places == place].reshape(-1, arms)
        readings = readings[np.isfinite(readings).sum(axis=1) >= 2]
        present = np.flatnonzero(np.isfinite(readings).all(axis=0))
        if len(readings) and len(present) >= 2:
            rows.append((present, _scaled_scores(readings[:, present])))
            used += len(readings)
    given = int(np.isfinite(array).any(axis=2).sum())
    total = np.zeros(arms)
    covariance = np.zeros((arms, arms))
    for present, scores in rows:
        total[present] += scores
        size = len(present)
        spread = float((scores**2).sum()) / (size - 1)
        covariance[np.ix_(present, present)] += spread * (np.eye(size) - 1 / size)
    degrees = int(np.linalg.matrix_rank(covariance))
    if degrees == 0:
        return SkillingsMackResult(
            len(rows), arms, used, given - used, 0.0, 0, 1.0, 1.0, 0, "No reading prefers any arm."
        )
    inverse = np.linalg.pinv(covariance, hermitian=True)
    statistic = float(total @ inverse @ total)
    sums, draws = _arrangements(rows, arms)
    # Arrangements that equal the observed one may differ from it by rounding.
    reached = np.einsum("ij,jk,ik->i", sums, inverse, sums) >= statistic * (1 - 1e-9) - 1e-12
    note = ""
    if degrees < arms - 1:
        note = "Some arms were never compared with each other, directly or through others."
    return SkillingsMackResult(
        blocks=len(rows),
        arms=arms,
        readings=used,
        readings_left_out=given - used,
        statistic=statistic,
        degrees_of_freedom=degrees,
        p_chi_square=float(stats.chi2.sf(statistic, degrees)),
        p_permutation=float(reached.mean()),
        draws=draws,
        note=note,
    )


def _scaled_scores(readings: Table) -> Table:
    size = readings.shape[1]
    return np.asarray(math.sqrt(12 / (size + 1)) * (mid_rank_table(readings) - (size + 1) / 2).sum(axis=0))


def _arrangements(
    rows: Sequence[tuple[NDArray[np.intp], Table]], arms: int
) -> tuple[NDArray[np.float64], int]:
    """Sums of all arrangements, or of the observed and random ones, and how many of these were drawn."""
    count = math.prod(math.factorial(len(present)) for present, _ in rows)
    if count <= MAXIMUM_ARRANGEMENTS:
        sums = np.zeros((1, arms))
        for present, scores in rows:
            orders = np.array(list(permutations(scores)))
            block = np.zeros((len(orders), arms))
            block[:, present] = orders
            sums = (sums[:, None] + block[None]).reshape(-1, arms)
        return sums, 0
    generator = np.random.default_rng(MONTE_CARLO_SEED)
    sums = np.zeros((MONTE_CARLO_DRAWS + 1, arms))
    for present, scores in rows:
        sums[0, present] += scores
        sums[1:, present] += generator.permuted(np.tile(scores, (MONTE_CARLO_DRAWS, 1)), axis=1)
    return sums, MONTE_CARLO_DRAWS
