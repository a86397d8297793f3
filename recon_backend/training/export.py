"""From a training run to a model on the shelf: best weights, and a manifest that says what they are."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from pathlib import Path

import numpy as np

from recon_backend import models
from recon_backend.errors import ReconstructionError
from recon_backend.networks.architectures import PUBLISHED, architecture_for
from recon_backend.preparation import NORMALISATION_RULE
from recon_backend.simulation.videos import SimulationRanges
from recon_backend.training.fit import BEST_NAME, CONFIGURATION_NAME, STATE_NAME
from recon_backend.training.samples import PATCHES
from recon_backend.training.sources import open_source

PUBLISHED_STEPS = {"cartesian": 49_824, "radial": 98_091, "spiral": 82_002}


def export_run(run: Path, shelf: Path, cache: Path) -> models.Manifest:
    """Put the best weights of a run on a shelf as `<sampling>-<kind>`.

    Args:
        run: folder of the run.
        shelf: folder of models, such as `assets/models`.
        cache: folder of decoded videos (the source is opened to count its clips and licences).

    Raises:
        ReconstructionError: the run has no validated weights yet.
    """
    best = run / BEST_NAME
    if not best.exists():
        raise ReconstructionError(f"{run}: no validated weights yet; train until the first validation.")
    record = json.loads((run / CONFIGURATION_NAME).read_text(encoding="utf-8"))
    sampling, data = record["sampling"], Path(record["data"])
    source = open_source(data, cache, "train")
    architecture = architecture_for(sampling, record["filters"], record["cascades"])
    network = architecture.build()
    with np.load(best) as state:
        weights = [state[f"average{index:04d}"] for index in range(len(network.weights))]
        step, ssim = int(state["step"]), float(state["ssim"])
    with np.load(run / STATE_NAME) as state:
        seconds = float(state["seconds"])
    share = step / PUBLISHED_STEPS[sampling]
    size = "published size" if architecture == PUBLISHED[sampling] else "smaller than published"
    manifest = models.Manifest(
        name=f"{sampling}-{source.kind}",
        sampling=sampling,
        training_kind=source.kind,
        network=architecture.network,
        filters=list(architecture.filters),
        cascades=architecture.cascades,
        parameters=int(network.count_params()),
        normalisation=NORMALISATION_RULE,
        weights_sha256="",
        data=source.record(),
        steps=step,
        training_seconds=round(seconds, 1),
        validation_ssim=round(ssim, 4),
        caution=(
            f"Short training run: {step} steps ({100 * share:.1f} % of the published number, on patches), "
            f"network of {size}, "
            f"{len(source.names)} training {source.unit}. Not for clinical use."
        ),
        details={
            "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
            "precision": record["precision"],
            "backend": record["backend"],
            "version": record["version"],
            "learning_rate": record["learning_rate"],
            "absolute_error_weight": record["absolute_error_weight"],
            "patch": dataclasses.asdict(PATCHES[sampling]),
            "simulation": dataclasses.asdict(SimulationRanges()),
            "validation": "patches of clips or patients never trained on; target free of noise",
            "weights_storage": "float16",
        },
    )
    models.write_model(shelf / manifest.name, weights, [weight.path for weight in network.weights], manifest)
    return models.Manifest.read(shelf / manifest.name / models.MANIFEST_NAME)
