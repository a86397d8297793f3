"""What each network is fed, made from a prepared scan: the same in training and in use.

 VarNet: zero-filled combination u_0, sensitivities, partial DFTs of the acquired lines. 3D UNet: gridded
images of the virtual coils, real parts then imaginary parts, filled up with zero coils to ten. FastDVDNet:
root-sum-of-squares of the gridded coil images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recon_backend.coils import VIRTUAL_COILS, combine, root_sum_of_squares
from recon_backend.preparation import Prepared
from recon_backend.sampling.encoding import line_encoding

Array = npt.NDArray[np.float32]


def as_pairs(values: npt.NDArray[np.complex64]) -> Array:
    """Complex (…) as real-imaginary pairs (…, 2)."""
    return np.stack([values.real, values.imag], axis=-1).astype(np.float32)


def varnet_inputs(prepared: Prepared, start: int, stop: int) -> tuple[Array, Array, Array]:
    """Inputs of frames start…stop − 1.

    Returns:
        u_0 (frame, y, x, 2), sensitivities (coil, y, x, 2), encoding (frame, 2·y, 2·lines).
    """
    mask = prepared.acquisition.mask
    if mask is None:
        raise ValueError("VarNet reconstructs Cartesian data only.")
    combined = combine(prepared.zero_filled(start, stop), prepared.sensitivities)
    return as_pairs(combined), as_pairs(prepared.sensitivities), line_encoding(mask[start:stop])


def unet3d_input(prepared: Prepared, start: int, stop: int) -> Array:
    """Gridded coil images (frame, y, x, 20) of frames start…stop − 1."""
    images = np.moveaxis(prepared.zero_filled(start, stop), 0, -1)
    missing = VIRTUAL_COILS - images.shape[-1]
    images = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, missing)))
    return np.concatenate([images.real, images.imag], axis=-1).astype(np.float32)


def magnitude_frames(prepared: Prepared, start: int, stop: int) -> Array:
    """Root-sum-of-squares (frame, y, x) of the gridded coil images of frames start…stop − 1."""
    return root_sum_of_squares(prepared.zero_filled(start, stop))
