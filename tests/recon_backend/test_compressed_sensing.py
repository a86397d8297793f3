"""Compressed sensing: operators against the definition, proximal map and solver against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from recon_backend import device
from recon_backend.compressed_sensing import (
    CompressedSensingSettings,
    compressed_sensing,
    temporal_tv_proximal,
)
from recon_backend.fourier import NonuniformFourier, centred_fft, centred_ifft
from recon_backend.normal_operators import (
    CartesianNormal,
    FinufftNormal,
    ToeplitzNormal,
    largest_eigenvalue,
)
from recon_backend.preparation import prepare
from recon_backend.sampling.radial import radial_density_weights, radial_trajectory
from recon_backend.simulation.videos import SimulationRanges, simulate

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Complex64 white noise."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def unit_maps(rng: np.random.Generator, coils: int, height: int, width: int) -> np.ndarray:
    """Random maps of unit norm."""
    maps = noise(rng, coils, height, width)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(0))


def test_cartesian_normal_equals_two_dimensional_ffts() -> None:
    """Σ s* F⁻¹ M F s x, for a series longer than one block."""
    rng = np.random.default_rng(1)
    maps, image = unit_maps(rng, 3, 12, 10), noise(rng, 30, 12, 10)
    mask = rng.random((30, 12)) < 0.4
    mask[:, 6] = True
    kspace = centred_fft(maps[:, None] * image, (2, 3)) * mask[None, :, :, None]
    expected = (maps.conj()[:, None] * centred_ifft(kspace, (2, 3))).sum(0)
    np.testing.assert_allclose(np.asarray(CartesianNormal(mask, maps)(image)), expected, atol=2e-5)


def test_toeplitz_and_finufft_agree_and_are_self_adjoint() -> None:
    """Two independent implementations of Aᴴ W A; ⟨A x, y⟩ = ⟨x, A y⟩."""
    rng = np.random.default_rng(2)
    trajectory, weights = radial_trajectory(3, 5, 32), radial_density_weights(3, 5, 32)
    maps, x, y = unit_maps(rng, 3, 16, 16), noise(rng, 3, 16, 16), noise(rng, 3, 16, 16)
    by_toeplitz = ToeplitzNormal(trajectory, weights, maps)
    by_finufft = FinufftNormal(NonuniformFourier(trajectory, (16, 16)), weights, maps)
    first, second = np.asarray(by_toeplitz(x)), np.asarray(by_finufft(x))
    np.testing.assert_allclose(first, second, atol=3e-4 * np.abs(second).max())
    left, right = (
        np.vdot(first.astype(np.complex128), y),
        np.vdot(x.astype(np.complex128), np.asarray(by_toeplitz(y))),
    )
    assert abs(left - right) < 1e-5 * abs(left)


def test_eigenvalue_is_that_of_the_matrix() -> None:
    """Power iteration against the dense matrix of the normal operator's chosen frames."""
    rng = np.random.default_rng(3)
    maps = unit_maps(rng, 2, 4, 3)
    mask = np.array([[1, 0, 1, 1], [1, 1, 0, 0]], bool)
    operator = CartesianNormal(mask, maps)
    columns = [
        np.asarray(operator(unit.reshape(2, 4, 3).astype(np.complex64))).ravel() for unit in np.eye(24)
    ]
    expected = np.linalg.eigvalsh(np.array(columns).T).max()
    assert largest_eigenvalue(operator, 2, (4, 3), 60) == pytest.approx(expected, rel=1e-3)


def test_proximal_map_minimises_its_objective() -> None:
    """Against a general-purpose minimiser on one complex time curve."""
    rng = np.random.default_rng(4)
    curve, threshold = noise(rng, 6), 0.7

    def objective(values: np.ndarray) -> float:
        u = values[:6] + 1j * values[6:]
        return float(0.5 * (np.abs(u - curve) ** 2).sum() + threshold * np.abs(np.diff(u)).sum())

    start = np.concatenate([curve.real, curve.imag])
    best = scipy.optimize.minimize(
        objective, start, method="Powell", options={"xtol": 1e-9, "ftol": 1e-12, "maxiter": 40000}
    )
    found, _ = temporal_tv_proximal(curve[:, None, None], threshold, np.zeros((5, 1, 1), np.complex64), 300)
    found = np.asarray(found).ravel()
    assert objective(np.concatenate([found.real, found.imag])) <= best.fun + 1e-5


def test_solver_reaches_the_minimum_of_a_slow_reference() -> None:
    """The objective equals that of plain proximal gradient descent on dense matrices, run far longer."""
    rng = np.random.default_rng(5)
    movie = np.repeat(noise(rng, 1, 12, 12), 5, 0)
    movie[3:] += 0.5 * noise(rng, 1, 12, 12)
    prepared = prepare(simulate(movie, "radial", rng, SimulationRanges(coils=(3, 3))).acquisition)
    weight = 0.05
    settings = CompressedSensingSettings(
        regularisation=weight, weights="density", iterations=150, proximal_steps=15
    )
    result = compressed_sensing(prepared, settings)
    image, objectives = result.images, result.objectives

    assert prepared.fourier is not None and prepared.weights is not None
    position = np.arange(12) - 6
    k = prepared.fourier.trajectory.reshape(5, -1, 2).astype(float)
    phase = k[..., 0, None, None] * position[:, None] + k[..., 1, None, None] * position
    encoding = np.exp(-1j * phase).reshape(5, -1, 144) / 12
    maps = prepared.sensitivities.reshape(3, 144)
    density = prepared.weights.reshape(5, -1)
    data = prepared.kspace.reshape(3, 5, -1)

    def value(x: np.ndarray) -> float:
        residual = np.einsum("tkr,cr,tr->ctk", encoding, maps, x, optimize=True) - data
        return float(
            0.5 * (density * np.abs(residual) ** 2).sum() + weight * np.abs(np.diff(x, axis=0)).sum()
        )

    gram = np.einsum(
        "tkr,tk,tks,cr,cs->trs", encoding.conj(), density, encoding, maps.conj(), maps, optimize=True
    )
    right = np.einsum("tkr,tk,cr,ctk->tr", encoding.conj(), density, maps.conj(), data, optimize=True)
    step = 1 / max(np.linalg.eigvalsh(matrix).max() for matrix in gram)
    x, dual = np.zeros((5, 144), complex), np.zeros((4, 144), complex)
    for _ in range(4000):
        moved = x - step * (np.einsum("trs,ts->tr", gram, x) - right)
        for _ in range(10):
            x = moved - np.concatenate([-dual[:1], -np.diff(dual, axis=0), dual[-1:]])
            dual = dual + 0.25 * np.diff(x, axis=0)
            dual /= np.maximum(1.0, np.abs(dual) / (weight * step))
        x = moved - np.concatenate([-dual[:1], -np.diff(dual, axis=0), dual[-1:]])
    assert value(image.reshape(5, 144)) == pytest.approx(value(x), rel=1e-3)
    assert objectives[-1] == pytest.approx(value(image.reshape(5, 144)), rel=1e-2)
    assert objectives[-1] < 0.9 * objectives[0]
