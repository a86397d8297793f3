r"""Tables 3 and 4 of the paper in LaTeX, with marks of the exact tests and with marks as published.

The file is a fragment for `\input` and needs the package booktabs.
"""

from __future__ import annotations

from studies.latex import escaped
from studies.report.analysis import ENDPOINTS, Analysis
from studies.report.findings import PaperTable, paper_tables


def document(analysis: Analysis) -> str:
    """All tables, the exact ones first."""
    parts = [
        "% Tables 3 and 4, made by blindcine. Use: \\usepackage{booktabs} in the preamble, then \\input "
        "this file.",
    ]
    for marking, words in (("exact", "exact"), ("published", "as published")):
        tables = paper_tables(analysis, "exact" if marking == "exact" else "published")
        parts += [_table(table, words, marking) for table in tables]
    if len(parts) == 1:
        parts.append("% No clip was read or measured completely.")
    return "\n\n".join(parts) + "\n"


def _table(table: PaperTable, words: str, marking: str) -> str:
    heads = [
        f"{ENDPOINTS[key].label} ({ENDPOINTS[key].unit})" if key != "rank" else "Rank"
        for key in table.columns
    ]
    lines = [
        r"\begin{table}[htbp]",
        rf"\caption{{{escaped(table.title)}, tests {words}. {escaped(table.legend)}}}",
        rf"\label{{tab:{table.number}-{marking}}}",
        r"\centering\small",
        rf"\begin{{tabular}}{{@{{}}llr{'c' * len(heads)}@{{}}}}",
        r"\toprule",
        " & ".join(escaped(text) for text in ("Plane, sampling", "Method", "N", *heads)) + r" \\",
    ]
    stratum = None
    for row in table.rows:
        lines.append(r"\midrule" if row.stratum != stratum else r"\addlinespace[1pt]")
        first = row.stratum != stratum
        stratum = row.stratum
        cells = [row.stratum if first else "", row.method, row.clips if first else ""]
        values = [
            escaped(cell.text) + (rf"\textsuperscript{{{escaped(cell.marks)}}}" if cell.marks else "")
            for cell in row.cells
        ]
        lines.append(" & ".join([*map(escaped, cells), *values]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines)
