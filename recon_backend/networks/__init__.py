"""The three published networks, written once in Keras 3 so that they train and run on every backend.

 `varnet` reconstructs Cartesian, `unet3d` radial and `fastdvdnet` spiral data (paper_spec §4). Layers,
channel counts and concatenation orders follow the published graphs, so published weights can be assigned
tensor by tensor.
"""

from __future__ import annotations

from recon_backend.networks.fastdvdnet import FASTDVDNET_WINDOW, build_fastdvdnet
from recon_backend.networks.unet3d import build_unet3d, unet3d_blocks
from recon_backend.networks.varnet import build_varnet

__all__ = ["FASTDVDNET_WINDOW", "build_fastdvdnet", "build_unet3d", "build_varnet", "unet3d_blocks"]
