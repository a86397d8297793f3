"""`blindcine evaluate DIR|FILES`: every method against the truth beside the raw data, as a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.reconstruct import add_cache_option, add_device_option
from app.commands.terminal import progress_bar, say, say_table

if TYPE_CHECKING:
    from recon_backend.evaluation import Score


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("evaluate", help="reconstruct scans that have a truth, and compare")
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="raw data with <stem>_truth.h5 or .npz beside them, or folders of such files",
    )
    parser.add_argument(
        "--method", action="append", metavar="NAME", help="only this method (default: all; several times)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    add_device_option(parser)
    add_cache_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each scan, method and reference; `shaded` takes the coils' shading into account."""
    from recon_backend.cache import user_cache
    from recon_backend.evaluation import evaluate
    from recon_backend.methods import ALL_METHODS

    methods = list(dict.fromkeys(arguments.method or ALL_METHODS))
    scores: list[Score] = []
    try:
        with progress_bar("Evaluating") as progress:
            for score in evaluate(
                arguments.paths,
                methods,
                device=arguments.device,
                progress=progress,
                cache=user_cache() if arguments.use_cache else None,
            ):
                scores.append(score)
    finally:
        # What was computed before a file failed, or before Ctrl+C, took minutes: it is not thrown away.
        if scores:
            # Movies from the cache come first: the table keeps its order all the same.
            scans = list(dict.fromkeys(score.dataset for score in scores))
            scores.sort(key=lambda score: (scans.index(score.dataset), methods.index(score.method)))
            _deliver(scores, arguments.json)
    return 0


def _deliver(scores: Sequence[Score], target: Path | None) -> None:
    """Print the table, and write it as JSON if asked for."""
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
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps([asdict(score) for score in scores], indent=1) + "\n")
        say(f"\nWritten: {target}")
