"""The reconstructions by name: what `--method` accepts and the worker lists.

Listing needs no framework; computing is in `recon_backend.reconstruct`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from recon_backend import models
from recon_backend.errors import ReconstructionError

GRIDDED = "gridded"
COMPRESSED_SENSING = "compressed_sensing"
NATURAL = "dl_natural"
CARDIAC = "dl_cardiac"
ALL_METHODS = (GRIDDED, COMPRESSED_SENSING, NATURAL, CARDIAC)
STUDY_ARMS = (COMPRESSED_SENSING, NATURAL, CARDIAC)
TRAINING_KIND = {NATURAL: "natural", CARDIAC: "cardiac"}
LABELS = {
    GRIDDED: "Gridding (zero-filled)",
    COMPRESSED_SENSING: "Compressed sensing",
    NATURAL: "Network, natural videos",
    CARDIAC: "Network, cardiac data",
}
SAMPLINGS = ("cartesian", "radial", "spiral")


@dataclass(frozen=True)
class MethodInfo:
    """A method and where it can be used.

    Attributes:
        name: what commands and files call it.
        label: what people read.
        samplings: samplings it can reconstruct now.
        model: for networks, the model used by default for each sampling, with its caution; empty for others.
        models: for networks, all models for each sampling, the default one first.
    """

    name: str
    label: str
    samplings: Sequence[str]
    model: dict[str, dict[str, object]]
    models: dict[str, list[dict[str, object]]] = field(default_factory=dict)


def available_methods() -> list[MethodInfo]:
    """All methods, with the models that are on the shelf."""
    methods = []
    for name in ALL_METHODS:
        kind = TRAINING_KIND.get(name)
        if kind is None:
            methods.append(MethodInfo(name, LABELS[name], SAMPLINGS, {}))
            continue
        found = {sampling: models.fitting(sampling, kind) for sampling in sorted(SAMPLINGS)}
        described = {
            sampling: [_described(model.manifest) for model in fitting]
            for sampling, fitting in found.items()
            if fitting
        }
        first = {sampling: choices[0] for sampling, choices in described.items()}
        methods.append(MethodInfo(name, LABELS[name], tuple(described), first, described))
    return methods


def _described(manifest: models.Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "steps": manifest.steps,
        "validation_ssim": manifest.validation_ssim,
        "origin": manifest.origin,
        "caution": manifest.caution,
    }


def models_of(
    sampling: str, names: Sequence[str], chosen: Sequence[str] = ()
) -> dict[str, models.ShelfModel]:
    """The model of each network among some methods.

    Args:
        sampling: of the scan.
        names: names of methods.
        chosen: names of models that are wanted, for this or for other samplings and kinds.

    Raises:
        ReconstructionError: a network has no model, or one is chosen that is unknown, not unique, or of a
            method that is not among `names`.
    """
    found = {
        name: models.find(sampling, TRAINING_KIND[name], chosen) for name in names if name in TRAINING_KIND
    }
    used = {model.manifest.name for model in found.values()}
    models.check_names(chosen)
    for model in models.shelf() if chosen else ():
        manifest = model.manifest
        if manifest.name in chosen and manifest.name not in used and manifest.sampling == sampling:
            method = next(name for name, kind in TRAINING_KIND.items() if kind == manifest.training_kind)
            raise ReconstructionError(
                f"The model {manifest.name} belongs to the method {method}, which was not asked for."
            )
    return found


def check_method(name: str) -> str:
    """The method's name if it is known.

    Raises:
        ReconstructionError: it is not.
    """
    if name not in ALL_METHODS:
        raise ReconstructionError(f"method is {name!r}, but one of {', '.join(ALL_METHODS)} was expected.")
    return name
