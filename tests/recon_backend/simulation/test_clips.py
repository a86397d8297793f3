"""Videos in: what is decoded, how much memory it takes, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from recon_backend.errors import FormatError
from recon_backend.simulation import clips, videos

av = pytest.importorskip("av")


def write_video(path: Path, frames: np.ndarray, codec: str = "ffv1") -> Path:
    """A lossless video of uint8 frames (frame, y, x, 3)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbered(count: int, height: int, width: int) -> np.ndarray:
    """Frames whose red channel is their number, over a gradient."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0] = np.arange(count)[:, None, None]
    frames[..., 1] = np.linspace(0, 255, width).astype(np.uint8)
    return frames


def test_frames_come_in_order_and_small(tmp_path: Path) -> None:
    """Short side 320 or less, at most 128 frames, order kept; a second call decodes nothing."""
    path = write_video(tmp_path / "clip.mkv", numbered(140, 36, 64))
    cached = clips.cached_clip(path, tmp_path / "cache")
    stored = np.load(cached, mmap_mode="r")
    assert stored.shape == (128, 36, 64, 3) and stored.dtype == np.uint8
    np.testing.assert_array_equal(stored[:, 5, 5, 0], np.arange(128))
    stamp = cached.stat().st_mtime_ns
    assert clips.cached_clip(path, tmp_path / "cache") == cached and cached.stat().st_mtime_ns == stamp
    large = write_video(tmp_path / "large.mkv", numbered(6, 480, 640))
    assert np.load(clips.cached_clip(large, tmp_path / "cache")).shape == (6, 320, 427, 3)


def test_the_published_reading_is_the_centre_of_fifty_frames(tmp_path: Path) -> None:
    """Frames 9…40, and the central 256 pixels of the resized frame."""
    frames = numbered(60, 72, 128)
    stored = np.load(
        clips.cached_clip(write_video(tmp_path / "c.mkv", frames), tmp_path / "cache", published=True)
    )
    assert stored.shape == (32, 256, 256, 3)
    np.testing.assert_array_equal(stored[:, 0, 0, 0], np.arange(9, 41))
    wanted = videos.centre_cut(videos.published_resize(frames[20])[None], 256)[0]
    np.testing.assert_array_equal(stored[11], wanted)


def test_a_clip_is_never_whole_in_memory(tmp_path: Path) -> None:
    """The arrays of a clip of 96 frames take less memory than eight of its frames would."""
    base = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    path = write_video(tmp_path / "long.mkv", np.stack([np.roll(base, 3 * t, 1) for t in range(96)]))
    clips.cached_clip(path, tmp_path / "warm")  # imports and tables
    tracemalloc.start()
    cached = clips.cached_clip(path, tmp_path / "cold")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.load(cached, mmap_mode="r").shape == (96, 120, 160, 3)
    assert peak < 8 * base.nbytes, f"{peak / base.nbytes:.1f} frames"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"not a video at all" * 50), "clip.mkv: the video cannot be decoded"),
        (lambda path: write_video(path, numbered(4, 32, 32)), "clip.mkv: too short: 4 frames"),
        (lambda path: write_video(path, np.zeros((9, 32, 32, 3), np.uint8)), "clip.mkv: every pixel"),
    ],
)
def test_refusals_name_the_file(tmp_path: Path, make: object, message: str) -> None:
    """Corrupt, too short, empty: a sentence, and nothing half-written stays behind."""
    path = tmp_path / "clip.mkv"
    make(path)  # type: ignore[operator]
    with pytest.raises(FormatError, match=message):
        clips.cached_clip(path, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*")) == [] if (tmp_path / "cache").exists() else True
