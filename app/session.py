"""The raw scans that are open in this window, before and besides any study.

A scan is known by its file; what it holds comes from the worker's `inspect`. Subject and plane are not in
every raw file, so they are guessed from the names and stay editable. Nothing here is written to disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
from PySide6.QtCore import QObject, Signal

from app.jobs import Job, JobManager

RAW_SUFFIXES = (".h5", ".mrd", ".hdf5")
"""File endings that are looked for in folders; a file that is opened by name may have any."""

ScanState = Literal["reading", "ready", "unreadable"]

_PLANES = (
    ("short axis", ("short_axis", "short-axis", "short axis", "shortaxis", "sax")),
    ("four chamber", ("four_chamber", "four-chamber", "four chamber", "fourchamber", "4ch", "4_ch")),
    ("two chamber", ("two_chamber", "two-chamber", "two chamber", "2ch", "2_ch")),
    ("speech", ("speech", "tongue", "vocal", "velum", "speaking")),
)
PLANE_NAMES = tuple(name for name, _ in _PLANES)
"""Planes offered for a scan; others can be typed."""

_SUBJECT_PATTERN = re.compile(
    r"(?<![a-z0-9])((?:subject|sub|subj|volunteer|vol|patient|pat|case|s|p|v)[-_ ]?0*(\d+))(?![0-9])",
    re.IGNORECASE,
)


@dataclass(eq=False)
class SessionScan:
    """One raw file that is open.

    Attributes:
        path: the file.
        state: being read, ready, or unreadable (then `error` says why).
        summary: what the worker's `inspect` told (see `recon_backend.acquisition.Acquisition.summary`).
        subject: whose scan it is, in the user's words.
        plane: what is seen, in the user's words.
        error: why the file cannot be used, in one sentence.
        movies: movie files by method, made in this session.
        seconds: time of each step in seconds, by method.
        models: names of the models that were chosen instead of the default ones, by method.
        preview: the quick movie, once made.
        preview_error: why there is no preview.
        reconstruction: identifier of the job that is under way, or None.
    """

    path: Path
    state: ScanState = "reading"
    summary: dict[str, Any] = field(default_factory=dict)
    subject: str = ""
    plane: str = ""
    error: str = ""
    movies: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    preview: Path | None = None
    preview_error: str = ""
    preview_job: str | None = None
    reconstruction: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def sampling(self) -> str:
        """cartesian, radial or spiral; empty until known."""
        return str(self.summary.get("sampling", ""))

    @property
    def sha256(self) -> str:
        """SHA-256 of the file; empty until known."""
        return str(self.summary.get("source_sha256", ""))


class MethodShelf(QObject):
    """The reconstruction methods that the worker offers, asked for once.

    Args:
        jobs: asks the worker.
        parent: Qt owner.
    """

    changed = Signal()

    def __init__(self, jobs: JobManager, parent: QObject | None = None) -> None:
        """Start without methods."""
        super().__init__(parent)
        self._jobs = jobs
        self._methods: list[dict[str, Any]] = []
        self._job: str | None = None
        self.error = ""

    def request(self) -> None:
        """Ask the worker, unless the answer is here or under way."""
        if not self._methods and self._job is None:
            self._job = self._jobs.submit({"command": "methods"}, on_finished=self._answered)

    def names(self, sampling: str = "") -> list[str]:
        """Methods that can reconstruct a sampling (all methods if empty), in the worker's order."""
        return [
            str(method["name"])
            for method in self._methods
            if not sampling or sampling in (method.get("sampling") or (sampling,))
        ]

    def label(self, name: str) -> str:
        """What a method is called on the screen."""
        for method in self._methods:
            if method["name"] == name:
                return str(method.get("label") or name)
        return name.replace("_", " ")

    def models(self, name: str, sampling: str) -> list[dict[str, Any]]:
        """The models with which a network can reconstruct a sampling, the default one first."""
        for method in self._methods:
            if method["name"] == name:
                return list((method.get("models") or {}).get(sampling) or ())
        return []

    def caution(self, name: str, sampling: str, model: str = "") -> str:
        """What whoever looks at a movie of this method and sampling has to know; empty if nothing.

        Args:
            name: of the method.
            sampling: of the scan.
            model: name of the model; the default one if empty.
        """
        for method in self._methods:
            if method["name"] == name:
                found = (method.get("model") or {}).get(sampling) or {}
                for each in self.models(name, sampling):
                    found = each if each.get("name") == model else found
                return str(found.get("caution") or "")
        return ""

    def _answered(self, job: Job) -> None:
        self._job = None
        self.error = job.message
        self._methods = list(job.result.get("methods", []))
        self.changed.emit()


class SessionScans(QObject):
    """The list of open scans.

    Args:
        jobs: reads the files.
        parent: Qt owner.
    """

    added = Signal(object)
    changed = Signal(object)
    removed = Signal(object)

    def __init__(self, jobs: JobManager, parent: QObject | None = None) -> None:
        """Start empty."""
        super().__init__(parent)
        self._jobs = jobs
        self._scans: list[SessionScan] = []

    def __iter__(self) -> Iterator[SessionScan]:
        """All scans in the order of opening."""
        return iter(tuple(self._scans))

    def __len__(self) -> int:
        """How many scans are open."""
        return len(self._scans)

    def add_files(self, paths: Iterable[Path], *, subject: str = "", plane: str = "") -> list[SessionScan]:
        """Open files, each once; returns the new scans, which are still being read.

        A file that could not be read is read again: it may have been copied anew since.
        """
        known = {scan.path: scan for scan in self._scans}
        new = []
        for path in dict.fromkeys(Path(path).absolute() for path in paths):
            if path in known:
                self._read_again(known[path])
                continue
            scan = SessionScan(path, subject=subject, plane=plane)
            self._scans.append(scan)
            new.append(scan)
            self.added.emit(scan)
            self._inspect(scan)
        return new

    def remove(self, scan: SessionScan) -> None:
        """Close a scan; the file stays as it is."""
        if scan in self._scans:
            self._scans.remove(scan)
            if scan.preview_job is not None:
                self._jobs.cancel(scan.preview_job)
            self.removed.emit(scan)

    def set_subject(self, scan: SessionScan, subject: str) -> None:
        """Say whose scan it is."""
        scan.subject = subject.strip()
        self.changed.emit(scan)

    def set_plane(self, scan: SessionScan, plane: str) -> None:
        """Say what is seen."""
        scan.plane = plane.strip()
        self.changed.emit(scan)

    def request_preview(self, scan: SessionScan, out: Path) -> None:
        """Have a quick movie made into the file `out`, once; `changed` tells when it is there.

        After a failure none is tried until `forget_preview_error`.
        """
        if (
            scan.state != "ready"
            or scan.preview is not None
            or scan.preview_job is not None
            or scan.preview_error
        ):
            return
        scan.preview_job = self._jobs.submit(
            {"command": "preview", "path": scan.path, "out": out},
            label=scan.name,
            on_finished=partial(self._previewed, scan),
        )

    def forget_preview_error(self, scan: SessionScan) -> None:
        """Let a preview that failed be tried again: a drive may have been plugged in."""
        scan.preview_error = ""

    def by_sha256(self, sha256: str) -> SessionScan | None:
        """The open scan whose file has this SHA-256."""
        return next((scan for scan in self._scans if sha256 and scan.sha256 == sha256), None)

    def notify(self, scan: SessionScan) -> None:
        """Announce that a page has changed a scan's fields."""
        self.changed.emit(scan)

    def _inspect(self, scan: SessionScan) -> None:
        self._jobs.submit(
            {"command": "inspect", "path": scan.path},
            label=scan.name,
            on_finished=partial(self._inspected, scan),
        )

    def _read_again(self, scan: SessionScan) -> None:
        if scan.state == "unreadable":
            scan.state, scan.error = "reading", ""
            self.changed.emit(scan)
            self._inspect(scan)

    def _inspected(self, scan: SessionScan, job: Job) -> None:
        if job.state == "done":
            scan.summary = dict(job.result.get("summary", {}))
            scan.state = "ready"
            details = scan.summary.get("details") or {}
            words = " ".join(
                [scan.path.stem, *(str(value) for value in details.values() if isinstance(value, str))]
            )
            scan.subject = scan.subject or guess_subject(scan.path.stem)
            scan.plane = scan.plane or guess_plane(words)
        else:
            scan.state = "unreadable"
            scan.error = job.message or "Reading was cancelled."
        self.changed.emit(scan)

    def _previewed(self, scan: SessionScan, job: Job) -> None:
        scan.preview_job = None
        if job.state == "done":
            scan.preview = Path(job.result["path"])
        elif job.state == "failed":
            scan.preview_error = job.message
        self.changed.emit(scan)


def guess_subject(stem: str) -> str:
    """The subject that a file name seems to name ("S03_radial" → "S03"), else an empty string.

    The whole name is never taken: file names from a scanner may hold a patient's name.
    """
    match = _SUBJECT_PATTERN.search(stem)
    return match.group(1) if match else ""


def guess_plane(words: str) -> str:
    """The plane that a file name or protocol name seems to name, else an empty string."""
    lower = words.lower()
    return next((plane for plane, signs in _PLANES if any(sign in lower for sign in signs)), "")


def find_raw_files(paths: Sequence[Path]) -> list[Path]:
    """Expand folders to the raw data files in them; files that were named themselves are always kept.

    Movies, which are HDF5 files too, are left out of what a folder yields.

    Raises:
        OSError: if a path does not exist or a folder cannot be listed.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (
                file for file in path.rglob("*") if file.suffix.lower() in RAW_SUFFIXES and file.is_file()
            )
            found.extend(file for file in sorted(inside) if not is_movie(file))
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path} does not exist.")
    return found


def is_movie(path: Path) -> bool:
    """Whether a file is a movie and not raw data; an unreadable file is not (opening it will say why)."""
    try:
        with h5py.File(path, "r") as file:
            return "movie" in file
    except OSError:
        return False
