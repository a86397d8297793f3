"""What a study of n clips can show: the power of the planned tests, and their smallest p.

The effect model is Thurstone's: in a clip, arm j looks to a reader like x_j ~ Normal(mean_j, 1), smaller is
better, and arms whose x follow each other within `tie_sd` are tied (a chain of such arms is one tie). The
unit is the SD of one arm's appearance from clip to clip. One reader is modelled; more readers steady the
ranks of a clip but add no clips.

The tests are those of `studies.statistics`: exact Friedman, closed testing with exact sign tests, exact
single step and Nemenyi as published. Rule: as long as the ways in which n clips can fall onto the weak orders
are at most `MAXIMUM_OUTCOMES`, power is their total probability in the region of rejection, without any
simulation; beyond, it is a share of simulated studies with its standard error. From four arms on, and above
`MAXIMUM_EXACT_CLIPS` clips, each simulated study's permutation p is itself sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations, permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from studies import statistics
from studies.errors import StudyError
from studies.protocol import MAXIMUM_ARMS, MINIMUM_ARMS
from studies.ranking import competition, mid_ranks, weak_orders
from studies.statistics.pairs import MAXIMUM_CLOSED_ARMS, partitions

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Kind = Literal["exact", "simulated"]

MAXIMUM_OUTCOMES = 700_000
"""Ways to fall onto the 13 weak orders of 3 arms: 646 646 for 10 clips."""
MAXIMUM_EXACT_CLIPS = 24
MAXIMUM_CLIPS = 1000
SIMULATED_STUDIES = 4000
SAMPLED_STUDIES = 500
"""Simulated studies where the p of each is sampled too."""
ARRANGEMENTS = 199
SEED = 20240521
TIE_SD = 0.4
"""22 % of the pairs of equal arms are tied then."""
STEPS_SD = (0.6, 1.2)
WORSE_SD = 1.5
_GRID_STEP = 0.01
_GRID_MARGIN = 9.0
_PAIR = 2


@dataclass(frozen=True)
class PairPower:
    """Probability that two arms are declared different, by each procedure."""

    first: int
    second: int
    difference_sd: float
    closed: float
    nemenyi: float
    single_step: float


@dataclass(frozen=True)
class ScenarioPower:
    """Power of the planned tests if the arms differ as the scenario says."""

    name: str
    means_sd: tuple[float, ...]
    kind: Kind
    studies: int
    """Simulated studies; 0 where the power is exact."""
    omnibus: float
    """Probability that Friedman's test rejects."""
    any_closed: float
    any_nemenyi: float
    """Probability that at least one pair is declared different; without differences, the error rate."""
    pairs: tuple[PairPower, ...]

    @property
    def standard_error(self) -> float:
        """The largest Monte Carlo standard error of these probabilities; 0 where they are exact."""
        return 0.5 / math.sqrt(self.studies) if self.studies else 0.0

    @property
    def neighbours(self) -> tuple[PairPower, ...]:
        """The pairs of arms next to each other."""
        return tuple(pair for pair in self.pairs if pair.second == pair.first + 1)


@dataclass(frozen=True)
class Capability:
    """What n clips can show."""

    clips: int
    arms: int
    alpha: float
    tie_sd: float
    p_friedman: float
    """Smallest exact p of Friedman's test: all clips give one strict order."""
    p_closed: float
    """The adjusted p of every pair of arms in that case."""
    p_nemenyi_neighbours: float
    """Nemenyi's p of arms next to each other in that case."""
    p_nemenyi_extremes: float
    """Nemenyi's p of the first and the last arm in that case."""
    scenarios: tuple[ScenarioPower, ...]
    notes: tuple[str, ...]


def preference_shares(difference_sd: float, tie_sd: float = TIE_SD) -> tuple[float, float, float]:
    """Return how often the better of two arms is preferred, tied, and not, if it is better by so much."""
    better = float(special.ndtr((difference_sd - tie_sd) / math.sqrt(2)))
    worse = float(special.ndtr((-difference_sd - tie_sd) / math.sqrt(2)))
    return better, max(0.0, 1 - better - worse), worse


def order_probabilities(means_sd: Sequence[float], tie_sd: float = TIE_SD) -> dict[tuple[int, ...], float]:
    """Return the probability of every weak order (competition ranks) of 2 or 3 arms.

    For arms a, b, c from best to worst, with the middle one at t::

        P = ∫ φ(t − mean_b) P(x_a < t, tied or not) P(x_c > t, tied or not) dt

    on a grid fine enough for double precision.
    """
    arms = len(means_sd)
    found = dict.fromkeys(weak_orders(arms), 0.0)
    if arms == _PAIR:
        better, tied, worse = preference_shares(means_sd[1] - means_sd[0], tie_sd)
        return {(1, 2): better, (1, 1): tied, (2, 1): worse}
    means = np.asarray(means_sd, dtype=float)
    grid = np.arange(means.min() - _GRID_MARGIN, means.max() + _GRID_MARGIN, _GRID_STEP)
    for best, middle, worst in permutations(range(arms)):
        at = grid - means[middle]
        density = np.exp(-0.5 * at**2) / math.sqrt(2 * math.pi) * _GRID_STEP
        below, apart_below = special.ndtr(grid - means[best]), special.ndtr(grid - tie_sd - means[best])
        above, apart_above = special.ndtr(means[worst] - grid), special.ndtr(means[worst] - grid - tie_sd)
        for first_tied, lower in ((False, apart_below), (True, below - apart_below)):
            for last_tied, upper in ((False, apart_above), (True, above - apart_above)):
                level = [0] * arms
                level[middle] = 0 if first_tied else 1
                level[worst] = level[middle] + (0 if last_tied else 1)
                found[competition(level)] += float((density * lower * upper).sum())
    return found


def sampled_ranks(
    means_sd: Sequence[float], tie_sd: float, shape: tuple[int, ...], generator: np.random.Generator
) -> Floats:
    """Draw mid-ranks `(*shape, arm)` from the effect model."""
    seen = generator.standard_normal((*shape, len(means_sd))) + np.asarray(means_sd)
    order = np.argsort(seen, axis=-1)
    gaps = np.diff(np.take_along_axis(seen, order, axis=-1), axis=-1)
    level = np.concatenate([np.zeros((*shape, 1)), np.cumsum(gaps > tie_sd, axis=-1)], axis=-1)
    levels = np.empty_like(seen)
    np.put_along_axis(levels, order, level, axis=-1)
    return statistics.mid_rank_table(levels)


# Regions of rejection


@dataclass(frozen=True, eq=False)
class _Rejections:
    """What is rejected in every outcome (row): Friedman's test, and each pair (column) by each procedure."""

    omnibus: NDArray[np.bool_]
    closed: NDArray[np.bool_]
    nemenyi: NDArray[np.bool_]
    single_step: NDArray[np.bool_]


def _pairs(arms: int) -> list[tuple[int, int]]:
    return [(first, second) for first in range(arms) for second in range(first + 1, arms)]


@lru_cache(maxsize=8)
def _sign_table(clips: int) -> Floats:
    """`statistics.sign_test_p` by wins and losses, all at once."""
    wins, losses = np.indices((clips + 1, clips + 1))
    return np.minimum(1.0, 2 * special.bdtr(np.minimum(wins, losses), wins + losses, 0.5))


@lru_cache(maxsize=20_000)
def _tails(patterns: tuple[tuple[tuple[int, ...], int], ...]) -> tuple[Integers, Floats, Integers, Floats]:
    """Values and upper tails of the sum of squares and the range, given how many clips have which ties."""
    rows = [pattern for pattern, count in patterns for _ in range(count)]
    distribution = statistics.rank_sum_distribution(np.array(rows, dtype=np.int64))
    if distribution is None:
        raise StudyError("There are too many clips for an exact distribution.")
    squares = (distribution.sums**2).sum(axis=1)
    ranges = np.ptp(distribution.sums, axis=1)
    return *_upper_tail(squares, distribution.probability), *_upper_tail(ranges, distribution.probability)


def _upper_tail(values: Integers, probability: Floats) -> tuple[Integers, Floats]:
    levels, place = np.unique(values, return_inverse=True)
    weight = np.bincount(place.ravel(), weights=probability, minlength=len(levels))
    return levels, np.minimum(1.0, np.cumsum(weight[::-1])[::-1])


def _rejections(counts: Integers, orders: Sequence[tuple[int, ...]], alpha: float) -> _Rejections:
    """Test outcomes given as counts of weak orders (row, order), for 2 or 3 arms."""
    ranks = np.array([mid_ranks(order) for order in orders])
    arms, clips = ranks.shape[1], int(counts[0].sum())
    # Doubled and centred, mid-ranks are whole numbers.
    scores = np.rint(2 * ranks - (arms + 1)).astype(np.int64)
    sums = counts @ scores
    pattern_of = [tuple(sorted(row)) for row in scores.tolist()]
    patterns = sorted(set(pattern_of))
    member = np.array([[pattern == kind for kind in patterns] for pattern in pattern_of], dtype=np.int64)
    kinds, kind_of = np.unique(counts @ member, axis=0, return_inverse=True)
    pairs = _pairs(arms)
    gaps = np.stack([np.abs(sums[:, i] - sums[:, j]) for i, j in pairs], axis=1)
    squares = (sums**2).sum(axis=1)
    p_omnibus = np.empty(len(counts))
    p_single = np.empty(gaps.shape)
    by_kind = np.argsort(kind_of.ravel(), kind="stable")
    bounds = np.searchsorted(kind_of.ravel()[by_kind], np.arange(len(kinds) + 1))
    for number, kind in enumerate(kinds.tolist()):
        rows = by_kind[bounds[number] : bounds[number + 1]]
        square_levels, square_tail, range_levels, range_tail = _tails(tuple(zip(patterns, kind, strict=True)))
        p_omnibus[rows] = square_tail[np.searchsorted(square_levels, squares[rows])]
        # Differences of a pair need not be ranges that can occur; the tail from the next range on is theirs.
        place = np.searchsorted(range_levels, gaps[rows])
        p_single[rows] = np.append(range_tail, 0.0)[place]
    wins = np.stack([counts @ (ranks[:, i] < ranks[:, j]).astype(np.int64) for i, j in pairs], axis=1)
    losses = np.stack([counts @ (ranks[:, i] > ranks[:, j]).astype(np.int64) for i, j in pairs], axis=1)
    p_closed = _sign_table(clips)[wins, losses]
    if arms > _PAIR:
        # Two equalities of three arms imply the third, so this is the whole closure.
        p_closed = np.maximum(p_closed, p_omnibus[:, None])
    least = statistics.nemenyi_critical_difference(clips, arms, alpha)
    return _Rejections(p_omnibus <= alpha, p_closed <= alpha, gaps / (2 * clips) >= least, p_single <= alpha)


def _sampled_rejections(tables: Floats, alpha: float, generator: np.random.Generator) -> _Rejections:
    """Test mid-ranks (study, clip, arm) of any number of arms; permutation p values are sampled."""
    _, clips, arms = tables.shape
    pairs = _pairs(arms)
    scores = tables - tables.mean(axis=2, keepdims=True)
    sums = scores.sum(axis=1)
    gaps = np.stack([np.abs(sums[:, i] - sums[:, j]) for i, j in pairs], axis=1)
    wins = np.stack([(tables[..., i] < tables[..., j]).sum(axis=1) for i, j in pairs], axis=1)
    losses = np.stack([(tables[..., i] > tables[..., j]).sum(axis=1) for i, j in pairs], axis=1)
    signs = _sign_table(clips)[wins, losses]
    p_values: dict[tuple[int, ...], Floats] = {pair: signs[:, place] for place, pair in enumerate(pairs)}
    everything = tuple(range(arms))
    p_single = np.ones(gaps.shape)
    sizes = range(3, arms + 1) if arms <= MAXIMUM_CLOSED_ARMS else (arms,)
    for size in sizes:
        shuffles = generator.permuted(np.tile(np.arange(size), (ARRANGEMENTS, clips, 1)), axis=2)
        for group in combinations(everything, size):
            columns = tables[:, :, group]
            columns = columns - columns.mean(axis=2, keepdims=True)
            squares = (columns.sum(axis=1) ** 2).sum(axis=1)
            reached = np.ones(len(tables))
            beyond = np.ones(gaps.shape)
            for shuffle in shuffles:
                other = np.take_along_axis(columns, shuffle[None], axis=2).sum(axis=1)
                # Sums of halves and thirds differ by rounding where they are equal.
                reached += (other**2).sum(axis=1) >= squares - 1e-9
                if group == everything:
                    beyond += np.ptp(other, axis=1)[:, None] >= gaps - 1e-9
            p_values[group] = reached / (ARRANGEMENTS + 1)
            if group == everything:
                p_single = beyond / (ARRANGEMENTS + 1)
    omnibus = p_values[everything]
    if arms > MAXIMUM_CLOSED_ARMS:
        closed = np.array([statistics.holm(row) for row in signs.tolist()])
    else:
        closed = _closure(p_values, everything)
    least = statistics.nemenyi_critical_difference(clips, arms, alpha)
    return _Rejections(omnibus <= alpha, closed <= alpha, gaps / clips >= least - 1e-9, p_single <= alpha)


def _closure(p_values: dict[tuple[int, ...], Floats], everything: tuple[int, ...]) -> Floats:
    """Adjusted p (study, pair): the largest over all partitions that keep the pair together."""
    pairs = _pairs(len(everything))
    adjusted = np.zeros((len(p_values[everything]), len(pairs)))
    for partition in partitions(everything):
        alike = [group for group in partition if len(group) > 1]
        if alike:
            p_value = np.minimum(1.0, len(alike) * np.min([p_values[group] for group in alike], axis=0))
            for group in alike:
                for first, second in combinations(group, _PAIR):
                    place = pairs.index((first, second))
                    adjusted[:, place] = np.maximum(adjusted[:, place], p_value)
    return adjusted


# Power


def outcomes(clips: int, orders: int) -> Integers:
    """All ways in which so many clips can fall onto so many orders: (outcome, order)."""
    bars = np.fromiter(
        chain.from_iterable(combinations(range(clips + orders - 1), orders - 1)),
        dtype=np.int64,
        count=math.comb(clips + orders - 1, orders - 1) * (orders - 1),
    ).reshape(-1, orders - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, clips + orders - 1)))
    return np.diff(edges, axis=1) - 1


@lru_cache(maxsize=4)
def _all_rejections(clips: int, arms: int, alpha: float, tied: bool) -> tuple[Integers, _Rejections]:
    """Every outcome and what is rejected in it; the same for all scenarios."""
    counts = outcomes(clips, len(_orders(arms, tied)))
    return counts, _rejections(counts, _orders(arms, tied), alpha)


def _orders(arms: int, tied: bool) -> list[tuple[int, ...]]:
    return [order for order in weak_orders(arms) if tied or len(set(order)) == arms]


def scenario_power(
    name: str, means_sd: Sequence[float], clips: int, *, alpha: float = 0.05, tie_sd: float = TIE_SD
) -> ScenarioPower:
    """Compute the power of the planned tests in one scenario.

    Args:
        name: of the scenario.
        means_sd: mean appearance of every arm in SD, smaller is better; 2 to 6 arms.
        clips: number of clips (or of subjects, where they gave several), 1 to `MAXIMUM_CLIPS`.
        alpha: significance level.
        tie_sd: arms closer than this are tied.

    Raises:
        StudyError: when a number is out of range.
    """
    arms = len(means_sd)
    _check(clips, arms, alpha, tie_sd)
    kinds = len(_orders(arms, tie_sd > 0)) if arms <= 3 else 0
    studies = 0
    kind: Kind = "simulated"
    generator = np.random.default_rng(SEED)
    if kinds and math.comb(clips + kinds - 1, kinds - 1) <= MAXIMUM_OUTCOMES and clips <= _longest(arms):
        counts, found = _all_rejections(clips, arms, alpha, tie_sd > 0)
        weight = _multinomial(counts, _probabilities(means_sd, tie_sd))
        kind = "exact"
    elif kinds and clips <= MAXIMUM_EXACT_CLIPS:
        studies = SIMULATED_STUDIES
        drawn = generator.multinomial(clips, _probabilities(means_sd, tie_sd), size=studies)
        counts, times = np.unique(drawn, axis=0, return_counts=True)
        found = _rejections(counts, _orders(arms, tie_sd > 0), alpha)
        weight = times / studies
    else:
        studies = SAMPLED_STUDIES
        tables = sampled_ranks(means_sd, tie_sd, (studies, clips), generator)
        found = _sampled_rejections(tables, alpha, generator)
        weight = np.full(studies, 1 / studies)
    pairs = [
        PairPower(
            first=i,
            second=j,
            difference_sd=abs(means_sd[j] - means_sd[i]),
            closed=_total(weight, found.closed[:, place]),
            nemenyi=_total(weight, found.nemenyi[:, place]),
            single_step=_total(weight, found.single_step[:, place]),
        )
        for place, (i, j) in enumerate(_pairs(arms))
    ]
    return ScenarioPower(
        name=name,
        means_sd=tuple(means_sd),
        kind=kind,
        studies=studies,
        omnibus=_total(weight, found.omnibus),
        any_closed=_total(weight, np.asarray(found.closed.any(axis=1))),
        any_nemenyi=_total(weight, np.asarray(found.nemenyi.any(axis=1))),
        pairs=tuple(pairs),
    )


def _longest(arms: int) -> int:
    """Clips up to which all outcomes are enumerated, however few orders there are."""
    return 200 if arms == _PAIR else MAXIMUM_EXACT_CLIPS


def _probabilities(means_sd: Sequence[float], tie_sd: float) -> Floats:
    found = order_probabilities(means_sd, tie_sd)
    chosen = np.array([found[order] for order in _orders(len(means_sd), tie_sd > 0)])
    return chosen / chosen.sum()


def _multinomial(counts: Integers, probabilities: Floats) -> Floats:
    """Probability of every outcome."""
    logarithm = special.xlogy(counts, probabilities) - special.gammaln(counts + 1)
    return np.exp(logarithm.sum(axis=1) + special.gammaln(counts[0].sum() + 1))


def _total(weight: Floats, chosen: NDArray[np.bool_]) -> float:
    return min(1.0, float(weight[chosen].sum()))


def scenarios(arms: int, steps_sd: Sequence[float] = STEPS_SD) -> list[tuple[str, tuple[float, ...]]]:
    """Return the usual scenarios: no difference, one arm worse than the others, arms in steps."""
    found: list[tuple[str, tuple[float, ...]]] = [
        ("no difference", (0.0,) * arms),
        (f"last arm worse by {WORSE_SD:g} SD", (*(0.0,) * (arms - 1), WORSE_SD)),
    ]
    for step in steps_sd:
        found.append((f"steps of {step:g} SD", tuple(step * arm for arm in range(arms))))
    return found


def what_can_n_show(
    clips: int,
    arms: int = 3,
    *,
    alpha: float = 0.05,
    tie_sd: float = TIE_SD,
    steps_sd: Sequence[float] = STEPS_SD,
) -> Capability:
    """Return smallest p values, power in the usual scenarios, and what the tests cannot show.

    Args:
        clips: number of clips, or of subjects where they gave several.
        arms: number of arms, 2 to 6.
        alpha: significance level.
        tie_sd: arms closer than this are tied.
        steps_sd: differences of neighbouring arms.

    Raises:
        StudyError: when a number is out of range.
    """
    _check(clips, arms, alpha, tie_sd)
    found = tuple(
        scenario_power(name, means, clips, alpha=alpha, tie_sd=tie_sd)
        for name, means in scenarios(arms, steps_sd)
    )
    # All clips in one strict order: the extreme outcome is reached by each of the k! orders.
    p_friedman = float(math.factorial(arms)) ** (1 - clips)
    p_sign = statistics.sign_test_p(clips, 0)
    # The hypothesis hardest to reject is that of two pairs alike, from four arms on, or Holm's first step.
    factor = 1 if arms <= 3 else 2 if arms <= MAXIMUM_CLOSED_ARMS else len(_pairs(arms))
    p_closed = min(1.0, factor * p_sign)
    notes = []
    if p_closed > alpha:
        notes.append(
            f"No pair of arms can be told apart with N = {clips}: even if all clips agree, the exact "
            f"test gives p = {p_closed:.3g}."
        )
    if arms > _PAIR and (note := statistics.nemenyi_limit_note(clips, arms, alpha)):
        notes.append(note)
    return Capability(
        clips=clips,
        arms=arms,
        alpha=alpha,
        tie_sd=tie_sd,
        p_friedman=p_friedman,
        p_closed=p_closed,
        p_nemenyi_neighbours=statistics.nemenyi_p(1.0, clips, arms),
        p_nemenyi_extremes=statistics.nemenyi_p(arms - 1.0, clips, arms),
        scenarios=found,
        notes=tuple(notes),
    )


def _check(clips: int, arms: int, alpha: float, tie_sd: float) -> None:
    if not 1 <= clips <= MAXIMUM_CLIPS:
        raise StudyError(f"Power is computed for 1 to {MAXIMUM_CLIPS} clips, not for {clips}.")
    if not MINIMUM_ARMS <= arms <= MAXIMUM_ARMS:
        raise StudyError(f"Power is computed for {MINIMUM_ARMS} to {MAXIMUM_ARMS} arms, not for {arms}.")
    if not 0 < alpha < 1:
        raise StudyError(f"The significance level is {alpha}, but it must lie between 0 and 1.")
    if not 0 <= tie_sd < math.inf:
        raise StudyError(f"The distance below which arms are tied is {tie_sd} SD, but it must be 0 or more.")
