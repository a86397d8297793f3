"""Simulated real-time scans, written as ISMRMRD files with the truth beside them.

`simulate_scan` scans a moving phantom. Every readout sees the phantom as it is at (about) its own time, drawn
on a grid half as fine again as the reconstruction's and Fourier transformed from there, through smooth coils
with coupled noise: what is reconstructed never met the reconstruction's own model. The file has what scanner
files have: a noise scan, dummy readouts before the steady state, two-fold oversampling along the readout,
2.5 ms time stamps, and the trajectory in cycles/pixel. `write_simulated` writes scans of videos and cine
images that were simulated as for training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import finufft
import h5py
import numpy as np
from numpy.typing import NDArray

from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.fourier import centred_fft, centred_ifft
from recon_backend.ismrmrd_layout import ACQUISITION_HEADER
from recon_backend.movie import Movie
from recon_backend.sampling.cartesian import published_mask
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.sampling.spiral import repetition_time_s, spiral_trajectory
from recon_backend.simulation.phantoms import DEFAULT_FIELD_OF_VIEW_MM, Phantom
from recon_backend.simulation.videos import SimulatedScan
from recon_backend.storage import replacing

DEFAULT_MATRIX: dict[Sampling, int] = {"cartesian": 240, "radial": 256, "spiral": 240}
RADIAL_SPOKES = 13
SPIRAL_ARMS = 15
_DEFAULT_TR_S = {"cartesian": 3.0e-3, "radial": 3.4e-3}
_SPIRAL_DWELL_S = 1.4e-6
_FINER = 1.5
_OVERSAMPLING = 2
_NOISE_READOUTS = 32
_DUMMY_READOUTS = 10
_TICK_S = 2.5e-3
_START_S = 36_000.0
_FIELD_STRENGTH_T = 1.5
_RESONANCE_HZ = 63_870_000
_FLAG_FIRST_IN_REPETITION = 13
_FLAG_LAST_IN_REPETITION = 14
_FLAG_NOISE = 19
_FLAG_LAST_IN_MEASUREMENT = 25
_FLAG_DUMMY = 27


@dataclass(frozen=True)
class ScanFiles:
    """The files of one simulated scan."""

    raw: Path
    truth: Path


@dataclass(frozen=True)
class _Plan:
    """What is measured: trajectory in rad/pixel (y, x), and which row each Cartesian line is."""

    sampling: Sampling
    matrix: int
    field_of_view_mm: float
    trajectory: NDArray[np.float32]
    rows: NDArray[np.int64] | None
    tr_s: float
    dwell_s: float

    @property
    def frames(self) -> int:
        return int(self.trajectory.shape[0])

    @property
    def readouts(self) -> int:
        return int(self.trajectory.shape[1])

    @property
    def samples(self) -> int:
        return int(self.trajectory.shape[2])


def simulate_scan(
    path: str | Path,
    phantom: Phantom,
    *,
    sampling: Sampling,
    frames: int = 40,
    matrix: int | None = None,
    tr_s: float | None = None,
    field_of_view_mm: float = DEFAULT_FIELD_OF_VIEW_MM,
    coils: int = 8,
    snr: float = 60.0,
    seed: int = 0,
    moments_per_frame: int = 3,
) -> ScanFiles:
    """Scan a phantom; write the raw data to `path` and the true movie to `<stem>_truth.h5` beside it.

    Args:
        path: ISMRMRD file to write.
        phantom: subject and plane.
        sampling: "cartesian" (17 of 240 lines), "radial" (13 spokes) or "spiral" (15 arms), as published.
        frames: number of frames.
        matrix: reconstruction matrix; by default the published one. The spiral keeps its arm in rad/pixel.
        tr_s: repetition time; a frame lasts tr_s times its readouts. By default 3 ms, 3.4 ms, 3.64 ms.
        field_of_view_mm: width of the image.
        coils: number of coils round the body.
        snr: signal of the brightest tissue over the standard deviation (one component) of the noise in an
            image from fully sampled data.
        seed: of coils and noise.
        moments_per_frame: how often within a frame the phantom is drawn anew.

    Returns:
        Both files. The truth has the frame centres' images, peak 1, and the same frame times as the scan.

    Raises:
        ValueError: if an argument is out of range.
        OSError: if a file cannot be written.
    """
    if frames < 1 or coils < 1 or moments_per_frame < 1:
        raise ValueError(
            f"frames {frames}, coils {coils} and moments_per_frame {moments_per_frame} must be above 0."
        )
    if not snr > 0:
        raise ValueError(f"snr is {snr}, but it must be above 0.")
    plan = _plan(sampling, frames, matrix, tr_s, field_of_view_mm)
    path = Path(path)
    rng = np.random.default_rng([seed, phantom.subject])
    frame_time_s = plan.tr_s * plan.readouts
    centres_s = (np.arange(frames) + 0.5) * frame_time_s
    truth = phantom.frames(centres_s, plan.matrix, field_of_view_mm)
    peak = float(truth.max())

    fine = 2 * math.ceil(_FINER * plan.matrix / 2)
    sensitivities = _sensitivities(fine, field_of_view_mm, coils, rng)
    mixing = _noise_mixing(coils, rng)
    gains = np.exp(0.25 * rng.standard_normal(coils)).astype(np.float32)
    sigma = peak / snr * math.sqrt(_OVERSAMPLING)

    kspace = np.empty((frames, plan.readouts, coils, plan.samples), dtype=np.complex64)
    groups = np.array_split(np.arange(plan.readouts), min(moments_per_frame, plan.readouts))
    for frame in range(frames):
        times_s = np.array([(frame * plan.readouts + group.mean() + 0.5) * plan.tr_s for group in groups])
        drawn = phantom.frames(times_s, fine, field_of_view_mm)
        for group, image in zip(groups, drawn, strict=True):
            kspace[frame, group] = _measure(image * sensitivities, plan, frame, group)
    noise_samples = plan.samples if plan.rows is not None else 512
    kspace += _noise((frames, plan.readouts, coils, plan.samples), mixing, sigma, rng)
    kspace *= gains[:, None]
    noise = _noise((_NOISE_READOUTS, coils, noise_samples), mixing, sigma, rng) * gains[:, None]
    # Before the steady state the signal swings: these readouts must not be used.
    swing = 1 + 0.8 * np.cos(math.pi * np.arange(_DUMMY_READOUTS)) * np.exp(-np.arange(_DUMMY_READOUTS) / 4)
    repeated = kspace[0, np.arange(_DUMMY_READOUTS) % plan.readouts]
    dummies = (repeated * swing[:, None, None]).astype(np.complex64)

    protocol = f"{phantom.plane}_{sampling}_realtime"
    _write(path, plan, protocol, phantom.plane == "short_axis", noise, dummies, kspace)
    provenance = {"plane": phantom.plane, "subject": phantom.subject, "seed": seed, "snr": snr}
    return _with_truth(path, plan, truth / peak, provenance)


def write_simulated(
    path: str | Path,
    scan: SimulatedScan,
    *,
    protocol: str,
    provenance: Mapping[str, Any],
    seed: int = 0,
) -> ScanFiles:
    """Write what `recon_backend.simulation.videos` simulated as an ISMRMRD file, with its truth beside it.

    The readouts are those of the simulation: Cartesian lines get two-fold oversampling by zeros outside the
    field of view, which reading takes off again, so the file reads back as the data that were simulated. A
    noise scan of the same level comes first, if the level is known.

    Args:
        path: ISMRMRD file to write.
        scan: what was simulated, with the same number of lines in every frame.
        protocol: name of the protocol; it must not name a person.
        provenance: what else the truth shall tell of its origin.
        seed: of the noise scan.

    Returns:
        Both files. The truth is free of noise, peak 1, with the frame times of the scan.

    Raises:
        ValueError: frames have different numbers of lines.
        OSError: if a file cannot be written.
    """
    path, acquisition = Path(path), scan.acquisition
    plan = _plan_of(acquisition)
    kspace = _readouts(acquisition, plan)
    rng = np.random.default_rng([seed, 1])
    count, coils = (_NOISE_READOUTS if scan.noise_sigma > 0 else 0), kspace.shape[2]
    # Half of the noise of an oversampled line goes when it is cropped; that of the images does not.
    sigma = scan.noise_sigma * (1.0 if plan.rows is None else math.sqrt(_OVERSAMPLING))
    noise = _noise((count, coils, 2 * plan.matrix), np.eye(coils, dtype=complex), sigma, rng)
    dummies = np.zeros((0, coils, plan.samples), np.complex64)
    _write(path, plan, protocol, False, noise, dummies, kspace)
    return _with_truth(path, plan, scan.truth, provenance)


def _with_truth(
    path: Path, plan: _Plan, truth: NDArray[np.float32], provenance: Mapping[str, Any]
) -> ScanFiles:
    """Put the truth beside a raw file, with the frame times of the scan."""
    truth_path = path.with_name(f"{path.stem}_truth.h5")
    spacing_mm = plan.field_of_view_mm / plan.matrix
    times_s = np.arange(plan.frames, dtype=np.float64) * plan.tr_s * plan.readouts
    origin = {"method": "truth", "source": path.name, "sampling": plan.sampling, **provenance}
    Movie(truth, (spacing_mm, spacing_mm), times_s, origin).save(truth_path)
    return ScanFiles(path, truth_path)


def _plan_of(acquisition: Acquisition) -> _Plan:
    """The plan by which a simulated acquisition is measured."""
    sampling, size = acquisition.sampling, acquisition.matrix[0]
    view_mm = acquisition.field_of_view_mm[0]
    if acquisition.mask is not None:
        counts = acquisition.mask.sum(axis=1)
        if counts.min() != counts.max():
            raise ValueError(
                f"the frames have {counts.min()} to {counts.max()} lines, but one number is needed."
            )
        rows = np.stack([np.flatnonzero(line) for line in acquisition.mask])
        return _cartesian_plan(rows, size, view_mm, _DEFAULT_TR_S[sampling])
    assert acquisition.trajectory is not None  # an Acquisition has a mask or a trajectory
    spiral = sampling == "spiral"
    tr_s = repetition_time_s() if spiral else _DEFAULT_TR_S[sampling]
    dwell_s = _SPIRAL_DWELL_S if spiral else _dwell_s(tr_s, acquisition.trajectory.shape[2])
    return _Plan(sampling, size, view_mm, acquisition.trajectory, None, tr_s, dwell_s)


def _readouts(acquisition: Acquisition, plan: _Plan) -> NDArray[np.complex64]:
    """The samples (frame, readout, coil, sample) of an acquisition, Cartesian lines oversampled twice."""
    if plan.rows is None:
        return np.ascontiguousarray(acquisition.kspace.transpose(1, 2, 0, 3))
    size = plan.matrix
    padding = ((0, 0), (0, 0), (0, 0), (size - size // 2, 2 * size - size - (size - size // 2)))
    readouts = np.empty((plan.frames, plan.readouts, acquisition.coils, plan.samples), np.complex64)
    for frame, rows in enumerate(plan.rows):
        lines = np.pad(centred_ifft(acquisition.kspace[:, frame : frame + 1, rows], (3,)), padding)
        # The orthonormal factors of N and 2N samples differ by √2.
        readouts[frame] = (math.sqrt(_OVERSAMPLING) * centred_fft(lines, (3,)))[:, 0].transpose(1, 0, 2)
    return readouts


def _plan(
    sampling: Sampling, frames: int, matrix: int | None, tr_s: float | None, field_of_view_mm: float
) -> _Plan:
    """Lay out the readouts of the published acquisition of a sampling."""
    if sampling not in DEFAULT_MATRIX:
        raise ValueError(f"sampling is {sampling!r}, but 'cartesian', 'radial' or 'spiral' is needed.")
    size = DEFAULT_MATRIX[sampling] if matrix is None else matrix
    if size < 32 or size % 2:
        raise ValueError(f"matrix is {size}, but an even number of at least 32 is needed.")
    if not field_of_view_mm > 0:
        raise ValueError(f"field_of_view_mm is {field_of_view_mm}, but it must be above 0.")
    if sampling == "spiral":
        spiral_tr_s = repetition_time_s() if tr_s is None else tr_s
        _check_tr(spiral_tr_s)
        # The arm is fixed in rad/pixel; another matrix or field of view means another pixel for the same arm.
        trajectory = spiral_trajectory(frames, SPIRAL_ARMS)
        return _Plan(sampling, size, field_of_view_mm, trajectory, None, spiral_tr_s, _SPIRAL_DWELL_S)
    line_tr_s = _DEFAULT_TR_S[sampling] if tr_s is None else tr_s
    _check_tr(line_tr_s)
    if sampling == "radial":
        samples = _OVERSAMPLING * size
        trajectory = radial_trajectory(frames, RADIAL_SPOKES, samples)
        return _Plan(
            sampling, size, field_of_view_mm, trajectory, None, line_tr_s, _dwell_s(line_tr_s, samples)
        )
    rows = np.stack([np.flatnonzero(line) for line in published_mask(frames, size)])
    return _cartesian_plan(rows, size, field_of_view_mm, line_tr_s)


def _cartesian_plan(rows: NDArray[np.int64], size: int, field_of_view_mm: float, tr_s: float) -> _Plan:
    """Lines (frame, line) of a square matrix, with oversampled readouts."""
    samples = _OVERSAMPLING * size
    along = 2 * np.pi * (np.arange(samples) - samples // 2) / samples
    across = 2 * np.pi * (rows - size // 2) / size
    trajectory = np.stack(np.broadcast_arrays(across[..., None], along), axis=-1).astype(np.float32)
    return _Plan("cartesian", size, field_of_view_mm, trajectory, rows, tr_s, _dwell_s(tr_s, samples))


def _dwell_s(tr_s: float, samples: int) -> float:
    """Time of a sample, if the readout takes four tenths of the repetition time."""
    return 0.4 * tr_s / samples


def _check_tr(tr_s: float) -> None:
    """Raise ValueError unless a repetition time is usable."""
    if not 1e-4 <= tr_s <= 10:
        raise ValueError(f"tr_s is {tr_s}, but a repetition time between 0.0001 and 10 s is needed.")


def _sensitivities(
    size: int, field_of_view_mm: float, coils: int, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Return complex coil sensitivities (coil, y, x) of loops round the body, root sum of squares about 1."""
    axis = (np.arange(size) - size // 2) * (field_of_view_mm / size)
    y, x = axis[:, None], axis[None, :]
    angles = 2 * np.pi * (np.arange(coils) + rng.uniform(-0.2, 0.2, coils)) / coils + rng.uniform(
        0, 2 * np.pi
    )
    maps = np.empty((coils, size, size), dtype=np.complex64)
    for coil, angle in enumerate(angles):
        place_y, place_x = (
            150 * rng.uniform(0.9, 1.1) * np.sin(angle),
            195 * rng.uniform(0.9, 1.1) * np.cos(angle),
        )
        distance = np.hypot(y - place_y, x - place_x)
        # On the axis of a loop the field falls as (1 + d^2 / a^2)^(-3/2).
        strength = (1 + (distance / 115) ** 2) ** -1.5
        turn = np.exp(1j * (angle + rng.uniform(-0.5, 0.5) + 0.006 * (y * np.cos(angle) - x * np.sin(angle))))
        maps[coil] = strength * turn
    # As scanners do with a prescan, take most of the shading out and leave some.
    together = np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))
    middle = together**0.75 * together[size // 2, size // 2] ** 0.25
    tilt = rng.uniform(-1, 1, 3) * np.array([0.004, 0.004, 1.2e-5])
    phase = np.exp(1j * (tilt[0] * y + tilt[1] * x + tilt[2] * (x**2 + y**2)))
    return np.asarray(maps * (phase / middle), dtype=np.complex64)


def _noise_mixing(coils: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Return the matrix that turns independent noise into noise coupled between neighbouring coils."""
    apart = np.abs(np.arange(coils)[:, None] - np.arange(coils))
    apart = np.minimum(apart, coils - apart)
    coupling = 0.35**apart * np.exp(1j * rng.uniform(-0.6, 0.6, (coils, coils)))
    covariance = np.tril(coupling, -1) + np.tril(coupling, -1).conj().T + np.eye(coils)
    # The random phases may take away definiteness; a touch on the diagonal returns it.
    lowest = np.linalg.eigvalsh(covariance)[0]
    covariance += np.eye(coils) * max(0.0, 0.1 - lowest)
    covariance /= covariance[0, 0].real
    return np.asarray(np.linalg.cholesky(covariance))


def _noise(
    shape: tuple[int, ...], mixing: NDArray[np.complex128], sigma: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Return coupled complex noise (..., coil, sample) with a standard deviation per component and coil."""
    white = rng.standard_normal((*shape, 2), dtype=np.float32)
    independent = white[..., 0] + 1j * white[..., 1]
    return np.asarray(sigma * (mixing.astype(np.complex64) @ independent), dtype=np.complex64)


def _measure(
    coil_images: NDArray[np.complex64], plan: _Plan, frame: int, group: NDArray[np.int64]
) -> NDArray[np.complex64]:
    """Return the samples (readout, coil, sample) of some readouts of a frame, in the orthonormal scale."""
    size = coil_images.shape[-1]
    step = plan.matrix / size
    scale = step**2 / plan.matrix
    points = plan.trajectory[frame, group].astype(np.float64) * step
    if plan.rows is None:
        flat = points.reshape(-1, 2)
        measured = finufft.nufft2d2(
            np.ascontiguousarray(flat[:, 0], dtype=np.float32),
            np.ascontiguousarray(flat[:, 1], dtype=np.float32),
            coil_images,
            isign=-1,
            eps=1e-4,
            upsampfac=1.25,
            nthreads=1,
        )
        values = measured.reshape(coil_images.shape[0], group.size, plan.samples).transpose(1, 0, 2)
        return np.asarray(values * scale, dtype=np.complex64)
    index = np.arange(size) - size // 2
    across = np.exp(-1j * points[:, 0, 0][:, None] * index).astype(np.complex64)
    along = np.exp(-1j * points[0, :, 1][:, None] * index).astype(np.complex64)
    lines = np.matmul(across, coil_images) @ along.T
    return np.asarray(lines.transpose(1, 0, 2) * scale, dtype=np.complex64)


def _write(
    path: Path,
    plan: _Plan,
    protocol: str,
    steady_state: bool,
    noise: NDArray[np.complex64],
    dummies: NDArray[np.complex64],
    kspace: NDArray[np.complex64],
) -> None:
    """Write the ISMRMRD file; it takes its name when it is whole."""
    coils = kspace.shape[2]
    imaging = plan.frames * plan.readouts
    total = len(noise) + len(dummies) + imaging
    element = np.dtype(
        [
            ("head", ACQUISITION_HEADER),
            ("traj", h5py.vlen_dtype(np.float32)),
            ("data", h5py.vlen_dtype(np.float32)),
        ]
    )
    table = np.zeros(total, dtype=element)
    head: Any = table["head"]
    head["version"] = 1
    head["measurement_uid"] = 1
    head["scan_counter"] = np.arange(total)
    head["available_channels"] = head["active_channels"] = coils
    head["channel_mask"][:, 0] = (1 << coils) - 1 if coils < 64 else 2**64 - 1
    head["sample_time_us"] = plan.dwell_s * 1e6
    head["read_dir"], head["phase_dir"], head["slice_dir"] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    # Noise, then dummies straight before the first imaging readout at the start time.
    since_s = (np.arange(total) - len(noise) - len(dummies)) * plan.tr_s
    since_s[: len(noise)] -= 1.0
    head["acquisition_time_stamp"] = np.floor((_START_S + since_s) / _TICK_S + 1e-6)

    cycles = (plan.trajectory[..., ::-1] / (2 * np.pi)).astype(np.float32)
    empty = np.zeros(0, dtype=np.float32)
    for number in range(len(noise)):
        table[number]["traj"] = empty
        table[number]["data"] = _interleaved(noise[number])
        head[number]["number_of_samples"] = noise.shape[-1]
        head[number]["flags"] = _flag(_FLAG_NOISE)
    for number in range(len(noise), total):
        measured = number - len(noise) - len(dummies)
        frame, readout = divmod(max(measured, 0), plan.readouts)
        if measured < 0:
            readout = (number - len(noise)) % plan.readouts
        samples = dummies[number - len(noise)] if measured < 0 else kspace[frame, readout]
        table[number]["traj"] = empty if plan.rows is not None else cycles[frame, readout].ravel()
        table[number]["data"] = _interleaved(samples)
        entry = head[number]
        entry["number_of_samples"] = plan.samples
        entry["center_sample"] = 0 if plan.sampling == "spiral" else plan.samples // 2
        entry["trajectory_dimensions"] = 0 if plan.rows is not None else 2
        entry["idx"]["kspace_encode_step_1"] = readout if plan.rows is None else plan.rows[frame, readout]
        entry["idx"]["repetition"] = frame
        if measured < 0:
            entry["flags"] = _flag(_FLAG_DUMMY)
            continue
        flags = _flag(_FLAG_FIRST_IN_REPETITION) if readout == 0 else 0
        flags |= _flag(_FLAG_LAST_IN_REPETITION) if readout == plan.readouts - 1 else 0
        flags |= _flag(_FLAG_LAST_IN_MEASUREMENT) if number == total - 1 else 0
        entry["flags"] = flags

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("dataset")
        header = group.create_dataset("xml", (1,), dtype=h5py.string_dtype("ascii"))
        header[0] = _header(plan, protocol, steady_state, coils)
        group.create_dataset("data", data=table, maxshape=(None,), chunks=(1,))


def _interleaved(samples: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return complex samples (coil, sample) as real and imaginary parts in turn."""
    return np.ascontiguousarray(samples, dtype=np.complex64).view(np.float32).ravel()


def _flag(number: int) -> int:
    """Return the bit of an ISMRMRD flag; they are numbered from 1."""
    return 1 << (number - 1)


def _header(plan: _Plan, protocol: str, steady_state: bool, coils: int) -> bytes:
    """Return the XML header, elements in the order of the ISMRMRD schema; it names nobody."""
    root = ElementTree.Element("ismrmrdHeader", {"xmlns": "http://www.ismrm.org/ISMRMRD"})

    def add(parent: ElementTree.Element, name: str, value: object = None) -> ElementTree.Element:
        child = ElementTree.SubElement(parent, name)
        if value is not None:
            child.text = str(value)
        return child

    measurement = add(root, "measurementInformation")
    add(measurement, "patientPosition", "HFS")
    add(measurement, "protocolName", protocol)
    system = add(root, "acquisitionSystemInformation")
    add(system, "systemVendor", "blindcine")
    add(system, "systemModel", "simulated scanner")
    add(system, "systemFieldStrength_T", _FIELD_STRENGTH_T)
    add(system, "receiverChannels", coils)
    add(add(root, "experimentalConditions"), "H1resonanceFrequency_Hz", _RESONANCE_HZ)
    encoding = add(root, "encoding")
    wider = _OVERSAMPLING if plan.rows is not None else 1
    for name, factor in (("encodedSpace", wider), ("reconSpace", 1)):
        space = add(encoding, name)
        size = add(space, "matrixSize")
        view = add(space, "fieldOfView_mm")
        for axis, matrix, length_mm in (
            ("x", factor * plan.matrix, factor * plan.field_of_view_mm),
            ("y", plan.matrix, plan.field_of_view_mm),
            ("z", 1, 8.0),
        ):
            add(size, axis, matrix)
            add(view, axis, length_mm)
    limits = add(encoding, "encodingLimits")
    lines = plan.matrix if plan.rows is not None else plan.readouts
    centre = plan.matrix // 2 if plan.rows is not None else 0
    for name, largest, middle in (
        ("kspace_encoding_step_1", lines - 1, centre),
        ("repetition", plan.frames - 1, 0),
    ):
        limit = add(limits, name)
        add(limit, "minimum", 0)
        add(limit, "maximum", largest)
        add(limit, "center", middle)
    add(encoding, "trajectory", plan.sampling)
    sequence = add(root, "sequenceParameters")
    add(sequence, "TR", round(1e3 * plan.tr_s, 6))
    add(sequence, "TE", round(1e3 * plan.tr_s * (0.1 if plan.sampling == "spiral" else 0.5), 6))
    add(sequence, "flipAngle_deg", 60 if steady_state else 15)
    add(sequence, "sequence_type", "bSSFP" if steady_state else "SPGR")
    ElementTree.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root)
