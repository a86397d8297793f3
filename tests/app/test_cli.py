from __future__ import annotations

import csv
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from app import __version__
from app.cli import main
from app.commands import failures, window
from recon_backend import formats
from recon_backend.cache import ResultCache
from recon_backend.movie import Movie
from studies.shapes import Ellipse, Line, Rectangle, Shapes
from studies.study import PAPER_ARMS, Study

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "open sesame"
FRAME_TIMES_S = np.arange(12) * 0.05


@dataclass
class FakeAcquisition:
    """As much of an acquisition as an import needs."""

    source_sha256: str
    sampling: str


@pytest.fixture(scope="module")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A locked study with two complete scans, made by commands."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLINDCINE_PASSPHRASE", PASSPHRASE)
        patch.setattr(
            formats, "open_acquisition", lambda path: FakeAcquisition(f"{path.stat().st_size:064x}", "radial")
        )
        study = str(folder / "study")
        assert main(["study", "create", study, "--name", "Trial"]) == 0
        rows = ["file,subject,plane,label"]
        for number in (1, 2):
            (folder / f"raw{number}.h5").write_bytes(b"x" * number)
            rows.append(f"raw{number}.h5,subject {number},short axis,")
        (folder / "scans.csv").write_text("\n".join(rows) + "\n")
        assert main(["study", "import", study, "--table", str(folder / "scans.csv")]) == 0
        rng = np.random.default_rng(3)
        for scan in Study.open(study).scans:
            words = []
            for number, arm in enumerate(PAPER_ARMS):
                frames = 0.05 * (1 + number) * rng.random((12, 24, 24), dtype=np.float32)
                frames[:, 8:16, 8:16] += 1
                path = folder / f"{scan.scan_id}_{arm}.h5"
                Movie(frames, (2.0, 2.0), FRAME_TIMES_S).save(path)
                words.append(f"{arm}={path}")
            assert main(["study", "attach", study, scan.scan_id, *words]) == 0
        kept: list[str] = []
        patch.setattr(ResultCache, "forget", lambda _self, raw_sha256: kept.extend(raw_sha256) or 0)
        assert main(["study", "lock", study, "--readers", "Ann,Bob"]) == 0
        assert sorted(kept) == [f"{1:064x}", f"{2:064x}"], "results by method must not outlive the lock"
        yield folder / "study"


@pytest.fixture
def study_folder(made_study: Path, tmp_path: Path) -> Path:
    """A copy of the study that a test may change."""
    return Path(shutil.copytree(made_study, tmp_path / "study"))


def test_version_and_help_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom app.cli import main\n"
        "for words in (['--version'], ['study', '--help'], ['demo', '--help']):\n"
        "    try: main(words)\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "names = {'numpy', 'tensorflow', 'keras', 'PySide6', 'sqlalchemy', 'recon_backend'}\n"
        "heavy = names & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"blindcine {__version__}\n")


def test_study_commands_load_neither_tensorflow_nor_qt(study_folder: Path) -> None:
    code = (
        "import sys\nfrom app.cli import main\n"
        f"code = main(['study', 'status', {str(study_folder)!r}])\n"
        "heavy = {'tensorflow', 'keras', 'PySide6'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_study_by_commands_alone(
    study_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(study_folder)
    assert main(["study", "rank", study, "--reader", "Ann", "--ranks", "1,2,2", "--comment", "B = C"]) == 0
    assert "Ann: 1 of 2" in capsys.readouterr().out
    assert main(["study", "rank", study, "--reader", "Ann", "--ranks", "3,1,2"]) == 0
    (tmp_path / "bob.csv").write_text("presentation,A,B,C,comment\n2,1,1,1,\n1,2,1,3,clear\n")
    assert main(["study", "rank", study, "--reader", "Bob", "--file", str(tmp_path / "bob.csv")]) == 0

    records = Study.open(study_folder).rankings
    assert [(record.reader, record.ranks) for record in records] == [
        ("Ann", (1, 2, 2)),
        ("Ann", (3, 1, 2)),
        ("Bob", (2, 1, 3)),
        ("Bob", (1, 1, 1)),
    ]
    assert [record.comment for record in records] == ["B = C", "", "clear", ""]

    shapes = Shapes(Ellipse((11.5, 11.5), (3, 3)), Rectangle((3, 3), (5, 5)), Line((11.5, 2.0), (11.5, 12.0)))
    (tmp_path / "shapes.json").write_text(json.dumps(shapes.to_dict()))
    words = ["study", "measure", study, "--observer", "Cy", "--shapes", str(tmp_path / "shapes.json")]
    assert main(words) == 0
    assert len(Study.open(study_folder).measurements) == 2

    capsys.readouterr()
    assert main(["study", "status", study, "--json"]) == 0
    text = capsys.readouterr().out
    assert not [arm for arm in PAPER_ARMS if arm in text]
    assert json.loads(text)["readers"] == {
        "Ann": {"ranked": 2, "total": 2},
        "Bob": {"ranked": 2, "total": 2},
    }
    head = json.loads(text)["log_head"]
    assert head == str(Study.open(study_folder).head)
    assert main(["study", "status", study]) == 0
    assert any(line.split() == ["log", "head", head] for line in capsys.readouterr().out.splitlines())
    assert main(["study", "verify", study, "--noted", head]) == 0
    assert main(["study", "verify", study, "--noted", f"{head[:-1]}{'0' if head[-1] != '0' else '1'}"]) == 2
    assert "the anchor noted elsewhere" in capsys.readouterr().err
    assert main(["study", "unblind", study, "--actor", "Dee"]) == 0
    capsys.readouterr()
    assert main(["study", "export", study, "--out", str(tmp_path / "results")]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.split() if "/" in line or "\\" in line]
    assert names[:4] == ["report.html", "ranking.csv", "measurements.csv", "statistics.csv"]
    assert {"statistics.json", "report.xlsx", "reproduce.py", "figures"} <= set(names)
    with (tmp_path / "results" / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    assert {row["method"] for row in rows} == set(PAPER_ARMS)


def test_measured_noise_has_the_order_that_was_put_in(study_folder: Path, tmp_path: Path) -> None:
    shapes = Shapes(Ellipse((11.5, 11.5), (3, 3)), Rectangle((3, 3), (5, 5)))
    clip_ids = [clip.clip_id for clip in Study.open(study_folder).clips]
    (tmp_path / "shapes.json").write_text(json.dumps({clip_ids[0]: shapes.to_dict()}))
    words = ["--observer", "Cy", "--shapes", str(tmp_path / "shapes.json")]
    assert main(["study", "measure", str(study_folder), *words]) == 0
    study = Study.open(study_folder)
    (record,) = study.measurements
    assert record.clip_id == clip_ids[0]
    methods = study.unblind(PASSPHRASE, "Dee", force=True)
    snr = {methods[movie_id]: value["snr_db_mean"] for movie_id, value in record.values.items()}
    assert sorted(snr, key=lambda arm: -snr[arm]) == list(PAPER_ARMS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["info", "nowhere.h5"], "nowhere.h5: there is no such file."),
        (["study", "status", "nowhere"], "'nowhere' is no study folder"),
        (["window", "nowhere"], "nowhere: there is no such file or folder."),
        (["study", "measure", "{study}", "--observer", "x", "--shapes", "nowhere"], "nowhere: No such file"),
        (["study", "rank", "{study}", "--reader", "Eve", "--ranks", "1,1,1"], "'Eve' is no reader"),
        (["study", "rank", "{study}", "--reader", "Ann", "--ranks", "1,1"], "3 ranks"),
        (
            ["study", "rank", "{study}", "--reader", "Ann", "--file", "{bad}"],
            "line 2: presentation and ranks",
        ),
        (["study", "export", "{study}", "--out", "results"], "blinded"),
        (["study", "import", "{study}", "raw.h5"], "Give files with --subject and --plane"),
        (["study", "attach", "{study}", "id", "file.h5"], "'file.h5' is not METHOD=FILE"),
        (["train", "radial", "--data", "d", "--out", "o"], "Say when to stop"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_two(
    study_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    (tmp_path / "bad.csv").write_text("presentation,A,B,C\n1,first,2,3\n")
    capsys.readouterr()
    places = {"study": study_folder, "bad": tmp_path / "bad.csv"}
    if words[:2] == ["info", "nowhere.h5"]:
        result = subprocess.run(
            [sys.executable, "-m", "app", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        code, error = result.returncode, result.stderr
    else:
        code, error = main([word.format(**places) for word in words]), capsys.readouterr().err
    assert code == 2
    assert sentence in error
    assert error.count("\n") == 1


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    error = ModuleNotFoundError("No module named 'keras'", name="keras")
    assert "pip install 'blindcine[recon]'" in failures.sentence(error)
    with pytest.raises(ModuleNotFoundError):
        failures.sentence(ModuleNotFoundError("a defect of ours", name="recon_backend.missing"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X servers")
def test_a_display_is_there_only_if_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    for name in ("", "nonsense", ":94217", "localhost:40000"):
        monkeypatch.setenv("DISPLAY", name)
        assert not window.display_available(), name
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind("\0/tmp/.X11-unix/X94217")
        server.listen()
        monkeypatch.setenv("DISPLAY", ":94217.0")
        assert window.display_available()
