"""Every random range of the simulation in one place, and the two ways to draw from them.

 "Improved", the default, draws everything afresh at every step: a random window, crop, turn, flip and
direction in time of the clip, coils, phases, noise level, mask and phase of the sampling; resizing is
antialiased and the target is free of noise. Its movies have another contrast at each visit, because bodies
are darker than what people film, and its scans have up to 6 dB less noise than the published ones, as
prospective scans may; half of its movies have dim parts, as lungs are; and half of its videos rest everywhere
but in one part, because bodies do. "As published" (`SimulationRanges.published()`) draws once for each clip,
reads its first 50 frames, resizes without antialiasing, cuts the centre, repeats one mask, and leaves the
noise in the target (paper_spec §1). But for the number of coils, all other physical ranges are the published
ones in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SimulationRanges:
    """Every random range of the simulation; (low, high) is uniform.

    Attributes:
        snr_db: nominal signal-to-noise ratio of the coil images (published: 12 to 22 dB).
        contrast: exponent of the movie's magnitude (published: 1); above 1, what is dim becomes dimmer.
        dim_share: share of movies in which one to three ellipses have little signal, as lungs (published: 0).
        dim_part: half-axes of these ellipses in units of the matrix.
        dim_level: factor on their magnitude; its logarithm is uniform.
        ellipse_a, ellipse_b: half-axes of the ellipse in units of half the matrix (b is further multiplied by
            0.8).
        object_phase_rad: amplitude of the 6×6 background phase grid.
        coil_phase_rad: amplitude of the 2×2 phase grid of each coil.
        coil_width: N divided by the standard deviation of a coil's Gaussian.
        coil_shift: distance of a coil's centre from the image centre along each axis, in units of N.
        coil_intensity: intensity of a coil before normalisation.
        coils: number of coils, inclusive (published: 30, 30).
        angle_factor: factor on the phase of the channel pair.
        noisy_target: True = as published, the target carries the noise of the data.
        published_sampling: True = always the published mask and first angle; False = drawn afresh.
        once_per_clip: True = as published, all draws follow from the clip's name and are the same at every
            visit; False = drawn afresh.
        published_reading: True = the first 50 frames, resized without antialiasing, centre cut in time and
            space, neither turned nor flipped; False = random window, crop, turn, flip and direction in time.
        crop: side of the random square in units of the short side of a video.
        still_share: share of videos of which only one part, with soft edges, moves (published: 0).
        still_part: half-axes of that part, an ellipse, in units of the matrix.
        cine_zoom: enlargement of cine images.
        cine_speed: frames of a cine that pass from one simulated frame to the next.
        random_mask_share: share of Cartesian scans with a mask drawn anew by the published rule; the others
            have the published table, each from a random frame on.
        wide_rotation_share: share of spiral scans that turn by 30° a frame, as in the published scans; the
            others turn by 2°, as in the published training.
    """

    snr_db: tuple[float, float] = (12.0, 28.0)
    contrast: tuple[float, float] = (0.7, 2.0)
    dim_share: float = 0.5
    dim_part: tuple[float, float] = (0.08, 0.3)
    dim_level: tuple[float, float] = (0.02, 0.3)
    ellipse_a: tuple[float, float] = (1.0, 1.4)
    ellipse_b: tuple[float, float] = (0.8, 1.2)
    object_phase_rad: float = 2.0
    coil_phase_rad: float = 4.0
    coil_width: tuple[float, float] = (2.0, 6.0)
    coil_shift: tuple[float, float] = (0.2, 0.5)
    coil_intensity: tuple[float, float] = (0.1, 1.0)
    coils: tuple[int, int] = (6, 16)
    angle_factor: float = 4.0
    noisy_target: bool = False
    published_sampling: bool = False
    once_per_clip: bool = False
    published_reading: bool = False
    crop: tuple[float, float] = (0.6, 1.0)
    still_share: float = 0.5
    still_part: tuple[float, float] = (0.1, 0.35)
    cine_zoom: tuple[float, float] = (1.0, 2.0)
    cine_speed: tuple[float, float] = (0.7, 1.4)
    random_mask_share: float = 0.5
    wide_rotation_share: float = 0.5

    @classmethod
    def published(cls, **changes: Any) -> SimulationRanges:  # noqa: ANN401 - any of the fields
        """The published simulation: 30 coils, noise in the target, one draw a clip, one mask."""
        return cls(
            **{
                "snr_db": (12.0, 22.0),
                "contrast": (1.0, 1.0),
                "still_share": 0.0,
                "dim_share": 0.0,
                "coils": (30, 30),
                "noisy_target": True,
                "published_sampling": True,
                "once_per_clip": True,
                "published_reading": True,
                **changes,
            }
        )
