"""`blindcine times MOVIE…`: how long each step took, from the provenance of movie files.

This is the paper's Table S1: reconstruction time for each sampling and method, and how many times faster or
slower that is than compressed sensing of the same scan on the same device.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.commands.failures import CommandError
from app.commands.terminal import complain, say, say_table

REFERENCE_METHOD = "compressed_sensing"
STEPS = ("reading", "preparation", "model_loading", "reconstruction", "writing")
COLUMNS = ("scan", "sampling", "method", "device", "frames", *STEPS, "ratio_to_compressed_sensing", "created")


@dataclass(frozen=True)
class MovieTimes:
    """One movie's times.

    Attributes:
        scan: name of the raw data.
        raw_sha256: its checksum.
        sampling: its sampling.
        method: name of the method.
        device: where it was computed.
        frames: number of frames of the movie.
        seconds: by step.
        created: when it was computed.
    """

    scan: str
    raw_sha256: str
    sampling: str
    method: str
    device: str
    frames: int
    seconds: Mapping[str, float]
    created: str

    @property
    def device_kind(self) -> str:
        """Processor or graphics card: methods may use different libraries on the same device."""
        return self.device.split(" ")[0].split(":")[0]


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("times", help="how long each step of the reconstructions took")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="movies made by reconstruct, or folders of them"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write one row for each movie")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the times of each movie, and the mean for each sampling, method and device."""
    movies = read_times(arguments.paths)
    rows = [table_row(movie, ratio_to_reference(movie, movies)) for movie in movies]
    say_table(
        ("scan", "sampling", "method", "device", "frames", *STEPS, "to CS", "computed"),
        [[_short(cell) for cell in row] for row in rows],
    )
    say()
    say_table(
        ("sampling", "method", "device", "movies", "reconstruction s", "SD", "to CS"), summary_rows(movies)
    )
    if arguments.csv is not None:
        from studies.storage import write_durably

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        write_durably(arguments.csv, text.getvalue().encode())
        complain(f"Written: {arguments.csv}")
    return 0


def read_times(paths: Sequence[Path]) -> list[MovieTimes]:
    """The times of movie files, by scan and method; what a folder holds besides movies is passed over.

    Raises:
        CommandError: there is no movie with times.
        FormatError: a file that was named is no movie.
    """
    from recon_backend.errors import FormatError
    from recon_backend.movie import read_description

    movies = []
    for path in paths:
        for candidate in sorted(path.glob("*.h5")) if path.is_dir() else [path]:
            try:
                frames, provenance = read_description(candidate)
            except FormatError:
                if not path.is_dir():
                    raise
                continue
            if isinstance(provenance.get("seconds"), dict):
                movies.append(times_of(candidate.stem, frames, provenance))
    if not movies:
        raise CommandError("No movie with times was found; expected files that blindcine reconstruct wrote.")
    return sorted(movies, key=lambda movie: (movie.sampling, movie.scan, movie.method))


def times_of(scan: str, frames: int, provenance: Mapping[str, Any]) -> MovieTimes:
    """The times in a movie's provenance; `scan` is its name where the provenance has none."""
    names = ("raw_sha256", "sampling", "method", "device", "created")
    words = {name: str(provenance.get(name, "")) for name in names}
    seconds = {str(step): float(value) for step, value in provenance["seconds"].items()}
    return MovieTimes(scan=str(provenance.get("raw_name", scan)), frames=frames, seconds=seconds, **words)


def ratio_to_reference(movie: MovieTimes, movies: Sequence[MovieTimes]) -> float | None:
    """A movie's reconstruction time over that of compressed sensing of the same scan on the same device."""
    for other in movies:
        same = (other.raw_sha256, other.device_kind) == (movie.raw_sha256, movie.device_kind)
        if other.method == REFERENCE_METHOD and same and other.seconds.get("reconstruction", 0.0) > 0:
            own_s = movie.seconds.get("reconstruction")
            return None if own_s is None else own_s / other.seconds["reconstruction"]
    return None


def table_row(movie: MovieTimes, ratio: float | None) -> list[object]:
    """The cells of a movie, in the order of `COLUMNS`; what is not known is None."""
    return [
        movie.scan,
        movie.sampling,
        movie.method,
        movie.device,
        movie.frames,
        *(movie.seconds.get(step) for step in STEPS),
        None if ratio is None else round(ratio, 5),
        movie.created,
    ]


def summary_rows(movies: Sequence[MovieTimes]) -> list[list[object]]:
    """For each sampling, method and device: count, mean and SD of the reconstruction time, mean ratio."""
    groups: dict[tuple[str, str, str], list[MovieTimes]] = {}
    for movie in movies:
        groups.setdefault((movie.sampling, movie.method, movie.device_kind), []).append(movie)
    rows: list[list[object]] = []
    for (sampling, method, device), group in sorted(groups.items()):
        seconds = [movie.seconds["reconstruction"] for movie in group if "reconstruction" in movie.seconds]
        ratios = [ratio for movie in group if (ratio := ratio_to_reference(movie, movies)) is not None]
        rows.append(
            [
                sampling,
                method,
                device,
                len(group),
                _short(statistics.mean(seconds)) if seconds else "",
                _short(statistics.stdev(seconds)) if len(seconds) > 1 else "",
                _short(statistics.mean(ratios)) if ratios else "",
            ]
        )
    return rows


def _short(cell: object) -> object:
    """Three significant digits for the eye; the file has all."""
    if isinstance(cell, float):
        return f"{cell:.3g}"
    return "" if cell is None else cell
