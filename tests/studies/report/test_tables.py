"""Rows of a report from a study: what sessions recorded, and measurements of movies that it does not know."""

from __future__ import annotations

from collections.abc import Callable

from studies.report.tables import measurement_rows, session_rows
from studies.study import Study

PASSPHRASE = "four horses and a lamp"


def test_conditions_of_any_form_are_one_line_each(make_study: Callable[..., Study]) -> None:
    """Names are joined by dots and sorted; lists of words stay words, lists of tables stay JSON."""
    study = make_study(scans=1, readers=["Anna"])
    study.begin_session(
        "Anna",
        {
            "screen": "RX360",
            "integer_scaling": False,
            "display_check": {"passed": True, "dark": [0.5, 2], "light": None},
            "panels": [{"width": 240}, {"width": 250, "height": [1]}],
            "nothing": [],
        },
    )
    rows = session_rows(study)
    assert {row.reader for row in rows} == {"Anna"} and len({row.session for row in rows}) == 1
    conditions = [(row.item, row.value) for row in rows if not row.item.startswith("software")]
    assert conditions == [
        ("display_check.dark", "0.5 2"),
        ("display_check.light", ""),
        ("display_check.passed", "yes"),
        ("integer_scaling", "no"),
        ("nothing", ""),
        ("panels", '[{"width": 240}, {"height": [1], "width": 250}]'),
        ("screen", "RX360"),
    ]
    assert {row.item for row in rows} > {"software.blindcine", "software.python"}


def test_values_without_a_movie_of_the_study_make_no_row(make_study: Callable[..., Study]) -> None:
    """Nor do values that the tables have no column for make a field."""
    study = make_study(scans=1, readers=["Anna"])
    clip = study.clips[0]
    values = {
        clip.movie_ids[1]: {"snr_db_mean": 21.5, "own": 3, "warnings": ["small", "flat"]},
        "0123456789abcdef": {"snr_db_mean": 99.0},
    }
    study.save_measurement("Paul", clip.clip_id, {}, values)
    method_of = study.unblind(PASSPHRASE, "Cora", force=True)
    (row,) = measurement_rows(study)
    assert (row.observer, row.clip, row.method) == ("Paul", clip.clip_id, method_of[clip.movie_ids[1]])
    assert (row.snr_db_mean, row.edge_sharpness_per_mm_mean, row.warnings) == (21.5, None, "small flat")
