"""A reconstruction server for scanners: receives a scan while it is measured and answers with images.

One connection is served after another. A thread reconstructs (`recon_backend.streaming`) while the connection
is read; whatever goes wrong in one of them is told to the client in a text message and logged, and does not
stop the other: a scan whose reconstruction failed is still received and saved. Nothing of the protocol is
encrypted or authenticated, so the server listens where it is told to, and by default on this computer only.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from recon_backend.errors import ReconstructionError
from recon_backend.formats.header import parse_xml
from recon_backend.methods import ALL_METHODS, COMPRESSED_SENSING
from recon_backend.mrd import protocol
from recon_backend.mrd.frames import FrameBuilder, ReceivedFrames
from recon_backend.mrd.protocol import MessageReader
from recon_backend.mrd.raw_file import RawFileWriter, file_stem
from recon_backend.streaming import LatencyStatistics, StreamedFrame, StreamSettings, stream

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9002
UINT16_PEAK = 1000.0
"""What the value 1 of an image (about the brightest tissue) becomes in uint16 pixels."""

_ACCEPT_WAIT_S = 0.2
_EXPECTED = (ReconstructionError, OSError, MemoryError, ValueError, RuntimeError)
_DEFAULT_THICKNESS_MM = 8.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerSettings:
    """How to serve.

    Attributes:
        stream: method and the rest of the reconstruction.
        save: folder for the raw files; None = they are not kept.
        pixels: "float32", or "uint16" with 1000 for an image value of 1.
        limits: what a message may claim.
        silence_s: a client that says nothing for so long is sent away.
    """

    stream: StreamSettings = field(default_factory=StreamSettings)
    save: Path | None = None
    pixels: str = "float32"
    limits: protocol.Limits = field(default_factory=protocol.Limits)
    silence_s: float = 600.0

    def __post_init__(self) -> None:
        """Check the pixel type.

        Raises:
            ReconstructionError: it is another word.
        """
        if self.pixels not in ("float32", "uint16"):
            raise ReconstructionError(f"pixels are {self.pixels!r}, but float32 or uint16 was expected.")


@dataclass(frozen=True)
class ServedScan:
    """What came of one connection.

    Attributes:
        peer: the client's address.
        readouts: readouts received, noise and dummies included.
        images: images sent.
        raw: the raw file, if one was written.
        errors: what went wrong, one sentence each.
        statistics: latencies and dropped frames.
    """

    peer: str
    readouts: int
    images: int
    raw: Path | None
    errors: tuple[str, ...]
    statistics: dict[str, Any]


class Server:
    """Listens, and serves one client after another.

    Args:
        settings: how to serve.
        host: address to listen on.
        port: port; 0 = any free one.

    Attributes:
        address: host and port that it listens on.

    Raises:
        ReconstructionError: the port is taken, or the address is none of this computer's.
    """

    def __init__(self, settings: ServerSettings, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> None:
        """Listen."""
        self._settings = settings
        self._stopped = threading.Event()
        self._session: _Session | None = None
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=8)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ReconstructionError(
                f"The server cannot listen on {host} port {port} ({reason}); choose another --host or --port."
            ) from error
        self._socket.settimeout(_ACCEPT_WAIT_S)
        name = self._socket.getsockname()
        self.address: tuple[str, int] = (str(name[0]), int(name[1]))

    def serve(self) -> Iterator[ServedScan]:
        """Serve until `stop`; yields what came of each connection. Call `close` afterwards."""
        while not self._stopped.is_set():
            try:
                connection, peer = self._socket.accept()
            except TimeoutError:
                continue
            with connection:
                self._session = _Session(connection, f"{peer[0]}:{peer[1]}", self._settings)
                yield self._session.run()
                self._session = None

    def stop(self) -> None:
        """Make `serve` return soon; a scan under way is broken off. May be called from any thread."""
        self._stopped.set()
        if (session := self._session) is not None:
            session.break_off()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


class _Session:
    """One client."""

    def __init__(self, connection: socket.socket, peer: str, settings: ServerSettings) -> None:
        self._connection = connection
        self._peer = peer
        self._settings = settings
        self._stream_settings = settings.stream
        self._sending = threading.Lock()
        self._errors: list[str] = []
        self._readouts = 0
        self._images = 0
        self._begun = False
        self._builder: FrameBuilder | None = None
        self._frames: ReceivedFrames | None = None
        self._thread: threading.Thread | None = None
        self._writer: RawFileWriter | None = None
        self._statistics = LatencyStatistics()

    def run(self) -> ServedScan:
        """Receive until the client closes, then give it what is still due, and save the raw file."""
        self._connection.settimeout(self._settings.silence_s)
        with contextlib.suppress(OSError):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _logger.info("%s: connected", self._peer)
        complete = False
        raw: Path | None = None
        try:
            complete = self._receive()
        except TimeoutError:
            self._tell(f"Nothing came for {self._settings.silence_s:g} s; the connection is closed.")
        except _EXPECTED as error:
            self._tell(_sentence(error))
        except KeyboardInterrupt:
            self.break_off()  # a client that does not read must not hold up the end
            raise
        finally:
            self._end_reconstruction(complete=complete)
            raw = self._end_file(complete=complete)
            self._send(protocol.close_message())
        _logger.info(
            "%s: %d readouts received, %d images sent%s",
            self._peer,
            self._readouts,
            self._images,
            f", raw data in {raw}" if raw else "",
        )
        return ServedScan(
            self._peer, self._readouts, self._images, raw, tuple(self._errors), self._statistics.summary()
        )

    def break_off(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> bool:
        """Take messages; True if the client closed as it should."""
        reader = MessageReader(self._connection, self._settings.limits)
        while (message := reader.read()) is not None:
            if isinstance(message, protocol.Close):
                return True
            if isinstance(message, protocol.Readout):
                self._take_readout(message, time.perf_counter())
            elif isinstance(message, protocol.Text):
                self._take_text(message)
        if self._readouts:
            raise protocol.ConnectionLost("The connection was broken off before the end of the scan.")
        return False

    def _take_text(self, message: protocol.Text) -> None:
        if message.kind == protocol.HEADER:
            self._begin(message.content)
        elif message.kind == protocol.CONFIGURATION_FILE:
            # Clients name a recipe of their own server here; only our own names mean anything.
            name = message.text.strip()
            if name in ALL_METHODS and name != COMPRESSED_SENSING:
                self._stream_settings = replace(self._stream_settings, method=name)
            _logger.info("%s: reconstruction by %s", self._peer, self._stream_settings.method)

    def _begin(self, xml: bytes) -> None:
        if self._begun:
            raise protocol.ProtocolError("A second header came; one connection carries one scan.")
        root = parse_xml(xml.partition(b"\0")[0])
        self._begun = True
        stem = file_stem(root)
        if self._settings.save is not None:
            try:
                self._writer = RawFileWriter(self._settings.save, root, stem)
            except OSError as error:
                self._tell(f"The raw data cannot be saved: {_sentence(error)}")
        try:
            self._builder = FrameBuilder(root, stem)
        except ReconstructionError as error:
            if self._writer is None:
                raise
            # Saved all the same: another program may read what this one cannot reconstruct.
            self._tell(_sentence(error))
            return
        self._frames = ReceivedFrames(self._builder, stem)
        self._thread = threading.Thread(target=self._reconstruct, name="reconstruction", daemon=True)
        self._thread.start()

    def _take_readout(self, readout: protocol.Readout, arrived_s: float) -> None:
        if not self._begun:
            raise protocol.ProtocolError("A readout came before the header.")
        self._readouts += 1
        if self._writer is not None:
            try:
                self._writer.add(readout)
            except (OSError, RuntimeError) as error:
                self._tell(f"The raw data cannot be saved: {_sentence(error)}")
                self._writer.abandon()
                self._writer = None
        if self._builder is None or self._frames is None:
            return
        try:
            for frame in self._builder.add(readout, arrived_s):
                self._frames.put(frame)
        except _EXPECTED as error:
            # Received and saved to the end all the same: the scan may be read from its file.
            self._tell(_sentence(error))
            self._frames.end()
            self._frames = None

    def _reconstruct(self) -> None:
        assert self._frames is not None
        try:
            for frame in stream(self._frames, self._stream_settings):
                self._statistics.add(frame)
                self._answer(frame)
        except ConnectionError:
            _logger.info(
                "%s: the client takes no more images", self._peer
            )  # who reads says so, if it matters
        except Exception as error:
            # Frameworks raise classes of their own. The log gets the trace, the client one sentence.
            if not isinstance(error, (ReconstructionError, OSError)):
                _logger.exception("%s: the reconstruction failed", self._peer)
            self._tell(_sentence(error))

    def _answer(self, frame: StreamedFrame) -> None:
        scan = frame.raw.acquisition
        pixels: npt.NDArray[Any] = frame.image
        if self._settings.pixels == "uint16":
            pixels = np.clip(np.rint(frame.image * UINT16_PEAK), 0, 65535).astype(np.uint16)
        thickness_mm = scan.details.get("slab_thickness_mm")
        height_mm, width_mm = scan.field_of_view_mm
        message = protocol.image_message(
            pixels,
            field_of_view_mm=(
                width_mm,
                height_mm,
                float(thickness_mm) if isinstance(thickness_mm, float) else _DEFAULT_THICKNESS_MM,
            ),
            index=frame.index + 1,
            like=frame.raw.head,
            attributes=_attributes(frame, self._stream_settings.method),
        )
        with self._sending:
            self._connection.sendall(message)
        self._images += 1

    def _end_reconstruction(self, *, complete: bool) -> None:
        if self._frames is not None and self._builder is not None:
            if complete:
                try:
                    for frame in self._builder.finish():
                        self._frames.put(frame)
                except _EXPECTED as error:
                    self._tell(_sentence(error))
                self._frames.end()
            else:
                self._frames.close()
        if self._thread is not None:
            self._thread.join()

    def _end_file(self, *, complete: bool) -> Path | None:
        writer, self._writer = self._writer, None
        if writer is None:
            return None
        try:
            if writer.readouts:
                return writer.finish(complete=complete)
            writer.abandon()
        except (OSError, RuntimeError) as error:
            writer.abandon()
            self._tell(f"The raw data cannot be saved: {_sentence(error)}")
        return None

    def _tell(self, sentence: str) -> None:
        """Log what went wrong, and send it to the client if it is still there."""
        self._errors.append(sentence)
        _logger.warning("%s: %s", self._peer, sentence)
        self._send(protocol.text_message(sentence))

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError), self._sending:
            self._connection.sendall(message)


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "There is not enough memory for this scan."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _attributes(frame: StreamedFrame, method: str) -> str:
    """ISMRMRD meta attributes: what a client shows or stores beside the pixels."""
    values = {
        "DataRole": "Image",
        "ImageProcessingHistory": f"blindcine {method}",
        "ImageComments": "For research use only",
        "FrameTime_s": f"{frame.time_s:.6f}",
        "Latency_s": f"{frame.latency_s:.6f}",
    }
    items = "".join(
        f"<meta><name>{escape(name)}</name><value>{escape(value)}</value></meta>"
        for name, value in values.items()
    )
    return f"<ismrmrdMeta>{items}</ismrmrdMeta>"
