"""ISMRMRD raw data (HDF5): a group with `xml` (the header) and `data` (one compound element a readout).

Read with h5py alone and in blocks: element by element, Python would spend far longer than the disk. The
format is described in Inati et al., MRM 2017;77:411-421; flags are numbered from 1 as in ismrmrd.h.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError, InvalidAcquisition, ReconstructionError
from recon_backend.formats.assembly import Readouts, assemble
from recon_backend.formats.header import identity_of, parse_xml, scan_header
from recon_backend.formats.noise import whitening_matrix

Progress = Callable[[str, float], None]
Head = npt.NDArray[np.void]

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_READOUTS_A_BLOCK = 256
_HASH_BLOCK_BYTES = 1 << 22

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

_HEAD_FIELDS = frozenset(
    "flags acquisition_time_stamp number_of_samples active_channels discard_pre discard_post center_sample "
    "encoding_space_ref trajectory_dimensions sample_time_us idx".split()
)
_COUNTERS = frozenset(
    "kspace_encode_step_1 kspace_encode_step_2 average slice contrast phase repetition set".split()
)


def recognises(path: Path) -> bool:
    """True if the file begins as HDF5 does (HDF5 allows 512, 1024, 2048… bytes of anything before it)."""
    with open(path, "rb") as file:
        size = path.stat().st_size
        offset = 0
        while offset < size:
            file.seek(offset)
            if file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE:
                return True
            offset = offset * 2 or 512
    return False


def read(path: Path, slice_index: int | None, progress: Progress | None) -> Acquisition:
    """Read one slice of an ISMRMRD file.

    Args:
        path: the file.
        slice_index: which slice; the lowest one if None.
        progress: called with ("Reading", fraction 0 to 1).

    Raises:
        FormatError: the file is damaged, is no ISMRMRD file, or contradicts itself.
    """
    report = progress or _silent
    report("Reading", 0.0)
    with _named_errors(path):
        source_sha256 = _sha256(path, report)
        with h5py.File(path, "r") as file:
            notes: list[str] = []
            group = _find_group(file, path, notes)
            root = parse_xml(_xml_text(group["xml"]))
            identity = identity_of(root)
            data = group["data"]
            _check_layout(data)
            head = data.fields("head")[:]
            chosen = _choose_imaging(head, slice_index, notes)
            header = scan_header(root, int(head["encoding_space_ref"][chosen[0]]), identity)
            samples = _read_samples(
                data, head, chosen, path, lambda done: report("Reading", 0.2 + 0.7 * done)
            )
            whitened = _whiten(samples, data, head, chosen, path, notes)
            readouts = _readouts(data, head, chosen, samples)
        name = path.stem
        if identity.is_named_in(name):
            name = f"scan_{source_sha256[:12]}"
            notes.append(
                "the file's name holds the patient's name or number, so the scan is called by its checksum"
            )
        acquisition = assemble(
            readouts, header, notes, name=name, source_sha256=source_sha256, whitened=whitened
        )
    report("Reading", 1.0)
    return acquisition


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn what h5py and the assembly raise into one sentence with the file's name."""
    try:
        yield
    except InvalidAcquisition as error:
        raise FormatError(path, str(error)) from error
    except ReconstructionError:
        raise
    except PermissionError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        reason = "truncated" if "truncated" in str(error) else "damaged or truncated"
        raise FormatError(path, f"the HDF5 file is {reason}; copy or export it again.") from error


def _silent(_phase: str, _fraction: float) -> None:
    """Progress that nobody asked for."""


def _sha256(path: Path, report: Progress) -> str:
    digest = hashlib.sha256()
    size = path.stat().st_size
    with open(path, "rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
            report("Reading", 0.2 * min(file.tell() / size, 1.0))
    return digest.hexdigest()


def _find_group(file: h5py.File, path: Path, notes: list[str]) -> h5py.Group:
    """The group with both `xml` and `data`, at any depth; `dataset`, else the first by name."""
    if str(file.attrs.get("format", "")).startswith("blindcine-movie"):
        raise FormatError(path, "this is a reconstructed movie, not raw data.")
    found: list[str] = []

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Group) and all(
            isinstance(item.get(part), h5py.Dataset) for part in ("xml", "data")
        ):
            found.append(name)

    visit("/", file)
    file.visititems(visit)
    if not found:
        raise FormatError(
            path, "this HDF5 file holds no ISMRMRD raw data; expected a group with 'xml' and 'data' in it."
        )
    chosen = "dataset" if "dataset" in found else sorted(found)[0]
    if len(found) > 1:
        notes.append(f"the file holds {len(found)} measurements; one of them was read")
    return file[chosen]


def _xml_text(dataset: h5py.Dataset) -> bytes:
    value = dataset[()] if dataset.shape == () else dataset[0] if dataset.size else b""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise InvalidAcquisition("the XML header is not stored as text.")
    return value


def _check_layout(data: h5py.Dataset) -> None:
    layout: Any = data.dtype
    for part, needed in ((None, {"head", "traj", "data"}), ("head", _HEAD_FIELDS), ("idx", _COUNTERS)):
        layout = layout if part is None else layout[part]
        if not needed <= set(layout.names or ()):
            raise InvalidAcquisition(
                "'data' does not hold ISMRMRD acquisitions (head, traj, data for every readout)."
            )
    if data.ndim != 1:
        raise InvalidAcquisition("'data' must be a list of readouts, of one dimension.")
    if data.size == 0:
        raise InvalidAcquisition("the file holds no readout.")


def _has_flag(head: Head, *flags: int) -> npt.NDArray[np.bool_]:
    bits = np.uint64(sum(1 << (flag - 1) for flag in flags))
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
            f"none of the {head.size} readouts is an imaging readout (noise, dummy and so on only)."
        )
    notes.extend(f"{count} {kind} readouts were dropped" for kind, count in dropped.items() if count)

    encodings, uses = np.unique(head["encoding_space_ref"][imaging], return_counts=True)
    if encodings.size > 1:
        notes.append(f"the file holds {encodings.size} encodings; the one with the most readouts was read")
    imaging &= head["encoding_space_ref"] == encodings[uses.argmax()]

    counters = head["idx"]
    slices = np.unique(counters["slice"][imaging])
    wanted = int(slices[0]) if slice_index is None else slice_index
    if wanted not in slices:
        raise InvalidAcquisition(
            f"there is no slice {wanted}; the file has slices {slices[0]} to {slices[-1]}."
        )
    if slices.size > 1:
        notes.append(f"slice {wanted} of {slices.size} was read")
    imaging &= counters["slice"] == wanted
    for counter in ("contrast", "set"):
        values = np.unique(counters[counter][imaging])
        if values.size > 1:
            notes.append(f"{counter} {values[0]} of {values.size} was read")
        imaging &= counters[counter] == values[0]
    if np.unique(counters["kspace_encode_step_2"][imaging]).size > 1:
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


def _blocks(
    data: h5py.Dataset, field: str, chosen: npt.NDArray[np.int64]
) -> Iterator[tuple[slice, list[npt.NDArray[np.float32]]]]:
    """The variable-length arrays of a field for the chosen readouts, with the places they have among them."""
    position = 0
    while position < chosen.size:
        start = int(chosen[position])
        end = int(np.searchsorted(chosen, start + _READOUTS_A_BLOCK))
        arrays = data.fields(field)[start : int(chosen[end - 1]) + 1]
        yield slice(position, end), [arrays[index - start] for index in chosen[position:end].tolist()]
        position = end


def _read_rectangular(
    data: h5py.Dataset,
    field: str,
    chosen: npt.NDArray[np.int64],
    length: int,
    report: Callable[[float], None],
) -> npt.NDArray[np.float32]:
    """One field of all chosen readouts as float32 (readout, length); checks length and finiteness of each."""
    stored_bytes = chosen.size * length * 4
    if stored_bytes > data.file.id.get_filesize():
        raise InvalidAcquisition(
            f"the headers announce {stored_bytes / 1e6:.0f} MB of '{field}', "
            "more than the file holds; it is truncated."
        )
    values = np.empty((chosen.size, length), np.float32)
    for place, arrays in _blocks(data, field, chosen):
        lengths = np.array([array.size for array in arrays])
        odd = np.flatnonzero(lengths != length)
        if odd.size:
            raise InvalidAcquisition(
                f"readout {chosen[place][odd[0]]} holds {lengths[odd[0]]} values of '{field}', "
                f"but its header announces {length}; the file is damaged."
            )
        np.concatenate(arrays, out=values[place].reshape(-1))
        bad = np.flatnonzero(~np.isfinite(values[place]).all(axis=1))
        if bad.size:
            what = "samples" if field == "data" else "trajectory values"
            raise InvalidAcquisition(f"readout {chosen[place][bad[0]]} holds NaN or infinite {what}.")
        report(place.stop / chosen.size)
    return values


def _read_samples(
    data: h5py.Dataset, head: Head, chosen: npt.NDArray[np.int64], path: Path, report: Callable[[float], None]
) -> npt.NDArray[np.complex64]:
    """Samples of the chosen readouts, complex64 (readout, coil, sample)."""
    coils = _check_alike(head, chosen, "active_channels", "channels")
    length = _check_alike(head, chosen, "number_of_samples", "samples")
    if not coils or not length:
        raise FormatError(
            path, f"the readouts have {coils} channels of {length} samples; expected at least one."
        )
    values = _read_rectangular(data, "data", chosen, 2 * coils * length, report)
    return values.view(np.complex64).reshape(chosen.size, coils, length)


def _whiten(
    samples: npt.NDArray[np.complex64],
    data: h5py.Dataset,
    head: Head,
    chosen: npt.NDArray[np.int64],
    path: Path,
    notes: list[str],
) -> bool:
    """Whiten the samples in place by the file's noise scan; True if that was possible."""
    noise_positions = np.flatnonzero(_has_flag(head, _FLAG_NOISE))
    if noise_positions.size == 0:
        notes.append("there is no noise scan: the coils were not prewhitened")
        return False
    if (head["active_channels"][noise_positions] != samples.shape[1]).any():
        notes.append("the noise scan has other channels than the scan: the coils were not prewhitened")
        return False
    lengths = head["number_of_samples"][noise_positions]
    noise_positions = noise_positions[lengths == lengths.max()]
    noise = _read_samples(data, head, noise_positions, path, lambda _done: None)
    noise = noise.transpose(1, 0, 2).reshape(samples.shape[1], -1)
    noise_dwell, dwell = head["sample_time_us"][noise_positions[0]], head["sample_time_us"][chosen[0]]
    ratio = float(noise_dwell / dwell) if noise_dwell > 0 and dwell > 0 else 1.0
    matrix = whitening_matrix(noise, ratio)
    if matrix is None:
        notes.append("the noise scan is too short or a coil is silent in it: the coils were not prewhitened")
        return False
    for start in range(0, len(samples), _READOUTS_A_BLOCK):
        block = slice(start, start + _READOUTS_A_BLOCK)
        samples[block] = matrix @ samples[block]
    notes.append(f"the coils were prewhitened by a noise scan of {noise.shape[1]} samples")
    return True


def _readouts(
    data: h5py.Dataset, head: Head, chosen: npt.NDArray[np.int64], samples: npt.NDArray[np.complex64]
) -> Readouts:
    dimensions = _check_alike(head, chosen, "trajectory_dimensions", "trajectory dimensions")
    trajectory: npt.NDArray[np.float32] | None = None
    if dimensions in (2, 3):
        length = samples.shape[-1]
        values = _read_rectangular(data, "traj", chosen, length * dimensions, lambda _done: None)
        trajectory = values.reshape(chosen.size, length, dimensions)
    picked: Any = head[chosen]
    counters = picked["idx"]

    def integers(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return values.astype(np.int64)

    return Readouts(
        samples=samples,
        trajectory=trajectory,
        line=integers(counters["kspace_encode_step_1"]),
        repetition=integers(counters["repetition"]),
        phase=integers(counters["phase"]),
        average=integers(counters["average"]),
        starts_frame=_has_flag(picked, *_FLAGS_FIRST),
        ends_frame=_has_flag(picked, *_FLAGS_LAST),
        is_reversed=_has_flag(picked, _FLAG_REVERSE),
        centre_sample=integers(picked["center_sample"]),
        discard_pre=integers(picked["discard_pre"]),
        discard_post=integers(picked["discard_post"]),
        ticks=integers(picked["acquisition_time_stamp"]),
        number=chosen,
    )
