"""k-space as an array in HDF5: fastMRI, CMRxRecon (MATLAB 7.3) and plain files, told apart by what they hold.

* fastMRI: complex `kspace` (slice, coil, readout, phase) with `ismrmrd_header`, or (coil, readout, phase).
* CMRxRecon: `kspace`, `kspace_full`, `kspace_sub04`… of pairs (real, imag); MATLAB's (nx, ny, coil, slice,
  time) comes out reversed, (time, slice, coil, phase, readout).
* blindcine: complex `kspace` (slice, frame, coil, phase, readout).

`axes` in a YAML file beside it says it for every other order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import JSON, Acquisition
from recon_backend.errors import FormatError, InvalidAcquisition
from recon_backend.formats.assembly import chosen_slice
from recon_backend.formats.gridded import Frames, to_acquisition
from recon_backend.formats.hdf5 import Dataset, File
from recon_backend.formats.header import Identity, ScanHeader, identity_of, parse_xml, scan_header
from recon_backend.formats.sidecar import Sidecar, read_companion
from recon_backend.formats.storage import LARGEST_GRID_RATIO, Progress, sha256

_LAYOUTS = {
    "matlab": {
        3: ("coil", "y", "x"),
        4: ("slice", "coil", "y", "x"),
        5: ("frame", "slice", "coil", "y", "x"),
    },
    "fastMRI": {3: ("coil", "x", "y"), 4: ("slice", "coil", "x", "y")},
    "plain": {
        3: ("coil", "y", "x"),
        4: ("slice", "coil", "x", "y"),
        5: ("slice", "frame", "coil", "y", "x"),
    },
}
_COMPLEX_BYTES = 8


@dataclass(frozen=True)
class _Layout:
    """How a dataset is laid out: one name an axis, and what else the file says."""

    axes: tuple[str, ...]
    kind: str
    header: ScanHeader | None = None


def find(file: File) -> list[Dataset]:
    """The datasets that look like k-space: complex, 2 to 5 dimensions, named kspace…; the best first."""
    found = [
        dataset
        for dataset in file.datasets.values()
        if dataset.is_complex
        and 2 <= len(dataset.shape) <= 5
        and dataset.name.rpartition("/")[2].lower().startswith("kspace")
        and dataset.name.isprintable()
    ]
    return sorted(found, key=lambda dataset: (dataset.name.count("/"), len(dataset.name), dataset.name))


def read(file: File, found: Sequence[Dataset], slice_index: int | None, report: Progress) -> Acquisition:
    """Read one slice.

    Args:
        file: the open file.
        found: from `find`, not empty.
        slice_index: which slice; the first one if None.
        report: called with ("Reading", fraction 0 to 1).

    Raises:
        FormatError: the file is damaged, or the YAML beside it does not fit.
        InvalidAcquisition: the array cannot be k-space of one scan.
    """
    dataset = found[0]
    notes: list[str] = []
    sidecar = read_companion(file.path)
    if sidecar is not None and sidecar.sampling != "cartesian":
        raise FormatError(
            sidecar.path,
            f"'sampling' is {sidecar.sampling}, but HDF5 files with an array of k-space hold Cartesian data; "
            "store radial and spiral scans as ISMRMRD.",
        )
    used = [file.path, *(sidecar.files if sidecar else ())]
    digest = sha256(used, lambda done: report("Reading", 0.2 * done))
    if len(found) > 1:
        notes.append(f"'{dataset.name}' was read; the file also holds {len(found) - 1} more k-space arrays")
    _check_size(dataset, file)
    identity, layout = _layout(file, dataset, sidecar, notes)
    frames = _frames(file, dataset, layout, slice_index, notes)
    name = file.path.stem
    if identity is not None and identity.is_named_in(name):
        name = f"scan_{digest[:12]}"
        notes.append(
            "the file's name holds the patient's name or number, so the scan is called by its checksum"
        )
    return to_acquisition(
        frames,
        sidecar,
        notes,
        name=name,
        source_sha256=digest,
        report=lambda done: report("Reading", 0.2 + 0.7 * done),
    )


def _check_size(dataset: Dataset, file: File) -> None:
    """Refuse shapes that the file cannot hold, before anything of their size is asked for."""
    if 0 in dataset.shape:
        raise InvalidAcquisition(f"'{dataset.name}' is empty: its shape is {_shown(dataset.shape)}.")
    announced = math.prod(dataset.shape) * dataset.item_bytes
    # Zeros of lines that were not acquired compress well.
    most = file.bytes * (LARGEST_GRID_RATIO if dataset.chunk else 1)
    chunk_bytes = math.prod(dataset.chunk or (1,)) * dataset.item_bytes
    if announced > most or dataset.stored_bytes > file.bytes or chunk_bytes > 2 * announced:
        raise InvalidAcquisition(
            f"'{dataset.name}' announces {_shown(dataset.shape)} samples, more than the file holds; "
            "it is truncated or damaged."
        )
    file.make_room(chunk_bytes)


def _layout(
    file: File, dataset: Dataset, sidecar: Sidecar | None, notes: list[str]
) -> tuple[Identity | None, _Layout]:
    """Which axis of the array is what."""
    dimensions = len(dataset.shape)
    identity, header = None, None
    if "ismrmrd_header" in file.datasets and file.datasets["ismrmrd_header"].type == "text":
        root = parse_xml(file.text("ismrmrd_header"))
        identity = identity_of(root)
        header = scan_header(root, 0, identity)
        if header.sampling != "cartesian":
            raise InvalidAcquisition(
                f"the header says '{header.sampling}', but an array of k-space is Cartesian."
            )
    kind = "fastMRI" if header is not None else "matlab" if dataset.members else "plain"
    if sidecar is not None and sidecar.axes is not None:
        if len(sidecar.axes) != dimensions:
            raise FormatError(
                sidecar.path,
                f"'axes' names {len(sidecar.axes)} axes, but '{dataset.name}' has {dimensions} "
                f"({_shown(dataset.shape)}).",
            )
        return identity, _Layout(sidecar.axes, kind, header)
    axes = _LAYOUTS[kind].get(dimensions)
    if axes is None:
        raise InvalidAcquisition(
            f"'{dataset.name}' has {dimensions} dimensions ({_shown(dataset.shape)}), which fits no known "
            f"layout; say what they are in '{file.path.stem}.yaml', such as "
            "'axes: [slice, frame, coil, y, x]' (y is phase encoding, x the readout)."
        )
    if kind == "plain":
        axes = _by_empty_lines(file, dataset, axes)
    last_frame = max(header.last_repetition or 0, header.last_phase or 0) if header is not None else 0
    if axes[0] == "slice" and last_frame and last_frame + 1 == dataset.shape[0]:
        axes = ("frame", *axes[1:])
    notes.append(
        f"'{dataset.name}' ({_shown(dataset.shape)}) was read as ({', '.join(axes)}), a {kind} array"
    )
    return identity, _Layout(axes, kind, header)


def _by_empty_lines(file: File, dataset: Dataset, axes: tuple[str, ...]) -> tuple[str, ...]:
    """The axes with y (phase encoding) where whole lines of the first image are zero, if any."""
    count = [
        1 if axis in ("slice", "frame") else size for axis, size in zip(axes, dataset.shape, strict=True)
    ]
    image = file.slab(dataset.name, [0] * len(axes), count).reshape(count[-3:])
    by_axis = [image.any(axis=(0, 2)), image.any(axis=(0, 1))]
    empty = [not used.all() for used in by_axis]
    if empty[0] == empty[1] or not by_axis[0].any():
        return axes
    return (*axes[:-2], *(("y", "x") if empty[0] else ("x", "y")))


def _frames(
    file: File, dataset: Dataset, layout: _Layout, slice_index: int | None, notes: list[str]
) -> Frames:
    size = dict(zip(layout.axes, dataset.shape, strict=True))
    chosen = chosen_slice(range(size.get("slice", 1)), slice_index, notes)
    coils = size.get("coil", 1)

    def read(frame: int) -> npt.NDArray[np.complex64]:
        """One frame, (coil, y, x)."""
        at = {"slice": chosen, "frame": frame}
        start = [at.get(axis, 0) for axis in layout.axes]
        count = [1 if axis in at else size[axis] for axis in layout.axes]
        block = file.slab(dataset.name, start, count)
        kept = tuple(axis for axis in layout.axes if axis not in at)
        block = block.reshape([size[axis] for axis in kept])
        if "coil" not in kept:
            block, kept = block[None], ("coil", *kept)
        return block.transpose([kept.index(axis) for axis in ("coil", "y", "x")])

    frames = size.get("frame", 1)
    stored = min(math.prod(dataset.shape), LARGEST_GRID_RATIO * file.bytes // _COMPLEX_BYTES)
    header = layout.header
    if header is None:
        return Frames(coils, frames, size["y"], size["x"], read, stored)
    details: dict[str, JSON] = dict(header.details)
    return Frames(
        coils,
        frames,
        size["y"],
        size["x"],
        read,
        stored,
        field_of_view_mm=_lengths(header, size["x"]),
        width=_width(header, size["x"]),
        frame_time_s=None,
        details=details,
    )


def _lengths(header: ScanHeader, columns: int) -> tuple[float, float]:
    """Field of view (y, x) of the stored matrix."""
    height, width = header.encoded_field_of_view_mm
    wanted = header.field_of_view_mm[1]
    if not width and wanted:
        width = wanted * columns / header.matrix[1]
    return height or header.field_of_view_mm[0], width


def _width(header: ScanHeader, columns: int) -> int | None:
    """Columns without readout oversampling, by the lengths in the header."""
    encoded, wanted = header.encoded_field_of_view_mm[1], header.field_of_view_mm[1]
    if not encoded or not 0 < wanted < encoded:
        return None
    return max(1, min(columns, round(columns * wanted / encoded)))


def _shown(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
