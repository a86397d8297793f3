"""The reconstructions of this session: waiting, running, done; how long they take, and how to stop them."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QLabel,
    QProgressBar,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.jobs import Job, JobManager
from app.session import MethodShelf
from app.widgets.elements import styled_label

_SECONDS_PER_MINUTE = 60
_LEAST_TEXT_WIDTH = 90
_STATE_ICONS = {
    "queued": ("clock", theme.MUTED),
    "running": ("reconstruct", theme.ACCENT),
    "done": ("check", theme.GOOD),
    "failed": ("warning", theme.ERROR),
    "cancelled": ("cancel", theme.MUTED),
}


def duration_text(seconds: float) -> str:
    """A duration as people say it: "0.4 s", "12 s", "3 min 20 s"."""
    if seconds < 9.95:  # noqa: PLR2004 - below, tenths matter; "10.0 s" would be false precision
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class JobRow(QFrame):
    """One job: state, name, what is going on, a bar, and a button to stop it or to try again.

    Args:
        job: the job shown.
        jobs: to cancel or repeat it.
        methods: how methods are called.
        parent: Qt owner.
    """

    def __init__(
        self, job: Job, jobs: JobManager, methods: MethodShelf, parent: QWidget | None = None
    ) -> None:
        """Build the row."""
        super().__init__(parent)
        self.job = job
        self._jobs = jobs
        self._methods = methods
        self._icon = QLabel()
        self._icon.setFixedSize(20, 20)
        self._name = QLabel(job.label)
        self._status = styled_label("muted")
        self._status.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for label in (self._name, self._status):
            label.setMinimumWidth(_LEAST_TEXT_WIDTH)  # in a narrow window the text gives way, not the button
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._detail = styled_label("muted")
        self._detail.setWordWrap(True)
        self._detail.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._button = QToolButton()
        self._button.setIconSize(QSize(16, 16))
        self._button.clicked.connect(self._on_button)
        grid = QGridLayout(self)
        grid.setContentsMargins(12, 8, 8, 8)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(5)
        grid.addWidget(self._icon, 0, 0)
        grid.addWidget(self._name, 0, 1)
        grid.addWidget(self._status, 0, 2)
        grid.addWidget(self._button, 0, 3)
        grid.addWidget(self._bar, 1, 1, 1, 2)
        grid.addWidget(self._detail, 2, 1, 1, 2)
        grid.setColumnStretch(2, 1)
        self.refresh()

    def refresh(self) -> None:
        """Show the job as it is now."""
        job = self.job
        icon, colour = _STATE_ICONS[job.state]
        self._icon.setPixmap(theme.pixmap(icon, colour, 18, self.devicePixelRatioF()))
        self._icon.setAccessibleName(job.state)
        self._status.setText(self._status_text())
        self._bar.setVisible(job.state == "running")
        self._bar.setValue(round(job.fraction * 1000))
        detail = self._detail_text()
        self._detail.setText(detail)
        self._detail.setVisible(bool(detail))
        self._button.setVisible(job.state != "done")
        self._button.setEnabled(not job.cancel_asked or job.finished)
        again = job.state in ("failed", "cancelled")
        self._button.setIcon(theme.icon("retry" if again else "cancel", theme.MUTED))
        self._button.setToolTip("Try again" if again else "Cancel")
        self._button.setAccessibleName(f"{'Try again' if again else 'Cancel'}: {job.label}")

    def _status_text(self) -> str:
        job = self.job
        if job.state == "queued":
            return "waiting"
        if job.state == "running":
            parts = [job.phase, f"{job.fraction:.0%}", duration_text(job.elapsed_s())]
            estimate_s = job.estimate_s()
            if estimate_s is not None and not job.cancel_asked:
                parts.append(f"about {duration_text(estimate_s)} left")
            return "   ".join(part for part in parts if part)
        if job.state == "done":
            return f"done in {duration_text(job.elapsed_s())}"
        return "cancelled" if job.state == "cancelled" else "failed"

    def _detail_text(self) -> str:
        job = self.job
        if job.state == "failed":
            return f"{job.message} {job.hint}".strip()
        lines = []
        for method, steps in job.seconds.items():
            total = sum(steps.values())
            parts = ", ".join(
                f"{step.replace('_', ' ')} {duration_text(value)}" for step, value in steps.items()
            )
            lines.append(
                f"{self._methods.label(method)}: {duration_text(total)}" + (f" ({parts})" if parts else "")
            )
        return "\n".join(lines)

    def _on_button(self) -> None:
        if self.job.finished:
            self._jobs.retry(self.job.job_id)
        else:
            self._jobs.cancel(self.job.job_id)


class JobList(QScrollArea):
    """All reconstructions of this session: the running one, those waiting, then the latest results.

    Args:
        jobs: the jobs.
        methods: how methods are called.
        parent: Qt owner.
    """

    def __init__(self, jobs: JobManager, methods: MethodShelf, parent: QWidget | None = None) -> None:
        """Build the list from the jobs there are."""
        super().__init__(parent)
        self._jobs = jobs
        self._methods = methods
        self._rows: dict[str, JobRow] = {}
        self._empty = styled_label("muted", "Nothing has been reconstructed yet.")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        content = QWidget()
        self._layout = QVBoxLayout(content)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._layout.addWidget(self._empty, 1)
        self._layout.addStretch(0)
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # Elapsed times go on between two progress events.
        self._clock = QTimer(self)
        self._clock.setInterval(500)
        self._clock.timeout.connect(self._refresh_running)
        for job in jobs.jobs:
            self._add(job)
        jobs.job_added.connect(self._add)
        jobs.job_changed.connect(self._change)
        methods.changed.connect(self._refresh_all)

    @property
    def rows(self) -> tuple[JobRow, ...]:
        """The rows, oldest job first."""
        return tuple(self._rows.values())

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for about two jobs."""
        return QSize(400, 150)

    def _add(self, job: Job) -> None:
        if job.command != "reconstruct":
            return
        row = JobRow(job, self._jobs, self._methods)
        self._rows[job.job_id] = row
        self._empty.hide()
        self._sort()

    def _change(self, job: Job) -> None:
        row = self._rows.get(job.job_id)
        if row is None:
            return
        row.refresh()
        self._sort()
        running = any(row.job.state == "running" for row in self._rows.values())
        if running != self._clock.isActive():
            if running:
                self._clock.start()
            else:
                self._clock.stop()

    def _sort(self) -> None:
        rows = self.rows
        order = [row for row in rows if row.job.state == "running"]
        order += [row for row in rows if row.job.state == "queued"]
        order += sorted((row for row in rows if row.job.finished), key=_end_time, reverse=True)
        for position, row in enumerate(order):
            if self._layout.indexOf(row) != position:
                self._layout.insertWidget(position, row)

    def _refresh_running(self) -> None:
        for row in self._rows.values():
            if row.job.state == "running":
                row.refresh()

    def _refresh_all(self) -> None:
        for row in self._rows.values():
            row.refresh()


def _end_time(row: JobRow) -> float:
    return row.job.finished_s or 0.0
