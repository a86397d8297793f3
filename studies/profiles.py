"""Profiles along a line of a movie: values, position-time images, and how sharp the edge on the line is.

Per frame, with p the profile and s the distance along the line in mm::

    ES = max | d/ds (p - min p) / (max p - min p) |                        [1/mm]

The maximum gradient depends on noise (sharp edges read too soft, soft edges too sharp). Beside it stand an
error function fitted to the main edge, with its SD sigma and 10-90 % distance in mm and what it leaves
unexplained, and the 10-90 % distance of the profile itself. Coordinates are those of `studies.shapes`.

Values between pixels are linear in both axes. That is exact where the image is linear between its pixels: on
a ramp in any direction, and on the pixels themselves. The slope of a smooth edge of SD sigma pixels reads
low by a share between 1 / (24 sigma²) and 1 / (6 sigma²), depending on where the edge lies between the
pixels; its fitted sigma² is larger by about 1/6 pixel², and exact where the samples are the pixels.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, special

from studies.errors import StudyError
from studies.shapes import Line, Point

SplineOrder: TypeAlias = Literal[1, 2, 3]

PROFILE_SPACING_PX = 0.25
PROFILE_ORDER: SplineOrder = 1
"""Linear: it cannot overshoot, so it adds no sharpness of its own."""
TEN_NINETY_PER_SIGMA = float(2 * special.ndtri(0.9))
"""An error-function edge of SD sigma rises from 10 to 90 % over 2.563 sigma."""
PLATEAU_FRACTION = 0.2
RISE_LEVELS = (0.1, 0.9)


def magnitude_movie(movie: ArrayLike, dimensions: int = 3) -> NDArray[np.float64]:
    """Movie as float64; integers would truncate interpolated values and overflow sums.

    Args:
        movie: Magnitude (t, y, x), or (arm, t, y, x) with four `dimensions`.
        dimensions: 3 or 4.

    Raises:
        StudyError: Another number of axes, an empty array, or complex values.
    """
    array = np.asarray(movie)
    if array.ndim != dimensions or array.size == 0:
        names = "(t, y, x)" if dimensions == 3 else "(arm, t, y, x)"
        raise StudyError(f"A movie array must have the axes {names}, but its shape is {array.shape}.")
    if np.iscomplexobj(array):
        raise StudyError("Measurements need magnitude movies, but a complex array was given.")
    return array.astype(np.float64, copy=False)


# Line profiles


class Profile(NamedTuple):
    """Values along a line, with their distance from its start in pixels (both have `samples` last)."""

    position_px: NDArray[np.float64]
    values: NDArray[np.float64]


def _sample_points(
    shape: tuple[int, int],
    start_xy: Point,
    end_xy: Point,
    spacing_px: float,
    width_px: int,
    pixel_spacing_mm: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance along the line (samples,) and the coordinates x and y (width, samples) to interpolate at."""
    length = math.hypot(end_xy[0] - start_xy[0], end_xy[1] - start_xy[1])
    if not length > 0:
        raise StudyError("The line has no length: its two ends are the same point.")
    if not spacing_px > 0 or width_px < 1:
        raise StudyError(
            f"A profile needs spacing > 0 and width >= 1 pixel, not {spacing_px} and {width_px}."
        )
    position = np.linspace(0.0, length, math.ceil(length / spacing_px - 1e-9) + 1)
    direction_x, direction_y = (end_xy[0] - start_xy[0]) / length, (end_xy[1] - start_xy[1]) / length
    offset = (np.arange(width_px) - (width_px - 1) / 2)[:, None]
    # Parallel lines lie side by side at right angles in mm; in pixels that are not square these look slanted.
    ratio = pixel_spacing_mm[1] / pixel_spacing_mm[0]
    across = math.hypot(direction_y / ratio, direction_x * ratio)
    x = start_xy[0] + position[None, :] * direction_x - offset * direction_y / ratio / across
    y = start_xy[1] + position[None, :] * direction_y + offset * direction_x * ratio / across
    rows, columns = shape
    if x.min() < -1e-6 or y.min() < -1e-6 or x.max() > columns - 1 + 1e-6 or y.max() > rows - 1 + 1e-6:
        raise StudyError(
            f"The line from ({start_xy[0]:.1f}, {start_xy[1]:.1f}) to ({end_xy[0]:.1f}, {end_xy[1]:.1f}) "
            "leaves the "
            f"image of {columns} × {rows} pixels: move its ends inside."
        )
    return position, np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)


def line_profile(
    image: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    *,
    spacing_px: float = PROFILE_SPACING_PX,
    width_px: int = 1,
    order: SplineOrder = PROFILE_ORDER,
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> Profile:
    """Values of one image or a whole movie along a line, both ends included.

    Args:
        image: (y, x), or (t, y, x) for all frames at once.
        start_xy: Start of the line in pixels (x = column, y = row).
        end_xy: Its end.
        spacing_px: Largest distance of two samples; they are spread evenly, so it can come out smaller.
        width_px: Number of parallel lines, 1 px apart, that are averaged.
        order: Spline interpolation: 1 linear, 2 quadratic, 3 cubic.
        pixel_spacing_mm: (y, x); parallel lines are put at right angles to the line in mm.

    Returns:
        `Profile` with position (samples,) and values (samples,) or (t, samples).

    Raises:
        StudyError: The line has no length or leaves the image, or an argument is out of range.
    """
    if order not in (1, 2, 3):
        raise StudyError(f"The interpolation order must be 1, 2 or 3, not {order}.")
    array = np.asarray(image)
    movie = magnitude_movie(array[None] if array.ndim == 2 else array)
    if not min(pixel_spacing_mm) > 0:
        raise StudyError(
            f"The pixel spacing must be larger than 0 mm, but {tuple(pixel_spacing_mm)} was given."
        )
    size = (movie.shape[1], movie.shape[2])
    position, x, y = _sample_points(size, start_xy, end_xy, spacing_px, width_px, pixel_spacing_mm)
    coordinates = np.stack([y, x])
    values = np.stack(
        [
            ndimage.map_coordinates(frame, coordinates, order=order, mode="mirror").mean(axis=0)
            for frame in movie
        ]
    )
    return Profile(position, values[0] if array.ndim == 2 else values)


def yt_profile(
    movie: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    *,
    spacing_px: float = 1.0,
    width_px: int = 1,
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float64]:
    """Position-time image of a line: (samples, t), start of the line in the first row.

    Raises:
        StudyError: As `line_profile`.
    """
    return line_profile(
        magnitude_movie(movie),
        start_xy,
        end_xy,
        spacing_px=spacing_px,
        width_px=width_px,
        pixel_spacing_mm=pixel_spacing_mm,
    ).values.T


# Edges


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Profiles (t, samples) stretched to 0…1 frame by frame; nan for a flat one."""
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(high > low, (values - low) / (high - low), np.nan)


def _steepest(normalised: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """Largest |slope| of each profile in 1/mm, from neighbouring samples (no smoothing)."""
    return np.abs(np.diff(normalised, axis=1)).max(axis=1) / step_mm


def _rise_distances(normalised: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """10-90 % distance of each profile in mm, from where the flank of the largest |slope| passes both levels.

    The passage of the upper level next after the steepest interval, and of the lower one next before that,
    linear between samples; nan for a profile that is flat or whose steepest flank does not pass both levels.
    """
    distances = np.full(len(normalised), np.nan)
    for row, profile in enumerate(normalised):
        if not np.isfinite(profile).all():
            continue
        slopes = np.diff(profile)
        steepest = int(np.abs(slopes).argmax())
        rising = profile if slopes[steepest] > 0 else profile[::-1]
        left = steepest if slopes[steepest] > 0 else profile.size - 2 - steepest
        above = np.flatnonzero(rising[left + 1 :] >= RISE_LEVELS[1]) + left + 1
        below = np.flatnonzero(rising[: above[0]] <= RISE_LEVELS[0]) if above.size else above
        if below.size:
            first = int(below[-1])
            last = first + 1 + int(np.flatnonzero(rising[first + 1 :] >= RISE_LEVELS[1])[0])
            low = first + (RISE_LEVELS[0] - rising[first]) / (rising[first + 1] - rising[first])
            high = last - (rising[last] - RISE_LEVELS[1]) / (rising[last] - rising[last - 1])
            distances[row] = (high - low) * step_mm
    return distances


def _flank_weights(profiles: NDArray[np.float64], step_px: float) -> NDArray[np.float64]:
    """1 on the flank between the smoothed minimum and maximum with its plateaus, else 0: (t, samples).

    Across a septum the line meets two edges; the one that reaches the global maximum is taken, and the
    plateaus end where the profile leaves the lowest or highest `PLATEAU_FRACTION`.
    """
    smooth = ndimage.uniform_filter1d(profiles, max(1, round(2.0 / step_px)), axis=1, mode="nearest")
    weights = np.zeros_like(profiles)
    for row, profile in enumerate(smooth):
        bottom, top = int(profile.argmin()), int(profile.argmax())
        low, high = profile[bottom], profile[top]
        leaves_bottom = profile > low + PLATEAU_FRACTION * (high - low)
        leaves_top = profile < high - PLATEAU_FRACTION * (high - low)
        if bottom < top:
            first, last = _reach(leaves_bottom, bottom, -1), _reach(leaves_top, top, 1)
        else:
            first, last = _reach(leaves_top, top, -1), _reach(leaves_bottom, bottom, 1)
        weights[row, first : last + 1] = 1.0
    return weights


def _reach(stops: NDArray[np.bool_], start: int, direction: int) -> int:
    """Last index before the first True, walking from `start`."""
    index = start
    while 0 <= index + direction < stops.size and not stops[index + direction]:
        index += direction
    return index


def _fit_edges(
    profiles: NDArray[np.float64], weights: NDArray[np.float64], position: NDArray[np.float64], step_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width sigma of the error-function edge fitted to every profile, and the residual: each (t,).

    Sigma is in the unit of `position`; the residual is the root mean square over the flank.

    Model low + rise · Phi((s - centre) / sigma), weighted least squares: the best of a coarse grid of
    (centre, sigma), then damped Gauss-Newton steps for all frames at once.
    """
    pixel = (position[1] - position[0]) / step_px
    smallest, largest = 0.1 * pixel, float(position[-1] - position[0])
    centres = np.linspace(position[0], position[-1], 61)
    sigmas = np.geomspace(0.3 * pixel, max(0.4 * largest, 0.6 * pixel), 12)
    grid_centre, grid_sigma = (axis.ravel() for axis in np.meshgrid(centres, sigmas, indexing="ij"))
    templates = special.ndtr((position[None, :] - grid_centre[:, None]) / grid_sigma[:, None])
    count = weights.sum(axis=1, keepdims=True)
    mean = (weights * profiles).sum(axis=1, keepdims=True) / count
    template_mean = weights @ templates.T / count
    variance = weights @ (templates**2).T / count - template_mean**2
    covariance = (weights * (profiles - mean)) @ templates.T / count
    explained = np.where(variance > 1e-9, covariance**2 / np.maximum(variance, 1e-9), 0.0)
    best = explained.argmax(axis=1)
    rows = np.arange(len(profiles))
    rise = covariance[rows, best] / np.maximum(variance[rows, best], 1e-9)
    low = mean[:, 0] - rise * template_mean[rows, best]
    parameters = np.stack([low, rise, grid_centre[best], np.log(grid_sigma[best])], axis=1)

    def residual_and_slopes(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        sigma = np.exp(p[:, 3:4])
        z = (position[None, :] - p[:, 2:3]) / sigma
        step, bell = special.ndtr(z), np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        slopes = np.stack([np.ones_like(z), step, -p[:, 1:2] * bell / sigma, -p[:, 1:2] * bell * z], axis=-1)
        return weights * (profiles - p[:, :1] - p[:, 1:2] * step), weights[..., None] * slopes

    damping = np.full(len(profiles), 1e-3)
    residual, slopes = residual_and_slopes(parameters)
    cost = (residual**2).sum(axis=1)
    for _ in range(40):
        transposed = slopes.transpose(0, 2, 1)
        normal, gradient = transposed @ slopes, transposed @ residual[..., None]
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        damped = normal + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(4)
        trial = parameters + np.linalg.solve(damped, gradient)[..., 0]
        trial[:, 3] = np.clip(trial[:, 3], math.log(smallest), math.log(largest))
        trial_residual, trial_slopes = residual_and_slopes(trial)
        trial_cost = (trial_residual**2).sum(axis=1)
        better = trial_cost < cost
        settled = np.where(better, cost - trial_cost <= 1e-10 * cost, damping > 1e3)
        damping = np.where(better, damping / 5, damping * 5)
        parameters[better], cost[better] = trial[better], trial_cost[better]
        residual[better], slopes[better] = trial_residual[better], trial_slopes[better]
        if settled.all():
            break
    return np.exp(parameters[:, 3]), np.sqrt(cost / count[:, 0])


def _fitted_edges(
    normalised: NDArray[np.float64], step_mm: float, step_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sigma in mm and residual of the error function fitted to each normalised profile; nan if it is flat."""
    sigma, residual = np.full((2, len(normalised)), np.nan)
    usable = np.isfinite(normalised).all(axis=1)
    if usable.any():
        profiles = normalised[usable]
        position = step_mm * np.arange(profiles.shape[1], dtype=np.float64)
        flank = _flank_weights(profiles, step_px)
        sigma[usable], residual[usable] = _fit_edges(profiles, flank, position, step_px)
    return sigma, residual


def _movie_profile(
    movie: ArrayLike, line: Line, pixel_spacing_mm: tuple[float, float], spacing_px: float, order: SplineOrder
) -> tuple[NDArray[np.float64], float, float]:
    """Normalised profiles (t, samples) and the distance of two samples in mm and in pixels."""
    position, values = line_profile(
        magnitude_movie(movie),
        line.start_xy,
        line.end_xy,
        spacing_px=spacing_px,
        width_px=line.width_px,
        order=order,
        pixel_spacing_mm=pixel_spacing_mm,
    )
    intervals = position.size - 1
    return _normalised(values), line.length_mm(pixel_spacing_mm) / intervals, line.length_px / intervals


def edge_sharpness(
    movie: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    pixel_spacing_mm: tuple[float, float],
    *,
    width_px: int = 1,
    spacing_px: float = PROFILE_SPACING_PX,
    order: SplineOrder = PROFILE_ORDER,
) -> NDArray[np.float64]:
    """Edge sharpness of every frame in 1/mm: the largest |slope| of the profile normalised to 0…1.

    Args:
        movie: Magnitude (t, y, x).
        start_xy: Start of the line in pixels.
        end_xy: Its end.
        pixel_spacing_mm: (y, x); distances are physical also where pixels are not square.
        width_px: Parallel lines averaged.
        spacing_px: Sample distance in pixels.
        order: Interpolation order, 1…3.

    Returns:
        (t,) in 1/mm; nan for frames whose profile is flat.

    Raises:
        StudyError: As `line_profile`, or a spacing that is not positive.
    """
    line = Line(start_xy, end_xy, width_px)
    profiles, step_mm, _ = _movie_profile(movie, line, pixel_spacing_mm, spacing_px, order)
    return _steepest(profiles, step_mm)


def edge_width_mm(
    movie: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    pixel_spacing_mm: tuple[float, float],
    *,
    width_px: int = 1,
    spacing_px: float = PROFILE_SPACING_PX,
    order: SplineOrder = PROFILE_ORDER,
) -> NDArray[np.float64]:
    """10-90 % distance of every frame in mm (t,), from an error function fitted to the edge.

    A fit uses all samples of the flank and so depends far less on noise than the maximum gradient does. It
    describes the edge between the profile's minimum and maximum. Arguments and errors as `edge_sharpness`;
    nan for flat profiles.
    """
    line = Line(start_xy, end_xy, width_px)
    return (
        TEN_NINETY_PER_SIGMA
        * _fitted_edges(*_movie_profile(movie, line, pixel_spacing_mm, spacing_px, order))[0]
    )


class EdgeMeasures(NamedTuple):
    """The edge on a line in every frame; each (t,), nan where it is not defined."""

    sharpness_per_mm: NDArray[np.float64]
    """Largest |slope| of the normalised profile."""
    sigma_mm: NDArray[np.float64]
    """SD of the fitted error function."""
    residual: NDArray[np.float64]
    """Root mean square of what the fit leaves over the flank, as a share of the profile's range."""
    rise_mm: NDArray[np.float64]
    """10-90 % distance of the profile itself, without a fit."""

    @property
    def width_mm(self) -> NDArray[np.float64]:
        """10-90 % distance of the fitted error function."""
        return TEN_NINETY_PER_SIGMA * self.sigma_mm


def edge_measures(
    movie: ArrayLike,
    line: Line,
    pixel_spacing_mm: tuple[float, float],
    *,
    spacing_px: float = PROFILE_SPACING_PX,
    order: SplineOrder = PROFILE_ORDER,
) -> EdgeMeasures:
    """All measures of the edge on a line, from one reading of the profiles; see `edge_sharpness`."""
    profiles, step_mm, step_px = _movie_profile(movie, line, pixel_spacing_mm, spacing_px, order)
    sigma, residual = _fitted_edges(profiles, step_mm, step_px)
    return EdgeMeasures(_steepest(profiles, step_mm), sigma, residual, _rise_distances(profiles, step_mm))
