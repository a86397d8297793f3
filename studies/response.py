"""The response to a reader package: a reader's whole chain of events, signed, in one small file.

Rule: the file is canonical JSON; the signature is Ed25519, by the key that came with the package, over the
canonical JSON of everything else in it. The events are chained by their hashes as in every log, so a change
is found twice and named by its event. What this cannot tell: whoever holds a package holds its key, and could
write any response with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from studies import storage
from studies.errors import StudyError
from studies.events import GENESIS_HASH, Event, canonical_json, event_hash, parse_json

FORMAT = "blindcine-response-1"
SUFFIX = ".blindcine-response"
MAXIMUM_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Response:
    """What a reader did with a package, from its opening on."""

    study_id: str
    package_id: str
    copy_id: str
    reader: str
    events: tuple[Event, ...]
    signature: str = ""
    """Hexadecimal; empty before signing."""

    def signed(self, key: Ed25519PrivateKey) -> Response:
        """Return the response with its signature."""
        return Response(**{**vars(self), "signature": key.sign(self._message()).hex()})

    def _document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "study_id": self.study_id,
            "package_id": self.package_id,
            "copy_id": self.copy_id,
            "reader": self.reader,
            "length": len(self.events),
            "events": [asdict(event) for event in self.events],
        }

    def _message(self) -> bytes:
        return canonical_json(self._document()).encode()

    def save(self, path: Path) -> None:
        """Write the file, durable on return. Raises StudyError."""
        content = canonical_json({**self._document(), "signature": self.signature}).encode()
        try:
            storage.write_durably(path, content)
        except OSError as error:
            raise StudyError(f"The response '{path}' cannot be written: {error.strerror}.") from error

    @classmethod
    def parse(cls, content: bytes, name: str) -> Response:
        """Read a file's content. Raises StudyError when it is no response, is cut short or malformed."""
        try:
            fields = parse_json(content.decode())
            found = fields["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StudyError(
                f"'{name}' is no response of a reader, or it was cut short or damaged."
            ) from error
        if found != FORMAT:
            raise StudyError(
                f"'{name}' is a response of the kind '{found}': merge it with a newer blindcine."
            )
        try:
            events = tuple(Event(**event) for event in fields["events"])
            length = fields["length"]
            words = [fields[word] for word in ("study_id", "package_id", "copy_id", "reader", "signature")]
            malformed = not all(isinstance(word, str) for word in words) or any(
                not isinstance(event.payload, dict) or not isinstance(event.time_utc, str) for event in events
            )
        except (KeyError, TypeError) as error:
            raise StudyError(f"The response '{name}' is malformed: {error}.") from error
        if malformed or not events:
            raise StudyError(f"The response '{name}' is malformed: ask its reader to save it again.")
        if length != len(events):
            raise StudyError(
                f"The response '{name}' was cut: it holds {len(events)} of {length} events; ask its reader "
                "to save it again."
            )
        study_id, package_id, copy_id, reader, signature = words
        return cls(study_id, package_id, copy_id, reader, events, signature)

    def check_chain(self) -> None:
        """Check order, hashes and times of the events. Raises StudyError naming the first bad one."""
        previous_hash = GENESIS_HASH
        for number, event in enumerate(self.events, start=1):
            if event.sequence != number:
                raise StudyError(
                    f"Event {number} of the response of '{self.reader}' is missing: event {event.sequence} "
                    "stands in its place."
                )
            if event.previous_hash != previous_hash:
                raise StudyError(
                    f"Event {number} of the response of '{self.reader}' does not follow event {number - 1}: "
                    "one of them was changed."
                )
            digest = event_hash(
                number, event.time_utc, event.kind, event.actor, canonical_json(event.payload), previous_hash
            )
            if event.hash != digest:
                raise StudyError(
                    f"Event {number} of the response of '{self.reader}' ({event.kind}) was changed after it "
                    "was written."
                )
            if _time(event) is None:
                raise StudyError(
                    f"Event {number} of the response of '{self.reader}' has the time '{event.time_utc}', "
                    "which is none in UTC."
                )
            previous_hash = event.hash

    def check_signature(self, public_key: str) -> None:
        """Raise StudyError unless the response was signed with the key of its package."""
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
            key.verify(bytes.fromhex(self.signature), self._message())
        except (InvalidSignature, ValueError) as error:
            raise StudyError(
                f"The signature of the response of '{self.reader}' is not that of the package: it was "
                "changed after it was saved, or was made without the package."
            ) from error


def times_set_back(events: Sequence[Event]) -> int:
    """Return how often the clock went back from one event to the next; reading is not refused for that."""
    times = [time for event in events if (time := _time(event)) is not None]
    return sum(later < earlier for earlier, later in pairwise(times))


def _time(event: Event) -> datetime | None:
    try:
        time = datetime.fromisoformat(event.time_utc)
    except ValueError:
        return None
    return time if event.time_utc.endswith("Z") else None
