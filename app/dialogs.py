"""Questions to the user, in one replaceable place: tests put prepared answers in its stead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.names import folder_name
from app.reconstruction_options import Options, ReconstructionOptionsDialog
from app.study_snapshot import Check
from app.widgets.study_dialogs import AmendDialog, AmendmentAnswer, LockDialog
from studies.protocol import Protocol


class Dialogs:
    """The real dialogs. Every method returns None or an empty list if the user changed their mind."""

    def open_files(self, parent: QWidget, start: str = "") -> list[Path]:
        """Ask for raw data files."""
        names, _ = QFileDialog.getOpenFileNames(
            parent, "Open scans", start, "Raw data (*.h5 *.mrd *.hdf5);;All files (*)"
        )
        return [Path(name) for name in names]

    def choose_folder(self, parent: QWidget, title: str, start: str = "") -> Path | None:
        """Ask for an existing folder."""
        name = QFileDialog.getExistingDirectory(parent, title, start)
        return Path(name) if name else None

    def open_file(self, parent: QWidget, title: str, kinds: str, start: str = "") -> Path | None:
        """Ask for one existing file; `kinds` as Qt takes them ("Drawing (*.json)")."""
        name, _ = QFileDialog.getOpenFileName(parent, title, start, kinds)
        return Path(name) if name else None

    def save_file(self, parent: QWidget, title: str, kinds: str, start: str = "") -> Path | None:
        """Ask for the name of a file to write; the dialog itself asks before one is replaced."""
        name, _ = QFileDialog.getSaveFileName(parent, title, start, kinds)
        return Path(name) if name else None

    def new_study(self, parent: QWidget, start: str = "") -> tuple[str, Path] | None:
        """Ask for the name of a new study and the folder it will live in."""
        dialog = _NewStudyDialog(parent, start)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return None
        return dialog.answer()

    def lock_study(self, parent: QWidget, checks: Sequence[Check]) -> str | None:
        """Show what the lock needs and what it makes final, and ask for the passphrase."""
        dialog = LockDialog(parent, checks)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return None
        return dialog.answer()

    def amendment(self, parent: QWidget, protocol: Protocol) -> AmendmentAnswer | None:
        """Ask what to change after the lock, who changes it, and why."""
        dialog = AmendDialog(parent, protocol)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return None
        return dialog.answer()

    def reconstruction_options(self, parent: QWidget, chosen: Options) -> Options | None:
        """Ask for what can be chosen beside the methods."""
        dialog = ReconstructionOptionsDialog(parent, chosen)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return None
        return dialog.answer()

    def confirm(self, parent: QWidget, title: str, text: str, action: str) -> bool:
        """Ask whether to go on; `action` is the verb on the button."""
        box = QMessageBox(parent)
        box.setWindowTitle(title)
        box.setText(text)
        go_on = box.addButton(action, QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.exec()
        return box.clickedButton() is go_on

    def show_text(self, parent: QWidget, title: str, text: str) -> None:
        """Show a text to read."""
        box = QMessageBox(parent)
        box.setWindowTitle(title)
        box.setText(text)
        box.exec()


class _NewStudyDialog(QDialog):
    def __init__(self, parent: QWidget, start: str) -> None:
        super().__init__(parent)
        self.setWindowTitle("New study")
        self.setMinimumWidth(520)
        self._name = QLineEdit()
        self._name.setPlaceholderText("Cardiac cine, spring")
        self._folder = QLineEdit(start)
        browse = QPushButton("Browse…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        form = QFormLayout()
        form.setSpacing(10)
        form.addRow("Name", self._name)
        folder_row = QHBoxLayout()
        folder_row.addWidget(self._folder, 1)
        folder_row.addWidget(browse)
        form.addRow("Make it in", folder_row)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self._create = self._buttons.addButton("Create study", QDialogButtonBox.ButtonRole.AcceptRole)
        self._create.setProperty("role", "primary")
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        note = QLabel(
            "A folder with the study's name is made there; it will hold the movies and all readings."
        )
        note.setWordWrap(True)
        note.setProperty("role", "muted")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 20)
        layout.setSpacing(14)
        layout.addLayout(form)
        layout.addWidget(note)
        layout.addWidget(self._buttons)
        self._name.textChanged.connect(self._check)
        self._folder.textChanged.connect(self._check)
        self._check()

    def answer(self) -> tuple[str, Path]:
        """Name and folder of the study."""
        name = self._name.text().strip()
        return name, Path(self._folder.text().strip()) / folder_name(name)

    def _browse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder for the new study", self._folder.text())
        if name:
            self._folder.setText(name)

    def _check(self) -> None:
        self._create.setEnabled(
            bool(folder_name(self._name.text())) and Path(self._folder.text().strip()).is_dir()
        )
