"""`blindcine study design`, `study amend` and what they change in create, import, lock, status and verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from app.cli import main
from recon_backend import formats
from recon_backend.movie import Movie
from studies import blinding
from studies.design import Design
from studies.study import PAPER_ARMS, Study

PASSPHRASE = "open sesame"


@dataclass
class FakeAcquisition:
    """As much of an acquisition as an import needs."""

    source_sha256: str
    sampling: str


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reconstruction, a cheap passphrase."""
    monkeypatch.setenv("BLINDCINE_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(blinding, "SCRYPT_COST", 2)
    monkeypatch.setattr(
        formats, "open_acquisition", lambda path: FakeAcquisition(f"{path.stat().st_size:064x}", "radial")
    )


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    """A protocol file made by the command and completed by hand: 7 clips of 7 subjects, a practice case."""
    path = tmp_path / "protocol.yaml"
    words = ["--set", "readers=[Ann, Bob]", "--set", "name=Trial", "--no-power"]
    assert main(["study", "design", "--out", str(path), *words]) == 0
    lines = ["scans:"]
    for number in range(8):
        (tmp_path / f"raw{number}.h5").write_bytes(b"x" * (number + 1))
        end = ", practice: true}" if number == 7 else "}"
        lines.append(f"  - {{file: raw{number}.h5, subject: S{number}, plane: SAX{end}")
    text = path.read_text(encoding="utf-8")
    assert text.endswith("scans: []\n")
    path.write_text(text.replace("scans: []\n", "\n".join(lines) + "\n"), encoding="utf-8")
    return path


def attach_all(study: Path, folder: Path) -> None:
    """Give every scan its movies."""
    generator = np.random.default_rng(1)
    for scan in Study.open(study).scans:
        words = []
        for arm in PAPER_ARMS:
            path = folder / f"{scan.scan_id}_{arm}.h5"
            Movie(generator.random((4, 8, 8), dtype=np.float32), (2.0, 2.0), np.arange(4) * 0.05).save(path)
            words.append(f"{arm}={path}")
        assert main(["study", "attach", str(study), scan.scan_id, *words]) == 0


def test_from_the_template_to_the_lock_and_on(
    protocol: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    assert main(["study", "create", str(study), "--protocol", str(protocol)]) == 0
    assert main(["study", "import", str(study), "--protocol", str(protocol)]) == 0
    attach_all(study, tmp_path)
    signed = tmp_path / "signed.yaml"
    capsys.readouterr()
    assert (
        main(["study", "design", str(study), "--set", "alpha=0.01", "--out", str(signed), "--no-power"]) == 0
    )
    shown = capsys.readouterr().out
    assert (
        "Ann: 1 practice, 7 clips, 4 repeats at least" in shown and "keep it away from the readers" in shown
    )
    assert "SAX/radial      7         7" in shown and "alpha                 0.01" in shown
    assert Design.load(signed).seed not in (None, "") and str(Design.load(signed).seed) not in shown

    assert main(["study", "lock", str(study)]) == 0
    locked = capsys.readouterr().out
    digest = Design.load(signed).sha256
    assert "7 clips for Ann, Bob (12 presentations each)" in locked and digest in locked
    assert (
        main(["study", "amend", str(study), "--actor", "Cora", "--reason", "slip", "--set", "alpha=0.02"])
        == 0
    )
    assert "by Cora: alpha 0.01 → 0.02 (slip)" in capsys.readouterr().out
    assert main(["study", "status", str(study)]) == 0
    status = capsys.readouterr().out
    assert digest in status and "(slip)" in status and "complete  practice" in status
    assert "Ann          0  12" in status and not any(arm in status for arm in PAPER_ARMS)
    assert main(["study", "verify", str(study)]) == 0
    verified = capsys.readouterr().out
    assert "24 movies" in verified and "Amendment 1" in verified
    assert main(["study", "status", str(study), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["protocol_sha256"], data["locked"], data["hidden_repeats"], data["practice_cases"]) == (
        digest,
        True,
        4,
        1,
    )
    assert data["amendments"][0]["changes"] == {"alpha": [0.01, 0.02]}


def test_the_design_page_as_json(protocol: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["--clips", "6", "--steps", "1", "--ties", "0", "--json"]
    assert main(["study", "design", "--protocol", str(protocol), *words]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["protocol"] == yaml.safe_load(protocol.read_text(encoding="utf-8"))
    assert data["sha256"] is None
    assert data["strata"] == [{"name": "SAX", "clips": 7, "subjects": 7}]
    ann, bob = data["balance"]
    assert (ann["reader"], ann["readings"], ann["repeats"], ann["practice"]) == ("Ann", 7, 4, 1)
    assert sum(map(sum, bob["counts"])) == 21 and bob["largest_difference_in_a_stratum"] <= 1
    (shown,) = data["power"]
    assert (shown["clips"], shown["tie_sd"]) == (6, 0)
    assert [scenario["name"] for scenario in shown["scenarios"]][-1] == "steps of 1 SD"
    assert any("4 of 7 clips are shown twice" in note for note in data["advice"])


def test_power_is_printed_with_its_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.yaml"
    words = ["--clips", "6,25", "--steps", "1.2", "--set", "repeat_share=0", "--set", "readers=[Ann]"]
    assert main(["study", "design", "--out", str(path), *words]) == 0
    shown = capsys.readouterr().out
    assert "What N = 6 can show with 3 methods at alpha = 0.05" in shown
    assert "Warning: Nemenyi's test cannot separate neighbouring methods with N = 6" in shown
    assert "steps of 1.2 SD           71 / 16 %" in shown and " exact" in shown and "± 0.022" in shown
    assert "no practice cases" in shown and "no clip is repeated" in shown and "one reader" in shown


def test_subjects_that_must_follow_themselves_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.yaml"
    fields = {
        "format": "blindcine-protocol-1",
        "name": "N",
        "arms": ["one", "two"],
        "repeat_share": 0,
        "scans": [{"file": f"{n}.h5", "subject": "P" if n else "Q", "plane": "SAX"} for n in range(4)],
    }
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    assert main(["study", "design", "--protocol", str(path), "--no-power"]) == 0
    assert "A subject follows itself once" in capsys.readouterr().out


def study_of(tmp_path: Path, *, locked: bool) -> str:
    folder = tmp_path / "study"
    assert main(["study", "create", str(folder), "--name", "Trial"]) == 0
    if locked:
        raw = tmp_path / "raw.h5"
        raw.write_bytes(b"x")
        assert main(["study", "import", str(folder), str(raw), "--subject", "S", "--plane", "SAX"]) == 0
        attach_all(folder, tmp_path)
        assert main(["study", "lock", str(folder), "--readers", "Ann"]) == 0
    return str(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (lambda path: ["design"], "Name a study, a protocol to check with --protocol, or a new file"),
        (lambda path: ["design", "--out", str(path / "p"), "--set", "alpha"], "'alpha' is not FIELD=VALUE"),
        (lambda path: ["design", "--out", str(path / "p"), "--set", "alpha=["], "is no value for 'alpha'"),
        (lambda path: ["design", "--out", str(path / "p"), "--set", "alpha=7"], "'alpha' is 7.0; expected"),
        (lambda path: ["design", "--protocol", str(path / "none")], "cannot be read"),
        (lambda path: ["design", study_of(path, locked=True), "--set", "alpha=0.1"], "study amend"),
        (lambda path: ["design", study_of(path, locked=True)], "The study is blinded"),
        (lambda path: ["create", str(path / "s")], "Give the study's --name, or its --protocol"),
        (
            lambda path: ["create", str(path / "s"), "--protocol", "p", "--name", "N"],
            "not both; change the file",
        ),
        (lambda path: ["lock", study_of(path, locked=False)], "at least one reader"),
        (
            lambda path: ["amend", study_of(path, locked=False), "--actor", "C", "--reason", "r"],
            "not locked yet",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    words: Callable[[Path], list[str]], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(tmp_path)
    capsys.readouterr()
    assert main(["study", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_numbers_of_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["study", "design", "--out", str(tmp_path / "p"), "--clips", "ten"])
    assert stopped.value.code == 2


def test_practice_cases_from_words_and_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(tmp_path, locked=False)
    for number in range(3):
        (tmp_path / f"raw{number}.h5").write_bytes(b"x" * (number + 2))
    first = [str(tmp_path / "raw0.h5"), "--subject", "Q", "--plane", "SAX", "--practice"]
    assert main(["study", "import", study, *first]) == 0
    table = tmp_path / "scans.csv"
    table.write_text("file,subject,plane,practice\nraw1.h5,S1,SAX,no\nraw2.h5,Q2,SAX,Yes\n")
    assert main(["study", "import", study, "--table", str(table)]) == 0
    assert [scan.practice for scan in Study.open(study).scans] == [True, False, True]
    table.write_text("file,subject,plane,practice\nraw1.h5,S1,SAX,perhaps\n")
    capsys.readouterr()
    assert main(["study", "import", study, "--table", str(table)]) == 2
    assert "'practice' is 'perhaps', but it must be yes or no" in capsys.readouterr().err
