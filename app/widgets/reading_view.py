"""The reading screen: the movies of a clip, a rank cell under each, and how far the reader has come.

Ranks come from the keyboard (digits in succession, with a visible focus) or the mouse, can be taken back
until they are saved, and are saved only when each movie has one and the clip was seen to its end. The movies
are known by their place on the screen alone: the letters A, B, C.
"""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QElapsedTimer, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import (
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
from app.reading_session import ReadingSession
from app.widgets.elements import icon_button, say, styled_label
from app.widgets.entry_field import EntryField
from app.widgets.movie_panel import MoviePanel
from app.widgets.panel_row import PanelRow
from app.widgets.ranking_bar import RankingBar
from studies.names import position_letter
from studies.schedule import Presentation
from studies.state import BlindedClip

KEYS = (
    ("1  2  3", "Rank the movie in focus, 1 is best; the same digit twice is a tie"),
    ("Backspace, Ctrl+Z", "Take the last rank back"),
    ("Enter", "Save the ranking and show the next clip"),
    ("A  B  C, Tab, click", "Choose the movie in focus"),
    ("Space", "Play or pause"),
    ("←  →  or  ,  .", "One frame back or forward"),
    ("−  +", "Slower or faster"),
    ("Wheel, drag", "Zoom, move the image"),
    ("Right button, drag", "Window (across) and level (up and down)"),
    ("R", "Whole image, own grey levels"),
    ("N", "Write a note on this clip"),
    ("F11", "Full screen"),
    ("?", "This help"),
)
"""Keys and what they do, as the help shows them."""


class ReadingView(QWidget):
    """The clip, its ranks, and how far the reader has come."""

    left = Signal()

    def __init__(self, parent: QWidget) -> None:
        """Start without a session; `parent` is the page, which has the keyboard."""
        super().__init__(parent)
        self._session: ReadingSession | None = None
        self._total = 0
        self._practice = 0
        self._loops_wanted = 1
        self._notice = ""
        self._notice_role = "muted"
        self._was_playing = False
        self._stopwatch = QElapsedTimer()
        self._seconds_before = 0.0
        self._decorated: list[MoviePanel] = []
        self.row = PanelRow(parent=self)
        self.bar = RankingBar(self)
        self.note = EntryField()
        self.help = KeyHelp(self)
        self._build()
        self.bar.changed.connect(self._on_ranks_changed)
        self.row.clock.loop_completed.connect(self._on_loop)

    @property
    def sentence(self) -> str:
        """What the line beside the save button says."""
        return self._status.text()

    def begin(self, session: ReadingSession, progress: tuple[int, int]) -> None:
        """Take a session that has not yet advanced."""
        self._session = session
        self._practice = sum(item.kind == "practice" for item in session.study.schedule(session.reader))
        self._total = progress[1] - self._practice
        self._loops_wanted = session.study.protocol.must_view_loops
        self.row.clock.set_speed(session.study.protocol.speed)
        self._notice = ""
        self._reader.setText(session.reader)
        self._progress.setRange(0, max(progress[1], 1))
        self._progress.setValue(progress[0])
        self._status.setText("")
        session.loading.connect(self._on_loading)
        session.shown.connect(self._on_clip)
        session.saved.connect(self._on_saved)
        session.break_due.connect(self._on_break_due)
        session.overtaken.connect(self._on_overtaken)
        session.failed.connect(self._on_failed)

    def clear(self) -> None:
        """Show nothing and forget the session."""
        self._session = None
        self.help.hide()
        self.note.clear()
        self.row.clear()
        self._decorated.clear()

    def suspend(self) -> None:
        """Pause the movies and the stopwatch."""
        self._was_playing = self.row.clock.playing
        self.row.clock.pause()
        if self._stopwatch.isValid():
            self._seconds_before += self._stopwatch.elapsed() / 1000
            self._stopwatch.invalidate()

    def resume(self) -> None:
        """Go on after `suspend`."""
        if self._session is not None and self._session.rankable:
            if not self._stopwatch.isValid():
                self._stopwatch.start()
            if self._was_playing:
                self.row.clock.play()

    def take_key(self, event: QKeyEvent) -> bool:
        """Do what a key asks; True if it was one of ours."""
        closing = (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event.key() in closing and self.help.isVisible():
            # Enter too: nobody means to save a ranking that the help covers.
            self.help.hide()
            return True
        if event.text() == "?":
            self.toggle_help()
            return True
        # A key held down repeats itself: that is wanted for stepping through frames, never for ranks.
        if self.row.handle_key(event) or event.isAutoRepeat():
            return True
        if self._session is None:
            return False
        if self._session.stuck and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._session.advance()
            return True
        return self._session.rankable and self._take_ranking_key(event)

    def toggle_help(self) -> None:
        """Show or hide the keys."""
        self.help.setVisible(not self.help.isVisible())
        self.help.place()

    def save(self) -> None:
        """Commit the ranking if it is complete and the clip was seen to its end; else say what is missing."""
        session = self._session
        if session is None or not session.rankable:
            return
        missing = self.bar.missing()
        if missing:
            names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
            self._say(f"{names} {'has' if len(missing) == 1 else 'have'} no rank yet.", "warning")
            return
        clock = self.row.clock
        if clock.loops_completed < self._loops_wanted:
            times = "once" if self._loops_wanted == 1 else f"{self._loops_wanted} times"
            self._say(f"See the clip to its end {times} before saving.", "warning")
            return
        seconds = self._seconds_before + (
            self._stopwatch.elapsed() / 1000 if self._stopwatch.isValid() else 0.0
        )
        self._notice = self.bar.sentence()
        view = self.row.view_state
        session.commit(
            [rank for rank in self.bar.entry.ranks if rank is not None],
            seconds=seconds,
            frames_skipped=clock.frames_skipped,
            loops=clock.loops_completed,
            comment=self.note.text().strip(),
            window_level=(view.window, view.level),
        )
        self._say("Saving …", "muted")
        self._update_controls()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the help in the middle."""
        super().resizeEvent(event)
        self.help.place()

    def _take_ranking_key(self, event: QKeyEvent) -> bool:
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        key, text = event.key(), event.text().upper()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.save()
        elif key == Qt.Key.Key_Backspace or (control and key == Qt.Key.Key_Z):
            self.undo()
        elif control or event.modifiers() & Qt.KeyboardModifier.AltModifier:
            return False
        elif text.isdigit():
            self.give(int(text))
        elif text and text in self.bar.labels:
            self.bar.focus_on(self.bar.labels.index(text))
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.bar.move_focus(1 if key == Qt.Key.Key_Down else -1)
        elif text == "R":
            self.row.view_state.reset_view()
            self.row.view_state.reset_levels()
        elif text == "N":
            self.note.setFocus()
        else:
            return False
        return True

    def give(self, rank: int) -> None:
        """Rank the movie in focus."""
        if not self.bar.give(rank):
            self._say(f"Ranks go from 1 to {self.bar.entry.positions}.", "warning")

    def undo(self) -> None:
        """Take the last rank back."""
        if not self.bar.undo():
            self._say("There is no rank to take back.", "muted")

    # Building

    def _build(self) -> None:
        self._reader = styled_label("muted")
        self._reader.setTextFormat(Qt.TextFormat.PlainText)
        self._count = styled_label("heading")
        self._count.setObjectName("clip_count")
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        self._progress.setFixedWidth(220)
        self._progress.setAccessibleName("Clips ranked")
        leave = icon_button("person", "Back to the readers", self.left.emit, colour=theme.MUTED)
        keys = icon_button("help", "Keys (?)", self.toggle_help, colour=theme.MUTED)
        header = QHBoxLayout()
        header.setContentsMargins(2, 0, 2, 0)
        header.setSpacing(10)
        header.addWidget(leave)
        header.addWidget(self._reader)
        header.addStretch(1)
        header.addWidget(self._count)
        header.addWidget(self._progress)
        header.addStretch(1)
        header.addWidget(keys)
        self._undo = QPushButton("Undo")
        self._undo.setIcon(theme.icon("undo"))
        self._undo.setToolTip("Take the last rank back (Backspace)")
        self._undo.clicked.connect(self.undo)
        self._save = QPushButton("Save and next")
        self._save.setProperty("role", "primary")
        self._save.setToolTip("Save the ranking and show the next clip (Enter)")
        self._save.clicked.connect(self.save)
        for button in (self._undo, self._save):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._status = QLabel()
        self._status.setObjectName("reading_status")
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        self.note.setPlaceholderText("Note on this clip (N)")
        self.note.setAccessibleName("Note on this clip")
        self.note.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.note.setMaximumWidth(300)
        self.note.done.connect(self.leave_note)
        footer = QHBoxLayout()
        footer.setContentsMargins(2, 0, 2, 0)
        footer.setSpacing(10)
        footer.addWidget(self._status, 1)
        footer.addWidget(self.note)
        footer.addWidget(self._undo)
        footer.addWidget(self._save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 10)
        layout.setSpacing(8)
        layout.addLayout(header)
        layout.addWidget(self.row, 1)
        layout.addLayout(footer)

    # What the session tells

    def _on_loading(self, presentation: Presentation) -> None:
        self._show_count(presentation)
        self.row.set_placeholders(self.bar.labels, [""] * len(self.bar.labels))
        self._say("Loading the clip …", "muted")
        self._update_controls()

    def _on_clip(self, presentation: Presentation, clip: BlindedClip) -> None:
        letters = tuple(map(position_letter, range(len(clip.display))))
        self._show_count(presentation)
        self.row.set_clip(clip.display, letters, clip.frame_times_s, pixel_spacing_mm=clip.pixel_spacing_mm)
        self._decorate()
        self.note.clear()
        self.bar.start(letters)
        self.row.set_footers(self.bar.cells)
        self._seconds_before = 0.0
        self._stopwatch.invalidate()
        self._was_playing = True
        self._update_controls()
        if self._notice:
            self._say(f"{self._notice}      {self._prompt()}", self._notice_role)
            self._notice, self._notice_role = "", "muted"
        if self.isVisible():
            self._stopwatch.start()
            self.row.clock.play()

    def _on_saved(self, presentation: Presentation) -> None:
        self._progress.setValue(self._progress.value() + 1)
        self._notice = f"{self._name(presentation)} is saved ({self._notice})."

    def _on_break_due(self, minutes: float) -> None:
        self._notice += f" You have read for {minutes:.0f} minutes: take a short break."
        self._notice_role = "warning"

    def _on_overtaken(self, message: str) -> None:
        if self._session is not None:
            self._progress.setValue(self._session.study.progress(self._session.reader)[0])
        self._notice, self._notice_role = message, "warning"

    def _on_failed(self, message: str) -> None:
        self._notice = ""
        self._say(f"{message} Press Enter to try again.", "error")
        self._update_controls()

    # What the widgets tell

    def _on_ranks_changed(self) -> None:
        if self.bar.entry.complete:
            self._say(self.bar.sentence(), "heading")
        elif self.bar.entry.undoable:
            self._say(f"{self.bar.sentence()}    {self._prompt()}", "muted")
        else:
            self._say(self._prompt(), "muted")
        for position, panel in enumerate(self.row.panels):
            panel.set_emphasised(position == self.bar.entry.focus)
            panel.update()
        self._update_controls()

    def _on_loop(self, loops: int) -> None:
        if loops == self._loops_wanted and self.bar.entry.complete:
            self._on_ranks_changed()

    def leave_note(self) -> None:
        """Give the keyboard back to the page."""
        page = self.parentWidget()
        if page is not None:
            page.setFocus()

    def _focus_by_mouse(self, position: int, event: QMouseEvent, _panel: MoviePanel) -> bool:
        if event.type() == QMouseEvent.Type.MouseButtonPress and position < self.bar.entry.positions:
            self.bar.focus_on(position)
        return False

    # Showing

    def _prompt(self) -> str:
        focus = self.bar.entry.focus
        return f"Rank of {self.bar.labels[focus]}?" if focus < len(self.bar.labels) else ""

    def _say(self, text: str, role: str) -> None:
        say(self._status, text, role)

    def _show_count(self, presentation: Presentation) -> None:
        if presentation.kind == "practice":
            self._count.setText(f"Practice {presentation.index + 1} of {self._practice}")
        else:
            # A hidden repeat is counted like any other clip, or it would not be hidden.
            self._count.setText(f"{presentation.index + 1 - self._practice} of {self._total}")

    def _name(self, presentation: Presentation) -> str:
        if presentation.kind == "practice":
            return f"Practice clip {presentation.index + 1}"
        return f"Clip {presentation.index + 1 - self._practice}"

    def _update_controls(self) -> None:
        rankable = self._session is not None and self._session.rankable
        self._undo.setEnabled(rankable and self.bar.entry.undoable)
        self._save.setEnabled(rankable and self.bar.entry.complete)
        self.note.setEnabled(rankable)
        for cell in self.bar.cells:
            cell.setEnabled(rankable)

    def _decorate(self) -> None:
        """Give each panel its rank badge and let a press on it take the focus, once."""
        for position, panel in enumerate(self.row.panels):
            if panel not in self._decorated:
                panel.add_overlay(partial(self._paint_rank, position))
                panel.add_mouse_handler(partial(self._focus_by_mouse, position))
                self._decorated.append(panel)

    def _paint_rank(self, position: int, painter: QPainter, panel: MoviePanel) -> None:
        if position >= self.bar.entry.positions or (rank := self.bar.entry.ranks[position]) is None:
            return
        font = QFont(panel.font())
        font.setPointSizeF(font.pointSizeF() * 2.2)
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        area = QRectF(panel.rect()).adjusted(12, 6, -14, -6)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
        painter.setPen(QColor(0, 0, 0, 200))
        painter.drawText(area.translated(1.5, 1.5), flags, str(rank))
        painter.setPen(QColor(theme.ACCENT))
        painter.drawText(area, flags, str(rank))


class KeyHelp(QFrame):
    """The keys, over the page."""

    def __init__(self, parent: QWidget) -> None:
        """Build the card, hidden."""
        super().__init__(parent)
        self.setProperty("role", "card")
        self.setAccessibleName("Keys")
        title = styled_label("heading", "Keys")
        grid = QGridLayout()
        grid.setHorizontalSpacing(28)
        grid.setVerticalSpacing(7)
        for row, (keys, meaning) in enumerate(KEYS):
            name = QLabel(keys)
            name.setStyleSheet(f"color: {theme.ACCENT}; font-weight: 600;")
            grid.addWidget(name, row, 0)
            grid.addWidget(QLabel(meaning), row, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(28, 22, 28, 24)
        layout.setSpacing(14)
        layout.addWidget(title)
        layout.addLayout(grid)
        self.hide()

    def place(self) -> None:
        """Stand in the middle of the page, above everything."""
        parent = self.parentWidget()
        if parent is not None:
            self.adjustSize()
            self.move((parent.width() - self.width()) // 2, (parent.height() - self.height()) // 2)
            self.raise_()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A click puts the help away."""
        self.hide()
        event.accept()
