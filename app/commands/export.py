"""`blindcine export`, `export-grid` and `export-measurements`: movies and reports for other programs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app import __version__
from app.commands.failures import CommandError
from app.commands.terminal import progress_bar, say

if TYPE_CHECKING:
    from studies.export import GridSettings

FORMATS = ("mp4", "gif", "dicom", "nifti")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the commands."""
    parser = subparsers.add_parser("export", help="write movies as MP4, GIF, DICOM or NIfTI")
    parser.add_argument("movies", nargs="+", type=Path, metavar="MOVIE", help="a movie made by reconstruct")
    parser.add_argument("--format", dest="kind", choices=FORMATS, required=True, help="what to write")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="folder, or the file's name for one movie"
    )
    parser.add_argument(
        "--scale",
        type=int,
        default=0,
        metavar="N",
        help="MP4, GIF: N × N video pixels for a pixel (default: what makes the shorter side 432 or more)",
    )
    parser.add_argument(
        "--pseudonym", default="RESEARCH", metavar="TEXT", help="DICOM: stands for the patient (RESEARCH)"
    )
    parser.set_defaults(run=run)
    grid = subparsers.add_parser(
        "export-grid", help="write movies of several samplings and methods as one video with y–t profiles"
    )
    grid.add_argument("movies", nargs="*", type=Path, metavar="MOVIE", help="movies of one subject and plane")
    grid.add_argument(
        "--study",
        type=Path,
        metavar="DIR",
        help="instead of movies: an unblinded study, one labelled video for each subject and plane",
    )
    grid.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="ends in .mp4 or .gif; folder with --study"
    )
    grid.add_argument(
        "--format", dest="kind", choices=("mp4", "gif"), default="mp4", help="of --study (default: mp4)"
    )
    grid.add_argument("--labels", action="store_true", help="write the names of samplings and methods")
    grid.add_argument(
        "--side", type=int, default=0, metavar="PX", help="height of an image in video pixels (240; GIF: 160)"
    )
    grid.add_argument(
        "--column",
        type=float,
        default=0.5,
        metavar="PART",
        help="where profiles are cut, in parts of the image's width from the left (0.5)",
    )
    grid.add_argument("--no-profiles", action="store_true", help="leave the y–t profiles out")
    grid.set_defaults(run=run_grid)
    reports = subparsers.add_parser(
        "export-measurements",
        help="write an unblinded study's measurements as DICOM reports (TID 1500), with its movies as DICOM",
    )
    reports.add_argument("study", type=Path, metavar="STUDY", help="the study's folder")
    reports.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    reports.set_defaults(run=run_reports)


def run(arguments: argparse.Namespace) -> int:
    """Write each movie."""
    from studies.export import MovieExport, export_movie

    how = MovieExport(arguments.kind, arguments.scale, arguments.pseudonym, (f"blindcine {__version__}",))
    movies = list(dict.fromkeys(arguments.movies))
    if len(movies) > 1 and arguments.out.suffix and not arguments.out.is_dir():
        raise CommandError(f"{arguments.out}: several movies need a folder to be written to.")
    if len({movie.stem for movie in movies}) < len(movies):
        raise CommandError("Two of the movies have the same name; write them to different folders.")
    for number, path in enumerate(movies, start=1):
        label = f"{path.name} ({number} of {len(movies)})" if len(movies) > 1 else path.name
        with progress_bar(label) as progress:
            written = export_movie(path, arguments.out, how, progress)
        for target in written:
            say(str(target))
    return 0


def run_grid(arguments: argparse.Namespace) -> int:
    """Write all movies as one video."""
    from studies.export import GridSettings, cells_of_movies, export_grid

    share = 0.0 if arguments.no_profiles else GridSettings().profile_share
    settings = GridSettings(arguments.labels, arguments.side, share, arguments.column)
    if (arguments.study is None) == (not arguments.movies):
        raise CommandError("Name either movies or, with --study, the folder of an unblinded study.")
    if arguments.study is not None:
        return _run_study(arguments, replace(settings, labels=True))
    cells = cells_of_movies(list(dict.fromkeys(arguments.movies)))
    with progress_bar(arguments.out.name) as progress:
        target = export_grid(cells, arguments.out, settings, progress)
    say(str(target))
    return 0


def run_reports(arguments: argparse.Namespace) -> int:
    """Write movies and reports."""
    from studies.export.structured_report import export_study_reports
    from studies.study import Study

    study = Study.open(arguments.study)
    with progress_bar(arguments.study.name) as progress:
        written = export_study_reports(study, arguments.out, progress)
    for path in written:
        say(str(path))
    return 0


def _run_study(arguments: argparse.Namespace, settings: GridSettings) -> int:
    from studies.export.study_movies import export_study_grids
    from studies.study import Study

    study = Study.open(arguments.study)
    with progress_bar(arguments.study.name) as progress:
        written = export_study_grids(study, arguments.out, arguments.kind, settings, progress)
    for path in written:
        say(str(path))
    return 0
