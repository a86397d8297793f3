"""What the replay of a log refuses: gaps, events it does not know, unfinished and forged studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies import blinding, concealment
from studies.errors import StudyError
from studies.events import Event, canonical_json, event_hash
from studies.folder import StudyFolder
from studies.state import SCHEMA, StudyState
from studies.study import Study

PASSPHRASE = "four horses and a lamp"
StudyMaker = Callable[..., Study]
TIME = "2026-11-22T10:00:00.000000Z"


def event_after(state: StudyState, kind: str, payload: Mapping[str, Any]) -> Event:
    """An event that follows a state, with its hash as the log computes it."""
    number, before = state.sequence + 1, state.head_hash
    digest = event_hash(number, TIME, kind, "Ada", canonical_json(payload), before)
    return Event(number, TIME, kind, "Ada", dict(payload), before, digest)


@pytest.fixture
def design(make_study: StudyMaker) -> StudyState:
    """The state of a study of one scan, replayed from its events."""
    state = StudyState()
    for event in make_study(scans=1).events:
        state.apply(event)
    return state


@pytest.mark.parametrize("change", [{"sequence": 1}, {"sequence": 99}, {"previous_hash": "0" * 64}])
def test_events_follow_one_another(design: StudyState, change: dict[str, Any]) -> None:
    """A number left out or given twice, and the hash of another event, are named; nothing is taken in."""
    event = event_after(design, "break_prompted", {"reader": "Ben", "taken": True, "minutes": 3.0})
    with pytest.raises(StudyError, match=f"does not follow event {design.sequence}: the log was changed"):
        design.apply(replace(event, **change))
    assert design.breaks == []
    design.apply(event)
    assert [item.reader for item in design.breaks] == ["Ben"]


def test_events_of_a_newer_program_are_not_skipped(design: StudyState) -> None:
    head = design.head_hash
    with pytest.raises(StudyError, match="unknown kind 'study_archived': open the study with a newer"):
        design.apply(event_after(design, "study_archived", {}))
    assert design.head_hash == head


def test_a_study_of_another_schema_is_refused() -> None:
    with pytest.raises(StudyError, match=f"schema {SCHEMA + 1}, this program knows {SCHEMA}: use a newer"):
        StudyState().apply(event_after(StudyState(), "study_created", {"schema": SCHEMA + 1}))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("study_created", {}),
        ("movies_attached", {"scan_id": "nowhere", "movies": {}, "private": ""}),
        ("protocol_amended", {"reason": "late", "changes": {}}),
        ("measurement_saved", {"observer": "Paul"}),
    ],
)
def test_events_that_lack_something_are_named(kind: str, payload: dict[str, Any]) -> None:
    """Also an amendment of a protocol that nobody has set."""
    with pytest.raises(StudyError, match=rf"Event 1 \({kind}\) lacks something or is malformed"):
        StudyState().apply(event_after(StudyState(), kind, payload))


def test_a_package_is_opened_once_and_first(design: StudyState) -> None:
    with pytest.raises(StudyError, match="malformed.*a package begins with its first event"):
        design.apply(event_after(design, "package_opened", {"manifest": {}}))
    assert design.package is None


def test_a_clip_that_is_not_there(make_study: StudyMaker) -> None:
    study = make_study(scans=1, readers=["Ben"])
    with pytest.raises(StudyError, match="no clip 'c0ffee'"):
        study.load_movies("c0ffee")
    with pytest.raises(StudyError, match="no clip 'c0ffee'"):
        study.save_measurement("Paul", "c0ffee", {}, {})


def test_a_study_whose_making_was_cut_off_says_what_to_do(tmp_path: Path, quick_seal: None) -> None:
    """As after a power cut between the empty log and its first event."""
    StudyFolder.create(tmp_path / "st", blinding.new_key()).create_log()
    with pytest.raises(StudyError, match="never finished being made: delete the folder, make it anew"):
        Study.open(tmp_path / "st")


def test_who_measures_and_who_unblinds_has_a_name(make_study: StudyMaker) -> None:
    study = make_study(scans=1, readers=["Ben"])
    with pytest.raises(StudyError, match="no observer: enter a name"):
        study.save_measurement(" \t", study.clips[0].clip_id, {}, {})
    with pytest.raises(StudyError, match="say who unblinds"):
        study.unblind(PASSPHRASE, "", force=True)
    assert study.measurements == [] and study.phase == "reading"


def test_a_design_with_scans_to_come_is_sound(make_study: StudyMaker) -> None:
    """Nothing is there to check of a scan without movies; a movie that is gone is still found."""
    study = make_study(scans=1)
    study.import_scan("/x/late.h5", raw_sha256="c" * 64, subject="P8", plane="SAX", sampling="spiral")
    assert study.verify() == ()
    next((study.folder / "movies").iterdir()).unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        study.verify()


def test_unblinding_with_another_seed_is_found(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that was tampered with writes a sound chain, but not the seed that was hashed at the lock."""
    study = make_study(scans=2, readers=["Ben"], seed=5)
    truly = concealment.decrypt_protocol
    monkeypatch.setattr(
        concealment, "decrypt_protocol", lambda key, state: replace(truly(key, state), seed="6")
    )
    study.unblind(PASSPHRASE, "Ada", force=True)
    monkeypatch.undo()
    with pytest.raises(StudyError, match="not the one that was hashed at the lock"):
        Study.open(study.folder).verify()


def test_unblinding_with_swapped_methods_is_found(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule was built on a secret order of the methods; with another one it comes out differently."""
    study = make_study(scans=2, readers=["Ben"])
    truly = blinding.unseal

    def swapped(content: bytes, passphrase: str) -> dict[str, Any]:
        opened = truly(content, passphrase)
        first, second, *others = opened["arm_order"]
        return {**opened, "arm_order": [second, first, *others]}

    monkeypatch.setattr(blinding, "unseal", swapped)
    study.unblind(PASSPHRASE, "Ada", force=True)
    monkeypatch.undo()
    with pytest.raises(StudyError, match="schedule of 'Ben' does not follow from the seed"):
        Study.open(study.folder).verify()
