"""The reconstructions of this session: waiting, running, done; their order, their times, and how to stop."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.jobs import Job, JobManager
from app.session import MethodShelf
from app.widgets.elements import styled_label

REFERENCE_METHOD = "compressed_sensing"
"""The method that the times of the others are compared with, as in the paper's Table S1."""

_LISTED = ("reconstruct", "replicas")
_SECONDS_PER_MINUTE = 60
_LEAST_TEXT_WIDTH = 90
_STATE_ICONS = {
    "queued": ("clock", theme.MUTED),
    "running": ("reconstruct", theme.ACCENT),
    "done": ("check", theme.GOOD),
    "failed": ("warning", theme.ERROR),
    "cancelled": ("cancel", theme.MUTED),
}
_STEP_ORDER = ("reading", "preparation", "model_loading", "reconstruction", "writing")


def duration_text(seconds: float) -> str:
    """A duration as people say it: "40 ms", "0.4 s", "12 s", "3 min 20 s"."""
    if 0 < seconds < 0.095:  # noqa: PLR2004 - a step of hundredths is not "0.0 s"
        return f"{max(seconds * 1000, 1):.0f} ms"
    if seconds < 9.95:  # noqa: PLR2004 - below, tenths matter; "10.0 s" would be false precision
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ratio_text(seconds: float, reference_s: float) -> str:
    """How often one time goes into another: "1/12", "3.4 ×"; empty if that cannot be said."""
    if seconds <= 0 or reference_s <= 0:
        return ""
    ratio = seconds / reference_s
    if ratio >= 1:
        return f"{ratio:.3g} ×"
    return f"1/{1 / ratio:.3g}"


def times_table(job: Job, label: Callable[[str], str]) -> str:
    """Times of the steps of each movie of a job as an HTML table; empty if there is no movie yet.

    Args:
        job: the job.
        label: what a method is called.
    """
    if not job.seconds:
        return ""
    present = {step for steps in job.seconds.values() for step in steps}
    steps = [step for step in _STEP_ORDER if step in present]
    steps += sorted(present - set(steps))
    reference_s = job.seconds.get(REFERENCE_METHOD, {}).get("reconstruction", 0.0)
    compared = reference_s > 0 and len(job.seconds) > 1
    header = ["", *(step.replace("_", " ") for step in steps)]
    reference = label(REFERENCE_METHOD)
    header += [f"to {reference[:1].lower()}{reference[1:]}"] if compared else []
    rows = []
    for method, seconds in job.seconds.items():
        name = label(method) + (" (computed before)" if method in job.cached else "")
        cells = [name, *(duration_text(seconds[step]) if step in seconds else "" for step in steps)]
        if compared:
            own = method == REFERENCE_METHOD
            cells.append("" if own else ratio_text(seconds.get("reconstruction", 0.0), reference_s))
        rows.append(cells)
    return _table(header, rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], style: str) -> str:
        first, *rest = (escape(cell) for cell in cells)
        return (
            f'<tr style="{style}"><td style="padding-right:18px">{first}</td>'
            + "".join(f'<td align="right" style="padding-right:18px">{cell}</td>' for cell in rest)
            + "</tr>"
        )

    body = "".join(line(row, f"color:{theme.TEXT}") for row in rows)
    return f'<table cellspacing="0" cellpadding="1">{line(header, f"color:{theme.MUTED}")}{body}</table>'


class JobRow(QFrame):
    """One job: state, name, what is going on, a bar, and buttons for its place, its times and its end.

    Args:
        job: the job shown.
        jobs: to move, cancel or repeat it.
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
        self.top_button = self._make_button("top", "Reconstruct next", lambda: jobs.move_to_top(job.job_id))
        self.up_button = self._make_button("up", "Earlier", lambda: jobs.move(job.job_id, -1))
        self.down_button = self._make_button("down", "Later", lambda: jobs.move(job.job_id, 1))
        self.times_button = self._make_button("more", "Show the times of all steps", self._toggle_times)
        self.times_button.setCheckable(True)
        self.end_button = self._make_button("cancel", "Cancel", self._on_end)
        buttons = QHBoxLayout()
        buttons.setSpacing(2)
        for button in (
            self.top_button,
            self.up_button,
            self.down_button,
            self.times_button,
            self.end_button,
        ):
            buttons.addWidget(button)
        grid = QGridLayout(self)
        grid.setContentsMargins(12, 5, 8, 5)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(4)
        grid.addWidget(self._icon, 0, 0)
        grid.addWidget(self._name, 0, 1)
        grid.addWidget(self._status, 0, 2)
        grid.addLayout(buttons, 0, 3)
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
        self._refresh_detail()
        self._refresh_buttons()

    def _refresh_detail(self) -> None:
        failed = self.job.state == "failed"
        text = f"{self.job.message} {self.job.hint}".strip() if failed else ""
        times = times_table(self.job, self._methods.label) if self.times_button.isChecked() else ""
        detail = f"<div>{escape(text)}</div>{times}" if text else times
        if detail != self._detail.text():  # a text that is being selected is left alone
            self._detail.setText(detail)
        self._detail.setVisible(bool(detail))

    def _refresh_buttons(self) -> None:
        job = self.job
        queue = self._jobs.waiting
        place = queue.index(job) if job in queue else None
        for button, useful in (
            (self.top_button, place is not None and place > 0),
            (self.up_button, place is not None and place > 0),
            (self.down_button, place is not None and place < len(queue) - 1),
        ):
            button.setVisible(place is not None and len(queue) > 1)
            button.setEnabled(useful)
        self.times_button.setVisible(bool(job.seconds))
        shown = self.times_button.isChecked()
        self.times_button.setIcon(theme.icon("less" if shown else "more", theme.MUTED))
        self.times_button.setToolTip(f"{'Hide' if shown else 'Show'} the times of all steps")
        again = job.state in ("failed", "cancelled")
        self.end_button.setVisible(job.state != "done" and job.repeated_by is None)
        self.end_button.setEnabled(not job.cancel_asked or job.finished)
        self.end_button.setIcon(theme.icon("retry" if again else "cancel", theme.MUTED))
        self.end_button.setToolTip("Try again" if again else "Cancel")
        self.end_button.setAccessibleName(f"{'Try again' if again else 'Cancel'}: {job.label}")

    def _make_button(self, icon: str, text: str, action: Callable[[], object]) -> QToolButton:
        button = QToolButton()
        button.setIconSize(QSize(16, 16))
        button.setIcon(theme.icon(icon, theme.MUTED))
        button.setToolTip(text)
        button.setAccessibleName(f"{text}: {self.job.label}")
        button.clicked.connect(lambda _checked: action())
        return button

    def _status_text(self) -> str:
        job = self.job
        if job.state == "queued":
            queue = self._jobs.waiting
            return "next" if queue and queue[0] is job and not self._jobs.paused else "waiting"
        if job.state == "running":
            parts = [job.phase, f"{job.fraction:.0%}", duration_text(job.elapsed_s())]
            estimate_s = job.estimate_s()
            if estimate_s is not None and not job.cancel_asked:
                parts.append(f"about {duration_text(estimate_s)} left")
            return "   ".join(part for part in parts if part)
        if job.state == "done":
            if len(job.cached) == len(job.movies) > 0:
                return "done; computed before"
            return f"done in {duration_text(job.elapsed_s())}"
        text = "cancelled" if job.state == "cancelled" else "failed"
        return f"{text}, tried again" if job.repeated_by is not None else text

    def _toggle_times(self) -> None:
        self.refresh()

    def _on_end(self) -> None:
        if self.job.finished:
            self._jobs.retry(self.job.job_id)
        else:
            self._jobs.cancel(self.job.job_id)


class JobList(QWidget):
    """All reconstructions of this session: the running one, those waiting in their order, then the latest.

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
        self._summary = styled_label("muted")
        self.pause_button = QPushButton()
        self.pause_button.clicked.connect(self._toggle_pause)
        self.clear_button = QPushButton("Clear finished")
        self.clear_button.clicked.connect(self._clear)
        for button in (self.pause_button, self.clear_button):
            button.setProperty("role", "small")
        header = QHBoxLayout()
        header.setContentsMargins(12, 4, 8, 2)
        header.setSpacing(8)
        header.addWidget(self._summary, 1)
        header.addWidget(self.pause_button)
        header.addWidget(self.clear_button)
        content = QWidget()
        self._layout = QVBoxLayout(content)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._layout.addStretch(1)
        area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(header)
        layout.addWidget(area, 1)
        # Elapsed times go on between two progress events.
        self._clock = QTimer(self)
        self._clock.setInterval(500)
        self._clock.timeout.connect(self._refresh_running)
        for job in jobs.jobs:
            self._add(job)
        jobs.job_added.connect(self._add)
        jobs.job_changed.connect(self._change)
        jobs.job_forgotten.connect(self._drop)
        jobs.queue_changed.connect(self._refresh_all)
        methods.changed.connect(self._refresh_all)
        self._refresh_header()

    @property
    def rows(self) -> tuple[JobRow, ...]:
        """The rows, oldest job first."""
        return tuple(self._rows.values())

    @property
    def rows_shown(self) -> tuple[JobRow, ...]:
        """The rows from top to bottom."""
        return tuple(sorted(self._rows.values(), key=self._layout.indexOf))

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for about three jobs."""
        return QSize(400, 190)

    def _add(self, job: Job) -> None:
        if job.command not in _LISTED:
            return
        row = JobRow(job, self._jobs, self._methods)
        self._rows[job.job_id] = row
        self._sort()
        self._refresh_header()

    def _change(self, job: Job) -> None:
        row = self._rows.get(job.job_id)
        if row is None:
            return
        row.refresh()
        self._sort()
        self._refresh_header()
        running = any(row.job.state == "running" for row in self._rows.values())
        if running != self._clock.isActive():
            if running:
                self._clock.start()
            else:
                self._clock.stop()

    def _drop(self, job_id: str) -> None:
        row = self._rows.pop(job_id, None)
        if row is not None:
            self._layout.removeWidget(row)
            row.deleteLater()
            self._refresh_header()

    def _sort(self) -> None:
        rows = self.rows
        order = [row for row in rows if row.job.state == "running"]
        order += [self._rows[job.job_id] for job in self._jobs.waiting if job.job_id in self._rows]
        order += sorted((row for row in rows if row.job.finished), key=_end_time, reverse=True)
        order += [row for row in rows if row not in order]
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
        self._sort()
        self._refresh_header()

    def _refresh_header(self) -> None:
        waiting, paused = len(self._jobs.waiting), self._jobs.paused
        running = sum(row.job.state == "running" for row in self._rows.values())
        finished = sum(row.job.finished for row in self._rows.values())
        if not self._rows:
            text = "Nothing has been reconstructed yet."
        else:
            counts = ((running, "running"), (waiting, "waiting"), (finished, "finished"))
            text = ", ".join(f"{count} {word}" for count, word in counts if count)
        if paused:
            text += ". The queue is paused" + (": the running job goes on." if running else ".")
        self._summary.setText(text)
        self._summary.setProperty("role", "warning" if paused else "muted")
        self._summary.style().polish(self._summary)
        self.pause_button.setText("Resume queue" if paused else "Pause queue")
        self.pause_button.setIcon(theme.icon("play" if paused else "pause", theme.MUTED))
        self.pause_button.setVisible(bool(running or waiting or paused))
        self.clear_button.setVisible(finished > 0)

    def _toggle_pause(self) -> None:
        if self._jobs.paused:
            self._jobs.resume()
        else:
            self._jobs.pause()

    def _clear(self) -> None:
        for row in self.rows:
            if row.job.finished:
                self._jobs.forget(row.job.job_id)


def _end_time(row: JobRow) -> float:
    return row.job.finished_s or 0.0
