"""Versions of what computed a report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def software_versions() -> dict[str, str]:
    """Names and versions of the program and of the libraries that compute its numbers."""
    found = {"blindcine": package_version("blindcine"), "Python": platform.python_version()}
    return found | {name: package_version(name) for name in ("numpy", "scipy")}


def package_version(name: str) -> str:
    """The version of an installed package; "(not installed)" where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
