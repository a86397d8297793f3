"""A study's state as a fold over its event log: records, and what each kind of event does to them.

Rule: state(n) = apply(state(n − 1), event(n)), with no other input. Whatever would tell a reader which movie
came from which method is in the log only as ciphertext until the event `study_unblinded` brings it in clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from studies.errors import StudyError
from studies.log import GENESIS_HASH, Event
from studies.names import person_name
from studies.protocol import Protocol
from studies.schedule import Presentation

Phase = Literal["design", "reading", "unblinded"]
SCHEMA = 1


@dataclass(frozen=True)
class Scan:
    """One imported scan as the coordinator sees it."""

    scan_id: str
    """Opaque."""
    subject: str
    plane: str
    sampling: str
    label: str | None
    """The coordinator's own words; None while the study is blinded."""
    raw_path: Path | None
    """The raw file; None while the study is blinded."""
    raw_sha256: str | None
    """Its SHA-256; None while the study is blinded."""
    complete: bool
    """Every arm has its movie."""
    clip_id: str
    """Opaque; names this scan's set of movies."""


@dataclass(frozen=True)
class Clip:
    """The movies of one scan, without a hint of their origin."""

    clip_id: str
    subject: str
    plane: str
    sampling: str
    movie_ids: tuple[str, ...]
    """Sorted random identifiers: the order carries no information."""


@dataclass(frozen=True, eq=False)
class BlindedClip:
    """What a reader sees of one presentation, panels in their order on the screen."""

    presentation_id: str
    clip_id: str
    display: NDArray[np.uint8]
    """Grey values `(position, frame, y, x)` on one scale for all positions."""
    frame_times_s: NDArray[np.float64]
    """`(frame,)`, equal for all positions."""
    pixel_spacing_mm: tuple[float, float]
    """`(y, x)`."""


@dataclass(frozen=True, eq=False)
class MeasurementClip:
    """The movies of one clip for measurement, in their opaque order."""

    clip_id: str
    movies: NDArray[np.float32]
    """Magnitude `(arm, frame, y, x)`, each arm times the factor of the study's grey-scale rule."""
    movie_ids: tuple[str, ...]
    frame_times_s: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]


@dataclass(frozen=True)
class RankingRecord:
    """One committed ranking of one reader."""

    reader: str
    presentation_id: str
    index: int
    """Place in the reader's schedule, from 0."""
    clip_id: str
    subject: str
    plane: str
    sampling: str
    movie_ids: tuple[str, ...]
    """By position on the screen."""
    ranks: tuple[int, ...]
    """By position; 1 is best; equal ranks are ties; in competition form (1, 1, 3)."""
    time_utc: str
    """ISO 8601 with microseconds, as written by the log."""
    seconds: float | None
    """From the clip's appearance to the commit."""
    frames_skipped: int | None
    loops: int | None
    """Complete passes of the movie that the reader saw."""
    comment: str
    window_level: tuple[float, float] | None


@dataclass(frozen=True)
class MeasurementRecord:
    """The latest measurement of one observer in one clip."""

    observer: str
    clip_id: str
    subject: str
    plane: str
    sampling: str
    shapes: dict[str, Any]
    values: dict[str, Any]
    time_utc: str


@dataclass(frozen=True)
class Revealed:
    """What unblinding brought to light."""

    arms: tuple[str, ...]
    arm_order: tuple[str, ...]
    """The secret order of the arms on which the schedules were built."""
    seed: str
    methods: dict[str, str]
    """Movie id to method."""
    provenance: dict[str, Any]
    """Movie id to the provenance of the movie that was attached."""
    scans: dict[str, dict[str, Any]]
    """Scan id to raw_path, raw_sha256 and label."""


@dataclass
class ScanState:
    """A scan as the log tells it; `private` is ciphertext."""

    scan_id: str
    clip_id: str
    subject: str
    plane: str
    sampling: str
    private: str
    movies: dict[str, str] = field(default_factory=dict)
    """Movie id to the SHA-256 of its file, sorted by id."""
    movies_private: str = ""

    @property
    def clip(self) -> Clip:
        """The scan's movies as a clip."""
        return Clip(self.clip_id, self.subject, self.plane, self.sampling, tuple(self.movies))


@dataclass
class StudyState:
    """Everything known of a study after the event with number `sequence`."""

    sequence: int = 0
    head_hash: str = GENESIS_HASH
    phase: Phase = "design"
    protocol: Protocol | None = None
    private: str = ""
    scans: dict[str, ScanState] = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    schedules: dict[str, tuple[Presentation, ...]] = field(default_factory=dict)
    sealed_key_sha256: str = ""
    protocol_sha256: str = ""
    rankings: dict[tuple[str, str], RankingRecord] = field(default_factory=dict)
    measurements: dict[tuple[str, str], MeasurementRecord] = field(default_factory=dict)
    revealed: Revealed | None = None

    def clip(self, clip_id: str) -> Clip:
        """Return a clip by its id. Raises StudyError when there is none."""
        return self.scan_of_clip(clip_id).clip

    def scan_of_clip(self, clip_id: str) -> ScanState:
        """Return the scan whose movies a clip names. Raises StudyError when there is none."""
        for scan in self.scans.values():
            if scan.clip_id == clip_id:
                return scan
        raise StudyError(f"The study has no clip '{clip_id}'.")

    def schedule(self, reader: str) -> tuple[Presentation, ...]:
        """Return a reader's presentations. Raises StudyError before the lock and for an unknown reader."""
        if self.phase == "design":
            raise StudyError("There is no schedule yet: lock the study first.")
        try:
            return self.schedules[person_name(reader)]
        except KeyError:
            raise StudyError(
                f"'{reader}' is no reader of this study: the readers are {', '.join(self.readers)}."
            ) from None

    def ranked(self, reader: str, presentation: Presentation) -> bool:
        """Whether a reader has committed a ranking of a presentation."""
        return (person_name(reader), presentation.presentation_id) in self.rankings

    def progress(self, reader: str) -> tuple[int, int]:
        """Return how many rankings a reader has committed, and how many there are to be."""
        presentations = self.schedule(reader)
        return sum(self.ranked(reader, item) for item in presentations), len(presentations)

    def next_presentation(self, reader: str) -> Presentation | None:
        """Return the first presentation that a reader has not ranked, or None when all are."""
        return next((item for item in self.schedule(reader) if not self.ranked(reader, item)), None)

    def missing_rankings(self) -> dict[str, int]:
        """Return how many rankings each reader still owes; readers who are done are left out."""
        missing = {
            reader: sum(not self.ranked(reader, item) for item in presentations)
            for reader, presentations in self.schedules.items()
        }
        return {reader: count for reader, count in missing.items() if count}

    def apply(self, event: Event) -> None:
        """Take one event in. Raises StudyError when it does not follow on, or is of an unknown kind."""
        if event.sequence != self.sequence + 1 or event.previous_hash != self.head_hash:
            raise StudyError(
                f"Event {event.sequence} of the study does not follow event {self.sequence}: "
                "the log was changed by something else than blindcine."
            )
        handler = _HANDLERS.get(event.kind)
        if handler is None:
            raise StudyError(
                f"Event {event.sequence} is of the unknown kind '{event.kind}': open the study with a "
                "newer blindcine."
            )
        try:
            handler(self, event)
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(
                f"Event {event.sequence} ({event.kind}) lacks something or is malformed: {error!r}."
            ) from error
        self.sequence = event.sequence
        self.head_hash = event.hash


def _study_created(state: StudyState, event: Event) -> None:
    schema = event.payload["schema"]
    if schema != SCHEMA:
        raise StudyError(
            f"The study is of schema {schema}, this program knows {SCHEMA}: use a newer blindcine."
        )
    state.protocol = Protocol.from_dict(event.payload["protocol"])
    state.private = event.payload["private"]


def _scan_imported(state: StudyState, event: Event) -> None:
    payload = event.payload
    state.scans[payload["scan_id"]] = ScanState(
        scan_id=payload["scan_id"],
        clip_id=payload["clip_id"],
        subject=payload["subject"],
        plane=payload["plane"],
        sampling=payload["sampling"],
        private=payload["private"],
    )


def _scan_removed(state: StudyState, event: Event) -> None:
    del state.scans[event.payload["scan_id"]]


def _movies_attached(state: StudyState, event: Event) -> None:
    scan = state.scans[event.payload["scan_id"]]
    scan.movies = dict(sorted(event.payload["movies"].items()))
    scan.movies_private = event.payload["private"]


def _study_locked(state: StudyState, event: Event) -> None:
    payload = event.payload
    state.phase = "reading"
    state.readers = tuple(payload["readers"])
    state.sealed_key_sha256 = payload["sealed_key_sha256"]
    state.protocol_sha256 = payload["protocol_sha256"]
    state.schedules = {
        reader: tuple(
            Presentation(index, entry["presentation_id"], entry["clip_id"], tuple(entry["permutation"]))
            for index, entry in enumerate(entries)
        )
        for reader, entries in payload["schedules"].items()
    }


def _ranking_committed(state: StudyState, event: Event) -> None:
    payload = event.payload
    clip = state.clip(payload["clip_id"])
    window_level = payload["window_level"]
    state.rankings[payload["reader"], payload["presentation_id"]] = RankingRecord(
        reader=payload["reader"],
        presentation_id=payload["presentation_id"],
        index=payload["index"],
        clip_id=clip.clip_id,
        subject=clip.subject,
        plane=clip.plane,
        sampling=clip.sampling,
        movie_ids=tuple(payload["movie_ids"]),
        ranks=tuple(payload["ranks"]),
        time_utc=event.time_utc,
        seconds=payload["seconds"],
        frames_skipped=payload["frames_skipped"],
        loops=payload["loops"],
        comment=payload["comment"],
        window_level=None if window_level is None else (window_level[0], window_level[1]),
    )


def _measurement_saved(state: StudyState, event: Event) -> None:
    payload = event.payload
    clip = state.clip(payload["clip_id"])
    state.measurements[payload["observer"], clip.clip_id] = MeasurementRecord(
        observer=payload["observer"],
        clip_id=clip.clip_id,
        subject=clip.subject,
        plane=clip.plane,
        sampling=clip.sampling,
        shapes=payload["shapes"],
        values=payload["values"],
        time_utc=event.time_utc,
    )


def _unblinding_refused(state: StudyState, event: Event) -> None:
    """A wrong passphrase changes nothing; the event is there for the auditor."""


def _study_unblinded(state: StudyState, event: Event) -> None:
    payload = event.payload
    state.phase = "unblinded"
    state.revealed = Revealed(
        arms=tuple(payload["arms"]),
        arm_order=tuple(payload["arm_order"]),
        seed=payload["seed"],
        methods=dict(payload["methods"]),
        provenance=dict(payload["provenance"]),
        scans=dict(payload["scans"]),
    )


_HANDLERS: Mapping[str, Callable[[StudyState, Event], None]] = {
    "study_created": _study_created,
    "scan_imported": _scan_imported,
    "scan_removed": _scan_removed,
    "movies_attached": _movies_attached,
    "study_locked": _study_locked,
    "ranking_committed": _ranking_committed,
    "measurement_saved": _measurement_saved,
    "unblinding_refused": _unblinding_refused,
    "study_unblinded": _study_unblinded,
}
