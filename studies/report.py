"""Results of an unblinded study: ranking.csv, measurements.csv, statistics.csv and report.html.

The tables are those of the paper, per plane × sampling: mean ± SD of rank, SNR, edge sharpness (ES) and its
SD over time (STD-ES), with Friedman and Nemenyi p values; the exact tests of `studies.statistics` stand
first and the asymptotic ones are named as such.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.errors import StudyError
from studies.names import position_letter
from studies.report_analysis import EndpointGroup, Group, analyse
from studies.report_page import render
from studies.report_tables import MeasurementRow, RankingRow, StudyTables, tables_of
from studies.storage import write_durably

if TYPE_CHECKING:
    from studies.study import Study


@dataclass(frozen=True)
class StatisticRow:
    """One number; a line of statistics.csv."""

    plane: str
    sampling: str
    endpoint: str
    comparison: str
    quantity: str
    kind: str
    """descriptive, exact, monte_carlo (where an exact distribution is too large), or asymptotic."""
    value: float | None
    p_value: float | None
    clips: int
    blocks: int
    readers: int
    note: str = ""


@dataclass(frozen=True)
class Exported:
    """Where the results lie."""

    ranking: Path
    measurements: Path
    statistics: Path
    report: Path
    practice: Path | None = None
    """Rankings of practice cases, in a file of their own so that nobody analyses them; None without any."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        files = (self.ranking, self.measurements, self.statistics, self.report)
        return files if self.practice is None else (*files, self.practice)


# Statistics.csv


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _kind(exact: float | None) -> str:
    return "monte_carlo" if exact is None else "exact"


def _endpoint_rows(group: Group, endpoint: EndpointGroup) -> Iterable[StatisticRow]:
    result = endpoint.result
    if result is None:
        return

    def row(
        comparison: str, quantity: str, kind: str, value: float | None, p: float | None = None, note: str = ""
    ) -> StatisticRow:
        return StatisticRow(
            plane=group.plane,
            sampling=group.sampling,
            endpoint=endpoint.key,
            comparison=comparison,
            quantity=quantity,
            kind=kind,
            value=_finite_or_none(value),
            p_value=_finite_or_none(p),
            clips=result.clips,
            blocks=result.blocks,
            readers=result.readers,
            note=note,
        )

    unit = "mid-ranks" if endpoint.key == "rank" else endpoint.unit
    for index, arm in enumerate(result.arms):
        yield row(arm, "mean", "descriptive", result.mean[index], note=unit)
        yield row(arm, "sd", "descriptive", result.sd[index], note=unit)
        low, high = result.interval[index]
        yield row(arm, "mean_ci95_low", "descriptive", low, note=f"{unit}; bootstrap over clips")
        yield row(arm, "mean_ci95_high", "descriptive", high, note=f"{unit}; bootstrap over clips")
        if endpoint.competition_mean:
            yield row(arm, "mean", "descriptive", endpoint.competition_mean[index], note="competition ranks")
            yield row(arm, "sd", "descriptive", endpoint.competition_sd[index], note="competition ranks")
        else:
            yield row(arm, "mean_rank_within_clip", "descriptive", result.mean_rank[index], note="mid-ranks")
    omnibus = result.omnibus
    everything = " vs ".join(result.arms)
    notes = " ".join((*result.notes, *endpoint.notes))
    kind = _kind(omnibus.p_exact)
    yield row(everything, "friedman_exact", kind, omnibus.statistic, omnibus.p_permutation, notes)
    yield row(everything, "friedman_chi_square", "asymptotic", omnibus.statistic, omnibus.p_chi_square)
    yield row(
        everything, "iman_davenport_f", "asymptotic", omnibus.iman_davenport_f, omnibus.p_iman_davenport
    )
    yield row(everything, "kendall_w_of_clips", "descriptive", omnibus.kendall_w)
    for pair in result.pairs:
        name = f"{pair.first} vs {pair.second}"
        counts = f"{pair.wins} wins, {pair.ties} ties, {pair.losses} losses of {pair.first}"
        yield row(name, "net_preference", "descriptive", pair.net_preference, note=counts)
        kind = _kind(pair.p_adjusted_exact)
        yield row(name, "closed_test_adjusted", kind, pair.net_preference, pair.p_adjusted, pair.adjustment)
        yield row(name, "sign_test_unadjusted", "exact", pair.net_preference, pair.p_sign_exact, counts)
        sums = (
            "difference of mean rank sums over readers" if result.readers > 1 else "difference of mean ranks"
        )
        score = pair.mean_score_difference
        kind = _kind(pair.p_single_step_exact)
        yield row(name, "single_step", kind, score, pair.p_single_step, f"exact Nemenyi; {sums}")
        yield row(
            name,
            "nemenyi",
            "asymptotic",
            pair.mean_rank_difference,
            pair.p_nemenyi,
            "as published; difference of mean ranks within clips",
        )
        yield row(name, "nemenyi_tie_corrected", "asymptotic", score, pair.p_nemenyi_tie_corrected, sums)
    for test in result.shapiro:
        name = f"{test.first} vs {test.second}"
        yield row(
            name,
            "shapiro_wilk_of_differences",
            "asymptotic",
            test.statistic,
            test.p_value,
            "reported only; selects no test",
        )


def _reader_rows(group: Group) -> Iterable[StatisticRow]:
    def row(
        comparison: str, quantity: str, kind: str, value: float, p: float | None, clips: int, readers: int
    ) -> StatisticRow:
        return StatisticRow(
            group.plane,
            group.sampling,
            "rank",
            comparison,
            quantity,
            kind,
            _finite_or_none(value),
            p,
            clips,
            clips,
            readers,
            "first readings vs hidden repeats" if readers == 1 else "",
        )

    for agreement in (*group.agreement, *group.repeats):
        pair = agreement.pair
        name = f"{pair.first} vs {pair.second}"
        for quantity, value in (
            ("identical_orders", pair.identical_orders),
            ("identical_preferences", pair.identical_preferences),
            ("kappa_quadratic", pair.kappa_quadratic),
            ("kappa_ci95_low", pair.kappa_interval[0]),
            ("kappa_ci95_high", pair.kappa_interval[1]),
            ("gwet_ac2", pair.gwet_ac2),
            ("gwet_ac2_ci95_low", pair.gwet_ac2_interval[0]),
            ("gwet_ac2_ci95_high", pair.gwet_ac2_interval[1]),
            ("mean_kendall_w_of_readers", agreement.mean_kendall_w),
        ):
            readers = 1 if pair.first == pair.second else 2
            yield row(name, quantity, "descriptive", value, None, pair.clips, readers)
    if group.position is not None:
        result = next(endpoint.result for endpoint in group.endpoints if endpoint.key == "rank")
        for place, mean in enumerate(group.position_means):
            yield StatisticRow(
                group.plane,
                group.sampling,
                "rank",
                f"position {position_letter(place)}",
                "mean_rank_by_position",
                "descriptive",
                mean,
                None,
                group.position.blocks,
                group.position.blocks,
                result.readers if result else 0,
                "mid-ranks",
            )
        yield StatisticRow(
            group.plane,
            group.sampling,
            "rank",
            "positions",
            "friedman_exact_of_positions",
            _kind(group.position.p_exact),
            group.position.statistic,
            group.position.p_permutation,
            group.position.blocks,
            group.position.blocks,
            result.readers if result else 0,
            "position effect",
        )


def statistic_rows(groups: Sequence[Group]) -> list[StatisticRow]:
    """Every number of the analysis in long form."""
    rows: list[StatisticRow] = []
    for group in groups:
        for endpoint in group.endpoints:
            rows.extend(_endpoint_rows(group, endpoint))
        rows.extend(_reader_rows(group))
    return rows


# Files


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: str | float | None) -> str:
    """A CSV cell: empty for None, ten significant digits for floats, text that is no formula."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    text = str(value)
    # A spreadsheet runs a cell that begins like a formula; a reader's note must stay a note.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text


def csv_bytes(rows: Sequence[Any], row_type: type[Any]) -> bytes:
    """Rows of a dataclass as UTF-8 CSV with a header line (also when there is no row)."""
    names = [item.name for item in fields(row_type)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue().encode()


def export_tables(
    tables: StudyTables, folder: Path | str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Exported:
    """Analyse the tables and write the four files; files of an earlier export are replaced, each as a whole.

    Args:
        tables: Rows with method names.
        folder: Made if it is not there.
        now: The page's date.

    Returns:
        The paths.

    Raises:
        StudyError: A row names an unknown method, or the folder cannot be written.
    """
    groups = analyse(tables)
    target = Path(folder)
    exported = Exported(
        ranking=target / "ranking.csv",
        measurements=target / "measurements.csv",
        statistics=target / "statistics.csv",
        report=target / "report.html",
        practice=target / "practice.csv" if tables.practice else None,
    )
    try:
        target.mkdir(parents=True, exist_ok=True)
        write_durably(exported.ranking, csv_bytes(tables.rankings, RankingRow))
        if exported.practice is not None:
            write_durably(exported.practice, csv_bytes(tables.practice, RankingRow))
        write_durably(exported.measurements, csv_bytes(tables.measurements, MeasurementRow))
        write_durably(exported.statistics, csv_bytes(statistic_rows(groups), StatisticRow))
        write_durably(exported.report, render(tables, groups, now()).encode())
    except OSError as error:
        raise StudyError(
            f"The results cannot be written to '{target}': {error.strerror or error}; choose another folder."
        ) from error
    return exported


def export(study: Study, folder: Path | str) -> Exported:
    """Write ranking.csv, measurements.csv, statistics.csv and report.html of an unblinded study.

    Rankings of practice cases, if there were any, are in practice.csv.

    Raises:
        StudyError: The study is still blinded, or the folder cannot be written.
    """
    return export_tables(tables_of(study), folder)
