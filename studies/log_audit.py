"""What was done to a log: which events were changed, deleted, inserted, moved or cut off.

Rule: an entry is event n if its content has its stored hash under the number n, whatever number it carries
now. So a moved or renumbered entry tells its old place; a gap is a deletion; two for one number mean that
one was inserted, and the next event names the genuine one by its hash; what fits no number was changed.
Times that go backwards are no proof of anything, for clocks are set: they are noted only.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from studies.errors import StudyError
from studies.events import GENESIS_HASH, Anchor, Entry

LOG = "the log"
SECOND_COPY = "the second copy"
_CLOCK_TOLERANCE = timedelta(seconds=1)
_MOST_SEARCHES = 50
_MOST_TOLD = 6


class LogTampered(StudyError):
    """The log is not as it was written.

    Args:
        findings: one sentence for each, in the order of the events.
    """

    def __init__(self, findings: Sequence[str]) -> None:
        """Join the first findings to one message."""
        self.findings = tuple(findings)
        more = len(findings) - _MOST_TOLD
        told = [*findings[:_MOST_TOLD], *([f"There are {more} more findings."] if more > 0 else [])]
        super().__init__(" ".join(told))


@dataclass
class Audit:
    """What was found in one chain of entries."""

    findings: list[tuple[int, str]] = field(default_factory=list)
    """Number of the event, and a sentence."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and proves nothing."""
    events: dict[int, Entry] = field(default_factory=dict)
    """The entries by the number under which they were written; changed ones by the number that they hold."""

    @property
    def sentences(self) -> list[str]:
        """The findings in the order of the events."""
        return [sentence for _, sentence in sorted(self.findings, key=lambda finding: finding[0])]

    @property
    def last(self) -> int:
        """The highest number found; 0 if there is none."""
        return max(self.events, default=0)


def named(entry: Entry) -> str:
    """Return kind, actor and time of an entry for a sentence."""
    return f"{entry.kind} by {entry.actor} at {entry.time_utc}"


def audit(
    entries: Sequence[Entry],
    anchors: Iterable[tuple[Anchor, str]] = (),
    *,
    where: str = LOG,
    witness: Audit | None = None,
) -> Audit:
    """Check a chain of entries.

    Args:
        entries: in the order in which they are stored.
        anchors: events that the chain must contain, each with the words for its source.
        where: the words for the chain.
        witness: the audit of another copy of the chain, which names what is missing from this one.

    Returns:
        Findings and notes; no finding means that the chain is as it was written, as far as it can tell.
    """
    anchors = tuple(anchors)
    result = Audit()
    numbers = _numbers(entries, max((anchor.sequence for anchor, _ in anchors), default=0))
    placed, changed, inserted = _places(entries, numbers, dict(anchors_by_number(anchors)))
    result.events = dict(sorted((placed | changed).items()))
    for number, entry in changed.items():
        result.findings.append((number, _changed(number, entry, where, witness)))
    for entry in inserted:
        sentence = (
            f"Event {entry.sequence} of {where} ({named(entry)}) was inserted: it is no part of the chain."
        )
        result.findings.append((entry.sequence, sentence))
    _find_gaps(result, where, witness)
    _find_moved(result, where)
    _find_renumbered(result, where)
    for anchor, source in anchors:
        _check_anchor(result, anchor, source, where)
    _note_clock(result, where)
    return result


def compare(log: Audit, copy: Audit) -> None:
    """Add to the log's findings and notes what its second copy tells otherwise.

    Args:
        log: from `audit`; changed.
        copy: from `audit`, of the copy.
    """
    if copy.last > log.last:
        sentence = (
            f"The log ends at event {log.last}, but {SECOND_COPY} tells of event {copy.last} "
            f"({named(copy.events[copy.last])}): it was cut short."
        )
        log.findings.append((copy.last, sentence))
    elif copy.last < log.last:
        log.notes.append(
            f"The second copy ends at event {copy.last} of {log.last}: it catches up when the study "
            "is opened or written to the next time and the copy's folder is there."
        )
    told = {number for number, _ in (*log.findings, *copy.findings)}
    for number in sorted(log.events.keys() & copy.events.keys()):
        ours, theirs = log.events[number], copy.events[number]
        if ours.hash != theirs.hash and number not in told:
            sentence = (
                f"Event {number} of the log ({named(ours)}) is another one than in {SECOND_COPY} "
                f"({named(theirs)}): one of them was computed anew from there on."
            )
            log.findings.append((number, sentence))
            break


def anchors_by_number(anchors: Iterable[tuple[Anchor, str]]) -> Iterable[tuple[int, str]]:
    """Yield number and hash of each anchor."""
    return ((anchor.sequence, anchor.hash) for anchor, _ in anchors)


def _numbers(entries: Sequence[Entry], most: int) -> list[int | None]:
    """Return the number under which each entry's content has its hash, None where there is none."""
    numbers: list[int | None] = []
    shift, searches = 0, 0
    top = max([most, len(entries), *(entry.sequence for entry in entries)], default=0)
    for entry in entries:
        number = _fitting(entry, (entry.sequence, entry.sequence + shift))
        if number is None and searches < _MOST_SEARCHES:
            searches += 1
            number = _fitting(entry, range(1, min(top, 2 * len(entries) + most) + 2))
        shift = shift if number is None else number - entry.sequence
        numbers.append(number)
    return numbers


def _fitting(entry: Entry, numbers: Iterable[int]) -> int | None:
    return next((number for number in numbers if entry.hash_as(number) == entry.hash), None)


def _places(
    entries: Sequence[Entry], numbers: Sequence[int | None], anchored: dict[int, str]
) -> tuple[dict[int, Entry], dict[int, Entry], list[Entry]]:
    """Sort entries into those in their place, those changed, and those inserted; the first two by number."""
    candidates: dict[int, list[Entry]] = {}
    for entry, number in zip(entries, numbers, strict=True):
        if number is not None:
            candidates.setdefault(number, []).append(entry)
    placed: dict[int, Entry] = {}
    inserted: list[Entry] = []
    for number in sorted(candidates, reverse=True):
        named_after = {entry.previous_hash for entry in candidates.get(number + 1, ())} | {
            anchored.get(number)
        }
        before = {entry.hash for entry in candidates.get(number - 1, ())}
        genuine, *others = sorted(
            candidates[number],
            key=lambda entry: (entry.hash in named_after, entry.previous_hash in before),
            reverse=True,
        )
        placed[number] = genuine
        inserted += others
    changed, more = _places_of_changed(
        [entry for entry, number in zip(entries, numbers, strict=True) if number is None], placed, anchored
    )
    _find_recomputed(placed, changed)
    return placed, changed, inserted + more


def _places_of_changed(
    entries: Sequence[Entry], placed: dict[int, Entry], anchored: dict[int, str]
) -> tuple[dict[int, Entry], list[Entry]]:
    """Give entries that fit no number the vacant one of which they were the event; the rest was inserted.

    The event after it still names the hash of a changed event, and it the hash of the event before.
    """
    before = {entry.previous_hash: number - 1 for number, entry in placed.items()}
    before |= {digest: number for number, digest in anchored.items()}
    after = {entry.hash: number + 1 for number, entry in placed.items()}
    changed: dict[int, Entry] = {}
    inserted: list[Entry] = []
    for entry in reversed(entries):  # for each may name the one before
        wanted = (before.get(entry.hash, 0), after.get(entry.previous_hash, 0), entry.sequence)
        vacant = [
            number for number in wanted if number > 0 and number not in placed and number not in changed
        ]
        if vacant:
            changed[vacant[0]] = entry
            before[entry.previous_hash] = vacant[0] - 1
        else:
            inserted.append(entry)
    return changed, inserted


def _find_recomputed(placed: dict[int, Entry], changed: dict[int, Entry]) -> None:
    """Move to `changed` what has its hash but is not the event on which the next one builds."""
    if 1 in placed and placed[1].previous_hash != GENESIS_HASH:
        changed[1] = placed.pop(1)
    for number in sorted(placed):
        following = placed.get(number + 1)
        if following is not None and following.previous_hash != placed[number].hash:
            changed[number] = placed[number]
    for number in changed:
        placed.pop(number, None)


def _changed(number: int, entry: Entry, where: str, witness: Audit | None) -> str:
    sentence = f"Event {number} of {where} ({named(entry)}) was changed after it was written"
    genuine = _witnessed(number, witness)
    if genuine is None:
        return f"{sentence}."
    names = {"kind": "kind", "actor": "actor", "time_utc": "time", "payload": "content"}
    fields = [words for name, words in names.items() if getattr(entry, name) != getattr(genuine, name)]
    return f"{sentence} ({', '.join(fields) or 'hash'}): {SECOND_COPY} has it as {named(genuine)}."


def _witnessed(number: int, witness: Audit | None) -> Entry | None:
    """Return event `number` of another copy unless that was tampered with too."""
    if witness is None or number in {found for found, _ in witness.findings}:
        return None
    return witness.events.get(number)


def _find_gaps(result: Audit, where: str, witness: Audit | None) -> None:
    for before, after in itertools.pairwise([0, *result.events]):
        told = range(before + 1, after) if after - before <= _MOST_SEARCHES else ()
        witnessed = [number for number in told if _witnessed(number, witness) is not None]
        for number in witnessed:
            genuine = _witnessed(number, witness)
            words = f"({named(genuine)}, as {SECOND_COPY} tells)" if genuine else ""
            result.findings.append((number, f"Event {number} of {where} {words} is missing: it was deleted."))
        if after - before - 1 > len(witnessed):
            result.findings.append((before + 1, _gap(result, before, after, where)))


def _gap(result: Audit, before: int, after: int, where: str) -> str:
    """Tell of events between two that are there."""
    first, last = before + 1, after - 1
    which = f"Event {first} of {where}" if first == last else f"Events {first} to {last} of {where}"
    place = f"before event {after} ({named(result.events[after])})"
    if before:
        place = f"after event {before} ({named(result.events[before])}) and {place}"
    fate = "is missing: it was deleted" if first == last else "are missing: they were deleted"
    return f"{which}, {place}, {fate}."


def _find_moved(result: Audit, where: str) -> None:
    """Name the fewest events whose moving explains the order in which the entries stand."""
    standing = sorted(result.events.items(), key=lambda item: item[1].sequence)
    order = [number for number, _ in standing]
    kept = set(_longest_rising(order))
    moved = [number for number in order if number not in kept]
    displaced = [number for number, place in zip(order, sorted(order), strict=True) if number != place]
    # Two that changed places are those two, not one of them and all in between.
    for number in displaced if len(displaced) <= len(moved) else moved:
        entry = result.events[number]
        sentence = (
            f"Event {number} of {where} ({named(entry)}) was moved: it stands in place {entry.sequence}."
        )
        result.findings.append((number, sentence))


def _longest_rising(numbers: Sequence[int]) -> list[int]:
    """Return the longest rising subsequence (patience sorting)."""
    tails: list[int] = []
    before: dict[int, int | None] = {}
    for number in numbers:
        place = bisect.bisect_left(tails, number)
        before[number] = tails[place - 1] if place else None
        tails[place : place + 1] = [number]
    chain: list[int] = []
    number_or_none = tails[-1] if tails else None
    while number_or_none is not None:
        chain.append(number_or_none)
        number_or_none = before[number_or_none]
    return chain[::-1]


def _find_renumbered(result: Audit, where: str) -> None:
    """Report numbers that were changed and nothing else; other findings explain them where there are any."""
    if result.findings:
        return
    for number, entry in result.events.items():
        if entry.sequence != number:
            sentence = (
                f"Event {number} of {where} ({named(entry)}) was renumbered: it carries the number "
                f"{entry.sequence}."
            )
            result.findings.append((number, sentence))
            return


def _check_anchor(result: Audit, anchor: Anchor, source: str, where: str) -> None:
    if anchor.sequence > result.last:
        end = result.events.get(result.last)
        sentence = (
            f"The log ends at event {result.last}, but {source} tells of event {anchor.sequence}: it "
            f"was cut short{f' after {named(end)}' if end else ''}."
        )
        result.findings.append((anchor.sequence, sentence))
        return
    entry = result.events.get(anchor.sequence)
    digest = GENESIS_HASH if anchor.sequence == 0 else entry.hash if entry else ""
    if digest != anchor.hash and anchor.sequence not in {number for number, _ in result.findings}:
        words = f" ({named(entry)})" if entry else ""
        result.findings.append(
            (
                anchor.sequence,
                f"Event {anchor.sequence} of {where}{words} is not the one that {source} tells of.",
            )
        )


def _note_clock(result: Audit, where: str) -> None:
    earlier: datetime | None = None
    for number, entry in result.events.items():
        try:
            now = datetime.fromisoformat(entry.time_utc)
        except ValueError:
            continue  # such an event was changed, and is told of as that
        if now.tzinfo is None:
            continue
        if earlier is not None and earlier - now > _CLOCK_TOLERANCE:
            seconds = round((earlier - now).total_seconds())
            result.notes.append(
                f"Event {number} of {where} ({named(entry)}) carries a time "
                f"{timedelta(seconds=seconds)} (h:mm:ss) before the event that it follows: the clock "
                "was set back."
            )
        earlier = now
