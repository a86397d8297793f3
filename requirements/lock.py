"""Compile the hashed locks in this folder from `pyproject.toml` (a maintainer's tool; needs `uv`).

Rule: every lock is complete for its purpose, and all locks agree: they are compiled against one common
resolution of all extras, so that `reader` ⊂ `recon` ⊂ `test` and `recon` ⊂ `train` with equal versions. A
lock holds versions, environment markers and hashes for Python 3.11 to 3.13 on Linux, macOS and Windows, and
no index address. Usage: `python requirements/lock.py [--upgrade]`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parent / "pyproject.toml"
EXTRAS = {"reader": (), "recon": ("recon",), "train": ("train",), "test": ("test",)}
# The build backend, so that the checkout itself is installed offline and without an isolated build; and the
# last release with wheels for Intel Macs, on which readers still work.
FURTHER = """setuptools>=77
cryptography<49; sys_platform == 'darwin' and platform_machine == 'x86_64'
"""
OPTIONS = (
    "--universal",
    "--python-version=3.11",
    "--fork-strategy=fewest",
    "--no-emit-index-url",
    "--no-annotate",
    "--no-header",
    "--no-sources",
    "--quiet",
)


def compile_lock(output: Path, extras: tuple[str, ...], constraints: Path | None, upgrade: bool) -> None:
    """Resolve the base dependencies and `extras` into `output`, within `constraints` where given."""
    with tempfile.TemporaryDirectory() as folder:
        further = Path(folder) / "further.in"
        further.write_text(FURTHER, encoding="utf-8")
        command = ["uv", "pip", "compile", *OPTIONS, "--generate-hashes", str(PROJECT), str(further)]
        command += [f"--extra={name}" for name in extras]
        command += ["--constraints", str(constraints)] if constraints else []
        command += ["--upgrade"] if upgrade else []
        command += ["--output-file", str(output)]
        subprocess.run(command, check=True, cwd=FOLDER.parent, stdout=subprocess.DEVNULL)
    if re.search(r"https?://|--(extra-)?index-url|--find-links", output.read_text(encoding="utf-8")):
        raise SystemExit(
            f"{output.name}: the lock names an index address; remove it from uv's configuration."
        )


def main() -> None:
    """Compile the common resolution and, within it, one lock for each purpose."""
    upgrade = "--upgrade" in sys.argv[1:]
    common = FOLDER / "test.txt"
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder) / "everything.txt"
        if common.exists() and not upgrade:
            everything.write_text(common.read_text(encoding="utf-8"), encoding="utf-8")
        compile_lock(
            everything, tuple({name for extras in EXTRAS.values() for name in extras}), None, upgrade
        )
        for name, extras in EXTRAS.items():
            compile_lock(FOLDER / f"{name}.txt", extras, everything, upgrade)


if __name__ == "__main__":
    main()
