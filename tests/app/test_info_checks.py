"""`blindcine info` on radial scans: the delays it measured, and a warning for angles that cannot be right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from recon_backend import formats
from recon_backend.acquisition import Acquisition
from recon_backend.fourier import NonuniformFourier
from recon_backend.sampling.radial import TINY_GOLDEN_ANGLE, radial_trajectory

MATRIX, FRAMES = 48, 24


def scan(claimed_deg: float) -> Acquisition:
    """Acquired with 23.628° and half a sample late; the trajectory claims another angle."""
    y, x = np.mgrid[-1 : 1 : MATRIX * 1j, -1 : 1 : MATRIX * 1j]
    image = ((x - 0.1) ** 2 + (y + 0.2) ** 2 < 0.3) + 0.5 * ((x + 0.3) ** 2 + 2 * (y - 0.2) ** 2 < 0.1)
    images = np.stack([image * np.exp(-((x - a) ** 2)) for a in (-1, 1)]).astype(np.complex64)
    true = radial_trajectory(FRAMES, 13, 2 * MATRIX, angle=TINY_GOLDEN_ANGLE)
    late = true + 0.5 * (true[:, :, 1:2] - true[:, :, :1])
    fourier = NonuniformFourier(late.astype(np.float32), (MATRIX, MATRIX), tolerance=1e-5)
    return Acquisition(
        sampling="radial",
        kspace=fourier.forward(np.repeat(images[:, None], FRAMES, axis=1)),
        matrix=(MATRIX, MATRIX),
        field_of_view_mm=(300.0, 300.0),
        frame_times_s=0.04 * np.arange(FRAMES, dtype=np.float64),
        trajectory=radial_trajectory(FRAMES, 13, 2 * MATRIX, angle=np.deg2rad(claimed_deg)),
        name="scan",
    )


@pytest.mark.parametrize("claimed_deg", [23.8, float(np.rad2deg(TINY_GOLDEN_ANGLE))])
def test_info_checks_the_trajectory(
    claimed_deg: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(formats, "open_acquisition", lambda _path, **_options: scan(claimed_deg))
    path = tmp_path / "scan.h5"
    path.touch()
    assert main(["info", str(path), "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    if claimed_deg == 23.8:
        assert "scan.h5: warning: the trajectory turns by 23.800°" in printed.err
        assert len(found["warnings"]) == 1 and found["gradient_delays_samples"] is None
    else:
        assert printed.err == "" and found["warnings"] == []
        assert found["gradient_delays_samples"]["s_xx"] == pytest.approx(0.5, abs=0.03)
    assert main(["info", str(path)]) == 0
    assert ("gradient delays" in capsys.readouterr().out) is (claimed_deg != 23.8)
