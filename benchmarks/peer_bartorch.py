"""Run by `compressed_sensing.py` in an interpreter that has bartorch: one ADMM solve along a trajectory.

Arguments: problem.npz, result.npz, λ, iterations. The problem holds `maps` (coil, y, x), `kspace` (coil,
frame, readout, sample) and `trajectory` (frame, readout, sample, 3) in grid units, order (x, y, z). The
normal operator is bartorch's FINUFFT one, its fastest on a CPU.
"""

from __future__ import annotations

import sys
import time

import bartorch
import numpy as np
import torch
from bartorch import linop, optim, priors


def main() -> None:
    """Solve and write the image and the seconds that planning and solving took."""
    problem, result, weight, iterations = sys.argv[1:5]
    with np.load(problem) as data:
        maps, kspace = torch.from_numpy(data["maps"]), torch.from_numpy(data["kspace"])
        trajectory = torch.from_numpy(data["trajectory"])
    torch.set_num_threads(2)
    bartorch.set_num_threads(2)
    started = time.perf_counter()
    shape = (kspace.shape[1], maps.shape[1], maps.shape[2])
    operator = linop.NoncartesianSense(maps, shape, traj=trajectory, toeplitz=False, coil_batch=5)
    scale = optim.data_scaling(kspace[..., None], A=operator) or 1.0
    iterate = optim.ADMM([priors.TotalVariation(0, float(weight))], maxiter=int(iterations))
    image = iterate(kspace * (1.0 / scale), operator, None) * scale
    seconds = time.perf_counter() - started
    np.savez(result, image=image.numpy(), seconds=seconds)


if __name__ == "__main__":
    main()
