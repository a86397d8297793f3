"""With which software something was done; recorded with every session and every ranking."""

from __future__ import annotations

import platform
import sys

from studies import __version__


def software() -> dict[str, str]:
    """Return the versions of blindcine, Python, the operating system and, where it is loaded, Qt."""
    versions = {
        "blindcine": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }
    # The studies know no Qt: its version is told only if the window has loaded it.
    qt = sys.modules.get("PySide6")
    if qt is not None:
        versions["qt"] = str(getattr(qt, "__version__", "unknown"))
    return versions
