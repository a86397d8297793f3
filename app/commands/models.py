"""`blindcine models list, show, curves, verify, register, import`: trained models, their checks, new ones."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.failures import CommandError
from app.commands.terminal import complain, say, say_fields, say_json, say_table

if TYPE_CHECKING:
    from recon_backend.models import Manifest, ShelfModel

_KINDS = ("natural", "cardiac")
_RULES = ("p99.9-time-average", "peak-time-average")
_SAMPLINGS = ("cartesian", "radial", "spiral")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("models", help="reconstruction methods and trained models")
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    step = steps.add_parser("list", help="print the methods and the models on the shelf")
    step.add_argument("--json", action="store_true", help="print JSON")
    step.set_defaults(run=run)
    step = steps.add_parser("show", help="print all that is known of a model")
    step.add_argument("name", metavar="NAME", help="a model's name, see `blindcine models list`")
    step.set_defaults(run=run_show)
    step = steps.add_parser("curves", help="draw the learning curves of the models on the shelf")
    step.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the picture")
    step.set_defaults(run=run_curves)
    step = steps.add_parser(
        "verify", help="compare every model's weights with its manifest, and run its golden input"
    )
    step.add_argument(
        "--checksums-only", action="store_true", help="do not run the networks: quick, and without TensorFlow"
    )
    step.set_defaults(run=run_verify)
    _register_registration(steps)
    _register_import(steps)


def _register_registration(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    step = steps.add_parser(
        "register", help="put a training run, or a .keras or .weights.h5 file of a known network, on a shelf"
    )
    step.add_argument(
        "path", type=Path, metavar="RUN|FILE", help="folder of a run, as given to train --out, or a file"
    )
    _add_shelf_options(step)
    step.add_argument(
        "--cache", type=Path, metavar="DIR", help="for a run: folder of decoded videos (default: RUN/cache)"
    )
    step.add_argument("--kind", choices=_KINDS, help="for a file: what it was trained on (needed)")
    step.add_argument(
        "--sampling",
        choices=_SAMPLINGS,
        help="for a file: its scans (default: those of the published network)",
    )
    step.add_argument(
        "--normalisation",
        choices=_RULES,
        help=f"for a file: what of the time-averaged image was 1 in training (default: {_RULES[0]})",
    )
    step.add_argument("--data", metavar="TEXT", help="for a file: names what it was trained on")
    step.add_argument("--licence", metavar="TEXT", help="for a file: the licence of these data")
    step.add_argument("--steps", type=int, metavar="N", help="for a file: optimiser steps")
    step.set_defaults(run=run_register)


def _register_import(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    step = steps.add_parser(
        "import",
        help="put the published VarNet, 3DUNet or FastDVDNet on a shelf (no TensorFlow graph is run)",
    )
    step.add_argument(
        "folder", type=Path, metavar="DIR", help="folder of the SavedModel, which holds `variables`"
    )
    _add_shelf_options(step)
    step.add_argument(
        "--kind", choices=_KINDS, help="what a network in this layout that is not the published one saw"
    )
    step.set_defaults(run=run_import)


def _add_shelf_options(step: argparse.ArgumentParser) -> None:
    step.add_argument(
        "--shelf",
        type=Path,
        metavar="DIR",
        help="folder of models (default: your own shelf, which BLINDCINE_MODELS can move)",
    )
    step.add_argument("--name", metavar="NAME", help="name of the model (default: made of what it is)")
    step.add_argument(
        "--replace", action="store_true", help="replace a model of that name with other weights"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one row a method and one a trained model."""
    from recon_backend.methods import TRAINING_KIND, available_methods
    from recon_backend.models import fitting, shelf

    infos = available_methods()
    models = shelf()
    used = {
        found[0].manifest.name
        for sampling in _SAMPLINGS
        for kind in _KINDS
        if (found := fitting(sampling, kind))
    }
    if arguments.json:
        say_json(
            [
                {
                    "name": info.name,
                    "label": info.label,
                    "sampling": list(info.samplings),
                    "model": info.model,
                    "models": [
                        _described(model, model.manifest.name in used)
                        for model in models
                        if model.manifest.training_kind == TRAINING_KIND.get(info.name)
                    ],
                }
                for info in infos
            ]
        )
        return 0
    say_table(
        ("method", "label", "sampling"),
        [(info.name, info.label, ", ".join(info.samplings) or "no model") for info in infos],
    )
    if models:
        say()
        say_table(
            ("  model", "scans", "data", "network", "steps", "hours", "SSIM", "SHA-256"),
            [_row(model, model.manifest.name in used) for model in models],
        )
        say()
        say(
            "* used by default; choose another with `reconstruct --model NAME`. SSIM is on each model's own\n"
            "held-out data; `blindcine models show NAME` tells more."
        )
    return 0


def _described(model: ShelfModel, is_used: bool) -> dict[str, Any]:
    return {
        **dataclasses.asdict(model.manifest),
        "default": is_used,
        "shelf": _shelf_of(model),
        "folder": str(model.folder),
    }


def _shelf_of(model: ShelfModel) -> str:
    return "own" if model.own else "shipped"


def _row(model: ShelfModel, is_used: bool) -> tuple[object, ...]:
    manifest = model.manifest
    hours = "?" if manifest.training_seconds is None else f"{manifest.training_seconds / 3600:.1f}"
    ssim = "?" if manifest.validation_ssim is None else f"{manifest.validation_ssim:.3f}"
    return (
        f"{'*' if is_used else ' '} {_shortened(manifest.name, 32)}",
        manifest.sampling,
        manifest.training_kind,
        manifest.network,
        "?" if manifest.steps is None else str(manifest.steps),
        hours,
        ssim,
        manifest.weights_sha256[:8],
    )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def run_show(arguments: argparse.Namespace) -> int:
    """Print the fields of one manifest in two columns."""
    from recon_backend.models import check_names, shelf

    check_names([arguments.name])
    model = next(model for model in shelf() if model.manifest.name == arguments.name)
    say_fields(_fields(model))
    return 0


def _fields(model: ShelfModel) -> dict[str, object]:
    manifest = model.manifest
    size = f"{manifest.parameters:,} parameters, filters {', '.join(map(str, manifest.filters))}"
    cascades = f", {manifest.cascades} cascades" if manifest.cascades else ""
    fields: dict[str, object] = {
        "model": manifest.name,
        "folder": f"{model.folder} ({_shelf_of(model)})",
        "origin": manifest.origin,
        "scans, data": f"{manifest.sampling}, {manifest.training_kind}",
        "network": f"{manifest.network}, {size}{cascades}",
        "normalisation": manifest.normalisation,
        "steps": "unknown" if manifest.steps is None else f"{manifest.steps:,}",
        "training": "unknown" if manifest.training_seconds is None else f"{manifest.training_seconds:,.0f} s",
        "hardware": manifest.hardware or "unknown",
        "code version": manifest.code_version or "unknown",
    }
    for number, source in enumerate(manifest.data):
        fields["trained on" if number == 0 else " " * (number + 1)] = _listed(source)
    fields["held-out"] = _listed(manifest.held_out) or "not measured"
    fields["SHA-256"] = manifest.weights_sha256
    fields["registered"] = manifest.registered or "unknown"
    fields["caution"] = manifest.caution
    return fields


def _listed(record: Mapping[str, Any]) -> str:
    return "; ".join(f"{key} {value}" for key, value in record.items())


def run_curves(arguments: argparse.Namespace) -> int:
    """Draw one panel a sampling, and say which models have no curve."""
    from app.commands.learning_curves import curves_of, draw_curves
    from recon_backend.models import shelf

    if arguments.out.suffix.lower() != ".png":
        raise CommandError(f"{arguments.out}: the picture is a PNG file; end its name in .png.")
    manifests = [model.manifest for model in shelf()]
    curves = curves_of(manifests)
    if not curves:
        raise CommandError("No model on the shelf has a learning curve; nothing was drawn.")
    draw_curves(curves, arguments.out)
    drawn = [manifest.name for group in curves.values() for manifest in group]
    for manifest in manifests:
        if manifest.name not in drawn:
            complain(f"{manifest.name} has no learning curve.")
    say(f"{arguments.out}: learning curves of {len(drawn)} models.")
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Print one row a model; an error names the first model that does not match."""
    from recon_backend.models import shelf

    models = shelf()
    if not models:
        raise CommandError("There is no model on the shelf; nothing was verified.")
    if arguments.checksums_only:
        for model in models:
            model.verify()
        answers: Sequence[str] = ["not run"] * len(models)
    else:
        answers = _answers(models)
    say_table(
        ("model", "network", "parameters", "SHA-256 of the weights", "golden input"),
        [
            (found.name, found.network, found.parameters, found.weights_sha256[:16], answer)
            for found, answer in zip((model.manifest for model in models), answers, strict=True)
        ],
    )
    say(f"{len(models)} models match their manifests.")
    return 0


def _answers(models: Sequence[ShelfModel]) -> list[str]:
    from recon_backend import device

    found = []
    with device.use("cpu"):
        for model in models:
            deviation = model.verify_answer()
            found.append("no record" if deviation is None else f"within {max(deviation, 1e-7):.0e}")
    return found


def run_register(arguments: argparse.Namespace) -> int:
    """Register a run or a file and say what was registered."""
    from recon_backend import device

    with device.use("cpu"):
        if arguments.path.is_dir():
            manifest = _registered_run(arguments)
        else:
            manifest = _registered_file(arguments)
    _say_registered(manifest, arguments.shelf)
    return 0


def _registered_run(arguments: argparse.Namespace) -> Manifest:
    for option in ("kind", "sampling", "normalisation", "data", "licence", "steps"):
        if getattr(arguments, option) is not None:
            raise CommandError(f"--{option} is for files; a training run says that itself.")
    from recon_backend.models import own_folder
    from recon_backend.training.export import export_run

    shelf = own_folder(arguments.shelf, arguments.name or "any").parent
    cache = arguments.cache or arguments.path / "cache"
    return export_run(arguments.path, shelf, cache, arguments.name)


def _registered_file(arguments: argparse.Namespace) -> Manifest:
    if arguments.kind is None:
        raise CommandError(f"{arguments.path.name}: say what it was trained on, --kind natural or cardiac.")
    from recon_backend.checkpoints.keras_file import register_file

    return register_file(
        arguments.path,
        arguments.shelf,
        kind=arguments.kind,
        sampling=arguments.sampling,
        normalisation=arguments.normalisation or _RULES[0],
        name=arguments.name,
        data=arguments.data or "unknown",
        licence=arguments.licence or "unknown",
        steps=arguments.steps,
        replace=arguments.replace,
    )


def run_import(arguments: argparse.Namespace) -> int:
    """Import a published network and say in one line what it is."""
    from recon_backend import device

    with device.use("cpu"):
        from recon_backend.checkpoints.published import import_published

        manifest = import_published(
            arguments.folder,
            arguments.shelf,
            name=arguments.name,
            kind=arguments.kind,
            replace=arguments.replace,
        )
    say(
        f"{manifest.name}: {manifest.origin}; {manifest.network}, {manifest.parameters:,} parameters, for "
        f"{manifest.sampling} scans; scaled by the rule {manifest.normalisation}."
    )
    _warn_if_elsewhere(arguments.shelf)
    return 0


def _say_registered(manifest: Manifest, shelf: Path | None) -> None:
    from recon_backend.models import own_folder

    say_fields(
        {
            "model": manifest.name,
            "folder": own_folder(shelf, manifest.name),
            "steps": "unknown" if manifest.steps is None else manifest.steps,
            "validation SSIM": "unknown" if manifest.validation_ssim is None else manifest.validation_ssim,
            "caution": manifest.caution,
        }
    )
    _warn_if_elsewhere(shelf)


def _warn_if_elsewhere(shelf: Path | None) -> None:
    """A model in a folder that nobody looks into is not used, which would puzzle its owner."""
    from recon_backend.models import SHELF_VARIABLE, shelf_folders

    if shelf is not None and shelf.resolve() not in [folder.resolve() for folder in shelf_folders()]:
        complain(f"The program looks into {shelf} only if {SHELF_VARIABLE} names this folder.")
