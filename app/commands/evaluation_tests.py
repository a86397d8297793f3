"""Which reconstructions of an evaluation differ: exact Friedman and post-hoc tests, in plain words.

The unit of inference is the recording or patient; clips of one recording are permuted together. Gridding, the
ceiling and compressed sensing at a λ picked with the truth at hand are no reconstructions to choose from and
take no part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recon_backend.evaluation import Score
    from studies.statistics import EndpointResult, PairResult

ALPHA = 0.05
DECIDING = {"scan": "shaded", "video": "truth", "cine": "truth", "kspace": "noisy"}
"""Reference that decides where one is needed, by kind of data."""
UNITS = {"scan": "scans", "video": "videos", "cine": "patients", "kspace": "raw scans"}
BLOCKS = {"scan": "scans", "video": "recordings", "cine": "patients", "kspace": "raw scans"}
IN_WORDS = {
    "plain": "the truth as it is",
    "shaded": "the truth with the coils' shading",
    "truth": "the noise-free truth",
    "noisy": "the noisy target",
}
_ENDPOINTS = (("SSIM", "ssim", True), ("MSE and PSNR (one ranking)", "mse_db", False))


@dataclass(frozen=True)
class EvaluationTest:
    """One endpoint in one sampling of one group of data sets.

    Attributes:
        group, kind, sampling: what was tested.
        endpoint: in words.
        result: the tests.
    """

    group: str
    kind: str
    sampling: str
    endpoint: str
    result: EndpointResult


def tests_of(scores: Sequence[Score]) -> list[EvaluationTest]:
    """Tests of every group and sampling that has two data sets in which all reconstructions are complete."""
    from recon_backend.evaluation import BEST_COMPRESSED_SENSING, CEILING, CEILING_WITH_FLOOR
    from recon_backend.methods import GRIDDED
    from studies.statistics import analyse_values

    aside = {GRIDDED, CEILING, CEILING_WITH_FLOOR, BEST_COMPRESSED_SENSING}
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        if score.reference == DECIDING[score.kind] and score.method not in aside:
            groups.setdefault((score.group, score.kind, score.sampling), []).append(score)
    found = []
    for (group, kind, sampling), members in groups.items():
        arms = list(dict.fromkeys(score.method for score in members))
        by_case: dict[str, dict[str, Score]] = {}
        for score in members:
            by_case.setdefault(score.dataset, {})[score.method] = score
        complete = [case for case in by_case.values() if len(case) == len(arms)]
        if len(arms) < 2 or len(complete) < 2:
            continue
        blocks = [case[arms[0]].block or case[arms[0]].dataset for case in complete]
        for endpoint, column, higher_is_better in _ENDPOINTS:
            values = [[getattr(case[arm], column) for arm in arms] for case in complete]
            result = analyse_values(values, arms, higher_is_better=higher_is_better, blocks=blocks)
            found.append(EvaluationTest(group, kind, sampling, endpoint, result))
    return found


def paragraphs(tests: Sequence[EvaluationTest]) -> dict[tuple[str, str], list[str]]:
    """What the tests of each (group, kind) say: omnibus tests and pairs, then what they cannot show."""
    found: dict[tuple[str, str], list[str]] = {}
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for test in tests:
        key = test.group, test.kind
        if key not in found:
            procedure = test.result.pairs[0].adjustment
            found[key] = [
                f"Tests, {test.group} ({UNITS[test.kind]}) against {IN_WORDS[DECIDING[test.kind]]}; "
                f"pairs by {procedure}."
            ]
        found[key].extend(sentences(test))
        # The F statistic is not shown here, so neither is what is said of it.
        infinite = math.isinf(test.result.omnibus.iman_davenport_f)
        kept = [note for note in test.result.notes if not (infinite and note == test.result.omnibus.note)]
        notes.setdefault(key, {}).update(dict.fromkeys(kept))
    return {key: lines + list(notes[key]) for key, lines in found.items()}


def sentences(test: EvaluationTest) -> list[str]:
    """What a test says: the omnibus test first, then each pair."""
    result = test.result
    ties = sum(pair.ties for pair in result.pairs)
    omnibus = result.omnibus
    differ = (omnibus.p_chi_square if omnibus.p_exact is None else omnibus.p_exact) <= ALPHA
    count = f"n = {result.clips} {UNITS[test.kind]}"
    if result.blocks < result.clips:
        count += f" of {result.blocks} {BLOCKS[test.kind]}"
    lines = [
        f"{test.sampling}, {test.endpoint}: "
        f"{'the reconstructions differ' if differ else 'no difference between the reconstructions is shown'} "
        f"(Friedman: chi² = {omnibus.statistic:.2f}, exact {p_words(omnibus.p_exact)}, "
        f"asymptotic {p_words(omnibus.p_chi_square)}; {count}, "
        f"{'no ties' if ties == 0 else f'{ties} ties in pairs'})."
    ]
    return lines + [f"  {_pair_words(pair)}" for pair in result.pairs]


def _pair_words(pair: PairResult) -> str:
    forward = pair.wins >= pair.losses
    better, worse = (pair.first, pair.second) if forward else (pair.second, pair.first)
    wins, total = max(pair.wins, pair.losses), pair.wins + pair.ties + pair.losses
    shown = pair.p_adjusted_exact is not None and pair.p_adjusted_exact <= ALPHA
    verdict = f"{better} is better than {worse}" if shown else f"{better} and {worse}: no difference shown"
    return (
        f"{verdict} ({better} ahead in {wins} of {total}; {p_words(pair.p_adjusted_exact)}; "
        f"Nemenyi: exact {p_words(pair.p_single_step_exact)}, asymptotic {p_words(pair.p_nemenyi)})."
    )


def p_words(p: float | None) -> str:
    """A p value for reading."""
    if p is None or math.isnan(p):
        return "p not computed"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
