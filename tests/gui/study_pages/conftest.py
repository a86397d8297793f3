"""A small locked study from synthetic movies, and a context without a reconstruction worker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PySide6.QtCore import QObject, QSettings
from PySide6.QtWidgets import QWidget

from app.context import AppContext
from studies.study import Study

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
READERS = ("Reader One", "Reader Two")
PASSPHRASE = "a long enough passphrase"
CLIPS = 3
FRAMES, ROWS, COLUMNS = 5, 24, 32
FRAME_TIME_S = 0.01


def _movie(clip: int, arm: int) -> np.ndarray:
    """A bright, beating disc on a noisy background; arms differ in noise and blur of the border."""
    generator = np.random.default_rng([clip, arm])
    y, x = np.mgrid[:ROWS, :COLUMNS]
    frames = []
    for frame in range(FRAMES):
        distance = np.hypot(y - 12, x - 14) - 6 - np.sin(frame)
        disc = 1 / (1 + np.exp(distance / (0.4 + 0.4 * arm)))
        frames.append(disc + np.abs(generator.normal(0, 0.01 * (arm + 1), (ROWS, COLUMNS))))
    return np.array(frames, dtype=np.float32)


def _write_movie(path: Path, frames: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=frames)
        file.attrs["format"] = "blindcine-movie-1"
        file.attrs["pixel_spacing_mm"] = np.array([1.5, 1.5])
        file.attrs["frame_times_s"] = np.arange(len(frames)) * FRAME_TIME_S
        file.attrs["provenance"] = json.dumps({"method": path.stem})


@pytest.fixture(scope="session")
def study_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locked study; sealing its key is slow, so tests work on copies."""
    folder = tmp_path_factory.mktemp("template")
    study = Study.create(folder / "study", name="November study", arms=ARMS, seed=1)
    for clip in range(CLIPS):
        raw = folder / f"scan{clip}"
        scan_id = study.import_scan(
            raw,
            raw_sha256=hashlib.sha256(raw.name.encode()).hexdigest(),
            subject=f"S{clip + 1}",
            plane="SAX",
            sampling="radial",
        )
        paths = {}
        for number, arm in enumerate(ARMS):
            paths[arm] = folder / f"{clip}_{arm}.h5"
            _write_movie(paths[arm], _movie(clip, number))
        study.attach_movies(scan_id, paths)
    study.lock(READERS, PASSPHRASE)
    return folder / "study"


@pytest.fixture
def study_folder(study_template: Path, tmp_path: Path) -> Path:
    """A copy of the locked study."""
    return Path(shutil.copytree(study_template, tmp_path / "study"))


@pytest.fixture
def context(qapp: QObject, tmp_path: Path, study_folder: Path) -> Iterator[AppContext]:
    """A context with the study open and its own settings; the worker command only waits to be closed."""
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    made = AppContext(
        settings=settings, worker_command=[sys.executable, "-c", "import sys; sys.stdin.read()"]
    )
    made.open_study(study_folder)
    yield made
    made.close()


def _texts_of(widget: QObject) -> Iterator[str]:
    yield type(widget).__name__
    yield widget.objectName()
    for name in (bytes(each.data()).decode() for each in widget.dynamicPropertyNames()):
        yield name
        # Qt keeps values of its own in properties whose types Python does not know.
        with contextlib.suppress(RuntimeError):
            yield str(widget.property(name))
    for getter in (
        "text",
        "toolTip",
        "statusTip",
        "whatsThis",
        "windowTitle",
        "accessibleName",
        "accessibleDescription",
        "placeholderText",
        "title",
        "label",
        "currentText",
        "styleSheet",
    ):
        value = getattr(widget, getter, None)
        try:
            text = value() if callable(value) else value
        except TypeError:
            continue
        if isinstance(text, str):
            yield text
    count = getattr(widget, "count", None)
    item_text = getattr(widget, "itemText", None)
    if callable(count) and callable(item_text):
        yield from (item_text(index) for index in range(count()))
    item = getattr(widget, "item", None)
    if callable(count) and callable(item):
        yield from (item(index).text() for index in range(count()))


@pytest.fixture
def all_texts() -> Callable[[QWidget], list[str]]:
    """Every text that a widget and its descendants (shown or not) carry, tool tips and names included."""

    def collect(root: QWidget) -> list[str]:
        texts: list[str] = []
        for widget in (root, *root.findChildren(QObject)):
            texts.extend(text for text in _texts_of(widget) if text)
        return texts

    return collect


@pytest.fixture
def forbidden_words() -> tuple[str, ...]:
    """What would tell a reader which method made a movie, in lower case."""
    return (
        "compressed",
        "sensing",
        "dl_",
        "natural",
        "cardiac",
        "gridded",
        "deep",
        "network",
        "learn",
        "varnet",
        "unet",
    )
