"""Runs that are killed, resumed, changed and moved between backends, and what they write."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from recon_backend import device
from recon_backend.errors import ReconstructionError
from recon_backend.training import fit
from recon_backend.training.configuration import CONFIGURATION_NAME, TrainingConfiguration
from recon_backend.training.fit import BEST_NAME, STATE_NAME, Trainer, initial_weights
from recon_backend.training.samples import PATCHES, PatchShape
from recon_backend.training.tensorboard import EventWriter

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend

ROOT = Path(__file__).parents[3]
STEPS = 4
KILLED_RUN = """
import json, sys
from pathlib import Path
from recon_backend import device
from recon_backend.training import fit
from recon_backend.training.configuration import make_configuration

if __name__ == "__main__":
    fit._SAVE_INTERVAL_S = -1.0  # save after every step
    configuration = make_configuration(json.loads(sys.argv[1]))

    def say(status):
        print(json.dumps([status.step, status.loss, fit.keras.backend.backend()]), flush=True)

    with device.use("cpu"):
        fit.Trainer(configuration, Path(sys.argv[2]), Path(sys.argv[3])).run(progress=say)
"""


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cine file of twelve patients with a square that moves."""
    path = tmp_path_factory.mktemp("cine") / "cine.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(12):
            movie = rng.integers(0, 60, (1, 12, 60, 60), dtype=np.uint8)
            for frame in range(12):
                movie[0, frame, 10 + frame // 2 : 40, 8:40] = 120 + number
            file[f"patient{number:03d}"] = movie
    return path


def configuration_for(cine: Path, **changes: object) -> TrainingConfiguration:
    """The smallest run: the network with the fewest layers, one small patch a step."""
    smallest = TrainingConfiguration(
        "radial",
        str(cine),
        filters=(4, 8, 8),
        validate_every=3,
        validation_batches=1,
        warmup_steps=2,
        patch=PatchShape(8, 8, 32, 32, 1),
    )
    return dataclasses.replace(smallest, **changes)  # type: ignore[arg-type]


def log_rows(run: Path) -> list[dict[str, str]]:
    """The rows of log.csv."""
    with (run / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def check_what_is_written(run: Path, last_step: int) -> None:
    """After a validation: a PNG, scalars and the same picture for TensorBoard, and who was trained on."""
    import tensorflow as tf
    from matplotlib.image import imread

    picture = imread(run / "preview.png")
    assert picture.shape[0] > 500 and np.ptp(picture[..., :3]) > 0.9
    events = [
        event
        for path in (run / "tensorboard").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
    ]
    values = {value.tag: (event.step, value) for event in events for value in event.summary.value}
    step, ssim = values["validation/ssim"]
    assert step == last_step and ssim.simple_value == pytest.approx(
        float(log_rows(run)[-1]["validation_ssim"])
    )
    assert values["preview"][1].image.encoded_image_string == (run / "preview.png").read_bytes()
    record = json.loads((run / CONFIGURATION_NAME).read_text())
    assert record["clips"]["train"] and set(record["clips"]["train"]).isdisjoint(
        record["clips"]["validation"]
    )
    assert record["skipped"] == [] and record["inference_normalisation"] == "p99.9-time-average"


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "tensorflow", reason="runs both frameworks by itself")
def test_killed_runs_go_on_and_backends_agree(cine: Path, tmp_path: Path) -> None:
    """A JAX run is killed while it writes its state; TensorFlow had the same losses, and goes on with it."""
    configuration = configuration_for(cine)
    killed, cache = tmp_path / "killed", tmp_path / "cache"
    script = tmp_path / "script.py"
    script.write_text(KILLED_RUN)
    record = json.dumps(dataclasses.asdict(configuration))
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = dict(
        os.environ, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu", PYTHONPATH=str(ROOT), XLA_FLAGS=quick
    )
    with subprocess.Popen(
        [sys.executable, str(script), record, str(killed), str(cache)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            # Meanwhile the same run under this process's backend.
            losses: list[float] = []
            trainer = Trainer(configuration, tmp_path / "run", cache)
            trainer.run(steps=STEPS, progress=lambda status: losses.append(status.loss))
            assert process.stdout is not None and process.stderr is not None
            said: list[tuple[int, float, str]] = []
            while len(said) < STEPS + 1:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                said.append(tuple(json.loads(line)))  # type: ignore[arg-type]
            deadline = time.monotonic() + 60
            while not list(killed.glob(f".{STATE_NAME}.*.part")) and time.monotonic() < deadline:
                pass
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert {backend for _, _, backend in said} == {"jax"}
    np.testing.assert_allclose([loss for _, loss, _ in said[:STEPS]], losses, atol=1e-3)
    assert len(set(losses)) == STEPS
    assert float(log_rows(killed)[0]["validation_ssim"]) == pytest.approx(
        float(log_rows(tmp_path / "run")[0]["validation_ssim"]), abs=1e-3
    )

    check_what_is_written(tmp_path / "run", STEPS)

    resumed = Trainer(configuration, killed, cache, resume=True)
    assert resumed.step >= said[-1][0], "what was reported was saved"
    assert not list(killed.glob(".*.part")), "half-written files are gone"
    step = resumed.step
    resumed.run(steps=step + 1)
    steps = [int(row["step"]) for row in log_rows(killed)]
    assert steps == sorted(set(steps)) and steps[-1] == step + 1
    assert json.loads((killed / CONFIGURATION_NAME).read_text())["backend"] == fit.keras.backend.backend()


def test_settings_of_the_optimiser_change_with_resume_only(cine: Path, tmp_path: Path) -> None:
    """Another learning rate is refused, then taken up and noted; another seed never is."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    first = Trainer(configuration_for(cine), run, cache)
    first.step = 7
    first.save()
    slower = configuration_for(cine, learning_rate=1e-5)
    with pytest.raises(ReconstructionError, match="has learning_rate 0.0004, but now it is 1e-05"):
        Trainer(slower, run, cache)
    again = Trainer(slower, run, cache, resume=True)
    assert again.step == 7 and again.configuration.learning_rate == 1e-5
    record = json.loads((run / CONFIGURATION_NAME).read_text())
    assert record["learning_rate"] == 1e-5
    assert record["changes"] == [{"step": 7, "fields": {"learning_rate": [0.0004, 1e-5]}}]
    with pytest.raises(ReconstructionError, match="has seed 1, but now it is 2"):
        Trainer(configuration_for(cine, seed=2), run, cache, resume=True)
    (run / STATE_NAME).write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(ReconstructionError, match=f"{STATE_NAME}: the state of the run is damaged"):
        Trainer(slower, run, cache)


def test_another_optimiser_begins_anew_with_the_same_weights(cine: Path, tmp_path: Path) -> None:
    """Muon follows Adam even if the process ended before it saved anything; scores of other patches go."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    first = Trainer(configuration_for(cine, optimizer="adam"), run, cache)
    first.step, first.best_ssim = 7, 0.9
    first.save()
    for _ in range(2):  # the second time, the record says Muon, but the state is still Adam's
        again = Trainer(configuration_for(cine), run, cache, resume=True)
        assert type(again.model.optimizer).__name__ == "Muon" and again.step == 7
        for kept, saved in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
            np.testing.assert_array_equal(kept, saved)
        assert not any(np.any(value) for value in again.model.optimizer._momenta)
    assert again.best_ssim == pytest.approx(0.9)
    smaller = configuration_for(cine, patch=PatchShape(8, 8, 16, 16, 1))
    assert Trainer(smaller, run, cache, resume=True).best_ssim == -1.0
    Trainer(smaller, run, cache).save()
    louder = dataclasses.replace(smaller, simulation=dataclasses.replace(smaller.simulation, snr_db=(5, 9)))
    first._save_arrays(run / BEST_NAME, {"ssim": np.array(0.9), "step": np.array(7)})
    assert Trainer(louder, run, cache, resume=True).best_ssim == -1.0
    changes = json.loads((run / CONFIGURATION_NAME).read_text())["changes"]
    assert [list(change["fields"]) for change in changes] == [["optimizer"], ["patch"], ["simulation"]]


def test_another_default_patch_is_noticed(
    cine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run records what was cut, so a version with another default does not go on with it unasked."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    monkeypatch.setitem(PATCHES, "radial", PatchShape(8, 8, 32, 32, 1))
    usual = configuration_for(cine, patch=None)
    first = Trainer(usual, run, cache)
    first.best_ssim = 0.9
    first.save()
    first._save_arrays(run / BEST_NAME, {"ssim": np.array(0.9), "step": np.array(7)})
    assert Trainer(usual, run, cache).best_ssim == pytest.approx(0.9)
    monkeypatch.setitem(PATCHES, "radial", PatchShape(8, 8, 16, 16, 1))
    with pytest.raises(ReconstructionError, match="has patch .'height': 32, 'width': 32., but now it is"):
        Trainer(usual, run, cache)
    assert Trainer(usual, run, cache, resume=True).best_ssim == -1.0
    assert json.loads((run / CONFIGURATION_NAME).read_text())["patch"]["height"] == 16
    # Ended before a validation: neither the state nor the best weights of before bring their score back.
    assert Trainer(usual, run, cache).best_ssim == -1.0
    Trainer(usual, run, cache).save()
    assert Trainer(usual, run, cache).best_ssim == -1.0


def test_the_log_forgets_what_the_state_does_not_know(cine: Path, tmp_path: Path) -> None:
    """Rows after the saved step, and a line cut short, are taken out; a better `best` is remembered."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    trainer = Trainer(configuration_for(cine), run, cache)
    trainer.step = 6
    trainer.save()
    (run / "log.csv").write_text(
        "step,seconds,loss,validation_ssim\n3,1.0,0.5,0.1\n6,2.0,0.4,0.2\n9,3.0,0.3,0.3\n12,4.0"
    )
    trainer._save_arrays(run / BEST_NAME, {"ssim": np.array(0.3), "step": np.array(9)})
    again = Trainer(configuration_for(cine), run, cache)
    assert [row["step"] for row in log_rows(run)] == ["3", "6"]
    assert again.best_ssim == pytest.approx(0.3)


@pytest.fixture
def waiting(cine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer that is given empty batches by no simulator."""

    @contextmanager
    def no_simulators(**_: object) -> Iterator[Callable[[], tuple[list[np.ndarray], np.ndarray]]]:
        yield lambda: ([np.zeros(1)], np.zeros(1))

    monkeypatch.setattr(fit, "running_simulators", no_simulators)
    return Trainer(configuration_for(cine, validate_every=10**6), tmp_path / "run", tmp_path / "cache")


def test_two_minutes_are_lost_at_most(waiting: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps of 50 s, by a clock that they advance, the state is saved after every third."""
    clock, saved, save = [0.0], [], waiting.save

    def step(*_: object) -> float:
        clock[0] += 50.0
        waiting.step += 1
        return 1.0

    def noted() -> None:
        saved.append(waiting.step)
        save()

    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(waiting, "_saved", 0.0)
    monkeypatch.setattr(waiting, "_train_step", step)
    monkeypatch.setattr(waiting, "_validate", lambda *_: None)
    monkeypatch.setattr(waiting, "save", noted)
    waiting.run(steps=12)
    assert np.diff([0, *saved]).max() <= 3 and saved[-1] == 12
    assert len(saved) <= 6, "and not all the time"


@pytest.mark.parametrize("limit", ["steps", "minutes"])
def test_every_call_ends_with_small_steps(
    waiting: Trainer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """The last fifth of the steps or minutes of a call falls to a hundredth; the next begins at full rate."""
    clock, rates = [0.0], []

    def step(_inputs: object, _target: object, rate: float) -> float:
        clock[0] += 30.0
        rates.append(rate / waiting.configuration.learning_rate)
        waiting.step += 1
        return 1.0

    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(waiting, "_train_step", step)
    monkeypatch.setattr(waiting, "_validate", lambda *_: None)
    monkeypatch.setattr(waiting, "save", lambda: None)
    waiting.step = 100
    for end in (110, 120):
        waiting.run(**({"steps": end} if limit == "steps" else {"minutes": 5.0}))  # type: ignore[arg-type]
    assert rates == pytest.approx([*[1.0] * 9, 0.5] * 2)


def test_a_loss_that_diverged_does_not_replace_the_state(
    waiting: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of before stays, and the sentence says what to do."""
    waiting.step = 5
    waiting.save()
    before = (tmp_path / "run" / STATE_NAME).read_bytes()
    monkeypatch.setattr(waiting.model, "train_on_batch", lambda *_: float("nan"))
    with pytest.raises(ReconstructionError, match="became nan at step 5; go on with --resume and a lower"):
        waiting.run(steps=9)
    assert (tmp_path / "run" / STATE_NAME).read_bytes() == before


def test_event_files_are_those_of_tensorflow(tmp_path: Path) -> None:
    """TensorFlow's own reader checks lengths and checksums; a record cut short hides no earlier one."""
    import tensorflow as tf

    writer = EventWriter(tmp_path)
    for step in range(300):
        writer.scalars(step, {"loss": 1 / (step + 1), "rate/ö": 2.0**-step})
    (path,) = tmp_path.iterdir()
    records = [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    events = [tf.compat.v1.Event.FromString(record) for record in records]
    assert events[0].file_version == "brain.Event:2" and len(events) == 301
    assert [event.step for event in events[1:]] == list(range(300))
    assert [value.tag for value in events[5].summary.value] == ["loss", "rate/ö"]
    assert events[5].summary.value[0].simple_value == pytest.approx(1 / 5)
    assert abs(events[5].wall_time - time.time()) < 600
    path.write_bytes(path.read_bytes()[:-3])
    kept = []
    with pytest.raises(tf.errors.DataLossError):
        for record in tf.data.TFRecordDataset(str(path)):
            kept.append(record)
    assert len(kept) == 300


def test_first_weights_are_he_uniform_and_the_same_everywhere(cine: Path) -> None:
    """Variance 2 / inputs, bounds √(6 / inputs), other values as built, equal for equal seeds."""
    model = configuration_for(cine).architecture.build()
    weights = initial_weights(model, 3)
    assert all((a == b).all() for a, b in zip(weights, initial_weights(model, 3), strict=True))
    assert not (weights[0] == initial_weights(model, 4)[0]).all()
    for name, value in zip([one.path for one in model.weights], weights, strict=True):
        if re.search("kernel", name):
            inputs = np.prod(value.shape[:-1])
            assert np.abs(value).max() <= np.sqrt(6 / inputs)
            assert value.size < 800 or value.var() == pytest.approx(2 / inputs, rel=0.15)
        else:
            assert not value.any()
