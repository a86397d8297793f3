"""Curves over time, small and plain: one value a frame for each movie, with a cursor at the frame shown.

The vertical axis spans the finite values with a 6 % margin and is labelled at 1, 2 or 5 times a power of ten.
A value that is not finite interrupts its curve instead of being drawn somewhere. Curves differ in colour and
in dash, so that no state is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

_MARGIN_LEFT = 46
_MARGIN_RIGHT = 10
_MARGIN_TOP = 24
_MARGIN_BOTTOM = 20


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve.

    Args:
        label: Short name in the legend.
        times_s: Time of each value in seconds. Shape `(value,)`, ascending.
        values: Shape `(value,)`; not-finite values interrupt the curve.
        colour: Colour of the line.
        dash: Dash of the line.
    """

    label: str
    times_s: np.ndarray
    values: np.ndarray
    colour: QColor
    dash: Qt.PenStyle = Qt.PenStyle.SolidLine

    def __post_init__(self) -> None:
        """Check that times and values belong together."""
        if np.shape(self.times_s) != np.shape(self.values) or np.ndim(self.values) != 1:
            raise ValueError(
                f"Curve {self.label}: times have shape {np.shape(self.times_s)} and values "
                f"{np.shape(self.values)}; both must be one list of the same length."
            )


def tick_values(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between `low` and `high`, 1, 2 or 5 times a power of ten apart.

    Args:
        low: Lower end.
        high: Upper end, above `low`.
        count: About how many numbers are wanted.

    Returns:
        Ascending values within the two ends; empty if the ends are not finite or not in order.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    coarse = (high - low) / count
    power = 10.0 ** math.floor(math.log10(coarse))
    step = next((factor * power for factor in (1.0, 2.0, 5.0) if factor * power >= coarse), 10.0 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


class SeriesPlot(QWidget):
    """Curves over time with a cursor; a click gives the time under the mouse.

    Args:
        title: Quantity and unit, drawn above the curves ("SNR (dB)").

    Signals:
        time_clicked: Time in seconds under a click or drag of the left button.
    """

    time_clicked = Signal(float)

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        """Start without curves."""
        super().__init__(parent)
        self.setAccessibleName(title)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 96)
        self._title = title
        self._curves: list[Curve] = []
        self._cursor_s: float | None = None
        self._note = ""
        self._marks_s: tuple[float, ...] = ()
        self._span_s: tuple[float, float] | None = None
        self._value_range = (0.0, 1.0)
        self._time_range = (0.0, 1.0)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """A size that leaves room for three labelled lines."""
        return QSize(380, 170)

    @property
    def curves(self) -> list[Curve]:
        """The curves drawn."""
        return list(self._curves)

    def set_curves(self, curves: Sequence[Curve], note: str = "") -> None:
        """Draw these curves; without any, `note` says what is missing."""
        self._curves = list(curves)
        self._note = note
        self._value_range = _value_range(self._curves)
        self._time_range = _time_range(self._curves)
        self.update()

    def set_marks(self, times_s: Sequence[float]) -> None:
        """Mark times in seconds by a dotted line (frames in which a shape changes)."""
        self._marks_s = tuple(times_s)
        self.update()

    def set_span(self, span_s: tuple[float, float] | None) -> None:
        """Darken what lies outside these times in seconds (what does not count); None darkens nothing."""
        self._span_s = span_s
        self.update()

    def set_cursor(self, time_s: float | None) -> None:
        """Put the cursor at a time in seconds; None removes it."""
        if time_s != self._cursor_s:
            self._cursor_s = time_s
            self.update()

    def value_range(self) -> tuple[float, float]:
        """Ends of the vertical axis."""
        return self._value_range

    def time_range(self) -> tuple[float, float]:
        """Ends of the horizontal axis in seconds."""
        return self._time_range

    def to_widget(self, time_s: float, value: float) -> QPointF:
        """Where a time and a value lie in this widget."""
        area, (start, stop), (low, high) = self._area(), self.time_range(), self.value_range()
        return QPointF(
            area.left() + (time_s - start) / (stop - start) * area.width(),
            area.bottom() - (value - low) / (high - low) * area.height(),
        )

    def time_at(self, x: float) -> float:
        """Time in seconds at a horizontal place in this widget, kept within the axis."""
        area, (start, stop) = self._area(), self.time_range()
        return start + min(max((x - area.left()) / area.width(), 0.0), 1.0) * (stop - start)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """A press of the left button gives its time."""
        self._point(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Dragging with the left button goes on giving times."""
        self._point(event)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw axes, curves, cursor and legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(theme.SUNKEN))
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * 0.85)
        painter.setFont(font)
        painter.setPen(QColor(theme.TEXT))
        top = QRectF(8, 2, self.width() - 16, _MARGIN_TOP - 4)
        painter.drawText(top, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._title)
        if not self._curves:
            painter.setPen(QColor(theme.MUTED))
            painter.drawText(
                self._area(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._note
            )
            return
        self._draw_axes(painter)
        self._draw_span_and_marks(painter)
        self._draw_curves(painter)
        self._draw_legend(painter)

    def _area(self) -> QRectF:
        return QRectF(
            _MARGIN_LEFT,
            _MARGIN_TOP,
            max(self.width() - _MARGIN_LEFT - _MARGIN_RIGHT, 1),
            max(self.height() - _MARGIN_TOP - _MARGIN_BOTTOM, 1),
        )

    def _point(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton and self._curves:
            self.time_clicked.emit(self.time_at(event.position().x()))

    def _draw_axes(self, painter: QPainter) -> None:
        area, (low, high), (start, stop) = self._area(), self.value_range(), self.time_range()
        values = tick_values(low, high, max(2, int(area.height() // 28)))
        decimals = _decimals(values)
        for value in values:
            y = self.to_widget(start, value).y()
            painter.setPen(QPen(QColor(theme.BORDER), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(QColor(theme.MUTED))
            box = QRectF(0, y - 9, _MARGIN_LEFT - 6, 18)
            painter.drawText(
                box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:.{decimals}f}"
            )
        times = tick_values(start, stop, max(2, int(area.width() // 70)))
        decimals = _decimals(times)
        for time_s in times:
            x = self.to_widget(time_s, low).x()
            box = QRectF(x - 30, area.bottom() + 2, 60, _MARGIN_BOTTOM - 2)
            unit = " s" if time_s == times[-1] else ""
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{time_s:.{decimals}f}{unit}")

    def _draw_span_and_marks(self, painter: QPainter) -> None:
        area = self._area()
        if self._span_s is not None:
            ends = (self.to_widget(time_s, 0.0).x() for time_s in self._span_s)
            left, right = (min(max(x, area.left()), area.right()) for x in ends)
            for rectangle in (
                QRectF(area.left(), area.top(), left - area.left(), area.height()),
                QRectF(right, area.top(), area.right() - right, area.height()),
            ):
                painter.fillRect(rectangle, QColor(0, 0, 0, 120))
        painter.setPen(QPen(QColor(theme.MUTED), 1, Qt.PenStyle.DotLine))
        for time_s in self._marks_s:
            x = self.to_widget(time_s, 0.0).x()
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _draw_curves(self, painter: QPainter) -> None:
        for curve in self._curves:
            painter.setPen(QPen(curve.colour, 1.8, curve.dash))
            area, (start, stop), (low, high) = self._area(), self._time_range, self._value_range
            across = area.left() + (curve.times_s - start) / (stop - start) * area.width()
            down = area.bottom() - (curve.values - low) / (high - low) * area.height()
            for run in _finite_runs(curve.values):
                places = zip(across[run].tolist(), down[run].tolist(), strict=True)
                points = [QPointF(x, y) for x, y in places]
                if len(points) == 1:
                    painter.drawPoint(points[0])
                painter.drawPolyline(QPolygonF(points))
        if self._cursor_s is not None:
            area = self._area()
            x = self.to_widget(self._cursor_s, 0.0).x()
            painter.setPen(QPen(QColor(theme.TEXT), 1))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _draw_legend(self, painter: QPainter) -> None:
        right = float(self.width() - _MARGIN_RIGHT)
        metrics = painter.fontMetrics()
        for curve in reversed(self._curves):
            width = metrics.horizontalAdvance(curve.label)
            painter.setPen(QColor(theme.TEXT))
            box = QRectF(right - width, 2, width + 2, _MARGIN_TOP - 4)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, curve.label)
            painter.setPen(QPen(curve.colour, 2, curve.dash))
            painter.drawLine(
                QPointF(right - width - 28, box.center().y()), QPointF(right - width - 6, box.center().y())
            )
            right -= width + 40


def _value_range(curves: Sequence[Curve]) -> tuple[float, float]:
    finite = [curve.values[np.isfinite(curve.values)] for curve in curves]
    values = np.concatenate(finite) if finite else np.empty(0)
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    # A flat curve gets an axis of one percent of its value around it, or of one unit at zero.
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 0.5
    return low - margin, high + margin


def _time_range(curves: Sequence[Curve]) -> tuple[float, float]:
    times = [curve.times_s for curve in curves if curve.times_s.size]
    if not times:
        return 0.0, 1.0
    start, stop = min(float(each[0]) for each in times), max(float(each[-1]) for each in times)
    return (start, stop) if stop > start else (start, start + 1.0)


def _decimals(values: Sequence[float]) -> int:
    """Digits after the point that tell neighbouring ticks apart."""
    if len(values) < 2:
        return 2
    return max(0, -math.floor(math.log10(values[1] - values[0]) + 1e-9))


def _finite_runs(values: np.ndarray) -> list[np.ndarray]:
    """Indices of each stretch of finite values."""
    indices = np.flatnonzero(np.isfinite(values))
    if indices.size == 0:
        return []
    return list(np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1))
