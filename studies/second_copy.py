"""A second copy of a log's events: a file of JSON lines in another folder, on another disk at best.

Rule: the copy follows the log and never leads it. Each line is an event as the log stores it, with the same
hashes; lines are only added, each addition is synchronised to the disk, and a line that a power cut tore is
written anew. The copy is written on a thread of its own, for which a commit waits a short while only: a disk
that is full, gone or hanging costs the log nothing, and when it is back the copy catches up. A copy that
does not continue into the log is left as it is, for then one of the two was tampered with.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from studies import storage
from studies.errors import StudyError
from studies.events import GENESIS_HASH, Anchor, Entry, canonical_json

WAIT_S = 3.0
"""How long a commit waits for its copy."""
_BLOCK_BYTES = 1 << 16
_FIELDS = ("sequence", "time_utc", "kind", "actor", "payload", "previous_hash", "hash")


class SecondCopy:
    """The copy in one file.

    Args:
        path: the file; its folder must be there whenever something is written.
    """

    def __init__(self, path: Path) -> None:
        """Take a path; nothing is read or written."""
        self.path = path
        self._problem = ""
        self._thread: threading.Thread | None = None
        self._hangs = False
        self._guard = threading.Lock()

    def follow(self, entries_after: Callable[[int], Sequence[Entry]]) -> None:
        """Bring the copy up to the log; waits a short while only, and tells `problem` instead of raising.

        Args:
            entries_after: returns the log's entries with numbers above the given one; called on a thread.
        """
        with self._guard:
            # A thread that was waited for in vain once is not waited for again.
            if not self._finished(0.0 if self._hangs else WAIT_S):
                self._hangs = True
                return
            self._thread = threading.Thread(
                target=self._run, args=(entries_after,), name="second copy", daemon=True
            )
            self._thread.start()
            self._hangs = not self._finished(WAIT_S)

    @property
    def problem(self) -> str:
        """Why the copy is not up to date, in one sentence; empty when it is."""
        if self._hangs and not self._finished(0.0):
            return (
                f"The second copy of the event log, '{self.path}', does not answer: it catches up when it "
                "does."
            )
        return self._problem

    def entries(self) -> list[Entry]:
        """Return what the copy holds; a torn last line is left out.

        Raises:
            OSError: the file cannot be read.
            StudyError: a line is not one of a copy.
        """
        lines = self.path.read_bytes().split(b"\n")
        return [self._entry(line, number) for number, line in enumerate(lines[:-1], start=1)]

    def _finished(self, wait_s: float) -> bool:
        if self._thread is None:
            return True
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self, entries_after: Callable[[int], Sequence[Entry]]) -> None:
        try:
            self._catch_up(entries_after)
        except StudyError as error:
            self._problem = str(error)
        except OSError as error:
            self._problem = (
                f"The second copy of the event log, '{self.path}', cannot be written: "
                f"{error.strerror}; it catches up when it can be."
            )
        else:
            self._problem = ""

    def _catch_up(self, entries_after: Callable[[int], Sequence[Entry]]) -> None:
        with self.path.open("a+b") as stream, storage.alone(stream):
            last, end = self._last(stream)
            # The last line of the copy is asked for too: the log must hold it, else the two have parted.
            entries = entries_after(max(last.sequence - 1, 0))
            missing = entries[1:] if last.sequence else entries
            if last.sequence and [entry.hash for entry in entries[:1]] != [last.hash]:
                raise StudyError(
                    f"The second copy of the event log, '{self.path}', tells of an event "
                    f"{last.sequence} that the log does not have: nothing was added to the copy; "
                    "verify the study."
                )
            if end != stream.seek(0, os.SEEK_END):
                stream.truncate(end)
            if missing:
                stream.write(b"".join(_line(entry) for entry in missing))
                stream.flush()
                os.fsync(stream.fileno())
        if not last.sequence:
            storage.sync_folder(self.path.parent)

    def _last(self, stream: BinaryIO) -> tuple[Anchor, int]:
        """Return number and hash of the last whole line, and where it ends in bytes."""
        start = stream.seek(0, os.SEEK_END)
        tail = b""
        # Up to the line feed before the last whole line, or to the beginning of the file.
        while start > 0 and tail.count(b"\n") < 2:
            size = min(_BLOCK_BYTES, start)
            start = stream.seek(start - size)
            tail = stream.read(size) + tail
        whole = tail[: tail.rfind(b"\n") + 1]
        if not whole:
            return Anchor(0, GENESIS_HASH), 0
        entry = self._entry(whole[:-1].rpartition(b"\n")[2], 0)
        return Anchor(entry.sequence, entry.hash), start + len(whole)

    def _entry(self, line: bytes, number: int) -> Entry:
        try:
            fields = json.loads(line)
            entry = Entry(*(fields[name] for name in _FIELDS))
        except (ValueError, KeyError, TypeError):
            entry = None
        if (
            entry is None
            or not isinstance(entry.sequence, int)
            or not all(isinstance(getattr(entry, name), str) for name in _FIELDS[1:])
        ):
            raise StudyError(
                f"{f'Line {number}' if number else 'The last line'} of the second copy of the event log, "
                f"'{self.path}', is not an event: the copy was changed or damaged."
            )
        return entry


def _line(entry: Entry) -> bytes:
    return canonical_json({name: getattr(entry, name) for name in _FIELDS}).encode() + b"\n"
