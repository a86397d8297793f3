"""`blindcine study package`, `respond` and `merge`: a study to a reader elsewhere, and the answers back."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.failures import CommandError
from app.commands.terminal import complain, say


def add_package_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `package` takes."""
    parser.add_argument("--reader", required=True, help="one of the study's readers")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: READER.blindcine beside the study)"
    )


def add_respond_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `respond` takes."""
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: beside the package)"
    )


def add_merge_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `merge` takes."""
    parser.add_argument("responses", nargs="+", type=Path, metavar="RESPONSE", help="readers' response files")


def package(arguments: argparse.Namespace) -> int:
    """Make a package for a reader."""
    from app.package_folders import package_name
    from studies.package import export_package
    from studies.study import Study

    study = Study.open(arguments.folder)
    path = arguments.out or arguments.folder.resolve().parent / package_name(arguments.reader)
    made = export_package(study, arguments.reader, path)
    say(
        f"{made.path}: {made.presentations} presentations of {made.clips} clips for {made.reader}, "
        f"{made.size_bytes / 1e6:.1f} MB. {made.reader} opens it with `blindcine FILE` and sends back the "
        "response; from now on the study takes this reader's rankings only from there."
    )
    return 0


def respond(arguments: argparse.Namespace) -> int:
    """Save the response of a package that was read, whether it is finished or not."""
    from app.package_folders import response_beside, working_folder
    from studies.package import package_info, response_name, save_response
    from studies.study import Study

    if arguments.folder.is_file():
        folder = working_folder(package_info(arguments.folder).package_id)
        if not folder.is_dir():
            raise CommandError(f"{arguments.folder} was not read on this computer yet: open it first.")
        study = Study.open(folder)
        path = arguments.out or response_beside(arguments.folder)
    else:
        study = Study.open(arguments.folder)
        # Asked for before a name is made of it, for a study that is no package has no reader.
        _ = study.package
        path = arguments.out or arguments.folder.resolve().parent / response_name(study)
    count = save_response(study, path)
    _, total = study.progress(study.person)
    say(f"{path}: {count} of {total} rankings of {study.person}. Send this file back.")
    return 0


def merge(arguments: argparse.Namespace) -> int:
    """Take responses into the study; one that is refused does not hinder the others."""
    from studies.errors import StudyError
    from studies.package import merge_response
    from studies.study import Study

    study = Study.open(arguments.folder)
    refused = 0
    for path in arguments.responses:
        try:
            merged = merge_response(study, path)
        except StudyError as error:
            complain(f"{path.name}: {error}")
            refused += 1
            continue
        say(
            f"{path.name}: {merged.new} new rankings of {merged.reader}, {merged.duplicates} were there "
            f"already, {merged.missing} are missing."
        )
        if merged.clock_set_back:
            say(f"  The clock of the reader's computer went back {merged.clock_set_back} times.")
    return 2 if refused else 0
