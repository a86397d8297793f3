"""`blindcine stream` and what `blindcine serve` refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from recon_backend.formats import open_acquisition
from recon_backend.movie import Movie
from recon_backend.simulation.phantoms import Phantom
from recon_backend.simulation.scanner import simulate_scan
from recon_backend.streaming import StreamSettings, stream


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "heart.h5"
    simulate_scan(
        path,
        Phantom("short_axis"),
        sampling="cartesian",
        frames=20,
        matrix=48,
        coils=2,
        tr_s=2e-3,
        moments_per_frame=1,
    )
    return path


def test_every_frame_is_shown_saved_and_counted(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    arguments = ["--pace", "fast", "--window", "3", "--calibration", "5"]
    assert main(["stream", str(raw), *arguments, "--out", str(tmp_path), "--json", str(report)]) == 0
    output, notes = capsys.readouterr()
    assert "20 of 20 frames (5 of them held back at first)" in output
    assert "latency p95" in output
    assert "last 3 frames" in notes
    saved = Movie.load(tmp_path / "heart_gridded_stream.h5")
    frames = list(stream(open_acquisition(raw), StreamSettings(window=3, calibration_frames=5)))
    assert np.array_equal(saved.frames, np.stack([frame.image for frame in frames]))
    assert saved.provenance["parameters"]["window"] == 3
    record = json.loads(report.read_text())
    assert (record["shown"], record["held"], record["dropped"], record["frames"]) == (20, 5, 0, 20)
    assert [image["index"] for image in record["images"]] == list(range(20))
    counted = sorted(image["latency_s"] for image in record["images"] if not image["held"])
    assert record["latency_s"]["max"] == counted[-1]
    assert record["latency_s"]["p50"] == counted[7]


def test_real_pace_accounts_for_every_frame(raw: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert main(["stream", str(raw), "--calibration", "4", "--json", str(report)]) == 0
    record = json.loads(report.read_text())
    first = record["images"][0]["index"]
    indices = [image["index"] for image in record["images"]]
    missing = set(range(first, indices[-1] + 1)) - set(indices)
    assert len(missing) == record["dropped"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "compressed_sensing"], "whole series"),
        (["--method", "magic"], "method is 'magic'"),
        (["--window", "0"], "window is 0"),
    ],
)
@pytest.mark.parametrize("command", ["stream", "serve"])
def test_what_cannot_be_done_is_a_sentence(
    raw: Path, arguments: list[str], message: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = [str(raw)] if command == "stream" else ["--port", "0"]
    assert main([command, *file, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_address_of_another_computer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "192.0.2.1"]) == 2
    assert "cannot listen on 192.0.2.1 port 9002" in capsys.readouterr().err
