"""Clips on their way from the disk to a reader: the one that is wanted, and the next ones ahead of time.

All movies of a clip are loaded as one array and arrive together, so that no movie is told from another by
when it appears.
"""

from __future__ import annotations

import time
from functools import partial

from PySide6.QtCore import QObject, Signal

from app.context import AppContext
from studies.errors import StudyError
from studies.schedule import Presentation
from studies.state import BlindedClip
from studies.study import Study


class ClipQueue(QObject):
    """Clips on their way from the disk to the screen; one presentation is wanted, others are fetched ahead.

    Args:
        context: runs the loading on its threads.
        study: where the clips come from.
        parent: Qt owner.
    """

    arrived = Signal(object)
    """The `BlindedClip` of the wanted presentation."""

    failed = Signal(str)
    """The wanted presentation cannot be loaded; the sentence says why."""

    def __init__(self, context: AppContext, study: Study, parent: QObject | None = None) -> None:
        """Start with nothing wanted."""
        super().__init__(parent)
        self._context = context
        self._study = study
        self._wanted: Presentation | None = None
        self._wanted_since_s = 0.0
        self._waited_s = 0.0
        self._ready: dict[str, BlindedClip] = {}
        self._requested: set[str] = set()
        self._closed = False

    @property
    def wanted(self) -> Presentation | None:
        """What is to arrive next."""
        return self._wanted

    @property
    def stuck(self) -> bool:
        """Whether the wanted presentation could not be loaded; `want` tries again."""
        return self._wanted is not None and self._wanted.presentation_id not in self._requested

    @property
    def waited_s(self) -> float:
        """How long the clip that arrived last was waited for."""
        return self._waited_s

    def want(self, presentation: Presentation) -> bool:
        """Ask for a clip; `arrived` brings it, before this returns if it was fetched ahead.

        Returns:
            Whether it has arrived.
        """
        self._wanted = presentation
        self._wanted_since_s = time.monotonic()
        clip = self._ready.pop(presentation.presentation_id, None)
        if clip is None:
            self.fetch(presentation)
            return False
        self._deliver(clip)
        return True

    def fetch(self, presentation: Presentation) -> None:
        """Load a clip ahead."""
        identity = presentation.presentation_id
        if identity in self._requested or identity in self._ready:
            return
        self._requested.add(identity)
        self._context.tasks.submit(
            partial(self._study.load_clip, presentation),
            partial(self._loaded, presentation),
            partial(self._not_loaded, presentation),
        )

    def clear(self) -> None:
        """Want nothing, and drop what was fetched ahead."""
        self._wanted = None
        self._ready.clear()

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        self.clear()

    def _loaded(self, presentation: Presentation, clip: BlindedClip) -> None:
        self._requested.discard(presentation.presentation_id)
        if self._closed:
            return
        if presentation == self._wanted:
            self._deliver(clip)
        else:
            self._ready[presentation.presentation_id] = clip

    def _deliver(self, clip: BlindedClip) -> None:
        self._wanted = None
        self._waited_s = time.monotonic() - self._wanted_since_s
        self.arrived.emit(clip)

    def _not_loaded(self, presentation: Presentation, error: BaseException) -> None:
        self._requested.discard(presentation.presentation_id)
        sentence = expected_sentence(error)
        # A clip that could not be loaded ahead is loaded again, and reported, when its turn comes.
        if presentation == self._wanted and not self._closed:
            self.failed.emit(sentence)


def expected_sentence(error: BaseException) -> str:
    """The sentence of a failure that a reader can meet.

    Raises:
        BaseException: the error itself, if it is of another kind: that is for the error hook.
    """
    if not isinstance(error, (StudyError, OSError, MemoryError)):
        raise error
    return str(error) or type(error).__name__
