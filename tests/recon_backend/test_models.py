"""The shelf: shipped models that are complete, unchanged and honest, and the choice between several."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from app.cli import main
from recon_backend import device, golden, methods, models
from recon_backend.errors import ReconstructionError
from recon_backend.movie import Movie
from recon_backend.networks import fastdvdnet, unet3d
from recon_backend.networks.architectures import PUBLISHED, Architecture
from recon_backend.options import ReconstructionOptions
from recon_backend.preparation import NORMALISATION_RULE, PEAK_RULE

SHIPPED = models.shelf_folders()[-1]
NAMES = [
    f"{sampling}-{kind}" for sampling in ("cartesian", "radial", "spiral") for kind in ("cardiac", "natural")
]


@pytest.fixture(autouse=True)
def own_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Whatever models the person who runs the tests has, these see the shipped ones and their own."""
    monkeypatch.setenv(models.SHELF_VARIABLE, str(tmp_path / "shelf"))
    with device.use("cpu"):
        yield tmp_path / "shelf"


def named(name: str) -> models.ShelfModel:
    return next(found for found in models.shelf() if found.manifest.name == name)


def put(shelf: Path, name: str, *, seed: int = 1, registered: str = "", **changes: Any) -> models.ShelfModel:
    """A tiny radial model on a shelf."""
    network = Architecture("unet3d", (2, 3)).build("float32")
    rng = np.random.default_rng(seed)
    weights = [0.2 * rng.standard_normal(value.shape) for value in network.get_weights()]
    manifest = models.Manifest(
        name=name,
        sampling="radial",
        training_kind="natural",
        network="unet3d",
        filters=[2, 3],
        cascades=0,
        parameters=0,
        normalisation=NORMALISATION_RULE,
        weights_sha256="",
        data=[{"name": "nothing", "licence": "CC0"}],
        steps=1,
        training_seconds=1.0,
        validation_ssim=0.5,
    )
    names = [weight.path for weight in network.weights]
    written = models.write_model(shelf / name, weights, names, dataclasses.replace(manifest, **changes))
    if registered:
        written = dataclasses.replace(written, registered=registered)
        written.write(shelf / name / models.MANIFEST_NAME)
    return models.ShelfModel(shelf / name, written, own=True)


def test_there_is_a_model_for_each_sampling_and_kind() -> None:
    assert [model.manifest.name for model in models.shelf()] == NAMES
    for name in NAMES:
        sampling, kind = name.split("-")
        assert models.find(sampling, kind).folder == SHIPPED / name


@pytest.mark.parametrize("name", NAMES)
def test_model_answers_as_recorded_and_says_what_it_is(name: str) -> None:
    """Checksum, golden input, data, licences and caution; on every framework, see TOLERANCES."""
    model = named(name)
    manifest = model.manifest
    deviation = model.verify_answer()
    assert deviation is not None and deviation < 1e-4
    assert 0 < manifest.validation_ssim < 1 and manifest.steps > 0
    assert manifest.data and all(entry["licence"] for entry in manifest.data)
    assert manifest.hardware and manifest.code_version and manifest.held_out["ssim"]
    published = PUBLISHED[manifest.sampling]
    assert manifest.network == published.network
    if manifest.steps < 10_000:
        assert "Short training run" in manifest.caution


@pytest.mark.parametrize(("name", "share"), [("spiral-natural", 0.5), ("spiral-cardiac", 1.0)])
def test_golden_record_holds_in_bfloat16_with_its_wider_tolerance(name: str, share: float) -> None:
    """Eight bits of mantissa: further off than float32 may be, and within what bfloat16 may be."""
    deviation = named(name).verify_answer("mixed_bfloat16")
    assert deviation is not None
    assert golden.TOLERANCES["float32"] < deviation < share * golden.TOLERANCES["mixed_bfloat16"]


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "tensorflow", reason="runs the other framework by itself")
def test_golden_records_hold_on_the_other_framework() -> None:
    """All six, by the command; a user's own shelf has none."""
    done = subprocess.run(
        [sys.executable, "-m", "app", "models", "verify"],
        cwd=SHIPPED.parents[1],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("within ") == 6 and "6 models match their manifests." in done.stdout


def vouched(model: models.ShelfModel) -> models.ShelfModel:
    """The model with a manifest that vouches for its weights as they are now."""
    digest = hashlib.sha256((model.folder / models.WEIGHTS_NAME).read_bytes()).hexdigest()
    manifest = dataclasses.replace(model.manifest, weights_sha256=digest)
    manifest.write(model.folder / models.MANIFEST_NAME)
    return dataclasses.replace(model, manifest=manifest)


def copied(name: str, shelf: Path) -> models.ShelfModel:
    shutil.copytree(SHIPPED / name, shelf / name)
    return named(name)


def test_a_changed_weight_is_found_even_where_the_checksum_was_made_anew(
    own_shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copied("spiral-natural", own_shelf)
    with h5py.File(model.folder / models.WEIGHTS_NAME, "r+") as file:
        bias = sorted(file)[-1]
        file[bias][0] += 0.01
    assert main(["models", "verify", "--checksums-only"]) == 2
    assert "do not match their manifest" in capsys.readouterr().err
    model = vouched(model)
    with pytest.raises(ReconstructionError, match="golden input differs by 0.0.* of its RMS, expected"):
        model.verify_answer()
    assert main(["models", "verify", "--checksums-only"]) == 0
    assert "6 models match their manifests" in capsys.readouterr().out


def test_swapped_layers_of_one_shape_are_found(own_shelf: Path) -> None:
    """Shapes and checksum are right; only the answer tells."""
    model = copied("radial-natural", own_shelf)
    with h5py.File(model.folder / models.WEIGHTS_NAME, "r+") as file:
        names = sorted(file)
        first, second = (
            next(n for n in names if part in n) for part in ("r0_convolution1.k", "decoder0_convolution1.k")
        )
        one, other = file[first][()], file[second][()]
        file[first][...], file[second][...] = other, one
    with pytest.raises(ReconstructionError, match="differs by"):
        vouched(model).verify_answer()


def test_another_layout_of_the_network_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a mistaken change of this program would do."""
    with monkeypatch.context() as patch:
        patch.setattr(unet3d, "LEAKY_SLOPE", 0.2)
        with pytest.raises(ReconstructionError, match="do not belong together"):
            named("radial-cardiac").verify_answer()
    monkeypatch.setattr(
        fastdvdnet.DepthToSpace,
        "call",
        lambda _self, x: fastdvdnet.ops.transpose(
            fastdvdnet.ops.reshape(
                fastdvdnet.ops.transpose(
                    fastdvdnet.ops.reshape(x, (1, x.shape[1], x.shape[2], -1, 2, 2)), (0, 1, 4, 2, 5, 3)
                ),
                (1, 2 * x.shape[1], 2 * x.shape[2], -1),
            ),
            (0, 1, 2, 3),
        ),
    )
    with pytest.raises(ReconstructionError, match="do not belong together"):
        named("spiral-cardiac").verify_answer()


def test_a_golden_record_of_another_kind_is_told(own_shelf: Path) -> None:
    model = put(own_shelf, "tiny")
    for changes, sentence in (
        ({"formula": 99}, "of formula 99, but this version knows formula 1"),
        ({"values": None}, "incomplete"),
    ):
        broken = dataclasses.replace(model.manifest, golden={**model.manifest.golden, **changes})
        with pytest.raises(ReconstructionError, match=sentence):
            dataclasses.replace(model, manifest=broken).verify_answer()
    short = dataclasses.replace(model.manifest, golden={**model.manifest.golden, "size": 3})
    with pytest.raises(ReconstructionError, match="differs by inf"):
        dataclasses.replace(model, manifest=short).verify_answer()


def test_weights_that_cannot_be_used_are_not_registered(own_shelf: Path) -> None:
    with pytest.raises(ReconstructionError, match="do not fit a unet3d with filters"):
        put(own_shelf, "narrow", filters=[2, 4])
    model = put(own_shelf, "tiny")
    weights = models.read_weights(model.folder / models.WEIGHTS_NAME)
    weights[0] = weights[0] + 1e6
    names = [str(number) for number in range(len(weights))]
    with pytest.raises(ReconstructionError, match="0 of tiny is not finite in float16"):
        models.write_model(own_shelf / "large", weights, names, model.manifest)
    assert sorted(path.name for path in own_shelf.glob("*/*")) == ["manifest.json", "weights.h5"]


def test_manifests_of_the_first_format_are_read(own_shelf: Path) -> None:
    """As the first version shipped them: no golden record, hardware and version among the details."""
    model = put(own_shelf, "old")
    path = model.folder / models.MANIFEST_NAME
    record = json.loads(path.read_text())
    for field in ("origin", "hardware", "code_version", "held_out", "golden", "registered"):
        del record[field]
    record["details"] = {"hardware": "an abacus", "version": "0.1", "validation": "beads", "precision": "ten"}
    record["format"] = "blindcine-model-1"
    path.write_text(json.dumps(record))
    old = named("old")
    manifest = old.manifest
    assert (manifest.hardware, manifest.code_version, manifest.details) == (
        "an abacus", "0.1", {"precision": "ten"},
    )  # fmt: skip
    assert manifest.held_out == {"data": "beads", "ssim": 0.5} and manifest.golden == {}
    assert old.verify_answer() is None
    assert models.renew_golden_record(old).golden == model.manifest.golden
    assert json.loads(path.read_text())["format"] == "blindcine-model-2"
    assert named("old").verify_answer() == pytest.approx(0, abs=1e-5)
    record["format"] = "blindcine-model-3"
    path.write_text(json.dumps(record))
    with pytest.raises(ReconstructionError, match="'blindcine-model-3', but this version reads"):
        models.shelf()


def test_an_unknown_rule_of_scaling_is_refused_before_the_network_is_run(own_shelf: Path) -> None:
    model = put(own_shelf, "tiny", normalisation="z-score")
    with pytest.raises(ReconstructionError, match=r"manifest.json: normalisation is 'z-score', but one of"):
        model.load()


def test_the_user_s_own_and_newest_model_is_the_default(own_shelf: Path, tmp_path: Path) -> None:
    assert models.find("radial", "natural").manifest.name == "radial-natural"
    put(own_shelf, "b-older", registered="2026-01-01T00:00:00+00:00")
    put(own_shelf, "a-newest", registered="2026-03-01T00:00:00+00:00")
    put(own_shelf, "c-middle", registered="2026-02-01T00:00:00+00:00")
    order = [model.manifest.name for model in models.fitting("radial", "natural")]
    assert order == ["a-newest", "c-middle", "b-older", "radial-natural"]
    assert models.find("radial", "natural").manifest.name == "a-newest"
    assert models.find("radial", "natural", ["radial-natural", "spiral-natural"]).own is False
    with pytest.raises(ReconstructionError, match="a-newest and b-older are both for radial scans"):
        models.find("radial", "natural", ["b-older", "a-newest"])
    with pytest.raises(ReconstructionError, match="There is no model 'z' on the shelf; expected one of a-n"):
        models.find("radial", "natural", ["z"])
    (info,) = (info for info in methods.available_methods() if info.name == "dl_natural")
    assert info.model["radial"]["name"] == "a-newest"
    assert [each["name"] for each in info.models["radial"]] == order
    assert [each["name"] for each in info.models["spiral"]] == ["spiral-natural"]


def test_a_model_of_a_method_that_is_not_asked_for_is_told(own_shelf: Path) -> None:
    put(own_shelf, "mine")
    assert methods.models_of("radial", ["dl_natural"], ["mine"])["dl_natural"].manifest.name == "mine"
    with pytest.raises(ReconstructionError, match="mine belongs to the method dl_natural, which was not"):
        methods.models_of("radial", ["dl_cardiac", "gridded"], ["mine"])
    # Files of several samplings share one list: what is for the others is left aside.
    assert methods.models_of("spiral", ["dl_cardiac"], ["mine"])["dl_cardiac"].manifest.sampling == "spiral"


def test_options_take_names_of_models_only() -> None:
    assert ReconstructionOptions.from_dict({"models": ["a", "b"]}).models == ("a", "b")
    assert ReconstructionOptions(models=("a",)).to_dict()["models"] == ("a",)
    for wrong in ("a", [1], {"a": 1}, None):
        with pytest.raises(ReconstructionError, match="models is .*, but names of models were expected"):
            ReconstructionOptions.from_dict({"models": wrong})


def test_reconstruct_uses_the_model_that_is_named(
    own_shelf: Path, scan: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In provenance and in the key of kept results; without a name, the newest one is taken."""
    first = put(own_shelf, "first", registered="2026-01-01T00:00:00+00:00")
    put(own_shelf, "second", seed=2, registered="2026-02-01T00:00:00+00:00", normalisation=PEAK_RULE)
    raw = scan(sampling="radial", frames=6).write(tmp_path / "scan.h5")
    common = ["reconstruct", str(raw), "--method", "dl_natural", "--device", "cpu", "--out"]

    def made(*options: str) -> Movie:
        assert main([*common, str(tmp_path), *options]) == 0
        capsys.readouterr()
        return Movie.load(tmp_path / "scan_dl_natural.h5")

    default, other = made(), made("--model", "first", "--model", "spiral-natural")
    assert default.provenance["model"]["name"] == "second"
    assert other.provenance["model"]["name"] == "first"
    assert other.provenance["model"]["weights_sha256"] == first.manifest.weights_sha256
    assert default.provenance["job_sha256"] != other.provenance["job_sha256"]
    assert "from_cache" not in other.provenance and "from_cache" in made("--model", "first").provenance
    assert np.abs(default.frames - other.frames).max() > 1e-3
    assert main([*common, str(tmp_path), "--model", "third"]) == 2
    assert "There is no model 'third' on the shelf" in capsys.readouterr().err


def test_list_and_show_tell_what_a_model_is(own_shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(own_shelf, "mine", steps=None, validation_ssim=None, training_seconds=None)
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    rows = {
        row.split()[-8 if row.startswith("*") else -8]: row for row in out.splitlines() if "unet3d" in row
    }
    assert rows["mine"].startswith("* mine ") and rows["mine"].split()[-4:-1] == ["?", "?", "?"]
    assert rows["radial-natural"].startswith("  radial-natural") and rows["radial-cardiac"].startswith("* ")
    assert max(len(row) for row in out.splitlines()) <= 100
    assert main(["models", "list", "--json"]) == 0
    found = {info["name"]: info for info in json.loads(capsys.readouterr().out)}
    (mine,) = (model for model in found["dl_natural"]["models"] if model["name"] == "mine")
    assert (mine["default"], mine["shelf"], mine["steps"]) == (True, "own", None)
    assert found["gridded"]["models"] == []
    assert main(["models", "show", "mine"]) == 0
    out = capsys.readouterr().out
    for words in (
        "trained with blindcine",
        "name nothing; licence CC0",
        "p99.9-time-average",
        "not measured",
    ):
        assert words in out
    assert main(["models", "show", "yours"]) == 2
    assert "There is no model 'yours'" in capsys.readouterr().err


def test_verify_runs_every_model(
    own_shelf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(own_shelf, "mine")
    folders = [own_shelf, own_shelf]
    monkeypatch.setattr(models, "shelf_folders", lambda: folders)
    assert main(["models", "verify"]) == 0
    out = capsys.readouterr().out
    assert "1 models match their manifests." in out and "within" in out
    monkeypatch.setattr(models, "shelf_folders", lambda: [own_shelf / "empty"])
    assert main(["models", "verify"]) == 2
    assert "no model on the shelf" in capsys.readouterr().err


def test_the_shelf_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(models.SHELF_VARIABLE)
    monkeypatch.setattr(models.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models.shelf_folders() == [tmp_path / "blindcine" / "models", SHIPPED]
    monkeypatch.setattr(models.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert models.user_shelf() == tmp_path / "blindcine" / "Models"
    monkeypatch.setattr(models.sys, "platform", "darwin")
    assert str(models.user_shelf()).endswith("Library/Application Support/blindcine/models")
    monkeypatch.setattr(models.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    assert models.shelf_folders() == [SHIPPED]
    with pytest.raises(ReconstructionError, match="the user has no home; set BLINDCINE_MODELS"):
        models.own_folder(None, "x")


def test_learning_curves_are_drawn_from_the_manifests(
    own_shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One panel a sampling with each model's own points; models without a curve are named."""
    from app.commands.learning_curves import _drawn, curves_of

    monkeypatch.setattr(models, "shelf_folders", lambda: (own_shelf,))
    picture = tmp_path / "curves.png"
    put(own_shelf, "mute")
    assert main(["models", "curves", "--out", str(picture)]) == 2
    assert "No model on the shelf has a learning curve" in capsys.readouterr().err and not picture.exists()
    points = {"one": [[100, 0.5], [200, 0.7]], "two": [[50, 0.4], [90, 0.45], [120, 0.44]]}
    for name, curve in points.items():
        put(own_shelf, name, details={"learning_curve": curve})
    assert main(["models", "curves", "--out", str(picture)]) == 0
    said = capsys.readouterr()
    assert "learning curves of 2 models" in said.out and "mute has no learning curve" in said.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    figure = _drawn(curves_of([model.manifest for model in models.shelf()]))
    (panel,) = figure.axes
    assert panel.get_title() == "radial: unet3d"
    lines = {line.get_label().split(" ")[0]: line.get_xydata().tolist() for line in panel.lines}  # type: ignore[union-attr]
    assert lines == points
    assert main(["models", "curves", "--out", str(tmp_path / "curves.jpg")]) == 2
    assert main(["models", "curves", "--out", str(picture / "inside.png")]) == 2
