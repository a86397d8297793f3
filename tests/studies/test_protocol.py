"""The protocol: values checked, hash over all of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from studies.errors import StudyError
from studies.log import canonical_json
from studies.protocol import (
    AMENDABLE,
    FieldError,
    PlannedScan,
    Protocol,
    ProtocolSecret,
    amended,
    protocol_sha256,
)

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


def test_protocol_of_an_older_study_keeps_its_form_and_hash() -> None:
    """The fields that studies had before repeats came, and the digest of that text."""
    old = (
        '{"protocol":{"alpha":0.05,"arm_count":3,"endpoints":["rank","snr_db","edge_sharpness_per_mm",'
        '"edge_sharpness_sd_per_mm"],"grey_scale":"least_squares","measurement_window_s":1.5,"name":"Heart",'
        '"strata":["plane","sampling"]},"secret":{"arms":["a","b","c"],"seed":"7"}}'
    )
    assert canonical_json({"protocol": PROTOCOL.to_dict(), "secret": SECRET.to_dict()}) == old
    assert protocol_sha256(PROTOCOL, SECRET) == hashlib.sha256(old.encode()).hexdigest()


LATER = {
    "repeat_share": 0.25,
    "repeat_minimum": 4,
    "crop_mm": (120.0, 150.5),
    "speed": 0.5,
    "must_view_loops": 2,
    "break_minutes": 20.0,
    "readers": ("Anna", "Ben"),
}


def test_every_later_field_comes_back_and_changes_the_hash() -> None:
    """Each alone, through JSON."""
    seen = {protocol_sha256(PROTOCOL, SECRET)}
    for field, value in LATER.items():
        changed = dataclasses.replace(PROTOCOL, **{field: value})
        assert Protocol.from_dict(json.loads(canonical_json(changed.to_dict()))) == changed
        seen.add(protocol_sha256(changed, SECRET))
    planned = dataclasses.replace(
        SECRET, scans=(PlannedScan("a.h5", "P1", "SAX"), PlannedScan("b.h5", "P2", "SAX", practice=True))
    )
    assert ProtocolSecret.from_dict(json.loads(canonical_json(planned.to_dict()))) == planned
    seen.add(protocol_sha256(PROTOCOL, planned))
    assert len(seen) == len(LATER) + 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5),
        ("arm_count", True),
        ("endpoints", ()),
        ("endpoints", ("rank", "rank")),
        ("strata", ("colour",)),
        ("alpha", "0.05"),
        ("alpha", float("nan")),
        ("repeat_share", 1.01),
        ("repeat_share", True),
        ("repeat_minimum", -1),
        ("repeat_minimum", 1.5),
        ("crop_mm", (100.0,)),
        ("crop_mm", (100.0, 0.0)),
        ("speed", 3.0),
        ("must_view_loops", -1),
        ("break_minutes", 0),
        ("readers", ("Anna", "anna")),
        ("readers", ("",)),
    ],
)
def test_an_unacceptable_field_is_named_with_its_value(field: str, value: object) -> None:
    """In the sentence and as attributes."""
    with pytest.raises(FieldError, match=f"'{field}'") as caught:
        dataclasses.replace(PROTOCOL, **{field: value})
    assert caught.value.field == field
    assert repr(list(value) if isinstance(value, tuple) else value) in str(caught.value)


@pytest.mark.parametrize(
    ("share", "minimum", "clips", "expected"),
    [
        (0, 4, 24, 0),
        (0.2, 4, 24, 5),
        (0.2, 4, 10, 4),
        (0.2, 4, 3, 3),
        (0.2, 0, 35, 7),
        (1, 0, 9, 9),
        (0.2, 0, 0, 0),
    ],
)
def test_number_of_repeats(share: float, minimum: int, clips: int, expected: int) -> None:
    """20 % of 24 rounded up, at least the minimum, at most all; 0.2 · 35 is 7, not 7.000…01."""
    protocol = dataclasses.replace(PROTOCOL, repeat_share=share, repeat_minimum=minimum)
    assert protocol.repeats(clips) == expected


def test_amendments_change_only_what_no_order_depends_on() -> None:
    """Values before and after; frozen, unknown, equal and impossible ones are refused."""
    changed, told = amended(PROTOCOL, {"alpha": 0.01, "endpoints": ("rank",)})
    assert (changed.alpha, changed.endpoints) == (0.01, ("rank",))
    assert told == {"alpha": [0.05, 0.01], "endpoints": [list(PROTOCOL.endpoints), ["rank"]]}
    assert amended(PROTOCOL, {}) == (PROTOCOL, {})
    frozen = {field.name for field in dataclasses.fields(Protocol)} - set(AMENDABLE)
    assert frozen >= {
        "arm_count",
        "strata",
        "repeat_share",
        "repeat_minimum",
        "readers",
        "grey_scale",
        "crop_mm",
    }
    for field in (*sorted(frozen), "seed", "arms"):
        with pytest.raises(StudyError, match="after the lock"):
            amended(PROTOCOL, {field: 1})
    with pytest.raises(StudyError, match="already"):
        amended(PROTOCOL, {"alpha": 0.05})
    with pytest.raises(FieldError, match="alpha"):
        amended(PROTOCOL, {"alpha": 2})
