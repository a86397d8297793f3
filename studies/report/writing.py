"""The files of a report: made in memory, then written each as a whole; a cancelled export writes nothing.

Rule: the same study gives the same bytes (CSV, JSON, SVG, PNG, LaTeX, XLSX; the page but for its date).
Numbers in the CSV files of data are written in full, so that `reproduce.py`, which lies beside them, can
recompute every number of the report from them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.errors import StudyError
from studies.report import latex, page, spreadsheet
from studies.report.analysis import Analysis, analyse
from studies.report.drawing import Drawing, draw
from studies.report.findings import findings, paper_tables
from studies.report.software import software_versions
from studies.report.tables import (
    BreakRow,
    GuessRow,
    MeasurementRow,
    RankingRow,
    ScanRow,
    SessionRow,
    StudyTables,
    tables_of,
)
from studies.statistics.document import statistics_csv
from studies.storage import write_durably

if TYPE_CHECKING:
    from studies.study import Study

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done; may raise to end the export before it writes."""


class ExportCancelled(StudyError):
    """Somebody ended an export; nothing was written."""


@dataclass(frozen=True)
class Exported:
    """Where the results lie."""

    folder: Path
    paths: tuple[Path, ...]
    """All files, the report first."""

    @property
    def documents(self) -> tuple[Path, ...]:
        """All files but the figures."""
        return tuple(path for path in self.paths if path.parent == self.folder)

    @property
    def figures(self) -> tuple[Path, ...]:
        """The figures."""
        return tuple(path for path in self.paths if path.parent != self.folder)

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @property
    def ranking(self) -> Path:
        """Rankings, one movie a line."""
        return self.folder / "ranking.csv"

    @property
    def measurements(self) -> Path:
        """Measurements, one movie and observer a line."""
        return self.folder / "measurements.csv"

    @property
    def statistics(self) -> Path:
        """Every number of the report, one a line."""
        return self.folder / "statistics.csv"

    @property
    def practice(self) -> Path | None:
        """Rankings of practice cases, in a file of their own so that nobody analyses them, or None."""
        path = self.folder / "practice.csv"
        return path if path in self.paths else None


# Cells


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: str | float | None) -> str:
    """A CSV cell: empty for None, floats in full, text that is no formula."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
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


def _json_bytes(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def study_document(tables: StudyTables) -> dict[str, Any]:
    """What study.json holds: what the numbers were computed under, and how the study was done."""
    conduct = tables.conduct
    return {
        "format": "blindcine-study-1",
        "name": tables.name,
        "arms": list(tables.arms),
        "strata": list(tables.strata),
        "endpoints": list(tables.endpoints),
        "alpha": tables.alpha,
        "readers": list(tables.readers or sorted({row.reader for row in tables.rankings})),
        "protocol": dict(conduct.protocol),
        "protocol_sha256": conduct.protocol_sha256,
        "log_head": conduct.log_head,
        "amendments": list(conduct.amendments),
        "timeline": [{"what": what, "time_utc": when, "who": who} for what, when, who in conduct.timeline],
        "forced": conduct.forced,
        "software": software_versions(),
    }


def _paper_csv(analysis: Analysis) -> bytes:
    """Tables 3 and 4 as CSV: mean, SD and both kinds of marks."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["table", "stratum", "clips", "method", "endpoint", "mean_sd", "marks_exact", "marks_published"]
    )
    for exact, published in zip(paper_tables(analysis), paper_tables(analysis, "published"), strict=True):
        for row, other in zip(exact.rows, published.rows, strict=True):
            for endpoint, cell, twin in zip(exact.columns, row.cells, other.cells, strict=True):
                writer.writerow(
                    [
                        exact.number,
                        row.stratum,
                        row.clips,
                        row.method,
                        endpoint,
                        cell.text,
                        cell.marks,
                        twin.marks,
                    ]
                )
    return text.getvalue().encode()


def contents(
    tables: StudyTables,
    panels: Callable[[Analysis, Progress], Sequence[Drawing]] | None,
    now: datetime,
    progress: Progress,
) -> dict[str, bytes]:
    """All files of a report by name, without writing them."""
    progress("Computing the statistics", 0.02)
    analysis = analyse(tables)
    progress("Drawing the figures", 0.45)
    drawings = [*draw(analysis)]
    if panels is not None:
        drawings += panels(analysis, progress)
    progress("Writing the tables", 0.8)
    found = findings(analysis)
    made: dict[str, bytes] = {
        "report.html": page.render(analysis, found, drawings, now).encode(),
        "ranking.csv": csv_bytes(tables.rankings, RankingRow),
        "measurements.csv": csv_bytes(tables.measurements, MeasurementRow),
        "statistics.csv": statistics_csv(analysis.document),
        "statistics.json": _json_bytes(analysis.document),
        "study.json": _json_bytes(study_document(tables)),
        "tables_3_4.csv": _paper_csv(analysis),
        "tables_3_4.tex": latex.document(analysis).encode(),
    }
    for name, rows, kind in (
        ("practice.csv", tables.practice, RankingRow),
        ("guesses.csv", tables.guesses, GuessRow),
        ("sessions.csv", tables.conduct.sessions, SessionRow),
        ("breaks.csv", tables.conduct.breaks, BreakRow),
        ("scans.csv", tables.conduct.scans, ScanRow),
    ):
        if rows:
            made[name] = csv_bytes(rows, kind)
    if tables.conduct.provenance:
        made["provenance.json"] = _json_bytes(list(tables.conduct.provenance))
    for drawing in drawings:
        made[f"figures/{drawing.file_name}"] = drawing.content
    progress("Writing the spreadsheet", 0.9)
    made["report.xlsx"] = spreadsheet.workbook(analysis, found)
    here = files("studies.report")
    made["reproduce.py"] = here.joinpath("reproduce.py").read_bytes()
    made["reproduce.R"] = here.joinpath("reproduce_r.txt").read_bytes()
    return made


def export_tables(
    tables: StudyTables,
    folder: Path | str,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Progress | None = None,
    panels: Callable[[Analysis, Progress], Sequence[Drawing]] | None = None,
) -> Exported:
    """Analyse the tables and write the report; files of an earlier export are replaced, each as a whole.

    Args:
        tables: Rows with method names.
        folder: Made if it is not there.
        now: The page's date.
        progress: Told what is done; raises to cancel, which is possible until the first file is written.
        panels: Makes further figures that need more than the tables.

    Returns:
        The paths.

    Raises:
        StudyError: A row names an unknown method, or the folder cannot be written.
    """
    made = contents(tables, panels, now(), progress or _silent)
    (progress or _silent)("Writing the files", 0.97)
    target = Path(folder)
    try:
        for name, content in made.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            write_durably(target / name, content)
    except OSError as error:
        raise StudyError(
            f"The results cannot be written to '{target}': {error.strerror or error}; choose another folder."
        ) from error
    return Exported(target, tuple(target / name for name in made))


def _silent(_what: str, _fraction: float) -> None:
    """Tell nobody."""


def export(study: Study, folder: Path | str, *, progress: Progress | None = None) -> Exported:
    """Write the report of an unblinded study: page, tables, figures, data, and the code that reproduces them.

    Args:
        study: Unblinded.
        folder: Made if it is not there.
        progress: As in `export_tables`.

    Raises:
        StudyError: The study is still blinded, or the folder cannot be written.
        ExportCancelled: `progress` raised it.
    """
    from studies.report.drawing import panels_of

    return export_tables(
        tables_of(study),
        folder,
        progress=progress,
        panels=lambda analysis, told: panels_of(study, analysis, told),
    )
