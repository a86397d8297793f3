"""The learning curves of the models on the shelf: validation SSIM against optimiser steps, from manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from recon_backend.models import Manifest

_SIZE_INCHES = (9.0, 3.2)
_DPI = 120
_COLOURS = {"natural": "#0b7285", "cardiac": "#c2410c"}


def curves_of(manifests: Sequence[Manifest]) -> dict[str, list[Manifest]]:
    """The models that have a curve of two points or more, by sampling."""
    from recon_backend.models import LEARNING_CURVE

    found: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        if len(manifest.details.get(LEARNING_CURVE, ())) > 1:
            found.setdefault(manifest.sampling, []).append(manifest)
    return dict(sorted(found.items()))


def draw_curves(by_sampling: dict[str, list[Manifest]], path: Path) -> None:
    """Write the curves of `curves_of` as PNG, one panel a sampling, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    from recon_backend.storage import replacing

    figure = _drawn(by_sampling)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _drawn(by_sampling: dict[str, list[Manifest]]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from recon_backend.models import LEARNING_CURVE

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(by_sampling), squeeze=False, sharey=True)[0]
    for panel, (sampling, manifests) in zip(panels, by_sampling.items(), strict=True):
        for manifest in manifests:
            steps, similarity = zip(*manifest.details[LEARNING_CURVE], strict=True)
            panel.plot(
                steps,
                similarity,
                marker="o",
                markersize=3,
                color=_COLOURS.get(manifest.training_kind),
                label=f"{manifest.name} ({max(similarity):.3f})",
            )
        panel.set_title(f"{sampling}: {manifests[0].network}", fontsize=10)
        panel.set_xlabel("steps", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="best")
    panels[0].set_ylabel("validation SSIM", fontsize=9)
    return figure
