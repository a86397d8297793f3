"""The numbers of a report as they are printed, for the page and for the window alike.

Rule: every text here comes from the document of `studies.report.analysis`, or from the rows; nothing is
computed anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.names import method_label
from studies.report.analysis import ENDPOINTS, Analysis
from studies.report.checklists import whole_blinding
from studies.report.findings import one_a_reading
from studies.report.wording import (
    MISSING,
    estimate_text,
    interval_text,
    mean_sd,
    number_text,
    p_text,
)
from studies.words import counted

DISTINCT_W = 5
"""So many values of Kendall's W are listed; more readers give more."""


def _pair_name(key: str) -> str:
    first, _, second = key.partition("|")
    return f"{method_label(first)} vs {method_label(second)}"


def _exact(value: float | None, sampled: float | None) -> tuple[float | None, str]:
    """A p value and a sign where it is an estimate."""
    return (value, "") if value is not None else (sampled, "~" if sampled is not None else "")


def _share(row: Mapping[str, Any]) -> str:
    """The share of wins among decided units with its interval; a dash where none is decided."""
    decided = row["wins"] + row["losses"]
    return estimate_text(row["wins"] / decided, row["win_share_ci95"]) if decided else MISSING


def endpoint_view(found: Mapping[str, Any]) -> dict[str, Any]:
    """One endpoint in one stratum, ready to print."""
    endpoint = ENDPOINTS[found["endpoint"]]
    ranked = found["kind"] == "ranks"
    friedman = found["friedman"]
    exact, sign = _exact(friedman.get("p_exact"), friedman.get("p_monte_carlo"))
    pairs = []
    for key, row in found["pairs"].items():
        single, single_sign = _exact(row["exact_p"], row["exact_p_monte_carlo"])
        pairs.append(
            {
                "names": _pair_name(key),
                "outcome": f"{row['wins']}/{row['ties']}/{row['losses']}",
                "share": _share(row),
                "net": estimate_text(row["net_preference"], row["net_preference_ci95"]),
                "closed": row["closed_p"],
                "closed_sign": "" if row["closed_p_is_exact"] else "~",
                "sign": row["sign_p"],
                "single": single,
                "single_sign": single_sign,
                "holm": row["holm_p"],
                "nemenyi": row["nemenyi_p"],
                "nemenyi_ties": row["nemenyi_tie_corrected_p"],
                "difference": estimate_text(
                    row["mean_difference"], row["mean_difference_ci95"], endpoint.digits
                ),
                "shift": ""
                if ranked
                else estimate_text(row["hodges_lehmann"], row["hodges_lehmann_ci95"], endpoint.digits),
                "shapiro": None if ranked else row["shapiro_p"],
            }
        )
    mack = found["skillings_mack"]
    return {
        "key": endpoint.key,
        "label": endpoint.label,
        "unit": "mid-ranks, 1 = best" if ranked else endpoint.unit,
        "ranked": ranked,
        "n": found["n"],
        "clips": found["clips"],
        "cells": [
            {
                "mean_sd": mean_sd(row["mean"], row["sd"], endpoint.digits),
                "interval": interval_text(row["mean_ci95"], endpoint.digits),
            }
            for row in found["descriptives"].values()
        ],
        "competition": [
            number_text(row.get("mean_competition_rank"), 2) for row in found["descriptives"].values()
        ]
        if ranked
        else [],
        "exact": exact,
        "exact_sign": sign,
        "chi_square": friedman["p_chi2"],
        "w": number_text(friedman.get("kendall_w"), 2),
        "pairs": pairs,
        "procedure": next((row["closed_procedure"] for row in found["pairs"].values()), ""),
        # Observers who share the clips leave nothing out: then there is nothing that Skillings-Mack adds.
        "mack": mack if ranked or found["missing"]["clips_left_out"] else None,
        "mack_kind": "" if mack is None else "Monte Carlo" if mack["monte_carlo_draws"] else "exact",
    }


def agreement_rows(agreement: Mapping[str, Any]) -> list[dict[str, str]]:
    """Agreement of every two readers, then of readers with their hidden repeats."""
    rows = []
    for part in ("readers", "repeats"):
        for key, row in agreement[part].items():
            names = key.replace("|", " – ") if part == "readers" else f"{key}, first and repeated readings"
            rows.append(
                {
                    "names": names,
                    "clips": str(row["clips"]),
                    "orders": f"{100 * row['identical_orders']:.0f} %",
                    "preferences": f"{100 * row['identical_preferences']:.0f} %",
                    "kappa": estimate_text(row["kappa_quadratic"], row["kappa_quadratic_ci95"]),
                    "ac2": estimate_text(row["gwet_ac2"], row["gwet_ac2_ci95"]),
                    "tau": number_text(row["kendall_tau_b"], 2),
                }
            )
    return rows


def everybody_text(agreement: Mapping[str, Any]) -> str:
    """Agreement of all readers at once in a sentence."""
    if "krippendorff_alpha" not in agreement:
        return ""
    alpha = estimate_text(agreement["krippendorff_alpha"], agreement["krippendorff_alpha_ci95"])
    coefficient = estimate_text(agreement["gwet_ac2"], agreement["gwet_ac2_ci95"])
    concordance = estimate_text(agreement["kendall_w"], agreement["kendall_w_ci95"])
    counts = ""
    if len(agreement["kendall_w_clips"]) <= DISTINCT_W:
        counts = ", ".join(
            f"{float(value):.2f} in {counted(count, 'clip')}"
            for value, count in agreement["kendall_w_clips"].items()
        )
    return (
        f"All readers: Krippendorff’s α {alpha}, Gwet’s AC2 {coefficient}, mean Kendall’s W of the readers "
        f"{concordance}{f' (W = {counts})' if counts else ''}."
    )


def position_text(agreement: Mapping[str, Any]) -> str:
    """Mean ranks by place on the screen and their test in a sentence; empty where there are none."""
    found = agreement.get("position")
    if found is None:
        return ""
    places = ", ".join(f"{place} {number_text(mean, 2)}" for place, mean in found["mean_rank"].items())
    p, sign = _exact(found["p_exact"], found["p_monte_carlo"])
    return f"{places}; {'exact' if not sign else 'Monte Carlo'} Friedman p = {p_text(p)}."


def blinding_rows(analysis: Analysis) -> list[dict[str, str]]:
    """One line for each reader and method; empty where nobody was asked to guess."""
    rows = []
    for name in whole_blinding(analysis):
        found = analysis.document["blinding"][name]
        for arm, row in found["bang"].items():
            rows.append(
                {
                    "name": name,
                    "guesses": str(found["guesses"]),
                    "james": estimate_text(found["james"], found["james_ci95"]),
                    "arm": method_label(arm),
                    "counts": f"{row['right']}/{row['wrong']}/{row['unknown']}",
                    "bang": estimate_text(row["index"], row["ci95"]),
                    "cluster": interval_text(row["cluster_ci95"], 2) or MISSING,
                }
            )
    return rows


def reading_rows(analysis: Analysis) -> list[dict[str, str]]:
    """One line for each reader: how much, how long, how sure."""
    rows = []
    for reader, found in analysis.document["readings"].items():
        confidence = ", ".join(f"{level}: {count}" for level, count in found["confidence_counts"].items())
        rows.append(
            {
                "reader": reader,
                "readings": str(found["readings"]),
                "missing": f"{found['cannot_judge']} / {found['not_read']}",
                "repeats": str(found["repeats"]),
                "tied": str(found["tied_completely"]),
                "seconds": f"{number_text(found['seconds_median'], 1)} "
                f"({number_text(found['seconds_shortest'], 1)})",
                "minutes": number_text(
                    None if found["seconds_total"] is None else found["seconds_total"] / 60, 1
                ),
                "loops": MISSING if found["loops_fewest"] is None else str(found["loops_fewest"]),
                "skipped": MISSING if found["frames_skipped"] is None else str(found["frames_skipped"]),
                "breaks": f"{found['breaks_taken']} of {found['breaks_offered']}",
                "confidence": f"{number_text(found['confidence_median'], 1)} ({confidence})"
                if confidence
                else MISSING,
            }
        )
    return rows


def session_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """One line a session, what was recorded of it in one cell."""
    sessions: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for row in analysis.tables.conduct.sessions:
        sessions.setdefault((row.reader, row.session, row.time_utc), []).append((row.item, row.value))
    counts: dict[str, int] = {}
    for reading in one_a_reading(analysis.tables.rankings):
        counts[reading.session] = counts.get(reading.session, 0) + (not reading.missing)
    return [
        {
            "reader": reader,
            "time": time_utc[:16].replace("T", " "),
            "readings": counts.get(session, 0),
            "recorded": "; ".join(f"{item.replace('_', ' ')} {value}" for item, value in items if value),
        }
        for (reader, session, time_utc), items in sessions.items()
    ]


def missing_rows(analysis: Analysis) -> list[dict[str, str]]:
    """One line for each reading that is missing, with its reason."""
    return [
        {
            "reader": row.reader,
            "clip": f"{row.subject}, {row.plane}, {row.sampling}",
            "kind": "hidden repeat" if row.repeat else "reading",
            "reason": row.missing,
            "comment": row.comment,
        }
        for row in one_a_reading(analysis.tables.rankings)
        if row.missing
    ]


def _mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one in the place of anything else."""
    return value if isinstance(value, Mapping) else {}


def provenance_rows(analysis: Analysis) -> list[dict[str, str]]:
    """One line for each method and model: how many movies, which weights, which software."""
    groups: dict[tuple[str, ...], int] = {}
    for item in analysis.tables.conduct.provenance:
        made = _mapping(item["provenance"])
        model, software = _mapping(made.get("model")), _mapping(made.get("software"))
        key = (
            method_label(item["method"]),
            str(model.get("name", "")),
            str(model.get("weights_sha256", ""))[:16],
            str(model.get("caution", "")),
            str(made.get("device", "")),
            ", ".join(f"{name} {number}" for name, number in sorted(software.items())),
        )
        groups[key] = groups.get(key, 0) + 1
    names = ("method", "model", "sha256", "caution", "device", "software")
    return [
        {**dict(zip(names, key, strict=True)), "movies": str(count)} for key, count in sorted(groups.items())
    ]
