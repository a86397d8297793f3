"""Analysis of a report's rows per plane × sampling, with the tests of `studies.statistics`.

Incomplete clips are left out of an endpoint and counted; nothing is filled in. Where there are several
groups, all clips together are a secondary analysis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from studies import statistics
from studies.errors import StudyError
from studies.names import position_letter
from studies.report_tables import MeasurementRow, RankingRow, StudyTables, in_words

SAMPLING_ORDER = ("cartesian", "radial", "spiral")
ALL = "all"
"""Plane and sampling of the secondary analysis over all clips."""
_SECOND = "\0second reading"


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
    repeats: tuple[AgreementRow, ...] = ()
    """How each reader agrees with himself on the hidden repeats; both names of a pair are the reader's."""

    @property
    def title(self) -> str:
        """For headings: "Short axis, radial"."""
        if self.secondary:
            return "All clips (secondary analysis)"
        return f"{in_words(self.plane)}, {in_words(self.sampling).lower()}"


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
    subjects: Sequence[str],
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
                pair=statistics.reader_agreement(one, other, (first, second), subjects),
                mean_kendall_w=float(finite.mean()) if finite.size else math.nan,
            )
        )
    return tuple(rows)


def _repeats(
    first: dict[str, dict[str, dict[str, float]]],
    rows: Sequence[RankingRow],
    arms: Sequence[str],
    clips: _Clips,
) -> tuple[AgreementRow, ...]:
    """Each reader's repeats against the reader's first readings of the same clips."""
    again: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        again.setdefault(row.reader, {}).setdefault(row.clip, {})[row.method] = row.rank_mid
    found = []
    for reader, ranks in sorted(again.items()):
        seen = [clip for clip in clips.subject_of if clip in ranks and reader in first.get(clip, {})]
        if seen:
            one = {clip: {reader: first[clip][reader], _SECOND: ranks[clip]} for clip in seen}
            (agreement,) = _agreement(one, seen, (reader, _SECOND), arms, clips.subjects(seen))
            found.append(replace(agreement, pair=replace(agreement.pair, second=reader)))
    return tuple(found)


def _position_table(
    rows: Sequence[RankingRow], clips: Sequence[str], readers: Sequence[str], count: int
) -> list[list[list[float]]]:
    """Mid-ranks by place on the screen: (reader, clip, position)."""
    found = {(row.reader, row.clip, row.position): row.rank_mid for row in rows}
    return [
        [[found[reader, clip, position_letter(place)] for place in range(count)] for clip in clips]
        for reader in readers
    ]


def _group(tables: StudyTables, plane: str, sampling: str) -> Group:
    secondary = plane == ALL and sampling == ALL

    def chosen(row: RankingRow | MeasurementRow) -> bool:
        return secondary or (row.plane, row.sampling) == (plane, sampling)

    ranking = [row for row in tables.rankings if chosen(row) and not row.repeat]
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
        agreement=_agreement(ranks, complete, readers, tables.arms, clips.subjects(complete))
        if complete
        else (),
        position=position,
        position_means=position_means,
        repeats=_repeats(
            ranks, [row for row in tables.rankings if chosen(row) and row.repeat], tables.arms, clips
        ),
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
