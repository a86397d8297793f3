"""Training material: splits, what is drawn, what is skipped, and the sentences about it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from recon_backend.errors import ReconstructionError
from recon_backend.preparation import NORMALISATION_RULE
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.training.samples import (
    PUBLISHED_PATCHES,
    TRUTH_PEAK_RULE,
    PatchShape,
    draw_batches,
    drawn_range,
    simulated_clip,
)
from recon_backend.training.sources import (
    CineFile,
    KspaceFolder,
    VideoFolder,
    members_of,
    only_part_moves,
    open_source,
)


def write_video(path: Path, frames: np.ndarray) -> None:
    """A lossless video."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def moving(count: int, seed: int) -> np.ndarray:
    """Coloured noise that moves, with a bright bar that tells the frame."""
    base = np.random.default_rng(seed).integers(0, 200, (48, 64, 3), dtype=np.uint8)
    frames = np.stack([np.roll(base, t, axis=1) for t in range(count)])
    for t in range(count):
        frames[t, :4] = 5 * t
    return frames


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos, and three files that are none."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        write_video(folder / f"clip{number}.mkv", moving(20, number))
    write_video(folder / "short.mkv", moving(3, 9))
    (folder / "corrupt.mp4").write_bytes(b"\x00" * 5000)
    (folder / "notes.txt").write_text("not a video")
    return folder


def write_cine(path: Path, patients: int, shape: tuple[int, ...] = (2, 10, 40, 44)) -> None:
    """A cine file with float images, so that they must be converted."""
    rng = np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        file.attrs["licence"] = "made by a test"
        for number in range(patients):
            file[f"patient{number:03d}"] = 1000 * rng.random(shape, dtype=np.float32)


def test_bad_files_are_skipped_and_named(videos: Path, tmp_path: Path) -> None:
    """The rest goes on, with both splits; each skipped file has its sentence."""
    splits = [VideoFolder(videos, tmp_path, split) for split in ("train", "validation")]  # type: ignore[arg-type]
    names = [name for source in splits for name in source.names]
    assert sorted(names) == [f"clip{number}.mkv" for number in range(4)]
    assert all(source.names for source in splits)
    skipped = splits[0].skipped
    assert len(skipped) == 2 and splits[1].skipped == skipped
    assert skipped[0].startswith("corrupt.mp4: the video cannot be decoded")
    assert skipped[1].startswith("short.mkv: too short: 3 frames")


@pytest.mark.parametrize("count", [2, 5, 10, 30])
@pytest.mark.parametrize("pattern", ["clip{}.mp4", "clip_{}.mp4", "{:04d}.mp4"])
def test_every_folder_has_both_splits(count: int, pattern: str) -> None:
    """From two clips on, whatever their names; the splits are disjoint and complete."""
    names = [pattern.format(number) for number in range(count)]
    train, validation = members_of(names, "train"), members_of(names, "validation")
    assert train and validation
    assert sorted([*train, *validation]) == sorted(names)
    assert len(validation) <= max(1, 0.4 * count)


def test_adding_clips_never_validates_on_what_was_trained_on() -> None:
    """While a folder grows, a clip may leave the validation split, but a training clip never enters it."""
    names = [f"film{number}.mp4" for number in np.random.default_rng(4).permutation(200)]
    trained: set[str] = set()
    for count in range(2, 200):
        assert trained.isdisjoint(members_of(names[:count], "validation"))
        trained.update(members_of(names[:count], "train"))


def test_segments_stay_together_in_a_small_folder() -> None:
    """With ten segments of three recordings, no recording is in both splits."""
    names = [f"{recording}_{part}.mp4" for recording in ("cup", "dog", "sea") for part in range(3)]
    train, validation = members_of(names, "train"), members_of(names, "validation")
    assert {name[:3] for name in train}.isdisjoint({name[:3] for name in validation})


def test_published_reading_is_the_same_at_every_visit(videos: Path, tmp_path: Path) -> None:
    """Drawn once a clip: the simulated scan depends on nothing but the clip; improved draws differ."""
    source = open_source(videos, tmp_path / "p", "train", published=True)
    ranges = SimulationRanges.published(coils=(2, 2))
    scans = {}
    for seed in range(5):
        index = int(np.random.default_rng(seed).integers(len(source.names)))
        scan = simulated_clip(source, "cartesian", 4, np.random.default_rng(seed), ranges)
        if index in scans:
            np.testing.assert_array_equal(scan.acquisition.kspace, scans[index])
        scans[index] = scan.acquisition.kspace
    assert len(scans) < 5, "a clip was visited twice"
    free = open_source(videos, tmp_path / "f", "train")
    ours = SimulationRanges(coils=(2, 2))
    first, second = (
        simulated_clip(free, "cartesian", 4, np.random.default_rng(seed), ours, threads=1) for seed in (1, 2)
    )
    assert not np.allclose(first.truth, second.truth)


def test_improved_draws_turn_flip_reverse_and_move(videos: Path, tmp_path: Path) -> None:
    """Over many draws the bar that tells the frame is met on all sides, and time runs both ways."""
    source = VideoFolder(videos, tmp_path, "train")
    rng, sides, directions, starts = np.random.default_rng(5), set(), set(), set()
    for _ in range(60):
        movie = source.draw(rng, 4, 48, SimulationRanges(crop=(1.0, 1.0), still_share=0.0))
        assert movie.shape == (4, 48, 48, 3) and movie.dtype == np.uint8
        edges = [movie[:, 1, 12:36], movie[:, -2, 12:36], movie[:, 12:36, 1], movie[:, 12:36, -2]]
        flat = [float(edge.astype(float).std(axis=1).max()) for edge in edges]
        side = int(np.argmin(flat))
        sides.add(side)
        bar = edges[side].mean(axis=(1, 2))
        directions.add(int(np.sign(bar[1] - bar[0])))
        starts.add(round(float(bar[0]) / 5))
    assert sides == {0, 1, 2, 3} and {-1, 1} <= directions and len(starts) > 8


def test_one_part_moves_and_the_rest_rests() -> None:
    """Inside the ellipse the movie as it was, outside its middle frame, between them a mixture of both."""
    movie = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    ranges = SimulationRanges(still_part=(0.25, 0.25))
    places = set()
    for seed in range(20):
        drawn = only_part_moves(movie, np.random.default_rng(seed), ranges)
        assert drawn.dtype == np.uint8 and drawn.shape == movie.shape
        np.testing.assert_array_equal(drawn[2], movie[2])
        rests = (drawn == movie[2]).all(axis=(0, 3))
        moves = (drawn == movie).all(axis=(0, 3))
        assert 0.4 < rests.mean() < 1, "an ellipse of radius 16 of 64 pixels, part of which may lie outside"
        assert moves.any() and not (rests & moves).any()
        mixed = ~(rests | moves)
        low, high = (np.minimum(movie, movie[2]), np.maximum(movie, movie[2]))
        assert ((drawn >= low) & (drawn <= high)).all(axis=(0, 3))[mixed].all()
        y, x = np.nonzero(moves)
        assert max(np.ptp(y), np.ptp(x)) <= 2 * 16
        places.add((int(y.mean()) // 16, int(x.mean()) // 16))
    assert len(places) > 8, "anywhere in the picture"


def test_the_share_of_videos_that_rest_is_drawn(videos: Path, tmp_path: Path) -> None:
    """All, none, or about half of the movies have pixels that never change; the published ones have none."""
    source = VideoFolder(videos, tmp_path, "train")

    def share(ranges: SimulationRanges) -> float:
        rng = np.random.default_rng(3)
        # Frames of coloured noise that is shifted: none of it rests by itself.
        still = [
            bool((np.ptp(source.draw(rng, 4, 48, ranges), axis=0) == 0).all(axis=-1).mean() > 0.1)
            for _ in range(40)
        ]
        return float(np.mean(still))

    assert share(SimulationRanges(still_share=1.0)) == 1
    assert share(SimulationRanges(still_share=0.0)) == 0
    assert 0.25 < share(SimulationRanges()) < 0.75
    assert SimulationRanges.published().still_share == 0


def test_cine_of_any_type_is_converted_once_and_mapped(tmp_path: Path) -> None:
    """Float series become uint8 files in the cache; full-field images are cut to the matrix."""
    write_cine(tmp_path / "cine.h5", 12, (1, 10, 150, 140))
    source = CineFile(tmp_path / "cine.h5", "train", tmp_path / "cache")
    cached = sorted((tmp_path / "cache").glob("cine-*.npy"))
    assert len(cached) == 12 > len(source.names) and np.load(cached[0]).dtype == np.uint8
    stamps = [path.stat().st_mtime_ns for path in cached]
    CineFile(tmp_path / "cine.h5", "train", tmp_path / "cache")
    assert [path.stat().st_mtime_ns for path in cached] == stamps
    movie = source.draw(np.random.default_rng(1), 6, 128)
    assert movie.shape == (6, 128, 128, 3) and (movie[..., 0] == movie[..., 1]).all()
    published = source.draw(np.random.default_rng(1), 14, 128, SimulationRanges.published())
    np.testing.assert_array_equal(published[10:], published[:4])  # ten phases, over and over


def test_one_bad_patient_does_not_stop_the_others(tmp_path: Path) -> None:
    """A patient with too few phases is named, a folder's broken file too."""
    folder = tmp_path / "cines"
    folder.mkdir()
    for number in range(3):
        with h5py.File(folder / f"p{number}.h5", "w") as file:
            file["cine"] = np.random.default_rng(number).random((10, 30, 30))
    with h5py.File(folder / "still.h5", "w") as file:
        file["cine"] = np.random.default_rng(9).random((1, 30, 30))
    (folder / "broken.nii.gz").write_bytes(b"zzz")
    splits = [open_source(folder, tmp_path / "cache", split) for split in ("train", "validation")]  # type: ignore[arg-type]
    assert sorted(name for source in splits for name in source.names) == ["p0.h5", "p1.h5", "p2.h5"]
    skipped = sorted(sentence.split(":")[0] for sentence in splits[0].skipped)
    assert skipped == ["broken.nii.gz", "still.h5"]


def test_raw_data_are_drawn_as_coil_images(tmp_path: Path) -> None:
    """Complex, cyclic, all coils; the samples of a network come out of them."""
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(6)
    for number in range(2):
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            shape = (1, 5, 4, 64, 64)
            file["kspace"] = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype("c8")
    source = open_source(folder, tmp_path / "cache", "train")
    assert isinstance(source, KspaceFolder) and len(source.names) == 1
    images = source.draw(rng, 7, 64)
    assert images.shape == (4, 7, 64, 64) and images.dtype == np.complex64
    energies = (np.abs(images) ** 2).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(energies[5:], energies[:2], rtol=1e-4)
    ((inputs, target),) = draw_batches(
        source, "cartesian", PatchShape(6, 6, 0, 16, 1), rng, SimulationRanges()
    )
    assert inputs[0].shape == (1, 6, 240, 16, 2) and target.shape == (1, 6, 240, 16)


def test_kinds_are_not_mixed(videos: Path, tmp_path: Path) -> None:
    """Videos beside cine files: which are meant is for the user to say; an empty folder says what goes in."""
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x")
    write_cine(folder / "b.h5", 2)
    with pytest.raises(ReconstructionError, match=r"holds videos \(a.mp4\), cine images \(b.h5\)"):
        open_source(folder, tmp_path, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReconstructionError, match="no video, cine or raw data found"):
        open_source(tmp_path / "empty", tmp_path, "train")


def test_the_published_scale_is_the_peak_of_the_truth(videos: Path, tmp_path: Path) -> None:
    """With the whole matrix in one sample, the target's peak over the clip is 1; by our rule it is not."""
    source = open_source(videos, tmp_path, "train", published=True)
    ranges = SimulationRanges.published(coils=(3, 3))
    patch = PatchShape(8, 8, 0, 0, 1)
    for rule, exact in ((TRUTH_PEAK_RULE, True), (NORMALISATION_RULE, False)):
        ((inputs, target),) = draw_batches(
            source, "cartesian", patch, np.random.default_rng(7), ranges, normalisation=rule
        )
        assert inputs[0].shape == (1, 8, 240, 240, 2)
        assert (target.max() == pytest.approx(1, abs=1e-5)) == exact
    assert PUBLISHED_PATCHES["radial"] == PatchShape(32, 24, 0, 0, 1)


@pytest.mark.parametrize(("size", "length"), [(256, 64), (240, 128), (240, 24), (40, 40)])
def test_patches_see_the_edges_about_as_often_as_the_middle(size: int, length: int) -> None:
    """The corner is seen at most three times less often than any other pixel; all patches lie inside."""

    class Each:
        """Draws every number of a range once."""

        def __init__(self, number: int) -> None:
            self.number = number

        def integers(self, low: int, high: int) -> int:
            return low + self.number % (high - low)

    count = size + length - 1
    ranges = [drawn_range(size, length, Each(number)) for number in range(count)]  # type: ignore[arg-type]
    assert {part.start for part in ranges} == set(range(size - length + 1))
    coverage = np.zeros(size, int)
    for part in ranges:
        assert part.stop - part.start == length
        coverage[part] += 1
    assert coverage.max() <= 3 * coverage.min()
