"""Measuring, blinded: shapes drawn once on the average of a clip's movies and applied to each of them.

The observer draws on the average over the movies, so that no movie's own edges can attract the drawing; the
movies themselves stand below with the same shapes, named A, B, C in their opaque order. Every number comes
from `studies.measurement.measure`, which runs on a thread on the newest shapes while they are still being
dragged.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStackedLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.context import AppContext
from app.playback import PlaybackClock
from app.widgets.elements import icon_button, say, styled_label
from app.widgets.entry_field import EntryField
from app.widgets.movie_panel import MoviePanel, default_levels
from app.widgets.panel_row import TransportBar
from app.widgets.roi_layer import ROLE_COLOURS, ROLE_NAMES, ROLES, RoiLayer, Role, ShapeBoard
from app.widgets.series_plot import Curve, SeriesPlot
from app.widgets.view_state import ViewState
from studies.errors import StudyError
from studies.measurement import BACKGROUND_SNR_WARNING, ArmMeasurement, measure, measurement_values
from studies.names import position_letter
from studies.shapes import Shapes
from studies.state import Clip, MeasurementClip, MeasurementRecord
from studies.study import Study
from studies.timed_shapes import TimedShapes

ARM_COLOURS = ("#6cb2e0", "#dcdcdc", "#c58ad0", "#8fc7a6", "#e0b15e", "#e08a8a")
ARM_DASHES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.DashDotDotLine,
    Qt.PenStyle.SolidLine,
)

_TOOL_KEYS: dict[str, Role] = {"S": "signal", "A": "background", "L": "line"}
_TOOL_ICONS: dict[Role, str] = {"signal": "ellipse", "background": "rectangle", "line": "line"}
_TOOL_TIPS: dict[Role, str] = {
    "signal": "Signal (S): drag an ellipse in the blood pool or the tongue",
    "background": "Air (A): drag a rectangle outside the body; with Shift an ellipse",
    "line": "Line (L): drag across the septum or the border of the tongue",
}
_ARROWS = {
    Qt.Key.Key_Left: (-1.0, 0.0),
    Qt.Key.Key_Right: (1.0, 0.0),
    Qt.Key.Key_Up: (0.0, -1.0),
    Qt.Key.Key_Down: (0.0, 1.0),
}
_OBSERVER_SETTING = "measure/observer"
_LINE_WIDTHS_PX = (1, 3, 5, 7)
_FOLLOWS = "What is saved follows the motion (measured on the command line); shown are the fixed shapes."


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A clip with the average of its movies."""

    clip: MeasurementClip
    average: NDArray[np.float32]


class LiveMeasurement(QObject):
    """Measures on a thread, always the newest shapes; requests that were overtaken are dropped.

    Args:
        context: runs the work.
        parent: Qt owner.
    """

    done = Signal(object, object)
    """Shapes and the list of `ArmMeasurement` that belongs to them."""

    failed = Signal(object, str)
    """Shapes and the sentence that says why they cannot be measured."""

    def __init__(self, context: AppContext, parent: QObject | None = None) -> None:
        """Start idle."""
        super().__init__(parent)
        self._context = context
        self._waiting: tuple[MeasurementClip, Shapes, float] | None = None
        self._running = False

    def request(self, clip: MeasurementClip, shapes: Shapes, window_s: float) -> None:
        """Measure these shapes as soon as the measurement under way has ended."""
        self._waiting = (clip, shapes, window_s)
        if not self._running:
            self._next()

    def forget(self) -> None:
        """Drop the waiting request."""
        self._waiting = None

    def _next(self) -> None:
        if self._waiting is None:
            return
        clip, shapes, window_s = self._waiting
        self._waiting = None
        self._running = True
        self._context.tasks.submit(
            partial(
                measure, clip.movies, shapes, clip.pixel_spacing_mm, clip.frame_times_s, window_s=window_s
            ),
            partial(self._on_done, shapes),
            partial(self._on_failed, shapes),
        )

    def _on_done(self, shapes: Shapes, results: list[ArmMeasurement]) -> None:
        self._running = False
        self.done.emit(shapes, results)
        self._next()

    def _on_failed(self, shapes: Shapes, error: BaseException) -> None:
        self._running = False
        if not isinstance(error, StudyError):
            raise error
        self.failed.emit(shapes, str(error))
        self._next()


class MeasurePage(QWidget):
    """Draw a signal region, an air region and a line; read SNR and edge sharpness of every movie.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    title = "Measure"

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        self._context = context
        self._study: Study | None = None
        self._clips: list[Clip] = []
        self._current: Clip | None = None
        self._loaded: _Loaded | None = None
        self._results: list[ArmMeasurement] | None = None
        self._measured: Shapes | None = None
        self._drafts: dict[str, Shapes] = {}
        self.setObjectName("measure_page")
        self.setAccessibleName("Measurement")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.board = ShapeBoard(self)
        self.view_state = ViewState(self)
        self.clock = PlaybackClock(self)
        self.live = LiveMeasurement(context, self)
        self.panel = MoviePanel("", self.view_state)
        self.arm_panels: list[MoviePanel] = []
        self.clip_list = QListWidget()
        self.observer = EntryField(str(context.settings.value(_OBSERVER_SETTING, "")))
        self.numbers = _Numbers()
        self.snr_plot = SeriesPlot("SNR (dB)")
        self.sharpness_plot = SeriesPlot("Edge sharpness (1/mm)")
        self._build()
        RoiLayer(self.panel, self.board, editable=True)
        self._connect()
        self._on_study_changed()

    # What others call

    def on_shown(self) -> None:
        """The page came to the front."""
        self._on_study_changed()

    def on_hidden(self) -> None:
        """Another page came to the front: pause."""
        self.clock.pause()

    @property
    def current_clip(self) -> Clip | None:
        """The clip being measured."""
        return self._current

    @property
    def results(self) -> list[ArmMeasurement] | None:
        """Measurements of the shapes drawn now, one a movie; None while there are none."""
        return self._results if self._measured == self.board.shapes else None

    def select_clip(self, index: int) -> None:
        """Show a clip by its place in the list."""
        if 0 <= index < len(self._clips):
            self.clip_list.setCurrentRow(index)

    def save(self) -> None:
        """Save what was drawn and measured, then go to the next clip that this observer has not measured."""
        study, clip, results = self._study, self._current, self.results
        observer = self.observer.text().strip()
        if study is None or clip is None or self._loaded is None:
            return
        if not observer:
            self._say("Enter the observer's name before saving.", "warning")
            self.observer.setFocus()
            return
        if results is None or not all(self.board.shape(role) is not None for role in ROLES):
            missing = [ROLE_NAMES[role].lower() for role in ROLES if self.board.shape(role) is None]
            self._say(
                f"Still to be drawn: {', '.join(missing)}." if missing else "Still measuring.", "warning"
            )
            return
        if self._follows(clip.clip_id) and not self._context.dialogs.confirm(
            self,
            "Replace the measurement",
            f"The saved measurement of {observer} has regions that change over time (made with "
            "“blindcine study measure”). Saving here replaces it by one with the fixed shapes drawn.",
            "Replace",
        ):
            return
        self._context.settings.setValue(_OBSERVER_SETTING, observer)
        shapes = self.board.shapes
        values = measurement_values(self._loaded.clip.movie_ids, results)
        self._save.setEnabled(False)
        self._context.run_study_task(
            partial(study.save_measurement, observer, clip.clip_id, shapes.to_dict(), values),
            lambda _: self._on_saved(clip, shapes),
            self._on_not_saved,
        )

    # Keys

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Tools, nudging, undo, playback, saving."""
        if self._take_key(event):
            event.accept()
            return
        super().keyPressEvent(event)

    def _take_key(self, event: QKeyEvent) -> bool:
        key, text = Qt.Key(event.key()), event.text().upper()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if control and key == Qt.Key.Key_Z:
            self.board.undo()
        elif control and key == Qt.Key.Key_S:
            self.save()
        elif control or event.modifiers() & Qt.KeyboardModifier.AltModifier:
            return False
        elif key in _ARROWS:
            if not self.board.nudge(*_ARROWS[key]) and key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
                self.clock.step(int(_ARROWS[key][0]))
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.board.remove_selected()
        elif key == Qt.Key.Key_Escape:
            self.board.arm(None)
            self.board.select(None)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.save()
        elif key in (Qt.Key.Key_PageDown, Qt.Key.Key_PageUp):
            self.select_clip(self.clip_list.currentRow() + (1 if key == Qt.Key.Key_PageDown else -1))
        elif key == Qt.Key.Key_Space:
            self.clock.toggle()
        elif text in (",", "."):
            self.clock.step(1 if text == "." else -1)
        elif text in _TOOL_KEYS:
            self.board.arm(_TOOL_KEYS[text])
        else:
            return False
        return True

    # Building

    def _build(self) -> None:
        self._message = styled_label("muted")
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        work = QWidget()
        row = QHBoxLayout(work)
        row.setContentsMargins(12, 10, 12, 10)
        row.setSpacing(12)
        row.addLayout(self._build_list())
        row.addLayout(self._build_images(), 1)
        row.addLayout(self._build_numbers())
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._message)
        self._stack.addWidget(work)
        self._work = work

    def _build_list(self) -> QVBoxLayout:
        heading = styled_label("heading", "Clips")
        self.clip_list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.clip_list.setFixedWidth(186)
        self.clip_list.setIconSize(QSize(16, 16))
        self.clip_list.setAccessibleName("Clips")
        blank = QPixmap(16, 16)
        blank.fill(Qt.GlobalColor.transparent)
        self._icons = {
            "": QIcon(blank),
            "saved": theme.icon("check", theme.GOOD),
            "not saved": theme.icon("warning", theme.WARNING),
        }
        self.observer.setPlaceholderText("Observer")
        self.observer.setAccessibleName("Observer")
        self.observer.setToolTip("Who measures; each observer draws independently")
        self.observer.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.observer.setFixedWidth(186)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(heading)
        column.addWidget(self.observer)
        column.addWidget(self.clip_list, 1)
        return column

    def _build_images(self) -> QVBoxLayout:
        tools = QHBoxLayout()
        tools.setSpacing(6)
        self.tools: dict[Role, QToolButton] = {}
        for role in ROLES:
            button = QToolButton()
            button.setText(f" {ROLE_NAMES[role]}")
            button.setIcon(theme.icon(_TOOL_ICONS[role], ROLE_COLOURS[role]))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setIconSize(QSize(18, 18))
            button.setCheckable(True)
            button.setToolTip(_TOOL_TIPS[role])
            button.setAccessibleName(f"Draw {ROLE_NAMES[role].lower()}")
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda checked, role=role: self.board.arm(role if checked else None))
            tools.addWidget(button)
            self.tools[role] = button
        self.line_width = QComboBox()
        for width in _LINE_WIDTHS_PX:
            self.line_width.addItem(f"{width} px", width)
        self.line_width.setToolTip("The profile is the mean of this many parallel lines, one pixel apart")
        self.line_width.setAccessibleName("Width of the line")
        self.line_width.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.line_width.activated.connect(lambda index: self.board.set_line_width(_LINE_WIDTHS_PX[index]))
        self._undo = icon_button("undo", "Undo (Ctrl+Z)", self.board.undo)
        self._delete = icon_button("cancel", "Delete the selected shape (Delete)", self.board.remove_selected)
        width_name = styled_label("muted", "Line width")
        tools.addSpacing(10)
        tools.addWidget(width_name)
        tools.addWidget(self.line_width)
        tools.addStretch(1)
        tools.addWidget(self._undo)
        tools.addWidget(self._delete)
        self._arm_row = QHBoxLayout()
        self._arm_row.setSpacing(6)
        column = QVBoxLayout()
        column.setSpacing(6)
        column.addLayout(tools)
        column.addWidget(self.panel, 5)
        column.addLayout(self._arm_row, 2)
        self._transport = TransportBar(self.clock, self.view_state)
        column.addWidget(self._transport)
        return column

    def _build_numbers(self) -> QVBoxLayout:
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        self._save = QPushButton("Save and next")
        self._save.setProperty("role", "primary")
        self._save.setToolTip("Save this clip's measurement and go to the next clip (Enter)")
        self._save.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._save.clicked.connect(self.save)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self.numbers)
        column.addWidget(self.snr_plot, 1)
        column.addWidget(self.sharpness_plot, 1)
        column.addWidget(self._status)
        column.addWidget(self._save)
        self.numbers.setFixedWidth(392)
        return column

    def _connect(self) -> None:
        self._context.study_changed.connect(self._on_study_changed)
        self.clip_list.currentRowChanged.connect(self._on_row)
        self.observer.editingFinished.connect(self._on_observer)
        self.observer.done.connect(self.setFocus)
        self.board.changed.connect(self._on_board)
        self.board.shapes_changed.connect(self._on_shapes)
        self.live.done.connect(self._on_measured)
        self.live.failed.connect(self._on_not_measured)
        self.clock.frame_changed.connect(self._on_frame)
        for plot in (self.snr_plot, self.sharpness_plot):
            plot.time_clicked.connect(self._seek)

    # Study and clips

    def _on_study_changed(self) -> None:
        study = self._context.study
        if study is not self._study:
            self._study = study
            self._drafts.clear()
            self._show_nothing()
        self._clips = [] if study is None else study.clips
        if study is None:
            self._refuse("Open a study on the Data page to measure it.")
        elif study.phase == "design":
            self._refuse("This study is still being designed. It can be measured once it is locked.")
        elif not self._clips:
            self._refuse("This study has no clips.")
        else:
            self._stack.setCurrentWidget(self._work)
            self._fill_list()

    def _refuse(self, sentence: str) -> None:
        self._message.setText(sentence)
        self._stack.setCurrentWidget(self._message)

    def _fill_list(self) -> None:
        saved = self._saved()
        row = self.clip_list.currentRow()
        self.clip_list.blockSignals(True)
        while self.clip_list.count() > len(self._clips):
            self.clip_list.takeItem(self.clip_list.count() - 1)
        while self.clip_list.count() < len(self._clips):
            self.clip_list.addItem(QListWidgetItem())
        for index, clip in enumerate(self._clips):
            item = self.clip_list.item(index)
            state = "saved" if clip.clip_id in saved else ""
            state = "not saved" if clip.clip_id in self._drafts else state
            item.setText(f"{index + 1}   {clip.subject}   {state}\n{clip.plane} · {clip.sampling}")
            item.setIcon(self._icons[state])
        self.clip_list.blockSignals(False)
        if row < 0 and self._clips:
            first = next((i for i, clip in enumerate(self._clips) if clip.clip_id not in saved), 0)
            self.clip_list.setCurrentRow(first)

    def _saved(self) -> dict[str, MeasurementRecord]:
        """This observer's saved measurements, by clip."""
        observer = self.observer.text().strip()
        if self._study is None or not observer:
            return {}
        return {record.clip_id: record for record in self._study.measurements if record.observer == observer}

    def _on_row(self, row: int) -> None:
        if self._study is None or not 0 <= row < len(self._clips):
            return
        clip = self._clips[row]
        if self._current is not None and self._current.clip_id == clip.clip_id:
            return
        self._show_nothing()
        self._current = clip
        self.panel.set_message("Loading the clip …")
        self._context.tasks.submit(
            partial(_load, self._study, clip.clip_id),
            partial(self._on_loaded, clip),
            partial(self._on_not_loaded, clip),
        )

    def _on_observer(self) -> None:
        self._context.settings.setValue(_OBSERVER_SETTING, self.observer.text().strip())
        if self._study is None or self._study.phase == "design":
            return
        self._fill_list()
        if self._current is not None and self._current.clip_id not in self._drafts:
            self._load_shapes()

    def _show_nothing(self) -> None:
        self.clock.set_frames(0, 1.0)
        self.live.forget()
        self._current = None
        self._loaded = None
        self._results = None
        self._measured = None
        for panel in (self.panel, *self.arm_panels):
            panel.set_frames(None)
            panel.set_message("")
        self.board.load(Shapes(), (1, 1))
        self._show_results()

    def _on_loaded(self, clip: Clip, loaded: _Loaded) -> None:
        if self._current is None or self._current.clip_id != clip.clip_id:
            return
        movies, times_s = loaded.clip.movies, loaded.clip.frame_times_s
        self._loaded = loaded
        height, width = movies.shape[2:]
        window, level = default_levels(movies)
        aspect = loaded.clip.pixel_spacing_mm[0] / loaded.clip.pixel_spacing_mm[1]
        self.view_state.set_image(width, height, pixel_aspect=aspect, window=window, level=level)
        self._make_arm_panels(len(movies))
        self.panel.set_label(f"Average of {', '.join(map(position_letter, range(len(movies))))}")
        self.panel.set_frames(loaded.average)
        for place, (panel, movie) in enumerate(zip(self.arm_panels, movies, strict=True)):
            panel.set_label(position_letter(place))
            panel.set_frames(movie)
        interval_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
        self.clock.set_frames(len(times_s), interval_s)
        self._transport.set_frame_times(times_s)
        self._load_shapes()
        if self.isVisible():
            self.clock.play()

    def _on_not_loaded(self, clip: Clip, error: BaseException) -> None:
        if self._current is not None and self._current.clip_id == clip.clip_id:
            self.panel.set_message(str(error))
        self._context.report(error)

    def _follows(self, clip_id: str) -> bool:
        """Whether this observer's saved shapes change over time, which this page does not show."""
        record = self._saved().get(clip_id)
        return record is not None and not TimedShapes.from_dict(record.shapes).stays

    def _load_shapes(self) -> None:
        """Show this observer's shapes of the clip: the draft, else what was saved, else none."""
        if self._loaded is None or self._current is None:
            return
        height, width = self._loaded.clip.movies.shape[2:]
        clip_id = self._current.clip_id
        record = self._saved().get(clip_id)
        shapes = self._drafts.get(clip_id) or (Shapes.from_dict(record.shapes) if record else Shapes())
        self.board.load(shapes, (width, height))

    def _make_arm_panels(self, count: int) -> None:
        while len(self.arm_panels) > count:
            panel = self.arm_panels.pop()
            self._arm_row.removeWidget(panel)
            panel.hide()
            panel.deleteLater()
        while len(self.arm_panels) < count:
            panel = MoviePanel("", self.view_state)
            RoiLayer(panel, self.board, editable=False)
            self._arm_row.addWidget(panel, 1)
            self.arm_panels.append(panel)

    # Shapes and numbers

    def _on_board(self) -> None:
        for role, button in self.tools.items():
            button.setChecked(self.board.armed == role)
        self._undo.setEnabled(self.board.undoable)
        self.line_width.setCurrentIndex(self.line_width.findData(self.board.line_width_px))
        selected = self.board.selected
        self._delete.setEnabled(selected is not None and self.board.shape(selected) is not None)

    def _on_shapes(self) -> None:
        if self._loaded is None or self._study is None or self._current is None:
            return
        shapes = self.board.shapes
        clip_id = self._current.clip_id
        record = self._saved().get(clip_id)
        stored = Shapes.from_dict(record.shapes) if record else Shapes()
        before = clip_id in self._drafts
        if shapes != stored:
            self._drafts[clip_id] = shapes
        else:
            self._drafts.pop(clip_id, None)
        if before != (clip_id in self._drafts):
            self._fill_list()
        self.live.request(self._loaded.clip, shapes, self._study.protocol.measurement_window_s)
        self._prompt()

    def _on_measured(self, shapes: Shapes, results: list[ArmMeasurement]) -> None:
        if self._loaded is None or len(results) != len(self._loaded.clip.movies):
            return
        self._results, self._measured = results, shapes
        self._show_results()

    def _on_not_measured(self, shapes: Shapes, sentence: str) -> None:
        self._results, self._measured = None, shapes
        self._show_results()
        self._say(sentence, "warning")

    def _show_results(self) -> None:
        results = self._results or []
        spacing = self._loaded.clip.pixel_spacing_mm if self._loaded else (1.0, 1.0)
        self.numbers.show_results(results, spacing)
        times_s = self._loaded.clip.frame_times_s if self._loaded else np.zeros(0)
        self.snr_plot.set_curves(
            _curves(times_s, [result.snr_db for result in results]), "Draw the signal and the air region."
        )
        self.sharpness_plot.set_curves(
            _curves(times_s, [result.edge_sharpness_per_mm for result in results]), "Draw the line."
        )
        self._prompt()

    def _prompt(self) -> None:
        """Say the next thing to do, or what is worth knowing about these numbers."""
        study = self._study
        reading = study is not None and study.phase == "reading"
        self._save.setEnabled(reading and self._loaded is not None)
        missing = [role for role in ROLES if self.board.shape(role) is None]
        if self._loaded is None:
            self._say("", "muted")
        elif not reading:
            self._say("The study is unblinded; its measurements are closed.", "muted")
        elif missing:
            self._say(_TOOL_TIPS[missing[0]], "muted")
        else:
            warnings = list(dict.fromkeys(text for result in self._results or [] for text in result.warnings))
            if self._current is not None and self._follows(self._current.clip_id):
                warnings.insert(0, _FOLLOWS)
            self._say("\n".join(warnings), "warning")

    def _on_saved(self, clip: Clip, shapes: Shapes) -> None:
        if self._drafts.get(clip.clip_id) == shapes:
            del self._drafts[clip.clip_id]
        self._fill_list()
        self._prompt()
        self._context.message.emit("The measurement is saved.")
        saved = self._saved()
        row = self.clip_list.currentRow()
        order = [*range(row + 1, len(self._clips)), *range(row)]
        following = next((index for index in order if self._clips[index].clip_id not in saved), None)
        if following is None:
            self._say("Saved. Every clip is measured.", "muted")
        else:
            self.select_clip(following)

    def _on_not_saved(self, error: BaseException) -> None:
        self._prompt()
        if isinstance(error, StudyError):
            self._say(str(error), "error")
        else:
            self._context.report(error)

    def _on_frame(self, frame: int) -> None:
        for panel in (self.panel, *self.arm_panels):
            panel.show_frame(frame)
        times_s = self._loaded.clip.frame_times_s if self._loaded else np.zeros(0)
        time_s = float(times_s[frame]) if frame < len(times_s) else None
        self.snr_plot.set_cursor(time_s)
        self.sharpness_plot.set_cursor(time_s)

    def _seek(self, time_s: float) -> None:
        if self._loaded is not None:
            self.clock.seek(int(np.argmin(np.abs(self._loaded.clip.frame_times_s - time_s))))

    def _say(self, text: str, role: str) -> None:
        say(self._status, text, role)


class _Numbers(QFrame):
    """Mean ± SD over time of every movie, and how large the shapes are."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.setAccessibleName("Measurements")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(0, 0)
        for column, name in enumerate(("", "SNR\ndB", "Sharpness\n1/mm", "10–90 %\nmm")):
            heading = styled_label("muted", name)
            heading.setAlignment(Qt.AlignmentFlag.AlignRight)
            if name.startswith("SNR"):
                heading.setToolTip(textwrap.fill(BACKGROUND_SNR_WARNING, 80))
            self._grid.addWidget(heading, 0, column)
            self._grid.setColumnStretch(column, 1 if column else 0)
        self._cells: list[list[QLabel]] = []
        self._sizes = styled_label("muted")
        self._sizes.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(10)
        layout.addLayout(self._grid)
        layout.addWidget(self._sizes)
        self.show_results([], (1.0, 1.0))

    def texts(self) -> list[list[str]]:
        """The rows of the table as shown."""
        return [[cell.text() for cell in row] for row in self._cells]

    @property
    def sizes(self) -> str:
        """The line with pixel counts and length."""
        return self._sizes.text()

    def show_results(self, results: Sequence[ArmMeasurement], spacing_mm: tuple[float, float]) -> None:
        """Fill the table; without results its rows show dashes."""
        self._make_rows(max(len(results), 3))
        for index, row in enumerate(self._cells):
            result = results[index] if index < len(results) else None
            row[0].setText(position_letter(index))
            row[1].setText(_mean_sd(result.snr if result else None, 1))
            row[2].setText(_mean_sd(result.sharpness if result else None, 3))
            row[3].setText(_mean_sd(result.width if result else None, 1))
        if not results:
            self._sizes.setText("Mean ± SD over time\nNo region drawn yet")
            return
        first = results[0]
        area = spacing_mm[0] * spacing_mm[1] / 100
        sizes = [
            f"{name} {pixels} px, {pixels * area:.1f} cm²"
            for name, pixels in (("Signal", first.signal_pixels), ("Air", first.background_pixels))
            if pixels
        ]
        window = "all frames" if first.window_s is None else f"the first {first.window_s:g} s"
        line = f"   ·   Line {first.line_length_mm:.1f} mm" if first.line_length_mm else ""
        regions = "   ·   ".join(sizes) or "No region drawn yet"
        self._sizes.setText(f"Mean ± SD over {window}{line}\n{regions}")

    def _make_rows(self, count: int) -> None:
        while len(self._cells) > count:
            for cell in self._cells.pop():
                self._grid.removeWidget(cell)
                cell.deleteLater()
        while len(self._cells) < count:
            index = len(self._cells)
            row = [QLabel() for _ in range(4)]
            row[0].setStyleSheet(f"font-weight: 600; color: {ARM_COLOURS[index % len(ARM_COLOURS)]};")
            for column, cell in enumerate(row):
                cell.setAlignment(Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft)
                self._grid.addWidget(cell, index + 1, column)
            self._cells.append(row)


def _load(study: Study, clip_id: str) -> _Loaded:
    """Load a clip and average its movies."""
    clip = study.load_movies(clip_id)
    return _Loaded(clip, np.ascontiguousarray(clip.movies.mean(axis=0, dtype=np.float32)))


def _curves(times_s: NDArray[np.float64], series: Sequence[NDArray[np.float64] | None]) -> list[Curve]:
    """One curve a movie, as far as measured."""
    return [
        Curve(position_letter(index), times_s, values, QColor(ARM_COLOURS[index]), ARM_DASHES[index])
        for index, values in enumerate(series)
        if values is not None
    ]


def _mean_sd(summary: tuple[float, float, int, int] | None, digits: int) -> str:
    if summary is None:
        return "–"
    mean, sd = summary[:2]
    if not np.isfinite(mean):
        return "–"
    return f"{mean:.{digits}f} ± {sd:.{digits}f}" if np.isfinite(sd) else f"{mean:.{digits}f}"
