"""Weak orders of k movies: what a reader says when ranking with ties, in its three usual codings.

A ranking is a weak order (better, or as good as); the digits typed for it are only a notation. For the
order "two equal best, one worse" the notations are::

    competition  (1, 1, 3)      1 + number of movies that are better
    dense        (1, 1, 2)      1 + number of better tie groups
    mid          (1.5, 1.5, 3)  mean of the places that a tie group takes; always sums to k (k + 1) / 2

Every test in `studies.statistics` works on mid-ranks and gives the same answer whatever was typed. Mean
ranks do depend on the coding, so every table says which one it prints. Rank 1 is best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from studies.errors import StudyError

MAXIMUM_ARMS = 8
"""Weak orders of more movies than this are not enumerated (8 movies have 545 835)."""


def _checked(ranks: Sequence[float], arms: int | None) -> tuple[float, ...]:
    """Return `ranks` as finite floats, or raise `StudyError` that says what is wrong."""
    values = tuple(float(rank) for rank in ranks)
    if arms is not None and len(values) != arms:
        raise StudyError(f"A ranking of {arms} movies needs {arms} ranks, but {len(values)} were given.")
    if not values:
        raise StudyError("A ranking needs at least one movie, but no rank was given.")
    if not all(math.isfinite(value) for value in values):
        raise StudyError(f"Ranks must be finite numbers, but {list(ranks)} were given.")
    return values


def validate(ranks: Sequence[int], arms: int | None = None) -> tuple[int, ...]:
    """Check the digits a reader typed: whole numbers from 1 to k, with any ties.

    Args:
        ranks: One rank a movie, 1 is best; (1, 1, 2) and (1, 1, 3) both say "two equal best".
        arms: Number of movies expected; None accepts any.

    Returns:
        The same ranks as integers, not yet normalised.

    Raises:
        StudyError: A rank is missing, not whole, or outside 1…k.
    """
    values = _checked(ranks, arms)
    for position, value in enumerate(values):
        if value != int(value) or not 1 <= value <= len(values):
            raise StudyError(
                f"Rank {ranks[position]!r} of movie {position + 1} must be a whole number from 1 to "
                f"{len(values)}."
            )
    return tuple(int(value) for value in values)


def competition(ranks: Sequence[float]) -> tuple[int, ...]:
    """Competition ranks of any numbers, lower is better: 1 + the number of strictly smaller ones."""
    values = _checked(ranks, None)
    return tuple(1 + sum(other < value for other in values) for value in values)


def dense(ranks: Sequence[float]) -> tuple[int, ...]:
    """Dense ranks of any numbers, lower is better: 1 + the number of distinct smaller ones."""
    values = _checked(ranks, None)
    levels = sorted(set(values))
    return tuple(1 + levels.index(value) for value in values)


def mid_ranks(ranks: Sequence[float]) -> tuple[float, ...]:
    """Mid-ranks of any numbers, lower is better: the mean of the places that a tie group takes."""
    values = _checked(ranks, None)
    return tuple(
        0.5 * (1 + sum(other < value for other in values) + sum(other <= value for other in values))
        for value in values
    )


def normalise(ranks: Sequence[int], arms: int | None = None) -> tuple[int, ...]:
    """Check a typed ranking and return its competition ranks, the form in which rankings are stored.

    Raises:
        StudyError: As `validate`.
    """
    return competition(validate(ranks, arms))


def weak_orders(arms: int) -> list[tuple[int, ...]]:
    """All weak orders of `arms` movies as sorted competition ranks: 1, 3, 13, 75, … (Fubini numbers).

    Raises:
        StudyError: `arms` is not 1…`MAXIMUM_ARMS`.
    """
    if not 1 <= arms <= MAXIMUM_ARMS:
        raise StudyError(f"Weak orders are enumerated for 1 to {MAXIMUM_ARMS} movies, not for {arms}.")
    return sorted({competition(levels) for levels in product(range(arms), repeat=arms)})


def describe(ranks: Sequence[float], labels: Sequence[str]) -> str:
    """A ranking in words, best first: ``"A = C > B"``.

    Raises:
        StudyError: As many labels as ranks are needed.
    """
    if len(labels) != len(ranks):
        raise StudyError(f"{len(ranks)} ranks need {len(ranks)} labels, but {len(labels)} were given.")
    order = dense(ranks)
    groups = [
        " = ".join(label for label, rank in zip(labels, order, strict=True) if rank == level)
        for level in range(1, max(order) + 1)
    ]
    return " > ".join(groups)
