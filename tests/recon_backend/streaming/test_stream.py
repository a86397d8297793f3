"""Streaming: each image against the whole-scan reconstruction or a direct sum, and what late images cost."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from recon_backend.acquisition import Acquisition
from recon_backend.errors import ReconstructionError
from recon_backend.fourier import NonuniformFourier
from recon_backend.preparation import Prepared, prepare
from recon_backend.reconstruct import reconstruct
from recon_backend.sampling.radial import radial_trajectory
from recon_backend.streaming import (
    ArrivedFrame,
    LatencyStatistics,
    ReplayedScan,
    StreamedFrame,
    StreamSettings,
    describe_latency,
    engines,
    stream,
)
from recon_backend.streaming.calibration import DensityWeights, calibrate, joined
from recon_backend.streaming.gridding import Gridder

SIZE = 24


def coil_images(coils: int = 3, frames: int = 14, size: int = SIZE) -> npt.NDArray[np.complex64]:
    """A moving blob seen by smooth coils, (coil, frame, y, x)."""
    y, x = (np.arange(size) - size // 2)[:, None], (np.arange(size) - size // 2)[None, :]
    movie = np.stack([np.exp(-((y - 3 * np.sin(0.6 * t)) ** 2 + (x - 2) ** 2) / 30.0) for t in range(frames)])
    angle = 2 * np.pi * np.arange(coils) / coils
    maps = np.exp(
        -((y - 14 * np.sin(angle)[:, None, None]) ** 2 + (x - 14 * np.cos(angle)[:, None, None]) ** 2) / 400
        + 1j * angle[:, None, None]
    )
    return (maps[:, None] * movie).astype(np.complex64)


def cartesian(frames: int = 14) -> Acquisition:
    images = coil_images(frames=frames)
    mask = np.random.default_rng(3).random((frames, SIZE)) < 0.3
    mask[:, SIZE // 2 - 1 : SIZE // 2 + 2] = True
    kspace = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(images, axes=(2, 3)), norm="ortho"), axes=(2, 3)
    ).astype(np.complex64)
    kspace[:, ~mask] = 0
    times = 0.05 * np.arange(frames)
    return Acquisition("cartesian", kspace, (SIZE, SIZE), (240.0, 240.0), times, mask=mask, name="c")


def radial(frames: int = 14) -> Acquisition:
    images = coil_images(frames=frames)
    trajectory = radial_trajectory(frames, spokes=9, samples=2 * SIZE)
    kspace = NonuniformFourier(trajectory, (SIZE, SIZE), tolerance=1e-6).forward(images)
    times = 0.04 * np.arange(frames)
    return Acquisition("radial", kspace, (SIZE, SIZE), (240.0, 240.0), times, trajectory=trajectory, name="r")


def close(actual: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], part: float) -> None:
    """Equal within a part of the largest value."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=part * float(np.abs(expected).max()))


def images_of(frames: list[StreamedFrame]) -> npt.NDArray[np.float32]:
    return np.stack([frame.image for frame in frames])


@pytest.mark.parametrize("make", [cartesian, radial])
def test_window_of_one_frame_is_the_gridding_of_the_whole_scan(make: Callable[..., Acquisition]) -> None:
    scan = make()
    settings = StreamSettings(window=1, calibration_frames=scan.frames)
    frames = list(stream(scan, settings))
    expected = reconstruct(scan, "gridded").frames
    assert [frame.index for frame in frames] == list(range(scan.frames))
    assert [frame.time_s for frame in frames] == pytest.approx(list(scan.frame_times_s))
    close(images_of(frames), expected, 1e-3)


def test_delays_found_in_the_calibration_window_are_corrected_in_every_frame() -> None:
    scan = radial(20)
    # The spokes were really half a sample further on than the trajectory says.
    step = scan.trajectory[:, :, 1] - scan.trajectory[:, :, 0]
    late = dataclasses.replace(
        scan, trajectory=np.clip(scan.trajectory - 0.5 * step[:, :, None], -np.pi, np.pi)
    )
    calibration = calibrate([late.frames_slice(index, index + 1) for index in range(late.frames)])
    assert calibration.delays is not None
    assert calibration.delays.s_xx == pytest.approx(0.5, abs=0.05)
    frames = list(stream(late, StreamSettings(window=1, calibration_frames=late.frames)))
    expected = reconstruct(late, "gridded").frames
    close(images_of(frames), expected, 2e-3)


def test_gridder_is_the_direct_sum() -> None:
    rng = np.random.default_rng(0)
    height, width = 10, 13
    trajectory = rng.uniform(-np.pi, np.pi, (2, 7, 2)).astype(np.float32)
    samples = (rng.normal(size=(3, 2, 7)) + 1j * rng.normal(size=(3, 2, 7))).astype(np.complex64)
    y, x = np.arange(height) - height // 2, np.arange(width) - width // 2
    waves = np.exp(
        1j * (trajectory[..., 0, None, None] * y[:, None] + trajectory[..., 1, None, None] * x[None, :])
    )
    expected = np.einsum("crs,rsyx->cyx", samples, waves) / np.sqrt(height * width)
    for threads in (1, 2, 5):
        gridder = Gridder(3, (height, width), threads)
        for _ in range(2):  # plans are kept
            assert gridder.adjoint(samples, trajectory) == pytest.approx(expected, abs=2e-3)
        gridder.close()


def test_sliding_window_is_the_mean_of_the_last_frames() -> None:
    scan, window = radial(), 3
    prepared = prepare(scan)
    images = prepared.zero_filled(0, scan.frames)
    for frame in stream(scan, StreamSettings(window=window, calibration_frames=scan.frames)):
        first = max(0, frame.index - window + 1)
        mean = images[:, first : frame.index + 1].mean(axis=1)
        expected = np.sqrt((np.abs(mean) ** 2).sum(axis=0))
        close(frame.image, expected, 2e-3)


def test_shared_views_are_the_newest_lines_of_the_window() -> None:
    scan, window = cartesian(), 4
    prepared = prepare(scan)
    for frame in stream(scan, StreamSettings(window=window, calibration_frames=scan.frames)):
        lines = np.zeros((len(prepared.kspace), SIZE, SIZE), np.complex64)
        for row in range(SIZE):
            for age in range(window):
                index = frame.index - age
                if index >= 0 and scan.mask[index, row]:
                    lines[:, row] = prepared.kspace[:, index, row]
                    break
        position = np.arange(SIZE) - SIZE // 2
        dft = np.exp(2j * np.pi * np.outer(position, position) / SIZE) / np.sqrt(SIZE)
        expected = np.sqrt((np.abs(np.einsum("yk,ckx->cyx", dft, lines)) ** 2).sum(axis=0))
        close(frame.image, expected, 1e-4)


def causal(scan: Acquisition) -> tuple[engines.Causal, list[int]]:
    """FastDVDNet with two stand-ins that are no symmetric functions of their frames."""
    calls: list[int] = []

    def first(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        calls.append(1)
        return (frames * np.array([1.0, 2.0, 4.0], np.float32)).sum(axis=-1, keepdims=True)

    def second(answers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return (answers * np.array([1.0, -3.0, 9.0], np.float32)).sum(axis=-1, keepdims=True) - 1

    frames = [scan.frames_slice(index, index + 1) for index in range(scan.frames)]
    maker = engines.FrameMaker(calibrate(frames), scan.matrix)
    return engines.Causal(maker, first, second, scan.matrix), calls


def test_causal_engine_runs_the_first_block_once_a_frame() -> None:
    scan = radial()
    engine, calls = causal(scan)
    magnitudes = reconstruct(scan, "gridded").frames
    triples = {
        t: magnitudes[t - 2] + 2 * magnitudes[t - 1] + 4 * magnitudes[t] for t in range(2, scan.frames)
    }
    for index in range(scan.frames):
        images = engine.add(index, scan.frames_slice(index, index + 1), True)
        if index < 4:
            assert images == []
            continue
        expected = np.maximum(triples[index - 2] - 3 * triples[index - 1] + 9 * triples[index] - 1, 0)
        ((number, image),) = images
        assert number == index
        close(image, expected, 1e-3)
        assert len(calls) == index - 1
    engine.close()


@pytest.mark.parametrize("kind", ["causal", "sliding", "shared"])
def test_passing_over_frames_changes_no_image(kind: str) -> None:
    scan = cartesian() if kind == "shared" else radial()

    def engine() -> engines.Engine:
        if kind == "causal":
            return causal(scan)[0]
        frames = [scan.frames_slice(index, index + 1) for index in range(scan.frames)]
        maker = engines.FrameMaker(calibrate(frames), scan.matrix)
        return (
            engines.SharedViews(maker, scan.matrix, 3)
            if kind == "shared"
            else engines.SlidingWindow(maker, 3)
        )

    every, some = engine(), engine()
    wanted = {4, 5, 9, 10, 13}
    shown = []
    for index in range(scan.frames):
        frame = scan.frames_slice(index, index + 1)
        expected = dict(every.add(index, frame, True))
        for number, image in some.add(index, frame, index in wanted):
            shown.append(number)
            close(image, expected[number], 1e-4)
    assert shown == sorted(wanted)


@pytest.mark.parametrize("make", [cartesian, radial])
@pytest.mark.parametrize("frames", [3, 12, 13, 22])
def test_blocks_answer_for_every_frame_once(make: Callable[..., Acquisition], frames: int) -> None:
    scan = make(frames)
    seen: list[npt.NDArray[np.float32]] = []

    def network(prepared: Prepared) -> npt.NDArray[np.float32]:
        assert prepared.frames == engines.BLOCK_FRAMES
        images = np.abs(prepared.zero_filled(0, engines.BLOCK_FRAMES)).sum(axis=0)
        seen.append(images)
        return images

    singles = [scan.frames_slice(index, index + 1) for index in range(scan.frames)]
    maker = engines.FrameMaker(calibrate(singles), scan.matrix)
    engine = engines.Blocks(maker, network, is_cartesian=make is cartesian)
    expected = np.abs(prepare(scan).zero_filled(0, scan.frames)).sum(axis=0)
    shown: list[int] = []
    for index, single in enumerate(singles):
        for number, image in engine.add(index, single, True):
            assert number <= index - engines.BLOCK_AHEAD
            assert number > index - engines.BLOCK_AHEAD - engines.BLOCK_STEP or len(seen) == 1
            shown.append(number)
            close(image, expected[number], 2e-3)
    shown.extend(number for number, _ in engine.finish())
    assert shown == list(range(frames))
    if frames == 3:  # continued by reflection in time: 0 1 2 1 0 1 …
        close(seen[0][3:6], expected[[1, 0, 1]], 2e-3)


class HandFed:
    """A source that gives the first frames at once and the rest when told to."""

    def __init__(self, scan: Acquisition, first: int) -> None:
        self._replay = ReplayedScan(scan)
        self.name, self.sampling, self.matrix = "fed", scan.sampling, scan.matrix
        self._first = first
        self.go_on, self.all_taken, self.closed = threading.Event(), threading.Event(), False

    def frames(self) -> Iterator[ArrivedFrame]:
        for frame in self._replay.frames():
            if frame.index == self._first:
                assert self.go_on.wait(10)
            yield frame
        self.all_taken.set()

    def close(self) -> None:
        self.closed = True
        self.go_on.set()


def test_newest_frame_wins_and_the_others_are_counted() -> None:
    scan = radial()
    settings = StreamSettings(window=3, calibration_frames=6, newest_wins=True, late_frames=2)
    source = HandFed(scan, 6)
    images = stream(source, settings)
    first = next(images)
    assert first.index == 5
    assert first.held
    source.go_on.set()
    assert source.all_taken.wait(10)
    rest = list(images)
    assert [frame.index for frame in rest] == [13]
    assert rest[0].dropped == 7
    assert not rest[0].held
    assert source.closed
    whole = list(stream(scan, dataclasses.replace(settings, newest_wins=False)))
    assert [frame.index for frame in whole] == list(range(14))
    close(rest[0].image, whole[13].image, 1e-4)


def test_frames_that_wait_no_longer_than_allowed_all_get_an_image() -> None:
    settings = StreamSettings(window=3, calibration_frames=6, newest_wins=True, late_frames=8)
    source = HandFed(radial(), 6)
    images = stream(source, settings)
    assert next(images).index == 5
    source.go_on.set()
    assert source.all_taken.wait(10)
    rest = list(images)
    assert [frame.index for frame in rest] == list(range(6, 14))
    assert rest[-1].dropped == 0


def test_stopping_early_closes_the_source_and_ends_its_thread() -> None:
    before = threading.active_count()
    source = HandFed(radial(), 8)
    images = stream(source, StreamSettings(calibration_frames=4, newest_wins=True))
    next(images)
    images.close()
    assert source.closed
    assert threading.active_count() == before


@pytest.mark.parametrize("newest_wins", [False, True])
def test_an_error_of_the_source_reaches_the_caller(newest_wins: bool) -> None:
    class Broken(HandFed):
        def frames(self) -> Iterator[ArrivedFrame]:
            yield from list(super().frames())[:3]
            raise ReconstructionError("the cable was pulled")

    source = Broken(radial(), 99)
    with pytest.raises(ReconstructionError, match="cable"):
        list(stream(source, StreamSettings(calibration_frames=2, newest_wins=newest_wins)))
    assert source.closed


def test_a_scan_shorter_than_the_calibration_window_is_streamed_when_it_ends() -> None:
    frames = list(stream(radial(3), StreamSettings(calibration_frames=8, newest_wins=True)))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert all(frame.held for frame in frames)


def test_replay_at_the_scanners_pace_counts_from_the_end_of_each_frame() -> None:
    scan = dataclasses.replace(radial(5), frame_times_s=np.array([0.0, 0.001, 0.002, 0.004, 0.005]))
    frames = list(ReplayedScan(scan, "real").frames())
    arrived = np.array([frame.arrived_s for frame in frames])
    assert np.diff(arrived) == pytest.approx(np.diff(scan.frame_times_s), abs=1e-9)
    with pytest.raises(ReconstructionError, match="pace is 'slow'"):
        ReplayedScan(scan, "slow")  # type: ignore[arg-type]


def test_closed_replay_ends() -> None:
    slow = dataclasses.replace(radial(3), frame_times_s=np.array([0.0, 3600.0, 7200.0]))
    replay = ReplayedScan(slow, "real")
    threading.Timer(0.05, replay.close).start()
    assert list(replay.frames()) == []


def test_density_weights_of_turned_and_incomplete_spirals() -> None:
    from recon_backend.sampling.density import density_weights
    from recon_backend.sampling.spiral import spiral_trajectory

    trajectory = spiral_trajectory(3)
    matrix = (240, 240)
    whole = density_weights(trajectory, matrix, sampling="spiral")
    weights = DensityWeights(matrix, "spiral")
    weights.remember(trajectory[0], whole[0])
    assert np.array_equal(weights.of(trajectory[1]), whole[1])
    assert weights.of(trajectory[2, :4]) == pytest.approx(whole[2, :4], rel=1e-6)
    stretched = trajectory[0] * np.float32(0.9)
    assert weights.of(stretched) == pytest.approx(
        density_weights(stretched[None], matrix, sampling="spiral")[0], rel=1e-6
    )


def test_joined_frames_are_the_scan() -> None:
    scan = radial(4)
    acquired = np.ones(scan.kspace.shape[1:3], bool)
    acquired[2, 5:] = False
    kspace = scan.kspace.copy()
    kspace[:, ~acquired] = 0
    scan = dataclasses.replace(scan, kspace=kspace, readout_mask=acquired)
    again = joined([scan.frames_slice(index, index + 1) for index in range(4)], scan.frame_time_s)
    assert np.array_equal(again.kspace, scan.kspace)
    assert np.array_equal(again.readout_mask, acquired)
    assert again.frame_times_s == pytest.approx(scan.frame_times_s)


def test_percentiles_leave_out_what_was_held_back() -> None:
    statistics = LatencyStatistics()
    rng = np.random.default_rng(1)
    latencies = rng.uniform(0.01, 0.1, 200)
    raw = ArrivedFrame(0, 0.0, 0.0, radial(1))
    image = np.zeros((2, 2), np.float32)
    for index in range(8):
        statistics.add(StreamedFrame(index, 0.05 * index, image, 3.0, True, 0, raw))
    for index, latency in enumerate(latencies, start=8):
        statistics.add(StreamedFrame(index, 0.05 * index, image, latency, False, 7, raw))
    summary = statistics.summary()
    assert (summary["shown"], summary["held"], summary["dropped"]) == (208, 8, 7)
    assert summary["frame_time_s"] == pytest.approx(0.05)
    ordered = sorted(latencies)
    assert summary["latency_s"] == {
        "p50": ordered[99],
        "p95": ordered[189],
        "p99": ordered[197],
        "max": ordered[199],
    }
    assert LatencyStatistics().summary()["latency_s"]["p95"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "method is 'magic'"),
        ({"method": "compressed_sensing"}, "whole series"),
        ({"window": 0}, "window is 0"),
        ({"calibration_frames": 0}, "calibration_frames is 0"),
        ({"late_frames": -1}, "late_frames is -1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ReconstructionError, match=message):
        StreamSettings(**changes)  # type: ignore[arg-type]


def test_latency_is_stated() -> None:
    assert "last 16 frames" in describe_latency(StreamSettings(), "cartesian")
    assert "last 5 frames" in describe_latency(StreamSettings("dl_natural"), "spiral")
    assert "4 to 7 later frames" in describe_latency(StreamSettings("dl_cardiac"), "radial")


def test_silence_is_an_error() -> None:
    scan = radial(3)
    silent = dataclasses.replace(scan, kspace=np.zeros_like(scan.kspace))
    with pytest.raises(ReconstructionError, match="no signal"):
        list(stream(silent, StreamSettings(calibration_frames=2)))
