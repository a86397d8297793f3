"""A study's state as a fold over its event log: records, and what each kind of event does to them.

Rule: state(n) = apply(state(n − 1), event(n)), with no other input. Whatever would tell a reader which movie
came from which method is in the log only as ciphertext until the event `study_unblinded` brings it in clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from studies.blinding import unveiled_labels, unveiled_schedule
from studies.errors import StudyError
from studies.log import GENESIS_HASH, Event
from studies.names import person_name
from studies.protocol import Amendment, PlannedScan, Protocol, ProtocolSecret
from studies.schedule import Kind, Presentation

Phase = Literal["design", "reading", "unblinded"]
SCHEMA = 1
PACKAGE_OPENED = "package_opened"
"""Kind of the first event of an unpacked reader package."""
PAUSE_MINUTES = 5.0
"""A reader who left the window alone for so long has had a break."""


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
    practice: bool = False
    """Shown first, never analysed."""


@dataclass(frozen=True)
class Clip:
    """The movies of one scan, without a hint of their origin."""

    clip_id: str
    subject: str
    plane: str
    sampling: str
    movie_ids: tuple[str, ...]
    """Sorted random identifiers: the order carries no information."""
    practice: bool = False
    """Shown first, never analysed."""


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
    kind: Kind = "reading"
    """Only first readings enter the main analysis."""
    confidence: int | None = None
    """From 1 (a guess) to 5 (certain)."""
    cannot_judge: bool = False
    """The reader could not rank these movies: `ranks` is empty, and the clip is missing in the analysis."""
    session_id: str | None = None
    viewing: dict[str, Any] = field(default_factory=dict)
    """How the movies were looked at: frames shown, speeds, passes of each panel, zoom and more."""
    software: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionRecord:
    """One sitting of a reader, and under which conditions it began."""

    session_id: str
    """Opaque."""
    reader: str
    conditions: dict[str, Any]
    """Display check, screen, resolution, refresh rate and whatever else the window found out."""
    software: dict[str, str]
    time_utc: str


@dataclass(frozen=True)
class GuessRecord:
    """What a reader, having ranked everything, took the movies of a clip for."""

    reader: str
    presentation_id: str
    clip_id: str
    movie_ids: tuple[str, ...]
    """By position on the screen."""
    guesses: tuple[str | None, ...]
    """By position: a label as `names.method_label` makes it, or None for "do not know"."""
    time_utc: str


@dataclass(frozen=True)
class BreakRecord:
    """A prompt to take a break, and whether the reader took it."""

    reader: str
    taken: bool
    minutes: float
    """How long the reader had read without a pause."""
    time_utc: str


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
class ExportedPackage:
    """A package that the study has made for a reader."""

    package_id: str
    reader: str
    public_key: str
    """Ed25519, hexadecimal."""
    manifest_sha256: str
    done: int
    """How many rankings the reader had given before; the package goes on from there."""
    time_utc: str


@dataclass(frozen=True)
class MergedResponse:
    """What of a reader's response the study has taken in."""

    reader: str
    package_id: str
    copy_id: str
    """Which unpacked copy of the package was read."""
    answers: tuple[Event, ...]
    """The events of the copy so far, in its own chain."""
    signature: str
    """Of the last response that was merged, hexadecimal."""


@dataclass(frozen=True)
class PackageIdentity:
    """Which package this study is, if it is one."""

    package_id: str
    copy_id: str
    study_id: str
    """Hash of the first event of the study that the package is of."""
    reader: str
    public_key: str


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
    planned_scans: tuple[PlannedScan, ...] = ()

    @property
    def secret(self) -> ProtocolSecret:
        """The hidden part of the protocol, as it was hashed at the lock."""
        return ProtocolSecret(arms=self.arms, seed=self.seed, scans=self.planned_scans)


@dataclass
class ScanState:
    """A scan as the log tells it; `private` is ciphertext."""

    scan_id: str
    clip_id: str
    subject: str
    plane: str
    sampling: str
    private: str
    practice: bool = False
    movies: dict[str, str] = field(default_factory=dict)
    """Movie id to the SHA-256 of its file, sorted by id."""
    movies_private: str = ""

    @property
    def clip(self) -> Clip:
        """The scan's movies as a clip."""
        return Clip(self.clip_id, self.subject, self.plane, self.sampling, tuple(self.movies), self.practice)

    def stratum(self, by: Sequence[str]) -> str:
        """The scan's stratum, from its `plane`, its `sampling` or both."""
        return "/".join(str(getattr(self, name)) for name in by)


@dataclass
class StudyState:
    """Everything known of a study after the event with number `sequence`."""

    sequence: int = 0
    head_hash: str = GENESIS_HASH
    phase: Phase = "design"
    protocol: Protocol | None = None
    """As amended."""
    locked_protocol: Protocol | None = None
    """As it was hashed at the lock."""
    amendments: list[Amendment] = field(default_factory=list)
    private: str = ""
    scans: dict[str, ScanState] = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    schedules: dict[str, tuple[Presentation, ...]] = field(default_factory=dict)
    sealed_key_sha256: str = ""
    protocol_sha256: str = ""
    study_id: str = ""
    """Hash of the first event: no two studies share it, for it covers ciphertext with a random nonce."""
    veiled_labels: str = ""
    """The labels of the methods that readers guess from, see `blinding.veil_labels`; empty if none."""
    rankings: dict[tuple[str, str], RankingRecord] = field(default_factory=dict)
    breaks: list[BreakRecord] = field(default_factory=list)
    minutes_read: dict[str, float] = field(default_factory=dict)
    """By reader: time on clips since the reader's last pause or break prompt."""
    last_commit: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, SessionRecord] = field(default_factory=dict)
    resumed: dict[str, str] = field(default_factory=dict)
    """By reader: the presentation to show again in a session in which nothing has been ranked yet."""
    guesses: dict[tuple[str, str], GuessRecord] = field(default_factory=dict)
    exports: dict[str, ExportedPackage] = field(default_factory=dict)
    """By package id."""
    merged: dict[str, MergedResponse] = field(default_factory=dict)
    """By package id; the package that a reader answered last is the last of that reader."""
    refused: set[str] = field(default_factory=set)
    """SHA-256 of the responses that were refused on record."""
    package: PackageIdentity | None = None
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

    def last_ranked(self, reader: str) -> str | None:
        """Return the presentation that a reader ranked last."""
        own = [presentation_id for name, presentation_id in self.rankings if name == reader]
        return own[-1] if own else None

    def last_package(self, reader: str) -> str | None:
        """Return the package from which a reader's answers were merged last."""
        own = [merged.package_id for merged in self.merged.values() if merged.reader == reader]
        return own[-1] if own else None

    def missing_rankings(self) -> dict[str, int]:
        """Return how many rankings each reader still owes; readers who are done are left out."""
        missing = {
            reader: sum(not self.ranked(reader, item) for item in presentations)
            for reader, presentations in self.schedules.items()
        }
        return {reader: count for reader, count in missing.items() if count}

    def count_reading(self, reader: str, time_utc: str, seconds: float | None) -> None:
        """Add a commit to the time that a reader has read without a pause.

        The time on a clip comes from the window's own clock; the log's clock, which may be set, serves only
        to notice that the reader was away between two clips.
        """
        minutes = (seconds or 0.0) / 60
        before = self.last_commit.get(reader)
        if before is not None and _minutes_between(before, time_utc) - minutes >= PAUSE_MINUTES:
            self.minutes_read[reader] = 0.0
        self.minutes_read[reader] = self.minutes_read.get(reader, 0.0) + minutes
        self.last_commit[reader] = time_utc

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
        except (LookupError, TypeError, ValueError) as error:
            raise StudyError(
                f"Event {event.sequence} ({event.kind}) lacks something or is malformed: {error!r}."
            ) from error
        if event.sequence == 1:
            self.study_id = event.hash
        self.sequence = event.sequence
        self.head_hash = event.hash

    def apply_answer(self, event: Event) -> None:
        """Take in an event of a reader that came with a response, outside this log's chain.

        Raises:
            KeyError: for a kind of event that no reader makes.
        """
        _ANSWER_HANDLERS[event.kind](self, event)


def _minutes_between(before: str, after: str) -> float:
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds() / 60


def _study_created(state: StudyState, event: Event) -> None:
    schema = event.payload["schema"]
    if schema != SCHEMA:
        raise StudyError(
            f"The study is of schema {schema}, this program knows {SCHEMA}: use a newer blindcine."
        )
    _protocol_set(state, event)


def _protocol_set(state: StudyState, event: Event) -> None:
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
        practice=payload.get("practice", False),
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
    state.locked_protocol = state.protocol
    state.veiled_labels = payload.get("labels", "")
    if "protocol" in payload and Protocol.from_dict(payload["protocol"]) != state.protocol:
        raise ValueError("the protocol that was locked is not the one that was set")
    state.schedules = {reader: _schedule(entries) for reader, entries in payload["schedules"].items()}


def _schedule(entries: Sequence[Mapping[str, Any]]) -> tuple[Presentation, ...]:
    return tuple(
        Presentation(
            index,
            entry["presentation_id"],
            entry["clip_id"],
            tuple(entry["permutation"]),
            entry.get("kind", "reading"),
        )
        for index, entry in enumerate(entries)
    )


def _package_opened(state: StudyState, event: Event) -> None:
    """A package's log begins with what its manifest says; its study is locked already."""
    if event.sequence != 1:
        raise ValueError("a package begins with its first event")
    manifest = event.payload["manifest"]
    state.package = PackageIdentity(
        package_id=manifest["package_id"],
        copy_id=event.payload["copy_id"],
        study_id=manifest["study_id"],
        reader=manifest["reader"],
        public_key=manifest["public_key"],
    )
    state.phase = "reading"
    state.protocol = state.locked_protocol = Protocol.from_dict(manifest["protocol"])
    state.protocol_sha256 = manifest["protocol_sha256"]
    state.veiled_labels = manifest["labels"]
    state.readers = (manifest["reader"],)
    state.schedules = {manifest["reader"]: _schedule(unveiled_schedule(manifest["schedule"]))}
    for clip in manifest["clips"]:
        state.scans[clip["clip_id"]] = ScanState(
            scan_id=clip["clip_id"],
            clip_id=clip["clip_id"],
            subject="",
            plane=clip["plane"],
            sampling=clip["sampling"],
            private="",
            practice=clip["practice"],
            movies=dict(sorted(clip["movies"].items())),
        )
    for earlier in manifest["earlier"]:
        # They stand in the chain of the study, not in this one.
        state.apply_answer(Event(**earlier, sequence=0, actor=manifest["reader"], previous_hash="", hash=""))


def _package_exported(state: StudyState, event: Event) -> None:
    payload = event.payload
    state.exports[payload["package_id"]] = ExportedPackage(
        package_id=payload["package_id"],
        reader=payload["reader"],
        public_key=payload["public_key"],
        manifest_sha256=payload["manifest_sha256"],
        done=payload["done"],
        time_utc=event.time_utc,
    )


def _response_merged(state: StudyState, event: Event) -> None:
    """Apply the answers that came with a response, each at the time when it was given."""
    payload = event.payload
    answers = [Event(**answer) for answer in payload["events"]]
    before = state.merged.pop(payload["package_id"], None)
    state.merged[payload["package_id"]] = MergedResponse(
        reader=payload["reader"],
        package_id=payload["package_id"],
        copy_id=payload["copy_id"],
        answers=(*(before.answers if before else ()), *answers),
        signature=payload["signature"],
    )
    for answer in answers:
        state.apply_answer(answer)


def _response_refused(state: StudyState, event: Event) -> None:
    """A second copy that was read changes no answer; the event is there for the auditor."""
    state.refused.add(event.payload["response_sha256"])


def _session_started(state: StudyState, event: Event) -> None:
    payload = event.payload
    reader = payload["reader"]
    state.sessions[payload["session_id"]] = SessionRecord(
        session_id=payload["session_id"],
        reader=reader,
        conditions=payload["conditions"],
        software=payload["software"],
        time_utc=event.time_utc,
    )
    last = state.last_ranked(reader)
    if last is not None:
        state.resumed[reader] = last


def _refresher_shown(state: StudyState, event: Event) -> None:
    state.resumed.pop(event.payload["reader"], None)


def _guess_recorded(state: StudyState, event: Event) -> None:
    payload = event.payload
    labels = unveiled_labels(state.veiled_labels)
    key = payload["reader"], payload["presentation_id"]
    state.guesses[key] = GuessRecord(
        reader=payload["reader"],
        presentation_id=payload["presentation_id"],
        clip_id=payload["clip_id"],
        movie_ids=tuple(payload["movie_ids"]),
        guesses=tuple(None if choice is None else labels[choice] for choice in payload["choices"]),
        time_utc=event.time_utc,
    )


def _ranking_committed(state: StudyState, event: Event) -> None:
    payload = event.payload
    clip = state.clip(payload["clip_id"])
    window_level = payload["window_level"]
    kinds = {item.presentation_id: item.kind for item in state.schedules[payload["reader"]]}
    state.count_reading(payload["reader"], event.time_utc, payload["seconds"])
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
        kind=kinds[payload["presentation_id"]],
        confidence=payload.get("confidence"),
        cannot_judge=payload.get("cannot_judge", False),
        session_id=payload.get("session_id"),
        viewing=payload.get("viewing", {}),
        software=payload.get("software", {}),
    )
    state.resumed.pop(payload["reader"], None)


def _break_prompted(state: StudyState, event: Event) -> None:
    payload = event.payload
    reader = payload["reader"]
    state.breaks.append(BreakRecord(reader, payload["taken"], payload["minutes"], event.time_utc))
    state.minutes_read[reader] = 0.0
    state.last_commit[reader] = event.time_utc


def _protocol_amended(state: StudyState, event: Event) -> None:
    if state.protocol is None:
        raise ValueError("there is no protocol to amend")
    payload = event.payload
    changes = {field: (pair[0], pair[1]) for field, pair in payload["changes"].items()}
    state.protocol = Protocol.from_dict(
        {**state.protocol.as_fields(), **{field: new for field, (_, new) in changes.items()}}
    )
    state.amendments.append(
        Amendment(event.sequence, event.time_utc, event.actor, payload["reason"], changes)
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
        planned_scans=tuple(PlannedScan(**scan) for scan in payload.get("planned_scans", ())),
    )


def _nothing(state: StudyState, event: Event) -> None:
    """Nothing of this event concerns the study that it is merged into."""


_HANDLERS: Mapping[str, Callable[[StudyState, Event], None]] = {
    "study_created": _study_created,
    "scan_imported": _scan_imported,
    "scan_removed": _scan_removed,
    "movies_attached": _movies_attached,
    "study_locked": _study_locked,
    "protocol_set": _protocol_set,
    "protocol_amended": _protocol_amended,
    "ranking_committed": _ranking_committed,
    "break_prompted": _break_prompted,
    "session_started": _session_started,
    "refresher_shown": _refresher_shown,
    "guess_recorded": _guess_recorded,
    "package_exported": _package_exported,
    PACKAGE_OPENED: _package_opened,
    "response_merged": _response_merged,
    "response_refused": _response_refused,
    "measurement_saved": _measurement_saved,
    "unblinding_refused": _unblinding_refused,
    "study_unblinded": _study_unblinded,
}
_ANSWER_HANDLERS: Mapping[str, Callable[[StudyState, Event], None]] = {
    PACKAGE_OPENED: _nothing,
    "session_started": _session_started,
    "refresher_shown": _refresher_shown,
    "ranking_committed": _ranking_committed,
    "break_prompted": _break_prompted,
    "guess_recorded": _guess_recorded,
}
"""What a reader's response may hold."""
ANSWER_KINDS = frozenset(_ANSWER_HANDLERS)
