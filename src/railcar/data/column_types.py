"""Which type each column of a table has, which columns tell a model nothing, and the numbers of a numeric target.

Owns detection, with its reasons and the notes for the user. How a cell of a type is spelled and decoded is in
`storage/columns.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

from railcar.errors import DataError
from railcar.storage.columns import (
    DATE_PATTERNS,
    DECIMAL_COMMA,
    Column,
    ColumnType,
    check_columns,
    decode_cells,
    explain_cell,
    find_missing,
    parse_dates,
)
from railcar.storage.rows import Rows

if TYPE_CHECKING:
    import polars as pl

SAMPLE_ROWS = 200
MAX_SPELLINGS = 6
# Not 1 and 0: those are numbers, and 2 may follow in the rows to predict.
BOOLEAN_WORDS = ({"yes", "no"}, {"true", "false"}, {"t", "f"}, {"y", "n"})
MIN_ID_ROWS = 10
MIN_ID_SHARE = 0.9
_ID_NAME = re.compile(r"(^|[\W_])(?i:id|idx|index|uuid|guid|rownames?)$|[a-z](Id|ID)$|^ID$|^(?i:unnamed)\b")
_CODE = r"^0\d+$"
_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})?$"


@dataclass(frozen=True)
class Finding:
    """What was found of a column: a `Column` to use, or why it is `dropped`; and a note for the user, if any."""

    column: Column | None
    note: str = ""
    dropped: str = ""


def describe_columns(
    rows: Rows, features: Sequence[str], declared: Mapping[str, str]
) -> tuple[list[Column], dict[str, str], list[str]]:
    """The columns to use, of `features`; those that are dropped, with the reason; and notes for the user.

    `declared` gives types to some (`data.columns`). A column is dropped when it is empty, constant or an id, unless it
    is declared. Raises `DataError` for a declared column with a cell that is not of its type, for an infinite number,
    and for a column that is not there.
    """
    check_columns(rows.frame.columns, [*features, *declared], str(rows.path))
    columns, dropped, notes = [], {}, []
    for name in features:
        found = _check_declared(rows, name, declared[name]) if name in declared else _detect(rows, name)
        if found.column is not None:
            columns.append(found.column)
        else:
            dropped[name] = found.dropped
            notes.append(f"{rows.path.name}: column {name!r} is left out: {found.dropped}")
        if found.note:
            notes.append(f"{rows.path.name}: column {name!r}: {found.note}")
    return columns, dropped, notes


def read_target(rows: Rows, label: str) -> pl.Series:
    """The column `label` as the numbers of a regression, Float64 [n], all of them finite.

    Raises `DataError` with the first row whose label is missing or no number.
    """
    column = Column(label, "number")
    values, _ = decode_cells(rows.frame[label], column)
    if values.null_count():
        row = values.is_null().arg_max() or 0
        cell = rows.frame[label][row]
        if cell is None or cell == "":
            raise DataError(
                f"{rows.place(row)}: column {label!r}: no label", hint="fill it in, or remove that row from the file"
            )
        raise explain_cell(rows.frame[label], row, column, rows.place, is_target=True)
    return values


def _check_declared(rows: Rows, name: str, type_name: str) -> Finding:
    """The column as it is declared. Raises `DataError` with the first cell that is neither empty nor of that type."""
    if type_name not in get_args(ColumnType) or type_name == "text":
        raise DataError(
            f"{rows.path}: column {name!r} is declared as {type_name!r}",
            hint=f"a table's column is one of {', '.join(get_args(ColumnType)[:-1])}",
        )
    values = rows.frame[name]
    form = _find_declared_form(rows, values) if type_name == "date" else ""
    column = Column(name, cast(ColumnType, type_name), "data.columns says so", form)
    if column.type == "category":
        return Finding(column)
    decoded, is_fault = decode_cells(values, column)
    # Where the type is the user's word, NaN and NA are no silent way to say that nothing is there.
    given = values.is_not_null() & (values != "") if _is_text(values) else values.is_not_null()
    is_fault = is_fault | (decoded.is_null() & given)
    if is_fault.any():
        raise explain_cell(values, is_fault.arg_max() or 0, column, rows.place)
    return Finding(column)


def _find_declared_form(rows: Rows, values: pl.Series) -> str:
    if not _is_text(values):
        return ""
    present = values.filter(~find_missing(values))
    forms = _find_date_forms(present)
    if len(forms) > 1:
        raise DataError(
            f"{rows.path}: column {values.name!r}: {present[0]!r} may be month/day or day/month, and so may all others",
            hint="write dates as 2024-12-31",
        )
    looks = [form for form, pattern in DATE_PATTERNS.items() if present.head(1).str.contains(pattern).any()]
    return [*forms, *looks, ""][0]


def _detect(rows: Rows, name: str) -> Finding:
    import polars as pl

    values = rows.frame[name]
    is_missing = find_missing(values) if _is_text(values) else values.is_null()
    if values.dtype.is_float():
        is_missing = is_missing | values.is_nan().fill_null(False)
    present = values.filter(~is_missing)
    if len(present) == 0:
        return Finding(None, dropped="it is empty")
    n_distinct = present.n_unique()
    if n_distinct == 1 and len(present) == len(values):
        return Finding(None, dropped=f"each row has {_quote(present[0])}")
    if _is_text(values):
        return _detect_text(rows, values, is_missing, present, n_distinct)
    if values.dtype == pl.Boolean:
        return Finding(Column(name, "boolean", "true and false"))
    if values.dtype in (pl.Date, pl.Datetime):
        return Finding(Column(name, "date", "dates"))
    if not values.dtype.is_numeric():
        raise DataError(
            f"{rows.path}: column {name!r} holds {values.dtype} values",
            hint=f"leave it out with data.drop: [{name}], or turn it into numbers",
        )
    return _detect_number(rows, values, present.cast(pl.Float64), n_distinct)


def _detect_number(rows: Rows, values: pl.Series, numbers: pl.Series, n_distinct: int, note: str = "") -> Finding:
    """A column whose cells are all numbers or missing: `numbers` are those that are there."""
    column = Column(values.name, "number", "numbers")
    _, is_fault = decode_cells(values, column)
    if is_fault.any():
        raise explain_cell(values, is_fault.arg_max() or 0, column, rows.place)
    if reason := _find_id_numbers(values.name, numbers, n_distinct, len(values)):
        return Finding(None, dropped=reason)
    return Finding(column, note)


def _find_id_numbers(name: str, numbers: pl.Series, n_distinct: int, n_rows: int) -> str:
    """The reason why numbers are an id; empty when they are not."""
    if n_distinct < n_rows or n_rows < MIN_ID_ROWS or not (numbers == numbers.floor()).all():
        return ""
    if (numbers.diff().drop_nulls() == 1).all():
        return "whole numbers that count up, like an id"
    return "an id by its name, and different in each row" if _ID_NAME.search(name) else ""


def is_id(values: pl.Series) -> bool:
    """Whether the column is whole numbers that tell rows apart, and nothing else."""
    import polars as pl

    numbers = values.cast(pl.Float64, strict=False) if _is_text(values) or values.dtype.is_numeric() else None
    if numbers is None or numbers.null_count():
        return False
    return bool(_find_id_numbers(values.name, numbers, numbers.n_unique(), len(numbers)))


def _detect_text(rows: Rows, values: pl.Series, is_missing: pl.Series, present: pl.Series, n_distinct: int) -> Finding:
    """The type of a String column; `present` are the cells that have a value, of which `n_distinct` are different."""
    import polars as pl

    name = values.name
    if n_distinct <= MAX_SPELLINGS:
        words = set(present.unique().str.to_lowercase().to_list())
        if words in BOOLEAN_WORDS:
            return Finding(
                Column(name, "boolean", " and ".join(sorted(words))), _note_missing(rows, values, is_missing)
            )
    numbers = present.cast(pl.Float64, strict=False)
    n_numbers = len(numbers) - numbers.null_count()
    if n_numbers == len(present):
        if present.str.contains(_CODE).any():
            note = "codes with leading zeros: taken as a category; data.columns can say number"
            return _detect_category(values, present, n_distinct, "codes with leading zeros", note)
        return _detect_number(rows, values, numbers, n_distinct, _note_missing(rows, values, is_missing))
    if _have_decimal_commas(present):
        place = _shorten(rows, (values.str.contains(",", literal=True).fill_null(False)).arg_max() or 0)
        column = Column(name, "number", "numbers with decimal commas", DECIMAL_COMMA)
        return Finding(column, f"numbers with decimal commas, the first on {place}")
    forms = _find_date_forms(present)
    if len(forms) == 1:
        return Finding(Column(name, "date", "dates", forms[0]), _note_missing(rows, values, is_missing))
    note = _note_mix(rows, values, is_missing, n_numbers, len(present))
    if forms:
        note = "dates that may be month/day or day/month: taken as a category; write them as 2024-12-31"
    return _detect_category(values, present, n_distinct, "words", note)


def _detect_category(values: pl.Series, present: pl.Series, n_distinct: int, what: str, note: str) -> Finding:
    """Words, unless nearly every row has one of its own."""
    n = len(present)
    is_id = n_distinct == len(values) and (n >= MIN_ID_ROWS or (n > 2 and _ID_NAME.search(values.name)))
    if is_id or (n_distinct >= MIN_ID_SHARE * n and n >= 5 * MIN_ID_ROWS):
        return Finding(None, dropped=f"{n_distinct:,} different values in {len(values):,} rows, like an id")
    return Finding(Column(values.name, "category", f"{what}: {n_distinct:,} different ones"), note)


def _have_decimal_commas(present: pl.Series) -> bool:
    """Whether all are numbers, some with a decimal comma. `1,234` may be a thousand and more: that is no proof."""
    if not present.head(SAMPLE_ROWS).str.contains(_DECIMAL_COMMA).all():
        return False
    return bool(present.str.contains(_DECIMAL_COMMA).all()) and not present.str.contains(_THOUSANDS).all()


def _find_date_forms(present: pl.Series) -> list[str]:
    """The forms of `DATE_PATTERNS` in which every cell is a date."""
    head = present.head(SAMPLE_ROWS)
    forms = [form for form, pattern in DATE_PATTERNS.items() if head.str.contains(pattern).all()]
    return [form for form in forms if len(present) and parse_dates(present, form).null_count() == 0]


def _note_missing(rows: Rows, values: pl.Series, is_missing: pl.Series) -> str:
    """A note on cells such as NA: they say that a value is missing, but not as an empty cell does."""
    spelled = is_missing & values.is_not_null() & (values != "")
    if not spelled.any():
        return ""
    row = spelled.arg_max() or 0
    n = int(spelled.sum())
    cells = "1 cell is" if n == 1 else f"{n:,} cells are"
    return f"{cells} taken as missing, the first ({_quote(values[row])}) on {_shorten(rows, row)}"


def _note_mix(rows: Rows, values: pl.Series, is_missing: pl.Series, n_numbers: int, n_present: int) -> str:
    """A note on a column of numbers and words."""
    import polars as pl

    if n_numbers == 0:
        return ""
    is_word = ~is_missing & values.cast(pl.Float64, strict=False).is_null()
    row = is_word.arg_max() or 0
    return (
        f"{n_numbers:,} of {n_present:,} values are numbers, others are not (the first, {_quote(values[row])}, "
        f"on {_shorten(rows, row)}): taken as a category"
    )


def _is_text(values: pl.Series) -> bool:
    import polars as pl

    return values.dtype == pl.String


def _shorten(rows: Rows, row: int) -> str:
    """Where a row stands, without the file: "line 31"."""
    return rows.place(row).rpartition(": ")[2]


def _quote(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:40] + "…")
