"""`simulate_file` and its command: files that read back as what was simulated, from every kind of origin."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from app.cli import main
from recon_backend.errors import ReconstructionError
from recon_backend.evaluation import compare
from recon_backend.formats import open_acquisition
from recon_backend.fourier import NonuniformFourier
from recon_backend.movie import Movie
from recon_backend.preparation import prepare
from recon_backend.simulation import scans
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.simulation.scanner import write_simulated
from recon_backend.simulation.scans import simulate_file
from recon_backend.simulation.videos import complex_object, simulate


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cine of a square that grows."""
    path = tmp_path_factory.mktemp("cine") / "cine.h5"
    movie = np.full((1, 8, 60, 60), 20, np.uint8)
    for frame in range(8):
        movie[0, frame, 20 - frame : 40 + frame, 15:40] = 220
    with h5py.File(path, "w") as file:
        file["patient1"] = movie
    return path


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
def test_the_file_reads_back_as_the_simulation(tmp_path: Path, sampling: str) -> None:
    """K-space, mask or trajectory, and frame times; the coils' whitening is a common factor (white noise)."""
    matrix = 240 if sampling == "spiral" else 64
    rng = np.random.default_rng(1)
    movie = (rng.random((2, matrix, matrix)) + 1j * rng.random((2, matrix, matrix))).astype(np.complex64)
    ranges = SimulationRanges(coils=(2, 2), snr_db=(20.0, 20.0))
    scan = simulate(movie, sampling, rng, ranges)  # type: ignore[arg-type]
    files = write_simulated(tmp_path / "scan.h5", scan, protocol="test", provenance={})
    read = open_acquisition(files.raw)
    assert read.whitened and read.matrix == (matrix, matrix)
    # The noise scan is finite, so the estimated whitening mixes the coils by a per cent.
    wanted, found = scan.acquisition.kspace.reshape(2, -1), read.kspace.reshape(2, -1)
    mixing = np.linalg.lstsq(wanted.T, found.T, rcond=None)[0]
    np.testing.assert_allclose(mixing.T @ wanted, found, atol=2e-4 * np.abs(found).max())
    assert np.abs(mixing[0, 1]) < 0.05 * np.abs(mixing[0, 0])
    if sampling == "cartesian":
        np.testing.assert_array_equal(read.mask, scan.acquisition.mask)
    else:
        np.testing.assert_allclose(read.trajectory, scan.acquisition.trajectory, atol=1e-6)
    truth = Movie.load(files.truth)
    np.testing.assert_allclose(truth.frames, scan.truth, atol=1e-6)
    np.testing.assert_allclose(np.diff(truth.frame_times_s), np.diff(read.frame_times_s), rtol=1e-3)
    # Whitened noise has unit variance: σ² in each of real and imaginary part becomes a half.
    assert np.abs(mixing.diagonal()) * scan.noise_sigma == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_a_cine_is_recognised_in_its_gridded_images(tmp_path: Path, cine: Path) -> None:
    """The truth beside the file belongs to the scan: the time average of gridding looks like it."""
    files = simulate_file(cine, tmp_path / "scan.h5", sampling="radial", frames=8, coils=4, seed=2)
    acquisition, truth = open_acquisition(files.raw), Movie.load(files.truth)
    assert acquisition.coils == 4 and truth.frames.shape == (8, 256, 256)
    prepared = prepare(acquisition)
    assert isinstance(prepared.fourier, NonuniformFourier)
    average = np.sqrt((np.abs(prepared.zero_filled(0, 8).mean(axis=1)) ** 2).sum(axis=0))
    psnr = compare(truth.frames.mean(axis=0)[None], average[None].astype(np.float32))[1]
    assert psnr > 20
    turned = compare(truth.frames.mean(axis=0).T[None].copy(), average[None].astype(np.float32))[1]
    assert psnr > turned + 3


def test_options_and_seed(tmp_path: Path, cine: Path) -> None:
    """The same seed gives the same file, another one another; published means thirty coils."""
    first = simulate_file(cine, tmp_path / "a.h5", sampling="cartesian", frames=2, coils=2, seed=5)
    again = simulate_file(cine, tmp_path / "b.h5", sampling="cartesian", frames=2, coils=2, seed=5)
    other = simulate_file(cine, tmp_path / "c.h5", sampling="cartesian", frames=2, coils=2, seed=6)
    kspace = [open_acquisition(files.raw).kspace for files in (first, again, other)]
    np.testing.assert_array_equal(kspace[0], kspace[1])
    assert kspace[0].shape != kspace[2].shape or not np.allclose(kspace[0], kspace[2])
    published = simulate_file(cine, tmp_path / "d.h5", sampling="cartesian", frames=2, published=True)
    assert open_acquisition(published.raw).coils == 30
    assert Movie.load(published.truth).provenance["simulation"] == "published"


def test_a_cine_keeps_its_contrast(tmp_path: Path, cine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What training spreads, contrast, noise and dim parts, is not drawn for a scan of this very movie."""
    seen: list[SimulationRanges] = []

    def watched(movie: np.ndarray, rng: np.random.Generator, ranges: SimulationRanges) -> np.ndarray:
        seen.append(ranges)
        return complex_object(movie, rng, ranges)

    monkeypatch.setattr(scans, "complex_object", watched)
    simulate_file(cine, tmp_path / "a.h5", sampling="cartesian", frames=2, coils=2)
    assert seen[0].contrast == (1, 1) and seen[0].snr_db == (12, 22) and not seen[0].published_reading
    assert seen[0].dim_share == 0


def test_noise_follows_the_asked_ratio(tmp_path: Path, cine: Path) -> None:
    """In whitened data the signal's power grows by the ratio: 30 dB more SNR is 30 dB more signal."""
    power = []
    for snr_db in (10.0, 40.0):
        files = simulate_file(
            cine, tmp_path / "s.h5", sampling="cartesian", frames=2, coils=2, snr_db=snr_db, seed=3
        )
        kspace = open_acquisition(files.raw).kspace
        power.append(np.mean(np.abs(kspace[:, :, 116:124]) ** 2))
    assert 10 * np.log10(power[1] / power[0]) == pytest.approx(30, abs=0.5)


def test_measured_kspace_stays_what_it_is(tmp_path: Path) -> None:
    """Raw data in, raw data out: no coils, phases or noise are added, and no noise scan is invented."""
    rng = np.random.default_rng(2)
    images = rng.standard_normal((1, 5, 3, 240, 240)) + 1j * rng.standard_normal((1, 5, 3, 240, 240))
    images[..., :60, :] = 0
    path = tmp_path / "raw.h5"
    shifted = np.fft.fft2(np.fft.ifftshift(images, axes=(-2, -1)), norm="ortho")
    with h5py.File(path, "w") as file:
        file["kspace"] = np.fft.fftshift(shifted, axes=(-2, -1)).astype(np.complex64)
    files = simulate_file(path, tmp_path / "scan.h5", sampling="cartesian", frames=5)
    read = open_acquisition(files.raw)
    assert read.coils == 3 and not read.whitened
    rss = np.sqrt((np.abs(images[0]) ** 2).sum(axis=1))
    np.testing.assert_allclose(Movie.load(files.truth).frames, rss / rss.max(), atol=1e-4)


def test_the_command(tmp_path: Path, cine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A phantom by name; what is no origin is refused with the choices; `info` reads the file."""
    out = tmp_path / "scan.h5"
    words = ["simulate", "--from", "heart:1", "--sampling", "radial", "--out", str(out), "--frames", "2"]
    assert main([*words, "--coils", "2"]) == 0
    assert "scan_truth.h5" in capsys.readouterr().out
    assert main(["info", str(out)]) == 0
    assert "short_axis_radial_realtime" in capsys.readouterr().out
    assert main(["simulate", "--from", "nothing", "--sampling", "radial", "--out", str(out)]) == 2
    assert "heart and tongue" in capsys.readouterr().err
    assert main([*words[:-1], "0"]) == 2
    assert "frames is 0" in capsys.readouterr().err
    with pytest.raises(ReconstructionError, match="heart:x: there is no such file"):
        simulate_file("heart:x", out, sampling="radial")


def test_names_of_patients_do_not_travel(tmp_path: Path, cine: Path) -> None:
    """Neither the raw file nor the truth says which patient's file it came from."""
    named = tmp_path / "DOE_JANE.h5"
    named.write_bytes(cine.read_bytes())
    files = simulate_file(named, tmp_path / "scan.h5", sampling="cartesian", frames=2, coils=2)
    for path in (files.raw, files.truth):
        assert b"DOE" not in path.read_bytes()
