"""What all panels of a clip have in common: the part of the image shown, levels, and interpolation.

One object, many panels: a panel never keeps a view of its own, so panels cannot come apart and no panel can
look brighter, larger or smoother than its neighbour, which in a blinded reading would be a hint. Image
coordinates have the centre of pixel (column i, row j) at (x, y) = (i, j); pixel (0, 0) thus covers −0.5 …
0.5.

By default an image pixel covers a whole number of the screen's own pixels, n × n of the same grey: nothing
between the data and the eye is interpolated, and no pixel is broader than its neighbour.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

Interpolation = Literal["smooth", "nearest"]
"""How pixels are enlarged where they do not cover whole pixels of the screen."""

MAXIMUM_ZOOM = 32.0
_EIGHT_BIT_WINDOW = 255.0
_EIGHT_BIT_LEVEL = 127.5


def to_display(values: NDArray[Any], window: float, level: float) -> NDArray[np.uint8]:
    """Map values to 8-bit grey by window and level: level − window/2 is black, level + window/2 is white.

    Args:
        values: any real array; uint8 arrays are mapped through a table.
        window: width of the shown range, above 0.
        level: centre of the shown range.

    Returns:
        C-contiguous uint8 array of the same shape; the input itself if nothing needs to change.
    """
    if values.dtype == np.uint8:
        if window == _EIGHT_BIT_WINDOW and level == _EIGHT_BIT_LEVEL:
            return np.ascontiguousarray(values)
        return np.take(_to_grey(np.arange(256, dtype=np.float32), window, level), values)
    return _to_grey(values, window, level)


def _to_grey(values: NDArray[Any], window: float, level: float) -> NDArray[np.uint8]:
    scaled = (values - np.float32(level - window / 2)) * np.float32(255.0 / window)
    return np.clip(scaled + np.float32(0.5), 0, 255).astype(np.uint8)


class ViewState(QObject):
    """Centre, zoom, window and level that every panel of a clip obeys.

    `zoom` is 1 when the whole image fits into a panel (with integer scaling: at the largest whole number of
    screen pixels that fits). `changed` is emitted once after any change.
    """

    changed = Signal()
    integer_scaling_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        """Start with a unit image and the full 8-bit range."""
        super().__init__(parent)
        self._width = 1
        self._height = 1
        self._pixel_aspect = 1.0
        self._centre = (0.0, 0.0)
        self._zoom = 1.0
        self._default_levels = (_EIGHT_BIT_WINDOW, _EIGHT_BIT_LEVEL)
        self._levels = self._default_levels
        self._interpolation: Interpolation = "smooth"
        self._integer_scaling = True
        self._version = 0

    @property
    def version(self) -> int:
        """A number that is another after every change, for what is computed from the view and kept."""
        return self._version

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self._width, self._height

    @property
    def pixel_aspect(self) -> float:
        """Height of a pixel divided by its width."""
        return self._pixel_aspect

    @property
    def centre(self) -> tuple[float, float]:
        """Image point (x, y) in the middle of every panel, in pixels."""
        return self._centre

    @property
    def zoom(self) -> float:
        """Magnification relative to the whole image fitting into the panel."""
        return self._zoom

    @property
    def window(self) -> float:
        """Width of the grey range in data units."""
        return self._levels[0]

    @property
    def level(self) -> float:
        """Centre of the grey range in data units."""
        return self._levels[1]

    @property
    def interpolation(self) -> Interpolation:
        """How pixels are enlarged without integer scaling, the same for all panels: "smooth" is bilinear."""
        return self._interpolation

    @property
    def integer_scaling(self) -> bool:
        """Whether an image pixel covers a whole number of screen pixels; else the image fills the panel."""
        return self._integer_scaling

    def set_image(
        self,
        width: int,
        height: int,
        *,
        pixel_aspect: float = 1.0,
        window: float = _EIGHT_BIT_WINDOW,
        level: float = _EIGHT_BIT_LEVEL,
        keep: bool = False,
    ) -> None:
        """Take a new image size and new default window and level.

        Args:
            width: image width in pixels.
            height: image height in pixels.
            pixel_aspect: height of a pixel divided by its width.
            window: default window in data units; a window of 0 (constant image) is taken as 1.
            level: default level in data units.
            keep: keep the present view and levels if the geometry and the defaults are the same as before.

        Raises:
            ValueError: if size or aspect is not positive.
        """
        if width < 1 or height < 1 or not pixel_aspect > 0:
            raise ValueError(
                f"An image of {width} × {height} pixels of aspect {pixel_aspect} cannot be shown."
            )
        levels = (window if window > 0 else 1.0, level)
        geometry = (width, height, pixel_aspect)
        same = geometry == (self._width, self._height, self._pixel_aspect) and levels == self._default_levels
        if keep and same:
            return
        self._width, self._height, self._pixel_aspect = geometry
        self._default_levels = levels
        self._levels = levels
        self._zoom = 1.0
        self._centre = self._middle()
        self._tell()

    def reset_view(self) -> None:
        """Show the whole image."""
        self._zoom = 1.0
        self._centre = self._middle()
        self._tell()

    def reset_levels(self) -> None:
        """Return to the clip's own window and level."""
        self._levels = self._default_levels
        self._tell()

    def set_levels(self, window: float, level: float) -> None:
        """Set window and level in data units; the window is kept at 1 % of the default window or more."""
        smallest = self._default_levels[0] / 100
        self._levels = (max(window, smallest), level)
        self._tell()

    def drag_levels(self, right: float, down: float) -> None:
        """Change window and level by a mouse movement in screen pixels: right is wider, down is brighter."""
        step = self._default_levels[0] / 400
        self.set_levels(self.window + right * step, self.level - down * step)

    def zoom_about(self, factor: float, x: float, y: float) -> None:
        """Zoom by `factor`, keeping the image point (x, y) where it is on the screen."""
        zoom = min(max(self._zoom * factor, 1.0), MAXIMUM_ZOOM)
        ratio = self._zoom / zoom
        self._zoom = zoom
        self._centre = self._within(x + (self._centre[0] - x) * ratio, y + (self._centre[1] - y) * ratio)
        self._tell()

    def set_view(self, x: float, y: float, zoom: float) -> None:
        """Show the image point (x, y) in the middle at a zoom of 1 … 32."""
        self._zoom = min(max(zoom, 1.0), MAXIMUM_ZOOM)
        self._centre = self._within(x, y)
        self._tell()

    def pan(self, right: float, down: float) -> None:
        """Move the image by (right, down) image pixels."""
        self._centre = self._within(self._centre[0] - right, self._centre[1] - down)
        self._tell()

    def set_interpolation(self, interpolation: Interpolation) -> None:
        """Choose how all panels enlarge pixels where they do not cover whole pixels of the screen."""
        self._interpolation = interpolation
        self._tell()

    def set_integer_scaling(self, integer_scaling: bool) -> None:
        """Let an image pixel cover a whole number of screen pixels, or let the image fill the panel."""
        if integer_scaling != self._integer_scaling:
            self._integer_scaling = integer_scaling
            self._tell()
            self.integer_scaling_changed.emit(integer_scaling)

    def _tell(self) -> None:
        self._version += 1
        self.changed.emit()

    def _middle(self) -> tuple[float, float]:
        return (self._width - 1) / 2, (self._height - 1) / 2

    def _within(self, x: float, y: float) -> tuple[float, float]:
        """Keep the centre so far inside that the image cannot be lost from sight."""
        return _clamped(x, self._width, self._zoom), _clamped(y, self._height, self._zoom)


def _clamped(centre: float, extent: int, zoom: float) -> float:
    middle = (extent - 1) / 2
    play = extent / 2 * (1 - 1 / zoom)
    if not math.isfinite(centre):
        return middle
    return min(max(centre, middle - play), middle + play)
