"""Every number of a report, as one document: the strata of `studies.statistics.strata`, guesses, and conduct.

The document is that of `blindcine statistics` (see `studies.statistics.document`) with two more parts::

    blinding   by reader and of all readers: Bang and James index of the guesses
    readings   by reader: how many readings, missing ones by reason, time, confidence, frames skipped, breaks

Practice cases enter nothing; hidden repeats enter the agreement of readers with themselves only. A reader
who ranked nothing at all is left out and named: else a complete case could not exist.
"""

from __future__ import annotations

import math
import statistics as plain_statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

from studies.errors import StudyError
from studies.names import in_words
from studies.report.tables import (
    CANNOT_JUDGE,
    NOT_READ,
    GuessRow,
    MeasurementRow,
    RankingRow,
    StudyTables,
)
from studies.statistics.camps import blinding_index
from studies.statistics.document import blinding_document, document
from studies.statistics.long_table import Entry, LongTable
from studies.statistics.strata import ALL_READERS, StratumResult, analyse_table

SAMPLING_ORDER = ("cartesian", "radial", "spiral")
SPEECH_WORDS = ("speech", "tongue", "head", "vocal")
"""Planes with one of these words go into the paper's Table 4, all others into Table 3."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint: its name in tables, its column, and how many decimals it is printed with."""

    key: str
    label: str
    unit: str
    column: str
    digits: int
    protocol_name: str


RANK = Endpoint("rank", "Rank", "1 = best", "rank_mid", 2, "rank")
MEASURED_ENDPOINTS = (
    Endpoint("snr", "SNR", "dB", "snr_db_mean", 1, "snr_db"),
    Endpoint("es", "ES", "1/mm", "edge_sharpness_per_mm_mean", 3, "edge_sharpness_per_mm"),
    Endpoint("std_es", "STD-ES", "1/mm", "edge_sharpness_per_mm_sd", 3, "edge_sharpness_sd_per_mm"),
    Endpoint("edge_width", "Edge width 10–90 %", "mm", "edge_width_mm_mean", 2, ""),
)
ENDPOINTS = {endpoint.key: endpoint for endpoint in (RANK, *MEASURED_ENDPOINTS)}


@dataclass(frozen=True)
class Analysis:
    """The results of a study, nested for tables and figures, and the document that statistics.json holds."""

    tables: StudyTables
    results: tuple[StratumResult, ...]
    document: dict[str, Any]
    readers_left_out: tuple[str, ...]
    """Readers of the study who ranked nothing."""

    @property
    def strata(self) -> list[tuple[str, list[StratumResult]]]:
        """The results by stratum, in the order of tables; the secondary analysis, if any, comes last."""
        names = list(dict.fromkeys(result.stratum for result in self.results))
        return [(name, [item for item in self.results if item.stratum == name]) for name in names]

    @property
    def primary(self) -> str:
        """Key of the primary endpoint: the first of the protocol."""
        wanted = self.tables.endpoints[0] if self.tables.endpoints else "rank"
        return next((item.key for item in ENDPOINTS.values() if item.protocol_name == wanted), "rank")


def stratum_title(result: StratumResult) -> str:
    """A stratum as it is printed: "SAX, radial"."""
    if result.secondary:
        return "All strata together (secondary)"
    parts = [in_words(result.plane) if result.plane else "", result.sampling]
    text = ", ".join(filter(None, parts))
    return text[:1].upper() + text[1:] if text else "All clips"


def is_speech(result: StratumResult) -> bool:
    """Whether a stratum belongs to the paper's Table 4 (speech) rather than Table 3 (heart)."""
    return any(word in result.plane.casefold() for word in SPEECH_WORDS)


def analyse(tables: StudyTables) -> Analysis:
    """Analyse the rows of a study.

    Raises:
        StudyError: A row names a method that is not an arm of the study.
    """
    rows: list[RankingRow | MeasurementRow | GuessRow] = [
        *tables.rankings,
        *tables.measurements,
        *tables.guesses,
    ]
    for row in rows:
        if row.method not in tables.arms:
            raise StudyError(
                f"A row of clip '{row.clip}' names the method '{row.method}', which is no arm of the study."
            )
    readers = tables.readers or tuple(sorted({row.reader for row in tables.rankings}))
    active = {row.reader for row in tables.rankings if not row.missing and not row.repeat}
    table = long_table(tables, active)
    results = tuple(analyse_table(table, allow_empty=True)) if table.entries else ()
    found = document(table, results)
    found["blinding"] = _blinding(tables)
    found["readings"] = {reader: _readings(tables, reader) for reader in readers}
    return Analysis(tables, results, found, tuple(reader for reader in readers if reader not in active))


def long_table(tables: StudyTables, readers: set[str]) -> LongTable:
    """The rows as one long table: ranks of these readers, then the measured endpoints, strata in order."""

    def stratum(row: RankingRow | MeasurementRow) -> tuple[str, str]:
        return (
            row.plane if "plane" in tables.strata else "",
            row.sampling if "sampling" in tables.strata else "",
        )

    def order(key: tuple[str, str]) -> tuple[bool, str, int, str]:
        plane, sampling = key
        known = SAMPLING_ORDER.index(sampling) if sampling in SAMPLING_ORDER else len(SAMPLING_ORDER)
        return any(word in plane.casefold() for word in SPEECH_WORDS), plane, known, sampling

    def entry(
        row: RankingRow | MeasurementRow,
        endpoint: Endpoint,
        who: str,
        number: float | None,
        repeat: int = 0,
        position: str = "",
    ) -> Entry:
        plane, sampling = stratum(row)
        return Entry(
            line=0,
            stratum=" / ".join(filter(None, (plane, sampling))) or "all",
            plane=plane,
            sampling=sampling,
            endpoint=endpoint.key,
            ranked=endpoint is RANK,
            clip=row.clip,
            subject=row.subject,
            reader=who,
            method=row.method,
            presentation=repeat,
            number=number,
            position=position,
            guess=None,
        )

    ranked = [row for row in tables.rankings if row.reader in readers]
    entries: list[Entry] = []
    keys = {stratum(row) for row in ranked} | {stratum(row) for row in tables.measurements}
    for key in sorted(keys, key=order):
        entries += [
            entry(row, RANK, row.reader, row.rank_mid, repeat=row.repeat, position=row.position)
            for row in ranked
            if stratum(row) == key
        ]
        measured = [row for row in tables.measurements if stratum(row) == key]
        for endpoint in MEASURED_ENDPOINTS:
            values = [(row, _finite(getattr(row, endpoint.column))) for row in measured]
            # An endpoint that nobody measured here (no line was drawn) is absent, not missing.
            if any(value is not None for _, value in values):
                entries += [entry(row, endpoint, row.observer, value) for row, value in values]
    return LongTable("ranking.csv and measurements.csv", tuple(entries), tables.arms, (), True)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _blinding(tables: StudyTables) -> dict[str, Any]:
    """Blinding indices by reader, and of all readers where several were asked; empty if nobody was."""
    found = {}
    asked = sorted({row.reader for row in tables.guesses})
    for name in (*asked, *([ALL_READERS] if len(asked) > 1 else [])):
        rows = [row for row in tables.guesses if name in (row.reader, ALL_READERS)]
        index = blinding_index(
            [row.method for row in rows],
            [row.guess or None for row in rows],
            tables.arms,
            [row.subject for row in rows],
        )
        found[name] = blinding_document(index)
    return found


def _readings(tables: StudyTables, reader: str) -> dict[str, Any]:
    """How one reader read: counts, time, confidence, frames skipped, breaks, sessions."""
    own = {row.presentation: row for row in tables.rankings if row.reader == reader}.values()
    first = [row for row in own if not row.repeat]
    judged = [row for row in own if not row.missing]
    seconds = [row.seconds for row in judged if row.seconds is not None]
    sure = [row.confidence for row in judged if row.confidence is not None]
    skipped = [row.frames_skipped for row in judged if row.frames_skipped is not None]
    loops = [row.loops for row in judged if row.loops is not None]
    breaks = [row for row in tables.conduct.breaks if row.reader == reader]
    return {
        "readings": sum(not row.missing for row in first),
        "cannot_judge": sum(row.missing == CANNOT_JUDGE for row in first),
        "not_read": sum(row.missing == NOT_READ for row in first),
        "repeats": sum(not row.missing for row in own if row.repeat),
        "tied_completely": sum(row.rank_mid == (len(tables.arms) + 1) / 2 for row in _best(tables, reader)),
        "seconds_median": plain_statistics.median(seconds) if seconds else None,
        "seconds_shortest": min(seconds, default=None),
        "seconds_total": math.fsum(seconds) if seconds else None,
        "confidence_median": plain_statistics.median(sure) if sure else None,
        "confidence_counts": {str(level): count for level, count in sorted(Counter(sure).items())},
        "frames_skipped": sum(skipped) if skipped else None,
        "loops_fewest": min(loops, default=None),
        "breaks_offered": len(breaks),
        "breaks_taken": sum(row.taken for row in breaks),
    }


def _best(tables: StudyTables, reader: str) -> list[RankingRow]:
    """One row of each first reading: the one of the best rank."""
    best: dict[str, RankingRow] = {}
    for row in tables.rankings:
        if row.reader == reader and not row.repeat and row.rank_mid is not None:
            known = best.get(row.presentation)
            if known is None or (known.rank_mid or 0) > row.rank_mid:
                best[row.presentation] = row
    return list(best.values())
