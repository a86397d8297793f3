"""Durable files: order of the steps, and what a failure leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from studies import storage


def test_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File synchronised, then renamed, then the folder synchronised: for a power cut's sake."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    storage.write_durably(tmp_path / "a", b"one")
    assert steps == ["file", "rename", "folder"]
    assert (tmp_path / "a").read_bytes() == b"one"


def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the worst moment."""
    path = tmp_path / "a"
    storage.write_durably(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        storage.write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_synchronised_but_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has no such call, and would refuse to open a folder."""
    storage.sync_folder(tmp_path)
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError):
        storage.sync_folder(missing)
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        storage.sync_folder(missing)


def test_erased_file_is_overwritten_first(tmp_path: Path) -> None:
    """A second name of the same file still shows what is left of the content: zeros."""
    path, second_name = tmp_path / "key", tmp_path / "second"
    path.write_bytes(b"secret")
    os.link(path, second_name)
    storage.erase(path)
    assert not path.exists()
    assert second_name.read_bytes() == bytes(6)
    storage.erase(path)
