"""What the coordinator is told to do next, and what the checklist before the lock says."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from app.study_snapshot import (
    Assessment,
    StudySnapshot,
    lock_checks,
    next_step,
    passphrase_strength,
    take_snapshot,
)
from studies.balance import planned_states
from studies.design import Design, template
from studies.protocol import PlannedScan
from studies.state import Scan
from studies.study import PAPER_ARMS, Study

SAMPLINGS = ("cartesian", "radial", "spiral")


def scans(subjects: int, *, complete: bool = True, practice: bool = False, start: int = 1) -> list[Scan]:
    return [
        Scan(
            scan_id=f"{number}{sampling}",
            subject=f"S{number}",
            plane="SAX",
            sampling=sampling,
            label=None,
            raw_path=Path(f"/raw/S{number}_{sampling}.h5"),
            raw_sha256=None,
            complete=complete,
            clip_id=f"{number}{sampling}",
            practice=practice,
        )
        for number in range(start, start + subjects)
        for sampling in SAMPLINGS
    ]


def snapshot(there: list[Scan], **changes: object) -> StudySnapshot:
    """A study before its lock, assessed as `take_snapshot` does."""
    planned = tuple(changes.pop("planned", ()))  # type: ignore[arg-type]
    design = replace(template(PAPER_ARMS).changed(changes), scans=planned)
    listed = replace(
        design,
        scans=tuple(
            PlannedScan(str(scan.raw_path), scan.subject, scan.plane, scan.sampling, practice=scan.practice)
            for scan in there
        ),
    )
    from app.study_snapshot import _assess

    return StudySnapshot(
        folder=Path("/study"),
        name=design.protocol.name,
        phase="design",
        protocol=design.protocol,
        sha256="",
        design=design,
        scans=tuple(there),
        assessment=_assess(design.protocol, design, planned_states(listed)),
        readers=(),
        amendments=(),
        sessions=(),
        head="1:" + "0" * 64,
        package=False,
        second_copy=None,
        warnings=(),
    )


def test_the_steps_follow_each_other() -> None:
    nobody: dict[str, object] = {"readers": []}
    two = {"readers": ["Ada", "Ben"]}
    found = [
        next_step(None),
        next_step(snapshot([])),
        next_step(snapshot(scans(3, complete=False), **nobody)),
        next_step(snapshot(scans(3), **nobody)),
        next_step(snapshot(scans(1), **two)),
        next_step(snapshot(scans(3), **two), "Name"),
        next_step(snapshot(scans(3), **two)),
    ]
    assert [step.name for step in found] == [
        "open", "scans", "reconstruct", "readers", "repeats", "correct", "lock",
    ]  # fmt: skip
    assert "9 of 9 scans without movies" in found[2].text
    assert "repeat" in found[4].text
    assert found[5].title == "correct “Name”"


def test_the_plan_is_held_against_the_scans() -> None:
    planned = [PlannedScan("a.h5", "S1", "SAX"), PlannedScan("b.h5", "S9", "4CH", practice=True)]
    missing = next_step(snapshot(scans(1)[:1], planned=planned, readers=["Ada"]))
    assert (missing.name, missing.text) == ("scans", "Planned and not there yet: S9 4CH (practice).")
    surplus = next_step(snapshot(scans(2)[:4], planned=planned[:1], readers=["Ada"]))
    assert surplus.name == "plan"
    assert "S1 SAX, S1 SAX, S2 SAX" in surplus.text
    checks = {check.text: check.state for check in lock_checks(snapshot(scans(2)[:4], planned=planned))}
    (text,) = [text for text in checks if "not those planned" in text]
    assert checks[text] == "missing"
    assert "missing S9 4CH (practice)" in text and "surplus S1 SAX" in text


def test_after_the_lock_the_steps_are_reading_and_unblinding(study_folder: Path) -> None:
    study = Study.open(study_folder)
    before = take_snapshot(study)
    assert (next_step(before).name, next_step(before).text[:14]) == ("read", "6 rankings to ")
    done = replace(before, readers=tuple(replace(row, done=row.total) for row in before.readers))
    assert next_step(done).name == "unblind"
    for reader in study.readers:
        while (presentation := study.next_presentation(reader)) is not None:
            study.commit_ranking(reader, presentation, [1, 2, 3], loops=1)
    ranked = next_step(take_snapshot(study))
    assert (ranked.name, ranked.title) == ("read", "guess, then unblind")
    assert "Reader One, Reader Two" in ranked.text
    for reader in study.readers:
        for presentation in study.guess_presentations(reader):
            study.record_guess(reader, presentation, [None, None, None])
    assert next_step(take_snapshot(study)) == next_step(done)
    assert next_step(replace(done, phase="unblinded")).name == "results"


def test_a_snapshot_of_a_locked_study_names_nothing(
    study_folder: Path, forbidden_words: tuple[str, ...]
) -> None:
    found = repr(take_snapshot(Study.open(study_folder))).lower()
    assert not [word for word in forbidden_words if word in found]
    assert "scan0" not in found  # a raw file
    assert hashlib.sha256(b"scan0").hexdigest() not in found


def states(found: StudySnapshot) -> dict[str, str]:
    return {check.text: check.state for check in lock_checks(found)}


def test_a_sound_study_passes_the_checklist() -> None:
    whole = scans(3) + scans(1, practice=True, start=9)
    assert states(snapshot(whole, readers=["Ada", "Ben"])) == {
        "12 scans, each with 3 movies": "good",
        "2 readers: Ada, Ben": "good",
        "Every method stands equally often in every place (± 1 in each group)": "good",
        "3 subjects, 3 scans each": "good",
        "4 clips shown twice, unmarked": "good",
    }


def test_what_is_missing_bars_the_lock() -> None:
    found = states(snapshot(scans(3)[:-1] + scans(1, complete=False, start=4)[:1], repeat_share=0.0))
    assert found["1 of 9 scans without movies"] == "missing"
    assert found["No reader is named"] == "missing"
    assert found["Subjects are not balanced: they have 1 to 3 scans each"] == "warning"
    assert found["The groups are of unlike size: from 2 to 4 clips"] == "warning"
    assert [state for text, state in found.items() if text.startswith(("No hidden", "No practice"))] == [
        "warning", "warning",
    ]  # fmt: skip
    assert states(snapshot([]))["There are no scans to rank"] == "missing"
    few = states(snapshot(scans(1), readers=["Ada"]))
    assert few["With one reader nothing tells how readers agree"] == "warning"
    assert [state for text, state in few.items() if "repeat" in text and "clips" in text][0] == "missing"


def test_uneven_places_and_following_subjects_are_warned_of() -> None:
    found = snapshot(scans(3), readers=["Ada"])
    (row,) = found.assessment.balance
    uneven = replace(row, largest_difference_in_a_stratum=3, same_subject_in_a_row=2)
    texts = states(replace(found, assessment=Assessment(found.assessment.strata, (uneven,), "")))
    assert [text for text, state in texts.items() if state == "warning" and "3 times more often" in text]
    assert texts["A subject follows itself 2 times in the order"] == "warning"


@pytest.mark.parametrize(
    ("passphrase", "strength"),
    [
        ("", 0),
        ("aaaaaaaaaaaa", 1),
        ("1234567890", 1),
        ("password", 1),
        ("no no no no no no", 1),
        ("horse lamp coffee", 2),
        ("correct horse battery staple", 3),
        ("x7Kq!9pLw2&m", 3),
    ],
)
def test_passphrases_are_judged(passphrase: str, strength: int) -> None:
    assert passphrase_strength(passphrase)[0] == strength


def test_planned_scans_are_balanced_before_any_is_there(tmp_path: Path) -> None:
    planned = tuple(
        PlannedScan(str(scan.raw_path), scan.subject, scan.plane, scan.sampling) for scan in scans(3)
    )
    design = replace(template(PAPER_ARMS).changed({"readers": ["Ada", "Ben"]}), scans=planned)
    study = Study.from_design(tmp_path / "study", Design.from_fields(design.to_fields()))
    found = take_snapshot(study)
    assert [row.reader for row in found.assessment.balance] == ["Ada", "Ben"]
    assert [(row.clips, row.subjects) for row in found.assessment.strata] == [(3, 3)] * 3
    assert next_step(found).name == "scans"
