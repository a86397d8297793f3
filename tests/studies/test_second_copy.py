"""The second copy of the log: it follows, it never hinders, it catches up, and it bears witness."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import studies
from studies import second_copy
from studies.errors import StudyError
from studies.log import EventLog, LogTampered
from studies.study import Study

REPOSITORY = Path(studies.__file__).parents[1]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the copy however slow the disk is, but where a test says otherwise."""
    monkeypatch.setattr(second_copy, "WAIT_S", 600)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The file of the copy, in a folder that is there."""
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick" / "events.jsonl"


@pytest.fixture
def log(tmp_path: Path, copy: Path) -> EventLog:
    """A log of five events with a copy."""
    (tmp_path / "study").mkdir()
    log = EventLog.create(tmp_path / "study" / "events.sqlite3", second_copy=copy)
    for number in range(5):
        log.append("counted", {"number": number, "word": "ü\n"}, "tester")
    return log


def numbers(copy: Path) -> list[int]:
    return [json.loads(line)["sequence"] for line in copy.read_bytes().splitlines()]


def test_each_event_is_in_the_copy_on_return_and_its_chain_can_be_checked_by_itself(
    log: EventLog, copy: Path
) -> None:
    """With hashlib and json alone."""
    previous = "0" * 64
    for event, line in zip(log.events(), copy.read_text(encoding="ascii").splitlines(), strict=True):
        row = json.loads(line)
        assert json.loads(row["payload"]) == event.payload
        fields = [row[name] for name in ("sequence", "time_utc", "kind", "actor", "payload")]
        previous = hashlib.sha256(json.dumps([*fields, previous], separators=(",", ":")).encode()).hexdigest()
        assert row["hash"] == event.hash == previous
    assert log.verify() == ()
    assert log.warnings == ()


def test_a_line_is_synchronised_to_the_disk(
    log: EventLog, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised: list[tuple[int, int]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synchronised.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    log.append("counted", {}, "tester")
    assert (copy.stat().st_ino, copy.stat().st_size) in synchronised


def test_a_copy_that_is_gone_hinders_nothing_and_catches_up(
    log: EventLog, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The stick is pulled out, put back as it was, and later another one is put in."""
    told: list[str] = []
    log.on_warning = told.append
    away = copy.parent.with_name("away")
    copy.parent.rename(away)
    for number in range(5, 7):
        log.append("counted", {"number": number}, "tester")
    (warning,) = log.warnings
    assert "cannot be written: No such file or directory" in warning
    assert told == [warning] == [record.message for record in caplog.records]
    assert "cannot be read (No such file or directory)" in log.verify()[0]
    assert not copy.parent.exists(), "a folder where a stick should be hides that it is missing"
    away.rename(copy.parent)
    assert "ends at event 5 of 7" in log.verify()[0]
    log.append("counted", {"number": 7}, "tester")
    assert (log.warnings, numbers(copy), log.verify()) == ((), [1, 2, 3, 4, 5, 6, 7, 8], ())
    shutil.rmtree(copy.parent)
    copy.parent.mkdir()
    EventLog(log.path, second_copy=copy).catch_up()
    assert numbers(copy) == [1, 2, 3, 4, 5, 6, 7, 8]
    log.verify()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_a_full_disk_under_the_copy_hinders_nothing(log: EventLog, copy: Path) -> None:
    """/dev/full refuses every byte, as a full disk does."""
    copy.rename(copy.with_suffix(".old"))
    copy.symlink_to("/dev/full")
    assert log.append("counted", {"number": 5}, "tester").sequence == 6
    (warning,) = log.warnings
    assert "cannot be written: No space left on device" in warning
    copy.unlink()
    copy.with_suffix(".old").rename(copy)
    log.catch_up()
    assert (log.warnings, numbers(copy), log.verify()) == ((), [1, 2, 3, 4, 5, 6], ())


def test_a_copy_that_hangs_is_waited_for_once(
    log: EventLog, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a share whose server has gone; while it hangs, commits go on without it."""
    monkeypatch.setattr(second_copy, "WAIT_S", 0.05)
    released, waits = threading.Event(), []
    sync = os.fsync
    join = threading.Thread.join

    def hanging(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == copy.stat().st_ino:
            released.wait()
        sync(descriptor)

    def watched_join(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "second copy" and thread.is_alive():
            waits.append(timeout)
        join(thread, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", hanging)
        patch.setattr(threading.Thread, "join", watched_join)
        for number in range(5, 9):
            log.append("counted", {"number": number}, "tester")
            (warning,) = log.warnings
            assert "does not answer" in warning
        assert [wait for wait in waits if wait] == [0.05]
        released.set()
    assert log._copy is not None and log._copy._thread is not None
    log._copy._thread.join()
    monkeypatch.setattr(second_copy, "WAIT_S", 600)
    log.catch_up()
    assert (log.warnings, numbers(copy), log.verify()) == ((), list(range(1, 10)), ())


@pytest.mark.parametrize("block", [16, 1 << 16])
@pytest.mark.parametrize("torn", [1, 40, "all but one byte"])
def test_a_torn_last_line_is_written_anew(
    log: EventLog, copy: Path, monkeypatch: pytest.MonkeyPatch, block: int, torn: int | str
) -> None:
    """What a power cut leaves; found also when the line is longer than what is read at once."""
    monkeypatch.setattr(second_copy, "_BLOCK_BYTES", block)
    lines = copy.read_bytes().splitlines(keepends=True)
    kept = torn if isinstance(torn, int) else len(lines[4]) - 1
    copy.write_bytes(b"".join(lines[:4]) + lines[4][:kept])
    assert "ends at event 4 of 5" in log.verify()[0]
    log.append("counted", {"number": 5}, "tester")
    assert (numbers(copy), log.verify()) == ([1, 2, 3, 4, 5, 6], ())
    assert copy.read_bytes().startswith(b"".join(lines))
    copy.write_bytes(lines[0][:20])
    log.catch_up()
    assert (numbers(copy), log.verify()) == ([1, 2, 3, 4, 5, 6], ())


def cut_log(log: EventLog, length: int) -> None:
    """Put the log and its anchor back to an earlier time, without a trace."""
    assert log.path is not None and log.anchor_path is not None
    connection = sqlite3.connect(log.path)
    trigger = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'events_refuse_delete'"
    ).fetchone()
    connection.execute("DROP TRIGGER events_refuse_delete")
    connection.execute("DELETE FROM events WHERE sequence > ?", (length,))
    connection.execute(trigger[0])
    connection.commit()
    connection.close()
    head = log.events()[-1]
    log.anchor_path.write_text(json.dumps({"sequence": head.sequence, "hash": head.hash}))


def test_a_log_put_back_is_found_by_its_copy_which_stays_as_it_is(log: EventLog, copy: Path) -> None:
    """Nothing else can find it; what is written afterwards must not hide it."""
    cut_log(log, 3)
    with pytest.raises(LogTampered, match=r"tells of event 5 \(counted by tester at .*\): it was cut short"):
        log.verify()
    before = copy.read_bytes()
    EventLog(log.path).verify()
    for number in range(3):
        log.append("counted", {"number": number}, "somebody")
        (warning,) = log.warnings
        assert "that the log does not have: nothing was added to the copy; verify the study" in warning
    assert copy.read_bytes() == before
    EventLog(log.path).verify()
    with pytest.raises(LogTampered, match=r"Event 4 of the log \(counted by somebody at .*\) is another one"):
        log.verify()


def test_a_changed_copy_is_named(log: EventLog, copy: Path) -> None:
    content = copy.read_text()
    copy.write_text(content.replace('{\\"number\\":2', '{\\"number\\":7'))
    with pytest.raises(
        LogTampered, match=r"Event 3 of the second copy \(counted by tester at .*\) was changed"
    ):
        log.verify()
    for bad in ("no JSON\n", "[]\n", '{"sequence":1}\n', content.replace('"sequence":4', '"sequence":"4"')):
        copy.write_text(content.splitlines()[0] + "\n" + bad)
        with pytest.raises(
            StudyError, match=r"Line \d of the second copy of the event log, .* is not an event"
        ):
            log.verify()
    copy.write_text("no JSON\n")
    log.append("counted", {}, "tester")
    assert "The last line of the second copy" in log.warnings[0]
    assert copy.read_text() == "no JSON\n"


WRITER = """
import sys
from pathlib import Path
from studies import second_copy
from studies.log import EventLog
second_copy.WAIT_S = 600
log = EventLog(sys.argv[1], second_copy=Path(sys.argv[2]))
for number in range(15):
    log.append("counted", {"number": number}, sys.argv[3])
    assert not log.warnings, log.warnings
"""


def test_two_processes_write_one_copy(log: EventLog, copy: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(log.path), str(copy), name], cwd=REPOSITORY)
        for name in ("first", "second")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert numbers(copy) == list(range(1, 36))
    assert log.verify() == ()


def test_the_copy_is_not_written_while_another_process_does(
    log: EventLog, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that add the same line at once would double it."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(second_copy, "WAIT_S", 0.05)
    with copy.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        log.append("counted", {"number": 5}, "tester")
        assert "does not answer" in log.warnings[0]
        assert numbers(copy) == [1, 2, 3, 4, 5]
    assert log._copy is not None and log._copy._thread is not None
    log._copy._thread.join()
    assert (log.warnings, numbers(copy)) == ((), [1, 2, 3, 4, 5, 6])


def test_windows_locks_a_byte_that_nobody_reads(
    copy: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a locked byte cannot be read, so it must lie behind the end, and be the one given back."""
    calls: list[tuple[str, int, int]] = []

    def locking(descriptor: int, mode: str, count: int) -> None:
        calls.append((mode, os.lseek(descriptor, 0, os.SEEK_CUR), count))

    windows = SimpleNamespace(LK_LOCK="lock", LK_UNLCK="unlock", locking=locking)
    (entry,) = log._entries(4)
    following = replace(entry, sequence=6, previous_hash=entry.hash)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setitem(sys.modules, "msvcrt", windows)
        second_copy.SecondCopy(copy)._catch_up(lambda _after: [entry, following])
    assert numbers(copy) == [1, 2, 3, 4, 5, 6]
    (first, place, one), (last, same_place, same) = calls
    assert (first, one, last, same) == ("lock", 1, "unlock", 1)
    assert place == same_place > 1000 * copy.stat().st_size


def test_a_study_with_a_second_copy(make_study: Callable[..., Study], tmp_path: Path) -> None:
    """From the first event to the unblinding, and after opening it again."""
    study = make_study(scans=2, readers=["Anna"], second_copy=tmp_path / "stick")
    (copy,) = (tmp_path / "stick").iterdir()
    again = Study.open(study.folder)
    while (item := again.next_presentation("Anna")) is not None:
        again.commit_ranking("Anna", item, [1, 2, 3])
    assert numbers(copy) == list(range(1, study.head.sequence + 1))
    assert (again.warnings, again.verify()) == ((), ())
    kept = copy.read_bytes()
    assert not any(name in kept for name in (b"compressed_sensing", b"dl_natural", b"meas_heart"))
    copy.unlink()
    assert "cannot be read" in again.verify()[0]
    Study.open(study.folder)
    assert copy.read_bytes() == kept


def test_opening_a_study_names_what_was_deleted_by_its_second_copy(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(scans=2, second_copy=tmp_path / "stick")
    connection = sqlite3.connect(study.folder / "events.sqlite3")
    trigger = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'events_refuse_delete'"
    ).fetchone()
    connection.execute("DROP TRIGGER events_refuse_delete")
    connection.execute("DELETE FROM events WHERE sequence = 3")
    connection.execute(trigger[0])
    connection.commit()
    connection.close()
    with pytest.raises(
        LogTampered, match=r"Event 3 of the log \(movies_attached by coordinator at .*, as the"
    ):
        Study.open(study.folder)
