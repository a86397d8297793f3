"""The clock against times that the test itself tells."""

from __future__ import annotations

import math
import sys
import time as time_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from app.playback import PlaybackClock


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
    due = math.floor((time.now_s - 100.0) * speed / 0.04)
    assert clock.frames_shown + clock.frames_skipped == due
    assert clock.frame == due % 7


def test_loop_counts_only_when_every_frame_was_shown(clock: PlaybackClock, time: Time) -> None:
    clock.play()
    time.now_s += 0.25  # frame 1 is skipped
    clock.look()
    for _ in range(8):
        time.now_s += 0.1
        clock.look()
    assert clock.frame == 0
    assert clock.loops_completed == 0
    time.now_s += 0.1
    clock.look()
    assert clock.frame == 1
    assert clock.loops_completed == 1


def test_stepping_through_completes_a_loop(clock: PlaybackClock) -> None:
    for _ in range(9):
        clock.step(1)
    assert clock.loops_completed == 1
    assert not clock.playing


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
    assert (clock.frame, clock.frames_skipped, clock.loops_completed, clock.playing) == (0, 0, 0, False)


def test_single_frame_does_not_play(clock: PlaybackClock) -> None:
    clock.set_frames(1, 0.1)
    clock.play()
    assert not clock.playing
    assert clock.loops_completed == 1


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


def test_real_time_does_not_drift(qtbot: QtBot) -> None:
    clock = PlaybackClock()
    clock.set_frames(1000, 0.02)
    behind: list[float] = []

    def compare(_frame: int) -> None:
        due = (time_module.perf_counter() - began) / 0.02
        behind.append(due - (clock.frames_shown + clock.frames_skipped))

    clock.frame_changed.connect(compare)
    began = time_module.perf_counter()
    clock.play()
    qtbot.wait(600)
    # When it is shown, at most the present frame has begun; a counting timer would fall further behind.
    assert len(behind) > 5
    assert max(behind) < 1.5
    assert min(behind) > -0.5


def test_signals_do_not_lose_references_to_true(qapp: object) -> None:
    """PySide6 6.12.0 on Python 3.11 lost a reference to True at every emit and aborted after some 570."""
    clock = PlaybackClock()
    clock.set_frames(2, 0.1)
    before = sys.getrefcount(True)
    for _ in range(300):
        clock.toggle()
    assert abs(sys.getrefcount(True) - before) < 20
