"""The wire format against the `ismrmrd` package's own, and against streams that are cut, forged or noise."""

from __future__ import annotations

import ctypes
import io
import struct
import tracemalloc

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_backend import ismrmrd_layout
from recon_backend.errors import ReconstructionError
from recon_backend.mrd import protocol
from recon_backend.mrd.protocol import ConnectionLost, Limits, MessageReader, ProtocolError


class Bytes:
    """A connection that gives what it holds in pieces of odd size, and then nothing."""

    def __init__(self, content: bytes, piece: int = 7919) -> None:
        self.left = content
        self._piece = piece
        self.largest = 0

    def recv(self, size: int, /) -> bytes:
        self.largest = max(self.largest, size)
        taken, self.left = self.left[: min(size, self._piece)], self.left[min(size, self._piece) :]
        return taken


def serialised(kind: int, thing: object) -> bytes:
    """A message as the `ismrmrd` package writes its body."""
    body = io.BytesIO()
    thing.serialize_into(body.write)  # type: ignore[attr-defined]
    return struct.pack("<H", kind) + body.getvalue()


def acquisition(samples: int = 6, coils: int = 3, dimensions: int = 2, seed: int = 0) -> ismrmrd.Acquisition:
    rng = np.random.default_rng(seed)
    data = (rng.normal(size=(coils, samples)) + 1j * rng.normal(size=(coils, samples))).astype(np.complex64)
    made = ismrmrd.Acquisition.from_array(data, rng.normal(size=(samples, dimensions)).astype(np.float32))
    made.idx.repetition = 5
    made.idx.kspace_encode_step_1 = 17
    made.acquisition_time_stamp = 123_456
    made.sample_time_us = 2.5
    made.position[:] = (1.0, 2.0, 3.0)
    made.setFlag(ismrmrd.ACQ_LAST_IN_REPETITION)
    return made


def test_structures_are_those_of_the_package() -> None:
    for dtype, structure in (
        (protocol.ACQUISITION_HEADER, ismrmrd.AcquisitionHeader),
        (protocol.IMAGE_HEADER, ismrmrd.ImageHeader),
        (ismrmrd_layout.COUNTERS, ismrmrd.EncodingCounters),
    ):
        assert dtype.itemsize == ctypes.sizeof(structure)
        offsets = {name: getattr(structure, name).offset for name, _ in structure._fields_}
        assert {name: dtype.fields[name][1] for name in dtype.names} == offsets


@pytest.mark.parametrize(("samples", "coils", "dimensions"), [(6, 3, 2), (1, 1, 0), (400, 16, 3)])
def test_acquisitions_of_the_package_are_understood(samples: int, coils: int, dimensions: int) -> None:
    sent = acquisition(samples, coils, dimensions)
    message = MessageReader(Bytes(serialised(protocol.ACQUISITION, sent))).read()
    assert isinstance(message, protocol.Readout)
    assert np.array_equal(message.samples, sent.data)
    assert np.array_equal(message.trajectory, sent.traj.reshape(samples, dimensions))
    head = message.head
    assert (head["idx"]["repetition"], head["idx"]["kspace_encode_step_1"]) == (5, 17)
    assert head["acquisition_time_stamp"] == 123_456
    assert head["sample_time_us"] == pytest.approx(2.5)
    assert head["flags"] == 1 << (ismrmrd.ACQ_LAST_IN_REPETITION - 1)
    assert list(head["position"]) == [1, 2, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_images_are_understood_by_the_package(dtype: type) -> None:
    pixels = np.arange(35).reshape(5, 7).astype(dtype)
    like = MessageReader(Bytes(serialised(protocol.ACQUISITION, acquisition()))).read()
    assert isinstance(like, protocol.Readout)
    meta = ismrmrd.Meta({"DataRole": "Image", "note": "a < b & c"})
    message = protocol.image_message(
        pixels,
        field_of_view_mm=(280.0, 200.0, 8.0),
        index=65536,
        series=3,
        like=like.head,
        attributes=meta.serialize(),
    )
    stream = io.BytesIO(message)
    assert struct.unpack("<H", stream.read(2)) == (1022,)
    image = ismrmrd.Image.deserialize_from(stream.read)
    assert stream.read() == b""
    assert image.data.dtype == dtype
    assert np.array_equal(image.data[0, 0], pixels)
    assert tuple(image.getHead().field_of_view) == (280.0, 200.0, 8.0)
    assert tuple(image.getHead().position) == (1.0, 2.0, 3.0)
    assert (image.image_index, image.image_series_index, image.repetition) == (1, 3, 5)
    assert image.image_type == ismrmrd.IMTYPE_MAGNITUDE
    assert dict(ismrmrd.Meta.deserialize(image.attribute_string)) == {
        "DataRole": "Image",
        "note": "a < b & c",
    }


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="bool"):
        protocol.image_message(np.zeros((2, 2), bool), field_of_view_mm=(1, 1, 1), index=1)
    with pytest.raises(ValueError, match="3 dimensions"):
        protocol.image_message(np.zeros((2, 2, 2), np.float32), field_of_view_mm=(1, 1, 1), index=1)


def conversation() -> list[bytes]:
    """One message of each kind as a client sends them; what cannot be used comes in between."""
    waveform = ismrmrd.Waveform.from_array(np.arange(12, dtype=np.uint32).reshape(2, 6))
    image = ismrmrd.Image.from_array(np.ones((4, 5), np.complex64))
    image.attribute_string = "<ismrmrdMeta/>"
    return [
        struct.pack("<H", 1) + b"dl_natural".ljust(1024, b"\0"),
        struct.pack("<HI", 2, 5) + b"hello",
        struct.pack("<HI", 3, 6) + b"<xml/>",
        serialised(protocol.WAVEFORM, waveform),
        serialised(protocol.ACQUISITION, acquisition()),
        serialised(protocol.IMAGE, image),
        protocol.text_message("grüße"),
        protocol.close_message(),
    ]


def test_a_whole_conversation() -> None:
    reader = MessageReader(Bytes(b"".join(conversation()), piece=3))
    messages = []
    while (message := reader.read()) is not None:
        messages.append(message)
    texts = [message.text for message in messages if isinstance(message, protocol.Text)]
    assert texts == ["dl_natural", "hello", "<xml/>", "grüße"]
    assert [type(message).__name__ for message in messages] == (
        ["Text"] * 3 + ["Skipped", "Readout", "Skipped", "Text", "Close"]
    )


def test_a_stream_cut_anywhere_ends_between_messages_or_is_lost() -> None:
    messages = conversation()
    whole = b"".join(messages)
    ends = set(np.cumsum([0] + [len(message) for message in messages]).tolist())
    for length in range(len(whole)):
        reader = MessageReader(Bytes(whole[:length]))
        if length in ends:
            while reader.read() is not None:
                pass
            continue
        with pytest.raises(ConnectionLost):
            while reader.read() is not None:
                pass


@pytest.mark.parametrize("kind", [0, 6, 1007, 1023, 65535])
def test_unknown_identifiers_are_named(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"Message {kind} is unknown"):
        MessageReader(Bytes(struct.pack("<H", kind) + bytes(100))).read()


def forged_readout(samples: int, coils: int, dimensions: int) -> bytes:
    head = np.zeros((), protocol.ACQUISITION_HEADER)
    head["number_of_samples"], head["active_channels"] = samples, coils
    head["trajectory_dimensions"] = dimensions
    return struct.pack("<H", protocol.ACQUISITION) + head.tobytes()


def forged_image(size: tuple[int, int, int], channels: int, data_type: int, attributes: int) -> bytes:
    head = np.zeros((), protocol.IMAGE_HEADER)
    head["matrix_size"], head["channels"], head["data_type"] = size, channels, data_type
    return struct.pack("<H", protocol.IMAGE) + head.tobytes() + struct.pack("<Q", attributes)


@pytest.mark.parametrize(
    ("forged", "what"),
    [
        (struct.pack("<HI", 3, 2**32 - 1), "A text claims 4294967295 bytes"),
        (forged_readout(65535, 1025, 0), "1025 channels"),
        (forged_readout(65535, 1024, 0), "A readout claims"),
        (forged_readout(65535, 1, 65535), "A trajectory claims"),
        (forged_image((65535, 65535, 65535), 65535, 8, 0), "An image claims"),
        (forged_image((1, 1, 1), 1, 5, 2**63), "attributes claims"),
        (forged_image((1, 1, 1), 1, 9, 0), "data type 9"),
        (
            struct.pack("<H", 1026) + bytes(28) + struct.pack("<HH", 65535, 65535) + bytes(8),
            "A waveform claims",
        ),
    ],
)
def test_claims_beyond_the_limits_are_refused_before_the_body_is_read(forged: bytes, what: str) -> None:
    connection = Bytes(forged + bytes(5000))
    with pytest.raises(ProtocolError, match=what):
        MessageReader(connection).read()
    assert len(connection.left) == 5000


def test_a_large_claim_without_bytes_behind_it_takes_no_memory() -> None:
    forged = forged_readout(65535, 128, 0) + bytes(1000)  # claims 67 MB, the limit
    connection = Bytes(forged)
    tracemalloc.start()
    with pytest.raises(ConnectionLost):
        MessageReader(connection).read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert connection.largest <= 1 << 20


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    flips=st.lists(st.tuples(st.integers(0, 3999), st.integers(0, 255)), max_size=6),
)
def test_damaged_streams_end_in_one_of_the_two_errors(
    data: st.DataObject, flips: list[tuple[int, int]]
) -> None:
    order = data.draw(st.permutations(conversation()))
    content = bytearray(b"".join(order))
    for place, value in flips:
        content[place % len(content)] = value
    content = content[: data.draw(st.integers(0, len(content)))]
    limits = Limits(text=10_000, acquisition=10_000, channels=64, image=10_000, waveform=10_000)
    reader = MessageReader(Bytes(bytes(content), piece=data.draw(st.integers(1, 500))), limits)
    try:
        while reader.read() is not None:
            pass
    except ReconstructionError as error:
        assert isinstance(error, ProtocolError | ConnectionLost)
