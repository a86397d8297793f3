"""Signal-to-noise ratio and edge sharpness of movies, on pixel-exact masks and our own line profiles.

Shapes live in pixel coordinates (x = column, y = row) in which the centre of pixel ``[j, i]`` is at x = i,
y = j. A pixel belongs to a region if its centre lies in it or on its border, nothing is interpolated:
interpolated noise is weaker noise, and half a pixel off the grid would add 6 dB. Per frame::

    SNR = 20 log10( mean(signal region) / SD(background region) )          [dB], SD with N - 1
    ES  = max | d/ds (p - min p) / (max p - min p) |                       [1/mm], p along the line, s in mm

The 10-90 % distance of an error function fitted to the main edge, in mm, stands beside ES because the
maximum gradient depends on noise (sharp edges read too soft, soft edges too sharp). The SD of a background
region is not the noise in the anatomy after parallel imaging, and nonlinear reconstructions can blank the
air: `BACKGROUND_SNR_WARNING` goes with every table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, special

from studies.errors import StudyError

BoolMask: TypeAlias = NDArray[np.bool_]
Point: TypeAlias = tuple[float, float]
SplineOrder: TypeAlias = Literal[1, 2, 3]

SCHEMA = "blindcine-shapes-1"
PAPER_WINDOW_S = 1.5
"""Jaubert et al. 2024 report the mean and SD of edge sharpness over 1.5 s."""
PROFILE_SPACING_PX = 0.25
PROFILE_ORDER: SplineOrder = 1
"""Linear: it cannot overshoot, so it adds no sharpness of its own."""
TEN_NINETY_PER_SIGMA = float(2 * special.ndtri(0.9))
"""An error-function edge of SD sigma rises from 10 to 90 % over 2.563 sigma."""
PLATEAU_FRACTION = 0.2
MINIMUM_REGION_PIXELS = 20
MINIMUM_LINE_PX = 5.0
SUSPICIOUS_NOISE_FRACTION = 1e-3
BACKGROUND_SNR_WARNING = (
    "SNR is the mean of the signal region over the SD of a region of air. After parallel imaging this is "
    "not the noise "
    "in the anatomy (Kellman and McVeigh 2005), and nonlinear reconstructions (compressed sensing, "
    "networks) can "
    "suppress the air: SNR then rises without better anatomy. Magnitude air also reads 3 to 4 dB high. "
    "Compare "
    "these numbers between reconstructions with care, and never without the images."
)
_BORDER = 1e-9
"""Tolerance of "on the border", in pixels: drawing coordinates are rounded numbers."""


# Masks


def _pixel_grid(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row vector of x and column vector of y of all pixel centres."""
    rows, columns = shape
    if rows < 1 or columns < 1:
        raise StudyError(f"An image of {rows} × {columns} pixels has no region to measure.")
    return np.arange(columns, dtype=np.float64)[None, :], np.arange(rows, dtype=np.float64)[:, None]


def _turned(
    shape: tuple[int, int], centre_xy: Point, angle: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres in the frame of a shape that is turned by `angle` (rad, from +x towards +y)."""
    x, y = _pixel_grid(shape)
    dx, dy = x - centre_xy[0], y - centre_xy[1]
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * dx + sine * dy, -sine * dx + cosine * dy


def ellipse_mask(
    shape: tuple[int, int], centre_xy: Point, semi_axes: tuple[float, float], angle: float = 0.0
) -> BoolMask:
    """Pixels whose centre lies in an ellipse (border included).

    Args:
        shape: (rows, columns) of the image.
        centre_xy: Centre in pixels.
        semi_axes: Half axes in pixels, the first along x before turning; both > 0.
        angle: Turn in rad from +x towards +y (clockwise on screen, where y points down).

    Returns:
        Boolean mask of `shape`.
    """
    u, v = _turned(shape, centre_xy, angle)
    return np.asarray((u / semi_axes[0]) ** 2 + (v / semi_axes[1]) ** 2 <= 1.0 + _BORDER)


def rectangle_mask(
    shape: tuple[int, int], centre_xy: Point, size_xy: tuple[float, float], angle: float = 0.0
) -> BoolMask:
    """Pixels whose centre lies in a rectangle of full sides `size_xy`, turned by `angle`; border included."""
    u, v = _turned(shape, centre_xy, angle)
    return np.asarray((np.abs(u) <= size_xy[0] / 2 + _BORDER) & (np.abs(v) <= size_xy[1] / 2 + _BORDER))


def polygon_mask(shape: tuple[int, int], vertices_xy: Sequence[Point]) -> BoolMask:
    """Pixels whose centre lies in a polygon (border included); the even-odd rule where it crosses itself.

    Args:
        shape: (rows, columns) of the image.
        vertices_xy: At least three corners in pixels, in order; the last is joined to the first.

    Returns:
        Boolean mask of `shape`.
    """
    x, y = _pixel_grid(shape)
    inside = np.zeros(shape, dtype=np.bool_)
    border = np.zeros(shape, dtype=np.bool_)
    corners = [(float(cx), float(cy)) for cx, cy in vertices_xy]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        if length == 0.0:
            continue
        across = ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length
        along = ((x1 - x0) * (x - x0) + (y1 - y0) * (y - y0)) / length
        border |= (np.abs(across) <= _BORDER) & (along >= -_BORDER) & (along <= length + _BORDER)
        # Half-open in y, so that a ray through a corner counts that corner once.
        spans = (y0 <= y) != (y1 <= y)
        if y1 != y0:
            inside ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside | border


# Shapes


def _numbers(data: Mapping[str, Any], key: str, kind: str, count: int | None = None) -> tuple[float, ...]:
    """Read a tuple of finite numbers from a stored shape, naming the field when that fails."""
    try:
        values = tuple(float(value) for value in data[key])
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"A stored {kind} needs the field '{key}' as a list of numbers.") from error
    if (count is not None and len(values) != count) or not all(map(math.isfinite, values)):
        raise StudyError(
            f"The field '{key}' of a stored {kind} needs {count} finite numbers, not {list(values)}."
        )
    return values


def _check_positive(values: Sequence[float], what: str) -> None:
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise StudyError(f"{what} must be larger than 0 pixels, but {tuple(values)} was given.")


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in pixel coordinates; see `ellipse_mask`."""

    centre_xy: Point
    semi_axes: tuple[float, float]
    angle: float = 0.0
    kind: ClassVar[str] = "ellipse"

    def __post_init__(self) -> None:
        """Check the sizes."""
        _check_positive(self.semi_axes, "The half axes of an ellipse")

    def mask(self, shape: tuple[int, int]) -> BoolMask:
        """Pixels inside; boolean of `shape` (rows, columns)."""
        return ellipse_mask(shape, self.centre_xy, self.semi_axes, self.angle)

    def moved(self, dx: float, dy: float) -> Ellipse:
        """The same ellipse `dx` pixels to the right and `dy` pixels down."""
        return Ellipse((self.centre_xy[0] + dx, self.centre_xy[1] + dy), self.semi_axes, self.angle)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": self.kind,
            "centre_xy": list(self.centre_xy),
            "semi_axes": list(self.semi_axes),
            "angle": self.angle,
        }


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in pixel coordinates with full side lengths `size_xy`; see `rectangle_mask`."""

    centre_xy: Point
    size_xy: tuple[float, float]
    angle: float = 0.0
    kind: ClassVar[str] = "rectangle"

    def __post_init__(self) -> None:
        """Check the sizes."""
        _check_positive(self.size_xy, "The sides of a rectangle")

    @classmethod
    def from_corners(cls, first_xy: Point, second_xy: Point) -> Rectangle:
        """The upright rectangle between two opposite corners, in any order."""
        (x0, y0), (x1, y1) = first_xy, second_xy
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), (abs(x1 - x0), abs(y1 - y0)))

    def mask(self, shape: tuple[int, int]) -> BoolMask:
        """Pixels inside; boolean of `shape` (rows, columns)."""
        return rectangle_mask(shape, self.centre_xy, self.size_xy, self.angle)

    def moved(self, dx: float, dy: float) -> Rectangle:
        """The same rectangle `dx` pixels to the right and `dy` pixels down."""
        return Rectangle((self.centre_xy[0] + dx, self.centre_xy[1] + dy), self.size_xy, self.angle)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": self.kind,
            "centre_xy": list(self.centre_xy),
            "size_xy": list(self.size_xy),
            "angle": self.angle,
        }


@dataclass(frozen=True)
class Polygon:
    """A closed polygon in pixel coordinates; see `polygon_mask`."""

    vertices_xy: tuple[Point, ...]
    kind: ClassVar[str] = "polygon"

    def __post_init__(self) -> None:
        """Check the sizes."""
        if len(self.vertices_xy) < 3:
            raise StudyError(f"A polygon needs at least 3 corners, but {len(self.vertices_xy)} were given.")

    def mask(self, shape: tuple[int, int]) -> BoolMask:
        """Pixels inside; boolean of `shape` (rows, columns)."""
        return polygon_mask(shape, self.vertices_xy)

    def moved(self, dx: float, dy: float) -> Polygon:
        """The same polygon `dx` pixels to the right and `dy` pixels down."""
        return Polygon(tuple((x + dx, y + dy) for x, y in self.vertices_xy))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"kind": self.kind, "vertices_xy": [list(vertex) for vertex in self.vertices_xy]}


@dataclass(frozen=True)
class Line:
    """A straight line from `start_xy` to `end_xy`, averaged over `width_px` parallel lines 1 px apart."""

    start_xy: Point
    end_xy: Point
    width_px: int = 1
    kind: ClassVar[str] = "line"

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.width_px < 1:
            raise StudyError(f"The width of a line must be at least 1 pixel, but {self.width_px} was given.")

    @property
    def length_px(self) -> float:
        """Length in pixels."""
        return math.hypot(self.end_xy[0] - self.start_xy[0], self.end_xy[1] - self.start_xy[1])

    def length_mm(self, pixel_spacing_mm: tuple[float, float]) -> float:
        """Length in mm for a pixel spacing (y, x)."""
        return math.hypot(
            (self.end_xy[0] - self.start_xy[0]) * pixel_spacing_mm[1],
            (self.end_xy[1] - self.start_xy[1]) * pixel_spacing_mm[0],
        )

    def moved(self, dx: float, dy: float) -> Line:
        """The same line `dx` pixels to the right and `dy` pixels down."""
        return Line(
            (self.start_xy[0] + dx, self.start_xy[1] + dy),
            (self.end_xy[0] + dx, self.end_xy[1] + dy),
            self.width_px,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": self.kind,
            "start_xy": list(self.start_xy),
            "end_xy": list(self.end_xy),
            "width_px": self.width_px,
        }


Region: TypeAlias = Ellipse | Rectangle | Polygon


def shape_from_dict(data: Mapping[str, Any]) -> Region | Line:
    """Read one shape that `to_dict` wrote.

    Raises:
        StudyError: The kind is unknown, or a field is missing or not finite.
    """
    kind = data.get("kind")
    if kind == Polygon.kind:
        vertices = data.get("vertices_xy", ())
        return Polygon(
            tuple(_pair(_numbers({"vertices_xy": vertex}, "vertices_xy", kind, 2)) for vertex in vertices)
        )
    if kind == Line.kind:
        start, end = (_pair(_numbers(data, key, kind, 2)) for key in ("start_xy", "end_xy"))
        return Line(start, end, int(data.get("width_px", 1)))
    if kind in (Ellipse.kind, Rectangle.kind):
        centre = _pair(_numbers(data, "centre_xy", kind, 2))
        (angle,) = _numbers({"angle": [data.get("angle", 0.0)]}, "angle", kind, 1)
        if kind == Ellipse.kind:
            return Ellipse(centre, _pair(_numbers(data, "semi_axes", kind, 2)), angle)
        return Rectangle(centre, _pair(_numbers(data, "size_xy", kind, 2)), angle)
    raise StudyError(f"The stored shape '{kind}' is unknown; expected ellipse, rectangle, polygon or line.")


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    first, second = values
    return first, second


@dataclass(frozen=True)
class Shapes:
    """What is drawn once on a clip and applied to all its movies; any of the three may be missing."""

    signal: Region | None = None
    background: Region | None = None
    line: Line | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the schema name and the pixel convention in words."""
        return {
            "schema": SCHEMA,
            "convention": "pixels; x = column, y = row; the centre of pixel [j, i] is at x = i, y = j",
            "signal": self.signal.to_dict() if self.signal else None,
            "background": self.background.to_dict() if self.background else None,
            "line": self.line.to_dict() if self.line else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shapes:
        """Read what `to_dict` wrote.

        Raises:
            StudyError: Another schema, an unknown shape, or a line where a region is expected (and the
                reverse).
        """
        if data.get("schema") != SCHEMA:
            raise StudyError(
                f"Stored shapes have the schema '{data.get('schema')}', but this version reads '{SCHEMA}'."
            )
        found: dict[str, Region | Line | None] = {
            name: shape_from_dict(data[name]) if data.get(name) is not None else None
            for name in ("signal", "background", "line")
        }
        signal, background, line = found["signal"], found["background"], found["line"]
        if isinstance(signal, Line) or isinstance(background, Line):
            raise StudyError("The stored signal and background must be regions, but one of them is a line.")
        if line is not None and not isinstance(line, Line):
            raise StudyError(f"The stored line must be a line, but it is of kind '{line.kind}'.")
        return cls(signal, background, line)


# SNR


def _as_movie(movie: ArrayLike, dimensions: int = 3) -> NDArray[np.float64]:
    """Movie as float64; integers would truncate interpolated values and overflow sums."""
    array = np.asarray(movie)
    if array.ndim != dimensions or array.size == 0:
        names = "(t, y, x)" if dimensions == 3 else "(arm, t, y, x)"
        raise StudyError(f"A movie array must have the axes {names}, but its shape is {array.shape}.")
    if np.iscomplexobj(array):
        raise StudyError("Measurements need magnitude movies, but a complex array was given.")
    return array.astype(np.float64, copy=False)


def _check_mask(mask: BoolMask, shape: tuple[int, ...], name: str, minimum: int) -> None:
    if mask.shape != shape:
        raise StudyError(f"The {name} mask has the shape {mask.shape}, but the images have {shape}.")
    if int(mask.sum()) < minimum:
        raise StudyError(
            f"The {name} region holds {int(mask.sum())} pixel(s), but at least {minimum} are needed: "
            "enlarge it."
        )


def _signal_and_noise(
    movie: NDArray[np.float64], signal_mask: BoolMask, background_mask: BoolMask
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the signal region and SD (N - 1) of the background region, each (t,)."""
    _check_mask(signal_mask, movie.shape[1:], "signal", 1)
    _check_mask(background_mask, movie.shape[1:], "background", 2)
    return movie[:, signal_mask].mean(axis=1), movie[:, background_mask].std(axis=1, ddof=1)


def snr_db(movie: ArrayLike, signal_mask: BoolMask, background_mask: BoolMask) -> NDArray[np.float64]:
    """SNR of every frame in dB: 20 log10(mean(signal region) / SD(background region)), SD with N - 1.

    Args:
        movie: Magnitude (t, y, x).
        signal_mask: Boolean (y, x), at least one pixel.
        background_mask: Boolean (y, x), at least two pixels.

    Returns:
        (t,) in dB; +inf where the background has no variation, nan where the signal is zero too.

    Raises:
        StudyError: A mask has another shape or too few pixels, or the movie is not (t, y, x) magnitude.
    """
    signal, noise = _signal_and_noise(_as_movie(movie), signal_mask, background_mask)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 20.0 * np.log10(signal / noise)


# Line profiles


class Profile(NamedTuple):
    """Values along a line, with their distance from its start in pixels (both have `samples` last)."""

    position_px: NDArray[np.float64]
    values: NDArray[np.float64]


def _sample_points(
    shape: tuple[int, int], start_xy: Point, end_xy: Point, spacing_px: float, width_px: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance along the line (samples,) and the coordinates x and y (width, samples) to interpolate at."""
    length = math.hypot(end_xy[0] - start_xy[0], end_xy[1] - start_xy[1])
    if not length > 0:
        raise StudyError("The line has no length: its two ends are the same point.")
    if not spacing_px > 0 or width_px < 1:
        raise StudyError(
            f"A profile needs spacing > 0 and width >= 1 pixel, not {spacing_px} and {width_px}."
        )
    position = np.linspace(0.0, length, math.ceil(length / spacing_px - 1e-9) + 1)
    direction_x, direction_y = (end_xy[0] - start_xy[0]) / length, (end_xy[1] - start_xy[1]) / length
    offset = (np.arange(width_px) - (width_px - 1) / 2)[:, None]
    x = start_xy[0] + position[None, :] * direction_x - offset * direction_y
    y = start_xy[1] + position[None, :] * direction_y + offset * direction_x
    rows, columns = shape
    if x.min() < -1e-6 or y.min() < -1e-6 or x.max() > columns - 1 + 1e-6 or y.max() > rows - 1 + 1e-6:
        raise StudyError(
            f"The line from ({start_xy[0]:.1f}, {start_xy[1]:.1f}) to ({end_xy[0]:.1f}, {end_xy[1]:.1f}) "
            "leaves the "
            f"image of {columns} × {rows} pixels: move its ends inside."
        )
    return position, np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)


def line_profile(
    image: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    *,
    spacing_px: float = PROFILE_SPACING_PX,
    width_px: int = 1,
    order: SplineOrder = PROFILE_ORDER,
) -> Profile:
    """Values of one image or a whole movie along a line, both ends included.

    Args:
        image: (y, x), or (t, y, x) for all frames at once.
        start_xy: Start of the line in pixels (x = column, y = row).
        end_xy: Its end.
        spacing_px: Largest distance of two samples; they are spread evenly, so it can come out smaller.
        width_px: Number of parallel lines, 1 px apart, that are averaged.
        order: Spline interpolation: 1 linear, 2 quadratic, 3 cubic.

    Returns:
        `Profile` with position (samples,) and values (samples,) or (t, samples).

    Raises:
        StudyError: The line has no length or leaves the image, or an argument is out of range.
    """
    if order not in (1, 2, 3):
        raise StudyError(f"The interpolation order must be 1, 2 or 3, not {order}.")
    array = np.asarray(image)
    movie = _as_movie(array[None] if array.ndim == 2 else array)
    position, x, y = _sample_points((movie.shape[1], movie.shape[2]), start_xy, end_xy, spacing_px, width_px)
    coordinates = np.stack([y, x])
    values = np.stack(
        [
            ndimage.map_coordinates(frame, coordinates, order=order, mode="mirror").mean(axis=0)
            for frame in movie
        ]
    )
    return Profile(position, values[0] if array.ndim == 2 else values)


def yt_profile(
    movie: ArrayLike, start_xy: Point, end_xy: Point, *, spacing_px: float = 1.0, width_px: int = 1
) -> NDArray[np.float64]:
    """Position-time image of a line: (samples, t), start of the line in the first row.

    Raises:
        StudyError: As `line_profile`.
    """
    return line_profile(_as_movie(movie), start_xy, end_xy, spacing_px=spacing_px, width_px=width_px).values.T


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Profiles (t, samples) stretched to 0…1 frame by frame; nan for a flat one."""
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(high > low, (values - low) / (high - low), np.nan)


def _steepest(normalised: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """Largest |slope| of each profile in 1/mm, from neighbouring samples (no smoothing)."""
    return np.abs(np.diff(normalised, axis=1)).max(axis=1) / step_mm


def _flank_weights(profiles: NDArray[np.float64], step_px: float) -> NDArray[np.float64]:
    """1 on the flank between the smoothed minimum and maximum with its plateaus, else 0: (t, samples).

    Across a septum the line meets two edges; the one that reaches the global maximum is taken, and the
    plateaus end where the profile leaves the lowest or highest `PLATEAU_FRACTION`.
    """
    smooth = ndimage.uniform_filter1d(profiles, max(1, round(2.0 / step_px)), axis=1, mode="nearest")
    weights = np.zeros_like(profiles)
    for row, profile in enumerate(smooth):
        bottom, top = int(profile.argmin()), int(profile.argmax())
        low, high = profile[bottom], profile[top]
        leaves_bottom = profile > low + PLATEAU_FRACTION * (high - low)
        leaves_top = profile < high - PLATEAU_FRACTION * (high - low)
        if bottom < top:
            first, last = _reach(leaves_bottom, bottom, -1), _reach(leaves_top, top, 1)
        else:
            first, last = _reach(leaves_top, top, -1), _reach(leaves_bottom, bottom, 1)
        weights[row, first : last + 1] = 1.0
    return weights


def _reach(stops: NDArray[np.bool_], start: int, direction: int) -> int:
    """Last index before the first True, walking from `start`."""
    index = start
    while 0 <= index + direction < stops.size and not stops[index + direction]:
        index += direction
    return index


def _fit_edges(
    profiles: NDArray[np.float64], weights: NDArray[np.float64], position: NDArray[np.float64], step_px: float
) -> NDArray[np.float64]:
    """Width sigma of the error-function edge fitted to every profile, in the unit of `position`: (t,).

    Model low + rise · Phi((s - centre) / sigma), weighted least squares: the best of a coarse grid of
    (centre, sigma), then damped Gauss-Newton steps for all frames at once.
    """
    pixel = (position[1] - position[0]) / step_px
    smallest, largest = 0.1 * pixel, float(position[-1] - position[0])
    centres = np.linspace(position[0], position[-1], 61)
    sigmas = np.geomspace(0.3 * pixel, max(0.4 * largest, 0.6 * pixel), 12)
    grid_centre, grid_sigma = (axis.ravel() for axis in np.meshgrid(centres, sigmas, indexing="ij"))
    templates = special.ndtr((position[None, :] - grid_centre[:, None]) / grid_sigma[:, None])
    count = weights.sum(axis=1, keepdims=True)
    mean = (weights * profiles).sum(axis=1, keepdims=True) / count
    template_mean = weights @ templates.T / count
    variance = weights @ (templates**2).T / count - template_mean**2
    covariance = (weights * (profiles - mean)) @ templates.T / count
    explained = np.where(variance > 1e-9, covariance**2 / np.maximum(variance, 1e-9), 0.0)
    best = explained.argmax(axis=1)
    rows = np.arange(len(profiles))
    rise = covariance[rows, best] / np.maximum(variance[rows, best], 1e-9)
    low = mean[:, 0] - rise * template_mean[rows, best]
    parameters = np.stack([low, rise, grid_centre[best], np.log(grid_sigma[best])], axis=1)

    def residual_and_slopes(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        sigma = np.exp(p[:, 3:4])
        z = (position[None, :] - p[:, 2:3]) / sigma
        step, bell = special.ndtr(z), np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        slopes = np.stack([np.ones_like(z), step, -p[:, 1:2] * bell / sigma, -p[:, 1:2] * bell * z], axis=-1)
        return weights * (profiles - p[:, :1] - p[:, 1:2] * step), weights[..., None] * slopes

    damping = np.full(len(profiles), 1e-3)
    residual, slopes = residual_and_slopes(parameters)
    cost = (residual**2).sum(axis=1)
    for _ in range(40):
        transposed = slopes.transpose(0, 2, 1)
        normal, gradient = transposed @ slopes, transposed @ residual[..., None]
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        damped = normal + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(4)
        trial = parameters + np.linalg.solve(damped, gradient)[..., 0]
        trial[:, 3] = np.clip(trial[:, 3], math.log(smallest), math.log(largest))
        trial_residual, trial_slopes = residual_and_slopes(trial)
        trial_cost = (trial_residual**2).sum(axis=1)
        better = trial_cost < cost
        settled = np.where(better, cost - trial_cost <= 1e-10 * cost, damping > 1e3)
        damping = np.where(better, damping / 5, damping * 5)
        parameters[better], cost[better] = trial[better], trial_cost[better]
        residual[better], slopes[better] = trial_residual[better], trial_slopes[better]
        if settled.all():
            break
    return np.exp(parameters[:, 3])


def _edge_widths(normalised: NDArray[np.float64], step_mm: float, step_px: float) -> NDArray[np.float64]:
    """10-90 % distance in mm of the error function fitted to each normalised profile; nan if it is flat."""
    widths = np.full(len(normalised), np.nan)
    usable = np.isfinite(normalised).all(axis=1)
    if usable.any():
        profiles = normalised[usable]
        position = step_mm * np.arange(profiles.shape[1], dtype=np.float64)
        widths[usable] = TEN_NINETY_PER_SIGMA * _fit_edges(
            profiles, _flank_weights(profiles, step_px), position, step_px
        )
    return widths


def _movie_profile(
    movie: ArrayLike, line: Line, pixel_spacing_mm: tuple[float, float], spacing_px: float, order: SplineOrder
) -> tuple[NDArray[np.float64], float, float]:
    """Normalised profiles (t, samples) and the distance of two samples in mm and in pixels."""
    if min(pixel_spacing_mm) <= 0:
        raise StudyError(
            f"The pixel spacing must be larger than 0 mm, but {tuple(pixel_spacing_mm)} was given."
        )
    position, values = line_profile(
        _as_movie(movie),
        line.start_xy,
        line.end_xy,
        spacing_px=spacing_px,
        width_px=line.width_px,
        order=order,
    )
    intervals = position.size - 1
    return _normalised(values), line.length_mm(pixel_spacing_mm) / intervals, line.length_px / intervals


def edge_sharpness(
    movie: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    pixel_spacing_mm: tuple[float, float],
    *,
    width_px: int = 1,
    spacing_px: float = PROFILE_SPACING_PX,
    order: SplineOrder = PROFILE_ORDER,
) -> NDArray[np.float64]:
    """Edge sharpness of every frame in 1/mm: the largest |slope| of the profile normalised to 0…1.

    Args:
        movie: Magnitude (t, y, x).
        start_xy: Start of the line in pixels.
        end_xy: Its end.
        pixel_spacing_mm: (y, x); distances are physical also where pixels are not square.
        width_px: Parallel lines averaged.
        spacing_px: Sample distance in pixels.
        order: Interpolation order, 1…3.

    Returns:
        (t,) in 1/mm; nan for frames whose profile is flat.

    Raises:
        StudyError: As `line_profile`, or a spacing that is not positive.
    """
    line = Line(start_xy, end_xy, width_px)
    profiles, step_mm, _ = _movie_profile(movie, line, pixel_spacing_mm, spacing_px, order)
    return _steepest(profiles, step_mm)


def edge_width_mm(
    movie: ArrayLike,
    start_xy: Point,
    end_xy: Point,
    pixel_spacing_mm: tuple[float, float],
    *,
    width_px: int = 1,
    spacing_px: float = PROFILE_SPACING_PX,
    order: SplineOrder = PROFILE_ORDER,
) -> NDArray[np.float64]:
    """10-90 % distance of every frame in mm (t,), from an error function fitted to the edge.

    A fit uses all samples of the flank and so depends far less on noise than the maximum gradient does. It
    describes the edge between the profile's minimum and maximum. Arguments and errors as `edge_sharpness`;
    nan for flat profiles.
    """
    line = Line(start_xy, end_xy, width_px)
    return _edge_widths(*_movie_profile(movie, line, pixel_spacing_mm, spacing_px, order))


# Summaries


class Summary(NamedTuple):
    """Mean and SD (N - 1) over the frames of the window, less `excluded` ones that were not finite."""

    mean: float
    sd: float
    frames: int
    excluded: int


def frames_in_window(frame_times_s: ArrayLike, window_s: float | None) -> NDArray[np.bool_]:
    """Frames that start less than `window_s` after the first one; all of them for None. Boolean (t,)."""
    times = np.asarray(frame_times_s, dtype=np.float64)
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise StudyError("Frame times must be a non-empty list of finite, increasing seconds.")
    if window_s is None:
        return np.ones(times.size, dtype=np.bool_)
    if not window_s > 0:
        raise StudyError(f"The time window must be longer than 0 s, but {window_s} s was given.")
    return np.asarray(times - times[0] < window_s - 1e-6)


def summarise(values: ArrayLike, frame_times_s: ArrayLike, window_s: float | None = None) -> Summary:
    """Mean and SD over time.

    Args:
        values: One number a frame (t,).
        frame_times_s: (t,) in s, increasing.
        window_s: Only frames within this time after the first; None takes all. The paper uses 1.5 s.

    Returns:
        `Summary`; mean nan without a finite frame, SD nan with fewer than two.

    Raises:
        StudyError: Lengths differ, times do not increase, or the window is not positive.
    """
    array = np.asarray(values, dtype=np.float64)
    chosen = frames_in_window(frame_times_s, window_s)
    if array.shape != chosen.shape:
        raise StudyError(f"{array.shape} values do not fit {chosen.size} frame times.")
    window = array[chosen]
    finite = window[np.isfinite(window)]
    mean = float(finite.mean()) if finite.size else math.nan
    sd = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
    return Summary(mean, sd, int(window.size), int(window.size - finite.size))


# One clip


@dataclass(frozen=True, eq=False)
class ArmMeasurement:
    """All measurements of one movie; a series is None where its shape was not drawn."""

    snr_db: NDArray[np.float64] | None
    edge_sharpness_per_mm: NDArray[np.float64] | None
    edge_width_mm: NDArray[np.float64] | None
    snr: Summary | None
    sharpness: Summary | None
    width: Summary | None
    signal_pixels: int
    background_pixels: int
    line_length_mm: float
    window_s: float | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become null."""
        return {
            "snr_db_mean": _finite(self.snr.mean) if self.snr else None,
            "snr_db_sd": _finite(self.snr.sd) if self.snr else None,
            "edge_sharpness_per_mm_mean": _finite(self.sharpness.mean) if self.sharpness else None,
            "edge_sharpness_per_mm_sd": _finite(self.sharpness.sd) if self.sharpness else None,
            "edge_width_mm_mean": _finite(self.width.mean) if self.width else None,
            "edge_width_mm_sd": _finite(self.width.sd) if self.width else None,
            "frames": next((part.frames for part in (self.snr, self.sharpness) if part), 0),
            "snr_frames_excluded": self.snr.excluded if self.snr else 0,
            "edge_frames_excluded": self.sharpness.excluded if self.sharpness else 0,
            "signal_pixels": self.signal_pixels,
            "background_pixels": self.background_pixels,
            "line_length_mm": self.line_length_mm,
            "window_s": self.window_s,
            "warnings": list(self.warnings),
            "snr_db": _finite_list(self.snr_db),
            "edge_sharpness_per_mm": _finite_list(self.edge_sharpness_per_mm),
            "edge_width_mm": _finite_list(self.edge_width_mm),
        }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _finite_list(values: NDArray[np.float64] | None) -> list[float | None] | None:
    return None if values is None else [_finite(value) for value in values]


def _noise_warnings(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> list[str]:
    """What a background without believable noise deserves to be told."""
    zero = int(np.sum(noise == 0))
    tiny = int(np.sum((noise > 0) & (noise < SUSPICIOUS_NOISE_FRACTION * signal)))
    warnings = []
    if zero:
        warnings.append(
            f"The background is constant in {zero} frame(s): the reconstruction blanked the air and their "
            "SNR is infinite; "
            "they are left out of the mean."
        )
    if tiny:
        warnings.append(
            f"The background SD is below 0.1 % of the signal in {tiny} frame(s): the air is suppressed."
        )
    return warnings


def _region_warnings(signal_mask: BoolMask | None, background_mask: BoolMask | None) -> list[str]:
    warnings = []
    for name, mask in (("signal", signal_mask), ("background", background_mask)):
        if mask is not None and 0 < int(mask.sum()) < MINIMUM_REGION_PIXELS:
            warnings.append(
                f"The {name} region holds only {int(mask.sum())} pixels (fewer than {MINIMUM_REGION_PIXELS})."
            )
    if signal_mask is not None and background_mask is not None:
        shared = int((signal_mask & background_mask).sum())
        if shared:
            warnings.append(f"The signal and background regions share {shared} pixel(s).")
    return warnings


def measure(
    movies: ArrayLike,
    shapes: Shapes,
    pixel_spacing_mm: tuple[float, float],
    frame_times_s: ArrayLike,
    *,
    window_s: float | None = PAPER_WINDOW_S,
) -> list[ArmMeasurement]:
    """Measure all movies of a clip with the same shapes.

    Args:
        movies: Magnitude (arm, t, y, x), on one grid and with common frame times.
        shapes: What was drawn; SNR needs both regions, sharpness needs the line.
        pixel_spacing_mm: (y, x).
        frame_times_s: (t,) in s.
        window_s: Mean and SD are taken over this time from the first frame (1.5 s as in the paper); None
            takes all frames. The series are always complete.

    Returns:
        One `ArmMeasurement` an arm, in the order given.

    Raises:
        StudyError: A region is empty, the line leaves the image, or shapes of arrays do not fit.
    """
    arms = _as_movie(movies, 4)
    image_shape = (arms.shape[2], arms.shape[3])
    times = np.asarray(frame_times_s, dtype=np.float64)
    signal_mask = shapes.signal.mask(image_shape) if shapes.signal else None
    background_mask = shapes.background.mask(image_shape) if shapes.background else None
    common = _region_warnings(signal_mask, background_mask)
    if shapes.line is not None and 0 < shapes.line.length_px < MINIMUM_LINE_PX:
        common.append(
            f"The line is only {shapes.line.length_px:.1f} pixels long (shorter than {MINIMUM_LINE_PX:.0f})."
        )
    # The last frame covers one frame time of its own.
    duration = float(times[-1] - times[0] + np.median(np.diff(times))) if times.size > 1 else 0.0
    if window_s is not None and duration < window_s - 1e-6:
        common.append(
            f"The movie lasts {duration:.2f} s, less than the window of {window_s:.2f} s: all its frames "
            "are used."
        )
    results = []
    for movie in arms:
        warnings = list(common)
        snr = sharpness = width = None
        snr_series = sharpness_series = width_series = None
        if signal_mask is not None and background_mask is not None:
            signal, noise = _signal_and_noise(movie, signal_mask, background_mask)
            warnings += _noise_warnings(signal, noise)
            snr_series = snr_db(movie, signal_mask, background_mask)
            snr = summarise(snr_series, times, window_s)
        if shapes.line is not None:
            profiles, step_mm, step_px = _movie_profile(
                movie, shapes.line, pixel_spacing_mm, PROFILE_SPACING_PX, PROFILE_ORDER
            )
            sharpness_series = _steepest(profiles, step_mm)
            width_series = _edge_widths(profiles, step_mm, step_px)
            sharpness = summarise(sharpness_series, times, window_s)
            width = summarise(width_series, times, window_s)
            flat = int(np.isnan(sharpness_series).sum())
            if flat:
                warnings.append(f"The profile is flat in {flat} frame(s); they are left out of the mean.")
        results.append(
            ArmMeasurement(
                snr_db=snr_series,
                edge_sharpness_per_mm=sharpness_series,
                edge_width_mm=width_series,
                snr=snr,
                sharpness=sharpness,
                width=width,
                signal_pixels=int(signal_mask.sum()) if signal_mask is not None else 0,
                background_pixels=int(background_mask.sum()) if background_mask is not None else 0,
                line_length_mm=shapes.line.length_mm(pixel_spacing_mm) if shapes.line else 0.0,
                window_s=window_s,
                warnings=tuple(warnings),
            )
        )
    return results


def measurement_values(movie_ids: Sequence[str], results: Sequence[ArmMeasurement]) -> dict[str, Any]:
    """What `Study.save_measurement` stores as values: one JSON-ready entry a movie, by opaque id.

    Raises:
        StudyError: Not one result a movie.
    """
    if len(movie_ids) != len(results):
        raise StudyError(f"{len(movie_ids)} movies have {len(results)} measurements; one each is needed.")
    return {movie_id: result.to_dict() for movie_id, result in zip(movie_ids, results, strict=True)}
