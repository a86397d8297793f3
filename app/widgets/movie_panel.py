"""One movie of a clip: frames blitted as 8-bit grey images, seen through the common `ViewState`.

Frame to screen: widget point = panel middle + (image point − view centre) · scale, with
scale = zoom · min(panel width / image width, panel height / image height). With integer scaling, scale times
the device pixel ratio is the next lower whole number and the image begins on a pixel of the screen, so each
image pixel is a block of equal screen pixels, at a ratio of 1.25 or 1.5 too. An image larger than its panel,
or with pixels so oblong that no small block has their shape, is fitted instead. The panel owns no view of
its own and knows neither which method made its movie nor where the file lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QRegion,
    QResizeEvent,
    QWheelEvent,
    qRgb,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.view_state import ViewState, to_display

Overlay = Callable[[QPainter, "MoviePanel"], None]
"""Paints above the image, in widget coordinates (use `MoviePanel.image_to_widget`)."""

MouseHandler = Callable[[QMouseEvent, "MoviePanel"], bool]
"""Sees presses, moves, releases and double clicks first (`event.type()` tells); True means taken."""

_WHEEL_STEP = 1.2
_WHEEL_UNITS_PER_STEP = 120
_LARGEST_DISTORTION = 0.01
"""How far the shape of a block of screen pixels may be from an oblong pixel's own shape."""


class _Placement(NamedTuple):
    """Where the image lies in the widget: its upper left corner, and widget pixels per image pixel."""

    left: float
    top: float
    scale_x: float
    scale_y: float
    whole: bool


class MoviePanel(QWidget):
    """Shows the frames of one movie; the wheel zooms, dragging pans, right-dragging sets the levels.

    `frame_painted` tells that a frame has come into the window, once for each time it was shown. It comes
    while the window is being painted: what it is connected to may count, but not change widgets.

    Args:
        label: what stands in the corner ("A"); it is also the accessible name ("Panel A").
        view_state: the view shared with the other panels; a private one if None.
        parent: Qt owner.
    """

    frame_painted = Signal(int)

    def __init__(
        self, label: str = "", view_state: ViewState | None = None, parent: QWidget | None = None
    ) -> None:
        """Start without frames."""
        super().__init__(parent)
        self._view = view_state if view_state is not None else ViewState(self)
        self._frames: NDArray[Any] | None = None
        self._frame = 0
        self._image = QImage()
        self._levels_painted = (0.0, 0.0)
        self._painted = False
        self._placed: _Placement | None = None
        self._placed_for = -1
        self._label_picture: QPixmap | None = None
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

    @property
    def painted(self) -> bool:
        """Whether the frame shown has been painted."""
        return self._painted

    @property
    def device_pixels_per_pixel(self) -> tuple[float, float]:
        """Screen pixels that an image pixel covers in x and in y; whole numbers with integer scaling."""
        ratio = self.devicePixelRatioF()
        scale_x, scale_y = self.scale()
        return scale_x * ratio, scale_y * ratio

    def set_label(self, label: str) -> None:
        """Change the corner label."""
        self._label = label
        self._label_picture = None
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
        self._painted = False
        if frames is not None and adopt_size:
            window, level = default_levels(frames)
            self._view.set_image(frames.shape[2], frames.shape[1], window=window, level=level)
        self._render()
        self.update()

    def show_frame(self, index: int) -> None:
        """Show a frame (taken modulo the length of the movie)."""
        if self._frames is None or not len(self._frames):
            return
        index %= len(self._frames)
        if index != self._frame:
            self._frame = index
            self._painted = False
            self._render()
            self.update(self._image_area())

    def paint_again(self) -> None:
        """Paint the frame shown once more and tell of it by `frame_painted`."""
        self._painted = False
        self.update()

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
        placement = self._placement()
        return placement.scale_x, placement.scale_y

    def image_to_widget(self, x: float, y: float) -> QPointF:
        """Widget position of the image point (x, y); integer coordinates are pixel centres."""
        left, top, scale_x, scale_y, _ = self._placement()
        return QPointF(left + (x + 0.5) * scale_x, top + (y + 0.5) * scale_y)

    def widget_to_image(self, position: QPointF) -> tuple[float, float]:
        """Image point (x, y) under a widget position."""
        left, top, scale_x, scale_y, _ = self._placement()
        return (position.x() - left) / scale_x - 0.5, (position.y() - top) / scale_y - 0.5

    def image_rectangle(self) -> QRectF:
        """Where the whole image lies in the widget, also beyond its borders."""
        width, height = self._view.image_size
        return QRectF(self.image_to_widget(-0.5, -0.5), self.image_to_widget(width - 0.5, height - 0.5))

    def visible_columns(self) -> tuple[float, float]:
        """First and last image column coordinate that the panel shows, cut at the image's borders."""
        left = self.widget_to_image(QPointF(0, 0))[0]
        right = self.widget_to_image(QPointF(self.width(), 0))[0]
        return max(left, -0.5), min(right, self._view.image_size[0] - 0.5)

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
        if self._image.isNull():
            painter.fillRect(event.rect(), QColor(theme.VIEW))
            self._paint_message(painter)
        else:
            # What the image covers need not be cleared before.
            around = event.region().subtracted(QRegion(_inner(self.image_rectangle())))
            if not around.isEmpty():
                painter.setClipRegion(around)
                painter.fillRect(event.rect(), QColor(theme.VIEW))
                painter.setClipping(False)
            self._paint_image(painter)
            for overlay in self._overlays:
                painter.save()
                overlay(painter, self)
                painter.restore()
        self._paint_label(painter)
        if self._emphasised:
            painter.setPen(QColor(theme.ACCENT))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()
        if not self._painted and not self._image.isNull():
            visible = self._image_area().intersected(self.visibleRegion().boundingRect())
            if event.rect().contains(visible):
                self._painted = True
                self.frame_painted.emit(self._frame)

    def event(self, event: QEvent) -> bool:
        """Follow the window to a screen with other pixels."""
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._forget_placement()
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Place the image anew."""
        super().resizeEvent(event)
        self._forget_placement()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Zoom about the point under the pointer."""
        x, y = self.widget_to_image(event.position())
        self._view.zoom_about(self._zoom_factor(event.angleDelta().y() / _WHEEL_UNITS_PER_STEP), x, y)
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
        """Make the picture of the frame shown, in the form that Qt blits fastest."""
        window, level = self._view.window, self._view.level
        if self._frames is None or not len(self._frames):
            self._image = QImage()
        else:
            frame = self._frames[self._frame]
            # Bytes go through a table of 256 greys: levels cost the same at any size of the image.
            table = grey_table(window, level) if frame.dtype == np.uint8 else grey_table(255.0, 127.5)
            pixels = np.ascontiguousarray(
                frame if frame.dtype == np.uint8 else to_display(frame, window, level)
            )
            height, width = pixels.shape
            indexed = QImage(pixels.data, width, height, width, QImage.Format.Format_Indexed8)
            indexed.setColorTable(table)
            self._image = indexed.convertToFormat(QImage.Format.Format_RGB32)
        self._levels_painted = (window, level)

    # Placing

    def _forget_placement(self) -> None:
        self._placed = None
        self._label_picture = None
        self.update()

    def _placement(self) -> _Placement:
        if self._placed is None or self._placed_for != self._view.version:
            centre_x, centre_y = self._view.centre
            ratio = self.devicePixelRatioF()
            (across, down), whole = self._blocks()
            left = self.width() / 2 * ratio - (centre_x + 0.5) * across
            top = self.height() / 2 * ratio - (centre_y + 0.5) * down
            if whole:
                left, top = round(left), round(top)
            self._placed_for = self._view.version
            self._placed = _Placement(left / ratio, top / ratio, across / ratio, down / ratio, whole)
        return self._placed

    def _blocks(self) -> tuple[tuple[float, float], bool]:
        """Screen pixels across and down that an image pixel covers, and whether these are whole numbers."""
        width, height = self._view.image_size
        aspect = self._view.pixel_aspect
        ratio = self.devicePixelRatioF()
        across, down = self.width() * ratio / width, self.height() * ratio / height
        fitting = min(across, down / aspect)
        block = whole_block(aspect, fitting) if self._view.integer_scaling else None
        if block is not None:
            times = round(self._times_fitting(block) * self._view.zoom)
            return (float(times * block[0]), float(times * block[1])), True
        free = fitting * self._view.zoom
        return (free, free * aspect), False

    def _times_fitting(self, block: tuple[int, int]) -> int:
        """How many times as large as the smallest block the pixels of the whole image can be."""
        width, height = self._view.image_size
        ratio = self.devicePixelRatioF()
        across, down = self.width() * ratio / width, self.height() * ratio / height
        return max(1, math.floor(min(across / block[0], down / block[1]) + 1e-9))

    def _zoom_factor(self, steps: float) -> float:
        """What so many steps of the wheel zoom by; blocks that are whole change by one at least."""
        factor = _WHEEL_STEP**steps
        (across, down), whole = self._blocks()
        if not whole or abs(steps) < 1:
            return factor
        times = math.gcd(round(across), round(down))
        fitting = self._times_fitting((round(across) // times, round(down) // times))
        wanted = round(times * factor)
        if wanted == times:
            wanted += 1 if factor > 1 else -1
        return max(wanted, fitting) / (fitting * self._view.zoom)

    def _image_area(self) -> QRect:
        return self.image_rectangle().toAlignedRect().intersected(self.rect())

    # Painting

    def _paint_image(self, painter: QPainter) -> None:
        placement = self._placement()
        if not placement.whole:
            shrunk = min(self.device_pixels_per_pixel) < 1
            smooth = self._view.interpolation == "smooth" or shrunk
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            painter.drawImage(self.image_rectangle(), self._image)
            return
        across, down = (round(pixels) for pixels in self.device_pixels_per_pixel)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        x, y = enter_device_pixels(painter, QPointF(placement.left, placement.top))
        size = (across * self._image.width(), down * self._image.height())
        painter.drawImage(QRectF(x, y, *size), self._image)
        painter.restore()

    def _paint_message(self, painter: QPainter) -> None:
        painter.setPen(QColor(theme.MUTED))
        area = QRectF(self.rect()).adjusted(16, 16, -16, -16)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._message)

    def _paint_label(self, painter: QPainter) -> None:
        if not self._label:
            return
        if self._label_picture is None:
            self._label_picture = self._draw_label()
        painter.drawPixmap(0, 0, self._label_picture)

    def _draw_label(self) -> QPixmap:
        """The label as a picture, because text is slow to lay out and movies are repainted often."""
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * (1.5 if len(self._label) <= 2 else 1.1))  # noqa: PLR2004
        font.setWeight(QFont.Weight.DemiBold)
        ratio = self.devicePixelRatioF()
        area = QRectF(self.rect()).adjusted(12, 8, -12, -8)
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
        measuring = QPainter(blank := QPixmap(1, 1))
        measuring.setFont(font)
        needed = measuring.boundingRect(area, flags, self._label)
        measuring.end()
        del blank
        width, height = needed.right() + 4, min(needed.bottom(), self.height()) + 4
        picture = QPixmap(math.ceil(width * ratio), math.ceil(height * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setFont(font)
        # A dark outline keeps the letter readable on bright fat without covering the image by a box.
        painter.setPen(QColor(0, 0, 0, 170))
        for right, down in ((-1, -1), (1, -1), (-1, 1), (1, 1), (0, 2)):
            painter.drawText(area.translated(right, down), flags, self._label)
        painter.setPen(QColor(theme.TEXT))
        painter.drawText(area, flags, self._label)
        painter.end()
        return picture


def enter_device_pixels(painter: QPainter, corner: QPointF) -> tuple[int, int]:
    """Let a painter count in the pixels of its device; where a widget point lies there, on a whole pixel.

    A widget may begin between two pixels of the screen where the device pixel ratio is not a whole number.
    """
    to_device = painter.deviceTransform()
    point = to_device.map(corner)
    painter.setTransform(to_device.inverted()[0] * painter.transform())
    return round(point.x()), round(point.y())


def whole_block(aspect: float, largest: float) -> tuple[int, int] | None:
    """The smallest block of screen pixels, across and down, that has the shape of an image pixel.

    Args:
        aspect: height of a pixel divided by its width.
        largest: screen pixels that the block may be broad.

    Returns:
        (1, 1) for square pixels; None if there is no block so small whose shape is within 1 %.
    """
    for across in range(1, math.floor(largest + 1e-9) + 1):
        down = round(across * aspect)
        if down and abs(down / (across * aspect) - 1) <= _LARGEST_DISTORTION:
            return across, down
    return None


@lru_cache(maxsize=16)
def grey_table(window: float, level: float) -> list[int]:
    """The 256 greys of a byte image at a window and a level, as Qt's colour tables want them."""
    greys = to_display(np.arange(256, dtype=np.uint8), window, level)
    return [qRgb(grey, grey, grey) for grey in greys.tolist()]


def _inner(area: QRectF) -> QRect:
    """The pixels that lie in an area as a whole."""
    left, top = math.ceil(area.left() - 1e-6), math.ceil(area.top() - 1e-6)
    right, bottom = math.floor(area.right() + 1e-6), math.floor(area.bottom() + 1e-6)
    return QRect(left, top, max(right - left, 0), max(bottom - top, 0))


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
