"""How well two measurers, or two measurements of one, agree: a table and a Bland-Altman plot.

The numbers are those of `studies.repeatability`, over clips with the mean of their movies: while the study is
blinded nothing here tells the movies apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeySequence, QPainter, QPaintEvent, QPen, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.widgets.elements import say, styled_label
from app.widgets.series_plot import tick_values
from studies.repeatability import ENDPOINTS, EndpointRepeatability, Repeatability

REPEATED = "measured again"
"""Stands for the second measurer where the two measurements are of one person."""

_COLUMNS = ("", "Scans", "ICC(A,1)", "ICC(C,1)", "Bias", "95 % limits", "Within SD", "Repeatability")
_TIPS = (
    "",
    "Scans that both have measured; each counts once, with the mean of its movies",
    "Share of the variance that is between scans; an offset between the two counts as disagreement",
    "The same, if a constant offset does not count",
    "Mean difference, first minus second, with its 95 % interval",
    "95 % of the differences lie between these (Bland and Altman)",
    "Typical error of one measurement",
    "Two measurements of one scan differ by less in 95 % of cases",
)


class BlandAltmanPlot(QWidget):
    """Differences over means, with the bias and the limits of agreement."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Start empty."""
        super().__init__(parent)
        self.setMinimumSize(280, 220)
        self.setAccessibleName("Bland–Altman plot")
        self._found: EndpointRepeatability | None = None

    def show_endpoint(self, found: EndpointRepeatability | None) -> None:
        """Draw one endpoint; None clears the plot."""
        self._found = found
        self.update()

    def points(self) -> list[tuple[float, float]]:
        """Mean and difference of every scan."""
        return [((a + b) / 2, a - b) for a, b in self._found.pairs] if self._found else []

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw axes, lines and points."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(theme.SUNKEN))
        if self._found is None:
            return
        points, bland = self.points(), self._found.bland_altman
        name, unit = ENDPOINTS[self._found.endpoint]
        area = QRectF(64, 34, max(self.width() - 64 - 132, 1), max(self.height() - 34 - 46, 1))
        means, differences = zip(*points, strict=True)
        across = _padded(means)
        levels = [level for level in (*bland.limits, bland.bias, 0.0) if math.isfinite(level)]
        down = _padded([*differences, *levels])

        def place(mean: float, difference: float) -> QPointF:
            return QPointF(
                area.left() + (mean - across[0]) / (across[1] - across[0]) * area.width(),
                area.bottom() - (difference - down[0]) / (down[1] - down[0]) * area.height(),
            )

        painter.setPen(QColor(theme.TEXT))
        painter.drawText(QPointF(12, 22), f"{name}: difference over mean, {unit}")
        for value in tick_values(*down, count=max(2, int(area.height() // 40))):
            y = place(across[0], value).y()
            painter.setPen(QPen(QColor(theme.BORDER), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(QColor(theme.MUTED))
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, y - 9, area.left() - 6, 18), flags, f"{value:.3g}")
        for value in tick_values(*across, count=max(2, int(area.width() // 80))):
            x = place(value, down[0]).x()
            painter.drawText(
                QRectF(x - 40, area.bottom() + 4, 80, 18), Qt.AlignmentFlag.AlignCenter, f"{value:.3g}"
            )
        labelled = (("+1.96 SD", bland.limits[1]), ("bias", bland.bias), ("−1.96 SD", bland.limits[0]))
        for text, level in labelled:
            if not math.isfinite(level):
                continue
            y = place(across[0], level).y()
            dash = Qt.PenStyle.SolidLine if text == "bias" else Qt.PenStyle.DashLine
            painter.setPen(QPen(QColor(theme.ACCENT), 1.4, dash))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(QColor(theme.TEXT))
            painter.drawText(QPointF(area.right() + 6, y + 4), f"{text}  {_number(level)}")
        painter.setPen(QPen(QColor("#101214"), 1))
        painter.setBrush(QColor("#dcdcdc"))
        for point in points:
            painter.drawEllipse(place(*point), 4.5, 4.5)


class AgreementView(QWidget):
    """Choose whom to compare; the page gives what was found.

    Signals:
        compare: First and second name (`REPEATED` for a second measurement of the first).
        left: Back to measuring.
    """

    compare = Signal(str, str)
    left = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the view."""
        super().__init__(parent)
        self.first, self.second = QComboBox(), QComboBox()
        self.first.setAccessibleName("First measurer")
        self.second.setAccessibleName("Second measurer")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setAccessibleName("Agreement")
        self.plot = BlandAltmanPlot()
        self._overlap = styled_label("muted")
        self._status = styled_label("muted")
        self._found: Repeatability | None = None
        self._build()

    def set_people(self, observers: Sequence[str], present: str) -> None:
        """Offer the observers, the present one first."""
        names = sorted(observers, key=lambda name: (name != present, name))
        for box, entries in ((self.first, names), (self.second, [*names[1:], REPEATED])):
            box.blockSignals(True)
            kept = box.currentText()
            box.clear()
            box.addItems(entries)
            box.setCurrentIndex(max(box.findText(kept), 0))
            box.blockSignals(False)

    def ask(self) -> None:
        """Ask for the comparison of those who are chosen."""
        self.compare.emit(self.first.currentText(), self.second.currentText())

    def show_sentence(self, text: str, role: str = "muted") -> None:
        """Say why there is nothing to see (or that it is being computed)."""
        self._found = None
        self.table.setRowCount(0)
        self.plot.show_endpoint(None)
        self._overlap.setText("")
        say(self._status, text, role)

    def show_result(self, found: Repeatability) -> None:
        """Fill table and plot."""
        self._found = found
        endpoints = self._endpoints()
        self.table.setRowCount(len(endpoints))
        for row, item in enumerate(endpoints):
            name, unit = ENDPOINTS[item.endpoint]
            bland = item.bland_altman
            cells = (
                f"{name}, {unit}",
                str(item.clips),
                _with_interval(item.agreement.value, item.agreement.interval, ".3f"),
                _with_interval(item.consistency.value, item.consistency.interval, ".3f"),
                _with_interval(bland.bias, bland.bias_interval),
                f"{_number(bland.limits[0])} to {_number(bland.limits[1])}",
                _with_interval(item.within.sd, item.within.interval),
                _number(item.within.repeatability),
            )
            for column, text in enumerate(cells):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(
                    Qt.AlignmentFlag.AlignVCenter
                    | (Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft)
                )
                self.table.setItem(row, column, cell)
        lines = []
        for region, word in (("signal", "signal"), ("background", "air")):
            known = [value for value in found.overlap.get(region, ()) if math.isfinite(value)]
            if known:
                lines.append(
                    f"Dice of the {word} masks: mean {math.fsum(known) / len(known):.3f}, "
                    f"smallest {min(known):.3f} ({len(known)} scans)"
                )
        self._overlap.setText("     ".join(lines))
        what = f"{found.first} and {found.second}, {found.clips} scans in both; differences: first − second."
        say(self._status, "\n".join((what, *found.notes)), "muted")
        self.table.selectRow(0)
        self._on_row()

    def focus(self) -> None:
        """Give the keyboard to the table."""
        self.table.setFocus()

    def _endpoints(self) -> list[EndpointRepeatability]:
        if self._found is None:
            return []
        # While the study is blinded there is one group only; after that methods have rows of their own.
        return [item for item in self._found.endpoints if item.group == "mean of the movies"]

    def _on_row(self) -> None:
        endpoints, row = self._endpoints(), self.table.currentRow()
        self.plot.show_endpoint(endpoints[row] if 0 <= row < len(endpoints) else None)

    def _build(self) -> None:
        back = QPushButton("Back to measuring")
        back.setToolTip("Back to measuring (Escape)")
        back.clicked.connect(self.left.emit)
        escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), self)
        escape.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.activated.connect(self.left.emit)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(styled_label("heading", "Agreement of"))
        top.addWidget(self.first)
        top.addWidget(styled_label("muted", "and"))
        top.addWidget(self.second)
        top.addStretch(1)
        top.addWidget(back)
        for column, (name, tip) in enumerate(zip(_COLUMNS, _TIPS, strict=True)):
            heading = QTableWidgetItem(name)
            heading.setToolTip(tip)
            self.table.setHorizontalHeaderItem(column, heading)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setShowGrid(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.table.currentCellChanged.connect(lambda *_: self._on_row())
        for box in (self.first, self.second):
            box.activated.connect(lambda _index: self.ask())
            box.setMinimumWidth(150)
        self._status.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.setSpacing(12)
        layout.addLayout(top)
        layout.addWidget(self._status)
        layout.addWidget(self.table, 3)
        layout.addWidget(self._overlap)
        layout.addWidget(self.plot, 4)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.1 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def _with_interval(value: float, interval: tuple[float, float], digits: str = ".2g") -> str:
    if not math.isfinite(value):
        return "–"
    low, high = (_number(each, digits) for each in interval)
    return f"{_number(value, digits)}  [{low}, {high}]"


def _number(value: float, digits: str = ".2g") -> str:
    return f"{value:{digits}}".replace("-", "−")
