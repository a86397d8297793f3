"""Importing the published networks: every fact of their indices, their answers, and every damage."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from app.cli import main
from recon_backend import device, inference, models, network_inputs
from recon_backend.checkpoints import published
from recon_backend.checkpoints.tensor_bundle import DATA_NAME, INDEX_NAME, TensorBundle
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.formats import open_acquisition
from recon_backend.methods import models_of
from recon_backend.preparation import NORMALISATION_RULE, PEAK_RULE, prepare
from recon_backend.reconstruct import reconstruct_all

NETWORKS = ("VarNet", "3DUNet", "FastDVDNet")
PARAMETERS = {"VarNet": 4_254_756, "3DUNet": 2_450_753, "FastDVDNet": 1_589_506}
DATA_BYTES = {"VarNet": 51_373_866, "3DUNet": 29_436_205, "FastDVDNet": 19_134_108}
# Table of §4.4: what the publication's own checksums say of the step lengths.
STEP_LENGTHS = (
    1.61166, 1.87705, 1.80000, 1.50664, 1.42871, 2.04945,
    1.08399, 2.02261, 1.31514, 1.09696, 1.05367, 0.38134,
)  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """`reference_networks.py` of this folder."""
    path = Path(__file__).with_name("reference_networks.py")
    specification = importlib.util.spec_from_file_location("reference_networks", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty shelf, and computing on the CPU."""
    monkeypatch.setenv(models.SHELF_VARIABLE, str(tmp_path / "shelf"))
    with device.use("cpu"):
        yield tmp_path / "shelf"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, bundles: ModuleType) -> dict[str, Path]:
    """SavedModel folders with random weights in the published places."""
    folder = tmp_path_factory.mktemp("published")
    return {
        name: bundles.write_bundle(folder / name, name, bundles.random_values(name)) for name in NETWORKS[1:]
    }


def shelf_model(name: str) -> models.ShelfModel:
    return next(model for model in models.shelf() if model.manifest.name == name)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_published_entry_is_read(network: str, bundles: ModuleType, tmp_path: Path) -> None:
    """Names, types, shapes, offsets, sizes and checksums of all entries, optimiser's state included."""
    folder = bundles.write_bundle(tmp_path / network, network, {})
    bundle = TensorBundle.open(folder / "variables")
    rows = bundles.published_rows(network)
    assert {row[0]: row for row in rows} == {
        entry.name: (
            entry.name, entry.dtype, entry.shape, entry.offset, entry.size, entry.masked_crc32c,
        )
        for entry in bundle.entries.values()
    }  # fmt: skip
    assert len(bundle.entries) == {"VarNet": 836, "3DUNet": 78, "FastDVDNet": 168}[network]
    found = published.recognise(bundle)
    assert (found.name, found.data_bytes) == (network, DATA_BYTES[network])
    assert bundle.data_path.stat().st_size == DATA_BYTES[network]
    assert sum(int(np.prod(variable.shape)) for variable in found.variables) == PARAMETERS[network]
    # The network's variables are the first bytes, without a gap, and are the published ones.
    end = 0
    for variable in found.variables:
        assert variable.offset == end and variable.is_same(bundle.entries[variable.key])
        end += 4 * int(np.prod(variable.shape))
    # The weights themselves are not there: the hole of zeros does not have their checksums.
    with pytest.raises(FormatError, match=rf"{DATA_NAME}: variables/0 \({network} .* expected checksum 0x"):
        published.read_published(folder)


def test_checksums_give_the_published_step_lengths(bundles: ModuleType) -> None:
    """A CRC-32C of four bytes can be inverted: the twelve λ and three biases of the publication's tables."""
    by_name = {network.name: network for network in published.published_networks()}

    def values(network: str, names: list[str]) -> list[float]:
        found = {variable.name: variable.crc32c for variable in by_name[network].variables}
        contents = [bundles.inverse_of_four_bytes(found[name]) for name in names]
        assert all(bundles.crc32c(each) == found[name] for each, name in zip(contents, names, strict=True))
        return [struct.unpack("<f", content)[0] for content in contents]

    steps = values("VarNet", [f"consistency{cascade}/step" for cascade in range(12)])
    np.testing.assert_allclose(steps, STEP_LENGTHS, atol=6e-6)
    np.testing.assert_allclose(values("3DUNet", ["head/bias"]), [0.0318181], atol=1e-7)
    biases = values("FastDVDNet", ["block1_head/bias", "block2_head/bias"])
    np.testing.assert_allclose(biases, [-0.0269773, 0.0316066], atol=1e-7)


def answer_of(name: str, inputs: Any) -> np.ndarray:
    return np.asarray(shelf_model(name).load()(inputs, training=False))


def test_imported_unet3d_computes_the_published_network(
    folders: dict[str, Path], bundles: ModuleType, reference: ModuleType
) -> None:
    manifest = published.import_published(folders["3DUNet"])
    assert manifest.parameters == PARAMETERS["3DUNet"] and manifest.normalisation == PEAK_RULE
    images = np.random.default_rng(1).standard_normal((4, 8, 12, 20)).astype(np.float32)
    expected = reference.unet3d(images.astype(np.float64), list(bundles.random_values("3DUNet").values()))
    found = answer_of(manifest.name, images[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert expected.std() > 0.05


def test_imported_fastdvdnet_computes_the_published_network(
    folders: dict[str, Path], bundles: ModuleType, reference: ModuleType
) -> None:
    manifest = published.import_published(folders["FastDVDNet"])
    assert manifest.parameters == PARAMETERS["FastDVDNet"]
    frames = np.random.default_rng(2).random((16, 12, 5)).astype(np.float32)
    values = list(bundles.random_values("FastDVDNet").values())
    expected = reference.fastdvdnet(frames.astype(np.float64), values)
    found = answer_of(manifest.name, frames[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert expected.std() > 0.005


def test_imported_varnet_computes_the_published_network(
    bundles: ModuleType, reference: ModuleType, tmp_path: Path
) -> None:
    """With the published λ; k-space, FFTs and the normalised combination against the partial DFTs."""
    values = bundles.random_values("VarNet")
    for cascade, step in enumerate(STEP_LENGTHS):
        values[23 * cascade] = np.array(step, np.float32)
        for head in (21, 22):
            values[23 * cascade + head] *= 0.1
    manifest = published.import_published(bundles.write_bundle(tmp_path / "VarNet", "VarNet", values))
    assert manifest.parameters == PARAMETERS["VarNet"]
    rng = np.random.default_rng(3)
    maps = rng.standard_normal((3, 16, 8)) + 1j * rng.standard_normal((3, 16, 8))
    maps /= np.sqrt((np.abs(maps) ** 2).sum(axis=0))
    maps[:, :2] = 0
    mask = rng.random((4, 16)) < 0.4
    kspace = rng.standard_normal((3, 4, 16, 8)) + 1j * rng.standard_normal((3, 4, 16, 8))
    expected = reference.varnet(kspace, maps, mask, list(values.values()))
    shifted = np.fft.ifftshift(kspace * mask[None, :, :, None], axes=(-2, -1))
    coils = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))
    start = (maps.conj()[:, None] * coils).sum(axis=0)
    inputs = [
        network_inputs.as_pairs(start.astype(np.complex64)),
        network_inputs.as_pairs(maps.astype(np.complex64)),
        network_inputs.line_encoding(mask),
    ]
    found = answer_of(manifest.name, [each[None] for each in inputs])[0]
    np.testing.assert_allclose(found[..., 0], expected.real, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found[..., 1], expected.imag, atol=2e-5 * np.abs(expected).max())


def test_weights_that_are_not_the_published_ones_are_said_to_be_so(
    folders: dict[str, Path], own_shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "import", str(folders["FastDVDNet"])]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("spiral-natural-retrained: weights in the published layout, but not the published")
    assert "52 of 52 variables differ" in line and "rule peak-time-average" in line
    manifest = shelf_model("spiral-natural-retrained").manifest
    assert (manifest.steps, manifest.validation_ssim, manifest.data[0]["name"]) == (None, None, "unknown")
    assert "Somebody's own training" in manifest.caution
    assert main(["models", "import", str(folders["FastDVDNet"] / "variables"), "--kind", "cardiac"]) == 0
    assert models.find("spiral", "cardiac").manifest.name == "spiral-cardiac-retrained"
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "* spiral-natural-retrained" in out and "  spiral-natural " in out
    assert max(len(row) for row in out.splitlines()) <= 100


def test_published_weights_are_verified(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the facts of the written file in place of the published ones, which nobody has here."""
    import dataclasses

    bundle = TensorBundle.open(folders["3DUNet"] / "variables")
    networks = published.published_networks()
    unet = next(network for network in networks if network.name == "3DUNet")
    content = bundle.data_path.read_bytes()
    variables = tuple(
        dataclasses.replace(each, crc32c=published_crc(content, bundle.entries[each.key]))
        for each in unet.variables
    )
    facts = dataclasses.replace(unet, variables=variables)
    monkeypatch.setattr(published, "published_networks", lambda: (facts,))
    manifest = published.import_published(folders["3DUNet"])
    assert manifest.name == "radial-natural-published"
    assert manifest.origin == "published weights, verified against the published index"
    assert (manifest.steps, manifest.held_out["ssim"]) == (98_091, 0.88271)
    assert manifest.data[0]["clips"] == 519
    smaller = dataclasses.replace(facts, data_bytes=29_000_000)
    monkeypatch.setattr(published, "published_networks", lambda: (smaller,))
    assert published.import_published(folders["3DUNet"]).origin.endswith(
        "index; its file has 29,436,205 bytes, the published one 29,000,000"
    )
    with pytest.raises(ReconstructionError, match="trained on natural videos, not cardiac data"):
        published.import_published(folders["3DUNet"], kind="cardiac")


def published_crc(content: bytes, entry: Any) -> int:
    from recon_backend.checkpoints.crc32c import crc32c

    return crc32c(content[entry.offset : entry.offset + entry.size])


def test_reconstruction_honours_the_rule_of_the_imported_network(
    folders: dict[str, Path], scan: Callable[..., Any], tmp_path: Path
) -> None:
    """Fed with the peak at 1, and its answer scaled back to that of the other methods."""
    published.import_published(folders["3DUNet"], name="theirs")
    acquisition = open_acquisition(scan(sampling="radial", frames=8).write(tmp_path / "scan.h5"))
    shelf = models_of("radial", ["dl_natural"], ["theirs"])
    ((_, movie),) = reconstruct_all(acquisition, ["dl_natural"], device="cpu", shelf=shelf)
    record = movie.provenance
    assert record["model"]["name"] == "theirs" and record["model"]["normalisation"] == PEAK_RULE
    assert record["parameters"]["network_normalisation"] == PEAK_RULE
    prepared = prepare(acquisition)
    peak = prepared.scales[PEAK_RULE]
    assert prepared.scales[NORMALISATION_RULE] == prepared.scale < peak
    network = shelf_model("theirs").load(device.precision())
    images = network_inputs.unet3d_input(prepared, 0, 8) * np.float32(prepared.scale / peak)
    block = images[inference.reflected(8, 24)]
    output = network.predict_on_batch(inference.padded(block, (1, 2))[None])[0, :8, :, :, 0]
    height, width = acquisition.matrix
    expected = np.maximum(output, 0)[:, :height, :width] * (peak / prepared.scale)
    np.testing.assert_allclose(movie.frames, expected, rtol=1e-3, atol=1e-4)
    wrong = inference.run_unet3d(network, prepared, lambda _fraction: None)
    assert np.abs(wrong - expected).max() > 0.01 * expected.max()  # the biases tell the rules apart


def test_swapped_damaged_and_other_networks_are_refused(
    folders: dict[str, Path], bundles: ModuleType, tmp_path: Path
) -> None:
    def copy(index: str, data: str, name: str) -> Path:
        inner = tmp_path / name / "variables"
        inner.mkdir(parents=True)
        (inner / INDEX_NAME).write_bytes((folders[index] / "variables" / INDEX_NAME).read_bytes())
        (inner / DATA_NAME).write_bytes((folders[data] / "variables" / DATA_NAME).read_bytes())
        return tmp_path / name

    with pytest.raises(
        FormatError, match=r"cut off or belongs .* expected 29,436,205 bytes, found 19,134,108"
    ):
        published.read_published(copy("3DUNet", "FastDVDNet", "swapped"))
    damaged = copy("FastDVDNet", "FastDVDNet", "damaged")
    with (damaged / "variables" / DATA_NAME).open("rb+") as stream:
        stream.seek(1_148_040)
        stream.write(b"\x12\x34\x56")
    with pytest.raises(
        FormatError,
        match=rf"{DATA_NAME}: variables/12 \(FastDVDNet block1_decoder0_convolution0/kernel\) is damaged",
    ):
        published.read_published(damaged)
    rows = bundles.published_rows("FastDVDNet")
    place = next(index for index, row in enumerate(rows) if row[0].startswith("variables/9/.ATTR"))
    rows[place] = (*rows[place][:2], (96,), *rows[place][3:])
    with pytest.raises(
        FormatError,
        match=r"variables/9 \(.* block1_encoder2_convolution0/bias\) has shape \(96,\), expected \(128,\)",
    ):
        published.read_published(bundles.write_bundle(tmp_path / "shape", "FastDVDNet", {}, rows))
    fewer = [row for row in bundles.published_rows("FastDVDNet") if not row[0].startswith("variables/51/")]
    with pytest.raises(FormatError, match="FastDVDNet has 51 variables, expected 52"):
        published.read_published(bundles.write_bundle(tmp_path / "fewer", "FastDVDNet", {}, fewer))
    other = [(f"variables/0{bundles.SUFFIX}", 1, (7, 7, 3, 64), 0, 37_632, 0)]
    with pytest.raises(FormatError, match=r"unknown network of 1 variables; expected .* VarNet \(276\)"):
        published.read_published(bundles.write_bundle(tmp_path / "other", "", {}, other))


def test_folders_that_hold_no_network_are_refused(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parent = folders["3DUNet"].parent
    assert main(["models", "import", str(parent)]) == 2
    error = capsys.readouterr().err
    assert "no SavedModel folder" in error and f"did you mean {parent / '3DUNet'} or" in error
    assert main(["models", "import", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_another_network_of_the_same_name_is_not_overwritten(
    folders: dict[str, Path], bundles: ModuleType, tmp_path: Path, own_shelf: Path
) -> None:
    first = published.import_published(folders["FastDVDNet"], name="mine")
    again = published.import_published(folders["FastDVDNet"], name="mine")
    assert first.weights_sha256 == again.weights_sha256
    values = bundles.random_values("FastDVDNet", seed=4)
    other = bundles.write_bundle(tmp_path / "other", "FastDVDNet", values)
    with pytest.raises(ReconstructionError, match="model of this name with other weights"):
        published.import_published(other, name="mine")
    replaced = published.import_published(other, name="mine", replace=True)
    assert replaced.weights_sha256 != first.weights_sha256
    with pytest.raises(ReconstructionError, match="The model's name is '../x'"):
        published.import_published(other, name="../x")
    assert sorted(path.name for path in own_shelf.iterdir()) == ["mine"]
