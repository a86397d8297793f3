"""Run with QT_SCALE_FACTOR: exits with 0 if every image pixel of a `PanelRow` is a block of screen pixels.

A program of its own, because the device pixel ratio is settled when Qt starts. Panels begin between two
pixels of the screen here. Prints the ratio and the screen pixels per image pixel.
"""

from __future__ import annotations

import sys

import numpy as np
from PySide6.QtCore import QPoint
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget

from app.widgets.panel_row import PanelRow

application = QApplication(sys.argv)
window = QWidget()
window.resize(803, 420)
row = PanelRow(parent=window)
row.setGeometry(3, 1, 797, 417)
row.set_profiles_visible(False)
movies = np.random.default_rng(3).integers(1, 255, (3, 2, 30, 41), dtype=np.uint8)
row.set_clip(movies, ["", "", ""], np.arange(2) * 0.1)
window.show()
application.processEvents()
ratio = window.devicePixelRatioF()
picture = window.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
pixels = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), picture.bytesPerLine())
across, down = row.device_pixels_per_pixel
assert across == down == int(across), (across, down)
block = int(across)
for panel, movie in zip(row.panels, movies, strict=True):
    corner = panel.mapTo(window, QPoint(0, 0))
    image = panel.image_rectangle()
    left, top = (corner.x() + image.left()) * ratio, (corner.y() + image.top()) * ratio
    expected = np.kron(movie[0], np.ones((block, block), np.uint8))
    found = [
        (x, y)
        for x in (int(left), int(left) + 1)
        for y in (int(top), int(top) + 1)
        if np.array_equal(pixels[y : y + expected.shape[0], x : x + expected.shape[1]], expected)
    ]
    assert found, f"panel at {corner}, image at {left}, {top}"
sys.stdout.write(f"{ratio} {block}\n")
