"""Names and words that stand in clear in the log: in one spelling, not empty, and telling no secret.

Rule: whatever a reader may see must not contain the name of an arm or of a raw file, also not in other letter
case or beside punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from studies.errors import StudyError

METHOD_LABELS = {
    "gridded": "Gridded",
    "compressed_sensing": "Compressed sensing",
    "dl_natural": "DL, natural videos",
    "dl_cardiac": "DL, cardiac data",
}


def person_name(text: str) -> str:
    """Return a person's name in one spelling, whatever keyboard or operating system it came from."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def clear_text(what: str, text: str, secrets_in_clear: Iterable[str]) -> str:
    """Return text that will stand in clear in the log, having made sure that it names no secret.

    Args:
        what: what the text is, for the message.
        text: the text.
        secrets_in_clear: words that it must not contain.

    Raises:
        StudyError: when it is empty or contains one of the secrets.
    """
    text = person_name(str(text))
    if not text:
        raise StudyError(f"The {what} is empty: give one.")
    for secret in secrets_in_clear:
        if re.search(rf"(?<![a-z0-9]){re.escape(secret.casefold())}(?![a-z0-9])", text.casefold()):
            raise StudyError(
                f"The {what} '{text}' contains '{secret}', which would unblind readers: choose another."
            )
    return text


def checked_arms(arms: Sequence[str]) -> tuple[str, ...]:
    """Return the arms of a new study. Raises StudyError when one is empty or two are the same."""
    names = tuple(str(arm) for arm in arms)
    if any(not name.strip() for name in names):
        raise StudyError("An arm has an empty name: name every arm.")
    if len(set(names)) != len(names):
        raise StudyError(f"The arms {', '.join(names)} are not all different: name each once.")
    return names


def checked_readers(readers: Sequence[str], arms: Iterable[str]) -> tuple[str, ...]:
    """Return the readers' names in one spelling.

    Raises:
        StudyError: when there is none, one names an arm, or two are the same but for letter case.
    """
    if isinstance(readers, str) or not readers:
        raise StudyError("The study needs at least one reader: give a list of names.")
    names = tuple(clear_text("reader's name", reader, arms) for reader in readers)
    if len({name.casefold() for name in names}) != len(names):
        raise StudyError(f"The readers {', '.join(names)} are not all different: name each once.")
    return names


def position_letter(position: int) -> str:
    """What the place on the screen is called: A, B, C… from left to right, from 0."""
    return chr(ord("A") + position)


def method_label(method: str) -> str:
    """How a method is called in tables, and where a reader is asked to guess it."""
    return METHOD_LABELS.get(method, in_words(method))


def method_named(text: str) -> str:
    """The method that a text stands for: its label in any letter case, else the text itself."""
    wanted = text.strip().casefold()
    return next((name for name, label in METHOD_LABELS.items() if label.casefold() == wanted), text.strip())


def in_words(name: str) -> str:
    """A stored name as it is printed: "least_squares" is "Least squares"."""
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
