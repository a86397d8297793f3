"""A reconstructed movie: magnitude frames with their spacing, times and provenance, saved as HDF5.

The file holds the dataset `movie` (float32, (frame, y, x)) and the attributes `format`, `pixel_spacing_mm`
(y, x), `frame_times_s` and `provenance` (JSON text). It is written beside its place and moved there when it
is whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.errors import FormatError, InvalidMovie
from recon_backend.storage import replacing

MOVIE_FORMAT = "blindcine-movie-1"


@dataclass(frozen=True, eq=False)
class Movie:
    """Magnitude frames of one scan by one method.

    Attributes:
        frames: float32 `(frame, y, x)`, finite.
        pixel_spacing_mm: pixel spacing (y, x), mm.
        frame_times_s: centre of each frame on the clock of the scan, s, float64 `(frame,)`, increasing.
        provenance: where the movie comes from (raw file's SHA-256, method, model, versions, times), for JSON.

    Raises:
        InvalidMovie: a shape or value is wrong; the message is one sentence.
    """

    frames: npt.NDArray[np.float32]
    pixel_spacing_mm: tuple[float, float]
    frame_times_s: npt.NDArray[np.float64]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the fields to their types and check them."""
        set_field = object.__setattr__  # the dataclass is frozen
        set_field(self, "frames", np.ascontiguousarray(self.frames, np.float32))
        set_field(self, "pixel_spacing_mm", tuple(float(spacing) for spacing in self.pixel_spacing_mm))
        set_field(self, "frame_times_s", np.asarray(self.frame_times_s, np.float64))
        if self.frames.ndim != 3 or 0 in self.frames.shape:
            raise InvalidMovie(f"movie frames must be (frame, y, x), not empty; got {self.frames.shape}.")
        if not np.isfinite(self.frames).all():
            raise InvalidMovie("movie frames hold NaN or infinite values.")
        spacing = self.pixel_spacing_mm
        if len(spacing) != 2 or not np.isfinite(spacing).all() or min(spacing) <= 0:
            raise InvalidMovie(f"the pixel spacing must be two positive lengths (y, x), got {spacing}.")
        times = self.frame_times_s
        if times.shape != self.frames.shape[:1]:
            raise InvalidMovie(f"{len(self.frames)} frames need as many frame times, got {times.shape}.")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise InvalidMovie("frame times must be finite and increasing.")

    def save(self, path: str | Path) -> Path:
        """Write the movie; a half-written file never replaces a good one.

        Where the provenance has `seconds` by step, it gets the seconds of the first writing under `writing`.

        Args:
            path: where to; missing folders are made.

        Returns:
            The path.

        Raises:
            OSError: the disk refuses.
            InvalidMovie: the provenance cannot be written as JSON.
        """
        path = Path(path)
        self._provenance_text()  # what cannot be written is refused before the disk is touched
        with replacing(path) as temporary:
            self.write(temporary)
        return path

    def write(self, path: Path, *, free_bytes: int = 0) -> None:
        """Write the file straight to `path`; `save` is what puts a movie safely in its place.

        Args:
            path: a new file.
            free_bytes: room left free in front of the HDF5 content (0, or a power of 2 from 512 on).
        """
        began = time.perf_counter()
        # v108 lifts HDF5's limit of 64 KiB an attribute, which 8000 frame times would pass.
        with h5py.File(path, "w", libver=("v108", "v108"), userblock_size=free_bytes) as file:
            file.create_dataset("movie", data=self.frames)
            file.attrs["format"] = MOVIE_FORMAT
            file.attrs["pixel_spacing_mm"] = np.asarray(self.pixel_spacing_mm, np.float64)
            file.attrs["frame_times_s"] = self.frame_times_s
            file.flush()
            seconds = self.provenance.get("seconds")
            if isinstance(seconds, dict):
                seconds.setdefault("writing", round(time.perf_counter() - began, 4))
            file.attrs["provenance"] = self._provenance_text()

    def _provenance_text(self) -> str:
        try:
            return json.dumps(self.provenance, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidMovie(f"the provenance cannot be written as JSON: {error}.") from error

    @classmethod
    def load(cls, path: str | Path) -> Movie:
        """Read a movie that `save` wrote.

        Raises:
            FormatError: there is no such file, it is no movie, or it is damaged.
        """
        with _opened(Path(path)) as file:
            return cls(
                file["movie"][()],
                tuple(file.attrs["pixel_spacing_mm"]),
                file.attrs["frame_times_s"],
                json.loads(file.attrs["provenance"]),
            )


def read_description(path: str | Path) -> tuple[int, dict[str, Any]]:
    """The number of frames and the provenance of a movie file, without reading the frames.

    Raises:
        FormatError: there is no such file, it is no movie, or it is damaged.
    """
    with _opened(Path(path)) as file:
        provenance = json.loads(file.attrs["provenance"])
        if not isinstance(provenance, dict):
            raise ValueError("the provenance is no JSON object")
        return int(file["movie"].shape[0]), provenance


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """A movie file for reading; whatever is wrong with it comes out as a FormatError that names it."""
    if not path.is_file():
        raise FormatError(path, "there is no such file.")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != MOVIE_FORMAT:
                raise FormatError(path, f"this is not a movie (expected the format '{MOVIE_FORMAT}').")
            yield file
    except (OSError, RuntimeError) as error:
        raise FormatError(path, "the movie file is damaged or not HDF5; make it again.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(path, f"the movie file is damaged ({error}); make it again.") from error
    except InvalidMovie as error:
        raise FormatError(path, str(error)) from error
