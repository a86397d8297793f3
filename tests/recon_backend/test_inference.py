"""Blocks, cross-fades and the sliding window, with fake networks whose answer is known."""

from __future__ import annotations

import os

import numpy as np
import pytest

from recon_backend import device, inference, models, network_inputs
from recon_backend.memory import physical_memory
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


@pytest.mark.parametrize("blocks", [inference.VARNET_BLOCKS, inference.UNET3D_BLOCKS])
@pytest.mark.parametrize("frames", [24, 25, 39, 64, 65, 97, 100, 513])
def test_what_blocks_keep_covers_the_series(blocks: inference.Blocks, frames: int) -> None:
    """Blocks stay inside, every frame counts, and none does that lies within the margin of a cut."""
    for size in blocks.sizes:
        if size > frames:
            continue
        margin = min(blocks.margin, size // 4)
        total = np.zeros(frames)
        starts = blocks.starts(frames, size)
        assert starts[0] == 0 and starts[-1] + size == frames
        for start in starts:
            weights = blocks.weights(start, frames, size)
            assert start == 0 or not weights[:margin].any()
            assert start + size == frames or not weights[size - margin :].any()
            assert weights[margin : size - margin].all()
            total[start : start + size] += weights
        assert total.min() > 0


def test_blocks_suit_the_memory() -> None:
    """Half of the memory is for a block; the smallest block is tried in any case."""
    blocks = inference.Blocks((64, 24, 8), 8, 1000)
    need = 2 * 24 * 32 * 48 * 1000  # 30 × 41 pixels are padded to 32 × 48
    assert list(blocks.fitting((30, 41), need)) == [24, 8]
    assert list(blocks.fitting((30, 41), need - 1)) == [8]
    assert list(blocks.fitting((30, 41), 1)) == [8]
    assert 2**28 < physical_memory() < 2**46


@pytest.mark.parametrize("frames", [7, 24, 45, 70])
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
    """32 frames do not fit, 12 do: the answer is the same; where nothing fits, the error comes through."""
    prepared, model = prepared_scan(30), SmallMemory(12)
    result = inference.run_unet3d(model, prepared, lambda _fraction: None)
    assert model.seen[:2] == [32, 24] and set(model.seen[2:]) == {12}
    expected = np.maximum(network_inputs.unet3d_input(prepared, 0, 30)[..., 0], 0)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    with pytest.raises(MemoryError):
        inference.run_unet3d(SmallMemory(4), prepared, lambda _fraction: None)


@pytest.mark.parametrize(
    ("frames", "lengths"), [(7, [24, 12, 8]), (24, [24, 12, 12, 12]), (25, [32, 24, 12]), (50, [64, 48])]
)
def test_short_series_run_at_few_lengths_each_tried_once(frames: int, lengths: list[int]) -> None:
    """A series is continued to the next usual length; less memory means fewer frames each time."""
    model = SmallMemory(8 if frames == 7 else 12)
    inference.run_unet3d(model, prepared_scan(frames), lambda _fraction: None)
    assert model.seen[: len(lengths)] == lengths


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


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "tensorflow", reason="compiles each length for minutes")
@pytest.mark.parametrize(("sampling", "frames", "size"), [("radial", 72, 48), ("cartesian", 80, 64)])
def test_blocks_equal_the_series_in_one_piece(sampling: str, frames: int, size: int) -> None:
    """The shipped networks: 1 % of the peak at any pixel; the last frames of a block are off by more."""
    prepared = shipped_scan(sampling, frames, 48)
    network = models.find(sampling, "natural").load()
    block, blocks = {
        "radial": (inference.unet3d_block, inference.UNET3D_BLOCKS),
        "cartesian": (inference.varnet_block, inference.VARNET_BLOCKS),
    }[sampling]
    whole = block(network, prepared, 0, frames, frames)
    cut = inference.Blocks((size,), blocks.margin, 0)

    def run(start: int, stop: int, length: int) -> np.ndarray:
        return block(network, prepared, start, stop, length)

    found = inference._blockwise(cut, frames, (48, 48), run, lambda _fraction: None)
    assert np.abs(found - whole).max() < 1e-2 * whole.max()
    first = run(0, size, size)
    assert np.abs(first[-1] - whole[size - 1]).max() > 1e-2 * whole.max()
