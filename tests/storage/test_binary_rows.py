from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from railcar.errors import DataError
from railcar.storage.rows import read_rows

FRAME = pl.DataFrame(
    {
        "text": ["a", None, " b"],
        "number": [1.5, float("nan"), None],
        "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
        "price": [Decimal("1.50"), None, Decimal("2.25")],
    }
)


def write(frame: pl.DataFrame, path: Path) -> Path:
    match path.name:
        case "data.parquet":
            frame.write_parquet(path)
        case "stream.arrow":
            frame.write_ipc_stream(path)
        case _:
            frame.write_ipc(path)
    return path


@pytest.mark.parametrize("name", ["data.parquet", "data.arrow", "data.feather", "data.ipc", "stream.arrow"])
def test_binary_tables_keep_their_types_but_categories_and_decimals(tmp_path: Path, name: str) -> None:
    rows = read_rows(write(FRAME, tmp_path / name))

    assert rows.frame.schema == {"text": pl.String, "number": pl.Float64, "kind": pl.String, "price": pl.Float64}
    assert rows.frame["text"].to_list() == ["a", None, " b"]
    assert rows.frame["price"].to_list() == [1.5, None, 2.25]
    assert rows.form == ("parquet" if name == "data.parquet" else "arrow")
    assert (rows.lines, rows.notes) == (None, ())
    assert rows.place(30) == f"{tmp_path / name}: row 31"


@pytest.mark.parametrize("values", [[[1], [2]], [{"b": 1}, {"b": 2}], [b"1", b"2"]])
def test_a_column_of_nested_values_or_bytes_is_refused_by_name(tmp_path: Path, values: list) -> None:
    path = write(pl.DataFrame({"a": values}), tmp_path / "data.parquet")

    with pytest.raises(DataError, match=r"data\.parquet: column 'a' holds (List|Struct|Binary)"):
        read_rows(path)


@pytest.mark.parametrize("name", ["data.parquet", "data.arrow"])
def test_a_damaged_binary_table_is_refused(tmp_path: Path, name: str) -> None:
    whole = write(FRAME, tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-3], b"a,b\n1,2\n"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: not a whole (Parquet|Arrow) file: "):
            read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>", "an HTML page, not a Parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer, not the data"),
        (b"PK\x03\x04", "a zip archive or an Excel workbook, not a Parquet file"),
    ],
)
def test_what_is_named_parquet_and_is_none_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "data.parquet").write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "data.parquet")


def test_a_binary_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows in it"):
        read_rows(write(FRAME.clear(), tmp_path / "data.parquet"))
