"""The training loop: spawned simulators feed one network; stopping at any moment loses minutes, not hours.

 Simulation runs in spawned processes that never import Keras and put batches into a bounded queue. The loop
keeps an exponential moving average of the weights (it takes the place of a decaying learning rate, so
training can stop and go on at any time), validates it on fixed samples of clips that are never trained on,
and saves everything needed to go on into one file, atomically. All arrays are saved as NumPy, and the first
weights are drawn by NumPy, so a run gives the same results, and may go on, under another Keras backend.

A run's folder holds `configuration.json` (settings, clips, skipped files), `state.npz` (to go on),
`best.npz` (the averaged weights that validated best), `log.csv`, `preview.png` and `tensorboard/`.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from recon_backend.code_version import code_version
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.preparation import NORMALISATION_RULE, PEAK_RULE
from recon_backend.storage import TEMPORARY_SUFFIX, replacing, write_durably
from recon_backend.training.configuration import (
    CONFIGURATION_NAME,
    SAMPLE_FIELDS,
    TrainingConfiguration,
    reconciled,
    used_value,
)
from recon_backend.training.losses import magnitude, ssim, training_loss
from recon_backend.training.muon import Muon
from recon_backend.training.preview import Preview
from recon_backend.training.samples import draw_batches
from recon_backend.training.simulators import running_simulators
from recon_backend.training.sources import Source, open_source
from recon_backend.training.tensorboard import EventWriter

__all__ = [
    "BEST_NAME",
    "CONFIGURATION_NAME",
    "STATE_NAME",
    "Trainer",
    "TrainingConfiguration",
    "TrainingStatus",
    "magnitude_of",
]

_LOGGER = logging.getLogger(__name__)
_SAVE_INTERVAL_S = 120.0
_SCALARS_EVERY = 20
_VALIDATION_SEED = 20_240_524
# Batches cut from each validation clip at most: simulating it costs more than looking at them.
_VALIDATION_CUTS = 4
STATE_NAME = "state.npz"
BEST_NAME = "best.npz"
LOG_NAME = "log.csv"
PREVIEW_NAME = "preview.png"
EVENTS_NAME = "tensorboard"
_LOG_COLUMNS = ["step", "seconds", "loss", "validation_ssim"]

Array = npt.NDArray[np.float32]


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


def _optimizer(configuration: TrainingConfiguration) -> keras.optimizers.Optimizer:
    kind = Muon if configuration.optimizer == "muon" else keras.optimizers.Adam
    return kind(learning_rate=configuration.learning_rate, clipnorm=configuration.clipnorm or None)


def initial_weights(model: keras.Model, seed: int) -> list[Array]:
    """First weights of a network, drawn by NumPy: kernels uniform in ±√(6/inputs) (He), others as built."""
    weights = []
    for index, value in enumerate(model.get_weights()):
        weight = np.array(value, np.float32)
        if weight.ndim > 1:
            bound = np.sqrt(6.0 / np.prod(weight.shape[:-1]))
            weight[:] = np.random.default_rng([seed, index]).uniform(-bound, bound, weight.shape)
        weights.append(weight)
    return weights


class Trainer:
    """One network in training: model, optimiser, averaged weights, validation samples, state on disk."""

    def __init__(
        self, configuration: TrainingConfiguration, folder: Path, cache: Path, *, resume: bool = False
    ) -> None:
        """Build the network, or take up the run that stands in `folder`.

        Args:
            configuration: the run.
            folder: where state, best weights and log are kept.
            cache: where decoded videos are kept.
            resume: a run must stand in `folder`; settings of the optimiser may differ from it.

        Raises:
            ReconstructionError: there is no run to resume, the run there has another configuration (the
                field is named), or its state is damaged.
        """
        configuration, changed = reconciled(configuration, folder, resume=resume)
        folder.mkdir(parents=True, exist_ok=True)
        # What a killed process left half-written.
        for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            path.unlink(missing_ok=True)
        self.configuration, self.folder, self.cache = configuration, folder, cache
        keras.utils.set_random_seed(configuration.seed)
        keras.config.set_dtype_policy(configuration.precision)
        self.model = configuration.architecture.build()
        self.model.set_weights(initial_weights(self.model, configuration.seed))
        sampling, weight = configuration.sampling, configuration.absolute_error_weight
        self.model.compile(
            optimizer=_optimizer(configuration),
            loss=lambda truth, output: training_loss(truth[..., 0], magnitude_of(sampling, output), weight),
            jit_compile="auto" if keras.backend.backend() == "jax" else False,
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self._average = [np.array(value, np.float32) for value in self.model.get_weights()]
        self.step, self.seconds, self.best_ssim = 0, 0.0, -1.0
        self.validation_ssim: float | None = None
        self._saved, self._validated, self._diverged = time.monotonic(), -1, False
        self._restore()
        self._write_record(changed)
        self._events = EventWriter(folder / EVENTS_NAME)
        self._validation: list[tuple[list[Array], Array]] = []
        self._preview: Preview | None = None

    @property
    def average(self) -> list[Array]:
        """The averaged weights, which are validated and exported; the last ones if nothing is averaged."""
        if self.configuration.average_momentum == 0:
            return [np.array(value, np.float32) for value in self.model.get_weights()]
        return self._average

    def run(
        self,
        *,
        steps: int | None = None,
        minutes: float | None = None,
        processes: int = 1,
        progress: Callable[[TrainingStatus], None] | None = None,
        reading: Callable[[str, float], None] | None = None,
    ) -> None:
        """Train for so many steps in all or minutes of this call, then validate and save.

        Args:
            steps: steps in all, counted over all calls; None = no limit.
            minutes: time limit of this call, reading of the data not counted; None = no limit.
            processes: simulator processes.
            progress: called after each step; may raise to stop (the state is saved).
            reading: called with (what is read, fraction done) while clips are decoded for the first time.

        Raises:
            ReconstructionError: the data hold nothing usable, or the loss is no longer a number; then the
                state of before stays.
            RuntimeError: the simulators ended.
        """
        held_out = self._read_data(reading)
        configuration = self.configuration
        started, before, first = time.monotonic(), self.seconds, self.step

        def done() -> float:
            """The share of this call's steps or minutes, whichever ends it."""
            of_steps = (self.step - first) / (steps - first) if steps is not None else 0.0
            of_time = (time.monotonic() - started) / (60 * minutes) if minutes is not None else 0.0
            return max(of_steps, of_time)

        with running_simulators(
            sampling=configuration.sampling,
            data=Path(configuration.data),
            cache=self.cache,
            seed=[configuration.seed, self.step],
            patch=configuration.patch_shape,
            processes=processes,
            ranges=configuration.simulation,
            normalisation=configuration.normalisation,
        ) as take:
            losses: list[float] = []
            since = started
            try:
                while (steps is None or self.step < steps) and (
                    minutes is None or time.monotonic() - started < 60 * minutes
                ):
                    inputs, target = take()
                    rate = configuration.learning_rate_at(self.step, done())
                    loss = self._train_step(inputs, target, rate)
                    losses.append(loss)
                    self.seconds = before + time.monotonic() - started
                    if len(losses) == _SCALARS_EVERY:
                        since = self._log_scalars(losses, since, rate)
                    if self.step % configuration.validate_every == 0:
                        self._validate(loss, held_out)
                    elif time.monotonic() - self._saved > _SAVE_INTERVAL_S:
                        self.save()
                    if progress is not None:
                        progress(TrainingStatus(self.step, loss, self.validation_ssim, self.seconds))
                if losses:
                    self._log_scalars(losses, since, rate)
            finally:
                # Weights of a step that diverged must not replace good ones.
                if not self._diverged:
                    self.save()
        if self._validated != self.step:
            self._validate(None, held_out)

    def _read_data(self, reading: Callable[[str, float], None] | None) -> Source:
        """Decode what is not yet in the cache, note clips and skipped files; the validation split."""
        configuration = self.configuration
        sources = [
            open_source(
                Path(configuration.data),
                self.cache,
                split,
                published=configuration.simulation.published_reading,
                progress=reading,
            )
            for split in ("train", "validation")
        ]
        train, validation = sources
        self._record["clips"] = {"train": train.names, "validation": validation.names}
        self._record["skipped"] = sorted({*train.skipped, *validation.skipped})
        self._save_record()
        return validation

    @property
    def skipped(self) -> list[str]:
        """One sentence for each file of the data that could not be used."""
        return list(self._record.get("skipped", []))

    def _train_step(self, inputs: list[Array], target: Array, learning_rate: float) -> float:
        self.model.optimizer.learning_rate = learning_rate
        loss = float(self.model.train_on_batch(_model_inputs(inputs), target[..., None]))
        if not np.isfinite(loss):
            self._diverged = True
            raise ReconstructionError(
                f"The loss became {loss} at step {self.step}; go on with --resume and a lower learning rate."
            )
        self.step += 1
        if self.configuration.average_momentum == 0:
            return loss
        # A short memory at the beginning, so that the average does not drag the random start along.
        momentum = min(self.configuration.average_momentum, (1 + self.step) / (10 + self.step))
        for average, value in zip(self._average, self.model.get_weights(), strict=True):
            average *= momentum
            average += (1 - momentum) * np.asarray(value, np.float32)
        return loss

    def _log_scalars(self, losses: list[float], since: float, learning_rate: float) -> float:
        now = time.monotonic()
        self._events.scalars(
            self.step,
            {
                "train/loss": float(np.mean(losses)),
                "train/learning_rate": learning_rate,
                "train/steps_per_second": len(losses) / max(now - since, 1e-9),
            },
        )
        losses.clear()
        return now

    def _validate(self, loss: float | None, held_out: Source) -> None:
        configuration = self.configuration
        if time.monotonic() - self._saved > _SAVE_INTERVAL_S / 2:
            self.save()  # validation may take long
        if not self._validation:
            self._validation = self._validation_samples(held_out)
        current = self.model.get_weights()
        self.model.set_weights(self.average)
        try:
            scores = []
            for inputs, target in self._validation:
                output = self.model.predict_on_batch(_model_inputs(inputs))
                scores.append(float(ssim(target, magnitude_of(configuration.sampling, output))))
            self.validation_ssim = float(np.mean(scores))
            self._show(held_out)
        finally:
            self.model.set_weights(current)
        self._log(loss)
        if self.validation_ssim > self.best_ssim:
            self.best_ssim = self.validation_ssim
            self._save_arrays(
                self.folder / BEST_NAME, {"ssim": np.array(self.best_ssim), "step": np.array(self.step)}
            )
        self._validated = self.step
        self.save()

    def _validation_samples(self, held_out: Source) -> list[tuple[list[Array], Array]]:
        """The fixed samples: drawn, or, where the simulation is drawn once a clip, one of each clip."""
        configuration = self.configuration
        rng = np.random.default_rng(_VALIDATION_SEED)
        patch = configuration.patch_shape
        patch = dataclasses.replace(patch, batches=min(patch.batches, _VALIDATION_CUTS))
        once, count = configuration.simulation.once_per_clip, configuration.validation_batches
        clips = range(min(count, len(held_out.names))) if once else [None] * count
        return [
            sample
            for clip in clips
            for sample in draw_batches(
                held_out,
                configuration.sampling,
                patch,
                rng,
                configuration.simulation,
                normalisation=configuration.normalisation,
                clip=clip,
            )
        ]

    def _show(self, held_out: Source) -> None:
        """Write the preview picture and the figures of the validation; the averaged weights are set."""
        assert self.validation_ssim is not None  # the caller has just computed it
        preview = self._preview = self._preview or Preview(held_out, self.configuration)
        movie = preview.reconstruct(self.model)
        whole = preview.ssim(movie)
        title = f"{self.configuration.sampling}, step {self.step}: validation SSIM {self.validation_ssim:.4f}"
        picture = preview.picture(movie, f"{title}, this scan {whole:.4f}")
        write_durably(self.folder / PREVIEW_NAME, picture)
        self._events.scalars(self.step, {"validation/ssim": self.validation_ssim, "preview/ssim": whole})
        self._events.image(self.step, "preview", picture)

    def _log(self, loss: float | None) -> None:
        path = self.folder / LOG_NAME
        new = not path.exists()
        with path.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(_LOG_COLUMNS)
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
        arrays["optimizer"] = np.array(self.configuration.optimizer)
        arrays["step"], arrays["seconds"] = np.array(self.step), np.array(self.seconds)
        arrays["best_ssim"] = np.array(self.best_ssim)
        self._save_arrays(self.folder / STATE_NAME, arrays)
        self._saved = time.monotonic()

    def _save_arrays(self, path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
        averages = {f"average{i:04d}": value for i, value in enumerate(self.average)}
        samples = np.array(self._samples)
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays, **averages, samples=samples)  # type: ignore[arg-type]

    @property
    def _samples(self) -> str:
        """What the validation samples follow from, as text."""
        parts = {name: used_value(self.configuration, name) for name in SAMPLE_FIELDS}
        return json.dumps({name: dataclasses.asdict(part) for name, part in parts.items()}, sort_keys=True)

    def _comparable(self, state: Mapping[str, npt.NDArray[Any]], name: str) -> float:
        """A saved validation SSIM; -1 unless it is known to be of the samples that this run validates on."""
        same = "samples" in state and str(state["samples"]) == self._samples
        return float(state[name]) if same else -1.0

    def _restore(self) -> None:
        path = self.folder / STATE_NAME
        if not path.exists():
            return
        try:
            with path.open("rb") as stream, np.load(stream) as state:
                count = len(self._average)
                self.model.set_weights([state[f"weight{i:04d}"] for i in range(count)])
                self._average = [state[f"average{i:04d}"].astype(np.float32) for i in range(count)]
                # An optimiser that another one replaces leaves nothing that it could use.
                before = str(state["optimizer"]) if "optimizer" in state else "adam"
                if before == self.configuration.optimizer:
                    for i, variable in enumerate(self.model.optimizer.variables):
                        variable.assign(state[f"optimizer{i:04d}"])
                self.step, self.seconds = int(state["step"]), float(state["seconds"])
                self.best_ssim = self._comparable(state, "best_ssim")
            best = self.folder / BEST_NAME
            if best.exists():
                # It may be younger than the state, if the process was killed between the two.
                with np.load(best) as state:
                    self.best_ssim = max(self.best_ssim, self._comparable(state, "ssim"))
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(
                path, f"the state of the run is damaged ({error}); remove the file to begin anew."
            ) from error
        self._cut_log()
        _LOGGER.info("goes on from step %d in %s", self.step, self.folder)

    def _cut_log(self) -> None:
        """Take out of the log what came after the saved state, and a line that was cut short."""
        path = self.folder / LOG_NAME
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = lines[:1]
        for line in lines[1:]:
            step = line.split(",")[0]
            if line.endswith("\n") and step.isdigit() and int(step) <= self.step:
                kept.append(line)
        if kept != lines:
            write_durably(path, "".join(kept).encode())

    def _write_record(self, changed: list[str]) -> None:
        """Put the configuration into the folder, with what else describes the run."""
        path = self.folder / CONFIGURATION_NAME
        before: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        record = dataclasses.asdict(self.configuration) | {"parameters": int(self.model.count_params())}
        record["patch"] = dataclasses.asdict(self.configuration.patch_shape)
        record["version"] = code_version()
        record["backend"] = keras.backend.backend()
        # The peak of the truth is not known in use; the peak of the time average takes its place.
        ours = self.configuration.normalisation == NORMALISATION_RULE
        record["inference_normalisation"] = NORMALISATION_RULE if ours else PEAK_RULE
        record |= {name: before[name] for name in ("clips", "skipped", "changes") if name in before}
        if changed:
            now = {name: [before.get(name), record[name]] for name in changed}
            record["changes"] = [*record.get("changes", []), {"step": self.step, "fields": now}]
        self._record = record
        self._save_record()

    def _save_record(self) -> None:
        text = json.dumps(self._record, indent=2, ensure_ascii=False) + "\n"
        write_durably(self.folder / CONFIGURATION_NAME, text.encode())
