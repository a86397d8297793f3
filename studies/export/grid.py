"""Movies in rows and columns as one video on one clock, with y–t profiles: the paper's Videos S2–S4.

A row is a scan, a column a method. All movies of a row are cut to the frames that they have in common and
share one grey scale, as in a reading. Time starts at 0 with the first common frame of each row and ends with
the shortest row; at every moment each cell shows the frame that began last, so every frame is shown exactly
as long as it was on the clock of its scan, however different the frame times of the rows are. The profile is
the column of pixels through the middle (or where it is asked for), with position downwards as in the image
and time to the right; a line marks the moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.blinding import display_frames
from studies.clips import ClipMovie, align, read_movie
from studies.errors import StudyError
from studies.export.video import Picture, Progress, frame_edges_s, gif_bytes, mp4_bytes
from studies.names import in_words, method_label
from studies.storage import write_durably

COLUMN_ORDER = ("gridded", "compressed_sensing", "dl_natural", "dl_cardiac")
ROW_ORDER = ("cartesian", "radial", "spiral")
USUAL_SIDES = {".mp4": 240, ".gif": 160}
_GAP = 6
_INK, _PAPER = 235, 0
_MOST_CELLS = 36
_SAME_S = 1e-4
"""Frames of two scans that begin so close begin at once."""


@dataclass(frozen=True, eq=False)
class GridCell:
    """One movie and its place: names of row and column."""

    row: str
    column: str
    movie: ClipMovie


@dataclass(frozen=True)
class GridSettings:
    """How a grid is drawn.

    Attributes:
        labels: write the names of rows and columns.
        side: pixels that the image of a cell is high; 0 takes 240 for MP4 and 160 for GIF, which grows fast.
        profile_share: width of a profile in parts of the side; 0 for none.
        column: where the profile is cut, in parts of the image's width.
    """

    labels: bool = False
    side: int = 0
    profile_share: float = 0.6
    column: float = 0.5

    def __post_init__(self) -> None:
        """Check what users choose. Raises StudyError."""
        if self.side and not 64 <= self.side <= 1080:
            raise StudyError(f"The side of a cell is {self.side} pixels, but 64 to 1080 are possible.")
        if not 0 <= self.profile_share <= 2 or not 0 <= self.column <= 1:
            raise StudyError(
                "The profile's width is 0 to 2 sides, and its place 0 to 1 of the image's width."
            )


def cells_of_movies(paths: Sequence[Path]) -> list[GridCell]:
    """Cells of movie files, rows by sampling and columns by method, as their provenance tells.

    Raises:
        StudyError: a file is no movie, does not say what it is, or two would take one place.
    """
    cells: dict[tuple[str, str], GridCell] = {}
    for path in paths:
        movie = read_movie(path)
        row, column = (str(movie.provenance.get(name, "")) for name in ("sampling", "method"))
        if not row or not column:
            raise StudyError(f"'{path.name}' does not say its sampling and method: reconstruct it again.")
        if (row, column) in cells:
            raise StudyError(
                f"'{path.name}' and '{cells[row, column].movie.name}' are both {row} and {column}: choose "
                "the movies of one subject."
            )
        cells[row, column] = GridCell(row, column, movie)
    return list(cells.values())


def export_grid(
    cells: Sequence[GridCell],
    target: Path,
    settings: GridSettings | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a grid as MP4 or GIF, by the name of the target.

    Args:
        cells: at least one; places may stay empty.
        target: ends in .mp4 or .gif.
        settings: how it is drawn.
        progress: called with (phase, fraction); may raise to stop, and nothing is written then.

    Raises:
        StudyError: the movies of a row do not belong together, or the file cannot be written.
        ImportError: the package `av` is not installed.
    """
    ending = target.suffix.lower()
    if ending not in USUAL_SIDES:
        raise StudyError(f"'{target.name}' is no name for a video: end it in .mp4 or .gif.")
    settings = settings or GridSettings()
    grid = _Grid(cells, replace(settings, side=settings.side or USUAL_SIDES[ending]))
    comment = "blindcine; for research use only"
    if ending == ".gif":
        content = gif_bytes(grid.pictures(), grid.edges_s, comment=comment, progress=progress)
    else:
        content = mp4_bytes(grid.pictures(), grid.edges_s, metadata={"comment": comment}, progress=progress)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, content)
    except OSError as error:
        raise StudyError(f"'{target}' cannot be written: {error.strerror}.") from error
    return target


class _Cell:
    """A movie as it is drawn: enlarged frames one by one, its profile once."""

    def __init__(
        self, grey: NDArray[np.uint8], movie: ClipMovie, settings: GridSettings, duration_s: float
    ) -> None:
        spacing_y, spacing_x = movie.pixel_spacing_mm
        height_mm, width_mm = grey.shape[1] * spacing_y, grey.shape[2] * spacing_x
        self.size = (settings.side, max(1, round(settings.side * width_mm / height_mm)))
        self._grey = grey
        self.edges_s = frame_edges_s(movie.frame_times_s)
        column = min(int(settings.column * grey.shape[2]), grey.shape[2] - 1)
        width = round(settings.side * settings.profile_share)
        # A profile's column of pixels shows the frame of the moment in its middle.
        moments = (np.arange(width) + 0.5) / max(width, 1) * duration_s
        self.profile = resized(grey[:, :, column].T, (settings.side, len(grey)), smooth_x=False)
        self.profile = self.profile[:, self.frame_at(moments)]

    def frame_at(self, moments_s: NDArray[np.float64]) -> NDArray[np.intp]:
        """Index of the frame that is shown at each moment."""
        index = np.searchsorted(self.edges_s, moments_s + _SAME_S, side="right") - 1
        return np.clip(index, 0, len(self._grey) - 1)

    def picture(self, frame: int) -> Picture:
        return resized(self._grey[frame], self.size)


def resized(picture: Picture, size: tuple[int, int], *, smooth_x: bool = True) -> Picture:
    """A picture at another size (y, x), bicubic; along x without interpolation if not `smooth_x`."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    if not smooth_x:
        image = image.resize((picture.shape[1], size[0]), Image.Resampling.BICUBIC)
        return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))


class _Grid:
    """All cells in their places, and the pictures one after another."""

    def __init__(self, cells: Sequence[GridCell], settings: GridSettings) -> None:
        if not 0 < len(cells) <= _MOST_CELLS:
            raise StudyError(f"A grid holds 1 to {_MOST_CELLS} movies, not {len(cells)}.")
        self._settings = settings
        self._rows = _in_order([cell.row for cell in cells], ROW_ORDER)
        self._columns = _in_order([cell.column for cell in cells], COLUMN_ORDER)
        aligned: dict[tuple[str, str], ClipMovie] = {}
        for row in self._rows:
            of_row = [cell for cell in cells if cell.row == row]
            for cell, movie in zip(of_row, align([cell.movie for cell in of_row]), strict=True):
                aligned[row, cell.column] = movie
        if len(aligned) != len(cells):
            raise StudyError("Two movies of the grid have the same row and column.")
        duration_s = min(frame_edges_s(movie.frame_times_s)[-1] for movie in aligned.values())
        self._cells: dict[tuple[str, str], _Cell] = {}
        for row in self._rows:
            columns = [column for column in self._columns if (row, column) in aligned]
            grey = display_frames([aligned[row, column].frames for column in columns])
            for column, frames in zip(columns, grey, strict=True):
                self._cells[row, column] = _Cell(frames, aligned[row, column], settings, duration_s)
        starts = np.concatenate([cell.edges_s[:-1] for cell in self._cells.values()])
        starts = np.sort(starts[starts < duration_s - _SAME_S])
        starts = starts[np.append(True, np.diff(starts) > _SAME_S)]
        self.edges_s = np.append(starts, duration_s)
        self._place()

    def _place(self) -> None:
        """Work out where everything lies, and draw what never changes."""
        settings = self._settings
        width = max(cell.size[1] for cell in self._cells.values())
        self._image_width = width
        self._profile_width = round(settings.side * settings.profile_share)
        step_x = width + (self._profile_width + _GAP if self._profile_width else 0) + 2 * _GAP
        self._text_height = max(14, settings.side // 14)
        margin = self._text_height + 2 * _GAP
        left, top = (margin, margin) if settings.labels else (_GAP, _GAP)
        self._corners = {
            (row, column): (top + r * (settings.side + 2 * _GAP), left + c * step_x)
            for r, row in enumerate(self._rows)
            for c, column in enumerate(self._columns)
        }
        height = top + len(self._rows) * (settings.side + 2 * _GAP) + margin
        self._clock_y = height - margin + _GAP
        self._canvas = np.full((height, left + len(self._columns) * step_x), _PAPER, np.uint8)
        if settings.labels:
            self._label(width, left, top)
        for place, cell in self._cells.items():
            y, x = self._profile_corner(place)
            self._canvas[y : y + settings.side, x : x + self._profile_width] = cell.profile

    def _label(self, width: int, left: int, top: int) -> None:
        for column in self._columns:
            _, x = self._corners[self._rows[0], column]
            text = _text(method_label(column), self._text_height)
            _stamp(self._canvas, text, _GAP, x)
        for row in self._rows:
            y, _ = self._corners[row, self._columns[0]]
            text = np.rot90(_text(in_words(row), self._text_height))
            _stamp(self._canvas, text, y + max(0, (self._settings.side - len(text)) // 2), _GAP)

    def _profile_corner(self, place: tuple[str, str]) -> tuple[int, int]:
        y, x = self._corners[place]
        return y, x + self._image_width + _GAP

    def pictures(self) -> Iterator[Picture]:
        """The whole picture at every start."""
        side = self._settings.side
        shown: dict[tuple[str, str], tuple[int, Picture]] = {}
        for moment in self.edges_s[:-1]:
            canvas = self._canvas.copy()
            for place, cell in self._cells.items():
                frame = int(cell.frame_at(np.asarray(moment)))
                if place not in shown or shown[place][0] != frame:
                    shown[place] = frame, cell.picture(frame)
                y, x = self._corners[place]
                canvas[y : y + side, x : x + cell.size[1]] = shown[place][1]
                if self._profile_width:
                    y, x = self._profile_corner(place)
                    mark = int(moment / self.edges_s[-1] * self._profile_width + 1e-6)
                    canvas[y : y + side, x + min(mark, self._profile_width - 1)] = 255
            _stamp(canvas, _text(f"{moment:.2f} s", self._text_height), self._clock_y, self._left)
            yield canvas

    @property
    def _left(self) -> int:
        return self._corners[self._rows[0], self._columns[0]][1]


def _in_order(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names once each: those that are known in their order, then the others as they come."""
    found = list(dict.fromkeys(names))
    return [name for name in known if name in found] + [name for name in found if name not in known]


@lru_cache(maxsize=256)
def _text(words: str, height: int) -> Picture:
    """Words as a grey picture of a height, in the font that comes with matplotlib."""
    from PIL import Image, ImageDraw

    font = _font(round(height * 0.8))
    width = max(1, round(font.getlength(words)))
    image = Image.new("L", (width, height), _PAPER)
    ImageDraw.Draw(image).text((0, height // 2), words, fill=_INK, font=font, anchor="lm")
    return np.asarray(image)


@lru_cache(maxsize=4)
def _font(size: int) -> Any:  # noqa: ANN401 -- Pillow's font class
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _stamp(canvas: Picture, picture: Picture, y: int, x: int) -> None:
    """Put a picture on the canvas; what goes beyond its edge is cut off."""
    part = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
    part[...] = picture[: part.shape[0], : part.shape[1]]
