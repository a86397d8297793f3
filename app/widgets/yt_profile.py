"""The y–t profile of a movie: one line of the image through all frames, position down, time to the right.

The line is cut by `YtLine`, a column or a row exactly on the pixel grid, and shown with the same levels as
the movie and, for a column or a row, the same part of it as the movie panel above. Each screen pixel has the
mean of what lies under it, so nothing is left out where the profile is smaller than the movie, and nothing is
smoothed where it is larger. A cursor marks the frame shown; clicking goes to that frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.movie_panel import enter_device_pixels, grey_table
from app.widgets.view_state import ViewState, to_display
from app.widgets.yt_line import YtLine

_CURSOR_WIDTH = 2
_NEAR = 100


class YtProfile(QWidget):
    """Shows one line of a movie over time.

    Args:
        view_state: where the levels come from, shared with the movie panels.
        parent: Qt owner.
    """

    seek_requested = Signal(int)

    def __init__(self, view_state: ViewState, parent: QWidget | None = None) -> None:
        """Start empty."""
        super().__init__(parent)
        self._view = view_state
        self._frames: NDArray[Any] | None = None
        self._line: YtLine | None = None
        self._frame = 0
        self._frame_times_s: NDArray[np.float64] = np.zeros(0)
        self._marks: tuple[int | None, int | None] = (None, None)
        self._span: tuple[float, float] | None = None
        self._profile: NDArray[Any] | None = None
        self._grey: NDArray[np.uint8] | None = None
        self._picture: QImage | None = None
        self._levels_painted = (0.0, 0.0)
        self.setAccessibleName("y–t profile")
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(48)
        self._view.changed.connect(self._on_view_changed)

    @property
    def profile(self) -> NDArray[Any] | None:
        """The values shown, (position, t), or None."""
        return self._profile

    @property
    def line(self) -> YtLine | None:
        """The line shown; None shows the middle column."""
        return self._line

    @property
    def span(self) -> tuple[float, float] | None:
        """First and last position shown, as `set_span` takes them; None for the whole line."""
        return self._span

    def set_frames(self, frames: NDArray[Any] | None, frame_times_s: NDArray[np.float64]) -> None:
        """Take a movie (t, y, x) and its frame times in seconds; None empties the profile."""
        self._frames = frames
        self._frame_times_s = frame_times_s
        self._frame = 0
        self._cut()

    def set_line(self, line: YtLine) -> None:
        """Show another line; one that leaves the image is brought into it."""
        if line != self._line:
            self._line = line
            self._cut()

    def set_span(self, span: tuple[float, float] | None) -> None:
        """Show the part between two positions on the line, or all of it.

        Args:
            span: first and last position in samples; sample i covers i − 0.5 … i + 0.5.
        """
        if self._span != span:
            self._span = span
            self._forget_picture()

    def set_marks(self, marks: tuple[int | None, int | None]) -> None:
        """Mark the frames A and B between which the movie is played."""
        if self._marks != marks:
            self._marks = marks
            self.update()

    def show_frame(self, index: int) -> None:
        """Move the cursor to a frame."""
        if index != self._frame:
            before, after = self._cursor_area(self._frame), self._cursor_area(index)
            self._frame = index
            if abs(after.x() - before.x()) < _NEAR:
                # One rectangle is painted faster than a region of two.
                self.update(before.united(after))
            else:
                self.update(before)
                self.update(after)

    def frame_at(self, position: QPointF) -> int:
        """The frame under a widget position."""
        count = len(self._frames) if self._frames is not None else 0
        index = int(position.x() / max(self.width(), 1) * count)
        return min(max(index, 0), max(count - 1, 0))

    def sizeHint(self) -> QSize:  # noqa: N802
        """As wide as a panel, a third as high."""
        return QSize(320, 110)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the profile, the marks and the cursor."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(theme.VIEW))
        if self._grey is not None:
            if self._picture is None:
                self._picture = self._draw()
            self._paint_part(painter, self._picture, event.rect())
            for mark, side in zip(self._marks, (0.0, 1.0), strict=True):
                if mark is not None:
                    x = round((mark + side) * self._frame_width())
                    painter.fillRect(QRectF(x - side, 0, 1, self.height()), QColor(theme.WARNING))
            painter.fillRect(self._cursor(self._frame), QColor(theme.ACCENT))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Go to the frame under the pointer."""
        if event.button() == Qt.MouseButton.LeftButton and self._frames is not None:
            self.seek_requested.emit(self.frame_at(event.position()))
            event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Scrub through the frames while the button is held."""
        if event.buttons() & Qt.MouseButton.LeftButton and self._frames is not None:
            self.seek_requested.emit(self.frame_at(event.position()))
            event.accept()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Draw the profile anew."""
        super().resizeEvent(event)
        self._forget_picture()

    def event(self, event: QEvent) -> bool:
        """Follow the window to a screen with other pixels."""
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._forget_picture()
        return super().event(event)

    def _on_view_changed(self) -> None:
        if self._levels_painted != (self._view.window, self._view.level):
            self._render()

    def _cut(self) -> None:
        if self._frames is None or not self._frames.size:
            self._profile = None
        else:
            size = (self._frames.shape[2], self._frames.shape[1])
            line = self._line.within(size) if self._line is not None else YtLine.column(size[0] // 2, size)
            self._profile = line.cut(self._frames)
        self._render()

    def _render(self) -> None:
        window, level = self._view.window, self._view.level
        self._grey = None if self._profile is None else to_display(self._profile, window, level)
        self._levels_painted = (window, level)
        self._forget_picture()

    def _forget_picture(self) -> None:
        self._picture = None
        self.update()

    def _paint_part(self, painter: QPainter, picture: QImage, part: QRect) -> None:
        ratio = self.devicePixelRatioF()
        left, right = math.floor(part.left() * ratio), math.ceil((part.right() + 1) * ratio)
        source = QRect(left, 0, right - left, picture.height()).intersected(picture.rect())
        painter.save()
        corner = QPoint(*enter_device_pixels(painter, QPointF(0, 0)))
        painter.drawImage(corner + source.topLeft(), picture, source)
        painter.restore()

    def _draw(self) -> QImage:
        """The profile in the pixels of the screen, with its duration; the cursor then costs two strips."""
        assert self._grey is not None
        positions, frames = self._grey.shape
        ratio = self.devicePixelRatioF()
        width, height = max(round(self.width() * ratio), 1), max(round(self.height() * ratio), 1)
        first, last = self._span if self._span is not None else (-0.5, positions - 0.5)
        shown = _means(self._grey.astype(np.float32), first + 0.5, last + 0.5, height)
        shown = _means(shown.T, 0, frames, width).T
        pixels = np.ascontiguousarray((shown + np.float32(0.5)).astype(np.uint8))
        indexed = QImage(pixels.data, width, height, width, QImage.Format.Format_Indexed8)
        indexed.setColorTable(grey_table(255.0, 127.5))
        picture = indexed.convertToFormat(QImage.Format.Format_RGB32)
        painter = QPainter(picture)
        painter.scale(ratio, ratio)
        self._paint_duration(painter)
        painter.end()
        return picture

    def _frame_width(self) -> float:
        return self.width() / max(len(self._frames) if self._frames is not None else 1, 1)

    def _cursor(self, frame: int) -> QRect:
        x = round((frame + 0.5) * self._frame_width() - _CURSOR_WIDTH / 2)
        return QRect(x, 0, _CURSOR_WIDTH, self.height())

    def _cursor_area(self, frame: int) -> QRect:
        return self._cursor(frame).adjusted(-1, 0, 1, 0)

    def _paint_duration(self, painter: QPainter) -> None:
        if len(self._frame_times_s) < 2:  # noqa: PLR2004
            return
        duration_s = float(self._frame_times_s[-1] - self._frame_times_s[0])
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * 0.85)
        painter.setFont(font)
        area = QRectF(self.rect()).adjusted(6, 3, -6, -3)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
        painter.setPen(QColor(0, 0, 0, 200))
        painter.drawText(area.translated(1, 1), flags, f"{duration_s:.1f} s")
        painter.setPen(QColor(theme.MUTED))
        painter.drawText(area, flags, f"{duration_s:.1f} s")


def _means(values: NDArray[np.float32], first: float, last: float, count: int) -> NDArray[np.float32]:
    """Means of the rows over `count` equal intervals between `first` and `last`; row i covers i … i + 1."""
    sums = np.zeros((len(values) + 1, values.shape[1]), np.float32)
    np.cumsum(values, axis=0, out=sums[1:])
    edges = np.clip(np.linspace(first, last, count + 1), 0, len(values))
    below = np.minimum(edges.astype(np.intp), len(values) - 1)
    integral = values[below]
    integral *= (edges - below).astype(np.float32)[:, None]
    integral += sums[below]
    means = np.diff(integral, axis=0)
    means *= np.float32(count / max(last - first, 1e-9))
    return means
