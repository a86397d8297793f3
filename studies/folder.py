"""The files of a study beside its log: movies under opaque ids, and the key that hides who is who.

Folder: `events.sqlite3` (the log) or `log.url` (where in PostgreSQL it is, without a password), `head.json`
(its last hash), `movies/<opaque id>.h5`, `draft.key` before or `sealed.key` after the lock, and
`second_copy.json` if there is one. Rule: a file that the log vouches for by its hash is compared with it
whenever it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies import clips, storage
from studies.errors import StudyError
from studies.log import ANCHOR_NAME, EventLog
from studies.log_database import server_url

LOG_NAME = "events.sqlite3"
LOG_URL_NAME = "log.url"
SECOND_COPY_NAME = "second_copy.json"
DRAFT_KEY_NAME = "draft.key"
SEALED_KEY_NAME = "sealed.key"
MOVIES_NAME = "movies"


class StudyFolder:
    """Reads, writes and removes the files of one study.

    Args:
        path: the folder of the study.
    """

    def __init__(self, path: Path) -> None:
        """Take the folder as it is; nothing is read or written."""
        self.path = path

    @classmethod
    def create(
        cls,
        path: Path,
        draft_key: bytes,
        *,
        log_url: str | None = None,
        second_copy: Path | str | None = None,
    ) -> StudyFolder:
        """Make the folder with a draft key; the log is not made yet.

        Args:
            path: must be empty or not exist.
            draft_key: hides who is who until the lock.
            log_url: PostgreSQL database for the log, for example `postgresql://ada@server/studies`.
            second_copy: folder outside the study that gets a second copy of each event; made if need be.

        Raises:
            StudyError: when a folder cannot be used, or the URL holds a password or is of another database.
        """
        where = None if log_url is None else str(server_url(log_url, secrets.token_hex(16)))
        folder = cls(path)
        copy = None if second_copy is None else folder._outside(second_copy)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise StudyError(f"The folder '{path}' is not empty: choose a new folder for the study.")
            if copy is not None:
                folder._name_second_copy(copy)
            (path / MOVIES_NAME).mkdir()
            if where is not None:
                storage.write_durably(path / LOG_URL_NAME, where.encode())
            storage.write_durably(path / DRAFT_KEY_NAME, draft_key)
        except OSError as error:
            raise StudyError(f"No study can be made in '{path}': {error.strerror}.") from error
        return folder

    # Log

    @property
    def log_path(self) -> Path:
        """Where the log lies if it is a file."""
        return self.path / LOG_NAME

    @property
    def has_log(self) -> bool:
        """Whether the folder is one of a study."""
        return self.log_path.is_file() or (self.path / LOG_URL_NAME).is_file()

    @property
    def second_copy(self) -> Path | None:
        """The file with the second copy of the log, if there is to be one. Raises StudyError."""
        try:
            return Path(json.loads((self.path / SECOND_COPY_NAME).read_bytes())["file"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(
                f"'{SECOND_COPY_NAME}' of the study cannot be read ({error}): restore it, or delete "
                "it to go on without a second copy."
            ) from error

    def choose_second_copy(self, folder: Path | str) -> None:
        """Have a second copy of the log in a folder from now on; a log that is open takes no notice.

        Args:
            folder: outside the study; made if need be.

        Raises:
            StudyError: when the folder cannot be used.
        """
        copy = self._outside(folder)
        try:
            self._name_second_copy(copy)
        except OSError as error:
            raise StudyError(f"No second copy can be kept in '{copy}': {error.strerror}.") from error

    def _outside(self, folder: Path | str) -> Path:
        copy = Path(folder).expanduser().absolute()
        if copy.is_relative_to(self.path.absolute()):
            raise StudyError(
                f"The second copy of the log would lie in the study's own folder '{self.path}': choose "
                "another folder."
            )
        return copy

    def _name_second_copy(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = str(folder / f"events-{secrets.token_hex(4)}.jsonl")
        storage.write_durably(self.path / SECOND_COPY_NAME, json.dumps({"file": file}).encode())

    def create_log(self) -> EventLog:
        """Make an empty log where the folder says. Raises StudyError."""
        return EventLog.create(
            self._log_location(), anchor_path=self.path / ANCHOR_NAME, second_copy=self.second_copy
        )

    def open_log(self) -> EventLog:
        """Open the log where the folder says. Raises StudyError when there is none or it is out of reach."""
        if not self.has_log:
            raise StudyError(f"'{self.path}' is no study folder: it has no '{LOG_NAME}'.")
        return EventLog(
            self._log_location(), anchor_path=self.path / ANCHOR_NAME, second_copy=self.second_copy
        )

    def _log_location(self) -> Path | str:
        url_path = self.path / LOG_URL_NAME
        try:
            return str(server_url(url_path.read_text(encoding="utf-8").strip()))
        except FileNotFoundError:
            return self.log_path
        except (OSError, ValueError) as error:
            raise StudyError(f"'{LOG_URL_NAME}' of the study cannot be read: {error}.") from error

    # Keys

    def draft_key(self) -> bytes:
        """Read the key of a study before its lock. Raises StudyError."""
        try:
            return (self.path / DRAFT_KEY_NAME).read_bytes()
        except OSError as error:
            raise StudyError(
                f"'{DRAFT_KEY_NAME}' of the study cannot be read ({error.strerror}): restore it or make "
                "the study anew."
            ) from error

    def write_sealed_key(self, sealed: bytes) -> str:
        """Write the sealed key, durable on return; return its SHA-256. Raises StudyError."""
        try:
            storage.write_durably(self.path / SEALED_KEY_NAME, sealed)
        except OSError as error:
            raise StudyError(f"'{SEALED_KEY_NAME}' cannot be written: {error.strerror}.") from error
        return hashlib.sha256(sealed).hexdigest()

    def sealed_key(self, sha256: str) -> bytes:
        """Read the sealed key. Raises StudyError when it is missing or has another hash than at the lock."""
        try:
            sealed = (self.path / SEALED_KEY_NAME).read_bytes()
        except OSError as error:
            raise StudyError(
                f"'{SEALED_KEY_NAME}' cannot be read: {error.strerror}; restore it from a copy."
            ) from error
        if hashlib.sha256(sealed).hexdigest() != sha256:
            raise StudyError(
                f"'{SEALED_KEY_NAME}' is not the file sealed at the lock: restore it from a copy."
            )
        return sealed

    # Movies

    def write_movie(self, movie_id: str, movie: clips.ClipMovie) -> str:
        """Write a blinded copy of a movie, durable on return; return its SHA-256. Raises StudyError."""
        return clips.write_blinded(self._movie_path(movie_id), movie)

    def load_movies(
        self, clip_id: str, hashes: Mapping[str, str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[float, float]]:
        """Load the movies of a clip.

        Args:
            clip_id: for messages.
            hashes: movie id to the SHA-256 of its file.

        Returns:
            Frames `(arm, frame, y, x)` in the order of `hashes`, frame times and pixel spacing.

        Raises:
            StudyError: when there are none, or a file is missing or is not the one that was attached.
        """
        movies = [
            clips.read_blinded(self._movie_path(movie_id), sha256) for movie_id, sha256 in hashes.items()
        ]
        if not movies:
            raise StudyError(f"Clip '{clip_id}' has no movies yet: attach them first.")
        return (
            np.stack([movie.frames for movie in movies]),
            movies[0].frame_times_s,
            movies[0].pixel_spacing_mm,
        )

    def delete_movies(self, movie_ids: Iterable[str]) -> None:
        """Remove movies, as far as they are there."""
        for movie_id in movie_ids:
            self._movie_path(movie_id).unlink(missing_ok=True)

    def clean_up_after_lock(self, movie_ids: Iterable[str]) -> None:
        """Erase the draft key, and movies and temporary files that no event knows (a kill leaves them).

        Args:
            movie_ids: the movies that the log knows.
        """
        storage.erase(self.path / DRAFT_KEY_NAME)
        known = {self._movie_path(movie_id) for movie_id in movie_ids}
        # What a file manager keeps there, or a folder that is gone, must not keep the log from being opened.
        with contextlib.suppress(OSError):
            for path in (self.path / MOVIES_NAME).iterdir():
                if path not in known:
                    with contextlib.suppress(OSError):
                        path.unlink()

    def _movie_path(self, movie_id: str) -> Path:
        return self.path / MOVIES_NAME / f"{movie_id}.h5"
