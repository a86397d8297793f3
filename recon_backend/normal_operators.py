"""The normal operator of a scan, x ↦ Σ_c s_c* F_tᴴ W_t F_t (s_c x_t), in the forms that are fast.

 Cartesian data: the FFT along the readout cancels, so each frame needs two products with the partial DFT of
its acquired lines. Other data: FINUFFT forth and back, or the Toeplitz convolution by zero-padded FFTs; both
are exact (they agree to 1e-4), a short timing picks. Images are cut to the box outside which all maps are
zero: exact as well, because a shift of the origin multiplies samples by a phase that cancels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

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
Tick = Callable[[], None]
Box = tuple[slice, slice]

_BLOCK_FRAMES = 24
# Zero-padded coil images of so many frames stay in a GPU's cache; on a CPU one frame does.
_TOEPLITZ_FRAMES = 3
_RESIDENT_BYTES = 2 << 30


def _silent() -> None:
    """Tick of nobody who waits."""


class NormalOperator(Protocol):
    """x → Σ_c s_c* F_tᴴ W_t F_t (s_c x_t) on tensors (frame, y, x), complex64."""

    def __call__(self, image: Tensor, tick: Tick = _silent) -> Tensor:
        """Apply the operator; `tick` is called every few frames and may raise to cancel."""
        ...

    def frames(self, chosen: list[int]) -> NormalOperator:
        """The same operator for some frames only."""
        ...

    def bound(self) -> float | None:
        """An upper bound of the eigenvalues that is as good as the largest one, or None if none is known."""
        ...


def map_support(sensitivities: ComplexArray) -> Box:
    """The smallest box (rows, columns) outside which all maps (coil, y, x) are zero."""
    covered = (sensitivities != 0).any(axis=0)
    if not covered.any():
        return slice(0, covered.shape[0]), slice(0, covered.shape[1])
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _complex(real: Tensor, imaginary: Tensor) -> Tensor:
    return ops.cast(real, "complex64") + ops.cast(imaginary, "complex64") * 1j


def _map_parts(sensitivities: ComplexArray) -> tuple[Tensor, Tensor]:
    real, imaginary = (
        np.ascontiguousarray(part, np.float32) for part in (sensitivities.real, sensitivities.imag)
    )
    return ops.convert_to_tensor(real), ops.convert_to_tensor(imaginary)


@lru_cache(maxsize=1)
def _cartesian_block() -> Callable[..., Tensor]:
    """Compiled once for each shape: image (frame, y, x), encoding (frame, 2y, 2·lines), maps (coil, y, x)."""

    def block(image: Tensor, encoding: Tensor, map_real: Tensor, map_imaginary: Tensor) -> Tensor:
        real, imaginary = ops.real(image)[:, None], ops.imag(image)[:, None]
        coil = ops.concatenate(
            [real * map_real - imaginary * map_imaginary, real * map_imaginary + imaginary * map_real], axis=2
        )  # frame, coil, 2y, x
        lines = ops.matmul(ops.transpose(encoding, (0, 2, 1))[:, None], coil)
        back = ops.matmul(encoding[:, None], lines)
        height = back.shape[2] // 2
        back_real, back_imaginary = back[:, :, :height], back[:, :, height:]
        return _complex(
            ops.sum(map_real * back_real + map_imaginary * back_imaginary, axis=1),
            ops.sum(map_real * back_imaginary - map_imaginary * back_real, axis=1),
        )

    return device.compiled(block)


class CartesianNormal:
    """Products with the partial DFT of each frame's acquired lines; the readout's FFT cancels."""

    def __init__(
        self, mask: npt.NDArray[np.bool_], sensitivities: ComplexArray, rows: slice | None = None
    ) -> None:
        """Put the small DFT matrices and the maps on the device.

        Args:
            mask: bool (frame, ky).
            sensitivities: complex64 (coil, y, x).
            rows: the rows of the whole matrix that maps and images hold; None = all.
        """
        self._mask, self._sensitivities, self._rows = mask, sensitivities, rows
        encoding = line_encoding(mask)
        if rows is not None:
            size = mask.shape[1]
            encoding = np.concatenate([encoding[:, :size][:, rows], encoding[:, size:][:, rows]], axis=1)
        self._encoding = ops.convert_to_tensor(encoding)
        self._maps = _map_parts(sensitivities)

    def frames(self, chosen: list[int]) -> CartesianNormal:
        """The operator of some frames."""
        return CartesianNormal(self._mask[chosen], self._sensitivities, self._rows)

    def bound(self) -> float:
        """The largest Σ_c |s_c|²: the DFTs are orthonormal, so nothing is amplified beyond it."""
        return float((np.abs(self._sensitivities) ** 2).sum(axis=0).max())

    def __call__(self, image: Tensor, tick: Tick = _silent) -> Tensor:
        """Apply the operator block by block, so that memory does not grow with the scan."""
        apply, blocks = _cartesian_block(), []
        for start in range(0, image.shape[0], _BLOCK_FRAMES):
            tick()
            block = slice(start, start + _BLOCK_FRAMES)
            blocks.append(apply(image[block], self._encoding[block], *self._maps))
        return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=0)


def _toeplitz_block(image: Tensor, kernel: Tensor, map_real: Tensor, map_imaginary: Tensor) -> Tensor:
    """Convolve image (frame, y, x) with kernels (frame, 2y, 2x) given in FFT order, coil by coil."""
    height, width = image.shape[1:]
    real, imaginary = ops.real(image)[:, None], ops.imag(image)[:, None]
    padding = ((0, 0), (0, 0), (0, height), (0, width))
    k_real, k_imaginary = ops.fft2(
        (
            ops.pad(real * map_real - imaginary * map_imaginary, padding),
            ops.pad(real * map_imaginary + imaginary * map_real, padding),
        )
    )
    back_real, back_imaginary = ops.ifft2((k_real * kernel[:, None], k_imaginary * kernel[:, None]))
    back_real, back_imaginary = back_real[..., :height, :width], back_imaginary[..., :height, :width]
    return _complex(
        ops.sum(map_real * back_real + map_imaginary * back_imaginary, axis=1),
        ops.sum(map_real * back_imaginary - map_imaginary * back_real, axis=1),
    )


@lru_cache(maxsize=1)
def _compiled_toeplitz_block() -> Callable[..., Tensor]:
    return device.compiled(_toeplitz_block)


class ToeplitzNormal:
    """Convolution with each frame's point response by zero-padded FFTs: stays on the device, no scatter."""

    def __init__(
        self,
        trajectory: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        sensitivities: ComplexArray,
        *,
        full_matrix: tuple[int, int] | None = None,
        kernels: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Compute the transfer functions by FINUFFT and put them on the device.

        Args:
            trajectory: (frame, readout, sample, 2), rad/pixel.
            weights: (frame, readout, sample).
            sensitivities: complex64 (coil, y, x).
            full_matrix: the matrix of the scan if the maps are cut to a box of it.
            kernels: transfer functions if they are known already.
        """
        self._trajectory, self._weights, self._sensitivities = trajectory, weights, sensitivities
        self._full_matrix = full_matrix
        matrix = sensitivities.shape[1:]
        self._kernels = (
            toeplitz_kernel(trajectory, weights, matrix, full_matrix) if kernels is None else kernels
        )
        self._maps = _map_parts(sensitivities)
        # FFTs that the compiler makes for a CPU are slower than the framework's own.
        on_gpu = device.current().kind == "gpu"
        self._block = _compiled_toeplitz_block() if on_gpu else _toeplitz_block
        self._at_once = _TOEPLITZ_FRAMES if on_gpu else 1
        # Kernels of a usual scan stay on the device; those of a very long one would crowd it.
        small = self._kernels.nbytes <= _RESIDENT_BYTES
        self._transfer = ops.convert_to_tensor(self._kernels) if small else self._kernels

    def frames(self, chosen: list[int]) -> ToeplitzNormal:
        """The operator of some frames."""
        return ToeplitzNormal(
            self._trajectory[chosen],
            self._weights[chosen],
            self._sensitivities,
            full_matrix=self._full_matrix,
            kernels=self._kernels[chosen],
        )

    def bound(self) -> None:
        """None is known."""
        return

    def __call__(self, image: Tensor, tick: Tick = _silent) -> Tensor:
        """Apply the operator a few frames at a time: their working set stays in the cache."""
        blocks = []
        for start in range(0, image.shape[0], self._at_once):
            tick()
            chosen = slice(start, start + self._at_once)
            kernel = ops.convert_to_tensor(self._transfer[chosen])
            blocks.append(self._block(image[chosen], kernel, *self._maps))
        return ops.concatenate(blocks, axis=0)


class FinufftNormal:
    """Non-uniform FFT forth and back on the CPU: faster there than Toeplitz when a frame has few samples."""

    def __init__(
        self, fourier: NonuniformFourier, weights: npt.NDArray[np.float32], sensitivities: ComplexArray
    ) -> None:
        """Keep the transform, the weights (frame, readout, sample) and the maps (coil, y, x)."""
        self._fourier, self._weights, self._sensitivities = fourier, weights, sensitivities

    def frames(self, chosen: list[int]) -> FinufftNormal:
        """The operator of some frames."""
        return FinufftNormal(self._fourier.some_frames(chosen), self._weights[chosen], self._sensitivities)

    def bound(self) -> None:
        """None is known."""
        return

    def __call__(self, image: Tensor, tick: Tick = _silent) -> Tensor:
        """Apply the operator frame by frame."""
        array, maps, fourier = ops.convert_to_numpy(image), self._sensitivities, self._fourier

        def one(frame: int) -> ComplexArray:
            samples = fourier.forward_frame(maps * array[frame], frame)
            samples *= self._weights[frame]
            return combine(fourier.adjoint_frame(samples, frame), maps)

        return ops.convert_to_tensor(np.stack(fourier.each_frame(one, tick=tick)))


def normal_operator(prepared: Prepared, weights: npt.NDArray[np.float32] | None, box: Box) -> NormalOperator:
    """The fastest exact normal operator for a prepared scan on the present device.

    For non-Cartesian data on a CPU one frame is timed with FINUFFT and with the Toeplitz convolution; on a
    GPU, where FINUFFT would have to come back to the CPU, it is the Toeplitz convolution.

    Args:
        prepared: the scan.
        weights: (frame, readout, sample); None for Cartesian data.
        box: the part of the matrix that images hold, see `map_support`.
    """
    maps = np.ascontiguousarray(prepared.sensitivities[:, *box])
    mask = prepared.acquisition.mask
    if mask is not None:
        return CartesianNormal(mask, maps, box[0])
    assert prepared.fourier is not None and weights is not None  # a non-Cartesian scan has both
    trajectory, full = prepared.fourier.trajectory, prepared.fourier.matrix
    matrix = (maps.shape[1], maps.shape[2])
    by_finufft = FinufftNormal(prepared.fourier.cut_to(matrix), weights, maps)
    if device.current().kind != "gpu":
        probe = ops.convert_to_tensor(np.ones((1, *matrix), np.complex64))
        one_frame = ToeplitzNormal(trajectory[:1], weights[:1], maps, full_matrix=full)
        if _seconds(by_finufft.frames([0]), probe) < _seconds(one_frame, probe):
            return by_finufft
    return ToeplitzNormal(trajectory, weights, maps, full_matrix=full)


def _seconds(operator: NormalOperator, probe: Tensor) -> float:
    operator(probe)  # the first call plans and compiles
    started = time.perf_counter()
    for _ in range(2):
        ops.convert_to_numpy(operator(probe))
    return time.perf_counter() - started


def largest_eigenvalue(
    operator: NormalOperator, frames: int, matrix: tuple[int, int], iterations: int, tick: Tick = _silent
) -> float:
    """Largest eigenvalue of a block-diagonal operator, from its first and middle frame by Lanczos iteration.

    Each frame has its own Krylov space: joined, the larger of two close values would converge late.

    Args:
        operator: the operator.
        frames: how many frames it has.
        matrix: image size (y, x).
        iterations: calls of the operator of the two frames.
        tick: called before each; may raise to cancel.
    """
    chosen = sorted({0, frames // 2})
    part = operator.frames(chosen)
    rng = np.random.default_rng(0)
    shape = (len(chosen), *matrix)
    vector = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    vector /= np.linalg.norm(vector.reshape(len(chosen), -1), axis=1)[:, None, None]
    before, beta = np.zeros_like(vector), np.zeros(len(chosen))
    diagonals: list[npt.NDArray[np.float64]] = []
    others: list[npt.NDArray[np.float64]] = []
    for _ in range(iterations):
        tick()
        image = ops.convert_to_numpy(part(ops.convert_to_tensor(vector.astype(np.complex64))))
        diagonals.append(np.real((vector.conj() * image).sum(axis=(1, 2))))
        following = image - diagonals[-1][:, None, None] * vector - beta[:, None, None] * before
        beta = np.linalg.norm(following.reshape(len(chosen), -1), axis=1)
        if (beta <= 1e-6 * np.abs(diagonals[0])).any():  # the Krylov space of a frame is exhausted
            break
        others.append(beta)
        before, vector = vector, following / beta[:, None, None]
    count = len(diagonals)
    largest = 0.0
    for frame in range(len(chosen)):
        tridiagonal = np.diag([value[frame] for value in diagonals])
        for row, value in enumerate(others[: count - 1]):
            tridiagonal[row, row + 1] = tridiagonal[row + 1, row] = value[frame]
        largest = max(largest, float(np.linalg.eigvalsh(tridiagonal)[-1]))
    return largest
