"""Movies as files: read Movie HDF5, cut the arms of a clip to their common frames, keep blinded copies.

Rule: the blinded copies of one clip have the same frames in time, the same matrix, the same layout and size
on the disk (uncompressed: compression would tell noisy arms from smooth ones) and the same modification time,
and hold no provenance.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from studies import storage
from studies.errors import StudyError

MOVIE_FORMAT = "blindcine-movie-1"
BLINDED_TIME_S = 946_684_800
"""Modification time of every blinded file: 2000-01-01 00:00 UTC."""
MAXIMUM_FRAMES = 8000
"""HDF5 keeps at most 64 KiB in an attribute: 8000 frame times."""
MINIMUM_FRAMES = 2
_TIME_TOLERANCE_FRAMES = 0.25
_SPACING_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class ClipMovie:
    """One movie as a study needs it."""

    frames: NDArray[np.float32]
    """Magnitude `(frame, y, x)`."""
    pixel_spacing_mm: tuple[float, float]
    """`(y, x)`."""
    frame_times_s: NDArray[np.float64]
    """`(frame,)`, increasing."""
    provenance: dict[str, Any]
    name: str
    """File name, for messages."""


def read_movie(path: Path) -> ClipMovie:
    """Read a Movie file.

    Args:
        path: HDF5 with the dataset `movie` and the attributes `pixel_spacing_mm`, `frame_times_s`,
        `provenance`.

    Raises:
        StudyError: when the file is missing or is not a sound movie.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(f"The movie '{path.name}' cannot be read: {error.strerror}.") from error
    return _parse(content, path.name)


def read_blinded(path: Path, sha256: str) -> ClipMovie:
    """Read a blinded copy after comparing its hash with the one in the log. Raises StudyError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(
            f"The study's movie '{path.name}' cannot be read: {error.strerror}; restore it."
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StudyError(
            f"The study's movie '{path.name}' is not the file that was attached: restore it from a copy."
        )
    return _parse(content, path.name)


def _parse(content: bytes, name: str) -> ClipMovie:
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            if file.attrs.get("format") != MOVIE_FORMAT:
                raise StudyError(f"'{name}' is not a movie of blindcine: its format is not '{MOVIE_FORMAT}'.")
            dataset = file["movie"]
            if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
                raise StudyError(f"'{name}' holds no magnitude movie: reconstruct it again.")
            frames = np.asarray(dataset[()], np.float32)
            spacing = np.asarray(file.attrs["pixel_spacing_mm"], np.float64).ravel()
            times = np.asarray(file.attrs["frame_times_s"], np.float64).ravel()
            provenance = json.loads(file.attrs.get("provenance", "{}"))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise StudyError(f"'{name}' is not a readable movie file: reconstruct it again.") from error
    if frames.ndim != 3 or frames.size == 0:
        raise StudyError(f"The movie '{name}' has the shape {frames.shape}, but (frame, y, x) is needed.")
    if not np.isfinite(frames).all():
        raise StudyError(f"The movie '{name}' has pixels that are not numbers: reconstruct it again.")
    if times.shape != frames.shape[:1] or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise StudyError(
            f"The movie '{name}' needs one increasing time for each of its {len(frames)} frames."
        )
    if spacing.shape != (2,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise StudyError(
            f"The movie '{name}' has the pixel spacing {spacing.tolist()}, but two lengths in mm are needed."
        )
    if not isinstance(provenance, dict):
        raise StudyError(f"The provenance of the movie '{name}' is not a table: reconstruct it again.")
    return ClipMovie(frames, (float(spacing[0]), float(spacing[1])), times, provenance, name)


def align(movies: Sequence[ClipMovie]) -> list[ClipMovie]:
    """Cut the arms of a clip to the frame times that all have.

    Two frames are the same when their times differ by less than a quarter of the frame time. All movies come
    back with the same times and spacing (those of the shortest movie), so that neither tells an arm.

    Raises:
        StudyError: when matrices or pixel spacings differ, or fewer than two frames are common.
    """
    first = movies[0]
    for movie in movies[1:]:
        if movie.frames.shape[1:] != first.frames.shape[1:]:
            raise StudyError(
                f"'{movie.name}' has the matrix {movie.frames.shape[1:]}, but '{first.name}' has "
                f"{first.frames.shape[1:]}: reconstruct all arms on one matrix."
            )
        if not np.allclose(movie.pixel_spacing_mm, first.pixel_spacing_mm, rtol=_SPACING_TOLERANCE, atol=0):
            raise StudyError(
                f"'{movie.name}' has the pixel spacing {movie.pixel_spacing_mm} mm, but '{first.name}' has "
                f"{first.pixel_spacing_mm} mm: reconstruct all arms on one matrix."
            )
    shortest = min(movies, key=lambda movie: len(movie.frames))
    times = shortest.frame_times_s
    nearest = [_nearest(movie.frame_times_s, times) for movie in movies]
    common = np.ones(len(times), bool)
    for movie, indices in zip(movies, nearest, strict=True):
        spacings = np.diff(movie.frame_times_s)
        tolerance_s = _TIME_TOLERANCE_FRAMES * float(np.median(spacings)) if spacings.size else 0.0
        common &= np.abs(movie.frame_times_s[indices] - times) < tolerance_s
    if common.sum() < MINIMUM_FRAMES:
        names = ", ".join(f"'{movie.name}'" for movie in movies)
        raise StudyError(f"The movies {names} share {common.sum()} frame times: they are not of one scan.")
    if common.sum() > MAXIMUM_FRAMES:
        raise StudyError(
            f"A clip holds at most {MAXIMUM_FRAMES} frames, not {common.sum()}: cut the scan into parts."
        )
    return [
        replace(
            movie,
            frames=movie.frames[indices[common]],
            frame_times_s=times[common],
            pixel_spacing_mm=first.pixel_spacing_mm,
        )
        for movie, indices in zip(movies, nearest, strict=True)
    ]


def _nearest(available_s: NDArray[np.float64], wanted_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of the available time nearest to each wanted one."""
    after = np.clip(np.searchsorted(available_s, wanted_s), 1, max(len(available_s) - 1, 1))
    if len(available_s) == 1:
        return np.zeros(len(wanted_s), np.intp)
    before = after - 1
    return np.where(wanted_s - available_s[before] <= available_s[after] - wanted_s, before, after)


def crop(
    movies: NDArray[np.float32], spacing_mm: tuple[float, float], size_mm: tuple[float, float] | None
) -> NDArray[np.float32]:
    """Return the middle part of all movies of a clip.

    Args:
        movies: `(arm, frame, y, x)`.
        spacing_mm: `(y, x)`.
        size_mm: `(y, x)`; rounded to whole pixels, at least one and at most the image. None: the whole.
    """
    if size_mm is None:
        return movies
    window = [slice(None), slice(None)]
    for pixels, spacing, size in zip(movies.shape[2:], spacing_mm, size_mm, strict=True):
        kept = min(pixels, max(1, round(size / spacing)))
        start = (pixels - kept) // 2
        window.append(slice(start, start + kept))
    return movies[tuple(window)]


def write_blinded(path: Path, movie: ClipMovie) -> str:
    """Write a blinded copy, durable on return, with the common modification time; return its SHA-256.

    Raises:
        StudyError: when the disk refuses.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("movie", data=np.ascontiguousarray(movie.frames, np.float32), track_times=False)
        file.attrs["format"] = MOVIE_FORMAT
        file.attrs["pixel_spacing_mm"] = np.asarray(movie.pixel_spacing_mm, np.float64)
        file.attrs["frame_times_s"] = movie.frame_times_s
        file.attrs["provenance"] = "{}"
    content = buffer.getvalue()
    try:
        storage.write_durably(path, content)
        os.utime(path, (BLINDED_TIME_S, BLINDED_TIME_S))
    except OSError as error:
        raise StudyError(f"The study's movie '{path.name}' cannot be written: {error.strerror}.") from error
    return hashlib.sha256(content).hexdigest()
