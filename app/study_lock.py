"""The lock of the open study: on a thread, with what is left of named movies cleared away afterwards.

While it is under way the study answers nobody, so the pages look at `active` instead of asking the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from studies.state import Scan
from studies.study import Study

if TYPE_CHECKING:
    from app.context import AppContext


class StudyLock(QObject):
    """Locks a study once.

    Args:
        context: what the pages share; owns this object.
    """

    changed = Signal()
    """A lock has begun or ended."""

    def __init__(self, context: AppContext) -> None:
        """Lock nothing yet."""
        super().__init__(context)
        self._context = context
        self._active = False

    @property
    def active(self) -> bool:
        """Whether a lock is under way."""
        return self._active

    def start(self, study: Study, passphrase: str, scans: Sequence[Scan]) -> None:
        """Lock a study for the readers of its protocol.

        Args:
            study: the open study.
            passphrase: seals the key.
            scans: of the study, as long as it tells their raw files.
        """
        raw_paths = {Path(scan.raw_path).absolute() for scan in scans if scan.raw_path is not None}
        raw_sha256 = [scan.raw_sha256 for scan in scans if scan.raw_sha256 is not None]
        self._set(True)

        def failed(error: BaseException) -> None:
            self._set(False)
            self._context.report(error)

        def done(_: None) -> None:
            self._forget_movies(raw_paths)
            self._context.jobs.submit({"command": "forget", "raw_sha256": raw_sha256})
            self._set(False)
            self._context.message.emit("The study is locked; reading can begin.")

        self._context.run_study_task(lambda: study.lock((), passphrase), done, failed)

    def _set(self, active: bool) -> None:
        self._active = active
        self.changed.emit()

    def _forget_movies(self, raw_paths: set[Path]) -> None:
        """Drop movies that are labelled with methods: their pixels would tell which panel is which."""
        for scan in self._context.scans:
            if scan.path in raw_paths and scan.movies:
                for path in scan.movies.values():
                    path.unlink(missing_ok=True)
                scan.movies.clear()
                scan.seconds.clear()
                self._context.scans.notify(scan)
