"""One real-time scan as raw data: k-space, where it was sampled, geometry and timing.

Conventions: Cartesian k-space is `(coil, frame, ky, kx)` and zero where `mask (frame, ky)` is False;
non-Cartesian k-space is `(coil, frame, readout, sample)` with `trajectory (frame, readout, sample, 2)` in
rad/pixel, component order (y, x), within [-pi, pi], so that a sample is
sum_r image(r) exp(-i k.r) / sqrt(y * x) with r in pixels from index N // 2 (centred orthonormal FFT).
An `Acquisition` checks itself when it is made and holds no patient data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from recon_backend.errors import InvalidAcquisition

Sampling = Literal["cartesian", "radial", "spiral"]
JSON: TypeAlias = "str | int | float | bool | None | Sequence[JSON] | Mapping[str, JSON]"

# Rounding of float32 trajectories and of headers must not make a good file fail.
_TRAJECTORY_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Acquisition:
    """Raw data of one scan, ready for reconstruction.

    Attributes:
        sampling: "cartesian", "radial" or "spiral".
        kspace: complex64; `(coil, frame, ky, kx)` if Cartesian, else `(coil, frame, readout, sample)`.
        matrix: reconstruction matrix (y, x).
        field_of_view_mm: field of view (y, x) of that matrix, mm.
        frame_times_s: centre of each frame, s, strictly increasing, 0 at the first frame of the scan.
        mask: bool `(frame, ky)`, True where a line was acquired; Cartesian only.
        trajectory: float32 `(frame, readout, sample, 2)`, rad/pixel, (y, x); non-Cartesian only.
        readout_mask: bool `(frame, readout)`, False where a readout was not acquired (its samples are zero);
            non-Cartesian only, None there means that all were acquired.
        whitened: True if the noise scan was used to decorrelate the coils to unit noise variance.
        name: the file's stem.
        source_sha256: SHA-256 of the raw file, hexadecimal; empty if there is no file.
        details: protocol name, vendor, field strength, TR and so on; never anything that names the patient
            or the place.
        notes: what was detected or decided on reading, one sentence each.

    Raises:
        InvalidAcquisition: a shape, type or range is wrong; the message is one sentence.
    """

    sampling: Sampling
    kspace: npt.NDArray[np.complex64]
    matrix: tuple[int, int]
    field_of_view_mm: tuple[float, float]
    frame_times_s: npt.NDArray[np.float64]
    mask: npt.NDArray[np.bool_] | None = None
    trajectory: npt.NDArray[np.float32] | None = None
    readout_mask: npt.NDArray[np.bool_] | None = None
    whitened: bool = False
    name: str = ""
    source_sha256: str = ""
    details: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every field against the conventions."""
        set_field = object.__setattr__  # the dataclass is frozen
        set_field(self, "matrix", tuple(int(n) for n in self.matrix))
        set_field(self, "field_of_view_mm", tuple(float(length) for length in self.field_of_view_mm))
        set_field(self, "frame_times_s", np.asarray(self.frame_times_s, np.float64))
        set_field(self, "notes", tuple(self.notes))
        self._check_kspace()
        self._check_geometry()
        self._check_times()
        if self.sampling == "cartesian":
            self._check_cartesian()
        else:
            if self.readout_mask is None:
                set_field(self, "readout_mask", np.ones(self.kspace.shape[1:3], np.bool_))
            self._check_non_cartesian()

    @property
    def coils(self) -> int:
        """Number of receive coils."""
        return int(self.kspace.shape[0])

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.kspace.shape[1])

    @property
    def pixel_spacing_mm(self) -> tuple[float, float]:
        """Pixel spacing (y, x) of the reconstruction matrix, mm."""
        return self.field_of_view_mm[0] / self.matrix[0], self.field_of_view_mm[1] / self.matrix[1]

    @property
    def frame_time_s(self) -> float:
        """Median time from frame to frame, s; 0 if there is a single frame."""
        return float(np.median(np.diff(self.frame_times_s))) if self.frames > 1 else 0.0

    @property
    def readouts_per_frame(self) -> npt.NDArray[np.int64]:
        """Number of acquired lines (Cartesian) or readouts of each frame, `(frame,)`."""
        acquired = self.mask if self.mask is not None else self.readout_mask
        assert acquired is not None  # __post_init__ sees to one of the two
        return np.asarray(acquired.sum(axis=1), np.int64)

    def frames_slice(self, start: int, stop: int) -> Acquisition:
        """The scan cut to frames `start` to `stop - 1`; frame times keep the clock of the whole scan.

        Raises:
            InvalidAcquisition: the range is empty or reaches beyond the scan.
        """
        if not 0 <= start < stop <= self.frames:
            raise InvalidAcquisition(
                f"frames {start} to {stop} were asked for, but the scan has frames 0 to {self.frames}."
            )
        cut = slice(start, stop)
        return dataclasses.replace(
            self,
            kspace=self.kspace[:, cut],
            frame_times_s=self.frame_times_s[cut],
            mask=None if self.mask is None else self.mask[cut],
            trajectory=None if self.trajectory is None else self.trajectory[cut],
            readout_mask=None if self.readout_mask is None else self.readout_mask[cut],
        )

    def summary(self) -> dict[str, JSON]:
        """What the scan holds, ready for JSON; this is what `blindcine info --json` prints."""
        readouts = self.readouts_per_frame
        summary: dict[str, JSON] = {
            "name": self.name,
            "sampling": self.sampling,
            "matrix": list(self.matrix),
            "field_of_view_mm": [round(length, 4) for length in self.field_of_view_mm],
            "pixel_spacing_mm": [round(spacing, 5) for spacing in self.pixel_spacing_mm],
            "coils": self.coils,
            "frames": self.frames,
            "frame_time_s": round(self.frame_time_s, 6),
            "duration_s": round(float(self.frame_times_s[-1] - self.frame_times_s[0]) + self.frame_time_s, 6),
            "readouts_per_frame": [int(readouts.min()), int(readouts.max())],
            "samples_per_readout": int(self.kspace.shape[-1]),
            "whitened": self.whitened,
            "source_sha256": self.source_sha256,
            "details": dict(self.details),
            "notes": list(self.notes),
        }
        if self.sampling != "spiral":  # how much one spiral arm covers depends on its design, not on a count
            summary["acceleration"] = round(self.matrix[0] / float(readouts.mean()), 2)
        return summary

    def _check_kspace(self) -> None:
        if self.sampling not in get_args(Sampling):
            known = ", ".join(get_args(Sampling))
            raise InvalidAcquisition(f"sampling is '{self.sampling}', expected one of {known}.")
        if self.kspace.dtype != np.complex64 or self.kspace.ndim != 4:
            raise InvalidAcquisition(
                "k-space must be a complex64 array of 4 dimensions, "
                f"got {self.kspace.dtype} of shape {self.kspace.shape}."
            )
        if 0 in self.kspace.shape:
            raise InvalidAcquisition(f"k-space is empty: its shape is {self.kspace.shape}.")
        for frame in range(self.kspace.shape[1]):  # frame by frame: no temporary of the size of the scan
            if not np.isfinite(self.kspace[:, frame]).all():
                raise InvalidAcquisition(f"k-space of frame {frame} holds NaN or infinite samples.")

    def _check_geometry(self) -> None:
        if len(self.matrix) != 2 or min(self.matrix) < 1:
            raise InvalidAcquisition(f"the matrix must be two positive numbers (y, x), got {self.matrix}.")
        lengths = self.field_of_view_mm
        if len(lengths) != 2 or not np.isfinite(lengths).all() or min(lengths) <= 0:
            raise InvalidAcquisition(
                f"the field of view must be two positive lengths (y, x) in mm, got {lengths}."
            )

    def _check_times(self) -> None:
        times = self.frame_times_s
        if times.shape != (self.frames,):
            raise InvalidAcquisition(f"{times.shape} frame times for {self.frames} frames.")
        if not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
            raise InvalidAcquisition("frame times must be finite, not negative and increasing.")

    def _check_cartesian(self) -> None:
        if self.mask is None or self.trajectory is not None or self.readout_mask is not None:
            raise InvalidAcquisition("a Cartesian acquisition has a mask, and no trajectory or readout mask.")
        if self.kspace.shape[2:] != self.matrix:
            raise InvalidAcquisition(
                f"Cartesian k-space is {self.kspace.shape[2:]} but the matrix is {self.matrix}."
            )
        self._check_mask(self.mask, "mask", "line")

    def _check_non_cartesian(self) -> None:
        if self.mask is not None or self.trajectory is None or self.readout_mask is None:
            raise InvalidAcquisition(f"a {self.sampling} acquisition has a trajectory and no Cartesian mask.")
        expected = (*self.kspace.shape[1:], 2)
        if self.trajectory.dtype != np.float32 or self.trajectory.shape != expected:
            raise InvalidAcquisition(
                f"the trajectory must be float32 of shape {expected}, "
                f"got {self.trajectory.dtype} of {self.trajectory.shape}."
            )
        largest = float(np.max([np.abs(part).max() for part in self.trajectory]))  # no copy of all of it
        if not largest <= np.pi + _TRAJECTORY_TOLERANCE:  # NaN fails too
            raise InvalidAcquisition(f"the trajectory reaches {largest:.4g} rad/pixel, expected at most pi.")
        self._check_mask(self.readout_mask, "readout mask", "readout")

    def _check_mask(self, mask: npt.NDArray[np.bool_], what: str, unit: str) -> None:
        if mask.dtype != np.bool_ or mask.shape != self.kspace.shape[1:3]:
            raise InvalidAcquisition(
                f"the {what} must be bool of shape {self.kspace.shape[1:3]}, "
                f"got {mask.dtype} of {mask.shape}."
            )
        empty = np.flatnonzero(~mask.any(axis=1))
        if empty.size:
            raise InvalidAcquisition(f"frame {empty[0]} has no acquired {unit}.")
        for frame, acquired in enumerate(mask):
            if self.kspace[:, frame, ~acquired].any():
                raise InvalidAcquisition(
                    f"frame {frame} has samples in a {unit} that its {what} calls not acquired."
                )
