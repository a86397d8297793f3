"""The analysis of long tables: complete case, subjects, repeats, positions, guesses; and its two files."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from studies import statistics as s
from studies.errors import StudyError
from studies.statistics import permutation
from studies.statistics.document import CSV_COLUMNS, csv_rows, document, write_statistics
from studies.statistics.long_table import read_table
from studies.statistics.strata import StratumResult, analyse_table

METHODS = ("a", "b", "c")
Line = dict[str, Any]


def lines(readers: int = 2, clips: int = 8, seed: int = 1, **more: Any) -> list[Line]:
    """Random rankings by R1, R2…, one movie a line, with further cells."""
    rng = np.random.default_rng(seed)
    found = []
    for reader, clip in product(range(readers), range(clips)):
        ranks = np.array([1, 2, 3])[rng.integers(0, 3, 3)]
        for method, rank in zip(METHODS, ranks, strict=True):
            found.append(
                {"clip": f"c{clip}", "reader": f"R{reader + 1}", "method": method, "rank": rank} | more
            )
    return found


def analyse(folder: Path, rows: Iterable[Line], **options: Any) -> list[StratumResult]:
    """Write lines as a table and analyse it."""
    rows = list(rows)
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return analyse_table(read_table(path), **options)


def cube(rows: Iterable[Line], readers: int = 2, clips: int = 8, column: str = "rank") -> np.ndarray:
    """The lines as (reader, clip, method)."""
    found = np.full((readers, clips, 3), np.nan)
    for row in rows:
        found[int(row["reader"][1:]) - 1, int(row["clip"][1:]), METHODS.index(row["method"])] = row[column]
    return found


def test_complete_table(tmp_path: Path) -> None:
    """The same numbers as the functions give on the array."""
    rows = lines()
    found = analyse(tmp_path, rows)[0]
    expected = s.analyse_ranks(cube(rows), METHODS)
    assert found.result == expected and found.readers == ("R1", "R2") and found.notes == ()
    competition = s.analyse_ranks(cube(rows), METHODS, coding="competition")
    assert found.competition_mean == pytest.approx(competition.mean)
    assert found.pairs_of_readers == (s.reader_agreement(*cube(rows), ("R1", "R2")),)
    assert found.all_readers == s.readers_agreement(cube(rows))
    assert found.camps == tuple(s.reader_camps(cube(rows), METHODS, ["R1", "R2"]))
    assert found.skillings_mack is None and found.position is None and found.repeats == found.blinding == ()
    assert found.gaps.readings_missing == found.gaps.readings_incomplete == 0


def test_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    """Shuffled lines: the same results by name (methods come in a fixed order then)."""
    rows = lines()
    shuffled = [rows[place] for place in np.random.default_rng(2).permutation(len(rows))]
    assert analyse(tmp_path, shuffled) == analyse(tmp_path, rows)


def test_missing_readings_are_left_out_and_said(tmp_path: Path) -> None:
    """One line missing, one cell empty, one reading missing: three clips out, Skillings-Mack uses them."""
    rows = lines()
    gone = [row for row in rows if (row["reader"], row["clip"]) != ("R1", "c5")]
    gone.remove(next(row for row in gone if (row["reader"], row["clip"], row["method"]) == ("R2", "c0", "a")))
    empty = next(row for row in gone if (row["reader"], row["clip"], row["method"]) == ("R1", "c3", "b"))
    rank, empty["rank"] = empty["rank"], ""
    found = analyse(tmp_path, gone)[0]
    empty["rank"] = rank
    assert (found.gaps.readings_expected, found.gaps.readings_missing, found.gaps.readings_incomplete) == (
        16,
        1,
        2,
    )
    assert found.gaps.clips_left_out == ("c0", "c3", "c5")
    assert "1 of 16 readings are missing and 2 incomplete: 3 of 8 clips" in found.notes[0]
    kept = [row for row in rows if row["clip"] not in ("c0", "c3", "c5")]
    table = cube(kept)[:, [1, 2, 4, 6, 7]]
    assert found.result == s.analyse_ranks(table, METHODS)
    holes = cube(gone)
    holes[0, 3, 1] = np.nan
    assert found.skillings_mack is not None
    assert found.skillings_mack.statistic == pytest.approx(s.skillings_mack(holes).statistic)
    assert found.pairs_of_readers[0].clips == 5


def test_clips_that_nobody_shares_cannot_be_pooled(tmp_path: Path) -> None:
    """Readers of different clips: refused with an explanation, not taken as 8 blocks."""
    rows = [row for row in lines() if (row["reader"] == "R1") == (int(row["clip"][1:]) < 4)]
    with pytest.raises(
        StudyError, match=r"every method by every reader: R1, R2.*analyse each reader's table alone"
    ):
        analyse(tmp_path, rows)


def test_subjects_are_the_unit(tmp_path: Path) -> None:
    """Two views of each of four subjects."""
    rows = [row | {"subject": f"P{int(row['clip'][1:]) // 2}"} for row in lines()]
    found = analyse(tmp_path, rows)[0]
    assert found.result is not None
    assert (found.result.blocks, found.result.clips) == (4, 8)
    subjects = [clip // 2 for clip in range(8)]
    assert found.result.pairs == s.analyse_ranks(cube(rows), METHODS, blocks=subjects).pairs
    assert any("the subject is the unit" in note for note in found.result.notes)


@pytest.mark.parametrize("named", [False, True])
def test_strata_and_all_of_them(tmp_path: Path, named: bool) -> None:
    """Two strata alone, then together: clips of one name, or of one subject, are one block."""
    rows = lines(plane="sax") + lines(seed=3, plane="speech")
    if named:
        rows = [
            row | {"subject": f"P{row['clip']}" if row["plane"] == "sax" else f"Q{row['clip']}"}
            for row in rows
        ]
    first, second, together = analyse(tmp_path, rows)
    assert (first.stratum, first.plane, second.stratum, together.stratum) == (
        "sax",
        "sax",
        "speech",
        "all strata",
    )
    assert together.secondary and not second.secondary
    both = np.concatenate([cube(rows[:48]), cube(rows[48:])], axis=1)
    blocks = list(range(16)) if named else [*range(8), *range(8)]
    assert together.result is not None and together.result.blocks == len(set(blocks))
    expected = s.analyse_ranks(both, METHODS, blocks=blocks)
    assert together.result.omnibus.p_exact == pytest.approx(expected.omnibus.p_exact)


def test_strata_read_by_other_readers(tmp_path: Path) -> None:
    """Together they have no complete clip; this is said, and the strata stand."""
    rows = lines(1, plane="sax") + [row | {"reader": "R2"} for row in lines(1, seed=3, plane="speech")]
    first, second, together = analyse(tmp_path, rows)
    assert first.result is not None and second.result is not None and together.result is None
    assert "c0 (sax)" in together.gaps.clips_left_out and together.camps == ()
    found = document(read_table(tmp_path / "table.csv"), [first, second, together])
    assert found["all_strata"][0]["n"] == 0 and found["all_strata"][0]["friedman"]["p_exact"] is None


def test_endpoint_in_one_stratum_only(tmp_path: Path) -> None:
    """Nothing to put together then."""
    rows = [row | {"plane": "sax", "endpoint": "overall"} for row in lines(1)]
    rows += [row | {"plane": "speech", "endpoint": "detail"} for row in lines(1)]
    assert [(f.stratum, f.endpoint) for f in analyse(tmp_path, rows)] == [
        ("sax", "overall"),
        ("speech", "detail"),
    ]
    with pytest.raises(
        StudyError, match=r"stratum 'speech', endpoint 'detail': a comparison needs 2 methods"
    ):
        analyse(tmp_path, [row for row in rows if row["plane"] == "sax" or row["method"] == "a"])


def value_lines(observers: int = 2) -> list[Line]:
    """Measured values of eight clips; the second observer's differ a little."""
    rng = np.random.default_rng(5)
    return [
        {
            "clip": f"c{c}",
            "reader": f"R{o + 1}",
            "method": m,
            "endpoint": "snr",
            "value": 20 + c + k + rng.normal(),
        }
        for o in range(observers)
        for c in range(8)
        for k, m in enumerate(METHODS)
    ]


def test_values_of_several_observers(tmp_path: Path) -> None:
    """Averaged per clip; one observer's incomplete clip leaves the other's."""
    rows = value_lines()
    found = analyse(tmp_path, rows)[0]
    table = cube(rows, column="value")
    assert found.result is not None and found.higher_is_better and not found.ranked
    expected = s.analyse_values(table.mean(axis=0), METHODS, higher_is_better=True)
    assert found.result.mean == pytest.approx(expected.mean)
    assert [(p.wins, p.p_adjusted) for p in found.result.pairs] == [
        (p.wins, p.p_adjusted) for p in expected.pairs
    ]
    assert found.all_readers == s.readers_agreement(scipy_stats.rankdata(-table, axis=-1))
    partly = analyse(
        tmp_path, [row for row in rows if (row["reader"], row["clip"], row["method"]) != ("R1", "c2", "b")]
    )[0]
    table[0, 2] = table[1, 2]
    assert partly.result is not None and partly.result.mean == pytest.approx(table.mean(axis=(0, 1)))
    assert partly.gaps.clips_left_out == () and partly.gaps.readings_incomplete == 1
    nobody = analyse(tmp_path, [row for row in rows if (row["clip"], row["method"]) != ("c2", "b")])[0]
    assert nobody.gaps.clips_left_out == ("c2",) and "nobody measured completely" in nobody.notes[0]
    assert nobody.skillings_mack is not None and nobody.skillings_mack.blocks == 8


def test_observers_who_measure_opposite_infinities(tmp_path: Path) -> None:
    """Their mean is no number: the clip is left out, not an error."""
    rows = value_lines()
    for row in rows:
        if (row["clip"], row["method"]) == ("c4", "a"):
            row["value"] = math.inf if row["reader"] == "R1" else -math.inf
    found = analyse(tmp_path, rows)[0]
    assert found.gaps.clips_left_out == ("c4",) and found.result is not None and found.result.clips == 7
    assert "1 of 8 clips" in found.notes[0]


def test_direction_of_values(tmp_path: Path) -> None:
    """Larger is better but for endpoints known or said to be otherwise; only wins and losses turn."""
    rows = value_lines(1)
    up = analyse(tmp_path, rows)[0].result
    down = analyse(tmp_path, rows, lower_is_better=["snr"])[0].result
    assert up is not None and down is not None
    assert [(p.wins, p.losses) for p in up.pairs] == [(p.losses, p.wins) for p in down.pairs]
    assert [p.p_adjusted for p in up.pairs] == [p.p_adjusted for p in down.pairs]
    capitals = analyse(tmp_path, [row | {"endpoint": "SNR"} for row in rows], lower_is_better=["SNR"])[0]
    assert capitals.result == down and not capitals.higher_is_better
    width = [row | {"endpoint": "edge_width"} for row in rows]
    assert not analyse(tmp_path, width)[0].higher_is_better
    assert analyse(tmp_path, width, higher_is_better=["edge_width"])[0].higher_is_better
    with pytest.raises(StudyError, match="no endpoint 'es' in table.csv, only snr"):
        analyse(tmp_path, rows, lower_is_better=["es"])


def test_hidden_repeats(tmp_path: Path) -> None:
    """They leave the primary analysis alone and give intra-reader agreement."""
    rows = [row | {"repeat": 0} for row in lines()]
    again = [row | {"repeat": 1} for row in rows if row["reader"] == "R1" and row["clip"] < "c3"]
    again += [row | {"repeat": 2, "rank": 1} for row in again]
    found = analyse(tmp_path, rows + again)[0]
    assert found.result == analyse(tmp_path, rows)[0].result
    assert [(repeat.first, repeat.second, repeat.clips) for repeat in found.repeats] == [("R1", "R1", 3)]
    assert found.repeats[0].identical_orders == 1


def test_position_effect(tmp_path: Path) -> None:
    """A reader who prefers the left panel is found out; positions that do not fit are said."""
    rows = [
        row | {"position": "BCA"[(METHODS.index(row["method"]) + int(row["clip"][1:])) % 3]}
        for row in lines(1)
    ]
    for row in rows:
        row["rank"] = 1 if row["position"] == "A" else 2
    found = analyse(tmp_path, rows)[0].position
    assert found is not None and found.places == ("A", "B", "C") and found.mean_rank == (1, 2.5, 2.5)
    assert found.test.p_exact == pytest.approx(3 / 3**8)
    rows[0]["position"] = "D"
    wrong = analyse(tmp_path, rows)[0]
    assert wrong.position is None and "no position effect" in wrong.notes[0]


def test_guesses(tmp_path: Path) -> None:
    """By reader and of all readers together, clips drawn whole."""
    rows = [row | {"guess": row["method"] if row["reader"] == "R1" else "unknown"} for row in lines()]
    names = dict(analyse(tmp_path, rows)[0].blinding)
    assert list(names) == ["R1", "R2", "all readers"]
    assert names["R1"].james == 0 and names["R2"].james == 1 and names["all readers"].guesses == 48
    assert [arm.index for arm in names["all readers"].bang] == [0.5, 0.5, 0.5]


def test_document_and_files(tmp_path: Path) -> None:
    """The JSON has the promised keys, no NaN, and every number of it is a line of the CSV."""
    rows = [
        row | {"plane": "=sax", "guess": "", "position": "ABC"[METHODS.index(row["method"])]}
        for row in lines()
    ]
    results = analyse(tmp_path, rows)
    found = document(read_table(tmp_path / "table.csv"), results)
    written = write_statistics(found, tmp_path / "out" / "deep")
    loaded = json.loads(written.json.read_text())
    assert loaded == found
    stratum = loaded["strata"][0]
    assert {"stratum", "endpoint", "n", "methods", "friedman", "pairs", "agreement"} <= set(stratum)
    assert {"chi2", "p_chi2", "p_exact"} <= set(stratum["friedman"]) and stratum["n"] == 8
    assert list(stratum["pairs"]) == ["a|b", "a|c", "b|c"]
    keys = {"nemenyi_p", "exact_p", "sign_p", "closed_p", "wins", "ties", "losses"}
    assert all(keys <= set(pair) for pair in stratum["pairs"].values())
    result = results[0].result
    assert result is not None and stratum["pairs"]["a|c"]["exact_p"] == result.pairs[1].p_single_step_exact
    assert stratum["pairs"]["a|c"]["closed_p_is_exact"] is True
    assert set(stratum["agreement"]["readers"]) == {"R1|R2"} and set(stratum["agreement"]["camps"]) == {
        "R1",
        "R2",
    }
    assert sum(stratum["agreement"]["kendall_w_clips"].values()) <= 8
    with written.csv.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == CSV_COLUMNS and table[0]["stratum"] == "'=sax"
    cells = {(row["part"], row["item"], row["quantity"]): row["value"] for row in table}
    assert len(cells) == len(table) == len(csv_rows(found))
    assert float(cells["pairs", "a|c", "exact_p"]) == pytest.approx(
        stratum["pairs"]["a|c"]["exact_p"], rel=1e-9
    )
    low = stratum["pairs"]["a|b"]["net_preference_ci95"][0]
    assert float(cells["pairs", "a|b", "net_preference_ci95_low"]) == pytest.approx(low)
    assert (
        cells["friedman", "", "p_monte_carlo"] == "" and cells["pairs", "a|b", "closed_p_is_exact"] == "yes"
    )
    assert cells["kind", "", "kind"] == "ranks" and cells["methods", "", "2"] == "b"


def test_document_of_values_and_sampled_p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shifts and Shapiro stand by the pairs; what is no longer exact is null and named Monte Carlo."""
    monkeypatch.setattr(permutation, "MAXIMUM_CELLS", 10)
    results = analyse(tmp_path, value_lines(1))
    stratum = document(read_table(tmp_path / "table.csv"), results)["strata"][0]
    assert stratum["friedman"]["p_exact"] is None and 0 < stratum["friedman"]["p_monte_carlo"] <= 1
    pair = stratum["pairs"]["a|b"]
    assert pair["exact_p"] is None and 0 < pair["exact_p_monte_carlo"] <= 1 and not pair["closed_p_is_exact"]
    assert pair["closed_p"] >= pair["sign_p"] and len(pair["hodges_lehmann_ci95"]) == 2
    assert 0 < pair["shapiro_p"] <= 1 and stratum["better"] == "larger"
    assert any("random arrangements" in note for note in stratum["notes"])


def test_undefined_numbers_are_null(tmp_path: Path) -> None:
    """One clip: no SD, no interval, no F; infinite values: no mean."""
    one = document(read_table(_single(tmp_path)), analyse_table(read_table(_single(tmp_path))))["strata"][0]
    assert one["descriptives"]["a"]["sd"] is None and one["descriptives"]["a"]["mean_ci95"] is None
    assert one["friedman"]["p_iman_davenport"] is None and one["friedman"]["p_exact"] == 1
    rows = value_lines(1)
    rows[0]["value"] = math.inf
    endless = document(read_table(_single(tmp_path)), analyse(tmp_path, rows))["strata"][0]
    assert endless["descriptives"]["a"]["mean"] is None and endless["pairs"]["a|b"]["shapiro_p"] is None


def _single(folder: Path) -> Path:
    path = folder / "single.csv"
    path.write_text("clip,method,rank\nc1,a,1\nc1,b,2\nc1,c,3\n")
    return path


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file stands in its place."""
    (tmp_path / "out").write_text("")
    found = document(read_table(_single(tmp_path)), analyse_table(read_table(_single(tmp_path))))
    with pytest.raises(StudyError, match="cannot be written"):
        write_statistics(found, tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_tables_end_in_a_sentence_or_in_results(data: st.DataObject) -> None:
    """Lines lost, doubled, cut, cells replaced: a `StudyError` that names the file, or a sound document."""
    rows = [",".join(lines(1)[0])] + [",".join(map(str, row.values())) for row in lines(2, clips=3)]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(rows) - 1))
        damage = data.draw(st.sampled_from(["lose", "double", "cut", "cell", "semicolon", "header"]))
        if damage == "lose" and len(rows) > 1:
            del rows[place]
        elif damage == "double":
            rows.insert(place, rows[place])
        elif damage == "cut":
            rows[place] = rows[place][: data.draw(st.integers(0, 12))]
        elif damage == "cell":
            cells = rows[place].split(",")
            text = st.sampled_from(["", "NA", "inf", "0", "2.5", '"', '"1,5"', "=1", "é", "\x00", "R2", "c1"])
            cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(text)
            rows[place] = ",".join(cells)
        elif damage == "semicolon":
            rows[place] = rows[place].replace(",", ";")
        else:
            rows[0] = rows[0].replace("rank", data.draw(st.sampled_from(["value", "Rank_Mid", "x"])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.csv"
        path.write_text("\n".join(rows), encoding="utf-8")
        try:
            table = read_table(path)
            found = document(table, analyse_table(table))
        except StudyError as error:
            assert str(error).startswith("damaged.csv")
            return
    json.dumps(found, allow_nan=False)
    for stratum in found["strata"]:
        tested = [stratum["friedman"]["p_exact"], *(pair["closed_p"] for pair in stratum["pairs"].values())]
        assert all(p is None or 0 < p <= 1 for p in tested)
