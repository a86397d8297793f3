"""What the spokes of a radial scan tell about its trajectory: gradient delays, and angles that are wrong.

 Both are read from the data alone (`recon_backend.sampling.delays`, `.angles`). Where the angles are wrong,
crossings of spokes mean nothing, so no delay is estimated then.
"""

from __future__ import annotations

from dataclasses import dataclass

from recon_backend.acquisition import Acquisition
from recon_backend.sampling.angles import AngleFinding, check_angles
from recon_backend.sampling.delays import GradientDelays, estimate_delays


@dataclass(frozen=True)
class RadialChecks:
    """What was found.

    Attributes:
        delays: None for other sampling, where they cannot be told, or where the angles are wrong.
        angles: None for other sampling, or where there are too few spokes to tell.
    """

    delays: GradientDelays | None = None
    angles: AngleFinding | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user must see to, one sentence each; usually nothing."""
        if self.angles is None or not self.angles.contradicts:
            return ()
        return (self.angles.describe(),)


def check_radial(acquisition: Acquisition) -> RadialChecks:
    """Look at the spokes of a scan; other sampling gives an empty answer."""
    if acquisition.sampling != "radial" or acquisition.trajectory is None:
        return RadialChecks()
    spacing, mask = acquisition.pixel_spacing_mm, acquisition.readout_mask
    angles = check_angles(
        acquisition.kspace,
        acquisition.trajectory,
        acquisition.matrix,
        readout_mask=mask,
        pixel_spacing=spacing,
    )
    if angles is not None and angles.contradicts:
        return RadialChecks(angles=angles)
    delays = estimate_delays(
        acquisition.kspace, acquisition.trajectory, readout_mask=mask, pixel_spacing=spacing
    )
    return RadialChecks(delays, angles)
