"""Following a region through a movie: whole-pixel shifts by normalised cross-correlation.

The pixels under the region's bounding box in one frame are the template; in every other frame the shift (dx,
dy)
is sought that maximises::

    NCC(dx, dy) = Σ (T - mean T)(F - mean F) / sqrt( Σ (T - mean T)² Σ (F - mean F)² )

Shifts are whole pixels, so a mask that is moved keeps its pixels and nothing is interpolated. A shift is
refused where the best match is poor, where another place matches almost as well (flat tissue, a straight
edge), or where the best match lies at the end of the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from studies.errors import StudyError
from studies.profiles import magnitude_movie
from studies.shapes import BoolMask

SEARCH_PX = 12
MARGIN_PX = 4
"""The template reaches this far around the region, so that it holds the region's edges."""
MINIMUM_MATCH = 0.6
MINIMUM_DISTINCTNESS = 0.02
NEIGHBOURHOOD_PX = 3
"""Shifts at least this far from the best one count as another place."""


@dataclass(frozen=True, eq=False)
class Track:
    """Where a region went: whole-pixel shifts since the reference frame, and how sure they are."""

    reference_frame: int
    dx: NDArray[np.int64]
    """(t,) to the right."""
    dy: NDArray[np.int64]
    """(t,) down."""
    match: NDArray[np.float64]
    """(t,) largest NCC, 1 for a perfect match."""
    distinctness: NDArray[np.float64]
    """(t,) how much the NCC falls to the best other place."""


def track(
    movie: ArrayLike,
    mask: BoolMask,
    *,
    reference_frame: int = 0,
    search_px: int = SEARCH_PX,
    margin_px: int = MARGIN_PX,
    minimum_match: float = MINIMUM_MATCH,
    minimum_distinctness: float = MINIMUM_DISTINCTNESS,
) -> Track:
    """Follow the pixels of a region by translation; nothing turns and nothing deforms.

    Args:
        movie: Magnitude (t, y, x). All arms of a clip need one track: take their mean.
        mask: Boolean (y, x), the region in the reference frame.
        reference_frame: Where the region was drawn. Every frame is compared with it, so errors do not add up.
        search_px: Largest shift in x and in y.
        margin_px: How far the template reaches around the region.
        minimum_match: Smallest NCC that is believed.
        minimum_distinctness: Smallest fall of the NCC to the best other place that is believed.

    Returns:
        The shifts with their confidence; those of the reference frame are 0.

    Raises:
        StudyError: The region is empty or without structure, or a frame's shift cannot be believed.
    """
    frames = magnitude_movie(movie)
    count, rows, columns = frames.shape
    if mask.shape != (rows, columns) or not mask.any():
        raise StudyError("A region to be followed must have pixels in the image.")
    if not 0 <= reference_frame < count:
        raise StudyError(
            f"The movie has the frames 1…{count}, but frame {reference_frame + 1} is to be followed."
        )
    if search_px < NEIGHBOURHOOD_PX:
        raise StudyError(f"A search needs at least {NEIGHBOURHOOD_PX} pixels, but {search_px} were given.")
    inside_y, inside_x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # Near the border of the image half of the room is left for the search.
    top, left = (int(inside[0]) - min(margin_px, int(inside[0]) // 2) for inside in (inside_y, inside_x))
    bottom, right = (
        int(inside[-1]) + 1 + min(margin_px, (size - 1 - int(inside[-1])) // 2)
        for inside, size in ((inside_y, rows), (inside_x, columns))
    )
    template = frames[reference_frame, top:bottom, left:right]
    template = template - template.mean()
    if not np.sqrt((template**2).mean()) > 1e-6 * np.abs(frames[reference_frame]).max():
        raise StudyError("The region to be followed has no structure: every place would match it.")
    # Shifts that keep the whole template in the image.
    first_y, last_y = -min(search_px, top), min(search_px, rows - bottom)
    first_x, last_x = -min(search_px, left), min(search_px, columns - right)
    dx, dy = np.zeros((2, count), np.int64)
    match, distinctness = np.ones(count), np.ones(count)
    shifts_y, shifts_x = np.arange(first_y, last_y + 1)[:, None], np.arange(first_x, last_x + 1)[None, :]
    for number, frame in enumerate(frames):
        search = frame[top + first_y : bottom + last_y, left + first_x : right + last_x]
        likeness = _likeness(search, template)
        if number == reference_frame:
            here = (-first_y, -first_x)
        else:
            place = np.unravel_index(int(likeness.argmax()), likeness.shape)
            here = int(place[0]), int(place[1])
        dy[number], dx[number] = here[0] + first_y, here[1] + first_x
        match[number] = likeness[here]
        far = np.maximum(np.abs(shifts_y - dy[number]), np.abs(shifts_x - dx[number])) >= NEIGHBOURHOOD_PX
        distinctness[number] = match[number] - likeness[far].max() if far.any() else 0.0
        _refuse(number, match[number], distinctness[number], minimum_match, minimum_distinctness)
        if number != reference_frame and (dy[number] in (first_y, last_y) or dx[number] in (first_x, last_x)):
            raise StudyError(
                f"In frame {number + 1} the region lies at the end of the search ({dx[number]}, "
                f"{dy[number]}), "
                f"which is {search_px} pixels or the border of the image: search farther, or draw it by hand "
                "there."
            )
    return Track(reference_frame, dx, dy, match, distinctness)


def _refuse(number: int, match: float, distinctness: float, least_match: float, least_fall: float) -> None:
    if match < least_match:
        raise StudyError(
            f"In frame {number + 1} the region is not found again (match {match:.2f}, at least "
            f"{least_match:.2f} is needed): draw it by hand there."
        )
    if distinctness < least_fall:
        raise StudyError(
            f"In frame {number + 1} another place matches the region almost as well (difference "
            f"{distinctness:.3f}, at least {least_fall:.3f} is needed): follow a larger region with corners."
        )


def _likeness(search: NDArray[np.float64], template: NDArray[np.float64]) -> NDArray[np.float64]:
    """NCC of a template without mean at every place: (shifts y, shifts x); 0 on constant pixels."""
    windows = sliding_window_view(search, (template.shape[0], template.shape[1]))
    power, covariance = np.zeros((2, *windows.shape[:2]))
    for row, places in enumerate(windows):
        centred = places - places.mean(axis=(1, 2), keepdims=True)
        power[row] = (centred**2).sum(axis=(1, 2))
        covariance[row] = (centred * template).sum(axis=(1, 2))
    scale = np.sqrt(power * float((template**2).sum()))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
