"""Typing ranks: succession, ties, focus, undo."""

from __future__ import annotations

from itertools import product

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.widgets.ranking_bar import RankingBar, RankingEntry
from studies.ranking import describe, weak_orders


@pytest.mark.parametrize("digits", list(product((1, 2, 3), repeat=3)))
def test_digits_in_succession_rank_from_left_to_right(digits: tuple[int, int, int]) -> None:
    entry = RankingEntry(3)
    for place, digit in enumerate(digits):
        assert entry.focus == place
        assert not entry.complete
        assert entry.give(digit)
    assert entry.ranks == digits
    assert entry.complete


def test_every_weak_order_can_be_typed_and_its_groups_match_the_order_in_words() -> None:
    for ranks in weak_orders(3):
        entry = RankingEntry(3)
        for rank in ranks:
            entry.give(rank)
        words = " > ".join(" = ".join("ABC"[place] for place in group) for group in entry.groups())
        assert words == describe(ranks, "ABC")


def test_typing_all_digits_again_replaces_the_ranking() -> None:
    entry = RankingEntry(3)
    for digit in (1, 2, 3, 3, 2, 1):
        entry.give(digit)
    assert entry.ranks == (3, 2, 1)


def test_focus_goes_to_the_next_movie_without_a_rank() -> None:
    entry = RankingEntry(3)
    entry.focus_on(1)
    entry.give(2)
    assert entry.focus == 2
    entry.give(1)
    assert entry.focus == 0
    assert entry.ranks == (None, 2, 1)


@pytest.mark.parametrize("rank", [0, 4, -1, 9])
def test_a_rank_out_of_range_changes_nothing(rank: int) -> None:
    entry = RankingEntry(3)
    assert not entry.give(rank)
    assert entry.ranks == (None, None, None)
    assert entry.focus == 0
    assert not entry.undoable


def test_undo_goes_back_digit_by_digit_to_the_beginning() -> None:
    entry = RankingEntry(3)
    states = []
    for digit in (2, 2, 1, 3):
        states.append((entry.ranks, entry.focus))
        entry.give(digit)
    for ranks, focus in reversed(states):
        assert entry.undo()
        assert (entry.ranks, entry.focus) == (ranks, focus)
    assert not entry.undo()


def test_focus_goes_round_at_both_ends() -> None:
    entry = RankingEntry(3)
    entry.focus_on(-1)
    assert entry.focus == 2
    entry.focus_on(3)
    assert entry.focus == 0


def test_a_ranking_of_no_movies_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RankingEntry(0)


def test_mouse_buttons_rank_their_own_movie(qtbot: QtBot) -> None:
    bar = RankingBar()
    bar.start(("A", "B", "C"))
    for cell in bar.cells:
        qtbot.addWidget(cell)
    qtbot.mouseClick(bar.cells[2].buttons[0], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(bar.cells[0].buttons[2], Qt.MouseButton.LeftButton)
    assert bar.entry.ranks == (3, None, 1)
    assert bar.missing() == ["B"]
    assert bar.sentence() == "C  ›  A"
    assert [button.isChecked() for button in bar.cells[0].buttons] == [False, False, True]
    # Clicking the rank that is there keeps it: a button must not look taken back while the rank still counts.
    qtbot.mouseClick(bar.cells[0].buttons[2], Qt.MouseButton.LeftButton)
    assert bar.cells[0].buttons[2].isChecked()


def test_pressing_a_cell_moves_the_focus_and_the_cell_says_so(qtbot: QtBot) -> None:
    bar = RankingBar()
    bar.start(("A", "B", "C"))
    for cell in bar.cells:
        qtbot.addWidget(cell)
    qtbot.mouseClick(bar.cells[1], Qt.MouseButton.LeftButton)
    assert bar.entry.focus == 1
    assert bar.cells[1].property("focused") is True
    assert bar.cells[0].property("focused") is False
    assert bar.cells[1].accessibleName() == "Movie B, no rank yet, in focus"


def test_a_new_clip_starts_without_ranks(qtbot: QtBot) -> None:
    bar = RankingBar()
    bar.start(("A", "B"))
    bar.give(1)
    cells = bar.cells
    bar.start(("A", "B"))
    assert bar.cells == cells
    assert bar.entry.ranks == (None, None)
    assert not any(button.isChecked() for cell in bar.cells for button in cell.buttons)


def test_confidence_and_cannot_judge_are_taken_back_in_their_order() -> None:
    entry = RankingEntry(2)
    seen = [(entry.ranks, entry.confidence, entry.cannot_judge)]
    for enter in (
        lambda: entry.give(1),
        lambda: entry.set_confidence(2),
        lambda: entry.set_cannot_judge(True),
        lambda: entry.set_confidence(5),
        lambda: entry.give(2),
    ):
        enter()
        seen.append((entry.ranks, entry.confidence, entry.cannot_judge))
    assert seen[-1] == ((1, 2), 5, False), "who ranks can judge"
    for state in reversed(seen[:-1]):
        assert entry.undo()
        assert (entry.ranks, entry.confidence, entry.cannot_judge) == state
    assert not entry.undoable


@pytest.mark.parametrize("confidence", [0, 6, -1])
def test_a_confidence_out_of_range_changes_nothing(confidence: int) -> None:
    entry = RankingEntry(2)
    assert not entry.set_confidence(confidence)
    assert entry.confidence is None and not entry.undoable


def test_what_cannot_be_judged_is_complete_and_has_no_ranks() -> None:
    entry = RankingEntry(3)
    entry.give(2)
    assert (entry.complete, entry.begun, entry.answer) == (False, True, (2,))
    entry.set_cannot_judge(True)
    entry.set_cannot_judge(True)
    assert (entry.complete, entry.begun, entry.answer) == (True, True, ())
    assert entry.undo() and not entry.cannot_judge, "saying it twice is saying it once"
    assert entry.ranks == (2, None, None)


def test_confidence_alone_is_nothing_that_leaving_would_lose() -> None:
    entry = RankingEntry(2)
    entry.set_confidence(3)
    assert not entry.begun and entry.undoable
