"""The movies of an unblinded study as videos: one grid for each subject and plane, or every movie by itself.

Before unblinding there is nothing to get here: the methods are asked for first, and a blinded study refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from studies.clips import ClipMovie
from studies.errors import StudyError
from studies.export.grid import GridCell, GridSettings, export_grid
from studies.export.movies import MovieExport, export_movie
from studies.export.video import Progress
from studies.state import Scan
from studies.study import Study


def export_study_grids(
    study: Study,
    folder: Path,
    ending: Literal["mp4", "gif"] = "mp4",
    settings: GridSettings | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write `<subject>_<plane>.<ending>` for each subject and plane: samplings in rows, methods in columns.

    Args:
        study: unblinded.
        folder: made if it is not there.
        ending: format.
        settings: how grids are drawn; with labels by default.
        progress: called with (phase, fraction of the whole); may raise to stop.

    Raises:
        StudyError: the study is blinded, a movie is damaged, or a file cannot be written.
        ImportError: the package `av` is not installed.
    """
    settings = settings or GridSettings(labels=True)
    groups: dict[tuple[str, str], list[Scan]] = {}
    for scan in _scans(study):
        groups.setdefault((scan.subject, scan.plane), []).append(scan)
    written: list[Path] = []
    for number, ((subject, plane), scans) in enumerate(sorted(groups.items())):
        cells = []
        for scan in scans:
            rows = [other.sampling for other in scans]
            row = scan.sampling if rows.count(scan.sampling) == 1 else f"{scan.sampling} {scan.scan_id[:6]}"
            cells += [GridCell(row, method, movie) for _, method, movie in _movies(study, scan)]
        target = _unused(folder / f"{file_stem((subject, plane))}.{ending}", written)
        written.append(export_grid(cells, target, settings, _part(progress, number, len(groups))))
    return written


def export_study_movies(
    study: Study, folder: Path, how: MovieExport, progress: Progress | None = None
) -> dict[Path, str]:
    """Write every movie as `<subject>_<plane>_<sampling>_<method>`; in DICOM the subject is the pseudonym.

    Arguments and errors as `export_study_grids`.

    Returns:
        The movie's id for each file that was written.
    """
    written: dict[Path, str] = {}
    scans = _scans(study)
    count, done = len(scans) * len(study.arms), 0
    for scan in scans:
        for movie_id, method, movie in _movies(study, scan):
            name = f"{file_stem((scan.subject, scan.plane, scan.sampling, method))}.h5"
            named = replace(movie, name=_unused(folder / name, list(written)).name)
            own = replace(how, pseudonym=scan.subject.strip()) if how.kind == "dicom" else how
            for path in export_movie(named, folder, own, _part(progress, done, count)):
                written[path] = movie_id
            done += 1
    return written


def _scans(study: Study) -> list[Scan]:
    """The scans that were read, in the order of names; raises StudyError while the study is blinded."""
    if not study.method_of:
        raise StudyError("The study has no movies to export.")
    scans = [scan for scan in study.scans if scan.complete and not scan.practice]
    return sorted(scans, key=lambda scan: (scan.subject, scan.plane, scan.sampling, scan.scan_id))


def _movies(study: Study, scan: Scan) -> Iterator[tuple[str, str, ClipMovie]]:
    """Id, method and movie of each arm, on the study's grey scale."""
    clip = study.load_movies(scan.clip_id)
    for movie_id, frames in zip(clip.movie_ids, clip.movies, strict=True):
        method = study.method_of[movie_id]
        record = {"method": method, "sampling": scan.sampling, "raw_sha256": scan.raw_sha256 or scan.scan_id}
        movie = ClipMovie(frames, clip.pixel_spacing_mm, clip.frame_times_s, record, f"{movie_id}.h5")
        yield movie_id, method, movie


def file_stem(words: Iterable[str]) -> str:
    """Words as a file's name: letters and digits of any script and `-`, `_` for all else."""
    return "_".join(
        "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in word.strip()) or "_"
        for word in words
    )


def _unused(path: Path, taken: list[Path]) -> Path:
    """The path, numbered if a file of this export has its name: two subjects may differ by a slash only."""
    stems = {other.stem for other in taken}
    number, candidate = 2, path
    while candidate.stem in stems:
        candidate = path.with_stem(f"{path.stem}_{number}")
        number += 1
    return candidate


def _part(progress: Progress | None, number: int, count: int) -> Callable[[str, float], None]:
    def report(phase: str, fraction: float) -> None:
        if progress is not None:
            progress(phase, min(1.0, (number + fraction) / max(count, 1)))

    return report
