"""Playing a scan live: images, figures, stopping, and what goes wrong."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.jobs import JobManager
from app.live_ring import LiveRing
from app.pages.reconstruct import ReconstructPage
from app.widgets.live_view import LiveView

WORKER = [sys.executable, str(Path(__file__).with_name("fake_live_worker.py"))]
LONG_MS = 20_000


@pytest.fixture
def jobs(qapp: QApplication) -> Iterator[JobManager]:
    manager = JobManager(WORKER)
    yield manager
    manager.shutdown()


@pytest.fixture
def view(qtbot: QtBot, jobs: JobManager) -> LiveView:
    built = LiveView(jobs)
    qtbot.addWidget(built)
    return built


def start(view: LiveView, folder: Path, name: str) -> None:
    view.start(folder / f"{name}.h5", folder / "live.ring", "gridded", "cpu", label=name, caution="Mind.")


def shown(view: LiveView) -> int:
    """The number of the image in the panel, 0 if there is none."""
    frames = view.panel.frames
    return 0 if frames is None else int(frames[0, 0, 0])


def test_images_and_figures_appear(qtbot: QtBot, view: LiveView, tmp_path: Path) -> None:
    start(view, tmp_path, "scan")
    assert view.running
    qtbot.waitUntil(lambda: shown(view) > 5, timeout=LONG_MS)
    assert view.panel.frames is not None
    assert view.panel.frames.shape == (1, 6, 9)
    assert np.ptp(view.panel.frames) == 0
    assert view.panel.view_state.image_size == (9, 6)
    assert view.panel.view_state.pixel_aspect == 2.0
    assert view.figures["latency"].text() == "12.3 ms"
    assert view.figures["late"].text() == "45.6 ms"
    assert int(view.figures["dropped"].text()) >= 5
    assert view.figures["rate"].text() == "10.0 / s"
    assert view.note.text() == "The first 8 frames are held back."
    assert view.caution.text() == "Mind."


@pytest.mark.parametrize("name", ["scan", "deaf"])
def test_stop_works_at_once(
    qtbot: QtBot, view: LiveView, jobs: JobManager, tmp_path: Path, name: str
) -> None:
    start(view, tmp_path, name)
    qtbot.waitUntil(lambda: shown(view) > 2, timeout=LONG_MS)
    changes: list[bool] = []
    view.running_changed.connect(changes.append)
    view.stop()
    assert not view.running
    assert changes == [False]
    last = shown(view)
    qtbot.wait(150)
    assert shown(view) == last
    # A worker that does not obey is replaced; nothing of the job stays in the list.
    qtbot.waitUntil(lambda: not jobs.jobs, timeout=LONG_MS)
    start(view, tmp_path, "scan")
    qtbot.waitUntil(lambda: view.figures["late"].text() == "45.6 ms", timeout=LONG_MS)


def test_a_scan_that_cannot_be_read_is_told(qtbot: QtBot, view: LiveView, tmp_path: Path) -> None:
    with qtbot.waitSignal(view.failed, timeout=LONG_MS) as failed:
        start(view, tmp_path, "bad")
    assert failed.args == ["bad: bad.h5: not raw data."]
    assert not view.running


def test_a_ring_file_that_is_none_is_told(qtbot: QtBot, view: LiveView, tmp_path: Path) -> None:
    with qtbot.waitSignal(view.failed, timeout=LONG_MS) as failed:
        start(view, tmp_path, "nonsense")
    assert "no ring file" in failed.args[0]
    assert not view.running


def test_images_that_were_written_over_are_passed_over(qtbot: QtBot, view: LiveView, tmp_path: Path) -> None:
    start(view, tmp_path, "torn")
    qtbot.waitUntil(lambda: int(view.figures["dropped"].text().strip("–") or 0) > 8, timeout=LONG_MS)
    assert shown(view) <= 3


def test_a_ring_is_read_as_described(tmp_path: Path) -> None:
    path = tmp_path / "a.ring"
    slot = 8 + 4 * 2 * 3
    slot += -slot % 64
    pixels = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    content = struct.pack("<8sIII", b"BCLIVE1\0", 2, 3, 2).ljust(64, b"\0")
    content += struct.pack("<Q", 3) + pixels.ljust(slot - 8, b"\0")
    content += struct.pack("<Q", 0) + pixels.ljust(slot - 8, b"\0")
    path.write_bytes(content)
    ring = LiveRing(path)
    image = ring.image(3)
    assert image is not None
    assert image.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert ring.image(1) is None  # image 3 has taken its slot
    assert ring.image(2) is None  # is being written
    ring.close()
    for damaged in (
        content[:-1],
        b"BCLIVE2" + content[7:],
        content[:40],
        content[:16] + b"\xff" * 4 + content[20:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="ring|shorter"):
            LiveRing(path)


def test_the_page_plays_the_current_scan(
    qtbot: QtBot, qapp: QApplication, settings: QSettings, raw_file: Callable[..., Path]
) -> None:
    context = AppContext(settings=settings, worker_command=WORKER)
    page = ReconstructPage(context)
    qtbot.addWidget(page)
    try:
        page.show()
        assert not page.live_button.isEnabled()
        context.methods.request()
        first, second = context.scans.add_files([raw_file("S01_sax_radial"), raw_file("S02_sax_radial")])
        page.scan_list.setCurrentRow(0)
        qtbot.waitUntil(lambda: page.live_method_box.count() == 3, timeout=LONG_MS)
        box = page.live_method_box
        assert [box.itemData(row) for row in range(3)] == ["gridded", "dl_natural", "dl_cardiac"]
        box.setCurrentIndex(2)
        page.live_button.click()
        qtbot.waitUntil(lambda: shown(page.live) > 1, timeout=LONG_MS)
        assert page.live.isVisible()
        assert not page.row.isVisible()
        assert page.live_button.text().strip() == "Stop"
        assert "dl_cardiac" in page.live.caution.text()
        page.live_button.click()
        assert page.row.isVisible()
        assert page.live_button.text().strip() == "Play live"
        # Another scan, or another page, ends it too.
        page.live_button.click()
        qtbot.waitUntil(lambda: second.state == "ready", timeout=LONG_MS)
        page.scan_list.setCurrentRow(1)
        assert not page.live.running
        page.live_button.click()
        assert page.live.running
        page.on_hidden()
        assert not page.live.running
        assert first.state == "ready"
    finally:
        context.close()
        page.close()
