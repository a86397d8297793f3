"""SSIM as the published training defines it, in `keras.ops`.

 Per frame in two dimensions: 11×11 Gaussian window with σ = 1.5, k1 = 0.01, k2 = 0.03, data range 1, windows
that lie inside the image only, mean over pixels and frames (paper_spec §5). The loss is 1 − SSIM plus, if
asked for, w times the mean absolute error, which keeps the first steps from diverging at learning rates above
the published 1e-4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

WINDOW = 11
SIGMA = 1.5


def _gaussian() -> np.ndarray:
    position = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (position / SIGMA) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _blur(images: Any) -> Any:  # noqa: ANN401 - tensors of any backend
    window = _gaussian()
    images = ops.conv(images, window.reshape(WINDOW, 1, 1, 1), padding="valid")
    return ops.conv(images, window.reshape(1, WINDOW, 1, 1), padding="valid")


def ssim(truth: Any, image: Any) -> Any:  # noqa: ANN401
    """Mean SSIM of magnitude images (…, y, x), float32, at data range 1."""
    shape = ops.shape(truth)
    flat = (-1, shape[-2], shape[-1], 1)
    x, y = (ops.reshape(ops.cast(tensor, "float32"), flat) for tensor in (truth, image))
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x * mean_x
    variance_y = _blur(y * y) - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2)
    )
    return ops.mean(similarity)


def training_loss(truth: Any, image: Any, absolute_error_weight: float) -> Any:  # noqa: ANN401
    """1 − SSIM + w · mean |error| of magnitude images (…, y, x)."""
    loss = 1.0 - ssim(truth, image)
    if absolute_error_weight:
        loss = loss + absolute_error_weight * ops.mean(ops.abs(truth - image))
    return loss


def magnitude(pairs: Any) -> Any:  # noqa: ANN401
    """Modulus of (…, 2) real-imaginary pairs, with a gradient that stays finite at 0."""
    return ops.sqrt(ops.sum(ops.square(pairs), axis=-1) + 1e-12)
