"""The files of a report: from a real study folder, against numbers computed from the rows by hand."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from scipy import stats as scipy_stats

from studies import measurement, ranking, report
from studies.errors import StudyError
from studies.names import method_label
from studies.report import latex, spreadsheet, wording
from studies.report.checklists import checklists
from studies.report.findings import findings
from studies.report.tables import MeasurementRow, StudyTables
from studies.shapes import Line, Rectangle, Shapes
from studies.study import Study

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
StudyMaker = Callable[..., Study]
TablesMaker = Callable[..., StudyTables]
PASSPHRASE = "four horses and a lamp"


def read(path: Path) -> list[dict[str, str]]:
    """A CSV file by another reader than the writer's own types."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class Cells(HTMLParser):
    """The text of all table cells, and tags that were left open."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A drawing's element, closed at once."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open) and data.strip():
            self.cells[-1] += " " + data.strip() if self.cells[-1] else data.strip()


def cells_of(page: str) -> list[str]:
    """All cells, after a check that every tag is closed."""
    parser = Cells()
    parser.feed(page)
    assert parser.open == []
    return parser.cells


def text_of(page: str) -> str:
    """The page's words in one line."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))


# The way from a real study


def test_export_of_a_real_study(make_study: StudyMaker, tmp_path: Path) -> None:
    """Rank and measure through the study, unblind, export: rows tell what the readers and the key said."""
    study = make_study(scans=4, readers=["Anna", "Ben"])
    with pytest.raises(StudyError, match="still blinded"):
        report.export(study, tmp_path / "results")
    assert not (tmp_path / "results").exists()
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
    steps: list[float] = []
    exported = report.export(
        study, tmp_path / "results", progress=lambda _what, fraction: steps.append(fraction)
    )
    assert steps == sorted(steps) and len(steps) > 5 and 0 < steps[0] and steps[-1] < 1
    assert all(path.stat().st_size > 0 for path in exported.paths)
    assert {path.name for path in exported.documents} == {
        "report.html", "report.xlsx", "ranking.csv", "measurements.csv", "statistics.csv",
        "statistics.json", "study.json", "scans.csv", "provenance.json", "tables_3_4.csv", "tables_3_4.tex",
        "reproduce.py", "reproduce.R",
    }  # fmt: skip
    assert {path.suffix for path in exported.figures} == {".svg", ".png"}

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
    strata = {row["stratum"] for row in read(exported.statistics)} - {""}
    assert strata == {"4CH / radial", "SAX / radial", "all strata"}
    page = exported.report.read_text(encoding="utf-8")
    cells_of(page)
    assert "Anna, Ben" in page and "holds only 9 pixels" in page
    scans = {row["clip"]: row for row in read(exported.folder / "scans.csv")}
    assert {row["raw_file"] for row in scans.values()} == {f"meas_heart_{n}.h5" for n in range(4)}
    for entry in json.loads((exported.folder / "provenance.json").read_text(encoding="utf-8")):
        assert entry["provenance"]["method"] == entry["method"]
        assert entry["provenance"]["raw"] == scans[entry["clip"]]["raw_file"]
    for arm in ARMS[1:]:
        assert f"Trained for {arm} on few videos." in page and f"model-{arm}" in page


def test_gaps_guesses_and_sessions_of_a_real_study(make_study: StudyMaker, tmp_path: Path) -> None:
    """A clip that cannot be judged and clips never read are missing, with reasons; guesses are judged."""
    study = make_study(scans=6, readers=["Anna", "Ben"])
    study.amend("Cora", "Ben's monitor was replaced", {})
    for reader in study.readers:
        session = study.begin_session(reader, {"screen": "RX360", "display_check": {"verdict": "passed"}})
        while (presentation := study.next_presentation(reader)) is not None:
            if reader == "Ben" and presentation.index == 4:
                break
            judged = not (reader == "Anna" and presentation.index == 2)
            study.commit_ranking(
                reader,
                presentation,
                [1, 2, 2] if judged else (),
                confidence=4 if judged else None,
                cannot_judge=not judged,
                session_id=session,
                loops=2,
                comment="" if judged else "too much motion",
            )
    for presentation in study.guess_presentations("Anna"):
        study.record_guess("Anna", presentation, [study.guess_choices("Anna")[0], None, None])
    guesses = study.guesses
    method_of = study.unblind(PASSPHRASE, "Cora", force=True)
    analysis = report.analyse(report.tables_of(study))
    assert (
        analysis.document["readings"]["Anna"] | {"loops_fewest": 2} == analysis.document["readings"]["Anna"]
    )
    for reader, counts in (("Anna", (5, 1, 0)), ("Ben", (4, 0, 2))):
        found = analysis.document["readings"][reader]
        assert (found["readings"], found["cannot_judge"], found["not_read"]) == counts
    assert analysis.document["readings"]["Anna"]["confidence_counts"] == {"4": 5}
    bang = analysis.document["blinding"]["Anna"]["bang"]
    # The first choice is "Compressed sensing": right where the first panel was.
    right = sum(method_of[record.movie_ids[0]] == "compressed_sensing" for record in guesses)
    assert len(guesses) > 0 and bang["compressed_sensing"]["right"] == right
    assert sum(row["wrong"] for row in bang.values()) == len(guesses) - right
    assert sum(row["unknown"] for row in bang.values()) == 2 * len(guesses)
    with pytest.raises(StudyError, match="open for a reader, who does not see all"):
        report.export(Study.open(study.folder, role="reader", person="Anna"), tmp_path / "own")
    exported = report.export(study, tmp_path)
    text = text_of(exported.report.read_text(encoding="utf-8"))
    for words in (
        "3 readings missing (1 could not be judged, 2 not read)",
        "too much motion",
        "unblinded although rankings were missing",
        "Ben's monitor was replaced",
        "display check.verdict passed",
        study.protocol_sha256,
        "Skillings–Mack, Rank",
    ):
        assert words in text, words
    sessions = read(exported.folder / "sessions.csv")
    assert {row["reader"]: row["value"] for row in sessions if row["item"] == "screen"} == {
        "Anna": "RX360",
        "Ben": "RX360",
    }


# Numbers


def test_statistics_equal_scipy_from_the_csv(make_tables: TablesMaker, tmp_path: Path) -> None:
    """Friedman's chi-square from the exported rows: rank sums of clips for ranks, SciPy for SNR."""
    exported = report.export_tables(make_tables(clips=10), tmp_path)
    sums: dict[str, dict[str, float]] = {}
    for row in read(exported.ranking):
        of_clip = sums.setdefault(row["clip"], dict.fromkeys(ARMS, 0.0))
        of_clip[row["method"]] += float(row["rank_mid"])
    table = np.array([[values[arm] for arm in ARMS] for values in sums.values()])
    document = json.loads((tmp_path / "statistics.json").read_text(encoding="utf-8"))
    found = {item["endpoint"]: item for item in document["strata"]}
    centred = table - table.mean(axis=1, keepdims=True)
    statistic = 2 * (centred.sum(axis=0) ** 2).sum() / (centred**2).sum()
    assert found["rank"]["friedman"]["chi2"] == pytest.approx(statistic, rel=1e-12)
    assert found["rank"]["friedman"]["p_chi2"] == pytest.approx(scipy_stats.chi2.sf(statistic, 2), rel=1e-12)
    assert found["rank"]["n"] == 10 and found["rank"]["readers"] == ["Anna", "Ben"]  # never 20 blocks
    snr = {(row["clip"], row["method"]): float(row["snr_db_mean"]) for row in read(exported.measurements)}
    values = np.array([[snr[clip, arm] for arm in ARMS] for clip in sums])
    expected = scipy_stats.friedmanchisquare(*values.T)
    test = found["snr"]["friedman"]
    assert (test["chi2"], test["p_chi2"]) == pytest.approx(tuple(expected), rel=1e-12)
    mean = found["snr"]["descriptives"]["dl_natural"]["mean"]
    assert mean == pytest.approx(values[:, 1].mean(), rel=1e-12)
    lines = [
        row for row in read(exported.statistics) if row["endpoint"] == "snr" and row["quantity"] == "chi2"
    ]
    assert [float(row["value"]) for row in lines] == pytest.approx([expected[0]], rel=1e-9)


def test_page_prints_the_numbers_of_the_document(make_tables: TablesMaker, tmp_path: Path) -> None:
    """Means, p values and intervals of statistics.json stand in cells of the page."""
    exported = report.export_tables(make_tables(clips=8, repeats=2, guesses=2), tmp_path)
    cells = cells_of(exported.report.read_text(encoding="utf-8"))
    document = json.loads((tmp_path / "statistics.json").read_text(encoding="utf-8"))
    rank = document["strata"][0]
    for row in rank["descriptives"].values():
        low, high = row["mean_ci95"]
        assert f"{row['mean']:.2f} ± {row['sd']:.2f} [{low:.2f}, {high:.2f}]" in cells
    for pair in rank["pairs"].values():
        assert f"{pair['wins']}/{pair['ties']}/{pair['losses']}" in cells
        for key in ("closed_p", "sign_p", "exact_p", "nemenyi_p"):
            assert wording.p_text(pair[key]) in cells
    kappa = rank["agreement"]["readers"]["Anna|Ben"]["kappa_quadratic"]
    assert any(cell.startswith(wording.number_text(kappa, 2)) for cell in cells)
    assert "Anna, first and repeated readings" in cells
    shift = next(item for item in document["strata"] if item["endpoint"] == "snr")["pairs"]
    for pair in shift.values():
        shown = wording.estimate_text(pair["hodges_lehmann"], pair["hodges_lehmann_ci95"], 1)
        assert shown in cells


def test_page_says_what_it_must(make_tables: TablesMaker, tmp_path: Path) -> None:
    """The primary result first; unit of inference, SNR warning, exact before asymptotic, Nemenyi's limit."""
    exported = report.export_tables(make_tables(clips=10, readers=("Anna",)), tmp_path)
    text = text_of(exported.report.read_text(encoding="utf-8"))
    assert text.index("Primary result") < text.index("What this does not show") < text.index("Table 3.")
    assert "The unit of inference is the clip" in text
    assert measurement.BACKGROUND_SNR_WARNING in text
    assert "even if all 10 agree on one strict order, p = 0.065 (asymptotic) and 0.081 (exact)" in text
    assert text.index("Friedmanexact p") < text.index("Friedmanχ² p, asymptotic")
    assert text.index("closed testprimary") < text.index("Nemenyias published")
    assert "Table 3, as published" in text and text.index("Table 3.") < text.index("Table 3, as published")


def test_page_is_self_contained_and_escapes_names(make_tables: TablesMaker, tmp_path: Path) -> None:
    """No script, no link to elsewhere, no outside file; a name with markup is text everywhere."""
    evil = '<script>alert("x")</script>'
    tables = make_tables(clips=3, guesses=1, missing=True, readers=("Anna", evil))
    tables = replace(
        tables,
        name=evil,
        rankings=tuple(replace(row, plane="a<b>", comment=evil) for row in tables.rankings),
        measurements=tuple(
            replace(row, plane="a<b>", observer=evil, warnings=evil) for row in tables.measurements
        ),
    )
    exported = report.export_tables(tables, tmp_path)
    page = exported.report.read_text(encoding="utf-8")
    cells_of(page)
    assert "<script" not in page and "&lt;script&gt;" in page and "a<b>" not in page
    assert not re.search(r"@import|url\(|<link|<iframe", page)
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert links and all(link.startswith("#") or link.startswith("data:image/png;base64,") for link in links)
    for path in exported.figures:
        assert "<script" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        {"clips": 0, "readers": (), "observers": ()},
        {"clips": 1, "readers": ("Anna",), "tied": True},
        {"clips": 2, "arms": ("old", "new"), "observers": ()},
        {"clips": 2, "arms": tuple("abcdef"), "readers": ("Anna",)},
        {"clips": 4, "missing": True},
    ],
)
def test_degenerate_studies_make_a_page(
    options: dict[str, Any], make_tables: TablesMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dashes instead of numbers that do not exist; no "nan" anywhere, whatever is missing."""
    monkeypatch.setattr(spreadsheet, "workbook", lambda analysis, found: b"")
    exported = report.export_tables(make_tables(**options), tmp_path)
    page = exported.report.read_text(encoding="utf-8")
    cells_of(page)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text_of(page))
    text = text_of(page)
    if options["clips"] == 0:
        assert "no rankings and no measurements" in text and "no test of the primary endpoint" in text
    if options.get("tied"):
        assert "No preference was expressed" in text
    for path in exported.figures:
        assert "nan" not in path.read_text(encoding="utf-8")


def test_unknown_method_and_unwritable_folder(make_tables: TablesMaker, tmp_path: Path) -> None:
    """The error names the row, or the folder; a file where the folder should be is kept."""
    tables = make_tables(clips=2, observers=())
    with pytest.raises(StudyError, match="'other', which is no arm"):
        report.analyse(replace(tables, rankings=(replace(tables.rankings[0], method="other"),)))
    (tmp_path / "file").write_text("keep")
    with pytest.raises(StudyError, match="cannot be written"):
        report.export_tables(tables, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "keep"


def test_same_tables_give_the_same_files(make_tables: TablesMaker, tmp_path: Path) -> None:
    """Bytes of all files are equal; another date changes the page only."""

    def at(hour: int) -> Callable[[], datetime]:
        return lambda: datetime(2026, 11, 22, hour, 0, tzinfo=UTC)

    tables = make_tables(missing=True, guesses=2)
    first = report.export_tables(tables, tmp_path / "a", now=at(12))
    second = report.export_tables(tables, tmp_path / "b", now=at(13))
    different = [
        one.name
        for one, other in zip(first.paths, second.paths, strict=True)
        if one.read_bytes() != other.read_bytes()
    ]
    assert different == ["report.html"]
    pages = [
        exported.report.read_text(encoding="utf-8").replace(f"22 November 2026, {hour}:00 UTC", "")
        for exported, hour in ((first, 12), (second, 13))
    ]
    assert pages[0] == pages[1]


def test_a_cancelled_export_writes_nothing(make_tables: TablesMaker, tmp_path: Path) -> None:
    """Whichever step it is ended at, an earlier export stays as it was."""
    tables = make_tables(clips=2, observers=())
    steps: list[str] = []
    report.export_tables(tables, tmp_path / "out", progress=lambda what, _fraction: steps.append(what))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for last in dict.fromkeys(steps):

        def cancel(what: str, _fraction: float, last: str = last) -> None:
            if what == last:
                raise report.ExportCancelled("enough")

        with pytest.raises(report.ExportCancelled):
            report.export_tables(replace(tables, name="Another"), tmp_path / "out", progress=cancel)
        with pytest.raises(report.ExportCancelled):
            report.export_tables(tables, tmp_path / "never", progress=cancel)
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "never").exists()


# Workbook, LaTeX, checklists


def test_workbook_holds_the_numbers_and_no_formula(make_tables: TablesMaker) -> None:
    """Read by openpyxl: rows of the ranking, numbers as numbers, a text that begins with "=" as text."""
    tables = make_tables(missing=True, guesses=1)
    tables = replace(
        tables, rankings=tuple(replace(row, comment='=HYPERLINK("x")\x07') for row in tables.rankings)
    )
    analysis = report.analyse(tables)
    content = spreadsheet.workbook(analysis, findings(analysis))
    assert content == spreadsheet.workbook(analysis, findings(analysis))
    book = openpyxl.load_workbook(io.BytesIO(content))
    assert {"Findings", "Table 3", "Table 3 as published", "Statistics", "Ranking", "GRRAS", "CLAIM"} <= set(
        book.sheetnames
    )
    sheet = book["Ranking"]
    heads = [cell.value for cell in sheet[1]]
    assert sheet.max_row == 1 + len(tables.rankings)
    assert {row[heads.index("comment")].data_type for row in sheet.iter_rows(min_row=2)} == {"s"}
    assert sheet.cell(2, heads.index("comment") + 1).value == '=HYPERLINK("x")'
    ranks = [row[heads.index("rank_mid")].value for row in sheet.iter_rows(min_row=2)]
    assert ranks == [row.rank_mid for row in tables.rankings]
    lines = [[cell.value for cell in row] for row in book["Statistics"].iter_rows(min_row=2)]
    chi2 = next(line for line in lines if line[1] == "rank" and line[5] == "chi2")
    assert chi2[6] == pytest.approx(analysis.document["strata"][0]["friedman"]["chi2"], rel=1e-9)


def test_latex_is_balanced_and_escaped(make_tables: TablesMaker) -> None:
    """Braces close, special signs are escaped, every row has as many columns as its head."""
    tables = make_tables(
        arms=("a_b", "c&d", "50%"), strata=(("SAX", "radial"), ("speech", "spiral")), clips=7
    )
    text = latex.document(report.analyse(tables))
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    for table in text.split(r"\begin{tabular}")[1:]:
        rows = [line for line in table.split(r"\end{tabular}")[0].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {6}
        assert len(rows) == 1 + 3
    assert text.count(r"\begin{table}") == 4
    assert r"A b" in text and r"C\&d" in text and r"50\%" in text
    assert r"$\pm$" in text and "±" not in text


def test_checklists_are_complete_and_say_what_only_authors_know(make_tables: TablesMaker) -> None:
    """Every item once and in order; counts from the rows; what data cannot tell is left to the authors."""
    tables = make_tables(missing=True, repeats=2, strata=(("SAX", "radial"), ("4CH", "spiral")))
    grras, claim = checklists(report.analyse(tables))
    assert [item.number for item in grras.items] == [str(number) for number in range(1, 16)]
    assert [item.number for item in claim.items] == [str(number) for number in range(1, 45)]
    found = {item.number: item for item in grras.items}
    assert (
        "2 readers; 12 clips of 6 subjects; 20 readings done, 4 missing; 8 hidden repeats"
        in found["11"].answer
    )
    assert "Krippendorff’s α" in found["13"].answer and found["13"].status == "filled"
    for checklist in (grras, claim):
        for item in checklist.items:
            assert item.answer and (item.status == "author") == (item.answer.startswith("To be written"))
    assert {item.number for item in claim.items if item.status == "author"} >= {"1", "2", "36", "44"}
    alone = checklists(report.analyse(make_tables(readers=("Anna",), clips=2)))[0].items[12]
    assert alone.status == "partly" and "One reader" in alone.answer


def test_several_observers_are_averaged(make_tables: TablesMaker) -> None:
    """Two observers do not double N; an arm that only one of them measured takes his set away."""
    rows = [
        MeasurementRow(
            o, f"c{n}", f"S{n}", "SAX", "radial", arm, snr_db_mean=20.0 + n + place + 2 * (o == "Q")
        )
        for n in range(4)
        for place, arm in enumerate(ARMS)
        for o in "PQ"
    ]
    tables = StudyTables("S", ARMS, (), tuple(rows))
    (found,) = report.analyse(tables).document["strata"]
    assert found["n"] == 4
    assert found["descriptives"]["compressed_sensing"]["mean"] == np.mean([21.0, 22.0, 23.0, 24.0])
    fewer = tuple(row for row in rows if (row.clip, row.method, row.observer) != ("c0", ARMS[0], "Q"))
    (found,) = report.analyse(replace(tables, measurements=fewer)).document["strata"]
    assert found["n"] == 4  # P's complete set stands for c0
    assert found["descriptives"]["compressed_sensing"]["mean"] == np.mean([20.0, 22.0, 23.0, 24.0])


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (1.0, "1.000"),
        (0.04999, "0.050"),
        (0.001, "0.001"),
        (9e-4, "< 0.001"),
    ],
)
def test_p_values_as_printed(p: float | None, text: str) -> None:
    """Three decimals; below that the bound."""
    assert wording.p_text(p) == text


def test_numbers_as_printed() -> None:
    """True minus, no negative zero, infinity and missing in words of one sign; lists in words."""
    assert wording.number_text(-0.004, 2, signed=True) == "0.00"
    assert wording.number_text(-1.256, 2) == "−1.26"
    assert wording.number_text(0.5, 1, signed=True) == "+0.5"
    signs = [wording.number_text(v, 1) for v in (float("inf"), -float("inf"), float("nan"), None)]
    assert signs == ["∞", "−∞", "–", "–"]
    assert [wording.listed(list(words)) for words in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert method_label("dl_natural") == "DL, natural videos"
