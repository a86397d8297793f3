"""Estimates by a fake clock, profiles learnt from past runs, and steps that are left at once."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from recon_backend import tracking
from recon_backend.errors import Cancelled, ReconstructionError
from recon_backend.tracking import Paces, Status, Step, Tracker


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


# How each method spends its time, as (fraction reported, share of the time that has passed by then), as seen
# on two cores: compressed sensing sets up and compiles before it iterates, networks report after each block,
# the first of which compiles, and gridding goes evenly.
PROFILES: dict[str, list[tuple[float, float]]] = {
    "gridded": [(i / 10, i / 10) for i in range(1, 10)],
    "compressed_sensing": [
        (0.05, 0.3), (0.15, 0.45), (0.32, 0.56), (0.49, 0.67), (0.66, 0.78), (0.83, 0.89),
    ],
    "varnet, three blocks": [(1 / 3, 0.55), (2 / 3, 0.78)],
    "unet3d, one block": [],
    "fastdvdnet": [(0.6, 0.75)],
}  # fmt: skip


def play(
    clock: Clock,
    paces: Paces,
    steps: list[tuple[Step, float, list[tuple[float, float]]]],
    tracker: Tracker | None = None,
) -> tuple[list[tuple[float, float | None]], list[float]]:
    """Run a job of steps that take given seconds; returns (elapsed share, estimated total/true total) and
    the fractions shown, at fifty moments of each step."""
    tracker = tracker or Tracker(None, paces, clock)
    tracker.plan([step for step, *_ in steps])
    total_s = sum(seconds for _, seconds, _ in steps)
    began_s = clock.now_s
    seen: list[tuple[float, float | None]] = []
    shown: list[float] = []

    def work(seconds: float, profile: list[tuple[float, float]]) -> Callable[[Callable[[float], None]], None]:
        def body(report: Callable[[float], None]) -> None:
            start_s = clock.now_s
            moments = [(share, fraction) for fraction, share in profile]
            moments += [(i / 50, -1.0) for i in range(1, 50)]
            for share, fraction in sorted(moments):
                clock.now_s = start_s + share * seconds
                if fraction >= 0:
                    report(fraction)
                elapsed_s = clock.now_s - began_s
                left_s = tracker.remaining_s()
                seen.append(
                    (elapsed_s / total_s, None if left_s is None else (elapsed_s + left_s) / total_s)
                )
                shown.append(tracker.fraction())
            clock.now_s = start_s + seconds

        return body

    for step, seconds, profile in steps:
        tracker.run(step, work(seconds, profile))
    return seen, shown


def job(
    method: str, size: float, pace: float, loading_s: float
) -> list[tuple[Step, float, list[tuple[float, float]]]]:
    """Reading, preparation, the model, and a method on a scan of some size at some pace."""
    return [
        (Step("Reading", "reading", size, 0.1, computes=False), 0.5 * size, []),
        (Step("Preparing", "preparation", size, 1.0), 2.0 * size * pace, [(0.3, 0.6)]),
        (Step("Loading", "loading", 1.0, 1.0, computes=False), loading_s, []),
        (Step(method, method, size, 7.0), 10.0 * size * pace, PROFILES[method]),
    ]


@pytest.mark.parametrize("method", PROFILES)
@pytest.mark.parametrize("pace", [0.8, 1.0, 1.25])
def test_after_a_quarter_the_estimate_is_good_to_thirty_per_cent(method: str, pace: float) -> None:
    """The machine is slower or faster than last time, the scan 2.5 times as long, and loading takes half."""
    clock, paces = Clock(), Paces(None)
    play(clock, paces, job(method, 1.0, 1.0, 1.0))
    seen, shown = play(clock, paces, job(method, 2.5, pace, 0.5))
    late = [ratio for share, ratio in seen if share >= 0.25]
    assert all(ratio is not None and abs(ratio - 1) <= 0.30 for ratio in late)
    assert shown == sorted(shown)
    assert shown[-1] > 0.85


@pytest.mark.parametrize("slower", [0.2, 1.0, 5.0])
def test_the_first_job_ever_learns_from_its_own_reports(slower: float) -> None:
    """Nothing is known, and the guesses are wrong by a factor; reports come evenly."""
    clock = Clock()
    even = [(i / 20, i / 20) for i in range(1, 20)]
    steps = [(Step("A", "a", 1.0, 2.0), 2.0 * slower, even), (Step("B", "b", 1.0, 6.0), 6.0 * slower, even)]
    seen, _ = play(clock, Paces(None), steps)
    assert seen[0][1] is None  # rather nothing than a guess
    late = [ratio for share, ratio in seen if share >= 0.25]
    assert all(ratio is not None and abs(ratio - 1) <= 0.30 for ratio in late)


def test_without_the_learnt_profile_the_estimate_would_be_wrong() -> None:
    """The test above can fail: with a straight profile the setup of compressed sensing misleads."""
    clock, paces = Clock(), Paces(None)
    steps = job("compressed_sensing", 1.0, 1.0, 1.0)
    straight = [(step, seconds, []) for step, seconds, _ in steps]
    play(clock, paces, straight)
    seen, _ = play(clock, paces, job("compressed_sensing", 2.5, 1.0, 0.5))
    assert max(abs(ratio - 1) for share, ratio in seen if share >= 0.25 and ratio is not None) > 0.30


def test_what_outlasts_its_estimate_never_has_a_negative_one() -> None:
    clock, paces = Clock(), Paces(None)
    step = Step("A", "a", 1.0, 1.0)
    play(clock, paces, [(step, 1.0, [])])
    tracker = Tracker(None, paces, clock)
    tracker.plan([step])

    def work(_report: Callable[[float], None]) -> None:
        clock.now_s += 10
        left_s = tracker.remaining_s()
        assert left_s == pytest.approx(1.0)
        assert tracker.fraction() == pytest.approx(10 / 11)

    tracker.run(step, work)
    assert tracker.fraction() == 1.0


def test_steps_that_nobody_planned_for_leave_the_bar_monotonic() -> None:
    """First only reading is known and fills a twentieth; then the rest is planned."""
    clock, paces = Clock(), Paces(None)
    reading = Step("Reading", "reading", 1.0, 1.0)
    tracker = Tracker(None, paces, clock)
    tracker.plan([reading], up_to=0.05)
    estimates = []

    def read(report: Callable[[float], None]) -> None:
        clock.now_s += 0.5
        report(0.5)
        estimates.append((tracker.remaining_s(), tracker.fraction()))
        clock.now_s += 0.5

    tracker.run(reading, read)
    assert estimates == [(None, pytest.approx(0.025))]
    assert tracker.fraction() == pytest.approx(0.05)
    _, shown = play(clock, paces, job("gridded", 1.0, 1.0, 1.0), tracker)
    assert shown == sorted(shown)
    assert 0.05 <= shown[0] < 0.1
    assert tracker.fraction() == pytest.approx(1.0)


def test_paces_are_kept_and_averaged(tmp_path: Path) -> None:
    path = tmp_path / "paces.json"
    step = Step("A", "kind", 10.0, 99.0)
    assert Paces(path).expected_s(step) == 99.0
    Paces(path).learn(step, 20.0, [(0.5, 5.0)])
    assert Paces(path).expected_s(step) == pytest.approx(20.0)
    assert Paces(path).share(step, 0.5) == pytest.approx(0.25)
    other = Step("A", "other", 5.0, 99.0, like="kind")
    assert Paces(path).expected_s(other) == pytest.approx(10.0)
    Paces(path).learn(step, 40.0, [(0.5, 30.0)])
    assert Paces(path).expected_s(step) == pytest.approx(30.0)
    assert Paces(path).share(step, 0.5) == pytest.approx(0.5)
    for _ in range(30):  # a machine that has become faster for good
        Paces(path).learn(step, 10.0, [(0.5, 5.0)])
    assert Paces(path).expected_s(step) == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"a": 1}', b'{"a": {"seconds_per_unit": 1, "shares": [], "runs": 1}}', b"\xff"],
)
def test_a_damaged_file_of_paces_is_learnt_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "paces.json"
    path.write_bytes(content)
    step = Step("A", "kind", 1.0, 7.0)
    assert Paces(path).expected_s(step) == 7.0
    Paces(path).learn(step, 2.0, [])
    assert Paces(path).expected_s(step) == 2.0
    assert json.loads(path.read_text())


def test_a_step_that_reports_nothing_is_left_at_once_and_the_next_waits_for_it() -> None:
    release, started, cancelled = threading.Event(), threading.Event(), threading.Event()
    order: list[str] = []

    def sink(_status: Status) -> None:
        if cancelled.is_set():
            raise Cancelled("stop")

    def deaf(report: Callable[[float], None]) -> None:
        started.set()
        release.wait(20)
        order.append("left behind")
        report(0.5)
        order.append("never")

    threading.Timer(0.3, cancelled.set).start()
    with pytest.raises(Cancelled):
        Tracker(sink).run(Step("Deaf", "deaf", 1.0, 1.0), deaf)
    assert started.is_set()
    assert order == []  # nobody waited for the step
    assert tracking.work_goes_on()
    waited: list[str] = []

    def next_sink(status: Status) -> None:
        waited.append(status.phase)
        if len(waited) == 2:
            release.set()

    result = Tracker(next_sink).run(Step("Next", "next", 1.0, 1.0), lambda _report: order.append("next"))
    assert result is None
    assert order == ["left behind", "next"]
    assert waited[0] == "Waiting for the cancelled job to stop"
    assert waited[-1] == "Next"
    assert not tracking.work_goes_on()


def test_waiting_for_a_step_left_behind_can_be_cancelled_and_has_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    calls = itertools.count()

    def stop_at_second(_status: Status) -> None:
        if next(calls) >= 1:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        Tracker(stop_at_second).run(Step("A", "a", 1.0, 1.0), lambda _report: release.wait(20))
    with pytest.raises(Cancelled):
        Tracker(stop_at_second).run(Step("B", "b", 1.0, 1.0), lambda _report: None)
    monkeypatch.setattr(tracking, "_LONGEST_WAIT_S", 0.2)
    with pytest.raises(ReconstructionError, match="start the program again"):
        Tracker(lambda _status: None).run(Step("B", "b", 1.0, 1.0), lambda _report: None)
    release.set()
    Tracker(lambda _status: None).run(Step("B", "b", 1.0, 1.0), lambda _report: None)


def test_errors_and_results_of_a_step_come_through() -> None:
    def fail(_report: Callable[[float], None]) -> None:
        raise ReconstructionError("no signal")

    for sink in (None, lambda _status: None):
        assert Tracker(sink).run(Step("A", "a", 1.0, 1.0), lambda _report: 7) == 7
        with pytest.raises(ReconstructionError, match="no signal"):
            Tracker(sink).run(Step("A", "a", 1.0, 1.0), fail)


def test_a_step_that_failed_teaches_nothing() -> None:
    paces = Paces(None)
    step = Step("A", "a", 1.0, 5.0)

    def fail(_report: Callable[[float], None]) -> None:
        raise ReconstructionError("no signal")

    with pytest.raises(ReconstructionError):
        Tracker(None, paces).run(step, fail)
    assert not paces.knows(step)
