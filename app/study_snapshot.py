"""What the Study page shows of a study, read on a thread, and what the coordinator has to do next.

Rule: the window never asks the study itself, which may be waiting for a lock or a disk; it shows a snapshot
that was taken on a thread. After the lock a snapshot holds no method, raw file or order, because the study
gives none out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.protocol_words import FIELD_LABELS
from studies.balance import ReaderBalance, Stratum, balance, planned_states, strata_of
from studies.design import Design, missing_scans
from studies.errors import StudyError
from studies.protocol import Amendment, PlannedScan, Protocol
from studies.state import Phase, Scan, ScanState, SessionRecord
from studies.study import Study
from studies.words import counted

CheckState = Literal["good", "warning", "missing"]
StepName = Literal[
    "open",
    "correct",
    "scans",
    "reconstruct",
    "plan",
    "readers",
    "repeats",
    "lock",
    "read",
    "unblind",
    "results",
]

_BITS_OF_WORD = 14.0
_FAIR_BITS = 36.0
_STRONG_BITS = 50.0


@dataclass(frozen=True)
class ReaderProgress:
    """How far one reader is."""

    reader: str
    done: int
    total: int
    last_utc: str
    """When the last ranking was committed; empty before the first."""
    guesses: int
    """Clips whose methods the reader, having ranked everything, has still to guess."""


@dataclass(frozen=True)
class Assessment:
    """What a protocol makes of the scans."""

    strata: tuple[Stratum, ...]
    balance: tuple[ReaderBalance, ...]
    error: str
    """Why no schedule can be made; empty if one can."""


@dataclass(frozen=True)
class StudySnapshot:
    """A study at one moment."""

    folder: Path
    name: str
    phase: Phase
    protocol: Protocol
    sha256: str
    design: Design | None
    """None while the study is blinded."""
    scans: tuple[Scan, ...]
    assessment: Assessment
    readers: tuple[ReaderProgress, ...]
    amendments: tuple[Amendment, ...]
    sessions: tuple[SessionRecord, ...]
    head: str
    """Number and hash of the last event, to be noted outside the folder."""
    package: bool
    """Whether this is one reader's package and not the study itself."""
    second_copy: Path | None
    warnings: tuple[str, ...]
    """What could not be written beside the log, for instance its second copy."""

    @property
    def complete(self) -> int:
        """How many scans have all their movies."""
        return sum(scan.complete for scan in self.scans)

    @property
    def planned(self) -> tuple[PlannedScan, ...]:
        """The scans that the protocol lists; none while the study is blinded."""
        return self.design.scans if self.design is not None else ()

    def plan_differences(self) -> tuple[list[str], list[str]]:
        """Scans that are planned and not there, and scans that are there and not planned, in words."""
        if not self.planned:
            return [], []
        return missing_scans(self.planned, [(scan.subject, scan.plane, scan.practice) for scan in self.scans])


def take_snapshot(study: Study) -> StudySnapshot:
    """Read all that the page shows. Raises StudyError."""
    phase = study.phase
    design = study.design if phase != "reading" else None
    states = study.scan_states or (planned_states(design) if design is not None else [])
    last = {record.reader: record.time_utc for record in study.rankings}
    return StudySnapshot(
        folder=study.folder,
        name=study.name,
        phase=phase,
        protocol=study.protocol,
        sha256=study.protocol_sha256,
        design=design,
        scans=tuple(study.scans),
        assessment=_assess(study.protocol, design if phase == "design" else None, states),
        readers=tuple(
            ReaderProgress(
                reader,
                *study.progress(reader),
                last_utc=last.get(reader, ""),
                guesses=len(study.guess_presentations(reader)) if phase == "reading" else 0,
            )
            for reader in study.readers
        ),
        amendments=tuple(study.amendments),
        sessions=tuple(study.sessions),
        head=str(study.head),
        package=study.is_package,
        second_copy=study.second_copy,
        warnings=study.warnings,
    )


def _assess(protocol: Protocol, design: Design | None, states: Sequence[ScanState]) -> Assessment:
    strata = tuple(strata_of(states, protocol.strata))
    if design is None or not strata:
        return Assessment(strata, (), "")
    try:
        return Assessment(strata, tuple(balance(design, states)), "")
    except StudyError as error:
        return Assessment(strata, (), str(error))


# The next step


@dataclass(frozen=True)
class NextStep:
    """The one thing to do now."""

    name: StepName
    title: str
    text: str
    action: str
    """What the button says; empty where the step is done on the page itself."""


def next_step(snapshot: StudySnapshot | None, mistake: str = "") -> NextStep:
    """Say what the coordinator does next.

    Args:
        snapshot: the open study, or None.
        mistake: the label of a field of the protocol that has to be corrected first.
    """
    if snapshot is None:
        return NextStep(
            "open", "make a study", "Give it a name and a folder, or open one that you have.", "New study…"
        )
    if snapshot.phase == "design":
        return _design_step(snapshot, mistake)
    if snapshot.phase == "unblinded":
        return NextStep("results", "look at the results", "The study is unblinded.", "Go to Results")
    owed = sum(reader.total - reader.done for reader in snapshot.readers)
    if owed:
        text = f"{counted(owed, 'ranking')} to go. Read on this computer, or give every reader a package."
        return NextStep("read", "read", text, "Go to Read")
    guessing = [reader.reader for reader in snapshot.readers if reader.guesses]
    if guessing:
        text = f"Every ranking is in; {_few(guessing)} can still guess which movie is which."
        return NextStep("read", "guess, then unblind", text, "Go to Read")
    return NextStep("unblind", "unblind", "Every ranking is in.", "Go to Results")


def _design_step(snapshot: StudySnapshot, mistake: str) -> NextStep:
    if mistake:
        return NextStep(
            "correct", f"correct “{mistake}”", "It is not saved until every field can be used.", ""
        )
    missing, surplus = snapshot.plan_differences()
    if not snapshot.scans or missing:
        text = f"Planned and not there yet: {_few(missing)}." if missing else "Open raw files and add them."
        return NextStep("scans", "import scans", text, "Go to Data")
    waiting = len(snapshot.scans) - snapshot.complete
    if waiting:
        text = f"{waiting} of {counted(len(snapshot.scans), 'scan')} without movies."
        return NextStep("reconstruct", "reconstruct the scans", text, "Go to Data")
    if surplus:
        text = f"Not in the list of planned scans: {_few(surplus)}. Take them out, or change the list."
        return NextStep("plan", "settle the list of scans", text, "Go to Data")
    if not snapshot.protocol.readers:
        return NextStep("readers", "name the readers", "Part the names by commas.", "Name the readers")
    if snapshot.assessment.error:
        # Too few clips for the repeats is all that can stand against a schedule.
        return NextStep(
            "repeats", f"correct “{FIELD_LABELS['repeat_share']}”", snapshot.assessment.error, "Correct it"
        )
    return NextStep("lock", "lock", "Everything that the lock needs is there.", "Lock…")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


# Before the lock


@dataclass(frozen=True)
class Check:
    """One line of the checklist before the lock."""

    state: CheckState
    text: str


def lock_checks(snapshot: StudySnapshot) -> list[Check]:
    """What a lock needs ("missing" bars it) and what a careful coordinator would still change ("warning")."""
    protocol = snapshot.protocol
    clips = [scan for scan in snapshot.scans if not scan.practice]
    checks = [_scan_check(snapshot, len(clips))]
    missing, surplus = snapshot.plan_differences()
    if snapshot.planned:
        differences = [f"missing {_few(missing)}"] * bool(missing) + [f"surplus {_few(surplus)}"] * bool(
            surplus
        )
        checks.append(
            Check("missing", f"The scans are not those planned: {'; '.join(differences)}")
            if differences
            else Check("good", f"The scans are the {len(snapshot.planned)} planned ones")
        )
    checks.append(
        Check("good", f"{counted(len(protocol.readers), 'reader')}: {', '.join(protocol.readers)}")
        if protocol.readers
        else Check("missing", "No reader is named")
    )
    if len(protocol.readers) == 1:
        checks.append(Check("warning", "With one reader nothing tells how readers agree"))
    if snapshot.assessment.error:
        checks.append(Check("missing", snapshot.assessment.error))
    elif snapshot.assessment.balance:
        checks.extend(_balance_checks(snapshot.assessment, clips))
    if not any(scan.practice for scan in snapshot.scans):
        checks.append(Check("warning", "No practice cases: readers find their scale on the first clips"))
    repeats = protocol.repeats(len(clips))
    checks.append(
        Check("good", f"{counted(repeats, 'clip')} shown twice, unmarked")
        if repeats
        else Check("warning", "No hidden repeats: nothing tells how readers agree with themselves")
    )
    return checks


def _scan_check(snapshot: StudySnapshot, clips: int) -> Check:
    if not clips:
        return Check("missing", "There are no scans to rank")
    waiting = len(snapshot.scans) - snapshot.complete
    if waiting:
        return Check("missing", f"{waiting} of {counted(len(snapshot.scans), 'scan')} without movies")
    each = counted(snapshot.protocol.arm_count, "movie")
    return Check("good", f"{counted(len(snapshot.scans), 'scan')}, each with {each}")


def _balance_checks(found: Assessment, clips: Sequence[Scan]) -> list[Check]:
    checks = []
    uneven = max(row.largest_difference_in_a_stratum for row in found.balance)
    checks.append(
        Check("good", "Every method stands equally often in every place (± 1 in each group)")
        if uneven <= 1
        else Check("warning", f"Places are uneven: a method stands {uneven} times more often in one of them")
    )
    sizes = {stratum.clips for stratum in found.strata}
    by_subject = set(Counter(scan.subject for scan in clips).values())
    uneven_groups = f"from {min(sizes)} to {max(sizes)} clips" if len(sizes) > 1 else ""
    if uneven_groups:
        checks.append(Check("warning", f"The groups are of unlike size: {uneven_groups}"))
    if len(by_subject) > 1:
        least, most = min(by_subject), max(by_subject)
        checks.append(Check("warning", f"Subjects are not balanced: they have {least} to {most} scans each"))
    else:
        each = counted(by_subject.pop(), "scan")
        checks.append(Check("good", f"{counted(len({s.subject for s in clips}), 'subject')}, {each} each"))
    following = max(row.same_subject_in_a_row for row in found.balance)
    if following:
        checks.append(Check("warning", f"A subject follows itself {counted(following, 'time')} in the order"))
    return checks


def passphrase_strength(passphrase: str) -> tuple[int, str]:
    """Judge a passphrase from 0 (none) to 3 (strong), with a word to the user.

    A rough entropy: a word of any length is worth no more than one of a dictionary of 16,000, other
    characters a little less than if they were drawn at random, and what repeats or goes on as in "1234"
    hardly anything.
    """
    bits = 0.0
    before = ""
    seen: set[str] = set()
    for part in re.findall(r"[^\W\d_]+|\d|[\W_]", passphrase):
        if part.isalpha():
            bits += 0.0 if part.casefold() in seen else min(_BITS_OF_WORD, 4.7 * len(set(part.casefold())))
            seen.add(part.casefold())
        elif part.isspace() or (len(before) == 1 and abs(ord(part) - ord(before)) <= 1):
            bits += 0.5
        else:
            bits += 3.3 if part.isdigit() else 5.0
        before = part
    if not passphrase:
        return 0, ""
    if bits < _FAIR_BITS:
        return 1, "Weak: four words that have nothing to do with each other are strong."
    if bits < _STRONG_BITS:
        return 2, "Fair: one more word makes it strong."
    return 3, "Strong."
