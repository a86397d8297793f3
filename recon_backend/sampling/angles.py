"""Does the angle rule of a radial trajectory agree with the data?

 At a fixed distance ρ from the centre (in cycles per field of view), the data of a spoke as a function of
its angle, y(ρ, φ), are band-limited: an object inside the field of view has no angular harmonic much above
π ρ. Some 300 neighbouring spokes overdetermine these few harmonics, so the misfit

    J(angles) = Σ_ρ,coils ‖y − P_angles y‖² / ‖y‖²      (P = least squares on the harmonics)

is near the noise for the true angles and near 1 for wrong ones, which put spokes in the wrong order. Both
halves of a spoke are fitted apart and each window of spokes anew, so gradient delays, which shift smoothly
with the angle, and slow motion change J little, and for all angles alike. The trajectory's angles are
compared with constant steps: the golden angle, the tiny golden angles, 23.8° (printed in Sci Rep 14:11774 for
the seventh tiny one, 23.628°) and uniform steps; a finer search around the best of them gives the step that
the data show, also where it is a rational approximation of one. J does not change if all angles are mirrored
or turned, so a mirrored image is not found by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon_backend.sampling.spokes import Spokes, find_spokes, values_near_centre

_GOLDEN_RATIO = (1 + math.sqrt(5)) / 2
_WINDOW_SPOKES = 300
_WINDOWS = 3
_FEWEST_SPOKES = 40
_DISTANCES = (1.5, 2.0, 2.5, 3.0, 3.5)
_SPARE_HARMONICS = 2
# Another rule must explain the data well, and clearly better, before the trajectory is called wrong. True
# angles come within 0.01 and 4 % of the best that a search finds, noise alone included; 23.8° for 23.628° is
# off by 0.1 and more.
_LEAST_BETTER = 0.03
_LEAST_RATIO = 1.15
_LARGEST_MISFIT = 0.7
_NAME_TOLERANCE_DEG = 0.02


@dataclass(frozen=True)
class AngleFinding:
    """How the angles of a trajectory compare with the best of the known rules.

    Attributes:
        claimed_deg: step between spokes in the trajectory if it is constant, else None.
        misfit: J of the trajectory's own angles, 0 to 1.
        rule: name of the known rule that fits the data best.
        measured_deg: step that fits best in the neighbourhood of that rule.
        measured_misfit: J of that step.
        contradicts: whether the trajectory is contradicted by the data.
    """

    claimed_deg: float | None
    misfit: float
    rule: str
    measured_deg: float
    measured_misfit: float
    contradicts: bool

    def describe(self) -> str:
        """The contradiction as one sentence."""
        claimed = "by no constant angle" if self.claimed_deg is None else f"by {self.claimed_deg:.3f}°"
        return (
            f"the trajectory turns {claimed} from spoke to spoke, but the data show {self.measured_deg:.3f}° "
            f"({self.rule}): misfit {self.misfit:.2f} against {self.measured_misfit:.2f}; "
            "check the angle that the trajectory was made with"
        )


def known_steps(spokes_per_frame: int) -> dict[str, float]:
    """Steps in degrees of the angle rules in use, by name."""
    steps = {"golden angle": 180 / _GOLDEN_RATIO}
    steps |= {f"tiny golden angle {n}": 180 / (_GOLDEN_RATIO + n - 1) for n in range(2, 11)}
    steps |= {f"doubled {name}": 2 * step for name, step in list(steps.items())}
    steps["golden angle of the full circle"] = 360 * (1 - 1 / _GOLDEN_RATIO)
    steps["23.8° as printed in the paper"] = 23.8
    if spokes_per_frame > 1:
        steps["uniform over half a turn"] = 180 / spokes_per_frame
        steps["uniform over a full turn"] = 360 / spokes_per_frame
    return steps


def check_angles(
    kspace: NDArray[np.complex64],
    trajectory: NDArray[np.floating],
    matrix: tuple[int, int],
    *,
    readout_mask: NDArray[np.bool_] | None = None,
    pixel_spacing: tuple[float, float] = (1.0, 1.0),
) -> AngleFinding | None:
    """Compare the angles of a radial trajectory with the data.

    Args:
        kspace: (coil, frame, readout, sample).
        trajectory: (frame, readout, sample, 2), rad/pixel, (y, x).
        matrix: pixels (y, x).
        readout_mask: bool (frame, readout), False where a readout was not acquired; None = all were.
        pixel_spacing: (y, x) in any unit.

    Returns:
        None if the readouts are not full lines through the centre, or there are too few of them to tell.
    """
    mask = np.ones(kspace.shape[1:3], np.bool_) if readout_mask is None else readout_mask
    spokes = find_spokes(trajectory, mask, pixel_spacing, _frames_of_windows(mask))
    if spokes is None or spokes.count < _FEWEST_SPOKES:
        return None
    length = max(size * spacing for size, spacing in zip(matrix, pixel_spacing, strict=True))
    samples_per_cycle = 2 * np.pi / (length * float(np.median(np.abs(spokes.step))))
    offsets = samples_per_cycle * np.outer((1, -1), _DISTANCES).ravel()
    values = values_near_centre(kspace, mask, spokes, offsets)
    if not np.abs(values).max() > 0:
        return None
    windows = _windows(spokes, values)
    claimed = np.angle(spokes.direction)
    misfit = _misfit(windows, claimed)
    best_rule, best_step, best_wrap, best = "", 0.0, 2 * np.pi, np.inf
    for rule, step in known_steps(mask.shape[1]).items():
        for wrap in (2 * np.pi, np.pi):
            value = _misfit(windows, np.mod(spokes.number * np.deg2rad(step), wrap))
            if value < best:
                best_rule, best_step, best_wrap, best = rule, step, wrap, value
    for spread in (0.3, 0.03):
        for step in best_step + spread * np.linspace(-1, 1, 25):
            value = _misfit(windows, np.mod(spokes.number * np.deg2rad(step), best_wrap))
            if value < best:
                best_step, best = float(step), value
    return AngleFinding(
        _constant_step_deg(spokes),
        misfit,
        _name(best_rule, best_step, mask.shape[1]),
        best_step,
        best,
        best <= _LARGEST_MISFIT and misfit >= max(best + _LEAST_BETTER, _LEAST_RATIO * best),
    )


def _frames_of_windows(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Frames of a few windows of neighbouring spokes, spread over the scan."""
    frames = len(mask)
    each = min(frames, math.ceil(_WINDOW_SPOKES / max(1.0, float(mask.sum(axis=1).mean()))))
    starts = np.linspace(0, frames - each, _WINDOWS if frames >= _WINDOWS * each else 1).astype(int)
    return np.concatenate([np.arange(start, start + each) for start in starts])


def _windows(
    spokes: Spokes, values: NDArray[np.complex64]
) -> list[tuple[NDArray[np.intp], NDArray[np.complex128]]]:
    """Members of each window of neighbouring spokes, and their data (distance, spoke, side and coil)."""
    breaks = np.flatnonzero(np.diff(spokes.frame) > 1) + 1
    result = []
    for members in np.split(np.arange(spokes.count), breaks):
        for part in np.array_split(members, max(1, round(members.size / _WINDOW_SPOKES))):
            sides = values[part].reshape(part.size, values.shape[1], 2, len(_DISTANCES))
            data = sides.transpose(3, 0, 2, 1).reshape(len(_DISTANCES), part.size, -1)
            result.append((part, data.astype(np.complex128)))
    return result


def _misfit(
    windows: list[tuple[NDArray[np.intp], NDArray[np.complex128]]], angles: NDArray[np.float64]
) -> float:
    """J of the module for angles (spoke,); the mean over the angles, which all rules explain, is left out."""
    left, total = 0.0, 0.0
    for members, data in windows:
        highest = math.ceil(math.pi * max(_DISTANCES)) + _SPARE_HARMONICS
        orders = np.concatenate([[0], *([order, -order] for order in range(1, highest + 1))])
        basis = np.linalg.qr(np.exp(1j * np.outer(angles[members], orders)))[0]
        for distance, values in zip(_DISTANCES, data, strict=True):
            used = 1 + 2 * (math.ceil(math.pi * distance) + _SPARE_HARMONICS)
            explained = basis[:, :used].conj().T @ values
            energy = float((np.abs(values) ** 2).sum() - (np.abs(explained[0]) ** 2).sum())
            left += energy - float((np.abs(explained[1:]) ** 2).sum())
            total += energy
    return left / total if total > 0 else 1.0


def _constant_step_deg(spokes: Spokes) -> float | None:
    """The trajectory's own step if it is constant."""
    turn = spokes.direction[1:] * spokes.direction[:-1].conj()
    turn = turn[np.diff(spokes.number) == 1]
    if not turn.size:
        return None
    middle = turn.mean()
    if np.abs(turn - middle).max() > 1e-3:
        return None
    return abs(float(np.rad2deg(np.angle(middle))))


def _name(rule: str, step: float, spokes_per_frame: int) -> str:
    """Name of the known rule closest to a step, or of the one it was found near."""
    steps = known_steps(spokes_per_frame)
    closest = min(steps, key=lambda name: abs(steps[name] - step))
    return closest if abs(steps[closest] - step) <= _NAME_TOLERANCE_DEG else f"near the {rule}"
