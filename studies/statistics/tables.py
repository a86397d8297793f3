"""Tables of ranks as the tests take them: (reader, clip, arm), (clip, arm) and (block, arm).

The unit of inference is the clip, or the subject where one gave several clips. Mid-ranks are summed over the
readers of a clip and over the clips of a subject; nothing else turns readings into blocks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError

Table = NDArray[np.float64]

POOLING_REFUSED = (
    "Readings of one clip by several readers are not independent, so they are not pooled as blocks: ranks "
    "are summed over readers and the clip is the unit of inference."
)


def checked_table(values: ArrayLike, dimensions: int, axes: str) -> Table:
    """Return `values` as a float table without NaN. Raises `StudyError` that names the axes expected."""
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
    return np.asarray(mid_rank_table(checked_table(ranks, 3, "(reader, clip, arm)")).sum(axis=0))


def block_places(blocks: Sequence[Hashable], rows: int) -> NDArray[np.intp]:
    """Number of the block of every row, in order of first appearance. Raises StudyError on another length."""
    if len(blocks) != rows:
        raise StudyError(f"{rows} clips need {rows} block names, but {len(blocks)} were given.")
    places = {name: place for place, name in enumerate(dict.fromkeys(blocks))}
    return np.array([places[block] for block in blocks], dtype=np.intp)


def join_blocks(scores: ArrayLike, blocks: Sequence[Hashable]) -> Table:
    """Sum the rows of each block (the clips of a subject) to permute them together: (block, arm)."""
    table = checked_table(scores, 2, "(clip, arm)")
    places = block_places(blocks, len(table))
    joined = np.zeros((int(places.max()) + 1, table.shape[1]))
    np.add.at(joined, places, table)
    return joined


def average_blocks(values: Table, blocks: Sequence[Hashable] | None) -> Table:
    """Mean row of each block: (block, arm); the table itself where clips are the blocks."""
    if blocks is None:
        return values
    places = block_places(blocks, len(values))
    with np.errstate(invalid="ignore"):
        return np.stack([values[places == place].mean(axis=0) for place in range(int(places.max()) + 1)])


def centred(scores: Table) -> Table:
    """Every row less its mean."""
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def whole_scores(scores: Table) -> NDArray[np.int64]:
    """Rows of mid-rank sums as integers that sum to 0, in half ranks or coarser, so comparisons are exact.

    Raises:
        StudyError: The scores are no multiples of one half.
    """
    doubled = 2 * scores
    if not np.array_equal(doubled, np.rint(doubled)):
        raise StudyError("Exact tests need mid-ranks (multiples of one half); rank continuous values first.")
    arms = scores.shape[1]
    # k (2 c_ij) keeps integers for every k; for mid-ranks of 3 arms the row mean is an integer already.
    whole = np.rint(arms * doubled - doubled.sum(axis=1, keepdims=True)).astype(np.int64)
    divisor = int(np.gcd.reduce(np.abs(whole).ravel()))
    return whole // divisor if divisor > 1 else whole
