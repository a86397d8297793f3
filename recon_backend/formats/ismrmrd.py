"""ISMRMRD raw data (HDF5): a group with `xml` (the header) and `data` (one compound element a readout).

Read in blocks: element by element, Python would spend far longer than the disk. The format is described in
Inati et al., MRM 2017;77:411-421; flags are numbered from 1 as in ismrmrd.h. OCMR's files are of this format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition
from recon_backend.errors import InvalidAcquisition
from recon_backend.formats.assembly import Readouts, SampleSource, TrajectorySource, assemble, chosen_slice
from recon_backend.formats.hdf5 import Dataset, File
from recon_backend.formats.header import identity_of, parse_xml, scan_header
from recon_backend.formats.noise import NoiseCovariance
from recon_backend.formats.storage import Progress, readouts_a_block, sha256

Head = Mapping[str, npt.NDArray[Any]]

_WIDEST_SPAN = 256
_WIDEST_SPAN_BYTES = 1 << 22

_FLAG_NOISE = 19
_FLAG_CALIBRATION = 20
_FLAG_CALIBRATION_AND_IMAGING = 21
_FLAG_REVERSE = 22
_FLAG_DUMMY = 27
# Of each kind that is no image data: what to call it in the notes.
_NOT_IMAGING = {
    _FLAG_DUMMY: "dummy",
    23: "navigator",
    24: "phase-correction",
    26: "feedback",
    28: "feedback",
    29: "surface-coil-correction",
    30: "phase-stabilisation",
    31: "phase-stabilisation",
}
# First and last of slice, phase, repetition.
_FLAGS_FIRST = (7, 11, 13)
_FLAGS_LAST = (8, 12, 14)

_HEAD_FIELDS = (
    "flags acquisition_time_stamp number_of_samples active_channels discard_pre discard_post center_sample "
    "encoding_space_ref trajectory_dimensions sample_time_us".split()
)
_COUNTERS = "kspace_encode_step_1 kspace_encode_step_2 average slice contrast phase repetition set".split()


def find_group(file: File) -> tuple[str, int] | None:
    """The group with both `xml` and `data`, `dataset` or else the first by name; and how many there are."""
    found = sorted(
        name.rpartition("/")[0]
        for name in file.datasets
        if name.rpartition("/")[2] == "data" and f"{name[: -len('data')]}xml" in file.datasets
    )
    if not found:
        return None
    return ("dataset" if "dataset" in found else found[0]), len(found)


def read(file: File, group: str, groups: int, slice_index: int | None, report: Progress) -> Acquisition:
    """Read one slice of an ISMRMRD file.

    Args:
        file: the open file.
        group: the group with `xml` and `data`.
        groups: how many such groups there are.
        slice_index: which slice; the lowest one if None.
        report: called with ("Reading", fraction 0 to 1).

    Raises:
        FormatError: the file is damaged.
        InvalidAcquisition: it contradicts itself.
    """
    path = file.path
    source_sha256 = sha256([path], lambda done: report("Reading", 0.2 * done))
    notes: list[str] = []
    if groups > 1:
        notes.append(f"the file holds {groups} measurements; one of them was read")
    place = f"{group}/" if group else ""
    data = file.datasets[f"{place}data"]
    if file.datasets[f"{place}xml"].type != "text":
        raise InvalidAcquisition("the XML header is not stored as text.")
    root = parse_xml(file.text(f"{place}xml"))
    identity = identity_of(root)
    _check_layout(data, file)
    head = file.columns(
        data.name, [("head", name) for name in _HEAD_FIELDS] + [("head", "idx", name) for name in _COUNTERS]
    )
    chosen = _choose_imaging(head, slice_index, notes)
    header = scan_header(root, int(head["encoding_space_ref"][chosen[0]]), identity)
    whitening = _whitening(file, data, head, chosen, notes)
    readouts = _readouts(
        file, data, head, chosen, whitening, lambda done: report("Reading", 0.2 + 0.7 * done)
    )
    name = path.stem
    if identity.is_named_in(name):
        name = f"scan_{source_sha256[:12]}"
        notes.append(
            "the file's name holds the patient's name or number, so the scan is called by its checksum"
        )
    return assemble(
        readouts, header, notes, name=name, source_sha256=source_sha256, whitened=whitening is not None
    )


def _check_layout(data: Dataset, file: File) -> None:
    head = data.members.get("head")
    members = head.get("fields", {}) if isinstance(head, Mapping) else {}
    counters = members.get("idx")
    counters = counters.get("fields", {}) if isinstance(counters, Mapping) else {}
    floats = all(
        isinstance(data.members.get(member), Mapping)
        and str(data.members[member].get("vlen", "")).endswith("f4")
        for member in ("traj", "data")
    )
    numbers = [members.get(name) for name in _HEAD_FIELDS if name != "sample_time_us"]
    numbers += [counters.get(name) for name in _COUNTERS]
    whole = all(isinstance(kind, str) and kind[1:2] in ("i", "u") for kind in numbers)
    if not floats or not whole or "sample_time_us" not in members:
        raise InvalidAcquisition(
            "'data' does not hold ISMRMRD acquisitions (head, traj, data for every readout)."
        )
    if len(data.shape) != 1:
        raise InvalidAcquisition("'data' must be a list of readouts, of one dimension.")
    if data.shape[0] == 0:
        raise InvalidAcquisition("the file holds no readout.")
    if data.shape[0] * data.item_bytes > file.bytes:
        raise InvalidAcquisition(
            f"'data' announces {data.shape[0]} readouts, more than the file holds; it is truncated."
        )


def _has_flag(head: Head, *flags: int) -> npt.NDArray[np.bool_]:
    bits = np.int64(sum(1 << (flag - 1) for flag in flags))
    return np.asarray((head["flags"] & bits) != 0)


def _choose_imaging(head: Head, slice_index: int | None, notes: list[str]) -> npt.NDArray[np.int64]:
    """Positions of the imaging readouts of one encoding, slice, contrast and set."""
    imaging = ~_has_flag(head, _FLAG_NOISE)
    dropped: dict[str, int] = {}
    for flag, kind in _NOT_IMAGING.items():
        bad = imaging & _has_flag(head, flag)
        dropped[kind] = dropped.get(kind, 0) + int(bad.sum())
        imaging &= ~bad
    separate = imaging & _has_flag(head, _FLAG_CALIBRATION) & ~_has_flag(head, _FLAG_CALIBRATION_AND_IMAGING)
    dropped["parallel-imaging calibration"] = int(separate.sum())
    imaging &= ~separate
    if not imaging.any():
        raise InvalidAcquisition(
            f"none of the {imaging.size} readouts is an imaging readout (noise, dummy and so on only)."
        )
    notes.extend(f"{count} {kind} readouts were dropped" for kind, count in dropped.items() if count)

    encodings, uses = np.unique(head["encoding_space_ref"][imaging], return_counts=True)
    if encodings.size > 1:
        notes.append(f"the file holds {encodings.size} encodings; the one with the most readouts was read")
    imaging &= head["encoding_space_ref"] == encodings[uses.argmax()]

    wanted = chosen_slice(np.unique(head["slice"][imaging]), slice_index, notes)
    imaging &= head["slice"] == wanted
    for counter in ("contrast", "set"):
        values = np.unique(head[counter][imaging])
        if counter == "set" and not (np.ptp(head["repetition"][imaging]) or np.ptp(head["phase"][imaging])):
            continue  # then the sets are the frames
        if values.size > 1:
            notes.append(f"{counter} {values[0]} of {values.size} was read")
        imaging &= head[counter] == values[0]
    if np.unique(head["kspace_encode_step_2"][imaging]).size > 1:
        raise InvalidAcquisition(
            "this is a 3-dimensional scan (kspace_encode_step_2 varies); only slices can be read."
        )
    return np.flatnonzero(imaging)


def _check_alike(head: Head, chosen: npt.NDArray[np.int64], field: str, meaning: str) -> int:
    """The value that a field has in all chosen readouts."""
    values = head[field][chosen]
    odd = np.flatnonzero(values != values[0])
    if odd.size:
        raise InvalidAcquisition(
            f"readout {chosen[odd[0]]} has {values[odd[0]]} {meaning}, "
            f"but readout {chosen[0]} has {values[0]}."
        )
    return int(values[0])


def _read_rows(
    file: File, data: Dataset, rows: npt.NDArray[np.int64], wanted: Mapping[str, int]
) -> list[npt.NDArray[np.float32]]:
    """Variable-length members of some readouts, each float32 (readout, length); they are checked.

    Args:
        file: the open file.
        data: its readouts.
        rows: which of them, increasing.
        wanted: values of each member in every readout.
    """
    needed_bytes = rows.size * sum(wanted.values()) * 4
    if needed_bytes > file.bytes:
        raise InvalidAcquisition(
            f"the headers announce {needed_bytes / 1e6:.0f} MB of {' and '.join(wanted)}, "
            "more than the file holds; it is truncated."
        )
    read = [np.empty((rows.size, length), np.float32) for length in wanted.values()]
    # What lies between the wanted rows (other slices, say) is read too.
    span = max(1, min(_WIDEST_SPAN, _WIDEST_SPAN_BYTES // max(1, 4 * sum(wanted.values()))))
    start = 0
    while start < rows.size:
        end = int(np.searchsorted(rows, rows[start] + span))
        answers = file.ragged(data.name, list(wanted), rows[start:end], file.bytes)
        for (field, length), values, (lengths, flat) in zip(wanted.items(), read, answers, strict=True):
            odd = np.flatnonzero(lengths != length)
            if odd.size:
                raise InvalidAcquisition(
                    f"readout {rows[start + odd[0]]} holds {lengths[odd[0]]} values of '{field}', "
                    f"but its header announces {length}; the file is damaged."
                )
            values[start:end] = flat.reshape(end - start, length)
        start = end
    for field, values in zip(wanted, read, strict=True):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            what = "samples" if field == "data" else "trajectory values"
            raise InvalidAcquisition(f"readout {rows[bad[0]]} holds NaN or infinite {what}.")
    return read


def _shape(head: Head, rows: npt.NDArray[np.int64], file: File) -> tuple[int, int]:
    """Channels and samples of some readouts, checked against what the file can hold."""
    coils = _check_alike(head, rows, "active_channels", "channels")
    length = _check_alike(head, rows, "number_of_samples", "samples")
    if not coils or not length:
        raise InvalidAcquisition(
            f"the readouts have {coils} channels of {length} samples; expected at least one."
        )
    announced_bytes = rows.size * coils * length * 8
    if announced_bytes > file.bytes:
        raise InvalidAcquisition(
            f"the headers announce {announced_bytes / 1e6:.0f} MB of 'data', "
            "more than the file holds; it is truncated."
        )
    return coils, length


def _blocks(
    file: File, data: Dataset, head: Head, rows: npt.NDArray[np.int64], dimensions: int = 0
) -> Iterator[tuple[slice, npt.NDArray[np.complex64], npt.NDArray[np.float32]]]:
    """Some readouts, block by block.

    Gives their places among them, samples complex64 (readout, coil, sample), and trajectory float32 (readout,
    sample, dimensions).
    """
    coils, length = _shape(head, rows, file)
    step = readouts_a_block(coils, length)
    wanted = {"data": 2 * coils * length, **({"traj": length * dimensions} if dimensions else {})}
    for start in range(0, rows.size, step):
        part = rows[start : start + step]
        values, *more = _read_rows(file, data, part, wanted)
        samples = values.view(np.complex64).reshape(part.size, coils, length)
        points = more[0] if more else np.empty(0, np.float32)
        yield slice(start, start + part.size), samples, points.reshape(part.size, -1, max(dimensions, 1))


def _whitening(
    file: File, data: Dataset, head: Head, chosen: npt.NDArray[np.int64], notes: list[str]
) -> npt.NDArray[np.complex64] | None:
    """The whitening matrix by the file's noise scan, complex64 (coil, coil); None if there is none."""
    rows = np.flatnonzero(_has_flag(head, _FLAG_NOISE))
    if rows.size == 0:
        notes.append("there is no noise scan: the coils were not prewhitened")
        return None
    coils, _ = _shape(head, chosen, file)
    if (head["active_channels"][rows] != coils).any():
        notes.append("the noise scan has other channels than the scan: the coils were not prewhitened")
        return None
    lengths = head["number_of_samples"][rows]
    rows = rows[lengths == lengths.max()]
    covariance = NoiseCovariance(coils)
    for _, block, _ in _blocks(file, data, head, rows):
        covariance.add(block)
    noise_dwell, dwell = head["sample_time_us"][rows[0]], head["sample_time_us"][chosen[0]]
    ratio = float(noise_dwell / dwell) if noise_dwell > 0 and dwell > 0 else 1.0
    matrix = covariance.whitening_matrix(ratio)
    if matrix is None:
        notes.append("the noise scan is too short or a coil is silent in it: the coils were not prewhitened")
        return None
    notes.append(f"the coils were prewhitened by a noise scan of {covariance.samples} samples")
    return matrix


def _readouts(
    file: File,
    data: Dataset,
    head: Head,
    chosen: npt.NDArray[np.int64],
    whitening: npt.NDArray[np.complex64] | None,
    report: Callable[[float], None],
) -> Readouts:
    coils, length = _shape(head, chosen, file)
    dimensions = _check_alike(head, chosen, "trajectory_dimensions", "trajectory dimensions")
    if dimensions not in (2, 3):
        dimensions = 0
    latest = np.empty(0, np.float32)  # the trajectory of the block that was given last

    def blocks() -> Iterator[tuple[slice, npt.NDArray[np.complex64]]]:
        nonlocal latest
        for place, samples, trajectory in _blocks(file, data, head, chosen, dimensions):
            latest = trajectory
            yield place, samples if whitening is None else whitening @ samples
            report(place.stop / chosen.size)

    def points(
        _order: npt.NDArray[np.int64], _frame: npt.NDArray[np.int64], _slot: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        return latest

    picked = {name: values[chosen] for name, values in head.items()}
    return Readouts(
        samples=SampleSource(chosen.size, coils, length, blocks),
        trajectory=TrajectorySource(dimensions, points) if dimensions else None,
        line=picked["kspace_encode_step_1"],
        repetition=picked["repetition"],
        phase=picked["phase"],
        average=picked["average"],
        starts_frame=_has_flag(picked, *_FLAGS_FIRST),
        ends_frame=_has_flag(picked, *_FLAGS_LAST),
        is_reversed=_has_flag(picked, _FLAG_REVERSE),
        centre_sample=picked["center_sample"],
        discard_pre=picked["discard_pre"],
        discard_post=picked["discard_post"],
        ticks=picked["acquisition_time_stamp"],
        number=chosen,
        set=picked["set"],
    )
