"""The data sets of an evaluation: raw scans with their truth, videos, cine MR series; and their frames.

 Folders may mix all kinds. Videos are read as published (paper_spec §1.1): the middle of the first 50 frames,
resized to 488 rows without antialiasing, of which the centre is cut out. Of a patient the middle slice is
taken, from its first frame on; a series that is too short goes on with its next beat, a video to and fro.
Images of the heart alone, smaller than the matrix, are enlarged at most 1.5 times and continued by
reflection, as in training: a heart on an empty field would be too easy. Fully sampled raw data
(`/kspace`) keep their own coils and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.evaluation.scans import TRUTH_SUFFIXES, has_truth
from recon_backend.simulation.cine import (
    CINE_SUFFIXES,
    KSPACE_NAME,
    KspaceFile,
    as_bytes,
    cine_names,
    read_cine,
)
from recon_backend.simulation.clips import VIDEO_SUFFIXES, cached_clip
from recon_backend.simulation.videos import centre_cut
from recon_backend.training.sources import members_of, recording_of

Kind = Literal["scan", "video", "cine", "kspace"]

ALL_SPLITS = "all"
SPLITS = (ALL_SPLITS, "validation")
_HDF5_SUFFIXES = (".h5", ".hdf5", ".mrd")
_LARGEST_ZOOM = 1.5


@dataclass(frozen=True)
class Case:
    """One data set.

    Attributes:
        name: of the scan, video or patient.
        group: name of the folder or file that it belongs to.
        kind: "scan" (with its truth), "video", "cine" (magnitude images) or "kspace" (fully sampled).
        path: the file.
        key: name of the series inside the file; empty where there is but one.
        block: recording or patient; data sets of one block are not independent.
        held_out: whether its name puts it into the validation split; None for scans.
    """

    name: str
    group: str
    kind: Kind
    path: Path
    key: str = ""
    block: str = ""
    held_out: bool | None = None


def find_cases(paths: Sequence[Path], split: str = ALL_SPLITS, limit: int | None = None) -> list[Case]:
    """The data sets in files and folders, in a fixed order.

    Args:
        paths: files, or folders of them (what lies deeper is not looked at).
        split: "all", or "validation" for those videos and patients that training of this program would leave
            out of these files; scans are always taken.
        limit: at most so many of each group and kind, spread evenly over the list.

    Raises:
        ReconstructionError: there is none, or a file that was named is none.
        FormatError: a file that was named cannot be read.
    """
    found: list[Case] = []
    for path in dict.fromkeys(paths):
        if path.is_dir():
            for candidate in sorted(path.iterdir()):
                if candidate.is_file() and not candidate.name.endswith(TRUTH_SUFFIXES):
                    found.extend(_cases_of(candidate, path.resolve().name))
        elif path.is_file():
            found.extend(_cases_of(path, path.resolve().parent.name, named=True))
        else:
            raise ReconstructionError(f"{path}: there is no such file or folder.")
    if not found:
        raise ReconstructionError(
            "No data set was found; expected videos, cine images (HDF5 or NIfTI), fully sampled raw data "
            "(/kspace), or raw files with a truth beside them (<name>.h5 and <name>_truth.npz or .h5)."
        )
    found = _with_blocks(list(dict.fromkeys(found)))
    chosen = [case for case in found if split == ALL_SPLITS or case.held_out in (True, None)]
    return chosen if limit is None else _limited(chosen, limit)


def _cases_of(path: Path, folder: str, *, named: bool = False) -> list[Case]:
    """The data sets in one file; none if it is something else, unless the user named it."""
    name = path.name.lower()
    if name.endswith(VIDEO_SUFFIXES):
        return [Case(path.name, folder, "video", path)]
    if has_truth(path):
        return [Case(path.stem, folder, "scan", path, block=path.stem)]
    if not name.endswith(CINE_SUFFIXES):
        if named:
            raise FormatError(path, "neither a video, nor cine images, nor raw data with a truth beside it.")
        return []
    if _has_kspace(path):
        return [Case(path.name, folder, "kspace", path)]
    try:
        hdf5 = name.endswith(_HDF5_SUFFIXES)
        series = [key for key in cine_names(path) if not hdf5 or _is_series(path, key)]
    except FormatError:
        if named:
            raise
        return []
    if named and not series:
        raise FormatError(path, "no cine images (slice, frame, y, x) and no truth beside it.")
    if len(series) == 1:
        return [Case(path.name, folder, "cine", path, series[0])]
    return [Case(key, path.stem, "cine", path, key) for key in series]


def _has_kspace(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return KSPACE_NAME in file
    except OSError:
        return False


def _is_series(path: Path, key: str) -> bool:
    """Whether a data set may be a cine; movies made by this program are results, not data."""
    with h5py.File(path) as file:
        item = file.get(key)
        return (
            isinstance(item, h5py.Dataset)
            and item.ndim in (3, 4)
            and item.dtype.kind in "uif"
            and "format" not in file.attrs
        )


def _with_blocks(cases: list[Case]) -> list[Case]:
    """The cases with block and split, which depend on all names of their group."""
    names: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        names.setdefault((case.group, case.kind), []).append(case.name)
    held_out = {key: set(members_of(group, "validation")) for key, group in names.items()}
    several = {key: len({recording_of(name) for name in group}) > 1 for key, group in names.items()}
    complete = []
    for case in cases:
        key = case.group, case.kind
        if case.kind != "scan":
            # Where all names differ in a last number only, each is a recording of its own.
            block = recording_of(case.name) if several[key] else case.name
            case = replace(case, block=block, held_out=case.name in held_out[key])
        complete.append(case)
    return complete


def _limited(cases: list[Case], limit: int) -> list[Case]:
    kept: list[Case] = []
    for key in dict.fromkeys((case.group, case.kind) for case in cases):
        members = [case for case in cases if (case.group, case.kind) == key]
        count = min(limit, len(members))
        kept.extend(members[index * len(members) // count] for index in range(count))
    return kept


def colour_movie(case: Case, frames: int, matrix: int, cache: Path) -> npt.NDArray[np.uint8]:
    """The frames (frame, y, x, 3) of a video or cine on a square matrix, as described in the module.

    Args:
        case: a video or cine.
        frames: so many.
        matrix: rows and columns.
        cache: folder in which a decoded video is kept for the next sampling.

    Raises:
        FormatError: the file cannot be read.
    """
    if case.kind == "video":
        stored = np.load(cached_clip(case.path, cache, published=True), mmap_mode="r")
        return centre_cut(stored[_middle(len(stored), frames)], matrix)
    slices = read_cine(case.path, case.key)
    beat = as_bytes(slices[len(slices) // 2])
    movie = _field_of_view(beat, matrix)[np.arange(frames) % len(beat)]
    return np.repeat(movie[..., None], 3, axis=-1)


def measured_images(case: Case, frames: int, matrix: int) -> npt.NDArray[np.complex64]:
    """Coil images (coil, frame, y, x) of the middle slice of fully sampled raw data.

    Raises:
        FormatError: the file cannot be read.
    """
    file = KspaceFile(case.path)
    return file.images(file.slices // 2, np.arange(frames) % file.frames, matrix)


def _middle(count: int, frames: int) -> npt.NDArray[np.intp]:
    """The middle frames of a clip, or all of them to and fro if there are too few."""
    if count >= frames:
        return (count - frames) // 2 + np.arange(frames)
    period = max(1, 2 * (count - 1))
    index = np.arange(frames) % period
    return np.minimum(index, period - index)


def _field_of_view(beat: npt.NDArray[np.uint8], matrix: int) -> npt.NDArray[np.uint8]:
    """Cine images (frame, y, x) on the matrix: large ones are cut, small ones enlarged and continued."""
    zoom = min(_LARGEST_ZOOM, matrix / max(beat.shape[1:]))
    if zoom > 1:
        beat = scipy.ndimage.zoom(beat, (1, zoom, zoom), order=1, grid_mode=True, mode="nearest")
    beat = beat[(slice(None), *(_central(size, matrix) for size in beat.shape[1:]))]
    missing = [matrix - size for size in beat.shape[1:]]
    padding = [(0, 0), *((size // 2, size - size // 2) for size in missing)]
    padded: npt.NDArray[Any] = np.pad(beat, padding, mode="reflect")
    return padded


def _central(size: int, matrix: int) -> slice:
    first = max(0, (size - matrix) // 2)
    return slice(first, first + min(size, matrix))
