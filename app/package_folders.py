"""Where a reader package is unpacked on this computer, and where its response is put.

Rule: one working folder for each package, found by the package's own id, so a package that is opened again,
from wherever, goes on where it was left.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

PACKAGE_SUFFIX = ".blindcine"
RESPONSE_SUFFIX = ".blindcine-response"


def user_data_folder() -> Path:
    """Return the folder of this user for data that programs keep; it need not exist."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base)


def working_folder(package_id: str) -> Path:
    """Return where a package is unpacked and read; it need not exist."""
    return user_data_folder() / "blindcine" / "packages" / package_id


def is_package(path: Path) -> bool:
    """Whether a path looks like a reader package."""
    return path.suffix == PACKAGE_SUFFIX and path.is_file()


def package_name(reader: str) -> str:
    """Return what the package of a reader is called by default."""
    return re.sub(r"[^\w.-]+", "_", reader.strip()) + PACKAGE_SUFFIX


def response_beside(package: Path) -> Path:
    """Return what the response to a package file is called by default, in its folder."""
    return package.with_name(f"{package.stem}{RESPONSE_SUFFIX}")
