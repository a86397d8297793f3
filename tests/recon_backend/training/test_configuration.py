"""Settings of a run: files, checks that name the field, presets, and when a run is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recon_backend.errors import ReconstructionError
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.training.configuration import (
    CONFIGURATION_NAME,
    TrainingConfiguration,
    make_configuration,
    read_run,
    read_settings,
    reconciled,
)
from recon_backend.training.samples import PatchShape

OLD_RECORD = {
    "sampling": "spiral",
    "data": "/data/videos",
    "filters": None,
    "cascades": None,
    "learning_rate": 0.0004,
    "warmup_steps": 100,
    "absolute_error_weight": 1.0,
    "average_momentum": 0.995,
    "precision": "mixed_bfloat16",
    "seed": 1,
    "validate_every": 100,
    "validation_batches": 8,
    "parameters": 1589506,
    "version": "0+source",
    "backend": "tensorflow",
}
YAML = """
sampling: radial
data: videos
learning_rate: 1e-3
filters: [8, 16, 32]
simulation:
  snr_db: [10, 20]
  coils: [8, 8]
  noisy_target: true
patch: {frames: 8}
"""
TOML = """
sampling = "radial"
data = "videos"
learning_rate = 1e-3
filters = [8, 16, 32]
patch = { frames = 8 }
[simulation]
snr_db = [10, 20]
coils = [8, 8]
noisy_target = true
"""


@pytest.mark.parametrize(("name", "text"), [("a.yaml", YAML), ("a.toml", TOML)])
def test_yaml_and_toml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    """Numbers as people write them (YAML takes 1e-3 for text), tables inside tables."""
    path = tmp_path / name
    path.write_text(text)
    made = make_configuration(read_settings(path), where=name)
    assert made == TrainingConfiguration(
        "radial",
        "videos",
        filters=(8, 16, 32),
        learning_rate=1e-3,
        simulation=SimulationRanges(snr_db=(10, 20), coils=(8, 8), noisy_target=True),
        patch=PatchShape(16, 8, 64, 64, 1, 8),
    )


def test_the_published_preset_is_that_of_the_paper() -> None:
    """Adam 1e-4 constant, clipnorm 1, 1 − SSIM alone, one clip a step, 519 steps an epoch."""
    made = make_configuration({"sampling": "radial", "data": "x", "preset": "published"})
    assert made == TrainingConfiguration.published("radial", "x")
    assert [made.learning_rate_at(step, 1.0) for step in (0, 1, 98_090)] == [1e-4] * 3
    assert made.optimizer == "adam"
    assert (made.clipnorm, made.absolute_error_weight, made.average_momentum) == (1.0, 0.0, 0.0)
    assert made.validate_every == 519 and made.normalisation == "truth-peak"
    assert made.patch_shape == PatchShape(32, 24, 0, 0, 1) and made.simulation.coils == (30, 30)
    changed = make_configuration(
        {"sampling": "radial", "data": "x", "preset": "published", "simulation": {"coils": [8, 8]}}
    )
    assert changed.simulation == SimulationRanges.published(coils=(8, 8)), "the rest of the table stays"


def test_learning_rate_warms_up_and_falls() -> None:
    """Linear rise, then constant, or a cosine to a hundredth."""
    constant = TrainingConfiguration("radial", "x", learning_rate=1.0, warmup_steps=10)
    assert [constant.learning_rate_at(step) for step in (0, 4, 9, 10, 10**6)] == [0.1, 0.5, 1.0, 1.0, 1.0]
    falling = TrainingConfiguration("radial", "x", learning_rate=1.0, warmup_steps=10, decay_steps=110)
    assert falling.learning_rate_at(60) == pytest.approx(0.505)
    assert falling.learning_rate_at(60, 0.9) == pytest.approx(0.505 / 2)
    assert [constant.learning_rate_at(10, done) for done in (0, 0.8, 0.9, 1, 2)] == pytest.approx(
        [1, 1, 0.5, 0.01, 0.01]
    )
    assert falling.learning_rate_at(110) == falling.learning_rate_at(10**6) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 1}, "c.yaml: learning_rat is no setting; did you mean learning_rate"),
        (
            {"simulation": {"snr": [1, 2]}},
            "c.yaml: simulation.snr is no setting; did you mean simulation.snr_db",
        ),
        ({"learning_rate": "fast"}, "c.yaml: learning_rate is 'fast', but a number above 0"),
        ({"learning_rate": 0}, "learning_rate is 0, but a number above 0"),
        ({"learning_rate": True}, "learning_rate is True"),
        ({"seed": 1.5}, "seed is 1.5, but a whole number"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd', but muon or adam"),
        ({"precision": "half"}, "precision is 'half', but float32 or mixed_bfloat16"),
        ({"filters": [8, 0]}, "filters is .8, 0., but a list of whole numbers"),
        ({"sampling": "zigzag"}, "sampling is 'zigzag', but cartesian, radial or spiral"),
        ({"simulation": {"snr_db": [20, 10]}}, "simulation.snr_db is .20, 10., but a range"),
        ({"simulation": {"dim_level": [0, 0.3]}}, "simulation.dim_level is .0, 0.3., but a range .* above 0"),
        ({"simulation": {"noisy_target": "yes"}}, "simulation.noisy_target is 'yes', but true or false"),
        ({"simulation": 3}, "simulation is 3, but a table"),
        ({"patch": {"frames": 99}}, "patch.frames is 99, but 1 to simulated_frames"),
        ({"patch": {"height": 30}}, "patch.height and patch.width is .30, 64., but multiples of 4"),
        ({"average_momentum": 1}, "average_momentum is 1, but a number from 0 to below 1"),
    ],
)
def test_errors_name_the_field(settings: dict[str, object], message: str) -> None:
    """Unknown, of another type, out of range: the field, its value, and what was expected."""
    with pytest.raises(ReconstructionError, match=message):
        make_configuration({"sampling": "radial", "data": "x", **settings}, where="c.yaml")


def test_files_that_hold_no_settings_are_refused(tmp_path: Path) -> None:
    """Broken YAML and TOML, a list, no file; an empty file says nothing and that is fine."""
    for name, text in (("a.yaml", "a: [1"), ("a.toml", "a = "), ("b.yaml", "- 1")):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ReconstructionError, match=f"{name}: (not valid|expected a table)"):
            read_settings(path)
    with pytest.raises(ReconstructionError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert read_settings(tmp_path / "empty.yaml") == {}
    with pytest.raises(ReconstructionError, match="data is missing"):
        make_configuration({"sampling": "radial"})


def write_run(folder: Path, record: dict[str, object]) -> Path:
    """A run's folder with nothing but its record."""
    folder.mkdir(exist_ok=True)
    (folder / CONFIGURATION_NAME).write_text(json.dumps(record))
    return folder


def test_records_of_older_versions_are_read(tmp_path: Path) -> None:
    """What they did not know is what they did; a record serves as settings."""
    run = write_run(tmp_path / "run", OLD_RECORD)
    assert read_run(run) == TrainingConfiguration(
        "spiral",
        "/data/videos",
        precision="mixed_bfloat16",
        optimizer="adam",
        cooldown=0.0,
        simulation=SimulationRanges(
            snr_db=(12, 22), contrast=(1, 1), wide_rotation_share=0.7, still_share=0, dim_share=0
        ),
    )
    assert make_configuration(read_settings(run / CONFIGURATION_NAME)) == read_run(run)


def test_going_on_and_refusing(tmp_path: Path) -> None:
    """The same goes on; another rate or simulation needs `resume`; another seed or size is another run."""
    run = write_run(tmp_path / "run", OLD_RECORD)
    same = read_run(run)
    assert reconciled(same, run) == (same, [])
    assert reconciled(same, run, resume=True) == (same, [])
    slower = make_configuration({**read_settings(run / CONFIGURATION_NAME), "learning_rate": 1e-4})
    with pytest.raises(
        ReconstructionError, match="has learning_rate 0.0004, but now it is 0.0001; give --resume"
    ):
        reconciled(slower, run)
    assert reconciled(slower, run, resume=True) == (slower, ["learning_rate"])
    fewer = make_configuration({**read_settings(run / CONFIGURATION_NAME), "simulation": {"coils": [4, 4]}})
    with pytest.raises(ReconstructionError, match="has simulation .*'coils': .6, 16.*give --resume"):
        reconciled(fewer, run)
    assert reconciled(fewer, run, resume=True) == (fewer, ["simulation"])
    for name, value in (("seed", 2), ("filters", [8, 16, 32]), ("normalisation", "truth-peak")):
        other = make_configuration({**read_settings(run / CONFIGURATION_NAME), name: value})
        for resume in (False, True):
            with pytest.raises(ReconstructionError, match=f"the run there has {name} .*or another folder"):
                reconciled(other, run, resume=resume)
    fresh = tmp_path / "fresh"
    assert reconciled(same, fresh) == (same, [])
    with pytest.raises(ReconstructionError, match="no run to resume"):
        reconciled(same, fresh, resume=True)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """Half a record is no record."""
    run = write_run(tmp_path / "run", {**OLD_RECORD, "simulation": 3})
    with pytest.raises(ReconstructionError, match="configuration.json: simulation is 3, but a table"):
        read_run(run)
    (run / CONFIGURATION_NAME).write_text('{"sampling": "sp')
    with pytest.raises(ReconstructionError, match="configuration.json: the run's record is damaged"):
        read_run(run)
