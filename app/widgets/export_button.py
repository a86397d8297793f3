"""A button that writes movies for other programs, with progress on itself; pressed again, it stops.

For movies that carry the names of their methods: in a demonstration, or of a study that is unblinded. The
work is `studies.export`, on a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from app import __version__, theme
from app.context import AppContext
from studies.clips import read_movie
from studies.export import FORMATS, GridCell, GridSettings, MovieExport, export_grid, export_movie
from studies.export.movies import Format

FORMAT_NAMES: dict[Format, str] = {
    "mp4": "MP4 video",
    "gif": "GIF",
    "dicom": "DICOM, multi-frame",
    "nifti": "NIfTI",
}
assert set(FORMAT_NAMES) == set(get_args(Format))

MovieFile = tuple[str, str, Path]
"""Row and column in a grid, and the movie's file."""
_FOLDER_KEY = "export/folder"


class ExportStopped(Exception):
    """The user wants no more of it."""


class ExportButton(QPushButton):
    """Offers the formats in a menu.

    Args:
        context: asks, runs the work, tells what went wrong.
        movies: the movies to write one by one, when a format is chosen.
        grid: the movies of the common video, when that is chosen.
        parent: Qt owner.
    """

    _progress = Signal(float)

    def __init__(
        self,
        context: AppContext,
        movies: Callable[[], Sequence[Path]],
        grid: Callable[[], Sequence[MovieFile]],
        parent: QWidget | None = None,
    ) -> None:
        """Build the menu."""
        super().__init__(theme.icon("export"), "", parent)
        self._context = context
        self._movies = movies
        self._grid = grid
        self._stop: threading.Event | None = None
        self._choices = QMenu(self)
        for kind in FORMATS:
            action = self._choices.addAction(f"Each movie as {FORMAT_NAMES[kind]}…")
            action.triggered.connect(partial(self._export_each, kind))
        self._choices.addSeparator()
        self._choices.addAction("All in one MP4 video…").triggered.connect(partial(self._export_grid, "mp4"))
        self._choices.addAction("All in one GIF…").triggered.connect(partial(self._export_grid, "gif"))
        self.clicked.connect(self._on_clicked)
        self._progress.connect(self._show_progress)
        context.closing.connect(self._ask_to_stop)
        self._show_idle()

    @property
    def running(self) -> bool:
        """Whether movies are being written."""
        return self._stop is not None

    @property
    def choices(self) -> QMenu:
        """The menu of formats."""
        return self._choices

    def _on_clicked(self) -> None:
        if self.running:
            self._ask_to_stop()
        else:
            self._choices.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def _ask_to_stop(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def _show_idle(self) -> None:
        self.setText(" Export…")
        self.setAccessibleName("Export movies")
        self.setToolTip("Write the movies as MP4, GIF, DICOM or NIfTI, or all in one video with y–t profiles")

    def _show_progress(self, fraction: float) -> None:
        if self.running:
            self.setText(f" Stop export ({fraction:.0%})")

    def _export_each(self, kind: Format) -> None:
        paths = list(self._movies())
        folder = self._context.dialogs.choose_folder(self, "Export movies to", self._start_folder())
        if folder is None or not paths:
            return
        self._remember(folder)
        how = MovieExport(kind, software=(f"blindcine {__version__}",))

        def work(report: Callable[[float], None]) -> str:
            def told(done: int, _phase: str, part: float) -> None:
                report((done + part) / len(paths))

            for number, path in enumerate(paths):
                export_movie(path, folder, how, partial(told, number))
            count = f"{len(paths)} movies were" if len(paths) > 1 else "The movie was"
            return f"{count} exported to {folder}."

        self._begin(work)

    def _export_grid(self, ending: str) -> None:
        files = list(self._grid())
        name = f"movies.{ending}"
        target = self._context.dialogs.save_file(
            self,
            "Export all movies in one video",
            f"Video (*.{ending})",
            str(Path(self._start_folder()) / name),
        )
        if target is None or not files:
            return
        self._remember(target.parent)
        target = (
            target if target.suffix.lower() == f".{ending}" else target.with_name(f"{target.name}.{ending}")
        )

        def work(report: Callable[[float], None]) -> str:
            cells = [GridCell(row, column, read_movie(path)) for row, column, path in files]
            export_grid(cells, target, GridSettings(labels=True), lambda _phase, part: report(part))
            return f"The video was exported to {target}."

        self._begin(work)

    def _begin(self, work: Callable[[Callable[[float], None]], str]) -> None:
        stop = self._stop = threading.Event()
        self._show_progress(0.0)
        self.setAccessibleName("Stop the export")
        self.setToolTip("Stop; the file that is being written will not be there")

        def report(fraction: float) -> None:
            if stop.is_set():
                raise ExportStopped
            self._progress.emit(fraction)

        self._context.tasks.submit(lambda: work(report), self._on_done, self._on_failed)

    def _on_done(self, message: str) -> None:
        self._stop = None
        self._show_idle()
        self._context.message.emit(message)

    def _on_failed(self, error: BaseException) -> None:
        self._stop = None
        self._show_idle()
        if isinstance(error, ExportStopped):
            self._context.message.emit("The export was stopped.")
        elif isinstance(error, ImportError):
            package = (error.name or "").split(".")[0]
            self._context.error.emit(
                f"This format needs the package “{package}”: pip install 'blindcine[export]'."
            )
        else:
            self._context.report(error)

    def _start_folder(self) -> str:
        return str(self._context.settings.value(_FOLDER_KEY, str(Path.home())))

    def _remember(self, folder: Path) -> None:
        self._context.settings.setValue(_FOLDER_KEY, str(folder))
