"""The right side of the measuring page: numbers, frames that count, curves, y–t profiles and warnings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.widgets.elements import say, styled_label
from app.widgets.entry_field import EntryField
from app.widgets.measure_numbers import ARM_COLOURS, ARM_DASHES, MeasureNumbers
from app.widgets.position_time_view import PositionTimeView
from app.widgets.series_plot import Curve, SeriesPlot
from studies.drawings import Drawing
from studies.errors import StudyError
from studies.measurement import ArmMeasurement, measured_frames
from studies.names import position_letter
from studies.timed_shapes import keyframes

_WIDTH = 420
_WIDTH_PER_MOVIE = 44
"""Room for each movie beyond the third."""


class MeasureResults(QWidget):
    """What was measured; knows no study.

    Signals:
        save_wanted: Save and go on.
        frames_entered: (first, end) from 0, or None for all frames.
        frames_refused: A sentence about what was entered.
        view_changed: Curves or y–t profiles are shown now.
        time_clicked: Time in seconds under a click in a curve or a profile.
        keyboard_free: The entry gives the keyboard back.
    """

    save_wanted = Signal()
    frames_entered = Signal(object)
    frames_refused = Signal(str)
    view_changed = Signal()
    time_clicked = Signal(float)
    keyboard_free = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Build the column."""
        super().__init__(parent)
        self.numbers = MeasureNumbers()
        self.frames = EntryField()
        self.snr_plot = SeriesPlot("SNR (dB)")
        self.sharpness_plot = SeriesPlot("Edge sharpness (1/mm)")
        self.profiles = PositionTimeView()
        self.save_button = QPushButton("Save and next")
        self._count = 0
        self._status = QLabel()
        self._warnings = styled_label("warning")
        self._build()

    @property
    def profiles_shown(self) -> bool:
        """Whether the y–t profiles are looked at."""
        return self._views.currentIndex() == 1

    @property
    def words(self) -> str:
        """What is said and warned of now."""
        return "\n".join(text for text in (self._status.text(), self._warnings.text()) if text)

    def show_profiles(self, shown: bool) -> None:
        """Show the y–t profiles, or the curves."""
        self._show_view(int(shown))

    def say(self, text: str, role: str) -> None:
        """Say the next thing to do."""
        say(self._status, text, role)
        self._status.setVisible(bool(text))

    def warn(self, sentences: Sequence[str]) -> None:
        """Show what is worth knowing about these numbers."""
        self._warnings.setText("\n".join(sentences))
        self._warnings.setVisible(bool(sentences))

    def show_results(
        self,
        results: Sequence[ArmMeasurement],
        drawing: Drawing,
        spacing_mm: tuple[float, float],
        times_s: NDArray[np.float64],
    ) -> None:
        """Show numbers and curves; empty ones without results."""
        if results:
            self.setFixedWidth(_WIDTH + _WIDTH_PER_MOVIE * max(len(results) - 3, 0))
        self.numbers.show_results(results, drawing.shapes.drawing.line, spacing_mm)
        self.snr_plot.set_curves(
            _curves(times_s, [result.snr_db for result in results]), "Draw the signal and the air region."
        )
        self.sharpness_plot.set_curves(
            _curves(times_s, [result.edge_sharpness_per_mm for result in results]), "Draw the edge line."
        )

    def show_no_frames(self) -> None:
        """Forget which frames count."""
        self._count = 0
        self._window.setText("")
        self.frames.setText("")

    def show_frames(
        self, drawing: Drawing, times_s: NDArray[np.float64], window_s: float, step_s: float
    ) -> None:
        """Show which frames count, in words, in the entry and in the curves.

        Args:
            drawing: has the range of frames, and changes of shapes, which are marked.
            times_s: of all frames.
            window_s: of the study.
            step_s: time between two frames.
        """
        self._count = count = len(times_s)
        if not self.frames.hasFocus():
            first, end = drawing.frame_range or (0, count)
            self.frames.setText("" if drawing.frame_range is None else f"{first + 1}-{end}")
        try:
            counted = np.flatnonzero(measured_frames(times_s, window_s, drawing.frame_range))
        except StudyError as error:
            self._window.setText(str(error))
            return
        first, last = int(counted[0]), int(counted[-1])
        duration_s = float(times_s[last] - times_s[first]) + step_s
        self._window.setText(f"{first + 1}–{last + 1} of {count} count: {duration_s:.2f} s of {window_s:g} s")
        span = (float(times_s[first]) - step_s / 2, float(times_s[last]) + step_s / 2)
        marks = [float(times_s[frame]) - step_s / 2 for frame in keyframes(drawing.shapes, count)]
        for plot in (self.snr_plot, self.sharpness_plot):
            plot.set_span(None if len(counted) == count else span)
            plot.set_marks(marks)

    def set_cursor(self, time_s: float | None) -> None:
        """Put the cursor of all views at a time in seconds."""
        for view in (self.snr_plot, self.sharpness_plot, self.profiles):
            view.set_cursor(time_s)

    def _on_frames_entered(self) -> None:
        text = self.frames.text().replace("–", "-").replace(" ", "")
        if not self._count:
            return
        if not text or text == "all":
            self.frames_entered.emit(None)
            return
        first, dash, last = text.partition("-")
        if not first.isdecimal() or not (last if dash else first).isdecimal():
            self.frames_refused.emit(f"“{text}” is not a range of frames such as 5-20.")
            return
        numbers = int(first) - 1, int(last if dash else first)
        if not 0 <= numbers[0] < numbers[1] <= self._count:
            self.frames_refused.emit(
                f"The movie has the frames 1 to {self._count}; {text} cannot be measured."
            )
            return
        self.frames_entered.emit(numbers)

    # Building

    def _build(self) -> None:
        self.setFixedWidth(_WIDTH)
        self.save_button.setProperty("role", "primary")
        self.save_button.setToolTip("Save this scan's measurement and go to the next scan (Enter)")
        self.save_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.save_button.clicked.connect(self.save_wanted.emit)
        self._build_frames()
        curves = QWidget()
        plots = QVBoxLayout(curves)
        plots.setContentsMargins(0, 0, 0, 0)
        plots.setSpacing(6)
        plots.addWidget(self.snr_plot, 1)
        plots.addWidget(self.sharpness_plot, 1)
        self._views = QStackedWidget()
        self._views.addWidget(curves)
        self._views.addWidget(self.profiles)
        for view in (self.snr_plot, self.sharpness_plot, self.profiles):
            view.time_clicked.connect(self.time_clicked.emit)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.numbers)
        column.addLayout(self._view_buttons())
        column.addWidget(self._views, 3)
        column.addWidget(self._build_words(), 1)
        column.addWidget(self.save_button)

    def _build_frames(self) -> None:
        self.frames.setPlaceholderText("all")
        self.frames.setAccessibleName("Frames of mean and SD")
        self.frames.setToolTip("Frames of mean and SD, such as 5-20; first ([), last (]), all (\\)")
        self.frames.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.frames.setFixedWidth(70)
        self.frames.editingFinished.connect(self._on_frames_entered)
        self.frames.done.connect(self.keyboard_free.emit)
        self._window = styled_label("muted")
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(styled_label("muted", "Frames"))
        row.addWidget(self.frames)
        row.addWidget(self._window, 1)
        self.numbers.body.addLayout(row)

    def _build_words(self) -> QScrollArea:
        words = QWidget()
        lines = QVBoxLayout(words)
        lines.setContentsMargins(2, 0, 2, 0)
        lines.setSpacing(4)
        for label in (self._status, self._warnings):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            lines.addWidget(label)
        lines.addStretch(1)
        area = QScrollArea()
        area.setWidget(words)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setMinimumHeight(96)
        return area

    def _view_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        self._view_group = QButtonGroup(self)
        for index, (name, tip) in enumerate(
            (("Curves", "SNR and edge sharpness over time (Y)"), ("y–t profiles", "The line over time (Y)"))
        ):
            button = QToolButton()
            button.setText(name)
            button.setToolTip(tip)
            button.setAccessibleName(name)
            button.setCheckable(True)
            button.setChecked(index == 0)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self._view_group.addButton(button, index)
            row.addWidget(button)
        row.addStretch(1)
        self._view_group.idClicked.connect(self._show_view)
        return row

    def _show_view(self, index: int) -> None:
        self._views.setCurrentIndex(index)
        self._view_group.button(index).setChecked(True)
        self.view_changed.emit()


def _curves(times_s: NDArray[np.float64], series: Sequence[NDArray[np.float64] | None]) -> list[Curve]:
    """One curve a movie, as far as measured."""
    return [
        Curve(position_letter(index), times_s, values, QColor(ARM_COLOURS[index]), ARM_DASHES[index])
        for index, values in enumerate(series)
        if values is not None
    ]
