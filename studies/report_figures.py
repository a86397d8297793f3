"""Figures of a report: SVG drawn by hand (crisp in print, no library), and the PNG of one blinded panel.

Rule: colour never carries meaning alone; methods keep one colour (Okabe-Ito, distinguishable for
colour-blind readers) and one place from left to right in all figures of a page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studies.errors import StudyError
from studies.names import position_letter
from studies.profiles import yt_profile
from studies.storage import write_durably

if TYPE_CHECKING:
    from studies.state import BlindedClip

METHOD_COLOURS = ("#6b7280", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
PLACE_COLOURS = (
    ("#0b3c5d", "#ffffff"),
    ("#6c9dc0", "#10202c"),
    ("#dde8f0", "#10202c"),
    ("#f1f1f1", "#10202c"),
)
INK, FAINT = "#1f2933", "#cbd2d9"


def _text(
    x: float, y: float, content: str, *, anchor: str = "start", size: float = 11, colour: str = INK
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'


def rank_bars(labels: Sequence[str], shares: Sequence[Sequence[int]]) -> str:
    """Stacked bars: how often each method got each place; counts are printed in the bars."""
    width, left, bar, gap = 460.0, 130.0, 24.0, 12.0
    height = 34 + len(labels) * (bar + gap)
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Ranks given to each method">'
    ]
    span = width - left - 10
    for row, (label, counts) in enumerate(zip(labels, shares, strict=True)):
        y = 26 + row * (bar + gap)
        parts.append(_text(left - 8, y + bar * 0.68, label, anchor="end"))
        x, total = left, sum(counts)
        for place, count in enumerate(counts):
            if not count:
                continue
            fill, ink = PLACE_COLOURS[min(place, len(PLACE_COLOURS) - 1)]
            length = span * count / total
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{bar}" fill="{fill}" '
                'stroke="#fff"/>'
            )
            parts.append(_text(x + length / 2, y + bar * 0.68, str(count), anchor="middle", colour=ink))
            x += length
    x = left
    for place in range(len(labels)):
        fill, _ = PLACE_COLOURS[min(place, len(PLACE_COLOURS) - 1)]
        parts.append(f'<rect x="{x:.1f}" y="4" width="12" height="12" fill="{fill}" stroke="{FAINT}"/>')
        parts.append(_text(x + 17, 14, f"rank {place + 1}"))
        x += 72
    return "".join(parts) + "</svg>"


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover low…high."""
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def slope_plot(title: str, labels: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """One thin line a clip through its methods, dots in the methods' colours, a bar at each mean."""
    width, height, left, right, top, bottom = 230.0, 222.0, 44.0, 6.0, 26.0, 46.0
    table = np.asarray(values, dtype=np.float64)
    ticks = nice_ticks(float(table.min()), float(table.max()))
    low, high = ticks[0], ticks[-1]

    def y_of(value: float) -> float:
        return height - bottom - (value - low) / (high - low) * (height - bottom - top)

    step = (width - left - right) / len(labels)
    x_of = [left + step * (index + 0.5) for index in range(len(labels))]
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)} of every clip">',
        _text(left - 36, 14, title, size=11.5),
    ]
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>')
        parts.append(_text(left - 6, y + 3.5, f"{tick:g}", anchor="end", size=10))
    for row in table:
        points = " ".join(f"{x:.1f},{y_of(value):.1f}" for x, value in zip(x_of, row, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="#9aa5b1" stroke-width="0.8"/>')
    for index, (x, label) in enumerate(zip(x_of, labels, strict=True)):
        colour = METHOD_COLOURS[index % len(METHOD_COLOURS)]
        parts.extend(
            f'<circle cx="{x:.1f}" cy="{y_of(value):.1f}" r="2.6" fill="{colour}"/>'
            for value in table[:, index]
        )
        mean = y_of(float(table[:, index].mean()))
        parts.append(
            f'<line x1="{x - 13:.1f}" x2="{x + 13:.1f}" y1="{mean:.1f}" y2="{mean:.1f}" '
            f'stroke="{colour}" stroke-width="2.4"/>'
        )
        for line, part in enumerate(wrap(label.replace(",", ""), 11)):
            parts.append(_text(x, height - bottom + 13 + 11 * line, part, anchor="middle", size=9.5))
    return "".join(parts) + "</svg>"


def common_column(display: NDArray[np.uint8]) -> int:
    """Column of (position, frame, y, x) that changes most over time, all positions taken together."""
    variation = display.astype(np.float64).std(axis=1).sum(axis=(0, 1))
    return int(np.argmax(np.convolve(variation, np.ones(5) / 5, mode="same")))


def panel_png(
    clip: BlindedClip, path: Path | str, *, frame: int | None = None, column: int | None = None
) -> Path:
    """Write one blinded panel: a frame of every position, labelled A, B, C, above its y-t profile.

    Args:
        clip: Display grey values (position, frame, y, x).
        path: A .png file; replaced as a whole.
        frame: Frame shown above; None takes the one in the middle.
        column: Column of the profiles; None takes `common_column`.

    Returns:
        The path.

    Raises:
        StudyError: Frame or column outside the movie.
        OSError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    positions, frames, rows, columns = clip.display.shape
    shown = frames // 2 if frame is None else frame
    line = common_column(clip.display) if column is None else column
    if not 0 <= shown < frames or not 0 <= line < columns:
        raise StudyError(
            f"Frame {shown} or column {line} is outside the movie of {frames} frames, {columns} columns."
        )
    spacing_y, spacing_x = clip.pixel_spacing_mm
    figure = Figure(figsize=(3.2 * positions, 4.9), dpi=150, facecolor="#101418")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, positions, squeeze=False, gridspec_kw={"height_ratios": [3, 1.25]})
    times = clip.frame_times_s
    half_frame = 0.5 * float(np.median(np.diff(times))) if frames > 1 else 0.5
    for position in range(positions):
        image, profile = axes[0, position], axes[1, position]
        movie = clip.display[position]
        image.imshow(
            movie[shown], cmap="gray", vmin=0, vmax=255, aspect=spacing_y / spacing_x, interpolation="nearest"
        )
        image.axvline(line, color="#f2c14e", linewidth=0.8, linestyle=(0, (4, 3)))
        image.text(
            0.04,
            0.95,
            position_letter(position),
            transform=image.transAxes,
            color="white",
            fontsize=16,
            va="top",
            fontweight="bold",
        )
        image.set_axis_off()
        profile.imshow(
            yt_profile(movie, (line, 0), (line, rows - 1)),
            cmap="gray",
            vmin=0,
            vmax=255,
            aspect="auto",
            interpolation="nearest",
            extent=(times[0] - half_frame, times[-1] + half_frame, rows * spacing_y, 0),
        )
        profile.axvline(times[shown], color="#f2c14e", linewidth=0.8)
        profile.tick_params(colors="#9aa5b1", labelsize=7)
        profile.set_xlabel("time (s)", color="#9aa5b1", fontsize=8)
        if position == 0:
            profile.set_ylabel("y (mm)", color="#9aa5b1", fontsize=8)
    figure.subplots_adjust(left=0.06, right=0.99, top=0.99, bottom=0.09, wspace=0.14, hspace=0.05)
    stream = BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    write_durably(Path(path), stream.getvalue())
    return Path(path)
