"""The grey scale of the panels with its numbers: what the grey of a map means at this window and level.

Black is level − window / 2, white is level + window / 2; the numbers stand at round values in between, and
follow when the levels are changed.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.view_state import ViewState

_BAR_HEIGHT = 9
_TICK_HEIGHT = 3
_TICKS = 5
_MARGIN = 14


def round_ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """About `count` round values (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


class ScaleBar(QWidget):
    """A horizontal bar from black to white with numbers below it and its unit beside them.

    Args:
        view_state: whose window and level are shown.
        parent: Qt owner.
    """

    def __init__(self, view_state: ViewState, parent: QWidget | None = None) -> None:
        """Build the bar."""
        super().__init__(parent)
        self._view = view_state
        self._unit = ""
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        view_state.changed.connect(self._on_changed)

    @property
    def ticks(self) -> list[float]:
        """The values that are numbered."""
        low, high = self._range()
        return round_ticks(low, high)

    def set_unit(self, unit: str) -> None:
        """Say what the numbers are, in a few words."""
        self._unit = unit
        self._on_changed()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for the numbers and the unit."""
        width = 210 + self.fontMetrics().horizontalAdvance(self._unit)
        return QSize(width, _BAR_HEIGHT + _TICK_HEIGHT + self.fontMetrics().height() + 2)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        """Paint the bar, its ticks and numbers, and the unit at its right."""
        painter = QPainter(self)
        unit = self.fontMetrics().horizontalAdvance(self._unit) + 8
        bar = QRectF(_MARGIN, 1, self.width() - unit - 2 * _MARGIN, _BAR_HEIGHT)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        gradient.setColorAt(0, QColor(0, 0, 0))
        gradient.setColorAt(1, QColor(255, 255, 255))
        painter.fillRect(bar, gradient)
        painter.setPen(QColor(theme.BORDER))
        painter.drawRect(bar)
        painter.setPen(QColor(theme.MUTED))
        low, high = self._range()
        for value in self.ticks:
            x = bar.left() + (value - low) / (high - low) * bar.width()
            painter.drawLine(QPointF(x, bar.bottom()), QPointF(x, bar.bottom() + _TICK_HEIGHT))
            box = QRectF(x - 30, bar.bottom() + _TICK_HEIGHT, 60, self.fontMetrics().height())
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{value:.3g}")
        right = QRectF(self.width() - unit, -3, unit, _BAR_HEIGHT + 10)
        painter.drawText(right, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._unit)
        painter.end()

    def _range(self) -> tuple[float, float]:
        half = self._view.window / 2
        return self._view.level - half, self._view.level + half

    def _on_changed(self) -> None:
        low, high = self._range()
        self.setAccessibleName(f"Grey scale, {low:.3g} to {high:.3g} {self._unit}")
        self.updateGeometry()
        self.update()
