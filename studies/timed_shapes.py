"""Shapes over the frames of a movie: one drawing for all frames, corrected in some, moved with the heart.

Rule for the shape of a frame: the last edit that covers the frame; else the drawing, moved by its track if it
has one; else the drawing. Tracks move by whole pixels, so the masks stay exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studies.errors import StudyError
from studies.profiles import magnitude_movie
from studies.shapes import Line, Region, Shapes, mask_inside
from studies.tracking import SEARCH_PX, track

Role: TypeAlias = Literal["signal", "background", "line"]
ROLES: tuple[Role, ...] = ("signal", "background", "line")
OVER_TIME = "over_time"
"""Key of what is added to stored `Shapes`; a reader that does not know it sees the drawing."""


@dataclass(frozen=True)
class Edit:
    """Other shapes in the frames `first`…`last`, both included; roles that are None are left as they were."""

    first: int
    last: int
    shapes: Shapes

    def __post_init__(self) -> None:
        """Check the frames."""
        if not 0 <= self.first <= self.last:
            raise StudyError(
                f"An edit needs frames in order, but {self.first + 1} to {self.last + 1} was given."
            )


@dataclass(frozen=True)
class Motion:
    """Shifts of one role in whole pixels, one a frame, with the confidence of `studies.tracking`."""

    reference_frame: int
    dx: tuple[int, ...]
    dy: tuple[int, ...]
    match: tuple[float, ...] = ()
    distinctness: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the lengths."""
        lengths = {len(self.dx), len(self.dy)} | {
            len(part) for part in (self.match, self.distinctness) if part
        }
        if len(lengths) != 1 or not 0 <= self.reference_frame < len(self.dx):
            raise StudyError("A motion needs one shift in x and one in y for each frame.")

    @property
    def largest_px(self) -> float:
        """Longest shift."""
        return float(np.hypot(self.dx, self.dy).max())


@dataclass(frozen=True)
class TimedShapes:
    """What was drawn on a clip, frame by frame."""

    drawing: Shapes
    edits: tuple[Edit, ...] = ()
    motions: Mapping[Role, Motion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that what changes was drawn."""
        for role in ROLES:
            changes = role in self.motions or any(
                getattr(edit.shapes, role) is not None for edit in self.edits
            )
            if changes and getattr(self.drawing, role) is None:
                raise StudyError(f"The {role} changes over the frames, but it was not drawn.")

    def at(self, role: Role, frame: int) -> Region | Line | None:
        """The shape of a role in a frame (from 0).

        Raises:
            StudyError: A motion ends before the frame.
        """
        for edit in reversed(self.edits):
            shape = getattr(edit.shapes, role)
            if edit.first <= frame <= edit.last and shape is not None:
                return shape
        drawn: Region | Line | None = getattr(self.drawing, role)
        motion = self.motions.get(role)
        if drawn is None or motion is None:
            return drawn
        if frame >= len(motion.dx):
            raise StudyError(
                f"The {role} was followed for {len(motion.dx)} frames, but frame {frame + 1} is asked for."
            )
        return drawn.moved(motion.dx[frame], motion.dy[frame])

    def groups(self, role: Role, frames: int) -> list[tuple[Region | Line | None, NDArray[np.intp]]]:
        """Every shape that a role takes, with its frames: one entry for a drawing that stays."""
        found: dict[Region | Line | None, list[int]] = {}
        for frame in range(frames):
            found.setdefault(self.at(role, frame), []).append(frame)
        return [(shape, np.asarray(members, np.intp)) for shape, members in found.items()]

    def masks(
        self, role: Literal["signal", "background"], frames: int, shape: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Pixels of a region in every frame, boolean (t, y, x); none where it was not drawn.

        Raises:
            StudyError: The region leaves the image in a frame.
        """
        masks = np.zeros((frames, *shape), np.bool_)
        for region, members in self.groups(role, frames):
            if region is not None and not isinstance(region, Line):
                masks[members] = mask_inside(region, shape, role)
        return masks

    @property
    def stays(self) -> bool:
        """Whether every frame has the drawing itself."""
        return not self.edits and not self.motions

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the stored drawing, and under "over_time" what changes; frames count from 0."""
        stored = self.drawing.to_dict()
        if not self.stays:
            stored[OVER_TIME] = {
                "edits": [
                    {"frames": [edit.first, edit.last], "shapes": edit.shapes.to_dict()}
                    for edit in self.edits
                ],
                "motions": {
                    role: {
                        "reference_frame": motion.reference_frame,
                        "dx": list(motion.dx),
                        "dy": list(motion.dy),
                        "match": list(motion.match),
                        "distinctness": list(motion.distinctness),
                    }
                    for role, motion in self.motions.items()
                },
            }
        return stored

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TimedShapes:
        """Read what `to_dict` of this class or of `Shapes` wrote.

        Raises:
            StudyError: A shape, an edit or a motion is not acceptable.
        """
        drawing = Shapes.from_dict(data)
        over_time = data.get(OVER_TIME) or {}
        try:
            edits = tuple(
                Edit(int(item["frames"][0]), int(item["frames"][1]), Shapes.from_dict(item["shapes"]))
                for item in over_time.get("edits", ())
            )
            motions: dict[Role, Motion] = {}
            for role in ROLES:
                if (item := over_time.get("motions", {}).get(role)) is not None:
                    motions[role] = Motion(
                        int(item["reference_frame"]),
                        _whole(item["dx"]),
                        _whole(item["dy"]),
                        tuple(float(value) for value in item.get("match", ())),
                        tuple(float(value) for value in item.get("distinctness", ())),
                    )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise StudyError(
                f"The stored changes of shapes over time ('{OVER_TIME}') are not readable: {error!r}."
            ) from error
        return cls(drawing, edits, motions)


def _whole(values: Sequence[Any]) -> tuple[int, ...]:
    if any(int(value) != value for value in values):
        raise ValueError("shifts must be whole pixels")
    return tuple(int(value) for value in values)


# Changes


def edited(
    shapes: TimedShapes, role: Role, shape: Region | Line | None, first: int, last: int
) -> TimedShapes:
    """Give a role another shape in the frames `first`…`last`, both included.

    Args:
        shapes: What was drawn; not changed.
        role: Which of the three.
        shape: Its shape in these frames; None takes edits back, so that the drawing counts there again.
        first: From 0.
        last: From 0.

    Raises:
        StudyError: The role was not drawn, or the frames are not in order.
    """
    span = Edit(first, last, Shapes())
    kept: list[Edit] = []
    for start, end, other in _edits_of(shapes, role):
        # What the new span covers of an older edit goes; what stands out before and after it stays.
        if start < first:
            kept.append(_edit(role, other, start, min(end, first - 1)))
        if end > last:
            kept.append(_edit(role, other, max(start, last + 1), end))
    if shape is not None:
        kept.append(_edit(role, shape, span.first, span.last))
    return replace(shapes, edits=(*_edits_of_others(shapes, role), *_joined(kept)))


def redrawn(shapes: TimedShapes, role: Role, shape: Region | Line | None) -> TimedShapes:
    """Give a role one shape in all frames: its edits go; a motion stays while there is something to move."""
    motions = {name: motion for name, motion in shapes.motions.items() if name != role or shape is not None}
    if role == "signal" and shape is None:
        # What moved with the tissue under the signal region has nothing to follow.
        motions = {}
    return TimedShapes(_changed(shapes.drawing, role, shape), _edits_of_others(shapes, role), motions)


def moved(shapes: TimedShapes, role: Role, dx: float, dy: float) -> TimedShapes:
    """Move a role in all frames by the same pixels, edits and all. Raises StudyError if it was not drawn."""
    drawn: Region | Line | None = getattr(shapes.drawing, role)
    if drawn is None:
        raise StudyError(f"The {role} cannot be moved: it was not drawn.")
    edits = [_edit(role, shape.moved(dx, dy), start, end) for start, end, shape in _edits_of(shapes, role)]
    return replace(
        shapes,
        drawing=_changed(shapes.drawing, role, drawn.moved(dx, dy)),
        edits=(*_edits_of_others(shapes, role), *edits),
    )


def edit_span(shapes: TimedShapes, role: Role, frame: int, frames: int) -> tuple[int, int]:
    """First and last frame around `frame` in which a role has the same edit, or none."""
    number = np.full(frames, -1)
    for index, (start, end, _) in enumerate(_edits_of(shapes, role)):
        number[start : end + 1] = index
    others = np.flatnonzero(number != number[frame])
    before, after = others[others < frame], others[others > frame]
    return (int(before[-1]) + 1 if before.size else 0), (int(after[0]) - 1 if after.size else frames - 1)


def keyframes(shapes: TimedShapes, frames: int) -> list[int]:
    """Frames in which the shape of any role becomes another by an edit, ascending; not by its motion."""
    starts = {
        edge
        for role in ROLES
        for start, end, _ in _edits_of(shapes, role)
        for edge in (start, end + 1)
        if 0 < edge < frames
    }
    return sorted(starts)


def _edit(role: Role, shape: Region | Line, first: int, last: int) -> Edit:
    return Edit(first, last, _changed(Shapes(), role, shape))


def _changed(shapes: Shapes, role: Role, shape: Region | Line | None) -> Shapes:
    changes: dict[str, Any] = {role: shape}
    return replace(shapes, **changes)


def _edits_of(shapes: TimedShapes, role: Role) -> list[tuple[int, int, Region | Line]]:
    """A role's edits as they count, in the order of frames: where several cover a frame, the last one."""
    spans: list[tuple[int, int, Region | Line]] = []
    for item in shapes.edits:
        shape = getattr(item.shapes, role)
        if shape is None:
            continue
        parts = []
        for start, end, other in spans:
            parts += [(start, min(end, item.first - 1), other)] if start < item.first else []
            parts += [(max(start, item.last + 1), end, other)] if end > item.last else []
        spans = [*parts, (item.first, item.last, shape)]
    return sorted(spans, key=lambda span: span[0])


def _edits_of_others(shapes: TimedShapes, role: Role) -> tuple[Edit, ...]:
    without = (replace(item, shapes=_changed(item.shapes, role, None)) for item in shapes.edits)
    return tuple(item for item in without if item.shapes != Shapes())


def _joined(edits: Sequence[Edit]) -> list[Edit]:
    """Edits in the order of frames; neighbours with the same shape become one."""
    joined: list[Edit] = []
    for item in sorted(edits, key=lambda edit: edit.first):
        before = joined[-1] if joined else None
        if before is not None and before.last + 1 == item.first and before.shapes == item.shapes:
            joined[-1] = replace(before, last=item.last)
        else:
            joined.append(item)
    return joined


def follow(
    movies: ArrayLike,
    shapes: TimedShapes,
    role: Literal["signal", "background"] = "signal",
    *,
    reference_frame: int = 0,
    search_px: int = SEARCH_PX,
    moves: Sequence[Role] = ("signal",),
) -> TimedShapes:
    """Follow a region through the mean of a clip's movies and move shapes with it, the same in all movies.

    Args:
        movies: Magnitude (arm, t, y, x).
        shapes: What was drawn.
        role: The region that is followed.
        reference_frame: Where it was drawn.
        search_px: Largest shift in x and in y.
        moves: The roles that move with it. Air does not move with the heart: leave it out.

    Raises:
        StudyError: The region was not drawn, leaves the image, or cannot be followed with confidence.
    """
    mean = magnitude_movie(movies, 4).mean(axis=0)
    region: Region | None = getattr(shapes.drawing, role)
    if region is None:
        raise StudyError(f"The {role} region cannot be followed: it was not drawn.")
    size = (mean.shape[1], mean.shape[2])
    found = track(mean, mask_inside(region, size, role), reference_frame=reference_frame, search_px=search_px)
    motion = Motion(
        reference_frame,
        tuple(found.dx.tolist()),
        tuple(found.dy.tolist()),
        tuple(found.match.tolist()),
        tuple(found.distinctness.tolist()),
    )
    moved = {name: motion for name in moves if getattr(shapes.drawing, name) is not None}
    return TimedShapes(shapes.drawing, shapes.edits, {**shapes.motions, **moved})
