"""Which figures a report holds: none of what was not read, none of a movie that is gone, no name twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from studies import report
from studies.report.drawing import draw, panels_of
from studies.report.tables import CANNOT_JUDGE, StudyTables
from studies.study import Study

PASSPHRASE = "four horses and a lamp"


def test_strata_of_like_names_do_not_overwrite_each_other(make_tables: Callable[..., StudyTables]) -> None:
    """Three planes whose names differ in signs only."""
    strata = tuple((plane, "radial") for plane in ("4-CH", "4 CH", "4/ch"))
    tables = make_tables(strata=strata, clips=2, observers=())
    names = [item.file_name for item in draw(report.analyse(tables)) if item.kind == "ranks"]
    assert len(names) == 3
    assert set(names) == {f"4_ch_radial{ending}_ranks.svg" for ending in ("", "_2", "_2_2")}


def test_a_stratum_that_nobody_could_judge_has_no_figure(make_tables: Callable[..., StudyTables]) -> None:
    tables = make_tables(strata=(("SAX", "radial"), ("4CH", "spiral")), clips=3, observers=())
    rows = tuple(
        replace(row, rank_competition=None, rank_mid=None, rank_dense=None, missing=CANNOT_JUDGE)
        if row.plane == "4CH"
        else row
        for row in tables.rankings
    )
    drawings = list(draw(report.analyse(replace(tables, rankings=rows))))
    assert "ranks" in {item.kind for item in drawings if item.stratum == "SAX / radial"}
    assert not [item.kind for item in drawings if item.stratum == "4CH / spiral"]


def test_a_movie_that_is_gone_leaves_its_panel_out(make_study: Callable[..., Study]) -> None:
    """The panel of the other stratum is there, and the methods stand in the order of the study."""
    study = make_study(scans=2, readers=["Anna"])
    while (presentation := study.next_presentation("Anna")) is not None:
        study.commit_ranking("Anna", presentation, (1, 2, 3))
    study.unblind(PASSPHRASE, "Cora")
    analysis = report.analyse(report.tables_of(study))
    fractions: list[float] = []

    def panels() -> list[str]:
        made = panels_of(study, analysis, lambda _phase, fraction: fractions.append(fraction))
        assert all(item.content.startswith(b"\x89PNG") for item in made)
        return [item.stratum for item in made]

    assert sorted(panels()) == ["4CH / radial", "SAX / radial"]
    assert fractions == sorted(fractions) and max(fractions) < 1
    (gone,) = [clip for clip in study.clips if clip.plane == "SAX"]
    (study.folder / "movies" / f"{gone.movie_ids[0]}.h5").unlink()
    assert panels() == ["4CH / radial"]
