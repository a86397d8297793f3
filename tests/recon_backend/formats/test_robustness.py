"""What real scans are like: any number of coils, frames and lines, odd matrices, averages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from recon_backend.formats import open_acquisition
from recon_backend.formats.assembly import Readouts, SampleSource, TrajectorySource, assemble
from recon_backend.formats.header import ScanHeader
from recon_backend.formats.storage import grid, line_grid

MATRICES = [(12, 10), (13, 11), (9, 16), (31, 8)]


def full_kspace(recipe: Any) -> np.ndarray:
    """Brute force: the fully sampled k-space of the recipe's images (coil, frame, ky, kx)."""
    height, width = recipe.matrix
    along_y, along_x = (
        np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(n) - n // 2) / n)
        for n in (height, width)
    )
    return along_y @ recipe.coil_images() @ along_x / np.sqrt(height * width)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("coils", [1, 3, 64])
def test_matrices_and_coils(scan: Any, tmp_path: Path, matrix: tuple[int, int], coils: int) -> None:
    recipe = scan(matrix=matrix, coils=coils, frames=2)
    acquisition = open_acquisition(recipe.write(tmp_path / "a.h5"))
    assert acquisition.kspace.shape == (coils, 2, *matrix)
    expected = full_kspace(recipe)
    for frame in range(2):
        rows = recipe.rows(frame)
        assert np.flatnonzero(acquisition.mask[frame]).tolist() == sorted(rows)
        np.testing.assert_allclose(acquisition.kspace[:, frame, rows], expected[:, frame, rows], atol=3e-6)


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
@pytest.mark.parametrize("lines", [[4, 1, 3], [1, 4, 4], [2, 2, 1]])
def test_frames_with_unequal_numbers_of_lines(
    scan: Any, tmp_path: Path, sampling: str, lines: list[int]
) -> None:
    seen: dict[int, int] = {}

    def drop(readout: ismrmrd.Acquisition) -> bool:
        frame = readout.idx.repetition
        seen[frame] = seen.get(frame, 0) + 1
        return seen[frame] <= lines[frame]

    acquisition = open_acquisition(scan(sampling=sampling, edit=drop).write(tmp_path / "a.h5"))
    assert acquisition.readouts_per_frame.tolist() == lines
    whole = open_acquisition(scan(sampling=sampling).write(tmp_path / "b.h5"))
    if sampling == "radial":
        for frame, count in enumerate(lines):
            np.testing.assert_array_equal(
                acquisition.kspace[:, frame, :count], whole.kspace[:, frame, :count]
            )
            assert not acquisition.kspace[:, frame, count:].any()
    else:
        np.testing.assert_array_equal(
            acquisition.kspace[:, acquisition.mask], whole.kspace[:, acquisition.mask]
        )


def test_header_announces_frames_that_are_missing(scan: Any, tmp_path: Path) -> None:
    recipe = scan(frames=3)
    recipe.header = recipe.header.replace(
        "</encodingLimits>",
        "<repetition><minimum>0</minimum><maximum>4</maximum></repetition></encodingLimits>",
    )
    acquisition = open_acquisition(recipe.write(tmp_path / "a.h5"))
    assert acquisition.frames == 3
    assert "the header announces 2 more frames than the file holds" in acquisition.notes


@pytest.mark.parametrize("centre", [2, 6, 11])
def test_partial_fourier(scan: Any, tmp_path: Path, centre: int) -> None:
    """Lines are numbered from the first one acquired, and the header's centre tells where they belong."""
    recipe = scan(matrix=(12, 10), frames=2)
    recipe.header = recipe.header.replace("<center>{centre_line}</center>", f"<center>{centre}</center>")
    shift = centre - recipe.centre_line

    def renumber(readout: ismrmrd.Acquisition) -> bool:
        line = readout.idx.kspace_encode_step_1 + shift
        readout.idx.kspace_encode_step_1 = max(line, 0)
        return line >= 0

    recipe.edit = renumber
    acquisition = open_acquisition(recipe.write(tmp_path / "a.h5"))
    expected = full_kspace(recipe)
    acquired = [sorted(row for row in recipe.rows(frame) if row - 6 + centre >= 0) for frame in range(2)]
    assert [np.flatnonzero(mask).tolist() for mask in acquisition.mask] == acquired
    for frame, rows in enumerate(acquired):
        np.testing.assert_allclose(acquisition.kspace[:, frame, rows], expected[:, frame, rows], atol=3e-6)


@pytest.mark.parametrize("cut", [1, 5, 9])
@pytest.mark.parametrize("side", ["front", "back"])
def test_asymmetric_echo(scan: Any, tmp_path: Path, cut: int, side: str) -> None:
    """A readout that misses its beginning or end equals the whole one with zeros there."""

    class Short(scan):
        def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
            for readout in super().acquisitions():
                kept = readout.data[:, cut:] if side == "front" else readout.data[:, :-cut]
                short = ismrmrd.Acquisition.from_array(kept.copy())
                short.idx.repetition = readout.idx.repetition
                short.idx.kspace_encode_step_1 = readout.idx.kspace_encode_step_1
                short.center_sample = readout.center_sample - (cut if side == "front" else 0)
                yield short

    def silence(readout: ismrmrd.Acquisition) -> None:
        readout.data[:, slice(None, cut) if side == "front" else slice(-cut, None)] = 0

    expected = open_acquisition(scan(edit=silence).write(tmp_path / "a.h5"))
    acquisition = open_acquisition(Short().write(tmp_path / "b.h5"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)


def test_ocmr_like_file(scan: Any, tmp_path: Path) -> None:
    """As OCMR's files are: slices and averages, an asymmetric echo, sizes that differ between both spaces."""

    class Ocmr(scan):
        def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
            for readout in super().acquisitions():
                for number in (0, 1):
                    for average in (0, 1):
                        copy = ismrmrd.Acquisition.from_array(
                            ((1 + number) * (1 + 2 * average) * readout.data[:, 4:]).copy()
                        )
                        copy.idx.slice, copy.idx.average = number, average
                        copy.idx.phase = readout.idx.repetition
                        copy.idx.kspace_encode_step_1 = readout.idx.kspace_encode_step_1
                        copy.center_sample = readout.center_sample - 4
                        copy.acquisition_time_stamp = readout.acquisition_time_stamp
                        yield copy

    recipe = Ocmr(matrix=(12, 10))
    # The reconstruction space is interpolated; the field of view across it is smaller than the encoded one.
    recipe.header = recipe.header.replace(
        "<y>{y}</y><z>1</z></matrixSize>\n   <fieldOfView_mm><x>200",
        "<y>24</y><z>1</z></matrixSize>\n   <fieldOfView_mm><x>200",
    )
    plain = scan(matrix=(12, 10))

    def silence(readout: ismrmrd.Acquisition) -> None:
        readout.data[:, :4] = 0

    plain.edit = silence
    expected = open_acquisition(plain.write(tmp_path / "a.h5"))
    path = recipe.write(tmp_path / "b.h5")
    first, second = open_acquisition(path), open_acquisition(path, slice_index=1)
    np.testing.assert_allclose(first.kspace, 2 * expected.kspace, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second.kspace, 4 * expected.kspace, rtol=1e-5, atol=1e-6)
    assert first.matrix == (12, 10)
    assert "slice 0 of 2 was read" in first.notes
    assert any("averaged" in note for note in first.notes)
    assert any("asks for 24 x 10" in note for note in first.notes)


def test_sets_are_frames_where_nothing_else_counts(scan: Any, tmp_path: Path) -> None:
    def to_set(readout: ismrmrd.Acquisition) -> None:
        readout.idx.set, readout.idx.repetition = 2 + readout.idx.repetition, 0

    expected = open_acquisition(scan().write(tmp_path / "a.h5"))
    acquisition = open_acquisition(scan(edit=to_set).write(tmp_path / "b.h5"))
    np.testing.assert_array_equal(acquisition.kspace, expected.kspace)
    assert "frames are counted by set" in acquisition.notes


def test_first_of_several_sets_beside_repetitions(scan: Any, tmp_path: Path) -> None:
    def alternate(readout: ismrmrd.Acquisition) -> None:
        readout.idx.set = readout.scan_counter % 2

    acquisition = open_acquisition(scan(edit=alternate).write(tmp_path / "a.h5"))
    assert acquisition.readouts_per_frame.tolist() == [2, 2, 2]
    assert "set 0 of 2 was read" in acquisition.notes


def synthetic(frames: int, lines: int, coils: int, sampling: Any, columns: int) -> Any:
    """An acquisition out of `assemble`, without a file; its lines (or spokes) hold their own number."""
    count = frames * lines
    number = np.arange(count, dtype=np.int64)
    samples = np.ones((count, coils, columns), np.complex64) * (1 + number)[:, None, None].astype(np.float32)
    none, never = np.zeros(count, np.int64), np.zeros(count, np.bool_)

    def points(order: np.ndarray, _frame: np.ndarray, _slot: np.ndarray) -> np.ndarray:
        return np.full((order.size, columns, 2), 0.25, np.float32)

    readouts = Readouts(
        samples=SampleSource.from_array(samples),
        trajectory=None if sampling == "cartesian" else TrajectorySource(2, points),
        line=number % lines,
        repetition=number // lines,
        phase=none,
        average=none,
        starts_frame=never,
        ends_frame=never,
        is_reversed=never,
        centre_sample=none + columns // 2,
        discard_pre=none,
        discard_post=none,
        ticks=number,
        number=number,
    )
    header = ScanHeader(
        sampling,
        (lines * 4, columns),
        (100.0, 100.0),
        (lines * 4, columns),
        (100.0, 100.0),
        0,
        None,
        None,
        None,
        {},
    )
    return assemble(readouts, header, [], name="a", source_sha256="", whitened=False)


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
@pytest.mark.parametrize("frames", [16, 2000])
def test_short_and_long_series(sampling: Any, frames: int) -> None:
    acquisition = synthetic(frames, 3, 2, sampling, 16)
    assert acquisition.frames == frames
    assert acquisition.readouts_per_frame.tolist() == [3] * frames
    rows = slice(6, 9) if sampling == "cartesian" else slice(None)
    found = acquisition.kspace[1, :, rows, 5].real
    np.testing.assert_array_equal(found, 1 + np.arange(3 * frames).reshape(frames, 3))
    assert acquisition.frame_time_s == pytest.approx(3 * 2.5e-3)


def test_two_thousand_frames_from_a_file(scan: Any, tmp_path: Path, writers: Any) -> None:
    rng = np.random.default_rng(0)
    recipe = writers.TwixScan(scan())
    lines = [
        writers.Line(
            rng.normal(size=(1, 20)) + 0j, counters={"Lin": 5, "Rep": frame}, centre_line=5, ticks=16 * frame
        )
        for frame in range(2000)
    ]
    acquisition = open_acquisition(recipe.write(tmp_path / "a.dat", lines))
    assert acquisition.kspace.shape == (1, 2000, 12, 10)
    assert acquisition.mask.sum() == 2000
    assert acquisition.frame_time_s == pytest.approx(0.04)


def test_untouched_lines_take_no_memory() -> None:
    """The pages of lines that were not acquired are never made: 512 MB of zeros on a few lines."""

    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    try:
        before = resident()
    except OSError:
        pytest.skip("memory is read from /proc")
    kspace = line_grid(8, 64, 512, 256, 1 << 26)
    kspace[:, :, 256] = 1
    assert kspace.shape == (8, 64, 512, 256)
    assert resident() - before < 32 << 20
    assert kspace.sum(dtype=np.complex128) == 8 * 64 * 256


def test_grids_out_of_proportion_are_refused() -> None:
    from recon_backend.errors import InvalidAcquisition

    with pytest.raises(InvalidAcquisition, match="times as large as the 1000 samples"):
        grid((64, 2000, 4096, 4096), 1000)
