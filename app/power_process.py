"""Power of the planned tests, computed in a process that ends as soon as the question changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from studies.errors import StudyError
from studies.power import Capability
from studies.power_command import parse_capability

_KILL_PATIENCE_MS = 1000


class PowerQuestion(NamedTuple):
    """What can so many clips (or subjects) show?"""

    clips: int
    arms: int
    alpha: float


class PowerProcess(QObject):
    """Answers one question at a time; a new one takes the place of the one before.

    Args:
        parent: Qt owner.
    """

    found = Signal(object)
    """The `Capability` that answers the last question."""
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        """Start nothing."""
        super().__init__(parent)
        self._process: QProcess | None = None
        self._question: PowerQuestion | None = None
        self._known: dict[PowerQuestion, Capability] = {}

    @property
    def busy(self) -> bool:
        """Whether a computation is under way."""
        return self._process is not None

    def ask(self, question: PowerQuestion) -> None:
        """Answer a question with `found` or `failed`; what was answered before is answered at once."""
        if self.busy and question == self._question:
            return
        self.cancel()
        if question in self._known:
            self.found.emit(self._known[question])
            return
        self._question = question
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        paths = [str(Path(__file__).resolve().parent.parent), environment.value("PYTHONPATH", "")]
        environment.insert("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        environment.insert("OMP_NUM_THREADS", "1")
        process.setProcessEnvironment(environment)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        process.start(sys.executable, ["-m", "studies.power_command", *map(str, question)])

    def cancel(self) -> None:
        """End what is under way; nothing comes of it."""
        process = self._take()
        if process is not None and process.state() != QProcess.ProcessState.NotRunning:
            process.kill()
            process.waitForFinished(_KILL_PATIENCE_MS)

    def _take(self) -> QProcess | None:
        process, self._process = self._process, None
        if process is not None:
            process.finished.disconnect(self._on_finished)
            process.errorOccurred.disconnect(self._on_error)
            process.deleteLater()
        return process

    def _on_finished(self, code: int, _status: QProcess.ExitStatus) -> None:
        process, question = self._take(), self._question
        if process is None or question is None:
            return
        if code:
            sentence = bytes(process.readAllStandardError().data()).decode(errors="replace").strip()
            self.failed.emit(sentence.splitlines()[-1] if sentence else "The computation ended early.")
            return
        try:
            capability = parse_capability(bytes(process.readAllStandardOutput().data()).decode())
        except StudyError as error:
            self.failed.emit(str(error))
            return
        self._known[question] = capability
        self.found.emit(capability)

    def _on_error(self, _error: QProcess.ProcessError) -> None:
        process = self._process
        if process is not None and process.state() == QProcess.ProcessState.NotRunning:
            message = process.errorString()
            self._take()
            self.failed.emit(f"The power cannot be computed: {message}")
