"""Cartesian sampling as small matrices: the partial DFT of the lines that a frame acquired."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def line_encoding(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Partial centred orthonormal DFTs of the acquired lines, as real matrices.

    Args:
        mask: bool (frame, ky), True where a line was acquired; ky = y is the matrix size along phase
        encoding.

    Returns:
        float32 (frame, 2·y, 2·lines): [re, im] of an image column times this matrix is [re, im] of its
        acquired k-space lines. Frames with fewer lines than the fullest one are padded with zero columns.
    """
    frames, size = mask.shape
    count = int(mask.sum(axis=1).max())
    position = np.arange(size) - size // 2
    encoding = np.zeros((frames, 2 * size, 2 * count), np.float32)
    for frame in range(frames):
        lines = np.flatnonzero(mask[frame]) - size // 2
        matrix = np.exp(-2j * np.pi * np.outer(position, lines) / size) / np.sqrt(size)
        filled = len(lines)
        encoding[frame, :size, :filled] = matrix.real
        encoding[frame, :size, count : count + filled] = matrix.imag
        encoding[frame, size:, :filled] = -matrix.imag
        encoding[frame, size:, count : count + filled] = matrix.real
    return encoding
