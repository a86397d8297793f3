"""Forward, adjoint and normal operators of every sampling against the dense matrix that defines them."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend import device
from recon_backend.fourier import NonuniformFourier, centred_fft, centred_ifft
from recon_backend.networks.varnet import DataConsistency
from recon_backend.normal_operators import CartesianNormal, FinufftNormal, ToeplitzNormal
from recon_backend.sampling.density import density_weights
from recon_backend.sampling.encoding import line_encoding
from recon_backend.sampling.presets import preset_sampling
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.sampling.spiral import SpiralDesign, spiral_trajectory

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend

FRAMES = 2
# FINUFFT is a little less accurate on such small matrices than on those of scans.
TOLERANCE = 5e-5
# Odd and oblong matrices, one coil and many.
SHAPES = [((24, 24), 3), ((25, 25), 1), ((18, 31), 4), ((32, 20), 64)]


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Complex64 white noise."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def unit_maps(rng: np.random.Generator, coils: int, matrix: tuple[int, int]) -> np.ndarray:
    """Random maps of unit norm."""
    maps = noise(rng, coils, *matrix)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(0))


def trajectory_of(sampling: str) -> np.ndarray:
    """A short trajectory; spirals that turn by 30 degrees a frame."""
    if sampling == "radial":
        return radial_trajectory(FRAMES, 7, 64)
    design = SpiralDesign(matrix=32, field_of_view_m=0.2, dwell_s=5.6e-6, full_arms=8)
    return spiral_trajectory(FRAMES, 7, design=design)


def dense(trajectory: np.ndarray, matrix: tuple[int, int]) -> np.ndarray:
    """exp(−i k·r)/√(N_y N_x) as matrices (frame, sample, pixel) in double precision."""
    y, x = (np.arange(size) - size // 2 for size in matrix)
    k = trajectory.reshape(len(trajectory), -1, 2).astype(float)
    phase = k[..., 0, None, None] * y[:, None] + k[..., 1, None, None] * x
    return np.exp(-1j * phase).reshape(*k.shape[:2], -1) / np.sqrt(matrix[0] * matrix[1])


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """‖found − expected‖/‖expected‖."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def same_product(left: complex, right: complex, size: float, tolerance: float = 1e-5) -> bool:
    """Whether two scalar products agree, measured by the norms of what was multiplied."""
    return abs(left - right) <= tolerance * size


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
@pytest.mark.parametrize(("matrix", "coils"), SHAPES)
def test_nonuniform_pair(sampling: str, matrix: tuple[int, int], coils: int) -> None:
    """F against the dense matrix; ⟨F x, y⟩ = ⟨x, Fᴴ y⟩ to 1e-5 in single precision."""
    rng = np.random.default_rng(1)
    trajectory = trajectory_of(sampling)
    image = noise(rng, coils, FRAMES, *matrix)
    samples = noise(rng, coils, *trajectory.shape[:3])
    fourier = NonuniformFourier(trajectory, matrix, tolerance=TOLERANCE)
    forward, adjoint = fourier.forward(image), fourier.adjoint(samples)
    expected = np.einsum("tkr,ctr->ctk", dense(trajectory, matrix), image.reshape(coils, FRAMES, -1))
    assert relative(forward.reshape(expected.shape), expected) < 1e-4
    left = np.vdot(forward.astype(np.complex128), samples)
    right = np.vdot(image.astype(np.complex128), adjoint)
    assert same_product(left, right, np.linalg.norm(forward) * np.linalg.norm(samples))


@pytest.mark.parametrize(("matrix", "coils"), SHAPES)
def test_cartesian_pair(matrix: tuple[int, int], coils: int) -> None:
    """M F and its adjoint by FFTs; the 1-D encoding matrices give the same lines."""
    rng = np.random.default_rng(2)
    image = noise(rng, coils, FRAMES, *matrix)
    mask = rng.random((FRAMES, matrix[0])) < 0.4
    mask[:, matrix[0] // 2] = True
    kspace = centred_fft(image, (2, 3)) * mask[None, :, :, None]
    data = noise(rng, *image.shape) * mask[None, :, :, None]
    left = np.vdot(kspace.astype(np.complex128), data)
    right = np.vdot(image.astype(np.complex128), centred_ifft(data, (2, 3)))
    assert same_product(left, right, np.linalg.norm(kspace) * np.linalg.norm(data))

    encoding = line_encoding(mask)
    hybrid = centred_fft(image, (2,))
    for frame in range(FRAMES):
        columns = np.moveaxis(image[:, frame], 1, 2)
        pairs = np.concatenate([columns.real, columns.imag], axis=-1) @ encoding[frame]
        half, count = pairs.shape[-1] // 2, int(mask[frame].sum())
        lines = pairs[..., :count] + 1j * pairs[..., half : half + count]
        np.testing.assert_allclose(np.moveaxis(lines, 1, 2), hybrid[:, frame, mask[frame]], atol=2e-5)


@pytest.mark.parametrize("sampling", ["radial", "spiral"])
@pytest.mark.parametrize(("matrix", "coils"), SHAPES)
def test_nonuniform_normal_operators(sampling: str, matrix: tuple[int, int], coils: int) -> None:
    """Σ s* Fᴴ W F s x against dense matrices: Toeplitz to 1e-5, and equal to FINUFFT to 1e-4."""
    rng = np.random.default_rng(3)
    trajectory = trajectory_of(sampling)
    weights = density_weights(trajectory, matrix, sampling=sampling)
    maps, x, y = unit_maps(rng, coils, matrix), noise(rng, FRAMES, *matrix), noise(rng, FRAMES, *matrix)
    flat_maps = maps.reshape(coils, -1)
    expected = []
    for frame, encoding in enumerate(dense(trajectory, matrix)):
        samples = (flat_maps * x[frame].ravel()) @ encoding.T
        back = (samples * weights[frame].ravel()) @ encoding.conj()
        expected.append((flat_maps.conj() * back).sum(axis=0).reshape(matrix))
    by_toeplitz = ToeplitzNormal(trajectory, weights, maps)
    by_finufft = FinufftNormal(NonuniformFourier(trajectory, matrix, tolerance=TOLERANCE), weights, maps)
    toeplitz, finufft = np.asarray(by_toeplitz(x)), np.asarray(by_finufft(x))
    assert relative(toeplitz, np.array(expected)) < 1e-5
    assert relative(toeplitz, finufft) < 1e-4
    for operator, applied in ((by_toeplitz, toeplitz), (by_finufft, finufft)):
        left = np.vdot(applied.astype(np.complex128), y)
        right = np.vdot(x.astype(np.complex128), np.asarray(operator(y)))
        assert same_product(left, right, np.linalg.norm(applied) * np.linalg.norm(y))
        assert np.vdot(x, applied).real > 0


@pytest.mark.parametrize(("matrix", "coils"), SHAPES)
def test_cartesian_normal_operators(matrix: tuple[int, int], coils: int) -> None:
    """The 1-D products, VarNet's data consistency and masked 2-D FFTs are one operator."""
    rng = np.random.default_rng(4)
    maps, x, y = unit_maps(rng, coils, matrix), noise(rng, FRAMES, *matrix), noise(rng, FRAMES, *matrix)
    mask = rng.random((FRAMES, matrix[0])) < 0.3
    mask[:, matrix[0] // 2] = True
    mask[1, : matrix[0] // 2 + 1] = True  # frames with unequal numbers of lines
    kspace = centred_fft(maps[:, None] * x, (2, 3)) * mask[None, :, :, None]
    expected = (maps.conj()[:, None] * centred_ifft(kspace, (2, 3))).sum(axis=0)
    operator = CartesianNormal(mask, maps)
    found = np.asarray(operator(x))
    assert relative(found, expected) < 1e-5
    left = np.vdot(found.astype(np.complex128), y)
    right = np.vdot(x.astype(np.complex128), np.asarray(operator(y)))
    assert same_product(left, right, np.linalg.norm(found) * np.linalg.norm(y))

    layer = DataConsistency()
    layer.build()
    pairs = np.stack([x.real, x.imag], axis=-1)[None]
    map_pairs = np.stack([maps.real, maps.imag], axis=-1)[None]
    gradient = np.asarray(layer(pairs, np.zeros_like(pairs), map_pairs, line_encoding(mask)[None]))[0]
    assert relative(gradient[..., 0] + 1j * gradient[..., 1], expected) < 1e-5


@pytest.mark.parametrize("name", ["cardiac_radial", "speech_spiral"])
def test_published_acquisitions_at_the_default_accuracy(name: str) -> None:
    """Toeplitz equals FINUFFT-based Aᴴ W A to 1e-4, and both pairs pass the dot-product test to 1e-5."""
    rng = np.random.default_rng(5)
    sampling = preset_sampling(name, 1)
    trajectory, weights, matrix = sampling.trajectory, sampling.weights, sampling.matrix
    assert trajectory is not None and weights is not None
    maps, x, y = unit_maps(rng, 2, matrix), noise(rng, 1, *matrix), noise(rng, 1, *matrix)
    fourier = NonuniformFourier(trajectory, matrix)
    by_toeplitz, by_finufft = ToeplitzNormal(trajectory, weights, maps), FinufftNormal(fourier, weights, maps)
    toeplitz, finufft = np.asarray(by_toeplitz(x)), np.asarray(by_finufft(x))
    assert relative(toeplitz, finufft) < 1e-4
    for operator, applied in ((by_toeplitz, toeplitz), (by_finufft, finufft)):
        left = np.vdot(applied.astype(np.complex128), y)
        right = np.vdot(x.astype(np.complex128), np.asarray(operator(y)))
        assert same_product(left, right, np.linalg.norm(applied) * np.linalg.norm(y))
    samples = noise(rng, 1, *trajectory.shape[:3])
    forward = fourier.forward(x[None])
    left = np.vdot(forward.astype(np.complex128), samples)
    right = np.vdot(x[None].astype(np.complex128), fourier.adjoint(samples))
    assert same_product(left, right, np.linalg.norm(forward) * np.linalg.norm(samples))
