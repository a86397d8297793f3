"""The 3×1 panel: movies side by side on one clock and one view, with their y–t profiles and a transport bar.

Everything that could differ between the movies and so tell them apart is common: the clock, zoom, pan,
window, level, interpolation, the column that the y–t profiles are cut along, and the size of the panels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.playback import SPEEDS, PlaybackClock
from app.widgets.elements import icon_button, styled_label
from app.widgets.movie_panel import MoviePanel, default_levels
from app.widgets.view_state import ViewState
from app.widgets.yt_profile import YtProfile

_PANEL_GAP = 6
_LINE_GRAB_PIXELS = 7
_SMALLEST_PROFILE_SHARE = 0.22
_LARGEST_PROFILE_SHARE = 0.38


class TransportBar(QWidget):
    """Play, step, scrub, speed, and the way back to the whole image and to the clip's own grey levels.

    No control takes the keyboard: the keys belong to the page (`PanelRow.handle_key`).

    Args:
        clock: the clock to drive.
        view_state: the view to reset.
        compact: leave out speed and step, for a narrow bar.
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
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._slider.setAccessibleName("Frame")
        self._slider.setEnabled(False)
        self._slider.sliderMoved.connect(clock.seek)
        self._counter = styled_label("muted")
        widest = "000 / 000" if compact else "000 / 000   00.00 s"
        self._counter.setMinimumWidth(self._counter.fontMetrics().horizontalAdvance(widest))
        self._counter.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._speed = QComboBox()
        self._speed.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._speed.setAccessibleName("Speed")
        self._speed.setToolTip("Speed relative to the scan: slower (−), faster (+)")
        for speed in SPEEDS:
            self._speed.addItem(f"{speed:g} ×", speed)
        self._speed.activated.connect(lambda index: clock.set_speed(self._speed.itemData(index)))
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
        self._speed.setVisible(not compact)
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

    def _on_frames(self, count: int) -> None:
        self._slider.setRange(0, max(count - 1, 0))
        for control in (self._slider, self._play, self._back, self._forward):
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
        self._speed.setCurrentIndex(self._speed.findData(speed))


class PanelRow(QWidget):
    """k movies side by side, the y–t profile of each below it, and a transport bar.

    Args:
        clock: the clock of all movies; a private one if None.
        view_state: the view of all movies; a private one if None.
        compact: a transport bar for a narrow row.
        parent: Qt owner.
    """

    column_changed = Signal(int)

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
        self.view_state = view_state if view_state is not None else ViewState(self)
        self.panels: list[MoviePanel] = []
        self.profiles: list[YtProfile] = []
        self._footers: list[QWidget] = []
        self._column = 0
        self._dragging_line = False
        self._profiles_visible = True
        self._line_visible = True
        self.transport = TransportBar(self.clock, self.view_state, compact=compact, parent=self)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(_PANEL_GAP)
        self._grid.setVerticalSpacing(_PANEL_GAP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._grid, 1)
        layout.addWidget(self.transport)
        self.clock.frame_changed.connect(self._show_frame)
        self.view_state.changed.connect(self._match_rows)
        self._balance_rows()

    @property
    def column(self) -> int:
        """The image column of the y–t profiles."""
        return self._column

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
            profile.set_column(self._column)
        interval_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
        self.clock.set_frames(len(times_s) if present else 0, interval_s if interval_s > 0 else 1.0)
        self.transport.set_frame_times(times_s)
        self._balance_rows()
        self._match_rows()

    def clear(self) -> None:
        """Show nothing."""
        self.set_clip([], [], np.zeros(0))

    def set_placeholders(self, labels: Sequence[str], messages: Sequence[str]) -> None:
        """Show empty panels with a sentence in each."""
        self.set_clip([None] * len(labels), labels, np.zeros(0))
        for panel, message in zip(self.panels, messages, strict=True):
            panel.set_message(message)

    def set_column(self, column: int) -> None:
        """Move the common line of the y–t profiles to an image column."""
        column = min(max(int(column), 0), self.view_state.image_size[0] - 1)
        if column == self._column:
            return
        self._column = column
        for profile in self.profiles:
            profile.set_column(column)
        for panel in self.panels:
            panel.update()
        self.column_changed.emit(column)

    def set_profiles_visible(self, visible: bool) -> None:
        """Show or hide the y–t profiles together with their line."""
        self._profiles_visible = visible
        self._line_visible = visible
        for profile in self.profiles:
            profile.setVisible(visible)
        self._balance_rows()
        for panel in self.panels:
            panel.update()

    def set_footers(self, footers: Sequence[QWidget]) -> None:
        """Put a page's own widget (rank buttons, say) below each panel; replaces the earlier ones.

        A page that changes the number of panels sets them after the panels.
        """
        for footer in self._footers:
            self._grid.removeWidget(footer)
            if footer not in footers:
                footer.deleteLater()
        self._footers = list(footers)
        for position, footer in enumerate(self._footers):
            self._grid.addWidget(footer, 2, position)
        self._balance_rows()

    def handle_key(self, event: QKeyEvent) -> bool:
        """Do what a playback key asks; pages call this from their `keyPressEvent`.

        Space plays or pauses, Left/Right or comma/period step, minus/plus change the speed, Home goes to
        frame 0.

        Returns:
            Whether the key was one of these.
        """
        action = _KEY_ACTIONS.get(Qt.Key(event.key()))
        if action is None or event.modifiers() & (
            Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
        ):
            return False
        action(self.clock)
        return True

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Share the height between movies and profiles."""
        super().resizeEvent(event)
        self._balance_rows()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow the first panel's size, which settles after this widget's own resize."""
        if self.panels and watched is self.panels[0] and event.type() == QEvent.Type.Resize:
            self._match_rows()
        return super().eventFilter(watched, event)

    def _make_panels(self, count: int) -> None:
        while len(self.panels) > count:
            for widget in (self.panels.pop(), self.profiles.pop()):
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
            self._grid.setColumnStretch(len(self.panels), 0)
        while len(self.panels) < count:
            position = len(self.panels)
            panel = MoviePanel("", self.view_state, self)
            panel.add_overlay(self._paint_line)
            panel.add_mouse_handler(self._drag_line)
            panel.installEventFilter(self)
            profile = YtProfile(self.view_state, self)
            profile.seek_requested.connect(self.clock.seek)
            profile.setVisible(self._profiles_visible)
            self._grid.addWidget(panel, 0, position)
            self._grid.addWidget(profile, 1, position)
            self._grid.setColumnStretch(position, 1)
            self.panels.append(panel)
            self.profiles.append(profile)

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
            self._column = -1
            self.set_column(width // 2)

    def _show_frame(self, frame: int) -> None:
        for panel in self.panels:
            panel.show_frame(frame)
        for profile in self.profiles:
            profile.show_frame(frame)

    def _balance_rows(self) -> None:
        """Give the movies the height that their width can fill, and the profiles the rest, within limits."""
        width, height = self.view_state.image_size
        panel_width = self.width() / max(len(self.panels), 1)
        fitting = panel_width * height * self.view_state.pixel_aspect / width
        available = self.height() - self.transport.sizeHint().height()
        available -= max((_height_of(footer, panel_width) for footer in self._footers), default=0)
        share = (available - fitting) / available if available > 0 else 0.0
        share = (
            min(max(share, _SMALLEST_PROFILE_SHARE), _LARGEST_PROFILE_SHARE)
            if self._profiles_visible
            else 0.0
        )
        self._grid.setRowStretch(0, round(1000 * (1 - share)))
        self._grid.setRowStretch(1, round(1000 * share))

    def _match_rows(self) -> None:
        if self.panels:
            first, last = self.panels[0].visible_rows()
            for profile in self.profiles:
                profile.set_rows(first, last)

    def _paint_line(self, painter: QPainter, panel: MoviePanel) -> None:
        if not self._line_visible:
            return
        image = panel.image_rectangle()
        x = panel.image_to_widget(self._column, 0).x()
        top, bottom = max(image.top(), 0.0), min(image.bottom(), float(panel.height()))
        colour = QColor(theme.ACCENT)
        colour.setAlpha(150)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(colour, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, top), QPointF(x, bottom))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.ACCENT))
        painter.drawPolygon(QPolygonF([QPointF(x - 5, top), QPointF(x + 5, top), QPointF(x, top + 7)]))
        painter.drawPolygon(
            QPolygonF([QPointF(x - 5, bottom), QPointF(x + 5, bottom), QPointF(x, bottom - 7)])
        )

    def _drag_line(self, event: QMouseEvent, panel: MoviePanel) -> bool:
        if not self._line_visible or panel.frames is None:
            return False
        near = abs(panel.image_to_widget(self._column, 0).x() - event.position().x()) <= _LINE_GRAB_PIXELS
        kind = event.type()
        if kind == QEvent.Type.MouseMove and self._dragging_line:
            self.set_column(round(panel.widget_to_image(event.position())[0]))
            return True
        if kind == QEvent.Type.MouseMove:
            panel.setCursor(Qt.CursorShape.SplitHCursor if near else Qt.CursorShape.ArrowCursor)
            return False
        if kind == QEvent.Type.MouseButtonPress and event.button() == Qt.MouseButton.LeftButton and near:
            self._dragging_line = True
            return True
        if kind == QEvent.Type.MouseButtonRelease and self._dragging_line:
            self._dragging_line = False
            return True
        return False


def _height_of(widget: QWidget, width: float) -> int:
    """How high a widget wants to be at a width; wrapped text is higher in a narrow column."""
    wrapped = widget.heightForWidth(int(width))
    return wrapped if wrapped >= 0 else widget.sizeHint().height()


_KEY_ACTIONS: dict[Qt.Key, Callable[[PlaybackClock], None]] = {
    Qt.Key.Key_Space: PlaybackClock.toggle,
    Qt.Key.Key_Left: lambda clock: clock.step(-1),
    Qt.Key.Key_Comma: lambda clock: clock.step(-1),
    Qt.Key.Key_Right: lambda clock: clock.step(1),
    Qt.Key.Key_Period: lambda clock: clock.step(1),
    Qt.Key.Key_Minus: PlaybackClock.slower,
    Qt.Key.Key_Plus: PlaybackClock.faster,
    Qt.Key.Key_Equal: PlaybackClock.faster,
    Qt.Key.Key_Home: lambda clock: clock.seek(0),
}
