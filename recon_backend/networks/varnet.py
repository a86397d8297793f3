"""VarNet, the unrolled network of the Cartesian pipeline.

 u_{k+1} = u_k − λ_k A'(M F S u_k − f) − R_k(u_k), k = 0…11, with u_0 the zero-filled coil combination. S
multiplies by the coil sensitivities, F is the centred orthonormal 2-D FFT, M the sampling mask, f the
measured k-space and A' y = Σ_c s_c* F⁻¹ y_c / Σ_c |s_c|². Each cascade has its own λ (start 1) and its own
3-D UNet R_k with filters 16, 32, 64 (4,254,756 parameters in all).

Sampling acts on the phase-encode axis only, so the FFT along the readout cancels in A'M F S, and A' f is u_0
itself. What is left per frame t is two products with the partial DFT of its acquired lines,

    A'(M F S u − f) = Σ_c s_c* E_tᵀ E_t (s_c u_t) / Σ_c |s_c|² − u_0,      E_t: y → acquired ky lines,

which is exact, costs far less than FFTs for 17 lines of 240, and lets the network train and run on any range
of columns. Complex numbers are held as real pairs [re, im], so E_t is a real matrix (2·y, 2·lines) and the
products are plain GEMMs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from recon_backend.networks.unet3d import unet3d_blocks

PUBLISHED_FILTERS = (16, 32, 64)
PUBLISHED_CASCADES = 12


@keras.saving.register_keras_serializable(package="blindcine")
class DataConsistency(layers.Layer):
    """One gradient step u − λ·A'(M F S u − f) with one trainable step length λ per cascade."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Keep float32 whatever the mixed-precision policy: errors add up over twelve cascades."""
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, *shapes: Any, **named_shapes: Any) -> None:  # noqa: ANN401, ARG002
        """Create the step length λ, initially 1 as published."""
        self.step = self.add_weight(name="step", shape=(), initializer="ones", trainable=True)
        self.built = True

    def call(self, image: Any, start: Any, sensitivities: Any, encoding: Any) -> Any:  # noqa: ANN401
        """λ·A'(M F S u − f), to be subtracted from `image`.

        Args:
            image: current estimate u (batch, frame, y, x, 2).
            start: zero-filled combination u_0 of the same shape.
            sensitivities: maps (batch, coil, y, x, 2) with Σ_c |s_c|² = 1 or 0 at each pixel.
            encoding: partial DFTs (batch, frame, 2·y, 2·lines), see `recon_backend.sampling.encoding`.
        """
        maps = ops.transpose(sensitivities, (0, 1, 3, 2, 4))[:, None]  # batch, 1, coil, x, y, 2
        columns = ops.transpose(image, (0, 1, 3, 2, 4))[:, :, None]  # batch, frame, 1, x, y, 2
        real, imaginary = columns[..., 0], columns[..., 1]
        map_real, map_imaginary = maps[..., 0], maps[..., 1]
        coil_images = ops.concatenate(
            [real * map_real - imaginary * map_imaginary, real * map_imaginary + imaginary * map_real],
            axis=-1,
        )  # batch, frame, coil, x, 2y
        shape = ops.shape(coil_images)
        batch, frames, coils, width, twice = shape[0], shape[1], shape[2], shape[3], shape[4]
        flat = ops.reshape(coil_images, (batch, frames, coils * width, twice))
        lines = ops.matmul(flat, encoding)
        back = ops.matmul(lines, ops.transpose(encoding, (0, 1, 3, 2)))
        back = ops.reshape(back, (batch, frames, coils, width, 2, twice // 2))
        back_real, back_imaginary = back[..., 0, :], back[..., 1, :]
        normal = ops.stack(
            [
                ops.sum(map_real * back_real + map_imaginary * back_imaginary, axis=2),
                ops.sum(map_real * back_imaginary - map_imaginary * back_real, axis=2),
            ],
            axis=-1,
        )  # batch, frame, x, y, 2
        return self.step * (ops.transpose(normal, (0, 1, 3, 2, 4)) - start)

    def compute_output_shape(self, image_shape: Any, *others: Any, **named: Any) -> Any:  # noqa: ANN401, ARG002
        """The gradient has the shape of the image."""
        return image_shape


def build_varnet(
    filters: Sequence[int] = PUBLISHED_FILTERS,
    cascades: int = PUBLISHED_CASCADES,
    initial: Any = "he_uniform",  # noqa: ANN401
) -> keras.Model:
    """The Cartesian network on [u_0, sensitivities, encoding] → image series (batch, frame, y, x, 2).

    Frames, y and x may be any multiple of 4; the number of coils and of lines is free. Inputs as in
    `DataConsistency.call`; `initial` makes the kernels' first values.
    """
    start = keras.Input((None, None, None, 2), name="zero_filled")
    sensitivities = keras.Input((None, None, None, 2), name="sensitivities")
    encoding = keras.Input((None, None, None), name="encoding")
    image = start
    for cascade in range(cascades):
        gradient = DataConsistency(name=f"consistency{cascade}")(image, start, sensitivities, encoding)
        refinement = unet3d_blocks(image, filters, 2, f"cascade{cascade}_", initial)
        image = layers.Subtract(dtype="float32", name=f"update{cascade}")(
            [layers.Subtract(dtype="float32", name=f"descend{cascade}")([image, gradient]), refinement]
        )
    return keras.Model([start, sensitivities, encoding], image, name="varnet")
