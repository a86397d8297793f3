"""The report of an unblinded study, as a statistician would sign it.

tables         the rows that everything is computed from, and how the study was done
analysis       every number, as one document
findings       the primary result in words, what it does not show, and the paper's Tables 3 and 4
figures        drawings; `drawing` says which there are
checklists     GRRAS and CLAIM, filled as far as the record answers them
page           report.html
latex          Tables 3 and 4 in LaTeX
spreadsheet    report.xlsx
writing        the files, made in memory and written together
reproduce      copied beside the results: recomputes every number from the CSV files
"""

from __future__ import annotations

from studies.report.analysis import Analysis, analyse
from studies.report.tables import StudyTables, tables_of
from studies.report.writing import ExportCancelled, Exported, export, export_tables

__all__ = [
    "Analysis",
    "ExportCancelled",
    "Exported",
    "StudyTables",
    "analyse",
    "export",
    "export_tables",
    "tables_of",
]
