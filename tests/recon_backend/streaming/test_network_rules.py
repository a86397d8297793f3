"""Networks with a normalisation rule of their own, streamed: the numbers of the whole scan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recon_backend import inference, models
from recon_backend.acquisition import Acquisition
from recon_backend.fourier import NonuniformFourier
from recon_backend.preparation import NORMALISATION_RULE, PEAK_RULE, prepare
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.streaming import StreamSettings, stream

SIZE, FRAMES = 24, 9


class Squaring:
    """A network, or one of its blocks, whose answer depends on the scale of what it is fed."""

    def predict_on_batch(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return images[..., -1:] ** 2

    def get_layer(self, _name: str) -> Squaring:
        return self


@pytest.fixture
def scan() -> Acquisition:
    y, x = (np.arange(SIZE) - SIZE // 2)[:, None], (np.arange(SIZE) - SIZE // 2)[None, :]
    movie = np.stack([np.exp(-((y - t / 2) ** 2 + (x - 2) ** 2) / 20.0) for t in range(FRAMES)])
    images = movie * np.array([1.0, 0.5j])[:, None, None, None] * np.exp(y / 40)
    trajectory = radial_trajectory(FRAMES, spokes=9, samples=2 * SIZE)
    kspace = NonuniformFourier(trajectory, (SIZE, SIZE)).forward(images.astype(np.complex64))
    times = 0.04 * np.arange(FRAMES)
    return Acquisition("radial", kspace, (SIZE, SIZE), (240.0, 240.0), times, trajectory=trajectory, name="r")


@pytest.mark.parametrize("network", ["unet3d", "fastdvdnet"])
@pytest.mark.parametrize("rule", [NORMALISATION_RULE, PEAK_RULE])
def test_stream_feeds_the_network_by_its_rule(
    network: str, rule: str, scan: Acquisition, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = SimpleNamespace(network=network, normalisation=rule)
    shelf = SimpleNamespace(manifest=manifest, load=lambda _precision: Squaring())
    monkeypatch.setattr(models, "find", lambda *_: shelf)
    settings = StreamSettings("dl_natural", calibration_frames=FRAMES, device="cpu")
    found = {frame.index: frame.image for frame in stream(scan, settings)}
    prepared = prepare(scan)
    view = prepared.under_rule(rule)
    assert (view.factor == 1) == (rule == NORMALISATION_RULE)
    run: Any = {"unet3d": inference.run_unet3d, "fastdvdnet": inference.run_fastdvdnet}[network]
    expected = run(Squaring(), view, lambda _fraction: None)
    for image, number in zip(expected, range(FRAMES - len(expected), FRAMES), strict=True):
        np.testing.assert_allclose(found[number], image, atol=2e-3 * float(np.abs(expected).max()))
    if rule == PEAK_RULE:
        power = {"unet3d": 2, "fastdvdnet": 4}[network]
        plain = run(Squaring(), prepared, lambda _fraction: None)
        np.testing.assert_allclose(expected, plain * view.factor ** (power - 1), rtol=1e-4, atol=1e-7)
        assert view.factor < 0.995
