"""The list of open scans and what is guessed from names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.session import find_raw_files, guess_plane, guess_subject


@pytest.mark.parametrize(
    ("stem", "subject"),
    [
        ("S03_radial", "S03"),
        ("subject01_cartesian", "subject01"),
        ("meas_vol-7_sax", "vol-7"),
        ("cine_p12", "p12"),
        ("cardiac_sax_radial", ""),
        ("Smith_John_1970", ""),
        ("slices3_x", ""),
    ],
)
def test_subject_is_guessed_but_never_a_whole_name(stem: str, subject: str) -> None:
    assert guess_subject(stem) == subject


@pytest.mark.parametrize(
    ("words", "plane"),
    [
        ("S01_SAX_radial", "short axis"),
        ("four chamber realtime", "four chamber"),
        ("4ch_x", "four chamber"),
        ("speech_sagittal", "speech"),
        ("unknown", ""),
    ],
)
def test_plane_is_guessed(words: str, plane: str) -> None:
    assert guess_plane(words) == plane


def test_folders_yield_raw_files_but_no_movies(tmp_path: Path, raw_file: Callable[..., Path]) -> None:
    raw = raw_file("S01")
    with h5py.File(raw.parent / "S01_truth.h5", "w") as file:
        file["movie"] = [1.0]
    (raw.parent / "notes.txt").write_text("x")
    nested = raw.parent / "day2"
    nested.mkdir()
    second = nested / "S02.MRD"
    second.write_text("x")
    assert find_raw_files([raw.parent]) == [raw, second]
    assert find_raw_files([raw.parent / "notes.txt"]) == [raw.parent / "notes.txt"]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_raw_files([tmp_path / "nowhere"])


def test_scans_are_opened_once_and_described(
    context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    first = context.scans.add_files([raw_file("S01_radial"), raw_file("S01_radial"), raw_file("bad")])
    assert len(first) == 2
    assert context.scans.add_files([raw_file("S01_radial")]) == []
    radial, bad = first
    qtbot.waitUntil(lambda: bad.state != "reading", timeout=60_000)
    assert (radial.state, radial.sampling, radial.subject, radial.plane) == (
        "ready",
        "radial",
        "S01",
        "short axis",
    )
    assert (bad.state, bad.error) == ("unreadable", "bad.h5: not raw data.")
    context.scans.remove(bad)
    assert list(context.scans) == [radial]


def test_a_file_that_could_not_be_read_is_read_again(
    context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path]
) -> None:
    path = raw_file("bad")
    (scan,) = context.scans.add_files([path])
    qtbot.waitUntil(lambda: scan.state == "unreadable", timeout=60_000)
    scan.path = path.with_name("good.h5")  # as if the copy had been repaired
    path.rename(scan.path)
    assert context.scans.add_files([scan.path]) == []
    assert (scan.state, scan.error) == ("reading", "")
    qtbot.waitUntil(lambda: scan.state == "ready", timeout=60_000)


def test_a_failed_preview_is_tried_again_when_asked(
    context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path
) -> None:
    (scan,) = context.scans.add_files([raw_file("S01")])
    qtbot.waitUntil(lambda: scan.state == "ready", timeout=60_000)
    context.scans.request_preview(scan, tmp_path / "unplugged" / "preview.h5")
    qtbot.waitUntil(lambda: bool(scan.preview_error), timeout=60_000)
    context.scans.request_preview(scan, tmp_path / "preview.h5")
    assert scan.preview_job is None
    context.scans.forget_preview_error(scan)
    context.scans.request_preview(scan, tmp_path / "preview.h5")
    qtbot.waitUntil(lambda: scan.preview is not None, timeout=60_000)


def test_preview_is_made_once(
    context: AppContext, qtbot: QtBot, raw_file: Callable[..., Path], tmp_path: Path
) -> None:
    (scan,) = context.scans.add_files([raw_file("S01")])
    qtbot.waitUntil(lambda: scan.state == "ready", timeout=60_000)
    for _ in range(3):
        context.scans.request_preview(scan, tmp_path / "preview.h5")
    qtbot.waitUntil(lambda: scan.preview is not None, timeout=60_000)
    assert sum(job.command == "preview" for job in context.jobs.jobs) == 1
