"""Keys and their help come from one table: what is shown acts, what is not shown does not."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.widgets.key_table import Binding, KeyGroup, KeyHelp, KeyTable

NONE = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CONTROL = Qt.KeyboardModifier.ControlModifier


def press(
    key: Qt.Key, text: str = "", modifiers: Qt.KeyboardModifier = NONE, *, held: bool = False
) -> QKeyEvent:
    return QKeyEvent(QEvent.Type.KeyPress, key, modifiers, text, held)


@pytest.mark.parametrize(
    ("stroke", "event"),
    [
        ("A", press(Qt.Key.Key_A, "a")),
        ("A", press(Qt.Key.Key_A, "A", SHIFT)),
        ("?", press(Qt.Key.Key_Question, "?", SHIFT)),
        # On a French keyboard digits need Shift, and "?" is another key: what counts is what is typed.
        ("1", press(Qt.Key.Key_Ampersand, "1", SHIFT)),
        ("1", press(Qt.Key.Key_1, "1", Qt.KeyboardModifier.KeypadModifier)),
        ("Space", press(Qt.Key.Key_Space, " ")),
        ("Left", press(Qt.Key.Key_Left, "", Qt.KeyboardModifier.KeypadModifier)),
        ("Shift+Left", press(Qt.Key.Key_Left, "", SHIFT)),
        ("Ctrl+Z", press(Qt.Key.Key_Z, "\x1a", CONTROL)),
        ("Ctrl+PageUp", press(Qt.Key.Key_PageUp, "", CONTROL)),
        ("PgUp", press(Qt.Key.Key_PageUp)),
        ("Return", press(Qt.Key.Key_Return, "\r")),
    ],
)
def test_a_key_does_what_its_stroke_says(stroke: str, event: QKeyEvent) -> None:
    done: list[str] = []
    table = KeyTable([KeyGroup("Group", (Binding((stroke,), "It", done.append),))])
    assert table.dispatch(event)
    assert done == [stroke]


@pytest.mark.parametrize(
    "event",
    [
        press(Qt.Key.Key_Left, "", CONTROL),
        press(Qt.Key.Key_Left, "", SHIFT),
        press(Qt.Key.Key_A, "\x01", CONTROL),
        press(Qt.Key.Key_B, "b"),
        press(Qt.Key.Key_Shift),
    ],
)
def test_other_keys_are_not_taken(event: QKeyEvent) -> None:
    table = KeyTable([KeyGroup("Group", (Binding(("A", "Left"), "It", lambda _: pytest.fail("acted")),))])
    assert not table.dispatch(event)


def test_a_key_held_down_repeats_only_where_that_is_meant() -> None:
    done: list[str] = []
    steps = Binding(("Left",), "Step", done.append, repeats=True)
    table = KeyTable([KeyGroup("Group", (steps, Binding(("1",), "Rank", done.append)))])
    for event in (
        press(Qt.Key.Key_Left, held=True),
        press(Qt.Key.Key_1, "1", held=True),
        press(Qt.Key.Key_1, "1"),
    ):
        assert table.dispatch(event)
    assert done == ["Left", "1"]


def test_an_inactive_group_takes_its_keys_and_does_nothing() -> None:
    done: list[str] = []
    table = KeyTable([KeyGroup("Group", (Binding(("1", "Tab"), "It", done.append),), lambda: False)])
    assert table.dispatch(press(Qt.Key.Key_1, "1"))
    table.press("Tab")
    assert done == []


@pytest.mark.parametrize("strokes", [("A", "a"), ("PgUp", "PageUp"), ("Ctrl+Z", "Ctrl+Z")])
def test_two_meanings_for_one_key_are_refused(strokes: tuple[str, str]) -> None:
    bindings = [Binding((stroke,), f"meaning {stroke}", lambda _: None) for stroke in strokes]
    with pytest.raises(ValueError, match="two meanings"):
        KeyTable([KeyGroup("One", tuple(bindings[:1])), KeyGroup("Two", tuple(bindings[1:]))])


@pytest.mark.parametrize("stroke", ["Banana", "Hyper+A", "Ctrl+"])
def test_a_stroke_that_is_no_key_is_refused(stroke: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        KeyTable([KeyGroup("Group", (Binding((stroke,), "It", lambda _: None),))])


def test_the_help_shows_every_binding_under_its_heading(qtbot: QtBot) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    page.resize(800, 600)
    shown = KeyHelp(page)
    groups = [
        KeyGroup(
            f"Group {number}",
            tuple(
                Binding((f"Ctrl+F{number * 5 + item}",), f"Act {number}.{item}", print) for item in range(4)
            ),
        )
        for number in range(1, 5)
    ]
    groups.append(KeyGroup("Arrows", (Binding(("Shift+Left", "-", "+"), "Move", print),)))
    shown.set_table(KeyTable(groups), "Mouse: …")
    page.show()
    shown.toggle()
    texts = [label.text() for label in shown.findChildren(QLabel) if label.isVisible()]
    for group in groups:
        assert group.title in texts
        for binding in group.bindings:
            assert binding.label in texts and binding.meaning in texts
            assert f"{binding.label}: {binding.meaning}" in shown.accessibleDescription()
    assert "Shift+←   −   +" in texts
    assert page.rect().contains(shown.geometry())
    qtbot.mouseClick(shown, Qt.MouseButton.LeftButton)
    assert not shown.isVisible()
