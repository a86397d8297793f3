"""From magnitude or colour movies to multi-coil k-space: the simulation that the networks are trained on.

 The steps and ranges are those of the published pipeline (paper_spec §1), one function each: complex object
out of two colour channels (angle × 4), static ellipse, bicubic background phase, Gaussian coil maps with
their own phase, white Gaussian noise of 12–22 dB, sampling. `SimulationRanges` holds every random range and
the switches between what was published and what is drawn here unless asked for otherwise (see its module).
Data that were measured fully sampled keep their own phase, coils and noise: `simulate_measured` only samples
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.coils import root_sum_of_squares
from recon_backend.fourier import NonuniformFourier, centred_fft
from recon_backend.sampling.cartesian import published_mask, random_mask
from recon_backend.sampling.radial import TINY_GOLDEN_ANGLE, radial_trajectory
from recon_backend.sampling.spiral import spiral_trajectory
from recon_backend.simulation.ranges import SimulationRanges

PUBLISHED_MATRIX: dict[str, int] = {"cartesian": 240, "radial": 256, "spiral": 240}
PUBLISHED_BOX = (488, 1464)
_FRAME_TIME_S = 0.05
_OBJECT_PHASE_GRID = 6
_COIL_PHASE_GRID = 2
_MOST_DIM_PARTS = 3
_MASK_CYCLE = 15
_SPIRAL_CYCLE = 12


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """A simulated scan and what it shows.

    Attributes:
        acquisition: raw data as a scanner would deliver them.
        coil_images: fully sampled coil images (coil, frame, y, x) that the target is made of.
        truth: root-sum-of-squares of the noise-free coil images, float32 (frame, y, x).
        noise_sigma: standard deviation of real and of imaginary part of the noise in each coil image; 0 where
            it is unknown, because the data were measured.
    """

    acquisition: Acquisition
    coil_images: npt.NDArray[np.complex64]
    truth: npt.NDArray[np.float32]
    noise_sigma: float = 0.0


def cubic_field(grid: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Enlarge a small grid to `size` by Keys cubic convolution (a = −0.5).

    Half-pixel centres; taps outside the grid are dropped and the rest renormalised (paper_spec §1.2, step
    10).
    """
    return _cubic_matrix(grid.shape[0], size[0]) @ grid @ _cubic_matrix(grid.shape[1], size[1]).T


def _cubic_matrix(count: int, size: int) -> npt.NDArray[np.float64]:
    position = (np.arange(size) + 0.5) * count / size - 0.5
    distance = np.abs(position[:, None] - np.arange(count)[None, :])
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def phase_field(
    grid: int, amplitude_rad: float, matrix: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Smooth phase (y, x) in rad: a grid of 0…amplitude enlarged by `cubic_field`, plus 0…2π everywhere."""
    field = cubic_field(amplitude_rad * rng.uniform(size=(grid, grid)), (matrix, matrix))
    return field + rng.uniform(0, 2 * np.pi)


def complex_object(
    colour: npt.NDArray[np.uint8], rng: np.random.Generator, ranges: SimulationRanges
) -> npt.NDArray[np.complex64]:
    """Complex movie (frame, y, x) from a colour movie (frame, y, x, 3).

    Scaled to 0…1 over the whole block; two neighbouring channels of a random roll become real and imaginary
    part, then the angle is multiplied by 4 so that it fills the circle, and the magnitude raised to the power
    that `ranges.contrast` draws.
    """
    scaled = colour.astype(np.float32)
    low, high = float(scaled.min()), float(scaled.max())
    scaled = (scaled - low) / max(high - low, 1.0)
    first = int(rng.integers(3))
    second = (first + 1) % 3
    pair = scaled[..., first] + 1j * scaled[..., second]
    magnitude = np.abs(pair)
    if ranges.contrast != (1.0, 1.0):
        magnitude **= rng.uniform(*ranges.contrast)
    if ranges.dim_share and rng.random() < ranges.dim_share:
        magnitude *= dim_parts(magnitude.shape[-1], rng, ranges)
    return (magnitude * np.exp(1j * ranges.angle_factor * np.angle(pair))).astype(np.complex64)


def dim_parts(matrix: int, rng: np.random.Generator, ranges: SimulationRanges) -> npt.NDArray[np.float32]:
    """Factor (y, x) of 1, but for one to three turned ellipses of little signal, as of lungs."""
    y, x = np.mgrid[:matrix, :matrix]
    factor = np.ones((matrix, matrix), np.float32)
    for _ in range(int(rng.integers(1, _MOST_DIM_PARTS + 1))):
        half_long, half_short = (matrix * rng.uniform(*ranges.dim_part) for _ in range(2))
        centre_y, centre_x = rng.uniform(0, matrix, 2)
        angle = rng.uniform(0, np.pi)
        along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
        across = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        inside = (along / half_long) ** 2 + (across / half_short) ** 2 <= 1
        factor[inside] = np.exp(rng.uniform(*np.log(ranges.dim_level)))
    return factor


def ellipse(matrix: int, rng: np.random.Generator, ranges: SimulationRanges) -> npt.NDArray[np.float32]:
    """Filled, turned ellipse (y, x) of 0 and 1: the body inside the field of view."""
    half = matrix / 2
    a = half * rng.uniform(*ranges.ellipse_a)
    b = half * 0.8 * rng.uniform(*ranges.ellipse_b)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:matrix, :matrix] - half
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    return ((along / a) ** 2 + (across / b) ** 2 <= 1).astype(np.float32)


def coil_maps(
    coils: int, matrix: int, rng: np.random.Generator, ranges: SimulationRanges
) -> npt.NDArray[np.complex64]:
    """Gaussian coils (coil, y, x) in the four corners, with phase; divided by the peak of their RSS."""
    maps = np.empty((coils, matrix, matrix), np.complex64)
    position = np.arange(matrix) - (matrix // 2 - 1)
    for coil in maps:
        width_y, width_x = (matrix / rng.uniform(*ranges.coil_width) for _ in range(2))
        shift_y, shift_x = (rng.choice((-1, 1)) * rng.uniform(*ranges.coil_shift) * matrix for _ in range(2))
        along_y = np.exp(-0.5 * ((position - shift_y) / width_y) ** 2) / width_y
        along_x = np.exp(-0.5 * ((position - shift_x) / width_x) ** 2) / width_x
        phase = phase_field(_COIL_PHASE_GRID, ranges.coil_phase_rad, matrix, rng)
        coil[:] = rng.uniform(*ranges.coil_intensity) * np.outer(along_y, along_x) * np.exp(1j * phase)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0)).max()


def coil_images(
    movie: npt.NDArray[np.complex64],
    body: npt.NDArray[np.float32],
    phase: npt.NDArray[np.float64],
    maps: npt.NDArray[np.complex64],
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
    """What each coil sees, without noise, and its root-sum-of-squares, whose peak is 1.

    Args:
        movie: complex object (frame, y, x).
        body: ellipse of 0 and 1 (y, x); it cuts object and maps.
        phase: background phase (y, x), rad, the same in all frames.
        maps: coil maps (coil, y, x).

    Returns:
        complex64 (coil, frame, y, x) and float32 (frame, y, x).
    """
    still = (np.exp(1j * phase) * (body + 1e-8)).astype(np.complex64)
    clean = (maps * body)[:, None] * (movie * still)[None]
    rss = root_sum_of_squares(clean)
    peak = float(rss.max()) or 1.0
    clean /= np.float32(peak)
    return clean, (rss / peak).astype(np.float32)


def noise_level(clean: npt.NDArray[np.complex64], snr_db: float) -> float:
    """Standard deviation σ of real and of imaginary part: σ² = P / 10^(SNR/10).

    P is the mean of |image|² over all coils, frames and pixels, so the noise power is 2σ² and the effective
    ratio 3 dB below the nominal one, as published.
    """
    power = float(np.mean(clean.real**2 + clean.imag**2))
    return float(np.float32(np.sqrt(power / 10 ** (snr_db / 10))))


def add_noise(
    clean: npt.NDArray[np.complex64], sigma: float, rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Coil images with white Gaussian noise of standard deviation `sigma` in each of the two parts."""
    return clean + np.float32(sigma) * _complex_normal(rng, clean.shape)


def simulate(
    movie: npt.NDArray[np.complex64],
    sampling: Sampling,
    rng: np.random.Generator,
    ranges: SimulationRanges | None = None,
    *,
    threads: int = 0,
) -> SimulatedScan:
    """Put a complex movie through ellipse, phase, coils, noise and sampling.

    Args:
        movie: complex object (frame, y, x) on a square matrix.
        sampling: which of the three acquisitions.
        rng: source of every draw.
        ranges: random ranges; the defaults of `SimulationRanges` if None.
        threads: threads for the non-uniform FFT; 0 = all.
    """
    ranges = ranges or SimulationRanges()
    matrix = movie.shape[1]
    body = ellipse(matrix, rng, ranges)
    count = int(rng.integers(ranges.coils[0], ranges.coils[1] + 1))
    maps = coil_maps(count, matrix, rng, ranges)
    phase = phase_field(_OBJECT_PHASE_GRID, ranges.object_phase_rad, matrix, rng)
    clean, truth = coil_images(movie, body, phase, maps)
    sigma = noise_level(clean, rng.uniform(*ranges.snr_db))
    noisy = add_noise(clean, sigma, rng)
    acquisition = sample(noisy, sampling, rng, ranges, threads=threads)
    return SimulatedScan(acquisition, noisy if ranges.noisy_target else clean, truth, sigma)


def simulate_measured(
    images: npt.NDArray[np.complex64],
    sampling: Sampling,
    rng: np.random.Generator,
    ranges: SimulationRanges | None = None,
    *,
    threads: int = 0,
) -> SimulatedScan:
    """Sample coil images that a scanner measured in full; their phase, coils and noise are the real ones.

    Args:
        images: coil images (coil, frame, y, x) on a square matrix; scaled so that their RSS peaks at 1.
        sampling: which of the three acquisitions.
        rng: source of every draw.
        ranges: random ranges; the defaults of `SimulationRanges` if None.
        threads: threads for the non-uniform FFT; 0 = all.
    """
    rss = root_sum_of_squares(images)
    peak = float(rss.max()) or 1.0
    scaled = (images / np.float32(peak)).astype(np.complex64)
    acquisition = sample(scaled, sampling, rng, ranges or SimulationRanges(), threads=threads)
    return SimulatedScan(acquisition, scaled, (rss / peak).astype(np.float32))


def _complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.complex64]:
    pairs = rng.standard_normal((*shape, 2), dtype=np.float32)
    return pairs.view(np.complex64)[..., 0]


def sample(
    images: npt.NDArray[np.complex64],
    sampling: Sampling,
    rng: np.random.Generator,
    ranges: SimulationRanges,
    *,
    threads: int = 0,
) -> Acquisition:
    """The raw data of coil images (coil, frame, y, x), by a mask or trajectory drawn from the ranges.

    Raises:
        ValueError: a spiral on another matrix than the one that its arm is designed for.
    """
    frames, matrix = images.shape[1], images.shape[2]
    mask, trajectory = None, None
    if sampling == "cartesian":
        mask = _mask(frames, matrix, rng, ranges)
        kspace = centred_fft(images, (2, 3)).astype(np.complex64) * mask[None, :, :, None]
    else:
        trajectory = _trajectory(sampling, frames, matrix, rng, ranges)
        kspace = NonuniformFourier(trajectory, (matrix, matrix), threads=threads).forward(images)
    return Acquisition(
        sampling=sampling,
        kspace=kspace,
        matrix=(matrix, matrix),
        field_of_view_mm=(400.0, 400.0),
        frame_times_s=_FRAME_TIME_S * np.arange(frames, dtype=np.float64),
        mask=mask,
        trajectory=trajectory,
        whitened=True,
        name=f"simulated-{sampling}",
    )


def _mask(
    frames: int, matrix: int, rng: np.random.Generator, ranges: SimulationRanges
) -> npt.NDArray[np.bool_]:
    if ranges.published_sampling:
        return published_mask(frames, matrix)
    start = int(rng.integers(_MASK_CYCLE))
    source = (
        random_mask(frames + start, matrix, rng)
        if rng.random() >= 1 - ranges.random_mask_share
        else published_mask(frames + start, matrix)
    )
    return source[start:]


def _trajectory(
    sampling: Sampling, frames: int, matrix: int, rng: np.random.Generator, ranges: SimulationRanges
) -> npt.NDArray[np.float32]:
    if sampling == "radial":
        first = 0 if ranges.published_sampling else int(rng.integers(10_000))
        return radial_trajectory(frames, samples=2 * matrix, first_spoke=first, angle=TINY_GOLDEN_ANGLE)
    if matrix != PUBLISHED_MATRIX["spiral"]:
        raise ValueError(
            f"The spiral is designed for a matrix of {PUBLISHED_MATRIX['spiral']}, not {matrix}."
        )
    if ranges.published_sampling:
        return spiral_trajectory(frames, frame_rotation_rad=np.deg2rad(2))
    start = int(rng.integers(_SPIRAL_CYCLE))
    step = np.deg2rad(30 if rng.random() < ranges.wide_rotation_share else 2)
    return spiral_trajectory(frames + start, frame_rotation_rad=step)[start:]


def published_resize(image: npt.NDArray[np.uint8], centre: int | None = None) -> npt.NDArray[np.uint8]:
    """One colour frame (y, x, 3) at the published size: linear, without antialiasing, cut to whole numbers.

    The aspect is kept inside 488×1464 pixels, so 2160×3840 becomes 488×868 (half-pixel centres).

    Args:
        image: the frame.
        centre: side of the central square that is wanted; all of it if None.
    """
    factor = min(PUBLISHED_BOX[0] / image.shape[0], PUBLISHED_BOX[1] / image.shape[1])
    rows, columns = (_taps(size, round(size * factor), centre) for size in image.shape[:2])
    # The four neighbours of each pixel are picked first: a 4K frame as floats would take 100 MB.
    (upper_left, upper_right), (lower_left, lower_right) = (
        [image[np.ix_(rows[down], columns[right])].astype(np.float32) for right in (0, 1)] for down in (0, 1)
    )
    share_y, share_x = rows[2][:, None, None], columns[2][:, None]
    left = upper_left + (lower_left - upper_left) * share_y
    right = upper_right + (lower_right - upper_right) * share_y
    return np.clip(left + (right - left) * share_x, 0, 255).astype(np.uint8)


def _taps(
    count: int, size: int, centre: int | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Indices of the two neighbours of each output pixel, and the share of the second."""
    wanted = np.arange(size)
    if centre is not None and size > centre:
        wanted = wanted[(size - centre) // 2 :][:centre]
    position = np.clip((wanted + 0.5) * count / size - 0.5, 0, count - 1)
    first = position.astype(np.intp)
    return first, np.minimum(first + 1, count - 1), (position - first).astype(np.float32)


def centre_cut(images: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """The central square (frame, size, size, …) of (frame, y, x, …), with zeros where there is too little."""
    for axis in (1, 2):
        have = images.shape[axis]
        first = max(0, (have - size) // 2)
        images = images.take(range(first, first + min(have, size)), axis=axis)
        if have < size:
            padding = [(0, 0)] * images.ndim
            padding[axis] = ((size - have) // 2, size - have - (size - have) // 2)
            images = np.pad(images, padding)
    return images


def resize_movie(movie: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resample (frame, y, x, channel) to a square of `size` with a Gaussian against aliasing, linearly."""
    factors = [size / movie.shape[1], size / movie.shape[2]]
    out = np.empty((len(movie), size, size, movie.shape[3]), np.uint8)
    for source, target in zip(movie, out, strict=True):
        smooth = source.astype(np.float32)
        blur = [max(0.0, 0.5 * (1 / factor - 1)) for factor in factors]
        if max(blur) > 0:
            smooth = scipy.ndimage.gaussian_filter(smooth, (*blur, 0))
        matrix = [_linear_matrix(smooth.shape[axis], size) for axis in (0, 1)]
        target[:] = np.clip(
            np.einsum("iy,yxc,jx->ijc", matrix[0], smooth, matrix[1], optimize=True) + 0.5, 0, 255
        )
    return out


def _linear_matrix(count: int, size: int) -> npt.NDArray[np.float32]:
    position = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    distance = np.abs(position[:, None] - np.arange(count)[None, :])
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)
