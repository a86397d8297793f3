"""Readouts one by one against the reader of whole files."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from recon_backend.errors import InvalidAcquisition
from recon_backend.formats import open_acquisition
from recon_backend.formats.header import parse_xml
from recon_backend.mrd import frames as module
from recon_backend.mrd.frames import FrameBuilder, ReceivedFrames
from recon_backend.mrd.protocol import ACQUISITION_HEADER, Readout
from recon_backend.streaming import ArrivedFrame
from recon_backend.streaming.calibration import joined

LIMITS = "</kspace_encoding_step_1>"
ANNOUNCED = f"{LIMITS}<repetition><minimum>0</minimum><maximum>9</maximum><center>0</center></repetition>"


def readout_of(acquisition: ismrmrd.Acquisition) -> Readout:
    """The readout as the protocol's reader gives it."""
    head: Any = np.frombuffer(bytes(acquisition.getHead()), ACQUISITION_HEADER)[0]
    samples = acquisition.data.shape[1]
    return Readout(head, acquisition.traj.reshape(samples, -1), acquisition.data)


class Case:
    """A scan of the recipe in `conftest`: as a file, and readout by readout."""

    def __init__(self, recipe: Any, path: Path) -> None:  # noqa: ANN401
        self.path = recipe.write(path)
        dataset = ismrmrd.Dataset(str(path), "dataset")
        self.builder = FrameBuilder(parse_xml(bytes(dataset.read_xml_header())), "scan")
        self.readouts = [
            readout_of(dataset.read_acquisition(number)) for number in range(dataset.number_of_acquisitions())
        ]
        dataset.close()

    def run(self) -> list[tuple[int, ArrivedFrame]]:
        """Frames with the number of the readout that completed them."""
        done = []
        for number, readout in enumerate(self.readouts):
            done += [(number, frame) for frame in self.builder.add(readout, float(number))]
        return done + [(len(self.readouts), frame) for frame in self.builder.finish()]

    def check(self, frames: list[ArrivedFrame], *, times: bool = True) -> None:
        """The frames are those of the file."""
        whole = open_acquisition(self.path)
        assert [frame.index for frame in frames] == list(range(whole.frames))
        again = joined([frame.acquisition for frame in frames])
        np.testing.assert_allclose(again.kspace, whole.kspace, rtol=1e-5, atol=1e-5)
        for one, other in ((again.mask, whole.mask), (again.readout_mask, whole.readout_mask)):
            assert (one is None) == (other is None)
            assert one is None or np.array_equal(one, other)
        if whole.trajectory is not None:
            np.testing.assert_allclose(again.trajectory, whole.trajectory, atol=1e-6)
        assert (again.matrix, again.field_of_view_mm) == (whole.matrix, whole.field_of_view_mm)
        assert again.whitened == whole.whitened
        if times:
            assert [frame.time_s for frame in frames] == pytest.approx(list(whole.frame_times_s), abs=1e-9)


@pytest.mark.parametrize("sampling", ["cartesian", "radial", "spiral"])
@pytest.mark.parametrize("announced", [True, False])
def test_frames_are_those_of_the_file(scan: Any, tmp_path: Path, sampling: str, announced: bool) -> None:
    recipe = scan(sampling=sampling, frames=5, noise_samples=64, dummies=3, coils=3)
    recipe.header = recipe.header.replace(LIMITS, ANNOUNCED) if announced else recipe.header
    case = Case(recipe, tmp_path / "scan.h5")
    done = case.run()
    case.check([frame for _, frame in done])
    # Two frames end when the next begins; then their number of readouts is known and the others end with it.
    first = 1 + 3
    assert [number for number, _ in done] == [first + 4, first + 8, first + 11, first + 15, first + 19]
    assert [frame.arrived_s for _, frame in done] == [first + last for last in (3, 7, 11, 15, 19)]


@pytest.mark.parametrize("dummies", [0, 2])
def test_a_flag_completes_the_frame_at_once(scan: Any, tmp_path: Path, dummies: int) -> None:
    def edit(acquisition: ismrmrd.Acquisition) -> None:
        if (acquisition.scan_counter - dummies) % 4 == 3:
            acquisition.setFlag(ismrmrd.ACQ_LAST_IN_REPETITION)

    recipe = scan(frames=3, dummies=dummies, edit=edit)
    recipe.header = recipe.header.replace(LIMITS, ANNOUNCED)
    case = Case(recipe, tmp_path / "scan.h5")
    done = case.run()
    assert [number for number, _ in done] == [dummies + last for last in (3, 7, 11)]
    case.check([frame for _, frame in done])


@pytest.mark.parametrize("flag", [None, ismrmrd.ACQ_FIRST_IN_SLICE, ismrmrd.ACQ_LAST_IN_SLICE])
def test_without_counters_flags_or_repeated_lines_split(scan: Any, tmp_path: Path, flag: int | None) -> None:
    def edit(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.idx.repetition = 0
        place = acquisition.scan_counter % 4
        if flag is not None and place == (0 if flag == ismrmrd.ACQ_FIRST_IN_SLICE else 3):
            acquisition.setFlag(flag)

    case = Case(scan(frames=4, matrix=(32, 10), edit=edit), tmp_path / "scan.h5")
    frames = [frame for _, frame in case.run()]
    assert len(frames) == 4
    case.check(frames, times=flag is not None)


def test_phases_and_incomplete_frames(scan: Any, tmp_path: Path) -> None:
    def edit(acquisition: ismrmrd.Acquisition) -> object:
        acquisition.idx.phase, acquisition.idx.repetition = acquisition.idx.repetition, 0
        return acquisition.scan_counter not in (9, 18, 19)

    case = Case(scan(sampling="radial", frames=5, edit=edit), tmp_path / "scan.h5")
    frames = [frame for _, frame in case.run()]
    case.check(frames)
    assert [int(frame.acquisition.readouts_per_frame[0]) for frame in frames] == [4, 4, 3, 4, 2]


def test_reversed_and_discarded_samples(scan: Any, tmp_path: Path) -> None:
    def edit(acquisition: ismrmrd.Acquisition) -> None:
        acquisition.discard_pre, acquisition.discard_post = 2, 1
        if acquisition.scan_counter % 2:
            acquisition.setFlag(ismrmrd.ACQ_IS_REVERSE)

    case = Case(scan(edit=edit), tmp_path / "scan.h5")
    case.check([frame for _, frame in case.run()])


def test_a_readout_of_a_finished_frame_is_left_out_and_counted(scan: Any, tmp_path: Path) -> None:
    def edit(acquisition: ismrmrd.Acquisition) -> None:
        if acquisition.scan_counter == 2:
            acquisition.setFlag(ismrmrd.ACQ_LAST_IN_REPETITION)

    recipe = scan(frames=3, edit=edit)
    recipe.header = recipe.header.replace(LIMITS, ANNOUNCED)
    case = Case(recipe, tmp_path / "scan.h5")
    done = case.run()
    assert case.builder.late == 1
    # The flag has proved wrong: frames end with the next one's beginning again.
    assert [number for number, _ in done] == [2, 8, 12]
    assert [int(frame.acquisition.readouts_per_frame[0]) for _, frame in done] == [3, 4, 4]


def test_other_slices_and_contrasts_are_left_out(scan: Any, tmp_path: Path) -> None:
    def edit(acquisition: ismrmrd.Acquisition) -> None:
        if acquisition.scan_counter % 4 == 2:
            acquisition.idx.slice = 1
        if acquisition.scan_counter % 4 == 3:
            acquisition.idx.contrast = 1

    case = Case(scan(edit=edit), tmp_path / "scan.h5")
    frames = [frame for _, frame in case.run()]
    case.check(frames, times=False)
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.012, 0.024], abs=2.5e-3)
    assert {int(frame.acquisition.readouts_per_frame[0]) for frame in frames} == {2}


def changed(readout: Readout, **counters: int) -> Readout:
    head = readout.head.copy()
    for name, value in counters.items():
        head["idx"][name] = value
    return dataclasses.replace(readout, head=head)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: dataclasses.replace(r, samples=r.samples * np.nan), "readout 2 holds NaN"),
        (lambda r: dataclasses.replace(r, samples=r.samples[:1]), "readout 2 has"),
        (lambda r: dataclasses.replace(r, samples=r.samples[:, :0]), "readout 2 has"),
        (lambda r: dataclasses.replace(r, trajectory=np.zeros((20, 2), np.float32)), "readout 2 has a traj"),
        (lambda r: changed(r, kspace_encode_step_2=1), "3-dimensional"),
    ],
)
def test_what_does_not_fit_is_named(
    scan: Any, tmp_path: Path, spoil: Callable[[Readout], Readout], message: str
) -> None:
    case = Case(scan(), tmp_path / "scan.h5")
    case.readouts[2] = spoil(case.readouts[2])
    with pytest.raises(InvalidAcquisition, match=message):
        case.run()


def test_a_frame_without_end_is_an_error(scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_READOUTS_A_FRAME", 8)
    recipe = scan(frames=4)
    recipe.header = recipe.header.replace(LIMITS, ANNOUNCED)
    case = Case(recipe, tmp_path / "scan.h5")
    case.readouts = [changed(readout, repetition=0) for readout in case.readouts]
    with pytest.raises(InvalidAcquisition, match="frame 0 has 9 readouts and does not end"):
        case.run()


def test_whoever_fills_too_fast_waits(scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(scan(frames=4), tmp_path / "scan.h5")
    frames = [frame for _, frame in case.run()]
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 2 * frames[0].acquisition.kspace.nbytes)
    source = ReceivedFrames(case.builder, "scan")
    placed = threading.Semaphore(0)

    def fill() -> None:
        for frame in frames:
            source.put(frame)
            placed.release()
        source.end()

    thread = threading.Thread(target=fill)
    thread.start()
    assert placed.acquire(timeout=5)
    assert placed.acquire(timeout=5)
    assert not placed.acquire(timeout=0.1)
    assert [frame.index for frame in source.frames()] == [0, 1, 2, 3]
    thread.join(5)
    assert not thread.is_alive()


def test_closing_lets_go_of_both_sides(scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(scan(frames=3), tmp_path / "scan.h5")
    frames = [frame for _, frame in case.run()]
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 1)
    source = ReceivedFrames(case.builder, "scan")
    source.put(frames[0])
    waiting = threading.Thread(target=source.put, args=(frames[1],))
    waiting.start()
    source.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert list(source.frames()) == []
