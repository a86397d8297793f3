"""Masks as pictures for other programs: NRRD and NIfTI-1, written and read back pixel by pixel.

One byte a pixel and frame: 0 nothing, 1 signal, 2 background, 3 both (their sum). Column i of the image is
index i of the first axis, row j index j of the second, in both formats; NRRD has the axes (x, y, frame),
NIfTI (x, y, 1, frame). Neither file says how the image lies in the patient, because the study does not know
it.

Formats: NRRD 0004 (teem.sourceforge.net/nrrd/format.html), NIfTI-1.1 (nifti.nimh.nih.gov/nifti-1).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies.errors import StudyError
from studies.storage import write_durably
from studies.timed_shapes import TimedShapes

SIGNAL, BACKGROUND = 1, 2
NIFTI_HEADER = 348
NIFTI_OFFSET = 352
NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
NIFTI_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
"""Codes of s, ms and µs."""
NRRD_TYPES = {
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
}
MAXIMUM_BYTES = 2**31


@dataclass(frozen=True, eq=False)
class MaskMovie:
    """Labels of a movie's pixels."""

    labels: NDArray[np.uint8]
    """(t, y, x)."""
    pixel_spacing_mm: tuple[float, float]
    """(y, x)."""
    frame_time_s: float = 0.0
    """Time between two frames; 0 if it is not known."""

    @property
    def signal(self) -> NDArray[np.bool_]:
        """Pixels of the signal region (t, y, x)."""
        return np.asarray(self.labels & SIGNAL > 0)

    @property
    def background(self) -> NDArray[np.bool_]:
        """Pixels of the background region (t, y, x)."""
        return np.asarray(self.labels & BACKGROUND > 0)


def label_movie(
    shapes: TimedShapes,
    frame_times_s: NDArray[np.float64],
    image_shape: tuple[int, int],
    pixel_spacing_mm: tuple[float, float],
) -> MaskMovie:
    """Labels of what was drawn, in every frame. Raises StudyError where a region leaves the image."""
    frames = len(frame_times_s)
    labels = np.zeros((frames, *image_shape), np.uint8)
    labels += SIGNAL * shapes.masks("signal", frames, image_shape).astype(np.uint8)
    labels += BACKGROUND * shapes.masks("background", frames, image_shape).astype(np.uint8)
    step = float(np.median(np.diff(frame_times_s))) if frames > 1 else 0.0
    return MaskMovie(labels, pixel_spacing_mm, step)


def write_mask(path: Path, mask: MaskMovie) -> None:
    """Write a mask in the format of the file's name: .nrrd, .nii or .nii.gz.

    Raises:
        StudyError: Another name, or the file cannot be written.
    """
    name = path.name.lower()
    if name.endswith(".nrrd"):
        content = nrrd_bytes(mask)
    elif name.endswith((".nii", ".nii.gz")):
        content = nifti_bytes(mask)
        if name.endswith(".gz"):
            content = gzip.compress(content, mtime=0)
    else:
        raise StudyError(f"'{path.name}' is no name for a mask: end it in .nrrd, .nii or .nii.gz.")
    try:
        write_durably(path, content)
    except OSError as error:
        raise StudyError(f"The mask '{path}' cannot be written: {error.strerror}.") from error


def read_mask(path: Path) -> MaskMovie:
    """Read a mask in NRRD (attached data, raw or gzip) or NIfTI-1 (single file).

    Raises:
        StudyError: The file cannot be read, is of neither format, or holds other values than 0…3.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = _unzipped(content)
        if content[:4] == b"NRRD":
            return _parse_nrrd(content)
        return _parse_nifti(content)
    except OSError as error:
        raise StudyError(f"The mask '{path.name}' cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, struct.error, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise StudyError(f"'{path.name}' is not a readable mask in NRRD or NIfTI-1: {error}.") from error


def _unzipped(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    data = unpacker.decompress(content, MAXIMUM_BYTES)
    if not unpacker.eof:
        raise ValueError("the compressed data are cut off or too large")
    return data


def _labels(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    labels = values.astype(np.uint8)
    if not np.array_equal(labels, values) or labels.max(initial=0) > (SIGNAL | BACKGROUND):
        raise ValueError("it holds other values than 0 (nothing), 1 (signal), 2 (background), 3 (both)")
    return labels


# NRRD


def nrrd_bytes(mask: MaskMovie) -> bytes:
    """The file's content, gzip inside."""
    frames, rows, columns = mask.labels.shape
    spacing_y, spacing_x = mask.pixel_spacing_mm
    header = [
        "NRRD0004",
        "# 0 nothing, 1 signal, 2 background, 3 both",
        "type: unsigned char",
        "dimension: 3",
        "space dimension: 2",
        f"sizes: {columns} {rows} {frames}",
        f"space directions: ({spacing_x!r},0) (0,{spacing_y!r}) none",
        "kinds: domain domain list",
        'labels: "x" "y" "frame"',
        'space units: "mm" "mm"',
        "space origin: (0,0)",
        "encoding: gzip",
        f"frame_time_s:={mask.frame_time_s!r}",
    ]
    data = gzip.compress(np.ascontiguousarray(mask.labels, np.uint8).tobytes(), mtime=0)
    return ("\n".join(header) + "\n\n").encode("ascii") + data


def _parse_nrrd(content: bytes) -> MaskMovie:
    head, separator, data = content.partition(b"\n\n")
    crlf_head, crlf_separator, crlf_data = content.partition(b"\r\n\r\n")
    if crlf_separator and len(crlf_head) < len(head):
        head, separator, data = crlf_head, crlf_separator, crlf_data
    if not separator:
        raise ValueError("its header has no end")
    fields: dict[str, str] = {}
    for line in head.decode("utf-8").splitlines()[1:]:
        if line.startswith("#"):
            continue
        for mark in (":=", ": "):
            if mark in line:
                name, _, value = line.partition(mark)
                fields[name.strip().lower()] = value.strip()
                break
    if "data file" in fields or "datafile" in fields:
        raise ValueError("its data are in another file; save them in one")
    kind = NRRD_TYPES.get(fields["type"].lower())
    if kind is None:
        raise ValueError(f"its type is '{fields['type']}', but whole numbers are needed")
    sizes = [int(word) for word in fields["sizes"].split()]
    if len(sizes) != int(fields["dimension"]):
        raise ValueError("dimension and sizes differ")
    encoding = fields["encoding"].lower()
    if encoding in ("gzip", "gz"):
        data = _unzipped(data)
    elif encoding != "raw":
        raise ValueError(f"its encoding is '{encoding}', but raw or gzip is needed")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    steps = _nrrd_steps(fields, len(sizes))
    values = np.frombuffer(data, np.dtype(order + kind), math.prod(sizes))
    frame_time = float(fields.get("frame_time_s", steps[-1] if len(sizes) > 2 and steps[-1] > 0 else 0.0))
    return MaskMovie(_labels(_as_movie(values, sizes)), (steps[1], steps[0]), frame_time)


def _nrrd_steps(fields: dict[str, str], axes: int) -> list[float]:
    """Distance of two samples on every axis; 0 where it is not given, 1 on the image's axes."""
    steps = [0.0] * axes
    if "spacings" in fields:
        steps = [float(word) for word in fields["spacings"].split()]
    if "space directions" in fields:
        words = fields["space directions"].replace(", ", ",").split()
        for axis, word in enumerate(words[:axes]):
            if word != "none":
                steps[axis] = math.hypot(*(float(part) for part in word.strip("()").split(",")))
    steps = [step if math.isfinite(step) and step > 0 else 0.0 for step in steps]
    return [step or 1.0 for step in steps[:2]] + steps[2:]


def _as_movie(values: NDArray[np.generic], sizes: list[int]) -> NDArray[np.generic]:
    """Values with the first axis fastest as (t, y, x); one axis besides x and y may be longer than 1."""
    if len(sizes) < 2 or min(sizes) < 1 or sum(size > 1 for size in sizes[2:]) > 1:
        raise ValueError(f"its size is {' × '.join(map(str, sizes))}, but (x, y, frame) is needed")
    return values.reshape(math.prod(sizes[2:]), sizes[1], sizes[0])


# NIfTI


def nifti_bytes(mask: MaskMovie) -> bytes:
    """The file's content, not compressed: header, four bytes that say "no extension", labels."""
    frames, rows, columns = mask.labels.shape
    spacing_y, spacing_x = mask.pixel_spacing_mm
    header = nifti_header(
        (columns, rows, 1, frames),
        (spacing_x, spacing_y, 1.0, mask.frame_time_s),
        data_type=2,  # unsigned byte
        bits=8,
        description=b"0 nothing, 1 signal, 2 background, 3 both",
    )
    return header + np.ascontiguousarray(mask.labels, np.uint8).tobytes()


def nifti_header(
    sizes: tuple[int, int, int, int],
    steps: tuple[float, float, float, float],
    *,
    data_type: int,
    bits: int,
    description: bytes,
    first_time_s: float = 0.0,
) -> bytes:
    """Everything before the data of a NIfTI-1 file: header and four bytes that say "no extension".

    Args:
        sizes: (x, y, z, t).
        steps: mm, mm, mm, s.
        data_type: NIfTI's code.
        bits: of a value.
        description: at most 79 bytes.
        first_time_s: time of the first frame.

    Raises:
        StudyError: An axis is too long for the format.
    """
    if max(sizes) > 32767:
        raise StudyError("A NIfTI file holds at most 32767 pixels or frames along an axis.")
    header = bytearray(NIFTI_HEADER)
    struct.pack_into("<i", header, 0, NIFTI_HEADER)
    struct.pack_into("<c", header, 38, b"r")
    struct.pack_into("<8h", header, 40, 4, *sizes, 1, 1, 1)
    struct.pack_into("<hh", header, 70, data_type, bits)
    struct.pack_into("<8f", header, 76, 1.0, *steps, 0, 0, 0)
    struct.pack_into("<3f", header, 108, NIFTI_OFFSET, 1.0, 0.0)  # offset of the data; scaling by 1, plus 0
    struct.pack_into("<B", header, 123, 2 | 8)  # millimetres and seconds
    struct.pack_into("<f", header, 136, first_time_s)
    struct.pack_into("<80s", header, 148, description)
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header) + bytes(4)


def _parse_nifti(content: bytes) -> MaskMovie:
    order = next((sign for sign in "<>" if struct.unpack_from(f"{sign}i", content)[0] == NIFTI_HEADER), None)
    if order is None or content[344:348] != b"n+1\0":
        raise ValueError("it begins like neither")
    dimensions = struct.unpack_from(f"{order}8h", content, 40)
    sizes = list(dimensions[1 : 1 + min(max(dimensions[0], 0), 7)])
    steps = struct.unpack_from(f"{order}8f", content, 76)
    (code,) = struct.unpack_from(f"{order}h", content, 70)
    if code not in NIFTI_TYPES:
        raise ValueError(f"its data type {code} is not one of whole or real numbers")
    offset, slope, intercept = struct.unpack_from(f"{order}3f", content, 108)
    if slope not in (0.0, 1.0) or (slope == 1.0 and intercept != 0.0):
        raise ValueError("its values are scaled")
    values = np.frombuffer(content, np.dtype(order + NIFTI_TYPES[code]), math.prod(sizes), int(offset))
    frame_time = float(steps[4]) * NIFTI_SECONDS.get(content[123] & 0x38, 1.0) if len(sizes) > 3 else 0.0
    return MaskMovie(_labels(_as_movie(values, sizes)), (float(steps[2]), float(steps[1])), frame_time)
