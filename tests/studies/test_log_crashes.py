"""Killed processes, full disks, read-only folders, clocks set back: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import studies.log
from studies import second_copy
from studies.log import EventLog
from studies.study import Study

REPOSITORY = Path(studies.__file__).parents[1]
ROUNDS = 200

# One process imports all that a reader's needs, once, and makes the readers' processes from itself.
READERS = """
import os, sys
from studies.study import Study

def tell(text):
    os.write(1, (text + "\\n").encode())

def read():
    study = Study.open(sys.argv[1])
    tell("begun")
    for reader in study.readers:
        while (item := study.next_presentation(reader)) is not None:
            study.commit_ranking(reader, item, [1, 2, 3])
            tell(f"saved {reader}/{item.presentation_id}")
    tell("finished")

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        read()
        os._exit(0)
    tell(f"child {child}")
    os.waitpid(child, 0)
    tell("dead")
"""


def rankings(study: Study, after: int) -> list[str]:
    """The rankings that the log holds after an event."""
    events = [event for event in study._log.events(after) if event.kind == "ranking_committed"]
    return [f"{event.actor}/{event.payload['presentation_id']}" for event in events]


def test_killed_at_random_moments_no_ranking_is_lost_or_doubled(
    make_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process acknowledged before it was killed is there, once; at most one more was on its way.

    Each round another process goes on where the killed one was; it checks the whole chain when it begins.
    """
    study = make_study(
        scans=6, readers=[f"Reader {number}" for number in range(90)], second_copy=tmp_path / "stick"
    )
    monkeypatch.setattr(second_copy, "WAIT_S", 600)
    moments = random.Random(5)
    seconds = commit_seconds(study)
    known, done, unacknowledged = study.head.sequence, rankings(study, 0), 0
    with subprocess.Popen(
        [sys.executable, "-c", READERS, str(study.folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        for _ in range(ROUNDS):
            process.stdin.write("go\n")
            process.stdin.flush()
            child, begun, saved = 0, False, []
            for line in process.stdout:
                word, _, rest = line.strip().partition(" ")
                assert word in ("child", "begun", "saved") or (child and begun), f"the reader told '{line}'"
                if word == "saved":
                    saved.append(rest)
                elif word == "dead":
                    break
                child, begun = (int(rest) if word == "child" else child), begun or word == "begun"
                if child > 0 and begun:
                    time.sleep(moments.uniform(0, 2 * seconds))
                    os.kill(child, signal.SIGKILL)
                    child = -1
            found = rankings(study, known)
            assert found[: len(saved)] == saved
            assert len(found) - len(saved) <= 1
            unacknowledged += len(found) - len(saved)
            known, done = study.head.sequence, done + found
        process.stdin.close()
    assert max(Counter(done).values()) == 1
    assert len(done) > ROUNDS / 10, "next to nothing was saved: the moments were too early"
    assert 0 < unacknowledged < ROUNDS, "no kill came between a commit and its acknowledgement"
    again = Study.open(study.folder)
    assert rankings(again, 0) == done
    assert (again.verify(), again.warnings) == ((), ())
    (copy,) = (tmp_path / "stick").iterdir()
    copied = [json.loads(line)["sequence"] for line in copy.read_bytes().splitlines()]
    assert copied == list(range(1, known + 1))


def commit_seconds(study: Study) -> float:
    """How long a commit takes here, so that the moments are spread over all of it."""
    reader = study.readers[-1]
    taken = []
    for item in study.schedule(reader)[:3]:
        start = time.perf_counter()
        study.commit_ranking(reader, item, [1, 2, 3])
        taken.append(time.perf_counter() - start)
    return min(taken)


FILLING = """
import json, resource, signal, sys
from studies.errors import StudyError
from studies.log import EventLog

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = EventLog(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
saved, refused, told = [], 0, set()
for kilobytes in (150, 300, 450):
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, most))
    for attempt in range(120):
        payload = {"attempt": attempt, "words": "x" * (137 * attempt % 15000)}
        try:
            saved.append(log.append("counted", payload, "filler").hash)
        except StudyError as error:
            refused += 1
            told.add(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    saved.append(log.append("counted", {}, "filler").hash)
print(json.dumps({"saved": saved, "refused": refused, "told": sorted(told)}))
"""


def test_a_disk_that_is_full_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """Three times files may not grow any more, wherever in a commit that strikes; then there is room."""
    log = EventLog.create(tmp_path / "events.sqlite3")
    answer = subprocess.run(
        [sys.executable, "-c", FILLING, str(log.path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(answer.stdout)
    assert told["refused"] > 20
    assert len(told["saved"]) > 20
    assert all("event log" in sentence or "is full" in sentence for sentence in told["told"])
    assert [event.hash for event in log.events()] == told["saved"]
    assert log.verify() == ()


LOCKED_OUT = """
import json, os, sys
from studies.errors import StudyError
from studies.log import EventLog

log = EventLog(sys.argv[1])
log.verify()
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
told = []
for attempt in (lambda: log.append("counted", {}, "tester"), log.events, log.verify):
    try:
        attempt()
    except StudyError as error:
        told.append(str(error))
print(json.dumps(told))
"""


def test_a_folder_that_became_read_only_is_named_and_left_as_it_is() -> None:
    """By a process that may not do what the superuser may."""
    with tempfile.TemporaryDirectory(prefix="bclog") as name:
        folder = Path(name)
        log = EventLog.create(folder / "events.sqlite3")
        log.append("counted", {}, "tester")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            answer = subprocess.run(
                [sys.executable, "-c", LOCKED_OUT, str(log.path)],
                cwd=REPOSITORY,
                check=True,
                capture_output=True,
                text=True,
            )
        finally:
            folder.chmod(0o755)
        told = json.loads(answer.stdout)
        assert len(told) == 3
        assert all("cannot be written to" in sentence and str(folder) in sentence for sentence in told)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        log.verify()


class Clock(datetime):
    """The machine's clock, which somebody sets back."""

    behind = timedelta(0)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) - cls.behind


def test_a_clock_set_back_disturbs_no_reading_and_is_noted(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies.log, "datetime", Clock)
    monkeypatch.setattr(Clock, "behind", timedelta(0))
    study = make_study(scans=4, readers=["Anna"])
    for hours, item in enumerate(study.schedule("Anna")):
        monkeypatch.setattr(Clock, "behind", timedelta(hours=30 * min(hours, 2)))
        study.commit_ranking("Anna", item, [1, 2, 3], seconds=40)
        assert study.break_due("Anna") is None
    assert study.progress("Anna") == (4, 4)
    again = Study.open(study.folder)
    assert [record.time_utc for record in again.rankings] == [record.time_utc for record in study.rankings]
    first, second = again.verify()
    assert "(ranking_committed by Anna at " in first
    assert "before the event that it follows: the clock was set back." in first
    assert int(second.split()[1]) == int(first.split()[1]) + 1
