"""`blindcine cache info, clear`: the results that are kept so that nothing is computed twice."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.failures import CommandError
from app.commands.terminal import say, say_fields, say_json

if TYPE_CHECKING:
    from recon_backend.cache import ResultCache


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "cache",
        help="results kept so that nothing is computed twice",
        description="Reconstructed movies are kept in a folder of this user; when it grows above a limit, "
        "the least recently used ones are removed. BLINDCINE_CACHE names another folder, BLINDCINE_CACHE_GB "
        "another limit in gigabytes (0: keep nothing).",
    )
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    step = steps.add_parser("info", help="print the folder, the number of movies and their size")
    step.add_argument("--json", action="store_true", help="print JSON")
    step.set_defaults(run=run_info)
    step = steps.add_parser("clear", help="remove the kept movies")
    step.add_argument(
        "--raw", type=Path, action="append", metavar="FILE", help="only those of this raw file; repeatable"
    )
    step.set_defaults(run=run_clear)


def run_info(arguments: argparse.Namespace) -> int:
    """Print what the cache holds."""
    info = _cache().info()
    if arguments.json:
        say_json(
            {
                "folder": str(info.folder),
                "movies": info.entries,
                "size_bytes": info.size_bytes,
                "limit_bytes": info.limit_bytes,
            }
        )
        return 0
    say_fields(
        {
            "folder": info.folder,
            "movies": info.entries,
            "size": f"{info.size_bytes / 1e9:.3f} GB",
            "limit": f"{info.limit_bytes / 1e9:g} GB",
        }
    )
    return 0


def run_clear(arguments: argparse.Namespace) -> int:
    """Remove all movies, or those of some raw files."""
    cache = _cache()
    if arguments.raw:
        from recon_backend.formats import open_acquisition

        removed = cache.forget([open_acquisition(path).source_sha256 for path in arguments.raw])
    else:
        removed = cache.clear()
    say(f"{removed} kept movie{'s' if removed != 1 else ''} removed from {cache.folder}.")
    return 0


def _cache() -> ResultCache:
    """The user's cache, even if nothing may be kept in it any more.

    Raises:
        CommandError: there is no folder for it.
    """
    from recon_backend.cache import ResultCache, cache_folder, size_limit_bytes
    from recon_backend.errors import ReconstructionError

    try:
        return ResultCache(cache_folder(), size_limit_bytes())
    except ReconstructionError as error:
        raise CommandError(str(error)) from error
