"""A scan played live: its images as the worker makes them, and how far they lag behind the scanner.

Live is a demonstration: a raw file is replayed at the scanner's pace, over and over, by a worker of its own.
The view is told of each image by a short message and takes the pixels from a ring file, so the window does
the same little work however large or late the images are.
"""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.jobs import Job, JobManager
from app.live_ring import LiveRing
from app.widgets.elements import styled_label
from app.widgets.movie_panel import MoviePanel, default_levels

_RATE_IMAGES = 20


class LiveView(QWidget):
    """One panel and a line of figures.

    Args:
        jobs: where the live worker is asked for.
        parent: Qt owner.
    """

    running_changed = Signal(bool)
    """Playing began or ended."""

    failed = Signal(str)
    """Why playing ended by itself, in one sentence."""

    def __init__(self, jobs: JobManager, parent: QWidget | None = None) -> None:
        """Build the view, not playing."""
        super().__init__(parent)
        self._jobs = jobs
        self._job_id: str | None = None
        self._own: set[str] = set()
        self._ring: LiveRing | None = None
        self._ring_path: Path | None = None
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_RATE_IMAGES)
        self.panel = MoviePanel()
        self.panel.setAccessibleName("Live image")
        self.figures = {name: QLabel() for name in ("latency", "late", "dropped", "rate")}
        self.note = styled_label("muted")
        self.note.setWordWrap(True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.caution = styled_label("warning")
        self.caution.setWordWrap(True)
        line = QHBoxLayout()
        line.setSpacing(28)
        for name, title in (
            ("latency", "Latency"),
            ("late", "95 % within"),
            ("dropped", "Dropped"),
            ("rate", "Images"),
        ):
            cell = QHBoxLayout()
            cell.setSpacing(8)
            cell.addWidget(styled_label("muted", title))
            figure = self.figures[name]
            figure.setAccessibleName(title)
            # Figures change many times a second: the others must not move with them.
            figure.setMinimumWidth(figure.fontMetrics().horizontalAdvance("0000.0 ms"))
            cell.addWidget(figure)
            line.addLayout(cell)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        layout.addWidget(self.panel, 1)
        layout.addLayout(line)
        layout.addWidget(self.note)
        layout.addWidget(self.caution)
        jobs.live_image.connect(self._on_image)
        jobs.job_changed.connect(self._on_job_changed)

    @property
    def running(self) -> bool:
        """Whether a scan is being played."""
        return self._job_id is not None

    def start(
        self, path: Path, ring: Path, method: str, device: str, *, label: str, caution: str = ""
    ) -> None:
        """Play a raw file; one that is being played is stopped first.

        Args:
            path: raw data.
            ring: ring file that the worker shall write.
            method: method of reconstruction.
            device: "auto", "cpu" or "gpu".
            label: what stands in the panel's corner.
            caution: what the network's model warns of.
        """
        self.stop()
        self._arrivals.clear()
        for figure in self.figures.values():
            figure.setText("–")
        self.note.clear()
        self.caution.setText(caution)
        self.caution.setVisible(bool(caution))
        self.panel.set_frames(None)
        self.panel.set_label(label)
        self.panel.set_message("Starting the worker")
        request = {"command": "live", "path": path, "ring": ring, "method": method, "device": device}
        self._job_id = self._jobs.submit(request, label=label)
        self._own.add(self._job_id)
        self.running_changed.emit(True)

    def stop(self) -> None:
        """Stop at once: nothing that the worker still says is shown."""
        job_id, self._job_id = self._job_id, None
        self._close_ring()
        if job_id is None:
            return
        self._jobs.cancel(job_id)
        self.running_changed.emit(False)

    def _on_job_changed(self, job: Job) -> None:
        if job.finished and job.job_id in self._own:
            self._own.remove(job.job_id)
            self._jobs.forget(job.job_id)
        if job.job_id != self._job_id:
            return
        if job.finished:
            self._job_id = None
            self._close_ring()
            self.running_changed.emit(False)
            if job.message:
                self.panel.set_message(job.message)
                self.failed.emit(f"{job.label}: {job.message}")
        elif self._ring is None:
            self.panel.set_message(_capitalised(job.phase) or "Starting the worker")

    def _on_image(self, job_id: str, event: dict[str, Any]) -> None:
        if job_id != self._job_id:
            return
        path = Path(event["ring"])
        if self._ring is None:
            try:
                self._ring = LiveRing(path)
            except (OSError, ValueError) as error:
                self.stop()
                self.failed.emit(str(error))
                return
            self._ring_path = path
        self._show_figures(event)
        image = self._ring.image(int(event["number"]))
        if image is None:
            return  # the window was so late that newer images have taken its place
        first = self.panel.frames is None
        self.panel.set_frames(image[None])
        if first:
            height, width = image.shape
            spacing = event.get("pixel_spacing_mm", (1.0, 1.0))
            window, level = default_levels(image)
            self.panel.view_state.set_image(
                width, height, pixel_aspect=spacing[0] / spacing[1], window=window, level=level
            )

    def _show_figures(self, event: dict[str, Any]) -> None:
        if event.get("note"):
            self.note.setText(str(event["note"]))
        late_s = event.get("p95_s")
        self.figures["latency"].setText("–" if event["held"] else f"{1e3 * event['latency_s']:.1f} ms")
        self.figures["late"].setText("–" if late_s is None else f"{1e3 * late_s:.1f} ms")
        self.figures["dropped"].setText(f"{event['dropped']}")
        self._arrivals.append((int(event["index"]), float(event["time_s"])))
        count, spent_s = len(self._arrivals) - 1, self._arrivals[-1][1] - self._arrivals[0][1]
        self.figures["rate"].setText(f"{count / spent_s:.1f} / s" if spent_s > 0 else "–")

    def _close_ring(self) -> None:
        if self._ring is not None:
            self._ring.close()
        self._ring = None
        if self._ring_path is not None:
            # Windows refuses while the worker has it open; the session's folder goes with the window.
            with contextlib.suppress(OSError):
                self._ring_path.unlink(missing_ok=True)
        self._ring_path = None


def _capitalised(phase: str) -> str:
    return phase[:1].upper() + phase[1:]
