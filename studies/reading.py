"""The reading of a study: schedules, sessions, clips to show, rankings, breaks, and the guess at the end.

Rule: what a method has returned from is on the disk, and nothing that was committed can be changed. What may
be added is decided in `answers.py`; a reader for whom a package was made answers there and not here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies import answers, blinding, clips
from studies.blinding import unveiled_labels
from studies.errors import StudyError
from studies.log import Json
from studies.names import person_name
from studies.opened import OpenStudy
from studies.schedule import Presentation
from studies.software import software
from studies.state import BlindedClip, BreakRecord, GuessRecord, RankingRecord, SessionRecord, StudyState


class ReadableStudy(OpenStudy):
    """The part of `Study` that readers meet."""

    # What was answered

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers named at the lock, empty before; of them, those whose answers may be seen."""
        return tuple(reader for reader in self._current().readers if self._sees(reader))

    @property
    def rankings(self) -> list[RankingRecord]:
        """All committed rankings that may be seen, in the order of commitment."""
        return [record for record in self._current().rankings.values() if self._sees(record.reader)]

    @property
    def sessions(self) -> list[SessionRecord]:
        """The sittings that may be seen, in their order."""
        return [record for record in self._current().sessions.values() if self._sees(record.reader)]

    @property
    def guesses(self) -> list[GuessRecord]:
        """The guesses that may be seen, in the order of commitment."""
        return [record for record in self._current().guesses.values() if self._sees(record.reader)]

    @property
    def breaks(self) -> list[BreakRecord]:
        """Breaks that readers were asked to take."""
        return [record for record in self._current().breaks if self._sees(record.reader)]

    def missing_rankings(self) -> dict[str, int]:
        """Return how many rankings each reader still owes; readers who are done are left out."""
        missing = self._current().missing_rankings()
        return {reader: count for reader, count in missing.items() if self._sees(reader)}

    # What is to be answered

    def schedule(self, reader: str) -> list[Presentation]:
        """Return the presentations of a reader in their order. Raises StudyError for an unknown reader.

        `permutation[position]` is an index into the clip's sorted `movie_ids`; across clips it means nothing.
        """
        return list(self._current().schedule(self._own(reader)))

    def progress(self, reader: str) -> tuple[int, int]:
        """Return how many rankings the reader has committed, and how many there are to be."""
        return self._current().progress(self._own(reader))

    def next_presentation(self, reader: str) -> Presentation | None:
        """Return what the reader has to rank next, or None when all is done."""
        return self._current().next_presentation(self._own(reader))

    def load_clip(self, presentation: Presentation) -> BlindedClip:
        """Load what a presentation shows, in the order of the panels; safe to call from any thread.

        Raises:
            StudyError: when a movie is missing or is not the file that was attached.
        """
        self._permit("look at what readers see", "coordinator", "reader")
        state = self._current()
        scan = state.scan_of_clip(presentation.clip_id)
        movies, frame_times_s, spacing = self._files.load_movies(scan.clip_id, scan.movies)
        if state.package is not None:
            # A package holds the grey values themselves, cropped and on the clip's common scale.
            display = np.asarray(movies, np.uint8)
        else:
            movies = clips.crop(movies, spacing, self.protocol.crop_mm)
            display = blinding.display_frames(movies, self.protocol.grey_scale)
        return BlindedClip(
            presentation_id=presentation.presentation_id,
            clip_id=scan.clip_id,
            display=np.ascontiguousarray(display[list(presentation.permutation)]),
            frame_times_s=frame_times_s,
            pixel_spacing_mm=spacing,
        )

    # Sessions

    def begin_session(self, reader: str, conditions: Mapping[str, Json]) -> str:
        """Record that a reader sits down to read, and under which conditions.

        Args:
            reader: one of `readers`.
            conditions: JSON-ready: display check, screen, resolution, refresh rate and the like.

        Returns:
            The opaque id of the session, for `commit_ranking`.

        Raises:
            StudyError: for an unknown reader, or when the study is not being read.
        """
        reader = self._own(reader)
        session_id = secrets.token_hex(8)
        with self._writing("reading", "begin a session") as transaction:
            self._refuse_elsewhere(self._state, reader)
            payload = answers.session_payload(self._state, reader, session_id, conditions, software())
            transaction.append("session_started", payload, reader)
        return session_id

    def refresher(self, reader: str) -> Presentation | None:
        """Return what a reader ranked last, to be shown once more when a reading is resumed.

        It is offered from the start of a session until it was shown or something is ranked, and only while
        something is left to rank.
        """
        reader = self._own(reader)
        state = self._current()
        if state.next_presentation(reader) is None:
            return None
        offered = state.resumed.get(reader)
        return next((item for item in state.schedule(reader) if item.presentation_id == offered), None)

    def record_refresher(self, reader: str, presentation: Presentation) -> None:
        """Record that the refresher was shown. Raises StudyError when another one or none is offered."""
        reader = self._own(reader)
        with self._writing("reading", "show a refresher") as transaction:
            self._refuse_elsewhere(self._state, reader)
            payload = answers.refresher_payload(self._state, reader, presentation.presentation_id)
            transaction.append("refresher_shown", payload, reader)

    # Rankings

    def commit_ranking(
        self,
        reader: str,
        presentation: Presentation,
        ranks: Sequence[int],
        *,
        seconds: float | None = None,
        frames_skipped: int | None = None,
        loops: int | None = None,
        comment: str = "",
        window_level: tuple[float, float] | None = None,
        confidence: int | None = None,
        cannot_judge: bool = False,
        session_id: str | None = None,
        viewing: Mapping[str, Json] | None = None,
    ) -> None:
        """Commit a ranking; it is on the disk on return and cannot be changed.

        Args:
            reader: one of `readers`.
            presentation: the reader's next one.
            ranks: by position, 1 (best) to the number of arms; equal numbers are ties. Empty with
                `cannot_judge`.
            seconds: time that the reader took.
            frames_skipped: frames that the screen did not show.
            loops: complete passes seen, the least of all panels.
            comment: the reader's words.
            window_level: display window and level at the commit.
            confidence: from 1 (a guess) to 5 (certain).
            cannot_judge: these movies cannot be ranked; counts as done, and as missing in the analysis.
            session_id: from `begin_session`.
            viewing: JSON-ready: how the movies were looked at.

        Raises:
            StudyError: when it is committed already, is not the reader's next, the clip was not seen as often
                as the protocol asks, a value is not acceptable, or the study is not being read.
        """
        reader = self._own(reader)
        with self._writing("reading", "rank") as transaction:
            self._refuse_elsewhere(self._state, reader)
            payload = answers.ranking_payload(
                self._state,
                self.protocol,
                reader,
                presentation,
                ranks,
                seconds=seconds,
                frames_skipped=frames_skipped,
                loops=loops,
                comment=comment,
                window_level=window_level,
                confidence=confidence,
                cannot_judge=cannot_judge,
                session_id=session_id,
                viewing=viewing,
                software=software(),
            )
            transaction.append("ranking_committed", payload, reader)

    # Breaks

    def break_due(self, reader: str) -> float | None:
        """Return the minutes that a reader has read without a pause if it is time for one, else None."""
        reader = self._own(reader)
        state = self._current()
        state.schedule(reader)
        minutes = state.minutes_read.get(reader, 0.0)
        return minutes if minutes >= self.protocol.break_minutes else None

    def record_break(self, reader: str, *, taken: bool) -> None:
        """Record that a reader was asked to take a break; the time to the next one begins anew.

        Args:
            reader: one of `readers`.
            taken: whether the reader took it; False if all that is known is that it was suggested.

        Raises:
            StudyError: for an unknown reader, or when the study is not being read.
        """
        reader = self._own(reader)
        with self._writing("reading", "record a break") as transaction:
            self._refuse_elsewhere(self._state, reader)
            payload = answers.break_payload(self._state, reader, taken=taken)
            transaction.append("break_prompted", payload, reader)

    # The guess

    def guess_presentations(self, reader: str) -> list[Presentation]:
        """Return the presentations whose methods a reader has still to guess, in their order.

        None until all is ranked, where the protocol asks for no guesses, and in studies locked before there
        were any.
        """
        reader = self._own(reader)
        state = self._current()
        drawn = answers.presentations_to_guess(state, self.protocol, reader)
        return [item for item in drawn if (reader, item.presentation_id) not in state.guesses]

    def guess_choices(self, reader: str) -> tuple[str, ...]:
        """Return the labels of the methods in alphabetical order.

        Raises:
            StudyError: before the reader has ranked everything, or in a study without guesses.
        """
        reader = self._own(reader)
        return self._choices(self._current(), reader)

    def record_guess(self, reader: str, presentation: Presentation, guesses: Sequence[str | None]) -> None:
        """Record what a reader takes the movies of a presentation for; durable, and for good.

        Args:
            reader: one of `readers`.
            presentation: one of `guess_presentations`.
            guesses: by position, one of `guess_choices`, or None for "do not know".

        Raises:
            StudyError: when the presentation is not one to guess, a guess is not among the choices, or the
                study is not being read.
        """
        reader = self._own(reader)
        with self._writing("reading", "guess") as transaction:
            state = self._state
            self._refuse_elsewhere(state, reader)
            labels = self._choices(state, reader)
            for guess in guesses:
                if guess is not None and guess not in labels:
                    raise StudyError(f"'{guess}' is not among the choices {', '.join(labels)}.")
            choices = [None if guess is None else labels.index(guess) for guess in guesses]
            payload: dict[str, Any] = answers.guess_payload(
                state, self.protocol, reader, presentation, choices, labels
            )
            transaction.append("guess_recorded", payload, reader)

    def _choices(self, state: StudyState, reader: str) -> tuple[str, ...]:
        if state.next_presentation(reader) is not None:
            raise StudyError(f"'{reader}' has not ranked everything yet: what is compared is told then.")
        if not state.veiled_labels:
            raise StudyError(
                "This study was locked without labels of its methods: there is nothing to guess."
            )
        return unveiled_labels(state.veiled_labels)

    def _refuse_elsewhere(self, state: StudyState, reader: str) -> None:
        """Raise StudyError when a reader answers in a package, so that no answer can come from two places."""
        exported = next((item for item in state.exports.values() if item.reader == person_name(reader)), None)
        if exported is not None:
            raise StudyError(
                f"A package was made for '{reader}' on {exported.time_utc[:10]}: read it there, and merge "
                "its response."
            )
