"""What a stream must know before its first image: virtual coils, sensitivities, scale, density weights.

All of it comes from the first frames, the calibration window, by the same rules as for a whole scan
(`recon_backend.preparation`), and stays as it is until the scan ends: an estimate that went on would make the
movie flicker. Density weights of a later frame are those of a calibrated frame of which it is a turned copy,
or of its arms; a trajectory that is new altogether gets weights of its own, which takes about a second.
Gradient delays of radial scans are estimated in the window too, and put into every frame's trajectory.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition
from recon_backend.preparation import prepare
from recon_backend.sampling.delays import GradientDelays, corrected_trajectory
from recon_backend.sampling.density import density_weights

# A part of 1 / FOV: below it a difference between two trajectories does not change the density.
_SAME_POSITION = 0.25
_REMEMBERED_FRAMES = 256
_REMEMBERED_KINDS = 8


def joined(frames: Sequence[Acquisition], frame_time_s: float = 1.0) -> Acquisition:
    """One acquisition of several with a frame each, in the order given and evenly spaced in time.

    Readouts that a frame lacks are zero and not acquired.
    """
    first = frames[0]
    times_s = frame_time_s * np.arange(len(frames), dtype=np.float64)
    if first.mask is not None:
        return dataclasses.replace(
            first,
            kspace=np.concatenate([frame.kspace for frame in frames], axis=1),
            mask=np.concatenate([frame.mask for frame in frames if frame.mask is not None]),
            frame_times_s=times_s,
        )
    readouts = max(frame.kspace.shape[2] for frame in frames)
    coils, _, _, samples = first.kspace.shape
    kspace = np.zeros((coils, len(frames), readouts, samples), np.complex64)
    trajectory = np.zeros((len(frames), readouts, samples, 2), np.float32)
    acquired = np.zeros((len(frames), readouts), np.bool_)
    for index, frame in enumerate(frames):
        assert frame.trajectory is not None and frame.readout_mask is not None  # as of every Acquisition
        count = frame.kspace.shape[2]
        kspace[:, index, :count] = frame.kspace[:, 0]
        trajectory[index, :count] = frame.trajectory[0]
        acquired[index, :count] = frame.readout_mask[0]
    return dataclasses.replace(
        first, kspace=kspace, trajectory=trajectory, readout_mask=acquired, frame_times_s=times_s
    )


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the calibration window told.

    Attributes:
        compression: matrix (coil, virtual coil).
        sensitivities: complex64 (virtual coil, y, x), unit norm or 0.
        scale: what the raw data are divided by.
        scales: what they would be divided by, for each normalisation rule.
        frames: frames in the window.
        weights: density weights by trajectory; None for Cartesian data.
        delays: gradient delays that are corrected; None where there are none.
        notes: what was found in the data, one sentence each.
    """

    compression: npt.NDArray[np.complex64]
    sensitivities: npt.NDArray[np.complex64]
    scale: float
    frames: int
    weights: DensityWeights | None = None
    delays: GradientDelays | None = None
    notes: tuple[str, ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)

    def geometry(self, frame: Acquisition) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Where the acquired samples of a frame lie, and what they weigh.

        Args:
            frame: a non-Cartesian acquisition of one frame.

        Returns:
            The corrected trajectory (readout, sample, 2) in rad/pixel, and density weights (readout, sample).
        """
        assert frame.trajectory is not None and frame.readout_mask is not None and self.weights is not None
        trajectory = frame.trajectory[0, frame.readout_mask[0]]
        if self.delays is None:
            return trajectory, self.weights.of(trajectory)
        trajectory = corrected_trajectory(trajectory[None], self.delays, frame.pixel_spacing_mm)[0]
        # A shifted spoke may end beyond the edge of k-space, where the pixel grid would fold it back.
        inside = (np.abs(trajectory) <= np.pi).all(axis=-1)
        weights = np.where(inside, self.weights.of(trajectory), np.float32(0))
        return np.clip(trajectory, -np.pi, np.pi).astype(np.float32), weights


def calibrate(frames: Sequence[Acquisition]) -> Calibration:
    """Calibrate a stream from its first frames, one acquisition each.

    Raises:
        ReconstructionError: they hold no signal.
    """
    window = joined(frames)
    prepared = prepare(window)
    weights = None
    if prepared.fourier is not None and prepared.weights is not None and window.readout_mask is not None:
        weights = DensityWeights(window.matrix, window.sampling)
        if window.sampling != "radial":
            for trajectory, acquired, values in zip(
                prepared.fourier.trajectory, window.readout_mask, prepared.weights, strict=True
            ):
                weights.remember(trajectory[acquired], values[acquired])
    return Calibration(
        prepared.compression,
        prepared.sensitivities,
        prepared.scale,
        window.frames,
        weights,
        _corrected_delays(prepared.settings),
        prepared.notes,
        prepared.scales,
    )


def _corrected_delays(settings: Mapping[str, Any]) -> GradientDelays | None:
    """The delays that `prepare` put into the trajectory."""
    record = dict(settings.get("gradient_delays") or {})
    return GradientDelays(**record, pairs=0) if record.pop("corrected", False) else None


class DensityWeights:
    """Density weights of one frame after another.

    Args:
        matrix: image size (y, x).
        sampling: "radial" or "spiral".
    """

    def __init__(self, matrix: tuple[int, int], sampling: str) -> None:
        """Start without any."""
        self._matrix = matrix
        self._sampling = sampling
        self._by_digest: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._kinds: list[tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]] = []

    def remember(self, trajectory: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> None:
        """Take the weights (readout, sample) of a trajectory (readout, sample, 2) as known."""
        self._store(_digest(trajectory), weights)
        if self._of_kind(trajectory) is None and len(self._kinds) < _REMEMBERED_KINDS:
            self._kinds.append((self._plane(trajectory), weights))

    def of(self, trajectory: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Weights (readout, sample) of a trajectory (readout, sample, 2) in rad/pixel."""
        digest = _digest(trajectory)
        weights = self._by_digest.get(digest)
        if weights is not None:
            self._by_digest.move_to_end(digest)
            return weights
        # The analytic weights of lines through the centre are quick, and golden-angle frames are never alike.
        weights = None if self._sampling == "radial" else self._of_kind(trajectory)
        if weights is None:
            weights = density_weights(trajectory[None], self._matrix, sampling=self._sampling)[0]
            if self._sampling != "radial":
                self.remember(trajectory, weights)
                return weights
        self._store(digest, weights)
        return weights

    def _store(self, digest: bytes, weights: npt.NDArray[np.float32]) -> None:
        self._by_digest[digest] = weights
        while len(self._by_digest) > _REMEMBERED_FRAMES:
            self._by_digest.popitem(last=False)

    def _plane(self, trajectory: npt.NDArray[np.float32]) -> npt.NDArray[np.complex64]:
        """Samples as complex numbers in units of 1 / FOV."""
        height, width = self._matrix
        plane = trajectory[..., 1] * (width / (2 * np.pi)) + 1j * trajectory[..., 0] * (height / (2 * np.pi))
        return np.asarray(plane, np.complex64)

    def _of_kind(self, trajectory: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        plane = self._plane(trajectory)
        for known, weights in self._kinds:
            if known.shape == plane.shape and _is_turned_copy(known, plane):
                return weights
            # Where all arms of a frame weigh the same, turned copies of one arm do so in any number.
            alike = known.shape[1] == plane.shape[1] and not np.ptp(weights, axis=0).any()
            if alike and all(_is_turned_copy(known[0], arm) for arm in plane):
                return np.broadcast_to(weights[0], plane.shape)
        return None


def _digest(trajectory: npt.NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(trajectory).data, digest_size=16).digest()


def _is_turned_copy(first: npt.NDArray[np.complex64], second: npt.NDArray[np.complex64]) -> bool:
    overlap = np.vdot(first, second)
    if overlap == 0:
        return False
    return bool(np.abs(first * (overlap / abs(overlap)) - second).max() < _SAME_POSITION)
