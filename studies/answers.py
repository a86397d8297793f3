"""What a reader may add to a log: sessions, rankings, breaks and guesses, each checked against the state.

Rule: the payload of an answer is built by one function here, which refuses what the study does not allow. A
reading in the study's own window and the merge of a response go through the same function, so a response can
hold nothing that could not have been entered.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat, SupportsIndex

from studies.errors import StudyError
from studies.log import Json
from studies.names import person_name
from studies.protocol import Protocol
from studies.ranking import normalise
from studies.schedule import CounterGenerator, Presentation
from studies.state import StudyState

CONFIDENCES = (1, 2, 3, 4, 5)
"""From a guess to certain."""
GUESS_VERSION = "blindcine-guess-1"


def session_payload(
    state: StudyState,
    reader: str,
    session_id: str,
    conditions: Mapping[str, Json],
    software: Mapping[str, str],
) -> dict[str, Any]:
    """Build the payload of `session_started`. Raises StudyError for an unknown reader or a used id."""
    state.schedule(reader)
    if not re.fullmatch(r"[0-9a-f]{16}", session_id) or session_id in state.sessions:
        raise StudyError(f"The session id '{session_id}' is not a new one of 16 hexadecimal digits.")
    return {
        "reader": person_name(reader),
        "session_id": session_id,
        "conditions": dict(conditions),
        "software": dict(software),
    }


def ranking_payload(
    state: StudyState,
    protocol: Protocol,
    reader: str,
    presentation: Presentation,
    ranks: Sequence[int],
    *,
    seconds: float | None,
    frames_skipped: int | None,
    loops: int | None,
    comment: str,
    window_level: Sequence[float] | None,
    confidence: int | None,
    cannot_judge: bool,
    session_id: str | None,
    viewing: Mapping[str, Json] | None,
    software: Mapping[str, str],
) -> dict[str, Any]:
    """Build the payload of `ranking_committed`.

    Args:
        state: before the ranking.
        protocol: says how often a clip must be seen.
        reader: one of the study's readers.
        presentation: the reader's next one.
        ranks: by position; none with `cannot_judge`.
        seconds: time that the reader took.
        frames_skipped: frames that the screen did not show.
        loops: complete passes seen, the least of all panels.
        comment: the reader's words.
        window_level: display window and level.
        confidence: one of `CONFIDENCES`.
        cannot_judge: the reader could not rank these movies.
        session_id: of a session of this reader.
        viewing: how the movies were looked at.
        software: with which the ranking was made.

    Raises:
        StudyError: when it is ranked already, is not the reader's next, was not seen as often as the protocol
            asks, or a value is not acceptable.
    """
    known = state.schedule(reader)
    reader = person_name(reader)
    if presentation not in known:
        raise StudyError(
            f"Presentation '{presentation.presentation_id}' is not in the schedule of '{reader}'."
        )
    if state.ranked(reader, presentation):
        raise StudyError(
            f"'{reader}' has ranked presentation {presentation.index + 1} already: a ranking cannot be "
            "changed."
        )
    expected = state.next_presentation(reader)
    if expected is not None and presentation != expected:
        raise StudyError(
            f"The next presentation of '{reader}' is number {expected.index + 1}, not "
            f"{presentation.index + 1}."
        )
    seconds = _measured("time on the clip", seconds)
    frames_skipped = _counted("number of frames skipped", frames_skipped)
    loops = _counted("number of loops", loops)
    wanted = protocol.must_view_loops
    if loops is not None and loops < wanted:
        raise StudyError(
            f"The clip was seen {loops} times to its end, but the protocol asks for {wanted}: go on watching."
        )
    if confidence is not None and (isinstance(confidence, bool) or confidence not in CONFIDENCES):
        raise StudyError(
            f"The confidence is {confidence!r}, but it must be a whole number from {CONFIDENCES[0]} to "
            f"{CONFIDENCES[-1]}, or be left out."
        )
    if cannot_judge and len(ranks):
        raise StudyError("Movies that cannot be judged have no ranks: give ranks, or say so, not both.")
    session = state.sessions.get(session_id) if session_id is not None else None
    if session_id is not None and (session is None or session.reader != reader):
        raise StudyError(f"'{reader}' has no session '{session_id}': begin one first.")
    movie_ids = _movie_ids(state, presentation)
    return {
        "reader": reader,
        "presentation_id": presentation.presentation_id,
        "index": presentation.index,
        "clip_id": presentation.clip_id,
        "permutation": list(presentation.permutation),
        "movie_ids": list(movie_ids),
        "practice": presentation.kind == "practice",
        "repeat": presentation.kind == "repeat",
        "ranks": [] if cannot_judge else list(normalise(ranks, len(movie_ids))),
        "cannot_judge": bool(cannot_judge),
        "confidence": confidence,
        "seconds": seconds,
        "frames_skipped": frames_skipped,
        "loops": loops,
        "comment": _sound_text(comment),
        "window_level": None if window_level is None else _pair(window_level),
        "session_id": session_id,
        "viewing": dict(viewing or {}),
        "software": dict(software),
    }


def refresher_payload(state: StudyState, reader: str, presentation_id: str) -> dict[str, Any]:
    """Build the payload of `refresher_shown`. Raises StudyError when it is not the one that is offered."""
    state.schedule(reader)
    reader = person_name(reader)
    if state.resumed.get(reader) != presentation_id:
        raise StudyError(
            f"'{reader}' is offered no refresher with presentation '{presentation_id}' in this session."
        )
    return {"reader": reader, "presentation_id": presentation_id}


def break_payload(state: StudyState, reader: str, *, taken: bool) -> dict[str, Any]:
    """Build the payload of `break_prompted`. Raises StudyError for an unknown reader."""
    state.schedule(reader)
    reader = person_name(reader)
    return {"reader": reader, "taken": bool(taken), "minutes": state.minutes_read.get(reader, 0.0)}


def presentations_to_guess(state: StudyState, protocol: Protocol, reader: str) -> list[Presentation]:
    """Return the presentations of which a reader is asked to guess the methods.

    They are drawn from the first readings by the reader's name and the presentations' ids, so every machine
    draws the same ones.

    Args:
        state: of the study.
        protocol: says how many.
        reader: one of the study's readers.

    Returns:
        In the order of asking; none until all is ranked, or where the study has no labels to choose from.
    """
    schedule = state.schedule(reader)
    if not state.veiled_labels or state.next_presentation(reader) is not None:
        return []
    drawn = [item for item in schedule if item.kind == "reading"]
    CounterGenerator(GUESS_VERSION, person_name(reader), *(item.presentation_id for item in drawn)).shuffle(
        drawn
    )
    return drawn[: protocol.guess_clips]


def guess_payload(
    state: StudyState,
    protocol: Protocol,
    reader: str,
    presentation: Presentation,
    choices: Sequence[int | None],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Build the payload of `guess_recorded`; labels stand in it by number only.

    Raises:
        StudyError: when the presentation is not one to guess, was guessed, or the choices do not fit.
    """
    if presentation not in presentations_to_guess(state, protocol, reader):
        raise StudyError(
            f"'{reader}' is not asked what the movies of presentation '{presentation.presentation_id}' are: "
            "guesses come when everything is ranked."
        )
    reader = person_name(reader)
    if (reader, presentation.presentation_id) in state.guesses:
        raise StudyError(f"'{reader}' has guessed presentation {presentation.index + 1} already.")
    movie_ids = _movie_ids(state, presentation)
    if len(choices) != len(movie_ids):
        raise StudyError(
            f"A guess of {len(movie_ids)} movies needs {len(movie_ids)} answers, but {len(choices)} were "
            "given."
        )
    for choice in choices:
        if choice is not None and (
            isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice < len(labels)
        ):
            raise StudyError(f"{choice!r} is not the number of one of {len(labels)} methods.")
    return {
        "reader": reader,
        "presentation_id": presentation.presentation_id,
        "clip_id": presentation.clip_id,
        "movie_ids": list(movie_ids),
        "choices": list(choices),
    }


def _measured(what: str, value: float | None) -> float | None:
    """Return a length of time as it stands in the log. Raises StudyError unless it is one."""
    if value is None:
        return None
    if not isinstance(value, SupportsFloat) or not 0 <= float(value) < math.inf:
        raise StudyError(f"The {what} is {value!r}, but it must be a number of seconds from 0 on.")
    return float(value)


def _counted(what: str, value: int | None) -> int | None:
    """Return a count as it stands in the log. Raises StudyError unless it is one."""
    if value is None:
        return None
    if not isinstance(value, SupportsIndex) or operator.index(value) < 0:
        raise StudyError(f"The {what} is {value!r}, but it must be a whole number from 0 on.")
    return operator.index(value)


def _pair(window_level: Sequence[float]) -> list[float]:
    """Return window and level as they stand in the log. Raises StudyError unless they are two numbers."""
    try:
        window, level = (float(value) for value in window_level)
        sound = math.isfinite(window) and math.isfinite(level)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise StudyError(f"Window and level are {window_level!r}, but they must be two numbers.")
    return [window, level]


def _sound_text(text: str) -> str:
    """Return a text without halves of characters, which no file of a report could hold."""
    return str(text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _movie_ids(state: StudyState, presentation: Presentation) -> tuple[str, ...]:
    """The movies of a presentation by position."""
    movie_ids = state.clip(presentation.clip_id).movie_ids
    return tuple(movie_ids[choice] for choice in presentation.permutation)
