"""Radial readouts as straight lines, and their data between the samples: what the checks of a scan stand on.

 A spoke is k(u) = o + u d with u in samples, measured from its nominal closest approach to the centre, in
units of 1 over the length of a pixel (so that directions are those of the gradients also where pixels are not
square). Data between samples come from a Kaiser-windowed sinc on each readout: it is band-limited by the
field of view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STRAIGHT = 0.02
_SINC_HALF_WIDTH = 24
_KAISER_BETA = 8.0
_FEWEST_SAMPLES_BESIDE_CENTRE = 8


@dataclass(frozen=True, eq=False)
class Spokes:
    """Full lines through the centre of k-space, in the order of acquisition.

    Attributes:
        frame: number of the frame of each spoke.
        number: running number, counting readouts that were not acquired too.
        origin: complex (spoke,): point closest to the centre, x + i y.
        step: complex (spoke,): from one sample to the next.
        centre: sample number (not whole) of that point.
    """

    frame: NDArray[np.int64]
    number: NDArray[np.int64]
    origin: NDArray[np.complex128]
    step: NDArray[np.complex128]
    centre: NDArray[np.float64]

    @property
    def direction(self) -> NDArray[np.complex128]:
        """Unit vectors (spoke,), x + i y."""
        return self.step / np.abs(self.step)

    @property
    def count(self) -> int:
        """Number of spokes."""
        return int(self.frame.size)


def find_spokes(
    trajectory: NDArray[np.floating],
    readout_mask: NDArray[np.bool_],
    pixel_spacing: tuple[float, float],
    frames: NDArray[np.int64] | None = None,
) -> Spokes | None:
    """Return the spokes of some frames, or None unless all readouts are full lines through the centre.

    Args:
        trajectory: (frame, readout, sample, 2), rad/pixel, (y, x).
        readout_mask: bool (frame, readout).
        pixel_spacing: (y, x) in any unit.
        frames: which frames; all if None.
    """
    chosen = np.arange(len(trajectory)) if frames is None else frames
    readouts, samples = trajectory.shape[1:3]
    frame, readout = np.nonzero(readout_mask[chosen])
    frame = chosen[frame]
    if samples < 2 * _FEWEST_SAMPLES_BESIDE_CENTRE or not frame.size:
        return None
    points = trajectory[frame, readout]
    plane = points[..., 1] / pixel_spacing[1] + 1j * points[..., 0] / pixel_spacing[0]
    plane = plane.astype(np.complex128)
    step = (plane[:, -1] - plane[:, 0]) / (samples - 1)
    length = np.abs(step)
    if not (length > 0).all():
        return None
    straight = plane[:, :1] + step[:, None] * np.arange(samples)
    if (np.abs(plane - straight).max(axis=1) > _STRAIGHT * length * samples).any():
        return None
    centre = -(plane[:, 0] * step.conj()).real / length**2
    origin = plane[:, 0] + centre * step
    beside = np.minimum(centre, samples - 1 - centre)
    if (beside < _FEWEST_SAMPLES_BESIDE_CENTRE).any() or (np.abs(origin) > 3 * length).any():
        return None
    return Spokes(frame, frame * readouts + readout, origin, step, centre)


def values_near_centre(
    kspace: NDArray[np.complex64],
    readout_mask: NDArray[np.bool_],
    spokes: Spokes,
    offsets: NDArray[np.float64],
) -> NDArray[np.complex64]:
    """Return the data (spoke, coil, offset) at `offsets` samples from each spoke's centre.

    Args:
        kspace: (coil, frame, readout, sample).
        readout_mask: bool (frame, readout).
        spokes: from `find_spokes` for the same data.
        offsets: in samples.
    """
    readouts, samples = kspace.shape[2:]
    frame, readout = np.divmod(spokes.number, readouts)
    assert readout_mask[frame, readout].all()
    reach = _SINC_HALF_WIDTH + int(np.ceil(np.abs(offsets).max())) + 1
    values = np.empty((spokes.count, len(kspace), offsets.size), np.complex64)
    rounded = np.round(spokes.centre, 3)
    for centre in np.unique(rounded):
        which = np.flatnonzero(rounded == centre)
        first, last = max(0, int(centre) - reach), min(samples, int(centre) + reach + 1)
        distance = np.arange(first, last)[:, None] - (centre + offsets)
        inside = np.clip(1 - (distance / _SINC_HALF_WIDTH) ** 2, 0, None)
        window = np.where(inside > 0, np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA), 0)
        matrix = (np.sinc(distance) * window).astype(np.float32)
        values[which] = np.moveaxis(kspace[:, frame[which], readout[which], first:last] @ matrix, 0, 1)
    return values
