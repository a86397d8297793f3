"""The video simulation: each published property measured on what it makes."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend.fourier import centred_ifft
from recon_backend.preparation import prepare
from recon_backend.simulation import videos
from recon_backend.simulation.videos import SimulationRanges


def colour_movie(frames: int, matrix: int) -> np.ndarray:
    """A moving colour gradient."""
    y, x = np.mgrid[:matrix, :matrix] / matrix
    movie = [np.stack([x, y, np.abs(np.sin(3 * x + 0.2 * t))], -1) for t in range(frames)]
    return (255 * np.stack(movie)).astype(np.uint8)


def test_cubic_field_reproduces_straight_lines_inside_and_the_constant() -> None:
    """Keys' kernel is exact for straight lines away from the edge, and for constants everywhere."""
    np.testing.assert_allclose(videos.cubic_field(np.full((2, 2), 1.7), (40, 40)), 1.7, atol=1e-12)
    ramp = np.tile(np.arange(6.0), (6, 1))
    enlarged = videos.cubic_field(ramp, (60, 60))
    position = (np.arange(60) + 0.5) / 10 - 0.5
    np.testing.assert_allclose(enlarged[30, 20:40], position[20:40], atol=1e-9)


def test_object_phase_is_four_times_the_channel_angle() -> None:
    """|z| ≤ √2 and angle(z) = 4·atan2(second channel, first channel) for one of the three channel pairs."""
    movie = colour_movie(2, 16)
    z = videos.complex_object(movie, np.random.default_rng(0), SimulationRanges())
    scaled = (movie - movie.min()) / (movie.max() - movie.min())
    errors = []
    for roll in range(3):
        first, second = scaled[..., roll], scaled[..., (roll + 1) % 3]
        wanted = np.hypot(first, second) * np.exp(4j * np.arctan2(second, first))
        errors.append(np.abs(z - wanted).max())
    assert min(errors) < 1e-5
    assert np.abs(z).max() <= np.sqrt(2) + 1e-6


def test_maps_are_divided_by_the_peak_of_their_rss_only() -> None:
    """One scalar: the RSS peaks at 1 and is not flat."""
    maps = videos.coil_maps(8, 64, np.random.default_rng(1), SimulationRanges())
    rss = np.sqrt((np.abs(maps) ** 2).sum(0))
    assert rss.max() == pytest.approx(1.0, rel=1e-5)
    assert rss.min() < 0.5


def test_noise_has_the_drawn_level() -> None:
    """Per channel σ² = P/10^(SNR/10): fully sampled noisy minus clean, within 0.2 dB."""
    ranges = SimulationRanges(snr_db=(15.0, 15.0), coils=(4, 4), noisy_target=True)
    movie = videos.complex_object(colour_movie(6, 64), np.random.default_rng(2), ranges)
    noisy = videos.simulate(movie, "cartesian", np.random.default_rng(3), ranges)
    clean = videos.simulate(
        movie, "cartesian", np.random.default_rng(3), SimulationRanges(snr_db=(15.0, 15.0), coils=(4, 4))
    )
    noise = noisy.coil_images - clean.coil_images
    power = float((np.abs(clean.coil_images) ** 2).mean())
    for part in (noise.real, noise.imag):
        assert 10 * np.log10(power / part.var()) == pytest.approx(15.0, abs=0.2)


def test_scan_is_the_sampled_fft_of_the_noisy_images() -> None:
    """Cartesian k-space: zero outside the mask, and with all lines it returns the images."""
    ranges = SimulationRanges(coils=(3, 3), noisy_target=True)
    movie = videos.complex_object(colour_movie(4, 64), np.random.default_rng(4), ranges)
    scan = videos.simulate(movie, "cartesian", np.random.default_rng(5), ranges)
    mask = scan.acquisition.mask
    assert mask is not None
    assert not scan.acquisition.kspace[:, ~mask].any()
    images = centred_ifft(scan.acquisition.kspace, (2, 3))
    # What was sampled is what the images hold there; compare through one fully sampled line.
    row = int(np.flatnonzero(mask.all(axis=0))[0])
    wanted = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(scan.coil_images, axes=(2, 3)), norm="ortho"), axes=(2, 3)
    )
    np.testing.assert_allclose(scan.acquisition.kspace[:, :, row], wanted[:, :, row], atol=1e-4)
    assert images.shape == scan.coil_images.shape


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_scale_from_the_data_is_near_that_of_the_truth(sampling: str) -> None:
    """The 99.9th percentile rule finds, without the truth, the percentile of the truth's time average."""
    ranges = SimulationRanges(coils=(6, 6), snr_db=(22.0, 22.0))
    movie = colour_movie(12, 96)[..., 1].astype(np.complex64) / 255
    scan = videos.simulate(movie, sampling, np.random.default_rng(7), ranges)
    scale = prepare(scan.acquisition).scale
    assert scale == pytest.approx(np.percentile(scan.truth.mean(0), 99.9), rel=0.15)


def test_resize_keeps_the_mean_and_the_direction() -> None:
    """Downsizing averages, and y stays y."""
    movie = np.zeros((1, 80, 120, 1), np.uint8)
    movie[:, :40] = 200
    small = videos.resize_movie(movie, 40)
    assert small.shape == (1, 40, 40, 1)
    assert small[0, :18].min() > 195 and small[0, 22:].max() < 5
