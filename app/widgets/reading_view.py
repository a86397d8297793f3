"""The reading screen: the movies of a clip, a rank cell under each, and how far the reader has come.

Ranks come from the keyboard (digits in succession, with a visible focus) or the mouse, can be taken back
until they are saved, and are saved only when each movie has one and every panel was played through as often
as the protocol asks. The movies are known by their place on the screen alone: the letters A, B, C.
"""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from app import theme
from app.reading_session import ReadingSession
from app.viewing import Viewing
from app.widgets.answer_bar import AnswerBar
from app.widgets.elements import icon_button, styled_label
from app.widgets.entry_field import EntryField
from app.widgets.key_table import Binding, KeyGroup, KeyHelp, KeyTable
from app.widgets.movie_keys import MOUSE_HELP, movie_groups
from app.widgets.movie_panel import MoviePanel
from app.widgets.panel_row import PanelRow
from app.widgets.ranking_bar import HIGHEST_CONFIDENCE, RankingBar
from studies.names import position_letter
from studies.schedule import Presentation
from studies.state import BlindedClip

_DIGITS = tuple("123456789")
_WINDOW_KEYS = "F11: full screen.  Ctrl+1 … : other pages."


class ReadingView(QWidget):
    """The clip, its ranks, and how far the reader has come."""

    left = Signal()
    """The reader goes back to the list of readers; ranks that were not saved are dropped."""

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
        self._asking_confidence = False
        self._leaving = False
        self._decorated: list[MoviePanel] = []
        self.row = PanelRow(parent=self)
        self.bar = RankingBar(self)
        self.answers = AnswerBar()
        self.viewing = Viewing(self.row, self)
        self.help = KeyHelp(self)
        self.keys = self._make_keys(())
        self._build()
        self.bar.changed.connect(self._on_answer_changed)
        self.answers.confidence_picked.connect(self.set_confidence)
        self.answers.cannot_judge_toggled.connect(self.bar.set_cannot_judge)
        self.answers.undo_pressed.connect(self.undo)
        self.answers.save_pressed.connect(self.save)
        self.answers.note.done.connect(self.leave_note)
        self.row.loop_completed.connect(self._on_loop)

    @property
    def sentence(self) -> str:
        """What the line above the save button says."""
        return self.answers.status.text()

    @property
    def note(self) -> EntryField:
        """Where the reader writes about the clip."""
        return self.answers.note

    @property
    def unsaved(self) -> str:
        """What was entered for the clip on the screen and would be lost; empty if nothing was."""
        session, entry = self._session, self.bar.entry
        if session is None or session.current is None or not session.rankable:
            return ""
        entered = ["cannot judge" if entry.cannot_judge else self.bar.sentence()] if entry.begun else []
        if self.note.text().strip():
            entered.append("a note")
        return f"{self._name(session.current)} ({', '.join(entered)})" if entered else ""

    def begin(self, session: ReadingSession, progress: tuple[int, int]) -> None:
        """Take a session that has not yet advanced."""
        self._session = session
        self._practice = sum(item.kind == "practice" for item in session.study.schedule(session.reader))
        self._total = progress[1] - self._practice
        self._loops_wanted = session.study.protocol.must_view_loops
        self.row.clock.set_speed(session.study.protocol.speed)
        self._notice = ""
        self._leaving = False
        self._reader.setText(session.reader)
        self._progress.setRange(0, max(progress[1], 1))
        self._progress.setValue(progress[0])
        self.answers.say("", "muted")
        session.loading.connect(self._on_loading)
        session.refreshing.connect(self._on_refresher)
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
        if self.bar.labels:
            self.bar.start(self.bar.labels)
        self._decorated.clear()

    def suspend(self) -> None:
        """Pause the movies and the stopwatch."""
        self._was_playing = self.row.clock.playing
        self.row.clock.pause()
        self.viewing.suspend()

    def resume(self) -> None:
        """Go on after `suspend`."""
        if self._session is not None and (self._session.rankable or self._session.refresher):
            self.viewing.resume()
            if self._was_playing:
                self.row.clock.play()

    def take_key(self, event: QKeyEvent) -> bool:
        """Do what a key asks; True if it was one of ours."""
        closing = (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event.key() in closing and self.help.isVisible():
            # Enter too: nobody means to save a ranking that the help covers.
            self.help.hide()
            return True
        if event.key() != Qt.Key.Key_Escape:
            self._leaving = False
        return self.keys.dispatch(event)

    def take_tab(self, forward: bool) -> None:
        """Do what Tab asks, which Qt does not deliver as a key."""
        if self.note.hasFocus():
            self.leave_note()
        else:
            self.keys.press("Tab" if forward else "Shift+Tab")

    def go_on(self) -> None:
        """Enter: save the answer, pass on from the refresher, or try again to load a clip."""
        session = self._session
        if session is None:
            return
        if session.stuck or session.refresher:
            session.advance()
        else:
            self.save()

    def save(self) -> None:
        """Commit the answer if it is complete and every panel was played through; else say what lacks."""
        session = self._session
        if session is None or not session.rankable:
            return
        lacking = self._lacking()
        if lacking:
            self.answers.say(lacking, "warning")
            return
        entry, row = self.bar.entry, self.row
        self._notice = "cannot judge" if entry.cannot_judge else self.bar.sentence()
        session.commit(
            entry.answer,
            seconds=self.viewing.seconds,
            frames_skipped=row.frames_skipped,
            loops=min(row.loops_per_panel, default=0),
            comment=self.note.text().strip(),
            window_level=(row.view_state.window, row.view_state.level),
            confidence=entry.confidence,
            cannot_judge=entry.cannot_judge,
            viewing=self.viewing.to_dict(),
        )
        self.answers.say("Saving …", "muted")
        self._update_controls()

    def leave(self) -> None:
        """Go back to the readers; the first time, say what that means, and only do it the second time."""
        if self._leaving:
            self.left.emit()
            return
        self._leaving = True
        unsaved = self.unsaved
        if unsaved:
            self.answers.say(
                f"{unsaved} is not saved and would be lost. Press Escape again to go back to the readers "
                "without it, or Enter to save it.",
                "warning",
            )
        else:
            self.answers.say("Everything is saved. Press Escape again to go back to the readers.", "muted")

    def give(self, rank: int) -> None:
        """Rank the movie in focus."""
        if not self.bar.give(rank):
            self.answers.say(f"Ranks go from 1 to {self.bar.entry.positions}.", "warning")

    def set_confidence(self, confidence: int) -> None:
        """Say how sure the ranking is, 1 to 5."""
        self._ask_confidence(False)
        if not self.bar.set_confidence(confidence):
            self.answers.say(f"How sure goes from 1 (a guess) to {HIGHEST_CONFIDENCE} (certain).", "warning")

    def undo(self) -> None:
        """Take the last entry back."""
        self._ask_confidence(False)
        if not self.bar.undo():
            self.answers.say("There is nothing to take back.", "muted")

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the help in the middle."""
        super().resizeEvent(event)
        self.help.place()

    def leave_note(self) -> None:
        """Give the keyboard back to the page."""
        page = self.parentWidget()
        if page is not None:
            page.setFocus()

    # Keys

    def _make_keys(self, letters: tuple[str, ...]) -> KeyTable:
        """The keys of a clip with these letters; the help is written from them too."""
        count = len(letters)
        ranking = (
            Binding(
                _DIGITS,
                "Rank: 1 is best, the same twice is a tie",
                self._on_digit,
                shown_as=_range(_DIGITS[:count]),
            ),
            Binding(letters, "Focus on this movie", self._on_letter, shown_as=_range(letters)),
            Binding(("Tab", "Down"), "Focus on the next movie", lambda _: self.bar.move_focus(1)),
            Binding(("Shift+Tab", "Up"), "Focus on the movie before", lambda _: self.bar.move_focus(-1)),
            Binding(
                ("S",),
                f"How sure: then 1 to {HIGHEST_CONFIDENCE}",
                lambda _: self._ask_confidence(True),
            ),
            Binding(("J",), "It cannot be judged, or can after all", self._on_cannot_judge),
            Binding(("N",), "Write a note; Enter ends it", lambda _: self.note.setFocus()),
            Binding(("Backspace", "Ctrl+Z"), "Take the last entry back", lambda _: self.undo()),
        )
        page = (
            Binding(("Return", "Enter"), "Save and show the next clip", lambda _: self.go_on()),
            Binding(("Escape",), "Back to the readers (twice)", lambda _: self.leave()),
            Binding(("?", "F1"), "Show or hide these keys", lambda _: self.help.toggle()),
        )
        table = KeyTable(
            [
                KeyGroup("Ranking", ranking, self._rankable),
                KeyGroup("Clip", page),
                *movie_groups(self.row),
            ]
        )
        self.help.set_table(table, f"{MOUSE_HELP}  {_WINDOW_KEYS}")
        return table

    def _rankable(self) -> bool:
        return self._session is not None and self._session.rankable

    def _on_digit(self, digit: str) -> None:
        if self._asking_confidence:
            self.set_confidence(int(digit))
        else:
            self.give(int(digit))

    def _on_letter(self, letter: str) -> None:
        self.bar.focus_on(self.bar.labels.index(letter))

    def _on_cannot_judge(self, _stroke: str) -> None:
        self.bar.set_cannot_judge(not self.bar.entry.cannot_judge)

    def _ask_confidence(self, asking: bool) -> None:
        self._asking_confidence = asking
        self.answers.show_asking(asking)
        if asking:
            self.answers.say(f"How sure? 1 is a guess, {HIGHEST_CONFIDENCE} is certain.", "heading")

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
        leave = icon_button("person", "Back to the readers (Escape)", self.leave, colour=theme.MUTED)
        keys = icon_button("help", "Keys (?)", self.help.toggle, colour=theme.MUTED)
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
        self._banner = QLabel()
        self._banner.setObjectName("refresher")
        self._banner.setWordWrap(True)
        self._banner.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._banner.setStyleSheet(
            f"background: {theme.ACCENT_DEEP}; color: #ffffff; border-radius: 4px; padding: 7px 12px;"
        )
        self._banner.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 10)
        layout.setSpacing(8)
        layout.addLayout(header)
        layout.addWidget(self._banner)
        layout.addWidget(self.row, 1)
        layout.addWidget(self.answers)

    # What the session tells

    def _on_loading(self, presentation: Presentation) -> None:
        self._show_count(presentation)
        self.row.set_placeholders(self.bar.labels, [""] * len(self.bar.labels))
        self.answers.say("Loading the clip …", "muted")
        self._update_controls()

    def _on_refresher(self, _presentation: Presentation, clip: BlindedClip) -> None:
        self._count.setText("A clip you have seen; not counted")
        self._banner.setText(
            "This is the clip that you ranked last, to find your way back. It is not counted: look as long "
            "as you like, then press Enter."
        )
        self._banner.show()
        self._show_clip(clip)
        self.bar.set_enabled(False)
        self.answers.say("Press Enter to go on with the reading.", "heading")

    def _on_clip(self, presentation: Presentation, clip: BlindedClip) -> None:
        self._banner.hide()
        self._show_count(presentation)
        self._show_clip(clip)
        self.bar.set_enabled(True)
        if self._notice:
            self.answers.say(f"{self._notice}      {self._prompt()}", self._notice_role)
            self._notice, self._notice_role = "", "muted"

    def _show_clip(self, clip: BlindedClip) -> None:
        letters = tuple(map(position_letter, range(len(clip.display))))
        self.row.set_clip(clip.display, letters, clip.frame_times_s, pixel_spacing_mm=clip.pixel_spacing_mm)
        self._decorate()
        self.note.clear()
        self._ask_confidence(False)
        if letters != self.bar.labels:
            self.keys = self._make_keys(letters)
        self.bar.start(letters)
        self.row.set_footers(self.bar.cells)
        self.viewing.begin(0.0 if self._session is None else self._session.waited_s)
        self._was_playing = True
        self._update_controls()
        if self.isVisible():
            self.resume()

    def _on_saved(self, presentation: Presentation) -> None:
        self._progress.setValue(self._progress.value() + 1)
        self._notice = f"{self._name(presentation)} is saved ({self._notice})."
        if self._session is not None and self._session.study.warnings:
            self._notice = " ".join((self._notice, *self._session.study.warnings))
            self._notice_role = "warning"

    def _on_break_due(self, minutes: float) -> None:
        self._notice += f" You have read for {minutes:.0f} minutes: take a short break."
        self._notice_role = "warning"

    def _on_overtaken(self, message: str) -> None:
        if self._session is not None:
            self._progress.setValue(self._session.study.progress(self._session.reader)[0])
        self._notice, self._notice_role = message, "warning"

    def _on_failed(self, message: str) -> None:
        self._notice = ""
        if self._rankable():
            # The disk may be full or the folder read-only: what to do about it stands in the message.
            self.answers.say(
                f"Not saved: {message} Your answer stays here; press Enter to save it again.", "error"
            )
        else:
            self.answers.say(f"{message} Press Enter to try again.", "error")
        self._update_controls()

    # What the widgets tell

    def _on_answer_changed(self) -> None:
        entry = self.bar.entry
        if self._asking_confidence:
            self._ask_confidence(False)
        if entry.cannot_judge:
            self.answers.say("Cannot be judged. Enter saves that; J takes it back.", "heading")
        elif entry.complete:
            self.answers.say(self.bar.sentence(), "heading")
        elif entry.begun:
            self.answers.say(f"{self.bar.sentence()}    {self._prompt()}", "muted")
        else:
            self.answers.say(self._prompt(), "muted")
        for position, panel in enumerate(self.row.panels):
            panel.set_emphasised(position == entry.focus and self._rankable())
            panel.update()
        self._update_controls()

    def _on_loop(self, loops: int) -> None:
        if loops == self._loops_wanted and self.bar.entry.complete and self._rankable():
            self._on_answer_changed()

    def _focus_by_mouse(self, position: int, event: QMouseEvent, _panel: MoviePanel) -> bool:
        if event.type() == QMouseEvent.Type.MouseButtonPress and position < self.bar.entry.positions:
            self.bar.focus_on(position)
        return False

    # Showing

    def _lacking(self) -> str:
        """What is missing before the answer can be saved, in a sentence; empty if nothing is."""
        if not self.bar.entry.complete:
            missing = self.bar.missing()
            return f"{_listed(missing)} {'has' if len(missing) == 1 else 'have'} no rank yet."
        letters = [
            label
            for label, loops in zip(self.bar.labels, self.row.loops_per_panel, strict=True)
            if loops < self._loops_wanted
        ]
        if not letters:
            return ""
        times = "once" if self._loops_wanted == 1 else f"{self._loops_wanted} times"
        sentence = f"See {_listed(letters)} through {times} before saving"
        if self.row.clock.ab_loop is not None:
            return f"{sentence}: only a part is playing; U plays the whole clip."
        if not self.row.clock.playing:
            return f"{sentence}: Space plays the clip."
        return f"{sentence}: {self._seen()}."

    def _seen(self) -> str:
        loops = min(self.row.loops_per_panel, default=0)
        unseen = max(self.row.unseen_per_panel, default=0)
        passes = "" if loops == 0 else f"seen {'once' if loops == 1 else f'{loops} times'}, "
        return f"{passes}{unseen} of {self.row.clock.frame_count} frames are still to come"

    def _prompt(self) -> str:
        focus = self.bar.entry.focus
        return f"Rank of {self.bar.labels[focus]}?" if focus < len(self.bar.labels) else ""

    def _show_count(self, presentation: Presentation) -> None:
        if self._session is not None and self._session.current != presentation:
            return
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
        rankable = self._rankable()
        self.answers.show_entry(self.bar.entry, enabled=rankable)
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
        entry = self.bar.entry
        if position >= entry.positions or entry.cannot_judge or (rank := entry.ranks[position]) is None:
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


def _listed(letters: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(letters[:-1]), letters[-1])))


def _range(strokes: tuple[str, ...]) -> str:
    """How the help writes a run of keys: "1 … 3"."""
    return f"{strokes[0]} … {strokes[-1]}" if strokes else ""
