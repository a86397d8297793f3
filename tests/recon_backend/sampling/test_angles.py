"""Angle rules that contradict the data are noticed; noise, motion, delays and other rules raise no alarm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from recon_backend.sampling.angles import AngleFinding, check_angles, known_steps
from recon_backend.sampling.radial import TINY_GOLDEN_ANGLE, radial_trajectory

MATRIX = 48
FRAMES = 24


def spokes(step_deg: float = math.degrees(TINY_GOLDEN_ANGLE)) -> np.ndarray:
    """A trajectory of a constant step."""
    return radial_trajectory(FRAMES, 13, 2 * MATRIX, angle=math.radians(step_deg))


def check(kspace: np.ndarray, trajectory: np.ndarray) -> AngleFinding:
    """The finding, which must be there."""
    finding = check_angles(kspace, trajectory, (MATRIX, MATRIX))
    assert finding is not None
    return finding


def test_steps_of_the_known_rules() -> None:
    steps = known_steps(13)
    assert steps["golden angle"] == pytest.approx(111.2461, abs=1e-4)
    assert steps["tiny golden angle 7"] == pytest.approx(math.degrees(TINY_GOLDEN_ANGLE), abs=1e-9)
    assert steps["tiny golden angle 10"] == pytest.approx(16.9523, abs=1e-4)


@pytest.mark.parametrize("noise", [1e-4, 3e-3, 0.01])
@pytest.mark.parametrize("motion", [0.0, 0.3])
def test_the_angle_printed_in_the_paper_is_found_out(radial_scans: Any, noise: float, motion: float) -> None:
    """23.8° claimed, 23.628° acquired."""
    kspace = radial_scans.samples(spokes(), MATRIX, noise=noise, motion=motion)
    finding = check(kspace, spokes(23.8))
    assert finding.contradicts
    assert finding.claimed_deg == pytest.approx(23.8, abs=1e-3)
    assert finding.measured_deg == pytest.approx(23.628, abs=0.02)
    assert finding.rule == "tiny golden angle 7"
    assert "23.800°" in finding.describe() and "tiny golden angle 7" in finding.describe()


@pytest.mark.parametrize(("true", "claimed"), [(111.2461, 23.6281), (20.8886, 23.6281), (23.8, 23.6281)])
def test_other_mix_ups_are_found_out(radial_scans: Any, true: float, claimed: float) -> None:
    finding = check(radial_scans.samples(spokes(true), MATRIX, noise=1e-3), spokes(claimed))
    assert finding.contradicts
    assert finding.measured_deg == pytest.approx(true, abs=0.02)


@pytest.mark.parametrize("noise", [1e-4, 0.03, 0.3, 3.0])
@pytest.mark.parametrize("motion", [0.0, 0.4])
def test_the_true_angle_raises_no_alarm(radial_scans: Any, noise: float, motion: float) -> None:
    for seed in range(3):
        kspace = radial_scans.samples(spokes(), MATRIX, noise=noise, motion=motion, seed=seed)
        finding = check(kspace, spokes())
        assert not finding.contradicts
        # Far from the thresholds of 0.03 and 15 %.
        assert finding.misfit - finding.measured_misfit < 0.02
        assert finding.misfit < 1.04 * finding.measured_misfit


@pytest.mark.parametrize("coils", [1, 8])
def test_noise_alone_raises_no_alarm(coils: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shape = (coils, FRAMES, 13, 2 * MATRIX)
        noise = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
        finding = check(noise, spokes())
        assert not finding.contradicts
        assert finding.measured_misfit > 0.7


@pytest.mark.parametrize("claimed", [23.8, None])
def test_delays_do_not_disturb(radial_scans: Any, claimed: float | None) -> None:
    """A delay of more than a sample neither hides wrong angles nor makes right ones look wrong."""
    true = spokes().astype(float)
    step = true[:, :, 1:2] - true[:, :, :1]
    kspace = radial_scans.samples(true + step * np.array([0.4, 1.3]), MATRIX, noise=1e-3)
    finding = check(kspace, spokes() if claimed is None else spokes(claimed))
    assert finding.contradicts is (claimed is not None)


def test_rules_without_a_constant_step_raise_no_alarm(radial_scans: Any) -> None:
    """Random angles, and the same uniform spokes in every frame, each with its own data."""
    rng = np.random.default_rng(1)
    angles = rng.uniform(0, 2 * np.pi, (FRAMES, 13, 1))
    radius = 2 * np.pi * (np.arange(2 * MATRIX) - MATRIX) / (2 * MATRIX)
    scattered = np.stack([radius * np.sin(angles), radius * np.cos(angles)], axis=-1).astype(np.float32)
    uniform = np.repeat(radial_trajectory(1, 13, 2 * MATRIX, angle=np.pi / 13), FRAMES, axis=0)
    for trajectory in (scattered, uniform):
        finding = check(radial_scans.samples(trajectory, MATRIX, noise=1e-3), trajectory)
        assert not finding.contradicts
    assert check(radial_scans.samples(scattered, MATRIX), scattered).claimed_deg is None


def test_too_little_to_tell(radial_scans: Any) -> None:
    few = radial_trajectory(2, 13, 2 * MATRIX)
    assert check_angles(radial_scans.samples(few, MATRIX), few, (MATRIX, MATRIX)) is None
    silent = np.zeros((2, FRAMES, 13, 2 * MATRIX), np.complex64)
    assert check_angles(silent, spokes(), (MATRIX, MATRIX)) is None
