"""`blindcine evaluate --data DIR|FILES`: every method against a known truth, as tables and figures.

Videos, cine images and fully sampled raw data are simulated as published in each sampling; raw scans bring
their own truth. What was computed is kept when one data set fails or Ctrl+C ends the run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.evaluation_tables import (
    SUMMARY_HEADER,
    TIMES_HEADER,
    Gathered,
    as_csv,
    csv_records,
    detail_rows,
    json_rows,
    latex,
    panels,
    summary_cells,
    times_cells,
    times_rows,
)
from app.commands.evaluation_tests import IN_WORDS, UNITS, paragraphs, tests_of
from app.commands.failures import CommandError, sentence
from app.commands.reconstruct import add_cache_option, add_device_option, add_settings_option
from app.commands.terminal import complain, progress_bar, say, say_table
from app.commands.times import times_of

if TYPE_CHECKING:
    from app.commands.evaluation_figure import FigureMaker
    from recon_backend.evaluation import Case, Comparison, EvaluationOptions, Score, SummaryRow
    from recon_backend.models import ShelfModel

SAMPLINGS = ("cartesian", "radial", "spiral")
SPLITS = ("all", "validation")
LEAST_FRAMES = 5

_LABELS = {
    "compressed_sensing_best": "Compressed sensing, best λ",
    "ceiling": "Ceiling: noise-free truth",
    "ceiling_with_floor": "Ceiling with the noise floor",
}
_DESCRIPTION = """\
Reconstruct data whose truth is known by every method, and say how close each one comes.

Data: videos, cine images (HDF5, NIfTI) and fully sampled raw data (HDF5, /kspace) are simulated as published
(30 coils, 12-22 dB, the published mask and angles) in every sampling, each with a random seed from its name;
raw scans need a truth beside them (<name>.h5 with <name>_truth.h5 or .npz). A folder may hold all of them.

References: "truth" is the noise-free image; "noisy" is the published training target, which carries noise, so
that even the truth does not reach 1 against it (the row "ceiling"; "ceiling_with_floor" is the truth with the
noise floor of such a magnitude image, which a network trained on noisy targets paints, too). Raw scans:
"plain" is their truth as it is, "shaded" with the smooth shading of the coils.

Gap closed: how much of the way in SSIM from gridding to the ceiling, against the truth to 1; "with floor": to
the other ceiling. MSE and PSNR at data range 1 and SSIM (11x11 Gaussian window, sigma 1.5, windows inside the
image) are taken for each frame after one least-squares factor a movie. Spirals count from the fifth frame.
"""
_EPILOG = """\
--json FILE is a list of objects with the keys dataset, sampling, method, reference, mse_db, psnr_db, ssim, n:
  simulated data: one a folder or file (dataset), sampling and method; n data sets; mean over them, *_sd
                  beside; against the noise-free truth, and against the noisy target under noisy_target
  raw scans:      one a scan (dataset, n = 1), method and reference
--details FILE has one object for each single data set, sampling, method and reference, always with n = 1.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare the methods on data whose truth is known",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="files, or folders of them; the same as --data"
    )
    parser.add_argument(
        "--data", nargs="+", action="extend", type=Path, metavar="PATH", help="files, or folders of them"
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="all",
        help="validation: only the videos and patients that training on the same files leaves out "
        "(default: all; raw scans are always taken)",
    )
    parser.add_argument(
        "--samplings", nargs="+", choices=SAMPLINGS, default=list(SAMPLINGS), help="only these (default: all)"
    )
    parser.add_argument(
        "--methods", "--method", nargs="+", action="extend", metavar="NAME", help="only these (default: all)"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="networks by the names of `blindcine models list`, instead of the one that each method takes",
    )
    add_settings_option(parser)
    parser.add_argument(
        "--best-lambda",
        action="store_true",
        help="also compressed sensing at the best of six λ, picked for each scan with the truth at hand: "
        "better than anyone could do without it",
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="at most N data sets of each folder")
    parser.add_argument(
        "--frames", type=_positive, default=24, metavar="N", help="frames of simulated scans (default: 24)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another number simulates anew (default: 0)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON, see below")
    parser.add_argument(
        "--details", type=Path, metavar="FILE", help="also write each data set's row: .csv, or else JSON"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the tables as CSV")
    parser.add_argument(
        "--latex", type=Path, metavar="FILE", help="also write the tables for a LaTeX document"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="DIR", help="also draw best, median and worst case (PNG and PDF)"
    )
    add_device_option(parser)
    add_cache_option(parser)
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 on")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the tables, write the files; 2 if a data set failed."""
    from recon_backend.evaluation import evaluate_cases, find_cases

    paths = [*arguments.paths, *(arguments.data or ())]
    if not paths:
        raise CommandError("No data were named; give --data with a folder or files.")
    if arguments.frames < LEAST_FRAMES:
        raise CommandError(f"--frames is {arguments.frames}, but at least {LEAST_FRAMES} are needed.")
    cases = find_cases(paths, arguments.split, arguments.limit)
    if not cases:
        raise CommandError(f"No data set belongs to the {arguments.split} split; give --split all.")
    options = _options(arguments)
    _state_data(cases, arguments.split, options)
    failures: list[str] = []
    found = Gathered(arguments.split, arguments.seed)
    pictures = _figure_maker(arguments.figure) if arguments.figure is not None else None

    def failed(case: Case, sampling: str, error: Exception) -> None:
        where = f"{case.name}, {sampling}" if sampling else case.name
        failures.append(f"Failed: {where}: {sentence(error)}")

    try:
        with (
            progress_bar("Evaluating") as progress,
            closing(evaluate_cases(cases, options, progress=progress, on_failure=failed)) as comparisons,
        ):
            for comparison in comparisons:
                _gather(found, comparison)
                if pictures is not None:
                    pictures.add(comparison)
    finally:
        # What was computed before Ctrl+C took minutes: it is not thrown away.
        if found.scores:
            _sort(found, cases)
            _deliver(found, arguments)
            if pictures is not None:
                for path in pictures.write():
                    say(f"Written: {path}")
        if pictures is not None:
            pictures.close()
        for line in failures:
            complain(line)
    if not found.scores and not failures:
        raise CommandError(f"No scan is of the sampling {', '.join(arguments.samplings)}.")
    return 2 if failures else 0


def _figure_maker(out: Path) -> FigureMaker:
    from app.commands.evaluation_figure import FigureMaker  # loads NumPy

    return FigureMaker(out)


def _options(arguments: argparse.Namespace) -> EvaluationOptions:
    from recon_backend.cache import user_cache
    from recon_backend.evaluation import BEST_GRID, EvaluationOptions

    return EvaluationOptions(
        methods=list(dict.fromkeys(arguments.methods)) if arguments.methods else None,
        samplings=list(dict.fromkeys(arguments.samplings)),
        models=_models(arguments.models or ()),
        frames=arguments.frames,
        seed=arguments.seed,
        settings=arguments.settings,
        best_grid=BEST_GRID if arguments.best_lambda else (),
        device=arguments.device,
        cache=user_cache() if arguments.use_cache else None,
    )


def _models(names: Sequence[str]) -> list[ShelfModel]:
    """The models of these names.

    Raises:
        CommandError: there is none of a name.
    """
    from recon_backend.models import shelf

    by_name = {model.manifest.name: model for model in shelf()} if names else {}
    for name in names:
        if name not in by_name:
            raise CommandError(f"There is no model '{name}'; there are {', '.join(sorted(by_name))}.")
    return [by_name[name] for name in dict.fromkeys(names)]


def _state_data(cases: Sequence[Case], split: str, options: EvaluationOptions) -> None:
    """Say what is evaluated, and what the networks may have seen of it."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.group, case.kind), []).append(case)
    for (group, kind), members in groups.items():
        line = f"{group}: {len(members)} {UNITS[kind]}"
        if kind == "scan":
            say(f"{line} with their truth.")
            continue
        blocks = len({case.block for case in members})
        line += f" ({blocks} recordings)" if blocks < len(members) else ""
        line += f", simulated as published, {options.frames} frames, seed {options.seed}; "
        say(line + ("validation split." if split != "all" else "all of them, whatever their split."))
        if split == "all" and _trained_on(group, options):
            complain(
                f"{group}: models were trained on data of this name, so these figures may not be held out; "
                "--split validation leaves out what such training uses."
            )


def _trained_on(group: str, options: EvaluationOptions) -> bool:
    """Whether a model's manifest names a data set as this group is named."""
    from recon_backend.models import shelf

    sources = [
        str(entry.get("name", "")) for model in options.models or shelf() for entry in model.manifest.data
    ]
    return any(source == group or source.endswith(f"({group})") for source in sources)


def _gather(found: Gathered, comparison: Comparison) -> None:
    from recon_backend.evaluation import BEST_COMPRESSED_SENSING

    found.scores.extend(comparison.scores)
    record = comparison.provenance
    if not record or comparison.method == BEST_COMPRESSED_SENSING:
        return
    times = replace(times_of(comparison.case.name, len(comparison.images), record), method=comparison.method)
    found.times.setdefault((comparison.case.group, comparison.case.kind), []).append(times)
    found.cached += "from_cache" in record


def _sort(found: Gathered, cases: Sequence[Case]) -> None:
    """Movies from the cache come first: the tables keep their order all the same."""
    from recon_backend.evaluation import BEST_COMPRESSED_SENSING, CEILING, CEILING_WITH_FLOOR
    from recon_backend.methods import ALL_METHODS

    names = list(ALL_METHODS)
    names.insert(names.index("compressed_sensing") + 1, BEST_COMPRESSED_SENSING)
    last = len(names)
    place = {name: number for number, name in enumerate(names)} | {
        CEILING: last + 1,
        CEILING_WITH_FLOOR: last + 2,
    }
    datasets: dict[tuple[str, str, str], int] = {}
    for number, case in enumerate(cases):
        datasets.setdefault((case.group, case.kind, case.name), number)

    def key(score: Score) -> tuple[Any, ...]:
        own = datasets[score.group, score.kind, score.dataset]
        # A scan's own rows stay together; of simulated data the samplings do.
        sampling = SAMPLINGS.index(score.sampling) if score.kind != "scan" else 0
        return sampling, own, place.get(score.method, last)

    found.scores.sort(key=key)
    for movies in found.times.values():
        movies.sort(
            key=lambda movie: (SAMPLINGS.index(movie.sampling), place.get(movie.method, last), movie.method)
        )


def _deliver(found: Gathered, arguments: argparse.Namespace) -> None:
    """Print the tables, and write the files that were asked for."""
    from recon_backend.methods import LABELS

    scans = [score for score in found.scores if score.kind == "scan"]
    if scans:
        _say_scans(scans)
    for (group, kind, reference), rows in panels(found.summary()).items():
        if kind == "scan" and all(row.n == 1 for row in rows):
            continue  # the same figures again
        say(f"\n{group} ({UNITS[kind]}), against {IN_WORDS[reference]}: mean ± SD over data sets")
        say_table(*without_empty_columns(SUMMARY_HEADER, sorted_cells(rows)))
        for sampling in below_gridding(rows):
            say(
                f"{sampling}: no gap to the ceiling is given: against this target the noise-free truth is no "
                "better than gridding, because it lacks the noise floor that both of them have."
            )
    times = times_rows(found.all_times())
    if times:
        say("\nInference times (set-up: preparing coils, loading the model; the first scan also compiles)")
        say_table(*without_empty_columns(TIMES_HEADER, times_cells(times)))
        if found.cached:
            say(f"{found.cached} of {len(found.all_times())} times are of an earlier computation (cache).")
    tests = tests_of(found.scores)
    for lines in paragraphs(tests).values():
        say()
        for line in lines:
            say(line)
    say()
    for target, text in (
        (arguments.json, lambda: _as_json(json_rows(found))),
        (arguments.csv, lambda: as_csv(csv_records(found))),
        (arguments.details, lambda: _details(found, arguments.details)),
        (arguments.latex, lambda: latex(found, tests, LABELS | _LABELS)),
    ):
        if target is not None:
            _write(target, text())


def sorted_cells(rows: Sequence[SummaryRow]) -> list[list[str | int]]:
    """The rows of a panel, samplings together."""
    order = sorted(rows, key=lambda row: SAMPLINGS.index(row.sampling))
    return [summary_cells(row) for row in order]


def below_gridding(rows: Sequence[SummaryRow]) -> list[str]:
    """Samplings in which the ceiling is not above gridding."""
    return [
        row.sampling
        for row in rows
        if row.method == "gridded" and row.ceiling is not None and row.ceiling <= row.ssim[0]
    ]


def without_empty_columns(
    header: Sequence[str], rows: Sequence[Sequence[str | int]]
) -> tuple[list[str], list[list[str | int]]]:
    """A table without the columns that say nothing."""
    kept = [number for number in range(len(header)) if any(row[number] != "" for row in rows)]
    return [header[number] for number in kept], [[row[number] for number in kept] for row in rows]


def _details(found: Gathered, target: Path) -> str:
    rows = detail_rows(found.scores)
    return as_csv(rows) if target.suffix.lower() == ".csv" else _as_json(rows)


def _as_json(rows: Sequence[Any]) -> str:
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write(target: Path, text: str) -> None:
    from recon_backend.storage import write_durably

    target.parent.mkdir(parents=True, exist_ok=True)
    write_durably(target, text.encode())
    say(f"Written: {target}")


def _say_scans(scores: Sequence[Score]) -> None:
    say_table(
        ("scan", "sampling", "method", "reference", "MSE dB", "PSNR dB", "SSIM", "frames", "seconds"),
        [
            (
                score.dataset,
                score.sampling,
                score.method,
                score.reference,
                f"{score.mse_db:.2f}",
                f"{score.psnr_db:.2f}",
                f"{score.ssim:.4f}",
                score.frames,
                f"{score.seconds:.1f}",
            )
            for score in scores
        ],
    )
