"""The six acquisitions of the study by name: cardiac and speech, each Cartesian, radial and spiral.

A preset says which samples n frames take: a mask (frame, ky) for Cartesian sampling, else a trajectory
(frame, readout, sample, 2) in rad/pixel with its density weights. What is published and what is not
(paper_spec §3 and §8):

* Sampling is the same for both organs; only the sequence differs (balanced SSFP for the heart, spoiled
  gradient echo for speech), so the cardiac presets serve short-axis and four-chamber views alike.
* Cartesian: 17 of 240 lines a frame, a cycle of 15 frames. Radial: 13 spokes a frame, matrix 256, turning by
  the tiny golden angle of 23.628° as in the published code; the paper prints 23.8°. Spiral: 15 of 16 arms,
  matrix 240, 24° apart; frames turn by 30° in the paper's acquisitions and by 2° in its training code.
* Field of view 400 mm and a repetition time of 3.6408 ms belong to the spiral design. The paper's table of
  field of view, matrix, echo and repetition time, flip angle and frame time has no numbers in the text, so
  for Cartesian and radial scans the field of view is 400 mm by assumption and the repetition time is None.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from recon_backend.sampling.cartesian import PUBLISHED_MATRIX, published_mask
from recon_backend.sampling.density import density_weights
from recon_backend.sampling.radial import TINY_GOLDEN_ANGLE, radial_density_weights, radial_trajectory
from recon_backend.sampling.spiral import (
    PUBLISHED_DESIGN,
    SpiralDesign,
    repetition_time_s,
    spiral_density_weights,
    spiral_trajectory,
)

Number = TypeVar("Number", int, float)

PAPER_ROTATION_DEG = 30.0
CODE_ROTATION_DEG = 2.0
RADIAL_MATRIX = 256
RADIAL_SPOKES = 13
SPIRAL_ARMS = 15
_FIELD_OF_VIEW_MM = 400.0


@dataclass(frozen=True)
class Preset:
    """One of the study's acquisitions.

    Attributes:
        name: for example "cardiac_radial".
        organ: "cardiac" or "speech".
        views: planes it is used for.
        sequence: pulse sequence.
        sampling: "cartesian", "radial" or "spiral".
        matrix: pixels along each axis.
        field_of_view_mm: length of both sides.
        readouts: lines, spokes or arms of one frame.
        angle_rad: step from spoke to spoke, or from arm to arm; None for Cartesian sampling.
        rotation_rad: turn of a whole frame against the one before; spirals only.
        repetition_time_s: None where it is not published.
        not_stated: what the paper leaves open and is assumed here.
    """

    name: str
    organ: Literal["cardiac", "speech"]
    views: tuple[str, ...]
    sequence: str
    sampling: Literal["cartesian", "radial", "spiral"]
    matrix: int
    field_of_view_mm: float
    readouts: int
    angle_rad: float | None
    rotation_rad: float | None
    repetition_time_s: float | None
    not_stated: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PresetSampling:
    """The samples of a number of frames.

    Attributes:
        preset: what it was made from, with the matrix, field of view and rotation in force.
        matrix: pixels (y, x).
        field_of_view_mm: lengths (y, x).
        mask: bool (frame, ky); Cartesian only.
        trajectory: float32 (frame, readout, sample, 2), rad/pixel, (y, x); not for Cartesian sampling.
        weights: float32 density weights (frame, readout, sample); not for Cartesian sampling.
    """

    preset: Preset
    matrix: tuple[int, int]
    field_of_view_mm: tuple[float, float]
    mask: NDArray[np.bool_] | None = None
    trajectory: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None


def _presets() -> dict[str, Preset]:
    presets = {}
    organs: tuple[tuple[Literal["cardiac", "speech"], tuple[str, ...], str], ...] = (
        ("cardiac", ("short_axis", "four_chamber"), "balanced SSFP"),
        ("speech", ("sagittal_head",), "spoiled gradient echo"),
    )
    lengths = ("field of view", "repetition time", "echo time", "flip angle")
    for organ, views, sequence in organs:
        timing = ("echo time", "flip angle")
        # The spiral's repetition time follows from the published design, made for the heart.
        spiral_not_stated = timing if organ == "cardiac" else ("repetition time of the speech scans", *timing)
        presets[f"{organ}_cartesian"] = Preset(
            f"{organ}_cartesian", organ, views, sequence, "cartesian", PUBLISHED_MATRIX,
            _FIELD_OF_VIEW_MM, 17, None, None, None, lengths,
        )  # fmt: skip
        presets[f"{organ}_radial"] = Preset(
            f"{organ}_radial", organ, views, sequence, "radial", RADIAL_MATRIX,
            _FIELD_OF_VIEW_MM, RADIAL_SPOKES, TINY_GOLDEN_ANGLE, None, None, lengths,
        )  # fmt: skip
        presets[f"{organ}_spiral"] = Preset(
            f"{organ}_spiral", organ, views, sequence, "spiral", PUBLISHED_DESIGN.matrix,
            _FIELD_OF_VIEW_MM, SPIRAL_ARMS, 2 * math.pi / SPIRAL_ARMS, math.radians(PAPER_ROTATION_DEG),
            repetition_time_s(), spiral_not_stated,
        )  # fmt: skip
    return presets


PRESETS: Mapping[str, Preset] = MappingProxyType(_presets())


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        ValueError: if there is no such preset; the message lists them.
    """
    if name not in PRESETS:
        raise ValueError(f"'{name}' is no acquisition preset; there are {', '.join(PRESETS)}.")
    return PRESETS[name]


def preset_sampling(
    name: str,
    frames: int,
    *,
    matrix: int | tuple[int, int] | None = None,
    field_of_view_mm: float | tuple[float, float] | None = None,
    rotation_deg: float | None = None,
) -> PresetSampling:
    """Return the mask, or the trajectory and density weights, of n frames of a preset.

    Args:
        name: a key of `PRESETS`.
        frames: number of frames.
        matrix: pixels, one number or (y, x); the preset's if None. Cartesian patterns scale with ky (y);
            spokes have two samples a pixel of the longer side; spirals are designed anew and must be square.
        field_of_view_mm: length, one number or (y, x); the preset's if None. It changes the spiral's design
            (a smaller field of view is sampled more slowly, so that the gradients stay the same) and nothing
            else.
        rotation_deg: turn from frame to frame of a spiral: 30 as in the paper's scans (the default) or 2 as
            in its training code, or any other; spirals only.

    Raises:
        ValueError: if the name is not known, a number is out of range, or the spiral cannot be designed.
    """
    preset = find_preset(name)
    size = _pair(preset.matrix if matrix is None else matrix)
    lengths = _pair(preset.field_of_view_mm if field_of_view_mm is None else field_of_view_mm)
    if min(size) < 2 or min(lengths) <= 0:
        raise ValueError(f"matrix {size} and field of view {lengths} mm must be positive.")
    if frames < 1:
        raise ValueError(f"frames is {frames}, but at least one frame is needed.")
    if rotation_deg is not None and preset.sampling != "spiral":
        raise ValueError(f"{name} does not turn frame by frame; rotation_deg is for spirals.")
    used = dataclasses.replace(preset, matrix=max(size), field_of_view_mm=max(lengths))
    if preset.sampling == "cartesian":
        mask = published_mask(frames, size[0])
        used = dataclasses.replace(used, readouts=int(mask[0].sum()))
        return PresetSampling(used, size, lengths, mask=mask)
    if preset.sampling == "radial":
        samples = 2 * max(size)
        trajectory = radial_trajectory(frames, preset.readouts, samples)
        weights = (
            radial_density_weights(frames, preset.readouts, samples)
            if size[0] == size[1]
            else density_weights(trajectory, size, sampling="radial")
        )
        return PresetSampling(used, size, lengths, trajectory=trajectory, weights=weights)
    if size[0] != size[1] or lengths[0] != lengths[1]:
        raise ValueError(f"the spiral is designed for a square, but {size} pixels on {lengths} mm are asked.")
    rotation = math.radians(PAPER_ROTATION_DEG if rotation_deg is None else rotation_deg)
    design = _spiral_design(size[0], lengths[0])
    used = dataclasses.replace(
        used,
        rotation_rad=rotation,
        repetition_time_s=repetition_time_s(design),
        matrix=size[0],
        field_of_view_mm=lengths[0],
    )
    trajectory = spiral_trajectory(frames, preset.readouts, rotation, design)
    weights = spiral_density_weights(frames, preset.readouts, design)
    return PresetSampling(used, size, lengths, trajectory=trajectory, weights=weights)


def _pair(value: Number | tuple[Number, Number]) -> tuple[Number, Number]:
    return value if isinstance(value, tuple) else (value, value)


def _spiral_design(matrix: int, field_of_view_mm: float) -> SpiralDesign:
    """The published design for another matrix and field of view.

    A smaller field of view needs stronger gradients at the same sampling rate; the dwell time is lengthened
    instead. A larger one is sampled at the published rate.
    """
    slower = max(1.0, _FIELD_OF_VIEW_MM / field_of_view_mm)
    return dataclasses.replace(
        PUBLISHED_DESIGN,
        matrix=matrix,
        field_of_view_m=field_of_view_mm / 1000,
        dwell_s=PUBLISHED_DESIGN.dwell_s * slower,
    )
