"""The protocol: values checked, hash over all of it."""

from __future__ import annotations

import dataclasses

import pytest

from studies.errors import StudyError
from studies.protocol import Protocol, ProtocolSecret, protocol_sha256

PROTOCOL = Protocol(name="Heart", arm_count=3)
SECRET = ProtocolSecret(arms=("a", "b", "c"), seed="7")


def test_protocol_comes_back() -> None:
    """Through its dictionary, tuples included."""
    assert Protocol.from_dict(PROTOCOL.to_dict()) == PROTOCOL
    assert ProtocolSecret.from_dict(SECRET.to_dict()) == SECRET


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"arm_count": 1},
        {"arm_count": 7},
        {"grey_scale": "log"},
        {"alpha": 1.0},
        {"measurement_window_s": 0},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, object]) -> None:
    """Each by itself."""
    with pytest.raises(StudyError):
        dataclasses.replace(PROTOCOL, **change)


@pytest.mark.parametrize("fields", [{}, {**PROTOCOL.to_dict(), "unheard_of": 1}])
def test_unknown_protocol_asks_for_a_newer_program(fields: dict[str, object]) -> None:
    """A field too few or too many."""
    with pytest.raises(StudyError, match="newer blindcine"):
        Protocol.from_dict(fields)


def test_hash_is_of_everything() -> None:
    """Any change, open or secret, gives another hash."""
    hashes = {
        protocol_sha256(PROTOCOL, SECRET),
        protocol_sha256(dataclasses.replace(PROTOCOL, alpha=0.01), SECRET),
        protocol_sha256(PROTOCOL, dataclasses.replace(SECRET, seed="8")),
        protocol_sha256(PROTOCOL, dataclasses.replace(SECRET, arms=("a", "c", "b"))),
    }
    assert len(hashes) == 4
    assert protocol_sha256(PROTOCOL, SECRET) == protocol_sha256(
        Protocol.from_dict(PROTOCOL.to_dict()), SECRET
    )
