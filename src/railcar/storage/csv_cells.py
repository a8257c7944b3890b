"""A CSV cell by cell, for files whose quotes are unusual, and for the words of a fault in them.

Owns what is forgiven (spaces around quotes, quotes inside an unquoted cell) and what is not (a quote that never closes,
text after one that does). Plain files are read by a faster way, with the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from railcar.errors import DataError
from railcar.storage.content import check_record_length

QUOTE_HINT = 'close it; a quote that belongs to the text is written twice: ""'


def split_cells(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str | None]]]:
    """The line where each record starts (from 1) and its cells: None for one that is empty and not in quotes.

    Empty lines are passed over. Raises `DataError` with the line of a fault.
    """
    pattern = _cell_pattern(separator)
    start, line = 0, 1
    while start < len(text):
        cells: list[str | None] = []
        position = start
        while (found := pattern.match(text, position)) is not None:
            cells.append(_take_cell(path, found, line + text.count("\n", start, position)))
            position = found.end()
            if text[position : position + 1] != separator:
                break
            position += 1
        stop = text.find("\n", position) + 1 or len(text)
        check_record_length(path, line, stop - start)
        if cells != [None]:
            yield line, cells
        line += text.count("\n", start, stop)
        start = stop


def _cell_pattern(separator: str) -> re.Pattern[str]:
    """A cell in quotes if it ends where it may, else all up to the next separator or line's end. Matches anywhere."""
    ends = re.escape(separator) + "\n"
    return re.compile(rf' *+"(?P<quoted>[^"]*+(?:""[^"]*+)*+)" *+(?=[{ends}]|\r+\n|\r*\Z)|(?P<plain>[^{ends}]*+)')


def _take_cell(path: Path, found: re.Match[str], line: int) -> str | None:
    """The value of a cell that starts on `line`. Raises `DataError`."""
    if (quoted := found["quoted"]) is not None:
        return quoted.replace('""', '"')
    plain = found["plain"]
    if plain.lstrip(" ").startswith('"'):
        raise _explain_quote(path, found.string, found.string.index('"', found.start()), line)
    if found.string[found.end() : found.end() + 1] in ("", "\n"):
        plain = plain.rstrip("\r")
    return plain or None


def _explain_quote(path: Path, text: str, opening: int, line: int) -> DataError:
    """The fault of a quote at `opening` that does not close, or closes before the end of its cell."""
    inside = re.compile(r'[^"]*+(?:""[^"]*+)*+"').match(text, opening + 1)
    if inside is None:
        return DataError(f"{path}: line {line}: a quote opens there and is never closed", hint=QUOTE_HINT)
    n_lines = text.count("\n", opening, inside.end())
    where = f" on line {line + n_lines}" if n_lines else ""
    return DataError(
        f"{path}: line {line}: a quote opens there, and text follows where it closes{where}", hint=QUOTE_HINT
    )
