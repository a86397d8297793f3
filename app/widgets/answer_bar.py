"""What a reader can say about a clip beside the ranks: how sure, that it cannot be judged, a note.

It stands below the movies with the buttons that undo and save; every control has a key, which its tool tip
names, and none but the note takes the keyboard.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.widgets.elements import polish_anew, say, styled_label
from app.widgets.entry_field import EntryField
from app.widgets.ranking_bar import HIGHEST_CONFIDENCE, RankingEntry

_STYLE_SHEET = f"""
#confidence_button {{ padding: 5px 0px; color: {theme.MUTED}; font-weight: 600; }}
#confidence_button:checked, #cannot_judge:checked {{ background: {theme.ACCENT}; border-color: {theme.ACCENT};
    color: #0b1418; }}
#confidence_button:disabled, #cannot_judge:disabled {{ color: {theme.DISABLED}; }}
#confidence[asking="true"] #confidence_button {{ border-color: {theme.ACCENT}; color: {theme.TEXT}; }}
"""
_CONFIDENCES = ("A guess", "Rather unsure", "Fairly sure", "Sure", "Certain")
_BUTTON_WIDTH = 28
_WIDEST_NOTE = 420


class AnswerBar(QWidget):
    """One line for what is to be done, one for confidence, "cannot judge", the note, undo and save."""

    confidence_picked = Signal(int)
    cannot_judge_toggled = Signal(bool)
    undo_pressed = Signal()
    save_pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the bar, nothing entered."""
        super().__init__(parent)
        self.setStyleSheet(_STYLE_SHEET)
        self.status = QLabel()
        self.status.setObjectName("reading_status")
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setWordWrap(True)
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.status.setMinimumHeight(self.status.fontMetrics().height() + 4)
        self.confidence = QWidget()
        self.confidence.setObjectName("confidence")
        self.confidence_buttons = self._confidence_buttons()
        self.cannot_judge = QPushButton("Cannot judge")
        self.cannot_judge.setObjectName("cannot_judge")
        self.cannot_judge.setCheckable(True)
        self.cannot_judge.setToolTip("This clip cannot be judged (J)")
        self.cannot_judge.clicked.connect(self.cannot_judge_toggled)
        self.note = EntryField()
        self.note.setPlaceholderText("Note on this clip (N)")
        self.note.setAccessibleName("Note on this clip")
        self.note.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.note.setMaximumWidth(_WIDEST_NOTE)
        self.undo = QPushButton("Undo")
        self.undo.setIcon(theme.icon("undo"))
        self.undo.setToolTip("Take the last entry back (Backspace)")
        self.undo.clicked.connect(self.undo_pressed)
        self.save = QPushButton("Save and next")
        self.save.setProperty("role", "primary")
        self.save.setToolTip("Save the ranking and show the next clip (Enter)")
        self.save.clicked.connect(self.save_pressed)
        for button in (self.cannot_judge, self.undo, self.save):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        controls = QHBoxLayout()
        controls.setContentsMargins(0, 0, 0, 0)
        controls.setSpacing(10)
        controls.addWidget(self.confidence)
        controls.addWidget(self.cannot_judge)
        controls.addWidget(self.note, 1)
        controls.addStretch(1)
        controls.addWidget(self.undo)
        controls.addWidget(self.save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(6)
        layout.addWidget(self.status)
        layout.addLayout(controls)

    def say(self, text: str, role: str) -> None:
        """Show a sentence in a role."""
        say(self.status, text, role)

    def show_entry(self, entry: RankingEntry, *, enabled: bool) -> None:
        """Show what was entered, and whether something can be entered now."""
        for number, button in enumerate(self.confidence_buttons, start=1):
            button.setChecked(number == entry.confidence)
            button.setEnabled(enabled)
        given = "not given" if entry.confidence is None else f"{entry.confidence} of {HIGHEST_CONFIDENCE}"
        self.confidence.setAccessibleName(f"Confidence, {given}")
        self.cannot_judge.setChecked(entry.cannot_judge)
        self.cannot_judge.setEnabled(enabled)
        self.note.setEnabled(enabled)
        self.undo.setEnabled(enabled and entry.undoable)
        self.save.setEnabled(enabled and entry.complete)

    def show_asking(self, asking: bool) -> None:
        """Mark the confidence while the next digit goes there."""
        if self.confidence.property("asking") != asking:
            self.confidence.setProperty("asking", asking)
            for widget in (self.confidence, *self.confidence_buttons):
                polish_anew(widget)

    def _confidence_buttons(self) -> list[QPushButton]:
        row = QHBoxLayout(self.confidence)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(styled_label("muted", "How sure"))
        row.addSpacing(6)
        group = QButtonGroup(self)
        group.setExclusive(False)
        buttons = []
        for number in range(1, HIGHEST_CONFIDENCE + 1):
            button = QPushButton(str(number))
            button.setObjectName("confidence_button")
            button.setCheckable(True)
            button.setFixedWidth(_BUTTON_WIDTH)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setAccessibleName(f"Confidence {number} of {HIGHEST_CONFIDENCE}")
            button.setToolTip(f"{_CONFIDENCES[number - 1]} (S, then {number})")
            group.addButton(button, number)
            row.addWidget(button)
            buttons.append(button)
        group.idClicked.connect(self.confidence_picked)
        return buttons
