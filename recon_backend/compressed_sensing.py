"""Compressed sensing with temporal total variation, the reference method of the study.

     minimise over x:  ½ Σ_t ‖W_t^½ (F_t S x_t − y_t)‖²  +  λ Σ_t |x_{t+1} − x_t|₁

with complex modulus, T − 1 differences (not periodic) and λ = 5e-4 on data scaled to a peak of about 1 (the
published factor times the peak; paper_spec §6). Solved by POGM (proximal optimised gradient, Kim & Fessler)
with restart; the TV couples frames only pixel by pixel, so its proximal map is a small dual problem for each
pixel without any transform (a few warm-started accelerated projections). Step length from the largest
eigenvalue of two frames, with a guard that halves it when the objective rises. Temporal TV at high
acceleration is semi-convergent: the iteration count is part of the method.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from keras import ops

from recon_backend import device
from recon_backend.coils import combine
from recon_backend.fourier import NonuniformFourier, toeplitz_kernel
from recon_backend.preparation import Prepared
from recon_backend.sampling.encoding import line_encoding

ComplexArray = npt.NDArray[np.complex64]
Tensor = Any  # a tensor of whichever backend Keras runs on

_BLOCK_FRAMES = 24
_EIGENVALUE_MARGIN = 1.05
_MINIMUM_STEP = 1e-3


@dataclass(frozen=True)
class CompressedSensingSettings:
    """Parameters of the method; all of them go into provenance.

    Attributes:
        regularisation: λ on data scaled to a peak of about 1.
        weights: "density" = full density weights as published, "root" = their square root, "none".
            Cartesian data have no density weights.
        iterations: calls of the normal operator in the solver.
        proximal_steps: dual steps of the TV proximal map in each iteration.
        power_iterations: iterations that estimate the step length.
    """

    regularisation: float = 5e-4
    weights: Literal["density", "root", "none"] = "density"
    iterations: int = 30
    proximal_steps: int = 6
    power_iterations: int = 25

    def to_dict(self) -> dict[str, Any]:
        """The parameters as they are recorded."""
        return asdict(self)


class NormalOperator(Protocol):
    """x → Σ_c s_c* F_tᴴ W_t F_t (s_c x_t) on tensors (frame, y, x), complex64."""

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the operator."""
        ...

    def frames(self, chosen: list[int]) -> NormalOperator:
        """The same operator for some frames only."""
        ...


def _complex(real: Tensor, imaginary: Tensor) -> Tensor:
    return ops.cast(real, "complex64") + ops.cast(imaginary, "complex64") * 1j


class CartesianNormal:
    """Products with the partial DFT of each frame's acquired lines; the readout's FFT cancels."""

    def __init__(self, mask: npt.NDArray[np.bool_], sensitivities: ComplexArray) -> None:
        """Put the small DFT matrices and the maps on the device.

        Args:
            mask: bool (frame, ky).
            sensitivities: complex64 (coil, y, x).
        """
        self._mask, self._sensitivities = mask, sensitivities
        self._encoding = ops.convert_to_tensor(line_encoding(mask))
        self._apply = device.compiled(self._block)
        maps = np.ascontiguousarray(np.moveaxis(sensitivities, 1, 2))  # coil, x, y
        self._real, self._imaginary = (
            ops.convert_to_tensor(part.astype(np.float32)) for part in (maps.real, maps.imag)
        )

    def frames(self, chosen: list[int]) -> CartesianNormal:
        """The operator of some frames."""
        return CartesianNormal(self._mask[chosen], self._sensitivities)

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the operator block by block, so that memory does not grow with the scan."""
        blocks = [
            self._apply(image[start : start + _BLOCK_FRAMES], self._encoding[start : start + _BLOCK_FRAMES])
            for start in range(0, image.shape[0], _BLOCK_FRAMES)
        ]
        return ops.concatenate(blocks, axis=0)

    def _block(self, image: Tensor, encoding: Tensor) -> Tensor:
        columns = ops.transpose(image, (0, 2, 1))[:, None]  # frame, 1, x, y
        real, imaginary = ops.real(columns), ops.imag(columns)
        coil = ops.concatenate(
            [
                real * self._real - imaginary * self._imaginary,
                real * self._imaginary + imaginary * self._real,
            ],
            axis=-1,
        )
        frames, coils, width, twice = coil.shape
        flat = ops.reshape(coil, (frames, coils * width, twice))
        back = ops.matmul(ops.matmul(flat, encoding), ops.transpose(encoding, (0, 2, 1)))
        back = ops.reshape(back, (frames, coils, width, 2, twice // 2))
        back_real, back_imaginary = back[..., 0, :], back[..., 1, :]
        combined_real = ops.sum(self._real * back_real + self._imaginary * back_imaginary, axis=1)
        combined_imaginary = ops.sum(self._real * back_imaginary - self._imaginary * back_real, axis=1)
        return ops.transpose(_complex(combined_real, combined_imaginary), (0, 2, 1))


class ToeplitzNormal:
    """Convolution with each frame's point response by zero-padded FFTs: stays on the device, no scatter."""

    def __init__(
        self,
        trajectory: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        sensitivities: ComplexArray,
        kernels: npt.NDArray[np.complex64] | None = None,
    ) -> None:
        """Compute the transfer functions by FINUFFT and put them on the device.

        Args:
            trajectory: (frame, readout, sample, 2), rad/pixel.
            weights: (frame, readout, sample).
            sensitivities: complex64 (coil, y, x).
            kernels: transfer functions if they are known already.
        """
        self._trajectory, self._weights, self._maps = trajectory, weights, sensitivities
        height, width = sensitivities.shape[1:]
        self._kernels = toeplitz_kernel(trajectory, weights, (height, width)) if kernels is None else kernels
        self._real, self._imaginary = (
            ops.convert_to_tensor(np.ascontiguousarray(part))
            for part in (sensitivities.real, sensitivities.imag)
        )

    def frames(self, chosen: list[int]) -> ToeplitzNormal:
        """The operator of some frames."""
        return ToeplitzNormal(
            self._trajectory[chosen], self._weights[chosen], self._maps, kernels=self._kernels[chosen]
        )

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the operator frame by frame: the working set of one frame stays in the cache."""
        return ops.stack([self._frame(image[frame], self._kernels[frame]) for frame in range(image.shape[0])])

    def _frame(self, image: Tensor, kernel: ComplexArray) -> Tensor:
        height, width = self._maps.shape[1:]
        real, imaginary = ops.real(image), ops.imag(image)
        padding = ((0, 0), (0, height), (0, width))
        coil = (
            ops.pad(real * self._real - imaginary * self._imaginary, padding),
            ops.pad(real * self._imaginary + imaginary * self._real, padding),
        )
        k_real, k_imaginary = ops.fft2(coil)
        g_real, g_imaginary = ops.convert_to_tensor(kernel.real), ops.convert_to_tensor(kernel.imag)
        back_real, back_imaginary = ops.ifft2(
            (k_real * g_real - k_imaginary * g_imaginary, k_real * g_imaginary + k_imaginary * g_real)
        )
        back_real, back_imaginary = back_real[:, :height, :width], back_imaginary[:, :height, :width]
        return _complex(
            ops.sum(self._real * back_real + self._imaginary * back_imaginary, axis=0),
            ops.sum(self._real * back_imaginary - self._imaginary * back_real, axis=0),
        )


class FinufftNormal:
    """Non-uniform FFT forth and back on the CPU: faster there than Toeplitz when a frame has few samples."""

    def __init__(
        self, fourier: NonuniformFourier, weights: npt.NDArray[np.float32], sensitivities: ComplexArray
    ) -> None:
        """Keep the transform, the weights (frame, readout, sample) and the maps (coil, y, x)."""
        self._fourier, self._weights, self._maps = fourier, weights, sensitivities

    def frames(self, chosen: list[int]) -> FinufftNormal:
        """The operator of some frames."""
        fourier = NonuniformFourier(self._fourier.trajectory[chosen], self._fourier.matrix)
        return FinufftNormal(fourier, self._weights[chosen], self._maps)

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the operator frame by frame."""
        array = ops.convert_to_numpy(image)

        def one(frame: int) -> ComplexArray:
            samples = self._fourier.forward_frame(self._maps * array[frame], frame) * self._weights[frame]
            return combine(self._fourier.adjoint_frame(samples, frame), self._maps)

        return ops.convert_to_tensor(np.stack(self._fourier.each_frame(one)))


def normal_operator(prepared: Prepared, weights: npt.NDArray[np.float32] | None) -> NormalOperator:
    """The fastest exact normal operator for a prepared scan on the present device.

    For non-Cartesian data one frame is timed with FINUFFT and with the Toeplitz convolution.
    """
    mask = prepared.acquisition.mask
    if mask is not None:
        return CartesianNormal(mask, prepared.sensitivities)
    assert prepared.fourier is not None and weights is not None  # a non-Cartesian scan has both
    trajectory = prepared.fourier.trajectory
    probe = ops.convert_to_tensor(np.ones((1, *prepared.fourier.matrix), np.complex64))
    by_finufft = FinufftNormal(prepared.fourier, weights, prepared.sensitivities)
    by_toeplitz = ToeplitzNormal(trajectory[:1], weights[:1], prepared.sensitivities)
    if _seconds(by_toeplitz, probe) < _seconds(by_finufft.frames([0]), probe):
        return ToeplitzNormal(trajectory, weights, prepared.sensitivities)
    return by_finufft


def _seconds(operator: NormalOperator, probe: Tensor) -> float:
    operator(probe)  # the first call plans and compiles
    started = time.perf_counter()
    for _ in range(2):
        ops.convert_to_numpy(operator(probe))
    return time.perf_counter() - started


def largest_eigenvalue(
    operator: NormalOperator, frames: int, matrix: tuple[int, int], iterations: int
) -> float:
    """Largest eigenvalue of a block-diagonal operator, from its first and middle frame by power iteration."""
    chosen = sorted({0, frames // 2})
    part = operator.frames(chosen)
    rng = np.random.default_rng(0)
    vector = (
        rng.standard_normal((len(chosen), *matrix)) + 1j * rng.standard_normal((len(chosen), *matrix))
    ).astype(np.complex64)
    norms = np.ones(len(chosen))
    for _ in range(iterations):
        norms = np.linalg.norm(vector.reshape(len(chosen), -1), axis=1)
        vector = ops.convert_to_numpy(
            part(ops.convert_to_tensor(vector / norms[:, None, None].astype(np.float32)))
        )
    return float(np.linalg.norm(vector.reshape(len(chosen), -1), axis=1).max())


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
        eigenvalue: largest eigenvalue of the normal operator, with its margin.
        operator: which normal operator the timing picked; they agree to about 3e-4 of the peak.
    """

    images: ComplexArray
    objectives: list[float]
    eigenvalue: float
    operator: str


@dataclass
class SolverStatus:
    """Handed to the progress callback after each iteration.

    Attributes:
        iteration: iterations done, from 1.
        objective: value of the objective at the iterate before this one.
        step: step length now, in units of 1 over the largest eigenvalue.
    """

    iteration: int
    objective: float
    step: float


def _make_update(proximal_steps: int) -> Callable[..., Any]:
    """One POGM update after the gradient, as one fused function; see `solve` for the names."""

    def update(
        x: Tensor, gradient: Tensor, w: Tensor, z: Tensor, dual: Tensor, factors: Tensor
    ) -> tuple[Tensor, ...]:
        length, a, b, c = (ops.cast(factors[index], "complex64") for index in range(4))
        following_w = x - length * gradient
        following_z = following_w + a * (following_w - w) + b * (following_w - x) + c * (z - x)
        following_x, dual = temporal_tv_proximal(following_z, factors[4], dual, proximal_steps)
        return following_x, following_w, following_z, dual

    return device.compiled(update)


def _terms(x: Tensor, image: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Re⟨x_t, ½ Nx_t − b_t⟩ and Σ |x_{t+1} − x_t| of each frame, to be added in double precision."""
    slope = ops.real(ops.conj(x) * (0.5 * image - right))
    return ops.sum(slope, axis=(1, 2)), ops.sum(ops.abs(_differences(x)), axis=(1, 2))


def solve(
    normal: NormalOperator,
    adjoint_data: ComplexArray,
    data_energy: float,
    eigenvalue: float,
    settings: CompressedSensingSettings,
    progress: Callable[[SolverStatus], None] | None = None,
) -> tuple[ComplexArray, list[float]]:
    """POGM on the objective of the module.

    Args:
        normal: AᴴWA on (frame, y, x).
        adjoint_data: AᴴWy, complex64 (frame, y, x).
        data_energy: ‖W^½ y‖².
        eigenvalue: largest eigenvalue of `normal`.
        settings: parameters.
        progress: called after each iteration; may raise to cancel.

    Returns:
        The image series and the objective at the start of each iteration.
    """
    right = ops.convert_to_tensor(adjoint_data)
    update, terms = _make_update(settings.proximal_steps), device.compiled(_terms)
    x = ops.zeros_like(right)
    w, z = x, x
    dual = ops.zeros_like(right[1:])
    theta, gamma, step, rises = 1.0, 1.0, 1.0, 0
    objectives: list[float] = []
    for iteration in range(settings.iterations):
        image = normal(x)
        slopes, variations = (
            ops.convert_to_numpy(part).astype(np.float64) for part in terms(x, image, right)
        )
        objective = float(slopes.sum() + settings.regularisation * variations.sum()) + 0.5 * data_energy
        rises = rises + 1 if objectives and objective > objectives[-1] else 0
        if (rises >= 2 or not math.isfinite(objective)) and step > _MINIMUM_STEP:
            # Momentum overshot or the eigenvalue was too small: begin anew from a safe point with a shorter
            # step.
            step, theta, rises = 0.5 * step, 1.0, 0
            if not math.isfinite(objective):
                x, image = ops.zeros_like(right), ops.zeros_like(right)
                objective = 0.5 * data_energy
            w, z = x, x
        objectives.append(objective)
        length = step / eigenvalue
        last = iteration == settings.iterations - 1
        following = 0.5 * (1 + math.sqrt(1 + (8 if last else 4) * theta**2))
        factors = [
            length,
            (theta - 1) / following,
            theta / following,
            length * (theta - 1) / (gamma * following),
            0.0,
        ]
        gamma = length * (2 * theta + following - 1) / following
        factors[4] = gamma * settings.regularisation
        x, w, z, dual = update(x, image - right, w, z, dual, np.asarray(factors, np.float32))
        theta = following
        if progress is not None:
            progress(SolverStatus(iteration + 1, objective, step))
    return ops.convert_to_numpy(x), objectives


def compressed_sensing(
    prepared: Prepared,
    settings: CompressedSensingSettings | None = None,
    progress: Callable[[float], None] | None = None,
) -> CompressedSensingResult:
    """Reconstruct a prepared scan.

    Args:
        prepared: the scan.
        settings: parameters; the published ones if None.
        progress: called with the fraction done; may raise to cancel.
    """
    settings = settings or CompressedSensingSettings()
    report = progress or (lambda _fraction: None)
    weights = _data_weights(prepared, settings)
    adjoint_data = _adjoint_data(prepared, weights)
    energy = np.abs(prepared.kspace) ** 2
    data_energy = float((energy if weights is None else energy * weights).sum(dtype=np.float64))
    report(0.05)
    normal = normal_operator(prepared, weights)
    matrix = prepared.acquisition.matrix
    eigenvalue = _EIGENVALUE_MARGIN * largest_eigenvalue(
        normal, prepared.frames, matrix, settings.power_iterations
    )
    report(0.15)
    images, objectives = solve(
        normal,
        adjoint_data,
        data_energy,
        eigenvalue,
        settings,
        lambda status: report(0.15 + 0.85 * status.iteration / settings.iterations),
    )
    return CompressedSensingResult(images, objectives, eigenvalue, type(normal).__name__)


def _data_weights(prepared: Prepared, settings: CompressedSensingSettings) -> npt.NDArray[np.float32] | None:
    if prepared.weights is None:
        return None
    if settings.weights == "density":
        return prepared.weights
    if settings.weights == "root":
        return np.sqrt(prepared.weights)
    return (prepared.weights > 0).astype(np.float32)


def _adjoint_data(prepared: Prepared, weights: npt.NDArray[np.float32] | None) -> ComplexArray:
    if prepared.fourier is None or weights is None:
        blocks = [
            combine(
                prepared.zero_filled(start, min(start + _BLOCK_FRAMES, prepared.frames)),
                prepared.sensitivities,
            )
            for start in range(0, prepared.frames, _BLOCK_FRAMES)
        ]
        return np.concatenate(blocks)
    fourier, kspace, maps = prepared.fourier, prepared.kspace, prepared.sensitivities
    return np.stack(
        fourier.each_frame(
            lambda frame: combine(fourier.adjoint_frame(kspace[:, frame] * weights[frame], frame), maps)
        )
    )
