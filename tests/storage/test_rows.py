from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path

import polars as pl
import pytest

from railcar.errors import DataError, NotFound
from railcar.storage.csv_cells import split_cells
from railcar.storage.csv_layout import find_layout
from railcar.storage.rows import SUFFIXES, Rows, read_rows

TABLE = "word,number\ncat,1\ndog,2\n"
CELLS = [("cat", "1"), ("dog", "2")]
N_PLAIN = 400


def read(folder: Path, content: str | bytes, name: str = "data.csv") -> Rows:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_rows(path)


FORMS = {
    "plain": TABLE.encode(),
    "no final newline": TABLE.rstrip().encode(),
    "byte-order mark": b"\xef\xbb\xbf" + TABLE.encode(),
    "CRLF": TABLE.replace("\n", "\r\n").encode(),
    "CRCRLF, as a text file written twice has it": TABLE.replace("\n", "\r\r\n").encode(),
    "CR only": TABLE.replace("\n", "\r").encode(),
    "quotes": b'"word","number"\n"cat","1"\n"dog","2"\n',
    "blank lines": TABLE.replace("\n", "\n\n").encode(),
    "a line of spaces at the top": b"  \n" + TABLE.encode(),
    "lines of spaces": TABLE.replace("\n", "\n   \n").encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_a_usual_form_reads_the_same_without_a_word(tmp_path: Path, form: str) -> None:
    rows = read(tmp_path, FORMS[form])

    assert rows.frame.rows() == CELLS
    assert rows.frame.columns == ["word", "number"]
    assert rows.frame.dtypes == [pl.String, pl.String]
    assert (rows.form, rows.notes) == ("csv", ())


NOTED = {
    "UTF-16": (TABLE.encode("utf-16"), "data.csv: decoded from UTF-16"),
    "UTF-16 without a mark": (TABLE.encode("utf-16-le"), "data.csv: decoded from UTF-16"),
    "gzip": (gzip.compress(TABLE.encode()), "data.csv: packed with gzip, though its name does not say so"),
    "semicolons": (TABLE.replace(",", ";").encode(), "data.csv: fields are separated by ';'"),
    "tabs": (TABLE.replace(",", "\t").encode(), "data.csv: fields are separated by '\\t'"),
    "bars": (TABLE.replace(",", "|").encode(), "data.csv: fields are separated by '|'"),
    "spaces": (b"word,number\ncat,1\n dog , 2\n", "data.csv: spaces around values are stripped, the first on line 3"),
}


@pytest.mark.parametrize("form", NOTED)
def test_a_table_in_an_unusual_form_reads_the_same_with_a_note(tmp_path: Path, form: str) -> None:
    content, note = NOTED[form]
    rows = read(tmp_path, content)

    assert rows.frame.rows() == CELLS
    assert rows.notes == (note,)


@pytest.mark.parametrize(
    ("name", "separator"), [("a.tsv", "\t"), ("a.TSV", "\t"), ("a.tsv.gz", "\t"), ("a.csv.gz", ",")]
)
def test_the_usual_separator_and_packing_of_a_suffix_need_no_note(tmp_path: Path, name: str, separator: str) -> None:
    content = TABLE.replace(",", separator).encode()
    rows = read(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)

    assert rows.frame.rows() == CELLS
    assert rows.notes == ()


def test_what_is_not_utf_8_is_read_as_windows_1252_with_a_note(tmp_path: Path) -> None:
    rows = read(tmp_path, "word,price\ncafé,“5 €”\n".encode("cp1252"))

    assert rows.frame.rows() == [("café", "“5 €”")]
    assert rows.notes == ("data.csv: decoded from Windows-1252 (line 2 is not UTF-8)",)
    assert read(tmp_path, b"word,n\ncaf\xe9 \x81,1\n").notes[0].startswith("data.csv: decoded from Latin-1")


def test_semicolons_are_found_beside_decimal_commas(tmp_path: Path) -> None:
    assert read(tmp_path, "a;b\n1,5;2,5\n3,5;4,5\n").frame.rows() == [("1,5", "2,5"), ("3,5", "4,5")]
    assert read(tmp_path, "1,5;2,5\n3,5;4,5\n").frame.rows() == [("1,5", "2,5"), ("3,5", "4,5")]


def test_a_first_line_that_names_the_separator_is_followed(tmp_path: Path) -> None:
    rows = read(tmp_path, "sep=;\r\nword;a,b\r\ncat;1,2\r\n")

    assert rows.frame.columns == ["word", "a,b"]
    assert rows.place(0).endswith("line 3")


def test_separators_inside_quotes_do_not_count(tmp_path: Path) -> None:
    rows = read(tmp_path, 'text;label\n"a, b, c";x\n"d, e, f";y\n')

    assert rows.frame.rows() == [("a, b, c", "x"), ("d, e, f", "y")]


def test_a_quoted_newline_stays_and_lines_count_on(tmp_path: Path) -> None:
    rows = read(tmp_path, 'text,label\r\n"one\r\ntwo, ""three""",a\r\nfour,b\r\n')

    assert rows.frame.rows() == [('one\r\ntwo, "three"', "a"), ("four", "b")]
    assert rows.place(0) == f"{tmp_path / 'data.csv'}: line 2"
    assert rows.place(1) == f"{tmp_path / 'data.csv'}: line 4"


def test_only_an_empty_cell_without_quotes_is_missing(tmp_path: Path) -> None:
    words = ["NA", "null", "None", "nan", "01", "1", "1.0", "TRUE"]
    rows = read(tmp_path, "label,n\n" + "".join(f"{word},x\n" for word in words) + ',x\n"",x\n  ,x\n')

    assert rows.frame["label"].to_list() == [*words, None, "", None]


def test_a_carriage_return_without_a_newline_is_part_of_the_value(tmp_path: Path) -> None:
    assert read(tmp_path, "text,n\na\rb,1\n").frame.rows() == [("a\rb", "1")]


def test_spaces_before_a_quote_and_quotes_within_a_value_are_forgiven(tmp_path: Path) -> None:
    rows = read(tmp_path, 'size, name\n5" pipe, "a, ""b"""\n6\' 2", x\n')

    assert rows.frame.rows() == [('5" pipe', 'a, "b"'), ("6' 2\"", "x")]


HEADERLESS = {
    "numbers above numbers": "5.1,3.5,setosa\n4.9,3.0,virginica\n4.7,3.2,setosa\n",
    "a word that comes again": "Ok lar,ham\nWinner,spam\nSee you,ham\n",
    "a sentence above sentences": "you have won a prize,1\nwhere are you going now,0\nplease call me later today,0\n",
    "numbers that count up, and a word that comes again": "1,2,3,setosa\n4,5,7,setosa\n",
    "decimal commas": '"1,5",x\n"2,5",x\n',
    "one line": "5.1,3.5,1.4\n",
}


@pytest.mark.parametrize("form", HEADERLESS)
def test_a_table_without_a_header_loses_no_row(tmp_path: Path, form: str) -> None:
    rows = read(tmp_path, HEADERLESS[form])

    assert [",".join(row) for row in rows.frame.rows()] == HEADERLESS[form].replace('"', "").splitlines()
    names = ", ".join(f"column_{number + 1}" for number in range(rows.frame.width))
    assert rows.notes == (f"data.csv: no header: the columns are called {names}",)
    assert rows.place(0).endswith("line 1")


@pytest.mark.parametrize(
    "header",
    ["v1,v2,v3", "country,2019,2020", "0,1,2", "text,label,n", "How do you like it here,b,c", "?,x,y", "word,1,2,3"],
)
def test_a_header_is_known_as_one(tmp_path: Path, header: str) -> None:
    more = ",6" * (header.count(",") - 2)
    rows = read(tmp_path, f"{header}\nA b c d e f,1,2{more}\nA c d e f g,3,4{more}\nA e f g h i,5,7{more}\n")

    assert rows.frame.columns == header.split(",")
    assert rows.notes == ()


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    rows = read(tmp_path, ",word,n\n0,cat,1\n1,dog,2\n")

    assert rows.frame.columns == ["column_1", "word", "n"]
    assert rows.notes == ("data.csv: line 1: a column without a name is called column_1",)


def at_line_31(line: str) -> str:
    return "word,number\n" + "".join(f"w{number},{number}\n" for number in range(2, 31)) + line + "\nlast,99\n"


REFUSED = {
    "an extra field": (at_line_31("a,b,c"), "line 31: 3 fields where line 1 has 2"),
    "an extra field in the first row": ("a,b\n1,2,3\n4,5\n", "line 2: 3 fields where line 1 has 2"),
    "an extra field in each row": ("a,b\nx,1,2\ny,3,4\n", "line 2: 3 fields where line 1 has 2"),
    "a missing field": (at_line_31("a"), "line 31: 1 field where line 1 has 2"),
    "an empty file": ("", "the file is empty"),
    "blank lines only": ("\n \n\n", "the file is empty"),
    "a separator's line only": ("sep=;\n", "the file is empty"),
    "a header only": ("text,label\n", "a header and no rows"),
    "a NUL byte": (at_line_31("a\0,b"), "line 31: a NUL byte"),
    "a quote that never closes": (at_line_31('"a,b'), "line 31: a quote opens there and is never closed"),
    "a quote closed by a later one": (
        at_line_31('"a,b') + 'x,"c, d"\n',
        "line 31: a quote opens there, and text follows where it closes on line 33",
    ),
    "text after a quote": (at_line_31('"a" b,c'), "line 31: a quote opens there, and text follows where it closes"),
    "a quote and a fault below it": (at_line_31('5" b,c') + "1,2,3\n", "line 33: 3 fields where line 1 has 2"),
    "a carriage return instead of a newline": (at_line_31("a,b\rc,d"), "line 31: 3 fields where line 1 has 2"),
    "a name twice": ("a,b,a\nx,1,2\n", "line 1: two columns are called 'a'"),
    "a line without an end": (at_line_31("a" * 9_000_000 + ",b"), "line 31: a row of 9,000,002 characters"),
    "an HTML page": ("<!DOCTYPE html><html></html>", "an HTML page, not a CSV"),
    "a git-LFS pointer": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "a git-LFS pointer, not the data",
    ),
    "an Excel workbook": ("PK\x03\x04...", "a zip archive or an Excel workbook, not a CSV"),
    "a cut gzip file": (gzip.compress(TABLE.encode())[:-9], "truncated or damaged"),
    "UTF-8 with a wrong byte": (at_line_31("éé,1").encode() + b"\xe9,2\n", "line 33: a byte that is not UTF-8"),
    "half of UTF-16": (TABLE.encode("utf-16")[:-1], "neither UTF-8 nor whole UTF-16"),
}


def test_a_decompression_bomb_is_refused_at_the_limit(tmp_path: Path) -> None:
    bomb = gzip.compress(b"1,2\n" * 2_500_000, 9) * 11

    with pytest.raises(DataError, match=r"data\.csv: unpacks to more than 100 MB, the limit for 0\.\d MB"):
        read(tmp_path, bomb)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_csv_that_cannot_be_right_is_refused_with_its_line(tmp_path: Path, fault: str) -> None:
    content, message = REFUSED[fault]
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)

    assert caught.value.what.startswith(f"{tmp_path / 'data.csv'}: {message}")
    assert caught.value.hint


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.jsonl", "none.parquet"):
        with pytest.raises(NotFound, match=f"{name}: no such file"):
            read_rows(tmp_path / name)
    with pytest.raises(DataError, match=r"folder\.csv: not a file"):
        read_rows(tmp_path / "folder.csv")
    with pytest.raises(DataError, match="not a file of rows") as caught:
        read_rows(tmp_path / "table.xlsx")
    assert all(suffix in caught.value.hint for suffix in SUFFIXES)


@pytest.mark.parametrize("seed", range(60))
def test_random_cells_written_by_the_csv_module_are_read_back(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    separator = chance.choice(",;\t|")
    pieces = ["a", "é", "5", " ", "-", '"', "'", "\n", "\r\n", "\r", ",", ";", "\t", "|", "NA", "01", "\u200b", "🙂"]
    n_columns = chance.randint(2, 6)
    rows = [
        ["".join(chance.choices(pieces, k=chance.choice([0, 1, 2, 9]))) for _ in range(n_columns)]
        for _ in range(chance.choice([1, 3, 400]))
    ]
    text = io.StringIO()
    ends = chance.choice(["\n", "\r\n"])
    all_quoted = chance.random() < 0.5
    quoting = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=quoting)
    # A header above numbers, and plain lines enough for the separator to be found.
    writer.writerow(["name", *(f"field{number}" for number in range(n_columns - 1)), "number"])
    writer.writerows([*row, number] for number, row in enumerate([["p"] * n_columns] * N_PLAIN + rows))
    frame = read(tmp_path, text.getvalue()).frame

    empty = "" if all_quoted else None
    expected = [[cell.strip() or None if cell else empty for cell in row] for row in rows]
    assert frame.columns[0] == "name"
    assert [list(row[:-1]) for row in frame.rows()[N_PLAIN:]] == expected


@pytest.mark.parametrize("seed", range(40))
def test_the_fast_and_the_careful_way_agree_or_the_fast_one_declines(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        text = "".join(chance.choices(["a", ",", "\n", '"', '""', "\r\n", " "], [4, 4, 3, 2, 2, 1, 0.5], k=30))
        layout = find_layout(text.encode(), ",")
        if layout is None:
            continue
        records = list(split_cells(tmp_path, text, ","))
        assert layout.lines.tolist() == [line for line, _ in records]
        assert layout.n_fields.tolist() == [len(cells) for _, cells in records]
        cells = [list(row) for row in csv.reader(io.StringIO(layout.content.decode(), newline=""))]
        assert cells == [[cell or "" for cell in row] for _, row in records]


def test_real_files_are_read_whole(shared_data: Path) -> None:
    spam = read_rows(shared_data / "text" / "sms_spam.csv")
    assert spam.frame.height == 4837
    assert spam.frame["label"].value_counts().sort("label").rows() == [("ham", 4199), ("spam", 638)]
    assert spam.lines is not None and spam.lines[-1] == 5575
    titanic = read_rows(shared_data / "tables" / "titanic.csv")
    assert titanic.frame.shape == (1309, 14)
    assert titanic.frame["age"].null_count() == 263
    assert read_rows(shared_data / "tables" / "penguins.csv").frame.null_count().sum_horizontal().item() == 19
    assert read_rows(shared_data / "text" / "reviews.csv").frame.shape == (10_566, 4)
