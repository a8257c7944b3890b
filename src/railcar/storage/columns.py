"""Raw cells of a table -> what a model takes: numbers, yes and no, dates, words. The same for training and prediction.

Owns the spellings that each type of column has, and the fault of a cell that is none of them. Which type a column has
is found in `data/column_types.py`; missing values stay missing: filling them in is the model's part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from math import isfinite
from typing import TYPE_CHECKING, Literal

from railcar.errors import DataError

if TYPE_CHECKING:
    import polars as pl

ColumnType = Literal["number", "category", "boolean", "date", "text"]

MISSING_WORDS = frozenset(["", "na", "n/a", "nan", "null", "none", "?"])
"""Spellings, in lower case, of a missing value in columns of numbers, booleans and dates. As a category they count."""

# Looking cells up in all of these takes a twentieth of the time that lower case takes.
_MISSING_SPELLINGS = sorted(
    {"".join(letters) for word in MISSING_WORDS for letters in product(*zip(word, word.upper(), strict=True))}
)
BOOLEANS = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), 1.0),
    **dict.fromkeys(("no", "false", "f", "n", "0"), 0.0),
}
DECIMAL_COMMA = ","
DATE_PATTERNS = {
    "": r"^\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$",
    "%d.%m.%Y": r"^\d{1,2}\.\d{1,2}\.\d{4}$",
    "%Y/%m/%d": r"^\d{4}/\d{1,2}/\d{1,2}$",
    "%m/%d/%Y": r"^\d{1,2}/\d{1,2}/\d{4}$",
    "%d/%m/%Y": r"^\d{1,2}/\d{1,2}/\d{4}$",
}
"""Forms of dates, the first that of ISO 8601, and what their texts look like."""

MAX_FLOAT32 = 3.4028234e38
MAX_SHOWN = 6
_MAX_CELL = 40
_MICROSECONDS_PER_DAY = 86_400_000_000
_EXAMPLES = {
    "": "2024-12-31",
    "%d.%m.%Y": "31.12.2024",
    "%Y/%m/%d": "2024/12/31",
    "%m/%d/%Y": "12/31/2024",
    "%d/%m/%Y": "31/12/2024",
}


@dataclass(frozen=True)
class Column:
    """One column that a model reads. `reason` says why it has its type. `form` says how its cells are written, where
    there is more than one way: of a date a key of `DATE_PATTERNS`, of a number "," for decimal commas."""

    name: str
    type: ColumnType
    reason: str = ""
    form: str = ""


def to_typed(frame: pl.DataFrame, columns: Sequence[Column], place: Callable[[int], str]) -> pl.DataFrame:
    """The `columns` of `frame`, in their order, as a model takes them: null where a value is missing.

    number    Float32
    boolean   Float32, 0 or 1
    date      Float32, days since 1970-01-01
    category  String; numbers keep their spelling

    `place` says where a row stands (`Rows.place`). Raises `DataError` for a cell that cannot be what its column is,
    and for a column that is not there; others than `columns` are passed over.
    """
    import polars as pl

    check_columns(
        frame.columns, [column.name for column in columns], place(0).rpartition(":")[0] if frame.height else ""
    )
    typed = []
    for column in columns:
        values, is_fault = decode_cells(frame[column.name], column)
        if is_fault.any():
            row = is_fault.arg_max() or 0
            raise explain_cell(frame[column.name], row, column, place)
        typed.append(values.cast(pl.String if column.type == "category" else pl.Float32).alias(column.name))
    return pl.DataFrame(typed)


def check_columns(there: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Raise `DataError` unless all of `wanted` are among the names `there`; `where` names the file."""
    for name in wanted:
        if name not in there:
            near = get_close_matches(name, there, n=1)
            more = ", …" if len(there) > MAX_SHOWN else ""
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(there[:MAX_SHOWN])}{more}"
            raise DataError(f"{where}: no column {name!r}" if where else f"no column {name!r}", hint=hint)


def decode_cells(values: pl.Series, column: Column) -> tuple[pl.Series, pl.Series]:
    """The values as numbers (Float64) or words (String), null where missing; and Boolean, where a cell is neither
    missing nor of the column's type."""
    import polars as pl

    if column.type == "category":
        words = values.cast(pl.String)
        return words.set(words == "", None), pl.repeat(False, len(words), eager=True)
    if values.dtype == pl.String:
        is_missing = find_missing(values)
        numbers = _decode_text(values, column)
    else:
        is_missing = values.is_null()
        numbers, is_missing = _decode_values(values, column), is_missing
        if values.dtype.is_float():
            is_missing = is_missing | values.is_nan()
    is_right = (numbers.is_finite() & (numbers.abs() <= MAX_FLOAT32)).fill_null(False)
    return numbers.set(~is_right, None), ~is_right & ~is_missing


def find_missing(values: pl.Series) -> pl.Series:
    """Boolean: where a String column has no value, or a word that says so."""
    return values.is_in(_MISSING_SPELLINGS).fill_null(True)


def _decode_text(values: pl.Series, column: Column) -> pl.Series:
    """Float64; null, NaN or infinity for what is not of the column's type."""
    import polars as pl

    if column.type == "date":
        return parse_dates(values, column.form)
    if column.type == "boolean":
        return values.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Float64)
    if column.form == DECIMAL_COMMA:
        values = values.str.replace(",", ".", literal=True)
    return values.cast(pl.Float64, strict=False)


def _decode_values(values: pl.Series, column: Column) -> pl.Series:
    """The same for values that are not text."""
    import polars as pl

    if column.type == "date":
        if values.dtype == pl.Date or values.dtype == pl.Datetime:
            return _count_days(values.cast(pl.Datetime("us")))
        return pl.Series(values.name, [None] * len(values), pl.Float64)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return pl.Series(values.name, [None] * len(values), pl.Float64)
    numbers = values.cast(pl.Float64)
    return numbers.set(~numbers.is_in([0.0, 1.0]), None) if column.type == "boolean" else numbers


def parse_dates(values: pl.Series, form: str) -> pl.Series:
    """Days since 1970-01-01, Float64, of a String column of dates in a form of `DATE_PATTERNS`; null for what is none.
    Times with an offset are taken to UTC."""
    import polars as pl

    text = values.set(~values.str.contains(DATE_PATTERNS[form]).fill_null(False), None)
    if form:
        return _count_days(text.str.to_datetime(form, strict=False, time_unit="us"))
    text = text.str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")
    days = [
        _count_days(text.str.to_datetime(one, strict=False, time_unit="us"))
        for one in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f")
    ]
    for one in ("%Y-%m-%d %H:%M%z", "%Y-%m-%d %H:%M:%S%.f%z"):
        zoned = text.str.to_datetime(one, strict=False, time_unit="us", time_zone="UTC")
        days.append(_count_days(zoned.dt.replace_time_zone(None)))
    return pl.select(pl.coalesce(days)).to_series().alias(values.name)


def _count_days(times: pl.Series) -> pl.Series:
    import polars as pl

    return times.dt.timestamp("us").cast(pl.Float64) / _MICROSECONDS_PER_DAY


def explain_cell(
    values: pl.Series, row: int, column: Column, place: Callable[[int], str], *, is_target: bool = False
) -> DataError:
    """What is wrong with a cell that is not of its column's type, and the mend. A target must not be missing."""
    import polars as pl

    text = str(values[row])
    cell = repr(text if len(text) <= _MAX_CELL else text[:_MAX_CELL] + "…")
    where = f"{place(row)}: column {column.name!r}"
    if column.type == "boolean":
        return DataError(f"{where}: {cell} is neither yes nor no", hint="write yes or no, true or false, 1 or 0")
    if column.type == "date":
        example = _EXAMPLES[column.form]
        return DataError(f"{where}: {cell} is not a date like {example}", hint=f"write dates as {example}")
    number = pl.Series([text]).cast(pl.Float64, strict=False)[0]
    mend = "remove that row from the file" if is_target else "leave the cell empty"
    if number is not None and isfinite(number):
        return DataError(f"{where}: {cell} is too large: numbers go up to 3.4e38", hint="use a larger unit")
    if number is not None:
        return DataError(f"{where}: {cell} is not a finite number", hint=f"{mend} if the value is missing")
    if pl.Series([text.replace(",", ".", 1)]).cast(pl.Float64, strict=False)[0] is not None:
        return DataError(f"{where}: {cell} has a decimal comma", hint="write numbers with a point: 1.5")
    return DataError(f"{where}: {cell} is not a number", hint=f"write a number, or {mend} if it is missing")
