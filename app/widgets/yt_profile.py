"""The y–t profile of a movie: one image column through all frames, movie[t, y, column], time to the right.

The profile is cut exactly on the pixel grid (no interpolation between columns) and shown with the same levels
as the movie and the same rows as the movie panel above it. A cursor marks the frame shown; clicking goes to
that frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.view_state import ViewState, to_display


class YtProfile(QWidget):
    """Shows one column of a movie over time.

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
        self._column = 0
        self._frame = 0
        self._frame_times_s: NDArray[np.float64] = np.zeros(0)
        self._rows: tuple[float, float] | None = None
        self._profile: NDArray[Any] | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._image = QImage()
        self._levels_painted = (0.0, 0.0)
        self.setAccessibleName("y–t profile")
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(64)
        self._view.changed.connect(self._on_view_changed)

    @property
    def profile(self) -> NDArray[Any] | None:
        """The values shown, (y, t), or None."""
        return self._profile

    @property
    def column(self) -> int:
        """The image column shown."""
        return self._column

    def set_frames(self, frames: NDArray[Any] | None, frame_times_s: NDArray[np.float64]) -> None:
        """Take a movie (t, y, x) and its frame times in seconds; None empties the profile."""
        self._frames = frames
        self._frame_times_s = frame_times_s
        self._frame = 0
        self._cut()

    def set_column(self, column: int) -> None:
        """Show another image column; a column outside the image shows the nearest one."""
        if column != self._column:
            self._column = column
            self._cut()

    def set_rows(self, first: float, last: float) -> None:
        """Show the rows from `first` to `last` (image coordinates), as the movie panel above does."""
        if self._rows != (first, last):
            self._rows = (first, last)
            self.update()

    def show_frame(self, index: int) -> None:
        """Move the cursor to a frame."""
        if index != self._frame:
            before, self._frame = self._frame, index
            self.update(self._cursor_area(before))
            self.update(self._cursor_area(index))

    def frame_at(self, position: QPointF) -> int:
        """The frame under a widget position."""
        count = len(self._frames) if self._frames is not None else 0
        index = int(position.x() / max(self.width(), 1) * count)
        return min(max(index, 0), max(count - 1, 0))

    def sizeHint(self) -> QSize:  # noqa: N802
        """As wide as a panel, a third as high."""
        return QSize(320, 110)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the profile, the cursor and the duration."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(theme.VIEW))
        if not self._image.isNull():
            first, last = self._rows if self._rows is not None else (-0.5, self._image.height() - 0.5)
            source = QRectF(0, first + 0.5, self._image.width(), last - first)
            smooth = self._view.interpolation == "smooth"
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            painter.drawImage(QRectF(self.rect()), self._image, source)
            painter.setPen(QPen(QColor(theme.ACCENT), 1.5))
            x = self._cursor_x(self._frame)
            painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
            self._paint_duration(painter)
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

    def _on_view_changed(self) -> None:
        if self._levels_painted != (self._view.window, self._view.level):
            self._render()
        self.update()

    def _cut(self) -> None:
        if self._frames is None or not len(self._frames):
            self._profile = None
        else:
            column = min(max(self._column, 0), self._frames.shape[2] - 1)
            self._profile = np.ascontiguousarray(self._frames[:, :, column].T)
        self._render()

    def _render(self) -> None:
        if self._profile is None:
            self._image = QImage()
            self._pixels = None
        else:
            pixels = to_display(self._profile, self._view.window, self._view.level)
            height, width = pixels.shape
            self._image = QImage(pixels.data, width, height, width, QImage.Format.Format_Grayscale8)
            self._pixels = pixels
        self._levels_painted = (self._view.window, self._view.level)
        self.update()

    def _cursor_x(self, frame: int) -> float:
        count = len(self._frames) if self._frames is not None else 1
        return (frame + 0.5) * self.width() / max(count, 1)

    def _cursor_area(self, frame: int) -> QRect:
        x = self._cursor_x(frame)
        return QRectF(x - 3, 0, 6, self.height()).toAlignedRect()

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
