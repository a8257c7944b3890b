"""JSON Lines -> a frame: one object a line, its keys the columns; strings, numbers and booleans as they are.

Owns what is refused of JSON (nested values, keys given twice, NaN, numbers that no column holds) and columns of mixed
types. Python's own decoder reads the lines: it can be told to look at each of these.
"""

from __future__ import annotations

import json
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError
from railcar.storage.content import check_record_length, decode_content, read_content
from railcar.storage.spaces import strip_spaces

if TYPE_CHECKING:
    import polars as pl

LINE_HINT = 'each line is an object: {"text": "...", "label": "..."}'
MAX_INTEGER = 2**63 - 1
_TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
}


class _Fault(Exception):
    """What is wrong with a line, and the mend."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def read_json_rows(path: Path) -> tuple[pl.DataFrame, NDArray[np.int64], list[str]]:
    """A frame with the keys of all lines as columns (null where a line lacks one), the line of the file where each row
    stands (int64 [n], from 1), and notes.

    A column is String, Boolean, Int64 or Float64; one of mixed types becomes String. Spaces around strings are
    stripped, and one of spaces is null, as in CSV. Raises `DataError` with the line.
    """
    raw, notes = read_content(path, form="JSON Lines file", hint=LINE_HINT)
    content, more = decode_content(path, raw)
    text = content.decode()
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    decoder = json.JSONDecoder(
        object_pairs_hook=_build_object, parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_float
    )
    # Not splitlines(): it divides at characters that a JSON string may hold.
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        check_record_length(path, number, len(line))
        try:
            rows.append(_decode_line(decoder, line, is_last=number == len(lines)))
        except _Fault as fault:
            raise DataError(f"{path}: line {number}: {fault}", hint=fault.hint) from None
        numbers.append(number)
    frame, mixed = _build_frame(path, rows, numbers)
    places = np.array(numbers, np.int64)
    frame, stripped = strip_spaces(path, frame, places)
    return frame, places, [*notes, *more, *mixed, *stripped]


def _decode_line(decoder: json.JSONDecoder, line: str, *, is_last: bool) -> dict[str, Any]:
    """The object on a line. `is_last` says that it has no newline after it, so that it may have been cut."""
    try:
        value = decoder.decode(line)
    except RecursionError:
        raise _Fault("values nested too deeply", LINE_HINT) from None
    except json.JSONDecodeError as error:
        if is_last:
            raise _Fault("the last line is not whole JSON", "the file is truncated: fetch it again") from None
        reason = error.msg[:1].lower() + error.msg[1:]
        raise _Fault(f"not JSON: {reason} at column {error.colno}", LINE_HINT) from None
    if not isinstance(value, dict):
        kind = _TYPE_NAMES.get(type(value), "null")
        raise _Fault(f"{kind} where an object is needed", LINE_HINT)
    for key, one in value.items():
        if isinstance(one, dict | list):
            raise _Fault(
                f"key {_cut(key)}: {_TYPE_NAMES[type(one)]} within the object",
                "values are strings, numbers and booleans; give each nested value a key of its own",
            )
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise _Fault(f"key {_cut(twice)} is given twice", "keep one of them")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _Fault(f"{name} is no JSON", "write null where a value is missing")


def _parse_int(digits: str) -> int:
    # A number of thousands of digits takes Python seconds, and ends in an error that names no line.
    if len(digits) > 20 or abs(int(digits)) > MAX_INTEGER:
        raise _Fault(f"a whole number of {len(digits):,} digits", "write it as a string, or shorter")
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise _Fault(f"{_cut(digits)[1:-1]} is too large for a number", "write null where a value is missing")
    return value


def _build_frame(path: Path, rows: list[dict[str, Any]], lines: list[int]) -> tuple[pl.DataFrame, list[str]]:
    import polars as pl

    keys = dict.fromkeys(key for row in rows for key in row)
    if not keys:
        raise DataError(f"{path}: line {lines[0]}: an object without keys", hint=LINE_HINT)
    notes = []
    columns = []
    for key in keys:
        values = [row.get(key) for row in rows]
        types = {type(value) for value in values} - {type(None)}
        if types <= {int, float}:
            columns.append(pl.Series(key, values, pl.Float64 if float in types else pl.Int64, strict=False))
        elif len(types) == 1:
            columns.append(pl.Series(key, values, pl.Boolean if bool in types else pl.String))
        else:
            columns.append(pl.Series(key, [_spell(value) for value in values], pl.String))
            notes.append(_describe_mix(path, key, values, lines))
    lacking = next(((row, line) for row, line in zip(rows, lines, strict=True) if len(row) < len(keys)), None)
    if lacking is not None:
        row, line = lacking
        absent = next(key for key in keys if key not in row)
        notes.append(f"{path.name}: line {line}: no key {_cut(absent)}: taken as missing, there and on lines like it")
    return pl.DataFrame(columns), notes


def _spell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _describe_mix(path: Path, key: str, values: list[Any], lines: list[int]) -> str:
    kinds = [_TYPE_NAMES.get(type(value)) for value in values]
    first = next(kind for kind in kinds if kind)
    other = next(row for row, kind in enumerate(kinds) if kind and kind != first)
    return f"{path.name}: line {lines[other]}: key {_cut(key)} is {kinds[other]}, above {first}: all are read as text"


def _cut(text: str, n: int = 40) -> str:
    return repr(text if len(text) <= n else text[:n] + "…")
