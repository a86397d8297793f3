"""The protocol's form: every field, every value, and what is wrong with a field right below it."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QWidget
from pytestqt.qtbot import QtBot

from app.protocol_words import FIELD_LABELS, field_text
from app.study_snapshot import Check
from app.widgets.field_editors import CropEditor, EndpointsEditor, MethodsEditor, NumberEditor, TextEditor
from app.widgets.protocol_form import ProtocolForm, field_of
from app.widgets.study_dialogs import AmendDialog, LockDialog
from studies.design import FIELDS, Design, template
from studies.errors import StudyError
from studies.protocol import AMENDABLE, ENDPOINTS
from studies.study import KNOWN_METHODS, PAPER_ARMS

OTHER: dict[str, Any] = {
    "name": "Another study",
    "arms": ["gridded", "dl_cardiac"],
    "readers": ["Ada", "Ben Zaid"],
    "repeat_share": 0.35,
    "repeat_minimum": 2,
    "guess_clips": 0,
    "must_view_loops": 3,
    "break_minutes": 20.0,
    "grey_scale": "joint_percentile",
    "crop_mm": [180.0, 240.0],
    "speed": 0.5,
    "endpoints": ["snr_db", "rank"],
    "strata": ["plane"],
    "alpha": 0.01,
    "measurement_window_s": 2.5,
}
"""Another value than the recommended one for every field of the form."""


@pytest.fixture
def form(qtbot: QtBot) -> ProtocolForm:
    made = ProtocolForm(KNOWN_METHODS)
    qtbot.addWidget(made)
    made.set_design(template(PAPER_ARMS))
    made.show()
    return made


def test_every_field_of_the_file_has_its_place(form: ProtocolForm) -> None:
    elsewhere = {"format", "seed", "scans"}  # fixed; secret and drawn; the table of scans
    assert set(form.editors) == set(FIELDS) - elsewhere == set(OTHER)
    assert set(form.editors) <= set(FIELD_LABELS)


@pytest.mark.parametrize("name", OTHER)
def test_a_value_goes_through_its_editor_unchanged(form: ProtocolForm, name: str) -> None:
    before = template(PAPER_ARMS)
    other = before.changed({name: OTHER[name]})
    assert form.changes() == {}
    form.set_design(other)
    assert form.changes() == {}
    assert form.editors[name].value() == OTHER[name]
    assert before.changed({name: form.editors[name].value()}) == other
    assert field_text(name, OTHER[name]) != field_text(name, before.to_fields()[name])


@pytest.mark.parametrize("name", OTHER)
def test_what_a_person_enters_is_a_change(form: ProtocolForm, qtbot: QtBot, name: str) -> None:
    editor = form.editors[name]
    with qtbot.waitSignal(form.edited):
        enter(qtbot, editor, OTHER[name])
    changed = form.check(template(PAPER_ARMS))
    assert changed is not None
    assert changed.to_fields()[name] == OTHER[name]
    assert form.first_mistake() == ""


def enter(qtbot: QtBot, editor: QWidget, value: Any) -> None:
    """Work an editor's controls as a person does."""
    if isinstance(editor, TextEditor):
        editor.line.selectAll()
        qtbot.keyClicks(editor.line, ", ".join(value) if isinstance(value, list) else value)
    elif isinstance(editor, NumberEditor):
        editor.box.selectAll()
        shown = value * 100 if editor.box.suffix() == " %" else value
        qtbot.keyClicks(editor.box, f"{shown:g}")
        qtbot.keyClick(editor.box, Qt.Key.Key_Return)
    elif isinstance(editor, MethodsEditor):
        while len(editor.boxes) > len(value):
            editor._buttons[-1].click()
        for box, word in zip(editor.boxes, value, strict=True):
            box.setEditText(word)
    elif isinstance(editor, CropEditor):
        editor.tick.click()
        for length, wanted in zip(editor.lengths, value, strict=True):
            length.setValue(wanted)
    elif isinstance(editor, EndpointsEditor):
        editor.primary.setCurrentIndex(editor.primary.findData(value[0]))
        editor.primary.activated.emit(editor.primary.currentIndex())
        for word in ENDPOINTS:
            if (word in value) != editor.ticks[word].isChecked():
                editor.ticks[word].click()
    elif hasattr(editor, "ticks"):
        for word, tick in editor.ticks.items():
            if (word in value) != tick.isChecked():
                tick.click()
    else:
        box = editor.box  # type: ignore[attr-defined]
        box.setCurrentIndex(box.findData(value))
        box.activated.emit(box.currentIndex())


def test_more_digits_than_are_shown_stay(form: ProtocolForm) -> None:
    fine = template(PAPER_ARMS).changed({"alpha": 0.00512345, "measurement_window_s": 1.4375})
    form.set_design(fine)
    assert form.changes() == {}
    assert form.check(fine) == fine


def test_a_mistake_stands_at_its_field(form: ProtocolForm) -> None:
    design = template(PAPER_ARMS)
    name, arms, readers = form.editors["name"], form.editors["arms"], form.editors["readers"]
    assert isinstance(name, TextEditor) and isinstance(arms, MethodsEditor)
    assert isinstance(readers, TextEditor)
    readers.line.setText("Ada, dl_natural")
    arms.boxes[0].setEditText("dl_cardiac")
    assert form.check(design) is None
    assert "would unblind readers" in form.errors["readers"].text()
    assert "not all different" in form.errors["arms"].text()
    assert form.errors["name"].isHidden()
    assert form.first_mistake() == "Methods"
    assert arms.boxes[1].currentText() == "DL, natural videos"  # people read labels, the study keeps names
    arms.boxes[0].setEditText("compressed Sensing")
    readers.line.setText("Ada")
    assert form.check(design) == design.changed({"readers": ["Ada"]})
    assert form.first_mistake() == ""
    name.line.setText("  ")
    assert form.check(design) is None
    assert form.errors["name"].text().startswith("Expected: ")
    # Either change alone could be used; together the name tells a method.
    name.line.setText("About mine")
    arms.boxes[0].setEditText("mine")
    assert form.check(design) is None
    assert "'mine'" in form.errors["name"].text() + form.errors["arms"].text()


def test_a_new_snapshot_leaves_what_is_being_typed(form: ProtocolForm, qtbot: QtBot) -> None:
    design = template(PAPER_ARMS)
    line = form.editors["readers"].line  # type: ignore[attr-defined]
    qtbot.keyClicks(line, "Ada, ")
    saved = form.check(design)
    assert saved is not None and saved.protocol.readers == ("Ada",)
    qtbot.keyClicks(line, "B")
    form.saved({"readers": ["Ada"]})
    form.set_design(saved)
    assert line.text() == "Ada, B"
    assert form.changes() == {"readers": ["Ada", "B"]}
    form.take_design(saved)  # a file was loaded: it takes the place of what was typed
    assert line.text() == "Ada"
    assert form.changes() == {}


def test_methods_are_two_to_six_and_fixed_once_there_are_movies(form: ProtocolForm, qtbot: QtBot) -> None:
    editor = form.editors["arms"]
    assert isinstance(editor, MethodsEditor)
    for _ in range(3):
        qtbot.mouseClick(editor.add_button, Qt.MouseButton.LeftButton)
    assert editor.value() == [*PAPER_ARMS, "gridded", "", ""]
    assert not editor.add_button.isEnabled()
    for _ in range(4):
        editor._buttons[0].click()
    assert editor.value() == ["", ""]
    assert not editor._buttons[0].isEnabled()
    form.fix_methods(True)
    assert not editor.isEnabled()


def test_the_wheel_scrolls_the_page_and_changes_no_number(form: ProtocolForm) -> None:
    editor = form.editors["alpha"]
    assert isinstance(editor, NumberEditor)
    QApplication.sendEvent(
        editor.box,
        QWheelEvent(
            QPointF(5, 5),
            QPointF(5, 5),
            QPoint(0, 0),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )
    assert editor.value() == 0.05


def test_the_field_of_an_error_is_found() -> None:
    with pytest.raises(StudyError) as raised:
        Design.from_yaml("format: blindcine-protocol-1\nname: A\narms: [a, b]\nreaders: [Ada, 3]\n")
    assert field_of(raised.value) == "readers"
    with pytest.raises(StudyError) as raised:
        Design.from_yaml("format: blindcine-protocol-1\nname: A\narms: [a, b]\nalpah: 0.05\n")
    assert field_of(raised.value) == ""


# Dialogs


@pytest.fixture
def parent(qtbot: QtBot) -> QWidget:
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


def test_the_lock_dialog_wants_one_passphrase_twice(parent: QWidget, qtbot: QtBot) -> None:
    dialog = LockDialog(parent, [Check("good", "9 scans"), Check("warning", "One reader")])
    assert not dialog.lock_button.isEnabled()
    qtbot.keyClicks(dialog.passphrase, "short")
    assert "at least 8" in dialog.hint.text()
    qtbot.keyClicks(dialog.passphrase, " lamp coffee")
    assert (dialog.strength.value(), dialog.lock_button.isEnabled()) == (2, False)
    qtbot.keyClicks(dialog.again, "short lamp")
    assert "differ" in dialog.hint.text()
    qtbot.keyClicks(dialog.again, " coffee")
    assert dialog.lock_button.isEnabled()
    assert dialog.answer() == "short lamp coffee"


def test_the_lock_dialog_refuses_while_something_is_missing(parent: QWidget) -> None:
    dialog = LockDialog(parent, [Check("good", "9 scans"), Check("missing", "No reader is named")])
    for line in (dialog.passphrase, dialog.again):
        assert not line.isEnabled()
        line.setText("correct horse battery staple")
    assert not dialog.lock_button.isEnabled()
    assert "missing above" in dialog.hint.text()


@pytest.mark.parametrize("name", AMENDABLE)
def test_an_amendment_needs_another_value_who_and_why(parent: QWidget, qtbot: QtBot, name: str) -> None:
    dialog = AmendDialog(parent, template(PAPER_ARMS).protocol)
    buttons = dialog.findChild(QDialogButtonBox)
    assert buttons is not None
    assert "who" in dialog.hint.text()  # a note alone is possible
    dialog.actor.setText("Ada")
    dialog.reason.setText("the ethics board asked")
    assert dialog.record_button.isEnabled()
    dialog.field.setCurrentIndex(dialog.field.findData(name))
    assert not dialog.record_button.isEnabled()
    assert "another value" in dialog.hint.text()
    assert dialog.editor is not None
    enter(qtbot, dialog.editor, OTHER[name])
    assert dialog.record_button.isEnabled()
    answer = dialog.answer()
    assert (answer.actor, answer.reason, answer.changes) == (
        "Ada", "the ethics board asked", {name: OTHER[name]},
    )  # fmt: skip
    dialog.reason.clear()
    assert "reason" in dialog.hint.text()
    assert not dialog.record_button.isEnabled()
