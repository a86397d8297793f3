"""The folder of one session's movies, which must not outlive the session.

 Its movies carry method names, so what a killed window left behind could unblind a reader. Each folder holds
a lock of its process; whoever makes the next folder removes those whose process is gone.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from PySide6.QtCore import QLockFile

_PREFIX = "blindcine-session-"
_LOCK_NAME = "in-use.lock"


class ScratchFolder:
    """A temporary folder with a lock; see the module.

    Attributes:
        path: the folder.
    """

    def __init__(self, parent: Path | None = None) -> None:
        """Remove what killed sessions left, then make the folder.

        Args:
            parent: where session folders lie; the system's folder for temporary files if None.
        """
        base = parent if parent is not None else Path(tempfile.gettempdir())
        remove_abandoned(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = QLockFile(str(self.path / _LOCK_NAME))
        self._lock.setStaleLockTime(0)
        self._lock.tryLock(0)

    def remove(self) -> None:
        """Remove the folder with all its movies."""
        self._lock.unlock()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned(base: Path) -> None:
    """Remove session folders in `base` whose process has ended."""
    for folder in base.glob(f"{_PREFIX}*"):
        lock = QLockFile(str(folder / _LOCK_NAME))
        # Age says nothing about a lock: a window may stay open for days. Only a dead process frees it.
        lock.setStaleLockTime(0)
        if lock.tryLock(0):
            lock.unlock()
            shutil.rmtree(folder, ignore_errors=True)
