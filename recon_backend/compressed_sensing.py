"""Compressed sensing with temporal total variation, the reference method of the study.

     minimise over x:  ½ Σ_t ‖W_t^½ (F_t S x_t − y_t)‖²  +  λ Σ_t |x_{t+1} − x_t|₁

with complex modulus, T − 1 differences (not periodic), orthonormal F_t and data divided by the scan's scale,
so that the image's peak is about 1; λ and W by `compressed_sensing_settings`. Solved by FISTA with restart
(POGM, its over-relaxed relative, swings on operators with a flat spectrum, as Cartesian ones have, and ends
at larger errors). The TV couples frames only pixel by pixel, so its proximal map is a small dual problem for
each pixel without any transform: a few warm-started accelerated projections. Step length from the largest
eigenvalue, with a guard that halves it when the objective goes on rising. Temporal TV at high acceleration is
semi-convergent: the iteration count is part of the method.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from recon_backend import device
from recon_backend.coils import combine
from recon_backend.compressed_sensing_settings import (
    DEFAULT_SETTINGS,
    SETTINGS,
    CompressedSensingSettings,
)
from recon_backend.normal_operators import (
    Box,
    NormalOperator,
    largest_eigenvalue,
    map_support,
    normal_operator,
)
from recon_backend.preparation import SCALE_PERCENTILE, Prepared
from recon_backend.sampling.encoding import line_encoding

ComplexArray = npt.NDArray[np.complex64]
Tensor = Any  # a tensor of whichever backend Keras runs on

_EIGENVALUE_MARGIN = 1.05
_MINIMUM_STEP = 1e-3
_SETUP_SHARE = 0.1
# Rows are updated in slabs of at most so much for each of about ten arrays.
_SLAB_BYTES = 64 << 20


def _differences(image: Tensor) -> Tensor:
    return image[1:] - image[:-1]


def _differences_adjoint(dual: Tensor) -> Tensor:
    return ops.concatenate([-dual[:1], dual[:-1] - dual[1:], dual[-1:]], axis=0)


def temporal_tv_proximal(
    image: Tensor, threshold: Tensor | float, dual: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """argmin_u ½‖u − image‖² + threshold · Σ_t |u_{t+1} − u_t|, pixel by pixel.

    Accelerated projected gradient on the dual: p ← P_{|·| ≤ threshold}(q + ¼ D(image − Dᴴ q)).

    Args:
        image: complex (frame, y, x).
        threshold: weight of the total variation.
        dual: starting point (frame − 1, y, x); zeros, or the answer of the call before.
        steps: so many steps.

    Returns:
        The minimiser and the dual variable for a warm start.
    """
    momentum, point = 1.0, dual
    for _ in range(steps):
        moved = point + 0.25 * _differences(image - _differences_adjoint(point))
        excess = ops.maximum(ops.abs(moved) / ops.maximum(threshold, 1e-30), 1.0)
        projected = moved / ops.cast(excess, "complex64")
        following = 0.5 * (1 + math.sqrt(1 + 4 * momentum**2))
        point = projected + ((momentum - 1) / following) * (projected - dual)
        dual, momentum = projected, following
    return image - _differences_adjoint(dual), dual


@dataclass(frozen=True, eq=False)
class CompressedSensingResult:
    """What came out, and what provenance records beside the settings.

    Attributes:
        images: complex64 (frame, y, x).
        objectives: value of the objective at the start of each iteration.
        regularisation: λ.
        eigenvalue: largest eigenvalue of the normal operator, with its margin.
        operator: which normal operator the timing picked; they agree to about 1e-4 of the peak.
    """

    images: ComplexArray
    objectives: list[float]
    regularisation: float
    eigenvalue: float
    operator: str


@dataclass
class SolverStatus:
    """Handed to the progress callback every few frames of an iteration and after it.

    Attributes:
        iteration: iterations done.
        objective: value of the objective at the iterate before this one, NaN before it is known.
        step: step length now, in units of 1 over the largest eigenvalue.
    """

    iteration: int
    objective: float
    step: float


@lru_cache(maxsize=8)
def _update_function(proximal_steps: int) -> Callable[..., Any]:
    """One FISTA update of a slab and the objective's terms at its start, as one fused function.

    With the point y = x + β (x − x_before), where the gradient is taken, N x follows from N y and the N x of
    the iteration before; the terms of each frame are Re⟨x_t, ½ N x_t − b_t⟩ and Σ |x_{t+1} − x_t|, to be
    added in double precision.
    """

    def update(
        x: Tensor, y: Tensor, image_y: Tensor, image_x: Tensor, right: Tensor, dual: Tensor, factors: Tensor
    ) -> tuple[Tensor, ...]:
        length, beta, beta_next = (ops.cast(factors[index], "complex64") for index in range(3))
        image_x = (image_y + beta * image_x) / (1 + beta)
        slopes = ops.sum(ops.real(ops.conj(x) * (0.5 * image_x - right)), axis=(1, 2))
        variations = ops.sum(ops.abs(_differences(x)), axis=(1, 2))
        following, dual = temporal_tv_proximal(
            y - length * (image_y - right), factors[3], dual, proximal_steps
        )
        return following, following + beta_next * (following - x), image_x, dual, slopes, variations

    return device.compiled(update)


@dataclass
class _Slab:
    """Some rows of the solver's variables: iterate x, extrapolated y, N x of one iteration ago, TV's dual."""

    rows: slice
    right: Tensor
    x: Tensor
    y: Tensor
    image_x: Tensor
    dual: Tensor


def _slabs(adjoint_data: ComplexArray, start: ComplexArray | None = None) -> list[_Slab]:
    """The variables at the beginning: the same image (y, x) in all frames, zero if None."""
    if start is None:
        start = np.zeros(adjoint_data.shape[1:], np.complex64)
    frames, height, width = adjoint_data.shape
    count = -(-height // max(1, _SLAB_BYTES // (8 * frames * width)))
    edges = np.linspace(0, height, count + 1).round().astype(int)
    slabs = []
    for first, end in zip(edges[:-1], edges[1:], strict=True):
        rows = slice(int(first), int(end))
        right = ops.convert_to_tensor(np.ascontiguousarray(adjoint_data[:, rows]))
        x = ops.convert_to_tensor(np.repeat(start[None, rows], frames, axis=0))
        slabs.append(_Slab(rows, right, x, x, ops.zeros_like(x), ops.zeros_like(right[1:])))
    return slabs


def _joined(slabs: list[_Slab], name: str) -> Tensor:
    parts = [getattr(slab, name) for slab in slabs]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)


def _advance(
    slabs: list[_Slab],
    image: Tensor,
    length: float,
    momentum: tuple[float, float],
    settings: CompressedSensingSettings,
    regularisation: float,
) -> tuple[list[_Slab], float]:
    """One update of all slabs, and the objective at its start without the data's energy."""
    update, following, objective = _update_function(settings.proximal_steps), [], 0.0
    numbers = np.asarray([length, *momentum, length * regularisation], np.float32)
    for slab in slabs:
        part = image if len(slabs) == 1 else image[:, slab.rows]
        x, y, image_x, dual, slopes, variations = update(
            slab.x, slab.y, part, slab.image_x, slab.right, slab.dual, numbers
        )
        following.append(_Slab(slab.rows, slab.right, x, y, image_x, dual))
        objective += float(ops.convert_to_numpy(slopes).astype(np.float64).sum())
        objective += regularisation * float(ops.convert_to_numpy(variations).astype(np.float64).sum())
    return following, objective


def solve(
    normal: NormalOperator,
    adjoint_data: ComplexArray,
    data_energy: float,
    eigenvalue: float,
    settings: CompressedSensingSettings,
    *,
    regularisation: float,
    start: ComplexArray | None = None,
    progress: Callable[[SolverStatus], None] | None = None,
) -> tuple[ComplexArray, list[float]]:
    """FISTA on the objective of the module.

    Args:
        normal: AᴴWA on (frame, y, x).
        adjoint_data: AᴴWy, complex64 (frame, y, x).
        data_energy: ‖W^½ y‖².
        eigenvalue: largest eigenvalue of `normal`.
        settings: parameters.
        regularisation: λ.
        start: image (y, x) to begin with in all frames; None = zero.
        progress: called every few frames and after each iteration; may raise to cancel.

    Returns:
        The image series and the objective at the start of each iteration.
    """
    status = SolverStatus(0, math.nan, 1.0)
    report = progress or (lambda _status: None)
    slabs, theta, beta, rises = _slabs(adjoint_data, start), 1.0, 0.0, 0
    objectives: list[float] = []
    for iteration in range(settings.iterations):
        image = normal(_joined(slabs, "y"), lambda: report(status))
        if rises:  # momentum carried uphill
            theta = 1.0
        following_theta = 0.5 * (1 + math.sqrt(1 + 4 * theta**2))
        beta_next = (theta - 1) / following_theta
        following, slope = _advance(
            slabs, image, status.step / eigenvalue, (beta, beta_next), settings, regularisation
        )
        objective = slope + 0.5 * data_energy
        rises = rises + 1 if objectives and objective > objectives[-1] else 0
        if (rises > 2 or not math.isfinite(objective)) and status.step > _MINIMUM_STEP:
            # The eigenvalue was too small: on with shorter steps from the last iterate, whose N x is known.
            status.step, rises, following_theta, beta_next = 0.5 * status.step, 0, 1.0, 0.0
            if math.isfinite(objective):
                image = _joined(following, "image_x")
                slabs = [dataclasses.replace(slab, y=slab.x) for slab in slabs]
            else:
                slabs, image, objective = _slabs(adjoint_data), ops.zeros_like(image), 0.5 * data_energy
            following, _ = _advance(
                slabs, image, status.step / eigenvalue, (0.0, 0.0), settings, regularisation
            )
        slabs, theta, beta = following, following_theta, beta_next
        objectives.append(objective)
        status.iteration, status.objective = iteration + 1, objective
        report(status)
    return ops.convert_to_numpy(_joined(slabs, "x")), objectives


def compressed_sensing(
    prepared: Prepared,
    settings: CompressedSensingSettings | None = None,
    progress: Callable[[float], None] | None = None,
) -> CompressedSensingResult:
    """Reconstruct a prepared scan.

    Args:
        prepared: the scan.
        settings: parameters; those of `DEFAULT_SETTINGS` if None.
        progress: called every few frames with the fraction done; may raise to cancel.
    """
    settings = settings or SETTINGS[DEFAULT_SETTINGS]
    report = progress or (lambda _fraction: None)
    weights = _data_weights(prepared, settings)
    box = map_support(prepared.sensitivities)
    adjoint_data = _adjoint_data(prepared, weights, box, lambda: report(0.0))
    data_energy = _energy(prepared, weights)
    report(0.3 * _SETUP_SHARE)
    normal = normal_operator(prepared, weights, box)
    eigenvalue = normal.bound()
    if eigenvalue is None:
        eigenvalue = _EIGENVALUE_MARGIN * largest_eigenvalue(
            normal,
            prepared.frames,
            adjoint_data.shape[1:],
            settings.eigenvalue_iterations,
            lambda: report(0.5 * _SETUP_SHARE),
        )
    report(_SETUP_SHARE)
    regularisation = settings.regularisation
    if regularisation is None:
        regularisation = settings.relative_regularisation * mean_eigenvalue(prepared, weights)
    images, objectives = solve(
        normal,
        adjoint_data,
        data_energy,
        eigenvalue,
        settings,
        regularisation=regularisation,
        start=_time_average(adjoint_data),
        progress=lambda status: report(
            _SETUP_SHARE + (1 - _SETUP_SHARE) * status.iteration / settings.iterations
        ),
    )
    whole = np.zeros((prepared.frames, *prepared.acquisition.matrix), np.complex64)
    whole[:, *box] = images
    return CompressedSensingResult(
        whole, objectives, regularisation, eigenvalue, type(normal).__name__
    )


def _time_average(adjoint_data: ComplexArray) -> ComplexArray:
    """Mean of AᴴWy over the frames, scaled to a peak of about 1 as the image has: saves two iterations."""
    average = adjoint_data.mean(axis=0)
    peak = float(np.percentile(np.abs(average), SCALE_PERCENTILE))
    return average / np.float32(peak) if peak > 0 else average


def mean_eigenvalue(prepared: Prepared, weights: npt.NDArray[np.float32] | None) -> float:
    """Mean eigenvalue of F_tᴴ W_t F_t: its trace, ΣW, over the number of pixels, mean over the frames."""
    mask, (height, width) = prepared.acquisition.mask, prepared.acquisition.matrix
    if mask is not None:
        return float(mask.mean())
    assert weights is not None  # a non-Cartesian scan has weights
    return float(weights.sum(dtype=np.float64)) / (prepared.frames * height * width)


def _data_weights(prepared: Prepared, settings: CompressedSensingSettings) -> npt.NDArray[np.float32] | None:
    if prepared.weights is None:
        return None
    if settings.weights == "density":
        return prepared.weights
    if settings.weights == "root":
        return np.sqrt(prepared.weights)
    return (prepared.weights > 0).astype(np.float32)


def _energy(prepared: Prepared, weights: npt.NDArray[np.float32] | None) -> float:
    """‖W^½ y‖², coil by coil so that nothing of the size of the scan is made."""
    total = 0.0
    for coil in prepared.kspace:
        energy = coil.real**2 + coil.imag**2
        total += float((energy if weights is None else energy * weights).sum(dtype=np.float64))
    return total


def _adjoint_data(
    prepared: Prepared, weights: npt.NDArray[np.float32] | None, box: Box, tick: Callable[[], None]
) -> ComplexArray:
    """AᴴWy inside the box."""
    maps, kspace = prepared.sensitivities, prepared.kspace
    mask = prepared.acquisition.mask
    if mask is not None:
        return _cartesian_adjoint(kspace, mask, maps, box, tick)
    assert prepared.fourier is not None and weights is not None  # a non-Cartesian scan has both
    fourier = prepared.fourier
    return np.stack(
        fourier.each_frame(
            lambda frame: combine(fourier.adjoint_frame(kspace[:, frame] * weights[frame], frame), maps)[box],
            tick=tick,
        )
    )


def _cartesian_adjoint(
    kspace: ComplexArray,
    mask: npt.NDArray[np.bool_],
    sensitivities: ComplexArray,
    box: Box,
    tick: Callable[[], None],
) -> ComplexArray:
    """From hybrid space (coil, frame, ky, x): only the acquired lines are transformed."""
    maps, frames = sensitivities[:, *box], []
    for frame, acquired in enumerate(mask):
        tick()
        height, count = mask.shape[1], int(acquired.sum())
        encoding = line_encoding(acquired[None])[0]
        inverse = (encoding[:height, :count] - 1j * encoding[:height, count:])[box[0]].astype(np.complex64)
        frames.append(combine(np.matmul(inverse, kspace[:, frame, acquired, box[1]]), maps))
    return np.stack(frames)
