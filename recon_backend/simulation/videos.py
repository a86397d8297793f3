"""From magnitude or colour movies to multi-coil k-space: the simulation that the networks are trained on.

 The steps and ranges are those of the published pipeline (paper_spec §1): complex object out of two colour
channels (angle × 4), static ellipse, bicubic background phase, Gaussian coil maps with their own phase, white
Gaussian noise of 12–22 dB. `SimulationRanges` holds every random range in one place. Two things are drawn
differently unless asked for otherwise: the number of coils varies (scanners differ; published: always 30),
and the target is the noise-free image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.fourier import NonuniformFourier, centred_fft
from recon_backend.sampling.cartesian import published_mask, random_mask
from recon_backend.sampling.radial import TINY_GOLDEN_ANGLE, radial_trajectory
from recon_backend.sampling.spiral import spiral_trajectory

PUBLISHED_MATRIX: dict[str, int] = {"cartesian": 240, "radial": 256, "spiral": 240}
_FRAME_TIME_S = 0.05


@dataclass(frozen=True)
class SimulationRanges:
    """Every random range of the simulation; (low, high) is uniform.

    Attributes:
        snr_db: nominal signal-to-noise ratio of the coil images.
        ellipse_a, ellipse_b: half-axes of the ellipse in units of half the matrix (b is further multiplied by
            0.8).
        object_phase_rad: amplitude of the 6×6 background phase grid.
        coil_phase_rad: amplitude of the 2×2 phase grid of each coil.
        coil_width: N divided by the standard deviation of a coil's Gaussian.
        coil_shift: distance of a coil's centre from the image centre along each axis, in units of N.
        coil_intensity: intensity of a coil before normalisation.
        coils: number of coils, inclusive (published: 30, 30).
        angle_factor: factor on the phase of the channel pair.
        noisy_target: True = as published, the target carries the noise of the data.
        published_sampling: True = always the published mask and first angle; False = drawn afresh.
    """

    snr_db: tuple[float, float] = (12.0, 22.0)
    ellipse_a: tuple[float, float] = (1.0, 1.4)
    ellipse_b: tuple[float, float] = (0.8, 1.2)
    object_phase_rad: float = 2.0
    coil_phase_rad: float = 4.0
    coil_width: tuple[float, float] = (2.0, 6.0)
    coil_shift: tuple[float, float] = (0.2, 0.5)
    coil_intensity: tuple[float, float] = (0.1, 1.0)
    coils: tuple[int, int] = (6, 16)
    angle_factor: float = 4.0
    noisy_target: bool = False
    published_sampling: bool = False


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """A simulated scan and what it shows.

    Attributes:
        acquisition: raw data as a scanner would deliver them.
        coil_images: fully sampled coil images (coil, frame, y, x) that the target is made of.
        truth: root-sum-of-squares of the noise-free coil images, float32 (frame, y, x).
    """

    acquisition: Acquisition
    coil_images: npt.NDArray[np.complex64]
    truth: npt.NDArray[np.float32]


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


def complex_object(
    colour: npt.NDArray[np.uint8], rng: np.random.Generator, ranges: SimulationRanges
) -> npt.NDArray[np.complex64]:
    """Complex movie (frame, y, x) from a colour movie (frame, y, x, 3).

    Scaled to 0…1 over the whole block; two neighbouring channels of a random roll become real and imaginary
    part, then
    the angle is multiplied by 4 so that it fills the circle.
    """
    scaled = colour.astype(np.float32)
    low, high = float(scaled.min()), float(scaled.max())
    scaled = (scaled - low) / max(high - low, 1.0)
    first = int(rng.integers(3))
    second = (first + 1) % 3
    pair = scaled[..., first] + 1j * scaled[..., second]
    return (np.abs(pair) * np.exp(1j * ranges.angle_factor * np.angle(pair))).astype(np.complex64)


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
        phase = cubic_field(ranges.coil_phase_rad * rng.uniform(size=(2, 2)), (matrix, matrix))
        phase += rng.uniform(0, 2 * np.pi)
        coil[:] = rng.uniform(*ranges.coil_intensity) * np.outer(along_y, along_x) * np.exp(1j * phase)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0)).max()


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
    maps = coil_maps(count, matrix, rng, ranges) * body
    phase = cubic_field(ranges.object_phase_rad * rng.uniform(size=(6, 6)), (matrix, matrix)) + rng.uniform(
        0, 2 * np.pi
    )
    still = (np.exp(1j * phase) * (body + 1e-8)).astype(np.complex64)
    clean = maps[:, None] * (movie * still)[None]
    rss = np.sqrt((np.abs(clean) ** 2).sum(axis=0))
    peak = float(rss.max()) or 1.0
    clean /= np.float32(peak)
    truth = (rss / peak).astype(np.float32)
    power = float(np.mean(clean.real**2 + clean.imag**2))
    sigma = np.float32(np.sqrt(power / 10 ** (rng.uniform(*ranges.snr_db) / 10)))
    noisy = clean + sigma * _complex_normal(rng, clean.shape)
    acquisition = _sample(noisy, sampling, rng, ranges, threads)
    return SimulatedScan(acquisition, noisy if ranges.noisy_target else clean, truth)


def _complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.complex64]:
    pairs = rng.standard_normal((*shape, 2), dtype=np.float32)
    return pairs.view(np.complex64)[..., 0]


def _sample(
    images: npt.NDArray[np.complex64],
    sampling: Sampling,
    rng: np.random.Generator,
    ranges: SimulationRanges,
    threads: int,
) -> Acquisition:
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
    start = int(rng.integers(15))
    source = (
        published_mask(frames + start, matrix)
        if rng.random() < 0.5
        else random_mask(frames + start, matrix, rng)
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
    start = int(rng.integers(12))
    step = np.deg2rad(30 if rng.random() < 0.7 else 2)
    return spiral_trajectory(frames + start, frame_rotation_rad=step)[start:]


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
