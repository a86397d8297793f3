"""Reader packages by commands alone: out, read, back, merged, and the results of a study read directly."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import h5py
import numpy as np
import pytest

from app import package_folders
from app.cli import main
from app.commands import desktop, window
from app.commands.failures import CommandError
from studies import blinding
from studies.log import EventLog
from studies.package import open_package, package_info
from studies.study import PAPER_ARMS, Study

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "open sesame"
CHANGING = {"time_utc", "seconds"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the real user's folders."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config home"))
    monkeypatch.setenv("BLINDCINE_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(blinding, "SCRYPT_COST", 2)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A locked study of six clips and two readers."""
    made = Study.create(tmp_path / "study", name="Trial")
    for number in range(6):
        scan_id = made.import_scan(
            tmp_path / f"raw{number}.h5",
            raw_sha256=f"{number + 1:064x}",
            subject=f"P{number}",
            plane="SAX",
            sampling="radial",
        )
        movies = {}
        for place, arm in enumerate(PAPER_ARMS):
            movies[arm] = tmp_path / f"{number}_{arm}.h5"
            with h5py.File(movies[arm], "w") as file:
                file["movie"] = np.random.default_rng(10 * number + place).random((4, 8, 8), np.float32)
                file.attrs["format"] = "blindcine-movie-1"
                file.attrs["pixel_spacing_mm"] = (2.0, 2.0)
                file.attrs["frame_times_s"] = 0.05 * np.arange(4)
                file.attrs["provenance"] = "{}"
        made.attach_movies(scan_id, movies)
    made.lock(["Ann", "Bob"], PASSPHRASE)
    return made


def read(study: Study, reader: str) -> None:
    """Rank by the place of each movie's id, which is the same wherever the study is read."""
    while (item := study.next_presentation(reader)) is not None:
        study.commit_ranking(reader, item, [1 + (len(reader) + place) % 3 for place in item.permutation])
    for item in study.guess_presentations(reader):
        study.record_guess(reader, item, ("Compressed sensing", None, None))


def rows(path: Path) -> list[dict[str, str]]:
    """A table without its times."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [
            {name: value for name, value in row.items() if name not in CHANGING}
            for row in csv.DictReader(file)
        ]
    return sorted(lines, key=lambda row: tuple(row.values()))


def test_the_results_are_those_of_a_study_read_directly(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ann by a package that comes back in two parts, Bob by one that comes back at once."""
    direct = Study.open(shutil.copytree(study.folder, tmp_path / "direct"))
    folder = str(study.folder)
    for reader in ("Ann", "Bob"):
        read(direct, reader)
        assert main(["study", "package", folder, "--reader", reader]) == 0
        path = tmp_path / f"{reader}.blindcine"
        assert f"{path}: 6 presentations of 6 clips for {reader}" in capsys.readouterr().out
        package = open_package(path, package_folders.working_folder(package_info(path).package_id))
        if reader == "Ann":
            package.commit_ranking(reader, package.schedule(reader)[0], [
                1 + (3 + place) % 3 for place in package.schedule(reader)[0].permutation
            ])  # fmt: skip
            early = tmp_path / "early"
            assert main(["study", "respond", str(package.folder), "--out", str(early)]) == 0
            assert f"{early}: 1 of 6 rankings of Ann" in capsys.readouterr().out
            assert main(["study", "merge", folder, str(early)]) == 0
            assert "1 new rankings of Ann, 0 were there already, 5 are missing" in capsys.readouterr().out
        read(package, reader)
        assert main(["study", "respond", str(path)]) == 0
    responses = [str(tmp_path / f"{reader}.blindcine-response") for reader in ("Ann", "Bob")]
    assert main(["study", "merge", folder, *responses]) == 0
    said = capsys.readouterr().out
    assert "5 new rankings of Ann, 1 were there already, 0 are missing" in said
    assert "6 new rankings of Bob" in said
    assert main(["study", "verify", folder]) == 0
    assert "7 events merged from the package of Bob" not in (said := capsys.readouterr().out)
    assert "13 events merged from the package of Bob" in said
    tables = {}
    for name, where in (("merged", study.folder), ("direct", direct.folder)):
        assert main(["study", "unblind", str(where), "--actor", "Cora"]) == 0
        assert main(["study", "export", str(where), "--out", str(tmp_path / name)]) == 0
        tables[name] = [rows(tmp_path / name / f"{table}.csv") for table in ("ranking", "statistics")]
    assert tables["merged"] == tables["direct"]
    assert len(tables["merged"][0]) == 2 * 6 * 3


def test_a_refused_response_is_told_and_does_not_hinder_the_others(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "elsewhere.blindcine"
    assert main(["study", "package", str(study.folder), "--reader", "Ann", "--out", str(out)]) == 0
    assert main(["study", "respond", str(out)]) == 2
    assert "was not read on this computer yet" in capsys.readouterr().err
    package = open_package(out, tmp_path / "copy")
    read(package, "Ann")
    assert main(["study", "respond", str(package.folder)]) == 0
    response = tmp_path / "Trial_Ann.blindcine-response"
    (tmp_path / "cut").write_bytes(response.read_bytes()[:-9])
    assert main(["study", "merge", str(study.folder), str(tmp_path / "cut"), str(response)]) == 2
    said = capsys.readouterr()
    assert "cut: 'cut' is no response of a reader, or it was cut short" in said.err
    assert "6 new rankings of Ann" in said.out
    assert main(["study", "respond", str(study.folder)]) == 2
    assert "is no reader package, but the study itself" in capsys.readouterr().err


def test_create_keeps_a_second_copy_and_verify_compares_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, copies = tmp_path / "study", tmp_path / "copies"
    words = ["study", "create", str(folder), "--name", "Trial", "--second-copy", str(copies)]
    assert main(words) == 0
    assert main(["study", "verify", str(folder)]) == 0
    assert "Sound: 1 events" in capsys.readouterr().out
    (copy,) = [path for path in copies.rglob("*") if path.is_file()]
    copy.write_text(copy.read_text().replace("coordinator", "somebody"))
    assert main(["study", "verify", str(folder)]) == 2
    assert "second copy" in capsys.readouterr().err


def test_the_log_url_goes_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server that is not there, nothing is made; a password in the URL is refused."""
    asked: list[object] = []

    def create(*words: object, **_: object) -> EventLog:
        asked.extend(words)
        raise CommandError("no server here")

    monkeypatch.setattr(EventLog, "create", create)
    words = ["study", "create", str(tmp_path / "study"), "--name", "Trial", "--log-url"]
    assert main([*words, "postgresql://ann@nowhere.invalid/studies"]) == 2
    assert "nowhere.invalid/studies" in str(asked[0])


# Opening


def test_a_package_is_opened_by_its_name_alone(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`blindcine FILE.blindcine` is `blindcine window FILE.blindcine`, on the page Read."""
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr(window, "open_window", lambda *words: opened.append(words) or 0)
    path = tmp_path / "Ann.blindcine"
    path.write_bytes(b"x")
    assert main([str(path)]) == 0
    assert main(["window", str(path), "--page", "study"]) == 0
    assert main(["window", str(study.folder)]) == 0
    assert main(["study", "read", str(study.folder), "--reader", "Ann"]) == 0
    assert main(["study", "read", str(study.folder)]) == 0
    assert main(["window", str(study.folder), "--role", "physicist", "--person", "Phil"]) == 0
    assert opened == [
        (None, [path], "read", "coordinator", ""),
        (None, [path], "study", "coordinator", ""),
        (study.folder, [], "data", "coordinator", ""),
        (study.folder, [], "read", "reader", "Ann"),
        (study.folder, [], "read"),
        (study.folder, [], "measure", "physicist", "Phil"),
    ]
    assert main([str(tmp_path / "missing.blindcine")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert main(["window", str(path), str(study.folder)]) == 2
    assert "one study or reader package at a time" in capsys.readouterr().err


def test_reading_a_package_needs_no_reconstruction() -> None:
    """Everything that the window imports can be imported where TensorFlow, Keras and FINUFFT are missing."""
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "jax", "torch", "finufft"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import app.cli, app.launch, app.main_window, app.reader_package, studies.package
app.cli.build_parser()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data"),
        ("linux", {"XDG_DATA_HOME": "", "HOME": "/home/ann"}, "/home/ann/.local/share"),
        ("darwin", {"HOME": "/Users/ann"}, "/Users/ann/Library/Application Support"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {"LOCALAPPDATA": "", "HOME": "/home/ann"}, "/home/ann/AppData/Local"),
    ],
)
def test_packages_are_unpacked_where_the_system_keeps_data(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(package_folders.sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert package_folders.working_folder("ab") == Path(expected) / "blindcine" / "packages" / "ab"


def test_names_of_packages_are_names_of_files() -> None:
    assert package_folders.package_name(" Dr. Ada / 2 ") == "Dr._Ada_2.blindcine"
    assert package_folders.response_beside(Path("a/x.y.blindcine")) == Path("a/x.y.blindcine-response")


# The desktop


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A Linux desktop whose programs only note how they were called."""
    called: list[list[str]] = []
    monkeypatch.setattr(desktop.sys, "platform", "linux")
    monkeypatch.setattr(desktop.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(desktop.subprocess, "run", lambda words, **_: called.append(words))
    return called


def test_the_desktop_learns_to_open_packages(
    linux: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files as the XDG specifications want them; `--remove` takes them away."""
    base = tmp_path / "data home"
    assert main(["desktop"]) == 0
    assert f"opens it in blindcine ({base})" in capsys.readouterr().out
    namespace = "{http://www.freedesktop.org/standards/shared-mime-info}"
    kind = ElementTree.parse(base / "mime/packages/blindcine.xml").getroot().find(f"{namespace}mime-type")
    assert kind is not None
    glob = kind.find(f"{namespace}glob")
    assert glob is not None and glob.get("pattern") == "*.blindcine"
    entry = (base / "applications" / "blindcine.desktop").read_text()
    assert 'Exec="/usr/bin/blindcine" window %f\n' in entry
    assert f"MimeType={kind.get('type')};\n" in entry
    assert ElementTree.parse(base / "icons/hicolor/scalable/apps/blindcine.svg").getroot() is not None
    assert [words[0].rpartition("/")[2] for words in linux] == [
        "update-mime-database",
        "update-desktop-database",
        "xdg-mime",
    ]
    assert main(["desktop", "--remove"]) == 0
    assert not [path for path in base.rglob("*") if path.is_file()]


def test_the_first_bytes_of_a_package_are_those_that_the_desktop_looks_for(
    study: Study, tmp_path: Path
) -> None:
    path = tmp_path / "p.blindcine"
    assert main(["study", "package", str(study.folder), "--reader", "Ann", "--out", str(path)]) == 0
    root = ElementTree.fromstring(desktop.MIME)
    matches = [item for item in root.iter() if item.tag.endswith("}match")]
    content = path.read_bytes()
    assert len(matches) == 2
    for match in matches:
        offset, value = int(match.attrib["offset"]), match.attrib["value"].encode()
        assert content[offset : offset + len(value)] == value


def test_the_program_is_found_in_a_source_tree_and_its_words_are_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desktop.shutil, "which", lambda name, path=None: None)
    assert desktop.program() == ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "app"]
    assert desktop.quoted('a b"$`%\\') == r'"a b\\"\\$\\`%%\\\\"'


def test_without_the_desktops_programs_the_user_is_told(
    linux: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(desktop.shutil, "which", lambda name, path=None: None)
    assert main(["desktop"]) == 2
    assert "install shared-mime-info" in capsys.readouterr().err
    assert linux == []


@pytest.mark.parametrize(("platform", "word"), [("win32", "Choose an app"), ("darwin", "drop the")])
def test_elsewhere_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    platform: str,
    word: str,
) -> None:
    monkeypatch.setattr(desktop.sys, "platform", platform)
    assert main(["desktop"]) == 0
    assert word in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.desktop"))
