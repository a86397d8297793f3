"""Recompute every number of a blindcine report from its CSV files, and compare with statistics.json.

    python reproduce.py [FOLDER]

Needs Python 3.11, NumPy and SciPy; nothing of blindcine. FOLDER (this file's own by default) holds
ranking.csv, measurements.csv, guesses.csv, breaks.csv, study.json and statistics.json. Everything is computed
anew from the CSV files and study.json (arms, strata, alpha); statistics.json is only compared with. The exit
status is 0 if every number agrees to its last digits (relative difference below 1e-12), else 1.

Rules, the same as in the report: clips count where every reader ranked every method (complete case); ranks
are mid-ranks, summed over the readers of a clip and over the clips of a subject; hidden repeats enter only
the agreement of a reader with himself.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ENDPOINTS = {
    "snr": ("snr_db_mean", True),
    "es": ("edge_sharpness_per_mm_mean", True),
    "std_es": ("edge_sharpness_per_mm_sd", False),
    "edge_width": ("edge_width_mm_mean", False),
}
ALL_STRATA, ALL_READERS = "all strata", "all readers"
DRAWS, SEED, FEWEST_UNITS = 4000, 20240523, 6
MONTE_CARLO_DRAWS, MONTE_CARLO_SEED = 20_000, 19370201
TOLERANCE = 1e-12
Array = np.ndarray[Any, np.dtype[Any]]


# Reading


def read_csv(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV file by column; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: unguarded(cell) for name, cell in row.items()} for row in csv.DictReader(stream)]


def unguarded(cell: str) -> str:
    """A text without the apostrophe that keeps a spreadsheet from running it as a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", "\t", "\r") else cell


def number(cell: str) -> float:
    """A cell as a number, NaN where it is empty or not finite."""
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else math.nan


class Cube:
    """Numbers of one stratum and endpoint: first[reader, clip, method], again (hidden repeats), places."""

    def __init__(self, rows: list[dict[str, str]], who: str, column: str, methods: list[str]) -> None:
        """Sort lines into a cube; NaN where there is none."""
        self.methods = [name for name in methods if any(row["method"] == name for row in rows)]
        self.readers = sorted({row[who] for row in rows})
        self.clips = sorted({(row["stratum"], row["clip"]) for row in rows})
        subject = {(row["stratum"], row["clip"]): row["subject"] for row in rows}
        names = [
            f"subject {subject[clip]}" if subject[clip] else f"clip {clip[1]} of {clip[0]}"
            for clip in self.clips
        ]
        order = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self.blocks = [order[name] for name in names]
        shape = (len(self.readers), len(self.clips), len(self.methods))
        self.first, self.again = np.full(shape, np.nan), np.full(shape, np.nan)
        self.by_place: dict[tuple[str, tuple[str, str], str], float] = {}
        for row in rows:
            value = number(row[column])
            if math.isnan(value):
                continue
            clip = (row["stratum"], row["clip"])
            at = (
                self.readers.index(row[who]),
                self.clips.index(clip),
                self.methods.index(row["method"]),
            )
            if row.get("repeat", "0") == "0":
                self.first[at] = value
                self.by_place[row[who], clip, row.get("position", "")] = value
            else:
                self.again[at] = value
        self.places = sorted(
            {row.get("position", "") for row in rows if row.get("repeat", "0") == "0"} - {""}
        )


# Ranks and their permutation distribution


def mid_ranks(values: Array) -> Array:
    """Mid-ranks along the last axis, smallest first; NaN stays."""
    return np.asarray(stats.rankdata(values, axis=-1, nan_policy="omit"))


def join(rows: Array, blocks: list[int]) -> Array:
    """Sums of the rows of every block, blocks in order of first appearance."""
    kept = list(dict.fromkeys(blocks))
    return np.stack([rows[[b == block for b in blocks]].sum(axis=0) for block in kept])


def integers(scores: Array) -> Array:
    """Rank sums less their row mean, as integers in the coarsest unit."""
    arms = scores.shape[1]
    whole = np.rint(2 * arms * scores - (2 * scores).sum(axis=1, keepdims=True)).astype(np.int64)
    divisor = int(np.gcd.reduce(np.abs(whole).ravel()))
    return np.asarray(whole // divisor if divisor > 1 else whole)


def null_distribution(scores: Array) -> tuple[Array, Array, int]:
    """Rank sums under all orders of every row, their probabilities, and random draws (0: exact)."""
    whole = integers(scores)
    arms, least = whole.shape[1], whole.min(axis=1, keepdims=True)
    steps = whole - least
    unit = max(1, int(np.gcd.reduce(steps.ravel())))
    steps = steps // unit
    cells = (int(steps.max(axis=1).sum()) + 1) ** (arms - 1)
    if cells <= 8_000_000 and cells * math.factorial(arms) * len(steps) / arms <= 220_000_000:
        grid = np.ones((1,) * (arms - 1))
        for row in steps:
            grown = np.zeros(tuple(side + int(row.max()) for side in grid.shape))
            for order in itertools.permutations(int(value) for value in row):
                place = tuple(
                    slice(shift, shift + side) for shift, side in zip(order[:-1], grid.shape, strict=True)
                )
                grown[place] += grid / math.factorial(arms)
            grid = grown
        index = np.nonzero(grid)
        sums = np.stack(index, axis=1) * unit + int(least.sum())
        return np.column_stack([sums, -sums.sum(axis=1)]), grid[index], 0
    generator = np.random.default_rng(MONTE_CARLO_SEED)
    sums = np.zeros((MONTE_CARLO_DRAWS + 1, arms), dtype=np.int64)
    sums[0] = whole.sum(axis=0)
    for row in whole:
        sums[1:] += generator.permuted(np.tile(row, (MONTE_CARLO_DRAWS, 1)), axis=1)
    return sums, np.full(len(sums), 1 / len(sums)), MONTE_CARLO_DRAWS


def probability(weights: Array) -> float:
    """Total probability."""
    return min(1.0, math.fsum(weights))


# Tests


def friedman(scores: Array) -> dict[str, Any]:
    """Friedman's test of (block, method) rank sums: exact, chi-square, F."""
    n, k = scores.shape
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = float((centred**2).sum())
    if spread == 0:
        return {
            "chi2": 0.0, "p_chi2": 1.0, "p_exact": 1.0, "p_monte_carlo": None, "monte_carlo_draws": 0,
            "kendall_w": None, "iman_davenport_f": 0.0, "p_iman_davenport": 1.0,
        }  # fmt: skip
    q = (k - 1) * float((centred.sum(axis=0) ** 2).sum()) / spread
    sums, weights, draws = null_distribution(scores)
    observed = int((integers(scores).sum(axis=0) ** 2).sum())
    p = probability(weights[(sums**2).sum(axis=1) >= observed])
    rest = n * (k - 1) - q
    f = math.inf if rest <= 1e-9 * n else (n - 1) * q / rest
    return {
        "chi2": q,
        "p_chi2": float(stats.chi2.sf(q, k - 1)),
        "p_exact": None if draws else p,
        "p_monte_carlo": p if draws else None,
        "monte_carlo_draws": draws,
        "kendall_w": q / (n * (k - 1)),
        "iman_davenport_f": f if n > 1 and math.isfinite(f) else None,
        "p_iman_davenport": float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))) if n > 1 else None,
    }


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided sign test, ties dropped."""
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def set_partitions(items: list[int]) -> list[list[list[int]]]:
    """All partitions of a list."""
    if not items:
        return [[]]
    found = []
    for partition in set_partitions(items[1:]):
        found.append([[items[0]], *partition])
        for place, group in enumerate(partition):
            found.append([*partition[:place], [items[0], *group], *partition[place + 1 :]])
    return found


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found, running = [0.0] * len(p_values), 0.0
    for step, place in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[place]))
        found[place] = running
    return found


def closed_testing(
    scores: Array, signs: dict[tuple[int, int], float]
) -> tuple[dict[tuple[int, int], float], bool]:
    """Adjusted p of every pair, and whether all that enters is exact."""
    arms = scores.shape[1]
    if arms == 2:
        return signs, True
    if arms > 5:
        return dict(zip(signs, holm(list(signs.values())), strict=True)), True
    exact = True
    of_group: dict[tuple[int, ...], float] = {pair: p for pair, p in signs.items()}
    for size in range(3, arms + 1):
        for group in itertools.combinations(range(arms), size):
            test = friedman(scores[:, group])
            exact = exact and test["p_exact"] is not None
            of_group[group] = test["p_exact"] if test["p_exact"] is not None else test["p_monte_carlo"]
    closed = dict.fromkeys(signs, 0.0)
    for partition in set_partitions(list(range(arms))):
        groups = [tuple(sorted(group)) for group in partition if len(group) > 1]
        if groups:
            p = min(1.0, len(groups) * min(of_group[group] for group in groups))
            for group in groups:
                for pair in itertools.combinations(group, 2):
                    closed[pair] = max(closed[pair], p)
    return closed, exact


def nemenyi(difference: float, n: int, k: int, variance: float) -> float:
    """P(studentised range of k normals > |difference| / sqrt(variance / n))."""
    if variance == 0:
        return 1.0
    return float(stats.studentized_range.sf(abs(difference) / math.sqrt(variance / n), k, np.inf))


def win_share(wins: int, losses: int) -> list[float]:
    """Clopper-Pearson interval of wins among decided blocks."""
    if wins + losses == 0:
        return [0.0, 1.0]
    found = stats.binomtest(wins, wins + losses).proportion_ci(0.95, "exact")
    return [float(found.low), float(found.high)]


# Intervals


def drawn(units: int) -> Array | None:
    """How often each unit is drawn: (draw, unit); None below six units."""
    if units < FEWEST_UNITS:
        return None
    generator = np.random.default_rng(SEED)
    return generator.multinomial(units, np.full(units, 1 / units), size=DRAWS).astype(float)


def percentile_interval(sample: Array) -> list[float] | None:
    """2.5 and 97.5 % of the finite values."""
    finite = sample[np.isfinite(sample)]
    return [float(end) for end in np.percentile(finite, [2.5, 97.5])] if finite.size else None


def mean_interval(values: Array, blocks: list[int]) -> list[float] | None:
    """Bootstrap interval of the mean of values whose blocks are drawn whole."""
    kept = list(dict.fromkeys(blocks))
    weights = drawn(len(kept))
    if weights is None or not np.isfinite(values).all():
        return None
    sums, sizes = np.zeros(len(kept)), np.zeros(len(kept))
    for value, block in zip(values, blocks, strict=True):
        sums[kept.index(block)] += value
        sizes[kept.index(block)] += 1
    return percentile_interval((weights @ sums) / (weights @ sizes))


def hodges_lehmann(differences: Array) -> tuple[float, list[float] | None, float | None]:
    """Median of pairwise means, its exact interval from the signed-rank distribution, the level reached."""
    n = len(differences)
    means = np.sort([(differences[i] + differences[j]) / 2 for i in range(n) for j in range(i, n)])
    counts = np.array([1.0])
    for rank in range(1, n + 1):
        counts = np.convolve(counts, np.concatenate([[0.5], np.zeros(rank - 1), [0.5]]))
    below = np.cumsum(counts)
    place = int((below < 0.025 * (1 - 1e-12)).sum())
    if place == 0:
        return float(np.median(means)), None, None
    return (
        float(np.median(means)),
        [float(means[place - 1]), float(means[-place])],
        1 - 2 * float(below[place - 1]),
    )


# One endpoint in one stratum


def pair_table(
    scores: Array, readings: Array, values: Array, blocks: list[int], methods: list[str], better: int
) -> dict[str, Any]:
    """Everything of every pair.

    scores: (block, method) rank sums. readings: (row, method) of what is compared, row by row in `blocks`;
    better is -1 where smaller is better. values: block means for Hodges-Lehmann, empty for ranks.
    """
    n, k = scores.shape
    pairs = list(itertools.combinations(range(k), 2))
    outcome = {
        (i, j): (int((scores[:, i] < scores[:, j]).sum()), int((scores[:, i] > scores[:, j]).sum()))
        for i, j in pairs
    }
    signs = {pair: sign_test(*outcome[pair]) for pair in pairs}
    closed, exact = closed_testing(scores, signs)
    adjusted = dict(zip(pairs, holm([signs[pair] for pair in pairs]), strict=True))
    sums, weights, draws = null_distribution(scores)
    totals = integers(scores).sum(axis=0)
    clip_ranks = mid_ranks(scores).mean(axis=0)
    centred = scores - scores.mean(axis=1, keepdims=True)
    variance = float((centred**2).sum()) / (n * (k - 1))
    found = {}
    for i, j in pairs:
        wins, losses = outcome[i, j]
        difference = float(clip_ranks[i] - clip_ranks[j])
        single = probability(weights[np.ptp(sums, axis=1) >= abs(int(totals[i] - totals[j]))])
        column = better * (readings[:, i] - readings[:, j])
        preference, change = np.sign(column), readings[:, i] - readings[:, j]
        row = {
            "nemenyi_p": nemenyi(difference, n, k, k * (k + 1) / 12),
            "nemenyi_tie_corrected_p": nemenyi(
                float(scores[:, i].mean() - scores[:, j].mean()), n, k, variance
            ),
            "exact_p": None if draws else single,
            "exact_p_monte_carlo": single if draws else None,
            "sign_p": signs[i, j],
            "closed_p": closed[i, j],
            "closed_p_is_exact": exact,
            "holm_p": adjusted[i, j],
            "wins": wins,
            "ties": n - wins - losses,
            "losses": losses,
            "win_share_ci95": win_share(wins, losses),
            "mean_rank_difference": difference,
            "net_preference": float(preference.mean()),
            "net_preference_ci95": mean_interval(preference, blocks),
            "mean_difference": float(change.mean()),
            "mean_difference_ci95": mean_interval(change, blocks),
        }
        if values.size:
            gaps = values[:, i] - values[:, j]
            estimate, ends, level = hodges_lehmann(gaps)
            normal = n >= 3 and np.ptp(gaps) > 0
            shapiro = stats.shapiro(gaps) if normal else None
            row |= {
                "hodges_lehmann": estimate,
                "hodges_lehmann_ci95": ends,
                "hodges_lehmann_level": level,
                "shapiro_w": float(shapiro.statistic) if shapiro else None,
                "shapiro_p": float(shapiro.pvalue) if shapiro else None,
            }
        found[f"{methods[i]}|{methods[j]}"] = row
    return found


def stratum(name: str, endpoint: str, cube: Cube, better: int) -> dict[str, Any]:
    """All numbers of one stratum and endpoint. better: 1 where larger is better, -1 where smaller is."""
    ranked = endpoint == "rank"
    full = ~np.isnan(cube.first).any(axis=2)
    observed = np.where(full[:, :, None], cube.first, np.nan)
    counts = full.sum(axis=0)
    means = np.nansum(observed, axis=0) / np.where(counts, counts, np.nan)[:, None]
    complete = np.flatnonzero(full.all(axis=0) if ranked else counts > 0)
    blocks = [cube.blocks[clip] for clip in complete]
    present = ~np.isnan(cube.first)
    several = len({clip[0] for clip in cube.clips}) > 1
    found: dict[str, Any] = {
        "n": len(set(blocks)),
        "clips": len(complete),
        "missing": {
            "readings_expected": full.size,
            "readings_missing": int((~present.any(axis=2)).sum()),
            "readings_incomplete": int((present.any(axis=2) & ~full).sum()),
            "clips_left_out": [
                f"{clip} ({where})" if several else clip
                for place, (where, clip) in enumerate(cube.clips)
                if place not in set(complete)
            ],
        },
        "descriptives": {},
        "friedman": {"chi2": None, "p_chi2": None, "p_exact": None},
        "pairs": {},
        "skillings_mack": None,
    }
    if len(complete) and ranked:
        ranks = mid_ranks(cube.first[:, complete])
        by_clip = ranks.sum(axis=0)
        readings = ranks.reshape(-1, ranks.shape[2])
        spread = readings.std(axis=0, ddof=1) if len(readings) > 1 else np.full(ranks.shape[2], np.nan)
        below = (cube.first[:, complete][..., None, :] < cube.first[:, complete][..., :, None]).sum(axis=-1)
        for place, method in enumerate(cube.methods):
            found["descriptives"][method] = {
                "mean": float(readings[:, place].mean()),
                "sd": defined(spread[place]),
                "mean_ci95": mean_interval(ranks.mean(axis=0)[:, place], blocks),
                "mean_rank": float(readings[:, place].mean()),
                "mean_competition_rank": float((1 + below)[..., place].mean()),
            }
        scores = join(by_clip, blocks)
        found["friedman"] = friedman(scores)
        found["pairs"] = pair_table(
            scores, readings, np.empty(0), blocks * len(cube.readers), cube.methods, -1
        )
    elif len(complete):
        values = means[complete]
        ranks = mid_ranks(-better * values)
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        for place, method in enumerate(cube.methods):
            found["descriptives"][method] = {
                "mean": float(values[:, place].mean()),
                "sd": defined(spread[place]),
                "mean_ci95": mean_interval(values[:, place], blocks),
                "mean_rank": float(ranks[:, place].mean()),
            }
        scores = join(ranks, blocks)
        found["friedman"] = friedman(scores)
        of_block = [values[[b == block for b in blocks]].mean(axis=0) for block in dict.fromkeys(blocks)]
        found["pairs"] = pair_table(scores, values, np.stack(of_block), blocks, cube.methods, better)
    orders = mid_ranks(cube.first if ranked else -better * cube.first)
    if not present.all():
        if ranked:
            incomplete = orders
        else:
            any_value = np.nansum(cube.first, axis=0) / np.where(present.any(0), present.sum(0), np.nan)
            incomplete = mid_ranks(-better * any_value)[None]
        found["skillings_mack"] = skillings_mack(incomplete, cube.blocks)
    again = mid_ranks(cube.again if ranked else -better * cube.again)
    found["agreement"] = agreement(cube, orders, again)
    if ranked and cube.places:
        found["agreement"] |= position(cube, complete)
    return found


def defined(value: float) -> float | None:
    """None for NaN."""
    return float(value) if math.isfinite(value) else None


def skillings_mack(ranks: Array, blocks: list[int]) -> dict[str, Any]:
    """Omnibus test of (reader, clip, method) mid-ranks with gaps."""
    k = ranks.shape[2]
    rows, used = [], 0
    for block in dict.fromkeys(blocks):
        readings = ranks[:, [b == block for b in blocks]].reshape(-1, k)
        readings = readings[np.isfinite(readings).sum(axis=1) >= 2]
        there = np.flatnonzero(np.isfinite(readings).all(axis=0))
        if len(readings) and len(there) >= 2:
            size = len(there)
            centred = stats.rankdata(readings[:, there], axis=1) - (size + 1) / 2
            rows.append((there, math.sqrt(12 / (size + 1)) * centred.sum(axis=0)))
            used += len(readings)
    total, covariance = np.zeros(k), np.zeros((k, k))
    for there, scores in rows:
        size = len(there)
        total[there] += scores
        covariance[np.ix_(there, there)] += float((scores**2).sum()) / (size - 1) * (np.eye(size) - 1 / size)
    degrees = int(np.linalg.matrix_rank(covariance))
    if degrees == 0:
        return {
            "n": len(rows), "readings": used, "statistic": 0.0, "degrees_of_freedom": 0, "p_chi2": 1.0,
            "p_permutation": 1.0, "monte_carlo_draws": 0,
        }  # fmt: skip
    inverse = np.linalg.pinv(covariance, hermitian=True)
    statistic = float(total @ inverse @ total)
    arrangements = math.prod(math.factorial(len(there)) for there, _ in rows)
    if arrangements <= 50_000:
        draws = 0
        sums = np.zeros((1, k))
        for there, scores in rows:
            moves = np.zeros((math.factorial(len(there)), k))
            moves[:, there] = list(itertools.permutations(scores))
            sums = (sums[:, None] + moves[None]).reshape(-1, k)
    else:
        generator, draws = np.random.default_rng(MONTE_CARLO_SEED), MONTE_CARLO_DRAWS
        sums = np.zeros((draws + 1, k))
        for there, scores in rows:
            sums[0, there] += scores
            sums[1:, there] += generator.permuted(np.tile(scores, (draws, 1)), axis=1)
    reached = np.einsum("ij,jk,ik->i", sums, inverse, sums) >= statistic * (1 - 1e-9) - 1e-12
    return {
        "n": len(rows),
        "readings": used,
        "statistic": statistic,
        "degrees_of_freedom": degrees,
        "p_chi2": float(stats.chi2.sf(statistic, degrees)),
        "p_permutation": float(reached.mean()),
        "monte_carlo_draws": draws,
    }


# Agreement

CATEGORIES = np.array([-1.0, 0.0, 1.0])
WEIGHTS = 1 - (np.subtract.outer(CATEGORIES, CATEGORIES) / 2) ** 2


def preferences(ranks: Array) -> Array:
    """(clip, ordered pair of methods, reader): -1 worse, 0 tied, 1 better."""
    pairs = itertools.permutations(range(ranks.shape[2]), 2)
    return np.asarray(np.stack([np.sign(ranks[..., j] - ranks[..., i]).T for i, j in pairs], axis=1))


def by_block(parts: Array, blocks: list[int]) -> Array:
    """Sum items (clip, pair, …) over the pairs and clips of every block."""
    return join(parts.sum(axis=1), blocks)


def coefficient(parts: Array, formula: Any) -> tuple[float | None, list[float] | None]:  # noqa: ANN401
    """A coefficient of sums over blocks, and its bootstrap interval over blocks."""
    weights = drawn(len(parts))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(formula(parts.sum(axis=0)))
        ends = None
        if weights is not None:
            sample = (weights @ parts.reshape(len(parts), -1)).reshape(-1, *parts.shape[1:])
            ends = percentile_interval(formula(sample))
    return defined(value), ends


def corrected(observed: Array, chance: Array) -> Array:
    """(observed - chance) / (1 - chance), NaN where chance agreement is complete."""
    return np.asarray(np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan))


def kappa(tables: Array) -> Array:
    """Quadratically weighted kappa of tables of counts (…, category, category)."""
    shares = tables / tables.sum(axis=(-2, -1), keepdims=True)
    chance = np.einsum("...a,ab,...b->...", shares.sum(axis=-1), WEIGHTS, shares.sum(axis=-2))
    return corrected((WEIGHTS * shares).sum(axis=(-2, -1)), chance)


def ac2_parts(counts: Array) -> Array:
    """What AC2 needs of every item: agreement, whether two rated, shares of categories, whether one did."""
    raters = counts.sum(axis=-1)
    agreeing = (counts * (counts @ WEIGHTS - 1)).sum(axis=-1) / np.maximum(raters * (raters - 1), 1)
    return np.concatenate(
        [
            (agreeing * (raters > 1))[..., None],
            (raters > 1)[..., None],
            counts / np.maximum(raters, 1)[..., None],
            (raters > 0)[..., None],
        ],
        axis=-1,
    )


def ac2(parts: Array) -> Array:
    """Gwet's AC2 of sums (…, part) of `ac2_parts`."""
    share = parts[..., 2:5] / parts[..., 5:]
    chance = WEIGHTS.sum() / 6 * (share * (1 - share)).sum(axis=-1)
    return corrected(parts[..., 0] / parts[..., 1], chance)


def alpha(coincidences: Array) -> Array:
    """Krippendorff's ordinal alpha of coincidence matrices (…, category, category)."""
    totals = coincidences.sum(axis=-1)
    place = np.cumsum(totals, axis=-1) - totals / 2
    distance = (place[..., :, None] - place[..., None, :]) ** 2
    seen = (coincidences * distance).sum(axis=(-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * distance).sum(axis=(-2, -1))
    return np.asarray(np.where(expected > 0, 1 - (totals.sum(axis=-1) - 1) * seen / expected, np.nan))


def counted(items: Array) -> Array:
    """How many raters gave each category: (…, category)."""
    return np.stack([(items == value).sum(axis=-1) for value in CATEGORIES], axis=-1).astype(float)


def two_readings(one: Array, other: Array, blocks: list[int]) -> dict[str, Any]:
    """Agreement of two complete readings (clip, method) of the same clips."""
    items = preferences(np.stack([one, other]))
    first, second = counted(items[..., :1]), counted(items[..., 1:])
    kappa_value, kappa_ends = coefficient(by_block(np.einsum("cpa,cpb->cpab", first, second), blocks), kappa)
    ac2_value, ac2_ends = coefficient(by_block(ac2_parts(first + second), blocks), ac2)
    taus = [float(stats.kendalltau(a, b).statistic) for a, b in zip(one, other, strict=True)]
    taus = [tau for tau in taus if math.isfinite(tau)]
    return {
        "clips": len(one),
        "identical_orders": float((one == other).all(axis=1).mean()),
        "identical_preferences": float((items[..., 0] == items[..., 1]).mean()),
        "kappa_quadratic": kappa_value,
        "kappa_quadratic_ci95": kappa_ends,
        "gwet_ac2": ac2_value,
        "gwet_ac2_ci95": ac2_ends,
        "kendall_tau_b": math.fsum(taus) / len(taus) if taus else None,
    }


def concordance(ranks: Array) -> float:
    """Kendall's W of (reader, method) mid-ranks."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = float((centred**2).sum())
    return float((centred.sum(axis=0) ** 2).sum()) / (len(ranks) * spread) if spread else math.nan


def agreement(cube: Cube, orders: Array, again: Array) -> dict[str, Any]:
    """Between readers, within readers, and every reader alone."""
    full: Array = np.asarray(~np.isnan(orders).any(axis=2))
    found: dict[str, Any] = {"readers": {}, "repeats": {}, "camps": {}}
    for i, j in itertools.combinations(range(len(cube.readers)), 2):
        both = np.flatnonzero(full[i] & full[j])
        if len(both):
            blocks = [cube.blocks[clip] for clip in both]
            found["readers"][f"{cube.readers[i]}|{cube.readers[j]}"] = two_readings(
                orders[i, both], orders[j, both], blocks
            )
    for i, reader in enumerate(cube.readers):
        both = np.flatnonzero(full[i] & ~np.isnan(again[i]).any(axis=1))
        if len(both):
            blocks = [cube.blocks[clip] for clip in both]
            found["repeats"][reader] = two_readings(orders[i, both], again[i, both], blocks)
    shared = np.flatnonzero(full.all(axis=0))
    blocks = [cube.blocks[clip] for clip in shared]
    for i, reader in enumerate(cube.readers):
        if len(shared):
            found["camps"][reader] = camp(orders[i, shared], blocks, cube.methods)
    if len(cube.readers) > 1:
        counts = counted(preferences(orders))
        raters = counts.sum(axis=-1)
        coincidences = (
            np.einsum("cpa,cpb->cpab", counts, counts) - counts[..., None] * np.eye(3)
        ) / np.maximum(raters - 1, 1)[..., None, None]
        alpha_value, alpha_ends = coefficient(by_block(coincidences, cube.blocks), alpha)
        ac2_value, ac2_ends = coefficient(by_block(ac2_parts(counts), cube.blocks), ac2)
        w = {clip: concordance(orders[:, clip]) for clip in shared}
        w = {clip: value for clip, value in w.items() if math.isfinite(value)}
        values = np.array(list(w.values()))
        found |= {
            "krippendorff_alpha": alpha_value,
            "krippendorff_alpha_ci95": alpha_ends,
            "gwet_ac2": ac2_value,
            "gwet_ac2_ci95": ac2_ends,
            "kendall_w": float(values.mean()) if w else None,
            "kendall_w_ci95": mean_interval(values, [cube.blocks[clip] for clip in w]) if w else None,
            "kendall_w_clips": {
                f"{value:g}": count for value, count in Counter(round(v, 6) for v in w.values()).items()
            },
        }
    return found


def camp(ranks: Array, blocks: list[int], methods: list[str]) -> dict[str, Any]:
    """One reader's own mean ranks and preferences."""
    pairs = {}
    for i, j in itertools.combinations(range(len(methods)), 2):
        change = ranks[:, i] - ranks[:, j]
        preference = -np.sign(change)
        pairs[f"{methods[i]}|{methods[j]}"] = {
            "wins": int((preference > 0).sum()),
            "ties": int((preference == 0).sum()),
            "losses": int((preference < 0).sum()),
            "net_preference": float(preference.mean()),
            "net_preference_ci95": mean_interval(preference, blocks),
            "mean_difference": float(change.mean()),
            "mean_difference_ci95": mean_interval(change, blocks),
        }
    return {
        "clips": len(ranks),
        "mean_rank": {method: float(ranks[:, place].mean()) for place, method in enumerate(methods)},
        "mean_rank_ci95": {
            method: mean_interval(ranks[:, place], blocks) for place, method in enumerate(methods)
        },
        "pairs": pairs,
    }


def position(cube: Cube, complete: Array) -> dict[str, Any]:
    """Mean ranks by place on the screen and their exact Friedman test."""
    if not len(complete) or len(cube.places) != len(cube.methods):
        return {}
    ranks = mid_ranks(
        np.array(
            [
                [
                    [cube.by_place[reader, cube.clips[clip], place] for place in cube.places]
                    for clip in complete
                ]
                for reader in cube.readers
            ]
        )
    )
    test = friedman(ranks.sum(axis=0))
    return {
        "position": {
            "clips": len(complete),
            "mean_rank": {
                place: float(ranks[..., number].mean()) for number, place in enumerate(cube.places)
            },
            "chi2": test["chi2"],
            "p_exact": test["p_exact"],
            "p_monte_carlo": test["p_monte_carlo"],
        }
    }


# Guesses and conduct


def blinding(rows: list[dict[str, str]], methods: list[str]) -> dict[str, Any]:
    """Bang's and James' indices of one reader's guesses, or of all."""
    k = len(methods)
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    tables = np.zeros((len(subjects), k + 1, k))
    for row in rows:
        guess = methods.index(row["guess"]) if row["guess"] else k
        tables[subjects.index(row["subject"]), guess, methods.index(row["method"])] += 1
    james, james_ends = coefficient(tables, james_index)
    counts = tables.sum(axis=0)
    bang = {}
    for place, method in enumerate(methods):
        right = int(counts[place, place])
        wrong = int(counts[:k, place].sum()) - right
        unknown = int(counts[k, place])
        total = right + wrong + unknown
        index, ends = None, None
        if total:
            c, w, scale = right / total, wrong / total, 1 / (k - 1)
            index = c - scale * w
            variance = (c * (1 - c) + scale**2 * w * (1 - w) + 2 * scale * c * w) / total
            error = math.sqrt(max(variance, 0.0))
            ends = [index - 1.96 * error, index + 1.96 * error]

        def bang_index(table: Array, place: int = place) -> Array:
            column = table[..., place]
            total = column.sum(axis=-1)
            missed = column[..., :k].sum(axis=-1) - column[..., place]
            return np.asarray(column[..., place] / total - missed / total / (k - 1))

        _, cluster = coefficient(tables, bang_index)
        bang[method] = {
            "right": right, "wrong": wrong, "unknown": unknown, "index": index, "ci95": ends,
            "cluster_ci95": cluster,
        }  # fmt: skip
    return {"guesses": len(rows), "james": james, "james_ci95": james_ends, "bang": bang}


def james_index(tables: Array) -> Array:
    """James' index of counts (…, guess with "do not know" last, method)."""
    k = tables.shape[-1]
    guesses, total = tables[..., :k, :], tables.sum(axis=(-2, -1))
    guessed = guesses.sum(axis=(-2, -1))
    miss = 1 - np.eye(k)
    seen = (miss * guesses).sum(axis=(-2, -1)) / guessed
    by_guess, by_method = guesses.sum(axis=-1), guesses.sum(axis=-2)
    expected = np.einsum("...a,ab,...b->...", by_guess, miss, by_method) / guessed**2
    unknown = 1 - guessed / total
    index = (1 + unknown + (1 - unknown) * (seen / expected - 1)) / 2
    return np.asarray(np.where(guessed > 0, index, np.where(total > 0, 1.0, np.nan)))


def readings(rows: list[dict[str, str]], breaks: list[dict[str, str]], arms: int) -> dict[str, Any]:
    """How one reader read."""
    own = {row["presentation"]: row for row in rows}
    ranks: dict[str, list[float]] = {}
    for row in rows:
        if row["rank_mid"] and row["repeat"] == "0":
            ranks.setdefault(row["presentation"], []).append(float(row["rank_mid"]))
    first = [row for row in own.values() if row["repeat"] == "0"]
    judged = [row for row in own.values() if not row["missing"]]
    seconds = [float(row["seconds"]) for row in judged if row["seconds"]]
    sure = [int(row["confidence"]) for row in judged if row["confidence"]]
    skipped = [int(row["frames_skipped"]) for row in judged if row["frames_skipped"]]
    loops = [int(row["loops"]) for row in judged if row["loops"]]
    return {
        "readings": sum(not row["missing"] for row in first),
        "cannot_judge": sum(row["missing"] == "cannot judge" for row in first),
        "not_read": sum(row["missing"] == "not read" for row in first),
        "repeats": sum(row["repeat"] != "0" for row in judged),
        "tied_completely": sum(set(values) == {(arms + 1) / 2} for values in ranks.values()),
        "seconds_median": float(np.median(seconds)) if seconds else None,
        "seconds_shortest": min(seconds, default=None),
        "seconds_total": math.fsum(seconds) if seconds else None,
        "confidence_median": float(np.median(sure)) if sure else None,
        "confidence_counts": {str(level): sure.count(level) for level in sorted(set(sure))},
        "frames_skipped": sum(skipped) if skipped else None,
        "loops_fewest": min(loops, default=None),
        "breaks_offered": len(breaks),
        "breaks_taken": sum(row["taken"] == "1" for row in breaks),
    }


# Everything


def recompute(folder: Path) -> dict[str, Any]:
    """The numbers of statistics.json, from the CSV files."""
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    methods, by = study["arms"], study["strata"]
    ranking, measured = read_csv(folder / "ranking.csv"), read_csv(folder / "measurements.csv")
    for row in (*ranking, *measured):
        row["stratum"] = " / ".join(filter(None, (row[name] for name in ("plane", "sampling") if name in by)))
        row["stratum"] = row["stratum"] or "all"
    active = {row["reader"] for row in ranking if not row["missing"] and row["repeat"] == "0"}
    ranked = [row for row in ranking if row["reader"] in active]
    names = sorted({row["stratum"] for row in (*ranked, *measured)})
    found: dict[str, Any] = {"strata": {}, "all_strata": {}, "blinding": {}, "readings": {}}
    for name in (*names, ALL_STRATA):
        for endpoint in ("rank", *ENDPOINTS):
            column, larger = ENDPOINTS.get(endpoint, ("rank_mid", False))
            who, source = ("reader", ranked) if endpoint == "rank" else ("observer", measured)
            wanted = {name}
            if name == ALL_STRATA:
                wanted = {other for other in names if f"{other} {endpoint}" in found["strata"]}
                if len(names) < 2 or len(wanted) < 2:
                    continue
            rows = [row for row in source if row["stratum"] in wanted]
            if not rows or (endpoint != "rank" and all(math.isnan(number(row[column])) for row in rows)):
                continue
            cube = Cube(rows, who, column, methods)
            part = "all_strata" if name == ALL_STRATA else "strata"
            found[part][f"{name} {endpoint}"] = stratum(name, endpoint, cube, 1 if larger else -1)
    guesses = read_csv(folder / "guesses.csv")
    asked = sorted({row["reader"] for row in guesses})
    for reader in asked:
        found["blinding"][reader] = blinding([row for row in guesses if row["reader"] == reader], methods)
    if len(asked) > 1:
        found["blinding"][ALL_READERS] = blinding(guesses, methods)
    breaks = read_csv(folder / "breaks.csv")
    for reader in study["readers"]:
        found["readings"][reader] = readings(
            [row for row in ranking if row["reader"] == reader],
            [row for row in breaks if row["reader"] == reader],
            len(methods),
        )
    return found


def leaves(value: Any, path: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Every number below an object, by its path; words are left out."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = dict(enumerate(value)).items()
    else:
        return {} if isinstance(value, str) else {path: value}
    return {place: leaf for key, item in pairs for place, leaf in leaves(item, f"{path} · {key}").items()}


def agrees(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two leaves are the same number, to the last digits of floating point, or both undefined."""
    if one is None or other is None:
        return one is other
    return math.isclose(float(one), float(other), rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def compare(folder: Path) -> tuple[int, list[str]]:
    """How many numbers of statistics.json were recomputed, and what does not agree."""
    told = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
    for part in ("strata", "all_strata"):
        told[part] = {f"{item['stratum']} {item['endpoint']}": item for item in told[part]}
    published, computed = leaves({key: told[key] for key in found_parts(told)}), leaves(recompute(folder))
    faults = [f"{path}: only in statistics.json" for path in sorted(set(published) - set(computed))]
    faults += [f"{path}: not in statistics.json" for path in sorted(set(computed) - set(published))]
    faults += [
        f"{path}: {published[path]!r} in statistics.json, {computed[path]!r} from the CSV files"
        for path in sorted(set(published) & set(computed))
        if not agrees(published[path], computed[path])
    ]
    return len(set(published) & set(computed)), faults


def found_parts(told: dict[str, Any]) -> list[str]:
    """The parts of statistics.json that hold numbers."""
    return [part for part in ("strata", "all_strata", "blinding", "readings") if part in told]


def main(arguments: list[str]) -> int:
    """Compare, and say how it went."""
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    count, faults = compare(folder)
    for fault in faults:
        sys.stdout.write(f"DIFFERS  {fault}\n")
    sys.stdout.write(
        f"{count - sum(': only' not in f and ': not' not in f for f in faults)} of {count} numbers"
    )
    sys.stdout.write(f" agree, {len(faults)} differences.\n")
    return 1 if faults or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
