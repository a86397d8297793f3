"""The clock against times that the test itself tells."""

from __future__ import annotations

import math
import sys
import time as time_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from app.playback import PassCounter, PlaybackClock


class Time:
    """A time that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(qapp: object, time: Time) -> PlaybackClock:
    clock = PlaybackClock(elapsed_s=time)
    clock.set_frames(10, 0.1)
    return clock


def test_frame_follows_elapsed_time(clock: PlaybackClock, time: Time) -> None:
    shown: list[int] = []
    clock.frame_changed.connect(shown.append)
    clock.play()
    for hundredth in range(1, 131):
        time.now_s = 100.0 + hundredth / 100 + 1e-6
        clock.look()
    assert shown == [*range(1, 10), 0, 1, 2, 3]
    assert clock.frames_skipped == 0


def test_late_look_catches_up_and_counts_skipped_frames(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 0.45
    clock.look()
    assert clock.frame == 4
    assert clock.frames_skipped == 3
    time.now_s += 0.1
    clock.look()
    assert (clock.frame, clock.frames_skipped, clock.frames_shown) == (5, 3, 2)


@given(
    steps_s=st.lists(st.floats(0.0, 0.9), min_size=1, max_size=60), speed=st.sampled_from([0.25, 1.0, 2.0])
)
@settings(max_examples=60, deadline=None)
def test_no_frame_is_lost_from_the_count(qapp: object, steps_s: list[float], speed: float) -> None:
    time = Time()
    clock = PlaybackClock(elapsed_s=time)
    clock.set_frames(7, 0.04)
    clock.set_speed(speed)
    clock.play()
    for step_s in steps_s:
        time.now_s += step_s
        clock.look()
    passed = (time.now_s - 100.0) * speed / 0.04
    counted = clock.frames_shown + clock.frames_skipped
    # Where a frame begins just now, the last digit decides.
    assert math.floor(passed - 1e-9) <= counted <= math.floor(passed + 1e-9)
    assert clock.frame == counted % 7


def test_step_goes_round_both_ends_and_pauses(clock: PlaybackClock) -> None:
    clock.play()
    clock.step(-1)
    assert clock.frame == 9
    assert not clock.playing
    clock.step(1)
    assert clock.frame == 0


def test_change_of_speed_does_not_jump(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 0.25
    clock.look()
    assert clock.frame == 2
    clock.set_speed(0.5)
    clock.look()
    assert clock.frame == 2
    time.now_s += 0.09  # half a frame was left, which now takes 0.1 s
    clock.look()
    assert clock.frame == 2
    time.now_s += 0.02
    clock.look()
    assert clock.frame == 3


def test_seek_while_playing_goes_on_from_there(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 0.35
    clock.look()
    clock.seek(7)
    assert clock.playing
    time.now_s += 0.11
    clock.look()
    assert clock.frame == 8


def test_pause_holds_the_frame(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 0.35
    clock.look()
    clock.pause()
    time.now_s += 5
    clock.play()
    time.now_s += 0.05
    clock.look()
    assert clock.frame == 3
    assert clock.frames_skipped == 2


def test_new_clip_forgets_counts(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 3.05
    clock.look()
    clock.set_frames(5, 0.02)
    assert (clock.frame, clock.frames_skipped, clock.frames_shown, clock.playing) == (0, 0, 0, False)


def test_single_frame_does_not_play(clock: PlaybackClock) -> None:
    clock.set_frames(1, 0.1)
    clock.play()
    assert not clock.playing


def test_speeds_are_offered_in_order(clock: PlaybackClock) -> None:
    clock.faster()
    assert clock.speed == 1.5
    for _ in range(10):
        clock.slower()
    assert clock.speed == 0.25


@pytest.mark.parametrize(("count", "interval_s"), [(-1, 0.1), (5, 0.0), (5, math.nan), (5, math.inf)])
def test_impossible_clips_are_refused(clock: PlaybackClock, count: int, interval_s: float) -> None:
    with pytest.raises(ValueError, match=r"cannot have|positive"):
        clock.set_frames(count, interval_s)


@given(
    gaps_s=st.lists(st.floats(0.01, 0.2), min_size=2, max_size=9),
    looks_s=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=40),
    speed=st.sampled_from([0.25, 1.0, 2.0]),
    marks=st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
@settings(max_examples=80, deadline=None)
def test_uneven_frames_and_loops_follow_a_written_out_timetable(
    qapp: object, gaps_s: list[float], looks_s: list[float], speed: float, marks: tuple[int, int]
) -> None:
    time = Time()
    clock = PlaybackClock(elapsed_s=time)
    count = len(gaps_s)
    times_s = [7 + sum(gaps_s[:index]) for index in range(count)]
    clock.set_frames(count, gaps_s[-1], times_s)
    clock.set_speed(speed)
    first, last = sorted(min(mark, count - 1) for mark in marks)
    clock.seek(last)
    clock.set_b()
    clock.seek(first)
    clock.set_a()
    if first == last:
        assert clock.ab_loop is None
        first, last = 0, count - 1
        clock.seek(0)
    clock.play()
    timetable = []  # when each frame begins, round after round
    begins_s = 0.0
    while begins_s <= sum(looks_s) * speed + 0.1:
        for frame in range(first, last + 1):
            timetable.append((begins_s, frame))
            begins_s += gaps_s[frame]
    for look_s in looks_s:
        time.now_s += look_s
        clock.look()
        played_s = (time.now_s - 100.0) * speed
        near = [frame for begin_s, frame in timetable if abs(begin_s - played_s) < 1e-9]
        due = [frame for begin_s, frame in timetable if begin_s <= played_s]
        assert clock.frame == due[-1] or near
    if not near:
        assert clock.frames_shown + clock.frames_skipped == len(due) - 1


def test_loop_from_a_to_b_goes_round_until_it_is_cleared(clock: PlaybackClock, time: Time) -> None:
    clock.seek(6)
    clock.set_b()
    clock.seek(3)
    clock.set_a()
    assert clock.ab_loop == (3, 6)
    clock.play()
    shown: list[int] = []
    clock.frame_changed.connect(shown.append)
    for _ in range(10):
        time.now_s += 0.1 + 1e-6
        clock.look()
    assert shown == [4, 5, 6, 3, 4, 5, 6, 3, 4, 5]
    clock.clear_ab()
    for _ in range(8):
        time.now_s += 0.1 + 1e-6
        clock.look()
    assert shown[10:] == [6, 7, 8, 9, 0, 1, 2, 3]
    assert clock.frames_skipped == 0


def test_marks_may_be_set_in_either_order(clock: PlaybackClock) -> None:
    clock.seek(7)
    clock.set_a()
    assert (clock.marks, clock.ab_loop) == ((7, None), None)
    clock.seek(2)
    clock.set_b()
    assert clock.ab_loop == (2, 7)
    clock.set_frames(10, 0.1)
    assert clock.marks == (None, None)


def test_frame_outside_the_loop_gives_way_to_its_beginning(clock: PlaybackClock, time: Time) -> None:
    clock.seek(3)
    clock.set_a()
    clock.seek(6)
    clock.set_b()
    clock.seek(9)
    assert clock.frame == 9  # paused, every frame can be looked at
    clock.play()
    assert clock.frame == 3
    clock.seek(0)
    assert clock.frame == 3
    clock.seek(9)
    assert clock.frame == 6
    time.now_s += 0.11
    clock.look()
    assert clock.frame == 3


def test_mark_while_playing_keeps_the_frame_and_its_time(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 0.21
    clock.look()
    clock.set_a()
    time.now_s += 0.25
    clock.look()
    clock.set_b()
    assert (clock.ab_loop, clock.frame) == ((2, 4), 4)
    time.now_s += 0.03  # frame 4 has lasted 0.09 s
    clock.look()
    assert clock.frame == 4
    time.now_s += 0.02
    clock.look()
    assert clock.frame == 2


def test_every_frame_is_shown_once_and_lost_time_stays_lost(clock: PlaybackClock, time: Time) -> None:
    clock.set_every_frame(True)
    shown: list[int] = []
    clock.frame_changed.connect(shown.append)
    clock.play()
    for _ in range(8):
        time.now_s += 0.35  # three frames late at every look
        clock.look()
    assert shown == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (clock.frames_shown, clock.frames_skipped) == (8, 0)
    clock.look()
    time.now_s += 0.09
    clock.look()
    assert clock.frame == 8  # it does not hurry after the time that was lost
    time.now_s += 0.02
    clock.look()
    assert clock.frame == 9


def test_every_frame_waits_for_the_panels(clock: PlaybackClock, time: Time) -> None:
    painted = False
    clock.watch_painting(lambda: painted)
    clock.set_every_frame(True)
    clock.play()
    for _ in range(3):
        time.now_s += 0.15
        clock.look()
    assert clock.frame == 0
    painted = True
    clock.look()
    assert (clock.frame, clock.frames_skipped) == (1, 0)


def test_frame_that_was_never_painted_was_skipped(clock: PlaybackClock, time: Time) -> None:
    answers = iter((True, True, False, False, True))  # whether the frame that has to go was painted
    clock.watch_painting(lambda: next(answers))
    clock.play()
    for _ in range(5):
        time.now_s += 0.1 + 1e-6
        clock.look()
    # Announced: 1 to 5; not painted when the next came: 2 and 3.
    assert (clock.frames_shown, clock.frames_skipped) == (3, 2)


@pytest.mark.parametrize("times_s", [[0.0, 0.1], [0.0, 0.2, 0.1], [0.0, 0.1, math.nan]])
def test_impossible_times_are_refused(clock: PlaybackClock, times_s: list[float]) -> None:
    with pytest.raises(ValueError, match="frame times"):
        clock.set_frames(3, 0.1, times_s)


def test_passes_are_counted_panel_by_panel() -> None:
    counter = PassCounter(3, 2)
    for frame in (0, 2, 2, 1):
        counter.see(0, frame)
    for frame in (0, 1, 0, 1):
        counter.see(1, frame)
    assert counter.passes == [1, 0]
    assert counter.unseen == [3, 1]
    assert counter.see(1, 2)
    assert counter.passes == [1, 1]


def test_real_time_does_not_drift(qtbot: QtBot) -> None:
    reads_s: list[float] = []

    def elapsed_s() -> float:
        reads_s.append(time_module.perf_counter())
        return reads_s[-1]

    clock = PlaybackClock(elapsed_s=elapsed_s)
    clock.set_frames(1000, 0.02)
    behind: list[float] = []

    def compare(_frame: int) -> None:
        due = (reads_s[-1] - began_s) / 0.02
        behind.append(due - (clock.frames_shown + clock.frames_skipped))

    clock.frame_changed.connect(compare)
    clock.play()
    began_s = reads_s[0]
    qtbot.waitUntil(lambda: len(behind) > 20, timeout=60_000)
    # At the time that the clock has read, the present frame has begun and the next has not.
    assert min(behind) > -1e-6
    assert max(behind) < 1 + 1e-6


def test_signals_do_not_lose_references_to_true(qapp: object) -> None:
    """PySide6 6.12.0 on Python 3.11 lost a reference to True at every emit and aborted after some 570."""
    clock = PlaybackClock()
    clock.set_frames(2, 0.1)
    before = sys.getrefcount(True)
    for _ in range(300):
        clock.toggle()
    assert abs(sys.getrefcount(True) - before) < 20
