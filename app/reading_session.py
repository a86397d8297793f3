"""One reader's way through a study: the session, the clip being read, the next one loading, the commits.

The way of one clip is: shown, ranked, committed; only when the study has the ranking on the disk is the next
clip shown, which was loaded on a thread in the meantime. Nothing here knows a method: the study does not give
them out before unblinding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from PySide6.QtCore import QObject, Signal

from app.clip_queue import ClipQueue, expected_sentence
from app.context import AppContext
from studies.errors import StudyError
from studies.events import Json
from studies.schedule import Presentation
from studies.state import BlindedClip
from studies.study import Study


class ReadingSession(QObject):
    """One sitting of one reader: perhaps a refresher, then clip after clip.

    Args:
        context: runs the loading and the commits on its threads.
        study: the study, locked.
        reader: one of its readers.
        parent: Qt owner.
    """

    begun = Signal()
    """The session stands in the study; `loading`, `refreshing` or `shown` follows."""

    loading = Signal(object)
    """This presentation is being loaded and nothing is on the screen."""

    refreshing = Signal(object, object)
    """This presentation with this clip was ranked before and is shown once more, not to be ranked."""

    shown = Signal(object, object)
    """This presentation with this clip is to be shown and ranked."""

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
        """Start before the session; `begin` records it and leads to the first clip."""
        super().__init__(parent)
        self._context = context
        self._study = study
        self._reader = reader
        self._schedule = study.schedule(reader)
        self._session_id: str | None = None
        self._current: Presentation | None = None
        self._refreshing = False
        self._on_screen = False
        self._saving = False
        self._closed = False
        self._clips = ClipQueue(context, study, self)
        self._clips.arrived.connect(self._show)
        self._clips.failed.connect(self.failed)

    @property
    def study(self) -> Study:
        """The study being read."""
        return self._study

    @property
    def reader(self) -> str:
        """Who reads."""
        return self._reader

    @property
    def session_id(self) -> str | None:
        """The session in the study, once it has begun."""
        return self._session_id

    @property
    def current(self) -> Presentation | None:
        """The presentation to be ranked, or looked at once more, now."""
        return self._current

    @property
    def refresher(self) -> bool:
        """Whether the clip on the screen was ranked before and is not to be ranked again."""
        return self._refreshing and self._on_screen

    @property
    def rankable(self) -> bool:
        """Whether a clip that is to be ranked is on the screen and not being saved."""
        return self._on_screen and not self._saving and not self._refreshing

    @property
    def stuck(self) -> bool:
        """Whether the clip could not be loaded; `advance` tries again."""
        return self._current is not None and not self._on_screen and self._clips.stuck

    @property
    def waited_s(self) -> float:
        """How long the reader waited for the clip on the screen."""
        return self._clips.waited_s

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        self._clips.close()

    def prepare(self) -> None:
        """Load ahead what the session will begin with."""
        following = self._study.next_presentation(self._reader)
        ranked = [record.presentation_id for record in self._study.rankings if record.reader == self._reader]
        for presentation in self._schedule:
            if presentation == following or ranked[-1:] == [presentation.presentation_id]:
                self._clips.fetch(presentation)

    def begin(self, conditions: Mapping[str, Json]) -> None:
        """Record the session with its conditions, then show a refresher or the first clip."""
        self._context.run_study_task(
            partial(self._study.begin_session, self._reader, conditions),
            self._begun,
            self._tell,
            announce=False,
        )

    def advance(self) -> None:
        """Go to the reader's next presentation: show it, or load it first."""
        self._go_to(self._study.next_presentation(self._reader))

    def commit(
        self,
        ranks: Sequence[int],
        *,
        seconds: float,
        frames_skipped: int,
        loops: int,
        comment: str,
        window_level: tuple[float, float],
        confidence: int | None = None,
        cannot_judge: bool = False,
        viewing: Mapping[str, Json] | None = None,
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
            confidence=confidence,
            cannot_judge=cannot_judge,
            session_id=self._session_id,
            viewing=viewing,
        )

        def commit() -> tuple[Presentation | None, float | None]:
            task()
            following = self._study.next_presentation(self._reader)
            minutes = None if following is None else self._study.break_due(self._reader)
            if minutes is not None:
                self._study.record_break(self._reader, taken=False)
            return following, minutes

        self._context.run_study_task(
            commit, lambda result: self._committed(presentation, *result), self._refused, announce=False
        )

    def _begun(self, session_id: str) -> None:
        if self._closed:
            return
        self._session_id = session_id
        self.begun.emit()
        refresher = self._study.refresher(self._reader)
        if refresher is None:
            self.advance()
        else:
            self._refreshing = True
            self._present(refresher)

    def _committed(
        self, presentation: Presentation, following: Presentation | None, minutes: float | None
    ) -> None:
        self._saving = False
        if not self._closed:
            self.saved.emit(presentation)
            if minutes is not None:
                self.break_due.emit(minutes)
            self._go_to(following)

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
        sentence = expected_sentence(error)
        if self._closed:
            # The reader has left while this was being saved: the window says it wherever it is now.
            self._context.report(error)
        else:
            self.failed.emit(sentence)

    def _go_to(self, following: Presentation | None) -> None:
        self._refreshing = False
        if following is None:
            self._current = None
            self._on_screen = False
            self._clips.clear()
            self.finished.emit()
            self._context.study_changed.emit()
        else:
            self._present(following)

    def _present(self, presentation: Presentation) -> None:
        self._on_screen = False
        self._current = presentation
        if not self._clips.want(presentation):
            self.loading.emit(presentation)

    def _show(self, clip: BlindedClip) -> None:
        presentation = self._current
        if presentation is None:
            return
        self._on_screen = True
        if self._refreshing:
            self.refreshing.emit(presentation, clip)
            self._context.run_study_task(
                partial(self._study.record_refresher, self._reader, presentation),
                None,
                self._tell,
                announce=False,
            )
        else:
            self.shown.emit(presentation, clip)
        following = self._schedule.index(presentation) + 1
        if following < len(self._schedule):
            self._clips.fetch(self._schedule[following])
