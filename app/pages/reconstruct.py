"""The Reconstruct page: choose scans and methods, watch the movies appear, see how long each step took.

This is the demonstration mode: movies carry the names of their methods here. A movie is shown as soon as it
is there, beside empty panels for those still being made.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.clip_loading import LoadedClip, load_clip
from app.context import AppContext
from app.jobs import Job
from app.reconstruction_options import Options, described, known_options
from app.session import SessionScan
from app.widgets.elements import styled_label
from app.widgets.export_button import ExportButton, MovieFile
from app.widgets.job_list import JobList
from app.widgets.live_view import LiveView
from app.widgets.noise_view import CHECKED_STYLE, NoiseView
from app.widgets.panel_row import PanelRow

_SIDE_WIDTH = 260
_DEVICES = (("Automatic", "auto"), ("Graphics card", "gpu"), ("Processor", "cpu"))
LIVE_METHODS = ("gridded", "dl_natural", "dl_cardiac")
"""Methods that can follow a running scan; compressed sensing looks at the whole series."""

_DEFAULT_METHODS = frozenset({"compressed_sensing", "dl_natural", "dl_cardiac"})


class ReconstructPage(QWidget):
    """Jobs and their movies.

    Args:
        context: what the pages share.
        parent: Qt owner.
    """

    title = "Reconstruct"

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        """Build the page."""
        super().__init__(parent)
        self._context = context
        self._items: dict[SessionScan, QListWidgetItem] = {}
        self._shown_scan: SessionScan | None = None
        self._shown_methods: tuple[str, ...] = ()
        self._scan_of_job: dict[str, SessionScan] = {}
        self._loading: tuple[SessionScan, tuple[str, ...]] | None = None
        self._rings = count(1)
        self.method_boxes: dict[str, QCheckBox] = {}
        self.model_boxes: dict[str, QComboBox] = {}
        self.scan_list = QListWidget()
        self.scan_list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.scan_list.setAccessibleName("Scans")
        self.scan_list.currentItemChanged.connect(lambda *_: self._show_current())
        self.scan_list.itemSelectionChanged.connect(self._refresh_controls)
        self._methods_layout = QVBoxLayout()
        self._methods_layout.setSpacing(2)
        self._methods_note = styled_label("muted", "Asking the worker…")
        self._methods_note.setWordWrap(True)
        self._methods_layout.addWidget(self._methods_note)
        self.device_box = QComboBox()
        for text, value in _DEVICES:
            self.device_box.addItem(text, value)
        stored = self.device_box.findData(context.settings.value("reconstruct/device", "auto"))
        self.device_box.setCurrentIndex(max(stored, 0))
        self.device_box.currentIndexChanged.connect(self._store_device)
        self.cache_box = QCheckBox("Use results computed before")
        self.cache_box.setToolTip("Show a movie that was made before at once, instead of making it again")
        self.cache_box.setChecked(bool(context.settings.value("reconstruct/cache", True, bool)))
        self.cache_box.toggled.connect(
            lambda checked: self._context.settings.setValue("reconstruct/cache", checked)
        )
        self.options: Options = known_options(_stored_json(context.settings.value("reconstruct/options", "")))
        self.options_button = QPushButton()
        self.options_button.clicked.connect(self._choose_options)
        self._show_options()
        self.start_button = QPushButton(theme.icon("reconstruct", "#ffffff"), " Reconstruct")
        self.start_button.setProperty("role", "primary")
        self.start_button.clicked.connect(self._start)
        self.save_button = QPushButton(theme.icon("save"), " Save movies…")
        self.save_button.clicked.connect(self._save)
        self.export_button = ExportButton(context, self._movies_to_export, self._grid_to_export)
        self.noise = NoiseView(context, self._noise_requests)
        self.noise_button = QPushButton("Noise…")
        self.noise_button.setProperty("role", "small")
        self.noise_button.setCheckable(True)
        self.noise_button.setStyleSheet(CHECKED_STYLE)
        self.noise_button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Expanding)
        self.noise_button.setToolTip(
            "Measure noise and SNR by reconstructing with added noise; again: the movies"
        )
        self.noise_button.clicked.connect(self._show_noise)
        self.live = LiveView(context.jobs)
        self.live.running_changed.connect(self._on_live_changed)
        self.live.failed.connect(context.error)
        self.live_method_box = QComboBox()
        self.live_method_box.setAccessibleName("Live method")
        self.live_button = QPushButton()
        self.live_button.clicked.connect(self._toggle_live)
        self.row = PanelRow()
        self.job_list = JobList(context.jobs, context.methods)
        self._heading = styled_label("heading")
        self._facts = styled_label("muted")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(24, 18, 24, 18)
        layout.setSpacing(18)
        layout.addWidget(self._make_side())
        layout.addWidget(self._make_result(), 1)
        for scan in context.scans:
            self._add_scan(scan)
        context.scans.added.connect(self._add_scan)
        context.scans.changed.connect(self._change_scan)
        context.scans.removed.connect(self._remove_scan)
        context.methods.changed.connect(self._show_methods)
        context.jobs.job_added.connect(self._on_job_added)
        context.jobs.movie_ready.connect(self._on_movie)
        context.jobs.job_changed.connect(self._on_job_changed)
        self._show_current()
        self._refresh_controls()

    def on_shown(self) -> None:
        """Learn which methods there are, and play on."""
        self._context.methods.request()
        self._select_something()

    def on_hidden(self) -> None:
        """Pause the movies."""
        self.row.clock.pause()
        self.noise.row.clock.pause()
        self.live.stop()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Playback by keyboard."""
        keys = self.noise if self.noise_shown else self.row
        if not keys.handle_key(event):
            super().keyPressEvent(event)

    def selected_scans(self) -> list[SessionScan]:
        """The scans to reconstruct, in the order of the list; those under way are left alone."""
        return [
            scan
            for scan, item in self._items.items()
            if item.isSelected() and scan.state == "ready" and scan.reconstruction is None
        ]

    def chosen_methods(self) -> list[str]:
        """The methods to reconstruct with, in the worker's order."""
        return [name for name, box in self.method_boxes.items() if box.isChecked()]

    def _select_something(self) -> None:
        """Select the scan shown, or the first usable one, if nothing is selected."""
        usable = [scan for scan in self._items if scan.state == "ready"]
        if usable and not self.scan_list.selectedItems():
            current = self._current_scan()
            self.scan_list.setCurrentItem(self._items[current if current in usable else usable[0]])
            self._items[current if current in usable else usable[0]].setSelected(True)

    # Layout

    def _make_side(self) -> QWidget:
        side = QWidget()
        side.setFixedWidth(_SIDE_WIDTH)
        title = styled_label("title", "Reconstruct")
        layout = QVBoxLayout(side)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(title)
        layout.addSpacing(6)
        layout.addWidget(styled_label("muted", "Scans"))
        layout.addWidget(self.scan_list, 1)
        layout.addSpacing(8)
        layout.addWidget(styled_label("muted", "Methods"))
        layout.addLayout(self._methods_layout)
        layout.addSpacing(8)
        layout.addWidget(styled_label("muted", "Device"))
        layout.addWidget(self.device_box)
        layout.addWidget(self.cache_box)
        layout.addWidget(self.options_button)
        layout.addSpacing(12)
        start = QHBoxLayout()
        start.setSpacing(6)
        start.addWidget(self.start_button, 1)
        start.addWidget(self.noise_button)
        layout.addLayout(start)
        layout.addSpacing(8)
        layout.addWidget(styled_label("muted", "Live, at the scanner's pace"))
        layout.addWidget(self.live_method_box)
        layout.addWidget(self.live_button)
        return side

    def _make_result(self) -> QWidget:
        header = QHBoxLayout()
        header.setSpacing(14)
        header.addWidget(self._heading)
        header.addWidget(self._facts, 1)
        header.addWidget(self.export_button)
        header.addWidget(self.save_button)
        movies = QWidget()
        column = QVBoxLayout(movies)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addLayout(header)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.row)
        self._stack.addWidget(self.live)
        self._stack.addWidget(self.noise)
        column.addWidget(self._stack, 1)
        jobs = QFrame()
        jobs.setProperty("role", "card")
        jobs_column = QVBoxLayout(jobs)
        jobs_column.setContentsMargins(4, 4, 4, 4)
        jobs_column.addWidget(self.job_list)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setHandleWidth(12)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(movies)
        splitter.addWidget(jobs)
        splitter.setStretchFactor(0, 4)
        splitter.setStretchFactor(1, 0)
        jobs.setMinimumHeight(96)
        splitter.setSizes([700, 190])
        return splitter

    # Scans and methods

    def _add_scan(self, scan: SessionScan) -> None:
        item = QListWidgetItem(scan.name)
        self._items[scan] = item
        self.scan_list.addItem(item)
        self._change_scan(scan)

    def _change_scan(self, scan: SessionScan) -> None:
        item = self._items.get(scan)
        if item is None:
            return
        usable = scan.state == "ready"
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        item.setFlags(flags if usable else Qt.ItemFlag.NoItemFlags)
        item.setToolTip(scan.error or str(scan.path))
        item.setIcon(theme.icon("check", theme.GOOD) if scan.movies else theme.icon("file", theme.MUTED))
        if scan is self._shown_scan:
            self._show_current()
        if self.isVisible():
            self._select_something()
        self._refresh_controls()

    def _remove_scan(self, scan: SessionScan) -> None:
        item = self._items.pop(scan, None)
        if item is not None:
            self.scan_list.takeItem(self.scan_list.row(item))
        if scan is self._shown_scan:
            self._show_current()

    def _show_methods(self) -> None:
        while self._methods_layout.count():
            taken = self._methods_layout.takeAt(0)
            widget = taken.widget() if taken is not None else None
            if widget is not None and widget is not self._methods_note:
                widget.deleteLater()
        self.method_boxes = {}
        self.model_boxes = {}
        names = self._context.methods.names()
        for name in names:
            box = QCheckBox(self._context.methods.label(name))
            box.setChecked(name in _DEFAULT_METHODS)
            box.toggled.connect(self._refresh_controls)
            self.method_boxes[name] = box
            self._methods_layout.addWidget(box)
            models = QComboBox()
            models.setAccessibleName(f"Model of {self._context.methods.label(name)}")
            models.setVisible(False)
            models.currentIndexChanged.connect(partial(self._show_caution_of_model, models))
            self.model_boxes[name] = models
            self._methods_layout.addWidget(models)
        self._methods_note.setVisible(not names)
        if not names:
            self._methods_note.setText(self._context.methods.error or "The worker offers no methods.")
            self._methods_layout.addWidget(self._methods_note)
        self._refresh_controls()
        self._show_current()

    def _refresh_controls(self) -> None:
        scans, methods = self.selected_scans(), self.chosen_methods()
        samplings = {scan.sampling for scan in scans}
        for name, box in self.method_boxes.items():
            usable = not samplings or any(name in self._context.methods.names(each) for each in samplings)
            box.setEnabled(usable)
            cautions = {self._context.methods.caution(name, each) for each in samplings}
            box.setToolTip("\n".join(sorted(cautions - {""})))
            self._offer_models(name, samplings)
        count = f" {len(scans)} scans" if len(scans) > 1 else ""
        self.start_button.setText(f" Reconstruct{count}")
        self.start_button.setEnabled(bool(scans and methods))
        scan = self._current_scan()
        self.save_button.setEnabled(scan is not None and bool(scan.movies))
        self.export_button.setEnabled(self.export_button.running or self.save_button.isEnabled())
        self._refresh_live()
        self.noise_button.setEnabled(scan is not None and scan.state == "ready")
        self.noise.refresh_requests()

    def _offer_models(self, name: str, samplings: set[str]) -> None:
        """Offer a network's models where more than one fits the scans that are selected."""
        offered = self._context.methods.models(name, *samplings) if len(samplings) == 1 else []
        box = self.model_boxes[name]
        if [box.itemData(row) for row in range(box.count())] != [model["name"] for model in offered]:
            chosen = box.currentData()
            box.clear()
            for number, model in enumerate(offered):
                label = f"{model['name']} (default)" if number == 0 else str(model["name"])
                box.addItem(label, model["name"])
                box.setItemData(number, model.get("caution") or "", Qt.ItemDataRole.ToolTipRole)
            box.setCurrentIndex(max(box.findData(chosen), 0))
        box.setVisible(len(offered) > 1)
        box.setEnabled(self.method_boxes[name].isChecked())

    def _show_caution_of_model(self, box: QComboBox, _row: int) -> None:
        box.setToolTip(str(box.currentData(Qt.ItemDataRole.ToolTipRole) or ""))

    def _chosen_models(self, methods: Sequence[str]) -> dict[str, str]:
        """The models that were chosen instead of the default ones, by method."""
        boxes = {name: self.model_boxes[name] for name in methods}
        return {name: str(box.currentData()) for name, box in boxes.items() if box.currentIndex() > 0}

    def _store_device(self) -> None:
        self._context.settings.setValue("reconstruct/device", self.device_box.currentData())

    def _choose_options(self) -> None:
        chosen = self._context.dialogs.reconstruction_options(self, self.options)
        if chosen is not None:
            self.options = chosen
            self._context.settings.setValue("reconstruct/options", json.dumps(chosen))
            self._show_options()

    def _show_options(self) -> None:
        """Say on the button that options differ from the defaults, and in its tip which."""
        self.options_button.setText(f"Options ({len(self.options)} changed)…" if self.options else "Options…")
        self.options_button.setToolTip(
            described(self.options) or "Compressed-sensing settings, coil sensitivities, gradient delays"
        )

    # Live

    def _refresh_live(self) -> None:
        """Offer the methods that can follow a running scan of the current scan's sampling."""
        scan = self._current_scan()
        offered = []
        if scan is not None and scan.state == "ready":
            offered = [name for name in self._context.methods.names(scan.sampling) if name in LIVE_METHODS]
        box = self.live_method_box
        if [box.itemData(row) for row in range(box.count())] != offered:
            chosen = box.currentData()
            box.clear()
            for name in offered:
                box.addItem(self._context.methods.label(name), name)
            box.setCurrentIndex(max(box.findData(chosen), 0))
        running = self.live.running
        box.setEnabled(bool(offered) and not running)
        self.live_button.setEnabled(running or bool(offered))
        self.live_button.setIcon(theme.icon("cancel" if running else "play"))
        self.live_button.setText(" Stop" if running else " Play live")
        self.live_button.setToolTip(
            "Stop" if running else "Play the raw data at the scanner's pace and reconstruct as it comes"
        )

    def _toggle_live(self) -> None:
        scan, method = self._current_scan(), self.live_method_box.currentData()
        if self.live.running:
            self.live.stop()
        elif scan is not None and method:
            ring = self._context.scratch_folder / f"live-{next(self._rings)}.ring"
            label = f"{self._context.methods.label(method)}, live"
            caution = self._context.methods.caution(method, scan.sampling)
            device = self.device_box.currentData()
            self.live.start(scan.path, ring, method, device, label=label, caution=caution)

    def _on_live_changed(self, running: bool) -> None:
        self.row.clock.pause()
        self.noise.row.clock.pause()
        self._stack.setCurrentWidget(self.live if running else self.row)
        self.noise_button.setChecked(False)
        self._refresh_live()

    # Noise

    @property
    def noise_shown(self) -> bool:
        """Whether the noise is shown in the place of the movies."""
        return self._stack.currentWidget() is self.noise

    def _show_noise(self, shown: bool) -> None:
        self.live.stop()
        for row in (self.row, self.noise.row):
            row.clock.pause()
        self._stack.setCurrentWidget(self.noise if shown else self.row)
        self.noise_button.setChecked(shown)
        if shown:
            self.noise.show_scan(self._current_scan())
        if self.isVisible():
            (self.noise if shown else self).row.clock.play()

    def _noise_requests(self) -> list[tuple[SessionScan, dict[str, Any]]]:
        """What the worker is to be asked for each selected scan; scans that no method suits are left out."""
        scans = [scan for scan, item in self._items.items() if item.isSelected() and scan.state == "ready"]
        return [
            (scan, self._request(scan, methods)) for scan in scans if (methods := self._methods_for(scan))
        ]

    # Jobs

    def _methods_for(self, scan: SessionScan) -> list[str]:
        offered = self._context.methods.names(scan.sampling)
        return [name for name in self.chosen_methods() if name in offered]

    def _request(self, scan: SessionScan, methods: Sequence[str]) -> dict[str, Any]:
        """What is asked of the worker for a scan, whatever is done with it."""
        models = self._chosen_models(methods)
        return {
            "path": scan.path,
            "methods": list(methods),
            "device": self.device_box.currentData(),
            "options": {**self.options, **({"models": list(models.values())} if models else {})},
        }

    def _start(self) -> None:
        if self.noise_shown:
            self._show_noise(False)
        for scan in self.selected_scans():
            methods = self._methods_for(scan)
            if not methods:
                self._context.error.emit(
                    f"None of the chosen methods reconstructs {scan.sampling} data ({scan.name})."
                )
                continue
            models = self._chosen_models(methods)
            out = self._context.scratch_folder / f"scan-{id(scan)}"
            out.mkdir(exist_ok=True)
            request = {
                **self._request(scan, methods),
                "command": "reconstruct",
                "out": out,
                "cache": self.cache_box.isChecked(),
            }
            scan.reconstruction = self._context.jobs.submit(
                request, label=scan.name, on_finished=partial(self._on_finished, scan)
            )
            self._scan_of_job[scan.reconstruction] = scan
            for method in methods:
                scan.movies.pop(method, None)
                scan.models[method] = models.get(method, "")
            self._context.scans.notify(scan)

    def _on_job_added(self, job: Job) -> None:
        scan = self._scan_of_job.get(job.repeats or "")
        if scan is not None:
            self._scan_of_job[job.job_id] = scan
            scan.reconstruction = job.job_id
            self._context.scans.notify(scan)

    def _on_movie(self, job_id: str, method: str, path: Path) -> None:
        scan = self._scan_of_job.get(job_id)
        if scan is not None:
            scan.movies[method] = path
            scan.seconds[method] = dict(self._context.jobs.job(job_id).seconds.get(method, {}))
            self._context.scans.notify(scan)

    def _on_finished(self, scan: SessionScan, job: Job) -> None:
        if scan.reconstruction == job.job_id:
            scan.reconstruction = None
        if job.state == "failed" and not self.isVisible():
            self._context.error.emit(f"{job.label}: {job.message}")
        self._context.scans.notify(scan)

    def _on_job_changed(self, job: Job) -> None:
        scan = self._shown_scan
        if scan is None or scan.reconstruction != job.job_id:
            return
        for method, panel in zip(self._shown_methods, self.row.panels, strict=False):
            if method not in scan.movies:
                panel.set_message(self._pending_text(job, method))

    def _pending_text(self, job: Job, method: str) -> str:
        if job.state == "queued":
            return "Waiting"
        if job.state != "running":
            return "No movie"
        pending = [name for name in job.request["methods"] if name not in job.movies]
        if pending and method == pending[0]:
            return f"{job.phase.capitalize()}\n{job.fraction:.0%}"
        return "Waiting"

    # Result

    def _current_scan(self) -> SessionScan | None:
        item = self.scan_list.currentItem()
        return next((scan for scan, other in self._items.items() if other is item), None)

    def _show_current(self) -> None:
        scan = self._current_scan()
        other = scan is not self._shown_scan
        if other:
            self.live.stop()
        self._shown_scan = scan
        self._refresh_controls()
        if self.noise_shown:
            self.noise.show_scan(scan)
        if scan is None:
            self._heading.setText("No scan selected")
            self._facts.setText("")
            self._shown_methods = ()
            self.row.set_placeholders([""] * 3, ["", "Open scans on the Data page.", ""])
            self.row.set_footers([])
            return
        self._heading.setText(scan.name)
        self._facts.setText(_facts(scan))
        methods = self._methods_of(scan)
        ready = tuple(method for method in methods if method in scan.movies)
        if not ready:
            self._shown_methods = methods
            self._loading = None
            self._show_placeholders(scan, methods)
        elif other or methods != self._shown_methods or self._loading != (scan, ready):
            self._load(scan, methods, ready)

    def _methods_of(self, scan: SessionScan) -> tuple[str, ...]:
        """The panels of a scan: what it has and what is being made."""
        wanted = set(scan.movies)
        if scan.reconstruction is not None:
            wanted |= set(self._context.jobs.job(scan.reconstruction).request["methods"])
        known = self._context.methods.names()
        order = [*known, *sorted(wanted - set(known))]
        return tuple(method for method in order if method in wanted)

    def _show_placeholders(self, scan: SessionScan, methods: Sequence[str]) -> None:
        if not methods:
            self.row.set_placeholders([""] * 3, ["", "Choose methods and press Reconstruct.", ""])
            self.row.set_footers([])
            return
        job = self._context.jobs.job(scan.reconstruction) if scan.reconstruction is not None else None
        messages = [self._pending_text(job, method) if job is not None else "No movie" for method in methods]
        self.row.set_placeholders([self._context.methods.label(method) for method in methods], messages)
        self._show_cautions(scan, methods)

    def _load(self, scan: SessionScan, methods: tuple[str, ...], ready: tuple[str, ...]) -> None:
        self._loading = (scan, ready)
        paths = [scan.movies[method] for method in ready]
        keep_view = self._shown_methods != () and scan is self._shown_scan

        def done(clip: LoadedClip) -> None:
            if self._loading == (scan, ready) and self._shown_scan is scan:
                self._show_clip(scan, methods, ready, clip, keep_view)

        self._context.tasks.submit(lambda: load_clip(paths), done)

    def _show_clip(
        self,
        scan: SessionScan,
        methods: tuple[str, ...],
        ready: tuple[str, ...],
        clip: LoadedClip,
        keep_view: bool,
    ) -> None:
        self._shown_methods = methods
        shown = dict(zip(ready, clip.display, strict=True))
        labels = [self._context.methods.label(method) for method in methods]
        movies: list[np.ndarray | None] = [shown.get(method) for method in methods]
        self.row.set_clip(
            movies, labels, clip.frame_times_s, pixel_spacing_mm=clip.pixel_spacing_mm, keep_view=keep_view
        )
        self._show_cautions(scan, methods)
        if scan.reconstruction is not None:
            self._on_job_changed(self._context.jobs.job(scan.reconstruction))
        if self.row.isVisible():
            self.row.clock.play()

    def _show_cautions(self, scan: SessionScan, methods: Sequence[str]) -> None:
        """Say under each network's movie what its model's manifest warns of."""
        cautions = [
            self._context.methods.caution(method, scan.sampling, scan.models.get(method, ""))
            for method in methods
        ]
        footers = []
        for caution in cautions if any(cautions) else ():
            footer = styled_label("warning", caution)
            footer.setWordWrap(True)
            footer.setAlignment(Qt.AlignmentFlag.AlignTop)
            footer.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            footers.append(footer)
        self.row.set_footers(footers)

    def _save(self) -> None:
        scan = self._current_scan()
        if scan is None:
            return
        start = str(self._context.settings.value("reconstruct/folder", str(scan.path.parent)))
        folder = self._context.dialogs.choose_folder(self, "Save movies in", start)
        if folder is None:
            return
        self._context.settings.setValue("reconstruct/folder", str(folder))
        paths = list(scan.movies.values())
        self._context.tasks.submit(
            lambda: copy_movies(paths, folder),
            lambda count: self._context.message.emit(f"{count} movies were saved in {folder}."),
        )

    def _movies_to_export(self) -> list[Path]:
        scan = self._current_scan()
        return list(scan.movies.values()) if scan is not None else []

    def _grid_to_export(self) -> list[MovieFile]:
        """The movies of the scan shown and of the other scans that are selected: a row each."""
        shown = self._current_scan()
        scans = [
            scan for scan, item in self._items.items() if scan.movies and (item.isSelected() or scan is shown)
        ]
        samplings = {scan.sampling for scan in scans}
        return [
            (scan.sampling if len(samplings) == len(scans) else scan.name, method, scan.movies[method])
            for scan in scans
            for method in self._methods_of(scan)
            if method in scan.movies
        ]


def copy_movies(paths: Sequence[Path], folder: Path) -> int:
    """Copy movie files into a folder, each complete or not at all; returns how many.

    Raises:
        OSError: if a file cannot be read or written.
    """
    for path in paths:
        target = folder / path.name
        partial = target.with_name(f".{target.name}.partial")
        try:
            with path.open("rb") as source, partial.open("wb") as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    return len(paths)


def _stored_json(text: object) -> object:
    """What a settings file holds under a key; anybody may have edited it."""
    try:
        return json.loads(str(text))
    except ValueError:
        return None


def _facts(scan: SessionScan) -> str:
    summary = scan.summary
    parts = [scan.sampling, " × ".join(str(length) for length in summary.get("matrix", ()))]
    if "frames" in summary:
        parts.append(f"{summary['frames']} frames")
    if "frame_time_s" in summary:
        parts.append(f"{summary['frame_time_s'] * 1000:.1f} ms each")
    return "   ".join(part for part in parts if part)
