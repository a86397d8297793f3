"""Raw scans with a truth beside them: which files these are, what is compared with what.

 The movie and the truth are cut to their common frame times. Receive coils shade a reconstruction that is
combined by root-sum-of-squares; a truth without that shading is not what any method can deliver. So every
figure exists twice: `plain` against the truth as it is, and `shaded` against the truth times one smooth
receive profile. The profile is estimated from the raw data's own time average (never from a method's
output), is the same for all methods, and removes nothing but variations slower than a tenth of the field of
view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.movie import Movie

if TYPE_CHECKING:
    from recon_backend.reconstruct import Preparation

TRUTH_SUFFIXES = ("_truth.h5", "_truth.npz")

_SMOOTHING_SHARE = 0.1
_TIME_TOLERANCE = 0.25
_FRAMES_AT_ONCE = 24


def receive_profile(
    average: npt.NDArray[np.float32], truth_average: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Smooth factor (y, x) that the coils put on the truth, from the raw data's time average and the truth's.

    The local regression factor Σ g a b / Σ g b² under a Gaussian g of a tenth of the field of view.
    """
    sigma = _SMOOTHING_SHARE * np.asarray(average.shape) / 2
    a, b = average.astype(np.float64), truth_average.astype(np.float64)
    product = scipy.ndimage.gaussian_filter(a * b, sigma, mode="constant")
    energy = scipy.ndimage.gaussian_filter(b * b, sigma, mode="constant")
    return (product / (energy + 1e-4 * energy.max())).astype(np.float32)


def has_truth(raw: Path) -> bool:
    """Whether `<stem>_truth.h5` or `<stem>_truth.npz` lies beside a file."""
    return any(raw.with_name(raw.stem + suffix).exists() for suffix in TRUTH_SUFFIXES)


def load_truth(raw: Path) -> Movie:
    """The truth beside a raw file: the movie `<stem>_truth.h5`, or `<stem>_truth.npz`.

    Raises:
        ReconstructionError: there is none, or it cannot be read.
    """
    movie, archive = (raw.with_name(raw.stem + suffix) for suffix in TRUTH_SUFFIXES)
    if movie.exists():
        return Movie.load(movie)
    if not archive.exists():
        raise ReconstructionError(
            f"{raw.name}: no truth found; expected {movie.name} or {archive.name} beside it."
        )
    try:
        with np.load(archive) as data:
            frames = data["truth"].astype(np.float32)
            frame_time_s = float(data["frame_time_ms"]) / 1000
            pixel_mm = float(data["pixel_mm"])
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            archive, f"not a truth archive ({error}); expected truth, frame_time_ms and pixel_mm."
        ) from error
    return Movie(frames, (pixel_mm, pixel_mm), frame_time_s * np.arange(len(frames), dtype=np.float64), {})


def matching_frames(movie: Movie, truth: Movie) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices (into the movie, into the truth) of frames at the same time of the scan.

    Raises:
        ReconstructionError: no two frames agree.
    """
    step = float(np.median(np.diff(truth.frame_times_s))) if len(truth.frame_times_s) > 1 else 1.0
    truth_times = truth.frame_times_s - truth.frame_times_s[0]
    nearest = np.abs(movie.frame_times_s[:, None] - truth_times[None, :]).argmin(axis=1)
    fits = np.abs(movie.frame_times_s - truth_times[nearest]) <= _TIME_TOLERANCE * step
    if not fits.any():
        raise ReconstructionError("The reconstruction and the truth have no frame time in common.")
    return np.flatnonzero(fits), nearest[fits]


def raw_files(paths: Sequence[Path]) -> list[Path]:
    """The raw files among `paths`; a folder stands for all files in it that have a truth beside them.

    Raises:
        ReconstructionError: there is none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        found.extend(candidate for candidate in sorted(path.glob("*.h5")) if has_truth(candidate))
    if not found:
        raise ReconstructionError(
            "No raw file with a truth was found; expected <name>.h5 and <name>_truth.npz or .h5."
        )
    return found


def profile_of(preparation: Preparation, truth: Movie) -> npt.NDArray[np.float32]:
    """The receive profile of a prepared scan.

    Raises:
        ReconstructionError: the truth has another matrix, or the scan holds no signal.
    """
    from recon_backend.coils import combine

    acquisition = preparation.acquisition
    if tuple(truth.frames.shape[1:]) != tuple(acquisition.matrix):
        raise ReconstructionError(
            f"{acquisition.name}: the truth has {truth.frames.shape[1:]} pixels, "
            f"but the scan {acquisition.matrix}."
        )
    prepared = preparation.get()
    total = np.zeros(acquisition.matrix, np.complex64)
    for start in range(0, prepared.frames, _FRAMES_AT_ONCE):
        stop = min(start + _FRAMES_AT_ONCE, prepared.frames)
        total += combine(prepared.zero_filled(start, stop), prepared.sensitivities).sum(axis=0)
    return receive_profile((np.abs(total) / prepared.frames).astype(np.float32), truth.frames.mean(axis=0))
