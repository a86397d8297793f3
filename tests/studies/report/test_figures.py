"""Figures tell what they are given: positions, widths and joins are read back from the drawing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from studies.errors import StudyError
from studies.report import analyse, figures
from studies.report.drawing import draw, slug
from studies.report.tables import StudyTables
from studies.state import BlindedClip

TablesMaker = Callable[..., StudyTables]
SVG = "{http://www.w3.org/2000/svg}"


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    """Elements of a drawing, which must be well-formed and stand alone."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("viewBox")
    return list(root.iter(f"{SVG}{tag}"))


def test_rank_bars_are_proportional() -> None:
    """Widths of the bars are the shares, and the counts are printed."""
    svg = figures.rank_bars(["a & b", "c"], [[6, 2, 0], [2, 6, 0]])
    widths = [float(node.get("width", 0)) for node in elements(svg, "rect") if node.get("height") == "24.0"]
    assert len(widths) == 4
    assert widths[0] == pytest.approx(3 * widths[1]) and widths[2] == pytest.approx(widths[1])
    assert [node.text for node in elements(svg, "text")][:3] == ["a & b", "6", "2"]


def test_outcome_bars_are_proportional() -> None:
    """Wins left, ties in the middle, losses right; nothing is drawn for none."""
    svg = figures.outcome_bars([("a", "b", 6, 3, 1, "p = 0.1"), ("a", "c", 0, 0, 10, "")])
    bars = [node for node in elements(svg, "rect") if node.get("height") == "20.0"]
    widths = [float(node.get("width", 0)) for node in bars]
    assert widths == pytest.approx([138, 69, 23, 230])
    lefts = [float(node.get("x", 0)) for node in bars[:3]]
    assert lefts == sorted(lefts) and len({node.get("fill") for node in bars[:3]}) == 3


def test_rank_dots_put_the_best_on_top() -> None:
    """One marker where readers agree, two joined by a line where they do not; rank 1 is higher."""
    svg = figures.rank_dots(["a", "b"], [("S1", [[1, 2], [1, 2]]), ("S2", [[1, 2], [2, 1]])])
    dots = [(float(n.get("cx", 0)), float(n.get("cy", 0))) for n in elements(svg, "circle")][1:]
    assert len(dots) == 3  # of method a: one in S1, two in S2 (the first is in the key)
    assert dots[0][1] == dots[1][1] < dots[2][1]
    joined = [n for n in elements(svg, "line") if n.get("stroke") == figures.METHOD_COLOURS[0]]
    assert [(float(n.get("y1", 0)), float(n.get("y2", 0))) for n in joined] == [(dots[1][1], dots[2][1])]


def test_box_plot_shows_quartiles_and_whiskers() -> None:
    """Heights are linear in the values; box and median are NumPy's percentiles, an outlier has no whisker."""
    column = [1.0, 2.0, 3.0, 4.0, 5.0, 30.0]
    svg = figures.box_plot("SNR", ["a"], [[value] for value in column])
    heights = [float(node.get("cy", 0)) for node in elements(svg, "circle")]
    scale = np.polyfit(heights, column, 1)
    assert np.polyval(scale, heights) == pytest.approx(column, abs=0.2)
    (box,) = [node for node in elements(svg, "rect") if node.get("width") == "30"]
    top, size = float(box.get("y", 0)), float(box.get("height", 0))
    assert np.polyval(scale, [top + size, top]) == pytest.approx(np.percentile(column, [25, 75]), abs=0.2)
    median = next(node for node in elements(svg, "line") if node.get("stroke-width") == "2.4")
    assert np.polyval(scale, float(median.get("y1", 0))) == pytest.approx(3.5, abs=0.2)
    whiskers = [
        float(node.get(end, 0))
        for node in elements(svg, "line")
        for end in ("y1", "y2")
        if node.get("x1") == node.get("x2")
    ]
    assert np.polyval(scale, min(whiskers)) == pytest.approx(5, abs=0.2)
    assert figures.nice_ticks(0.213, 0.297) == [0.2, 0.25, 0.3]
    elements(figures.box_plot("flat", ["a", "b"], [[1, 1], [1, 1]]), "rect")


@pytest.mark.parametrize(
    ("alike", "bars"),
    [
        ([], []),
        ([(0, 1)], [(0, 1)]),
        ([(0, 1), (1, 2)], [(0, 1), (1, 2)]),
        ([(0, 1), (1, 2), (0, 2)], [(0, 2)]),
        ([(0, 2)], []),  # ranks 1 and 3 alike but not those between: no bar can say so
    ],
)
def test_critical_difference_joins_what_does_not_differ(
    alike: list[tuple[int, int]], bars: list[tuple[int, int]]
) -> None:
    """A bar spans the mean ranks of methods that are all alike; never one within another."""
    ranks = [1.2, 1.9, 2.9]
    svg = figures.critical_difference(["a", "b", "c"], ranks, alike, 1.05)
    thick = [node for node in elements(svg, "line") if node.get("stroke-width") == "3.4"]
    span = 560 - 2 * 160
    drawn = [tuple((float(node.get(x, 0)) - 160) / span * 2 + 1 for x in ("x1", "x2")) for node in thick]
    expected = [(ranks[low], ranks[high]) for low, high in bars]
    assert len(drawn) == len(expected)
    for (left, right), (low, high) in zip(drawn, expected, strict=True):
        assert (left, right) == pytest.approx((low, high), abs=0.05)


def test_reader_camps_put_the_first_method_on_the_left() -> None:
    """A reader who always prefers the first method stands at the left end, one without preference at 0."""
    svg = figures.reader_camps(
        ["Anna", "Ben"], [("a", "b")], {"Anna": [(1.0, (0.4, 1.0))], "Ben": [(0.0, None)]}
    )
    dots = [float(node.get("cx", 0)) for node in elements(svg, "circle")]
    assert dots == [140.0, 140 + 330 / 2]
    intervals = [node for node in elements(svg, "line") if node.get("stroke-width") == "1.6"]
    assert len(intervals) == 1 and float(intervals[0].get("x1", 0)) == 140.0


def test_every_method_has_a_marker_of_its_own() -> None:
    """Shapes differ too, so that a grey print can be read."""
    shapes = {figures._marker(index, 10, 10).replace(figures.METHOD_COLOURS[index], "") for index in range(6)}
    assert len(shapes) == 6


def test_which_figures_there_are(make_tables: TablesMaker) -> None:
    """Of every stratum ranks, outcomes, shares, mean ranks, readers and boxes; the secondary has no dots."""
    strata = (("SAX", "radial"), ("4 CH/x", "spiral"))
    drawings = list(draw(analyse(make_tables(strata=strata, clips=3))))
    kinds = {
        name: [item.kind for item in drawings if item.stratum == name]
        for name in {d.stratum for d in drawings}
    }
    assert kinds["SAX / radial"] == [
        "ranks", "outcomes", "shares", "mean_ranks", "readers", "snr", "es", "std_es",
    ]  # fmt: skip
    assert kinds["all strata"] == ["outcomes", "shares", "mean_ranks", "readers"]
    names = [item.file_name for item in drawings]
    assert len(set(names)) == len(names) and "4_ch_x_spiral_ranks.svg" in names
    for item in drawings:
        elements(item.content.decode(), "line")
        assert item.caption.endswith(".")
    assert slug("///") == "all"
    alone = list(draw(analyse(make_tables(readers=("Anna",), observers=(), clips=2))))
    assert "readers" not in {item.kind for item in alone}


def test_panel_png_shows_each_position(tmp_path: Path) -> None:
    """Grey 40, 120 and 240 appear in this order from left to right; no metadata beyond the image."""
    display = np.stack([np.full((5, 30, 20), grey, np.uint8) for grey in (40, 120, 240)])
    display[:, ::2, :, 13] = 0
    clip = BlindedClip("p", "c", display, 0.05 * np.arange(5), (1.5, 1.5))
    assert figures.common_column(display) == pytest.approx(13, abs=2)
    path = figures.panel_png(clip, tmp_path / "panel.png")
    image = imread(path)[..., 0]
    quarter = image.shape[0] // 2
    seen = [
        np.median(image[20:quarter, int((place + 0.5) / 3 * image.shape[1]) - 60 :][:, :30])
        for place in range(3)
    ]
    assert seen == pytest.approx([40 / 255, 120 / 255, 240 / 255], abs=0.02)
    assert b"matplotlib" not in path.read_bytes().lower()
    with pytest.raises(StudyError, match="outside the movie"):
        figures.panel_png(clip, tmp_path / "panel.png", frame=5)
