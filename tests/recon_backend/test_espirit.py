"""ESPIRiT against known maps and against the definition of its operator by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend.espirit import _shift_table, espirit_sensitivities, leading_eigenvectors
from recon_backend.fourier import centred_fft


def coils_on_a_circle(count: int, height: int, width: int) -> np.ndarray:
    """Unit-norm smooth maps."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = 2 * np.pi * np.arange(count) / count
    maps = np.stack(
        [np.exp(-((x - np.cos(a)) ** 2) - (y - np.sin(a)) ** 2) * np.exp(1j * (a + x)) for a in angle]
    )
    return (maps / np.sqrt((np.abs(maps) ** 2).sum(0))).astype(np.complex64)


def body(height: int, width: int) -> np.ndarray:
    """A disc with stripes."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return ((x**2 + y**2 < 0.6) * (1 + 0.3 * np.sin(9 * x))).astype(np.float32)


@pytest.mark.parametrize(("count", "height", "width"), [(6, 64, 64), (1, 48, 48), (8, 65, 50), (64, 33, 40)])
def test_known_maps_are_found(count: int, height: int, width: int) -> None:
    """|⟨s_true, s⟩| = 1 in the body, for one coil and many, odd and oblong matrices."""
    rng = np.random.default_rng(1)
    maps, image = coils_on_a_circle(count, height, width), body(height, width)
    noise = rng.standard_normal(maps.shape) + 1j * rng.standard_normal(maps.shape)
    found = espirit_sensitivities((maps * image + 0.003 * noise).astype(np.complex64))
    overlap = np.abs((maps.conj() * found).sum(0))[image > 0]
    assert overlap.min() > 0.995
    assert np.median(overlap) > 0.9999
    norm = np.sqrt((np.abs(found) ** 2).sum(0))
    assert np.all((np.abs(norm - 1) < 1e-4) | (norm == 0))


def test_air_has_no_maps_and_phase_is_smooth() -> None:
    maps, image = coils_on_a_circle(6, 64, 64), body(64, 64)
    found = espirit_sensitivities((maps * image).astype(np.complex64))
    support = (found != 0).any(axis=0)
    assert support[image > 0].all()
    assert support.mean() < 0.9
    inside = image > 0
    phase_error = np.einsum("cyx,cyx->yx", maps.conj(), found)
    turn = np.angle(phase_error[:, 1:] * phase_error[:, :-1].conj())[inside[:, 1:] & inside[:, :-1]]
    assert np.abs(turn).max() < 0.25


def test_operator_is_the_mean_of_projected_patches() -> None:
    """G(r) by its definition: project every patch of every pure image-space delta, average the overlaps."""
    rng = np.random.default_rng(2)
    coils, size, kernel, threshold = 2, 8, 3, 0.3
    parts = rng.standard_normal((2, coils, 6, 6))
    centre = (parts[0] + 1j * parts[1]).astype(np.complex64)
    centre[1] = 0.5j * centre[0] + 0.05 * centre[1]
    rows = np.array(
        [centre[:, y : y + 3, x : x + 3].ravel() for y in range(4) for x in range(4)], np.complex128
    )
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    kept = right[values > threshold * values[0]]
    project = kept.T @ kept.conj()  # of patches as columns; rows of `rows` lie in the span of `kept`
    table = _shift_table(centre, kernel, threshold)
    position = np.array([1, -3])  # a pixel, from the centre
    shift = np.arange(-2, 3)
    waves = np.exp(2j * np.pi * shift * position[0] / size)[:, None] * np.exp(
        2j * np.pi * shift * position[1] / size
    )
    operator = (table * waves).sum(axis=(2, 3))

    expected = np.zeros((coils, coils), complex)
    tile = np.arange(2 * kernel - 1) - (kernel - 1)
    k_y, k_x = np.meshgrid(tile, tile, indexing="ij")
    wave = np.exp(-2j * np.pi * (k_y * position[0] + k_x * position[1]) / size)
    for source in range(coils):
        total = np.zeros(coils, complex)
        for y in range(kernel):
            for x in range(kernel):  # every patch that covers sample (0, 0)
                patch = np.zeros((coils, kernel, kernel), complex)
                patch[source] = wave[y : y + kernel, x : x + kernel]
                projected = (project @ patch.ravel()).reshape(coils, kernel, kernel)
                total += projected[:, kernel - 1 - y, kernel - 1 - x]
        expected[:, source] = total / kernel**2
    np.testing.assert_allclose(operator, expected, atol=1e-5)
    np.testing.assert_allclose(operator, operator.conj().T, atol=1e-5)
    assert np.linalg.eigvalsh(operator).max() <= 1 + 1e-5


def test_leading_eigenvectors_against_lapack() -> None:
    rng = np.random.default_rng(3)
    factors = rng.standard_normal((3, 4, 5, 5)) + 1j * rng.standard_normal((3, 4, 5, 5))
    matrices = factors @ np.moveaxis(factors.conj(), -1, -2)
    vectors, values = leading_eigenvectors(matrices.astype(np.complex64))
    expected_values, expected = np.linalg.eigh(matrices)
    np.testing.assert_allclose(values, expected_values[..., -1], rtol=2e-3)
    overlap = np.abs(np.einsum("yxc,yxc->yx", vectors.conj(), expected[..., -1]))
    assert overlap.min() > 0.99


def test_empty_images_and_bad_numbers() -> None:
    assert not espirit_sensitivities(np.zeros((3, 16, 16), np.complex64)).any()
    with pytest.raises(ValueError, match="kernel is 9"):
        espirit_sensitivities(np.ones((2, 8, 8), np.complex64), kernel=9)
    with pytest.raises(ValueError, match="between 0 and 1"):
        espirit_sensitivities(np.ones((2, 8, 8), np.complex64), threshold=2)


def test_only_the_calibration_region_is_used() -> None:
    """Detail beyond 12 k-space samples of the centre changes nothing."""
    maps, image = coils_on_a_circle(4, 64, 64), body(64, 64)
    images = (maps * image).astype(np.complex64)
    kspace = centred_fft(images, (1, 2))
    kept = np.zeros_like(kspace)
    kept[:, 20:44, 20:44] = kspace[:, 20:44, 20:44]
    low = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kept, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    full, cut = espirit_sensitivities(images), espirit_sensitivities(low.astype(np.complex64))
    overlap = np.abs((full.conj() * cut).sum(0))[image > 0]
    np.testing.assert_allclose(overlap, 1, atol=1e-3)
