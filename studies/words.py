"""Numbers and nouns in a sentence: for the window and the report alike."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 scan", "9 scans"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
