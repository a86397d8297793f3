"""From single readouts to an `Acquisition`: which frame, which line, which unit.

This is the part of reading that is the same for every vendor format: a format module fills `Readouts` and a
`ScanHeader`, `assemble` does the rest and notes each decision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from recon_backend.acquisition import Acquisition
from recon_backend.errors import InvalidAcquisition
from recon_backend.formats.header import ScanHeader
from recon_backend.formats.timing import frame_times

IntegerArray = npt.NDArray[np.int64]

_UNIT_TOLERANCE = 0.02
_SIZE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Readouts:
    """The imaging readouts of one slice in the order of acquisition.

    Attributes:
        samples: complex64 (readout, coil, sample), finite.
        trajectory: float32 (readout, sample, 2 or 3), components (x, y[, z]) in any unit, or None.
        line: kspace_encode_step_1, (readout,).
        repetition: repetition counter, (readout,).
        phase: phase counter, (readout,).
        average: average counter, (readout,).
        starts_frame: True where a flag says that a repetition, phase or slice begins, (readout,).
        ends_frame: True where a flag says that one ends, (readout,).
        is_reversed: True where the line was read backwards, (readout,).
        centre_sample: index of the sample at the centre of k-space, (readout,).
        discard_pre: leading samples to leave out, (readout,).
        discard_post: trailing samples to leave out, (readout,).
        ticks: time stamp, (readout,).
        number: position in the file, for messages, (readout,).
    """

    samples: npt.NDArray[np.complex64]
    trajectory: npt.NDArray[np.float32] | None
    line: IntegerArray
    repetition: IntegerArray
    phase: IntegerArray
    average: IntegerArray
    starts_frame: npt.NDArray[np.bool_]
    ends_frame: npt.NDArray[np.bool_]
    is_reversed: npt.NDArray[np.bool_]
    centre_sample: IntegerArray
    discard_pre: IntegerArray
    discard_post: IntegerArray
    ticks: IntegerArray
    number: IntegerArray


def assemble(
    readouts: Readouts, header: ScanHeader, notes: list[str], *, name: str, source_sha256: str, whitened: bool
) -> Acquisition:
    """Sort readouts into frames and make the `Acquisition`.

    Args:
        readouts: the imaging readouts of one slice.
        header: what the file's header says.
        notes: what was decided so far; decisions made here are added.
        name: as in `Acquisition`.
        source_sha256: as in `Acquisition`.
        whitened: as in `Acquisition`.

    Raises:
        InvalidAcquisition: a frame is empty, a line lies outside the matrix, or the trajectory is missing or
            of an unknown unit; the message is one sentence.
    """
    frame = assign_frames(readouts, header, notes)
    times_s, time_note = frame_times(readouts.ticks, frame, header.repetition_time_s)
    notes.append(time_note)
    common: Mapping[str, Any] = {
        "sampling": header.sampling,
        "frame_times_s": times_s,
        "details": header.details,
        "name": name,
        "source_sha256": source_sha256,
        "whitened": whitened,
    }
    if not readouts.samples.any():
        raise InvalidAcquisition("all samples are zero: the file holds no signal.")
    if header.sampling == "cartesian":
        return _assemble_cartesian(readouts, header, frame, notes, common)
    return _assemble_non_cartesian(readouts, header, frame, notes, common)


def assign_frames(readouts: Readouts, header: ScanHeader, notes: list[str]) -> IntegerArray:
    """The frame of each readout, (readout,), counted from 0 without gaps.

    Frames are the repetitions or the phases, whichever vary (repetition by repetition, phase by phase if both
    do). If neither does, a frame ends where a flag says so or where a line comes again that is no further
    average.

    Raises:
        InvalidAcquisition: a frame between the first and the last has no readout.
    """
    repetitions = int(np.ptp(readouts.repetition)) + 1
    phases = int(np.ptp(readouts.phase)) + 1
    if repetitions == 1 and phases == 1:
        frame = _split_at_repeats(readouts)
        if frame[-1] > 0:
            notes.append(
                "frames were split where lines repeat, since neither repetition nor phase counts them"
            )
        return frame
    frame = np.asarray(
        (readouts.repetition - readouts.repetition.min()) * phases + readouts.phase - readouts.phase.min(),
        np.int64,
    )
    counter = "repetition" if phases == 1 else "phase" if repetitions == 1 else "repetition and phase"
    present = np.unique(frame)
    empty = repetitions * phases - present.size
    if empty:
        first = np.flatnonzero(present != np.arange(present.size))[0]
        more = f" (and {empty - 1} more)" if empty > 1 else ""
        raise InvalidAcquisition(
            f"frame {first}{more} has no readout: the {counter} counter jumps over it; "
            "expected at least one readout in every frame."
        )
    notes.append(f"frames are counted by {counter}")
    announced = {"repetition": header.last_repetition, "phase": header.last_phase}.get(counter)
    last = int(readouts.repetition.max() if counter == "repetition" else readouts.phase.max())
    if announced is not None and announced > last:
        notes.append(f"the header announces {announced - last} more frames than the file holds")
    return frame


def trajectory_to_radians(
    trajectory: npt.NDArray[np.float32], matrix: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], str]:
    """Bring a trajectory (..., 2), components (y, x), to rad/pixel by the size of its largest radius.

    Up to 0.5 it is cycles/pixel, up to 1 a fraction of the Nyquist limit, up to pi rad/pixel, up to half the
    matrix cycles/FOV.

    Returns:
        float32 of the same shape, rad/pixel, clipped to [-pi, pi] against rounding; and a note on the unit.

    Raises:
        InvalidAcquisition: it is all zero, not finite, or larger than any known unit allows.
    """
    if not np.isfinite(trajectory).all():
        raise InvalidAcquisition("the trajectory holds NaN or infinite values.")
    largest = float(np.sqrt(np.square(trajectory, dtype=np.float64).sum(axis=-1).max()))
    if largest == 0:
        raise InvalidAcquisition(
            "the trajectory is zero everywhere; the file must carry where its samples lie."
        )
    slack = 1 + _UNIT_TOLERANCE
    scale: float | npt.NDArray[np.float64]
    if largest <= 0.5 * slack:
        scale, unit = 2 * np.pi, "cycles/pixel"
    elif largest <= slack:
        scale, unit = np.pi, "fractions of the Nyquist limit (-1 to 1)"
    elif largest <= np.pi * slack:
        scale, unit = 1.0, "rad/pixel"
    elif largest <= max(matrix) / 2 * slack:
        scale, unit = 2 * np.pi / np.asarray(matrix), "cycles/FOV"
    else:
        raise InvalidAcquisition(
            f"the trajectory reaches {largest:.4g}, which fits no known unit; expected cycles/pixel (0.5), "
            f"rad/pixel (pi) or cycles/FOV (half the matrix, {max(matrix) / 2:g})."
        )
    radians = np.clip(trajectory * scale, -np.pi, np.pi).astype(np.float32)
    return radians, f"trajectory was in {unit} (largest radius {largest:.4g})"


def _split_at_repeats(readouts: Readouts) -> IntegerArray:
    frame = np.zeros(readouts.line.size, np.int64)
    current = 0
    seen: set[tuple[int, int]] = set()
    flagged = False
    columns = (readouts.line, readouts.average, readouts.starts_frame, readouts.ends_frame)
    for position, (line, average, starts, ends) in enumerate(
        zip(*(c.tolist() for c in columns), strict=True)
    ):
        if seen and (flagged or starts or (line, average) in seen):
            current += 1
            seen.clear()
        seen.add((line, average))
        frame[position] = current
        flagged = ends
    return frame


def _assemble_cartesian(
    readouts: Readouts, header: ScanHeader, frame: IntegerArray, notes: list[str], common: Mapping[str, Any]
) -> Acquisition:
    lines, columns = header.encoded_matrix
    if readouts.samples.shape[-1] > columns:
        raise InvalidAcquisition(
            f"readouts have {readouts.samples.shape[-1]} samples, "
            f"but the header's encoded matrix is {columns} wide."
        )
    centre = header.centre_line
    if centre is None:
        centre = lines // 2
        notes.append(f"the header does not state the centre line: {centre} was taken")
    row = readouts.line - centre + lines // 2
    outside = np.flatnonzero((row < 0) | (row >= lines))
    if outside.size:
        raise InvalidAcquisition(
            f"readout {readouts.number[outside[0]]} has line {readouts.line[outside[0]]}, outside the "
            f"encoded matrix of {lines} lines with its centre at line {centre}."
        )
    samples, width, width_mm = _without_oversampling(_on_full_readout(readouts, columns), header, notes)

    shape = (int(frame.max()) + 1, lines)
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (frame, row), 1)
    kspace = np.zeros((*shape, samples.shape[1], width), np.complex64)
    np.add.at(kspace, (frame, row), samples)
    if counts.max() > 1:
        kspace /= np.maximum(counts, 1)[..., None, None].astype(np.float32)
        notes.append(f"lines that were read up to {counts.max()} times in a frame were averaged")
    mask = counts > 0
    acquired = mask.sum(axis=1)
    if acquired[-1] < np.median(acquired):
        notes.append(f"the last frame is incomplete: {acquired[-1]} of {int(np.median(acquired))} lines")
    height_mm = header.encoded_field_of_view_mm[0] or header.field_of_view_mm[0]
    if header.matrix != (lines, width):
        notes.append(
            f"the matrix is {lines} x {width} as acquired; "
            f"the header asks for {header.matrix[0]} x {header.matrix[1]}"
        )
    return Acquisition(
        kspace=np.ascontiguousarray(kspace.transpose(2, 0, 1, 3)),
        matrix=(lines, width),
        field_of_view_mm=(height_mm, width_mm),
        mask=mask,
        notes=tuple(notes),
        **common,
    )


def _on_full_readout(readouts: Readouts, columns: int) -> npt.NDArray[np.complex64]:
    """Samples (readout, coil, columns): backward lines turned, discarded ones zero, partial echoes placed."""
    samples = readouts.samples
    length = samples.shape[-1]
    position = np.arange(length)
    discarded = (position < readouts.discard_pre[:, None]) | (
        position >= length - readouts.discard_post[:, None]
    )
    if discarded.any():
        samples = np.where(discarded[:, None], np.complex64(0), samples)
    backwards = readouts.is_reversed
    if backwards.any():
        samples = samples.copy()
        samples[backwards] = samples[backwards, :, ::-1]
    if length == columns:
        return samples
    centre = np.where(backwards, length - 1 - readouts.centre_sample, readouts.centre_sample)
    start = columns // 2 - centre
    outside = np.flatnonzero((start < 0) | (start + length > columns))
    if outside.size:
        raise InvalidAcquisition(
            f"readout {readouts.number[outside[0]]} has {length} samples with the centre at "
            f"{centre[outside[0]]}, which does not fit the encoded matrix of {columns}."
        )
    full = np.zeros((*samples.shape[:2], columns), np.complex64)
    for offset in np.unique(start):
        chosen = start == offset
        full[chosen, :, offset : offset + length] = samples[chosen]
    return full


def _without_oversampling(
    samples: npt.NDArray[np.complex64], header: ScanHeader, notes: list[str]
) -> tuple[npt.NDArray[np.complex64], int, float]:
    """Crop the field of view along the readout to the one that the header asks for; the pixel size stays."""
    columns = samples.shape[-1]
    ratio, pixel_mm = _readout_oversampling(columns, header, notes)
    width = min(round(columns / ratio), columns)
    width_mm = pixel_mm * width
    if width == columns:
        return samples, columns, width_mm
    start = columns // 2 - width // 2
    notes.append(f"readout oversampling of {columns / width:.4g} was removed: {columns} to {width} samples")
    # The half-sample shifts of both FFTs cancel only if the centre is kept at index N // 2 on both sides.
    image = fft.fftshift(fft.ifft(fft.ifftshift(samples, axes=-1), axis=-1, norm="ortho"), axes=-1)
    image = fft.ifftshift(image[..., start : start + width], axes=-1)
    cropped = fft.fftshift(fft.fft(image, axis=-1, norm="ortho"), axes=-1)
    return cropped.astype(np.complex64, copy=False), width, width_mm


def _readout_oversampling(columns: int, header: ScanHeader, notes: list[str]) -> tuple[float, float]:
    """Encoded over wanted field of view along the readout, and the pixel spacing along it in mm.

    Lengths tell. Where they contradict the matrix sizes, one of the two is careless or the wanted matrix is
    interpolated; the pixels closer to square decide.
    """
    encoded_mm, wanted_mm = header.encoded_field_of_view_mm[1], header.field_of_view_mm[1]
    by_size = columns / header.matrix[1], wanted_mm / header.matrix[1]
    if not encoded_mm:
        return by_size
    if not wanted_mm:
        return by_size[0], encoded_mm / columns
    by_length = encoded_mm / wanted_mm, encoded_mm / columns
    across_mm = header.encoded_field_of_view_mm[0] / header.encoded_matrix[0]
    if across_mm and abs(by_length[0] / by_size[0] - 1) > _SIZE_TOLERANCE:
        skew_by_size, skew_by_length = (abs(math.log(pixel / across_mm)) for _, pixel in (by_size, by_length))
        if skew_by_size < skew_by_length:
            notes.append(
                "the encoded field of view along the readout contradicts the matrix and was not used"
            )
            return by_size
    return by_length


def _assemble_non_cartesian(
    readouts: Readouts, header: ScanHeader, frame: IntegerArray, notes: list[str], common: Mapping[str, Any]
) -> Acquisition:
    if readouts.trajectory is None:
        raise InvalidAcquisition(
            f"the header says '{header.sampling}', but the readouts carry no trajectory; "
            "expected one of 2 components with every readout."
        )
    samples, file_trajectory = readouts.samples, readouts.trajectory
    keep = slice(int(readouts.discard_pre.max()), samples.shape[-1] - int(readouts.discard_post.max()))
    samples, file_trajectory = samples[..., keep], file_trajectory[:, keep]
    if samples.shape[-1] == 0:
        raise InvalidAcquisition("the readouts' discard_pre and discard_post leave no sample.")
    trajectory, unit_note = trajectory_to_radians(_in_plane(file_trajectory, notes)[..., ::-1], header.matrix)
    notes.append(unit_note)

    counts = np.bincount(frame)
    order = np.argsort(frame, kind="stable")
    slot = np.empty_like(frame)
    slot[order] = np.arange(frame.size) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (counts.size, int(counts.max()))
    kspace = np.zeros((samples.shape[1], *shape, samples.shape[-1]), np.complex64)
    kspace[:, frame, slot] = samples.transpose(1, 0, 2)
    placed = np.zeros((*shape, samples.shape[-1], 2), np.float32)
    placed[frame, slot] = trajectory
    readout_mask = np.arange(shape[1]) < counts[:, None]
    if not readout_mask.all():
        incomplete = np.flatnonzero(~readout_mask.all(axis=1))
        notes.append(
            f"{incomplete.size} of {counts.size} frames are incomplete (frame {incomplete[0]}: "
            f"{counts[incomplete[0]]} of {shape[1]} readouts)"
        )
    height_mm, width_mm = (
        wanted or encoded
        for wanted, encoded in zip(header.field_of_view_mm, header.encoded_field_of_view_mm, strict=True)
    )
    return Acquisition(
        kspace=kspace,
        matrix=header.matrix,
        field_of_view_mm=(height_mm, width_mm),
        trajectory=placed,
        readout_mask=readout_mask,
        notes=tuple(notes),
        **common,
    )


def _in_plane(trajectory: npt.NDArray[np.float32], notes: list[str]) -> npt.NDArray[np.float32]:
    """Components (x, y) of a trajectory of 2 or 3 components."""
    third = trajectory[..., 2:]
    if third.any():
        if third.min() < 0:
            raise InvalidAcquisition(
                "the trajectory has 3 dimensions; only 2-dimensional slices can be read."
            )
        notes.append(
            "the trajectory's third component is never negative and was taken for density weights: not used"
        )
    return trajectory[..., :2]
