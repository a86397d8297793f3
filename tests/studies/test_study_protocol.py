"""A study under a protocol file: repeats, practice cases, breaks, amendments, and what stays frozen."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies import log as study_log
from studies import report
from studies.design import Design
from studies.errors import StudyError
from studies.log import canonical_json
from studies.protocol import Protocol
from studies.report import analyse, tables_of
from studies.statistics.long_table import read_table
from studies.study import Study

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
PASSPHRASE = "four horses and a lamp"
StudyMaker = Callable[..., Study]
MovieWriter = Callable[..., Path]
Maker = Callable[..., Study]


@pytest.fixture
def make_planned(make_study: StudyMaker, write_movie: MovieWriter, tmp_path: Path) -> Maker:
    """A study of 8 clips of 4 subjects and 2 practice cases, 4 repeats, 2 readers; locked on request."""

    def make(*, lock: bool = True, scans: int = 8, practice: int = 2, **changes: object) -> Study:
        study = make_study(scans=scans)
        wanted = {"repeat_share": 0.2, "repeat_minimum": 4, "readers": ["Anna", "Ben"], **changes}
        study.set_design(study.design.changed(wanted))
        for number in range(practice):
            scan_id = study.import_scan(
                tmp_path / f"practice{number}.h5",
                raw_sha256=f"{number + 90:02x}" * 32,
                subject=f"Q{number}",
                plane="SAX",
                sampling="radial",
                practice=True,
            )
            movies = {
                arm: write_movie(
                    f"practice_{number}_{arm}.h5", np.random.default_rng(place).random((6, 8, 8))
                )
                for place, arm in enumerate(ARMS)
            }
            study.attach_movies(scan_id, movies)
        if lock:
            study.lock((), PASSPHRASE)
        return study

    return make


def read_by_method(
    study: Study, reader: str, secret: dict[str, str], orders: Callable[[Any], Sequence[int]]
) -> None:
    """Rank every presentation so that `orders(presentation)` gives the rank of each of `ARMS`."""
    while (presentation := study.next_presentation(reader)) is not None:
        clips = {clip.clip_id: clip for clip in (*study.clips, *study.practice_clips)}
        movie_ids = clips[presentation.clip_id].movie_ids
        ranks = dict(zip(ARMS, orders(presentation), strict=True))
        study.commit_ranking(
            reader,
            presentation,
            [ranks[secret[movie_ids[place]]] for place in presentation.permutation],
            seconds=2.0,
            loops=study.protocol.must_view_loops,
        )


def methods_of(study: Study) -> dict[str, str]:
    """Movie id to method, by a look into the encrypted log with the draft key, before the lock."""
    from studies import concealment

    key = (study.folder / "draft.key").read_bytes()
    found: dict[str, str] = {}
    for scan in study.scan_states:
        found.update(concealment.decrypt_movies(key, scan)["methods"])
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    """A table's lines; no cell of it has a line end inside."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# The way through


def test_practice_first_repeats_later_and_neither_in_the_analysis(
    make_planned: Maker, tmp_path: Path
) -> None:
    """Readings say 1 2 3, repeats the reverse, practice all tied: only the readings reach the main result."""
    study = make_planned(lock=False)
    secret = methods_of(study)
    study.lock((), PASSPHRASE)
    assert study.readers == ("Anna", "Ben")
    assert (len(study.clips), len(study.practice_clips)) == (8, 2)
    said = {"practice": (1, 1, 1), "reading": (1, 2, 3), "repeat": (3, 2, 1)}
    for reader in study.readers:
        assert study.progress(reader) == (0, 14)
        kinds = [item.kind for item in study.schedule(reader)]
        assert kinds[:2] == ["practice"] * 2 and Counter(kinds) == {"practice": 2, "reading": 8, "repeat": 4}
        read_by_method(study, reader, secret, lambda item: said[item.kind])
    assert study.progress("Anna") == (14, 14)
    again = Study.open(study.folder)
    assert Counter(record.kind for record in again.rankings) == {"practice": 4, "reading": 16, "repeat": 8}
    assert again.missing_rankings() == {}
    study.unblind(PASSPHRASE, "Cora")
    study.verify()
    exported = report.export(study, tmp_path / "out")

    rows = read_csv(exported.ranking)
    assert Counter(row["repeat"] for row in rows) == {"0": 2 * 8 * 3, "1": 2 * 4 * 3}
    assert exported.practice is not None and exported.practice in exported.paths
    practice = read_csv(exported.practice)
    assert len(practice) == 2 * 2 * 3 and {row["rank_mid"] for row in practice} == {"2"}
    practised = {clip.clip_id for clip in study.practice_clips}
    assert {row["clip"] for row in practice} == practised and practised.isdisjoint(
        row["clip"] for row in rows
    )

    analysis = analyse(tables_of(study))
    ranks = [found for found in analysis.results if found.ranked]
    for found in ranks:
        assert found.result is not None and found.result.mean == (1.0, 2.0, 3.0)
        for again in found.repeats:
            assert again.first == again.second
            assert again.identical_orders == 0.0 and again.kappa_quadratic < 0
        assert all(pair.first != pair.second for pair in found.pairs_of_readers)
    assert ranks[-1].secondary and sum(again.clips for again in ranks[-1].repeats) == 8
    lines = read_csv(exported.statistics)
    intra = [row for row in lines if row["item"] == "repeats Anna" and row["stratum"] == "all strata"]
    assert {row["quantity"]: row["value"] for row in intra}["clips"] == "4"
    assert analysis.document["readings"]["Anna"]["readings"] == 8
    assert analysis.document["readings"]["Anna"]["repeats"] == 4
    page = exported.report.read_text(encoding="utf-8")
    assert "Anna, first and repeated readings" in page and "8 hidden repeats" in page
    assert study.protocol_sha256 in page


def test_the_exported_table_is_understood_by_the_table_command(make_planned: Maker, tmp_path: Path) -> None:
    """`blindcine statistics ranking.csv` sees the first readings as such, repeats as repeats, no practice."""
    study = make_planned(lock=False, readers=["Anna"])
    secret = methods_of(study)
    study.lock((), PASSPHRASE)
    read_by_method(study, "Anna", secret, lambda item: (1, 2, 3) if item.kind == "reading" else (3, 2, 1))
    study.unblind(PASSPHRASE, "Cora")
    table = read_table(report.export(study, tmp_path / "out").ranking)
    assert Counter(entry.presentation for entry in table.entries) == {0: 24, 1: 12}
    best = {entry.method for entry in table.entries if entry.presentation == 0 and entry.number == 1}
    assert best == {"compressed_sensing"}


def test_a_repeat_shows_the_same_movies_in_other_places(make_planned: Maker) -> None:
    """Pixel for pixel: each panel of the first reading stands elsewhere in the repeat."""
    study = make_planned()
    schedule = study.schedule("Anna")
    first = {item.clip_id: item for item in schedule if item.kind == "reading"}
    repeats = [item for item in schedule if item.kind == "repeat"]
    assert len(repeats) == 4
    for item in repeats:
        before, after = study.load_clip(first[item.clip_id]).display, study.load_clip(item).display
        assert sorted(panel.tobytes() for panel in before) == sorted(panel.tobytes() for panel in after)
        assert all(not np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_reading_is_resumed_at_a_repeat(make_planned: Maker) -> None:
    """Stopped before each presentation in turn, another process goes on at the same one."""
    study = make_planned(readers=["Anna"])
    for number, item in enumerate(study.schedule("Anna")):
        fresh = Study.open(study.folder)
        assert fresh.next_presentation("Anna") == item
        assert fresh.progress("Anna") == (number, 14)
        fresh.commit_ranking("Anna", item, [1, 2, 3])
    assert study.next_presentation("Anna") is None


def test_what_is_planned_is_what_is_locked(make_planned: Maker) -> None:
    """The preview before the lock has the order, the kinds and the position counts of the locked schedule."""
    study = make_planned(lock=False)
    secret = methods_of(study)
    planned = study.planned_schedules()
    study.lock((), PASSPHRASE)
    clips = {clip.clip_id: clip.movie_ids for clip in (*study.clips, *study.practice_clips)}
    renamed: set[tuple[int, str]] = set()
    for reader in study.readers:
        for before, after in zip(planned[reader], study.schedule(reader), strict=True):
            assert dataclasses.replace(before, permutation=()) == dataclasses.replace(after, permutation=())
            shown = [secret[clips[after.clip_id][place]] for place in after.permutation]
            renamed.update(zip(before.permutation, shown, strict=True))
    assert len(renamed) == 3, "one secret order of the arms explains every panel"


# Crop, must-view, practice rules


def test_the_crop_is_the_middle_of_what_was_attached(make_planned: Maker) -> None:
    """8 × 8 pixels of 1.5 × 1.25 mm cut to 6 × 5 mm: 4 × 4; measurement keeps the whole image."""
    cut = make_planned(lock=False)
    cut.set_design(cut.design.changed({"crop_mm": [6, 5]}))
    cut.lock((), PASSPHRASE)
    item = cut.schedule("Anna")[0]
    display = cut.load_clip(item).display
    assert display.shape == (3, 6, 4, 4)
    movies = cut.load_movies(item.clip_id).movies
    assert movies.shape == (3, 6, 8, 8)
    for panel, place in zip(display, item.permutation, strict=True):
        assert np.corrcoef(panel.ravel(), movies[place][:, 2:6, 2:6].ravel())[0, 1] > 0.99


def test_a_ranking_needs_the_passes_that_the_protocol_asks_for(make_planned: Maker) -> None:
    """Two asked for: one is refused, two are taken; a command that does not count passes is let through."""
    study = make_planned(must_view_loops=2, readers=["Anna"])
    first, second, *_ = study.schedule("Anna")
    with pytest.raises(StudyError, match="seen 1 times to its end, but the protocol asks for 2"):
        study.commit_ranking("Anna", first, [1, 2, 3], loops=1)
    study.commit_ranking("Anna", first, [1, 2, 3], loops=2)
    study.commit_ranking("Anna", second, [1, 2, 3])


def test_practice_cases_are_of_other_subjects_and_are_not_measured(
    make_planned: Maker, tmp_path: Path
) -> None:
    """Both ways round; and a study of practice cases only cannot be locked."""
    study = make_planned(lock=False)
    for subject, practice, words in (("P0", True, "has scans"), ("Q0", False, "has practice cases")):
        with pytest.raises(StudyError, match=words):
            study.import_scan(
                tmp_path / "new.h5",
                raw_sha256="f" * 64,
                subject=subject,
                plane="SAX",
                sampling="radial",
                practice=practice,
            )
    study.lock((), PASSPHRASE)
    with pytest.raises(StudyError, match="practice case, which is not measured"):
        study.save_measurement("Phil", study.practice_clips[0].clip_id, {}, {})
    assert [scan.practice for scan in study.scans].count(True) == 2


def test_only_practice_cases_are_no_study(make_planned: Maker) -> None:
    """All study scans removed."""
    study = make_planned(lock=False)
    for scan in study.scans:
        if not scan.practice:
            study.remove_scan(scan.scan_id)
    with pytest.raises(StudyError, match="has no scans"):
        study.lock((), PASSPHRASE)


def test_too_few_clips_for_repeats_do_not_lock(make_planned: Maker) -> None:
    """Five clips; nothing is locked or sealed; without repeats the same study locks."""
    study = make_planned(lock=False, scans=5)
    with pytest.raises(StudyError, match="5 clips do not allow"):
        study.lock((), PASSPHRASE)
    assert study.phase == "design" and (study.folder / "draft.key").exists()
    study.set_design(study.design.changed({"repeat_share": 0}))
    study.lock((), PASSPHRASE)
    assert study.progress("Ben") == (0, 7)


# Design, lock and hash


def test_a_study_comes_from_a_file_and_gives_it_back(
    tmp_path: Path, write_movie: MovieWriter, quick_seal: None
) -> None:
    """All fields; the hash of the file with its seed is the hash at the lock, and the end verifies."""
    fields = {
        "name": "From a file",
        "arms": list(ARMS),
        "readers": ["Anna"],
        "strata": ["plane"],
        "alpha": 0.01,
        "repeat_share": 0,
        "scans": [
            {"file": f"{n}.h5", "subject": f"P{n}", "plane": "SAX", "practice": n == 0} for n in range(3)
        ],
    }
    study = Study.from_design(tmp_path / "filed", Design.from_fields(fields))
    design = study.design
    assert design.seed and Design.from_fields({**fields, "seed": design.seed}) == design
    for number in range(3):
        if number == 2:
            with pytest.raises(StudyError, match=r"lists \(missing: P2 SAX\)"):
                study.lock((), PASSPHRASE)
        scan_id = study.import_scan(
            tmp_path / f"{number}.h5",
            raw_sha256=f"{number:02x}" * 32,
            subject=f"P{number}",
            plane="SAX",
            sampling="radial",
            practice=number == 0,
        )
        study.attach_movies(scan_id, {arm: write_movie(f"{number}{arm}.h5") for arm in ARMS})
    extra = study.import_scan(
        tmp_path / "extra.h5", raw_sha256="e" * 64, subject="P9", plane="SAX", sampling="radial"
    )
    study.attach_movies(extra, {arm: write_movie(f"extra{arm}.h5") for arm in ARMS})
    with pytest.raises(StudyError, match=r"lists \(not planned: P9 SAX\)"):
        study.lock((), PASSPHRASE)
    study.remove_scan(extra)
    study.lock((), PASSPHRASE)
    assert study.protocol_sha256 == design.sha256 == study.events[-1].payload["protocol_sha256"]
    assert study.events[-1].payload["protocol"] == design.protocol.to_dict()
    with pytest.raises(StudyError, match="blinded"):
        _ = study.design
    study.unblind(PASSPHRASE, "Cora", force=True)
    assert study.design == design
    study.verify()


def test_no_file_of_a_locked_study_names_a_planned_raw_file(make_planned: Maker, tmp_path: Path) -> None:
    """The list of scans and the arms of a protocol that was set stay encrypted."""
    study = make_planned(lock=False)
    fields = study.design.to_fields()
    fields["scans"] = [
        {
            "file": f"tell_tale_{n}.h5",
            "subject": scan.subject,
            "plane": scan.plane,
            "practice": scan.practice,
        }
        for n, scan in enumerate(study.scans)
    ]
    study.set_design(Design.from_fields(fields))
    study.lock((), PASSPHRASE)
    for path in study.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"tell_tale" not in content and not any(arm.encode() in content for arm in ARMS), path


def test_the_design_can_be_replaced_until_the_lock_only(make_planned: Maker) -> None:
    """The seed is kept, other arms are refused while movies are there, names are checked against new arms."""
    study = make_planned(lock=False)
    seed = study.design.seed
    study.set_design(dataclasses.replace(study.design.changed({"alpha": 0.01}), seed=None))
    assert study.design.seed == seed and Study.open(study.folder).protocol.alpha == 0.01
    with pytest.raises(StudyError, match="remove the scans before the arms are changed"):
        study.set_design(study.design.changed({"arms": ["one", "two"]}))
    for scan in study.scans:
        study.remove_scan(scan.scan_id)
    study.set_design(study.design.changed({"arms": ["one", "two"]}))
    assert (study.arms, study.arm_count) == (("one", "two"), 2)


def test_new_arms_may_not_be_named_by_scans(tmp_path: Path) -> None:
    """A subject called as the new arm."""
    study = Study.create(tmp_path / "study", name="S")
    study.import_scan(tmp_path / "a.h5", raw_sha256="1" * 64, subject="one", plane="SAX", sampling="radial")
    with pytest.raises(StudyError, match="'one' contains 'one'"):
        study.set_design(study.design.changed({"arms": ["one", "two"]}))


def test_the_lock_takes_the_readers_of_the_protocol(make_planned: Maker) -> None:
    """Others are refused; the same in another order are the same; after the lock nothing is set."""
    study = make_planned(lock=False)
    with pytest.raises(StudyError, match="names the readers Anna, Ben, not Anna, Carl"):
        study.lock(["Anna", "Carl"], PASSPHRASE)
    study.lock(["Ben", "Anna"], PASSPHRASE)
    assert study.readers == ("Ben", "Anna")
    with pytest.raises(StudyError, match="the study is locked"):
        study.set_design(Design(Protocol("N", 2), ("a", "b"), "1"))
    with pytest.raises(StudyError, match="blinded"):
        study.planned_schedules(["Anna"])


def test_a_study_locked_before_there_were_repeats_opens_and_verifies(make_study: StudyMaker) -> None:
    """Its log has no field that came later: none is written for a study without a protocol file either."""
    study = make_study(scans=3, readers=["Anna"])
    created, locked = study.events[0].payload, study.events[-1].payload
    assert set(created["protocol"]) == {
        "name", "arm_count", "grey_scale", "endpoints", "strata", "alpha", "measurement_window_s",
    }  # fmt: skip
    assert all(
        set(entry) == {"presentation_id", "clip_id", "permutation"} for entry in locked["schedules"]["Anna"]
    )
    assert all("practice" not in event.payload for event in study.events)
    # The one new field of the lock, taken out again with the chain made anew, as an older program wrote it.
    rewrite_last(study, {key: value for key, value in locked.items() if key != "protocol"})
    old = Study.open(study.folder)
    while (item := old.next_presentation("Anna")) is not None:
        old.commit_ranking("Anna", item, [1, 2, 3])
    old.unblind(PASSPHRASE, "Cora")
    old.verify()


def rewrite_last(study: Study, payload: dict[str, Any]) -> None:
    """Replace the payload of the last event, chain and anchor included: only for tests can do that."""
    last = study.events[-1]
    text = canonical_json(payload)
    digest = study_log.event_hash(
        last.sequence, last.time_utc, last.kind, last.actor, text, last.previous_hash
    )
    database = sqlite3.connect(study.folder / "events.sqlite3")
    trigger = database.execute("SELECT sql FROM sqlite_master WHERE name = 'events_refuse_update'").fetchone()
    database.execute("DROP TRIGGER events_refuse_update")
    database.execute(
        "UPDATE events SET payload = ?, hash = ? WHERE sequence = ?", (text, digest, last.sequence)
    )
    database.execute(trigger[0])
    database.commit()
    database.close()
    anchor = {"sequence": last.sequence, "hash": digest}
    (study.folder / "head.json").write_bytes(canonical_json(anchor).encode())


def test_a_locked_protocol_that_is_not_the_one_set_is_found(make_study: StudyMaker) -> None:
    """A lock event rewritten with another level, hashes made anew."""
    study = make_study(scans=2, readers=["Anna"])
    payload = study.events[-1].payload
    rewrite_last(study, {**payload, "protocol": {**payload["protocol"], "alpha": 0.2}})
    with pytest.raises(StudyError, match="study_locked.*not the one that was set"):
        Study.open(study.folder)


# Amendments


def test_amendments_are_recorded_with_who_what_and_why(make_planned: Maker) -> None:
    """Values change from then on; arms, orders, seed and the hash do not; the end verifies."""
    study = make_planned(readers=["Anna"])
    before = {reader: study.schedule(reader) for reader in study.readers}
    digest = study.protocol_sha256
    done = study.amend("Cora", "a slip of the pen", {"alpha": 0.01, "must_view_loops": 0})
    assert done.changes == {"alpha": (0.05, 0.01), "must_view_loops": (1, 0)}
    note = study.amend("Cora", "Anna's monitor was replaced", {})
    again = Study.open(study.folder)
    assert again.amendments == [done, note] and (again.protocol.alpha, again.protocol.must_view_loops) == (
        0.01,
        0,
    )
    assert "by Cora: alpha 0.05 → 0.01, must_view_loops 1 → 0 (a slip of the pen)" in str(done)
    assert "by Cora: note (Anna's monitor was replaced)" in str(note)
    assert {reader: again.schedule(reader) for reader in again.readers} == before
    assert again.protocol_sha256 == digest
    again.unblind(PASSPHRASE, "Cora", force=True)
    again.verify()
    assert again.design.protocol.alpha == 0.05, "the design is that of the lock"
    facts = dict(tables_of(again).facts)
    assert "a slip of the pen" in facts["Amendment 1"] and facts["SHA-256 of the protocol"] == digest
    assert tables_of(again).alpha == 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "why", {}), "name of who amends is empty"),
        (("Cora", " ", {}), "reason of the amendment is empty"),
        (("Cora", "DL_cardiac looks best", {}), "contains 'dl_cardiac', which would unblind"),
        (
            ("Cora", "why", {"grey_scale": "joint_percentile"}),
            "'grey_scale' cannot be changed after the lock",
        ),
        (("Cora", "why", {"arms": ["a"]}), "'arms' cannot be changed"),
        (("Cora", "why", {"alpha": 0.05}), "already"),
        (("Cora", "why", {"alpha": 5}), "expected: a number between 0 and 1"),
        (("Cora", "why", {"endpoints": "rank"}), "expected: a list"),
    ],
)
def test_other_amendments_are_refused(
    make_planned: Maker, arguments: tuple[str, str, dict[str, Any]], message: str
) -> None:
    """With a sentence, and nothing recorded."""
    study = make_planned()
    events = len(study.events)
    with pytest.raises(StudyError, match=message):
        study.amend(*arguments)
    assert len(study.events) == events and study.amendments == []


def test_nothing_is_amended_before_the_lock_or_after_unblinding(make_planned: Maker) -> None:
    """Before, the design itself is changed; after, the results are known."""
    study = make_planned(lock=False)
    with pytest.raises(StudyError, match="not locked yet"):
        study.amend("Cora", "why", {"alpha": 0.01})
    study.lock((), PASSPHRASE)
    study.unblind(PASSPHRASE, "Cora", force=True)
    with pytest.raises(StudyError, match="unblinded and frozen"):
        study.amend("Cora", "why", {"alpha": 0.01})


# Breaks


class Clock(datetime):
    """The log's clock, set by hand."""

    moment = datetime(2026, 5, 1, 8, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return cls.moment


def test_breaks_are_due_after_the_time_read_without_a_pause(
    make_planned: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds on clips count; a pause of five minutes, a recorded break, or nothing else begins anew."""
    study = make_planned(break_minutes=10, readers=["Anna", "Ben"])
    monkeypatch.setattr(study_log, "datetime", Clock)
    monkeypatch.setattr(Clock, "moment", Clock.moment)

    def read(minutes_later: float, seconds: float | None) -> float | None:
        Clock.moment += timedelta(minutes=minutes_later)
        item = study.next_presentation("Anna")
        assert item is not None
        study.commit_ranking("Anna", item, [1, 2, 3], seconds=seconds)
        return study.break_due("Anna")

    assert study.break_due("Anna") is None
    assert read(4, 240) is None
    assert read(4, 240) is None
    assert read(4, 240) == pytest.approx(12)
    assert study.break_due("Ben") is None
    assert Study.open(study.folder).break_due("Anna") == pytest.approx(12)
    study.record_break("Anna", taken=True)
    assert study.break_due("Anna") is None
    assert read(6, 360) is None, "six minutes after the break"
    assert read(12, 120) is None, "ten minutes away: a pause that nobody had to record"
    assert read(5, 300) is None, "seven minutes since"
    assert read(-60, 300) == pytest.approx(12), "the clock was set back: what counts is the time on the clip"
    study.record_break("Anna", taken=False)
    assert read(1, None) is None
    assert [(item.reader, item.taken, item.minutes) for item in study.breaks] == [
        ("Anna", True, pytest.approx(12)),
        ("Anna", False, pytest.approx(12)),
    ]
    with pytest.raises(StudyError, match="no reader"):
        study.break_due("Carl")
    with pytest.raises(StudyError, match="no reader"):
        study.record_break("Carl", taken=True)


def test_events_of_another_form_are_refused(make_planned: Maker) -> None:
    """A ranking of a presentation that is in no schedule, as only another program could write it."""
    study = make_planned(readers=["Anna"])
    study.commit_ranking("Anna", study.schedule("Anna")[0], [1, 2, 3])
    rewrite_last(study, {**study.events[-1].payload, "presentation_id": "unheard of"})
    with pytest.raises(StudyError, match="ranking_committed"):
        Study.open(study.folder)


def test_digest_is_of_the_canonical_text(make_planned: Maker) -> None:
    """The hash by hand: whoever has the unblinded log can check a registered protocol without blindcine."""
    study = make_planned()
    locked = study.events[-1].payload
    study.unblind(PASSPHRASE, "Cora", force=True)
    opened = study.events[-1].payload
    document = {"protocol": locked["protocol"], "secret": {"arms": opened["arms"], "seed": opened["seed"]}}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == locked["protocol_sha256"]
