"""A study folder: import scans, attach movies, lock, read, measure, unblind.

Rule: the event log is the study, and every property here is read from a fold over it; what a method has
returned from is on the disk. Before the lock, a random key in `draft.key` encrypts everything in the log that
tells methods or raw files; the lock seals that key under a passphrase into `sealed.key` and erases
`draft.key`, so that no file of a locked study holds a method's name or a raw file's name in clear. See
`folder.py` for the files and `concealment.py` for what is encrypted.

What cannot be kept secret or found out from the folder alone: a copy of the folder made before the lock holds
`draft.key`; whoever owns the reconstructions can compare their pixels; and see `log.py` on rewritten logs.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from studies import blinding, clips, concealment
from studies.design import Design, missing_scans, with_seed
from studies.errors import StudyError
from studies.exchange import ExchangingStudy
from studies.folder import StudyFolder
from studies.log import Anchor, Event
from studies.names import checked_arms, checked_readers, clear_text, method_label, person_name
from studies.opened import Role
from studies.protocol import SAMPLINGS, Amendment, Protocol, ProtocolSecret, amended, protocol_sha256
from studies.schedule import Presentation
from studies.state import (
    SCHEMA,
    Clip,
    MeasurementClip,
    MeasurementRecord,
    Revealed,
    Scan,
    ScanState,
    StudyState,
)

PAPER_ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
KNOWN_METHODS = ("gridded", *PAPER_ARMS)
COORDINATOR = "coordinator"


class Study(ExchangingStudy):
    """One study in one folder; several processes may hold it, and each sees what the others committed.

    Use `create` or `open`, not the constructor. See `OpenStudy` for the roles,
    `ReadableStudy` for reading, `ExchangingStudy` for reader packages.
    """

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
        log_url: str | None = None,
        second_copy: Path | str | None = None,
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
            log_url: PostgreSQL database that gets the log, without a password, for example
                `postgresql://ada@server/studies`; the log is a file in the folder by default.
            second_copy: another folder, which gets a copy of each event of the log.

        Raises:
            StudyError: when the folder is in use or a value is not acceptable.
        """
        names = checked_arms(arms)
        protocol = Protocol(
            name=clear_text("study name", name, names),
            arm_count=len(names),
            grey_scale=grey_scale,
            alpha=alpha,
            measurement_window_s=measurement_window_s,
        )
        design = Design(protocol, names, None if seed is None else str(seed))
        return cls.from_design(folder, design, log_url=log_url, second_copy=second_copy)

    @classmethod
    def from_design(
        cls,
        folder: Path | str,
        design: Design,
        *,
        log_url: str | None = None,
        second_copy: Path | str | None = None,
    ) -> Study:
        """Make a new study from a protocol file; its scans are imported afterwards.

        Args:
            folder: where the study shall live; must be empty or not exist.
            design: from `Design.load`; a seed is drawn if it has none.
            log_url: as in `create`.
            second_copy: as in `create`.

        Raises:
            StudyError: when the folder is in use, or the database cannot be.
        """
        folder = Path(folder)
        design = with_seed(design, secrets.token_hex(16))
        protocol, secret = design.protocol, design.secret
        key = blinding.new_key()
        files = StudyFolder.create(folder, key, log_url=log_url, second_copy=second_copy)
        log = files.create_log()
        payload = {
            "schema": SCHEMA,
            "protocol": protocol.to_dict(),
            "private": concealment.encrypt_protocol(key, secret),
        }
        log.append("study_created", payload, COORDINATOR)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str, role: Role = "coordinator", person: str = "") -> Study:
        """Open the study in `folder`: replay its log and check the chain of hashes.

        Args:
            folder: of a study, or of an unpacked reader package, which opens for its reader whatever is
                asked for.
            role: `coordinator`, `reader` or `physicist`; see `opened.py` for what each may do.
            person: name of who opens it; a reader's must be one of the study's.

        Raises:
            StudyError: when there is no study, the reader is not one of its, or its log was damaged or
                changed (naming the first bad event).
        """
        folder = Path(folder)
        study = cls(folder, StudyFolder(folder).open_log(), role, person)
        study._log.verify_quickly()
        study._log.catch_up()
        study._refresh()
        if study._state.protocol is None:
            raise StudyError(
                f"The study in '{folder}' was never finished being made: delete the folder, make it anew."
            )
        if study._state.package is not None:
            study._set_role("reader", study._state.package.reader)
        elif study.role == "reader":
            study._state.schedule(study.person)
        if study._state.phase != "design":
            # A kill between the lock's commit and the clean-up leaves these behind.
            study._clean_up_after_lock()
        return study

    def with_second_copy(self, folder: Path | str) -> Study:
        """Return the study opened anew, with a second copy of its log in a folder outside it.

        Raises:
            StudyError: when the folder cannot be used.
        """
        self._files.choose_second_copy(folder)
        return type(self).open(self.folder, self.role, self.person)

    # What the study is

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
        key = self._files.draft_key() if state.phase == "design" and self.role == "coordinator" else None
        return [self._scan(state, scan, key) for scan in state.scans.values()]

    @property
    def scan_states(self) -> list[ScanState]:
        """All scans as the log tells them in clear: for balance tables."""
        return list(self._current().scans.values())

    @property
    def clips(self) -> list[Clip]:
        """The clips of all complete scans but the practice cases, in the order of import."""
        return [clip for clip in self._complete_clips() if not clip.practice]

    @property
    def practice_clips(self) -> list[Clip]:
        """The clips of all complete practice cases; they are shown first and never analysed."""
        return [clip for clip in self._complete_clips() if clip.practice]

    @property
    def design(self) -> Design:
        """The whole protocol, as locked if it is. Raises StudyError while the study is blinded."""
        state = self._current()
        protocol = state.locked_protocol or self.protocol
        if state.revealed is not None:
            secret = state.revealed.secret
        else:
            secret = self._secret(state)
        return Design(protocol, secret.arms, secret.seed, secret.scans)

    @property
    def protocol_sha256(self) -> str:
        """Hash of the protocol: as locked, or as it would be locked now. Never tells arms or seed."""
        state = self._current()
        return state.protocol_sha256 or self.design.sha256

    @property
    def amendments(self) -> list[Amendment]:
        """Changes of the protocol since the lock."""
        return list(self._current().amendments)

    @property
    def measurements(self) -> list[MeasurementRecord]:
        """The latest measurement of each observer in each clip; readers see none."""
        if self.role == "reader":
            return []
        return list(self._current().measurements.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be although all is saved: the log's anchor, its second copy."""
        return self._log.warnings

    @property
    def events(self) -> list[Event]:
        """The whole log, for an audit."""
        self._permit("see the whole log", "coordinator")
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

    def set_design(self, design: Design) -> None:
        """Put another protocol in the place of the present one; only before the lock.

        Args:
            design: the seed of the study is kept if it has none.

        Raises:
            StudyError: when the study is locked, scans have movies of other arms, or the new arms are named
                by something that readers see.
        """
        self._permit("change the protocol", "coordinator")
        with self._writing("design", "change the protocol") as transaction:
            key, before = self._files.draft_key(), self._secret(self._state)
            secret = with_seed(design, before.seed).secret
            if set(secret.arms) != set(before.arms) and any(self._state_movie_ids()):
                raise StudyError(
                    f"The scans have movies of {', '.join(before.arms)}: remove the scans before the "
                    "arms are changed."
                )
            for scan in self._state.scans.values():
                clear_text("subject", scan.subject, secret.arms)
                clear_text("plane", scan.plane, secret.arms)
            payload = {
                "protocol": design.protocol.to_dict(),
                "private": concealment.encrypt_protocol(key, secret),
            }
            transaction.append("protocol_set", payload, COORDINATOR)

    def planned_schedules(self, readers: Sequence[str] = ()) -> dict[str, list[Presentation]]:
        """Return the schedules that a lock would write now, arms told by number in an order still secret.

        Args:
            readers: names; those of the protocol if empty.

        Raises:
            StudyError: when the study is locked, there are no readers, or too few clips for the repeats.
        """
        state = self._current()
        secret = self._secret(state)
        names = checked_readers(readers or self.protocol.readers, secret.arms)
        return concealment.arm_schedules(names, secret.seed, list(state.scans.values()), self.protocol)

    def import_scan(
        self,
        raw_path: Path | str,
        *,
        raw_sha256: str,
        subject: str,
        plane: str,
        sampling: str,
        label: str | None = None,
        practice: bool = False,
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
            practice: shown to every reader first and never analysed; not of a subject of the study.

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
        self._permit("import a scan", "coordinator")
        scan_id, clip_id = blinding.opaque_ids(2)
        with self._writing("design", "import a scan") as transaction:
            key = self._files.draft_key()
            arms = self._secret(self._state).arms
            clear: dict[str, Any] = {
                "scan_id": scan_id,
                "clip_id": clip_id,
                "subject": clear_text("subject", subject, (*arms, raw_path.name)),
                "plane": clear_text("plane", plane, (*arms, raw_path.name)),
                "sampling": sampling,
            }
            for other in self._state.scans.values():
                if concealment.decrypt_scan(key, other)["raw_sha256"] == raw_sha256:
                    raise StudyError(f"'{raw_path.name}' is in the study already: import each scan once.")
                if other.subject == clear["subject"] and other.practice != practice:
                    raise StudyError(
                        f"The subject '{other.subject}' has "
                        f"{'practice cases' if other.practice else 'scans'} in the study: practise on other "
                        "subjects than those studied."
                    )
            if practice:
                clear["practice"] = True
            private = {"raw_path": str(raw_path), "raw_sha256": raw_sha256, "label": label}
            clear["private"] = concealment.encrypt_scan(key, scan_id, private)
            transaction.append("scan_imported", clear, COORDINATOR)
        return scan_id

    def remove_scan(self, scan_id: str) -> None:
        """Take a scan and its movies out of the study before the lock. Raises StudyError."""
        self._permit("remove a scan", "coordinator")
        with self._writing("design", "remove a scan") as transaction:
            movie_ids = tuple(self._scan_state(scan_id).movies)
            transaction.append("scan_removed", {"scan_id": scan_id}, COORDINATOR)
        self._files.delete_movies(movie_ids)

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
                written[movie_id] = self._files.write_movie(movie_id, movie_of[movie_id])
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
                    "private": concealment.encrypt_movies(self._files.draft_key(), scan_id, private),
                }
                transaction.append("movies_attached", payload, COORDINATOR)
        except BaseException:
            if not set(written) <= set(self._state_movie_ids()):
                self._files.delete_movies(written)
            raise
        self._files.delete_movies(replaced)

    def lock(self, readers: Sequence[str], passphrase: str) -> None:
        """Freeze the design, seal the key, write every reader's schedule; from here on the study is blinded.

        Args:
            readers: names of the readers; each gets another order. Empty takes those of the protocol.
            passphrase: opens the sealed key at unblinding; nobody can recover it when it is lost.

        Raises:
            StudyError: when scans are incomplete, absent or not those of the protocol, readers are missing,
                doubled or not those of the protocol, there are too few clips for the repeats, or the study
                is locked.
        """
        if not passphrase.strip():
            raise StudyError("The passphrase is empty: choose one that readers will not guess.")
        self._permit("lock the study", "coordinator")
        with self._writing("design", "lock the study") as transaction:
            state, key, secret = self._state, self._files.draft_key(), self._secret(self._state)
            protocol = self.protocol
            names = checked_readers(readers or protocol.readers, secret.arms)
            if protocol.readers and set(names) != set(protocol.readers):
                raise StudyError(
                    f"The protocol names the readers {', '.join(protocol.readers)}, not {', '.join(names)}: "
                    "change it, or lock with its readers."
                )
            self._check_complete(state)
            self._check_planned(state, secret)
            methods: dict[str, str] = {}
            for scan in state.scans.values():
                methods.update(concealment.decrypt_movies(key, scan)["methods"])
            arm_order = list(secret.arms)
            # The schedule is reproducible from the seed alone; which arm is arm 0 of it must not be.
            secrets.SystemRandom().shuffle(arm_order)
            sealed = blinding.seal({"key": key.hex(), "arm_order": arm_order, "methods": methods}, passphrase)
            sealed_key_sha256 = self._files.write_sealed_key(sealed)
            payload = {
                "readers": list(names),
                "schedules": concealment.blinded_schedules(
                    names, secret.seed, state, protocol, methods, arm_order
                ),
                "sealed_key_sha256": sealed_key_sha256,
                "protocol": protocol.to_dict(),
                "protocol_sha256": protocol_sha256(protocol, secret),
                "labels": blinding.veil_labels(
                    sorted({method_label(arm) for arm in secret.arms}, key=str.casefold)
                ),
            }
            transaction.append("study_locked", payload, COORDINATOR)
        self._clean_up_after_lock()

    # Amending

    def amend(self, actor: str, reason: str, changes: Mapping[str, Any]) -> Amendment:
        """Change the protocol after the lock, on record; without changes, record a note.

        Arms, orders, seed, display and repeats cannot be amended, nor anything after unblinding.

        Args:
            actor: who amends.
            reason: why; stands in clear, so it must not name a method.
            changes: field of `protocol.AMENDABLE` to its new value.

        Raises:
            StudyError: when the study is not in its reading phase, actor or reason are empty or name a
                known method, or a field cannot be changed so.
        """
        actor = clear_text("name of who amends", actor, KNOWN_METHODS)
        reason = clear_text("reason of the amendment", reason, KNOWN_METHODS)
        self._permit("amend the protocol", "coordinator")
        with self._writing("reading", "amend the protocol") as transaction:
            _, told = amended(self.protocol, changes)
            event = transaction.append("protocol_amended", {"reason": reason, "changes": told}, actor)
        return next(item for item in self.amendments if item.sequence == event.sequence)

    # Measuring

    def load_movies(self, clip_id: str) -> MeasurementClip:
        """Load the movies of a clip for measurement, in their opaque order. Raises StudyError."""
        self._permit("measure", "coordinator", "physicist")
        scan = self._current().scan_of_clip(clip_id)
        movies, frame_times_s, spacing = self._files.load_movies(scan.clip_id, scan.movies)
        factors = blinding.arm_factors(movies, self.protocol.grey_scale)
        return MeasurementClip(
            clip_id=clip_id,
            movies=movies * factors[:, None, None, None],
            movie_ids=scan.clip.movie_ids,
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
        observer = person_name(observer)
        if not observer:
            raise StudyError("The measurement has no observer: enter a name.")
        self._permit("measure", "coordinator", "physicist")
        with self._writing("reading", "measure") as transaction:
            if self._state.clip(clip_id).practice:
                raise StudyError("The clip is a practice case, which is not measured: choose another.")
            payload = {
                "observer": observer,
                "clip_id": clip_id,
                "shapes": dict(shapes),
                "values": dict(values),
            }
            transaction.append("measurement_saved", payload, observer)

    # Unblinding and audit

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
        actor = person_name(actor)
        if not actor:
            raise StudyError("Unblinding is recorded with a name: say who unblinds.")
        self._permit("unblind", "coordinator")
        state = self._current()
        self._require(state, "reading", "unblind")
        self._refuse_while_missing(state, force)
        sealed = self._files.sealed_key(state.sealed_key_sha256)
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
            secret = concealment.decrypt_protocol(key, state)
            provenance: dict[str, Any] = {}
            for scan in state.scans.values():
                provenance.update(concealment.decrypt_movies(key, scan)["provenance"])
            payload = {
                "arms": list(secret.arms),
                "arm_order": opened["arm_order"],
                "seed": secret.seed,
                "planned_scans": [scan.to_dict() for scan in secret.scans],
                "methods": opened["methods"],
                "provenance": provenance,
                "scans": {scan.scan_id: concealment.decrypt_scan(key, scan) for scan in state.scans.values()},
                "forced": force,
                "missing": state.missing_rankings(),
            }
            transaction.append("study_unblinded", payload, actor)
        return dict(self.method_of)

    def verify(self, noted: Anchor | None = None) -> tuple[str, ...]:
        """Check the chain of the log, the movies' hashes, the sealed key and, once unblinded, the schedules.

        Args:
            noted: an earlier `head` that was kept outside the folder; the log must still contain it.

        Returns:
            Notes on what proves nothing but should be known: a clock set back, a second copy that is behind.

        Raises:
            StudyError: naming the events, or the first file, that are not as they were written.
        """
        notes = self._log.verify(noted)
        state = self._current()
        for scan in state.scans.values():
            if scan.movies:
                self._files.load_movies(scan.clip_id, scan.movies)
        if state.phase == "design":
            return notes
        if state.package is None:
            self._files.sealed_key(state.sealed_key_sha256)
        self._verify_responses(state)
        if state.revealed is not None:
            self._verify_revealed(state, state.revealed)
        return notes

    # Inside

    def _secret(self, state: StudyState) -> ProtocolSecret:
        self._permit("see what is blinded", "coordinator")
        if state.phase != "design":
            raise StudyError(
                "The study is blinded: its arms are known before the lock and after unblinding only."
            )
        return concealment.decrypt_protocol(self._files.draft_key(), state)

    def _revealed(self) -> Revealed:
        revealed = self._current().revealed
        if revealed is None:
            raise StudyError("The study is blinded: unblind it first.")
        return revealed

    def _scan(self, state: StudyState, scan: ScanState, key: bytes | None) -> Scan:
        private: Mapping[str, Any] = {}
        if key is not None:
            private = concealment.decrypt_scan(key, scan)
        elif state.revealed is not None:
            private = state.revealed.scans[scan.scan_id]
        return Scan(
            scan_id=scan.scan_id,
            subject=scan.subject,
            plane=scan.plane,
            sampling=scan.sampling,
            label=private.get("label"),
            raw_path=Path(private["raw_path"]) if private else None,
            raw_sha256=private.get("raw_sha256"),
            complete=bool(scan.movies),
            clip_id=scan.clip_id,
            practice=scan.practice,
        )

    def _scan_state(self, scan_id: str) -> ScanState:
        try:
            return self._state.scans[scan_id]
        except KeyError:
            raise StudyError(f"The study has no scan '{scan_id}'.") from None

    def _complete_clips(self) -> list[Clip]:
        return [scan.clip for scan in self._current().scans.values() if scan.movies]

    def _check_planned(self, state: StudyState, secret: ProtocolSecret) -> None:
        """Make sure that the scans are those that the protocol lists, if it lists any."""
        if not secret.scans:
            return
        present = [(scan.subject, scan.plane, scan.practice) for scan in state.scans.values()]
        missing, surplus = missing_scans(secret.scans, present)
        if missing or surplus:
            reasons = [
                f"{what}: {', '.join(names)}"
                for what, names in (("missing", missing), ("not planned", surplus))
                if names
            ]
            raise StudyError(
                f"The scans are not those that the protocol lists ({'; '.join(reasons)}): import or remove "
                "scans, or change the list."
            )

    def _check_complete(self, state: StudyState) -> None:
        if all(scan.practice for scan in state.scans.values()):
            raise StudyError("The study has no scans: import and reconstruct some before the lock.")
        incomplete = [scan.subject for scan in state.scans.values() if not scan.movies]
        if incomplete:
            raise StudyError(
                f"{len(incomplete)} of {len(state.scans)} scans have no movies yet (subjects "
                f"{', '.join(incomplete)}): "
                "reconstruct or remove them."
            )
        for scan in state.scans.values():
            self._files.load_movies(scan.clip_id, scan.movies)

    def _refuse_while_missing(self, state: StudyState, force: bool) -> None:
        missing = state.missing_rankings()
        if missing and not force:
            owed = ", ".join(f"{reader}: {count}" for reader, count in missing.items())
            raise StudyError(f"Rankings are missing ({owed}): finish the reading, or force the unblinding.")

    def _state_movie_ids(self) -> Iterator[str]:
        for scan in self._current().scans.values():
            yield from scan.movies

    def _clean_up_after_lock(self) -> None:
        self._files.clean_up_after_lock(self._state_movie_ids())

    def _verify_revealed(self, state: StudyState, revealed: Revealed) -> None:
        protocol = state.locked_protocol or self.protocol
        if protocol_sha256(protocol, revealed.secret) != state.protocol_sha256:
            raise StudyError("The protocol is not the one that was hashed at the lock.")
        concealment.check_schedules(state, protocol, revealed)
