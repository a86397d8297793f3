"""Reading any table: what is accepted and said, and errors that name line, column, value and expectation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from studies.errors import StudyError
from studies.statistics import long_table
from studies.statistics.long_table import LongTable, read_table

PLAIN = "clip,reader,method,rank\nc1,R1,a,1\nc1,R1,b,2\nc2,R1,a,1\nc2,R1,b,1\n"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Where the table of a test is."""
    return tmp_path / "table.csv"


def read(path: Path, text: str | bytes, value_column: str | None = None) -> LongTable:
    """Write a table and read it."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, value_column=value_column)


def numbers(table: LongTable) -> list[tuple[str, str, float | None]]:
    """Clip, method and number of every line."""
    return [(entry.clip, entry.method, entry.number) for entry in table.entries]


def test_plain_table(written: Path) -> None:
    """No remark where there is nothing to say."""
    table = read(written, PLAIN)
    assert numbers(table) == [("c1", "a", 1), ("c1", "b", 2), ("c2", "a", 1), ("c2", "b", 1)]
    assert (table.methods, table.remarks, table.source) == (("a", "b"), (), "table.csv")
    assert {entry.stratum for entry in table.entries} == {"all"} and not table.has_subjects
    assert [entry.line for entry in table.entries] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (b"\xef\xbb\xbf" + PLAIN.encode(), ""),
        (PLAIN.encode("utf-16"), ""),
        (PLAIN.replace("\n", "\r\n").encode(), ""),
        (PLAIN.replace(",", ";").encode(), "separated by semicolons"),
        (b"sep=;\n" + PLAIN.replace(",", ";").encode(), "separated by semicolons"),
        (PLAIN.replace(",", "\t").encode(), "separated by tabs"),
        (PLAIN.replace("c1", '"c1"').replace(",a", ', "a"').replace(', "a"', ',"a"').encode(), ""),
        (PLAIN.replace("\n", " \n\n").encode(), ""),
        (
            PLAIN.upper()
            .replace("C1", "c1")
            .replace("C2", "c2")
            .replace("A,", "a,")
            .replace("B,", "b,")
            .encode(),
            "",
        ),
        (
            PLAIN.replace("rank\n", "rank,note\n", 1).replace(",1\n", ',1,"x, y"\n').encode(),
            "Columns not used: note",
        ),
    ],
)
def test_other_forms_of_the_same_table(written: Path, text: bytes, remark: str) -> None:
    """Byte order marks, other separators and line ends, quotes, blank lines, capitals, further columns."""
    table = read(written, text)
    assert numbers(table) == numbers(read(written, PLAIN))
    assert remark in " ".join(table.remarks)


def test_cells_with_separators_and_line_ends(written: Path) -> None:
    """Quoted cells are whole, doubled quotes are one; later lines keep their numbers."""
    text = 'clip,reader,method,value\n"clip, one","O""Neil","a\nb",1\n"clip, one","O""Neil",c,x\n'
    with pytest.raises(StudyError, match=r"table.csv, line 4, column 'value': 'x' is not a number"):
        read(written, text)
    table = read(written, text.replace("x\n", "2\n"))
    assert [(e.clip, e.reader, e.method, e.line) for e in table.entries] == [
        ("clip, one", 'O"Neil', "a\nb", 2),
        ("clip, one", 'O"Neil', "c", 4),
    ]


def test_decimal_commas_are_accepted_and_said(written: Path) -> None:
    """In semicolon tables and in quotes; but not beside decimal points in one column."""
    text = 'clip;method;value\nc1;a;"1,5"\nc1;b;-2,25e1\nc2;a;3\nc2;b;inf\n'
    table = read(written, text)
    assert [entry.number for entry in table.entries] == [1.5, -22.5, 3, math.inf]
    assert any("Decimal commas were read in the column 'value'" in remark for remark in table.remarks)
    with pytest.raises(
        StudyError, match=r"line 4, column 'value': '3.5' is not a number with a decimal comma as in line 2"
    ):
        read(written, text.replace(";3\n", ";3.5\n"))
    with pytest.raises(
        StudyError, match=r"line 3, column 'value': '2,25' is not .* decimal point as in line 2"
    ):
        read(written, "clip;method;value\nc1;a;1.5\nc1;b;2,25\n")


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "-", "null", "  "])
def test_empty_numbers_are_missing_and_counted(written: Path, cell: str) -> None:
    """They stay in the table without a number."""
    table = read(written, PLAIN.replace("c2,R1,b,1", f"c2,R1,b,{cell}"))
    assert table.entries[-1].number is None and "1 of 4 ranks or values are empty." in table.remarks


@pytest.mark.parametrize(
    "cell", ["1.2.3", "1_0", "0x10", "12 dB", "1,234.5", "1.234,5", "one", "--1", "1e", "١"]
)
def test_what_is_no_number(written: Path, cell: str) -> None:
    """Python would read some of these; a person would not."""
    with pytest.raises(StudyError, match=r"line 3, column 'value'"):
        read(written, f'clip,method,value\nc1,a,1\nc1,b,"{cell}"\n')


def test_negative_infinity_is_a_number(written: Path) -> None:
    """It ranks last."""
    assert read(written, "clip,method,value\nc1,a,-Inf\nc1,b,+infinity\n").entries[0].number == -math.inf


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"line 1: the column 'clip' is missing; .* has no column"),
        ("clip,reader,rank\nc1,R1,1\n", r"the column 'method' is missing; .* but has clip, reader, rank"),
        ("clip,reader,method\nc1,R1,a\n", r"the column 'rank' or 'value' is missing"),
        ("clip,method,rank,clip\nc1,a,1,c2\n", r"the column 'clip' is there twice"),
        ("clip,method,rank\n", r"no rank or value below it"),
        ("clip,method,rank\nc1,a,1,9\n", r"line 2: there are 4 cells, but the header names 3 columns"),
        ('clip,method,rank\nc1,a,1\nc1,"b"x,2\n', r"line 3: this is no line of a CSV file"),
        ("clip,method,rank\nc1,a,1\n,b,2\n", r"line 3, column 'clip': '' is not the name of a clip"),
        ("clip,reader,method,rank\nc1,,a,1\n", r"line 2, column 'reader': '' is not the name of a reader"),
        ("clip,arm,rank\nc1,NA,1\n", r"line 2, column 'arm': 'NA' is not the name of a method"),
        ("clip,method,rank\nc1,a,1\nc1,b,3\n", r"line 3, column 'rank': '3' is not a rank from 1 to 2"),
        (
            "clip,method,rank_mid\nc1,a,0\nc1,b,2\n",
            r"line 2, column 'rank_mid': '0' is not a rank from 1 to 2",
        ),
        (
            "clip,method,endpoint,value\nc1,a,rank,1\nc1,b,rank,-1\n",
            r"line 3, column 'value': '-1' is not a rank",
        ),
        ("clip,method,rank\nc1,a,1\nc2,a,1\n", r"needs 2 methods, but only 'a'"),
        ("clip,method,rank\nc1,CS,1\nc1,DL,2\nc2,cs,1\n", r"line 4: the method 'cs' is 'CS' in line 2"),
        ("clip,reader,method,rank\nc1,Ann,a,1\nc1,ANN,b,1\n", r"line 3: the reader 'ANN' is 'Ann' in line 2"),
        (
            "clip,subject,method,rank\nc1,P1,a,1\nc1,P2,b,1\n",
            r"line 3, column 'subject': 'P2' is not the subject 'P1' that clip 'c1' has in line 2",
        ),
        (
            "clip,reader,method,rank\nc1,R1,a,1\nc1,R1,b,2\nc1,R1,a,1\n",
            r"line 4, column 'method': 'a' in clip 'c1' by reader 'R1' is already in line 2; .* 'repeat'",
        ),
        (
            "clip,method,rank\nc1,a,1\nc1,b,2\nc1,a,1\nc1,b,2\n",
            r"line 4, .* is already in line 2; .* column 'reader': readings of one clip are never pooled",
        ),
        ("clip,method,rank,repeat\nc1,a,1,second\n", r"line 2, column 'repeat': 'second' is not 0 or 'no'"),
        (
            "clip,method,rank,guess\nc1,a,1,b\nc1,b,2,x\n",
            r"line 3, column 'guess': 'x' is not one of the methods a, b or 'unknown'",
        ),
    ],
)
def test_errors_say_where_and_what(written: Path, text: str, said: str) -> None:
    """One sentence, with the file's name."""
    with pytest.raises(StudyError, match=said) as caught:
        read(written, text)
    assert str(caught.value).startswith("table.csv")


def test_files_that_are_no_text(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another encoding, a workbook, and a file too large to be a table."""
    with pytest.raises(StudyError, match=r"line 2: byte 0xfc is no UTF-8; save the table as CSV in UTF-8"):
        read(written, "clip,reader,method,rank\nc1,Müller,a,1\n".encode("latin-1"))
    with pytest.raises(StudyError, match="UTF-8|column"):
        read(written, b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe")
    monkeypatch.setattr(long_table, "MAXIMUM_BYTES", 10)
    with pytest.raises(StudyError, match="no table of readings is so large"):
        read(written, PLAIN)
    with pytest.raises(FileNotFoundError):
        read_table(written.with_name("absent.csv"))


def test_strata_and_endpoints(written: Path) -> None:
    """Plane, sampling and stratum join; rank and value may stand in one table; endpoints name values."""
    text = (
        "plane,sampling,stratum,clip,method,rank,value,endpoint\n"
        "sax,radial,x,c1,a,1,20.5,SNR\nsax,radial,x,c1,b,2,,SNR\nspeech,,,c1,a,,3,ES\nspeech,,,c1,b,,4,ES\n"
    )
    entries = read(written, text).entries
    assert [(e.stratum, e.endpoint, e.ranked, e.number) for e in entries] == [
        ("sax / radial / x", "rank", True, 1),
        ("sax / radial / x", "SNR", False, 20.5),
        ("sax / radial / x", "rank", True, 2),
        ("speech", "ES", False, 3),
        ("speech", "ES", False, 4),
    ]
    named = read(written, "clip,method,rank,endpoint\nc1,a,1,sharpness\nc1,b,2,sharpness\n")
    assert {(entry.endpoint, entry.ranked) for entry in named.entries} == {("sharpness", True)}


def test_values_from_another_column(written: Path) -> None:
    """As in measurements.csv: the column names the endpoint, and ranks beside it are left alone."""
    text = "observer,clip,method,snr_db_mean,rank\nPhy,c1,a,20,1\nPhy,c1,b,21,2\n"
    table = read(written, text, value_column="SNR_dB_mean")
    assert [(e.endpoint, e.reader, e.number) for e in table.entries] == [
        ("SNR_dB_mean", "Phy", 20),
        ("SNR_dB_mean", "Phy", 21),
    ]
    with pytest.raises(StudyError, match=r"no column 'es' to take values from, only observer, clip"):
        read(written, text, value_column="es")


def test_repeats_and_presentations(written: Path) -> None:
    """A column 'repeat' numbers readings; without it presentations do, by number, else by line."""
    head = "clip,reader,method,rank,"
    rows = ["c1,R1,a,1,{}", "c1,R1,b,2,{}", "c1,R1,a,2,{}", "c1,R1,b,1,{}"]

    def presentations(column: str, cells: str) -> list[int]:
        text = (
            head
            + column
            + "\n"
            + "\n".join(row.format(c) for row, c in zip(rows, cells.split(), strict=True))
        )
        return [entry.presentation for entry in read(written, text).entries]

    assert presentations("repeat", "no No yes TRUE") == [0, 0, 1, 1]
    assert presentations("repeat", "0 0 2 2") == [0, 0, 2, 2]
    assert presentations("presentation", "10 10 9 9") == [1, 1, 0, 0]
    assert presentations("presentation", "x x b b") == [0, 0, 1, 1]
    assert "are repeats" in " ".join(read_table(written).remarks)
    # Presentations that only number the clips are no repeats, and nothing is remarked.
    once = read(written, head + "presentation\nc1,R1,a,1,4\nc1,R1,b,2,4\nc2,R1,a,1,2\nc2,R1,b,2,2\n")
    assert ({entry.presentation for entry in once.entries}, once.remarks) == ({0}, ())


def test_order_of_methods(written: Path) -> None:
    """As the table lists them; where positions shuffle them, the paper's first and the others by name."""
    text = "clip,method,rank\nc1,z,1\nc1,dl_natural,2\nc1,compressed_sensing,3\n"
    assert read(written, text).methods == ("z", "dl_natural", "compressed_sensing")
    shuffled = text + "c2,dl_natural,1\nc2,z,2\nc2,compressed_sensing,3\n"
    assert read(written, shuffled).methods == ("compressed_sensing", "dl_natural", "z")


def test_guesses(written: Path) -> None:
    """Empty or 'unknown': he did not know; no column: nobody was asked."""
    table = read(written, "clip,method,rank,guess\nc1,a,1,b\nc1,b,2,unknown\nc2,a,1,\nc2,b,1,b\n")
    assert [entry.guess for entry in table.entries] == ["b", "", "", "b"]
    assert {entry.guess for entry in read(written, PLAIN).entries} == {None}
