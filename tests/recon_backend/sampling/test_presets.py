"""Presets against the published numbers, and what other matrices and fields of view change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon_backend.sampling.density import density_weights
from recon_backend.sampling.presets import PRESETS, find_preset, preset_sampling
from recon_backend.sampling.spiral import PROTON_HZ_PER_T


def test_the_six_acquisitions_are_there() -> None:
    samplings = ("cartesian", "radial", "spiral")
    assert set(PRESETS) == {f"{organ}_{name}" for organ in ("cardiac", "speech") for name in samplings}
    assert PRESETS["cardiac_radial"].views == ("short_axis", "four_chamber")
    with pytest.raises(ValueError, match="cardiac_radial"):
        find_preset("cardiac_epi")


@pytest.mark.parametrize("organ", ["cardiac", "speech"])
def test_numbers_of_the_paper(organ: str) -> None:
    cartesian = preset_sampling(f"{organ}_cartesian", 16)
    assert cartesian.mask is not None and cartesian.mask.shape == (16, 240)
    assert np.flatnonzero(cartesian.mask[1]).tolist() == sorted(
        [*range(116, 124), 133, 136, 148, 154, 161, 180, 188, 210, 215]
    )
    assert np.array_equal(cartesian.mask[15], cartesian.mask[0])

    radial = preset_sampling(f"{organ}_radial", 3)
    assert radial.trajectory is not None and radial.weights is not None
    assert radial.trajectory.shape == (3, 13, 512, 2)
    spoke = radial.trajectory[2, 4, -1]
    angle = math.radians(360 - (13 * 2 + 4) * 23.628143464024852 % 360)
    assert math.atan2(-spoke[0], spoke[1]) % (2 * math.pi) == pytest.approx(angle, abs=1e-5)
    assert radial.weights[0, 0, 0] == pytest.approx(256 / 13)

    spiral = preset_sampling(f"{organ}_spiral", 2)
    assert spiral.trajectory is not None
    assert spiral.trajectory.shape == (2, 15, 1171, 2)
    assert spiral.preset.repetition_time_s == pytest.approx(3.6408e-3)
    assert 15 * 3.6408e-3 == pytest.approx(0.0546, abs=5e-5)


@pytest.mark.parametrize("rotation", [None, 2.0, 30.0])
def test_spirals_turn_as_in_the_paper_or_in_the_code(rotation: float | None) -> None:
    trajectory = preset_sampling("cardiac_spiral", 5, rotation_deg=rotation).trajectory
    assert trajectory is not None
    plane = trajectory[..., 1] + 1j * trajectory[..., 0]
    turns = np.rad2deg(np.angle(plane[1:, :, 800] / plane[:-1, :, 800]))
    np.testing.assert_allclose(turns, 30.0 if rotation is None else rotation, atol=1e-3)
    arms = np.rad2deg(np.angle(plane[:, 1:, 800] / plane[:, :-1, 800]))
    np.testing.assert_allclose(arms, 24.0, atol=1e-3)


def test_other_matrices_and_fields_of_view() -> None:
    small = preset_sampling("speech_spiral", 2, matrix=96, field_of_view_mm=200.0)
    assert small.trajectory is not None and small.weights is not None
    assert np.abs(small.trajectory).max() == pytest.approx(math.pi * (1 - 1 / 96), rel=0.01)
    expected = density_weights(small.trajectory, (96, 96), sampling="spiral")
    np.testing.assert_allclose(small.weights[..., :-3], expected[..., :-3], rtol=0.01)
    # Half the field of view at the same sampling rate would need gradients beyond the scanner's.
    dwell_s = 2 * 1.4e-6
    step = np.diff(small.trajectory[0, 0].astype(float), axis=0) * 96 / (2 * math.pi * 0.2)
    gradient = np.hypot(step[:, 0], step[:, 1]) / (PROTON_HZ_PER_T * dwell_s)
    assert gradient.max() < 22e-3

    oblong = preset_sampling("cardiac_radial", 2, matrix=(96, 128))
    assert oblong.trajectory is not None and oblong.weights is not None
    assert oblong.trajectory.shape == (2, 13, 256, 2)
    # 4 / π times the area of the disc of radius π, in units of 1 / FOV² of a 96 × 128 matrix.
    assert oblong.weights[0].sum() == pytest.approx(4 * 48 * 64, rel=1e-3)
    lines = preset_sampling("cardiac_cartesian", 2, matrix=(128, 96)).mask
    assert lines is not None and lines.shape == (2, 128)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="rotation_deg is for spirals"):
        preset_sampling("cardiac_radial", 2, rotation_deg=2)
    with pytest.raises(ValueError, match="designed for a square"):
        preset_sampling("cardiac_spiral", 2, matrix=(240, 200))
    with pytest.raises(ValueError, match="at least one frame"):
        preset_sampling("cardiac_spiral", 0)
