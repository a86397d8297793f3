"""A study from creation to unblinding: phases, blinding on the disk, durability, several processes."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import studies
from studies.errors import StudyError
from studies.log import Anchor
from studies.schedule import position_counts, reader_schedule
from studies.state import RankingRecord
from studies.study import Study

REPOSITORY = Path(studies.__file__).parents[1]
ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
PASSPHRASE = "four horses and a lamp"
StudyMaker = Callable[..., Study]
MovieWriter = Callable[..., Path]


def read_all(study: Study, reader: str) -> None:
    """Rank every presentation of a reader 1, 2, 3 from left to right."""
    while (presentation := study.next_presentation(reader)) is not None:
        study.commit_ranking(reader, presentation, range(1, study.arm_count + 1), seconds=1.5)


def files_of(study: Study) -> Iterator[Path]:
    """Every file under the study folder."""
    return (path for path in study.folder.rglob("*") if path.is_file())


# The way through


def test_whole_way(make_study: StudyMaker) -> None:
    """Two readers, one measurement, unblinding; a second object sees the same at each step."""
    study = make_study(scans=4, readers=["Anna", "Ben"])
    again = Study.open(study.folder)
    assert (again.name, again.phase, again.readers, again.arm_count) == (
        "Reading room",
        "reading",
        ("Anna", "Ben"),
        3,
    )
    assert again.progress("Anna") == (0, 4)
    for reader in study.readers:
        read_all(study, reader)
    assert again.progress("Anna") == (4, 4)
    assert again.next_presentation("Ben") is None
    assert len(again.rankings) == 8
    clip = study.clips[0]
    study.save_measurement(
        "Phil", clip.clip_id, {"line": [[0, 1], [2, 3]]}, {clip.movie_ids[0]: {"snr_db": [np.inf, 20.5]}}
    )
    study.save_measurement(
        "Phil", clip.clip_id, {"line": [[0, 1], [2, 4]]}, {clip.movie_ids[0]: {"snr_db": [np.inf, 21.5]}}
    )
    (measurement,) = again.measurements
    assert measurement.shapes == {"line": [[0, 1], [2, 4]]}
    assert measurement.values == {clip.movie_ids[0]: {"snr_db": [np.inf, 21.5]}}
    assert (measurement.observer, measurement.subject, measurement.plane) == (
        "Phil",
        clip.subject,
        clip.plane,
    )

    methods = study.unblind(PASSPHRASE, "Cora")
    assert again.phase == "unblinded"
    assert again.arms == ARMS
    assert dict(again.method_of) == methods
    assert Counter(methods.values()) == dict.fromkeys(ARMS, 4)
    for clip in again.clips:
        assert {methods[movie_id] for movie_id in clip.movie_ids} == set(ARMS)
    again.verify()


def test_panels_show_the_movies_that_the_log_says(make_study: StudyMaker) -> None:
    """From pixel values to method and back: every ranked panel was the movie of that method and scan."""
    study = make_study(scans=4, readers=["Anna"])
    shown: dict[str, list[str]] = {}
    for presentation in study.schedule("Anna"):
        clip = study.load_clip(presentation)
        measured = study.load_movies(presentation.clip_id)
        movie_ids = [measured.movie_ids[place] for place in presentation.permutation]
        shown[presentation.presentation_id] = movie_ids
        assert clip.display.shape == (3, 6, 8, 8)
        assert clip.display.dtype == np.uint8
        assert clip.frame_times_s == pytest.approx(0.05 * np.arange(6))
        assert clip.pixel_spacing_mm == (1.5, 1.25)
        panels = [clip.display[position] for position in range(3)]
        stored = [measured.movies[place] for place in presentation.permutation]
        for panel, movie in zip(panels, stored, strict=True):
            # The display is a monotone map of the stored movie.
            assert np.corrcoef(panel.ravel(), movie.ravel())[0, 1] > 0.99
    read_all(study, "Anna")
    assert {record.presentation_id: list(record.movie_ids) for record in study.rankings} == shown
    method_of = study.unblind(PASSPHRASE, "Cora")
    for number, clip in enumerate(study.clips):
        for movie_id, movie in zip(clip.movie_ids, study.load_movies(clip.clip_id).movies, strict=True):
            # The least-squares factor changes the mean but not the contrast.
            contrast = float(movie.std() / movie.mean())
            expected = (
                np.random.default_rng(number).random((6, 8, 8))
                + 10 * number
                + ARMS.index(method_of[movie_id])
            )
            assert contrast == pytest.approx(expected.std() / expected.mean(), rel=1e-4)


def test_methods_are_balanced_over_positions(make_study: StudyMaker) -> None:
    """In true method names, after unblinding: strata of 3 clips are level exactly, each reader."""
    study = make_study(scans=6, readers=["Anna", "Ben"])
    for reader in study.readers:
        read_all(study, reader)
    method_of = study.unblind(PASSPHRASE, "Cora")
    for reader in study.readers:
        for plane in ("SAX", "4CH"):
            rows = [
                tuple(ARMS.index(method_of[movie_id]) for movie_id in record.movie_ids)
                for record in study.rankings
                if record.reader == reader and record.plane == plane
            ]
            assert position_counts(rows, 3) == [[1, 1, 1]] * 3


@pytest.mark.parametrize("arms", [("one", "two"), ("a1", "a2", "a3", "a4", "a5", "a6")])
def test_other_numbers_of_arms(make_study: StudyMaker, arms: tuple[str, ...]) -> None:
    """Two and six arms go the whole way."""
    study = make_study(scans=2, readers=["Anna"], arms=arms)
    presentation = study.next_presentation("Anna")
    assert presentation is not None
    assert study.load_clip(presentation).display.shape[0] == len(arms)
    read_all(study, "Anna")
    assert set(study.unblind(PASSPHRASE, "Cora").values()) == set(arms)


def test_scans_tell_everything_before_the_lock_and_after_unblinding_only(
    make_study: StudyMaker, tmp_path: Path
) -> None:
    """Label and raw file come back; provenance of each movie too."""
    study = make_study(scans=2)
    assert [scan.raw_path for scan in study.scans] == [
        tmp_path / f"meas_heart_{number}.h5" for number in range(2)
    ]
    assert [scan.label for scan in study.scans] == ["second breath hold 0", "second breath hold 1"]
    assert [scan.complete for scan in study.scans] == [True, True]
    before = study.scans
    study.lock(["Anna"], PASSPHRASE)
    assert {scan.raw_path for scan in study.scans} == {None}
    assert {scan.label for scan in study.scans} == {None}
    for hidden in ("arms", "method_of", "provenance_of"):
        with pytest.raises(StudyError, match="blinded"):
            getattr(study, hidden)
    study.unblind(PASSPHRASE, "Cora", force=True)
    assert study.scans == before
    for movie_id, provenance in study.provenance_of.items():
        assert provenance["method"] == study.method_of[movie_id]


def test_same_seed_same_schedule(make_study: StudyMaker) -> None:
    """The schedule in terms of arms follows from the seed; verify() rebuilds it after unblinding."""
    study = make_study(scans=4, readers=["Anna"], seed=11)
    schedule = study.schedule("Anna")
    study.unblind(PASSPHRASE, "Cora", force=True)
    clips = study.clips
    expected = reader_schedule(
        11,
        "Anna",
        [(clip.clip_id, clip.subject) for clip in clips],
        strata=[f"{c.plane}/{c.sampling}" for c in clips],
    )
    assert [p.clip_id for p in schedule] == [p.clip_id for p in expected]
    arm_order = study.events[-1].payload["arm_order"]
    movies = {clip.clip_id: clip.movie_ids for clip in clips}
    for mine, theirs in zip(schedule, expected, strict=True):
        shown = [study.method_of[movies[mine.clip_id][place]] for place in mine.permutation]
        assert shown == [arm_order[arm] for arm in theirs.permutation]
    study.verify()


# Blinding on the disk


def test_no_file_of_a_locked_study_names_a_method_or_a_raw_file(make_study: StudyMaker) -> None:
    """Byte search over every file, free pages and write-ahead log of the database included, and names."""
    study = make_study(scans=3, seed="tell-tale-seed")
    # An open reader keeps SQLite from folding the write-ahead log away: it must be clean too.
    watcher = sqlite3.connect(study.folder / "events.sqlite3")
    watcher.execute("BEGIN")
    watcher.execute("SELECT count(*) FROM events").fetchone()
    # Movies attached twice and a scan removed leave traces if anything does.
    extra = study.import_scan(
        "/data/meas_heart_9.h5", raw_sha256="9" * 64, subject="P9", plane="SAX", sampling="spiral"
    )
    study.remove_scan(extra)
    study.lock(["Anna"], PASSPHRASE)
    presentation = study.next_presentation("Anna")
    assert presentation is not None
    study.commit_ranking("Anna", presentation, [1, 1, 3])
    words = [
        *ARMS,
        "compressed",
        "natural",
        "cardiac",
        "meas_heart",
        "breath hold",
        "tell-tale-seed",
        "provenance_of",
    ]
    words += [f"{number:02x}" * 32 for number in (1, 2, 3)]
    assert (study.folder / "events.sqlite3-wal").stat().st_size > 0
    searched = set()
    for path in files_of(study):
        searched.add(path.name)
        content = path.read_bytes().lower()
        for word in words:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                assert word.lower().encode(encoding) not in content, (path.name, word)
            assert word not in str(path.relative_to(study.folder)).lower()
    watcher.close()
    assert {"events.sqlite3", "events.sqlite3-wal", "head.json", "sealed.key"} <= searched
    assert "draft.key" not in searched
    # The search can find something: unblinding writes the names.
    study.unblind(PASSPHRASE, "Cora", force=True)
    content = b"".join(path.read_bytes() for path in files_of(study))
    assert all(arm.encode() in content for arm in ARMS)


def test_movie_files_of_the_arms_look_alike(make_study: StudyMaker) -> None:
    """Size, times and mode are equal; ids do not sort by arm."""
    study = make_study(scans=10)
    by_arm: dict[str, list[int]] = {arm: [] for arm in ARMS}
    study.lock(["Anna"], PASSPHRASE)
    study.unblind(PASSPHRASE, "Cora", force=True)
    for clip in study.clips:
        facts = [os.stat(study.folder / "movies" / f"{movie_id}.h5") for movie_id in clip.movie_ids]
        assert len({(fact.st_size, fact.st_mtime_ns, fact.st_mode) for fact in facts}) == 1
        for place, movie_id in enumerate(clip.movie_ids):
            by_arm[study.method_of[movie_id]].append(place)
        assert list(clip.movie_ids) == sorted(clip.movie_ids)
    # Each arm's places 0, 1, 2 would all be equal if ids sorted by arm: chance of that here is 3^-9.
    assert all(len(set(places)) > 1 for places in by_arm.values())


def test_names_in_clear_may_not_unblind(tmp_path: Path, make_study: StudyMaker) -> None:
    """Study, subject, plane and reader stand in clear in the log."""
    with pytest.raises(StudyError, match="contains 'dl_natural'"):
        Study.create(tmp_path / "s", name="CS against DL_natural")
    study = make_study(scans=1)
    with pytest.raises(StudyError, match="'heart.h5'"):
        study.import_scan(
            "/x/heart.h5", raw_sha256="a" * 64, subject="heart.h5", plane="SAX", sampling="radial"
        )
    with pytest.raises(StudyError, match="compressed_sensing"):
        study.import_scan(
            "/x/y.h5", raw_sha256="a" * 64, subject="P1", plane="compressed_sensing", sampling="radial"
        )
    with pytest.raises(StudyError, match="dl_cardiac"):
        study.lock(["dl_cardiac fan"], PASSPHRASE)


def test_locked_log_does_not_link_panels_of_different_clips(make_study: StudyMaker) -> None:
    """The places in the log are places among random ids: the same arm has several of them."""
    study = make_study(scans=12, readers=["Anna"])
    places: dict[str, set[int]] = {arm: set() for arm in ARMS}
    entries = study.events[-1].payload["schedules"]["Anna"]
    clips = {clip.clip_id: clip for clip in study.clips}
    study.unblind(PASSPHRASE, "Cora", force=True)
    for entry in entries:
        assert set(entry) == {"presentation_id", "clip_id", "permutation"}
        for place in entry["permutation"]:
            places[study.method_of[clips[entry["clip_id"]].movie_ids[place]]].add(place)
    assert all(len(found) > 1 for found in places.values())


# What is refused


def test_design_is_frozen_at_the_lock(make_study: StudyMaker, write_movie: MovieWriter) -> None:
    """No import, no movies, no second lock afterwards."""
    study = make_study(scans=2, readers=["Anna"])
    scan_id = study.scans[0].scan_id
    for action in (
        lambda: study.import_scan(
            "/x/z.h5", raw_sha256="b" * 64, subject="P", plane="SAX", sampling="radial"
        ),
        lambda: study.attach_movies(scan_id, {arm: write_movie(f"{arm}.h5") for arm in ARMS}),
        lambda: study.remove_scan(scan_id),
        lambda: study.lock(["Ben"], PASSPHRASE),
    ):
        with pytest.raises(StudyError, match="the study is locked"):
            action()
    assert len(list((study.folder / "movies").iterdir())) == 6


def test_reading_needs_a_lock(make_study: StudyMaker) -> None:
    """Neither schedule nor measurement nor unblinding in the design phase."""
    study = make_study(scans=1)
    for action in (
        lambda: study.schedule("Anna"),
        lambda: study.next_presentation("Anna"),
        lambda: study.save_measurement("Phil", study.clips[0].clip_id, {}, {}),
        lambda: study.unblind(PASSPHRASE, "Cora"),
    ):
        with pytest.raises(StudyError, match=r"not locked|lock the study"):
            action()


def test_lock_refuses_incomplete_designs(make_study: StudyMaker) -> None:
    """No scans, scans without movies, no readers, doubled readers, no passphrase."""
    empty = make_study("empty", scans=0)
    with pytest.raises(StudyError, match="no scans"):
        empty.lock(["Anna"], PASSPHRASE)
    study = make_study(scans=2)
    for readers, passphrase, message in [
        ([], PASSPHRASE, "at least one reader"),
        ("Anna", PASSPHRASE, "at least one reader"),
        (["Anna", "anna "], PASSPHRASE, "not all different"),
        (["Anna", " "], PASSPHRASE, "empty"),
        (["Anna"], " ", "passphrase is empty"),
    ]:
        with pytest.raises(StudyError, match=message):
            study.lock(readers, passphrase)
    study.import_scan("/x/late.h5", raw_sha256="c" * 64, subject="P8", plane="SAX", sampling="spiral")
    with pytest.raises(StudyError, match="1 of 3 scans have no movies yet"):
        study.lock(["Anna"], PASSPHRASE)
    assert Study.open(study.folder).phase == "design"


def test_imports_are_checked(make_study: StudyMaker) -> None:
    """Doubled scan, unknown sampling, no hash."""
    study = make_study(scans=1)
    good = {"raw_sha256": "d" * 64, "subject": "P1", "plane": "SAX", "sampling": "radial"}
    for change, message in [
        ({"raw_sha256": "01" * 32}, "in the study already"),
        ({"raw_sha256": "d"}, "64 hexadecimal"),
        ({"sampling": "rosette"}, "cartesian, radial, spiral"),
        ({"subject": " "}, "subject is empty"),
    ]:
        with pytest.raises(StudyError, match=message):
            study.import_scan("/x/z.h5", **{**good, **change})
    assert len(study.scans) == 1


def test_attaching_is_checked_and_replaces(make_study: StudyMaker, write_movie: MovieWriter) -> None:
    """Missing or unknown arms are refused without a trace; attaching again leaves no old file."""
    study = make_study(scans=1)
    scan = study.scans[0]
    before = study.clips[0].movie_ids
    good = {arm: write_movie(f"new_{arm}.h5") for arm in ARMS}
    for movies, message in [
        ({arm: good[arm] for arm in ARMS[:2]}, "give one movie for each arm"),
        ({**good, "gridded": good[ARMS[0]]}, "give one movie for each arm"),
        ({**good, ARMS[0]: write_movie("large.h5", np.ones((6, 9, 9)))}, "matrix"),
    ]:
        with pytest.raises(StudyError, match=message):
            study.attach_movies(scan.scan_id, movies)
    with pytest.raises(StudyError, match="no scan 'nowhere'"):
        study.attach_movies("nowhere", good)
    assert {path.stem for path in (study.folder / "movies").iterdir()} == set(before)
    study.attach_movies(scan.scan_id, good)
    after = study.clips[0].movie_ids
    assert set(after).isdisjoint(before)
    assert {path.stem for path in (study.folder / "movies").iterdir()} == set(after)


def test_a_ranking_is_committed_once_in_order_and_as_a_weak_order(make_study: StudyMaker) -> None:
    """Twice, out of turn, by a stranger, with impossible ranks: refused; ties are kept as (1, 1, 3)."""
    study = make_study(scans=3, readers=["Anna", "Ben"])
    first, second, _ = study.schedule("Anna")
    with pytest.raises(StudyError, match="is number 1, not 2"):
        study.commit_ranking("Anna", second, [1, 2, 3])
    with pytest.raises(StudyError, match="not in the schedule of 'Ben'"):
        study.commit_ranking("Ben", first, [1, 2, 3])
    with pytest.raises(StudyError, match="'Cleo' is no reader"):
        study.commit_ranking("Cleo", first, [1, 2, 3])
    for ranks in ([1, 2], [1, 2, 3, 3], [0, 1, 2], [1, 2, 4]):
        with pytest.raises(StudyError):
            study.commit_ranking("Anna", first, ranks)
    study.commit_ranking(
        "Anna",
        first,
        [2, 1, 1],
        seconds=np.float64(3.5),
        frames_skipped=2,
        loops=4,
        comment="fold-over",
        window_level=(1, 2),
    )
    with pytest.raises(StudyError, match="has ranked presentation 1 already"):
        study.commit_ranking("Anna", first, [1, 2, 3])
    (record,) = Study.open(study.folder).rankings
    assert isinstance(record, RankingRecord)
    assert (record.reader, record.index, record.ranks, record.seconds) == ("Anna", 0, (3, 1, 1), 3.5)
    assert (record.frames_skipped, record.loops, record.comment, record.window_level) == (
        2,
        4,
        "fold-over",
        (1.0, 2.0),
    )
    assert study.progress("Anna") == (1, 3)
    assert study.progress(" Anna ") == (1, 3)


def test_unblinding_is_guarded_and_freezes(make_study: StudyMaker) -> None:
    """Missing rankings, a wrong passphrase (recorded), a swapped sealed key; then no more writing."""
    study = make_study(scans=2, readers=["Anna"])
    with pytest.raises(StudyError, match=r"missing \(Anna: 2\)"):
        study.unblind(PASSPHRASE, "Cora")
    assert study.missing_rankings() == {"Anna": 2}
    presentation = study.next_presentation("Anna")
    assert presentation is not None
    study.commit_ranking("Anna", presentation, [1, 2, 3])
    with pytest.raises(StudyError, match="passphrase does not open"):
        study.unblind("guess", "Mallory", force=True)
    assert (study.events[-1].kind, study.events[-1].actor) == ("unblinding_refused", "Mallory")
    sealed = study.folder / "sealed.key"
    content = sealed.read_bytes()
    sealed.write_bytes(content.replace(b'"n":2', b'"n":4'))
    for action in (lambda: study.unblind(PASSPHRASE, "Cora", force=True), study.verify):
        with pytest.raises(StudyError, match="not the file sealed at the lock"):
            action()
    sealed.write_bytes(content)
    study.unblind(PASSPHRASE, "Cora", force=True)
    event = study.events[-1]
    assert (event.kind, event.actor, event.payload["forced"], event.payload["missing"]) == (
        "study_unblinded",
        "Cora",
        True,
        {"Anna": 1},
    )
    presentation = study.next_presentation("Anna")
    assert presentation is not None
    for action in (
        lambda: study.commit_ranking("Anna", presentation, [1, 2, 3]),
        lambda: study.save_measurement("Phil", study.clips[0].clip_id, {}, {}),
        lambda: study.unblind(PASSPHRASE, "Cora"),
    ):
        with pytest.raises(StudyError, match="unblinded and frozen"):
            action()


def test_folders_that_are_no_study(tmp_path: Path) -> None:
    """Occupied, empty, or half made."""
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "letter.txt").write_text("dear")
    with pytest.raises(StudyError, match="not empty"):
        Study.create(occupied, name="Heart")
    with pytest.raises(StudyError, match="no study folder"):
        Study.open(occupied)
    (occupied / "letter.txt").unlink()
    assert Study.create(occupied, name="Heart").phase == "design"
    with pytest.raises(StudyError, match="not all different"):
        Study.create(tmp_path / "x", name="Heart", arms=("a", "a"))
    assert not (tmp_path / "x").exists()


# Tampering


def test_changed_log_is_not_opened(make_study: StudyMaker) -> None:
    """A better rank written over a worse one is found on opening, and by the study that is open already."""
    study = make_study(scans=2, readers=["Anna"])
    read_all(study, "Anna")
    noted = study.head
    connection = sqlite3.connect(study.folder / "events.sqlite3")
    connection.execute("DROP TRIGGER events_refuse_update")
    connection.execute(
        "UPDATE events SET payload = replace(payload, '[1,2,3]', '[3,2,1]') WHERE kind = 'ranking_committed'"
    )
    connection.commit()
    connection.close()
    for action in (lambda: Study.open(study.folder), study.verify, lambda: study.verify(noted)):
        with pytest.raises(StudyError, match=f"Event {noted.sequence - 1} of the log"):
            action()


def test_cut_tail_is_found(make_study: StudyMaker) -> None:
    """A ranking taken away: seen by head.json, by a study that is open, and by a head noted elsewhere."""
    study = make_study(scans=2, readers=["Anna"])
    read_all(study, "Anna")
    noted = Anchor.parse(str(study.head))
    study.verify(noted)
    connection = sqlite3.connect(study.folder / "events.sqlite3")
    trigger = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'events_refuse_delete'"
    ).fetchone()[0]
    connection.execute("DROP TRIGGER events_refuse_delete")
    connection.execute("DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)")
    connection.execute(trigger)
    connection.commit()
    last = connection.execute("SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    connection.close()
    with pytest.raises(StudyError, match="cut short"):
        Study.open(study.folder)
    with pytest.raises(StudyError, match="cut short"):
        study.progress("Anna")
    (study.folder / "head.json").write_text(json.dumps({"sequence": last[0], "hash": last[1]}))
    fooled = Study.open(study.folder)
    assert fooled.progress("Anna") == (1, 2)
    with pytest.raises(StudyError, match="noted elsewhere"):
        fooled.verify(noted)


def test_swapped_movies_are_found(make_study: StudyMaker) -> None:
    """Two arms' files exchanged under their ids."""
    study = make_study(scans=1, readers=["Anna"])
    one, two = (study.folder / "movies" / f"{movie_id}.h5" for movie_id in study.clips[0].movie_ids[:2])
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    presentation = study.next_presentation("Anna")
    assert presentation is not None
    for action in (lambda: study.load_clip(presentation), study.verify):
        with pytest.raises(StudyError, match="not the file that was attached"):
            action()


# Kill and concurrency

READING = """
import sys
from studies.study import Study
study = Study.open(sys.argv[1])
while (presentation := study.next_presentation("Anna")) is not None:
    study.commit_ranking("Anna", presentation, [1, 2, 2], seconds=1.0)
    print(presentation.presentation_id, flush=True)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run Python code in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def test_kill_loses_nothing_acknowledged(make_study: StudyMaker) -> None:
    """Killed at random moments between and within commits: what was acknowledged is there exactly once.

    At most the one ranking whose acknowledgement was on its way may be there in addition.
    """
    study = make_study(scans=24, readers=["Anna"])
    acknowledged: list[str] = []
    moments = random.Random(20)
    for _ in range(4):
        child = start(READING, str(study.folder))
        assert child.stdout is not None
        lines: list[str] = []
        for line in child.stdout:
            lines.append(line.strip())
            if len(lines) == 2:
                time.sleep(moments.uniform(0, 0.08))
                os.kill(child.pid, signal.SIGKILL)
                lines += child.stdout.read().split()
                break
        child.wait(timeout=30)
        child.stdout.close()
        acknowledged += lines
        reopened = Study.open(study.folder)
        reopened.verify()
        committed = [record.presentation_id for record in reopened.rankings]
        assert committed[: len(acknowledged)] == acknowledged
        assert len(committed) - len(acknowledged) in (0, 1)
        assert len(set(committed)) == len(committed)
        acknowledged = committed
        assert reopened.progress("Anna") == (len(committed), 24)
    assert len(acknowledged) >= 8
    # The reader goes on where the kill struck.
    read_all(study, "Anna")
    assert [record.index for record in study.rankings] == list(range(24))


LOCKING = """
import sys
from studies import blinding
blinding.SCRYPT_COST = 2
from studies.study import Study
study = Study.open(sys.argv[1])
print("ready", flush=True)
study.lock(["Anna"], "four horses and a lamp")
print("locked", flush=True)
"""


def test_kill_while_locking_leaves_a_study_that_is_locked_or_not(make_study: StudyMaker) -> None:
    """Whenever the kill comes, reopening gives a sound study; once locked, no key lies about."""
    moments = random.Random(3)
    phases = set()
    for number in range(3):
        study = make_study(f"study{number}", scans=1)
        child = start(LOCKING, str(study.folder))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 0.06))
        child.kill()
        said = child.stdout.read()
        child.wait(timeout=30)
        child.stdout.close()
        reopened = Study.open(study.folder)
        phases.add(reopened.phase)
        if "locked" in said:
            assert reopened.phase == "reading"
        if reopened.phase == "design":
            reopened.lock(["Anna"], PASSPHRASE)
        assert not (study.folder / "draft.key").exists()
        assert set(reopened.unblind(PASSPHRASE, "Cora", force=True).values()) == set(ARMS)
        reopened.verify()
    assert phases


def test_a_kill_between_lock_and_clean_up_is_made_good(make_study: StudyMaker) -> None:
    """The draft key and strangers among the movies are removed on the next opening."""
    study = make_study(scans=1)
    key = (study.folder / "draft.key").read_bytes()
    study.lock(["Anna"], PASSPHRASE)
    (study.folder / "draft.key").write_bytes(key)
    (study.folder / "movies" / ".0123.part").write_bytes(b"half")
    (study.folder / "movies" / "0123456789abcdef.h5").write_bytes(b"orphan")
    Study.open(study.folder)
    assert not (study.folder / "draft.key").exists()
    assert {path.stem for path in (study.folder / "movies").iterdir()} == set(study.clips[0].movie_ids)


TWO_READERS = """
import sys
from studies.study import Study
study = Study.open(sys.argv[1])
while (presentation := study.next_presentation(sys.argv[2])) is not None:
    study.commit_ranking(sys.argv[2], presentation, [1, 2, 3])
"""


def test_two_processes_read_one_study(make_study: StudyMaker) -> None:
    """Two readers at once: all rankings of both, and this process sees them without reopening."""
    study = make_study(scans=5, readers=["Anna", "Ben"])
    children = [start(TWO_READERS, str(study.folder), reader) for reader in study.readers]
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    assert study.progress("Anna") == study.progress("Ben") == (5, 5)
    assert len({(record.reader, record.presentation_id) for record in study.rankings}) == 10
    study.verify()


def test_one_presentation_is_ranked_by_one_of_two_windows(make_study: StudyMaker) -> None:
    """The same reader in two windows: the later commit is refused, whichever it is."""
    study = make_study(scans=2, readers=["Anna"])
    windows = [Study.open(study.folder), Study.open(study.folder)]
    presentation = study.next_presentation("Anna")
    assert presentation is not None
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def commit(window: Study) -> None:
        barrier.wait()
        try:
            window.commit_ranking("Anna", presentation, [1, 2, 3])
            outcomes.append("committed")
        except StudyError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=commit, args=(window,)) for window in windows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.split()[-1] for outcome in outcomes) == ["changed.", "committed"]
    assert len(study.rankings) == 1
