"""`blindcine models list, verify, register`: the trained models, their checks, and new ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.terminal import say, say_fields, say_json, say_table


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("models", help="reconstruction methods and trained models")
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    step = steps.add_parser("list", help="print the methods, their samplings and models")
    step.add_argument("--json", action="store_true", help="print JSON")
    step.set_defaults(run=run)
    step = steps.add_parser("verify", help="compare every model's weights with its manifest")
    step.set_defaults(run=run_verify)
    step = steps.add_parser("register", help="put the best weights of a training run on a shelf")
    step.add_argument("folder", type=Path, metavar="RUN", help="folder of the run, as given to train --out")
    step.add_argument(
        "--shelf",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of models; set BLINDCINE_MODELS to it to use them before the shipped ones",
    )
    step.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of decoded videos (default: RUN/cache)"
    )
    step.set_defaults(run=run_register)


def run(arguments: argparse.Namespace) -> int:
    """Print one row a method and one a trained model."""
    from recon_backend.methods import available_methods

    infos = available_methods()
    if arguments.json:
        say_json(
            [
                {
                    "name": info.name,
                    "label": info.label,
                    "sampling": list(info.samplings),
                    "model": info.model,
                }
                for info in infos
            ]
        )
    else:
        say_table(
            ("method", "label", "sampling"),
            [(info.name, info.label, ", ".join(info.samplings) or "no model") for info in infos],
        )
        rows = [
            (model["name"], info.name, sampling, model["steps"], model["validation_ssim"], model["caution"])
            for info in infos
            for sampling, model in sorted(info.model.items())
        ]
        if rows:
            say()
            say_table(("model", "method", "sampling", "steps", "validation SSIM", "caution"), rows)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - the signature of every command
    """Print one row a model; an error names the first model that does not match."""
    from recon_backend.models import shelf

    models = shelf()
    for model in models:
        model.verify()
    say_table(
        ("model", "network", "parameters", "SHA-256 of the weights"),
        [
            (found.name, found.network, found.parameters, found.weights_sha256[:16])
            for found in (model.manifest for model in models)
        ],
    )
    say(f"{len(models)} models match their manifests.")
    return 0


def run_register(arguments: argparse.Namespace) -> int:
    """Export a run and say what was registered."""
    from recon_backend import device
    from recon_backend.training.export import export_run

    with device.use("cpu"):
        manifest = export_run(
            arguments.folder, arguments.shelf, arguments.cache or arguments.folder / "cache"
        )
    say_fields(
        {
            "model": manifest.name,
            "folder": arguments.shelf / manifest.name,
            "steps": manifest.steps,
            "validation SSIM": manifest.validation_ssim,
            "caution": manifest.caution,
        }
    )
    return 0
