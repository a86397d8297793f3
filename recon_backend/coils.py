"""Receive coils: compression to virtual coils, sensitivity maps, combination.

 Compression: samples × coils matrix A = U Σ Vᴴ; the first n columns of V make the virtual coils A V.
Sensitivities: Inati's iteration, a local rank-1 model I_c(r) ≈ m_c(r) ρ(r) with ‖m(r)‖ = 1 whose phase is
aligned over the image (paper_spec §2.1; Walsh's local covariance with a joint phase choice). Combination: ρ =
Σ_c s_c* I_c / Σ_c |s_c|², or root-sum-of-squares.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.fourier import centred_fft, centred_ifft

VIRTUAL_COILS = 10
CALIBRATION_WINDOW = 7.0


def compression_matrix(
    kspace: npt.NDArray[np.complex64], virtual_coils: int = VIRTUAL_COILS
) -> npt.NDArray[np.complex64]:
    """Compression matrix (coil, virtual coil) from k-space (coil, …): the leading right singular vectors.

    Computed from the coil covariance in double precision, which has the same eigenvectors as the thin SVD.
    """
    samples = kspace.reshape(len(kspace), -1)
    covariance = (samples.conj() @ samples.T).astype(np.complex128)
    _, vectors = np.linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, : min(virtual_coils, len(kspace))]
    return leading.astype(np.complex64)


def compress(
    kspace: npt.NDArray[np.complex64], matrix: npt.NDArray[np.complex64]
) -> npt.NDArray[np.complex64]:
    """Virtual coils (virtual coil, …) from k-space (coil, …) and `compression_matrix`."""
    flat = matrix.T @ kspace.reshape(len(kspace), -1)
    return flat.reshape(matrix.shape[1], *kspace.shape[1:])


def low_resolution(images: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    """Coil images (coil, y, x) times 0.5 + 0.5 cos(7|k|) for |k| ≤ π/7 rad/pixel, else 0."""
    axes = (-2, -1)
    ky, kx = (2 * np.pi * (np.arange(size) - size // 2) / size for size in images.shape[-2:])
    radius = np.hypot(ky[:, None], kx[None, :])
    window = np.where(
        radius <= np.pi / CALIBRATION_WINDOW, 0.5 + 0.5 * np.cos(CALIBRATION_WINDOW * radius), 0.0
    )
    return centred_ifft(centred_fft(images, axes) * window.astype(np.float32), axes).astype(np.complex64)


def _smooth(maps: npt.NDArray[np.complex64], size: int) -> npt.NDArray[np.complex64]:
    """Box mean over (y, x) with zeros outside the image, real and imaginary part apart."""
    smoothed = np.empty_like(maps)
    for source, target in zip(maps, smoothed, strict=True):
        target.real = scipy.ndimage.uniform_filter(source.real, size, mode="constant")
        target.imag = scipy.ndimage.uniform_filter(source.imag, size, mode="constant")
    return smoothed


def inati_sensitivities(
    images: npt.NDArray[np.complex64], *, size: int = 9, iterations: int = 10, tolerance: float = 1e-6
) -> npt.NDArray[np.complex64]:
    """Coil sensitivities of unit norm at each pixel, by Inati's iteration.

    Args:
        images: low-resolution coil images (coil, y, x).
        size: side of the smoothing box in pixels.
        iterations: at most so many steps.
        tolerance: stop when the combined image changes by less than this, relatively.

    Returns:
        complex64 (coil, y, x) with Σ_c |s_c|² = 1, and 0 where all coil images are 0.

    Source: paper_spec §2.1, step 5 (Inati et al., ISMRM 2014).
    """
    images = images.astype(np.complex64)
    epsilon = np.finfo(np.float32).eps * float(np.abs(images).mean())
    if epsilon == 0.0:
        return np.full_like(images, 1 / np.sqrt(len(images)))
    direction = images.sum(axis=(1, 2))
    direction = direction / np.linalg.norm(direction)
    combined = np.einsum("c,cyx->yx", direction.conj(), images)
    for _ in range(iterations):
        maps = _smooth(images * combined.conj(), size)
        maps /= np.sqrt((np.abs(maps) ** 2).sum(axis=0)) + epsilon
        previous, combined = combined, np.einsum("cyx,cyx->yx", images, maps.conj())
        direction = np.einsum("cyx,yx->c", maps, combined)
        direction = direction / np.linalg.norm(direction)
        phase = np.einsum("c,cyx->yx", direction.conj(), maps)
        phase /= np.abs(phase) + epsilon
        combined, maps = combined * phase, maps * phase.conj()
        if np.linalg.norm(combined - previous) < tolerance * np.linalg.norm(combined):
            break
    norm = np.sqrt((np.abs(maps) ** 2).sum(axis=0))
    return (maps / np.where(norm > 0.1, norm, np.inf)).astype(np.complex64)


def combine(
    images: npt.NDArray[np.complex64], sensitivities: npt.NDArray[np.complex64]
) -> npt.NDArray[np.complex64]:
    """Σ_c s_c* I_c for sensitivities (coil, y, x) of unit norm and images (coil, …, y, x)."""
    extra = (1,) * (images.ndim - sensitivities.ndim)
    maps = sensitivities.reshape(sensitivities.shape[0], *extra, *sensitivities.shape[1:])
    return (maps.conj() * images).sum(axis=0)


def root_sum_of_squares(images: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """√Σ_c |I_c|² over the first axis."""
    return np.sqrt((images.real**2 + images.imag**2).sum(axis=0))
