"""The results page: blind before unblinding, the numbers of studies.report_analysis after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.context import AppContext
from app.dialogs import Dialogs
from app.pages.results import ResultsPage, format_p
from studies.report_analysis import analyse
from studies.report_tables import method_label, tables_of
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


def test_after_unblinding_the_tables_are_those_of_the_report(
    page: ResultsPage, context: AppContext, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(context)
    _rank_everything(study)
    page.on_shown()
    _type(page, PASSPHRASE)
    page.unblind()
    qtbot.waitUntil(lambda: not context.study_busy and not context.tasks.busy, timeout=20000)
    assert study.phase == "unblinded"
    assert page.status.passphrase.text() == ""
    groups = analyse(tables_of(study))
    rank = groups[0].endpoints[0].result
    assert rank is not None
    shown = _labels(page.tables)
    assert "SAX, radial" in shown
    for mean, sd in zip(rank.mean, rank.sd, strict=True):
        assert f"{mean:.2f} ± {sd:.2f}" in shown
    assert format_p(rank.omnibus.p_exact) in shown
    for arm in study.arms:
        assert method_label(arm) in shown
    page.tables.kind.setCurrentIndex(1)
    shown = _labels(page.tables)
    assert format_p(rank.omnibus.p_chi_square) in shown
    assert format_p(rank.pairs[0].p_nemenyi) in shown

    class Answers(Dialogs):
        def choose_folder(self, *_: object) -> Path:
            return tmp_path / "out"

    monkeypatch.setattr(context, "dialogs", Answers())
    page.export()
    qtbot.waitUntil(lambda: page.tables.open.isVisible(), timeout=20000)
    names = {"ranking.csv", "measurements.csv", "statistics.csv", "report.html"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page.check()
    qtbot.waitUntil(lambda: any("are as they were written" in text for text in _labels(page)))


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0.00049, "< 0.001"), (0.0005, "0.001"), (0.0654, "0.065")],
)
def test_p_values_are_written_in_three_digits(value: float | None, text: str) -> None:
    assert format_p(value) == text
