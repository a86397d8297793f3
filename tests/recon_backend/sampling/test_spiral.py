"""The spiral design meets the published arm and weights, and keeps to the scanner's limits."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recon_backend.sampling.spiral import (
    PROTON_HZ_PER_T,
    SpiralDesign,
    repetition_time_s,
    spiral_arm,
    spiral_density_weights,
    spiral_trajectory,
)

REFERENCE = Path(__file__).parents[2] / "data" / "sampling_reference.json"


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return np.asarray(json.loads(REFERENCE.read_text())["spiral_samples"])


def test_arm_equals_the_published_one(reference: np.ndarray) -> None:
    arm = spiral_arm()
    assert arm.shape == (1171, 2)
    sample = reference[:, 0].astype(int)
    assert np.max(np.abs(arm[sample, 1] - reference[:, 1])) < 1e-6
    assert np.max(np.abs(arm[sample, 0] - reference[:, 2])) < 1e-6
    assert repetition_time_s() == pytest.approx(3.6408e-3)


def test_weights_equal_the_published_ones(reference: np.ndarray) -> None:
    weights = spiral_density_weights(2)
    assert weights.shape == (2, 15, 1171)
    sample = reference[:, 0].astype(int)
    assert weights[1, 0, sample] == pytest.approx(reference[:, 3], rel=1e-4)
    spread = np.std(weights[0], axis=0) / np.mean(weights[0], axis=0)
    assert np.max(spread[:-3]) < 0.01


def test_weights_are_the_area_where_turns_are_dense() -> None:
    arm = spiral_arm()
    radius = np.hypot(arm[:, 0], arm[:, 1]) * 240 / (2 * math.pi)
    weights = spiral_density_weights(1)[0].mean(axis=0)
    # Sum over the 16 arms up to a radius, against (4 / pi) times the area of that disc.
    for edge in (6.0, 10.0, 14.0):
        total = 16 * weights[radius <= edge].sum()
        last = radius[radius <= edge].max()
        assert total == pytest.approx(4 * last**2, rel=0.05)


def test_arm_respects_gradient_and_slew_rate() -> None:
    design = SpiralDesign()
    arm = spiral_arm(design)
    wavenumber = (arm[:, 1] + 1j * arm[:, 0]) / math.pi * design.largest_wavenumber_per_m
    gradient = np.diff(wavenumber) / (PROTON_HZ_PER_T * design.dwell_s)
    assert np.max(np.abs(gradient)) <= design.gradient_amplitude_t_per_m * 1.001
    # 50 samples are 7 rasters of 10 us; within a raster the gradient is constant and then steps.
    raster = 50
    slew = np.abs(gradient[raster:] - gradient[:-raster]) / (raster * design.dwell_s)
    assert np.max(slew) <= design.slew_rate_t_per_m_per_s * 1.001


def test_turns_at_the_centre_keep_the_nyquist_distance() -> None:
    arm = spiral_arm()
    plane = (arm[:, 1] + 1j * arm[:, 0]) * 240 / (2 * math.pi)
    part = (np.abs(plane) > 6) & (np.abs(plane) < 17)
    turns = np.unwrap(np.angle(plane[part])) / (2 * math.pi)
    slope = np.polyfit(turns, np.abs(plane[part]), 1)[0]
    assert slope == pytest.approx(16, rel=0.03)


def test_trajectory_turns_arms_and_frames_counter_clockwise() -> None:
    trajectory = spiral_trajectory(3)
    assert trajectory.shape == (3, 15, 1171, 2)
    assert trajectory.dtype == np.float32
    plane = trajectory[..., 1] + 1j * trajectory[..., 0]
    assert np.angle(plane[0, 1, 700] / plane[0, 0, 700]) == pytest.approx(math.radians(24), abs=1e-5)
    assert np.angle(plane[2, 0, 700] / plane[0, 0, 700]) == pytest.approx(math.radians(60), abs=1e-5)
    slow = spiral_trajectory(2, frame_rotation_rad=math.radians(2))
    turned = slow[1, 0, 700, 1] + 1j * slow[1, 0, 700, 0]
    assert np.angle(turned / plane[0, 0, 700]) == pytest.approx(math.radians(2), abs=1e-5)


def test_other_designs_reach_their_edge() -> None:
    uniform = SpiralDesign(matrix=96, field_of_view_m=0.24, full_arms=12, outer_density=1.0, dwell_s=2.4e-6)
    arm = spiral_arm(uniform)
    assert np.hypot(*arm[-1]) == pytest.approx(math.pi * (1 - 1 / 96), rel=0.02)
    assert not np.array_equal(arm, spiral_arm(replace(uniform, full_arms=13)))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="gradient limit"):
        spiral_arm(SpiralDesign(dwell_s=1e-6))
    with pytest.raises(ValueError, match="outer_density"):
        spiral_arm(SpiralDesign(outer_density=0))
    with pytest.raises(ValueError, match="whole steps"):
        spiral_arm(SpiralDesign(step_s=3e-6))
    with pytest.raises(ValueError, match="at least 1"):
        spiral_trajectory(0)
