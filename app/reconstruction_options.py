"""The dialog for what can be chosen beside a method; the same fields as `blindcine reconstruct` has.

The window keeps only what differs from the defaults, under the names that the worker's request has.
"""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QVBoxLayout,
    QWidget,
)

from app.widgets.elements import styled_label

Options = dict[str, str | bool]

CHOICES: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "settings": (
        "Compressed sensing",
        (
            ("Quality (for studies)", "quality"),
            ("Fast", "fast"),
            ("As published (λ = 5e-4)", "published"),
        ),
    ),
    "sensitivities": (
        "Coil sensitivities",
        (("Inati (as in training)", "inati"), ("ESPIRiT", "espirit"), ("Walsh", "walsh")),
    ),
    "combination": (
        "Gridding combines coils by",
        (
            ("Root sum of squares", "root_sum_of_squares"),
            ("Adaptive filter (darker air)", "adaptive"),
            ("Sensitivities", "sensitivities"),
        ),
    ),
}
"""Label and choices of each field; the first choice is the default."""


class ReconstructionOptionsDialog(QDialog):
    """Edits the options.

    Args:
        parent: Qt owner.
        chosen: the options now; what is missing has its default.
    """

    def __init__(self, parent: QWidget, chosen: Options) -> None:
        """Build the dialog."""
        super().__init__(parent)
        self.setWindowTitle("Reconstruction options")
        self.boxes: dict[str, QComboBox] = {}
        form = QFormLayout()
        form.setSpacing(10)
        for name, (label, choices) in CHOICES.items():
            box = QComboBox()
            for text, value in choices:
                box.addItem(text, value)
            box.setCurrentIndex(max(box.findData(chosen.get(name, choices[0][1])), 0))
            form.addRow(label, box)
            self.boxes[name] = box
        self.delays_box = QCheckBox("Correct gradient delays of radial scans")
        self.delays_box.setChecked(bool(chosen.get("correct_delays", True)))
        form.addRow("", self.delays_box)
        note = styled_label(
            "muted",
            "What is chosen here is recorded in every movie. The networks were trained with the defaults.",
        )
        note.setWordWrap(True)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Cancel | QDialogButtonBox.StandardButton.RestoreDefaults
        )
        use = buttons.addButton("Use", QDialogButtonBox.ButtonRole.AcceptRole)
        use.setProperty("role", "primary")
        use.setDefault(True)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        buttons.button(QDialogButtonBox.StandardButton.RestoreDefaults).clicked.connect(self.restore_defaults)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 20)
        layout.setSpacing(14)
        layout.addLayout(form)
        layout.addWidget(note)
        layout.addWidget(buttons)

    def restore_defaults(self) -> None:
        """Show the defaults."""
        for box in self.boxes.values():
            box.setCurrentIndex(0)
        self.delays_box.setChecked(True)

    def answer(self) -> Options:
        """The options that differ from the defaults."""
        options: Options = {
            name: str(box.currentData()) for name, box in self.boxes.items() if box.currentIndex() > 0
        }
        if not self.delays_box.isChecked():
            options["correct_delays"] = False
        return options


def known_options(record: object) -> Options:
    """Of something that was stored before, the options that there are."""
    if not isinstance(record, dict):
        return {}
    options: Options = {
        name: record[name]
        for name, (_, choices) in CHOICES.items()
        if record.get(name) in [value for _, value in choices[1:]]
    }
    if record.get("correct_delays") is False:
        options["correct_delays"] = False
    return options


def described(options: Options) -> str:
    """The options in words, one a line; empty if all are the defaults."""
    lines = [
        f"{label}: {text}"
        for name, (label, choices) in CHOICES.items()
        for text, value in choices[1:]
        if options.get(name) == value
    ]
    if options.get("correct_delays") is False:
        lines.append("Gradient delays are not corrected")
    return "\n".join(lines)
