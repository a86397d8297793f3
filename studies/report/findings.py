"""What a study found, in plain words first, and the paper's Tables 3 and 4.

Rule: a difference is said to be shown where closed testing with exact sign tests rejects at the protocol's
alpha, and in no other case; a difference that is not shown is never called absent. Marks: the cell of a
method carries one sign for every method listed before it from which it differs, "*" for the first, "†" for
the second, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from studies.measurement import BACKGROUND_SNR_WARNING
from studies.names import method_label
from studies.report.analysis import ENDPOINTS, Analysis, is_speech, stratum_title
from studies.report.tables import CANNOT_JUDGE, NOT_READ, RankingRow
from studies.report.wording import listed, mean_sd, number_text, p_equals
from studies.statistics.pairs import sign_test_p
from studies.statistics.strata import ALL_READERS, StratumResult
from studies.words import counted

SIGNS = ("*", "†", "‡", "§", "¶", "#")
PAPER_COLUMNS = ("snr", "es", "std_es", "rank")
Marking = Literal["exact", "published"]


# Plain words


@dataclass(frozen=True)
class Finding:
    """The primary endpoint in one stratum, in words."""

    title: str
    size: str
    omnibus: str
    pairs: tuple[str, ...]
    limit: str
    """What a study of this size cannot show; empty if nothing."""


@dataclass(frozen=True)
class Findings:
    """The words at the head of a report."""

    headline: tuple[str, ...]
    strata: tuple[Finding, ...]
    shows: tuple[str, ...]
    shows_not: tuple[str, ...]


def findings(analysis: Analysis) -> Findings:
    """Say what the study found on its primary endpoint, and what it cannot say."""
    primary = [
        result
        for _, results in analysis.strata
        for result in results
        if result.endpoint == analysis.primary and not result.secondary
    ]
    return Findings(
        headline=tuple(_headline(analysis, primary)),
        strata=tuple(_finding(analysis, result) for result in primary),
        shows=tuple(_shows(analysis, primary)),
        shows_not=tuple(_shows_not(analysis, primary)),
    )


def _short_title(result: StratumResult) -> str:
    """A stratum inside a list of strata, without commas."""
    return stratum_title(result).replace(", ", " ")


def _better(result: StratumResult) -> str:
    return "ranked better" if result.ranked else "better"


def _headline(analysis: Analysis, primary: Sequence[StratumResult]) -> list[str]:
    """One sentence for every pair of methods, over the strata."""
    alpha = analysis.tables.alpha
    tested = [result for result in primary if result.result is not None]
    if not tested:
        return ["No clip was read completely, so no test of the primary endpoint is possible."]
    sentences = []
    strata = counted(len(tested), "stratum") if len(tested) == 1 else f"{len(tested)} strata"
    for first, second in combinations(analysis.tables.arms, 2):
        won: dict[str, list[str]] = {first: [], second: []}
        compared = 0
        for result in tested:
            for pair in result.result.pairs if result.result else ():
                if (pair.first, pair.second) != (first, second):
                    continue
                compared += 1
                if pair.p_adjusted <= alpha:
                    won[first if pair.wins > pair.losses else second].append(_short_title(result))
        if not compared:
            continue
        one, other = method_label(first), method_label(second)
        parts = [
            f"{method_label(winner)} was {_better(tested[0])} than {method_label(loser)} in {listed(places)}"
            for winner, loser, places in ((first, second, won[first]), (second, first, won[second]))
            if places
        ]
        shown = sum(map(len, won.values()))
        if not parts:
            sentences.append(f"{one} against {other}: no difference was shown in any of {strata}.")
        else:
            rest = f"; no difference was shown in {compared - shown} of {strata}" if shown < compared else ""
            sentences.append(f"{'; '.join(parts)}{rest}.")
    return sentences


def _size(result: StratumResult) -> str:
    found = result.result
    if found is None:
        return "No complete clip"
    text = counted(found.clips, "clip")
    if found.blocks != found.clips:
        text += f" of {counted(found.blocks, 'subject')}"
    return f"{text}, {counted(found.readers, 'reader')}" if result.ranked else text


def smallest_p(units: int, methods: int) -> float:
    """The smallest closed p of a pair that so many units can reach, if all say the same strict order."""
    sign = sign_test_p(units, 0)
    return sign if methods == 2 else max(sign, float(math.factorial(methods)) ** (1 - units))


def _finding(analysis: Analysis, result: StratumResult) -> Finding:
    alpha = analysis.tables.alpha
    found = result.result
    title = stratum_title(result)
    if found is None:
        return Finding(title, _size(result), "Nothing can be tested here.", (), " ".join(result.notes))
    omnibus = found.omnibus
    kind = "exact" if omnibus.p_exact is not None else "Monte Carlo"
    p = omnibus.p_permutation
    if omnibus.statistic == 0 and math.isnan(omnibus.kendall_w):
        overall = "No preference was expressed: everything is tied."
    elif p <= alpha:
        overall = f"The methods differ ({kind} Friedman {p_equals(p)})."
    else:
        overall = f"No difference among the methods was shown ({kind} Friedman {p_equals(p)})."
    pairs = []
    for pair in found.pairs:
        one, other = method_label(pair.first), method_label(pair.second)
        better, wins, losses = (
            (one, pair.wins, pair.losses) if pair.wins >= pair.losses else (other, pair.losses, pair.wins)
        )
        worse = other if better == one else one
        of = f"{wins} of {found.blocks} {'clips' if found.blocks == found.clips else 'subjects'}"
        tied = f", tied in {pair.ties}" if pair.ties else ""
        if pair.p_adjusted <= alpha:
            pairs.append(
                f"{better} was {_better(result)} than {worse} in {of}, worse in {losses}{tied} "
                f"(closed test {p_equals(pair.p_adjusted)})."
            )
        else:
            pairs.append(
                f"{one} and {other}: no difference was shown ({better} better in {of}, worse in "
                f"{losses}{tied}; closed test {p_equals(pair.p_adjusted)})."
            )
    least = smallest_p(found.blocks, len(found.arms))
    limit = ""
    if least > alpha:
        limit = (
            f"With N = {found.blocks} no pair can reach p ≤ {alpha:g}, even if all agree (smallest possible "
            f"{p_equals(least)}): this stratum can describe, not test."
        )
    return Finding(title, _size(result), overall, tuple(pairs), limit)


def _shows(analysis: Analysis, primary: Sequence[StratumResult]) -> list[str]:
    tables = analysis.tables
    tests = sum(len(result.result.pairs) for result in primary if result.result)
    said = [
        f"Primary endpoint: {ENDPOINTS[analysis.primary].label.lower()}, in each stratum by itself, by "
        f"closed "
        f"testing with exact sign tests (two-sided, α = {tables.alpha:g}). Within a stratum the chance of "
        f"any false finding is at most {100 * tables.alpha:g} %.",
        "The unit of inference is the clip (the subject where one gave several): readings are never counted "
        "as if they were independent.",
        "A difference that is shown is one that these readers saw in these clips; how large it is stands in "
        "the wins, ties and losses and in the intervals, not in the p value.",
    ]
    if tests and analysis.primary == "rank":
        counts = [result.result.blocks for result in primary if result.result]
        said.append(
            f"{counted(tests, 'pair')} of methods tested, on {min(counts)}"
            f"{f' to {max(counts)}' if max(counts) > min(counts) else ''} units a stratum."
        )
    whole = _guesses(analysis)
    if whole is not None:
        indices = "; ".join(
            f"{method_label(arm)} {number_text(row['index'], 2)}" for arm, row in whole["bang"].items()
        )
        said.append(
            f"Blinding was checked on {counted(whole['guesses'], 'panel')} (Bang’s index, 0 by chance, 1 if "
            f"all are right): {indices}."
        )
    return said


def _guesses(analysis: Analysis) -> Mapping[str, Any] | None:
    """Blinding indices of all readers, or of the only one who was asked."""
    blinding = analysis.document["blinding"]
    found: Mapping[str, Any] | None = blinding.get(ALL_READERS) or next(iter(blinding.values()), None)
    return found


def _shows_not(analysis: Analysis, primary: Sequence[StratumResult]) -> list[str]:
    tables = analysis.tables
    tested = [result for result in primary if result.result is not None]
    said = [
        "“No difference was shown” is not “equal”: with few clips even a real difference is often missed. "
        "Nothing here tests equivalence.",
        "The conclusions are about these readers; with so few readers nothing is said about readers at "
        "large.",
        "Readers ranked what looks best. Nothing here measures diagnostic accuracy.",
    ]
    if len(tested) > 1:
        worst = min(1.0, tables.alpha * len(tested))
        said.append(
            f"There is no correction over the {len(tested)} strata and over the endpoints: if no method "
            f"differed anywhere, a study like this would show some difference in up to {100 * worst:.0f} % "
            "of cases. The tests over all strata together, and all endpoints but the primary one, are "
            "secondary."
        )
    powerless = [
        result
        for result in tested
        if result.result and smallest_p(result.result.blocks, len(result.methods)) > tables.alpha
    ]
    if powerless:
        said.append(
            "Too small for any significant result, even if all agree: "
            f"{listed([_short_title(result) for result in powerless])}."
        )
    missing = [row for row in one_a_reading(tables.rankings) if row.missing and not row.repeat]
    if missing:
        said.append(
            f"{counted(len(missing), 'reading')} missing "
            f"({sum(row.missing == CANNOT_JUDGE for row in missing)} could not be judged, "
            f"{sum(row.missing == NOT_READ for row in missing)} not read). The complete-case analysis "
            f"assumes "
            "that they are missing for reasons that have nothing to do with the methods; Skillings–Mack "
            "beside it uses all readings."
        )
    if analysis.readers_left_out:
        said.append(
            f"{listed(analysis.readers_left_out)} ranked nothing and "
            f"{'is' if len(analysis.readers_left_out) == 1 else 'are'} left out of all analyses."
        )
    if tables.conduct.forced:
        said.append("The study was unblinded before all readings were done.")
    whole = _guesses(analysis)
    if whole is None:
        said.append("Readers were not asked to guess the methods: whether the blinding held is not known.")
    else:
        told = [method_label(arm) for arm, row in whole["bang"].items() if row["ci95"] and row["ci95"][0] > 0]
        if told:
            said.append(
                f"Readers recognised {listed(told)} more often than by chance: the blinding did not hold "
                "completely, and preferences for or against a known method cannot be excluded."
            )
    if tables.measurements:
        said.append(BACKGROUND_SNR_WARNING)
    return said


def one_a_reading(rows: Sequence[RankingRow]) -> list[RankingRow]:
    """The first row of every reading."""
    return list({(row.reader, row.presentation): row for row in reversed(rows)}.values())[::-1]


# The paper's tables


@dataclass(frozen=True)
class PaperCell:
    """Mean ± SD of one endpoint of one method, with its marks."""

    text: str
    marks: str


@dataclass(frozen=True)
class PaperRow:
    """One method in one stratum."""

    stratum: str
    clips: str
    method: str
    cells: tuple[PaperCell, ...]
    """In the order of `PAPER_COLUMNS`."""


@dataclass(frozen=True)
class PaperTable:
    """Table 3 (heart) or Table 4 (speech) of the paper."""

    number: int
    title: str
    rows: tuple[PaperRow, ...]
    legend: str
    columns: tuple[str, ...] = PAPER_COLUMNS


def paper_tables(analysis: Analysis, marking: Marking = "exact") -> list[PaperTable]:
    """Tables 3 and 4: mean ± SD of SNR, ES, STD-ES and rank by plane × sampling × method, with marks.

    Args:
        analysis: Of a study.
        marking: Marks of closed testing with exact sign tests, or of Nemenyi's test as published.
    """
    made = []
    for number, speech in ((3, False), (4, True)):
        rows: list[PaperRow] = []
        for _, results in analysis.strata:
            if not results[0].secondary and is_speech(results[0]) == speech:
                rows += _paper_rows(analysis, results, marking)
        if rows:
            what = "speech" if speech else "cardiac"
            made.append(
                PaperTable(number, f"Prospective {what} scans", tuple(rows), _legend(analysis, marking))
            )
    return made


def _paper_rows(analysis: Analysis, results: Sequence[StratumResult], marking: Marking) -> list[PaperRow]:
    by_key = {result.endpoint: result for result in results}
    sizes = [result.result.clips for key, result in by_key.items() if key in PAPER_COLUMNS and result.result]
    if not sizes:
        size = "0"
    else:
        size = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)}–{max(sizes)}"
    rows = []
    for method in analysis.tables.arms:
        cells = tuple(
            _cell(by_key[key], method, ENDPOINTS[key].digits, analysis.tables.alpha, marking)
            if key in by_key
            else PaperCell("–", "")
            for key in PAPER_COLUMNS
        )
        rows.append(PaperRow(stratum_title(results[0]), size, method_label(method), cells))
    return rows


def _cell(result: StratumResult, method: str, digits: int, alpha: float, marking: Marking) -> PaperCell:
    found = result.result
    if found is None or method not in found.arms:
        return PaperCell("–", "")
    place = found.arms.index(method)
    marks = ""
    for pair in found.pairs:
        p = pair.p_adjusted if marking == "exact" else pair.p_nemenyi
        if pair.second == method and p <= alpha:
            marks += SIGNS[found.arms.index(pair.first)]
    return PaperCell(mean_sd(found.mean[place], found.sd[place], digits), marks)


def _legend(analysis: Analysis, marking: Marking) -> str:
    arms = analysis.tables.arms
    signs = "; ".join(
        f"{sign} differs from {method_label(arm)}" for sign, arm in zip(SIGNS, arms[:-1], strict=False)
    )
    test = (
        "closed testing with exact sign tests, family-wise within a cell of plane × sampling × endpoint"
        if marking == "exact"
        else "Nemenyi’s asymptotic test, as published"
    )
    return (
        f"Mean ± SD over clips; of ranks over clips and readers (mid-ranks, 1 = best). SNR in dB, edge "
        f"sharpness ES and its SD over time STD-ES in 1/mm. {signs} (p ≤ {analysis.tables.alpha:g}, {test})."
    )
