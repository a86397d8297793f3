"""Figures of an evaluation: the best, the median and the worst data set of each sampling, by every method.

One frame, the absolute difference from the truth, and the y–t profile of one column; one grey scale for all
methods of a data set: every movie is brought to the truth by its one least-squares factor, black is 0 and
white the truth's 99.8th percentile. Differences are shown from 0 to a quarter of white.

Only a frame and a profile of each movie are kept, in a temporary folder, so that hundreds of data sets take
no memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from recon_backend.evaluation import Comparison

WHITE_PERCENTILE = 99.8
DIFFERENCE_SHARE = 0.25
_TARGET = "noisy target"
_PREFERRED = ("dl_natural", "dl_cardiac", "compressed_sensing", "gridded")
# From left to right, whatever came out of the cache first.
_COLUMNS = (_TARGET, "gridded", "compressed_sensing", "compressed_sensing_best", "dl_natural", "dl_cardiac")
_PANEL_INCHES = 1.75
_HEIGHTS = (1.0, 1.0, 0.55)
_DPI = 150

Image = NDArray[np.float32]


@dataclass(frozen=True)
class _Pictures:
    """What is kept of one data set in one sampling.

    Attributes:
        dataset: its name.
        title: heading of its figure: group and sampling.
        order: labels of the movies as they came.
        similarity: SSIM by label.
        folder: where the pictures lie, `<label number>.npz` with `frame` (y, x) and `profile` (y, t).
        column: the column of the profiles.
        frames: number of frames of the truth.
        middle: how many frames before the end the frame is.
    """

    dataset: str
    title: tuple[str, str, str]
    order: list[str]
    similarity: dict[str, float]
    folder: Path
    column: int
    frames: int
    middle: int


class FigureMaker:
    """Collects pictures while an evaluation runs, and draws the figures at its end."""

    def __init__(self, out: Path) -> None:
        """Remember where the figures go; the pictures are kept in a temporary folder until `close`."""
        self._out = out
        self._scratch = TemporaryDirectory(prefix="blindcine-figure-", ignore_cleanup_errors=True)
        self._kept: list[_Pictures] = []

    def close(self) -> None:
        """Throw the pictures away."""
        self._scratch.cleanup()

    def add(self, comparison: Comparison) -> None:
        """Keep a frame and a profile of a movie; movies of one data set come one after the other."""
        case = comparison.case
        title = (case.group, case.kind, comparison.sampling)
        if not self._kept or (self._kept[-1].dataset, self._kept[-1].title) != (case.name, title):
            folder = Path(self._scratch.name) / f"{len(self._kept):05d}"
            folder.mkdir()
            truth = comparison.truth
            column = int(truth.std(axis=0).sum(axis=0).argmax())
            kept = _Pictures(case.name, title, [], {}, folder, column, len(truth), max(1, len(truth) // 2))
            self._kept.append(kept)
            self._keep(kept, "truth, shaded by the coils" if case.kind == "scan" else "truth", truth)
        kept = self._kept[-1]
        if comparison.method == "ceiling_with_floor":
            return
        label = _TARGET if comparison.method == "ceiling" else comparison.method
        kept.similarity[label] = comparison.scores[-1].ssim
        self._keep(kept, label, comparison.images)

    @staticmethod
    def _keep(kept: _Pictures, label: str, movie: Image) -> None:
        kept.order.append(label)
        frame = movie[-min(kept.middle, len(movie))]
        profile = movie[:, :, kept.column].T
        np.savez(kept.folder / f"{kept.order.index(label)}.npz", frame=frame, profile=profile)

    def write(self) -> list[Path]:
        """Write `<group>_<sampling>.png` and `.pdf` for every group and sampling; returns the paths.

        Raises:
            OSError: a figure cannot be written.
        """
        from recon_backend.storage import replacing

        written = []
        for title in dict.fromkeys(kept.title for kept in self._kept):
            members = [kept for kept in self._kept if kept.title == title and len(kept.order) > 1]
            if not members:
                continue
            by = _deciding(members)
            figure = _drawn(title, by, _chosen(members, by))
            stem = re.sub(r"[^\w.-]+", "_", f"{title[0]}_{title[1]}_{title[2]}")
            for suffix in (".png", ".pdf"):
                target = self._out / f"{stem}{suffix}"
                with replacing(target) as temporary:
                    figure.savefig(temporary, format=suffix[1:], dpi=_DPI)
                written.append(target)
        return written


def _deciding(members: Sequence[_Pictures]) -> str:
    """The method whose SSIM orders the data sets: the natural network where there is one."""
    everywhere = [label for label in members[0].order if all(label in kept.similarity for kept in members)]
    for label in (*_PREFERRED, *everywhere):
        if label in everywhere:
            return label
    return members[0].order[1]


def _chosen(members: Sequence[_Pictures], by: str) -> list[tuple[str, _Pictures]]:
    """Best, median (the lower of two) and worst; fewer where there are fewer than three data sets."""
    order = sorted(members, key=lambda kept: -kept.similarity.get(by, -1.0))
    if len(order) == 1:
        return [("only case", order[0])]
    if len(order) == 2:
        return [("best", order[0]), ("worst", order[1])]
    return [("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])]


def _drawn(title: tuple[str, str, str], by: str, cases: Sequence[tuple[str, _Pictures]]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(kept.order) for _, kept in cases)
    rows = len(_HEIGHTS)
    # Each case is a figure within the figure, so that its heading stands above its own panels.
    height = _PANEL_INCHES * sum(_HEIGHTS) + 0.75
    figure = Figure(figsize=(_PANEL_INCHES * columns + 0.5, height * len(cases) + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{title[0]}, {title[2]}: cases by SSIM of {by}\n"
        f"grey: 0 to the truth's {WHITE_PERCENTILE}th percentile, one least-squares factor a movie, the same "
        f"rule for all; |difference|: 0 to {DIFFERENCE_SHARE:g} of that",
        fontsize=8,
    )
    parts: Any = figure.subfigures(len(cases), 1, squeeze=False)[:, 0]
    for part, (word, kept) in zip(parts, cases, strict=True):
        part.suptitle(f"{word}: {kept.dataset}", fontsize=8, fontweight="bold", x=0.01, ha="left")
        axes = part.subplots(rows, columns, squeeze=False, height_ratios=_HEIGHTS)
        _draw_case(axes, kept)
    return figure


def _draw_case(axes: Any, kept: _Pictures) -> None:  # noqa: ANN401 - an array of matplotlib axes
    truth, truth_profile = _load(kept, 0)
    white = float(np.percentile(truth, WHITE_PERCENTILE)) or 1.0
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_visible(False)
    for place, stored in enumerate(_places(kept)):
        for axis in axes[:, place]:
            axis.set_visible(True)
        label = kept.order[stored]
        frame, profile = _load(kept, stored)
        grey = {"cmap": "gray", "vmin": 0, "vmax": white, "interpolation": "nearest"}
        axes[0, place].imshow(frame, **grey)
        similarity = kept.similarity.get(label)
        heading = label if similarity is None else f"{label}\nSSIM {similarity:.3f}"
        axes[0, place].set_title(heading, fontsize=7)
        if place == 0:
            axes[0, place].axvline(kept.column, color="#e69f00", linewidth=0.6, linestyle="--")
            for row, word in enumerate(("frame", "|difference|", "y–t at the line")):
                axes[row, 0].set_ylabel(word, fontsize=7)
            axes[1, 0].set_visible(False)
        else:
            difference = np.abs(frame - truth)
            axes[1, place].imshow(
                difference, cmap="magma", vmin=0, vmax=DIFFERENCE_SHARE * white, interpolation="nearest"
            )
        # A movie that starts later than the truth ends with it: its profile is set to the right.
        axes[2, place].imshow(
            profile,
            **grey,
            aspect="auto",
            extent=(kept.frames - profile.shape[1], kept.frames, profile.shape[0], 0),
        )
        axes[2, place].set_xlim(0, max(kept.frames, truth_profile.shape[1]))


def _places(kept: _Pictures) -> list[int]:
    """The stored pictures from left to right: the truth, then as in `_COLUMNS`, then what else there is."""

    def rank(stored: int) -> int:
        label = kept.order[stored]
        return -1 if stored == 0 else _COLUMNS.index(label) if label in _COLUMNS else len(_COLUMNS)

    return sorted(range(len(kept.order)), key=rank)


def _load(kept: _Pictures, place: int) -> tuple[Image, Image]:
    with np.load(kept.folder / f"{place}.npz") as data:
        return data["frame"], data["profile"]
