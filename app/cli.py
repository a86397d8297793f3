"""`blindcine …`: every capability without a window; without a command, the window.

Rule: results go to standard output, progress and complaints to standard error. What a user can cause ends in
one sentence and exit code 2, never in a stack trace. A command imports what it needs when it runs, so
`--version` and the study commands never load TensorFlow, and commands without a window never load Qt.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from app import __version__
from app.commands import (
    cache,
    demo,
    desktop,
    evaluate,
    export,
    info,
    models,
    reconstruct,
    replicas,
    serve,
    simulate,
    statistics,
    stream,
    study,
    times,
    train,
    window,
)
from app.commands.failures import exit_code, expected_errors, sentence
from app.commands.terminal import complain
from app.package_folders import PACKAGE_SUFFIX

COMMANDS = (
    window,
    info,
    reconstruct,
    stream,
    serve,
    times,
    replicas,
    export,
    cache,
    evaluate,
    statistics,
    simulate,
    train,
    models,
    study,
    desktop,
    demo,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command module registers its own part."""
    parser = argparse.ArgumentParser(
        prog="blindcine",
        description="Blinded reader studies of real-time cine MRI. Without a command the window opens. "
        "For research use only.",
    )
    parser.add_argument("--version", action="version", version=f"blindcine {__version__}")
    parser.set_defaults(run=window.run, paths=[], page=None, role=None, person="")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in COMMANDS:
        module.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `blindcine`; those of the process by default.

    Returns:
        0 when all went well, 2 when the input or the environment is at fault, 130 when interrupted.
    """
    # TensorFlow's start-up notes help no user; thread pools that spin against each other cost up to 8×.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0].endswith(PACKAGE_SUFFIX):
        # As the desktop calls it for a file on which somebody has clicked.
        words.insert(0, "window")
    arguments = build_parser().parse_args(words)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:
        # The reader of our output went away (`blindcine info … | head`): nothing is left to be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except expected_errors() as error:
        complain(sentence(error))
        return exit_code(error)
