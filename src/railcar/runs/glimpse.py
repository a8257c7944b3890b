"""What a listing says of a run's metrics.jsonl, without reading all of it: the last step, the last validation, a curve.

Owns reading little: of a long file, blocks spread over it; of what was read, some fifty lines. A line that cannot be
read is passed over: who wants all of them, and to be told of damage, asks `RunDir.read_metrics`. Imports no numpy.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read whole up to this size: ten thousand rows with room to spare, in less than a thousandth of a second.
_MOST_BYTES = 4 * 2**20
_BLOCK_BYTES = 64 * 2**10
_N_LINES = 48
N_CURVE = 12
_VALIDATED = ("val_accuracy", "val_mae", "val_loss")


@dataclass(frozen=True)
class Glimpse:
    """`step` is the last one written; `validation` the last row that has a validation; `curve` at most `N_CURVE` values
    of what is called `curve_of`, spread over the run, the last among them. Empty where nothing was found."""

    step: int | None = None
    validation: dict[str, Any] = field(default_factory=dict)
    curve_of: str | None = None
    curve: tuple[float, ...] = ()


def read_glimpse(path: Path) -> Glimpse:
    """The curve is of val_accuracy, of a regression val_mae, where nothing was validated the training's loss."""
    content = _read(path)
    if not content:
        return Glimpse()
    last = next(parse_rows([content[content.rfind(b"\n", 0, len(content) - 1) + 1 :]]), {})
    step = last.get("step")
    for key in _VALIDATED:
        rows = list(parse_rows(_find_lines(content, f'"{key}"'.encode())))
        values = [row[key] for row in rows if is_number(row.get(key))]
        if values:
            validation = rows[-1]
            return Glimpse(step if is_number(step) else None, validation, key, spread(values))
    values = [row["loss"] for row in parse_rows(_find_lines(content, b'"loss"')) if is_number(row.get("loss"))]
    return Glimpse(step if is_number(step) else None, {}, "loss" if values else None, spread(values))


def spread(values: Sequence[float]) -> tuple[float, ...]:
    """At most `N_CURVE` of the values, evenly spread, the first and the last among them."""
    if len(values) <= N_CURVE:
        return tuple(values)
    return tuple(values[round(index * (len(values) - 1) / (N_CURVE - 1))] for index in range(N_CURVE))


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _read(path: Path) -> bytes:
    """Whole lines of the file, in order: all of them, or those of blocks spread over it, its end among them."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= _MOST_BYTES:
                content = file.read()
                return content[: content.rfind(b"\n") + 1]
            parts = []
            for index in range(_N_LINES):
                file.seek(index * (size - _BLOCK_BYTES) // (_N_LINES - 1))
                block = file.read(_BLOCK_BYTES)
                parts.append(block[block.find(b"\n") + 1 : block.rfind(b"\n") + 1])
            return b"".join(parts)
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _find_lines(content: bytes, needle: bytes) -> Iterator[bytes]:
    """Lines that have `needle`, one at most of each of `_N_LINES` equal parts, and the last one."""
    part = max(len(content) // _N_LINES, 1)
    last, found, at = content.rfind(needle), -1, 0
    while at <= last:
        found = content.find(needle, at)
        end = content.find(b"\n", found)
        yield content[content.rfind(b"\n", 0, found) + 1 : end]
        at = max(end, (found // part + 1) * part)
    if found < last:
        yield content[content.rfind(b"\n", 0, last) + 1 : content.find(b"\n", last)]


def parse_rows(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects that the lines hold; what is none is passed over."""
    for line in lines:
        try:
            row = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row
