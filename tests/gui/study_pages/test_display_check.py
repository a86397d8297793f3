"""The display check: the pattern to the pixel, and what answers come to."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage, QKeyEvent, QPainter
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from app.widgets.display_check import (
    CORNERS,
    FIELDS,
    CheckResult,
    DisplayCheckView,
    PatternView,
    check_pattern,
    draw_hidden,
    field_offsets,
    missed,
    whole_scale,
)

SIDE, STEP = 132, 72


class Checked:
    """A person at the check, and what came of it."""

    def __init__(self, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        self.view = DisplayCheckView()
        qtbot.addWidget(self.view)
        self.results: list[CheckResult] = []
        self.view.finished.connect(self.results.append)
        self.view.keyPressEvent = self._key_press  # type: ignore[method-assign]
        self.view.begin({"dark": 1, "bright": 2, "letter": 3, "lines": 4})
        self.view.show()

    def _key_press(self, event: QKeyEvent) -> None:
        self.view.take_key(event)

    def type(self, keys: str) -> None:
        self.qtbot.keyClicks(self.view, keys)

    def press(self, key: Qt.Key) -> None:
        self.qtbot.keyClick(self.view, key)

    def buttons(self) -> set[str]:
        return {
            button.accessibleName() for button in self.view.findChildren(QPushButton) if button.isVisible()
        }


@pytest.fixture
def checked(qtbot: QtBot) -> Checked:
    return Checked(qtbot)


# The pattern


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_grey_steps_go_from_0_to_255_with_bars_of_5_levels_and_3_at_the_ends(scale: int) -> None:
    pattern = check_pattern(dict.fromkeys(FIELDS, 1), scale).astype(int)
    side = STEP * scale
    for number in range(18):
        row, column = divmod(number, 9)
        step = pattern[row * side : (row + 1) * side, column * side : (column + 1) * side]
        level = 15 * number
        assert np.median(step) == level
        half = side // 2
        expected = {0: (3, 5), 255: (-5, -3)}.get(level, (-5, 5))
        for quarter, contrast in zip((step[:half, :half], step[half:, half:]), expected, strict=True):
            assert set(np.unique(quarter)) == {level, level + contrast}
            # Bars are upright, in pairs of 6 pixels: 3 dark, 3 bright.
            changes = np.abs(np.diff(quarter[half // 2])) > 0
            assert np.unique(np.diff(np.flatnonzero(changes))).tolist() == [3 * scale]
        for quarter in (step[:half, half:], step[half:, :half]):
            assert set(np.unique(quarter)) == {level}


@pytest.mark.parametrize(("scale", "corner"), list(product((1, 2), (1, 2, 3, 4))))
def test_each_field_hides_its_thing_in_the_corner_that_is_asked_for(scale: int, corner: int) -> None:
    pattern = check_pattern(dict.fromkeys(FIELDS, corner), scale).astype(int)
    side = SIDE * scale
    contents = {"dark": (0, {13}), "bright": (255, {242}), "letter": (128, {131}), "lines": (188, {0, 255})}
    for (name, (ground, inside)), left in zip(contents.items(), field_offsets(scale), strict=True):
        field = pattern[-side:, left : left + side]
        half = side // 2
        quarters = [field[:half, :half], field[:half, half:], field[half:, :half], field[half:, half:]]
        for number, quarter in enumerate(quarters, start=1):
            found = set(np.unique(quarter)) - {ground}
            assert found == (inside if number == corner else set()), (name, number)


@pytest.mark.parametrize("scale", [1, 2])
def test_line_pairs_are_single_pixels_at_every_scale(scale: int) -> None:
    pattern = check_pattern(dict.fromkeys(FIELDS, 1), scale).astype(int)
    left = field_offsets(scale)[3]
    field = pattern[-SIDE * scale :, left : left + SIDE * scale // 2]
    rows = field[(field == 0).any(axis=1)]
    lines = rows[:, (rows != 188).any(axis=0)]
    assert lines.shape == (36 * scale, 36 * scale)
    assert (lines == np.tile([0, 255], 18 * scale)).all()


@pytest.mark.parametrize("ratio", [1.0, 1.25, 1.5, 2.0, 2.5])
@pytest.mark.parametrize("offset", [(0, 0), (3, 7)])
def test_one_value_is_one_device_pixel_at_every_scaling(
    qtbot: QtBot, ratio: float, offset: tuple[int, int]
) -> None:
    hidden = {"dark": 2, "bright": 3, "letter": 4, "lines": 1}
    view = PatternView()
    qtbot.addWidget(view)
    view.show_pattern(hidden)
    # The ratio of a canvas that is rendered to is not that of the screen, which chooses the scale.
    expected = check_pattern(hidden, whole_scale(view.devicePixelRatioF()))
    height, width = expected.shape
    canvas = QImage(width + 40, height + 40, QImage.Format.Format_RGB32)
    canvas.setDevicePixelRatio(ratio)
    view.resize(canvas.width(), canvas.height())
    painter = QPainter(canvas)
    view.render(painter, QPoint(*offset))
    painter.end()
    seen = np.frombuffer(canvas.constBits(), np.uint8).reshape(height + 40, width + 40, 4)[..., 0]
    places = [
        (top, left)
        for top, left in product(range(40), range(40))
        if np.array_equal(seen[top : top + height, left : left + width], expected)
    ]
    assert len(places) == 1
    assert np.abs(np.array(places[0]) - (np.array(offset[::-1]) + 1) * ratio).max() <= 1


@pytest.mark.parametrize(("ratio", "scale"), [(0.75, 1), (1.0, 1), (1.25, 1), (1.75, 2), (2.0, 2), (3.0, 3)])
def test_the_pattern_grows_with_the_screen_in_whole_steps(ratio: float, scale: int) -> None:
    assert whole_scale(ratio) == scale


def test_every_corner_is_drawn() -> None:
    drawn = [draw_hidden() for _ in range(200)]
    for name in FIELDS:
        assert {hidden[name] for hidden in drawn} == set(range(1, len(CORNERS) + 1))


# The answers


def test_who_sees_everything_goes_on_at_once(checked: Checked) -> None:
    checked.type("y1234")
    (result,) = checked.results
    assert result.verdict == "passed"
    answers = {"steps": True, "dark": 1, "bright": 2, "letter": 3, "lines": 4}
    assert result.to_dict()["attempts"] == [
        {"hidden": {"dark": 1, "bright": 2, "letter": 3, "lines": 4}, "answers": answers, "missed": []}
    ]
    assert result.seconds >= 0


@pytest.mark.parametrize(
    ("keys", "wrong", "words"),
    [
        ("n1234", ["steps"], "grey steps are lost"),
        ("y0234", ["dark"], "dim the room"),
        ("y1134", ["bright"], "contrast"),
        ("y1204", ["letter"], "night mode"),
        ("y1231", ["lines"], "resolution"),
        ("n0000", ["steps", "dark", "bright", "letter", "lines"], "Near black"),
    ],
)
def test_what_is_not_seen_is_told_and_does_not_lock_out(
    checked: Checked, keys: str, wrong: list[str], words: str
) -> None:
    checked.type(keys)
    assert checked.results == []
    assert words in checked.view.advice and "go on all the same" in checked.view.advice
    checked.press(Qt.Key.Key_Return)
    checked.press(Qt.Key.Key_Return)
    (result,) = checked.results
    assert result.verdict == "failed"
    assert result.attempts[0]["missed"] == wrong


def test_the_check_can_be_repeated_and_both_attempts_are_kept(checked: Checked) -> None:
    checked.type("y0234")
    checked.press(Qt.Key.Key_Backspace)
    hidden = checked.view.hidden
    checked.type("y" + "".join(map(str, hidden.values())))
    (result,) = checked.results
    assert result.verdict == "passed"
    assert [attempt["missed"] for attempt in result.attempts] == [["dark"], []]


def test_an_answer_can_be_taken_back(checked: Checked) -> None:
    checked.type("y4")
    assert checked.view.question == "In which corner is the square on white?"
    checked.press(Qt.Key.Key_Backspace)
    assert checked.view.question == "In which corner is the square on black?"
    checked.press(Qt.Key.Key_Backspace)
    checked.press(Qt.Key.Key_Backspace)
    assert "eighteen grey steps" in checked.view.question
    checked.type("1")
    assert "eighteen grey steps" in checked.view.question, "a digit is no answer to yes or no"
    checked.type("y1234")
    assert checked.results[0].verdict == "passed"


def test_the_check_can_be_left_out_and_that_is_recorded(checked: Checked) -> None:
    checked.type("y1s")
    assert checked.results == [CheckResult("skipped", (), checked.results[0].seconds)]


def test_escape_goes_back_to_the_readers(checked: Checked) -> None:
    with checked.qtbot.waitSignal(checked.view.left):
        checked.press(Qt.Key.Key_Escape)
    assert checked.results == []


def test_the_mouse_answers_too(checked: Checked) -> None:
    assert checked.buttons() == {"Yes", "No", "Without the check", "Back to the readers"}
    (yes,) = (b for b in checked.view.findChildren(QPushButton) if b.accessibleName() == "Yes")
    checked.qtbot.mouseClick(yes, Qt.MouseButton.LeftButton)
    height = check_pattern(dict.fromkeys(FIELDS, 1)).shape[0]
    corners = {1: (20, 20), 2: (110, 20), 3: (20, 110), 4: (110, 110)}
    for left, corner in zip(field_offsets(), checked.view.hidden.values(), strict=True):
        x, y = corners[corner]
        place = QPoint(left + x, height - SIDE + y)
        checked.view.pattern.repaint()
        checked.qtbot.mouseClick(checked.view.pattern, Qt.MouseButton.LeftButton, pos=place)
    assert [result.verdict for result in checked.results] == ["passed"]


def test_a_session_that_could_not_begin_is_tried_again_at_enter(checked: Checked) -> None:
    checked.type("y1234")
    checked.press(Qt.Key.Key_Return)
    assert len(checked.results) == 1, "nothing is to be begun twice"
    checked.view.show_failure("The disk is full.")
    assert checked.view.advice == "The disk is full. Press Enter to try again."
    checked.press(Qt.Key.Key_Return)
    assert len(checked.results) == 2


@pytest.mark.parametrize("answers", list(product((True, False), (0, 1), (0, 1))))
def test_missed_names_the_wrong_answers(answers: tuple[bool, int, int]) -> None:
    steps, dark, bright = answers
    hidden = {"dark": 1, "bright": 1}
    wrong = missed({"steps": steps, "dark": dark, "bright": bright}, hidden)
    assert wrong == ["steps"] * (not steps) + ["dark"] * (dark != 1) + ["bright"] * (bright != 1)
