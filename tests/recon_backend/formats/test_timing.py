"""Frame times from coarse, missing, uneven and wrapping time stamps."""

from __future__ import annotations

import numpy as np
import pytest

from recon_backend.formats.timing import TICK_S, frame_times

FRAMES, READOUTS = 30, 13
FRAME = np.repeat(np.arange(FRAMES), READOUTS)


def stamps(repetition_time_s: float) -> np.ndarray:
    """Ticks as a scanner writes them: rounded down, from an arbitrary start."""
    return 20_000_000 + (np.arange(FRAME.size) * repetition_time_s / TICK_S + 0.3).astype(np.int64)


def test_tr_is_used_where_the_stamps_agree() -> None:
    times, note = frame_times(stamps(3.1e-3), FRAME, 3.1e-3)
    np.testing.assert_allclose(times, np.arange(FRAMES) * 13 * 3.1e-3, rtol=1e-12)
    assert "agree" in note


def test_stamps_win_over_a_tr_that_they_contradict() -> None:
    times, note = frame_times(stamps(3.1e-3), FRAME, 40.3e-3)  # some headers state the frame time as TR
    np.testing.assert_allclose(np.diff(times), 13 * 3.1e-3, atol=TICK_S / FRAMES)
    assert np.ptp(np.diff(times)) < 1e-9
    assert "average step" in note


def test_pauses_are_kept() -> None:
    ticks = stamps(3.1e-3)
    ticks[FRAME >= 10] += 400
    times, note = frame_times(ticks, FRAME, 3.1e-3)
    assert times[10] - times[9] == pytest.approx(1.0 + 13 * 3.1e-3, abs=TICK_S)
    assert "not evenly" in note


def test_midnight_is_no_gap() -> None:
    ticks = stamps(3.1e-3)
    midnight = 24 * 3600 * 400
    times, note = frame_times((ticks - ticks[0] + midnight - 100) % midnight, FRAME, None)
    np.testing.assert_allclose(times, np.arange(FRAMES) * 13 * 3.1e-3, atol=TICK_S)
    assert "average step" in note


def test_missing_stamps() -> None:
    times, note = frame_times(np.zeros_like(FRAME), FRAME, 3.1e-3)
    np.testing.assert_allclose(times, np.arange(FRAMES) * 13 * 3.1e-3, rtol=1e-12)
    assert "missing" in note
    times, note = frame_times(np.zeros_like(FRAME), FRAME, None)
    np.testing.assert_array_equal(times, np.arange(FRAMES))
    assert "unknown" in note


def test_single_frame() -> None:
    times, _ = frame_times(np.arange(5), np.zeros(5, np.int64), 3e-3)
    assert times.tolist() == [0.0]
