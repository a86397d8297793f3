"""The video simulation: each published property measured on what it makes."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend.fourier import centred_ifft
from recon_backend.preparation import prepare
from recon_backend.sampling.cartesian import published_mask
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
    z = videos.complex_object(movie, np.random.default_rng(0), SimulationRanges.published())
    scaled = (movie - movie.min()) / (movie.max() - movie.min())
    errors = []
    for roll in range(3):
        first, second = scaled[..., roll], scaled[..., (roll + 1) % 3]
        wanted = np.hypot(first, second) * np.exp(4j * np.arctan2(second, first))
        errors.append(np.abs(z - wanted).max())
    assert min(errors) < 1e-5
    assert np.abs(z).max() <= np.sqrt(2) + 1e-6


def test_contrast_is_a_power_of_the_magnitude_alone() -> None:
    """Between the bounds, another for each clip, the phase untouched; a movie of zeros stays one."""
    movie = colour_movie(2, 16)
    plain = videos.complex_object(movie, np.random.default_rng(0), SimulationRanges.published())
    square = videos.complex_object(
        movie, np.random.default_rng(0), SimulationRanges(contrast=(2.0, 2.0), dim_share=0)
    )
    np.testing.assert_allclose(square, plain * np.abs(plain), atol=1e-6)
    grey = np.repeat(np.array([0, 51, 255], np.uint8), 3).reshape(1, 1, 3, 3)
    rng, ranges = np.random.default_rng(0), SimulationRanges(contrast=(0.7, 2.0), dim_share=0)
    drawn = np.array([np.abs(videos.complex_object(grey, rng, ranges))[0, 0] for _ in range(50)])
    powers = np.log(drawn[:, 1]) / np.log(np.sqrt(2) / 5)
    np.testing.assert_allclose(drawn[:, 2], np.sqrt(2) ** powers, rtol=1e-5)
    assert not drawn[:, 0].any()
    assert 0.7 <= powers.min() < 0.8 and 1.9 < powers.max() <= 2.0


def test_dim_parts_are_ellipses_of_little_signal() -> None:
    """One to three, of the size and level that are drawn, at rest; elsewhere, and in phase, no change."""
    ranges = SimulationRanges(dim_share=1.0, dim_part=(0.1, 0.2), dim_level=(0.02, 0.3))
    rng, numbers, levels, sizes = np.random.default_rng(0), set(), [], []
    for _ in range(200):
        factor = videos.dim_parts(64, rng, ranges)
        below = np.unique(factor[factor < 1])
        numbers.add(len(below))
        levels += list(below)
        if len(below) == 1 and not (factor[[0, -1]] < 1).any() and not (factor[:, [0, -1]] < 1).any():
            sizes.append((factor < 1).sum())
    # An ellipse may lie in another one, or in the picture's corner with no pixel of it inside.
    assert {1, 2, 3} <= numbers <= {0, 1, 2, 3}
    assert 0.02 <= min(levels) < 0.025 and 0.25 < max(levels) <= 0.3
    assert np.median(levels) == pytest.approx(np.sqrt(0.02 * 0.3), rel=0.3), "the logarithm is uniform"
    assert np.pi * 6.4**2 * 0.9 < min(sizes) and max(sizes) < np.pi * 12.8**2 * 1.1

    movie = colour_movie(3, 64)
    plain = videos.complex_object(movie, np.random.default_rng(0), SimulationRanges.published())
    dimmed = videos.complex_object(
        movie, np.random.default_rng(0), SimulationRanges(contrast=(1.0, 1.0), dim_share=1.0)
    )
    ratio = dimmed[np.abs(plain).min(axis=0)[None].repeat(3, 0) > 1e-3].reshape(3, -1) / plain[
        np.abs(plain).min(axis=0)[None].repeat(3, 0) > 1e-3
    ].reshape(3, -1)
    np.testing.assert_allclose(ratio.imag, 0, atol=1e-4)
    np.testing.assert_allclose(ratio, ratio[:1].repeat(3, 0), atol=1e-4)
    assert 0 < (ratio.real < 0.9).mean() < 1
    assert SimulationRanges.published().dim_share == 0


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


@pytest.mark.parametrize("snr_db", [12.0, 17.3, 22.0])
def test_noise_level_over_the_whole_range(snr_db: float) -> None:
    """The achieved ratio of each coil image series is within 0.2 dB of the wanted one, real and imaginary."""
    rng = np.random.default_rng(8)
    clean = (rng.standard_normal((3, 5, 48, 48)) + 0.5j).astype(np.complex64)
    clean[:, :, :20] = 0  # the mean power counts the empty part too
    noise = videos.add_noise(clean, videos.noise_level(clean, snr_db), rng) - clean
    power = np.mean(np.abs(clean.astype(np.complex128)) ** 2)
    for coil in noise:
        for part in (coil.real, coil.imag):
            assert 10 * np.log10(power / np.mean(part**2)) == pytest.approx(snr_db, abs=0.2)
    assert abs(np.corrcoef(noise.real.ravel(), noise.imag.ravel())[0, 1]) < 0.02


def test_ellipse_has_the_published_extents() -> None:
    """Half-axes 1.0–1.4 and 0.64–0.96 of half the matrix, found again from second moments; any angle."""
    matrix, rng, found, angles = 400, np.random.default_rng(9), [], []
    small = SimulationRanges(ellipse_a=(0.5, 0.7), ellipse_b=(0.4, 0.6))  # wholly inside, to be measured
    for _ in range(40):
        mask = videos.ellipse(matrix, rng, small)
        assert set(np.unique(mask)) == {0.0, 1.0}
        points = np.argwhere(mask) - matrix / 2
        values, vectors = np.linalg.eigh(np.cov(points.T))
        found.append(2 * np.sqrt(values[::-1]) / (matrix / 2))  # of a filled ellipse, variance = axis² / 4
        angles.append(np.arctan2(*vectors[:, 1]) % np.pi)
    long, short = np.array(found).T
    assert 0.49 < long.min() < 0.53 and 0.67 < long.max() < 0.71
    assert 0.31 < short.min() < 0.35 and 0.45 < short.max() < 0.49
    assert np.ptp(angles) > 2.5, "turned by any angle"
    ranges = SimulationRanges()
    assert ranges.ellipse_a == (1.0, 1.4) and ranges.ellipse_b == (0.8, 1.2), "times 0.8: 0.64–0.96"


def test_phase_fields_have_the_published_ranges() -> None:
    """The object's varies by about 0…2 rad over a 6×6 grid, a coil's by 0…4 over 2×2; constants fill 2π."""
    rng, constants = np.random.default_rng(10), []
    for grid, amplitude in ((6, 2.0), (2, 4.0)):
        for _ in range(60):
            draws = np.random.default_rng(rng.integers(1 << 30))
            replay = np.random.default_rng(0)
            replay.bit_generator.state = draws.bit_generator.state
            field = videos.phase_field(grid, amplitude, 48, draws)
            nodes = amplitude * replay.uniform(size=(grid, grid))
            constant = replay.uniform(0, 2 * np.pi)
            constants.append(constant)
            # At the edge the renormalised taps are 1.125 and −0.125: it overshoots by 2 · 1.125 · 0.125.
            slack = 0.2813 * np.ptp(nodes)
            assert nodes.min() - slack <= (field - constant).min()
            assert (field - constant).max() <= nodes.max() + slack
            assert np.ptp(field) > 0.5 * np.ptp(nodes)
    assert min(constants) < 0.3 and max(constants) > 2 * np.pi - 0.3


def test_cubic_field_is_keys_convolution_pixel_by_pixel() -> None:
    """Against the kernel summed by hand, with the taps inside the grid renormalised."""

    def kernel(distance: float) -> float:
        d, a = abs(distance), -0.5
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    grid = np.random.default_rng(11).uniform(size=(6, 6))
    enlarged = videos.cubic_field(grid, (24, 30))
    for row, column in ((0, 0), (7, 13), (23, 29), (12, 1)):
        y, x = (row + 0.5) * 6 / 24 - 0.5, (column + 0.5) * 6 / 30 - 0.5
        weights = np.array([[kernel(y - i) * kernel(x - j) for j in range(6)] for i in range(6)])
        assert enlarged[row, column] == pytest.approx((weights * grid).sum() / weights.sum(), abs=1e-12)


def test_coils_lie_in_the_four_corners_and_have_the_published_widths() -> None:
    """Peaks at least N/5 and at most N/2 from the centre along both axes; widths N/6…N/2."""
    matrix = 120
    maps = np.abs(videos.coil_maps(200, matrix, np.random.default_rng(12), SimulationRanges()))
    peaks = np.array([np.unravel_index(one.argmax(), one.shape) for one in maps]) - (matrix // 2 - 1)
    assert np.abs(peaks).min() >= 0.2 * matrix - 1 and np.abs(peaks).max() <= 0.5 * matrix + 1
    assert {tuple(signs) for signs in np.sign(peaks)} == {(-1, -1), (-1, 1), (1, -1), (1, 1)}
    widths = []
    for one, peak in zip(maps, peaks + matrix // 2 - 1, strict=True):
        # The logarithm of a Gaussian is a parabola: its curvature is 1/σ².
        centre = np.clip(peak[0], 1, matrix - 2)
        column = np.log(one[centre - 1 : centre + 2, peak[1]].astype(float))
        widths.append(1 / np.sqrt(-np.diff(column, 2)[0]) / matrix)
    assert 1 / 6 - 0.01 < min(widths) < 0.2 and 0.4 < max(widths) < 0.51


def test_published_ranges_repeat_one_mask_and_draw_once() -> None:
    """Thirty coils, noise in the target, always the published table, and the 2° rotation of the spiral."""
    ranges = SimulationRanges.published(snr_db=(20.0, 20.0))
    assert ranges.coils == (30, 30) and ranges.once_per_clip and ranges.published_reading
    assert ranges.snr_db == (20.0, 20.0)
    images = np.ones((1, 3, 240, 240), np.complex64)
    masks = [
        videos.sample(images, "cartesian", np.random.default_rng(seed), ranges).mask for seed in range(4)
    ]
    assert all((mask == published_mask(3)).all() for mask in masks)
    free = {
        videos.sample(images, "cartesian", np.random.default_rng(seed), SimulationRanges()).mask.tobytes()
        for seed in range(6)
    }
    assert len(free) >= 3, "drawn afresh"
    steps = []
    for seed in range(12):
        trajectory = videos.sample(
            images, "spiral", np.random.default_rng(seed), SimulationRanges(), threads=1
        ).trajectory
        ends = trajectory[:2, 0, -1]
        angles = np.arctan2(ends[:, 0], ends[:, 1])
        steps.append(round(np.rad2deg(angles[1] - angles[0])) % 360)
    assert set(steps) == {2, 30}


def test_published_resize_interpolates_the_four_neighbours() -> None:
    """No antialiasing: a 4× smaller image of fine stripes keeps full contrast; values as by hand."""
    image = np.random.default_rng(13).integers(0, 256, (2160 // 4, 3840 // 4, 3), dtype=np.uint8)
    small = videos.published_resize(image)
    assert small.shape == (488, 868, 3), "540×960 has the aspect of 2160×3840"
    for row, column in ((0, 0), (200, 431), (487, 867)):
        y = min(max((row + 0.5) * 540 / 488 - 0.5, 0), 539)
        x = min(max((column + 0.5) * 960 / 868 - 0.5, 0), 959)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, 539), min(left + 1, 959)
        a, b = y - top, x - left
        by_hand = (1 - a) * ((1 - b) * image[top, left] + b * image[top, right])
        by_hand += a * ((1 - b) * image[bottom, left] + b * image[bottom, right])
        assert np.abs(small[row, column] - np.floor(by_hand)).max() <= 1
    stripes = np.zeros((2160, 3840, 3), np.uint8)
    stripes[::2] = 255
    assert np.ptp(videos.published_resize(stripes)[:, 100, 0]) > 150
    assert np.ptp(videos.resize_movie(stripes[None], 488)[0, 2:-2, 100, 0]) < 20, "the improved way blurs"


def test_centre_cut_is_the_published_crop() -> None:
    """Rows 124…363 and columns 314…553 of 488×868 for 240; zeros where there is too little."""
    image = np.arange(488 * 868).reshape(1, 488, 868)
    np.testing.assert_array_equal(videos.centre_cut(image, 240), image[:, 124:364, 314:554])
    padded = videos.centre_cut(np.ones((1, 5, 4)), 8)
    assert padded.shape == (1, 8, 8) and padded.sum() == 20 and padded[0, 1:6, 2:6].all()


def test_measured_images_keep_their_own_coils_and_noise() -> None:
    """Nothing is added: with the images known, k-space is their transform, and the truth their RSS."""
    rng = np.random.default_rng(14)
    images = (rng.standard_normal((3, 4, 64, 64)) + 1j * rng.standard_normal((3, 4, 64, 64))).astype("c8")
    scan = videos.simulate_measured(7 * images, "cartesian", rng)
    rss = np.sqrt((np.abs(images) ** 2).sum(0))
    np.testing.assert_allclose(scan.truth, rss / rss.max(), rtol=1e-5)
    mask = scan.acquisition.mask
    assert mask is not None
    wanted = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(images / rss.max(), axes=(2, 3)), norm="ortho"), axes=(2, 3)
    )
    np.testing.assert_allclose(scan.acquisition.kspace[:, mask], wanted[:, mask], atol=1e-5)
    assert scan.noise_sigma == 0


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
