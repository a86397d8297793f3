"""`blindcine statistics` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from studies.statistics import permutation

DATA = Path(__file__).resolve().parents[1] / "data" / "statistics"


def test_ranks_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stratum with its tests; the files hold what is printed."""
    assert main(["statistics", str(DATA / "ranks.csv"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "untied · rank (smaller is better) · n = 10 clips\n" in said.out
    assert "readers · rank (smaller is better) · n = 10 clips, 2 readers" in said.out
    assert "all strata · rank" in said.out and "secondary analysis" in said.out
    assert "Agreement of R1 and R2" in said.out and "Krippendorff's alpha" in said.out
    found = json.loads((tmp_path / "out" / "statistics.json").read_text())
    strata = {stratum["stratum"]: stratum for stratum in found["strata"]}
    assert list(strata) == ["untied", "tied", "small", "four", "readers"]
    friedman = strata["untied"]["friedman"]
    assert f"chi² = {friedman['chi2']:.4g}, p = {friedman['p_exact']:.3f} (exact)" in said.out
    assert friedman["chi2"] == pytest.approx(4.2)  # as R's friedman.test prints
    assert (tmp_path / "out" / "statistics.csv").read_text().startswith("stratum,endpoint,n,part,item")


def test_values_show_shifts(capsys: pytest.CaptureFixture[str]) -> None:
    """Hodges-Lehmann and Shapiro-Wilk; nothing is written unasked."""
    assert main(["statistics", str(DATA / "values.csv"), "--lower-is-better", "snr"]) == 0
    said = capsys.readouterr()
    assert "shift (Hodges-Lehmann)" in said.out and "snr (smaller is better)" in said.out
    assert "Written" not in said.out and "taken as of one reader" in said.err


def test_everything_a_table_can_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Subjects, a missing reading, repeats, positions, guesses, an unknown column."""
    rows = ["clip;subject;reader;method;rank;repeat;position;guess;room"]
    for clip in range(8):
        for repeat in range(2 if clip < 3 else 1):
            for place, method in enumerate("abc"):
                rank = "" if (clip, method) == (7, "c") else place + 1
                position = "ABC"[(place + clip) % 3]
                rows.append(f"c{clip};P{clip // 2};Anna;{method};{rank};{repeat};{position};{method};dark")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows))
    assert main(["statistics", str(path)]) == 0
    said = capsys.readouterr()
    assert "n = 4 subjects (7 clips)" in said.out and "p < 0.0001" not in said.out
    assert "Skillings-Mack with the incomplete clips (n = 4)" in said.out
    assert "Repeated readings of Anna: same order in 100 % of 3 clips" in said.out
    assert "Mean rank by place on the screen: A" in said.out and "Blinding, Anna: James 0" in said.out
    assert "Note: 0 of 8 readings are missing and 1 incomplete" in said.out
    assert "Columns not used: room" in said.err and "separated by semicolons" in said.err


def test_sampled_p_are_marked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A star at every estimate, and what it means."""
    monkeypatch.setattr(permutation, "MAXIMUM_CELLS", 10)
    assert main(["statistics", str(DATA / "values.csv")]) == 0
    said = capsys.readouterr().out
    assert "(Monte Carlo)" in said and " *" in said and "* estimated from random arrangements" in said


def test_strata_without_a_complete_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other stratum is analysed; this one says why not."""
    path = tmp_path / "table.csv"
    path.write_text(
        "plane,clip,reader,method,rank\nsax,c1,A,x,1\nsax,c1,A,y,2\nax,c2,A,x,1\nax,c2,A,y,1\nax,c3,B,x,1\nax,c3,B,y,2\n"
    )
    assert main(["statistics", str(path)]) == 0
    said = capsys.readouterr().out
    assert "ax · rank (smaller is better) · n = 0 clips, 2 readers\n" in said
    assert "2 of 4 readings are missing" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip,method\n", "column 'rank' or 'value' is missing"),
        ("clip,method,rank\nc1,a,1\nc1,b,x\n", "line 3, column 'rank': 'x' is not a number"),
    ],
)
def test_mistakes_end_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """Exit code 2, nothing on standard output, no stack trace."""
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert main(["statistics", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and "Traceback" not in captured.err
    assert main(["statistics", str(tmp_path / "absent.csv")]) == 2
    assert "absent.csv: No such file" in capsys.readouterr().err
