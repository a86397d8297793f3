"""The files of a study beside its log: movies under opaque ids, and the key that hides who is who.

Folder: `events.sqlite3` (the log), `head.json` (its last hash), `movies/<opaque id>.h5`, and `draft.key`
before or `sealed.key` after the lock. Rule: a file that the log vouches for by its hash is compared with it
whenever it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies import clips, storage
from studies.errors import StudyError

LOG_NAME = "events.sqlite3"
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
    def create(cls, path: Path, draft_key: bytes) -> StudyFolder:
        """Make the folder, which must be empty or not exist, with a draft key. Raises StudyError."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise StudyError(f"The folder '{path}' is not empty: choose a new folder for the study.")
            (path / MOVIES_NAME).mkdir()
            storage.write_durably(path / DRAFT_KEY_NAME, draft_key)
        except OSError as error:
            raise StudyError(f"No study can be made in '{path}': {error.strerror}.") from error
        return cls(path)

    @property
    def log_path(self) -> Path:
        """Where the log lies."""
        return self.path / LOG_NAME

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
        for path in (self.path / MOVIES_NAME).iterdir():
            if path not in known:
                path.unlink(missing_ok=True)

    def _movie_path(self, movie_id: str) -> Path:
        return self.path / MOVIES_NAME / f"{movie_id}.h5"
