"""`blindcine serve`: a reconstruction server for scanners, over the ISMRMRD streaming protocol."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from app.commands.stream import add_stream_options, stream_settings
from app.commands.terminal import complain, say

if TYPE_CHECKING:
    from recon_backend.mrd.server import ServedScan

_LOCAL = ("127.", "::1", "localhost")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "serve",
        help="receive scans from a scanner as they are measured (MRD over TCP) and answer with images",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1, this computer only)",
    )
    parser.add_argument("--port", type=int, default=9002, metavar="N", help="port (default: 9002; 0: any)")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write each scan's raw data to this folder")
    parser.add_argument(
        "--pixels",
        choices=("float32", "uint16"),
        default="float32",
        help="pixel type of the images (float32)",
    )
    parser.add_argument(
        "--newest",
        action="store_true",
        help="pass over frames when the computer is late (default: an image for every frame, however late)",
    )
    add_stream_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted; one line for each scan."""
    from recon_backend.mrd.server import Server, ServerSettings

    settings = ServerSettings(
        stream=stream_settings(arguments, newest_wins=arguments.newest),
        save=arguments.save,
        pixels=arguments.pixels,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    server = Server(settings, arguments.host, arguments.port)
    host, port = server.address
    where = "this computer only" if host.startswith(_LOCAL) else "whoever can reach this address"
    # A service manager ends a program by SIGTERM: the scan under way is saved as when interrupted by hand. A
    # shell makes its background programs deaf to SIGINT: then whoever sends one all the same means it.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        say(f"Listening on {host} port {port} ({where}); Ctrl+C ends.")
        if not host.startswith(_LOCAL):
            complain("The protocol knows no passwords and no encryption: listen on a trusted network only.")
        for scan in server.serve():
            say(_line(scan))
    except KeyboardInterrupt:
        say("The server has ended.")
    finally:
        server.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _line(scan: ServedScan) -> str:
    parts = [f"{scan.peer}: {scan.readouts} readouts", f"{scan.images} images"]
    p95_s = scan.statistics["latency_s"]["p95"]
    if p95_s is not None:
        parts.append(f"latency p95 {1e3 * p95_s:.1f} ms, {scan.statistics['dropped']} frames dropped")
    if scan.raw is not None:
        parts.append(f"saved as {scan.raw}")
    return ", ".join(parts)
