"""One endpoint in one group of clips: means, omnibus test, pairs, effects and what must be said about them.

Ranks of several readers are summed per clip and the clips of a subject are permuted together; measured
endpoints (SNR, sharpness) go through the same tests on their ranks within the clip, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError
from studies.statistics.effects import (
    PairEffect,
    ShapiroResult,
    mean_interval,
    rank_effects,
    shapiro_of_differences,
    value_effects,
)
from studies.statistics.omnibus import FriedmanResult, friedman, friedman_within
from studies.statistics.pairs import PairResult, compare_pairs_within, nemenyi_limit_note
from studies.statistics.permutation import null_distribution
from studies.statistics.tables import (
    POOLING_REFUSED,
    Table,
    average_blocks,
    checked_table,
    clip_scores,
    join_blocks,
    mid_rank_table,
    whole_scores,
)


@dataclass(frozen=True)
class EndpointResult:
    """One endpoint in one group of clips.

    `mean` and `sd` are of the endpoint itself: of all reader × clip ranks for rankings (in the coding
    named), of the clips' values for measurements; `sd` has N - 1 and describes spread, no test uses it.
    `interval` is the bootstrap interval of the mean over blocks. `mean_rank` is the mean rank within clips,
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
    effects: tuple[PairEffect, ...]


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
    if len(arms) != scores.shape[1]:
        raise StudyError(f"The table has {scores.shape[1]} arms, but {len(arms)} names were given.")
    table = scores if blocks is None else join_blocks(scores, blocks)
    notes = []
    if len(table) < len(scores):
        notes.append(
            f"{len(scores)} clips come from {len(table)} subjects: clips of one subject are permuted "
            "together, the subject is the unit of inference here."
        )
    whole = whole_scores(table)
    distribution = null_distribution(whole)
    omnibus = friedman_within(table, distribution)
    pairs = tuple(compare_pairs_within(table, whole, distribution, omnibus, arms))
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
    table = checked_table(array, 3, "(reader, clip, arm)")
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
        interval=tuple(mean_interval(coded.mean(axis=0), blocks=blocks)),
        mean_rank=_floats(mid_rank_table(table).mean(axis=(0, 1))),
        omnibus=omnibus,
        pairs=pairs,
        shapiro=(),
        notes=tuple(notes),
        effects=tuple(rank_effects(table, arms, blocks)),
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
        `EndpointResult` with Shapiro-Wilk of the paired differences (of the blocks' means).

    Raises:
        StudyError: Other axes, or missing values.
    """
    table = checked_table(values, 2, "(clip, arm)")
    scores = mid_rank_table(table, higher_is_better=higher_is_better)
    omnibus, pairs, count, notes = _tests(scores, arms, blocks)
    with np.errstate(invalid="ignore"):
        means = average_blocks(table, blocks)
        mean = _floats(table.mean(axis=0))
    return EndpointResult(
        arms=tuple(arms),
        readers=0,
        clips=len(table),
        blocks=count,
        mean=mean,
        sd=_sd(table),
        interval=tuple(mean_interval(table, blocks=blocks)),
        mean_rank=_floats(scores.mean(axis=0)),
        omnibus=omnibus,
        pairs=pairs,
        # Infinite values of both signs in one subject have no mean, and no normality either.
        shapiro=tuple(shapiro_of_differences(np.where(np.isnan(means), np.inf, means), arms)),
        notes=tuple(notes),
        effects=tuple(value_effects(table, arms, higher_is_better=higher_is_better, blocks=blocks)),
    )


def position_effect(ranks_by_position: ArrayLike) -> FriedmanResult:
    """Whether a place on the screen was favoured: the same test on ranks (reader, clip, position).

    Sound because the positions were randomised: without a position effect every order of places is equally
    likely. They are drawn anew for every clip, so clips of one subject need not be joined.
    """
    return friedman(clip_scores(ranks_by_position))
