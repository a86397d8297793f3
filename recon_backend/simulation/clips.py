"""Videos decoded frame by frame into small memory-mapped arrays; a clip is never whole in memory.

 Two readings of a clip: the first 128 frames with the short side at most 320 pixels, area averaged, from
which training draws windows and crops; and the published one, the centre of its first 50 frames, resized
without antialiasing (paper_spec §1.1). Memory while decoding is that of the decoder and of one frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recon_backend.errors import FormatError
from recon_backend.simulation.videos import centre_cut, published_resize
from recon_backend.storage import replacing

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
SHORT_SIDE = 320
MOST_FRAMES = 128
FEWEST_FRAMES = 5
PUBLISHED_FRAMES = 50
PUBLISHED_KEPT = (32, 256)
_DECODER_THREADS = 1

Frame = npt.NDArray[np.uint8]


def cached_clip(path: Path, cache: Path, *, published: bool = False) -> Path:
    """The clip as a memory-mappable uint8 array (frame, y, x, 3) in `cache`, decoded if it is not there yet.

    Args:
        path: a video file.
        cache: folder of decoded clips.
        published: the published reading instead of the larger one, see the module.

    Raises:
        FormatError: the video cannot be decoded, has fewer than five frames, or shows a single value.
    """
    reading = "published" if published else str(SHORT_SIDE)
    key = hashlib.sha256(f"{path.name}:{path.stat().st_size}:{reading}".encode()).hexdigest()[:16]
    target = cache / f"{path.stem}-{key}.npy"
    if not target.exists():
        frames = _published_frames(path) if published else islice(_small_frames(path), MOST_FRAMES)
        _save(path, frames, target)
    return target


def _save(path: Path, frames: Iterable[Frame], target: Path) -> None:
    """Write frames to a .npy file as they come; the count is put into its header at the end."""
    low, high, count = 255, 0, 0
    shape: tuple[int, ...] = ()
    with replacing(target) as temporary, temporary.open("wb") as stream:
        for frame in frames:
            if count == 0:
                shape = frame.shape
                _write_header(stream, (0, *shape))
            low, high, count = min(low, int(frame.min())), max(high, int(frame.max())), count + 1
            stream.write(np.ascontiguousarray(frame).data)
        if count < FEWEST_FRAMES:
            raise FormatError(path, f"too short: {count} frames, but at least {FEWEST_FRAMES} are needed.")
        if low == high:
            raise FormatError(path, f"every pixel of the clip has the value {low}; there is nothing to see.")
        stream.seek(0)
        _write_header(stream, (count, *shape))


def _write_header(stream: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401 - a binary stream
    # NumPy pads the header for the first axis to grow, so it has the same length for any count of frames.
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _decoded(path: Path) -> Iterator[Any]:
    """The frames of the first video stream as PyAV has them; errors name the file."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FormatError(path, "there is no video in the file.")
            stream = container.streams.video[0]
            # Each decoder thread keeps frames of its own: 12 MB each at 4K.
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = _DECODER_THREADS
            yield from container.decode(stream)
    except av.FFmpegError as error:
        raise FormatError(path, f"the video cannot be decoded ({error.strerror}).") from error


def _small_frames(path: Path) -> Iterator[Frame]:
    size: tuple[int, int] | None = None
    for frame in _decoded(path):
        if size is None:
            factor = min(1.0, SHORT_SIDE / min(frame.width, frame.height))
            size = round(frame.width * factor), round(frame.height * factor)
        yield frame.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()


def _published_frames(path: Path) -> Iterator[Frame]:
    """The central 32 of the first 50 frames, the central 256×256 pixels of each."""
    most, size = PUBLISHED_KEPT
    # The centre of a clip shorter than 50 frames is known when it has ended: only small cuts are kept.
    cuts = [
        centre_cut(published_resize(frame.to_ndarray(format="rgb24"), size)[None], size)[0]
        for frame in islice(_decoded(path), PUBLISHED_FRAMES)
    ]
    first = max(0, (len(cuts) - most) // 2)
    yield from cuts[first : first + most]
