"""Readouts of a running scan sorted into frames, by the same rules as those of a file.

What a file's reader knows from the whole scan must be decided here from what has come so far. Frames are
counted by repetition or phase if the header announces more than one of them, or by these and the set if one
is seen to change; otherwise a frame ends where a flag says so or where a line comes again. A frame is
complete with the readout that a flag calls the last one, with as many readouts as the frames before it had,
or at the latest when the next frame begins. Noise readouts count until the first imaging readout.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from recon_backend.acquisition import Sampling
from recon_backend.errors import InvalidAcquisition
from recon_backend.formats.assembly import Readouts, SampleSource, TrajectorySource, assemble
from recon_backend.formats.header import ScanHeader, identity_of, scan_header
from recon_backend.formats.noise import NoiseCovariance
from recon_backend.formats.timing import TICK_S
from recon_backend.mrd.protocol import Readout
from recon_backend.streaming import ArrivedFrame

MOST_READOUTS_A_FRAME = 16384
MOST_FRAME_BYTES = 1 << 30
MOST_NOISE_BYTES = 256 << 20
MOST_WAITING_BYTES = 1 << 30

_LAST_IN_PHASE = 12
_LAST_IN_REPETITION = 14
_STARTS = (7, 11, 13)
_ENDS = (8, 12, 14)
_NOISE = 19
_CALIBRATION = 20
_CALIBRATION_AND_IMAGING = 21
_REVERSE = 22
_NOT_IMAGING = (23, 24, 26, 27, 28, 29, 30, 31)
_ALIKE = 2  # so many frames must have had the same number of readouts before that number is relied on


def _has(head: Any, *flags: int) -> bool:  # noqa: ANN401 - an element of a structured array
    return bool(int(head["flags"]) & sum(1 << (flag - 1) for flag in flags))


def _key(head: Any) -> tuple[int, ...]:  # noqa: ANN401
    return tuple(int(head["idx"][counter]) for counter in ("repetition", "phase", "set"))


class FrameBuilder:
    """Takes readouts, gives frames.

    Args:
        root: the scan's header, from `parse_xml`.
        name: what to call the scan.

    Attributes:
        header: what the header says of its first encoding.
        late: readouts that came for a frame which had been complete.

    Raises:
        InvalidAcquisition: the header lacks what reconstruction needs.
    """

    def __init__(self, root: ElementTree.Element, name: str) -> None:
        """Begin before the first readout."""
        self.header: ScanHeader = scan_header(root, 0, identity_of(root))
        self.late = 0
        self._root = root
        self._name = name
        self._noise: list[Readout] = []
        self._noise_bytes = 0
        self._whitening: npt.NDArray[np.complex64] | None = None
        self._first: Readout | None = None
        self._announced = self._counted = self._is_announced()
        self._readouts: list[Readout] = []
        self._bytes = 0
        self._arrived_s = 0.0
        self._seen: set[tuple[int, int]] = set()
        self._closed_key: tuple[int, ...] | None = None
        self._count_before = 0
        self._alike = 0
        self._frames = 0
        self._readouts_a_frame = 0
        self._first_tick = 0
        self._number = 0

    def add(self, readout: Readout, arrived_s: float) -> list[ArrivedFrame]:
        """Take a readout; returns the frames that it completes, at most two.

        Args:
            readout: the next one of the scan.
            arrived_s: `time.perf_counter` when it came.

        Raises:
            InvalidAcquisition: it does not fit the scan; the message names it.
        """
        self._number += 1
        head = readout.head
        if _has(head, _NOISE):
            self._add_noise(readout)
            return []
        if _has(head, *_NOT_IMAGING) or (
            _has(head, _CALIBRATION) and not _has(head, _CALIBRATION_AND_IMAGING)
        ):
            return []
        if self._first is None:
            self._begin(readout)
        elif not self._belongs(readout):
            return []
        self._check(readout)
        key = _key(head)
        complete = []
        if self._readouts and self._begins_next(head, key):
            self._learn_count()
            complete.append(self._complete())
        if self._counted and key == self._closed_key:
            self.late += 1
            self._count_before = self._alike = 0
            return complete
        self._seen.add((int(head["idx"]["kspace_encode_step_1"]), int(head["idx"]["average"])))
        self._readouts.append(readout)
        self._bytes += readout.samples.nbytes + readout.trajectory.nbytes
        self._arrived_s = arrived_s
        if len(self._readouts) > MOST_READOUTS_A_FRAME or self._bytes > MOST_FRAME_BYTES:
            raise InvalidAcquisition(
                f"frame {self._frames} has {len(self._readouts)} readouts and does not end; "
                "expected a repetition or phase counter, flags, or lines that repeat."
            )
        if self._ends_here(head):
            self._closed_key = key if self._counted else None
            complete.append(self._complete())
        return complete

    def finish(self) -> list[ArrivedFrame]:
        """The frame that was still open when the scan ended."""
        return [self._complete()] if self._readouts else []

    def _is_announced(self) -> bool:
        return bool(self.header.last_repetition or self.header.last_phase)

    def _add_noise(self, readout: Readout) -> None:
        self._noise_bytes += readout.samples.nbytes
        if self._first is None and self._noise_bytes <= MOST_NOISE_BYTES:
            self._noise.append(readout)

    def _begin(self, readout: Readout) -> None:
        """Take the first imaging readout as the pattern of the others."""
        encoding = int(readout.head["encoding_space_ref"])
        if encoding:
            sampling = self.header.sampling
            self.header = scan_header(self._root, encoding, identity_of(self._root))
            self._announced = self._counted = self._is_announced()
            if self.header.sampling != sampling:
                raise InvalidAcquisition(
                    f"the imaging readouts refer to encoding {encoding} ({self.header.sampling}), but the "
                    f"first encoding is {sampling}; such a scan can be reconstructed from its file only."
                )
        self._first = readout
        self._first_tick = int(readout.head["acquisition_time_stamp"])
        self._whitening = self._noise_whitening(readout)
        self._noise.clear()

    def _noise_whitening(self, readout: Readout) -> npt.NDArray[np.complex64] | None:
        coils = len(readout.samples)
        if not self._noise or any(len(noise.samples) != coils for noise in self._noise):
            return None
        longest = max(noise.samples.shape[1] for noise in self._noise)
        chosen = [noise for noise in self._noise if noise.samples.shape[1] == longest]
        covariance = NoiseCovariance(coils)
        for noise in chosen:
            if not np.isfinite(noise.samples).all():
                raise InvalidAcquisition("a noise readout holds NaN or infinite samples.")
            covariance.add(noise.samples)
        noise_dwell, dwell = (float(each.head["sample_time_us"]) for each in (chosen[0], readout))
        return covariance.whitening_matrix(noise_dwell / dwell if noise_dwell > 0 and dwell > 0 else 1.0)

    def _belongs(self, readout: Readout) -> bool:
        """Whether it is of the encoding, slice, contrast and set of the first imaging readout."""
        assert self._first is not None
        first, head = self._first.head, readout.head
        counters = ("slice", "contrast", "set") if self._announced else ("slice", "contrast")
        return bool(head["encoding_space_ref"] == first["encoding_space_ref"]) and all(
            head["idx"][counter] == first["idx"][counter] for counter in counters
        )

    def _check(self, readout: Readout) -> None:
        assert self._first is not None
        first = self._first
        if readout.samples.shape != first.samples.shape or 0 in readout.samples.shape:
            raise InvalidAcquisition(
                f"readout {self._number - 1} has {readout.samples.shape} channels x samples, "
                f"but {first.samples.shape} were expected."
            )
        if readout.trajectory.shape != first.trajectory.shape:
            raise InvalidAcquisition(
                f"readout {self._number - 1} has a trajectory of {readout.trajectory.shape}, "
                f"but {first.trajectory.shape} was expected."
            )
        if not np.isfinite(readout.samples).all() or not np.isfinite(readout.trajectory).all():
            raise InvalidAcquisition(f"readout {self._number - 1} holds NaN or infinite values.")
        if readout.head["idx"]["kspace_encode_step_2"] != first.head["idx"]["kspace_encode_step_2"]:
            raise InvalidAcquisition(
                "this is a 3-dimensional scan (kspace_encode_step_2 varies); only slices can be read."
            )

    def _begins_next(self, head: Any, key: tuple[int, ...]) -> bool:  # noqa: ANN401
        if key != _key(self._readouts[-1].head):
            self._counted = True
            return True
        if self._counted:
            return False
        line = (int(head["idx"]["kspace_encode_step_1"]), int(head["idx"]["average"]))
        return line in self._seen or _has(head, *_STARTS)

    def _learn_count(self) -> None:
        """Remember how many readouts frames have that ended because the next one began."""
        count = len(self._readouts)
        self._alike = self._alike + 1 if count == self._count_before else 1
        self._count_before = count

    def _ends_here(self, head: Any) -> bool:  # noqa: ANN401
        if not self._counted:
            return _has(head, *_ENDS)
        if self.late == 0:
            both = bool(self.header.last_phase) and bool(self.header.last_repetition)
            by_phase = bool(self.header.last_phase) or both
            if _has(head, _LAST_IN_PHASE if by_phase else _LAST_IN_REPETITION):
                return True
        return self._alike >= _ALIKE and len(self._readouts) == self._count_before and self.late == 0

    def _complete(self) -> ArrivedFrame:
        chosen, self._readouts = self._readouts, []
        self._seen.clear()
        self._bytes = 0
        samples = np.stack([readout.samples for readout in chosen])
        if self._whitening is not None:
            samples = self._whitening @ samples
        dimensions = chosen[0].trajectory.shape[1]
        points = np.stack([readout.trajectory for readout in chosen])
        heads = np.stack([readout.head for readout in chosen])
        counters = heads["idx"]

        def integers(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
            return values.astype(np.int64)

        count = len(chosen)
        readouts = Readouts(
            samples=SampleSource.from_array(np.asarray(samples, np.complex64)),
            trajectory=TrajectorySource(dimensions, lambda position, _frame, _slot: points[position])
            if dimensions in (2, 3)
            else None,
            line=integers(counters["kspace_encode_step_1"]),
            repetition=integers(counters["repetition"]),
            phase=integers(counters["phase"]),
            average=integers(counters["average"]),
            starts_frame=np.zeros(count, np.bool_),
            ends_frame=np.zeros(count, np.bool_),
            is_reversed=np.array([_has(head, _REVERSE) for head in heads]),
            centre_sample=integers(heads["center_sample"]),
            discard_pre=integers(heads["discard_pre"]),
            discard_post=integers(heads["discard_post"]),
            ticks=integers(heads["acquisition_time_stamp"]),
            number=np.arange(self._number - count, self._number),
            frame=np.zeros(count, np.int64),
        )
        acquisition = assemble(
            readouts,
            self.header,
            [],
            name=self._name,
            source_sha256="",
            whitened=self._whitening is not None,
        )
        frame = ArrivedFrame(self._frames, self._time_of(chosen[0]), self._arrived_s, acquisition, heads[-1])
        self._frames += 1
        self._readouts_a_frame = self._readouts_a_frame or count
        return frame

    def _time_of(self, readout: Readout) -> float:
        """Time of the frame since the first one: by TR if the coarse time stamps agree, else by these."""
        stamped_s = (int(readout.head["acquisition_time_stamp"]) - self._first_tick) * TICK_S
        if self._frames == 0:
            return 0.0
        tr_s = self.header.repetition_time_s
        nominal_s = self._frames * self._readouts_a_frame * tr_s if tr_s else None
        if nominal_s is not None and (stamped_s <= 0 or abs(nominal_s - stamped_s) <= TICK_S + 1e-9):
            return nominal_s
        return stamped_s if stamped_s > 0 else float(self._frames)


class ReceivedFrames:
    """A `FrameSource` that one thread fills and another one empties.

    Args:
        builder: the scan.
        name: what to call it.

    Whoever fills it waits when too much has not been taken yet, so memory stays bounded and the sender is
    slowed down by the connection itself.
    """

    def __init__(self, builder: FrameBuilder, name: str) -> None:
        """Begin empty."""
        self._builder = builder
        self._name = name
        self._waiting: deque[ArrivedFrame] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False

    @property
    def name(self) -> str:
        """See `FrameSource.name`."""
        return self._name

    @property
    def sampling(self) -> Sampling:
        """See `FrameSource.sampling`."""
        return self._builder.header.sampling

    @property
    def matrix(self) -> tuple[int, int] | None:
        """The header's, where it decides; a Cartesian scan has the matrix of its lines."""
        return None if self.sampling == "cartesian" else self._builder.header.matrix

    def put(self, frame: ArrivedFrame) -> None:
        """Hand over a frame; waits while too much is waiting. Nothing happens once the source is closed."""
        size = frame.acquisition.kspace.nbytes
        with self._changed:
            while self._waiting_bytes + size > MOST_WAITING_BYTES and self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            self._waiting.append(frame)
            self._waiting_bytes += size
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no more frames come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def frames(self) -> Iterator[ArrivedFrame]:
        """See `FrameSource.frames`."""
        while True:
            with self._changed:
                while not self._waiting and not self._ended and not self._closed:
                    self._changed.wait()
                if self._closed or not self._waiting:
                    return
                frame = self._waiting.popleft()
                self._waiting_bytes -= frame.acquisition.kspace.nbytes
                self._changed.notify_all()
            yield frame

    def close(self) -> None:
        """See `FrameSource.close`; what waits is let go of."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()
