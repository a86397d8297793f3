"""Reader packages: what they hold and do not, the way out and back, and every response that is refused."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import studies
from studies import package as package_module
from studies.errors import StudyError
from studies.events import canonical_json, event_hash
from studies.package import (
    KEY_NAME,
    MIME_TYPE,
    export_package,
    merge_response,
    open_package,
    package_info,
    response_name,
    save_response,
)
from studies.response import Response
from studies.study import Study

REPOSITORY = Path(studies.__file__).parents[1]
ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
LABELS = ("Compressed sensing", "DL, cardiac data", "DL, natural videos")
PASSPHRASE = "four horses and a lamp"
StudyMaker = Callable[..., Study]


def read(study: Study, reader: str, number: int = 1000, *, guess: bool = True) -> None:
    """Read as a person would, with answers that follow from reader and clip alone."""
    session = study.begin_session(reader, {"screen": "left"})
    last = study.refresher(reader)
    if last is not None:
        study.record_refresher(reader, last)
    for _ in range(number):
        presentation = study.next_presentation(reader)
        if presentation is None:
            break
        clip = next(
            clip for clip in (*study.clips, *study.practice_clips) if clip.clip_id == presentation.clip_id
        )
        generator = random.Random(f"{reader} {presentation.presentation_id}")
        rank_of = {movie_id: generator.randint(1, 3) for movie_id in clip.movie_ids}
        judged = generator.random() < 0.8
        study.commit_ranking(
            reader,
            presentation,
            [rank_of[clip.movie_ids[place]] for place in presentation.permutation] if judged else (),
            seconds=600.0,
            frames_skipped=2,
            loops=3,
            comment="grüßt",
            window_level=(255.0, 127.5),
            confidence=generator.randint(1, 5),
            cannot_judge=not judged,
            session_id=session,
            viewing={"speeds": [1.0], "loops_per_panel": [3, 3, 4]},
        )
        if study.break_due(reader) is not None:
            study.record_break(reader, taken=True)
    for item in study.guess_presentations(reader) if guess else []:
        study.record_guess(reader, item, (LABELS[0], None, LABELS[2]))


def without_times(record: Any) -> dict[str, Any]:
    """A record without what differs between two readings: times and random ids."""
    fields = asdict(record)
    for name in ("time_utc", "session_id"):
        fields.pop(name, None)
    return fields


def answers_of(study: Study) -> list[list[dict[str, Any]]]:
    """Everything that readers left in a study."""
    lists: tuple[list[Any], ...] = (study.rankings, study.sessions, study.breaks, study.guesses)
    return [[without_times(record) for record in records] for records in lists]


@pytest.fixture
def sent(make_study: StudyMaker, tmp_path: Path) -> tuple[Study, Path]:
    """A study with two readers and Anna's package."""
    study = make_study(scans=4, readers=["Anna", "Ben"])
    path = tmp_path / "Anna.blindcine"
    export_package(study, "Anna", path)
    return study, path


# There and back


def test_a_package_gives_what_a_direct_reading_gives(make_study: StudyMaker, tmp_path: Path) -> None:
    """Rankings, sessions, breaks and guesses are the same, and so is what they are after unblinding."""
    study = make_study(scans=8)
    study.set_design(
        study.design.changed({"repeat_share": 0.25, "crop_mm": [9.0, 7.5], "readers": ["Anna", "Ben"]})
    )
    study.lock((), PASSPHRASE)
    direct_folder = tmp_path / "direct"
    shutil.copytree(study.folder, direct_folder)
    direct = Study.open(direct_folder)
    for number, reader in enumerate(study.readers):
        read(direct, reader)
        path = tmp_path / f"{number}.blindcine"
        summary = export_package(study, reader, path)
        assert (summary.reader, summary.clips, summary.presentations) == (reader, 8, 10)
        assert summary.size_bytes == path.stat().st_size
        info = package_info(path)
        assert (info.study, info.reader, info.presentations) == ("Reading room", reader, 10)
        package = open_package(path, tmp_path / f"copy {number}")
        assert package.is_package and not study.is_package
        assert package.schedule(reader) == study.schedule(reader)
        for presentation in package.schedule(reader)[:3]:
            ours, theirs = study.load_clip(presentation), package.load_clip(presentation)
            np.testing.assert_array_equal(theirs.display, ours.display)
            np.testing.assert_array_equal(theirs.frame_times_s, ours.frame_times_s)
            assert theirs.pixel_spacing_mm == ours.pixel_spacing_mm
            assert ours.display.std() > 0
        read(package, reader)
        response = tmp_path / response_name(package)
        assert response.name == f"Reading_room_{reader}.blindcine-response"
        assert save_response(package, response) == 10
        assert response.stat().st_size < path.stat().st_size
        merged = merge_response(study, response)
        assert (merged.reader, merged.rankings, merged.new, merged.duplicates, merged.missing) == (
            reader, 10, 10, 0, 0,
        )  # fmt: skip
    assert answers_of(study) == answers_of(direct)
    assert len(study.breaks) > 1 and len(study.guesses) == 12
    assert study.missing_rankings() == {}
    times = [record.time_utc for record in package.rankings]
    assert [record.time_utc for record in study.rankings if record.reader == "Ben"] == times
    again = Study.open(study.folder)
    again.verify()
    assert again.unblind(PASSPHRASE, "Cora") == direct.unblind(PASSPHRASE, "Cora")
    again.verify()
    assert answers_of(again) == answers_of(direct)
    assert again.method_of == direct.method_of


def test_a_package_is_resumed_where_it_was_left(sent: tuple[Study, Path], tmp_path: Path) -> None:
    """Opening again does not begin anew; a refresher comes; the package's folder verifies."""
    _, path = sent
    folder = tmp_path / "elsewhere" / "copy"
    package = open_package(path, folder)
    read(package, "Anna", 2)
    again = open_package(path, folder)
    assert again.progress("Anna") == (2, 4)
    assert again.package == package.package
    again.begin_session("Anna", {})
    assert again.refresher("Anna") == again.schedule("Anna")[1]
    again.verify()
    assert Study.open(folder, role="coordinator").role == "reader"
    assert Study.open(folder).person == "Anna"


def test_an_empty_folder_will_do_another_study_will_not(sent: tuple[Study, Path], tmp_path: Path) -> None:
    study, path = sent
    empty = tmp_path / "empty"
    empty.mkdir()
    assert open_package(path, empty).progress("Anna") == (0, 4)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter.txt").write_text("x")
    with pytest.raises(StudyError, match="is not empty"):
        open_package(path, tmp_path / "used")
    with pytest.raises(StudyError, match="holds another study"):
        open_package(path, study.folder)
    export_package(study, "Ben", tmp_path / "Ben.blindcine")
    with pytest.raises(StudyError, match="holds another study"):
        open_package(tmp_path / "Ben.blindcine", empty)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match="is not empty|cannot be unpacked"):
        open_package(path, tmp_path / "file")
    with pytest.raises(StudyError, match="cannot be unpacked"):
        open_package(path, tmp_path / "file" / "below")
    assert not list(tmp_path.glob(".*.part"))


def test_two_windows_unpack_one_copy(
    sent: tuple[Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second finds the first one's folder at the last moment and goes on there."""
    _, path = sent
    folder, other = tmp_path / "copy", tmp_path / "other"
    before = open_package(path, other).package
    rename = Path.replace

    def late(self: Path, target: Path) -> Path:
        if target == folder:
            os.rename(other, folder)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", late)
    assert open_package(path, folder).package == before
    assert not list(tmp_path.glob(".*.part"))

    def refuse(self: Path, target: Path) -> Path:
        if target == tmp_path / "never":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StudyError, match="cannot be unpacked to '.*never': Permission denied"):
        open_package(path, tmp_path / "never")
    assert not list(tmp_path.glob(".*.part"))


def test_a_package_serves_its_reader_only(sent: tuple[Study, Path], tmp_path: Path) -> None:
    """No measuring, no unblinding, no design, no other reader, no package of a package."""
    study, path = sent
    package = open_package(path, tmp_path / "copy")
    assert package.readers == ("Anna",) and package.protocol.readers == ("Anna",)
    assert {clip.subject for clip in package.clips} == {""}
    clip_id = package.clips[0].clip_id
    presentation = study.schedule("Ben")[0]
    response = tmp_path / "a.blindcine-response"
    save_response(package, response)
    for forbidden in (
        lambda: package.load_movies(clip_id),
        lambda: package.save_measurement("Anna", clip_id, {}, {}),
        lambda: package.unblind(PASSPHRASE, "Anna"),
        lambda: package.lock(["Anna"], PASSPHRASE),
        lambda: package.amend("Anna", "wish", {"alpha": 0.2}),
        lambda: package.progress("Ben"),
        lambda: package.commit_ranking("Ben", presentation, (1, 2, 3)),
        lambda: package.commit_ranking("Anna", presentation, (1, 2, 3)),
        lambda: package.arms,
        lambda: package.method_of,
        lambda: export_package(package, "Anna", tmp_path / "second.blindcine"),
        lambda: merge_response(package, response),
    ):
        with pytest.raises(StudyError):
            forbidden()
    with pytest.raises(StudyError, match="is no reader package, but the study itself"):
        save_response(study, tmp_path / "b.blindcine-response")
    (package.folder / KEY_NAME).unlink()
    with pytest.raises(StudyError, match="'signing.key' of the package cannot be read"):
        save_response(package, response)
    with pytest.raises(StudyError, match="cannot be written"):
        save_response(open_package(path, tmp_path / "new"), tmp_path / "no" / "folder")


def test_needs_neither_tensorflow_nor_keras(sent: tuple[Study, Path], tmp_path: Path) -> None:
    """Unpacking, showing, ranking and responding in a process in which neither can be imported."""
    _, path = sent
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "jax", "torch", "finufft", "recon_backend"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
from studies.package import open_package, save_response
study = open_package(Path(sys.argv[1]), Path(sys.argv[2]))
while (item := study.next_presentation("Anna")) is not None:
    assert study.load_clip(item).display.shape[0] == 3
    study.commit_ranking("Anna", item, (1, 2, 3))
print(save_response(study, Path(sys.argv[2]) / "answers"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "copy")],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("4\n", "")


# What a package tells


def all_content(package: Path, folder: Path) -> bytes:
    """Every byte of a package and of what it unpacks to, and the numbers of HDF5 and SQLite in clear."""
    with zipfile.ZipFile(package) as archive:
        parts = [name.encode() + archive.read(name) for name in archive.namelist()]
    parts += [str(path.relative_to(folder)).encode() for path in folder.rglob("*")]
    parts += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"\n".join([package.read_bytes(), *parts])


def test_no_byte_of_a_package_names_method_raw_file_subject_or_another_reader(
    sent: tuple[Study, Path], tmp_path: Path
) -> None:
    study, path = sent
    package = open_package(path, tmp_path / "copy")
    read(package, "Anna")
    save_response(package, package.folder / "answers")
    content = all_content(path, package.folder).lower()
    for word in (*ARMS, *LABELS, "natural", "meas_heart", "breath hold", "second breath", "ben", "model-dl"):
        # A short word can stand in random bytes and hexadecimal digits by chance; in quotes it cannot.
        found = f'"{word}"'.encode() in content if len(word) < 5 else word.lower().encode() in content
        assert not found, word
    assert str(study.folder).lower().encode() not in content
    for item in study.schedule("Ben"):
        assert item.presentation_id.encode() not in content
    for subject in {clip.subject for clip in study.clips}:
        assert f'"{subject}"'.lower().encode() not in content
    assert (study.folder / "sealed.key").read_bytes().lower() not in content
    # The check can find what is there.
    assert b'"anna"' in content and study.schedule("Anna")[0].presentation_id.encode() in content


def test_size_time_and_order_in_a_package_do_not_tell_the_arms(
    make_study: StudyMaker, write_movie: Callable[..., Path], tmp_path: Path
) -> None:
    """One arm is noise, one smooth, one black: the entries of a clip differ in nothing but id and pixels."""
    study = make_study(scans=0)
    for number in range(8):
        scan_id = study.import_scan(
            tmp_path / f"raw{number}.h5",
            raw_sha256=f"{number + 1:02x}" * 32,
            subject=f"P{number}",
            plane="SAX",
            sampling="radial",
        )
        noise = np.random.default_rng(number).random((6, 8, 8))
        frames = {ARMS[0]: noise, ARMS[1]: np.ones((6, 8, 8)), ARMS[2]: np.zeros((6, 8, 8))}
        study.attach_movies(scan_id, {arm: write_movie(f"{number}{arm}.h5", frames[arm]) for arm in ARMS})
    study.lock(["Anna"], PASSPHRASE)
    path = tmp_path / "Anna.blindcine"
    export_package(study, "Anna", path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        manifest = json.loads(archive.read("package.json"))
        shapes = {
            name: h5py.File(io.BytesIO(archive.read(name)))["movie"].dtype
            for name in archive.namelist()
            if name.startswith("movies/")
        }
    assert entries[0].filename == "mimetype" and path.read_bytes()[38:].startswith(MIME_TYPE.encode())
    movies = [entry for entry in entries if entry.filename.startswith("movies/")]
    assert {
        (
            entry.date_time,
            entry.compress_type,
            entry.external_attr,
            entry.create_system,
            entry.extra,
            entry.comment,
        )
        for entry in entries
    } == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0o600 << 16, 3, b"", b"")}
    assert len({entry.file_size for entry in movies}) == 1
    assert set(shapes.values()) == {np.dtype(np.uint8)}
    clip_of = {movie: clip["clip_id"] for clip in manifest["clips"] for movie in clip["movies"]}
    ids = [Path(entry.filename).stem for entry in movies]
    assert len(ids) == 24 and ids == sorted(ids, key=lambda movie: (clip_of[movie], movie))
    package = open_package(path, tmp_path / "copy")
    files = sorted((package.folder / "movies").iterdir())
    assert len({(file.stat().st_size, file.stat().st_mtime) for file in files}) == 1
    methods = study.unblind(PASSPHRASE, "Cora", force=True)
    # Ids are random, so every arm comes first in some clip unless the order followed the arms.
    firsts = {methods[movie] for place, movie in enumerate(ids) if place % 3 == 0}
    assert len(firsts) > 1


# Making packages


def test_who_can_have_a_package(make_study: StudyMaker, tmp_path: Path) -> None:
    path = tmp_path / "a.blindcine"
    study = make_study(scans=2)
    with pytest.raises(StudyError, match="not locked yet"):
        export_package(study, "Anna", path)
    study.lock(["Anna", "Ben"], PASSPHRASE)
    with pytest.raises(StudyError, match="'Cleo' is no reader"):
        export_package(study, "Cleo", path)
    with pytest.raises(StudyError, match="cannot make reader packages"):
        export_package(Study.open(study.folder, role="reader", person="Anna"), "Anna", path)
    with pytest.raises(StudyError, match="cannot be written"):
        export_package(study, "Anna", tmp_path / "nowhere" / "a.blindcine")
    read(study, "Ben")
    with pytest.raises(StudyError, match="'Ben' has ranked everything"):
        export_package(study, "Ben", path)
    assert not path.exists() and study.packages == [] and not list(tmp_path.glob(".*.part"))

    export_package(study, "Anna", path)
    (exported,) = study.packages
    assert (exported.reader, exported.package_id) == ("Anna", package_info(path).package_id)
    for elsewhere in (
        lambda: study.begin_session("Anna", {}),
        lambda: study.commit_ranking("Anna", study.schedule("Anna")[0], (1, 2, 3)),
        lambda: study.record_break("Anna", taken=True),
    ):
        with pytest.raises(StudyError, match="A package was made for 'Anna' on 20"):
            elsewhere()


def test_a_reading_goes_on_in_another_package_where_it_stood(make_study: StudyMaker, tmp_path: Path) -> None:
    """One clip in the study itself, two in a package whose computer was lost, the rest in a third place."""
    study = make_study(scans=6, readers=["Anna", "Ben"])
    direct_folder = tmp_path / "direct"
    shutil.copytree(study.folder, direct_folder)
    direct = Study.open(direct_folder)
    steps = (1, 2, 1000)
    for number in steps:
        read(direct, "Anna", number)
    read(study, "Anna", steps[0])
    read(study, "Ben", 2)
    for name, number in (("lost", steps[1]), ("new", steps[2])):
        export_package(study, "Anna", tmp_path / f"{name}.blindcine")
        package = open_package(tmp_path / f"{name}.blindcine", tmp_path / name)
        assert package.progress("Anna") == study.progress("Anna")
        assert {record.reader for record in package.rankings} == {"Anna"}
        read(package, "Anna", number)
        save_response(package, tmp_path / f"{name}.r")
        merged = merge_response(study, tmp_path / f"{name}.r")
        assert merged.new == merged.rankings - steps[0] - (0 if name == "lost" else steps[1])
    assert study.progress("Anna") == (6, 6)
    own = [[record for record in records if record["reader"] == "Anna"] for records in answers_of(study)]
    assert own == answers_of(direct)
    study.verify()
    assert [merged.package_id for merged in study.merged_responses] == [
        exported.package_id for exported in study.packages
    ]
    with pytest.raises(StudyError, match="'Anna' has ranked everything"):
        export_package(study, "Anna", tmp_path / "more.blindcine")

    # The lost computer is found again and read on: what it brings is too late; what is known is known.
    assert merge_response(study, tmp_path / "lost.r").new == 0
    found = Study.open(tmp_path / "lost")
    read(found, "Anna")
    save_response(found, tmp_path / "lost.r")
    with pytest.raises(StudyError, match="went on in an older package after a newer one was answered"):
        merge_response(study, tmp_path / "lost.r")
    assert [record.reader for record in study.rankings].count("Anna") == 6


def test_a_reader_who_goes_on_while_the_package_is_made_gets_no_package(
    make_study: StudyMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the package would ask again for what was ranked in the meantime."""
    study = make_study(scans=3, readers=["Anna"])
    movies = Study.package_movies

    def slow(self: Study) -> Any:
        read(Study.open(study.folder), "Anna", 1)
        return movies(self)

    monkeypatch.setattr(Study, "package_movies", slow)
    with pytest.raises(StudyError, match="'Anna' has read on while the package was made"):
        export_package(study, "Anna", tmp_path / "a.blindcine")
    assert study.packages == [] and not list(tmp_path.glob("*.blindcine"))


def test_a_changed_movie_is_not_sent(make_study: StudyMaker, tmp_path: Path) -> None:
    study = make_study(scans=2, readers=["Anna"])
    next((study.folder / "movies").iterdir()).write_bytes(b"x")
    with pytest.raises(StudyError, match="is not the file that was attached"):
        export_package(study, "Anna", tmp_path / "a.blindcine")
    assert not list(tmp_path.glob("*.blindcine")) and study.packages == []


def rewritten(path: Path, changes: Mapping[str, bytes | None]) -> Path:
    """A copy of a package with entries replaced or left out."""
    changed = path.with_name("changed.blindcine")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = changes.get(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return changed


def test_damaged_packages_are_not_opened(
    sent: tuple[Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in one sentence, and nothing is left behind."""
    _, path = sent
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("package.json"))
        movie = next(name for name in archive.namelist() if name.startswith("movies/"))
    evil = json.loads(json.dumps(manifest).replace(Path(movie).stem, "../../../evil"))
    cut = path.with_name("cut.blindcine")
    cut.write_bytes(path.read_bytes()[:-1000])
    text = path.with_name("text.blindcine")
    text.write_text("not a package")
    cases: list[tuple[Path, str]] = [(cut, "is no reader package"), (text, "is no reader package")]
    folder = tmp_path / "copy"
    changes: list[dict[str, bytes | None]] = [
        {"package.json": None},
        {"package.json": b"[]"},
        {"package.json": canonical_json({**manifest, "package_id": "../up"}).encode()},
        {"package.json": canonical_json(evil).encode()},
        {KEY_NAME: Ed25519PrivateKey.generate().private_bytes_raw()},
        {KEY_NAME: b"short"},
        {movie: b"another movie"},
        {movie: None},
        {"package.json": canonical_json({**manifest, "schedule": []}).encode()},
    ]
    for change in changes:
        with pytest.raises(StudyError, match="is no reader package of blindcine, or it is damaged"):
            open_package(rewritten(path, change), folder)
    for broken, reason in cases:
        with pytest.raises(StudyError, match=reason):
            open_package(broken, folder)
    with pytest.raises(StudyError, match="of the kind 'blindcine-package-9'"):
        newer = canonical_json({**manifest, "format": "blindcine-package-9"}).encode()
        open_package(rewritten(path, {"package.json": newer}), folder)
    with pytest.raises(StudyError, match="cannot be read"):
        open_package(tmp_path / "missing.blindcine", folder)
    monkeypatch.setattr(package_module, "_LARGEST_MANIFEST", 100)
    with pytest.raises(StudyError, match="is no reader package"):
        package_info(path)
    assert not folder.exists() and not list(tmp_path.glob(".*.part"))
    assert not list(tmp_path.parent.glob("evil*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes in another way")
def test_what_a_killed_unpacking_left_is_cleared_away_at_the_next_opening(
    sent: tuple[Study, Path], tmp_path: Path
) -> None:
    """Killed in the middle of the movies: the half is believed by nobody, and gone after the next opening."""
    _, path = sent
    folder = tmp_path / "below" / "copy"
    code = """
import os, signal, sys
from pathlib import Path
from studies import package, storage
whole = storage.write_durably
def write(path, content):
    whole(path, content)
    if len(list(path.parent.glob("*.h5"))) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
storage.write_durably = write
package.open_package(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    killed = subprocess.run([sys.executable, "-c", code, str(path), str(folder)], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = folder.parent.glob(".*.part")
    assert len(list(left.glob("movies/*.h5"))) == 5 and not folder.exists()
    package = open_package(path, folder)
    read(package, "Anna", 1)
    assert not left.exists() and package.progress("Anna") == (1, 4)
    package.verify()


def test_the_second_window_waits_for_the_first_to_unpack(
    sent: tuple[Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each would clear away what the other is writing."""
    _, path = sent
    folder = tmp_path / "copy"
    second: list[Study] = []
    waiting = threading.Thread(target=lambda: second.append(open_package(path, folder)))
    unpack = package_module._unpack

    def slow(*arguments: Any) -> None:
        waiting.start()
        unpack(*arguments)
        waiting.join(0.2)
        assert not second, "it has not waited"

    monkeypatch.setattr(package_module, "_unpack", slow)
    first = open_package(path, folder)
    waiting.join()
    assert second[0].package == first.package


# Responses that come in parts, twice or late


def test_parts_twice_and_late(sent: tuple[Study, Path], tmp_path: Path) -> None:
    study, path = sent
    package = open_package(path, tmp_path / "copy")
    early, late = tmp_path / "early", tmp_path / "late"
    read(package, "Anna", 2)
    save_response(package, early)
    merged = merge_response(study, early)
    assert (merged.rankings, merged.new, merged.duplicates, merged.missing) == (2, 2, 0, 2)
    assert study.progress("Anna") == (2, 4) and study.missing_rankings() == {"Anna": 2, "Ben": 4}
    count = len(study.events)
    merged = merge_response(study, early)
    assert (merged.rankings, merged.new, merged.duplicates, merged.missing) == (2, 0, 2, 2)
    assert len(study.events) == count
    study.verify()
    read(package, "Anna")
    save_response(package, late)
    merged = merge_response(Study.open(study.folder), late)
    assert (merged.rankings, merged.new, merged.duplicates, merged.missing) == (4, 2, 2, 0)
    assert merge_response(study, early).new == 0
    assert len(study.events) == count + 1
    assert (
        answers_of(study) == answers_of(package)
        or [{**record, "subject": ""} for record in answers_of(study)[0]] == answers_of(package)[0]
    )
    study.verify()
    (response,) = study.merged_responses
    assert (response.reader, len(response.answers)) == ("Anna", len(package.unsigned_response().events))


def test_a_response_before_anything_was_read_is_taken_and_adds_nothing(
    sent: tuple[Study, Path], tmp_path: Path
) -> None:
    study, path = sent
    save_response(open_package(path, tmp_path / "copy"), tmp_path / "r")
    merged = merge_response(study, tmp_path / "r")
    assert (merged.rankings, merged.new, merged.missing, merged.clock_set_back) == (0, 0, 4, 0)


def test_two_copies_of_a_package_are_a_conflict_and_the_first_stays(
    sent: tuple[Study, Path], tmp_path: Path
) -> None:
    """Two machines, a folder copied half way, and a package made twice; each is named and recorded once."""
    study, path = sent
    first, second = (open_package(path, tmp_path / name) for name in ("first", "second"))
    read(first, "Anna", 2)
    shutil.copytree(first.folder, tmp_path / "fork")
    fork = Study.open(tmp_path / "fork")
    for package, name in ((first, "1"), (second, "2"), (fork, "3")):
        read(package, "Anna", 1)
        save_response(package, tmp_path / name)
    merge_response(study, tmp_path / "1")
    before = [record.time_utc for record in study.rankings]
    for _ in range(2):
        with pytest.raises(StudyError, match="'Anna' has read two copies of one package.* first stays"):
            merge_response(study, tmp_path / "2")
        with pytest.raises(StudyError, match=r"differs from what was merged from event \d+ on.* first stays"):
            merge_response(study, tmp_path / "3")
    assert [record.time_utc for record in study.rankings] == before
    assert [event.kind for event in study.events][-2:] == ["response_refused", "response_refused"]
    assert [event.kind for event in study.events].count("response_refused") == 2
    read(first, "Anna")
    save_response(first, tmp_path / "1")
    assert merge_response(study, tmp_path / "1").missing == 0
    study.verify()


def test_a_response_does_not_replace_that_of_another_reading(
    sent: tuple[Study, Path], tmp_path: Path
) -> None:
    """A package that was sent anew has the old one's name, and so has its response."""
    study, path = sent
    export_package(study, "Anna", tmp_path / "again.blindcine")
    first, copy, other = (
        open_package(source, tmp_path / name)
        for source, name in ((path, "1"), (path, "2"), (tmp_path / "again.blindcine", "3"))
    )
    read(first, "Anna", 2)
    response = tmp_path / "Anna.blindcine-response"
    assert save_response(first, response) == 2
    content = response.read_bytes()
    for later in (copy, other):
        with pytest.raises(StudyError, match="holds the answers of another package, or of this one read els"):
            save_response(later, response)
    assert response.read_bytes() == content
    read(first, "Anna", 1)
    assert save_response(first, response) == 3
    response.write_bytes(content[:100])
    assert save_response(other, response) == 0


def test_of_two_packages_for_one_reader_the_first_that_answers_counts(
    sent: tuple[Study, Path], tmp_path: Path
) -> None:
    study, path = sent
    export_package(study, "Anna", tmp_path / "again.blindcine")
    for name, source in (("old", path), ("new", tmp_path / "again.blindcine")):
        package = open_package(source, tmp_path / name)
        read(package, "Anna", 1)
        save_response(package, tmp_path / f"{name}.r")
    merge_response(study, tmp_path / "new.r")
    with pytest.raises(StudyError, match="'Anna' has read two packages"):
        merge_response(study, tmp_path / "old.r")
    assert study.progress("Anna") == (1, 4)


# Responses that are refused


def chained(response: Response, events: list[dict[str, Any]], key: Path) -> Response:
    """A response with other events, hashes and signature made anew: by whoever holds the package's key."""
    previous = "0" * 64
    remade = []
    for number, event in enumerate(events, start=1):
        fields = {**event, "sequence": number, "previous_hash": previous}
        previous = fields["hash"] = event_hash(
            number, fields["time_utc"], fields["kind"], fields["actor"], canonical_json(fields["payload"]),
            fields["previous_hash"],
        )  # fmt: skip
        remade.append(fields)
    from studies.events import Event

    changed = replace(response, events=tuple(Event(**event) for event in remade))
    return changed.signed(Ed25519PrivateKey.from_private_bytes(key.read_bytes()))


@pytest.fixture
def answered(sent: tuple[Study, Path], tmp_path: Path) -> tuple[Study, Study, Path]:
    """The study, Anna's package read to the end, and its response."""
    study, path = sent
    package = open_package(path, tmp_path / "copy")
    read(package, "Anna")
    response = tmp_path / "Anna.blindcine-response"
    save_response(package, response)
    return study, package, response


def refused(study: Study, path: Path, reason: str) -> None:
    """Merging is refused for this reason and leaves no trace."""
    before = len(study.events)
    with pytest.raises(StudyError, match=reason):
        merge_response(study, path)
    assert len(study.events) == before
    assert study.rankings == [] and study.merged_responses == []


def test_a_response_to_another_study_is_refused(
    answered: tuple[Study, Study, Path], make_study: StudyMaker
) -> None:
    other = make_study("other", scans=4, readers=["Anna", "Ben"])
    refused(other, answered[2], "is of another study")


def test_a_package_that_the_study_did_not_make_is_refused(make_study: StudyMaker, tmp_path: Path) -> None:
    """As when a package was made from a copy of the study's folder."""
    study = make_study(scans=4, readers=["Anna", "Ben"])
    shutil.copytree(study.folder, tmp_path / "copied study")
    export_package(Study.open(tmp_path / "copied study"), "Anna", tmp_path / "p.blindcine")
    package = open_package(tmp_path / "p.blindcine", tmp_path / "copy")
    save_response(package, tmp_path / "r")
    refused(study, tmp_path / "r", "which this study has not made for this reader")


def test_files_that_are_no_response_are_refused(answered: tuple[Study, Study, Path], tmp_path: Path) -> None:
    study, _, path = answered
    fields = json.loads(path.read_text())
    cases: list[tuple[bytes, str]] = [
        (b"", "cut short or damaged"),
        (b"\xff\xfe", "cut short or damaged"),
        (path.read_bytes()[: path.stat().st_size // 2], "cut short or damaged"),
        (b"[1, 2]", "cut short or damaged"),
    ]
    first, *_, last = fields["events"]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"format": "blindcine-response-9"}, "of the kind 'blindcine-response-9'"),
        ({"events": [{"kind": "x"}]}, "is malformed"),
        ({"events": []}, "is malformed"),
        ({"reader": 7}, "is malformed"),
        ({"events": [first, last]}, r"was cut: it holds 2 of \d+"),
        ({"events": [{**first, "payload": 3}]}, "is malformed"),
    ]
    cases += [(canonical_json({**fields, **change}).encode(), reason) for change, reason in changes]
    del fields["copy_id"]
    cases.append((canonical_json(fields).encode(), "is malformed"))
    wrong = tmp_path / "wrong"
    for content, reason in cases:
        wrong.write_bytes(content)
        refused(study, wrong, reason)
    refused(study, tmp_path / "missing", "cannot be read")
    with wrong.open("wb") as stream:
        stream.truncate(65 * 2**20)
    refused(study, wrong, "is too large")


def test_what_was_edited_without_the_key_is_named(
    answered: tuple[Study, Study, Path], tmp_path: Path
) -> None:
    study, _, path = answered
    fields = json.loads(path.read_text())
    events = fields["events"]
    number = next(place for place, event in enumerate(events) if event["kind"] == "ranking_committed")
    edited = json.loads(json.dumps(events))
    edited[number]["payload"]["comment"] = "I was never sure"
    swapped = [*events[:number], events[number + 1], events[number], *events[number + 2 :]]
    renumbered = [{**event, "sequence": place} for place, event in enumerate(swapped, start=1)]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"events": edited}, rf"Event {number + 1} of .*\(ranking_committed\) was changed"),
        ({"events": swapped}, rf"Event {number + 1} .* is missing: event {number + 2} stands"),
        ({"events": renumbered}, rf"Event {number + 1} .* does not follow"),
        ({"events": [*events[:number], *events[number + 1 :]], "length": len(events) - 1}, "is missing"),
        ({"events": events[:-1], "length": len(events) - 1}, "signature"),
        ({"signature": "00" * 64}, "signature"),
        ({"signature": "no hex"}, "signature"),
        ({"copy_id": "0" * 16}, "signature"),
        ({"reader": "Ben"}, "has not made for this reader"),
    ]
    for changes, reason in cases:
        (tmp_path / "wrong").write_bytes(canonical_json({**fields, **changes}).encode())
        refused(study, tmp_path / "wrong", reason)
    stranger = Response.parse(path.read_bytes(), "r").signed(Ed25519PrivateKey.generate())
    stranger.save(tmp_path / "wrong")
    refused(study, tmp_path / "wrong", "signature .* is not that of the package")


Change = Callable[[list[dict[str, Any]]], object]


def ranking(events: list[dict[str, Any]], number: int = 0) -> dict[str, Any]:
    """The payload of a ranking among events."""
    payload: dict[str, Any] = [event for event in events if event["kind"] == "ranking_committed"][number][
        "payload"
    ]
    return payload


def drop_first_ranking(events: list[dict[str, Any]]) -> None:
    del events[next(place for place, event in enumerate(events) if event["kind"] == "ranking_committed")]


FORGERIES: list[tuple[Change, str]] = [
    (lambda e: ranking(e).update(ranks=[9, 1, 1], cannot_judge=False), "from 1 to 3"),
    (lambda e: ranking(e)["movie_ids"].reverse(), "not what the reader's schedule"),
    (lambda e: ranking(e).update(presentation_id="f" * 16), "is not in the schedule of 'Anna'"),
    (drop_first_ranking, "next presentation of 'Anna' is number 1, not 2"),
    (lambda e: e.append(json.loads(json.dumps(e[2]))), "has ranked presentation 1 already"),
    (lambda e: ranking(e).update(loops=0), "was seen 0 times"),
    (lambda e: ranking(e).update(more=1), "not what the reader's schedule"),
    (lambda e: ranking(e).pop("comment"), "malformed .*comment"),
    (lambda e: ranking(e).update(seconds="long"), "time on the clip is 'long'"),
    (lambda e: ranking(e).update(seconds=float("nan")), "time on the clip is nan"),
    (lambda e: ranking(e).update(seconds=10**400), "malformed"),
    (lambda e: ranking(e).update(ranks=[10**400, 1, 1], cannot_judge=False), "malformed"),
    (lambda e: ranking(e).update(frames_skipped=-1), "frames skipped is -1"),
    (lambda e: ranking(e).update(window_level=[1.0]), "must be two numbers"),
    (lambda e: ranking(e).update(reader="Ben"), "not what the reader's schedule"),
    (lambda e: ranking(e).update(session_id="a" * 16), "has no session"),
    (lambda e: e[2].update(actor="Ben"), "not what the reader's schedule"),
    (lambda e: e[1]["payload"].update(session_id="../"), "session id"),
    (lambda e: e[-1]["payload"].update(choices=[0, 7, 1]), "7 is not the number"),
    (lambda e: e[-1]["payload"].update(choices=[0, 1]), "needs 3 answers"),
    (lambda e: e.insert(1, {**e[1], "kind": "study_unblinded"}), "malformed|no reader makes events"),
    (lambda e: e.insert(2, {**e[2], "kind": "measurement_saved"}), "no reader makes events of this kind"),
    (lambda e: e[0]["payload"]["manifest"]["protocol"].update(must_view_loops=0), "package was changed"),
    (lambda e: e[0]["payload"].update(copy_id="0" * 16), "package was changed"),
    (lambda e: e.pop(0), "does not begin with the package"),
    (lambda e: e[2].update(time_utc=5), "is malformed"),
    (lambda e: e[2].update(time_utc="yesterday"), "has the time 'yesterday', which is none"),
    (lambda e: e[2].update(time_utc="2026-11-22T19:00:00+01:00"), "which is none in UTC"),
]


def test_what_could_not_have_been_entered_is_refused_even_if_signed(
    answered: tuple[Study, Study, Path],
) -> None:
    """Whoever has the package could sign anything, but it must still be answers to this reader's schedule."""
    study, package, path = answered
    response = package.unsigned_response()
    text = json.dumps([asdict(event) for event in response.events])
    kinds = [event["kind"] for event in json.loads(text)]
    assert kinds[:3] == ["package_opened", "session_started", "ranking_committed"]
    for change, reason in FORGERIES:
        events = json.loads(text)
        change(events)
        chained(response, events, package.folder / KEY_NAME).save(path)
        refused(study, path, reason)


def test_a_clock_that_was_set_back_is_counted_not_refused(answered: tuple[Study, Study, Path]) -> None:
    study, package, path = answered
    response = package.unsigned_response()
    events = [asdict(event) for event in response.events]
    for event in events[4:]:
        event["time_utc"] = event["time_utc"].replace("20", "19", 1)
    # Breaks count minutes by the clock, so they are told anew with it.
    events = [event for event in events if event["kind"] != "break_prompted"]
    chained(response, events, package.folder / KEY_NAME).save(path)
    merged = merge_response(study, path)
    assert (merged.clock_set_back, merged.new) == (1, 4)
    assert study.rankings[-1].time_utc.startswith("19")


def test_the_coordinator_cannot_change_merged_answers_unseen(answered: tuple[Study, Study, Path]) -> None:
    """Log rewritten with its chain made anew: the reader's own chain and signature still tell."""
    study, _, path = answered
    merge_response(study, path)
    study.verify()
    ((package_id, merged),) = study._state.merged.items()
    forged = tuple(
        replace(event, payload={**event.payload, "comment": "forged"}) if place == 2 else event
        for place, event in enumerate(merged.answers)
    )
    study._state.merged[package_id] = replace(merged, answers=forged)
    with pytest.raises(
        StudyError, match=r"Event 3 of the response of 'Anna' \(ranking_committed\) was changed"
    ):
        study.verify()
    study._state.merged[package_id] = replace(merged, answers=merged.answers[:-1])
    with pytest.raises(StudyError, match="signature"):
        study.verify()


def test_nothing_is_merged_after_unblinding(answered: tuple[Study, Study, Path]) -> None:
    study, _, path = answered
    study.unblind(PASSPHRASE, "Cora", force=True)
    refused(study, path, "unblinded and frozen")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes in another way")
def test_a_kill_in_the_middle_of_a_merge_leaves_all_or_nothing(answered: tuple[Study, Study, Path]) -> None:
    """Killed at random moments around the commit; merging again makes it whole and doubles nothing."""
    study, package, path = answered
    code = """
import sys, time
from pathlib import Path
from studies.package import merge_response
from studies.study import Study
study = Study.open(sys.argv[1])
print("ready", flush=True)
merge_response(study, Path(sys.argv[2]))
print("merged", flush=True)
time.sleep(60)
"""
    generator = random.Random(5)
    backup = study.folder.with_name("backup")
    shutil.copytree(study.folder, backup)
    outcomes = set()
    total = len(package.rankings)
    for attempt in range(5):
        shutil.rmtree(study.folder)
        shutil.copytree(backup, study.folder)
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(study.folder), str(path)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if attempt == 0:
            assert process.stdout.readline() == "merged\n"
        else:
            time.sleep(0.03 * generator.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        left = Study.open(study.folder)
        done, _ = left.progress("Anna")
        outcomes.add(done)
        assert done in (0, total) and len(left.guesses) in (0, 4)
        merged = merge_response(left, path)
        assert (merged.rankings, merged.new) == (total, total - done)
        left.verify()
    assert total in outcomes
