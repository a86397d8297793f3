"""Density weights of any trajectory, in the convention the networks were trained with.

A weight is (4 / pi) times the sample's share of k-space in units of 1 / FOV^2.

* Lines through the centre: analytic, every line of a frame counting the same angle (pi over the number of
  lines, 2 pi if they start at the centre): 4 r dr / lines, and 4 (1/4 + d^2) dr^2 / lines for samples whose
  cell holds the centre (d = their distance from it in sample spacings).
* Everything else: the Pipe-Menon fixed point on the arms of a frame. The published weights are those of the
  fully sampled centre, so where all arms are turned copies of one and Nyquist at the centre would take the
  same number or a few more of them (up to a third more), the weights of that evenly turned full set are used.

Frames that are turned copies of each other share their weights.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from recon_backend.sampling.pipe_menon import pipe_menon_weights

# A part of 1 / FOV: below it a difference between two trajectories does not change the density.
_SAME_POSITION = 0.25
_FULL_SET_EXCESS = 4 / 3
_CACHE_ENTRIES = 4
_FRAMES_AT_ONCE = 64
_cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()


def density_weights(
    trajectory: NDArray[np.floating],
    matrix: tuple[int, int],
    *,
    sampling: str,
    readout_mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the density weights (frame, readout, sample) of a trajectory; 0 for readouts not acquired.

    Args:
        trajectory: (frame, readout, sample, 2) in rad/pixel, components (y, x).
        matrix: pixels of the image along (y, x).
        sampling: "radial" (lines through the centre, checked) or "spiral" (anything else).
        readout_mask: (frame, readout), False where a readout was not acquired.

    Raises:
        ValueError: if shapes do not fit, values are not finite, or `sampling` is another word.
    """
    points = np.asarray(trajectory)
    if points.ndim != 4 or points.shape[-1] != 2 or 0 in points.shape:
        raise ValueError(
            f"trajectory has the shape {points.shape}, but (frame, readout, sample, 2) is needed."
        )
    if not np.all(np.isfinite(points)):
        raise ValueError("trajectory holds values that are not finite.")
    if sampling not in ("radial", "spiral"):
        raise ValueError(f"sampling is {sampling!r}, but density weights are for 'radial' and 'spiral'.")
    acquired = (
        np.ones(points.shape[:2], dtype=bool)
        if readout_mask is None
        else np.asarray(readout_mask, dtype=bool)
    )
    if acquired.shape != points.shape[:2]:
        raise ValueError(
            f"readout_mask has the shape {acquired.shape}, but the trajectory has {points.shape[:2]}."
        )

    digest = hashlib.sha256(repr((points.shape, tuple(matrix), sampling)).encode())
    for frame in points:  # frame by frame: long scans must not be copied as a whole
        digest.update(frame.astype(np.float64).tobytes())
    digest.update(acquired.tobytes())
    key = digest.hexdigest()
    weights = _cache.get(key)
    if weights is None:
        weights = _weights(points, (int(matrix[0]), int(matrix[1])), sampling, acquired)
        _cache[key] = weights
        while len(_cache) > _CACHE_ENTRIES:
            _cache.popitem(last=False)
    return weights.copy()


def _weights(
    points: NDArray[np.floating], matrix: tuple[int, int], sampling: str, acquired: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Compute what density_weights returns."""
    weights = np.zeros(points.shape[:3], dtype=np.float32)
    if sampling == "radial":
        for start in range(0, len(points), _FRAMES_AT_ONCE):
            block = slice(start, start + _FRAMES_AT_ONCE)
            lines = _line_weights(points[block].astype(np.float64), matrix, acquired[block])
            if lines is None:
                break
            weights[block] = lines
        else:
            return weights
        weights[:] = 0
    full_set = _full_set_weights(points, matrix, acquired)
    known: list[tuple[int, NDArray[np.bool_]]] = []
    for frame in range(points.shape[0]):
        used = acquired[frame]
        if not used.any():
            continue
        if full_set is not None:
            weights[frame, used] = full_set
            continue
        for other, other_used in known:
            if np.array_equal(used, other_used) and _turned_copy(
                _plane(points[other, used], matrix), _plane(points[frame, used], matrix)
            ):
                weights[frame] = weights[other]
                break
        else:
            own = pipe_menon_weights(points[frame, used].reshape(-1, 2).astype(np.float64), matrix)
            weights[frame, used] = own.reshape(int(used.sum()), -1)
            known.append((frame, used))
    return weights


def _plane(points: NDArray[np.floating], matrix: tuple[int, int]) -> NDArray[np.complex128]:
    """Return samples (..., 2) as complex numbers; one unit is 1 / FOV along each axis."""
    exact = points.astype(np.float64)
    return exact[..., 1] * (matrix[1] / (2 * np.pi)) + 1j * exact[..., 0] * (matrix[0] / (2 * np.pi))


def _turned_copy(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> bool:
    """Say whether the second set of samples is the first one turned about the centre (units of 1 / FOV)."""
    overlap = np.vdot(first, second)
    if abs(overlap) == 0:
        return bool(np.max(np.abs(first - second)) < _SAME_POSITION)
    return bool(np.max(np.abs(first * (overlap / abs(overlap)) - second)) < _SAME_POSITION)


def _full_set_weights(
    points: NDArray[np.floating], matrix: tuple[int, int], acquired: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Return one arm's weights (sample,) in the full set, or None where the module's rule does not apply."""
    arms_per_frame = int(acquired.sum(axis=1).max(initial=0))
    if arms_per_frame < 2:
        return None
    arms = np.argwhere(acquired)
    arm = points[tuple(arms[0])].astype(np.float64)
    first = _plane(arm, matrix)
    for frame, used in enumerate(acquired):
        if not all(_turned_copy(first, other) for other in _plane(points[frame, used], matrix)):
            return None
    full = _nyquist_arms(first)
    if full is None or not arms_per_frame <= full <= _FULL_SET_EXCESS * arms_per_frame:
        return None
    turned = (arm[:, 1] + 1j * arm[:, 0]) * np.exp(2j * np.pi * np.arange(full) / full)[:, None]
    weights = pipe_menon_weights(np.stack([turned.imag, turned.real], axis=-1).reshape(-1, 2), matrix)
    return np.asarray(weights.reshape(full, -1).mean(axis=0), dtype=np.float32)


def _nyquist_arms(arm: NDArray[np.complex128]) -> int | None:
    """Return how many turned copies of a spiral-out arm reach Nyquist near the centre, or None for no spiral.

    An Archimedean spiral advances by arms / FOV per turn; it is read off between 3 % and 12 % of the radius.
    """
    radius = np.abs(arm)
    largest = radius.max()
    inner = np.flatnonzero((radius > 0.03 * largest) & (radius < 0.12 * largest))
    if inner.size < 8 or np.any(np.diff(inner) != 1):
        return None
    angle = np.unwrap(np.angle(arm[inner]))
    turned = abs(angle[-1] - angle[0]) / (2 * np.pi)
    if turned < 0.05:
        return None
    return max(1, round(float((radius[inner[-1]] - radius[inner[0]]) / turned)))


def _line_weights(
    points: NDArray[np.float64], matrix: tuple[int, int], acquired: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Return the analytic weights of lines through the centre, or None if a readout is not such a line."""
    if points.shape[2] < 4:
        return None
    plane = points[..., 1] + 1j * points[..., 0]
    radius = np.abs(plane)
    # The farthest sample gives the line's direction.
    farthest = np.take_along_axis(plane, radius.argmax(axis=-1)[..., None], axis=-1)
    length = np.abs(farthest)
    if np.any(length[acquired] == 0):
        return None
    along = plane * np.conj(farthest) / np.where(length > 0, length, 1)
    position = along.real
    spacing = np.abs(np.gradient(position, axis=-1))
    largest = np.max(radius, axis=-1)
    off_line = np.max(np.abs(along.imag), axis=-1)
    off_centre = np.min(radius, axis=-1)
    backwards = np.any(
        np.diff(position, axis=-1) * np.sign(position[..., -1:] - position[..., :1]) < 0, axis=-1
    )
    straight = (off_line <= 0.02 * largest) & (off_centre <= 2 * spacing.max(axis=-1)) & ~backwards
    if not np.all(straight[acquired]):
        return None
    # Position along the line ascends or descends; a line that hardly passes the centre starts there.
    passed = np.minimum(position.max(axis=-1), -position.min(axis=-1))
    share = np.where(passed > 0.05 * largest, 1.0, 2.0)
    lines = np.maximum(acquired.sum(axis=1), 1)
    distance = np.abs(position)
    inside = distance < 0.5 * spacing
    area = np.where(inside, 0.25 * spacing**2 + distance**2, distance * spacing)
    scale = 4.0 * matrix[0] * matrix[1] / (2 * np.pi) ** 2
    weights = scale * area * (share / lines[:, None])[..., None]
    return np.where(acquired[..., None], weights, 0.0).astype(np.float32)
