"""Signal-to-noise ratio and edge sharpness of the movies of a clip, with the same shapes on all of them.

Per frame, on the pixel-exact masks of `studies.shapes`::

    SNR = 20 log10( mean(signal region) / SD(background region) )          [dB], SD with N - 1

and the edge sharpness and edge width of `studies.profiles`; mean and SD over a window of time. The SD of a
background region is not the noise in the anatomy after parallel imaging, and nonlinear reconstructions can
blank the air: `BACKGROUND_SNR_WARNING` goes with every table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studies.errors import StudyError
from studies.profiles import edge_sharpness_and_width, magnitude_movie
from studies.shapes import BoolMask, Shapes

PAPER_WINDOW_S = 1.5
"""Jaubert et al. 2024 report the mean and SD of edge sharpness over 1.5 s."""
MINIMUM_REGION_PIXELS = 20
MINIMUM_LINE_PX = 5.0
SUSPICIOUS_NOISE_FRACTION = 1e-3
BACKGROUND_SNR_WARNING = (
    "SNR is the mean of the signal region over the SD of a region of air. After parallel imaging this is "
    "not the noise "
    "in the anatomy (Kellman and McVeigh 2005), and nonlinear reconstructions (compressed sensing, "
    "networks) can "
    "suppress the air: SNR then rises without better anatomy. Magnitude air also reads 3 to 4 dB high. "
    "Compare "
    "these numbers between reconstructions with care, and never without the images."
)


# SNR


def _check_mask(mask: BoolMask, shape: tuple[int, ...], name: str, minimum: int) -> None:
    if mask.shape != shape:
        raise StudyError(f"The {name} mask has the shape {mask.shape}, but the images have {shape}.")
    if int(mask.sum()) < minimum:
        raise StudyError(
            f"The {name} region holds {int(mask.sum())} pixel(s), but at least {minimum} are needed: "
            "enlarge it."
        )


def _signal_and_noise(
    movie: NDArray[np.float64], signal_mask: BoolMask, background_mask: BoolMask
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the signal region and SD (N - 1) of the background region, each (t,)."""
    _check_mask(signal_mask, movie.shape[1:], "signal", 1)
    _check_mask(background_mask, movie.shape[1:], "background", 2)
    return movie[:, signal_mask].mean(axis=1), movie[:, background_mask].std(axis=1, ddof=1)


def snr_db(movie: ArrayLike, signal_mask: BoolMask, background_mask: BoolMask) -> NDArray[np.float64]:
    """SNR of every frame in dB: 20 log10(mean(signal region) / SD(background region)), SD with N - 1.

    Args:
        movie: Magnitude (t, y, x).
        signal_mask: Boolean (y, x), at least one pixel.
        background_mask: Boolean (y, x), at least two pixels.

    Returns:
        (t,) in dB; +inf where the background has no variation, nan where the signal is zero too.

    Raises:
        StudyError: A mask has another shape or too few pixels, or the movie is not (t, y, x) magnitude.
    """
    signal, noise = _signal_and_noise(magnitude_movie(movie), signal_mask, background_mask)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 20.0 * np.log10(signal / noise)


# Summaries


class Summary(NamedTuple):
    """Mean and SD (N - 1) over the frames of the window, less `excluded` ones that were not finite."""

    mean: float
    sd: float
    frames: int
    excluded: int


def frames_in_window(frame_times_s: ArrayLike, window_s: float | None) -> NDArray[np.bool_]:
    """Frames that start less than `window_s` after the first one; all of them for None. Boolean (t,)."""
    times = np.asarray(frame_times_s, dtype=np.float64)
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise StudyError("Frame times must be a non-empty list of finite, increasing seconds.")
    if window_s is None:
        return np.ones(times.size, dtype=np.bool_)
    if not window_s > 0:
        raise StudyError(f"The time window must be longer than 0 s, but {window_s} s was given.")
    return np.asarray(times - times[0] < window_s - 1e-6)


def summarise(values: ArrayLike, frame_times_s: ArrayLike, window_s: float | None = None) -> Summary:
    """Mean and SD over time.

    Args:
        values: One number a frame (t,).
        frame_times_s: (t,) in s, increasing.
        window_s: Only frames within this time after the first; None takes all. The paper uses 1.5 s.

    Returns:
        `Summary`; mean nan without a finite frame, SD nan with fewer than two.

    Raises:
        StudyError: Lengths differ, times do not increase, or the window is not positive.
    """
    array = np.asarray(values, dtype=np.float64)
    chosen = frames_in_window(frame_times_s, window_s)
    if array.shape != chosen.shape:
        raise StudyError(f"{array.shape} values do not fit {chosen.size} frame times.")
    window = array[chosen]
    finite = window[np.isfinite(window)]
    mean = float(finite.mean()) if finite.size else math.nan
    sd = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
    return Summary(mean, sd, int(window.size), int(window.size - finite.size))


# One clip


@dataclass(frozen=True, eq=False)
class ArmMeasurement:
    """All measurements of one movie; a series is None where its shape was not drawn."""

    snr_db: NDArray[np.float64] | None
    edge_sharpness_per_mm: NDArray[np.float64] | None
    edge_width_mm: NDArray[np.float64] | None
    snr: Summary | None
    sharpness: Summary | None
    width: Summary | None
    signal_pixels: int
    background_pixels: int
    line_length_mm: float
    window_s: float | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become null."""
        return {
            "snr_db_mean": _finite(self.snr.mean) if self.snr else None,
            "snr_db_sd": _finite(self.snr.sd) if self.snr else None,
            "edge_sharpness_per_mm_mean": _finite(self.sharpness.mean) if self.sharpness else None,
            "edge_sharpness_per_mm_sd": _finite(self.sharpness.sd) if self.sharpness else None,
            "edge_width_mm_mean": _finite(self.width.mean) if self.width else None,
            "edge_width_mm_sd": _finite(self.width.sd) if self.width else None,
            "frames": next((part.frames for part in (self.snr, self.sharpness) if part), 0),
            "snr_frames_excluded": self.snr.excluded if self.snr else 0,
            "edge_frames_excluded": self.sharpness.excluded if self.sharpness else 0,
            "signal_pixels": self.signal_pixels,
            "background_pixels": self.background_pixels,
            "line_length_mm": self.line_length_mm,
            "window_s": self.window_s,
            "warnings": list(self.warnings),
            "snr_db": _finite_list(self.snr_db),
            "edge_sharpness_per_mm": _finite_list(self.edge_sharpness_per_mm),
            "edge_width_mm": _finite_list(self.edge_width_mm),
        }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _finite_list(values: NDArray[np.float64] | None) -> list[float | None] | None:
    return None if values is None else [_finite(value) for value in values]


def _noise_warnings(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> list[str]:
    """What a background without believable noise deserves to be told."""
    zero = int(np.sum(noise == 0))
    tiny = int(np.sum((noise > 0) & (noise < SUSPICIOUS_NOISE_FRACTION * signal)))
    warnings = []
    if zero:
        warnings.append(
            f"The background is constant in {zero} frame(s): the reconstruction blanked the air and their "
            "SNR is infinite; "
            "they are left out of the mean."
        )
    if tiny:
        warnings.append(
            f"The background SD is below 0.1 % of the signal in {tiny} frame(s): the air is suppressed."
        )
    return warnings


def _region_warnings(signal_mask: BoolMask | None, background_mask: BoolMask | None) -> list[str]:
    warnings = []
    for name, mask in (("signal", signal_mask), ("background", background_mask)):
        if mask is not None and 0 < int(mask.sum()) < MINIMUM_REGION_PIXELS:
            warnings.append(
                f"The {name} region holds only {int(mask.sum())} pixels (fewer than {MINIMUM_REGION_PIXELS})."
            )
    if signal_mask is not None and background_mask is not None:
        shared = int((signal_mask & background_mask).sum())
        if shared:
            warnings.append(f"The signal and background regions share {shared} pixel(s).")
    return warnings


def measure(
    movies: ArrayLike,
    shapes: Shapes,
    pixel_spacing_mm: tuple[float, float],
    frame_times_s: ArrayLike,
    *,
    window_s: float | None = PAPER_WINDOW_S,
) -> list[ArmMeasurement]:
    """Measure all movies of a clip with the same shapes.

    Args:
        movies: Magnitude (arm, t, y, x), on one grid and with common frame times.
        shapes: What was drawn; SNR needs both regions, sharpness needs the line.
        pixel_spacing_mm: (y, x).
        frame_times_s: (t,) in s.
        window_s: Mean and SD are taken over this time from the first frame (1.5 s as in the paper); None
            takes all frames. The series are always complete.

    Returns:
        One `ArmMeasurement` an arm, in the order given.

    Raises:
        StudyError: A region is empty, the line leaves the image, or shapes of arrays do not fit.
    """
    arms = magnitude_movie(movies, 4)
    image_shape = (arms.shape[2], arms.shape[3])
    times = np.asarray(frame_times_s, dtype=np.float64)
    signal_mask = shapes.signal.mask(image_shape) if shapes.signal else None
    background_mask = shapes.background.mask(image_shape) if shapes.background else None
    common = _region_warnings(signal_mask, background_mask)
    if shapes.line is not None and 0 < shapes.line.length_px < MINIMUM_LINE_PX:
        common.append(
            f"The line is only {shapes.line.length_px:.1f} pixels long (shorter than {MINIMUM_LINE_PX:.0f})."
        )
    # The last frame covers one frame time of its own.
    duration = float(times[-1] - times[0] + np.median(np.diff(times))) if times.size > 1 else 0.0
    if window_s is not None and duration < window_s - 1e-6:
        common.append(
            f"The movie lasts {duration:.2f} s, less than the window of {window_s:.2f} s: all its frames "
            "are used."
        )
    results = []
    for movie in arms:
        warnings = list(common)
        snr = sharpness = width = None
        snr_series = sharpness_series = width_series = None
        if signal_mask is not None and background_mask is not None:
            signal, noise = _signal_and_noise(movie, signal_mask, background_mask)
            warnings += _noise_warnings(signal, noise)
            snr_series = snr_db(movie, signal_mask, background_mask)
            snr = summarise(snr_series, times, window_s)
        if shapes.line is not None:
            sharpness_series, width_series = edge_sharpness_and_width(movie, shapes.line, pixel_spacing_mm)
            sharpness = summarise(sharpness_series, times, window_s)
            width = summarise(width_series, times, window_s)
            flat = int(np.isnan(sharpness_series).sum())
            if flat:
                warnings.append(f"The profile is flat in {flat} frame(s); they are left out of the mean.")
        results.append(
            ArmMeasurement(
                snr_db=snr_series,
                edge_sharpness_per_mm=sharpness_series,
                edge_width_mm=width_series,
                snr=snr,
                sharpness=sharpness,
                width=width,
                signal_pixels=int(signal_mask.sum()) if signal_mask is not None else 0,
                background_pixels=int(background_mask.sum()) if background_mask is not None else 0,
                line_length_mm=shapes.line.length_mm(pixel_spacing_mm) if shapes.line else 0.0,
                window_s=window_s,
                warnings=tuple(warnings),
            )
        )
    return results


def measurement_values(movie_ids: Sequence[str], results: Sequence[ArmMeasurement]) -> dict[str, Any]:
    """What `Study.save_measurement` stores as values: one JSON-ready entry a movie, by opaque id.

    Raises:
        StudyError: Not one result a movie.
    """
    if len(movie_ids) != len(results):
        raise StudyError(f"{len(movie_ids)} movies have {len(results)} measurements; one each is needed.")
    return {movie_id: result.to_dict() for movie_id, result in zip(movie_ids, results, strict=True)}
