"""What the commands share on the terminal: output, complaints, progress, tables, passphrases."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from app.commands.failures import CommandError

PASSPHRASE_VARIABLE = "BLINDCINE_PASSPHRASE"

_LEAST_FRACTION_FOR_ESTIMATE = 0.02


class ProgressCallback(Protocol):
    """Takes the phase in words, the fraction (0…1) of the whole that is done, and seconds left if known."""

    def __call__(self, phase: str, fraction: float, remaining_s: float | None = None) -> None:
        """Show the progress."""


def say(text: str = "") -> None:
    """Write one line of result to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write one line for the user, but not for a program that reads the results, to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(data: object) -> None:
    """Write `data` as indented JSON to standard output."""
    say(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def progress_bar(label: str) -> Iterator[ProgressCallback]:
    """Show a bar with phase, percentage and remaining time on standard error while the body runs.

    Where standard error is no terminal, one line is written when the body begins, so that logs stay readable.
    """
    if not sys.stderr.isatty():
        complain(f"{label} …")
        yield _ignore_progress
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[phase]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(label, total=1.0, phase="", left="")

        def show(phase: str, fraction: float, remaining_s: float | None = None) -> None:
            fraction = min(max(fraction, 0.0), 1.0)
            if remaining_s is None and fraction > _LEAST_FRACTION_FOR_ESTIMATE:
                remaining_s = (progress.tasks[0].elapsed or 0.0) * (1 - fraction) / fraction
            left = "-:--:--" if remaining_s is None else str(timedelta(seconds=round(remaining_s)))
            progress.update(task, completed=fraction, phase=phase, left=left)

        yield show
        progress.update(task, completed=1.0, phase="done", left="0:00:00")


def _ignore_progress(phase: str, fraction: float, remaining_s: float | None = None) -> None:
    """Show nothing."""


def say_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a plain table with aligned columns; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(title), *(len(row[index]) for row in cells)]) for index, title in enumerate(header)]
    numeric = [
        bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        for index in range(len(header))
    ]
    for row in [list(header), *cells]:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        say("  ".join(aligned).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def say_fields(fields: Mapping[str, object]) -> None:
    """Write names and values in two columns."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        say(f"{name.ljust(width)}  {value}")


def read_passphrase(file: Path | None, *, confirm: bool = False) -> str:
    """Return a passphrase from a file's first line, from BLINDCINE_PASSPHRASE, or asked for on the terminal.

    Raises:
        CommandError: it is empty, the two entries differ, or there is no way to ask.
    """
    if file is not None:
        lines = file.read_text(encoding="utf-8").splitlines()
        passphrase = lines[0] if lines else ""
    elif PASSPHRASE_VARIABLE in os.environ:
        passphrase = os.environ[PASSPHRASE_VARIABLE]
    elif sys.stdin.isatty():
        passphrase = getpass.getpass("Passphrase of the study: ")
        if confirm and getpass.getpass("The same once more: ") != passphrase:
            raise CommandError("The two passphrases differ; nothing was done.")
    else:
        raise CommandError(
            f"The passphrase is missing; give --passphrase-file FILE or set {PASSPHRASE_VARIABLE}."
        )
    if not passphrase:
        raise CommandError(
            "The passphrase is empty; give one that you can keep safe until the study is unblinded."
        )
    return passphrase
