"""The code's version names the commit, and says where files differ from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from recon_backend import code_version as module
from recon_backend.cache import code_sha256
from recon_backend.code_version import code_version


def git(folder: Path, *arguments: str) -> str:
    """What Git says, with a committer of its own."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no Git on this machine")
def test_the_commit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags change nothing, an edited file does, and a folder inside a repository is not that repository."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    git(tmp_path, "tag", "v7")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    monkeypatch.setattr(module, "__version__", "0.1.0")
    assert code_version(tmp_path) == f"0.1.0+g{commit}"
    (tmp_path / "a.py").write_text("2")
    assert code_version(tmp_path) == f"0.1.0+g{commit}-dirty"
    (tmp_path / "inside").mkdir()
    assert code_version(tmp_path / "inside") == f"0.1.0+sha256.{code_sha256()[:12]}"
    monkeypatch.setattr(module, "__version__", "0+source")
    assert code_version(tmp_path) == f"0+source.g{commit}-dirty"


def test_without_git_the_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Git on the machine, or a damaged repository."""
    (tmp_path / ".git").mkdir()
    assert code_version(tmp_path).endswith(f"sha256.{code_sha256()[:12]}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version(tmp_path).endswith(f"sha256.{code_sha256()[:12]}")
