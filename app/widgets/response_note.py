"""Where the answers of a reader package are: a line and a button at the end of its reading."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from app.context import AppContext
from app.package_folders import response_beside
from app.reader_package import ReaderPackage
from app.widgets.elements import say, styled_label

_WIDTH = 620


class ResponseNote(QWidget):
    """Says where the response was saved, and saves it elsewhere; hidden unless a package is open.

    Args:
        context: knows the package.
        parent: Qt owner.
    """

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the line and the button."""
        super().__init__(parent)
        self._context = context
        self._package: ReaderPackage | None = None
        self.text = styled_label("muted")
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.text.setFixedWidth(_WIDTH)
        self.button = QPushButton("Save the answers elsewhere…")
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.button.clicked.connect(self._save_elsewhere)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(self.text, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        context.study_changed.connect(self._on_study_changed)
        self._on_study_changed()

    def _on_study_changed(self) -> None:
        package = self._context.reader_package
        if package is not None and package.study is not self._context.study:
            package = None
        if package is not self._package:
            self._package = package
            if package is not None:
                package.saved.connect(self._on_saved)
                package.failed.connect(self._on_failed)
                say(self.text, "The answers are being saved …", "muted")
        self.setVisible(package is not None)

    def _on_saved(self, path: Path) -> None:
        say(
            self.text,
            f"Your answers are in {path}. Send this file back to who sent the package.",
            "muted",
        )

    def _on_failed(self, sentence: str) -> None:
        say(self.text, sentence, "error")

    def _save_elsewhere(self) -> None:
        if self._package is None:
            return
        start = str(response_beside(self._package.source))
        kinds = "Responses (*.blindcine-response)"
        path = self._context.dialogs.save_file(self, "Save the answers", kinds, start)
        if path is not None:
            self._package.save(path)
