"""Files of rows -> a frame: CSV, JSON Lines, Parquet and Arrow, the same for training and for prediction.

Owns which file is read how, and the binary forms; text forms are in `csv_rows.py` and `json_rows.py`. Knows nothing of
labels, types of columns or models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError, NotFound
from railcar.storage.content import check_head
from railcar.storage.csv_rows import read_csv_rows
from railcar.storage.json_rows import read_json_rows

if TYPE_CHECKING:
    import polars as pl

_FORMS = {
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather", ".ipc"),
}
SUFFIXES = tuple(suffix for suffixes in _FORMS.values() for suffix in suffixes)
_NAMES = {"parquet": "Parquet file", "arrow": "Arrow file"}


@dataclass(frozen=True)
class Rows:
    """A table and where its rows come from.

    `frame`: from CSV all columns are String, a cell that is empty and not in quotes is null, and all else is to the
    letter but for spaces around it; from JSON Lines String (without spaces around it), Boolean, Int64 or Float64; from
    Parquet and Arrow as they are, categories as String. `form` is "csv", "jsonl", "parquet" or "arrow". `notes` are
    lines for the user: what was unusual. `lines` is the line of the file where each row starts, int64 [n], counted from
    1; None for parquet and arrow. `numbers` are those of the rows in the file, int64 [n], counted from 0; None where no
    row was left out.
    """

    frame: pl.DataFrame
    form: str
    notes: tuple[str, ...]
    lines: NDArray[np.int64] | None
    path: Path
    numbers: NDArray[np.int64] | None = None

    def place(self, row: int) -> str:
        """Where row number `row` (from 0) stands, for a message: "data.csv: line 31", "data.parquet: row 31"."""
        if self.lines is not None:
            return f"{self.path}: line {self.lines[row]}"
        return f"{self.path}: row {(row if self.numbers is None else self.numbers[row]) + 1}"

    def select(self, rows: NDArray[np.int64]) -> Rows:
        """Some of the rows, by their numbers here; each still stands where it stood."""
        numbers = np.arange(self.frame.height) if self.numbers is None else self.numbers
        lines = None if self.lines is None else self.lines[rows]
        return replace(self, frame=self.frame[rows.tolist()], lines=lines, numbers=numbers[rows])


def find_form(path: Path) -> str | None:
    """The form of a file of rows by its name; None for any other file."""
    name = path.name.lower()
    return next((form for form, suffixes in _FORMS.items() if name.endswith(suffixes)), None)


def read_rows(path: Path) -> Rows:
    """The rows of a file that ends in one of `SUFFIXES`. Raises `DataError` that names the file, and the line or the
    column of a fault."""
    form = find_form(path)
    if form == "csv":
        frame, lines, notes = read_csv_rows(path)
        return Rows(frame, form, tuple(notes), lines, path)
    if form == "jsonl":
        frame, lines, notes = read_json_rows(path)
        return Rows(frame, form, tuple(notes), lines, path)
    if form is None:
        raise DataError(f"{path}: not a file of rows", hint=f"files of rows end in {', '.join(SUFFIXES)}")
    return Rows(_convert_columns(path, _read_binary(path, form)), form, (), None, path)


def _read_binary(path: Path, form: str) -> pl.DataFrame:
    import polars as pl

    name = _NAMES[form]
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a file", hint="give the path of a file")
        with path.open("rb") as file:
            head = file.read(1024)
        check_head(path, head, form=name)
        if head.startswith(b"FEA1"):
            raise DataError(f"{path}: the first version of Feather", hint="write it again, as Feather 2 or Parquet")
        if form == "parquet":
            return pl.read_parquet(path, glob=False, hive_partitioning=False)
        if head.startswith(b"ARROW1"):
            return pl.read_ipc(path)
        return pl.read_ipc_stream(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file", hint="check the path") from error
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path}: {error.strerror.lower()}", hint="check the path and its permissions") from error
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not a whole {name}: {reason}", hint="fetch or export it again") from error


def _convert_columns(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as String, decimals as Float64. Raises `DataError` for a table without rows and for columns that hold
    more than one value a row."""
    import polars as pl

    if frame.width == 0 or frame.height == 0:
        raise DataError(f"{path}: no {'rows' if frame.width else 'columns'} in it", hint="export it again")
    casts = []
    for name, dtype in frame.schema.items():
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            raise DataError(
                f"{path}: column {name!r} holds {dtype} values",
                hint="columns hold text, numbers, booleans or dates; leave it out, or make columns of its parts",
            )
        if dtype in (pl.Categorical, pl.Enum):
            casts.append(pl.col(name).cast(pl.String))
        elif dtype.is_decimal():
            casts.append(pl.col(name).cast(pl.Float64))
    return frame.with_columns(casts)
