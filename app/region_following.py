"""A signal region that follows the tissue under it while it is drawn, tracked on a thread.

The way is found once for the average of a clip's movies, so that all movies get the same shapes, and kept for
each region and the frame it was drawn in: going back and forth does not follow it again. A region that cannot
be followed stays where it was drawn, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from PySide6.QtCore import QObject, Signal

from app.background import BackgroundTasks
from app.newest_task import NewestTask
from app.widgets.measure_tools import Following, following_of
from app.widgets.shape_board import ShapeBoard
from studies.drawings import Drawing
from studies.shapes import Line, Region, Shapes
from studies.state import MeasurementClip
from studies.timed_shapes import Motion, Role, TimedShapes, follow

TrackKey: TypeAlias = tuple[str, Region, int]
"""Clip, region and the frame that the region was drawn in."""


@dataclass(frozen=True)
class _Wanted:
    """A region that is being followed for the first time, and what it will move."""

    key: TrackKey
    drawing: Drawing
    line_too: bool


class RegionFollowing(QObject):
    """Keeps the motion on a board true to the region that is drawn.

    Args:
        board: what is drawn.
        tasks: runs the tracking.
        parent: Qt owner.
    """

    settled = Signal()
    """The motion on the board holds again: measure now."""

    refused = Signal(object, str)
    """The region cannot be followed: the drawing as it is now, and why in a sentence."""

    def __init__(self, board: ShapeBoard, tasks: BackgroundTasks, parent: QObject | None = None) -> None:
        """Start without a clip."""
        super().__init__(parent)
        self._board = board
        self._clip: MeasurementClip | None = None
        self._wanted: _Wanted | None = None
        self._tracks: dict[TrackKey, Motion] = {}
        self._tracking = NewestTask(tasks, self)
        self._tracking.done.connect(self._on_followed)
        self._tracking.failed.connect(self._on_refused)

    @property
    def busy(self) -> bool:
        """Whether a region is being followed."""
        return self._tracking.busy

    def begin(self, clip: MeasurementClip | None) -> None:
        """Take another clip, or none."""
        self._clip = clip
        self._wanted = None
        self._tracking.forget()

    def forget(self) -> None:
        """Forget all ways, for another study."""
        self.begin(None)
        self._tracks.clear()

    def know(self, shapes: TimedShapes) -> None:
        """Take a stored motion for what it is, instead of following the region again."""
        motion, region = shapes.motions.get("signal"), shapes.drawing.signal
        if self._clip is not None and motion is not None and region is not None:
            self._tracks[self._clip.clip_id, region, motion.reference_frame] = motion

    def choose(self, following: Following) -> str:
        """Let the region follow the tissue from the frame shown on, or let it stay.

        Returns:
            Why that cannot be, in a sentence; empty if it can.
        """
        board, clip = self._board, self._clip
        drawing = board.drawing
        if clip is None or following == following_of(board):
            return ""
        if following == "none":
            self._wanted = None
            board.replace(_with_motions(drawing, {}))
            return ""
        region, line = board.shape("signal"), board.shape("line")
        if region is None or isinstance(region, Line):
            return "Draw the signal region first: it is what is followed."
        line_too = following == "signal and line"
        # What follows is drawn where it lies in the frame shown.
        drawn = replace(drawing.shapes.drawing, signal=region)
        if isinstance(line, Line):
            drawn = replace(drawn, line=line)
        shapes = TimedShapes(drawn, drawing.shapes.edits)
        self._wanted = _Wanted((clip.clip_id, region, board.frame), replace(drawing, shapes=shapes), line_too)
        known = self._tracks.get(self._wanted.key)
        if known is not None:
            self._apply(self._wanted, known)
        else:
            self._request(self._wanted.key, clip)
        return ""

    def keep(self) -> bool:
        """Follow a region that was changed again; True while the motion on the board does not hold."""
        drawing, clip = self._board.drawing, self._clip
        motion, region = drawing.shapes.motions.get("signal"), drawing.shapes.drawing.signal
        if clip is None or motion is None or region is None:
            return False
        key = (clip.clip_id, region, motion.reference_frame)
        known = self._tracks.get(key)
        if known is None:
            self._request(key, clip)
            return True
        if known != motion:
            # The board tells its change, and this is asked again.
            motions = dict.fromkeys(drawing.shapes.motions, known)
            self._board.replace(_with_motions(drawing, motions), remember=False)
            return True
        return False

    def _request(self, key: TrackKey, clip: MeasurementClip) -> None:
        _, region, frame = key
        self._tracking.request(key, partial(_track, clip, region, frame))

    def _apply(self, wanted: _Wanted, motion: Motion) -> None:
        self._wanted = None
        motions: dict[Role, Motion] = {"signal": motion}
        if wanted.line_too and wanted.drawing.shapes.drawing.line is not None:
            motions["line"] = motion
        self._board.replace(_with_motions(wanted.drawing, motions))

    def _on_followed(self, key: TrackKey, motion: Motion) -> None:
        self._tracks[key] = motion
        if self._clip is None or self._clip.clip_id != key[0]:
            return
        if self._wanted is not None and self._wanted.key == key:
            self._apply(self._wanted, motion)
        else:
            self.settled.emit()

    def _on_refused(self, key: TrackKey, sentence: str) -> None:
        if self._clip is None or self._clip.clip_id != key[0]:
            return
        wanted, self._wanted = self._wanted, None
        drawing = self._board.drawing
        motion, region = drawing.shapes.motions.get("signal"), drawing.shapes.drawing.signal
        if motion is not None and (region, motion.reference_frame) == key[1:]:
            fixed = _with_motions(drawing, {})
            self._board.replace(fixed, remember=False)
            self.refused.emit(fixed, f"The region stays where it was drawn. {sentence}")
        elif wanted is not None:
            self.refused.emit(drawing, f"The region is not followed. {sentence}")


def _with_motions(drawing: Drawing, motions: dict[Role, Motion]) -> Drawing:
    return replace(drawing, shapes=replace(drawing.shapes, motions=motions))


def _track(clip: MeasurementClip, region: Region, frame: int) -> Motion:
    """Follow a region through the average of a clip's movies. Raises StudyError where that is unsure."""
    drawn = TimedShapes(Shapes(signal=region))
    return follow(clip.movies, drawn, reference_frame=frame).motions["signal"]
