"""Pseudo-replicas: how the receivers' noise passes through a reconstruction, measured by doing it again.

With the scan's data y and noise n_i of the receivers' covariance Ψ, the replicas are x_i = R(y + n_i), and

    SD = sqrt( Σ_i |x_i - mean|² / (N - 1) ),    SNR = 20 log10( R(y) / SD )    for every pixel and frame

(Robson et al., Magn Reson Med 2008;60:895). Readings whiten the data to E|n|² = 1 a sample and coil, half of
it in the real and half in the imaginary part; data that were not whitened need Ψ = E[n nᴴ] from elsewhere.

R is what turns data into the movie that is read, with all that was found in the data kept as it is: coil
compression, sensitivities, scale, delays, weights, the network. Estimating them again from each replica would
add their own scatter, which the one movie that is judged does not show. Compression and scaling are linear,
so noise is drawn behind them, with the covariance Cᵀ Ψ C* / scale² of the virtual coils, and on acquired
samples only. All methods get the same noise. Replicas hold the scan's own noise too: for methods that are not
linear they tell how noise of this size passes at this image. Movies are magnitudes, so where there is no
signal the SD is that of a magnitude, 0.65 of that of one of its parts.

The relative error of an SD of N replicas is 1 / sqrt(2 (N - 1)): 13 % (1.1 dB) at a pixel for N = 30, and
that over the root of the independent pixels for a region, whose variances are pooled (below 0.3 dB for 20).
Maps that are to be read pixel by pixel need 100 and more. Mean and sum of squares are updated replica by
replica (Welford 1962): memory does not grow with N but for the pixels of the regions that are asked for.

Two things that are not known once a file is read make noise less than is taken here: lines that were averaged
within a frame, and zeros that fill a partial echo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.jobs import method_names, read_tracked, user_paces
from recon_backend.memory import sparse_zeros
from recon_backend.movie import Movie
from recon_backend.options import ReconstructionOptions
from recon_backend.preparation import Prepared
from recon_backend.reconstruct import Preparation, RepeatedMethods
from recon_backend.storage import replacing
from recon_backend.tracking import Status, Tracker

REPLICAS_FORMAT = "blindcine-replicas-1"
DEFAULT_COUNT = 30
LEAST_COUNT = 3
MOST_COUNT = 10_000
REGION_BYTES = 2**30
_DEFAULT_OPTIONS = ReconstructionOptions()

Masks = Mapping[str, npt.NDArray[np.bool_]]
FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class ReplicaSettings:
    """What a measurement by replicas is asked for.

    Attributes:
        count: replicas.
        seed: of the noise; the same seed gives the same noise to every method, on every machine.
        covariance: Ψ (coil, coil) of the receivers, for scans that were not whitened.

    Raises:
        ReconstructionError: a number is out of range, or the covariance is none.
    """

    count: int = DEFAULT_COUNT
    seed: int = 0
    covariance: npt.NDArray[np.complex128] | None = None

    def __post_init__(self) -> None:
        """Check the numbers: they come from users and from other processes."""
        for name, least, most in (("count", LEAST_COUNT, MOST_COUNT), ("seed", 0, 2**63 - 1)):
            value: object = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ReconstructionError(
                    f"{name} of replicas is {value!r}; expected a whole number from {least} to {most}."
                )
        psi = self.covariance
        if psi is None:
            return
        square = psi.ndim == 2 and psi.shape[0] == psi.shape[1] and bool(np.isfinite(psi).all())
        if not square or not np.allclose(psi, psi.conj().T, rtol=1e-4, atol=1e-6 * np.abs(psi).max()):
            raise ReconstructionError(
                f"the noise covariance must be one finite Hermitian matrix (coil, coil), got {psi.shape}."
            )


class RunningVariance:
    """Mean and variance of arrays that come one after another (Welford 1962), in double precision."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Start without values."""
        self.count = 0
        self.mean = np.zeros(shape)
        self._squares = np.zeros(shape)

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Take in one array of the shape."""
        self.count += 1
        step = values - self.mean
        self.mean += step / self.count
        step *= values - self.mean
        self._squares += step

    @property
    def sd(self) -> FloatArray:
        """Standard deviation with N - 1; of at least two arrays."""
        return np.asarray(np.sqrt(self._squares / (self.count - 1)))


@dataclass(frozen=True, eq=False)
class Region:
    """The pixels of a region in all replicas, from which its SNR follows with its uncertainty.

    Attributes:
        mask: bool (frame, y, x), frames of the movie.
        signal: float32 (frame, pixel) of the movie of the scan as it is; where a frame has fewer pixels than
            another, NaN at the end.
        values: float32 (replica, frame, pixel), alike.
    """

    mask: npt.NDArray[np.bool_]
    signal: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Replicas:
    """What the replicas of one scan by one method say.

    Attributes:
        movie: of the scan as it is.
        mean: of the replicas, float32 (frame, y, x).
        sd: their standard deviation, float32 (frame, y, x), on the movie's scale.
        count: how many there are.
        regions: by name.
        provenance: the movie's, and under `replicas` how they were made.
    """

    movie: Movie
    mean: npt.NDArray[np.float32]
    sd: npt.NDArray[np.float32]
    count: int
    regions: Mapping[str, Region] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def snr_db(self) -> npt.NDArray[np.float32]:
        """SNR of every pixel, dB; +inf where nothing varies, NaN where there is no signal as well."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(20 * np.log10(self.movie.frames / self.sd), np.float32)

    def save(self, path: Path) -> Path:
        """Write all of it as HDF5; a half-written file never replaces a good one. Raises OSError."""
        with replacing(path) as temporary, h5py.File(temporary, "w", libver=("v108", "v108")) as file:
            images = {"signal": self.movie.frames, "mean": self.mean, "sd": self.sd, "snr_db": self.snr_db}
            for name, image in images.items():
                file.create_dataset(name, data=image)
            regions = file.create_group("regions", track_order=True)
            for name, region in self.regions.items():
                group = regions.create_group(name)
                group.create_dataset("mask", data=region.mask, compression="gzip")
                group.create_dataset("signal", data=region.signal)
                group.create_dataset("values", data=region.values)
            file.attrs["format"] = REPLICAS_FORMAT
            file.attrs["count"] = self.count
            file.attrs["pixel_spacing_mm"] = np.asarray(self.movie.pixel_spacing_mm, np.float64)
            file.attrs["frame_times_s"] = self.movie.frame_times_s
            file.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True, allow_nan=False)
        return path


@dataclass(frozen=True)
class FinishedReplicas:
    """Replicas on disk: which method, where, and how many seconds one took on average."""

    method: str
    path: Path
    seconds_per_replica: float


class Noise:
    """Noise of the receivers as it arrives in a prepared scan.

    Args:
        prepared: the scan.
        covariance: Ψ (coil, coil), E[n nᴴ] of the data as they were read; None for whitened data.

    Raises:
        ReconstructionError: the data are not whitened and there is no covariance, or it is of other coils or
            not positive definite.
    """

    def __init__(self, prepared: Prepared, covariance: npt.NDArray[np.complex128] | None = None) -> None:
        """Find the factor L of the virtual coils' covariance, L Lᴴ = Cᵀ Ψ C* / scale², by Cholesky."""
        _check_noise(prepared.acquisition, covariance)
        matrix = prepared.compression.astype(np.complex128)
        if covariance is None:
            covariance = np.eye(len(matrix), dtype=np.complex128)
        try:
            factor = np.linalg.cholesky(matrix.T @ covariance @ matrix.conj())
        except np.linalg.LinAlgError:
            raise ReconstructionError(
                "the noise covariance is not positive definite: a coil is silent or named twice."
            ) from None
        self._factor = (factor / (prepared.scale * np.sqrt(2))).astype(np.complex64)
        self._prepared = prepared

    def added(self, seed: int, replica: int) -> ComplexArray:
        """`Prepared.kspace` with noise on what was acquired; the same for the same seed and replica."""
        kspace = self._prepared.kspace
        noisy = sparse_zeros(kspace.shape)
        random = np.random.default_rng([seed, replica])
        acquired = _acquired(self._prepared.acquisition)
        for frame, lines in enumerate(acquired):
            clean = kspace[:, frame, lines]
            parts = random.standard_normal((2, *clean.shape), np.float32)
            drawn = (parts[0] + 1j * parts[1]).reshape(len(clean), -1)
            noisy[:, frame, lines] = clean + (self._factor @ drawn).reshape(clean.shape)
        return noisy


def _acquired(acquisition: Acquisition) -> npt.NDArray[np.bool_]:
    """Lines or readouts that were acquired, (frame, line)."""
    if acquisition.mask is not None:
        return acquisition.mask
    if acquisition.readout_mask is not None:
        return acquisition.readout_mask
    return np.ones(acquisition.kspace.shape[1:3], bool)


def replicate(
    scan: Acquisition | Preparation,
    names: Sequence[str],
    settings: ReplicaSettings | None = None,
    *,
    regions: Masks | None = None,
    options: ReconstructionOptions = _DEFAULT_OPTIONS,
    device: str = "auto",
    tracker: Tracker | None = None,
) -> Iterator[tuple[str, Replicas]]:
    """Measure how noise passes through some methods on one scan, yielding each method when it is done.

    Args:
        scan: the scan, or what was prepared of it with the same options.
        names: names of methods.
        settings: how many replicas, and their noise.
        regions: masks (y, x), or (frame, y, x) that are put on the last frames that scan and mask have in
            common, as a study's clips begin with the latest first frame.
        options: as for a reconstruction.
        device: "auto", "cpu" or "gpu".
        tracker: learns how far it is, and may stop it.

    Raises:
        ReconstructionError: the noise is not known, a region is not on the image, or as in `reconstruct`.
        Cancelled: the tracker's sink asked for it.
    """
    from recon_backend.methods import models_of

    settings = settings or ReplicaSettings()
    preparation = scan if isinstance(scan, Preparation) else Preparation(scan, options.preparation())
    acquisition = preparation.acquisition
    _check_noise(acquisition, settings.covariance)
    for name, mask in (regions or {}).items():
        _check_region(name, mask, acquisition, settings.count)
    repeated = RepeatedMethods(
        preparation,
        names,
        settings.count,
        "replica",
        tracker or Tracker(None),
        device=device,
        settings=options.settings,
        combination=options.combination,
        shelf=models_of(acquisition.sampling, names, options.models),
    )
    return _replicate(repeated, list(names), settings, regions or {})


def _check_noise(acquisition: Acquisition, covariance: npt.NDArray[np.complex128] | None) -> None:
    if covariance is None and not acquisition.whitened:
        raise ReconstructionError(
            f"{acquisition.name}: the raw data have no noise scan, so the noise is not known; give its "
            "covariance."
        )
    if covariance is not None and len(covariance) != acquisition.coils:
        raise ReconstructionError(
            f"the noise covariance is of {len(covariance)} coils, but the scan has {acquisition.coils}."
        )


def _check_region(name: str, mask: npt.NDArray[np.bool_], acquisition: Acquisition, count: int) -> None:
    if not name or "/" in name or name == ".":
        raise ReconstructionError(f"a region cannot be called {name!r}: give it a name without '/'.")
    if mask.dtype != np.bool_ or mask.ndim not in (2, 3) or mask.shape[-2:] != acquisition.matrix:
        raise ReconstructionError(
            f"the region '{name}' is {mask.dtype} of {mask.shape}, but a mask of {acquisition.matrix} was "
            "expected."
        )
    frames = np.broadcast_to(mask, (acquisition.frames, *acquisition.matrix)) if mask.ndim == 2 else mask
    most = int(frames.sum(axis=(1, 2)).max(initial=0))
    if most == 0:
        raise ReconstructionError(f"the region '{name}' has no pixel.")
    if 4 * most * len(frames) * count > REGION_BYTES:
        raise ReconstructionError(
            f"the region '{name}' has {most} pixels in {len(frames)} frames, too much to keep for {count} "
            "replicas; draw it smaller, or take fewer."
        )


def _replicate(
    repeated: RepeatedMethods, names: list[str], settings: ReplicaSettings, regions: Masks
) -> Iterator[tuple[str, Replicas]]:
    prepared = repeated.prepare()
    noise = Noise(prepared, settings.covariance)
    for name in names:
        movie = repeated.first(name)
        shape = movie.frames.shape
        masks = {region: _on_movie(mask, (shape[0], shape[1], shape[2])) for region, mask in regions.items()}
        values: dict[str, list[npt.NDArray[np.float32]]] = {region: [] for region in masks}
        running = RunningVariance(shape)
        began = time.perf_counter()
        for number in range(settings.count):
            frames = repeated.again(name, number, noise.added(settings.seed, number))
            if not np.isfinite(frames).all():
                raise ReconstructionError(f"{name}: replica {number + 1} is not finite.")
            running.add(frames)
            for region, mask in masks.items():
                values[region].append(_taken(frames, mask))
        seconds = (time.perf_counter() - began) / settings.count
        yield (
            name,
            Replicas(
                movie,
                running.mean.astype(np.float32),
                running.sd.astype(np.float32),
                running.count,
                {
                    region: Region(mask, _taken(movie.frames, mask), np.stack(values[region]))
                    for region, mask in masks.items()
                },
                {**movie.provenance, "replicas": _record(prepared, settings, seconds)},
            ),
        )


def _record(prepared: Prepared, settings: ReplicaSettings, seconds: float) -> dict[str, Any]:
    given = settings.covariance
    return {
        "count": settings.count,
        "seed": settings.seed,
        "noise": "whitened data, E|n|^2 = 1" if given is None else "covariance that was given",
        "covariance_real": None if given is None else given.real.tolist(),
        "covariance_imag": None if given is None else given.imag.tolist(),
        "kept_from_the_scan": ["coil compression", "sensitivities", "scale", "density weights", "model"],
        "seconds_per_replica": round(seconds, 4),
        "source": "Robson et al., Magn Reson Med 2008;60:895",
    }


def _on_movie(mask: npt.NDArray[np.bool_], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """A region's mask (frame, y, x) for a movie: frames count from the end, others have no region."""
    if mask.ndim == 2:
        return np.ascontiguousarray(np.broadcast_to(mask, shape))
    whole = np.zeros(shape, bool)
    common = min(len(mask), shape[0])
    whole[shape[0] - common :] = mask[len(mask) - common :]
    return whole


def _taken(frames: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The region's pixels (frame, pixel), filled with NaN where a frame has fewer than another."""
    counts = mask.sum(axis=(1, 2))
    taken = np.full((len(mask), int(counts.max())), np.nan, np.float32)
    taken[np.arange(taken.shape[1]) < counts[:, None]] = frames[mask]
    return taken


def replicate_file(
    path: Path,
    methods: Sequence[str],
    out: Path,
    settings: ReplicaSettings | None = None,
    *,
    regions: Masks | None = None,
    options: ReconstructionOptions = _DEFAULT_OPTIONS,
    device: str = "auto",
    progress: Callable[[Status], None] | None = None,
) -> Iterator[FinishedReplicas]:
    """Write `out/<name>_<method>_replicas.h5` for each method, yielding each as soon as it is on disk.

    Args:
        path: raw data.
        methods: names of methods; `all` stands for every one that there is for the file's sampling.
        out: folder; made if it is not there.
        settings: as for `replicate`.
        regions: as for `replicate`.
        options: as for a reconstruction.
        device: "auto", "cpu" or "gpu".
        progress: see `Tracker`.

    Raises:
        ReconstructionError: as for `replicate`, or the file cannot be read.
        Cancelled: `progress` asked for it.
        OSError: a file cannot be written.
    """
    tracker = Tracker(progress, user_paces())
    acquisition, _ = read_tracked(path, tracker)
    names = method_names(methods, acquisition.sampling)
    results = replicate(
        Preparation(acquisition, options.preparation()),
        names,
        settings,
        regions=regions,
        options=options,
        device=device,
        tracker=tracker,
    )
    for name, replicas in results:
        saved = replicas.save(out / f"{acquisition.name}_{name}_replicas.h5")
        yield FinishedReplicas(name, saved, replicas.provenance["replicas"]["seconds_per_replica"])


def read_masks(path: Path) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks by name from a NumPy archive (.npz), as another process hands them over.

    Raises:
        FormatError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise FormatError(path, f"this is no archive of masks (.npz): {error}.") from error
