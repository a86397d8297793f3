"""Where training movies come from: a folder of natural videos, or a file of cine MR images.

 A source draws a random window of frames and a random square crop as uint8 (frame, y, x, 3), which the
simulation turns into multi-coil k-space. Every clip or patient belongs to the training or to the validation
split for good, by a hash of its name, so that adding clips never moves one across.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Literal, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from recon_backend.errors import ReconstructionError
from recon_backend.simulation.videos import resize_movie
from recon_backend.storage import replacing

Split = Literal["train", "validation"]
VALIDATION_SHARE = 0.12
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")
_DECODED_SHORT_SIDE = 320


def split_of(name: str) -> Split:
    """The split a clip or patient belongs to: about one in eight validates.

    Segments of one recording (`cup_0.mp4`, `cup_1.mp4`) share their fate.
    """
    recording = re.sub(r"_\d+$", "", Path(name).stem)
    number = int.from_bytes(hashlib.sha256(recording.encode()).digest()[:4], "big")
    return "validation" if number / 2**32 < VALIDATION_SHARE else "train"


class Source(Protocol):
    """Anything that can draw training movies."""

    kind: str
    unit: str
    names: list[str]

    def draw(self, rng: np.random.Generator, frames: int, matrix: int) -> npt.NDArray[np.uint8]:
        """A random movie (frame, y, x, 3) on a square matrix."""
        ...

    def record(self) -> list[dict[str, str | int]]:
        """What a model's manifest says of the data: one entry a licence with name, licence and count."""
        ...


class VideoFolder:
    """Natural videos: random window, random square crop, turns, flips, time reversal.

    Each clip is decoded once, frame by frame, into a memory-mapped cache, never whole into memory.
    """

    kind = "natural"
    unit = "videos"

    def __init__(self, folder: Path, cache: Path, split: Split) -> None:
        """List the clips of one split and decode those that the cache lacks.

        Args:
            folder: folder of videos.
            cache: folder for the decoded clips.
            split: which clips to use.

        Raises:
            ReconstructionError: there is no video of that split in the folder.
        """
        paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES]
        self.names = [path.name for path in paths if split_of(path.name) == split]
        if not self.names:
            raise ReconstructionError(
                f"{folder}: no video for the {split} split; put in ten or more ({', '.join(VIDEO_SUFFIXES)})."
            )
        self._folder = folder
        cache.mkdir(parents=True, exist_ok=True)
        self._clips = [_decoded(folder / name, cache) for name in self.names]

    def record(self) -> list[dict[str, str | int]]:
        """Clips counted by licence, which a table `clips.csv` (columns file, licence) states."""
        licences: dict[str, str] = {}
        table = self._folder / "clips.csv"
        if table.exists():
            with table.open(newline="", encoding="utf-8") as stream:
                licences = {row.get("file", ""): row.get("licence", "") for row in csv.DictReader(stream)}
        counts = Counter(licences.get(name) or "not stated" for name in self.names)
        return [
            {"name": f"natural videos ({self._folder.name})", "licence": licence, "clips": count}
            for licence, count in sorted(counts.items())
        ]

    def draw(self, rng: np.random.Generator, frames: int, matrix: int) -> npt.NDArray[np.uint8]:
        """A random movie (frame, y, x, 3); short clips are played to and fro."""
        clip = np.load(self._clips[int(rng.integers(len(self._clips)))], mmap_mode="r")
        order = _to_and_fro(len(clip), int(rng.integers(len(clip))), frames)
        height, width = clip.shape[1:3]
        side = int(rng.uniform(0.6, 1.0) * min(height, width))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        movie = resize_movie(np.asarray(clip[:, top : top + side, left : left + side])[order], matrix)
        return _turned(movie, rng)


class CineFile:
    """Magnitude cine MR images: HDF5 with one uint8 dataset (slice, frame, y, x) for each patient.

    The heart crop is enlarged 1.0 to 2.0 times and continued by reflection up to the matrix; the beat goes on
    cyclically
    at 0.7 to 1.4 times its frame rate. Grey images have equal channels, so their phase comes from the
    background field alone.
    """

    kind = "cardiac"
    unit = "patients"

    def __init__(self, path: Path, split: Split) -> None:
        """List the patients of one split.

        Raises:
            ReconstructionError: the file holds no patient of that split.
        """
        self._path = path
        with h5py.File(path) as file:
            self.names = [name for name in sorted(file) if split_of(name) == split]
            self._series = [np.asarray(file[name]) for name in self.names]
            self._licence = str(file.attrs.get("licence", "not stated"))
        if not self.names:
            raise ReconstructionError(
                f"{path}: no patient for the {split} split; expected datasets (slice, frame, y, x)."
            )

    def record(self) -> list[dict[str, str | int]]:
        """The patients with the licence that the file's attribute `licence` states."""
        return [{"name": self._path.stem, "licence": self._licence, "patients": len(self.names)}]

    def draw(self, rng: np.random.Generator, frames: int, matrix: int) -> npt.NDArray[np.uint8]:
        """A random movie (frame, y, x, 3) with three equal channels."""
        slices = self._series[int(rng.integers(len(self._series)))]
        beat = slices[int(rng.integers(len(slices)))].astype(np.float32)
        phases = (rng.uniform(0, len(beat)) + rng.uniform(0.7, 1.4) * np.arange(frames)) % len(beat)
        early = phases.astype(int)
        late, share = (early + 1) % len(beat), (phases - early)[:, None, None]
        movie = beat[early] * (1 - share) + beat[late] * share
        zoom = rng.uniform(1.0, 2.0)
        height, width = (int(round(size * zoom)) for size in movie.shape[1:])
        enlarged = resize_movie(movie.astype(np.uint8)[..., None], max(height, width))[..., 0]
        missing = [max(0, matrix - size) for size in enlarged.shape[1:]]
        offset = [int(rng.integers(size + 1)) for size in missing]
        padding = ((0, 0), *((before, size - before) for before, size in zip(offset, missing, strict=True)))
        full = np.pad(enlarged, padding, mode="reflect")[:, :matrix, :matrix]
        return _turned(np.repeat(full[..., None], 3, axis=-1), rng)


def open_source(path: Path, cache: Path, split: Split) -> Source:
    """The source for a path: a folder holds videos, an .h5 file cine images.

    Raises:
        ReconstructionError: the path is neither.
    """
    if path.is_dir():
        return VideoFolder(path, cache, split)
    if path.is_file() and h5py.is_hdf5(path):
        return CineFile(path, split)
    raise ReconstructionError(f"{path}: expected a folder of videos or an HDF5 file of cine images.")


def _decoded(path: Path, cache: Path) -> Path:
    """The clip as a memory-mappable uint8 array (frame, y, x, 3), short side at most 320 pixels."""
    stat = path.stat()
    key = hashlib.sha256(f"{path.name}:{stat.st_size}:{_DECODED_SHORT_SIDE}".encode()).hexdigest()[:16]
    target = cache / f"{path.stem}-{key}.npy"
    if target.exists():
        return target
    import av

    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            factor = min(1.0, _DECODED_SHORT_SIDE / min(frame.width, frame.height))
            small = frame.reformat(
                round(frame.width * factor),
                round(frame.height * factor),
                format="rgb24",
                interpolation="AREA",
            )
            frames.append(small.to_ndarray())
    if not frames:
        raise ReconstructionError(f"{path}: the video holds no frame; remove it or replace it.")
    with replacing(target) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.stack(frames))
    return target


def _to_and_fro(count: int, start: int, frames: int) -> npt.NDArray[np.intp]:
    """Frame indices start, start + 1, … that turn back at the ends of the clip."""
    period = max(1, 2 * (count - 1))
    index = (start + np.arange(frames)) % period
    return np.minimum(index, period - index) if count > 1 else np.zeros(frames, np.intp)


def _turned(movie: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    movie = np.rot90(movie, int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        movie = movie[:, :, ::-1]
    if rng.random() < 0.5:
        movie = movie[::-1]
    return np.ascontiguousarray(movie)
