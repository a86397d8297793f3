"""`blindcine reconstruct FILE… --method all|NAME --out DIR`: raw data to movies, here or on a cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.failures import expected_errors, sentence
from app.commands.terminal import complain, progress_bar, say

if TYPE_CHECKING:
    from recon_backend.jobs import FinishedMovie
    from recon_backend.options import ReconstructionOptions

DEVICES = ("auto", "cpu", "gpu")
ALL = "all"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("reconstruct", help="reconstruct raw data into movies")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a raw-data file (ISMRMRD)")
    parser.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="a method by name (`blindcine models list`), or `all` (the default); can be given several times",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for <file>_<method>.h5"
    )
    add_device_option(parser)
    add_reconstruction_options(parser)
    add_cache_option(parser)
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="spread the files over the Dask cluster at this address, such as tcp://host:8786; files and DIR "
        "must be reachable from its workers by the same paths",
    )
    parser.set_defaults(run=run)


def add_reconstruction_options(parser: argparse.ArgumentParser) -> None:
    """Add what `reconstruction_options` reads."""
    add_settings_option(parser)
    parser.add_argument(
        "--sensitivities",
        choices=("inati", "espirit", "walsh"),
        default="inati",
        help="how coil sensitivities are estimated (default: inati, with which the networks were trained)",
    )
    parser.add_argument(
        "--no-delay-correction",
        dest="correct_delays",
        action="store_false",
        help="report gradient delays of radial scans, but do not correct them",
    )
    parser.add_argument(
        "--combination",
        choices=("root_sum_of_squares", "adaptive", "sensitivities"),
        default="root_sum_of_squares",
        help="how gridding combines the coils (default: root_sum_of_squares)",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="a model of the shelf (`blindcine models list`) to use instead of the one that its method takes "
        "by default; can be given several times",
    )


def reconstruction_options(arguments: argparse.Namespace) -> ReconstructionOptions:
    """What was chosen beside the methods. Raises ReconstructionError."""
    from recon_backend.options import ReconstructionOptions

    return ReconstructionOptions(
        arguments.settings,
        arguments.sensitivities,
        arguments.correct_delays,
        arguments.combination,
        tuple(arguments.model or ()),
    )


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add `--no-cache`."""
    parser.add_argument(
        "--no-cache",
        dest="use_cache",
        action="store_false",
        help="compute everything anew, and keep no result for the next time",
    )


def add_settings_option(parser: argparse.ArgumentParser) -> None:
    """Add `--settings`."""
    parser.add_argument(
        "--settings",
        choices=("quality", "fast", "published"),
        default="quality",
        help="settings of compressed sensing (default: quality)",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct each file; one that fails is named and does not stop the others."""
    if arguments.cluster is not None:
        return run_on_cluster(arguments)
    failures = 0
    for number, path in enumerate(arguments.files, start=1):
        label = f"{path.name} ({number} of {len(arguments.files)})" if len(arguments.files) > 1 else path.name
        try:
            reconstruct_file(
                path,
                arguments.method or [ALL],
                arguments.out,
                arguments.device,
                label,
                options=reconstruction_options(arguments),
                use_cache=arguments.use_cache,
                on_movie=say_movie,
            )
        except expected_errors() as error:
            if isinstance(error, KeyboardInterrupt | ImportError):
                raise
            complain(sentence(error))
            failures += 1
    return 2 if failures else 0


def run_on_cluster(arguments: argparse.Namespace) -> int:
    """Spread the files over a cluster, and say at the end which failed and why."""
    from recon_backend.cluster import FileJob, FileOutcome, reconstruct_on_cluster

    jobs = [
        FileJob(
            path.absolute(),
            tuple(arguments.method or [ALL]),
            arguments.out.absolute(),
            arguments.device,
            reconstruction_options(arguments),
            arguments.use_cache,
        )
        for path in dict.fromkeys(arguments.files)
    ]
    outcomes: list[FileOutcome] = []
    with progress_bar("Reconstructing on the cluster") as progress:
        # Closed at once when Ctrl+C interrupts this loop, so that the workers are told to stop.
        with closing(reconstruct_on_cluster(arguments.cluster, jobs, progress=progress)) as ended:
            for outcome in ended:
                outcomes.append(outcome)
                for movie in outcome.movies:
                    say(str(movie.path))
    failed = [outcome for outcome in outcomes if outcome.error]
    kept = sum(movie.cached for outcome in outcomes for movie in outcome.movies)
    complain(
        f"{len(outcomes) - len(failed)} of {len(jobs)} files are reconstructed"
        + (f" ({kept} movies were there before)." if kept else ".")
    )
    for outcome in failed:
        place = f" (on {outcome.worker})" if outcome.worker else ""
        complain(f"Failed{place}: {outcome.path}: {outcome.error}")
    return 2 if failed else 0


def say_movie(movie: FinishedMovie) -> None:
    """Print a movie's path, and to standard error if it was not computed now."""
    say(str(movie.path))
    if movie.cached:
        complain(f"{movie.path.name}: computed before; taken from the cache.")


def reconstruct_file(
    path: Path,
    methods: Sequence[str],
    out: Path,
    device: str,
    label: str,
    *,
    options: ReconstructionOptions | None = None,
    use_cache: bool = True,
    on_movie: Callable[[FinishedMovie], None] | None = None,
) -> dict[str, Path]:
    """Write `out/<name>_<method>.h5` for each method and return the paths by method.

    The name is the acquisition's: the file's stem, unless that names the patient.

    Args:
        path: raw data.
        methods: names of methods; `all` stands for every one that there is for the file's sampling.
        out: folder of the movies; made if it is not there.
        device: "auto", "cpu" or "gpu".
        label: what the progress bar says.
        options: what was chosen beside the methods; the default if None.
        use_cache: take results that were computed before, and keep new ones.
        on_movie: called with each movie that is on disk, after the progress bar has ended.

    Raises:
        ReconstructionError: the file cannot be read, or a method is unknown or has no model for its sampling.
    """
    from recon_backend import jobs
    from recon_backend.cache import user_cache

    movies = []
    cache = user_cache() if use_cache else None
    try:
        with progress_bar(label) as progress:
            for movie in jobs.reconstruct_file(
                path,
                methods,
                out,
                device=device,
                options=options or jobs.DEFAULT_OPTIONS,
                cache=cache,
                progress=lambda status: progress(status.phase, status.fraction, status.remaining_s),
            ):
                movies.append(movie)
    finally:
        if on_movie is not None:
            for movie in movies:
                on_movie(movie)
    return {movie.method: movie.path for movie in movies}
