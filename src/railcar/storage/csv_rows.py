"""Files of separated fields -> a frame of strings, by polars where the file is proven plain, cell by cell where not.

Owns the faults of rows (too many fields, too few), the header and the notes on what was unusual. The proof is in
`csv_layout.py`, the guesses in `csv_form.py`, the bytes are `content.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError
from railcar.storage.content import check_record_length, decode_content, read_content
from railcar.storage.csv_cells import split_cells
from railcar.storage.csv_form import SAMPLE_LINES, find_separator, has_header, take_separator_line
from railcar.storage.csv_layout import Layout, find_layout
from railcar.storage.spaces import strip_spaces

if TYPE_CHECKING:
    import polars as pl

EMPTY_HINT = "the first line names the columns, each further line is an example: text,label"
MAX_SHOWN = 5


def read_csv_rows(path: Path) -> tuple[pl.DataFrame, NDArray[np.int64], list[str]]:
    """A frame of String columns, the line of the file where each row starts (int64 [n], from 1), and notes.

    A cell that is empty and not in quotes is null, and so is one of spaces; spaces around a value are stripped; all
    else is kept to the letter. Raises `DataError`.
    """
    frame, lines, notes = _read_records(path)
    frame, lines, more = _take_header(path, frame, lines)
    notes += more
    frame, more = strip_spaces(path, frame, lines)
    return frame, lines, notes + more


def _read_records(path: Path) -> tuple[pl.DataFrame, NDArray[np.int64], list[str]]:
    """All records, the header too, their lines, and notes. The content of the file is let go of at its end."""
    raw, notes = read_content(path, hint=EMPTY_HINT)
    content, more = decode_content(path, raw)
    notes += more
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    usual = "\t" if ".tsv" in path.name.lower() else ","
    content, given = take_separator_line(content)
    if not content or content.isspace():
        raise DataError(f"{path}: the file is empty", hint=EMPTY_HINT)
    separator = given or find_separator(content, usual)
    if separator != usual:
        notes.append(f"{path.name}: fields are separated by {separator!r}")
    return *_read_table(path, content, separator), notes


def _read_table(path: Path, content: bytes, separator: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """All records, the header too, and their lines."""
    layout = find_layout(content, separator)
    if layout is not None:
        _check_layout(path, layout)
        if (layout.n_fields == layout.n_fields[0]).all():
            frame = _parse_plain(layout, separator)
            if frame is not None:
                return frame, layout.lines
    return _parse_carefully(path, content.decode(), separator)


def _check_layout(path: Path, layout: Layout) -> None:
    longest = int(layout.n_bytes.argmax())
    check_record_length(path, int(layout.lines[longest]), int(layout.n_bytes[longest]))
    first = int(layout.n_fields[0])
    # A line of one field may be nothing but spaces, which is no fault: the careful way tells.
    wrong = np.flatnonzero((layout.n_fields != first) & (layout.n_fields > 1))
    blank = np.flatnonzero((layout.n_fields != first) & (layout.n_fields == 1))
    if len(wrong) and not len(blank):
        _check_fields(path, int(layout.lines[wrong[0]]), int(layout.n_fields[wrong[0]]), int(layout.lines[0]), first)


def _check_fields(path: Path, line: int, n_fields: int, first_line: int, n_expected: int) -> None:
    if n_fields != n_expected:
        fields = "1 field" if n_fields == 1 else f"{n_fields} fields"
        more = n_fields > n_expected
        raise DataError(
            f"{path}: line {line}: {fields} where line {first_line} has {n_expected}",
            hint='mend that line; a value that holds the separator stands in quotes: "a, b"'
            if more
            else "mend that line: write a separator for each field, also for an empty one",
        )


def _parse_plain(layout: Layout, separator: str) -> pl.DataFrame | None:
    """The records by polars' reader; None when it sees other rows than the layout has."""
    import polars as pl

    names = [f"column_{number + 1}" for number in range(int(layout.n_fields[0]))]
    try:
        frame = pl.read_csv(
            layout.content,
            has_header=False,
            separator=separator,
            quote_char='"' if layout.has_quotes else None,
            schema=dict.fromkeys(names, pl.String),
        )
    except pl.exceptions.PolarsError:
        return None
    return frame if frame.height == len(layout.lines) else None


def _parse_carefully(path: Path, text: str, separator: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    import polars as pl

    rows: list[list[str | None]] = []
    lines: list[int] = []
    for line, cells in split_cells(path, text, separator):
        if rows and len(rows[0]) > 1 and len(cells) == 1 and not (cells[0] or "").strip():
            continue
        if rows:
            _check_fields(path, line, len(cells), lines[0], len(rows[0]))
        rows.append(cells)
        lines.append(line)
    names = [f"column_{number + 1}" for number in range(len(rows[0]))]
    columns = zip(*rows, strict=True)
    frame = pl.DataFrame([pl.Series(name, column, pl.String) for name, column in zip(names, columns, strict=True)])
    return frame, np.array(lines, np.int64)


def _take_header(
    path: Path, frame: pl.DataFrame, lines: NDArray[np.int64]
) -> tuple[pl.DataFrame, NDArray[np.int64], list[str]]:
    """The frame with its columns' names, and without the line that gives them."""
    first = frame.row(0)
    columns = [column.to_list() for column in frame.slice(1, SAMPLE_LINES)]
    if not has_header(first, columns):
        return frame, lines, [f"{path.name}: no header: the columns are called {_list_names(frame.columns)}"]
    if frame.height == 1:
        raise DataError(f"{path}: a header and no rows", hint="add rows: each further line is an example")
    names = [(cell or "").strip() for cell in first]
    notes = []
    if unnamed := [number + 1 for number, name in enumerate(names) if not name]:
        names = [name or f"column_{number + 1}" for number, name in enumerate(names)]
        notes.append(f"{path.name}: line {lines[0]}: a column without a name is called column_{unnamed[0]}")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: line {lines[0]}: two columns are called {name!r}", hint="rename one of them")
        seen.add(name)
    return frame.slice(1).rename(dict(zip(frame.columns, names, strict=True))), lines[1:], notes


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MAX_SHOWN else f"{', '.join(names[:2])}, …, {names[-1]}"
