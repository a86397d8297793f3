"""The exported tables: from a real study folder, and against numbers computed from the rows by hand."""

from __future__ import annotations

import csv
import html
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import stats as scipy_stats

from studies import (
    measurement,
    ranking,
    report,
    report_analysis,
    report_figures,
    report_page,
    report_tables,
)
from studies.errors import StudyError
from studies.shapes import Line, Rectangle, Shapes
from studies.state import BlindedClip
from studies.study import Study

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
StudyMaker = Callable[..., Study]
PASSPHRASE = "four horses and a lamp"


def ranking_rows(
    clip: str, ranks: dict[str, tuple[int, ...]], subject: str, plane: str = "SAX", sampling: str = "radial"
) -> list[report_tables.RankingRow]:
    """Rows of one clip: reader to ranks in the order of ARMS; panels in the order of ARMS too."""
    return [
        report_tables.RankingRow(
            reader=reader,
            presentation=f"{clip}-{reader}",
            clip=clip,
            subject=subject,
            plane=plane,
            sampling=sampling,
            position="ABC"[place],
            method=ARMS[place],
            rank_competition=ranking.competition(given)[place],
            rank_mid=ranking.mid_ranks(given)[place],
            rank_dense=ranking.dense(given)[place],
            time_utc="2026-11-22T10:00:00+00:00",
        )
        for reader, given in ranks.items()
        for place in range(3)
    ]


def measured_row(
    clip: str, arm: int, snr: float | None, observer: str = "P", **more: str
) -> report_tables.MeasurementRow:
    """One measured movie; sharpness follows the arm."""
    return report_tables.MeasurementRow(
        observer=observer,
        clip=clip,
        subject=more.get("subject", clip),
        plane=more.get("plane", "SAX"),
        sampling=more.get("sampling", "radial"),
        method=ARMS[arm],
        snr_db_mean=snr,
        edge_sharpness_per_mm_mean=0.2 + 0.01 * arm,
        edge_sharpness_per_mm_sd=0.03,
        edge_width_mm_mean=3.0 - 0.1 * arm,
        warnings=more.get("warnings", ""),
    )


def random_tables(seed: int = 1, clips: int = 10) -> report_tables.StudyTables:
    """Two readers, one stratum, tied ranks, SNR."""
    rng = np.random.default_rng(seed)
    orders = ranking.weak_orders(3)
    ranks, measured = [], []
    for number in range(clips):
        clip = f"clip{number}"
        given = {reader: orders[rng.integers(13)] for reader in ("R1", "R2")}
        ranks += ranking_rows(clip, given, clip)
        measured += [measured_row(clip, arm, float(rng.normal(25 + arm, 2))) for arm in range(3)]
    return report_tables.StudyTables("Study", ARMS, tuple(ranks), tuple(measured))


def read(path: Path) -> list[dict[str, str]]:
    """A CSV file by another reader than the writer's own types."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class Cells(HTMLParser):
    """The text of all table cells, and tags that were left open."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag; a cell starts a new text."""
        if tag not in ("meta", "br", "rect", "line", "circle", "polyline"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        """Close it; tags must close in order."""
        if tag not in ("rect", "line", "circle", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text inside cells."""
        if {"td", "th"} & set(self.open) and data.strip():
            self.cells[-1] += " " + data.strip() if self.cells[-1] else data.strip()


def cells_of(page: str) -> list[str]:
    """All cells, after a check that every tag is closed."""
    parser = Cells()
    parser.feed(page)
    assert parser.open == []
    return parser.cells


# The way from a real study


def test_export_of_a_real_study(make_study: StudyMaker, tmp_path: Path) -> None:
    """Rank and measure through the study, unblind, export: rows tell what the readers and the key said."""
    study = make_study(scans=4, readers=["Anna", "Ben"])
    with pytest.raises(StudyError, match="still blinded"):
        report.export(study, tmp_path / "results")
    given: dict[tuple[str, str], list[int]] = {}
    orders = ranking.weak_orders(3)
    for reader in study.readers:
        while (presentation := study.next_presentation(reader)) is not None:
            ranks = list(orders[(3 * presentation.index + len(reader)) % 13])
            given[reader, presentation.clip_id] = ranks
            study.commit_ranking(reader, presentation, ranks, seconds=4.5, loops=2, frames_skipped=1)
    shapes = Shapes(
        Rectangle((2, 2), (3, 3)),
        Rectangle((6, 6), (2, 2)),
        Line((0, 4), (7, 4)),
    )
    expected_snr: dict[str, float] = {}
    for clip in study.clips:
        loaded = study.load_movies(clip.clip_id)
        results = measurement.measure(
            loaded.movies,
            shapes,
            loaded.pixel_spacing_mm,
            loaded.frame_times_s,
            window_s=study.protocol.measurement_window_s,
        )
        values = measurement.measurement_values(loaded.movie_ids, results)
        study.save_measurement("Physicist", clip.clip_id, shapes.to_dict(), values)
        for movie_id, movie in zip(loaded.movie_ids, loaded.movies.astype(float), strict=True):
            noise = movie[:, 5:8, 5:8].std(axis=(1, 2), ddof=1)
            expected_snr[movie_id] = float(
                np.mean(20 * np.log10(movie[:, 1:4, 1:4].mean(axis=(1, 2)) / noise))
            )
    by_id = {(r.reader, r.clip_id): r.movie_ids for r in study.rankings}
    method_of = study.unblind(PASSPHRASE, "coordinator")
    exported = report.export(study, tmp_path / "results")
    assert [path.name for path in exported.paths] == [
        "ranking.csv",
        "measurements.csv",
        "statistics.csv",
        "report.html",
    ]
    assert all(path.stat().st_size > 0 for path in exported.paths)

    rows = read(exported.ranking)
    assert len(rows) == 2 * 4 * 3
    assert list(rows[0])[:11] == [
        "reader", "presentation", "clip", "subject", "plane", "sampling", "position", "method",
        "rank_competition", "rank_mid", "rank_dense",
    ]  # fmt: skip
    for row in rows:
        place = "ABC".index(row["position"])
        assert row["method"] == method_of[by_id[row["reader"], row["clip"]][place]]
        assert int(row["rank_competition"]) == given[row["reader"], row["clip"]][place]
        assert row["seconds"] == "4.5" and row["loops"] == "2"
    measured = read(exported.measurements)
    assert len(measured) == 4 * 3
    snr = {(row["clip"], row["method"]): float(row["snr_db_mean"]) for row in measured}
    for clip in study.clips:
        for movie_id in clip.movie_ids:
            assert snr[clip.clip_id, method_of[movie_id]] == pytest.approx(expected_snr[movie_id], rel=1e-6)
    groups = {(row["plane"], row["sampling"]) for row in read(exported.statistics)}
    assert groups == {("4CH", "radial"), ("SAX", "radial"), ("all", "all")}
    page = exported.report.read_text(encoding="utf-8")
    cells_of(page)
    assert "Anna, Ben" in page and "holds only 9 pixels" in page


# Numbers


def test_statistics_equal_scipy_from_the_csv(tmp_path: Path) -> None:
    """Friedman's chi-square from the exported rows: rank sums of clips for ranks, SciPy for SNR."""
    exported = report.export_tables(random_tables(), tmp_path)
    sums: dict[str, dict[str, float]] = {}
    for row in read(exported.ranking):
        of_clip = sums.setdefault(row["clip"], dict.fromkeys(ARMS, 0.0))
        of_clip[row["method"]] += float(row["rank_mid"])
    table = np.array([[values[arm] for arm in ARMS] for values in sums.values()])
    rows = read(exported.statistics)
    found = {(row["endpoint"], row["comparison"], row["quantity"], row["note"]): row for row in rows}
    centred = table - table.mean(axis=1, keepdims=True)
    statistic = 2 * (centred.sum(axis=0) ** 2).sum() / (centred**2).sum()
    omnibus = next(r for r in rows if r["endpoint"] == "rank" and r["quantity"] == "friedman_chi_square")
    assert float(omnibus["value"]) == pytest.approx(statistic, rel=1e-8)
    assert float(omnibus["p_value"]) == pytest.approx(scipy_stats.chi2.sf(statistic, 2), rel=1e-8)
    assert omnibus["blocks"] == "10" and omnibus["readers"] == "2"  # never 20 blocks
    snr = np.array([float(row["snr_db_mean"]) for row in read(exported.measurements)]).reshape(10, 3)
    order = {row["method"]: place for place, row in enumerate(read(exported.measurements)[:3])}
    expected = scipy_stats.friedmanchisquare(*snr.T)
    test = next(r for r in rows if r["endpoint"] == "snr" and r["quantity"] == "friedman_chi_square")
    assert (float(test["value"]), float(test["p_value"])) == pytest.approx(tuple(expected), rel=1e-8)
    mean = found["snr", "dl_natural", "mean", "dB"]
    assert float(mean["value"]) == pytest.approx(snr[:, order["dl_natural"]].mean(), rel=1e-8)
    assert {row["kind"] for row in rows} == {"descriptive", "exact", "asymptotic"}


def test_page_names_the_models_and_their_caution(make_study: StudyMaker, tmp_path: Path) -> None:
    """A network trained on little says so in the report; a method without a model has no such line."""
    study = make_study(scans=1, readers=["Anna"])
    study.unblind(PASSPHRASE, "Carla", force=True)
    page = html.unescape(report.export(study, tmp_path).report.read_text(encoding="utf-8"))
    for arm in ("dl_natural", "dl_cardiac"):
        assert f"<dt>Model model-{arm}</dt><dd>Trained for {arm} on few videos.</dd>" in page
    assert page.count("<dt>Model ") == 2


def test_both_rank_codings_are_exported_and_named(tmp_path: Path) -> None:
    """Means of mid-ranks and competition ranks differ with ties; CSV and page say which is which."""
    tables = random_tables(2)
    exported = report.export_tables(tables, tmp_path)
    rows = [r for r in read(exported.statistics) if r["endpoint"] == "rank" and r["quantity"] == "mean"]
    for arm in ARMS:
        own = [row for row in tables.rankings if row.method == arm]
        said = {row["note"]: float(row["value"]) for row in rows if row["comparison"] == arm}
        assert said["mid-ranks"] == pytest.approx(np.mean([row.rank_mid for row in own]), rel=1e-9)
        assert said["competition ranks"] == pytest.approx(
            np.mean([row.rank_competition for row in own]), rel=1e-9
        )
        assert said["mid-ranks"] != said["competition ranks"]
    page = exported.report.read_text(encoding="utf-8")
    cells = cells_of(page)
    mid = [row.rank_mid for row in tables.rankings if row.method == ARMS[0]]
    assert any(cell.startswith(f"{np.mean(mid):.2f} ± {np.std(mid, ddof=1):.2f}") for cell in cells)
    assert "Rank mid-ranks, 1 = best" in cells and "Rank competition ranks, 1 = best" in cells


def test_page_says_what_it_must(tmp_path: Path) -> None:
    """Unit of inference, exact before asymptotic, the SNR warning, Nemenyi's limit at N = 10."""
    page = html.unescape(report.export_tables(random_tables(), tmp_path).report.read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", page)
    assert "The unit of inference is the clip" in text
    assert measurement.BACKGROUND_SNR_WARNING in text
    assert (
        "N = 10: even if all 10 agree on one strict order, p = 0.065 (asymptotic) and 0.081 (exact)" in text
    )
    header = text.index("Friedman<small>exact p"), text.index("Friedman<small>χ² p, asymptotic")
    assert header[0] < header[1]
    assert text.index("closed test<small>primary") < text.index("Nemenyi<small>as published")
    assert "asymptotic p</th>" in text and "Read the exact sign tests instead" in text


def test_page_is_self_contained_and_escapes_names(tmp_path: Path) -> None:
    """No script, no link, no outside file; a name with markup is text."""
    tables = random_tables()
    evil = '<script>alert("x")</script>'
    tables = replace(
        tables,
        name=evil,
        rankings=tuple(
            replace(row, reader=evil if row.reader == "R1" else "R2", plane="a<b>") for row in tables.rankings
        ),
        measurements=tuple(
            replace(row, plane="a<b>", observer=evil, warnings=evil) for row in tables.measurements
        ),
    )
    page = report.export_tables(tables, tmp_path).report.read_text(encoding="utf-8")
    cells_of(page)
    assert "<script" not in page and "&lt;script&gt;" in page and "a<b>" not in page.lower()
    assert not re.search(r"(?:src|href)=|@import|url\(", page)


def test_incomplete_clips_are_left_out_and_counted() -> None:
    """A clip that one reader missed, and a clip without a finite SNR for one arm; other endpoints keep it."""
    tables = random_tables(3, 8)
    tables = replace(
        tables,
        rankings=tuple(r for r in tables.rankings if (r.clip, r.reader) != ("clip2", "R2")),
        measurements=tuple(
            replace(r, snr_db_mean=None) if (r.clip, r.method) == ("clip5", ARMS[1]) else r
            for r in tables.measurements
        ),
    )
    (group,) = report_analysis.analyse(tables)
    by_key = {endpoint.key: endpoint for endpoint in group.endpoints}
    clips = {key: endpoint.result.clips if endpoint.result else 0 for key, endpoint in by_key.items()}
    assert clips == {"rank": 7, "snr": 7, "es": 8, "std_es": 8, "edge_width": 8}
    assert "1 of 8 clips were not ranked by every reader" in by_key["rank"].notes[0]
    assert "1 of 8 measured clips" in by_key["snr"].notes[0] and by_key["es"].notes == ()
    assert sum(map(sum, group.rank_shares)) == 7 * 2 * 3


def test_observers_are_averaged_per_clip() -> None:
    """Two observers do not double N; their mean is tested. An arm that only one measured drops the clip."""
    rows = [
        measured_row(f"c{n}", arm, 20.0 + n + arm + 2 * o, "PQ"[o])
        for n in range(4)
        for arm in range(3)
        for o in (0, 1)
    ]
    tables = report_tables.StudyTables("S", ARMS, (), tuple(rows))
    snr = report_analysis.analyse(tables)[0].endpoints[1]
    assert snr.result is not None and snr.result.clips == 4
    assert snr.values[0] == ("c0", (21.0, 22.0, 23.0))
    fewer = tuple(row for row in rows if (row.clip, row.method, row.observer) != ("c0", ARMS[0], "Q"))
    dropped = report_analysis.analyse(replace(tables, measurements=fewer))[0].endpoints[1]
    assert dropped.result is not None and dropped.result.clips == 3


def test_groups_are_ordered_and_all_clips_use_subjects() -> None:
    """Cartesian, radial, spiral within a plane; then all clips, with one block a subject."""
    rows = []
    for plane in ("SAX", "4CH"):
        for sampling in ("spiral", "radial", "cartesian"):
            for subject in range(3):
                rows += ranking_rows(
                    f"{plane}{sampling}{subject}", {"R": (3, 1, 2)}, f"S{subject}", plane, sampling
                )
    groups = report_analysis.analyse(report_tables.StudyTables("S", ARMS, tuple(rows), ()))
    assert [(g.plane, g.sampling) for g in groups] == [
        ("4CH", "cartesian"), ("4CH", "radial"), ("4CH", "spiral"), ("SAX", "cartesian"), ("SAX", "radial"),
        ("SAX", "spiral"), ("all", "all"),
    ]  # fmt: skip
    rank = groups[-1].endpoints[0].result
    assert rank is not None and (rank.clips, rank.blocks) == (18, 3)
    assert rank.omnibus.p_exact == pytest.approx(6 / 6**3)  # three subjects, not eighteen clips
    assert groups[-1].secondary and not groups[0].secondary


def test_empty_and_tiny_studies_make_a_page(tmp_path: Path) -> None:
    """Nothing at all; one clip; all ties: no crash, dashes instead of numbers that do not exist."""
    nothing = report_tables.StudyTables("Empty", ARMS, (), ())
    exported = report.export_tables(nothing, tmp_path / "a")
    assert "no rankings and no measurements" in exported.report.read_text(encoding="utf-8")
    assert [len(read(path)) for path in exported.paths[:3]] == [0, 0, 0]
    one = replace(
        nothing,
        rankings=tuple(ranking_rows("c", {"R": (1, 1, 1)}, "S")),
        measurements=(measured_row("c", 0, 9.0),),
    )
    page = report.export_tables(one, tmp_path / "b").report.read_text(encoding="utf-8")
    assert "No preference expressed" in page and "nan" not in page.lower()
    cells_of(page)


def test_unknown_method_and_unwritable_folder(tmp_path: Path) -> None:
    """The error names the row, or the folder; a file where the folder should be is kept."""
    tables = random_tables()
    with pytest.raises(StudyError, match="'other', which is no arm"):
        report_analysis.analyse(replace(tables, rankings=(replace(tables.rankings[0], method="other"),)))
    (tmp_path / "file").write_text("keep")
    with pytest.raises(StudyError, match="cannot be written"):
        report.export_tables(tables, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "keep"


def test_same_tables_give_the_same_files(tmp_path: Path) -> None:
    """Bootstraps are seeded; only the date may differ, and it is given here."""

    def now() -> datetime:
        return datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    first = report.export_tables(random_tables(), tmp_path / "a", now=now)
    second = report.export_tables(random_tables(), tmp_path / "b", now=now)
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in second.paths]
    assert "22 November 2026, 12:00 UTC" in first.report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "–"), (math.nan, "–"), (1.0, "1.000"), (0.04999, "0.050"), (0.001, "0.001"), (9e-4, "< 0.001")],
)
def test_p_values_as_printed(p: float | None, text: str) -> None:
    """Three decimals; below that the bound."""
    assert report_page.p_text(p) == text


def test_numbers_as_printed() -> None:
    """True minus, no negative zero, infinity and missing in words of one sign."""
    assert report_page.number_text(-0.004, 2, signed=True) == "0.00"
    assert report_page.number_text(-1.256, 2) == "−1.26"
    assert report_page.number_text(0.5, 1, signed=True) == "+0.5"
    assert [report_page.number_text(v, 1) for v in (math.inf, -math.inf, math.nan)] == ["∞", "−∞", "–"]


# Figures


def test_rank_bars_are_proportional() -> None:
    """Widths of the bars are the shares, and the counts are printed; the SVG is well-formed XML."""
    root = ElementTree.fromstring(report_figures.rank_bars(["a & b", "c"], [[6, 2, 0], [2, 6, 0]]))
    widths = [float(node.get("width", 0)) for node in root.iter("rect") if node.get("height") == "24.0"]
    assert (
        len(widths) == 4
        and widths[0] == pytest.approx(3 * widths[1])
        and widths[2] == pytest.approx(widths[1])
    )
    assert [node.text for node in root.iter("text")][:3] == ["a & b", "6", "2"]


def test_slope_plot_places_values_on_its_scale() -> None:
    """Heights are linear in the values and labelled by round ticks; equal values do not divide by zero."""
    root = ElementTree.fromstring(report_figures.slope_plot("SNR", ["a", "b"], [[10, 20], [30, 25]]))
    heights = [float(node.get("cy", 0)) for node in root.iter("circle")]
    value = [10, 30, 20, 25]  # method by method
    assert np.ptp(np.polyval(np.polyfit(value, heights, 1), value) - heights) < 0.2
    assert heights[1] < heights[0]  # larger is higher
    assert report_figures.nice_ticks(10, 30) == [10, 15, 20, 25, 30]
    assert report_figures.nice_ticks(0.213, 0.297) == [0.2, 0.25, 0.3]
    ElementTree.fromstring(report_figures.slope_plot("flat", ["a", "b"], [[1, 1], [1, 1]]))


def test_panel_png_shows_each_position(tmp_path: Path) -> None:
    """Grey 40, 120 and 240 appear in this order from left to right; no metadata beyond the image."""
    display = np.stack([np.full((5, 30, 20), grey, np.uint8) for grey in (40, 120, 240)])
    display[:, ::2, :, 13] = 0
    clip = BlindedClip("p", "c", display, 0.05 * np.arange(5), (1.5, 1.5))
    assert report_figures.common_column(display) == pytest.approx(13, abs=2)
    path = report_figures.panel_png(clip, tmp_path / "panel.png")
    image = imread(path)[..., 0]
    quarter = image.shape[0] // 2
    seen = [
        np.median(image[20:quarter, int((place + 0.5) / 3 * image.shape[1]) - 60 :][:, :30])
        for place in range(3)
    ]
    assert seen == pytest.approx([40 / 255, 120 / 255, 240 / 255], abs=0.02)
    assert b"matplotlib" not in path.read_bytes().lower()
    with pytest.raises(StudyError, match="outside the movie"):
        report_figures.panel_png(clip, tmp_path / "panel.png", frame=5)


@dataclass(frozen=True)
class _Note:
    comment: str
    value: float


def test_a_note_is_never_a_formula() -> None:
    """A cell that a spreadsheet would run is quoted; numbers and other text stay as they are."""
    text = report.csv_bytes([_Note("=cmd()", -1.5), _Note("fine - really", 2.0)], _Note).decode()
    assert text.splitlines() == ["comment,value", "'=cmd(),-1.5", "fine - really,2"]
