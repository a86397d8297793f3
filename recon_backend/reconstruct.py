"""From an acquisition to movies: preparation once, then each method, timed step by step, with provenance.

 All methods of a scan share coil compression, sensitivities and scale, so that nothing but the method differs
between arms.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend import __version__, device, inference, methods, models
from recon_backend.acquisition import Acquisition
from recon_backend.coils import VIRTUAL_COILS, root_sum_of_squares
from recon_backend.errors import ReconstructionError
from recon_backend.movie import Movie
from recon_backend.preparation import NORMALISATION_RULE, Prepared, prepare

ProgressCallback = Callable[[str, float], None]

# Shares of the progress bar: what the phases take, roughly, beside each other.
_PREPARATION_SHARE = 0.1
_COST = {methods.GRIDDED: 1.0, methods.COMPRESSED_SENSING: 10.0, methods.NATURAL: 8.0, methods.CARDIAC: 8.0}
_RUNNERS = {
    "varnet": inference.run_varnet,
    "unet3d": inference.run_unet3d,
    "fastdvdnet": inference.run_fastdvdnet,
}


def reconstruct(
    acquisition: Acquisition, method: str, *, progress: ProgressCallback | None = None, device: str = "auto"
) -> Movie:
    """Reconstruct one scan by one method.

    Args:
        acquisition: the scan.
        method: a name of `recon_backend.methods`.
        progress: called with (phase, fraction of the whole); may raise `Cancelled`.
        device: "auto", "cpu" or "gpu".

    Returns:
        The movie, with provenance. FastDVDNet's movie starts at the fifth frame.

    Raises:
        ReconstructionError: the method is unknown, has no model for this sampling, or the scan cannot be
            reconstructed.
    """
    return next(reconstruct_all(acquisition, [method], progress=progress, device=device))[1]


def reconstruct_all(
    acquisition: Acquisition,
    names: Sequence[str],
    *,
    progress: ProgressCallback | None = None,
    device: str = "auto",
) -> Iterator[tuple[str, Movie]]:
    """Reconstruct one scan by several methods, yielding each movie as it is ready.

    Arguments and errors as in `reconstruct`; all names and models are checked before work begins.
    """
    for name in names:
        methods.check_method(name)
    shelf = {
        name: models.find(acquisition.sampling, methods.TRAINING_KIND[name])
        for name in names
        if name in methods.TRAINING_KIND
    }
    _check_length(acquisition, shelf)
    report = progress or (lambda _phase, _fraction: None)
    return _reconstruct_all(acquisition, list(names), shelf, report, device)


def _check_length(acquisition: Acquisition, shelf: dict[str, models.ShelfModel]) -> None:
    causal = any(model.manifest.network == "fastdvdnet" for model in shelf.values())
    if causal and acquisition.frames < inference.WINDOW_FRAMES:
        raise ReconstructionError(
            f"{acquisition.name}: the spiral network needs at least {inference.WINDOW_FRAMES} frames, "
            f"but the scan has {acquisition.frames}."
        )


def _reconstruct_all(
    acquisition: Acquisition,
    names: list[str],
    shelf: dict[str, models.ShelfModel],
    report: ProgressCallback,
    request: str,
) -> Iterator[tuple[str, Movie]]:
    started = time.perf_counter()
    prepared = prepare(
        acquisition, progress=lambda part: report("Preparing coils", part * _PREPARATION_SHARE)
    )
    preparation_s = time.perf_counter() - started
    total = sum(_COST[name] for name in names)
    done = 0.0
    for name in names:
        low = _PREPARATION_SHARE + (1 - _PREPARATION_SHARE) * done / total
        span = (1 - _PREPARATION_SHARE) * _COST[name] / total

        def part(fraction: float, name: str = name, low: float = low, span: float = span) -> None:
            report(methods.LABELS[name], low + span * min(1.0, fraction))

        part(0.0)
        movie = _one(prepared, name, shelf.get(name), part, request, preparation_s)
        done += _COST[name]
        part(1.0)
        yield name, movie


def _one(
    prepared: Prepared,
    name: str,
    model: models.ShelfModel | None,
    report: Callable[[float], None],
    request: str,
    preparation_s: float,
) -> Movie:
    started = time.perf_counter()
    seconds = {"preparation": preparation_s}
    parameters: dict[str, Any]
    if name == methods.GRIDDED:
        frames, parameters, used = _gridded(prepared, report), {}, "cpu (finufft)"
    else:
        with device.use(request) as chosen:
            used = chosen.name
            if model is None:
                frames, parameters = _compressed_sensing(prepared, report)
            else:
                network = model.load()
                seconds["model_loading"] = time.perf_counter() - started
                frames, parameters = _RUNNERS[model.manifest.network](network, prepared, report), {}
    seconds["reconstruction"] = time.perf_counter() - started - seconds.get("model_loading", 0.0)
    acquisition = prepared.acquisition
    skipped = acquisition.frames - len(frames)
    return Movie(
        frames=frames.astype(np.float32),
        pixel_spacing_mm=acquisition.pixel_spacing_mm,
        frame_times_s=acquisition.frame_times_s[skipped:],
        provenance={
            "method": name,
            "raw_sha256": acquisition.source_sha256,
            "raw_name": acquisition.name,
            "sampling": acquisition.sampling,
            "parameters": parameters
            | {"virtual_coils": min(VIRTUAL_COILS, acquisition.coils), "normalisation": NORMALISATION_RULE}
            | {"scale": prepared.scale, "whitened": acquisition.whitened},
            "model": _model_record(model),
            "notes": list(acquisition.notes),
            "device": used,
            "seconds": {step: round(value, 4) for step, value in seconds.items()},
            "software": _software(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def _model_record(model: models.ShelfModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    manifest = model.manifest
    return {
        "name": manifest.name,
        "weights_sha256": manifest.weights_sha256,
        "normalisation": manifest.normalisation,
        "caution": manifest.caution,
    }


def _software() -> dict[str, str]:
    versions = {"blindcine": __version__}
    for package in ("numpy", "finufft", "keras", "tensorflow", "tensorflow-cpu", "jax"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _gridded(prepared: Prepared, report: Callable[[float], None]) -> npt.NDArray[np.float32]:
    blocks = []
    for start in range(0, prepared.frames, inference.BLOCK_FRAMES):
        stop = min(start + inference.BLOCK_FRAMES, prepared.frames)
        blocks.append(root_sum_of_squares(prepared.zero_filled(start, stop)))
        report(stop / prepared.frames)
    return np.concatenate(blocks)


def _compressed_sensing(
    prepared: Prepared, report: Callable[[float], None]
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    from recon_backend.compressed_sensing import (
        CompressedSensingSettings,
        compressed_sensing,
    )

    settings = CompressedSensingSettings()
    result = compressed_sensing(prepared, settings, report)
    return np.abs(result.images), settings.to_dict() | {
        "objective_first": result.objectives[0],
        "objective_last": result.objectives[-1],
        "largest_eigenvalue": result.eigenvalue,
        "normal_operator": result.operator,
    }
