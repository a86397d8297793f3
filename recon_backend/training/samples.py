"""Training samples: a drawn movie, simulated, prepared as any scan is, and cut to a patch.

 The inputs come from `recon_backend.network_inputs`, which serves reconstruction too, so a network meets in
use just the numbers it was trained on. VarNet is cut along the readout only (the phase-encode axis must stay
whole); the other two are cut in space, 3D UNet also in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recon_backend import network_inputs
from recon_backend.acquisition import Sampling
from recon_backend.coils import combine, compress, root_sum_of_squares
from recon_backend.preparation import Prepared, prepare
from recon_backend.simulation.videos import (
    PUBLISHED_MATRIX,
    SimulatedScan,
    SimulationRanges,
    complex_object,
    simulate,
)
from recon_backend.training.sources import Source

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PatchShape:
    """How a simulated clip is cut.

    Attributes:
        simulated_frames: frames simulated (they make the time average).
        frames: frames of a patch.
        height, width: pixels of a patch; 0 = the whole matrix.
        patches: patches of one batch.
        batches: batches cut from one simulated clip.
    """

    simulated_frames: int
    frames: int
    height: int
    width: int
    patches: int
    batches: int = 1


PATCHES: dict[str, PatchShape] = {
    "cartesian": PatchShape(16, 16, 0, 24, 1, 4),
    "radial": PatchShape(16, 16, 64, 64, 2, 4),
    "spiral": PatchShape(12, 5, 128, 128, 4, 4),
}


def draw_batches(
    source: Source,
    sampling: Sampling,
    patch: PatchShape,
    rng: np.random.Generator,
    ranges: SimulationRanges,
    *,
    threads: int = 1,
) -> list[tuple[list[Array], Array]]:
    """Batches (inputs, target) of a freshly simulated clip; targets are magnitudes (batch, …, y, x)."""
    matrix = PUBLISHED_MATRIX[sampling]
    movie = complex_object(source.draw(rng, patch.simulated_frames, matrix), rng, ranges)
    scan = simulate(movie, sampling, rng, ranges, threads=threads)
    prepared = prepare(scan.acquisition, threads=threads)
    return [_batch(sampling, scan, prepared, patch, rng) for _ in range(patch.batches)]


def _batch(
    sampling: Sampling, scan: SimulatedScan, prepared: Prepared, patch: PatchShape, rng: np.random.Generator
) -> tuple[list[Array], Array]:
    cuts = [_cut(sampling, scan, prepared, patch, rng) for _ in range(patch.patches)]
    inputs = [np.stack(parts) for parts in zip(*(cut[0] for cut in cuts), strict=True)]
    return inputs, np.stack([cut[1] for cut in cuts])


def _cut(
    sampling: Sampling, scan: SimulatedScan, prepared: Prepared, patch: PatchShape, rng: np.random.Generator
) -> tuple[list[Array], Array]:
    first = int(rng.integers(patch.simulated_frames - patch.frames + 1))
    last = first + patch.frames
    size = prepared.acquisition.matrix[0]
    height, width = patch.height or size, patch.width or size
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    box = (slice(top, top + height), slice(left, left + width))
    target = scan.coil_images[:, first:last] / np.float32(prepared.scale)
    if sampling == "cartesian":
        truth = np.abs(combine(compress(target, prepared.compression), prepared.sensitivities))[..., box[1]]
        start, maps, encoding = network_inputs.varnet_inputs(prepared, first, last)
        return [start[:, :, box[1]], maps[:, :, box[1]], encoding], truth
    if sampling == "radial":
        images = network_inputs.unet3d_input(prepared, 0, patch.simulated_frames)[first:last]
        return [images[:, *box]], root_sum_of_squares(target[..., *box])
    frames = network_inputs.magnitude_frames(prepared, 0, patch.simulated_frames)[first:last]
    return [np.moveaxis(frames[:, *box], 0, -1)], root_sum_of_squares(target[:, -1, *box])
