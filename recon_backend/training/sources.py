"""Where training movies come from: videos, cine MR images, or fully sampled raw data.

 A source draws a random window of frames on a square matrix: uint8 (frame, y, x, 3) of a video or cine, which
the simulation turns into multi-coil k-space, or complex coil images (coil, frame, y, x) of raw data, which
are only sampled. Every clip or patient belongs to the training or to the validation split for good, by a
hash of its name, so that adding clips never moves a training clip into validation. Files that cannot be used
are left out and listed.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

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
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.simulation.videos import centre_cut, resize_movie
from recon_backend.storage import replacing

Split = Literal["train", "validation"]
Progress = Callable[[str, float], None]
Loaded = TypeVar("Loaded")
VALIDATION_SHARE = 0.12
# Width of the edge between what moves and what rests, in units of the moving part's radius.
_SOFT_EDGE = (0.05, 0.4)
_LOGGER = logging.getLogger(__name__)


def split_of(name: str) -> Split:
    """The split a clip or patient belongs to: about one in eight validates.

    Segments of one recording (`cup_0.mp4`, `cup_1.mp4`) share their fate.
    """
    return "validation" if _lot(recording_of(name)) < VALIDATION_SHARE else "train"


def recording_of(name: str) -> str:
    """The recording that a clip is a segment of: `cup` for `cup_0.mp4` and `cup_1.mp4`."""
    return re.sub(r"_\d+$", "", Path(name).stem)


def _lot(recording: str) -> float:
    return int.from_bytes(hashlib.sha256(recording.encode()).digest()[:4], "big") / 2**32


def members_of(names: Iterable[str], split: Split) -> list[str]:
    """The names of one split, sorted.

    Where the share of `split_of` leaves the validation split empty, as it may with few recordings, the one
    with the lowest lot validates: still nothing that was trained on moves there when more are added. Names
    that differ in a last number only (`video_1.mp4`, `video_2.mp4`, …) are recordings of their own if there
    is nothing but them.
    """
    every = sorted(names)
    several = len({recording_of(name) for name in every}) > 1
    lots = {name: _lot(recording_of(name) if several else Path(name).stem) for name in every}
    bound = max(VALIDATION_SHARE, np.nextafter(min(lots.values(), default=0.0), 1.0))
    return [name for name in every if (lots[name] < bound) == (split == "validation")]


class Source(Protocol):
    """Anything that can draw training movies.

    Attributes:
        kind: "natural" or "cardiac".
        unit: what is counted, such as "videos".
        names: the clips or patients of the split.
        skipped: one sentence for each file that was left out, of either split.
    """

    kind: str
    unit: str
    names: list[str]
    skipped: list[str]

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        matrix: int,
        ranges: SimulationRanges | None = None,
        clip: int | None = None,
    ) -> npt.NDArray[Any]:
        """A random movie uint8 (frame, y, x, 3), or coil images complex64 (coil, frame, y, x).

        Args:
            rng: source of every draw.
            frames: length of the movie.
            matrix: side of its square frames.
            ranges: what is drawn how; the defaults of `SimulationRanges` if None.
            clip: number of the name to draw from; drawn too if None.
        """
        ...

    def record(self) -> list[dict[str, str | int]]:
        """What a model's manifest says of the data: one entry a licence with name, licence and count."""
        ...


class VideoFolder:
    """Natural videos: random window, random square crop, turns, flips, time reversal.

    Each clip is decoded once, frame by frame, into a memory-mapped cache, never whole into memory. Clips that
    cannot be decoded or are too short are skipped.
    """

    kind = "natural"
    unit = "videos"

    def __init__(
        self,
        folder: Path,
        cache: Path,
        split: Split,
        *,
        published: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """List the clips of one split and decode those that the cache lacks.

        Args:
            folder: folder of videos.
            cache: folder for the decoded clips.
            split: which clips to use.
            published: decode them for the published reading.
            progress: called with (what is read, fraction done).

        Raises:
            ReconstructionError: there is no usable video of that split in the folder.
        """
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
        cache.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        loaders = {path.name: partial(cached_clip, path, cache, published=published) for path in paths}
        clips, self.skipped = _usable(loaders, split, progress)
        self.names, self._clips = list(clips), list(clips.values())
        _require(self, folder, split, f"videos ({', '.join(VIDEO_SUFFIXES)})", "ten or more")

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

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        matrix: int,
        ranges: SimulationRanges | None = None,
        clip: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """A random movie (frame, y, x, 3); short clips are played to and fro (published: over and over)."""
        ranges = ranges or SimulationRanges()
        chosen = int(rng.integers(len(self._clips))) if clip is None else clip
        stored = np.load(self._clips[chosen], mmap_mode="r")
        if ranges.published_reading:
            return centre_cut(stored[_centre_frames(len(stored), frames)], matrix)
        order = _to_and_fro(len(stored), int(rng.integers(len(stored))), frames)
        height, width = stored.shape[1:3]
        side = int(rng.uniform(*ranges.crop) * min(height, width))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        # Only the frames of the window are read from the disk.
        window = stored[order, top : top + side, left : left + side]
        movie = resize_movie(window, matrix)
        if ranges.still_share and rng.random() < ranges.still_share:
            movie = only_part_moves(movie, rng, ranges)
        return _turned(movie, rng)


class CineFile:
    """Magnitude cine MR images, see `recon_backend.simulation.cine`: one file of patients, or a folder.

    The images are enlarged 1.0 to 2.0 times and continued by reflection up to the matrix, or cut to it; the
    beat goes on cyclically at 0.7 to 1.4 times its frame rate. Grey images have equal channels, so their
    phase comes from the background field alone.
    """

    kind = "cardiac"
    unit = "patients"

    def __init__(
        self, path: Path, split: Split, cache: Path | None = None, *, progress: Progress | None = None
    ) -> None:
        """List the patients of one split.

        Args:
            path: an HDF5 file of patients, or a folder of HDF5 and NIfTI files.
            split: which patients to use.
            cache: where series that are not uint8 are kept as such; in memory if None.
            progress: called with (what is read, fraction done).

        Raises:
            ReconstructionError: there is no usable patient of that split.
        """
        self._path = path
        self._licence = "not stated"
        unreadable: list[str] = []
        loaders: dict[str, Callable[[], npt.NDArray[np.uint8]]] = {}
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.name.lower().endswith(CINE_SUFFIXES):
                try:
                    keys = cine_names(file)
                except FormatError as error:
                    _skip(unreadable, str(error))
                    continue
                single = path.is_dir() and len(keys) == 1
                loaders |= {
                    file.name if single else _label(path, file, key): partial(_stored, file, key, cache)
                    for key in keys
                }
        if path.is_file():
            with h5py.File(path) as stream:
                self._licence = str(stream.attrs.get("licence", "not stated"))
        series, skipped = _usable(loaders, split, progress)
        self.names, self._series, self.skipped = list(series), list(series.values()), unreadable + skipped
        _require(self, path, split, "cine images, (slice, frame, y, x) for each patient", "two or more")

    def record(self) -> list[dict[str, str | int]]:
        """The patients with the licence that the file's attribute `licence` states."""
        return [{"name": self._path.stem, "licence": self._licence, "patients": len(self.names)}]

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        matrix: int,
        ranges: SimulationRanges | None = None,
        clip: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """A random movie (frame, y, x, 3) with three equal channels."""
        ranges = ranges or SimulationRanges()
        slices = self._series[int(rng.integers(len(self._series))) if clip is None else clip]
        beat = np.asarray(slices[int(rng.integers(len(slices)))])
        if ranges.published_reading:
            chosen = beat[np.arange(frames) % len(beat)]
            return centre_cut(np.repeat(chosen[..., None], 3, axis=-1), matrix)
        phases = (rng.uniform(0, len(beat)) + rng.uniform(*ranges.cine_speed) * np.arange(frames)) % len(beat)
        early = phases.astype(int)
        late, share = (early + 1) % len(beat), (phases - early)[:, None, None]
        movie = beat[early].astype(np.float32) * (1 - share) + beat[late].astype(np.float32) * share
        zoom = rng.uniform(*ranges.cine_zoom)
        height, width = (int(round(size * zoom)) for size in movie.shape[1:])
        enlarged = resize_movie(movie.astype(np.uint8)[..., None], max(height, width))[..., 0]
        missing = [max(0, matrix - size) for size in enlarged.shape[1:]]
        offset = [int(rng.integers(size + 1)) for size in missing]
        padding = ((0, 0), *((before, size - before) for before, size in zip(offset, missing, strict=True)))
        full = np.pad(enlarged, padding, mode="reflect")
        beyond = [size - matrix for size in full.shape[1:]]
        # Full-field images are cut anywhere; heart crops never reach beyond the matrix.
        top, left = (int(rng.integers(size + 1)) if size > 0 else 0 for size in beyond)
        full = full[:, top : top + matrix, left : left + matrix]
        return _turned(np.repeat(full[..., None], 3, axis=-1), rng)


class KspaceFolder:
    """Fully sampled multi-coil raw data: phase, coils and noise are real, only the sampling is simulated.

    A slice and a first frame are drawn; the beat goes on cyclically; images are cut or padded to the matrix,
    turned, flipped and reversed in time.
    """

    kind = "cardiac"
    unit = "raw scans"

    def __init__(self, path: Path, split: Split, *, progress: Progress | None = None) -> None:
        """List the files of one split.

        Args:
            path: a folder of HDF5 (`/kspace`) or ISMRMRD files.
            split: which files to use.
            progress: called with (what is read, fraction done).

        Raises:
            ReconstructionError: there is no usable file of that split.
        """
        self._path = path
        paths = sorted(file for file in path.iterdir() if file.name.lower().endswith(CINE_SUFFIXES))
        files, self.skipped = _usable(
            {file.name: partial(KspaceFile, file) for file in paths}, split, progress
        )
        self.names, self._files = list(files), list(files.values())
        _require(self, path, split, "fully sampled raw data", "two or more")

    def record(self) -> list[dict[str, str | int]]:
        """The number of raw scans; their licence is not stated in them."""
        return [{"name": self._path.name, "licence": "not stated", "raw scans": len(self.names)}]

    def draw(
        self,
        rng: np.random.Generator,
        frames: int,
        matrix: int,
        ranges: SimulationRanges | None = None,
        clip: int | None = None,
    ) -> npt.NDArray[np.complex64]:
        """Coil images (coil, frame, y, x)."""
        ranges = ranges or SimulationRanges()
        file = self._files[int(rng.integers(len(self._files))) if clip is None else clip]
        slice_index = int(rng.integers(file.slices))
        first = 0 if ranges.published_reading else int(rng.integers(file.frames))
        images = file.images(slice_index, (first + np.arange(frames)) % file.frames, matrix)
        return images if ranges.published_reading else _turned(images, rng, axis=1)


def open_source(
    path: Path,
    cache: Path,
    split: Split,
    *,
    published: bool = False,
    progress: Progress | None = None,
) -> Source:
    """The source for a path: a folder of videos, cine images or raw data, or an HDF5 file of cine images.

    Args:
        path: folder or file.
        cache: folder for decoded clips.
        split: which part of it.
        published: decode videos for the published reading.
        progress: called with (what is read, fraction done).

    Raises:
        ReconstructionError: the path is neither, holds several kinds, or nothing usable.
    """
    if path.is_file() and h5py.is_hdf5(path) and not is_kspace(path):
        return CineFile(path, split, cache, progress=progress)
    if not path.is_dir():
        raise ReconstructionError(
            f"{path}: expected a folder of videos, cine images (NIfTI, HDF5) or raw data, or an HDF5 file of "
            "cine images."
        )
    kind = _kind_of(path)
    if kind == "raw data":
        return KspaceFolder(path, split, progress=progress)
    if kind == "cine images":
        return CineFile(path, split, cache, progress=progress)
    return VideoFolder(path, cache, split, published=published, progress=progress)


def _kind_of(folder: Path) -> str:
    """What the files of a folder are.

    Raises:
        ReconstructionError: they are of several kinds, or of none.
    """
    kinds: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if path.suffix.lower() in VIDEO_SUFFIXES:
            kinds["videos"] = path.name
        elif name.endswith(CINE_SUFFIXES):
            raw = not name.endswith((".nii", ".nii.gz")) and is_kspace(path)
            kinds["raw data" if raw else "cine images"] = path.name
    if not kinds:
        raise ReconstructionError(
            f"{folder}: no video, cine or raw data found; expected files of one kind "
            f"({', '.join((*VIDEO_SUFFIXES, *CINE_SUFFIXES))})."
        )
    if len(kinds) > 1:
        found = ", ".join(f"{kind} ({example})" for kind, example in kinds.items())
        raise ReconstructionError(f"{folder}: holds {found}; give a folder with one of them.")
    return next(iter(kinds))


def _usable(
    loaders: Mapping[str, Callable[[], Loaded]], split: Split, progress: Progress | None
) -> tuple[dict[str, Loaded], list[str]]:
    """What can be loaded of a split, by name, and a sentence for each file of either split that cannot.

    Only usable files are divided, so a broken one never leaves the validation split empty.
    """
    loaded: dict[str, Loaded] = {}
    skipped: list[str] = []
    for number, (name, load) in enumerate(loaders.items()):
        if progress is not None:
            progress(f"reading {name}", number / len(loaders))
        try:
            loaded[name] = load()
        except FormatError as error:
            _skip(skipped, str(error))
    return {name: loaded[name] for name in members_of(loaded, split)}, skipped


def _skip(skipped: list[str], sentence: str) -> None:
    skipped.append(sentence)
    _LOGGER.warning("skipped: %s", sentence)


def _require(source: Source, path: Path, split: Split, what: str, count: str) -> None:
    if source.names:
        return
    reason = f" ({source.skipped[0]})" if source.skipped else ""
    raise ReconstructionError(
        f"{path}: no usable file for the {split} split{reason}; expected {what}, {count}."
    )


def _label(path: Path, file: Path, key: str) -> str:
    return f"{file.stem}-{key}" if path.is_dir() else key


def _stored(path: Path, name: str, cache: Path | None) -> npt.NDArray[np.uint8]:
    """A series as uint8, mapped from the cache where it had to be converted."""
    if cache is None:
        return as_bytes(read_cine(path, name))
    key = hashlib.sha256(f"{path.name}:{path.stat().st_size}:{name}".encode()).hexdigest()[:16]
    target = cache / f"cine-{key}.npy"
    if not target.exists():
        series = read_cine(path, name)
        if series.dtype == np.uint8:
            return np.asarray(series, np.uint8)
        with replacing(target) as temporary, temporary.open("wb") as stream:
            np.save(stream, as_bytes(series))
    mapped: npt.NDArray[np.uint8] = np.load(target, mmap_mode="r")
    return mapped


def _centre_frames(count: int, frames: int) -> npt.NDArray[np.intp]:
    """The central `frames` of a clip; one that is too short is repeated from its beginning."""
    first = max(0, (count - frames) // 2)
    return (first + np.arange(frames)) % count


def _to_and_fro(count: int, start: int, frames: int) -> npt.NDArray[np.intp]:
    """Frame indices start, start + 1, … that turn back at the ends of the clip."""
    period = max(1, 2 * (count - 1))
    index = (start + np.arange(frames)) % period
    return np.minimum(index, period - index) if count > 1 else np.zeros(frames, np.intp)


def only_part_moves(
    movie: npt.NDArray[np.uint8], rng: np.random.Generator, ranges: SimulationRanges
) -> npt.NDArray[np.uint8]:
    """The movie (frame, y, x, 3) inside a drawn ellipse with soft edges, its middle frame outside.

    In what people film everything moves, often with the camera; in a body most rests. Networks that never saw
    rest do not average over time where they could.
    """
    matrix = movie.shape[1]
    half_y, half_x = (matrix * rng.uniform(*ranges.still_part) for _ in range(2))
    centre_y, centre_x = rng.uniform(0, matrix, 2)
    y, x = np.mgrid[:matrix, :matrix]
    distance = np.hypot((y - centre_y) / half_y, (x - centre_x) / half_x)
    softness = rng.uniform(*_SOFT_EDGE)
    moving = np.clip((1 + softness / 2 - distance) / softness, 0, 1).astype(np.float32)[..., None]
    rest = movie[len(movie) // 2].astype(np.float32)
    return np.rint(rest + moving * (movie - rest)).astype(np.uint8)


def _turned(movie: npt.NDArray[Any], rng: np.random.Generator, axis: int = 0) -> npt.NDArray[Any]:
    """Turned, flipped and reversed at random; `axis` counts the frames, the next two are y and x."""
    movie = np.rot90(movie, int(rng.integers(4)), axes=(axis + 1, axis + 2))
    if rng.random() < 0.5:
        movie = np.flip(movie, axis + 2)
    if rng.random() < 0.5:
        movie = np.flip(movie, axis)
    return np.ascontiguousarray(movie)
