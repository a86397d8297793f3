"""One movie of a clip: frames blitted as 8-bit grey images, seen through the common `ViewState`.

Frame to screen: widget point = panel middle + (image point − view centre) · scale, with
scale = zoom · min(panel width / image width, panel height / image height). The panel owns no view of its own
and knows neither which method made its movie nor where the file lies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QImage, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.view_state import ViewState, to_display

Overlay = Callable[[QPainter, "MoviePanel"], None]
"""Paints above the image, in widget coordinates (use `MoviePanel.image_to_widget`)."""

MouseHandler = Callable[[QMouseEvent, "MoviePanel"], bool]
"""Sees presses, moves, releases and double clicks first (`event.type()` tells); True means taken."""

_WHEEL_STEP = 1.2
_WHEEL_UNITS_PER_STEP = 120


class MoviePanel(QWidget):
    """Shows the frames of one movie; the wheel zooms, dragging pans, right-dragging sets the levels.

    Args:
        label: what stands in the corner ("A"); it is also the accessible name ("Panel A").
        view_state: the view shared with the other panels; a private one if None.
        parent: Qt owner.
    """

    def __init__(
        self, label: str = "", view_state: ViewState | None = None, parent: QWidget | None = None
    ) -> None:
        """Start without frames."""
        super().__init__(parent)
        self._view = view_state if view_state is not None else ViewState(self)
        self._frames: NDArray[Any] | None = None
        self._frame = 0
        self._pixels: NDArray[np.uint8] | None = None
        self._image = QImage()
        self._levels_painted = (0.0, 0.0)
        self._overlays: list[Overlay] = []
        self._mouse_handlers: list[MouseHandler] = []
        self._drag_from: QPointF | None = None
        self._drag_button = Qt.MouseButton.NoButton
        self._message = ""
        self._label = ""
        self._emphasised = False
        self.set_label(label)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 120)
        self._view.changed.connect(self._on_view_changed)

    @property
    def view_state(self) -> ViewState:
        """The view this panel obeys."""
        return self._view

    @property
    def label(self) -> str:
        """What stands in the corner."""
        return self._label

    @property
    def frames(self) -> NDArray[Any] | None:
        """The frames shown, (t, y, x), or None."""
        return self._frames

    @property
    def frame(self) -> int:
        """Index of the frame shown."""
        return self._frame

    def set_label(self, label: str) -> None:
        """Change the corner label."""
        self._label = label
        self.setAccessibleName(f"Panel {label}" if label else "Movie")
        self.update()

    def set_message(self, message: str) -> None:
        """Show a sentence in the middle while there are no frames."""
        self._message = message
        self.update()

    def set_emphasised(self, emphasised: bool) -> None:
        """Draw a frame around the panel, for instance for the panel that has the keyboard."""
        if emphasised != self._emphasised:
            self._emphasised = emphasised
            self.update()

    def set_frames(self, frames: NDArray[Any] | None, *, adopt_size: bool = False) -> None:
        """Take frames to show.

        Args:
            frames: (t, y, x), uint8 or float, or None for an empty panel. The array is kept, not copied.
            adopt_size: also tell the view state the image size and levels (for a panel that stands alone; a
                `PanelRow` does it once for all its panels).

        Raises:
            ValueError: if the array does not have three dimensions.
        """
        if frames is not None and frames.ndim != 3:  # noqa: PLR2004
            raise ValueError(f"A movie has the dimensions (t, y, x), not {frames.ndim} dimensions.")
        self._frames = frames
        self._frame = 0
        if frames is not None and adopt_size:
            window, level = default_levels(frames)
            self._view.set_image(frames.shape[2], frames.shape[1], window=window, level=level)
        self._render()

    def show_frame(self, index: int) -> None:
        """Show a frame (taken modulo the length of the movie)."""
        if self._frames is None or not len(self._frames):
            return
        index %= len(self._frames)
        if index != self._frame:
            self._frame = index
            self._render()

    def add_overlay(self, overlay: Overlay) -> None:
        """Paint something above the image at every repaint, after the earlier overlays."""
        self._overlays.append(overlay)
        self.update()

    def remove_overlay(self, overlay: Overlay) -> None:
        """Stop painting an overlay."""
        self._overlays.remove(overlay)
        self.update()

    def add_mouse_handler(self, handler: MouseHandler) -> None:
        """Let a layer see the mouse before the panel zooms and pans; the last one added is asked first."""
        self._mouse_handlers.insert(0, handler)

    def remove_mouse_handler(self, handler: MouseHandler) -> None:
        """Stop asking a layer."""
        self._mouse_handlers.remove(handler)

    def scale(self) -> tuple[float, float]:
        """Widget pixels per image pixel in x and in y."""
        width, height = self._view.image_size
        aspect = self._view.pixel_aspect
        scale = self._view.zoom * min(self.width() / width, self.height() / (height * aspect))
        return scale, scale * aspect

    def image_to_widget(self, x: float, y: float) -> QPointF:
        """Widget position of the image point (x, y); integer coordinates are pixel centres."""
        scale_x, scale_y = self.scale()
        centre_x, centre_y = self._view.centre
        return QPointF(
            self.width() / 2 + (x - centre_x) * scale_x, self.height() / 2 + (y - centre_y) * scale_y
        )

    def widget_to_image(self, position: QPointF) -> tuple[float, float]:
        """Image point (x, y) under a widget position."""
        scale_x, scale_y = self.scale()
        centre_x, centre_y = self._view.centre
        return (
            centre_x + (position.x() - self.width() / 2) / scale_x,
            centre_y + (position.y() - self.height() / 2) / scale_y,
        )

    def image_rectangle(self) -> QRectF:
        """Where the whole image lies in the widget, also beyond its borders."""
        width, height = self._view.image_size
        return QRectF(self.image_to_widget(-0.5, -0.5), self.image_to_widget(width - 0.5, height - 0.5))

    def visible_rows(self) -> tuple[float, float]:
        """First and last image row coordinate that the panel shows, cut at the image's borders."""
        top = self.widget_to_image(QPointF(0, 0))[1]
        bottom = self.widget_to_image(QPointF(0, self.height()))[1]
        return max(top, -0.5), min(bottom, self._view.image_size[1] - 0.5)

    def sizeHint(self) -> QSize:  # noqa: N802
        """A comfortable square."""
        return QSize(320, 320)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the image, the overlays and the label."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(theme.VIEW))
        if self._image.isNull():
            self._paint_message(painter)
        else:
            smooth = self._view.interpolation == "smooth"
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            painter.drawImage(self.image_rectangle(), self._image)
            for overlay in self._overlays:
                painter.save()
                overlay(painter, self)
                painter.restore()
        self._paint_label(painter)
        if self._emphasised:
            painter.setPen(QColor(theme.ACCENT))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Zoom about the point under the pointer."""
        x, y = self.widget_to_image(event.position())
        self._view.zoom_about(_WHEEL_STEP ** (event.angleDelta().y() / _WHEEL_UNITS_PER_STEP), x, y)
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Begin to pan or to change the levels, unless a layer takes the press."""
        if self._handled(event):
            return
        self._drag_from = event.position()
        self._drag_button = event.button()
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Pan or change the levels."""
        if self._drag_from is None:
            self._handled(event)
            return
        moved = event.position() - self._drag_from
        self._drag_from = event.position()
        if self._drag_button == Qt.MouseButton.RightButton:
            self._view.drag_levels(moved.x(), moved.y())
        elif self._drag_button in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            scale_x, scale_y = self.scale()
            self._view.pan(moved.x() / scale_x, moved.y() / scale_y)
        event.accept()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """End panning."""
        if self._drag_from is None:
            self._handled(event)
            return
        self._drag_from = None
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Show the whole image again (left), or the clip's own levels (right)."""
        if self._handled(event):
            return
        if event.button() == Qt.MouseButton.RightButton:
            self._view.reset_levels()
        elif event.button() == Qt.MouseButton.LeftButton:
            self._view.reset_view()
        event.accept()

    def _handled(self, event: QMouseEvent) -> bool:
        for handler in list(self._mouse_handlers):
            if handler(event, self):
                event.accept()
                return True
        return False

    def _on_view_changed(self) -> None:
        if self._levels_painted != (self._view.window, self._view.level):
            self._render()
        self.update()

    def _render(self) -> None:
        """Make the 8-bit image of the frame shown; the array is kept, since the QImage does not copy it."""
        if self._frames is None or not len(self._frames):
            self._image = QImage()
            self._pixels = None
        else:
            pixels = to_display(self._frames[self._frame], self._view.window, self._view.level)
            height, width = pixels.shape
            self._image = QImage(pixels.data, width, height, width, QImage.Format.Format_Grayscale8)
            self._pixels = pixels
        self._levels_painted = (self._view.window, self._view.level)
        self.update()

    def _paint_message(self, painter: QPainter) -> None:
        painter.setPen(QColor(theme.MUTED))
        area = QRectF(self.rect()).adjusted(16, 16, -16, -16)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._message)

    def _paint_label(self, painter: QPainter) -> None:
        if not self._label:
            return
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * (1.5 if len(self._label) <= 2 else 1.1))  # noqa: PLR2004
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        area = QRectF(self.rect()).adjusted(12, 8, -12, -8)
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
        # A dark outline keeps the letter readable on bright fat without covering the image by a box.
        painter.setPen(QColor(0, 0, 0, 170))
        for right, down in ((-1, -1), (1, -1), (-1, 1), (1, 1), (0, 2)):
            painter.drawText(area.translated(right, down), flags, self._label)
        painter.setPen(QColor(theme.TEXT))
        painter.drawText(area, flags, self._label)


def default_levels(values: NDArray[Any]) -> tuple[float, float]:
    """Window and level that a new clip starts with.

    8-bit frames are display frames already and are shown as they are. Other values are shown from 0 (or the
    smallest value, if negative) to the 99.8th percentile, taken from about 200 000 samples so that a long
    clip does not hold up the window.
    """
    if values.dtype == np.uint8:
        return 255.0, 127.5
    flat = values.reshape(-1)
    # An odd step does not fall into step with image rows, whose lengths are even.
    sample = flat[:: max(1, flat.size // 200_000) | 1]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 1.0, 0.5
    low = min(0.0, float(sample.min()))
    high = float(np.percentile(sample, 99.8))
    return high - low, (high + low) / 2
