"""The rows that a report is made from: one a movie in a ranking, one a movie that was measured.

They come from an unblinded study, name methods, and are the lines of ranking.csv and measurements.csv. Rule:
whatever a report says is computed from these rows, so it can be computed again from the two files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from studies.errors import StudyError
from studies.names import position_letter
from studies.ranking import competition, dense, mid_ranks

if TYPE_CHECKING:
    from studies.study import Study

METHOD_LABELS = {
    "gridded": "Gridded",
    "compressed_sensing": "Compressed sensing",
    "dl_natural": "DL, natural videos",
    "dl_cardiac": "DL, cardiac data",
}


@dataclass(frozen=True)
class RankingRow:
    """One movie in one committed ranking; a line of ranking.csv."""

    reader: str
    presentation: str
    clip: str
    subject: str
    plane: str
    sampling: str
    position: str
    """A, B, C… from left to right."""
    method: str
    rank_competition: int
    rank_mid: float
    rank_dense: int
    time_utc: str
    seconds: float | None = None
    loops: int | None = None
    frames_skipped: int | None = None
    comment: str = ""
    repeat: int = 0
    """0 for the first reading of a clip by a reader, 1 for its hidden repeat."""


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


def method_label(method: str) -> str:
    """How a method is called in tables."""
    return METHOD_LABELS.get(method, in_words(method))


def in_words(name: str) -> str:
    """A stored name as it is printed: "least_squares" is "Least squares"."""
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def ranking_rows(study: Study, *, practice: bool = False) -> tuple[RankingRow, ...]:
    """Rows of ranking.csv from an unblinded study: first readings and hidden repeats, or practice cases only.

    Raises:
        StudyError: The study is still blinded.
    """
    method_of = study.method_of
    rows = []
    for record in study.rankings:
        if (record.kind == "practice") != practice:
            continue
        places = zip(
            record.movie_ids,
            competition(record.ranks),
            mid_ranks(record.ranks),
            dense(record.ranks),
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
                )
            )
    return tuple(rows)


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


def model_facts(study: Study) -> list[tuple[str, str]]:
    """One line for each trained model that made movies of the study: its name and what it cautions of.

    Raises:
        StudyError: The study is still blinded.
    """
    cautions: dict[str, str] = {}
    for provenance in study.provenance_of.values():
        model = provenance.get("model") if isinstance(provenance, Mapping) else None
        if model:
            cautions[str(model.get("name", "unnamed"))] = str(model.get("caution", ""))
    return [(f"Model {name}", caution or "no caution stated") for name, caution in sorted(cautions.items())]


def tables_of(study: Study) -> StudyTables:
    """The rows and facts of an unblinded study.

    Raises:
        StudyError: The study is still blinded: unblind it first.
    """
    if study.phase != "unblinded":
        raise StudyError(f"The study '{study.name}' is still blinded: unblind it before exporting results.")
    subjects = {clip.subject for clip in study.clips}
    unread = sum(study.missing_rankings().values())
    kinds = Counter(record.kind for record in study.rankings)
    read = f"{kinds['reading']} committed, {unread} missing"
    if kinds["repeat"] or kinds["practice"]:
        read += (
            f"; besides {kinds['repeat']} hidden repeats, used for intra-reader agreement only, and "
            f"{kinds['practice']} of practice cases, not used"
        )
    facts = [
        ("Clips", f"{len(study.clips)} of {len(subjects)} {'subject' if len(subjects) == 1 else 'subjects'}"),
        ("Readers", ", ".join(study.readers)),
        ("Rankings", read),
        ("Observers (measurements)", ", ".join(sorted({m.observer for m in study.measurements})) or "none"),
        ("Measurement window", f"{study.protocol.measurement_window_s:g} s from the first frame"),
        (
            "Grey scale of the panels",
            in_words(study.protocol.grey_scale).lower() + ", one rule for all arms of a clip",
        ),
        *model_facts(study),
        ("SHA-256 of the protocol", study.protocol_sha256),
        *((f"Amendment {number}", str(item)) for number, item in enumerate(study.amendments, start=1)),
        ("Head of the event log", str(study.head)),
    ]
    return StudyTables(
        name=study.name,
        arms=study.arms,
        rankings=ranking_rows(study),
        practice=ranking_rows(study, practice=True),
        measurements=measurement_rows(study),
        alpha=study.protocol.alpha,
        facts=tuple(facts),
    )
