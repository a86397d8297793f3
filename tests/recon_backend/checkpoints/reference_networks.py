"""The three published networks in NumPy, written from the published tables and nothing else of this program.

They take their variables as the published list, by number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def convolution(images: Array, kernel: npt.ArrayLike, bias: npt.ArrayLike) -> Array:
    """Zero-padded correlation of (…, channel) images with a kernel of side 3 on every other axis."""
    weights = np.asarray(kernel, np.float64)
    axes = images.ndim - 1
    padded = np.pad(images, [(1, 1)] * axes + [(0, 0)])
    out = np.zeros((*images.shape[:-1], weights.shape[-1])) + np.asarray(bias, np.float64)
    for tap in np.ndindex(*weights.shape[:-2]):
        window = tuple(slice(t, t + n) for t, n in zip(tap, images.shape[:-1], strict=True))
        out += padded[window] @ weights[tap]
    return out


def pooled(images: Array) -> Array:
    """Maximum over blocks of side 2."""
    for axis in range(images.ndim - 1):
        shape = (*images.shape[:axis], images.shape[axis] // 2, 2, *images.shape[axis + 1 :])
        images = images.reshape(shape).max(axis=axis + 1)
    return images


def leaky(images: Array) -> Array:
    """Slope 0.1 below zero."""
    return np.where(images > 0, images, 0.1 * images)


def unet3d(images: Array, v: Sequence[npt.NDArray[np.float32]]) -> Array:
    """Table 4.2: (frame, y, x, channel); 0–11 encoder, 12–15 shallow decoder, 16–19 deep decoder, 20 head."""

    def two(tensor: Array, first: int) -> Array:
        return leaky(
            convolution(leaky(convolution(tensor, v[first], v[first + 1])), v[first + 2], v[first + 3])
        )

    def up(tensor: Array) -> Array:
        for axis in range(3):
            tensor = np.repeat(tensor, 2, axis=axis)
        return tensor

    top = two(images, 0)
    middle = two(pooled(top), 4)
    bottom = two(pooled(middle), 8)
    deep = two(np.concatenate([up(bottom), middle], axis=-1), 16)
    shallow = two(np.concatenate([up(deep), top], axis=-1), 12)
    return convolution(shallow, v[20], v[21])


def fastdvdnet(frames: Array, v: Sequence[npt.NDArray[np.float32]]) -> Array:
    """Table 4.3: (y, x, 5) → (y, x, 1)."""

    def block(three: Array, w: Sequence[npt.NDArray[np.float32]]) -> Array:
        def two(tensor: Array, first: int) -> Array:
            once = np.maximum(convolution(tensor, w[first], w[first + 1]), 0)
            return np.maximum(convolution(once, w[first + 2], w[first + 3]), 0)

        def up(tensor: Array, number: int) -> Array:
            many = convolution(tensor, w[number], w[number + 1])
            count = many.shape[-1] // 4
            out = np.zeros((2 * many.shape[0], 2 * many.shape[1], count))
            for dy in range(2):
                for dx in range(2):
                    first = (2 * dy + dx) * count
                    out[dy::2, dx::2] = many[..., first : first + count]
            return out

        top = two(three, 0)
        middle = two(pooled(top), 4)
        bottom = two(pooled(middle), 8)
        deep = two(np.concatenate([up(bottom, 22), middle], axis=-1), 16)
        shallow = two(np.concatenate([up(deep, 20), top], axis=-1), 12)
        return convolution(shallow, w[24], w[25])

    answers = [block(frames[..., start : start + 3], v[:26]) for start in range(3)]
    return block(np.concatenate(answers, axis=-1), v[26:])


def varnet(
    kspace: npt.NDArray[np.complex128],
    maps: npt.NDArray[np.complex128],
    mask: npt.NDArray[np.bool_],
    v: Sequence[npt.NDArray[np.float32]],
) -> npt.NDArray[np.complex128]:
    """Table 4.4 with FFTs.

    Args:
        kspace: (coil, frame, ky, kx).
        maps: (coil, y, x).
        mask: (frame, ky).
        v: the variables.

    Returns:
        The images (frame, y, x).
    """

    def forward(image: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        coils = maps[:, None] * image
        shifted = np.fft.ifftshift(coils, axes=(-2, -1))
        return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1)) * mask[None, :, :, None]

    def combination(data: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        shifted = np.fft.ifftshift(data, axes=(-2, -1))
        coils = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
        norm = (np.abs(maps) ** 2).sum(axis=0)
        total = (maps.conj()[:, None] * coils).sum(axis=0)
        return np.where(norm > 0, total / np.where(norm > 0, norm, 1), 0)

    measured = kspace * mask[None, :, :, None]
    image = combination(measured)
    for cascade in range(12):
        part = v[23 * cascade : 23 * cascade + 23]
        pair = unet3d(np.stack([image.real, image.imag], axis=-1), part[1:])
        gradient = combination(forward(image) - measured)
        image = image - float(part[0]) * gradient - (pair[..., 0] + 1j * pair[..., 1])
    return image
