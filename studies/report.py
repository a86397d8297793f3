"""Results of an unblinded study: ranking.csv, measurements.csv, statistics.csv and report.html.

The tables are those of the paper, per plane × sampling: mean ± SD of rank, SNR, edge sharpness (ES) and its
SD over time (STD-ES), with Friedman and Nemenyi p values; the exact tests of `studies.statistics` stand
first and the asymptotic ones are named as such. Rule: everything on the page is computed from the rows of
the two CSV files, so it can be computed again from them. Incomplete clips are left out of an endpoint and
counted; nothing is filled in.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studies import statistics
from studies.errors import StudyError
from studies.ranking import competition, dense, mid_ranks
from studies.report_figures import panel_png
from studies.storage import write_durably

if TYPE_CHECKING:
    from studies.study import Study

__all__ = [
    "AgreementRow",
    "EndpointGroup",
    "Exported",
    "Group",
    "MeasurementRow",
    "RankingRow",
    "StatisticRow",
    "StudyTables",
    "analyse",
    "export",
    "export_tables",
    "method_label",
    "panel_png",
    "statistic_rows",
    "tables_of",
]

METHOD_LABELS = {
    "gridded": "Gridded",
    "compressed_sensing": "Compressed sensing",
    "dl_natural": "DL, natural videos",
    "dl_cardiac": "DL, cardiac data",
}
SAMPLING_ORDER = ("cartesian", "radial", "spiral")
ALL = "all"
"""Plane and sampling of the secondary analysis over all clips."""


@dataclass(frozen=True)
class Endpoint:
    """A measured endpoint: its name in tables, its column, and which direction is called better."""

    key: str
    label: str
    unit: str
    column: str
    higher_is_better: bool


MEASURED_ENDPOINTS = (
    Endpoint("snr", "SNR", "dB", "snr_db_mean", True),
    Endpoint("es", "ES", "1/mm", "edge_sharpness_per_mm_mean", True),
    Endpoint("std_es", "STD-ES", "1/mm", "edge_sharpness_per_mm_sd", False),
    Endpoint("edge_width", "Edge width 10–90 %", "mm", "edge_width_mm_mean", False),
)


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


@dataclass(frozen=True)
class EndpointGroup:
    """One endpoint in one group; `result` is None where no clip was complete."""

    key: str
    label: str
    unit: str
    result: statistics.EndpointResult | None
    competition_mean: tuple[float, ...]
    """Rank endpoint only: means of competition ranks; else empty."""
    competition_sd: tuple[float, ...]
    values: tuple[tuple[str, tuple[float, ...]], ...]
    """Measured endpoints: clip and its values by arm, for the figure."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class AgreementRow:
    """How the readers of one group agree."""

    pair: statistics.AgreementResult
    mean_kendall_w: float
    """Mean over clips of Kendall's W of these two readers, less clips in which both tie everything."""


@dataclass(frozen=True)
class Group:
    """All results of one plane × sampling."""

    plane: str
    sampling: str
    secondary: bool
    clips: int
    subjects: int
    endpoints: tuple[EndpointGroup, ...]
    rank_shares: tuple[tuple[int, ...], ...]
    """(arm, place): how often each arm got each competition rank."""
    agreement: tuple[AgreementRow, ...]
    position: statistics.FriedmanResult | None
    position_means: tuple[float, ...]

    @property
    def title(self) -> str:
        """For headings: "Short axis, radial"."""
        if self.secondary:
            return "All clips (secondary analysis)"
        return f"{_words(self.plane)}, {_words(self.sampling).lower()}"


@dataclass(frozen=True)
class StatisticRow:
    """One number; a line of statistics.csv."""

    plane: str
    sampling: str
    endpoint: str
    comparison: str
    quantity: str
    kind: str
    """descriptive, exact, or asymptotic."""
    value: float | None
    p_value: float | None
    clips: int
    blocks: int
    readers: int
    note: str = ""


@dataclass(frozen=True)
class Exported:
    """Where the results lie."""

    ranking: Path
    measurements: Path
    statistics: Path
    report: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All four files."""
        return (self.ranking, self.measurements, self.statistics, self.report)


def method_label(method: str) -> str:
    """How a method is called in tables."""
    return METHOD_LABELS.get(method, _words(method))


def _words(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


# From the study


def ranking_rows(study: Study) -> tuple[RankingRow, ...]:
    """Rows of ranking.csv from an unblinded study.

    Raises:
        StudyError: The study is still blinded.
    """
    method_of = study.method_of
    rows = []
    for record in study.rankings:
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
                    position=_letter(position),
                    method=method_of[movie_id],
                    rank_competition=rank,
                    rank_mid=middle,
                    rank_dense=level,
                    time_utc=record.time_utc,
                    seconds=record.seconds,
                    loops=record.loops,
                    frames_skipped=record.frames_skipped,
                    comment=record.comment,
                )
            )
    return tuple(rows)


def _letter(position: int) -> str:
    return chr(ord("A") + position)


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


def tables_of(study: Study) -> StudyTables:
    """The rows and facts of an unblinded study.

    Raises:
        StudyError: The study is still blinded: unblind it first.
    """
    if study.phase != "unblinded":
        raise StudyError(f"The study '{study.name}' is still blinded: unblind it before exporting results.")
    subjects = {clip.subject for clip in study.clips}
    unread = sum(study.missing_rankings().values())
    facts = [
        ("Clips", f"{len(study.clips)} of {len(subjects)} subject(s)"),
        ("Readers", ", ".join(study.readers)),
        ("Rankings", f"{len(study.rankings)} committed, {unread} missing"),
        ("Observers (measurements)", ", ".join(sorted({m.observer for m in study.measurements})) or "none"),
        ("Measurement window", f"{study.protocol.measurement_window_s:g} s from the first frame"),
        (
            "Grey scale of the panels",
            _words(study.protocol.grey_scale).lower() + ", one rule for all arms of a clip",
        ),
        ("Event log", f"{study.head.sequence} events, last hash {study.head.hash[:16]}…"),
    ]
    return StudyTables(
        name=study.name,
        arms=study.arms,
        rankings=ranking_rows(study),
        measurements=measurement_rows(study),
        alpha=study.protocol.alpha,
        facts=tuple(facts),
    )


# Analysis


@dataclass
class _Clips:
    """Subjects of the clips of one group, in a fixed order."""

    subject_of: dict[str, str] = field(default_factory=dict)

    def add(self, clip: str, subject: str) -> None:
        self.subject_of.setdefault(clip, subject)

    def subjects(self, clips: Sequence[str]) -> list[str]:
        return [self.subject_of[clip] for clip in clips]


def _rank_endpoint(
    rows: Sequence[RankingRow], arms: Sequence[str], clips: _Clips
) -> tuple[EndpointGroup, dict[str, dict[str, dict[str, float]]], list[str], list[str]]:
    """The rank endpoint, the ranks by clip, reader and method, and the complete clips and readers it used."""
    ranks: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        ranks.setdefault(row.clip, {}).setdefault(row.reader, {})[row.method] = row.rank_mid
    readers = sorted({row.reader for row in rows})
    complete = [
        clip
        for clip in clips.subject_of
        if readers and all(set(ranks.get(clip, {}).get(reader, ())) == set(arms) for reader in readers)
    ]
    notes = []
    if len(complete) < len(ranks):
        notes.append(
            f"{len(ranks) - len(complete)} of {len(ranks)} clips were not ranked by every reader and are "
            "left out of the "
            "ranks."
        )
    result = None
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    if complete:
        table = [[[ranks[clip][reader][arm] for arm in arms] for clip in complete] for reader in readers]
        result = statistics.analyse_ranks(table, arms, blocks=clips.subjects(complete))
        other = statistics.analyse_ranks(table, arms, blocks=clips.subjects(complete), coding="competition")
        means, deviations = other.mean, other.sd
    group = EndpointGroup("rank", "Rank", "1 = best", result, means, deviations, (), tuple(notes))
    return group, ranks, complete, readers


def _measured_endpoint(
    endpoint: Endpoint, rows: Sequence[MeasurementRow], arms: Sequence[str], clips: _Clips
) -> EndpointGroup:
    """A measured endpoint: observers averaged per clip and arm, complete clips only."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        value = getattr(row, endpoint.column)
        by_arm = found.setdefault(row.clip, {})
        if value is not None and math.isfinite(value):
            by_arm.setdefault(row.method, []).append(float(value))
    # Arms must be averaged over the same observers, or a careful observer would count for one arm only.
    complete = [
        clip
        for clip in clips.subject_of
        if set(found.get(clip, ())) >= set(arms) and len({len(found[clip][arm]) for arm in arms}) == 1
    ]
    notes = []
    if len(complete) < len(found):
        notes.append(
            f"{endpoint.label}: {len(found) - len(complete)} of {len(found)} measured clips lack a finite "
            "value for some arm "
            "and are left out."
        )
    table = [[float(np.mean(found[clip][arm])) for arm in arms] for clip in complete]
    result = None
    if complete:
        result = statistics.analyse_values(
            table, arms, higher_is_better=endpoint.higher_is_better, blocks=clips.subjects(complete)
        )
    values = tuple((clip, tuple(row)) for clip, row in zip(complete, table, strict=True))
    return EndpointGroup(endpoint.key, endpoint.label, endpoint.unit, result, (), (), values, tuple(notes))


def _agreement(
    ranks: dict[str, dict[str, dict[str, float]]],
    clips: Sequence[str],
    readers: Sequence[str],
    arms: Sequence[str],
) -> tuple[AgreementRow, ...]:
    rows = []
    for first, second in combinations(readers, 2):
        one, other = (
            [[ranks[clip][reader][arm] for arm in arms] for clip in clips] for reader in (first, second)
        )
        concordance = np.array([statistics.kendall_w([a, b]) for a, b in zip(one, other, strict=True)])
        finite = concordance[np.isfinite(concordance)]
        rows.append(
            AgreementRow(
                pair=statistics.reader_agreement(one, other, (first, second)),
                mean_kendall_w=float(finite.mean()) if finite.size else math.nan,
            )
        )
    return tuple(rows)


def _position_table(
    rows: Sequence[RankingRow], clips: Sequence[str], readers: Sequence[str], count: int
) -> list[list[list[float]]]:
    """Mid-ranks by place on the screen: (reader, clip, position)."""
    found = {(row.reader, row.clip, row.position): row.rank_mid for row in rows}
    return [
        [[found[reader, clip, _letter(place)] for place in range(count)] for clip in clips]
        for reader in readers
    ]


def _group(tables: StudyTables, plane: str, sampling: str) -> Group:
    secondary = plane == ALL and sampling == ALL

    def chosen(row: RankingRow | MeasurementRow) -> bool:
        return secondary or (row.plane, row.sampling) == (plane, sampling)

    ranking = [row for row in tables.rankings if chosen(row)]
    measured = [row for row in tables.measurements if chosen(row)]
    clips = _Clips()
    for subject, clip in sorted({(row.subject, row.clip) for rows in (ranking, measured) for row in rows}):
        clips.add(clip, subject)
    rank, ranks, complete, readers = _rank_endpoint(ranking, tables.arms, clips)
    absent = sorted({row.reader for row in tables.rankings} - set(readers))
    if absent and readers:
        rank = replace(rank, notes=(*rank.notes, f"No ranking here by {', '.join(absent)}."))
    count = len(tables.arms)
    shares = np.zeros((count, count), dtype=int)
    for row in ranking:
        if row.clip in complete:
            shares[tables.arms.index(row.method), row.rank_competition - 1] += 1
    position = None
    position_means: tuple[float, ...] = ()
    if complete:
        by_place = _position_table(ranking, complete, readers, count)
        position = statistics.position_effect(by_place)
        position_means = tuple(float(value) for value in np.mean(by_place, axis=(0, 1)))
    return Group(
        plane=plane,
        sampling=sampling,
        secondary=secondary,
        clips=len(clips.subject_of),
        subjects=len(set(clips.subject_of.values())),
        endpoints=(
            rank,
            *(_measured_endpoint(endpoint, measured, tables.arms, clips) for endpoint in MEASURED_ENDPOINTS),
        ),
        rank_shares=tuple(tuple(int(value) for value in row) for row in shares),
        agreement=_agreement(ranks, complete, readers, tables.arms) if complete else (),
        position=position,
        position_means=position_means,
    )


def analyse(tables: StudyTables) -> list[Group]:
    """All groups: every plane × sampling, then (if there are several) all clips as a secondary analysis.

    In the secondary analysis the clips of a subject form one block.

    Raises:
        StudyError: A row names a method that is not an arm of the study.
    """
    rows: list[RankingRow | MeasurementRow] = [*tables.rankings, *tables.measurements]
    for row in rows:
        if row.method not in tables.arms:
            raise StudyError(
                f"A row of clip '{row.clip}' names the method '{row.method}', which is no arm of the study."
            )

    def order(key: tuple[str, str]) -> tuple[str, int, str]:
        plane, sampling = key
        known = SAMPLING_ORDER.index(sampling) if sampling in SAMPLING_ORDER else len(SAMPLING_ORDER)
        return plane, known, sampling

    keys = sorted({(row.plane, row.sampling) for row in rows}, key=order)
    groups = [_group(tables, plane, sampling) for plane, sampling in keys]
    if len(keys) > 1:
        groups.append(_group(tables, ALL, ALL))
    return groups


# Statistics.csv


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _endpoint_rows(group: Group, endpoint: EndpointGroup) -> Iterable[StatisticRow]:
    result = endpoint.result
    if result is None:
        return

    def row(
        comparison: str, quantity: str, kind: str, value: float | None, p: float | None = None, note: str = ""
    ) -> StatisticRow:
        return StatisticRow(
            plane=group.plane,
            sampling=group.sampling,
            endpoint=endpoint.key,
            comparison=comparison,
            quantity=quantity,
            kind=kind,
            value=_finite_or_none(value),
            p_value=_finite_or_none(p),
            clips=result.clips,
            blocks=result.blocks,
            readers=result.readers,
            note=note,
        )

    unit = "mid-ranks" if endpoint.key == "rank" else endpoint.unit
    for index, arm in enumerate(result.arms):
        yield row(arm, "mean", "descriptive", result.mean[index], note=unit)
        yield row(arm, "sd", "descriptive", result.sd[index], note=unit)
        low, high = result.interval[index]
        yield row(arm, "mean_ci95_low", "descriptive", low, note=f"{unit}; bootstrap over clips")
        yield row(arm, "mean_ci95_high", "descriptive", high, note=f"{unit}; bootstrap over clips")
        if endpoint.competition_mean:
            yield row(arm, "mean", "descriptive", endpoint.competition_mean[index], note="competition ranks")
            yield row(arm, "sd", "descriptive", endpoint.competition_sd[index], note="competition ranks")
        else:
            yield row(arm, "mean_rank_within_clip", "descriptive", result.mean_rank[index], note="mid-ranks")
    omnibus = result.omnibus
    everything = " vs ".join(result.arms)
    notes = " ".join((*result.notes, *endpoint.notes))
    yield row(everything, "friedman_exact", "exact", omnibus.statistic, omnibus.p_exact, notes)
    yield row(everything, "friedman_chi_square", "asymptotic", omnibus.statistic, omnibus.p_chi_square)
    yield row(
        everything, "iman_davenport_f", "asymptotic", omnibus.iman_davenport_f, omnibus.p_iman_davenport
    )
    yield row(everything, "kendall_w_of_clips", "descriptive", omnibus.kendall_w)
    for pair in result.pairs:
        name = f"{pair.first} vs {pair.second}"
        counts = f"{pair.wins} wins, {pair.ties} ties, {pair.losses} losses of {pair.first}"
        yield row(name, "net_preference", "descriptive", pair.net_preference, note=counts)
        yield row(
            name, "closed_test_adjusted", "exact", pair.net_preference, pair.p_adjusted_exact, pair.adjustment
        )
        yield row(name, "sign_test_unadjusted", "exact", pair.net_preference, pair.p_sign_exact, counts)
        sums = (
            "difference of mean rank sums over readers" if result.readers > 1 else "difference of mean ranks"
        )
        score = pair.mean_score_difference
        yield row(name, "single_step", "exact", score, pair.p_single_step_exact, f"exact Nemenyi; {sums}")
        yield row(
            name,
            "nemenyi",
            "asymptotic",
            pair.mean_rank_difference,
            pair.p_nemenyi,
            "as published; difference of mean ranks within clips",
        )
        yield row(name, "nemenyi_tie_corrected", "asymptotic", score, pair.p_nemenyi_tie_corrected, sums)
    for test in result.shapiro:
        name = f"{test.first} vs {test.second}"
        yield row(
            name,
            "shapiro_wilk_of_differences",
            "asymptotic",
            test.statistic,
            test.p_value,
            "reported only; selects no test",
        )


def _reader_rows(group: Group) -> Iterable[StatisticRow]:
    def row(
        comparison: str, quantity: str, kind: str, value: float, p: float | None, clips: int
    ) -> StatisticRow:
        return StatisticRow(
            group.plane,
            group.sampling,
            "rank",
            comparison,
            quantity,
            kind,
            _finite_or_none(value),
            p,
            clips,
            clips,
            2,
        )

    for agreement in group.agreement:
        pair = agreement.pair
        name = f"{pair.first} vs {pair.second}"
        for quantity, value in (
            ("identical_orders", pair.identical_orders),
            ("identical_preferences", pair.identical_preferences),
            ("kappa_quadratic", pair.kappa_quadratic),
            ("kappa_ci95_low", pair.kappa_interval[0]),
            ("kappa_ci95_high", pair.kappa_interval[1]),
            ("gwet_ac2", pair.gwet_ac2),
            ("gwet_ac2_ci95_low", pair.gwet_ac2_interval[0]),
            ("gwet_ac2_ci95_high", pair.gwet_ac2_interval[1]),
            ("mean_kendall_w_of_readers", agreement.mean_kendall_w),
        ):
            yield row(name, quantity, "descriptive", value, None, pair.clips)
    if group.position is not None:
        result = next(endpoint.result for endpoint in group.endpoints if endpoint.key == "rank")
        for place, mean in enumerate(group.position_means):
            yield StatisticRow(
                group.plane,
                group.sampling,
                "rank",
                f"position {_letter(place)}",
                "mean_rank_by_position",
                "descriptive",
                mean,
                None,
                group.position.blocks,
                group.position.blocks,
                result.readers if result else 0,
                "mid-ranks",
            )
        yield StatisticRow(
            group.plane,
            group.sampling,
            "rank",
            "positions",
            "friedman_exact_of_positions",
            "exact",
            group.position.statistic,
            group.position.p_exact,
            group.position.blocks,
            group.position.blocks,
            result.readers if result else 0,
            "position effect",
        )


def statistic_rows(groups: Sequence[Group]) -> list[StatisticRow]:
    """Every number of the analysis in long form."""
    rows: list[StatisticRow] = []
    for group in groups:
        for endpoint in group.endpoints:
            rows.extend(_endpoint_rows(group, endpoint))
        rows.extend(_reader_rows(group))
    return rows


# Files


def _cell(value: str | float | None) -> str:
    """A CSV cell: empty for None, ten significant digits for floats, nothing else touched."""
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def csv_bytes(rows: Sequence[Any], row_type: type[Any]) -> bytes:
    """Rows of a dataclass as UTF-8 CSV with a header line (also when there is no row)."""
    names = [item.name for item in fields(row_type)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue().encode()


def export_tables(
    tables: StudyTables, folder: Path | str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Exported:
    """Analyse the tables and write the four files; files of an earlier export are replaced, each as a whole.

    Args:
        tables: Rows with method names.
        folder: Made if it is not there.
        now: The page's date.

    Returns:
        The paths.

    Raises:
        StudyError: A row names an unknown method, or the folder cannot be written.
    """
    from studies.report_page import render

    groups = analyse(tables)
    target = Path(folder)
    exported = Exported(
        ranking=target / "ranking.csv",
        measurements=target / "measurements.csv",
        statistics=target / "statistics.csv",
        report=target / "report.html",
    )
    try:
        target.mkdir(parents=True, exist_ok=True)
        write_durably(exported.ranking, csv_bytes(tables.rankings, RankingRow))
        write_durably(exported.measurements, csv_bytes(tables.measurements, MeasurementRow))
        write_durably(exported.statistics, csv_bytes(statistic_rows(groups), StatisticRow))
        write_durably(exported.report, render(tables, groups, now()).encode())
    except OSError as error:
        raise StudyError(
            f"The results cannot be written to '{target}': {error.strerror or error}; choose another folder."
        ) from error
    return exported


def export(study: Study, folder: Path | str) -> Exported:
    """Write ranking.csv, measurements.csv, statistics.csv and report.html of an unblinded study.

    Raises:
        StudyError: The study is still blinded, or the folder cannot be written.
    """
    return export_tables(tables_of(study), folder)
