"""What a report says in words, and the marks of Tables 3 and 4: exact where exact, as published beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from studies.report import analyse
from studies.report.findings import findings, paper_tables, smallest_p
from studies.report.tables import CANNOT_JUDGE, Conduct, StudyTables

TablesMaker = Callable[..., StudyTables]


def test_marks_are_exact_and_the_published_ones_stand_beside(make_tables: TablesMaker) -> None:
    """Ten clips agree on one order: every pair differs by closed testing, neighbours not by Nemenyi."""
    analysis = analyse(make_tables(readers=("Anna",), clips=10, unanimous=True, observers=()))
    (exact,) = paper_tables(analysis)
    assert [(row.method, row.cells[-1].marks) for row in exact.rows] == [
        ("Compressed sensing", ""), ("DL, natural videos", "*"), ("DL, cardiac data", "*†"),
    ]  # fmt: skip
    assert [row.cells[-1].text for row in exact.rows] == ["3.00 ± 0.00", "2.00 ± 0.00", "1.00 ± 0.00"]
    assert exact.number == 3 and "* differs from Compressed sensing" in exact.legend
    (published,) = paper_tables(analysis, "published")
    assert [row.cells[-1].marks for row in published.rows] == ["", "", "*"]
    assert "Nemenyi" in published.legend and "exact sign tests" in exact.legend
    assert [cell.text for cell in exact.rows[0].cells[:3]] == ["–", "–", "–"]  # nothing was measured


def test_planes_of_speech_go_into_table_4(make_tables: TablesMaker) -> None:
    """Heart planes, then speech; samplings in the order Cartesian, radial, spiral."""
    strata = [(plane, kind) for plane in ("speech", "SAX") for kind in ("spiral", "radial", "cartesian")]
    heart, speech = paper_tables(analyse(make_tables(strata=strata, clips=2)))
    assert (heart.number, speech.number) == (3, 4)
    assert [row.stratum for row in heart.rows[::3]] == ["SAX, cartesian", "SAX, radial", "SAX, spiral"]
    assert [row.stratum for row in speech.rows[::3]] == [
        "Speech, cartesian", "Speech, radial", "Speech, spiral",
    ]  # fmt: skip


def test_a_shown_difference_names_winner_loser_and_counts(make_tables: TablesMaker) -> None:
    """Six unanimous clips: closed p = 2 · 0.5⁶ = 0.031 for every pair."""
    found = findings(analyse(make_tables(clips=6, unanimous=True)))
    assert found.headline == (
        "DL, natural videos was ranked better than Compressed sensing in SAX radial.",
        "DL, cardiac data was ranked better than Compressed sensing in SAX radial.",
        "DL, cardiac data was ranked better than DL, natural videos in SAX radial.",
    )
    (stratum,) = found.strata
    assert stratum.size == "6 clips, 2 readers" and stratum.limit == ""
    assert stratum.omnibus == "The methods differ (exact Friedman p < 0.001)."
    assert stratum.pairs[0] == (
        "DL, natural videos was ranked better than Compressed sensing in 6 of 6 clips, worse in 0 "
        "(closed test p = 0.031)."
    )


def test_no_difference_is_never_called_equal(make_tables: TablesMaker) -> None:
    """All tied: nothing is shown, and the words say what that does not mean."""
    found = findings(analyse(make_tables(tied=True, clips=8)))
    assert all("no difference was shown in any of 1 stratum" in text for text in found.headline)
    assert found.strata[0].omnibus == "No preference was expressed: everything is tied."
    assert "is not “equal”" in found.shows_not[0]


def test_a_stratum_too_small_says_so(make_tables: TablesMaker) -> None:
    """Five clips cannot reach 0.05 (2 · 0.5⁵ = 0.0625), six can; two methods and many alike."""
    small = findings(analyse(make_tables(clips=5, unanimous=True))).strata[0]
    assert "With N = 5 no pair can reach p ≤ 0.05" in small.limit and "p = 0.062" in small.limit
    assert findings(analyse(make_tables(clips=6))).strata[0].limit == ""
    assert smallest_p(1, 2) == 1 and smallest_p(6, 2) == smallest_p(6, 3) == pytest.approx(2 * 0.5**6)
    assert smallest_p(2, 3) == pytest.approx(0.5)


def test_what_was_not_done_is_said(make_tables: TablesMaker) -> None:
    """Missing readings, force, readers who read nothing, several strata, broken blinding, no guesses."""
    tables = make_tables(missing=True, clips=7, strata=(("SAX", "radial"), ("4CH", "radial")))
    tables = replace(tables, conduct=Conduct(forced=True), readers=(*tables.readers, "Dora"))
    said = " ".join(findings(analyse(tables)).shows_not)
    assert "4 readings missing (2 could not be judged, 2 not read)" in said
    assert "Dora ranked nothing and is left out" in said and "before all readings were done" in said
    assert "no correction over the 2 strata" in said and "up to 10 % of cases" in said  # 2 · 0.05
    assert "not asked to guess" in said
    told = make_tables(clips=7, guesses=7)
    told = replace(told, guesses=tuple(replace(row, guess=row.method) for row in told.guesses))
    found = findings(analyse(told))
    assert any("the blinding did not hold completely" in text for text in found.shows_not)
    assert any("Compressed sensing 1.00; DL, natural videos 1.00" in text for text in found.shows)


def test_the_protocol_names_the_primary_endpoint(make_tables: TablesMaker) -> None:
    """A study whose first endpoint is SNR speaks of SNR, and larger is better."""
    tables = make_tables(clips=7, readers=("Anna",))
    tables = replace(
        tables,
        endpoints=("snr_db", "rank"),
        measurements=tuple(
            replace(row, snr_db_mean=30.0 if row.method == "dl_cardiac" else 20.0)
            for row in tables.measurements
        ),
    )
    found = findings(analyse(tables))
    assert found.headline[1] == "DL, cardiac data was better than Compressed sensing in SAX radial."
    assert found.strata[0].size == "7 clips"
    assert any(text.startswith("Primary endpoint: snr") for text in found.shows)


def test_clips_of_a_subject_are_one_unit(make_tables: TablesMaker) -> None:
    """Fourteen clips of seven subjects: the unit is the subject, and the words say so."""
    found = findings(analyse(make_tables(clips=14, subjects=7, unanimous=True))).strata[0]
    assert found.size == "14 clips of 7 subjects, 2 readers"
    assert "in 7 of 7 subjects" in found.pairs[0] and "p = 0.016" in found.pairs[0]


def test_a_stratum_that_nobody_could_judge_is_named_without_a_test(make_tables: TablesMaker) -> None:
    """Its line of Table 3 has dashes for numbers; the other stratum is tested as if alone."""
    tables = make_tables(strata=(("SAX", "radial"), ("4CH", "spiral")), clips=6, unanimous=True, observers=())
    rows = tuple(
        replace(row, rank_competition=None, rank_mid=None, rank_dense=None, missing=CANNOT_JUDGE)
        if row.plane == "4CH"
        else row
        for row in tables.rankings
    )
    analysis = analyse(replace(tables, rankings=rows))
    empty, tested = sorted(findings(analysis).strata, key=lambda item: item.title)
    assert (empty.size, empty.omnibus, empty.pairs) == ("No complete clip", "Nothing can be tested here.", ())
    assert tested.size == "6 clips, 2 readers" and len(tested.pairs) == 3
    lines = [row for table in paper_tables(analysis) for row in table.rows if "4CH" in row.stratum]
    assert len(lines) == 3
    for row in lines:
        assert row.clips == "0" and {(cell.text, cell.marks) for cell in row.cells} == {("–", "")}
