"""Running the networks on scans of any length and matrix.

 VarNet and 3D UNet take blocks of 24 frames, as in training. A longer series is cut into blocks that overlap
by a third and are cross-faded, so no seam is seen; a shorter one is continued by reflection in time. Matrices
that are no multiple of 4 are padded with zeros and cut again. FastDVDNet slides over the frames; its first
block runs once for each triple of frames and serves three outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recon_backend import network_inputs
from recon_backend.preparation import Prepared

if TYPE_CHECKING:
    import keras

BLOCK_FRAMES = 24
OVERLAP_FRAMES = 8
WINDOW_FRAMES = 5
_FRAMES_AT_ONCE = 8

Array = npt.NDArray[np.float32]
Report = Callable[[float], None]


def block_starts(frames: int) -> list[int]:
    """First frames of the blocks that cover a series: neighbours overlap by at least `OVERLAP_FRAMES`."""
    if frames <= BLOCK_FRAMES:
        return [0]
    count = -(-(frames - OVERLAP_FRAMES) // (BLOCK_FRAMES - OVERLAP_FRAMES))
    return [round(index * (frames - BLOCK_FRAMES) / (count - 1)) for index in range(count)]


def block_weights(start: int, frames: int) -> Array:
    """Cross-fade weights of a block's frames: positive, with a ramp at ends inside the series."""
    position = np.arange(BLOCK_FRAMES)
    rise = np.minimum(1.0, (position + 0.5) / OVERLAP_FRAMES) if start > 0 else np.ones(BLOCK_FRAMES)
    inside = start + BLOCK_FRAMES < frames
    fall = (
        np.minimum(1.0, (BLOCK_FRAMES - position - 0.5) / OVERLAP_FRAMES) if inside else np.ones(BLOCK_FRAMES)
    )
    return (rise * fall).astype(np.float32)


def reflected(frames: int) -> npt.NDArray[np.intp]:
    """Frame indices that continue a series shorter than a block by reflection in time."""
    period = max(1, 2 * (frames - 1))
    index = np.arange(BLOCK_FRAMES) % period
    return np.minimum(index, period - index)


def _blockwise(
    frames: int, matrix: tuple[int, int], run: Callable[[int, int], Array], report: Report
) -> Array:
    """Cover a series with blocks; `run(start, stop)` gives the magnitude of a block's frames."""
    starts = block_starts(frames)
    if frames < BLOCK_FRAMES:
        return run(0, frames)[:frames]
    total = np.zeros((frames, *matrix), np.float32)
    weight = np.zeros(frames, np.float32)
    for number, start in enumerate(starts):
        fade = block_weights(start, frames)
        total[start : start + BLOCK_FRAMES] += fade[:, None, None] * run(start, start + BLOCK_FRAMES)
        weight[start : start + BLOCK_FRAMES] += fade
        report((number + 1) / len(starts))
    return total / weight[:, None, None]


def _padded(images: Array, axes: tuple[int, int]) -> Array:
    padding = [(0, 0)] * images.ndim
    for axis in axes:
        padding[axis] = (0, -images.shape[axis] % 4)
    return np.pad(images, padding)


def _predict(model: keras.Model, inputs: Array | list[Array]) -> Array:
    return np.asarray(model.predict_on_batch(inputs), np.float32)


def run_varnet(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """VarNet on a Cartesian scan: magnitude (frame, y, x)."""
    height, width = prepared.acquisition.matrix

    def block(start: int, stop: int) -> Array:
        images, maps, encoding = network_inputs.varnet_inputs(prepared, start, stop)
        if stop - start < BLOCK_FRAMES:
            order = reflected(stop - start)
            images, encoding = images[order], encoding[order]
        images, maps = _padded(images, (1, 2)), _padded(maps, (1, 2))
        extra = images.shape[1] - height
        real, imaginary = encoding[:, :height], encoding[:, height:]
        rows = ((0, 0), (0, extra), (0, 0))
        encoding = np.concatenate([np.pad(real, rows), np.pad(imaginary, rows)], axis=1)
        output = _predict(model, [images[None], maps[None], encoding[None]])[0]
        return np.hypot(output[..., 0], output[..., 1])[:, :height, :width]

    return _blockwise(prepared.frames, (height, width), block, report)


def run_unet3d(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """3D UNet on a radial scan: magnitude (frame, y, x), negative values set to 0."""
    height, width = prepared.acquisition.matrix

    def block(start: int, stop: int) -> Array:
        images = network_inputs.unet3d_input(prepared, start, stop)
        if stop - start < BLOCK_FRAMES:
            images = images[reflected(stop - start)]
        output = _predict(model, _padded(images, (1, 2))[None])[0, ..., 0]
        return np.maximum(output, 0)[:, :height, :width]

    return _blockwise(prepared.frames, (height, width), block, report)


def run_fastdvdnet(model: keras.Model, prepared: Prepared, report: Report) -> Array:
    """FastDVDNet on a spiral scan: magnitude (frame − 4, y, x), from the fifth frame on."""
    height, width = prepared.acquisition.matrix
    first, second = model.get_layer("block1"), model.get_layer("block2")
    images: list[Array] = []
    triples: list[Array] = []
    outputs: list[Array] = []
    for start in range(0, prepared.frames, BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, prepared.frames)
        images.extend(_padded(network_inputs.magnitude_frames(prepared, start, stop), (1, 2)))
        while len(images) >= 3:
            count = min(_FRAMES_AT_ONCE, len(images) - 2)
            batch = np.stack([np.stack(images[i : i + 3], axis=-1) for i in range(count)])
            triples.extend(_predict(first, batch))
            del images[:count]
        while len(triples) >= 3:
            count = min(_FRAMES_AT_ONCE, len(triples) - 2)
            batch = np.stack([np.concatenate(triples[i : i + 3], axis=-1) for i in range(count)])
            outputs.extend(np.maximum(_predict(second, batch)[..., 0], 0)[:, :height, :width])
            del triples[:count]
        report(stop / prepared.frames)
    return np.stack(outputs)
