"""What is studied: endpoints, strata, significance level, grey-scale rule; frozen and hashed at the lock.

Rule: `Protocol` holds what everyone may read at any time. The names of the arms and the seed of the schedule
are `ProtocolSecret`: together they would let a reader work out who is who, so they stay encrypted until
unblinding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from studies.blinding import GREY_SCALE_RULES
from studies.errors import StudyError
from studies.log import canonical_json

SAMPLINGS = ("cartesian", "radial", "spiral")
ENDPOINTS = ("rank", "snr_db", "edge_sharpness_per_mm", "edge_sharpness_sd_per_mm")
STRATA = ("plane", "sampling")
MINIMUM_ARMS = 2
MAXIMUM_ARMS = 6


@dataclass(frozen=True)
class Protocol:
    """The open part of a study's protocol.

    Raises:
        StudyError: when a value is outside its range.
    """

    name: str
    """The study's name; must not name an arm."""
    arm_count: int
    """How many reconstructions stand side by side, 2 to 6."""
    grey_scale: str = "least_squares"
    """The display rule common to all arms of a clip, one of `blinding.GREY_SCALE_RULES`."""
    endpoints: tuple[str, ...] = ENDPOINTS
    strata: tuple[str, ...] = STRATA
    """Results are tabulated, and panel positions balanced, within each combination of these."""
    alpha: float = 0.05
    measurement_window_s: float = 1.5
    """Length over which means and standard deviations in time are taken (1.5 s in the paper)."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.name.strip():
            raise StudyError("The study needs a name: give it one.")
        if not MINIMUM_ARMS <= self.arm_count <= MAXIMUM_ARMS:
            raise StudyError(
                f"A study compares {MINIMUM_ARMS} to {MAXIMUM_ARMS} arms, not {self.arm_count}: change the "
                "list of arms."
            )
        if self.grey_scale not in GREY_SCALE_RULES:
            raise StudyError(
                f"The grey-scale rule '{self.grey_scale}' is unknown: choose one of "
                f"{', '.join(GREY_SCALE_RULES)}."
            )
        if not 0 < self.alpha < 1:
            raise StudyError(f"The significance level is {self.alpha}, but it must lie between 0 and 1.")
        if not 0 < self.measurement_window_s < float("inf"):
            raise StudyError(
                f"The measurement window is {self.measurement_window_s} s, but it must be a positive "
                "length of time."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as JSON-ready values."""
        fields = asdict(self)
        fields["endpoints"] = list(self.endpoints)
        fields["strata"] = list(self.strata)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Protocol:
        """Rebuild a protocol from `to_dict`. Raises StudyError for unknown or missing fields."""
        values = dict(fields)
        try:
            values["endpoints"] = tuple(values["endpoints"])
            values["strata"] = tuple(values["strata"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"The study's protocol cannot be read ({error}): open it with a newer blindcine."
            ) from error


@dataclass(frozen=True)
class ProtocolSecret:
    """What would unblind a reader: the arms' names in the order given, and the schedule's seed."""

    arms: tuple[str, ...]
    seed: str

    def to_dict(self) -> dict[str, Any]:
        """Return the secret as JSON-ready values."""
        return {"arms": list(self.arms), "seed": self.seed}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ProtocolSecret:
        """Rebuild a secret from `to_dict`."""
        return cls(arms=tuple(fields["arms"]), seed=str(fields["seed"]))


def protocol_sha256(protocol: Protocol, secret: ProtocolSecret) -> str:
    """Return the SHA-256 of the whole protocol, written into the event that locks the study."""
    document = {"protocol": protocol.to_dict(), "secret": secret.to_dict()}
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()
