"""Results kept on disk, so that the same reconstruction is never computed twice.

A result is found by the SHA-256 of everything that decides it: the raw file and what was read from it, the
method with all its parameters, the model's weights, the numerical precision, and the versions of this program
and of the packages that compute. An entry is a movie file behind a header of 512 bytes that holds the SHA-256
of what follows; an entry that does not match is dropped and computed again. Entries are named by their key,
written as a whole or not at all, and removed least recently used first, so several processes may share a
folder without locks. The cache is a convenience: where it cannot be read or written, work goes on without.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recon_backend import __version__
from recon_backend.acquisition import Acquisition
from recon_backend.errors import FormatError, ReconstructionError
from recon_backend.movie import Movie
from recon_backend.storage import TEMPORARY_SUFFIX, replacing

FOLDER_VARIABLE = "BLINDCINE_CACHE"
LIMIT_VARIABLE = "BLINDCINE_CACHE_GB"
DEFAULT_LIMIT_GB = 5.0

_COMPUTING_PACKAGES = ("numpy", "scipy", "finufft", "keras", "tensorflow", "tensorflow-cpu", "jax")
_ENTRY_SUFFIX = ".result"
_ENTRY_FORMAT = "blindcine-result-1"
_HEADER_BYTES = 512
_BLOCK_BYTES = 1 << 22
_ABANDONED_S = 24 * 3600.0

_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder of this user's cache: `BLINDCINE_CACHE`, or the platform's place for caches.

    Raises:
        ReconstructionError: the user has no home folder.
    """
    own = os.environ.get(FOLDER_VARIABLE)
    if own:
        return Path(own)
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ReconstructionError(
            f"No folder for the cache: the user has no home; set {FOLDER_VARIABLE} to a folder."
        ) from error
    platform: str = sys.platform  # a type checker would take the other branches for dead
    if platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "blindcine" / "Cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "blindcine"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else home / ".cache") / "blindcine"


def size_limit_bytes() -> int:
    """How much the cache may hold: `BLINDCINE_CACHE_GB` in 10⁹ bytes, 5 by default; 0 keeps nothing.

    Raises:
        ReconstructionError: the variable holds no number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gigabytes = float(text) if text else DEFAULT_LIMIT_GB
        return max(0, int(gigabytes * 1e9))
    except (ValueError, OverflowError) as error:
        raise ReconstructionError(
            f"{LIMIT_VARIABLE} is {text!r}, but a number of gigabytes was expected."
        ) from error


def user_cache() -> ResultCache | None:
    """This user's cache; None if there is no place for it or its limit is 0.

    Raises:
        ReconstructionError: `BLINDCINE_CACHE_GB` holds no number.
    """
    limit = size_limit_bytes()
    try:
        return ResultCache(cache_folder(), limit) if limit else None
    except ReconstructionError as error:
        _logger.warning("%s", error)
        return None


@functools.lru_cache(maxsize=1)
def code_sha256() -> str:
    """SHA-256 over this package's source: a source tree changes without a new version number."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.lru_cache(maxsize=1)
def software_versions() -> Mapping[str, str]:
    """Version of this program and of the packages that compute."""
    versions = {"blindcine": __version__}
    for package in _COMPUTING_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def acquisition_sha256(acquisition: Acquisition) -> str:
    """SHA-256 of a scan as it was read: other slices, frames or corrections of one file are other scans."""
    digest = hashlib.sha256(acquisition.source_sha256.encode())
    described = (acquisition.sampling, acquisition.matrix, acquisition.field_of_view_mm, acquisition.whitened)
    digest.update(json.dumps(described).encode())
    for array in (
        acquisition.kspace,
        acquisition.frame_times_s,
        acquisition.mask,
        acquisition.trajectory,
        acquisition.readout_mask,
    ):
        digest.update(b"\0")
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def result_key(
    acquisition_sha256: str,
    method: str,
    parameters: Mapping[str, Any],
    *,
    model_sha256: str | None,
    precision: str,
) -> str:
    """The key of a result: SHA-256 of all that decides it, as canonical JSON.

    Args:
        acquisition_sha256: see the function of that name.
        method: its name.
        parameters: everything that is chosen before computing begins.
        model_sha256: SHA-256 of the weights, for networks.
        precision: number format and framework, such as "float32 (tensorflow)".
    """
    described = {
        "acquisition": acquisition_sha256,
        "method": method,
        "parameters": parameters,
        "model": model_sha256,
        "precision": precision,
        "software": software_versions(),
        "code": code_sha256(),
    }
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        folder: where it lies.
        entries: number of results.
        size_bytes: their size.
        limit_bytes: what they may grow to.
    """

    folder: Path
    entries: int
    size_bytes: int
    limit_bytes: int


class ResultCache:
    """Movies by key in a folder; see the module.

    Attributes:
        folder: the cache's folder; results lie in `results` below it.
        limit_bytes: size above which the least recently used results are removed.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Name the folder; it is made with the first result."""
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._results = folder / "results"

    def load(self, key: str) -> Movie | None:
        """The movie of a key, or None.

        Its provenance is that of the computation, with `from_cache`: the time at which it was taken out. A
        damaged entry is removed.
        """
        path = self._path(key)
        try:
            if not path.is_file():
                return None
            if not _is_sound(path):
                raise FormatError(path, "the checksum does not match.")
            movie = Movie.load(path)
            os.utime(path)  # the time of last use, by which entries are removed
        except FormatError as error:
            _logger.warning("a damaged result is removed from the cache and computed again (%s)", error)
            self._remove(path)
            return None
        except OSError as error:
            _logger.warning("the cache cannot be read: %s", error)
            return None
        movie.provenance["from_cache"] = datetime.now(UTC).isoformat(timespec="seconds")
        return movie

    def store(self, key: str, movie: Movie) -> None:
        """Keep a movie and make room for it; a disk that refuses is logged and otherwise ignored."""
        path = self._path(key)
        try:
            # What people scanned is nobody else's business, though no name is in it.
            self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(path) as temporary:
                movie.write(temporary, free_bytes=_HEADER_BYTES)
                header = {
                    "format": _ENTRY_FORMAT,
                    "sha256": _content_sha256(temporary),
                    "raw_sha256": str(movie.provenance.get("raw_sha256", "")),
                }
                with temporary.open("rb+") as stream:
                    stream.write(json.dumps(header).encode().ljust(_HEADER_BYTES))
            self._make_room(keep=path)
        except OSError as error:
            _logger.warning("the result is not kept in the cache: %s", error)

    def forget(self, raw_sha256: Sequence[str]) -> int:
        """Remove all results of some raw files; returns how many there were."""
        wanted = set(raw_sha256)
        found = [path for path in self._entries() if (_header(path) or {}).get("raw_sha256") in wanted]
        return sum(self._remove(path) for path in found)

    def clear(self) -> int:
        """Remove all results; returns how many there were."""
        removed = sum(self._remove(path) for path in list(self._entries()))
        self._remove_abandoned(0.0)
        return removed

    def info(self) -> CacheInfo:
        """What is there now."""
        sizes = [size for _, size, _ in self._listing()]
        return CacheInfo(self.folder, len(sizes), sum(sizes), self.limit_bytes)

    def _path(self, key: str) -> Path:
        return self._results / f"{key}{_ENTRY_SUFFIX}"

    def _entries(self) -> Iterator[Path]:
        return self._results.glob(f"*{_ENTRY_SUFFIX}")

    def _listing(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of each entry that is still there."""
        found = []
        for path in self._entries():
            with contextlib.suppress(OSError):  # another process may have removed it
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _make_room(self, keep: Path) -> None:
        self._remove_abandoned(_ABANDONED_S)
        entries = sorted(self._listing())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.limit_bytes:
                return
            # The newest goes last, and only if it alone is above the limit.
            if path != keep or size > self.limit_bytes:
                self._remove(path)
                total -= size

    def _remove_abandoned(self, age_s: float) -> None:
        """Remove what processes that were killed left half written."""
        for path in self._results.glob(f".*{TEMPORARY_SUFFIX}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime >= age_s:
                    path.unlink(missing_ok=True)

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:  # Windows keeps files that another process reads
            _logger.warning("the cache's entry %s cannot be removed: %s", path.name, error)
            return False
        return True


def _header(path: Path) -> dict[str, Any] | None:
    """The header of an entry, or None if it is damaged or gone."""
    try:
        with path.open("rb") as stream:
            header = json.loads(stream.read(_HEADER_BYTES))
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and header.get("format") == _ENTRY_FORMAT else None


def _is_sound(path: Path) -> bool:
    header = _header(path)
    return header is not None and header.get("sha256") == _content_sha256(path)


def _content_sha256(path: Path) -> str:
    """SHA-256 of what follows the header."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(_HEADER_BYTES)
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
