"""The protocol text of a Siemens twix file: the few numbers that reconstruction needs, found by their names.

The text is a megabyte of two dialects, `name = value` lines ("ASCCONV") and `<ParamLong."name"> { value }`
("XProtocol"). It is searched for the names in a list, never parsed as a whole: what is not asked for, above
all what names the patient, is not taken, and a damaged index cannot ask for memory.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from recon_backend.acquisition import JSON
from recon_backend.formats.header import LARGEST_MATRIX, Identity, identity_of_texts

TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral", 8: "blade"}

_LONGEST_VALUE = 600
_MOST_MATCHES = 8
_IDENTIFYING = (
    "PatientName tPatientName PatientsName PatientID PatientLOID PatientBirthDay InstitutionName "
    "InstitutionAddress DeviceSerialNumber tPerfPhysiciansName tStudyDescription StudyLOID"
).split()
_PROPERTY = re.compile(r"<\w+>\s*(\"[^\"]*\"|[^\s\"]+)?")


@dataclass(frozen=True)
class Protocol:
    """What a measurement's protocol says; lengths in mm, times in s, 0 or None where it does not say.

    Attributes:
        trajectory: 1 Cartesian, 2 radial, 4 spiral, 8 blade.
        base: pixels along the readout.
        lines: phase-encoding lines.
        fourier_lines: length of the Fourier transform along phase encoding.
        oversampling: of the readout.
        read_mm: field of view along the readout.
        phase_mm: field of view along phase encoding, oversampling included.
        repetition_time_s: TR.
        dwell_s: time from sample to sample.
        regridding: 1 if samples are evenly spaced, else the gradient ramps are sampled.
        details: as in `Acquisition`.
        identity: words that must not be copied.
    """

    trajectory: int
    base: int
    lines: int
    fourier_lines: int
    oversampling: float
    read_mm: float
    phase_mm: float
    repetition_time_s: float | None
    dwell_s: float | None
    regridding: int
    details: dict[str, JSON]
    identity: Identity


def parse(text: bytes, names: str) -> Protocol:
    """Take out of the text of one measurement what reconstruction needs.

    Args:
        text: the measurement's protocol.
        names: names of the patient in the file's directory.
    """
    source = _Text(text)
    identity = identity_of_texts([names, *(value for name in _IDENTIFYING for value in source.strings(name))])
    details: dict[str, JSON] = {}
    for name, value in (
        ("protocol_name", source.word("tProtocolName")),
        ("sequence_name", source.word("tSequenceFileName").replace("\\", "/").rpartition("/")[2]),
        ("model", source.word("ManufacturersModelName")),
    ):
        # A protocol may be named after its patient.
        if value and not identity.is_named_in(value):
            details[name] = value
    details["vendor"] = "SIEMENS"
    tr_us, te_us = source.number("alTR[0]"), source.number("alTE[0]")
    for name, number in (
        ("field_strength_t", source.number("flMagneticFieldStrength")),
        ("resonance_frequency_hz", source.number("sTXSPEC.asNucleusInfo[0].lFrequency")),
        ("tr_ms", tr_us and tr_us / 1000),
        ("te_ms", te_us and te_us / 1000),
        ("flip_angle_deg", source.number("adFlipAngleDegree[0]")),
        ("slab_thickness_mm", source.number("sSliceArray.asSlice[0].dThickness")),
    ):
        if number:
            details[name] = number
    oversampling = source.number("flReadoutOSFactor")
    more = source.number("sKSpace.dPhaseOversamplingForDialog") or 0.0
    dwell_ns = source.number("sRXSPEC.alDwellTime[0]")
    return Protocol(
        trajectory=source.whole("sKSpace.ucTrajectory") or 1,
        base=source.whole("sKSpace.lBaseResolution"),
        lines=source.whole("sKSpace.lPhaseEncodingLines"),
        fourier_lines=source.whole("iPEFTLength"),
        oversampling=oversampling if oversampling and 1 <= oversampling <= 16 else 0.0,
        read_mm=_length(source.number("sSliceArray.asSlice[0].dReadoutFOV")),
        phase_mm=_length(source.number("sSliceArray.asSlice[0].dPhaseFOV")) * (1 + min(max(more, 0.0), 4.0)),
        repetition_time_s=tr_us / 1e6 if tr_us and 0 < tr_us < 1e9 else None,
        dwell_s=dwell_ns / 1e9 if dwell_ns and dwell_ns > 0 else None,
        regridding=source.whole("alRegridMode") or 1,
        details=details,
        identity=identity,
    )


def _length(value: float | None) -> float:
    return value if value is not None and 0 < value < 1e4 else 0.0


class _Text:
    """Values by name in either dialect; the first one that is not empty."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def _values(self, name: str) -> list[str]:
        found: list[str] = []
        plain = name.encode()
        for before, after, closing in ((b"\n", None, b"\n"), (b'."', b'">', b"}")):
            key = before + plain + (after or b"")
            position = -1
            for _ in range(_MOST_MATCHES):
                position = self.text.find(key, position + 1)
                if position < 0:
                    break
                start = position + len(key)
                value = self.text[start : start + _LONGEST_VALUE].partition(closing)[0].decode("latin-1")
                sign, _, rest = value.partition("=" if after is None else "{")
                if sign.strip() == "" and rest:
                    found.append(_PROPERTY.sub(" ", rest) if after is not None else rest)
        return found

    def number(self, name: str) -> float | None:
        """A number, also a hexadecimal one; the first of a list."""
        for value in self._values(name):
            word = next(iter(value.split()), "")
            try:
                number = float(int(word, 16)) if word.lower().startswith("0x") else float(word)
            except (ValueError, OverflowError):
                continue
            if math.isfinite(number):
                return number
        return None

    def whole(self, name: str) -> int:
        """A whole number from 0 to the largest matrix; 0 if there is none."""
        number = self.number(name)
        return int(number) if number is not None and 0 <= number <= LARGEST_MATRIX else 0

    def strings(self, name: str) -> list[str]:
        """All texts of that name, without quotation marks; several in one value stay together."""
        return [" ".join(value.replace('"', " ").split()) for value in self._values(name)]

    def word(self, name: str) -> str:
        """The first text that is not empty; control characters do not pass."""
        for text in self.strings(name):
            plain = "".join(character for character in text if character.isprintable()).strip()
            if plain:
                return plain[:100]
        return ""
