"""The movies of a clip beside each other on one clock and one view, with y–t profiles and a transport bar.

Everything that could differ between the movies and so tell them apart is common: the clock, zoom, pan,
window, level, scaling, the line that the y–t profiles are cut along, and the size of the panels to the pixel.
Two to six movies stand in one row or in two, whichever makes them larger; the sizes follow from the size of
this widget alone, so that nothing that the panels show can move them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QMenu,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.playback import SPEEDS, PassCounter, PlaybackClock
from app.widgets.elements import icon_button, styled_label
from app.widgets.movie_panel import MoviePanel, default_levels, whole_block
from app.widgets.view_state import ViewState
from app.widgets.yt_line import ORIENTATIONS, Orientation, YtLine
from app.widgets.yt_profile import YtProfile

Layout = Literal["auto", "row", "two_rows"]
_Part = Literal["line", "start", "end"]
LAYOUTS: tuple[Layout, ...] = ("auto", "row", "two_rows")

_PANEL_GAP = 6
_LINE_GRAB_PIXELS = 7
_DASH = 4
_SMALLEST_PROFILE_SHARE = 0.22
_LARGEST_PROFILE_SHARE = 0.38
_SMALLEST_PANEL = 100
_SMALLEST_PROFILE = 48
_TURN_DEGREES = 5.0
_LAYOUT_NAMES = {"auto": "Largest movies", "row": "One row", "two_rows": "Two rows"}
_ORIENTATION_NAMES = {"vertical": "Vertical", "horizontal": "Horizontal", "free": "Free"}


class FrameSlider(QSlider):
    """A slider over the frames, with the marks A and B."""

    def __init__(self, clock: PlaybackClock) -> None:
        """Build the slider of a clock."""
        super().__init__(Qt.Orientation.Horizontal)
        self._clock = clock
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Frame")
        self.setEnabled(False)
        self.sliderMoved.connect(clock.seek)
        clock.marks_changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the slider, then a tick at each mark and a bar between the two."""
        super().paintEvent(event)
        marks = [mark for mark in self._clock.marks if mark is not None]
        if not marks or self.maximum() < 1:
            return
        # The handle's middle runs over the width less a handle.
        handle = self.style().pixelMetric(self.style().PixelMetric.PM_SliderLength, None, self)
        places = [
            round(handle / 2 + mark / self.maximum() * (self.width() - handle)) for mark in sorted(marks)
        ]
        painter = QPainter(self)
        colour = QColor(theme.WARNING)
        for place in places:
            painter.fillRect(place - 1, 0, 2, self.height(), colour)
        if self._clock.ab_loop is not None:
            painter.fillRect(places[0], self.height() - 2, places[-1] - places[0], 2, colour)
        painter.end()


class TransportBar(QWidget):
    """Play, step, scrub, speed, a menu for what is needed now and then, and the way back to the whole image.

    No control takes the keyboard: the keys belong to the page (`PanelRow.handle_key`).

    Args:
        clock: the clock to drive.
        view_state: the view to reset.
        compact: leave out speed, step and menu, for a narrow bar.
        parent: Qt owner.
    """

    def __init__(
        self,
        clock: PlaybackClock,
        view_state: ViewState,
        *,
        compact: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        """Build the bar."""
        super().__init__(parent)
        self._clock = clock
        self._compact = compact
        self._frame_times_s: NDArray[np.float64] = np.zeros(0)
        button = partial(icon_button, size_px=20)
        self._play = button("play", "Play or pause (Space)", clock.toggle)
        self._back = button("step_back", "Previous frame (Left)", lambda: clock.step(-1))
        self._forward = button("step_forward", "Next frame (Right)", lambda: clock.step(1))
        self._slider = FrameSlider(clock)
        self._counter = styled_label("muted")
        widest = "000 / 000" if compact else "000 / 000   00.00 s"
        self._counter.setMinimumWidth(self._counter.fontMetrics().horizontalAdvance(widest))
        self._counter.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._speed = QComboBox()
        self._speed.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._speed.setAccessibleName("Speed")
        self._speed.setToolTip("Speed relative to the scan; 1 × is real time. Slower (−), faster (+)")
        for speed in SPEEDS:
            self._speed.addItem("1 × real time" if speed == 1 else f"{speed:g} ×", speed)
        self._speed.activated.connect(lambda index: clock.set_speed(self._speed.itemData(index)))
        self.menu = QMenu(self)
        self._more = button("more", "Loop, every frame, layout", self._open_menu)
        self._fill_menu(view_state)
        fit = button("fit", "Show the whole image (double click)", view_state.reset_view)
        levels = button("levels", "Reset window and level (double click, right)", view_state.reset_levels)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(0, 4, 0, 0)
        self._layout.setSpacing(4)
        for widget in (self._back, self._play, self._forward):
            self._layout.addWidget(widget)
            widget.setVisible(not compact or widget is self._play)
        self._layout.addSpacing(8)
        self._layout.addWidget(self._slider, 1)
        self._layout.addWidget(self._counter)
        self._layout.addSpacing(4 if compact else 12)
        self._layout.addWidget(self._speed)
        self._layout.addWidget(self._more)
        self._speed.setVisible(not compact)
        self._more.setVisible(not compact)
        self._layout.addSpacing(4)
        self._layout.addWidget(fit)
        self._layout.addWidget(levels)
        clock.frame_changed.connect(self._on_frame)
        clock.frames_changed.connect(self._on_frames)
        clock.playing_changed.connect(self._on_playing)
        clock.speed_changed.connect(self._on_speed)
        self._on_speed(clock.speed)
        self._on_frames(clock.frame_count)

    def add_widget(self, widget: QWidget) -> None:
        """Put a page's own control at the right end."""
        self._layout.addWidget(widget)

    def set_frame_times(self, frame_times_s: NDArray[np.float64]) -> None:
        """Take the frame times, in seconds, that the counter shows."""
        self._frame_times_s = frame_times_s
        self._on_frame(self._clock.frame)

    def _fill_menu(self, view_state: ViewState) -> None:
        clock = self._clock
        self.menu.setAccessibleName("Playback")
        self.menu.setToolTipsVisible(True)
        every_frame = self.menu.addAction("Show every frame")
        every_frame.setToolTip("No frame is left out; the movie is slower where the computer cannot keep up")
        every_frame.setCheckable(True)
        every_frame.setChecked(clock.every_frame)
        every_frame.toggled.connect(clock.set_every_frame)
        clock.every_frame_changed.connect(every_frame.setChecked)
        whole = self.menu.addAction("Whole screen pixels")
        whole.setToolTip("An image pixel covers a whole number of screen pixels; else images fill the panels")
        whole.setCheckable(True)
        whole.setChecked(view_state.integer_scaling)
        whole.toggled.connect(view_state.set_integer_scaling)
        view_state.integer_scaling_changed.connect(whole.setChecked)
        self.menu.addSeparator()
        self.menu.addAction("Loop from this frame (A)").triggered.connect(clock.set_a)
        self.menu.addAction("Loop to this frame (B)").triggered.connect(clock.set_b)
        clear = self.menu.addAction("Play the whole clip")
        clear.triggered.connect(clock.clear_ab)
        clear.setEnabled(False)
        clock.marks_changed.connect(lambda: clear.setEnabled(clock.marks != (None, None)))

    def _open_menu(self) -> None:
        corner = self._more.mapToGlobal(self._more.rect().topRight())
        size = self.menu.sizeHint()
        # The bar is at the foot of the page: the menu opens upwards.
        self.menu.popup(corner - QPointF(size.width(), size.height()).toPoint())

    def _on_frames(self, count: int) -> None:
        self._slider.setRange(0, max(count - 1, 0))
        for control in (self._slider, self._play, self._back, self._forward, self._more):
            control.setEnabled(count > 1)
        self._on_frame(self._clock.frame)

    def _on_frame(self, frame: int) -> None:
        self._slider.setValue(frame)
        count = self._clock.frame_count
        if not count:
            self._counter.setText("")
            return
        if self._compact:
            self._counter.setText(f"{frame + 1} / {count}")
            return
        times_s = self._frame_times_s
        time_s = (
            float(times_s[frame] - times_s[0])
            if frame < len(times_s)
            else frame * self._clock.frame_interval_s
        )
        self._counter.setText(f"{frame + 1} / {count}   {time_s:.2f} s")

    def _on_playing(self, playing: bool) -> None:
        self._play.setIcon(theme.icon("pause" if playing else "play"))

    def _on_speed(self, speed: float) -> None:
        self._speed.setPlaceholderText(f"{speed:g} ×")
        self._speed.setCurrentIndex(self._speed.findData(speed))


@dataclass(frozen=True)
class Arrangement:
    """Where panels stand: how many in a row, and how large a panel and its profile are in widget pixels."""

    columns: int
    rows: int
    width: int
    panel_height: int
    profile_height: int

    @classmethod
    def best(
        cls,
        area: QSize,
        panels: int,
        image: tuple[float, float],
        *,
        layout: Layout = "auto",
        profiles: bool = True,
        footer_height: Callable[[int], int] = lambda _width: 0,
        device_pixel_ratio: float = 1.0,
        block: tuple[int, int] | None = None,
    ) -> Arrangement:
        """The arrangement that shows an image largest.

        Args:
            area: for panels, profiles and footers.
            panels: how many.
            image: width and height of the image in pixels as wide as they are.
            layout: one row, two rows, or the better of the two; one panel always stands alone.
            profiles: whether each panel has a profile below it.
            footer_height: how high a footer is at a width.
            device_pixel_ratio: screen pixels per widget pixel.
            block: screen pixels that the image's pixels cover a multiple of; None if they may cover any.

        Returns:
            One row if two are not larger.
        """
        rows = {"row": (1,), "two_rows": (min(2, panels),)}.get(layout, (1, 2) if panels > 1 else (1,))
        tried: list[tuple[float, Arrangement]] = []
        for count in rows:
            columns = -(-panels // count)
            width = max((area.width() - _PANEL_GAP * (columns - 1)) // columns, 1)
            height = (area.height() - _PANEL_GAP * (count - 1)) // count
            footer = footer_height(width)
            height -= footer + _PANEL_GAP if footer else 0
            found = cls._of_cell(columns, count, width, max(height, 1), image, profiles)
            scale = min(found.width / image[0], found.panel_height / image[1]) * device_pixel_ratio
            if block is not None and scale >= block[0]:
                scale = float(scale // block[0] * block[0])
            tried.append((scale, found))
        return max(tried, key=lambda item: item[0])[1]

    @classmethod
    def _of_cell(
        cls, columns: int, rows: int, width: int, height: int, image: tuple[float, float], profiles: bool
    ) -> Arrangement:
        """Give the movie the height that its width can fill and the profile the rest, within limits."""
        if not profiles:
            return cls(columns, rows, width, height, 0)
        available = max(height - _PANEL_GAP, 2)
        share = (available - width * image[1] / image[0]) / available
        share = min(max(share, _SMALLEST_PROFILE_SHARE), _LARGEST_PROFILE_SHARE)
        profile = max(round(available * share), 1)
        return cls(columns, rows, width, available - profile, profile)

    def corner(self, position: int, panels: int, area: QSize, footer_height: int) -> tuple[int, int]:
        """Upper left corner of a panel; a last row that is not full stands in the middle."""
        row, column = divmod(position, self.columns)
        in_row = min(self.columns, panels - row * self.columns)
        step = self.width + _PANEL_GAP
        left = (area.width() - in_row * step + _PANEL_GAP) // 2
        height = self.panel_height + (self.profile_height + _PANEL_GAP if self.profile_height else 0)
        height += footer_height + _PANEL_GAP if footer_height else 0
        return left + column * step, row * (height + _PANEL_GAP)


class _PanelArea(QWidget):
    """Holds panels, profiles and footers where its owner puts them."""

    def __init__(self, arrange: Callable[[], None], smallest: Callable[[], QSize], parent: QWidget) -> None:
        super().__init__(parent)
        self._arrange = arrange
        self._smallest = smallest

    def sizeHint(self) -> QSize:  # noqa: N802
        return self._smallest() * 2

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self._smallest()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._arrange()

    def event(self, event: QEvent) -> bool:
        # A footer with more text asks for more room by a layout request.
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.DevicePixelRatioChange):
            self._arrange()
        return super().event(event)


class PanelRow(QWidget):
    """k movies side by side, the y–t profile of each below it, and a transport bar.

    Args:
        clock: the clock of all movies; a private one if None.
        view_state: the view of all movies; a private one if None.
        compact: a transport bar for a narrow row, and movies that fill their panels.
        parent: Qt owner.
    """

    column_changed = Signal(int)

    line_changed = Signal(object)
    """The common y–t line is another `YtLine`."""

    jumped = Signal(int)
    """A click in a y–t profile went to this frame; whether the movies play has not changed."""

    layout_changed = Signal(str)

    loop_completed = Signal(int)
    """Every panel has painted every frame so many times."""

    def __init__(
        self,
        clock: PlaybackClock | None = None,
        view_state: ViewState | None = None,
        *,
        compact: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        """Start without panels."""
        super().__init__(parent)
        self.clock = clock if clock is not None else PlaybackClock(self)
        if self.clock.parent() is None:  # it must not outlive what it looks at
            self.clock.setParent(self)
        self.view_state = view_state if view_state is not None else ViewState(self)
        if compact:
            self.view_state.set_integer_scaling(False)
        self.panels: list[MoviePanel] = []
        self.profiles: list[YtProfile] = []
        self._footers: list[QWidget] = []
        self._layout: Layout = "auto"
        self._line = YtLine.column(0, self.view_state.image_size)
        self._dragged: _Part | None = None
        self._drag_from = (0.0, 0.0)
        self._profiles_visible = True
        self._line_visible = True
        self._seen = PassCounter(0, 0)
        self._loops_told = 0
        self.transport = TransportBar(self.clock, self.view_state, compact=compact, parent=self)
        self._area = _PanelArea(self._arrange, self._smallest_area, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._area, 1)
        layout.addWidget(self.transport)
        self._fill_menu()
        self.clock.watch_painting(self._all_painted)
        self.clock.frame_changed.connect(self._show_frame)
        self.clock.frames_changed.connect(self._forget_seen)
        self.clock.marks_changed.connect(self._show_marks)
        self.view_state.changed.connect(self._match_profiles)
        self.view_state.integer_scaling_changed.connect(self._arrange)

    # What was seen

    @property
    def loops_per_panel(self) -> list[int]:
        """How often each panel has painted every frame of the clip, since the clip was set.

        A frame that was skipped, or lies outside a loop from A to B, keeps the pass open until it is painted.
        """
        return self._seen.passes

    @property
    def unseen_per_panel(self) -> list[int]:
        """How many frames each panel has still to paint for its next pass."""
        return self._seen.unseen

    @property
    def loops_completed(self) -> int:
        """The smallest of `loops_per_panel`; 0 without panels."""
        return min(self._seen.passes, default=0)

    @property
    def frames_shown(self) -> int:
        """Frames that all panels painted while playing, since the clip was set."""
        return self.clock.frames_shown

    @property
    def frames_skipped(self) -> int:
        """Frames that were due while playing and that not every panel painted, since the clip was set."""
        return self.clock.frames_skipped

    # The clock

    def set_speed(self, speed: float) -> None:
        """Play `speed` times as fast as the scan was.

        Raises:
            ValueError: if the speed is not positive and finite.
        """
        self.clock.set_speed(speed)

    def set_every_frame(self, every_frame: bool) -> None:
        """Show each frame once, however long that takes, or keep the time and skip what was missed."""
        self.clock.set_every_frame(every_frame)

    def set_a(self) -> None:
        """Let the part to be played begin at the frame on the screen."""
        self.clock.set_a()

    def set_b(self) -> None:
        """Let the part to be played end at the frame on the screen."""
        self.clock.set_b()

    def clear_ab(self) -> None:
        """Play the whole clip."""
        self.clock.clear_ab()

    # The clip

    def set_clip(
        self,
        display: NDArray[Any] | Sequence[NDArray[Any] | None],
        labels: Sequence[str],
        frame_times_s: NDArray[np.float64],
        *,
        pixel_spacing_mm: tuple[float, float] = (1.0, 1.0),
        keep_view: bool = False,
    ) -> None:
        """Show k movies of equal size, paused on their first frame.

        Args:
            display: (k, t, y, x) uint8 (shown as they are) or float (one common grey range); or a sequence of
                k movies, of which some may be None (an empty panel, for a movie that is still being made).
            labels: the k corner labels.
            frame_times_s: (t,) times of the frames in seconds.
            pixel_spacing_mm: (y, x) size of a pixel.
            keep_view: keep zoom, levels and column if the new clip has the same image size.

        Raises:
            ValueError: if movies, labels and times do not fit each other.
        """
        movies = list(display)
        times_s = np.asarray(frame_times_s, dtype=np.float64)
        if len(movies) != len(labels):
            raise ValueError(f"{len(movies)} movies cannot carry {len(labels)} labels.")
        shapes = {movie.shape for movie in movies if movie is not None}
        if len(shapes) > 1 or any(len(shape) != 3 or shape[0] != len(times_s) for shape in shapes):  # noqa: PLR2004
            raise ValueError(
                f"The movies of a clip must all be ({len(times_s)}, y, x), not {sorted(shapes)}."
            )
        self._make_panels(len(movies))
        present = [movie for movie in movies if movie is not None]
        if present:
            self._adopt_geometry(display, present, pixel_spacing_mm, keep_view)
        for panel, profile, movie, label in zip(self.panels, self.profiles, movies, labels, strict=True):
            panel.set_label(label)
            panel.set_message("")
            panel.set_frames(movie)
            profile.setAccessibleName(f"y–t profile {label}")
            profile.set_frames(movie, times_s)
            profile.set_line(self._line)
        if present:
            set_times(self.clock, times_s)
        else:
            self.clock.set_frames(0, 1.0)
        self.transport.set_frame_times(times_s)
        self._arrange()

    def clear(self) -> None:
        """Show nothing."""
        self.set_clip([], [], np.zeros(0))

    def set_placeholders(self, labels: Sequence[str], messages: Sequence[str]) -> None:
        """Show empty panels with a sentence in each."""
        self.set_clip([None] * len(labels), labels, np.zeros(0))
        for panel, message in zip(self.panels, messages, strict=True):
            panel.set_message(message)

    # The y–t line

    @property
    def line(self) -> YtLine:
        """The line that all y–t profiles are cut along."""
        return self._line

    @property
    def column(self) -> int:
        """The image column of the line, or of the middle of a line that is not a column."""
        return round(self._line.middle[0])

    def set_line(self, line: YtLine) -> None:
        """Cut the y–t profiles along another line; one that leaves the image is brought into it."""
        line = line.within(self.view_state.image_size)
        if line == self._line:
            return
        column = self.column
        self._line = line
        for profile in self.profiles:
            profile.set_line(line)
        self._match_profiles()
        for panel in self.panels:
            panel.update()
        for orientation, action in self._orientation_actions.items():
            action.setChecked(orientation == line.orientation)
        if self.column != column:
            self.column_changed.emit(self.column)
        self.line_changed.emit(line)

    def set_column(self, column: int) -> None:
        """Cut the y–t profiles along an image column."""
        self.set_line(YtLine.column(column, self.view_state.image_size))

    def set_line_orientation(self, orientation: Orientation) -> None:
        """Turn the line, keeping its middle."""
        self.set_line(self._line.turned_to(orientation, self.view_state.image_size))

    def next_line_orientation(self) -> None:
        """Turn the line from vertical to horizontal to free."""
        place = ORIENTATIONS.index(self._line.orientation)
        self.set_line_orientation(ORIENTATIONS[(place + 1) % len(ORIENTATIONS)])

    def move_line(self, right: int, down: int) -> None:
        """Move the line by pixels; a column moves sideways only, a row up and down."""
        self.set_line(self._line.moved(right, down, self.view_state.image_size))

    def turn_line(self, degrees: float) -> None:
        """Turn a free line clockwise about its middle."""
        self.set_line(self._line.turned_by(degrees, self.view_state.image_size))

    # Layout

    @property
    def panel_layout(self) -> Layout:
        """How the panels are to be laid out."""
        return self._layout

    @property
    def panel_rows(self) -> int:
        """In how many rows the panels stand."""
        return self._arrangement().rows

    @property
    def device_pixels_per_pixel(self) -> tuple[float, float]:
        """Screen pixels that an image pixel covers in x and y in every panel; (0, 0) without panels."""
        return self.panels[0].device_pixels_per_pixel if self.panels else (0.0, 0.0)

    def set_layout(self, layout: Layout) -> None:
        """Lay the panels out in one row, in two, or as makes the movies largest ("auto").

        Raises:
            ValueError: if the layout has another name.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"A layout is one of {', '.join(LAYOUTS)}, not {layout!r}.")
        if layout != self._layout:
            self._layout = layout
            self._layout_actions[layout].setChecked(True)
            self._arrange()
            self._area.updateGeometry()
            self.layout_changed.emit(layout)

    def set_integer_scaling(self, integer_scaling: bool) -> None:
        """Let an image pixel cover a whole number of screen pixels, or let the movies fill their panels."""
        self.view_state.set_integer_scaling(integer_scaling)

    def set_profiles_visible(self, visible: bool) -> None:
        """Show or hide the y–t profiles together with their line."""
        self._profiles_visible = visible
        self._line_visible = visible
        for profile in self.profiles:
            profile.setVisible(visible)
        self._arrange()
        self._area.updateGeometry()
        for panel in self.panels:
            panel.update()

    def set_footers(self, footers: Sequence[QWidget]) -> None:
        """Put a page's own widget (rank buttons, say) below each panel; replaces the earlier ones.

        A page that changes the number of panels sets them after the panels.
        """
        for footer in self._footers:
            if footer not in footers:
                footer.hide()
                footer.deleteLater()
        self._footers = list(footers)
        for footer in self._footers:
            if footer.parent() is not self._area:
                footer.setParent(self._area)
                footer.show()
        self._arrange()
        self._area.updateGeometry()

    # Keys

    def handle_key(self, event: QKeyEvent) -> bool:
        """Do what a playback key asks; pages call this from their `keyPressEvent`.

        Space plays or pauses, Left/Right or comma/period step, minus/plus change the speed, Home goes to
        frame 0, square brackets set A and B and a backslash clears them, V shows every frame. Shift with an
        arrow moves the y–t line, L turns it, and Shift with page up or down turns a free one. G changes the
        layout, and P between whole screen pixels and filled panels.

        Returns:
            Whether the key was one of these.
        """
        commands = event.modifiers() & _COMMANDS
        # Where AltGr makes square brackets, Windows calls it Ctrl and Alt.
        action = _TEXT_ACTIONS.get(event.text().upper()) if not commands or commands == _ALT_GR else None
        if action is None and commands:
            return False
        if action is None:
            key = Qt.Key(event.key())
            shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            action = (_SHIFT_ACTIONS if shift else _KEY_ACTIONS).get(key) or _ANY_ACTIONS.get(key)
        if action is None:
            return False
        action(self)
        return True

    # Building

    def _fill_menu(self) -> None:
        menu = self.transport.menu
        menu.addSeparator()
        self._orientation_actions = _choices(
            menu.addMenu("y–t line"), _ORIENTATION_NAMES, self._line.orientation, self.set_line_orientation
        )
        self._layout_actions = _choices(menu.addMenu("Layout"), _LAYOUT_NAMES, self._layout, self.set_layout)

    def _make_panels(self, count: int) -> None:
        while len(self.panels) > count:
            for widget in (self.panels.pop(), self.profiles.pop()):
                widget.hide()
                widget.deleteLater()
        while len(self.panels) < count:
            panel = MoviePanel("", self.view_state, self._area)
            panel.add_overlay(self._paint_line)
            panel.add_mouse_handler(self._drag_line)
            panel.frame_painted.connect(partial(self._on_painted, panel))
            profile = YtProfile(self.view_state, self._area)
            profile.seek_requested.connect(self._jump)
            panel.show()
            profile.setVisible(self._profiles_visible)
            self.panels.append(panel)
            self.profiles.append(profile)
        self._area.updateGeometry()

    def _adopt_geometry(
        self,
        display: NDArray[Any] | Sequence[NDArray[Any] | None],
        present: list[NDArray[Any]],
        pixel_spacing_mm: tuple[float, float],
        keep_view: bool,
    ) -> None:
        if isinstance(display, np.ndarray):
            window, level = default_levels(display)
        else:
            ranges = [default_levels(movie) for movie in present]
            high = max(level + window / 2 for window, level in ranges)
            low = min(level - window / 2 for window, level in ranges)
            window, level = high - low, (high + low) / 2
        height, width = present[0].shape[1:]
        kept = keep_view and (width, height) == self.view_state.image_size
        aspect = pixel_spacing_mm[0] / pixel_spacing_mm[1]
        self.view_state.set_image(
            width, height, pixel_aspect=aspect, window=window, level=level, keep=keep_view
        )
        if not kept:
            self.set_line(_first_line(self._line.orientation, (width, height)))

    def _show_frame(self, frame: int) -> None:
        for panel in self.panels:
            panel.show_frame(frame)
        for profile in self.profiles:
            profile.show_frame(frame)

    def _show_marks(self) -> None:
        marks = self.clock.ab_loop or self.clock.marks
        for profile in self.profiles:
            profile.set_marks(marks)

    def _jump(self, frame: int) -> None:
        self.clock.seek(frame)
        self.jumped.emit(frame)

    # What was painted

    def _forget_seen(self, count: int) -> None:
        self._seen = PassCounter(count, len(self.panels))
        self._loops_told = 0
        for panel in self.panels:
            panel.paint_again()

    def _on_painted(self, panel: MoviePanel, frame: int) -> None:
        if panel not in self.panels or frame != self.clock.frame:
            return
        if self._seen.see(self.panels.index(panel), frame) and self.loops_completed > self._loops_told:
            # The window is being painted: others are told when that is over.
            QTimer.singleShot(0, self, self._tell_loops)

    def _tell_loops(self) -> None:
        if self.loops_completed > self._loops_told:
            self._loops_told = self.loops_completed
            self.loop_completed.emit(self._loops_told)

    def _all_painted(self) -> bool:
        """Whether the frame due has come to the screen; what is not on the screen need not be waited for."""
        return all(panel.painted for panel in self.panels if panel.frames is not None and panel.isVisible())

    # Placing

    def _arrangement(self) -> Arrangement:
        width, height = self.view_state.image_size
        aspect = self.view_state.pixel_aspect
        ratio = self.devicePixelRatioF()
        return Arrangement.best(
            self._area.size(),
            max(len(self.panels), 1),
            (width, height * aspect),
            layout=self._layout,
            profiles=self._profiles_visible,
            footer_height=self._footer_height,
            device_pixel_ratio=ratio,
            block=whole_block(aspect, 64) if self.view_state.integer_scaling else None,
        )

    def _footer_height(self, width: int) -> int:
        return max((_height_of(footer, width) for footer in self._footers), default=0)

    def _arrange(self) -> None:
        """Place everything: all panels have the same size, to the pixel."""
        placed = self._arrangement()
        footer_height = self._footer_height(placed.width)
        size = self._area.size()
        for position, (panel, profile) in enumerate(zip(self.panels, self.profiles, strict=True)):
            left, top = placed.corner(position, len(self.panels), size, footer_height)
            panel.setGeometry(left, top, placed.width, placed.panel_height)
            top += placed.panel_height + _PANEL_GAP
            if placed.profile_height:
                profile.setGeometry(left, top, placed.width, placed.profile_height)
                top += placed.profile_height + _PANEL_GAP
            if position < len(self._footers):
                self._footers[position].setGeometry(left, top, placed.width, footer_height)
        self._match_profiles()

    def _smallest_area(self) -> QSize:
        count = max(len(self.panels), 1)
        rows = 2 if self._layout == "two_rows" and count > 1 else 1
        columns = -(-count // rows)
        height = _SMALLEST_PANEL + (_SMALLEST_PROFILE + _PANEL_GAP if self._profiles_visible else 0)
        footer = self._footer_height(max(self._arrangement().width, _SMALLEST_PANEL))
        height += footer + _PANEL_GAP if footer else 0
        return QSize(
            columns * (_SMALLEST_PANEL + _PANEL_GAP) - _PANEL_GAP, rows * (height + _PANEL_GAP) - _PANEL_GAP
        )

    def _match_profiles(self) -> None:
        """Show in the profiles the part of the line that the panels show; of a free line, all."""
        if not self.panels:
            return
        span: tuple[float, float] | None = None
        if self._line.orientation == "vertical":
            span = self.panels[0].visible_rows()
        elif self._line.orientation == "horizontal":
            span = self.panels[0].visible_columns()
        for profile in self.profiles:
            profile.set_span(span)

    # The line on the panels

    def _paint_line(self, painter: QPainter, panel: MoviePanel) -> None:
        if not self._line_visible:
            return
        first, second = self._ends_on(panel)
        # Opaque colours only: Qt hands half-transparent ones, row by row, to threads that it then waits for,
        # which takes milliseconds on a busy computer, and this is done at every frame.
        free = self._line.orientation == "free"
        if free:
            painter.setPen(QPen(QColor(theme.ACCENT), 0))
            painter.drawLine(first, second)
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.ACCENT))
            painter.drawRects(_dashes(first, second))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.ACCENT))
        if free:
            # The start is a full disc, since it is on top in the profile; the end is a ring.
            painter.drawEllipse(first, 4, 4)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(theme.ACCENT), 1.5))
            painter.drawEllipse(second, 4, 4)
            return
        for end, inwards in ((first, second), (second, first)):
            painter.drawPolygon(_arrow(end, inwards))

    def _ends_on(self, panel: MoviePanel) -> tuple[QPointF, QPointF]:
        """The ends of the line in a panel; of a column or a row, where it meets the border."""
        first, second = panel.image_to_widget(*self._line.start), panel.image_to_widget(*self._line.end)
        image = panel.image_rectangle()
        if self._line.orientation == "vertical":
            first.setY(max(image.top(), 0.0))
            second.setY(min(image.bottom(), float(panel.height())))
        elif self._line.orientation == "horizontal":
            first.setX(max(image.left(), 0.0))
            second.setX(min(image.right(), float(panel.width())))
        return first, second

    def _drag_line(self, event: QMouseEvent, panel: MoviePanel) -> bool:
        if not self._line_visible or panel.frames is None:
            return False
        kind = event.type()
        if self._dragged is not None and kind == QEvent.Type.MouseMove:
            self._drag_to(panel.widget_to_image(event.position()))
            return True
        if self._dragged is not None and kind == QEvent.Type.MouseButtonRelease:
            self._dragged = None
            return True
        near = self._part_under(event.position(), panel)
        if kind == QEvent.Type.MouseMove:
            panel.setCursor(self._cursor_over(near))
        elif kind == QEvent.Type.MouseButtonPress and event.button() == Qt.MouseButton.LeftButton and near:
            self._dragged = near
            self._drag_from = panel.widget_to_image(event.position())
            return True
        return False

    def _part_under(self, position: QPointF, panel: MoviePanel) -> _Part | None:
        first, second = self._ends_on(panel)
        if self._line.orientation == "free":
            ends: tuple[tuple[_Part, QPointF], ...] = (("start", first), ("end", second))
            for part, end in ends:
                if (position - end).manhattanLength() <= _LINE_GRAB_PIXELS * 1.5:
                    return part
        return "line" if _distance(position, first, second) <= _LINE_GRAB_PIXELS else None

    def _cursor_over(self, part: _Part | None) -> Qt.CursorShape:
        if part is None:
            return Qt.CursorShape.ArrowCursor
        if self._line.orientation == "vertical":
            return Qt.CursorShape.SplitHCursor
        if self._line.orientation == "horizontal":
            return Qt.CursorShape.SplitVCursor
        return Qt.CursorShape.SizeAllCursor if part == "line" else Qt.CursorShape.CrossCursor

    def _drag_to(self, point: tuple[float, float]) -> None:
        size = self.view_state.image_size
        if self._dragged == "start" or self._dragged == "end":  # noqa: PLR1714 - narrows the type
            self.set_line(self._line.with_end(self._dragged, point, size))
        elif self._line.orientation == "vertical":
            self.set_line(YtLine.column(point[0], size))
        elif self._line.orientation == "horizontal":
            self.set_line(YtLine.row(point[1], size))
        else:
            # By whole pixels, so that ends that lie on pixels stay on pixels.
            right, down = round(point[0] - self._drag_from[0]), round(point[1] - self._drag_from[1])
            self._drag_from = (self._drag_from[0] + right, self._drag_from[1] + down)
            self.set_line(self._line.moved(right, down, size))


def set_times(clock: PlaybackClock, frame_times_s: NDArray[np.float64]) -> None:
    """Give a clock a clip's frame times, in seconds; times that do not rise are taken as evenly spaced."""
    steps_s = np.diff(frame_times_s)
    if not len(steps_s):
        clock.set_frames(len(frame_times_s), 1.0)
    elif np.all(np.isfinite(steps_s)) and steps_s.min() > 0:
        clock.set_frames(len(frame_times_s), float(np.median(steps_s)), frame_times_s.tolist())
    else:
        interval_s = float(np.median(steps_s))
        clock.set_frames(len(frame_times_s), interval_s if interval_s > 0 else 1.0)


def _first_line(orientation: Orientation, image_size: tuple[int, int]) -> YtLine:
    """The line that a new clip starts with: through the middle of the image."""
    width, height = image_size
    if orientation == "horizontal":
        return YtLine.row(height // 2, image_size)
    return YtLine.column(width // 2, image_size).turned_to(orientation, image_size)


def _choices(
    menu: QMenu, names: dict[str, str], chosen: str, choose: Callable[[Any], None]
) -> dict[str, QAction]:
    """One entry a name, of which one is chosen."""
    group = QActionGroup(menu)
    actions = {}
    for value, name in names.items():
        action = menu.addAction(name)
        action.setCheckable(True)
        action.setChecked(value == chosen)
        action.triggered.connect(lambda _checked=False, value=value: choose(value))
        group.addAction(action)
        actions[value] = action
    return actions


def _dashes(first: QPointF, second: QPointF) -> list[QRect]:
    """An upright or level dashed line, one pixel wide, as rectangles."""
    left, top = round(first.x() - 0.5), round(first.y())
    if first.x() == second.x():
        return [QRect(left, y, 1, _DASH) for y in range(top, round(second.y()), 2 * _DASH)]
    left, top = round(first.x()), round(first.y() - 0.5)
    return [QRect(x, top, _DASH, 1) for x in range(left, round(second.x()), 2 * _DASH)]


def _arrow(end: QPointF, inwards: QPointF) -> QPolygonF:
    """A small triangle at the end of an upright or level line, pointing along it."""
    if end.x() == inwards.x():
        tip = 7 if inwards.y() > end.y() else -7
        return QPolygonF([end + QPointF(-5, 0), end + QPointF(5, 0), end + QPointF(0, tip)])
    tip = 7 if inwards.x() > end.x() else -7
    return QPolygonF([end + QPointF(0, -5), end + QPointF(0, 5), end + QPointF(tip, 0)])


def _distance(point: QPointF, first: QPointF, second: QPointF) -> float:
    """Distance of a point from the stretch between two points."""
    along = second - first
    length = QPointF.dotProduct(along, along)
    share = QPointF.dotProduct(point - first, along) / length if length > 0 else 0.0
    rest = point - (first + along * min(max(share, 0.0), 1.0))
    return float(QPointF.dotProduct(rest, rest) ** 0.5)


def _height_of(widget: QWidget, width: float) -> int:
    """How high a widget wants to be at a width; wrapped text is higher in a narrow column."""
    wrapped = widget.heightForWidth(int(width))
    return wrapped if wrapped >= 0 else widget.sizeHint().height()


_COMMANDS = (
    Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
)
_ALT_GR = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
_TEXT_ACTIONS: dict[str, Callable[[PanelRow], object]] = {
    ",": lambda row: row.clock.step(-1),
    ".": lambda row: row.clock.step(1),
    "-": lambda row: row.clock.slower(),
    "+": lambda row: row.clock.faster(),
    "=": lambda row: row.clock.faster(),
    "[": PanelRow.set_a,
    "]": PanelRow.set_b,
    "\\": PanelRow.clear_ab,
    "V": lambda row: row.set_every_frame(not row.clock.every_frame),
    "L": PanelRow.next_line_orientation,
    "G": lambda row: row.set_layout(LAYOUTS[(LAYOUTS.index(row.panel_layout) + 1) % len(LAYOUTS)]),
    "P": lambda row: row.set_integer_scaling(not row.view_state.integer_scaling),
}
_ANY_ACTIONS: dict[Qt.Key, Callable[[PanelRow], object]] = {
    Qt.Key.Key_Space: lambda row: row.clock.toggle(),
    Qt.Key.Key_Home: lambda row: row.clock.seek(0),
}
_KEY_ACTIONS: dict[Qt.Key, Callable[[PanelRow], object]] = {
    Qt.Key.Key_Left: lambda row: row.clock.step(-1),
    Qt.Key.Key_Right: lambda row: row.clock.step(1),
}
_SHIFT_ACTIONS: dict[Qt.Key, Callable[[PanelRow], object]] = {
    Qt.Key.Key_Left: lambda row: row.move_line(-1, 0),
    Qt.Key.Key_Right: lambda row: row.move_line(1, 0),
    Qt.Key.Key_Up: lambda row: row.move_line(0, -1),
    Qt.Key.Key_Down: lambda row: row.move_line(0, 1),
    Qt.Key.Key_PageUp: lambda row: row.turn_line(-_TURN_DEGREES),
    Qt.Key.Key_PageDown: lambda row: row.turn_line(_TURN_DEGREES),
}
