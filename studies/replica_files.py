"""Files of pseudo-replicas: noise and SNR of every pixel of a movie, SNR of regions with its interval.

The file (HDF5, `recon_backend.pseudo_replica` writes it) holds the movie of the scan as it is, mean and SD of
its replicas, and every replica's pixels of the regions that were asked for. The SNR of a region is that of
`studies.snr.ReplicaStatistics`: its mean over the root of the mean variance over the replicas. Over time it
is taken over all pixels of all frames at once; its interval (jackknife over replicas, Student's t) shrinks
with the root of the replicas, which tells how many more a narrower one takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from studies.errors import StudyError
from studies.snr import ReplicaRegionSnr, ReplicaStatistics

REPLICAS_FORMAT = "blindcine-replicas-1"
TARGET_DB = 0.5
"""Half-width of the 95 % interval that is narrow enough to compare methods by."""


@dataclass(frozen=True, eq=False)
class ReplicaRegion:
    """The pixels of a region."""

    mask: NDArray[np.bool_]
    """(t, y, x)."""
    signal: NDArray[np.float32]
    """(t, pixel) of the movie of the scan as it is, NaN where a frame has fewer pixels."""
    values: NDArray[np.float32]
    """(replica, t, pixel), alike."""

    def over_frames(self) -> ReplicaRegionSnr:
        """SNR in every frame, each (t,); NaN where the region has fewer than two pixels."""
        counts = np.isfinite(self.signal).sum(axis=1)
        found = np.full((4, len(counts)), np.nan)
        for count in np.unique(counts[counts > 1]):
            frames = np.flatnonzero(counts == count)
            found[:, frames] = _snr(self.values[:, frames, :count], self.signal[frames, :count])
        return ReplicaRegionSnr(*found)

    def over_time(self) -> ReplicaRegionSnr:
        """SNR of all pixels of all frames together, each (1,)."""
        present = np.isfinite(self.signal)
        return _snr(self.values[:, present][:, None], self.signal[present][None])


@dataclass(frozen=True, eq=False)
class ReplicaFile:
    """What a file of replicas holds."""

    signal: NDArray[np.float32]
    """Movie of the scan as it is, (t, y, x)."""
    mean: NDArray[np.float32]
    """Mean of the replicas, (t, y, x)."""
    sd: NDArray[np.float32]
    """Their SD, (t, y, x)."""
    snr_db: NDArray[np.float32]
    """20 log10(signal / SD), (t, y, x)."""
    count: int
    """Replicas."""
    pixel_spacing_mm: tuple[float, float]
    """(y, x)."""
    frame_times_s: NDArray[np.float64]
    """(t,)."""
    regions: Mapping[str, ReplicaRegion]
    provenance: Mapping[str, Any]

    @property
    def method(self) -> str:
        """Which reconstruction it is of."""
        return str(self.provenance.get("method", ""))


def read_replicas(path: Path) -> ReplicaFile:
    """Read a file of replicas.

    Raises:
        StudyError: It cannot be read, or is of another kind.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != REPLICAS_FORMAT:
                raise StudyError(f"'{path.name}' holds no replicas: its format is not '{REPLICAS_FORMAT}'.")
            images = {name: np.asarray(file[name][()], np.float32) for name in _IMAGES}
            regions = {
                str(name): ReplicaRegion(
                    np.asarray(group["mask"][()], np.bool_),
                    np.asarray(group["signal"][()], np.float32),
                    np.asarray(group["values"][()], np.float32),
                )
                for name, group in (file["regions"].items() if "regions" in file else ())
            }
            spacing = np.asarray(file.attrs["pixel_spacing_mm"], np.float64)
            found = ReplicaFile(
                **images,
                count=int(file.attrs["count"]),
                pixel_spacing_mm=(float(spacing[0]), float(spacing[1])),
                frame_times_s=np.asarray(file.attrs["frame_times_s"], np.float64),
                regions=regions,
                provenance=json.loads(file.attrs["provenance"]),
            )
    except FileNotFoundError as error:
        raise StudyError(f"'{path}' cannot be read: there is no such file.") from error
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise StudyError(f"'{path.name}' is no readable file of replicas: measure them again.") from error
    shapes = {image.shape for image in images.values()}
    if len(shapes) != 1 or found.signal.ndim != 3 or found.frame_times_s.shape != found.signal.shape[:1]:
        raise StudyError(f"'{path.name}' has images that do not fit together: measure the replicas again.")
    return found


_IMAGES = ("signal", "mean", "sd", "snr_db")


def replicas_needed(count: int, half_width_db: float, target_db: float = TARGET_DB) -> int:
    """How many replicas bring the half-width of an interval down to a target; `count` if it is there."""
    if not math.isfinite(half_width_db) or half_width_db <= target_db:
        return count
    return 1 + math.ceil((count - 1) * (half_width_db / target_db) ** 2)


def _snr(values: NDArray[np.float32], signal: NDArray[np.float32]) -> ReplicaRegionSnr:
    """SNR of values (replica, t, pixel) beside the signal (t, pixel)."""
    statistics = ReplicaStatistics({"region": np.ones((1, signal.shape[1]), bool)})
    for replica in values:
        statistics.add(replica[:, None, :])
    return statistics.region_snr("region", signal[:, None, :])
