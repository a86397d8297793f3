"""An `Acquisition` accepts what follows the conventions, and says in one sentence what does not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recon_backend.acquisition import Acquisition
from recon_backend.errors import InvalidAcquisition


def cartesian(**changes: Any) -> Acquisition:
    mask = np.zeros((3, 6), bool)
    mask[:, 3] = mask[0, 1] = True
    kspace = np.where(mask[None, :, :, None], np.ones((2, 3, 6, 8)), 0).astype(np.complex64)
    fields: dict[str, Any] = {
        "sampling": "cartesian",
        "kspace": kspace,
        "matrix": (6, 8),
        "field_of_view_mm": (300, 320),
        "frame_times_s": [0, 0.05, 0.11],
        "mask": mask,
    }
    return Acquisition(**{**fields, **changes})


def radial(**changes: Any) -> Acquisition:
    fields: dict[str, Any] = {
        "sampling": "radial",
        "kspace": np.ones((2, 3, 4, 5), np.complex64),
        "matrix": (8, 8),
        "field_of_view_mm": (320, 320),
        "frame_times_s": [0, 0.05, 0.11],
        "trajectory": np.full((3, 4, 5, 2), -np.pi, np.float32),
    }
    return Acquisition(**{**fields, **changes})


def test_properties() -> None:
    acquisition = cartesian()
    assert (acquisition.coils, acquisition.frames) == (2, 3)
    assert acquisition.pixel_spacing_mm == (50.0, 40.0)
    assert acquisition.frame_time_s == pytest.approx(0.055)
    assert acquisition.readouts_per_frame.tolist() == [2, 1, 1]
    assert radial().readouts_per_frame.tolist() == [4, 4, 4]
    assert radial().readout_mask.shape == (3, 4)


def test_summary_is_json_and_complete() -> None:
    summary = json.loads(json.dumps(cartesian(name="a", notes=("n",), details={"tr_ms": 3.0}).summary()))
    assert summary["matrix"] == [6, 8]
    assert summary["readouts_per_frame"] == [1, 2]
    assert summary["acceleration"] == 4.5
    assert summary["duration_s"] == pytest.approx(0.165)
    assert summary["details"] == {"tr_ms": 3.0}
    assert summary["notes"] == ["n"]
    assert "acceleration" not in radial(sampling="spiral").summary()


def test_slice_of_frames_keeps_the_clock() -> None:
    part = radial().frames_slice(1, 3)
    assert part.frames == 2
    assert part.frame_times_s.tolist() == [0.05, 0.11]
    assert part.trajectory.shape == (2, 4, 5, 2)
    assert cartesian().frames_slice(0, 1).frame_time_s == 0
    for start, stop in ((0, 0), (2, 4), (-1, 2)):
        with pytest.raises(InvalidAcquisition):
            radial().frames_slice(start, stop)


def poisoned(value: complex) -> np.ndarray:
    kspace = np.ones((2, 3, 4, 5), np.complex64)
    kspace[1, 2, 0, 0] = value
    return kspace


@pytest.mark.parametrize(
    ("make", "changes", "expected"),
    [
        (cartesian, {"sampling": "zigzag"}, "zigzag"),
        (cartesian, {"kspace": np.ones((2, 3, 6, 8))}, "complex64"),
        (cartesian, {"kspace": np.ones((3, 6, 8), np.complex64)}, "4 dimensions"),
        (cartesian, {"kspace": np.ones((0, 3, 6, 8), np.complex64)}, "empty"),
        (cartesian, {"matrix": (8, 6)}, "matrix"),
        (cartesian, {"matrix": (0, 8)}, "positive"),
        (cartesian, {"field_of_view_mm": (300, np.nan)}, "field of view"),
        (cartesian, {"frame_times_s": [0, 0.1]}, "frame times"),
        (cartesian, {"frame_times_s": [0, 0.1, 0.1]}, "increasing"),
        (cartesian, {"mask": None}, "mask"),
        (cartesian, {"mask": np.zeros((3, 6), bool)}, "frame 0 has no acquired line"),
        (cartesian, {"mask": np.eye(3, 6, dtype=bool)}, "not acquired"),
        (cartesian, {"mask": np.ones((3, 6))}, "bool"),
        (radial, {"kspace": poisoned(complex(np.nan, 0))}, "frame 2 holds NaN"),
        (radial, {"kspace": poisoned(complex(0, np.inf))}, "frame 2 holds NaN"),
        (radial, {"trajectory": None}, "trajectory"),
        (radial, {"trajectory": np.zeros((3, 4, 5, 2))}, "float32"),
        (radial, {"trajectory": np.full((3, 4, 5, 2), 3.2, np.float32)}, "3.2 rad/pixel"),
        (radial, {"trajectory": np.full((3, 4, 5, 2), np.nan, np.float32)}, "rad/pixel"),
        (radial, {"readout_mask": np.eye(3, 4, dtype=bool)}, "not acquired"),
        (radial, {"mask": np.ones((3, 4), bool)}, "no Cartesian mask"),
    ],
)
def test_contradictions_are_named(make: Any, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidAcquisition, match=expected) as caught:
        make(**changes)
    assert str(caught.value).endswith(".")
