"""From a training run to a model on the shelf: best weights, and a manifest that says what they are."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from recon_backend import device, models
from recon_backend.errors import ReconstructionError
from recon_backend.networks.architectures import PUBLISHED
from recon_backend.preparation import NORMALISATION_RULE
from recon_backend.training.configuration import (
    CONFIGURATION_NAME,
    SAMPLE_FIELDS,
    TrainingConfiguration,
    read_run,
)
from recon_backend.training.fit import BEST_NAME, LOG_NAME, STATE_NAME
from recon_backend.training.sources import open_source

PUBLISHED_STEPS = {"cartesian": 49_824, "radial": 98_091, "spiral": 82_002}
SHORT_RUN_STEPS = 10_000


def export_run(run: Path, shelf: Path, cache: Path, name: str | None = None) -> models.Manifest:
    """Put the best weights of a run on a shelf, in place of a model of the same name.

    Args:
        run: folder of the run.
        shelf: folder of models, such as `assets/models`.
        cache: folder of decoded videos (the source is opened to count its clips and licences).
        name: of the model; `<sampling>-<kind>` if None.

    Raises:
        ReconstructionError: the run has no validated weights yet.
    """
    best = run / BEST_NAME
    if not best.exists():
        raise ReconstructionError(f"{run}: no validated weights yet; train until the first validation.")
    configuration = read_run(run)
    record = json.loads((run / CONFIGURATION_NAME).read_text(encoding="utf-8"))
    sampling = configuration.sampling
    source = open_source(Path(configuration.data), cache, "train")
    architecture = configuration.architecture
    names = [weight.path for weight in architecture.build(random=False).weights]
    with np.load(best) as state:
        weights = [state[f"average{index:04d}"] for index in range(len(names))]
        step, ssim = int(state["step"]), round(float(state["ssim"]), 4)
    with np.load(run / STATE_NAME) as state:
        seconds = float(state["seconds"])
    noise = "with the noise of the data" if configuration.simulation.noisy_target else "free of noise"
    manifest = models.Manifest(
        name=name or f"{sampling}-{source.kind}",
        sampling=sampling,
        training_kind=source.kind,
        network=architecture.network,
        filters=list(architecture.filters),
        cascades=architecture.cascades,
        parameters=0,  # counted where it is written, as are checksum and golden record
        normalisation=record.get("inference_normalisation", NORMALISATION_RULE),
        weights_sha256="",
        data=source.record(),
        steps=step,
        training_seconds=round(seconds, 1),
        validation_ssim=ssim,
        caution=_caution(configuration, step, f"{len(source.names)} training {source.unit}"),
        hardware=record.get("hardware") or this_machine(),
        code_version=record["version"],
        held_out={"data": f"patches of clips or patients never trained on; target {noise}", "ssim": ssim},
        details={
            "precision": configuration.precision,
            "backend": record["backend"],
            "preset": configuration.preset,
            "optimizer": configuration.optimizer,
            "learning_rate": configuration.learning_rate,
            "absolute_error_weight": configuration.absolute_error_weight,
            "patch": dataclasses.asdict(configuration.patch_shape),
            "simulation": dataclasses.asdict(configuration.simulation),
            "changes": record.get("changes", []),
            models.LEARNING_CURVE: _learning_curve(run, record),
        },
    )
    return models.write_model(shelf / manifest.name, weights, names, manifest)


def _learning_curve(run: Path, record: dict[str, Any]) -> list[list[float]]:
    """[step, validation SSIM] of each validation since the validation samples are what they are."""
    others = [
        change["step"] for change in record.get("changes", []) if set(SAMPLE_FIELDS) & set(change["fields"])
    ]
    since = max(others, default=-1)
    curve: dict[int, float] = {}
    if not (run / LOG_NAME).exists():
        return []
    with (run / LOG_NAME).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if int(row["step"]) > since:
                curve[int(row["step"])] = round(float(row["validation_ssim"]), 4)
    return [[step, ssim] for step, ssim in sorted(curve.items())]


def _caution(configuration: TrainingConfiguration, step: int, data: str) -> str:
    published = PUBLISHED_STEPS[configuration.sampling]
    size = (
        "published size"
        if configuration.architecture == PUBLISHED[configuration.sampling]
        else "another size"
    )
    run = "Short training run" if step < SHORT_RUN_STEPS else "Training run"
    return (
        f"{run}: {step} steps ({100 * step / published:.1f} % of the published number, on patches), "
        f"network of {size}, {data}. Not for clinical use."
    )


def this_machine() -> str:
    """Processor and graphics cards, for the manifest."""
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}"
    return f"{machine}, {device.current().name}" if device.current().kind == "gpu" else machine
