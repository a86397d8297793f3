"""The training loop: spawned simulators feed one network; stopping at any moment loses minutes, not hours.

 Simulation runs in spawned processes that never import Keras and put batches into a bounded queue. The loop
keeps an exponential moving average of the weights (it takes the place of a decaying learning rate, so
training can stop and go on at any time), validates it on fixed samples of clips that are never trained on,
and saves everything needed to go on into one file, atomically. All arrays are saved as NumPy, so a run may go
on under another Keras backend.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from recon_backend import __version__
from recon_backend.acquisition import Sampling
from recon_backend.networks.architectures import Architecture, architecture_for
from recon_backend.simulation.videos import SimulationRanges
from recon_backend.storage import replacing
from recon_backend.training.losses import magnitude, ssim, training_loss
from recon_backend.training.samples import PATCHES, draw_batches
from recon_backend.training.simulators import running_simulators
from recon_backend.training.sources import open_source

_LOGGER = logging.getLogger(__name__)
_SAVE_INTERVAL_S = 120.0
STATE_NAME = "state.npz"
BEST_NAME = "best.npz"
CONFIGURATION_NAME = "configuration.json"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingConfiguration:
    """One training run; saved beside its weights.

    Attributes:
        sampling: decides the network.
        data: folder of videos, or HDF5 file of cine images.
        filters, cascades: other than the published network size; None = published.
        learning_rate: after the warm-up, constant.
        warmup_steps: steps of linear rise of the learning rate.
        absolute_error_weight: weight of the mean absolute error beside 1 − SSIM (published: 0).
        average_momentum: momentum of the weight average.
        precision: Keras dtype policy, "float32" or "mixed_bfloat16".
        seed: seed of weights and simulation.
        validate_every: steps between validations.
        validation_batches: fixed validation batches.
    """

    sampling: Sampling
    data: str
    filters: tuple[int, ...] | None = None
    cascades: int | None = None
    learning_rate: float = 4e-4
    warmup_steps: int = 100
    absolute_error_weight: float = 1.0
    average_momentum: float = 0.995
    precision: str = "float32"
    seed: int = 1
    validate_every: int = 100
    validation_batches: int = 8

    @property
    def architecture(self) -> Architecture:
        """The network to train."""
        return architecture_for(self.sampling, self.filters, self.cascades)


@dataclass(frozen=True)
class TrainingStatus:
    """Where a run stands: handed to the progress callback after each step.

    Attributes:
        step: steps done in all.
        loss: loss of the last step.
        validation_ssim: last validation's SSIM of the averaged weights, None before the first.
        seconds: training time in all, s.
    """

    step: int
    loss: float
    validation_ssim: float | None
    seconds: float


def magnitude_of(sampling: str, output: Any) -> Any:  # noqa: ANN401 - tensors of any backend
    """Network output as a magnitude image without the channel axis."""
    return magnitude(output) if sampling == "cartesian" else output[..., 0]


def _model_inputs(inputs: list[Array]) -> list[Array] | Array:
    return inputs if len(inputs) > 1 else inputs[0]


class Trainer:
    """One network in training: model, optimiser, averaged weights, validation samples, state on disk."""

    def __init__(self, configuration: TrainingConfiguration, folder: Path, cache: Path) -> None:
        """Build the network, or take up the run that stands in `folder`.

        Args:
            configuration: the run; an existing run's network, data and seed win, with a warning in the log.
            folder: where state, best weights and log are kept.
            cache: where decoded videos are kept.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.configuration, self.folder, self.cache = configuration, folder, cache
        keras.utils.set_random_seed(configuration.seed)
        keras.config.set_dtype_policy(configuration.precision)
        self.model = configuration.architecture.build()
        sampling, weight = configuration.sampling, configuration.absolute_error_weight
        self.model.compile(
            optimizer=keras.optimizers.Adam(configuration.learning_rate, clipnorm=1.0),
            loss=lambda truth, output: training_loss(truth[..., 0], magnitude_of(sampling, output), weight),
            jit_compile="auto" if keras.backend.backend() == "jax" else False,
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self.average = [np.array(value, np.float32) for value in self.model.get_weights()]
        self.step, self.seconds, self.best_ssim = 0, 0.0, -1.0
        self.validation_ssim: float | None = None
        self._saved = time.monotonic()
        self._restore()
        self._write_configuration()
        self._validation: list[tuple[list[Array], Array]] = []

    def run(
        self,
        *,
        steps: int | None = None,
        minutes: float | None = None,
        processes: int = 1,
        progress: Callable[[TrainingStatus], None] | None = None,
    ) -> None:
        """Train for so many steps in all or minutes of this call, then validate and save.

        Args:
            steps: steps in all, counted over all calls; None = no limit.
            minutes: time limit of this call; None = no limit.
            processes: simulator processes.
            progress: called after each step; may raise to stop (the state is saved).
        """
        patch = PATCHES[self.configuration.sampling]
        started, before = time.monotonic(), self.seconds
        with running_simulators(
            sampling=self.configuration.sampling,
            data=Path(self.configuration.data),
            cache=self.cache,
            seed=[self.configuration.seed, self.step],
            patch=patch,
            processes=processes,
        ) as take:
            try:
                while (steps is None or self.step < steps) and (
                    minutes is None or time.monotonic() - started < 60 * minutes
                ):
                    loss = self._train_step(*take())
                    self.seconds = before + time.monotonic() - started
                    if self.step % self.configuration.validate_every == 0:
                        self._validate(loss)
                    elif time.monotonic() - self._saved > _SAVE_INTERVAL_S:
                        self.save()
                    if progress is not None:
                        progress(TrainingStatus(self.step, loss, self.validation_ssim, self.seconds))
            finally:
                self.save()
        self._validate(None)
        self.save()

    def _train_step(self, inputs: list[Array], target: Array) -> float:
        rate = self.configuration.learning_rate * min(
            1.0, (self.step + 1) / max(1, self.configuration.warmup_steps)
        )
        self.model.optimizer.learning_rate = rate
        loss = float(self.model.train_on_batch(_model_inputs(inputs), target[..., None]))
        if not np.isfinite(loss):
            raise RuntimeError(
                f"The loss became {loss} at step {self.step}; lower the learning rate and resume."
            )
        self.step += 1
        # A short memory at the beginning, so that the average does not drag the random start along.
        momentum = min(self.configuration.average_momentum, (1 + self.step) / (10 + self.step))
        for average, value in zip(self.average, self.model.get_weights(), strict=True):
            average *= momentum
            average += (1 - momentum) * np.asarray(value, np.float32)
        return loss

    def _validate(self, loss: float | None) -> None:
        if not self._validation:
            source = open_source(Path(self.configuration.data), self.cache, "validation")
            rng = np.random.default_rng(20_240_524)
            patch = dataclasses.replace(PATCHES[self.configuration.sampling], batches=1)
            self._validation = [
                draw_batches(source, self.configuration.sampling, patch, rng, SimulationRanges())[0]
                for _ in range(self.configuration.validation_batches)
            ]
        current = self.model.get_weights()
        self.model.set_weights(self.average)
        scores = []
        for inputs, target in self._validation:
            output = self.model.predict_on_batch(_model_inputs(inputs))
            scores.append(float(ssim(target, magnitude_of(self.configuration.sampling, output))))
        self.model.set_weights(current)
        self.validation_ssim = float(np.mean(scores))
        self._log(loss)
        if self.validation_ssim > self.best_ssim:
            self.best_ssim = self.validation_ssim
            self._save_arrays(
                self.folder / BEST_NAME, {"ssim": np.array(self.best_ssim), "step": np.array(self.step)}
            )
        self.save()

    def _log(self, loss: float | None) -> None:
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(["step", "seconds", "loss", "validation_ssim"])
            writer.writerow(
                [
                    self.step,
                    f"{self.seconds:.1f}",
                    "" if loss is None else f"{loss:.5f}",
                    self.validation_ssim,
                ]
            )
        _LOGGER.info("step %d, validation SSIM %.4f", self.step, self.validation_ssim)

    def save(self) -> None:
        """Write the whole state, so that training goes on from here."""
        arrays = {f"weight{i:04d}": np.asarray(value) for i, value in enumerate(self.model.get_weights())}
        for i, variable in enumerate(self.model.optimizer.variables):
            arrays[f"optimizer{i:04d}"] = keras.ops.convert_to_numpy(variable.value)
        arrays["step"], arrays["seconds"] = np.array(self.step), np.array(self.seconds)
        arrays["best_ssim"] = np.array(self.best_ssim)
        self._save_arrays(self.folder / STATE_NAME, arrays)
        self._saved = time.monotonic()

    def _save_arrays(self, path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
        averages = {f"average{i:04d}": value for i, value in enumerate(self.average)}
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays, **averages)  # type: ignore[arg-type]

    def _restore(self) -> None:
        path = self.folder / STATE_NAME
        if not path.exists():
            return
        with np.load(path) as state:
            count = len(self.average)
            self.model.set_weights([state[f"weight{i:04d}"] for i in range(count)])
            self.average = [state[f"average{i:04d}"].astype(np.float32) for i in range(count)]
            for i, variable in enumerate(self.model.optimizer.variables):
                variable.assign(state[f"optimizer{i:04d}"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.best_ssim = float(state["best_ssim"])
        _LOGGER.info("goes on from step %d in %s", self.step, self.folder)

    def _write_configuration(self) -> None:
        record = dataclasses.asdict(self.configuration) | {"parameters": int(self.model.count_params())}
        record["version"] = __version__
        record["backend"] = keras.backend.backend()
        (self.folder / CONFIGURATION_NAME).write_text(json.dumps(record, indent=2) + "\n")
