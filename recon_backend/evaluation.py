"""How far a reconstruction is from a known truth: MSE, PSNR and SSIM as in the paper.

 Both movies are cut to their common frame times. The reconstruction is multiplied by one least-squares factor
for the whole movie (prospective scans have no absolute scale) and the truth is divided by its peak; then per
frame: MSE in dB, PSNR at data range 1, SSIM with the 11×11 Gaussian window of σ = 1.5 over windows inside the
image. Reported: mean over frames.

Receive coils shade a reconstruction that is combined by root-sum-of-squares; a truth without that shading is
not what any method can deliver. So every figure exists twice: `plain` against the truth as it is, and
`shaded` against the truth times one smooth receive profile. The profile is estimated from the raw data's own
time average (never from a method's output), is the same for all methods, and removes nothing but variations
slower than a tenth of the field of view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from recon_backend.cache import ResultCache
from recon_backend.errors import Cancelled, FormatError, ReconstructionError
from recon_backend.formats import open_acquisition
from recon_backend.movie import Movie

if TYPE_CHECKING:
    from recon_backend.reconstruct import Preparation

_SMOOTHING_SHARE = 0.1
_TIME_TOLERANCE = 0.25
_K1, _K2 = 0.01, 0.03
_WINDOW_RADIUS = 5
_SIGMA = 1.5


@dataclass(frozen=True)
class Score:
    """One reconstruction against its truth; means over frames.

    Attributes:
        dataset: name of the scan.
        sampling: its sampling.
        method: name of the method.
        reference: "plain" or "shaded", see the module.
        mse_db: 10 log10 of the mean squared error.
        psnr_db: peak signal-to-noise ratio at data range 1.
        ssim: structural similarity.
        frames: frames compared.
        seconds: reconstruction time without reading and preparation.
    """

    dataset: str
    sampling: str
    method: str
    reference: str
    mse_db: float
    psnr_db: float
    ssim: float
    frames: int
    seconds: float


def ssim_map_mean(truth: npt.NDArray[np.float32], image: npt.NDArray[np.float32]) -> float:
    """SSIM of two images (y, x) at data range 1, mean over the windows that lie inside."""
    x, y = truth.astype(np.float64), image.astype(np.float64)

    def blur(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        smooth = scipy.ndimage.gaussian_filter(values, _SIGMA, radius=_WINDOW_RADIUS)
        inside = slice(_WINDOW_RADIUS, -_WINDOW_RADIUS)
        return smooth[inside, inside]

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return float(similarity.mean())


def compare(truth: npt.NDArray[np.float32], images: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    """(MSE in dB, PSNR in dB, SSIM) of a movie (frame, y, x) against the truth of the same shape.

    The truth's peak is set to 1 and the images are scaled by one least-squares factor.

    Raises:
        ReconstructionError: the shapes differ or the truth is empty.
    """
    if truth.shape != images.shape:
        raise ReconstructionError(
            f"The truth has the shape {truth.shape}, but the reconstruction {images.shape}."
        )
    peak = float(truth.max())
    if peak <= 0:
        raise ReconstructionError("The truth is zero everywhere.")
    truth = truth / peak
    energy = float((images.astype(np.float64) ** 2).sum())
    factor = float((truth.astype(np.float64) * images).sum()) / energy if energy else 0.0
    images = images * np.float32(factor)
    mse = ((truth - images).astype(np.float64) ** 2).mean(axis=(1, 2))
    mse = np.maximum(mse, np.finfo(np.float64).tiny)
    similarity = [ssim_map_mean(*pair) for pair in zip(truth, images, strict=True)]
    return float(10 * np.log10(mse).mean()), float(-10 * np.log10(mse).mean()), float(np.mean(similarity))


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


def load_truth(raw: Path) -> Movie:
    """The truth beside a raw file: the movie `<stem>_truth.h5`, or `<stem>_truth.npz`.

    Raises:
        ReconstructionError: there is none, or it cannot be read.
    """
    movie = raw.with_name(f"{raw.stem}_truth.h5")
    if movie.exists():
        return Movie.load(movie)
    archive = raw.with_name(f"{raw.stem}_truth.npz")
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
        for candidate in sorted(path.glob("*.h5")):
            truths = [candidate.with_name(f"{candidate.stem}_truth{suffix}") for suffix in (".h5", ".npz")]
            if any(truth.exists() for truth in truths):
                found.append(candidate)
    if not found:
        raise ReconstructionError(
            "No raw file with a truth was found; expected <name>.h5 and <name>_truth.npz or .h5."
        )
    return found


def evaluate(
    paths: Sequence[Path],
    methods: Sequence[str],
    *,
    device: str = "auto",
    progress: Callable[[str, float], None] | None = None,
    cache: ResultCache | None = None,
) -> Iterator[Score]:
    """Reconstruct raw files by several methods and score them against their truth.

    Args:
        paths: raw files, or folders of them.
        methods: names of `recon_backend.methods`.
        device: "auto", "cpu" or "gpu".
        progress: called with (phase, fraction of the whole); may raise `Cancelled`.
        cache: where results are looked for, and kept.

    Raises:
        ReconstructionError: see `raw_files`, `load_truth`, `reconstruct_all`.
        Cancelled: `progress` asked for it.
    """
    from recon_backend.reconstruct import Preparation, reconstruct_all

    report = progress or (lambda _phase, _fraction: None)
    files = raw_files(paths)
    for number, path in enumerate(files):
        acquisition, truth = open_acquisition(path), load_truth(path)

        def part(phase: str, fraction: float, path: Path = path, number: int = number) -> None:
            report(f"{path.stem}: {phase}", (number + fraction) / len(files))

        preparation = Preparation(acquisition)
        profile = _profile_of(preparation, truth)
        for name, movie in reconstruct_all(preparation, methods, progress=part, device=device, cache=cache):
            in_movie, in_truth = matching_frames(movie, truth)
            images, reference = movie.frames[in_movie], truth.frames[in_truth]
            seconds = float(movie.provenance["seconds"]["reconstruction"])
            for kind, target in (("plain", reference), ("shaded", reference * profile)):
                mse_db, psnr_db, ssim = compare(target, images)
                yield Score(
                    path.stem, acquisition.sampling, name, kind, mse_db, psnr_db, ssim, len(in_movie), seconds
                )


def _profile_of(preparation: Preparation, truth: Movie) -> npt.NDArray[np.float32]:
    from recon_backend.coils import combine

    acquisition = preparation.acquisition
    if tuple(truth.frames.shape[1:]) != tuple(acquisition.matrix):
        raise ReconstructionError(
            f"{acquisition.name}: the truth has {truth.frames.shape[1:]} pixels, "
            f"but the scan {acquisition.matrix}."
        )
    prepared = preparation.get()
    total = np.zeros(acquisition.matrix, np.complex64)
    for start in range(0, prepared.frames, 24):
        stop = min(start + 24, prepared.frames)
        total += combine(prepared.zero_filled(start, stop), prepared.sensitivities).sum(axis=0)
    return receive_profile((np.abs(total) / prepared.frames).astype(np.float32), truth.frames.mean(axis=0))


__all__ = [
    "Cancelled",
    "Score",
    "compare",
    "evaluate",
    "load_truth",
    "matching_frames",
    "raw_files",
    "receive_profile",
]
