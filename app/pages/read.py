"""The blinded reading: who reads, a look at the screen, then clip after clip, and no hint of who is who.

The page leads from the choice of a reader over the display check and the clips to the guess and the end; a
reading is resumed where it was left, because the study knows what was committed. Method names are not in this
module, and the study does not give them out before the reader has ranked everything.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.context import AppContext
from app.guess_session import GuessSession
from app.reading_session import ReadingSession
from app.viewing import viewing_conditions
from app.widgets.display_check import CheckResult, DisplayCheckView
from app.widgets.elements import styled_label
from app.widgets.guess_view import GuessView
from app.widgets.reading_view import ReadingView
from app.widgets.response_note import ResponseNote

_WIDEST_CHOOSER = 620


class ReadPage(QWidget):
    """Choose a reader, check the screen, then rank clip after clip and guess at the end.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    title = "Read"

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        self._context = context
        self._session: ReadingSession | None = None
        self._guessing: GuessSession | None = None
        self.setObjectName("read_page")
        self.setAccessibleName("Blinded reading")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.chooser = _Chooser(self)
        self.check = DisplayCheckView(self)
        self.reading = ReadingView(self)
        self.guessing = GuessView(self)
        self.finished = _FinishedView(ResponseNote(context), self)
        self._stack = QStackedLayout(self)
        for view in (self.chooser, self.check, self.reading, self.guessing, self.finished):
            self._stack.addWidget(view)
        self.chooser.chosen.connect(self.start)
        self.check.finished.connect(self._begin)
        for leaving in (self.check.left, self.reading.left, self.guessing.left, self.finished.left):
            leaving.connect(self.leave)
        context.study_changed.connect(self._on_study_changed)
        self._on_study_changed()

    @property
    def session(self) -> ReadingSession | None:
        """The reading under way, or None."""
        return self._session

    @property
    def unsaved(self) -> str:
        """What was entered and would be lost if the window closed now; empty if nothing would."""
        return self.reading.unsaved

    def start(self, reader: str) -> None:
        """Begin or resume the reading of a reader: first the display check, where clips are left."""
        study = self._context.study
        if study is None:
            return
        self._end_session()
        session = ReadingSession(self._context, study, reader, self)
        self._session = session
        session.begun.connect(self._on_begun)
        session.failed.connect(self._on_failed)
        session.finished.connect(self._on_ranked)
        self.reading.begin(session, study.progress(reader))
        if study.next_presentation(reader) is None:
            self._on_ranked()
            return
        self.check.begin()
        session.prepare()
        self._bring_up(self.check)

    def leave(self) -> None:
        """Go back to the choice of readers; what was saved stays, what was not is told there."""
        unsaved = self.unsaved
        self._end_session()
        self._refresh_chooser(f"{unsaved} was not saved." if unsaved else "")
        self._stack.setCurrentWidget(self.chooser)
        self.chooser.focus_first()

    def on_shown(self) -> None:
        """The page came to the front: go on playing."""
        if self._session is None:
            self._refresh_chooser()
            self.chooser.focus_first()
            return
        self.setFocus()
        view = self._stack.currentWidget()
        if isinstance(view, (ReadingView, GuessView)):
            view.resume()

    def on_hidden(self) -> None:
        """Another page came to the front: pause."""
        self.reading.suspend()
        self.guessing.suspend()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Give keys to the view on top."""
        view = self._stack.currentWidget()
        views = (_Chooser, DisplayCheckView, ReadingView, GuessView, _FinishedView)
        if isinstance(view, views) and view.take_key(event):
            event.accept()
            return
        super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        """Hand the keyboard on to the readers while they are to be chosen from."""
        super().focusInEvent(event)
        if self._stack.currentWidget() is self.chooser:
            self.chooser.focus_first()

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802
        """While reading, Tab goes from movie to movie instead of from control to control."""
        view = self._stack.currentWidget()
        if isinstance(view, (ReadingView, GuessView)):
            view.take_tab(forward)
            return True
        return super().focusNextPrevChild(forward)

    def _on_study_changed(self) -> None:
        study = self._context.study
        if self._session is not None and self._session.study is study and study.phase == "reading":
            return
        unsaved = self.unsaved
        self._end_session()
        self._refresh_chooser(f"{unsaved} was not saved." if unsaved else "")
        self._stack.setCurrentWidget(self.chooser)

    def _begin(self, result: CheckResult) -> None:
        if self._session is not None:
            self._session.begin(viewing_conditions(self, self.reading.row.view_state, result))

    def _on_begun(self) -> None:
        self._bring_up(self.reading)

    def _on_failed(self, message: str) -> None:
        if self._stack.currentWidget() is self.check:
            self.check.show_failure(message)

    def _on_ranked(self) -> None:
        session = self._session
        if session is None:
            return
        guessing = GuessSession(self._context, session.study, session.reader, self)
        if not guessing.remaining:
            guessing.deleteLater()
            self._on_finished()
            return
        self._guessing = guessing
        guessing.finished.connect(self._on_finished)
        self.reading.clear()
        self.guessing.begin(guessing)
        self._bring_up(self.guessing)
        guessing.advance()

    def _on_finished(self) -> None:
        if self._session is None:
            return
        self.reading.clear()
        self.guessing.clear()
        self.finished.show_result(self._session.reader, self._session.study.progress(self._session.reader)[1])
        self._bring_up(self.finished)

    def _bring_up(self, view: QWidget) -> None:
        """Show a view; the keys come through this page."""
        self._stack.setCurrentWidget(view)
        self.setFocus()

    def _end_session(self) -> None:
        for session in (self._session, self._guessing):
            if session is not None:
                session.close()
                session.deleteLater()
        self._session = self._guessing = None
        self.reading.clear()
        self.guessing.clear()

    def _refresh_chooser(self, notice: str = "") -> None:
        study = self._context.study
        if study is None:
            self.chooser.show_message("No study is open", "Open a study on the Data page to read it.")
        elif study.phase == "design":
            self.chooser.show_message(
                study.name, "This study is still being designed. It can be read once it is locked."
            )
        elif study.phase == "unblinded":
            self.chooser.show_message(study.name, "This study is unblinded; the reading is closed.")
        else:
            self.chooser.show_readers(
                study.name, {reader: study.progress(reader) for reader in study.readers}
            )
        self.chooser.show_notice(notice)


class _Chooser(QWidget):
    """Who is reading?"""

    chosen = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._title = styled_label("title")
        self._title.setWordWrap(True)
        self._text = styled_label("muted")
        self._text.setWordWrap(True)
        self._notice = styled_label("warning")
        self._notice.setWordWrap(True)
        self._notice.setTextFormat(Qt.TextFormat.PlainText)
        self._notice.hide()
        self.buttons: list[QPushButton] = []
        self._rows = QVBoxLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(8)
        holder = QWidget()
        holder.setLayout(self._rows)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidget(holder)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QWidget()
        column.setMaximumWidth(_WIDEST_CHOOSER)
        layout = QVBoxLayout(column)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(12)
        layout.addStretch(1)
        layout.addWidget(self._title)
        layout.addWidget(self._text)
        layout.addWidget(self._notice)
        layout.addSpacing(8)
        layout.addWidget(self._scroll, 4)
        layout.addStretch(1)
        outer = QHBoxLayout(self)
        outer.addStretch(1)
        outer.addWidget(column, 3)
        outer.addStretch(1)

    def show_message(self, title: str, text: str) -> None:
        """Say why there is nothing to read."""
        self._title.setText(title)
        self._text.setText(text)
        self._clear()
        self._scroll.hide()

    def show_readers(self, title: str, progress: dict[str, tuple[int, int]]) -> None:
        """Offer the readers with how far each has come."""
        self._title.setText(title)
        self._text.setText(
            "Who is reading? Each clip shows one scan as several movies side by side. Rank them by "
            "diagnostic quality: 1 is best, equal ranks are allowed. You can stop at any time; what is saved "
            "stays saved."
        )
        self._clear()
        self._scroll.show()
        for reader, (done, total) in progress.items():
            state = "finished" if done == total else f"{done} of {total}"
            self._rows.addWidget(self._reader_button(reader, state))
        self._rows.addStretch(1)

    @property
    def notice(self) -> str:
        """What came of the reading that was left."""
        return self._notice.text()

    def show_notice(self, notice: str) -> None:
        """Say what came of the reading that was left; nothing if empty."""
        self._notice.setText(notice)
        self._notice.setVisible(bool(notice))

    def focus_first(self) -> None:
        """Put the keyboard on the first reader."""
        if self.buttons:
            self.buttons[0].setFocus()

    def take_key(self, event: QKeyEvent) -> bool:
        """Enter chooses the reader that has the keyboard."""
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            return False
        for button in self.buttons:
            if button.hasFocus():
                button.click()
                return True
        return False

    def _reader_button(self, reader: str, state: str) -> QPushButton:
        button = QPushButton()
        button.setFixedHeight(52)
        button.setAccessibleName(f"{reader}, {state}")
        name, count = QLabel(reader), QLabel(state)
        name.setTextFormat(Qt.TextFormat.PlainText)
        name.setProperty("role", "heading")
        count.setProperty("role", "muted")
        row = QHBoxLayout(button)
        row.setContentsMargins(16, 0, 16, 0)
        row.addWidget(name)
        row.addStretch(1)
        row.addWidget(count)
        for label in (name, count):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        button.clicked.connect(lambda: self.chosen.emit(reader))
        self.buttons.append(button)
        return button

    def _clear(self) -> None:
        self.buttons.clear()
        while (item := self._rows.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()


class _FinishedView(QWidget):
    """All clips are ranked."""

    left = Signal()

    def __init__(self, note: ResponseNote, parent: QWidget) -> None:
        super().__init__(parent)
        self._title = styled_label("title")
        self._title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        text = styled_label("muted", "Every ranking is saved in the study. Thank you.")
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        button = QPushButton("Back to the readers")
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(self.left)
        sign = QLabel()
        sign.setPixmap(theme.pixmap("check", theme.GOOD, 56))
        sign.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setSpacing(14)
        layout.addStretch(2)
        layout.addWidget(sign)
        layout.addWidget(self._title)
        layout.addWidget(text)
        layout.addWidget(note)
        layout.addSpacing(10)
        layout.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(3)

    def show_result(self, reader: str, total: int) -> None:
        """Say who has finished how much."""
        clips = "1 clip is" if total == 1 else f"All {total} clips are"
        self._title.setText(f"{clips} ranked, {reader}.")

    def take_key(self, event: QKeyEvent) -> bool:
        """Enter goes back to the readers."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape):
            self.left.emit()
            return True
        return False
