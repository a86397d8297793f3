"""Noise and SNR maps of the methods side by side, and the numbers of a region drawn on them.

For the demonstration: the methods are named, and nothing of this goes into a study. The replicas are made by
the worker (`replicas`) as one of the jobs in the list; a region that is drawn before goes with the request,
and its SNR then has an interval. A region drawn later has its SNR at once, from the maps, and an interval
once it has been measured again: the same seed makes the same replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.clip_loading import LoadedClip, load_clip
from app.context import AppContext
from app.jobs import Job
from app.noise_maps import LEAST_PIXELS, REGION, NoiseMaps, load_noise, save_numbers
from app.session import SessionScan
from app.widgets.elements import say, styled_label
from app.widgets.noise_numbers import NoiseNumbers
from app.widgets.panel_row import PanelRow
from app.widgets.roi_layer import MaskImages, RoiLayer
from app.widgets.scale_bar import ScaleBar
from app.widgets.shape_board import ShapeBoard
from studies.drawings import Drawing
from studies.errors import StudyError
from studies.shapes import BoolMask, Ellipse, Shapes, mask_inside
from studies.timed_shapes import TimedShapes

Map = Literal["movie", "noise", "snr"]
MAP_NAMES: dict[Map, str] = {"movie": "Movie", "noise": "Noise", "snr": "SNR"}
_UNITS: dict[Map, str] = {"movie": "", "noise": "% of white", "snr": "dB"}

DEFAULT_COUNT = 30
"""As many replicas as the command line makes."""
CHECKED_STYLE = f"QPushButton:checked {{ background: {theme.ACCENT_DEEP}; color: #ffffff; }}"
_LEAST_COUNT, _MOST_COUNT = 3, 1000
_NEW_REGION_SHARE = 8
_BEFORE = "Drag on a movie to draw a region, then press Measure: its SNR comes with a 95 % interval."
_ARROWS = {
    Qt.Key.Key_Left: (-1.0, 0.0),
    Qt.Key.Key_Right: (1.0, 0.0),
    Qt.Key.Key_Up: (0.0, -1.0),
    Qt.Key.Key_Down: (0.0, 1.0),
}

Request = tuple[SessionScan, dict[str, Any]]
"""A scan and what the worker is asked for: path, methods, device and options."""
_Shown = tuple[SessionScan | None, tuple[Path, ...]]


@dataclass(eq=False)
class _ScanNoise:
    """What is known of a scan's noise."""

    files: dict[str, Path] = field(default_factory=dict)
    drawing: Drawing = field(default_factory=lambda: Drawing(TimedShapes(Shapes())))
    job_id: str | None = None
    problem: str = ""


class NoiseView(QWidget):
    """Starts the measurement, shows the maps, draws the region and tells its numbers.

    Args:
        context: jobs, tasks, dialogs and how methods are called.
        requests: what shall be measured when the button is pressed, by the page's own choice.
        parent: Qt owner.
    """

    def __init__(
        self, context: AppContext, requests: Callable[[], Sequence[Request]], parent: QWidget | None = None
    ) -> None:
        """Build the view, without a scan."""
        super().__init__(parent)
        self._context = context
        self._requests = requests
        self._known: dict[SessionScan, _ScanNoise] = {}
        self._scan: SessionScan | None = None
        self._maps: NoiseMaps | None = None
        self._clip: LoadedClip | None = None
        self._shown: _Shown = (None, ())
        self._map: Map = "movie"
        self._numbers_of_runs = count(1)
        self._methods = 0
        self._labels: list[str] = []
        self.row = PanelRow()
        self.row.set_profiles_visible(False)
        self.board = ShapeBoard(self)
        self._masks = MaskImages()
        self._layers: list[RoiLayer] = []
        self.lines: list[NoiseNumbers] = []
        self.map_buttons: dict[Map, QToolButton] = {}
        self.mean_box = QCheckBox("Mean of all frames")
        self.mean_box.setToolTip("The root of the mean variance over the frames, and the mean signal over it")
        self.mean_box.toggled.connect(self._show_map)
        self.region_button = QPushButton(theme.icon("ellipse"), " Region")
        self.region_button.setCheckable(True)
        self.region_button.setStyleSheet(CHECKED_STYLE)
        self.region_button.setToolTip(
            "Draw the region anew by dragging on a movie. N puts one in the middle; "
            "Shift and arrows move it, Ctrl and arrows resize it, Delete removes it"
        )
        self.region_button.clicked.connect(lambda on: self.board.arm("signal" if on else None))
        self.save_button = QPushButton(theme.icon("save"), " Numbers…")
        self.save_button.setToolTip("Save the region's noise and SNR, of all frames and of each, as CSV")
        self.save_button.clicked.connect(self._save)
        self.count_box = QSpinBox()
        self.count_box.setRange(_LEAST_COUNT, _MOST_COUNT)
        stored = context.settings.value("noise/replicas", DEFAULT_COUNT, int)
        self.count_box.setValue(stored if isinstance(stored, int) else DEFAULT_COUNT)
        self.count_box.setSuffix(" replicas")
        self.count_box.setFixedWidth(130)
        self.count_box.setAccessibleName("Replicas")
        self.count_box.setToolTip(
            "How often the scan is reconstructed with added noise; the time grows with it"
        )
        self.count_box.valueChanged.connect(
            lambda value: self._context.settings.setValue("noise/replicas", value)
        )
        self.start_button = QPushButton("Measure")
        self.start_button.setProperty("role", "primary")
        self.start_button.clicked.connect(self.start)
        self.note = styled_label("muted")
        self.note.setWordWrap(True)
        self.note.setMinimumWidth(1)
        self.scale_bar = ScaleBar(self.row.view_state)
        keeps_place = self.scale_bar.sizePolicy()
        keeps_place.setRetainSizeWhenHidden(True)
        self.scale_bar.setSizePolicy(keeps_place)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(self._make_tools())
        layout.addLayout(self._make_note())
        layout.addWidget(self.row, 1)
        self.board.changed.connect(self._on_board)
        self.board.shapes_changed.connect(self._on_region)
        self.row.clock.frame_changed.connect(lambda _frame: self._show_numbers())
        context.scans.removed.connect(self._forget)
        context.jobs.job_added.connect(self._on_job_added)
        context.jobs.job_changed.connect(self._on_job_changed)
        self._choose_map("movie")

    # Layout

    def _make_tools(self) -> QHBoxLayout:
        tools = QHBoxLayout()
        tools.setSpacing(6)
        group = QButtonGroup(self)
        for name, text in MAP_NAMES.items():
            button = QToolButton()
            button.setText(text)
            button.setCheckable(True)
            button.setAccessibleName(f"Show {text}")
            button.clicked.connect(partial(self._choose_map, name))
            group.addButton(button)
            self.map_buttons[name] = button
            tools.addWidget(button)
        tools.addSpacing(4)
        tools.addWidget(self.mean_box)
        tools.addStretch(1)
        for widget in (self.region_button, self.save_button, self.count_box, self.start_button):
            tools.addWidget(widget)
        return tools

    def _make_note(self) -> QHBoxLayout:
        line = QHBoxLayout()
        line.setSpacing(16)
        line.addWidget(self.note, 1)
        line.addWidget(self.scale_bar)
        return line

    # What is shown

    @property
    def maps(self) -> NoiseMaps | None:
        """The maps shown, or None."""
        return self._maps

    @property
    def region_mask(self) -> BoolMask | None:
        """The pixels of the region that can be measured, or None."""
        region, size = self._region(), self.row.view_state.image_size
        if region is None:
            return None
        try:
            mask = mask_inside(region, (size[1], size[0]), REGION)
        except StudyError:
            return None
        return mask if mask.sum() >= LEAST_PIXELS else None

    def show_scan(self, scan: SessionScan | None) -> None:
        """Show what is known of a scan: its maps, else its movies, else what to do."""
        if self._scan is not scan:
            self._keep_drawing()
            self._scan = scan
        known = self._known_of(scan)
        files = self._ordered(known.files)
        movies = self._ordered(scan.movies if scan is not None else {})
        shown = (scan, tuple((files or movies).values()))
        if shown == self._shown:
            self._refresh()
            return
        other = scan is not self._shown[0]
        self._shown = shown
        if other or not shown[1]:
            self._maps = self._clip = None
            self._show_nothing()
        if files:
            self._context.tasks.submit(lambda: load_noise(files), partial(self._take_maps, shown))
        elif movies:
            self._context.tasks.submit(
                lambda: load_clip(list(movies.values())), partial(self._take_clip, shown, tuple(movies))
            )
        self._refresh()

    def _ordered(self, paths: Mapping[str, Path]) -> dict[str, Path]:
        names = self._context.methods.names()
        order = [*names, *sorted(set(paths) - set(names))]
        return {method: paths[method] for method in order if method in paths}

    def refresh_requests(self) -> None:
        """The page's choice of scans and methods is another."""
        self._refresh()

    def handle_key(self, event: QKeyEvent) -> bool:
        """The region's keys, then those of playback; whether the key was one of them."""
        key, modifiers = Qt.Key(event.key()), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if key == Qt.Key.Key_N and not modifiers and self._methods:
            self.board.arm("signal")
            size = min(self.row.view_state.image_size) / _NEW_REGION_SHARE
            self.board.place(self.row.view_state.centre, size)
            return True
        if self._region() is not None:
            if key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and not modifiers:
                self.board.select("signal")
                return self.board.remove_selected()
            if key in _ARROWS and modifiers == Qt.KeyboardModifier.ShiftModifier:
                self.board.select("signal")
                return self.board.nudge(*_ARROWS[key])
            if key in _ARROWS and modifiers == Qt.KeyboardModifier.ControlModifier:
                self.board.select("signal")
                across, down = _ARROWS[key]
                return self.board.resize(across, -down)
        return self.row.handle_key(event)

    def _take_maps(self, shown: _Shown, maps: NoiseMaps) -> None:
        if self._shown != shown:
            return
        first = self._maps is None
        self._maps, self._clip = maps, None
        self._prepare([one.method for one in maps.methods], maps.image_shape, len(maps.frame_times_s))
        self._choose_map("snr" if first else self._map)

    def _take_clip(self, shown: _Shown, methods: tuple[str, ...], clip: LoadedClip) -> None:
        if self._shown != shown:
            return
        self._clip, self._maps = clip, None
        self._labels = list(methods)
        self._prepare(list(methods), (clip.display.shape[2], clip.display.shape[3]), clip.display.shape[1])
        self._choose_map("movie")

    def _prepare(self, methods: list[str], image_shape: tuple[int, int], frames: int) -> None:
        """Take the names, and the scan's region onto images of this size."""
        self._labels = methods
        known = self._known_of(self._scan)
        drawing = self.board.drawing if self._methods else known.drawing
        self._methods = len(methods)
        self.board.load(drawing, (image_shape[1], image_shape[0]), frames)

    def _show_nothing(self) -> None:
        self._methods = 0
        self._labels = []
        self.board.load(Drawing(TimedShapes(Shapes())), (1, 1))
        self._layers = []
        self.lines = []
        self.row.set_footers([])
        text = "Choose methods and press Measure." if self._scan is not None else ""
        self.row.set_placeholders([""] * 3, ["", text, ""])
        self._choose_map("movie")

    def _choose_map(self, name: Map, *_checked: bool) -> None:
        self._map = name if self._maps is not None else "movie"
        self.map_buttons[self._map].setChecked(True)
        for other, button in self.map_buttons.items():
            button.setEnabled(other == "movie" or self._maps is not None)
        self.mean_box.setEnabled(self._map != "movie")
        self._show_map()
        self._refresh()

    def _show_map(self) -> None:
        """Show the chosen map on its scale, at the same place of the image and of the movie."""
        self.scale_bar.set_unit(_UNITS[self._map])
        self.scale_bar.setVisible(self._map != "movie")
        if self._maps is not None:
            images, limit = self._images(self._maps)
            times_s, spacing = self._maps.frame_times_s, self._maps.pixel_spacing_mm
        elif self._clip is not None:
            images, limit = self._clip.display, 255.0
            times_s, spacing = self._clip.frame_times_s, self._clip.pixel_spacing_mm
        else:
            return
        view, clock = self.row.view_state, self.row.clock
        size, (x, y), zoom = view.image_size, view.centre, view.zoom
        frame, playing, known = clock.frame, clock.playing, clock.frame_count == len(times_s)
        labels = [self._context.methods.label(method) for method in self._labels]
        self.row.set_clip(images, labels, times_s, pixel_spacing_mm=spacing)
        if self._map != "movie":
            view.set_image(
                images.shape[3],
                images.shape[2],
                pixel_aspect=spacing[0] / spacing[1],
                window=limit,
                level=limit / 2,
            )
        if size == view.image_size:
            view.set_view(x, y, zoom)
        if known:
            clock.seek(frame)
        if self.isVisible() and (playing or not known):
            clock.play()
        self._put_layers()

    def _images(self, maps: NoiseMaps) -> tuple[np.ndarray, float]:
        if self._map == "movie":
            return maps.movies, 255.0
        noise = self._map == "noise"
        images, limit = (maps.noise, maps.noise_limit) if noise else (maps.snr_db, maps.snr_limit)
        if self.mean_box.isChecked():
            mean = maps.mean_noise if noise else maps.mean_snr_db
            images = np.broadcast_to(mean[:, None], images.shape)
        return images, limit

    def _put_layers(self) -> None:
        """Give every panel the region and a line of numbers; the row keeps its panels where it can."""
        panels = self.row.panels
        if len(self._layers) != len(panels) or any(
            layer.parent() is not panel for layer, panel in zip(self._layers, panels, strict=True)
        ):
            kept = {layer.parent(): layer for layer in self._layers}
            self._layers = [
                kept.get(panel) or RoiLayer(panel, self.board, editable=True, masks=self._masks)
                for panel in panels
            ]
        if len(self.lines) != len(panels):
            self.lines = [NoiseNumbers() for _panel in panels]
            self.row.set_footers(self.lines)
        self._show_numbers()

    # The region

    def _region(self) -> Ellipse | None:
        shape = self.board.shapes.drawing.signal
        return shape if isinstance(shape, Ellipse) else None

    def _keep_drawing(self) -> None:
        if self._scan is not None and self._methods:
            self._known_of(self._scan).drawing = self.board.drawing

    def _on_board(self) -> None:
        if self.board.armed not in (None, "signal"):
            self.board.arm(None)  # there is one region; the board would go on to the next
            return
        self.region_button.setChecked(self.board.armed == "signal")

    def _on_region(self) -> None:
        self._show_numbers()
        self._refresh()

    def _show_numbers(self) -> None:
        mask, maps = self.region_mask, self._maps
        for number, line in enumerate(self.lines):
            if mask is None or maps is None or number >= len(maps.methods):
                line.set_numbers(None, None)
            else:
                one, frame = maps.methods[number], min(self.row.clock.frame, len(maps.frame_times_s) - 1)
                line.set_numbers(one.over_frames(mask), one.in_frame(mask, frame), one.percent)

    def _save(self) -> None:
        scan, maps, region = self._scan, self._maps, self._region()
        if scan is None or maps is None or region is None:
            return
        folder = str(self._context.settings.value("noise/folder", str(Path.home())))
        target = self._context.dialogs.save_file(
            self, "Save numbers", "Table (*.csv)", str(Path(folder) / f"{scan.name}_noise.csv")
        )
        if target is None:
            return
        self._context.settings.setValue("noise/folder", str(target.parent))
        path = target if target.suffix.lower() == ".csv" else target.with_name(f"{target.name}.csv")
        self._context.tasks.submit(
            lambda: save_numbers(path, scan.name, maps, region),
            lambda _none: self._context.message.emit(f"The numbers were saved in {path}."),
        )

    # The measurement

    def start(self) -> None:
        """Queue the replicas of the chosen scans; a region that is drawn on a scan goes with it."""
        self._keep_drawing()
        mask = self.region_mask
        runs: list[Request] = []
        regions: dict[Path, BoolMask | None] = {}
        for scan, request in self._requests():
            out = self._context.scratch_folder / f"noise-{next(self._numbers_of_runs)}"
            regions[out] = mask if scan is self._scan else self._stored_mask(scan)
            asked = {**request, "command": "replicas", "out": out, "count": self.count_box.value(), "seed": 0}
            if regions[out] is not None:
                asked["regions"] = out / "regions.npz"
            self._known_of(scan).problem = ""
            runs.append((scan, asked))
        self._context.tasks.submit(partial(_make_folders, regions), lambda _none: self._submit(runs))

    def _submit(self, runs: Sequence[Request]) -> None:
        for scan, request in runs:
            self._known_of(scan).job_id = self._context.jobs.submit(
                request, label=f"{scan.name}, noise", on_finished=partial(self._on_finished, scan)
            )
        self._refresh()

    def _stored_mask(self, scan: SessionScan) -> BoolMask | None:
        """The region that was drawn on a scan that is not shown."""
        shape = self._known_of(scan).drawing.shapes.drawing.signal
        rows, columns = scan.summary.get("matrix", (0, 0))
        if not isinstance(shape, Ellipse) or not rows or not columns:
            return None
        try:
            mask = mask_inside(shape, (int(rows), int(columns)), REGION)
        except StudyError:
            return None
        return mask if mask.sum() >= LEAST_PIXELS else None

    def _on_job_added(self, job: Job) -> None:
        for known in self._known.values():
            if job.repeats is not None and known.job_id == job.repeats:
                known.job_id = job.job_id

    def _on_job_changed(self, job: Job) -> None:
        if self._scan is not None and self._known_of(self._scan).job_id == job.job_id:
            self._refresh()

    def _on_finished(self, scan: SessionScan, job: Job) -> None:
        known = self._known.get(scan)
        if known is None:
            return
        # Of a job that was stopped there may be some methods.
        files = job.result.get("files", {})
        known.files.update({str(method): Path(path) for method, path in files.items()})
        known.problem = ""
        if job.state == "failed":
            known.problem = f"{job.message} {job.hint}".strip()
            if not self.isVisible():
                self._context.error.emit(f"{job.label}: {job.message}")
        if scan is self._scan:
            self.show_scan(scan)

    def _forget(self, scan: SessionScan) -> None:
        known = self._known.pop(scan, None)
        if known is not None and known.job_id is not None:
            self._context.jobs.cancel(known.job_id)
        if scan is self._scan:
            self.show_scan(None)

    def _known_of(self, scan: SessionScan | None) -> _ScanNoise:
        return self._known.setdefault(scan, _ScanNoise()) if scan is not None else _ScanNoise()

    # Words

    def _refresh(self) -> None:
        scans = self._requests()
        text = f"Measure {len(scans)} scans" if len(scans) > 1 else "Measure"
        self.start_button.setText(text)
        self.start_button.setEnabled(bool(scans))
        self.region_button.setEnabled(bool(self._methods))
        self.save_button.setEnabled(self._maps is not None and self.region_mask is not None)
        say(self.note, *self._note())

    def _note(self) -> tuple[str, str]:
        known = self._known_of(self._scan)
        job = self._running(known.job_id)
        if job is not None:
            doing = f"Measuring: {job.phase}, {job.fraction:.0%}."
            return doing if job.state == "running" else "Waiting in the list below.", "muted"
        if known.problem:
            return known.problem, "error"
        mask, maps = self.region_mask, self._maps
        if maps is None:
            if self._region() is not None:
                return "The noise of the methods chosen on the left is measured with this region.", "muted"
            return _BEFORE if self._methods else "", "muted"
        if self._region() is None:
            return "Drag on a movie to draw the region whose noise and SNR are told.", "muted"
        if mask is None:
            return "The region is too small or leaves the image.", "warning"
        pixels = f"{mask.sum()} pixels, {_counts(maps)} replicas."
        if all(one.has_interval(mask) for one in maps.methods):
            return f"{pixels} SNR with its 95 % interval, noise in % of white.", "muted"
        return f"{pixels} Measure again for the 95 % interval of this region.", "muted"

    def _running(self, job_id: str | None) -> Job | None:
        try:
            job = self._context.jobs.job(job_id) if job_id is not None else None
        except KeyError:
            return None
        return job if job is not None and not job.finished else None


def _make_folders(regions: Mapping[Path, BoolMask | None]) -> None:
    """Make the folders of runs, each with its region's mask as the worker reads it."""
    for folder, region in regions.items():
        folder.mkdir(parents=True, exist_ok=True)
        if region is not None:
            np.savez(folder / "regions.npz", signal=region)  # by the name `REGION`


def _counts(maps: NoiseMaps) -> str:
    counts = sorted({one.count for one in maps.methods})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
