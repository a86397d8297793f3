"""A reader package in the window: opened, read, and answered with a response file beside it.

Rule: opening a package leads straight to its reading; whenever nothing is left to rank or to guess, the
response is written beside the package, or into the user's home folder where that place is read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.context import AppContext
from app.package_folders import response_beside, working_folder
from studies.errors import StudyError
from studies.package import open_package, package_info, save_response
from studies.study import Study


class ReaderPackage(QObject):
    """The package that is open in this window, and where its answers go.

    Args:
        context: has the study and runs the writing on its threads.
        study: the unpacked package.
        source: the package file.
    """

    saved = Signal(object)
    """The response was written to this path."""

    failed = Signal(str)
    """The response could not be written; the sentence says why."""

    def __init__(self, context: AppContext, study: Study, source: Path) -> None:
        """Watch the study until another one is opened."""
        super().__init__(context)
        self.study = study
        self.source = source
        self.response: Path | None = None
        """Where the response was written last."""
        self._context = context
        self._written = 0
        context.study_changed.connect(self._on_study_changed)

    def save(self, path: Path | None = None) -> None:
        """Write the response as it is now; `saved` or `failed` follows.

        Args:
            path: the file to write; beside the package if None.
        """
        places = [path] if path is not None else self._places()
        self._context.tasks.submit(partial(_write, self.study, places), self._done, self._not_done)

    def _places(self) -> list[Path]:
        beside = response_beside(self.source)
        return [beside, Path.home() / beside.name]

    def _on_study_changed(self) -> None:
        if self._context.study is not self.study:
            self._context.study_changed.disconnect(self._on_study_changed)
            if self._context.reader_package is self:
                self._context.reader_package = None
            self.deleteLater()
            return
        task = partial(_write_if_finished, self.study, self._places(), self._written)
        self._context.tasks.submit(task, self._done, self._not_done)

    def _done(self, written: tuple[Path, int] | None) -> None:
        if written is not None:
            self.response, self._written = written
            self.saved.emit(self.response)

    def _not_done(self, error: BaseException) -> None:
        if not isinstance(error, (StudyError, OSError)):
            raise error
        self.failed.emit(str(error))


def open_reader_package(
    context: AppContext,
    path: Path,
    on_open: Callable[[str], None],
    on_failed: Callable[[BaseException], None],
) -> None:
    """Unpack a package, or find it unpacked, and make it the open study, without holding up the window.

    Args:
        context: of the window.
        path: the package.
        on_open: called with its reader's name when it is open.
        on_failed: called with the reason when it cannot be opened.
    """

    def unpack() -> Study:
        return open_package(path, working_folder(package_info(path).package_id))

    def done(study: Study) -> None:
        context.set_study(study)
        context.reader_package = ReaderPackage(context, study, path.absolute())
        on_open(study.person)

    context.run_study_task(unpack, done, on_failed)


def _write_if_finished(study: Study, places: list[Path], written: int) -> tuple[Path, int] | None:
    """Write the response if nothing is left to do and something is new since event `written`."""
    reader = study.person
    if study.next_presentation(reader) is not None or study.guess_presentations(reader):
        return None
    return None if study.head.sequence == written else _write(study, places)


def _write(study: Study, places: list[Path]) -> tuple[Path, int]:
    """Write the response to the first place that takes it; return it and the number of the last event."""
    sequence = study.head.sequence
    for path in places[:-1]:
        try:
            save_response(study, path)
        except StudyError:
            # A package on a read-only medium: the next place is tried.
            continue
        return path, sequence
    save_response(study, places[-1])
    return places[-1], sequence
