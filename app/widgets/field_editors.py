"""Editors of a protocol's fields: each shows one value and tells when a person has changed it.

Rule: `value` right after `set_value` is what the editor made of the value; only a difference from that is a
change. So a number that has more digits than an editor shows stays as it is until somebody edits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.names import reader_names
from app.protocol_words import ENDPOINT_LABELS, FIELD_LABELS, GREY_SCALE_LABELS, STRATUM_LABELS, field_text
from studies.names import METHOD_LABELS, method_named
from studies.protocol import ENDPOINTS, MAXIMUM_ARMS, MINIMUM_ARMS, SPEEDS, STRATA

_NARROW_WIDTH = 118
_TEXT_INSET = 7
_DEFAULT_CROP_MM = 200.0


class FieldEditor(QWidget):
    """One field; subclasses build the controls."""

    edited = Signal()
    """A person changed the value."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build an empty row."""
        super().__init__(parent)
        self._silent = False
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(8)

    def value(self) -> Any:  # noqa: ANN401 - a field's value is of any JSON kind
        """The value as a protocol file has it."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:  # noqa: ANN401 - as above
        """Show a value without announcing a change."""
        self._silent = True
        try:
            self._show(value)
        finally:
            self._silent = False

    def _show(self, value: Any) -> None:  # noqa: ANN401 - as above
        raise NotImplementedError

    def _changed(self, *_: object) -> None:
        if not self._silent:
            self.edited.emit()

    def _guard(self, *controls: QWidget) -> None:
        """Let the mouse wheel scroll the page over controls that do not have the keyboard."""
        for control in controls:
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            control.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """See `_guard`."""
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)


class TextEditor(FieldEditor):
    """A line of text.

    Args:
        placeholder: shown while it is empty.
        names: whether the text is a list of names with commas between them.
    """

    def __init__(self, placeholder: str, *, names: bool = False) -> None:
        """Build the line."""
        super().__init__()
        self._names = names
        self.line = QLineEdit()
        self.line.setPlaceholderText(placeholder)
        self.line.textEdited.connect(self._changed)
        self.row.addWidget(self.line, 1)
        self.setFocusProxy(self.line)

    def value(self) -> Any:  # noqa: ANN401 - text, or a list of names
        """The text, or the names."""
        return list(reader_names(self.line.text())) if self._names else self.line.text().strip()

    def _show(self, value: Any) -> None:  # noqa: ANN401 - text, or a list of names
        self.line.setText(", ".join(value) if self._names else str(value))


class _NumberBox(QDoubleSpinBox):
    """A number without zeros behind its last digit."""

    def textFromValue(self, value: float) -> str:  # noqa: N802
        """As a person writes it."""
        text = super().textFromValue(value)
        point = self.locale().decimalPoint()
        return text.rstrip("0").rstrip(point) if point in text else text


class NumberEditor(FieldEditor):
    """A number with a unit.

    Args:
        least: smallest value shown.
        most: largest value shown.
        decimals: digits behind the point; 0 makes the value a whole number.
        suffix: unit behind the number.
        scale: what is shown is the value times this.
        step: of the arrows.
        zero: text in place of 0.
    """

    def __init__(
        self,
        least: float,
        most: float,
        *,
        decimals: int = 0,
        suffix: str = "",
        scale: float = 1.0,
        step: float = 1.0,
        zero: str = "",
    ) -> None:
        """Build the box."""
        super().__init__()
        self._scale, self._decimals = scale, decimals
        self._whole = decimals == 0 and scale == 1
        self.box = _NumberBox()
        self.box.setDecimals(decimals)
        self.box.setRange(least, most)
        self.box.setSingleStep(step)
        self.box.setSuffix(suffix)
        self.box.setKeyboardTracking(False)
        self.box.setMinimumWidth(_NARROW_WIDTH)
        inset_text(self.box)
        if zero:
            self.box.setSpecialValueText(zero)
        self.box.valueChanged.connect(self._changed)
        self._guard(self.box)
        self.row.addWidget(self.box)
        self.row.addStretch(1)
        self.setFocusProxy(self.box)

    def value(self) -> Any:  # noqa: ANN401 - int or float
        """The number."""
        if self._whole:
            return round(self.box.value())
        return round(self.box.value() / self._scale, 2 + self._decimals)

    def _show(self, value: Any) -> None:  # noqa: ANN401 - int or float
        self.box.setValue(value * self._scale)


class ChoiceEditor(FieldEditor):
    """One of several values.

    Args:
        choices: value to what it is called.
    """

    def __init__(self, choices: Mapping[Any, str]) -> None:
        """Build the box."""
        super().__init__()
        self.box = QComboBox()
        for value, text in choices.items():
            self.box.addItem(text, value)
        self.box.activated.connect(self._changed)
        self._guard(self.box)
        self.row.addWidget(self.box)
        self.row.addStretch(1)
        self.setFocusProxy(self.box)

    def value(self) -> Any:  # noqa: ANN401 - as the choices are
        """The chosen value."""
        return self.box.currentData()

    def _show(self, value: Any) -> None:  # noqa: ANN401 - as the choices are
        self.box.setCurrentIndex(self.box.findData(value))


class TicksEditor(FieldEditor):
    """Some of several words.

    Args:
        choices: word to what it is called.
    """

    def __init__(self, choices: Mapping[str, str]) -> None:
        """Build the ticks."""
        super().__init__()
        self.ticks = {word: QCheckBox(text) for word, text in choices.items()}
        self.row.setSpacing(16)
        for tick in self.ticks.values():
            tick.toggled.connect(self._changed)
            self.row.addWidget(tick)
        self.row.addStretch(1)
        self.setFocusProxy(next(iter(self.ticks.values())))

    def value(self) -> list[str]:
        """The chosen words in their usual order."""
        return [word for word, tick in self.ticks.items() if tick.isChecked()]

    def _show(self, value: Sequence[str]) -> None:
        for word, tick in self.ticks.items():
            tick.setChecked(word in value)


class EndpointsEditor(FieldEditor):
    """The primary endpoint, and which others are analysed."""

    def __init__(self) -> None:
        """Build box and ticks."""
        super().__init__()
        self.primary = QComboBox()
        self.primary.setAccessibleName("Primary endpoint")
        self.ticks = {word: QCheckBox(ENDPOINT_LABELS[word]) for word in ENDPOINTS}
        for word in ENDPOINTS:
            self.primary.addItem(f"{ENDPOINT_LABELS[word]} first", word)
        self._guard(self.primary)
        self.primary.activated.connect(self._on_primary)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addWidget(self.primary, 0, Qt.AlignmentFlag.AlignLeft)
        for tick in self.ticks.values():
            tick.toggled.connect(self._changed)
            column.addWidget(tick)
        self.row.addLayout(column, 1)
        self.setFocusProxy(self.primary)

    def value(self) -> list[str]:
        """The chosen endpoints, primary first."""
        first = self.primary.currentData()
        others = [word for word, tick in self.ticks.items() if tick.isChecked() and word != first]
        return [first, *others]

    def _on_primary(self) -> None:
        # What is primary is analysed in any case.
        self._silent = True
        self._settle()
        self._silent = False
        self._changed()

    def _settle(self) -> None:
        for word, tick in self.ticks.items():
            first = word == self.primary.currentData()
            tick.setEnabled(not first)
            if first:
                tick.setChecked(True)

    def _show(self, value: Sequence[str]) -> None:
        self.primary.setCurrentIndex(self.primary.findData(value[0]))
        for word, tick in self.ticks.items():
            tick.setChecked(word in value)
        self._settle()


class CropEditor(FieldEditor):
    """The whole image, or the middle of it in mm."""

    def __init__(self) -> None:
        """Build the tick and the two lengths."""
        super().__init__()
        self.tick = QCheckBox("Middle only")
        self.lengths = (QDoubleSpinBox(), QDoubleSpinBox())
        sides = QHBoxLayout()
        sides.setSpacing(8)
        for box, name in zip(self.lengths, ("Height", "Width"), strict=True):
            box.setDecimals(0)
            box.setRange(10, 1000)
            box.setSingleStep(10)
            box.setSuffix(" mm")
            box.setValue(_DEFAULT_CROP_MM)
            box.setKeyboardTracking(False)
            box.setAccessibleName(f"{name} of the middle")
            inset_text(box)
            box.setMinimumWidth(_NARROW_WIDTH)
            box.setToolTip(name)
            box.valueChanged.connect(self._changed)
            sides.addWidget(box)
        sides.addStretch(1)
        self._guard(*self.lengths)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addWidget(self.tick)
        column.addLayout(sides)
        self.row.addLayout(column, 1)
        self.tick.toggled.connect(self._on_ticked)
        self._on_ticked()
        self.setFocusProxy(self.tick)

    def value(self) -> list[float] | None:
        """Height and width in mm, or None."""
        return [box.value() for box in self.lengths] if self.tick.isChecked() else None

    def _on_ticked(self, *_: object) -> None:
        for box in self.lengths:
            box.setVisible(self.tick.isChecked())
        self._changed()

    def _show(self, value: Sequence[float] | None) -> None:
        self.tick.setChecked(value is not None)
        for box, length in zip(self.lengths, value or (), strict=False):
            box.setValue(length)


class MethodsEditor(FieldEditor):
    """From two to six methods, each in a line of its own, shown by their labels.

    Args:
        known: names that are offered; any other can be typed.
    """

    def __init__(self, known: Sequence[str]) -> None:
        """Build the lines."""
        super().__init__()
        self._known = list(known)
        self.boxes: list[QComboBox] = []
        self._buttons: list[QToolButton] = []
        self._lines = QVBoxLayout()
        self._lines.setSpacing(6)
        self.add_button = QPushButton(theme.icon("add"), " Add a method")
        self.add_button.setProperty("role", "small")
        self.add_button.setAutoDefault(False)
        self.add_button.clicked.connect(self._add)
        foot = QHBoxLayout()
        foot.addWidget(self.add_button)
        foot.addStretch(1)
        self._lines.addLayout(foot)
        self.row.addLayout(self._lines, 1)

    def value(self) -> list[str]:
        """The methods in their order."""
        return [method_named(box.currentText()) for box in self.boxes]

    def _show(self, value: Sequence[str]) -> None:
        while len(self.boxes) > len(value):
            self._drop(len(self.boxes) - 1)
        while len(self.boxes) < len(value):
            self._append("")
        for box, name in zip(self.boxes, value, strict=True):
            box.setCurrentText(_shown(name))
        self._settle()

    def _add(self) -> None:
        used = self.value()
        self._append(next((name for name in self._known if name not in used), ""))
        self._settle()
        self.boxes[-1].setFocus()
        self._changed()

    def _remove(self, box: QComboBox) -> None:
        self._drop(self.boxes.index(box))
        self._settle()
        self._changed()

    def _append(self, name: str) -> None:
        box = QComboBox()
        box.setEditable(True)
        box.addItems([_shown(known) for known in self._known])
        box.setCurrentText(_shown(name))
        box.setAccessibleName(f"Method {len(self.boxes) + 1}")
        box.editTextChanged.connect(self._changed)
        self._guard(box)
        remove = QToolButton()
        remove.setIcon(theme.icon("remove"))
        remove.setToolTip("Leave this method out")
        remove.setAccessibleName("Leave this method out")
        remove.clicked.connect(lambda: self._remove(box))
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(box, 1)
        line.addWidget(remove)
        self._lines.insertLayout(len(self.boxes), line)
        self.boxes.append(box)
        self._buttons.append(remove)

    def _drop(self, place: int) -> None:
        line = self._lines.takeAt(place)
        for widget in (self.boxes.pop(place), self._buttons.pop(place)):
            widget.hide()
            widget.deleteLater()
        inner = line.layout() if line is not None else None
        if inner is not None:
            inner.deleteLater()

    def _settle(self) -> None:
        for button in self._buttons:
            button.setEnabled(len(self.boxes) > MINIMUM_ARMS)
        self.add_button.setEnabled(len(self.boxes) < MAXIMUM_ARMS)


def _shown(method: str) -> str:
    return METHOD_LABELS.get(method, method)


def inset_text(box: QAbstractSpinBox) -> None:
    """Keep the text of a number box off its frame, where the style sheet's padding does not reach."""
    line = box.lineEdit()
    if line is not None:
        line.setTextMargins(_TEXT_INSET, 0, 0, 0)


def make_editor(name: str, known_methods: Sequence[str] = ()) -> FieldEditor:
    """The editor of a field, without a value yet.

    Raises:
        KeyError: if there is none for that field.
    """
    makers = {
        "name": lambda: TextEditor("Cardiac cine, spring"),
        "arms": lambda: MethodsEditor(known_methods),
        "readers": lambda: TextEditor("Ada, Ben", names=True),
        "repeat_share": lambda: NumberEditor(0, 100, suffix=" %", scale=100, step=5, zero="None"),
        "repeat_minimum": lambda: NumberEditor(0, 99, suffix=" clips"),
        "guess_clips": lambda: NumberEditor(0, 99, suffix=" clips", zero="None"),
        "must_view_loops": lambda: NumberEditor(0, 20, suffix=" × to the end", zero="Not required"),
        "break_minutes": lambda: NumberEditor(1, 600, suffix=" min", step=5),
        "grey_scale": lambda: ChoiceEditor(GREY_SCALE_LABELS),
        "crop_mm": CropEditor,
        "speed": lambda: ChoiceEditor({speed: field_text("speed", speed) for speed in SPEEDS}),
        "endpoints": EndpointsEditor,
        "strata": lambda: TicksEditor({word: STRATUM_LABELS[word] for word in STRATA}),
        "alpha": lambda: NumberEditor(0.0001, 0.9999, decimals=4, step=0.01),
        "measurement_window_s": lambda: NumberEditor(0.1, 600, decimals=1, suffix=" s", step=0.5),
    }
    editor = makers[name]()
    proxy = editor.focusProxy()
    (proxy if proxy is not None else editor).setAccessibleName(FIELD_LABELS[name])
    return editor
