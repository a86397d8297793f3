"""Sentences of the page, from the numbers of the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from studies import report
from studies.report.tables import StudyTables
from studies.report.views import everybody_text, position_text

AGREEMENT: dict[str, Any] = {
    "krippendorff_alpha": 0.5,
    "krippendorff_alpha_ci95": [0.25, 0.75],
    "gwet_ac2": 0.4,
    "gwet_ac2_ci95": [0.1, 0.7],
    "kendall_w": 0.625,
    "kendall_w_ci95": [0.5, 0.8],
}


def test_the_concordance_of_every_clip_is_told_if_there_are_few() -> None:
    """Up to five different values; more are summed up by their mean."""
    few = everybody_text({**AGREEMENT, "kendall_w_clips": {"1.0": 1, "0.25": 3}})
    assert "Krippendorff’s α 0.50" in few and "Gwet’s AC2 0.40" in few
    assert few.endswith(" (W = 1.00 in 1 clip, 0.25 in 3 clips).")
    many = everybody_text({**AGREEMENT, "kendall_w_clips": {str(n / 8): 1 for n in range(6)}})
    assert many == few.partition(" (W = ")[0] + "."


def test_places_on_the_screen_are_tested_where_they_are_known(
    make_tables: Callable[..., StudyTables],
) -> None:
    """Rankings without places, as from another program's table, have no such sentence."""
    tables = make_tables(clips=3, observers=())

    def sentence(of: StudyTables) -> str:
        return position_text(report.analyse(of).document["strata"][0]["agreement"])

    assert sentence(tables).startswith("A ") and "exact Friedman p" in sentence(tables)
    rows = tuple(replace(row, position="") for row in tables.rankings)
    assert sentence(replace(tables, rankings=rows)) == ""
    alone = report.analyse(make_tables(readers=("Anna",), clips=2, observers=()))
    assert everybody_text(alone.document["strata"][0]["agreement"]) == ""
