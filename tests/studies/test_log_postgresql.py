"""The log in PostgreSQL, on a real server started here: many readers at once, and a server that dies."""

from __future__ import annotations

import builtins
import itertools
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

import studies.log
from studies import log_database
from studies.errors import StudyError
from studies.log import Anchor, EventLog, LogTampered, Transaction
from studies.study import Study

REPOSITORY = Path(studies.__file__).parents[1]
REQUIRED = "BLINDCINE_POSTGRESQL"
COORDINATOR, READER = "coordinator", "reader"


def server_program(name: str) -> Path | None:
    """Find one of the server's programs, which Debian keeps out of the search path."""
    found = shutil.which(name)
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return Path(found) if found else beside[-1] if beside else None


class Server:
    """A PostgreSQL server of our own: its data in a folder, one socket in that folder, no port."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder
        # The server refuses to run as root.
        accounts = {account.pw_name for account in pwd.getpwall()}
        self.user = None if os.geteuid() else "postgres" if "postgres" in accounts else "nobody"
        if self.user:
            shutil.chown(folder, self.user)
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)
        subprocess.run(
            [
                str(server_program("initdb")),
                *(
                    "--pgdata",
                    str(folder / "data"),
                    "--username",
                    COORDINATOR,
                    "--no-sync",
                    "--no-instructions",
                ),
                *("--auth", "scram-sha-256", "--pwfile", str(folder / "password")),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            check=True,
            capture_output=True,
            user=self.user,
            cwd=folder,
        )
        self.url = f"postgresql://{COORDINATOR}@/postgres?host={folder}"
        self.start()

    def start(self) -> None:
        settings = ("listen_addresses=", "shared_buffers=16MB", "max_connections=40", "autovacuum=off")
        options = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    str(server_program("postgres")),
                    *("-D", str(self.folder / "data"), "-k", str(self.folder), *options),
                ],
                stdout=output,
                stderr=output,
                user=self.user,
                cwd=self.folder,
            )
        for _ in range(600):
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        """Kill the server and the processes that serve the connections, all at one blow."""
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for process in (main, *map(int, children)):
            os.kill(process, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)

    def do(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url.replace("/postgres?", f"/{database}?"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A running server; missing programs are an error where they are required, as in CI."""
    if server_program("initdb") is None:
        assert not os.environ.get(REQUIRED), "PostgreSQL's server is required here, and is not installed"
        pytest.skip("PostgreSQL's server is not installed")
    password = secrets.token_hex(8)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="bcpg") as folder:
        patch.setenv("PGPASSWORD", password)
        server = Server(Path(folder), password)
        server.do(f"CREATE ROLE {READER} LOGIN PASSWORD '{password}'")
        yield server
        server.stop()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """The URL of a new study in a database of its own."""
    name = f"d{secrets.token_hex(4)}"
    server.do(f"CREATE DATABASE {name}")
    yield server.url.replace("/postgres?", f"/{name}?") + "&study=first"
    server.do(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def log(url: str, tmp_path: Path) -> EventLog:
    """A log of five events."""
    log = EventLog.create(url, anchor_path=tmp_path / "head.json")
    for number in range(5):
        log.append("counted", {"number": number, "word": "ü\0"}, "tester")
    return log


def database_of(log: EventLog) -> str:
    return str(sqlalchemy.make_url(log.location).database)


def run_sql(log: EventLog, *statements: str) -> None:
    url = sqlalchemy.make_url(log.location).difference_update_query(["study"]).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


# One log


def test_events_come_back_in_order_and_the_chain_is_the_same_as_in_a_file(
    log: EventLog, tmp_path: Path
) -> None:
    """Copied row by row into SQLite, the log verifies there."""
    events = EventLog(log.location).events()
    assert [event.payload for event in events] == [{"number": number, "word": "ü\0"} for number in range(5)]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [event.sequence for event in log.events(after=3)] == [4, 5]
    assert log.verify(Anchor(5, events[-1].hash)) == ()
    file = EventLog.create(tmp_path / "events.sqlite3")
    entries = log._entries(0)
    with file._database.connect(write=True) as connection:
        file._database.insert(connection, entries)
    file.verify(Anchor(5, events[-1].hash))
    assert file.events() == events


def test_several_studies_share_a_database(log: EventLog) -> None:
    other = EventLog.create(log.location.replace("study=first", "study=second"))
    other.append("counted", {"other": True}, "somebody")
    log.append("counted", {"number": 5}, "tester")
    assert [event.payload for event in other.events()] == [{"other": True}]
    assert len(log.events()) == 6
    log.verify()
    other.verify()
    with pytest.raises(StudyError, match="has a study 'first' already"):
        EventLog.create(log.location)


def test_two_first_studies_at_once_make_one_table(log: EventLog) -> None:
    """Who comes second finds the table there when it gets the lock."""
    log._database._create_table()
    assert len(log.events()) == 5
    log.verify()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE blindcine_events SET actor = 'x'", "DELETE FROM blindcine_events", "TRUNCATE blindcine_events"],
)
def test_the_database_itself_refuses_changes(log: EventLog, statement: str) -> None:
    """Also where a session switched off all ordinary triggers."""
    for setting in ("SET session_replication_role = origin", "SET session_replication_role = replica"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            run_sql(log, setting, statement)
    log.verify()


def test_tampering_and_a_trigger_switched_off_are_found(log: EventLog) -> None:
    run_sql(
        log,
        "ALTER TABLE blindcine_events DISABLE TRIGGER events_refuse_update",
        "UPDATE blindcine_events SET actor = 'x' WHERE sequence = 3",
    )
    with pytest.raises(LogTampered) as caught:
        log.verify()
    changed, protection = caught.value.findings
    assert changed.startswith("Event 3 of the log (counted by x at ")
    assert protection == "The event log has lost its protection events_refuse_update: it was tampered with."


def test_a_readers_account_can_add_and_look_but_nothing_else(log: EventLog) -> None:
    run_sql(log, f"GRANT SELECT, INSERT ON blindcine_events TO {READER}")
    reader = EventLog(log.location.replace(f"{COORDINATOR}@", f"{READER}@"))
    assert reader.append("counted", {}, "reader").sequence == 6
    reader.verify()
    for statement in (
        "DROP TRIGGER events_refuse_delete ON blindcine_events",
        "DELETE FROM blindcine_events",
    ):
        with reader._database.engine.connect() as connection, pytest.raises(sqlalchemy.exc.ProgrammingError):
            connection.exec_driver_sql(statement)
    run_sql(log, f"REVOKE INSERT ON blindcine_events FROM {READER}")
    with pytest.raises(StudyError, match="cannot be used: permission denied"):
        reader.append("counted", {}, "reader")


class LateClock(datetime):
    """A machine's clock that is a day late."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) - timedelta(days=1)


def test_times_are_the_servers(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers whose clocks disagree, and a session with a time zone of its own."""
    monkeypatch.setattr(studies.log, "datetime", LateClock)
    monkeypatch.setattr(log_database, "datetime", LateClock)
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    event = EventLog(log.location).append("counted", {}, "late")
    age = datetime.now(UTC) - datetime.fromisoformat(event.time_utc)
    assert timedelta(hours=-1) < age < timedelta(hours=1)
    assert event.time_utc.endswith("Z")
    assert log.verify() == ()


def test_commits_wait_for_the_disk_whatever_the_account_says(log: EventLog, server: Server) -> None:
    name = database_of(log)
    server.do(f"ALTER DATABASE {name} SET synchronous_commit = off")
    fresh = EventLog(log.location)
    transaction = Transaction(fresh._database)
    asked = sqlalchemy.text("SHOW synchronous_commit")
    assert transaction._connection.execute(asked).scalar_one() == "on"
    transaction.close()
    with fresh._database.connect(write=False) as connection:
        assert connection.execute(asked).scalar_one() == "off"


def test_a_server_that_does_not_wait_for_its_disk_is_noted(log: EventLog) -> None:
    run_sql(log, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    try:
        for _ in range(100):
            notes = log.verify()
            if notes:
                break
            time.sleep(0.1)
        assert "fsync = off" in notes[0]
    finally:
        run_sql(log, "ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")


# Addresses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mysql://host/db?study=a", "'mysql' was asked for"),
        ("postgresql+asyncpg://host/db?study=a", "was asked for"),
        ("postgresql://ada:secret@host/db?study=a", "holds a password"),
        ("postgresql://host/db?study=a&password=secret", "holds a password"),
        ("postgresql://host/db", r"'\?study=…' is missing"),
        ("postgresql://host:port/db?study=a", "is no URL"),
        ("://", "is no URL"),
    ],
)
def test_addresses_that_will_not_do(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        EventLog(text)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_a_wrong_database_and_no_server_are_one_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudyError, match="'.*/postgres' holds no study"):
        EventLog(f"{server.url}&study=a")
    with pytest.raises(StudyError, match="cannot be reached"):
        EventLog.create(f"postgresql://ada@/db?host={tmp_path}&study=a")
    with pytest.raises(StudyError, match="cannot be reached"):
        EventLog(f"postgresql://ada@/db?host={tmp_path}&study=a")
    true_import = builtins.__import__

    def no_driver(name: str, *arguments: object, **more: object) -> object:
        if name.partition(".")[0] == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return true_import(name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_driver)
    with pytest.raises(StudyError, match=r"'psycopg' is missing: pip install 'psycopg\[binary\]'"):
        EventLog("postgresql://host/db?study=a")


# A connection that is lost


def sever(log: EventLog) -> None:
    """Let the server end every connection to the log's database but this one."""
    run_sql(
        log,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        f"WHERE datname = '{database_of(log)}' AND pid <> pg_backend_pid()",
    )


def test_a_connection_lost_between_two_calls_is_made_anew(log: EventLog) -> None:
    assert len(log.events()) == 5
    sever(log)
    assert len(log.events()) == 5
    sever(log)
    assert log.append("counted", {}, "tester").sequence == 6
    log.verify()


def test_a_connection_lost_within_a_transaction_is_made_anew(log: EventLog) -> None:
    with log.transaction() as transaction:
        sever(log)
        assert len(transaction.events()) == 5
        transaction.append("counted", {"number": 5}, "tester")
        sever(log)
        transaction.append("counted", {"number": 6}, "tester")
    assert [event.payload["number"] for event in log.events()] == [0, 1, 2, 3, 4, 5, 6]
    log.verify()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_of_unknown_outcome_is_looked_up(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The connection breaks just before the server commits, or just before its answer comes."""
    database = log._database
    insert, cut = database.insert, []

    def interrupted(connection: sqlalchemy.Connection, entries: list[log_database.Entry]) -> None:
        if not cut:
            cut.append(True)
            if when == "after":
                insert(connection, entries)
                # Something to be interrupted at, now that all is committed.
                sever(log)
                connection.execute(sqlalchemy.text("SELECT 1"))
            else:
                sever(log)
        insert(connection, entries)

    monkeypatch.setattr(database, "insert", interrupted)
    event = log.append("counted", {"number": 5}, "tester")
    assert cut
    assert log.events(after=5) == [event]
    log.verify()


def test_what_was_lost_is_refused_when_somebody_else_wrote_meanwhile(log: EventLog) -> None:
    """Then the checks made before no longer hold; nothing is written, and it can be done again."""
    other = EventLog(log.location)
    with pytest.raises(StudyError, match="somebody else wrote to it meanwhile: nothing was saved"):
        with log.transaction() as transaction:
            transaction.append("counted", {"number": 5}, "tester")
            sever(log)
            other.append("counted", {"number": 6}, "other")
    assert [event.payload["number"] for event in log.events(after=5)] == [6]
    with pytest.raises(StudyError, match="somebody else"):
        with log.transaction() as transaction:
            sever(log)
            other.append("counted", {"number": 7}, "other")
            transaction.events()
    log.append("counted", {"number": 5}, "tester")
    log.verify()


def test_a_writer_that_vanished_with_the_lock_is_not_waited_for_for_ever(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends its session after a while; should it live after all, it takes the lock again."""
    monkeypatch.setattr(log_database, "_PREPARE", log_database._PREPARE.replace("'20s'", "'300ms'"))
    with log.transaction() as asleep:
        event = EventLog(log.location).append("counted", {"number": 5}, "awake")
        assert event.sequence == 6
        with pytest.raises(StudyError, match="somebody else"):
            asleep.events()
    with log.transaction() as asleep:
        run_sql(log, "SELECT pg_sleep(0.8)")
        asleep.append("counted", {"number": 6}, "asleep")
    assert [item.actor for item in log.events(after=5)] == ["awake", "asleep"]
    log.verify()


def test_a_lock_that_is_never_given_back_is_one_sentence(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_database, "_PREPARE", log_database._PREPARE.replace("'30s'", "'200ms'"))
    with log.transaction():
        with pytest.raises(StudyError, match="Another program has kept the event log"):
            EventLog(log.location).append("counted", {}, "tester")


def test_a_server_that_stays_away_is_given_up(
    log: EventLog, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_database, "RECONNECT_S", 0.5)
    transaction = log.transaction()
    with pytest.raises(StudyError, match="cannot be reached"):
        with transaction as open_transaction:
            open_transaction.append("counted", {"number": 5}, "tester")
            server.stop()
    with pytest.raises(StudyError, match="cannot be reached"):
        log.events()
    server.start()
    assert len(log.events()) == 5
    log.verify()


# Studies

# One process imports what a reader's needs, once, and makes the readers' processes from itself.
READERS = """
import os, sys
from studies.errors import StudyError
from studies.study import Study

def tell(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

def read(reader):
    study = Study.open(sys.argv[1], role="reader", person=reader)
    tell(reader, "ready")
    os.read(0, 1)
    while (item := study.next_presentation(reader)) is not None:
        try:
            study.commit_ranking(reader, item, [1, 2, 2])
        except StudyError as error:
            tell(reader, "refused", str(error))
        else:
            tell(reader, "saved", item.presentation_id)

children = []
for reader in sys.argv[2:]:
    children.append(os.fork())
    if children[-1] == 0:
        read(reader)
        os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


class Readers:
    """Eight readers at work, each in a process of their own, with an account that can only add and look."""

    def __init__(self, study: Study) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READERS, str(study.folder), *study.readers],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PGUSER": READER},
        )
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.saved: list[tuple[str, str]] = []
        self.refused: list[str] = []
        ready = {self.stdout.readline() for _ in study.readers}
        assert ready == {f"{reader} ready\n" for reader in study.readers}
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()
        self.stdin.write("g" * len(study.readers))
        self.stdin.flush()

    def _listen(self) -> None:
        for line in self.stdout:
            reader, kind, rest = line.strip().split(" ", 2)
            if kind == "saved":
                self.saved.append((reader, rest))
            else:
                self.refused.append(rest)

    def wait_for(self, count: int) -> None:
        """Wait until so many rankings were acknowledged."""
        while len(self.saved) < count:
            assert self.process.poll() is None
            time.sleep(0.005)

    def finish(self) -> None:
        self.stdin.close()
        self.listener.join()
        assert self.process.wait() == 0
        self.stdout.close()


@pytest.fixture
def shared_study(url: str, make_study: Callable[..., Study]) -> Study:
    """A locked study of six scans and eight readers, whose accounts may add to the log and look at it."""
    # No user in the address: each reader's own comes from the environment.
    address = url.partition("&study")[0].replace(f"{COORDINATOR}@", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", COORDINATOR)
        study = make_study(scans=6, readers=[f"Reader-{letter}" for letter in "ABCDEFGH"], log_url=address)
        run_sql(EventLog(url), f"GRANT SELECT, INSERT ON blindcine_events TO {READER}")
    return study


def check_rankings(study: Study, readers: Readers) -> None:
    """Every ranking is there once, whatever was acknowledged is there, and the chain holds."""
    assert study.verify() == ()
    wanted = {
        (reader, item.presentation_id): 1 for reader in study.readers for item in study.schedule(reader)
    }
    committed = [event for event in study.events if event.kind == "ranking_committed"]
    assert Counter((event.actor, event.payload["presentation_id"]) for event in committed) == wanted
    assert set(readers.saved) <= set(wanted)
    assert json.loads((study.folder / "head.json").read_bytes())["sequence"] == study.head.sequence


def test_eight_readers_at_once(shared_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", COORDINATOR)
    readers = Readers(shared_study)
    readers.finish()
    assert readers.refused == []
    assert len(readers.saved) == 48
    check_rankings(Study.open(shared_study.folder), readers)
    actors = [event.actor for event in shared_study.events if event.kind == "ranking_committed"]
    assert len(list(itertools.groupby(actors))) > 8, "the readers did not read at the same time"


def test_eight_readers_and_a_server_that_is_killed_twice(
    shared_study: Study, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes are killed while rankings are being committed; the readers notice a pause."""
    monkeypatch.setenv("PGUSER", COORDINATOR)
    readers = Readers(shared_study)
    for count in (8, 24):
        readers.wait_for(count)
        server.kill()
        server.start()
    readers.finish()
    for refusal in readers.refused:
        assert "nothing was saved" in refusal or "cannot be reached" in refusal
    check_rankings(Study.open(shared_study.folder), readers)


def test_the_folder_holds_the_address_without_a_password(
    shared_study: Study, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no log; the address lets anybody in who has an account."""
    monkeypatch.setenv("PGUSER", COORDINATOR)
    address = sqlalchemy.make_url((shared_study.folder / "log.url").read_text())
    assert (address.drivername, address.username, address.password) == ("postgresql+psycopg", None, None)
    assert len(str(address.query["study"])) == 32
    assert not (shared_study.folder / "events.sqlite3").exists()
    password = os.environ["PGPASSWORD"].encode()
    files = [path for path in shared_study.folder.rglob("*") if path.is_file()]
    assert not any(password in path.read_bytes() for path in files)
    assert Study.open(shared_study.folder).phase == "reading"
    with pytest.raises(StudyError, match="holds a password"):
        Study.create(shared_study.folder.parent / "other", name="Other", log_url=url.replace("@", ":secret@"))
    assert not (shared_study.folder.parent / "other").exists()
