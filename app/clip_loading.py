"""Movie files to what a `PanelRow` shows, for use on a thread: cut to common frames, one grey scale for all.

It shows movies exactly as a blinded reading does (`studies.clips.align`, `studies.blinding.display_frames`),
so what is seen in a demonstration is what readers will see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies import blinding, clips

GREY_SCALE_RULE = "least_squares"
"""The rule that studies use by default."""


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """Movies ready to be shown side by side.

    Attributes:
        display: (k, t, y, x) uint8.
        frame_times_s: (t,) in seconds.
        pixel_spacing_mm: (y, x).
    """

    display: NDArray[np.uint8]
    frame_times_s: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]


def load_clip(paths: Sequence[Path]) -> LoadedClip:
    """Load movie files of one scan.

    Raises:
        StudyError: if a file is not a movie or the movies do not belong together.
    """
    movies = clips.align([clips.read_movie(path) for path in paths])
    display = blinding.display_frames([movie.frames for movie in movies], GREY_SCALE_RULE)
    return LoadedClip(display, np.asarray(movies[0].frame_times_s), movies[0].pixel_spacing_mm)
