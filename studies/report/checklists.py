"""The reporting checklists GRRAS and CLAIM, filled from the study as far as a program can know.

An item is "filled" where the data answer it, "partly" where an author must add to it, and "author" where only
an author can answer. Topics are in our own words; the numbers are those of Kottner et al. (J Clin Epidemiol
2011; 64:96) and of CLAIM's 2024 update (Tejani et al., Radiol Artif Intell 2024; 6:e240300).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studies.names import in_words, method_label
from studies.report.analysis import Analysis
from studies.report.findings import one_a_reading
from studies.report.software import software_versions
from studies.report.wording import estimate_text, listed
from studies.statistics.strata import ALL_READERS
from studies.words import counted

Status = Literal["filled", "partly", "author"]
AUTHOR = "To be written by the authors."


@dataclass(frozen=True)
class Item:
    """One item of a checklist."""

    number: str
    topic: str
    answer: str
    status: Status


@dataclass(frozen=True)
class Checklist:
    """A checklist with its items."""

    name: str
    title: str
    items: tuple[Item, ...]


def checklists(analysis: Analysis) -> tuple[Checklist, Checklist]:
    """GRRAS and CLAIM for a study."""
    facts = _Facts(analysis)
    return (
        Checklist(
            "GRRAS", "Guidelines for Reporting Reliability and Agreement Studies", tuple(_grras(facts))
        ),
        Checklist(
            "CLAIM",
            "Checklist for Artificial Intelligence in Medical Imaging, 2024 update",
            tuple(_claim(facts)),
        ),
    )


class _Facts:
    """Sentences that several items need."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        tables = analysis.tables
        self.tables = tables
        rows = one_a_reading(tables.rankings)
        self.readers = tables.readers or tuple(sorted({row.reader for row in rows}))
        everything = {(row.clip, row.subject) for row in rows}
        everything |= {(row.clip, row.subject) for row in tables.measurements}
        self.clips = len({clip for clip, _ in everything})
        self.subjects = len({subject for _, subject in everything})
        self.first = sum(not row.repeat and not row.missing for row in rows)
        self.repeats = sum(bool(row.repeat) and not row.missing for row in rows)
        self.missing = sum(bool(row.missing) and not row.repeat for row in rows)
        self.observers = sorted({row.observer for row in tables.measurements})
        self.strata = [name for name, results in analysis.strata if not results[0].secondary]
        self.methods = listed([method_label(arm) for arm in tables.arms])
        practice = {row.clip for row in tables.practice}
        self.practice = (
            f"{counted(len(practice), 'practice clip')} shown first and not analysed. " if practice else ""
        )

    @property
    def counts(self) -> str:
        """Who read what."""
        text = (
            f"{counted(len(self.readers), 'reader')}; {counted(self.clips, 'clip')} of "
            f"{counted(self.subjects, 'subject')}; {counted(self.first, 'reading')} done, {self.missing} "
            f"missing; "
            f"{counted(self.repeats, 'hidden repeat')}"
        )
        if self.observers:
            text += f"; {counted(len(self.observers), 'observer')} measured"
        return text + "."

    @property
    def agreement(self) -> str:
        """Agreement coefficients of every stratum, or of all strata together."""
        results = [
            item
            for item in (*self.analysis.document["all_strata"], *self.analysis.document["strata"])
            if item["endpoint"] == "rank" and "krippendorff_alpha" in item["agreement"]
        ]
        if not results:
            return ""
        found = results[0]["agreement"]
        where = "over all strata" if self.analysis.document["all_strata"] else f"in {results[0]['stratum']}"
        return (
            f"Between readers, {where}: Krippendorff’s α "
            f"{estimate_text(found['krippendorff_alpha'], found['krippendorff_alpha_ci95'])}, Gwet’s AC2 "
            f"{estimate_text(found['gwet_ac2'], found['gwet_ac2_ci95'])}, Kendall’s W "
            f"{estimate_text(found['kendall_w'], found['kendall_w_ci95'])}; all strata, pairs of readers and "
            "repeats are in the tables of agreement."
        )

    @property
    def sessions(self) -> str:
        """How readings were spread over sessions and time."""
        sessions = {row.session for row in self.tables.conduct.sessions}
        days = {row.time_utc[:10] for row in self.tables.rankings if row.time_utc}
        if not days:
            return "No reading was done."
        text = f"Readings from {min(days)} to {max(days)}"
        return text + (f" in {counted(len(sessions), 'session')}." if sessions else ".")

    @property
    def models(self) -> list[str]:
        """Names of the trained models with the hash of their weights."""
        found = {}
        for item in self.tables.conduct.provenance:
            model = item["provenance"].get("model") if isinstance(item["provenance"], dict) else None
            if isinstance(model, dict):
                name = str(model.get("name", "unnamed"))
                found[name] = str(model.get("sha256") or model.get("weights_sha256") or "")
        return [f"{name}{f' (SHA-256 {sha[:12]}…)' if sha else ''}" for name, sha in sorted(found.items())]

    @property
    def cautions(self) -> list[str]:
        """What the models' manifests caution of."""
        found = set()
        for item in self.tables.conduct.provenance:
            model = item["provenance"].get("model") if isinstance(item["provenance"], dict) else None
            if isinstance(model, dict) and model.get("caution"):
                found.add(f"{model.get('name', 'unnamed')}: {model['caution']}")
        return sorted(found)


def _grras(facts: _Facts) -> list[Item]:
    protocol = facts.tables.conduct.protocol
    several = len(facts.readers) > 1
    kinds = [*(["between readers"] if several else []), *(["within readers"] if facts.repeats else [])]
    planned = (
        f"Planned by the protocol (SHA-256 {facts.tables.conduct.protocol_sha256[:12]}…): "
        f"{counted(len(facts.readers), 'reader')}, {counted(facts.clips, 'clip')}, "
        f"repeats for a share of {protocol.get('repeat_share', 0):g} of the clips. "
        "Why so many: to be written by the authors (`blindcine study design --power` computes what a size "
        "can show)."
        if protocol
        else AUTHOR
    )
    return [
        Item("1", "Title or abstract says that reliability or agreement was studied", AUTHOR, "author"),
        Item(
            "2",
            "The measure",
            f"Ranking with ties of {facts.methods}, shown side by side as synchronised movies; "
            "1 = best. " + ("SNR and edge sharpness, measured blinded." if facts.observers else ""),
            "filled",
        ),
        Item(
            "3",
            "Population of subjects",
            f"{counted(facts.subjects, 'subject')}; strata: {listed(facts.strata) or 'none'}. Who they "
            f"were: to be "
            "written by the authors.",
            "partly",
        ),
        Item(
            "4",
            "Population of raters",
            f"{listed(facts.readers) or 'none'}. Profession and experience: to be written by the authors.",
            "partly",
        ),
        Item("5", "What is known already, and why this study", AUTHOR, "author"),
        Item("6", "Choice of sample size, raters, replicates", planned, "partly" if protocol else "author"),
        Item("7", "How subjects and raters were sampled", AUTHOR, "author"),
        Item(
            "8",
            "The rating process",
            f"Blinded to the methods (opaque names, one grey scale for all methods of a clip, sealed key); "
            f"order of clips and places on the screen drawn for every reader, places balanced. "
            f"{facts.practice}"
            f"{'Hidden repeats in other places. ' if facts.repeats else 'No repeats. '}{facts.sessions}",
            "filled",
        ),
        Item(
            "9",
            "Independence of the ratings",
            "Every reader read alone, saw no other reader’s rankings, and could not change a committed "
            "ranking.",
            "filled",
        ),
        Item(
            "10",
            "Statistical analysis",
            "Pairwise preferences (better, tie, worse): quadratically weighted κ, Gwet’s AC2, Krippendorff’s "
            "ordinal α, Kendall’s W; 95 % percentile bootstrap over clips or subjects. See Methods.",
            "filled",
        ),
        Item("11", "Numbers of raters, subjects and replicates", facts.counts, "filled"),
        Item("12", "Characteristics of raters and subjects", AUTHOR, "author"),
        Item(
            "13",
            "Estimates of reliability and agreement with uncertainty",
            facts.agreement
            or f"One reader{'' if facts.repeats else ' and no repeats'}: no agreement between readers.",
            "filled" if kinds else "partly",
        ),
        Item("14", "Practical relevance", AUTHOR, "author"),
        Item(
            "15",
            "Detailed results",
            "ranking.csv, measurements.csv, statistics.csv and statistics.json hold every reading and "
            "number; "
            "reproduce.py recomputes them.",
            "filled",
        ),
    ]


def _claim(facts: _Facts) -> list[Item]:
    tables = facts.tables
    conduct = tables.conduct
    software = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    made = sorted(
        {
            f"{name} {number}"
            for item in conduct.provenance
            if isinstance(item["provenance"], dict)
            for name, number in dict(
                item["provenance"].get("software") or item["provenance"].get("versions") or {}
            ).items()
        }
    )
    models = listed(facts.models)
    blinding = facts.analysis.document["blinding"]
    checked = "guesses of the readers: see Blinding" if blinding else "not asked"
    left_out = sorted(
        {
            clip
            for item in facts.analysis.document["strata"]
            if item["endpoint"] == "rank"
            for clip in item["missing"]["clips_left_out"]
        }
    )
    excluded = (
        f"{counted(facts.clips, 'clip')} of {counted(facts.subjects, 'subject')} included; "
        f"{counted(len(left_out), 'clip')} left out of the complete-case analysis; {facts.missing} readings "
        f"missing."
    )
    strata = ", ".join(facts.strata)
    return [
        Item("1", "Title: AI methodology named", AUTHOR, "author"),
        Item("2", "Abstract: structured summary", AUTHOR, "author"),
        Item("3", "Background, intended use", AUTHOR, "author"),
        Item("4", "Aims and hypotheses", AUTHOR, "author"),
        Item(
            "5",
            "Prospective or retrospective",
            "Reading prospective: protocol locked and hashed before the first ranking. "
            "Acquisition: to be written by the authors.",
            "partly",
        ),
        Item(
            "6",
            "Study goal",
            f"Comparison of reconstructions ({facts.methods}) by blinded readers.",
            "partly",
        ),
        Item("7", "Data sources", AUTHOR, "author"),
        Item("8", "Inclusion and exclusion criteria", AUTHOR, "author"),
        Item(
            "9",
            "Preprocessing",
            "All methods of a clip cut to their common frames and field of view; one grey scale rule "
            f"({in_words(str(conduct.protocol.get('grey_scale', 'least_squares'))).lower()}); raw data "
            f"reconstructed as in provenance.json.",
            "filled" if conduct.provenance else "partly",
        ),
        Item(
            "10",
            "Selection of data subsets",
            f"Strata: {strata or 'none'}. {facts.practice}".strip(),
            "filled",
        ),
        Item(
            "11",
            "De-identification",
            "Readers saw no patient data, file or method names; subjects are pseudonyms. De-identification "
            "of "
            "the raw data: to be written by the authors.",
            "partly",
        ),
        Item(
            "12",
            "Missing data",
            f"Complete case; Skillings–Mack beside it. {facts.missing} readings missing, listed with "
            f"reasons.",
            "filled",
        ),
        Item("13", "Image acquisition protocol", AUTHOR, "author"),
        Item(
            "14",
            "Reference standard",
            "None: readers’ preferences, without a reference image.",
            "filled",
        ),
        Item("15", "Rationale of the reference standard", AUTHOR, "author"),
        Item(
            "16",
            "Source of annotations",
            f"Readers: {listed(facts.readers) or 'none'}. Observers: {listed(facts.observers) or 'none'}.",
            "partly",
        ),
        Item(
            "17",
            "Annotation of the test set",
            "Rankings in blindcine; shapes drawn blinded, once for all methods of a clip.",
            "filled",
        ),
        Item(
            "18",
            "Variability of annotations",
            facts.agreement or "One reader: no agreement between readers.",
            "filled" if facts.agreement else "partly",
        ),
        Item(
            "19",
            "Partitions of the data",
            "Nothing was trained in this study; training data of the models: see their manifests.",
            "partly",
        ),
        Item("20", "Level at which partitions are disjoint", AUTHOR, "author"),
        Item(
            "21",
            "Intended sample size",
            f"{counted(facts.clips, 'clip')}, {counted(len(facts.readers), 'reader')}. Why: to be written "
            f"by the authors.",
            "partly",
        ),
        Item("22", "Model", f"Models: {models}." if models else AUTHOR, "partly" if models else "author"),
        Item(
            "23",
            "Software",
            f"Analysis: {software}." + (f" Reconstruction: {', '.join(made)}." if made else ""),
            "filled",
        ),
        Item("24", "Initialisation of parameters", AUTHOR, "author"),
        Item("25", "Training", " ".join(facts.cautions) or AUTHOR, "partly" if facts.cautions else "author"),
        Item("26", "Selection of the final model", AUTHOR, "author"),
        Item("27", "Ensembling", AUTHOR, "author"),
        Item(
            "28",
            "Metrics",
            "Ranks of blinded readers"
            + ("; SNR, edge sharpness and its SD over time." if facts.observers else "."),
            "filled",
        ),
        Item(
            "29",
            "Significance and uncertainty",
            f"Closed testing with exact sign tests at α = {tables.alpha:g}; bootstrap and exact intervals.",
            "filled",
        ),
        Item(
            "30",
            "Robustness or sensitivity",
            "Skillings–Mack with missing readings, asymptotic tests, all strata together, position effect.",
            "filled",
        ),
        Item("31", "Explainability", AUTHOR, "author"),
        Item("32", "Evaluation on internal data", AUTHOR, "author"),
        Item("33", "Testing on external data", AUTHOR, "author"),
        Item(
            "34",
            "Registration",
            f"Protocol SHA-256 {conduct.protocol_sha256 or '–'}. Registry: to be written by the authors.",
            "partly",
        ),
        Item("35", "Numbers included and excluded", excluded, "filled"),
        Item("36", "Demographics", AUTHOR, "author"),
        Item(
            "37", "Performance with uncertainty", "Tables 3 and 4 and the tables of every stratum.", "filled"
        ),
        Item("38", "Diagnostic performance", "Not measured: readers ranked image quality.", "filled"),
        Item(
            "39",
            "Failure analysis",
            "Clips in which a method came last: rank plots of every stratum and ranking.csv; readers’ "
            "comments in it.",
            "partly",
        ),
        Item(
            "40",
            "Limitations",
            f"See “What this does not show”; blinding {checked}. More: to be written by the authors.",
            "partly",
        ),
        Item("41", "Implications for practice", AUTHOR, "author"),
        Item(
            "42",
            "Access to the full protocol",
            "study.json holds the protocol, its hash and every amendment.",
            "filled",
        ),
        Item(
            "43",
            "Availability of software, models and data",
            f"Software: {software.partition(',')[0]}. Models and data: to be written by the authors.",
            "partly",
        ),
        Item("44", "Funding", AUTHOR, "author"),
    ]


def whole_blinding(analysis: Analysis) -> tuple[str, ...]:
    """Names under which blinding indices are listed, all readers last."""
    names = list(analysis.document["blinding"])
    return tuple(sorted(names, key=lambda name: (name == ALL_READERS, name)))
