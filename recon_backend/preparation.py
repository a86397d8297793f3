"""What all reconstructions of one scan share: virtual coils, zero-filled images, sensitivities, scale.

 The scale replaces the peak of the truth, which a prospective scan does not have: the 99.9th percentile of
the time-averaged, density-corrected, coil-combined adjoint image, divided by the gain that gridding has for
smooth objects (1 for Cartesian data, about 4/π for the published density weights). The time average is nearly
free of aliasing because sampling changes from frame to frame. Training uses this very code, so the networks
meet the numbers they were trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recon_backend import coils
from recon_backend.acquisition import Acquisition
from recon_backend.errors import ReconstructionError
from recon_backend.fourier import NonuniformFourier, centred_ifft
from recon_backend.sampling.density import density_weights

NORMALISATION_RULE = "p99.9-time-average"
SCALE_PERCENTILE = 99.9
_GAIN_FRAMES = 4
_FRAMES_AT_ONCE = 8


@dataclass(eq=False)
class Prepared:
    """A scan ready for any of the methods; all data are divided by `scale`.

    Attributes:
        acquisition: the scan it was made from.
        kspace: virtual-coil data, scaled; (coil, frame, ky, x) hybrid space for Cartesian data (the readout
            is already an
            image axis), (coil, frame, readout, sample) otherwise.
        sensitivities: complex64 (coil, y, x), unit norm or 0 at each pixel.
        scale: what the raw data were divided by.
        compression: matrix (coil, virtual coil) that made the virtual coils.
        weights: density weights (frame, readout, sample) in the published convention; None for Cartesian
            data.
        fourier: the non-uniform FFT; None for Cartesian data.
    """

    acquisition: Acquisition
    kspace: npt.NDArray[np.complex64]
    sensitivities: npt.NDArray[np.complex64]
    scale: float
    compression: npt.NDArray[np.complex64]
    weights: npt.NDArray[np.float32] | None = None
    fourier: NonuniformFourier | None = None
    _block: tuple[tuple[int, int], npt.NDArray[np.complex64]] | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.kspace.shape[1])

    def zero_filled(self, start: int, stop: int) -> npt.NDArray[np.complex64]:
        """Zero-filled (Cartesian) or gridded coil images (coil, stop − start, y, x)."""
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


def gridding_gain(
    fourier: NonuniformFourier, weights: npt.NDArray[np.float32], frames: int = _GAIN_FRAMES
) -> float:
    """Gain of gridding for a smooth object: ⟨x, Fᴴ W F x⟩/⟨x, x⟩ for a broad Gaussian x."""
    height, width = fourier.matrix
    y, x = (np.arange(size) - size // 2 for size in (height, width))
    blob = np.exp(-0.5 * ((y[:, None] / (height / 10)) ** 2 + (x[None, :] / (width / 10)) ** 2)).astype(
        np.complex64
    )
    energy = 0.0
    chosen = np.unique(np.linspace(0, fourier.frames - 1, frames).astype(int))
    for frame in chosen:
        samples = fourier.forward_frame(blob[None], int(frame))
        energy += float((weights[frame] * np.abs(samples[0]) ** 2).sum())
    return energy / (len(chosen) * float((np.abs(blob) ** 2).sum()))


def _scale_of(combined: npt.NDArray[np.complex64], gain: float) -> float:
    value = float(np.percentile(np.abs(combined), SCALE_PERCENTILE)) / gain
    if not np.isfinite(value) or value <= 0:
        raise ReconstructionError(
            "The scan holds no signal: the time-averaged image is zero; check the raw data."
        )
    return value


def prepare(
    acquisition: Acquisition,
    *,
    virtual_coils: int = coils.VIRTUAL_COILS,
    threads: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Prepared:
    """Compress the coils, estimate sensitivities from the time average, and scale the data.

    Args:
        acquisition: the scan.
        virtual_coils: at most so many virtual coils.
        threads: threads for the non-uniform FFT; 0 = all.
        progress: called with the fraction done; may raise to cancel.

    Raises:
        ReconstructionError: the scan holds no signal.
    """
    report = progress or (lambda _fraction: None)
    if acquisition.mask is not None:
        return _prepare_cartesian(acquisition, acquisition.mask, virtual_coils, report)
    return _prepare_non_cartesian(acquisition, virtual_coils, threads, report)


def _prepare_cartesian(
    acquisition: Acquisition, mask: npt.NDArray[np.bool_], virtual_coils: int, report: Callable[[float], None]
) -> Prepared:
    acquired = acquisition.kspace[:, mask]  # (coil, acquired lines, kx)
    matrix = coils.compression_matrix(acquired, virtual_coils)
    report(0.2)
    frames, lines = mask.shape
    hybrid = np.zeros((matrix.shape[1], frames, lines, acquisition.matrix[1]), np.complex64)
    hybrid[:, mask] = centred_ifft(coils.compress(acquired, matrix), (2,))
    report(0.5)
    counts = np.maximum(mask.sum(axis=0), 1)
    average = centred_ifft(hybrid.sum(axis=1) / counts[:, None], (1,)).astype(np.complex64)
    sensitivities = coils.inati_sensitivities(coils.low_resolution(average))
    scale = _scale_of(coils.combine(average, sensitivities), 1.0)
    hybrid /= np.float32(scale)
    report(1.0)
    return Prepared(acquisition, hybrid, sensitivities, scale, matrix)


def _prepare_non_cartesian(
    acquisition: Acquisition, virtual_coils: int, threads: int, report: Callable[[float], None]
) -> Prepared:
    assert acquisition.trajectory is not None  # an Acquisition has a mask or a trajectory
    weights = density_weights(
        acquisition.trajectory,
        acquisition.matrix,
        readout_mask=acquisition.readout_mask,
        sampling=acquisition.sampling,
    )
    report(0.1)
    # The matrix is fitted on density-weighted data, as published, so that the densely sampled centre does not
    # rule it.
    matrix = coils.compression_matrix(acquisition.kspace * weights, virtual_coils)
    kspace = coils.compress(acquisition.kspace, matrix)
    fourier = NonuniformFourier(acquisition.trajectory, acquisition.matrix, threads=threads)
    total = np.zeros((len(kspace), *acquisition.matrix), np.complex64)
    for start in range(0, acquisition.frames, _FRAMES_AT_ONCE):
        stop = min(start + _FRAMES_AT_ONCE, acquisition.frames)
        images = fourier.each_frame(
            lambda frame: fourier.adjoint_frame(kspace[:, frame] * weights[frame], frame), range(start, stop)
        )
        total += np.sum(images, axis=0)
        report(0.2 + 0.7 * stop / acquisition.frames)
    total /= acquisition.frames
    sensitivities = coils.inati_sensitivities(coils.low_resolution(total))
    scale = _scale_of(coils.combine(total, sensitivities), gridding_gain(fourier, weights))
    kspace /= np.float32(scale)
    report(1.0)
    return Prepared(acquisition, kspace, sensitivities, scale, matrix, weights, fourier)
