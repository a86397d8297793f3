"""How clips were looked at: on which screen, for how long, how much of it playing, how fast, in which parts.

Rule: time counts only while the reader is at the clip (not while another page is in front), and what counts
is what was done while the movies played, not how the controls stood at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, qVersion
from PySide6.QtWidgets import QWidget

from app.widgets.display_check import CheckResult
from app.widgets.panel_row import PanelRow
from app.widgets.view_state import ViewState
from studies.events import Json


class Stopwatch:
    """Time between starts and stops, added up.

    Args:
        now_s: monotonic time in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Start stopped, at 0."""
        self._now_s = now_s
        self._before_s = 0.0
        self._since_s: float | None = None

    @property
    def running(self) -> bool:
        """Whether time counts now."""
        return self._since_s is not None

    @property
    def seconds(self) -> float:
        """What has added up, the present run included."""
        running_s = 0.0 if self._since_s is None else self._now_s() - self._since_s
        return self._before_s + running_s

    def reset(self) -> None:
        """Stop, and forget."""
        self._before_s = 0.0
        self._since_s = None

    def start(self) -> None:
        """Run; nothing happens if it runs."""
        if self._since_s is None:
            self._since_s = self._now_s()

    def stop(self) -> None:
        """Stop; nothing happens if it stands."""
        self._before_s = self.seconds
        self._since_s = None


class Viewing(QObject):
    """Keeps account of how the clip in a panel row is looked at.

    Args:
        row: the movies.
        parent: Qt owner.
        now_s: monotonic time in seconds.
    """

    def __init__(
        self, row: PanelRow, parent: QObject | None = None, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nothing seen."""
        super().__init__(parent)
        self._row = row
        self._at_clip = Stopwatch(now_s)
        self._playing = Stopwatch(now_s)
        self._loading_s = 0.0
        self._speeds: set[float] = set()
        self._every_frame = False
        self._ab_loop = False
        clock = row.clock
        clock.playing_changed.connect(self._note)
        clock.speed_changed.connect(self._note)
        clock.every_frame_changed.connect(self._note)
        clock.marks_changed.connect(self._note)

    @property
    def seconds(self) -> float:
        """How long the reader has been at the clip."""
        return self._at_clip.seconds

    def begin(self, loading_s: float) -> None:
        """Start afresh with a new clip; `resume` starts the time.

        Args:
            loading_s: how long the reader waited for the clip.
        """
        self._at_clip.reset()
        self._playing.reset()
        self._loading_s = loading_s
        self._speeds.clear()
        self._every_frame = False
        self._ab_loop = False
        self._note()

    def suspend(self) -> None:
        """The reader turns to something else."""
        self._at_clip.stop()

    def resume(self) -> None:
        """The reader is at the clip."""
        self._at_clip.start()

    def to_dict(self) -> dict[str, Json]:
        """Return what the log keeps of the viewing."""
        row, view = self._row, self._row.view_state
        return {
            "frames_shown": row.frames_shown,
            "seconds_playing": round(self._playing.seconds, 2),
            "speeds": [float(speed) for speed in sorted(self._speeds)],
            "loops_per_panel": [int(loops) for loops in row.loops_per_panel],
            "every_frame": self._every_frame,
            "ab_loop": self._ab_loop,
            "zoom": round(view.zoom, 3),
            "loading_s": round(self._loading_s, 3),
        }

    def _note(self, *_: object) -> None:
        clock = self._row.clock
        if not clock.playing:
            self._playing.stop()
            return
        self._playing.start()
        self._speeds.add(clock.speed)
        self._every_frame = self._every_frame or clock.every_frame
        self._ab_loop = self._ab_loop or clock.ab_loop is not None


def viewing_conditions(page: QWidget, view: ViewState, check: CheckResult) -> dict[str, Json]:
    """Return the conditions under which a session begins, for the log.

    Args:
        page: shown on the screen that is read on.
        view: tells how image pixels are scaled.
        check: how the display check ended.
    """
    screen, window = page.screen(), page.window()
    ratio = screen.devicePixelRatio()
    size_mm = screen.physicalSize()
    return {
        "display_check": check.to_dict(),
        "screen_name": screen.name(),
        "screen_model": " ".join(filter(None, (screen.manufacturer(), screen.model()))),
        "screen_size_mm": [round(size_mm.width()), round(size_mm.height())],
        "resolution_px": [round(screen.size().width() * ratio), round(screen.size().height() * ratio)],
        "window_px": [round(window.width() * ratio), round(window.height() * ratio)],
        "device_pixel_ratio": ratio,
        "refresh_rate_hz": round(screen.refreshRate(), 3),
        "colour_depth_bits": screen.depth(),
        "scaling": "integer" if view.integer_scaling else view.interpolation,
        "qt": qVersion(),
    }
