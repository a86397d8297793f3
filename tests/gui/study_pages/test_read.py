"""The reading page as a reader meets it: keys, undo, durability, resuming, and no word about methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import h5py
import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings, Qt, QTimer
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QSlider,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app import playback
from app.context import AppContext
from app.main_window import MainWindow
from app.pages.read import ReadPage
from app.widgets.movie_panel import MoviePanel
from app.widgets.yt_profile import YtProfile
from studies.errors import StudyError
from studies.protocol import SPEEDS
from studies.ranking import competition
from studies.study import Study

PASSPHRASE = "a long enough passphrase"
FRAMES, FRAME_TIME_S = 5, 0.01


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
        """Choose a name, pass the display check, pass on from the refresher if there is one."""
        self.page.start(name)
        self.pass_check()
        self.qtbot.waitUntil(lambda: self.rankable or self.refreshed)
        if self.refreshed:
            self.press(Qt.Key.Key_Return)
        self.wait_for_clip()

    def pass_check(self) -> None:
        """Answer what the display check asks as somebody who sees everything."""
        self.type("y" + "".join(str(corner) for corner in self.page.check.hidden.values()))

    def guess_all(self, digits: str) -> None:
        """Answer the guesses after the last clip with the same digits for each."""
        self.qtbot.waitUntil(lambda: self.page.guessing.isVisible())
        for count in range(1, len(self.study.guess_presentations("Reader One")) + 1):
            self.qtbot.waitUntil(lambda: self.page.guessing._answerable())
            self.type(digits)
            self.press(Qt.Key.Key_Return)
            self.qtbot.waitUntil(lambda count=count: len(self.study.guesses) == count)

    @property
    def rankable(self) -> bool:
        return self.page.session is not None and self.page.session.rankable

    @property
    def refreshed(self) -> bool:
        return self.page.session is not None and self.page.session.refresher

    def wait_for_clip(self) -> None:
        self.qtbot.waitUntil(lambda: self.page.session is not None and self.page.session.rankable)

    def see(self) -> None:
        """Watch the clip to its end."""
        self.qtbot.waitUntil(lambda: self.view.row.loops_completed >= 1)

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
    reader.guess_all("000")
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
    reader.press(Qt.Key.Key_Space)
    reader.view.row.clock.set_frames(5, 3600.0)
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    assert reader.view.sentence == "See A, B and C through once before saving: Space plays the clip."
    reader.press(Qt.Key.Key_Space)
    reader.press(Qt.Key.Key_Return)
    assert "5 of 5 frames are still to come" in reader.view.sentence or "4 of 5" in reader.view.sentence
    assert reader.study.rankings == []
    for _ in range(5):
        reader.press(Qt.Key.Key_Right)
        reader.view.row.repaint()
        QApplication.processEvents()
    assert reader.view.row.loops_per_panel == [1, 1, 1]
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)


def test_a_part_that_loops_is_not_the_whole_clip(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.press(Qt.Key.Key_Space)
    reader.view.row.clock.set_frames(5, FRAME_TIME_S)
    for key in ("[", ".", ".", "]", " "):
        reader.type(key)
    assert reader.view.row.clock.ab_loop == (0, 2)
    reader.type("123")
    reader.qtbot.waitUntil(lambda: reader.view.row.frames_shown > 10)
    reader.press(Qt.Key.Key_Return)
    assert "only a part is playing; U plays the whole clip" in reader.view.sentence
    assert reader.study.rankings == []
    reader.type("u")
    reader.see()
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert reader.study.rankings[0].viewing["ab_loop"] is True


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
    assert "is saved" in reader.view.sentence
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
        reader.pass_check()
        reader.qtbot.waitUntil(lambda: "The share is gone." in reader.view.sentence)
        reader.type("1")
        assert reader.view.bar.labels == ()
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_clip()


def test_a_clip_that_could_not_be_loaded_ahead_is_loaded_when_its_turn_comes(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = reader.study.schedule("Reader One")
    original, refused = Study.load_clip, []

    def refuse_once(study: Study, presentation: Any) -> Any:
        if presentation == second and not refused:
            refused.append(presentation)
            raise StudyError("The share is gone.")
        return original(study, presentation)

    monkeypatch.setattr(Study, "load_clip", refuse_once)
    reader.choose("Reader One")
    reader.qtbot.waitUntil(lambda: refused == [second])
    assert reader.page.session is not None and reader.page.session.current == first
    assert "gone" not in reader.view.sentence, "nobody waits for it yet"
    reader.see()
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    assert reader.page.session.current == second


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
    reader.page.start("Reader One")
    seen += all_texts(reader.page)
    reader.pass_check()
    for _ in range(3):
        reader.wait_for_clip()
        reader.see()
        seen += all_texts(reader.page)
        reader.type("?12")
        reader.press(Qt.Key.Key_Return)
        reader.press(Qt.Key.Key_Return)
        seen += all_texts(reader.page)
        reader.type("3")
        count = len(reader.study.rankings)
        reader.press(Qt.Key.Key_Return)
        reader.qtbot.waitUntil(lambda count=count: len(reader.study.rankings) > count)
    # The guess names the methods, on purpose; before and after it nothing does.
    reader.qtbot.waitUntil(lambda: reader.page.guessing.buttons != [])
    assert any(word in text.lower() for text in all_texts(reader.page) for word in forbidden_words)
    reader.guess_all("120")
    reader.qtbot.waitUntil(lambda: reader.page.finished.isVisible())
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    seen += all_texts(reader.page)
    reader.page.leave()
    reader.choose("Reader Two")
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
        planned.qtbot.waitUntil(lambda: planned.view.row.loops_completed >= 2)
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
    if planned.view.row.loops_completed < 2:
        planned.press(Qt.Key.Key_Return)
        assert planned.view.sentence == "See A and B through 2 times before saving: Space plays the clip."
        clock.play()
    planned.qtbot.waitUntil(lambda: planned.view.row.loops_completed >= 2)
    planned.press(Qt.Key.Key_Return)
    planned.wait_for_rankings(1)


def test_the_window_offers_the_speeds_that_a_protocol_may_ask_for() -> None:
    assert playback.SPEEDS == SPEEDS


# The session: conditions, viewing, refresher


def test_a_session_begins_with_the_display_check_and_its_conditions(reader: Reader) -> None:
    reader.page.start("Reader One")
    assert reader.page.check.isVisible() and reader.study.sessions == []
    reader.pass_check()
    reader.wait_for_clip()
    (session,) = reader.study.sessions
    conditions = session.conditions
    screen = reader.page.screen()
    assert session.reader == "Reader One"
    assert conditions["display_check"]["verdict"] == "passed"
    assert conditions["screen_name"] == screen.name()
    assert conditions["resolution_px"] == [screen.size().width(), screen.size().height()]
    assert conditions["device_pixel_ratio"] == 1.0
    assert conditions["refresh_rate_hz"] == pytest.approx(screen.refreshRate(), abs=1e-3)
    assert conditions["scaling"] == "integer"
    reader.see()
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert reader.study.rankings[0].session_id == session.session_id


def test_a_failed_check_is_recorded_and_does_not_lock_out(reader: Reader) -> None:
    reader.page.start("Reader One")
    reader.type("n0000")
    assert reader.page.check.isVisible()
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_clip()
    check = reader.study.sessions[0].conditions["display_check"]
    assert check["verdict"] == "failed"
    assert check["attempts"][0]["missed"] == ["steps", "dark", "bright", "letter", "lines"]


def test_a_session_that_cannot_be_recorded_can_be_tried_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise StudyError("The folder is read-only.")

        patch.setattr(Study, "begin_session", refuse)
        reader.page.start("Reader One")
        reader.pass_check()
        reader.qtbot.waitUntil(lambda: "The folder is read-only." in reader.page.check.advice)
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_clip()
    assert [session.reader for session in reader.study.sessions] == ["Reader One"]


def test_how_a_clip_was_looked_at_is_recorded(reader: Reader) -> None:
    reader.choose("Reader One")
    for keys in ("-", "+", "+", "z", "v"):
        reader.type(keys)
    reader.see()
    # The first frame is there before playing begins, so a pass alone may show one frame less by playing.
    reader.qtbot.waitUntil(lambda: reader.view.row.frames_shown >= FRAMES)
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    record = reader.study.rankings[0]
    assert set(record.viewing["speeds"]) == {0.75, 1.0, 1.5}
    assert record.viewing["every_frame"] is True and record.viewing["ab_loop"] is False
    assert record.viewing["zoom"] == pytest.approx(1.25)
    assert record.viewing["frames_shown"] >= FRAMES
    assert record.loops == min(record.viewing["loops_per_panel"]) >= 1
    assert 0 < record.viewing["seconds_playing"] <= record.seconds + 0.01, "rounded to 0.01 s"
    assert record.viewing["loading_s"] >= 0


def test_a_resumed_reading_starts_with_the_last_clip_which_is_not_counted(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("312")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    reader.wait_for_clip()
    reader.page.leave()
    reader.page.start("Reader One")
    reader.pass_check()
    reader.qtbot.waitUntil(lambda: reader.refreshed)
    first = reader.study.schedule("Reader One")[0]
    for panel, frames in zip(reader.view.row.panels, reader.study.load_clip(first).display, strict=True):
        assert (panel.frames == frames).all()
    assert reader.view._count.text() == "A clip you have seen; not counted"
    assert any("It is not counted" in label.text() for label in reader.view.findChildren(QLabel))
    reader.type("123j")
    assert reader.view.bar.entry.ranks == (None, None, None) and not reader.view.bar.entry.cannot_judge
    reader.type(" ")
    assert not reader.view.row.clock.playing, "the movies can be looked at"
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_clip()
    reader.qtbot.waitUntil(lambda: not reader.context.study_busy)
    assert reader.page.session is not None
    assert reader.page.session.current == reader.study.schedule("Reader One")[1]
    assert not reader.view._banner.isVisible()
    shown = [event for event in reader.study.events if event.kind == "refresher_shown"]
    assert [event.payload["presentation_id"] for event in shown] == [first.presentation_id]
    assert len(reader.study.rankings) == 1


def test_who_has_ranked_nothing_gets_no_refresher(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.page.leave()
    reader.choose("Reader One")
    assert [event.kind for event in reader.study.events].count("refresher_shown") == 0
    assert [event.kind for event in reader.study.events].count("session_started") == 2


def test_the_next_clip_is_shown_without_a_wait_and_all_its_movies_at_once(reader: Reader) -> None:
    """Prefetched, it is on the screen in the same turn of the event loop as "saved"; no movie comes alone."""
    reader.choose("Reader One")
    session = reader.page.session
    assert session is not None
    following = reader.study.schedule("Reader One")[1]
    reader.qtbot.waitUntil(lambda: following.presentation_id in session._clips._ready)
    steps: list[str] = []
    session.saved.connect(lambda *_: steps.append("saved"))
    session.loading.connect(lambda *_: steps.append("loading"))
    session.shown.connect(lambda *_: steps.append("shown"))
    session.shown.connect(
        lambda *_: steps.append(f"{sum(panel.frames is not None for panel in reader.view.row.panels)} movies")
    )
    reader.see()
    reader.type("123")
    session.saved.connect(lambda *_: QTimer.singleShot(0, lambda: steps.append("later")))
    reader.press(Qt.Key.Key_Return)
    reader.qtbot.waitUntil(lambda: "later" in steps)
    assert steps == ["saved", "shown", "3 movies", "later"]


# What else a reader can say


def test_confidence_is_given_after_s_and_can_be_taken_back(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.see()
    reader.type("213s4")
    assert reader.view.bar.entry.ranks == (2, 1, 3) and reader.view.bar.entry.confidence == 4
    reader.type("s9")
    assert reader.view.sentence == "How sure goes from 1 (a guess) to 5 (certain)."
    reader.type("s2")
    reader.press(Qt.Key.Key_Backspace)
    assert reader.view.bar.entry.confidence == 4
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert reader.study.rankings[0].confidence == 4
    reader.wait_for_clip()
    assert reader.view.bar.entry.confidence is None


def test_a_digit_ranks_again_after_the_question_how_sure(reader: Reader) -> None:
    """S asks for one digit; another key in between takes the question back."""
    reader.choose("Reader One")
    reader.type("s")
    assert reader.view.sentence.startswith("How sure?")
    reader.type("c1")
    assert reader.view.bar.entry.ranks == (None, None, 1)
    assert reader.view.bar.entry.confidence is None


def test_a_clip_that_cannot_be_judged_is_saved_without_ranks(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("12j")
    assert reader.view.sentence == "Cannot be judged. Enter saves that; J takes it back."
    reader.type("j")
    assert reader.view.bar.entry.ranks == (1, 2, None)
    reader.type("j")
    reader.press(Qt.Key.Key_Backspace)
    assert not reader.view.bar.entry.cannot_judge
    reader.see()
    reader.type("j")
    reader.press(Qt.Key.Key_Return)
    reader.wait_for_rankings(1)
    assert (reader.study.rankings[0].ranks, reader.study.rankings[0].cannot_judge) == ((), True)
    assert reader.study.progress("Reader One")[0] == 1


def test_a_clip_that_cannot_be_judged_must_be_seen_too(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.press(Qt.Key.Key_Space)
    reader.view.row.clock.set_frames(5, 3600.0)
    reader.type("j")
    reader.press(Qt.Key.Key_Return)
    assert reader.view.sentence.startswith("See A, B and C through once before saving")
    assert reader.study.rankings == []


# Leaving


def test_leaving_says_what_would_be_lost_and_needs_a_second_escape(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("21")
    reader.press(Qt.Key.Key_Escape)
    assert "Clip 1 (B  ›  A) is not saved and would be lost" in reader.view.sentence
    assert reader.page.unsaved == "Clip 1 (B  ›  A)"
    reader.type("3")
    reader.press(Qt.Key.Key_Escape)
    assert reader.page.session is not None, "another key in between: it is asked again"
    reader.press(Qt.Key.Key_Escape)
    assert reader.page.session is None
    assert reader.page.chooser.notice == "Clip 1 (B  ›  A  ›  C) was not saved."
    reader.choose("Reader One")
    assert reader.page.unsaved == ""
    reader.press(Qt.Key.Key_Escape)
    assert reader.view.sentence == "Everything is saved. Press Escape again to go back to the readers."
    reader.press(Qt.Key.Key_Escape)
    assert reader.page.chooser.isVisible() and reader.page.chooser.notice == ""


def test_who_leaves_while_the_ranking_is_being_saved_hears_of_it_if_that_fails(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    reader.context.error.connect(errors.append)
    go_on = Event()

    def refuse(*_: object, **__: object) -> None:
        go_on.wait(5)
        raise StudyError("The disk is full.")

    reader.choose("Reader One")
    reader.see()
    reader.type("123")
    monkeypatch.setattr(Study, "commit_ranking", refuse)
    reader.press(Qt.Key.Key_Return)
    assert reader.page.unsaved == "", "it is on its way"
    reader.press(Qt.Key.Key_Escape)
    reader.press(Qt.Key.Key_Escape)
    assert reader.page.session is None
    go_on.set()
    reader.qtbot.waitUntil(lambda: errors == ["The disk is full."])


def test_a_note_alone_is_something_that_leaving_would_lose(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("n")
    reader.qtbot.keyClicks(reader.view.note, "blurred")
    reader.qtbot.keyClick(reader.view.note, Qt.Key.Key_Escape)
    assert reader.page.unsaved == "Clip 1 (a note)"
    reader.type("1")
    assert reader.page.unsaved == "Clip 1 (A, a note)"


def test_another_study_in_between_is_told_too(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("j")
    reader.context.set_study(None)
    assert reader.page.chooser.notice == "Clip 1 (cannot judge) was not saved."


def test_closing_the_window_asks_about_ranks_that_are_not_saved(
    qtbot: QtBot, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = iter([False, True])

    def confirm(_parent: QWidget, _title: str, text: str, _action: str) -> bool:
        asked.append(text)
        return next(answers)

    monkeypatch.setattr(context.dialogs, "confirm", confirm)
    window = MainWindow(context)
    qtbot.addWidget(window)
    window.show()
    window.show_page("read")
    page = window.pages["read"]
    assert isinstance(page, ReadPage)
    page.start("Reader One")
    qtbot.keyClicks(page, "s")
    qtbot.waitUntil(lambda: page.session is not None and page.session.rankable)
    qtbot.keyClicks(page, "2")
    assert not window.close()
    assert page.reading.bar.entry.ranks == (2, None, None)
    assert window.close()
    assert asked == ["Clip 1 (A) is not saved and would be lost."] * 2


# The guess


def rank_all(reader: Reader) -> None:
    """Rank the three clips of Reader One without the window."""
    for presentation in reader.study.schedule("Reader One"):
        reader.study.commit_ranking("Reader One", presentation, (1, 2, 3), loops=1)


def test_guesses_by_keyboard_reach_the_study(reader: Reader) -> None:
    rank_all(reader)
    reader.page.start("Reader One")
    guessing = reader.page.guessing
    reader.qtbot.waitUntil(lambda: guessing.isVisible() and guessing._answerable())
    presentations = reader.study.guess_presentations("Reader One")
    labels = reader.study.guess_choices("Reader One")
    assert [button.text() for button in guessing.buttons] == [
        *(f"{number}  {label}" for number, label in enumerate(labels, start=1)),
        "0  do not know",
    ]
    reader.press(Qt.Key.Key_Return)
    assert "No guess yet for A, B, C" in guessing.sentence
    reader.type("4")
    assert guessing.sentence == "The choices go from 0 to 3."
    reader.type("c2a30")
    assert guessing.guesses == (labels[2], None, labels[1])
    reader.press(Qt.Key.Key_Backspace)
    reader.type("130")
    assert guessing.guesses == (labels[0], labels[2], None)
    assert [cell.text for cell in guessing.cells] == [labels[0], labels[2], "do not know"]
    QApplication.processEvents()
    for cell in guessing.cells:
        bottom = cell.mapTo(guessing, cell.rect().bottomLeft()).y()
        transport = guessing.row.transport
        assert bottom <= transport.mapTo(guessing, transport.rect().topLeft()).y(), "no cell is cut off"
    reader.press(Qt.Key.Key_Return)
    reader.qtbot.waitUntil(lambda: len(reader.study.guesses) == 1)
    record = reader.study.guesses[0]
    assert record.presentation_id == presentations[0].presentation_id
    assert record.guesses == (labels[0], labels[2], None)
    reader.qtbot.waitUntil(lambda: guessing._answerable())
    assert guessing.guesses == ("", "", "")
    # The rest can wait: leaving and coming back goes on with the second.
    reader.press(Qt.Key.Key_Escape)
    assert reader.page.chooser.isVisible() and guessing.buttons == []
    reader.page.start("Reader One")
    reader.qtbot.waitUntil(lambda: guessing._answerable())
    assert guessing._count.text() == f"2 of {len(presentations)}"


def test_a_guess_that_cannot_be_saved_stays_on_the_screen(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_all(reader)
    reader.page.start("Reader One")
    guessing = reader.page.guessing
    reader.qtbot.waitUntil(lambda: guessing.isVisible() and guessing._answerable())
    reader.type("123")
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise StudyError("The disk is full.")

        patch.setattr(Study, "record_guess", refuse)
        reader.press(Qt.Key.Key_Return)
        reader.qtbot.waitUntil(lambda: "The disk is full." in guessing.sentence)
    labels = reader.study.guess_choices("Reader One")
    assert guessing.guesses == labels
    reader.press(Qt.Key.Key_Return)
    reader.qtbot.waitUntil(lambda: len(reader.study.guesses) == 1)


def test_a_clip_to_guess_that_cannot_be_loaded_can_be_tried_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_all(reader)
    guessing = reader.page.guessing
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise StudyError("The share is gone.")

        patch.setattr(Study, "load_clip", refuse)
        reader.page.start("Reader One")
        reader.qtbot.waitUntil(lambda: "The share is gone." in guessing.sentence)
        reader.type("1")
        assert guessing.guesses == ()
    reader.press(Qt.Key.Key_Return)
    reader.qtbot.waitUntil(lambda: guessing._answerable())


def test_a_guess_recorded_in_another_window_is_passed_over(reader: Reader) -> None:
    rank_all(reader)
    reader.page.start("Reader One")
    guessing = reader.page.guessing
    reader.qtbot.waitUntil(lambda: guessing.isVisible() and guessing._answerable())
    other = Study.open(reader.study.folder)
    other.record_guess("Reader One", other.guess_presentations("Reader One")[0], (None, None, None))
    reader.type("123")
    reader.press(Qt.Key.Key_Return)
    reader.qtbot.waitUntil(lambda: guessing._count.text() == "2 of 3")
    assert [record.guesses for record in reader.study.guesses] == [(None, None, None)]


# Keys and names


def test_the_help_is_written_from_the_keys_and_shows_them_all(reader: Reader) -> None:
    reader.choose("Reader One")
    reader.type("?")
    assert reader.view.help.isVisible()
    texts = {label.text() for label in reader.view.help.findChildren(QLabel)}
    groups = reader.view.keys.groups
    assert [group.title for group in groups] == [
        "Ranking",
        "Clip",
        "Playing",
        "Image",
        "Line of the y–t profiles",
    ]
    for group in groups:
        assert group.title in texts
        for binding in group.bindings:
            assert {binding.label, binding.meaning} <= texts
    assert "1 … 3" in texts and "A … C" in texts
    reader.type("?")
    assert not reader.view.help.isVisible()


def test_every_control_has_an_accessible_name(reader: Reader) -> None:
    reader.choose("Reader One")
    views = [reader.page.chooser, reader.page.check, reader.page.reading, reader.page.guessing]
    controls = (QAbstractButton, QLineEdit, QComboBox, QSlider, QProgressBar, MoviePanel, YtProfile)
    nameless = [
        control
        for view in views
        for control in view.findChildren(QWidget)
        if isinstance(control, controls)
        and not control.accessibleName()
        and not (isinstance(control, QAbstractButton) and control.text())
    ]
    assert nameless == []


@pytest.fixture
def wide_reader(qtbot: QtBot, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """One clip of as many movies as the test asks for."""
    arms = tuple(f"arm {letter}" for letter in "uvwxyz"[: request.param])
    study = Study.create(tmp_path / "wide", name="Wide", arms=arms, seed=5)
    scan_id = study.import_scan(
        tmp_path / "raw", raw_sha256="0" * 64, subject="S", plane="SAX", sampling="radial"
    )
    paths = {arm: tmp_path / f"{arm}.h5" for arm in arms}
    for number, path in enumerate(paths.values()):
        with h5py.File(path, "w") as file:
            file.create_dataset("movie", data=np.full((3, 8, 8), number + 1, np.float32))
            file.attrs["format"] = "blindcine-movie-1"
            file.attrs["pixel_spacing_mm"] = np.array([1.5, 1.5])
            file.attrs["frame_times_s"] = np.arange(3) * 0.01
            file.attrs["provenance"] = "{}"
    study.attach_movies(scan_id, paths)
    study.lock(["R"], PASSPHRASE)
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    context = AppContext(
        settings=settings, worker_command=[sys.executable, "-c", "import sys; sys.stdin.read()"]
    )
    context.open_study(tmp_path / "wide")
    yield Reader(qtbot, context)
    context.close()


@pytest.mark.parametrize("wide_reader", [2, 5, 6], indirect=True)
def test_two_to_six_movies_are_ranked_by_digits_and_fit_on_a_small_screen(wide_reader: Reader) -> None:
    """At 1366 × 768 the page has 1170 × 749; no rank button may be cut off or hidden by its neighbour."""
    count = wide_reader.study.arm_count
    wide_reader.page.resize(1170, 749)
    wide_reader.choose("R")
    QApplication.processEvents()
    assert (wide_reader.page.width(), wide_reader.page.height()) == (1170, 749)
    cells = wide_reader.view.bar.cells
    assert len(cells) == count
    for cell in cells:
        assert len(cell.buttons) == count and cell.height() == 52
        for left, right in zip(cell.buttons, cell.buttons[1:], strict=False):
            assert left.geometry().right() < right.geometry().left()
            assert left.width() >= 24
        assert cell.rect().contains(cell.buttons[-1].geometry())
        place = cell.mapTo(wide_reader.page, cell.rect().bottomRight())
        assert wide_reader.page.rect().contains(place)
    wide_reader.see()
    digits = "".join(str(count - place) for place in range(count))
    wide_reader.type(digits)
    wide_reader.press(Qt.Key.Key_Return)
    wide_reader.wait_for_rankings(1)
    assert wide_reader.study.rankings[0].ranks == tuple(range(count, 0, -1))
