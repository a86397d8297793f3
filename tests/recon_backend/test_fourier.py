"""Fourier transforms against direct sums, and the dot-product test of every pair of operators."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend.fourier import NonuniformFourier, centred_fft, centred_ifft, toeplitz_kernel
from recon_backend.sampling.radial import radial_density_weights, radial_trajectory


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Complex64 white noise."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize("size", [8, 9])
def test_centred_fft_is_the_direct_sum(size: int) -> None:
    """Zero frequency at N // 2 on both sides, factor 1/√N, for even and odd sizes."""
    rng = np.random.default_rng(1)
    image = complex_normal(rng, (size,))
    r = np.arange(size) - size // 2
    direct = np.exp(-2j * np.pi * np.outer(r, r) / size) @ image / np.sqrt(size)
    np.testing.assert_allclose(centred_fft(image, (0,)), direct, atol=1e-6)
    np.testing.assert_allclose(centred_ifft(centred_fft(image, (0,)), (0,)), image, atol=1e-6)


def test_nonuniform_forward_is_the_direct_sum() -> None:
    """Order (y, x), sign −, factor 1/√(N_y N_x), on a rectangular image."""
    rng = np.random.default_rng(2)
    trajectory = rng.uniform(-np.pi, np.pi, (2, 3, 5, 2)).astype(np.float32)
    images = complex_normal(rng, (2, 2, 12, 10))
    samples = NonuniformFourier(trajectory, (12, 10), tolerance=1e-6).forward(images)
    y, x = np.arange(12) - 6, np.arange(10) - 5
    for frame in range(2):
        k = trajectory[frame].reshape(-1, 2).astype(float)
        matrix = np.exp(-1j * (k[:, 0, None, None] * y[:, None] + k[:, 1, None, None] * x)) / np.sqrt(120)
        direct = np.einsum("jyx,cyx->cj", matrix, images[:, frame]).reshape(2, 3, 5)
        np.testing.assert_allclose(samples[:, frame], direct, atol=2e-5)


def test_nonuniform_adjoint_passes_the_dot_product_test() -> None:
    """⟨F x, y⟩ = ⟨x, Fᴴ y⟩ to 1e-5, at the speed-oriented default accuracy."""
    rng = np.random.default_rng(3)
    fourier = NonuniformFourier(radial_trajectory(3, 5, 48), (24, 24))
    image, samples = complex_normal(rng, (2, 3, 24, 24)), complex_normal(rng, (2, 3, 5, 48))
    left = np.vdot(fourier.forward(image).astype(np.complex128), samples)
    right = np.vdot(image.astype(np.complex128), fourier.adjoint(samples))
    assert abs(left - right) < 1e-5 * abs(left)


def test_toeplitz_equals_forward_and_adjoint() -> None:
    """Zero-padded convolution with the kernel is Fᴴ W F."""
    rng = np.random.default_rng(4)
    trajectory, weights = radial_trajectory(2, 5, 48), radial_density_weights(2, 5, 48)
    image = complex_normal(rng, (1, 2, 24, 24))
    fourier = NonuniformFourier(trajectory, (24, 24), tolerance=1e-6)
    expected = fourier.adjoint(fourier.forward(image) * weights)
    kernels = toeplitz_kernel(trajectory, weights, (24, 24))
    padded = np.pad(image[0], ((0, 0), (0, 24), (0, 24)))
    convolved = np.fft.ifft2(np.fft.fft2(padded) * kernels)[:, :24, :24]
    np.testing.assert_allclose(convolved, expected[0], atol=1e-4 * np.abs(expected).max())
