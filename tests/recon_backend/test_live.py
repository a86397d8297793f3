"""The live worker: the ring file by its description, and the real process from request to cancel."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon_backend.errors import Cancelled
from recon_backend.formats import open_acquisition
from recon_backend.live import RingWriter, play_live
from recon_backend.streaming import StreamSettings, stream

ROOT = Path(__file__).resolve().parents[2]


def image_at(ring: Path, number: int) -> np.ndarray:
    content = ring.read_bytes()
    magic, height, width, slots = struct.unpack_from("<8sIII", content)
    assert magic == b"BCLIVE1\0"
    size = -(-(8 + 4 * height * width) // 64) * 64
    assert len(content) == 64 + slots * size
    start = 64 + (number - 1) % slots * size
    assert struct.unpack_from("<Q", content, start) == (number,)
    return np.frombuffer(content, "<f4", height * width, start + 8).reshape(height, width)


def test_images_lie_where_the_description_says(tmp_path: Path) -> None:
    ring = tmp_path / "a.ring"
    writer = RingWriter(ring, (5, 7), slots=3)
    images = np.random.default_rng(0).random((8, 5, 7), np.float32)
    for number, image in enumerate(images, start=1):
        assert writer.write(image) == number
        for back in range(min(3, number)):
            assert np.array_equal(image_at(ring, number - back), images[number - 1 - back])
    with pytest.raises(ValueError, match=r"\(7, 5\)"):
        writer.write(images[0].T)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.ring"]


@pytest.fixture
def raw(scan: Any, tmp_path: Path) -> Path:
    path: Path = scan(frames=6, readouts=7).write(tmp_path / "scan.h5")
    return path


def test_a_scan_is_played_over_and_over(raw: Path, tmp_path: Path) -> None:
    settings = StreamSettings(window=1, calibration_frames=6, late_frames=1000)
    expected = [frame.image for frame in stream(open_acquisition(raw), settings)]
    told: list[dict[str, Any]] = []

    def emit(event: dict[str, Any]) -> None:
        json.dumps(event, allow_nan=False)
        told.append(event)
        right = expected[event["index"] % 6]
        np.testing.assert_allclose(
            image_at(tmp_path / "live.ring", event["number"]), right, atol=1e-4 * float(right.max())
        )

    def progress(_phase: str, _fraction: float) -> None:
        if len(told) == 15:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        play_live(raw, tmp_path / "live.ring", settings, progress=progress, emit=emit)
    assert [event["number"] for event in told] == list(range(1, 16))
    indices = [event["index"] for event in told]
    assert indices == sorted(set(indices))
    assert told[0]["held"]
    assert "held back" in told[0]["note"]
    assert "note" not in told[1]
    last = told[-1]
    assert last["time_s"] == pytest.approx(last["index"] * 0.021)
    assert last["p95_s"] >= last["latency_s"] > 0 or not last["held"]


def test_the_worker_plays_until_it_is_cancelled(raw: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "recon_backend.worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def send(**request: Any) -> None:  # noqa: ANN401
            process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]

        ring = str(tmp_path / "live.ring")
        send(id=1, command="live", path=str(raw), ring=ring, method="gridded")
        frames = 0
        events: list[str] = []
        for line in process.stdout:
            event = json.loads(line)
            events.append(event["event"])
            if event["event"] == "frame":
                frames += 1
                assert event["ring"] == ring
                if frames == 5:
                    send(command="cancel", id=1)
            if event["event"] in ("cancelled", "result", "error"):
                break
        assert events[-1] == "cancelled"
        send(id=2, command="live", path=str(raw), ring=ring, method="compressed_sensing")
        send(id=3, command="live", path=str(raw), ring=ring)
        endings = [json.loads(line) for line in [next(process.stdout) for _ in range(3)]]
        messages = [event["message"] for event in endings if event["event"] == "error"]
        assert any("whole series" in message for message in messages)
        send(command="quit")
    assert process.returncode == 0
