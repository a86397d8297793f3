"""The three published networks, written once in Keras 3 so that they train and run on every backend.

 `varnet` reconstructs Cartesian, `unet3d` radial and `fastdvdnet` spiral data (paper_spec §4). Layers,
channel counts and concatenation orders follow the published graphs, so published weights can be assigned
tensor by tensor.
"""

from __future__ import annotations

import keras

from recon_backend.networks.fastdvdnet import FASTDVDNET_WINDOW, build_fastdvdnet
from recon_backend.networks.unet3d import build_unet3d, unet3d_blocks
from recon_backend.networks.varnet import build_varnet

# A user's keras.json may say otherwise, and would change every network's layout or precision.
keras.config.set_floatx("float32")
keras.config.set_image_data_format("channels_last")

__all__ = ["FASTDVDNET_WINDOW", "build_fastdvdnet", "build_unet3d", "build_varnet", "unet3d_blocks"]
