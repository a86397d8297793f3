"""Questions to the user, in one replaceable place: tests put prepared answers in its stead."""

from __future__ import annotations

from dataclasses import dataclass
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

from app.reconstruction_options import Options, ReconstructionOptionsDialog

SHORTEST_PASSPHRASE = 8
"""Fewest characters of a passphrase that seals a study's key."""


@dataclass(frozen=True)
class LockAnswer:
    """Who will read, and the passphrase that seals the key."""

    readers: tuple[str, ...]
    passphrase: str


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

    def new_study(self, parent: QWidget, start: str = "") -> tuple[str, Path] | None:
        """Ask for the name of a new study and the folder it will live in."""
        dialog = _NewStudyDialog(parent, start)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return None
        return dialog.answer()

    def lock_study(self, parent: QWidget, clips: int) -> LockAnswer | None:
        """Ask for the readers and the passphrase, and say what locking means."""
        dialog = _LockDialog(parent, clips)
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


class _LockDialog(QDialog):
    def __init__(self, parent: QWidget, clips: int) -> None:
        super().__init__(parent)
        self.setWindowTitle("Lock the study")
        self.setMinimumWidth(540)
        what = QLabel(
            f"Locking fixes the {clips} clips and writes every reader's order. The key that says which movie "
            "was made by which method is sealed with the passphrase: without it nobody can unblind the "
            "study, and a lost passphrase cannot be recovered."
        )
        what.setWordWrap(True)
        self._readers = QLineEdit()
        self._readers.setPlaceholderText("Reader 1, Reader 2")
        self._passphrase = QLineEdit()
        self._passphrase.setEchoMode(QLineEdit.EchoMode.Password)
        self._again = QLineEdit()
        self._again.setEchoMode(QLineEdit.EchoMode.Password)
        form = QFormLayout()
        form.setSpacing(10)
        form.addRow("Readers", self._readers)
        form.addRow("Passphrase", self._passphrase)
        form.addRow("Again", self._again)
        self._hint = QLabel()
        self._hint.setProperty("role", "muted")
        self._hint.setMinimumHeight(self._hint.fontMetrics().height())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self._lock = buttons.addButton("Lock study", QDialogButtonBox.ButtonRole.AcceptRole)
        self._lock.setProperty("role", "primary")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 20)
        layout.setSpacing(14)
        layout.addWidget(what)
        layout.addLayout(form)
        layout.addWidget(self._hint)
        layout.addWidget(buttons)
        for field in (self._readers, self._passphrase, self._again):
            field.textChanged.connect(self._check)
        self._check()

    def answer(self) -> LockAnswer:
        """Readers and passphrase."""
        return LockAnswer(reader_names(self._readers.text()), self._passphrase.text())

    def _check(self) -> None:
        hint = ""
        if not reader_names(self._readers.text()):
            hint = "Name at least one reader; commas part the names."
        elif len(self._passphrase.text()) < SHORTEST_PASSPHRASE:
            hint = f"The passphrase needs at least {SHORTEST_PASSPHRASE} characters."
        elif not self._again.text():
            hint = "Type the passphrase again."
        elif self._passphrase.text() != self._again.text():
            hint = "The two passphrases differ."
        self._hint.setText(hint)
        self._lock.setEnabled(not hint)


def reader_names(text: str) -> tuple[str, ...]:
    """Part a list of readers at commas; empty and repeated names fall away."""
    names = [name.strip() for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def folder_name(name: str) -> str:
    """A folder name for a study: letters, digits, '-' and '_' are kept, anything else becomes '-'."""
    kept = "".join(
        character if character.isalnum() or character in "-_" else "-" for character in name.strip()
    )
    return "-".join(part for part in kept.split("-") if part).lower()
