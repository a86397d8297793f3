"""Gradient delays: recovered from exactly sampled objects, never invented, and harmless when absent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recon_backend.sampling.delays import GradientDelays, corrected_trajectory, estimate_delays
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.sampling.spiral import SpiralDesign, spiral_trajectory

MATRIX = 48


def delayed(trajectory: np.ndarray, s_xx: float, s_yy: float, s_xy: float) -> np.ndarray:
    """Where spokes really run: each sample moved by S n samples, written out from the definition."""
    out = np.empty(trajectory.shape)
    for index in np.ndindex(trajectory.shape[:2]):
        step = trajectory[index][1].astype(float) - trajectory[index][0]
        length = np.hypot(*step)
        n_y, n_x = step / length
        out[index] = trajectory[index] + length * np.array([s_xy * n_x + s_yy * n_y, s_xx * n_x + s_xy * n_y])
    return out


@pytest.mark.parametrize("s", [(0.5, 0.5, 0.0), (1.2, 0.3, -0.2), (-0.7, 0.4, 0.1), (0.08, -0.05, 0.0)])
@pytest.mark.parametrize("coils", [1, 6])
def test_delays_are_found(radial_scans: Any, s: tuple[float, float, float], coils: int) -> None:
    nominal = radial_trajectory(10, 13, 2 * MATRIX)
    kspace = radial_scans.samples(delayed(nominal, *s), MATRIX, coils=coils, noise=3e-4)
    found = estimate_delays(kspace, nominal)
    assert found is not None
    assert (found.s_xx, found.s_yy, found.s_xy) == pytest.approx(s, abs=0.02)
    assert found.standard_error < 0.02
    assert found.worth_correcting
    np.testing.assert_allclose(corrected_trajectory(nominal, found), delayed(nominal, *s), atol=0.02 * 0.07)


@pytest.mark.parametrize("frames", [1, 4, 60])
def test_no_delay_is_left_alone(radial_scans: Any, frames: int) -> None:
    nominal = radial_trajectory(frames, 13, 2 * MATRIX)
    found = estimate_delays(radial_scans.samples(nominal, MATRIX, noise=3e-4), nominal)
    assert found is not None
    assert found.largest < 0.02
    assert not found.worth_correcting


@pytest.mark.parametrize("seed", range(6))
def test_noise_alone_gives_nothing_to_correct(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nominal = radial_trajectory(8, 13, 2 * MATRIX)
    shape = (4, 8, 13, 2 * MATRIX)
    noise = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    found = estimate_delays(noise, nominal)
    assert found is not None
    assert not found.trusted and not found.worth_correcting
    assert found.residual > 1.5
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_low_signal_is_not_believed_too_much(radial_scans: Any) -> None:
    """With noise of a twentieth of the largest sample, estimates scatter as the standard error says."""
    nominal = radial_trajectory(12, 13, 2 * MATRIX)
    for seed in range(6):
        found = estimate_delays(radial_scans.samples(nominal, MATRIX, noise=0.05, seed=seed), nominal)
        assert found is not None
        assert found.largest < 4 * found.standard_error
        assert not found.worth_correcting
    delayed_scan = radial_scans.samples(delayed(nominal, 0.6, 0.6, 0.0), MATRIX, coils=8, noise=0.01)
    found = estimate_delays(delayed_scan, nominal)
    assert found is not None and found.worth_correcting
    assert max(abs(found.s_xx - 0.6), abs(found.s_yy - 0.6), abs(found.s_xy)) < 4 * found.standard_error


def test_spokes_beside_the_centre_missing_readouts_and_oblong_pixels(radial_scans: Any) -> None:
    """Samples half a step off the centre, gaps, and pixels twice as long as wide."""
    nominal = radial_trajectory(10, 13, 2 * MATRIX).astype(float)
    nominal += 0.5 * (nominal[:, :, 1:2] - nominal[:, :, :1])
    kspace = radial_scans.samples(delayed(nominal, 0.6, 0.2, 0.1), MATRIX, noise=3e-4)
    mask = np.ones((10, 13), bool)
    mask[3, 5:], mask[9, 1] = False, False
    kspace[:, ~mask] = 0
    found = estimate_delays(kspace, nominal, readout_mask=mask)
    assert found is not None
    assert (found.s_xx, found.s_yy, found.s_xy) == pytest.approx((0.6, 0.2, 0.1), abs=0.02)
    # The same spokes in rad/pixel of pixels twice as long along y: the numbers do not change.
    stretched = nominal * np.array([2.0, 1.0])
    found = estimate_delays(kspace, stretched, readout_mask=mask, pixel_spacing=(2.0, 1.0))
    assert found is not None
    assert (found.s_xx, found.s_yy, found.s_xy) == pytest.approx((0.6, 0.2, 0.1), abs=0.02)
    moved = corrected_trajectory(stretched, GradientDelays(0.6, 0.2, 0.1, 0, 0, 0, 0), (2.0, 1.0))
    np.testing.assert_allclose(moved, delayed(nominal, 0.6, 0.2, 0.1) * [2.0, 1.0], atol=1e-5)


def test_what_cannot_be_estimated() -> None:
    design = SpiralDesign(matrix=48, field_of_view_m=0.2, dwell_s=2.8e-6)
    spiral = spiral_trajectory(3, design=design)
    assert estimate_delays(np.ones((2, *spiral.shape[:3]), np.complex64), spiral) is None
    spokes = radial_trajectory(3, 13, 2 * MATRIX)
    assert estimate_delays(np.ones((2, 3, 13, MATRIX), np.complex64), spokes[:, :, MATRIX:]) is None
    assert estimate_delays(np.zeros((2, 3, 13, 2 * MATRIX), np.complex64), spokes) is None
    single = radial_trajectory(30, 1, 2 * MATRIX)
    assert estimate_delays(np.ones((2, 30, 1, 2 * MATRIX), np.complex64), single) is None
