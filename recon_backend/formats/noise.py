"""Prewhitening: the noise scan tells how the coils' noise is correlated, and a triangular mix undoes it.

With noise samples n (coil, sample), covariance C = <n n^H> = L L^H (Cholesky), the whitened data L^-1 y have
noise of unit variance, E|n|^2 = 1, without correlation between coils (Kellman and McVeigh, MRM
2005;54:1439-1447).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# A coil whose own noise is this much smaller than the loudest one's is unplugged, not quiet.
_SMALLEST_EIGENVALUE = 1e-8


def whitening_matrix(
    noise: npt.NDArray[np.complex64], bandwidth_ratio: float = 1.0
) -> npt.NDArray[np.complex64] | None:
    """The matrix that whitens data of these coils.

    Args:
        noise: samples (coil, sample) without signal.
        bandwidth_ratio: receiver bandwidth of the data over that of the noise scan; noise power goes with it.

    Returns:
        complex64 (coil, coil), or None where the noise scan is too short or a coil is dead.
    """
    coils, samples = noise.shape
    if samples <= coils:
        return None
    noise = noise.astype(np.complex128)
    covariance = noise @ noise.conj().T / samples * bandwidth_ratio
    eigenvalues = np.linalg.eigvalsh(covariance)
    if not eigenvalues[0] > _SMALLEST_EIGENVALUE * eigenvalues[-1]:
        return None
    inverse = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.complex64)
    return inverse if np.isfinite(inverse).all() else None
