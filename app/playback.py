"""One elapsed-time clock for every movie on the screen, and what was really seen of them.

The frame shown is the one whose time has come, start + elapsed · speed on the scan's own time axis, round
the ends of the clip (or of the part between the marks A and B): a counting timer falls behind when the window
is busy, an elapsed time cannot, and movies that hang on the same clock cannot drift apart. Frames that were
due and never painted are counted, not hidden. With "every frame" none is left out: the next one waits until
the panels have painted the last, and the movie is slower where the machine cannot keep up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer, Signal

SPEEDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Offered playback speeds, relative to the true speed of the acquisition."""

_LONGEST_WAIT_MS = 250
_WAIT_FOR_PAINT_MS = 3
_NANOSECONDS_PER_SECOND = 1e9


class PassCounter:
    """How often every frame of a clip has been seen, panel by panel.

    A pass of a panel counts when each of its frames has been seen since the panel's last pass, in whatever
    order and at whatever speed: a frame that was skipped, or that lies outside a loop from A to B, keeps the
    pass open until it is seen.
    """

    def __init__(self, frames: int, panels: int) -> None:
        """Start with nothing seen."""
        self._frames = frames
        self._passes = [0] * panels
        self._unseen = [set(range(frames)) for _ in range(panels)]

    @property
    def passes(self) -> list[int]:
        """Complete passes of each panel."""
        return list(self._passes)

    @property
    def unseen(self) -> list[int]:
        """Frames that each panel still lacks for its next pass."""
        return [len(frames) for frames in self._unseen]

    def see(self, panel: int, frame: int) -> bool:
        """Note a frame that has come to the screen; True if it completed a pass of its panel."""
        unseen = self._unseen[panel]
        unseen.discard(frame)
        if unseen or not self._frames:
            return False
        self._passes[panel] += 1
        # The frame on the screen ends one pass and does not yet begin the next.
        unseen.update(range(self._frames))
        return True


class PlaybackClock(QObject):
    """Says which frame is due, to all panels at once.

    Args:
        parent: Qt owner.
        elapsed_s: source of the monotonic time in seconds; the default is a ``QElapsedTimer``. Tests pass
            their own.
    """

    frame_changed = Signal(int)
    playing_changed = Signal(bool)
    speed_changed = Signal(float)
    frames_changed = Signal(int)
    every_frame_changed = Signal(bool)
    marks_changed = Signal()
    """Mark A or B was set, moved or taken away."""

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
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.look)
        self._painted: Callable[[], bool] = _always
        self._interval_s = 1.0
        self._starts_s: list[float] = [0.0]
        self._speed = 1.0
        self._every_frame = False
        self._marks: tuple[int | None, int | None] = (None, None)
        self._frame = 0
        # The number of frames since the start of the range, over all rounds, and when that frame began.
        self._sequence = 0
        self._anchor_position_s = 0.0
        self._anchor_s = 0.0
        self._playing = False
        self._announced_by_playing = False
        self._skipped = 0
        self._shown = 0

    @property
    def frame(self) -> int:
        """Index of the frame on the screen, 0 … frame_count − 1."""
        return self._frame

    @property
    def frame_count(self) -> int:
        """Number of frames of the clip; 0 without a clip."""
        return len(self._starts_s) - 1

    @property
    def frame_interval_s(self) -> float:
        """True time between two frames, in seconds; the median where it varies."""
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
    def every_frame(self) -> bool:
        """Whether no frame is ever left out, at the cost of speed."""
        return self._every_frame

    @property
    def marks(self) -> tuple[int | None, int | None]:
        """The frames marked A and B."""
        return self._marks

    @property
    def ab_loop(self) -> tuple[int, int] | None:
        """First and last frame of the part that is played, or None where the whole clip is."""
        first, last = self._marks
        if first is None or last is None or first == last:
            return None
        return min(first, last), max(first, last)

    @property
    def frames_skipped(self) -> int:
        """Frames that were due while playing but never shown, since `set_frames`."""
        return self._skipped

    @property
    def frames_shown(self) -> int:
        """Frames shown by playing, since `set_frames`."""
        return self._shown

    def watch_painting(self, painted: Callable[[], bool]) -> None:
        """Ask a screen whether it has painted the frame announced last.

        A frame that gave way to the next one unpainted counts as skipped; with "every frame" it does not give
        way.
        """
        self._painted = painted

    def set_frames(
        self, count: int, frame_interval_s: float, frame_times_s: Sequence[float] | None = None
    ) -> None:
        """Take a new clip: pause, go to frame 0 and forget all counts and marks.

        Args:
            count: number of frames, 0 for no clip.
            frame_interval_s: true time between two frames, in seconds, above 0; also how long the last frame
                is shown.
            frame_times_s: the frames' own times in seconds, where they are not evenly spaced.

        Raises:
            ValueError: if the count is negative, the interval is not a positive finite number, or the times
                do not rise or are not `count`.
        """
        if count < 0:
            raise ValueError(f"A clip cannot have {count} frames.")
        if not (math.isfinite(frame_interval_s) and frame_interval_s > 0):
            raise ValueError(
                f"The frame interval must be a positive number of seconds, not {frame_interval_s}."
            )
        starts_s = _starts_s(count, frame_interval_s, frame_times_s)
        self.pause()
        self._interval_s = frame_interval_s
        self._starts_s = starts_s
        self._marks = (None, None)
        self._frame = 0
        self._sequence = 0
        self._announced_by_playing = False
        self._skipped = 0
        self._shown = 0
        self.frames_changed.emit(count)
        self.marks_changed.emit()
        if count:
            self._announce(0)

    def play(self) -> None:
        """Run from the frame on the screen; without at least two frames nothing happens.

        From a frame outside the marks A and B it runs from the first of them.
        """
        if self._playing or self.frame_count <= 1:
            return
        self._playing = True
        self._enter_range()
        self._anchor()
        self._schedule()
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
        if not self.frame_count:
            return
        self.pause()
        self._announce((self._frame + frames) % self.frame_count)

    def seek(self, frame: int) -> None:
        """Go to a frame (taken modulo the clip's length) and go on playing from there if playing.

        While a part from A to B is being played, the nearest frame of that part.
        """
        if not self.frame_count:
            return
        frame %= self.frame_count
        if self._playing:
            first, last = self._range()
            frame = min(max(frame, first), last)
        self._announce(frame)
        self._anchor()
        self._schedule()

    def set_speed(self, speed: float) -> None:
        """Play `speed` times as fast as the scan was.

        Raises:
            ValueError: if the speed is not a positive finite number.
        """
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"The playback speed must be a positive number, not {speed}.")
        if self._playing:
            # The part of the present frame that has passed is kept, else changing speed would stutter.
            self._anchor_position_s, self._anchor_s = self._position_s(), self._elapsed_s()
        if speed != self._speed:
            self._speed = speed
            self._schedule()
            self.speed_changed.emit(speed)

    def faster(self) -> None:
        """Take the next higher offered speed."""
        self.set_speed(next((speed for speed in SPEEDS if speed > self._speed), SPEEDS[-1]))

    def slower(self) -> None:
        """Take the next lower offered speed."""
        self.set_speed(next((speed for speed in reversed(SPEEDS) if speed < self._speed), SPEEDS[0]))

    def set_every_frame(self, every_frame: bool) -> None:
        """Show each frame once, however long that takes, or keep the time and skip what was missed."""
        if every_frame == self._every_frame:
            return
        self.look()
        self._every_frame = every_frame
        self._anchor()
        self._schedule()
        self.every_frame_changed.emit(every_frame)

    def set_a(self) -> None:
        """Let the part to be played begin at the frame on the screen; with B before it, end there."""
        self._set_marks((self._frame, self._marks[1]))

    def set_b(self) -> None:
        """Let the part to be played end at the frame on the screen; with A behind it, begin there."""
        self._set_marks((self._marks[0], self._frame))

    def clear_ab(self) -> None:
        """Play the whole clip."""
        self._set_marks((None, None))

    def look(self) -> None:
        """Compare the clock with the screen and announce the frame that is due, if it is another one."""
        if not self._playing:
            return
        passed = self._due() - self._sequence
        if passed > 0:
            self._advance(passed)
        self._schedule()

    # Time: seconds of the scan since the start of the range, over all rounds

    def _range(self) -> tuple[int, int]:
        return self.ab_loop or (0, self.frame_count - 1)

    def _round_s(self) -> float:
        first, last = self._range()
        return self._starts_s[last + 1] - self._starts_s[first]

    def _begin_s(self, sequence: int) -> float:
        """When the frame of this number begins."""
        first, last = self._range()
        rounds, within = divmod(sequence, last - first + 1)
        return rounds * self._round_s() + self._starts_s[first + within] - self._starts_s[first]

    def _position_s(self) -> float:
        return self._anchor_position_s + (self._elapsed_s() - self._anchor_s) * self._speed

    def _due(self) -> int:
        """Number of the frame whose time it is."""
        first, last = self._range()
        rounds, within_s = divmod(self._position_s(), self._round_s())
        index = bisect_right(self._starts_s, within_s + self._starts_s[first], first, last + 1) - 1
        return int(rounds) * (last - first + 1) + max(index - first, 0)

    def _anchor(self, position_in_frame_s: float = 0.0) -> None:
        """Let the frame on the screen have begun so long ago."""
        if self.frame_count:
            self._sequence = self._frame - self._range()[0]
            self._anchor_position_s = self._begin_s(self._sequence) + position_in_frame_s
            self._anchor_s = self._elapsed_s()

    def _schedule(self) -> None:
        """Look again when the next frame is due."""
        if not self._playing:
            return
        wait_s = (self._begin_s(self._sequence + 1) - self._position_s()) / self._speed
        if wait_s <= 0:  # due already, but the panels are not ready for it
            self._timer.start(_WAIT_FOR_PAINT_MS)
        else:
            self._timer.start(min(math.ceil(wait_s * 1e3), _LONGEST_WAIT_MS))

    # Frames

    def _advance(self, passed: int) -> None:
        painted = self._painted()
        if self._every_frame:
            if not painted:
                return
            step = 1
        else:
            if not painted and self._announced_by_playing:
                self._shown -= 1
                self._skipped += 1
            step = passed
            self._skipped += passed - 1
        first, last = self._range()
        self._sequence += step
        self._shown += 1
        self._announce(first + self._sequence % (last - first + 1), by_playing=True)
        if self._every_frame and passed > 1:
            # Time that was lost stays lost: the following frames do not hurry after it.
            self._anchor()

    def _announce(self, frame: int, *, by_playing: bool = False) -> None:
        self._frame = frame
        self._announced_by_playing = by_playing
        self.frame_changed.emit(frame)

    def _set_marks(self, marks: tuple[int | None, int | None]) -> None:
        if marks == self._marks or not self.frame_count:
            return
        if self._playing:
            passed_s = min(
                self._position_s() - self._begin_s(self._sequence),
                self._starts_s[self._frame + 1] - self._starts_s[self._frame],
            )
            self._marks = marks
            self._anchor(0.0 if self._enter_range() else passed_s)
            self._schedule()
        else:
            self._marks = marks
        self.marks_changed.emit()

    def _enter_range(self) -> bool:
        """Go to the first frame of the range if the one on the screen lies outside; tells whether it did."""
        first, last = self._range()
        if first <= self._frame <= last:
            return False
        self._announce(first)
        return True

    def _stopwatch_s(self) -> float:
        return self._stopwatch.nsecsElapsed() / _NANOSECONDS_PER_SECOND


def _always() -> bool:
    return True


def _starts_s(count: int, interval_s: float, times_s: Sequence[float] | None) -> list[float]:
    """Where each frame begins, from 0, and where the last one ends."""
    if times_s is None:
        return [index * interval_s for index in range(count + 1)]
    times = [float(time_s) for time_s in times_s]
    if len(times) != count:
        raise ValueError(f"{len(times)} frame times do not fit a clip of {count} frames.")
    if not all(math.isfinite(time_s) for time_s in times) or any(
        later <= earlier for earlier, later in zip(times, times[1:], strict=False)
    ):
        raise ValueError("The frame times must rise from frame to frame.")
    begins = [time_s - times[0] for time_s in times]
    return [*begins, begins[-1] + interval_s] if begins else [0.0]
