"""Durable files: a file is replaced as a whole or not at all, and is on the disk when the call returns.

Rule: write a temporary file in the same folder, fsync it, rename it over the old one, fsync the folder.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the `with` block a temporary path to write, and move it to `path` when the block ends well.

    Args:
        path: what is replaced; its folder is made if it is not there.

    Yields:
        An unused path in the same folder. If the block raises, what it wrote is removed and `path` stays as
        it was.

    Raises:
        OSError: the disk refuses, or the block wrote nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` into `path`; others see the old file or the new. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk; Windows offers no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
