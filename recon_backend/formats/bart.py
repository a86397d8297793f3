"""BART's k-space: a pair of .cfl and .hdr files, either of which may be opened.

Cartesian k-space is (readout, phase) in dimensions (0, 1) or (1, 2), its lines of zeros not acquired.
Non-Cartesian k-space is (1, sample, readout) with a trajectory in `<stem>_traj`, `<stem>_trj` or `traj`
beside it, or a YAML file (`recon_backend.formats.sidecar`). Coils are dimension 3, frames 10 (or 11), slices
13, averages 14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.errors import FormatError, InvalidAcquisition
from recon_backend.formats import cfl
from recon_backend.formats.assembly import Readouts, SampleSource, TrajectorySource, assemble, chosen_slice
from recon_backend.formats.gridded import Frames, assumed_field_of_view, frame_step_s, to_acquisition
from recon_backend.formats.header import LARGEST_MATRIX, ScanHeader
from recon_backend.formats.sidecar import EXAMPLE, Sidecar, frames_of, read_companion, trajectory_of
from recon_backend.formats.storage import Progress, readouts_a_block, sha256, silent

_READOUT, _PHASE, _SECOND, _COIL, _TIME, _TIME_2, _SLICE, _AVERAGE = 0, 1, 2, 3, 10, 11, 13, 14
_KNOWN = {_READOUT, _PHASE, _SECOND, _COIL, _TIME, _TIME_2, _SLICE, _AVERAGE}
_COMPONENTS = 3
# Spokes and arms all cross the centre and carry much the same energy; outer Cartesian lines carry little.
_LIKE_SPOKES = 0.2
_LINES_TO_TELL = 8
_COLLINEAR = 1e-3

_BlockReader = Callable[[int], npt.NDArray[np.complex64]]


def recognises(path: Path) -> bool:
    """True if the file is BART's header, or has one beside it."""
    return cfl.header_of(path) is not None


def read(path: Path, slice_index: int | None, progress: Progress | None) -> Acquisition:
    """Read one slice.

    Args:
        path: the .cfl or the .hdr file.
        slice_index: which slice; the first one if None.
        progress: called with ("Reading", fraction 0 to 1).

    Raises:
        FormatError: the pair is damaged or incomplete, or a non-Cartesian scan has no trajectory.
    """
    report = progress or silent
    report("Reading", 0.0)
    header = cfl.header_of(path)
    if header is None:
        raise FormatError(path, "the .hdr file that belongs to it is missing.")
    array = cfl.open_array(header)
    try:
        acquisition = _read(array, slice_index, report)
    except InvalidAcquisition as error:
        raise FormatError(array.data, str(error)) from error
    report("Reading", 1.0)
    return acquisition


def _read(array: cfl.Array, slice_index: int | None, report: Progress) -> Acquisition:
    dims = array.dims
    sidecar = read_companion(array.data)
    other = [n for n, size in enumerate(dims) if size > 1 and n not in _KNOWN]
    if other:
        raise InvalidAcquisition(
            f"dimension {other[0]} has size {dims[other[0]]}; expected 1: pick one with 'bart slice'."
        )
    if dims[_READOUT] == _COMPONENTS and dims[_COIL] == 1 and _looks_like_trajectory(array):
        raise InvalidAcquisition("this is a trajectory, not k-space; open the k-space that belongs to it.")
    if dims[_TIME] > 1 and dims[_TIME_2] > 1:
        raise InvalidAcquisition(
            "dimensions 10 and 11 (time) both vary; expected frames along one of them: pick one with "
            "'bart slice' or join them with 'bart reshape'."
        )
    notes: list[str] = []
    time = _TIME_2 if dims[_TIME_2] > 1 else _TIME
    chosen = chosen_slice(range(dims[_SLICE]), slice_index, notes)
    if dims[_AVERAGE] > 1:
        notes.append(f"{dims[_AVERAGE]} averages were averaged")

    def block(frame: int) -> npt.NDArray[np.complex64]:
        """One frame, (coil, dimension 2, dimension 1, dimension 0)."""
        total = cfl.read_block(array, **{f"d{time}": frame, f"d{_SLICE}": chosen})
        if dims[_AVERAGE] == 1:
            return total
        count = (total != 0).astype(np.float32)
        for average in range(1, dims[_AVERAGE]):
            more = cfl.read_block(array, **{f"d{time}": frame, f"d{_SLICE}": chosen, f"d{_AVERAGE}": average})
            total = total + more
            count += more != 0
        return np.asarray(total / np.maximum(count, 1), np.complex64)

    trajectory = _find_trajectory(array, sidecar)
    used = [*array.files, *(sidecar.files if sidecar else ()), *(trajectory.files if trajectory else ())]
    digest = sha256(used, lambda done: report("Reading", 0.2 * done))
    notes.append(f"the checksum covers {', '.join(file.name for file in used)}")
    name = array.data.stem

    def progress(done: float) -> None:
        report("Reading", 0.2 + 0.7 * done)

    if trajectory is None and (sidecar is None or sidecar.sampling == "cartesian"):
        certain = sidecar is not None and sidecar.states_sampling
        frames = _cartesian_frames(array, block, dims[time], certain)
        return to_acquisition(frames, sidecar, notes, name=name, source_sha256=digest, report=progress)
    return _non_cartesian(array, block, time, trajectory, sidecar, notes, name, digest)


def _looks_like_trajectory(array: cfl.Array) -> bool:
    return not cfl.read_block(array).imag.any()


def _cartesian_frames(array: cfl.Array, block: _BlockReader, count: int, certain: bool) -> Frames:
    dims = array.dims
    sizes = dims[:_COIL]
    if min(sizes) > 1:
        raise InvalidAcquisition(
            f"dimensions 0 to 2 are {' x '.join(map(str, sizes))}: this is a 3-dimensional scan; transform "
            "along one of them with 'bart fft -i' and put it in dimension 13 with 'bart transpose'."
        )
    if sizes[_SECOND] == 1:

        def read(frame: int) -> npt.NDArray[np.complex64]:
            return block(frame)[:, 0]

        lines, columns = dims[_PHASE], dims[_READOUT]
    elif sizes[_READOUT] == 1:

        def read(frame: int) -> npt.NDArray[np.complex64]:
            return block(frame)[:, :, :, 0]

        lines, columns = dims[_SECOND], dims[_PHASE]
        if not certain:
            _refuse_spokes(read(0), array)
    else:

        def read(frame: int) -> npt.NDArray[np.complex64]:
            return block(frame)[:, :, 0]

        lines, columns = dims[_SECOND], dims[_READOUT]
    return Frames(dims[_COIL], count, lines, columns, read, stored=int(np.prod(dims)))


def _refuse_spokes(frame: npt.NDArray[np.complex64], array: cfl.Array) -> None:
    """Refuse what looks like spokes or arms without a trajectory, (coil, readout, sample)."""
    energy = np.square(np.abs(frame)).sum(axis=(0, 2), dtype=np.float64)
    energy = energy[energy > 0]
    if energy.size >= _LINES_TO_TELL and energy.min() > _LIKE_SPOKES * energy.max():
        stem = array.data.stem
        raise InvalidAcquisition(
            f"this looks like radial or spiral k-space; expected its trajectory in '{stem}_traj.cfl' (and "
            f".hdr) or in '{stem}.yaml' with {EXAMPLE}."
        )


def _find_trajectory(array: cfl.Array, sidecar: Sidecar | None) -> cfl.Array | None:
    """The trajectory beside non-Cartesian k-space, or None."""
    dims = array.dims
    if dims[_READOUT] != 1:
        return None
    stem = array.data.stem
    for name in (f"{stem}_traj", f"{stem}_trj", "traj"):
        header = array.data.with_name(f"{name}.hdr")
        if not header.is_file() or header == array.header:
            continue
        found = cfl.open_array(header)
        if found.dims[1:3] != dims[1:3]:
            if name == "traj":  # one of that name may belong to another file of the folder
                continue
            raise FormatError(
                found.data,
                f"the trajectory is for {found.dims[2]} readouts of {found.dims[1]} samples, but k-space has "
                f"{dims[2]} of {dims[1]}.",
            )
        if sidecar is not None and sidecar.describes_trajectory:
            raise FormatError(
                sidecar.path,
                f"it describes a trajectory, but '{found.data.name}' holds one too; keep one of them.",
            )
        return found
    return None


def _non_cartesian(
    array: cfl.Array,
    block: _BlockReader,
    time: int,
    trajectory: cfl.Array | None,
    sidecar: Sidecar | None,
    notes: list[str],
    name: str,
    digest: str,
) -> Acquisition:
    dims = array.dims
    if dims[_READOUT] != 1:
        raise InvalidAcquisition(
            f"dimension 0 has size {dims[_READOUT]}, but radial and spiral k-space of BART has 1 there, "
            "samples along dimension 1 and readouts along 2."
        )
    count, readouts, coils = dims[time], dims[_SECOND], dims[_COIL]
    first = sidecar.first_sample if sidecar is not None else 0
    length = dims[_PHASE] - first
    if length < 1:
        raise InvalidAcquisition(f"'first_sample' is {first}, but readouts have {dims[_PHASE]} samples.")
    kept = _acquired(block, count, readouts)
    if sidecar is not None:
        kept = kept[sidecar.skip_readouts :]
    if kept.size == 0:
        raise InvalidAcquisition(
            "no readout is left; the file holds only zeros or 'skip_readouts' is too large."
        )

    stored = None if trajectory is None else cfl.read_trajectory(trajectory.data, time)
    if stored is not None and len(stored) not in (1, count):
        raise InvalidAcquisition(f"the trajectory has {len(stored)} frames, but k-space has {count}.")
    matrix, lengths_mm = _geometry(sidecar, stored, length, notes)
    if stored is not None and trajectory is not None:
        stored = stored[:, :, first:]
        unit_note = cfl.convert_to_radians(stored, matrix)
        notes.append(f"the trajectory comes from '{trajectory.data.name}'; {unit_note}")
        sampling: Sampling = "radial" if _is_radial(stored) else "spiral"
        if sidecar is not None and sidecar.sampling != "cartesian":
            sampling = sidecar.sampling
        source, samples = _stored_source(stored), length
    else:
        assert sidecar is not None  # _read sees to one of the two
        sampling = sidecar.sampling
        source, samples = trajectory_of(
            sidecar,
            length=length,
            matrix=matrix,
            field_of_view_mm=lengths_mm,
            readouts=count * readouts,
            centre_sample=None,
            notes=notes,
        )
    frame = frames_of(sidecar, kept.size) if sidecar is not None else None
    if frame is None:
        frame = kept // readouts
    present, frame = np.unique(frame, return_inverse=True)
    if present[-1] + 1 != present.size:
        empty = int(np.flatnonzero(present != np.arange(present.size))[0])
        raise InvalidAcquisition(f"frame {empty} holds only zeros; expected a readout in every frame.")
    if present.size < count and (sidecar is None or sidecar.readouts_per_frame is None):
        notes.append(f"the last {count - present.size} frames are empty and were left out")
    header = ScanHeader(
        sampling=sampling,
        encoded_matrix=matrix,
        encoded_field_of_view_mm=lengths_mm,
        matrix=matrix,
        field_of_view_mm=lengths_mm,
        centre_line=None,
        last_repetition=None,
        last_phase=None,
        repetition_time_s=None,
        details={},
        frame_time_s=frame_step_s(None, int(np.median(np.bincount(frame))), sidecar, notes),
    )
    return assemble(
        _readouts(block, kept, readouts, first, samples, coils, source, frame.astype(np.int64)),
        header,
        notes,
        name=name,
        source_sha256=digest,
        whitened=False,
    )


def _acquired(block: _BlockReader, count: int, readouts: int) -> npt.NDArray[np.int64]:
    """Which readouts are not all zero, counted through all frames."""
    acquired = np.zeros((count, readouts), np.bool_)
    for frame in range(count):
        values = block(frame)
        if not np.isfinite(values).all():
            raise InvalidAcquisition(f"k-space of frame {frame} holds NaN or infinite samples.")
        acquired[frame] = values.any(axis=(0, 2, 3))
    return np.asarray(np.flatnonzero(acquired), np.int64)


def _readouts(
    block: _BlockReader,
    kept: npt.NDArray[np.int64],
    readouts: int,
    first: int,
    length: int,
    coils: int,
    source: TrajectorySource,
    frame: npt.NDArray[np.int64],
) -> Readouts:
    step = readouts_a_block(coils, length)

    def blocks() -> Iterator[tuple[slice, npt.NDArray[np.complex64]]]:
        position = 0
        while position < kept.size:
            time, start = divmod(int(kept[position]), readouts)
            values = block(time)[:, :, first : first + length, 0].transpose(1, 0, 2)
            end = int(np.searchsorted(kept, (time + 1) * readouts))
            for begin in range(position, end, step):
                place = slice(begin, min(begin + step, end))
                yield place, values[kept[place] - time * readouts]
            position = end

    def points(
        order: npt.NDArray[np.int64], of_frame: npt.NDArray[np.int64], slot: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        return source.points(kept[order], of_frame, slot)

    none = np.zeros(kept.size, np.int64)
    never = np.zeros(kept.size, np.bool_)
    return Readouts(
        samples=SampleSource(kept.size, coils, length, blocks),
        trajectory=TrajectorySource(source.dimensions, points, in_radians=True),
        line=none,
        repetition=none,
        phase=none,
        average=none,
        starts_frame=never,
        ends_frame=never,
        is_reversed=never,
        centre_sample=none,
        discard_pre=none,
        discard_post=none,
        ticks=none,
        number=kept,
        frame=frame,
    )


def _geometry(
    sidecar: Sidecar | None, stored: npt.NDArray[np.float32] | None, length: int, notes: list[str]
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Matrix and field of view, (y, x): as stated, or as far as the trajectory reaches."""
    matrix = sidecar.matrix if sidecar is not None else None
    if matrix is None and stored is not None:
        reach = float(np.abs(stored).max())
        side = max(2, 2 * round(reach))
        if side > LARGEST_MATRIX:
            raise InvalidAcquisition(
                f"the trajectory reaches {reach:.4g} cycles/FOV; expected at most {LARGEST_MATRIX // 2}."
            )
        matrix = (side, side)
        notes.append(f"the matrix is not stated: {side} x {side} is as far as the trajectory reaches")
    if matrix is None:
        oversampling = sidecar.readout_oversampling if sidecar is not None else None
        side = max(2, round(length / (oversampling or 2)))
        matrix = (side, side)
        notes.append(f"the matrix is not stated: {side} x {side} was taken for {length} samples of a readout")
    if sidecar is not None and sidecar.field_of_view_mm is not None:
        return matrix, sidecar.field_of_view_mm
    return matrix, assumed_field_of_view(matrix, notes)


def _stored_source(stored: npt.NDArray[np.float32]) -> TrajectorySource:
    flat = stored.reshape(-1, *stored.shape[2:])

    def points(
        order: npt.NDArray[np.int64], _frame: npt.NDArray[np.int64], _slot: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        return flat[order % len(flat)][..., ::-1]

    return TrajectorySource(2, points, in_radians=True)


def _is_radial(stored: npt.NDArray[np.float32]) -> bool:
    """True if every readout of the first frame is a straight line, (frame, readout, sample, 2)."""
    spokes = stored[0].astype(np.float64)
    ends = spokes[:, -1] - spokes[:, 0]
    from_start = spokes - spokes[:, :1]
    across = from_start[..., 0] * ends[:, None, 1] - from_start[..., 1] * ends[:, None, 0]
    scale = np.square(ends).sum(axis=-1)[:, None]
    return bool((np.abs(across) <= _COLLINEAR * np.maximum(scale, 1e-12)).all())
