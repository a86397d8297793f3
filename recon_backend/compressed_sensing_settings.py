"""The parameters of compressed sensing, under names; choosing them needs no framework.

 λ has units: the objective is ½‖W^½(Ax − y)‖² + λ‖D_t x‖₁ with orthonormal Fourier transforms, unit-norm maps
and data scaled to a peak of about 1, so λ counts in peaks times weights. `published` is the paper's λ = 5e-4
with its full density weights, run close to the minimum. On real-time data that is nearly unregularised, so
`quality` takes λ from the sampling: a fixed part of the mean eigenvalue of AᴴWA (ΣW over the pixels, which is
1 for fully sampled Cartesian data), the square root of the density weights, and a fixed number of iterations,
because temporal TV at high acceleration is semi-convergent. `fast` stops earlier.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from recon_backend.errors import ReconstructionError


@dataclass(frozen=True)
class CompressedSensingSettings:
    """Parameters of the method; all of them go into provenance.

    Attributes:
        name: which named settings these are; "custom" for others.
        regularisation: λ; None = `relative_regularisation` decides.
        relative_regularisation: λ over the mean eigenvalue of AᴴWA, where `regularisation` is None.
        weights: "density" = full density weights as published, "root" = their square root, "none".
            Cartesian data have no density weights.
        iterations: calls of the normal operator in the solver.
        proximal_steps: dual steps of the TV proximal map in each iteration.
        eigenvalue_iterations: iterations that estimate the step length.
    """

    name: str = "custom"
    regularisation: float | None = None
    relative_regularisation: float = 0.2
    weights: Literal["density", "root", "none"] = "root"
    iterations: int = 15
    proximal_steps: int = 8
    eigenvalue_iterations: int = 12

    def to_dict(self) -> dict[str, Any]:
        """The parameters as they are recorded."""
        return asdict(self)


SETTINGS = {
    "quality": CompressedSensingSettings("quality"),
    "fast": CompressedSensingSettings("fast", iterations=10, proximal_steps=5),
    "published": CompressedSensingSettings(
        "published",
        regularisation=5e-4,
        weights="density",
        iterations=50,
        proximal_steps=6,
        eigenvalue_iterations=20,
    ),
}
DEFAULT_SETTINGS = "quality"


def named_settings(name: str) -> CompressedSensingSettings:
    """The settings of a name.

    Raises:
        ReconstructionError: there are none of this name.
    """
    try:
        return SETTINGS[name]
    except KeyError:
        raise ReconstructionError(
            f"Compressed sensing has no settings {name!r}; expected one of {', '.join(SETTINGS)}."
        ) from None
