"""Signal-to-noise ratio and edge sharpness of the movies of a clip, with the same shapes on all of them.

Per frame, on the pixel-exact masks of `studies.shapes`::

    SNR = 20 log10( mean(signal region) / SD(background region) )          [dB], SD with N - 1

and the edge measures of `studies.profiles`; mean and SD over a window of time, beside the SNRs of
`studies.snr` that need no air. Shapes may change and move over the frames (`studies.timed_shapes`). The SD
of a background region is not the noise in the anatomy after parallel imaging, and nonlinear reconstructions
can blank the air: `BACKGROUND_SNR_WARNING` goes with every table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from studies.errors import StudyError
from studies.profiles import EdgeMeasures, edge_measures, magnitude_movie
from studies.shapes import BoolMask, Line, Shapes, area_mm2
from studies.snr import difference_snr_db, temporal_snr_db
from studies.timed_shapes import TimedShapes

PAPER_WINDOW_S = 1.5
"""Jaubert et al. 2024 report the mean and SD of edge sharpness over 1.5 s."""
MINIMUM_REGION_PIXELS = 30
MINIMUM_LINE_PX = 5.0
SUSPICIOUS_NOISE_FRACTION = 1e-3
POOR_FIT = 0.1
"""An error function that misses the flank by more than this share of its range does not describe the edge."""
BACKGROUND_SNR_WARNING = (
    "SNR is the mean of the signal region over the SD of a region of air. After parallel imaging this is "
    "not the noise in the anatomy (Kellman and McVeigh 2005), and nonlinear reconstructions can suppress the "
    "air: SNR then rises without better anatomy. Magnitude air also reads 3 to 4 dB high. Compare these "
    "numbers between reconstructions with care, and never without the images."
)
"""Stands on the blinded page Measure: it must not name a method."""


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
    """10-90 % distance of the fitted error function."""
    snr: Summary | None
    sharpness: Summary | None
    width: Summary | None
    signal_pixels: int
    """In the frame with the fewest."""
    background_pixels: int
    line_length_mm: float
    window_s: float | None
    warnings: tuple[str, ...]
    signal_area_mm2: float = 0.0
    background_area_mm2: float = 0.0
    line_width_px: int = 0
    first_frame: int = 0
    """First frame of the mean and SD, from 0."""
    displacement_px: float = 0.0
    """Longest shift of a shape that was followed."""
    difference_snr_db: NDArray[np.float64] | None = None
    """Of each frame of the window but the first, with the one before it."""
    temporal_snr_db: float | None = None
    edge: EdgeMeasures | None = None
    difference_snr: Summary | None = None
    sigma: Summary | None = None
    residual: Summary | None = None
    rise: Summary | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become null."""
        return {
            **_mean_and_sd("snr_db", self.snr),
            **_mean_and_sd("edge_sharpness_per_mm", self.sharpness),
            **_mean_and_sd("edge_width_mm", self.width),
            **_mean_and_sd("difference_snr_db", self.difference_snr),
            "temporal_snr_db": None if self.temporal_snr_db is None else _finite(self.temporal_snr_db),
            **_mean_and_sd("edge_sigma_mm", self.sigma),
            "edge_fit_residual_mean": _finite(self.residual.mean) if self.residual else None,
            **_mean_and_sd("edge_rise_mm", self.rise),
            "frames": next((part.frames for part in (self.snr, self.sharpness) if part), 0),
            "first_frame": self.first_frame + 1,
            "snr_frames_excluded": self.snr.excluded if self.snr else 0,
            "edge_frames_excluded": self.sharpness.excluded if self.sharpness else 0,
            "signal_pixels": self.signal_pixels,
            "background_pixels": self.background_pixels,
            "signal_area_mm2": self.signal_area_mm2,
            "background_area_mm2": self.background_area_mm2,
            "line_length_mm": self.line_length_mm,
            "line_width_px": self.line_width_px,
            "displacement_px": self.displacement_px,
            "window_s": self.window_s,
            "warnings": list(self.warnings),
            "snr_db": _finite_list(self.snr_db),
            "edge_sharpness_per_mm": _finite_list(self.edge_sharpness_per_mm),
            "edge_width_mm": _finite_list(self.edge_width_mm),
        }


def _mean_and_sd(name: str, summary: Summary | None) -> dict[str, float | None]:
    return {
        f"{name}_mean": _finite(summary.mean) if summary else None,
        f"{name}_sd": _finite(summary.sd) if summary else None,
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


def crop_pixels(movie: ArrayLike) -> BoolMask:
    """Pixels (y, x) of a border that a crop or a mask left: they never change and reach to the edge.

    A movie of one frame tells nothing and has none.
    """
    frames = magnitude_movie(movie)
    if len(frames) < 2:
        return np.zeros(frames.shape[1:], np.bool_)
    still = np.asarray(np.ptp(frames, axis=0) == 0)
    parts, _ = ndimage.label(still)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.asarray(still & np.isin(parts, edge[edge > 0]))


def _crop_warnings(movie: NDArray[np.float64], masks: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    border = crop_pixels(movie)
    warnings = []
    for name, mask in masks.items():
        covered = mask.any(axis=0)
        across = int((covered & border).sum())
        if 0 < across < int(covered.sum()):
            warnings.append(
                f"{across} of the {int(covered.sum())} pixels of the {name} region lie in a border that "
                "never "
                "changes: the region reaches across the crop of the image."
            )
    return warnings


def _region_warnings(masks: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    warnings = []
    for name, mask in masks.items():
        fewest = int(mask.sum(axis=(1, 2)).min())
        if 0 < fewest < MINIMUM_REGION_PIXELS:
            warnings.append(
                f"The {name} region holds only {fewest} pixels (fewer than {MINIMUM_REGION_PIXELS})."
            )
    if len(masks) == 2:
        shared = int((masks["signal"] & masks["background"]).sum(axis=(1, 2)).max())
        if shared:
            warnings.append(f"The signal and background regions share {shared} pixel(s).")
    return warnings


def _snr_over_frames(
    movie: NDArray[np.float64], masks: Mapping[str, NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`_signal_and_noise` with a mask for every frame; a mask that stays has one frame only."""
    if all(len(mask) == 1 for mask in masks.values()):
        return _signal_and_noise(movie, masks["signal"][0], masks["background"][0])
    count = len(movie)
    frames = zip(
        movie,
        np.broadcast_to(masks["signal"], (count, *movie.shape[1:])),
        np.broadcast_to(masks["background"], (count, *movie.shape[1:])),
        strict=True,
    )
    parts = [_signal_and_noise(frame[None], signal, background) for frame, signal, background in frames]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _edges_over_frames(
    movie: NDArray[np.float64],
    lines: Sequence[tuple[Line, NDArray[np.intp]]],
    pixel_spacing_mm: tuple[float, float],
) -> EdgeMeasures:
    """`edge_measures` with each line on its own frames; nan in frames without a line."""
    parts = np.full((4, len(movie)), np.nan)
    for line, members in lines:
        parts[:, members] = edge_measures(movie[members], line, pixel_spacing_mm)
    return EdgeMeasures(*parts)


def measured_frames(
    frame_times_s: ArrayLike, window_s: float | None = None, frame_range: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """Frames that means and SDs are taken over: of the range, those within the window after its first.

    Args:
        frame_times_s: (t,) in s, increasing.
        window_s: None takes the whole range.
        frame_range: (first, end) from 0, the end not included; None is the whole movie.

    Raises:
        StudyError: The range is not in the movie, times do not increase, or the window is not positive.
    """
    times = np.asarray(frame_times_s, dtype=np.float64)
    first, end = (0, times.size) if frame_range is None else frame_range
    if frame_range is not None and not 0 <= first < end <= times.size:
        raise StudyError(
            f"The movie has the frames 1…{times.size}, but {first + 1} to {end} are to be measured."
        )
    frames_in_window(times, None)
    chosen = np.zeros(times.size, np.bool_)
    chosen[first:end] = frames_in_window(times[first:end], window_s)
    return chosen


def _summary(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Summary:
    return summarise(values[chosen], np.arange(int(chosen.sum())))


def measure(
    movies: ArrayLike,
    shapes: Shapes | TimedShapes,
    pixel_spacing_mm: tuple[float, float],
    frame_times_s: ArrayLike,
    *,
    window_s: float | None = PAPER_WINDOW_S,
    frame_range: tuple[int, int] | None = None,
) -> list[ArmMeasurement]:
    """Measure all movies of a clip with the same shapes.

    Args:
        movies: Magnitude (arm, t, y, x), on one grid and with common frame times.
        shapes: What was drawn; SNR needs both regions, sharpness needs the line.
        pixel_spacing_mm: (y, x).
        frame_times_s: (t,) in s.
        window_s: Mean and SD are taken over this time from the first frame (1.5 s as in the paper); None
            takes all frames. The series are always complete.
        frame_range: (first, end) from 0: only these frames enter mean and SD, and the window starts at the
        first
            of them.

    Returns:
        One `ArmMeasurement` an arm, in the order given.

    Raises:
        StudyError: A region is empty, a region or the line leaves the image, or arrays do not fit.
    """
    arms = magnitude_movie(movies, 4)
    count, image_shape = arms.shape[1], (arms.shape[2], arms.shape[3])
    times = np.asarray(frame_times_s, dtype=np.float64)
    timed = shapes if isinstance(shapes, TimedShapes) else TimedShapes(shapes)
    if times.shape != (count,):
        raise StudyError(f"{times.size} frame times do not fit movies of {count} frames.")
    chosen = measured_frames(times, window_s, frame_range)
    # A drawing that stays has the same mask in all frames: one is enough.
    masks = {
        role: timed.masks(role, 1 if timed.stays else count, image_shape)
        for role in ("signal", "background")
        if getattr(timed.drawing, role) is not None
    }
    lines = [(line, members) for line, members in timed.groups("line", count) if isinstance(line, Line)]
    common = _region_warnings(masks)
    short = [line.length_px for line, _ in lines if 0 < line.length_px < MINIMUM_LINE_PX]
    if short:
        common.append(f"The line is only {min(short):.1f} pixels long (shorter than {MINIMUM_LINE_PX:.0f}).")
    # The last frame covers one frame time of its own.
    first, end = frame_range or (0, count)
    span = times[first:end]
    duration = float(span[-1] - span[0] + np.median(np.diff(times))) if times.size > 1 else 0.0
    if window_s is not None and duration < window_s - 1e-6:
        what = "movie lasts" if frame_range is None else "range of frames lasts"
        common.append(
            f"The {what} {duration:.2f} s, less than the window of {window_s:.2f} s: all its frames are used."
        )
    pixels = {role: int(mask.sum(axis=(1, 2)).min()) for role, mask in masks.items()}
    results = []
    for movie in arms:
        warnings = [*common, *_crop_warnings(movie, masks)]
        parts: dict[str, Any] = {}
        if len(masks) == 2:
            signal, noise = _snr_over_frames(movie, masks)
            warnings += _noise_warnings(signal, noise)
            with np.errstate(divide="ignore", invalid="ignore"):
                parts["snr_db"] = 20.0 * np.log10(signal / noise)
            parts["snr"] = _summary(parts["snr_db"], chosen)
        if "signal" in masks:
            parts |= _companions(movie[chosen], masks["signal"], chosen, warnings)
        if lines:
            edge = _edges_over_frames(movie, lines, pixel_spacing_mm)
            parts |= {
                "edge": edge,
                "edge_sharpness_per_mm": edge.sharpness_per_mm,
                "edge_width_mm": edge.width_mm,
                "sharpness": _summary(edge.sharpness_per_mm, chosen),
                "width": _summary(edge.width_mm, chosen),
                "sigma": _summary(edge.sigma_mm, chosen),
                "residual": _summary(edge.residual, chosen),
                "rise": _summary(edge.rise_mm, chosen),
            }
            longest_mm = max(line.length_mm(pixel_spacing_mm) for line, _ in lines)
            warnings += _edge_warnings(edge, longest_mm)
        drawn = timed.drawing.line
        results.append(
            ArmMeasurement(
                **{name: None for name in _OPTIONAL if name not in parts},
                **parts,
                signal_pixels=pixels.get("signal", 0),
                background_pixels=pixels.get("background", 0),
                signal_area_mm2=area_mm2(pixels.get("signal", 0), pixel_spacing_mm),
                background_area_mm2=area_mm2(pixels.get("background", 0), pixel_spacing_mm),
                line_length_mm=drawn.length_mm(pixel_spacing_mm) if drawn else 0.0,
                line_width_px=drawn.width_px if drawn else 0,
                first_frame=int(chosen.argmax()),
                displacement_px=max((motion.largest_px for motion in timed.motions.values()), default=0.0),
                window_s=window_s,
                warnings=tuple(warnings),
            )
        )
    return results


_OPTIONAL = ("snr_db", "edge_sharpness_per_mm", "edge_width_mm", "snr", "sharpness", "width")


def _companions(
    frames: NDArray[np.float64], masks: NDArray[np.bool_], chosen: NDArray[np.bool_], warnings: list[str]
) -> dict[str, Any]:
    """Temporal and difference SNR over the window; a region whose size changes has none, and a warning."""
    mask = masks[0] if len(masks) == 1 else masks[chosen]
    sizes = np.unique(mask.sum(axis=(-2, -1)))
    if sizes.size > 1 or sizes[0] < 2 or len(frames) < 2:
        if sizes.size > 1:
            warnings.append(
                "The signal region changes its size over the frames: there is no temporal and no difference "
                "SNR."
            )
        return {}
    series = difference_snr_db(frames, mask)
    return {
        "temporal_snr_db": temporal_snr_db(frames, mask),
        "difference_snr_db": series,
        "difference_snr": summarise(series, np.arange(series.size)),
    }


def _edge_warnings(edge: EdgeMeasures, line_length_mm: float) -> list[str]:
    warnings = []
    flat, poor = int(np.isnan(edge.sharpness_per_mm).sum()), int(np.sum(edge.residual > POOR_FIT))
    if flat:
        warnings.append(f"The profile is flat in {flat} frame(s); they are left out of the mean.")
    if poor:
        warnings.append(
            f"The error function misses the profile by more than {POOR_FIT:.0%} in {poor} frame(s): the "
            "fitted "
            "width does not describe that edge."
        )
    if wide := int(np.sum(edge.width_mm > line_length_mm)):
        warnings.append(
            f"The fitted edge is wider than the line in {wide} frame(s): the line ends before the edge does."
        )
    return warnings


def measurement_values(movie_ids: Sequence[str], results: Sequence[ArmMeasurement]) -> dict[str, Any]:
    """What `Study.save_measurement` stores as values: one JSON-ready entry a movie, by opaque id.

    Raises:
        StudyError: Not one result a movie.
    """
    if len(movie_ids) != len(results):
        raise StudyError(f"{len(movie_ids)} movies have {len(results)} measurements; one each is needed.")
    return {movie_id: result.to_dict() for movie_id, result in zip(movie_ids, results, strict=True)}
