"""Two checks on readers: whether they fall into camps, and whether they could tell the methods apart.

An average over readers hides two opposite preferences, so every reader's preferences are also given alone.
Guesses of the method behind a panel, asked after a reading, are judged per arm with n guesses, "do not know"
included, of which a share c is right and w wrong, among k methods::

    Bang   BI = c - w / (k - 1)                       0 by chance, 1 all right, -1/(k - 1) all wrong
    James  BI = (1 + P_DK + (1 - P_DK) K) / 2          1 blind ("do not know"), 0.5 chance, 0 unblinded
           K  = (P_o - P_e) / P_e                     P: share of guesses that are wrong, observed, expected

With two arms these are the published indices; the chance share 1 / k extends Bang's to more.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studies.errors import StudyError
from studies.statistics.effects import (
    MINIMUM_BOOTSTRAP_CLIPS,
    UNDEFINED,
    Interval,
    PairEffect,
    bootstrap_weights,
    mean_interval,
    percentiles,
    rank_effects,
)
from studies.statistics.tables import block_places, checked_table, mid_rank_table


@dataclass(frozen=True)
class ReaderCamp:
    """One reader's own preferences: a row of the reader-camps plot."""

    reader: str
    clips: int
    mean_rank: tuple[float, ...]
    mean_rank_interval: tuple[Interval, ...]
    effects: tuple[PairEffect, ...]


def reader_camps(
    ranks: ArrayLike,
    arms: Sequence[str],
    readers: Sequence[str],
    blocks: Sequence[Hashable] | None = None,
) -> list[ReaderCamp]:
    """Mean ranks and net preferences of every reader of (reader, clip, arm), with bootstrap intervals.

    Raises:
        StudyError: Gaps, other axes, or names that do not fit.
    """
    table = mid_rank_table(checked_table(ranks, 3, "(reader, clip, arm)"))
    if len(readers) != len(table) or len(arms) != table.shape[2]:
        raise StudyError(
            f"{len(table)} readers and {table.shape[2]} arms need as many names, but {len(readers)} and "
            f"{len(arms)} were given."
        )
    return [
        ReaderCamp(
            reader=reader,
            clips=table.shape[1],
            mean_rank=tuple(float(value) for value in own.mean(axis=0)),
            mean_rank_interval=tuple(mean_interval(own, blocks=blocks)),
            effects=tuple(rank_effects(own[None], arms, blocks)),
        )
        for reader, own in zip(readers, table, strict=True)
    ]


# Guesses


@dataclass(frozen=True)
class BangIndex:
    """Bang's blinding index of one arm; its normal interval takes guesses as independent."""

    arm: str
    right: int
    wrong: int
    unknown: int
    index: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True)
class BlindingResult:
    """Both blinding indices; the cluster interval draws whole clips, nan with few."""

    guesses: int
    james: float
    james_interval: Interval
    bang: tuple[BangIndex, ...]
    bang_cluster_intervals: tuple[Interval, ...]


def bang_index(arm: str, right: int, wrong: int, unknown: int, arms: int = 2) -> BangIndex:
    """Bang's index of one arm from counts of guesses, for `arms` methods to choose from.

    nan without any guess or "do not know".

    Raises:
        StudyError: Fewer than two methods to choose from.
    """
    if arms < 2:
        raise StudyError(f"A blinding index needs at least 2 methods to choose from, but there is {arms}.")
    total = right + wrong + unknown
    if total == 0:
        return BangIndex(arm, 0, 0, 0, math.nan, math.nan, UNDEFINED)
    share, miss, scale = right / total, wrong / total, 1 / (arms - 1)
    index = share - scale * miss
    variance = (share * (1 - share) + scale**2 * miss * (1 - miss) + 2 * scale * share * miss) / total
    error = math.sqrt(max(variance, 0.0))
    return BangIndex(arm, right, wrong, unknown, index, error, (index - 1.96 * error, index + 1.96 * error))


def james_index(counts: ArrayLike) -> float:
    """James' index from counts of guesses.

    Args:
        counts: (guess, true arm), the guesses in the order of the arms and "do not know" in the last row.

    Returns:
        0…1; 1 if nobody guessed, nan if there is no answer or chance could not be wrong.

    Raises:
        StudyError: The table is not (k + 1, k).
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] + 1 or table.shape[1] < 2:
        raise StudyError(f"Guesses need a table of k + 1 rows and k columns, but its shape is {table.shape}.")
    return float(_james(table))


def _james(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """James' index of tables (…, guess, arm)."""
    guesses = counts[..., :-1, :]
    guessed = guesses.sum(axis=(-2, -1))
    total = counts.sum(axis=(-2, -1))
    wrong = 1 - np.eye(counts.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = (wrong * guesses).sum(axis=(-2, -1)) / guessed
        expected = np.einsum("ab,...a,...b->...", wrong, guesses.sum(axis=-1), guesses.sum(axis=-2))
        excess = observed / (expected / guessed**2) - 1
        unknown = 1 - guessed / total
        index = (1 + unknown + (1 - unknown) * excess) / 2
    return np.asarray(np.where(guessed > 0, index, np.where(total > 0, 1.0, np.nan)))


def blinding_index(
    truth: Sequence[str], guesses: Sequence[str | None], arms: Sequence[str], blocks: Sequence[Hashable]
) -> BlindingResult:
    """Whether readers could tell the methods apart.

    Args:
        truth: True method of every panel that was asked for.
        guesses: The reader's guess, None for "do not know".
        arms: All methods.
        blocks: Clip (or subject) of every panel; guesses of one clip are dependent.

    Raises:
        StudyError: A method is none of the arms, or the lists have different lengths.
    """
    if not len(truth) == len(guesses) == len(blocks) or not truth:
        raise StudyError(
            f"Guesses need a method and a clip each, but there are {len(guesses)} guesses, {len(truth)} "
            f"methods and {len(blocks)} clips."
        )
    for name in (*truth, *guesses):
        if name is not None and name not in arms:
            raise StudyError(f"The guess '{name}' is none of the methods {', '.join(arms)}.")
    size = len(arms)
    places = block_places(blocks, len(blocks))
    by_block = np.zeros((int(places.max()) + 1, size + 1, size))
    for place, name, guess in zip(places, truth, guesses, strict=True):
        by_block[place, size if guess is None else arms.index(guess), arms.index(name)] += 1
    counts = by_block.sum(axis=0)
    drawn = None
    if len(by_block) >= MINIMUM_BOOTSTRAP_CLIPS:
        weights = bootstrap_weights(len(by_block))
        drawn = (weights @ by_block.reshape(len(by_block), -1)).reshape(-1, size + 1, size)
    return BlindingResult(
        guesses=len(truth),
        james=float(_james(counts)),
        james_interval=UNDEFINED if drawn is None else percentiles(_james(drawn)),
        bang=tuple(
            bang_index(
                arm,
                right=int(counts[place, place]),
                wrong=int(counts[:size, place].sum() - counts[place, place]),
                unknown=int(counts[size, place]),
                arms=size,
            )
            for place, arm in enumerate(arms)
        ),
        bang_cluster_intervals=tuple(
            UNDEFINED if drawn is None else percentiles(_bang(drawn, place)) for place in range(size)
        ),
    )


def _bang(counts: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    """Bang's index of one arm in tables (…, guess, arm)."""
    size = counts.shape[-1]
    column = counts[..., place]
    with np.errstate(divide="ignore", invalid="ignore"):
        right = column[..., place] / column.sum(axis=-1)
        wrong = (column[..., :size].sum(axis=-1) - column[..., place]) / column.sum(axis=-1)
    return np.asarray(right - wrong / (size - 1))
