"""Networks from files of Keras itself, and everything that must not pass for one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from app.cli import main
from recon_backend import device, models
from recon_backend.checkpoints.keras_file import read_keras_file, register_file
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.networks.architectures import Architecture
from recon_backend.preparation import PEAK_RULE

ARCHITECTURES = [
    Architecture("varnet", (2, 3, 4), 2),
    Architecture("unet3d", (3, 4)),
    Architecture("fastdvdnet", (2, 4, 3, 5)),
]


@pytest.fixture(autouse=True)
def own_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty shelf, and computing on the CPU."""
    monkeypatch.setenv(models.SHELF_VARIABLE, str(tmp_path / "shelf"))
    with device.use("cpu"):
        yield tmp_path / "shelf"


def filled(architecture: Architecture) -> keras.Model:
    model = architecture.build("float32")
    rng = np.random.default_rng(1)
    model.set_weights([0.2 * rng.standard_normal(value.shape) for value in model.get_weights()])
    return model


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda each: each.network)
def test_what_keras_saves_is_read(architecture: Architecture, suffix: str, tmp_path: Path) -> None:
    """Levels, widths and cascades are found, and every variable is in its place."""
    model = filled(architecture)
    path = tmp_path / f"mine{suffix}"
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    read = read_keras_file(path)
    assert read.architecture == architecture
    assert list(read.names) == [weight.path for weight in model.weights]
    for found, expected in zip(read.values, model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_trained_file_with_its_optimiser_is_read(tmp_path: Path) -> None:
    model = filled(Architecture("unet3d", (2, 2)))
    model.compile(optimizer="adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "run.keras")
    np.testing.assert_array_equal(read_keras_file(tmp_path / "run.keras").values[0], model.get_weights()[0])


def test_a_file_is_registered_with_what_its_owner_says(
    tmp_path: Path, own_shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = filled(Architecture("unet3d", (2, 3)))
    path = tmp_path / "my net.weights.h5"
    model.save_weights(path)
    assert main(["models", "register", str(path)]) == 2
    assert "--kind natural or cardiac" in capsys.readouterr().err
    options = ["--kind", "cardiac", "--normalisation", PEAK_RULE, "--data", "40 hearts", "--licence", "CC0"]
    assert main(["models", "register", str(path), *options, "--steps", "123"]) == 0
    out = capsys.readouterr().out
    assert "radial-cardiac-my-net" in out and str(own_shelf) in out
    found = models.find("radial", "cardiac")
    manifest = found.manifest
    assert found.own and (manifest.name, manifest.filters) == ("radial-cardiac-my-net", [2, 3])
    assert (manifest.normalisation, manifest.steps) == (PEAK_RULE, 123)
    assert manifest.data == [{"name": "40 hearts", "licence": "CC0"}]
    assert manifest.origin == "file my net.weights.h5 of its owner"
    assert found.verify_answer() == pytest.approx(0, abs=1e-5)
    np.testing.assert_array_equal(found.load().get_weights()[0], model.get_weights()[0])  # float32, not 16
    # The 3-D UNet takes coil images, wherever they were sampled off a grid.
    assert main(["models", "register", str(path), "--kind", "natural", "--sampling", "spiral"]) == 0
    assert models.find("spiral", "natural").manifest.network == "unet3d"
    capsys.readouterr()
    assert main(["models", "register", str(path), "--kind", "natural", "--sampling", "cartesian"]) == 2
    assert "unet3d cannot reconstruct cartesian scans" in capsys.readouterr().err
    assert main(["models", "register", str(tmp_path / "none.keras"), "--kind", "natural"]) == 2
    assert "none.keras: there is no such file" in capsys.readouterr().err
    assert main(["models", "register", str(tmp_path), "--kind", "natural"]) == 2
    assert "--kind is for files" in capsys.readouterr().err


def test_a_model_in_a_folder_that_is_not_looked_into_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.weights.h5"
    filled(Architecture("unet3d", (2, 3))).save_weights(path)
    elsewhere = tmp_path / "elsewhere"
    assert main(["models", "register", str(path), "--kind", "natural", "--shelf", str(elsewhere)]) == 0
    assert f"looks into {elsewhere} only if BLINDCINE_MODELS" in capsys.readouterr().err
    assert (elsewhere / "radial-natural-net" / "manifest.json").is_file()


def test_arguments_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    filled(Architecture("unet3d", (2, 3))).save_weights(path)
    with pytest.raises(ReconstructionError, match="normalisation is 'none'"):
        register_file(path, kind="natural", normalisation="none")
    with pytest.raises(ReconstructionError, match="kind is 'videos'"):
        register_file(path, kind="videos")
    with pytest.raises(ReconstructionError, match="sampling is 'epi'"):
        register_file(path, kind="natural", sampling="epi")


def sequential(*parts: layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 8, 2)), *parts])


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            lambda: sequential(layers.Dense(3)),
            "its layers are dense; expected a VarNet, 3D UNet",
        ),
        (lambda: sequential(layers.LeakyReLU()), "its layers are none"),
        (lambda: sequential(layers.Conv3D(3, 3)), "a unet3d cannot have 1 convolutions"),
        (
            lambda: sequential(*(layers.Conv3D(2, 1) for _ in range(7))),
            r"layers/conv3d/vars/0 has shape \(1, 1, 1, 2, 2\), but a unet3d with filters \[2, 2\]",
        ),
    ],
)
def test_weights_of_other_networks_are_refused(
    model: Callable[[], keras.Model], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.weights.h5"
    model().save_weights(path)
    with pytest.raises(FormatError, match=f"other.weights.h5: .*{sentence}"):
        read_keras_file(path)


def test_arrays_that_are_missing_or_too_many_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    filled(Architecture("unet3d", (2, 3))).save_weights(path)
    with h5py.File(path, "r+") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 3))
    with pytest.raises(
        FormatError, match=r"layers/dense/vars/0, of shape \(2, 3\), has no place in a unet3d"
    ):
        read_keras_file(path)
    with h5py.File(path, "r+") as file:
        del file["layers/dense"], file["layers/conv3d_3/vars/1"]
    with pytest.raises(FormatError, match=r"layers/conv3d_3/vars/1 is missing; .* has it, with shape \(3,\)"):
        read_keras_file(path)


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    """The same archive with another configuration."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    configuration = json.loads(parts["config.json"])
    change(configuration)
    parts["config.json"] = json.dumps(configuration).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def layer(configuration: Any, kind: str, number: int = 0) -> Any:
    return [each for each in configuration["config"]["layers"] if each["class_name"] == kind][number]


def to_lambda(configuration: Any) -> None:
    layer(configuration, "LeakyReLU")["class_name"] = "Lambda"


def other_slope(configuration: Any) -> None:
    layer(configuration, "LeakyReLU", 1)["config"]["negative_slope"] = 0.3


def other_padding(configuration: Any) -> None:
    layer(configuration, "Conv3D", 2)["config"]["padding"] = "valid"


def swapped_inputs(configuration: Any) -> None:
    node = layer(configuration, "Concatenate")["inbound_nodes"][0]
    node["args"][0].reverse()


def fewer_layers(configuration: Any) -> None:
    configuration["config"]["layers"].pop()


def other_kind(configuration: Any) -> None:
    configuration["class_name"] = "Sequential"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (to_lambda, r"layer 2 \(encoder0_activation0\) is a Lambda, expected a LeakyReLU"),
        (other_slope, r"layer 4 \(encoder0_activation1\) has negative_slope 0.3, expected 0.1"),
        (other_padding, "has padding 'valid', expected 'same'"),
        (swapped_inputs, "has other inputs than concatenate0"),
        (fewer_layers, "the model has .* layers, expected"),
        (other_kind, "the model is a Sequential, expected one of Keras' functional kind"),
    ],
)
def test_a_network_that_computes_something_else_is_refused(
    change: Callable[[Any], None], sentence: str, tmp_path: Path
) -> None:
    """The shapes are right in all of these: only the configuration tells."""
    path = tmp_path / "net.keras"
    filled(Architecture("unet3d", (2, 3))).save(path)
    rewritten(path, lambda _configuration: None)
    read_keras_file(path)
    rewritten(path, change)
    with pytest.raises(FormatError, match=sentence):
        read_keras_file(path)


def test_an_inner_model_is_compared_too(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    filled(Architecture("fastdvdnet", (2, 3))).save(path)

    def change(configuration: Any) -> None:
        layer(layer(configuration, "Functional", 1), "Conv2D")["config"]["activation"] = "gelu"

    rewritten(path, change)
    with pytest.raises(FormatError, match=r"of block2 \(block2_.*\) has activation 'gelu', expected 'relu'"):
        read_keras_file(path)


def test_files_that_are_no_files_of_keras(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(b"something else")
    with pytest.raises(FormatError, match="expected a file of Keras 3"):
        read_keras_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FormatError, match="no Keras 3 file: .*model.weights.h5"):
        read_keras_file(path)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/conv3d/vars/0"] = np.zeros(())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[]")
        archive.writestr("model.weights.h5", buffer.getvalue())
    with pytest.raises(FormatError, match="config.json is no JSON object"):
        read_keras_file(path)
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\xff" * 8 + content[48:])
    with pytest.raises(FormatError, match="damaged"):
        read_keras_file(path)
    cut = tmp_path / "net.weights.h5"
    filled(Architecture("unet3d", (2, 3))).save_weights(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(FormatError, match="net.weights.h5: the weights cannot be read"):
        read_keras_file(cut)
