"""Who sees what in which order: seeded, another order for each reader, panel positions balanced.

Rule: the k! permutations of k arms fall into (k − 1)! Latin squares (a permutation and its cyclic shifts), in
each of which every arm stands once in every position. n clips take ⌊n/k⌋ whole squares, never one again
before all were used (for k = 3, two squares are the full block of 6 permutations), and the n mod k clips left
take rows of one more square. So the counts of arm × position differ by at most 1 within each stratum; the
squares left over are chosen so that the counts over all strata stay as level as possible. The clips then come
in an order in which no subject follows itself, if any such order exists, and else does so as seldom as
possible.

Hidden repeats show some clips again, in an order of the panels in which every arm stands elsewhere, at least
g = max(6, ⌈n/3⌉) presentations later; they are drawn from each stratum by its size. Practice cases come
before everything. A schedule without either has the same bytes as before there were any.

All choices come from SHA-256 in counter mode over the study's seed and the reader's name: integers only, so
the same seed gives the same bytes on every machine and every version of Python.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from typing import Literal, TypeVar

from studies.errors import StudyError

Item = TypeVar("Item")
Permutation = tuple[int, ...]
Kind = Literal["practice", "reading", "repeat"]

SCHEDULE_VERSION = "blindcine-schedule-1"
MINIMUM_ARMS = 2
MAXIMUM_ARMS = 6
MINIMUM_REPEAT_GAP = 6
"""A hidden repeat comes at least so many presentations after the first showing, and a third of the clips."""
_ATTEMPTS = 200
_WORD_BYTES = 8
_WORD_RANGE = 1 << (8 * _WORD_BYTES)


@dataclass(frozen=True)
class Presentation:
    """One panel shown to one reader."""

    index: int
    """Place in the reader's schedule, from 0."""
    presentation_id: str
    clip_id: str
    permutation: Permutation
    """`permutation[position]` is an arm; from `Study` a place in the clip's sorted movie ids."""
    kind: Kind = "reading"
    """`practice` is never analysed; `repeat` only for how well a reader agrees with himself."""


class CounterGenerator:
    """Uniform integers from SHA-256(key, 0), SHA-256(key, 1), …; the same everywhere and for ever."""

    def __init__(self, *key: str) -> None:
        """Start at the beginning of the sequence that belongs to `key`."""
        text = json.dumps([unicodedata.normalize("NFC", part) for part in key], separators=(",", ":"))
        self._key = hashlib.sha256(text.encode()).digest()
        self._counter = 0
        self._block = b""

    def _word(self) -> int:
        if not self._block:
            self._block = hashlib.sha256(self._key + self._counter.to_bytes(_WORD_BYTES, "big")).digest()
            self._counter += 1
        word, self._block = self._block[:_WORD_BYTES], self._block[_WORD_BYTES:]
        return int.from_bytes(word, "big")

    def below(self, bound: int) -> int:
        """Return an integer from 0 to `bound` − 1, all equally likely. Raises ValueError if bound < 1."""
        if not 1 <= bound <= _WORD_RANGE:
            raise ValueError(f"bound must lie between 1 and 2**64, got {bound}")
        # Words of the last, incomplete run of `bound` values would favour small results.
        limit = _WORD_RANGE - _WORD_RANGE % bound
        while (word := self._word()) >= limit:
            pass
        return word % bound

    def shuffle(self, items: MutableSequence[Item]) -> None:
        """Put the items into a uniformly random order, in place (Fisher–Yates)."""
        for last in range(len(items) - 1, 0, -1):
            chosen = self.below(last + 1)
            items[last], items[chosen] = items[chosen], items[last]


def latin_squares(arms: int) -> list[list[Permutation]]:
    """Return the (k − 1)! cyclic Latin squares of k arms; together they hold each permutation once.

    Raises:
        StudyError: unless 2 ≤ arms ≤ 6.
    """
    if not MINIMUM_ARMS <= arms <= MAXIMUM_ARMS:
        raise StudyError(f"A schedule is made for {MINIMUM_ARMS} to {MAXIMUM_ARMS} arms, not for {arms}.")
    squares = []
    for rest in permutations(range(1, arms)):
        first = (0, *rest)
        squares.append([first[shift:] + first[:shift] for shift in range(arms)])
    return squares


def position_counts(chosen: Sequence[Permutation], arms: int) -> list[list[int]]:
    """Return how often each arm (row) stands in each position (column): the balance table of a schedule."""
    counts = [[0] * arms for _ in range(arms)]
    for permutation in chosen:
        for position, arm in enumerate(permutation):
            counts[arm][position] += 1
    return counts


def positions_balanced(
    n: int, k: int, generator: CounterGenerator, counts: list[list[int]] | None = None
) -> list[Permutation]:
    """Draw n permutations of k arms whose arm × position counts differ by at most 1.

    Args:
        n: number of clips.
        k: number of arms, 2 to 6.
        generator: source of the choices.
        counts: balance table of other strata; the rows left over are chosen to level it, and it is updated.

    Returns:
        n permutations in random order.

    Raises:
        StudyError: when k is out of range.
    """
    squares = latin_squares(k)
    totals = [[0] * k for _ in range(k)] if counts is None else counts
    unused: list[list[Permutation]] = []
    chosen: list[Permutation] = []
    for _ in range(n // k):
        if not unused:
            unused = list(squares)
            generator.shuffle(unused)
        chosen += unused.pop()
    _add(totals, chosen)
    if n % k:
        candidates = unused or list(squares)
        generator.shuffle(candidates)
        rows = min(
            (_level_rows(square, n % k, totals, generator) for square in candidates),
            key=lambda found: found[0],
        )[1]
        _add(totals, rows)
        chosen += rows
    generator.shuffle(chosen)
    return chosen


def _add(totals: list[list[int]], chosen: Sequence[Permutation]) -> None:
    for permutation in chosen:
        for position, arm in enumerate(permutation):
            totals[arm][position] += 1


def _level_rows(
    square: Sequence[Permutation], number: int, totals: list[list[int]], generator: CounterGenerator
) -> tuple[int, list[Permutation]]:
    """Return the `number` rows of a square that fall on the lowest counts, and the sum of those counts.

    The rows of a Latin square share no cell, so the sum of squares of the new counts is least for the least
    sum.
    """
    rows = list(square)
    generator.shuffle(rows)
    loads = {row: sum(totals[arm][position] for position, arm in enumerate(row)) for row in rows}
    rows.sort(key=loads.__getitem__)
    return sum(loads[row] for row in rows[:number]), rows[:number]


def order_apart(subjects: Sequence[str], generator: CounterGenerator) -> list[int]:
    """Return a random order of the clips in which a subject follows itself as seldom as possible.

    With c the clips of the most frequent subject among n, that is max(0, 2c − n − 1) times.

    Args:
        subjects: the subject of each clip.
        generator: source of the choices.

    Returns:
        Indices into `subjects`.
    """
    remaining = list(range(len(subjects)))
    order: list[int] = []
    previous: str | None = None
    while remaining:
        left = Counter(subjects[clip] for clip in remaining)
        others = [clip for clip in remaining if subjects[clip] != previous]
        frequent, most = left.most_common(1)[0]
        if frequent != previous and 2 * most > len(remaining):
            # Unless its turn is now, this subject would have to follow itself later.
            others = [clip for clip in remaining if subjects[clip] == frequent]
        candidates = others or remaining
        clip = candidates[generator.below(len(candidates))]
        remaining.remove(clip)
        order.append(clip)
        previous = subjects[clip]
    return order


def repeat_gap(clips: int) -> int:
    """Return how many presentations after its first showing a clip of so many comes again at the earliest."""
    return max(MINIMUM_REPEAT_GAP, -(-clips // 3))


def check_repeats(clips: int, repeats: int) -> None:
    """Make sure that so many of the clips can be repeated. Raises StudyError."""
    if not 0 <= repeats <= clips:
        raise StudyError(f"{repeats} of {clips} clips cannot be repeated: repeat from none to all.")
    if repeats and clips < MINIMUM_REPEAT_GAP:
        raise StudyError(
            f"Hidden repeats come at least {MINIMUM_REPEAT_GAP} presentations later, which {clips} clips do "
            f"not allow: import at least {MINIMUM_REPEAT_GAP}, or set repeat_share to 0."
        )


def repeats_among(
    subjects: Sequence[str], strata: Sequence[str], repeats: int, generator: CounterGenerator
) -> list[tuple[int, bool]]:
    """Return an order of clips and hidden repeats: (index of the clip, whether it is the repeat).

    No subject follows itself if such an order is found among 200 random ones, else it does as seldom as in
    the best of them.

    Args:
        subjects: the subject of each clip.
        strata: the stratum of each clip; repeats are drawn from each by its size.
        repeats: how many clips are shown again.
        generator: source of the choices.

    Raises:
        StudyError: when there are too few clips for so many repeats.
    """
    check_repeats(len(subjects), repeats)
    best: list[tuple[int, bool]] = []
    fewest = len(subjects) + repeats
    unavoidable = max(0, 2 * max(Counter(subjects).values(), default=0) - fewest - 1)
    for _ in range(_ATTEMPTS):
        order = order_apart(subjects, generator)
        shown = _with_repeats(
            order, _repeat_places(len(order), repeats, generator), subjects, strata, generator
        )
        met = follow_ups([subjects[clip] for clip, _ in shown])
        if met < fewest:
            best, fewest = shown, met
        if fewest <= unavoidable:
            break
    return best


def _repeat_places(clips: int, repeats: int, generator: CounterGenerator) -> set[int]:
    """Draw the places of the repeats in the order, such that each has a clip shown early enough before."""
    gap, total = repeat_gap(clips), clips + repeats
    for _ in range(_ATTEMPTS):
        free = list(range(gap, total))
        generator.shuffle(free)
        places = sorted(free[:repeats])
        early = [place - gap + 1 - sum(other <= place - gap for other in places) for place in places]
        if all(number >= wanted for wanted, number in enumerate(early, start=1)):
            return set(places)
    # At the end there is always room: the gap is not longer than the clips are many.
    return set(range(clips, total))


def _with_repeats(
    order: Sequence[int],
    places: set[int],
    subjects: Sequence[str],
    strata: Sequence[str],
    generator: CounterGenerator,
) -> list[tuple[int, bool]]:
    """Fill the places of the repeats with clips shown early enough, from each stratum by its size."""
    gap = repeat_gap(len(order))
    following = iter(order)
    shown = [
        (-1, True) if place in places else (next(following), False)
        for place in range(len(order) + len(places))
    ]
    sizes = Counter(strata)
    used: Counter[str] = Counter()
    again: set[int] = set()
    for place in sorted(places):
        due = [clip for clip, repeated in shown[: place - gap + 1] if not repeated and clip not in again]
        beside = {subjects[clip] for clip, _ in shown[place - 1 : place + 2] if clip >= 0}
        due = [clip for clip in due if subjects[clip] not in beside] or due
        shares = {stratum: Fraction(used[stratum] + 1, size) for stratum, size in sizes.items()}
        least = min(shares[strata[clip]] for clip in due)
        due = [clip for clip in due if shares[strata[clip]] == least]
        clip = due[generator.below(len(due))]
        shown[place] = (clip, True)
        again.add(clip)
        used[strata[clip]] += 1
    return shown


def follow_ups(subjects: Sequence[str]) -> int:
    """Return how often a subject follows itself."""
    return sum(one == other for one, other in zip(subjects, subjects[1:], strict=False))


def _moved(first: Permutation, totals: list[list[int]], generator: CounterGenerator) -> Permutation:
    """Return an order of the panels in which every arm stands elsewhere, chosen to level the counts."""
    others = [
        other
        for other in permutations(range(len(first)))
        if all(arm != before for arm, before in zip(other, first, strict=True))
    ]
    loads = [sum(totals[arm][position] for position, arm in enumerate(other)) for other in others]
    lightest = [other for other, load in zip(others, loads, strict=True) if load == min(loads)]
    chosen = lightest[generator.below(len(lightest))]
    _add(totals, [chosen])
    return chosen


def reader_schedule(
    seed: int | str,
    reader: str,
    clips: Sequence[tuple[str, str]],
    arms: int = 3,
    *,
    strata: Sequence[str] | None = None,
    repeats: int = 0,
    practice: Sequence[tuple[str, str]] = (),
) -> list[Presentation]:
    """Make the schedule of one reader.

    Args:
        seed: of the study.
        reader: the reader's name; another name gets another schedule.
        clips: (clip id, subject) of each clip, each clip once.
        arms: number of arms, 2 to 6.
        strata: the stratum of each clip; positions are balanced within each. One stratum by default.
        repeats: how many clips are shown again, unmarked.
        practice: (clip id, subject) of each practice case; they come first.

    Returns:
        The presentations in the order of showing, `permutation[position]` = arm.

    Raises:
        StudyError: when clips repeat, the strata do not fit the clips, the clips are too few for the
            repeats, or the number of arms is out of range.
    """
    clip_ids = [clip_id for clip_id, _ in clips]
    practice_ids = [clip_id for clip_id, _ in practice]
    if len({*clip_ids, *practice_ids}) != len(clip_ids) + len(practice_ids):
        raise StudyError("A clip is listed twice in the schedule: list each once.")
    groups = [""] * len(clips) if strata is None else list(strata)
    if len(groups) != len(clips):
        raise StudyError(f"{len(clips)} clips came with {len(groups)} strata: give one for each clip.")
    shown = _practice(seed, reader, practice, arms)
    generator = CounterGenerator(SCHEDULE_VERSION, str(seed), reader)
    counts = [[0] * arms for _ in range(arms)]
    permutation_of: dict[int, Permutation] = {}
    for group in dict.fromkeys(groups):
        members = [clip for clip, stratum in enumerate(groups) if stratum == group]
        permutation_of.update(
            zip(members, positions_balanced(len(members), arms, generator, counts), strict=True)
        )
    subjects = [subject for _, subject in clips]
    if repeats:
        order = repeats_among(subjects, groups, repeats, generator)
    else:
        order = [(clip, False) for clip in order_apart(subjects, generator)]
    totals = [[0] * arms for _ in range(arms)]
    for clip, repeated in order:
        permutation = permutation_of[clip]
        if repeated:
            shown.append((clip_ids[clip], _moved(permutation, totals, generator), "repeat"))
        else:
            shown.append((clip_ids[clip], permutation, "reading"))
    return [
        Presentation(index, _presentation_id(seed, reader, index), clip_id, permutation, kind)
        for index, (clip_id, permutation, kind) in enumerate(shown)
    ]


def _practice(
    seed: int | str, reader: str, clips: Sequence[tuple[str, str]], arms: int
) -> list[tuple[str, Permutation, Kind]]:
    """Practice cases in their order; drawn apart, so that they change nothing of what follows."""
    generator = CounterGenerator(SCHEDULE_VERSION, "practice", str(seed), reader)
    chosen = positions_balanced(len(clips), arms, generator)
    order = order_apart([subject for _, subject in clips], generator)
    return [
        (clips[clip][0], permutation, "practice") for clip, permutation in zip(order, chosen, strict=True)
    ]


def _presentation_id(seed: int | str, reader: str, index: int) -> str:
    key = [SCHEDULE_VERSION, "presentation", str(seed), unicodedata.normalize("NFC", reader), index]
    return hashlib.sha256(json.dumps(key, separators=(",", ":")).encode()).hexdigest()[:16]
