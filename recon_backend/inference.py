"""Running the networks on scans of any length and matrix.

 VarNet and 3D UNet are convolutions in time, so they take series longer than the 24 frames of training. A
series goes through in one piece up to a bound of memory, continued by reflection to one of a few lengths; a
longer one is cut into blocks that overlap. A block's frames near a cut lack neighbours and are thrown away:
so many of them (the margin) that what is kept differs by about 1 % of the peak at most from the whole series
in one piece; what two blocks keep is cross-faded. Matrices are padded with zeros to a multiple of 16 and cut
again, and VarNet's lines to a multiple of 8, so that few shapes occur and a new scan seldom compiles anew.
FastDVDNet slides over the frames; its first block runs once for each triple of frames and serves three
outputs. Memory does not grow with the series; where a block does not fit the device, shorter ones are tried.
Networks that are fed by a rule of their own (`Prepared.under_rule`) have their answer scaled back.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recon_backend import device, network_inputs
from recon_backend.memory import physical_memory
from recon_backend.preparation import Prepared

if TYPE_CHECKING:
    import keras

BLOCK_FRAMES = 24
_FADE = 2
WINDOW_FRAMES = 5
_BATCHES = (8, 1)
_MATRIX_MULTIPLE = 16
_LINES_MULTIPLE = 8

_LOGGER = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Report = Callable[[float], None]


@dataclass(frozen=True)
class Blocks:
    """How a network's series are cut.

    Attributes:
        sizes: frames of a block; the first that suits the machine's memory is used, the others after it are
            tried in turn when the device runs out of memory.
        margin: frames at a cut that are thrown away; at most a quarter of a block.
        bytes_per_pixel: memory that a pixel of a frame needs in float32, measured.
    """

    sizes: Sequence[int]
    margin: int
    bytes_per_pixel: int

    def fitting(self, matrix: tuple[int, int], memory: int) -> Sequence[int]:
        """The sizes whose blocks take half of `memory` bytes at most; the smallest in any case."""
        pixels = math.prod(size + -size % _MATRIX_MULTIPLE for size in matrix)
        fitting = [size for size in self.sizes if 2 * size * pixels * self.bytes_per_pixel <= memory]
        return fitting or self.sizes[-1:]

    def margin_of(self, size: int) -> int:
        """Frames thrown away at each cut of blocks of `size`."""
        return min(self.margin, size // 4)

    def starts(self, frames: int, size: int) -> list[int]:
        """First frames of the blocks of `size` that cover a series: what they keep overlaps for a fade."""
        if frames <= size:
            return [0]
        overlap = 2 * self.margin_of(size) + _FADE
        count = -(-(frames - overlap) // (size - overlap))
        return [round(index * (frames - size) / (count - 1)) for index in range(count)]

    def weights(self, start: int, frames: int, size: int) -> Array:
        """Weights of a block's frames: 0 in the margin of a cut, a ramp behind it, else 1."""
        position, margin = np.arange(size), self.margin_of(size)
        weights = np.ones(size)
        if start > 0:
            weights *= np.clip((position - margin + 0.5) / _FADE, 0, 1)
        if start + size < frames:
            weights *= np.clip((size - position - margin - 0.5) / _FADE, 0, 1)
        return weights.astype(np.float32)


# Margins from the shipped networks on a heart's scan, blocks against the series in one piece: VarNet's
# cascades carry the end of a block much further than one UNet does.
VARNET_BLOCKS = Blocks((96, 64, 48, 32, 24, 12, 8), 16, 1_200)
UNET3D_BLOCKS = Blocks((64, 48, 32, 24, 12, 8), 8, 2_100)
# What is shorter than a block is continued to one of these, so that few lengths are compiled.
_LENGTHS = (24, 32, 40, 48, 64, 80, 96)


def reflected(frames: int, size: int = BLOCK_FRAMES) -> npt.NDArray[np.intp]:
    """Frame indices that continue a series shorter than a block by reflection in time."""
    period = max(1, 2 * (frames - 1))
    index = np.arange(size) % period
    return np.minimum(index, period - index)


def _smaller_if_full(run: Callable[[int], Array], sizes: Sequence[int]) -> Array:
    """`run(size)` with the first size that the device's memory holds."""
    for size in sizes[:-1]:
        try:
            return run(size)
        except device.memory_errors() as error:
            if not device.is_out_of_memory(error):
                raise
            _LOGGER.warning("The device's memory does not hold %d frames at once; trying fewer.", size)
    return run(sizes[-1])


def _blockwise(
    blocks: Blocks,
    frames: int,
    matrix: tuple[int, int],
    run: Callable[[int, int, int], Array],
    report: Report,
) -> Array:
    """Cover a series with blocks; `run(start, stop, size)` gives the magnitude of a block's frames."""

    def length(size: int) -> int:
        """Frames that a block of `size` runs at: a series that is shorter is continued to a usual length."""
        usual = (length for length in _LENGTHS if frames <= length <= size)
        return min(usual, default=size) if frames <= size else size

    def cover(size: int) -> Array:
        if frames <= size:
            return run(0, frames, size)[:frames]
        starts = blocks.starts(frames, size)
        total = np.zeros((frames, *matrix), np.float32)
        weight = np.zeros(frames, np.float32)
        for number, start in enumerate(starts):
            fade = blocks.weights(start, frames, size)
            total[start : start + size] += fade[:, None, None] * run(start, start + size, size)
            weight[start : start + size] += fade
            report((number + 1) / len(starts))
        return total / weight[:, None, None]

    sizes = blocks.fitting(matrix, physical_memory())
    return _smaller_if_full(cover, list(dict.fromkeys(length(size) for size in sizes)))


def padded(images: Array, axes: tuple[int, int]) -> Array:
    """Zeros behind, up to the next multiple that the networks are run at, along `axes`."""
    padding = [(0, 0)] * images.ndim
    for axis in axes:
        padding[axis] = (0, -images.shape[axis] % _MATRIX_MULTIPLE)
    return np.pad(images, padding)


def _padded_encoding(encoding: Array, height: int) -> Array:
    """Rows for the padded image and empty lines up to the next multiple; [re, im] halves on both axes."""
    rows, lines = -height % _MATRIX_MULTIPLE, encoding.shape[2] // 2
    parts = encoding.reshape(len(encoding), 2, height, 2, lines)
    parts = np.pad(parts, ((0, 0), (0, 0), (0, rows), (0, 0), (0, -lines % _LINES_MULTIPLE)))
    return parts.reshape(len(encoding), 2 * parts.shape[2], 2 * parts.shape[4])


def _predict(model: keras.Model, inputs: Array | list[Array]) -> Array:
    return np.asarray(model.predict_on_batch(inputs), np.float32)


def varnet_block(model: keras.Model, prepared: Prepared, start: int, stop: int, size: int) -> Array:
    """VarNet on frames start…stop − 1 of a Cartesian scan, continued by reflection to `size` frames.

    Returns:
        Magnitude (size, y, x).
    """
    height, width = prepared.acquisition.matrix
    images, maps, encoding = network_inputs.varnet_inputs(prepared, start, stop)
    if stop - start < size:
        order = reflected(stop - start, size)
        images, encoding = images[order], encoding[order]
    images, maps = padded(images, (1, 2)), padded(maps, (1, 2))
    encoding = _padded_encoding(encoding, height)
    output = _predict(model, [images[None], maps[None], encoding[None]])[0]
    magnitude = np.hypot(output[..., 0], output[..., 1])[:, :height, :width]
    return np.asarray(magnitude / np.float32(prepared.factor), np.float32)


def unet3d_block(model: keras.Model, prepared: Prepared, start: int, stop: int, size: int) -> Array:
    """3D UNet on frames start…stop − 1 of a radial scan, continued by reflection to `size` frames.

    Returns:
        Magnitude (size, y, x), negative values set to 0.
    """
    height, width = prepared.acquisition.matrix
    images = network_inputs.unet3d_input(prepared, start, stop)
    if stop - start < size:
        images = images[reflected(stop - start, size)]
    output = _predict(model, padded(images, (1, 2))[None])[0, ..., 0]
    return np.asarray(np.maximum(output, 0)[:, :height, :width] / np.float32(prepared.factor), np.float32)


def run_varnet(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """VarNet on a Cartesian scan: magnitude (frame, y, x)."""
    block = partial(varnet_block, model, prepared)
    return _blockwise(VARNET_BLOCKS, prepared.frames, prepared.acquisition.matrix, block, report)


def run_unet3d(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """3D UNet on a radial scan: magnitude (frame, y, x), negative values set to 0."""
    block = partial(unet3d_block, model, prepared)
    return _blockwise(UNET3D_BLOCKS, prepared.frames, prepared.acquisition.matrix, block, report)


def run_fastdvdnet(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """FastDVDNet on a spiral scan: magnitude (frame − 4, y, x), from the fifth frame on."""
    return _smaller_if_full(lambda batch: _fastdvdnet(model, prepared, report, batch), _BATCHES)


def _fastdvdnet(model: keras.Model, prepared: Prepared, report: Report, at_once: int) -> Array:
    height, width = prepared.acquisition.matrix
    first, second = model.get_layer("block1"), model.get_layer("block2")
    images: list[Array] = []
    triples: list[Array] = []
    outputs: list[Array] = []
    for start in range(0, prepared.frames, BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, prepared.frames)
        images.extend(padded(network_inputs.magnitude_frames(prepared, start, stop), (1, 2)))
        while len(images) >= 3:
            count = min(at_once, len(images) - 2)
            batch = np.stack([np.stack(images[i : i + 3], axis=-1) for i in range(count)])
            triples.extend(_predict(first, batch))
            del images[:count]
        while len(triples) >= 3:
            count = min(at_once, len(triples) - 2)
            batch = np.stack([np.concatenate(triples[i : i + 3], axis=-1) for i in range(count)])
            outputs.extend(np.maximum(_predict(second, batch)[..., 0], 0)[:, :height, :width])
            del triples[:count]
        report(stop / prepared.frames)
    return np.stack(outputs) / np.float32(prepared.factor)
