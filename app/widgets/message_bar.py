"""A bar at the top of the window for what went wrong: it holds up nobody and stays until it is read."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QWidget

from app import theme


class MessageBar(QFrame):
    """One sentence with a warning sign and a button to put it away; hidden while there is nothing to say."""

    put_away = Signal()
    """The sentence was read and put away."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the bar, hidden."""
        super().__init__(parent)
        self.setObjectName("messageBar")
        self.setStyleSheet(
            f"#messageBar {{ background: #33241f; border: none; border-bottom: 1px solid {theme.ERROR}; }}"
        )
        sign = QLabel()
        sign.setPixmap(theme.pixmap("warning", theme.ERROR, 20, self.devicePixelRatioF()))
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setAccessibleName("Error")
        close = QToolButton()
        close.setIcon(theme.icon("cancel", theme.MUTED))
        close.setIconSize(QSize(16, 16))
        close.setToolTip("Put away")
        close.setAccessibleName("Put away")
        close.clicked.connect(self.hide)
        close.clicked.connect(self.put_away)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(20, 8, 12, 8)
        layout.setSpacing(12)
        layout.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self._text, 1)
        layout.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def text(self) -> str:
        """The sentence shown."""
        return self._text.text()

    def show_error(self, sentence: str) -> None:
        """Show a sentence; it replaces the one before."""
        self._text.setText(sentence)
        self.show()
