"""Siemens twix (.dat), VB and VD/VE/XA: a directory, protocol texts, and lines of samples with their headers.

The byte layout comes from turbotwix; the lines are walked here, since a damaged file must end in a sentence
and little memory. Imaging lines have none of the flags for noise, phase correction, navigators, feedback and
reference. A twix file does not hold where radial or spiral samples lie: the YAML beside it says so
(`recon_backend.formats.sidecar`).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from turbotwix.dtypes import RAID_DIRECTORY, VB_HEADER, VD_SCAN_HEADER, Flag

from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError, InvalidAcquisition
from recon_backend.formats import twix_header
from recon_backend.formats.assembly import Readouts, SampleSource, TrajectorySource, assemble, chosen_slice
from recon_backend.formats.header import ScanHeader
from recon_backend.formats.noise import NoiseCovariance
from recon_backend.formats.sidecar import EXAMPLE, Sidecar, frames_of, read_companion, trajectory_of
from recon_backend.formats.storage import Progress, readouts_a_block, sha256, silent

_MOST_MEASUREMENTS = 64
_LARGEST_VD_OFFSET = 10_000
_LONGEST_PROTOCOL_BYTES = 1 << 26
_DMA_LENGTH = (1 << 25) - 1
_BUFFERS = (b"Config\0", b"Dicom\0", b"Meas\0", b"MeasYaps\0", b"Phoenix\0", b"Spice\0")
_BUFFER_SEARCH_BYTES = 64
_COUNTERS = ("Lin", "Ave", "Sli", "Par", "Eco", "Phs", "Rep", "Set")
_LIKE_SPOKES = 0.2
_LINES_TO_TELL = 8

# Of each kind that is no image data: what to call it in the notes.
_NOT_IMAGING = {
    "phase-correction": Flag.PHASCOR,
    "feedback": Flag.RTFEEDBACK | Flag.HPFEEDBACK,
    "phase-stabilisation": Flag.PHASESTABSCAN | Flag.REFPHASESTABSCAN,
    "coil-correction": Flag.RAWDATACORRECTION,
    "navigator": Flag.PACE,
    "dummy": Flag.RETRO_DUMMYSCAN,
    "slice-acceleration": Flag.SLICE_ACCEL_REFSCAN | Flag.SLICE_ACCEL_PHASCOR,
}


@dataclass(frozen=True)
class _Version:
    """Sizes of a line: `prefix` bytes once, then for each channel a header and its samples."""

    name: str
    header: np.dtype[Any]
    prefix: int
    channel: int


_VB = _Version("VB", VB_HEADER, 0, VB_HEADER.itemsize)
_VD = _Version("VD/VE", VD_SCAN_HEADER, VD_SCAN_HEADER.itemsize, 32)


@dataclass(frozen=True)
class _Measurement:
    start: int
    end: int
    patient: str


@dataclass(frozen=True)
class _Lines:
    """Headers of the lines of a measurement and where they are in the file."""

    offset: npt.NDArray[np.int64]
    head: npt.NDArray[np.void]
    complete: bool

    def has(self, flags: int) -> npt.NDArray[np.bool_]:
        return np.asarray((self.head["EvalInfoMask"] & np.uint64(flags)) != 0)

    def pick(self, chosen: npt.NDArray[Any]) -> _Lines:
        return _Lines(self.offset[chosen], self.head[chosen], self.complete)

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """Channels and samples, (line, 2)."""
        return np.stack([self.head["UsedChannels"], self.head["SamplesInScan"]], axis=1).astype(np.int64)


def recognises(path: Path) -> bool:
    """True if the file begins with a directory or protocol of a twix file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        version = _version(file.read(8), size)
        if version is None:
            return False
        if version is _VB:
            return _is_protocol(file, 0)
        try:
            measurements = _directory(file, size)
        except InvalidAcquisition:
            return False
        return any(_is_protocol(file, measurement.start) for measurement in measurements)


def _version(first: bytes, size: int) -> _Version | None:
    if len(first) < 8:
        return None
    one, two = struct.unpack("<II", first)
    if one < _LARGEST_VD_OFFSET and 1 <= two <= _MOST_MEASUREMENTS:
        return _VD
    return _VB if 8 <= one <= size else None


def _is_protocol(file: BinaryIO, start: int) -> bool:
    file.seek(start + 8)
    text = file.read(_BUFFER_SEARCH_BYTES)
    return any(name in text for name in _BUFFERS)


def _directory(file: BinaryIO, size: int) -> list[_Measurement]:
    file.seek(0)
    raw = file.read(RAID_DIRECTORY.itemsize)
    if len(raw) < RAID_DIRECTORY.itemsize:
        raise InvalidAcquisition("the file is truncated within its directory; copy it again.")
    directory = np.frombuffer(raw, RAID_DIRECTORY)[0]
    found = []
    for entry in directory["entry"][: int(directory["count"])]:
        start, length = int(entry["off"]), int(entry["len"])
        if 0 < start < size:
            end = min(start + length, size) if length else size
            found.append(_Measurement(start, end, bytes(entry["patName"]).decode("latin-1").strip("\0 ")))
    if not found:
        raise InvalidAcquisition(
            "the directory names no measurement within the file; it is truncated or damaged."
        )
    return found


def read(path: Path, slice_index: int | None, progress: Progress | None) -> Acquisition:
    """Read one slice.

    Args:
        path: the file.
        slice_index: which slice, by the file's slice counter; the lowest one if None.
        progress: called with ("Reading", fraction 0 to 1).

    Raises:
        FormatError: the file is damaged, holds no imaging lines, or needs a YAML beside it.
    """
    report = progress or silent
    report("Reading", 0.0)
    try:
        with open(path, "rb") as file:
            acquisition = _read(file, path, slice_index, report)
    except InvalidAcquisition as error:
        raise FormatError(path, str(error)) from error
    report("Reading", 1.0)
    return acquisition


def _read(file: BinaryIO, path: Path, slice_index: int | None, report: Progress) -> Acquisition:
    size = path.stat().st_size
    version = _version(file.read(8), size)
    measurements = [_Measurement(0, size, "")] if version is not _VD else _directory(file, size)
    version = version or _VB
    sidecar = read_companion(path)
    used = [path, *(sidecar.files if sidecar else ())]
    digest = sha256(used, lambda done: report("Reading", 0.2 * done))
    notes = [f"Siemens twix of version {version.name}"]
    if sidecar is not None:
        notes.append(f"the checksum covers {', '.join(beside.name for beside in used)}")

    protocol, lines, noise = _imaging(file, measurements, version, notes)
    if not lines.complete:
        notes.append("the measurement ends without its end mark: it was aborted or cut short")
    chosen = _choose(lines, slice_index, sidecar, notes)
    coils, length = (int(value) for value in chosen.shapes[0])
    source = _Samples(file, version, chosen, coils, length)
    whitening = _whitening(file, version, noise, chosen, protocol, notes)

    def blocks() -> Iterator[tuple[slice, npt.NDArray[np.complex64]]]:
        for place, samples in source.blocks():
            yield place, samples if whitening is None else whitening @ samples
            report("Reading", 0.2 + 0.7 * place.stop / len(chosen.offset))

    samples = SampleSource(len(chosen.offset), coils, length, blocks)
    non_cartesian = sidecar is not None and sidecar.sampling != "cartesian"
    if non_cartesian and sidecar is not None:
        header, trajectory, behind = _non_cartesian(protocol, chosen, sidecar, length, notes)
    else:
        kind = twix_header.TRAJECTORIES.get(protocol.trajectory, "unknown")
        certain = sidecar is not None and sidecar.states_sampling
        if not certain and (kind != "cartesian" or source.looks_like_spokes()):
            state = (
                f"says '{kind}'"
                if kind != "cartesian"
                else "says 'cartesian', but the lines look like spokes"
            )
            raise InvalidAcquisition(
                f"the protocol {state}, and twix files do not hold a trajectory; write a file "
                f"'{path.stem}.yaml' beside it with {EXAMPLE}."
            )
        header, trajectory, behind = _cartesian(protocol, chosen, sidecar, length, notes), None, 0
    name = path.stem
    if protocol.identity.is_named_in(name):
        name = f"scan_{digest[:12]}"
        notes.append(
            "the file's name holds the patient's name or number, so the scan is called by its checksum"
        )
    readouts = _readouts(chosen, samples, trajectory, sidecar if non_cartesian else None, behind)
    return assemble(readouts, header, notes, name=name, source_sha256=digest, whitened=whitening is not None)


def _imaging(
    file: BinaryIO, measurements: list[_Measurement], version: _Version, notes: list[str]
) -> tuple[twix_header.Protocol, _Lines, list[_Lines]]:
    """The last measurement with imaging lines: its protocol and lines; and the noise lines of the file."""
    noise: list[_Lines] = []
    problem = ""
    best: tuple[twix_header.Protocol, _Lines] | None = None
    patients = " ".join(measurement.patient for measurement in measurements)
    for measurement in reversed(measurements):
        try:
            text = _protocol_text(file, measurement)
        except InvalidAcquisition as error:
            problem = problem or str(error)
            continue
        lines = _walk(file, measurement.start + len(text) + 8, measurement.end, version)
        is_noise = lines.has(Flag.NOISEADJSCAN)
        if is_noise.any():
            noise.append(lines.pick(is_noise))
        if best is None:
            imaging = ~is_noise
            dropped = []
            for kind, flags in _NOT_IMAGING.items():
                bad = imaging & lines.has(int(flags))
                imaging &= ~bad
                dropped.append((kind, int(bad.sum())))
            reference = imaging & lines.has(Flag.PATREFSCAN) & ~lines.has(Flag.PATREFANDIMASCAN)
            imaging &= ~reference
            dropped.append(("parallel-imaging calibration", int(reference.sum())))
            if imaging.any():
                notes.extend(f"{count} {kind} readouts were dropped" for kind, count in dropped if count)
                best = twix_header.parse(text, patients), lines.pick(imaging)
    if best is None:
        raise InvalidAcquisition(
            problem
            or "the file holds no imaging line (noise, adjustments and so on only); it may be cut short."
        )
    return (*best, noise)


def _protocol_text(file: BinaryIO, measurement: _Measurement) -> bytes:
    """The protocol after its first 8 bytes; the lines begin behind it."""
    file.seek(measurement.start)
    first = file.read(8)
    length = struct.unpack("<II", first)[0] if len(first) == 8 else 0
    if not 8 <= length <= min(_LONGEST_PROTOCOL_BYTES, measurement.end - measurement.start):
        raise InvalidAcquisition(
            f"the protocol is said to be {length} bytes long, which the file does not hold; it is truncated "
            "or damaged."
        )
    text = file.read(length - 8)
    if len(text) != length - 8:
        raise InvalidAcquisition("the file is truncated within its protocol; copy it again.")
    return text


def _walk(file: BinaryIO, start: int, end: int, version: _Version) -> _Lines:
    """Step from line to line; where the length of one is impossible, what came before is what there is."""
    size = version.header.itemsize
    flags_at = version.header.fields["EvalInfoMask"][1]  # type: ignore[index]
    samples_at = version.header.fields["SamplesInScan"][1]  # type: ignore[index]
    unpack_flags, unpack_shape = struct.Struct("<Q").unpack_from, struct.Struct("<HH").unpack_from
    stop, sideband = int(Flag.ACQEND), int(Flag.SYNCDATA)
    offsets, heads = array("q"), bytearray()
    position, complete = start, False
    while position + size <= end:
        file.seek(position)
        head = file.read(size)
        if len(head) < size:
            break
        flags = unpack_flags(head, flags_at)[0]
        if flags & stop:
            complete = True
            break
        if flags & sideband:
            length = struct.unpack_from("<I", head)[0] & _DMA_LENGTH
            if length < size:
                break
            position += length
            continue
        samples, channels = unpack_shape(head, samples_at)
        length = version.prefix + channels * (version.channel + 8 * samples)
        if not samples or not channels or position + length > end:
            break
        offsets.append(position)
        heads += head
        position += length
    return _Lines(np.array(offsets, np.int64), np.frombuffer(bytes(heads), version.header), complete)


def _choose(lines: _Lines, slice_index: int | None, sidecar: Sidecar | None, notes: list[str]) -> _Lines:
    """Imaging lines of one shape, slice, echo and (unless sets are the frames) set."""
    shapes, which, uses = np.unique(lines.shapes, axis=0, return_inverse=True, return_counts=True)
    if len(shapes) > 1:
        common = int((uses * shapes.prod(axis=1)).argmax())
        notes.append(f"{len(which) - uses[common]} lines of another size were dropped")
        lines = lines.pick(which.reshape(-1) == common)
    counter = lines.head["Counter"]
    wanted = chosen_slice(np.unique(counter["Sli"]), slice_index, notes)
    lines = lines.pick(counter["Sli"] == wanted)
    counted = (
        sidecar is not None and sidecar.readouts_per_frame is not None and sidecar.sampling != "cartesian"
    )
    for name, meaning in (("Eco", "echo"), ("Set", "set")):
        counter = lines.head["Counter"]
        values = np.unique(counter[name])
        if name == "Set" and (counted or not (np.ptp(counter["Rep"]) or np.ptp(counter["Phs"]))):
            continue  # then the sets are frames, or the YAML counts them
        if values.size > 1:
            notes.append(f"{meaning} {values[0]} of {values.size} was read")
        lines = lines.pick(counter[name] == values[0])
    if np.ptp(lines.head["Counter"]["Par"]):
        raise InvalidAcquisition("this is a 3-dimensional scan (partitions vary); only slices can be read.")
    if sidecar is not None and sidecar.skip_readouts:
        lines = lines.pick(np.arange(sidecar.skip_readouts, len(lines.offset)))
        notes.append(
            f"the first {sidecar.skip_readouts} readouts were left out, as '{sidecar.path.name}' states"
        )
    if len(lines.offset) == 0:
        raise InvalidAcquisition("no imaging line is left; 'skip_readouts' is larger than the scan.")
    return lines


@dataclass(frozen=True)
class _Samples:
    """The samples of lines of one shape."""

    file: BinaryIO
    version: _Version
    lines: _Lines
    coils: int
    length: int

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.complex64]]]:
        """As `SampleSource.blocks`."""
        step = readouts_a_block(self.coils, self.length)
        for start in range(0, len(self.lines.offset), step):
            place = slice(start, min(start + step, len(self.lines.offset)))
            yield place, self.read(place)

    def read(self, place: slice) -> npt.NDArray[np.complex64]:
        """Samples of some lines, complex64 (line, coil, sample)."""
        offsets = self.lines.offset[place].tolist()
        channel = self.version.channel + 8 * self.length
        raw = np.empty((len(offsets), self.coils * channel), np.uint8)
        for row, offset in zip(raw, offsets, strict=True):
            self.file.seek(offset + self.version.prefix)
            if self.file.readinto(row) != row.size:  # type: ignore[attr-defined]
                raise InvalidAcquisition("the file became shorter while it was read.")
        samples = raw.reshape(len(offsets), self.coils, channel)[..., self.version.channel :]
        values = np.ascontiguousarray(samples).view("<c8")
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))[0])
            number = int(self.lines.head["ScanCounter"][place][bad])
            raise InvalidAcquisition(f"line {number} holds NaN or infinite samples; the file is damaged.")
        return values.astype(np.complex64, copy=False)

    def looks_like_spokes(self) -> bool:
        """True if all lines of the first frame carry much the same energy, as only spokes do."""
        counter = self.lines.head["Counter"]
        same = np.ones(len(counter), np.bool_)
        for name in ("Rep", "Phs", "Set", "Ave"):
            same &= counter[name] == counter[name][0]
        first = int(np.argmin(same)) if not same.all() else len(same)
        if np.unique(counter["Lin"][:first]).size < _LINES_TO_TELL:
            return False
        step = readouts_a_block(self.coils, self.length)
        energies = np.concatenate(
            [
                np.square(np.abs(self.read(slice(start, min(start + step, first))))).sum(axis=(1, 2))
                for start in range(0, first, step)
            ]
        )
        return bool(energies.min() > _LIKE_SPOKES * energies.max() > 0)


def _whitening(
    file: BinaryIO,
    version: _Version,
    noise: list[_Lines],
    chosen: _Lines,
    protocol: twix_header.Protocol,
    notes: list[str],
) -> npt.NDArray[np.complex64] | None:
    """The whitening matrix by the noise lines, complex64 (coil, coil); None if that is not possible."""
    coils = int(chosen.shapes[0, 0])
    if not noise:
        notes.append("there is no noise scan: the coils were not prewhitened")
        return None
    for lines in noise:
        lines = lines.pick(lines.shapes[:, 0] == coils)
        if len(lines.offset) == 0:
            continue
        length = int(lines.shapes[:, 1].max())
        lines = lines.pick(lines.shapes[:, 1] == length)
        covariance = NoiseCovariance(coils)
        for _, block in _Samples(file, version, lines, coils, length).blocks():
            covariance.add(block)
        dwell = protocol.dwell_s
        ratio = _noise_dwell_s(length, version) / dwell if dwell else 1.0
        matrix = covariance.whitening_matrix(ratio)
        if matrix is not None:
            notes.append(f"the coils were prewhitened by a noise scan of {covariance.samples} samples")
            return matrix
        notes.append("the noise scan is too short or a coil is silent in it: the coils were not prewhitened")
        return None
    notes.append("the noise scan has other channels than the scan: the coils were not prewhitened")
    return None


def _noise_dwell_s(samples: int, version: _Version) -> float:
    """Dwell time of noise lines, which no header states; the rule is siemens_to_ismrmrd's."""
    if version is _VB:
        return 1.0 / (samples * 130.0)
    return int(76800.0 / samples) / 10.0 * 1e-6


def _cartesian(
    protocol: twix_header.Protocol, lines: _Lines, sidecar: Sidecar | None, length: int, notes: list[str]
) -> ScanHeader:
    read_mm, phase_mm = protocol.read_mm, protocol.phase_mm
    base, rows = protocol.base, protocol.lines
    if sidecar is not None and "matrix" in sidecar.stated and sidecar.matrix is not None:
        rows, base = sidecar.matrix
    if sidecar is not None and sidecar.field_of_view_mm is not None:
        if "field_of_view_mm" in sidecar.stated or not (read_mm and phase_mm):
            phase_mm, read_mm = sidecar.field_of_view_mm
    if not base or not rows or not read_mm or not phase_mm:
        missing = [
            name
            for name, value in (
                ("base resolution", base),
                ("phase-encoding lines", rows),
                ("field of view along the readout", read_mm),
                ("field of view along phase encoding", phase_mm),
            )
            if not value
        ]
        raise InvalidAcquisition(
            f"the protocol does not state the {', '.join(missing)}; state 'matrix: [y, x]' and "
            "'field_of_view_mm: [y, x]' in a YAML file of the same name beside it."
        )
    oversampling = protocol.oversampling
    if sidecar is not None and sidecar.readout_oversampling is not None:
        oversampling = sidecar.readout_oversampling
    if not oversampling:
        oversampling = 2.0 if length > 1.5 * base else 1.0
        notes.append(f"readout oversampling is not stated: {oversampling:g} was taken")
    centres, uses = np.unique(lines.head["CenterLin"], return_counts=True)
    centre = int(centres[uses.argmax()])
    line = lines.head["Counter"]["Lin"].astype(np.int64)
    if ((line - centre + rows // 2) >= rows).any() and protocol.fourier_lines > rows:
        notes.append(f"the matrix has {protocol.fourier_lines} lines, as many as are transformed")
        rows = protocol.fourier_lines
    if protocol.regridding > 1:
        notes.append("the readout was also sampled on the gradients' ramps; its samples were not regridded")
    columns = round(base * oversampling)
    return ScanHeader(
        sampling="cartesian",
        encoded_matrix=(rows, columns),
        encoded_field_of_view_mm=(phase_mm, read_mm * columns / base),
        matrix=(rows, base),
        field_of_view_mm=(phase_mm, read_mm),
        centre_line=centre,
        last_repetition=None,
        last_phase=None,
        repetition_time_s=_repetition_time(protocol, sidecar),
        details={**protocol.details, "trajectory": "cartesian"},
        frame_time_s=sidecar.frame_time_s if sidecar is not None else None,
    )


def _repetition_time(protocol: twix_header.Protocol, sidecar: Sidecar | None) -> float | None:
    if sidecar is not None and "repetition_time_s" in sidecar.stated:
        return sidecar.repetition_time_s
    return protocol.repetition_time_s


def _non_cartesian(
    protocol: twix_header.Protocol, lines: _Lines, sidecar: Sidecar, length: int, notes: list[str]
) -> tuple[ScanHeader, TrajectorySource, int]:
    """The header, the trajectory, and how many samples at the end of each readout it leaves out."""
    matrix = sidecar.matrix
    if "matrix" not in sidecar.stated and sidecar.sampling == "radial" and protocol.base:
        matrix = (protocol.base, protocol.base)
    lengths_mm = sidecar.field_of_view_mm
    if "field_of_view_mm" not in sidecar.stated and protocol.read_mm:
        lengths_mm = (protocol.read_mm, protocol.read_mm)
    if matrix is None or lengths_mm is None:
        missing = "'matrix'" if matrix is None else "'field_of_view_mm'"
        raise FormatError(sidecar.path, f"{missing} is missing, and the protocol does not state it.")
    length -= sidecar.first_sample
    if length < 1:
        raise FormatError(
            sidecar.path, f"'first_sample' is {sidecar.first_sample}, beyond the readouts' end."
        )
    centres = np.unique(lines.head["CenterCol"])
    centre = int(centres[0]) - sidecar.first_sample if centres.size == 1 and centres[0] else None
    source, samples = trajectory_of(
        sidecar,
        length=length,
        matrix=matrix,
        field_of_view_mm=lengths_mm,
        readouts=len(lines.offset),
        centre_sample=centre if centre is not None and 0 < centre < length else None,
        notes=notes,
    )
    header = ScanHeader(
        sampling=sidecar.sampling,
        encoded_matrix=matrix,
        encoded_field_of_view_mm=lengths_mm,
        matrix=matrix,
        field_of_view_mm=lengths_mm,
        centre_line=None,
        last_repetition=None,
        last_phase=None,
        repetition_time_s=_repetition_time(protocol, sidecar),
        details={**protocol.details, "trajectory": sidecar.sampling},
        frame_time_s=sidecar.frame_time_s,
    )
    return header, _padded(source, sidecar.first_sample, length - samples), length - samples


def _padded(source: TrajectorySource, first: int, behind: int) -> TrajectorySource:
    """The trajectory with points for the samples in front and behind that are left out."""
    if first == behind == 0:
        return source

    def points(
        order: npt.NDArray[np.int64], frame: npt.NDArray[np.int64], slot: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        values = source.points(order, frame, slot)
        return np.pad(values, [(0, 0), (first, behind), (0, 0)])

    return TrajectorySource(source.dimensions, points, source.in_radians)


def _readouts(
    lines: _Lines,
    samples: SampleSource,
    trajectory: TrajectorySource | None,
    sidecar: Sidecar | None,
    behind: int,
) -> Readouts:
    """The readouts; `sidecar` is what describes a trajectory, `behind` the samples that it leaves out."""
    head = lines.head
    counter = {name: head["Counter"][name].astype(np.int64) for name in _COUNTERS}
    flags: Callable[[int], npt.NDArray[np.bool_]] = lines.has
    front = sidecar.first_sample if sidecar is not None else 0
    pre, post = head["CutOff"]["Pre"].astype(np.int64), head["CutOff"]["Post"].astype(np.int64)
    return Readouts(
        samples=samples,
        trajectory=trajectory,
        line=counter["Lin"],
        repetition=counter["Rep"],
        phase=counter["Phs"],
        average=counter["Ave"],
        # FIRSTSCANINSLICE marks slices, which come again with every frame.
        starts_frame=flags(Flag.FIRSTSCANINSLICE),
        ends_frame=flags(Flag.LASTSCANINSLICE),
        is_reversed=flags(Flag.REFLECT),
        centre_sample=head["CenterCol"].astype(np.int64),
        discard_pre=np.maximum(pre, front),
        discard_post=np.maximum(post, behind),
        ticks=head["TimeStamp"].astype(np.int64),
        number=np.arange(len(lines.offset), dtype=np.int64),
        set=counter["Set"],
        frame=frames_of(sidecar, samples.count) if sidecar is not None else None,
    )
