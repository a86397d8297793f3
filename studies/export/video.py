"""Pictures in time as MP4 (H.264) and GIF, each shown exactly when its frame was on the clock of the scan.

A picture is shown from its start to the next one's; starts are in seconds and need not be equally spaced.
MP4 holds them to 1/90000 s. GIF knows hundredths of a second only, and players slow down what is shorter than
2 of them: starts are rounded on the common clock, so that errors never add up, and a picture that would be
shown for less than 0.02 s is left out.

Luma is 16 + 219 g / 255 for the grey value g (ITU-R BT.601/709 limited range, which every player knows);
colour planes are constant. The sides of H.264 pictures are even: a black row or column is added.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.errors import StudyError

Picture = NDArray[np.uint8]
Progress = Callable[[str, float], None]

MP4_TICKS_PER_S = 90_000
MP4_QUALITY = 10
"""x264's constant rate factor: 0 is lossless, 18 looks so; 10 keeps the grey values of noise."""
GIF_LEAST_DELAY = 2
"""Hundredths of a second that players show a picture for at least."""
LARGEST_SIDE = 8192


def frame_edges_s(frame_times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Starts of the frames from 0 and the end of the last one, which lasts for the median: (t + 1,)."""
    times = np.asarray(frame_times_s, np.float64)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    return np.append(times, times[-1] + step) - times[0]


def enlarged(pictures: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Every pixel of (…, y, x) as factor × factor pixels: nothing is interpolated."""
    return pictures.repeat(factor, axis=-2).repeat(factor, axis=-1)


def mp4_bytes(
    pictures: Iterable[Picture],
    edges_s: NDArray[np.float64],
    *,
    metadata: Mapping[str, str] | None = None,
    pixel_aspect: float = 1.0,
    progress: Progress | None = None,
) -> bytes:
    """Encode pictures as H.264 in MP4.

    Args:
        pictures: equal sizes (y, x), as many as there are starts.
        edges_s: start of each picture and end of the last one, increasing.
        metadata: texts of the file ("title", "comment").
        pixel_aspect: width over height of a pixel.
        progress: called with each picture; may raise to stop.

    Raises:
        StudyError: sizes or times do not fit.
        ImportError: the package `av` is not installed.
    """
    import av

    edges = _checked(edges_s)
    ticks = np.rint(edges * MP4_TICKS_PER_S).astype(np.int64)
    if np.diff(ticks).min() < 1:
        raise StudyError("Two frames of the movie are closer in time than an MP4 file can tell.")
    durations = dict(zip(ticks[:-1].tolist(), np.diff(ticks).tolist(), strict=True))
    rate = Fraction(len(durations) * MP4_TICKS_PER_S, int(ticks[-1])).limit_denominator(100_000)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata.update(dict(metadata or {}))
        stream: Any = None
        for index, picture in enumerate(_watched(pictures, len(durations), "Encoding", progress)):
            luma = _even(picture)
            if stream is None:
                # Without B-frames the order of decoding is that of time, and all durations come out exact.
                options = {"crf": str(MP4_QUALITY), "preset": "medium", "bf": "0"}
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.width, stream.height = luma.shape[1], luma.shape[0]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, MP4_TICKS_PER_S)
                stream.time_base = Fraction(1, MP4_TICKS_PER_S)
                if abs(pixel_aspect - 1) > 1e-3:
                    stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect).limit_denominator(1000)
            frame = av.VideoFrame.from_ndarray(_planes(luma), format="yuv420p")
            frame.pts, frame.time_base = int(ticks[index]), Fraction(1, MP4_TICKS_PER_S)
            _mux(container, stream.encode(frame), durations)
        _mux(container, stream.encode(None), durations)
    return buffer.getvalue()


def _mux(container: Any, packets: Iterable[Any], durations: Mapping[int, int]) -> None:  # noqa: ANN401
    """Hand packets on with the duration of their picture, of which the last one's cannot be derived."""
    for packet in packets:
        packet.duration = durations[packet.pts]
        container.mux(packet)


def _even(picture: Picture) -> Picture:
    height, width = picture.shape
    return np.pad(picture, ((0, height % 2), (0, width % 2)))


def _planes(luma: Picture) -> Picture:
    """Planar 4:2:0, limited range, in the layout that PyAV takes: (3 y / 2, x)."""
    height, width = luma.shape
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = np.rint(16 + luma * (219 / 255)).astype(np.uint8)
    return planes


def gif_bytes(
    pictures: Iterable[Picture],
    edges_s: NDArray[np.float64],
    *,
    comment: str = "",
    progress: Progress | None = None,
) -> bytes:
    """Encode pictures as an endless GIF of 256 greys, without loss. Arguments and errors as `mp4_bytes`."""
    from PIL import Image

    edges = _checked(edges_s)
    starts = np.rint(100 * edges).astype(np.int64)
    kept = gif_frames(starts)
    delays = np.diff(np.append(starts[kept], starts[-1]))
    chosen = set(kept.tolist())
    watched = _watched(pictures, len(starts) - 1, "Encoding", progress)
    images = (Image.fromarray(picture) for index, picture in enumerate(watched) if index in chosen)
    buffer = io.BytesIO()
    next(images).save(
        buffer,
        "GIF",
        save_all=True,
        append_images=images,
        duration=[10 * int(delay) for delay in delays],
        loop=0,
        optimize=False,
        comment=comment.encode("ascii", "replace")[:255],
    )
    return buffer.getvalue()


def gif_frames(starts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices of the pictures that stay, from starts in 1/100 s and the end: each is shown long enough."""
    kept = [0]
    for index in range(1, len(starts) - 1):
        long_enough = starts[index] - starts[kept[-1]] >= GIF_LEAST_DELAY
        if long_enough and starts[-1] - starts[index] >= GIF_LEAST_DELAY:
            kept.append(index)
    return np.asarray(kept, np.intp)


def _checked(edges_s: NDArray[np.float64]) -> NDArray[np.float64]:
    edges = np.asarray(edges_s, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise StudyError("A video needs one start for each picture and an end, increasing, in s.")
    return edges - edges[0]


def _watched(
    pictures: Iterable[Picture], count: int, phase: str, progress: Progress | None
) -> Iterator[Picture]:
    """The pictures one by one, of equal size and as many as announced."""
    shape, seen = None, 0
    for picture in pictures:
        shape = shape or picture.shape
        if picture.shape != shape or picture.ndim != 2 or picture.dtype != np.uint8:
            raise StudyError(f"Picture {seen + 1} is {picture.dtype} of {picture.shape}, not as the first.")
        if max(shape) > LARGEST_SIDE:
            raise StudyError(
                f"A video of {shape[1]} × {shape[0]} pixels is too large; choose a smaller scale."
            )
        if progress is not None:
            progress(phase, seen / count)
        seen += 1
        yield picture
    if seen != count:
        raise StudyError(f"{seen} pictures were given for {count} starts.")
    if progress is not None:
        progress(phase, 1.0)
