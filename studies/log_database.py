"""Where a log's events are kept: a table in a SQLite file, or one in PostgreSQL that several studies share.

Rule: the table only grows (triggers forbid everything else), writers take turns, and a commit that has
returned is on the disk. SQLite: WAL, synchronous FULL, BEGIN IMMEDIATE. PostgreSQL: an advisory lock of the
study until the end of the transaction, synchronous_commit, and the server's clock for all who write. The
study's name in the shared table is the part `study=…` of the URL; the rest of the URL goes to the server's
driver as it stands.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import BigInteger, Column, Connection, Engine, Integer, MetaData, Row, Table, Text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from studies.errors import StudyError
from studies.events import GENESIS_HASH, Anchor, Entry

BUSY_TIMEOUT_S = 30.0
RECONNECT_S = 30.0
"""How long a lost server is looked for."""
IDLE_TIMEOUT_S = 20
"""A writer that vanished with the lock loses it after this time: less than the others wait for it."""
TRIGGERS: Final = ("events_refuse_update", "events_refuse_delete")
POSTGRESQL: Final = "postgresql+psycopg"
STUDY_FIELD: Final = "study"
_RETRY_S = 0.2
_LEAST_FREE_BYTES = 1 << 18
_SQLITE_PREFIX = "sqlite:///"
_CONNECTION_DEFAULTS: Final = {
    "connect_timeout": 10,
    # A server that vanished without a word is noticed after seconds, not after hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "blindcine",
}
_COLUMNS: Final = ("sequence", "time_utc", "kind", "actor", "payload", "previous_hash", "hash")

Result = TypeVar("Result")

_FILE_TABLE = Table(
    "events",
    MetaData(),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("time_utc", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("previous_hash", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
)
_SERVER_TABLE = Table(
    "blindcine_events",
    MetaData(),
    Column("study", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("time_utc", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    sqlalchemy.UniqueConstraint("study", "previous_hash"),
    sqlalchemy.UniqueConstraint("study", "hash"),
)


class Database(ABC):
    """The table of one log; knows nothing of what the events mean."""

    path: Path | None = None
    """The file, if it is one."""

    def __init__(self, engine: Engine, table: Table) -> None:
        """Take an engine; nothing is opened yet."""
        self.engine = engine
        self.table = table
        self._rows = table.c.sequence >= 0

    @property
    @abstractmethod
    def location(self) -> str:
        """The path or URL that `open_database` takes."""

    @abstractmethod
    def create(self) -> None:
        """Make an empty log. Raises StudyError when there is one."""

    @abstractmethod
    def require(self) -> None:
        """Raise StudyError when there is no such log."""

    @abstractmethod
    def connect(self, *, write: bool) -> Connection:
        """Return a connection, for writing with the lock held; to be closed. Raises DBAPIError."""

    @abstractmethod
    def lost(self, error: DBAPIError) -> bool:
        """Tell whether an error means that the connection is gone, so that another try may succeed."""

    @abstractmethod
    def reason(self, error: DBAPIError) -> str:
        """Say in one sentence what hinders the database."""

    @abstractmethod
    def lost_protections(self, connection: Connection) -> list[str]:
        """Return the triggers that are missing or switched off."""

    def clock_offset(self, connection: Connection) -> timedelta:
        """Return how far the log's clock is ahead of this machine's."""
        return timedelta(0)

    def notes(self, connection: Connection) -> list[str]:
        """Return what in the database's set-up endangers the log."""
        return []

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Do `action`, again and again for a while as long as the connection is lost. Raises DBAPIError."""
        deadline = 0.0
        while True:
            try:
                return action()
            except DBAPIError as error:
                now = time.monotonic()
                deadline = deadline or now + RECONNECT_S
                if not self.lost(error) or now > deadline:
                    raise
            time.sleep(_RETRY_S)

    def read(self, query: Callable[[Connection], Result]) -> Result:
        """Return the answer to `query`, which only reads. Raises DBAPIError."""

        def ask() -> Result:
            with self.connect(write=False) as connection:
                return query(connection)

        return self.patiently(ask)

    def entries(self, connection: Connection, after: int = 0) -> list[Entry]:
        """Return the rows with numbers above `after`, in order."""
        columns = [self.table.c[name] for name in _COLUMNS]
        rows = connection.execute(
            sqlalchemy.select(*columns)
            .where(self._rows, self.table.c.sequence > after)
            .order_by(self.table.c.sequence)
        )
        return [_entry(row) for row in rows]

    def head(self, connection: Connection) -> Anchor:
        """Return number and hash of the last row; 0 and the genesis hash if there is none."""
        last = connection.execute(
            sqlalchemy.select(self.table.c.sequence, self.table.c.hash)
            .where(self._rows)
            .order_by(self.table.c.sequence.desc())
            .limit(1)
        ).first()
        return Anchor(0, GENESIS_HASH) if last is None else Anchor(last.sequence, last.hash)

    def holds(self, connection: Connection, digest: str) -> bool:
        """Tell whether there is a row with this hash."""
        found = connection.execute(
            sqlalchemy.select(self.table.c.sequence).where(self._rows, self.table.c.hash == digest)
        )
        return found.first() is not None

    def insert(self, connection: Connection, entries: Sequence[Entry]) -> None:
        """Add rows and commit."""
        rows = [{name: getattr(entry, name) for name in _COLUMNS} | self._more() for entry in entries]
        connection.execute(self.table.insert(), rows)
        connection.commit()

    def _more(self) -> dict[str, str]:
        return {}


class SqliteDatabase(Database):
    """A log in a file of its own."""

    def __init__(self, path: Path) -> None:
        """Take a path; the file need not exist yet."""
        super().__init__(_file_engine(path), _FILE_TABLE)
        self.path: Path = path

    @property
    def location(self) -> str:
        """The path."""
        return str(self.path)

    def require(self) -> None:
        """Raise StudyError when there is no such file."""
        if not self.path.is_file():
            raise StudyError(
                f"The event log '{self.path}' does not exist: connect its disk again, or restore it."
            )

    def create(self) -> None:
        """Make the file. Raises StudyError when it exists or cannot be made."""
        if self.path.exists():
            raise StudyError(f"The event log '{self.path}' exists already: open it instead.")
        try:
            with self.engine.connect() as connection:
                # WAL is a property of the file; it cannot be set inside a transaction.
                connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
            with self.connect(write=True) as connection:
                self.table.metadata.create_all(connection)
                for name in TRIGGERS:
                    connection.exec_driver_sql(
                        f"CREATE TRIGGER {name} BEFORE {name.rpartition('_')[2].upper()} ON events "
                        "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
                    )
                connection.commit()
        except OperationalError as error:
            raise StudyError(f"The event log '{self.path}' cannot be made: {error.orig}.") from error

    def connect(self, *, write: bool) -> Connection:
        """Open the file; for writing, wait for the lock. Raises DBAPIError; StudyError when it is gone."""
        self.require()  # SQLite would make an empty one in its place
        connection = self.engine.connect().execution_options(write=write)
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def lost(self, error: DBAPIError) -> bool:
        """A file is not lost: what failed once fails again."""
        return False

    def reason(self, error: DBAPIError) -> str:
        """Say what hinders; SQLite's own words for the first two help nobody ("disk I/O error")."""
        folder = self.path.parent
        if not all(os.access(path, os.W_OK) for path in (folder, self.path)):
            return (
                f"The study's folder '{folder}' cannot be written to, which its event log needs even for "
                "looking at it: copy the folder to a place where you may write."
            )
        full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        if full or shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
            return f"The disk that holds the study's folder '{folder}' is full: make room on it first."
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return (
                f"Another program has kept the event log '{self.path.name}' to itself for "
                f"{BUSY_TIMEOUT_S:.0f} s: close it and try again."
            )
        return f"The event log '{self.path.name}' cannot be used: {error.orig}."

    def lost_protections(self, connection: Connection) -> list[str]:
        """Return the triggers that are missing."""
        present = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return sorted(set(TRIGGERS) - set(present.scalars()))


class PostgresDatabase(Database):
    """A log in the table `blindcine_events` of a PostgreSQL database, beside those of other studies.

    A reader's account on the server needs SELECT and INSERT on the table, and no more.
    """

    def __init__(self, url: sqlalchemy.URL) -> None:
        """Take a URL with `study=…` in it; nothing is opened yet. Raises StudyError."""
        study = url.query.get(STUDY_FIELD)
        if not isinstance(study, str) or not study:
            raise StudyError(
                f"The address '{url}' of the event log does not say which study it is: "
                f"'?{STUDY_FIELD}=…' is missing."
            )
        super().__init__(_server_engine(url.difference_update_query([STUDY_FIELD])), _SERVER_TABLE)
        self._url = url
        self._study = study
        self._rows = self.table.c.study == study
        self._lock_key = int.from_bytes(
            hashlib.sha256(f"blindcine study {study}".encode()).digest()[:8], "big", signed=True
        )
        self._reached = False
        weakref.finalize(self, self.engine.dispose)

    @property
    def location(self) -> str:
        """The URL with the study, without a password."""
        return self._url.render_as_string()

    def require(self) -> None:
        """Raise StudyError when the server cannot be reached, or has no such log."""
        try:
            there = self.read(self._has_table)
        except DBAPIError as error:
            raise StudyError(self.reason(error)) from error
        if not there:
            raise StudyError(f"The PostgreSQL database {self._name} holds no study: is it the right one?")

    def create(self) -> None:
        """Make the table if this is its first study. Raises StudyError when the study has events."""
        try:
            if not self.read(self._has_table):
                self._create_table()
            if self.read(self.head).sequence:
                raise StudyError(f"The database {self._name} has a study '{self._study}' already.")
        except DBAPIError as error:
            raise StudyError(self.reason(error)) from error

    def connect(self, *, write: bool) -> Connection:
        """Connect; for writing, wait for the study's lock. Raises DBAPIError."""
        connection = self.engine.connect()
        self._reached = True
        try:
            if write:
                connection.execute(sqlalchemy.text(_PREPARE))
                connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(self._lock_key)))
            else:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def lost(self, error: DBAPIError) -> bool:
        """The connection broke, or a server that was there does not answer now."""
        unreachable = self._reached and isinstance(error, OperationalError) and _state(error) in _NO_STATE
        return error.connection_invalidated or unreachable

    def reason(self, error: DBAPIError) -> str:
        """Say what the server said, or that it said nothing."""
        words = " ".join(str(error.orig).split())
        if error.connection_invalidated or _state(error) in _NO_STATE:
            return (
                f"The PostgreSQL database {self._name} of the event log cannot be reached ({words}): "
                "check the connection, the account and its password, and try again."
            )
        if _state(error) == _LOCK_TIMEOUT:
            return (
                f"Another program has kept the event log in {self._name} to itself for "
                f"{BUSY_TIMEOUT_S:.0f} s: close it and try again."
            )
        return f"The event log in the PostgreSQL database {self._name} cannot be used: {words}."

    def clock_offset(self, connection: Connection) -> timedelta:
        """Return how far the server's clock is ahead of this machine's."""
        now = connection.execute(sqlalchemy.text("SELECT clock_timestamp()")).scalar_one()
        return now.astimezone(UTC) - datetime.now(UTC)

    def lost_protections(self, connection: Connection) -> list[str]:
        """Return the triggers that are missing or do not fire in every session."""
        present = connection.execute(
            sqlalchemy.text(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND tgenabled = 'A'"
            ),
            {"table": self.table.name},
        )
        return sorted(set(TRIGGERS) - set(present.scalars()))

    def notes(self, connection: Connection) -> list[str]:
        """Return a warning if the server does not wait for its disk."""
        settings = ("fsync", "full_page_writes")
        off = [
            name
            for name in settings
            if connection.execute(sqlalchemy.text(f"SHOW {name}")).scalar_one() == "off"
        ]
        return [
            f"The PostgreSQL server runs with {name} = off: a power cut there can lose what was committed."
            for name in off
        ]

    @property
    def _name(self) -> str:
        return f"'{self._url.host or self._url.query.get('host') or 'local'}/{self._url.database or ''}'"

    def _more(self) -> dict[str, str]:
        return {"study": self._study}

    def _has_table(self, connection: Connection) -> bool:
        return sqlalchemy.inspect(connection).has_table(self.table.name)

    def _create_table(self) -> None:
        with self.connect(write=True) as connection:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({_TABLE_LOCK})"))
            if not self._has_table(connection):
                self.table.metadata.create_all(connection, checkfirst=False)
                for statement in _SERVER_TRIGGERS:
                    connection.exec_driver_sql(statement)
            connection.commit()


_TABLE_LOCK = 0x626C696E64
_LOCK_TIMEOUT = "55P03"
# No state: the server was not reached. 57P03: it is starting or stopping. 53300: too many connections.
_NO_STATE = (None, "57P03", "53300")
_PREPARE = f"""
SELECT set_config('lock_timeout', '{BUSY_TIMEOUT_S:.0f}s', true),
    set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_S}s', true),
    set_config('synchronous_commit',
        coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), true)
"""
_SERVER_TRIGGERS = (
    "CREATE OR REPLACE FUNCTION blindcine_events_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$",
    "CREATE TRIGGER events_refuse_update BEFORE UPDATE ON blindcine_events "
    "FOR EACH STATEMENT EXECUTE FUNCTION blindcine_events_refuse()",
    "CREATE TRIGGER events_refuse_delete BEFORE DELETE OR TRUNCATE ON blindcine_events "
    "FOR EACH STATEMENT EXECUTE FUNCTION blindcine_events_refuse()",
    "ALTER TABLE blindcine_events ENABLE ALWAYS TRIGGER events_refuse_update",
    "ALTER TABLE blindcine_events ENABLE ALWAYS TRIGGER events_refuse_delete",
)


def open_database(url_or_path: str | Path) -> Database:
    """Return the database of a path, of `sqlite:///path`, or of a PostgreSQL URL. Raises StudyError."""
    text = str(url_or_path)
    if isinstance(url_or_path, Path) or "://" not in text:
        return SqliteDatabase(Path(url_or_path))
    if text.startswith(_SQLITE_PREFIX):
        return SqliteDatabase(Path(text.removeprefix(_SQLITE_PREFIX)))
    return PostgresDatabase(server_url(text))


def server_url(text: str, study: str | None = None) -> sqlalchemy.URL:
    """Return a PostgreSQL URL in its one form.

    Args:
        text: for example `postgresql://ada@server/studies`.
        study: written into the URL unless it names a study already.

    Raises:
        StudyError: for another database, a password, or what is no URL.
    """
    try:
        url = sqlalchemy.make_url(text)
    except (ArgumentError, ValueError):
        raise StudyError(
            "The address of the event log is no URL: write it like postgresql://user@server/database."
        ) from None
    if url.drivername not in ("postgresql", "postgres", POSTGRESQL):
        raise StudyError(
            f"The event log is kept in a SQLite file or in PostgreSQL, but '{url.drivername}' was asked for."
        )
    if url.password is not None or "password" in url.query:
        raise StudyError(
            "The address of the event log holds a password: leave it out, and put it into the variable "
            "PGPASSWORD or the file ~/.pgpass."
        )
    url = url.set(drivername=POSTGRESQL)
    if study is not None and STUDY_FIELD not in url.query:
        url = url.update_query_dict({STUDY_FIELD: study})
    return url


def _entry(row: Row[Any]) -> Entry:
    """Take a row as it is; what is no text was put there by somebody else, and no hash will fit it."""
    texts = [str(value) for value in tuple(row)[1:]]
    return Entry(row.sequence, *texts)


def _state(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _file_engine(path: Path) -> Engine:
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


def _server_engine(url: sqlalchemy.URL) -> Engine:
    defaults = {name: value for name, value in _CONNECTION_DEFAULTS.items() if name not in url.query}
    try:
        # The head is read after the lock was got, so it must not come from a snapshot taken before.
        return sqlalchemy.create_engine(
            url, isolation_level="READ COMMITTED", pool_size=1, max_overflow=8, connect_args=defaults
        )
    except ModuleNotFoundError as error:
        raise StudyError(
            f"The study's log is in PostgreSQL, for which the Python package '{error.name}' is missing: "
            "pip install 'psycopg[binary]'."
        ) from error
