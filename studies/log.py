"""The append-only event log of a study: the only truth, from which everything else is replayed.

Rule: the events are a chain of hashes (`events.py`) in a table that only grows (`log_database.py`), in a
SQLite file or in PostgreSQL. An event that `append` has returned is on the disk. When the connection to a
server is lost while events are being committed, nobody knows whether they were: once the server is back and
the lock is held again, they are looked up by their hash, and written only if they are not there and nobody
else wrote meanwhile. So an event is never doubled, and never lost once it was acknowledged.

After each commit the anchor file `head.json` is rewritten with the number and hash of the last event, and
the optional second copy (`second_copy.py`) follows. A failure of either leaves the event saved; it stands in
`EventLog.warnings` until it is made good.

What `verify` finds: an event changed, deleted, inserted or moved (`log_audit.py`). A tail cut off is found
by the anchor file. What the log alone cannot find: a log and an anchor that were both put back to an earlier
copy, or a chain that was computed anew from the changed event on (no secret goes into the hashes). Both are
found only by the second copy, or by an `Anchor` that was noted outside the folder: give it to `verify`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from studies import log_audit, storage
from studies.errors import StudyError
from studies.events import (
    GENESIS_HASH,
    Anchor,
    Entry,
    Event,
    Json,
    canonical_json,
    event_hash,
    parse_json,
)
from studies.log_audit import LogTampered
from studies.log_database import Database, open_database
from studies.second_copy import SecondCopy

__all__ = [
    "ANCHOR_NAME",
    "GENESIS_HASH",
    "Anchor",
    "Event",
    "EventLog",
    "Json",
    "LogTampered",
    "Transaction",
    "canonical_json",
    "event_hash",
    "parse_json",
]

ANCHOR_NAME = "head.json"
_LOG = logging.getLogger("blindcine.log")

Result = TypeVar("Result")


class Transaction:
    """The log while its write lock is held; made by `EventLog.transaction`."""

    def __init__(self, database: Database) -> None:
        """Wait for the lock and take it. Raises DBAPIError."""
        self._database = database
        self.head: Anchor
        """Number and hash of the last event before this transaction."""
        self._connection, self.head, self._clock_offset = database.patiently(self._take_lock)
        self._entries: list[Entry] = []
        self.appended: list[Event] = []

    def events(self, after: int = 0, expected: int = 0) -> list[Event]:
        """Return the events with numbers above `after` that were there before this transaction."""
        return self._patiently(lambda connection: _read(self._database, connection, after, expected))

    def append(self, kind: str, payload: Mapping[str, Any], actor: str) -> Event:
        """Add an event; it counts when the transaction has ended without an exception. Raises StudyError."""
        last = self._entries[-1] if self._entries else self.head
        text = canonical_json(payload)
        now = datetime.now(UTC) + self._clock_offset
        time_utc = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        sequence = last.sequence + 1
        digest = event_hash(sequence, time_utc, kind, actor, text, last.hash)
        entry = Entry(sequence, time_utc, kind, actor, text, last.hash, digest)
        event = entry.event
        self._entries.append(entry)
        self.appended.append(event)
        return event

    def commit(self) -> None:
        """Write what was appended; on return it is on the disk. Raises DBAPIError or StudyError."""
        if not self._entries:
            return
        try:
            self._database.insert(self._connection, self._entries)
            return
        except DBAPIError as error:
            self.close()
            if not self._database.lost(error):
                if self._database.read(self._is_saved):
                    return  # SQLite may report a failure although the last page of the commit was written
                raise
        try:
            self._database.patiently(self._settle)
        except DBAPIError as error:
            raise StudyError(
                f"{self._database.reason(error)} Whether the last step was saved shows when the study is "
                "opened again."
            ) from error

    def close(self) -> None:
        """Give the lock back; what was not committed is dropped."""
        self._connection.close()

    def _take_lock(self) -> tuple[Connection, Anchor, timedelta]:
        connection = self._database.connect(write=True)
        try:
            return connection, self._database.head(connection), self._database.clock_offset(connection)
        except BaseException:
            connection.close()
            raise

    def _patiently(self, action: Callable[[Connection], Result]) -> Result:
        """Do something under the lock; take the lock anew if the connection was lost meanwhile."""
        try:
            return action(self._connection)
        except DBAPIError as error:
            if not self._database.lost(error):
                raise

        def again() -> Result:
            self._return()
            return action(self._connection)

        return self._database.patiently(again)

    def _return(self) -> None:
        """Take the lock anew after the connection was lost; whoever had it before has ended by then."""
        self.close()
        self._connection, head, _ = self._take_lock()
        if head != self.head and not self._is_saved(self._connection):
            raise StudyError(
                "The connection to the study's log was lost, and somebody else wrote to it "
                "meanwhile: nothing was saved, so please do it again."
            )

    def _settle(self) -> None:
        """Find out whether a commit of unknown outcome took place; do it if not."""
        self._return()
        if not self._is_saved(self._connection):
            self._database.insert(self._connection, self._entries)

    def _is_saved(self, connection: Connection) -> bool:
        """All of a transaction's events are saved or none, so the last one tells."""
        return bool(self._entries) and self._database.holds(connection, self._entries[-1].hash)


class EventLog:
    """An event log in a SQLite file or a PostgreSQL database."""

    def __init__(
        self,
        url_or_path: str | Path,
        *,
        anchor_path: Path | None = None,
        second_copy: Path | None = None,
    ) -> None:
        """Open a log that exists; `create` makes one.

        Args:
            url_or_path: a path, a URL `sqlite:///path`, or a URL `postgresql://user@host/database?study=…`.
            anchor_path: where number and hash of the last event are kept; beside a SQLite file by default.
            second_copy: file that gets a copy of each event; none by default.

        Raises:
            StudyError: when there is no such log, or its database cannot be reached.
        """
        self._database = open_database(url_or_path)
        self._database.require()
        self._anchor_path = anchor_path or _beside(self._database)
        self._copy = None if second_copy is None else SecondCopy(second_copy)
        self._anchor_problem = ""
        self._told: tuple[str, ...] = ()
        self.on_warning: Callable[[str], None] | None = None
        """Called once with each new warning, on the thread that wrote."""

    @classmethod
    def create(
        cls,
        url_or_path: str | Path,
        *,
        anchor_path: Path | None = None,
        second_copy: Path | None = None,
    ) -> EventLog:
        """Make an empty log. Raises StudyError when it exists or cannot be made."""
        database = open_database(url_or_path)
        database.create()
        anchor_path = anchor_path or _beside(database)
        if anchor_path is not None:
            try:
                storage.write_durably(anchor_path, _anchor_content(Anchor(0, GENESIS_HASH)))
            except OSError as error:
                raise StudyError(
                    f"The event log cannot be made, for '{anchor_path}' cannot be written: {error.strerror}."
                ) from error
        return cls(database.location, anchor_path=anchor_path, second_copy=second_copy)

    @property
    def path(self) -> Path | None:
        """The log's file; None if it is in PostgreSQL."""
        return self._database.path

    @property
    def location(self) -> str:
        """The path, or the URL without a password."""
        return self._database.location

    @property
    def anchor_path(self) -> Path | None:
        """The file that holds the log's last number and hash."""
        return self._anchor_path

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be although every event is saved, one sentence each; mostly nothing."""
        problems = (self._anchor_problem, "" if self._copy is None else self._copy.problem)
        return tuple(problem for problem in problems if problem)

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
        """Hold the write lock; commit on a normal exit, drop everything on an exception.

        Raises:
            StudyError: when another process keeps the lock for longer than 30 s, the disk refuses, or a lost
                server does not come back in time. What was appended is saved or is not, never twice.
        """
        with self._reporting():
            transaction = Transaction(self._database)
            try:
                yield transaction
                transaction.commit()
            finally:
                transaction.close()
        if transaction.appended:
            self._write_anchor()
            self.catch_up()

    def events(self, after: int = 0, expected: int = 0) -> list[Event]:
        """Return the events with numbers above `after`, in order.

        Args:
            after: number of the last event already known.
            expected: the log must have at least so many events.

        Raises:
            StudyError: when the log is shorter than `expected`, or cannot be read.
        """
        with self._reporting():
            return self._database.read(lambda connection: _read(self._database, connection, after, expected))

    def catch_up(self) -> None:
        """Bring the second copy up to the log if there is one; a failure stands in `warnings`."""
        if self._copy is not None:
            self._copy.follow(self._entries)
        self._warn()

    def verify_quickly(self) -> None:
        """Verify without the second copy, which may be on a share that does not answer.

        Raises:
            LogTampered: as `verify` does; then the second copy is asked what was there.
        """
        try:
            self.verify(second_copy=False)
        except LogTampered:
            self.verify()  # raises too, and can name more

    def verify(self, noted: Anchor | None = None, *, second_copy: bool = True) -> tuple[str, ...]:
        """Check every hash, the order, the triggers, the anchor file and the second copy.

        Args:
            noted: an anchor kept elsewhere, which the log must contain.
            second_copy: False leaves the second copy out.

        Returns:
            Notes on what proves nothing but should be known: a clock set back, a second copy that is behind.

        Raises:
            LogTampered: naming what was done to which events; a StudyError.
        """
        # Anchor and copy are read first: events committed meanwhile only make the log longer than they say.
        anchor = self._read_anchor()
        copied, copy_note = self._read_copy() if second_copy else (None, ())
        with self._reporting():
            entries, missing, notes = self._database.read(
                lambda connection: (
                    self._database.entries(connection),
                    self._database.lost_protections(connection),
                    self._database.notes(connection),
                )
            )
        copy = None if copied is None else log_audit.audit(copied, where=log_audit.SECOND_COPY)
        known = ((anchor, f"'{ANCHOR_NAME}'"), (noted, "the anchor noted elsewhere"))
        anchors = [(item, source) for item, source in known if item is not None]
        audit = log_audit.audit(entries, anchors, witness=copy)
        if copy is not None:
            log_audit.compare(audit, copy)
        findings = audit.sentences + ([] if copy is None else copy.sentences)
        if anchor is None and self._anchor_path is not None:
            findings.append(
                f"'{ANCHOR_NAME}' is missing beside the event log: the log may have been cut short."
            )
        if missing:
            findings.append(
                f"The event log has lost its protection {', '.join(missing)}: it was tampered with."
            )
        if findings:
            raise LogTampered(findings)
        return (*audit.notes, *notes, *copy_note)

    def _entries(self, after: int) -> list[Entry]:
        with self._reporting():
            return self._database.read(lambda connection: self._database.entries(connection, after))

    def _read_anchor(self) -> Anchor | None:
        if self._anchor_path is None:
            return None
        try:
            fields = json.loads(self._anchor_path.read_bytes())
            return Anchor(int(fields["sequence"]), str(fields["hash"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(f"'{ANCHOR_NAME}' beside the event log cannot be read: {error}.") from error

    def _read_copy(self) -> tuple[list[Entry] | None, tuple[str, ...]]:
        if self._copy is None:
            return None, ()
        try:
            return self._copy.entries(), ()
        except OSError as error:
            note = (
                f"The second copy of the event log, '{self._copy.path}', cannot be read "
                f"({error.strerror}), so the log was not compared with it."
            )
            return None, (note,)

    def _write_anchor(self) -> None:
        """Write the newest number and hash; under the write lock, so that the anchor never goes back."""
        if self._anchor_path is None:
            return
        try:
            with self._reporting():
                transaction = Transaction(self._database)
                try:
                    storage.write_durably(self._anchor_path, _anchor_content(transaction.head))
                finally:
                    transaction.close()
            self._anchor_problem = ""
        except OSError as error:
            self._anchor_problem = (
                f"'{ANCHOR_NAME}' beside the event log cannot be written: {error.strerror}."
            )
        except StudyError as error:
            self._anchor_problem = f"'{ANCHOR_NAME}' beside the event log is not up to date: {error}"

    def _warn(self) -> None:
        """Tell each new warning once, to the program's log and to whoever listens."""
        warnings = self.warnings
        for warning in warnings:
            if warning not in self._told:
                _LOG.warning("%s", warning)
                if self.on_warning is not None:
                    self.on_warning(warning)
        self._told = warnings

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn errors of the database into one sentence."""
        try:
            yield
        except DBAPIError as error:
            raise StudyError(self._database.reason(error)) from error


def _beside(database: Database) -> Path | None:
    return None if database.path is None else database.path.with_name(ANCHOR_NAME)


def _anchor_content(anchor: Anchor) -> bytes:
    return canonical_json({"sequence": anchor.sequence, "hash": anchor.hash}).encode()


def _read(database: Database, connection: Connection, after: int, expected: int) -> list[Event]:
    entries = database.entries(connection, after)
    if not entries and expected:
        last = database.head(connection).sequence
        if last < expected:
            raise StudyError(
                f"The event log ends at event {last}, but event {expected} was there: it was cut short."
            )
    return [entry.event for entry in entries]
