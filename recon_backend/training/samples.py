"""Training samples: a drawn movie, simulated, prepared as any scan is, and cut to a patch.

 The inputs come from `recon_backend.network_inputs`, which serves reconstruction too, so a network meets in
use just the numbers it was trained on. VarNet is cut along the readout only (the phase-encode axis must stay
whole); the other two are cut in space, 3D UNet also in time. As published, whole matrices are taken and only
the window in time (3D UNet, FastDVDNet) and a turn by right angles (3D UNet) are drawn at each visit.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recon_backend import network_inputs
from recon_backend.acquisition import Sampling
from recon_backend.coils import combine, compress, root_sum_of_squares
from recon_backend.preparation import NORMALISATION_RULE, Prepared, prepare
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.simulation.videos import (
    PUBLISHED_MATRIX,
    SimulatedScan,
    complex_object,
    simulate,
    simulate_measured,
)
from recon_backend.training.sources import Source

# The scale of the published training: the peak of the truth, which a prospective scan does not have.
TRUTH_PEAK_RULE = "truth-peak"

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
    "radial": PatchShape(16, 16, 64, 64, 1, 8),
    "spiral": PatchShape(12, 5, 128, 128, 2, 8),
}


# Whole matrices, one window of one clip a step (paper_spec §2).
PUBLISHED_PATCHES: dict[str, PatchShape] = {
    "cartesian": PatchShape(24, 24, 0, 0, 1),
    "radial": PatchShape(32, 24, 0, 0, 1),
    "spiral": PatchShape(12, 5, 0, 0, 1),
}


def simulated_clip(
    source: Source,
    sampling: Sampling,
    frames: int,
    rng: np.random.Generator,
    ranges: SimulationRanges,
    *,
    clip: int | None = None,
    threads: int = 1,
) -> SimulatedScan:
    """A clip of the source, simulated; where `ranges` draw once a clip, it is the same at each visit.

    `clip` is its number in the source; drawn too if None.
    """
    matrix = PUBLISHED_MATRIX[sampling]
    if ranges.once_per_clip:
        clip = int(rng.integers(len(source.names))) if clip is None else clip
        rng = np.random.default_rng(zlib.crc32(source.names[clip].encode()))
    drawn = source.draw(rng, frames, matrix, ranges, clip)
    if drawn.dtype == np.complex64:
        return simulate_measured(drawn, sampling, rng, ranges, threads=threads)
    return simulate(complex_object(drawn, rng, ranges), sampling, rng, ranges, threads=threads)


def draw_batches(
    source: Source,
    sampling: Sampling,
    patch: PatchShape,
    rng: np.random.Generator,
    ranges: SimulationRanges,
    *,
    normalisation: str = NORMALISATION_RULE,
    clip: int | None = None,
    threads: int = 1,
) -> list[tuple[list[Array], Array]]:
    """Batches (inputs, target) of a freshly simulated clip; targets are magnitudes (batch, …, y, x).

    Args:
        source: where clips come from.
        sampling: which acquisition.
        patch: how the clip is cut.
        rng: source of every draw.
        ranges: what is drawn how.
        normalisation: `NORMALISATION_RULE` as in reconstruction, or `TRUTH_PEAK_RULE` as published.
        clip: number of the clip in the source; drawn too if None.
        threads: threads for the non-uniform FFT.
    """
    scan = simulated_clip(source, sampling, patch.simulated_frames, rng, ranges, clip=clip, threads=threads)
    prepared = prepare(scan.acquisition, threads=threads)
    material = PreparedClip(sampling, scan, prepared, ranges, normalisation)
    return [_batch(material, patch, rng) for _ in range(patch.batches)]


class PreparedClip:
    """A simulated scan and what was prepared of it, from which samples are cut.

    Attributes:
        prepared: the scan as the networks' inputs are made from.
        factor: what inputs and target are multiplied by, beside the scale of `prepared`.
    """

    def __init__(
        self,
        sampling: Sampling,
        scan: SimulatedScan,
        prepared: Prepared,
        ranges: SimulationRanges,
        normalisation: str = NORMALISATION_RULE,
    ) -> None:
        """Find the scale; see `draw_batches` for the arguments."""
        self.sampling, self.prepared, self._ranges = sampling, prepared, ranges
        self._images = scan.coil_images / np.float32(prepared.scale)
        self.factor = np.float32(1.0)
        if normalisation == TRUTH_PEAK_RULE:
            self.factor = np.float32(1.0 / max(float(self.truth(0, prepared.frames).max()), 1e-12))

    @property
    def turns(self) -> bool:
        """Whether samples are turned by right angles here (as published: 3D UNet's only)."""
        return self._ranges.published_reading and self.sampling == "radial"

    @property
    def last_start_open(self) -> bool:
        """As published, the last possible window is never drawn."""
        return self._ranges.published_reading

    def truth(self, first: int, last: int, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """The target's magnitude (frame, y, x) of frames first…last − 1 in a box, before `factor`."""
        images = self._images[:, first:last, rows, columns]
        if self.sampling == "cartesian":
            maps = self.prepared.sensitivities[:, rows, columns]
            return np.abs(combine(compress(images, self.prepared.compression), maps))
        if self.sampling == "radial" and self._ranges.noisy_target:
            # With noise the number of coils in the sum matters; published: the ten virtual ones.
            images = compress(images, self.prepared.compression)
        return root_sum_of_squares(images)

    @cached_property
    def _gridded(self) -> Array:
        """What 3D UNet (frame, y, x, channel) or FastDVDNet (frame, y, x) are fed, of the whole scan."""
        make = network_inputs.unet3d_input if self.sampling == "radial" else network_inputs.magnitude_frames
        return make(self.prepared, 0, self.prepared.frames) * self.factor

    def cut(self, first: int, last: int, rows: slice, columns: slice) -> tuple[list[Array], Array]:
        """Inputs and target of frames first…last − 1 in a box; VarNet takes all rows."""
        if self.sampling == "cartesian":
            target = self.truth(first, last, columns=columns)
            start, maps, encoding = network_inputs.varnet_inputs(self.prepared, first, last)
            images = start[:, :, columns] * self.factor
            return [images, maps[:, :, columns], encoding], target * self.factor
        images = self._gridded[first:last, rows, columns]
        if self.sampling == "radial":
            return [images], self.truth(first, last, rows, columns) * self.factor
        return [np.moveaxis(images, 0, -1)], self.truth(last - 1, last, rows, columns)[0] * self.factor


def _batch(clip: PreparedClip, patch: PatchShape, rng: np.random.Generator) -> tuple[list[Array], Array]:
    cuts = [_drawn_cut(clip, patch, rng) for _ in range(patch.patches)]
    inputs = [np.stack(parts) for parts in zip(*(cut[0] for cut in cuts), strict=True)]
    return inputs, np.stack([cut[1] for cut in cuts])


def drawn_range(size: int, length: int, rng: np.random.Generator) -> slice:
    """`length` of `size` pixels: from anywhere where they would touch the axis, then moved inside.

    So the ends of the axis are seen about as often as its middle. If only places inside were drawn, the
    corners of the matrix would hardly be seen, and with them the background, where SSIM is lost first.
    """
    start = min(max(int(rng.integers(1 - length, size)), 0), size - length)
    return slice(start, start + length)


def _drawn_cut(clip: PreparedClip, patch: PatchShape, rng: np.random.Generator) -> tuple[list[Array], Array]:
    starts = clip.prepared.frames - patch.frames + (0 if clip.last_start_open else 1)
    first = int(rng.integers(max(1, starts)))
    size = clip.prepared.acquisition.matrix[0]
    height, width = patch.height or size, patch.width or size
    rows, columns = drawn_range(size, height, rng), drawn_range(size, width, rng)
    inputs, target = clip.cut(first, first + patch.frames, rows, columns)
    if clip.turns:
        count = int(rng.integers(4))
        inputs = [np.ascontiguousarray(np.rot90(values, count, axes=(1, 2))) for values in inputs]
        target = np.ascontiguousarray(np.rot90(target, count, axes=(1, 2)))
    return inputs, target
