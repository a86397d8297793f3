"""Pipe-Menon density compensation with an own gridding kernel.

The fixed point w <- w / (K w) of Pipe and Menon, Magn Reson Med 1999;41:179-186. K spreads the samples to a
grid of twice the matrix and reads them back there, with the kernel exp(beta (sqrt(1 - (2 d / 7)^2) - 1)), 7
cells wide, beta = 2.30 x 7, of unit integral. Where samples are closer together than the kernel, w is their
area in grid cells, so w / pi is (4 / pi) x area in 1 / FOV^2; where they are farther apart w levels off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

KERNEL_WIDTH = 7
KERNEL_BETA = 2.30 * KERNEL_WIDTH
ITERATIONS = 30
GRID_OVERSAMPLING = 2
LARGEST_WEIGHT = 1e3


def even_smooth_size(least: int) -> int:
    """Return the smallest even number with no prime factor above 5 that is not below `least`."""
    size = least + least % 2
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2


def _kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the kernel at distances in grid cells; zero from half its width on."""
    inside = np.clip(1.0 - (2.0 * distance / KERNEL_WIDTH) ** 2, 0.0, None)
    values = np.exp(KERNEL_BETA * (np.sqrt(inside) - 1.0))
    return np.where(inside > 0, values, 0.0)


def _kernel_integral() -> float:
    """Return the kernel's integral over its support in grid cells."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return float(KERNEL_WIDTH / 2 * np.sum(weights * _kernel(nodes * KERNEL_WIDTH / 2)))


_KERNEL_INTEGRAL = _kernel_integral()


def spreading_matrix(points: NDArray[np.floating], grid: tuple[int, int]) -> csr_matrix:
    """Return the sparse matrix (point, cell) of kernel values between points and cells of a periodic grid.

    Args:
        points: (point, 2) in rad/pixel, components (y, x).
        grid: cells of the grid along (y, x); it spans one period of 2 pi.
    """
    offsets = np.arange(KERNEL_WIDTH)
    cells, values = [], []
    for axis in range(2):
        position = np.asarray(points[:, axis], dtype=np.float64) * (grid[axis] / (2 * np.pi))
        first = np.ceil(position - KERNEL_WIDTH / 2).astype(np.int64)
        index = first[:, None] + offsets
        values.append(_kernel(index - position[:, None]) / _KERNEL_INTEGRAL)
        cells.append(np.mod(index, grid[axis]))
    count = points.shape[0]
    columns = (cells[0][:, :, None] * grid[1] + cells[1][:, None, :]).reshape(count, -1)
    entries = (values[0][:, :, None] * values[1][:, None, :]).reshape(-1)
    starts = np.arange(count + 1) * columns.shape[1]
    return csr_matrix((entries, columns.reshape(-1), starts), shape=(count, grid[0] * grid[1]))


def pipe_menon_weights(
    points: NDArray[np.floating], matrix: tuple[int, int], iterations: int = ITERATIONS
) -> NDArray[np.float32]:
    """Return the density weights (point,): (4 / pi) x area in 1 / FOV^2 where the points are dense.

    Args:
        points: (point, 2) in rad/pixel, components (y, x).
        matrix: pixels of the image along (y, x).
        iterations: steps of the fixed point after its start at 1 / (K 1).

    Raises:
        ValueError: if points is not a table of finite pairs.
    """
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] == 0:
        raise ValueError(f"points has the shape {points.shape}, but (points, 2) with at least one is needed.")
    if not np.all(np.isfinite(points)):
        raise ValueError("points holds values that are not finite.")
    grid = (even_smooth_size(GRID_OVERSAMPLING * matrix[0]), even_smooth_size(GRID_OVERSAMPLING * matrix[1]))
    spread = spreading_matrix(points, grid)
    scatter = spread.T.tocsr()
    weights = 1.0 / (spread @ (scatter @ np.ones(points.shape[0])))
    for _ in range(iterations):
        weights = weights / (spread @ (scatter @ weights))
    weights = weights / np.pi
    # Published: a density below 1e-3 (a weight above 1000) counts as no sample.
    weights[weights > LARGEST_WEIGHT] = 0.0
    return np.asarray(weights, dtype=np.float32)
