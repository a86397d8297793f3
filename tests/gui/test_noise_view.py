"""Noise on the Reconstruct page: asked for, drawn on, read off and saved, with a fake worker's replicas."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot
from scipy import stats

from app.context import AppContext
from app.noise_maps import CSV_COLUMNS, load_noise
from app.pages.reconstruct import ReconstructPage
from app.session import SessionScan
from app.widgets.noise_view import NoiseView
from app.widgets.scale_bar import round_ticks
from studies.replica_files import read_replicas
from studies.shapes import Ellipse
from tests.gui.fake_worker import FRAMES, SIZE, write_replicas

METHODS = ("compressed_sensing", "dl_natural", "dl_cardiac")
PATIENCE_MS = 15_000
COUNT = 5


@pytest.fixture
def page(context: AppContext, qtbot: QtBot) -> Iterator[ReconstructPage]:
    context.settings.setValue("noise/replicas", COUNT)
    built = ReconstructPage(context)
    qtbot.addWidget(built)
    built.resize(1100, 700)
    built.show()
    built.on_shown()
    qtbot.waitUntil(lambda: bool(built.method_boxes), timeout=PATIENCE_MS)
    yield built
    built.on_hidden()


def opened(context: AppContext, qtbot: QtBot, *paths: Path) -> list[SessionScan]:
    scans = context.scans.add_files(list(paths))
    qtbot.waitUntil(lambda: all(scan.state == "ready" for scan in scans), timeout=PATIENCE_MS)
    return scans


def choose(page: ReconstructPage, qtbot: QtBot, scan: SessionScan) -> None:
    """Click on a scan of the list."""
    place = page.scan_list.visualItemRect(page._items[scan]).center()
    qtbot.mouseClick(page.scan_list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert page._current_scan() is scan
    assert len(page.scan_list.selectedItems()) == 1


def measured(noise: NoiseView, qtbot: QtBot) -> None:
    before = noise.maps
    qtbot.mouseClick(noise.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: noise.maps is not None and noise.maps is not before, timeout=PATIENCE_MS)


def drag(noise: NoiseView, qtbot: QtBot, first: tuple[float, float], last: tuple[float, float]) -> None:
    """Draw with the mouse on the first panel, from one image point to another."""
    panel = noise.row.panels[0]
    start, end = (panel.image_to_widget(*point).toPoint() for point in (first, last))
    qtbot.mousePress(panel, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(panel, QPoint((start.x() + end.x()) // 2, (start.y() + end.y()) // 2))
    qtbot.mouseMove(panel, end)
    qtbot.mouseRelease(panel, Qt.MouseButton.LeftButton, pos=end)


def region_of(noise: NoiseView) -> Ellipse:
    shape = noise.board.shapes.drawing.signal
    assert isinstance(shape, Ellipse)
    return shape


def test_from_the_button_to_a_table_of_numbers(
    page: ReconstructPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (scan,) = opened(context, qtbot, raw_file("S01_radial"))
    page._start()
    qtbot.waitUntil(lambda: len(scan.movies) == len(METHODS), timeout=PATIENCE_MS)
    qtbot.mouseClick(page.noise_button, Qt.MouseButton.LeftButton)
    noise = page.noise
    qtbot.waitUntil(lambda: noise.row.panels[0].frames is not None, timeout=PATIENCE_MS)
    assert page.noise_shown
    assert not noise.map_buttons["snr"].isEnabled()
    assert not noise.save_button.isEnabled()
    drag(noise, qtbot, (20.0, 20.0), (28.0, 26.0))
    assert noise.board.armed is None  # one region is all there is to draw
    measured(noise, qtbot)
    # The job was one of the list, with the region, and with what was chosen on the page.
    row = page.job_list.rows[-1]
    assert (row.job.label, row.job.command, row.job.state) == ("S01_radial, noise", "replicas", "done")
    assert row.job.request["methods"] == list(METHODS)
    assert row.job.request["count"] == COUNT
    mask = region_of(noise).mask((SIZE, SIZE))
    with np.load(row.job.request["regions"]) as masks:
        assert np.array_equal(masks["signal"], mask)
    # It turns to the SNR; every number is that of all replicas' pixels.
    assert noise.map_buttons["snr"].isChecked()
    assert noise.scale_bar.isVisible()
    noise.row.clock.pause()
    noise.row.clock.seek(3)
    for method, line in zip(METHODS, noise.lines, strict=True):
        file = read_replicas(Path(row.job.result["files"][method]))
        frames = slice(4, None) if method != "dl_cardiac" else slice(None)
        region = file.regions["signal"]
        values = region.values[:, frames].astype(np.float64)
        whole = 20 * np.log10(region.signal[frames].mean() / np.sqrt(values.var(axis=0, ddof=1).mean()))
        single = 20 * np.log10(
            region.signal[frames][3].mean() / np.sqrt(values[:, 3].var(axis=0, ddof=1).mean())
        )
        half = jackknife_half_width(values, region.signal[frames])
        assert line.rows[0][:3] == (
            "All frames", f"{whole:.1f} dB", f"{whole - half:.1f} to {whole + half:.1f}",
        )  # fmt: skip
        assert line.rows[1][:2] == ("Frame", f"{single:.1f} dB")
    target = tmp_path / "numbers"
    monkeypatch.setattr(context.dialogs, "save_file", lambda *_arguments: target)
    with qtbot.waitSignal(context.message, timeout=PATIENCE_MS):
        qtbot.mouseClick(noise.save_button, Qt.MouseButton.LeftButton)
    with (tmp_path / "numbers.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == CSV_COLUMNS
    assert len(table) == len(METHODS) * (1 + FRAMES - 4)
    assert {int(line["pixels"]) for line in table} == {int(mask.sum())}
    first = [line for line in table if line["method"] == METHODS[0]]
    assert [line["frame"] for line in first] == ["all", *map(str, range(1, FRAMES - 3))]
    file = read_replicas(Path(row.job.result["files"][METHODS[0]]))
    assert float(first[1]["noise_sd"]) == pytest.approx(np.sqrt((file.sd[4][mask] ** 2).mean()), rel=1e-5)
    assert float(first[1]["time_s"]) == pytest.approx(0.16)
    assert float(first[0]["low_db"]) < float(first[0]["snr_db"]) < float(first[0]["high_db"])
    # Another region: its SNR at once, its interval after another measurement of the same noise.
    drag_keys(page, qtbot)
    whole = float(noise.lines[0].rows[0][1].split()[0])
    assert noise.lines[0].rows[0][2] == ""
    assert "Measure again" in noise.note.text()
    measured(noise, qtbot)
    assert float(noise.lines[0].rows[0][1].split()[0]) == whole
    assert " to " in noise.lines[0].rows[0][2]
    # And back to the movies.
    qtbot.mouseClick(page.noise_button, Qt.MouseButton.LeftButton)
    assert page.row.isVisible()


def drag_keys(page: ReconstructPage, qtbot: QtBot) -> None:
    """Move the region by the keyboard."""
    before = region_of(page.noise)
    qtbot.keyClick(page, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(page, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    after = region_of(page.noise)
    assert after.centre_xy[0] == pytest.approx(before.centre_xy[0] + 1)
    assert after.semi_axes[1] > before.semi_axes[1]


def jackknife_half_width(values: np.ndarray, signal: np.ndarray) -> float:
    """Half of the 95 % interval of the pooled SNR: each replica left out, one after the other."""
    count = len(values)
    left_out = np.array(
        [
            20 * np.log10(signal.mean() / np.sqrt(np.delete(values, one, 0).var(axis=0, ddof=1).mean()))
            for one in range(count)
        ]
    )
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    return float(stats.t.ppf(0.975, count - 1) * error)


def test_maps_share_frames_level_and_scale(tmp_path: Path) -> None:
    request = {"seed": 1, "count": 6}
    files = {name: tmp_path / f"{name}.h5" for name in ("one", "two", "late")}
    for (name, path), method, number in zip(
        files.items(), ("gridded", "gridded", "dl_cardiac"), (0, 1, 0), strict=True
    ):
        write_replicas(path, method, number, request)
        if name == "two":  # of another scale, which changes nothing of what is compared
            with h5py.File(path, "r+") as file:
                for image in ("signal", "mean", "sd"):
                    file[image][...] = file[image][()] * 7
    alone = read_replicas(files["one"])
    maps = load_noise(files)
    assert maps.noise.shape == maps.snr_db.shape == (3, FRAMES - 4, SIZE, SIZE)
    assert maps.frame_times_s[0] == pytest.approx(0.16)
    assert np.array_equal(maps.methods[0].sd, alone.sd[4:])
    np.testing.assert_allclose(maps.snr_db[0], alone.snr_db[4:], rtol=1e-5)
    assert np.median(maps.noise[1]) / np.median(maps.noise[0]) == pytest.approx(2.0, rel=0.05)
    everywhere = np.ones((SIZE, SIZE), bool)
    for one, mean_noise, mean_snr in zip(maps.methods, maps.mean_noise, maps.mean_snr_db, strict=True):
        numbers = one.over_frames(everywhere)
        assert numbers.noise == pytest.approx(np.sqrt((one.sd.astype(float) ** 2).mean()), rel=1e-6)
        assert numbers.low_db is None
        np.testing.assert_allclose(
            mean_noise, np.sqrt((one.sd.astype(float) ** 2).mean(axis=0)) * one.percent, rtol=1e-5
        )
        np.testing.assert_allclose(
            10 ** (mean_snr / 20) * mean_noise / one.percent, one.signal.mean(axis=0), rtol=1e-4
        )
    # 0.5 % of the pixels are brighter than the scale's white.
    assert (maps.noise > maps.noise_limit).mean() == pytest.approx(0.005, abs=0.003)


def test_one_scale_for_all_and_the_place_is_kept(
    page: ReconstructPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    (scan,) = opened(context, qtbot, raw_file("S02_radial"))
    assert not scan.movies
    qtbot.mouseClick(page.noise_button, Qt.MouseButton.LeftButton)
    noise = page.noise
    measured(noise, qtbot)  # a scan that was never reconstructed
    maps = noise.maps
    assert maps is not None
    noise.row.clock.pause()
    noise.row.clock.seek(5)
    view = noise.row.view_state
    view.set_view(20.0, 22.0, 3.0)
    qtbot.mouseClick(noise.map_buttons["noise"], Qt.MouseButton.LeftButton)
    assert (view.level - view.window / 2, view.level + view.window / 2) == pytest.approx(
        (0, maps.noise_limit)
    )
    assert (view.centre, view.zoom, noise.row.clock.frame) == ((20.0, 22.0), 3.0, 5)
    assert noise.row.panels[1].frames is not None
    assert np.array_equal(noise.row.panels[1].frames, maps.noise[1])
    noise.mean_box.click()
    assert all(np.array_equal(frame, maps.mean_noise[1]) for frame in noise.row.panels[1].frames)
    # The numbers of the scale follow the levels.
    before = noise.scale_bar.ticks
    view.set_levels(view.window / 4, view.level)
    assert noise.scale_bar.ticks != before
    assert all(abs(tick - view.level) <= view.window / 2 * 1.001 for tick in noise.scale_bar.ticks)


def test_a_failure_is_told_and_a_running_job_can_be_cancelled(
    page: ReconstructPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    silent, slow = opened(context, qtbot, raw_file("S03_silent"), raw_file("S04_slow"))
    choose(page, qtbot, silent)
    qtbot.mouseClick(page.noise_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(page.noise.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "no noise scan" in page.noise.note.text(), timeout=PATIENCE_MS)
    assert page.noise.note.property("role") == "error"
    choose(page, qtbot, slow)
    assert "no noise scan" not in page.noise.note.text()
    qtbot.mouseClick(page.noise.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Measuring" in page.noise.note.text(), timeout=PATIENCE_MS)
    job = page.job_list.rows[-1].job
    qtbot.waitUntil(lambda: bool(job.result.get("files")), timeout=PATIENCE_MS)
    page.job_list.rows[-1].end_button.click()
    qtbot.waitUntil(lambda: job.state == "cancelled", timeout=PATIENCE_MS)
    assert "Measuring" not in page.noise.note.text()
    # What was ready by then is shown.
    qtbot.waitUntil(lambda: page.noise.maps is not None, timeout=PATIENCE_MS)
    assert page.noise.maps is not None
    assert [one.method for one in page.noise.maps.methods] == list(job.result["files"])
    assert len(job.result["files"]) < len(METHODS)


def test_each_scan_keeps_its_region(
    page: ReconstructPage, context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    first, second = opened(context, qtbot, raw_file("S05_radial"), raw_file("S06_spiral"))
    page.scan_list.selectAll()
    qtbot.mouseClick(page.noise_button, Qt.MouseButton.LeftButton)
    noise = page.noise
    assert noise.start_button.text() == "Measure 2 scans"
    measured(noise, qtbot)
    drag(noise, qtbot, (10.0, 10.0), (18.0, 18.0))
    drawn = region_of(noise)
    qtbot.waitUntil(lambda: len(noise._known_of(second).files) == len(METHODS), timeout=PATIENCE_MS)
    other = second if noise._scan is first else first
    shown = noise._scan
    assert shown is not None
    choose(page, qtbot, other)
    qtbot.waitUntil(lambda: noise.maps is not None, timeout=PATIENCE_MS)
    assert noise.board.shapes.drawing.signal is None
    choose(page, qtbot, shown)
    qtbot.waitUntil(lambda: noise.maps is not None, timeout=PATIENCE_MS)
    assert region_of(noise) == drawn
    qtbot.keyClick(page, Qt.Key.Key_Delete)
    assert noise.board.shapes.drawing.signal is None
    assert noise.lines[0].rows == ()
    qtbot.keyClick(page, Qt.Key.Key_N)
    assert region_of(noise).centre_xy == pytest.approx(noise.row.view_state.centre)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 6.2, [0, 2, 4, 6]),
        (0.0, 40.0, [0, 10, 20, 30, 40]),
        (-0.25, 1.3, [0, 0.5, 1]),
        (1.0, 1.0, []),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(expected)
