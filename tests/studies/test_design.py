"""The protocol file: what is written comes back, and every mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.design import FIELDS, FORMAT, Design, missing_scans, template, with_seed
from studies.errors import StudyError
from studies.protocol import ENDPOINTS, SPEEDS, PlannedScan, Protocol, protocol_sha256

ARMS = ("compressed_sensing", "dl_natural", "dl_cardiac")
HEAD = f"format: {FORMAT}\nname: Heart\narms: [one, two]\n"
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(lambda text: text.split() and not any(arm in text.casefold() for arm in ARMS))


@st.composite
def designs(draw: st.DrawFn) -> Design:
    files = draw(st.lists(WORDS, max_size=4, unique=True))
    scans = tuple(
        PlannedScan(
            file=f"/raw/{file.replace('/', '_')}.h5",
            subject=f"subject {place}",
            plane=draw(st.sampled_from(["SAX", "4CH", "yes", "1"])),
            sampling=draw(st.sampled_from(["", "radial", "spiral"])),
            label=draw(st.sampled_from(["", "no", "second: breath hold"])),
            practice=draw(st.booleans()),
        )
        for place, file in enumerate(files)
    )
    lengths = st.floats(0.1, 500)
    protocol = Protocol(
        name=" ".join(draw(WORDS).split()),
        arm_count=3,
        endpoints=tuple(draw(st.lists(st.sampled_from(ENDPOINTS), min_size=1, unique=True))),
        alpha=draw(st.floats(0.001, 0.2)),
        repeat_share=draw(st.floats(0, 1)),
        repeat_minimum=draw(st.integers(0, 9)),
        crop_mm=draw(st.none() | st.tuples(lengths, lengths)),
        speed=draw(st.sampled_from(SPEEDS)),
        must_view_loops=draw(st.integers(0, 3)),
        break_minutes=draw(st.floats(1, 90)),
        readers=tuple(draw(st.lists(st.sampled_from(["Anna", "Zoë", "null", "7"]), unique=True))),
    )
    return Design(protocol, ARMS, draw(st.none() | st.integers().map(str)), scans)


@given(designs())
@settings(max_examples=40, deadline=None)
def test_a_design_comes_back_from_its_file(design: Design) -> None:
    """Also by way of another YAML program's view: the file is a plain table of the same fields."""
    text = design.to_yaml()
    assert Design.from_yaml(text) == design
    assert yaml.safe_load(text) == design.to_fields()
    assert list(yaml.safe_load(text)) == list(FIELDS)


def test_hash_is_of_the_values_not_of_the_text(tmp_path: Path) -> None:
    """Order, comments, styles and 1 for 1.0 do not matter; any value does."""
    design = with_seed(template(ARMS, "Heart"), "7")
    path = tmp_path / "protocol.yaml"
    design.save(path)
    assert Design.load(path).sha256 == design.sha256 == protocol_sha256(design.protocol, design.secret)
    fields = {**design.to_fields(), "speed": 1, "break_minutes": 30, "seed": 7}
    shuffled = yaml.safe_dump(dict(reversed(fields.items())), default_flow_style=False)
    assert Design.from_yaml("# mine\n" + shuffled).sha256 == design.sha256
    others = [design.changed({field: value}).sha256 for field, value in (("alpha", 0.01), ("seed", 8))]
    assert len({design.sha256, *others}) == 3
    with pytest.raises(StudyError, match="no seed yet"):
        _ = template(ARMS).sha256
    assert with_seed(design, "9") == design


def test_fields_left_out_have_the_recommended_value() -> None:
    """20 % repeats, at least 4; everything else as in a study without a file."""
    found = Design.from_yaml(HEAD)
    assert (found.protocol.repeat_share, found.protocol.repeat_minimum) == (0.2, 4)
    assert found.protocol.break_minutes == 30 and found.seed is None and found.scans == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "alpha: 5\n", r"p\.yaml, line 4: 'alpha' is 5\.0; expected: a number between 0 and 1"),
        (
            HEAD + "\nalhpa: 0.1\n",
            r"p\.yaml, line 5: 'alhpa' is no field of a protocol: did you mean 'alpha'",
        ),
        (HEAD + "zzzzzz: 1\n", "line 4: 'zzzzzz' is no field of a protocol; the fields are format, name"),
        (HEAD + "endpoints: [rank, beauty]\n", "line 4: 'endpoints' is .*'beauty'.*; expected: a list"),
        (HEAD + "endpoints: rank\n", "line 4: 'endpoints' is 'rank'; expected: a list"),
        (HEAD + "endpoints:\n  - rank\n  - 7\n", r"line 6: 'endpoints\[2\]' is 7; expected: a text"),
        (HEAD + "strata: [[plane]]\n", r"line 4: 'strata\[1\]' is \['plane'\]"),
        (HEAD + "readers: [no]\n", r"line 4: 'readers\[1\]' is False; expected: a text \(in quotes"),
        (HEAD + "readers: [Anna, ANNA]\n", "line 4: 'readers' is"),
        (HEAD + "readers: ['two']\n", "p.yaml: The reader's name 'two' contains 'two'"),
        (HEAD + "crop_mm: [1, x]\n", r"'crop_mm' is \[1\.0, 'x'\]; expected: two lengths"),
        (HEAD + "crop_mm: 100\n", "'crop_mm' is 100; expected: a list"),
        (HEAD + "seed: 2024-01-01\n", "line 4: 'seed' is datetime.date"),
        (HEAD + "seed: yes\n", "'seed' is True"),
        (HEAD + "grey_scale: null\n", "line 4: 'grey_scale' is missing or null; expected: one of"),
        (HEAD + "repeat_share: .inf\n", "'repeat_share' is inf"),
        (HEAD + "scans: 5\n", "line 4: 'scans' is 5; expected: a list"),
        (HEAD + "scans:\n  - 5\n", r"line 5: 'scans\[1\]' is 5; expected: a table with file, subject, plane"),
        (HEAD + "scans:\n  - file: a\n    subject: P\n", r"line 5: 'scans\[1\]\.plane' is missing"),
        (
            HEAD + "scans:\n  - file: a\n    plain: P\n",
            r"line 6: 'plain' is no field .* did you mean 'plane'",
        ),
        (
            HEAD + "scans:\n  - {file: a, subject: P, plane: X, practice: 1}\n",
            r"\.practice' is 1; expected: true",
        ),
        (HEAD + "scans:\n  - {file: a, subject: P, plane: X, sampling: epi}\n", r"\.sampling' is 'epi'"),
        (
            HEAD + "scans:\n  - {file: a, subject: one, plane: X}\n",
            "subject in scans.1. 'one' contains 'one'",
        ),
        (
            HEAD + "scans:\n  - {file: a, subject: P, plane: X}\n  - {file: a, subject: Q, plane: X}\n",
            "line 4: 'scans' is .* every file once",
        ),
        (
            HEAD
            + "scans:\n  - {file: a, subject: P, plane: X}\n"
            + "  - {file: b, subject: P, plane: X, practice: true}\n",
            "either practice cases or study scans",
        ),
        (
            f"format: {FORMAT}\nname: N\narms: [one]\n",
            r"line 3: 'arms' is \['one'\]; expected: a study of 2 to 6",
        ),
        (f"format: {FORMAT}\nname: N\n", "'arms' is missing or null; expected: a list"),
        (f"format: {FORMAT}\nname: N\narms: [one, one]\n", "not all different"),
        (f"format: {FORMAT}\narms: [one, two]\n", "'name' is missing"),
        (f"format: {FORMAT}\nname: one or two\narms: [one, two]\n", "study name 'one or two' contains 'one'"),
        ("name: N\narms: [one, two]\n", f"'format' is missing or null; expected: '{FORMAT}'"),
        ("format: other\n", "line 1: 'format' is 'other'"),
        (HEAD + "alpha: 0.1\nalpha: 0.2\n", "line 5: the field 'alpha' is there twice"),
        (HEAD + "1: 2\n", "line 4: a field needs a word as its name, not 1"),
        (HEAD + "? [a]\n: 2\n", "line 4: a field needs a word as its name, not None"),
        (HEAD + "x: &a [1]\ny: *a\n", r"line 5: '\*a' refers to another place"),
        (HEAD + "alpha: [\n", "p.yaml, line 5: this is no YAML"),
        (HEAD + "seed: 2024-13-01\n", "p.yaml is no readable YAML: month must be in"),
        (HEAD + "seed: \x07\n", "p.yaml is no readable YAML"),
        (HEAD + "alpha: !!python/name:os.system x\n", "line 4: this is no YAML"),
        (HEAD + "scans: " + "[" * 700 + "]" * 700, "p.yaml is no readable YAML"),
        ("- 1\n", "holds no table of fields"),
        ("", "holds no table of fields"),
    ],
)
def test_mistakes_are_named_with_line_field_value_and_what_was_expected(text: str, message: str) -> None:
    """One each."""
    with pytest.raises(StudyError, match=message):
        Design.from_yaml(text, "p.yaml")


def test_long_values_are_cut_in_messages() -> None:
    """A wrong field full of text gives a sentence that can be read."""
    with pytest.raises(StudyError) as caught:
        Design.from_yaml(HEAD + f"grey_scale: {'x' * 5000}\n")
    assert len(str(caught.value)) < 250


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Absent, not UTF-8, far too large, not writable."""
    path = tmp_path / "p.yaml"
    with pytest.raises(StudyError, match="cannot be read"):
        Design.load(path)
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(StudyError, match="UTF-8"):
        Design.load(path)
    path.write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(StudyError, match="too large"):
        Design.load(path)
    with pytest.raises(StudyError, match="cannot be written"):
        template(ARMS).save(tmp_path / "absent" / "p.yaml")


def test_changes_of_a_design() -> None:
    """Fields by name; format, scans and unknown fields are not changed so."""
    design = template(ARMS)
    changed = design.changed({"alpha": 0.01, "readers": ["Anna"], "arms": ["one", "two"]})
    assert (changed.protocol.alpha, changed.protocol.readers, changed.arms) == (
        0.01,
        ("Anna",),
        ("one", "two"),
    )
    assert changed.protocol.arm_count == 2
    for field in ("format", "scans", "alhpa"):
        with pytest.raises(StudyError, match="no field"):
            design.changed({field: 1})
    with pytest.raises(StudyError, match="the protocol: 'alpha' is 'x'"):
        design.changed({"alpha": "x"})
    with pytest.raises(StudyError, match="arms"):
        Design(design.protocol, ("one", "two"))


def test_planned_and_present_scans_are_compared_as_lists() -> None:
    """Two scans of a subject in one plane are two; practice is another thing than study."""
    planned = [
        PlannedScan("a", "P1", "SAX"),
        PlannedScan("b", "P1", "SAX"),
        PlannedScan("c", "P2", "SAX", practice=True),
    ]
    present = [("P1", "SAX", False), ("P1", "SAX", False), ("P2", "SAX", True)]
    assert missing_scans(planned, present) == ([], [])
    assert missing_scans(planned, present[1:]) == (["P1 SAX"], [])
    other = [("P1", "SAX", False), ("P1", "SAX", False), ("P2", "SAX", False)]
    assert missing_scans(planned, other) == (["P2 SAX (practice)"], ["P2 SAX"])
