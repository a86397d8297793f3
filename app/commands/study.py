"""`blindcine study …`: a reader study from its first scan to its statistics, without a window."""

from __future__ import annotations

import argparse
import csv
import getpass
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.failures import CommandError
from app.commands.reconstruct import add_device_option
from app.commands.terminal import progress_bar, read_passphrase, say, say_fields, say_json, say_table

if TYPE_CHECKING:
    from studies.shapes import Shapes
    from studies.study import Study

SubParsers = argparse._SubParsersAction
Command = Callable[[argparse.Namespace], int]


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    """Declare the command and the steps below it."""
    parser = subparsers.add_parser("study", help="make, read, measure and evaluate a blinded study")
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)

    step = _step(steps, "create", create, "make a study in a new folder")
    step.add_argument("--name", required=True, help="the study's name; readers see it")
    step.add_argument(
        "--arms", type=_names, metavar="A,B,C", help="methods to compare (default: the paper's three)"
    )
    step.add_argument("--seed", type=int, help="seed of the readers' schedules (default: drawn at random)")

    step = _step(steps, "import", import_scans, "add raw-data files")
    step.add_argument("files", nargs="*", type=Path, metavar="FILE", help="raw data of one subject and plane")
    step.add_argument("--subject", help="pseudonym of the person")
    step.add_argument("--plane", help="for example SAX, 4CH or speech")
    step.add_argument("--label", help="your own words for the scan")
    step.add_argument(
        "--table", type=Path, metavar="CSV", help="columns file, subject, plane and (optional) label"
    )

    step = _step(steps, "reconstruct", reconstruct_scans, "reconstruct all scans that have no movies yet")
    add_device_option(step)

    step = _step(steps, "attach", attach, "give a scan movies that were made elsewhere")
    step.add_argument("scan", help="the scan's id, as `status` prints it")
    step.add_argument("movies", nargs="+", metavar="METHOD=FILE", help="one movie for each arm")

    step = _step(steps, "lock", lock, "freeze the design, seal the key and write the schedules")
    step.add_argument("--readers", type=_names, required=True, metavar="NAME,NAME", help="who will read")
    _passphrase_option(step)

    step = _step(steps, "read", read, "open the window on the page Read")

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

    step = _step(steps, "measure", measure, "apply shapes to the movies and save SNR and edge sharpness")
    step.add_argument("--observer", required=True, help="who drew the shapes")
    step.add_argument(
        "--shapes", type=Path, required=True, metavar="JSON", help="one set of shapes, or sets by clip id"
    )
    step.add_argument("--clip", help="measure only this clip (default: all that the file has shapes for)")

    step = _step(steps, "unblind", unblind, "open the sealed key; reading and measuring end")
    step.add_argument("--actor", default=None, help="who unblinds (default: your login name)")
    step.add_argument("--force", action="store_true", help="also while rankings are missing")
    _passphrase_option(step)

    step = _step(steps, "export", export, "write tables, statistics and the report of an unblinded study")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")

    step = _step(steps, "status", status, "print scans, readers and progress")
    step.add_argument("--json", action="store_true", help="print JSON")

    step = _step(steps, "verify", verify, "check the event log's chain, the movies and the sealed key")
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
    from studies.study import PAPER_ARMS, Study

    study = Study.create(
        arguments.folder, name=arguments.name, arms=arguments.arms or PAPER_ARMS, seed=arguments.seed
    )
    say(f"Made the study '{study.name}' in {study.folder} with the arms {', '.join(study.arms)}.")
    return 0


def import_scans(arguments: argparse.Namespace) -> int:
    """Read each file, so that only readable scans get in, and print the new scans' ids."""
    rows = scan_rows(arguments)
    study = open_study(arguments.folder)
    for row in rows:
        scan_id = import_scan(
            study, Path(row["file"]), row["subject"], row["plane"], row.get("label") or None
        )
        say(f"{scan_id}  {row['file']}")
    return 0


def scan_rows(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Return file, subject, plane and label of what is to be imported.

    Raises:
        CommandError: something of that is missing.
    """
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
    common = {"subject": arguments.subject, "plane": arguments.plane, "label": arguments.label or ""}
    return [{"file": str(path), **common} for path in arguments.files]


def import_scan(study: Study, path: Path, subject: str, plane: str, label: str | None = None) -> str:
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
    say(
        f"Locked: {len(study.clips)} clips for {', '.join(study.readers)}. "
        "Keep the passphrase: without it the study cannot be unblinded."
    )
    return 0


# --- reading and measuring


def read(arguments: argparse.Namespace) -> int:
    """Open the window on the study's page Read."""
    from app.commands.window import open_window

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


def measure(arguments: argparse.Namespace) -> int:
    """Measure clips with shapes from a file and print means and SDs by opaque movie id."""
    study = open_study(arguments.folder)
    sets = shape_sets(arguments.shapes, [clip.clip_id for clip in study.clips])
    if arguments.clip is not None:
        if arguments.clip not in sets:
            raise CommandError(f"{arguments.shapes} has no shapes for the clip '{arguments.clip}'.")
        sets = {arguments.clip: sets[arguments.clip]}
    rows: list[tuple[object, ...]] = []
    with progress_bar("Measuring") as progress:
        for number, (clip_id, shapes) in enumerate(sets.items(), start=1):
            values = measure_clip(study, arguments.observer, clip_id, shapes)
            for movie_id, value in values.items():
                columns = (
                    "snr_db_mean",
                    "snr_db_sd",
                    "edge_sharpness_per_mm_mean",
                    "edge_sharpness_per_mm_sd",
                )
                rows.append((clip_id, movie_id, *(value[column] for column in columns)))
            progress(clip_id, number / len(sets))
    say_table(("clip", "movie", "SNR dB", "SD", "ES 1/mm", "SD"), rows)
    return 0


def measure_clip(study: Study, observer: str, clip_id: str, shapes: Shapes) -> Mapping[str, Any]:
    """Measure one clip, save the measurement, and return its values by movie id. Raises StudyError."""
    from studies.measurement import measure as measure_movies
    from studies.measurement import measurement_values

    clip = study.load_movies(clip_id)
    results = measure_movies(
        clip.movies,
        shapes,
        clip.pixel_spacing_mm,
        clip.frame_times_s,
        window_s=study.protocol.measurement_window_s,
    )
    values = measurement_values(clip.movie_ids, results)
    study.save_measurement(observer, clip_id, shapes.to_dict(), values)
    return values


def shape_sets(path: Path, clip_ids: Sequence[str]) -> dict[str, Shapes]:
    """Read shapes from JSON: one set for all clips, or an object that gives sets by clip id.

    Raises:
        CommandError: the file is not JSON, or names a clip that the study does not have.
        StudyError: a shape is not acceptable.
    """
    from studies.shapes import Shapes

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{path} is not JSON ({error}).") from error
    if not isinstance(data, dict):
        raise CommandError(f"{path}: expected one object, of shapes or of sets of shapes by clip id.")
    if "schema" in data:
        shapes = Shapes.from_dict(data)
        return dict.fromkeys(clip_ids, shapes)
    unknown = sorted(set(data) - set(clip_ids))
    if unknown:
        raise CommandError(
            f"{path}: the study has no clip '{unknown[0]}'; `blindcine study status` prints the ids."
        )
    return {clip_id: Shapes.from_dict(value) for clip_id, value in data.items()}


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

    for path in export_study(open_study(arguments.folder), arguments.out).paths:
        say(str(path))
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
            }
        )
        return 0
    say_fields(
        {
            "study": study.name,
            "phase": study.phase,
            "movies per clip": study.arm_count,
            "log head": str(study.head),
        }
    )
    say()
    say_table(
        ("scan", "clip", "subject", "plane", "sampling", "movies"),
        [(*list(scan.values())[:-1], "complete" if scan["complete"] else "missing") for scan in scans],
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
    study.verify(None if arguments.noted is None else Anchor.parse(arguments.noted))
    say(f"Sound: {len(study.events)} events, {sum(len(clip.movie_ids) for clip in study.clips)} movies.")
    return 0
