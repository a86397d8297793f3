"""Schedules: balance, order, and the same bytes everywhere."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.schedule import (
    CounterGenerator,
    latin_squares,
    order_apart,
    position_counts,
    positions_balanced,
    reader_schedule,
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
