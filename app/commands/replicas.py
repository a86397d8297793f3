"""`blindcine replicas SCAN --method … --out DIR`: SNR by reconstructing again with added noise."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.failures import CommandError
from app.commands.reconstruct import add_device_option, add_reconstruction_options, reconstruction_options
from app.commands.terminal import complain, progress_bar, say, say_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROLES = ("signal", "background")
COLUMNS = ("file", "method", "region", "frame", "time_s", "snr_db", "low_db", "high_db")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "replicas", help="noise and SNR of a reconstruction, from replicas of the raw data with added noise"
    )
    parser.add_argument("scan", type=Path, metavar="SCAN", help="a raw-data file with a noise scan")
    parser.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="a method by name, or `all` (the default); can be given several times",
    )
    parser.add_argument("--count", type=int, metavar="N", help="replicas (default: 30)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for <scan>_<method>_replicas.h5"
    )
    parser.add_argument(
        "--roi",
        type=Path,
        metavar="FILE",
        help="regions to tell the SNR of: a drawing (JSON) or a mask (NRRD, NIfTI) that blindcine wrote",
    )
    parser.add_argument(
        "--noise-covariance",
        type=Path,
        metavar="NPY",
        help="covariance (coil, coil) of the noise, for raw data without a noise scan",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the SNR of every region and frame")
    add_device_option(parser)
    add_reconstruction_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, write one file a method, and print the SNR of the regions."""
    from recon_backend.pseudo_replica import DEFAULT_COUNT, ReplicaSettings, replicate_file

    settings = ReplicaSettings(
        DEFAULT_COUNT if arguments.count is None else arguments.count,
        arguments.seed,
        _covariance(arguments.noise_covariance),
    )
    regions = _regions(arguments.roi)
    files: list[Path] = []
    try:
        with progress_bar(arguments.scan.name) as progress:
            for done in replicate_file(
                arguments.scan,
                arguments.method or ["all"],
                arguments.out,
                settings,
                regions=regions,
                options=reconstruction_options(arguments),
                device=arguments.device,
                progress=lambda status: progress(status.phase, status.fraction, status.remaining_s),
            ):
                files.append(done.path)
    finally:
        for path in files:
            say(str(path))
    if regions:
        _say_regions(files)
    if arguments.csv is not None:
        _write_csv(arguments.csv, files)
        complain(f"Written: {arguments.csv}")
    return 0


def _covariance(path: Path | None) -> NDArray[np.complex128] | None:
    import numpy as np

    if path is None:
        return None
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.complex128)
    except (ValueError, TypeError, EOFError) as error:
        raise CommandError(f"{path.name}: this is no array of numbers (.npy): {error}.") from error


def _regions(path: Path | None) -> dict[str, NDArray[np.bool_]]:
    """Masks by role from a drawing or a mask file; what was not drawn is left out."""
    if path is None:
        return {}
    if path.suffix.lower() == ".json":
        from studies.roi_files import read_roi_file

        roi = read_roi_file(path)
        masks = {
            "signal": roi.shapes.masks("signal", roi.frames, roi.image_shape),
            "background": roi.shapes.masks("background", roi.frames, roi.image_shape),
        }
        if roi.shapes.stays:
            masks = {role: mask[0] for role, mask in masks.items()}
    else:
        from studies.mask_files import read_mask

        labels = read_mask(path)
        masks = {"signal": labels.signal, "background": labels.background}
        if len(labels.labels) == 1:
            masks = {role: mask[0] for role, mask in masks.items()}
    found = {role: mask for role, mask in masks.items() if mask.any()}
    if not found:
        raise CommandError(f"{path.name}: no region is drawn there; draw a signal region first.")
    return found


def _say_regions(files: Sequence[Path]) -> None:
    from studies.replica_files import TARGET_DB, read_replicas, replicas_needed

    rows: list[list[Any]] = []
    for path in files:
        replicas = read_replicas(path)
        for name, region in replicas.regions.items():
            snr, _, low, high = (float(value[0]) for value in region.over_time())
            needed = replicas_needed(replicas.count, (high - low) / 2)
            rows.append(
                [
                    replicas.method,
                    name,
                    int(region.mask.sum(axis=(1, 2)).max()),
                    round(snr, 2),
                    round(low, 2),
                    round(high, 2),
                    replicas.count,
                    "" if needed == replicas.count else needed,
                ]
            )
    header = ("method", "region", "pixels", "SNR dB", "from", "to", "replicas", f"for ±{TARGET_DB} dB")
    say_table(header, rows)


def _write_csv(path: Path, files: Sequence[Path]) -> None:
    from studies.replica_files import read_replicas
    from studies.storage import write_durably

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file in files:
        replicas = read_replicas(file)
        for name, region in replicas.regions.items():
            found = region.over_frames()
            for frame, time_s in enumerate(replicas.frame_times_s):
                numbers = [repr(float(part[frame])) for part in (found.snr_db, found.low_db, found.high_db)]
                writer.writerow([file.name, replicas.method, name, frame + 1, repr(float(time_s)), *numbers])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, text.getvalue().encode())
