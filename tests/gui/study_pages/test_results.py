"""The results page: blind before unblinding, the report of studies.report after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.dialogs import Dialogs
from app.pages.results import ResultsPage
from app.task_progress import TaskProgress
from app.widgets.svg_figure import Figure
from studies.names import method_label
from studies.report import Analysis, analyse, tables_of, writing
from studies.report.findings import findings, paper_tables
from studies.report.wording import p_text
from studies.study import Study

PASSPHRASE = "a long enough passphrase"


def _rank_everything(study: Study) -> None:
    """Every reader ranks by the brightness in the middle of the last frame, which differs by movie."""
    for reader in study.readers:
        while (presentation := study.next_presentation(reader)) is not None:
            clip = study.load_clip(presentation)
            values = [float(movie[-1, 8:16, 10:18].mean()) for movie in clip.display]
            order = sorted(values)
            study.commit_ranking(
                reader, presentation, [order.index(value) + 1 for value in values], seconds=4.0
            )


def _labels(page: QWidget) -> list[str]:
    return [label.text() for label in page.findChildren(QLabel)]


@pytest.fixture
def page(qtbot: QtBot, context: AppContext) -> ResultsPage:
    made = ResultsPage(context)
    qtbot.addWidget(made)
    made.resize(1200, 800)
    made.show()
    made.on_shown()
    return made


def _turn_to(page: ResultsPage, section: int, qtbot: QtBot) -> list[str]:
    """Show a section; all texts of it once it is built."""
    page.report.show_section(section)
    qtbot.waitUntil(lambda: page.report.complete)
    return _labels(page.report)


def _study(context: AppContext) -> Study:
    assert context.study is not None
    return context.study


def _type(page: ResultsPage, passphrase: str, *, force: bool = False) -> None:
    page.status.actor.setText("Coordinator")
    page.status.passphrase.setText(passphrase)
    page.status.force.setChecked(force)


def test_before_unblinding_counts_are_shown_and_no_method(
    page: ResultsPage,
    context: AppContext,
    all_texts: Callable[[QWidget], list[str]],
    forbidden_words: tuple[str, ...],
) -> None:
    study = _study(context)
    study.commit_ranking("Reader One", study.schedule("Reader One")[0], [1, 2, 3])
    page.on_shown()
    assert {"1 of 3", "0 of 3"} <= set(_labels(page))
    for text in all_texts(page):
        assert not any(word in text.lower() for word in forbidden_words), text


def test_missing_rankings_hold_the_unblinding_up(page: ResultsPage, context: AppContext) -> None:
    _type(page, PASSPHRASE)
    page.unblind()
    assert any("Rankings are missing" in text for text in _labels(page))
    assert _study(context).phase == "reading"


def test_a_wrong_passphrase_is_told_and_changes_nothing(
    page: ResultsPage, context: AppContext, qtbot: QtBot
) -> None:
    _type(page, "not the passphrase", force=True)
    page.unblind()
    qtbot.waitUntil(lambda: not context.study_busy)
    assert _study(context).phase == "reading"
    assert page.status.isVisible()
    assert any("does not open the sealed key" in text for text in _labels(page))
    assert page.status.unblind.isEnabled()


def test_a_name_is_needed(page: ResultsPage, context: AppContext) -> None:
    page.status.passphrase.setText(PASSPHRASE)
    page.unblind()
    assert any("Say who unblinds" in text for text in _labels(page))
    assert _study(context).phase == "reading"


class Answers(Dialogs):
    """Always names the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def choose_folder(self, *_: object) -> Path:
        return self.folder


@pytest.fixture(scope="module")
def unblinded_template(study_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study read and unblinded; the sealed key is slow to open, so tests work on this."""
    folder = Path(shutil.copytree(study_template, tmp_path_factory.mktemp("unblinded") / "study"))
    study = Study.open(folder)
    _rank_everything(study)
    study.unblind(PASSPHRASE, "Coordinator")
    return folder


@pytest.fixture
def analysis(page: ResultsPage, context: AppContext, unblinded_template: Path, qtbot: QtBot) -> Analysis:
    """What the page shows of the unblinded study, which is open and shown."""
    context.open_study(unblinded_template)
    qtbot.waitUntil(lambda: not context.tasks.busy, timeout=60_000)
    return analyse(tables_of(_study(context)))


def test_unblinding_shows_the_report(page: ResultsPage, context: AppContext, qtbot: QtBot) -> None:
    study = _study(context)
    _rank_everything(study)
    page.on_shown()
    _type(page, PASSPHRASE)
    page.unblind()
    qtbot.waitUntil(lambda: not context.study_busy and not context.tasks.busy, timeout=60_000)
    assert study.phase == "unblinded"
    assert page.status.passphrase.text() == ""
    assert page.report.isVisible() and "Primary result" in _labels(page.report)


def test_after_unblinding_the_sections_say_what_the_report_says(
    page: ResultsPage, analysis: Analysis, qtbot: QtBot
) -> None:
    """Primary result first, limits, Tables 3 and 4 with either marks, strata with figures, readers."""
    found = findings(analysis)
    shown = _turn_to(page, 0, qtbot)
    assert [text for text in shown if text in found.headline] == list(found.headline)
    assert {f"•  {text}" for text in found.shows_not} <= set(shown)
    assert {found.strata[0].omnibus, found.strata[0].limit} <= set(shown)
    _turn_to(page, 1, qtbot)
    (exact,), (published,) = paper_tables(analysis), paper_tables(analysis, "published")
    for table, kind in ((exact, 0), (published, 1)):
        page.report.kind.setCurrentIndex(kind)
        shown = _turn_to(page, 1, qtbot)
        assert table.legend in shown
        for row in table.rows:
            assert row.method in shown
            assert all(f"{cell.text} {cell.marks}".strip() in shown for cell in row.cells)
    shown = _turn_to(page, 2, qtbot)
    rank = analysis.results[0].result
    assert rank is not None
    assert p_text(rank.omnibus.p_exact) in shown and p_text(rank.omnibus.p_chi_square) in shown
    for pair in rank.pairs:
        assert f"{method_label(pair.first)} vs {method_label(pair.second)}" in shown
        assert {p_text(pair.p_adjusted), p_text(pair.p_nemenyi)} <= set(shown)
    figures = page.report.findChildren(Figure)
    assert len(figures) == 6 and all(figure.valid for figure in figures)  # five drawings and the movies
    shown = _turn_to(page, 3, qtbot)
    assert "Reader One – Reader Two" in shown and any("Krippendorff" in text for text in shown)
    assert "Readers were not asked to guess the methods." in shown


def test_the_report_is_exported_with_progress(
    page: ResultsPage,
    analysis: Analysis,
    context: AppContext,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context, "dialogs", Answers(tmp_path / "out"))
    told: list[float] = []
    show = page.report.show_progress
    monkeypatch.setattr(
        page.report, "show_progress", lambda what, fraction: (told.append(fraction), show(what, fraction))
    )
    assert not page.report.cancel.isVisible()
    page.export()
    assert page.report.cancel.isVisible() and not page.report.export.isEnabled()
    qtbot.waitUntil(lambda: page.report.open.isVisible(), timeout=60_000)
    assert told == sorted(told) and len(told) > 3
    assert not page.report.cancel.isVisible() and page.report.export.isEnabled()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "report.xlsx", "ranking.csv", "statistics.json", "reproduce.py"} <= names
    page.check()
    qtbot.waitUntil(lambda: any("are as they were written" in text for text in _labels(page)))


def test_an_export_can_be_cancelled(
    page: ResultsPage,
    analysis: Analysis,
    context: AppContext,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wish reaches the thread at its next step: nothing is written, and the page can export again."""
    monkeypatch.setattr(context, "dialogs", Answers(tmp_path / "out"))
    real = writing.analyse

    def slow(tables: object) -> Analysis:
        page.cancel_export()
        return real(tables)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "analyse", slow)
    page.export()
    qtbot.waitUntil(lambda: any("was cancelled" in text for text in _labels(page)), timeout=60_000)
    assert not (tmp_path / "out").exists()
    assert page.report.export.isEnabled() and not page.report.open.isVisible()


def test_a_folder_that_cannot_be_written_is_told(
    page: ResultsPage,
    analysis: Analysis,
    context: AppContext,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "out").write_text("a file")
    monkeypatch.setattr(context, "dialogs", Answers(tmp_path / "out"))
    page.export()
    qtbot.waitUntil(lambda: any("cannot be written" in text for text in _labels(page)), timeout=60_000)
    assert page.report.export.isEnabled()


def test_a_movie_that_was_changed_is_found_by_the_check(
    page: ResultsPage, context: AppContext, qtbot: QtBot
) -> None:
    movie = next((_study(context).folder / "movies").iterdir())
    content = bytearray(movie.read_bytes())
    content[-1] ^= 1
    movie.write_bytes(content)
    page.check()
    qtbot.waitUntil(lambda: not context.tasks.busy)
    assert any(movie.stem in text for text in _labels(page))


def test_figures_keep_their_shape_and_their_white_paper(qtbot: QtBot) -> None:
    """An SVG and a PNG are scaled down in proportion, never up; what is no drawing is said to be none."""
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100" width="200" height="100">'
        b'<rect x="0" y="0" width="200" height="100" fill="#ff0000"/></svg>'
    )
    figure = Figure(svg, "A red rectangle")
    qtbot.addWidget(figure)
    assert figure.valid and figure.accessibleName() == "A red rectangle"
    assert figure.sizeHint() == QSize(224, 124)
    assert figure.heightForWidth(124) == 50 + 24 and figure.heightForWidth(2000) == 124
    figure.resize(124, 74)
    image = figure.grab().toImage()
    assert image.pixelColor(62, 37) == QColor("#ff0000")
    assert image.pixelColor(62, 4) == QColor("#ffffff")
    assert not Figure(b"<svg", "broken").valid and not Figure(b"", "nothing").valid
    assert QImage.fromData(b"").isNull()


def test_progress_crosses_threads(qtbot: QtBot, context: AppContext) -> None:
    """What a thread tells arrives in the window's thread in order; a cancellation is seen by the thread."""
    progress = TaskProgress()
    told: list[tuple[str, float]] = []
    progress.advanced.connect(lambda what, fraction: told.append((what, fraction)))
    seen: list[bool] = []

    def work() -> None:
        progress.tell("one", 0.25)
        seen.append(progress.cancelled)
        progress.cancel()
        seen.append(progress.cancelled)
        progress.tell("two", 0.5)

    context.tasks.submit(work, lambda _: None)
    qtbot.waitUntil(lambda: len(told) == 2)
    assert told == [("one", 0.25), ("two", 0.5)] and seen == [False, True]
