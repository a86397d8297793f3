"""After the last clip: one reader's guesses, clip after clip, of which movie came from which method.

Each guess is on the disk before the next clip is shown; what is not guessed now can be guessed another time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QObject, Signal

from app.clip_queue import ClipQueue, expected_sentence
from app.context import AppContext
from studies.errors import StudyError
from studies.schedule import Presentation
from studies.state import BlindedClip
from studies.study import Study


class GuessSession(QObject):
    """After the last clip: the reader guesses, clip after clip, which movie came from which method.

    Args:
        context: runs the loading and the commits on its threads.
        study: the study, in which the reader has ranked everything.
        reader: one of its readers.
        parent: Qt owner.
    """

    shown = Signal(object)
    """This clip is to be guessed."""

    failed = Signal(str)
    """Loading or saving did not succeed; the sentence says why."""

    finished = Signal()
    """There is nothing left to guess."""

    def __init__(self, context: AppContext, study: Study, reader: str, parent: QObject | None = None) -> None:
        """Start before the first clip; `advance` shows it."""
        super().__init__(parent)
        self._context = context
        self._study = study
        self._reader = reader
        self._current: Presentation | None = None
        self._on_screen = False
        self._saving = False
        self._closed = False
        self._left = study.guess_presentations(reader)
        self._done = sum(record.reader == reader for record in study.guesses)
        self._clips = ClipQueue(context, study, self)
        self._clips.arrived.connect(self._show)
        self._clips.failed.connect(self.failed)

    @property
    def remaining(self) -> int:
        """How many clips are still to be guessed."""
        return len(self._left)

    @property
    def progress(self) -> tuple[int, int]:
        """Number of the present clip, from 1, and how many there are."""
        return self._done + 1, self._done + len(self._left)

    @property
    def choices(self) -> tuple[str, ...]:
        """What the movies may be, in alphabetical order."""
        return self._study.guess_choices(self._reader)

    @property
    def answerable(self) -> bool:
        """Whether a clip is on the screen and its guess not being saved."""
        return self._on_screen and not self._saving

    @property
    def stuck(self) -> bool:
        """Whether the clip could not be loaded; `advance` tries again."""
        return self._current is not None and not self._on_screen and self._clips.stuck

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        self._clips.close()

    def advance(self) -> None:
        """Go to the next clip, or to the end."""
        self._on_screen = False
        if not self._left:
            self._current = None
            self._clips.clear()
            self.finished.emit()
            self._context.study_changed.emit()
            return
        self._current = self._left[0]
        self._clips.want(self._current)
        for following in self._left[1:2]:
            self._clips.fetch(following)

    def commit(self, guesses: Sequence[str | None]) -> None:
        """Save the guesses by position, None for "do not know"; then the next clip is shown."""
        if self._current is None or not self.answerable:
            return
        self._saving = True
        self._context.run_study_task(
            partial(self._study.record_guess, self._reader, self._current, tuple(guesses)),
            self._committed,
            self._refused,
            announce=False,
        )

    def _committed(self, _nothing: None) -> None:
        self._saving = False
        if not self._closed:
            self._done += 1
            self._left = self._left[1:]
            self.advance()

    def _refused(self, error: BaseException) -> None:
        self._saving = False
        sentence = expected_sentence(error)
        if self._closed:
            self._context.report(error)
            return
        left = self._still_open()
        if left is not None and self._current not in left:
            # Another window has recorded this one: the way leads on.
            self._done += len(self._left) - len(left)
            self._left = left
            self.advance()
        else:
            self.failed.emit(sentence)

    def _still_open(self) -> list[Presentation] | None:
        """What the study still asks for; None while it cannot be read."""
        try:
            return self._study.guess_presentations(self._reader)
        except StudyError:
            return None

    def _show(self, clip: BlindedClip) -> None:
        self._on_screen = True
        self.shown.emit(clip)
