"""Metrics against scikit-image and closed forms; the coil shading; truth files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import metrics

from recon_backend import evaluation
from recon_backend.errors import ReconstructionError
from recon_backend.movie import Movie


def test_metrics_equal_scikit_image() -> None:
    """SSIM over inner windows and PSNR at data range 1."""
    rng = np.random.default_rng(1)
    truth = rng.random((40, 50)).astype(np.float32)
    image = np.clip(truth + 0.1 * rng.standard_normal((40, 50)), 0, 2).astype(np.float32)
    _, full = metrics.structural_similarity(
        truth, image, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert evaluation.ssim_map_mean(truth, image) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-6)


def test_a_movie_is_the_mean_over_its_frames() -> None:
    """MSE, PSNR and SSIM of each frame as scikit-image has them, after the movie's one factor."""
    rng = np.random.default_rng(4)
    truth = rng.random((4, 30, 34)).astype(np.float32)
    images = 3 * truth + 0.4 * np.arange(4)[:, None, None] * rng.standard_normal(truth.shape)
    truth /= truth.max()
    scaled = images * (truth * images).sum() / (images**2).sum()
    mse = [metrics.mean_squared_error(*pair) for pair in zip(truth, scaled, strict=True)]
    psnr = [
        metrics.peak_signal_noise_ratio(*pair, data_range=1.0) for pair in zip(truth, scaled, strict=True)
    ]
    ssim = [evaluation.ssim_map_mean(*pair) for pair in zip(truth, scaled, strict=True)]
    found = evaluation.compare(truth, images.astype(np.float32))
    expected = (np.mean(10 * np.log10(mse)), np.mean(psnr), np.mean(ssim))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_flat_images_have_a_closed_form() -> None:
    """No structure: SSIM = (2ab + c₁)/(a² + b² + c₁), with one factor ⟨t, i⟩/⟨i, i⟩ for both frames."""
    a, b, d, c1 = 0.5, 0.25, 1.2, 0.01**2
    truth = np.stack([np.full((16, 16), a), np.ones((16, 16))]).astype(np.float32)
    images = np.stack([np.full((16, 16), b), np.full((16, 16), d)]).astype(np.float32)
    factor = (a * b + d) / (b * b + d * d)
    x, y = factor * b, factor * d
    expected = [(2 * t * i + c1) / (t * t + i * i + c1) for t, i in ((a, x), (1.0, y))]
    mse = [(a - x) ** 2, (1 - y) ** 2]
    found = evaluation.compare(truth, images)
    assert found[2] == pytest.approx(np.mean(expected), rel=1e-5)
    assert found[0] == pytest.approx(np.mean(10 * np.log10(mse)), rel=1e-4)


def test_ssim_is_that_of_tensorflow() -> None:
    """Which the published training used: max_val 1 and its defaults."""
    tensorflow = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(5)
    pair = rng.random((2, 40, 28)).astype(np.float32)
    pair[1] = 0.7 * pair[0] + 0.3 * pair[1]
    theirs = float(tensorflow.image.ssim(pair[0][..., None], pair[1][..., None], max_val=1.0))
    assert evaluation.ssim_map_mean(pair[0], pair[1]) == pytest.approx(theirs, abs=1e-5)


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ReconstructionError, match="11 × 11"):
        evaluation.compare(np.ones((2, 10, 40), np.float32), np.ones((2, 10, 40), np.float32))


def test_scale_of_the_reconstruction_does_not_matter() -> None:
    """A factor on the images is removed by least squares; an exact copy has SSIM 1."""
    rng = np.random.default_rng(2)
    truth = rng.random((3, 30, 30)).astype(np.float32)
    truth /= truth.max()
    noisy = truth + 0.05 * rng.standard_normal(truth.shape).astype(np.float32)
    first, second = evaluation.compare(truth, noisy), evaluation.compare(truth, 37 * noisy)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert first[0] == pytest.approx(-first[1]) and first[1] == pytest.approx(26, abs=0.5)
    assert evaluation.compare(truth, 5 * truth)[2] == pytest.approx(1.0)


def test_receive_profile_finds_a_smooth_shading() -> None:
    """A slow factor is recovered where there is signal; detail is left alone."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    truth = (0.5 + 0.5 * rng.random((96, 96))).astype(np.float32)
    shading = (1 + 0.5 * x).astype(np.float32)
    found = evaluation.receive_profile(truth * shading, truth)
    inner = slice(20, -20)
    np.testing.assert_allclose(found[inner, inner], shading[inner, inner], rtol=0.04)


def test_frames_are_matched_by_time(tmp_path: Path) -> None:
    """A movie that starts at the fifth frame meets the truth's fifth frame; disjoint times are refused."""
    truth = Movie(np.ones((8, 16, 16), np.float32), (1.0, 1.0), 0.05 * np.arange(8), {})
    movie = Movie(np.ones((4, 16, 16), np.float32), (1.0, 1.0), 0.05 * np.arange(4, 8), {})
    own, other = evaluation.matching_frames(movie, truth)
    assert list(own) == [0, 1, 2, 3] and list(other) == [4, 5, 6, 7]
    late = Movie(np.ones((2, 16, 16), np.float32), (1.0, 1.0), np.array([9.0, 9.1]), {})
    with pytest.raises(ReconstructionError, match="no frame time in common"):
        evaluation.matching_frames(late, truth)


def test_truth_is_found_beside_the_raw_file(tmp_path: Path) -> None:
    """An archive or a movie; neither, or a wrong archive, is an error that names the file."""
    raw = tmp_path / "scan.h5"
    with pytest.raises(ReconstructionError, match="no truth found"):
        evaluation.load_truth(raw)
    np.savez(
        tmp_path / "scan_truth.npz", truth=np.ones((3, 8, 8), np.float16), frame_time_ms=50.0, pixel_mm=1.5
    )
    movie = evaluation.load_truth(raw)
    assert movie.frames.shape == (3, 8, 8) and movie.frame_times_s[1] == pytest.approx(0.05)
    np.savez(tmp_path / "scan_truth.npz", other=np.ones(3))
    with pytest.raises(ReconstructionError, match=r"scan_truth\.npz"):
        evaluation.load_truth(raw)


def test_folder_without_truth_is_refused(tmp_path: Path) -> None:
    """A sentence that says what was expected."""
    with pytest.raises(ReconstructionError, match="No raw file with a truth"):
        evaluation.raw_files([tmp_path])
