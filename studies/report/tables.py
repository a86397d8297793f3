"""The rows that a report is made from: one a movie in a ranking, one a movie that was measured, one a guess.

They come from an unblinded study, name methods, and are the lines of ranking.csv, measurements.csv and
guesses.csv. Rule: whatever a report says in numbers is computed from these rows, so it can be computed again
from the files. A reading that is missing has rows too, without ranks and with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from studies.errors import StudyError
from studies.names import in_words, method_label, position_letter
from studies.protocol import STRATA
from studies.ranking import competition, dense, mid_ranks

if TYPE_CHECKING:
    from studies.schedule import Presentation
    from studies.state import Clip
    from studies.study import Study

CANNOT_JUDGE = "cannot judge"
NOT_READ = "not read"


@dataclass(frozen=True)
class RankingRow:
    """One movie in one reading; a line of ranking.csv."""

    reader: str
    presentation: str
    clip: str
    subject: str
    plane: str
    sampling: str
    position: str
    """A, B, C… from left to right."""
    method: str
    rank_competition: int | None
    """This and the two below: None where the reading is missing."""
    rank_mid: float | None
    rank_dense: int | None
    time_utc: str
    seconds: float | None = None
    loops: int | None = None
    frames_skipped: int | None = None
    comment: str = ""
    repeat: int = 0
    """0 for the first reading of a clip by a reader, 1 for its hidden repeat."""
    missing: str = ""
    """Why there are no ranks: "cannot judge" (the reader said so), "not read", or nothing."""
    confidence: int | None = None
    """The reader's confidence in this ranking, 1 to 5; None where it was not asked or not given."""
    session: str = ""
    viewing: str = ""
    """How the movies were looked at, as JSON; empty where the window did not record it."""


@dataclass(frozen=True)
class MeasurementRow:
    """One movie measured by one observer; a line of measurements.csv. None: not measured, or not finite."""

    observer: str
    clip: str
    subject: str
    plane: str
    sampling: str
    method: str
    snr_db_mean: float | None = None
    snr_db_sd: float | None = None
    edge_sharpness_per_mm_mean: float | None = None
    edge_sharpness_per_mm_sd: float | None = None
    edge_width_mm_mean: float | None = None
    edge_width_mm_sd: float | None = None
    frames: int = 0
    snr_frames_excluded: int = 0
    edge_frames_excluded: int = 0
    signal_pixels: int = 0
    background_pixels: int = 0
    line_length_mm: float = 0.0
    window_s: float | None = None
    time_utc: str = ""
    warnings: str = ""
    temporal_snr_db: float | None = None
    """This and what follows: companions, None in measurements of versions that had none."""
    difference_snr_db_mean: float | None = None
    difference_snr_db_sd: float | None = None
    edge_rise_mm_mean: float | None = None
    edge_rise_mm_sd: float | None = None
    edge_sigma_mm_mean: float | None = None
    edge_sigma_mm_sd: float | None = None
    edge_fit_residual_mean: float | None = None
    signal_area_mm2: float | None = None
    background_area_mm2: float | None = None
    line_width_px: int | None = None
    first_frame: int | None = None
    """The first frame of means and SDs, from 1."""
    displacement_px: float | None = None
    """Longest way of a region that was followed."""


@dataclass(frozen=True)
class GuessRow:
    """What a reader took one movie for, asked after the last clip; a line of guesses.csv."""

    reader: str
    presentation: str
    clip: str
    subject: str
    plane: str
    sampling: str
    position: str
    method: str
    guess: str
    """A method; empty where the reader did not know."""
    time_utc: str


@dataclass(frozen=True)
class SessionRow:
    """One fact about one reading session; a line of sessions.csv."""

    reader: str
    session: str
    time_utc: str
    item: str
    value: str


@dataclass(frozen=True)
class BreakRow:
    """One prompt to take a break; a line of breaks.csv."""

    reader: str
    time_utc: str
    minutes_read: float
    taken: int


@dataclass(frozen=True)
class ScanRow:
    """One scan and who it was; a line of scans.csv."""

    clip: str
    subject: str
    plane: str
    sampling: str
    practice: int
    label: str
    raw_file: str
    raw_sha256: str


@dataclass(frozen=True)
class Conduct:
    """How the study was done: when, by whom, under what conditions, with which software and models."""

    timeline: tuple[tuple[str, str, str], ...] = ()
    """What happened, when (UTC), and who did it."""
    sessions: tuple[SessionRow, ...] = ()
    breaks: tuple[BreakRow, ...] = ()
    scans: tuple[ScanRow, ...] = ()
    provenance: tuple[dict[str, Any], ...] = ()
    """Of every movie: clip, method, and what made it."""
    amendments: tuple[str, ...] = ()
    forced: bool = False
    """Whether the study was unblinded although rankings were missing."""
    refused: int = 0
    """How often a wrong passphrase was given."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    protocol_sha256: str = ""
    log_head: str = ""


@dataclass(frozen=True)
class StudyTables:
    """All that a report is made from."""

    name: str
    arms: tuple[str, ...]
    rankings: tuple[RankingRow, ...]
    measurements: tuple[MeasurementRow, ...]
    alpha: float = 0.05
    facts: tuple[tuple[str, str], ...] = ()
    """Further lines of the page's first table: what and its value."""
    practice: tuple[RankingRow, ...] = ()
    """Rankings of practice cases, which no analysis uses."""
    guesses: tuple[GuessRow, ...] = ()
    strata: tuple[str, ...] = STRATA
    """Which of plane and sampling name the strata."""
    endpoints: tuple[str, ...] = ("rank",)
    """Of the protocol, the primary one first."""
    readers: tuple[str, ...] = ()
    """All who were to read; those of the rows if empty."""
    conduct: Conduct = field(default_factory=Conduct)


# From a study


def ranking_rows(study: Study, *, practice: bool = False) -> tuple[RankingRow, ...]:
    """Rows of ranking.csv from an unblinded study: first readings and hidden repeats, or practice cases only.

    Readings of the schedule that were never done, or could not be judged, have rows without ranks.

    Raises:
        StudyError: The study is still blinded.
    """
    method_of = study.method_of
    rows: list[RankingRow] = []
    done = set()
    for record in study.rankings:
        done.add((record.reader, record.presentation_id))
        if (record.kind == "practice") != practice:
            continue
        judged = bool(record.ranks)
        nothing: tuple[None, ...] = (None,) * len(record.movie_ids)
        places = zip(
            record.movie_ids,
            competition(record.ranks) if judged else nothing,
            mid_ranks(record.ranks) if judged else nothing,
            dense(record.ranks) if judged else nothing,
            strict=True,
        )
        for position, (movie_id, rank, middle, level) in enumerate(places):
            rows.append(
                RankingRow(
                    reader=record.reader,
                    presentation=record.presentation_id,
                    clip=record.clip_id,
                    subject=record.subject,
                    plane=record.plane,
                    sampling=record.sampling,
                    position=position_letter(position),
                    method=method_of[movie_id],
                    rank_competition=rank,
                    rank_mid=middle,
                    rank_dense=level,
                    time_utc=record.time_utc,
                    seconds=record.seconds,
                    loops=record.loops,
                    frames_skipped=record.frames_skipped,
                    comment=record.comment,
                    repeat=int(record.kind == "repeat"),
                    missing="" if judged else CANNOT_JUDGE,
                    confidence=record.confidence,
                    session=record.session_id or "",
                    viewing=_json(record.viewing),
                )
            )
    clips = {clip.clip_id: clip for clip in (*study.clips, *study.practice_clips)}
    for reader in study.readers:
        for item in study.schedule(reader):
            if (reader, item.presentation_id) not in done and (item.kind == "practice") == practice:
                rows += _not_read(reader, item, clips[item.clip_id], method_of)
    return tuple(rows)


def _not_read(reader: str, item: Presentation, clip: Clip, method_of: Mapping[str, str]) -> list[RankingRow]:
    return [
        RankingRow(
            reader=reader,
            presentation=item.presentation_id,
            clip=clip.clip_id,
            subject=clip.subject,
            plane=clip.plane,
            sampling=clip.sampling,
            position=position_letter(position),
            method=method_of[clip.movie_ids[choice]],
            rank_competition=None,
            rank_mid=None,
            rank_dense=None,
            time_utc="",
            repeat=int(item.kind == "repeat"),
            missing=NOT_READ,
        )
        for position, choice in enumerate(item.permutation)
    ]


def measurement_rows(study: Study) -> tuple[MeasurementRow, ...]:
    """Rows of measurements.csv from an unblinded study.

    Raises:
        StudyError: The study is still blinded.
    """
    method_of = study.method_of
    names = {item.name for item in fields(MeasurementRow)}
    rows = []
    for record in study.measurements:
        for movie_id, values in record.values.items():
            if movie_id not in method_of:
                continue
            known = {key: value for key, value in values.items() if key in names and key != "warnings"}
            rows.append(
                MeasurementRow(
                    observer=record.observer,
                    clip=record.clip_id,
                    subject=record.subject,
                    plane=record.plane,
                    sampling=record.sampling,
                    method=method_of[movie_id],
                    time_utc=record.time_utc,
                    warnings=" ".join(values.get("warnings", ())),
                    **known,
                )
            )
    return tuple(sorted(rows, key=lambda row: (row.observer, row.plane, row.sampling, row.clip, row.method)))


def guess_rows(study: Study) -> tuple[GuessRow, ...]:
    """Rows of guesses.csv from an unblinded study; none where readers were not asked.

    Raises:
        StudyError: The study is still blinded, or a guess names something else than a method.
    """
    method_of = study.method_of
    clips = {clip.clip_id: clip for clip in (*study.clips, *study.practice_clips)}
    known = {name.casefold(): arm for arm in study.arms for name in (in_words(arm), method_label(arm), arm)}
    rows = []
    for record in study.guesses:
        clip = clips[record.clip_id]
        for position, (movie_id, guess) in enumerate(zip(record.movie_ids, record.guesses, strict=True)):
            if guess and guess.casefold() not in known:
                raise StudyError(
                    f"{record.reader} guessed '{guess}' in clip '{record.clip_id}', which is no method of "
                    "the study: open it with the version of blindcine that it was read with."
                )
            rows.append(
                GuessRow(
                    reader=record.reader,
                    presentation=record.presentation_id,
                    clip=record.clip_id,
                    subject=clip.subject,
                    plane=clip.plane,
                    sampling=clip.sampling,
                    position=position_letter(position),
                    method=method_of[movie_id],
                    guess=known[guess.casefold()] if guess else "",
                    time_utc=record.time_utc,
                )
            )
    return tuple(rows)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    """Names and values below a JSON object: {"a": {"b": 1}} is a.b = 1."""
    if isinstance(value, Mapping):
        return [
            pair
            for key, item in sorted(value.items())
            for pair in _flat(f"{prefix}.{key}" if prefix else key, item)
        ]
    if isinstance(value, list | tuple) and not any(
        isinstance(item, Mapping | list | tuple) for item in value
    ):
        return [(prefix, " ".join(str(item) for item in value))]
    if isinstance(value, list | tuple):
        return [(prefix, json.dumps(value, ensure_ascii=False, sort_keys=True))]
    if isinstance(value, bool):
        return [(prefix, "yes" if value else "no")]
    return [(prefix, "" if value is None else str(value))]


def session_rows(study: Study) -> tuple[SessionRow, ...]:
    """Rows of sessions.csv: what every reading session recorded of the screen and the software."""
    return tuple(
        SessionRow(record.reader, record.session_id, record.time_utc, item, value)
        for record in study.sessions
        for prefix, part in (("", record.conditions), ("software", record.software))
        for item, value in _flat(prefix, part)
    )


def conduct_of(study: Study) -> Conduct:
    """How an unblinded study was done. Raises StudyError while it is blinded."""
    words = {
        "study_created": "Study made",
        "study_locked": "Locked: protocol hashed, key sealed",
        "protocol_amended": "Protocol amended",
        "unblinding_refused": "Unblinding refused (wrong passphrase)",
        "study_unblinded": "Unblinded",
        "response_merged": "A reader's response merged",
    }
    events = study.events
    timeline = [(words[event.kind], event.time_utc, event.actor) for event in events if event.kind in words]
    readings = sorted(record.time_utc for record in study.rankings)
    if readings:
        timeline += [
            ("First ranking committed", readings[0], ""),
            ("Last ranking committed", readings[-1], ""),
        ]
    unblinded = next((event for event in reversed(events) if event.kind == "study_unblinded"), None)
    method_of = study.method_of
    clip_of = {
        movie: clip.clip_id for clip in (*study.clips, *study.practice_clips) for movie in clip.movie_ids
    }
    return Conduct(
        timeline=tuple(sorted(timeline, key=lambda item: item[1])),
        sessions=session_rows(study),
        breaks=tuple(
            BreakRow(item.reader, item.time_utc, float(item.minutes), int(item.taken))
            for item in study.breaks
        ),
        scans=tuple(
            ScanRow(
                clip=scan.clip_id,
                subject=scan.subject,
                plane=scan.plane,
                sampling=scan.sampling,
                practice=int(scan.practice),
                label=scan.label or "",
                raw_file=scan.raw_path.name if scan.raw_path else "",
                raw_sha256=scan.raw_sha256 or "",
            )
            for scan in study.scans
        ),
        provenance=tuple(
            {"clip": clip_of[movie], "method": method_of[movie], "movie": movie, "provenance": made}
            for movie, made in sorted(
                study.provenance_of.items(), key=lambda item: (clip_of.get(item[0], ""), method_of[item[0]])
            )
            if movie in clip_of
        ),
        amendments=tuple(str(item) for item in study.amendments),
        forced=bool(unblinded and unblinded.payload.get("forced") and unblinded.payload.get("missing")),
        refused=sum(event.kind == "unblinding_refused" for event in events),
        protocol=study.protocol.as_fields(),
        protocol_sha256=study.protocol_sha256,
        log_head=str(study.head),
    )


def tables_of(study: Study) -> StudyTables:
    """The rows and facts of an unblinded study.

    Raises:
        StudyError: The study is still blinded, or open for a reader or physicist.
    """
    if study.phase != "unblinded":
        raise StudyError(f"The study '{study.name}' is still blinded: unblind it before exporting results.")
    if study.role != "coordinator":
        raise StudyError(
            f"The study '{study.name}' is open for a {study.role}, who does not see all of it: open it as "
            "its coordinator to export results."
        )
    subjects = {clip.subject for clip in study.clips}
    rankings = ranking_rows(study)
    protocol = study.protocol
    conduct = conduct_of(study)
    facts = [
        ("Clips", f"{len(study.clips)} of {len(subjects)} {'subject' if len(subjects) == 1 else 'subjects'}"),
        ("Readers", ", ".join(study.readers)),
        ("Rankings", _counted(study, rankings)),
        ("Observers (measurements)", ", ".join(sorted({m.observer for m in study.measurements})) or "none"),
        ("Measurement window", f"{protocol.measurement_window_s:g} s"),
        (
            "Grey scale of the panels",
            in_words(protocol.grey_scale).lower() + ", one rule for all arms of a clip",
        ),
        ("SHA-256 of the protocol", conduct.protocol_sha256),
        *((f"Amendment {number}", text) for number, text in enumerate(conduct.amendments, start=1)),
        ("Head of the event log", conduct.log_head),
    ]
    return StudyTables(
        name=study.name,
        arms=study.arms,
        rankings=rankings,
        practice=ranking_rows(study, practice=True),
        measurements=measurement_rows(study),
        guesses=guess_rows(study),
        alpha=protocol.alpha,
        facts=tuple(facts),
        strata=tuple(protocol.strata),
        endpoints=tuple(protocol.endpoints),
        readers=study.readers,
        conduct=conduct,
    )


def _counted(study: Study, rows: tuple[RankingRow, ...]) -> str:
    """How many readings there are, and how many of them are missing and why."""
    counts = dict.fromkeys(("", CANNOT_JUDGE, NOT_READ), 0)
    repeats = 0
    for row in {(row.reader, row.presentation): row for row in rows}.values():
        if row.repeat:
            repeats += not row.missing
        else:
            counts[row.missing] += 1
    practice = sum(record.kind == "practice" for record in study.rankings)
    text = f"{counts['']} committed, {counts[NOT_READ]} missing"
    if counts[CANNOT_JUDGE]:
        text += f", {counts[CANNOT_JUDGE]} that the reader could not judge"
    if repeats or practice:
        text += (
            f"; besides {repeats} hidden repeats, used for intra-reader agreement only, and {practice} of "
            "practice cases, not used"
        )
    return text
