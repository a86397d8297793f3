"""`blindcine reconstruct FILE… --method all|NAME --out DIR`: raw data to movies."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from app.commands.failures import expected_errors, sentence
from app.commands.terminal import complain, progress_bar, say

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
    parser.set_defaults(run=run)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct each file; one that fails is named and does not stop the others."""
    failures = 0
    for number, path in enumerate(arguments.files, start=1):
        label = f"{path.name} ({number} of {len(arguments.files)})" if len(arguments.files) > 1 else path.name
        try:
            for movie in reconstruct_file(
                path, arguments.method or [ALL], arguments.out, arguments.device, label
            ).values():
                say(str(movie))
        except expected_errors() as error:
            if isinstance(error, KeyboardInterrupt | ImportError):
                raise
            complain(sentence(error))
            failures += 1
    return 2 if failures else 0


def reconstruct_file(
    path: Path, methods: Sequence[str], out: Path, device: str, label: str
) -> dict[str, Path]:
    """Write `out/<name>_<method>.h5` for each method and return the paths by method.

    The name is the acquisition's: the file's stem, unless that names the patient.

    Args:
        path: raw data.
        methods: names of methods; `all` stands for every one that there is for the file's sampling.
        out: folder of the movies; made if it is not there.
        device: "auto", "cpu" or "gpu".
        label: what the progress bar says.

    Raises:
        ReconstructionError: the file cannot be read, or a method is unknown or has no model for its sampling.
    """
    from recon_backend.formats import open_acquisition
    from recon_backend.reconstruct import reconstruct_all

    acquisition = open_acquisition(path)
    names = method_names(methods, acquisition.sampling)
    movies = {}
    with progress_bar(label) as progress:
        for method, movie in reconstruct_all(acquisition, names, progress=progress, device=device):
            target = out / f"{acquisition.name}_{method}.h5"
            movie.save(target)
            movies[method] = target
    return movies


def method_names(asked: Sequence[str], sampling: str) -> list[str]:
    """Return the methods to run: those asked for, `all` being every one that there is for this sampling."""
    from recon_backend.methods import available_methods

    fitting = [info.name for info in available_methods() if sampling in info.samplings]
    return list(dict.fromkeys(name for word in asked for name in (fitting if word == ALL else [word])))
