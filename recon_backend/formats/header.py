"""What the header of a raw-data file says, free of anything that names the patient or the place.

Only the fields listed here are ever taken out of a header (a list of what may pass, not of what may not), and
free text that repeats the patient's name, number or birth date, or the institution, is left out too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from recon_backend.acquisition import JSON, Sampling
from recon_backend.errors import InvalidAcquisition

SAMPLING_OF_TRAJECTORY: Mapping[str, Sampling] = {
    "cartesian": "cartesian",
    "radial": "radial",
    "goldenangle": "radial",
    "spiral": "spiral",
}
LARGEST_MATRIX = 4096
# A parsed element takes a hundred times the memory of its shortest text; real headers have some hundreds.
_MOST_TAGS = 50_000

# (name in details, path in the header, is it a number)
_DETAILS = (
    ("protocol_name", "measurementInformation/protocolName", False),
    ("sequence_name", "measurementInformation/sequenceName", False),
    ("vendor", "acquisitionSystemInformation/systemVendor", False),
    ("model", "acquisitionSystemInformation/systemModel", False),
    ("field_strength_t", "acquisitionSystemInformation/systemFieldStrength_T", True),
    ("resonance_frequency_hz", "experimentalConditions/H1resonanceFrequency_Hz", True),
    ("tr_ms", "sequenceParameters/TR", True),
    ("te_ms", "sequenceParameters/TE", True),
    ("flip_angle_deg", "sequenceParameters/flipAngle_deg", True),
)
_IDENTIFYING = (
    "subjectInformation/patientName",
    "subjectInformation/patientID",
    "subjectInformation/patientBirthdate",
    "subjectInformation/patientGender",
    "studyInformation/studyID",
    "studyInformation/accessionNumber",
    "studyInformation/referringPhysicianName",
    "acquisitionSystemInformation/institutionName",
    "acquisitionSystemInformation/stationName",
    "acquisitionSystemInformation/deviceID",
    "acquisitionSystemInformation/deviceSerialNumber",
)
# Words of such fields that name nobody; a phantom scan keeps its protocol name.
_HARMLESS = frozenset(
    ["anonymous", "anonymized", "anonymised", "hospital", "institute", "phantom", "research"]
    + ["study", "subject", "test", "unknown", "volunteer"]
)
_SHORTEST_NAME = 3


@dataclass(frozen=True)
class ScanHeader:
    """The part of a header that reconstruction needs; pairs are (y, x), lengths in mm, 0 where not stated."""

    sampling: Sampling
    encoded_matrix: tuple[int, int]
    encoded_field_of_view_mm: tuple[float, float]
    matrix: tuple[int, int]
    field_of_view_mm: tuple[float, float]
    centre_line: int | None
    last_repetition: int | None
    last_phase: int | None
    repetition_time_s: float | None
    details: Mapping[str, JSON]
    frame_time_s: float | None = None  # wins over time stamps


@dataclass(frozen=True)
class Identity:
    """Words that name the patient or the place; used to keep them out, never stored."""

    words: frozenset[str]

    def is_named_in(self, text: str) -> bool:
        """True if the text holds one of the words, whatever its case and punctuation."""
        plain = _letters_and_digits(text)
        return any(word in plain for word in self.words)


def parse_xml(text: bytes) -> ElementTree.Element:
    """The root of an ISMRMRD header, its tags without namespace.

    Raises:
        InvalidAcquisition: it is no XML, no ISMRMRD header, or declares entities.
    """
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise InvalidAcquisition("the XML header declares a document type, which ISMRMRD headers never do.")
    if text.count(b"<") > _MOST_TAGS:
        raise InvalidAcquisition(
            "the XML header has far more elements than any ISMRMRD header; it is damaged."
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InvalidAcquisition("the XML header is damaged and cannot be parsed.") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "ismrmrdHeader":
        raise InvalidAcquisition("the XML header is not an ISMRMRD header.")
    return root


def identity_of(root: ElementTree.Element) -> Identity:
    """The words in the header that must not be copied."""
    return identity_of_texts(element.text or "" for path in _IDENTIFYING for element in root.iterfind(path))


def identity_of_texts(texts: Iterable[str]) -> Identity:
    """The words of names, numbers and addresses that must not be copied."""
    parts = [part for text in texts for part in (text, *re.split(r"[\W_]+", text))]
    words = {_letters_and_digits(part) for part in parts}
    return Identity(
        frozenset(word for word in words if len(word) >= _SHORTEST_NAME and not _is_harmless(word))
    )


def scan_header(root: ElementTree.Element, encoding_index: int, identity: Identity) -> ScanHeader:
    """Take out of a parsed header what reconstruction needs.

    Args:
        root: from `parse_xml`.
        encoding_index: which `encoding` element the imaging readouts refer to.
        identity: from `identity_of`.

    Raises:
        InvalidAcquisition: a field is missing or impossible; the message names it.
    """
    encodings = root.findall("encoding")
    if encoding_index >= len(encodings):
        raise InvalidAcquisition(
            f"readouts refer to encoding {encoding_index}, but the header describes {len(encodings)}."
        )
    encoding = encodings[encoding_index]
    trajectory = (encoding.findtext("trajectory") or "").strip().lower()
    if trajectory not in SAMPLING_OF_TRAJECTORY:
        # An odd value is repeated only if it looks like a keyword: headers hold private text in odd places.
        shown = f"'{trajectory}'" if re.fullmatch(r"[a-z]{1,20}", trajectory) else "missing or unreadable"
        raise InvalidAcquisition(
            f"the trajectory in the header is {shown}; expected one of {', '.join(SAMPLING_OF_TRAJECTORY)}."
        )
    details: dict[str, JSON] = {}
    for name, path, is_number in _DETAILS:
        text = (root.findtext(path) or "").strip()
        value = _number(text) if is_number else text
        if value and not (isinstance(value, str) and identity.is_named_in(value)):
            details[name] = value
    details["trajectory"] = trajectory
    thickness_mm = _number(encoding.findtext("encodedSpace/fieldOfView_mm/z"))
    if thickness_mm:
        details["slab_thickness_mm"] = thickness_mm
    tr_ms = details.get("tr_ms")
    return ScanHeader(
        sampling=SAMPLING_OF_TRAJECTORY[trajectory],
        encoded_matrix=_matrix(encoding, "encodedSpace"),
        encoded_field_of_view_mm=_field_of_view(encoding, "encodedSpace"),
        matrix=_matrix(encoding, "reconSpace"),
        field_of_view_mm=_field_of_view(encoding, "reconSpace"),
        centre_line=_limit(encoding, "kspace_encoding_step_1", "center"),
        last_repetition=_limit(encoding, "repetition", "maximum"),
        last_phase=_limit(encoding, "phase", "maximum"),
        repetition_time_s=tr_ms / 1000 if isinstance(tr_ms, float) and tr_ms > 0 else None,
        details=details,
    )


def _matrix(encoding: ElementTree.Element, space: str) -> tuple[int, int]:
    sizes = [_number(encoding.findtext(f"{space}/matrixSize/{axis}")) for axis in "yx"]
    if any(size is None or size != int(size) or not 1 <= size <= LARGEST_MATRIX for size in sizes):
        shown = " x ".join("missing" if size is None else f"{size:g}" for size in sizes)
        raise InvalidAcquisition(
            f"the header's {space} matrix is {shown} (y x x); "
            f"expected whole numbers from 1 to {LARGEST_MATRIX}."
        )
    return int(sizes[0] or 0), int(sizes[1] or 0)


def _field_of_view(encoding: ElementTree.Element, space: str) -> tuple[float, float]:
    lengths = [_number(encoding.findtext(f"{space}/fieldOfView_mm/{axis}")) or 0.0 for axis in "yx"]
    return max(lengths[0], 0.0), max(lengths[1], 0.0)


def _limit(encoding: ElementTree.Element, counter: str, which: str) -> int | None:
    # The schema's name is kspace_encoding_step_1; some converters write it as the counter is called.
    for name in (counter, counter.replace("encoding", "encode")):
        value = _number(encoding.findtext(f"encodingLimits/{name}/{which}"))
        if value is not None and value == int(value):
            return int(value)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _letters_and_digits(text: str) -> str:
    return "".join(_characters(text))


def _characters(text: str) -> Iterable[str]:
    return (character for character in text.casefold() if character.isalnum())


def _is_harmless(word: str) -> bool:
    rest = word
    for harmless in _HARMLESS:
        rest = rest.replace(harmless, "")
    return len(rest) < _SHORTEST_NAME
