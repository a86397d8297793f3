"""Checkpoints of TensorFlow without TensorFlow: against an own writer, TensorFlow's, and damaged files."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

from recon_backend import device
from recon_backend.checkpoints import crc32c
from recon_backend.checkpoints.tensor_bundle import DATA_NAME, INDEX_NAME, TensorBundle
from recon_backend.errors import FormatError

assert device.DEVICE_CHOICES  # imported for its choice of the Keras backend
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
KEY = "variables/{}" + SUFFIX


def test_checksum_of_the_standard() -> None:
    """RFC 3720, B.4."""
    assert crc32c.crc32c(b"") == 0
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    assert crc32c.crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c.crc32c(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 12_289, 50_001])
def test_checksum_of_lanes_is_that_of_the_loop(length: int, bundles: ModuleType) -> None:
    data = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    assert crc32c.crc32c(data) == bundles.crc32c(data)
    assert crc32c.masked(crc32c.crc32c(data)) == bundles.masked(bundles.crc32c(data))


@pytest.fixture
def small(tmp_path: Path, bundles: ModuleType) -> Path:
    """Three variables and one of another type."""
    shapes: list[tuple[int, ...]] = [(), (3,), (2, 3, 1, 4)]
    rows: list[tuple[object, ...]] = []
    offset = 0
    for number, shape in enumerate(shapes):
        size = 4 * int(np.prod(shape))
        rows.append((KEY.format(number), 1, shape, offset, size, 0))
        offset += size
    rows.append(("optimizer/iter" + SUFFIX, 9, (), offset, 8, 1))
    values = {number: small_value(number, shape) for number, shape in enumerate(shapes)}
    return bundles.write_bundle(tmp_path / "small", "", values, rows) / "variables"


def small_value(number: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(shape).astype(np.float32).reshape(shape)


def test_values_come_back(small: Path) -> None:
    bundle = TensorBundle.open(small)
    assert list(bundle.entries) == sorted(bundle.entries) and len(bundle.entries) == 4
    for number, shape in enumerate([(), (3,), (2, 3, 1, 4)]):
        found = bundle.read(KEY.format(number), "x")
        assert found.shape == shape and found.dtype == np.float32
        np.testing.assert_array_equal(found, small_value(number, shape))
    with pytest.raises(FormatError, match=r"the counter has type 9 and 8 bytes, expected type 1 \(float32\)"):
        bundle.read("optimizer/iter" + SUFFIX, "the counter")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow takes long to import")
def test_tensorflow_writes_what_is_read(tmp_path: Path) -> None:
    """Many keys with long common beginnings, so that there are several blocks, and all kinds of shapes."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    values = {
        f"variables/{n}/some/long/path" + SUFFIX: rng.standard_normal((n % 5, 3)).astype("f")
        for n in range(150)
    }
    values["scalar"] = np.array(1.61166, np.float32)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "variables"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    bundle = TensorBundle.open(tmp_path)
    assert set(bundle.entries) == set(values)
    for name, value in values.items():
        np.testing.assert_array_equal(bundle.read(name, name), value)


def test_own_writer_is_what_tensorflow_reads(small: Path) -> None:
    """The other tests' files are real ones."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow takes long to import")
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(small / "variables"))
    np.testing.assert_array_equal(reader.get_tensor(KEY.format(2)), small_value(2, (2, 3, 1, 4)))


def test_every_single_damaged_byte_of_the_index_is_found(small: Path) -> None:
    """All but the padding of the footer is under a checksum or checked."""
    path = small / INDEX_NAME
    content = path.read_bytes()
    padding = range(len(content) - 44, len(content) - 8)
    for position in range(len(content)):
        if position in padding:
            continue
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x41]) + content[position + 1 :])
        with pytest.raises(FormatError, match=INDEX_NAME):
            TensorBundle.open(small)


@pytest.mark.parametrize("length", [0, 1, 47, 48, 60, 200])
def test_a_cut_index_is_found(small: Path, length: int) -> None:
    path = small / INDEX_NAME
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FormatError, match="not a sound checkpoint index"):
        TensorBundle.open(small)


def test_wrong_files_are_named_with_what_was_expected(small: Path) -> None:
    data, index = small / DATA_NAME, small / INDEX_NAME
    content = data.read_bytes()
    data.write_bytes(content[:-1])
    with pytest.raises(
        FormatError, match=rf"{DATA_NAME}: the file is cut off .* expected 120 bytes, found 119"
    ):
        TensorBundle.open(small)
    data.write_bytes(content + b"\0")
    with pytest.raises(FormatError, match="too long .* expected 120 bytes, found 121"):
        TensorBundle.open(small)
    data.write_bytes(content[:9] + b"\xff" + content[10:])
    bundle = TensorBundle.open(small)
    bundle.read(KEY.format(0), "first")
    with pytest.raises(FormatError, match=rf"{DATA_NAME}: second is damaged .* in bytes 4 to 16, found 0x"):
        bundle.read(KEY.format(1), "second")
    data.unlink()
    with pytest.raises(FormatError, match=r"cannot be read .*; expected 120 bytes"):
        TensorBundle.open(small)
    index.unlink()
    with pytest.raises(FormatError, match="index cannot be read"):
        TensorBundle.open(small)


def test_other_kinds_of_tables_are_refused(small: Path, bundles: ModuleType) -> None:
    rows: list[tuple[object, ...]] = [(KEY.format(0), 1, (2,), 0, 8, 0)]
    index = small / INDEX_NAME
    index.write_bytes(bundles.index_bytes(rows, kind=1))
    with pytest.raises(FormatError, match=r"compressed \(kind 1\)"):
        TensorBundle.open(small)
    index.write_bytes(bundles.index_bytes(rows, header=b"\x08\x02"))
    with pytest.raises(FormatError, match="in 2 files, expected 1"):
        TensorBundle.open(small)
    index.write_bytes(bundles.index_bytes(rows, header=b"\x08\x01\x10\x01"))
    with pytest.raises(FormatError, match="big endian"):
        TensorBundle.open(small)
    index.write_bytes(bundles.index_bytes([rows[0], rows[0]]))
    with pytest.raises(FormatError, match="occurs twice"):
        TensorBundle.open(small)
    index.write_bytes(bundles.index_bytes([(KEY.format(0), 1, (2,), 1 << 50, 8, 0)]))
    with pytest.raises(FormatError, match="claims bytes"):
        TensorBundle.open(small)
    index.write_bytes(b"\0" * 40 + struct.pack("<Q", 0xDB4775248B80FB57))
    with pytest.raises(FormatError, match=INDEX_NAME):
        TensorBundle.open(small)
