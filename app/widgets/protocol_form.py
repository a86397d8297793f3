"""The protocol as a form: every field under a plain label, and what is wrong with a field right below it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout, QWidget

from app.protocol_words import FIELD_LABELS
from app.widgets.elements import styled_label, wrapped
from app.widgets.field_editors import FieldEditor, make_editor
from studies.design import FIELDS, Design
from studies.errors import StudyError
from studies.protocol import FieldError

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Study": ("name", "arms", "readers"),
    "Reading": ("repeat_share", "repeat_minimum", "must_view_loops", "break_minutes", "guess_clips"),
    "Picture": ("grey_scale", "crop_mm", "speed"),
    "Analysis": ("endpoints", "strata", "alpha", "measurement_window_s"),
}
"""Heading of each card of the form, and its fields."""

HINTS: Mapping[str, str] = {
    "readers": "Commas part the names; each reader gets another order.",
    "repeat_share": "Shown twice without a mark: how well readers agree with themselves.",
    "guess_clips": "After the last clip: which movie was made by which method?",
    "strata": "Results are tabulated, and places balanced, within each group.",
}
_LABEL_WIDTH = 128


class ProtocolForm(QWidget):
    """Edits a design.

    Args:
        known_methods: names that are offered as methods.
        parent: Qt owner.
    """

    edited = Signal()
    """A person changed a field."""

    def __init__(self, known_methods: Sequence[str], parent: QWidget | None = None) -> None:
        """Build the form, empty."""
        super().__init__(parent)
        self.editors: dict[str, FieldEditor] = {}
        self.errors: dict[str, QLabel] = {}
        self._before: dict[str, Any] = {}
        self._mistakes: dict[str, str] = {}
        note = "Fixed: the scans have movies of these methods."
        self._methods_note = wrapped(styled_label("muted", note))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(12)
        for heading, names in SECTIONS.items():
            column.addWidget(self._card(heading, names, known_methods))
        column.addStretch(1)

    def set_design(self, design: Design) -> None:
        """Show a design; what a person has changed and not saved yet stays as typed."""
        fields = design.to_fields()
        for name, editor in self.editors.items():
            typed = name in self._before and editor.value() != self._before[name]
            if typed and editor.value() != fields[name]:
                continue
            # Text that means the same is left as it was typed: somebody may be in the middle of a word.
            if name not in self._before or editor.value() != fields[name]:
                editor.set_value(fields[name])
            self._before[name] = editor.value()

    def saved(self, changes: Mapping[str, Any]) -> None:
        """Take note that these changes are in the study."""
        for name, value in changes.items():
            if self.editors[name].value() == value:
                self._before[name] = value

    def fix_methods(self, fixed: bool) -> None:
        """Keep the methods as they are, because there are movies of them."""
        self.editors["arms"].setEnabled(not fixed)
        self._methods_note.setVisible(fixed)

    def take_design(self, design: Design) -> None:
        """Show a design in the place of everything that was typed."""
        fields = design.to_fields()
        for name, editor in self.editors.items():
            editor.set_value(fields[name])
            self._before[name] = editor.value()
            self.show_error(name, "")
        self._mistakes = {}

    def changes(self) -> dict[str, Any]:
        """The fields that a person has changed and that are not saved yet."""
        return {
            name: copy.copy(editor.value())
            for name, editor in self.editors.items()
            if name in self._before and editor.value() != self._before[name]
        }

    def check(self, design: Design) -> Design | None:
        """Return the design with the changes, or show what is wrong with them, each at its field.

        Args:
            design: the one that was saved last.
        """
        changes = self.changes()
        mistakes: dict[str, str] = {}
        for name, value in changes.items():
            try:
                design.changed({name: value})
            except StudyError as error:
                mistakes[name] = _words(error)
        changed: Design | None = None
        if not mistakes:
            try:
                changed = design.changed(changes)
            except StudyError as error:
                # Each is right by itself, for instance a name and a method that the name must not contain.
                mistakes[next(iter(changes))] = _words(error)
        self._mistakes = mistakes
        for name in self.editors:
            self.show_error(name, mistakes.get(name, ""))
        return changed

    def first_mistake(self) -> str:
        """Label of the first field that has to be corrected; empty if there is none."""
        return next((FIELD_LABELS[name] for name in self.editors if name in self._mistakes), "")

    def show_error(self, name: str, sentence: str) -> None:
        """Show what is wrong with a field; an empty sentence takes it away."""
        self.errors[name].setText(sentence)
        self.errors[name].setVisible(bool(sentence))

    def _card(self, heading: str, names: Sequence[str], known_methods: Sequence[str]) -> QFrame:
        card = QFrame()
        card.setProperty("role", "card")
        grid = QGridLayout(card)
        grid.setContentsMargins(18, 14, 18, 16)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(6)
        grid.setColumnMinimumWidth(0, _LABEL_WIDTH)
        grid.setColumnStretch(1, 1)
        grid.addWidget(styled_label("heading", heading), 0, 0, 1, 2)
        row = 1
        for name in names:
            editor = make_editor(name, known_methods)
            editor.setToolTip(FIELDS[name])
            editor.edited.connect(self.edited)
            label = QLabel(FIELD_LABELS[name])
            label.setContentsMargins(0, 6, 0, 0)
            label.setBuddy(editor)
            grid.addWidget(label, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(editor, row, 1)
            row += 1
            if name in HINTS:
                grid.addWidget(wrapped(styled_label("muted", HINTS[name])), row, 1)
                row += 1
            if name == "arms":
                grid.addWidget(self._methods_note, row, 1)
                row += 1
            error = wrapped(styled_label("error"))
            error.setAccessibleName(f"What is wrong with {FIELD_LABELS[name]}")
            error.hide()
            grid.addWidget(error, row, 1)
            row += 1
            self.editors[name] = editor
            self.errors[name] = error
        return card


def field_of(error: BaseException) -> str:
    """The protocol's field that an error is about, without its place in a list; empty if none is named."""
    cause = error if isinstance(error, FieldError) else error.__cause__
    if not isinstance(cause, FieldError):
        return ""
    return cause.field.partition("[")[0].partition(".")[0]


def _words(error: StudyError) -> str:
    """What is wrong with a field, where the field itself needs no naming."""
    cause = error if isinstance(error, FieldError) else error.__cause__
    if isinstance(cause, FieldError):
        return f"Expected: {cause.expected}."
    return str(error).removeprefix("the protocol: ")
