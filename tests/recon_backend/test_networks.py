"""The networks: published sizes, and VarNet's data term against FFTs written out."""

from __future__ import annotations

import numpy as np

from recon_backend import device  # noqa: F401 - chooses the Keras backend
from recon_backend.fourier import centred_fft, centred_ifft
from recon_backend.networks import build_unet3d
from recon_backend.networks.architectures import PUBLISHED
from recon_backend.networks.fastdvdnet import DepthToSpace
from recon_backend.networks.varnet import DataConsistency
from recon_backend.sampling.encoding import line_encoding


def test_parameter_counts_are_the_published_ones() -> None:
    """VarNet 4,254,756; 3D UNet 2,450,753; FastDVDNet 1,589,506."""
    counts = {name: PUBLISHED[name].build(random=False).count_params() for name in PUBLISHED}
    assert counts == {"cartesian": 4_254_756, "radial": 2_450_753, "spiral": 1_589_506}


def test_any_multiple_of_four_is_a_matrix() -> None:
    """One built model serves several sizes."""
    model = build_unet3d((4, 4, 4), in_channels=2)
    for shape in ((4, 8, 12), (8, 16, 20)):
        assert model.predict_on_batch(np.zeros((1, *shape, 2), np.float32)).shape == (1, *shape, 1)


def test_depth_to_space_puts_channels_in_block_order() -> None:
    """Channel (dy·2 + dx)·C + c goes to pixel (2y + dy, 2x + dx), channel c."""
    values = np.arange(1 * 2 * 3 * 8, dtype=np.float32).reshape(1, 2, 3, 8)
    out = np.asarray(DepthToSpace()(values))
    for dy in range(2):
        for dx in range(2):
            np.testing.assert_array_equal(
                out[:, dy::2, dx::2], values[..., (dy * 2 + dx) * 2 : (dy * 2 + dx) * 2 + 2]
            )


def test_data_consistency_equals_the_fft_formula() -> None:
    """λ·(Σ s* F⁻¹(M F s u − f)) with 2-D FFTs, for masks with different numbers of lines."""
    rng = np.random.default_rng(1)

    def noise(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    def pairs(values: np.ndarray) -> np.ndarray:
        return np.stack([values.real, values.imag], -1)[None].astype(np.float32)

    frames, height, width = 3, 12, 8
    maps = noise(4, height, width)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(0))
    image = noise(frames, height, width)
    mask = rng.random((frames, height)) < 0.4
    mask[:, 6] = True
    measured = centred_fft(maps[:, None] * noise(frames, height, width), (2, 3)) * mask[None, :, :, None]
    start = (maps.conj()[:, None] * centred_ifft(measured, (2, 3))).sum(0)
    residual = centred_fft(maps[:, None] * image, (2, 3)) * mask[None, :, :, None] - measured
    expected = (maps.conj()[:, None] * centred_ifft(residual, (2, 3))).sum(0)
    layer = DataConsistency()
    got = np.asarray(layer(pairs(image), pairs(start), pairs(maps), line_encoding(mask)[None]))[0]
    np.testing.assert_allclose(got[..., 0] + 1j * got[..., 1], expected, atol=2e-5)
    assert float(layer.step) == 1.0


def test_varnet_decouples_along_the_readout() -> None:
    """The data term of a crop of columns is the crop of the data term."""
    rng = np.random.default_rng(2)
    image = rng.standard_normal((1, 4, 12, 16, 2)).astype(np.float32)
    maps = rng.standard_normal((1, 3, 12, 16, 2)).astype(np.float32)
    mask = rng.random((4, 12)) < 0.5
    mask[:, 0] = True
    encoding = line_encoding(mask)[None]
    layer = DataConsistency()
    whole = np.asarray(layer(image, image * 0, maps, encoding))
    part = np.asarray(layer(image[:, :, :, 4:8], image[:, :, :, 4:8] * 0, maps[:, :, :, 4:8], encoding))
    np.testing.assert_allclose(part, whole[:, :, :, 4:8], atol=1e-5)
