"""Files are replaced whole or not at all, whatever happens in between."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recon_backend.storage import replacing, write_durably


def test_content_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("recon_backend.storage.os.replace", refuse)
    with pytest.raises(PermissionError):
        write_durably(tmp_path / "file.bin", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_durably(tmp_path / "file.bin", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.bin").stat().st_mode) == 0o640


def test_a_long_name_keeps_its_temporary_name_within_the_file_systems_limit(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    write_durably(path, b"x")
    assert path.read_bytes() == b"x"
