"""Which data sets are found, what is read of them, and how they are simulated."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.evaluation import Case, find_cases
from recon_backend.evaluation.cases import colour_movie
from recon_backend.evaluation.simulated import (
    generator,
    noisy_target,
    simulate_case,
    with_noise_floor,
)
from recon_backend.fourier import centred_fft
from recon_backend.reconstruct import Preparation
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.training.sources import members_of

FEW = SimulationRanges.published(coils=(3, 3))


def write_video(path: Path, frames: npt.NDArray[np.uint8]) -> Path:
    """A video (frame, y, x, 3) that is decoded as it was, but for the codec's error."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.options = {"qscale": "1"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def ramps(count: int, height: int = 64, width: int = 112) -> npt.NDArray[np.uint8]:
    """Flat grey frames, frame t of the value 4 t."""
    return np.repeat(np.arange(count, dtype=np.uint8) * 4, 3 * height * width).reshape(
        count, height, width, 3
    )


def write_cine(path: Path, patients: int = 2, frames: int = 6, size: tuple[int, int] = (30, 40)) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(patients):
            values = rng.integers(0, 255, (3, frames, *size))
            file[f"patient{number:03d}"] = values.astype(np.uint8)
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with a video, cine images, a scan with its truth, and files that are none of these."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "clip_0.mp4").write_bytes(b"video")
    (folder / "clip_1.mp4").write_bytes(b"video")
    (folder / "other.MOV").write_bytes(b"video")
    write_cine(folder / "hearts.h5")
    write_cine(folder / "one.h5", patients=1)
    with h5py.File(folder / "measured.h5", "w") as file:
        file["kspace"] = np.ones((1, 6, 2, 8, 8), np.complex64)
    (folder / "scan.h5").write_bytes(b"raw")
    (folder / "scan_truth.npz").write_bytes(b"truth")
    (folder / "lonely.h5").write_bytes(b"raw without truth")
    (folder / "clips.csv").write_text("file,licence\n")
    with h5py.File(folder / "movie.h5", "w") as file:
        file.attrs["format"] = "blindcine-movie-1"
        file["movie"] = np.ones((6, 8, 8), np.float32)
    (folder / "deeper").mkdir()
    return folder


def test_a_folder_may_mix_all_kinds(mixed: Path) -> None:
    found = {(case.kind, case.group, case.name): case for case in find_cases([mixed])}
    assert set(found) == {
        ("video", "mixed", "clip_0.mp4"),
        ("video", "mixed", "clip_1.mp4"),
        ("video", "mixed", "other.MOV"),
        ("cine", "hearts", "patient000"),
        ("cine", "hearts", "patient001"),
        ("cine", "mixed", "one.h5"),
        ("kspace", "mixed", "measured.h5"),
        ("scan", "mixed", "scan"),
    }
    assert (
        found["video", "mixed", "clip_1.mp4"].block == found["video", "mixed", "clip_0.mp4"].block == "clip"
    )
    assert found["cine", "mixed", "one.h5"].key == "patient000"
    assert found["scan", "mixed", "scan"].held_out is None


def test_the_validation_split_is_that_of_training(tmp_path: Path) -> None:
    names = [f"take{number}.mp4" for number in range(40)]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    chosen = [case.name for case in find_cases([tmp_path], "validation")]
    assert chosen == members_of(names, "validation")
    assert 0 < len(chosen) < len(names) == len(find_cases([tmp_path]))


def test_a_limit_is_spread_over_each_group(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"take{number}.mp4").write_bytes(b"")
    cine = write_cine(tmp_path / "hearts.h5", patients=4)
    names = [case.name for case in find_cases([tmp_path, cine], limit=3)]
    assert names == ["patient000", "patient001", "patient002", "take0.mp4", "take3.mp4", "take6.mp4"]


def test_what_is_named_but_no_data_is_refused(tmp_path: Path) -> None:
    """Empty folders, missing files, raw data without a truth, text."""
    with pytest.raises(ReconstructionError, match="No data set was found"):
        find_cases([tmp_path])
    with pytest.raises(ReconstructionError, match="no such file"):
        find_cases([tmp_path / "nowhere.mp4"])
    (tmp_path / "scan.h5").write_bytes(b"raw")
    with pytest.raises(FormatError, match="scan.h5"):
        find_cases([tmp_path / "scan.h5"])
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(FormatError, match="neither a video"):
        find_cases([tmp_path / "notes.txt"])
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["weights"] = np.ones((2, 2))
    with pytest.raises(FormatError, match="no cine images"):
        find_cases([tmp_path / "weights.h5"])


@pytest.mark.parametrize(("count", "first"), [(60, 20), (40, 15), (30, 10)])
def test_the_middle_of_the_first_fifty_frames_is_read(tmp_path: Path, count: int, first: int) -> None:
    """10 frames of the first 50 of 60, of all 40, of all 30."""
    case = Case("v.mp4", "g", "video", write_video(tmp_path / "v.mp4", ramps(count)))
    movie = colour_movie(case, 10, 240, tmp_path / "cache")
    assert movie.shape == (10, 240, 240, 3)
    error = movie[:, 120, 120, 1].astype(int) - 4 * (first + np.arange(10))
    # The codec is off by a few grey values, a frame more or less would be off by 4 everywhere.
    assert abs(error.mean()) < 2 and np.abs(error).max() <= 6


def test_a_short_video_goes_to_and_fro(tmp_path: Path) -> None:
    case = Case("v.mp4", "g", "video", write_video(tmp_path / "v.mp4", ramps(6)))
    movie = colour_movie(case, 12, 240, tmp_path / "cache")
    order = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1]
    np.testing.assert_array_equal(movie[6:], movie[[4, 3, 2, 1, 0, 1]])
    assert abs((movie[:, 120, 120, 1] - 4.0 * np.array(order)).mean()) < 2


def test_a_cine_is_enlarged_continued_and_repeated(tmp_path: Path) -> None:
    """The middle slice, 1.5 times as large in the middle, mirrored at its edges, the beat over and over."""
    path = tmp_path / "c.h5"
    beat = np.zeros((3, 5, 40, 60), np.uint8)
    beat[1] = np.arange(5)[:, None, None] * 10 + np.arange(60)
    with h5py.File(path, "w") as file:
        file["a"] = beat
    movie = colour_movie(Case("a", "c", "cine", path, "a"), 12, 240, tmp_path)
    assert movie.shape == (12, 240, 240, 3)
    np.testing.assert_array_equal(movie[..., 0], movie[..., 2])
    np.testing.assert_array_equal(movie[0], movie[5])
    np.testing.assert_array_equal(movie[1], movie[11])
    line = movie[0, 120, :, 0].astype(int)
    # The 60 columns became 90, in columns 75 to 164.
    np.testing.assert_allclose(line[75:165], (np.arange(90) + 0.5) / 1.5 - 0.5, atol=1)
    np.testing.assert_array_equal(line[165:240], line[163:88:-1])


def test_a_large_cine_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    values = np.random.default_rng(1).integers(0, 65535, (5, 300, 260)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        file["a"] = values
    movie = colour_movie(Case("a", "c", "cine", path, "a"), 5, 240, tmp_path)
    top = np.percentile(values, 99.9)
    expected = np.clip(values[:, 30:270, 10:250] / top, 0, 1) * 255
    assert np.abs(movie[..., 1] - expected).max() <= 0.51


def test_nifti_images_are_cines(tmp_path: Path) -> None:
    """(x, y, slice, frame), gzipped: the middle slice, upright."""
    values = np.random.default_rng(2).integers(0, 255, (240, 240, 3, 5)).astype(np.uint8)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 4, *values.shape, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, 1, 1.5, 1.5, 8, 0.05, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    path = tmp_path / "patient9.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + values.tobytes(order="F")))
    (case,) = find_cases([tmp_path])
    assert (case.kind, case.name) == ("cine", "patient9.nii.gz")
    movie = colour_movie(case, 5, 240, tmp_path)
    np.testing.assert_array_equal(movie[..., 0], values[:, :, 1].transpose(2, 1, 0))


def cine_case(tmp_path: Path) -> Case:
    return Case("patient001", "hearts", "cine", write_cine(tmp_path / "hearts.h5"), "patient001")


def test_the_same_name_gives_the_same_scan(tmp_path: Path) -> None:
    """And another name, sampling or seed another one."""
    case = cine_case(tmp_path)
    first, again = (simulate_case(case, "radial", 5, 0, tmp_path, FEW).acquisition for _ in range(2))
    np.testing.assert_array_equal(first.kspace, again.kspace)
    assert (first.name, first.source_sha256) == ("patient001", again.source_sha256)
    draws = {
        generator(other, sampling, seed).integers(1 << 62)
        for other in (case, replace(case, name="patient002"))
        for sampling in ("radial", "spiral")
        for seed in (0, 1)
    }
    assert len(draws) == 8
    elsewhere = replace(case, path=tmp_path / "moved.h5", group="moved")
    assert generator(elsewhere, "radial", 0).integers(1 << 62) == generator(case, "radial", 0).integers(
        1 << 62
    )


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
def test_the_noisy_target_is_the_truth_with_noise(tmp_path: Path, sampling: Any) -> None:
    """Without noise both agree where there is signal; with it the target's error is that of the noise."""
    silent = replace(FEW, snr_db=(200.0, 200.0))
    case = cine_case(tmp_path)
    for ranges in (silent, FEW):
        scan = simulate_case(case, sampling, 5, 0, tmp_path, ranges)
        preparation = Preparation(scan.acquisition)
        target = noisy_target(scan, preparation)
        assert target.shape == scan.truth.shape
        inside = scan.truth > 0.3
        error = float(np.sqrt(((target - scan.truth)[inside] ** 2).mean()))
        if ranges is silent:
            assert error < (5e-3 if sampling == "cartesian" else 1e-5)
        else:
            noise = scan.coil_images - simulate_case(case, sampling, 5, 0, tmp_path, silent).coil_images
            sigma = float(noise.real.std())
            # A magnitude has the error of one component where the signal is far above the noise.
            assert error == pytest.approx(sigma, rel=0.15)
            # With the noise floor, the truth is the mean of the target's square, and nothing is left of it.
            floor = with_noise_floor(scan, preparation)
            air = scan.truth < 1e-6
            assert np.sqrt((floor[air] ** 2).mean()) == pytest.approx(
                np.sqrt((target[air] ** 2).mean()), rel=0.02
            )


def test_measured_data_keep_their_own_noise(tmp_path: Path) -> None:
    """Coil images of the middle slice come back as they were, up to one factor."""
    rng = np.random.default_rng(2)
    images = (
        rng.standard_normal((3, 5, 2, 240, 240)) + 1j * rng.standard_normal((3, 5, 2, 240, 240))
    ).astype(np.complex64)
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = centred_fft(images, (3, 4)).astype(np.complex64)
    scan = simulate_case(Case("raw.h5", "g", "kspace", path), "cartesian", 7, 0, tmp_path, FEW)
    expected = np.swapaxes(images[1][[0, 1, 2, 3, 4, 0, 1]], 0, 1)
    factor = np.abs(scan.coil_images).max() / np.abs(expected).max()
    np.testing.assert_allclose(scan.coil_images, expected * factor, atol=1e-5)


def test_a_clip_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.full((3, 6, 20, 20), 7, np.uint8)
    with pytest.raises(ReconstructionError, match="same value"):
        simulate_case(Case("a", "c", "cine", path, "a"), "cartesian", 5, 0, tmp_path, FEW)
