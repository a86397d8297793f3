"""Our numbers against R's and other packages' on the same tables.

The tables and the numbers are in tests/data/statistics, with the scripts that made them there; neither R nor
these packages are needed here.
"""

from __future__ import annotations

import csv
import functools
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from studies import statistics as s
from studies.statistics.long_table import read_table
from studies.statistics.strata import StratumResult, analyse_table

FOLDER = Path(__file__).resolve().parents[2] / "data" / "statistics"
Key = tuple[str, str, str]


@functools.cache
def reference(name: str) -> dict[Key, float]:
    """Numbers by table, quantity and item."""
    with (FOLDER / name).open(newline="") as file:
        return {
            (row["table"], row["quantity"], row["item"]): float(row["value"]) for row in csv.DictReader(file)
        }


@functools.cache
def strata(name: str) -> dict[str, StratumResult]:
    """Our analysis of a table, as `blindcine statistics` makes it, by stratum."""
    return {found.stratum: found for found in analyse_table(read_table(FOLDER / name)) if not found.secondary}


def of_pair(table: str, quantity: str, pair: s.PairResult) -> float:
    """R's number of a pair."""
    return reference("r_results.csv")[table, quantity, f"{pair.first}|{pair.second}"]


def compare_with_r(table: str, found: s.EndpointResult) -> None:
    """All that R computed for every table."""
    r = reference("r_results.csv")
    assert found.omnibus.statistic == pytest.approx(r[table, "friedman_chi2", ""], rel=1e-10)
    assert found.omnibus.p_chi_square == pytest.approx(r[table, "friedman_p", ""], rel=1e-10)
    assert found.omnibus.kendall_w == pytest.approx(r[table, "kendall_w", ""], rel=1e-10)
    assert len(found.pairs) == len(list(combinations(found.arms, 2)))
    for pair in found.pairs:
        assert (pair.wins, pair.losses) == (of_pair(table, "wins", pair), of_pair(table, "losses", pair))
        # R's ptukey is good to about 1e-10
        assert pair.p_nemenyi == pytest.approx(of_pair(table, "nemenyi_p", pair), abs=1e-9)
        assert pair.p_sign_exact == pytest.approx(of_pair(table, "sign_p", pair), rel=1e-10)
        assert pair.p_holm == pytest.approx(of_pair(table, "holm_p", pair), rel=1e-10)
        low, high = s.share_interval(pair.wins, pair.losses)
        assert low == pytest.approx(of_pair(table, "win_share_low", pair), rel=1e-9)
        assert high == pytest.approx(of_pair(table, "win_share_high", pair), rel=1e-9)


@pytest.mark.parametrize("table", ["untied", "tied", "small", "four"])
def test_rankings_equal_r(table: str) -> None:
    """friedman.test, ptukey, binom.test, p.adjust: 5 to 12 clips, 3 and 4 methods, with and without ties."""
    found = strata("ranks.csv")[table]
    assert found.result is not None and found.ranked
    compare_with_r(table, found.result)


def test_exact_p_equal_enumeration_in_r() -> None:
    """Friedman, single step and closed test of five tied clips, enumerated in R."""
    found = strata("ranks.csv")["small"].result
    assert found is not None
    assert found.omnibus.p_exact == pytest.approx(
        reference("r_results.csv")["small", "exact_p", ""], abs=1e-12
    )
    for pair in found.pairs:
        assert pair.p_single_step_exact == pytest.approx(of_pair("small", "single_step_p", pair), abs=1e-12)
        assert pair.p_adjusted_exact == pytest.approx(of_pair("small", "closed_p", pair), abs=1e-12)


@pytest.mark.parametrize("table", ["sax", "speech"])
def test_values_equal_r(table: str) -> None:
    """SNR: the same tests on ranks within clips, wilcox.test(conf.int) and shapiro.test of differences."""
    found = strata("values.csv")[table].result
    assert found is not None
    compare_with_r(table, found)
    for pair, effect, shapiro in zip(found.pairs, found.effects, found.shapiro, strict=True):
        assert effect.shift is not None
        assert effect.shift.estimate == pytest.approx(of_pair(table, "hodges_lehmann", pair), rel=1e-10)
        low, high = effect.shift.interval
        assert low == pytest.approx(of_pair(table, "hodges_lehmann_low", pair), rel=1e-10)
        assert high == pytest.approx(of_pair(table, "hodges_lehmann_high", pair), rel=1e-10)
        assert shapiro.statistic == pytest.approx(of_pair(table, "shapiro_w", pair), rel=1e-6)
        assert shapiro.p_value == pytest.approx(of_pair(table, "shapiro_p", pair), rel=1e-4)


def test_two_readers_equal_r() -> None:
    """vcd's kappa of preferences, Kendall's tau-b and W per clip, Friedman's statistic of rank sums."""
    r = reference("r_results.csv")
    found = strata("ranks.csv")["readers"]
    assert found.result is not None and found.all_readers is not None
    assert found.result.omnibus.statistic == pytest.approx(r["readers", "friedman_chi2", ""], rel=1e-10)
    agreement = found.pairs_of_readers[0]
    assert agreement.kappa_quadratic == pytest.approx(r["readers", "kappa", ""], rel=1e-10)
    assert agreement.kendall_tau_b == pytest.approx(r["readers", "tau_b", ""], rel=1e-10)
    concordance = [
        value for (table, quantity, _), value in r.items() if (table, quantity) == ("readers", "kendall_w")
    ]
    assert found.all_readers.kendall_w_mean == pytest.approx(np.mean(concordance), rel=1e-10)
    counts = dict(found.all_readers.kendall_w_counts)
    assert counts == {round(value, 6): concordance.count(value) for value in set(concordance)}
    for place, camp in enumerate(found.camps):
        for effect in camp.effects:
            item = f"{effect.first}|{effect.second}"
            assert effect.wins == r[f"reader {place + 1}", "wins", item]
            assert effect.losses == r[f"reader {place + 1}", "losses", item]


@pytest.mark.parametrize("table", ["untied", "tied", "small", "four"])
def test_nemenyi_equals_scikit_posthocs(table: str) -> None:
    """posthoc_nemenyi_friedman 0.17.1, which does not correct for ties either."""
    found = strata("ranks.csv")[table].result
    assert found is not None
    for pair in found.pairs:
        expected = reference("python_results.csv")[table, "nemenyi_p", f"{pair.first}|{pair.second}"]
        assert pair.p_nemenyi == pytest.approx(expected, rel=1e-8)


def ratings() -> np.ndarray:
    """Krippendorff's example (2011): twelve units, four observers, categories 1 to 5, gaps."""
    return np.genfromtxt(FOLDER / "ratings.csv", delimiter=",", skip_header=1)[:, 1:]


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorff_alpha_published_example(level: str, published: float) -> None:
    """Computing Krippendorff's alpha-reliability (2011), and the package krippendorff to all digits."""
    alpha = s.krippendorff_alpha(ratings(), (1, 2, 3, 4, 5), level)
    assert alpha == pytest.approx(reference("python_results.csv")["ratings", "alpha", level], rel=1e-10)
    assert round(alpha, 3) == published


def test_gwet_ac_published_example() -> None:
    """Gwet (2014) prints AC1 = 0.77544 for these ratings; AC2 as in irrCAC, his R package's port."""
    python = reference("python_results.csv")
    for weights in ("identity", "linear", "quadratic"):
        ours = s.gwet_ac2(ratings(), (1, 2, 3, 4, 5), weights)
        assert ours == pytest.approx(python["ratings", "ac2", weights], abs=1e-10)
    assert s.gwet_ac2(ratings(), (1, 2, 3, 4, 5), "identity") == pytest.approx(0.77544, abs=5e-6)


def test_weighted_kappa_published_example() -> None:
    """Couples' ratings (Hout 1987, Agresti 1990): 0.237 with linear weights; R's vcd and statsmodels."""
    counts = np.array([[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]])
    rows, columns = np.indices(counts.shape)
    husband, wife = np.repeat(rows, counts.ravel()), np.repeat(columns, counts.ravel())
    r = reference("r_results.csv")
    linear = s.weighted_kappa(husband, wife, range(4), "linear")
    assert linear == pytest.approx(r["SexualFun", "kappa", "Equal-Spacing"], rel=1e-10)
    assert round(linear, 3) == 0.237
    quadratic = s.weighted_kappa(husband, wife, range(4))
    assert quadratic == pytest.approx(r["SexualFun", "kappa", "Fleiss-Cohen"], rel=1e-10)
    first, second = ratings()[:, 0], ratings()[:, 1]
    for weights in ("linear", "quadratic"):
        expected = reference("python_results.csv")["ratings", "kappa", weights]
        assert s.weighted_kappa(first, second, (1, 2, 3, 4, 5), weights) == pytest.approx(expected, rel=1e-10)


def test_blinding_indices_published_example() -> None:
    """The disulfiram trial, as R's BI and BlindingIndex.jl print it: James 0.896; Bang 0.115 and 0.022."""
    assert round(s.james_index([[48, 22], [4, 30], [330, 319]]), 3) == 0.896
    treatment = s.bang_index("treatment", right=48, wrong=4, unknown=330)
    placebo = s.bang_index("placebo", right=30, wrong=22, unknown=319)
    assert (round(treatment.index, 3), round(treatment.standard_error, 3)) == (0.115, 0.018)
    assert (round(placebo.index, 3), round(placebo.standard_error, 3)) == (0.022, 0.019)
    assert [round(end, 3) for end in treatment.interval] == [0.08, 0.15]
    assert [round(end, 3) for end in placebo.interval] == [-0.016, 0.06]
