"""What is trained on crops holds for whole matrices: away from a crop's edge both give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend import device, inference
from recon_backend.networks import build_fastdvdnet, build_unet3d, build_varnet
from recon_backend.preparation import prepare
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.simulation.videos import simulate
from recon_backend.training.fit import initial_weights
from recon_backend.training.samples import PreparedClip

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend

MATRIX, FRAMES = 160, 8
# The crop begins at a multiple of 4, as pooling needs; 64 pixels are more than two UNets reach.
CROP, INSIDE = slice(4, 156), slice(68, 92)


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
def test_crops_agree_with_the_whole_matrix(sampling: str) -> None:
    """VarNet on a strip of columns (the readout decouples), the other two on a square."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:MATRIX, :MATRIX] / MATRIX
    movie = np.stack([np.exp(1j * t * x) * (1 + np.sin(9 * y + t)) for t in range(FRAMES)]).astype("c8")
    ranges = SimulationRanges(coils=(4, 4))
    scan = simulate(movie, "cartesian" if sampling == "cartesian" else "radial", rng, ranges)
    prepared = prepare(scan.acquisition)
    clip = PreparedClip(sampling, scan, prepared, ranges)  # type: ignore[arg-type]
    rows = slice(0, MATRIX) if sampling == "cartesian" else CROP
    first = FRAMES - inference.WINDOW_FRAMES if sampling == "spiral" else 0
    inputs, target = clip.cut(first, FRAMES, rows, CROP)
    batch = [values[None] for values in inputs]
    with device.use("cpu"):
        if sampling == "cartesian":
            model = build_varnet((2, 2, 2), 2)
            model.set_weights(initial_weights(model, 1))
            whole = inference.varnet_block(model, prepared, 0, FRAMES, FRAMES)
            output = np.asarray(model.predict_on_batch(batch))[0]
            part = np.hypot(output[..., 0], output[..., 1])
        elif sampling == "radial":
            model = build_unet3d((2, 2, 2))
            model.set_weights(initial_weights(model, 1))
            whole = inference.unet3d_block(model, prepared, 0, FRAMES, FRAMES)
            part = np.maximum(np.asarray(model.predict_on_batch(batch[0]))[0, ..., 0], 0)
        else:
            model = build_fastdvdnet((2, 2, 2))
            model.set_weights(initial_weights(model, 1))
            whole = inference.run_fastdvdnet(model, prepared, lambda _: None)[-1:]
            part = np.maximum(np.asarray(model.predict_on_batch(batch[0]))[..., 0], 0)
    cropped = whole[:, rows, CROP]
    assert part.shape == cropped.shape
    shift = slice(INSIDE.start - CROP.start, INSIDE.stop - CROP.start)
    inner = (slice(None), slice(None) if sampling == "cartesian" else shift, shift)
    assert np.ptp(cropped[inner]) > 1e-3, "there is something to compare"
    np.testing.assert_allclose(part[inner], cropped[inner], atol=1e-5 * np.abs(cropped).max())
    assert np.abs(part - cropped)[..., 0].max() > 1e-3 * np.abs(cropped).max(), "at the edge they differ"
    truth = clip.truth(0, FRAMES)[-1 if sampling == "spiral" else slice(None)]
    np.testing.assert_allclose(target, truth[..., rows, CROP], rtol=1e-5, atol=1e-6)
