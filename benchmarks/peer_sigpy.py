"""Run by `compressed_sensing.py` in an interpreter that has SigPy: one ADMM solve with temporal differences.

Arguments: problem.npz, result.npz, λ, iterations. The problem holds `maps` (coil, y, x), `kspace` (coil,
frame, …) and either `mask` (frame, ky) or `trajectory` (frame, readout, sample, 3) in grid units (x, y, z).
Data are divided by the largest pixel of the adjoint image's time average, so that λ has the unit of the peak.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import sigpy
import sigpy.mri


def main() -> None:
    """Solve and write the image and the seconds that planning and solving took."""
    problem, result, weight, iterations = sys.argv[1:5]
    with np.load(problem) as data:
        arrays = dict(data)
    maps, kspace = arrays["maps"], np.ascontiguousarray(np.moveaxis(arrays["kspace"], 1, 0))
    started = time.perf_counter()
    frames = []
    for frame in range(len(kspace)):
        if "mask" in arrays:
            lines = arrays["mask"][frame].astype(np.float32)[None, :, None]
            operator = sigpy.mri.linop.Sense(maps, weights=np.broadcast_to(lines, maps.shape))
        else:
            operator = sigpy.mri.linop.Sense(maps, coord=arrays["trajectory"][frame, ..., 1::-1])
        into = sigpy.linop.Reshape(operator.ishape, [1, *operator.ishape])
        out = sigpy.linop.Reshape([1, *operator.oshape], operator.oshape)
        frames.append(out * operator * into)
    forward = sigpy.linop.Diag(frames, iaxis=0, oaxis=0)
    differences = sigpy.linop.FiniteDifference(forward.ishape, axes=[0])
    application = sigpy.app.LinearLeastSquares(
        forward,
        kspace,
        proxg=sigpy.prox.L1Reg(differences.oshape, float(weight)),
        G=differences,
        solver="ADMM",
        rho=0.05,
        max_iter=int(iterations),
        max_cg_iter=5,
        show_pbar=False,
    )
    image = application.run()
    np.savez(result, image=image, seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
