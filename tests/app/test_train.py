"""`blindcine train`: what its options, its file and the run on disk together ask for."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import build_parser, main
from app.commands.failures import CommandError
from app.commands.train import configuration_of
from recon_backend import device
from recon_backend.errors import ReconstructionError
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.training.configuration import TrainingConfiguration, reconciled

Asked = Callable[..., argparse.Namespace]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The parsed command with folders of the test; the device is fast in bfloat16."""
    monkeypatch.setattr(device, "precision", lambda: "mixed_bfloat16")
    (tmp_path / "data").mkdir()

    def parse(*words: str, data: bool = True) -> argparse.Namespace:
        common = ["train", "spiral", "--out", str(tmp_path / "run"), "--minutes", "1"]
        given = ["--data", str(tmp_path / "data")] if data else []
        return build_parser().parse_args([*common, *given, *words])

    return parse


def record(tmp_path: Path, **values: object) -> None:
    """A run on disk."""
    run = {"sampling": "spiral", "data": str(tmp_path / "data"), "parameters": 1, **values}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "configuration.json").write_text(json.dumps(run))


def test_defaults_and_options(asked: Asked, tmp_path: Path) -> None:
    """New runs take the fast precision; options win over the file, the file over the defaults."""
    assert configuration_of(asked()) == TrainingConfiguration(
        "spiral", str(tmp_path / "data"), precision="mixed_bfloat16"
    )
    file = tmp_path / "c.toml"
    file.write_text('seed = 5\nlearning_rate = 1e-3\nprecision = "float32"\n[simulation]\ncoils = [8, 8]\n')
    made = configuration_of(asked("--config", str(file), "--learning-rate", "0.002", "--filters", "8,8,8"))
    assert (made.seed, made.learning_rate, made.precision) == (5, 0.002, "float32")
    assert made.filters == (8, 8, 8) and made.simulation.coils == (8, 8)
    assert configuration_of(asked("--published")).preset == "published"
    assert configuration_of(asked("--precision", "float32")).precision == "float32"


def test_float16_is_not_trained_in(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that prefers float16 for reconstruction trains in float32."""
    monkeypatch.setattr(device, "precision", lambda: "mixed_float16")
    assert configuration_of(asked()).precision == "float32"


def test_the_same_command_goes_on_with_the_runs_precision(asked: Asked, tmp_path: Path) -> None:
    """Begun in float32 elsewhere, it stays so; a stated setting that differs is refused by name."""
    today = {"optimizer": "muon", "cooldown": 0.2, "simulation": dataclasses.asdict(SimulationRanges())}
    record(tmp_path, precision="float32", **today)
    made = configuration_of(asked())
    assert made.precision == "float32"
    assert reconciled(made, tmp_path / "run") == (made, [])
    with pytest.raises(ReconstructionError, match="has precision float32, but now it is mixed_bfloat16"):
        reconciled(configuration_of(asked("--precision", "mixed_bfloat16")), tmp_path / "run")


def test_resume_takes_what_is_not_stated_from_the_run(asked: Asked, tmp_path: Path) -> None:
    """Filters, simulation and data come from the run; a lower learning rate is taken up."""
    record(tmp_path, filters=[4, 4, 4], simulation={"coils": [4, 4]}, seed=9, learning_rate=1e-3)
    made = configuration_of(asked("--resume", "--learning-rate", "1e-4", data=False))
    assert made.filters == (4, 4, 4) and made.simulation.coils == (4, 4) and made.seed == 9
    assert made.learning_rate == 1e-4
    assert reconciled(made, tmp_path / "run", resume=True)[1] == ["learning_rate"]


def test_refusals(asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and exit code 2, before anything heavy is loaded or written."""
    run, data = ["--out", str(tmp_path / "run")], ["--data", str(tmp_path / "data")]
    for words, message in (
        ([*data], "Say when to stop"),
        (["--minutes", "1"], "Say what to train on"),
        (["--minutes", "1", "--data", str(tmp_path / "none")], "there is no such file or folder"),
        ([*data, "--minutes", "1", "--processes", "0"], "--processes is 0"),
    ):
        assert main(["train", "spiral", *run, *words]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(ReconstructionError, match="no run to resume"):
        configuration_of(asked("--resume"))
    file = tmp_path / "c.yaml"
    file.write_text("sampling: radial\n")
    with pytest.raises(CommandError, match="sampling is 'radial', but the command says spiral"):
        configuration_of(asked("--config", str(file)))
    file.write_text("validate_evry: 3\n")
    with pytest.raises(
        ReconstructionError, match="c.yaml: validate_evry is no setting; did you mean validate_e"
    ):
        configuration_of(asked("--config", str(file)))
    assert not (tmp_path / "run").exists()
