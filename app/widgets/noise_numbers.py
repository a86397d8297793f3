"""The noise and SNR of a region by one method, in two lines below its panel."""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.noise_maps import RegionNumbers


class NoiseNumbers(QWidget):
    """The numbers of one method below its panel: all frames, and the frame shown.

    They change with every frame of a running movie, so they are painted in a place that never changes.
    """

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self._rows: tuple[tuple[str, ...], ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """What stands there: name, SNR, its interval, noise."""
        return self._rows

    def set_numbers(
        self, together: RegionNumbers | None, frame: RegionNumbers | None, percent: float = 1.0
    ) -> None:
        """Show the numbers, or nothing.

        Args:
            together: of all frames.
            frame: of the frame shown.
            percent: what noise is multiplied by to be in percent of white.
        """
        rows = tuple(
            (name, *_words(numbers, percent))
            for name, numbers in (("All frames", together), ("Frame", frame))
            if numbers is not None
        )
        if rows[:1] != self._rows[:1]:
            self.setAccessibleName(" ".join(rows[0]) if rows else "No region")
        self._rows = rows
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Two lines."""
        return QSize(100, 2 * self.fontMetrics().lineSpacing() + 2)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        """Paint the lines in columns that have the same places below every panel."""
        painter = QPainter(self)
        metrics = self.fontMetrics()
        widths = [metrics.horizontalAdvance(text) for text in ("All frames", "00.0 dB", "00.0 to 00.0")]
        gap = min(14, max(4, (self.width() - sum(widths) - metrics.horizontalAdvance("00.00 %")) // 3))
        for line, row in enumerate(self._rows):
            left = 0
            for column, text in enumerate(row):
                painter.setPen(QColor(theme.TEXT if column == 1 and line == 0 else theme.MUTED))
                box = QRectF(left, line * metrics.lineSpacing(), self.width() - left, metrics.lineSpacing())
                painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
                left += widths[column] + gap if column < len(widths) else 0
        painter.end()


def _words(numbers: RegionNumbers, percent: float) -> tuple[str, str, str]:
    interval = ""
    if numbers.low_db is not None and numbers.high_db is not None and math.isfinite(numbers.low_db):
        interval = f"{numbers.low_db:.1f} to {numbers.high_db:.1f}"
    return f"{numbers.snr_db:.1f} dB", interval, f"{numbers.noise * percent:.2f} %"
