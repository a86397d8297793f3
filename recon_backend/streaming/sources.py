"""Where a stream's frames come from: raw data in memory replayed, or a scanner that is still measuring.

A source hands out frames of raw data, each as soon as its last readout is in, with the moment of that
readout. Rule of the replay: frame f arrives when the scanner would have finished it, half a frame time after
its centre. A replay that oversleeps does not move that moment, so what the operating system wastes counts as
latency.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, Protocol, get_args

from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.errors import ReconstructionError

Pace = Literal["real", "fast"]


@dataclass(frozen=True, eq=False)
class ArrivedFrame:
    """The raw data of one frame.

    Attributes:
        index: number of the frame, from 0.
        time_s: centre of the frame on the scan's own clock, 0 at the first frame.
        arrived_s: `time.perf_counter` when its last readout came.
        acquisition: an acquisition of this one frame.
        head: ISMRMRD header of its last readout, where there is one.
    """

    index: int
    time_s: float
    arrived_s: float
    acquisition: Acquisition
    head: Any = None


class FrameSource(Protocol):
    """What `stream` reads from."""

    @property
    def name(self) -> str:
        """What to call the scan."""

    @property
    def sampling(self) -> Sampling:
        """The scan's sampling."""

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Reconstruction matrix (y, x) if known before the first frame; networks are warmed up for it."""

    def frames(self) -> Iterator[ArrivedFrame]:
        """Frames in order, each as soon as it is complete; ends with the scan. Called once."""

    def close(self) -> None:
        """Make a `frames` that waits in another thread end soon; harmless when it has ended."""


class ReplayedScan:
    """A scan in memory, handed out frame by frame.

    Args:
        acquisition: the scan.
        pace: "real" waits until the scanner would have finished each frame; "fast" does not wait.
        repeat: begin again at the end, as if the scanner went on.

    Raises:
        ReconstructionError: the pace is another word.
    """

    def __init__(self, acquisition: Acquisition, pace: Pace = "fast", *, repeat: bool = False) -> None:
        """Keep the scan; time begins with `frames`."""
        if pace not in get_args(Pace):
            raise ReconstructionError(
                f"pace is {pace!r}, but one of {', '.join(get_args(Pace))} was expected."
            )
        self._acquisition = acquisition
        self._pace = pace
        self._repeat = repeat
        self._closed = threading.Event()

    @property
    def name(self) -> str:
        """The acquisition's name."""
        return self._acquisition.name

    @property
    def sampling(self) -> Sampling:
        """The acquisition's sampling."""
        return self._acquisition.sampling

    @property
    def matrix(self) -> tuple[int, int]:
        """The acquisition's matrix."""
        return self._acquisition.matrix

    def frames(self) -> Iterator[ArrivedFrame]:
        """See `FrameSource.frames`."""
        scan = self._acquisition
        first_s = float(scan.frame_times_s[0])
        round_s = float(scan.frame_times_s[-1]) - first_s + scan.frame_time_s
        began_s = time.perf_counter() - first_s
        for index in count() if self._repeat else range(scan.frames):
            rounds, position = divmod(index, scan.frames)
            frame = scan.frames_slice(position, position + 1)
            time_s = float(scan.frame_times_s[position]) + rounds * round_s
            arrived_s = time.perf_counter()
            if self._pace == "real":
                arrived_s = began_s + time_s + scan.frame_time_s
                if self._closed.wait(max(0.0, arrived_s - time.perf_counter())):
                    return
            if self._closed.is_set():
                return
            yield ArrivedFrame(index, time_s, arrived_s, frame)

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._closed.set()
