"""What all reconstructions of one scan share: virtual coils, zero-filled images, sensitivities, scale.

 The scale replaces the peak of the truth, which a prospective scan does not have: the 99.9th percentile of
the time-averaged, density-corrected, coil-combined adjoint image, divided by the gain that gridding has for
smooth objects (1 for Cartesian data, about 4/π for the published density weights). The time average is nearly
free of aliasing because sampling changes from frame to frame. Training uses this very code, so the networks
meet the numbers they were trained with.

Networks of others were trained with the peak of the noisy truth at 1. The nearest that data alone can tell is
the peak of the same time average, their rule: on videos simulated as published, the peak of the truth is 1.03
(Cartesian), 1.08 (radial) and 1.07 (spiral) times as high, with a standard deviation of 8 to 12 %. A network
is fed by its own rule and its answer is scaled back, so all movies of a scan have the same scale.

 Radial scans are looked at first: gradient delays are estimated from the crossings of the spokes and put into
the trajectory, and angles that contradict the data are noted. Nothing is changed where there is no delay.
Frames are taken in blocks throughout, so memory grows with the data but never holds the coil images of a
whole series.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from recon_backend import coils
from recon_backend.acquisition import Acquisition
from recon_backend.errors import ReconstructionError
from recon_backend.espirit import CALIBRATION_SIZE, KERNEL_SIZE, espirit_sensitivities
from recon_backend.fourier import NonuniformFourier, centred_ifft
from recon_backend.memory import sparse_zeros
from recon_backend.options import Sensitivities
from recon_backend.radial_checks import check_radial
from recon_backend.sampling.delays import corrected_trajectory
from recon_backend.sampling.density import density_weights

NORMALISATION_RULE = "p99.9-time-average"
PEAK_RULE = "peak-time-average"
SCALE_PERCENTILE = 99.9
# By rule, the percentile of the time-averaged image that becomes 1.
SCALE_PERCENTILES = {NORMALISATION_RULE: SCALE_PERCENTILE, PEAK_RULE: 100.0}
_GAIN_FRAMES = 4
_FRAMES_AT_ONCE = 8
# Raw data of so many bytes are worked on at a time; shorter scans in one piece.
_BLOCK_BYTES = 256 * 2**20


@dataclass(eq=False)
class Prepared:
    """A scan ready for any of the methods; all data are divided by `scale`.

    Attributes:
        acquisition: the scan it was made from.
        kspace: virtual-coil data, scaled; (coil, frame, ky, x) hybrid space for Cartesian data (the readout
            is already an image axis; lines not acquired are untouched zeros, which take no memory),
            (coil, frame, readout, sample) otherwise.
        sensitivities: complex64 (coil, y, x), unit norm or 0 at each pixel.
        scale: what the raw data were divided by.
        compression: matrix (coil, virtual coil) that made the virtual coils.
        weights: density weights (frame, readout, sample) in the published convention; None for Cartesian
            data.
        fourier: the non-uniform FFT, of the corrected trajectory if delays were corrected; None for Cartesian
            data.
        settings: how it was prepared, for provenance: `sensitivities`, and for radial scans
            `gradient_delays` with the three numbers, in samples, and whether they were `corrected`.
        notes: what was found in the data, one sentence each.
        scales: what the raw data would be divided by, for each rule; `scale` is that of the default rule.
        factor: what `zero_filled` is multiplied by, see `under_rule`.
    """

    acquisition: Acquisition
    kspace: npt.NDArray[np.complex64]
    sensitivities: npt.NDArray[np.complex64]
    scale: float
    compression: npt.NDArray[np.complex64]
    weights: npt.NDArray[np.float32] | None = None
    fourier: NonuniformFourier | None = None
    _block: tuple[tuple[int, int], npt.NDArray[np.complex64]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)
    factor: float = 1.0

    def under_rule(self, rule: str) -> Prepared:
        """The same scan with images scaled by another rule; the k-space is shared and keeps its scale.

        Raises:
            ReconstructionError: the rule is unknown.
        """
        if rule == NORMALISATION_RULE:
            return self
        check_rule(rule)
        return dataclasses.replace(self, factor=self.scale / self.scales[rule])

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.kspace.shape[1])

    def zero_filled(self, start: int, stop: int) -> npt.NDArray[np.complex64]:
        """Zero-filled (Cartesian) or gridded coil images (coil, stop − start, y, x)."""
        images = self._images(start, stop)
        return images if self.factor == 1.0 else images * np.float32(self.factor)

    def _images(self, start: int, stop: int) -> npt.NDArray[np.complex64]:
        if self.fourier is None or self.weights is None:
            return centred_ifft(self.kspace[:, start:stop], (2,)).astype(np.complex64)
        if self._block is None or self._block[0] != (start, stop):
            fourier, kspace, weights = self.fourier, self.kspace, self.weights
            images = fourier.each_frame(
                lambda frame: fourier.adjoint_frame(kspace[:, frame] * weights[frame], frame),
                range(start, stop),
            )
            self._block = (start, stop), np.stack(images, axis=1)
        return self._block[1]


def check_rule(rule: str, where: Path | None = None) -> None:
    """Check that a normalisation rule is one that `prepare` knows.

    Args:
        rule: its name.
        where: the file that it stands in, for the error.

    Raises:
        ReconstructionError: it is not.
    """
    if rule not in SCALE_PERCENTILES:
        place = f"{where}: " if where is not None else ""
        raise ReconstructionError(
            f"{place}normalisation is {rule!r}, but one of {', '.join(SCALE_PERCENTILES)} was expected."
        )


def gridding_gain(
    fourier: NonuniformFourier, weights: npt.NDArray[np.float32], frames: int = _GAIN_FRAMES
) -> float:
    """Gain of gridding for a smooth object: ⟨x, Fᴴ W F x⟩/⟨x, x⟩ for a broad Gaussian x.

    It is taken from a few frames of those with the most readouts: one that broke off says nothing about the
    others.
    """
    height, width = fourier.matrix
    y, x = (np.arange(size) - size // 2 for size in (height, width))
    blob = np.exp(-0.5 * ((y[:, None] / (height / 10)) ** 2 + (x[None, :] / (width / 10)) ** 2)).astype(
        np.complex64
    )
    energy = 0.0
    readouts = (weights > 0).any(axis=2).sum(axis=1)
    complete = np.flatnonzero(readouts == readouts.max())
    chosen = complete[np.unique(np.linspace(0, len(complete) - 1, frames).astype(int))]
    for frame in chosen:
        samples = fourier.forward_frame(blob[None], int(frame))
        energy += float((weights[frame] * np.abs(samples[0]) ** 2).sum())
    return energy / (len(chosen) * float((np.abs(blob) ** 2).sum()))


def _scales_of(combined: npt.NDArray[np.complex64], gain: float) -> dict[str, float]:
    magnitude = np.abs(combined)
    scales = {
        rule: float(np.percentile(magnitude, percentile)) / gain
        for rule, percentile in SCALE_PERCENTILES.items()
    }
    value = scales[NORMALISATION_RULE]
    if not np.isfinite(value) or value <= 0:
        raise ReconstructionError(
            "The scan holds no signal: the time-averaged image is zero; check the raw data."
        )
    return scales


def prepare(
    acquisition: Acquisition,
    *,
    virtual_coils: int = coils.VIRTUAL_COILS,
    sensitivities: Sensitivities = "inati",
    correct_delays: bool = True,
    threads: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Prepared:
    """Compress the coils, estimate sensitivities from the time average, and scale the data.

    Args:
        acquisition: the scan.
        virtual_coils: at most so many virtual coils.
        sensitivities: "inati" as in training, "espirit" or "walsh".
        correct_delays: whether gradient delays of radial scans are put into the trajectory, where they are
            large enough to matter; they are estimated and recorded in any case.
        threads: threads for the non-uniform FFT; 0 = all.
        progress: called with the fraction done; may raise to cancel.

    Raises:
        ReconstructionError: the scan holds no signal.
        ValueError: `sensitivities` is another word.
    """
    if sensitivities not in get_args(Sensitivities):
        raise ValueError(f"sensitivities is {sensitivities!r}, expected 'inati', 'espirit' or 'walsh'.")
    report = progress or (lambda _fraction: None)
    if acquisition.mask is not None:
        return _prepare_cartesian(acquisition, acquisition.mask, virtual_coils, sensitivities, report)
    return _prepare_non_cartesian(acquisition, virtual_coils, sensitivities, correct_delays, threads, report)


def _blocks(acquisition: Acquisition) -> Iterator[slice]:
    """Ranges of frames with at most `_BLOCK_BYTES` of raw data."""
    frames = acquisition.frames
    step = max(1, _BLOCK_BYTES * frames // max(1, acquisition.kspace.nbytes))
    for start in range(0, frames, step):
        yield slice(start, min(start + step, frames))


def _maps(
    average: npt.NDArray[np.complex64], how: Sensitivities, complete: int | None = None
) -> npt.NDArray[np.complex64]:
    """Sensitivities from the time-averaged coil images; `complete` central rows of k-space were acquired."""
    if how == "inati":
        return coils.inati_sensitivities(coils.low_resolution(average))
    if how == "walsh":
        return coils.walsh_sensitivities(coils.low_resolution(average))
    size = min(CALIBRATION_SIZE, *average.shape[1:], complete or CALIBRATION_SIZE)
    return espirit_sensitivities(average, calibration=size, kernel=min(KERNEL_SIZE, max(1, size // 2)))


def _prepare_cartesian(
    acquisition: Acquisition,
    mask: npt.NDArray[np.bool_],
    virtual_coils: int,
    how: Sensitivities,
    report: Callable[[float], None],
) -> Prepared:
    def acquired(frames: slice) -> npt.NDArray[np.complex64]:
        return acquisition.kspace[:, frames][:, mask[frames]]  # (coil, acquired lines, kx)

    matrix = coils.compression_matrix((acquired(frames) for frames in _blocks(acquisition)), virtual_coils)
    report(0.2)
    hybrid = sparse_zeros((matrix.shape[1], *acquisition.kspace.shape[1:]))
    total = np.zeros((matrix.shape[1], *acquisition.matrix), np.complex64)
    for frames in _blocks(acquisition):
        hybrid[:, frames][:, mask[frames]] = centred_ifft(coils.compress(acquired(frames), matrix), (2,))
        for frame in range(frames.start, frames.stop):
            total[:, mask[frame]] += hybrid[:, frame, mask[frame]]
    report(0.5)
    counts = mask.sum(axis=0)
    average = centred_ifft(total / np.maximum(counts, 1)[:, None], (1,)).astype(np.complex64)
    maps = _maps(average, how, _complete_rows(counts > 0))
    scales = _scales_of(coils.combine(average, maps), 1.0)
    scale = scales[NORMALISATION_RULE]
    for frame in range(acquisition.frames):
        hybrid[:, frame, mask[frame]] /= np.float32(scale)
    report(1.0)
    return Prepared(acquisition, hybrid, maps, scale, matrix, settings={"sensitivities": how}, scales=scales)


def _complete_rows(acquired: npt.NDArray[np.bool_]) -> int:
    """Side of the largest range of acquired rows with row N // 2 in its middle."""
    centre, size = len(acquired) // 2, 1
    while size < len(acquired):
        first = centre - (size + 1) // 2
        if first < 0 or first + size + 1 > len(acquired) or not acquired[first : first + size + 1].all():
            break
        size += 1
    return size


def _prepare_non_cartesian(
    acquisition: Acquisition,
    virtual_coils: int,
    how: Sensitivities,
    correct_delays: bool,
    threads: int,
    report: Callable[[float], None],
) -> Prepared:
    assert acquisition.trajectory is not None  # an Acquisition has a mask or a trajectory
    settings: dict[str, Any] = {"sensitivities": how}
    checks = check_radial(acquisition)
    delays, notes = checks.delays, checks.warnings
    trajectory = acquisition.trajectory
    if delays is not None:
        corrected = correct_delays and delays.worth_correcting
        settings["gradient_delays"] = {**delays.to_dict(), "corrected": corrected}
        if corrected:
            trajectory = corrected_trajectory(trajectory, delays, acquisition.pixel_spacing_mm)
        if delays.worth_correcting:
            done = "were corrected" if corrected else "were found and not corrected, as was asked"
            notes = (*notes, f"gradient delays {done}: {delays.describe()}")
    weights = density_weights(
        trajectory,
        acquisition.matrix,
        readout_mask=acquisition.readout_mask,
        sampling=acquisition.sampling,
    )
    if trajectory is not acquisition.trajectory:
        # A shifted spoke may end beyond the edge of k-space, where the pixel grid would fold it back.
        weights[(np.abs(trajectory) > np.pi).any(axis=-1)] = 0
        trajectory = np.clip(trajectory, -np.pi, np.pi).astype(np.float32)
    report(0.1)
    # The matrix is fitted on density-weighted data, as published, so that the densely sampled centre does not
    # rule it.
    matrix = coils.compression_matrix(
        (acquisition.kspace[:, frames] * weights[frames] for frames in _blocks(acquisition)), virtual_coils
    )
    kspace = np.empty((matrix.shape[1], *acquisition.kspace.shape[1:]), np.complex64)
    for frames in _blocks(acquisition):
        kspace[:, frames] = coils.compress(acquisition.kspace[:, frames], matrix)
    fourier = NonuniformFourier(trajectory, acquisition.matrix, threads=threads)
    total = np.zeros((len(kspace), *acquisition.matrix), np.complex64)
    for start in range(0, acquisition.frames, _FRAMES_AT_ONCE):
        stop = min(start + _FRAMES_AT_ONCE, acquisition.frames)
        images = fourier.each_frame(
            lambda frame: fourier.adjoint_frame(kspace[:, frame] * weights[frame], frame), range(start, stop)
        )
        total += np.sum(images, axis=0)
        report(0.2 + 0.7 * stop / acquisition.frames)
    total /= acquisition.frames
    maps = _maps(total, how)
    scales = _scales_of(coils.combine(total, maps), gridding_gain(fourier, weights))
    scale = scales[NORMALISATION_RULE]
    kspace /= np.float32(scale)
    report(1.0)
    return Prepared(
        acquisition,
        kspace,
        maps,
        scale,
        matrix,
        weights,
        fourier,
        settings=settings,
        notes=notes,
        scales=scales,
    )
