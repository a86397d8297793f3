"""One movie file as a file for other programs.

MP4 and GIF show grey values from 0 to the 99.8th percentile, every pixel as a square of `scale` pixels; DICOM
and NIfTI hold the values themselves. A NIfTI file gets a JSON file beside it with the times of the frames and
where the movie comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from studies.blinding import display_frames
from studies.clips import ClipMovie, read_movie
from studies.errors import StudyError
from studies.export.dicom import PSEUDONYM, dicom_bytes
from studies.export.nifti import nifti_movie_bytes
from studies.export.video import Progress, enlarged, frame_edges_s, gif_bytes, mp4_bytes
from studies.storage import write_durably

Format: TypeAlias = Literal["mp4", "gif", "dicom", "nifti"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: dict[Format, str] = {"mp4": ".mp4", "gif": ".gif", "dicom": ".dcm", "nifti": ".nii"}
USUAL_SIDE = 432
"""Pixels that the shorter side of a video has at least, unless a scale is given."""
LARGEST_SCALE = 16


@dataclass(frozen=True)
class MovieExport:
    """How movies are written.

    Attributes:
        kind: format.
        scale: video pixels for a pixel, in x and in y; 0 chooses.
        pseudonym: names the patient in DICOM.
        software: names and versions, for DICOM.
    """

    kind: Format
    scale: int = 0
    pseudonym: str = PSEUDONYM
    software: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check what users choose. Raises StudyError."""
        if self.kind not in FORMATS:
            raise StudyError(f"The format '{self.kind}' is not one of {', '.join(FORMATS)}.")
        if not 0 <= self.scale <= LARGEST_SCALE:
            raise StudyError(
                f"The scale is {self.scale}, but a whole number up to {LARGEST_SCALE} is needed."
            )


def export_movie(
    source: Path | ClipMovie, target: Path, how: MovieExport, progress: Progress | None = None
) -> list[Path]:
    """Write one movie.

    Args:
        source: movie file, or what was read of it.
        target: file, or folder in which it gets the name of the source.
        how: format and choices.
        progress: called with (phase, fraction); may raise to stop, and nothing is written then.

    Returns:
        The files that were written.

    Raises:
        StudyError: the movie cannot be read, or not be written in this format.
        ImportError: a package for the format is not installed.
    """
    movie = read_movie(source) if isinstance(source, Path) else source
    ending = ENDINGS[how.kind]
    if target.suffix.lower() != ending and not (
        how.kind == "nifti" and target.name.lower().endswith(".nii.gz")
    ):
        target = target / f"{Path(movie.name).stem}{ending}"
    report = progress or (lambda _phase, _fraction: None)
    report("Reading", 0.0)
    contents = {target: _content(movie, how, report)}
    if how.kind == "nifti":
        if target.name.lower().endswith(".gz"):
            contents[target] = _zipped(contents[target])
        side = target.with_name(target.name.removesuffix(".gz")).with_suffix(".json")
        contents[side] = _description(movie)
    report("Writing", 1.0)
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, content)
        except OSError as error:
            raise StudyError(f"'{path}' cannot be written: {error.strerror}.") from error
    return list(contents)


def method_of(movie: ClipMovie) -> str:
    """The method by the movie's provenance, or its file name."""
    return str(movie.provenance.get("method") or Path(movie.name).stem)


def usual_scale(shape: tuple[int, int]) -> int:
    """The smallest whole number that makes the shorter side of an image `USUAL_SIDE` pixels or more."""
    return max(1, min(LARGEST_SCALE, -(-USUAL_SIDE // min(shape))))


def _content(movie: ClipMovie, how: MovieExport, report: Callable[[str, float], None]) -> bytes:
    if how.kind == "nifti":
        return nifti_movie_bytes(movie)
    if how.kind == "dicom":
        return dicom_bytes(
            movie, pseudonym=how.pseudonym, description=method_of(movie), software=how.software
        )
    scale = how.scale or usual_scale(movie.frames.shape[1:])
    grey = display_frames([movie.frames], "joint_percentile")[0]
    pictures = (enlarged(frame, scale) for frame in grey)
    edges = frame_edges_s(movie.frame_times_s)
    comment = f"{method_of(movie)}; blindcine; for research use only"
    if how.kind == "gif":
        return gif_bytes(pictures, edges, comment=comment, progress=report)
    spacing_y, spacing_x = movie.pixel_spacing_mm
    metadata = {"title": Path(movie.name).stem, "comment": comment}
    return mp4_bytes(pictures, edges, metadata=metadata, pixel_aspect=spacing_x / spacing_y, progress=report)


def _zipped(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, mtime=0)


def _description(movie: ClipMovie) -> bytes:
    table = {
        "frame_times_s": _listed(movie.frame_times_s),
        "pixel_spacing_mm": list(movie.pixel_spacing_mm),
        "provenance": movie.provenance,
    }
    return (json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _listed(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in values]
