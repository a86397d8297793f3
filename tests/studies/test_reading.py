"""What readers add to a study: sessions, rankings and what goes with them, refreshers, guesses; roles."""

from __future__ import annotations

import json
import platform
import shutil
import sqlite3
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app
import studies
from studies.errors import StudyError
from studies.log import canonical_json
from studies.names import method_label
from studies.report.tables import RankingRow, tables_of
from studies.report.writing import csv_bytes
from studies.schedule import Presentation
from studies.software import software
from studies.study import Study

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
LABELS = ("Compressed sensing", "DL, cardiac data", "DL, natural videos")
PASSPHRASE = "four horses and a lamp"
OLD_STUDY = Path(__file__).parents[1] / "data" / "old_study"
StudyMaker = Callable[..., Study]


def next_of(study: Study, reader: str = "Anna") -> Presentation:
    """The reader's next presentation, which is there."""
    presentation = study.next_presentation(reader)
    assert presentation is not None
    return presentation


def read_all(study: Study, reader: str = "Anna") -> None:
    """Rank everything that is left, A before B before C."""
    while (presentation := study.next_presentation(reader)) is not None:
        study.commit_ranking(reader, presentation, range(1, study.arm_count + 1))


# Sessions and what a ranking carries


def test_a_session_keeps_conditions_and_software(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the window found out comes back from the log as it was given, beside the versions that ran."""
    monkeypatch.setitem(sys.modules, "PySide6", types.SimpleNamespace(__version__="6.10.1"))
    study = make_study(scans=2, readers=["Anna", "Ben"])
    conditions = {"display_check": {"verdict": "passed", "seen": [5, 95]}, "refresh_rate_hz": 59.94}
    first = study.begin_session("Anna", conditions)
    second = study.begin_session("Ben", {})
    assert first != second
    (anna, ben) = Study.open(study.folder).sessions
    assert (anna.session_id, anna.reader, anna.conditions) == (first, "Anna", conditions)
    assert (ben.session_id, ben.reader, ben.conditions) == (second, "Ben", {})
    assert anna.software["blindcine"] == app.__version__ == studies.__version__
    assert anna.software["python"] == platform.python_version()
    assert anna.software["qt"] == "6.10.1"
    with pytest.raises(StudyError, match="no reader of this study"):
        study.begin_session("Cleo", {})


def test_software_without_a_window_names_no_qt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "PySide6", raising=False)
    assert set(software()) == {"blindcine", "python", "system"}


def test_a_ranking_carries_how_it_was_made(make_study: StudyMaker) -> None:
    """Confidence, session, viewing and software are in the record, order and kind of panels in the event."""
    study = make_study(scans=2, readers=["Anna", "Ben"])
    session = study.begin_session("Anna", {})
    viewing = {"frames_shown": 310, "speeds": [1.0, 0.5], "loops_per_panel": [3, 2, 2], "ab_loop": False}
    presentation = next_of(study)
    study.commit_ranking(
        "Anna", presentation, (2, 1, 2), loops=2, confidence=4, session_id=session, viewing=viewing
    )
    (record,) = Study.open(study.folder).rankings
    assert (record.ranks, record.confidence, record.cannot_judge) == ((2, 1, 2), 4, False)
    assert (record.session_id, record.viewing, record.software) == (session, viewing, software())
    payload = study.events[-1].payload
    assert payload["permutation"] == list(presentation.permutation)
    assert (payload["repeat"], payload["practice"]) == (False, False)
    with pytest.raises(StudyError, match="'Ben' has no session"):
        study.commit_ranking("Ben", next_of(study, "Ben"), (1, 2, 3), session_id=session)
    with pytest.raises(StudyError, match="'Anna' has no session 'never begun'"):
        study.commit_ranking("Anna", next_of(study), (1, 2, 3), session_id="never begun")


@pytest.mark.parametrize("confidence", [0, 6, 2.5, True])
def test_confidence_is_a_whole_number_from_1_to_5(make_study: StudyMaker, confidence: int) -> None:
    study = make_study(scans=1, readers=["Anna"])
    with pytest.raises(StudyError, match="confidence is .* from 1 to 5"):
        study.commit_ranking("Anna", next_of(study), (1, 2, 3), confidence=confidence)
    assert study.rankings == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"seconds": -1.0}, "time on the clip is -1.0"),
        ({"seconds": float("nan")}, "time on the clip is nan"),
        ({"seconds": float("inf")}, "time on the clip is inf"),
        ({"seconds": "12"}, "time on the clip is '12'"),
        ({"frames_skipped": -1}, "frames skipped is -1"),
        ({"frames_skipped": 1.5}, "frames skipped is 1.5"),
        ({"loops": float("nan")}, "loops is nan"),
        ({"window_level": (255.0,)}, "two numbers"),
        ({"window_level": (255.0, float("nan"))}, "two numbers"),
        ({"window_level": 255.0}, "two numbers"),
    ],
)
def test_a_number_that_is_none_is_refused_before_it_is_in_the_log_for_good(
    make_study: StudyMaker, wrong: dict[str, Any], reason: str
) -> None:
    """One that the replay could not take would keep the whole study from being opened ever again."""
    study = make_study(scans=2, readers=["Anna"])
    with pytest.raises(StudyError, match=reason):
        study.commit_ranking("Anna", next_of(study), (1, 2, 3), **wrong)
    again = Study.open(study.folder)
    assert again.rankings == []
    again.commit_ranking(
        "Anna",
        next_of(study),
        (1, 2, 3),
        seconds=np.float32(1.5),  # type: ignore[arg-type]
        frames_skipped=np.int64(2),  # type: ignore[arg-type]
        loops=3,
    )
    (record,) = study.rankings
    assert (record.seconds, record.frames_skipped, record.loops) == (1.5, 2, 3)


def test_half_a_character_in_a_note_does_not_keep_the_report_from_being_written(
    make_study: StudyMaker, tmp_path: Path
) -> None:
    """What a keyboard or the clipboard can give, and no file in UTF-8 can hold."""
    study = make_study(scans=2, readers=["Anna"])
    for note in ("a\ud800b", "heart \U0001fac0"):
        study.commit_ranking("Anna", next_of(study), (1, 2, 3), comment=note)
    assert [record.comment for record in study.rankings] == ["a\ufffdb", "heart \U0001fac0"]
    study.unblind(PASSPHRASE, "Cora")
    assert b"a\xef\xbf\xbdb" in csv_bytes(tables_of(study).rankings, RankingRow)


def test_what_cannot_be_judged_is_done_and_has_no_ranks(make_study: StudyMaker) -> None:
    """The reader goes on; the record says why there is no order."""
    study = make_study(scans=2, readers=["Anna"])
    first = next_of(study)
    with pytest.raises(StudyError, match="not both"):
        study.commit_ranking("Anna", first, (1, 2, 3), cannot_judge=True)
    with pytest.raises(StudyError, match="3 ranks, but 0"):
        study.commit_ranking("Anna", first, ())
    study.commit_ranking("Anna", first, (), cannot_judge=True, comment="motion", loops=1)
    (record,) = Study.open(study.folder).rankings
    assert (record.ranks, record.cannot_judge, record.comment) == ((), True, "motion")
    assert study.progress("Anna") == (1, 2)
    assert study.missing_rankings() == {"Anna": 1}
    assert next_of(study) != first


# Resuming


def test_a_resumed_reading_offers_the_last_clip_once(make_study: StudyMaker) -> None:
    """Not at the very first session, not twice, not after a ranking, not at the end."""
    study = make_study(scans=3, readers=["Anna", "Ben"])
    study.begin_session("Anna", {})
    assert study.refresher("Anna") is None
    first = next_of(study)
    study.commit_ranking("Anna", first, (1, 2, 3))
    assert study.refresher("Anna") is None

    again = Study.open(study.folder)
    again.begin_session("Anna", {})
    assert again.refresher("Anna") == first
    assert again.refresher("Ben") is None
    with pytest.raises(StudyError, match="offered no refresher"):
        again.record_refresher("Anna", next_of(again))
    again.record_refresher("Anna", first)
    assert (again.refresher("Anna"), study.refresher("Anna")) == (None, None)
    assert len(again.rankings) == 1
    with pytest.raises(StudyError, match="offered no refresher"):
        again.record_refresher("Anna", first)

    second = next_of(again)
    again.begin_session("Anna", {})
    again.commit_ranking("Anna", second, (1, 2, 3))
    assert again.refresher("Anna") is None
    again.begin_session("Anna", {})
    assert again.refresher("Anna") == second
    again.commit_ranking("Anna", next_of(again), (1, 2, 3))
    again.begin_session("Anna", {})
    assert again.refresher("Anna") is None


# The guess


def test_guesses_come_at_the_end_and_are_told_by_label(make_study: StudyMaker) -> None:
    """Reproducibly drawn, each once; in the log they are numbers, and no file names a method before."""
    study = make_study(scans=8, readers=["Anna", "Ben"])
    with pytest.raises(StudyError, match="not ranked everything"):
        study.guess_choices("Anna")
    with pytest.raises(StudyError, match="not ranked everything"):
        study.record_guess("Anna", next_of(study), (None, None, None))
    assert study.guess_presentations("Anna") == []
    read_all(study)
    drawn = study.guess_presentations("Anna")
    assert drawn == Study.open(study.folder).guess_presentations("Anna")
    assert len(drawn) == len({item.clip_id for item in drawn}) == 6 == study.protocol.guess_clips
    assert {item.kind for item in drawn} == {"reading"}
    assert study.guess_presentations("Ben") == []
    assert study.guess_choices("Anna") == LABELS

    left_out = next(item for item in study.schedule("Anna") if item not in drawn)
    for wrong, reason in [
        ((left_out, (None, None, None)), "not asked"),
        ((drawn[0], (LABELS[0], None)), "needs 3 answers, but 2"),
        ((drawn[0], (LABELS[0], "dl_natural", None)), "'dl_natural' is not among the choices"),
    ]:
        with pytest.raises(StudyError, match=reason):
            study.record_guess("Anna", *wrong)
    study.record_guess("Anna", drawn[0], (LABELS[2], None, LABELS[0]))
    assert study.events[-1].payload["choices"] == [2, None, 0]
    assert study.guess_presentations("Anna") == drawn[1:]
    with pytest.raises(StudyError, match="guessed presentation .* already"):
        study.record_guess("Anna", drawn[0], (None, None, None))
    content = b"".join(path.read_bytes() for path in study.folder.rglob("*") if path.is_file())
    assert not [word for word in (*ARMS, *LABELS) if word.encode() in content]

    read_all(study, "Ben")
    study.unblind(PASSPHRASE, "Cora")
    (record,) = Study.open(study.folder).guesses
    assert (record.reader, record.clip_id) == ("Anna", drawn[0].clip_id)
    clip = next(clip for clip in study.clips if clip.clip_id == drawn[0].clip_id)
    assert record.movie_ids == tuple(clip.movie_ids[place] for place in drawn[0].permutation)
    assert record.guesses == (LABELS[2], None, LABELS[0])
    assert {method_label(method) for method in study.method_of.values()} == set(LABELS)


def test_no_guess_if_the_protocol_says_so(tmp_path: Path, make_study: StudyMaker) -> None:
    """0 asks for none; more than there are clips asks for all; other numbers are refused."""
    study = make_study(scans=2, folder="none")
    study.set_design(study.design.changed({"guess_clips": 0}))
    study.lock(["Anna"], PASSPHRASE)
    read_all(study)
    assert study.guess_presentations("Anna") == []
    study = make_study(scans=2, folder="all", readers=["Anna"])
    read_all(study)
    assert sorted(item.index for item in study.guess_presentations("Anna")) == [0, 1]
    with pytest.raises(StudyError, match="'guess_clips' is -1"):
        make_study(scans=1, folder="wrong").design.changed({"guess_clips": -1})


# Roles


def test_a_reader_sees_and_adds_own_answers_only(make_study: StudyMaker) -> None:
    study = make_study(scans=2, readers=["Anna", "Ben"])
    for reader in study.readers:
        study.begin_session(reader, {})
        read_all(study, reader)
        study.record_break(reader, taken=True)
        study.record_guess(reader, study.guess_presentations(reader)[0], (None, None, None))
    study.save_measurement("Phil", study.clips[0].clip_id, {}, {})
    own = Study.open(study.folder, role="reader", person=" Anna ")
    assert (own.role, own.person, own.readers) == ("reader", "Anna", ("Anna",))
    for records in (own.rankings, own.sessions, own.guesses, own.breaks):
        assert {record.reader for record in records} == {"Anna"}
    assert own.measurements == [] and own.missing_rankings() == {}
    assert own.progress("Anna") == (2, 2)
    other = study.schedule("Ben")[0]
    for attempt in (
        lambda: own.progress("Ben"),
        lambda: own.schedule("Ben"),
        lambda: own.next_presentation("Ben"),
        lambda: own.refresher("Ben"),
        lambda: own.guess_choices("Ben"),
        lambda: own.guess_presentations("Ben"),
        lambda: own.break_due("Ben"),
        lambda: own.begin_session("Ben", {}),
        lambda: own.record_refresher("Ben", other),
        lambda: own.record_break("Ben", taken=True),
        lambda: own.commit_ranking("Ben", other, (1, 2, 3)),
        lambda: own.record_guess("Ben", other, (None, None, None)),
    ):
        with pytest.raises(StudyError, match="reader Anna, who sees no answers of 'Ben'"):
            attempt()
    for forbidden in (
        lambda: own.events,
        lambda: own.load_movies(study.clips[0].clip_id),
        lambda: own.save_measurement("Anna", study.clips[0].clip_id, {}, {}),
        lambda: own.amend("Anna", "a wish", {"alpha": 0.1}),
        lambda: own.unblind(PASSPHRASE, "Anna"),
    ):
        with pytest.raises(StudyError, match="open for a reader, who cannot"):
            forbidden()
    assert own.load_clip(study.schedule("Anna")[0]).display.shape[0] == 3
    with pytest.raises(StudyError, match="'Cleo' is no reader"):
        Study.open(study.folder, role="reader", person="Cleo")
    with pytest.raises(StudyError, match="under a name"):
        Study.open(study.folder, role="reader")


def test_a_physicist_measures_and_sees_no_answers(make_study: StudyMaker) -> None:
    study = make_study(scans=2, readers=["Anna"])
    read_all(study)
    physicist = Study.open(study.folder, role="physicist", person="Phil")
    clip_id = study.clips[0].clip_id
    assert physicist.load_movies(clip_id).movies.shape[0] == 3
    physicist.save_measurement("Phil", clip_id, {"line": [[0, 0], [1, 1]]}, {})
    assert [record.observer for record in study.measurements] == ["Phil"]
    assert len(physicist.measurements) == 1
    assert (physicist.readers, physicist.rankings, physicist.sessions, physicist.guesses) == ((), [], [], [])
    with pytest.raises(StudyError, match="sees no answers of 'Anna'"):
        physicist.progress("Anna")
    for forbidden in (
        lambda: physicist.load_clip(study.schedule("Anna")[0]),
        lambda: physicist.unblind(PASSPHRASE, "Phil"),
        lambda: physicist.events,
    ):
        with pytest.raises(StudyError, match="open for a physicist, who cannot"):
            forbidden()


def test_only_the_coordinator_designs(make_study: StudyMaker, write_movie: Callable[..., Path]) -> None:
    """Before the lock nobody else learns the arms or changes anything."""
    study = make_study(scans=1)
    other = Study.open(study.folder, role="physicist")
    scan_id = study.scans[0].scan_id
    assert (other.scans[0].raw_path, other.scans[0].label) == (None, None)
    movie = {arm: write_movie(f"{arm}.h5") for arm in ARMS}
    for forbidden in (
        lambda: other.arms,
        lambda: other.design,
        lambda: other.set_design(study.design),
        lambda: other.import_scan("x.h5", raw_sha256="9" * 64, subject="P", plane="SAX", sampling="radial"),
        lambda: other.remove_scan(scan_id),
        lambda: other.attach_movies(scan_id, movie),
        lambda: other.planned_schedules(["Anna"]),
        lambda: other.lock(["Anna"], PASSPHRASE),
    ):
        with pytest.raises(StudyError, match="open for a physicist, who cannot"):
            forbidden()
    with pytest.raises(StudyError, match="role 'boss' is unknown"):
        Study.open(study.folder, role="boss")  # type: ignore[arg-type]


# Studies of before


def old_study(folder: Path) -> Path:
    """A study whose log was written before there were sessions, guesses and packages."""
    folder.mkdir()
    (folder / "movies").mkdir()
    shutil.copy(OLD_STUDY / "sealed.key", folder)
    database = sqlite3.connect(folder / "events.sqlite3")
    database.execute("PRAGMA journal_mode=WAL")
    database.executescript((OLD_STUDY / "events.sql").read_text(encoding="utf-8"))
    number, digest = database.execute("SELECT sequence, hash FROM events ORDER BY sequence DESC").fetchone()
    database.close()
    (folder / "head.json").write_bytes(canonical_json({"sequence": number, "hash": digest}).encode())
    return folder


def test_a_study_of_before_opens_is_read_to_its_end_and_unblinded(tmp_path: Path) -> None:
    study = Study.open(old_study(tmp_path / "old"))
    assert (study.name, study.phase, study.readers) == (
        "Study of the third session",
        "reading",
        ("Anna", "Ben"),
    )
    assert study.protocol_sha256 == "96093303823f2a708ff29938619ea121001f47f48bbdfed6788a178cf7b1ad33"
    assert study.protocol.alpha == 0.01
    first, second, third = study.rankings
    assert (first.reader, first.ranks, first.comment) == ("Anna", (1, 2, 2), "sharp septum")
    assert (second.seconds, third.reader, third.ranks) == (5.0, "Ben", (1, 1, 1))
    assert (first.confidence, first.cannot_judge, first.session_id, first.viewing) == (None, False, None, {})
    assert len(study.breaks) == 1
    # Nobody was promised a guess when it was locked, and its methods' labels are sealed.
    assert study.guess_presentations("Anna") == []
    with pytest.raises(StudyError, match="without labels"):
        study.guess_choices("Anna")
    study.begin_session("Ben", {})
    assert study.refresher("Ben") == study.schedule("Ben")[0]
    study.commit_ranking("Ben", next_of(study, "Ben"), (), cannot_judge=True)
    methods = study.unblind(PASSPHRASE, "Cora")
    assert sorted(methods.values()) == sorted(ARMS * 2)
    assert json.dumps(Study.open(study.folder).design.to_fields())
