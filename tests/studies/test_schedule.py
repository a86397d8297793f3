"""Schedules: balance, order, and the same bytes everywhere."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import MutableSequence
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.schedule import (
    CounterGenerator,
    _repeat_places,
    follow_ups,
    latin_squares,
    order_apart,
    position_counts,
    positions_balanced,
    reader_schedule,
    repeat_gap,
    repeats_among,
)


def test_generator_is_sha256_in_counter_mode() -> None:
    """The words computed with hashlib alone."""
    key = hashlib.sha256(json.dumps(["a", "b"], separators=(",", ":")).encode()).digest()
    stream = b"".join(hashlib.sha256(key + block.to_bytes(8, "big")).digest() for block in range(3))
    expected = [int.from_bytes(stream[start : start + 8], "big") for start in range(0, 96, 8)]
    generator = CounterGenerator("a", "b")
    # 2**64 is an exact multiple of this bound, so no word is thrown away.
    assert [generator.below(2**32) for _ in expected] == [word % 2**32 for word in expected]


def test_generator_is_uniform_and_separates_keys() -> None:
    """6000 throws of a die, each face within 5 standard deviations; ("ab", "c") is not ("a", "bc")."""
    generator = CounterGenerator("die")
    faces = Counter(generator.below(6) for _ in range(6000))
    assert set(faces) == set(range(6))
    assert all(abs(count - 1000) < 5 * (6000 * 5 / 36) ** 0.5 for count in faces.values())
    assert CounterGenerator("ab", "c").below(2**64) != CounterGenerator("a", "bc").below(2**64)
    with pytest.raises(ValueError, match="bound"):
        generator.below(0)


def test_words_of_the_last_incomplete_run_are_thrown_away() -> None:
    """Of a bound just over half of 2**64, every other word is beyond the only whole run."""
    bound = 2**63 + 1
    key = hashlib.sha256(json.dumps(["half"], separators=(",", ":")).encode()).digest()
    stream = b"".join(hashlib.sha256(key + block.to_bytes(8, "big")).digest() for block in range(10))
    words = [int.from_bytes(stream[start : start + 8], "big") for start in range(0, len(stream), 8)]
    kept = [word for word in words if word < bound]
    assert 0 < len(kept) < len(words)
    generator = CounterGenerator("half")
    assert [generator.below(bound) for _ in kept] == kept


def test_shuffle_reaches_all_orders_equally() -> None:
    """2400 shuffles of three: each of 6 orders within 5 standard deviations of 400."""
    generator = CounterGenerator("shuffle")
    orders: Counter[tuple[int, ...]] = Counter()
    for _ in range(2400):
        items = [0, 1, 2]
        generator.shuffle(items)
        orders[tuple(items)] += 1
    assert len(orders) == 6
    assert all(abs(count - 400) < 5 * (2400 * 5 / 36) ** 0.5 for count in orders.values())


@pytest.mark.parametrize("arms", range(2, 7))
def test_latin_squares_hold_each_permutation_once(arms: int) -> None:
    """Each square has every arm once in each position; together they are all k! permutations."""
    squares = latin_squares(arms)
    for square in squares:
        assert position_counts(square, arms) == [[1] * arms] * arms
    assert sorted(row for square in squares for row in square) == sorted(permutations(range(arms)))


@given(st.integers(0, 60), st.integers(2, 6), st.text(max_size=5))
@settings(max_examples=80, deadline=None)
def test_positions_are_level(n: int, arms: int, seed: str) -> None:
    """n permutations; no two cells of arm × position differ by more than 1."""
    chosen = positions_balanced(n, arms, CounterGenerator(seed))
    assert len(chosen) == n
    assert all(sorted(row) == list(range(arms)) for row in chosen)
    cells = [count for row in position_counts(chosen, arms) for count in row]
    assert max(cells) - min(cells) <= 1


@pytest.mark.parametrize("n", [6, 10, 12, 15, 20, 24])
def test_three_arms_come_in_full_blocks_of_six(n: int) -> None:
    """Each permutation at least ⌊n/6⌋ times and at most once more; n = 10 gives 3…4 in every cell."""
    for seed in range(20):
        chosen = Counter(positions_balanced(n, 3, CounterGenerator(str(seed))))
        assert min(chosen[row] for row in permutations(range(3))) == n // 6
        assert max(chosen.values()) <= n // 6 + 1


def test_strata_are_level_each_and_together() -> None:
    """Nine strata of 1…4 clips: each within 1, all within 2."""
    strata = [f"s{stratum}" for stratum in range(9) for _ in range(1 + stratum % 4)]
    clips = [(f"c{number}", f"P{number}") for number in range(len(strata))]
    stratum_of = dict(zip((clip_id for clip_id, _ in clips), strata, strict=True))
    for seed in range(30):
        schedule = reader_schedule(seed, "Anna", clips, strata=strata)
        everything = [count for row in position_counts([p.permutation for p in schedule], 3) for count in row]
        assert max(everything) - min(everything) <= 2
        for stratum in set(strata):
            rows = [p.permutation for p in schedule if stratum_of[p.clip_id] == stratum]
            cells = [count for row in position_counts(rows, 3) for count in row]
            assert max(cells) - min(cells) <= 1


def repeats(subjects: list[str]) -> int:
    """How often a subject follows itself."""
    return sum(a == b for a, b in zip(subjects, subjects[1:], strict=False))


def test_subjects_follow_themselves_as_seldom_as_possible() -> None:
    """Against all orders of every list of up to six clips of three subjects."""
    for length in range(1, 7):
        for subjects in {tuple(sorted(choice)) for choice in product("abc", repeat=length)}:
            best = min(repeats(list(order)) for order in set(permutations(subjects)))
            for seed in range(5):
                order = order_apart(subjects, CounterGenerator(str(seed)))
                assert sorted(order) == list(range(length))
                assert repeats([subjects[clip] for clip in order]) == best
            assert best == max(0, 2 * max(Counter(subjects).values()) - length - 1)


def test_every_order_apart_can_come() -> None:
    """Two clips each of two subjects have 8 orders apart; 400 draws see them all."""
    generator = CounterGenerator("orders")
    seen = {tuple(order_apart(["a", "a", "b", "b"], generator)) for _ in range(400)}
    assert len(seen) == 8


CLIPS = [(f"clip{number:02d}", f"P{number // 2}") for number in range(10)]


def test_schedule_is_stable_and_differs_between_readers_and_seeds() -> None:
    """Same seed and name, same schedule; each clip once; ids opaque and different."""
    anna = reader_schedule(7, "Anna", CLIPS)
    assert anna == reader_schedule("7", "Anna", CLIPS)
    assert sorted(p.clip_id for p in anna) == [clip_id for clip_id, _ in CLIPS]
    assert [p.index for p in anna] == list(range(10))
    others = [reader_schedule(7, "Ben", CLIPS), reader_schedule(8, "Anna", CLIPS)]
    for other in others:
        assert [p.clip_id for p in other] != [p.clip_id for p in anna]
        assert {p.presentation_id for p in other}.isdisjoint(p.presentation_id for p in anna)
    assert len({p.presentation_id for p in anna}) == 10
    subject_of = dict(CLIPS)
    assert repeats([subject_of[p.clip_id] for p in anna]) == 0


def test_schedule_has_the_same_bytes_everywhere() -> None:
    """A pinned digest: a change of Python, platform or code that alters any schedule must show here."""
    text = json.dumps(
        [[p.presentation_id, p.clip_id, p.permutation] for p in reader_schedule(7, "Zoë", CLIPS)]
    )
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "ff46590ed27bf8680e3d20ea77d86a0cef4b7b456bdd5635a7d7d590bcd4a170"
    )
    decomposed = reader_schedule(7, "Zoe\u0308", CLIPS)
    assert decomposed == reader_schedule(7, "Zoë", CLIPS)


def test_bad_requests_are_refused() -> None:
    """Clips twice, strata of another length, too many arms."""
    with pytest.raises(StudyError, match="listed twice"):
        reader_schedule(1, "Anna", [("a", "P"), ("a", "Q")])
    with pytest.raises(StudyError, match="2 clips came with 1 strata"):
        reader_schedule(1, "Anna", [("a", "P"), ("b", "Q")], strata=["x"])
    with pytest.raises(StudyError, match="2 to 6 arms, not for 7"):
        reader_schedule(1, "Anna", CLIPS, 7)


# Hidden repeats and practice cases


@st.composite
def studies(draw: st.DrawFn) -> tuple[int, list[tuple[str, str]], list[str], int, int]:
    """Arms, clips with subjects, strata, repeats, practice cases."""
    n = draw(st.integers(6, 30))
    subjects = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    strata = draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    clips = [(f"c{number}", f"P{subject}") for number, subject in enumerate(subjects)]
    return draw(st.integers(2, 6)), clips, strata, draw(st.integers(0, n)), draw(st.integers(0, 4))


@given(studies(), st.text(max_size=4))
@settings(max_examples=80, deadline=None)
def test_repeats_are_late_other_and_practice_is_first(
    study: tuple[int, list[tuple[str, str]], list[str], int, int], seed: str
) -> None:
    """All that is promised of one schedule, counted from its lines."""
    arms, clips, strata, repeats, practice_cases = study
    practice = [(f"p{number}", f"Q{number}") for number in range(practice_cases)]
    schedule = reader_schedule(seed, "Anna", clips, arms, strata=strata, repeats=repeats, practice=practice)
    assert [item.index for item in schedule] == list(range(len(clips) + repeats + practice_cases))
    assert len({item.presentation_id for item in schedule}) == len(schedule)
    kinds = "".join(item.kind[:3] + " " for item in schedule).split()
    assert kinds[:practice_cases] == ["pra"] * practice_cases
    assert kinds.count("pra") == practice_cases and kinds.count("rep") == repeats
    assert sorted(p.clip_id for p in schedule[:practice_cases]) == sorted(name for name, _ in practice)
    first = {item.clip_id: item for item in schedule if item.kind == "reading"}
    assert sorted(first) == sorted(name for name, _ in clips)
    again = [item for item in schedule if item.kind == "repeat"]
    assert len({item.clip_id for item in again}) == repeats
    for item in again:
        before = first[item.clip_id]
        assert item.index - before.index >= max(6, len(clips) / 3)
        assert all(one != other for one, other in zip(item.permutation, before.permutation, strict=True))
        assert sorted(item.permutation) == list(range(arms))
    stratum_of = dict(zip((name for name, _ in clips), strata, strict=True))
    for stratum in set(strata):
        rows = [p.permutation for p in first.values() if stratum_of[p.clip_id] == stratum]
        cells = [count for row in position_counts(rows, arms) for count in row]
        assert max(cells) - min(cells) <= 1


def test_without_repeats_and_practice_nothing_is_drawn_otherwise() -> None:
    """Practice cases shift what follows and change nothing of it; permutations do not depend on repeats."""
    plain = reader_schedule(7, "Anna", CLIPS)
    practised = reader_schedule(7, "Anna", CLIPS, practice=[("x", "X"), ("y", "Y")])
    assert [(p.clip_id, p.permutation) for p in practised[2:]] == [(p.clip_id, p.permutation) for p in plain]
    repeated = reader_schedule(7, "Anna", CLIPS, repeats=4)
    permutation_of = {p.clip_id: p.permutation for p in plain}
    assert {p.clip_id: p.permutation for p in repeated if p.kind == "reading"} == permutation_of


def fewest_follow_ups(subjects: list[str], repeats: int) -> int:
    """How seldom subjects can follow themselves in any order that keeps the gap: a search through all."""
    total, gap = len(subjects) + repeats, repeat_gap(len(subjects))

    def search(shown: list[int], first: dict[int, int], left: int, allowed: int) -> bool:
        if len(shown) == total:
            return True
        place = len(shown)
        for clip, subject in enumerate(subjects):
            rest = allowed - bool(shown and subjects[shown[-1]] == subject)
            if rest < 0:
                continue
            if clip not in first:
                if search([*shown, clip], {**first, clip: place}, left, rest):
                    return True
            elif left and shown.count(clip) == 1 and place - first[clip] >= gap:
                if search([*shown, clip], first, left - 1, rest):
                    return True
        return False

    return next(allowed for allowed in range(total) if search([], {}, repeats, allowed))


@pytest.mark.parametrize(
    "subjects",
    ["aabbcc", "abcdef", "aaabcd", "aabbcde", "aaabbcd", "aabbccdd", "aaaabcd", "aaaaab", "aaaabb"],
)
@pytest.mark.parametrize("repeats", [1, 2, 4])
def test_with_repeats_subjects_follow_themselves_as_seldom_as_possible(subjects: str, repeats: int) -> None:
    """Against a search through all orders of small studies."""
    clips = list(subjects)
    fewest = fewest_follow_ups(clips, repeats)
    for seed in range(10):
        order = repeats_among(clips, [""] * len(clips), repeats, CounterGenerator(str(seed)))
        assert follow_ups([clips[clip] for clip, _ in order]) == fewest, order


def test_repeats_come_from_all_strata_and_are_spread() -> None:
    """12 + 8 + 4 clips, 6 repeats: three, two and one of them; their places are not bunched."""
    strata = ["a"] * 12 + ["b"] * 8 + ["c"] * 4
    as_wanted = 0
    places: Counter[int] = Counter()
    for seed in range(200):
        order = repeats_among([str(n) for n in range(24)], strata, 6, CounterGenerator(str(seed)))
        drawn = Counter(strata[clip] for clip, repeated in order if repeated)
        as_wanted += drawn == {"a": 3, "b": 2, "c": 1}
        assert max(abs(drawn["a"] - 3), abs(drawn["b"] - 2), abs(drawn["c"] - 1)) <= 1
        places.update(place for place, (_, repeated) in enumerate(order) if repeated)
    # Only where no clip of a stratum has been shown early enough does another stand in.
    assert as_wanted > 180
    assert min(places) == 8
    # Each of the 22 places that are late enough has 1200 / 22 = 55 on average.
    assert max(places.values()) < 110 and places[29] < 110
    assert sum(places[place] for place in range(8, 19)) > 300


def test_places_at_the_end_are_left_when_no_others_are_found() -> None:
    """A generator that never shuffles proposes places that too few clips precede, again and again."""

    class Stubborn(CounterGenerator):
        def shuffle(self, items: MutableSequence[Any]) -> None:
            assert items == list(range(6, 24))

    assert _repeat_places(12, 12, Stubborn("x")) == set(range(12, 24))


def test_repeated_panels_are_level_too() -> None:
    """Twelve repeats of three arms: no arm stands much more often in one place."""
    clips = [(f"c{number}", f"P{number}") for number in range(24)]
    for seed in range(20):
        again = [p.permutation for p in reader_schedule(seed, "A", clips, repeats=12) if p.kind == "repeat"]
        cells = [count for row in position_counts(again, 3) for count in row]
        assert max(cells) - min(cells) <= 3


def test_repeats_need_enough_clips() -> None:
    """Six clips take repeats, five do not; no more repeats than clips; the sentence says what to do."""
    six = [(f"c{number}", f"P{number}") for number in range(6)]
    assert [p.kind for p in reader_schedule(1, "A", six, repeats=6)] == ["reading"] * 6 + ["repeat"] * 6
    with pytest.raises(StudyError, match="5 clips do not allow: import at least 6, or set repeat_share to 0"):
        reader_schedule(1, "A", six[:5], repeats=1)
    with pytest.raises(StudyError, match="7 of 6 clips"):
        reader_schedule(1, "A", six, repeats=7)
    with pytest.raises(StudyError, match="listed twice"):
        reader_schedule(1, "A", six, practice=six[:1])


GOLDEN = {
    # (arms, clips, repeats, practice): digest of the schedule of "Zoë" with the seed "study 7".
    (2, 8, 4, 0): "30c713736de5b4735fd45a06127dc8e5c5c8bad453cc2f7b61b23cf6738b15ae",
    (3, 10, 4, 3): "1f50557613529e5545f34da9d38b51c1bf860f6e51d23eac310e95132300f242",
    (3, 24, 5, 0): "dd3213db780732b99a67ee9a11b0f0c7f7f3597585e7dd4de7e20a3bb5f3708c",
    (4, 12, 4, 2): "6cda2bce0ae09884a47d34a9788951380f74f4777944638f87a3ae80b96d4626",
    (6, 7, 7, 1): "0092d020ae6a89064fd74758dde0eed6943fa574b79d8ad4d9c77bf800a8ce91",
}


@pytest.mark.parametrize(("case", "digest"), GOLDEN.items())
def test_golden_schedules(case: tuple[int, int, int, int], digest: str) -> None:
    """The same bytes on every system, Python and version: made once, on CPython 3.11 under Linux."""
    arms, n, repeats, practice = case
    schedule = reader_schedule(
        "study 7",
        "Zoë",
        [(f"clip{number:02d}", f"P{number // 2}") for number in range(n)],
        arms,
        strata=["SAX" if number % 3 else "4CH" for number in range(n)],
        repeats=repeats,
        practice=[(f"practice{number}", f"Q{number}") for number in range(practice)],
    )
    text = json.dumps([[p.presentation_id, p.clip_id, p.permutation, p.kind] for p in schedule])
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_a_golden_schedule_in_clear() -> None:
    """The smallest one, to be compared by eye."""
    schedule = reader_schedule("study 7", "Zoë", [(letter, letter) for letter in "abcdef"], repeats=2)
    text = " ".join(
        f"{p.clip_id}{''.join(map(str, p.permutation))}{'*' if p.kind == 'repeat' else ''}" for p in schedule
    )
    assert text == "e210 d102 b120 c021 a012 f201 e102* d021*"
