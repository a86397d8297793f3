"""Cartesian k-space that a file holds as an array already: lines of zeros were not acquired.

This is how BART, fastMRI and CMRxRecon store it. Such files know neither field of view nor times, so these
come from the YAML beside the file or are assumed, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import JSON, Acquisition
from recon_backend.errors import FormatError, InvalidAcquisition
from recon_backend.formats.assembly import crop_readout
from recon_backend.formats.header import LARGEST_MATRIX
from recon_backend.formats.sidecar import Sidecar
from recon_backend.formats.storage import line_grid
from recon_backend.formats.timing import UNKNOWN_FRAME_TIME_S

Block = npt.NDArray[np.complex64]

_ASSUMED_PIXEL_MM = 1.0


@dataclass(frozen=True)
class Frames:
    """Cartesian frames that can be read one by one.

    Attributes:
        coils: receive coils.
        count: frames.
        lines: rows of k-space, along phase encoding.
        columns: samples along the readout.
        read: gives complex64 (coil, ky, kx) of a frame.
        stored: complex samples that the file holds for them.
        field_of_view_mm: (y, x) of the stored matrix as the file states it; 0 where it does not.
        width: columns to keep after removal of readout oversampling, or None if the file does not say.
        frame_time_s: as the file states it, or None.
        details: as in `Acquisition`.
    """

    coils: int
    count: int
    lines: int
    columns: int
    read: Callable[[int], Block]
    stored: int
    field_of_view_mm: tuple[float, float] = (0.0, 0.0)
    width: int | None = None
    frame_time_s: float | None = None
    details: Mapping[str, JSON] = field(default_factory=dict)


def to_acquisition(
    frames: Frames,
    sidecar: Sidecar | None,
    notes: list[str],
    *,
    name: str,
    source_sha256: str,
    report: Callable[[float], None],
) -> Acquisition:
    """Read all frames and make the `Acquisition`.

    Frames at the end without any line were not acquired and are left out.

    Args:
        frames: where they come from.
        sidecar: the YAML beside the file.
        notes: what was decided so far; decisions made here are added.
        name: as in `Acquisition`.
        source_sha256: as in `Acquisition`.
        report: called with the fraction that is read.

    Raises:
        InvalidAcquisition: a frame between others is empty, or a value is not finite.
        FormatError: the YAML does not fit the file.
    """
    if max(frames.lines, frames.columns) > LARGEST_MATRIX:
        raise InvalidAcquisition(
            f"k-space is {frames.lines} x {frames.columns}, expected at most {LARGEST_MATRIX} per side."
        )
    width = _width(frames, sidecar, notes)
    kspace = line_grid(frames.coils, frames.count, frames.lines, width, frames.stored)
    mask = np.zeros((frames.count, frames.lines), np.bool_)
    for frame in range(frames.count):
        block = frames.read(frame)
        if not np.isfinite(block).all():
            raise InvalidAcquisition(f"k-space of frame {frame} holds NaN or infinite samples.")
        mask[frame] = block.any(axis=(0, 2))
        rows = np.flatnonzero(mask[frame])
        acquired = block[:, rows]
        kspace[:, frame, rows] = acquired if width == frames.columns else crop_readout(acquired, width)
        report((frame + 1) / frames.count)
    used = np.flatnonzero(mask.any(axis=1))
    if used.size == 0:
        raise InvalidAcquisition("all samples are zero: the file holds no signal.")
    count = int(used[-1]) + 1
    if count < frames.count:
        notes.append(f"the last {frames.count - count} frames are empty and were left out")
    field_of_view_mm = _field_of_view(frames, width, sidecar, notes)
    if sidecar is not None and "matrix" in sidecar.stated and sidecar.matrix != (frames.lines, width):
        raise FormatError(
            sidecar.path,
            f"'matrix' is {sidecar.matrix}, but the file holds {frames.lines} lines of {width} samples; "
            "state 'readout_oversampling' if the readout is oversampled, or leave 'matrix' out.",
        )
    step_s = frame_step_s(frames.frame_time_s, int(np.median(mask[:count].sum(axis=1))), sidecar, notes)
    return Acquisition(
        sampling="cartesian",
        kspace=kspace[:, :count],
        matrix=(frames.lines, width),
        field_of_view_mm=field_of_view_mm,
        frame_times_s=step_s * np.arange(count, dtype=np.float64),
        mask=mask[:count],
        name=name,
        source_sha256=source_sha256,
        details=frames.details,
        notes=tuple(notes),
    )


def frame_step_s(stated_s: float | None, readouts: int, sidecar: Sidecar | None, notes: list[str]) -> float:
    """Time from frame to frame of a file without time stamps; a note says where it comes from.

    Args:
        stated_s: what the file states, or None.
        readouts: readouts of a frame.
        sidecar: the YAML beside the file.
        notes: the decision is added.
    """
    if sidecar is not None and sidecar.frame_time_s:
        notes.append(f"frame time is the one of '{sidecar.path.name}'")
        return sidecar.frame_time_s
    if sidecar is not None and sidecar.repetition_time_s:
        notes.append(f"frame time is TR x {readouts} readouts, TR from '{sidecar.path.name}'")
        return sidecar.repetition_time_s * readouts
    if stated_s:
        notes.append("frame time is the one that the header states")
        return stated_s
    notes.append(
        "the file states no times: frames count 1 s each; state 'frame_time_s' in a YAML file beside it"
    )
    return UNKNOWN_FRAME_TIME_S


def assumed_field_of_view(matrix: tuple[int, int], notes: list[str]) -> tuple[float, float]:
    """Field of view (y, x) in mm of a file that states none: pixels of 1 mm, and a note."""
    notes.append(
        "the field of view is not stated: pixels of 1 mm were assumed; state 'field_of_view_mm' in a YAML "
        "file beside it"
    )
    return _ASSUMED_PIXEL_MM * matrix[0], _ASSUMED_PIXEL_MM * matrix[1]


def _width(frames: Frames, sidecar: Sidecar | None, notes: list[str]) -> int:
    width = frames.width or frames.columns
    if sidecar is not None and sidecar.readout_oversampling is not None:
        width = max(1, round(frames.columns / sidecar.readout_oversampling))
    width = min(width, frames.columns)
    if width < frames.columns:
        notes.append(
            f"readout oversampling of {frames.columns / width:.4g} was removed: "
            f"{frames.columns} to {width} samples"
        )
    return width


def _field_of_view(
    frames: Frames, width: int, sidecar: Sidecar | None, notes: list[str]
) -> tuple[float, float]:
    matrix = (frames.lines, width)
    stated = frames.field_of_view_mm
    if sidecar is not None and sidecar.field_of_view_mm is not None:
        if "field_of_view_mm" in sidecar.stated or not all(stated):
            return sidecar.field_of_view_mm
    if all(stated):
        return stated[0], stated[1] * width / frames.columns
    return assumed_field_of_view(matrix, notes)
