"""The page report.html: self-contained (no script, no outside file), made to be read, printed and reviewed.

Rule: exact p values stand first and asymptotic ones are called so; every table says its unit of inference,
its N, and which rank coding its means use; what the numbers cannot show is said next to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import jinja2
from markupsafe import Markup

from studies import report_figures, statistics
from studies.measurement import BACKGROUND_SNR_WARNING, PAPER_WINDOW_S
from studies.names import position_letter
from studies.report_analysis import EndpointGroup, Group
from studies.report_tables import StudyTables, method_label

MISSING = "–"
DIGITS = {"rank": 2, "snr": 1, "es": 3, "std_es": 3, "edge_width": 2}

METHODS = (
    (
        "Unit of inference",
        "The clip. Ranks are summed over readers within a clip before any test; readings are never pooled "
        "as if they were "
        "independent. Where a subject gave several clips to a group, these clips are permuted together. "
        "The conclusions are "
        "about these readers.",
    ),
    (
        "Rank coding",
        "Readers gave weak orders (ties allowed), 1 = best. Means and SDs are printed for mid-ranks (1.5, "
        "1.5, 3) and for "
        "competition ranks (1, 1, 3); the paper does not say which it used. All tests use mid-ranks and "
        "give the same result "
        "for either coding. The SD is over all reader × clip ranks and describes spread; no test uses it.",
    ),
    (
        "Exact tests (primary)",
        "Omnibus: Friedman’s statistic against its exact permutation distribution within clips, given "
        "every clip’s own ties. "
        "Pairs: closed testing, valid for three methods: the adjusted p is the larger of the exact "
        "Friedman p and the "
        "exact two-sided sign test of wins against losses; it controls the family-wise error. Single step: "
        "P(range of rank sums ≥ observed difference) in the same distribution, the exact form of Nemenyi’s "
        "test.",
    ),
    (
        "Asymptotic twins (for comparison with the paper)",
        "Friedman χ² with tie correction, and Nemenyi as published: studentised range, infinite degrees of "
        "freedom, no "
        "correction for ties (with several readers: of the ranks of the clip’s rank sums). Both are "
        "approximations that "
        "err with few clips; plain Nemenyi is conservative with ties, so a tie-corrected form is printed "
        "too.",
    ),
    (
        "Measurements",
        "SNR = 20 log10(mean of the signal region / SD of the air region) per frame; edge sharpness (ES) = "
        "largest absolute "
        "slope of the line profile normalised to 0–1, in 1/mm, per frame, linear interpolation every 0.25 "
        "pixel; both "
        f"averaged over the time window (the paper uses {PAPER_WINDOW_S:g} s); STD-ES = SD of ES over that "
        "window. Edge "
        "width = 10–90 % distance of an error function fitted to the main edge: unlike ES it hardly "
        "depends on noise. Shapes "
        "are drawn once, blinded, and applied to all reconstructions of a clip; masks take whole pixels. "
        "Observers are averaged "
        "per clip, clips are ranked within, and the same tests applied. Smaller STD-ES and width count as "
        "wins.",
    ),
    (
        "Not done",
        "No test was chosen by looking at the data: Shapiro–Wilk tests of the paired differences are in "
        "statistics.csv and "
        "select nothing. No correction across endpoints or groups. Intervals in brackets: 95 % percentile "
        "bootstrap over clips, or over subjects that gave several, "
        f"from {statistics.MINIMUM_BOOTSTRAP_CLIPS} on.",
    ),
)

REFERENCES = (
    "Jaubert et al. Sci Rep 2024; 14:11774 (the study design followed here).",
    "Friedman. J Am Stat Assoc 1937; 32:675. Nemenyi, thesis, Princeton 1963. Hollander, Wolfe, Chicken. "
    "Nonparametric "
    "Statistical Methods, 3rd ed. (exact single-step procedure).",
    "Marcus, Peritz, Gabriel. Biometrika 1976; 63:655 (closed testing). Benavoli, Corani, Mangili. J Mach "
    "Learn Res 2016; "
    "17:5 (why not mean-rank tests for pairs).",
    "Kellman, McVeigh. Magn Reson Med 2005; 54:1439. Dietrich et al. J Magn Reson Imaging 2007; 26:375 "
    "(limits of "
    "background SNR).",
    "Gwet. Br J Math Stat Psychol 2008; 61:29 (agreement coefficient).",
)

TEMPLATE_NAME = "report_page.html.jinja"


def p_text(p: float | None) -> str:
    """A p value as journals print it: three decimals, "< 0.001" below that, a dash for none."""
    if p is None or math.isnan(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number_text(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with fixed decimals; a dash for nan, ∞ for infinity, and a true minus sign."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = round(value, digits) + 0.0  # no "-0.00"
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def _mean_sd(mean: float, sd: float, digits: int) -> str:
    spread = "" if math.isnan(sd) else f" ± {number_text(sd, digits)}"
    return number_text(mean, digits) + spread


def _interval(interval: tuple[float, float], digits: int) -> str:
    low, high = interval
    return "" if math.isnan(low) else f"[{number_text(low, digits)}, {number_text(high, digits)}]"


def _endpoint(endpoint: EndpointGroup, labels: dict[str, str]) -> dict[str, Any] | None:
    """One row of the first table and the pairs of the second; None without a complete clip."""
    result = endpoint.result
    if result is None:
        return None
    digits = DIGITS[endpoint.key]
    return {
        "key": endpoint.key,
        "label": endpoint.label,
        "unit": "mid-ranks, 1 = best" if endpoint.key == "rank" else endpoint.unit,
        "clips": result.clips,
        "blocks": result.blocks,
        "cells": [
            {"mean_sd": _mean_sd(mean, sd, digits), "interval": _interval(interval, digits)}
            for mean, sd, interval in zip(result.mean, result.sd, result.interval, strict=True)
        ],
        "competition": [
            _mean_sd(mean, sd, digits)
            for mean, sd in zip(endpoint.competition_mean, endpoint.competition_sd, strict=True)
        ],
        "exact": result.omnibus.p_permutation,
        "chi_square": result.omnibus.p_chi_square,
        "w": number_text(result.omnibus.kendall_w, 2),
        "pairs": [
            {
                "names": f"{labels[pair.first]} vs {labels[pair.second]}",
                "outcome": f"{pair.wins}/{pair.ties}/{pair.losses}",
                "net": number_text(pair.net_preference, 2, signed=True),
                "adjusted": pair.p_adjusted,
                "single_step": pair.p_single_step,
                "nemenyi": pair.p_nemenyi,
                "nemenyi_ties": pair.p_nemenyi_tie_corrected,
            }
            for pair in result.pairs
        ],
        "adjustment": result.pairs[0].adjustment,
    }


def _estimate(value: float, interval: tuple[float, float]) -> str:
    return f"{number_text(value, 2)} {_interval(interval, 2)}".strip()


def _position_text(group: Group) -> str:
    if group.position is None:
        return ""
    places = ", ".join(
        f"{position_letter(place)} {number_text(mean, 2)}" for place, mean in enumerate(group.position_means)
    )
    return f"{places}; exact Friedman p = {p_text(group.position.p_permutation)}."


def _notes(group: Group) -> list[str]:
    """Notes of all endpoints of a group, each said once."""
    found: dict[str, None] = {}
    for endpoint in group.endpoints:
        for note in endpoint.notes:
            found.setdefault(note)
        for note in endpoint.result.notes if endpoint.result else ():
            # A remark on the endpoint's own data needs its name; remarks on N are common to all.
            own = note in (statistics.NO_PREFERENCE, endpoint.result.omnibus.note if endpoint.result else "")
            found.setdefault(f"{endpoint.label}: {note}" if own else note)
    return list(found)


def _group(group: Group, number: int, labels: dict[str, str]) -> dict[str, Any]:
    names = list(labels.values())
    endpoints = [row for row in (_endpoint(endpoint, labels) for endpoint in group.endpoints) if row]
    rank = next((row for row in endpoints if row["key"] == "rank"), None)
    slopes = [
        report_figures.slope_plot(
            f"{endpoint.label} ({endpoint.unit})", names, [values for _, values in endpoint.values]
        )
        for endpoint in group.endpoints
        if endpoint.key in ("snr", "es") and endpoint.values and not group.secondary
    ]
    return {
        "title": group.title,
        "number": number,
        "secondary": group.secondary,
        "unit": "subjects" if rank and rank["blocks"] != rank["clips"] else "clips",
        "size": f"{_count(group.clips, 'clip')} of {_count(group.subjects, 'subject')}.",
        "endpoints": endpoints,
        "rank": rank,
        "has_interval": any(cell["interval"] for row in endpoints for cell in row["cells"]),
        "adjustment": endpoints[0]["adjustment"] if endpoints else "",
        "notes": _notes(group),
        "bars": report_figures.rank_bars(names, group.rank_shares) if rank else "",
        "slopes": slopes,
        "agreement": [
            {
                "names": f"{row.pair.first} – {row.pair.second}"
                if row.pair.first != row.pair.second
                else f"{row.pair.first}, first and repeated readings",
                "clips": row.pair.clips,
                "orders": f"{100 * row.pair.identical_orders:.0f} %",
                "preferences": f"{100 * row.pair.identical_preferences:.0f} %",
                "kappa": _estimate(row.pair.kappa_quadratic, row.pair.kappa_interval),
                "ac2": _estimate(row.pair.gwet_ac2, row.pair.gwet_ac2_interval),
                "w": number_text(row.mean_kendall_w, 2),
            }
            for row in (*group.agreement, *group.repeats)
        ],
        "position": _position_text(group),
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("blindcine")
    except PackageNotFoundError:
        return "(not installed)"


def render(tables: StudyTables, groups: Sequence[Group], date: datetime) -> str:
    """The page as HTML text.

    Args:
        tables: What was analysed.
        groups: From `report_analysis.analyse`.
        date: When; printed to the minute.

    Returns:
        A self-contained HTML document; all names in it are escaped.
    """
    labels = {arm: method_label(arm) for arm in tables.arms}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("studies", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )

    def p_cell(p: float | None) -> Markup:
        significant = p is not None and p <= tables.alpha
        return Markup('<span class="{}">{}</span>').format("yes" if significant else "", p_text(p))

    return environment.get_template(TEMPLATE_NAME).render(
        tables=tables,
        date=date.strftime("%d %B %Y, %H:%M %Z").strip(),
        labels=list(labels.values()),
        label_of=method_label,
        groups=[_group(group, number, labels) for number, group in enumerate(groups, start=2)],
        warnings=[row for row in tables.measurements if row.warnings],
        methods=METHODS,
        references=REFERENCES,
        snr_warning=BACKGROUND_SNR_WARNING,
        nemenyi_ten=statistics.nemenyi_limit_note(10, len(tables.arms)),
        p=p_cell,
        version=_version(),
    )
