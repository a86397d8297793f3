"""Gridding frame after frame with FINUFFT plans that are kept: what a plan costs is paid once a scan.

The adjoint is that of `recon_backend.fourier.NonuniformFourier`, I_c = Σ_j w_j y_cj exp(i k_j·r) / √(N_y
N_x). The coils are dealt to as many plans of one thread each as there are cores, which is faster than one
plan with many threads.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import finufft
import numpy as np
import numpy.typing as npt

from recon_backend.fourier import OVERSAMPLING, TOLERANCE

ComplexArray = npt.NDArray[np.complex64]


class Gridder:
    """Grids one frame at a time.

    Args:
        coils: coils of every frame.
        matrix: image size (y, x).
        threads: threads and plans; 0 = as many as there are cores.
    """

    def __init__(self, coils: int, matrix: tuple[int, int], threads: int = 0) -> None:
        """Make the plans."""
        count = min(threads or os.cpu_count() or 1, coils)
        bounds = np.linspace(0, coils, count + 1).astype(int)
        self._parts = [slice(int(low), int(high)) for low, high in zip(bounds, bounds[1:], strict=False)]
        self._plans = [
            finufft.Plan(
                1,
                matrix,
                part.stop - part.start,
                eps=TOLERANCE,
                isign=1,
                dtype="complex64",
                upsampfac=OVERSAMPLING,
                nthreads=1,
            )
            for part in self._parts
        ]
        self._coils = coils
        self._matrix = matrix
        self._scale = np.float32(1 / np.sqrt(matrix[0] * matrix[1]))
        self._executor = ThreadPoolExecutor(count) if count > 1 else None

    def adjoint(self, samples: ComplexArray, trajectory: npt.NDArray[np.float32]) -> ComplexArray:
        """Weighted samples (coil, readout, sample), trajectory (readout, sample, 2) → images (coil, y, x)."""
        points = trajectory.reshape(-1, 2)
        along_y, along_x = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
        flat = np.ascontiguousarray(samples.reshape(self._coils, -1) * self._scale, np.complex64)
        images = np.empty((self._coils, *self._matrix), np.complex64)

        def run(number: int) -> None:
            plan, part = self._plans[number], self._parts[number]
            plan.setpts(along_y, along_x)
            result = flat[part] if part.stop - part.start > 1 else flat[part.start]
            plan.execute(result, out=images[part] if result.ndim > 1 else images[part.start])

        if self._executor is None:
            run(0)
        else:
            list(self._executor.map(run, range(len(self._plans))))
        return images

    def close(self) -> None:
        """End the threads."""
        if self._executor is not None:
            self._executor.shutdown()
