"""What of a study is hidden from its readers: the encrypted parts of the log, and schedules that name no arm.

Rule: until unblinding, the arms, the seed, raw files, methods and provenance stand in the log only encrypted,
each part under its own context (so that no part can be put in another's place); and a schedule tells a panel
by its place in the clip's sorted movie ids, never by its arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studies import blinding
from studies.errors import StudyError
from studies.protocol import ProtocolSecret
from studies.schedule import reader_schedule
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


def blinded_schedules(
    readers: Sequence[str], seed: str, state: StudyState, methods: Mapping[str, str], arm_order: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Build every reader's schedule, panels told by place in the clip's sorted movie ids, never by arm.

    Args:
        readers: names in one spelling.
        seed: the study's seed.
        state: has the scans.
        methods: movie id to method.
        arm_order: the secret order of the arms on which the schedules are built.

    Returns:
        Reader to entries with presentation_id, clip_id and permutation, ready for the log.
    """
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
            permutation = [place_of[arm_order[arm]] for arm in presentation.permutation]
            entries.append(_entry(presentation.presentation_id, presentation.clip_id, permutation))
        schedules[reader] = entries
    return schedules


def check_schedules(state: StudyState, revealed: Revealed) -> None:
    """Build the schedules again and compare. Raises StudyError when one does not follow from the seed."""
    rebuilt = blinded_schedules(state.readers, revealed.seed, state, revealed.methods, revealed.arm_order)
    for reader, entries in rebuilt.items():
        recorded = [
            _entry(item.presentation_id, item.clip_id, item.permutation) for item in state.schedules[reader]
        ]
        if entries != recorded:
            raise StudyError(f"The schedule of '{reader}' does not follow from the seed of the study.")


def _entry(presentation_id: str, clip_id: str, permutation: Sequence[int]) -> dict[str, Any]:
    """One line of a schedule as it stands in the log."""
    return {"presentation_id": presentation_id, "clip_id": clip_id, "permutation": list(permutation)}
