"""Companions of the SNR against air: noise from time, from two frames, from replicas of a reconstruction.

In one region with the pixels p and the frames t, s = 20 log10 of::

    temporal      mean over p, t / sqrt( mean over p of the variance over t )
    difference    mean over p of (f1 + f2)/2  /  ( SD over p of (f2 - f1) / sqrt 2 )       two frames in a row
    replicas      mean over p  /  sqrt( mean over p of the variance over replicas )          frame by frame

Variances and SDs with N - 1. Temporal and difference SNR take everything that changes for noise: they need a
region that stands still, and call a reconstruction that smooths over time or shares data between frames less
noisy than it is (Dietrich et al. 2007 for the difference method). Replicas are reconstructions of the same
raw data with added noise of the receivers' covariance (Robson et al. 2008); of the four SNRs only theirs
holds for parallel imaging. For compressed sensing and networks it tells how noise of this size passes
through them at this image, not how far the image is from the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from studies.errors import StudyError
from studies.profiles import magnitude_movie

DECIBEL_PER_LOG = 20 / math.log(10)


def _decibel(signal: ArrayLike, noise: ArrayLike) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 20.0 * np.log10(np.asarray(signal, np.float64) / np.asarray(noise, np.float64))


def _region_series(movie: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """Values of the region (t, pixels) of a mask (y, x) or (t, y, x) with as many pixels in every frame."""
    frames, chosen = magnitude_movie(movie), np.asarray(mask, np.bool_)
    if chosen.shape == frames.shape[1:]:
        chosen = np.broadcast_to(chosen, frames.shape)
    if chosen.shape != frames.shape:
        raise StudyError(f"The mask has the shape {chosen.shape}, but the movie has {frames.shape}.")
    counts = np.unique(chosen.sum(axis=(1, 2)))
    if counts.size != 1 or counts[0] < 2:
        raise StudyError("Noise over time needs the same pixels, at least two, in every frame.")
    return frames[chosen].reshape(len(frames), -1)


def temporal_snr_db(movie: ArrayLike, mask: ArrayLike) -> float:
    """Temporal SNR of a region in dB, pooled over its pixels.

    Args:
        movie: Magnitude (t, y, x) of at least two frames.
        mask: Boolean (y, x), or (t, y, x) for a region that was followed; its n-th pixel is then one pixel.

    Returns:
        dB; +inf without any change, nan without signal as well, or with one frame.

    Raises:
        StudyError: Shapes do not fit, or the region's size changes.
    """
    values = _region_series(movie, mask)
    if len(values) < 2:
        return math.nan
    return float(_decibel(values.mean(), math.sqrt(values.var(axis=0, ddof=1).mean())))


def difference_snr_db(movie: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """Difference-method SNR of every two frames in a row in dB: (t - 1,).

    A change of the region's mean from frame to frame (contrast, gain) cancels; what moves inside it does not.
    Arguments and errors as `temporal_snr_db`.
    """
    values = _region_series(movie, mask)
    signal = (values[1:] + values[:-1]).mean(axis=1) / 2
    return _decibel(signal, np.diff(values, axis=0).std(axis=1, ddof=1) / math.sqrt(2))


# Replicas


class ReplicaRegionSnr(NamedTuple):
    """Pseudo-replica SNR of a region in every frame, each (t,)."""

    snr_db: NDArray[np.float64]
    standard_error_db: NDArray[np.float64]
    """By leaving out one replica after the other (jackknife): pixels may depend on each other."""
    low_db: NDArray[np.float64]
    high_db: NDArray[np.float64]
    """95 % interval with Student's t of replicas - 1 degrees of freedom."""


class ReplicaStatistics:
    """Mean and variance over replicas of one reconstruction, taken in one after the other (Welford 1962).

    Only two movies are kept, besides the pixels of the regions that are named at the start.

    Args:
        regions: Masks (y, x) or (t, y, x) by name, whose SNR will be asked for with its uncertainty.
    """

    def __init__(self, regions: Mapping[str, ArrayLike] | None = None) -> None:
        """Start without replicas."""
        self._masks = {name: np.asarray(mask, np.bool_) for name, mask in (regions or {}).items()}
        self._values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self._masks}
        self._count = 0
        self._mean = np.empty(0)
        self._squares = np.empty(0)

    @property
    def count(self) -> int:
        """Replicas so far."""
        return self._count

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the replicas (t, y, x)."""
        self._need(1)
        return self._mean

    @property
    def sd(self) -> NDArray[np.float64]:
        """SD over the replicas (t, y, x), with N - 1."""
        self._need(2)
        return np.sqrt(self._squares / (self._count - 1))

    def _need(self, replicas: int) -> None:
        if self._count < replicas:
            raise StudyError(f"{self._count} replicas are too few: at least {replicas} are needed.")

    def add(self, movie: ArrayLike) -> Self:
        """Take in one replica (t, y, x).

        Raises:
            StudyError: It is no magnitude movie, is not finite, or has another shape than the first or a
            mask.
        """
        replica = magnitude_movie(movie)
        if self._count == 0:
            self._mean, self._squares = np.zeros((2, *replica.shape))
        if replica.shape != self._mean.shape:
            raise StudyError(
                f"A replica has the shape {replica.shape}, but the first has {self._mean.shape}."
            )
        if not np.isfinite(replica).all():
            raise StudyError("A replica has pixels that are not numbers: reconstruct it again.")
        taken = {name: _region_series(replica, mask) for name, mask in self._masks.items()}
        self._count += 1
        step = replica - self._mean
        self._mean += step / self._count
        self._squares += step * (replica - self._mean)
        for name, values in taken.items():
            self._values[name].append(values)
        return self

    def merge(self, other: ReplicaStatistics) -> Self:
        """Take in the replicas of another worker (Chan, Golub and LeVeque 1983), named regions included.

        Raises:
            StudyError: Shapes or regions differ.
        """
        if other.count == 0:
            return self
        same = self._masks.keys() == other._masks.keys() and all(
            np.array_equal(mask, other._masks[name]) for name, mask in self._masks.items()
        )
        if not same or (self._count and self._mean.shape != other._mean.shape):
            raise StudyError("Replicas of different shapes or regions cannot be taken together.")
        if self._count == 0:
            self._mean, self._squares = np.zeros((2, *other._mean.shape))
        total = self._count + other._count
        step = other._mean - self._mean
        self._mean = self._mean + step * (other._count / total)
        self._squares = self._squares + other._squares + step**2 * (self._count * other._count / total)
        self._count = total
        for name, values in other._values.items():
            self._values[name].extend(values)
        return self

    def snr_db(self, signal: ArrayLike | None = None) -> NDArray[np.float64]:
        """SNR of every pixel in dB (t, y, x).

        Args:
            signal: The reconstruction without added noise (t, y, x); None takes the mean of the replicas,
            which
                reads high in magnitude images where there is little signal.
        """
        sd = self.sd
        return _decibel(self._mean if signal is None else magnitude_movie(signal), sd)

    def standard_error_db(self) -> NDArray[np.float64]:
        """Standard error of `snr_db` of every pixel (t, y, x), for noise that is Gaussian over the replicas.

        (20 / ln 10) sqrt( 1 / (2 (N - 1)) + SD² / (N mean²) ).
        """
        sd = self.sd
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = 1 / (2 * (self._count - 1)) + (sd / self._mean) ** 2 / self._count
        return DECIBEL_PER_LOG * np.sqrt(relative)

    def sd_interval_factors(self, level: float = 0.95) -> tuple[float, float]:
        """Factors on every pixel's SD that give its interval, from the chi-square distribution with N - 1."""
        self._need(2)
        freedom = self._count - 1
        tail = (1 - level) / 2
        high, low = special.chdtri(freedom, [tail, 1 - tail])
        return math.sqrt(freedom / high), math.sqrt(freedom / low)

    def region_snr(self, name: str, signal: ArrayLike | None = None) -> ReplicaRegionSnr:
        """SNR of a named region in every frame, with its own uncertainty.

        Args:
            name: One of the regions given at the start.
            signal: As in `snr_db`.

        Raises:
            StudyError: There is no such region, or fewer than three replicas.
        """
        if name not in self._masks:
            raise StudyError(
                f"There is no region '{name}'; the regions are {', '.join(self._masks) or 'none'}."
            )
        self._need(3)
        count = self._count
        values = np.stack(self._values[name])  # (replica, t, pixel)
        mean = values.mean(axis=0)
        deviation = values - mean
        variance = (deviation**2).sum(axis=0) / (count - 1)
        # Without replica i: mean - d_i/(N-1), variance ((N-1) v - d_i² N/(N-1)) / (N-2).
        fewer = ((count - 1) * variance - deviation**2 * count / (count - 1)) / (count - 2)
        if signal is None:
            level, levels = mean.mean(axis=1), (mean - deviation / (count - 1)).mean(axis=2)
        else:
            level = _region_series(signal, self._masks[name]).mean(axis=1)
            levels = np.broadcast_to(level, (count, level.size))
        snr = _decibel(level, np.sqrt(variance.mean(axis=1)))
        with np.errstate(invalid="ignore"):
            left_out = _decibel(levels, np.sqrt(np.maximum(fewer, 0).mean(axis=2)))
            error = np.sqrt((count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
            reach = float(stats.t.ppf(0.975, count - 1)) * error
        return ReplicaRegionSnr(snr, error, snr - reach, snr + reach)
