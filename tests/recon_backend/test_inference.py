"""Blocks, cross-fades and the sliding window, with fake networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend import device, inference, network_inputs
from recon_backend.networks import build_fastdvdnet
from recon_backend.preparation import Prepared, prepare
from recon_backend.simulation.videos import SimulationRanges, complex_object, simulate

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend


class MiddleSlice:
    """Stands in for 3D UNet: returns the first input channel."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Channel 0 as the output image."""
        return images[..., :1]


def prepared_scan(frames: int, matrix: int = 32) -> Prepared:
    """A simulated radial scan of noise-like content."""
    rng = np.random.default_rng(frames)
    movie = complex_object(
        rng.integers(0, 255, (frames, matrix, matrix, 3), dtype=np.uint8), rng, SimulationRanges()
    )
    return prepare(simulate(movie, "radial", rng).acquisition)


@pytest.mark.parametrize("frames", [24, 25, 39, 40, 41, 100])
def test_blocks_cover_the_series_with_overlap(frames: int) -> None:
    """Every frame is covered, blocks stay inside, neighbours overlap by at least eight frames."""
    starts = inference.block_starts(frames)
    assert starts[0] == 0 and starts[-1] + inference.BLOCK_FRAMES == frames
    for early, late in zip(starts, starts[1:], strict=False):
        assert 0 < late - early <= inference.BLOCK_FRAMES - inference.OVERLAP_FRAMES


@pytest.mark.parametrize("frames", [7, 24, 45])
def test_cross_fade_returns_what_every_block_agrees_on(frames: int) -> None:
    """Where the network acts frame by frame, blocks and reflection change nothing."""
    prepared = prepared_scan(frames)
    result = inference.run_unet3d(MiddleSlice(), prepared, lambda _fraction: None)
    expected = np.maximum(network_inputs.unet3d_input(prepared, 0, frames)[..., 0], 0)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_matrix_that_is_no_multiple_of_four_is_padded_and_cut() -> None:
    """30 × 30 pixels go through a network that needs multiples of 4."""
    prepared = prepared_scan(9, matrix=30)
    assert inference.run_unet3d(MiddleSlice(), prepared, lambda _fraction: None).shape == (9, 30, 30)


def test_cached_first_stage_equals_the_whole_network() -> None:
    """Sliding with kept triples gives the frames that the complete network gives window by window."""
    prepared = prepared_scan(29)
    model = build_fastdvdnet((4, 8, 8))
    result = inference.run_fastdvdnet(model, prepared, lambda _fraction: None)
    frames = network_inputs.magnitude_frames(prepared, 0, 29)
    assert result.shape == (25, 32, 32)
    for index in (0, 7, 24):
        window = np.moveaxis(frames[index : index + 5], 0, -1)[None]
        expected = np.maximum(model.predict_on_batch(window)[0, ..., 0], 0)
        np.testing.assert_allclose(result[index], expected, atol=1e-4)
