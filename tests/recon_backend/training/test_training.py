"""Training end to end on tiny data: samples, SSIM against scikit-image, resume, export and the shelf."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from recon_backend import device, models
from recon_backend.errors import ReconstructionError
from recon_backend.simulation.videos import SimulationRanges
from recon_backend.training.export import _learning_curve, export_run
from recon_backend.training.fit import BEST_NAME, STATE_NAME, Trainer, TrainingConfiguration
from recon_backend.training.losses import magnitude, ssim
from recon_backend.training.samples import PATCHES, PatchShape, draw_batches
from recon_backend.training.sources import CineFile, VideoFolder, open_source, split_of

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    """A cine file of forty patients with a moving square."""
    path = tmp_path / "cine.h5"
    with h5py.File(path, "w") as file:
        file.attrs["licence"] = "made by a test"
        for number in range(40):
            movie = np.zeros((1, 12, 40, 44), np.uint8)
            for frame in range(12):
                movie[0, frame, 10 + frame // 2 : 30, 8:30] = 120 + number
            file[f"patient{number:03d}"] = movie
    return path


def test_ssim_is_that_of_scikit_image() -> None:
    """Same window, constants and valid region."""
    rng = np.random.default_rng(1)
    truth, image = rng.random((2, 40, 36)).astype(np.float32), rng.random((2, 40, 36)).astype(np.float32)
    expected = []
    for x, y in zip(truth, image, strict=True):
        _, full = structural_similarity(
            x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        expected.append(full[5:-5, 5:-5].mean())
    assert float(ssim(truth, image)) == pytest.approx(np.mean(expected), abs=2e-4)


def test_magnitude_is_the_modulus() -> None:
    """√(re² + im²) over the last axis."""
    np.testing.assert_allclose(np.asarray(magnitude(np.array([[3.0, 4.0]], np.float32))), [5.0], rtol=1e-5)


def test_segments_of_one_recording_share_a_split() -> None:
    """No leak from training to validation through a second segment, and both splits are used."""
    assert all(split_of(f"clip{n}_0.mp4") == split_of(f"clip{n}_7.mp4") for n in range(50))
    share = np.mean([split_of(f"patient{n:03d}") == "validation" for n in range(1000)])
    assert 0.08 < share < 0.16


def test_splits_are_disjoint_and_the_record_counts(cine: Path) -> None:
    """Each patient is in one split; the manifest's record states licence and count."""
    train, validation = CineFile(cine, "train"), CineFile(cine, "validation")
    assert set(train.names).isdisjoint(validation.names)
    assert len(train.names) + len(validation.names) == 40
    assert train.record() == [{"name": "cine", "licence": "made by a test", "patients": len(train.names)}]


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
def test_samples_have_the_shapes_of_the_networks(
    cine: Path, sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs and targets fit together, and the target is not noise: it correlates with the input."""
    source = CineFile(cine, "train")
    patch = {
        "cartesian": PatchShape(8, 8, 0, 24, 1),
        "radial": PatchShape(8, 8, 64, 64, 1),
        "spiral": PatchShape(8, 5, 64, 64, 2),
    }[sampling]
    ((inputs, target),) = draw_batches(source, sampling, patch, np.random.default_rng(2), SimulationRanges())  # type: ignore[arg-type]
    shapes = [array.shape for array in inputs]
    if sampling == "cartesian":
        assert (
            shapes[0] == (1, 8, 240, 24, 2) and shapes[1][2:] == (240, 24, 2) and shapes[2] == (1, 8, 480, 34)
        )
        assert target.shape == (1, 8, 240, 24)
    elif sampling == "radial":
        assert shapes == [(1, 8, 64, 64, 20)] and target.shape == (1, 8, 64, 64)
    else:
        assert shapes == [(2, 64, 64, 5)] and target.shape == (2, 64, 64)
        assert np.corrcoef(inputs[0][..., -1].ravel(), target.ravel())[0, 1] > 0.5


def test_training_resumes_and_exports(cine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop, go on with the same weights, export, load from the shelf; changed weights are refused."""
    monkeypatch.setitem(PATCHES, "radial", PatchShape(8, 8, 32, 32, 1))
    # The network with the fewest layers: most of the time goes into building its gradients, twice.
    configuration = TrainingConfiguration(
        "radial", str(cine), filters=(4, 8, 8), validate_every=2, validation_batches=1, warmup_steps=2
    )
    run, cache = tmp_path / "run", tmp_path / "cache"
    first = Trainer(configuration, run, cache)
    first.run(steps=3)
    again = Trainer(configuration, run, cache)
    assert again.step == 3
    for kept, saved in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, saved)
    assert (run / STATE_NAME).exists() and (run / BEST_NAME).exists()
    assert (run / "log.csv").read_text().startswith("step,seconds,loss,validation_ssim\n2,")

    manifest = export_run(run, tmp_path / "shelf", cache)
    assert (
        manifest.name == "radial-cardiac"
        and manifest.filters == [4, 8, 8]
        and "Short training run" in manifest.caution
    )
    curve = manifest.details["learning_curve"]
    assert [step for step, _ in curve] == [2, 3]
    assert max(ssim for _, ssim in curve) == manifest.validation_ssim
    assert manifest.details["optimizer"] == "muon" and manifest.details["changes"] == []
    monkeypatch.setenv(models.SHELF_VARIABLE, str(tmp_path / "shelf"))
    model = models.find("radial", "cardiac")
    assert model.folder == tmp_path / "shelf" / "radial-cardiac"
    network = model.load()
    with np.load(run / BEST_NAME) as best:
        np.testing.assert_allclose(network.get_weights()[0], best["average0000"], atol=2e-3)
    weights = model.folder / models.WEIGHTS_NAME
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ReconstructionError, match="do not match their manifest"):
        model.load()


def test_curves_begin_anew_with_other_patches(tmp_path: Path) -> None:
    """Scores on other validation samples are no points of the same curve; of two lines the last counts."""
    (tmp_path / "log.csv").write_text(
        "step,seconds,loss,validation_ssim\n100,1.0,0.5,0.9\n200,2.0,0.4,0.5\n200,2.0,,0.51\n300,3.0,0.4,0.6\n"
    )
    changes = [
        {"step": 100, "fields": {"patch": [None, None]}},
        {"step": 250, "fields": {"learning_rate": [1e-4, 1e-5]}},
    ]
    assert _learning_curve(tmp_path, {"changes": changes}) == [[200, 0.51], [300, 0.6]]
    changes.append({"step": 200, "fields": {"simulation": [None, None]}})
    assert _learning_curve(tmp_path, {"changes": changes}) == [[300, 0.6]]
    assert len(_learning_curve(tmp_path, {})) == 3
    (tmp_path / "log.csv").unlink()
    assert _learning_curve(tmp_path, {}) == []


def test_export_needs_a_validated_run(tmp_path: Path) -> None:
    """An empty run gives a sentence, not a stack trace."""
    with pytest.raises(ReconstructionError, match="no validated weights"):
        export_run(tmp_path, tmp_path / "shelf", tmp_path / "cache")


def test_manifest_errors_name_the_file(tmp_path: Path) -> None:
    """Broken JSON, a missing field, another format."""
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(ReconstructionError, match="manifest.json"):
        models.Manifest.read(path)
    path.write_text(json.dumps({"name": "x"}))
    with pytest.raises(ReconstructionError, match="manifest.json"):
        models.Manifest.read(path)


def test_sources_are_refused_with_a_sentence(tmp_path: Path) -> None:
    """Neither a folder nor an HDF5 file; a folder without videos."""
    with pytest.raises(ReconstructionError, match="expected a folder of videos"):
        open_source(tmp_path / "nothing", tmp_path, "train")
    with pytest.raises(ReconstructionError, match="no usable file.*expected videos"):
        VideoFolder(tmp_path, tmp_path / "cache", "train")
