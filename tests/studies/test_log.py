"""The event log: chain, durability, tampering, several processes."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

import studies
from studies.errors import StudyError
from studies.events import Entry
from studies.log import Anchor, EventLog, canonical_json, parse_json

REPOSITORY = Path(studies.__file__).parents[1]

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    """A log of five events."""
    log = EventLog.create(tmp_path / "events.sqlite3")
    for number in range(5):
        log.append("counted", {"number": number, "word": "ü"}, "tester")
    return log


def unprotected(log: EventLog) -> sqlite3.Connection:
    """Open the file as a tamperer would, triggers dropped."""
    connection = sqlite3.connect(log.path)
    connection.execute("DROP TRIGGER events_refuse_update")
    connection.execute("DROP TRIGGER events_refuse_delete")
    return connection


def change(log: EventLog, *statements: str) -> None:
    """Tamper with the file, then put the triggers back so that only the chain can tell."""
    connection = sqlite3.connect(log.path)
    triggers = [row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
    connection.close()
    connection = unprotected(log)
    for statement in (*statements, *triggers):
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_events_come_back_in_order(log: EventLog) -> None:
    """What was appended is what is read, by this object and by a new one."""
    events = EventLog(log.path).events()
    assert [event.payload["number"] for event in events] == [0, 1, 2, 3, 4]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert {event.actor for event in events} == {"tester"}
    assert [event.time_utc for event in events] == sorted(event.time_utc for event in events)
    assert [event.sequence for event in log.events(after=3)] == [4, 5]
    log.verify()


def test_hash_is_the_one_documented(log: EventLog) -> None:
    """The chain computed anew with hashlib and json alone."""
    previous = "0" * 64
    for event in log.events():
        payload = json.dumps(event.payload, sort_keys=True, separators=(",", ":"))
        fields = [event.sequence, event.time_utc, event.kind, event.actor, payload, previous]
        previous = hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()
        assert event.hash == previous


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (
            ["UPDATE events SET payload = replace(payload, '2', '7') WHERE sequence = 3"],
            "Event 3 .* was changed",
        ),
        (["UPDATE events SET actor = 'other' WHERE sequence = 5"], "Event 5 .* was changed"),
        (
            ["UPDATE events SET time_utc = '2020-01-01T00:00:00.000000Z' WHERE sequence = 1"],
            "Event 1 .* was changed",
        ),
        (["DELETE FROM events WHERE sequence = 2"], "Event 2 of the log, .* is missing: it was deleted"),
        (["DELETE FROM events WHERE sequence = 1"], "Event 1 of the log, .* is missing: it was deleted"),
        (["UPDATE events SET payload = x'ff' WHERE sequence = 2"], "Event 2 .* was changed"),
        (
            [
                "INSERT INTO events SELECT 6, time_utc, 'forged', actor, payload, 'x', 'y' FROM events "
                "WHERE sequence = 5"
            ],
            r"Event 6 of the log \(forged by tester at .*\) was",
        ),
        (
            [
                "DELETE FROM events WHERE sequence = 2",
                "UPDATE events SET sequence = sequence - 1 WHERE sequence > 2",
            ],
            "Event 2 of the log, .* is missing: it was deleted",
        ),
        (
            [
                "UPDATE events SET sequence = 99 WHERE sequence = 3",
                "UPDATE events SET sequence = 3 WHERE sequence = 4",
                "UPDATE events SET sequence = 4 WHERE sequence = 99",
            ],
            "Event 4 of the log .* was moved: it stands in place 3",
        ),
        (["DELETE FROM events WHERE sequence >= 4"], "ends at event 3, but 'head.json' tells of event 5"),
        (["DELETE FROM events"], "ends at event 0"),
    ],
)
def test_tampering_is_found(log: EventLog, statements: list[str], message: str) -> None:
    """Edit, delete, insert, reorder and cut in the file itself; all their kinds are in test_log_audit."""
    change(log, *statements)
    with pytest.raises(StudyError, match=message):
        log.verify()


def test_tail_and_anchor_put_back_are_found_by_a_noted_anchor_only(log: EventLog, tmp_path: Path) -> None:
    """The limit that log.py states: an older copy of both files is sound in itself."""
    older = tmp_path / "older"
    older.mkdir()
    for path in (log.path, log.anchor_path):
        shutil.copy(path, older)
    last = log.append("counted", {"number": 5}, "tester")
    noted = Anchor.parse(str(Anchor(last.sequence, last.hash)))
    log.verify(noted)
    for path in (log.path, log.anchor_path):
        shutil.copy(older / path.name, path)
    log.verify()
    with pytest.raises(StudyError, match="the anchor noted elsewhere tells of event 6"):
        log.verify(noted)
    replaced = log.append("counted", {"number": 55}, "tester")
    assert replaced.sequence == noted.sequence
    log.verify()
    with pytest.raises(StudyError, match=r"Event 6 of the log \(.*\) is not the one"):
        log.verify(noted)


def test_lost_anchor_and_lost_triggers_are_found(log: EventLog) -> None:
    """Both protections are themselves watched."""
    unprotected(log).close()
    with pytest.raises(StudyError, match="events_refuse_delete, events_refuse_update"):
        log.verify()
    log.anchor_path.unlink()
    with pytest.raises(StudyError, match=r"'head.json' is missing"):
        log.verify()


def test_anchor_behind_the_log_is_sound(log: EventLog) -> None:
    """A kill between commit and anchor leaves the anchor one event behind."""
    anchor = log.anchor_path.read_bytes()
    log.append("counted", {"number": 5}, "tester")
    log.anchor_path.write_bytes(anchor)
    log.verify()
    log.append("counted", {"number": 6}, "tester")
    assert json.loads(log.anchor_path.read_bytes())["sequence"] == 7


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET actor = 'x'", "DELETE FROM events WHERE sequence = 5"]
)
def test_the_database_itself_refuses_changes(log: EventLog, statement: str) -> None:
    """Append-only holds for other programs too."""
    connection = sqlite3.connect(log.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    log.verify()


def test_an_exception_in_a_transaction_leaves_nothing(log: EventLog) -> None:
    """All of a transaction or nothing, and the lock is free afterwards."""
    with pytest.raises(ZeroDivisionError), log.transaction() as transaction:
        transaction.append("counted", {"number": 5}, "tester")
        raise ZeroDivisionError
    assert len(log.events()) == 5
    assert log.append("counted", {}, "tester").sequence == 6
    log.verify()


def test_file_is_in_wal_mode(log: EventLog) -> None:
    """WAL is what lets readers read while somebody commits."""
    connection = sqlite3.connect(log.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_commits_wait_for_the_disk(log: EventLog) -> None:
    """Synchronous FULL (2) on the connections of the log itself, or a power cut may undo a commit."""
    with log._database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_damaged_file_is_one_sentence(tmp_path: Path, log: EventLog) -> None:
    """Not SQLite, missing, or of another database."""
    log.path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StudyError, match="cannot be used"):
        log.events()
    with pytest.raises(StudyError, match="does not exist"):
        EventLog(tmp_path / "none.sqlite3")
    with pytest.raises(StudyError, match="'mysql' was asked for"):
        EventLog("mysql://host/study")
    with pytest.raises(StudyError, match="exists already"):
        EventLog.create(log.path)


def test_a_log_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder for it, or no room for its anchor."""
    with pytest.raises(StudyError, match="cannot be made: unable to open"):
        EventLog.create(tmp_path / "none" / "events.sqlite3")

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("studies.storage.write_durably", full)
    with pytest.raises(StudyError, match="cannot be made, for .*head.json' cannot be written: No space left"):
        EventLog.create(tmp_path / "events.sqlite3")


def test_an_anchor_that_cannot_be_written_is_a_warning_and_the_event_is_saved(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once, to the log of the program and to whoever listens; the next commit makes it good."""

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    told: list[str] = []
    log.on_warning = told.append
    with monkeypatch.context() as patch:
        patch.setattr("studies.storage.write_durably", full)
        for _ in range(2):
            log.append("counted", {}, "tester")
            assert log.warnings == (
                "'head.json' beside the event log cannot be written: No space left on device.",
            )
    assert told == list(log.warnings) == [record.message for record in caplog.records]
    log.verify()
    log.append("counted", {}, "tester")
    assert log.warnings == ()
    assert json.loads(log.anchor_path.read_bytes())["sequence"] == 8


def test_an_anchor_that_is_no_anchor_is_named(log: EventLog) -> None:
    for content in ("{}", "[1]", "no JSON"):
        log.anchor_path.write_text(content)
        with pytest.raises(StudyError, match=r"'head.json' beside the event log cannot be read"):
            log.verify()
    for text in ("", "5", "five:" + "a" * 64, "5:abc"):
        with pytest.raises(StudyError, match="is no anchor"):
            Anchor.parse(text)


def test_an_anchor_that_another_process_keeps_from_being_written_is_a_warning(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is taken by somebody between the commit and the anchor, and not given back."""
    monkeypatch.setattr("studies.log_database.BUSY_TIMEOUT_S", 0.1)
    log = EventLog(log.path)
    holder = sqlite3.connect(log.path, isolation_level=None)
    write_anchor = log._write_anchor

    def late() -> None:
        holder.execute("BEGIN IMMEDIATE")
        write_anchor()

    monkeypatch.setattr(log, "_write_anchor", late)
    assert log.append("counted", {}, "tester").sequence == 6
    (warning,) = log.warnings
    assert warning.startswith("'head.json' beside the event log is not up to date: Another program has kept")
    with pytest.raises(StudyError, match="Another program has kept the event log 'events.sqlite3'"):
        log.append("counted", {}, "tester")
    holder.close()
    log.verify()


def test_a_commit_reported_as_failed_but_written_is_not_doubled(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite reports a failed synchronisation of pages that a later recovery may find complete."""
    insert = log._database.insert
    outcome = {"written": True}

    def failing(connection: Connection, entries: list[Entry]) -> None:
        if outcome["written"]:
            insert(connection, entries)
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(log._database, "insert", failing)
    assert log.append("counted", {"number": 5}, "tester").sequence == 6
    outcome["written"] = False
    with pytest.raises(StudyError, match="disk I/O error"):
        log.append("counted", {"number": 6}, "tester")
    monkeypatch.undo()
    assert [event.payload["number"] for event in log.events(after=5)] == [5]
    log.append("counted", {"number": 6}, "tester")
    log.verify()


def test_an_error_under_the_lock_gives_the_lock_back(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the lock is being taken, and while the transaction reads."""

    def broken(_connection: Connection, _after: int = 0) -> None:
        raise OperationalError("SELECT", None, sqlite3.OperationalError("disk I/O error"))

    for method in ("head", "entries"):
        with monkeypatch.context() as patch:
            patch.setattr(log._database, method, broken)
            with pytest.raises(StudyError, match="disk I/O error"), log.transaction() as transaction:
                transaction.events()
        holder = sqlite3.connect(log.path, isolation_level=None, timeout=0)
        holder.execute("BEGIN IMMEDIATE")
        holder.close()
    log.append("counted", {}, "tester")
    log.verify()


def test_a_log_that_became_shorter_is_told_to_who_knew_it_longer(log: EventLog) -> None:
    assert log.events(after=5, expected=5) == []
    with pytest.raises(StudyError, match="ends at event 5, but event 6 was there: it was cut short"):
        log.events(after=6, expected=6)


def test_an_event_that_is_no_json_is_named(log: EventLog) -> None:
    change(log, "UPDATE events SET payload = 'no JSON' WHERE sequence = 4")
    with pytest.raises(StudyError, match="Event 4 of the log is not readable"):
        log.events()


def test_url_of_a_file_is_taken(log: EventLog) -> None:
    """`sqlite:///path` is the same log."""
    assert EventLog(f"sqlite:///{log.path}").events() == log.events()


@given(JSON_VALUES)
def test_canonical_json_comes_back(value: object) -> None:
    """Text and value determine each other; infinities too."""
    text = canonical_json(value)
    assert parse_json(text) == value
    assert canonical_json(parse_json(text)) == text
    assert text.isascii()


def test_numpy_values_are_taken_and_others_refused() -> None:
    """Measurements come as NumPy numbers."""
    text = canonical_json(
        {"a": np.float64(0.5), "b": np.arange(2), "c": [math.inf, np.int32(3), np.bool_(True)]}
    )
    assert parse_json(text) == {"a": 0.5, "b": [0, 1], "c": [math.inf, 3, True]}
    assert math.isnan(parse_json(canonical_json(math.nan)))
    for bad in ({1: "number as key"}, {"set"}, b"bytes", 1j):
        with pytest.raises(StudyError):
            canonical_json(bad)


WRITER = """
import sys
from studies.log import EventLog
log = EventLog(sys.argv[1])
for number in range(int(sys.argv[3])):
    log.append("counted", {"number": number}, sys.argv[2])
"""


def test_two_processes_append_to_one_log(log: EventLog) -> None:
    """No event is lost, none doubled, and the chain holds."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(log.path), name, "25"], cwd=REPOSITORY)
        for name in ("first", "second")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    log.verify()
    events = log.events(after=5)
    assert len(events) == 50
    for name in ("first", "second"):
        assert [event.payload["number"] for event in events if event.actor == name] == list(range(25))
    assert json.loads(log.anchor_path.read_bytes())["sequence"] == 55


def test_a_folder_that_cannot_be_written_to_is_named(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.path.write_bytes(b"no database" * 500)
    monkeypatch.setattr("studies.log_database.os.access", lambda path, _mode: path != log.path.parent)
    with pytest.raises(StudyError, match="cannot be written to.*copy the folder"):
        log.events()


def test_a_full_disk_is_named(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.path.write_bytes(b"no database" * 500)
    usage = shutil.disk_usage(log.path.parent)._replace(free=4096)
    monkeypatch.setattr("studies.log_database.shutil.disk_usage", lambda _path: usage)
    with pytest.raises(StudyError, match="is full"):
        log.events()
