"""Figures of a report: SVG drawn by hand (crisp in print, no library), and PNGs of panels with y-t profiles.

Rule: colour never carries meaning alone; methods keep one colour (Okabe-Ito, distinguishable for
colour-blind readers), one marker and one place from left to right in all figures of a page. Every SVG can
stand alone as a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from studies.report.wording import interval_text, number_text
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
INK, SOFT, FAINT = "#1f2933", "#52606d", "#cbd2d9"
LABEL_WIDTH = 140.0
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="{FONT}" role="img" '
        f'aria-label="{escape(label)}">' + "".join(parts) + "</svg>"
    )


def _text(
    x: float, y: float, content: str, *, anchor: str = "start", size: float = 11, colour: str = INK
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = INK, width: float = 1.0) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"/>'
    )


def _marker(index: int, x: float, y: float, size: float = 4.0) -> str:
    """The marker of the method with this index: circle, square, triangle, diamond, cross, bar."""
    colour = METHOD_COLOURS[index % len(METHOD_COLOURS)]
    kind = index % 6
    if kind == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="{colour}"/>'
    if kind == 4:
        arm = f"M{x - size:.1f} {y - size:.1f}L{x + size:.1f} {y + size:.1f}"
        other = f"M{x - size:.1f} {y + size:.1f}L{x + size:.1f} {y - size:.1f}"
        return f'<path d="{arm}{other}" stroke="{colour}" stroke-width="2" fill="none"/>'
    corners = {
        1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        2: ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
        3: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        5: ((-0.6, -1.2), (0.6, -1.2), (0.6, 1.2), (-0.6, 1.2)),
    }[kind]
    points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'


def _key(labels: Sequence[str], x: float, y: float, room: float) -> tuple[list[str], float]:
    """Markers with names in rows of at most `room`; returns the parts and the height that they take."""
    parts, left, top = [], x, y
    for index, label in enumerate(labels):
        width = 20 + 6.1 * len(label)
        if left > x and left + width > x + room:
            left, top = x, top + 17
        parts += [_marker(index, left + 5, top), _text(left + 14, top + 4, label)]
        left += width + 8
    return parts, top - y + 17


def rank_bars(labels: Sequence[str], shares: Sequence[Sequence[int]]) -> str:
    """Stacked bars: how often each method got each place; counts are printed in the bars."""
    width, left, bar, gap = 460.0, LABEL_WIDTH, 24.0, 12.0
    height = 34 + len(labels) * (bar + gap)
    parts = []
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
    step = min(72.0, (width - left) / len(labels))
    for place in range(len(labels)):
        x = left + step * place
        fill, _ = PLACE_COLOURS[min(place, len(PLACE_COLOURS) - 1)]
        parts.append(f'<rect x="{x:.1f}" y="4" width="12" height="12" fill="{fill}" stroke="{FAINT}"/>')
        parts.append(_text(x + 17, 14, f"rank {place + 1}" if step > 60 else str(place + 1)))
    return _svg(width, height, "Ranks given to each method", parts)


def outcome_bars(pairs: Sequence[tuple[str, str, int, int, int, str]], unit: str = "clips") -> str:
    """Wins, ties and losses of every pair of methods as one bar, the first method's wins on the left.

    Args:
        pairs: First and second method, wins, ties and losses of the first, what is printed at the right.
        unit: What is counted.
    """
    width, left, right, bar, gap = 620.0, LABEL_WIDTH, 250.0, 20.0, 12.0
    height = 26 + len(pairs) * (bar + gap)
    span = width - left - right
    parts = [
        _text(left, 13, f"{unit}: first better", size=10, colour=SOFT),
        _text(left + span / 2, 13, "tied", anchor="middle", size=10, colour=SOFT),
        _text(left + span, 13, "second better", anchor="end", size=10, colour=SOFT),
    ]
    for row, (first, second, wins, ties, losses, note) in enumerate(pairs):
        y = 22 + row * (bar + gap)
        parts.append(_text(left - 8, y + bar * 0.7, first, anchor="end"))
        parts.append(_text(left + span + 8, y + bar * 0.7, second))
        parts.append(_text(width - 2, y + bar * 0.7, note, anchor="end", size=10, colour=SOFT))
        x, total = left, wins + ties + losses
        for count, fill, ink in (
            (wins, "#0b3c5d", "#ffffff"),
            (ties, "#e4e7eb", INK),
            (losses, "#d59a6f", "#10202c"),
        ):
            if count:
                length = span * count / total
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{bar}" fill="{fill}" '
                    'stroke="#fff"/>'
                )
                parts.append(_text(x + length / 2, y + bar * 0.7, str(count), anchor="middle", colour=ink))
                x += length
    return _svg(width, height, "Wins, ties and losses of every pair of methods", parts)


def rank_dots(
    labels: Sequence[str], clips: Sequence[tuple[str, Sequence[Sequence[float]]]], title: str = ""
) -> str:
    """Ranks of every clip: one column a clip, rank 1 on top, one marker a method and reader.

    Args:
        labels: Methods.
        clips: Name of each clip and its mid-ranks (reader, method).
        title: Printed above.
    """
    count = len(labels)
    step = max(12.0 + 5.5 * count, min(60.0, 520.0 / max(len(clips), 1)))
    left, bottom, level = 56.0, 44.0, 40.0
    width = max(left + step * len(clips) + 12, 330.0)
    key, key_height = _key(labels, 8, 30, width - 16)
    top = 40 + key_height
    height = top + level * (count - 1) + bottom

    def y_of(rank: float) -> float:
        return top + level * (rank - 1)

    parts = [_text(8, 14, title, size=11.5), *key]
    for rank in range(1, count + 1):
        parts.append(_line(left - 6, y_of(rank), width - 6, y_of(rank), FAINT))
        parts.append(_text(left - 12, y_of(rank) + 4, f"rank {rank}", anchor="end", size=10, colour=SOFT))
    for place, (name, readings) in enumerate(clips):
        middle = left + step * (place + 0.5)
        for method in range(count):
            x = middle + (method - (count - 1) / 2) * min(6.5, (step - 8) / count)
            ranks = sorted(float(reading[method]) for reading in readings)
            if len(ranks) > 1 and ranks[0] != ranks[-1]:
                parts.append(
                    _line(x, y_of(ranks[0]), x, y_of(ranks[-1]), METHOD_COLOURS[method % len(METHOD_COLOURS)])
                )
            for given in sorted(set(ranks)):
                share = ranks.count(given) / len(ranks)
                parts.append(_marker(method, x, y_of(given), 2.4 + 2.2 * share))
        parts.append(
            f'<text transform="translate({middle + 3:.1f} {y_of(count) + 14:.1f}) rotate(40)" '
            f'font-size="9" fill="{SOFT}">{escape(name)}</text>'
        )
    return _svg(width, height, f"Rank of every method in every clip, {title}", parts)


def critical_difference(
    labels: Sequence[str],
    mean_ranks: Sequence[float],
    alike: Sequence[tuple[int, int]],
    nemenyi: float | None = None,
) -> str:
    """Mean ranks on a line; bars join methods between which no difference was shown.

    Args:
        labels: Methods.
        mean_ranks: 1 is best.
        alike: Pairs of indices that do not differ significantly.
        nemenyi: Critical difference of Nemenyi's test, drawn above for comparison with papers.
    """
    count = len(labels)
    order = sorted(range(count), key=lambda index: (mean_ranks[index], index))
    together = {frozenset(pair) for pair in alike}
    groups: list[tuple[int, int]] = []
    for start in range(count):
        stop = start
        while stop + 1 < count and all(
            frozenset((order[one], order[stop + 1])) in together for one in range(start, stop + 1)
        ):
            stop += 1
        if stop > start and not any(start >= low and stop <= high for low, high in groups):
            groups.append((start, stop))
    width, side, top = 560.0, 160.0, 46.0
    span = width - 2 * side

    def x_of(rank: float) -> float:
        return side + span * (rank - 1) / (count - 1)

    parts = [_line(side, top, width - side, top, INK, 1.2)]
    for rank in range(1, count + 1):
        parts.append(_line(x_of(rank), top - 5, x_of(rank), top + 5))
        parts.append(_text(x_of(rank), top - 9, str(rank), anchor="middle", size=10))
    parts.append(_text(side - 12, top + 4, "better", anchor="end", size=10, colour=SOFT))
    parts.append(_text(width - side + 12, top + 4, "worse", size=10, colour=SOFT))
    if nemenyi is not None:
        length = min(nemenyi, count - 1.0)
        note = f"Nemenyi’s critical difference {nemenyi:.2f} (as published)"
        parts.append(_line(side, 14, x_of(1 + length), 14, SOFT, 1.2))
        parts.append(_text(x_of(1 + length) + 6, 18, note, size=9.5, colour=SOFT))
    bars_top = top + 12
    for row, (low, high) in enumerate(groups):
        y = bars_top + 7 * row
        parts.append(
            _line(x_of(mean_ranks[order[low]]) - 4, y, x_of(mean_ranks[order[high]]) + 4, y, INK, 3.4)
        )
    base = bars_top + 7 * len(groups) + 14
    half = (count + 1) // 2
    for place, index in enumerate(order):
        to_left = place < half
        row = place if to_left else count - 1 - place
        y = base + 20 * row
        x = x_of(mean_ranks[index])
        edge = side - 8 if to_left else width - side + 8
        parts += [_line(x, top, x, y, SOFT, 0.8), _line(x, y, edge, y, SOFT, 0.8), _marker(index, x, top)]
        text = f"{labels[index]}  {mean_ranks[index]:.2f}"
        parts.append(
            _text(edge - 4 if to_left else edge + 4, y + 4, text, anchor="end" if to_left else "start")
        )
    return _svg(width, base + 20 * half, "Mean ranks and methods that were not shown to differ", parts)


def reader_camps(
    readers: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    preferences: Mapping[str, Sequence[tuple[float, tuple[float, float] | None]]],
) -> str:
    """Every reader's own net preference for every pair of methods, with its interval.

    Args:
        readers: Their names.
        pairs: First and second method.
        preferences: Of each reader, for each pair: P(first better) - P(second better), and its interval.
    """
    width, left, right = 620.0, LABEL_WIDTH, 150.0
    row_height = 15.0
    band = row_height * len(readers) + 30
    span = width - left - right

    def x_of(value: float) -> float:
        return left + span * (value + 1) / 2

    parts = []
    for number, (first, second) in enumerate(pairs):
        y0 = 8 + number * band
        parts += [
            _text(left, y0 + 10, f"{first} better", size=10, colour=INK, anchor="start"),
            _text(left + span, y0 + 10, f"{second} better", size=10, colour=INK, anchor="end"),
        ]
        low, high = y0 + 16, y0 + 18 + row_height * len(readers)
        parts += [_line(x_of(value), low, x_of(value), high, FAINT) for value in (-1, -0.5, 0.5, 1)]
        parts.append(_line(x_of(0), low, x_of(0), high, INK))
        for row, reader in enumerate(readers):
            y = low + row_height * (row + 0.6)
            value, ends = preferences[reader][number]
            # The first method's side is on the left, as its name is.
            if ends is not None:
                parts.append(_line(x_of(-ends[1]), y, x_of(-ends[0]), y, METHOD_COLOURS[1], 1.6))
            parts.append(_marker(0, x_of(-value), y, 3.6).replace(METHOD_COLOURS[0], METHOD_COLOURS[1]))
            parts.append(_text(left - 8, y + 3.5, reader, anchor="end", size=10))
            note = f"{number_text(value, 2, signed=True)} {interval_text(ends, 2)}".strip()
            parts.append(_text(left + span + 8, y + 3.5, note, size=9.5, colour=SOFT))
    return _svg(width, 8 + band * len(pairs), "Net preference of every reader", parts)


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover low…high."""
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def box_plot(title: str, labels: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """Box (quartiles), whiskers (1.5 quartile distances) and all values; thin lines join a clip's methods."""
    count = len(labels)
    width, height, left, right, top, bottom = 60.0 + 66 * count, 236.0, 46.0, 6.0, 28.0, 48.0
    table = np.asarray(values, dtype=np.float64)
    ticks = nice_ticks(float(table.min()), float(table.max()))
    low, high = ticks[0], ticks[-1]

    def y_of(value: float) -> float:
        return height - bottom - (value - low) / (high - low) * (height - bottom - top)

    step = (width - left - right) / count
    x_of = [left + step * (index + 0.5) for index in range(count)]
    parts = [_text(8, 14, title, size=11.5)]
    for tick in ticks:
        parts.append(_line(left, y_of(tick), width - right, y_of(tick), FAINT))
        parts.append(_text(left - 6, y_of(tick) + 3.5, f"{tick:g}".replace("-", "−"), anchor="end", size=10))
    for row in table:
        points = " ".join(f"{x:.1f},{y_of(value):.1f}" for x, value in zip(x_of, row, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="#b8c1cc" stroke-width="0.7"/>')
    for index, (x, label) in enumerate(zip(x_of, labels, strict=True)):
        colour = METHOD_COLOURS[index % len(METHOD_COLOURS)]
        column = table[:, index]
        first, middle, third = (float(value) for value in np.percentile(column, [25, 50, 75]))
        reach = 1.5 * (third - first)
        lowest = float(column[column >= first - reach].min())
        highest = float(column[column <= third + reach].max())
        parts += [
            _line(x, y_of(lowest), x, y_of(first), colour, 1.2),
            _line(x, y_of(third), x, y_of(highest), colour, 1.2),
            f'<rect x="{x - 15:.1f}" y="{y_of(third):.1f}" width="30" '
            f'height="{y_of(first) - y_of(third):.1f}" fill="{colour}" fill-opacity="0.14" '
            f'stroke="{colour}" stroke-width="1.2"/>',
            _line(x - 15, y_of(middle), x + 15, y_of(middle), colour, 2.4),
        ]
        parts.extend(_marker(index, x, y_of(float(value)), 2.6) for value in column)
        for line, part in enumerate(wrap(label.replace(",", ""), 12)):
            parts.append(_text(x, height - bottom + 14 + 11 * line, part, anchor="middle", size=9.5))
    return _svg(width, height, f"{title} of every clip", parts)


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
    letters = [position_letter(position) for position in range(len(clip.display))]
    write_durably(Path(path), panel_image(clip, letters, frame=frame, column=column))
    return Path(path)


def panel_image(
    clip: BlindedClip, labels: Sequence[str], *, frame: int | None = None, column: int | None = None
) -> bytes:
    """A frame of every position above its y-t profile as PNG; arguments and errors as `panel_png`."""
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
            labels[position],
            transform=image.transAxes,
            color="white",
            fontsize=16 if len(labels[position]) == 1 else 11,
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
    return stream.getvalue()
