"""The reconstructions by name: what `--method` accepts and the worker lists.

Listing needs no framework; computing is in `recon_backend.reconstruct`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        model: for networks, the models by sampling with their caution; empty for the others.
    """

    name: str
    label: str
    samplings: Sequence[str]
    model: dict[str, dict[str, object]]


def available_methods() -> list[MethodInfo]:
    """All methods, with the models that are on the shelf."""
    shelf = models.shelf()
    methods = []
    for name in ALL_METHODS:
        kind = TRAINING_KIND.get(name)
        if kind is None:
            methods.append(MethodInfo(name, LABELS[name], SAMPLINGS, {}))
            continue
        found = {
            model.manifest.sampling: {
                "name": model.manifest.name,
                "steps": model.manifest.steps,
                "validation_ssim": model.manifest.validation_ssim,
                "caution": model.manifest.caution,
            }
            for model in shelf
            if model.manifest.training_kind == kind
        }
        methods.append(MethodInfo(name, LABELS[name], tuple(sorted(found)), found))
    return methods


def check_method(name: str) -> str:
    """The method's name if it is known.

    Raises:
        ReconstructionError: it is not.
    """
    if name not in ALL_METHODS:
        raise ReconstructionError(f"method is {name!r}, but one of {', '.join(ALL_METHODS)} was expected.")
    return name
