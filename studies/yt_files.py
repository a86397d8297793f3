"""Position-time images of a line with physical axes, as CSV and PNG.

Position in mm from the start of the line, time in s of the movie's frames; values are the movie's, linear
between pixels (`studies.profiles`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studies.errors import StudyError
from studies.profiles import line_profile, magnitude_movie
from studies.shapes import Line
from studies.storage import write_durably

if TYPE_CHECKING:
    from studies.state import MeasurementClip

YT_SPACING_PX = 0.5


@dataclass(frozen=True, eq=False)
class PositionTime:
    """Values along a line over time."""

    position_mm: NDArray[np.float64]
    """(samples,) from the start of the line."""
    time_s: NDArray[np.float64]
    """(t,)."""
    values: NDArray[np.float64]
    """(samples, t)."""


def position_time(
    movie: ArrayLike,
    line: Line,
    pixel_spacing_mm: tuple[float, float],
    frame_times_s: ArrayLike,
    *,
    spacing_px: float = YT_SPACING_PX,
) -> PositionTime:
    """Read a line in every frame, averaged over its width.

    Args:
        movie: Magnitude (t, y, x).
        line: In pixels.
        pixel_spacing_mm: (y, x).
        frame_times_s: (t,) in s.
        spacing_px: Largest distance of two samples.

    Raises:
        StudyError: The line has no length or leaves the image, or times do not fit.
    """
    frames, times = magnitude_movie(movie), np.asarray(frame_times_s, np.float64)
    if times.shape != (len(frames),):
        raise StudyError(f"{times.size} frame times do not fit a movie of {len(frames)} frames.")
    position_px, values = line_profile(
        frames,
        line.start_xy,
        line.end_xy,
        spacing_px=spacing_px,
        width_px=line.width_px,
        pixel_spacing_mm=pixel_spacing_mm,
    )
    position_mm = position_px * (line.length_mm(pixel_spacing_mm) / line.length_px)
    return PositionTime(position_mm, times, values.T)


def clip_profiles(clip: MeasurementClip, line: Line) -> list[PositionTime]:
    """`position_time` of every movie of a clip. Raises StudyError."""
    return [position_time(movie, line, clip.pixel_spacing_mm, clip.frame_times_s) for movie in clip.movies]


def common_grey_range(images: Sequence[PositionTime]) -> tuple[float, float]:
    """Black and white that images of one clip share: the smallest and the largest of their values."""
    return min(float(each.values.min()) for each in images), max(float(each.values.max()) for each in images)


def write_clip_profiles(folder: Path, clip: MeasurementClip, line: Line) -> list[Path]:
    """Write the position-time image of every movie of a clip as PNG and CSV, named by opaque ids.

    All images have one grey scale. Raises StudyError.
    """
    images = clip_profiles(clip, line)
    grey_range = common_grey_range(images)
    paths = []
    for movie_id, image in zip(clip.movie_ids, images, strict=True):
        table, picture = (folder / f"{clip.clip_id}_{movie_id}_yt.{ending}" for ending in ("csv", "png"))
        write_yt_csv(table, image)
        write_yt_png(picture, image, grey_range=grey_range)
        paths += [table, picture]
    return paths


def write_yt_csv(path: Path, image: PositionTime) -> None:
    """One line a position: its mm, then a value a frame; times in s in the header. Raises StudyError."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["position_mm \\ time_s", *(f"{time:.10g}" for time in image.time_s)])
    for position, row in zip(image.position_mm, image.values, strict=True):
        writer.writerow([f"{position:.10g}", *(f"{value:.10g}" for value in row)])
    _write(path, text.getvalue().encode())


def write_yt_png(
    path: Path,
    image: PositionTime,
    *,
    title: str = "",
    grey_range: tuple[float, float] | None = None,
    dots_per_inch: int = 150,
) -> None:
    """Draw the image with axes in s and mm.

    Args:
        path: Where to.
        image: What.
        title: Above the image.
        grey_range: Values of black and white; give the same to images that are to be compared. None takes the
            image's smallest value and 99.8th percentile.
        dots_per_inch: Of the picture, 6 × 3 inches.

    Raises:
        StudyError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    low, high = grey_range or (float(image.values.min()), float(np.percentile(image.values, 99.8)))
    figure = Figure(figsize=(6, 3), dpi=dots_per_inch, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # Frames and samples are drawn around their own time and place.
    axes.pcolormesh(
        image.time_s, image.position_mm, image.values, cmap="gray", vmin=low, vmax=high, shading="nearest"
    )
    axes.invert_yaxis()
    axes.set(xlabel="Time (s)", ylabel="Position (mm)", title=title)
    content = io.BytesIO()
    canvas.print_png(content)
    _write(path, content.getvalue())


def _write(path: Path, content: bytes) -> None:
    try:
        write_durably(path, content)
    except OSError as error:
        raise StudyError(f"'{path}' cannot be written: {error.strerror}.") from error
