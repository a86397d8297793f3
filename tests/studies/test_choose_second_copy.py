"""A second copy of the log that is chosen while the study goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies.errors import StudyError
from studies.study import Study


def test_a_copy_chosen_later_holds_everything(tmp_path: Path, quick_seal: None) -> None:
    study = Study.create(tmp_path / "study", name="Spring")
    assert study.second_copy is None
    again = study.with_second_copy(tmp_path / "disk" / "copies")
    again.set_design(again.design.changed({"alpha": 0.01}))
    copy = again.second_copy
    assert copy is not None and copy.parent == tmp_path / "disk" / "copies"
    lines = [json.loads(line) for line in copy.read_text().splitlines()]
    assert [line["hash"] for line in lines] == [event.hash for event in again.events]
    assert Study.open(study.folder).second_copy == copy
    again.verify()


def test_folders_that_cannot_hold_a_copy_are_refused(tmp_path: Path, quick_seal: None) -> None:
    study = Study.create(tmp_path / "study", name="Spring")
    (tmp_path / "file").write_text("in the way")
    for folder, words in ((study.folder / "inside", "another folder"), (tmp_path / "file", "No second copy")):
        with pytest.raises(StudyError, match=words):
            study.with_second_copy(folder)
    assert Study.open(study.folder).second_copy is None
