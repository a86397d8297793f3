"""Data sets simulated as published, and the two references that a reconstruction of them has.

 Every clip and sampling has a random seed of its own, from its name, so that all methods, and every later
run, meet the same coils, phases and noise. The references are

    truth   the noise-free root-sum-of-squares of the coil images: what is really there;
    noisy   the target of the published training, made of the fully sampled but noisy coil images: combined by
            the scan's sensitivities (Cartesian), root-sum-of-squares of the virtual coils (radial) or of all
            coils (spiral).

Nobody can foresee noise, so the score of the noise-free truth itself against the noisy target is the ceiling
of that column. A magnitude has a noise floor, though, √(truth² + 2σ²·coils) on the average, which is high
where many coils are added up; a network trained on such targets paints it too and may pass the ceiling, which
a perfect picture of the object does not. So there is a second ceiling, the truth with that floor. For
measured k-space the noise is in the truth as well, which is the measurement itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition, Sampling
from recon_backend.coils import combine, compress, root_sum_of_squares
from recon_backend.errors import ReconstructionError
from recon_backend.evaluation.cases import Case, colour_movie, measured_images
from recon_backend.evaluation.metrics import Frames
from recon_backend.reconstruct import Preparation
from recon_backend.simulation.ranges import SimulationRanges
from recon_backend.simulation.videos import PUBLISHED_MATRIX, complex_object, simulate, simulate_measured

# FastDVDNet has no picture of the first frames; all methods of a spiral scan are scored without them.
SKIPPED_FRAMES = {"cartesian": 0, "radial": 0, "spiral": 4}


@dataclass(frozen=True, eq=False)
class SimulatedCase:
    """A data set as one sampling sees it.

    Attributes:
        acquisition: the raw data.
        truth: noise-free, float32 (frame, y, x).
        coil_images: fully sampled, with noise (coil, frame, y, x).
    """

    acquisition: Acquisition
    truth: Frames
    coil_images: npt.NDArray[np.complex64]


def generator(case: Case, sampling: str, seed: int) -> np.random.Generator:
    """The random numbers of a data set: they depend on its name, the sampling and `seed` alone."""
    digest = hashlib.sha256(f"{seed}/{case.name}/{sampling}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def simulate_case(
    case: Case,
    sampling: Sampling,
    frames: int,
    seed: int,
    cache: Path,
    ranges: SimulationRanges | None = None,
) -> SimulatedCase:
    """Simulate one data set in one sampling.

    Args:
        case: a video, a cine or measured k-space.
        sampling: which acquisition.
        frames: frames of the scan.
        seed: see `generator`.
        cache: folder for decoded videos.
        ranges: what is drawn; as published if None.

    Raises:
        ReconstructionError: the file cannot be read, or shows nothing.
    """
    ranges = ranges or SimulationRanges.published()
    rng = generator(case, sampling, seed)
    matrix = PUBLISHED_MATRIX[sampling]
    if case.kind == "kspace":
        scan = simulate_measured(measured_images(case, frames, matrix), sampling, rng, ranges)
    else:
        colour = colour_movie(case, frames, matrix, cache)
        if colour.min() == colour.max():
            raise ReconstructionError(f"{case.name}: all its pixels have the same value; leave it out.")
        scan = simulate(complex_object(colour, rng, ranges), sampling, rng, ranges)
    identity = hashlib.sha256(f"{case.group}/{case.name}/{sampling}/{frames}/{seed}".encode()).hexdigest()
    acquisition = replace(scan.acquisition, name=case.name, source_sha256=identity)
    return SimulatedCase(acquisition, scan.truth, scan.coil_images)


def noisy_target(scan: SimulatedCase, preparation: Preparation) -> Frames:
    """The published training target (frame, y, x) of a simulated scan."""
    sampling = scan.acquisition.sampling
    if sampling == "spiral":
        return root_sum_of_squares(scan.coil_images)
    prepared = preparation.get()
    virtual = compress(scan.coil_images, prepared.compression)
    if sampling == "radial":
        return root_sum_of_squares(virtual)
    return np.abs(combine(virtual, prepared.sensitivities))


def with_noise_floor(scan: SimulatedCase, preparation: Preparation) -> Frames:
    """The truth with the noise floor of the noisy target, √(truth² + 2σ²·coils) (frame, y, x).

    2σ² is what the noise adds to the mean of the coil images' squares.
    """
    added = (root_sum_of_squares(scan.coil_images).astype(np.float64) ** 2 - scan.truth**2).mean()
    coils = len(scan.coil_images)
    summed = {"cartesian": 1, "spiral": coils}.get(scan.acquisition.sampling)
    if summed is None:
        summed = preparation.get().compression.shape[1]
    floor = max(float(added), 0.0) * summed / coils
    return np.sqrt(scan.truth**2 + np.float32(floor))
