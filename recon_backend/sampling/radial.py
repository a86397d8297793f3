"""Radial trajectories with the tiny golden angle, and their density weights.

Spoke n (counted on through all frames) has the angle n x pi / (phi + 7) with phi = (sqrt(5) - 1) / 2, about
23.628 degrees. Sample j of S has the signed radius 2 pi (j - S / 2) / S rad/pixel, so sample S / 2 is the
centre. The weight of a sample is (4 / pi) times its share of k-space in units of 1 / FOV^2: 4 |j - S / 2| /
(spokes os^2) and 1 / (spokes os^2) at the centre, where os is the oversampling along the spoke.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TINY_GOLDEN_ANGLE = math.pi / ((math.sqrt(5.0) - 1.0) / 2.0 + 7.0)


def radial_angles(
    frames: int, spokes: int, first_spoke: int = 0, angle: float = TINY_GOLDEN_ANGLE
) -> NDArray[np.float64]:
    """Return the spoke angles (frame, readout) in rad, modulo one turn.

    Args:
        frames: number of frames.
        spokes: spokes of one frame.
        first_spoke: number of the very first spoke (the count goes on from frame to frame).
        angle: step from one spoke to the next in rad.

    Raises:
        ValueError: if frames or spokes is below 1.
    """
    if frames < 1 or spokes < 1:
        raise ValueError(f"{frames} frames of {spokes} spokes were asked for, but both must be at least 1.")
    numbers = first_spoke + np.arange(frames * spokes, dtype=np.float64).reshape(frames, spokes)
    return np.mod(numbers * angle, 2 * np.pi)


def radial_trajectory(
    frames: int,
    spokes: int = 13,
    samples: int = 512,
    first_spoke: int = 0,
    angle: float = TINY_GOLDEN_ANGLE,
) -> NDArray[np.float32]:
    """Return the trajectory (frame, readout, sample, 2) in rad/pixel, components (y, x).

    Args:
        frames: number of frames.
        spokes: spokes of one frame.
        samples: samples of one spoke, an even number; twice the matrix for two-fold oversampling.
        first_spoke: number of the very first spoke.
        angle: step from one spoke to the next in rad.

    Raises:
        ValueError: if frames or spokes is below 1, or samples is not an even number.
    """
    radius = 2 * np.pi * _signed_index(samples) / samples
    angles = radial_angles(frames, spokes, first_spoke, angle)[..., None]
    return np.stack([radius * np.sin(angles), radius * np.cos(angles)], axis=-1).astype(np.float32)


def radial_density_weights(
    frames: int, spokes: int = 13, samples: int = 512, oversampling: float = 2.0
) -> NDArray[np.float32]:
    """Return the density weights (frame, readout, sample): (4 / pi) x area of a sample in 1 / FOV^2.

    Args:
        frames: number of frames.
        spokes: spokes of one frame.
        samples: samples of one spoke, an even number.
        oversampling: samples of a spoke over the matrix.

    Raises:
        ValueError: if frames or spokes is below 1, or samples is not an even number.
    """
    if frames < 1 or spokes < 1:
        raise ValueError(f"{frames} frames of {spokes} spokes were asked for, but both must be at least 1.")
    radius = np.abs(_signed_index(samples))
    # The centre belongs to all spokes; its disc of half a sample spacing is shared between them.
    radius[samples // 2] = 0.25
    weights = (4.0 * radius / (spokes * oversampling**2)).astype(np.float32)
    return np.broadcast_to(weights, (frames, spokes, samples)).copy()


def _signed_index(samples: int) -> NDArray[np.float64]:
    """Return the sample numbers counted from the centre sample."""
    if samples < 2 or samples % 2:
        raise ValueError(f"samples is {samples}, but a spoke needs an even number of at least 2 samples.")
    return np.arange(samples, dtype=np.float64) - samples // 2
