"""A study's protocol as a file: YAML that people write, read and sign, checked field by field.

Rule: every field of the file is named in `FIELDS`, every field that is not is an error, and every error names
the file, the line, the field, its value and what was expected. Reading what was written gives the same
design, and the same design has the same SHA-256 whatever the file looked like: `Design.sha256` is that of the
canonical JSON of its values, which is what the lock writes into the log.
"""

from __future__ import annotations

import difflib
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from studies import storage
from studies.errors import StudyError
from studies.names import checked_arms, checked_readers, clear_text, person_name
from studies.protocol import (
    ENDPOINTS,
    RECOMMENDED,
    SAMPLINGS,
    SPEEDS,
    STRATA,
    FieldError,
    PlannedScan,
    Protocol,
    ProtocolSecret,
    protocol_sha256,
)

FORMAT = "blindcine-protocol-1"
MAXIMUM_BYTES = 4 * 2**20
SCAN_FIELDS = ("file", "subject", "plane", "sampling", "label", "practice")
FIELDS: Mapping[str, str] = {
    "format": "",
    "name": "The study's name; readers see it, so it must not name a method.",
    "arms": "Methods compared, 2 to 6. Secret until unblinding: keep this file away from the readers.",
    "seed": "Of the readers' schedules; null: drawn at random (best: readers can find a short one).",
    "readers": "Who will read; another name gets another order.",
    "endpoints": f"Of {', '.join(ENDPOINTS)}; the first is the primary one.",
    "strata": f"Results are tabulated and positions balanced within each combination of {', '.join(STRATA)}.",
    "alpha": "Significance level, two-sided, family-wise within each endpoint and stratum.",
    "measurement_window_s": "SNR and edge sharpness are averaged over so many seconds.",
    "grey_scale": "One rule for all arms of a clip: least_squares or joint_percentile.",
    "crop_mm": "[height, width] of the middle part that readers see; null: the whole image.",
    "speed": f"Playback speed at the beginning: {', '.join(f'{s:g}' for s in SPEEDS)}; 1 is the true speed.",
    "must_view_loops": "Complete passes to be seen before a ranking is taken.",
    "repeat_share": "Share of the clips that each reader is shown twice without being told; 0: none.",
    "repeat_minimum": "At least so many clips are repeated.",
    "break_minutes": "After so many minutes of reading a break is suggested.",
    "guess_clips": (
        "Of so many clips each reader, after the last, guesses which movie is which (at most all); 0: none."
    ),
    "scans": (
        "Raw-data files, relative to this file: file, subject, plane; sampling and label if you like; "
        "practice: true for cases that come first and are never analysed."
    ),
}
"""The fields of a protocol file in its order, and the comment that is written above each."""
_LISTS = ("endpoints", "strata", "readers", "crop_mm")


@dataclass(frozen=True)
class Design:
    """All that is decided before a study is read.

    Raises:
        StudyError: when names are not acceptable: empty, twice, or naming an arm.
    """

    protocol: Protocol
    arms: tuple[str, ...]
    seed: str | None = None
    """None lets the study draw one."""
    scans: tuple[PlannedScan, ...] = ()

    def __post_init__(self) -> None:
        """Check what needs arms and open fields together."""
        checked_arms(self.arms)
        clear_text("study name", self.protocol.name, self.arms)
        if self.protocol.readers:
            checked_readers(self.protocol.readers, self.arms)
        if self.protocol.arm_count != len(self.arms):
            raise FieldError("arms", list(self.arms), f"a list of {self.protocol.arm_count} methods")
        for number, scan in enumerate(self.scans, start=1):
            self._check_scan(f"scans[{number}]", scan)
        if len({scan.file for scan in self.scans}) != len(self.scans):
            raise FieldError("scans", [scan.file for scan in self.scans], "every file once")

    def _check_scan(self, place: str, scan: PlannedScan) -> None:
        hidden = (*self.arms, Path(scan.file).name)
        clear_text(f"subject in {place}", scan.subject, hidden)
        clear_text(f"plane in {place}", scan.plane, hidden)
        if scan.sampling and scan.sampling not in SAMPLINGS:
            raise FieldError(f"{place}.sampling", scan.sampling, f"one of {', '.join(SAMPLINGS)}")
        others = [other for other in self.scans if other.subject == scan.subject]
        if len({other.practice for other in others}) > 1:
            raise FieldError(
                f"{place}.subject",
                scan.subject,
                "a subject that has either practice cases or study scans, not both",
            )

    @property
    def secret(self) -> ProtocolSecret:
        """What is kept from the readers. Raises StudyError without a seed."""
        if self.seed is None:
            raise StudyError("The protocol has no seed yet: give one, or let a study draw it.")
        return ProtocolSecret(arms=self.arms, seed=self.seed, scans=self.scans)

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical values, which the lock records. Raises StudyError without a seed."""
        return protocol_sha256(self.protocol, self.secret)

    def changed(self, changes: Mapping[str, Any]) -> Design:
        """Return the design with fields of the file replaced. Raises StudyError as `from_fields`."""
        unknown = [name for name in changes if name not in FIELDS or name in ("format", "scans")]
        if unknown:
            known = [name for name in FIELDS if name not in ("format", "scans")]
            raise StudyError(_unknown_field(unknown[0], known))
        return Design.from_fields({**self.to_fields(), **changes})

    # Values

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of the file in their order, JSON-ready."""
        values = self.protocol.as_fields()
        del values["arm_count"]
        values |= {"format": FORMAT, "arms": list(self.arms), "seed": self.seed}
        values["scans"] = [scan.to_dict() for scan in self.scans]
        return {name: values[name] for name in FIELDS}

    @classmethod
    def from_fields(cls, values: Mapping[str, Any], lines: _Lines | None = None) -> Design:
        """Make a design from the fields of a file; fields left out have the value that is recommended.

        Args:
            values: by field.
            lines: where each field stands, for messages.

        Raises:
            StudyError: naming field, value, what was expected and, where known, the line.
        """
        places = lines or _Lines("the protocol")
        try:
            return _design(values, places)
        except FieldError as error:
            raise places.error(error.field, error.value, error.expected) from error

    # Files

    def to_yaml(self) -> str:
        """Return the file's text: every field, each under a comment that explains it."""
        parts = ["# Protocol of a blinded reader study, for `blindcine study design` and `study create`.\n"]
        for name, value in self.to_fields().items():
            if FIELDS[name]:
                parts.append(f"\n{textwrap.indent(textwrap.fill(FIELDS[name], 98), '# ')}\n")
            if name == "scans" and value:
                parts.append(f"{name}:\n" + "".join(f"  - {_inline(scan)}\n" for scan in value))
            else:
                parts.append(f"{name}: {_inline(value)}\n")
        return "".join(parts)

    @classmethod
    def from_yaml(cls, text: str, source: str = "the protocol") -> Design:
        """Read a file's text.

        Args:
            text: YAML.
            source: the file's name, for messages.

        Raises:
            StudyError: naming source, line, field, value and what was expected.
        """
        values, lines = _parse(text, source)
        found = values.get("format")
        if found != FORMAT:
            raise lines.error("format", found, f"'{FORMAT}'")
        return cls.from_fields(values, lines)

    def save(self, path: Path) -> None:
        """Write the file, durable on return. Raises StudyError."""
        try:
            storage.write_durably(path, self.to_yaml().encode())
        except OSError as error:
            raise StudyError(f"The protocol '{path}' cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path) -> Design:
        """Read a protocol file. Raises StudyError."""
        try:
            if path.stat().st_size > MAXIMUM_BYTES:
                raise StudyError(f"'{path}' is too large for a protocol: is it another file?")
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise StudyError(f"The protocol '{path}' cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise StudyError(f"'{path}' is no text in UTF-8: save the protocol as such.") from error
        return cls.from_yaml(text, path.name)


def template(arms: Sequence[str], name: str = "Real-time cine study") -> Design:
    """Return a new design with the recommended values. Raises StudyError."""
    return Design.from_fields({"name": name, "arms": list(arms)})


def missing_scans(
    planned: Sequence[PlannedScan], present: Sequence[tuple[str, str, bool]]
) -> tuple[list[str], list[str]]:
    """Compare planned scans with (subject, plane, practice) of those present: (missing, not planned)."""
    wanted = [(person_name(scan.subject), person_name(scan.plane), scan.practice) for scan in planned]
    left = list(present)
    missing = []
    for scan in wanted:
        if scan in left:
            left.remove(scan)
        else:
            missing.append(scan)
    return [_scan_words(scan) for scan in missing], [_scan_words(scan) for scan in left]


def _inline(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, default_flow_style=True, width=math.inf)
    return text.removesuffix("...\n").strip()


def _scan_words(scan: tuple[str, str, bool]) -> str:
    return f"{scan[0]} {scan[1]}{' (practice)' if scan[2] else ''}"


# From values to a design


@dataclass
class _Lines:
    """Where the fields stand in the file."""

    source: str
    of: dict[str, int] = field(default_factory=dict)
    """Field (`alpha`, `scans[2].plane`) to line."""

    def place(self, name: str) -> str:
        """The file, and the line of a field or of what holds it."""
        inside = name
        while inside and inside not in self.of:
            inside = inside[: max(inside.rfind("."), inside.rfind("["), 0)]
        return f"{self.source}, line {self.of[inside]}" if inside else self.source

    def error(self, name: str, value: object, expected: str) -> StudyError:
        """An error about a field."""
        return StudyError(f"{self.place(name)}: '{name}' is {_shown(value)}; expected: {expected}.")


def _shown(value: object) -> str:
    if value is None:
        return "missing or null"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _unknown_field(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"'{name}' is no field of a protocol{f': did you mean {near[0]!r}' if near else ''}; the fields are "
        + (f"{', '.join(known)}.")
    )


def _design(values: Mapping[str, Any], lines: _Lines) -> Design:
    for name in values:
        if name not in FIELDS:
            raise StudyError(f"{lines.place(name)}: {_unknown_field(name, list(FIELDS))}")
    given = {name: value for name, value in values.items() if name not in ("format", "arms", "seed", "scans")}
    for name, value in given.items():
        if name in _LISTS and value is not None:
            given[name] = tuple(_list(name, value))
    # Whole numbers are taken where a file says 1 for 1.0, so that the hash does not depend on the spelling.
    for name in ("alpha", "measurement_window_s", "repeat_share", "speed", "break_minutes"):
        if name in given and isinstance(given[name], int) and not isinstance(given[name], bool):
            given[name] = float(given[name])
    if isinstance(given.get("crop_mm"), tuple):
        given["crop_mm"] = tuple(
            float(side) if isinstance(side, int) and not isinstance(side, bool) else side
            for side in given["crop_mm"]
        )
    arms = tuple(
        _text(f"arms[{place}]", arm) for place, arm in enumerate(_list("arms", values.get("arms")), 1)
    )
    given["name"] = person_name(_text("name", given.get("name")))
    given["readers"] = tuple(
        person_name(_text(f"readers[{place}]", reader))
        for place, reader in enumerate(given.get("readers") or (), 1)
    )
    for name in ("endpoints", "strata"):
        for place, word in enumerate(given.get(name) or (), 1):
            _text(f"{name}[{place}]", word)
    seed = values.get("seed")
    if seed is not None and (
        isinstance(seed, bool) or not isinstance(seed, int | str) or not str(seed).strip()
    ):
        raise FieldError("seed", seed, "a whole number, a text or null")
    protocol = _protocol(arms, given)
    scans = tuple(
        _scan(f"scans[{place}]", entry, lines)
        for place, entry in enumerate(_list("scans", values.get("scans") or ()), 1)
    )
    try:
        return Design(protocol, arms, None if seed is None else str(seed), scans)
    except FieldError:
        raise
    except StudyError as error:
        raise StudyError(f"{lines.source}: {error}") from error


def _protocol(arms: Sequence[str], given: dict[str, Any]) -> Protocol:
    try:
        return Protocol(arm_count=len(arms), **{**RECOMMENDED, **given})
    except FieldError as error:
        if error.field == "arm_count":
            raise FieldError("arms", list(arms), error.expected) from error
        raise


def _scan(place: str, entry: object, lines: _Lines) -> PlannedScan:
    if not isinstance(entry, Mapping):
        raise FieldError(place, entry, f"a table with {', '.join(SCAN_FIELDS[:3])}")
    for name in entry:
        if name not in SCAN_FIELDS:
            raise StudyError(f"{lines.place(f'{place}.{name}')}: {_unknown_field(str(name), SCAN_FIELDS)}")
    practice = entry.get("practice", False)
    if not isinstance(practice, bool):
        raise FieldError(f"{place}.practice", practice, "true or false")
    return PlannedScan(
        file=_text(f"{place}.file", entry.get("file")),
        subject=person_name(_text(f"{place}.subject", entry.get("subject"))),
        plane=person_name(_text(f"{place}.plane", entry.get("plane"))),
        sampling=_text(f"{place}.sampling", entry["sampling"]) if entry.get("sampling") is not None else "",
        label=_text(f"{place}.label", entry["label"]) if entry.get("label") is not None else "",
        practice=practice,
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FieldError(name, value, "a text (in quotes, if it looks like a number, a date, yes or no)")
    return value


def _list(name: str, value: object) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise FieldError(name, value, "a list")
    return value


# From text to values


def _parse(text: str, source: str) -> tuple[dict[str, Any], _Lines]:
    """Return the values of a YAML text and their lines. Raises StudyError."""
    lines = _Lines(source)
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                # They would hide what a field says, and can blow a small file up to any size.
                raise StudyError(
                    f"{source}, line {token.start_mark.line + 1}: '*{token.value}' refers to another place: "
                    "write the value out."
                )
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            values = None if node is None else _value(node, "", lines, loader.construct_object)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise StudyError(f"{source}{where}: this is no YAML ({error.problem}).") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StudyError(f"{source} is no readable YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict):
        raise StudyError(f"{source} holds no table of fields: begin it with 'format: {FORMAT}'.")
    return values, lines


def _value(node: yaml.Node, path: str, lines: _Lines, scalar: Callable[[yaml.Node], Any]) -> Any:  # noqa: ANN401
    if path:
        lines.of[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, f"{path}[{place}]", lines, scalar) for place, item in enumerate(node.value, start=1)
        ]
    if not isinstance(node, yaml.MappingNode):
        return scalar(node)
    table: dict[str, Any] = {}
    for key_node, item in node.value:
        key = scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise StudyError(f"{lines.source}, line {line}: a field needs a word as its name, not {key!r}.")
        if key in table:
            raise StudyError(f"{lines.source}, line {line}: the field '{key}' is there twice.")
        inside = f"{path}.{key}" if path else key
        table[key] = _value(item, inside, lines, scalar)
        lines.of[inside] = line
    return table


def with_seed(design: Design, seed: str) -> Design:
    """Return the design with a seed where it has none."""
    return design if design.seed is not None else replace(design, seed=seed)
