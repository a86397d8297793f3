"""A scan to try things on, simulated from a video, a cine, measured raw data, or a phantom.

 Videos, cines and raw data go through the simulation of the training (`recon_backend.simulation.videos`); a
phantom moves during the readouts and has coils and noise of its own (`recon_backend.simulation.scanner`),
unless the published simulation is asked for.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Sampling
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.simulation.cine import (
    CINE_SUFFIXES,
    KspaceFile,
    as_bytes,
    cine_names,
    is_kspace,
    read_cine,
)
from recon_backend.simulation.clips import VIDEO_SUFFIXES, cached_clip
from recon_backend.simulation.phantoms import Phantom, Plane
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.simulation.scanner import ScanFiles, simulate_scan, write_simulated
from recon_backend.simulation.videos import (
    PUBLISHED_MATRIX,
    centre_cut,
    complex_object,
    resize_movie,
    simulate,
    simulate_measured,
)

PHANTOMS: dict[str, Plane] = {"heart": "short_axis", "tongue": "sagittal_head"}
DEFAULT_FRAMES = 40
_PHANTOM_COILS = 8
_PHANTOM_SNR = 60.0
_PHANTOM_FRAME_TIME_S = 0.05


def simulate_file(
    origin: str | Path,
    out: Path,
    *,
    sampling: Sampling,
    frames: int = DEFAULT_FRAMES,
    coils: int | None = None,
    snr_db: float | None = None,
    seed: int = 0,
    published: bool = False,
) -> ScanFiles:
    """Simulate a scan of a file or phantom; write ISMRMRD to `out` and the truth beside it.

    Args:
        origin: a video, a cine (HDF5, NIfTI: the middle slice of the first series), fully sampled raw data,
            or the phantom "heart" or "tongue", also as "heart:3" for its subject 3.
        out: the file to write; the truth is `<stem>_truth.h5` beside it.
        sampling: which acquisition.
        frames: length of the scan; short movies are played to and fro, cines cyclically.
        coils: number of coils; drawn (published: 30; phantoms: 8) if None. Raw data keep their own.
        snr_db: nominal signal-to-noise ratio of the coil images, drawn from 12 to 22 dB if None; of phantoms
            the brightest tissue over the noise in a fully sampled image, 36 dB if None. Raw data keep theirs.
        seed: of everything that is drawn.
        published: the published simulation (see `recon_backend.simulation.ranges`).

    Raises:
        ReconstructionError: the origin is not known or cannot be read, or an argument is out of range.
        OSError: a file cannot be written.
    """
    if frames < 1 or (coils is not None and coils < 1):
        raise ReconstructionError(f"frames is {frames} and coils {coils}, but numbers from 1 on are needed.")
    path = Path(origin)
    phantom = None if path.is_file() else _phantom(str(origin))
    if phantom is not None and not published:
        return simulate_scan(
            out,
            phantom,
            sampling=sampling,
            frames=frames,
            coils=coils or _PHANTOM_COILS,
            snr=_PHANTOM_SNR if snr_db is None else 10 ** (snr_db / 20),
            seed=seed,
        )
    # What training spreads, contrast, noise and dim parts, is no wish of whoever simulates this very movie.
    usual = ranges = SimulationRanges.published()
    if not published:
        ranges = SimulationRanges(snr_db=usual.snr_db, contrast=usual.contrast, dim_share=usual.dim_share)
    if coils is not None:
        ranges = dataclasses.replace(ranges, coils=(coils, coils))
    if snr_db is not None:
        ranges = dataclasses.replace(ranges, snr_db=(snr_db, snr_db))
    rng, matrix = np.random.default_rng(seed), PUBLISHED_MATRIX[sampling]
    kind, name = "phantom", path.name
    if phantom is not None:
        times_s = _PHANTOM_FRAME_TIME_S * np.arange(frames)
        images = phantom.frames(times_s, matrix)
        name, movie = str(origin), _colour((255 * images / images.max()).astype(np.uint8))
    else:
        kind = _kind(path)
        if kind == "raw data":
            file = KspaceFile(path)
            chosen = np.arange(frames) % file.frames
            measured = file.images(file.slices // 2, chosen, matrix)
            scan = simulate_measured(measured, sampling, rng, ranges)
        elif kind == "video":
            movie = _video(path, frames, matrix, published)
        else:
            movie = _colour(_cine(path, frames, matrix, published))
    if kind != "raw data":
        scan = simulate(complex_object(movie, rng, ranges), sampling, rng, ranges)
    provenance: dict[str, Any] = {
        "kind": kind,
        "seed": seed,
        "simulation": "published" if published else "improved",
        "coils": scan.acquisition.coils,
    }
    if kind in ("video", "phantom"):  # names of patients' files stay where they are
        provenance["origin"] = name
    protocol = f"{kind.replace(' ', '_')}_{sampling}_simulated"
    return write_simulated(out, scan, protocol=protocol, provenance=provenance, seed=seed)


def _phantom(text: str) -> Phantom:
    name, _, subject = text.partition(":")
    if name not in PHANTOMS or not (subject or "0").isdigit():
        raise ReconstructionError(
            f"{text}: there is no such file; expected a video, a cine, raw data, or one of the phantoms "
            f"{' and '.join(PHANTOMS)} (heart:3 is its subject 3)."
        )
    return Phantom(PHANTOMS[name], int(subject or 0))


def _kind(path: Path) -> str:
    name = path.name.lower()
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    if name.endswith((".nii", ".nii.gz")) or (name.endswith(CINE_SUFFIXES) and not is_kspace(path)):
        return "cine"
    if name.endswith(CINE_SUFFIXES):
        return "raw data"
    raise FormatError(path, f"expected a file of the kind {', '.join((*VIDEO_SUFFIXES, *CINE_SUFFIXES))}.")


def _video(path: Path, frames: int, matrix: int, published: bool) -> npt.NDArray[np.uint8]:
    """The first frames of a video, its central square (published: as the published reading has it)."""
    with tempfile.TemporaryDirectory(prefix="blindcine-clip-", ignore_cleanup_errors=True) as folder:
        stored: npt.NDArray[np.uint8] = np.load(cached_clip(path, Path(folder), published=published))
    if published:
        first = max(0, (len(stored) - frames) // 2)
        return centre_cut(stored[(first + np.arange(frames)) % len(stored)], matrix)
    chosen = centre_cut(stored[_to_and_fro(len(stored), frames)], min(stored.shape[1:3]))
    return resize_movie(chosen, matrix)


def _cine(path: Path, frames: int, matrix: int, published: bool) -> npt.NDArray[np.uint8]:
    """The middle slice of the first series (frame, y, x), played cyclically and enlarged to the matrix."""
    slices = as_bytes(read_cine(path, cine_names(path)[0]))
    beat = slices[len(slices) // 2]
    chosen = beat[np.arange(frames) % len(beat)][..., None]
    if published:
        return centre_cut(chosen, matrix)[..., 0]
    return resize_movie(centre_cut(chosen, max(chosen.shape[1:3])), matrix)[..., 0]


def _colour(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(images[..., None], 3, axis=-1)


def _to_and_fro(count: int, frames: int) -> npt.NDArray[np.intp]:
    period = max(1, 2 * (count - 1))
    index = np.arange(frames) % period
    return np.minimum(index, period - index)
