"""Files of pseudo-replicas: SNR of regions by NumPy and a jackknife written anew; files that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import stats

from studies.errors import StudyError
from studies.replica_files import ReplicaFile, read_replicas, replicas_needed

REPLICAS, FRAMES, ROWS, COLUMNS = 9, 3, 5, 6
SIGNAL = np.random.default_rng(3).uniform(20, 30, (FRAMES, ROWS, COLUMNS)).astype(np.float32)
DRAWN = SIGNAL + np.random.default_rng(4).normal(0, 2, (REPLICAS, FRAMES, ROWS, COLUMNS)).astype(np.float32)
PIXELS = (7, 1, 0)
"""Of the region in each frame: one frame has too few for an SNR, one has none."""


def write_replicas(path: Path, *, regions: bool = True, **changes: Any) -> Path:
    """A file as `recon_backend.pseudo_replica` lays it out, with datasets and attributes changed by name."""
    sd = DRAWN.std(axis=0, ddof=1)
    content: dict[str, Any] = {
        "signal": SIGNAL,
        "mean": DRAWN.mean(axis=0),
        "sd": sd,
        "snr_db": 20 * np.log10(SIGNAL / sd),
        "format": "blindcine-replicas-1",
        "count": REPLICAS,
        "pixel_spacing_mm": (2.0, 1.5),
        "frame_times_s": 0.05 * np.arange(FRAMES),
        "provenance": json.dumps({"method": "gridded"}),
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if name in ("signal", "mean", "sd", "snr_db"):
                file[name] = value
            else:
                file.attrs[name] = value
        if regions:
            mask = np.zeros((FRAMES, ROWS, COLUMNS), bool)
            values = np.full((REPLICAS, FRAMES, max(PIXELS)), np.nan, np.float32)
            signal = values[0].copy()
            for frame, count in enumerate(PIXELS):
                mask[frame].flat[:count] = True
                signal[frame, :count] = SIGNAL[frame][mask[frame]]
                values[:, frame, :count] = DRAWN[:, frame, mask[frame]]
            group = file.create_group("regions/signal")
            group["mask"], group["signal"], group["values"] = mask, signal, values
    return path


def snr_db(level: np.ndarray, values: np.ndarray) -> float:
    """Of values (replica, pixel): mean over the root of the mean variance, in dB."""
    return float(20 * np.log10(level.mean(dtype=float) / np.sqrt(values.astype(float).var(0, ddof=1).mean())))


def test_every_field_comes_back(tmp_path: Path) -> None:
    found = read_replicas(write_replicas(tmp_path / "a.h5"))
    assert (found.count, found.method, found.pixel_spacing_mm) == (REPLICAS, "gridded", (2.0, 1.5))
    np.testing.assert_array_equal(found.signal, SIGNAL)
    np.testing.assert_allclose(found.sd, DRAWN.std(axis=0, ddof=1), rtol=1e-6)
    assert found.frame_times_s.tolist() == pytest.approx([0, 0.05, 0.1])
    assert set(found.regions) == {"signal"} and found.regions["signal"].mask.sum() == sum(PIXELS)
    without = read_replicas(write_replicas(tmp_path / "b.h5", regions=False, provenance="{}"))
    assert without.regions == {} and without.method == ""


def test_snr_of_a_region_and_its_jackknife(tmp_path: Path) -> None:
    """One frame by the definition, replicas left out one by one; frames of one or no pixel have no SNR."""
    region = read_replicas(write_replicas(tmp_path / "a.h5")).regions["signal"]
    found = region.over_frames()
    level, values = SIGNAL[0].ravel()[:7], DRAWN[:, 0].reshape(REPLICAS, -1)[:, :7]
    left_out = np.array([snr_db(level, np.delete(values, one, axis=0)) for one in range(REPLICAS)])
    error = np.sqrt((REPLICAS - 1) * left_out.var())
    assert found.snr_db[0] == pytest.approx(snr_db(level, values), abs=1e-6)
    assert found.standard_error_db[0] == pytest.approx(error, rel=1e-4)
    reach = stats.t.ppf(0.975, REPLICAS - 1) * error
    assert (found.low_db[0], found.high_db[0]) == pytest.approx(
        (found.snr_db[0] - reach, found.snr_db[0] + reach), rel=1e-5
    )
    assert np.isnan(found.snr_db[1:]).all() and np.isnan(found.high_db[1:]).all()
    # Over time the single pixel of the second frame counts too.
    whole = region.over_time()
    both = np.append(level, SIGNAL[1].flat[0]), np.column_stack([values, DRAWN[:, 1, 0, 0]])
    assert whole.snr_db.shape == (1,) and whole.snr_db[0] == pytest.approx(snr_db(*both), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "blindcine-movie-1"}, "holds no replicas"),
        ({"provenance": "{"}, "no readable file"),
        ({"provenance": 3}, "no readable file"),
        ({"pixel_spacing_mm": (1.0,)}, "no readable file"),
        ({"count": "many"}, "no readable file"),
        ({"sd": np.ones((FRAMES, ROWS, COLUMNS + 1))}, "do not fit together"),
        ({"frame_times_s": np.arange(FRAMES + 1.0)}, "do not fit together"),
        ({name: np.ones((ROWS, COLUMNS)) for name in ("signal", "mean", "sd", "snr_db")}, "do not fit"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=rf"'a\.h5'.*{said}"):
        read_replicas(write_replicas(tmp_path / "a.h5", **changes))


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such file"):
        read_replicas(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(StudyError, match="no readable file"):
        read_replicas(tmp_path / "text.h5")
    flat = write_replicas(tmp_path / "flat.h5", regions=False)
    with h5py.File(flat, "a") as file:
        file["regions"] = 1.0
    with pytest.raises(StudyError, match="no readable file"):
        read_replicas(flat)


@pytest.mark.parametrize(
    ("count", "half_width", "target", "needed"),
    [
        (30, 0.4, 0.5, 30),
        (30, 0.5, 0.5, 30),
        (30, 1.0, 0.5, 117),
        (3, float("nan"), 0.5, 3),
        (11, 0.3, 0.2, 24),
    ],
)
def test_the_interval_shrinks_with_the_root_of_the_replicas(
    count: int, half_width: float, target: float, needed: int
) -> None:
    """1 + ceil((N - 1) (width / target)²); nothing can be said of an interval that is not a number."""
    assert replicas_needed(count, half_width, target) == needed


def test_kind_of_result(tmp_path: Path) -> None:
    """The program reads numbers and texts, whatever HDF5 stored them as."""
    found: ReplicaFile = read_replicas(write_replicas(tmp_path / "a.h5", count=np.int16(REPLICAS)))
    assert type(found.count) is int and found.signal.dtype == np.float32
