"""Names that people type, as the application takes them."""

from __future__ import annotations


def reader_names(text: str) -> tuple[str, ...]:
    """Part a list of readers at commas; empty and repeated names fall away."""
    names = [name.strip() for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def folder_name(name: str) -> str:
    """A folder name for a study: letters, digits, '-' and '_' are kept, anything else becomes '-'."""
    kept = "".join(
        character if character.isalnum() or character in "-_" else "-" for character in name.strip()
    )
    return "-".join(part for part in kept.split("-") if part).lower()
