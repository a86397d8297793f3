"""A study folder: import scans, attach movies, lock, read, measure, unblind.

Rule: the event log is the study, and every property here is read from a fold over it; what a method has
returned from is on the disk. Before the lock, a random key in `draft.key` encrypts everything in the log that
tells methods or raw files; the lock seals that key under a passphrase into `sealed.key` and erases
`draft.key`, so that no file of a locked study holds a method's name or a raw file's name in clear.

Folder: `events.sqlite3` (the log), `head.json` (its last hash), `movies/<opaque id>.h5`, and `draft.key`
before or `sealed.key` after the lock.

What cannot be kept secret or found out from the folder alone: a copy of the folder made before the lock holds
`draft.key`; whoever owns the reconstructions can compare their pixels; and see `log.py` on rewritten logs.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from studies import blinding, clips, storage
from studies.errors import StudyError
from studies.log import Anchor, Event, EventLog, Transaction
from studies.protocol import SAMPLINGS, Protocol, ProtocolSecret, protocol_sha256
from studies.ranking import normalise
from studies.schedule import Presentation, reader_schedule
from studies.state import (
    SCHEMA,
    BlindedClip,
    Clip,
    MeasurementClip,
    MeasurementRecord,
    Phase,
    RankingRecord,
    Revealed,
    Scan,
    ScanState,
    StudyState,
)

__all__ = [
    "BlindedClip",
    "Clip",
    "MeasurementClip",
    "MeasurementRecord",
    "Phase",
    "Presentation",
    "RankingRecord",
    "Scan",
    "Study",
]

PAPER_ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
LOG_NAME = "events.sqlite3"
DRAFT_KEY_NAME = "draft.key"
SEALED_KEY_NAME = "sealed.key"
MOVIES_NAME = "movies"
COORDINATOR = "coordinator"


class Study:
    """One study in one folder; several processes may hold it, and each sees what the others committed.

    Use `create` or `open`, not the constructor.
    """

    def __init__(self, folder: Path, log: EventLog) -> None:
        """Take a log as it is; for `create` and `open`."""
        self.folder = folder
        self._log = log
        self._state = StudyState()
        self._guard = threading.RLock()

    # Opening

    @classmethod
    def create(
        cls,
        folder: Path | str,
        *,
        name: str,
        arms: Sequence[str] = PAPER_ARMS,
        seed: int | str | None = None,
        grey_scale: str = "least_squares",
        alpha: float = 0.05,
        measurement_window_s: float = 1.5,
    ) -> Study:
        """Make a new study in `folder`, which must be empty or not exist.

        Args:
            folder: where the study shall live.
            name: the study's name; must not name an arm.
            arms: the methods to compare, 2 to 6.
            seed: of the readers' schedules; drawn at random by default. Like the arms it is kept encrypted
            until
                unblinding, for it would help a reader to tell which panels of different clips belong
                together.
            grey_scale: display rule, see `blinding.display_frames`.
            alpha: significance level.
            measurement_window_s: length of time over which measurements are averaged.

        Raises:
            StudyError: when the folder is in use or a value is not acceptable.
        """
        folder = Path(folder)
        secret = ProtocolSecret(
            arms=_checked_arms(arms), seed=secrets.token_hex(16) if seed is None else str(seed)
        )
        protocol = Protocol(
            name=_clear_text("study name", name, secret.arms),
            arm_count=len(secret.arms),
            grey_scale=grey_scale,
            alpha=alpha,
            measurement_window_s=measurement_window_s,
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise StudyError(f"The folder '{folder}' is not empty: choose a new folder for the study.")
            (folder / MOVIES_NAME).mkdir()
            key = blinding.new_key()
            storage.write_durably(folder / DRAFT_KEY_NAME, key)
        except OSError as error:
            raise StudyError(f"No study can be made in '{folder}': {error.strerror}.") from error
        log = EventLog.create(folder / LOG_NAME)
        payload = {
            "schema": SCHEMA,
            "protocol": protocol.to_dict(),
            "private": blinding.encrypt(key, secret.to_dict(), context="study"),
        }
        log.append("study_created", payload, COORDINATOR)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str) -> Study:
        """Open the study in `folder`: replay its log and check the chain of hashes.

        Raises:
            StudyError: when there is no study, or its log was damaged or changed (naming the first bad
            event).
        """
        folder = Path(folder)
        log_path = folder / LOG_NAME
        if not log_path.is_file():
            raise StudyError(f"'{folder}' is no study folder: it has no '{LOG_NAME}'.")
        study = cls(folder, EventLog(log_path))
        study._log.verify()
        study._refresh()
        if study._state.protocol is None:
            raise StudyError(
                f"The study in '{folder}' was never finished being made: delete the folder, make it anew."
            )
        if study._state.phase != "design":
            # A kill between the lock's commit and the clean-up leaves these behind.
            study._clean_up_after_lock()
        return study

    # What the study is

    @property
    def name(self) -> str:
        """The study's name."""
        return self.protocol.name

    @property
    def protocol(self) -> Protocol:
        """The open part of the protocol: endpoints, strata, alpha, grey-scale rule; never the arms."""
        protocol = self._current().protocol
        if protocol is None:
            raise StudyError(f"The study in '{self.folder}' has no protocol: make it anew.")
        return protocol

    @property
    def phase(self) -> Phase:
        """`design` until the lock, then `reading`, then `unblinded`."""
        return self._current().phase

    @property
    def arm_count(self) -> int:
        """How many movies stand side by side; known in every phase."""
        return self.protocol.arm_count

    @property
    def arms(self) -> tuple[str, ...]:
        """The methods in the order given at creation. Raises StudyError while the study is blinded."""
        state = self._current()
        if state.revealed is not None:
            return state.revealed.arms
        return self._secret(state).arms

    @property
    def scans(self) -> list[Scan]:
        """All scans in the order of import."""
        state = self._current()
        key = self._draft_key() if state.phase == "design" else None
        return [self._scan(state, scan, key) for scan in state.scans.values()]

    @property
    def clips(self) -> list[Clip]:
        """The clips of all complete scans, in the order of import."""
        return [scan.clip for scan in self._current().scans.values() if scan.movies]

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers named at the lock; empty before."""
        return self._current().readers

    @property
    def rankings(self) -> list[RankingRecord]:
        """All committed rankings in the order of commitment."""
        return list(self._current().rankings.values())

    @property
    def measurements(self) -> list[MeasurementRecord]:
        """The latest measurement of each observer in each clip."""
        return list(self._current().measurements.values())

    @property
    def events(self) -> list[Event]:
        """The whole log, for an audit."""
        return self._log.events()

    @property
    def head(self) -> Anchor:
        """Number and hash of the last event; noted outside the folder, it lets `verify` find a cut tail."""
        state = self._current()
        return Anchor(state.sequence, state.head_hash)

    @property
    def method_of(self) -> Mapping[str, str]:
        """Movie id to method. Raises StudyError before unblinding."""
        return MappingProxyType(self._revealed().methods)

    @property
    def provenance_of(self) -> Mapping[str, Any]:
        """Movie id to the provenance of the attached movie. Raises StudyError before unblinding."""
        return MappingProxyType(self._revealed().provenance)

    # Design

    def import_scan(
        self,
        raw_path: Path | str,
        *,
        raw_sha256: str,
        subject: str,
        plane: str,
        sampling: str,
        label: str | None = None,
    ) -> str:
        """Add a scan and return its opaque scan id.

        Subject, plane and sampling stay in clear (they are strata); raw path, hash and label are encrypted.

        Args:
            raw_path: the raw file; it is only remembered, not copied.
            raw_sha256: its SHA-256, 64 hexadecimal digits; the same file cannot be imported twice.
            subject: the coordinator's pseudonym for the person; scans of one person share it.
            plane: for example "SAX", "4CH", "speech".
            sampling: "cartesian", "radial" or "spiral".
            label: the coordinator's own words for the scan.

        Raises:
            StudyError: when the study is locked or a value is not acceptable.
        """
        raw_path = Path(raw_path)
        raw_sha256 = raw_sha256.lower()
        if not re.fullmatch(r"[0-9a-f]{64}", raw_sha256):
            raise StudyError(
                f"The SHA-256 of '{raw_path.name}' is '{raw_sha256}', not 64 hexadecimal digits."
            )
        if sampling not in SAMPLINGS:
            raise StudyError(
                f"The sampling of '{raw_path.name}' is '{sampling}': it must be one of "
                f"{', '.join(SAMPLINGS)}."
            )
        scan_id, clip_id = blinding.opaque_ids(2)
        with self._writing("design", "import a scan") as transaction:
            key = self._draft_key()
            arms = self._secret(self._state).arms
            clear = {
                "scan_id": scan_id,
                "clip_id": clip_id,
                "subject": _clear_text("subject", subject, (*arms, raw_path.name)),
                "plane": _clear_text("plane", plane, (*arms, raw_path.name)),
                "sampling": sampling,
            }
            for other in self._state.scans.values():
                if self._scan_private(other, key)["raw_sha256"] == raw_sha256:
                    raise StudyError(f"'{raw_path.name}' is in the study already: import each scan once.")
            private = {"raw_path": str(raw_path), "raw_sha256": raw_sha256, "label": label}
            clear["private"] = blinding.encrypt(key, private, context=f"scan {scan_id}")
            transaction.append("scan_imported", clear, COORDINATOR)
        return scan_id

    def remove_scan(self, scan_id: str) -> None:
        """Take a scan and its movies out of the study before the lock. Raises StudyError."""
        with self._writing("design", "remove a scan") as transaction:
            movie_ids = tuple(self._scan_state(scan_id).movies)
            transaction.append("scan_removed", {"scan_id": scan_id}, COORDINATOR)
        self._delete_movies(movie_ids)

    def attach_movies(self, scan_id: str, movies: Mapping[str, Path | str]) -> None:
        """Copy one movie per arm into the study, under opaque ids and without provenance.

        The copies are cut to the frame times that all arms share, and have one size and one modification
        time. Attaching again replaces the scan's movies.

        Args:
            scan_id: from `import_scan`.
            movies: method to Movie file, exactly the study's arms.

        Raises:
            StudyError: when arms are missing or not known, a file is not a movie, or the movies do not match.
        """
        with self._guard:
            state = self._current()
            self._require(state, "design", "attach movies")
            arms = self._secret(state).arms
        if set(movies) != set(arms):
            raise StudyError(
                f"The movies of a scan must be {', '.join(sorted(arms))}, but "
                f"{', '.join(sorted(movies)) or 'none'} "
                "came: give one movie for each arm."
            )
        sources = {method: clips.read_movie(Path(path)) for method, path in movies.items()}
        aligned = clips.align([sources[arm] for arm in arms])
        movie_ids = blinding.opaque_ids(len(arms))
        method_of = dict(zip(movie_ids, arms, strict=True))
        movie_of = dict(zip(movie_ids, aligned, strict=True))
        written: dict[str, str] = {}
        try:
            # Sorted ids are in random order of the arms, so creation times and inodes tell nothing either.
            for movie_id in sorted(movie_ids):
                written[movie_id] = clips.write_blinded(self._movie_path(movie_id), movie_of[movie_id])
            with self._writing("design", "attach movies") as transaction:
                replaced = tuple(self._scan_state(scan_id).movies)
                private = {
                    "methods": method_of,
                    "provenance": {
                        movie_id: sources[method_of[movie_id]].provenance for movie_id in movie_ids
                    },
                }
                payload = {
                    "scan_id": scan_id,
                    "movies": written,
                    "private": blinding.encrypt(self._draft_key(), private, context=f"movies {scan_id}"),
                }
                transaction.append("movies_attached", payload, COORDINATOR)
        except BaseException:
            if not set(written) <= set(self._state_movie_ids()):
                self._delete_movies(written)
            raise
        self._delete_movies(replaced)

    def lock(self, readers: Sequence[str], passphrase: str) -> None:
        """Freeze the design, seal the key, write every reader's schedule; from here on the study is blinded.

        Args:
            readers: names of the readers; each gets another order.
            passphrase: opens the sealed key at unblinding; nobody can recover it when it is lost.

        Raises:
            StudyError: when scans are incomplete or absent, readers are missing or doubled, or the study is
            locked.
        """
        if not passphrase.strip():
            raise StudyError("The passphrase is empty: choose one that readers will not guess.")
        with self._writing("design", "lock the study") as transaction:
            state, key, secret = self._state, self._draft_key(), self._secret(self._state)
            names = _checked_readers(readers, secret.arms)
            self._check_complete(state)
            methods: dict[str, str] = {}
            for scan in state.scans.values():
                methods.update(self._movies_private(scan, key)["methods"])
            arm_order = list(secret.arms)
            # The schedule is reproducible from the seed alone; which arm is arm 0 of it must not be.
            secrets.SystemRandom().shuffle(arm_order)
            sealed = blinding.seal({"key": key.hex(), "arm_order": arm_order, "methods": methods}, passphrase)
            try:
                storage.write_durably(self.folder / SEALED_KEY_NAME, sealed)
            except OSError as error:
                raise StudyError(f"'{SEALED_KEY_NAME}' cannot be written: {error.strerror}.") from error
            payload = {
                "readers": list(names),
                "schedules": _schedules(names, secret.seed, state, methods, arm_order),
                "sealed_key_sha256": hashlib.sha256(sealed).hexdigest(),
                "protocol_sha256": protocol_sha256(self.protocol, secret),
            }
            transaction.append("study_locked", payload, COORDINATOR)
        self._clean_up_after_lock()

    # Reading

    def schedule(self, reader: str) -> list[Presentation]:
        """Return the presentations of a reader in their order. Raises StudyError for an unknown reader.

        `permutation[position]` is an index into the clip's sorted `movie_ids`; across clips it means nothing.
        """
        return list(self._schedule(self._current(), reader))

    def progress(self, reader: str) -> tuple[int, int]:
        """Return how many rankings the reader has committed, and how many there are to be."""
        state = self._current()
        presentations = self._schedule(state, reader)
        return sum((_name(reader), item.presentation_id) in state.rankings for item in presentations), len(
            presentations
        )

    def next_presentation(self, reader: str) -> Presentation | None:
        """Return what the reader has to rank next, or None when all is done."""
        return self._next(self._current(), reader)

    def load_clip(self, presentation: Presentation) -> BlindedClip:
        """Load what a presentation shows, in the order of the panels; safe to call from any thread.

        Raises:
            StudyError: when a movie is missing or is not the file that was attached.
        """
        state = self._current()
        clip = state.clip(presentation.clip_id)
        movies, frame_times_s, spacing = self._load(state, clip)
        display = blinding.display_frames(movies, self.protocol.grey_scale)
        return BlindedClip(
            presentation_id=presentation.presentation_id,
            clip_id=clip.clip_id,
            display=np.ascontiguousarray(display[list(presentation.permutation)]),
            frame_times_s=frame_times_s,
            pixel_spacing_mm=spacing,
        )

    def commit_ranking(
        self,
        reader: str,
        presentation: Presentation,
        ranks: Sequence[int],
        *,
        seconds: float | None = None,
        frames_skipped: int | None = None,
        loops: int | None = None,
        comment: str = "",
        window_level: tuple[float, float] | None = None,
    ) -> None:
        """Commit a ranking; it is on the disk on return and cannot be changed.

        Args:
            reader: one of `readers`.
            presentation: the reader's next one.
            ranks: by position, 1 (best) to the number of arms; equal numbers are ties.
            seconds: time that the reader took.
            frames_skipped: frames that the screen did not show.
            loops: complete passes seen.
            comment: the reader's words.
            window_level: display window and level at the commit.

        Raises:
            StudyError: when it is committed already, is not the reader's next, or the study is not being
            read.
        """
        with self._writing("reading", "rank") as transaction:
            state = self._state
            known = self._schedule(state, reader)
            reader = _name(reader)
            if presentation not in known:
                raise StudyError(
                    f"Presentation '{presentation.presentation_id}' is not in the schedule of '{reader}'."
                )
            if (reader, presentation.presentation_id) in state.rankings:
                raise StudyError(
                    f"'{reader}' has ranked presentation {presentation.index + 1} already: a ranking "
                    "cannot be changed."
                )
            expected = self._next(state, reader)
            if expected is not None and presentation != expected:
                raise StudyError(
                    f"The next presentation of '{reader}' is number {expected.index + 1}, not "
                    f"{presentation.index + 1}."
                )
            movie_ids = state.clip(presentation.clip_id).movie_ids
            payload = {
                "reader": reader,
                "presentation_id": presentation.presentation_id,
                "index": presentation.index,
                "clip_id": presentation.clip_id,
                "movie_ids": [movie_ids[choice] for choice in presentation.permutation],
                "ranks": list(normalise(ranks, len(movie_ids))),
                "seconds": None if seconds is None else float(seconds),
                "frames_skipped": None if frames_skipped is None else int(frames_skipped),
                "loops": None if loops is None else int(loops),
                "comment": str(comment),
                "window_level": None if window_level is None else [float(value) for value in window_level],
            }
            transaction.append("ranking_committed", payload, reader)

    # Measuring

    def load_movies(self, clip_id: str) -> MeasurementClip:
        """Load the movies of a clip for measurement, in their opaque order. Raises StudyError."""
        state = self._current()
        clip = state.clip(clip_id)
        movies, frame_times_s, spacing = self._load(state, clip)
        factors = blinding.arm_factors(movies, self.protocol.grey_scale)
        return MeasurementClip(
            clip_id=clip_id,
            movies=movies * factors[:, None, None, None],
            movie_ids=clip.movie_ids,
            frame_times_s=frame_times_s,
            pixel_spacing_mm=spacing,
        )

    def save_measurement(
        self, observer: str, clip_id: str, shapes: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """Save what an observer drew and measured in a clip, durably; replaces the observer's earlier one.

        Args:
            observer: the observer's name.
            clip_id: the clip.
            shapes: JSON-ready shapes in pixel coordinates.
            values: JSON-ready results, by movie id. NumPy numbers and arrays are taken too.

        Raises:
            StudyError: when the study is not in its reading phase or a value cannot be stored.
        """
        observer = _name(observer)
        if not observer:
            raise StudyError("The measurement has no observer: enter a name.")
        with self._writing("reading", "measure") as transaction:
            self._state.clip(clip_id)
            payload = {
                "observer": observer,
                "clip_id": clip_id,
                "shapes": dict(shapes),
                "values": dict(values),
            }
            transaction.append("measurement_saved", payload, observer)

    # Unblinding and audit

    def missing_rankings(self) -> dict[str, int]:
        """Return how many rankings each reader still owes; readers who are done are left out."""
        return self._missing(self._current())

    def unblind(self, passphrase: str, actor: str, *, force: bool = False) -> dict[str, str]:
        """Open the sealed key, write who is who into the log, and freeze reading and measuring.

        Args:
            passphrase: the one given at the lock. A wrong one is recorded in the log.
            actor: who unblinds.
            force: go on although rankings are missing.

        Returns:
            Movie id to method.

        Raises:
            StudyError: when rankings are missing, the passphrase is wrong, the sealed key is not the one of
            the lock,
                or the study is not in its reading phase.
        """
        actor = _name(actor)
        if not actor:
            raise StudyError("Unblinding is recorded with a name: say who unblinds.")
        state = self._current()
        self._require(state, "reading", "unblind")
        self._refuse_while_missing(state, force)
        try:
            sealed = (self.folder / SEALED_KEY_NAME).read_bytes()
        except OSError as error:
            raise StudyError(
                f"'{SEALED_KEY_NAME}' cannot be read: {error.strerror}; restore it from a copy."
            ) from error
        if hashlib.sha256(sealed).hexdigest() != state.sealed_key_sha256:
            raise StudyError(
                f"'{SEALED_KEY_NAME}' is not the file sealed at the lock: restore it from a copy."
            )
        try:
            opened = blinding.unseal(sealed, passphrase)
        except StudyError:
            with self._writing("reading", "unblind") as transaction:
                transaction.append("unblinding_refused", {"reason": "wrong passphrase"}, actor)
            raise
        key = bytes.fromhex(opened["key"])
        with self._writing("reading", "unblind") as transaction:
            state = self._state
            self._refuse_while_missing(state, force)
            secret = ProtocolSecret.from_dict(blinding.decrypt(key, state.private, context="study"))
            provenance: dict[str, Any] = {}
            for scan in state.scans.values():
                provenance.update(self._movies_private(scan, key)["provenance"])
            payload = {
                "arms": list(secret.arms),
                "arm_order": opened["arm_order"],
                "seed": secret.seed,
                "methods": opened["methods"],
                "provenance": provenance,
                "scans": {scan.scan_id: self._scan_private(scan, key) for scan in state.scans.values()},
                "forced": force,
                "missing": self._missing(state),
            }
            transaction.append("study_unblinded", payload, actor)
        return dict(self.method_of)

    def verify(self, noted: Anchor | None = None) -> None:
        """Check the chain of the log, the movies' hashes, the sealed key and, once unblinded, the schedules.

        Args:
            noted: an earlier `head` that was kept outside the folder; the log must still contain it.

        Raises:
            StudyError: naming the first event or file that is not as it was written.
        """
        self._log.verify(noted)
        state = self._current()
        for scan in state.scans.values():
            if scan.movies:
                self._load(state, scan.clip)
        if state.phase == "design":
            return
        try:
            sealed = (self.folder / SEALED_KEY_NAME).read_bytes()
        except OSError as error:
            raise StudyError(
                f"'{SEALED_KEY_NAME}' cannot be read: {error.strerror}; restore it from a copy."
            ) from error
        if hashlib.sha256(sealed).hexdigest() != state.sealed_key_sha256:
            raise StudyError(
                f"'{SEALED_KEY_NAME}' is not the file sealed at the lock: restore it from a copy."
            )
        if state.revealed is not None:
            self._verify_revealed(state, state.revealed)

    # Inside

    def _current(self) -> StudyState:
        """Return the state after taking in what other processes have committed."""
        with self._guard:
            self._refresh()
            return self._state

    def _refresh(self) -> None:
        for event in self._log.events(after=self._state.sequence, expected=self._state.sequence):
            self._state.apply(event)

    @contextmanager
    def _writing(self, phase: Phase, action: str) -> Iterator[Transaction]:
        """Hold the log's write lock with the state up to date; what is appended is durable on exit."""
        with self._guard:
            with self._log.transaction() as transaction:
                for event in transaction.events(after=self._state.sequence, expected=self._state.sequence):
                    self._state.apply(event)
                self._require(self._state, phase, action)
                yield transaction
            self._refresh()

    def _require(self, state: StudyState, phase: Phase, action: str) -> None:
        reasons = {
            "design": "the study is not locked yet",
            "reading": "the study is locked",
            "unblinded": "the study is unblinded and frozen",
        }
        if state.phase != phase:
            raise StudyError(f"It is not possible to {action}: {reasons[state.phase]}.")

    def _draft_key(self) -> bytes:
        try:
            return (self.folder / DRAFT_KEY_NAME).read_bytes()
        except OSError as error:
            raise StudyError(
                f"'{DRAFT_KEY_NAME}' of the study cannot be read ({error.strerror}): restore it or make "
                "the study anew."
            ) from error

    def _secret(self, state: StudyState) -> ProtocolSecret:
        if state.phase != "design":
            raise StudyError(
                "The study is blinded: its arms are known before the lock and after unblinding only."
            )
        return ProtocolSecret.from_dict(blinding.decrypt(self._draft_key(), state.private, context="study"))

    def _revealed(self) -> Revealed:
        revealed = self._current().revealed
        if revealed is None:
            raise StudyError("The study is blinded: unblind it first.")
        return revealed

    @staticmethod
    def _scan_private(scan: ScanState, key: bytes) -> dict[str, Any]:
        return blinding.decrypt(key, scan.private, context=f"scan {scan.scan_id}")

    @staticmethod
    def _movies_private(scan: ScanState, key: bytes) -> dict[str, Any]:
        return blinding.decrypt(key, scan.movies_private, context=f"movies {scan.scan_id}")

    def _scan(self, state: StudyState, scan: ScanState, key: bytes | None) -> Scan:
        private: Mapping[str, Any] = {}
        if key is not None:
            private = self._scan_private(scan, key)
        elif state.revealed is not None:
            private = state.revealed.scans[scan.scan_id]
        return Scan(
            scan_id=scan.scan_id,
            subject=scan.subject,
            plane=scan.plane,
            sampling=scan.sampling,
            label=private.get("label"),
            raw_path=Path(private["raw_path"]) if private else None,
            complete=bool(scan.movies),
            clip_id=scan.clip_id,
        )

    def _scan_state(self, scan_id: str) -> ScanState:
        try:
            return self._state.scans[scan_id]
        except KeyError:
            raise StudyError(f"The study has no scan '{scan_id}'.") from None

    def _check_complete(self, state: StudyState) -> None:
        if not state.scans:
            raise StudyError("The study has no scans: import and reconstruct some before the lock.")
        incomplete = [scan.subject for scan in state.scans.values() if not scan.movies]
        if incomplete:
            raise StudyError(
                f"{len(incomplete)} of {len(state.scans)} scans have no movies yet (subjects "
                f"{', '.join(incomplete)}): "
                "reconstruct or remove them."
            )
        for scan in state.scans.values():
            self._load(state, scan.clip)

    def _schedule(self, state: StudyState, reader: str) -> tuple[Presentation, ...]:
        if state.phase == "design":
            raise StudyError("There is no schedule yet: lock the study first.")
        try:
            return state.schedules[_name(reader)]
        except KeyError:
            raise StudyError(
                f"'{reader}' is no reader of this study: the readers are {', '.join(state.readers)}."
            ) from None

    def _next(self, state: StudyState, reader: str) -> Presentation | None:
        for presentation in self._schedule(state, reader):
            if (_name(reader), presentation.presentation_id) not in state.rankings:
                return presentation
        return None

    def _missing(self, state: StudyState) -> dict[str, int]:
        missing = {
            reader: sum((reader, item.presentation_id) not in state.rankings for item in presentations)
            for reader, presentations in state.schedules.items()
        }
        return {reader: count for reader, count in missing.items() if count}

    def _refuse_while_missing(self, state: StudyState, force: bool) -> None:
        missing = self._missing(state)
        if missing and not force:
            owed = ", ".join(f"{reader}: {count}" for reader, count in missing.items())
            raise StudyError(f"Rankings are missing ({owed}): finish the reading, or force the unblinding.")

    def _movie_path(self, movie_id: str) -> Path:
        return self.folder / MOVIES_NAME / f"{movie_id}.h5"

    def _load(self, state: StudyState, clip: Clip) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
        """Return frames `(arm, frame, y, x)` in the order of `movie_ids`, frame times and pixel spacing."""
        hashes = next(scan.movies for scan in state.scans.values() if scan.clip_id == clip.clip_id)
        movies = [
            clips.read_blinded(self._movie_path(movie_id), hashes[movie_id]) for movie_id in clip.movie_ids
        ]
        if not movies:
            raise StudyError(f"Clip '{clip.clip_id}' has no movies yet: attach them first.")
        return (
            np.stack([movie.frames for movie in movies]),
            movies[0].frame_times_s,
            movies[0].pixel_spacing_mm,
        )

    def _state_movie_ids(self) -> Iterator[str]:
        for scan in self._current().scans.values():
            yield from scan.movies

    def _delete_movies(self, movie_ids: Iterable[str]) -> None:
        for movie_id in movie_ids:
            self._movie_path(movie_id).unlink(missing_ok=True)

    def _clean_up_after_lock(self) -> None:
        """Erase the draft key, and movies and temporary files that no event knows (a kill leaves them)."""
        storage.erase(self.folder / DRAFT_KEY_NAME)
        known = {self._movie_path(movie_id) for movie_id in self._state_movie_ids()}
        for path in (self.folder / MOVIES_NAME).iterdir():
            if path not in known:
                path.unlink(missing_ok=True)

    def _verify_revealed(self, state: StudyState, revealed: Revealed) -> None:
        secret = ProtocolSecret(arms=revealed.arms, seed=revealed.seed)
        if protocol_sha256(self.protocol, secret) != state.protocol_sha256:
            raise StudyError("The protocol is not the one that was hashed at the lock.")
        rebuilt = _schedules(state.readers, revealed.seed, state, revealed.methods, revealed.arm_order)
        for reader, entries in rebuilt.items():
            recorded = [
                {
                    "presentation_id": p.presentation_id,
                    "clip_id": p.clip_id,
                    "permutation": list(p.permutation),
                }
                for p in state.schedules[reader]
            ]
            if entries != recorded:
                raise StudyError(f"The schedule of '{reader}' does not follow from the seed of the study.")


def _schedules(
    readers: Sequence[str], seed: str, state: StudyState, methods: Mapping[str, str], arm_order: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Build every reader's schedule, panels told by place in the clip's sorted movie ids, never by arm."""
    scans = {scan.clip_id: scan for scan in state.scans.values()}
    schedules: dict[str, list[dict[str, Any]]] = {}
    for reader in readers:
        presentations = reader_schedule(
            seed,
            reader,
            [(scan.clip_id, scan.subject) for scan in scans.values()],
            len(arm_order),
            strata=[f"{scan.plane}/{scan.sampling}" for scan in scans.values()],
        )
        entries = []
        for presentation in presentations:
            place_of = {
                methods[movie_id]: place for place, movie_id in enumerate(scans[presentation.clip_id].movies)
            }
            entries.append(
                {
                    "presentation_id": presentation.presentation_id,
                    "clip_id": presentation.clip_id,
                    "permutation": [place_of[arm_order[arm]] for arm in presentation.permutation],
                }
            )
        schedules[reader] = entries
    return schedules


def _name(text: str) -> str:
    """Return a person's name in one spelling, whatever keyboard or operating system it came from."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _clear_text(what: str, text: str, secrets_in_clear: Iterable[str]) -> str:
    """Return text that will stand in clear in the log, having made sure that it names no secret."""
    text = _name(str(text))
    if not text:
        raise StudyError(f"The {what} is empty: give one.")
    for secret in secrets_in_clear:
        if re.search(rf"(?<![a-z0-9]){re.escape(secret.casefold())}(?![a-z0-9])", text.casefold()):
            raise StudyError(
                f"The {what} '{text}' contains '{secret}', which would unblind readers: choose another."
            )
    return text


def _checked_arms(arms: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(arm) for arm in arms)
    if any(not name.strip() for name in names):
        raise StudyError("An arm has an empty name: name every arm.")
    if len(set(names)) != len(names):
        raise StudyError(f"The arms {', '.join(names)} are not all different: name each once.")
    return names


def _checked_readers(readers: Sequence[str], arms: Iterable[str]) -> tuple[str, ...]:
    if isinstance(readers, str) or not readers:
        raise StudyError("The study needs at least one reader: give a list of names.")
    names = tuple(_clear_text("reader's name", reader, arms) for reader in readers)
    if len({name.casefold() for name in names}) != len(names):
        raise StudyError(f"The readers {', '.join(names)} are not all different: name each once.")
    return names
