"""Receive coils: compression to virtual coils, sensitivity maps, combination.

 Compression: samples × coils matrix A = U Σ Vᴴ; the first n columns of V make the virtual coils A V.
Sensitivities: Inati's iteration, a local rank-1 model I_c(r) ≈ m_c(r) ρ(r) with ‖m(r)‖ = 1 whose phase is
aligned over the image (paper_spec §2.1; Walsh's local covariance with a joint phase choice). Walsh's own maps
are here too, ESPIRiT in `recon_backend.espirit`. Combination: ρ = Σ_c s_c* I_c / Σ_c |s_c|²,
root-sum-of-squares, or adaptively with Walsh's filter of each image.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.espirit import leading_eigenvectors
from recon_backend.fourier import centred_fft, centred_ifft
from recon_backend.options import Combination

VIRTUAL_COILS = 10
CALIBRATION_WINDOW = 7.0


def compression_matrix(
    kspace: npt.NDArray[np.complex64] | Iterable[npt.NDArray[np.complex64]],
    virtual_coils: int = VIRTUAL_COILS,
) -> npt.NDArray[np.complex64]:
    """Compression matrix (coil, virtual coil) from k-space (coil, …): the leading right singular vectors.

    Computed from the coil covariance in double precision, which has the same eigenvectors as the thin SVD.
    Long scans may be given as blocks (coil, …) one after the other.
    """
    blocks = [kspace] if isinstance(kspace, np.ndarray) else kspace
    covariance = sum(_covariance(block) for block in blocks)
    _, vectors = np.linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, : min(virtual_coils, len(vectors))]
    return leading.astype(np.complex64)


def _covariance(kspace: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex128]:
    samples = kspace.reshape(len(kspace), -1)
    return (samples.conj() @ samples.T).astype(np.complex128)


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


def walsh_sensitivities(
    images: npt.NDArray[np.complex64], *, size: int = 9
) -> npt.NDArray[np.complex64]:
    """Coil sensitivities of unit norm, the leading eigenvector of the local coil covariance at each pixel.

    Args:
        images: coil images (coil, y, x).
        size: side of the box over which the covariance is averaged, in pixels.

    Returns:
        complex64 (coil, y, x) with Σ_c |s_c|² = 1, and 0 where all coil images are 0. The common phase at
        each pixel is that of the combined image's mean direction over the coils.

    Source: Walsh et al., Magn Reson Med 2000;43:682.
    """
    count, height, width = images.shape
    covariance = np.empty((height, width, count, count), np.complex64)
    for first in range(count):
        products = _smooth(images[first] * images[: first + 1].conj(), size)
        covariance[:, :, first, : first + 1] = np.moveaxis(products, 0, -1)
        covariance[:, :, : first + 1, first] = np.moveaxis(products.conj(), 0, -1)
    maps = np.moveaxis(leading_eigenvectors(covariance)[0], -1, 0)
    direction = images.sum(axis=(1, 2))
    phase = np.einsum("c,cyx->yx", direction.conj(), maps)
    magnitude = np.abs(phase)
    return (maps * np.where(magnitude > 0, phase.conj() / np.where(magnitude > 0, magnitude, 1), 1)).astype(
        np.complex64
    )


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


def combined_magnitude(
    images: npt.NDArray[np.complex64],
    how: Combination,
    sensitivities: npt.NDArray[np.complex64] | None = None,
) -> npt.NDArray[np.float32]:
    """One magnitude image, or a series of them, from coil images (coil, …, y, x).

    Args:
        images: coil images.
        how: "root_sum_of_squares"; "adaptive", each image with the Walsh filter of its own local covariance,
            which keeps air darker; or "sensitivities", with given maps.
        sensitivities: maps (coil, y, x) of unit norm, for the last of these.

    Raises:
        ValueError: `how` is another word, or maps are missing.
    """
    if how == "root_sum_of_squares":
        return root_sum_of_squares(images)
    if how == "sensitivities":
        if sensitivities is None:
            raise ValueError("sensitivities are needed to combine coils by them.")
        return np.abs(combine(images, sensitivities))
    if how != "adaptive":
        raise ValueError(f"coils cannot be combined by {how!r}.")
    frames = images.reshape(len(images), -1, *images.shape[-2:])
    combined = [np.abs(combine(frame, walsh_sensitivities(frame))) for frame in np.moveaxis(frames, 1, 0)]
    return np.stack(combined).reshape(images.shape[1:])
