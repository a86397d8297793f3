"""FastDVDNet, the causal network of the spiral pipeline: five magnitude frames in, the last frame out.

 One block (a 2-D UNet of three scales) with shared weights looks at frames 0–2, 1–3 and 2–4; a second block
of the same shape turns the three answers into one image. Upsampling is a 3×3 convolution followed by
depth-to-space. No noise map and no residual connection (layer table: 1,589,506 parameters with filters 32,
64, 128).

The blocks are separate models, so that inference can run the first one only once for each new frame triple
and keep its answers for the two windows that follow: half the work for the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers, ops

FASTDVDNET_WINDOW = 5
PUBLISHED_FILTERS = (32, 64, 128)


@keras.saving.register_keras_serializable(package="blindcine")
class DepthToSpace(layers.Layer):
    """(batch, y, x, 4·c) → (batch, 2y, 2x, c): channel (dy·2 + dx)·c + i goes to pixel (dy, dx)."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401
        """Rearrange the channels of `inputs` into 2×2 pixel blocks."""
        shape = ops.shape(inputs)
        batch, height, width, channels = shape[0], shape[1], shape[2], inputs.shape[-1] // 4
        blocks = ops.reshape(inputs, (batch, height, width, 2, 2, channels))
        return ops.reshape(
            ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (batch, height * 2, width * 2, channels)
        )

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape after rearranging: twice the height and width, a quarter of the channels."""
        batch, height, width, channels = input_shape
        if channels is None:
            raise ValueError(
                "DepthToSpace needs a known channel count; build the model with a fixed number of filters."
            )
        return batch, height and height * 2, width and width * 2, channels // 4


def _convolution(
    tensor: Any,  # noqa: ANN401
    filters: int,
    name: str,
    activation: str | None = "relu",
    dtype: str | None = None,
    initial: Any = "he_uniform",  # noqa: ANN401
) -> Any:  # noqa: ANN401
    return layers.Conv2D(
        filters,
        3,
        padding="same",
        activation=activation,
        kernel_initializer=initial,
        name=name,
        dtype=dtype,
    )(tensor)


def build_block(
    filters: Sequence[int],
    name: str,
    initial: Any = "he_uniform",  # noqa: ANN401
) -> keras.Model:
    """One three-frame UNet block: (batch, y, x, 3) → (batch, y, x, 1)."""
    convolution = partial(_convolution, initial=initial)
    frames = keras.Input((None, None, 3), name=f"{name}_frames")
    tensor, skips = frames, []
    for level, count in enumerate(filters):
        for index in range(2):
            tensor = convolution(tensor, count, f"{name}_encoder{level}_convolution{index}")
        if level < len(filters) - 1:
            skips.append(tensor)
            tensor = layers.MaxPooling2D(2, name=f"{name}_pool{level}")(tensor)
    for level in reversed(range(len(filters) - 1)):
        tensor = convolution(tensor, filters[level] * 4, f"{name}_up{level}_convolution", activation=None)
        tensor = DepthToSpace(name=f"{name}_up{level}")(tensor)
        tensor = layers.Concatenate(name=f"{name}_concatenate{level}")([tensor, skips[level]])
        for index in range(2):
            tensor = convolution(tensor, filters[level], f"{name}_decoder{level}_convolution{index}")
    head = convolution(tensor, 1, f"{name}_head", activation=None, dtype="float32")
    return keras.Model(frames, head, name=name)


def build_fastdvdnet(
    filters: Sequence[int] = PUBLISHED_FILTERS,
    initial: Any = "he_uniform",  # noqa: ANN401
) -> keras.Model:
    """The spiral network: (batch, y, x, 5) magnitudes, oldest first → (batch, y, x, 1) of the newest.

    Height and width may be any multiple of 4. The two blocks are `model.get_layer("block1")` and `"block2"`.
    `initial` makes the kernels' first values.
    """
    window = keras.Input((None, None, FASTDVDNET_WINDOW), name="zero_filled_frames")
    first, second = (build_block(filters, name, initial) for name in ("block1", "block2"))
    triples = [first(window[..., start : start + 3]) for start in range(3)]
    return keras.Model(window, second(layers.Concatenate(name="block1_answers")(triples)), name="fastdvdnet")
