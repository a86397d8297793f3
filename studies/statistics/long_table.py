"""Any table of ranks or values, one movie a line, read from a CSV file with every doubt said.

Columns: clip, method, and rank or value; reader where several read; further plane, sampling, stratum,
subject, endpoint, repeat or presentation, position, guess. Names are those of the app's own ranking.csv too.
Rule: nothing is guessed that changes a number. A cell that can be read in two ways is an error that names
line, column, value and what was expected; what is accepted knowingly (semicolons, decimal commas, unknown
columns, empty cells) is listed in `LongTable.remarks`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studies.errors import StudyError

ALIASES = {
    "clip": ("clip",),
    "reader": ("reader", "observer"),
    "method": ("method", "arm"),
    "rank": ("rank", "rank_mid", "rank_competition", "rank_dense"),
    "value": ("value",),
    "plane": ("plane",),
    "sampling": ("sampling",),
    "stratum": ("stratum",),
    "subject": ("subject",),
    "endpoint": ("endpoint",),
    "repeat": ("repeat",),
    "presentation": ("presentation",),
    "position": ("position",),
    "guess": ("guess",),
}
"""Columns that are used and the names under which each is found, the first that is there wins."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "–", "."})
NOT_KNOWN = MISSING | {"unknown", "don't know", "do not know", "dont know", "?"}
NO, YES = frozenset({"", "0", "no", "false"}), {"yes": 1, "true": 1}
METHOD_ORDER = ("compressed_sensing", "dl_natural", "dl_cardiac")
"""How methods of the paper are listed where the table has no order of its own."""
RANK_ENDPOINTS = frozenset({"rank", "ranking"})
NO_READER = "(one reader)"
MAXIMUM_BYTES = 64 * 2**20
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"([+-]?)inf(inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """One movie judged or measured once; `number` is None where the cell is empty."""

    line: int
    stratum: str
    plane: str
    sampling: str
    endpoint: str
    ranked: bool
    clip: str
    subject: str
    reader: str
    method: str
    presentation: int
    """0 for the first reading of a clip by a reader, 1… for hidden repeats."""
    number: float | None
    position: str
    guess: str | None
    """The method that the reader took it for; "" says that he did not know, None that nobody asked."""


@dataclass(frozen=True)
class LongTable:
    """The lines of a table, and what was noticed while reading them."""

    source: str
    entries: tuple[Entry, ...]
    methods: tuple[str, ...]
    remarks: tuple[str, ...]
    has_subjects: bool


class _Sheet:
    """The cells of a CSV file by line and column; errors name both."""

    def __init__(self, name: str, text: str, value_column: str | None) -> None:
        self.name = name
        self.remarks: list[str] = []
        self.delimiter, text = _delimiter(text)
        if self.delimiter != ",":
            title = {";": "semicolons", "\t": "tabs"}[self.delimiter]
            self.remarks.append(f"The columns are separated by {title}.")
        self.lines = self._read(text)
        self.header_line, header = self.lines.pop(0) if self.lines else (1, [])
        self.header = [cell.casefold() for cell in header]
        self.columns = self._columns(value_column.casefold() if value_column else None)
        self.decimal_comma: dict[str, int] = {}
        self.decimal_point: dict[str, int] = {}

    def error(self, line: int, column: str, value: str, expected: str) -> StudyError:
        """An error about one cell."""
        return StudyError(f"{self.name}, line {line}, column '{column}': '{value}' is not {expected}.")

    def _read(self, text: str) -> list[tuple[int, list[str]]]:
        # Universal newlines, so that old line ends inside quotes do not split a cell.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        lines: list[tuple[int, list[str]]] = []
        begin = 1
        try:
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if any(cells):
                    lines.append((begin, cells))
                begin = reader.line_num + 1
        except csv.Error as error:
            raise StudyError(
                f"{self.name}, line {begin}: this is no line of a CSV file ({error}); save the table "
                "as CSV in UTF-8."
            ) from error
        return lines

    def _columns(self, value_column: str | None) -> dict[str, int]:
        doubled = [name for name, count in Counter(self.header).items() if name and count > 1]
        if doubled:
            raise StudyError(
                f"{self.name}, line {self.header_line}: the column '{doubled[0]}' is there twice; name each "
                "once."
            )
        aliases = dict(ALIASES)
        if value_column is not None:
            aliases |= {"value": (value_column,), "rank": ()}
            if value_column not in self.header:
                raise StudyError(
                    f"{self.name}, line {self.header_line}: there is no column '{value_column}' to take "
                    f"values from, only {', '.join(filter(None, self.header)) or 'none'}."
                )
        found = {}
        for column, names in aliases.items():
            present = [name for name in names if name in self.header]
            if present:
                found[column] = self.header.index(present[0])
        missing = [column for column in ("clip", "method") if column not in found]
        if "rank" not in found and "value" not in found:
            missing.append("rank' or 'value")
        if missing:
            raise StudyError(
                f"{self.name}, line {self.header_line}: the column '{missing[0]}' is missing; the table "
                "needs clip, reader, method, and rank or value, but has "
                f"{', '.join(filter(None, self.header)) or 'no column'}."
            )
        used = set(found.values())
        ignored = [name for place, name in enumerate(self.header) if name and place not in used]
        if ignored:
            self.remarks.append(f"Columns not used: {', '.join(ignored)}.")
        return found

    def rows(self) -> list[tuple[int, dict[str, str]]]:
        """Number and cells of every line by column. Raises StudyError on more cells than names."""
        rows = []
        for line, cells in self.lines:
            if any(cells[len(self.header) :]):
                raise StudyError(
                    f"{self.name}, line {line}: there are {len(cells)} cells, but the header names "
                    f"{len(self.header)} columns; put cells that contain '{self.delimiter}' in quotes."
                )
            cells += [""] * (len(self.header) - len(cells))
            rows.append((line, {column: cells[place] for column, place in self.columns.items()}))
        return rows

    def number(self, line: int, column: str, cell: str) -> float | None:
        """The number in a cell, None where it is empty. Raises StudyError where there is another thing."""
        name = self.header[self.columns[column]]
        if cell.casefold() in MISSING:
            return None
        if _DECIMAL_COMMA.fullmatch(cell):
            if name in self.decimal_point:
                raise self.error(
                    line, name, cell, f"a number with a decimal point as in line {self.decimal_point[name]}"
                )
            self.decimal_comma.setdefault(name, line)
            return float(cell.replace(",", "."))
        if infinite := _INFINITE.fullmatch(cell):
            return -math.inf if infinite[1] == "-" else math.inf
        if not _NUMBER.fullmatch(cell):
            raise self.error(line, name, cell, "a number (without thousands separators and units)")
        if "." in cell:
            if name in self.decimal_comma:
                raise self.error(
                    line, name, cell, f"a number with a decimal comma as in line {self.decimal_comma[name]}"
                )
            self.decimal_point.setdefault(name, line)
        return float(cell)


def _delimiter(text: str) -> tuple[str, str]:
    """The separator of the first line, and the text without a line that only names it."""
    first, _, rest = text.partition("\n")
    if match := re.fullmatch(r'"?sep=([,;\t])"?\s*', first):
        return match[1], "\n" + rest
    outside = re.sub(r'"[^"]*"', "", first)
    return max(",;\t", key=lambda mark: (outside.count(mark), mark == ",")), text


def _text(path: Path) -> str:
    """The text of a file in UTF-8, or UTF-16 with a byte order mark. Raises StudyError, OSError."""
    content = path.read_bytes()
    if len(content) > MAXIMUM_BYTES:
        raise StudyError(f"{path.name} has {len(content) / 2**20:.0f} MiB, no table of readings is so large.")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise StudyError(
            f"{path.name}, line {line}: byte 0x{content[error.start]:02x} is no UTF-8; save the table as CSV "
            "in UTF-8."
        ) from error


def read_table(path: Path | str, *, value_column: str | None = None) -> LongTable:
    """Read a table of ranks or values.

    Args:
        path: A CSV file (commas, semicolons or tabs; UTF-8, with or without byte order mark).
        value_column: Column to take values from, in place of rank and value; it names the endpoint.

    Returns:
        `LongTable`.

    Raises:
        StudyError: The table cannot be read in one way only; the message names line, column and value.
        OSError: The file cannot be read.
    """
    path = Path(path)
    sheet = _Sheet(path.name, _text(path), value_column)
    rows = sheet.rows()
    entries = _entries(sheet, rows, value_column)
    if not entries:
        raise StudyError(f"{path.name} has a header but no rank or value below it.")
    _check_spelling(path.name, entries)
    _check_subjects(path.name, entries)
    _check_guesses(sheet, entries)
    entries = _number_presentations(sheet, entries, rows)
    _check_duplicates(sheet, entries)
    _check_ranks(sheet, entries)
    for name in sheet.decimal_comma:
        sheet.remarks.append(f"Decimal commas were read in the column '{name}'.")
    empty = sum(entry.number is None for entry in entries)
    if empty:
        sheet.remarks.append(f"{empty} of {len(entries)} ranks or values are empty.")
    if "reader" not in sheet.columns:
        sheet.remarks.append("There is no column 'reader': all lines are taken as of one reader.")
    methods = _methods(entries)
    if len(methods) < 2:
        raise StudyError(f"{path.name}: a comparison needs 2 methods, but only '{methods[0]}' is there.")
    return LongTable(path.name, tuple(entries), methods, tuple(sheet.remarks), "subject" in sheet.columns)


def _methods(entries: Sequence[Entry]) -> tuple[str, ...]:
    """All methods: as the table lists them if all readings list them alike, else in a fixed order."""
    found = tuple(dict.fromkeys(entry.method for entry in entries))
    last: dict[tuple[str | int, ...], int] = {}
    for entry in entries:
        key = (entry.stratum, entry.endpoint, entry.clip, entry.reader, entry.presentation)
        place = found.index(entry.method)
        if place < last.get(key, -1):
            # Blinded positions shuffle the lines of a reading, so their order says nothing.
            known = [name for name in METHOD_ORDER if name in found]
            return (*known, *sorted(set(found) - set(known)))
        last[key] = place
    return found


def _entries(
    sheet: _Sheet, rows: Sequence[tuple[int, dict[str, str]]], value_column: str | None
) -> list[Entry]:
    entries = []
    for line, cells in rows:
        for column in ("clip", "reader", "method"):
            if column in cells and cells[column].casefold() in MISSING:
                name = sheet.header[sheet.columns[column]]
                raise sheet.error(line, name, cells[column], f"the name of a {column}: every line needs one")
        guess = cells.get("guess")
        for column in ("rank", "value"):
            both = "rank" in sheet.columns and "value" in sheet.columns
            # In a table with both, a line may hold only one of them.
            if column not in sheet.columns or (both and cells[column].casefold() in MISSING):
                continue
            named = cells.get("endpoint", "") or column
            endpoint = value_column or (column if both and column == "rank" else named)
            ranked = column == "rank" or endpoint.casefold() in RANK_ENDPOINTS
            strata = [cells.get(name, "") for name in ("plane", "sampling", "stratum")]
            entries.append(
                Entry(
                    line=line,
                    stratum=" / ".join(filter(None, strata)) or "all",
                    plane=strata[0],
                    sampling=strata[1],
                    endpoint=endpoint,
                    ranked=ranked,
                    clip=cells["clip"],
                    subject=cells.get("subject", ""),
                    reader=cells.get("reader", NO_READER),
                    method=cells["method"],
                    presentation=_repeat(sheet, line, cells.get("repeat", "")),
                    number=sheet.number(line, column, cells[column]),
                    position=cells.get("position", ""),
                    guess=None if guess is None else "" if guess.casefold() in NOT_KNOWN else guess,
                )
            )
    return entries


def _repeat(sheet: _Sheet, line: int, cell: str) -> int:
    word = cell.casefold()
    if word in NO:
        return 0
    if word in YES:
        return YES[word]
    if not word.isascii() or not word.isdigit():
        raise sheet.error(line, "repeat", cell, "0 or 'no' for the first reading, 1, 2… or 'yes' for repeats")
    return int(word)


def _check_spelling(name: str, entries: Sequence[Entry]) -> None:
    """Names that differ only in letter case are one thing in two spellings: a person must say which."""
    for column in ("method", "reader", "stratum", "endpoint"):
        spellings: dict[str, tuple[str, int]] = {}
        for entry in entries:
            text = str(getattr(entry, column))
            other, line = spellings.setdefault(text.casefold(), (text, entry.line))
            if other != text:
                raise StudyError(
                    f"{name}, line {entry.line}: the {column} '{text}' is '{other}' in line {line}; spell it "
                    "in one way."
                )


def _check_subjects(name: str, entries: Sequence[Entry]) -> None:
    subjects: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        first = subjects.setdefault((entry.stratum, entry.clip), entry)
        if first.subject != entry.subject:
            raise StudyError(
                f"{name}, line {entry.line}, column 'subject': '{entry.subject}' is not the subject "
                f"'{first.subject}' that clip '{entry.clip}' has in line {first.line}."
            )


def _check_guesses(sheet: _Sheet, entries: Sequence[Entry]) -> None:
    methods = {entry.method for entry in entries}
    for entry in entries:
        if entry.guess and entry.guess not in methods:
            raise sheet.error(
                entry.line,
                "guess",
                entry.guess,
                f"one of the methods {', '.join(sorted(methods))} or 'unknown'",
            )


def _number_presentations(
    sheet: _Sheet, entries: Sequence[Entry], rows: Sequence[tuple[int, dict[str, str]]]
) -> list[Entry]:
    """Number the presentations of a clip to a reader, where the table names them but not the repeats."""
    if "repeat" in sheet.columns or "presentation" not in sheet.columns:
        return list(entries)
    name_of = {line: cells["presentation"] for line, cells in rows}
    named: dict[tuple[str, ...], dict[str, None]] = {}
    for entry in entries:
        key: tuple[str, ...] = (entry.stratum, entry.endpoint, entry.clip, entry.reader)
        named.setdefault(key, {})[name_of[entry.line]] = None
    order: dict[tuple[str, ...], dict[str, int]] = {}
    for key, names in named.items():
        numbered = all(name.isascii() and name.isdigit() for name in names)
        ordered = sorted(names, key=int) if numbered else list(names)
        order[key] = {name: place for place, name in enumerate(ordered)}
    if any(len(places) > 1 for places in order.values()):
        sheet.remarks.append(
            "Clips that a reader saw in several presentations: the first (by number, else by line) is "
            "analysed, the others are repeats."
        )
    return [
        replace(
            entry,
            presentation=order[entry.stratum, entry.endpoint, entry.clip, entry.reader][name_of[entry.line]],
        )
        for entry in entries
    ]


def _check_duplicates(sheet: _Sheet, entries: Sequence[Entry]) -> None:
    seen: dict[tuple[str | int, ...], int] = {}
    for entry in entries:
        key = (entry.stratum, entry.endpoint, entry.clip, entry.reader, entry.method, entry.presentation)
        line = seen.setdefault(key, entry.line)
        if line != entry.line:
            who = "" if entry.reader == NO_READER else f" by reader '{entry.reader}'"
            advice = "remove one, or number them in a column 'repeat'"
            if entry.reader == NO_READER:
                advice = (
                    "remove one, or name the reader of each in a column 'reader': readings of one clip are "
                    "never pooled as if they were clips"
                )
            raise StudyError(
                f"{sheet.name}, line {entry.line}, column 'method': '{entry.method}' in clip "
                f"'{entry.clip}'{who} is already in line {line}; {advice}."
            )


def _check_ranks(sheet: _Sheet, entries: Sequence[Entry]) -> None:
    """A rank lies between 1 and the number of methods of its stratum and endpoint."""
    methods: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        methods.setdefault((entry.stratum, entry.endpoint), set()).add(entry.method)
    column = sheet.header[sheet.columns.get("rank", sheet.columns.get("value", 0))]
    for entry in entries:
        most = len(methods[entry.stratum, entry.endpoint])
        if entry.ranked and entry.number is not None and most > 1 and not 1 <= entry.number <= most:
            raise sheet.error(
                entry.line, column, f"{entry.number:g}", f"a rank from 1 to {most}, the number of methods"
            )
