"""The report as a workbook (XLSX): findings, the paper's tables, every number, the data, the checklists.

openpyxl is imported when a workbook is made. Rule: the same study gives the same bytes, so the dates inside
the file are fixed; a text never becomes a formula.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from studies.report.analysis import ENDPOINTS, Analysis
from studies.report.checklists import checklists
from studies.report.findings import Findings, paper_tables
from studies.report.tables import GuessRow, MeasurementRow, RankingRow, SessionRow
from studies.statistics.document import CSV_COLUMNS, csv_rows

if TYPE_CHECKING:
    from openpyxl import Workbook

_EPOCH = datetime(2000, 1, 1)
_ZIP_DATE = (2000, 1, 1, 0, 0, 0)
_WIDEST = 60
_ILLEGAL = dict.fromkeys([*range(9), 11, 12, *range(14, 32)])
"""Control characters that a sheet cannot hold."""


def workbook(analysis: Analysis, found: Findings) -> bytes:
    """The workbook as bytes."""
    from openpyxl import Workbook

    tables = analysis.tables
    book = Workbook()
    for sheet in book.worksheets:
        book.remove(sheet)
    words = [("", sentence) for sentence in found.headline]
    for finding in found.strata:
        words += [(finding.title, text) for text in (finding.size, finding.omnibus, *finding.pairs)]
        words += [(finding.title, finding.limit)] if finding.limit else []
    words += [("What this shows", text) for text in found.shows]
    words += [("What this does not show", text) for text in found.shows_not]
    _sheet(book, "Findings", ("Stratum", "Finding"), words)
    for marking in ("exact", "published"):
        for table in paper_tables(analysis, "exact" if marking == "exact" else "published"):
            heads = [f"{ENDPOINTS[key].label} ({ENDPOINTS[key].unit})" for key in table.columns]
            rows = [
                (
                    row.stratum,
                    row.clips,
                    row.method,
                    *(f"{cell.text} {cell.marks}".strip() for cell in row.cells),
                )
                for row in table.rows
            ]
            title = f"Table {table.number}{'' if marking == 'exact' else ' as published'}"
            _sheet(book, title, ("Stratum", "Clips", "Method", *heads), [*rows, (table.legend,)])
    _sheet(book, "Statistics", CSV_COLUMNS, [list(map(_number, row)) for row in csv_rows(analysis.document)])
    for title, data, kind in (
        ("Ranking", tables.rankings, RankingRow),
        ("Measurements", tables.measurements, MeasurementRow),
        ("Guesses", tables.guesses, GuessRow),
        ("Sessions", tables.conduct.sessions, SessionRow),
    ):
        if data:
            names = [item.name for item in fields(kind)]
            _sheet(book, title, names, [[getattr(row, name) for name in names] for row in data])
    for checklist in checklists(analysis):
        rows = [(item.number, item.topic, item.answer, item.status) for item in checklist.items]
        _sheet(book, checklist.name, ("Item", "Topic", "Answer", "Filled"), rows)
    book.properties.creator = "blindcine"
    book.properties.created = book.properties.modified = _EPOCH
    stream = io.BytesIO()
    book.save(stream)
    return _same_bytes(stream.getvalue())


def _number(cell: str) -> str | float:
    """A cell of statistics.csv as a number where it is one."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return value if math.isfinite(value) else cell


def _sheet(book: Workbook, title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(title[:31])
    sheet.append(list(heads))
    bold, wrapped = Font(bold=True), Alignment(wrap_text=True, vertical="top")
    for cell in sheet[1]:
        cell.font = bold
    widths = [len(head) for head in heads]
    for number, row in enumerate(rows, start=2):
        for column, value in enumerate(row, start=1):
            if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
                continue
            cell = sheet.cell(number, column)
            if isinstance(value, str):
                cell.value = value.translate(_ILLEGAL)
                cell.data_type = "s"  # a text that begins with "=" stays a text
                if len(value) > _WIDEST:
                    cell.alignment = wrapped
            else:
                cell.value = value
            if column <= len(widths):
                widths[column - 1] = max(widths[column - 1], min(len(str(value)), _WIDEST))
    for column, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(column)].width = width + 2
    sheet.freeze_panes = "A2"


def _same_bytes(content: bytes) -> bytes:
    """The archive again with fixed dates, which openpyxl takes from the clock."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "docProps/core.xml":
                head, opening, rest = data.partition(b"<dcterms:modified")
                _, closing, tail = rest.partition(b"</dcterms:modified>")
                date = b' xsi:type="dcterms:W3CDTF">2000-01-01T00:00:00Z'
                data = head + opening + date + closing + tail if opening else data
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, data)
    return stream.getvalue()
