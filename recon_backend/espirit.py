"""Coil sensitivities by ESPIRiT: the eigenvectors that a calibration region leaves unchanged.

 Every k × k patch of the calibration k-space of all coils, as a row, lies in a small subspace; with V its
right singular vectors above a threshold, the patches obey V Vᴴ p = p. Written for images, this projection is
one small matrix G(r) (coil, coil) at each pixel, with

    G(r) s(r) = λ(r) s(r),    λ = 1 where there is signal, λ < 1 where there is none,

and the sensitivities are its leading eigenvector (Uecker et al., Magn Reson Med 2014;71:990). G is an average
over the (2k − 1)² shifts of the kernels, so it is computed row by row with small Fourier matrices, and its
leading eigenvector by power iteration: memory does not grow with the number of coils squared times pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recon_backend.fourier import centred_fft

CALIBRATION_SIZE = 24
KERNEL_SIZE = 6
# Of the largest singular value, and of the eigenvalue 1: below them is noise, and air.
SINGULAR_THRESHOLD = 0.03
EIGENVALUE_CROP = 0.8
_ITERATIONS = 60
_TOLERANCE = 1e-4
_ROWS_BYTES = 64 * 2**20


def espirit_sensitivities(
    images: npt.NDArray[np.complex64],
    *,
    calibration: int = CALIBRATION_SIZE,
    kernel: int = KERNEL_SIZE,
    threshold: float = SINGULAR_THRESHOLD,
    crop: float = EIGENVALUE_CROP,
) -> npt.NDArray[np.complex64]:
    """Coil sensitivities of unit norm where there is signal, 0 elsewhere.

    Args:
        images: coil images (coil, y, x) whose k-space is complete around the centre.
        calibration: side of the calibration region in k-space samples; at most the image's.
        kernel: side of the patches.
        threshold: singular values of the calibration matrix below this part of the largest are noise.
        crop: pixels with an eigenvalue below this get no sensitivity.

    Returns:
        complex64 (coil, y, x). The common phase at each pixel, which the data leave open, is that of the
        coils' mean direction, so it is smooth.

    Raises:
        ValueError: if the kernel does not fit into the calibration region, or a number is out of range.
    """
    coils, height, width = images.shape
    sides = min(calibration, height), min(calibration, width)
    if not 1 <= kernel <= min(sides):
        raise ValueError(f"kernel is {kernel}, but it must fit into the calibration region of {sides}.")
    if not 0 < threshold < 1 or not 0 <= crop <= 1:
        raise ValueError(f"threshold {threshold} and crop {crop} must lie between 0 and 1.")
    kspace = centred_fft(images, (1, 2))
    top, left = height // 2 - sides[0] // 2, width // 2 - sides[1] // 2
    centre = kspace[:, top : top + sides[0], left : left + sides[1]]
    if not np.abs(centre).max() > 0:
        return np.zeros((coils, height, width), np.complex64)
    table = _shift_table(centre, kernel, threshold)
    maps = np.empty((coils, height, width), np.complex64)
    eigenvalues = np.empty((height, width), np.float32)
    across = _fourier_rows(kernel, width)
    along = _fourier_rows(kernel, height)
    partial = np.einsum("cdij,jx->cdix", table, across, optimize=True).reshape(coils * coils, -1, width)
    rows = max(1, _ROWS_BYTES // (8 * coils * coils * width))
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        operator = np.einsum("iy,pix->pyx", along[:, start:stop], partial, optimize=True)
        operator = np.moveaxis(operator.reshape(coils, coils, stop - start, width), (0, 1), (2, 3))
        vectors, values = leading_eigenvectors(np.ascontiguousarray(operator, np.complex64))
        maps[:, start:stop], eigenvalues[start:stop] = np.moveaxis(vectors, -1, 0), values
    weight = np.sqrt((np.abs(images) ** 2).sum(axis=0))
    maps = _aligned(maps, weight)
    return np.where(eigenvalues >= crop, maps, 0).astype(np.complex64)


def _shift_table(
    centre: npt.NDArray[np.complexfloating], kernel: int, threshold: float
) -> npt.NDArray[np.complex64]:
    """Correlations of the signal-space kernels (coil, coil, 2k − 1, 2k − 1), divided by k²."""
    coils = len(centre)
    patches = np.lib.stride_tricks.sliding_window_view(centre, (kernel, kernel), axis=(1, 2))
    rows = patches.transpose(1, 2, 0, 3, 4).reshape(-1, coils * kernel * kernel).astype(np.complex128)
    # Right singular vectors, from the smaller Gram matrix: many coils make more columns than patches.
    if len(rows) < rows.shape[1]:
        values, left = np.linalg.eigh(rows @ rows.conj().T)
        above = values > threshold**2 * values[-1]
        kept = (rows.conj().T @ left[:, above]) / np.sqrt(values[above])
    else:
        values, vectors = np.linalg.eigh(rows.conj().T @ rows)
        kept = vectors[:, values > threshold**2 * values[-1]]
    # Projection on patches: p (as a column) obeys V* Vᵀ p = p for V the right singular vectors of `rows`.
    projection = (kept.conj() @ kept.T).reshape(coils, kernel, kernel, coils, kernel, kernel)
    table = np.zeros((coils, coils, 2 * kernel - 1, 2 * kernel - 1), np.complex128)
    for y in range(kernel):
        for x in range(kernel):
            # Entry (c, y, x; d, y', x') takes sample (y', x') of coil d to sample (y, x) of coil c.
            block = projection[:, y, x]
            table[:, :, y : y + kernel, x : x + kernel] += block[:, :, ::-1, ::-1]
    return (table / kernel**2).astype(np.complex64)


def _fourier_rows(kernel: int, size: int) -> npt.NDArray[np.complex64]:
    """exp(2πi s r / N) for shifts s = −(k − 1)…k − 1 and centred positions r: (shift, position)."""
    shift = np.arange(-(kernel - 1), kernel)
    position = np.arange(size) - size // 2
    return np.exp(2j * np.pi * np.outer(shift, position) / size).astype(np.complex64)


def leading_eigenvectors(
    operator: npt.NDArray[np.complex64],
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
    """Leading eigenvectors and eigenvalues of positive Hermitian matrices, by power iteration.

    Args:
        operator: complex64 (y, x, coil, coil).

    Returns:
        Unit vectors (y, x, coil), 0 where the matrix is 0, and eigenvalues (y, x).
    """
    vectors = operator.sum(axis=-1) + np.einsum("yxcc->yxc", operator)
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors = vectors / np.where(norm > 0, norm, 1)
    for _ in range(_ITERATIONS):
        following = np.matmul(operator, vectors[..., None])[..., 0]
        norm = np.linalg.norm(following, axis=-1, keepdims=True)
        following = following / np.where(norm > 0, norm, 1)
        change = float(np.abs(following - vectors).max())
        vectors = following
        if change < _TOLERANCE:
            break
    return vectors, norm[..., 0].astype(np.float32)


def _aligned(
    maps: npt.NDArray[np.complex64], weight: npt.NDArray[np.float32]
) -> npt.NDArray[np.complex64]:
    """Maps with the phase that makes Σ_c d_c* s_c real, d the leading coil combination over the image."""
    weighted = (maps * weight).reshape(len(maps), -1)
    _, vectors = np.linalg.eigh((weighted @ weighted.conj().T).astype(np.complex128))
    direction = vectors[:, -1].astype(np.complex64)
    # The largest coil's part is made real, so that rounding cannot flip the sign of the whole.
    largest = direction[np.abs(direction).argmax()]
    direction = direction * (abs(largest) / largest)
    phase = np.einsum("c,cyx->yx", direction.conj(), maps)
    magnitude = np.abs(phase)
    return maps * np.where(magnitude > 0, phase.conj() / np.where(magnitude > 0, magnitude, 1), 1)
