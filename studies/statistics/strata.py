"""The analysis of any long table: every stratum × endpoint by itself, then all strata as a secondary one.

Complete case is primary: a clip counts where every reader of the stratum ranked every method; what is left
out is counted and named, and Skillings-Mack, which uses it, stands beside. Readers are summed per clip, the
clips of a subject are permuted together; several observers of a measured value are averaged per clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from studies.errors import StudyError
from studies.statistics.agreement import (
    AgreementResult,
    ReadersAgreement,
    reader_agreement,
    readers_agreement,
)
from studies.statistics.camps import BlindingResult, ReaderCamp, blinding_index, reader_camps
from studies.statistics.endpoints import EndpointResult, analyse_ranks, analyse_values, position_effect
from studies.statistics.long_table import Entry, LongTable
from studies.statistics.omnibus import FriedmanResult, SkillingsMackResult, skillings_mack
from studies.statistics.tables import mid_rank_table

LOWER_IS_BETTER = frozenset(
    {
        "std_es",
        "std-es",
        "edge_width",
        "edge_width_mm_mean",
        "edge_sharpness_per_mm_sd",
        "edge_sharpness_sd_per_mm",
        "mse",
        "mse_db",
        "rmse",
        "nmse",
        "nrmse",
        "mae",
    }
)
"""Values of which less is called better unless said otherwise; no p value depends on it."""
ALL_STRATA = "all strata"
ALL_READERS = "all readers"


@dataclass(frozen=True)
class Gaps:
    """What a stratum should have and has not; a reading is one clip by one reader."""

    readings_expected: int
    readings_missing: int
    readings_incomplete: int
    clips_left_out: tuple[str, ...]


@dataclass(frozen=True)
class PositionEffect:
    """Mean rank by place on the screen, and the exact test that no place was favoured."""

    places: tuple[str, ...]
    mean_rank: tuple[float, ...]
    clips: int
    test: FriedmanResult


@dataclass(frozen=True)
class StratumResult:
    """One endpoint in one stratum; `result` is None where no clip is complete."""

    stratum: str
    plane: str
    sampling: str
    endpoint: str
    ranked: bool
    higher_is_better: bool
    secondary: bool
    methods: tuple[str, ...]
    readers: tuple[str, ...]
    gaps: Gaps
    result: EndpointResult | None
    competition_mean: tuple[float, ...]
    """Means of competition ranks; empty for values."""
    skillings_mack: SkillingsMackResult | None
    """Where something is missing."""
    pairs_of_readers: tuple[AgreementResult, ...]
    all_readers: ReadersAgreement | None
    repeats: tuple[AgreementResult, ...]
    position: PositionEffect | None
    blinding: tuple[tuple[str, BlindingResult], ...]
    """By reader, then of all readers under the name "all readers"; empty where nobody was asked."""
    camps: tuple[ReaderCamp, ...]
    notes: tuple[str, ...]


def analyse_table(
    table: LongTable,
    *,
    lower_is_better: Sequence[str] = (),
    higher_is_better: Sequence[str] = (),
    allow_empty: bool = False,
) -> list[StratumResult]:
    """All strata × endpoints of a table, then all strata together where there are several.

    Args:
        table: From `read_table`.
        lower_is_better: Endpoints of which less is better, in addition to `LOWER_IS_BETTER`.
        higher_is_better: Endpoints of which more is better all the same.
        allow_empty: Whether a table without one complete clip has results too, all without tests.

    Returns:
        Results in the order of the table; those over all strata have `secondary` set.

    Raises:
        StudyError: An endpoint is named that the table does not have, or no clip is complete anywhere.
    """
    endpoints = list(dict.fromkeys(entry.endpoint for entry in table.entries))
    for name in (*lower_is_better, *higher_is_better):
        if name not in endpoints:
            raise StudyError(f"There is no endpoint '{name}' in {table.source}, only {', '.join(endpoints)}.")
    lower = LOWER_IS_BETTER | {name.casefold() for name in lower_is_better}
    lower -= {name.casefold() for name in higher_is_better}
    strata = list(dict.fromkeys(entry.stratum for entry in table.entries))
    results = []
    for stratum in strata:
        for endpoint in endpoints:
            chosen = [e for e in table.entries if (e.stratum, e.endpoint) == (stratum, endpoint)]
            if chosen:
                results.append(_stratum(table, stratum, chosen, endpoint.casefold() not in lower))
    if not allow_empty and all(result.result is None for result in results):
        left_out = results[0].gaps
        raise StudyError(
            f"{table.source}: no clip has been read completely (every method by every reader: "
            f"{', '.join(results[0].readers)}), so nothing can be tested; {len(left_out.clips_left_out)} "
            "clips are incomplete. If readers read different clips, analyse each reader's table alone."
        )
    if len(strata) > 1:
        for endpoint in endpoints:
            chosen = [e for e in table.entries if e.endpoint == endpoint]
            if len({entry.stratum for entry in chosen}) > 1:
                results.append(_stratum(table, ALL_STRATA, chosen, endpoint.casefold() not in lower))
    return results


@dataclass(frozen=True, eq=False)
class _Cube:
    """Numbers of one stratum × endpoint: (reader, clip, method), NaN where missing."""

    methods: tuple[str, ...]
    readers: tuple[str, ...]
    clips: tuple[tuple[str, str], ...]
    """Stratum and name."""
    blocks: tuple[str, ...]
    """Of every clip, what is permuted and drawn together with it."""
    first: NDArray[np.float64]
    """Of first readings."""
    repeat: NDArray[np.float64]
    """Of first repeats."""


def _cube(table: LongTable, entries: Sequence[Entry], secondary: bool) -> _Cube:
    methods = tuple(name for name in table.methods if any(entry.method == name for entry in entries))
    readers = tuple(sorted({entry.reader for entry in entries}))
    entry_of = {(entry.stratum, entry.clip): entry for entry in entries}
    clips = tuple(sorted(entry_of))
    places = {clip: place for place, clip in enumerate(clips)}

    def block(key: tuple[str, str]) -> str:
        if entry_of[key].subject:
            return f"subject {entry_of[key].subject}"
        # Without subjects, clips of one name in several strata may be of one person, so they go together.
        return f"clip {key[1]}" if secondary and not table.has_subjects else f"clip {key[1]} of {key[0]}"

    numbers = np.full((2, len(readers), len(clips), len(methods)), np.nan)
    for entry in entries:
        if entry.presentation < 2 and entry.number is not None:
            place = readers.index(entry.reader), places[entry.stratum, entry.clip]
            numbers[entry.presentation, *place, methods.index(entry.method)] = entry.number
    return _Cube(methods, readers, clips, tuple(map(block, clips)), numbers[0], numbers[1])


def _stratum(table: LongTable, stratum: str, entries: Sequence[Entry], higher: bool) -> StratumResult:
    secondary = stratum == ALL_STRATA
    head = entries[0]
    cube = _cube(table, entries, secondary)
    if len(cube.methods) < 2:
        raise StudyError(
            f"{table.source}, stratum '{stratum}', endpoint '{head.endpoint}': a comparison needs 2 methods, "
            f"but only '{cube.methods[0]}' is there."
        )
    present = np.asarray(~np.isnan(cube.first))
    full = np.asarray(present.all(axis=2))
    # Observers of a value are averaged, so one who measured all methods is enough; rankings are summed.
    values = _observed_mean(np.where(full[:, :, None], cube.first, np.nan))
    complete = np.flatnonzero(full.all(axis=0) if head.ranked else ~np.isnan(values).any(axis=1))
    gaps = _gaps(cube, present, full, complete)
    several = len(set(cube.blocks)) < len(cube.blocks)
    blocks = [cube.blocks[clip] for clip in complete] if several else None
    orders = _orders(cube.first, head.ranked, higher)
    result: EndpointResult | None = None
    competition_mean: tuple[float, ...] = ()
    if len(complete) and head.ranked:
        chosen = cube.first[:, complete]
        result = analyse_ranks(chosen, cube.methods, blocks=blocks)
        competition_mean = _competition_mean(chosen)
    elif len(complete):
        result = analyse_values(values[complete], cube.methods, higher_is_better=higher, blocks=blocks)
    shared = np.flatnonzero(full.all(axis=0))
    shared_blocks = [cube.blocks[clip] for clip in shared] if several else None
    position, note = _position(cube, entries, complete) if head.ranked else (None, "")
    return StratumResult(
        stratum=stratum,
        plane="" if secondary else head.plane,
        sampling="" if secondary else head.sampling,
        endpoint=head.endpoint,
        ranked=head.ranked,
        higher_is_better=not head.ranked and higher,
        secondary=secondary,
        methods=cube.methods,
        readers=cube.readers,
        gaps=gaps,
        result=result,
        competition_mean=competition_mean,
        skillings_mack=None if present.all() else _with_gaps(cube, head.ranked, higher, several),
        pairs_of_readers=tuple(_pairs_of_readers(cube, orders, several)),
        all_readers=readers_agreement(orders, cube.blocks) if len(cube.readers) > 1 else None,
        repeats=tuple(_repeats(cube, orders, _orders(cube.repeat, head.ranked, higher))),
        position=position,
        blinding=tuple(_blinding(cube, entries)),
        camps=tuple(reader_camps(orders[:, shared], cube.methods, cube.readers, shared_blocks))
        if len(shared)
        else (),
        notes=tuple(filter(None, [*_gap_notes(gaps, head.ranked, len(complete)), note])),
    )


def _orders(numbers: NDArray[np.float64], ranked: bool, higher: bool) -> NDArray[np.float64]:
    """Mid-ranks of the methods within every reading, of those that are there; NaN stays."""
    signed = -numbers if higher and not ranked else numbers
    return np.asarray(stats.rankdata(signed, axis=-1, nan_policy="omit"))


def _observed_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of (observer, clip, method) over the observers that have a number; NaN where none has."""
    counts = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(
            np.where(counts, values, 0).sum(axis=0) / np.where(counts.any(axis=0), counts.sum(axis=0), np.nan)
        )


def _competition_mean(ranks: NDArray[np.float64]) -> tuple[float, ...]:
    below = (ranks[..., None, :] < ranks[..., :, None]).sum(axis=-1)
    return tuple(float(value) for value in 1 + below.mean(axis=(0, 1)))


# Gaps


def _gaps(
    cube: _Cube, present: NDArray[np.bool_], full: NDArray[np.bool_], complete: NDArray[np.intp]
) -> Gaps:
    used = set(complete.tolist())
    several = len({stratum for stratum, _ in cube.clips}) > 1
    return Gaps(
        readings_expected=full.size,
        readings_missing=int((~present.any(axis=2)).sum()),
        readings_incomplete=int((present.any(axis=2) & ~full).sum()),
        clips_left_out=tuple(
            f"{name} ({stratum})" if several else name
            for place, (stratum, name) in enumerate(cube.clips)
            if place not in used
        ),
    )


def _gap_notes(gaps: Gaps, ranked: bool, complete: int) -> list[str]:
    """What is missing and what was done about it, in a sentence."""
    if not gaps.readings_missing + gaps.readings_incomplete + len(gaps.clips_left_out):
        return []
    clips = complete + len(gaps.clips_left_out)
    if not ranked and not gaps.clips_left_out:
        return ["Not every observer measured every clip: those who did are averaged, no clip is left out."]
    rule = "that not every reader ranked completely" if ranked else "that nobody measured completely"
    return [
        f"{gaps.readings_missing} of {gaps.readings_expected} readings are missing and "
        f"{gaps.readings_incomplete} incomplete: {len(gaps.clips_left_out)} of {clips} clips, {rule}, are "
        "left out of all tests but Skillings-Mack."
    ]


def _with_gaps(cube: _Cube, ranked: bool, higher: bool, several: bool) -> SkillingsMackResult:
    numbers = cube.first if ranked else _observed_mean(cube.first)[None]
    return skillings_mack(_orders(numbers, ranked, higher), cube.blocks if several else None)


# Readers


def _pairs_of_readers(cube: _Cube, orders: NDArray[np.float64], several: bool) -> Iterator[AgreementResult]:
    """Every two readers on the clips that both ranked completely."""
    full = np.asarray(~np.isnan(orders).any(axis=2))
    for one, other in combinations(range(len(cube.readers)), 2):
        clips = np.flatnonzero(full[one] & full[other])
        if len(clips):
            yield reader_agreement(
                orders[one, clips],
                orders[other, clips],
                (cube.readers[one], cube.readers[other]),
                [cube.blocks[clip] for clip in clips] if several else None,
            )


def _repeats(
    cube: _Cube, first: NDArray[np.float64], repeat: NDArray[np.float64]
) -> Iterator[AgreementResult]:
    """Every reader with himself on the clips that were shown again."""
    full = np.asarray(~(np.isnan(first) | np.isnan(repeat)).any(axis=2))
    for place, reader in enumerate(cube.readers):
        clips = np.flatnonzero(full[place])
        if len(clips):
            blocks = [cube.blocks[clip] for clip in clips]
            yield reader_agreement(first[place, clips], repeat[place, clips], (reader, reader), blocks)


def _position(
    cube: _Cube, entries: Sequence[Entry], complete: NDArray[np.intp]
) -> tuple[PositionEffect | None, str]:
    """The position effect over the complete clips, or why there is none though positions are given."""
    asked = [entry for entry in entries if entry.presentation == 0 and entry.position]
    if not asked or not len(complete):
        return None, ""
    places = tuple(sorted({entry.position for entry in asked}))
    found = {
        (entry.reader, (entry.stratum, entry.clip), entry.position): entry.number
        for entry in asked
        if entry.number is not None
    }
    keys = [
        [[(reader, cube.clips[clip], place) for place in places] for clip in complete]
        for reader in cube.readers
    ]
    if len(places) != len(cube.methods) or any(key not in found for r in keys for c in r for key in c):
        return None, (
            f"The positions ({', '.join(places)}) do not stand once each in every reading: no position "
            "effect."
        )
    by_place = mid_rank_table([[[found[key] for key in c] for c in r] for r in keys])
    mean = tuple(float(value) for value in by_place.mean(axis=(0, 1)))
    return PositionEffect(places, mean, len(complete), position_effect(by_place)), ""


def _blinding(cube: _Cube, entries: Sequence[Entry]) -> Iterator[tuple[str, BlindingResult]]:
    """Blinding indices of every reader who was asked, and of all of them."""
    block_of = dict(zip(cube.clips, cube.blocks, strict=True))
    asked = [entry for entry in entries if entry.guess is not None and entry.presentation == 0]
    readers = sorted({entry.reader for entry in asked})
    groups = [(reader, [entry for entry in asked if entry.reader == reader]) for reader in readers]
    if len(readers) > 1:
        groups.append((ALL_READERS, asked))
    for name, group in groups:
        yield (
            name,
            blinding_index(
                [entry.method for entry in group],
                [entry.guess or None for entry in group],
                cube.methods,
                [block_of[entry.stratum, entry.clip] for entry in group],
            ),
        )
