"""Blocks, cross-fades and the sliding window, with fake networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend import device, inference, models, network_inputs
from recon_backend.networks import build_fastdvdnet
from recon_backend.preparation import Prepared, prepare
from recon_backend.sampling.encoding import line_encoding
from recon_backend.simulation.phantoms import beating_heart
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
        assert 0 < late - early <= inference.BLOCK_FRAMES - 8


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


class SmallMemory(MiddleSlice):
    """A device that holds so many frames at once."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.seen: list[int] = []

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Channel 0, if it fits."""
        self.seen.append(images.shape[1])
        if images.shape[1] > self.frames:
            raise MemoryError
        return super().predict_on_batch(images)


def test_shorter_blocks_where_memory_does_not_suffice() -> None:
    """24 frames do not fit, 12 do: the answer is the same; where nothing fits, the error comes through."""
    prepared, model = prepared_scan(30), SmallMemory(12)
    result = inference.run_unet3d(model, prepared, lambda _fraction: None)
    assert model.seen[0] == 24 and set(model.seen[1:]) == {12}
    expected = np.maximum(network_inputs.unet3d_input(prepared, 0, 30)[..., 0], 0)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    with pytest.raises(MemoryError):
        inference.run_unet3d(SmallMemory(4), prepared, lambda _fraction: None)


def test_padded_encoding_gives_the_same_lines() -> None:
    """Zero rows see the padded pixels, zero columns are lines that nobody acquired."""
    rng = np.random.default_rng(3)
    mask = rng.random((3, 30)) < 0.4
    encoding = line_encoding(mask)
    padded = inference._padded_encoding(encoding, 30)
    lines, more = encoding.shape[2] // 2, padded.shape[2] // 2
    assert padded.shape[1] == 64 and more % 8 == 0
    column = rng.standard_normal((2, 30)).astype(np.float32)
    longer = np.pad(column, ((0, 0), (0, 2)))
    found = np.einsum("r,frl->fl", longer.ravel(), padded).reshape(3, 2, more)
    expected = np.einsum("r,frl->fl", column.ravel(), encoding).reshape(3, 2, lines)
    np.testing.assert_allclose(found[..., :lines], expected, atol=1e-5)
    assert not found[..., lines:].any()


def shipped_scan(sampling: str, frames: int, matrix: int) -> Prepared:
    """The beating heart through the scanner's encoding, prepared."""
    rng = np.random.default_rng(1)
    movie = beating_heart(frames, matrix, 0.05).astype(np.complex64)
    return prepare(simulate(movie, sampling, rng, SimulationRanges(coils=(6, 6))).acquisition)


def test_half_the_digits_change_little() -> None:
    """The shipped network for spirals in bfloat16 and in float32: 1 % of the peak, 0.2 % on average."""
    prepared = shipped_scan("spiral", 7, 240)
    model = models.find("spiral", "natural")
    full, half = (
        inference.run_fastdvdnet(model.load(precision), prepared, lambda _fraction: None)
        for precision in ("float32", "mixed_bfloat16")
    )
    assert full.max() > 0.3 and np.abs(half - full).max() > 0
    assert np.abs(half - full).max() < 0.03 * full.max()
    assert np.abs(half - full).mean() < 0.002 * full.max()


def test_where_blocks_begin_hardly_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped network for spokes on 40 frames: other block boundaries change it by 1 % of the peak."""
    prepared = shipped_scan("radial", 40, 64)
    network = models.find("radial", "natural").load()
    usual = inference.run_unet3d(network, prepared, lambda _fraction: None)
    monkeypatch.setattr(inference, "block_starts", lambda _frames, _size: [0, 5, 11, 16])
    other = inference.run_unet3d(network, prepared, lambda _fraction: None)
    assert np.abs(other - usual).mean() < 2e-3 * usual.max()
    assert np.sqrt(((other - usual) ** 2).mean()) < 1e-2 * usual.max()
