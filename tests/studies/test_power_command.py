"""Power in a process of its own: the same numbers as in this one, and errors in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studies.errors import StudyError
from studies.power import what_can_n_show
from studies.power_command import main, parse_capability


def test_the_process_answers_what_the_function_does() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "studies.power_command", "4", "3", "0.1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert parse_capability(found.stdout) == what_can_n_show(4, 3, alpha=0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("0", "3", "0.05"), "1 to 1000 clips"), (("4", "9", "0.05"), "2 to 6 arms"), (("four",), "four")],
)
def test_a_question_without_an_answer_fails_in_one_sentence(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"scenarios": []}', '{"scenarios": [1]}'])
def test_an_answer_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match="no answer"):
        parse_capability(text)


def test_what_is_printed_is_read_back_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("3", "2", "0.2")) == 0
    out, err = capsys.readouterr()
    assert err == "" and parse_capability(out) == what_can_n_show(3, 2, alpha=0.2)
