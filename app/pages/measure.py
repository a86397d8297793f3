"""Measuring, blinded: shapes drawn once for a clip and applied to each of its movies.

The observer draws on the average over the movies, so that no movie's own edges can attract the drawing, or
on one movie that is drawn by lot for each clip and observer; the movies themselves stand below with the same
shapes, named A, B, C in their opaque order. Every number comes from `studies.measurement.measure`, which runs
on a thread on the newest shapes while they are still being dragged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget

from app.context import AppContext
from app.drawing_files import DrawingFiles, geometry_of
from app.newest_task import NewestTask
from app.pages.measure_keys import measure_keys
from app.playback import PlaybackClock
from app.region_following import RegionFollowing
from app.widgets.agreement_view import REPEATED, AgreementView
from app.widgets.elements import styled_label
from app.widgets.entry_field import EntryField
from app.widgets.key_table import KeyHelp, KeyTable
from app.widgets.measure_results import MeasureResults
from app.widgets.measure_tools import ROLE_TIPS, Following, MeasureTools
from app.widgets.movie_panel import MoviePanel, default_levels
from app.widgets.panel_row import TransportBar
from app.widgets.roi_layer import MaskImages, RoiLayer
from app.widgets.scan_list import ScanList
from app.widgets.shape_board import MEASURED_ROLES, ROLE_NAMES, ShapeBoard
from app.widgets.view_state import ViewState
from studies.drawings import AVERAGE, Drawing, Geometry, movie_to_draw_on
from studies.errors import StudyError
from studies.measurement import ArmMeasurement, measure, measurement_values
from studies.names import person_name, position_letter
from studies.repeatability import Repeatability, compare_sets, latest_set, repeated_sets
from studies.shapes import Shapes
from studies.state import Clip, MeasurementClip, MeasurementRecord, Phase
from studies.study import Study
from studies.timed_shapes import TimedShapes
from studies.yt_files import PositionTime, clip_profiles

_EMPTY = Drawing(TimedShapes(Shapes()))
_OBSERVER_SETTING = "measure/observer"
_ONE_MOVIE_SETTING = "measure/draw_on_one_movie"
_LIST_WIDTH = 190
_NARROW_PX = 1300
"""A page narrower than this has a compact bar, so that the frames can still be slid through."""
_NEW_SHAPE_PX = 12.0


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """What the page needs of the study, read on a thread."""

    role: str
    phase: Phase
    clips: list[Clip]
    measurements: list[MeasurementRecord]
    window_s: float


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A clip with the average of its movies."""

    clip: MeasurementClip
    average: NDArray[np.float32]


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
        self._snapshot: _Snapshot | None = None
        self._current: Clip | None = None
        self._loaded: _Loaded | None = None
        self._stored = _EMPTY
        self._results: list[ArmMeasurement] | None = None
        self._measured: object = None
        self._profiled: object = None
        self._trouble: tuple[Drawing, str] | None = None
        self._save_wanted: tuple[str, Drawing] | None = None
        self._observer = person_name(str(context.settings.value(_OBSERVER_SETTING, "")))
        self._drafts_of: dict[str, dict[str, Drawing]] = {}
        self._copied_from: dict[tuple[str, str], Geometry] = {}
        self._geometries: dict[str, Geometry] = {}
        self._worked_on: list[str] = []
        self._layers: list[RoiLayer] = []
        self._masks = MaskImages()
        self._one_movie = str(context.settings.value(_ONE_MOVIE_SETTING, "false")) == "true"
        self.setObjectName("measure_page")
        self.setAccessibleName("Measurement")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.board = ShapeBoard(self)
        self.view_state = ViewState(self)
        # Images of any matrix fill the panel that is drawn on; the bar's menu has whole screen pixels.
        self.view_state.set_integer_scaling(False)
        self.clock = PlaybackClock(self)
        self.following = RegionFollowing(self.board, context.tasks, self)
        self.files = DrawingFiles(context, self)
        self._looking = NewestTask(context.tasks, self)
        self._measuring = NewestTask(context.tasks, self)
        self._profiling = NewestTask(context.tasks, self)
        self._comparing = NewestTask(context.tasks, self)
        self.panel = MoviePanel("", self.view_state)
        self.arm_panels: list[MoviePanel] = []
        self.scans = ScanList()
        self.observer = EntryField(self._observer)
        self.tools = MeasureTools(self.board)
        self.side = MeasureResults()
        self.agreement = AgreementView()
        self.help = KeyHelp(self)
        self._build()
        self._layers.append(RoiLayer(self.panel, self.board, editable=True, masks=self._masks))
        self._keys = KeyTable(measure_keys(self))
        self.help.set_table(self._keys, "Drag to draw and to change; wheel: zoom; right button: grey levels.")
        self._connect()
        self._on_study_changed()

    # What others call

    def on_shown(self) -> None:
        """The page came to the front."""
        if self._stack.currentWidget() is self.agreement:
            self.leave_agreement()
        self._on_study_changed()

    def on_hidden(self) -> None:
        """Another page came to the front: pause."""
        self.clock.pause()

    @property
    def current_clip(self) -> Clip | None:
        """The clip being measured."""
        return self._current

    @property
    def unsaved(self) -> str:
        """What would be lost with the window, in words; empty if nothing would be."""
        if self._snapshot is None or self._snapshot.phase != "reading":
            return ""
        count = sum(map(len, self._drafts_of.values()))
        return f"What is drawn on {count} scan{'s' if count > 1 else ''}" if count else ""

    @property
    def results(self) -> list[ArmMeasurement] | None:
        """Measurements of the shapes drawn now, one a movie; None while there are none."""
        current = self._measured == self._measure_key() and not self.following.busy
        return self._results if current else None

    def select_clip(self, index: int) -> None:
        """Show a clip by its place in the list."""
        if 0 <= index < self.scans.count():
            self.scans.setCurrentRow(index)

    def go(self, step: int) -> None:
        """Show the next scan, or the one before."""
        self.select_clip(self.scans.currentRow() + step)

    def save(self) -> None:
        """Save what was drawn and measured, then go to the next clip that this observer has not measured."""
        self._on_observer()
        study, clip, loaded, observer = self._study, self._current, self._loaded, self._observer
        if study is None or clip is None or loaded is None or not self.side.save_button.isEnabled():
            return
        if not observer:
            self.side.say("Enter the observer's name before saving.", "warning")
            self.observer.setFocus()
            return
        drawn = self.board.shapes.drawing
        missing = [ROLE_NAMES[role].lower() for role in MEASURED_ROLES if getattr(drawn, role) is None]
        if missing:
            self.side.say(f"Still to be drawn: {', '.join(missing)}.", "warning")
            return
        results = self.results
        if results is None:
            if self._measuring.busy or self.following.busy:
                self._save_wanted = (clip.clip_id, self.board.drawing)
                self.side.say("Saved as soon as it is measured …", "muted")
            else:
                self.side.say("These shapes cannot be measured.", "warning")
            return
        self._save_wanted = None
        drawing = self.board.drawing.on(self._drawn_on())
        values = measurement_values(loaded.clip.movie_ids, results)
        self.side.save_button.setEnabled(False)

        def write() -> _Snapshot:
            study.save_measurement(observer, clip.clip_id, drawing.to_dict(), values)
            return _look(study)

        self._context.run_study_task(write, partial(self._on_saved, clip, drawing), self._on_not_saved)

    def set_following(self, following: Following) -> None:
        """Let the signal region follow the tissue under it, from the frame shown; or let it stay."""
        trouble = self.following.choose(following)
        self.tools.refresh()
        self._prompt()
        if trouble:
            self.side.say(trouble, "warning")

    def copy_previous(self) -> None:
        """Take the shapes of the subject's scan that this observer worked on last."""
        clip, snapshot = self._current, self._snapshot
        if clip is None or self._loaded is None or snapshot is None:
            return
        saved = self._saved()
        places = {item.clip_id: index for index, item in enumerate(snapshot.clips)}
        candidates = [
            item.clip_id
            for item in snapshot.clips
            if item.subject == clip.subject
            and item.clip_id != clip.clip_id
            and (item.clip_id in self._drafts or item.clip_id in saved)
        ]
        if not candidates:
            self.side.say(f"No other scan of {clip.subject} has been drawn on yet.", "warning")
            return
        recent = [clip_id for clip_id in reversed(self._worked_on) if clip_id in candidates]
        here = places[clip.clip_id]
        nearest = min(candidates, key=lambda clip_id: (abs(places[clip_id] - here), places[clip_id]))
        source = recent[0] if recent else nearest
        drawing = self._drafts.get(source) or Drawing.from_dict(saved[source].shapes)
        self._with_geometry(source, partial(self._take_over, clip, source, drawing))

    def copy_to_subject(self) -> None:
        """Give these shapes to the subject's other scans that have none, to be looked at and saved there."""
        clip, loaded, snapshot = self._current, self._loaded, self._snapshot
        if clip is None or loaded is None or snapshot is None:
            return
        if self.board.drawing == _EMPTY:
            self.side.say("There is nothing to copy yet.", "warning")
            return
        known = self._drafts.keys() | self._saved().keys()
        others = [
            index
            for index, item in enumerate(snapshot.clips)
            if item.subject == clip.subject and item.clip_id != clip.clip_id and item.clip_id not in known
        ]
        if not others:
            self.side.say(f"Every other scan of {clip.subject} has shapes of its own.", "warning")
            return
        for index in others:
            clip_id = snapshot.clips[index].clip_id
            self._drafts[clip_id] = self.board.drawing
            self._copied_from[self._observer, clip_id] = geometry_of(loaded.clip)
        self._fill_list()
        numbers = ", ".join(str(index + 1) for index in others)
        self.side.say(f"Copied to scan {numbers}: look at the shapes there and save them.", "muted")

    def save_drawing(self) -> None:
        """Write what is drawn as a JSON file."""
        if self._loaded is not None:
            self.files.save_drawing(self._loaded.clip, self.board.drawing, self._observer)

    def load_drawing(self) -> None:
        """Take shapes from a JSON file; from one of other movies only after a question."""
        if self._loaded is not None:
            self.files.load_drawing(self._loaded.clip)

    def save_masks(self) -> None:
        """Write the masks of all frames as NRRD or NIfTI."""
        if self._loaded is not None:
            self.files.save_masks(self._loaded.clip, self.board.drawing)

    def export_profiles(self) -> None:
        """Write the position-time image of every movie as PNG and CSV."""
        if self._loaded is not None:
            self.files.export_profiles(self._loaded.clip, self.board.drawing)

    def show_agreement(self) -> None:
        """Compare this observer with another one, or with themselves."""
        if self._snapshot is None:
            return
        self.clock.pause()
        observers = sorted({record.observer for record in self._snapshot.measurements})
        self._stack.setCurrentWidget(self.agreement)
        self.agreement.set_people(observers, self._observer)
        self.agreement.focus()
        if observers:
            self.agreement.ask()
        else:
            self.agreement.show_sentence("Nobody has measured yet.")

    def leave_agreement(self) -> None:
        """Back to the clip."""
        self._stack.setCurrentWidget(self._work)
        self.setFocus()

    def place_shape(self) -> None:
        """Put a shape in the middle of what is seen, for drawing without a mouse."""
        if self._loaded is not None:
            self.board.place(self.view_state.centre, _NEW_SHAPE_PX)

    def arm_profile(self) -> None:
        """Draw the line of the y–t profile next, and look at the profile."""
        self.board.arm("profile")
        self.side.show_profiles(True)

    def step_back(self) -> None:
        """Leave an open outline, else the corner, else tool and selection."""
        board = self.board
        if board.drop_outline():
            return
        if board.corner is not None:
            board.take_corner(None)
        else:
            board.arm(None)
            board.select(None)

    def set_first_frame(self) -> None:
        """Means and SDs begin with the frame shown."""
        if self._loaded is None:
            return
        frame, count = self.clock.frame, self.clock.frame_count
        end = (self.board.drawing.frame_range or (0, count))[1]
        self.board.set_frame_range((frame, end if end > frame else count))

    def set_last_frame(self) -> None:
        """Means and SDs end with the frame shown."""
        if self._loaded is None:
            return
        frame = self.clock.frame
        first = (self.board.drawing.frame_range or (0, 0))[0]
        self.board.set_frame_range((first if first <= frame else 0, frame + 1))

    def toggle_pixels(self) -> None:
        """Show the borders of the measured pixels, or do not."""
        self.tools.pixels.setChecked(not self.tools.pixels.isChecked())
        self._show_pixels(self.tools.pixels.isChecked())

    def toggle_panel(self) -> None:
        """Draw on one movie by lot instead of the average, or the reverse."""
        self._one_movie = not self._one_movie
        self._context.settings.setValue(_ONE_MOVIE_SETTING, "true" if self._one_movie else "false")
        self._show_base_panel()

    def toggle_view(self) -> None:
        """Look at y–t profiles instead of curves, or the reverse."""
        self.side.show_profiles(not self.side.profiles_shown)

    # Events

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Tools, nudging, undo, playback, saving."""
        if self._stack.currentWidget() is self._work:
            closing = (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter)
            if self.help.isVisible() and event.key() in closing:
                # Enter too: nobody means to save a measurement that the help covers.
                self.help.hide()
                event.accept()
                return
            if self._keys.dispatch(event):
                event.accept()
                return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the help in the middle, and as many controls as there is room for."""
        super().resizeEvent(event)
        self.help.place()
        narrow = self.width() < _NARROW_PX
        for bar, compact in zip(self._transports, (False, True), strict=True):
            bar.setVisible(compact == narrow)

    # Building

    def _build(self) -> None:
        self._message = styled_label("muted")
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._work = QWidget()
        row = QHBoxLayout(self._work)
        row.setContentsMargins(12, 10, 12, 10)
        row.setSpacing(12)
        row.addLayout(self._build_list())
        row.addLayout(self._build_images(), 1)
        row.addWidget(self.side)
        self._stack = QStackedLayout(self)
        for widget in (self._message, self._work, self.agreement):
            self._stack.addWidget(widget)

    def _build_list(self) -> QVBoxLayout:
        self._count = styled_label("muted")
        self.observer.setPlaceholderText("Observer")
        self.observer.setAccessibleName("Observer")
        self.observer.setToolTip("Who measures (O); each observer draws independently")
        self.observer.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.observer.setFixedWidth(_LIST_WIDTH)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(styled_label("heading", "Scans"))
        column.addWidget(self.observer)
        column.addWidget(self._count)
        column.addWidget(self.scans, 1)
        return column

    def _build_images(self) -> QVBoxLayout:
        self._fill_menu()
        self._arm_row = QHBoxLayout()
        self._arm_row.setSpacing(6)
        self._transports = [
            TransportBar(self.clock, self.view_state, compact=compact) for compact in (False, True)
        ]
        column = QVBoxLayout()
        column.setSpacing(6)
        column.addWidget(self.tools)
        column.addWidget(self.panel, 5)
        column.addLayout(self._arm_row, 2)
        for bar in self._transports:
            column.addWidget(bar)
        return column

    def _fill_menu(self) -> None:
        tools = self.tools
        self._one_movie_action = tools.add_action("Draw on one movie, by lot", "D", self.toggle_panel)
        self._one_movie_action.setCheckable(True)
        tools.add_action("Delete what is selected", "Delete", self.board.remove_selected)
        tools.add_action("Copy to the subject's other scans", "Ctrl+Shift+C", self.copy_to_subject)
        tools.add_separator()
        tools.add_action("Save the drawing …", "Ctrl+Shift+S", self.save_drawing)
        tools.add_action("Load a drawing …", "Ctrl+O", self.load_drawing)
        tools.add_action("Save the masks …", "Ctrl+M", self.save_masks)
        tools.add_action("Export y–t profiles …", "Ctrl+E", self.export_profiles)
        tools.add_separator()
        tools.add_action("Agreement of two measurers", "G", self.show_agreement)
        tools.add_action("Keys", "?", self.help.toggle)

    def _connect(self) -> None:
        self._context.study_changed.connect(self._on_study_changed)
        self.scans.currentRowChanged.connect(self._on_row)
        self.observer.editingFinished.connect(self._on_observer)
        self.observer.done.connect(self.setFocus)
        self.board.shapes_changed.connect(self._on_shapes)
        self.tools.following_chosen.connect(self.set_following)
        self.tools.pixels_toggled.connect(self._show_pixels)
        self.tools.copy_wanted.connect(self.copy_previous)
        self.side.save_wanted.connect(self.save)
        self.side.frames_entered.connect(self.board.set_frame_range)
        self.side.frames_refused.connect(lambda sentence: self.side.say(sentence, "warning"))
        self.side.view_changed.connect(self._profile)
        self.side.time_clicked.connect(self._seek)
        self.side.keyboard_free.connect(self.setFocus)
        self.files.said.connect(self.side.say)
        self.files.read.connect(self._on_drawing_read)
        self.following.settled.connect(self._on_shapes)
        self.following.refused.connect(self._on_not_followed)
        self._looking.done.connect(self._on_snapshot)
        self._looking.failed.connect(lambda _study, sentence: self._refuse(sentence))
        self._measuring.done.connect(self._on_measured)
        self._measuring.failed.connect(self._on_not_measured)
        self._profiling.done.connect(self._on_profiles)
        self._profiling.failed.connect(self._on_no_profiles)
        self._comparing.done.connect(self._on_compared)
        self._comparing.failed.connect(
            lambda _names, sentence: self.agreement.show_sentence(sentence, "warning")
        )
        self.agreement.compare.connect(self._compare)
        self.agreement.left.connect(self.leave_agreement)
        self.clock.frame_changed.connect(self._on_frame)

    # Study and clips

    def _on_study_changed(self) -> None:
        study = self._context.study
        if study is not self._study:
            self._study = study
            self._snapshot = None
            self._drafts_of.clear()
            self._copied_from.clear()
            self._geometries.clear()
            self._worked_on.clear()
            self.following.forget()
            self._show_nothing()
            self.scans.clear()
        if study is None:
            self._refuse("Open a study on the Data page to measure it.")
        else:
            if self._snapshot is None:
                self._refuse("Opening the study …")
            self._looking.request(study, partial(_look, study))

    def _on_snapshot(self, study: Study, snapshot: _Snapshot) -> None:
        if study is not self._study:
            return
        self._snapshot = snapshot
        if snapshot.role == "reader":
            self._refuse("This study is open to read. Who measures opens it as a physicist or coordinator.")
        elif snapshot.phase == "design":
            self._refuse("This study is still being designed. It can be measured once it is locked.")
        elif not snapshot.clips:
            self._refuse("This study has no clips.")
        else:
            if self._stack.currentWidget() is self._message:
                self._stack.setCurrentWidget(self._work)
            self._fill_list()
            self._prompt()

    def _refuse(self, sentence: str) -> None:
        self._message.setText(sentence)
        self._stack.setCurrentWidget(self._message)

    def _fill_list(self) -> None:
        clips = self._snapshot.clips if self._snapshot is not None else []
        saved = self._saved()
        self.scans.show_scans(clips, saved, self._drafts)
        done = sum(clip.clip_id in saved for clip in clips)
        self._count.setText(f"{done} of {len(clips)} measured")
        if self.scans.currentRow() < 0 and clips:
            first = next((i for i, clip in enumerate(clips) if clip.clip_id not in saved), 0)
            self.scans.setCurrentRow(first)

    def _saved(self) -> dict[str, MeasurementRecord]:
        """This observer's saved measurements, by clip."""
        if self._snapshot is None or not self._observer:
            return {}
        records = self._snapshot.measurements
        return {record.clip_id: record for record in records if record.observer == self._observer}

    @property
    def _drafts(self) -> dict[str, Drawing]:
        """This observer's shapes that are not saved, by clip."""
        return self._drafts_of.setdefault(self._observer, {})

    def _on_row(self, row: int) -> None:
        clips = self._snapshot.clips if self._snapshot is not None else []
        if self._study is None or not 0 <= row < len(clips):
            return
        clip = clips[row]
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
        """Somebody else measures: every observer has shapes of their own."""
        observer = person_name(self.observer.text())
        if observer == self._observer:
            return
        nameless = self._drafts_of.pop("", {})
        before, self._observer = self._observer, observer
        self._context.settings.setValue(_OBSERVER_SETTING, observer)
        # What was drawn before a name was given belongs to whoever gives theirs.
        owner = observer if not before else ""
        for clip_id, drawing in nameless.items():
            self._drafts_of.setdefault(owner, {}).setdefault(clip_id, drawing)
            if ("", clip_id) in self._copied_from:
                self._copied_from[owner, clip_id] = self._copied_from.pop(("", clip_id))
        self._worked_on.clear()
        if self._snapshot is None or self._snapshot.phase == "design":
            return
        self._fill_list()
        if self._current is not None:
            kept = self._drafts.get(self._current.clip_id) == self.board.drawing
            self._load_drawing(keep_board=kept)
        self._show_base_panel()

    def _show_nothing(self) -> None:
        self.clock.set_frames(0, 1.0)
        for task in (self._measuring, self._profiling):
            task.forget()
        self.following.begin(None)
        self._current = None
        self._loaded = None
        self._stored = _EMPTY
        self._results = None
        self._measured = None
        self._profiled = None
        self._trouble = None
        self._save_wanted = None
        for panel in (self.panel, *self.arm_panels):
            panel.set_frames(None)
            panel.set_label("")
            panel.set_message("")
        self.board.load(_EMPTY, (1, 1))
        self.side.profiles.set_images([], [])
        self._show_results()

    def _on_loaded(self, clip: Clip, loaded: _Loaded) -> None:
        if self._current is None or self._current.clip_id != clip.clip_id:
            return
        movies, times_s = loaded.clip.movies, loaded.clip.frame_times_s
        self._loaded = loaded
        self._geometries[clip.clip_id] = geometry_of(loaded.clip)
        self.following.begin(loaded.clip)
        height, width = movies.shape[2:]
        window, level = default_levels(movies)
        aspect = loaded.clip.pixel_spacing_mm[0] / loaded.clip.pixel_spacing_mm[1]
        self.view_state.set_image(width, height, pixel_aspect=aspect, window=window, level=level)
        self._make_arm_panels(len(movies))
        for place, (panel, movie) in enumerate(zip(self.arm_panels, movies, strict=True)):
            panel.set_label(position_letter(place))
            panel.set_frames(movie)
        interval_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
        self.clock.set_frames(len(times_s), interval_s, times_s.tolist())
        for bar in self._transports:
            bar.set_frame_times(times_s)
        self._show_base_panel()
        self._load_drawing()
        if self.isVisible() and self._stack.currentWidget() is self._work:
            self.clock.play()

    def _carry_copy_over(self, clip: MeasurementClip) -> None:
        """Bring shapes that were copied here before the clip was loaded onto its pixels."""
        source = self._copied_from.pop((self._observer, clip.clip_id), None)
        if source is not None:
            copied = self._drafts[clip.clip_id]
            self._drafts[clip.clip_id] = copied.for_other_clip(source, geometry_of(clip))

    def _on_not_loaded(self, clip: Clip, error: BaseException) -> None:
        if self._current is not None and self._current.clip_id == clip.clip_id:
            self.panel.set_message(str(error))
        self._context.report(error)

    def _load_drawing(self, *, keep_board: bool = False) -> None:
        """Show this observer's drawing of the clip: the draft, else what was saved, else none.

        Args:
            keep_board: what stands on the board is that drawing; only learn what was saved.
        """
        if self._loaded is None or self._current is None:
            return
        clip_id, movies = self._current.clip_id, self._loaded.clip.movies
        record = self._saved().get(clip_id)
        self._stored = Drawing.from_dict(record.shapes) if record is not None else _EMPTY
        self.following.know(self._stored.shapes)
        if keep_board:
            return
        self._carry_copy_over(self._loaded.clip)
        _, frames, rows, columns = movies.shape
        self.board.load(self._drafts.get(clip_id, self._stored), (columns, rows), frames)
        self.board.set_frame(self.clock.frame)

    def _make_arm_panels(self, count: int) -> None:
        while len(self.arm_panels) > count:
            panel = self.arm_panels.pop()
            self._layers.pop()
            self._arm_row.removeWidget(panel)
            panel.hide()
            panel.deleteLater()
        while len(self.arm_panels) < count:
            panel = MoviePanel("", self.view_state)
            layer = RoiLayer(panel, self.board, editable=False, masks=self._masks)
            layer.show_pixels(self._layers[0].pixels_shown)
            self._layers.append(layer)
            self._arm_row.addWidget(panel, 1)
            self.arm_panels.append(panel)

    # The panel that is drawn on

    def _movie_drawn_on(self) -> int | None:
        """Place of the movie that is drawn on, or None for the average."""
        if self._loaded is None or self._current is None or not self._one_movie:
            return None
        return movie_to_draw_on(self._observer, self._current.clip_id, self._loaded.clip.movie_ids)

    def _drawn_on(self) -> str:
        place = self._movie_drawn_on()
        return AVERAGE if place is None or self._loaded is None else self._loaded.clip.movie_ids[place]

    def _show_base_panel(self) -> None:
        self._one_movie_action.setChecked(self._one_movie)
        if self._loaded is None:
            return
        place, movies = self._movie_drawn_on(), self._loaded.clip.movies
        if place is None:
            letters = ", ".join(map(position_letter, range(len(movies))))
            self.panel.set_label(f"Average of {letters}")
            self.panel.set_frames(self._loaded.average)
        else:
            self.panel.set_label(f"{position_letter(place)}, by lot")
            self.panel.set_frames(movies[place])
        self.panel.show_frame(self.clock.frame)

    def _show_pixels(self, shown: bool) -> None:
        for layer in self._layers:
            layer.show_pixels(shown)
        # Borders of pixels lie on pixels only if these are shown as they are.
        self.view_state.set_interpolation("nearest" if shown else "smooth")

    # Shapes and numbers

    def _on_shapes(self) -> None:
        if self._loaded is None or self._current is None:
            return
        drawing, clip_id = self.board.drawing, self._current.clip_id
        before = clip_id in self._drafts
        if drawing != self._stored:
            self._drafts[clip_id] = drawing
            self._worked_on = [*(known for known in self._worked_on if known != clip_id), clip_id]
        else:
            self._drafts.pop(clip_id, None)
        if before != (clip_id in self._drafts):
            self._fill_list()
        self._show_frames()
        if not self.following.keep():
            self._measure()
            self._profile()
        self._prompt()

    def _measure_key(self) -> object:
        drawing = self.board.drawing
        clip_id = self._current.clip_id if self._current is not None else ""
        return clip_id, drawing.shapes, drawing.frame_range

    def _measure(self) -> None:
        loaded, snapshot, drawing = self._loaded, self._snapshot, self.board.drawing
        if loaded is None or snapshot is None:
            return
        key, clip = self._measure_key(), loaded.clip
        if key == self._measured:
            # What was asked for in between is not wanted any more.
            self._measuring.forget()
            return
        self._measuring.request(
            key,
            partial(
                measure,
                clip.movies,
                drawing.shapes,
                clip.pixel_spacing_mm,
                clip.frame_times_s,
                window_s=snapshot.window_s,
                frame_range=drawing.frame_range,
            ),
        )

    def _on_measured(self, key: object, results: list[ArmMeasurement]) -> None:
        if self._loaded is None or not _same_clip(key, self._measure_key()):
            return
        self._results, self._measured = results, key
        self._show_results()
        if self._save_wanted is not None and self._current is not None and self.results is not None:
            wanted, self._save_wanted = self._save_wanted, None
            if wanted == (self._current.clip_id, self.board.drawing):
                self.save()
        if key != self._measure_key() and not self.following.busy:
            self._measure()

    def _on_not_measured(self, key: object, sentence: str) -> None:
        if self._loaded is None or not _same_clip(key, self._measure_key()):
            return
        self._results, self._measured, self._save_wanted = None, key, None
        if key == self._measure_key():
            self._trouble = (self.board.drawing, sentence)
        self._show_results()

    def _show_results(self) -> None:
        loaded = self._loaded
        spacing = loaded.clip.pixel_spacing_mm if loaded is not None else (1.0, 1.0)
        times_s = loaded.clip.frame_times_s if loaded is not None else np.zeros(0)
        self.side.show_results(self._results or [], self.board.drawing, spacing, times_s)
        self._show_frames()
        self._prompt()

    def _show_frames(self) -> None:
        loaded, snapshot = self._loaded, self._snapshot
        if loaded is None or snapshot is None:
            self.side.show_no_frames()
            return
        self.side.show_frames(
            self.board.drawing, loaded.clip.frame_times_s, snapshot.window_s, self.clock.frame_interval_s
        )

    def _prompt(self) -> None:
        """Say the next thing to do, and at once what is worth knowing about these numbers."""
        phase = self._snapshot.phase if self._snapshot is not None else "reading"
        reading = self._study is not None and phase == "reading"
        self.side.save_button.setEnabled(reading and self._loaded is not None)
        drawn = self.board.shapes.drawing
        missing = [role for role in MEASURED_ROLES if getattr(drawn, role) is None]
        if self._loaded is None:
            self.side.say("", "muted")
            self.side.warn([])
            return
        if not reading:
            self.side.say("The study is unblinded; its measurements are closed.", "muted")
        elif missing:
            self.side.say(f"{ROLE_TIPS[missing[0]]}.", "muted")
        elif self.following.busy:
            self.side.say("Following the region …", "muted")
        else:
            self.side.say(_followed_words(self.board.shapes), "muted")
        trouble = self._trouble
        own = [trouble[1]] if trouble is not None and trouble[0] == self.board.drawing else []
        self.side.warn([*own, *_warning_words(self.results or [])])

    def _on_saved(self, clip: Clip, drawing: Drawing, snapshot: _Snapshot) -> None:
        self._snapshot = snapshot
        if self._drafts.get(clip.clip_id) == drawing:
            del self._drafts[clip.clip_id]
        if self._current is not None and self._current.clip_id == clip.clip_id:
            self._stored = drawing
        known = (other for other in self._worked_on if other != clip.clip_id)
        self._worked_on = [*known, clip.clip_id]
        self._fill_list()
        self._prompt()
        self._context.message.emit("The measurement is saved.")
        saved = self._saved()
        row = self.scans.currentRow()
        order = [*range(row + 1, len(snapshot.clips)), *range(row)]
        following = next((index for index in order if snapshot.clips[index].clip_id not in saved), None)
        if following is None:
            self.side.say("Saved. Every scan is measured.", "muted")
        else:
            self.select_clip(following)

    def _on_not_saved(self, error: BaseException) -> None:
        self._prompt()
        if isinstance(error, StudyError):
            self.side.say(str(error), "error")
        else:
            self._context.report(error)

    def _on_not_followed(self, drawing: Drawing, sentence: str) -> None:
        self._trouble = (drawing, sentence)
        self._save_wanted = None
        self.tools.refresh()
        self._prompt()

    # Copies and files

    def _with_geometry(self, clip_id: str, then: Callable[[], None]) -> None:
        """Go on once the pixels of a clip are known."""
        study = self._study
        if study is None:
            return
        if clip_id in self._geometries:
            then()
            return

        def done(loaded: _Loaded) -> None:
            self._geometries[clip_id] = geometry_of(loaded.clip)
            then()

        self._context.tasks.submit(partial(_load, study, clip_id), done)

    def _take_over(self, clip: Clip, source: str, drawing: Drawing) -> None:
        if self._loaded is None or self._current is None or self._current.clip_id != clip.clip_id:
            return
        # Shapes that were copied there and not looked at yet are still in the pixels they came from.
        origin = self._copied_from.get((self._observer, source), self._geometries[source])
        target = geometry_of(self._loaded.clip)
        self.board.replace(drawing.for_other_clip(origin, target))
        clips = self._snapshot.clips if self._snapshot is not None else []
        number = next(index for index, item in enumerate(clips, start=1) if item.clip_id == source)
        how = "" if origin.same_pixels(target) else ", in mm from the middle of the image"
        self._context.message.emit(f"The shapes of scan {number} are taken over{how}: check them, then save.")

    def _on_drawing_read(self, clip_id: str, drawing: Drawing, own: bool) -> None:
        if self._current is None or self._current.clip_id != clip_id:
            return
        if own:
            self.following.know(drawing.shapes)
        self.board.replace(drawing)
        self._context.message.emit("The drawing is loaded.")

    # Position-time profiles

    def _profile_key(self) -> object:
        return (self._current.clip_id if self._current else "", self.board.drawing.profile_line)

    def _profile(self) -> None:
        """Read the line over time, while it is looked at."""
        if not self.side.profiles_shown:
            return
        line, loaded, key = self.board.drawing.profile_line, self._loaded, self._profile_key()
        if loaded is None or line is None:
            self._profiled = None
            self.side.profiles.set_images([], [], "Draw the edge line, or a y–t line of its own (I).")
        elif key != self._profiled:
            self._profiling.request(key, partial(clip_profiles, loaded.clip, line))

    def _on_profiles(self, key: object, images: list[PositionTime]) -> None:
        if _same_clip(key, self._profile_key()):
            self._profiled = key
            letters = [position_letter(place) for place in range(len(images))]
            self.side.profiles.set_images(images, letters)

    def _on_no_profiles(self, key: object, sentence: str) -> None:
        if _same_clip(key, self._profile_key()):
            self._profiled = key
            self.side.profiles.set_images([], [], sentence)

    # Frames

    def _on_frame(self, frame: int) -> None:
        self.board.set_frame(frame)
        for panel in (self.panel, *self.arm_panels):
            panel.show_frame(frame)
        times_s = self._loaded.clip.frame_times_s if self._loaded is not None else np.zeros(0)
        self.side.set_cursor(float(times_s[frame]) if frame < len(times_s) else None)

    def _seek(self, time_s: float) -> None:
        if self._loaded is not None:
            self.clock.seek(int(np.argmin(np.abs(self._loaded.clip.frame_times_s - time_s))))

    # Agreement

    def _compare(self, first: str, second: str) -> None:
        study, snapshot = self._study, self._snapshot
        if study is None or snapshot is None or not first or not second:
            return
        observer, done = self._observer, len(self._saved())
        if snapshot.phase == "reading" and done < len(snapshot.clips):
            who = observer or "the observer named on the page"
            self.agreement.show_sentence(
                f"Shown as soon as {who} has measured every scan ({done} of {len(snapshot.clips)} so far): "
                "who knows where two measurers differ does not draw independently."
            )
            return
        self.agreement.show_sentence("Comparing …")
        self._comparing.request((first, second), partial(_compare, study, first, second))

    def _on_compared(self, names: tuple[str, str], found: Repeatability) -> None:
        if names == (self.agreement.first.currentText(), self.agreement.second.currentText()):
            self.agreement.show_result(found)


def _look(study: Study) -> _Snapshot:
    """Read what the page needs of a study."""
    window_s = study.protocol.measurement_window_s
    return _Snapshot(study.role, study.phase, study.clips, study.measurements, window_s)


def _load(study: Study, clip_id: str) -> _Loaded:
    """Load a clip and average its movies."""
    clip = study.load_movies(clip_id)
    return _Loaded(clip, np.ascontiguousarray(clip.movies.mean(axis=0, dtype=np.float32)))


def _compare(study: Study, first: str, second: str) -> Repeatability:
    """Compare two observers, or one with themselves. Raises StudyError."""
    if second == REPEATED:
        sets = repeated_sets(study, first)
        names = (f"{first}, first", f"{first}, latest")
    else:
        sets, names = (latest_set(study, first), latest_set(study, second)), (first, second)
    common = sorted(sets[0].keys() & sets[1].keys())
    sizes = {clip_id: study.load_movies(clip_id).movies.shape[1:] for clip_id in common}
    shapes = {clip_id: (size[0], size[1], size[2]) for clip_id, size in sizes.items()}
    return compare_sets(names, *sets, image_shapes=shapes)


def _same_clip(key: object, present: object) -> bool:
    """Whether a result is of the clip that is shown; older shapes of it are shown until newer ones come."""
    return isinstance(key, tuple) and isinstance(present, tuple) and key[0] == present[0]


def _warning_words(results: list[ArmMeasurement]) -> list[str]:
    """Warnings of all movies; one that not all of them share names the panels."""
    found: dict[str, list[str]] = {}
    for place, result in enumerate(results):
        for text in result.warnings:
            found.setdefault(text, []).append(position_letter(place))
    return [
        text if len(letters) == len(results) else f"{', '.join(letters)}: {text}"
        for text, letters in found.items()
    ]


def _followed_words(shapes: TimedShapes) -> str:
    motion = shapes.motions.get("signal")
    if motion is None or not motion.match:
        return ""
    return (
        f"The region is followed from frame {motion.reference_frame + 1} over up to "
        f"{motion.largest_px:.1f} pixels; correlation at least {min(motion.match):.2f}, "
        f"{min(motion.distinctness):.2f} above any other place."
    )
