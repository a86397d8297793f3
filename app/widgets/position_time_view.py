"""Position-time images of a clip's movies below each other, with axes in mm and s and one grey scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.series_plot import tick_values
from app.widgets.view_state import to_display
from studies.yt_files import PositionTime, common_grey_range

_MARGIN_LEFT = 46
_MARGIN_RIGHT = 10
_MARGIN_TOP = 6
_MARGIN_BOTTOM = 22
_GAP = 6


class PositionTimeView(QWidget):
    """Shows one image a movie; a click gives the time under the mouse.

    Signals:
        time_clicked: Time in seconds.
    """

    time_clicked = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Start empty."""
        super().__init__(parent)
        self.setAccessibleName("Profiles over time")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 192)
        self._images: list[PositionTime] = []
        self._labels: list[str] = []
        self._pixels: list[NDArray[np.uint8]] = []
        self._note = ""
        self._cursor_s: float | None = None

    @property
    def images(self) -> list[PositionTime]:
        """The images shown."""
        return list(self._images)

    def set_images(self, images: Sequence[PositionTime], labels: Sequence[str], note: str = "") -> None:
        """Show images with their labels; without any, `note` says what is missing."""
        self._images, self._labels, self._note = list(images), list(labels), note
        self._pixels = []
        if images:
            low, high = common_grey_range(images)
            window = max(high - low, 1e-30)
            self._pixels = [to_display(each.values, window, (high + low) / 2) for each in images]
        self.update()

    def set_cursor(self, time_s: float | None) -> None:
        """Put the cursor at a time in seconds; None removes it."""
        if time_s != self._cursor_s:
            self._cursor_s = time_s
            self.update()

    def area(self, index: int) -> QRectF:
        """Where an image lies in this widget."""
        count = max(len(self._images), 1)
        height = (self.height() - _MARGIN_TOP - _MARGIN_BOTTOM - _GAP * (count - 1)) / count
        top = _MARGIN_TOP + index * (height + _GAP)
        width = max(self.width() - _MARGIN_LEFT - _MARGIN_RIGHT, 1)
        return QRectF(_MARGIN_LEFT, top, width, max(height, 1.0))

    def to_widget(self, index: int, time_s: float, position_mm: float) -> QPointF:
        """Where a time and a position of an image lie; a sample is drawn around its own time and place."""
        area, image = self.area(index), self._images[index]
        (start, stop), (low, high) = _ends(image.time_s), _ends(image.position_mm)
        return QPointF(
            area.left() + (time_s - start) / (stop - start) * area.width(),
            area.top() + (position_mm - low) / (high - low) * area.height(),
        )

    def time_at(self, x: float) -> float:
        """Time in seconds at a horizontal place, kept within the frames."""
        times = self._images[0].time_s
        start, stop = _ends(times)
        area = self.area(0)
        time_s = start + (x - area.left()) / area.width() * (stop - start)
        return float(min(max(time_s, times[0]), times[-1]))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A press of the left button gives its time."""
        self._point(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Dragging with the left button goes on giving times."""
        self._point(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw images, axes and cursor."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(theme.SUNKEN))
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * 0.85)
        painter.setFont(font)
        if not self._images:
            painter.setPen(QColor(theme.MUTED))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()).adjusted(16, 8, -16, -8), flags, self._note)
            return
        for index in range(len(self._images)):
            self._draw_image(painter, index)
        self._draw_times(painter)

    def _point(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton and self._images:
            self.time_clicked.emit(self.time_at(event.position().x()))

    def _draw_image(self, painter: QPainter, index: int) -> None:
        area, image = self.area(index), self._images[index]
        pixels = np.ascontiguousarray(self._pixels[index])
        height, width = pixels.shape
        painter.drawImage(area, QImage(pixels.data, width, height, width, QImage.Format.Format_Grayscale8))
        painter.setPen(QColor(theme.MUTED))
        low, high = float(image.position_mm[0]), float(image.position_mm[-1])
        places = tick_values(low, high, max(2, int(area.height() // 28)))
        for place in places:
            y = self.to_widget(index, 0.0, place).y()
            unit = " mm" if place == places[-1] and index == 0 else ""
            box = QRectF(0, y - 9, _MARGIN_LEFT - 6, 18)
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box, flags, f"{place:g}{unit}")
        painter.setPen(QColor(0, 0, 0))
        painter.drawText(QPointF(area.left() + 7, area.top() + 16), self._labels[index])
        painter.setPen(QColor(theme.TEXT))
        painter.drawText(QPointF(area.left() + 6, area.top() + 15), self._labels[index])
        if self._cursor_s is not None:
            x = self.to_widget(index, self._cursor_s, 0.0).x()
            painter.setPen(QPen(QColor(theme.ACCENT), 1))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _draw_times(self, painter: QPainter) -> None:
        area, times = self.area(len(self._images) - 1), self._images[0].time_s
        ticks = tick_values(float(times[0]), float(times[-1]), max(2, int(area.width() // 70)))
        painter.setPen(QColor(theme.MUTED))
        for time_s in ticks:
            x = self.to_widget(0, time_s, 0.0).x()
            unit = " s" if time_s == ticks[-1] else ""
            box = QRectF(x - 30, area.bottom() + 2, 60, _MARGIN_BOTTOM - 4)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{time_s:.3g}{unit}")


def _ends(places: NDArray[np.float64]) -> tuple[float, float]:
    """Where the first sample begins and the last one ends: half a step beyond their middles."""
    if places.size < 2:  # noqa: PLR2004
        return float(places[0]) - 0.5, float(places[0]) + 0.5
    half = float(np.median(np.diff(places))) / 2
    return float(places[0]) - half, float(places[-1]) + half
