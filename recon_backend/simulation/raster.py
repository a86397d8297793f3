"""Drawing of moving organs: closed curves in mm are filled with exact edges, whatever the matrix.

A pixel gets the part of its area that lies inside a curve (exact along x, from lines at most 0.2 mm apart
along y), so the same scene drawn on a fine and on a coarse matrix agrees after averaging. Pixel i of N lies
at (i - N // 2) x spacing. Curves are arrays (point, 2) of (y, x) in mm, y downwards and x to the right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Curve = NDArray[np.float64]
_LINE_SPACING_MM = 0.2
_FEWEST_LINES = 4
_TEXTURE_SIZE = 512


def smooth_curve(points: NDArray[np.floating], per_segment: int = 8, *, closed: bool = True) -> Curve:
    """Return a Catmull-Rom curve through control points (point, 2); `per_segment` points for every one."""
    control = np.asarray(points, dtype=np.float64)
    if closed:
        before, after, beyond = np.roll(control, 1, 0), np.roll(control, -1, 0), np.roll(control, -2, 0)
        start = control
    else:
        padded = np.concatenate([2 * control[:1] - control[1:2], control, 2 * control[-1:] - control[-2:-1]])
        before, start, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    u = (np.arange(per_segment) / per_segment)[None, :, None]
    p0, p1, p2, p3 = (part[:, None, :] for part in (before, start, after, beyond))
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3
    ).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, control[-1:]])


def ellipse(
    centre_yx: tuple[float, float],
    semi_axes_yx: tuple[float, float],
    angle_rad: float = 0.0,
    points: int = 48,
) -> Curve:
    """Return an ellipse; the angle turns it from x towards y."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = semi_axes_yx[1] * np.cos(turn), semi_axes_yx[0] * np.sin(turn)
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.stack([centre_yx[0] + x * sine + y * cosine, centre_yx[1] + x * cosine - y * sine], axis=-1)


def stroke(points: NDArray[np.floating], width: float | NDArray[np.floating]) -> Curve:
    """Return the outline of a line (point, 2) of a width in mm, one value or one for each point."""
    line = np.asarray(points, dtype=np.float64)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    side = (
        np.stack([along[:, 1], -along[:, 0]], axis=-1) * (np.asarray(width) / 2 * np.ones(len(line)))[:, None]
    )
    return np.concatenate([line + side, (line - side)[::-1]])


def inset(curve: Curve, distance: float | NDArray[np.floating]) -> Curve:
    """Return a closed curve moved inwards by a distance in mm (negative: outwards), point by point."""
    along = np.roll(curve, -1, 0) - np.roll(curve, 1, 0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    following = np.roll(curve, -1, 0)
    area = np.sum(curve[:, 1] * following[:, 0] - following[:, 1] * curve[:, 0])
    side = np.stack([along[:, 1], -along[:, 0]], axis=-1) * np.sign(area)
    return curve + side * (np.asarray(distance) * np.ones(len(curve)))[:, None]


class Texture:
    """Smooth random pattern of mean 0 and standard deviation 1, periodic over 512 mm, known at any place."""

    def __init__(self, rng: np.random.Generator, correlation_mm: float) -> None:
        """Draw a pattern whose details are about `correlation_mm` wide."""
        pattern = gaussian_filter(
            rng.standard_normal((_TEXTURE_SIZE, _TEXTURE_SIZE)), correlation_mm, mode="wrap"
        )
        self._pattern = ((pattern - pattern.mean()) / pattern.std()).astype(np.float32)

    def at(self, y_mm: NDArray[np.floating], x_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the pattern at places (broadcast against each other) in mm."""
        places = np.broadcast_arrays(y_mm, x_mm)
        return np.asarray(map_coordinates(self._pattern, places, order=1, mode="grid-wrap"), dtype=np.float32)


@dataclass(frozen=True)
class Fill:
    """The covered part of the pixels in a box of the image."""

    rows: slice
    columns: slice
    coverage: NDArray[np.float32]

    def within(self, other: Fill) -> Fill:
        """Return the part that lies inside another one as well."""
        top, bottom = max(self.rows.start, other.rows.start), min(self.rows.stop, other.rows.stop)
        left, right = max(self.columns.start, other.columns.start), min(self.columns.stop, other.columns.stop)
        bottom, right = max(top, bottom), max(left, right)
        parts = [
            part.coverage[
                top - part.rows.start : bottom - part.rows.start,
                left - part.columns.start : right - part.columns.start,
            ]
            for part in (self, other)
        ]
        if parts[0].shape != parts[1].shape:
            return Fill(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=np.float32))
        return Fill(slice(top, bottom), slice(left, right), parts[0] * parts[1])


@dataclass(frozen=True)
class Layer:
    """What a fixed row of paintings does to any image under it: image x passed + added."""

    passed: NDArray[np.float32]
    added: NDArray[np.float32]


class Canvas:
    """An image in mm that shapes are painted onto, one over the other."""

    def __init__(self, matrix: tuple[int, int], field_of_view_mm: tuple[float, float]) -> None:
        """Start with an empty image of a matrix (y, x) over a field of view (y, x) in mm."""
        self.image: NDArray[np.float32] = np.zeros(matrix, dtype=np.float32)
        self._spacing = (field_of_view_mm[0] / matrix[0], field_of_view_mm[1] / matrix[1])
        self.y_mm = (np.arange(matrix[0]) - matrix[0] // 2)[:, None] * self._spacing[0]
        self.x_mm = (np.arange(matrix[1]) - matrix[1] // 2)[None, :] * self._spacing[1]

    def clear(self) -> None:
        """Start again with an empty image."""
        self.image = np.zeros_like(self.image)

    def record(self, paint: Callable[[Canvas], None]) -> Layer:
        """Return what a function paints, for repeated use on canvases of this matrix and field of view."""
        field_of_view = (self._spacing[0] * self.image.shape[0], self._spacing[1] * self.image.shape[1])
        on_black, on_white = (
            Canvas((self.image.shape[0], self.image.shape[1]), field_of_view) for _ in range(2)
        )
        on_white.image += 1
        paint(on_black)
        paint(on_white)
        return Layer(on_white.image - on_black.image, on_black.image)

    def lay(self, layer: Layer) -> None:
        """Put a recorded layer over the image."""
        self.image = self.image * layer.passed + layer.added

    @property
    def grid(self) -> tuple[int, int, float, float]:
        """Matrix and pixel spacing: canvases that agree in it can share layers."""
        return self.image.shape[0], self.image.shape[1], self._spacing[0], self._spacing[1]

    def fill(self, curves: Curve | Sequence[Curve], softness_mm: float = 0.0) -> Fill:
        """Return how much of every pixel lies inside closed curves (an empty box if outside the image).

        Overlapping parts count once; curves that overlap must run the same way round, as strokes do.
        `softness_mm` blurs the edge (standard deviation).
        """
        size_y, size_x = self.image.shape
        parts = [curves] if isinstance(curves, np.ndarray) else list(curves)
        start = np.concatenate(parts) / self._spacing + (size_y // 2 + 0.5, size_x // 2 + 0.5)
        following = np.concatenate([np.concatenate([part[1:], part[:1]]) for part in parts])
        end = following / self._spacing + (size_y // 2 + 0.5, size_x // 2 + 0.5)
        y, x = start[:, 0], start[:, 1]
        soft_px = softness_mm / self._spacing[0]
        margin = int(np.ceil(3 * soft_px)) + 1
        top, bottom = max(0, int(y.min()) - margin), min(size_y, int(y.max()) + 1 + margin)
        left, right = max(0, int(x.min()) - margin), min(size_x, int(x.max()) + 1 + margin)
        if bottom <= top or right <= left:
            return Fill(slice(0, 0), slice(0, 0), np.zeros((0, 0), dtype=np.float32))
        lines = max(_FEWEST_LINES, math.ceil(self._spacing[0] / _LINE_SPACING_MM))
        coverage = _covered(start - (top, left), end - (top, left), (bottom - top, right - left), lines)
        if soft_px > 0.05:
            coverage = gaussian_filter(coverage, soft_px, mode="nearest", truncate=3.0)
        return Fill(slice(top, bottom), slice(left, right), coverage)

    def paint(
        self,
        curve: Curve | Sequence[Curve],
        value: float,
        *,
        opacity: float = 1.0,
        softness_mm: float = 0.0,
        texture: Texture | None = None,
        contrast: float = 0.0,
        origin_yx: tuple[float, float] = (0.0, 0.0),
        inside: Fill | None = None,
    ) -> None:
        """Paint the inside of a curve.

        Args:
            curve: closed curve in mm, or several as for `fill`.
            value: signal.
            opacity: 1 replaces what was there, less lets it through.
            softness_mm: blur of the edge.
            texture: pattern that modulates the signal.
            contrast: relative standard deviation of that modulation.
            origin_yx: place the texture is fixed to, so that it moves with the organ.
            inside: what `fill` returned for a second curve; only what lies inside both is painted.
        """
        filled = self.fill(curve, softness_mm)
        if inside is not None:
            filled = filled.within(inside)
        rows, columns = filled.rows, filled.columns
        if filled.coverage.size == 0:
            return
        alpha = filled.coverage * np.float32(opacity)
        signal: NDArray[np.float32] | np.float32 = np.float32(value)
        if texture is not None and contrast > 0:
            pattern = texture.at(self.y_mm[rows] - origin_yx[0], self.x_mm[:, columns] - origin_yx[1])
            signal = np.float32(value) * np.maximum(1 + np.float32(contrast) * pattern, 0)
        part = self.image[rows, columns]
        part += alpha * (signal - part)


def _covered(start: Curve, end: Curve, box: tuple[int, int], lines: int) -> NDArray[np.float32]:
    """Return the covered area (row, column) of polygons given by their edges (y, x) in pixels.

    Edges of pixels lie at whole numbers; `lines` lines a row are looked at, exactly along x.
    """
    rows, columns = box
    y0, x0 = start[:, 0] * lines - 0.5, start[:, 1]
    y1, x1 = end[:, 0] * lines - 0.5, end[:, 1]
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, rows * lines).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1)), 0, rows * lines).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(y0)), count)
    line = first[edge] + np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
    crossing = x0[edge] + (line - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    direction = np.where(y1[edge] > y0[edge], 1.0, -1.0)
    crossing = np.clip(crossing, 0.0, columns)
    column = np.minimum(crossing.astype(np.int64), columns - 1)
    beyond = crossing - column
    place = line * (columns + 1) + column
    size = rows * lines * (columns + 1)
    table = np.bincount(place, direction * (1 - beyond), size) + np.bincount(
        place + 1, direction * beyond, size
    )
    winding = table.astype(np.float32).reshape(-1, columns + 1)
    np.cumsum(winding, axis=1, out=winding)
    np.abs(winding, out=winding)
    np.minimum(winding, 1.0, out=winding)
    return np.asarray(winding[:, :columns].reshape(rows, lines, columns).mean(axis=1), dtype=np.float32)
