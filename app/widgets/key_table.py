"""Keys and what they do, in one table that both dispatches the keys and writes the help.

Rule: a key that the help does not show does nothing, and a key that it shows does what it says, because both
are read from the same `KeyTable`. A stroke is written as Qt writes it ("Space", "Shift+Left", "Ins"); a
single character ("?", "+", "A") stands for that character as it is typed, however the keyboard makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QKeyCombination, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app import theme
from app.widgets.elements import styled_label

_COMMANDS: Final = (
    Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
)
_MODIFIERS: Final = _COMMANDS | Qt.KeyboardModifier.ShiftModifier
_NAMES = {
    "Left": "←",
    "Right": "→",
    "Up": "↑",
    "Down": "↓",
    "Return": "Enter",
    "PageUp": "Page up",
    "PgUp": "Page up",
    "PageDown": "Page down",
    "PgDown": "Page down",
    "Ins": "Insert",
    "Del": "Delete",
    "Esc": "Escape",
    "-": "−",
}
_SHORT_NAMES = {"Ins": "Insert", "Del": "Delete", "PgUp": "PageUp", "PgDown": "PageDown", "Esc": "Escape"}
_MODIFIER_NAMES = {
    "Ctrl": Qt.KeyboardModifier.ControlModifier,
    "Shift": Qt.KeyboardModifier.ShiftModifier,
    "Alt": Qt.KeyboardModifier.AltModifier,
}
_COLUMNS = 2
_MARGIN = 26


@dataclass(frozen=True)
class Binding:
    """One thing that can be done, and the strokes that do it."""

    strokes: tuple[str, ...]
    meaning: str
    act: Callable[[str], object]
    """Called with the stroke, as it stands in `strokes`."""
    repeats: bool = False
    """Whether a key held down does it again and again."""
    shown_as: str = ""
    """How the help writes the strokes, where there are too many to write."""

    @property
    def label(self) -> str:
        """The strokes as the help shows them."""
        return self.shown_as or "   ".join(dict.fromkeys(_shown(stroke) for stroke in self.strokes))


@dataclass(frozen=True)
class KeyGroup:
    """Bindings of one kind, under one heading of the help."""

    title: str
    bindings: tuple[Binding, ...]
    active: Callable[[], bool] = lambda: True
    """Whether the keys do anything now; a key of an inactive group is taken and does nothing."""


class KeyTable:
    """All keys of a view.

    Args:
        groups: in the order of the help.

    Raises:
        ValueError: if two bindings have the same stroke, or a stroke cannot be read.
    """

    def __init__(self, groups: Sequence[KeyGroup]) -> None:
        """Index the strokes."""
        self.groups = tuple(groups)
        self._by_text: dict[str, tuple[KeyGroup, Binding, str]] = {}
        self._by_key: dict[int, tuple[KeyGroup, Binding, str]] = {}
        for group in self.groups:
            for binding in group.bindings:
                for stroke in binding.strokes:
                    self._add(group, binding, stroke)

    def _add(self, group: KeyGroup, binding: Binding, stroke: str) -> None:
        entry = (group, binding, stroke)
        if len(stroke) == 1:
            taken = self._by_text.setdefault(stroke.upper(), entry)
        else:
            taken = self._by_key.setdefault(_combination(stroke).toCombined(), entry)
        if taken is not entry:
            raise ValueError(f"The key {stroke} has two meanings: “{taken[1].meaning}”, “{binding.meaning}”.")

    def dispatch(self, event: QKeyEvent) -> bool:
        """Do what a key press asks; True if the key is in the table."""
        found = self._find(event)
        if found is None:
            return False
        group, binding, stroke = found
        if group.active() and (binding.repeats or not event.isAutoRepeat()):
            binding.act(stroke)
        return True

    def press(self, stroke: str) -> None:
        """Do what a stroke of the table asks, for keys that Qt does not deliver as such (Tab).

        Raises:
            KeyError: if the stroke is not in the table.
        """
        group, binding, _ = self._by_key[_combination(stroke).toCombined()]
        if group.active():
            binding.act(stroke)

    def _find(self, event: QKeyEvent) -> tuple[KeyGroup, Binding, str] | None:
        text = event.text().upper()
        if text and not event.modifiers() & _COMMANDS and text in self._by_text:
            return self._by_text[text]
        pressed = QKeyCombination(event.modifiers() & _MODIFIERS, Qt.Key(event.key()))
        return self._by_key.get(pressed.toCombined())


class KeyHelp(QFrame):
    """The keys, over the page; a click puts them away."""

    def __init__(self, parent: QWidget) -> None:
        """Build the card, empty and hidden."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self.setAccessibleName("Keys")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(_MARGIN, 16, _MARGIN, 18)
        self._layout.setSpacing(8)
        self._layout.addWidget(styled_label("title", "Keys"))
        self._body = QWidget()
        self._layout.addWidget(self._body)
        self._footnote = styled_label("muted")
        self._footnote.setWordWrap(True)
        self._layout.addWidget(self._footnote)
        self.hide()

    def set_table(self, table: KeyTable, footnote: str = "") -> None:
        """Write the help of a table.

        Args:
            table: the keys.
            footnote: what the mouse does, say.
        """
        body = QWidget()
        columns = QHBoxLayout(body)
        columns.setContentsMargins(0, 0, 0, 0)
        columns.setSpacing(36)
        for groups in _balanced(table.groups, _COLUMNS):
            column = QVBoxLayout()
            column.setSpacing(10)
            for group in groups:
                column.addLayout(_group_layout(group))
            column.addStretch(1)
            columns.addLayout(column)
        self._layout.replaceWidget(self._body, body)
        self._body.hide()
        self._body.deleteLater()
        self._body = body
        self._footnote.setText(footnote)
        self._footnote.setVisible(bool(footnote))
        self.setAccessibleDescription(
            "; ".join(
                f"{binding.label}: {binding.meaning}" for group in table.groups for binding in group.bindings
            )
        )
        self.place()

    def toggle(self) -> None:
        """Show or hide the help."""
        self.setVisible(not self.isVisible())
        self.place()

    def place(self) -> None:
        """Stand in the middle of the page, above everything."""
        parent = self.parentWidget()
        if parent is not None and self.isVisible():
            # The footnote wraps to the width of the table above it.
            width = max(self._body.sizeHint().width() + 2 * _MARGIN, self.minimumSizeHint().width())
            self.resize(width, max(self.heightForWidth(width), self._layout.minimumHeightForWidth(width)))
            self.move((parent.width() - self.width()) // 2, (parent.height() - self.height()) // 2)
            self.raise_()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A click puts the help away."""
        self.hide()
        event.accept()


def _combination(stroke: str) -> QKeyCombination:
    *names, key = stroke.split("+")
    modifiers = Qt.KeyboardModifier.NoModifier
    try:
        for name in names:
            modifiers |= _MODIFIER_NAMES[name]
        return QKeyCombination(modifiers, Qt.Key[f"Key_{_SHORT_NAMES.get(key, key)}"])
    except KeyError as error:
        raise ValueError(f"“{stroke}” is no key.") from error


def _shown(stroke: str) -> str:
    modifiers, plus, key = stroke.rpartition("+") if len(stroke) > 1 else ("", "", stroke)
    return f"{modifiers}{plus}{_NAMES.get(key, key)}"


def _balanced(groups: Sequence[KeyGroup], columns: int) -> list[list[KeyGroup]]:
    """Split the groups, in their order, into columns of about equal height."""
    # A heading is about as high as a row and a half.
    heights = [len(group.bindings) + 1.5 for group in groups]
    share = sum(heights) / columns
    split: list[list[KeyGroup]] = [[] for _ in range(columns)]
    passed = 0.0
    for group, height in zip(groups, heights, strict=True):
        split[min(int((passed + height / 2) / share), columns - 1)].append(group)
        passed += height
    return split


def _group_layout(group: KeyGroup) -> QVBoxLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(3)
    grid.setColumnStretch(1, 1)
    for row, binding in enumerate(group.bindings):
        keys = QLabel(binding.label)
        keys.setTextFormat(Qt.TextFormat.PlainText)
        keys.setStyleSheet(f"color: {theme.ACCENT}; font-weight: 600;")
        keys.setMinimumWidth(140)
        grid.addWidget(keys, row, 0)
        grid.addWidget(QLabel(binding.meaning), row, 1)
    layout = QVBoxLayout()
    layout.setSpacing(5)
    layout.addWidget(styled_label("heading", group.title))
    layout.addLayout(grid)
    return layout
