"""Balance tables: counted from schedules made by hand and from designs."""

from __future__ import annotations

import pytest

from studies.balance import Stratum, balance, planned_states, reader_balance, strata_of
from studies.design import Design, template
from studies.errors import StudyError
from studies.schedule import Presentation
from studies.state import ScanState


def scan(clip_id: str, subject: str, plane: str = "SAX", *, practice: bool = False) -> ScanState:
    return ScanState(clip_id, clip_id, subject, plane, "radial", "", practice)


def test_a_schedule_made_by_hand_is_counted() -> None:
    """Two arms, four clips, one repeat, one practice case: every number by eye."""
    scans = [
        scan("p", "A", practice=True),
        scan("a", "A"),
        scan("b", "B"),
        scan("c", "B", "4CH"),
        scan("d", "D"),
    ]
    shown = [
        Presentation(0, "0", "p", (1, 0), "practice"),
        Presentation(1, "1", "a", (0, 1)),
        Presentation(2, "2", "b", (0, 1)),
        Presentation(3, "3", "c", (1, 0)),
        Presentation(4, "4", "d", (0, 1)),
        Presentation(5, "5", "a", (1, 0), "repeat"),
    ]
    found = reader_balance("Anna", shown, scans, 2, ("plane",))
    assert found.counts == ((3, 1), (1, 3))
    assert found.largest_difference_in_a_stratum == 3
    assert (found.practice, found.readings, found.repeats, found.least_gap) == (1, 4, 1, 4)
    assert found.same_subject_in_a_row == 1, "b and c; the practice case of A before a does not count"
    assert found.to_dict()["counts"] == [[3, 1], [1, 3]]


def test_strata_count_clips_and_subjects() -> None:
    """Practice cases are in no stratum; without strata there is one."""
    scans = [scan("a", "P1"), scan("b", "P1"), scan("c", "P2", "4CH"), scan("d", "P3", practice=True)]
    assert strata_of(scans, ("plane", "sampling")) == [
        Stratum("SAX/radial", 2, 1),
        Stratum("4CH/radial", 1, 1),
    ]
    assert strata_of(scans, ("plane",)) == [Stratum("SAX", 2, 1), Stratum("4CH", 1, 1)]
    assert strata_of(scans, ()) == [Stratum("all", 3, 2)]


def listed(clips: int, **changes: object) -> Design:
    fields = template(("one", "two", "three")).changed(changes).to_fields()
    fields["scans"] = [
        {"file": f"{n}.h5", "subject": f"P{n // 2}", "plane": "4CH" if n % 2 else "SAX"} for n in range(clips)
    ]
    fields["scans"].append({"file": "x.h5", "subject": "Q", "plane": "SAX", "practice": True})
    return Design.from_fields(fields)


def test_a_design_is_shown_for_its_readers_or_an_example() -> None:
    """Level counts, the gap of the rule, no subject twice in a row; each reader another order."""
    design = listed(12, readers=["Anna", "Ben"], seed=3)
    rows = balance(design, planned_states(design))
    assert [row.reader for row in rows] == ["Anna", "Ben"]
    for row in rows:
        assert row.counts == ((4, 4, 4),) * 3 and row.largest_difference_in_a_stratum == 0
        assert (row.practice, row.readings, row.repeats, row.same_subject_in_a_row) == (1, 12, 4, 0)
        assert row.least_gap is not None and row.least_gap >= 6
    (example,) = balance(listed(12), planned_states(listed(12)))
    assert example.reader == "Reader 1" and example.counts == ((4, 4, 4),) * 3


def test_too_few_clips_for_repeats_are_refused_before_the_lock() -> None:
    """Five clips with the recommended repeats; without repeats they are shown."""
    design = listed(5)
    with pytest.raises(StudyError, match="5 clips do not allow"):
        balance(design, planned_states(design))
    design = listed(5, repeat_share=0)
    assert balance(design, planned_states(design))[0].least_gap is None
