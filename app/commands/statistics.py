"""`blindcine statistics TABLE.csv`: the statistics of any table of ranks or values, without a study."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.commands.terminal import complain, say, say_table


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "statistics",
        help="test any table of ranks or values",
        description="Columns: clip, reader, method, and rank or value; if you have them also plane, "
        "sampling, stratum, subject, endpoint, repeat or presentation, position, guess. One movie a line. "
        "What every test assumes is in docs/statistics.md.",
    )
    parser.add_argument("table", type=Path, metavar="TABLE.csv", help="the table; ranking.csv of a study too")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write statistics.csv and statistics.json into this folder"
    )
    parser.add_argument(
        "--value", metavar="COLUMN", help="take values from this column, for example snr_db_mean"
    )
    parser.add_argument(
        "--lower-is-better",
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="smaller values of this endpoint count as wins (several times)",
    )
    parser.add_argument(
        "--higher-is-better",
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="larger values of this endpoint count as wins (several times)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print tables by stratum and endpoint, and write the files if asked for."""
    from studies.statistics.document import document, write_statistics
    from studies.statistics.long_table import read_table
    from studies.statistics.strata import analyse_table

    table = read_table(arguments.table, value_column=arguments.value)
    results = analyse_table(
        table, lower_is_better=arguments.lower_is_better, higher_is_better=arguments.higher_is_better
    )
    found = document(table, results)
    for remark in found["remarks"]:
        complain(f"{table.source}: {remark}")
    for place, stratum in enumerate((*found["strata"], *found["all_strata"])):
        if place:
            say()
        _say_stratum(stratum, secondary=place >= len(found["strata"]))
    if arguments.out is not None:
        written = write_statistics(found, arguments.out)
        say(f"\nWritten: {written.json}, {written.csv}")
    return 0


def _say_stratum(stratum: Mapping[str, Any], *, secondary: bool) -> None:
    readers = f", {len(stratum['readers'])} readers" if len(stratum["readers"]) > 1 else ""
    unit = "clips" if stratum["clips"] == stratum["n"] else f"subjects ({stratum['clips']} clips)"
    say(
        f"{stratum['stratum']} · {stratum['endpoint']} ({stratum['better']} is better) · n = {stratum['n']} "
        f"{unit}{readers}{' · secondary analysis' if secondary else ''}"
    )
    if stratum["descriptives"]:
        ranks = stratum["kind"] == "ranks"
        titles = ("mean rank", "mean competition rank") if ranks else ("mean", "mean rank in clip")
        last = "mean_competition_rank" if ranks else "mean_rank"
        say_table(
            ("method", titles[0], "SD", "95 % interval of the mean", titles[1]),
            [
                (
                    method,
                    number(row["mean"]),
                    number(row["sd"]),
                    interval(row["mean_ci95"]),
                    number(row[last]),
                )
                for method, row in stratum["descriptives"].items()
            ],
        )
        friedman = stratum["friedman"]
        say(
            f"Friedman: chi² = {number(friedman['chi2'])}, {_omnibus_p(friedman)}, "
            f"{p_equals(friedman['p_chi2'])} (asymptotic); Kendall's W of clips "
            f"{number(friedman['kendall_w'])}"
        )
        _say_pairs(stratum["pairs"])
    if stratum["skillings_mack"]:
        test = stratum["skillings_mack"]
        say(
            f"Skillings-Mack with the incomplete clips (n = {test['n']}): {number(test['statistic'])}, "
            f"{p_equals(test['p_permutation'])} ({_kind(test['monte_carlo_draws'])}), "
            f"{p_equals(test['p_chi2'])} (asymptotic)"
        )
    _say_agreement(stratum["agreement"])
    for note in stratum["notes"]:
        say(f"Note: {note}")


def _say_pairs(pairs: Mapping[str, Mapping[str, Any]]) -> None:
    shifts = any("hodges_lehmann" in row for row in pairs.values())
    header = [
        "pair",
        "better/tied/worse",
        "closed p",
        "sign p",
        "exact Nemenyi p",
        "Nemenyi p",
        "net preference",
    ]
    if shifts:
        header += ["shift (Hodges-Lehmann)", "Shapiro p"]
    rows = []
    for name, row in pairs.items():
        cells = [
            name.replace("|", " – "),
            f"{row['wins']}/{row['ties']}/{row['losses']}",
            p_text(row["closed_p"]) + ("" if row["closed_p_is_exact"] else " *"),
            p_text(row["sign_p"]),
            p_text(row["exact_p"])
            if row["exact_p"] is not None
            else f"{p_text(row['exact_p_monte_carlo'])} *",
            p_text(row["nemenyi_p"]),
            estimate(row["net_preference"], row["net_preference_ci95"]),
        ]
        if shifts:
            cells += [
                estimate(row["hodges_lehmann"], row["hodges_lehmann_ci95"]),
                p_text(row["shapiro_p"]),
            ]
        rows.append(cells)
    say_table(header, rows)
    if any(cell.endswith("*") for row in rows for cell in row):
        say("* estimated from random arrangements: the exact distribution is too large")


def _say_agreement(agreement: Mapping[str, Any]) -> None:
    for title, word in (("readers", "Agreement"), ("repeats", "Repeated readings")):
        for name, row in agreement[title].items():
            who = name.replace("|", " and ")
            say(
                f"{word} of {who}: same order in {100 * row['identical_orders']:.0f} % "
                f"of {row['clips']} clips, weighted kappa "
                f"{estimate(row['kappa_quadratic'], row['kappa_quadratic_ci95'])}, AC2 "
                f"{estimate(row['gwet_ac2'], row['gwet_ac2_ci95'])}"
            )
    if "krippendorff_alpha" in agreement:
        alpha = estimate(agreement["krippendorff_alpha"], agreement["krippendorff_alpha_ci95"])
        concordance = estimate(agreement["kendall_w"], agreement["kendall_w_ci95"])
        say(f"All readers: Krippendorff's alpha {alpha}, Kendall's W {concordance}")
    if "position" in agreement:
        position = agreement["position"]
        places = ", ".join(f"{place} {number(mean)}" for place, mean in position["mean_rank"].items())
        say(f"Mean rank by place on the screen: {places}; {_omnibus_p(position)}")
    for name, index in agreement.get("blinding", {}).items():
        arms = ", ".join(f"{arm} {number(row['index'])}" for arm, row in index["bang"].items())
        say(f"Blinding, {name}: James {estimate(index['james'], index['james_ci95'])}; Bang {arms}")


def _omnibus_p(test: Mapping[str, Any]) -> str:
    if test["p_exact"] is not None:
        return f"{p_equals(test['p_exact'])} (exact)"
    return f"{p_equals(test['p_monte_carlo'])} (Monte Carlo)"


def _kind(draws: int) -> str:
    return "Monte Carlo" if draws else "exact"


def number(value: float | None) -> str:
    """A number in four digits; "–" where it is not defined."""
    return "–" if value is None else f"{value:.4g}"


def p_text(value: float | None) -> str:
    """A p value in two significant digits; "–" where there is none."""
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def p_equals(value: float) -> str:
    """A p value in a sentence."""
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(ends: Sequence[float] | None) -> str:
    """An interval in brackets; empty where there is none."""
    return "" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def estimate(value: float | None, ends: Sequence[float] | None) -> str:
    """A number with its interval."""
    return f"{number(value)} {interval(ends)}".rstrip()
