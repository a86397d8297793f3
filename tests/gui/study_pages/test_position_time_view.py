"""Position-time images: samples lie around their own time and place, in one grey scale."""

from __future__ import annotations

import numpy as np
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from app.widgets.position_time_view import PositionTimeView
from studies.yt_files import PositionTime

TIMES_S = np.array([0.1, 0.3, 0.5, 0.7])
POSITIONS_MM = np.array([0.0, 2.5, 5.0])
VALUES = np.array([[0.0, 50, 100, 150], [10, 60, 110, 160], [20, 70, 120, 170]])


def test_every_sample_is_painted_at_its_time_and_place(qtbot: QtBot) -> None:
    view = PositionTimeView()
    qtbot.addWidget(view)
    view.resize(500, 400)
    images = [
        PositionTime(POSITIONS_MM, TIMES_S, VALUES),
        PositionTime(POSITIONS_MM, TIMES_S, VALUES / 2 + 85),
    ]
    view.set_images(images, ["A", "B"])
    picture = view.grab().toImage()
    for index, image in enumerate(images):
        for row, position in enumerate(POSITIONS_MM):
            for frame, time_s in enumerate(TIMES_S):
                place = view.to_widget(index, time_s, position).toPoint()
                # Black is 0 and white is 170, the ends of both images together.
                wanted = image.values[row, frame] / 170 * 255
                assert abs(QColor(picture.pixel(place)).red() - wanted) <= 1
    for time_s in TIMES_S:
        assert abs(view.time_at(view.to_widget(1, time_s, 0.0).x()) - time_s) < 1e-9
    assert view.time_at(-50) == TIMES_S[0] and view.time_at(9999) == TIMES_S[-1]


def test_a_note_stands_where_there_is_nothing(qtbot: QtBot) -> None:
    view = PositionTimeView()
    qtbot.addWidget(view)
    view.resize(500, 400)
    blank = view.grab().toImage()
    view.set_images([], [], "Draw the edge line.")
    assert view.grab().toImage() != blank and view.images == []
