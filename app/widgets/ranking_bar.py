"""Where a reader gives ranks: a cell under each movie, digits typed in succession, ties by repeating a digit.

`RankingEntry` holds the rule without any window: digits go to the movie in focus, the focus then moves to the
next movie without a rank, everything entered can be taken back until the ranking is committed, and an answer
is complete when each movie has a rank, or when the reader says that the clip cannot be judged. `RankingBar`
shows it, takes the mouse, and says in words what the ranks given so far mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QLabel, QPushButton, QWidget

from app import theme
from app.widgets.elements import polish_anew

_STYLE_SHEET = f"""
#rank_cell {{ background: {theme.SUNKEN}; border: 1px solid {theme.BORDER}; border-radius: 5px; }}
#rank_cell[focused="true"] {{ background: {theme.RAISED}; border: 2px solid {theme.ACCENT}; }}
#rank_letter {{ font-size: 16pt; font-weight: 600; color: {theme.MUTED}; }}
#rank_cell[focused="true"] #rank_letter {{ color: {theme.TEXT}; }}
#rank_button {{ font-size: 14pt; font-weight: 600; color: {theme.MUTED}; padding: 3px 0px; }}
#rank_button:hover {{ color: {theme.TEXT}; }}
#rank_button:checked {{ background: {theme.ACCENT}; border-color: {theme.ACCENT}; color: #0b1418; }}
#rank_button:disabled {{ color: {theme.DISABLED}; }}
"""


HIGHEST_CONFIDENCE = 5
"""Confidence goes from 1 (a guess) to this (certain)."""
_CELL_HEIGHT = 52
_WIDEST_BUTTON = 56
_NARROWEST_BUTTON = 24
_ROOMY_RANKS = 4
"""Up to so many buttons a cell keeps wide margins."""


@dataclass(frozen=True)
class _Snapshot:
    """What one undo goes back to."""

    ranks: tuple[int | None, ...]
    focus: int
    confidence: int | None = None
    cannot_judge: bool = False


class RankingEntry:
    """The ranks of one clip while they are being given, by position on the screen (0 is the leftmost).

    Args:
        positions: Number of movies shown, at least 1. Ranks go from 1 (best) to `positions` (worst); equal
            ranks are ties.

    Raises:
        ValueError: If `positions` is below 1.
    """

    def __init__(self, positions: int) -> None:
        """Start without ranks, the focus on the first movie."""
        if positions < 1:
            raise ValueError(f"positions is {positions}; a ranking needs at least one movie.")
        self._state = _Snapshot((None,) * positions, 0)
        self._history: list[_Snapshot] = []

    @property
    def positions(self) -> int:
        """Number of movies to rank."""
        return len(self._state.ranks)

    @property
    def ranks(self) -> tuple[int | None, ...]:
        """Rank by position as it was typed, None where none was given yet."""
        return self._state.ranks

    @property
    def focus(self) -> int:
        """Position that the next digit goes to."""
        return self._state.focus

    @property
    def confidence(self) -> int | None:
        """How sure the reader is, 1 to 5, or None."""
        return self._state.confidence

    @property
    def cannot_judge(self) -> bool:
        """True when the reader says that the clip cannot be judged; the ranks do not count then."""
        return self._state.cannot_judge

    @property
    def complete(self) -> bool:
        """True when each movie has a rank, or the clip cannot be judged."""
        return self._state.cannot_judge or None not in self._state.ranks

    @property
    def answer(self) -> tuple[int, ...]:
        """The ranks to save: one for each movie, or none where the clip cannot be judged."""
        if self._state.cannot_judge:
            return ()
        return tuple(rank for rank in self._state.ranks if rank is not None)

    @property
    def begun(self) -> bool:
        """True when something was entered that leaving would lose."""
        return self._state.cannot_judge or any(rank is not None for rank in self._state.ranks)

    @property
    def undoable(self) -> bool:
        """True when something can be taken back."""
        return bool(self._history)

    def give(self, rank: int) -> bool:
        """Give the movie in focus a rank and move the focus to the next movie without one.

        When each movie has a rank the focus goes round to the next position, so typing all digits again from
        the first movie replaces the whole ranking. Who ranks can judge: an earlier "cannot judge" is gone.

        Args:
            rank: 1 (best) to `positions`.

        Returns:
            False, with nothing changed, if the rank is out of range.
        """
        if not 1 <= rank <= self.positions:
            return False
        ranks = list(self._state.ranks)
        ranks[self.focus] = rank
        following = [(self.focus + step) % self.positions for step in range(1, self.positions + 1)]
        focus = next((position for position in following if ranks[position] is None), following[0])
        self._enter(replace(self._state, ranks=tuple(ranks), focus=focus, cannot_judge=False))
        return True

    def set_confidence(self, confidence: int) -> bool:
        """Say how sure the reader is; False, with nothing changed, unless 1 ≤ confidence ≤ 5."""
        if not 1 <= confidence <= HIGHEST_CONFIDENCE:
            return False
        self._enter(replace(self._state, confidence=confidence))
        return True

    def set_cannot_judge(self, cannot_judge: bool) -> None:
        """Say that the clip cannot be judged, or that it can; the ranks given so far stay for that."""
        if cannot_judge != self._state.cannot_judge:
            self._enter(replace(self._state, cannot_judge=cannot_judge))

    def focus_on(self, position: int) -> None:
        """Put the focus on a position; values past either end go round."""
        self._state = replace(self._state, focus=position % self.positions)

    def undo(self) -> bool:
        """Take the last entry back and put the focus where it was; False if there is none."""
        if not self._history:
            return False
        self._state = self._history.pop()
        return True

    def groups(self) -> list[list[int]]:
        """Positions that have a rank, best first, equal ranks together."""
        given = sorted({rank for rank in self._state.ranks if rank is not None})
        return [[place for place, own in enumerate(self._state.ranks) if own == rank] for rank in given]

    def _enter(self, state: _Snapshot) -> None:
        self._history.append(self._state)
        self._state = state


class RankingBar(QObject):
    """The rank cells of one clip, one to be placed under each movie; the cell in focus takes the next digit.

    Signals:
        changed: A rank, the focus, the confidence or "cannot judge" changed.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        """Start without cells."""
        super().__init__(parent)
        self._cells: list[RankCell] = []
        self._labels: tuple[str, ...] = ()
        self._entry = RankingEntry(1)
        self._enabled = True

    @property
    def entry(self) -> RankingEntry:
        """The ranks given so far (read it; change it through this object, so that it is shown)."""
        return self._entry

    @property
    def labels(self) -> tuple[str, ...]:
        """Letter of each movie, by position."""
        return self._labels

    @property
    def cells(self) -> list[RankCell]:
        """The cells, by position; made anew only when the letters change."""
        return list(self._cells)

    def start(self, labels: Sequence[str]) -> None:
        """Begin a new clip with no ranks and the focus on the first movie.

        Args:
            labels: Letter of each movie, left to right.
        """
        self._entry = RankingEntry(len(labels))
        if tuple(labels) != self._labels:
            self._labels = tuple(labels)
            self._cells = [RankCell(label, len(labels)) for label in labels]
            for position, cell in enumerate(self._cells):
                cell.picked.connect(lambda rank, place=position: self.give_to(place, rank))
                cell.pressed.connect(lambda place=position: self.focus_on(place))
        self._refresh()

    def set_enabled(self, enabled: bool) -> None:
        """Take the mouse or not (while no clip is on the screen, nothing can be ranked)."""
        self._enabled = enabled
        self._refresh()

    def give(self, rank: int) -> bool:
        """Rank the movie in focus; False if the rank is out of range."""
        done = self._entry.give(rank)
        self._refresh()
        return done

    def give_to(self, position: int, rank: int) -> None:
        """Rank the movie at a position, as its mouse buttons do."""
        self._entry.focus_on(position)
        self.give(rank)

    def set_confidence(self, confidence: int) -> bool:
        """Say how sure the reader is; False if that is not 1 to 5."""
        done = self._entry.set_confidence(confidence)
        self._refresh()
        return done

    def set_cannot_judge(self, cannot_judge: bool) -> None:
        """Say that the clip cannot be judged, or that it can."""
        self._entry.set_cannot_judge(cannot_judge)
        self._refresh()

    def undo(self) -> bool:
        """Take the last entry back; False if there is none."""
        done = self._entry.undo()
        self._refresh()
        return done

    def focus_on(self, position: int) -> None:
        """Put the focus on the movie at a position; values past either end go round."""
        self._entry.focus_on(position)
        self._refresh()

    def move_focus(self, step: int) -> None:
        """Move the focus by `step` movies to the right (negative: left), going round at the ends."""
        self.focus_on(self._entry.focus + step)

    def sentence(self) -> str:
        """The order given so far in letters, best first: "B › A = C"."""
        groups = self._entry.groups()
        return "  ›  ".join(" = ".join(self._labels[place] for place in group) for group in groups)

    def missing(self) -> list[str]:
        """Letters of the movies that have no rank yet."""
        return [label for label, rank in zip(self._labels, self._entry.ranks, strict=True) if rank is None]

    def _refresh(self) -> None:
        for position, cell in enumerate(self._cells):
            rank = None if self._entry.cannot_judge else self._entry.ranks[position]
            cell.show_state(rank, position == self._entry.focus and self._enabled)
            cell.setEnabled(self._enabled)
        self.changed.emit()


class RankCell(QFrame):
    """Letter and rank buttons of one movie.

    Signals:
        picked: A rank button was clicked, with its rank.
        pressed: The cell was pressed beside its buttons.
    """

    picked = Signal(int)
    pressed = Signal()

    def __init__(self, label: str, ranks: int, parent: QWidget | None = None) -> None:
        """Build the cell of the movie `label` with buttons 1 to `ranks`."""
        super().__init__(parent)
        self.setStyleSheet(_STYLE_SHEET)
        self._label = label
        self.setObjectName("rank_cell")
        self.setFixedHeight(_CELL_HEIGHT)
        row = QHBoxLayout(self)
        roomy = ranks <= _ROOMY_RANKS
        # Six movies in one row of a small screen leave a cell less than 200 pixels.
        row.setContentsMargins(*((14, 6, 14, 6) if roomy else (6, 6, 6, 6)))
        row.setSpacing(8 if roomy else 3)
        self._letter = QLabel(label)
        self._letter.setObjectName("rank_letter")
        row.addWidget(self._letter)
        row.addStretch(1)
        self.buttons: list[QPushButton] = []
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        for rank in range(1, ranks + 1):
            button = QPushButton(str(rank))
            button.setObjectName("rank_button")
            button.setCheckable(True)
            button.setMinimumWidth(_NARROWEST_BUTTON)
            button.setMaximumWidth(_WIDEST_BUTTON)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setAccessibleName(f"Rank {rank} for movie {label}")
            button.setToolTip(f"Rank {rank} for movie {label}")
            self._group.addButton(button, rank)
            row.addWidget(button, 4)
            self.buttons.append(button)
        self._group.idClicked.connect(self.picked)
        row.addStretch(1)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """The fixed height, which a layout of its own would not tell."""
        return QSize(super().sizeHint().width(), _CELL_HEIGHT)

    def show_state(self, rank: int | None, focused: bool) -> None:
        """Show the rank that was given (None: none yet) and whether the next digit comes here."""
        for value, button in enumerate(self.buttons, start=1):
            button.setChecked(value == rank)
        given = "no rank yet" if rank is None else f"rank {rank}"
        self.setAccessibleName(f"Movie {self._label}, {given}{', in focus' if focused else ''}")
        if self.property("focused") != focused:
            self.setProperty("focused", focused)
            for widget in (self, self._letter):
                polish_anew(widget)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """A press anywhere in the cell (labels pass it on) moves the focus here."""
        self.pressed.emit()
        event.accept()
