"""`blindcine replicas` from raw data to printed SNR, and the reader of its files, without a framework."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from app.cli import main
from recon_backend.simulation.phantoms import Phantom
from recon_backend.simulation.scanner import simulate_scan
from studies.errors import StudyError
from studies.mask_files import label_movie, write_mask
from studies.replica_files import read_replicas, replicas_needed
from studies.roi_files import RoiFile, write_roi_file
from studies.shapes import Ellipse, Rectangle, Shapes
from studies.timed_shapes import TimedShapes

FRAMES, SIZE = 3, 32
SHAPES = Shapes(signal=Ellipse((16.0, 16.0), (5.0, 4.0)), background=Rectangle((4.0, 3.5), (6.0, 5.0)))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "S01.h5"
    phantom = Phantom("short_axis", 0)
    simulate_scan(path, phantom, sampling="radial", frames=FRAMES, matrix=SIZE, coils=2, moments_per_frame=1)
    return path


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roi") / "roi.json"
    roi = RoiFile(
        TimedShapes(SHAPES), (SIZE, SIZE), FRAMES, (1.0, 1.0), "0" * 64, "Ada", "2026-11-22T10:00:00", "test"
    )
    write_roi_file(path, roi)
    return path


def test_snr_of_the_regions_of_a_drawing(
    raw: Path, drawing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replicas", str(raw), "--method", "gridded", "--count", "12", "--out", str(tmp_path)]
    assert main([*words, "--roi", str(drawing), "--csv", str(tmp_path / "snr.csv")]) == 0
    path, header, signal, background = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "S01_gridded_replicas.h5") and "for ±0.5 dB" in header
    found = read_replicas(Path(path))
    assert found.method == "gridded" and found.count == 12
    mask = SHAPES.signal.mask((SIZE, SIZE))  # type: ignore[union-attr]
    whole = 20 * np.log10(
        found.signal[:, mask].mean(dtype=float) / np.sqrt((found.sd[:, mask].astype(float) ** 2).mean())
    )
    words_of = signal.split()
    assert words_of[:3] == ["gridded", "signal", str(mask.sum())]
    assert float(words_of[3]) == pytest.approx(whole, abs=0.006)
    assert float(words_of[4]) < whole < float(words_of[5])
    assert background.split()[1] == "background"
    rows = list(csv.DictReader((tmp_path / "snr.csv").read_text().splitlines()))
    assert [(row["region"], row["frame"]) for row in rows[:FRAMES]] == [
        ("signal", str(n + 1)) for n in range(FRAMES)
    ]
    expected = 20 * np.log10(
        found.signal[1, mask].mean(dtype=float) / np.sqrt((found.sd[1, mask].astype(float) ** 2).mean())
    )
    assert float(rows[1]["snr_db"]) == pytest.approx(expected, abs=1e-4)
    assert float(rows[1]["low_db"]) < expected < float(rows[1]["high_db"])


def test_a_mask_whose_region_moves_and_frames_without_it(raw: Path, tmp_path: Path) -> None:
    """A mask of the last two frames, as of a clip whose first ones were cut away."""
    timed = label_movie(TimedShapes(SHAPES), np.arange(2) * 0.05, (SIZE, SIZE), (1.0, 1.0))
    timed.labels[1, 16, 16] = 0
    write_mask(tmp_path / "mask.nrrd", timed)
    words = ["replicas", str(raw), "--method", "gridded", "--count", "5", "--out", str(tmp_path)]
    assert main([*words, "--roi", str(tmp_path / "mask.nrrd")]) == 0
    region = read_replicas(tmp_path / "S01_gridded_replicas.h5").regions["signal"]
    pixels = int((timed.labels[0] == 1).sum())
    assert np.isfinite(region.signal).sum(axis=1).tolist() == [0, pixels, pixels - 1]
    snr = region.over_frames().snr_db
    assert np.isnan(snr[0]) and np.isfinite(snr[1:]).all()
    assert region.over_time().snr_db[0] == pytest.approx(snr[1:].mean(), abs=1)


def test_what_cannot_be_measured_is_one_sentence(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replicas", str(raw), "--method", "gridded", "--out", str(tmp_path / "out")]
    assert main([*words, "--count", "1"]) == 2
    assert "from 3 to 10000" in capsys.readouterr().err
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    assert main([*words, "--noise-covariance", str(tmp_path / "bad.npy")]) == 2
    assert "no array of numbers" in capsys.readouterr().err
    np.save(tmp_path / "psi.npy", np.eye(5))
    assert main([*words, "--noise-covariance", str(tmp_path / "psi.npy")]) == 2
    assert "of 5 coils, but the scan has 2" in capsys.readouterr().err
    empty = label_movie(TimedShapes(Shapes()), np.arange(2.0), (SIZE, SIZE), (1.0, 1.0))
    write_mask(tmp_path / "empty.nii", empty)
    assert main([*words, "--roi", str(tmp_path / "empty.nii")]) == 2
    assert "no region is drawn" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such file"):
        read_replicas(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(StudyError, match="no readable file"):
        read_replicas(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "blindcine-movie-1"
    with pytest.raises(StudyError, match="holds no replicas"):
        read_replicas(tmp_path / "other.h5")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.attrs["format"] = "blindcine-replicas-1"
        file["signal"] = np.ones((2, 3, 3))
    with pytest.raises(StudyError, match="no readable file"):
        read_replicas(tmp_path / "part.h5")


def test_more_replicas_narrow_the_interval_with_their_root() -> None:
    assert replicas_needed(30, 0.4) == 30
    assert replicas_needed(30, 1.0, 0.5) == 1 + 29 * 4
