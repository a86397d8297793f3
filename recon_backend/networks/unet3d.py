"""The 3-D UNet of the radial pipeline, which is also the regulariser inside VarNet.

 Encoder level i: two 3×3×3 convolutions with leaky ReLU (slope 0.1), then 2×2×2 max pooling; the deepest
level does not pool. Decoder: nearest-neighbour upsampling, concatenation [upsampled, skip], two convolutions.
Head: one linear 3×3×3 convolution. No normalisation, no dropout, no residual. Time is a convolved axis like
the two of space (Jaubert et al. 2024; layer table: 2,450,753 parameters with filters 64, 92, 128, 20 channels
in and 1 out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

LEAKY_SLOPE = 0.1
PUBLISHED_FILTERS = (64, 92, 128)


def convolution_block(tensor: Any, filters: int, name: str, initial: Any = "he_uniform") -> Any:  # noqa: ANN401 - Keras tensors have no public type
    """Two 3×3×3 convolutions with leaky ReLU on `tensor` (batch, frame, y, x, channel)."""
    for index in range(2):
        tensor = layers.Conv3D(
            filters, 3, padding="same", kernel_initializer=initial, name=f"{name}_convolution{index}"
        )(tensor)
        tensor = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=f"{name}_activation{index}")(tensor)
    return tensor


def unet3d_blocks(
    tensor: Any,  # noqa: ANN401
    filters: Sequence[int],
    out_channels: int,
    prefix: str = "",
    initial: Any = "he_uniform",  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Apply the UNet to `tensor` (batch, frame, y, x, channel); the axes are multiples of 2^(levels − 1)."""
    skips = []
    for level, count in enumerate(filters[:-1]):
        tensor = convolution_block(tensor, count, f"{prefix}encoder{level}", initial)
        skips.append(tensor)
        tensor = layers.MaxPooling3D(2, name=f"{prefix}pool{level}")(tensor)
    tensor = convolution_block(tensor, filters[-1], f"{prefix}encoder{len(filters) - 1}", initial)
    for level in reversed(range(len(filters) - 1)):
        tensor = layers.UpSampling3D(2, name=f"{prefix}upsample{level}")(tensor)
        tensor = layers.Concatenate(name=f"{prefix}concatenate{level}")([tensor, skips[level]])
        tensor = convolution_block(tensor, filters[level], f"{prefix}decoder{level}", initial)
    return layers.Conv3D(
        out_channels,
        3,
        padding="same",
        kernel_initializer=initial,
        dtype="float32",
        name=f"{prefix}head",
    )(tensor)


def build_unet3d(
    filters: Sequence[int] = PUBLISHED_FILTERS,
    in_channels: int = 20,
    initial: Any = "he_uniform",  # noqa: ANN401
) -> keras.Model:
    """The radial network: coil images, real then imaginary → magnitude (batch, frame, y, x, 1).

    Frame, y and x may be any multiple of 4; they are free in the built model, so one model serves every
    matrix. `initial` makes the kernels' first values.
    """
    images = keras.Input((None, None, None, in_channels), name="coil_images")
    return keras.Model(images, unet3d_blocks(images, filters, 1, initial=initial), name="unet3d")
