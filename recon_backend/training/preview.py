"""A picture of where a run stands: gridding, network, truth and error of one held-out scan, whole matrix.

 Three frames and the y–t profile through the middle column, all in the grey scale of the truth; the error is
shown four times as bright. The scan is drawn once from the validation split and goes through the code of
reconstruction, so the picture shows what a user of the model would see.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from recon_backend import inference
from recon_backend.coils import root_sum_of_squares
from recon_backend.preparation import prepare
from recon_backend.training.configuration import TrainingConfiguration
from recon_backend.training.losses import ssim
from recon_backend.training.samples import PreparedClip, simulated_clip
from recon_backend.training.sources import Source

_SEED = 20_241_122
_ERROR_GAIN = 4.0
_WIDTH_INCHES = 9.6

Array = npt.NDArray[np.float32]


class Preview:
    """One held-out scan with its truth and gridded images, ready to be reconstructed again and again."""

    def __init__(self, source: Source, configuration: TrainingConfiguration) -> None:
        """Draw and prepare the scan.

        Args:
            source: the validation split.
            configuration: of the run.
        """
        rng = np.random.default_rng(_SEED)
        sampling, ranges = configuration.sampling, configuration.simulation
        scan = simulated_clip(source, sampling, configuration.patch_shape.simulated_frames, rng, ranges)
        prepared = prepare(scan.acquisition, threads=1)
        clip = PreparedClip(sampling, scan, prepared, ranges, configuration.normalisation)
        self._sampling = sampling
        self._prepared = dataclasses.replace(prepared, factor=float(clip.factor))
        # FastDVDNet answers from its fifth frame on.
        self._first = inference.WINDOW_FRAMES - 1 if sampling == "spiral" else 0
        self.truth = clip.truth(self._first, prepared.frames)
        gridded = root_sum_of_squares(prepared.zero_filled(self._first, prepared.frames))
        self.gridded = gridded * np.float32((gridded * self.truth).sum() / max((gridded**2).sum(), 1e-12))

    def reconstruct(self, model: keras.Model) -> Array:
        """The network's movie (frame, y, x) in the scale of `truth`."""
        if self._sampling == "spiral":
            return inference.run_fastdvdnet(model, self._prepared, lambda _fraction: None)
        block: Callable[..., Array] = (
            inference.varnet_block if self._sampling == "cartesian" else inference.unet3d_block
        )
        frames = self._prepared.frames
        return block(model, self._prepared, 0, frames, frames + -frames % 4)[:frames]

    def ssim(self, movie: Array) -> float:
        """Mean SSIM of a movie, the truth's peak being 1."""
        peak = np.float32(max(float(self.truth.max()), 1e-12))
        return float(ssim(self.truth / peak, movie / peak))

    def picture(self, movie: Array, title: str) -> bytes:
        """A PNG of gridding, network, truth and error, side by side."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        count, height, width = self.truth.shape
        shown = sorted({0, count // 2, count - 1})
        error = _ERROR_GAIN * np.abs(movie - self.truth)
        columns = {
            "gridded": self.gridded,
            "network": movie,
            "truth": self.truth,
            f"|error| × {_ERROR_GAIN:g}": error,
        }
        size = (_WIDTH_INCHES, 0.5 + _WIDTH_INCHES * (len(shown) + 1) / len(columns))
        figure = Figure(figsize=size, dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        axes: Any = figure.subplots(len(shown) + 1, len(columns), squeeze=False)
        top = float(np.percentile(self.truth, 99.9)) or 1.0
        for column, (name, images) in enumerate(columns.items()):
            profile = images[:, :, width // 2].T
            for row, image in enumerate([*images[shown], profile]):
                panel = axes[row, column]
                panel.imshow(image, cmap="gray", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
                panel.set_xticks([])
                panel.set_yticks([])
            axes[0, column].set_title(name, fontsize=9)
        for row, label in enumerate([*(f"frame {self._first + index + 1}" for index in shown), "y–t"]):
            axes[row, 0].set_ylabel(label, fontsize=9)
        figure.suptitle(title, fontsize=10)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        return stream.getvalue()
