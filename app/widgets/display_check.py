"""Can this screen show what the readers are to judge? A few seconds' look at a test pattern before a session.

The pattern follows the quick check of AAPM Report 270 (TG270-sQC): eighteen grey steps from 0 to 255, each
with bars 5 levels darker and 5 levels brighter (3 at either end of the scale), the 5 % square on black and
the 95 % square on white, a low-contrast letter, and line pairs of one pixel. Each of these four hides in one
of four corners drawn at random, so that the answer tells whether it was seen, not whether somebody would
like to have seen it. One value of the pattern is one device pixel, whatever the scaling of the desktop.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QElapsedTimer, QPoint, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from app.widgets.elements import say, styled_label
from app.widgets.key_table import Binding, KeyGroup, KeyTable
from app.widgets.movie_panel import enter_device_pixels

Verdict = Literal["passed", "failed", "skipped"]

CORNERS = ("upper left", "upper right", "lower left", "lower right")
"""Where a thing may hide; answers count them from 1, and 0 is "not seen"."""

STEPS: Final = tuple(range(0, 256, 15))
"""Grey levels of the eighteen steps."""

_STEP_SIDE = 72
_BAR_PERIOD = 6
_BAR_LEVELS = 5
_BAR_LEVELS_AT_END = 3
_FIELD_SIDE = 132
_SQUARE_SIDE = 36
_FIELD_GAP = 12
_STEP_COLUMNS = 9
_BACKGROUND = 60

FIVE_PERCENT: Final = round(0.05 * 255)
NINETY_FIVE_PERCENT: Final = round(0.95 * 255)
_MIDDLE_GREY = 128
_LETTER_LEVELS = 3
_LINES_GREY = 188
"""Looks like lines of 0 and 255 in turn, to an eye too far to part them, on a screen with gamma 2.2."""
_LETTER_E = ("#####", "#....", "####.", "#....", "#####")

FIELDS: Final = {
    "dark": "the square on black",
    "bright": "the square on white",
    "letter": "the faint letter on grey",
    "lines": "the fine lines",
}
"""Name in the log, and what hides in it, of the four fields, left to right."""

QUESTIONS: Final = ("steps", *FIELDS)


@dataclass(frozen=True)
class CheckResult:
    """How a display check ended, ready for the log."""

    verdict: Verdict
    attempts: tuple[dict[str, Any], ...]
    """Each with `hidden` (field to corner 1…4), `answers` (question to what was typed) and `missed`."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "verdict": self.verdict,
            "attempts": [dict(attempt) for attempt in self.attempts],
            "seconds": round(self.seconds, 1),
        }


def missed(answers: Mapping[str, int | bool], hidden: Mapping[str, int]) -> list[str]:
    """Return the questions whose answer is wrong.

    Args:
        answers: `steps` (whether the bars were seen in all steps) and the corner typed for each field.
        hidden: field to the corner, 1 to 4, in which its thing was.
    """
    wrong = [] if answers["steps"] else ["steps"]
    return wrong + [name for name, corner in hidden.items() if answers[name] != corner]


def draw_hidden() -> dict[str, int]:
    """Draw a corner, 1 to 4, for each field."""
    return {name: 1 + secrets.randbelow(len(CORNERS)) for name in FIELDS}


def check_pattern(hidden: Mapping[str, int], scale: int = 1) -> NDArray[np.uint8]:
    """Return the test pattern, one value a device pixel.

    Args:
        hidden: field to the corner, 1 to 4, in which its thing is.
        scale: enlarges everything but the line pairs, which stay one pixel wide.

    Returns:
        uint8 `(y, x)`: two rows of nine grey steps above a row of four fields.
    """
    steps = [_step(level, scale) for level in STEPS]
    rows = [np.hstack(steps[start : start + _STEP_COLUMNS]) for start in (0, _STEP_COLUMNS)]
    grid = np.vstack(rows)
    fields = [_field(name, hidden[name] - 1, scale) for name in FIELDS]
    pattern = np.full(
        (grid.shape[0] + (_FIELD_GAP + _FIELD_SIDE) * scale, grid.shape[1]), _BACKGROUND, np.uint8
    )
    pattern[: grid.shape[0]] = grid
    for field, left in zip(fields, field_offsets(scale), strict=True):
        pattern[-field.shape[0] :, left : left + field.shape[1]] = field
    return pattern


def field_offsets(scale: int = 1) -> list[int]:
    """Return the column in which each of the four fields begins, in device pixels."""
    free = _STEP_SIDE * _STEP_COLUMNS - _FIELD_SIDE * len(FIELDS)
    return [
        (number * _FIELD_SIDE + round(free * (2 * number + 1) / (2 * len(FIELDS)))) * scale
        for number in range(len(FIELDS))
    ]


def _step(level: int, scale: int) -> NDArray[np.uint8]:
    """One grey step: bars that are darker upper left, and brighter lower right."""
    side, inner = _STEP_SIDE * scale, _STEP_SIDE * scale // 3
    step = np.full((side, side), level, np.int16)
    bars = np.arange(inner) // (_BAR_PERIOD * scale // 2) % 2 == 1
    darker, brighter = -_BAR_LEVELS, _BAR_LEVELS
    # Below black and above white there is nothing: the bars at the ends of the scale lie inside it.
    if level == STEPS[0]:
        darker = _BAR_LEVELS_AT_END
    if level == STEPS[-1]:
        brighter = -_BAR_LEVELS_AT_END
    edge = (side // 2 - inner) // 2
    step[edge : edge + inner, edge : edge + inner] += np.where(bars, darker, 0).astype(np.int16)
    far = slice(side - edge - inner, side - edge)
    step[far, far] += np.where(bars, brighter, 0).astype(np.int16)
    return step.astype(np.uint8)


def _field(name: str, corner: int, scale: int) -> NDArray[np.uint8]:
    side, square = _FIELD_SIDE * scale, _SQUARE_SIDE * scale
    ground = {"dark": 0, "bright": 255, "letter": _MIDDLE_GREY, "lines": _LINES_GREY}[name]
    field = np.full((side, side), ground, np.uint8)
    first, second = side // 4 - square // 2, 3 * side // 4 - square // 2
    top, left = (first, second)[corner // 2], (first, second)[corner % 2]
    area = field[top : top + square, left : left + square]
    if name == "dark":
        area[:] = FIVE_PERCENT
    elif name == "bright":
        area[:] = NINETY_FIVE_PERCENT
    elif name == "letter":
        letter = np.array([[mark == "#" for mark in line] for line in _LETTER_E])
        enlarged = np.kron(letter, np.ones((square // 5, square // 5), bool))
        area[: enlarged.shape[0], : enlarged.shape[1]][enlarged] += _LETTER_LEVELS
    else:
        area[:, ::2], area[:, 1::2] = 0, 255
    return field


class PatternView(QWidget):
    """The pattern on whole device pixels."""

    picked = Signal(str, int)
    """A corner of a field was clicked: the field's name, and the corner from 1."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Start without a pattern."""
        super().__init__(parent)
        self._hidden: dict[str, int] | None = None
        self._scale = 0
        self._image = QImage()
        self._pixels: NDArray[np.uint8] | None = None
        self.setAccessibleName("Test pattern")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def show_pattern(self, hidden: Mapping[str, int]) -> None:
        """Show the pattern with things hidden in these corners."""
        self._hidden = dict(hidden)
        self._scale = 0
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """The pattern's size at this screen's device pixel ratio, and a margin of a pixel."""
        ratio = self.devicePixelRatioF()
        height, width = check_pattern(dict.fromkeys(FIELDS, 1), whole_scale(ratio)).shape
        return QSize(math.ceil(width / ratio) + 2, math.ceil(height / ratio) + 2)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Blit the pattern on whole device pixels."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(_BACKGROUND, _BACKGROUND, _BACKGROUND))
        if self._hidden is not None:
            self._render(whole_scale(self.devicePixelRatioF()))
            painter.drawImage(QPoint(*enter_device_pixels(painter, QPointF(1, 1))), self._image)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Tell which corner of which field was clicked."""
        ratio, scale = self.devicePixelRatioF(), max(self._scale, 1)
        x, y = (int(value * ratio) for value in event.position().toTuple())
        down = y - (self._image.height() - _FIELD_SIDE * scale)
        for name, left in zip(FIELDS, field_offsets(scale), strict=True):
            if 0 <= x - left < _FIELD_SIDE * scale and down >= 0:
                half = _FIELD_SIDE * scale / 2
                self.picked.emit(name, 1 + int(x - left >= half) + 2 * int(down >= half))
        event.accept()

    def _render(self, scale: int) -> None:
        if scale != self._scale and self._hidden is not None:
            pixels = check_pattern(self._hidden, scale)
            height, width = pixels.shape
            self._image = QImage(pixels.data, width, height, width, QImage.Format.Format_Grayscale8)
            self._pixels = pixels
            self._scale = scale


def whole_scale(ratio: float) -> int:
    """Return how many device pixels a unit of the pattern takes: the nearest whole number, at least 1."""
    return max(1, round(ratio))


class DisplayCheckView(QWidget):
    """Asks what is seen, question by question; `take_key` has the keys."""

    finished = Signal(object)
    """The check is over, with its `CheckResult`; once more at Enter after `show_failure`."""

    left = Signal()
    """The reader goes back."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the view."""
        super().__init__(parent)
        self.setAccessibleName("Display check")
        self._hidden = dict.fromkeys(FIELDS, 1)
        self._answers: dict[str, int | bool] = {}
        self._attempts: list[dict[str, Any]] = []
        self._result: CheckResult | None = None
        self._waiting = False
        self._stopwatch = QElapsedTimer()
        self.pattern = PatternView()
        self.pattern.picked.connect(self._pick)
        self._title = styled_label("title", "Can this screen show the clips?")
        self._intro = styled_label(
            "muted",
            "Sit as you will read, with the room's light as it will be. The answers are kept with your "
            "session; nothing here can lock you out.",
        )
        self._question = styled_label("heading")
        self._answer_line = styled_label("muted")
        self._advice = styled_label("warning")
        for label in (self._intro, self._question, self._answer_line, self._advice):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self._buttons = {
            name: self._button(text, action)
            for name, text, action in (
                ("yes", "Yes  (Y)", lambda: self._answer(True)),
                ("no", "No  (N)", lambda: self._answer(False)),
                ("unseen", "Not seen  (0)", lambda: self._answer(0)),
                ("back", "Back  (Backspace)", self._back),
                ("again", "Check again  (Backspace)", self._back),
                ("go_on", "Go on  (Enter)", self._go_on),
                ("skip", "Without the check  (S)", self._skip),
                ("leave", "Back to the readers  (Escape)", self.left.emit),
            )
        }
        self._buttons["go_on"].setProperty("role", "primary")
        self._captions: list[QLabel] = []
        self.keys = KeyTable([KeyGroup("Display check", self._bindings())])
        self._lay_out()
        self._show()

    @property
    def question(self) -> str:
        """What is asked now, or what came of it."""
        return self._question.text()

    @property
    def advice(self) -> str:
        """What was not seen and what helps, or why the session could not begin."""
        return self._advice.text()

    @property
    def hidden(self) -> Mapping[str, int]:
        """Field to the corner, 1 to 4, that its thing is in."""
        return dict(self._hidden)

    def begin(self, hidden: Mapping[str, int] | None = None) -> None:
        """Start the check.

        Args:
            hidden: field to corner, 1 to 4; drawn at random by default.
        """
        self._attempts = []
        self._stopwatch.start()
        self._try(hidden)

    def take_key(self, event: QKeyEvent) -> bool:
        """Do what a key asks; True if it was one of ours."""
        return self.keys.dispatch(event)

    def show_failure(self, message: str) -> None:
        """Say why the session could not begin; Enter tries again."""
        self._waiting = False
        say(self._advice, f"{message} Press Enter to try again.", "error")
        self._advice.show()
        self._buttons["go_on"].show()

    def _try(self, hidden: Mapping[str, int] | None = None) -> None:
        self._hidden = dict(draw_hidden() if hidden is None else hidden)
        self._answers = {}
        self._result = None
        self._waiting = False
        self.pattern.show_pattern(self._hidden)
        self._show()

    def _bindings(self) -> tuple[Binding, ...]:
        corners = tuple(map(str, range(len(CORNERS) + 1)))
        return (
            Binding(("Y",), "The bars are seen", lambda _: self._answer(True)),
            Binding(("N",), "The bars are not seen", lambda _: self._answer(False)),
            Binding(corners, "The corner that it is in", lambda stroke: self._answer(int(stroke))),
            Binding(("Backspace",), "Back", lambda _: self._back()),
            Binding(("Return", "Enter"), "Go on", lambda _: self._go_on()),
            Binding(("S",), "Without the check", lambda _: self._skip()),
            Binding(("Escape",), "Back to the readers", lambda _: self.left.emit()),
        )

    def _asked(self) -> str | None:
        """The question to be answered now, None if all are."""
        return next((question for question in QUESTIONS if question not in self._answers), None)

    def _answer(self, answer: int | bool) -> None:
        asked = self._asked()
        if asked is None or isinstance(answer, bool) != (asked == "steps"):
            return
        self._answers[asked] = answer
        if self._asked() is None:
            self._evaluate()
        self._show()

    def _pick(self, field: str, corner: int) -> None:
        if field == self._asked():
            self._answer(corner)

    def _back(self) -> None:
        if self._result is not None and not self._waiting:
            self._try()
        elif self._answers and self._result is None:
            self._answers.popitem()
            self._show()

    def _evaluate(self) -> None:
        wrong = missed(self._answers, self._hidden)
        self._attempts.append({"hidden": self._hidden, "answers": dict(self._answers), "missed": wrong})
        self._finish("failed" if wrong else "passed")
        if not wrong:
            self._go_on()

    def _skip(self) -> None:
        if self._result is None:
            self._finish("skipped")
        self._go_on()

    def _finish(self, verdict: Verdict) -> None:
        self._result = CheckResult(verdict, tuple(self._attempts), self._stopwatch.elapsed() / 1000)

    def _go_on(self) -> None:
        if self._result is not None and not self._waiting:
            self._waiting = True
            self.finished.emit(self._result)

    # Showing

    def _show(self) -> None:
        asked = self._asked()
        say(self._advice, "", "warning")
        if self._result is not None and self._result.verdict == "failed":
            wrong = self._attempts[-1]["missed"]
            self._question.setText("This screen, or this light, hides something.")
            say(self._advice, _advice(wrong), "warning")
        elif self._result is not None:
            self._question.setText("The screen is ready.")
        elif asked == "steps":
            self._question.setText("Do all eighteen grey steps show bars, upper left and lower right?")
        elif asked is not None:
            self._question.setText(f"In which corner is {FIELDS[asked]}?")
        legend = ",  ".join(f"{number} {corner}" for number, corner in enumerate(CORNERS, start=1))
        in_field = self._result is None and asked not in (None, "steps")
        self._answer_line.setText(f"{legend},  0 not seen" if in_field else " ")
        self._answer_line.setVisible(self._result is None)
        self._advice.setVisible(bool(self._advice.text()))
        failed = self._result is not None and self._result.verdict == "failed"
        for name, visible in (
            ("yes", asked == "steps" and self._result is None),
            ("no", asked == "steps" and self._result is None),
            ("unseen", in_field),
            ("back", in_field),
            ("again", failed),
            ("go_on", failed),
            ("skip", self._result is None),
            ("leave", True),
        ):
            self._buttons[name].setVisible(visible)
        for number, name in enumerate(FIELDS):
            self._captions[number].setText(_caption(self._answers.get(name), name == asked))

    def _button(self, text: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setAccessibleName(text.partition("  (")[0])
        button.clicked.connect(lambda _checked=False: action())
        return button

    def _lay_out(self) -> None:
        captions = QHBoxLayout()
        captions.setSpacing(0)
        self._captions = [QLabel() for _ in FIELDS]
        for caption in self._captions:
            caption.setAlignment(Qt.AlignmentFlag.AlignCenter)
            caption.setProperty("role", "heading")
            captions.addWidget(caption, 1)
        actions, others = QHBoxLayout(), QHBoxLayout()
        for row, names in (
            (actions, ("yes", "no", "unseen", "back", "go_on", "again")),
            (others, ("skip", "leave")),
        ):
            row.setSpacing(8)
            for name in names:
                row.addWidget(self._buttons[name])
            row.addStretch(1)
        column = QWidget()
        column.setFixedWidth(self.pattern.sizeHint().width())
        inner = QVBoxLayout(column)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(10)
        for label in (self._title, self._intro):
            inner.addWidget(label)
        inner.addSpacing(6)
        inner.addWidget(self.pattern)
        inner.addLayout(captions)
        for label in (self._question, self._answer_line, self._advice):
            inner.addWidget(label)
        inner.addLayout(actions)
        inner.addStretch(1)
        inner.addLayout(others)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(24, 28, 24, 24)
        layout.addStretch(1)
        layout.addWidget(column)
        layout.addStretch(1)


def _caption(answer: int | bool | None, asked: bool) -> str:
    if asked:
        return "?"
    if answer is None:
        return " "
    return str(int(answer)) if answer else "–"


_REMEDIES = {
    "steps": "The bars in some grey steps are lost: check the contrast and the grey scale (DICOM, or "
    "gamma 2.2).",
    "dark": "Near black, greys melt together: dim the room, or raise the screen's brightness or black level.",
    "bright": "Near white, greys melt together: lower the screen's contrast.",
    "letter": "Faint contrast is lost: switch off night mode and dynamic contrast, and keep lamps off the "
    "screen.",
    "lines": "Single pixels are not sharp: set the screen to its own resolution, and the desktop to 100 or "
    "200 %.",
}


def _advice(wrong: list[str]) -> str:
    return "\n".join([*map(_REMEDIES.__getitem__, wrong), "You can go on all the same; it is recorded."])
