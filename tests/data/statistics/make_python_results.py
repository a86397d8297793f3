"""Reference numbers for tests/studies/statistics/test_references.py from other Python packages.

Makes python_results.csv from ranks.csv and ratings.csv; needs an environment of its own, since these
packages are not in the lock: pip install scikit-posthocs krippendorff irrCAC statsmodels. Then:
cd tests/data/statistics && python make_python_results.py
"""

from __future__ import annotations

import csv
import sys
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import scikit_posthocs
from irrCAC.raw import CAC
from statsmodels.stats.inter_rater import cohens_kappa

LINES: list[tuple[str, str, str, str]] = []


def note(table: str, quantity: str, item: str, value: float) -> None:
    """Keep one number with all its digits."""
    LINES.append((table, quantity, item, repr(float(value))))


def main() -> None:
    """Write the file and say with which versions."""
    ranks = pd.read_csv("ranks.csv")
    for name, rows in ranks[ranks.stratum != "readers"].groupby("stratum", sort=False):
        methods = list(dict.fromkeys(rows.method))
        table = rows.pivot(index="clip", columns="method", values="rank")[methods]
        found = scikit_posthocs.posthoc_nemenyi_friedman(table)
        for first, second in combinations(methods, 2):
            note(str(name), "nemenyi_p", f"{first}|{second}", found.loc[first, second])

    # Krippendorff's own example (2011): four observers, twelve units, five categories, gaps; Gwet's
    # "cac.raw4raters" is the same table.
    ratings = pd.read_csv("ratings.csv", index_col="unit")
    for level in ("nominal", "ordinal", "interval"):
        note("ratings", "alpha", level, krippendorff.alpha(ratings.to_numpy().T, level_of_measurement=level))
    for weights in ("identity", "linear", "quadratic"):
        found = CAC(ratings, weights=weights, digits=15)
        note("ratings", "ac2", weights, found.gwet()["est"]["coefficient_value"])
    two = ratings[["a", "b"]].dropna()
    counts = np.zeros((5, 5))
    np.add.at(counts, (two.a.astype(int) - 1, two.b.astype(int) - 1), 1)
    for weights in ("linear", "quadratic"):
        found = cohens_kappa(counts, wt=weights)
        note("ratings", "kappa", weights, found.kappa)

    with Path("python_results.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("table", "quantity", "item", "value"))
        writer.writerows(LINES)
    names = ("scikit-posthocs", "krippendorff", "irrCAC", "statsmodels")
    sys.stdout.write(" ".join(f"{name} {version(name)}" for name in names) + "\n")


if __name__ == "__main__":
    main()
