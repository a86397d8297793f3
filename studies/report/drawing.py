"""Which figures a report has: of every stratum its rankings, measurements, movies and readers' camps.

The panels with y-t profiles show the first clip of every stratum in the order of subjects: chosen by rule,
not by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from studies.errors import StudyError
from studies.names import method_label
from studies.report import figures
from studies.report.analysis import ENDPOINTS, Analysis, stratum_title
from studies.report.tables import RankingRow
from studies.report.wording import p_equals
from studies.statistics.pairs import nemenyi_critical_difference
from studies.statistics.strata import StratumResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from studies.study import Study

BOXED = ("snr", "es", "std_es")


@dataclass(frozen=True)
class Drawing:
    """One figure."""

    stratum: str
    """Name of its stratum, as in the results."""
    kind: str
    file_name: str
    caption: str
    content: bytes
    """SVG or PNG."""

    @property
    def is_svg(self) -> bool:
        """Whether `content` is SVG text."""
        return self.file_name.endswith(".svg")


def slug(text: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_") or "all"


def draw(analysis: Analysis) -> Iterator[Drawing]:
    """All figures that need the tables only, in the order of a report."""
    slugs = _slugs([name for name, _ in analysis.strata])
    for name, results in analysis.strata:
        for result in results:
            if result.result is None:
                continue
            figures_of = _rank_figures if result.ranked else _value_figures
            for kind, caption, svg in figures_of(analysis, result):
                file_name = f"{slugs[name]}_{kind}.svg"
                yield Drawing(name, kind, file_name, caption, svg.encode())


def _slugs(names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        wanted = slug(name)
        while wanted in found.values():
            wanted += "_2"
        found[name] = wanted
    return found


def _rank_figures(analysis: Analysis, result: StratumResult) -> Iterator[tuple[str, str, str]]:
    found = result.result
    if found is None:
        return
    labels = [method_label(method) for method in result.methods]
    alpha = analysis.tables.alpha
    rows = complete_rows(analysis, result)
    if not result.secondary:
        clips: dict[str, list[RankingRow]] = {}
        for row in rows:
            clips.setdefault(row.clip, []).append(row)
        names = _clip_names([of_clip[0] for of_clip in clips.values()])
        dots = [
            (name, _by_reader(of_clip, result)) for name, of_clip in zip(names, clips.values(), strict=True)
        ]
        dots.sort(key=lambda item: item[0])
        yield (
            "ranks",
            "Rank of every method in every clip; one marker where readers agree, joined by a line where they "
            "do not.",
            figures.rank_dots(labels, dots, stratum_title(result)),
        )
    pairs = [
        (
            method_label(pair.first),
            method_label(pair.second),
            pair.wins,
            pair.ties,
            pair.losses,
            f"closed {p_equals(pair.p_adjusted)}",
        )
        for pair in found.pairs
    ]
    unit = "clips" if found.blocks == found.clips else "subjects"
    yield (
        "outcomes",
        f"Wins, ties and losses of every pair, counted in {unit}, with the p of the closed test.",
        figures.outcome_bars(pairs, unit),
    )
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for row in rows:
        if row.rank_competition is not None:
            counts[result.methods.index(row.method), row.rank_competition - 1] += 1
    yield (
        "shares",
        "How often each method got each (competition) rank, all readers and clips.",
        figures.rank_bars(labels, counts.tolist()),
    )
    alike = [
        (result.methods.index(pair.first), result.methods.index(pair.second))
        for pair in found.pairs
        if pair.p_adjusted > alpha
    ]
    nemenyi = nemenyi_critical_difference(found.blocks, len(labels), alpha) if found.readers == 1 else None
    yield (
        "mean_ranks",
        "Mean mid-ranks; a bar joins methods between which closed testing shows no difference.",
        figures.critical_difference(labels, found.mean_rank, alike, nemenyi),
    )
    if len(result.camps) > 1:
        preferences = {
            camp.reader: [
                (
                    effect.net_preference,
                    effect.net_interval if np.isfinite(effect.net_interval).all() else None,
                )
                for effect in camp.effects
            ]
            for camp in result.camps
        }
        yield (
            "readers",
            "Net preference of every reader alone (share of clips in which the first method was better less "
            "the share in which it was worse), with bootstrap intervals: opposite camps would cancel in a "
            "mean.",
            figures.reader_camps(
                [camp.reader for camp in result.camps],
                [(method_label(pair.first), method_label(pair.second)) for pair in found.pairs],
                preferences,
            ),
        )


def complete_rows(analysis: Analysis, result: StratumResult) -> list[RankingRow]:
    """Rows of the first readings that the tests of a stratum used."""
    left_out = {name.partition(" (")[0] for name in result.gaps.clips_left_out}
    tables = analysis.tables
    return [
        row
        for row in tables.rankings
        if not row.repeat
        and not row.missing
        and row.reader in result.readers
        and row.clip not in left_out
        and (result.secondary or _stratum_of(row, tables.strata) == (result.plane, result.sampling))
    ]


def _stratum_of(row: RankingRow, strata: Sequence[str]) -> tuple[str, str]:
    return row.plane if "plane" in strata else "", row.sampling if "sampling" in strata else ""


def _clip_names(rows: Sequence[RankingRow]) -> list[str]:
    """Clips by their subject; numbered where a subject gave several."""
    subjects = [row.subject for row in rows]
    names, seen = [], dict.fromkeys(subjects, 0)
    for subject in subjects:
        seen[subject] += 1
        names.append(f"{subject} ({seen[subject]})" if subjects.count(subject) > 1 else subject)
    return names


def _by_reader(rows: Sequence[RankingRow], result: StratumResult) -> list[list[float]]:
    """Mid-ranks (reader, method) of one clip."""
    found = {(row.reader, row.method): float(row.rank_mid or 0) for row in rows}
    return [[found[reader, method] for method in result.methods] for reader in result.readers]


def _value_figures(analysis: Analysis, result: StratumResult) -> Iterator[tuple[str, str, str]]:
    if result.endpoint not in BOXED or result.secondary:
        return
    endpoint = ENDPOINTS[result.endpoint]
    labels = [method_label(method) for method in result.methods]
    values = list(clip_values(analysis, result).values())
    if values:
        yield (
            result.endpoint,
            f"{endpoint.label} ({endpoint.unit}) of every clip: quartiles, whiskers to 1.5 quartile "
            "distances; thin lines join the methods of a clip.",
            figures.box_plot(f"{endpoint.label} ({endpoint.unit})", labels, values),
        )


def clip_values(analysis: Analysis, result: StratumResult) -> dict[str, list[float]]:
    """Of every clip that the tests used, its values by method, observers averaged."""
    tables = analysis.tables
    column = ENDPOINTS[result.endpoint].column
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in tables.measurements:
        value = getattr(row, column)
        plane = row.plane if "plane" in tables.strata else ""
        sampling = row.sampling if "sampling" in tables.strata else ""
        here = result.secondary or (plane, sampling) == (result.plane, result.sampling)
        if here and value is not None and np.isfinite(value):
            found.setdefault(row.clip, {}).setdefault(row.observer, {})[row.method] = float(value)
    means = {}
    for clip, observers in sorted(found.items()):
        whole = [values for values in observers.values() if set(values) >= set(result.methods)]
        if whole:
            means[clip] = [float(np.mean([values[method] for values in whole])) for method in result.methods]
    return means


def panels_of(study: Study, analysis: Analysis, progress: Callable[[str, float], None]) -> list[Drawing]:
    """A frame and a y-t profile of every method in one clip of each stratum, from an unblinded study.

    Raises:
        StudyError: The study is blinded. A movie that cannot be read leaves its panel out.
    """
    from studies.schedule import Presentation

    method_of = study.method_of
    strata = [(name, results[0]) for name, results in analysis.strata if not results[0].secondary]
    slugs = _slugs([name for name, _ in analysis.strata])
    made = []
    for number, (name, result) in enumerate(strata):
        progress("Drawing the movies", 0.5 + 0.3 * number / len(strata))
        clips = [
            clip
            for clip in study.clips
            if (
                clip.plane if "plane" in analysis.tables.strata else "",
                clip.sampling if "sampling" in analysis.tables.strata else "",
            )
            == (result.plane, result.sampling)
        ]
        if not clips:
            continue
        clip = min(clips, key=lambda item: (item.subject, item.clip_id))
        order = sorted(
            range(len(clip.movie_ids)), key=lambda place: study.arms.index(method_of[clip.movie_ids[place]])
        )
        try:
            shown = study.load_clip(Presentation(0, "report", clip.clip_id, tuple(order)))
        except (StudyError, OSError):
            continue
        labels = [method_label(method_of[clip.movie_ids[place]]) for place in order]
        made.append(
            Drawing(
                name,
                "movies",
                f"{slugs[name]}_movies.png",
                f"{clip.subject}, the first subject of this stratum: one frame of every method and below it "
                "the profile over time along the dashed line (the column that changes most).",
                figures.panel_image(shown, labels),
            )
        )
    return made
