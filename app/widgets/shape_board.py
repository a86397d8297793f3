"""The shapes of one clip while they are being drawn: what is selected, in which frames a change counts, undo.

Shapes are in image coordinates; any number of layers show one board, so what is drawn once lies at the same
place in every movie. A change counts in all frames, from the frame shown to the next change, or in the frame
shown alone (`studies.timed_shapes` holds what comes of it). What is drawn is never in the way of undo: every
change can be taken back and done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from PySide6.QtCore import QObject, Signal

from app.widgets.shape_geometry import (
    FREEHAND_STEP_PX,
    Kind,
    Shape,
    anchors,
    corner_names,
    dragged,
    drawn,
    handle_points,
    placed,
    resized,
    turned,
    with_corner_after,
    without_corner,
)
from studies.drawings import Drawing
from studies.shapes import Freehand, Line, Point, Polygon, Shapes
from studies.timed_shapes import TimedShapes, edit_span, edited, moved, redrawn

Role: TypeAlias = Literal["signal", "background", "line", "profile"]
Scope: TypeAlias = Literal["all", "onward", "frame"]

MEASURED_ROLES: tuple[Role, ...] = ("signal", "background", "line")
"""What has to be drawn on every clip, in the order in which it is offered."""
ROLES: tuple[Role, ...] = (*MEASURED_ROLES, "profile")
ROLE_NAMES: Mapping[Role, str] = {
    "signal": "Signal",
    "background": "Air",
    "line": "Edge",
    "profile": "y–t line",
}
ROLE_COLOURS: Mapping[Role, str] = {
    "signal": "#5ec8a0",
    "background": "#e8b04a",
    "line": "#f07a8c",
    "profile": "#8fb4f0",
}
SCOPES: tuple[Scope, ...] = ("all", "onward", "frame")

_MAXIMUM_UNDO = 200


class ShapeBoard(QObject):
    """The shapes of one clip while they are being drawn.

    Signals:
        changed: A shape, the selection, the armed tool or the scope changed.
        shapes_changed: A shape or the frames that count changed (to measure again).
    """

    changed = Signal()
    shapes_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        """Start empty; `load` begins a clip."""
        super().__init__(parent)
        self._drawing = Drawing(TimedShapes(Shapes()))
        self._past: list[Drawing] = []
        self._future: list[Drawing] = []
        self._selected: Role | None = None
        self._corner: str | None = None
        self._armed: Role | None = None
        self._kinds: dict[Role, Kind] = {"signal": "ellipse", "background": "rectangle"}
        self._pending: tuple[Point, ...] = ()
        self._scope: Scope = "all"
        self._frame = 0
        self._frames = 1
        self._image_size = (1, 1)
        self._line_width_px = 1

    # What there is

    @property
    def drawing(self) -> Drawing:
        """What is drawn now."""
        return self._drawing

    @property
    def shapes(self) -> TimedShapes:
        """The shapes drawn now, over the frames."""
        return self._drawing.shapes

    @property
    def frame(self) -> int:
        """The frame shown, in which changes count first."""
        return self._frame

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return self._frames

    @property
    def scope(self) -> Scope:
        """In which frames a change counts."""
        return self._scope

    @property
    def selected(self) -> Role | None:
        """The shape that keys act on."""
        return self._selected

    @property
    def corner(self) -> str | None:
        """The handle of the selected shape that arrow keys move instead of all of it."""
        return self._corner

    @property
    def armed(self) -> Role | None:
        """The shape that the next drag of the mouse draws."""
        return self._armed

    @property
    def pending(self) -> tuple[Point, ...]:
        """Points of an outline that is not closed yet."""
        return self._pending

    @property
    def undoable(self) -> bool:
        """True when a change can be taken back."""
        return bool(self._past)

    @property
    def redoable(self) -> bool:
        """True when a change that was taken back can be done again."""
        return bool(self._future)

    @property
    def line_width_px(self) -> int:
        """Number of parallel lines that a profile is averaged over."""
        return self._line_width_px

    def kind(self, role: Role) -> Kind | Literal["line"]:
        """What the tool of a role draws."""
        return self._kinds.get(role, "line")

    def shape(self, role: Role) -> Shape | None:
        """The shape of a role in the frame shown, or None."""
        if role == "profile":
            return self._drawing.profile
        return self._drawing.shapes.at(role, self._frame)

    # Beginning a clip

    def load(self, drawing: Drawing, image_size: tuple[int, int], frames: int = 1) -> None:
        """Begin a clip: show a stored drawing, forget undo and selection.

        Args:
            drawing: What was drawn before; empty for a new clip.
            image_size: (width, height) in pixels, which shapes are kept inside of.
            frames: Of the clip.
        """
        self._drawing = drawing
        self._image_size = image_size
        self._frames = max(frames, 1)
        self._frame = 0
        self._past.clear()
        self._future.clear()
        self._select(None)
        self._scope = "all"
        self._pending = ()
        self._armed = self._first_missing()
        if drawing.shapes.drawing.line is not None:
            self._line_width_px = drawing.shapes.drawing.line.width_px
        self.changed.emit()
        self.shapes_changed.emit()

    def set_frame(self, frame: int) -> None:
        """Tell which frame is shown."""
        frame = min(max(frame, 0), self._frames - 1)
        if frame == self._frame:
            return
        self._frame = frame
        if not self.shapes.stays:
            self.changed.emit()

    def set_scope(self, scope: Scope) -> None:
        """Choose in which frames a change counts: all, from this one to the next change, this one alone."""
        if scope != self._scope:
            self._scope = scope
            self.changed.emit()

    # Tools and selection

    def arm(self, role: Role | None) -> None:
        """Choose the tool: the next drag draws this shape anew (None: drags move what is there)."""
        self._armed = role
        self._pending = ()
        if role is not None:
            self._select(role)
        self.changed.emit()

    def set_kind(self, kind: Kind) -> None:
        """Choose what the armed (or selected) region is drawn as, and arm its tool."""
        role = self._armed if self._armed in self._kinds else self._selected
        if role not in self._kinds:
            role = "signal"
        self._kinds[role] = kind
        self.arm(role)

    def select(self, role: Role | None) -> None:
        """Choose the shape that keys act on."""
        if role != self._selected or self._corner is not None:
            self._select(role)
            self.changed.emit()

    def select_corner(self, step: int) -> bool:
        """Go to the next corner of the selected shape, or back; after the last one all of it is meant.

        Returns:
            False where the selected shape has no corners.
        """
        shape = self.shape(self._selected) if self._selected is not None else None
        names = corner_names(shape) if shape is not None else []
        if not names:
            return False
        places = [None, *names]
        here = places.index(self._corner) if self._corner in places else 0
        self._corner = places[(here + step) % len(places)]
        self.changed.emit()
        return True

    def take_corner(self, name: str | None) -> None:
        """Mean a corner of the selected shape by its handle."""
        shape = self.shape(self._selected) if self._selected is not None else None
        self._corner = name if shape is not None and name in corner_names(shape) else None
        self.changed.emit()

    # Drawing

    def begin_outline(self, point: Point) -> None:
        """Begin an outline at a point, or add a corner to it."""
        self._pending = (*self._pending, self.clamp(point))
        self.changed.emit()

    def add_to_outline(self, point: Point) -> None:
        """Add a point to a freehand outline if the hand went far enough."""
        x, y = self.clamp(point)
        if self._pending:
            last_x, last_y = self._pending[-1]
            if (x - last_x) ** 2 + (y - last_y) ** 2 < FREEHAND_STEP_PX**2:
                return
        self._pending = (*self._pending, (x, y))
        self.changed.emit()

    def drop_last_corner(self) -> bool:
        """Take the last point of an open outline back; False if there is none."""
        if not self._pending:
            return False
        self._pending = self._pending[:-1]
        self.changed.emit()
        return True

    def drop_outline(self) -> bool:
        """Give an open outline up; False if there is none."""
        if not self._pending:
            return False
        self._pending = ()
        self.changed.emit()
        return True

    def close_outline(self) -> bool:
        """Make a shape of the open outline; False if it has too few points to be one."""
        role, points = self._armed, self._pending
        if role is None or not points:
            return False
        shape = drawn(self.kind(role), points, self._line_width_px)
        self._pending = ()
        if shape is None:
            self.changed.emit()
            return False
        self.remember()
        self.put(role, shape)
        self.finish_drawing(role)
        return True

    def place(self, centre: Point, size_px: float) -> bool:
        """Put a new shape of the armed or selected role around a point; False if there is neither."""
        role = self._armed or self._selected
        if role is None:
            return False
        self.remember()
        self.put(role, placed(self.kind(role), self.clamp(centre), size_px, self._line_width_px))
        self.finish_drawing(role)
        return True

    def finish_drawing(self, role: Role) -> None:
        """A shape was drawn: select it and arm the next one that is still missing."""
        self._select(role)
        self._armed = self._first_missing()
        self.changed.emit()

    # Changing

    def remember(self) -> None:
        """Make the present drawing what one `undo` goes back to; call it once before a change or a drag."""
        if not self._past or self._past[-1] != self._drawing:
            self._past.append(self._drawing)
            del self._past[:-_MAXIMUM_UNDO]

    def put(self, role: Role, shape: Shape) -> None:
        """Give a role a shape in the frames of the scope.

        It is moved so that its centre (a line: all of it) lies inside the image. In all frames it replaces
        what was drawn for single frames; a followed region is moved back to the frame it is followed from.
        """
        shape = self._inside(shape)
        if role == "profile":
            if isinstance(shape, Line):
                self._set(replace(self._drawing, profile=shape))
            return
        shapes = self.shapes
        if self._scope == "all" or getattr(shapes.drawing, role) is None:
            motion = shapes.motions.get(role)
            if motion is not None and self._frame < len(motion.dx):
                shape = shape.moved(-motion.dx[self._frame], -motion.dy[self._frame])
            self._set(replace(self._drawing, shapes=redrawn(shapes, role, shape)))
            return
        last = self._frame
        if self._scope == "onward":
            last = edit_span(shapes, role, self._frame, self._frames)[1]
        self._set(replace(self._drawing, shapes=edited(shapes, role, shape, self._frame, last)))

    def move(self, role: Role, dx: float, dy: float, start: Drawing | None = None) -> bool:
        """Move a shape by pixels, in all frames alike or in those of the scope.

        Args:
            role: Which.
            dx: To the right.
            dy: Down.
            start: What the way is counted from (the drawing when a drag began); the present drawing if None.

        Returns:
            False if the shape was not drawn.
        """
        origin = start or self._drawing
        old = origin.profile if role == "profile" else origin.shapes.at(role, self._frame)
        if old is None:
            return False
        shape = self._inside(old.moved(dx, dy))
        if role == "profile" or self._scope != "all":
            self.put(role, shape)
            return True
        (old_x, old_y), (x, y) = anchors(old)[0], anchors(shape)[0]
        way = (dx, dy) if shape == old.moved(dx, dy) else (x - old_x, y - old_y)
        self._set(replace(self._drawing, shapes=moved(origin.shapes, role, *way)))
        return True

    def nudge(self, dx: float, dy: float) -> bool:
        """Move the selected shape, or its selected corner, by pixels; False if nothing is selected."""
        role = self._selected
        shape = self.shape(role) if role is not None else None
        if role is None or shape is None:
            return False
        self.remember()
        if self._corner is None:
            return self.move(role, dx, dy)
        x, y = handle_points(shape)[self._corner]
        self.put(role, dragged(shape, self._corner, (x + dx, y + dy), self.clamp))
        return True

    def resize(self, across: float, down: float) -> bool:
        """Make the selected shape wider and taller by pixels; False if nothing is selected."""
        return self._change(lambda shape: resized(shape, across, down))

    def turn(self, angle: float) -> bool:
        """Turn the selected shape by `angle` in rad, clockwise; False if nothing is selected."""
        return self._change(lambda shape: turned(shape, angle))

    def add_corner(self) -> bool:
        """Add a corner to the selected polygon after the selected one and select it; False without one."""
        role, corner = self._selected, self._corner
        shape = self.shape(role) if role is not None else None
        if role is None or corner is None or not isinstance(shape, Polygon) or isinstance(shape, Freehand):
            return False
        self.remember()
        self.put(role, with_corner_after(shape, int(corner)))
        self._corner = str(int(corner) + 1)
        self.changed.emit()
        return True

    def remove_selected(self) -> bool:
        """Delete the selected corner, the selected shape's change in this frame, or the shape.

        A shape is deleted only while changes count in all frames; its tool is armed then.

        Returns:
            False if there was nothing to delete.
        """
        role = self._selected
        shape = self.shape(role) if role is not None else None
        if role is None or shape is None:
            return False
        if self._corner is not None and isinstance(shape, Polygon):
            self.remember()
            corner, self._corner = int(self._corner), None
            self.put(role, without_corner(shape, corner))
            return True
        if role != "profile" and self._scope != "all":
            return self._remove_edit(role)
        self.remember()
        self._armed = role
        if role == "profile":
            self._set(replace(self._drawing, profile=None))
        else:
            self._set(replace(self._drawing, shapes=redrawn(self.shapes, role, None)))
        return True

    def set_line_width(self, width_px: int) -> None:
        """Average profiles over this many parallel lines, one pixel apart."""
        if width_px == self._line_width_px:
            return
        self._line_width_px = width_px
        drawing, shapes = self._drawing, self.shapes
        if drawing.profile is not None:
            drawing = replace(drawing, profile=replace(drawing.profile, width_px=width_px))
        if shapes.drawing.line is not None:
            edits = tuple(replace(edit, shapes=_with_width(edit.shapes, width_px)) for edit in shapes.edits)
            shapes = replace(shapes, drawing=_with_width(shapes.drawing, width_px), edits=edits)
        if replace(drawing, shapes=shapes) == self._drawing:
            self.changed.emit()
            return
        self.remember()
        self._set(replace(drawing, shapes=shapes))

    def set_frame_range(self, frame_range: tuple[int, int] | None) -> None:
        """Count only these frames, (first, end) from 0, for means and SDs; None counts all."""
        if frame_range == (0, self._frames):
            frame_range = None
        if frame_range != self._drawing.frame_range:
            self.remember()
            self._set(replace(self._drawing, frame_range=frame_range))

    def replace(self, drawing: Drawing, *, remember: bool = True) -> None:
        """Put another drawing in place of this one.

        Args:
            drawing: The other.
            remember: False if it only completes the last change (a region that was followed again).
        """
        if remember:
            self.remember()
        self._corner = None
        self._set(drawing)
        self._armed = self._first_missing()
        self.changed.emit()

    def undo(self) -> bool:
        """Take the last change back; False if there is none."""
        return self._travel(self._past, self._future)

    def redo(self) -> bool:
        """Do the last change that was taken back again; False if there is none."""
        return self._travel(self._future, self._past)

    def clamp(self, point: Point) -> Point:
        """The point of the image nearest to a point."""
        width, height = self._image_size
        return min(max(point[0], 0.0), width - 1.0), min(max(point[1], 0.0), height - 1.0)

    # Inside

    def _set(self, drawing: Drawing) -> None:
        if drawing == self._drawing:
            return
        self._drawing = drawing
        self._future.clear()
        self.changed.emit()
        self.shapes_changed.emit()

    def _select(self, role: Role | None) -> None:
        self._selected = role
        self._corner = None

    def _change(self, change: Callable[[Shape], Shape]) -> bool:
        role = self._selected
        shape = self.shape(role) if role is not None else None
        if role is None or shape is None:
            return False
        self.remember()
        self.put(role, change(shape))
        return True

    def _remove_edit(self, role: Literal["signal", "background", "line"]) -> bool:
        first, last = edit_span(self.shapes, role, self._frame, self._frames)
        if self._scope == "frame":
            first = last = self._frame
        without = edited(self.shapes, role, None, first, last)
        if without == self.shapes:
            return False
        self.remember()
        self._set(replace(self._drawing, shapes=without))
        return True

    def _travel(self, source: list[Drawing], target: list[Drawing]) -> bool:
        self._pending = ()
        # A press without a drag was remembered too, but it changed nothing.
        while source and source[-1] == self._drawing:
            source.pop()
        if not source:
            self.changed.emit()
            return False
        target.append(self._drawing)
        self._drawing = source.pop()
        self._corner = None
        self._armed = self._first_missing()
        self.changed.emit()
        self.shapes_changed.emit()
        return True

    def _first_missing(self) -> Role | None:
        drawing = self._drawing.shapes.drawing
        return next((role for role in MEASURED_ROLES if getattr(drawing, role) is None), None)

    def _inside(self, shape: Shape) -> Shape:
        xs, ys = zip(*anchors(shape), strict=True)
        width, height = self._image_size
        dx = max(0.0, -min(xs)) or min(0.0, width - 1.0 - max(xs))
        dy = max(0.0, -min(ys)) or min(0.0, height - 1.0 - max(ys))
        return shape.moved(dx, dy) if dx or dy else shape


def _with_width(shapes: Shapes, width_px: int) -> Shapes:
    return shapes if shapes.line is None else replace(shapes, line=replace(shapes.line, width_px=width_px))
