"""What of a study is hidden from its readers: the encrypted parts of the log, and schedules that name no arm.

Rule: until unblinding, the arms, the seed, raw files, methods and provenance stand in the log only encrypted,
each part under its own context (so that no part can be put in another's place); and a schedule tells a panel
by its place in the clip's sorted movie ids, never by its arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studies import blinding
from studies.errors import StudyError
from studies.protocol import Protocol, ProtocolSecret
from studies.schedule import Presentation, reader_schedule
from studies.state import Revealed, ScanState, StudyState


def encrypt_protocol(key: bytes, secret: ProtocolSecret) -> str:
    """Encrypt arms and seed."""
    return blinding.encrypt(key, secret.to_dict(), context="study")


def decrypt_protocol(key: bytes, state: StudyState) -> ProtocolSecret:
    """Decrypt arms and seed. Raises StudyError for another key."""
    return ProtocolSecret.from_dict(blinding.decrypt(key, state.private, context="study"))


def encrypt_scan(key: bytes, scan_id: str, private: Mapping[str, Any]) -> str:
    """Encrypt raw_path, raw_sha256 and label of a scan."""
    return blinding.encrypt(key, private, context=f"scan {scan_id}")


def decrypt_scan(key: bytes, scan: ScanState) -> dict[str, Any]:
    """Decrypt raw_path, raw_sha256 and label of a scan. Raises StudyError for another key."""
    return blinding.decrypt(key, scan.private, context=f"scan {scan.scan_id}")


def encrypt_movies(key: bytes, scan_id: str, private: Mapping[str, Any]) -> str:
    """Encrypt methods and provenance of a scan's movies."""
    return blinding.encrypt(key, private, context=f"movies {scan_id}")


def decrypt_movies(key: bytes, scan: ScanState) -> dict[str, Any]:
    """Decrypt methods and provenance of a scan's movies. Raises StudyError for another key."""
    return blinding.decrypt(key, scan.movies_private, context=f"movies {scan.scan_id}")


def arm_schedules(
    readers: Sequence[str], seed: str, scans: Sequence[ScanState], protocol: Protocol
) -> dict[str, list[Presentation]]:
    """Build every reader's schedule in terms of arms by number, in the secret order of the lock.

    Args:
        readers: names in one spelling.
        seed: the study's seed.
        scans: in the order of import.
        protocol: number of arms, strata and repeats.

    Raises:
        StudyError: when there are too few clips for the repeats.
    """
    clips = [scan for scan in scans if not scan.practice]
    return {
        reader: reader_schedule(
            seed,
            reader,
            [(scan.clip_id, scan.subject) for scan in clips],
            protocol.arm_count,
            strata=[scan.stratum(protocol.strata) for scan in clips],
            repeats=protocol.repeats(len(clips)),
            practice=[(scan.clip_id, scan.subject) for scan in scans if scan.practice],
        )
        for reader in readers
    }


def blinded_schedules(
    readers: Sequence[str],
    seed: str,
    state: StudyState,
    protocol: Protocol,
    methods: Mapping[str, str],
    arm_order: Sequence[str],
) -> dict[str, list[dict[str, Any]]]:
    """Build every reader's schedule, panels told by place in the clip's sorted movie ids, never by arm.

    Args:
        readers: names in one spelling.
        seed: the study's seed.
        state: has the scans.
        protocol: as it was at the lock.
        methods: movie id to method.
        arm_order: the secret order of the arms on which the schedules are built.

    Returns:
        Reader to entries with presentation_id, clip_id, permutation and kind, ready for the log.
    """
    scans = {scan.clip_id: scan for scan in state.scans.values()}
    schedules: dict[str, list[dict[str, Any]]] = {}
    for reader, presentations in arm_schedules(readers, seed, list(scans.values()), protocol).items():
        entries = []
        for presentation in presentations:
            place_of = {
                methods[movie_id]: place for place, movie_id in enumerate(scans[presentation.clip_id].movies)
            }
            permutation = [place_of[arm_order[arm]] for arm in presentation.permutation]
            entries.append(_entry(replace(presentation, permutation=tuple(permutation))))
        schedules[reader] = entries
    return schedules


def check_schedules(state: StudyState, protocol: Protocol, revealed: Revealed) -> None:
    """Build the schedules again and compare. Raises StudyError when one does not follow from the seed."""
    rebuilt = blinded_schedules(
        state.readers, revealed.seed, state, protocol, revealed.methods, revealed.arm_order
    )
    for reader, entries in rebuilt.items():
        if entries != schedule_entries(state.schedules[reader]):
            raise StudyError(f"The schedule of '{reader}' does not follow from the seed of the study.")


def schedule_entries(presentations: Sequence[Presentation]) -> list[dict[str, Any]]:
    """Return a schedule as it stands in the log."""
    return [_entry(presentation) for presentation in presentations]


def _entry(presentation: Presentation) -> dict[str, Any]:
    """One line of a schedule as it stands in the log."""
    entry: dict[str, Any] = {
        "presentation_id": presentation.presentation_id,
        "clip_id": presentation.clip_id,
        "permutation": list(presentation.permutation),
    }
    # Left out for a first reading, as it was before there were other kinds.
    return entry if presentation.kind == "reading" else {**entry, "kind": presentation.kind}
