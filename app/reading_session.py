"""One reader's way through a study: the clip being read, the next one loading, the commit between them.

The way of one clip is: shown, ranked, committed; only when the study has the ranking on the disk is the next
clip shown. The next clip is loaded on a thread while this one is being read. Nothing here knows a method: the
study does not give them out before unblinding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QObject, Signal

from app.context import AppContext
from studies.errors import StudyError
from studies.schedule import Presentation
from studies.state import BlindedClip
from studies.study import Study


class ReadingSession(QObject):
    """One reader's way through a study: the clip being read, the next one loading, the commit between them.

    Args:
        context: runs the loading and the commits on its threads.
        study: the study, locked.
        reader: one of its readers.
        parent: Qt owner.
    """

    loading = Signal(object)
    """This presentation is being loaded and nothing is on the screen."""

    shown = Signal(object, object)
    """This presentation with this clip is to be shown."""

    saved = Signal(object)
    """The ranking of this presentation is on the disk."""

    break_due = Signal(float)
    """The reader has read for so many minutes without a pause; the study knows that a break was suggested."""

    overtaken = Signal(str)
    """The study has a ranking of this presentation already; the sentence says what came of this one."""

    failed = Signal(str)
    """Loading or saving did not succeed; the sentence says why."""

    finished = Signal()
    """Every clip is ranked."""

    def __init__(self, context: AppContext, study: Study, reader: str, parent: QObject | None = None) -> None:
        """Start before the first clip; `advance` shows it."""
        super().__init__(parent)
        self._context = context
        self._study = study
        self._reader = reader
        self._current: Presentation | None = None
        self._ready: dict[str, BlindedClip] = {}
        self._requested: set[str] = set()
        self._on_screen = False
        self._saving = False
        self._closed = False

    @property
    def study(self) -> Study:
        """The study being read."""
        return self._study

    @property
    def reader(self) -> str:
        """Who reads."""
        return self._reader

    @property
    def current(self) -> Presentation | None:
        """The presentation to be ranked now."""
        return self._current

    @property
    def rankable(self) -> bool:
        """Whether a clip is on the screen and not being saved."""
        return self._on_screen and not self._saving

    @property
    def stuck(self) -> bool:
        """Whether the clip could not be loaded; `advance` tries again."""
        return self._current is not None and not self._on_screen and not self._requested

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        self._ready.clear()

    def advance(self) -> None:
        """Go to the reader's next presentation: show it, or load it first."""
        self._on_screen = False
        self._current = self._study.next_presentation(self._reader)
        if self._current is None:
            self._ready.clear()
            self.finished.emit()
            return
        clip = self._ready.pop(self._current.presentation_id, None)
        if clip is None:
            self.loading.emit(self._current)
            self._load(self._current)
        else:
            self._show(clip)

    def commit(
        self,
        ranks: Sequence[int],
        *,
        seconds: float,
        frames_skipped: int,
        loops: int,
        comment: str,
        window_level: tuple[float, float],
    ) -> None:
        """Save the ranking of this clip; `saved` comes once it is on the disk, then the next clip."""
        presentation = self._current
        if presentation is None or not self.rankable:
            return
        self._saving = True
        task = partial(
            self._study.commit_ranking,
            self._reader,
            presentation,
            tuple(ranks),
            seconds=seconds,
            frames_skipped=frames_skipped,
            loops=loops,
            comment=comment,
            window_level=window_level,
        )

        def commit() -> float | None:
            task()
            minutes = self._study.break_due(self._reader)
            if minutes is None or self._study.next_presentation(self._reader) is None:
                return None
            self._study.record_break(self._reader, taken=False)
            return minutes

        self._context.run_study_task(
            commit, lambda minutes: self._committed(presentation, minutes), self._refused
        )

    def _committed(self, presentation: Presentation, minutes: float | None) -> None:
        self._saving = False
        if not self._closed:
            self.saved.emit(presentation)
            if minutes is not None:
                self.break_due.emit(minutes)
            self.advance()

    def _refused(self, error: BaseException) -> None:
        self._saving = False
        if isinstance(error, StudyError) and not self._closed and self._ranked_already():
            # Trying again would be refused for ever: the way leads on to the next clip.
            self.overtaken.emit(str(error))
            self.advance()
        else:
            self._tell(error)

    def _ranked_already(self) -> bool:
        """Tell whether this presentation was ranked in another window, or saved before something failed."""
        try:
            return self._study.next_presentation(self._reader) != self._current
        except StudyError:
            return False

    def _tell(self, error: BaseException) -> None:
        """Say an expected failure on this page; anything else is for the error hook."""
        if not isinstance(error, (StudyError, OSError, MemoryError)):
            raise error
        if not self._closed:
            self.failed.emit(str(error))

    def _load(self, presentation: Presentation) -> None:
        if presentation.presentation_id in self._requested:
            return
        self._requested.add(presentation.presentation_id)
        self._context.tasks.submit(
            partial(self._study.load_clip, presentation),
            partial(self._loaded, presentation),
            partial(self._not_loaded, presentation),
        )

    def _loaded(self, presentation: Presentation, clip: BlindedClip) -> None:
        self._requested.discard(presentation.presentation_id)
        if self._closed:
            return
        if presentation == self._current and not self._on_screen:
            self._show(clip)
        else:
            self._ready[presentation.presentation_id] = clip

    def _not_loaded(self, presentation: Presentation, error: BaseException) -> None:
        self._requested.discard(presentation.presentation_id)
        # A clip that could not be loaded ahead is loaded again, and reported, when its turn comes.
        if presentation == self._current and not self._on_screen:
            self._tell(error)

    def _show(self, clip: BlindedClip) -> None:
        self._on_screen = True
        self.shown.emit(self._current, clip)
        schedule = self._study.schedule(self._reader)
        following = schedule.index(self._current) + 1 if self._current in schedule else len(schedule)
        if following < len(schedule) and schedule[following].presentation_id not in self._ready:
            self._load(schedule[following])
