"""Curves in characters: numbers by step, kept in bounded room and drawn in dots of braille.

Owns the drawing and nothing else: no terminal, no colours of its own, no training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

TRAIN, VALIDATION, FAINT = "train", "validation", "faint"
Piece = tuple[str, str]
"""Some characters of a line, and what they are: one of the above, or "" for plain text."""

# From this many times the lowest value on, the axis has equal steps for equal factors: the end of a curve is flat else.
_LOG_FROM = 8.0
_N_DOTS_X, _N_DOTS_Y = 2, 4
_USUAL_LEFT = 8
# Bits of a braille character (U+2800 and on), by row and column of its dots.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Series:
    """Numbers by step, at most `most` of them: when there are more, each two neighbours become their mean."""

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._per_point = 1
        self._waiting: list[float] = []
        self.points: list[tuple[float, float]] = []

    def add(self, step: float, value: float | None) -> None:
        """Take in the value after `step` steps; what is no finite number is left out."""
        if value is None or not math.isfinite(value):
            return
        self._waiting.append(value)
        if len(self._waiting) < self._per_point:
            return
        self.points.append((step, sum(self._waiting) / len(self._waiting)))
        self._waiting = []
        if len(self.points) >= self._most:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(later[0], (earlier[1] + later[1]) / 2) for earlier, later in pairs]
            self._per_point *= 2


@dataclass(frozen=True)
class _Scale:
    """From a step and a value to dots: `n_x` times `n_y` of them, the first row on top."""

    first: float
    last: float
    low: float
    high: float
    is_log: bool
    n_x: int
    n_y: int

    def x(self, step: float) -> int:
        return round((step - self.first) / max(self.last - self.first, 1e-12) * (self.n_x - 1))

    def y(self, value: float) -> int:
        value = min(max(value, self.low), self.high)
        low, high, at = map(math.log, (self.low, self.high, value)) if self.is_log else (self.low, self.high, value)
        # halved: the difference of two numbers may be none
        return round((high / 2 - at / 2) / max(high / 2 - low / 2, 1e-300) * (self.n_y - 1))

    def value_at(self, share: float) -> float:
        """The value at `share` of the height, 1 on top."""
        if self.is_log:
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return (1 - share) * self.low + share * self.high


def draw_curve(
    train: Sequence[tuple[float, float]],
    validation: Sequence[tuple[float, float]],
    *,
    width: int,
    height: int,
    is_ascii: bool = False,
) -> list[list[Piece]]:
    """`height` lines of at most `width` characters: the training as a line, each validation as a dot, and on the left
    what the heights mean. Empty when there are no two points, or no room. Where the values span factors, so does the
    axis."""
    points = [*train, *validation]
    if len(points) < 2 or width < 16 or height < 2:
        return []
    per_x, per_y = (1, 1) if is_ascii else (_N_DOTS_X, _N_DOTS_Y)
    # The axis is for what is drawn, the means of columns. How many there are depends on the length of the axis' own
    # numbers: a usual one is taken.
    rough = _measure(points, (width - _USUAL_LEFT) * per_x, 1)
    values = [value for _, value in (*_average(train, rough.x), *validation)]
    labels = _label(_measure(points, 1, 1, values), height)
    n_left = max(map(len, labels)) + 2
    scale = _measure(points, (width - n_left) * per_x, height * per_y, values)
    line = _draw(_join(_average(train, scale.x), scale.y), is_ascii)
    marks = {(scale.y(value) // per_y, scale.x(step) // per_x) for step, value in validation}
    mark = "o" if is_ascii else "•"
    lines = []
    for row in range(height):
        axis = ("+" if labels[row] else "|") if is_ascii else ("┤" if labels[row] else "│")
        cells = [
            (mark, VALIDATION) if (row, column) in marks else (line.get((row, column), " "), TRAIN)
            for column in range(width - n_left)
        ]
        lines.append([(f"{labels[row]:>{n_left - 2}} {axis}", FAINT), *_in_runs(cells)])
    return lines


def _measure(
    points: Sequence[tuple[float, float]], n_x: int, n_y: int, values: Sequence[float] | None = None
) -> _Scale:
    """From the first step to the last, from the lowest of `values` (None: of the points') to the highest."""
    steps = [step for step, _ in points]
    values = values or [value for _, value in points]
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    return _Scale(min(steps), max(steps), low, high, low > 0 and high / low >= _LOG_FROM, n_x, n_y)


def _label(scale: _Scale, height: int) -> list[str]:
    """What stands before each row: numbers before the first, the last and, where there is room, one in the middle."""
    rows = {0: 1.0, height - 1: 0.0} | ({height // 2: 1 - (height // 2) / (height - 1)} if height >= 5 else {})
    return [f"{scale.value_at(rows[row]):.3g}" if row in rows else "" for row in range(height)]


def _average(points: Sequence[tuple[float, float]], to_x: Callable[[float], int]) -> list[tuple[int, float]]:
    """For each column of dots that has values, their mean."""
    columns: dict[int, list[float]] = {}
    for step, value in points:
        columns.setdefault(to_x(step), []).append(value)
    return [(x, sum(values) / len(values)) for x, values in sorted(columns.items())]


def _join(columns: Sequence[tuple[int, float]], to_y: Callable[[float], int]) -> Iterator[tuple[int, int]]:
    """The dots (row, column) of the line through the columns' values."""
    ends = [(x, to_y(value)) for x, value in columns]
    for (x0, y0), (x1, y1) in zip(ends[:1] + ends, ends, strict=False):
        n = max(x1 - x0, abs(y1 - y0), 1)
        for i in range(n + 1):
            yield round(y0 + (y1 - y0) * i / n), round(x0 + (x1 - x0) * i / n)


def _draw(dots: Iterator[tuple[int, int]], is_ascii: bool) -> dict[tuple[int, int], str]:
    """The characters that have these dots, by row and column of characters."""
    if is_ascii:
        return dict.fromkeys(dots, ".")
    bits: dict[tuple[int, int], int] = {}
    for y, x in dots:
        cell = y // _N_DOTS_Y, x // _N_DOTS_X
        bits[cell] = bits.get(cell, 0) | _BITS[y % _N_DOTS_Y][x % _N_DOTS_X]
    return {cell: chr(0x2800 + bit) for cell, bit in bits.items()}


def _in_runs(cells: Sequence[Piece]) -> Iterator[Piece]:
    """Neighbours of one kind as one piece; blanks at the end are left out."""
    text, kind = "", ""
    n = max((index + 1 for index, (character, _) in enumerate(cells) if character != " "), default=0)
    for character, own in cells[:n]:
        if own != kind and character != " ":
            if text:
                yield text, kind
            text, kind = "", own
        text += character
    if text:
        yield text, kind
