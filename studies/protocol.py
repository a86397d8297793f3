"""What is studied: endpoints, strata, level, display, repeats and breaks; frozen and hashed at the lock.

Rule: `Protocol` holds what everyone may read at any time. The names of the arms, the seed of the schedule and
the planned scans are `ProtocolSecret`: together they would let a reader work out who is who, so they stay
encrypted until unblinding. Fields that came after the first studies are left out of `to_dict` where they have
their default, so a study made before has the hash that it was locked with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from studies.blinding import GREY_SCALE_RULES
from studies.errors import StudyError
from studies.log import canonical_json

SAMPLINGS = ("cartesian", "radial", "spiral")
ENDPOINTS = ("rank", "snr_db", "edge_sharpness_per_mm", "edge_sharpness_sd_per_mm")
STRATA = ("plane", "sampling")
MINIMUM_ARMS = 2
MAXIMUM_ARMS = 6
SPEEDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Playback speeds that a protocol may ask for, relative to the true speed; the window offers these."""
RECOMMENDED = {"repeat_share": 0.2, "repeat_minimum": 4}
"""What a new protocol file has where `Protocol` has none, because older studies had none."""
AMENDABLE = (
    "endpoints",
    "alpha",
    "measurement_window_s",
    "speed",
    "must_view_loops",
    "break_minutes",
)
"""What an amendment may change after the lock: nothing that decides which reader sees what, where, or how."""
_LATER_FIELDS = (
    "repeat_share",
    "repeat_minimum",
    "crop_mm",
    "speed",
    "must_view_loops",
    "break_minutes",
    "readers",
    "guess_clips",
)


class FieldError(StudyError):
    """A field of the protocol with a value that it cannot have."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        """Name the field, its value and what was expected."""
        super().__init__(f"The protocol's field '{field}' is {value!r}; expected: {expected}.")
        self.field = field
        self.value = value
        self.expected = expected


@dataclass(frozen=True)
class Protocol:
    """The open part of a study's protocol.

    The defaults are those of a study without a protocol file: no repeats, the whole image.

    Raises:
        FieldError: when a value is outside its range.
    """

    name: str
    """The study's name; must not name an arm."""
    arm_count: int
    """How many reconstructions stand side by side, 2 to 6."""
    grey_scale: str = "least_squares"
    """The display rule common to all arms of a clip, one of `blinding.GREY_SCALE_RULES`."""
    endpoints: tuple[str, ...] = ENDPOINTS
    """What is analysed; the first is the primary endpoint."""
    strata: tuple[str, ...] = STRATA
    """Results are tabulated, and panel positions balanced, within each combination of these."""
    alpha: float = 0.05
    measurement_window_s: float = 1.5
    """Length over which means and standard deviations in time are taken (1.5 s in the paper)."""
    repeat_share: float = 0.0
    """Share of the clips that each reader sees twice without being told, 0 to 1."""
    repeat_minimum: int = 0
    """At least so many clips are repeated, where there are any repeats."""
    crop_mm: tuple[float, float] | None = None
    """Size `(y, x)` of the middle part that readers see of every clip; None shows the whole image."""
    speed: float = 1.0
    """Playback speed at the beginning, relative to the true speed; readers may change it."""
    must_view_loops: int = 1
    """Complete passes of the movies that a reader must have seen before a ranking is taken."""
    break_minutes: float = 30.0
    """After so long a reading without a pause the reader is asked to take one."""
    readers: tuple[str, ...] = ()
    """Who is to read; empty leaves it to the lock."""
    guess_clips: int = 6
    """Of so many clips each reader, having ranked everything, guesses which movie is which; 0: no guess."""

    def __post_init__(self) -> None:
        """Check the values."""
        self._expect("name", isinstance(self.name, str) and bool(self.name.strip()), "a name")
        self._expect(
            "arm_count",
            _whole(self.arm_count) and MINIMUM_ARMS <= self.arm_count <= MAXIMUM_ARMS,
            f"a study of {MINIMUM_ARMS} to {MAXIMUM_ARMS} arms",
        )
        self._expect("grey_scale", self.grey_scale in GREY_SCALE_RULES, _one_of(GREY_SCALE_RULES))
        self._expect(
            "endpoints",
            bool(self.endpoints) and _different(self.endpoints, ENDPOINTS),
            f"a list, primary endpoint first, of {', '.join(ENDPOINTS)}",
        )
        self._expect("strata", _different(self.strata, STRATA), f"a list of {', '.join(STRATA)}")
        self._expect("alpha", _number(self.alpha) and 0 < self.alpha < 1, "a number between 0 and 1")
        self._expect(
            "measurement_window_s",
            _number(self.measurement_window_s) and self.measurement_window_s > 0,
            "a positive number of seconds",
        )
        self._expect(
            "repeat_share",
            _number(self.repeat_share) and 0 <= self.repeat_share <= 1,
            "a number from 0 (no repeats) to 1 (all clips twice)",
        )
        self._expect(
            "repeat_minimum",
            _whole(self.repeat_minimum) and self.repeat_minimum >= 0,
            "a whole number from 0 on",
        )
        self._expect(
            "crop_mm",
            self.crop_mm is None
            or (len(self.crop_mm) == 2 and all(_number(side) and side > 0 for side in self.crop_mm)),
            "two lengths in mm, height and width, or null for the whole image",
        )
        self._expect(
            "speed",
            _number(self.speed) and self.speed in SPEEDS,
            f"one of {', '.join(f'{speed:g}' for speed in SPEEDS)}",
        )
        self._expect(
            "must_view_loops",
            _whole(self.must_view_loops) and self.must_view_loops >= 0,
            "a whole number from 0 on",
        )
        self._expect(
            "break_minutes",
            _number(self.break_minutes) and self.break_minutes > 0,
            "a positive number of minutes",
        )
        self._expect(
            "guess_clips",
            _whole(self.guess_clips) and self.guess_clips >= 0,
            "a whole number from 0 (no guess) on",
        )
        self._expect(
            "readers",
            all(isinstance(reader, str) and reader.strip() for reader in self.readers)
            and len({reader.casefold() for reader in self.readers}) == len(self.readers),
            "a list of names, each once",
        )

    def _expect(self, field: str, accepted: bool, expected: str) -> None:
        if not accepted:
            value = getattr(self, field)
            raise FieldError(field, list(value) if isinstance(value, tuple) else value, expected)

    def repeats(self, clips: int) -> int:
        """Return how many of so many clips are shown twice.

        ``max(repeat_minimum, ⌈repeat_share · clips⌉)``, at most all, none for a share of 0.
        """
        if self.repeat_share == 0:
            return 0
        # A product like 0.2 · 35 may lie a rounding above the whole number that is meant.
        return min(clips, max(self.repeat_minimum, math.ceil(round(self.repeat_share * clips, 9))))

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as JSON-ready values."""
        values = self.as_fields()
        defaults = {field.name: field.default for field in fields(self)}
        for name in _LATER_FIELDS:
            if getattr(self, name) == defaults[name]:
                del values[name]
        return values

    def as_fields(self) -> dict[str, Any]:
        """Return every field as a JSON-ready value."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Protocol:
        """Rebuild a protocol from `to_dict`. Raises StudyError for unknown or missing fields."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        try:
            # Every study has written these two, so a protocol without them is not whole.
            return cls(endpoints=given.pop("endpoints"), strata=given.pop("strata"), **given)
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"The study's protocol cannot be read ({error}): open it with a newer blindcine."
            ) from error


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _different(values: Sequence[str], known: Sequence[str]) -> bool:
    return set(values) <= set(known) and len(set(values)) == len(values)


def _one_of(words: Sequence[str]) -> str:
    return f"one of {', '.join(words)}"


@dataclass(frozen=True)
class PlannedScan:
    """A scan that the protocol file lists."""

    file: str
    """The raw-data file, as the list has it: relative to the list, or absolute."""
    subject: str
    plane: str
    sampling: str = ""
    """Empty where only the file knows it."""
    label: str = ""
    practice: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are not empty, `file`, `subject` and `plane` in any case."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value or name in ("file", "subject", "plane")
        }


@dataclass(frozen=True)
class ProtocolSecret:
    """What would unblind a reader: the arms' names in the order given, the seed, the planned scans."""

    arms: tuple[str, ...]
    seed: str
    scans: tuple[PlannedScan, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the secret as JSON-ready values."""
        values: dict[str, Any] = {"arms": list(self.arms), "seed": self.seed}
        if self.scans:
            values["scans"] = [scan.to_dict() for scan in self.scans]
        return values

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ProtocolSecret:
        """Rebuild a secret from `to_dict`."""
        scans = tuple(PlannedScan(**scan) for scan in fields.get("scans", ()))
        return cls(arms=tuple(fields["arms"]), seed=str(fields["seed"]), scans=scans)


def protocol_sha256(protocol: Protocol, secret: ProtocolSecret) -> str:
    """Return the SHA-256 of the whole protocol, written into the event that locks the study."""
    document = {"protocol": protocol.to_dict(), "secret": secret.to_dict()}
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


@dataclass(frozen=True)
class Amendment:
    """A change of the protocol after the lock, as recorded."""

    sequence: int
    """Number of the event in the log."""
    time_utc: str
    actor: str
    reason: str
    changes: dict[str, tuple[Any, Any]]
    """Field to its value before and after; empty for a note."""

    def __str__(self) -> str:
        """Return who, what and why in one line."""
        what = ", ".join(f"{field} {old!r} → {new!r}" for field, (old, new) in self.changes.items())
        return f"{self.time_utc[:16].replace('T', ' ')} by {self.actor}: {what or 'note'} ({self.reason})"


def amended(protocol: Protocol, changes: Mapping[str, Any]) -> tuple[Protocol, dict[str, list[Any]]]:
    """Return the protocol with changes made, and what an event has to tell: field to [before, after].

    Raises:
        StudyError: when a field is not among `AMENDABLE`, has its value already, or cannot have it.
    """
    values = protocol.as_fields()
    told: dict[str, list[Any]] = {}
    for field, value in changes.items():
        if field not in AMENDABLE:
            raise StudyError(
                f"'{field}' cannot be changed after the lock: an amendment changes only "
                f"{', '.join(AMENDABLE)}."
            )
        new = list(value) if isinstance(value, tuple) else value
        if new == values[field]:
            raise StudyError(f"The protocol's field '{field}' is {new!r} already: nothing to amend.")
        told[field] = [values[field], new]
        values[field] = new
    return Protocol.from_dict(values), told
