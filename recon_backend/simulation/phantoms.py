"""Moving phantoms: a beating heart in the breathing chest, and a speaking tongue in the sagittal head.

Both are drawn from curves in mm, so any matrix and field of view shows the same subject, and both follow a
time course that begins at t = 0 and does not depend on when it is looked at. `Phantom.frames` gives signals
in the scene's own scale, the same for every matrix; the two functions give movies with a peak of 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recon_backend.simulation.heart import HeartScene, heart_motion
from recon_backend.simulation.raster import Canvas
from recon_backend.simulation.speech import HeadScene, utter

Plane = Literal["short_axis", "sagittal_head"]
DEFAULT_FIELD_OF_VIEW_MM = 400.0


class Phantom:
    """A subject in one plane who can be looked at at any time, on any matrix.

    Attributes:
        plane: "short_axis" (beating heart) or "sagittal_head" (speaking tongue).
        subject: number of the subject, 0 is the textbook anatomy.
        heart_rate_per_min: mean heart rate.
    """

    def __init__(self, plane: Plane, subject: int = 0, heart_rate_per_min: float | None = None) -> None:
        """Draw the subject; the same arguments give the same subject and the same motion.

        Raises:
            ValueError: if the plane is unknown or the subject is negative.
        """
        if plane not in ("short_axis", "sagittal_head"):
            raise ValueError(f"plane is {plane!r}, but 'short_axis' or 'sagittal_head' is needed.")
        if subject < 0:
            raise ValueError(f"subject is {subject}, but it must not be negative.")
        self.plane: Plane = plane
        self.subject = subject
        varied = 62.0 if subject == 0 else float(np.random.default_rng([11, subject]).uniform(52, 82))
        self.heart_rate_per_min = varied if heart_rate_per_min is None else heart_rate_per_min
        self._heart = HeartScene(subject) if plane == "short_axis" else None
        self._head = HeadScene(subject) if plane == "sagittal_head" else None

    def frames(
        self,
        times_s: NDArray[np.floating],
        matrix: int | tuple[int, int],
        field_of_view_mm: float | tuple[float, float] = DEFAULT_FIELD_OF_VIEW_MM,
    ) -> NDArray[np.float32]:
        """Return the subject (frame, y, x) at times in s from 0, in the scene's own scale (about 0 to 1).

        Args:
            times_s: (frame,) not negative.
            matrix: pixels, one number or (y, x).
            field_of_view_mm: one number or (y, x); its centre is pixel N // 2.

        Raises:
            ValueError: if a time is negative, or matrix or field of view is not above 0.
        """
        times = np.asarray(times_s, dtype=np.float64)
        if times.ndim != 1 or times.size == 0 or not np.all(times >= 0):
            raise ValueError("times_s must be a list of at least one time, none of them negative.")
        size = (matrix, matrix) if isinstance(matrix, int) else (int(matrix[0]), int(matrix[1]))
        view = (
            field_of_view_mm if isinstance(field_of_view_mm, tuple) else (field_of_view_mm, field_of_view_mm)
        )
        if min(size) < 1 or not min(view) > 0:
            raise ValueError(f"matrix {size} and field_of_view_mm {view} must be above 0.")
        movie = np.empty((times.size, *size), dtype=np.float32)
        canvas = Canvas(size, view)
        if self._heart is not None:
            motion = heart_motion(times, self.heart_rate_per_min, self.subject)
            for frame in range(times.size):
                canvas.clear()
                self._heart.draw(canvas, float(motion.contraction[frame]), float(motion.breathing[frame]))
                movie[frame] = canvas.image
        if self._head is not None:
            positions = utter(times, self.subject).positions
            for frame in range(times.size):
                canvas.clear()
                self._head.draw(canvas, positions[frame])
                movie[frame] = canvas.image
        return np.maximum(movie, 0.0)


def _movie(
    phantom: Phantom, frames: int, matrix: int | tuple[int, int], frame_time_s: float, field_of_view_mm: float
) -> NDArray[np.float32]:
    """Return the phantom's movie with a peak of 1."""
    if frames < 1 or not frame_time_s > 0:
        raise ValueError(f"{frames} frames every {frame_time_s} s were asked for, but both must be above 0.")
    movie = phantom.frames(np.arange(frames) * frame_time_s, matrix, field_of_view_mm)
    return movie / movie.max()


def beating_heart(
    frames: int,
    matrix: int | tuple[int, int],
    frame_time_s: float,
    *,
    subject: int = 0,
    heart_rate_per_min: float | None = None,
    field_of_view_mm: float = DEFAULT_FIELD_OF_VIEW_MM,
) -> NDArray[np.float32]:
    """Return a short-axis movie of a beating heart, magnitude (frame, y, x) with a peak of 1.

    Args:
        frames: number of frames; the first one is taken at t = 0.
        matrix: pixels, one number or (y, x).
        frame_time_s: time between frames.
        subject: number of the subject, 0 is the textbook anatomy.
        heart_rate_per_min: mean heart rate, 30 to 150; by default the subject's own (62 for subject 0).
        field_of_view_mm: width of the image.

    Raises:
        ValueError: if an argument is out of range.
    """
    return _movie(
        Phantom("short_axis", subject, heart_rate_per_min), frames, matrix, frame_time_s, field_of_view_mm
    )


def speaking_tongue(
    frames: int,
    matrix: int | tuple[int, int],
    frame_time_s: float,
    *,
    subject: int = 0,
    field_of_view_mm: float = DEFAULT_FIELD_OF_VIEW_MM,
) -> NDArray[np.float32]:
    """Return a midsagittal movie of a head counting from one to ten, magnitude (frame, y, x), peak 1.

    Args:
        frames: number of frames; the first one is taken at t = 0.
        matrix: pixels, one number or (y, x).
        frame_time_s: time between frames.
        subject: number of the subject, 0 is the textbook anatomy.
        field_of_view_mm: width of the image; 300 shows the head larger.

    Raises:
        ValueError: if an argument is out of range.
    """
    return _movie(Phantom("sagittal_head", subject), frames, matrix, frame_time_s, field_of_view_mm)
