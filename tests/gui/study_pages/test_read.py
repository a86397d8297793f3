"""The reading page as a reader meets it: keys, undo, durability, resuming, and no word about methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app import playback
from app.context import AppContext
from app.pages.read import ReadPage
from studies.errors import StudyError
from studies.protocol import SPEEDS
from studies.ranking import competition
from studies.study import Study

PASSPHRASE = "a long enough passphrase"


class Reader:
    """A person at the page: chooses a name, looks at the clip, types."""

    def __init__(self, qtbot: QtBot, context: AppContext) -> None:
        self.qtbot = qtbot
        self.context = context
        self.page = ReadPage(context)
        qtbot.addWidget(self.page)
        self.page.resize(1100, 700)
        self.page.show()
        self.page.on_shown()

    @property
    def view(self) -> Any:
        return self.page.reading

    @property
    def study(self) -> Study:
        assert self.context.study is not None
        return self.context.study

    def choose(self, name: str) -> None:
        self.page.start(name)
        self.wait_for_clip()

    def wait_for_clip(self) -> None:
        self.qtbot.waitUntil(lambda: self.page.session is not None and self.page.session.rankable)

    def see(self) -> None:
        """Watch the clip to its end."""
        self.qtbot.waitUntil(lambda: self.view.row.clock.loops_completed >= 1)

    def type(self, keys: str) -> None:
        self.qtbot.keyClicks(self.page, keys)

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.page, key, modifier)

    def wait_for_rankings(self, count: int) -> None:
        self.qtbot.waitUntil(lambda: len(self.study.rankings) == count)
        self.qtbot.waitUntil(lambda: not self.context.study_busy)


@pytest.fixture
def reader(qtbot: QtBot, context: AppContext) -> Reader:
    return Reader(qtbot, context)


def test_a_whole_reading_by_keyboard(reader: Reader) -> None:
    typed = ["123", "112", "333"]
    reader.choose("Reader One")
    for number, digits in enumerate(typed, start=1):
        reader.wait_for_clip()
        reader.see()
        reader.type(digits)
        assert reader.view.sentence != ""
        reader.press(Qt.Key.Key_Return)
        reader.wait_for_rankings(number)
    reader.qtbot.waitUntil(lambda: reader.page.finished.isVisible())
    schedule = reader.study.schedule("Reader One")
    records = [record for record in reader.study.rankings if record.reader == "Reader One"]
    assert [record.presentation_id for record in records] == [item.presentation_id for item in schedule]
    assert [record.ranks for record in records] == [competition([int(d) for d in digits]) for digits in typed]
    for record, item in zip(records, schedule, strict=True):
        movie_ids = next(clip.movie_ids for clip in reader.study.clips if clip.clip_id == item.clip_id)
        assert record.movie_ids == tuple(movie_ids[choice] for choice in item.permutation)
        assert record.loops is not None and record.loops >= 1
        assert record.seconds is not None and record.seconds > 0
        assert record.window_level == (255.0, 127.5)


def test_panels_show_the_movies_of_the_presentation_in_its_order(reader: Reader) -> None:
    reader.choose("Reader Two")
    presentation = reader.study.schedule("Reader Two")[0]
    clip = reader.study.load_clip(presentation)
    assert [panel.label for panel in reader.view.row.panels] == ["A", "B", "C"]
    for panel, frames in zip(reader.view.row.panels, clip.display, strict=True):
        assert (panel.frames == frames).all()


def test_the_ranking_is_on_the_disk_before_the_next_clip_is_shown(reader: Reader) -> None:
    reader.choose("Reader One")
    found: list[int] = []
    assert reader.page.session is not None
    reader.page.session.shown.connect(lambda *_: found.append(len(Study.open(reader.study.folder).rankings)))
    reader.see()
    reader.type("213")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    assert found == [1]


def test_the_next_clip_is_loaded_while_this_one_is_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    original = Study.load_clip

    def load_clip(study: Study, presentation: Any) -> Any:
        clip = original(study, presentation)
        loaded.append(presentation.presentation_id)
        return clip

    monkeypatch.setattr(Study, "load_clip", load_clip)
    reader.choose("Reader One")
    schedule = reader.study.schedule("Reader One")
    reader.qtbot.waitUntil(lambda: loaded == [item.presentation_id for item in schedule[:2]])


def test_undo_takes_digits_back_until_the_ranking_is_saved(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("12")
    reader.press(Qt.Key.Key_Backspace)
    assert reader.view.bar.entry.ranks == (1, None, None)
    reader.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert reader.view.bar.entry.ranks == (None, None, None)
    reader.type("321")
    reader.see()
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    reader.press(Qt.Key.Key_Backspace)
    assert reader.study.rankings[0].ranks == (3, 2, 1)
    assert reader.view.bar.entry.ranks == (None, None, None)


def test_letters_tab_and_clicks_move_the_focus(reader: Reader) -> None:
    reader.choose("Reader One")
    entry = lambda: reader.view.bar.entry  # noqa: E731
    reader.type("c")
    assert entry().focus == 2
    reader.press(Qt.Key.Key_Tab)
    assert entry().focus == 0
    reader.press(Qt.Key.Key_Backtab, Qt.KeyboardModifier.ShiftModifier)
    assert entry().focus == 2
    reader.qtbot.mouseClick(reader.view.row.panels[1], Qt.MouseButton.LeftButton)
    assert entry().focus == 1
    reader.type("3")
    assert entry().ranks == (None, 3, None)


def test_an_incomplete_ranking_is_not_saved(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("1")
    reader.press(Qt.Key.Key_Return)
    assert reader.view.sentence == "B and C have no rank yet."
    assert reader.study.rankings == []


def test_a_clip_must_be_seen_to_its_end(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.view.row.clock.set_frames(5, 3600.0)
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    assert "to its end" in reader.view.sentence
    assert reader.study.rankings == []
    for _ in range(4):
        reader.press(Qt.Key.Key_Right)
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)


def test_a_rank_that_is_held_down_or_out_of_range_is_not_taken(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("4")
    assert reader.view.bar.entry.ranks == (None, None, None)
    assert reader.view.sentence == "Ranks go from 1 to 3."


def test_enter_twice_saves_one_ranking(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    reader.press(Qt.Key.Key_Return)
    assert len(reader.study.rankings) == 1


def test_a_note_is_saved_and_its_letters_are_not_ranks(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("123")
    reader.type("n")
    reader.qtbot.keyClicks(reader.view.note, "2 of 3 blurred")
    reader.qtbot.keyClick(reader.view.note, Qt.Key.Key_Return)
    assert reader.study.rankings == []
    assert reader.view.bar.entry.ranks == (1, 2, 3)
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert reader.study.rankings[0].comment == "2 of 3 blurred"
    reader.wait_for_clip()
    assert reader.view.note.text() == ""


def test_a_reading_is_resumed_where_it_was_left(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    reader.type("2")
    reader.page.leave()
    assert [button.accessibleName() for button in reader.page.chooser.buttons] == [
        "Reader One, 1 of 3",
        "Reader Two, 0 of 3",
    ]
    reader.choose("Reader One")
    session = reader.page.session
    assert session is not None and session.current is not None
    assert session.current.index == 1
    assert reader.view.bar.entry.ranks == (None, None, None)
    assert any(label.text() == "2 of 3" for label in reader.view.findChildren(QLabel))


def test_what_cannot_be_saved_stays_on_the_screen(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("231")
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise StudyError("The disk is full.")

        patch.setattr(Study, "commit_ranking", refuse)
        reader.press(Qt.Key.Key_Return)
        reader.qtbot.waitUntil(lambda: "The disk is full." in reader.view.sentence)
    assert reader.view.bar.entry.ranks == (2, 3, 1)
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert reader.study.rankings[0].ranks == (2, 3, 1)


def test_a_clip_that_another_window_ranked_is_passed_over(reader: Reader) -> None:
    reader.choose("Reader One")
    first, second, _ = reader.study.schedule("Reader One")
    reader.see()
    reader.type("123")
    Study.open(reader.study.folder).commit_ranking("Reader One", first, (3, 2, 1))
    reader.press(Qt.Key.Key_Return)
    reader.qtbot.waitUntil(lambda: reader.page.session is not None and reader.page.session.current == second)
    reader.wait_for_clip()
    assert "already" in reader.view.sentence
    assert reader.view._progress.value() == 1
    assert [record.ranks for record in reader.study.rankings] == [(3, 2, 1)]


def test_a_saved_ranking_whose_anchor_could_not_be_written_is_not_asked_for_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: object, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    reader.choose("Reader One")
    second = reader.study.schedule("Reader One")[1]
    reader.see()
    reader.type("123")
    with monkeypatch.context() as patch:
        patch.setattr("studies.storage.write_durably", full)
        reader.press(Qt.Key.Key_Return)
        reader.wait_for_rankings(1)
    reader.qtbot.waitUntil(lambda: reader.page.session is not None and reader.page.session.current == second)
    reader.wait_for_clip()
    assert "No space left on device" in reader.view.sentence
    Study.open(reader.study.folder).verify()


def test_a_log_that_cannot_even_be_read_is_told_on_the_page(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_names: object) -> None:
        raise StudyError("The disk is full.")

    changes: list[bool] = []
    reader.choose("Reader One")
    reader.see()
    reader.type("123")
    reader.context.study_changed.connect(lambda: changes.append(True))
    with monkeypatch.context() as patch:
        patch.setattr("studies.log.EventLog.events", refuse)
        patch.setattr("studies.log.EventLog.transaction", refuse)
        reader.press(Qt.Key.Key_Return)
        reader.qtbot.waitUntil(lambda: "The disk is full." in reader.view.sentence)
        reader.qtbot.waitUntil(lambda: not reader.context.study_busy)
        assert changes == []
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert reader.study.rankings[0].ranks == (1, 2, 3)


def test_unblinding_ends_a_reading_under_way(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.context.run_study_task(lambda: reader.study.unblind(PASSPHRASE, "Coordinator", force=True))
    reader.qtbot.waitUntil(lambda: reader.page.session is None)
    assert reader.page.chooser.isVisible()


def test_enter_closes_the_help_and_saves_nothing(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("123?")
    assert reader.view.help.isVisible()
    reader.press(Qt.Key.Key_Return)
    assert not reader.view.help.isVisible()
    assert reader.page.session is not None and reader.page.session.rankable
    assert reader.study.rankings == []


def test_a_clip_that_cannot_be_loaded_can_be_tried_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise StudyError("The share is gone.")

        patch.setattr(Study, "load_clip", refuse)
        reader.page.start("Reader One")
        reader.qtbot.waitUntil(lambda: "The share is gone." in reader.view.sentence)
        reader.type("1")
        assert reader.view.bar.labels == ()
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_clip()


def test_leaving_the_page_pauses_and_coming_back_goes_on(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("1")
    assert reader.view.row.clock.playing
    reader.page.on_hidden()
    assert not reader.view.row.clock.playing
    reader.page.on_shown()
    assert reader.view.row.clock.playing
    assert reader.view.bar.entry.ranks == (1, None, None)


def test_playback_keys_work_while_ranking(reader: Reader) -> None:
    reader.choose("Reader One")
    clock = reader.view.row.clock
    reader.press(Qt.Key.Key_Space)
    assert not clock.playing
    frame = clock.frame
    reader.type(".")
    assert clock.frame == (frame + 1) % clock.frame_count
    reader.press(Qt.Key.Key_Left)
    assert clock.frame == frame
    reader.type("+")
    assert clock.speed == 1.5
    assert reader.view.bar.entry.ranks == (None, None, None)


def test_studies_that_cannot_be_read_say_why(qtbot: QtBot, context: AppContext) -> None:
    page = ReadPage(context)
    qtbot.addWidget(page)
    study = context.study
    context.set_study(None)
    assert _shows(page, "No study is open")
    assert study is not None
    study.unblind("a long enough passphrase", "Coordinator", force=True)
    context.set_study(study)
    assert _shows(page, "This study is unblinded; the reading is closed.")
    assert page.chooser.buttons == []


def test_no_text_of_the_page_tells_a_method(
    reader: Reader, all_texts: Callable[[QWidget], list[str]], forbidden_words: tuple[str, ...]
) -> None:
    seen: list[str] = []
    seen += all_texts(reader.page)
    reader.choose("Reader One")
    for _ in range(3):
        reader.wait_for_clip()
        reader.see()
        seen += all_texts(reader.page)
        reader.type("?12")
        reader.press(Qt.Key.Key_Return)
        seen += all_texts(reader.page)
        reader.type("3")
        count = len(reader.study.rankings)
        reader.press(Qt.Key.Key_Return)
        reader.qtbot.waitUntil(lambda count=count: len(reader.study.rankings) > count)
    reader.qtbot.waitUntil(lambda: reader.page.finished.isVisible())
    seen += all_texts(reader.page)
    movie_ids = [movie_id for clip in reader.study.clips for movie_id in clip.movie_ids]
    assert len(seen) > 200
    assert any("Save and next" in text for text in seen), "the walk must reach the texts that a reader sees"
    for text in seen:
        assert not any(word in text.lower() for word in forbidden_words), text
        assert not any(movie_id in text for movie_id in movie_ids), text


def _shows(page: QWidget, text: str) -> bool:
    return any(text in label.text() for label in page.findChildren(QLabel))


# A protocol with practice cases, repeats, passes, speed and breaks


@pytest.fixture
def planned(qtbot: QtBot, tmp_path: Path) -> Iterator[Reader]:
    """Six clips, all shown twice, after one practice case; two passes, half speed, a break every second."""
    study = Study.create(tmp_path / "planned", name="Planned", arms=("first", "second"), seed=5)
    changes = {
        "repeat_share": 1,
        "must_view_loops": 2,
        "speed": 0.5,
        "break_minutes": 0.001,
        "readers": ["R"],
    }
    study.set_design(study.design.changed(changes))
    generator = np.random.default_rng(0)
    for number in range(7):
        scan_id = study.import_scan(
            tmp_path / f"{number}.raw",
            raw_sha256=f"{number:064x}",
            subject=f"S{number}",
            plane="SAX",
            sampling="radial",
            practice=number == 0,
        )
        paths = {}
        for arm in study.arms:
            paths[arm] = tmp_path / f"{number}_{arm}.h5"
            with h5py.File(paths[arm], "w") as file:
                file.create_dataset("movie", data=generator.random((3, 8, 8), dtype=np.float32))
                file.attrs["format"] = "blindcine-movie-1"
                file.attrs["pixel_spacing_mm"] = np.array([1.5, 1.5])
                file.attrs["frame_times_s"] = np.arange(3) * 0.01
                file.attrs["provenance"] = "{}"
        study.attach_movies(scan_id, paths)
    study.lock((), PASSPHRASE)
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    context = AppContext(
        settings=settings, worker_command=[sys.executable, "-c", "import sys; sys.stdin.read()"]
    )
    context.open_study(tmp_path / "planned")
    yield Reader(qtbot, context)
    context.close()


def test_practice_is_named_repeats_are_not_and_a_break_is_suggested(planned: Reader) -> None:
    """The whole schedule by keyboard: "Practice 1 of 1", then 1…12 of 12 with no word about repeats."""
    planned.choose("R")
    schedule = planned.study.schedule("R")
    assert [item.kind for item in schedule].count("repeat") == 6
    counts = []
    for number, item in enumerate(schedule, start=1):
        planned.wait_for_clip()
        assert planned.page.session is not None and planned.page.session.current == item
        counts.append(planned.view._count.text())
        texts = [label.text() for label in planned.page.findChildren(QLabel)]
        assert not any("repeat" in text.casefold() for text in texts)
        planned.qtbot.waitUntil(lambda: planned.view.row.clock.loops_completed >= 2)
        planned.type("12")
        planned.press(Qt.Key.Key_Return)
        planned.wait_for_rankings(number)
        if number < len(schedule):
            planned.wait_for_clip()
            saved = "Practice clip 1 is saved" if number == 1 else f"Clip {number - 1} is saved"
            assert planned.view.sentence.startswith(saved)
            assert "take a short break" in planned.view.sentence
    assert counts == ["Practice 1 of 1", *(f"{number} of 12" for number in range(1, 13))]
    # After the last clip there is nothing left to take a break from.
    assert len(planned.study.breaks) == len(schedule) - 1 and not any(
        item.taken for item in planned.study.breaks
    )


def test_passes_and_speed_are_those_of_the_protocol(planned: Reader) -> None:
    """Half speed from the start; one pass is not enough, two are."""
    planned.choose("R")
    clock = planned.view.row.clock
    assert clock.speed == 0.5
    planned.type("12")
    planned.see()
    clock.pause()
    if clock.loops_completed < 2:
        planned.press(Qt.Key.Key_Return)
        assert planned.view.sentence == "See the clip to its end 2 times before saving."
        clock.play()
    planned.qtbot.waitUntil(lambda: clock.loops_completed >= 2)
    planned.press(Qt.Key.Key_Return)
    planned.wait_for_rankings(1)


def test_the_window_offers_the_speeds_that_a_protocol_may_ask_for() -> None:
    assert playback.SPEEDS == SPEEDS
