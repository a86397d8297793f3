"""Position-time images with physical axes, and their files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from studies.errors import StudyError
from studies.shapes import Line
from studies.state import MeasurementClip
from studies.yt_files import (
    clip_profiles,
    common_grey_range,
    position_time,
    write_clip_profiles,
    write_yt_csv,
    write_yt_png,
)

SPACING = (2.0, 1.25)
TIMES = 3.0 + 0.05 * np.arange(6)


def moving_edge() -> np.ndarray:
    """Bright below row 10 + frame."""
    rows = np.arange(40)[:, None]
    return np.stack([np.repeat(rows >= 10 + t, 30, axis=1) for t in range(6)]).astype(float)


def test_axes_are_physical_in_both_orientations() -> None:
    """2 mm a row and 1.25 mm a column; an edge that moves a row a frame moves 2 mm in 50 ms."""
    image = position_time(moving_edge(), Line((5, 0), (5, 39)), SPACING, TIMES)
    assert image.values.shape == (79, 6) and image.position_mm[[0, -1]] == pytest.approx([0, 78])
    np.testing.assert_array_equal(image.time_s, TIMES)
    where = [np.interp(0.5, image.values[:, t], image.position_mm) for t in range(6)]
    np.testing.assert_allclose(where, 2 * (9.5 + np.arange(6)))
    across = position_time(moving_edge(), Line((29, 5), (0, 5)), SPACING, TIMES, spacing_px=1)
    assert across.position_mm[-1] == pytest.approx(29 * 1.25) and np.ptp(across.values) == 0
    with pytest.raises(StudyError, match="5 frame times"):
        position_time(moving_edge(), Line((5, 0), (5, 39)), SPACING, TIMES[:5])


def test_csv_holds_axes_and_values(tmp_path: Path) -> None:
    image = position_time(moving_edge() * 1.75, Line((5, 4), (5, 20)), SPACING, TIMES, spacing_px=1)
    write_yt_csv(tmp_path / "yt.csv", image)
    with (tmp_path / "yt.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert [float(cell) for cell in header[1:]] == pytest.approx(TIMES)
    numbers = np.array(rows, float)
    np.testing.assert_allclose(numbers[:, 0], image.position_mm)
    np.testing.assert_allclose(numbers[:, 1:], image.values)
    with pytest.raises(StudyError, match="cannot be written"):
        write_yt_csv(tmp_path / "nowhere" / "yt.csv", image)


def test_png_shows_time_to_the_right_and_position_downwards(tmp_path: Path) -> None:
    """The upper right of the picture is dark (the edge has moved down), the lower left is bright."""
    image = position_time(moving_edge(), Line((5, 8), (5, 17)), SPACING, TIMES)
    write_yt_png(tmp_path / "yt.png", image, grey_range=(0, 1), title="A", dots_per_inch=100)
    picture = imread(tmp_path / "yt.png")[..., :3].mean(axis=2)
    assert picture.shape == (300, 600)
    assert picture[80:110, 480:540].max() < 0.05 and picture[180:220, 110:160].min() > 0.95
    write_yt_png(tmp_path / "own.png", image)
    assert imread(tmp_path / "own.png").shape[:2] == (450, 900)


def test_profiles_of_a_clip_share_one_grey_scale(tmp_path: Path) -> None:
    """A movie of half the brightness is drawn half as bright; files are named by opaque ids."""
    edge = moving_edge()
    movies = np.stack([edge, edge / 2]).astype(np.float32)
    clip = MeasurementClip("c0ffee", movies, ("ab12", "cd34"), TIMES, SPACING)
    paths = write_clip_profiles(tmp_path, clip, Line((5, 8), (5, 17)))
    assert [path.name for path in paths] == [
        f"c0ffee_{movie_id}_yt.{ending}" for movie_id in ("ab12", "cd34") for ending in ("csv", "png")
    ]
    full, half = (np.loadtxt(path, delimiter=",", skiprows=1) for path in paths[::2])
    assert full[:, 1:].max() == 1
    np.testing.assert_allclose(half[:, 1:], full[:, 1:] / 2)
    bright, grey = (imread(path)[270:330, 165:240, :3].mean() for path in paths[1::2])
    assert bright > 0.99 and grey == pytest.approx(0.5, abs=0.02)
    assert common_grey_range(clip_profiles(clip, Line((5, 8), (5, 17)))) == (0, 1)
    with pytest.raises(StudyError, match="leaves the image"):
        write_clip_profiles(tmp_path / "other", clip, Line((5, 8), (5, 40)))
    assert not (tmp_path / "other").exists()
