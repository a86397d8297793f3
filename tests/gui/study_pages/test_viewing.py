"""How a clip was looked at, on a clock that the test turns."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app.viewing import Stopwatch, Viewing, viewing_conditions
from app.widgets.display_check import CheckResult
from app.widgets.panel_row import PanelRow
from app.widgets.view_state import ViewState
from studies.events import canonical_json


class Time:
    """A monotonic time that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def passes(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_stopwatch_adds_up_its_runs() -> None:
    time = Time()
    watch = Stopwatch(time)
    time.passes(5)
    assert watch.seconds == 0
    watch.start()
    time.passes(2)
    watch.start()
    time.passes(1)
    assert watch.seconds == 3 and watch.running
    watch.stop()
    time.passes(10)
    watch.stop()
    watch.start()
    time.passes(0.5)
    assert watch.seconds == 3.5
    watch.reset()
    assert watch.seconds == 0 and not watch.running


@pytest.fixture
def row(qtbot: QtBot) -> PanelRow:
    made = PanelRow()
    qtbot.addWidget(made)
    made.set_clip(np.zeros((2, 4, 8, 8), np.uint8), "AB", np.arange(4) * 3600.0)
    return made


def test_only_what_happens_while_playing_counts(row: PanelRow) -> None:
    time = Time()
    viewing = Viewing(row, now_s=time)
    viewing.begin(0.25)
    viewing.resume()
    row.set_speed(2.0)
    row.set_every_frame(True)
    row.set_every_frame(False)
    time.passes(4)
    row.set_speed(0.5)
    row.clock.play()
    time.passes(3)
    row.set_speed(1.0)
    time.passes(2)
    row.clock.pause()
    time.passes(1)
    assert viewing.seconds == 10
    assert viewing.to_dict() == {
        "frames_shown": 0,
        "seconds_playing": 5.0,
        "speeds": [0.5, 1.0],
        "loops_per_panel": [0, 0],
        "every_frame": False,
        "ab_loop": False,
        "zoom": 1.0,
        "loading_s": 0.25,
    }
    canonical_json(viewing.to_dict())


def test_a_loop_and_every_frame_count_once_they_were_played(row: PanelRow) -> None:
    viewing = Viewing(row, now_s=Time())
    viewing.begin(0.0)
    row.clock.seek(1)
    row.set_a()
    row.clock.seek(2)
    row.set_b()
    row.clock.play()
    row.set_every_frame(True)
    row.clear_ab()
    row.set_every_frame(False)
    assert (viewing.to_dict()["ab_loop"], viewing.to_dict()["every_frame"]) == (True, True)
    row.clock.pause()
    viewing.begin(0.0)
    assert (viewing.to_dict()["ab_loop"], viewing.to_dict()["speeds"]) == (False, [])


def test_time_stands_while_another_page_is_in_front(row: PanelRow) -> None:
    time = Time()
    viewing = Viewing(row, now_s=time)
    viewing.begin(0.0)
    viewing.resume()
    time.passes(2)
    viewing.suspend()
    time.passes(50)
    viewing.resume()
    time.passes(1)
    assert viewing.seconds == 3


@pytest.mark.parametrize(("integer", "scaling"), [(True, "integer"), (False, "smooth")])
def test_the_conditions_name_the_screen_and_can_be_logged(qtbot: QtBot, integer: bool, scaling: str) -> None:
    page = QWidget()
    qtbot.addWidget(page)
    page.resize(300, 200)
    view = ViewState()
    view.set_integer_scaling(integer)
    conditions = viewing_conditions(page, view, CheckResult("skipped", (), 1.26))
    assert conditions["display_check"] == {"verdict": "skipped", "attempts": [], "seconds": 1.3}
    assert conditions["window_px"] == [300, 200]
    assert conditions["scaling"] == scaling
    assert {"screen_name", "resolution_px", "device_pixel_ratio", "refresh_rate_hz"} <= conditions.keys()
    assert "serial" not in canonical_json(conditions).casefold()
