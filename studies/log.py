"""The append-only event log of a study: the only truth, from which everything else is replayed.

Rule: hash(n) = SHA-256(canonical JSON of [n, time, kind, actor, payload, hash(n − 1)]), hash(0) = 64 zeros.
One SQLite table in WAL mode with synchronous FULL; triggers forbid UPDATE and DELETE; writers take turns by
BEGIN IMMEDIATE. An event that `append` has returned is on the disk.

What the chain finds: an event edited, removed, inserted or moved. A tail cut off is found by the anchor file
`head.json`, which is rewritten after each commit with the number and hash of the last event. What it cannot
find: a log and an anchor that were both put back to an earlier copy, or a chain that was computed anew from
the changed event on (no secret goes into the hashes). Both are found only by an `Anchor` that was noted
outside the folder: give it to `verify`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Row, Table, Text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from studies import storage
from studies.errors import StudyError

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

GENESIS_HASH = "0" * 64
ANCHOR_NAME = "head.json"
BUSY_TIMEOUT_S = 30.0
_LEAST_FREE_BYTES = 1 << 18
_FLOAT_TAG = "$float"
_URL_PREFIX = "sqlite:///"

_METADATA = MetaData()
_EVENTS = Table(
    "events",
    _METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("time_utc", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("previous_hash", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
)
_TRIGGERS = {
    "events_refuse_update": "CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events "
    "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
    "events_refuse_delete": "CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events "
    "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
}


@dataclass(frozen=True)
class Event:
    """One line of the log."""

    sequence: int
    """From 1, without gaps."""
    time_utc: str
    """ISO 8601 with microseconds and Z."""
    kind: str
    actor: str
    payload: dict[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class Anchor:
    """Number and hash of an event; as text `42:6f…`, to be noted outside the study's folder."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        """Return the text to note."""
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read an anchor from its text. Raises StudyError."""
        number, _, digest = text.strip().partition(":")
        if not number.isdigit() or len(digest) != len(GENESIS_HASH):
            raise StudyError(f"'{text}' is no anchor: it must look like 42:6f… with 64 hexadecimal digits.")
        return cls(int(number), digest.lower())


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII; the same on every platform.

    NumPy numbers and arrays become numbers and lists. Infinities and NaN, which JSON lacks, are tagged;
    `parse_json` brings them back.

    Raises:
        StudyError: when the value holds something that JSON cannot.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_json(text: str) -> Any:  # noqa: ANN401 - what a JSON text holds is known to the caller only
    """Read what `canonical_json` wrote. Raises ValueError when it is not JSON."""
    return json.loads(text, object_hook=_untagged)


def _plain(value: object) -> Json:
    """Return the value in dictionaries, lists, strings, numbers, booleans and None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise StudyError("A table to be stored has a key that is no text: use text keys.")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: repr(value)}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise StudyError(
        f"A value of type {type(value).__name__} cannot be stored in the log: use text, numbers and lists."
    )


def _untagged(table: dict[str, Any]) -> dict[str, Any] | float:
    return float(table[_FLOAT_TAG]) if table.keys() == {_FLOAT_TAG} else table


def _hash(sequence: int, time_utc: str, kind: str, actor: str, payload: str, previous_hash: str) -> str:
    document = canonical_json([sequence, time_utc, kind, actor, payload, previous_hash])
    return hashlib.sha256(document.encode()).hexdigest()


class Transaction:
    """The log while its write lock is held; made by `EventLog.transaction`."""

    def __init__(self, log: EventLog, connection: Connection) -> None:
        """Work on `log` through a connection that holds the write lock."""
        self._log = log
        self._connection = connection
        self.appended: list[Event] = []

    def events(self, after: int = 0, expected: int = 0) -> list[Event]:
        """Return the events with numbers above `after`, as `EventLog.events` does."""
        return self._log._read(self._connection, after, expected)

    def append(self, kind: str, payload: Mapping[str, Any], actor: str) -> Event:
        """Add an event; it counts when the transaction has ended without an exception. Raises StudyError."""
        last = self._connection.execute(
            sqlalchemy.select(_EVENTS.c.sequence, _EVENTS.c.hash).order_by(_EVENTS.c.sequence.desc()).limit(1)
        ).first()
        sequence, previous_hash = (1, GENESIS_HASH) if last is None else (last.sequence + 1, last.hash)
        text = canonical_json(payload)
        time_utc = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        digest = _hash(sequence, time_utc, kind, actor, text, previous_hash)
        self._connection.execute(
            _EVENTS.insert().values(
                sequence=sequence,
                time_utc=time_utc,
                kind=kind,
                actor=actor,
                payload=text,
                previous_hash=previous_hash,
                hash=digest,
            )
        )
        event = Event(sequence, time_utc, kind, actor, parse_json(text), previous_hash, digest)
        self.appended.append(event)
        return event


class EventLog:
    """An event log in one SQLite file."""

    def __init__(self, url_or_path: str | Path) -> None:
        """Open a log that exists; `create` makes one.

        Args:
            url_or_path: a path, or a URL `sqlite:///path`.

        Raises:
            StudyError: when there is no such file, or the URL is of another database.
        """
        self.path = _database_path(url_or_path)
        if not self.path.is_file():
            raise StudyError(f"The event log '{self.path}' does not exist.")
        self._engine = _engine(self.path)

    @classmethod
    def create(cls, url_or_path: str | Path) -> EventLog:
        """Make an empty log. Raises StudyError when the file exists or cannot be made."""
        path = _database_path(url_or_path)
        if path.exists():
            raise StudyError(f"The event log '{path}' exists already: open it instead.")
        engine = _engine(path)
        try:
            storage.write_durably(path.with_name(ANCHOR_NAME), _anchor_content(0, GENESIS_HASH))
            with engine.connect() as connection:
                # WAL is a property of the file; it cannot be set inside a transaction.
                connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
            with _begin(engine, write=True) as connection:
                _METADATA.create_all(connection)
                for statement in _TRIGGERS.values():
                    connection.exec_driver_sql(statement)
        except OperationalError as error:
            raise StudyError(f"The event log '{path}' cannot be made: {error.orig}.") from error
        except OSError as error:
            raise StudyError(f"The event log '{path}' cannot be made: {error.strerror}.") from error
        storage.sync_folder(path.parent)
        return cls(path)

    @property
    def anchor_path(self) -> Path:
        """The file beside the log that holds its last number and hash."""
        return self.path.with_name(ANCHOR_NAME)

    def append(self, kind: str, payload: Mapping[str, Any], actor: str) -> Event:
        """Add an event; on return it is on the disk.

        Args:
            kind: what happened.
            payload: JSON-ready details.
            actor: who did it.

        Raises:
            StudyError: when the payload is not JSON-ready or the log cannot be written.
        """
        with self.transaction() as transaction:
            return transaction.append(kind, payload, actor)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the write lock; commit on a normal exit, roll back on an exception.

        Raises:
            StudyError: when another process keeps the lock for longer than 30 s, or the disk refuses.
        """
        with self._reporting(), _begin(self._engine, write=True) as connection:
            transaction = Transaction(self, connection)
            yield transaction
        if transaction.appended:
            self._write_anchor()

    def events(self, after: int = 0, expected: int = 0) -> list[Event]:
        """Return the events with numbers above `after`, in order.

        Args:
            after: number of the last event already known.
            expected: the log must have at least so many events.

        Raises:
            StudyError: when the log is shorter than `expected`, or cannot be read.
        """
        with self._reporting(), _begin(self._engine, write=False) as connection:
            return self._read(connection, after, expected)

    def verify(self, noted: Anchor | None = None) -> None:
        """Check every hash, the order, the triggers and the anchor file.

        Args:
            noted: an anchor kept elsewhere, which the log must contain.

        Raises:
            StudyError: naming the first bad event.
        """
        # The anchor is read first: an event committed meanwhile can only make the log longer than it says.
        anchor = self._read_anchor()
        with self._reporting(), _begin(self._engine, write=False) as connection:
            rows = connection.execute(sqlalchemy.select(_EVENTS).order_by(_EVENTS.c.sequence)).all()
            triggers = (
                connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
                .scalars()
                .all()
            )
        previous_hash = GENESIS_HASH
        for number, row in enumerate(rows, start=1):
            _verify_row(row, number, previous_hash)
            previous_hash = row.hash
        if anchor is None:
            raise StudyError(
                f"'{ANCHOR_NAME}' is missing beside the event log: the log may have been cut short."
            )
        for known, source in ((anchor, f"'{ANCHOR_NAME}'"), (noted, "the anchor noted elsewhere")):
            _verify_anchor(rows, known, source)
        missing = set(_TRIGGERS) - set(triggers)
        if missing:
            raise StudyError(
                f"The event log has lost its protection {', '.join(sorted(missing))}: it was tampered with."
            )

    def _read(self, connection: Connection, after: int, expected: int) -> list[Event]:
        rows = connection.execute(
            sqlalchemy.select(_EVENTS).where(_EVENTS.c.sequence > after).order_by(_EVENTS.c.sequence)
        ).all()
        if not rows and expected:
            last = (
                connection.execute(sqlalchemy.select(sqlalchemy.func.max(_EVENTS.c.sequence))).scalar() or 0
            )
            if last < expected:
                raise StudyError(
                    f"The event log ends at event {last}, but event {expected} was there: it was cut short."
                )
        return [_event(row) for row in rows]

    def _read_anchor(self) -> Anchor | None:
        try:
            fields = json.loads(self.anchor_path.read_bytes())
            return Anchor(int(fields["sequence"]), str(fields["hash"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(f"'{ANCHOR_NAME}' beside the event log cannot be read: {error}.") from error

    def _write_anchor(self) -> None:
        """Write the newest number and hash; under the write lock, so that the anchor never goes back."""
        with self._reporting(), _begin(self._engine, write=True) as connection:
            last = connection.execute(
                sqlalchemy.select(_EVENTS.c.sequence, _EVENTS.c.hash)
                .order_by(_EVENTS.c.sequence.desc())
                .limit(1)
            ).one()
            try:
                storage.write_durably(self.anchor_path, _anchor_content(last.sequence, last.hash))
            except OSError as error:
                raise StudyError(
                    f"The event is saved, but '{ANCHOR_NAME}' beside the log cannot be written: "
                    f"{error.strerror}."
                ) from error

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn errors of the database into one sentence."""
        try:
            yield
        except DatabaseError as error:
            raise StudyError(self._reason(error)) from error

    def _reason(self, error: DatabaseError) -> str:
        """Say what hinders the database; its own words for the first two help nobody ("disk I/O error")."""
        folder = self.path.parent
        if not all(os.access(path, os.W_OK) for path in (folder, self.path)):
            return (
                f"The study's folder '{folder}' cannot be written to, which its event log needs even for "
                "looking at it: copy the folder to a place where you may write."
            )
        if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
            return f"The disk that holds the study's folder '{folder}' is full: make room on it first."
        return f"The event log '{self.path.name}' cannot be used: {error.orig}."


def _anchor_content(sequence: int, digest: str) -> bytes:
    return canonical_json({"sequence": sequence, "hash": digest}).encode()


def _database_path(url_or_path: str | Path) -> Path:
    text = str(url_or_path)
    if isinstance(url_or_path, str) and text.startswith(_URL_PREFIX):
        return Path(text.removeprefix(_URL_PREFIX))
    if isinstance(url_or_path, str) and "://" in text:
        raise StudyError(
            f"The event log is kept in a SQLite file, but '{text.partition(':')[0]}' was asked for."
        )
    return Path(url_or_path)


def _engine(path: Path) -> Engine:
    # No pool: between two calls no file is open, so a study's folder can be copied, moved and deleted.
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    @sqlalchemy.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by sqlite3 behind our back
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA fullfsync=ON")  # macOS: fsync alone stops at the drive's cache
        cursor.close()

    @sqlalchemy.event.listens_for(engine, "begin")
    def _start(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


@contextmanager
def _begin(engine: Engine, *, write: bool) -> Iterator[Connection]:
    with engine.connect().execution_options(write=write) as connection, connection.begin():
        yield connection


def _event(row: Row[Any]) -> Event:
    try:
        payload = parse_json(row.payload)
    except ValueError as error:
        raise StudyError(
            f"Event {row.sequence} of the log is not readable: it was changed or damaged."
        ) from error
    return Event(row.sequence, row.time_utc, row.kind, row.actor, payload, row.previous_hash, row.hash)


def _verify_row(row: Row[Any], number: int, previous_hash: str) -> None:
    if row.sequence != number:
        raise StudyError(f"Event {number} of the log is missing: event {row.sequence} stands in its place.")
    if row.previous_hash != previous_hash:
        raise StudyError(
            f"Event {number} of the log does not follow event {number - 1}: one of them was changed."
        )
    if row.hash != _hash(row.sequence, row.time_utc, row.kind, row.actor, row.payload, row.previous_hash):
        raise StudyError(f"Event {number} of the log ({row.kind}) was changed after it was written.")


def _verify_anchor(rows: Sequence[Row[Any]], anchor: Anchor | None, source: str) -> None:
    if anchor is None:
        return
    if anchor.sequence > len(rows):
        raise StudyError(
            f"The log ends at event {len(rows)}, but {source} tells of event {anchor.sequence}: it was cut "
            "short."
        )
    digest = rows[anchor.sequence - 1].hash if anchor.sequence > 0 else GENESIS_HASH
    if digest != anchor.hash:
        raise StudyError(f"Event {anchor.sequence} of the log is not the one that {source} tells of.")
