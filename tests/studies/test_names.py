"""Names in one spelling, and what may not stand in clear."""

from __future__ import annotations

import pytest

from studies.errors import StudyError
from studies.names import (
    checked_arms,
    checked_readers,
    clear_text,
    in_words,
    method_label,
    person_name,
    position_letter,
)


def test_a_person_has_one_spelling_on_every_machine() -> None:
    """A letter and its accent in one sign or two; blanks of any kind."""
    assert person_name("  Ada \t A\u030angstro\u0308m\n") == "Ada \u00c5ngstr\u00f6m"
    assert person_name(" \n ") == ""


@pytest.mark.parametrize("arms", [("a", " "), ("", "b")])
def test_arms_without_a_name_are_refused(arms: tuple[str, ...]) -> None:
    with pytest.raises(StudyError, match="empty name: name every arm"):
        checked_arms(arms)


def test_arms_are_all_different() -> None:
    with pytest.raises(StudyError, match="a, b, a are not all different"):
        checked_arms(["a", "b", "a"])
    assert checked_arms(["a", "b"]) == ("a", "b")


def test_readers_are_told_apart_by_more_than_letter_case() -> None:
    assert checked_readers([" Ben ", "Ada"], ()) == ("Ben", "Ada")
    with pytest.raises(StudyError, match="Ben, BEN are not all different"):
        checked_readers(["Ben", "BEN"], ())
    for none in ((), "Ben"):
        with pytest.raises(StudyError, match="at least one reader"):
            checked_readers(none, ())


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("DL", False),
        ("with dl, once", False),
        ("(Dl)", False),
        ("idle", True),
        ("dl2", True),
        ("handling", True),
    ],
)
def test_a_secret_is_found_as_a_word_only(text: str, allowed: bool) -> None:
    if allowed:
        assert clear_text("label", text, ["dl"]) == text
    else:
        with pytest.raises(StudyError, match="contains 'dl', which would unblind"):
            clear_text("label", text, ["dl"])


def test_names_as_they_are_printed() -> None:
    assert [position_letter(place) for place in (0, 2, 5)] == ["A", "C", "F"]
    assert (method_label("dl_natural"), method_label("my_own")) == ("DL, natural videos", "My own")
    assert in_words("") == ""
