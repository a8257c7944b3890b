"""How a CSV is written: what separates its fields, and whether its first line names the columns.

Owns guesses, made from the first lines and with a bias to the usual form: commas and a header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from railcar.storage.columns import MISSING_WORDS

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_BYTES = 1 << 18
SAMPLE_LINES = 200
USUAL_NAMES = frozenset(
    [
        *("label", "labels", "class", "target", "category", "sentiment"),
        *("text", "message", "id", "name", "date", "image", "file", "filename", "path", "index"),
    ]
)


_QUOTED = re.compile(r'(^|[,;\t|\n]) *+"[^"]*+(?:""[^"]*+)*+"')
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"\d,\d")


def find_separator(content: bytes, usual: str = ",") -> str:
    """The separator that divides most lines as it divides the first; `usual` where none does."""
    head = content[:SAMPLE_BYTES].decode("utf-8", "ignore")
    lines = [line for line in _QUOTED.sub(r"\1", head).split("\n") if line.strip(" \r")]
    if len(content) > SAMPLE_BYTES and len(lines) > 1:
        lines.pop()
    lines = lines[:SAMPLE_LINES]
    shares: dict[str, float] = {}
    for separator in SEPARATORS:
        counts = [line.count(separator) for line in lines]
        if counts and counts[0]:
            shares[separator] = counts.count(counts[0]) / len(counts)
    if not shares:
        return usual
    best = [separator for separator, share in shares.items() if share == max(shares.values())]
    if usual in best and usual != ",":
        return usual
    if len(best) > 1 and "," in best and all(len(_DECIMAL_COMMA.findall(line)) == line.count(",") for line in lines):
        best.remove(",")
    return max(best, key=lambda separator: (lines[0].count(separator), -SEPARATORS.index(separator)))


def has_header(first: Sequence[str | None], columns: Sequence[Sequence[str | None]]) -> bool:
    """Whether the cells of the first line are names, by the cells below them: `columns` has some of each column.

    A number above numbers speaks for an example, as does a word or a sentence that could as well stand below; a word
    above numbers speaks for a name, as does a usual name. In doubt it is a header.
    """
    cells = [(cell or "").strip() for cell in first]
    if _are_counted(cells) or _are_counted(cells[1:]):
        return True
    n_names = n_examples = 0
    for cell, column in zip(cells, columns, strict=True):
        below = [value.strip() for value in column if value and value.strip()]
        share = sum(map(_is_number, below)) / len(below) if below else 0.0
        if _is_number(cell):
            n_examples += share > 0.5 or not below
        elif cell.lower() in USUAL_NAMES:
            n_names += 1
        elif cell.lower() in MISSING_WORDS:
            continue
        elif share > 0.9:
            n_names += 1
        else:
            n_examples += cell in below or (_is_sentence(cell) and sum(map(_is_sentence, below)) > len(below) / 2)
    return n_examples <= n_names or _name_years(cells)


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _is_sentence(cell: str) -> bool:
    return len(cell.split()) > 3


def _are_counted(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, ...: what pandas writes for columns without names."""
    return len(cells) > 2 and list(cells) == [str(number) for number in range(len(cells))]


def _name_years(cells: Sequence[str]) -> bool:
    """Whether the numbers among the names are years that follow each other, as in `country,2019,2020,2021`."""
    numbers = [int(cell) for cell in cells if cell.isascii() and cell.isdigit() and len(cell) == 4]
    n_numeric = sum(map(_is_number, cells))
    return (
        len(numbers) == n_numeric > 1
        and n_numeric < len(cells)
        and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    )
