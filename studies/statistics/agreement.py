"""How readers agree, with each other and with themselves: coefficients with intervals, never a test alone.

Coefficients take items × raters. With q categories, weights w (1 on the diagonal) and p_a the weighted share
of agreeing pairs of raters::

    kappa  = (p_a - p_e) / (1 - p_e)      p_e = sum_ab w_ab p_a. p_.b                  two raters
    AC2    = (p_a - p_e) / (1 - p_e)      p_e = sum(w) / (q (q - 1)) sum_a pi_a (1 - pi_a)       Gwet
    alpha  = 1 - D_o / D_e                D from coincidences and squared (ordinal) distances    Krippendorff

Rankings become items as pairwise preferences (worse, tie, better). Each pair of methods enters in both
directions, since which of the two is named first means nothing: so no coefficient depends on the methods'
names, and for two readers without ties kappa is the mean of Kendall's tau. The items of a clip are
dependent: intervals draw whole clips (or subjects).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError
from studies.statistics.effects import (
    MINIMUM_BOOTSTRAP_CLIPS,
    UNDEFINED,
    Interval,
    bootstrap_weights,
    mean_interval,
    percentiles,
)
from studies.statistics.omnibus import kendall_w
from studies.statistics.tables import block_places, checked_table, mid_rank_table

Array = NDArray[np.float64]
PREFERENCES = (-1.0, 0.0, 1.0)
"""Categories of a pairwise preference: worse, tie, better."""


# Coefficients of any categories


def agreement_weights(categories: Sequence[float], kind: str = "quadratic") -> Array:
    """Weights of agreement between ordered categories: 1 on the diagonal, 0 between the extremes.

    Args:
        categories: Their values, at least two.
        kind: "identity", "linear" or "quadratic".

    Raises:
        StudyError: Another kind, or fewer than two categories.
    """
    values = np.asarray(categories, dtype=np.float64)
    if values.size < 2 or np.ptp(values) == 0:
        raise StudyError(
            f"Agreement needs at least 2 different categories, but {list(categories)} are given."
        )
    distance = np.abs(np.subtract.outer(values, values)) / np.ptp(values)
    if kind == "identity":
        return (distance == 0).astype(np.float64)
    if kind not in ("linear", "quadratic"):
        raise StudyError(f"Weights are 'identity', 'linear' or 'quadratic', not '{kind}'.")
    return np.asarray(1 - (distance if kind == "linear" else distance**2))


def _counts(ratings: ArrayLike, categories: Sequence[float]) -> Array:
    """How many raters chose each category: (item, category); NaN is no rating."""
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise StudyError(f"Ratings need the axes (item, rater), but the shape is {table.shape}.")
    counts = np.stack([(table == value).sum(axis=1) for value in categories], axis=1).astype(np.float64)
    if counts.sum() != np.isfinite(table).sum():
        unknown = sorted(set(table[np.isfinite(table)]) - set(categories))
        raise StudyError(f"The rating {unknown[0]:g} is none of the categories {list(categories)}.")
    return counts


def weighted_kappa(
    first: ArrayLike, second: ArrayLike, categories: Sequence[float], weights: str = "quadratic"
) -> float:
    """Cohen's weighted kappa of two raters; items that one of them left out are not used.

    nan where chance agreement is complete. The numbers of `categories` give the distances.
    """
    pair = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)], axis=1)
    pair = pair[np.isfinite(pair).all(axis=1)]
    one, other = (_counts(pair[:, [rater]], categories) for rater in range(2))
    return float(_kappa(one.T @ other, agreement_weights(categories, weights)))


def _kappa(counts: Array, weights: Array) -> Array:
    """Weighted kappa of count tables (…, category, category)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / counts.sum(axis=(-2, -1), keepdims=True)
        observed = (weights * shares).sum(axis=(-2, -1))
        expected = np.einsum("ab,...a,...b->...", weights, shares.sum(axis=-1), shares.sum(axis=-2))
        return np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)


def gwet_ac2(ratings: ArrayLike, categories: Sequence[float], weights: str = "quadratic") -> float:
    """Gwet's AC2 (AC1 with identity weights) of any number of raters: (item, rater), NaN where missing.

    nan where no item has two ratings.
    """
    table = agreement_weights(categories, weights)
    return float(_ac2(_ac2_parts(_counts(ratings, categories), table).sum(axis=0), table))


def _ac2_parts(counts: Array, weights: Array) -> Array:
    """What AC2 sums over items: agreement, items with two ratings, shares of categories, items with one."""
    raters = counts.sum(axis=1)
    agreeing = (counts * (counts @ weights - 1)).sum(axis=1) / np.maximum(raters * (raters - 1), 1)
    shares = counts / np.maximum(raters, 1)[:, None]
    several = (raters > 1).astype(np.float64)
    return np.column_stack([agreeing * several, several, shares, raters > 0])


def _ac2(parts: Array, weights: Array) -> Array:
    """AC2 from sums (…, part) of `_ac2_parts`."""
    size = len(weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = parts[..., 0] / parts[..., 1]
        prevalence = parts[..., 2:-1] / parts[..., -1:]
        expected = weights.sum() / (size * (size - 1)) * (prevalence * (1 - prevalence)).sum(axis=-1)
        return np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)


def krippendorff_alpha(ratings: ArrayLike, categories: Sequence[float], level: str = "ordinal") -> float:
    """Krippendorff's alpha of any number of raters.

    Args:
        ratings: (item, rater), NaN where missing.
        categories: All categories, in order; their numbers count for "interval" only.
        level: "nominal", "ordinal" or "interval".

    Returns:
        Alpha; nan where all ratings are equal or no item has two.

    Raises:
        StudyError: Another level, or a rating outside the categories.
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise StudyError(f"Alpha is 'nominal', 'ordinal' or 'interval', not '{level}'.")
    return float(_alpha(_coincidences(_counts(ratings, categories)).sum(axis=0), categories, level))


def _coincidences(counts: Array) -> Array:
    """Coincidence matrix of every item: (item, category, category); items with one rating give zeros."""
    raters = counts.sum(axis=1)
    pairs = np.einsum("ia,ib->iab", counts, counts) - np.einsum("ia,ab->iab", counts, np.eye(counts.shape[1]))
    return np.asarray(pairs / np.maximum(raters - 1, 1)[:, None, None])


def _alpha(coincidences: Array, categories: Sequence[float], level: str = "ordinal") -> Array:
    """Alpha from coincidence matrices (…, category, category)."""
    totals = coincidences.sum(axis=-1)
    if level == "ordinal":
        place = np.cumsum(totals, axis=-1) - totals / 2
        distance = (place[..., :, None] - place[..., None, :]) ** 2
    else:
        values = np.asarray(categories, dtype=np.float64)
        difference = np.subtract.outer(values, values)
        distance = difference**2 if level == "interval" else (difference != 0).astype(np.float64)
    observed = (coincidences * distance).sum(axis=(-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * distance).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        # With one kind of rating there is no disagreement to expect, and nothing to say.
        return np.where(expected > 0, 1 - (totals.sum(axis=-1) - 1) * observed / expected, np.nan)


# Rankings as preferences


def preferences(ranks: ArrayLike) -> Array:
    """Pairwise preferences of rankings, every pair in both directions.

    Args:
        ranks: (reader, clip, arm) in any coding, NaN where missing.

    Returns:
        (clip, ordered pair of arms, reader): 1 where the pair's first arm is better, 0 tied, -1 worse, NaN
        where a rank is missing.
    """
    table = np.asarray(ranks, dtype=np.float64)
    pairs = list(permutations(range(table.shape[2]), 2))
    signs = np.stack([np.sign(table[:, :, j] - table[:, :, i]) for i, j in pairs], axis=-1)
    return np.asarray(np.moveaxis(signs, 0, -1))


def _per_block(parts: Array, clips: int, blocks: Sequence[Hashable] | None) -> Array:
    """Sum parts of items (clip × pair, …) over the items of every block: (block, …)."""
    by_clip = parts.reshape(clips, -1, *parts.shape[1:]).sum(axis=1)
    if blocks is None:
        return np.asarray(by_clip)
    places = block_places(blocks, clips)
    joined = np.zeros((int(places.max()) + 1, *by_clip.shape[1:]))
    np.add.at(joined, places, by_clip)
    return joined


def _drawn(parts: Array) -> Array | None:
    """Bootstrap sums of parts (block, …): (draw, …); None with too few blocks."""
    if len(parts) < MINIMUM_BOOTSTRAP_CLIPS:
        return None
    drawn = bootstrap_weights(len(parts)) @ parts.reshape(len(parts), -1)
    return np.asarray(drawn.reshape(-1, *parts.shape[1:]))


@dataclass(frozen=True)
class AgreementResult:
    """Agreement of two readings of the same clips; intervals are bootstraps over clips, nan with few."""

    first: str
    second: str
    clips: int
    identical_orders: float
    identical_preferences: float
    kappa_quadratic: float
    kappa_interval: Interval
    gwet_ac2: float
    gwet_ac2_interval: Interval
    kendall_tau_b: float
    """Mean over the clips in which neither ties everything."""


def reader_agreement(
    first_ranks: ArrayLike,
    second_ranks: ArrayLike,
    names: tuple[str, str],
    blocks: Sequence[Hashable] | None = None,
) -> AgreementResult:
    """Agreement of two readers, or of one reader with hidden repeats, on orders and pairwise preferences.

    Args:
        first_ranks: (clip, arm) of the first reader.
        second_ranks: (clip, arm) of the second, the same clips in the same order.
        names: The readers.
        blocks: Subject of every clip, where subjects gave several clips; None takes the clip.

    Returns:
        `AgreementResult`. The pairs of a clip are dependent, so intervals draw whole clips or subjects.

    Raises:
        StudyError: The tables have different shapes or gaps.
    """
    first = mid_rank_table(checked_table(first_ranks, 2, "(clip, arm)"))
    second = mid_rank_table(checked_table(second_ranks, 2, "(clip, arm)"))
    if first.shape != second.shape:
        raise StudyError(
            f"Two readers need the same clips, but their tables are {first.shape} and {second.shape}."
        )
    clips = len(first)
    items = preferences(np.stack([first, second])).reshape(-1, 2)
    weights = agreement_weights(PREFERENCES)
    one, other = _counts(items[:, :1], PREFERENCES), _counts(items[:, 1:], PREFERENCES)
    tables = _per_block(np.einsum("ia,ib->iab", one, other), clips, blocks)
    parts = _per_block(_ac2_parts(one + other, weights), clips, blocks)
    drawn_tables, drawn_parts = _drawn(tables), _drawn(parts)
    taus = [float(stats.kendalltau(a, b).statistic) for a, b in zip(first, second, strict=True)]
    defined = [tau for tau in taus if math.isfinite(tau)]
    return AgreementResult(
        first=names[0],
        second=names[1],
        clips=clips,
        identical_orders=float((first == second).all(axis=1).mean()),
        identical_preferences=float((items[:, 0] == items[:, 1]).mean()),
        kappa_quadratic=float(_kappa(tables.sum(axis=0), weights)),
        kappa_interval=UNDEFINED if drawn_tables is None else percentiles(_kappa(drawn_tables, weights)),
        gwet_ac2=float(_ac2(parts.sum(axis=0), weights)),
        gwet_ac2_interval=UNDEFINED if drawn_parts is None else percentiles(_ac2(drawn_parts, weights)),
        kendall_tau_b=math.fsum(defined) / len(defined) if defined else math.nan,
    )


@dataclass(frozen=True)
class ReadersAgreement:
    """Agreement of all readers of a group at once; intervals are bootstraps over clips, nan with few."""

    readers: int
    clips: int
    krippendorff_alpha: float
    alpha_interval: Interval
    gwet_ac2: float
    gwet_ac2_interval: Interval
    kendall_w_mean: float
    """Mean over clips of Kendall's W between readers, less clips that a reader missed or all tie."""
    kendall_w_interval: Interval
    kendall_w_counts: tuple[tuple[float, int], ...]
    """Every value of W that occurs and in how many clips: with few readers and arms there are few."""


def readers_agreement(ranks: ArrayLike, blocks: Sequence[Hashable] | None = None) -> ReadersAgreement:
    """Agreement of any number of readers on pairwise preferences and whole orders.

    Args:
        ranks: (reader, clip, arm) in any coding, NaN where a rank is missing.
        blocks: Subject of every clip, where subjects gave several clips; None takes the clip.

    Raises:
        StudyError: Other axes, or fewer than two readers.
    """
    table = np.asarray(ranks, dtype=np.float64)
    if table.ndim != 3 or table.shape[0] < 2:
        raise StudyError(
            f"Agreement needs the axes (reader, clip, arm) and two readers, but the shape is {table.shape}."
        )
    clips = table.shape[1]
    counts = _counts(preferences(table).reshape(-1, table.shape[0]), PREFERENCES)
    weights = agreement_weights(PREFERENCES)
    coincidences = _per_block(_coincidences(counts), clips, blocks)
    parts = _per_block(_ac2_parts(counts, weights), clips, blocks)
    drawn_coincidences, drawn_parts = _drawn(coincidences), _drawn(parts)
    complete = np.flatnonzero(np.isfinite(table).all(axis=(0, 2)))
    by_clip = {int(clip): kendall_w(table[:, clip]) for clip in complete}
    defined = [clip for clip, value in by_clip.items() if math.isfinite(value)]
    values = np.array([by_clip[clip] for clip in defined])
    names = list(range(clips)) if blocks is None else list(blocks)
    return ReadersAgreement(
        readers=table.shape[0],
        clips=clips,
        krippendorff_alpha=float(_alpha(coincidences.sum(axis=0), PREFERENCES)),
        alpha_interval=UNDEFINED
        if drawn_coincidences is None
        else percentiles(_alpha(drawn_coincidences, PREFERENCES)),
        gwet_ac2=float(_ac2(parts.sum(axis=0), weights)),
        gwet_ac2_interval=UNDEFINED if drawn_parts is None else percentiles(_ac2(drawn_parts, weights)),
        kendall_w_mean=float(values.mean()) if defined else math.nan,
        kendall_w_interval=mean_interval(values[:, None], blocks=[names[clip] for clip in defined])[0]
        if defined
        else UNDEFINED,
        kendall_w_counts=tuple(sorted(Counter(round(value, 6) for value in values.tolist()).items())),
    )
