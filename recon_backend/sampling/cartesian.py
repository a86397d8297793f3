"""Cartesian phase-encode patterns of the study: a fixed centre block plus rows drawn without replacement.

Rule (240 rows, R = 240 / 17): every frame measures the 8 centre rows 116..123 and 9 further rows; over one
cycle of 15 frames the 9 x 15 further rows are drawn without replacement, with equal probability, from rows 96
and up outside the centre block. Rows below 96 are never measured, so the pattern is a partial Fourier one.
Other matrix sizes scale the counts and the first row; where the scaled cycle would need more rows than there
are candidates the cycle is shortened to the longest one that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PUBLISHED_MATRIX = 240
PUBLISHED_SEED = 7
ACCELERATION = 14
CYCLE_FRAMES = 15
CENTRE_ROWS = 8
MEASURED_FRACTION = 0.6
SMALLEST_MATRIX = 32


@dataclass(frozen=True)
class CartesianRule:
    """The rule of one matrix size: which rows are the centre, which may be drawn, and how many a frame.

    Attributes:
        matrix: number of phase-encode rows of the full matrix.
        centre: rows measured in every frame.
        candidates: rows that may be drawn.
        drawn_per_frame: rows drawn for one frame.
        cycle: frames until the pattern repeats.
    """

    matrix: int
    centre: tuple[int, ...]
    candidates: tuple[int, ...]
    drawn_per_frame: int
    cycle: int

    @property
    def lines_per_frame(self) -> int:
        """Rows measured in every frame: the centre block and the drawn ones."""
        return len(self.centre) + self.drawn_per_frame


@lru_cache(maxsize=32)
def cartesian_rule(matrix: int = PUBLISHED_MATRIX) -> CartesianRule:
    """Return the sampling rule of a matrix size; 240 gives the published one.

    Args:
        matrix: number of phase-encode rows, at least 32.

    Raises:
        ValueError: if the matrix is too small for the rule.
    """
    if matrix < SMALLEST_MATRIX:
        raise ValueError(
            f"matrix is {matrix} rows, but the Cartesian pattern needs {SMALLEST_MATRIX} or more."
        )
    lines = matrix // ACCELERATION
    centre_count = max(2, 2 * round(CENTRE_ROWS * matrix / PUBLISHED_MATRIX / 2))
    centre_count = min(centre_count, lines)
    first_centre = matrix // 2 - centre_count // 2
    centre = tuple(range(first_centre, first_centre + centre_count))
    first_row = int(matrix * (1 - MEASURED_FRACTION))
    candidates = tuple(row for row in range(first_row, matrix) if row not in centre)
    drawn = lines - centre_count
    cycle = CYCLE_FRAMES if drawn == 0 else min(CYCLE_FRAMES, len(candidates) // drawn)
    return CartesianRule(matrix, centre, candidates, drawn, cycle)


@lru_cache(maxsize=32)
def _published_cycle(matrix: int) -> tuple[tuple[int, ...], ...]:
    """Return the sorted rows of every frame of the cycle, drawn with NumPy's legacy generator and seed 7."""
    rule = cartesian_rule(matrix)
    probability = np.zeros(matrix)
    probability[list(rule.candidates)] = 1.0 / len(rule.candidates)
    # The published table was drawn by the legacy generator; its stream is frozen by NumPy for all versions.
    generator = np.random.RandomState(PUBLISHED_SEED)
    drawn = generator.choice(matrix, rule.drawn_per_frame * rule.cycle, replace=False, p=probability)
    return _frames_of(rule, drawn)


def _frames_of(rule: CartesianRule, drawn: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Deal the drawn rows to the frames of the cycle (column i of the drawn table is frame i)."""
    table = drawn.reshape(rule.drawn_per_frame, rule.cycle)
    return tuple(tuple(sorted({*rule.centre, *map(int, table[:, frame])})) for frame in range(rule.cycle))


def _mask(frames: int, matrix: int, cycle: tuple[tuple[int, ...], ...]) -> NDArray[np.bool_]:
    """Repeat the cycle over the frames and return it as a mask (frame, ky)."""
    if frames < 1:
        raise ValueError(f"frames is {frames}, but at least one frame is needed.")
    mask = np.zeros((frames, matrix), dtype=bool)
    for frame in range(frames):
        mask[frame, list(cycle[frame % len(cycle)])] = True
    return mask


def published_lines(frame: int, matrix: int = PUBLISHED_MATRIX) -> NDArray[np.int64]:
    """Return the rows measured in one frame of the published pattern, ascending.

    Args:
        frame: frame number from 0; the pattern repeats after its cycle (15 frames for 240 rows).
        matrix: number of phase-encode rows.
    """
    cycle = _published_cycle(matrix)
    return np.asarray(cycle[frame % len(cycle)], dtype=np.int64)


def published_mask(frames: int, matrix: int = PUBLISHED_MATRIX) -> NDArray[np.bool_]:
    """Return the published pattern as a mask (frame, ky).

    Args:
        frames: number of frames, at least 1.
        matrix: number of phase-encode rows.

    Raises:
        ValueError: if there are no frames or the matrix is too small.
    """
    return _mask(frames, matrix, _published_cycle(matrix))


def random_mask(frames: int, matrix: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask (frame, ky) of the same rule with another draw, repeated after its cycle.

    Args:
        frames: number of frames, at least 1.
        matrix: number of phase-encode rows.
        rng: source of the draw.

    Raises:
        ValueError: if there are no frames or the matrix is too small.
    """
    rule = cartesian_rule(matrix)
    drawn = rng.permutation(np.asarray(rule.candidates, dtype=np.int64))[: rule.drawn_per_frame * rule.cycle]
    return _mask(frames, matrix, _frames_of(rule, drawn))
