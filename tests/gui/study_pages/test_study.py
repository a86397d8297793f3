"""The Study page used as a coordinator would: design, lock, packages and answers, amendments, the record."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QScrollArea, QTableWidget, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.dialogs import Dialogs
from app.pages.study import StudyPage
from app.power_process import PowerProcess, PowerQuestion
from app.study_snapshot import Check
from app.widgets.design_view import DesignView
from app.widgets.power_view import PowerView
from app.widgets.study_dialogs import AmendmentAnswer
from studies import blinding
from studies.design import Design, template
from studies.names import method_label
from studies.package import open_package, save_response
from studies.power import what_can_n_show
from studies.protocol import PlannedScan, Protocol
from studies.study import Study

from .conftest import ARMS, PASSPHRASE, _movie, _write_movie

PATIENCE_MS = 15_000
SAMPLINGS = ("cartesian", "radial", "spiral")


class Answers(Dialogs):
    """Answers without asking."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.files: list[Path] = []
        self.passphrase: str | None = None
        self.checks: list[Check] = []
        self.amend: AmendmentAnswer | None = None
        self.confirmed: bool | None = None
        self.asked: list[str] = []

    def open_file(self, parent: QWidget, title: str, kinds: str, start: str = "") -> Path | None:
        return self.path

    def save_file(self, parent: QWidget, title: str, kinds: str, start: str = "") -> Path | None:
        self.asked.append(start)
        return self.path

    def open_files(self, parent: QWidget, start: str = "") -> list[Path]:
        return self.files

    def choose_folder(self, parent: QWidget, title: str, start: str = "") -> Path | None:
        return self.path

    def new_study(self, parent: QWidget, start: str = "") -> tuple[str, Path] | None:
        return None if self.path is None else ("Spring", self.path)

    def lock_study(self, parent: QWidget, checks: Sequence[Check]) -> str | None:
        self.checks = list(checks)
        return self.passphrase

    def amendment(self, parent: QWidget, protocol: Protocol) -> AmendmentAnswer | None:
        return self.amend

    def confirm(self, parent: QWidget, title: str, text: str, action: str) -> bool:
        self.asked.append(text)
        assert self.confirmed is not None
        return self.confirmed


@pytest.fixture(autouse=True)
def cheap_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    """How dear a guess of the passphrase is, is tested with the sealing."""
    monkeypatch.setattr(blinding, "SCRYPT_COST", 2)


@pytest.fixture(autouse=True)
def quiet_power(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test does not look at the power, none is computed."""
    if "power" not in request.fixturenames:
        monkeypatch.setattr(PowerProcess, "ask", lambda process, question: None)


@pytest.fixture
def power(design: DesignView) -> PowerView:
    return design.power


@pytest.fixture(scope="session")
def design_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 3 subjects × 3 samplings, all with movies, not locked."""
    folder = tmp_path_factory.mktemp("design")
    study = Study.from_design(folder / "study", template(ARMS, "November study"))
    paths = {}
    for number, arm in enumerate(ARMS):
        paths[arm] = folder / f"{arm}.h5"
        _write_movie(paths[arm], _movie(0, number))
    for subject in ("S1", "S2", "S3"):
        for sampling in SAMPLINGS:
            raw = folder / f"{subject}_{sampling}.h5"
            scan_id = study.import_scan(
                raw,
                raw_sha256=hashlib.sha256(raw.name.encode()).hexdigest(),
                subject=subject,
                plane="SAX",
                sampling=sampling,
            )
            study.attach_movies(scan_id, paths)
    return folder / "study"


@pytest.fixture
def answers(context: AppContext) -> Answers:
    context.dialogs = Answers()
    return context.dialogs


@pytest.fixture
def page(context: AppContext, answers: Answers, qtbot: QtBot) -> Iterator[StudyPage]:
    """The page on top, with the locked study of the context."""
    made = StudyPage(context)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    made.show()
    made.on_shown()
    yield made
    made.on_hidden()


def opened(page: StudyPage, context: AppContext, study: Study | None, qtbot: QtBot) -> None:
    """Make a study the open one, and wait until the page shows it."""
    context.set_study(study)
    waiting(page, qtbot)


def waiting(page: StudyPage, qtbot: QtBot) -> None:
    context = page._context
    qtbot.waitUntil(
        lambda: not context.study_busy and not page._snapshots.busy and not page._timer.isActive(),
        timeout=PATIENCE_MS,
    )
    if context.study is not None:
        qtbot.waitUntil(lambda: page._snapshot is not None, timeout=PATIENCE_MS)


@pytest.fixture
def design(
    page: StudyPage, context: AppContext, design_template: Path, tmp_path: Path, qtbot: QtBot
) -> DesignView:
    """The page with a study that waits for its readers."""
    folder = Path(shutil.copytree(design_template, tmp_path / "design"))
    opened(page, context, Study.open(folder), qtbot)
    assert page.design is not None
    return page.design


def study_of(context: AppContext) -> Study:
    assert context.study is not None
    return context.study


def type_into(design: DesignView, field: str, text: str, qtbot: QtBot) -> None:
    line = design.form.editors[field].line  # type: ignore[attr-defined]
    line.selectAll()
    qtbot.keyClicks(line, text)


def every_text(page: StudyPage, all_texts: Callable[[QWidget], list[str]]) -> str:
    cells = [
        item.text()
        for table in page.findChildren(QTableWidget)
        for row in range(table.rowCount())
        for column in range(table.columnCount())
        if (item := table.item(row, column)) is not None
    ]
    return "\n".join([*all_texts(page), *cells])


# Before the lock


def test_without_a_study_the_next_step_is_to_make_one(
    page: StudyPage, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    opened(page, context, None, qtbot)
    assert page.next.title.text() == "Next: make a study"
    assert page.next.open_button.isVisible()
    answers.path = tmp_path / "new"
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: import scans", timeout=PATIENCE_MS)
    assert page.heading.text() == "Spring"
    # A new study begins with what is recommended, not with what the oldest studies had.
    assert study_of(context).design == template(ARMS, "Spring").changed(
        {"seed": study_of(context).design.seed}
    )
    with qtbot.waitSignal(context.page_requested) as asked:
        qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    assert asked.args == ["data"]


def test_what_is_typed_is_in_the_study_without_a_button(
    page: StudyPage, design: DesignView, context: AppContext, qtbot: QtBot
) -> None:
    assert page.next.title.text() == "Next: name the readers"
    type_into(design, "readers", "Ada, Ben", qtbot)
    waiting(page, qtbot)
    assert study_of(context).protocol.readers == ("Ada", "Ben")
    assert [row[0] for row in design.balance.readers.texts()] == ["Ada", "Ben"]
    assert page.next.title.text() == "Next: lock"
    type_into(design, "readers", "Ada, Cleo", qtbot)
    page.on_hidden()  # another page is chosen before the pause that ends typing
    waiting(page, qtbot)
    assert study_of(context).protocol.readers == ("Ada", "Cleo")


def test_a_mistake_is_not_saved_and_bars_the_lock(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, qtbot: QtBot
) -> None:
    type_into(design, "readers", "Ada, dl_cardiac", qtbot)
    waiting(page, qtbot)
    assert page.next.title.text() == "Next: correct “Readers”"
    assert not page.next.button.isVisible()
    assert design.form.errors["readers"].isVisible()
    page.lock()
    waiting(page, qtbot)
    assert answers.checks == []
    assert study_of(context).protocol.readers == ()


def test_the_balance_is_that_of_the_schedules(
    page: StudyPage, design: DesignView, context: AppContext, qtbot: QtBot
) -> None:
    type_into(design, "readers", "Ada, Ben", qtbot)
    waiting(page, qtbot)
    rows = {row[0]: row[1:] for row in design.balance.readers.texts()}
    for number, (reader, shown) in enumerate(study_of(context).planned_schedules().items()):
        kinds = [item.kind for item in shown]
        assert rows[reader][:3] == ["0", str(kinds.count("reading")), str(kinds.count("repeat"))]
        design.balance.readers.selectRow(number)
        counted = [[0] * 3 for _ in ARMS]
        for item in shown:
            for place, arm in enumerate(item.permutation):
                counted[arm][place] += item.kind == "reading"
        assert design.balance.counts() == [[str(count) for count in row] for row in counted]
    assert design.balance.groups.texts() == [[f"SAX/{name}", "3", "3"] for name in SAMPLINGS]


def test_power_is_that_of_the_smallest_group_and_follows_n(
    page: StudyPage, power: PowerView, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert power.clips.value() == 3
    power.clips.setValue(10)
    power._ask()
    slow = power.process._process  # seconds of work
    assert slow is not None
    ended = []
    slow.finished.connect(lambda: ended.append(True))
    power.clips.setValue(4)
    assert ended and not power.process.busy
    qtbot.waitUntil(lambda: power.table.isEnabled(), timeout=4 * PATIENCE_MS)
    expected = what_can_n_show(4, 3)
    rows = power.table.texts()
    assert [row[0] for row in rows] == [scenario.name for scenario in expected.scenarios]
    assert [row[1] for row in rows] == [f"{scenario.omnibus:.0%}" for scenario in expected.scenarios]
    assert [row[3] for row in rows] == [f"{s.pairs[-1].nemenyi:.0%}" for s in expected.scenarios]
    assert "cannot separate neighbouring methods" in power.warning.text()
    assert "N = 4" in power.verdict.text()
    power.set_study([3], 3, 0.05)  # something else has changed
    assert power.table.isEnabled() and power.clips.value() == 4
    power.clips.setValue(5)
    page.on_hidden()
    assert not power._timer.isActive() and not power.process.busy
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    power.process.ask(PowerQuestion(4, 3, 0.05))  # known: nothing is computed
    assert "N = 4" in power.verdict.text()
    with qtbot.waitSignal(power.process.failed, timeout=PATIENCE_MS):
        power.process.ask(PowerQuestion(6, 3, 0.05))
    assert power.verdict.property("role") == "error"


def test_a_protocol_file_goes_out_and_comes_in(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    study = study_of(context)
    answers.path = tmp_path / "protocol.yaml"
    type_into(design, "readers", "Ada", qtbot)  # saved with the rest, though the pause is not over
    qtbot.mouseClick(page.save_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(answers.path.is_file, timeout=PATIENCE_MS)
    waiting(page, qtbot)
    assert Design.load(answers.path) == study.design
    assert study.protocol.readers == ("Ada",)
    other = study.design.changed({"readers": ["Ben"], "alpha": 0.00125, "crop_mm": [100, 120]})
    other.save(answers.path)
    qtbot.mouseClick(page.load_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: study.design == other, timeout=PATIENCE_MS)
    waiting(page, qtbot)
    assert design.form.editors["readers"].value() == ["Ben"]
    assert "protocol.yaml" in page.note.text()


def test_a_file_that_cannot_be_used_says_where_and_changes_nothing(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    before = study_of(context).design
    answers.path = tmp_path / "wrong.yaml"
    text = before.to_yaml()
    line = 1 + text.splitlines().index("alpha: 0.05")
    for content, field, words in (
        (text.replace("alpha: 0.05", "alpha: 5"), "alpha", f"wrong.yaml, line {line}"),
        (text.replace("alpha: 0.05", "alpah: 0.05"), "", "did you mean 'alpha'"),
        ("alpha: [0.05", "", "this is no YAML"),
    ):
        page._say("", "muted")
        answers.path.write_text(content, encoding="utf-8")
        qtbot.mouseClick(page.load_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: bool(page.note.text()), timeout=PATIENCE_MS)
        assert words in page.note.text()
        shown = {name for name, label in design.form.errors.items() if label.isVisibleTo(page)}
        assert shown == ({field} if field else set())
        if field:
            assert words in design.form.errors[field].text()
            design.form.show_error(field, "")
    assert study_of(context).design == before


def test_scans_become_a_plan_and_planned_files_are_named(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    study = study_of(context)
    qtbot.mouseClick(design.plan.fix_button, Qt.MouseButton.LeftButton)
    waiting(page, qtbot)
    assert {(scan.subject, Path(scan.file).name) for scan in study.design.scans} == {
        (f"S{subject}", f"S{subject}_{name}.h5") for subject in (1, 2, 3) for name in SAMPLINGS
    }
    assert not design.plan.fix_button.isVisible()
    raw = tmp_path / "S4_sax.h5"
    raw.write_text("raw")
    answers.files = [raw]
    qtbot.mouseClick(design.plan.plan_button, Qt.MouseButton.LeftButton)
    waiting(page, qtbot)
    assert study.design.scans[-1] == PlannedScan(str(raw), "S4", "short axis")
    assert page.next.text.text() == "Planned and not there yet: S4 short axis."
    last = design.plan.table.rowCount() - 1
    design.plan.table.item(last, 1).setText("SAX")  # type: ignore[union-attr]
    waiting(page, qtbot)
    assert study.design.scans[-1].plane == "SAX"
    assert len(study.design.scans) == 10
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    (opened_scan,) = context.scans
    assert (opened_scan.path, opened_scan.subject, opened_scan.plane) == (raw, "S4", "SAX")
    qtbot.mouseClick(design.plan.drop_button, Qt.MouseButton.LeftButton)
    waiting(page, qtbot)
    assert study.design.scans == ()


def test_a_subject_becomes_a_practice_case(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, qtbot: QtBot
) -> None:
    study = study_of(context)
    qtbot.mouseClick(design.plan.fix_button, Qt.MouseButton.LeftButton)
    waiting(page, qtbot)

    def tick(row: int) -> None:
        item = design.plan.table.item(row, 4)
        assert item is not None
        item.setCheckState(Qt.CheckState.Checked)
        waiting(page, qtbot)

    answers.confirmed = False
    tick(0)
    assert not any(scan.practice for scan in study.scans)
    shown = design.plan.table.item(0, 4)
    assert shown is not None and shown.checkState() == Qt.CheckState.Unchecked
    answers.confirmed = True
    tick(0)
    assert "S1 (3 scans) have to be reconstructed again" in answers.asked[-1]
    assert {(scan.subject, scan.practice, scan.complete) for scan in study.scans} == {
        ("S1", True, False), ("S2", False, True), ("S3", False, True),
    }  # fmt: skip
    assert {scan.subject for scan in study.design.scans if scan.practice} == {"S1"}
    assert page.next.title.text() == "Next: reconstruct the scans"
    context.jobs.submit({"command": "reconstruct", "path": "S2.h5", "methods": ["gridded"], "out": "out"})
    tick([row[0] for row in design.plan.table.texts()].index("S2"))
    assert "when the reconstructions are done" in page.note.text()
    assert {scan.subject for scan in study.scans if scan.practice} == {"S1"}


def test_methods_cannot_change_under_movies(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    assert not design.form.editors["arms"].isEnabled()
    answers.path = tmp_path / "other.yaml"
    study_of(context).design.changed({"arms": ["gridded", "dl_cardiac"]}).save(answers.path)
    qtbot.mouseClick(page.load_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "remove the scans before" in page.note.text(), timeout=PATIENCE_MS)
    assert study_of(context).design.arms == ARMS


# The lock


def test_the_lock_takes_the_names_off_the_page(
    page: StudyPage,
    design: DesignView,
    context: AppContext,
    answers: Answers,
    qtbot: QtBot,
    all_texts: Callable[[QWidget], list[str]],
    forbidden_words: tuple[str, ...],
) -> None:
    study = study_of(context)
    type_into(design, "readers", "Ada, Ben", qtbot)
    assert "Compressed sensing" in every_text(page, all_texts)
    page.lock()  # nobody waited for the pause that ends typing
    waiting(page, qtbot)
    qtbot.waitUntil(lambda: bool(answers.checks), timeout=PATIENCE_MS)
    assert not [check for check in answers.checks if check.state == "missing"]
    assert study.phase == "design"  # asked, and thought better of it
    answers.passphrase = PASSPHRASE
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: lock", timeout=PATIENCE_MS)
    qtbot.mouseClick(page.next.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: read", timeout=PATIENCE_MS)
    assert (study.phase, study.readers) == ("reading", ("Ada", "Ben"))
    QApplication.sendPostedEvents(None, 0)
    texts = every_text(page, all_texts).lower()
    assert not [word for word in forbidden_words if word in texts]
    for sampling in SAMPLINGS:
        assert f"s1_{sampling}" not in texts
    assert "3, sealed" in texts
    study.unblind(PASSPHRASE, "Cleo", force=True)
    page.on_shown()
    qtbot.waitUntil(lambda: page.next.title.text() == "Next: look at the results", timeout=PATIENCE_MS)
    assert "; ".join(map(method_label, ARMS)) in every_text(page, all_texts)
    qtbot.mouseClick(page.record.protocol_card.copy_button, Qt.MouseButton.LeftButton)
    assert QApplication.clipboard().text() == study.protocol_sha256
    assert page.record.protocol_card.digest.toolTip() == study.protocol_sha256


def test_a_refused_lock_says_why_and_the_design_goes_on(
    page: StudyPage, design: DesignView, context: AppContext, answers: Answers, qtbot: QtBot
) -> None:
    study = study_of(context)
    type_into(design, "readers", "Ada", qtbot)
    waiting(page, qtbot)
    movie = next((study.folder / "movies").iterdir())
    movie.chmod(0o600)
    movie.write_bytes(b"something else")
    answers.passphrase = PASSPHRASE
    with qtbot.waitSignal(context.error, timeout=PATIENCE_MS) as told:
        page.lock()
    assert movie.stem in told.args[0]
    waiting(page, qtbot)
    assert not context.lock.active
    assert page.design is not None and page.design.isEnabled()
    assert study.phase == "design"


# After the lock


def rank_everything(study: Study, reader: str) -> int:
    done = 0
    while (presentation := study.next_presentation(reader)) is not None:
        study.commit_ranking(reader, presentation, [1, 2, 2], seconds=4.0, loops=2)
        done += 1
    return done


def test_a_package_goes_out_and_its_answers_come_in_once(
    page: StudyPage, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    waiting(page, qtbot)
    study, reader = study_of(context), "Reader Two"
    answers.path = tmp_path / "two.blindcine"
    qtbot.mouseClick(page.record.readers.package_buttons[reader], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Written" in page.record.readers.note.text(), timeout=PATIENCE_MS)
    assert answers.asked[-1].endswith("Reader_Two.blindcine")
    package = open_package(answers.path, tmp_path / "elsewhere")
    assert rank_everything(package, reader) == 3
    response = tmp_path / "two.blindcine-response"
    save_response(package, response)
    answers.path = response
    waiting(page, qtbot)
    qtbot.mouseClick(page.record.readers.merge_button, Qt.MouseButton.LeftButton)
    note = page.record.readers.note
    qtbot.waitUntil(lambda: note.text() == "Reader Two: 3 new rankings, complete.", timeout=PATIENCE_MS)
    assert study.progress(reader) == (3, 3)
    waiting(page, qtbot)
    assert page.next.text.text().startswith("3 rankings to go")
    page.merge_responses([response])  # dropped a second time
    qtbot.waitUntil(lambda: "3 known already" in note.text(), timeout=PATIENCE_MS)
    assert "0 new rankings" in note.text()
    tampered = tmp_path / "tampered.blindcine-response"
    content = bytearray(response.read_bytes())
    content[len(content) // 2] ^= 1
    tampered.write_bytes(content)
    head = study.head
    page.merge_responses([tampered])
    qtbot.waitUntil(lambda: "tampered.blindcine-response" in note.text(), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: note.property("role") == "error", timeout=PATIENCE_MS)
    assert study.head == head


def test_a_readers_package_shows_its_reader_and_saves_the_answers(
    page: StudyPage, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    waiting(page, qtbot)
    answers.path = tmp_path / "one.blindcine"
    qtbot.mouseClick(page.record.readers.package_buttons["Reader One"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Written" in page.record.readers.note.text(), timeout=PATIENCE_MS)
    package = open_package(answers.path, tmp_path / "elsewhere")
    rank_everything(package, "Reader One")
    opened(page, context, package, qtbot)
    assert page.phase.text() == "A reader's package"
    readers = page.record.readers
    assert not readers.package_buttons and not readers.merge_button.isVisible()
    assert not page.record.protocol_card.amend_button.isVisible()
    answers.path = tmp_path / "answers.blindcine-response"
    qtbot.mouseClick(readers.answers_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Send it to the coordinator" in readers.note.text(), timeout=PATIENCE_MS)
    assert answers.path.is_file()


def test_an_amendment_is_shown_with_its_reason(
    page: StudyPage, context: AppContext, answers: Answers, qtbot: QtBot
) -> None:
    waiting(page, qtbot)
    card = page.record.protocol_card
    assert card.amendments.text() == "None."
    answers.amend = AmendmentAnswer("Cleo", "readers got tired", {"break_minutes": 20.0})
    qtbot.mouseClick(card.amend_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "readers got tired" in card.amendments.text(), timeout=PATIENCE_MS)
    assert "Cleo: Break after: 30 min → 20 min." in card.amendments.text()
    assert study_of(context).protocol.break_minutes == 20
    answers.amend = AmendmentAnswer("Cleo", "because of dl_natural", {})
    qtbot.mouseClick(card.amend_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.note.property("role") == "error", timeout=PATIENCE_MS)
    assert len(study_of(context).amendments) == 1


def test_sittings_and_progress_are_shown(page: StudyPage, context: AppContext, qtbot: QtBot) -> None:
    study = study_of(context)
    study.begin_session(
        "Reader One",
        {
            "display_check": {"verdict": "passed", "attempts": []},
            "resolution_px": [2560, 1440],
            "refresh_rate_hz": 59.951,
        },
    )
    rank_everything(study, "Reader One")
    page.on_shown()
    waiting(page, qtbot)
    (row,) = page.record.sessions.texts()
    assert (row[0], *row[2:]) == ("Reader One", "2560 × 1440, 60 Hz", "passed")
    names = [widget.accessibleName() for widget in page.record.readers.findChildren(QWidget)]
    assert "Reader One: 3 of 3" in names and "Reader Two: 0 of 3" in names
    assert page.next.text.text().startswith("3 rankings to go")


def test_while_somebody_reads_the_hidden_page_asks_nothing(
    page: StudyPage, context: AppContext, qtbot: QtBot
) -> None:
    waiting(page, qtbot)
    page.on_hidden()
    before = page._snapshot
    rank_everything(study_of(context), "Reader One")
    context.study_changed.emit()
    assert not page._snapshots.busy
    assert page._snapshot is before
    page.on_shown()
    waiting(page, qtbot)
    assert page._snapshot is not None and page._snapshot.readers[0].done == 3


def test_the_record_is_checked_and_a_changed_movie_found(
    page: StudyPage, context: AppContext, qtbot: QtBot
) -> None:
    waiting(page, qtbot)
    record = page.record.record
    qtbot.mouseClick(record.verify_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "as they were written" in record.verdict.text(), timeout=PATIENCE_MS)
    movie = next((study_of(context).folder / "movies").iterdir())
    movie.chmod(0o600)
    movie.write_bytes(movie.read_bytes()[:-1] + b"?")
    qtbot.mouseClick(record.verify_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: record.verdict.property("role") == "error", timeout=PATIENCE_MS)
    assert movie.stem in record.verdict.text()


def test_a_second_copy_follows_the_log(
    page: StudyPage, context: AppContext, answers: Answers, tmp_path: Path, qtbot: QtBot
) -> None:
    waiting(page, qtbot)
    record = page.record.record
    assert "No second copy" in record.copy.text()
    answers.path = study_of(context).folder / "inside"
    qtbot.mouseClick(record.copy_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "another folder" in record.verdict.text(), timeout=PATIENCE_MS)
    before = study_of(context)
    answers.path = tmp_path / "other disk"
    qtbot.mouseClick(record.copy_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "other disk" in record.copy.text(), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: context.study is not before, timeout=PATIENCE_MS)
    study = study_of(context)
    study.amend("Cleo", "a note", {})
    (copy,) = answers.path.iterdir()
    assert len(copy.read_text().splitlines()) == study.head.sequence
    with contextlib.suppress(FileNotFoundError):
        assert not any((study.folder / "inside").iterdir())


def test_answers_without_a_study_are_refused(
    page: StudyPage, context: AppContext, tmp_path: Path, qtbot: QtBot
) -> None:
    opened(page, context, None, qtbot)
    with qtbot.waitSignal(context.error) as told:
        page.merge_responses([tmp_path / "a.blindcine-response"])
    assert "Open the study first" in told.args[0]


def test_the_smallest_window_cuts_nothing_off(
    page: StudyPage, design: DesignView, context: AppContext, study_folder: Path, qtbot: QtBot
) -> None:
    room = 1100 - 196  # of the window at its smallest, beside the navigation
    page.resize(room, 600)
    assert page.minimumSizeHint().width() <= room
    for area in design.findChildren(QScrollArea):
        body = area.widget()
        assert body.minimumSizeHint().width() <= area.viewport().width()
    opened(page, context, Study.open(study_folder), qtbot)
    assert page.minimumSizeHint().width() <= room
