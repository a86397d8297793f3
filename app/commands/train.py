"""`blindcine train SAMPLING --data DATA --out DIR`: train a network on simulated scans, or go on with it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.failures import CommandError
from app.commands.reconstruct import add_device_option
from app.commands.terminal import complain, progress_bar, say, say_fields

if TYPE_CHECKING:
    from recon_backend.training.configuration import TrainingConfiguration
    from recon_backend.training.fit import TrainingStatus

SAMPLINGS = ("cartesian", "radial", "spiral")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
STATUS_INTERVAL_STEPS = 10

DESCRIPTION = """\
Train VarNet (cartesian), 3D UNet (radial) or FastDVDNet (spiral) on scans simulated from your data.

The same command again goes on where the run stopped. A run that was begun with other settings is
not touched: the field that differs is named. --resume needs a run in DIR, takes all settings that
are not stated from it, and lets those of optimiser and samples change (learning_rate, simulation, …).
A run that is killed loses two minutes at most.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a network, or go on with a run that was stopped",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sampling", choices=SAMPLINGS, help="decides the network: VarNet, 3D UNet or FastDVDNet"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="a folder of videos, of cine images (NIfTI, HDF5) or of fully sampled raw data (HDF5 /kspace, "
        "ISMRMRD), or an HDF5 file of cine images",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the run; gone on with if it is there",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in YAML, TOML or JSON, such as learning_rate"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in DIR, with its own settings (see above)"
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="train as published (Adam 1e-4, 1 - SSIM, whole matrices, simulation drawn once a clip)",
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
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="default: that of the run, or of FILE; auto, for new runs, takes bfloat16 where it is fast",
    )
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="after the warm-up")
    parser.add_argument("--seed", type=int, help="of weights and simulation (default: 1)")
    add_device_option(parser)
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
    if arguments.processes < 1:
        raise CommandError(f"--processes is {arguments.processes}, but 1 or more was expected.")
    if arguments.data is None and not arguments.resume:
        raise CommandError("Say what to train on: give --data, or --resume to go on with a run's own data.")
    if arguments.data is not None and not arguments.data.exists():
        raise CommandError(f"{arguments.data}: there is no such file or folder.")
    from recon_backend import device

    with device.use(arguments.device):
        return _train(arguments)


def _train(arguments: argparse.Namespace) -> int:
    configuration = configuration_of(arguments)
    from recon_backend.training.fit import PREVIEW_NAME, Trainer

    cache = arguments.cache or arguments.out / "cache"
    trainer = Trainer(configuration, arguments.out, cache, resume=arguments.resume)
    first, before = trainer.step, trainer.seconds
    with progress_bar(f"Training {arguments.sampling}") as progress:

        def show(status: TrainingStatus) -> None:
            if (status.step - first) % STATUS_INTERVAL_STEPS == 0:
                done = []
                if arguments.steps is not None:
                    done.append((status.step - first) / max(1, arguments.steps - first))
                if arguments.minutes is not None:
                    done.append((status.seconds - before) / (60 * arguments.minutes))
                quality = "" if status.validation_ssim is None else f", SSIM {status.validation_ssim:.4f}"
                progress(f"step {status.step}, loss {status.loss:.4f}{quality}", max(done))

        try:
            trainer.run(
                steps=arguments.steps,
                minutes=arguments.minutes,
                processes=arguments.processes,
                progress=show,
                reading=progress,
            )
        except RuntimeError as error:
            raise CommandError(str(error)) from error
    for sentence in trainer.skipped:
        complain(f"skipped: {sentence}")
    quality = "none yet" if trainer.validation_ssim is None else f"{trainer.validation_ssim:.4f}"
    say_fields(
        {
            "steps": trainer.step,
            "minutes in all": f"{trainer.seconds / 60:.1f}",
            "precision": configuration.precision,
            "validation SSIM": quality,
            "best so far": f"{trainer.best_ssim:.4f}",
            "preview": arguments.out / PREVIEW_NAME,
            "run": arguments.out,
        }
    )
    say("Start the same command again to go on.")
    say(f"To use the model: blindcine models register {arguments.out}")
    return 0


def configuration_of(arguments: argparse.Namespace) -> TrainingConfiguration:
    """The configuration that file and options ask for; what they leave open is the run's own, or a default.

    Raises:
        CommandError: the file is for another sampling.
        ReconstructionError: a setting is wrong, or there is no run to resume.
    """
    from recon_backend import device
    from recon_backend.training.configuration import (
        CONFIGURATION_NAME,
        make_configuration,
        read_run,
        read_settings,
    )

    stated: dict[str, Any] = read_settings(arguments.config) if arguments.config is not None else {}
    if stated.get("sampling", arguments.sampling) != arguments.sampling:
        raise CommandError(
            f"{arguments.config}: sampling is {stated['sampling']!r}, but the command says "
            f"{arguments.sampling}."
        )
    stated["sampling"] = arguments.sampling
    if arguments.published:
        stated["preset"] = "published"
    options = {
        "data": None if arguments.data is None else str(arguments.data.resolve()),
        "filters": arguments.filters,
        "cascades": arguments.cascades,
        "seed": arguments.seed,
        "learning_rate": arguments.learning_rate,
        "precision": arguments.precision,
    }
    stated |= {name: value for name, value in options.items() if value is not None}
    automatic = stated.get("precision", "auto") == "auto"
    if automatic:
        stated.pop("precision", None)
    if arguments.resume or (automatic and (arguments.out / CONFIGURATION_NAME).exists()):
        found = read_run(arguments.out)
        if arguments.resume:
            stated = {**dataclasses.asdict(found), **stated}
        stated.setdefault("precision", found.precision)
    elif automatic:
        stated["precision"] = _fast_precision(device.precision())
    return make_configuration(stated, where=str(arguments.config or "the command"))


def _fast_precision(found: str) -> str:
    """The device's own choice, as far as training knows it: float16 would need its losses scaled."""
    return found if found in PRECISIONS else "float32"
