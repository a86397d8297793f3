"""After the last clip: which movie came from which method? The answers tell how well the blinding held.

The names of the methods are in no widget before a guess is asked for and in none after it, so that nothing on
the Read page tells a reader who still reads what is compared. "Do not know" is an answer like the others.
"""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from app import theme
from app.guess_session import GuessSession
from app.widgets.elements import icon_button, polish_anew, say, styled_label
from app.widgets.key_table import Binding, KeyGroup, KeyHelp, KeyTable
from app.widgets.movie_keys import MOUSE_HELP, movie_groups
from app.widgets.movie_panel import MoviePanel
from app.widgets.panel_row import PanelRow
from studies.names import position_letter
from studies.state import BlindedClip

DO_NOT_KNOW = "do not know"
_CELL_HEIGHT = 46
_STYLE_SHEET = f"""
#guess_cell {{ background: {theme.SUNKEN}; border: 1px solid {theme.BORDER}; border-radius: 5px; }}
#guess_cell[focused="true"] {{ background: {theme.RAISED}; border: 2px solid {theme.ACCENT}; }}
"""


class GuessCell(QFrame):
    """What one movie is taken for.

    Signals:
        pressed: The cell was pressed.
    """

    pressed = Signal()

    def __init__(self, letter: str) -> None:
        """Build the cell of the movie `letter`, without a guess."""
        super().__init__()
        self.setObjectName("guess_cell")
        self.setStyleSheet(_STYLE_SHEET)
        self.setFixedHeight(_CELL_HEIGHT)
        self._letter = letter
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 4, 14, 4)
        row.addWidget(styled_label("heading", letter))
        row.addWidget(self._text, 1)

    @property
    def text(self) -> str:
        """The guess that the cell shows."""
        return self._text.text()

    def sizeHint(self) -> QSize:  # noqa: N802
        """The fixed height, which a layout of its own would not tell."""
        return QSize(super().sizeHint().width(), _CELL_HEIGHT)

    def heightForWidth(self, _width: int) -> int:  # noqa: N802
        """The fixed height at any width."""
        return _CELL_HEIGHT

    def show_state(self, guess: str, focused: bool) -> None:
        """Show a guess (empty: none yet) and whether the next digit comes here."""
        self._text.setText(guess)
        self.setAccessibleName(
            f"Movie {self._letter}, {guess or 'not guessed yet'}{', in focus' if focused else ''}"
        )
        if self.property("focused") != focused:
            self.setProperty("focused", focused)
            polish_anew(self)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A press moves the focus here."""
        self.pressed.emit()
        event.accept()


class GuessView(QWidget):
    """Clip after clip, one guess for each movie; `take_key` has the keys."""

    left = Signal()
    """The reader goes back to the list of readers."""

    def __init__(self, parent: QWidget) -> None:
        """Start without a session; `parent` is the page, which has the keyboard."""
        super().__init__(parent)
        self._session: GuessSession | None = None
        self._choices: tuple[str, ...] = ()
        self._guesses: list[int | None] = []
        self._focus = 0
        self._was_playing = False
        self._letters: tuple[str, ...] = ()
        self._decorated: list[MoviePanel] = []
        self.row = PanelRow(parent=self)
        self.cells: list[GuessCell] = []
        self.buttons: list[QPushButton] = []
        self.help = KeyHelp(self)
        self.keys = self._make_keys()
        self._build()

    @property
    def sentence(self) -> str:
        """What the line beside the save button says."""
        return self._status.text()

    @property
    def guesses(self) -> tuple[str | None, ...]:
        """The guesses so far by position: empty for none yet, None for "do not know"."""
        return tuple("" if guess is None else self._label(guess) for guess in self._guesses)

    def begin(self, session: GuessSession) -> None:
        """Take a session that has not yet advanced."""
        self._session = session
        self._choices = session.choices
        self._show_choices()
        session.shown.connect(self._on_clip)
        session.failed.connect(self._on_failed)

    def clear(self) -> None:
        """Show nothing, the names of the methods least of all."""
        self._session = None
        self._choices = ()
        self._guesses = []
        self.help.hide()
        self.row.clear()
        self._decorated.clear()
        for cell in self.cells:
            cell.show_state("", False)
        self._show_choices()
        say(self._status, "", "muted")

    def suspend(self) -> None:
        """Pause the movies."""
        self._was_playing = self.row.clock.playing
        self.row.clock.pause()

    def resume(self) -> None:
        """Go on after `suspend`."""
        if self._session is not None and self._was_playing:
            self.row.clock.play()

    def take_key(self, event: QKeyEvent) -> bool:
        """Do what a key asks; True if it was one of ours."""
        closing = (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event.key() in closing and self.help.isVisible():
            self.help.hide()
            return True
        return self.keys.dispatch(event)

    def take_tab(self, forward: bool) -> None:
        """Do what Tab asks, which Qt does not deliver as a key."""
        self.keys.press("Tab" if forward else "Shift+Tab")

    def guess(self, number: int) -> None:
        """Take the movie in focus for a choice, counted from 1, or 0 for "do not know"."""
        if not self._answerable():
            return
        if number > len(self._choices):
            say(self._status, f"The choices go from 0 to {len(self._choices)}.", "warning")
            return
        self._guesses[self._focus] = number
        following = [(self._focus + step) % len(self._guesses) for step in range(1, len(self._guesses) + 1)]
        open_ones = [position for position in following if self._guesses[position] is None]
        self._focus = (open_ones or following)[0]
        self._show()

    def save(self) -> None:
        """Record the guesses if each movie has one; else say what is missing."""
        session = self._session
        if session is None:
            return
        if session.stuck:
            session.advance()
            return
        missing = [
            letter for letter, guess in zip(self._letters, self._guesses, strict=True) if guess is None
        ]
        if missing:
            say(self._status, f"No guess yet for {', '.join(missing)}; 0 is “{DO_NOT_KNOW}”.", "warning")
        elif session.answerable:
            session.commit([self._label(guess or 0) for guess in self._guesses])
            say(self._status, "Saving …", "muted")

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the help in the middle."""
        super().resizeEvent(event)
        self.help.place()

    def _label(self, guess: int) -> str | None:
        return self._choices[guess - 1] if guess else None

    # Keys

    def _make_keys(self) -> KeyTable:
        count = len(self._letters)
        guessing = (
            Binding(
                tuple(map(str, range(1, 10))),
                "Take it for this method",
                lambda stroke: self.guess(int(stroke)),
                shown_as=f"1 … {count}",
            ),
            Binding(("0",), "Do not know", lambda _: self.guess(0)),
            Binding(
                self._letters,
                "Focus on this movie",
                lambda stroke: self._focus_on(self._letters.index(stroke)),
                shown_as=f"{self._letters[0]} … {self._letters[-1]}" if self._letters else "",
            ),
            Binding(("Tab", "Down"), "Focus on the next movie", lambda _: self._focus_on(self._focus + 1)),
            Binding(
                ("Shift+Tab", "Up"), "Focus on the movie before", lambda _: self._focus_on(self._focus - 1)
            ),
            Binding(("Backspace",), "Take the guesses back", lambda _: self._start_over()),
        )
        page = (
            Binding(("Return", "Enter"), "Save and show the next clip", lambda _: self.save()),
            Binding(("Escape",), "Back to the readers; the rest can wait", lambda _: self._leave()),
            Binding(("?", "F1"), "Show or hide these keys", lambda _: self.help.toggle()),
        )
        movies = [
            # 0 is "do not know" here, not the true speed.
            KeyGroup(
                group.title,
                tuple(binding for binding in group.bindings if "0" not in binding.strokes),
                group.active,
            )
            for group in movie_groups(self.row)
        ]
        table = KeyTable([KeyGroup("Guessing", guessing, self._answerable), KeyGroup("Clip", page), *movies])
        self.help.set_table(table, MOUSE_HELP)
        return table

    def _answerable(self) -> bool:
        return self._session is not None and self._session.answerable

    def _focus_on(self, position: int) -> None:
        self._focus = position % len(self._guesses)
        self._show()

    def _start_over(self) -> None:
        self._guesses = [None] * len(self._guesses)
        self._focus = 0
        self._show()

    def _leave(self) -> None:
        self.left.emit()

    # Building

    def _build(self) -> None:
        title = styled_label("heading", "All clips are ranked. Which movie is which?")
        self._count = styled_label("muted")
        self._intro = styled_label(
            "muted",
            "Your rankings are saved and stay as they are. These guesses only show how well the names were "
            "hidden: guess, or say that you do not know.",
        )
        self._intro.setWordWrap(True)
        header = QHBoxLayout()
        header.setContentsMargins(2, 0, 2, 0)
        leave = icon_button("person", "Back to the readers (Escape)", self._leave, colour=theme.MUTED)
        header.addWidget(leave)
        header.addStretch(1)
        header.addWidget(title)
        header.addSpacing(12)
        header.addWidget(self._count)
        header.addStretch(1)
        header.addWidget(icon_button("help", "Keys (?)", self.help.toggle, colour=theme.MUTED))
        self._choice_row = QHBoxLayout()
        self._choice_row.setContentsMargins(2, 0, 2, 0)
        self._choice_row.setSpacing(8)
        self._choice_row.addStretch(1)
        self._status = QLabel()
        self._status.setObjectName("guess_status")
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        self._save = QPushButton("Save and next")
        self._save.setProperty("role", "primary")
        self._save.setToolTip("Save the guesses and show the next clip (Enter)")
        self._save.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._save.clicked.connect(self.save)
        self._status.setWordWrap(True)
        self._status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        footer = QHBoxLayout()
        footer.setContentsMargins(2, 0, 2, 0)
        footer.setSpacing(10)
        footer.addWidget(self._status, 1)
        footer.addWidget(self._save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 10)
        layout.setSpacing(8)
        layout.addLayout(header)
        layout.addWidget(self._intro)
        layout.addWidget(self.row, 1)
        layout.addLayout(self._choice_row)
        layout.addLayout(footer)

    def _show_choices(self) -> None:
        for button in self.buttons:
            self._choice_row.removeWidget(button)
            button.setParent(None)
            button.deleteLater()
        self.buttons = []
        if not self._choices:
            return
        for number, label in [*enumerate(self._choices, start=1), (0, DO_NOT_KNOW)]:
            button = QPushButton(f"{number}  {label}")
            button.setAccessibleName(f"{label}, key {number}")
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _checked=False, number=number: self.guess(number))
            self._choice_row.insertWidget(self._choice_row.count() - 1, button)
            self.buttons.append(button)

    # What the session tells

    def _on_clip(self, clip: BlindedClip) -> None:
        letters = tuple(map(position_letter, range(len(clip.display))))
        self.row.set_clip(clip.display, letters, clip.frame_times_s, pixel_spacing_mm=clip.pixel_spacing_mm)
        if letters != self._letters:
            self._letters = letters
            self.keys = self._make_keys()
            self.cells = [GuessCell(letter) for letter in letters]
            for position, cell in enumerate(self.cells):
                cell.pressed.connect(partial(self._focus_on, position))
        self.row.set_footers(self.cells)
        self._guesses = [None] * len(letters)
        self._focus = 0
        if self._session is not None:
            number, total = self._session.progress
            self._count.setText(f"{number} of {total}")
        self._show()
        self._was_playing = True
        if self.isVisible():
            self.row.clock.play()

    def _on_failed(self, message: str) -> None:
        say(self._status, f"{message} Press Enter to try again.", "error")

    def _show(self) -> None:
        for position, (cell, guess) in enumerate(zip(self.cells, self._guesses, strict=True)):
            text = "" if guess is None else self._label(guess) or DO_NOT_KNOW
            cell.show_state(text, position == self._focus)
        for position, panel in enumerate(self.row.panels):
            panel.set_emphasised(position == self._focus)
        done = None not in self._guesses
        say(self._status, "Enter saves the guesses." if done else "", "muted")
        self._save.setEnabled(done)
