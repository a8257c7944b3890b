from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.sources.csv import read_csv, read_csv_source
from railcar.data.sources.digits import parse_digits
from railcar.errors import DataError

HEADER = ",".join(["label", *(f"pixel{number}" for number in range(16))])


def write(path: Path, lines: list[str], *, end: str = "\n", last: bool = True) -> Path:
    path.write_bytes((end.join(lines) + (end if last else "")).encode())
    return path


FORMS = {
    "plain": lambda lines: ("\n".join(lines) + "\n").encode(),
    "header": lambda lines: ("\n".join([HEADER, *lines]) + "\n").encode(),
    "no final newline": lambda lines: "\n".join(lines).encode(),
    "blank lines at the end": lambda lines: ("\n".join(lines) + "\n\n\n").encode(),
    "CRLF": lambda lines: ("\r\n".join([HEADER, *lines]) + "\r\n").encode(),
    "byte-order mark": lambda lines: b"\xef\xbb\xbf" + ("\n".join([HEADER, *lines]) + "\n").encode(),
    "UTF-16": lambda lines: ("\n".join(lines) + "\n").encode("utf-16"),
    "spaces": lambda lines: ("\n".join(lines) + "\n").replace(",", ", ").encode(),
    "quotes": lambda lines: "\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in lines).encode(),
    "fractions of zero": lambda lines: "\n".join(
        ",".join(f"{f}.0" for f in line.split(",")) for line in lines
    ).encode(),
    "semicolons": lambda lines: "\n".join(lines).replace(",", ";").encode(),
    "leading zeros": lambda lines: "\n".join(",".join(f.zfill(3) for f in line.split(",")) for line in lines).encode(),
    "gzip": lambda lines: gzip.compress(("\n".join(lines) + "\n").encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_table_in_many_forms_reads_the_same(make: SimpleNamespace, tmp_path: Path, form: str) -> None:
    path = tmp_path / "digits.csv"
    for n in (40, 3000):  # a file that is mapped into memory goes another way than a small one
        path.write_bytes(FORMS[form](make.csv_lines(n)))
        images, labels, _ = read_csv(path)
        expected, expected_labels = make.digits(n)
        np.testing.assert_array_equal(images, expected[..., None])
        np.testing.assert_array_equal(labels, expected_labels)


def test_labels_may_be_greater_than_a_pixel(make: SimpleNamespace, tmp_path: Path) -> None:
    path = write(tmp_path / "digits.csv", change(make.csv_lines(40), 7, 1, "999"))
    images, labels, _ = read_csv(path)
    expected, expected_labels = make.digits(40)
    expected_labels[6] = 999
    np.testing.assert_array_equal(images, expected[..., None])
    np.testing.assert_array_equal(labels, expected_labels)


def test_the_label_may_be_any_column_with_a_header(make: SimpleNamespace, tmp_path: Path) -> None:
    expected, expected_labels = make.digits(40)
    moved = [",".join([*line.split(",")[1:], line.split(",")[0]]) for line in [HEADER, *make.csv_lines(40)]]
    images, labels, notes = read_csv(write(tmp_path / "digits.csv", moved))
    np.testing.assert_array_equal(images, expected[..., None])
    np.testing.assert_array_equal(labels, expected_labels)
    assert "the label is the column 'label'" in notes[0]
    renamed = [moved[0].replace("label", "digit"), *moved[1:]]
    images, labels, _ = read_csv(write(tmp_path / "named.csv", renamed), label="digit")
    np.testing.assert_array_equal(labels, expected_labels)


def test_a_folder_of_train_and_test_files_has_both_sides(make: SimpleNamespace, tmp_path: Path) -> None:
    write(tmp_path / "mnist_train.csv", make.csv_lines(30))
    write(tmp_path / "mnist_test.csv", make.csv_lines(9, seed=1))
    raw = read_csv_source(tmp_path)
    assert {side: len(split.labels) for side, split in raw.sides.items()} == {"train": 30, "test": 9}


def change(lines: list[str], line: int, column: int, field: str | None) -> list[str]:
    """`lines` with one field (counted from 1) replaced, or taken out."""
    fields = lines[line - 1].split(",")
    fields[column - 1 : column] = [] if field is None else [field]
    return [*lines[: line - 1], ",".join(fields), *lines[line:]]


@pytest.mark.parametrize(
    ("column", "field", "message"),
    [
        (5, "1,2", r"line 31: 18 fields where line 1 has 17"),
        (5, None, r"line 31: 16 fields where line 1 has 17"),
        (5, "300", r"line 31, column 5: the pixel '300' is out of range"),
        (5, "256", r"line 31, column 5: the pixel '256' is out of range"),
        (5, "259", r"line 31, column 5: the pixel '259' is out of range"),
        (5, "1000", r"line 31, column 5: the pixel '1000' is out of range"),
        (5, "-1", r"line 31, column 5: the pixel '-1' is out of range"),
        (5, "nan", r"line 31, column 5: the pixel 'nan' is not a finite number"),
        (5, "1e400", r"line 31, column 5: the pixel '1e400' is not a finite number"),
        (5, "1.5", r"line 31, column 5: the pixel '1.5' is not whole"),
        (5, "abc", r"line 31, column 5: 'abc' is not a number"),
        (5, "", r"line 31, column 5: an empty field"),
        (17, "", r"line 31, column 17: an empty field"),
        (1, "-1", r"line 31, column 1: the label -1 is out of range"),
        (1, "1000", r"line 31, column 1: the label 1000 is out of range"),
        (1, "cat", r"line 31, column 1: the label 'cat' is not an integer"),
        (1, "1.5", r"line 31, column 1: the label '1.5' is not an integer"),
        (1, "inf", r"line 31, column 1: the label 'inf' is not an integer"),
        (5, "1\0", r"line 31: a NUL byte"),
        (5, '"1', r"line 31: "),
    ],
)
def test_a_fault_is_named_with_its_line(
    make: SimpleNamespace, tmp_path: Path, column: int, field: str | None, message: str
) -> None:
    path = write(tmp_path / "digits.csv", change(make.csv_lines(40), 31, column, field))
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path)
    assert caught.value.what.startswith(str(path))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (HEADER.encode(), "a header and no examples"),
        (HEADER.encode() + b"\n", "a header and no examples"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a git-LFS pointer"),
        (b"hello\nworld\n", "line 1 has no commas"),
        (b"1,2,3\n1,2,3\n", "not a square image"),
        (b"label,a,a,b,c\n1,2,3,4,5\n", "two columns are called 'a'"),
        (b"\x1f\x8b\x08\x00abc", "truncated or damaged"),
    ],
)
def test_what_is_no_table_of_images_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "digits.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path)
    assert str(path) in caught.value.what


def random_csv(n: int, n_fields: int, seed: int) -> tuple[bytes, np.ndarray]:
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 256, (n, n_fields), dtype=np.uint8)
    table[generator.random(table.shape) < generator.random()] = 0
    return "".join(",".join(map(str, row)) + "\n" for row in table.tolist()).encode(), table


def test_the_fast_reader_agrees_over_many_blocks_and_shapes() -> None:
    for seed, (n, n_fields) in enumerate([(1, 2), (3, 5), (64, 65), (700, 785), (20_000, 17)]):
        content, table = random_csv(n, n_fields, seed)
        found = parse_digits(content, 0, n_fields)
        assert found is not None
        np.testing.assert_array_equal(found, table)


def test_the_fast_reader_reads_a_byte_right_or_declines_it() -> None:
    """Every byte value at every place of a small table: the same as a plain reading, or None."""
    content, _ = random_csv(4, 5, 0)
    for place in range(len(content)):
        for value in [*b"0123456789,\n\r .-+\"'/:;a\0", 255]:
            changed = content[:place] + bytes([value]) + content[place + 1 :]
            found = parse_digits(changed, 0, 5)
            lines = changed.decode("latin-1").rstrip("\n").split("\n")  # blank lines at the end are none
            fields = [line.split(",") for line in lines]
            is_plain = all(
                len(line) == 5 and all(f.isascii() and f.isdigit() and len(f) < 4 and int(f) < 256 for f in line)
                for line in fields
            )
            if is_plain:
                assert found is not None
                np.testing.assert_array_equal(found, np.array(fields, int))
            else:
                assert found is None


@pytest.mark.parametrize("fault", ["abc", "", "12\0", "1_0"])
def test_a_fault_in_the_first_example_does_not_make_it_a_header(
    make: SimpleNamespace, tmp_path: Path, fault: str
) -> None:
    lines = make.csv_lines(30)
    fields = lines[0].split(",")
    fields[4] = fault
    with pytest.raises(DataError, match="line 1"):
        read_csv(write(tmp_path / "set.csv", [",".join(fields), *lines[1:]]))


@pytest.mark.parametrize("first", ["", "label"])
def test_numbers_of_columns_are_a_header(make: SimpleNamespace, tmp_path: Path, first: str) -> None:
    header = ",".join([first or "0", *map(str, range(1, 17))])
    _, labels, notes = read_csv(write(tmp_path / "set.csv", [header, *make.csv_lines(30)]))
    assert len(labels) == 30
    assert "with header" in notes[-1]


def test_underscores_in_numbers_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    lines = make.csv_lines(30)
    fields = lines[7].split(",")
    fields[3] = "1_0"
    lines[7] = ",".join(fields)
    with pytest.raises(DataError, match="line 8, column 4"):
        read_csv(write(tmp_path / "set.csv", lines))
