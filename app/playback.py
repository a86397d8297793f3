"""One elapsed-time clock for every movie on the screen.

The frame shown is ``floor(start + elapsed · speed / frame_interval) mod frame_count``: a counting timer falls
behind when the window is busy, an elapsed time cannot, and movies that hang on the same clock cannot drift
apart. Frames that fell between two looks at the clock are counted, not hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer, Signal

SPEEDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Offered playback speeds, relative to the true speed of the acquisition."""

_LOOK_INTERVAL_MS = 8
_NANOSECONDS_PER_SECOND = 1e9


class PlaybackClock(QObject):
    """Says which frame is due, to all panels at once.

    A loop counts as completed when every frame has been shown since the previous completion, whether by
    playing or by stepping: a skipped frame must be shown in a later round before the loop counts.

    Args:
        parent: Qt owner.
        elapsed_s: source of the monotonic time in seconds; the default is a ``QElapsedTimer``. Tests pass
            their own.
    """

    frame_changed = Signal(int)
    playing_changed = Signal(bool)
    speed_changed = Signal(float)
    frames_changed = Signal(int)
    loop_completed = Signal(int)

    def __init__(
        self, parent: QObject | None = None, *, elapsed_s: Callable[[], float] | None = None
    ) -> None:
        """Start stopped, without frames."""
        super().__init__(parent)
        self._stopwatch = QElapsedTimer()
        self._stopwatch.start()
        self._elapsed_s = elapsed_s if elapsed_s is not None else self._stopwatch_s
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_LOOK_INTERVAL_MS)
        self._timer.timeout.connect(self.look)
        self._count = 0
        self._interval_s = 1.0
        self._speed = 1.0
        self._round_frame = 0
        self._anchor_position = 0.0
        self._anchor_s = 0.0
        self._playing = False
        self._skipped = 0
        self._shown = 0
        self._loops = 0
        self._unseen: set[int] = set()

    @property
    def frame(self) -> int:
        """Index of the frame on the screen, 0 … frame_count − 1."""
        return self._round_frame % self._count if self._count else 0

    @property
    def frame_count(self) -> int:
        """Number of frames of the clip; 0 without a clip."""
        return self._count

    @property
    def frame_interval_s(self) -> float:
        """True time between two frames, in seconds."""
        return self._interval_s

    @property
    def playing(self) -> bool:
        """Whether the clock runs."""
        return self._playing

    @property
    def speed(self) -> float:
        """Playback speed relative to the acquisition's true speed."""
        return self._speed

    @property
    def frames_skipped(self) -> int:
        """Frames that were due while playing but never shown, since `set_frames`."""
        return self._skipped

    @property
    def frames_shown(self) -> int:
        """Frames shown by playing, since `set_frames`."""
        return self._shown

    @property
    def loops_completed(self) -> int:
        """How many times every frame of the clip has been shown, since `set_frames`."""
        return self._loops

    def set_frames(self, count: int, frame_interval_s: float) -> None:
        """Take a new clip: pause, go to frame 0 and forget all counts.

        Args:
            count: number of frames, 0 for no clip.
            frame_interval_s: true time between two frames, in seconds, above 0.

        Raises:
            ValueError: if the count is negative or the interval is not a positive finite number.
        """
        if count < 0:
            raise ValueError(f"A clip cannot have {count} frames.")
        if not (math.isfinite(frame_interval_s) and frame_interval_s > 0):
            raise ValueError(
                f"The frame interval must be a positive number of seconds, not {frame_interval_s}."
            )
        self.pause()
        self._count = count
        self._interval_s = frame_interval_s
        self._round_frame = 0
        self._skipped = 0
        self._shown = 0
        self._loops = 0
        self._unseen = set(range(count))
        self.frames_changed.emit(count)
        if count:
            self._mark_seen(0)
            self.frame_changed.emit(0)

    def play(self) -> None:
        """Run from the frame on the screen; without at least two frames nothing happens."""
        if self._playing or self._count <= 1:
            return
        self._anchor()
        self._playing = True
        self._timer.start()
        self.playing_changed.emit(True)

    def pause(self) -> None:
        """Stop on the frame on the screen."""
        if not self._playing:
            return
        self._playing = False
        self._timer.stop()
        self.playing_changed.emit(False)

    def toggle(self) -> None:
        """Play if paused, pause if playing."""
        if self._playing:
            self.pause()
        else:
            self.play()

    def step(self, frames: int) -> None:
        """Pause and move by `frames` (negative is backwards), round the ends of the clip."""
        if not self._count:
            return
        self.pause()
        self._show(self.frame + frames)

    def seek(self, frame: int) -> None:
        """Go to a frame (taken modulo the clip's length) and go on playing from there if playing."""
        if not self._count:
            return
        self._show(frame)
        self._anchor()

    def set_speed(self, speed: float) -> None:
        """Play `speed` times as fast as the scan was.

        Raises:
            ValueError: if the speed is not a positive finite number.
        """
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"The playback speed must be a positive number, not {speed}.")
        if self._playing:
            # The fraction of the present frame that has passed is kept, else changing speed would stutter.
            self._anchor_position = self._position()
            self._anchor_s = self._elapsed_s()
        if speed != self._speed:
            self._speed = speed
            self.speed_changed.emit(speed)

    def faster(self) -> None:
        """Take the next higher offered speed."""
        self.set_speed(next((speed for speed in SPEEDS if speed > self._speed), SPEEDS[-1]))

    def slower(self) -> None:
        """Take the next lower offered speed."""
        self.set_speed(next((speed for speed in reversed(SPEEDS) if speed < self._speed), SPEEDS[0]))

    def look(self) -> None:
        """Compare the clock with the screen and announce the frame that is due, if it is another one."""
        if not self._playing:
            return
        due = math.floor(self._position())
        passed = due - self._round_frame
        if passed <= 0:
            return
        self._skipped += passed - 1
        self._shown += 1
        self._round_frame = due
        self._mark_seen(self.frame)
        self.frame_changed.emit(self.frame)

    def _show(self, frame: int) -> None:
        self._round_frame = frame % self._count
        self._mark_seen(self._round_frame)
        self.frame_changed.emit(self._round_frame)

    def _mark_seen(self, frame: int) -> None:
        self._unseen.discard(frame)
        if self._unseen:
            return
        self._loops += 1
        # The frame on the screen ends one loop and does not yet begin the next.
        self._unseen = set(range(self._count))
        self.loop_completed.emit(self._loops)

    def _anchor(self) -> None:
        self._anchor_position = float(self._round_frame)
        self._anchor_s = self._elapsed_s()

    def _position(self) -> float:
        return self._anchor_position + (self._elapsed_s() - self._anchor_s) * self._speed / self._interval_s

    def _stopwatch_s(self) -> float:
        return self._stopwatch.nsecsElapsed() / _NANOSECONDS_PER_SECOND
