"""Durable files: a file is replaced as a whole or not at all, and is on the disk when the call returns.

Rule: write a temporary file in the same folder, flush and fsync it, rename it over the old one, fsync the
folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".part"
_LOCKED_BYTE = 1 << 30


def sync_folder(folder: Path) -> None:
    """Wait until the entries of `folder` are on the disk; Windows offers no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_beside(path: Path) -> Path:
    """Return an unused name in the folder of `path`, so that a rename to `path` stays on one file system."""
    return path.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` into `path`, durable on return; others see the old file or the new. Raises OSError."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def erase(path: Path) -> None:
    """Overwrite `path` with zeros and remove it; a missing file is no error.

    This is as much as a program can do: copies in backups, snapshots of the file system and the spare blocks
    of a solid-state disk are out of its reach.
    """
    try:
        size = path.stat().st_size
        with path.open("r+b") as stream:
            stream.write(bytes(size))
            stream.flush()
            os.fsync(stream.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


@contextlib.contextmanager
def alone(stream: BinaryIO) -> Iterator[None]:
    """Wait until no other process is in here with the same file; ends with the process at the latest."""
    if sys.platform == "win32":
        import msvcrt

        # A byte far behind the end, for nobody can read what is locked.
        stream.seek(_LOCKED_BYTE)
        msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            stream.seek(_LOCKED_BYTE)
            msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
