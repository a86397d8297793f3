"""`blindcine` and `blindcine window`: open the window, with a study or raw files where they are given."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from app.commands.failures import CommandError

PAGES = ("data", "reconstruct", "read", "measure", "results")
X11_PORT_OF_DISPLAY_0 = 6000


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("window", help="open the window (the default without a command)")
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="a study folder, or raw data files and folders"
    )
    parser.add_argument("--page", choices=PAGES, help="the page to begin with")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Open the window and return its exit code."""
    study, files = sort_paths(arguments.paths)
    page = arguments.page or "data"
    return open_window(study, files, page)


def sort_paths(paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """Return the study folder among `paths`, if any, and the rest as files and folders of raw data.

    Raises:
        CommandError: a path does not exist, or there are two studies.
    """
    from studies.folder import LOG_NAME

    study: Path | None = None
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise CommandError(f"{path}: there is no such file or folder.")
        if (path / LOG_NAME).is_file():
            if study is not None:
                raise CommandError(f"{study} and {path} are both studies; the window opens one at a time.")
            study = path
        else:
            files.append(path)
    return study, files


def open_window(study: Path | None, files: list[Path], page: str) -> int:
    """Open the window on `page`; returns the exit code of the application.

    Raises:
        CommandError: there is no display.
    """
    if not display_available():
        raise CommandError(
            "There is no display to open a window on; use the commands (`blindcine --help`), "
            "or set DISPLAY to a running X server."
        )
    from app.launch import run_window

    return run_window(study=study, files=files, page=page)


def display_available() -> bool:
    """Tell whether a window can be opened: the platform has a display, or a display server answers.

    Qt ends the whole process when the display server does not answer, so this asks before Qt does.
    """
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return True
    if os.environ.get("WAYLAND_DISPLAY"):
        return True
    return x11_answers(os.environ.get("DISPLAY", ""))


def x11_answers(display: str) -> bool:
    """Tell whether the X server named by `display` (`host:number.screen`) takes connections."""
    host, separator, number = display.rpartition(":")
    number = number.split(".")[0]
    if not separator or not number.isdigit():
        return False
    try:
        if host in {"", "unix"}:
            return any(
                _connects(name) for name in (f"/tmp/.X11-unix/X{number}", f"\0/tmp/.X11-unix/X{number}")
            )
        with socket.create_connection((host, X11_PORT_OF_DISPLAY_0 + int(number)), timeout=2):
            return True
    except OSError:
        return False


def _connects(name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(name)
        except OSError:
            return False
    return True
