"""Durable files: a file is replaced as a whole or not at all, and is on the disk when the call returns.

Rule: write a temporary file in the same folder, flush and fsync it, rename it over the old one, fsync the
folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

TEMPORARY_SUFFIX = ".part"


def sync_file(path: Path) -> None:
    """Wait until the content of `path` is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
