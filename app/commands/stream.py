"""`blindcine stream FILE`: replay raw data at the scanner's pace and reconstruct frame by frame."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.reconstruct import add_device_option
from app.commands.terminal import complain, say, say_fields

if TYPE_CHECKING:
    from recon_backend.acquisition import Acquisition
    from recon_backend.streaming import LatencyStatistics, StreamedFrame, StreamSettings

PACES = ("real", "fast")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("stream", help="reconstruct a scan frame by frame, as if it were running")
    parser.add_argument("file", type=Path, metavar="FILE", help="a raw-data file")
    parser.add_argument(
        "--pace",
        choices=PACES,
        default="real",
        help="real: at the scanner's pace, passing over frames when the computer is late; "
        "fast: every frame, one after another (default: real)",
    )
    add_stream_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the images as <file>_<method>_stream.h5"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write latencies and counts as JSON")
    parser.set_defaults(run=run)


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add what `stream` and `serve` have in common: method, window, calibration, device."""
    parser.add_argument(
        "--method", default="gridded", metavar="NAME", help="gridded (default), dl_natural or dl_cardiac"
    )
    parser.add_argument(
        "--window", type=int, metavar="N", help="frames of gridding's sliding window (default: by sampling)"
    )
    parser.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="first frames that are held back to calibrate coils and scale (default: by sampling)",
    )
    parser.add_argument(
        "--late",
        type=int,
        default=2,
        metavar="N",
        help="frames that may wait before some are passed over (2)",
    )
    add_device_option(parser)


def stream_settings(arguments: argparse.Namespace, *, newest_wins: bool) -> StreamSettings:
    """The settings that the options of `add_stream_options` ask for.

    Raises:
        ReconstructionError: one of them is out of range.
    """
    from recon_backend.streaming import StreamSettings

    return StreamSettings(
        method=arguments.method,
        window=arguments.window,
        calibration_frames=arguments.calibration,
        newest_wins=newest_wins,
        late_frames=arguments.late,
        device=arguments.device,
    )


def run(arguments: argparse.Namespace) -> int:
    """Stream the file, then say how long the images took."""
    from recon_backend.formats import open_acquisition
    from recon_backend.streaming import LatencyStatistics, ReplayedScan, describe_latency, stream

    settings = stream_settings(arguments, newest_wins=arguments.pace == "real")
    acquisition = open_acquisition(arguments.file)
    complain(describe_latency(settings, acquisition.sampling))
    statistics = LatencyStatistics()
    frames: list[StreamedFrame] = []
    records: list[dict[str, Any]] = []
    for frame in stream(ReplayedScan(acquisition, arguments.pace), settings):
        statistics.add(frame)
        records.append(
            {"index": frame.index, "time_s": frame.time_s, "latency_s": frame.latency_s, "held": frame.held}
        )
        if arguments.out is not None:
            frames.append(frame)
    summary = statistics.summary() | {"frames": acquisition.frames, "frame_time_s": acquisition.frame_time_s}
    say_fields(_readable(summary))
    if frames:
        say(str(_save(frames, acquisition, settings, statistics, arguments.out)))
    if arguments.json is not None:
        from recon_backend.storage import write_durably

        report = {"file": str(arguments.file), "method": settings.method, "pace": arguments.pace}
        text = json.dumps(report | summary | {"images": records}, indent=1, allow_nan=False)
        write_durably(arguments.json, text.encode() + b"\n")
        say(str(arguments.json))
    return 0


def _readable(summary: dict[str, Any]) -> dict[str, str]:
    held = f" ({summary['held']} of them held back at first)" if summary["held"] else ""
    fields = {
        "images": f"{summary['shown']} of {summary['frames']} frames{held}",
        "first image": f"of frame {summary['first']}",
        "dropped": f"{summary['dropped']} frames after it",
    }
    latency = {name: value for name, value in summary["latency_s"].items() if value is not None}
    for name, value in latency.items():
        fields[f"latency {name}"] = f"{1e3 * value:.1f} ms"
    if summary["frame_time_s"]:
        fields["frame time"] = f"{1e3 * summary['frame_time_s']:.1f} ms"
    if not latency:
        fields["latency"] = "unknown: the scan ended before the calibration"
    return fields


def _save(
    frames: list[StreamedFrame],
    acquisition: Acquisition,
    settings: StreamSettings,
    statistics: LatencyStatistics,
    folder: Path,
) -> Path:
    """Write the images as a movie."""
    from dataclasses import asdict

    import numpy as np

    from recon_backend.movie import Movie

    movie = Movie(
        frames=np.stack([frame.image for frame in frames]),
        pixel_spacing_mm=acquisition.pixel_spacing_mm,
        frame_times_s=np.array([frame.time_s for frame in frames]),
        provenance={
            "method": settings.method,
            "raw_sha256": acquisition.source_sha256,
            "raw_name": acquisition.name,
            "sampling": acquisition.sampling,
            "parameters": asdict(settings),
            "stream": statistics.summary(),
            "notes": list(acquisition.notes),
        },
    )
    return movie.save(folder / f"{acquisition.name}_{settings.method}_stream.h5")
