"""Where the records of a CSV begin and end, and whether its quotes are in order: by NumPy, from positions only.

Owns the proof that a general reader splits the file as RFC 4180 says. What is not plain is left to `csv_cells.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 24
NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Layout:
    """`content` with one record a line, each closed by a newline of its own (none are blank, none end in a carriage
    return; quoted cells are as they were). For each record, int64 [n]: `lines`, the line of the file where it starts
    (from 1); `n_fields`; and `n_bytes`, its length. `has_quotes` says whether there are any."""

    content: bytes
    lines: NDArray[np.int64]
    n_fields: NDArray[np.int64]
    n_bytes: NDArray[np.int64]
    has_quotes: bool


def find_layout(content: bytes, separator: str) -> Layout | None:
    """The layout of a CSV; None when it is not plain: a quote that stands inside a field or is never closed, or more
    than one carriage return at a line's end."""
    if b"\r\r\n" in content:
        return None
    if not content.endswith(b"\n"):
        content += b"\n"
    view = np.frombuffer(content, np.uint8)
    quotes = _find(view, QUOTE) if b'"' in content else np.empty(0, np.int64)
    newlines = _find(view, NEWLINE)
    if not _are_quotes_plain(view, quotes, ord(separator)):
        return None
    ends = newlines[~_is_quoted(newlines, quotes)]
    returns = _find(view, RETURN) if b"\r" in content else np.empty(0, np.int64)
    returns = returns[(view[returns + 1] == NEWLINE) & ~_is_quoted(returns, quotes)]
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    stops = ends - np.isin(ends - 1, returns) if len(returns) else ends
    is_blank = starts >= stops
    n_fields = _count_fields(view, ends, quotes, ord(separator))
    lines = np.arange(1, len(ends) + 1) if len(ends) == len(newlines) else np.searchsorted(newlines, starts) + 1
    if len(returns) or is_blank.any():
        keep = np.ones(len(view), np.bool_)
        keep[returns] = False
        keep[ends[is_blank]] = False
        content = view[keep].tobytes()
    kept = ~is_blank
    return Layout(content, lines[kept], n_fields[kept], (stops - starts)[kept], len(quotes) > 0)


def _find(view: NDArray[np.uint8], byte: int) -> NDArray[np.int64]:
    """Where `byte` stands, block by block: a mask of a whole file would take as much memory as the file."""
    blocks = range(0, len(view), BLOCK_BYTES)
    return np.concatenate([np.flatnonzero(view[start : start + BLOCK_BYTES] == byte) + start for start in blocks])


def _is_quoted(positions: NDArray[np.int64], quotes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether an odd number of quotes stands before each position."""
    return (np.searchsorted(quotes, positions) & 1).astype(np.bool_)


def _are_quotes_plain(view: NDArray[np.uint8], quotes: NDArray[np.int64], separator: int) -> bool:
    """Whether each field that has quotes is in quotes as a whole, those inside being doubled.

    A quote opens after a separator or a line's end, or directly after one that closes (the two are then one quote of
    the text); one that closes stands before a separator, a line's end, or such a second quote.
    """
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = view[np.maximum(opening - 1, 0)]
    opens = (opening == 0) | (before == separator) | (before == NEWLINE)
    opens[1:] |= opening[1:] == closing[:-1] + 1
    after = view[closing + 1]
    closes = (after == separator) | (after == NEWLINE)
    closes |= (after == RETURN) & (view[np.minimum(closing + 2, len(view) - 1)] == NEWLINE)
    closes[:-1] |= closing[:-1] + 1 == opening[1:]
    return bool(opens.all() and closes.all())


def _count_fields(
    view: NDArray[np.uint8], ends: NDArray[np.int64], quotes: NDArray[np.int64], separator: int
) -> NDArray[np.int64]:
    """The number of fields of each record, int64 [n]; the records end at `ends`."""
    n_before = np.empty(len(ends), np.int64)
    n_seen = 0
    for start in range(0, len(view), BLOCK_BYTES):
        stop = min(start + BLOCK_BYTES, len(view))
        found = np.flatnonzero(view[start:stop] == separator) + start
        if len(quotes):
            found = found[~_is_quoted(found, quotes)]
        first, last = np.searchsorted(ends, (start, stop))
        n_before[first:last] = n_seen + np.searchsorted(found, ends[first:last])
        n_seen += len(found)
    return np.diff(n_before, prepend=0) + 1
