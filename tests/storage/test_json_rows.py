from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from railcar.errors import DataError
from railcar.storage.rows import Rows, read_rows


def read(folder: Path, content: str | bytes, name: str = "data.jsonl") -> Rows:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_rows(path)


def test_strings_numbers_and_booleans_stay_what_they_are(tmp_path: Path) -> None:
    rows = read(tmp_path, '{"t": "a  b", "n": 1, "f": 1, "b": true}\n\n{"t": "01", "n": -2, "f": 2.5, "b": null}\n')

    assert rows.frame.schema == {"t": pl.String, "n": pl.Int64, "f": pl.Float64, "b": pl.Boolean}
    assert rows.frame.rows() == [("a  b", 1, 1.0, True), ("01", -2, 2.5, None)]
    assert (rows.form, rows.notes) == ("jsonl", ())
    assert rows.place(1) == f"{tmp_path / 'data.jsonl'}: line 3"


@pytest.mark.parametrize("name", ["data.ndjson", "data.jsonl.gz", "data.JSONL"])
def test_each_suffix_reads_the_same(tmp_path: Path, name: str) -> None:
    content = '{"text": "é\u2028 \\n \\u00e9"}\r\n'.encode()
    rows = read(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)

    assert rows.frame.rows() == [("é\u2028 \n é",)]
    assert rows.notes == ()


def test_mixed_types_become_text_with_a_note(tmp_path: Path) -> None:
    rows = read(tmp_path, '{"a": 1}\n{"a": null}\n{"a": "01"}\n{"a": true}\n{"a": 2.5}\n')

    assert rows.frame["a"].to_list() == ["1", None, "01", "true", "2.5"]
    assert rows.notes == ("data.jsonl: line 3: key 'a' is a string, above a number: all are read as text",)


def test_a_key_that_a_line_lacks_is_missing_with_a_note(tmp_path: Path) -> None:
    rows = read(tmp_path, '{"a": 1, "b": 2}\n{"b": 3}\n')

    assert rows.frame.rows() == [(1, 2), (None, 3)]
    assert rows.notes == ("data.jsonl: line 2: no key 'a': taken as missing, there and on lines like it",)


def at_line_31(line: str) -> str:
    return '{"a": 1}\n' * 30 + line + '\n{"a": 1}\n'


REFUSED = {
    "NaN": (at_line_31('{"a": NaN}'), "line 31: NaN is no JSON"),
    "infinity": (at_line_31('{"a": -Infinity}'), "line 31: -Infinity is no JSON"),
    "a number beyond floats": (at_line_31('{"a": 1e400}'), "line 31: 1e400 is too large for a number"),
    "a cut last line": (at_line_31("{}") + '{"a": 1, "b', "line 33: the last line is not whole JSON"),
    "a line that is no JSON": (
        at_line_31('{"a" 1}'),
        "line 31: not JSON: expecting ':' delimiter at column 6",
    ),
    "a key given twice": (at_line_31('{"a": 1, "a": 2}'), "line 31: key 'a' is given twice"),
    "100,000 lists": (at_line_31('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"), "line 31: values nested too deeply"),
    "5,000 digits": (at_line_31('{"a": ' + "9" * 5000 + "}"), "line 31: a whole number of 5,000 digits"),
    "an integer beyond 64 bits": (at_line_31('{"a": 9223372036854775808}'), "line 31: a whole number of 19 digits"),
    "a nested object": (at_line_31('{"a": {"b": 1}}'), "line 31: key 'a': an object within the object"),
    "a nested list": (at_line_31('{"a": [1]}'), "line 31: key 'a': a list within the object"),
    "a list of objects": ('[{"a": 1}]\n', "line 1: a list where an object is needed"),
    "a lone value": (at_line_31("null"), "line 31: null where an object is needed"),
    "an object without keys": ("{}\n", "line 1: an object without keys"),
    "a NUL byte": (at_line_31('{"a": "\0"}'), "line 31: a NUL byte"),
    "an empty file": ("", "the file is empty"),
    "an HTML page": ("<html>", "an HTML page, not a JSON Lines file"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_json_that_no_table_can_hold_is_refused_with_its_line(tmp_path: Path, fault: str) -> None:
    content, message = REFUSED[fault]
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)

    assert caught.value.what.startswith(f"{tmp_path / 'data.jsonl'}: {message}")
    assert caught.value.hint


def test_spaces_around_strings_are_stripped_with_a_note(tmp_path: Path) -> None:
    labels = ["cat", " cat", "cat ", " "]
    rows = read(tmp_path, "".join(json.dumps({"n": n, "label": label}) + "\n" for n, label in enumerate(labels)))

    assert rows.frame["label"].to_list() == ["cat", "cat", "cat", None]
    assert rows.frame["n"].to_list() == [0, 1, 2, 3]
    assert list(rows.notes) == ["data.jsonl: spaces around values are stripped, the first on line 2"]
