"""The table of one clip's measurements: a row a quantity, a column a blinded movie, and the sizes below."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout

from app.widgets.elements import styled_label
from studies.measurement import BACKGROUND_SNR_WARNING, ArmMeasurement, Summary
from studies.names import position_letter
from studies.shapes import Line

ARM_COLOURS = ("#6cb2e0", "#dcdcdc", "#c58ad0", "#8fc7a6", "#e0b15e", "#e08a8a")
ARM_DASHES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.DashDotDotLine,
    Qt.PenStyle.SolidLine,
)
_FONT_SHARE = 0.92
_SIDE_BY_SIDE = 3
"""With more movies, mean and SD stand below each other."""

_TAKES_MOVEMENT_FOR_NOISE = (
    "It takes movement for noise, and calls a movie quiet that is smoothed over time: compare with care."
)


def mean_and_sd(summary: Summary | None, digits: int, between: str = " ± ") -> str:
    """Mean ± SD; a dash where there is no mean, the mean alone where there is no SD."""
    if summary is None or not np.isfinite(summary.mean):
        return "–"
    mean = f"{summary.mean:.{digits}f}"
    return f"{mean}{between}{summary.sd:.{digits}f}" if np.isfinite(summary.sd) else mean


def _temporal(result: ArmMeasurement, _between: str) -> str:
    value = result.temporal_snr_db
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}"


def _residual(result: ArmMeasurement, _between: str) -> str:
    value = result.residual.mean if result.residual else math.nan
    return f"{100 * value:.1f}" if math.isfinite(value) else "–"


_ROWS: tuple[tuple[str, str, Callable[[ArmMeasurement, str], str]], ...] = (
    ("SNR dB", BACKGROUND_SNR_WARNING, lambda result, between: mean_and_sd(result.snr, 1, between)),
    (
        "Sharpness 1/mm",
        "Largest slope of the profile along the edge line, stretched to 0…1, in every frame.",
        lambda result, between: mean_and_sd(result.sharpness, 3, between),
    ),
    (
        "Temporal SNR dB",
        f"Mean over the SD over time of the signal region's pixels. {_TAKES_MOVEMENT_FOR_NOISE}",
        _temporal,
    ),
    (
        "Difference SNR dB",
        f"Mean over the SD of the difference of two frames in a row. {_TAKES_MOVEMENT_FOR_NOISE}",
        lambda result, between: mean_and_sd(result.difference_snr, 1, between),
    ),
    (
        "10–90 % mm",
        "Of the profile itself, around its steepest place; frames where it is not defined are left out.",
        lambda result, between: mean_and_sd(result.rise, 2, between),
    ),
    (
        "Fitted σ mm",
        "SD of an error function fitted to the edge; 10–90 % of it is 2.563 σ.",
        lambda result, between: mean_and_sd(result.sigma, 2, between),
    ),
    (
        "Fit residual %",
        "Root mean square that the fit leaves, of the profile's range; above 10 % the fit does not "
        "describe the edge.",
        _residual,
    ),
)


class MeasureNumbers(QFrame):
    """Mean ± SD over the frames that count, for every movie, and how large the shapes are."""

    def __init__(self) -> None:
        """Start with dashes for three movies."""
        super().__init__()
        self.setProperty("role", "card")
        self.setAccessibleName("Measurements")
        self._small = QFont(self.font())
        self._small.setPointSizeF(self._small.pointSizeF() * _FONT_SHARE)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(4)
        self._cells: list[list[QLabel]] = []
        self._names: list[QLabel] = []
        for row, (name, tip, _) in enumerate(_ROWS, start=1):
            label = styled_label("muted", name)
            label.setFont(self._small)
            label.setToolTip(textwrap.fill(" ".join(tip.split()), 80))
            self._grid.addWidget(label, row, 0)
            self._names.append(label)
        self._sizes = styled_label("muted")
        self._sizes.setWordWrap(True)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(12, 10, 12, 10)
        self.body.setSpacing(6)
        self.body.addLayout(self._grid)
        self.body.addWidget(self._sizes)
        self.show_results([], None, (1.0, 1.0))

    def texts(self) -> dict[str, list[str]]:
        """The cells of every row as shown, by the row's name; "" has the letters of the movies."""
        rows = ["", *(name for name, _, _ in _ROWS)]
        return {name: [column[index].text() for column in self._cells] for index, name in enumerate(rows)}

    @property
    def sizes(self) -> str:
        """The lines with pixel counts, areas and lengths."""
        return self._sizes.text()

    def show_results(
        self, results: Sequence[ArmMeasurement], line: Line | None, spacing_mm: tuple[float, float]
    ) -> None:
        """Fill the table; without results its cells show dashes.

        Args:
            results: One a movie, in the order of the panels.
            line: The line across the edge, for its length.
            spacing_mm: Pixel spacing (y, x).
        """
        self._make_columns(max(len(results), _SIDE_BY_SIDE))
        between = " ± " if len(self._cells) <= _SIDE_BY_SIDE else "\n± "
        for index, column in enumerate(self._cells):
            column[0].setText(position_letter(index))
            result = results[index] if index < len(results) else None
            for cell, (_, _, text) in zip(column[1:], _ROWS, strict=True):
                cell.setText("–" if result is None else text(result, between))
        self._sizes.setText(_sizes(results[0], line, spacing_mm) if results else "Nothing measured yet")

    def _make_columns(self, count: int) -> None:
        while len(self._cells) > count:
            for cell in self._cells.pop():
                self._grid.removeWidget(cell)
                cell.deleteLater()
        while len(self._cells) < count:
            index = len(self._cells)
            column = [QLabel() for _ in range(len(_ROWS) + 1)]
            column[0].setStyleSheet(f"font-weight: 600; color: {ARM_COLOURS[index % len(ARM_COLOURS)]};")
            for row, cell in enumerate(column):
                cell.setFont(self._small)
                cell.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self._grid.addWidget(cell, row, index + 1)
            self._grid.setColumnStretch(index + 1, 1)
            self._cells.append(column)


def _sizes(result: ArmMeasurement, line: Line | None, spacing_mm: tuple[float, float]) -> str:
    regions = [
        f"{name} {pixels} px · {_area(area)}"
        for name, pixels, area in (
            ("Signal", result.signal_pixels, result.signal_area_mm2),
            ("Air", result.background_pixels, result.background_area_mm2),
        )
        if pixels
    ]
    if line is not None:
        regions.append(f"Edge {line.length_px:.1f} px · {line.length_mm(spacing_mm):.1f} mm")
    # A line is broken between two shapes only.
    return "     ".join(text.replace(" ", "\u00a0") for text in regions) or "Nothing drawn yet"


def _area(mm2: float) -> str:
    return f"{mm2:.1f} mm²" if mm2 < 100 else f"{mm2:.0f} mm²"  # noqa: PLR2004
