"""`blindcine info FILE…`: what a raw-data file holds, for people or (`--json`) for programs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.commands.failures import expected_errors, sentence
from app.commands.terminal import complain, say, say_fields, say_json

UNITS = {"s": "_s", "ms": "_ms", "mm": "_mm", "rad": "_rad", "deg": "_deg", "T": "_t", "Hz": "_hz"}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("info", help="print what a raw-data file holds")
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a raw-data file (ISMRMRD, twix, BART, …)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: one object, or a list for several files"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each file's summary; a file that cannot be read is named and does not stop the others."""
    from recon_backend.formats import open_acquisition
    from recon_backend.radial_checks import check_radial

    summaries: list[dict[str, Any]] = []
    failures = 0
    for path in arguments.files:
        try:
            acquisition = open_acquisition(path)
            summary = acquisition.summary()
            checks = check_radial(acquisition)
        except expected_errors() as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            complain(sentence(error))
            failures += 1
            continue
        for warning in checks.warnings:
            complain(f"{path.name}: warning: {warning}")
        if not arguments.json:
            if summaries:
                say()
            found = {} if checks.delays is None else {"gradient delays": checks.delays.describe()}
            say_fields({"file": path, **readable(summary), **found})
        delays = None if checks.delays is None else checks.delays.to_dict()
        checked = {"gradient_delays_samples": delays, "warnings": list(checks.warnings)}
        summaries.append({"file": str(path), **summary, **checked})
    if arguments.json and summaries:
        say_json(summaries if len(arguments.files) > 1 else summaries[0])
    return 2 if failures else 0


def readable(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return a summary as words: units beside numbers, pairs as `a × b`, details and notes spread out."""
    fields: dict[str, str] = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            fields.update({_title(str(key)): _text(str(key), item) for key, item in value.items()})
        elif name != "notes":
            fields[_title(name)] = _text(name, value)
    for number, note in enumerate(summary.get("notes", ()), start=1):
        fields[f"note {number}"] = str(note)
    return fields


def _unit(name: str) -> str:
    return next((unit for unit, ending in UNITS.items() if name.endswith(ending)), "")


def _title(name: str) -> str:
    unit = _unit(name)
    return name.removesuffix(UNITS.get(unit, "")).replace("_", " ")


def _text(name: str, value: object) -> str:
    unit = _unit(name)
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, list | tuple):
        ends = "…" if name == "readouts_per_frame" else " × "
        text = str(value[0]) if len(set(map(str, value))) == 1 and ends == "…" else ends.join(map(str, value))
    else:
        text = "unknown" if value is None else str(value)
    return f"{text} {unit}".strip()
