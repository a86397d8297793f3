"""`blindcine train SAMPLING --data DATA --out DIR`: train a network on simulated scans, or go on with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands.failures import CommandError
from app.commands.terminal import progress_bar, say, say_fields

if TYPE_CHECKING:
    from recon_backend.training.fit import TrainingStatus

SAMPLINGS = ("cartesian", "radial", "spiral")
PRECISIONS = ("float32", "mixed_bfloat16")
STATUS_INTERVAL_STEPS = 10


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("train", help="train a network, or go on with a run that was stopped")
    parser.add_argument(
        "sampling", choices=SAMPLINGS, help="decides the network: VarNet, 3D UNet or FastDVDNet"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder of videos, or an HDF5 file of cine images",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the run; it is resumed"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of decoded videos (default: OUT/cache)"
    )
    parser.add_argument("--steps", type=int, help="stop after so many steps in all")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of this call")
    parser.add_argument("--processes", type=int, default=1, help="simulator processes (default: 1)")
    parser.add_argument(
        "--filters", type=_numbers, metavar="N,N,N", help="other than the published filter counts"
    )
    parser.add_argument(
        "--cascades", type=int, help="other than the published number of cascades (cartesian)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="default: float32")
    parser.add_argument("--seed", type=int, default=1, help="of weights and simulation (default: 1)")
    parser.set_defaults(run=run)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a list of whole numbers such as 16,32,64"
        ) from None


def run(arguments: argparse.Namespace) -> int:
    """Train until the limit, or until Ctrl+C; the state is saved either way."""
    if arguments.steps is None and arguments.minutes is None:
        raise CommandError("Say when to stop: give --steps, --minutes or both.")
    if not arguments.data.exists():
        raise CommandError(f"{arguments.data}: there is no such file or folder.")
    from recon_backend.training.fit import Trainer, TrainingConfiguration

    configuration = TrainingConfiguration(
        sampling=arguments.sampling,
        data=str(arguments.data),
        filters=arguments.filters,
        cascades=arguments.cascades,
        precision=arguments.precision,
        seed=arguments.seed,
    )
    trainer = Trainer(configuration, arguments.out, arguments.cache or arguments.out / "cache")
    first, before = trainer.step, trainer.seconds
    with progress_bar(f"Training {arguments.sampling}") as progress:

        def show(status: TrainingStatus) -> None:
            if (status.step - first) % STATUS_INTERVAL_STEPS == 0:
                done = []
                if arguments.steps is not None:
                    done.append((status.step - first) / max(1, arguments.steps - first))
                if arguments.minutes is not None:
                    done.append((status.seconds - before) / (60 * arguments.minutes))
                progress(f"step {status.step}, loss {status.loss:.4f}", max(done))

        try:
            trainer.run(
                steps=arguments.steps, minutes=arguments.minutes, processes=arguments.processes, progress=show
            )
        except RuntimeError as error:
            raise CommandError(str(error)) from error
    quality = "none yet" if trainer.validation_ssim is None else f"{trainer.validation_ssim:.4f}"
    say_fields({"steps": trainer.step, "validation SSIM": quality, "run": arguments.out})
    say("Start the same command again to go on.")
    return 0
