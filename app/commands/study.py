"""`blindcine study …`: a reader study from its first scan to its statistics, without a window."""

from __future__ import annotations

import argparse
import csv
import getpass
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.failures import CommandError
from app.commands.reconstruct import add_device_option
from app.commands.study_design import (
    add_design_options,
    add_set_option,
    amend,
    design,
    protocol_summary,
    say_amendments,
)
from app.commands.study_measure import (
    add_measure_options,
    add_repeatability_options,
    measure,
    repeatability,
)
from app.commands.study_packages import (
    add_merge_options,
    add_package_options,
    add_respond_options,
    merge,
    package,
    respond,
)
from app.commands.terminal import progress_bar, read_passphrase, say, say_fields, say_json, say_table

if TYPE_CHECKING:
    from studies.study import Study

SubParsers = argparse._SubParsersAction
Command = Callable[[argparse.Namespace], int]
PRACTICE_WORDS = {"": False, "no": False, "0": False, "false": False, "yes": True, "1": True, "true": True}


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    """Declare the command and the steps below it."""
    parser = subparsers.add_parser("study", help="make, read, measure and evaluate a blinded study")
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)

    step = _step(steps, "create", create, "make a study in a new folder")
    step.add_argument("--name", help="the study's name; readers see it (needed without --protocol)")
    step.add_argument(
        "--arms", type=_names, metavar="A,B,C", help="methods to compare (default: the paper's three)"
    )
    step.add_argument(
        "--seed",
        type=int,
        help="seed of the readers' schedules (default: drawn at random; a reader can find a short one by "
        "trying, and with it which panels of different clips belong together)",
    )
    step.add_argument(
        "--protocol", type=Path, metavar="FILE", help="take everything from a protocol file (see `design`)"
    )
    step.add_argument(
        "--log-url",
        metavar="URL",
        help="keep the event log in PostgreSQL for several readers at once: postgresql://user@host/database, "
        "without a password (it comes from PGPASSWORD or ~/.pgpass)",
    )
    step.add_argument(
        "--second-copy",
        type=Path,
        metavar="DIR",
        help="write every event to this folder too",
    )

    text = "write, change or check the protocol, and show what the study can show"
    step = steps.add_parser("design", help=text, description=text[0].upper() + text[1:] + ".")
    add_design_options(step)
    step.set_defaults(run=design)

    step = _step(steps, "import", import_scans, "add raw-data files")
    step.add_argument("files", nargs="*", type=Path, metavar="FILE", help="raw data of one subject and plane")
    step.add_argument("--subject", help="pseudonym of the person")
    step.add_argument("--plane", help="for example SAX, 4CH or speech")
    step.add_argument("--label", help="your own words for the scan")
    step.add_argument(
        "--practice", action="store_true", help="shown first and never analysed; of subjects not studied"
    )
    step.add_argument(
        "--table", type=Path, metavar="CSV", help="columns file, subject, plane, optional label and practice"
    )
    step.add_argument("--protocol", type=Path, metavar="FILE", help="import the scans that this file lists")

    step = _step(steps, "reconstruct", reconstruct_scans, "reconstruct all scans that have no movies yet")
    add_device_option(step)

    step = _step(steps, "attach", attach, "give a scan movies that were made elsewhere")
    step.add_argument("scan", help="the scan's id, as `status` prints it")
    step.add_argument("movies", nargs="+", metavar="METHOD=FILE", help="one movie for each arm")

    step = _step(steps, "lock", lock, "freeze the design, seal the key and write the schedules")
    step.add_argument(
        "--readers",
        type=_names,
        default=(),
        metavar="NAME,NAME",
        help="who will read (default: the protocol's)",
    )
    _passphrase_option(step)

    step = _step(steps, "amend", amend, "change the protocol of a locked study, on record")
    step.add_argument("--actor", required=True, metavar="NAME", help="who amends")
    step.add_argument("--reason", required=True, help="why; readers may see it, so name no method")
    add_set_option(step)

    step = _step(steps, "read", read, "open the window on the page Read")
    step.add_argument(
        "--reader",
        metavar="NAME",
        help="read as this reader, who sees no answers of others (default: choose)",
    )

    step = _step(steps, "rank", rank, "commit rankings, beginning with the reader's next presentation")
    step.add_argument("--reader", required=True, help="one of the study's readers")
    choice = step.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--ranks", type=_ranks, metavar="1,2,2", help="ranks of A, B, C; equal numbers are ties"
    )
    choice.add_argument(
        "--file", type=Path, metavar="CSV", help="columns presentation (1, 2, …), A, B, C, comment"
    )
    step.add_argument("--comment", default="", help="the reader's words, with --ranks")

    text = "make a file with the blinded movies for one reader elsewhere"
    add_package_options(_step(steps, "package", package, text))

    step = steps.add_parser("respond", help="save the answers of a package that was read, for sending back")
    step.add_argument("folder", type=Path, metavar="FOLDER", help="the package, or the folder it is read in")
    add_respond_options(step)
    step.set_defaults(run=respond)

    add_merge_options(_step(steps, "merge", merge, "take the responses of readers' packages in"))

    step = _step(steps, "measure", measure, "apply shapes to the movies and save SNR and edge sharpness")
    add_measure_options(step)

    step = _step(steps, "repeatability", repeatability, "compare two observers, or two sets of one")
    add_repeatability_options(step)

    step = _step(steps, "unblind", unblind, "open the sealed key; reading and measuring end")
    step.add_argument("--actor", default=None, help="who unblinds (default: your login name)")
    step.add_argument("--force", action="store_true", help="also while rankings are missing")
    _passphrase_option(step)

    step = _step(steps, "export", export, "write tables, statistics and the report of an unblinded study")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")

    step = _step(steps, "status", status, "print scans, readers and progress")
    step.add_argument("--json", action="store_true", help="print JSON")

    step = _step(
        steps,
        "verify",
        verify,
        "check the log, its second copy, merged responses, movies and sealed key",
    )
    step.add_argument(
        "--noted",
        metavar="HEAD",
        help="log head that `status` printed earlier, kept outside the folder: the log must still hold it",
    )


def _step(
    steps: SubParsers[argparse.ArgumentParser], name: str, run: Command, text: str
) -> argparse.ArgumentParser:
    parser = steps.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("folder", type=Path, metavar="STUDY", help="the study's folder")
    parser.set_defaults(run=run)
    return parser


def _passphrase_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="its first line is the passphrase (else BLINDCINE_PASSPHRASE, else it is asked for)",
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("give at least one name")
    return names


def _ranks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of whole numbers such as 1,2,2") from None


def open_study(folder: Path) -> Study:
    """Open a study folder. Raises StudyError."""
    from studies.study import Study

    return Study.open(folder)


# --- design


def create(arguments: argparse.Namespace) -> int:
    """Make a study."""
    from studies.design import Design
    from studies.study import PAPER_ARMS, Study

    if arguments.protocol is not None:
        if arguments.name or arguments.arms or arguments.seed is not None:
            raise CommandError("Give --protocol, or --name, --arms and --seed, not both; change the file.")
        study = Study.from_design(
            arguments.folder,
            Design.load(arguments.protocol),
            log_url=arguments.log_url,
            second_copy=arguments.second_copy,
        )
    elif arguments.name:
        study = Study.create(
            arguments.folder,
            name=arguments.name,
            arms=arguments.arms or PAPER_ARMS,
            seed=arguments.seed,
            log_url=arguments.log_url,
            second_copy=arguments.second_copy,
        )
    else:
        raise CommandError("Give the study's --name, or its --protocol.")
    say(f"Made the study '{study.name}' in {study.folder} with the arms {', '.join(study.arms)}.")
    return 0


def import_scans(arguments: argparse.Namespace) -> int:
    """Read each file, so that only readable scans get in, and print the new scans' ids."""
    rows = scan_rows(arguments)
    study = open_study(arguments.folder)
    for row in rows:
        scan_id = import_scan(
            study,
            Path(row["file"]),
            row["subject"],
            row["plane"],
            row.get("label") or None,
            practice=_is_practice(row),
        )
        say(f"{scan_id}  {row['file']}")
    return 0


def scan_rows(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Return file, subject, plane, label and practice of what is to be imported.

    Raises:
        CommandError: something of that is missing.
        StudyError: the protocol file is not acceptable.
    """
    if arguments.protocol is not None:
        from studies.design import Design

        return [
            {
                "file": str(arguments.protocol.parent / scan.file),
                "subject": scan.subject,
                "plane": scan.plane,
                "label": scan.label,
                "practice": "yes" if scan.practice else "",
            }
            for scan in Design.load(arguments.protocol).scans
        ]
    if arguments.table is not None:
        with arguments.table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"file", "subject", "plane"} - set(reader.fieldnames or ())
            if missing:
                raise CommandError(
                    f"{arguments.table}: the columns {', '.join(sorted(missing))} are missing."
                )
            rows = list(reader)
        # A table names its files from where it lies.
        return [{**row, "file": str(arguments.table.parent / row["file"])} for row in rows]
    if not arguments.files or not arguments.subject or not arguments.plane:
        raise CommandError("Give files with --subject and --plane, or a table of them with --table.")
    common = {
        "subject": arguments.subject,
        "plane": arguments.plane,
        "label": arguments.label or "",
        "practice": "yes" if arguments.practice else "",
    }
    return [{"file": str(path), **common} for path in arguments.files]


def _is_practice(row: Mapping[str, str]) -> bool:
    word = (row.get("practice") or "").strip().casefold()
    if word not in PRACTICE_WORDS:
        raise CommandError(f"{row['file']}: 'practice' is '{word}', but it must be yes or no.")
    return PRACTICE_WORDS[word]


def import_scan(
    study: Study, path: Path, subject: str, plane: str, label: str | None = None, *, practice: bool = False
) -> str:
    """Import one raw-data file and return the scan's id.

    Raises:
        FormatError: the file is not readable raw data.
        StudyError: the study does not take it.
    """
    from recon_backend.formats import open_acquisition

    acquisition = open_acquisition(path)
    return study.import_scan(
        path.resolve(),
        raw_sha256=acquisition.source_sha256,
        subject=subject,
        plane=plane,
        sampling=acquisition.sampling,
        label=label,
        practice=practice,
    )


def reconstruct_scans(arguments: argparse.Namespace) -> int:
    """Reconstruct every incomplete scan with the study's arms and attach the movies."""
    from app.commands.reconstruct import reconstruct_file
    from app.scratch import ScratchFolder

    study = open_study(arguments.folder)
    arms = study.arms
    waiting = [scan for scan in study.scans if not scan.complete]
    for number, scan in enumerate(waiting, start=1):
        if scan.raw_path is None:
            raise CommandError(
                f"The raw file of scan {scan.scan_id} is not known; attach its movies instead."
            )
        label = f"{scan.subject} {scan.plane} {scan.sampling} ({number} of {len(waiting)})"
        scratch = ScratchFolder()
        try:
            movies = reconstruct_file(scan.raw_path, arms, scratch.path, arguments.device, label)
            study.attach_movies(scan.scan_id, movies)
        finally:
            scratch.remove()
    say(
        f"{len(waiting)} scans reconstructed; {len(study.scans)} of {len(study.scans)} have all their movies."
    )
    return 0


def attach(arguments: argparse.Namespace) -> int:
    """Attach movies from files."""
    movies = {}
    for word in arguments.movies:
        method, separator, path = word.partition("=")
        if not separator or not method or not path:
            raise CommandError(f"'{word}' is not METHOD=FILE, for example dl_cardiac=movie.h5.")
        movies[method] = Path(path)
    open_study(arguments.folder).attach_movies(arguments.scan, movies)
    say(f"{len(movies)} movies attached to scan {arguments.scan}.")
    return 0


def lock(arguments: argparse.Namespace) -> int:
    """Lock the study."""
    from recon_backend.cache import user_cache

    study = open_study(arguments.folder)
    raw_sha256 = [scan.raw_sha256 for scan in study.scans if scan.raw_sha256 is not None]
    study.lock(arguments.readers, read_passphrase(arguments.passphrase_file, confirm=True))
    # Results kept under their methods' names hold the very pixels of the blinded movies.
    if (cache := user_cache()) is not None:
        cache.forget(raw_sha256)
    shown = {reader: study.progress(reader)[1] for reader in study.readers}
    say(
        f"Locked: {len(study.clips)} clips for {', '.join(study.readers)} "
        f"({max(shown.values())} presentations each). Protocol SHA-256: {study.protocol_sha256}. "
        "Keep the passphrase: without it the study cannot be unblinded."
    )
    return 0


# --- reading and measuring


def read(arguments: argparse.Namespace) -> int:
    """Open the window on the study's page Read."""
    from app.commands.window import open_window

    if arguments.reader:
        return open_window(arguments.folder, [], "read", "reader", arguments.reader)
    return open_window(arguments.folder, [], "read")


def rank(arguments: argparse.Namespace) -> int:
    """Commit one ranking, or those of a file."""
    study = open_study(arguments.folder)
    if arguments.file is not None:
        rows = ranking_rows(arguments.file, study.arm_count)
    else:
        rows = [(None, arguments.ranks, arguments.comment)]
    commit_rankings(study, arguments.reader, rows)
    done, total = study.progress(arguments.reader)
    say(f"{arguments.reader}: {done} of {total} presentations ranked.")
    return 0


def commit_rankings(
    study: Study, reader: str, rows: Sequence[tuple[int | None, tuple[int, ...], str]]
) -> None:
    """Commit rankings in the order of the reader's schedule.

    Args:
        study: a locked study.
        reader: one of its readers.
        rows: number of the presentation from 1 (None: the next), ranks by position, comment.

    Raises:
        CommandError: a number is not the next presentation's.
        StudyError: the ranks are not acceptable or the study takes no rankings.
    """
    for number, ranks, comment in sorted(rows, key=lambda row: row[0] or 0):
        presentation = study.next_presentation(reader)
        if presentation is None:
            raise CommandError(f"'{reader}' has ranked all presentations; nothing is left to rank.")
        if number is not None and number != presentation.index + 1:
            raise CommandError(
                f"Presentation {number} is not the next one of '{reader}'; "
                f"that is number {presentation.index + 1}."
            )
        study.commit_ranking(reader, presentation, ranks, comment=comment)


def ranking_rows(path: Path, arm_count: int) -> list[tuple[int | None, tuple[int, ...], str]]:
    """Read rankings from CSV; all of them are read before the first is committed.

    Raises:
        CommandError: names the column or line that is wrong.
    """
    positions = [chr(ord("A") + index) for index in range(arm_count)]
    rows: list[tuple[int | None, tuple[int, ...], str]] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"presentation", *positions} - set(reader.fieldnames or ())
        if missing:
            raise CommandError(f"{path}: the columns {', '.join(sorted(missing))} are missing.")
        for row in reader:
            try:
                ranks = tuple(int(row[position]) for position in positions)
                rows.append((int(row["presentation"]), ranks, row.get("comment") or ""))
            except (TypeError, ValueError):
                raise CommandError(
                    f"{path}, line {reader.line_num}: presentation and ranks must be whole numbers."
                ) from None
    return rows


# --- results


def unblind(arguments: argparse.Namespace) -> int:
    """Unblind the study and print who is who."""
    study = open_study(arguments.folder)
    passphrase = read_passphrase(arguments.passphrase_file)
    methods = study.unblind(passphrase, arguments.actor or getpass.getuser(), force=arguments.force)
    say_table(("movie", "method"), sorted(methods.items(), key=lambda item: (item[1], item[0])))
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write the results and print where they lie."""
    from studies.report import export as export_study

    study = open_study(arguments.folder)
    # A study that is still blinded is refused before a progress bar appears.
    _ = study.method_of
    with progress_bar("Writing the report") as progress:
        exported = export_study(study, arguments.out, progress=progress)
    for path in exported.documents:
        say(str(path))
    if exported.figures:
        say(f"{exported.figures[0].parent} ({len(exported.figures)} figures)")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Print the study's state; while it is blinded nothing here tells methods apart.

    The log's head (number and hash of its last event), noted outside the folder, is what tells later whether
    the whole folder was replaced by an older copy: `verify --noted`.
    """
    study = open_study(arguments.folder)
    scans = [
        {
            "scan": scan.scan_id,
            "clip": scan.clip_id,
            "subject": scan.subject,
            "plane": scan.plane,
            "sampling": scan.sampling,
            "complete": scan.complete,
            "practice": scan.practice,
        }
        for scan in study.scans
    ]
    readers = {reader: study.progress(reader) for reader in study.readers}
    if arguments.json:
        say_json(
            {
                "name": study.name,
                "phase": study.phase,
                "arm_count": study.arm_count,
                "scans": scans,
                "readers": {
                    name: {"ranked": done, "total": total} for name, (done, total) in readers.items()
                },
                "measurements": len(study.measurements),
                "log_head": str(study.head),
                **protocol_summary(study),
            }
        )
        return 0
    say_fields(
        {
            "study": study.name,
            "phase": study.phase,
            "movies per clip": study.arm_count,
            "protocol": study.protocol_sha256 + ("" if study.readers else " (not locked)"),
            "log head": str(study.head),
        }
    )
    say_amendments(study)
    say()
    say_table(
        ("scan", "clip", "subject", "plane", "sampling", "movies", ""),
        [
            (
                *list(scan.values())[:-2],
                "complete" if scan["complete"] else "missing",
                "practice" if scan["practice"] else "",
            )
            for scan in scans
        ],
    )
    if readers:
        say()
        say_table(
            ("reader", "ranked", "of"), [(name, done, total) for name, (done, total) in readers.items()]
        )
    say()
    say(f"{len(study.measurements)} of {len(study.clips)} clips measured.")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Verify the study."""
    from studies.log import Anchor

    study = open_study(arguments.folder)
    notes = study.verify(None if arguments.noted is None else Anchor.parse(arguments.noted))
    clips = (*study.clips, *study.practice_clips)
    parts = [
        f"{study.head.sequence} events",
        f"{sum(len(clip.movie_ids) for clip in clips)} movies",
        *(
            f"{len(merged.answers)} events merged from the package of {merged.reader}"
            for merged in study.merged_responses
        ),
    ]
    say(f"Sound: {', '.join(parts)}.")
    for note in notes:
        say(f"Note: {note}")
    say_amendments(study)
    return 0
