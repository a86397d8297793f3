"""Masks written as NRRD and NIfTI, taken apart by a second, independent reading of the two formats."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from studies.errors import StudyError
from studies.mask_files import MaskMovie, label_movie, nifti_bytes, nrrd_bytes, read_mask, write_mask
from studies.shapes import Ellipse, Rectangle, Shapes
from studies.timed_shapes import Motion, TimedShapes

SIZE = (20, 33)
SPACING = (1.75, 1.1)  # (y, x)
TIMES = 0.04 * np.arange(5)


@pytest.fixture
def mask() -> MaskMovie:
    """A signal that moves to the right over air that stays; they meet in the last frames."""
    drawing = Shapes(Ellipse((8, 9), (5, 4), 0.3), Rectangle((20, 10), (7, 9)))
    shapes = TimedShapes(drawing, motions={"signal": Motion(0, (0, 2, 4, 6, 8), (0, 0, 1, 1, 0))})
    return label_movie(shapes, TIMES, SIZE, SPACING)


def test_labels_are_the_masks(mask: MaskMovie) -> None:
    assert mask.labels.shape == (5, *SIZE) and set(np.unique(mask.labels)) == {0, 1, 2, 3}
    expected = np.roll(Ellipse((8, 9), (5, 4), 0.3).mask(SIZE), (1, 6), axis=(0, 1))
    np.testing.assert_array_equal(mask.signal[3], expected)
    np.testing.assert_array_equal(mask.background[3], Rectangle((20, 10), (7, 9)).mask(SIZE))
    assert mask.frame_time_s == pytest.approx(0.04)
    assert label_movie(TimedShapes(Shapes()), TIMES[:1], SIZE, SPACING).frame_time_s == 0


def test_nrrd_by_its_definition(mask: MaskMovie) -> None:
    """Magic, fields as the format names them, and the data with x fastest."""
    head, _, data = nrrd_bytes(mask).partition(b"\n\n")
    lines = head.decode("ascii").split("\n")
    assert lines[0] == "NRRD0004"
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    assert fields["type"] == "unsigned char" and fields["encoding"] == "gzip"
    assert fields["dimension"] == "3" and fields["sizes"] == "33 20 5" and fields["space dimension"] == "2"
    assert fields["space directions"] == "(1.1,0) (0,1.75) none"
    values = np.frombuffer(gzip.decompress(data), np.uint8).reshape((33, 20, 5), order="F")
    for x, y, t in [(8, 9, 0), (20, 10, 0), (16, 9, 4), (0, 0, 0), (18, 8, 4)]:
        assert values[x, y, t] == mask.labels[t, y, x]
    np.testing.assert_array_equal(values.transpose(2, 1, 0), mask.labels)


def test_nifti_by_its_definition(mask: MaskMovie) -> None:
    """Every field of the header at its offset, and the data with x fastest."""
    content = nifti_bytes(mask)
    assert len(content) == 352 + mask.labels.size
    assert struct.unpack("<i", content[:4]) == (348,) and content[344:348] == b"n+1\x00"
    assert struct.unpack("<8h", content[40:56]) == (4, 33, 20, 1, 5, 1, 1, 1)
    assert struct.unpack("<2h", content[70:74]) == (2, 8)
    assert struct.unpack("<5f", content[76:96]) == pytest.approx((1, 1.1, 1.75, 1, 0.04))
    assert struct.unpack("<3f", content[108:120]) == (352, 1, 0)
    assert content[123] == 10  # mm and s
    assert struct.unpack("<2h", content[252:256]) == (0, 0)  # no place in the patient
    values = np.frombuffer(content[352:], np.uint8).reshape((33, 20, 1, 5), order="F")
    np.testing.assert_array_equal(values[:, :, 0].transpose(2, 1, 0), mask.labels)


@pytest.mark.parametrize("name", ["mask.nrrd", "mask.nii", "mask.NII.GZ"])
def test_what_was_written_is_read_back(mask: MaskMovie, tmp_path: Path, name: str) -> None:
    write_mask(tmp_path / name, mask)
    first = (tmp_path / name).read_bytes()
    found = read_mask(tmp_path / name)
    np.testing.assert_array_equal(found.labels, mask.labels)
    assert found.pixel_spacing_mm == pytest.approx(SPACING) and found.frame_time_s == pytest.approx(0.04)
    write_mask(tmp_path / name, mask)
    assert (tmp_path / name).read_bytes() == first  # no time of day inside


def test_milliseconds_are_understood(mask: MaskMovie, tmp_path: Path) -> None:
    content = bytearray(nifti_bytes(mask))
    struct.pack_into("<f", content, 92, 40.0)
    content[123] = 2 | 16
    (tmp_path / "ms.nii").write_bytes(bytes(content))
    assert read_mask(tmp_path / "ms.nii").frame_time_s == pytest.approx(0.04)


def as_nrrd(fields: str, data: bytes, end: str = "\n") -> bytes:
    return f"NRRD0005{end}{fields.replace(chr(10), end)}{end}{end}".encode() + data


def test_masks_of_other_programs_are_read(tmp_path: Path) -> None:
    """Raw and big-endian NRRD of two axes or with a slice axis; big-endian and 16-bit NIfTI of three."""
    labels = (np.arange(12).reshape(1, 3, 4) % 4).astype(np.uint8)
    path = tmp_path / "other.nrrd"
    fields = "# a comment\ntype: short\ndimension: 2\nsizes: 4 3\nendian: big\nencoding: raw\nspacings: 1.5 2"
    path.write_bytes(as_nrrd(fields, labels.astype(">i2").tobytes()))
    found = read_mask(path)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.pixel_spacing_mm == (2, 1.5) and found.frame_time_s == 0
    # A line that is neither a field nor a key is not for this program.
    path.write_bytes(as_nrrd(fields + "\nwritten by hand", labels.astype(">i2").tobytes()))
    np.testing.assert_array_equal(read_mask(path).labels, labels)
    fields = (
        "type: uint8\ndimension: 4\nsizes: 4 3 1 2\nencoding: gz\nspacings: nan 1 1 0.25\n"
        "space directions: none (0, 3, 4) none none\nkey:=a: b"
    )
    movie = np.concatenate([labels, labels[:, ::-1]])
    path.write_bytes(as_nrrd(fields, gzip.compress(movie.tobytes()), "\r\n"))
    found = read_mask(path)
    np.testing.assert_array_equal(found.labels, movie)
    assert found.pixel_spacing_mm == (5, 1) and found.frame_time_s == 0.25

    path = tmp_path / "other.nii"
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 4, 3, 2, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 4, 16)
    struct.pack_into(">4f", header, 76, 1, 1.5, 2, 5)
    struct.pack_into(">f", header, 108, 352)
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + movie.astype(">i2").tobytes())
    found = read_mask(path)
    np.testing.assert_array_equal(found.labels, movie)
    assert found.pixel_spacing_mm == (2, 1.5) and found.frame_time_s == 0


def test_broken_masks_are_refused(mask: MaskMovie, tmp_path: Path) -> None:
    """Each by a sentence, never by another exception."""
    nrrd, nifti = nrrd_bytes(mask), bytearray(nifti_bytes(mask))
    raw = "type: uchar\ndimension: 2\nsizes: 2 2\nencoding: raw"

    def changed(offset: int, pattern: str, *values: float | bytes) -> bytes:
        content = bytearray(nifti)
        struct.pack_into(pattern, content, offset, *values)
        return bytes(content)

    broken = {
        "no end": b"NRRD0004\ntype: uchar",
        "real numbers": as_nrrd(raw.replace("uchar", "float"), bytes(16)),
        "other values": as_nrrd(raw, b"\0\1\2\4"),
        "too short": as_nrrd(raw, b"\0\1"),
        "elsewhere": as_nrrd(raw + "\ndata file: a.raw", b""),
        "sizes": as_nrrd(raw.replace("dimension: 2", "dimension: 3"), bytes(4)),
        "one axis": as_nrrd("type: uchar\ndimension: 1\nsizes: 4\nencoding: raw", bytes(4)),
        "two more axes": as_nrrd("type: uchar\ndimension: 4\nsizes: 1 1 2 2\nencoding: raw", bytes(4)),
        "text": as_nrrd(raw.replace("raw", "ascii"), b"0 1 2 3"),
        "no type": as_nrrd(raw.replace("type", "tope"), bytes(4)),
        "cut": nrrd[:-5],
        "not gzip": nrrd[:-30] + b"x" * 30,
        "cut gzip": gzip.compress(bytes(nifti))[:-9],
        "cut header": bytes(nifti[:60]),
        "empty": b"",
        "two files": changed(344, "<4s", b"ni1\0"),
        "complex": changed(70, "<h", 32),
        "scaled": changed(112, "<2f", 2.0, 0.0),
        "shifted": changed(112, "<2f", 1.0, 1.0),
        "size": changed(40, "<8h", 4, 33, 20, 1, 6, 1, 1, 1),
        "negative": changed(40, "<8h", 4, -33, 20, 1, 5, 1, 1, 1),
        "other": b"\x89PNG" * 200,
    }
    for name, content in broken.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(StudyError, match="readable mask"):
            read_mask(path)
    with pytest.raises(StudyError, match="cannot be read"):
        read_mask(tmp_path / "nowhere")
    with pytest.raises(StudyError, match=r"end it in \.nrrd"):
        write_mask(tmp_path / "mask.png", mask)
    with pytest.raises(StudyError, match="cannot be written"):
        write_mask(tmp_path / "nowhere" / "mask.nrrd", mask)
    with pytest.raises(StudyError, match="at most 32767"):
        nifti_bytes(MaskMovie(np.zeros((1, 1, 32768), np.uint8), (1, 1)))
