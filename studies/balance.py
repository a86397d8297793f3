"""Whether a schedule is fair: how often each arm stands in each place, and what stands beside what.

Rule: the counts are over first readings; repeats and practice cases are counted apart, because no main
analysis uses them. Arms are told by number, in an order that is drawn at the lock and stays secret: the
table is the same whichever arm is number 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies.concealment import arm_schedules
from studies.design import Design, with_seed
from studies.schedule import Presentation, follow_ups, position_counts
from studies.state import ScanState

EXAMPLE_READER = "Reader 1"
EXAMPLE_SEED = "0"


@dataclass(frozen=True)
class Stratum:
    """One combination of plane and sampling."""

    name: str
    clips: int
    subjects: int
    """What the tests take as N: the clips of one subject are permuted together."""


@dataclass(frozen=True)
class ReaderBalance:
    """One reader's schedule in numbers."""

    reader: str
    counts: tuple[tuple[int, ...], ...]
    """(arm, position): how often the arm stands there in first readings."""
    largest_difference_in_a_stratum: int
    """Between any two counts within one stratum: at most 1."""
    practice: int
    readings: int
    repeats: int
    least_gap: int | None
    """Fewest presentations between a clip and its repeat; None without repeats."""
    same_subject_in_a_row: int
    """Among readings and repeats."""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready values."""
        return {**vars(self), "counts": [list(row) for row in self.counts]}


def planned_states(design: Design) -> list[ScanState]:
    """Return the scans that a protocol file lists, as a study would have them."""
    return [
        ScanState(
            scan_id=scan.file,
            clip_id=scan.file,
            subject=scan.subject,
            plane=scan.plane,
            sampling=scan.sampling,
            private="",
            practice=scan.practice,
        )
        for scan in design.scans
    ]


def strata_of(scans: Sequence[ScanState], by: Sequence[str]) -> list[Stratum]:
    """Return the strata of the scans that are no practice cases, in order of first appearance."""
    subjects: dict[str, list[str]] = {}
    for scan in scans:
        if not scan.practice:
            subjects.setdefault(scan.stratum(by), []).append(scan.subject)
    return [
        Stratum(name.strip("/") or "all", len(found), len(set(found))) for name, found in subjects.items()
    ]


def reader_balance(
    reader: str, shown: Sequence[Presentation], scans: Sequence[ScanState], arms: int, by: Sequence[str]
) -> ReaderBalance:
    """Count one reader's schedule, given in terms of arms by number."""
    scan_of: Mapping[str, ScanState] = {scan.clip_id: scan for scan in scans}
    first = {item.clip_id: item for item in shown if item.kind == "reading"}
    rows: dict[str, list[tuple[int, ...]]] = {}
    for item in first.values():
        rows.setdefault(scan_of[item.clip_id].stratum(by), []).append(item.permutation)
    differences = [0]
    for chosen in rows.values():
        cells = [count for row in position_counts(chosen, arms) for count in row]
        differences.append(max(cells) - min(cells))
    gaps = [item.index - first[item.clip_id].index for item in shown if item.kind == "repeat"]
    kinds = Counter(item.kind for item in shown)
    return ReaderBalance(
        reader=reader,
        counts=tuple(map(tuple, position_counts([item.permutation for item in first.values()], arms))),
        largest_difference_in_a_stratum=max(differences),
        practice=kinds["practice"],
        readings=kinds["reading"],
        repeats=kinds["repeat"],
        least_gap=min(gaps, default=None),
        same_subject_in_a_row=follow_ups(
            [scan_of[item.clip_id].subject for item in shown if item.kind != "practice"]
        ),
    )


def balance(design: Design, scans: Sequence[ScanState]) -> list[ReaderBalance]:
    """Return the balance of every reader's schedule, as a lock would write it now.

    A design without readers or seed is shown for one reader and one seed; the counts of others are alike.

    Raises:
        StudyError: when there are too few clips for the repeats.
    """
    protocol = design.protocol
    readers = protocol.readers or (EXAMPLE_READER,)
    seed = with_seed(design, EXAMPLE_SEED).secret.seed
    return [
        reader_balance(reader, shown, scans, protocol.arm_count, protocol.strata)
        for reader, shown in arm_schedules(readers, seed, scans, protocol).items()
    ]
