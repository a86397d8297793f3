"""Variable-density spiral arms, designed numerically from their parameters, and their density weights.

The design follows Pipe and Zwart, "Spiral trajectory design: a flexible numerical algorithm and base
analytical equations", Magn Reson Med 2014;71:278-285: k-space is walked in short steps; at each one the
direction of the gradient follows from the wanted distance between turns, angle(k, G) = atan(2 pi |k| / (s
arms / FOV)), and its size is the largest one that amplitude and slew rate allow. s is 1 (Nyquist) up to a
radius, rises as a Hanning ramp and stays at 1 / outer density beyond. The waveform is then averaged to the
gradient raster, ramped down, integrated by trapezoids and read out at the sample times.

Weights are those of the full set of arms: (4 / pi) x area in 1 / FOV^2 where neighbouring samples lie within
the Pipe-Menon kernel; in the sparse outer part they saturate, by intention, as in the published data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recon_backend.sampling.pipe_menon import pipe_menon_weights

PROTON_HZ_PER_T = 42.577478518e6
_MAXIMUM_STEPS = 200_000


@dataclass(frozen=True)
class SpiralDesign:
    """Parameters of a spiral-out arm; the defaults are the published acquisition's.

    Attributes:
        matrix: base resolution in pixels.
        field_of_view_m: field of view in m.
        full_arms: number of arms that reach the Nyquist density at the centre.
        inner_radius: radius (0..1 of the largest) up to which the density is full.
        outer_radius: radius from which the density is lowest.
        outer_density: density beyond the outer radius relative to Nyquist, 0 < d <= 1.
        gradient_limit_t_per_m: the scanner's largest gradient; the design is refused if it needs more.
        slew_rate_t_per_m_per_s: largest slew rate.
        dwell_s: time between samples.
        readout_oversampling: samples per Nyquist sample along the arm.
        gradient_delay_s: time by which the gradients follow the sampling clock.
        gradient_raster_s: spacing of the waveform the scanner plays.
        step_s: spacing of the design's own steps; a whole number of them makes a raster.
        dead_time_s: time of a repetition outside the readout (excitation, rewinding, spoiling).
    """

    matrix: int = 240
    field_of_view_m: float = 0.4
    full_arms: int = 16
    inner_radius: float = 0.15
    outer_radius: float = 0.15 + 0.1 + 0.41288 * (1 - 0.25)
    outer_density: float = 0.07
    gradient_limit_t_per_m: float = 22e-3
    slew_rate_t_per_m_per_s: float = 100.0
    dwell_s: float = 1.4e-6
    readout_oversampling: int = 2
    gradient_delay_s: float = 0.56e-6
    gradient_raster_s: float = 10e-6
    step_s: float = 1e-6
    dead_time_s: float = 2e-3

    @property
    def largest_wavenumber_per_m(self) -> float:
        """Largest wavenumber, half the matrix over the field of view, in 1/m."""
        return 0.5 * self.matrix / self.field_of_view_m

    @property
    def gradient_amplitude_t_per_m(self) -> float:
        """Gradient at which the sampling along the arm just reaches the field of view, in T/m."""
        bandwidth_hz = 1.0 / (self.dwell_s * self.readout_oversampling)
        return bandwidth_hz / (PROTON_HZ_PER_T * self.field_of_view_m)

    def spacing_factor(self, radius: float) -> float:
        """Return the distance between turns over the Nyquist distance at a normalised radius."""
        widest = 1.0 / self.outer_density
        if radius <= self.inner_radius:
            return 1.0
        if radius >= self.outer_radius:
            return widest
        position = (radius - self.inner_radius) / (self.outer_radius - self.inner_radius)
        return 1.0 + (widest - 1.0) * 0.5 * (1.0 - math.cos(math.pi * position))

    def check(self) -> None:
        """Raise ValueError if the parameters cannot give a spiral."""
        lengths = {
            "matrix": self.matrix,
            "field_of_view_m": self.field_of_view_m,
            "full_arms": self.full_arms,
            "slew_rate_t_per_m_per_s": self.slew_rate_t_per_m_per_s,
            "dwell_s": self.dwell_s,
            "readout_oversampling": self.readout_oversampling,
            "gradient_raster_s": self.gradient_raster_s,
            "step_s": self.step_s,
        }
        for name, value in lengths.items():
            if not value > 0:
                raise ValueError(f"{name} of the spiral design is {value}, but it must be above 0.")
        if not 0 < self.outer_density <= 1:
            raise ValueError(
                f"outer_density is {self.outer_density}, but it must lie above 0 and at most at 1."
            )
        if not 0 <= self.inner_radius < self.outer_radius:
            raise ValueError(
                f"inner_radius {self.inner_radius} must not be negative and must be below outer_radius "
                f"{self.outer_radius}."
            )
        steps = self.gradient_raster_s / self.step_s
        if steps < 0.5 or abs(steps - round(steps)) > 1e-6 * steps:
            raise ValueError(
                f"gradient_raster_s {self.gradient_raster_s} must be whole steps of {self.step_s} s."
            )
        if self.gradient_amplitude_t_per_m > self.gradient_limit_t_per_m:
            raise ValueError(
                f"a spiral of these parameters needs {1e3 * self.gradient_amplitude_t_per_m:.2f} mT/m, but "
                f"the gradient limit is {1e3 * self.gradient_limit_t_per_m:.2f} mT/m; lengthen dwell_s."
            )


PUBLISHED_DESIGN = SpiralDesign()


def _walk(design: SpiralDesign) -> NDArray[np.complex128]:
    """Walk one arm from the centre to the edge; return k (kx + i ky) in 1/m at every design step.

    Where no gradient along the wanted direction is within reach of the slew rate, the walk goes back and
    takes the smaller of the two possible gradients at the step before ("decelerate"), until it can pass.
    """
    per_step = PROTON_HZ_PER_T * design.step_s
    gradient_change = design.slew_rate_t_per_m_per_s * design.step_s
    amplitude = design.gradient_amplitude_t_per_m
    largest = design.largest_wavenumber_per_m
    edge = largest * (1 - 1 / design.matrix)
    nyquist_turn = design.full_arms / design.field_of_view_m
    walked: list[complex] = [0j, complex(per_step * gradient_change), complex(3 * per_step * gradient_change)]
    decelerate: list[bool] = [False] * len(walked)
    step = 2
    for _ in range(_MAXIMUM_STEPS):
        if abs(walked[step]) > edge:
            return np.asarray(walked[: step + 1])
        ahead = 1.5 * walked[step] - 0.5 * walked[step - 1]
        radius = abs(ahead)
        turn = nyquist_turn * design.spacing_factor(radius / largest)
        direction = ahead / radius * complex(turn, 2 * math.pi * radius)
        direction /= abs(direction)
        gradient = (walked[step] - walked[step - 1]) / per_step
        # |g u - gradient| = gradient_change is a quadratic in g with the two roots along +- root.
        along = (gradient * direction.conjugate()).real
        discriminant = along**2 - abs(gradient) ** 2 + gradient_change**2
        if discriminant >= 0:
            root = math.sqrt(discriminant)
            size = min(along - root if decelerate[step] else along + root, amplitude)
            following = walked[step] + size * direction * per_step
            step += 1
            if step == len(walked):
                walked.append(following)
                decelerate.append(False)
            else:
                walked[step] = following
        else:
            while step > 3 and decelerate[step - 1]:
                step -= 1
            decelerate[step - 1] = True
            step = max(step - 2, 1)
    raise ValueError("the spiral design does not reach the edge of k-space; raise the slew rate or the arms.")


@lru_cache(maxsize=8)
def _arm(design: SpiralDesign) -> NDArray[np.float64]:
    """Design an arm once; see spiral_arm."""
    design.check()
    walked = _walk(design)
    steps = round(design.gradient_raster_s / design.step_s)
    per_raster = PROTON_HZ_PER_T * design.gradient_raster_s
    gradient = np.concatenate([[0.0], np.diff(walked[::steps]) / per_raster])
    readout_s = gradient.size * design.gradient_raster_s
    last = gradient[-1]
    ramp_points = math.ceil(abs(last) / (design.slew_rate_t_per_m_per_s * design.gradient_raster_s))
    ramp = last * (1 - np.arange(1, ramp_points + 1) / ramp_points)
    gradient = np.concatenate([gradient, ramp])
    wavenumber = np.concatenate([[0.0], np.cumsum(0.5 * (gradient[1:] + gradient[:-1]) * per_raster)])
    played = wavenumber / design.largest_wavenumber_per_m * math.pi
    samples = design.readout_oversampling * math.ceil(
        readout_s / (design.dwell_s * design.readout_oversampling) - 1e-9
    )
    sample_times = -design.gradient_delay_s + design.dwell_s * np.arange(samples)
    gradient_times = np.arange(gradient.size) * design.gradient_raster_s
    # The first sample falls before the gradients start, twice at the centre: it is not kept.
    read = np.interp(sample_times, gradient_times, played)[1:]
    arm = np.stack([read.imag, read.real], axis=-1)
    arm.setflags(write=False)
    return arm


def spiral_arm(design: SpiralDesign = PUBLISHED_DESIGN) -> NDArray[np.float64]:
    """Return the samples of the first arm (sample, 2) in rad/pixel, components (y, x).

    Args:
        design: parameters; the defaults give the published arm of 1171 samples.

    Raises:
        ValueError: if the parameters cannot give a spiral.
    """
    return _arm(design).copy()


def repetition_time_s(design: SpiralDesign = PUBLISHED_DESIGN) -> float:
    """Return the repetition time in s: the readout (with its dropped first sample) and the dead time."""
    samples = int(_arm(design).shape[0]) + 1
    return samples * design.dwell_s + design.dead_time_s


def _rotated(arm: NDArray[np.float64], angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotate an arm (sample, 2) counter-clockwise (from x to y) by every angle: (..., sample, 2)."""
    turned = (arm[:, 1] + 1j * arm[:, 0]) * np.exp(1j * angles)[..., None]
    return np.stack([turned.imag, turned.real], axis=-1)


def spiral_trajectory(
    frames: int,
    arms: int = 15,
    frame_rotation_rad: float = math.radians(30.0),
    design: SpiralDesign = PUBLISHED_DESIGN,
) -> NDArray[np.float32]:
    """Return the trajectory (frame, readout, sample, 2) in rad/pixel, components (y, x).

    Arm v of frame p is the first arm turned by v x 360 / arms degrees (24 for 15 arms) + p x the rotation.

    Args:
        frames: number of frames.
        arms: arms of one frame.
        frame_rotation_rad: rotation from one frame to the next (30 degrees when scanning; the published
            training used 2 degrees).
        design: parameters of the arm.

    Raises:
        ValueError: if frames or arms is below 1, or the parameters cannot give a spiral.
    """
    if frames < 1 or arms < 1:
        raise ValueError(f"{frames} frames of {arms} arms were asked for, but both must be at least 1.")
    angles = np.arange(arms) * (2 * math.pi / arms) + np.arange(frames)[:, None] * frame_rotation_rad
    return _rotated(_arm(design), angles).astype(np.float32)


@lru_cache(maxsize=8)
def _full_weights(design: SpiralDesign) -> NDArray[np.float32]:
    """Return the weights (arm, sample) of the full set of arms."""
    angles = np.arange(design.full_arms) * (2 * math.pi / design.full_arms)
    points = _rotated(_arm(design), angles)
    weights = pipe_menon_weights(points.reshape(-1, 2), (design.matrix, design.matrix))
    weights = weights.reshape(points.shape[:-1])
    weights.setflags(write=False)
    return weights


def spiral_density_weights(
    frames: int, arms: int = 15, design: SpiralDesign = PUBLISHED_DESIGN
) -> NDArray[np.float32]:
    """Return the density weights (frame, readout, sample) of the full set of arms, the same in every frame.

    Args:
        frames: number of frames.
        arms: arms of one frame; the weights of the full set are repeated if there are more.
        design: parameters of the arm.

    Raises:
        ValueError: if frames or arms is below 1, or the parameters cannot give a spiral.
    """
    if frames < 1 or arms < 1:
        raise ValueError(f"{frames} frames of {arms} arms were asked for, but both must be at least 1.")
    weights = _full_weights(design)[np.arange(arms) % design.full_arms]
    return np.broadcast_to(weights, (frames, *weights.shape)).copy()
