"""How well two measurers, or two measurements of one, agree: ICC, Bland-Altman, within-subject SD, Dice.

Two-way model x_ij = mean + subject_i + measurer_j + error_ij with the mean squares MSR (subjects, n - 1), MSC
(measurers, k - 1) and MSE; McGraw and Wong 1996, with intervals from the F distribution::

    ICC(C,1) = (MSR - MSE) / (MSR + (k - 1) MSE)                                consistency
    ICC(A,1) = (MSR - MSE) / (MSR + (k - 1) MSE + (k / n) (MSC - MSE))          absolute agreement

Both compare disagreement with the spread of the subjects: the same measurers get a lower ICC in subjects who
are alike. The within-subject SD and the limits of agreement are in the unit of the measurement and do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from studies.errors import StudyError
from studies.timed_shapes import TimedShapes

if TYPE_CHECKING:
    from studies.study import Study

Interval = tuple[float, float]
ENDPOINTS: Mapping[str, tuple[str, str]] = {
    "snr_db_mean": ("SNR", "dB"),
    "edge_sharpness_per_mm_mean": ("ES", "1/mm"),
    "edge_sharpness_per_mm_sd": ("STD-ES", "1/mm"),
    "edge_width_mm_mean": ("Edge width", "mm"),
    "temporal_snr_db": ("Temporal SNR", "dB"),
    "difference_snr_db_mean": ("Difference SNR", "dB"),
}
"""Columns that two measurers are compared in, with name and unit."""


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation with its interval; nan where it is not defined."""

    value: float
    interval: Interval


def _mean_squares(values: NDArray[np.float64]) -> tuple[float, float, float]:
    subjects, measurers = values.shape
    grand = values.mean()
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    between = measurers * float(((rows - grand) ** 2).sum()) / (subjects - 1)
    across = subjects * float(((columns - grand) ** 2).sum()) / (measurers - 1)
    error = float(((values - rows - columns + grand) ** 2).sum()) / ((subjects - 1) * (measurers - 1))
    # What rounding leaves where numbers are equal is no variance.
    least = 1e-24 * float((values**2).mean())
    return (
        between if between > least else 0.0,
        across if across > least else 0.0,
        error if error > least else 0.0,
    )


def _table(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise StudyError("Agreement needs at least 2 subjects × 2 measurers, all of them finite numbers.")
    return table


def icc_consistency(values: ArrayLike, level: float = 0.95) -> Icc:
    """ICC(C,1): do the measurers put the subjects at the same distances, whatever their own offset?

    Args:
        values: (subject, measurer), complete.
        level: Of the interval.

    Raises:
        StudyError: Fewer than two subjects or measurers, or a value is missing.
    """
    table = _table(values)
    n, k = table.shape
    between, _, error = _mean_squares(table)
    if between + error == 0:
        return Icc(math.nan, (math.nan, math.nan))
    value = (between - error) / (between + (k - 1) * error)
    if error == 0:
        return Icc(value, (1.0, 1.0))
    ratio, tail = between / error, (1 + level) / 2
    freedom = (n - 1, (n - 1) * (k - 1))
    low = ratio / float(stats.f.ppf(tail, *freedom))
    high = ratio * float(stats.f.ppf(tail, *freedom[::-1]))
    return Icc(value, ((low - 1) / (low + k - 1), (high - 1) / (high + k - 1)))


def icc_agreement(values: ArrayLike, level: float = 0.95) -> Icc:
    """ICC(A,1): do the measurers give the same numbers? An offset of one of them counts against it.

    Arguments and errors as `icc_consistency`; the interval's degrees of freedom are Satterthwaite's.
    """
    table = _table(values)
    n, k = table.shape
    between, across, error = _mean_squares(table)
    if between + across + error == 0:
        return Icc(math.nan, (math.nan, math.nan))
    value = (between - error) / (between + (k - 1) * error + k / n * (across - error))
    if across == 0 and error == 0:
        return Icc(value, (1.0, 1.0))
    # McGraw and Wong's a and b, both times n (1 - ICC), which cancels below.
    weight_across = k * value
    weight_error = n * (1 - value) + k * value * (n - 1)
    parts = (weight_across * across) ** 2 / (k - 1) + (weight_error * error) ** 2 / ((n - 1) * (k - 1))
    freedom = (weight_across * across + weight_error * error) ** 2 / parts
    tail = (1 + level) / 2
    f_low, f_high = float(stats.f.ppf(tail, n - 1, freedom)), float(stats.f.ppf(tail, freedom, n - 1))
    rest = k * across + (k * n - k - n) * error
    low = n * (between - f_low * error) / (f_low * rest + n * between)
    high = n * (f_high * between - error) / (rest + n * f_high * between)
    return Icc(value, (low, high))


@dataclass(frozen=True)
class BlandAltman:
    """Differences first - second of pairs of measurements."""

    pairs: int
    bias: float
    bias_interval: Interval
    sd: float
    """Of the differences, with N - 1."""
    limits: Interval
    """Bias ± 1.96 SD: 95 % of differences lie in them if they are normal."""
    lower_limit_interval: Interval
    upper_limit_interval: Interval
    slope: float
    """Of the differences over the means: a proportional bias."""
    slope_interval: Interval
    slope_p: float


def bland_altman(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> BlandAltman:
    """Bias, limits of agreement and proportional bias of two measurements of the same subjects.

    Bland and Altman 1986, 1999; the standard error of a limit is SD sqrt(1/n + 1.96² / (2 (n - 1))). Assumes
    independent pairs whose differences are normal and spread alike over the range; a slope says that they are
    not. With two pairs, or all means equal, there is no slope (nan).

    Raises:
        StudyError: Fewer than two pairs, or a value is missing.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise StudyError(f"{a.size} and {b.size} measurements are no pairs.")
    _table(np.column_stack([a, b]))
    difference, mean, count = a - b, (a + b) / 2, a.size
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf((1 + level) / 2, count - 1))
    z = float(stats.norm.ppf(0.975))
    reach, limit_reach = t * sd / math.sqrt(count), t * sd * math.sqrt(1 / count + z**2 / (2 * (count - 1)))
    low, high = bias - z * sd, bias + z * sd
    slope, slope_interval, p = math.nan, (math.nan, math.nan), math.nan
    if count > 2 and float(np.ptp(mean)) > 0:
        fit = stats.linregress(mean, difference)
        slope, p = float(fit.slope), float(fit.pvalue)
        width = float(stats.t.ppf((1 + level) / 2, count - 2)) * float(fit.stderr)
        slope_interval = (slope - width, slope + width)
    return BlandAltman(
        pairs=count,
        bias=bias,
        bias_interval=(bias - reach, bias + reach),
        sd=sd,
        limits=(low, high),
        lower_limit_interval=(low - limit_reach, low + limit_reach),
        upper_limit_interval=(high - limit_reach, high + limit_reach),
        slope=slope,
        slope_interval=slope_interval,
        slope_p=p,
    )


@dataclass(frozen=True)
class WithinSubject:
    """Spread of repeated measurements of one subject."""

    sd: float
    interval: Interval
    repeatability: float
    """1.96 sqrt(2) SD: two measurements of one subject differ by less in 95 % of cases."""


def within_subject(values: ArrayLike, level: float = 0.95) -> WithinSubject:
    """Within-subject SD over measurers or repeats; a constant offset between measurers counts in.

    sqrt of the mean over subjects of the variance of their measurements (N - 1), with a chi-square interval
    of n (k - 1) degrees of freedom. Arguments and errors as `icc_consistency`.
    """
    table = _table(values)
    freedom = table.shape[0] * (table.shape[1] - 1)
    sd = math.sqrt(float(table.var(axis=1, ddof=1).mean()))
    tail = (1 - level) / 2
    high, low = (float(stats.chi2.ppf(share, freedom)) for share in (1 - tail, tail))
    interval = (sd * math.sqrt(freedom / high), sd * math.sqrt(freedom / low))
    return WithinSubject(sd, interval, float(stats.norm.ppf(0.975)) * math.sqrt(2) * sd)


def dice(first: ArrayLike, second: ArrayLike) -> float:
    """Overlap 2 |A ∩ B| / (|A| + |B|) of two masks of one shape; nan if both are empty. Raises StudyError."""
    a, b = np.asarray(first, np.bool_), np.asarray(second, np.bool_)
    if a.shape != b.shape:
        raise StudyError(f"Masks of the shapes {a.shape} and {b.shape} cannot be compared.")
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else math.nan


# A study


@dataclass(frozen=True)
class EndpointRepeatability:
    """Two measurements of one endpoint."""

    endpoint: str
    """Column of measurements.csv."""
    group: str
    """A method, or "mean of the movies"."""
    clips: int
    agreement: Icc
    consistency: Icc
    bland_altman: BlandAltman
    within: WithinSubject
    pairs: tuple[tuple[float, float], ...] = ()
    """First and second measurement of each clip."""


@dataclass(frozen=True)
class Repeatability:
    """Two sets of measurements of a study."""

    first: str
    second: str
    clips: int
    endpoints: tuple[EndpointRepeatability, ...]
    overlap: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Dice of the masks of each clip, by region."""
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One flat row an endpoint, and one a region; numbers that are not defined are None."""
        rows: list[dict[str, Any]] = []
        for item in self.endpoints:
            found = item.bland_altman
            numbers = {
                "icc_a1": item.agreement.value,
                "icc_a1_low": item.agreement.interval[0],
                "icc_a1_high": item.agreement.interval[1],
                "icc_c1": item.consistency.value,
                "icc_c1_low": item.consistency.interval[0],
                "icc_c1_high": item.consistency.interval[1],
                "bias": found.bias,
                "bias_low": found.bias_interval[0],
                "bias_high": found.bias_interval[1],
                "lower_limit": found.limits[0],
                "lower_limit_low": found.lower_limit_interval[0],
                "lower_limit_high": found.lower_limit_interval[1],
                "upper_limit": found.limits[1],
                "upper_limit_low": found.upper_limit_interval[0],
                "upper_limit_high": found.upper_limit_interval[1],
                "slope": found.slope,
                "slope_low": found.slope_interval[0],
                "slope_high": found.slope_interval[1],
                "slope_p": found.slope_p,
                "within_subject_sd": item.within.sd,
                "within_subject_sd_low": item.within.interval[0],
                "within_subject_sd_high": item.within.interval[1],
                "repeatability": item.within.repeatability,
            }
            finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
            rows.append({"what": item.endpoint, "group": item.group, "clips": item.clips, **finite})
        for region, values in self.overlap.items():
            known = [value for value in values if math.isfinite(value)]
            rows.append(
                {
                    "what": f"dice_{region}",
                    "group": "masks",
                    "clips": len(known),
                    "mean": math.fsum(known) / len(known) if known else None,
                    "smallest": min(known, default=None),
                }
            )
        return rows


@dataclass(frozen=True)
class MeasuredClip:
    """One measurement of a clip: values by movie id, and what was drawn."""

    values: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Any]


MeasuredSet = Mapping[str, MeasuredClip]
"""Measurements by clip id."""


def latest_set(study: Study, observer: str) -> dict[str, MeasuredClip]:
    """The latest measurements of an observer. Raises StudyError where there are none."""
    found = {
        record.clip_id: MeasuredClip(record.values, record.shapes)
        for record in study.measurements
        if record.observer == observer
    }
    if not found:
        others = sorted({record.observer for record in study.measurements})
        raise StudyError(f"'{observer}' measured nothing; the observers are {', '.join(others) or 'none'}.")
    return found


def repeated_sets(study: Study, observer: str) -> tuple[dict[str, MeasuredClip], dict[str, MeasuredClip]]:
    """An observer's first and latest measurement of every clip that was saved more than once, from the log.

    Raises:
        StudyError: There is no such clip.
    """
    first: dict[str, MeasuredClip] = {}
    latest: dict[str, MeasuredClip] = {}
    for event in study.events:
        if event.kind == "measurement_saved" and event.payload["observer"] == observer:
            clip, measured = (
                event.payload["clip_id"],
                MeasuredClip(event.payload["values"], event.payload["shapes"]),
            )
            if clip in first:
                latest[clip] = measured
            first.setdefault(clip, measured)
    first = {clip: measured for clip, measured in first.items() if clip in latest}
    if not latest:
        raise StudyError(f"'{observer}' measured no clip twice: there is nothing to repeat.")
    return first, latest


def compare_sets(
    names: tuple[str, str],
    first: MeasuredSet,
    second: MeasuredSet,
    method_of: Mapping[str, str] | None = None,
    image_shapes: Mapping[str, tuple[int, int, int]] | None = None,
) -> Repeatability:
    """Compare two sets of measurements, clip by clip.

    The movies of a clip share what was drawn and are not independent. A clip therefore counts once: with the
    mean of its movies, and, where the methods are known, for each method on its own.

    Args:
        names: Who measured.
        first: Measurements by clip id.
        second: Measurements by clip id; clips that only one set has are left out, and said.
        method_of: Movie id to method, of an unblinded study.
        image_shapes: (t, rows, columns) by clip id; Dice is computed for these clips.

    Raises:
        StudyError: Fewer than two clips are in both sets.
    """
    common = sorted(first.keys() & second.keys())
    if len(common) < 2:
        raise StudyError(
            f"{names[0]} and {names[1]} have {len(common)} clip(s) in common; at least 2 are needed."
        )
    notes = []
    if alone := len(first.keys() ^ second.keys()):
        notes.append(f"{alone} clip(s) were measured in one of the two sets only and are left out.")
    endpoints = []
    methods = sorted(set((method_of or {}).values()))
    for column, (label, _) in ENDPOINTS.items():
        groups: list[tuple[str, NDArray[np.float64]]] = [
            ("mean of the movies", _pairs(common, first, second, column, None, {}))
        ]
        groups += [
            (method, _pairs(common, first, second, column, method, method_of or {})) for method in methods
        ]
        for group, pairs in groups:
            if len(pairs) >= 2:
                endpoints.append(_endpoint(column, group, pairs))
        if 0 < len(groups[0][1]) < len(common):
            notes.append(f"{label}: {len(common) - len(groups[0][1])} clip(s) lack a value and are left out.")
    overlap = _overlap(common, first, second, image_shapes or {})
    return Repeatability(*names, len(common), tuple(endpoints), overlap, tuple(notes))


def _endpoint(column: str, group: str, pairs: NDArray[np.float64]) -> EndpointRepeatability:
    return EndpointRepeatability(
        endpoint=column,
        group=group,
        clips=len(pairs),
        agreement=icc_agreement(pairs),
        consistency=icc_consistency(pairs),
        bland_altman=bland_altman(pairs[:, 0], pairs[:, 1]),
        within=within_subject(pairs),
        pairs=tuple((float(first), float(second)) for first, second in pairs),
    )


def _pairs(
    clips: Sequence[str],
    first: MeasuredSet,
    second: MeasuredSet,
    column: str,
    method: str | None,
    method_of: Mapping[str, str],
) -> NDArray[np.float64]:
    """(clip, 2) of the clips where all chosen movies have a value in both sets."""

    def level(measured: MeasuredClip) -> float:
        chosen = [
            values.get(column)
            for movie, values in measured.values.items()
            if method is None or method_of.get(movie) == method
        ]
        known = [float(value) for value in chosen if isinstance(value, (int, float)) and math.isfinite(value)]
        return math.fsum(known) / len(known) if known and len(known) == len(chosen) else math.nan

    pairs = np.array([(level(first[clip]), level(second[clip])) for clip in clips], np.float64)
    return np.asarray(pairs[np.isfinite(pairs).all(axis=1)])


def _overlap(
    clips: Iterable[str],
    first: MeasuredSet,
    second: MeasuredSet,
    image_shapes: Mapping[str, tuple[int, int, int]],
) -> dict[str, tuple[float, ...]]:
    found: dict[str, list[float]] = {"signal": [], "background": []}
    for clip in clips:
        if clip not in image_shapes:
            continue
        frames, rows, columns = image_shapes[clip]
        both = [TimedShapes.from_dict(measured[clip].shapes) for measured in (first, second)]
        count = 1 if all(shapes.stays for shapes in both) else frames
        found["signal"].append(dice(*(shapes.masks("signal", count, (rows, columns)) for shapes in both)))
        found["background"].append(
            dice(*(shapes.masks("background", count, (rows, columns)) for shapes in both))
        )
    return {region: tuple(values) for region, values in found.items() if values}
