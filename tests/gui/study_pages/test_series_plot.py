"""Curves over time: axes, places, gaps."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from app.widgets.series_plot import Curve, SeriesPlot, tick_values

RED = QColor(255, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (28.2, 37.9, [30.0, 35.0]),
        (-0.011, 0.031, [0.0, 0.02]),
        (5.0, 5.0, []),
        (float("nan"), 1.0, []),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert tick_values(low, high, 3) == pytest.approx(expected)


def test_time_and_place_are_inverse(qtbot: QtBot) -> None:
    plot = _plot(qtbot, np.array([1.0, 3.0, 2.0]), np.array([0.5, 0.75, 1.5]))
    for time_s in (0.5, 0.8, 1.5):
        assert plot.time_at(plot.to_widget(time_s, 2.0).x()) == pytest.approx(time_s)
    assert plot.time_at(-100) == pytest.approx(0.5)
    assert plot.time_at(1e6) == pytest.approx(1.5)


def test_axis_spans_finite_values_only(qtbot: QtBot) -> None:
    plot = _plot(qtbot, np.array([1.0, np.inf, 2.0, np.nan]), np.arange(4.0))
    assert plot.value_range() == pytest.approx((0.94, 2.06))


def test_a_curve_passes_through_its_values_and_stops_at_a_gap(qtbot: QtBot) -> None:
    plot = _plot(qtbot, np.array([1.0, 1.0, np.nan, 1.0, 1.0, 3.0]), np.arange(6.0))
    image = plot.grab().toImage()

    def red_at(time_s: float, value: float) -> bool:
        point = plot.to_widget(time_s, value).toPoint()
        around = [QPoint(point.x(), point.y() + dy) for dy in (-1, 0, 1)]
        return any(QColor(image.pixel(place)).red() > 150 for place in around)

    assert red_at(0.5, 1.0)
    assert red_at(3.5, 1.0)
    assert red_at(4.5, 2.0)
    assert not red_at(2.0, 1.0)
    assert not red_at(0.5, 2.0)


def test_a_click_gives_its_time(qtbot: QtBot) -> None:
    plot = _plot(qtbot, np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    with qtbot.waitSignal(plot.time_clicked) as clicked:
        qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=plot.to_widget(1.0, 2.0).toPoint())
    assert clicked.args[0] == pytest.approx(1.0, abs=0.01)


def test_times_must_fit_values() -> None:
    with pytest.raises(ValueError, match="Curve A"):
        Curve("A", np.zeros(2), np.zeros(3), RED)


def _plot(qtbot: QtBot, values: np.ndarray, times_s: np.ndarray) -> SeriesPlot:
    plot = SeriesPlot("SNR (dB)")
    qtbot.addWidget(plot)
    plot.resize(400, 200)
    plot.set_curves([Curve("A", times_s, values, RED)])
    return plot


def test_what_does_not_count_is_darkened_and_changes_are_marked(qtbot: QtBot) -> None:
    """The line of an axis is darker outside the span; a mark stands at its time."""
    plot = _plot(qtbot, np.array([0.0, 1.0]), np.array([0.0, 10.0]))
    tick = plot.to_widget(0.0, 0.5).toPoint().y()

    def lightness(time_s: float, y: int) -> int:
        image = plot.grab().toImage()
        x = plot.to_widget(time_s, 0.0).toPoint().x()
        return max(QColor(image.pixel(x, row)).lightness() for row in range(y - 1, y + 2))

    before = lightness(8.0, tick)
    plot.set_span((2.0, 6.0))
    assert lightness(8.0, tick) < 0.75 * before
    assert lightness(3.0, tick) == before
    plain = lightness(3.0, tick - 20)
    plot.set_marks([3.0])
    assert max(lightness(3.0, tick - 20 + step) for step in range(4)) > plain
