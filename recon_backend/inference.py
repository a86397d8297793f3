"""Running the networks on scans of any length and matrix.

 VarNet and 3D UNet take blocks of 24 frames, as in training. A longer series is cut into blocks that overlap
by a third and are cross-faded, so no seam is seen; a shorter one is continued by reflection in time. Matrices
are padded with zeros to a multiple of 16 and cut again, and VarNet's lines to a multiple of 8, so that few
shapes occur and a new scan seldom compiles anew. FastDVDNet slides over the frames; its first block runs once
for each triple of frames and serves three outputs. Memory does not grow with the series; where a block does
not fit the device, shorter ones are tried.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recon_backend import device, network_inputs
from recon_backend.preparation import Prepared

if TYPE_CHECKING:
    import keras

BLOCK_FRAMES = 24
# Tried in turn when the device runs out of memory; neighbours overlap by a third.
BLOCK_CHOICES = (BLOCK_FRAMES, 12, 8)
WINDOW_FRAMES = 5
_BATCHES = (8, 1)
_MATRIX_MULTIPLE = 16
_LINES_MULTIPLE = 8

_LOGGER = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Report = Callable[[float], None]


def block_starts(frames: int, size: int = BLOCK_FRAMES) -> list[int]:
    """First frames of the blocks of `size` that cover a series: neighbours overlap by at least a third."""
    if frames <= size:
        return [0]
    overlap = size // 3
    count = -(-(frames - overlap) // (size - overlap))
    return [round(index * (frames - size) / (count - 1)) for index in range(count)]


def block_weights(start: int, frames: int, size: int = BLOCK_FRAMES) -> Array:
    """Cross-fade weights of a block's frames: positive, with a ramp at ends inside the series."""
    position, overlap = np.arange(size), size // 3
    rise = np.minimum(1.0, (position + 0.5) / overlap) if start > 0 else np.ones(size)
    inside = start + size < frames
    fall = np.minimum(1.0, (size - position - 0.5) / overlap) if inside else np.ones(size)
    return (rise * fall).astype(np.float32)


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
    frames: int, matrix: tuple[int, int], run: Callable[[int, int, int], Array], report: Report
) -> Array:
    """Cover a series with blocks; `run(start, stop, size)` gives the magnitude of a block's frames."""

    def cover(size: int) -> Array:
        if frames < size:
            return run(0, frames, size)[:frames]
        starts = block_starts(frames, size)
        total = np.zeros((frames, *matrix), np.float32)
        weight = np.zeros(frames, np.float32)
        for number, start in enumerate(starts):
            fade = block_weights(start, frames, size)
            total[start : start + size] += fade[:, None, None] * run(start, start + size, size)
            weight[start : start + size] += fade
            report((number + 1) / len(starts))
        return total / weight[:, None, None]

    return _smaller_if_full(cover, BLOCK_CHOICES)


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
    return np.hypot(output[..., 0], output[..., 1])[:, :height, :width]


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
    return np.maximum(output, 0)[:, :height, :width]


def run_varnet(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """VarNet on a Cartesian scan: magnitude (frame, y, x)."""
    return _blockwise(
        prepared.frames, prepared.acquisition.matrix, partial(varnet_block, model, prepared), report
    )


def run_unet3d(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """3D UNet on a radial scan: magnitude (frame, y, x), negative values set to 0."""
    return _blockwise(
        prepared.frames, prepared.acquisition.matrix, partial(unet3d_block, model, prepared), report
    )


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
    return np.stack(outputs)
