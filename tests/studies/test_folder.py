"""The files of a study beside its log: made, found, compared with what the log says, and erased."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studies.errors import StudyError
from studies.folder import StudyFolder
from studies.study import Study
from tests.studies.conftest import StudyMaker

KEY = b"k" * 32


def make(path: Path, **more: str | Path) -> StudyFolder:
    return StudyFolder.create(path, KEY, **more)  # type: ignore[arg-type]


def test_the_log_of_a_folder_is_the_one_that_was_made(tmp_path: Path) -> None:
    folder = make(tmp_path / "study")
    assert not folder.has_log
    with pytest.raises(StudyError, match="is no study folder: it has no 'events.sqlite3'"):
        folder.open_log()
    folder.create_log().append("counted", {}, "tester")
    assert folder.has_log
    log = StudyFolder(tmp_path / "study").open_log()
    assert [event.kind for event in log.events()] == ["counted"]
    assert log.anchor_path == tmp_path / "study" / "head.json"
    assert folder.second_copy is None


def test_a_folder_in_use_or_not_writable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="is not empty"):
        make(tmp_path)
    with pytest.raises(StudyError, match="No study can be made in .*"):
        make(tmp_path / "file" / "study")


def test_the_second_copy_lies_elsewhere_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written down as an absolute path; two studies may share the folder."""
    monkeypatch.chdir(tmp_path)
    copies = [make(tmp_path / name, second_copy="stick").second_copy for name in ("one", "two")]
    assert all(copy is not None and copy.parent == tmp_path / "stick" for copy in copies)
    assert copies[0] != copies[1]
    for inside in (tmp_path / "three", tmp_path / "three" / "copy"):
        with pytest.raises(StudyError, match="would lie in the study's own folder"):
            make(tmp_path / "three", second_copy=inside)
    assert not (tmp_path / "three").exists()


def test_a_second_copy_can_be_chosen_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It then gets all that was written before."""
    monkeypatch.setattr("studies.second_copy.WAIT_S", 600)
    folder = make(tmp_path / "study")
    folder.create_log().append("counted", {}, "tester")
    folder.choose_second_copy(tmp_path / "stick")
    folder.open_log().append("counted", {}, "tester")
    (copy,) = (tmp_path / "stick").iterdir()
    assert len(copy.read_bytes().splitlines()) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="No second copy can be kept in"):
        folder.choose_second_copy(tmp_path / "file")


@pytest.mark.parametrize("content", ["no JSON", "{}", "[]", '{"file": 5}'])
def test_a_damaged_note_of_the_second_copy_is_named(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path / "study", second_copy=tmp_path / "stick")
    (folder.path / "second_copy.json").write_text(content)
    with pytest.raises(StudyError, match=r"'second_copy.json' of the study cannot be read"):
        folder.create_log()


def test_a_damaged_address_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "study")
    (folder.path / "log.url").write_bytes(b"\xff\xfe")
    assert folder.has_log
    with pytest.raises(StudyError, match=r"'log.url' of the study cannot be read"):
        folder.open_log()
    (folder.path / "log.url").write_text("/somewhere/else")
    with pytest.raises(StudyError, match="is no URL"):
        folder.open_log()


def test_a_server_of_another_kind_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="'mysql' was asked for"):
        make(tmp_path / "study", log_url="mysql://server/studies")
    assert not (tmp_path / "study").exists()


def test_keys_are_read_back_compared_and_erased(tmp_path: Path) -> None:
    folder = make(tmp_path / "study")
    assert folder.draft_key() == KEY
    digest = folder.write_sealed_key(b"sealed")
    assert folder.sealed_key(digest) == b"sealed"
    with pytest.raises(StudyError, match="is not the file sealed at the lock"):
        folder.sealed_key("0" * 64)
    stray = folder.path / "movies" / "stray.h5"
    stray.write_bytes(b"")
    folder.clean_up_after_lock([])
    assert not stray.exists()
    with pytest.raises(StudyError, match=r"'draft.key' of the study cannot be read"):
        folder.draft_key()
    (folder.path / "sealed.key").unlink()
    with pytest.raises(StudyError, match=r"'sealed.key' cannot be read"):
        folder.sealed_key(digest)


def test_a_sealed_key_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "study")

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("studies.storage.write_durably", full)
    with pytest.raises(StudyError, match=r"'sealed.key' cannot be written: No space left on device"):
        folder.write_sealed_key(b"sealed")


def test_movies_that_are_gone_need_not_be_removed(tmp_path: Path) -> None:
    folder = make(tmp_path / "study")
    kept, removed = (folder.path / "movies" / f"{name}.h5" for name in ("kept", "removed"))
    kept.write_bytes(b"")
    removed.write_bytes(b"")
    for _ in range(2):
        folder.delete_movies(["removed", "never there"])
    assert (kept.exists(), removed.exists()) == (True, False)


def test_a_clip_without_movies_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "study")
    with pytest.raises(StudyError, match="Clip 'abc' has no movies yet"):
        folder.load_movies("abc", {})


def test_what_does_not_belong_among_the_movies_does_not_keep_the_study_closed(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a file that another program holds open, and no movies at all: each must be met somewhere."""
    study = make_study(scans=2, readers=["Anna"])
    movies = study.folder / "movies"
    (movies / "folder").mkdir()
    (movies / "Thumbs.db").write_bytes(b"x")
    (movies / "left over.h5").write_bytes(b"x")
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name == "Thumbs.db":
            raise PermissionError(13, "in use")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert Study.open(study.folder).progress("Anna") == (0, 2)
    assert not (movies / "left over.h5").exists()
    (movies / "Thumbs.db").rename(study.folder / "x")
    shutil.rmtree(movies)
    again = Study.open(study.folder)
    with pytest.raises(StudyError, match="cannot be read"):
        again.load_clip(again.schedule("Anna")[0])


def test_a_log_that_is_gone_is_not_made_anew_empty(make_study: StudyMaker) -> None:
    """As when a disk is unplugged: SQLite would put an empty file where the log was."""
    study = make_study(scans=2, readers=["Anna"])
    presentation = study.schedule("Anna")[0]
    log, away = study.folder / "events.sqlite3", study.folder.with_name("away.sqlite3")
    log.rename(away)
    with pytest.raises(StudyError, match="does not exist: connect its disk again"):
        study.commit_ranking("Anna", presentation, (1, 2, 3))
    with pytest.raises(StudyError, match="does not exist"):
        study.progress("Anna")
    assert not log.exists()
    away.rename(log)
    study.commit_ranking("Anna", presentation, (1, 2, 3))
    assert Study.open(study.folder).progress("Anna") == (1, 2)
