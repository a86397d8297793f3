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


class NoiseCovariance:
    """The noise covariance of coils, summed up block by block."""

    def __init__(self, coils: int) -> None:
        """No noise was seen yet."""
        self.sum = np.zeros((coils, coils), np.complex128)
        self.samples = 0

    def add(self, noise: npt.NDArray[np.complex64]) -> None:
        """Add samples (..., coil, sample) without signal."""
        noise = noise.reshape(-1, *noise.shape[-2:]).astype(np.complex128)
        self.sum += np.einsum("rcs,rds->cd", noise, noise.conj(), optimize=True)
        self.samples += noise.shape[0] * noise.shape[2]

    def whitening_matrix(self, bandwidth_ratio: float = 1.0) -> npt.NDArray[np.complex64] | None:
        """The matrix that whitens data of these coils.

        Args:
            bandwidth_ratio: receiver bandwidth of the data over that of the noise scan; noise power goes with
                it.

        Returns:
            complex64 (coil, coil), or None where the noise scan is too short or a coil is dead.
        """
        if self.samples <= len(self.sum) or not np.isfinite(self.sum).all():
            return None
        covariance = self.sum / self.samples * bandwidth_ratio
        try:
            eigenvalues = np.linalg.eigvalsh(covariance)
            if not eigenvalues[0] > _SMALLEST_EIGENVALUE * eigenvalues[-1]:
                return None
            inverse = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.complex64)
        except np.linalg.LinAlgError:
            return None
        return inverse if np.isfinite(inverse).all() else None
