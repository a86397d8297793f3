"""A locked study: the protocol as frozen, who has read how much, the sittings, and the record that proves it.

Nothing here names a method, a raw file or an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.protocol_words import FIELD_LABELS, field_text
from app.study_snapshot import StudySnapshot
from app.widgets.elements import say, scrolled, styled_label
from app.widgets.plain_table import PlainTable
from studies.names import method_label
from studies.state import SessionRecord
from studies.words import counted

_SHOWN_HASH = 16


class RecordView(QWidget):
    """Protocol and amendments on the left; readers, sittings and the record on the right.

    Args:
        parent: Qt owner.
    """

    amend_asked = Signal()
    package_asked = Signal(str)
    """A package for this reader."""
    merge_asked = Signal()
    answers_asked = Signal()
    """Of a reader's package: save the response."""
    verify_asked = Signal()
    copy_asked = Signal()
    """Choose the folder of the second copy."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the view, empty."""
        super().__init__(parent)
        self.protocol_card = _ProtocolCard()
        self.protocol_card.amend_button.clicked.connect(self.amend_asked)
        self.readers = ReadersCard()
        self.readers.package_asked.connect(self.package_asked)
        self.readers.merge_button.clicked.connect(self.merge_asked)
        self.readers.answers_button.clicked.connect(self.answers_asked)
        self.sessions = PlainTable(
            ("Reader", "Began", "Screen", "Display check"), "Sittings of the readers", most_rows=8
        )
        self.no_sessions = styled_label("muted", "Nobody has begun to read.")
        self.record = _RecordCard()
        self.record.verify_button.clicked.connect(self.verify_asked)
        self.record.copy_button.clicked.connect(self.copy_asked)
        sessions = _card("Sittings")
        sessions.box.addWidget(self.no_sessions)
        sessions.box.addWidget(self.sessions)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(16)
        layout.addWidget(scrolled((self.protocol_card,)), 4)
        layout.addWidget(scrolled((self.readers, sessions, self.record)), 5)

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        """Show a study after its lock."""
        self.protocol_card.show_snapshot(snapshot)
        self.readers.show_snapshot(snapshot)
        rows = [_session_row(session) for session in reversed(snapshot.sessions)]
        self.sessions.set_rows(rows)
        self.sessions.setVisible(bool(rows))
        self.no_sessions.setVisible(not rows)
        self.record.show_snapshot(snapshot)


class _ProtocolCard(QFrame):
    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.amend_button = QPushButton("Amend…")
        self.amend_button.setProperty("role", "small")
        self.amend_button.setToolTip("Change what may still be changed, with a reason that is recorded")
        head = QHBoxLayout()
        sign = QLabel()
        sign.setPixmap(theme.pixmap("lock", theme.MUTED, 20, 2.0))
        head.addWidget(sign)
        head.addWidget(styled_label("heading", "Protocol, frozen"))
        head.addStretch(1)
        head.addWidget(self.amend_button)
        self.digest = styled_label("muted")
        self.digest.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.copy_button = QPushButton("Copy")
        self.copy_button.setProperty("role", "small")
        self.copy_button.setAccessibleName("Copy the hash of the protocol")
        self.copy_button.clicked.connect(self._copy)
        digest_row = QHBoxLayout()
        digest_row.addWidget(self.digest, 1)
        digest_row.addWidget(self.copy_button)
        self._fields = QGridLayout()
        self._fields.setHorizontalSpacing(18)
        self._fields.setVerticalSpacing(6)
        self._fields.setColumnStretch(1, 1)
        self.amendments = QLabel()
        self.amendments.setTextFormat(Qt.TextFormat.PlainText)
        self.amendments.setWordWrap(True)
        self._sha256 = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addLayout(head)
        layout.addLayout(digest_row)
        layout.addLayout(self._fields)
        layout.addWidget(styled_label("heading", "Amendments"))
        layout.addWidget(self.amendments)
        layout.addStretch(1)

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        self._sha256 = snapshot.sha256
        self.digest.setText(f"SHA-256 {snapshot.sha256[:_SHOWN_HASH]}…")
        self.digest.setToolTip(snapshot.sha256)
        self.amend_button.setVisible(snapshot.phase == "reading" and not snapshot.package)
        while (item := self._fields.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        for row, (label, text) in enumerate(_frozen_fields(snapshot)):
            name = styled_label("muted", label)
            value = QLabel(text)
            value.setTextFormat(Qt.TextFormat.PlainText)
            value.setWordWrap(True)
            self._fields.addWidget(name, row, 0, Qt.AlignmentFlag.AlignTop)
            self._fields.addWidget(value, row, 1)
        self.amendments.setText("\n".join(_amendment_lines(snapshot)) or "None.")

    def _copy(self) -> None:
        QApplication.clipboard().setText(self._sha256)


def _frozen_fields(snapshot: StudySnapshot) -> list[tuple[str, str]]:
    """What the protocol says, as amended; of the methods only how many until the study is unblinded."""
    values = snapshot.protocol.as_fields()
    practice = sum(scan.practice for scan in snapshot.scans)
    scans = counted(len(snapshot.scans) - practice, "scan")
    rows = []
    for name, label in FIELD_LABELS.items():
        if name == "arms":
            sealed = f"{snapshot.protocol.arm_count}, sealed"
            arms = () if snapshot.design is None else snapshot.design.arms
            rows.append((label, "; ".join(map(method_label, arms)) or sealed))
        elif name == "scans":
            rows.append(("Scans", f"{scans}, {practice} for practice" if practice else scans))
        elif name == "repeat_minimum" and not values["repeat_share"]:
            continue
        elif name in values:
            rows.append((label, field_text(name, values[name])))
    return rows


def _amendment_lines(snapshot: StudySnapshot) -> list[str]:
    lines = []
    for item in snapshot.amendments:
        changes = "; ".join(
            f"{FIELD_LABELS.get(name, name)}: {field_text(name, old)} → {field_text(name, new)}"
            for name, (old, new) in item.changes.items()
        )
        lines.append(f"{local_time(item.time_utc)}, {item.actor}: {changes or 'note'}. {item.reason}")
    return lines


class ReadersCard(QFrame):
    """How far every reader is, packages out and responses in.

    Args:
        parent: Qt owner.
    """

    package_asked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the card, empty."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self.package_buttons: dict[str, QPushButton] = {}
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        self.merge_button = QPushButton(theme.icon("save"), " Take in a response…")
        self.merge_button.setToolTip("A file that a reader sent back; it can also be dropped on the window")
        self.answers_button = QPushButton(theme.icon("export"), " Save my answers…")
        self.answers_button.setToolTip("A small file to send back to the coordinator")
        self.note = QLabel()
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.note.setWordWrap(True)
        foot = QHBoxLayout()
        foot.addWidget(self.merge_button)
        foot.addWidget(self.answers_button)
        foot.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addWidget(styled_label("heading", "Readers"))
        layout.addLayout(self._grid)
        layout.addLayout(foot)
        layout.addWidget(self.note)
        self.say("", "muted")

    def say(self, text: str, role: str) -> None:
        """Show what came of a package or a response."""
        say(self.note, text, role)
        self.note.setVisible(bool(text))

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        """Show the readers of a study."""
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.package_buttons.clear()
        reading = snapshot.phase == "reading"
        self.merge_button.setVisible(reading and not snapshot.package)
        self.answers_button.setVisible(reading and snapshot.package)
        for row, reader in enumerate(snapshot.readers):
            name = QLabel(reader.reader)
            name.setTextFormat(Qt.TextFormat.PlainText)
            bar = QProgressBar()
            bar.setTextVisible(False)
            bar.setRange(0, max(reader.total, 1))
            bar.setValue(reader.done)
            bar.setAccessibleName(f"{reader.reader}: {reader.done} of {reader.total}")
            count = styled_label("muted", f"{reader.done} of {reader.total}")
            last = styled_label("muted", local_time(reader.last_utc) if reader.last_utc else "not begun")
            for column, widget in enumerate((name, bar, count, last)):
                self._grid.addWidget(widget, row, column)
            if reading and not snapshot.package:
                button = QPushButton(theme.icon("export"), " Package…")
                button.setProperty("role", "small")
                button.setAccessibleName(f"Package for {reader.reader}")
                button.setToolTip("One file with blinded movies and this reader's order, to read elsewhere")
                button.clicked.connect(
                    lambda _checked=False, reader=reader.reader: self.package_asked.emit(reader)
                )
                self._grid.addWidget(button, row, 4)
                self.package_buttons[reader.reader] = button


class _RecordCard(QFrame):
    """The chain of events: check it, note its head, keep a second copy."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.head = styled_label("muted")
        self.head.setWordWrap(True)
        self.head.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.note_button = QPushButton("Copy")
        self.note_button.setProperty("role", "small")
        self.note_button.setAccessibleName("Copy the head of the record")
        self.note_button.setToolTip("Keep it outside this folder: it betrays even a log that was cut short")
        self.note_button.clicked.connect(self._copy)
        self.verify_button = QPushButton(theme.icon("check"), " Check the record")
        self.verify_button.setToolTip("Compare log, movies and sealed key with their hashes")
        self.copy_button = QPushButton(theme.icon("folder"), " Second copy…")
        self.copy_button.setToolTip("A folder, best on another disk, to which every event is written too")
        self.copy = styled_label("muted")
        self.copy.setWordWrap(True)
        self.verdict = QLabel()
        self.verdict.setTextFormat(Qt.TextFormat.PlainText)
        self.verdict.setWordWrap(True)
        self._head = ""
        head = QHBoxLayout()
        head.addWidget(self.head, 1)
        head.addWidget(self.note_button)
        buttons = QHBoxLayout()
        buttons.addWidget(self.verify_button)
        buttons.addWidget(self.copy_button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addWidget(styled_label("heading", "Record"))
        layout.addLayout(head)
        layout.addWidget(self.copy)
        layout.addLayout(buttons)
        layout.addWidget(self.verdict)
        self.say("", "muted")

    def say(self, text: str, role: str) -> None:
        say(self.verdict, text, role)
        self.verdict.setVisible(bool(text))

    def show_snapshot(self, snapshot: StudySnapshot) -> None:
        self._head = snapshot.head
        number, _, digest = snapshot.head.partition(":")
        self.head.setText(f"{counted(int(number), 'event')}, the last one {digest[:_SHOWN_HASH]}…")
        self.head.setToolTip(snapshot.head)
        self.copy_button.setVisible(not snapshot.package)
        if snapshot.warnings:
            say(self.copy, " ".join(snapshot.warnings), "warning")
        elif snapshot.second_copy is not None:
            say(self.copy, f"Second copy: {snapshot.second_copy}", "muted")
        else:
            say(self.copy, "No second copy: choose a folder on another disk.", "muted")

    def _copy(self) -> None:
        QApplication.clipboard().setText(self._head)


class _Card(QFrame):
    def __init__(self, heading: str) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.box = QVBoxLayout(self)
        self.box.setContentsMargins(18, 14, 18, 16)
        self.box.setSpacing(10)
        self.box.addWidget(styled_label("heading", heading))


def _card(heading: str) -> _Card:
    return _Card(heading)


def local_time(time_utc: str) -> str:
    """A time of the log in local time, to the minute."""
    return f"{datetime.fromisoformat(time_utc).astimezone():%Y-%m-%d %H:%M}"


def _session_row(session: SessionRecord) -> tuple[str, str, str, str]:
    check = session.conditions.get("display_check")
    verdict = check.get("verdict") if isinstance(check, Mapping) else None
    return (session.reader, local_time(session.time_utc), _screen(session.conditions), str(verdict or "–"))


def _screen(conditions: Mapping[str, Any]) -> str:
    """Resolution and refresh rate of the screen, as far as they are known."""
    parts = []
    resolution, rate = conditions.get("resolution_px"), conditions.get("refresh_rate_hz")
    if isinstance(resolution, list | tuple):
        parts.append(" × ".join(str(length) for length in resolution))
    if isinstance(rate, int | float):
        parts.append(f"{rate:.0f} Hz")
    return ", ".join(parts) or "–"
