"""Reader packages: one file that takes a study to a reader elsewhere, and the response that comes back.

A package (`*.blindcine`) is a ZIP file, stored without compression and without times, that holds `mimetype`,
`package.json` (the manifest: open protocol, one reader's schedule, clips and the SHA-256 of their movies),
`signing.key` (Ed25519) and `movies/<opaque id>.h5`: grey values as readers see them. Rules: no entry names a
method, a raw file or another reader; the movies of a clip have one size; nothing is ordered by anything but
random ids; there is no key that opens who is who. The schedule, which says what comes twice, is veiled: an
archive program does not show it, but the key is in this program.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from studies import storage
from studies.blinding import unveiled_schedule
from studies.clips import BLINDED_TIME_S, MOVIE_FORMAT
from studies.errors import StudyError
from studies.events import canonical_json, parse_json
from studies.exchange import MANIFEST_FORMAT, MergeSummary, PackageMovies
from studies.folder import MOVIES_NAME, StudyFolder
from studies.response import MAXIMUM_BYTES, Response
from studies.response import SUFFIX as RESPONSE_SUFFIX
from studies.software import software
from studies.study import Study

SUFFIX = ".blindcine"
MIME_TYPE = "application/x-blindcine-package"
MIME_ENTRY = "mimetype"
MANIFEST_ENTRY = "package.json"
KEY_NAME = "signing.key"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_OWNER_ONLY = 0o600
_KEY_BYTES = 32
_LARGEST_MANIFEST = 32 * 2**20
_ID = re.compile(r"[0-9a-f]{16}")

Result = TypeVar("Result")


@dataclass(frozen=True)
class PackageSummary:
    """A package that was made."""

    path: Path
    reader: str
    package_id: str
    presentations: int
    clips: int
    size_bytes: int


@dataclass(frozen=True)
class PackageInfo:
    """What a package says of itself, without unpacking it."""

    study: str
    reader: str
    package_id: str
    presentations: int


# Making


def export_package(study: Study, reader: str, path: Path) -> PackageSummary:
    """Make a package for a reader and record it in the study.

    Args:
        study: locked, with movies.
        reader: one of its readers; what the reader has ranked so far goes with it.
        path: the file to write; a file that is there is replaced.

    Raises:
        StudyError: when the reader is unknown or has finished, a movie is missing, or the disk refuses.
    """
    key = Ed25519PrivateKey.generate()
    package_id = secrets.token_hex(8)
    manifest = study.package_manifest(reader, package_id, key.public_key().public_bytes_raw().hex())
    temporary = storage.temporary_beside(path)
    try:
        with temporary.open("wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                _add(archive, MIME_ENTRY, MIME_TYPE.encode())
                hashes = {movies.clip_id: _add_movies(archive, movies) for movies in study.package_movies()}
                for clip in manifest["clips"]:
                    clip["movies"] = hashes[clip["clip_id"]]
                _add(archive, MANIFEST_ENTRY, canonical_json(manifest).encode())
                _add(archive, KEY_NAME, key.private_bytes_raw())
            stream.flush()
            os.fsync(stream.fileno())
        # A package that the study does not know could never be merged; one that it knows can be made again.
        study.record_export(manifest)
        temporary.replace(path)
        storage.sync_folder(path.parent)
    except OSError as error:
        raise StudyError(f"The package '{path}' cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return PackageSummary(
        path=path,
        reader=manifest["reader"],
        package_id=package_id,
        presentations=len(unveiled_schedule(manifest["schedule"])),
        clips=len(manifest["clips"]),
        size_bytes=path.stat().st_size,
    )


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.create_system = _UNIX
    entry.external_attr = _OWNER_ONLY << 16
    archive.writestr(entry, content)


def _add_movies(archive: zipfile.ZipFile, movies: PackageMovies) -> dict[str, str]:
    """Add the movies of a clip in the order of their ids; return their SHA-256 by id."""
    hashes = {}
    for movie_id, frames in zip(movies.movie_ids, movies.display, strict=True):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("movie", data=np.ascontiguousarray(frames), track_times=False)
            file.attrs["format"] = MOVIE_FORMAT
            file.attrs["pixel_spacing_mm"] = np.asarray(movies.pixel_spacing_mm, np.float64)
            file.attrs["frame_times_s"] = movies.frame_times_s
        content = buffer.getvalue()
        _add(archive, _movie_entry(movie_id), content)
        hashes[movie_id] = hashlib.sha256(content).hexdigest()
    return hashes


def _movie_entry(movie_id: str) -> str:
    return f"{MOVIES_NAME}/{movie_id}.h5"


# Opening


def package_info(path: Path) -> PackageInfo:
    """Read what a package says of itself. Raises StudyError when it is none."""
    manifest = _reading(path, _manifest)
    return PackageInfo(
        study=manifest["protocol"]["name"],
        reader=manifest["reader"],
        package_id=manifest["package_id"],
        presentations=len(unveiled_schedule(manifest["schedule"])),
    )


def open_package(path: Path, folder: Path) -> Study:
    """Unpack a package into a working folder, or resume there, and open it as a study with one reader.

    Args:
        path: the package.
        folder: must not exist, be empty, or hold this package already.

    Raises:
        StudyError: when the file is no sound package, or the folder holds something else.
    """
    manifest = _reading(path, _manifest)
    if StudyFolder(folder).has_log:
        return _resumed(folder, manifest["package_id"])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Of two windows one unpacks. What a killed one left half done is in nobody's hands then.
        with folder.with_name(f".{folder.name}.lock").open("a+b") as stream, storage.alone(stream):
            temporary = folder.with_name(f".{folder.name}{storage.TEMPORARY_SUFFIX}")
            shutil.rmtree(temporary, ignore_errors=True)
            if not StudyFolder(folder).has_log:
                try:
                    _unpack_whole(path, manifest, temporary, folder)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StudyError(f"The package cannot be unpacked to '{folder}': {error.strerror}.") from error
    return _resumed(folder, manifest["package_id"])


def _unpack_whole(path: Path, manifest: Mapping[str, Any], temporary: Path, folder: Path) -> None:
    """Make the working folder under another name, so that it is there when all of it is."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"'{folder}' is not empty: choose a new folder for the package.")
    _reading(path, lambda archive: _unpack(archive, manifest, temporary))
    _begin_log(temporary, manifest)
    if folder.exists():
        folder.rmdir()
    try:
        temporary.replace(folder)
    except OSError:
        # Something else has put it there in the meantime.
        if not StudyFolder(folder).has_log:
            raise
    storage.sync_folder(folder.parent)


def _resumed(folder: Path, package_id: str) -> Study:
    study = Study.open(folder)
    if not study.is_package or study.package.package_id != package_id:
        raise StudyError(f"'{folder}' holds another study than this package: choose another folder.")
    return study


def _reading(path: Path, action: Callable[[zipfile.ZipFile], Result]) -> Result:
    """Do something with a package file; say in one sentence what is wrong with it."""
    damaged = (zipfile.BadZipFile, KeyError, ValueError, TypeError, RuntimeError, EOFError)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise StudyError(f"The package '{path}' cannot be read: {error.strerror}.") from error
    with stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return action(archive)
        except damaged as error:
            raise StudyError(
                f"'{path.name}' is no reader package of blindcine, or it is damaged: ask for it again."
            ) from error


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(MANIFEST_ENTRY).file_size > _LARGEST_MANIFEST:
        raise ValueError("too large")
    manifest = parse_json(archive.read(MANIFEST_ENTRY).decode())
    found = manifest["format"]
    if found != MANIFEST_FORMAT:
        raise StudyError(f"This is a package of the kind '{found}': open it with a newer blindcine.")
    # Names of files come from here, so that a package cannot write outside its folder.
    ids = [manifest["package_id"], *(clip["clip_id"] for clip in manifest["clips"]), *_movies_of(manifest)]
    if not all(_ID.fullmatch(name) for name in ids):
        raise ValueError("an id is none")
    unveiled_schedule(manifest["schedule"])
    return dict(manifest)


def _movies_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Movie id to SHA-256, of all clips."""
    return {name: digest for clip in manifest["clips"] for name, digest in clip["movies"].items()}


def _unpack(archive: zipfile.ZipFile, manifest: Mapping[str, Any], folder: Path) -> None:
    """Write key and movies, each compared with what the manifest says."""
    (folder / MOVIES_NAME).mkdir(parents=True)
    key = archive.read(KEY_NAME)
    if _private_key(key).public_key().public_bytes_raw().hex() != manifest["public_key"]:
        raise ValueError("the key is not the one of the manifest")
    storage.write_durably(folder / KEY_NAME, key)
    (folder / KEY_NAME).chmod(_OWNER_ONLY)
    for movie_id, digest in _movies_of(manifest).items():
        content = archive.read(_movie_entry(movie_id))
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("a movie is not the one of the manifest")
        path = folder / _movie_entry(movie_id)
        storage.write_durably(path, content)
        os.utime(path, (BLINDED_TIME_S, BLINDED_TIME_S))


def _begin_log(folder: Path, manifest: Mapping[str, Any]) -> None:
    log = StudyFolder(folder).create_log()
    payload = {"manifest": dict(manifest), "copy_id": secrets.token_hex(8), "software": software()}
    log.append("package_opened", payload, manifest["reader"])


# Responding


def response_name(study: Study) -> str:
    """Return what the response of a package is called by default."""
    words = re.sub(r"[^\w.-]+", " ", f"{study.name} {study.package.reader}").strip().replace(" ", "_")
    return f"{words}{RESPONSE_SUFFIX}"


def save_response(study: Study, path: Path) -> int:
    """Write all that the reader of a package did so far, signed, into one small file.

    Args:
        study: an opened package.
        path: the file to write; an earlier response of this reading is replaced.

    Returns:
        How many rankings are in it.

    Raises:
        StudyError: when the study is no package, its key is missing, the file holds the answers of another
            reading, or it cannot be written.
    """
    response = study.unsigned_response()
    try:
        key = _private_key((study.folder / KEY_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise StudyError(
            f"'{KEY_NAME}' of the package cannot be read: copy it from the package file again."
        ) from error
    _refuse_to_replace(path, response)
    response.signed(key).save(path)
    return sum(event.kind == "ranking_committed" for event in response.events)


def _refuse_to_replace(path: Path, response: Response) -> None:
    """Raise StudyError when a file holds what was answered in another package, or in another copy of it."""
    try:
        there = Response.parse(path.read_bytes(), path.name)
    except (OSError, StudyError):
        return  # nothing is there, or nothing that holds answers
    if (there.package_id, there.copy_id) != (response.package_id, response.copy_id):
        raise StudyError(
            f"'{path}' holds the answers of another package, or of this one read elsewhere: choose another "
            "name, and send both."
        )


def merge_response(study: Study, path: Path) -> MergeSummary:
    """Take a reader's response into the study: whole, checked, and each answer once.

    Args:
        study: the study that made the package.
        path: the response.

    Raises:
        StudyError: naming why it is refused; then nothing of it is in the study.
    """
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise StudyError(f"'{path.name}' is too large for a response: is it another file?")
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(f"The response '{path}' cannot be read: {error.strerror}.") from error
    return study.take_in(Response.parse(content, path.name), content)


def _private_key(content: bytes) -> Ed25519PrivateKey:
    if len(content) != _KEY_BYTES:
        raise ValueError("no key of 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(content)
