"""The analysis of a long table as JSON and as CSV: the same numbers, once nested and once one a line.

JSON: {"strata": [{"stratum", "endpoint", "n", "methods", "friedman": {"chi2", "p_chi2", "p_exact"}, "pairs":
{"a|b": {"nemenyi_p", "exact_p", "sign_p", "closed_p", "wins", "ties", "losses"}}, "agreement": {…}, …}]},
with more keys beside these; "all_strata" has the secondary analyses in the same form. A number that is not
defined, or not finite, is null. An exact p whose distribution was too large is null too, and its Monte Carlo
estimate stands beside it under a name that says so.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.errors import StudyError
from studies.statistics.agreement import AgreementResult
from studies.statistics.camps import BlindingResult, ReaderCamp
from studies.statistics.effects import PairEffect, share_interval
from studies.statistics.endpoints import EndpointResult
from studies.statistics.long_table import LongTable
from studies.statistics.pairs import PairResult
from studies.statistics.strata import StratumResult
from studies.storage import write_durably

FORMAT = "blindcine-statistics-1"
CSV_COLUMNS = ("stratum", "endpoint", "n", "part", "item", "quantity", "value")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class WrittenStatistics:
    """Where the two files lie."""

    json: Path
    csv: Path


def document(table: LongTable, results: Sequence[StratumResult]) -> dict[str, Any]:
    """The JSON document of an analysis, ready for `json.dumps(…, allow_nan=False)`."""
    return {
        "format": FORMAT,
        "source": table.source,
        "remarks": list(table.remarks),
        "strata": [_stratum(result) for result in results if not result.secondary],
        "all_strata": [_stratum(result) for result in results if result.secondary],
    }


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _interval(interval: Sequence[float]) -> list[float] | None:
    return [float(end) for end in interval] if all(map(math.isfinite, interval)) else None


def _stratum(result: StratumResult) -> dict[str, Any]:
    gaps = result.gaps
    found: dict[str, Any] = {
        "stratum": result.stratum,
        "plane": result.plane,
        "sampling": result.sampling,
        "endpoint": result.endpoint,
        "kind": "ranks" if result.ranked else "values",
        "better": "larger" if result.higher_is_better else "smaller",
        "n": 0 if result.result is None else result.result.blocks,
        "clips": 0 if result.result is None else result.result.clips,
        "readers": list(result.readers),
        "methods": list(result.methods),
        "missing": {
            "readings_expected": gaps.readings_expected,
            "readings_missing": gaps.readings_missing,
            "readings_incomplete": gaps.readings_incomplete,
            "clips_left_out": list(gaps.clips_left_out),
        },
        "descriptives": {},
        "friedman": {"chi2": None, "p_chi2": None, "p_exact": None},
        "pairs": {},
        "skillings_mack": None,
        "agreement": _agreement(result),
        "notes": list(result.notes),
    }
    if result.result is not None:
        found["descriptives"] = _descriptives(result, result.result)
        found["friedman"] = _friedman(result.result)
        found["pairs"] = _pairs(result.result)
        found["notes"] += list(result.result.notes)
    if result.skillings_mack is not None:
        test = result.skillings_mack
        found["skillings_mack"] = {
            "n": test.blocks,
            "readings": test.readings,
            "statistic": test.statistic,
            "degrees_of_freedom": test.degrees_of_freedom,
            "p_chi2": test.p_chi_square,
            "p_permutation": test.p_permutation,
            "monte_carlo_draws": test.draws,
            "note": test.note,
        }
    return found


def _descriptives(stratum: StratumResult, result: EndpointResult) -> dict[str, Any]:
    found = {}
    for place, method in enumerate(result.arms):
        found[method] = {
            "mean": _number(result.mean[place]),
            "sd": _number(result.sd[place]),
            "mean_ci95": _interval(result.interval[place]),
            "mean_rank": _number(result.mean_rank[place]),
        }
        if stratum.competition_mean:
            found[method]["mean_competition_rank"] = _number(stratum.competition_mean[place])
    return found


def _friedman(result: EndpointResult) -> dict[str, Any]:
    omnibus = result.omnibus
    return {
        "chi2": omnibus.statistic,
        "p_chi2": omnibus.p_chi_square,
        "p_exact": omnibus.p_exact,
        "p_monte_carlo": omnibus.p_monte_carlo,
        "monte_carlo_draws": omnibus.draws,
        "kendall_w": _number(omnibus.kendall_w),
        "iman_davenport_f": _number(omnibus.iman_davenport_f),
        "p_iman_davenport": _number(omnibus.p_iman_davenport),
    }


def _pairs(result: EndpointResult) -> dict[str, Any]:
    shapiro = {(test.first, test.second): test for test in result.shapiro}
    found = {}
    for pair, effect in zip(result.pairs, result.effects, strict=True):
        found[f"{pair.first}|{pair.second}"] = _pair(pair, effect)
        if effect.shift is not None:
            test = shapiro[pair.first, pair.second]
            found[f"{pair.first}|{pair.second}"] |= {
                "hodges_lehmann": _number(effect.shift.estimate),
                "hodges_lehmann_ci95": _interval(effect.shift.interval),
                "hodges_lehmann_level": _number(effect.shift.level),
                "shapiro_w": _number(test.statistic),
                "shapiro_p": _number(test.p_value),
            }
    return found


def _pair(pair: PairResult, effect: PairEffect) -> dict[str, Any]:
    return {
        "nemenyi_p": pair.p_nemenyi,
        "nemenyi_tie_corrected_p": pair.p_nemenyi_tie_corrected,
        "exact_p": pair.p_single_step_exact,
        "exact_p_monte_carlo": pair.p_single_step if pair.p_single_step_exact is None else None,
        "sign_p": pair.p_sign_exact,
        "closed_p": pair.p_adjusted,
        "closed_p_is_exact": pair.p_adjusted_exact is not None,
        "closed_procedure": pair.adjustment,
        "holm_p": pair.p_holm,
        "wins": pair.wins,
        "ties": pair.ties,
        "losses": pair.losses,
        "win_share_ci95": list(share_interval(pair.wins, pair.losses)),
        "mean_rank_difference": pair.mean_rank_difference,
        **_effect(effect),
    }


def _effect(effect: PairEffect) -> dict[str, Any]:
    return {
        "net_preference": effect.net_preference,
        "net_preference_ci95": _interval(effect.net_interval),
        "mean_difference": _number(effect.mean_difference),
        "mean_difference_ci95": _interval(effect.mean_interval),
    }


# Readers


def _agreement(result: StratumResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "readers": {f"{row.first}|{row.second}": _two_readings(row) for row in result.pairs_of_readers},
        "repeats": {row.first: _two_readings(row) for row in result.repeats},
        "camps": {camp.reader: _camp(result, camp) for camp in result.camps},
    }
    if result.all_readers is not None:
        all_readers = result.all_readers
        found["krippendorff_alpha"] = _number(all_readers.krippendorff_alpha)
        found["krippendorff_alpha_ci95"] = _interval(all_readers.alpha_interval)
        found["gwet_ac2"] = _number(all_readers.gwet_ac2)
        found["gwet_ac2_ci95"] = _interval(all_readers.gwet_ac2_interval)
        found["kendall_w"] = _number(all_readers.kendall_w_mean)
        found["kendall_w_ci95"] = _interval(all_readers.kendall_w_interval)
        found["kendall_w_clips"] = {f"{value:g}": count for value, count in all_readers.kendall_w_counts}
    if result.position is not None:
        effect = result.position
        found["position"] = {
            "clips": effect.clips,
            "mean_rank": dict(zip(effect.places, effect.mean_rank, strict=True)),
            "chi2": effect.test.statistic,
            "p_exact": effect.test.p_exact,
            "p_monte_carlo": effect.test.p_monte_carlo,
        }
    if result.blinding:
        found["blinding"] = {name: blinding_document(index) for name, index in result.blinding}
    return found


def _two_readings(row: AgreementResult) -> dict[str, Any]:
    return {
        "clips": row.clips,
        "identical_orders": row.identical_orders,
        "identical_preferences": row.identical_preferences,
        "kappa_quadratic": _number(row.kappa_quadratic),
        "kappa_quadratic_ci95": _interval(row.kappa_interval),
        "gwet_ac2": _number(row.gwet_ac2),
        "gwet_ac2_ci95": _interval(row.gwet_ac2_interval),
        "kendall_tau_b": _number(row.kendall_tau_b),
    }


def _camp(result: StratumResult, camp: ReaderCamp) -> dict[str, Any]:
    return {
        "clips": camp.clips,
        "mean_rank": dict(zip(result.methods, camp.mean_rank, strict=True)),
        "mean_rank_ci95": dict(zip(result.methods, map(_interval, camp.mean_rank_interval), strict=True)),
        "pairs": {
            f"{effect.first}|{effect.second}": {
                "wins": effect.wins,
                "ties": effect.ties,
                "losses": effect.losses,
                **_effect(effect),
            }
            for effect in camp.effects
        },
    }


def blinding_document(index: BlindingResult) -> dict[str, Any]:
    """Blinding indices as JSON."""
    return {
        "guesses": index.guesses,
        "james": _number(index.james),
        "james_ci95": _interval(index.james_interval),
        "bang": {
            arm.arm: {
                "right": arm.right,
                "wrong": arm.wrong,
                "unknown": arm.unknown,
                "index": _number(arm.index),
                "ci95": _interval(arm.interval),
                "cluster_ci95": _interval(cluster),
            }
            for arm, cluster in zip(index.bang, index.bang_cluster_intervals, strict=True)
        },
    }


# Files


def csv_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Every number and note of a document, one a line in the columns `CSV_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for stratum in (*found["strata"], *found["all_strata"]):
        head = (stratum["stratum"], stratum["endpoint"], str(stratum["n"]))
        for part, content in stratum.items():
            if part not in ("stratum", "endpoint", "n", "plane", "sampling"):
                rows += [
                    (*head, part, item, quantity or part, value) for item, quantity, value in _leaves(content)
                ]
    for part in ("blinding", "readings"):
        # A study's report has these two beside the strata.
        rows += [
            ("", "", "", part, item, quantity, value)
            for item, quantity, value in _leaves(found.get(part, {}))
        ]
    return rows


def _leaves(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401
    """Item, quantity and value of every leaf below a part of a stratum."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from _leaves(value, (*path, str(place + 1)))
    else:
        interval = len(path) > 1 and path[-1] in ("1", "2") and path[-2].endswith("ci95")
        if interval:
            path = (*path[:-2], f"{path[-2]}_{'low' if path[-1] == '1' else 'high'}")
        yield " ".join(path[:-1]), path[-1] if path else "", _cell(content)


def _cell(value: str | float | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _safe(cell: str) -> str:
    """A spreadsheet runs a cell that begins like a formula; a name must stay a name."""
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    return cell


def statistics_csv(found: Mapping[str, Any]) -> bytes:
    """A document as CSV, one number a line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows([_safe(cell) for cell in row] for row in csv_rows(found))
    return text.getvalue().encode()


def write_statistics(found: Mapping[str, Any], folder: Path | str) -> WrittenStatistics:
    """Write statistics.json and statistics.csv, each as a whole.

    Raises:
        StudyError: The folder cannot be written.
    """
    target = Path(folder)
    written = WrittenStatistics(target / "statistics.json", target / "statistics.csv")
    content = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        target.mkdir(parents=True, exist_ok=True)
        write_durably(written.json, content.encode())
        write_durably(written.csv, statistics_csv(found))
    except OSError as error:
        raise StudyError(
            f"The statistics cannot be written to '{target}': {error.strerror or error}; choose another "
            "folder."
        ) from error
    return written
