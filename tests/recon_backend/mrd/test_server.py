"""The server against a client that knows only the protocol's description and the `ismrmrd` package."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recon_backend.errors import ReconstructionError
from recon_backend.formats import open_acquisition
from recon_backend.formats.header import parse_xml
from recon_backend.mrd import raw_file
from recon_backend.mrd.protocol import Limits
from recon_backend.mrd.raw_file import anonymous_header
from recon_backend.mrd.server import ServedScan, Server, ServerSettings
from recon_backend.streaming import StreamSettings, stream

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Client:
    """A scanner: sends by the protocol, collects what comes back."""

    address: tuple[str, int]
    images: list[ismrmrd.Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(self.address, timeout=30)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def configuration(self, name: str) -> None:
        self.raw(struct.pack("<H", 1) + name.encode().ljust(1024, b"\0"))

    def header(self, xml: bytes) -> None:
        self.raw(struct.pack("<HI", 3, len(xml)) + xml)

    def acquisition(self, acquisition: ismrmrd.Acquisition) -> None:
        body = io.BytesIO()
        acquisition.serialize_into(body.write)
        self.raw(struct.pack("<H", 1008) + body.getvalue())

    def close(self) -> None:
        self.raw(struct.pack("<H", 4))
        self.wait()

    def raw(self, content: bytes) -> None:
        self.socket.sendall(content)

    def wait(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.socket.close()

    def hang_up(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.wait()

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self.socket.recv(size - len(content))
            if not piece:
                raise EOFError
            content += piece
        return content

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                (kind,) = struct.unpack("<H", self._read(2))
                if kind == 1022:
                    self.images.append(ismrmrd.Image.deserialize_from(self._read))
                elif kind == 5:
                    text = self._read(struct.unpack("<I", self._read(4))[0])
                    assert text.endswith(b"\0")
                    self.texts.append(text[:-1].decode())
                elif kind == 4:
                    self.closed = True
                    return
                else:
                    raise AssertionError(f"message {kind}")


@dataclass
class Running:
    """A server in a thread."""

    server: Server
    scans: list[ServedScan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        for scan in self.server.serve():
            self.scans.append(scan)

    def client(self) -> Client:
        return Client(self.server.address)

    def scan(self, number: int) -> ServedScan:
        """What came of a connection, when it has ended."""
        end = time.monotonic() + 30
        while len(self.scans) <= number:
            assert time.monotonic() < end
            time.sleep(0.005)
        return self.scans[number]


@contextlib.contextmanager
def serving(folder: Path | None, **changes: Any) -> Iterator[Running]:  # noqa: ANN401
    stream_settings = changes.pop("stream", StreamSettings(window=1, calibration_frames=3))
    server = Server(ServerSettings(stream=stream_settings, save=folder, **changes), port=0)
    running = Running(server)
    try:
        yield running
    finally:
        server.stop()
        running.thread.join(30)
        server.close()
        assert not running.thread.is_alive()


@lru_cache
def content_of(path: Path) -> tuple[bytes, list[ismrmrd.Acquisition]]:
    dataset = ismrmrd.Dataset(str(path), "dataset")
    xml = bytes(dataset.read_xml_header())
    acquisitions = [dataset.read_acquisition(n) for n in range(dataset.number_of_acquisitions())]
    dataset.close()
    return xml, acquisitions


def send_all(client: Client, path: Path) -> None:
    xml, acquisitions = content_of(path)
    client.header(xml)
    for acquisition in acquisitions:
        client.acquisition(acquisition)


@pytest.fixture
def original(scan: Any, tmp_path: Path) -> Path:
    recipe = scan(frames=6, readouts=7, noise_samples=64, dummies=2)
    path: Path = recipe.write(tmp_path / "original.h5")
    return path


@pytest.mark.parametrize(("sampling", "pixels"), [("radial", "float32"), ("cartesian", "uint16")])
def test_images_and_raw_file_are_those_of_the_scan(
    scan: Any, tmp_path: Path, sampling: str, pixels: str
) -> None:
    original = scan(sampling=sampling, frames=6, readouts=7, noise_samples=64, dummies=2).write(
        tmp_path / "original.h5"
    )
    whole = open_acquisition(original)
    with serving(tmp_path / "saved", pixels=pixels) as running:
        client = running.client()
        client.configuration("some_recipe_of_another_server")
        send_all(client, original)
        client.close()
        served = running.scan(0)
    assert client.texts == []
    assert client.closed
    assert served.errors == ()
    expected = [frame.image for frame in stream(whole, StreamSettings(window=1, calibration_frames=3))]
    assert [image.image_index for image in client.images] == [1, 2, 3, 4, 5, 6]
    assert [image.repetition for image in client.images] == list(range(6))
    for image, right in zip(client.images, expected, strict=True):
        assert image.data.dtype == pixels
        factor, rounding = (1.0, 0.0) if pixels == "float32" else (1000.0, 0.5)
        np.testing.assert_allclose(
            image.data[0, 0], factor * right, rtol=1e-3, atol=rounding + 1e-3 * factor * float(right.max())
        )
        assert tuple(image.getHead().field_of_view) == (200.0, 240.0, 8.0)
        assert ismrmrd.Meta.deserialize(image.attribute_string)["DataRole"] == "Image"
    # The raw file: the same readouts, and the same scan.
    assert served.raw is not None
    assert [path.name for path in served.raw.parent.iterdir()] == [served.raw.name]
    again = open_acquisition(served.raw)
    assert np.array_equal(again.kspace, whole.kspace)
    assert (again.matrix, again.field_of_view_mm) == (whole.matrix, whole.field_of_view_mm)
    assert np.array_equal(again.frame_times_s, whole.frame_times_s)
    assert again.whitened
    assert again.details == whole.details
    if whole.trajectory is not None:
        assert np.array_equal(again.trajectory, whole.trajectory)
    for one, other in zip(content_of(original)[1], content_of(served.raw)[1], strict=True):
        assert bytes(one.getHead()) == bytes(other.getHead())
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(one.traj, other.traj)


def test_the_raw_file_names_nobody(original: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "saved") as running:
        client = running.client()
        send_all(client, original)
        client.close()
        raw = running.scan(0).raw
    assert raw is not None
    content = raw.read_bytes()
    for private in (b"DOE", b"JANE", b"0815", b"1980", b"Elsewhere", b"subjectInformation"):
        assert private in original.read_bytes()
        assert private not in content
    with h5py.File(raw) as file:
        assert b"SAX realtime" in file["dataset/xml"][0]
    assert "SAX_realtime" in raw.name


def test_free_text_that_repeats_the_patients_name_is_left_out() -> None:
    xml = b"""<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
     <subjectInformation><patientName>DOE^JANE</patientName><patientID>240</patientID></subjectInformation>
     <studyInformation><studyDate>2026-01-01</studyDate></studyInformation>
     <measurementInformation><protocolName>Jane heart</protocolName><seriesDate>2026-01-01</seriesDate>
      <patientPosition>HFS</patientPosition></measurementInformation>
     <acquisitionSystemInformation><systemVendor>ACME</systemVendor><institutionName>Clinic</institutionName>
      <coilLabel><coilNumber>1</coilNumber><coilName>doe_coil</coilName></coilLabel>
     </acquisitionSystemInformation>
     <encoding><encodedSpace><matrixSize><x>240</x></matrixSize></encodedSpace></encoding>
     <userParameters><userParameterString><name>Operator</name><value>Smith</value></userParameterString>
      <userParameterLong><name>delay</name><value>3</value></userParameterLong></userParameters>
    </ismrmrdHeader>"""
    text = anonymous_header(parse_xml(xml)).decode()
    for private in ("DOE", "Jane", "doe", "2026", "Clinic", "Smith", "subject"):
        assert private not in text
    for kept in ("HFS", "ACME", "<x>240</x>", "delay", "coilNumber"):
        assert kept in text
    ismrmrd.xsd.CreateFromDocument  # noqa: B018 - the package's reader is there, and must take what we write
    assert "sequenceParameters" not in text
    assert raw_file.file_stem(parse_xml(xml)).endswith("_scan")


def test_a_configuration_may_name_the_method(original: Path) -> None:
    with serving(None) as running:
        client = running.client()
        client.configuration("dl_cardiac_of_tomorrow")
        client.configuration("gridded")
        send_all(client, original)
        client.close()
        assert running.scan(0).raw is None
    assert {
        ismrmrd.Meta.deserialize(i.attribute_string)["ImageProcessingHistory"] for i in client.images
    } == {"blindcine gridded"}


def test_a_scan_that_breaks_off_is_kept_as_incomplete(original: Path, tmp_path: Path) -> None:
    xml, acquisitions = content_of(original)
    with serving(tmp_path / "saved") as running:
        client = running.client()
        client.header(xml)
        for acquisition in acquisitions[:20]:
            client.acquisition(acquisition)
        client.raw(struct.pack("<H", 1008) + bytes(100))  # in the middle of a readout
        client.hang_up()
        served = running.scan(0)
        assert served.raw is not None
        assert served.raw.name.endswith("_incomplete.h5")
        assert "broken off" in served.errors[0]
        assert len(content_of(served.raw)[1]) == 20
        # The next client is served as if nothing had happened.
        other = running.client()
        send_all(other, original)
        other.close()
        assert len(other.images) == 6
        assert running.scan(1).errors == ()


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([struct.pack("<H", 77) + bytes(9)], "Message 77 is unknown"),
        ([struct.pack("<HI", 3, 2**31)], "A text claims"),
        ([struct.pack("<HI", 3, 4) + b"junk"], "XML header is damaged"),
        ([struct.pack("<HI", 3, 16) + b"<ismrmrdHeader/>"], "describes 0"),
        ([struct.pack("<H", 1008) + bytes(340)], "before the header"),
    ],
)
def test_nonsense_is_answered_by_a_text(messages: list[bytes], complaint: str) -> None:
    with serving(None) as running:
        client = running.client()
        for message in messages:
            client.raw(message)
        client.wait()
        assert complaint in client.texts[0]
        assert client.closed
        assert complaint in running.scan(0).errors[0]
        assert running.thread.is_alive()


def test_a_scan_that_cannot_be_reconstructed_is_saved_all_the_same(original: Path, tmp_path: Path) -> None:
    xml, acquisitions = content_of(original)
    acquisitions[30].data[0, 0] = np.nan
    with serving(tmp_path / "saved") as running:
        for header, complaint in ((xml, "NaN"), (xml.replace(b">cartesian<", b">epi<"), "trajectory")):
            client = running.client()
            client.header(header)
            for acquisition in acquisitions:
                client.acquisition(acquisition)
            client.close()
            assert any(complaint in text for text in client.texts)
    for served in running.scans:
        assert served.raw is not None
        assert "incomplete" not in served.raw.name
        assert len(content_of(served.raw)[1]) == len(acquisitions)


def test_a_full_disk_does_not_stop_the_images(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_writer: object, _readout: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raw_file.RawFileWriter, "add", full)
    with serving(tmp_path / "saved") as running:
        client = running.client()
        send_all(client, original)
        client.close()
    assert client.texts == ["The raw data cannot be saved: No space left on device."]
    assert len(client.images) == 6
    assert list((tmp_path / "saved").iterdir()) == []


def test_a_silent_client_is_sent_away(original: Path) -> None:
    with serving(None, silence_s=0.2) as running:
        client = running.client()
        client.header(content_of(original)[0])
        client.wait()
    assert "Nothing came for 0.2 s" in client.texts[0]


def test_stopping_breaks_off_the_scan_under_way(original: Path, tmp_path: Path) -> None:
    xml, acquisitions = content_of(original)
    with serving(tmp_path / "saved") as running:
        client = running.client()
        client.header(xml)
        for acquisition in acquisitions[:30]:
            client.acquisition(acquisition)
        end = time.monotonic() + 30
        while len(client.images) < 2:  # the server has begun
            assert time.monotonic() < end
            time.sleep(0.005)
    client.wait()
    (raw,) = (tmp_path / "saved").iterdir()
    assert raw.name.endswith("_incomplete.h5")


def test_a_taken_port_is_named() -> None:
    with (
        serving(None) as running,
        pytest.raises(ReconstructionError, match="cannot listen on 127.0.0.1 port"),
    ):
        Server(ServerSettings(), port=running.server.address[1])
    with pytest.raises(ReconstructionError, match="pixels are 'int8'"):
        ServerSettings(pixels="int8")


def test_the_server_listens_on_this_computer_only() -> None:
    with serving(None) as running:
        assert running.server.address[0] == "127.0.0.1"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Running]:
    limits = Limits(text=20_000, acquisition=20_000, image=20_000, waveform=20_000)
    with serving(None, limits=limits, silence_s=5.0) as running:
        yield running


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_stream_stops_the_server(original: Path, shared_server: Running, data: st.DataObject) -> None:
    xml, acquisitions = content_of(original)
    pieces = [struct.pack("<HI", 3, len(xml)) + xml]
    for acquisition in acquisitions[:25]:
        body = io.BytesIO()
        acquisition.serialize_into(body.write)
        pieces.append(struct.pack("<H", 1008) + body.getvalue())
    pieces.append(struct.pack("<H", 4))
    for _ in range(data.draw(st.integers(0, 2))):
        place, other = (data.draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
        pieces[place], pieces[other] = pieces[other], pieces[place]
    content = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    number = len(shared_server.scans)
    client = shared_server.client()
    with contextlib.suppress(OSError):
        client.raw(bytes(content))
        client.socket.shutdown(socket.SHUT_WR)
    client.wait()
    shared_server.scan(number)
    assert shared_server.thread.is_alive()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_and_keeps_the_scan(
    original: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--save", str(tmp_path / "saved")]
    with subprocess.Popen(
        [*command, "--calibration", "2"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "Listening on 127.0.0.1 port" in line
        assert "this computer only" in line
        client = Client(("127.0.0.1", int(line.partition("port ")[2].split()[0])))
        xml, acquisitions = content_of(original)
        client.header(xml)
        for acquisition in acquisitions[:30]:
            client.acquisition(acquisition)
        end = time.monotonic() + 30
        while not client.images:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        client.wait()
    assert process.returncode == 0
    assert "The server has ended." in output
    assert "Traceback" not in errors
    (raw,) = (tmp_path / "saved").iterdir()
    assert raw.name.endswith("_incomplete.h5")
