"""What the window needs to start, and what it must never load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QColor

from app import theme
from app.launch import display_available, run_window

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", theme.icon_names())
def test_every_icon_draws_something_within_its_square(qapp: object, name: str) -> None:
    image = theme.pixmap(name, "#ffffff", 24, 2.0).toImage()
    assert image.width() == 48
    inked = [(x, y) for x in range(48) for y in range(48) if QColor.fromRgba(image.pixel(x, y)).alpha() > 0]
    assert len(inked) > 40
    assert all(0 < x < 47 and 0 < y < 47 for x, y in inked)


def test_window_loads_neither_tensorflow_nor_the_reconstruction() -> None:
    code = (
        "import sys, app.launch; "
        "roots = {name.partition('.')[0] for name in sys.modules}; "
        "sys.exit(', '.join(roots & {'tensorflow', 'keras', 'recon_backend'}) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_display_is_an_error_and_not_an_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not display_available()
    with pytest.raises(RuntimeError, match="no display"):
        run_window()
    monkeypatch.setenv("DISPLAY", ":0")
    assert display_available()
