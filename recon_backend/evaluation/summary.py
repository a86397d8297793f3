"""Means over data sets, and how much of the gap between gridding and the best possible a method closes.

    closed = (S_method − S_gridding) / (S_ceiling − S_gridding),    S the mean SSIM over the same data sets;

against the noisy target the ceiling is the noise-free truth, or that with the target's noise floor (see
`simulated`); against the truth it is 1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from recon_backend.evaluation.comparisons import CEILING, CEILING_WITH_FLOOR
from recon_backend.evaluation.metrics import Score
from recon_backend.methods import GRIDDED

Spread = tuple[float, float]
"""Mean and standard deviation (n − 1) over data sets; nan where there is but one."""


@dataclass(frozen=True)
class SummaryRow:
    """One method in one sampling of one group of data sets, against one reference.

    Attributes:
        group, kind, sampling, method, reference: as in `Score`.
        n: number of data sets.
        frames: frames compared of each; the smallest number where they differ.
        mse_db, psnr_db, ssim: mean and standard deviation over the data sets.
        ceiling: mean SSIM that nobody can surpass, of the data sets that have one; None for raw scans.
        gap_closed: see the module; None where gridding or the ceiling is missing, or gridding is not below.
        gap_closed_with_floor: the same for the ceiling with the noise floor, against the noisy target.
        models: names of the models used.
    """

    group: str
    kind: str
    sampling: str
    method: str
    reference: str
    n: int
    frames: int
    mse_db: Spread
    psnr_db: Spread
    ssim: Spread
    ceiling: float | None
    gap_closed: float | None
    gap_closed_with_floor: float | None
    models: tuple[str, ...]


def summarise(scores: Sequence[Score]) -> list[SummaryRow]:
    """One row for each group, sampling, reference and method, in the order in which they first occur."""
    groups: dict[tuple[str, ...], list[Score]] = {}
    for score in scores:
        key = (score.group, score.kind, score.sampling, score.reference, score.method)
        groups.setdefault(key, []).append(score)
    rows = []
    for (group, kind, sampling, reference, method), members in groups.items():
        same = (group, kind, sampling, reference)
        ceiling = 1.0 if reference == "truth" else _of_same(groups.get((*same, CEILING), []), members)
        with_floor = _of_same(groups.get((*same, CEILING_WITH_FLOOR), []), members)
        gridded = _of_same(groups.get((*same, GRIDDED), []), members)
        aside = method in (GRIDDED, CEILING, CEILING_WITH_FLOOR)
        rows.append(
            SummaryRow(
                group=group,
                kind=kind,
                sampling=sampling,
                method=method,
                reference=reference,
                n=len(members),
                frames=min(score.frames for score in members),
                mse_db=_spread([score.mse_db for score in members]),
                psnr_db=_spread([score.psnr_db for score in members]),
                ssim=_spread([score.ssim for score in members]),
                ceiling=ceiling,
                gap_closed=None if aside else _closed(members, gridded, ceiling),
                gap_closed_with_floor=None if aside else _closed(members, gridded, with_floor),
                models=tuple(dict.fromkeys(score.model for score in members if score.model)),
            )
        )
    return rows


def _spread(values: Sequence[float]) -> Spread:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def _of_same(others: Sequence[Score], members: Sequence[Score]) -> float | None:
    """Mean SSIM of `others` over the data sets of `members`; None if one of them is missing."""
    found = {score.dataset: score.ssim for score in others}
    if any(score.dataset not in found for score in members):
        return None
    return statistics.fmean(found[score.dataset] for score in members)


def _closed(members: Sequence[Score], gridded: float | None, ceiling: float | None) -> float | None:
    if gridded is None or ceiling is None or ceiling <= gridded:
        return None
    return (statistics.fmean(score.ssim for score in members) - gridded) / (ceiling - gridded)
