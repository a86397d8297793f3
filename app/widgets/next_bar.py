"""One line at the top of the Study page: what to do next, with the button that does it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app import theme
from app.study_snapshot import NextStep
from app.widgets.elements import styled_label


class NextBar(QFrame):
    """Shows a step.

    Args:
        parent: Qt owner.
    """

    asked = Signal(str)
    """The button of the step of this name was pressed."""
    open_asked = Signal()
    """The second button of the first step: open a study that is there."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the bar, empty."""
        super().__init__(parent)
        self.setObjectName("nextBar")
        self.setStyleSheet(
            f"#nextBar {{ background: {theme.RAISED}; border: 1px solid {theme.ACCENT_DEEP};"
            " border-radius: 6px; }"
        )
        self._name = ""
        self.title = styled_label("heading")
        self.text = styled_label("muted")
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setWordWrap(True)
        self.open_button = QPushButton(theme.icon("folder"), " Open study…")
        self.open_button.clicked.connect(self.open_asked)
        self.button = QPushButton()
        self.button.setProperty("role", "primary")
        self.button.clicked.connect(lambda: self.asked.emit(self._name))
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self.title)
        texts.addWidget(self.text)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(18, 12, 14, 12)
        layout.setSpacing(12)
        layout.addLayout(texts, 1)
        layout.addWidget(self.open_button)
        layout.addWidget(self.button)

    def show_step(self, step: NextStep) -> None:
        """Show another step."""
        self._name = step.name
        self.title.setText(f"Next: {step.title}")
        self.text.setText(step.text)
        self.button.setText(step.action)
        self.button.setVisible(bool(step.action))
        self.open_button.setVisible(step.name == "open")

    def show_waiting(self, text: str) -> None:
        """Say what is under way; there is nothing to press."""
        self._name = ""
        self.title.setText(text)
        self.text.setText("")
        self.button.hide()
        self.open_button.hide()
