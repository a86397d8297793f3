"""The tables of an evaluation: the paper's Table 2 and Table S1, for the terminal, as JSON, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from app.commands.evaluation_tests import DECIDING, IN_WORDS, UNITS, EvaluationTest, paragraphs
from app.commands.times import REFERENCE_METHOD, MovieTimes, ratio_to_reference
from studies.latex import escaped

if TYPE_CHECKING:
    from recon_backend.evaluation import Score, SummaryRow

SETUP_STEPS = ("preparation", "model_loading")
SUMMARY_HEADER = ("sampling", "method", "n", "MSE dB", "PSNR dB", "SSIM", "gap closed", "with floor")
TIMES_HEADER = (
    "sampling",
    "method",
    "device",
    "n",
    "set-up s",
    "reconstruction s",
    "SD",
    "median",
    "to CS",
)
_CSV_COLUMNS = (
    "dataset",
    "kind",
    "split",
    "sampling",
    "method",
    "reference",
    "n",
    "blocks",
    "frames",
    *(f"{metric}_{part}" for metric in ("mse_db", "psnr_db", "ssim") for part in ("mean", "sd")),
    "ceiling_ssim",
    "gap_closed",
    "gap_closed_with_floor",
    "models",
    "setup_s",
    "reconstruction_s_mean",
    "reconstruction_s_sd",
    "reconstruction_s_median",
    "ratio_to_compressed_sensing",
)


@dataclass
class Gathered:
    """What an evaluation has found so far.

    Attributes:
        split: which data were taken, "all" or "validation".
        seed: of the simulation.
        scores: one for each data set, sampling, method and reference.
        times: by (group, kind) of the movies that have scores; not those of a search for the best λ.
        cached: how many of these movies were computed before.
    """

    split: str = "all"
    seed: int = 0
    scores: list[Score] = field(default_factory=list)
    times: dict[tuple[str, str], list[MovieTimes]] = field(default_factory=dict)
    cached: int = 0

    def all_times(self) -> list[MovieTimes]:
        """The times of all groups."""
        return [movie for movies in self.times.values() for movie in movies]

    def times_of_row(self, row: SummaryRow) -> TimesRow | None:
        """Table S1's row for the movies behind a row of Table 2, on the first device that occurs."""
        for times in times_rows(self.times.get((row.group, row.kind), [])):
            if (times.sampling, times.method) == (row.sampling, row.method):
                return times
        return None

    def summary(self) -> list[SummaryRow]:
        """Means over data sets."""
        from recon_backend.evaluation import summarise

        return summarise(self.scores)

    def blocks(self, row: SummaryRow) -> int:
        """Recordings or patients behind a row."""
        key = (row.group, row.kind, row.sampling, row.method, row.reference)
        return len(
            {
                score.block or score.dataset
                for score in self.scores
                if (score.group, score.kind, score.sampling, score.method, score.reference) == key
            }
        )


@dataclass(frozen=True)
class TimesRow:
    """Table S1: one method in one sampling on one kind of device.

    Attributes:
        sampling, method, device: which.
        n: movies.
        setup_s: mean seconds of preparing coils and loading the model.
        mean_s, sd_s, median_s: seconds of reconstruction; nan where there is no SD.
        ratio: median over the scans of the time over that of compressed sensing; None if that was not run.
    """

    sampling: str
    method: str
    device: str
    n: int
    setup_s: float
    mean_s: float
    sd_s: float
    median_s: float
    ratio: float | None


def times_rows(times: Sequence[MovieTimes]) -> list[TimesRow]:
    """Table S1 in the order in which samplings and methods first occur."""
    groups: dict[tuple[str, str, str], list[MovieTimes]] = {}
    for movie in times:
        if "reconstruction" in movie.seconds:
            groups.setdefault((movie.sampling, movie.method, movie.device_kind), []).append(movie)
    by_scan: dict[str, list[MovieTimes]] = {}
    for movie in times:
        if movie.method == REFERENCE_METHOD:
            by_scan.setdefault(movie.raw_sha256, []).append(movie)
    rows = []
    for (sampling, method, device), members in groups.items():
        seconds = [movie.seconds["reconstruction"] for movie in members]
        setup = [sum(movie.seconds.get(step, 0.0) for step in SETUP_STEPS) for movie in members]
        found = (ratio_to_reference(movie, by_scan.get(movie.raw_sha256, [])) for movie in members)
        ratios = [ratio for ratio in found if ratio is not None]
        rows.append(
            TimesRow(
                sampling,
                method,
                device,
                len(members),
                statistics.fmean(setup),
                statistics.fmean(seconds),
                statistics.stdev(seconds) if len(seconds) > 1 else math.nan,
                statistics.median(seconds),
                statistics.median(ratios) if ratios else None,
            )
        )
    return rows


def times_cells(rows: Iterable[TimesRow]) -> list[list[str | int]]:
    """Table S1 for reading."""
    return [
        [
            row.sampling,
            row.method,
            row.device,
            row.n,
            *(f"{value:.3g}" if math.isfinite(value) else "" for value in (row.setup_s, row.mean_s)),
            f"{row.sd_s:.2g}" if math.isfinite(row.sd_s) else "",
            f"{row.median_s:.3g}",
            "" if row.ratio is None else f"{row.ratio:.3g}",
        ]
        for row in rows
    ]


def spread_words(spread: tuple[float, float], digits: int, sign: str = "±") -> str:
    """Mean ± SD, or the mean where there is but one."""
    mean, deviation = spread
    return f"{mean:.{digits}f}" + (f" {sign} {deviation:.{digits}f}" if math.isfinite(deviation) else "")


def summary_cells(row: SummaryRow, sign: str = "±") -> list[str | int]:
    """A row of Table 2 for reading."""
    return [
        row.sampling,
        row.method,
        row.n,
        spread_words(row.mse_db, 2, sign),
        spread_words(row.psnr_db, 2, sign),
        spread_words(row.ssim, 4, sign),
        *(
            "" if share is None else f"{100 * share:.0f} %"
            for share in (row.gap_closed, row.gap_closed_with_floor)
        ),
    ]


def panels(rows: Sequence[SummaryRow]) -> dict[tuple[str, str, str], list[SummaryRow]]:
    """Rows of Table 2 by (group, kind, reference), the deciding reference of a group first."""
    found: dict[tuple[str, str, str], list[SummaryRow]] = {}
    for row in rows:
        found.setdefault((row.group, row.kind, row.reference), []).append(row)
    groups = list(dict.fromkeys((group, kind) for group, kind, _ in found))
    order = sorted(found, key=lambda key: (groups.index(key[:2]), key[2] != DECIDING[key[1]]))
    return {key: found[key] for key in order}


def json_rows(gathered: Gathered) -> list[dict[str, Any]]:
    """The rows of `--json`, see the command's help."""
    rows: list[dict[str, Any]] = []
    for score in gathered.scores:
        if score.kind == "scan":
            rows.append(_reordered(asdict(score) | {"n": 1}))
    summary = [row for row in gathered.summary() if row.kind != "scan"]
    noisy = {
        (row.group, row.kind, row.sampling, row.method): row for row in summary if row.reference == "noisy"
    }
    for row in summary:
        if row.reference != DECIDING[row.kind]:
            continue
        own = _summary_record(row) | {
            "dataset": row.group,
            "kind": row.kind,
            "split": gathered.split,
            "seed": gathered.seed,
            "blocks": gathered.blocks(row),
            "sampling": row.sampling,
            "method": row.method,
            "reference": row.reference,
            "frames": row.frames,
            "models": list(row.models),
        }
        times = gathered.times_of_row(row)
        own["seconds"] = None if times is None else times.mean_s
        other = noisy.get((row.group, row.kind, row.sampling, row.method))
        if other is not None and other is not row:
            own["noisy_target"] = _summary_record(other)
        rows.append(_reordered(own))
    return rows


def _summary_record(row: SummaryRow) -> dict[str, Any]:
    record: dict[str, Any] = {"n": row.n}
    for name in ("mse_db", "psnr_db", "ssim"):
        mean, deviation = getattr(row, name)
        record[name] = mean
        record[f"{name}_sd"] = deviation if math.isfinite(deviation) else None
    record |= {"ceiling": row.ceiling, "gap_closed": row.gap_closed}
    if row.gap_closed_with_floor is not None:
        record["gap_closed_with_floor"] = row.gap_closed_with_floor
    return record


def _reordered(record: Mapping[str, Any]) -> dict[str, Any]:
    first = (
        "dataset",
        "sampling",
        "method",
        "reference",
        "mse_db",
        "psnr_db",
        "ssim",
        "n",
        "frames",
        "seconds",
    )
    return {name: record[name] for name in first} | dict(record)


def detail_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """One row for each data set, sampling, method and reference; n = 1."""
    return [_reordered(asdict(score) | {"n": 1}) for score in scores]


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Records with equal keys as CSV; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def csv_records(gathered: Gathered) -> list[dict[str, Any]]:
    """Table 2 with Table S1's columns at its right: one record for each row and reference."""
    records = []
    for row in gathered.summary():
        values: list[Any] = [row.group, row.kind, gathered.split, row.sampling, row.method, row.reference]
        values += [row.n, gathered.blocks(row), row.frames, *row.mse_db, *row.psnr_db, *row.ssim]
        values += [row.ceiling, row.gap_closed, row.gap_closed_with_floor, " ".join(row.models)]
        own = gathered.times_of_row(row)
        values += [None] * 5 if own is None else [own.setup_s, own.mean_s, own.sd_s, own.median_s, own.ratio]
        cells = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
        records.append(dict(zip(_CSV_COLUMNS, cells, strict=True)))
    return records


def latex(gathered: Gathered, tests: Sequence[EvaluationTest], labels: Mapping[str, str]) -> str:
    """Tables 2 and S1 for a document that loads `booktabs`.

    Args:
        gathered: what was found.
        tests: their sentences follow the table of their group.
        labels: what people call a method.
    """
    parts = ["% \\usepackage{booktabs}"]
    words = paragraphs(tests)
    by_group: dict[tuple[str, str], list[tuple[str, list[SummaryRow]]]] = {}
    for (group, kind, reference), rows in panels(gathered.summary()).items():
        by_group.setdefault((group, kind), []).append((reference, rows))
    for (group, kind), blocks in by_group.items():
        body = []
        for reference, rows in blocks:
            body.append(rf"\midrule \multicolumn{{8}}{{l}}{{Against {escaped(IN_WORDS[reference])}}} \\")
            body.extend(_latex_row(row, labels) for row in rows)
        what = f"{escaped(group)}, {UNITS[kind]}, {_split_words(gathered.split, kind)}"
        parts += _latex_table(
            "llrcccrr",
            r"Sampling & Reconstruction & $n$ & MSE (dB) & PSNR (dB) & SSIM & Gap closed & With floor \\",
            body,
            f"{what}: mean $\\pm$ SD over data sets of the mean over frames (data range 1, SSIM with an "
            r"$11\times11$ Gaussian window, $\sigma = 1.5$).",
            words.get((group, kind), []),
        )
    rows_s1 = times_rows(gathered.all_times())
    if rows_s1:
        body = [r"\midrule"]
        for cells in times_cells(rows_s1):
            named = [cells[0], labels.get(str(cells[1]), cells[1]), *cells[2:]]
            body.append(" & ".join(escaped(str(cell)) for cell in named) + r" \\")
        parts += _latex_table(
            "lllrrrrrr",
            r"Sampling & Reconstruction & Device & $n$ & Set-up (s) & Mean (s) & SD & Median & To CS \\",
            body,
            "Inference times; set-up is coil preparation and loading the model. "
            "To CS: median over scans of the time over that of compressed sensing.",
            [],
        )
    return "\n".join(parts) + "\n"


def _latex_row(row: SummaryRow, labels: Mapping[str, str]) -> str:
    sampling, method, n, *values = summary_cells(row, sign="PLUSMINUS")
    cells = [sampling, labels.get(str(method), method), n, *values]
    return " & ".join(escaped(str(cell)).replace("PLUSMINUS", r"$\pm$") for cell in cells) + r" \\"


def _latex_table(
    columns: str, header: str, body: Sequence[str], caption: str, notes: Sequence[str]
) -> list[str]:
    lines = [r"\begin{table}", r"\centering\small\setlength{\tabcolsep}{4pt}", rf"\caption{{{caption}}}"]
    lines += [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        header,
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    lines.append(r"\end{table}")
    if notes:  # beside the table: a table that floats must fit on one page
        lines.append(r"{\footnotesize\raggedright")
        lines += [escaped(note.strip()) + r"\par" for note in notes] + ["}"]
    return [*lines, ""]


def _split_words(split: str, kind: str) -> str:
    return "validation split" if split != "all" and kind != "scan" else "all data sets"
