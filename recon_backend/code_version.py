"""Which code this is, to the commit: a release number says too little about how a model was trained."""

from __future__ import annotations

import subprocess
from pathlib import Path

from recon_backend import __version__
from recon_backend.cache import code_sha256

_ROOT = Path(__file__).resolve().parents[1]
_LONGEST_WAIT_S = 20


def code_version(root: Path = _ROOT) -> str:
    """Version and commit, as `0.1.0+g0123456789ab`, with `-dirty` where tracked files differ from it.

    Outside a Git checkout, or without Git, the beginning of the source's SHA-256 takes the commit's place:
    `0.1.0+sha256.0123456789ab`.

    Args:
        root: folder that holds the packages.
    """
    identity = _commit(root) or f"sha256.{code_sha256()[:12]}"
    return f"{__version__}{'.' if '+' in __version__ else '+'}{identity}"


def _commit(root: Path) -> str | None:
    if not (root / ".git").exists():  # of a repository further up the code is no part
        return None
    # `--match` of no tag: always the commit.
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--match", ""]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_WAIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"g{told.stdout.strip()}" if told.stdout.strip() else None
