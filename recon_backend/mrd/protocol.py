"""The ISMRMRD streaming protocol: messages over a byte stream, as scanners and open servers speak it.

A message is a little-endian uint16 identifier and a body whose length follows from the identifier and from
counts in the body itself. Nothing marks where the next message begins, so an unknown identifier or a count
beyond `Limits` ends the conversation. Bytes are read as they come: a message that claims to be long takes no
memory before it is.

    1 configuration file   1024 bytes, a name ended by a zero byte
    2 configuration text   uint32 length, text
    3 header               uint32 length, ISMRMRD XML
    4 close                nothing
    5 text                 uint32 length, text ended by a zero byte
    1008 acquisition       header of 340 bytes, trajectory (sample, dimension) float32, samples (coil, sample)
                           complex64
    1022 image             header of 198 bytes, uint64 length, attributes, pixels (channel, z, y, x)
    1026 waveform          header of 40 bytes, values (channel, sample) uint32

Sources: ismrmrd.h, waveform.h and the wire code of ismrmrd-python; all structures are packed to 1 byte but
the waveform's, which has the C compiler's padding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recon_backend.errors import ReconstructionError
from recon_backend.ismrmrd_layout import ACQUISITION_HEADER

CONFIGURATION_FILE = 1
CONFIGURATION_TEXT = 2
HEADER = 3
CLOSE = 4
TEXT = 5
ACQUISITION = 1008
IMAGE = 1022
WAVEFORM = 1026

_CONFIGURATION_NAME_BYTES = 1024
_READ_BYTES = 1 << 20

IMAGE_HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("data_type", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("matrix_size", "<u2", (3,)),
        ("field_of_view", "<f4", (3,)),
        ("channels", "<u2"),
        *((name, "<f4", (3,)) for name in ("position", "read_dir", "phase_dir", "slice_dir")),
        ("patient_table_position", "<f4", (3,)),
        *((name, "<u2") for name in ("average", "slice", "contrast", "phase", "repetition", "set")),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        *((name, "<u2") for name in ("image_type", "image_index", "image_series_index")),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
        ("attribute_string_len", "<u4"),
    ]
)
_WAVEFORM_HEADER_BYTES = 40
_IMAGE_TYPE_MAGNITUDE = 1
# Pixel types of image messages by the standard's number.
_PIXELS = {1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16"}
_NUMBER_OF_PIXELS = {np.dtype(code): number for number, code in _PIXELS.items()}


class ProtocolError(ReconstructionError):
    """The other side does not follow the protocol; what comes after cannot be understood."""


class ConnectionLost(ReconstructionError):
    """The other side went away in the middle of a message or without closing."""


@dataclass(frozen=True)
class Limits:
    """What a message may claim, in bytes unless it says otherwise.

    Attributes:
        text: of a configuration, header, text or attribute string.
        acquisition: of the samples or the trajectory of one readout.
        channels: coils of a readout.
        image: of an image's pixels.
        waveform: of a waveform.
    """

    text: int = 16 << 20
    acquisition: int = 64 << 20
    channels: int = 1024
    image: int = 256 << 20
    waveform: int = 16 << 20


@dataclass(frozen=True, eq=False)
class Text:
    """A message of kind `CONFIGURATION_FILE`, `CONFIGURATION_TEXT`, `HEADER` or `TEXT`."""

    kind: int
    content: bytes

    @property
    def text(self) -> str:
        """The content up to the first zero byte, undecodable bytes replaced."""
        return self.content.partition(b"\0")[0].decode("utf-8", errors="replace")


@dataclass(frozen=True, eq=False)
class Readout:
    """An acquisition message.

    Attributes:
        head: one element of `ACQUISITION_HEADER`.
        trajectory: float32 (sample, dimension), dimension 0 if there is none.
        samples: complex64 (coil, sample).
    """

    head: Any
    trajectory: npt.NDArray[np.float32]
    samples: npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Skipped:
    """A message that is understood but of no use here: `IMAGE` or `WAVEFORM`."""

    kind: int


@dataclass(frozen=True)
class Close:
    """The other side has nothing more to say."""


Message = Text | Readout | Skipped | Close


class ByteSource(Protocol):
    """What is read from: a socket, or a test."""

    def recv(self, size: int, /) -> bytes:
        """At most so many bytes, at least one; none when the other side has closed."""


class MessageReader:
    """Reads messages one after another.

    Args:
        source: a connected socket.
        limits: what a message may claim.
    """

    def __init__(self, source: ByteSource, limits: Limits | None = None) -> None:
        """Begin with the next byte."""
        self._source = source
        self._limits = limits or Limits()
        self._bodies: dict[int, Callable[[int], Message]] = {
            CONFIGURATION_FILE: lambda kind: Text(kind, self._exactly(_CONFIGURATION_NAME_BYTES)),
            CONFIGURATION_TEXT: self._text,
            HEADER: self._text,
            TEXT: self._text,
            CLOSE: lambda _kind: Close(),
            ACQUISITION: lambda _kind: self._acquisition(),
            IMAGE: self._image,
            WAVEFORM: self._waveform,
        }

    def read(self) -> Message | None:
        """The next message; None if the other side has gone between two messages.

        Raises:
            ProtocolError: the identifier is unknown or a count beyond the limits.
            ConnectionLost: the other side has gone within the message.
            OSError: the connection failed or timed out.
        """
        start = self._source.recv(2)
        if not start:
            return None
        if len(start) == 1:
            start += self._exactly(1)
        (kind,) = struct.unpack("<H", start)
        body = self._bodies.get(kind)
        if body is None:
            raise ProtocolError(
                f"Message {kind} is unknown; expected one of {', '.join(map(str, self._bodies))}."
            )
        return body(kind)

    def _text(self, kind: int) -> Text:
        (length,) = struct.unpack("<I", self._exactly(4))
        self._check("a text", length, self._limits.text)
        return Text(kind, self._exactly(length))

    def _acquisition(self) -> Readout:
        head = np.frombuffer(self._exactly(ACQUISITION_HEADER.itemsize), ACQUISITION_HEADER)[0]
        samples, coils = int(head["number_of_samples"]), int(head["active_channels"])
        dimensions = int(head["trajectory_dimensions"])
        if coils > self._limits.channels:
            raise ProtocolError(
                f"A readout claims {coils} channels; at most {self._limits.channels} are accepted."
            )
        self._check("a trajectory", samples * dimensions * 4, self._limits.acquisition)
        self._check("a readout", samples * coils * 8, self._limits.acquisition)
        trajectory = np.frombuffer(self._exactly(samples * dimensions * 4), "<f4")
        values = np.frombuffer(self._exactly(samples * coils * 8), "<c8")
        return Readout(head, trajectory.reshape(samples, dimensions), values.reshape(coils, samples))

    def _image(self, kind: int) -> Skipped:
        head = np.frombuffer(self._exactly(IMAGE_HEADER.itemsize), IMAGE_HEADER)[0]
        (attributes,) = struct.unpack("<Q", self._exactly(8))
        self._check("an image's attributes", attributes, self._limits.text)
        code = _PIXELS.get(int(head["data_type"]))
        if code is None:
            raise ProtocolError(f"An image has the data type {head['data_type']}; expected 1 to 8.")
        pixels = int(np.prod(head["matrix_size"].astype(object))) * int(head["channels"])
        size = pixels * np.dtype(code).itemsize
        self._check("an image", size, self._limits.image)
        self._skip(attributes + size)
        return Skipped(kind)

    def _waveform(self, kind: int) -> Skipped:
        head = self._exactly(_WAVEFORM_HEADER_BYTES)
        samples, channels = struct.unpack_from("<HH", head, 28)
        self._check("a waveform", samples * channels * 4, self._limits.waveform)
        self._skip(samples * channels * 4)
        return Skipped(kind)

    @staticmethod
    def _check(what: str, size: int, limit: int) -> None:
        if size > limit:
            raise ProtocolError(f"{what.capitalize()} claims {size} bytes; at most {limit} are accepted.")

    def _exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            received += self._some(size - len(received))
        return bytes(received)

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._some(size))

    def _some(self, size: int) -> bytes:
        block = self._source.recv(min(size, _READ_BYTES))
        if not block:
            raise ConnectionLost("The connection was broken off in the middle of a message.")
        return block


def text_message(text: str) -> bytes:
    """A text message, its text ended by a zero byte as the other servers do."""
    content = text.encode() + b"\0"
    return struct.pack("<HI", TEXT, len(content)) + content


def close_message() -> bytes:
    """The message that ends a conversation."""
    return struct.pack("<H", CLOSE)


def image_message(
    pixels: npt.NDArray[Any],
    *,
    field_of_view_mm: tuple[float, float, float],
    index: int,
    series: int = 1,
    like: Any = None,  # noqa: ANN401 - an element of a structured array
    attributes: str = "",
) -> bytes:
    """A magnitude image.

    Args:
        pixels: (y, x), uint16 or float32.
        field_of_view_mm: (x, y, z).
        index: number of the image, from 1; beyond 65535 it begins again at 1.
        series: number of the series.
        like: header of a readout of the frame; position, directions, time stamps and counters come from it.
        attributes: ISMRMRD meta attributes, XML.

    Raises:
        ValueError: the pixels are of another type or not two-dimensional.
    """
    kind = _NUMBER_OF_PIXELS.get(pixels.dtype.newbyteorder("<"))
    if kind is None or pixels.ndim != 2:
        raise ValueError(
            f"pixels are {pixels.dtype} of {pixels.ndim} dimensions; expected (y, x), uint16 or float32."
        )
    head = np.zeros((), IMAGE_HEADER)
    if like is not None:
        for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
            head[name] = like[name]
        for name in ("measurement_uid", "acquisition_time_stamp", "physiology_time_stamp"):
            head[name] = like[name]
        for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
            head[name] = like["idx"][name]
    content = attributes.encode()
    head["version"] = 1
    head["data_type"] = kind
    head["matrix_size"] = (pixels.shape[1], pixels.shape[0], 1)
    head["field_of_view"] = field_of_view_mm
    head["channels"] = 1
    head["image_type"] = _IMAGE_TYPE_MAGNITUDE
    head["image_index"] = (index - 1) % 65535 + 1
    head["image_series_index"] = series
    head["attribute_string_len"] = len(content)
    body = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    return struct.pack("<H", IMAGE) + head.tobytes() + struct.pack("<Q", len(content)) + content + body
