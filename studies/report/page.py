"""The page report.html: self-contained (no script, no outside file), made to be read, printed and reviewed.

Rule: the primary result in plain words comes first, then what it does and does not show; exact p values stand
before asymptotic ones, which are called so; every table says its unit of inference and its N.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from markupsafe import Markup

from studies import statistics
from studies.measurement import PAPER_WINDOW_S
from studies.names import method_label
from studies.report import views
from studies.report.analysis import ENDPOINTS, Analysis, stratum_title
from studies.report.checklists import checklists
from studies.report.drawing import BOXED, Drawing
from studies.report.findings import Findings, paper_tables
from studies.report.software import software_versions
from studies.report.wording import (
    p_text,
)
from studies.statistics.strata import StratumResult

METHODS = (
    (
        "Unit of inference",
        "The clip. Ranks are summed over readers within a clip before any test; readings are never pooled "
        "as if they were independent. Where a subject gave several clips to a stratum, these clips are "
        "permuted together. The conclusions are about these readers.",
    ),
    (
        "Rank coding",
        "Readers gave weak orders (ties allowed), 1 = best. Means and SDs are printed for mid-ranks (1.5, "
        "1.5, 3); means of competition ranks (1, 1, 3) stand beside them, for the paper does not say which "
        "it "
        "used. All tests use mid-ranks and give the same result for either coding. The SD is over all reader "
        "× clip ranks and describes spread; no test uses it.",
    ),
    (
        "Exact tests (primary)",
        "Omnibus: Friedman’s statistic against its exact permutation distribution within clips, given every "
        "clip’s own ties, readers of a clip permuted jointly. Pairs: closed testing over the exact Friedman "
        "test and exact two-sided sign tests of wins against losses; it controls the family-wise error. "
        "Single step: P(range of rank sums ≥ observed difference) in the same distribution, the exact form "
        "of Nemenyi’s test.",
    ),
    (
        "Asymptotic twins (for comparison with the paper)",
        "Friedman χ² with tie correction, and Nemenyi as published: studentised range, infinite degrees of "
        "freedom, no correction for ties (with several readers: of the ranks of the clip’s rank sums). Both "
        "are approximations that err with few clips.",
    ),
    (
        "Missing readings",
        "Primary is the complete case: a clip counts if every reader who read anything ranked it. A reading "
        "that could not be judged is missing. Beside it the Skillings–Mack test uses every reading of two "
        "methods or more. Nothing is filled in.",
    ),
    (
        "Measurements",
        "SNR = 20 log10(mean of the signal region / SD of the air region) per frame; edge sharpness (ES) = "
        "largest absolute slope of the line profile normalised to 0–1, in 1/mm, per frame; both averaged "
        f"over the time window (the paper uses {PAPER_WINDOW_S:g} s); STD-ES = SD of ES over that window. "
        "Edge width = 10–90 % distance of an error function fitted to the main edge: unlike ES it hardly "
        "depends on noise. Shapes are drawn once, blinded, and applied to all reconstructions of a clip; "
        "masks take whole pixels. Observers are averaged per clip, clips are ranked within, and the same "
        "tests applied. Shifts are Hodges–Lehmann estimates with intervals from the exact signed-rank "
        "distribution. Smaller STD-ES and width count as wins.",
    ),
    (
        "Intervals",
        "In brackets: 95 % percentile bootstrap over clips, or over subjects that gave several "
        f"({statistics.BOOTSTRAP_DRAWS} draws, fixed seed), from {statistics.MINIMUM_BOOTSTRAP_CLIPS} on; of "
        "shares of wins Clopper–Pearson; of Hodges–Lehmann shifts exact.",
    ),
    (
        "Not done",
        "No test was chosen by looking at the data: Shapiro–Wilk tests of the paired differences are "
        "reported and select nothing. No correction across endpoints or strata.",
    ),
)

REFERENCES = (
    "Jaubert et al. Sci Rep 2024; 14:11774 (the study design followed here).",
    "Friedman. J Am Stat Assoc 1937; 32:675. Nemenyi, thesis, Princeton 1963. Hollander, Wolfe, Chicken. "
    "Nonparametric Statistical Methods, 3rd ed. (exact single-step procedure, Hodges–Lehmann).",
    "Marcus, Peritz, Gabriel. Biometrika 1976; 63:655 (closed testing). Benavoli, Corani, Mangili. J Mach "
    "Learn Res 2016; 17:5 (why not mean-rank tests for pairs).",
    "Skillings, Mack. Technometrics 1981; 23:171.",
    "Cohen. Psychol Bull 1968; 70:213. Gwet. Br J Math Stat Psychol 2008; 61:29. Krippendorff. Computing "
    "Krippendorff’s alpha-reliability, 2011.",
    "Bang, Ni, Davis. Control Clin Trials 2004; 25:143. James et al. Stat Med 1996; 15:1421.",
    "Kellman, McVeigh. Magn Reson Med 2005; 54:1439. Dietrich et al. J Magn Reson Imaging 2007; 26:375 "
    "(limits of background SNR).",
    "Kottner et al. J Clin Epidemiol 2011; 64:96 (GRRAS). Tejani et al. Radiol Artif Intell 2024; 6:e240300 "
    "(CLAIM).",
)

TEMPLATE_NAME = "page.html.jinja"


def _stratum_view(
    name: str,
    results: Sequence[StratumResult],
    found: Sequence[Mapping[str, Any]],
    drawings: Sequence[Drawing],
    number: int,
) -> dict[str, Any]:
    ranks = next((item for item in found if item["kind"] == "ranks"), None)
    endpoints = [views.endpoint_view(item) for item in found]
    own = [drawing for drawing in drawings if drawing.stratum == name]
    notes = list(dict.fromkeys(note for item in found for note in item["notes"]))
    return {
        "title": stratum_title(results[0]),
        "number": number,
        "secondary": results[0].secondary,
        "endpoints": [item for item in endpoints if item["cells"]],
        "mack": [item for item in endpoints if item["mack"]],
        "unit": "subjects" if any(item["n"] != item["clips"] for item in endpoints) else "clips",
        "notes": notes,
        "agreement": views.agreement_rows(ranks["agreement"]) if ranks else [],
        "everybody": views.everybody_text(ranks["agreement"]) if ranks else "",
        "position": views.position_text(ranks["agreement"]) if ranks else "",
        "figures": [
            _figure(drawing, place)
            for place, drawing in enumerate((item for item in own if item.kind != "movies"), start=1)
        ],
        "movies": [_figure(drawing, 0) for drawing in own if drawing.kind == "movies"],
    }


def _figure(drawing: Drawing, number: int) -> dict[str, Any]:
    if drawing.is_svg:
        image = Markup(drawing.content.decode())  # made by `figures`, which escapes every name
    else:
        data = base64.b64encode(drawing.content).decode()
        image = Markup('<img alt="{}" src="data:image/png;base64,{}">').format(drawing.caption, data)
    width = "third" if drawing.kind in BOXED else "half"
    return {"width": width, "number": number, "image": image, "caption": drawing.caption}


def render(analysis: Analysis, found: Findings, drawings: Sequence[Drawing], date: datetime) -> str:
    """The page as HTML text.

    Args:
        analysis: Of the study.
        found: Its findings in words.
        drawings: Its figures.
        date: When; printed to the minute.

    Returns:
        A self-contained HTML document; all names in it are escaped.
    """
    tables = analysis.tables
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("studies.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )

    def p_cell(p: float | None, sign: str = "") -> Markup:
        significant = p is not None and p <= tables.alpha
        return Markup('<span class="{}">{}{}</span>').format("yes" if significant else "", sign, p_text(p))

    documents = [*analysis.document["strata"], *analysis.document["all_strata"]]
    strata = [
        _stratum_view(
            name, results, [item for item in documents if item["stratum"] == name], drawings, number
        )
        for number, (name, results) in enumerate(analysis.strata, start=5)
    ]
    return environment.get_template(TEMPLATE_NAME).render(
        tables=tables,
        conduct=tables.conduct,
        date=date.strftime("%d %B %Y, %H:%M %Z").strip(),
        labels=[method_label(arm) for arm in tables.arms],
        label_of=method_label,
        found=found,
        paper=paper_tables(analysis),
        paper_published=paper_tables(analysis, "published"),
        endpoint_of=ENDPOINTS,
        strata=strata,
        blinding=views.blinding_rows(analysis),
        readings=views.reading_rows(analysis),
        sessions=views.session_rows(analysis),
        missing=views.missing_rows(analysis),
        left_out=analysis.readers_left_out,
        provenance=views.provenance_rows(analysis),
        checklists=checklists(analysis),
        warnings=[row for row in tables.measurements if row.warnings],
        methods=METHODS,
        references=REFERENCES,
        software=software_versions(),
        p=p_cell,
    )
