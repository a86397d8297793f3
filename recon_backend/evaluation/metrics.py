"""How far a movie is from a known one: MSE, PSNR and SSIM as in the paper.

 The reconstruction is multiplied by one least-squares factor for the whole movie (prospective scans have no
absolute scale) and the reference is divided by its peak; then per frame: MSE in dB, PSNR at data range 1 (so
PSNR = −MSE in dB), SSIM with the 11×11 Gaussian window of σ = 1.5 over windows inside the image. Reported:
mean over frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.errors import ReconstructionError

_K1, _K2 = 0.01, 0.03
_WINDOW_RADIUS = 5
_SIGMA = 1.5

Frames = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """One reconstruction against one reference; means over frames.

    Attributes:
        dataset: name of the scan, clip or patient.
        sampling: its sampling.
        method: name of the method; "ceiling" for the noise-free truth itself.
        reference: what it is compared with. Scans: "plain" or "shaded" (see `scans`). Simulated data:
            "truth", which is free of noise, or "noisy" (see `simulated`).
        mse_db: 10 log10 of the mean squared error.
        psnr_db: peak signal-to-noise ratio at data range 1.
        ssim: structural similarity.
        frames: frames compared.
        seconds: reconstruction time without reading and preparation.
        group: folder or file that the data set comes from.
        kind: "scan", "video" or "cine".
        block: recording or patient; data sets of one block are not independent.
        model: name of the network's model; empty for other methods.
        regularisation: λ of compressed sensing over the mean eigenvalue; None for other methods.
    """

    dataset: str
    sampling: str
    method: str
    reference: str
    mse_db: float
    psnr_db: float
    ssim: float
    frames: int
    seconds: float
    group: str = ""
    kind: str = "scan"
    block: str = ""
    model: str = ""
    regularisation: float | None = None


def ssim_map_mean(truth: Frames, image: Frames) -> float:
    """SSIM of two images (y, x) at data range 1, mean over the windows that lie inside.

    Raises:
        ReconstructionError: no window of 11×11 pixels lies inside.
    """
    if min(truth.shape) <= 2 * _WINDOW_RADIUS:
        raise ReconstructionError(
            f"SSIM needs images of at least 11 × 11 pixels, but these have {truth.shape}."
        )
    x, y = truth.astype(np.float64), image.astype(np.float64)

    def blur(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        smooth = scipy.ndimage.gaussian_filter(values, _SIGMA, radius=_WINDOW_RADIUS)
        inside = slice(_WINDOW_RADIUS, -_WINDOW_RADIUS)
        return smooth[inside, inside]

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return float(similarity.mean())


def on_one_scale(truth: Frames, images: Frames) -> tuple[Frames, Frames]:
    """The truth over its peak, and the images times the factor that brings them closest to it.

    Raises:
        ReconstructionError: the shapes differ or the truth is empty.
    """
    if truth.shape != images.shape:
        raise ReconstructionError(
            f"The truth has the shape {truth.shape}, but the reconstruction {images.shape}."
        )
    peak = float(truth.max())
    if peak <= 0:
        raise ReconstructionError("The truth is zero everywhere.")
    truth = truth / np.float32(peak)
    energy = float((images.astype(np.float64) ** 2).sum())
    factor = float((truth.astype(np.float64) * images).sum()) / energy if energy else 0.0
    return truth, images * np.float32(factor)


def compare(truth: Frames, images: Frames) -> tuple[float, float, float]:
    """(MSE in dB, PSNR in dB, SSIM) of a movie (frame, y, x) against the truth of the same shape.

    The truth's peak is set to 1 and the images are scaled by one least-squares factor.

    Raises:
        ReconstructionError: the shapes differ or the truth is empty.
    """
    truth, images = on_one_scale(truth, images)
    mse = ((truth - images).astype(np.float64) ** 2).mean(axis=(1, 2))
    mse = np.maximum(mse, np.finfo(np.float64).tiny)
    similarity = [ssim_map_mean(*pair) for pair in zip(truth, images, strict=True)]
    return float(10 * np.log10(mse).mean()), float(-10 * np.log10(mse).mean()), float(np.mean(similarity))
