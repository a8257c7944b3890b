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
_SEPARATOR_LINE = re.compile(rb'"?sep=([,;\t|])"?\r?\n')
_BLANK_LINES = re.compile(rb"(?: *+\r?\n)+")
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


def take_separator_line(content: bytes) -> tuple[bytes, str | None]:
    """The separator that a first line `sep=;` gives, as Excel has it (None without one), and the content with that line
    empty; lines of spaces before the header are empty, too."""
    given = None
    if (found := _SEPARATOR_LINE.match(content)) is not None:
        given = found[1].decode()
        content = b"\n" + content[found.end() :]
    if (found := _BLANK_LINES.match(content)) is not None:
        content = b"\n" * found[0].count(b"\n") + content[found.end() :]
    return content, given


def has_header(first: Sequence[str | None], columns: Sequence[Sequence[str | None]]) -> bool:
    """Whether the cells of the first line are names, by the cells below them: `columns` has some of each column.

    A number above numbers speaks for an example, as does a word or a sentence that could as well stand below; a word
    above numbers speaks for a name, as does a usual name. In doubt it is a header.
    """
    cells = [(cell or "").strip() for cell in first]
    n_names = n_numbers = n_words = 0
    for cell, column in zip(cells, columns, strict=True):
        below = [value.strip() for value in column if value and value.strip()]
        share = sum(map(_is_number, below)) / len(below) if below else 0.0
        if _is_number(cell):
            n_numbers += share > 0.5 or not below
        elif cell.lower() in USUAL_NAMES:
            n_names += 1
        elif cell.lower() in MISSING_WORDS:
            continue
        elif share > 0.9:
            n_names += 1
        else:
            n_words += cell in below or (_is_sentence(cell) and sum(map(_is_sentence, below)) > len(below) / 2)
    return n_numbers + n_words <= n_names or (n_words == 0 and _are_numbered(cells))


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _is_sentence(cell: str) -> bool:
    return len(cell.split()) > 3


def _are_numbered(cells: Sequence[str]) -> bool:
    """Whether the columns have numbers for names: 0, 1, 2, ... (so pandas writes columns without names), or among
    words 1, 2, 3, ... or years that follow each other."""
    numbers = [int(cell) for cell in cells if cell.isascii() and cell.isdigit()]
    if len(numbers) < sum(map(_is_number, cells)) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return False
    if len(numbers) == len(cells):
        return len(numbers) > 2 and numbers[0] == 0
    return (len(numbers) > 2 and numbers[0] < 2) or (len(numbers) > 1 and 1900 <= numbers[0] < 2200)
