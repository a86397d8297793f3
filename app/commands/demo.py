"""`blindcine demo [DIR] [--headless]`: the whole way from simulated raw data to a study, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_FOLDER = Path("blindcine-demo")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo", help="simulate nine scans, reconstruct them, and read them as a study"
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help=f"folder of the demo (default: {DEFAULT_FOLDER}); what is complete in it is reused",
    )
    parser.add_argument(
        "--headless",
        action="store_true",
        help="without a window: a scripted reader ranks, and results are exported",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo in a window, or headless where that is asked for or there is no display."""
    from app.commands.window import display_available
    from app.demo import run_demo

    return run_demo(arguments.folder, headless=arguments.headless or not display_available())
