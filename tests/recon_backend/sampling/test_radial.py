"""Radial spokes: angles, radii and weights against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon_backend.sampling.radial import TINY_GOLDEN_ANGLE, radial_density_weights, radial_trajectory


def test_tiny_golden_angle() -> None:
    assert math.degrees(TINY_GOLDEN_ANGLE) == pytest.approx(23.6281, abs=1e-4)


def test_spokes_run_on_through_the_frames() -> None:
    trajectory = radial_trajectory(3)
    assert trajectory.shape == (3, 13, 512, 2)
    assert trajectory.dtype == np.float32
    for frame, readout, sample in [(0, 0, 0), (0, 5, 300), (2, 12, 511), (1, 0, 256)]:
        angle = math.radians(23.628143464024852 * (13 * frame + readout))
        radius = 2 * math.pi * (sample - 256) / 512
        expected = (radius * math.sin(angle), radius * math.cos(angle))
        assert trajectory[frame, readout, sample] == pytest.approx(expected, abs=2e-6)


def test_first_spoke_continues_the_count() -> None:
    assert np.allclose(radial_trajectory(2)[1], radial_trajectory(1, first_spoke=13)[0], atol=1e-6)


def test_weights_follow_the_published_form_and_sum_to_the_disc() -> None:
    weights = radial_density_weights(1)
    assert weights[0, 3, 256] == pytest.approx(1 / 52)
    assert weights[0, 3, 257] == pytest.approx(1 / 13)
    assert weights[0, 12, 0] == pytest.approx(256 / 13)
    # All samples together cover the disc of radius 128 / FOV (4 / pi times its area).
    assert weights.sum() == pytest.approx(4 / math.pi * math.pi * 128**2, rel=1e-4)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="even number"):
        radial_trajectory(1, samples=511)
    with pytest.raises(ValueError, match="at least 1"):
        radial_density_weights(1, spokes=0)
