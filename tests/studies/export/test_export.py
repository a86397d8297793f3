"""Movies written for other programs, read back with other people's readers or by the byte."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import h5py
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageSequence

from studies.clips import ClipMovie
from studies.errors import StudyError
from studies.export import FORMATS, GridCell, GridSettings, MovieExport, export_grid, export_movie
from studies.export.dicom import dicom_bytes, frame_time_vector
from studies.export.grid import cells_of_movies
from studies.export.movies import usual_scale
from studies.export.video import LARGEST_SIDE, enlarged, frame_edges_s, gif_bytes, gif_frames, mp4_bytes

FRAMES, ROWS, COLUMNS = 7, 10, 15
TIMES_S = 0.2 + np.array([0.0, 0.0494, 0.0988, 0.1581, 0.1976, 0.2471, 0.2965])


def movie(name: str = "S01_dl_natural.h5", **changes: object) -> ClipMovie:
    """Noise, a ramp and a bright column that moves."""
    rng = np.random.default_rng(2)
    frames = rng.rayleigh(0.1, (FRAMES, ROWS, COLUMNS)) + np.linspace(0, 0.5, COLUMNS)
    frames[np.arange(FRAMES), :, np.arange(FRAMES)] += 1
    provenance = {"method": "dl_natural", "sampling": "radial", "raw_sha256": "ab" * 32}
    made = ClipMovie(frames.astype(np.float32), (2.5, 2.0), TIMES_S, provenance, name)
    return replace(made, **changes)  # type: ignore[arg-type]


def grey() -> np.ndarray:
    """All greys from 0 to 255 and fine texture, (frame, y, x)."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (FRAMES, 32, 48)).astype(np.uint8)


def decoded(content: bytes) -> tuple[list[np.ndarray], list[float], float, object]:
    """Luma of each frame as decoded, its time, the whole duration, and the stream."""
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        found = [
            (frame.to_ndarray(format="yuv420p"), frame.pts * frame.time_base)
            for frame in container.decode(stream)
        ]
        lumas = [planes[: stream.height] for planes, _ in found]
        duration = float(stream.duration * stream.time_base)
        aspect = stream.codec_context.sample_aspect_ratio
        return lumas, [float(time) for _, time in found], duration, aspect


def test_mp4_shows_every_frame_at_its_own_time_and_grey() -> None:
    pictures, edges = grey(), frame_edges_s(TIMES_S)
    smooth = np.sort(pictures, axis=2)
    lumas, times, duration, aspect = decoded(mp4_bytes(smooth, edges, pixel_aspect=0.8))
    np.testing.assert_allclose(times, TIMES_S - TIMES_S[0], atol=0.6 / 90_000)
    assert duration == pytest.approx(edges[-1], abs=1.2 / 90_000)
    assert aspect == pytest.approx(0.8)
    back = (np.stack(lumas) - 16.0) * 255 / 219
    assert np.abs(back - smooth).mean() < 1.5
    assert np.abs(back - smooth).max() < 12, "limited range, no clipping"


def test_mp4_of_odd_sides_is_padded_below_and_to_the_right() -> None:
    pictures = np.full((3, 33, 47), 200, np.uint8)
    lumas, _, _, _ = decoded(mp4_bytes(pictures, np.arange(4) / 10))
    assert lumas[0].shape == (34, 48)
    assert np.abs(lumas[1][:32, :46] - (16 + 200 * 219 / 255)).max() < 4
    assert lumas[1][33].max() < 60 and lumas[1][:, 47].max() < 60


def test_gif_is_lossless_and_its_delays_never_drift() -> None:
    pictures, edges = grey(), frame_edges_s(TIMES_S)
    image = Image.open(io.BytesIO(gif_bytes(pictures, edges, comment="dl")))
    frames, delays = [], []
    for frame in ImageSequence.Iterator(image):
        delays.append(frame.info["duration"])
        frames.append(np.asarray(frame.convert("L")))
    np.testing.assert_array_equal(frames, pictures)
    starts_ms = np.cumsum([0, *delays])
    assert np.abs(starts_ms - 1000 * edges).max() <= 5 + 1e-9
    assert image.info["loop"] == 0 and image.info["comment"] == b"dl"


def test_gif_leaves_out_what_players_cannot_show() -> None:
    """Frames of 8 ms: every kept one lasts 0.02 s or more, and the whole as long as it did."""
    edges = np.arange(13) * 0.008
    pictures = np.arange(12, dtype=np.uint8)[:, None, None] * 20 + np.zeros((1, 8, 8), np.uint8)
    kept = gif_frames(np.rint(edges * 100).astype(np.int64))
    image = Image.open(io.BytesIO(gif_bytes(pictures, edges)))
    delays = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert len(delays) == len(kept) < 12 and min(delays) >= 20 and sum(delays) == 100


@pytest.mark.parametrize("encode", [mp4_bytes, gif_bytes])
def test_pictures_and_times_must_fit(encode: Callable[..., bytes]) -> None:
    with pytest.raises(StudyError, match="increasing"):
        encode(grey(), np.zeros(FRAMES + 1))
    with pytest.raises(StudyError, match="7 pictures were given for 8 starts"):
        encode(grey(), np.arange(9.0))
    with pytest.raises(StudyError, match="Picture 2"):
        encode([grey()[0], grey()[1, ::2]], np.arange(3.0))


def test_progress_reaches_the_end_and_stops_the_work(tmp_path: Path) -> None:
    seen: list[float] = []
    export_movie(movie(), tmp_path, MovieExport("mp4"), lambda _phase, fraction: seen.append(fraction))
    assert seen[-1] == 1.0 and len(seen) > FRAMES

    def stop(_phase: str, fraction: float) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    for kind in ("mp4", "gif"):
        with pytest.raises(KeyboardInterrupt):
            export_movie(movie(), tmp_path / "stopped", MovieExport(kind), stop)
    assert not (tmp_path / "stopped").exists()


def test_dicom_is_read_back_with_times_spacing_and_no_patient() -> None:
    source = movie()
    data = pydicom.dcmread(io.BytesIO(dicom_bytes(source, pseudonym="S01", description="dl_natural")))
    assert data.SOPClassUID.name == "Multi-frame Grayscale Word Secondary Capture Image Storage"
    factor = float(data.DerivationDescription.split("*")[1])
    peak = source.frames.max()
    np.testing.assert_allclose(data.pixel_array / factor, source.frames, atol=0.6 * peak / 65535)
    times = np.cumsum([float(step) for step in data.FrameTimeVector]) / 1000
    np.testing.assert_allclose(times, TIMES_S - TIMES_S[0], atol=1e-9)
    assert data.FrameIncrementPointer == 0x00181065
    assert [float(length) for length in data.PixelSpacing] == [2.5, 2.0], "rows (y) first"
    assert (data.PatientName, data.PatientID, data.PatientBirthDate) == ("S01^", "S01", "")
    assert data.PatientIdentityRemoved == "YES" and "research use only" in data.ImageComments
    assert data.WindowCenter * 2 == pytest.approx(np.percentile(data.pixel_array, 99.8), rel=1e-6)
    names = {element.keyword for element in data}
    assert not names & {"InstitutionName", "AcquisitionDate", "StudyDescription", "PatientAge"}


def test_dicom_objects_of_one_scan_are_one_study_of_two_series() -> None:
    read = [
        pydicom.dcmread(io.BytesIO(dicom_bytes(source, pseudonym=who, description=method)))
        for source, who, method in (
            (movie(), "S01", "dl_natural"),
            (movie(), "S01", "dl_natural"),
            (movie(), "S01", "dl_cardiac"),
            (movie(), "S02", "dl_natural"),
        )
    ]
    first, again, other, else_ = read
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.StudyInstanceUID == other.StudyInstanceUID != else_.StudyInstanceUID
    assert first.SeriesInstanceUID != other.SeriesInstanceUID
    assert len({data.SOPInstanceUID for data in read}) == 3


def test_frame_times_do_not_drift_over_a_long_scan() -> None:
    times = np.arange(3000) * (1 / 30)
    steps = [float(step) for step in frame_time_vector(times)]
    assert np.abs(np.cumsum(steps) / 1000 - times).max() < 1e-9
    assert max(len(step) for step in frame_time_vector(times)) <= 16


@pytest.mark.parametrize("pseudonym", ["", "a^b", "a\\b", "x" * 64, "a\nb"])
def test_pseudonyms_that_dicom_would_take_apart_are_refused(pseudonym: str) -> None:
    with pytest.raises(StudyError, match="pseudonym"):
        dicom_bytes(movie(), pseudonym=pseudonym)


def test_nifti_by_the_byte(tmp_path: Path) -> None:
    """Offsets of the NIfTI-1 standard; nibabel reads the same (tried by hand)."""
    source = movie()
    written = export_movie(source, tmp_path, MovieExport("nifti"))
    assert [path.name for path in written] == ["S01_dl_natural.nii", "S01_dl_natural.json"]
    content = written[0].read_bytes()
    assert struct.unpack_from("<i", content, 0) == (348,) and content[344:348] == b"n+1\0"
    assert struct.unpack_from("<8h", content, 40) == (4, COLUMNS, ROWS, 1, FRAMES, 1, 1, 1)
    assert struct.unpack_from("<2h", content, 70) == (16, 32)
    steps = struct.unpack_from("<8f", content, 76)
    assert steps[1:5] == pytest.approx((2.0, 2.5, 1.0, 0.0494))
    assert struct.unpack_from("<f", content, 136)[0] == pytest.approx(0.2) and content[123] == 2 | 8
    assert struct.unpack_from("<2h", content, 252) == (0, 0), "no orientation is claimed"
    values = np.frombuffer(content, "<f4", offset=352).reshape(FRAMES, ROWS, COLUMNS)
    np.testing.assert_array_equal(values, source.frames)
    table = json.loads(written[1].read_text())
    assert table["frame_times_s"] == TIMES_S.tolist() and table["provenance"]["method"] == "dl_natural"
    (packed, _) = export_movie(source, tmp_path / "x.nii.gz", MovieExport("nifti"))
    assert packed.read_bytes()[:2] == b"\x1f\x8b" and (tmp_path / "x.json").is_file()


def test_names_scales_and_refusals(tmp_path: Path) -> None:
    (named,) = export_movie(movie(), tmp_path / "a.gif", MovieExport("gif", scale=2))
    assert named == tmp_path / "a.gif"
    assert Image.open(io.BytesIO(named.read_bytes())).size == (2 * COLUMNS, 2 * ROWS)
    assert usual_scale((144, 160)) == 3 and usual_scale((1000, 1000)) == 1
    assert enlarged(np.array([[1, 2]], np.uint8), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    with pytest.raises(StudyError, match="format 'avi'"):
        MovieExport("avi")  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="scale is 99"):
        MovieExport("mp4", scale=99)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot be written"):
        export_movie(movie(), tmp_path / "file", MovieExport("gif"))
    assert set(FORMATS) == {"mp4", "gif", "dicom", "nifti"}


# Grid


def stripe(row: str, column: str, times_s: np.ndarray, level: float) -> GridCell:
    """Frame i is grey i·level everywhere but for a white row 3; arms share times."""
    frames = np.zeros((len(times_s), 16, 16), np.float32)
    frames += level * np.arange(len(times_s))[:, None, None]
    frames[:, 3] = 100.0
    return GridCell(row, column, ClipMovie(frames, (2.0, 2.0), times_s, {}, f"{row}_{column}.h5"))


def read_gif(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = Image.open(io.BytesIO(path.read_bytes()))
    frames, starts = [], [0]
    for frame in ImageSequence.Iterator(image):
        frames.append(np.asarray(frame.convert("L")))
        starts.append(starts[-1] + frame.info["duration"])
    return np.stack(frames), np.asarray(starts) / 1000


def test_a_grid_keeps_every_rows_own_time(tmp_path: Path) -> None:
    """Rows of 0.1 s and 0.15 s a frame: each cell shows the frame that began last, as long as both run."""
    slow = np.arange(4) * 0.15 + 0.3
    fast = np.arange(8) * 0.1
    cells = [
        stripe("radial", "dl_natural", slow, 10.0),
        stripe("cartesian", "dl_natural", fast, 5.0),
        stripe("cartesian", "compressed_sensing", fast, 5.0),
    ]
    settings = GridSettings(side=64, profile_share=0.5)
    frames, starts = read_gif(export_grid(cells, tmp_path / "grid.gif", settings))
    assert starts[-1] == pytest.approx(0.6)
    np.testing.assert_allclose(starts[:-1], [0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.45, 0.5], atol=1e-9)
    column = 64 + 6 + 32 + 12
    cartesian = frames[:, 6 + 40, 6 + 20].astype(int), frames[:, 6 + 40, 6 + column + 20].astype(int)
    radial = frames[:, 6 + 76 + 40, 6 + column + 20].astype(int)
    np.testing.assert_array_equal(cartesian[0], cartesian[1])
    shown_fast = np.array([0, 1, 1, 2, 3, 4, 4, 5])
    shown_slow = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_allclose(cartesian[0], np.rint(255 * 5 * shown_fast / 100), atol=1)
    np.testing.assert_allclose(radial, np.rint(255 * 10 * shown_slow / 100), atol=1)
    assert not frames[:, 6 + 76 : 6 + 140, 6 : 6 + 64].any(), "the place without a movie stays black"
    # The white row is at the same height in the profile as in the image; the mark runs from left to right.
    profile = frames[:, 6 : 6 + 64, 6 + 70 : 6 + 102]
    assert (profile[:, 13, :] > 200).all() and profile[0, 40, 20] < 100
    marks = [int(np.flatnonzero((picture == 255).all(axis=0))[0]) for picture in profile]
    assert marks == [int(start / 0.6 * 32 + 1e-6) for start in starts[:-1]]


def test_a_grids_labels_are_on_request_and_its_clock_runs(tmp_path: Path) -> None:
    cells = [stripe("radial", "dl_natural", np.arange(3) * 0.1, 5.0)]
    plain, _ = read_gif(export_grid(cells, tmp_path / "a.gif", GridSettings(side=64)))
    named, _ = read_gif(export_grid(cells, tmp_path / "b.gif", GridSettings(labels=True, side=64)))
    assert not plain[:, :6].any()
    assert named[:, :20, 26:].any() and named[:, 30:80, :20].any()
    clock = plain[:, 6 + 64 + 6 :]
    assert clock.any(axis=(1, 2)).all() and (clock[0] != clock[1]).any()
    lumas, times, duration, _ = decoded(
        export_grid(cells, tmp_path / "c.mp4", GridSettings(side=64)).read_bytes()
    )
    assert times == pytest.approx([0, 0.1, 0.2]) and duration == pytest.approx(0.3)
    assert np.abs((lumas[2][: plain.shape[1], : plain.shape[2]] - 16.0) * 255 / 219 - plain[2]).mean() < 2


def test_a_grid_of_rectangular_pixels_has_the_shape_of_the_body(tmp_path: Path) -> None:
    wide = stripe("radial", "dl_natural", np.arange(3) * 0.1, 5.0)
    wide = replace(wide, movie=replace(wide.movie, pixel_spacing_mm=(1.0, 2.0)))
    frames, _ = read_gif(export_grid([wide], tmp_path / "a.gif", GridSettings(side=64, profile_share=0)))
    assert frames[2, 6 + 40, 6 : 6 + 128].min() > 0 and frames[2, 6 + 40, 6 + 129 :].max() == 0


def test_grids_that_cannot_be_are_refused(tmp_path: Path) -> None:
    cell = stripe("radial", "dl_natural", np.arange(3) * 0.1, 5.0)
    with pytest.raises(StudyError, match="same row and column"):
        export_grid([cell, cell], tmp_path / "a.mp4")
    with pytest.raises(StudyError, match="1 to 36 movies"):
        export_grid([], tmp_path / "a.mp4")
    with pytest.raises(StudyError, match=r"\.mp4 or \.gif"):
        export_grid([cell], tmp_path / "a.avi")
    with pytest.raises(StudyError, match="side of a cell"):
        GridSettings(side=10)
    with pytest.raises(StudyError, match="0 to 1"):
        GridSettings(column=2)


def save_movie(path: Path, source: ClipMovie) -> Path:
    """The movie as a file of the program."""
    with h5py.File(path, "w") as file:
        file["movie"] = source.frames
        file.attrs["format"] = "blindcine-movie-1"
        file.attrs["pixel_spacing_mm"] = source.pixel_spacing_mm
        file.attrs["frame_times_s"] = source.frame_times_s
        file.attrs["provenance"] = json.dumps(source.provenance)
    return path


def test_files_find_their_places_by_what_they_say_of_themselves(tmp_path: Path) -> None:
    """The names of the files tell nothing; a place is taken once."""
    places = [("radial", "dl_natural"), ("radial", "gridded"), ("spiral", "dl_natural")]
    paths = []
    for number, (sampling, method) in enumerate(places):
        source = movie(provenance={"sampling": sampling, "method": method})
        paths.append(save_movie(tmp_path / f"{number}.h5", source))
    cells = cells_of_movies(paths)
    assert [(cell.row, cell.column, cell.movie.name) for cell in cells] == [
        (*place, path.name) for place, path in zip(places, paths, strict=True)
    ]
    np.testing.assert_array_equal(cells[0].movie.frames, movie().frames)
    again = save_movie(tmp_path / "again.h5", cells[1].movie)
    with pytest.raises(StudyError, match=r"'again\.h5' and '1\.h5' are both radial and gridded"):
        cells_of_movies([*paths, again])
    for provenance in ({"method": "gridded"}, {"sampling": "radial"}):
        silent = save_movie(tmp_path / "silent.h5", movie(provenance=provenance))
        with pytest.raises(StudyError, match=r"'silent\.h5' does not say its sampling and method"):
            cells_of_movies([silent])


def test_a_grid_that_the_disk_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cell = stripe("radial", "dl_natural", np.arange(2) * 0.1, 5.0)
    with pytest.raises(StudyError, match=r"a\.gif' cannot be written: (Not a directory|File exists)"):
        export_grid([cell], tmp_path / "file" / "a.gif", GridSettings(side=64, profile_share=0))


def test_videos_that_no_file_can_hold_are_refused() -> None:
    with pytest.raises(StudyError, match="closer in time than an MP4 file can tell"):
        mp4_bytes(grey()[:2], np.array([0.0, 4e-6, 0.1]))
    wide = np.broadcast_to(np.uint8(0), (1, 8, LARGEST_SIDE + 1))
    for encode in (mp4_bytes, gif_bytes):
        with pytest.raises(StudyError, match=f"{LARGEST_SIDE + 1} × 8 pixels is too large"):
            encode(wide, np.array([0.0, 0.1]))


def test_dicom_of_one_frame_has_no_rate_and_of_too_many_columns_is_refused() -> None:
    still = movie(frames=movie().frames[:1], frame_times_s=TIMES_S[:1])
    data = pydicom.dcmread(io.BytesIO(dicom_bytes(still)))
    assert (data.NumberOfFrames, float(data.FrameTimeVector)) == (1, 0) and "CineRate" not in data
    wide = movie(frames=np.zeros((1, 1, 65_536), np.float32), frame_times_s=TIMES_S[:1])
    with pytest.raises(StudyError, match="at most 65535 rows and columns"):
        dicom_bytes(wide)
