"""Drawings as JSON files, to keep, to exchange and to draw again on the same movies.

A file holds the shapes in pixels (what counts), their outlines in mm for other programs, and what is needed
to know later what was measured: size, spacing and SHA-256 of the movies, frames, author, time and program.
Rule: a drawing goes on the movies it was made on; on others of the same matrix and spacing only if that is
said.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from studies.errors import StudyError
from studies.profiles import magnitude_movie
from studies.shapes import area_mm2
from studies.storage import write_durably
from studies.timed_shapes import ROLES, TimedShapes

if TYPE_CHECKING:
    from studies.drawings import Drawing
    from studies.state import MeasurementClip

SCHEMA = "blindcine-roi-1"
_MM_TOLERANCE = 1e-6
_SPACING_TOLERANCE = 1e-4


def movies_sha256(movies: ArrayLike) -> str:
    """SHA-256 of a clip (arm, t, y, x): its shape in words, then float32, little-endian, in C order."""
    arms = magnitude_movie(movies, 4)
    digest = hashlib.sha256(f"{arms.shape} float32".encode())
    for movie in arms:
        digest.update(np.ascontiguousarray(movie, "<f4").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class RoiFile:
    """One drawing and where it belongs."""

    shapes: TimedShapes
    image_shape: tuple[int, int]
    """(rows, columns)."""
    frames: int
    pixel_spacing_mm: tuple[float, float]
    """(y, x)."""
    movies_sha256: str
    author: str
    time_utc: str
    """ISO 8601."""
    tool: str
    frame_range: tuple[int, int] | None = None
    """(first, end) from 0, the end not included; None for all frames."""

    @classmethod
    def of(cls, clip: MeasurementClip, drawing: Drawing, *, author: str, tool: str) -> RoiFile:
        """The file of what was drawn on a clip, made now."""
        rows, columns = clip.movies.shape[2:]
        return cls(
            shapes=drawing.shapes,
            image_shape=(rows, columns),
            frames=clip.movies.shape[1],
            pixel_spacing_mm=clip.pixel_spacing_mm,
            movies_sha256=movies_sha256(clip.movies),
            author=author,
            time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            tool=tool,
            frame_range=drawing.frame_range,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        spacing_y, spacing_x = self.pixel_spacing_mm
        outlines, sizes = {}, {}
        for role in ROLES:
            shape = getattr(self.shapes.drawing, role)
            if shape is not None:
                outlines[role] = [[x * spacing_x, y * spacing_y] for x, y in shape.outline()]
            if shape is not None and role != "line":
                pixels = int(shape.mask(self.image_shape).sum())
                sizes[role] = {"pixels": pixels, "mm2": area_mm2(pixels, self.pixel_spacing_mm)}
        return {
            "schema": SCHEMA,
            "tool": self.tool,
            "author": self.author,
            "time_utc": self.time_utc,
            "image": {
                "rows": self.image_shape[0],
                "columns": self.image_shape[1],
                "frames": self.frames,
                "pixel_spacing_mm": list(self.pixel_spacing_mm),
                "sha256": self.movies_sha256,
            },
            "frame_range": None if self.frame_range is None else list(self.frame_range),
            "shapes": self.shapes.to_dict(),
            "outlines_mm": outlines,
            "sizes": sizes,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RoiFile:
        """Read what `to_dict` wrote; the outlines in mm must be those of the shapes.

        Raises:
            StudyError: Another schema, or a field that is missing or not acceptable.
        """
        if data.get("schema") != SCHEMA:
            raise StudyError(
                f"The drawing has the schema '{data.get('schema')}', but this version reads '{SCHEMA}'."
            )
        image = _field(data, "image", dict)
        rows, columns, frames = (_positive(image, name) for name in ("rows", "columns", "frames"))
        spacing = _field(image, "pixel_spacing_mm", list)
        if len(spacing) != 2 or not all(_is_length(value) for value in spacing):
            raise StudyError("The field 'pixel_spacing_mm' of a drawing needs two lengths in mm.")
        sha256 = _field(image, "sha256", str)
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise StudyError("The field 'sha256' of a drawing needs 64 hexadecimal digits.")
        time_utc = _field(data, "time_utc", str)
        try:
            datetime.fromisoformat(time_utc)
        except ValueError:
            raise StudyError(f"The field 'time_utc' of a drawing is '{time_utc}', not a time.") from None
        found = cls(
            shapes=TimedShapes.from_dict(_field(data, "shapes", dict)),
            image_shape=(rows, columns),
            frames=frames,
            pixel_spacing_mm=(float(spacing[0]), float(spacing[1])),
            movies_sha256=sha256,
            author=_field(data, "author", str),
            time_utc=time_utc,
            tool=_field(data, "tool", str),
            frame_range=_range(data.get("frame_range"), frames),
        )
        _check_outlines(_field(data, "outlines_mm", dict), found.to_dict()["outlines_mm"])
        return found

    def check(
        self,
        image_shape: tuple[int, int],
        pixel_spacing_mm: tuple[float, float],
        sha256: str,
        *,
        other_image: bool = False,
    ) -> None:
        """Make sure that the drawing belongs on these movies.

        Args:
            image_shape: (rows, columns).
            pixel_spacing_mm: (y, x).
            sha256: `movies_sha256` of the movies.
            other_image: Take other movies too, for example of another scan of the subject; matrix and spacing
                must still be the same.

        Raises:
            StudyError: It does not.
        """
        if tuple(image_shape) != self.image_shape or not np.allclose(
            pixel_spacing_mm, self.pixel_spacing_mm, rtol=_SPACING_TOLERANCE, atol=0
        ):
            raise StudyError(
                f"The drawing was made on {self.image_shape[1]} × {self.image_shape[0]} pixels of "
                f"{self.pixel_spacing_mm[1]:g} × {self.pixel_spacing_mm[0]:g} mm, but the movies have "
                f"{image_shape[1]} × {image_shape[0]} of {pixel_spacing_mm[1]:g} × {pixel_spacing_mm[0]:g} "
                "mm."
            )
        if sha256 != self.movies_sha256 and not other_image:
            raise StudyError(
                "The drawing was made on other movies (their SHA-256 differs): draw again, or say that it "
                "shall "
                "be used on other movies."
            )


def _field(data: Mapping[str, Any], name: str, kind: type[Any]) -> Any:  # noqa: ANN401 -- kind checks it
    value = data.get(name)
    if not isinstance(value, kind):
        words = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}
        raise StudyError(f"The field '{name}' of a drawing needs {words[kind]}.")
    return value


def _positive(data: Mapping[str, Any], name: str) -> int:
    value: int = _field(data, name, int)
    if value < 1:
        raise StudyError(f"The field '{name}' of a drawing is {value}, but it must be at least 1.")
    return value


def _is_length(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def _range(value: object, frames: int) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(item) is int for item in value):
        raise StudyError("The field 'frame_range' of a drawing needs two whole numbers, or null.")
    first, end = value
    if not 0 <= first < end <= frames:
        raise StudyError(
            f"The field 'frame_range' of a drawing is {value}, but the movie has {frames} frames."
        )
    return first, end


def _check_outlines(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if stored.keys() != expected.keys():
        raise StudyError("The drawing's shapes in pixels and its outlines in mm are not of the same regions.")
    for role, points in expected.items():
        try:
            given = np.asarray(stored[role], np.float64)
        except (TypeError, ValueError):
            given = np.empty(0)
        if given.shape != np.shape(points) or not np.allclose(given, points, rtol=0, atol=_MM_TOLERANCE):
            raise StudyError(
                f"The outline in mm of the {role} is not that of its shape in pixels: one of them was "
                "changed."
            )


def write_roi_file(path: Path, roi: RoiFile) -> None:
    """Write a drawing, durable on return. Raises StudyError."""
    content = json.dumps(roi.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        write_durably(path, content.encode())
    except OSError as error:
        raise StudyError(f"The drawing '{path}' cannot be written: {error.strerror}.") from error


def read_roi_file(path: Path) -> RoiFile:
    """Read a drawing. Raises StudyError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"The drawing '{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StudyError(f"The drawing '{path.name}' is not JSON ({error}).") from error
    if not isinstance(data, dict):
        raise StudyError(f"The drawing '{path.name}' is not one JSON object.")
    return RoiFile.from_dict(data)
