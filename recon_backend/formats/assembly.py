"""From single readouts to an `Acquisition`: which frame, which line, which unit.

This is the part of reading that is the same for every vendor format: a format module fills `Readouts` and a
`ScanHeader`, `assemble` does the rest and notes each decision. Samples and trajectory come in blocks and go
straight to their place in the result, so that reading needs little more memory than the result itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from recon_backend.acquisition import Acquisition
from recon_backend.errors import InvalidAcquisition
from recon_backend.formats.header import ScanHeader
from recon_backend.formats.storage import grid, line_grid, readouts_a_block, zeros
from recon_backend.formats.timing import frame_times

IntegerArray = npt.NDArray[np.int64]

_UNIT_TOLERANCE = 0.02
_SIZE_TOLERANCE = 0.01


def chosen_slice(slices: Sequence[int] | IntegerArray, asked: int | None, notes: list[str]) -> int:
    """The slice to read, noted where there are several.

    Args:
        slices: numbers of the slices that the file has, ascending.
        asked: the one that was asked for; None = the first.
        notes: takes the note.

    Raises:
        InvalidAcquisition: the file has no such slice, or none.
    """
    if len(slices) == 0:
        raise InvalidAcquisition("the file has no slices.")
    wanted = int(slices[0]) if asked is None else asked
    if wanted not in slices:
        raise InvalidAcquisition(
            f"there is no slice {wanted}; the file has slices {slices[0]} to {slices[-1]}."
        )
    if len(slices) > 1:
        notes.append(f"slice {wanted} of {len(slices)} was read")
    return wanted


@dataclass(frozen=True)
class SampleSource:
    """The samples of the imaging readouts, read when they are asked for.

    Attributes:
        count: readouts.
        coils: channels of each.
        length: samples of each.
        blocks: gives (place, samples) block by block, all readouts once and in order; place is a slice of the
            readouts, samples complex64 (readout, coil, sample), finite, and may be written over.
    """

    count: int
    coils: int
    length: int
    blocks: Callable[[], Iterator[tuple[slice, npt.NDArray[np.complex64]]]]

    @classmethod
    def from_array(cls, samples: npt.NDArray[np.complex64]) -> SampleSource:
        """Samples that are in memory already, complex64 (readout, coil, sample)."""
        count, coils, length = samples.shape
        step = readouts_a_block(coils, length)

        def blocks() -> Iterator[tuple[slice, npt.NDArray[np.complex64]]]:
            for start in range(0, count, step):
                place = slice(start, min(start + step, count))
                yield place, samples[place].copy()

        return cls(count, coils, length, blocks)


@dataclass(frozen=True)
class TrajectorySource:
    """Where the samples of the imaging readouts lie, worked out when it is asked for.

    Attributes:
        dimensions: components, 2 or 3.
        points: gives float32 (readout, sample, dimensions), components (x, y[, z]), of the readouts of the
            block of samples that was given last; its arguments are int64 arrays (readout,): position in the
            order of acquisition, frame, and position within the frame.
        in_radians: True for rad/pixel; else the unit is found out from the largest radius.
    """

    dimensions: int
    points: Callable[[IntegerArray, IntegerArray, IntegerArray], npt.NDArray[np.float32]]
    in_radians: bool = False


@dataclass(frozen=True)
class Readouts:
    """The imaging readouts of one slice in the order of acquisition.

    Attributes:
        samples: where their samples come from.
        trajectory: where they lie, or None.
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
        set: set counter, (readout,); counts frames only where neither repetition nor phase does.
        frame: the frame of each readout where it is known beforehand, (readout,); else None.
    """

    samples: SampleSource
    trajectory: TrajectorySource | None
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
    set: IntegerArray | None = None
    frame: IntegerArray | None = None


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
    if header.frame_time_s is None:
        times_s, time_note = frame_times(readouts.ticks, frame, header.repetition_time_s)
        notes.append(time_note)
    else:
        times_s = header.frame_time_s * np.arange(int(frame.max()) + 1, dtype=np.float64)
    common: Mapping[str, Any] = {
        "sampling": header.sampling,
        "frame_times_s": times_s,
        "details": header.details,
        "name": name,
        "source_sha256": source_sha256,
        "whitened": whitened,
    }
    if header.sampling == "cartesian":
        return _assemble_cartesian(readouts, header, frame, notes, common)
    return _assemble_non_cartesian(readouts, header, frame, notes, common)


def assign_frames(readouts: Readouts, header: ScanHeader, notes: list[str]) -> IntegerArray:
    """The frame of each readout, (readout,), counted from 0 without gaps.

    Frames are the repetitions or the phases, whichever vary (repetition by repetition, phase by phase if both
    do), else the sets. If none varies, a frame ends where a flag says so or where a line comes again that is
    no further average.

    Raises:
        InvalidAcquisition: a frame between the first and the last has no readout.
    """
    if readouts.frame is not None:
        return readouts.frame
    repetitions = int(np.ptp(readouts.repetition)) + 1
    phases = int(np.ptp(readouts.phase)) + 1
    if repetitions == 1 and phases == 1 and readouts.set is not None and np.ptp(readouts.set):
        values, frame = np.unique(readouts.set, return_inverse=True)
        gap = np.flatnonzero(np.diff(values) > 1)
        if gap.size:
            raise InvalidAcquisition(
                f"frame {gap[0] + 1} has no readout: the set counter jumps over it; "
                "expected at least one readout in every frame."
            )
        notes.append("frames are counted by set")
        return frame.astype(np.int64)
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


def convert_to_radians(trajectory: npt.NDArray[np.float32], matrix: tuple[int, int]) -> str:
    """Bring a trajectory (frame, ..., 2), components (y, x), to rad/pixel in place by its largest radius.

    Up to 0.5 it is cycles/pixel, up to 1 a fraction of the Nyquist limit, up to pi rad/pixel, up to half the
    matrix cycles/FOV. The result is clipped to [-pi, pi] against rounding.

    Returns:
        A note on the unit.

    Raises:
        InvalidAcquisition: it is all zero, not finite, or larger than any known unit allows.
    """
    largest = 0.0
    for part in trajectory:  # frame by frame: no temporary of the size of the scan
        radius = float(np.square(part, dtype=np.float64).sum(axis=-1).max())
        if not math.isfinite(radius):
            raise InvalidAcquisition("the trajectory holds NaN or infinite values.")
        largest = max(largest, math.sqrt(radius))
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
    for part in trajectory:
        part[:] = np.clip(part * scale, -np.pi, np.pi)
    return f"trajectory was in {unit} (largest radius {largest:.4g})"


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
    source = readouts.samples
    if source.length > columns:
        raise InvalidAcquisition(
            f"readouts have {source.length} samples, but the header's encoded matrix is {columns} wide."
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
    start = _places_on_full_readout(readouts, columns)
    width, width_mm = _width_without_oversampling(columns, header, notes)

    shape = (int(frame.max()) + 1, lines)
    held = source.count * source.coils * source.length
    kspace = line_grid(source.coils, *shape, width, held)
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (frame, row), 1)
    signal = False
    for place, block in source.blocks():
        signal = signal or bool(block.any())
        full = _on_full_readout(block, readouts, place, start[place], columns)
        samples = full if width == columns else crop_readout(full, width)
        if counts.max() == 1:
            kspace[:, frame[place], row[place]] = samples.transpose(1, 0, 2)
        else:
            np.add.at(kspace.transpose(1, 2, 0, 3), (frame[place], row[place]), samples)
    _require_signal(signal)
    for one_frame, one_row in zip(*(index.tolist() for index in np.nonzero(counts > 1)), strict=True):
        kspace[:, one_frame, one_row] /= np.float32(counts[one_frame, one_row])
    if counts.max() > 1:
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
        kspace=kspace,
        matrix=(lines, width),
        field_of_view_mm=(height_mm, width_mm),
        mask=mask,
        notes=tuple(notes),
        **common,
    )


def _require_signal(signal: bool) -> None:
    if not signal:
        raise InvalidAcquisition("all samples are zero: the file holds no signal.")


def _places_on_full_readout(readouts: Readouts, columns: int) -> IntegerArray:
    """Where each readout begins in a full one, (readout,): the centre of a partial echo tells."""
    length = readouts.samples.length
    if length == columns:
        return np.zeros(readouts.samples.count, np.int64)
    centre = np.where(readouts.is_reversed, length - 1 - readouts.centre_sample, readouts.centre_sample)
    start = columns // 2 - centre
    outside = np.flatnonzero((start < 0) | (start + length > columns))
    if outside.size:
        raise InvalidAcquisition(
            f"readout {readouts.number[outside[0]]} has {length} samples with the centre at "
            f"{centre[outside[0]]}, which does not fit the encoded matrix of {columns}."
        )
    return np.asarray(start, np.int64)


def _on_full_readout(
    samples: npt.NDArray[np.complex64], readouts: Readouts, place: slice, start: IntegerArray, columns: int
) -> npt.NDArray[np.complex64]:
    """Samples (readout, coil, columns): backward lines turned, discarded ones zero, partial echoes placed."""
    length = samples.shape[-1]
    position = np.arange(length)
    discarded = (position < readouts.discard_pre[place, None]) | (
        position >= length - readouts.discard_post[place, None]
    )
    if discarded.any():
        samples = np.where(discarded[:, None], np.complex64(0), samples)
    backwards = readouts.is_reversed[place]
    if backwards.any():
        samples[backwards] = samples[backwards, :, ::-1]
    if length == columns:
        return samples
    full = np.zeros((*samples.shape[:2], columns), np.complex64)
    for offset in np.unique(start):
        chosen = start == offset
        full[chosen, :, offset : offset + length] = samples[chosen]
    return full


def _width_without_oversampling(columns: int, header: ScanHeader, notes: list[str]) -> tuple[int, float]:
    """Samples that are left of a readout cut to the wanted field of view, and that field of view in mm."""
    ratio, pixel_mm = _readout_oversampling(columns, header, notes)
    width = max(1, min(round(columns / ratio), columns))
    if width < columns:
        notes.append(
            f"readout oversampling of {columns / width:.4g} was removed: {columns} to {width} samples"
        )
    return width, pixel_mm * width


def crop_readout(samples: npt.NDArray[np.complex64], width: int) -> npt.NDArray[np.complex64]:
    """Crop the field of view along the last axis; the pixel size stays.

    Args:
        samples: complex64 (..., columns) of k-space, its centre at columns // 2.
        width: samples to keep, at most columns.

    Returns:
        complex64 (..., width), the centre at width // 2.
    """
    columns = samples.shape[-1]
    start = columns // 2 - width // 2
    # The half-sample shifts of both FFTs cancel only if the centre is kept at index N // 2 on both sides.
    image = fft.fftshift(fft.ifft(fft.ifftshift(samples, axes=-1), axis=-1, norm="ortho"), axes=-1)
    image = fft.ifftshift(image[..., start : start + width], axes=-1)
    cropped = fft.fftshift(fft.fft(image, axis=-1, norm="ortho"), axes=-1)
    return cropped.astype(np.complex64, copy=False)


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
    source = readouts.samples
    if readouts.trajectory is None:
        raise InvalidAcquisition(
            f"the header says '{header.sampling}', but the readouts carry no trajectory; "
            "expected one of 2 components with every readout."
        )
    keep = slice(int(readouts.discard_pre.max()), source.length - int(readouts.discard_post.max()))
    length = keep.stop - keep.start
    if length < 1:
        raise InvalidAcquisition("the readouts' discard_pre and discard_post leave no sample.")

    counts = np.bincount(frame)
    order = np.argsort(frame, kind="stable")
    slot = np.empty_like(frame)
    slot[order] = np.arange(frame.size) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (counts.size, int(counts.max()))
    held = source.count * source.coils * source.length
    kspace = grid((source.coils, *shape, length), held)
    trajectory = zeros((*shape, length, 2), np.float32)
    third = _Third()
    signal = False
    for place, block in source.blocks():
        signal = signal or bool(block.any())
        kspace[:, frame[place], slot[place]] = block[..., keep].transpose(1, 0, 2)
        points = readouts.trajectory.points(
            np.arange(place.start, place.stop, dtype=np.int64), frame[place], slot[place]
        )
        third.add(points[..., 2:])
        trajectory[frame[place], slot[place]] = points[:, keep, 1::-1]
    _require_signal(signal)
    third.check(notes)
    if readouts.trajectory.in_radians:
        np.clip(trajectory, -np.pi, np.pi, out=trajectory)
    else:
        notes.append(convert_to_radians(trajectory, header.matrix))
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
        trajectory=trajectory,
        readout_mask=readout_mask,
        notes=tuple(notes),
        **common,
    )


class _Third:
    """The third component of a trajectory: density weights are never negative, a third dimension is."""

    def __init__(self) -> None:
        self.smallest = 0.0
        self.used = False

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Look at some more values, (readout, sample, 0 or 1)."""
        if values.any():
            self.used = True
            self.smallest = min(self.smallest, float(values.min()))

    def check(self, notes: list[str]) -> None:
        """Refuse a third dimension and note what was left out."""
        if self.smallest < 0:
            raise InvalidAcquisition(
                "the trajectory has 3 dimensions; only 2-dimensional slices can be read."
            )
        if self.used:
            notes.append(
                "the trajectory's third component is never negative and was taken for density weights: "
                "not used"
            )
