"""The methods as engines that take one frame after another and keep what the next image needs.

An engine is given every frame and told of each whether its image is wanted. What an image needs of earlier
frames is computed once and only when it is needed, so a frame that is passed over costs next to nothing, and
an image never depends on which others were made. Rules, f being the newest frame:

* gridded, radial and spiral: root-sum-of-squares over the coils of the mean of the gridded coil images of
  frames f − W + 1…f;
* gridded, Cartesian: every line as it was last acquired within those frames (view sharing), zero where it was
  not;
* FastDVDNet: block2(T(f−2), T(f−1), T(f)) with T(f) = block1(frames f−2…f), where T is kept: a new frame
  needs one new T and one block2;
* VarNet and 3D UNet: every `BLOCK_STEP` frames the network sees the last `BLOCK_FRAMES` frames and answers
  for the `BLOCK_STEP` frames that lie `BLOCK_AHEAD` frames before their end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Acquisition
from recon_backend.coils import root_sum_of_squares
from recon_backend.fourier import NonuniformFourier, centred_ifft
from recon_backend.inference import padded, reflected
from recon_backend.preparation import Prepared
from recon_backend.streaming.calibration import Calibration, joined
from recon_backend.streaming.gridding import Gridder

Image = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]
Images = list[tuple[int, Image]]
BlockFunction = Callable[[Image], Image]

DEFAULT_WINDOW = {"cartesian": 16, "radial": 8, "spiral": 4}
"""Frames of the sliding window: as many as it takes until the published samplings begin to cover k-space."""

BLOCK_FRAMES = 12
BLOCK_STEP = 4
BLOCK_AHEAD = 4
CAUSAL_FRAMES = 5
_BLAS_ALONE = 1 << 14  # multiplications that OpenBLAS does in the calling thread


class Engine(Protocol):
    """One method at work on one scan."""

    @property
    def memory(self) -> int:
        """How many frames, the newest included, an image is made from."""

    def add(self, index: int, frame: Acquisition, wanted: bool) -> Images:
        """Take the next frame; returns the images that are due, by index, oldest first."""

    def finish(self) -> Images:
        """The images that are still due when the scan has ended."""

    def close(self) -> None:
        """Give back threads."""


class FrameMaker:
    """Turns raw frames into virtual coils, scaled, and into coil images.

    Args:
        calibration: of the scan.
        matrix: image size (y, x).
    """

    def __init__(self, calibration: Calibration, matrix: tuple[int, int]) -> None:
        """Make the gridding plans, if the scan needs them."""
        self.calibration = calibration
        self._matrix = matrix
        self._gridder = (
            None if calibration.weights is None else Gridder(calibration.compression.shape[1], matrix)
        )
        self._compression = np.ascontiguousarray(calibration.compression / np.float32(calibration.scale))

    def lines(self, frame: Acquisition) -> ComplexArray:
        """Cartesian lines in hybrid space, (virtual coil, line, x), scaled."""
        assert frame.mask is not None
        acquired = frame.kspace[:, 0, frame.mask[0]]
        return centred_ifft(self._compressed(acquired), (2,)).astype(np.complex64)

    def samples(self, frame: Acquisition) -> ComplexArray:
        """Samples of the readouts that were acquired, (virtual coil, readout, sample), scaled."""
        assert frame.readout_mask is not None
        acquired = frame.readout_mask[0]
        return self._compressed(frame.kspace[:, 0] if acquired.all() else frame.kspace[:, 0, acquired])

    def _compressed(self, kspace: ComplexArray) -> ComplexArray:
        """Virtual coils (virtual coil, …) of (coil, …), scaled.

        In pieces: for one product of the whole frame BLAS wakes threads, whose waiting for more takes the
        processor away from everybody else for longer than the product lasts.
        """
        flat = kspace.reshape(len(kspace), -1)
        mixing = self._compression.T
        compressed = np.empty((len(mixing), flat.shape[1]), np.complex64)
        piece = max(1, _BLAS_ALONE // mixing.size)
        for start in range(0, flat.shape[1], piece):
            chosen = slice(start, start + piece)
            np.matmul(mixing, flat[:, chosen], out=compressed[:, chosen])
        return compressed.reshape(len(mixing), *kspace.shape[1:])

    def gridded(self, frame: Acquisition) -> ComplexArray:
        """Gridded coil images (virtual coil, y, x)."""
        assert self._gridder is not None
        trajectory, weights = self.calibration.geometry(frame)
        return self._gridder.adjoint(self.samples(frame) * weights, trajectory)

    def close(self) -> None:
        """End the gridding threads."""
        if self._gridder is not None:
            self._gridder.close()


class _Recent:
    """The last frames by index, and something made of each when it is first asked for."""

    def __init__(self, count: int, make: Callable[[Acquisition], npt.NDArray[Any]]) -> None:
        self._count = count
        self._make = make
        self.frames: OrderedDict[int, Acquisition] = OrderedDict()
        self._made: dict[int, npt.NDArray[Any]] = {}

    def add(self, index: int, frame: Acquisition) -> None:
        self.frames[index] = frame
        while len(self.frames) > self._count:
            oldest, _ = self.frames.popitem(last=False)
            self._made.pop(oldest, None)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        if index not in self._made:
            self._made[index] = self._make(self.frames[index])
        return self._made[index]


class SlidingWindow:
    """Gridding of radial and spiral scans; see the module.

    Args:
        maker: of the scan's frames.
        window: frames of the window.
    """

    def __init__(self, maker: FrameMaker, window: int) -> None:
        """Start with an empty window."""
        self.memory = window
        self._maker = maker
        self._recent = _Recent(window, maker.gridded)
        self._sum: ComplexArray | None = None
        self._summed: list[int] = []

    def add(self, index: int, frame: Acquisition, wanted: bool) -> Images:
        """See `Engine.add`."""
        leaving = {old: self._recent[old] for old in self._summed[:1]} if self._summed else {}
        self._recent.add(index, frame)
        if not wanted:
            self._summed = []
            return []
        present = list(self._recent.frames)
        if self._sum is not None and self._summed and self._summed[-(len(present) - 1) :] == present[:-1]:
            # Rounding grows with the square root of the frames: after an hour it is still below 1e-4.
            self._sum = self._sum + self._recent[index]
            for old in self._summed[: len(self._summed) - len(present) + 1]:
                self._sum = self._sum - leaving[old]
        else:
            self._sum = np.sum([self._recent[each] for each in present], axis=0)
        self._summed = present
        return [(index, root_sum_of_squares(self._sum) / np.float32(len(present)))]

    def finish(self) -> Images:
        """Nothing is ever left."""
        return []

    def close(self) -> None:
        """See `Engine.close`."""
        self._maker.close()


class SharedViews:
    """Zero-filled Cartesian images from the newest lines; see the module.

    Args:
        maker: of the scan's frames.
        matrix: image size (y, x).
        window: frames of the window.
    """

    def __init__(self, maker: FrameMaker, matrix: tuple[int, int], window: int) -> None:
        """Start without lines."""
        self.memory = window
        self._maker = maker
        coils = maker.calibration.compression.shape[1]
        self._lines = np.zeros((coils, *matrix), np.complex64)
        self._acquired_in = np.full(matrix[0], -1, np.int64)

    def add(self, index: int, frame: Acquisition, wanted: bool) -> Images:
        """See `Engine.add`."""
        assert frame.mask is not None
        rows = np.flatnonzero(frame.mask[0])
        self._lines[:, rows] = self._maker.lines(frame)
        self._acquired_in[rows] = index
        outdated = (self._acquired_in >= 0) & (self._acquired_in <= index - self.memory)
        self._lines[:, outdated] = 0
        self._acquired_in[outdated] = -1
        if not wanted:
            return []
        return [(index, root_sum_of_squares(centred_ifft(self._lines, (1,)).astype(np.complex64)))]

    def finish(self) -> Images:
        """Nothing is ever left."""
        return []

    def close(self) -> None:
        """See `Engine.close`."""
        self._maker.close()


class Causal:
    """FastDVDNet; see the module.

    Args:
        maker: of the scan's frames.
        first: block 1 as a function of (1, y, x, 3).
        second: block 2, likewise.
        matrix: image size (y, x).
    """

    memory = CAUSAL_FRAMES

    def __init__(
        self,
        maker: FrameMaker,
        first: BlockFunction,
        second: BlockFunction,
        matrix: tuple[int, int],
    ) -> None:
        """Start without frames."""
        self._maker = maker
        self._first, self._second = first, second
        self._matrix = matrix
        self._recent = _Recent(CAUSAL_FRAMES, self._padded_magnitude)
        self._triples: dict[int, Image] = {}

    def add(self, index: int, frame: Acquisition, wanted: bool) -> Images:
        """See `Engine.add`."""
        self._recent.add(index, frame)
        present = list(self._recent.frames)
        self._triples = {last: triple for last, triple in self._triples.items() if last in present}
        if not wanted or len(present) < CAUSAL_FRAMES:
            return []
        answers = [self._triple(present[last - 2 : last + 1]) for last in range(2, CAUSAL_FRAMES)]
        output = self._second(np.concatenate(answers, axis=-1))[0, : self._matrix[0], : self._matrix[1], 0]
        return [(index, np.maximum(output, 0))]

    def finish(self) -> Images:
        """Nothing is ever left."""
        return []

    def close(self) -> None:
        """See `Engine.close`."""
        self._maker.close()

    def _padded_magnitude(self, frame: Acquisition) -> Image:
        return padded(root_sum_of_squares(self._maker.gridded(frame)), (0, 1))

    def _triple(self, indices: list[int]) -> Image:
        last = indices[-1]
        if last not in self._triples:
            self._triples[last] = self._first(
                np.stack([self._recent[each] for each in indices], axis=-1)[None]
            )
        return self._triples[last]


class Blocks:
    """VarNet and 3D UNet by short blocks; see the module.

    Args:
        maker: of the scan's frames.
        network: magnitude (frame, y, x) of a prepared block of `BLOCK_FRAMES` frames.
        is_cartesian: whether the scan is.
    """

    memory = BLOCK_FRAMES

    def __init__(
        self, maker: FrameMaker, network: Callable[[Prepared], Image], *, is_cartesian: bool
    ) -> None:
        """Start without frames."""
        self._maker = maker
        self._network = network
        self._is_cartesian = is_cartesian
        self._recent = _Recent(BLOCK_FRAMES, maker.lines if is_cartesian else maker.gridded)
        self._answered = -1
        self._since = 0

    def add(self, index: int, frame: Acquisition, wanted: bool) -> Images:
        """See `Engine.add`."""
        self._recent.add(index, frame)
        self._since += 1
        if len(self._recent.frames) < BLOCK_FRAMES or self._since < BLOCK_STEP or not wanted:
            return []
        return self._run(index - BLOCK_AHEAD)

    def finish(self) -> Images:
        """The frames that waited for others behind them; a scan shorter than a block altogether."""
        present = list(self._recent.frames)
        return self._run(present[-1]) if present and self._answered < present[-1] else []

    def close(self) -> None:
        """See `Engine.close`."""
        self._maker.close()

    def _run(self, last: int) -> Images:
        self._since = 0
        present = list(self._recent.frames)
        output = self._network(self._prepared(present))[: len(present)]
        images = [
            (index, image)
            for index, image in zip(present, output, strict=True)
            if self._answered < index <= last
        ]
        self._answered = last
        return images

    def _prepared(self, present: list[int]) -> Prepared:
        """The frames as a scan of `BLOCK_FRAMES`, a shorter one continued by reflection in time."""
        order = [present[position] for position in reflected(len(present), BLOCK_FRAMES)]
        scan = joined([self._recent.frames[index] for index in order])
        calibration = self._maker.calibration
        shared = (scan, calibration.sensitivities, calibration.scale, calibration.compression)
        if self._is_cartesian:
            assert scan.mask is not None
            kspace = np.zeros((calibration.compression.shape[1], BLOCK_FRAMES, *scan.matrix), np.complex64)
            for position, index in enumerate(order):
                kspace[:, position, scan.mask[position]] = self._recent[index]
            return Prepared(shared[0], kspace, *shared[1:], scales=calibration.scales)
        assert scan.trajectory is not None
        images = np.stack([self._recent[index] for index in order], axis=1)
        # The network wants coil images only, and those are there: raw samples would be gridded again.
        return Prepared(
            shared[0],
            scan.kspace,
            *shared[1:],
            weights=np.ones(scan.kspace.shape[1:], np.float32),
            fourier=NonuniformFourier(scan.trajectory, scan.matrix),
            _block=((0, BLOCK_FRAMES), images),
            scales=calibration.scales,
        )
