"""A movie as NIfTI-1: float32, axes (x, y, 1, frame), spacing in mm and frame time in s.

NIfTI has one frame time for a series; times that are not equally spaced, and where the movie comes from, are
in the JSON file beside it. How the image lies in the patient is not known, so no orientation is given
(qform and sform codes 0), as for masks.
"""

from __future__ import annotations

import numpy as np

from studies.clips import ClipMovie
from studies.mask_files import nifti_header


def nifti_movie_bytes(movie: ClipMovie) -> bytes:
    """The content of a .nii file. Raises StudyError if the movie is too large for the format."""
    frames, rows, columns = movie.frames.shape
    step = float(np.median(np.diff(movie.frame_times_s))) if frames > 1 else 0.0
    header = nifti_header(
        (columns, rows, 1, frames),
        (movie.pixel_spacing_mm[1], movie.pixel_spacing_mm[0], 1.0, step),
        data_type=16,
        bits=32,
        description=b"magnitude movie, for research use only",
        first_time_s=float(movie.frame_times_s[0]),
    )
    return header + np.ascontiguousarray(movie.frames, "<f4").tobytes()
