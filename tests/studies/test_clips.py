"""Reading movies, cutting arms to common frames, blinded copies."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from studies import clips
from studies.errors import StudyError

MovieWriter = Callable[..., Path]


def numbered(frames: range) -> np.ndarray:
    """Frames of 4 × 4 pixels whose value is their number."""
    return np.ones((len(frames), 4, 4)) * np.array(frames)[:, None, None]


def test_arms_are_cut_to_common_times(write_movie: MovieWriter) -> None:
    """One arm starts at the fifth frame, one lacks its last and runs 2 ms late: frames 4…8 are common."""
    whole = write_movie("whole.h5", numbered(range(10)), times=0.05 * np.arange(10))
    late = write_movie("late.h5", numbered(range(4, 10)), times=0.05 * np.arange(4, 10))
    short = write_movie("short.h5", numbered(range(9)), times=0.05 * np.arange(9) + 0.002)
    aligned = clips.align([clips.read_movie(path) for path in (whole, late, short)])
    for movie in aligned:
        assert movie.frames[:, 0, 0].tolist() == [4, 5, 6, 7, 8]
        assert np.array_equal(movie.frame_times_s, aligned[0].frame_times_s)
    assert aligned[0].frame_times_s == pytest.approx(0.05 * np.arange(4, 9))


def test_frames_of_other_times_are_not_taken_for_the_same(write_movie: MovieWriter) -> None:
    """Half a frame apart is another moment."""
    first = write_movie("first.h5", numbered(range(6)), times=0.05 * np.arange(6))
    second = write_movie("second.h5", numbered(range(6)), times=0.05 * np.arange(6) + 0.025)
    with pytest.raises(StudyError, match="share 0 frame times"):
        clips.align([clips.read_movie(first), clips.read_movie(second)])


def test_other_matrix_or_spacing_is_refused(write_movie: MovieWriter) -> None:
    """A panel of another size would tell the arm."""
    first = clips.read_movie(write_movie("first.h5", np.ones((4, 8, 8))))
    with pytest.raises(StudyError, match=r"'matrix.h5' has the matrix \(8, 9\)"):
        clips.align([first, clips.read_movie(write_movie("matrix.h5", np.ones((4, 8, 9))))])
    with pytest.raises(StudyError, match="'spacing.h5' has the pixel spacing"):
        clips.align(
            [first, clips.read_movie(write_movie("spacing.h5", np.ones((4, 8, 8)), spacing=(1.5, 1.3)))]
        )


def test_blinded_copy_holds_frames_and_nothing_of_the_origin(
    write_movie: MovieWriter, tmp_path: Path
) -> None:
    """Noise and a smooth movie give files of one size and one time; what is read back is what was written."""
    noise = np.random.default_rng(0).random((5, 16, 16)).astype(np.float32)
    paths = []
    for name, frames in (("dl_natural.h5", noise), ("compressed_sensing.h5", np.zeros_like(noise))):
        movie = clips.read_movie(write_movie(name, frames, provenance={"method": name}))
        assert movie.provenance == {"method": name}
        paths.append(tmp_path / f"{len(paths)}.h5")
        sha256 = clips.write_blinded(paths[-1], movie)
        again = clips.read_blinded(paths[-1], sha256)
        assert np.array_equal(again.frames, frames)
        assert again.provenance == {}
        assert again.pixel_spacing_mm == (1.5, 1.25)
        assert again.frame_times_s == pytest.approx(0.05 * np.arange(5))
        for word in (b"dl_natural", b"compressed", b"method"):
            assert word not in paths[-1].read_bytes()
    first, second = (os.stat(path) for path in paths)
    assert first.st_size == second.st_size
    assert first.st_mtime_ns == second.st_mtime_ns


def test_changed_copy_is_not_shown(write_movie: MovieWriter, tmp_path: Path) -> None:
    """One pixel altered, or the file gone."""
    path = tmp_path / "copy.h5"
    sha256 = clips.write_blinded(path, clips.read_movie(write_movie("a.h5")))
    with h5py.File(path, "r+") as file:
        file["movie"][0, 0, 0] += 1
    with pytest.raises(StudyError, match="'copy.h5' is not the file that was attached"):
        clips.read_blinded(path, sha256)
    path.unlink()
    with pytest.raises(StudyError, match="'copy.h5' cannot be read"):
        clips.read_blinded(path, sha256)


def test_unsound_movies_are_refused(write_movie: MovieWriter, tmp_path: Path) -> None:
    """Each with one sentence that names the file."""
    hole = np.ones((3, 4, 4))
    hole[1, 2, 2] = np.nan
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    whole = write_movie("whole.h5")
    truncated = tmp_path / "truncated.h5"
    truncated.write_bytes(whole.read_bytes()[:3000])
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["movie"] = np.ones((3, 4, 4))
    grouped = write_movie("grouped.h5")
    with h5py.File(grouped, "r+") as file:
        del file["movie"]
        file.create_group("movie")
    for path, message in [
        (write_movie("hole.h5", hole), "pixels that are not numbers"),
        (write_movie("flat.h5", np.ones((4, 4))), "the shape"),
        (write_movie("times.h5", np.ones((3, 4, 4)), times=[0.0, 0.1, 0.1]), "increasing time"),
        (write_movie("few.h5", np.ones((3, 4, 4)), times=[0.0, 0.1]), "increasing time"),
        (write_movie("zero.h5", np.ones((3, 4, 4)), spacing=(0.0, 1.0)), "pixel spacing"),
        (text, "not a readable movie"),
        (truncated, "not a readable movie"),
        (other, "not a movie of blindcine"),
        (grouped, "no magnitude movie"),
        (tmp_path / "absent.h5", "cannot be read"),
    ]:
        with pytest.raises(StudyError, match=message) as caught:
            clips.read_movie(path)
        assert f"'{path.name}'" in str(caught.value)


def test_a_single_frame_shares_no_moment(write_movie: MovieWriter) -> None:
    """It has no frame time, so nothing tells whether it is the same moment."""
    whole = clips.read_movie(write_movie("whole.h5", numbered(range(6))))
    single = clips.read_movie(write_movie("single.h5", numbered(range(1))))
    for movies in ([whole, single], [single, whole], [single, single]):
        with pytest.raises(StudyError, match="share 0 frame times"):
            clips.align(movies)


def test_clips_longer_than_a_file_can_hold_are_refused() -> None:
    times = 0.01 * np.arange(clips.MAXIMUM_FRAMES + 1)
    frames = np.ones((len(times), 1, 1), np.float32)
    movie = clips.ClipMovie(frames, (1.0, 1.0), times, {}, "long.h5")
    with pytest.raises(StudyError, match="at most 8000 frames, not 8001: cut the scan"):
        clips.align([movie, movie])
    kept = replace(movie, frames=frames[:-1], frame_times_s=times[:-1])
    assert len(clips.align([movie, kept])[0].frames) == clips.MAXIMUM_FRAMES


def test_provenance_that_is_no_table_is_refused(write_movie: MovieWriter) -> None:
    path = write_movie("list.h5")
    with h5py.File(path, "a") as file:
        file.attrs["provenance"] = '["dl_natural"]'
    with pytest.raises(StudyError, match=r"provenance of the movie 'list\.h5' is not a table"):
        clips.read_movie(path)


def test_a_copy_that_the_disk_refuses_is_named(write_movie: MovieWriter, tmp_path: Path) -> None:
    movie = clips.read_movie(write_movie("a.h5"))
    with pytest.raises(StudyError, match=r"'7f\.h5' cannot be written: No such file"):
        clips.write_blinded(tmp_path / "gone" / "7f.h5", movie)
