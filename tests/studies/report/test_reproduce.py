"""reproduce.py, which shares no code with the program, finds every number of a report again."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies import report
from studies.report import reproduce
from studies.report.tables import CANNOT_JUDGE, StudyTables

TablesMaker = Callable[..., StudyTables]
SIX = ("a", "b", "c", "d", "e", "f")
STRATA = (("SAX", "cartesian"), ("speech", "spiral"))


def compare(folder: Path) -> tuple[int, list[str]]:
    """What the exported script finds; it is the program's own file, byte for byte."""
    assert (folder / "reproduce.py").read_bytes() == Path(reproduce.__file__).read_bytes()
    return reproduce.compare(folder)


@pytest.fixture(autouse=True)
def no_workbook(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workbook is tested elsewhere and takes longer than all the rest."""
    from studies.report import spreadsheet

    monkeypatch.setattr(spreadsheet, "workbook", lambda analysis, found: b"")


CASES: dict[str, dict[str, Any]] = {
    "several readers, gaps, repeats, guesses, two observers": {
        "readers": ("Anna", "Ben", "Cleo"),
        "clips": 7,
        "strata": STRATA,
        "missing": True,
        "repeats": 3,
        "guesses": 6,
        "observers": ("Paul", "Quinn"),
    },
    "subjects with several clips": {"clips": 9, "subjects": 7, "by": ("sampling",)},
    "no strata": {"clips": 3, "strata": STRATA, "by": ()},
    "one reader, one clip": {"readers": ("Anna",), "clips": 1},
    "all tied": {"tied": True, "observers": ()},
    "all tied, with gaps": {"tied": True, "missing": True, "clips": 4, "observers": ()},
    "few readings with a gap: exact Skillings–Mack": {"missing": True, "clips": 2, "observers": ()},
    "a clip that nobody read": {"readers": ("Anna",), "missing": True, "clips": 6, "observers": ()},
    "two methods, a name like a formula": {
        "arms": ("old", "new"),
        "readers": ("=Anna", "Ben"),
        "clips": 7,
        "guesses": 2,
    },
    "six methods": {"arms": SIX, "readers": ("Anna",), "clips": 3, "guesses": 1},
    "five methods, too many for an exact p": {"arms": SIX[:5], "clips": 6, "observers": ()},
    "measurements only": {"readers": (), "clips": 6},
    "nothing": {"readers": (), "observers": (), "clips": 0},
    "a reader who read nothing": {"readers": ("Anna", "Ben"), "clips": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_every_number_is_found_again(case: str, make_tables: TablesMaker, tmp_path: Path) -> None:
    """No number differs by more than rounding, none is missing on either side."""
    tables = make_tables(seed=len(case), **CASES[case])
    if case.startswith("a reader"):
        rows = tuple(row for row in tables.rankings if row.reader == "Anna")
        tables = StudyTables(tables.name, tables.arms, rows, (), readers=("Anna", "Ben"))
    report.export_tables(tables, tmp_path)
    count, faults = compare(tmp_path)
    assert faults == []
    document = json.loads((tmp_path / "statistics.json").read_text(encoding="utf-8"))
    if "exact p" in case:
        assert document["strata"][0]["friedman"]["p_exact"] is None
        assert document["strata"][0]["friedman"]["p_monte_carlo"] > 0
    if case == "nothing":
        assert document["strata"] == [] and count == 0
    else:
        assert count > 50


def test_the_script_alone_says_so_and_needs_nothing_of_the_program(
    make_tables: TablesMaker, tmp_path: Path
) -> None:
    """Run by a bare interpreter from another folder; it imports the standard library, NumPy and SciPy."""
    exported = report.export_tables(make_tables(missing=True, clips=4), tmp_path / "out")
    script = exported.folder / "reproduce.py"
    tree = ast.parse(script.read_text(encoding="utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names - set(sys.stdlib_module_names) == {"numpy", "scipy"}
    done = subprocess.run(
        [sys.executable, "-I", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    agreed, _, rest = done.stdout.partition(" of ")
    assert int(agreed) == int(rest.split()[0]) > 300 and "0 differences" in done.stdout


def change(path: Path, row: int, column: str, value: str) -> None:
    """Change one cell of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[row][column] = value
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_changed_number_a_changed_rank_and_a_missing_number_are_found(
    make_tables: TablesMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One digit in the eleventh place of a p value, one rank in the table, one number taken away."""
    folder = report.export_tables(make_tables(clips=4), tmp_path).folder
    assert compare(folder)[1] == []
    path = folder / "statistics.json"
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    pair = document["strata"][0]["pairs"]["compressed_sensing|dl_natural"]
    pair["nemenyi_p"] *= 1 + 1e-11
    path.write_text(json.dumps(document), encoding="utf-8")
    (fault,) = compare(folder)[1]
    assert "nemenyi_p" in fault and "compressed_sensing|dl_natural" in fault
    del pair["nemenyi_p"]
    path.write_text(json.dumps(document), encoding="utf-8")
    assert [fault.rpartition(": ")[2] for fault in compare(folder)[1]] == ["not in statistics.json"]
    path.write_text(text, encoding="utf-8")
    assert reproduce.main([str(folder)]) == 0
    change(folder / "ranking.csv", 0, "rank_mid", "2.75")
    capsys.readouterr()
    assert reproduce.main([str(folder)]) == 1
    *told, last = capsys.readouterr().out.splitlines()
    assert len(told) == len(compare(folder)[1]) > 10 and all(line.startswith("DIFFERS  ") for line in told)
    agreed, count = (int(word) for word in last.split()[:3:2])
    assert agreed < count and last.endswith(f"{len(told)} differences.")


def test_snr_is_written_in_full(make_tables: TablesMaker, tmp_path: Path) -> None:
    """A mean that has no short decimal form comes back bit by bit."""
    tables = make_tables(clips=2)
    report.export_tables(tables, tmp_path)
    with (tmp_path / "measurements.csv").open(encoding="utf-8", newline="") as stream:
        read = [float(row["snr_db_mean"]) for row in csv.DictReader(stream)]
    assert read == [row.snr_db_mean for row in tables.measurements]


def test_missing_readings_stay_in_the_files(make_tables: TablesMaker, tmp_path: Path) -> None:
    """A reading that could not be judged has its lines, without ranks and with its reason."""
    report.export_tables(make_tables(missing=True), tmp_path)
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["missing"] == CANNOT_JUDGE]
    assert len(rows) == 3
    assert {row["rank_mid"] for row in rows} == {""} and {row["comment"] for row in rows} == {"motion"}


def test_helpers_of_the_script_against_closed_forms() -> None:
    """Three unanimous clips of three methods: exact p = 6 / 6³; five partitions of three things."""
    test = reproduce.friedman(np.array([[1.0, 2.0, 3.0]] * 3))
    assert test["p_exact"] == pytest.approx(6 / 6**3) and test["kendall_w"] == pytest.approx(1)
    assert [len(reproduce.set_partitions(list(range(size)))) for size in (1, 2, 3, 4, 5)] == [1, 2, 5, 15, 52]
    assert reproduce.sign_test(5, 0) == pytest.approx(2 * 0.5**5)
