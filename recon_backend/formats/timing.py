"""Frame times from time stamps and TR.

Scanners stamp every readout in ticks of 2.5 ms (Siemens; the ISMRMRD habit). One tick is coarse beside a
frame of 40 ms, so a series whose frames begin within one tick of a straight line is uniform, with the line's
slope as frame time; if TR times the readouts of a frame agrees with it over the whole scan, that exact
product is used.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TICK_S = 2.5e-3
_TICKS_PER_DAY = int(24 * 3600 / TICK_S)
UNKNOWN_FRAME_TIME_S = 1.0


def frame_times(
    ticks: npt.NDArray[np.int64],
    frame: npt.NDArray[np.int64],
    repetition_time_s: float | None,
) -> tuple[FloatArray, str]:
    """Times of the frames from the first one on.

    Frames of equal length have centres as far apart as their first readouts, which (unlike their last ones)
    are there in an incomplete frame too.

    Args:
        ticks: time stamp of each readout in the order of acquisition, (readout,).
        frame: the frame that each readout belongs to, (readout,), every frame from 0 on at least once.
        repetition_time_s: time from readout to readout as the header states it.

    Returns:
        float64 (frame,) in s, 0 at the first frame, strictly increasing; and a note on where it comes from.
    """
    counts = np.bincount(frame)
    readouts = int(np.median(counts))
    nominal_s = repetition_time_s * readouts if repetition_time_s else None
    # The clock starts again at midnight.
    ticks = ticks + _TICKS_PER_DAY * np.cumsum(np.diff(ticks, prepend=ticks[:1]) < -_TICKS_PER_DAY // 2)
    first = np.full(counts.size, np.iinfo(np.int64).max)
    np.minimum.at(first, frame, ticks)
    stamped_s: FloatArray = np.asarray((first - first[0]) * TICK_S, np.float64)
    index: FloatArray = np.arange(counts.size, dtype=np.float64)

    if counts.size == 1:
        return np.zeros(1), "there is a single frame"
    if (np.diff(stamped_s) > 0).all():
        slope, offset = (float(value) for value in np.polyfit(index, stamped_s, 1))
        if np.abs(stamped_s - (slope * index + offset)).max() > TICK_S:
            return stamped_s, "frame times are the time stamps of the first readouts, not evenly spaced"
        if nominal_s and abs(nominal_s - slope) * (counts.size - 1) <= 2 * TICK_S:
            return nominal_s * index, f"frame time is TR x {readouts} readouts, and the time stamps agree"
        return slope * index, "frame time is the average step of the time stamps"
    if nominal_s:
        return (
            nominal_s * index,
            f"time stamps are missing or too coarse: frame time is TR x {readouts} readouts",
        )
    return (
        UNKNOWN_FRAME_TIME_S * index,
        "neither time stamps nor TR are stated: frame times are unknown and count 1 s a frame",
    )
