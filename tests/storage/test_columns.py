from __future__ import annotations

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from railcar.errors import DataError
from railcar.storage.columns import Column, ColumnType, to_typed


def place(row: int) -> str:
    return f"data.csv: line {row + 2}"


def decode(values: list[Any], kind: ColumnType, form: str = "") -> pl.Series:
    return to_typed(pl.DataFrame({"a": values}), [Column("a", kind, form=form)], place)["a"]


def test_numbers_in_each_spelling() -> None:
    found = decode(["1", "-2.5", "+3", ".5", "1e3", "007", None, "", "NaN", "n/a", "NA"], "number")

    assert found.dtype == pl.Float32
    assert found.to_list() == [1, -2.5, 3, 0.5, 1000, 7, None, None, None, None, None]


def test_numbers_that_are_numbers_already() -> None:
    assert decode([1, 2, None], "number").to_list() == [1, 2, None]
    assert decode([1.5, float("nan")], "number").to_list() == [1.5, None]
    assert decode([True, False], "number").to_list() == [1, 0]


def test_decimal_commas_where_the_column_has_them() -> None:
    assert decode(["1,5", "-2", "2.5"], "number", ",").to_list() == [1.5, -2, 2.5]


def test_yes_and_no_in_each_spelling() -> None:
    found = decode(["yes", "NO", "True", "f", "y", "N", "1", "0", "", None], "boolean")

    assert found.dtype == pl.Float32
    assert found.to_list() == [1, 0, 1, 0, 1, 0, 1, 0, None, None]
    assert decode([True, None, False], "boolean").to_list() == [1, None, 0]
    assert decode([1, 0], "boolean").to_list() == [1, 0]


@pytest.mark.parametrize(
    ("cell", "form", "days"),
    [
        ("1970-01-02", "", 1),
        ("1969-12-31", "", -1),
        ("1970-01-02 12:00", "", 1.5),
        ("1970-01-02T06:00:00", "", 1.25),
        ("1970-01-02 06:00:00.000", "", 1.25),
        ("1970-01-02T06:00:00Z", "", 1.25),
        ("1970-01-02T06:00:00+06:00", "", 1),
        ("2.1.1970", "%d.%m.%Y", 1),
        ("1/2/1970", "%m/%d/%Y", 1),
        ("02/01/1970", "%d/%m/%Y", 1),
        ("1970/01/02", "%Y/%m/%d", 1),
    ],
)
def test_dates_are_days_since_1970(cell: str, form: str, days: float) -> None:
    found = decode([cell, None, ""], "date", form)

    assert found.dtype == pl.Float32
    assert found.to_list() == [days, None, None]


def test_dates_that_are_dates_already() -> None:
    assert decode([date(1970, 1, 2), None], "date").to_list() == [1, None]
    assert decode([datetime(1970, 1, 1, 18), None], "date").to_list() == [0.75, None]


def test_categories_are_words_and_numbers_keep_their_spelling() -> None:
    found = decode(["01", "1", "NA", "", None], "category")

    assert found.dtype == pl.String
    assert found.to_list() == ["01", "1", "NA", None, None]
    assert decode([1, None], "category").to_list() == ["1", None]
    assert decode([True], "category").to_list() == ["true"]


@pytest.mark.parametrize(
    ("cell", "kind", "message"),
    [
        ("twelve", "number", "'twelve' is not a number"),
        ("1_0", "number", "'1_0' is not a number"),
        ("1,5", "number", "'1,5' has a decimal comma"),
        ("inf", "number", "'inf' is not a finite number"),
        ("1e400", "number", "'1e400' is not a finite number"),
        ("1e39", "number", "'1e39' is too large: numbers go up to 3.4e38"),
        ("maybe", "boolean", "'maybe' is neither yes nor no"),
        ("2", "boolean", "'2' is neither yes nor no"),
        ("2024-13-01", "date", "'2024-13-01' is not a date like 2024-12-31"),
        ("1.2.2024", "date", "'1.2.2024' is not a date like 2024-12-31"),
    ],
)
def test_a_cell_that_its_column_cannot_hold_is_refused_with_its_line(cell: str, kind: ColumnType, message: str) -> None:
    with pytest.raises(DataError) as caught:
        decode([None, "", cell, cell], kind)

    assert caught.value.what == f"data.csv: line 4: column 'a': {message}"
    assert caught.value.hint


def test_values_of_another_type_are_refused_too() -> None:
    with pytest.raises(DataError, match="column 'a': '2' is neither yes nor no"):
        decode([1, 2], "boolean")
    with pytest.raises(DataError, match="column 'a': '5' is not a date"):
        decode([5], "date")
    with pytest.raises(DataError, match="column 'a': 'inf' is not a finite number"):
        decode([1.0, float("inf")], "number")


def test_columns_come_in_their_order_and_others_are_passed_over() -> None:
    frame = pl.DataFrame({"a": ["1"], "extra": ["x"], "b": ["y"]})

    assert to_typed(frame, [Column("b", "category"), Column("a", "number")], place).rows() == [("y", 1.0)]


def test_a_missing_column_is_refused_with_the_nearest_name() -> None:
    frame = pl.DataFrame({"age ": ["1"], "b": ["y"]})

    with pytest.raises(DataError) as caught:
        to_typed(frame, [Column("age", "number")], place)
    assert (caught.value.what, caught.value.hint) == ("data.csv: no column 'age'", "did you mean 'age '?")
    with pytest.raises(DataError, match=r"data\.csv: no column 'fare'") as caught:
        to_typed(frame, [Column("fare", "number")], place)
    assert caught.value.hint == "it has: age , b"
