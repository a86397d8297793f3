"""Drawings, masks and position-time images of the clip that is measured, to files and back.

Files are named by opaque ids and hold nothing else that tells movies apart. Reading and writing happen on a
thread; what came of it is said in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from app import __version__
from app.context import AppContext
from studies.drawings import Drawing, Geometry
from studies.errors import StudyError
from studies.mask_files import label_movie, write_mask
from studies.roi_files import RoiFile, movies_sha256, read_roi_file, write_roi_file
from studies.shapes import Shapes
from studies.state import MeasurementClip
from studies.yt_files import write_clip_profiles

_MASK_KINDS = "NRRD (*.nrrd);;NIfTI (*.nii.gz *.nii)"
_DRAWING_KINDS = "Drawing (*.json)"


class DrawingFiles(QObject):
    """Asks for a file's name and reads or writes it.

    Args:
        context: dialogs and threads.
        page: owner of the dialogs.
    """

    said = Signal(str, str)
    """A sentence about what cannot be, and its role."""

    read = Signal(str, object, bool)
    """Clip, the drawing from a file, and whether it was made on this clip's movies."""

    def __init__(self, context: AppContext, page: QWidget) -> None:
        """Keep who asks."""
        super().__init__(page)
        self._context = context
        self._page = page

    def save_drawing(self, clip: MeasurementClip, drawing: Drawing, author: str) -> None:
        """Write what is drawn as a JSON file."""
        if drawing.shapes.drawing == Shapes():
            self.said.emit("There is nothing to save yet.", "warning")
            return
        path = self._context.dialogs.save_file(
            self._page, "Save the drawing", _DRAWING_KINDS, f"{clip.clip_id}.json"
        )
        if path is None:
            return
        path = path if path.suffix else path.with_suffix(".json")
        tool = f"blindcine {__version__}"
        self._write(
            lambda: write_roi_file(path, RoiFile.of(clip, drawing, author=author, tool=tool)),
            f"The drawing is saved as {path.name}.",
        )

    def load_drawing(self, clip: MeasurementClip) -> None:
        """Read shapes from a JSON file; `read` tells what was found."""
        path = self._context.dialogs.open_file(self._page, "Load a drawing", _DRAWING_KINDS)
        if path is None:
            return

        def read() -> tuple[RoiFile, str]:
            return read_roi_file(path), movies_sha256(clip.movies)

        self._context.tasks.submit(read, partial(self._on_read, clip), self._on_failed)

    def save_masks(self, clip: MeasurementClip, drawing: Drawing) -> None:
        """Write the masks of all frames as NRRD or NIfTI."""
        shapes = drawing.shapes
        if shapes.drawing.signal is None and shapes.drawing.background is None:
            self.said.emit("There is no region to save yet.", "warning")
            return
        path = self._context.dialogs.save_file(
            self._page, "Save the masks", _MASK_KINDS, f"{clip.clip_id}.nrrd"
        )
        if path is None:
            return
        path = path if path.suffix else path.with_suffix(".nrrd")
        geometry = geometry_of(clip)

        def write() -> None:
            size, spacing = geometry.image_shape, geometry.pixel_spacing_mm
            write_mask(path, label_movie(shapes, clip.frame_times_s, size, spacing))

        self._write(write, f"The masks are saved as {path.name}.")

    def export_profiles(self, clip: MeasurementClip, drawing: Drawing) -> None:
        """Write the position-time image of every movie as PNG and CSV."""
        line = drawing.profile_line
        if line is None:
            self.said.emit("Draw the edge line or a y–t line first.", "warning")
            return
        folder = self._context.dialogs.choose_folder(self._page, "Export y–t profiles to")
        if folder is not None:
            self._write(
                lambda: write_clip_profiles(folder, clip, line),
                f"{2 * len(clip.movies)} files are in {folder.name}.",
            )

    def _on_read(self, clip: MeasurementClip, found: tuple[RoiFile, str]) -> None:
        roi, sha256 = found
        geometry = geometry_of(clip)
        try:
            roi.check(geometry.image_shape, geometry.pixel_spacing_mm, sha256, other_image=True)
        except StudyError as error:
            self.said.emit(str(error), "warning")
            return
        own = sha256 == roi.movies_sha256
        if not own and not self._context.dialogs.confirm(
            self._page,
            "Load a drawing",
            "The drawing was made on other movies of the same matrix and pixel size. Use it here?",
            "Use it",
        ):
            return
        drawing = Drawing(roi.shapes, roi.frame_range)
        if not own and roi.frames != clip.movies.shape[1]:
            drawing = drawing.for_other_clip(geometry, geometry)
        self.read.emit(clip.clip_id, drawing, own)

    def _write(self, write: Callable[[], object], sentence: str) -> None:
        self._context.tasks.submit(write, lambda _: self._context.message.emit(sentence), self._on_failed)

    def _on_failed(self, error: BaseException) -> None:
        if isinstance(error, StudyError):
            self.said.emit(str(error), "error")
        else:
            self._context.report(error)


def geometry_of(clip: MeasurementClip) -> Geometry:
    """The pixels of a clip."""
    rows, columns = clip.movies.shape[2:]
    return Geometry((rows, columns), clip.pixel_spacing_mm)
