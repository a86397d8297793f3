"""Writers of raw files for the tests, from the formats' descriptions and without the readers' helpers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

NOISE, PHASCOR, REFLECT, ACQEND, SYNCDATA, PATREF, PATREF_AND_IMAGE, DUMMY, LAST_IN_SLICE = (
    1 << bit for bit in (25, 21, 24, 0, 5, 22, 23, 51, 29)
)
COUNTERS = "Lin Ave Sli Par Eco Phs Rep Set Seg Ida Idb Idc Idd Ide".split()

_VB = struct.Struct("<IiIIIQHH14H2HHHfIHH4H4H7fHH")
_VD = struct.Struct("<IiIIIHHiiiiQHH14H2HHHfIHH7f24H4HHHI")
_CHANNEL = struct.Struct("<IiIiIIHHI")
assert (_VB.size, _VD.size, _CHANNEL.size) == (128, 192, 32)


@dataclass
class Line:
    """One line of a twix file: samples (coil, sample)."""

    samples: np.ndarray
    flags: int = 1 << 3
    counters: dict[str, int] = field(default_factory=dict)
    centre_column: int = 0
    centre_line: int = 0
    ticks: int = 0
    cut_off: tuple[int, int] = (0, 0)


def protocol(values: dict[str, object], dicom: dict[str, object]) -> bytes:
    """A protocol text: buffers with XProtocol and ASCCONV, its length a multiple of 32 bytes."""
    params = []
    for name, value in dicom.items():
        kind = "String" if isinstance(value, str) else "Double" if isinstance(value, float) else "Long"
        body = f'"{value}"' if kind == "String" else f"<Precision> 6  {value}" if kind == "Double" else value
        params.append(f'<Param{kind}."{name}">  {{ {body}  }}')
    lines = [f"{name}\t = \t{value}" for name, value in values.items()]
    ascconv = "\n".join(["### ASCCONV BEGIN ###", *lines, "### ASCCONV END ###", ""])
    buffers = {"Config": "<XProtocol>", "Dicom": "\n".join(params), "MeasYaps": ascconv}
    body = b""
    for name, text in buffers.items():
        data = text.encode("latin-1") + b"\0"
        body += name.encode() + b"\0" + struct.pack("<I", len(data)) + data
    length = max(-(-(8 + len(body)) // 32) * 32, 10_016)  # below 10,000 it would look like a VD directory
    return struct.pack("<II", length, len(buffers)) + body.ljust(length - 8, b"\0")


def twix_line(version: str, line: Line, number: int) -> bytes:
    """The bytes of a line."""
    coils, length = line.samples.shape
    counters = [line.counters.get(name, 0) for name in COUNTERS]
    samples = np.ascontiguousarray(line.samples, "<c8")
    if version == "VB":
        parts = []
        for coil in range(coils):
            head = _VB.pack(
                128 + 8 * length, 7, number, line.ticks, 0, line.flags, length, coils, *counters,
                *line.cut_off, line.centre_column, 0, 0.0, 0, line.centre_line, 0, *[0] * 8, *[0.0] * 7,
                coil, 0,
            )  # fmt: skip
            parts.append(head + samples[coil].tobytes())
        return b"".join(parts)
    size = 192 + coils * (32 + 8 * length)
    head = _VD.pack(
        size, 7, number, line.ticks, 0, 0, 0, 0, 0, 0, 0, line.flags, length, coils, *counters,
        *line.cut_off, line.centre_column, 0, 0.0, 0, line.centre_line, 0, *[0.0] * 7, *[0] * 24, *[0] * 4,
        0, 0, 0,
    )  # fmt: skip
    channels = [
        _CHANNEL.pack((32 + 8 * length) << 8, 7, number, 0, 0, 0, coil, 0, 0) + samples[coil].tobytes()
        for coil in range(coils)
    ]
    return head + b"".join(channels)


def side_block(version: str, payload: int = 100) -> bytes:
    """A block of physiological data between lines."""
    if version == "VB":
        size = 128 + payload
        return _VB.pack(size, 7, 0, 0, 0, SYNCDATA, 0, 0, *[0] * 16, 0, 0, 0.0, 0, 0, 0, *[0] * 8,
                        *[0.0] * 7, 0, 0) + bytes(payload)  # fmt: skip
    size = 192 + payload
    return _VD.pack(size, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, SYNCDATA, 0, 0, *[0] * 16, 0, 0, 0.0, 0, 0, 0,
                    *[0.0] * 7, *[0] * 28, 0, 0, 0) + bytes(payload)  # fmt: skip


def write_twix(
    path: Path,
    version: str,
    measurements: Sequence[tuple[bytes, Sequence[Line | bytes]]],
    *,
    patient: str = "DOE^JANE",
    end: bool = True,
) -> Path:
    """Write a twix file; VB has one measurement. Bytes among the lines are written as they are."""
    blobs = []
    for text, lines in measurements:
        parts = [text]
        for number, line in enumerate(lines, start=1):
            parts.append(line if isinstance(line, bytes) else twix_line(version, line, number))
        if end:
            parts.append(twix_line(version, Line(np.zeros((1, 16)), flags=ACQEND), len(lines) + 1))
        blobs.append(b"".join(parts))
    if version == "VB":
        assert len(blobs) == 1
        path.write_bytes(blobs[0])
        return path
    offset, directory, body = 10240, b"", b""
    for number, blob in enumerate(blobs):
        directory += struct.pack(
            "<IIQQ64s64s", number, number, offset + len(body), len(blob), patient.encode(), b"protocol"
        )
        body += blob.ljust(-(-len(blob) // 512) * 512, b"\0")
    head = struct.pack("<II", 0, len(blobs)) + directory.ljust(64 * 152, b"\0")
    path.write_bytes(head.ljust(10240, b"\0") + body)
    return path


@dataclass
class TwixScan:
    """A scan of the fixture `scan` as a twix file."""

    scan: object
    version: str = "VD"
    values: dict[str, object] = field(default_factory=dict)
    dicom: dict[str, object] = field(default_factory=dict)
    centre: int | None = None

    def text(self) -> bytes:
        """The protocol, with the names of a patient in it."""
        height, width = self.scan.matrix
        values = {
            "tSequenceFileName": '""%CustomerSeq%\\realtime""',
            "tProtocolName": '""SAX realtime""',
            "alTR[0]": "3000",
            "alTE[0]": "1500",
            "adFlipAngleDegree[0]": "60.0",
            "sSliceArray.asSlice[0].dThickness": "8.0",
            "sSliceArray.asSlice[0].dPhaseFOV": "240.0",
            "sSliceArray.asSlice[0].dReadoutFOV": "200.0" if width != height else "240.0",
            "sKSpace.lBaseResolution": str(width),
            "sKSpace.lPhaseEncodingLines": str(height),
            "sKSpace.ucTrajectory": {"cartesian": "0x1", "radial": "0x2", "spiral": "0x4"}[
                self.scan.sampling
            ],
            "sRXSPEC.alDwellTime[0]": "2000",
            **self.values,
        }
        dicom = {
            "PatientName": "Doe^Jane",
            "PatientID": "HOSP-0815",
            "PatientBirthDay": "19800229",
            "InstitutionName": "Saint Elsewhere",
            "ManufacturersModelName": "Skyra",
            "flMagneticFieldStrength": 1.5,
            "flReadoutOSFactor": 2.0,
            **self.dicom,
        }
        return protocol(
            {name: value for name, value in values.items() if value is not None},
            {name: value for name, value in dicom.items() if value is not None},
        )

    def lines(self) -> list[Line]:
        """The imaging lines, from the same samples as the ISMRMRD file of the scan."""
        lines = []
        for readout in self.scan.acquisitions():
            if readout.isFlagSet(19) or readout.isFlagSet(27):  # noise, dummy
                continue
            lines.append(
                Line(
                    readout.data,
                    counters={"Lin": readout.idx.kspace_encode_step_1, "Rep": readout.idx.repetition},
                    centre_column=readout.center_sample,
                    centre_line=self.scan.centre_line,
                    ticks=readout.acquisition_time_stamp,
                )
            )
        return lines

    def write(self, path: Path, lines: Sequence[Line | bytes] | None = None, **options: object) -> Path:
        """Write the file."""
        chosen = self.lines() if lines is None else lines
        return write_twix(path, self.version, [(self.text(), chosen)], **options)


def write_cfl(path: Path, array: np.ndarray) -> Path:
    """Write an array, its axes in BART's order, as a pair .cfl and .hdr; returns the .cfl."""
    dims = [*array.shape, *[1] * (16 - array.ndim)]
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n# Command\ntest\n")
    path.with_suffix(".cfl").write_bytes(np.asarray(array, np.complex64).tobytes(order="F"))
    return path.with_suffix(".cfl")
