"""Coil compression against a direct SVD, sensitivities against known maps."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_walsh_finds_the_maps() -> None:
    """|⟨s_true, s_estimated⟩| is 1 in the body; the phase left open varies slowly."""
    size = 48
    maps = smooth_maps(6, size)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x**2 + y**2 < 0.7).astype(np.float32)
    images = (maps * body * (1 + 0.3 * np.sin(9 * x))).astype(np.complex64)
    found = coils.walsh_sensitivities(images, size=5)
    overlap = np.abs((maps.conj() * found).sum(0))[body > 0]
    assert overlap.min() > 0.99
    assert np.median(overlap) > 0.9995


def test_walsh_is_the_leading_eigenvector_of_the_local_covariance() -> None:
    """At one pixel, against LAPACK on the covariance summed by hand over the 5 × 5 pixels around it."""
    rng = np.random.default_rng(4)
    images = (rng.standard_normal((3, 12, 14)) + 1j * rng.standard_normal((3, 12, 14))).astype(np.complex64)
    patch = images[:, 4:9, 5:10].reshape(3, -1)
    _, vectors = np.linalg.eigh(patch @ patch.conj().T)
    found = coils.walsh_sensitivities(images, size=5)[:, 6, 7]
    assert abs(np.vdot(vectors[:, -1], found)) > 0.999


def test_adaptive_combination_keeps_the_signal_and_darkens_air() -> None:
    """Against root-sum-of-squares: the same in the body, noise in air lower by about the coils' root."""
    size, count = 64, 8
    rng = np.random.default_rng(5)
    maps = smooth_maps(count, size)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x**2 + y**2 < 0.5).astype(np.float32)
    noise = rng.standard_normal((2, count, 2, size, size))
    images = (maps[:, None] * body + 0.02 * (noise[0] + 1j * noise[1])).astype(np.complex64)
    squares = coils.combined_magnitude(images, "root_sum_of_squares")
    adaptive = coils.combined_magnitude(images, "adaptive")
    known = coils.combined_magnitude(images, "sensitivities", maps)
    assert squares.shape == adaptive.shape == known.shape == (2, size, size)
    inside, air = x**2 + y**2 < 0.4, x**2 + y**2 > 0.9
    assert adaptive[:, inside].mean() == pytest.approx(1, abs=0.01)
    assert known[:, inside].mean() == pytest.approx(1, abs=0.01)
    assert adaptive[:, air].mean() < 0.65 * squares[:, air].mean()


def test_combinations_by_other_words_are_refused() -> None:
    images = np.ones((2, 4, 4), np.complex64)
    with pytest.raises(ValueError, match="'mean'"):
        coils.combined_magnitude(images, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sensitivities are needed"):
        coils.combined_magnitude(images, "sensitivities")


def test_compression_of_blocks_equals_that_of_the_whole() -> None:
    rng = np.random.default_rng(6)
    kspace = (rng.standard_normal((4, 90)) + 1j * rng.standard_normal((4, 90))).astype(np.complex64)
    kspace *= np.array([4, 3, 2, 1], np.float32)[:, None]
    whole = coils.compression_matrix(kspace, 2)
    blocks = coils.compression_matrix((kspace[:, start : start + 40] for start in range(0, 90, 40)), 2)
    np.testing.assert_allclose(np.abs(whole.conj().T @ blocks), np.eye(2), atol=1e-5)
