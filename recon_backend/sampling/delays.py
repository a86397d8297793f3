"""Gradient delays of radial scans: estimated from where spokes intersect, and put into the trajectory (RING).

 Gradients that lag behind the receiver shift the spoke of direction n = (n_x, n_y) by S n,

    k(u, n) = o + u d + |d| S n,      S = [[S_xx, S_xy], [S_xy, S_yy]] in samples of the readout,

by different lengths for different directions. Two spokes of one frame cross in one point of k-space and must
have the same data there, for every coil; where on the spokes that point lies depends linearly on S.
Rosenzweig et al. (Magn Reson Med 2019;81:1898, "Simple auto-calibrated gradient delay estimation from few
spokes using radial intersections") search the best crossing of each pair of spokes and fit S to the
crossings. Here S is fitted to the data of all crossings at once,

    minimise over S:  Σ_pairs Σ_coils |y_i(u_i(S)) − y_j(u_j(S))|²,

from the best point of a coarse grid by Gauss–Newton, which noise disturbs less. Only pairs of one frame are
compared, so that motion between frames does not matter. The scatter between groups of frames gives a standard
error; delays that are small or uncertain are reported but not applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon_backend.sampling.spokes import Spokes, find_spokes, values_near_centre

# In samples. A smaller delay does no visible harm, and leaving the trajectory alone keeps scans without delay
# exactly as they are.
SMALLEST_CORRECTED = 0.05
_STANDARD_ERRORS = 4.0
_LARGEST = 3.0
_REACH = 6.0
_FINE_STEP = 1 / 16
_FEWEST_SINE = 0.5
_MOST_FRAMES = 48
_MOST_PAIRS = 4000
_GRID_PAIRS = 300
_GROUPS = 8
_FEWEST_PAIRS = 16
_LARGEST_RESIDUAL = 0.5
_NEWTON_STEPS = 12
_CURVATURE_STEP = 0.25


@dataclass(frozen=True)
class GradientDelays:
    """What the crossings of the spokes say.

    Attributes:
        s_xx: shift of a spoke along x, in samples of the readout.
        s_yy: shift of a spoke along y.
        s_xy: shift across: of a spoke along x towards y, and of one along y towards x.
        standard_error: of the three numbers, from groups of frames (the largest of the three); infinite where
            the data do not tell.
        residual_before: Σ|y_i − y_j|² / Σ½(|y_i|² + |y_j|²) at the crossings of the nominal trajectory: 0 if
            all agree, 2 if nothing does.
        residual: the same at the crossings of the corrected one.
        pairs: number of crossings.
    """

    s_xx: float
    s_yy: float
    s_xy: float
    standard_error: float
    residual_before: float
    residual: float
    pairs: int

    @property
    def largest(self) -> float:
        """Largest of the three numbers by magnitude."""
        return max(abs(self.s_xx), abs(self.s_yy), abs(self.s_xy))

    @property
    def trusted(self) -> bool:
        """Whether the spokes agree with each other well enough for the numbers to mean anything."""
        return self.residual <= _LARGEST_RESIDUAL and self.largest <= _LARGEST

    @property
    def worth_correcting(self) -> bool:
        """Whether the delay is large enough to matter, and sure enough to be believed."""
        return (
            self.trusted
            and self.largest >= SMALLEST_CORRECTED
            and self.largest >= _STANDARD_ERRORS * self.standard_error
            and self.residual < self.residual_before
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers as they are recorded, in samples."""
        return {
            "s_xx": round(self.s_xx, 4),
            "s_yy": round(self.s_yy, 4),
            "s_xy": round(self.s_xy, 4),
            "standard_error": round(self.standard_error, 4) if np.isfinite(self.standard_error) else None,
            "residual_before": float(f"{self.residual_before:.3g}"),
            "residual": float(f"{self.residual:.3g}"),
        }

    def describe(self) -> str:
        """The three numbers as words."""
        numbers = f"S_xx {self.s_xx:+.3f}, S_yy {self.s_yy:+.3f}, S_xy {self.s_xy:+.3f}"
        if not np.isfinite(self.standard_error):
            return f"{numbers} samples, with unknown error"
        return f"{numbers} ± {self.standard_error:.3f} samples"


def estimate_delays(
    kspace: NDArray[np.complex64],
    trajectory: NDArray[np.floating],
    *,
    readout_mask: NDArray[np.bool_] | None = None,
    pixel_spacing: tuple[float, float] = (1.0, 1.0),
) -> GradientDelays | None:
    """Estimate the gradient delays of a radial scan.

    Args:
        kspace: (coil, frame, readout, sample).
        trajectory: nominal (frame, readout, sample, 2), rad/pixel, (y, x).
        readout_mask: bool (frame, readout), False where a readout was not acquired; None = all were.
        pixel_spacing: (y, x) in any unit.

    Returns:
        None if readouts are not full lines through the centre, too few of them cross at a good angle, or
        there is no signal at the crossings.
    """
    mask = np.ones(kspace.shape[1:3], np.bool_) if readout_mask is None else readout_mask
    frames = np.unique(np.linspace(0, len(trajectory) - 1, min(_MOST_FRAMES, len(trajectory))).astype(int))
    spokes = find_spokes(trajectory, mask, pixel_spacing, frames)
    if spokes is None:
        return None
    crossings = _Crossings.of(spokes)
    if crossings is None:
        return None
    offsets = np.arange(-_REACH, _REACH + _FINE_STEP / 2, _FINE_STEP)
    values = values_near_centre(kspace, mask, spokes, offsets)
    scale = float(np.abs(values).max())
    if not scale > 0:
        return None
    values /= np.float32(scale)
    shift = crossings.coarse(values)
    for _ in range(_NEWTON_STEPS):
        slopes, normal = crossings.linearised(values, shift)
        step = -np.linalg.solve(normal, slopes.sum(axis=0))
        largest = np.abs(step).max()
        shift = shift + step * min(1.0, 0.5 / max(largest, 1e-12))
        if largest < 1e-4:
            break
    error = crossings.standard_error(values, shift)
    s_xx, s_xy, s_yy = (float(value) for value in shift)
    return GradientDelays(
        s_xx,
        s_yy,
        s_xy,
        error,
        crossings.residual(values, np.zeros(3)),
        crossings.residual(values, shift),
        crossings.count,
    )


def corrected_trajectory(
    trajectory: NDArray[np.floating],
    delays: GradientDelays,
    pixel_spacing: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float32]:
    """Return the trajectory with every spoke moved by S n; samples may come to lie beyond ±π.

    Args:
        trajectory: nominal (frame, readout, sample, 2), rad/pixel, (y, x), straight lines.
        delays: from `estimate_delays`.
        pixel_spacing: (y, x), as given there.
    """
    spacing = np.asarray(pixel_spacing, np.float64)
    step = (trajectory[:, :, -1] - trajectory[:, :, 0]).astype(np.float64) / (trajectory.shape[2] - 1)
    step = step / spacing  # |d| n, components (y, x)
    shift = np.stack(
        [
            delays.s_xy * step[..., 1] + delays.s_yy * step[..., 0],
            delays.s_xx * step[..., 1] + delays.s_xy * step[..., 0],
        ],
        axis=-1,
    )
    return (trajectory + (shift * spacing)[:, :, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Crossings:
    """Pairs of spokes, and where they cross as a linear function of (S_xx, S_xy, S_yy).

    Attributes:
        spoke: (2, pair) the two spokes.
        constant: (2, pair) positions of the crossing on them for S = 0, in samples.
        slope: (2, pair, 3) change of the positions with S.
        group: (pair,) which group of frames a pair belongs to.
    """

    spoke: NDArray[np.int64]
    constant: NDArray[np.float64]
    slope: NDArray[np.float64]
    group: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of pairs."""
        return int(self.group.size)

    @classmethod
    def of(cls, spokes: Spokes) -> _Crossings | None:
        """All pairs of one frame that cross at 30 degrees or more, thinned out to a bounded number."""
        pairs = []
        for frame in np.unique(spokes.frame):
            members = np.flatnonzero(spokes.frame == frame)
            first, second = np.triu_indices(members.size, 1)
            pairs.append(np.stack([members[first], members[second]]))
        spoke = np.concatenate(pairs, axis=1)
        direction = spokes.direction
        sine = (direction[spoke[0]].conj() * direction[spoke[1]]).imag
        spoke = spoke[:, np.abs(sine) >= _FEWEST_SINE]
        if spoke.shape[1] < _FEWEST_PAIRS:
            return None
        if spoke.shape[1] > _MOST_PAIRS:
            spoke = spoke[:, np.linspace(0, spoke.shape[1] - 1, _MOST_PAIRS).astype(int)]
        # u_i d_i − u_j d_j = b, as real and imaginary part, solved by Cramer's rule.
        d_i, d_j = spokes.step[spoke[0]], spokes.step[spoke[1]]

        def solved(b: NDArray[np.complex128]) -> NDArray[np.float64]:
            wedge = (d_i.conj() * d_j).imag
            return np.stack([(b.conj() * d_j).imag / wedge, (b.conj() * d_i).imag / wedge])

        constant = solved(spokes.origin[spoke[1]] - spokes.origin[spoke[0]])
        difference = d_j - d_i  # |d| n of the one less that of the other: S is applied to it
        columns = (difference.real, difference.imag + 1j * difference.real, 1j * difference.imag)
        slope = np.stack([solved(np.asarray(column, np.complex128)) for column in columns], axis=-1)
        used = np.unique(spokes.frame)
        if used.size >= _GROUPS:
            group = np.searchsorted(used, spokes.frame[spoke[0]]) * _GROUPS // used.size
        else:
            group = np.arange(spoke.shape[1]) % _GROUPS
        return cls(spoke, constant, slope, group)

    def _positions(self, shift: NDArray[np.float64], pairs: Any = slice(None)) -> NDArray[np.float64]:  # noqa: ANN401
        where = self.constant[:, pairs] + self.slope[:, pairs] @ shift
        # Far out there is no signal left to compare; the ends of the table stand for it.
        return np.clip((where + _REACH) / _FINE_STEP, 0, 2 * _REACH / _FINE_STEP - 1e-6)

    def _both(
        self, values: NDArray[np.complex64], shift: NDArray[np.float64], pairs: Any = slice(None)  # noqa: ANN401
    ) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Data (2, pair, coil) at the crossings, and their change with the position in samples."""
        position = self._positions(shift, pairs)
        lower = position.astype(int)
        part = (position - lower)[..., None].astype(np.float32)
        spoke = self.spoke[:, pairs]
        low, high = values[spoke, :, lower], values[spoke, :, lower + 1]
        return low + part * (high - low), (high - low) / np.float32(_FINE_STEP)

    def residual(
        self, values: NDArray[np.complex64], shift: NDArray[np.float64], pairs: Any = slice(None)  # noqa: ANN401
    ) -> float:
        """Relative disagreement of the data at the crossings; see `GradientDelays`."""
        both, _ = self._both(values, shift, pairs)
        power = float((np.abs(both) ** 2).sum(dtype=np.float64))
        if power == 0:
            return 2.0
        return float((np.abs(both[0] - both[1]) ** 2).sum(dtype=np.float64)) / (0.5 * power)

    def coarse(self, values: NDArray[np.complex64]) -> NDArray[np.float64]:
        """The best point of a grid, by some of the pairs; S = 0 unless another is clearly better."""
        pairs = np.unique(np.linspace(0, self.count - 1, min(_GRID_PAIRS, self.count)).astype(int))
        best, found = self.residual(values, np.zeros(3), pairs), np.zeros(3)
        along = np.arange(-_LARGEST, _LARGEST + 0.5, 0.75)
        across = np.arange(-1.5, 2.0, 0.75)
        for s_xx in along:
            for s_yy in along:
                for s_xy in across:
                    shift = np.array([s_xx, s_xy, s_yy])
                    value = self.residual(values, shift, pairs)
                    if value < 0.95 * best:
                        best, found = value, shift
        return found

    def linearised(
        self, values: NDArray[np.complex64], shift: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Half the gradient of Σ|y_i − y_j|² in each group (group, 3), and the Gauss–Newton matrix (3, 3)."""
        both, change = self._both(values, shift)
        difference = (both[0] - both[1]).astype(np.complex128)
        moved = [one[..., None] * slope[:, None] for one, slope in zip(change, self.slope, strict=True)]
        jacobian = moved[0] - moved[1]
        slope = (jacobian.conj() * difference[..., None]).real.sum(axis=1)
        groups = np.zeros((_GROUPS, 3))
        np.add.at(groups, self.group, slope)
        flat = jacobian.reshape(-1, 3)
        normal = (flat.conj().T @ flat).real.astype(np.float64)
        return groups, normal + 1e-9 * max(float(np.trace(normal)), 1e-30) * np.eye(3)

    def standard_error(self, values: NDArray[np.complex64], shift: NDArray[np.float64]) -> float:
        """From the scatter of the groups' gradients and the curvature of the sum at its minimum.

        The curvature is taken from values of the sum: noise adds to the Gauss–Newton matrix but not to it.
        """
        groups, _ = self.linearised(values, shift)
        used = groups[np.unique(self.group)]
        if len(used) < 2:
            return float("inf")
        sides = _CURVATURE_STEP * np.eye(3)
        middle = self._sum(values, shift)
        ahead = [self._sum(values, shift + side) for side in sides]
        behind = [self._sum(values, shift - side) for side in sides]
        curvature = np.diag([up + down - 2 * middle for up, down in zip(ahead, behind, strict=True)])
        for first, second in ((0, 1), (0, 2), (1, 2)):
            corner = self._sum(values, shift + sides[first] + sides[second])
            opposite = self._sum(values, shift - sides[first] - sides[second])
            mixed = corner + opposite - ahead[first] - ahead[second] - behind[first] - behind[second]
            curvature[first, second] = curvature[second, first] = 0.5 * mixed + middle
        curvature /= 2 * _CURVATURE_STEP**2
        if np.linalg.eigvalsh(curvature)[0] <= 1e-6 * abs(np.trace(curvature)):
            return float("inf")
        scatter = np.cov(used, rowvar=False) * len(used)
        inverse = np.linalg.inv(curvature)
        return float(np.sqrt(np.diag(inverse @ scatter @ inverse).max()))

    def _sum(self, values: NDArray[np.complex64], shift: NDArray[np.float64]) -> float:
        both, _ = self._both(values, shift)
        return float((np.abs(both[0] - both[1]) ** 2).sum(dtype=np.float64))
