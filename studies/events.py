"""Events and the chain of hashes that ties them together, apart from where they are kept.

Rule: hash(n) = SHA-256(canonical JSON of [n, time, kind, actor, payload, hash(n − 1)]), hash(0) = 64 zeros,
the payload as its canonical JSON text.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from studies.errors import StudyError

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

GENESIS_HASH = "0" * 64
_FLOAT_TAG = "$float"


@dataclass(frozen=True)
class Event:
    """One line of the log."""

    sequence: int
    """From 1, without gaps."""
    time_utc: str
    """ISO 8601 with microseconds and Z."""
    kind: str
    actor: str
    payload: dict[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class Entry:
    """An event as it is stored, its payload still text; may have been tampered with."""

    sequence: int
    time_utc: str
    kind: str
    actor: str
    payload: str
    previous_hash: str
    hash: str

    @property
    def event(self) -> Event:
        """The event with its payload read. Raises StudyError when that is not JSON."""
        try:
            payload = parse_json(self.payload)
        except ValueError as error:
            raise StudyError(
                f"Event {self.sequence} of the log is not readable: it was changed or damaged."
            ) from error
        return Event(
            self.sequence, self.time_utc, self.kind, self.actor, payload, self.previous_hash, self.hash
        )

    def hash_as(self, sequence: int) -> str:
        """Return the hash that this content would have under the number `sequence`."""
        return event_hash(sequence, self.time_utc, self.kind, self.actor, self.payload, self.previous_hash)


@dataclass(frozen=True)
class Anchor:
    """Number and hash of an event; as text `42:6f…`, to be noted outside the study's folder."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        """Return the text to note."""
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read an anchor from its text. Raises StudyError."""
        number, _, digest = text.strip().partition(":")
        if not number.isdigit() or len(digest) != len(GENESIS_HASH):
            raise StudyError(f"'{text}' is no anchor: it must look like 42:6f… with 64 hexadecimal digits.")
        return cls(int(number), digest.lower())


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII; the same on every platform.

    NumPy numbers and arrays become numbers and lists. Infinities and NaN, which JSON lacks, are tagged;
    `parse_json` brings them back.

    Raises:
        StudyError: when the value holds something that JSON cannot.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_json(text: str) -> Any:  # noqa: ANN401 - what a JSON text holds is known to the caller only
    """Read what `canonical_json` wrote. Raises ValueError when it is not JSON."""
    return json.loads(text, object_hook=_untagged)


def event_hash(sequence: int, time_utc: str, kind: str, actor: str, payload: str, previous_hash: str) -> str:
    """Return the hash of an event whose payload is the text `payload`."""
    document = canonical_json([sequence, time_utc, kind, actor, payload, previous_hash])
    return hashlib.sha256(document.encode()).hexdigest()


def _plain(value: object) -> Json:
    """Return the value in dictionaries, lists, strings, numbers, booleans and None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise StudyError("A table to be stored has a key that is no text: use text keys.")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: repr(value)}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise StudyError(
        f"A value of type {type(value).__name__} cannot be stored in the log: use text, numbers and lists."
    )


def _untagged(table: dict[str, Any]) -> dict[str, Any] | float:
    return float(table[_FLOAT_TAG]) if table.keys() == {_FLOAT_TAG} else table
