"""Files of pseudo-replicas to maps that can be shown side by side, and the numbers of a region.

The methods are cut to the frames that all have and brought to one signal level, both as in a blinded reading
(`studies.clips.align`, `studies.blinding.arm_factors`); noise is then told in percent of the white of their
common grey scale. SNR is free of scale. Over the region's pixels p, and all frames or one::

    noise = root of the mean of the variance        SNR = 20 log10( mean signal / noise )  dB

as in `studies.snr`. The 95 % interval of an SNR needs the pixels of every replica, which a file holds only
for the region that it was measured with.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies import blinding, clips
from studies.replica_files import ReplicaFile, ReplicaRegion, read_replicas
from studies.shapes import BoolMask, Ellipse
from studies.snr import ReplicaRegionSnr
from studies.storage import write_durably

REGION = "signal"
"""What the drawn region is called in requests and files."""

GREY_SCALE_RULE = "least_squares"
LEAST_PIXELS = 2
CSV_COLUMNS = (
    "scan", "method", "replicas", "centre_x", "centre_y", "semi_axis_x", "semi_axis_y", "angle_rad",
    "pixels", "frame", "time_s", "signal", "noise_sd", "noise_percent_of_white", "snr_db", "low_db",
    "high_db",
)  # fmt: skip
_SHOWN_PERCENTILE = 99.5
_SAMPLES = 400_000


@dataclass(frozen=True)
class RegionNumbers:
    """SNR and noise of a region.

    Attributes:
        signal: its mean, on the movie's own scale.
        noise: on the movie's own scale.
        snr_db: of all pixels together.
        low_db: the lower end of the 95 % interval, or None if the file has no replicas of this region.
        high_db: the upper one.
    """

    signal: float
    noise: float
    snr_db: float
    low_db: float | None = None
    high_db: float | None = None


@dataclass(frozen=True, eq=False)
class MeasuredRegion:
    """What a file says of the region that it was measured with."""

    mask: BoolMask
    """(y, x)."""
    together: ReplicaRegionSnr
    """All frames, each (1,)."""
    frames: ReplicaRegionSnr
    """Each (t,)."""


@dataclass(frozen=True, eq=False)
class MethodNoise:
    """Signal and noise of one method in the frames that all methods have."""

    method: str
    count: int
    """Replicas."""
    signal: NDArray[np.float32]
    """(t, y, x)."""
    sd: NDArray[np.float32]
    """(t, y, x)."""
    percent: float
    """What an SD is multiplied by to be in percent of the common white."""
    mean_signal: NDArray[np.float64]
    """Mean over the frames, (y, x)."""
    mean_sd: NDArray[np.float64]
    """Root of the mean variance over the frames, (y, x)."""
    region: MeasuredRegion | None

    def over_frames(self, mask: BoolMask) -> RegionNumbers:
        """All frames of a region (y, x) together; NaN if it is empty."""
        interval = self._interval(mask)
        return _numbers(
            self.mean_signal[mask], self.mean_sd[mask], interval.together if interval else None, 0
        )

    def in_frame(self, mask: BoolMask, frame: int) -> RegionNumbers:
        """One frame of a region (y, x); NaN if it is empty."""
        interval = self._interval(mask)
        return _numbers(
            self.signal[frame][mask], self.sd[frame][mask], interval.frames if interval else None, frame
        )

    def has_interval(self, mask: BoolMask) -> bool:
        """Whether the file was measured with this very region."""
        return self._interval(mask) is not None

    def _interval(self, mask: BoolMask) -> MeasuredRegion | None:
        region = self.region
        return region if region is not None and np.array_equal(region.mask, mask) else None


@dataclass(frozen=True, eq=False)
class NoiseMaps:
    """Methods of one scan, ready to be shown side by side.

    Attributes:
        methods: in the order in which they were asked for.
        movies: (k, t, y, x) uint8 on one grey scale.
        noise: (k, t, y, x), SD in percent of the white of that scale.
        snr_db: (k, t, y, x); finite.
        mean_noise: (k, y, x) over the frames (root of the mean variance), in percent.
        mean_snr_db: (k, y, x), mean signal over that noise.
        noise_limit: the end of a common scale of the noise, from 0.
        snr_limit: that of the SNR in dB, from 0.
        frame_times_s: (t,).
        pixel_spacing_mm: (y, x).
    """

    methods: tuple[MethodNoise, ...]
    movies: NDArray[np.uint8]
    noise: NDArray[np.float32]
    snr_db: NDArray[np.float32]
    mean_noise: NDArray[np.float32]
    mean_snr_db: NDArray[np.float32]
    noise_limit: float
    snr_limit: float
    frame_times_s: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]

    @property
    def image_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.movies.shape[2], self.movies.shape[3]


def load_noise(files: Mapping[str, Path]) -> NoiseMaps:
    """Read the files of a scan's methods; for use on a thread.

    Args:
        files: file by method, at least one.

    Raises:
        StudyError: if a file cannot be read or they do not belong together.
    """
    read = {method: read_replicas(path) for method, path in files.items()}
    frames, times_s = _common_frames(read)
    signals = np.stack([one.signal[chosen] for one, chosen in zip(read.values(), frames, strict=True)])
    deviations = np.stack([one.sd[chosen] for one, chosen in zip(read.values(), frames, strict=True)])
    factors = blinding.arm_factors(signals, GREY_SCALE_RULE)
    scaled = signals * factors[:, None, None, None]
    white = float(np.percentile(scaled, blinding.WHITE_PERCENTILE))
    percents = factors.astype(np.float64) * (100.0 / white if white > 0 else 1.0)
    methods = tuple(
        MethodNoise(
            method,
            one.count,
            signal,
            sd,
            float(percent),
            signal.mean(axis=0, dtype=np.float64),
            np.sqrt(np.square(sd, dtype=np.float64).mean(axis=0)),
            _measured(one, chosen),
        )
        for (method, one), chosen, signal, sd, percent in zip(
            read.items(), frames, signals, deviations, percents, strict=True
        )
    )
    noise = deviations * percents.astype(np.float32)[:, None, None, None]
    snr_db = _finite_decibel(signals, deviations)
    mean_noise = np.stack([one.mean_sd * one.percent for one in methods]).astype(np.float32)
    mean_snr = _finite_decibel(
        np.stack([one.mean_signal for one in methods]), np.stack([one.mean_sd for one in methods])
    )
    return NoiseMaps(
        methods,
        blinding.display_frames(signals, GREY_SCALE_RULE),
        noise,
        snr_db,
        mean_noise,
        mean_snr,
        _limit(noise),
        _limit(snr_db),
        times_s,
        next(iter(read.values())).pixel_spacing_mm,
    )


def save_numbers(path: Path, scan: str, maps: NoiseMaps, region: Ellipse) -> None:
    """Write a region's numbers as CSV: per method a line for all frames ("all") and one for each frame.

    Signal and noise are on the movie's own scale; what has no interval has empty fields.

    Raises:
        OSError: if the file cannot be written.
    """
    mask = region.mask(maps.image_shape)
    drawn = [*region.centre_xy, *region.semi_axes, region.angle]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in maps.methods:
        first = [scan, one.method, one.count, *map(repr, map(float, drawn)), int(mask.sum())]
        writer.writerow([*first, "all", "", *_cells(one, one.over_frames(mask))])
        for frame, time_s in enumerate(maps.frame_times_s):
            numbers = one.in_frame(mask, frame)
            writer.writerow([*first, frame + 1, repr(float(time_s)), *_cells(one, numbers)])
    write_durably(path, text.getvalue().encode())


def _cells(one: MethodNoise, numbers: RegionNumbers) -> list[str]:
    levels = (numbers.signal, numbers.noise, numbers.noise * one.percent)
    values = (*levels, numbers.snr_db, numbers.low_db, numbers.high_db)
    return ["" if value is None else repr(float(value)) for value in values]


def _numbers(
    signal: NDArray[np.floating], sd: NDArray[np.floating], interval: ReplicaRegionSnr | None, place: int
) -> RegionNumbers:
    if not signal.size:
        return RegionNumbers(np.nan, np.nan, np.nan)
    level = float(signal.mean(dtype=np.float64))
    noise = float(np.sqrt(np.square(sd, dtype=np.float64).mean()))
    if interval is not None:
        return RegionNumbers(
            level,
            noise,
            float(interval.snr_db[place]),
            float(interval.low_db[place]),
            float(interval.high_db[place]),
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return RegionNumbers(level, noise, float(20 * np.log10(np.divide(level, noise))))


def _common_frames(
    read: Mapping[str, ReplicaFile],
) -> tuple[list[NDArray[np.intp]], NDArray[np.float64]]:
    """Which frames of each file all files have, and when they were; the rule is that of movies."""
    numbered = []
    for method, one in read.items():
        # A movie in which each frame is its own number.
        numbers = np.arange(len(one.signal), dtype=np.float32)[:, None, None]
        frames = np.broadcast_to(numbers, one.signal.shape)
        numbered.append(clips.ClipMovie(frames, one.pixel_spacing_mm, one.frame_times_s, {}, method))
    aligned = clips.align(numbered)
    return [movie.frames[:, 0, 0].astype(np.intp) for movie in aligned], aligned[0].frame_times_s


def _measured(one: ReplicaFile, chosen: NDArray[np.intp]) -> MeasuredRegion | None:
    region = one.regions.get(REGION)
    if region is None:
        return None
    common = ReplicaRegion(region.mask[chosen], region.signal[chosen], region.values[:, chosen])
    mask = common.mask[0]
    if mask.sum() < LEAST_PIXELS or (common.mask != mask).any():
        return None
    return MeasuredRegion(mask, common.over_time(), common.over_frames())


def _finite_decibel(signal: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float32]:
    """SNR as a map: without signal 0 dB, without noise the largest that occurs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (20 * np.log10(signal / noise)).astype(np.float32)
    finite = found[np.isfinite(found)]
    return np.nan_to_num(
        found, copy=False, nan=0.0, posinf=float(finite.max()) if finite.size else 0.0, neginf=0.0
    )


def _limit(values: NDArray[np.float32]) -> float:
    """The end of a scale from 0 that all but the brightest 0.5 % of the pixels fit in."""
    flat = values.reshape(-1)
    # An odd step does not fall into step with image rows, whose lengths are even.
    limit = float(np.percentile(flat[:: max(1, flat.size // _SAMPLES) | 1], _SHOWN_PERCENTILE))
    return limit if limit > 0 else 1.0
