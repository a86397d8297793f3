"""Density weights of any trajectory: closed forms, brute force and the published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon_backend.sampling.density import density_weights
from recon_backend.sampling.pipe_menon import even_smooth_size, pipe_menon_weights, spreading_matrix
from recon_backend.sampling.radial import radial_density_weights, radial_trajectory
from recon_backend.sampling.spiral import spiral_density_weights, spiral_trajectory


def test_radial_file_gets_the_published_weights() -> None:
    weights = density_weights(radial_trajectory(5), (256, 256), sampling="radial")
    assert weights == pytest.approx(radial_density_weights(5), rel=1e-4, abs=1e-6)


def test_centre_out_lines_fill_the_disc() -> None:
    full = radial_trajectory(1, spokes=20, samples=128)
    half = full[:, :, 64:]
    weights = density_weights(half, (64, 64), sampling="radial")
    area = 4 / math.pi * math.pi * 31.75**2
    assert weights.sum() == pytest.approx(area, rel=0.01)


def test_lines_sampled_beside_the_centre_fill_the_disc() -> None:
    trajectory = radial_trajectory(1, spokes=21, samples=128).astype(np.float64)
    step = trajectory[:, :, 1:2] - trajectory[:, :, 0:1]
    weights = density_weights(trajectory + 0.5 * step, (64, 64), sampling="radial")
    assert weights.sum() == pytest.approx(4 * 32**2, rel=1e-3)
    assert weights[0, 0, 63] == pytest.approx(weights[0, 0, 64], rel=1e-4)


@pytest.mark.parametrize("rotation", [2.0, 30.0, 137.5])
def test_spiral_file_gets_the_published_weights(rotation: float) -> None:
    trajectory = spiral_trajectory(4, frame_rotation_rad=math.radians(rotation))
    weights = density_weights(trajectory, (240, 240), sampling="spiral")
    expected = spiral_density_weights(4)
    assert weights[..., :-3] == pytest.approx(expected[..., :-3], rel=0.01)


def test_far_fewer_arms_than_nyquist_are_weighted_by_themselves() -> None:
    trajectory = spiral_trajectory(3, arms=8)
    weights = density_weights(trajectory, (240, 240), sampling="spiral")
    own = pipe_menon_weights(trajectory[0].reshape(-1, 2), (240, 240)).reshape(8, -1)
    assert weights[0] == pytest.approx(own, rel=1e-6)
    assert weights[2] == pytest.approx(own, rel=1e-6), "a turned frame shares its weights"
    centre = weights[0, :, :60].sum() / spiral_density_weights(1)[0, :8, :60].sum()
    assert centre == pytest.approx(2, rel=0.05)


def test_readouts_not_acquired_weigh_nothing() -> None:
    mask = np.ones((2, 13), dtype=bool)
    mask[1, 5:] = False
    weights = density_weights(radial_trajectory(2), (256, 256), sampling="radial", readout_mask=mask)
    assert np.all(weights[1, 5:] == 0)
    assert weights[1, 0, 0] == pytest.approx(256 / 5, rel=1e-4)
    assert weights[0, 0, 0] == pytest.approx(256 / 13, rel=1e-4)
    arms = np.ones((2, 15), dtype=bool)
    arms[1, 3:] = False
    spiral = density_weights(spiral_trajectory(2), (240, 240), sampling="spiral", readout_mask=arms)
    assert np.all(spiral[1, 3:] == 0)
    assert np.all(spiral[1, :3] > 0)


def test_pipe_menon_on_a_cartesian_grid_is_the_cell_area() -> None:
    size = 32
    axis = 2 * math.pi * (np.arange(2 * size) - size) / (2 * size)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = pipe_menon_weights(points, (size, size))
    # Half the spacing of 1 / FOV along both axes: a quarter of its area.
    assert weights == pytest.approx(np.full(points.shape[0], 4 / math.pi / 4), rel=0.01)


def test_spreading_matrix_is_the_kernel_wrapped_round_the_grid() -> None:
    point = np.array([[math.pi - 0.01, 0.4]])
    row = spreading_matrix(point, (16, 18)).toarray().reshape(16, 18)
    cells_y = (np.arange(16) - point[0, 0] * 16 / (2 * math.pi) + 8) % 16 - 8
    cells_x = (np.arange(18) - point[0, 1] * 18 / (2 * math.pi) + 9) % 18 - 9

    def bell(distance: np.ndarray) -> np.ndarray:
        inside = np.clip(1 - (distance / 3.5) ** 2, 0, None)
        return np.where(inside > 0, np.exp(16.1 * (np.sqrt(inside) - 1)), 0)

    fine = np.linspace(-3.5, 3.5, 200_001)
    integral = bell(fine).sum() * (fine[1] - fine[0])
    expected = bell(cells_y)[:, None] * bell(cells_x) / integral**2
    assert row == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_even_smooth_size() -> None:
    assert [even_smooth_size(n) for n in (480, 481, 2, 14, 1000, 7)] == [480, 486, 2, 16, 1000, 8]


def test_refusals() -> None:
    trajectory = radial_trajectory(1)
    with pytest.raises(ValueError, match="'radial' and 'spiral'"):
        density_weights(trajectory, (256, 256), sampling="cartesian")
    with pytest.raises(ValueError, match="readout_mask"):
        density_weights(trajectory, (256, 256), sampling="radial", readout_mask=np.ones((1, 12), bool))
    trajectory[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        density_weights(trajectory, (256, 256), sampling="radial")
