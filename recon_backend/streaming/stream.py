"""Images while the scan is being measured: `stream` yields each as soon as its last readout is in.

The first frames are the calibration window (`recon_backend.streaming.calibration`): they are held back until
it is full. From then on every frame is reconstructed as it comes. Where the newest image matters more than
every image (a live view), frames that wait while another is being computed are passed over, and only the
newest of them gets an image: the images that are shown are the same as if none had been passed over.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from recon_backend import device, inference, methods, models
from recon_backend.acquisition import Acquisition
from recon_backend.errors import ReconstructionError
from recon_backend.preparation import NORMALISATION_RULE, Prepared
from recon_backend.streaming import engines
from recon_backend.streaming.calibration import Calibration, calibrate
from recon_backend.streaming.engines import Engine, FrameMaker
from recon_backend.streaming.sources import ArrivedFrame, FrameSource, ReplayedScan

if TYPE_CHECKING:
    import keras

Input = TypeVar("Input")
Output = TypeVar("Output")

CALIBRATION_FRAMES = {"cartesian": 16, "radial": 8, "spiral": 8}
"""Frames of the calibration window by sampling: k-space must be covered for an image without aliasing."""

LATE_FRAMES = 2


@dataclass(frozen=True)
class StreamSettings:
    """How to stream.

    Attributes:
        method: "gridded", "dl_natural" or "dl_cardiac".
        window: frames of gridding's sliding window; None = `engines.DEFAULT_WINDOW` of the sampling.
        calibration_frames: frames of the calibration window; None = `CALIBRATION_FRAMES` of the sampling. A
            shorter scan is calibrated by what there is.
        newest_wins: pass over frames when more than `late_frames` wait.
        late_frames: how many frames may wait.
        device: "auto", "cpu" or "gpu"; of the networks.
    """

    method: str = methods.GRIDDED
    window: int | None = None
    calibration_frames: int | None = None
    newest_wins: bool = False
    late_frames: int = LATE_FRAMES
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ReconstructionError: a field is out of range; the message names it.
        """
        methods.check_method(self.method)
        if self.method == methods.COMPRESSED_SENSING:
            raise ReconstructionError(
                "Compressed sensing looks at the whole series and cannot follow a running scan; "
                "stream with gridded, dl_natural or dl_cardiac."
            )
        for name, value, least in (
            ("window", self.window, 1),
            ("calibration_frames", self.calibration_frames, 1),
            ("late_frames", self.late_frames, 0),
        ):
            if value is not None and value < least:
                raise ReconstructionError(f"{name} is {value}, but at least {least} was expected.")

    def calibration_of(self, sampling: str) -> int:
        """Frames of the calibration window for a sampling."""
        return self.calibration_frames or CALIBRATION_FRAMES[sampling]


@dataclass(frozen=True, eq=False)
class StreamedFrame:
    """One image of a stream.

    Attributes:
        index: number of the frame, from 0.
        time_s: centre of the frame on the scan's own clock.
        image: float32 (y, x), magnitude; the scale is that of `Movie`.
        latency_s: from the frame's last readout to this image.
        held: True if the frame came before the stream was calibrated and had to wait for that.
        dropped: frames passed over so far.
        raw: the frame that it was made from.
    """

    index: int
    time_s: float
    image: npt.NDArray[np.float32]
    latency_s: float
    held: bool
    dropped: int
    raw: ArrivedFrame


def stream(
    source: Acquisition | FrameSource, settings: StreamSettings | None = None
) -> Generator[StreamedFrame, None, None]:
    """Reconstruct frame by frame.

    FastDVDNet's first image is that of the fifth frame. VarNet and 3D UNet answer in blocks
    (`describe_latency`). Closing the iterator closes the source.

    Args:
        source: where frames come from; an acquisition is replayed without waiting.
        settings: the method and the rest; gridding of every frame if None.

    Yields:
        Images in the order of their frames.

    Raises:
        ReconstructionError: the method has no model for this sampling, or the scan holds no signal.
    """
    settings = settings or StreamSettings()
    opened: FrameSource = ReplayedScan(source) if isinstance(source, Acquisition) else source
    try:
        yield from _Stream(opened, settings).images()
    finally:
        opened.close()


def describe_latency(settings: StreamSettings, sampling: str) -> str:
    """What the method's images wait for, in a sentence.

    Raises:
        ReconstructionError: there is no model for the sampling.
    """
    frames = settings.calibration_of(sampling)
    held = f"The first {frames} frames are held back to calibrate coils and scale."
    if settings.method == methods.GRIDDED:
        window = settings.window or engines.DEFAULT_WINDOW[sampling]
        what = "lines" if sampling == "cartesian" else "readouts"
        return f"{held} Each image is made of the newest {what} of the last {window} frames."
    network = models.find(sampling, methods.TRAINING_KIND[settings.method]).manifest.network
    if network == "fastdvdnet":
        return f"{held} Each image is made of the last {engines.CAUSAL_FRAMES} frames."
    first = engines.BLOCK_AHEAD
    last = first + engines.BLOCK_STEP - 1
    return (
        f"{held} The network sees blocks of {engines.BLOCK_FRAMES} frames, one every {engines.BLOCK_STEP} "
        f"frames: an image waits for {first} to {last} later frames and for the computation."
    )


class LatencyStatistics:
    """Percentiles of the latency, and what was passed over.

    Attributes:
        shown: images that came.
        held: those of them whose frames had to wait for the calibration; they count in no percentile.
        dropped: frames passed over.
    """

    def __init__(self) -> None:
        """Start without images."""
        self.shown = 0
        self.held = 0
        self.dropped = 0
        self._latencies_s: list[float] = []
        self._times_s: list[tuple[int, float]] = []

    def add(self, frame: StreamedFrame) -> None:
        """Count an image."""
        self.shown += 1
        self.dropped = frame.dropped
        self._times_s = [*self._times_s[:1], (frame.index, frame.time_s)]
        if frame.held:
            self.held += 1
        else:
            self._latencies_s.append(frame.latency_s)

    def percentile_s(self, percent: float) -> float | None:
        """Percentile of the latency in seconds (nearest rank); None while there is no image that counts."""
        if not self._latencies_s:
            return None
        return float(np.percentile(self._latencies_s, percent, method="inverted_cdf"))

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        (first, began_s), (last, ended_s) = (
            (self._times_s or [(0, 0.0)])[0],
            (self._times_s or [(0, 0.0)])[-1],
        )
        return {
            "shown": self.shown,
            "first": first,
            "held": self.held,
            "dropped": self.dropped,
            "frame_time_s": (ended_s - began_s) / (last - first) if last > first else None,
            "latency_s": {
                name: self.percentile_s(percent)
                for name, percent in (("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("max", 100.0))
            },
        }


class _Inbox:
    """Frames that a thread takes from a source while images are being computed."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._waiting: deque[ArrivedFrame] = deque()
        self._news = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._take, name="frames", daemon=True)
        self._thread.start()

    def all_waiting(self) -> list[ArrivedFrame]:
        """What waits, at least one frame; empty when the source has ended."""
        with self._news:
            while not self._waiting and not self._ended:
                self._news.wait()
        frames = self.waiting_now()
        if not frames and self._error is not None:
            raise self._error
        return frames

    def waiting_now(self) -> list[ArrivedFrame]:
        """What waits, perhaps nothing."""
        with self._news:
            frames = list(self._waiting)
            self._waiting.clear()
        return frames

    def close(self) -> None:
        self._source.close()
        self._thread.join()

    def _take(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._source.frames():
                with self._news:
                    self._waiting.append(frame)
                    self._news.notify()
        except Exception as raised:  # noqa: BLE001 - it is raised again where the frames are asked for
            error = raised
        with self._news:
            self._error = error
            self._ended = True
            self._news.notify()


class _Stream:
    """The state behind `stream`."""

    def __init__(self, source: FrameSource, settings: StreamSettings) -> None:
        self._source = source
        self._settings = settings
        self._network: _Network | None = None
        if settings.method in methods.TRAINING_KIND:
            shelf = models.find(source.sampling, methods.TRAINING_KIND[settings.method])
            self._network = _Network(shelf, settings.device)
            if source.matrix is not None:
                self._network.warm_up(source.matrix)
        self._calibration_frames = settings.calibration_of(source.sampling)
        self._engine: Engine | None = None
        self._arrived: dict[int, ArrivedFrame] = {}
        self._live_from_s = 0.0
        self._last_shown: int | None = None
        self._dropped = 0

    def images(self) -> Iterator[StreamedFrame]:
        try:
            if self._settings.newest_wins:
                yield from self._newest()
            else:
                yield from self._every()
        finally:
            if self._engine is not None:
                self._engine.close()

    def _every(self) -> Iterator[StreamedFrame]:
        """Each frame in its turn, however late."""
        held: list[ArrivedFrame] = []
        for frame in self._source.frames():
            if self._engine is None:
                held.append(frame)
                if len(held) < self._calibration_frames:
                    continue
                self._go_live(held)
                for each in held:
                    yield from self._add(each, wanted=True)
                held = []
            else:
                yield from self._add(frame, wanted=True)
        if self._engine is None and held:
            self._go_live(held)
            for each in held:
                yield from self._add(each, wanted=True)
        yield from self._finish()

    def _newest(self) -> Iterator[StreamedFrame]:
        """Frames as they come; of many that wait, only the newest gets an image."""
        inbox = _Inbox(self._source)
        try:
            held: list[ArrivedFrame] = []
            while frames := inbox.all_waiting():
                if self._engine is None:
                    held.extend(frames)
                    if len(held) < self._calibration_frames:
                        continue
                    self._go_live(held[: self._calibration_frames])
                    # What came while that was computed belongs to the start too, and is not called dropped.
                    frames, held = held + inbox.waiting_now(), []
                    late = True
                else:
                    late = len(frames) > self._settings.late_frames
                for frame in frames:
                    yield from self._add(frame, wanted=not late or frame is frames[-1])
            if self._engine is None and held:
                self._go_live(held)
                for frame in held:
                    yield from self._add(frame, wanted=True)
            yield from self._finish()
        finally:
            inbox.close()

    def _go_live(self, window: list[ArrivedFrame]) -> None:
        frames = [frame.acquisition for frame in window]
        calibration = calibrate(frames)
        self._engine = _engine_of(self._settings, calibration, frames, self._network)
        self._live_from_s = time.perf_counter()

    def _add(self, frame: ArrivedFrame, *, wanted: bool) -> Iterator[StreamedFrame]:
        assert self._engine is not None
        self._arrived[frame.index] = frame
        for old in [index for index in self._arrived if index <= frame.index - 2 * self._engine.memory]:
            del self._arrived[old]
        for index, image in self._engine.add(frame.index, frame.acquisition, wanted):
            yield self._shown(index, image)

    def _finish(self) -> Iterator[StreamedFrame]:
        if self._engine is not None:
            for index, image in self._engine.finish():
                yield self._shown(index, image)

    def _shown(self, index: int, image: npt.NDArray[np.float32]) -> StreamedFrame:
        now_s = time.perf_counter()
        frame = self._arrived[index]
        if self._last_shown is not None:
            self._dropped += index - self._last_shown - 1
        self._last_shown = index
        return StreamedFrame(
            index,
            frame.time_s,
            np.ascontiguousarray(image, np.float32),
            now_s - frame.arrived_s,
            frame.arrived_s < self._live_from_s,
            self._dropped,
            frame,
        )


class _Network:
    """A model of the shelf, loaded and warm."""

    def __init__(self, shelf: models.ShelfModel, request: str) -> None:
        self._request = request
        with device.use(request):
            self.model: keras.Model = shelf.load(device.precision())
        self.kind = shelf.manifest.network
        self.rule = shelf.manifest.normalisation
        self._warm_for: tuple[int, int] | None = None

    def warm_up(self, matrix: tuple[int, int]) -> None:
        """Compile for a matrix, so that the first frame does not wait for that."""
        if self.kind != "fastdvdnet" or matrix == self._warm_for:
            return  # what a block looks like is known with its first frames only
        frames = inference.padded(np.zeros((1, *matrix, 3), np.float32), (1, 2))
        for name in ("block1", "block2"):
            self.block(name)(frames)
        self._warm_for = matrix

    def block(self, name: str) -> engines.BlockFunction:
        """One of FastDVDNet's blocks as a function on (1, y, x, 3)."""
        layer = self.model.get_layer(name)
        return self.on_device(lambda frames: np.asarray(layer.predict_on_batch(frames), np.float32))

    def on_device(self, function: Callable[[Input], Output]) -> Callable[[Input], Output]:
        """The function, run on the network's device."""

        def run(values: Input) -> Output:
            # Not around the whole stream: whoever asks for the next image may use another device meanwhile.
            with device.use(self._request):
                return function(values)

        return run


def _scaled_blocks(
    network: _Network, calibration: Calibration
) -> tuple[engines.BlockFunction, engines.BlockFunction]:
    """FastDVDNet's blocks: fed by the model's normalisation rule, and answering in the stream's scale."""
    first, second = network.block("block1"), network.block("block2")
    if network.rule == NORMALISATION_RULE:
        return first, second
    factor = np.float32(calibration.scale / calibration.scales[network.rule])
    return lambda frames: first(frames * factor), lambda frames: second(frames) / factor


def _engine_of(
    settings: StreamSettings, calibration: Calibration, window: list[Acquisition], network: _Network | None
) -> Engine:
    frame = window[0]
    maker = FrameMaker(calibration, frame.matrix)
    if network is None:
        count = settings.window or engines.DEFAULT_WINDOW[frame.sampling]
        if frame.mask is not None:
            return engines.SharedViews(maker, frame.matrix, count)
        return engines.SlidingWindow(maker, count)
    if network.kind == "fastdvdnet":
        network.warm_up(frame.matrix)
        first, second = _scaled_blocks(network, calibration)
        return engines.Causal(maker, first, second, frame.matrix)
    block = inference.varnet_block if network.kind == "varnet" else inference.unet3d_block
    size = engines.BLOCK_FRAMES

    def whole_block(prepared: Prepared) -> engines.Image:
        return block(network.model, prepared.under_rule(network.rule), 0, size, size)

    run = network.on_device(whole_block)
    is_cartesian = frame.mask is not None
    if settings.newest_wins:
        # Compiling takes seconds: better once on the frames that are held back than while live ones wait.
        rehearsal = engines.Blocks(maker, run, is_cartesian=is_cartesian)
        for index, each in enumerate(window[: engines.BLOCK_FRAMES]):
            rehearsal.add(index, each, False)
        rehearsal.finish()
    return engines.Blocks(maker, run, is_cartesian=is_cartesian)
