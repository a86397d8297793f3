"""Coil compression against a direct SVD, sensitivities against known maps."""

from __future__ import annotations

import numpy as np

from recon_backend import coils


def smooth_maps(count: int, size: int) -> np.ndarray:
    """Unit-norm maps of coils on a circle."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = 2 * np.pi * np.arange(count) / count
    maps = np.stack(
        [np.exp(-((x - np.cos(a)) ** 2) - (y - np.sin(a)) ** 2) * np.exp(1j * (a + x)) for a in angle]
    )
    return (maps / np.sqrt((np.abs(maps) ** 2).sum(0))).astype(np.complex64)


def test_compression_keeps_the_singular_values() -> None:
    """The virtual coils carry the leading singular values of the samples × coils matrix, in order."""
    rng = np.random.default_rng(1)
    kspace = (rng.standard_normal((6, 200)) + 1j * rng.standard_normal((6, 200))).astype(np.complex64)
    kspace *= np.array([5, 4, 3, 2, 1, 0.5])[:, None].astype(np.float32)
    virtual = coils.compress(kspace, coils.compression_matrix(kspace, 4))
    expected = np.linalg.svd(kspace.T, compute_uv=False)[:4]
    np.testing.assert_allclose(np.linalg.norm(virtual, axis=1), expected, rtol=1e-4)
    assert np.abs(np.vdot(virtual[0], virtual[1])) < 1e-2 * expected[0] * expected[1]


def test_few_coils_are_kept_without_loss() -> None:
    """Compression to more coils than there are is a unitary rotation."""
    rng = np.random.default_rng(2)
    kspace = (rng.standard_normal((3, 50)) + 1j * rng.standard_normal((3, 50))).astype(np.complex64)
    virtual = coils.compress(kspace, coils.compression_matrix(kspace, 10))
    np.testing.assert_allclose(
        coils.root_sum_of_squares(virtual), coils.root_sum_of_squares(kspace), rtol=1e-4
    )


def test_inati_finds_the_maps() -> None:
    """|⟨s_true, s_estimated⟩| is 1 at each pixel of the object (the common phase is free)."""
    size = 64
    maps = smooth_maps(6, size)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x**2 + y**2 < 0.7).astype(np.float32)
    images = (maps * body * (1 + 0.3 * np.sin(9 * x))).astype(np.complex64)
    found = coils.inati_sensitivities(images)
    overlap = np.abs((maps.conj() * found).sum(0))
    assert overlap[body > 0].min() > 0.99
    assert np.median(overlap[body > 0]) > 0.9995


def test_combination_with_the_true_maps_returns_the_object() -> None:
    """Σ s* (s ρ) = ρ for unit-norm maps, also for a series of frames."""
    maps = smooth_maps(5, 16)
    rng = np.random.default_rng(3)
    series = (rng.standard_normal((4, 16, 16)) + 1j * rng.standard_normal((4, 16, 16))).astype(np.complex64)
    np.testing.assert_allclose(coils.combine(maps[:, None] * series, maps), series, atol=1e-5)


def test_no_signal_gives_finite_maps() -> None:
    """An empty image must not become NaN."""
    assert np.isfinite(coils.inati_sensitivities(np.zeros((4, 16, 16), np.complex64))).all()
