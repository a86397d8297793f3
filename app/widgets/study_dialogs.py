"""The questions of the Study page: lock the study, and record an amendment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.protocol_words import FIELD_LABELS, field_text
from app.study_snapshot import Check, CheckState, passphrase_strength
from app.widgets.elements import say, styled_label
from app.widgets.field_editors import FieldEditor, make_editor
from studies.errors import StudyError
from studies.protocol import AMENDABLE, FieldError, Protocol, amended

SHORTEST_PASSPHRASE = 8
"""Fewest characters of a passphrase that seals a study's key."""
_SIGNS: Mapping[CheckState, tuple[str, str, str]] = {
    "good": ("check", theme.GOOD, "in order"),
    "warning": ("warning", theme.WARNING, "can be improved"),
    "missing": ("cancel", theme.ERROR, "missing"),
}
_SIGN_SIZE = 18
_STRENGTH_COLOURS = (theme.BORDER, theme.ERROR, theme.WARNING, theme.GOOD)


@dataclass(frozen=True)
class AmendmentAnswer:
    """A change of the protocol after the lock, as it will be recorded."""

    actor: str
    reason: str
    changes: dict[str, Any]
    """Empty for a note."""


class LockDialog(QDialog):
    """Shows what the lock needs and what it makes final, and asks for the passphrase twice.

    Args:
        parent: Qt owner.
        checks: what is in order, what could be better, and what is missing; anything missing bars the lock.
    """

    def __init__(self, parent: QWidget, checks: Sequence[Check]) -> None:
        """Build the dialog."""
        super().__init__(parent)
        self.setWindowTitle("Lock the study")
        self.setMinimumWidth(600)
        self._refused = any(check.state == "missing" for check in checks)
        self.passphrase = _secret_line("Passphrase")
        self.again = _secret_line("Passphrase again")
        self.strength = QProgressBar()
        self.strength.setRange(0, 3)
        self.strength.setTextVisible(False)
        self.strength.setAccessibleName("Strength of the passphrase")
        form = QFormLayout()
        form.setSpacing(10)
        form.addRow("Passphrase", self.passphrase)
        form.addRow("", self.strength)
        form.addRow("Again", self.again)
        self.hint = styled_label("muted")
        self.hint.setWordWrap(True)
        self.hint.setMinimumHeight(self.hint.fontMetrics().height())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.lock_button = buttons.addButton("Lock study", QDialogButtonBox.ButtonRole.AcceptRole)
        self.lock_button.setProperty("role", "primary")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 20)
        layout.setSpacing(14)
        layout.addLayout(_checklist(checks))
        layout.addWidget(styled_label("heading", "What can never be changed afterwards"))
        layout.addWidget(
            _wrapped(
                "Scans and movies, methods, readers and their orders, repeats, grey scale and crop. "
                "Endpoints, level, speed, passes and breaks can be amended, with a reason on record."
            )
        )
        layout.addWidget(
            _wrapped(
                "The key that tells which movie was made by which method is sealed with the passphrase. "
                "Nobody can recover a lost one: write it down, and keep it from the readers."
            )
        )
        layout.addLayout(form)
        layout.addWidget(self.hint)
        layout.addWidget(buttons)
        for line in (self.passphrase, self.again):
            line.textChanged.connect(self._check)
            line.setEnabled(not self._refused)
        self._check()
        if not self._refused:
            self.passphrase.setFocus()

    def answer(self) -> str:
        """The passphrase."""
        return self.passphrase.text()

    def _check(self) -> None:
        first, second = self.passphrase.text(), self.again.text()
        strength, word = passphrase_strength(first)
        role = "muted"
        accepted = False
        if self._refused:
            role, hint = "error", "The study cannot be locked yet: see what is missing above."
        elif len(first) < SHORTEST_PASSPHRASE:
            strength = min(strength, 1)
            hint = f"The passphrase needs at least {SHORTEST_PASSPHRASE} characters."
        elif second and first != second:
            role, hint = "warning", "The two passphrases differ."
        elif not second:
            hint = f"{word} Type it again."
        else:
            hint, accepted = word, True
        self.strength.setValue(strength)
        self.strength.setStyleSheet(
            f"QProgressBar::chunk {{ background: {_STRENGTH_COLOURS[strength]}; border-radius: 3px; }}"
        )
        say(self.hint, hint, role)
        self.lock_button.setEnabled(accepted)


class AmendDialog(QDialog):
    """Asks what to change after the lock, who changes it, and why.

    Args:
        parent: Qt owner.
        protocol: as amended so far.
    """

    def __init__(self, parent: QWidget, protocol: Protocol) -> None:
        """Build the dialog."""
        super().__init__(parent)
        self.setWindowTitle("Amend the protocol")
        self.setMinimumWidth(560)
        self._protocol = protocol
        self._fields = protocol.as_fields()
        self._editor: FieldEditor | None = None
        self.field = QComboBox()
        self.field.setAccessibleName("What to change")
        self.field.addItem("Nothing: a note for the record", "")
        for name in AMENDABLE:
            self.field.addItem(FIELD_LABELS[name], name)
        self.before = styled_label("muted")
        self._place = QVBoxLayout()
        self.actor = QLineEdit()
        self.actor.setPlaceholderText("Your name")
        self.reason = QLineEdit()
        self.reason.setPlaceholderText("Why? Readers may see it, so name no method")
        form = QFormLayout()
        form.setSpacing(10)
        form.addRow("Change", self.field)
        form.addRow("Now", self.before)
        form.addRow("To", self._place)
        form.addRow("Who", self.actor)
        form.addRow("Reason", self.reason)
        self.hint = styled_label("muted")
        self.hint.setWordWrap(True)
        self.hint.setMinimumHeight(self.hint.fontMetrics().height())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.record_button = buttons.addButton("Record amendment", QDialogButtonBox.ButtonRole.AcceptRole)
        self.record_button.setProperty("role", "primary")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 20)
        layout.setSpacing(14)
        layout.addLayout(form)
        layout.addWidget(self.hint)
        layout.addWidget(buttons)
        self.field.currentIndexChanged.connect(self._on_field)
        for line in (self.actor, self.reason):
            line.textChanged.connect(self._check)
        self._on_field()

    @property
    def editor(self) -> FieldEditor | None:
        """The editor of the field that is chosen; None for a note."""
        return self._editor

    def answer(self) -> AmendmentAnswer:
        """Who, why and what."""
        return AmendmentAnswer(self.actor.text().strip(), self.reason.text().strip(), self._changes())

    def _changes(self) -> dict[str, Any]:
        name = self.field.currentData()
        return {name: self._editor.value()} if self._editor is not None else {}

    def _on_field(self) -> None:
        name = self.field.currentData()
        if self._editor is not None:
            self._place.removeWidget(self._editor)
            self._editor.hide()
            self._editor.deleteLater()
            self._editor = None
        if name:
            self._editor = make_editor(name)
            self._editor.set_value(self._fields[name])
            self._editor.edited.connect(self._check)
            self._place.addWidget(self._editor)
        self.before.setText(field_text(name, self._fields[name]) if name else "–")
        self._check()
        self.adjustSize()

    def _check(self) -> None:
        role, hint = "muted", ""
        try:
            changes = self._changes()
            if changes:
                amended(self._protocol, changes)
        except FieldError as error:
            role, hint = "error", f"Expected: {error.expected}."
        except StudyError:
            hint = "Choose another value than now."
        if not hint and not self.actor.text().strip():
            hint = "Say who amends."
        elif not hint and not self.reason.text().strip():
            hint = "Give the reason."
        say(self.hint, hint, role)
        self.record_button.setEnabled(not hint)


def _checklist(checks: Sequence[Check]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(10)
    grid.setVerticalSpacing(6)
    grid.setColumnStretch(1, 1)
    for row, check in enumerate(checks):
        icon, colour, word = _SIGNS[check.state]
        sign = QLabel()
        sign.setPixmap(theme.pixmap(icon, colour, _SIGN_SIZE, 2.0))
        sign.setAccessibleName(word)
        text = QLabel(check.text)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setWordWrap(True)
        text.setAccessibleName(f"{check.text} ({word})")
        grid.addWidget(sign, row, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(text, row, 1)
    return grid


def _wrapped(text: str) -> QLabel:
    label = styled_label("muted", text)
    label.setWordWrap(True)
    return label


def _secret_line(name: str) -> QLineEdit:
    line = QLineEdit()
    line.setEchoMode(QLineEdit.EchoMode.Password)
    line.setAccessibleName(name)
    return line
