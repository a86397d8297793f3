"""Naming what was done to a log: every single change to a short chain, and some together."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from studies.events import GENESIS_HASH, Anchor, Entry, canonical_json, event_hash
from studies.log_audit import Audit, LogTampered, audit, compare

LENGTH = 6
START = datetime(2026, 5, 1, 8, tzinfo=UTC)


def hashed(entry: Entry) -> Entry:
    return replace(entry, hash=entry.hash_as(entry.sequence))


def chain(*, minutes: tuple[float, ...] = tuple(range(LENGTH)), word: str = "ranked") -> list[Entry]:
    """A sound chain; event n is by actor n."""
    entries: list[Entry] = []
    for number, minute in enumerate(minutes, start=1):
        time_utc = (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
        previous = entries[-1].hash if entries else GENESIS_HASH
        payload = canonical_json({"number": number})
        digest = event_hash(number, time_utc, word, f"actor {number}", payload, previous)
        entries.append(Entry(number, time_utc, word, f"actor {number}", payload, previous, digest))
    return entries


SOUND = chain()
HEAD = [(Anchor(LENGTH, SOUND[-1].hash), "'head.json'")]
WITNESS = audit(SOUND, where="the second copy")


def renumbered(entries: list[Entry]) -> list[Entry]:
    """Number anew from 1, as somebody would who hides a gap."""
    return [replace(entry, sequence=number) for number, entry in enumerate(entries, start=1)]


def findings(entries: list[Entry], *, anchored: bool = True, witness: Audit | None = None) -> list[str]:
    ordered = sorted(entries, key=lambda entry: entry.sequence)
    return audit(ordered, HEAD if anchored else [], witness=witness).sentences


def only(sentences: list[str]) -> str:
    assert len(sentences) == 1, sentences
    return sentences[0]


def test_a_sound_chain_has_no_findings() -> None:
    assert findings(SOUND) == []
    assert audit([]).sentences == []
    assert audit(SOUND).notes == []
    assert audit([], [(Anchor(0, GENESIS_HASH), "it")]).sentences == []


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize("number", range(1, LENGTH + 1))
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payload", '{"number":99}'),
        ("actor", "somebody"),
        ("kind", "counted"),
        ("time_utc", "2020-01-01T00:00:00.000000Z"),
        ("time_utc", "yesterday"),
        ("time_utc", "2020-01-01T00:00:00"),
        ("previous_hash", "a" * 64),
        ("hash", "b" * 64),
    ],
)
def test_a_changed_event_is_named(field: str, value: str, number: int, anchored: bool) -> None:
    entries = list(SOUND)
    entries[number - 1] = replace(entries[number - 1], **{field: value})
    bad = entries[number - 1]
    told = f"Event {number} of the log ({bad.kind} by {bad.actor} at {bad.time_utc}) was changed after it was"
    told += " written"
    assert only(findings(entries, anchored=anchored)) == f"{told}."
    words = {"payload": "content", "time_utc": "time", "actor": "actor", "kind": "kind"}.get(field, "hash")
    good = SOUND[number - 1]
    assert only(findings(entries, anchored=anchored, witness=WITNESS)) == (
        f"{told} ({words}): the second copy has it as ranked by actor {number} at {good.time_utc}."
    )


@pytest.mark.parametrize("number", range(1, LENGTH + 1))
def test_a_changed_event_with_a_hash_computed_anew_is_named(number: int) -> None:
    """The next event, or the anchor for the last one, names it by its old hash."""
    entries = list(SOUND)
    entries[number - 1] = hashed(replace(entries[number - 1], payload='{"number":99}'))
    sentence = only(findings(entries))
    if number < LENGTH:
        assert sentence.startswith(f"Event {number} of the log (ranked by actor {number} at ")
        assert "was changed" in sentence
        assert findings(entries, anchored=False) == [sentence]
    else:
        assert "is not the one that 'head.json' tells of" in sentence
        assert findings(entries, anchored=False) == []


def test_a_first_event_that_begins_in_the_middle_is_named() -> None:
    entries = [hashed(replace(SOUND[0], previous_hash="c" * 64)), *SOUND[1:]]
    assert "Event 1 of the log" in only(findings(entries))


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("number", range(1, LENGTH))
def test_a_deleted_event_is_named(number: int, hidden: bool) -> None:
    """With or without the later ones numbered anew."""
    entries = [*SOUND[: number - 1], *SOUND[number:]]
    if hidden:
        entries = renumbered(entries)
    sentence = only(findings(entries))
    assert re.match(rf"Event {number} of the log, .*, is missing: it was deleted\.", sentence)
    assert f"before event {number + 1} (ranked by actor {number + 1} at" in sentence
    if number > 1:
        assert f"after event {number - 1} (ranked by actor {number - 1} at" in sentence
    assert only(findings(entries, witness=WITNESS)) == (
        f"Event {number} of the log (ranked by actor {number} at {SOUND[number - 1].time_utc}, as the second "
        "copy tells) is missing: it was deleted."
    )


@pytest.mark.parametrize("hidden", [False, True])
def test_several_deleted_events_are_named(hidden: bool) -> None:
    entries = [SOUND[0], SOUND[4], SOUND[5]]
    if hidden:
        entries = renumbered(entries)
    assert only(findings(entries)).startswith("Events 2 to 4 of the log, after event 1 (")
    assert len(findings(entries, witness=WITNESS)) == 3


@pytest.mark.parametrize("length", range(LENGTH))
def test_a_cut_tail_is_named(length: int) -> None:
    """By the anchor; without one the chain is sound as far as it goes."""
    sentence = only(findings(SOUND[:length]))
    end = f" after ranked by actor {length} at {SOUND[length - 1].time_utc}" if length else ""
    assert sentence == (
        f"The log ends at event {length}, but 'head.json' tells of event {LENGTH}: it was cut short{end}."
    )
    assert findings(SOUND[:length], anchored=False) == []


@pytest.mark.parametrize("forged_hash", ["right", "wrong", "copied"])
@pytest.mark.parametrize("place", range(1, LENGTH + 1))
def test_an_inserted_event_is_named(place: int, forged_hash: str) -> None:
    """Put in before event `place`, the later ones numbered anew to make room."""
    previous = SOUND[place - 2].hash if place > 1 else GENESIS_HASH
    forged = replace(
        SOUND[place - 1], sequence=place, kind="forged", actor="somebody", previous_hash=previous
    )
    forged = hashed(forged) if forged_hash == "right" else replace(forged, hash="d" * 64)
    if forged_hash == "copied":
        forged = SOUND[place - 1]
    entries = renumbered([*SOUND[: place - 1], forged, *SOUND[place - 1 :]])
    sentence = only(findings(entries))
    assert re.match(r"Event \d of the log \(.*\) was inserted: it is no part of the chain\.", sentence)
    if forged_hash != "copied":
        assert f"Event {place} of the log (forged by somebody at" in sentence


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(range(1, LENGTH + 1), 2)))
def test_exchanged_events_are_named(first: int, second: int) -> None:
    """Two neighbours need one move, others two."""
    entries = list(SOUND)
    entries[first - 1], entries[second - 1] = entries[second - 1], entries[first - 1]
    told = findings(renumbered(entries))
    assert all(re.search(r"was moved: it stands in place \d\.", sentence) for sentence in told)
    named = {int(re.findall(r"Event (\d)", sentence)[0]) for sentence in told}
    assert named == {first, second} if second - first > 1 else len(named) == 1 and named <= {first, second}


@pytest.mark.parametrize(("origin", "target"), list(itertools.permutations(range(LENGTH), 2)))
def test_a_moved_event_is_named(origin: int, target: int) -> None:
    entries = list(SOUND)
    entries.insert(target, entries.pop(origin))
    sentence = only(findings(renumbered(entries)))
    number = int(re.findall(r"Event (\d)", sentence)[0])
    assert number - 1 in ({origin, target} if abs(origin - target) == 1 else {origin})


def test_renumbered_events_are_named() -> None:
    entries = [*SOUND[:3], *(replace(entry, sequence=entry.sequence + 100) for entry in SOUND[3:])]
    assert "Event 4 of the log" in only(findings(entries))
    assert "was renumbered: it carries the number 104." in only(findings(entries))


def test_a_forged_event_of_the_far_future_is_one_finding() -> None:
    """A number so high that counting up to it would never end."""
    forged = hashed(replace(SOUND[0], sequence=10**15, previous_hash=SOUND[-1].hash))
    assert only(findings([*SOUND, forged])).startswith(
        "Events 7 to 999999999999999 of the log, after event 6"
    )


def test_several_things_at_once_are_all_named() -> None:
    """One changed, one deleted, one inserted; two changed in a row."""
    forged = hashed(replace(SOUND[4], sequence=5, actor="somebody"))
    entries = renumbered(
        [SOUND[0], replace(SOUND[1], kind="x"), replace(SOUND[2], kind="y"), forged, SOUND[4], SOUND[5]]
    )
    told = findings(entries)
    assert [sentence.partition(" (")[0].partition(",")[0] for sentence in told] == [
        "Event 2 of the log",
        "Event 3 of the log",
        "Event 4 of the log",
        "Event 4 of the log",
    ]
    assert sum("was deleted" in sentence for sentence in told) == 1
    assert sum("was inserted" in sentence for sentence in told) == 1
    assert sum("was changed" in sentence for sentence in told) == 2


def test_a_whole_log_changed_is_told_in_a_few_sentences() -> None:
    entries = [replace(entry, actor="x") for entry in chain(minutes=tuple(range(400)))]
    told = audit(entries).sentences
    assert len(told) == 400
    error = LogTampered(told)
    assert str(error).endswith("There are 394 more findings.")
    assert error.findings == tuple(told)


def test_a_clock_set_back_is_a_note_and_no_finding() -> None:
    """A second is not worth a word: clocks are corrected all the time."""
    entries = chain(minutes=(0, 10, 9.99, 4.5, 5, 6))
    result = audit(entries)
    assert result.sentences == []
    assert only(result.notes) == (
        f"Event 4 of the log (ranked by actor 4 at {entries[3].time_utc}) carries a time 0:05:29 (h:mm:ss) "
        "before the event that it follows: the clock was set back."
    )


# Two copies


def compared(log: list[Entry], copy: list[Entry]) -> Audit:
    result = audit(log)
    compare(result, audit(copy, where="the second copy"))
    return result


def test_a_copy_that_is_behind_is_a_note() -> None:
    result = compared(SOUND, SOUND[:4])
    assert result.sentences == []
    assert only(result.notes).startswith("The second copy ends at event 4 of 6")
    assert compared(SOUND, SOUND).notes == []


def test_a_copy_that_is_ahead_tells_of_a_cut_tail() -> None:
    assert only(compared(SOUND[:4], SOUND).sentences) == (
        f"The log ends at event 4, but the second copy tells of event 6 (ranked by actor 6 at "
        f"{SOUND[5].time_utc}): it was cut short."
    )


def test_a_chain_computed_anew_is_found_by_its_copy_only() -> None:
    """Sound in itself from the changed event on."""
    anew = list(SOUND[:2])
    for entry in SOUND[2:]:
        kind = "invented" if entry.sequence == 3 else entry.kind
        anew.append(hashed(replace(entry, kind=kind, previous_hash=anew[-1].hash)))
    assert audit(anew).sentences == []
    sentence = only(compared(anew, SOUND).sentences)
    assert sentence.startswith("Event 3 of the log (invented by actor 3 at ")
    assert "is another one than in the second copy (ranked by actor 3 at " in sentence


def test_a_changed_copy_is_not_taken_for_a_witness() -> None:
    copy = [*SOUND[:2], replace(SOUND[2], actor="somebody"), *SOUND[3:]]
    witness = audit(copy, where="the second copy")
    assert only(witness.sentences).startswith("Event 3 of the second copy (ranked by somebody at ")
    log = [*SOUND[:2], replace(SOUND[2], kind="x"), *SOUND[3:]]
    assert "as the second copy" not in only(findings(log, witness=witness))
    assert compared(SOUND, copy).sentences == []
