"""The reconstruction worker as Qt signals: submit, progress, result, cancel, crash.

The worker is another process that is spoken to in JSON lines (`recon_backend.worker`), so the window neither
imports TensorFlow nor waits for it, and a crash there ends one job and nothing else. There are three workers,
started when first needed: "files" reads scans and makes previews on the processor, "device" reconstructs,
"live" plays a scan; a scan can thus be looked at while another is being reconstructed. Jobs of one worker run
one after another; a worker is handed one job at a time, so that what is still waiting survives its death, can
be put into another order, and can be held back.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QByteArray, QObject, QProcess, QProcessEnvironment, QTimer, Signal

JobState = Literal["queued", "running", "done", "failed", "cancelled"]

PROTOCOL_SCHEMA = 1
"""The worker protocol that this module speaks."""

CANCEL_PATIENCE_MS = 1500
"""A worker that has not obeyed a cancel for so long is killed and started again."""

_STDERR_LINES = 200
_SMALLEST_FRACTION_FOR_ESTIMATE = 0.05
_QUIT_PATIENCE_MS = 800
_KILL_PATIENCE_MS = 5000
_LANE_OF = {"reconstruct": "device", "replicas": "device", "live": "live"}


@dataclass(eq=False)
class Job:
    """One request to the worker and all that came of it.

    Attributes:
        job_id: identifier within this session.
        request: what was asked, without the id.
        label: what the user reads ("subject01_radial").
        state: queued → running → done, failed or cancelled.
        phase: what the worker is doing, in words.
        fraction: part of the whole job that is done, 0 … 1.
        remaining_s: the worker's estimate of the time left in seconds, or None.
        reported_s: `time.monotonic` at the worker's last report of progress, or None.
        movies: movie files by method, as they become ready.
        seconds: time of each step in seconds, by method; of a movie from the cache, those of its computation.
        cached: methods whose movies were computed before.
        result: the worker's result event; before it, under "files" the replicas that are ready.
        message: why it failed, in one sentence.
        hint: what to do about it.
        cancel_asked: whether the user wants it stopped.
        repeats: identifier of the job that this one tries again, or None.
        repeated_by: identifier of the job that tries this one again, or None.
        started_s: `time.monotonic` when it was started, or None.
        finished_s: `time.monotonic` when it ended, or None.
        on_finished: called once when it has ended.
    """

    job_id: str
    request: dict[str, Any]
    label: str
    state: JobState = "queued"
    phase: str = ""
    fraction: float = 0.0
    remaining_s: float | None = None
    reported_s: float | None = None
    movies: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    result: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    hint: str = ""
    cancel_asked: bool = False
    repeats: str | None = None
    repeated_by: str | None = None
    started_s: float | None = None
    finished_s: float | None = None
    on_finished: Callable[[Job], None] | None = None

    @property
    def command(self) -> str:
        """The worker command."""
        return str(self.request["command"])

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")

    def elapsed_s(self) -> float:
        """Seconds since the job was started (until it ended)."""
        if self.started_s is None:
            return 0.0
        return (self.finished_s if self.finished_s is not None else time.monotonic()) - self.started_s

    def estimate_s(self) -> float | None:
        """Seconds left: the worker's estimate, else by the part that is done; None if it cannot be said.

        It runs down between two reports. A step that outlasts it (a framework that starts, a network that is
        compiled) has no estimate any more.
        """
        if self.state != "running" or self.reported_s is None or self.started_s is None:
            return None
        left_s = self.remaining_s
        if left_s is None and self.fraction >= _SMALLEST_FRACTION_FOR_ESTIMATE:
            left_s = (self.reported_s - self.started_s) * (1 - self.fraction) / self.fraction
        if left_s is None:
            return None
        left_s -= time.monotonic() - self.reported_s
        return left_s if left_s > 0 else None


class JobManager(QObject):
    """Queues jobs for the workers and tells what becomes of them.

    Args:
        command: program and arguments of a worker; ``python -m recon_backend.worker`` if None.
        parent: Qt owner.
    """

    job_added = Signal(object)
    job_changed = Signal(object)
    job_forgotten = Signal(str)
    movie_ready = Signal(str, str, object)
    """(job_id, method, path) of a movie that has been written."""
    live_image = Signal(str, object)
    """(job_id, event) of an image in a ring file; see `app.live_ring`."""
    worker_lost = Signal(str)
    """A worker died of itself; the sentence says what happened to its job."""

    queue_changed = Signal()
    """The reconstructions that wait are others, or in another order, or are held back or let go."""

    def __init__(self, command: Sequence[str] | None = None, parent: QObject | None = None) -> None:
        """Start without workers; they come with the first job."""
        super().__init__(parent)
        self._command = (
            list(command) if command is not None else [sys.executable, "-m", "recon_backend.worker"]
        )
        self._numbers = count(1)
        self._jobs: dict[str, Job] = {}
        self._lanes = {
            "files": _Lane(self, self._command, {"CUDA_VISIBLE_DEVICES": "-1"}),
            "device": _Lane(self, self._command, {}),
            "live": _Lane(self, self._command, {}),
        }

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs of this session, oldest first."""
        return tuple(self._jobs.values())

    def job(self, job_id: str) -> Job:
        """The job of an identifier.

        Raises:
            KeyError: if there is none.
        """
        return self._jobs[job_id]

    def submit(
        self,
        request: Mapping[str, Any],
        *,
        label: str = "",
        on_finished: Callable[[Job], None] | None = None,
        repeats: str | None = None,
    ) -> str:
        """Queue a request.

        Args:
            request: the request of the worker protocol, without "id"; paths may be `Path`.
            label: what the user reads in the job list.
            on_finished: called once when the job is done, failed or cancelled.
            repeats: identifier of the job that this one tries again.

        Returns:
            The job's identifier.
        """
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in request.items()}
        job = Job(f"job-{next(self._numbers)}", plain, label, on_finished=on_finished, repeats=repeats)
        self._jobs[job.job_id] = job
        self.job_added.emit(job)
        self._lane(job).enqueue(job)
        return job.job_id

    def cancel(self, job_id: str) -> None:
        """Take a waiting job from the queue, or stop a running one within about two seconds.

        A job that is over, and may be forgotten, is left as it is.
        """
        job = self._jobs.get(job_id)
        if job is not None and not job.finished:
            self._lane(job).cancel(job)

    def retry(self, job_id: str) -> str:
        """Queue the same request again, unless that was done already; returns the new job's identifier.

        Raises:
            ValueError: the job has not ended.
        """
        job = self._jobs[job_id]
        if not job.finished:
            raise ValueError(f"{job_id} has not ended.")
        if job.repeated_by is None:
            job.repeated_by = self.submit(
                job.request, label=job.label, on_finished=job.on_finished, repeats=job_id
            )
            self.job_changed.emit(job)
        return job.repeated_by

    @property
    def waiting(self) -> tuple[Job, ...]:
        """The reconstructions that wait, the next one first."""
        return tuple(self._lanes["device"].queue)

    @property
    def paused(self) -> bool:
        """Whether the queue is held back."""
        return self._lanes["device"].paused

    def pause(self) -> None:
        """Start no further reconstruction; the one that runs goes on."""
        self._lanes["device"].paused = True
        self.queue_changed.emit()

    def resume(self) -> None:
        """Go on with the queue."""
        lane = self._lanes["device"]
        lane.paused = False
        self.queue_changed.emit()
        lane.go_on()

    def move(self, job_id: str, places: int) -> None:
        """Let a waiting reconstruction move up (places < 0) or down the queue; others keep their order."""
        queue = self._lanes["device"].queue
        job = self._jobs[job_id]
        if job not in queue:
            return  # it was started in the meantime
        place = min(max(queue.index(job) + places, 0), len(queue) - 1)
        queue.remove(job)
        queue.insert(place, job)
        self.queue_changed.emit()

    def move_to_top(self, job_id: str) -> None:
        """Let a waiting reconstruction be the next one."""
        self.move(job_id, -len(self._lanes["device"].queue))

    def forget(self, job_id: str) -> None:
        """Drop a job that is over from the list."""
        if self._jobs[job_id].finished:
            del self._jobs[job_id]
            self.job_forgotten.emit(job_id)

    def worker_log(self) -> str:
        """The last lines that the workers wrote to their standard error, for a report of a fault."""
        return "\n".join(line for lane in self._lanes.values() for line in lane.stderr_lines)

    def shutdown(self) -> None:
        """Ask the workers to end and end them if they do not; takes a second or two."""
        for lane in self._lanes.values():
            lane.ask_to_quit()
        for lane in self._lanes.values():
            lane.end()

    def _lane(self, job: Job) -> _Lane:
        return self._lanes[_LANE_OF.get(job.command, "files")]


class _Lane(QObject):
    """One worker process and the jobs that wait for it."""

    def __init__(self, manager: JobManager, command: list[str], environment: dict[str, str]) -> None:
        super().__init__(manager)
        self._manager = manager
        self._command = command
        self._environment = environment
        self._process: QProcess | None = None
        self._greeted = False
        self.queue: list[Job] = []
        self.paused = False
        self._current: Job | None = None
        self._buffer = b""
        self._error_buffer = b""
        self._ending = False
        self.stderr_lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(CANCEL_PATIENCE_MS)
        self._patience.timeout.connect(self._kill)

    def enqueue(self, job: Job) -> None:
        self.queue.append(job)
        self._manager.queue_changed.emit()
        # Started from the event loop, so that submit has returned the id before the first signal about it.
        self.go_on()

    def go_on(self) -> None:
        QTimer.singleShot(0, self, self._start_next)

    def cancel(self, job: Job) -> None:
        if job in self.queue:
            self.queue.remove(job)
            self._manager.queue_changed.emit()
            self._finish(job, "cancelled")
            return
        if job is not self._current or job.cancel_asked:
            return
        job.cancel_asked = True
        job.phase = "cancelling"
        self._send({"command": "cancel", "id": job.job_id})
        self._patience.start()
        self._manager.job_changed.emit(job)

    def ask_to_quit(self) -> None:
        self._ending = True
        self.queue.clear()
        if self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning:
            self._send({"command": "quit"})
            self._process.closeWriteChannel()

    def end(self) -> None:
        self._patience.stop()
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)  # its end is our own doing and nobody's news
        if self._current is not None or not process.waitForFinished(_QUIT_PATIENCE_MS):
            # In the middle of a job it may not look at its input soon; its files are written atomically.
            process.kill()
            # Certain, but a process with much memory on a busy machine needs a while to be cleared away.
            process.waitForFinished(_KILL_PATIENCE_MS)
        process.deleteLater()

    def _start_next(self) -> None:
        if self._current is not None or not self.queue or self.paused or self._ending:
            return
        self._ensure_process()
        job = self.queue.pop(0)
        self._current = job
        job.state = "running"
        job.phase = "waiting for the worker" if not self._greeted else "starting"
        job.started_s = time.monotonic()
        self._send({**job.request, "id": job.job_id})
        self._manager.queue_changed.emit()
        self._manager.job_changed.emit(job)

    def _ensure_process(self) -> None:
        if self._process is not None:
            return
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        paths = [str(Path(__file__).resolve().parent.parent), environment.value("PYTHONPATH", "")]
        environment.insert("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        for name, value in {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **self._environment}.items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read_output)
        process.readyReadStandardError.connect(self._read_error)
        process.finished.connect(self._on_exit)
        process.errorOccurred.connect(self._on_process_error)
        self._process = process
        self._greeted = False
        self._buffer = b""
        self._error_buffer = b""
        process.start(self._command[0], self._command[1:])

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is not None:
            self._process.write(QByteArray(json.dumps(message).encode() + b"\n"))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _read_output(self) -> None:
        if self._process is None:
            return
        self._buffer += bytes(self._process.readAllStandardOutput().data())
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line.strip():
                self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self.stderr_lines.append(f"not a line of the worker protocol: {line[:200]!r}")
            return
        if event.get("event") == "hello":
            self._greet(event)
        elif self._greeted and self._current is not None and event.get("id") == self._current.job_id:
            self._take(self._current, event)

    def _greet(self, event: dict[str, Any]) -> None:
        if event.get("schema") == PROTOCOL_SCHEMA:
            self._greeted = True
            return
        if self._current is not None:
            self._current.message = (
                f"The worker speaks protocol {event.get('schema')}, this window speaks {PROTOCOL_SCHEMA}: "
                "install window and worker of the same version."
            )
        self._kill()

    def _take(self, job: Job, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "progress":
            job.phase = job.phase if job.cancel_asked else str(event.get("phase", ""))
            job.fraction = min(max(float(event.get("fraction", 0.0)), 0.0), 1.0)
            remaining = event.get("remaining_s")
            job.remaining_s = float(remaining) if remaining is not None else None
            job.reported_s = time.monotonic()
        elif kind == "movie":
            method, path = str(event["method"]), Path(event["path"])
            job.movies[method] = path
            job.seconds[method] = {
                str(step): float(value) for step, value in event.get("seconds", {}).items()
            }
            if event.get("cached"):
                job.cached.add(method)
            self._manager.movie_ready.emit(job.job_id, method, path)
        elif kind == "replicas":
            # What is ready stays, should the job fail or be cancelled later.
            job.result.setdefault("files", {})[str(event["method"])] = str(event["path"])
        elif kind == "frame":
            self._manager.live_image.emit(job.job_id, event)
            return
        elif kind == "result":
            job.result = event
            job.fraction = 1.0
            self._end_current("done")
            return
        elif kind == "error":
            job.message = str(event.get("message") or "The worker gave no reason.")
            job.hint = str(event.get("hint") or "")
            self._end_current("failed")
            return
        elif kind == "cancelled":
            self._end_current("cancelled")
            return
        self._manager.job_changed.emit(job)

    def _end_current(self, state: JobState) -> None:
        job, self._current = self._current, None
        self._patience.stop()
        if job is not None:
            self._finish(job, state)
        self._start_next()

    def _finish(self, job: Job, state: JobState) -> None:
        job.state = state
        job.phase = ""
        job.finished_s = time.monotonic()
        self._manager.job_changed.emit(job)
        if job.on_finished is not None:
            job.on_finished(job)

    def _read_error(self) -> None:
        if self._process is not None:
            # A line may come in pieces, its end alone in the last one.
            self._error_buffer += bytes(self._process.readAllStandardError().data())
            *lines, self._error_buffer = self._error_buffer.split(b"\n")
            self._log_errors(lines)

    def _log_errors(self, lines: list[bytes]) -> None:
        self.stderr_lines.extend(line.decode(errors="replace").rstrip() for line in lines if line.strip())

    def _on_process_error(self, error: QProcess.ProcessError) -> None:
        # Every other error is followed by `finished`; a program that cannot be started never finishes.
        if error == QProcess.ProcessError.FailedToStart:
            self._lose(f"The reconstruction worker could not be started: “{self._command[0]}” did not run.")

    def _on_exit(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read_output()
        self._read_error()
        self._log_errors([self._error_buffer])
        if self._process is None:
            return
        if status == QProcess.ExitStatus.CrashExit:
            how = "was killed or crashed"
        else:
            how = f"ended with code {code}"
        if not self._greeted and self.stderr_lines:
            how = f"{how} before it was ready: {self.stderr_lines[-1].strip()}"
        self._lose(f"The reconstruction worker {how}.")

    def _lose(self, message: str) -> None:
        process, self._process = self._process, None
        self._greeted = False
        self._patience.stop()
        if process is not None:
            process.deleteLater()
        job, self._current = self._current, None
        if job is not None and job.cancel_asked:
            self._finish(job, "cancelled")
        elif job is not None:
            job.message = job.message or message
            job.hint = job.hint or "A new worker is started for the next job; this one can be tried again."
            self._finish(job, "failed")
            sentences = (f"{job.label}:" if job.label else "", job.message, job.hint)
            self._manager.worker_lost.emit(" ".join(part for part in sentences if part))
        else:
            self._manager.worker_lost.emit(f"{message} A new one is started for the next job.")
        self.go_on()
