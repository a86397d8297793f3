"""The shipped models: complete, unchanged, loadable, and honest about what they are."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend import device, models
from recon_backend.networks.architectures import PUBLISHED

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend
SHIPPED = models.shelf_folders()[-1]
NAMES = [
    f"{sampling}-{kind}" for sampling in ("cartesian", "radial", "spiral") for kind in ("cardiac", "natural")
]


@pytest.fixture(autouse=True)
def only_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever models the person who runs the tests has, these are about the shipped ones."""
    monkeypatch.delenv(models.SHELF_VARIABLE, raising=False)


def test_there_is_a_model_for_each_sampling_and_kind() -> None:
    assert [model.manifest.name for model in models.shelf()] == NAMES
    for name in NAMES:
        sampling, kind = name.split("-")
        assert models.find(sampling, kind).folder == SHIPPED / name


@pytest.mark.parametrize("name", NAMES)
def test_model_loads_and_says_what_it_is(name: str) -> None:
    """The weights match the manifest's checksum and the network; data, licences and caution are stated."""
    model = next(found for found in models.shelf() if found.manifest.name == name)
    manifest = model.manifest
    network = model.load()
    assert network.count_params() == manifest.parameters
    assert all(np.isfinite(value).all() for value in network.get_weights())
    assert 0 < manifest.validation_ssim < 1 and manifest.steps > 0
    assert manifest.data and all(entry["licence"] for entry in manifest.data)
    published = PUBLISHED[manifest.sampling]
    assert manifest.network == published.network
    if manifest.steps < 10_000:
        assert "Short training run" in manifest.caution
