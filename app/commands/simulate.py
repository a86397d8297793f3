"""`blindcine simulate --from VIDEO|CINE|PHANTOM --sampling … --out scan.h5`: a scan whose truth is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.terminal import say, say_fields
from app.commands.train import SAMPLINGS


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("simulate", help="simulate a scan whose truth is known")
    parser.add_argument(
        "--from",
        dest="origin",
        required=True,
        metavar="VIDEO|CINE|PHANTOM",
        help="a video; cine images (HDF5, NIfTI); fully sampled raw data (HDF5 /kspace, ISMRMRD); or the "
        "phantom heart or tongue (heart:3 is its subject 3)",
    )
    parser.add_argument("--sampling", choices=SAMPLINGS, required=True, help="as in the paper's scans")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="the raw data, ISMRMRD (such as scan.h5); the truth goes beside it (scan_truth.h5)",
    )
    parser.add_argument("--frames", type=int, default=40, help="length of the scan (default: 40)")
    parser.add_argument("--coils", type=int, help="default: drawn, 6 to 16 (published: 30; phantoms: 8)")
    parser.add_argument(
        "--snr", type=float, metavar="DB", help="default: drawn, 12 to 22 dB (phantoms: 36 dB of the peak)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--published", action="store_true", help="simulate as published")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the scan and its truth, and say where they are."""
    from recon_backend.simulation.scans import simulate_file

    files = simulate_file(
        arguments.origin,
        arguments.out,
        sampling=arguments.sampling,
        frames=arguments.frames,
        coils=arguments.coils,
        snr_db=arguments.snr,
        seed=arguments.seed,
        published=arguments.published,
    )
    say_fields({"raw data": files.raw, "truth": files.truth})
    say(f"Next: blindcine reconstruct {files.raw} --method all --out movies")
    return 0
