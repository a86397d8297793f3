"""`blindcine study measure` and `study repeatability`: shapes applied to movies, two sets compared."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import __version__
from app.commands.failures import CommandError
from app.commands.terminal import progress_bar, say, say_json, say_table

if TYPE_CHECKING:
    from studies.drawings import Drawing
    from studies.repeatability import Repeatability
    from studies.roi_files import RoiFile
    from studies.shapes import Shapes
    from studies.state import MeasurementClip
    from studies.study import Study
    from studies.timed_shapes import TimedShapes

MEASURED = {
    "snr_db_mean": "SNR dB",
    "snr_db_sd": "SD",
    "edge_sharpness_per_mm_mean": "ES 1/mm",
    "edge_sharpness_per_mm_sd": "SD",
}
COMPANIONS = {
    "temporal_snr_db": "tSNR dB",
    "difference_snr_db_mean": "dSNR dB",
    "edge_rise_mm_mean": "10-90 % mm",
    "edge_width_mm_mean": "fit 10-90 % mm",
    "edge_sigma_mm_mean": "sigma mm",
    "edge_fit_residual_mean": "residual",
}
MASK_ENDINGS = ("nrrd", "nii.gz", "nii")


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `study measure`."""
    parser.add_argument("--observer", required=True, help="who drew the shapes")
    parser.add_argument(
        "--shapes",
        type=Path,
        required=True,
        metavar="JSON",
        help="one set of shapes, sets by clip id, or a drawing that --drawings wrote",
    )
    parser.add_argument("--clip", help="measure only this clip (default: all that the file has shapes for)")
    parser.add_argument(
        "--frames",
        type=_frames,
        metavar="FIRST-LAST",
        help="mean and SD over these frames, counted from 1; the study's window starts at the first of them",
    )
    parser.add_argument(
        "--width", type=int, metavar="PX", help="average so many parallel lines, 1 pixel apart"
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="move the signal region with the tissue under it, by whole pixels; refused where that is unsure",
    )
    parser.add_argument(
        "--drawn-in",
        type=int,
        metavar="FRAME",
        help="frame that the shapes were drawn in, for --follow (default: the first that is measured)",
    )
    parser.add_argument(
        "--search",
        type=int,
        metavar="PX",
        help="longest way that --follow looks for the tissue (default: 12)",
    )
    parser.add_argument(
        "--other-image", action="store_true", help="use a drawing on movies that it was not made on"
    )
    parser.add_argument(
        "--companions", action="store_true", help="print SNRs without air and the fitted edge too"
    )
    parser.add_argument("--masks", type=Path, metavar="DIR", help="write each clip's mask to this folder")
    parser.add_argument(
        "--mask-format", choices=MASK_ENDINGS, default=MASK_ENDINGS[0], help="of --masks (default: nrrd)"
    )
    parser.add_argument("--drawings", type=Path, metavar="DIR", help="write each clip's drawing as JSON")
    parser.add_argument(
        "--profiles", type=Path, metavar="DIR", help="write each movie's position-time image as PNG and CSV"
    )


def add_repeatability_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `study repeatability`."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--observers", metavar="A,B", help="compare the latest measurements of two observers")
    who.add_argument(
        "--observer", metavar="A", help="compare the first and the latest measurement of one observer"
    )
    parser.add_argument("--out", type=Path, metavar="CSV", help="write all numbers to this file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _frames(text: str) -> tuple[int, int]:
    first, separator, last = text.partition("-")
    try:
        numbers = int(first), int(last if separator else first)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a range of frames such as 11-40") from None
    if not 1 <= numbers[0] <= numbers[1]:
        raise argparse.ArgumentTypeError(f"'{text}' is not a range of frames from 1, such as 11-40")
    return numbers[0] - 1, numbers[1]


# --- measure


def measure(arguments: argparse.Namespace) -> int:
    """Measure clips with shapes from a file and print means and SDs by opaque movie id.

    All clips are measured before the first is saved: where one is refused, none is.
    """
    from studies.errors import StudyError
    from studies.study import Study

    study = Study.open(arguments.folder)
    drawings = read_drawings(arguments.shapes, study, arguments.clip, other_image=arguments.other_image)
    columns = {**MEASURED, **(COMPANIONS if arguments.companions else {})}
    measured: list[tuple[str, Drawing, Mapping[str, Any]]] = []
    with progress_bar("Measuring") as progress:
        for number, (clip_id, drawn) in enumerate(drawings.items(), start=1):
            clip = study.load_movies(clip_id)
            try:
                drawing = _adjusted(drawn, arguments, clip)
                values = measured_values(study, clip, drawing.shapes, drawing.frame_range)
            except StudyError as error:
                raise CommandError(f"Clip {clip_id}: {error} Nothing was saved.") from error
            _write_files(arguments, clip, drawing)
            measured.append((clip_id, drawing, values))
            progress(clip_id, number / len(drawings))
    rows: list[tuple[object, ...]] = []
    warnings: Counter[str] = Counter()
    for clip_id, drawing, found in measured:
        study.save_measurement(arguments.observer, clip_id, drawing.to_dict(), found)
        for movie_id, value in found.items():
            rows.append((clip_id, movie_id, *(value[column] for column in columns)))
            warnings.update(value["warnings"])
    say_table(("clip", "movie", *columns.values()), rows)
    for clip_id, drawing, _ in measured:
        if (motion := drawing.shapes.motions.get("signal")) is not None and motion.match:
            say(
                f"Clip {clip_id}: the signal region was followed over up to {motion.largest_px:.1f} pixels; "
                f"correlation at least {min(motion.match):.2f}, {min(motion.distinctness):.2f} above any "
                "other place."
            )
    for text, count in warnings.items():
        say(f"{count} of {len(rows)} movies: {text}")
    return 0


def measured_values(
    study: Study,
    clip: MeasurementClip,
    shapes: Shapes | TimedShapes,
    frame_range: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Measure one clip over the study's window and return its values by movie id.

    Args:
        study: says how long the window is.
        clip: the clip's movies.
        shapes: what was drawn.
        frame_range: (first, end) from 0 for means and SDs; None is the whole movie.

    Raises:
        StudyError: the shapes do not fit the movies.
    """
    from studies.measurement import measure as measure_movies
    from studies.measurement import measurement_values

    results = measure_movies(
        clip.movies,
        shapes,
        clip.pixel_spacing_mm,
        clip.frame_times_s,
        window_s=study.protocol.measurement_window_s,
        frame_range=frame_range,
    )
    return measurement_values(clip.movie_ids, results)


def measure_clip(study: Study, observer: str, clip_id: str, shapes: Shapes | TimedShapes) -> None:
    """Measure one clip and save the measurement.

    Raises:
        StudyError: the shapes do not fit the movies, or the study takes no measurements.
    """
    values = measured_values(study, study.load_movies(clip_id), shapes)
    study.save_measurement(observer, clip_id, shapes.to_dict(), values)


def _adjusted(drawing: Drawing, arguments: argparse.Namespace, clip: MeasurementClip) -> Drawing:
    """The drawing with what the command line changes: line width, frames, following."""
    from studies.timed_shapes import follow

    shapes = drawing.shapes
    frame_range = arguments.frames or drawing.frame_range
    if arguments.width is not None:
        shapes = replace(
            shapes,
            drawing=_with_width(shapes.drawing, arguments.width),
            edits=tuple(
                replace(edit, shapes=_with_width(edit.shapes, arguments.width)) for edit in shapes.edits
            ),
        )
    if arguments.follow:
        drawn_in = (frame_range or (0, 0))[0] if arguments.drawn_in is None else arguments.drawn_in - 1
        search = {} if arguments.search is None else {"search_px": arguments.search}
        shapes = follow(clip.movies, shapes, reference_frame=drawn_in, **search)
    return replace(drawing, shapes=shapes, frame_range=frame_range)


def _with_width(shapes: Shapes, width_px: int) -> Shapes:
    return shapes if shapes.line is None else replace(shapes, line=replace(shapes.line, width_px=width_px))


def _write_files(arguments: argparse.Namespace, clip: MeasurementClip, drawing: Drawing) -> None:
    """Masks, drawings and position-time images, under the clip's and movies' opaque ids."""
    from studies.mask_files import label_movie, write_mask
    from studies.roi_files import RoiFile, write_roi_file
    from studies.yt_files import write_clip_profiles

    rows, columns = clip.movies.shape[2:]
    for folder in (arguments.masks, arguments.drawings, arguments.profiles):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    if arguments.masks is not None:
        labels = label_movie(drawing.shapes, clip.frame_times_s, (rows, columns), clip.pixel_spacing_mm)
        write_mask(arguments.masks / f"{clip.clip_id}.{arguments.mask_format}", labels)
    if arguments.drawings is not None:
        roi = RoiFile.of(clip, drawing, author=arguments.observer, tool=f"blindcine {__version__}")
        write_roi_file(arguments.drawings / f"{clip.clip_id}.json", roi)
    line = drawing.shapes.drawing.line
    if arguments.profiles is not None and line is not None:
        write_clip_profiles(arguments.profiles, clip, line)


def read_drawings(
    path: Path, study: Study, clip_id: str | None = None, *, other_image: bool = False
) -> dict[str, Drawing]:
    """Read shapes by clip id from JSON: one set for all clips, sets by clip id, or a drawing of one clip.

    Args:
        path: the file.
        study: whose clips are measured.
        clip_id: only this clip; None takes all that the file has shapes for.
        other_image: use a drawing on other movies than its own (`clip_id` says on which).

    Raises:
        CommandError: the file is not JSON, or has nothing for the study or the clip.
        StudyError: a shape is not acceptable, or a drawing does not belong on the movies.
    """
    from studies.drawings import Drawing
    from studies.roi_files import SCHEMA, RoiFile

    clip_ids = [clip.clip_id for clip in study.clips]
    data = _json_object(path)
    if data.get("schema") == SCHEMA:
        return _drawing_of(path, RoiFile.from_dict(data), study, clip_id, other_image)
    if "schema" in data:
        found = dict.fromkeys(clip_ids, Drawing.from_dict(data))
    else:
        unknown = sorted(set(data) - set(clip_ids))
        if unknown:
            raise CommandError(
                f"{path}: the study has no clip '{unknown[0]}'; `blindcine study status` prints the ids."
            )
        found = {name: Drawing.from_dict(value) for name, value in data.items()}
    if clip_id is None:
        return found
    if clip_id not in found:
        raise CommandError(f"{path} has no shapes for the clip '{clip_id}'.")
    return {clip_id: found[clip_id]}


def _json_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{path} is not JSON ({error}).") from error
    if not isinstance(data, dict):
        raise CommandError(f"{path}: expected one object, of shapes or of sets of shapes by clip id.")
    return data


def _drawing_of(
    path: Path, roi: RoiFile, study: Study, clip_id: str | None, other_image: bool
) -> dict[str, Drawing]:
    """A drawing on the clip that was asked for, else on the one whose movies it was made on."""
    from studies.drawings import Drawing
    from studies.roi_files import movies_sha256

    drawing = Drawing(roi.shapes, roi.frame_range)
    for name in [clip.clip_id for clip in study.clips] if clip_id is None else [clip_id]:
        clip = study.load_movies(name)
        sha256 = movies_sha256(clip.movies)
        if clip_id is not None:
            rows, columns = clip.movies.shape[2:]
            roi.check((rows, columns), clip.pixel_spacing_mm, sha256, other_image=other_image)
        if clip_id is not None or sha256 == roi.movies_sha256:
            return {name: drawing}
    raise CommandError(f"{path}: the study has no movies that this drawing was made on; give --clip.")


# --- repeatability


def repeatability(arguments: argparse.Namespace) -> int:
    """Compare two sets of measurements and print how well they agree."""
    from studies.repeatability import compare_sets, latest_set, repeated_sets
    from studies.study import Study

    study = Study.open(arguments.folder)
    if arguments.observer is not None:
        names = (f"{arguments.observer}, first", f"{arguments.observer}, latest")
        first, second = repeated_sets(study, arguments.observer)
    else:
        observers = [name.strip() for name in arguments.observers.split(",")]
        if len(observers) != 2 or observers[0] == observers[1]:
            raise CommandError(f"'{arguments.observers}' is not two observers such as Ann,Bob.")
        names = (observers[0], observers[1])
        first, second = (latest_set(study, name) for name in names)
    shapes = {clip: study.load_movies(clip).movies.shape[1:] for clip in sorted(first.keys() & second.keys())}
    methods = study.method_of if study.phase == "unblinded" else None
    found = compare_sets(names, first, second, methods, shapes)
    rows = found.rows()
    if arguments.out is not None:
        _write_rows(arguments.out, rows)
    if arguments.json:
        say_json(
            {"first": names[0], "second": names[1], "clips": found.clips, "notes": found.notes, "rows": rows}
        )
    else:
        _say_repeatability(found)
    return 0


def _say_repeatability(found: Repeatability) -> None:
    say(f"{found.first} and {found.second}, {found.clips} clips in both. Differences are first - second.")
    rows = []
    for item in found.endpoints:
        difference = item.bland_altman
        rows.append(
            (
                item.endpoint,
                item.group,
                item.clips,
                _with_interval(item.agreement.value, item.agreement.interval),
                _with_interval(item.consistency.value, item.consistency.interval),
                _with_interval(difference.bias, difference.bias_interval),
                f"{difference.limits[0]:.3g} to {difference.limits[1]:.3g}",
                _with_interval(item.within.sd, item.within.interval),
                f"{item.within.repeatability:.3g}",
            )
        )
    header = ("", "of", "clips", "ICC(A,1)", "ICC(C,1)", "bias", "95 % limits", "within SD", "repeatability")
    say_table(header, rows)
    for region, values in found.overlap.items():
        known = [value for value in values if math.isfinite(value)]
        if known:
            say(f"Dice of the {region} masks: mean {sum(known) / len(known):.3f}, smallest {min(known):.3f}.")
    for note in found.notes:
        say(note)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from studies.storage import write_durably

    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.10g}" if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    )
    write_durably(path, text.getvalue().encode())
