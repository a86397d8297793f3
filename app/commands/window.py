"""`blindcine` and `blindcine window`: open the window, with a study or raw files where they are given."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.failures import CommandError
from app.package_folders import is_package

if TYPE_CHECKING:
    from studies.opened import Role

PAGES = ("data", "reconstruct", "study", "read", "measure", "results")
X11_PORT_OF_DISPLAY_0 = 6000


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("window", help="open the window (the default without a command)")
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a study folder, a reader package (*.blindcine), or raw data files and folders",
    )
    parser.add_argument("--page", choices=PAGES, help="the page to begin with")
    parser.add_argument(
        "--role",
        choices=("coordinator", "reader", "physicist"),
        help="what the study is opened for: a reader sees own answers only, a physicist measures only "
        "(default: coordinator)",
    )
    parser.add_argument(
        "--person", default="", metavar="NAME", help="who opens the study, needed of a reader"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Open the window and return its exit code."""
    study, files = sort_paths(arguments.paths)
    role: Role = arguments.role or "coordinator"
    reading = role == "reader" or any(is_package(path) for path in files)
    measuring = "measure" if role == "physicist" else "data"
    page = arguments.page or ("read" if reading else measuring)
    return open_window(study, files, page, role, arguments.person)


def sort_paths(paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """Return the study folder among `paths`, if any, and the rest: raw data, or one reader package.

    Raises:
        CommandError: a path does not exist, or there are two studies or packages.
    """
    from studies.folder import StudyFolder

    study: Path | None = None
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise CommandError(f"{path}: there is no such file or folder.")
        if StudyFolder(path).has_log:
            if study is not None:
                raise CommandError(f"{study} and {path} are both studies; the window opens one at a time.")
            study = path
        else:
            files.append(path)
    packages = [path for path in files if is_package(path)]
    if len(packages) + (study is not None) > 1:
        raise CommandError("The window opens one study or reader package at a time.")
    return study, files


def open_window(
    study: Path | None, files: list[Path], page: str, role: Role = "coordinator", person: str = ""
) -> int:
    """Open the window on `page`, the study in a role; returns the exit code of the application.

    Raises:
        CommandError: there is no display.
    """
    if not display_available():
        raise CommandError(
            "There is no display to open a window on; use the commands (`blindcine --help`), "
            "or set DISPLAY to a running X server."
        )
    from app.launch import run_window

    return run_window(study=study, files=files, page=page, role=role, person=person)


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
