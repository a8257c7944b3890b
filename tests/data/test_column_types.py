from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from railcar.data.column_types import describe_columns, read_target
from railcar.errors import DataError
from railcar.storage.columns import Column, to_typed
from railcar.storage.rows import Rows, read_rows


def table(folder: Path, cells: list[str], name: str = "a") -> Rows:
    """A CSV with the column `name` of these cells, beside one of words."""
    path = folder / "data.csv"
    path.write_text(f"{name},class\n" + "".join(f'"{cell}",x\n' if cell else ",x\n" for cell in cells))
    return read_rows(path)


def describe(folder: Path, cells: list[str], name: str = "a", **declared: str) -> tuple[Column | None, list[str]]:
    columns, dropped, notes = describe_columns(table(folder, cells, name), [name], declared)
    assert (name in dropped) == (not columns)
    return (columns[0] if columns else None), notes


TYPES = {
    "fractions": (["1.5", "2", "2"], "number", ""),
    "few whole numbers": (["1", "2", "2"], "number", ""),
    "ones and zeros": (["1", "0", "1"], "number", ""),
    "numbers with gaps": (["1.5", "", "2"], "number", ""),
    "words": (["red", "blue", "red"], "category", ""),
    "one word with gaps": (["red", "", "red"], "category", ""),
    "yes and no": (["yes", "No", "", "YES"], "boolean", ""),
    "male and female": (["m", "f", "m"], "category", ""),
    "dates": (["2024-01-31", "2024-02-01 12:00", ""], "date", ""),
    "German dates": (["31.01.2024", "1.2.2024", ""], "date", "%d.%m.%Y"),
    "American dates": (["1/31/2024", "2/1/2024", ""], "date", "%m/%d/%Y"),
    "British dates": (["31/1/2024", "1/2/2024", ""], "date", "%d/%m/%Y"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_the_type_of_a_column_is_found(tmp_path: Path, kind: str) -> None:
    cells, expected, form = TYPES[kind]
    column, notes = describe(tmp_path, cells)

    assert column is not None
    assert (column.type, column.form) == (expected, form)
    assert column.reason
    assert notes == []


NOTED = {
    "numbers and words": (
        ["1", "2", "", "PC 17", "5"],
        "category",
        "3 of 4 values are numbers, others are not (the first, 'PC 17', on line 5): taken as a category",
    ),
    "codes": (
        ["01", "2", "2"],
        "category",
        "codes with leading zeros: taken as a category; data.columns can say number",
    ),
    "NaN": (["1", "NaN", "n/a", "2"], "number", "2 cells are taken as missing, the first ('NaN') on line 3"),
    "NA": (["1", "NA", "3"], "number", "1 cell is taken as missing, the first ('NA') on line 3"),
    "decimal commas": (["1", "2,5", "3,25"], "number", "numbers with decimal commas, the first on line 3"),
    "ambiguous dates": (
        ["1/2/2024", "3/4/2024", "3/4/2024"],
        "category",
        "dates that may be month/day or day/month: taken as a category; write them as 2024-12-31",
    ),
}


@pytest.mark.parametrize("kind", NOTED)
def test_an_unusual_column_has_a_note(tmp_path: Path, kind: str) -> None:
    cells, expected, note = NOTED[kind]
    column, notes = describe(tmp_path, cells)

    assert column is not None and column.type == expected
    assert notes == [f"data.csv: column 'a': {note}"]


DROPPED = {
    "empty": (["", "", ""], "a", "it is empty"),
    "constant": (["7", "7", "7"], "a", "each row has '7'"),
    "a constant word": (["x", "x", "x"], "a", "each row has 'x'"),
    "counting up": ([str(n) for n in range(5, 25)], "a", "whole numbers that count up, like an id"),
    "an id by name": (
        [str(n * n % 101) for n in range(40)],
        "PassengerId",
        "an id by its name, and different in each row",
    ),
    "words of its own": ([f"w{n}" for n in range(20)], "a", "20 different values in 20 rows, like an id"),
    "nearly so": ([f"w{n}" for n in range(96)] + ["w1"] * 4, "a", "96 different values in 100 rows, like an id"),
}


@pytest.mark.parametrize("kind", DROPPED)
def test_a_column_that_tells_nothing_is_dropped_with_a_note(tmp_path: Path, kind: str) -> None:
    cells, name, reason = DROPPED[kind]
    if kind == "an id by name":
        cells = list(dict.fromkeys(cells))
    column, notes = describe(tmp_path, cells, name)

    assert column is None
    assert notes == [f"data.csv: column '{name}' is left out: {reason}"]


def test_measurements_that_happen_to_be_distinct_are_kept(tmp_path: Path) -> None:
    cells = [str(n * 37 % 101) for n in range(40)]
    column, notes = describe(tmp_path, cells)

    assert column is not None and column.type == "number"
    assert notes == []


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400"])
def test_an_infinite_number_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=rf"data\.csv: line 4: column 'a': '{cell}' is not a finite number"):
        describe(tmp_path, ["1", "2", cell])


DECLARED = {
    "a word": ("number", "twelve", "'twelve' is not a number"),
    "a decimal comma": ("number", "1,5", "'1,5' has a decimal comma"),
    "NaN": ("number", "NaN", "'NaN' is not a finite number"),
    "inf": ("number", "inf", "'inf' is not a finite number"),
    "1e400": ("number", "1e400", "'1e400' is not a finite number"),
    "NA": ("number", "NA", "'NA' is not a number"),
    "a third word": ("boolean", "maybe", "'maybe' is neither yes nor no"),
    "no date": ("date", "31.12.24", "'31.12.24' is not a date like 2024-12-31"),
}
GOOD = {"number": "1.5", "boolean": "yes", "date": "2024-12-31"}


@pytest.mark.parametrize("fault", DECLARED)
def test_a_declared_column_refuses_the_first_cell_of_another_type(tmp_path: Path, fault: str) -> None:
    kind, cell, message = DECLARED[fault]
    with pytest.raises(DataError) as caught:
        describe(tmp_path, [GOOD[kind], "", cell, cell], a=kind)

    assert caught.value.what == f"{tmp_path / 'data.csv'}: line 4: column 'a': {message}"
    assert caught.value.hint


def test_a_declared_column_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    for kind, cells in (("category", ["1", "2", "3"]), ("number", ["7", "7", ""]), ("date", ["31.1.2024", "", ""])):
        column, notes = describe(tmp_path, cells, a=kind)
        assert column is not None and (column.type, column.reason, notes) == (kind, "data.columns says so", [])


def test_a_declaration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'a' is declared as 'float'") as caught:
        describe(tmp_path, ["1"], a="float")
    assert caught.value.hint == "a table's column is one of number, category, boolean, date"
    with pytest.raises(DataError, match="no column 'b'"):
        describe_columns(table(tmp_path, ["1"]), ["a"], {"b": "number"})
    with pytest.raises(DataError, match="'1/2/2024' may be month/day or day/month"):
        describe(tmp_path, ["1/2/2024", "3/4/2024"], a="date")


def test_columns_of_a_parquet_file_keep_their_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "n": [1.5, float("nan"), None],
            "b": [True, False, None],
            "w": ["x", "y", "x"],
            "c": [7, 7, 7],
            "d": pl.Series(["2024-01-01", "2024-01-02", None]).str.to_date(),
            "t": pl.Series([1, 2, 3], dtype=pl.Duration("us")),
        }
    )
    frame.write_parquet(tmp_path / "data.parquet")
    rows = read_rows(tmp_path / "data.parquet")
    columns, dropped, _ = describe_columns(rows, ["n", "b", "w", "c", "d"], {})

    assert [(column.name, column.type) for column in columns] == [
        ("n", "number"), ("b", "boolean"), ("w", "category"), ("d", "date"),
    ]  # fmt: skip
    assert dropped == {"c": "each row has '7'"}
    assert to_typed(rows.frame, columns, rows.place).row(1) == (None, 0.0, "y", 19724.0)
    with pytest.raises(DataError, match="column 't' holds Duration"):
        describe_columns(rows, ["t"], {})


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("NaN", "'NaN' is not a finite number"),
        ("inf", "'inf' is not a finite number"),
        ("1e400", "'1e400' is not a finite number"),
        ("twelve", "'twelve' is not a number"),
        ("1,5", "'1,5' has a decimal comma"),
        ("", "no label"),
    ],
)
def test_a_numeric_target_refuses_what_is_no_number(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_target(table(tmp_path, ["1.5", "2", cell, "x"]), "a")

    assert caught.value.what == f"{tmp_path / 'data.csv'}: line 4: column 'a': {message}"
    assert "leave the cell empty" not in caught.value.hint  # a target must be there


def test_a_numeric_target_is_float64(tmp_path: Path) -> None:
    target = read_target(table(tmp_path, ["1.5", "123456789", "1e3"]), "a")

    assert target.dtype == pl.Float64
    assert target.to_list() == [1.5, 123456789, 1000]


def test_the_columns_of_titanic(shared_data: Path) -> None:
    rows = read_rows(shared_data / "tables" / "titanic.csv")
    columns, dropped, notes = describe_columns(rows, [name for name in rows.frame.columns if name != "survived"], {})

    numbers = {column.name for column in columns if column.type == "number"}
    assert numbers == {"pclass", "age", "sibsp", "parch", "fare", "body"}
    categories = {column.name for column in columns if column.type == "category"}
    assert categories == {"sex", "ticket", "cabin", "embarked", "boat", "home.dest"}
    assert set(dropped) == {"name"}
    assert any("column 'ticket': 957 of 1,309 values are numbers" in note for note in notes)
    typed = to_typed(rows.frame, columns, rows.place)
    assert typed["age"].null_count() == 263
    assert typed["cabin"].null_count() == 1014
