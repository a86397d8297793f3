"""A drawing of a report on the dark page: an SVG on white paper or a PNG, as wide as there is room for.

Drawings are made for paper and keep a white ground; figures are scaled down but never up.
"""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QSizePolicy, QWidget

PAPER = QColor("#ffffff")
_PAPER_MARGIN = 12
_RADIUS = 6


class Figure(QWidget):
    """One drawing.

    Args:
        content: SVG text or a PNG, as bytes.
        description: What it shows, for screen readers.
        parent: Qt owner.
    """

    def __init__(self, content: bytes, description: str, parent: QWidget | None = None) -> None:
        """Read the drawing."""
        super().__init__(parent)
        self.setAccessibleName(description)
        self._svg: QSvgRenderer | None = None
        self._image = QImage()
        if content.lstrip().startswith(b"<svg"):
            self._svg = QSvgRenderer(QByteArray(content), self)
            self._size = self._svg.defaultSize()
        else:
            self._image = QImage.fromData(content)
            self._size = self._image.size()
        # Images bring their own dark ground: white around them would change how their greys are seen.
        self._margin = 0 if self._svg is None else _PAPER_MARGIN
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    @property
    def valid(self) -> bool:
        """Whether the content could be read."""
        return self._svg.isValid() if self._svg is not None else not self._image.isNull()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The drawing's own size with its margin."""
        return self._size + QSize(2 * self._margin, 2 * self._margin)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Small enough for any page."""
        return QSize(160, 60)

    def hasHeightForWidth(self) -> bool:  # noqa: N802
        """The shape is kept."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        """Height that keeps the shape; never more than the drawing's own."""
        return (
            round(self._drawn_width(width) * self._size.height() / max(1, self._size.width()))
            + 2 * self._margin
        )

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw paper and figure."""
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        if self._svg is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(PAPER)
            painter.drawRoundedRect(self.rect(), _RADIUS, _RADIUS)
        width = self._drawn_width(self.width())
        height = width * self._size.height() / max(1, self._size.width())
        target = QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)
        if self._svg is not None:
            self._svg.render(painter, target)
        else:
            painter.drawImage(target, self._image)
        painter.end()

    def _drawn_width(self, width: int) -> float:
        return float(max(1, min(width - 2 * self._margin, self._size.width())))
