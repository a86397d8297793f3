"""Movies survive the disk unchanged, and a failed save leaves the good file alone."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recon_backend.errors import FormatError, InvalidMovie, ReconstructionError
from recon_backend.movie import Movie


def movie(**changes: Any) -> Movie:
    frames = np.random.default_rng(0).random((4, 5, 6), np.float32)
    fields: dict[str, Any] = {
        "frames": frames,
        "pixel_spacing_mm": (1.5, 1.25),
        "frame_times_s": [0.2, 0.25, 0.3, 0.36],
        "provenance": {"method": "gridded", "seconds": {"gridding": 0.5}, "unit": "µm"},
    }
    return Movie(**{**fields, **changes})


def test_round_trip(tmp_path: Path) -> None:
    original = movie()
    path = original.save(tmp_path / "new folder" / "a.h5")
    loaded = Movie.load(path)
    np.testing.assert_array_equal(loaded.frames, original.frames)
    assert loaded.frames.dtype == np.float32
    assert loaded.pixel_spacing_mm == (1.5, 1.25)
    np.testing.assert_array_equal(loaded.frame_times_s, original.frame_times_s)
    assert loaded.provenance == original.provenance
    assert os.listdir(path.parent) == ["a.h5"]


def test_the_file_is_plain_hdf5_as_documented(tmp_path: Path) -> None:
    with h5py.File(movie().save(tmp_path / "a.h5"), "r") as file:
        assert file["movie"].shape == (4, 5, 6)
        assert file["movie"].dtype == np.float32
        assert file.attrs["format"] == "blindcine-movie-1"
        assert file.attrs["pixel_spacing_mm"].tolist() == [1.5, 1.25]
        assert file.attrs["frame_times_s"].shape == (4,)
        assert '"method": "gridded"' in file.attrs["provenance"]


def test_many_frames_exceed_no_attribute_limit(tmp_path: Path) -> None:
    long = Movie(np.zeros((20_000, 1, 1), np.float32), (1, 1), np.arange(20_000) * 0.05)
    assert len(Movie.load(long.save(tmp_path / "a.h5")).frame_times_s) == 20_000


def test_a_failed_save_keeps_the_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = movie().save(tmp_path / "a.h5")
    before = path.read_bytes()

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InvalidMovie, match="JSON"):
        movie(provenance={"x": object()}).save(path)
    with pytest.raises(InvalidMovie, match="JSON"):
        movie(provenance={"x": float("nan")}).save(path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        movie(frames=np.zeros((4, 5, 6))).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = movie().save(tmp_path / "a.h5")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": np.zeros((5, 6))},
        {"frames": np.zeros((0, 5, 6))},
        {"frames": np.full((4, 5, 6), np.nan)},
        {"pixel_spacing_mm": (0, 1)},
        {"pixel_spacing_mm": (1, 1, 1)},
        {"frame_times_s": [0, 1]},
        {"frame_times_s": [0, 1, 1, 2]},
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidMovie):
        movie(**changes)


def test_bad_files_are_named(tmp_path: Path) -> None:
    good = movie().save(tmp_path / "good.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["movie"] = np.zeros((2, 2, 2))
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(good, "r+") as file:
        del file.attrs["frame_times_s"]
    for name, expected in {
        "missing.h5": "no such file",
        "other.h5": "not a movie",
        "cut.h5": "damaged",
        "text.h5": "damaged",
        "good.h5": "damaged",
    }.items():
        with pytest.raises(FormatError, match=expected) as caught:
            Movie.load(tmp_path / name)
        assert str(caught.value).startswith(f"{name}: ")
        assert isinstance(caught.value, ReconstructionError)
