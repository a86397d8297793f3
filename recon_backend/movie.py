"""A reconstructed movie: magnitude frames with their spacing, times and provenance, saved as HDF5.

The file holds the dataset `movie` (float32, (frame, y, x)) and the attributes `format`, `pixel_spacing_mm`
(y, x), `frame_times_s` and `provenance` (JSON text). It is written beside its place and moved there when it
is whole.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.errors import FormatError, InvalidMovie

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

        Args:
            path: where to; missing folders are made.

        Returns:
            The path.

        Raises:
            OSError: the disk refuses.
            InvalidMovie: the provenance cannot be written as JSON.
        """
        path = Path(path)
        try:
            provenance = json.dumps(self.provenance, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidMovie(f"the provenance cannot be written as JSON: {error}.") from error
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            os.close(descriptor)
            # v108 lifts HDF5's limit of 64 KiB an attribute, which 8000 frame times would pass.
            with h5py.File(temporary, "w", libver=("v108", "v108")) as file:
                file.create_dataset("movie", data=self.frames)
                file.attrs["format"] = MOVIE_FORMAT
                file.attrs["pixel_spacing_mm"] = np.asarray(self.pixel_spacing_mm, np.float64)
                file.attrs["frame_times_s"] = self.frame_times_s
                file.attrs["provenance"] = provenance
            with open(temporary, "rb+") as file_descriptor:
                os.fsync(file_descriptor.fileno())
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner may read
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path

    @classmethod
    def load(cls, path: str | Path) -> Movie:
        """Read a movie that `save` wrote.

        Raises:
            FormatError: there is no such file, it is no movie, or it is damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise FormatError(path, "there is no such file.")
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != MOVIE_FORMAT:
                    raise FormatError(path, f"this is not a movie (expected the format '{MOVIE_FORMAT}').")
                return cls(
                    file["movie"][()],
                    tuple(file.attrs["pixel_spacing_mm"]),
                    file.attrs["frame_times_s"],
                    json.loads(file.attrs["provenance"]),
                )
        except (OSError, RuntimeError) as error:
            raise FormatError(path, "the movie file is damaged or not HDF5; make it again.") from error
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(path, f"the movie file is damaged ({error}); make it again.") from error
        except InvalidMovie as error:
            raise FormatError(path, str(error)) from error


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
