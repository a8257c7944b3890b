"""Charts with axes as HTML and inline SVG: lines, dots, bars of a histogram. They stretch to the width they are given:
lines keep their thickness, and words stand beside the drawing as text of the page.

Owns scales, ticks and what a chart is made of; colours and sizes are `page_style.py`'s. Needs no script and no numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape

Point = tuple[float, float]
Format = Callable[[float], str]

N_COLOURS = 8
_MOST_POINTS = 400
# Each has a dot: one sees where something was measured.
_FEW = 30
_MUCH = 20
# Points of a drawing: as many as screens have, so that a rounded place is the right one.
_SIZE = 1000


@dataclass(frozen=True)
class Line:
    """`points` (x, y), x rising; those that are no numbers are left out. `colour` 0 to 7 is one of the style sheet's;
    `is_pale` lines are drawn thin, behind the others; `marked` is a point with a dot on it."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    is_dashed: bool = False
    is_pale: bool = False
    marked: Point | None = None


@dataclass(frozen=True)
class Axis:
    """`low` and `high` are found from the points where they are None; `is_whole` is one of counts. `spell` writes the
    tick labels."""

    label: str
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    is_whole: bool = False
    spell: Format = field(default=lambda value: spell_tick(value))


def build_accuracy_axis(label: str, values: Iterable[float]) -> Axis:
    """Of shares up to 1. The first steps, near chance, would squeeze what is of interest into the top: it begins near
    the tenth that is lowest."""
    ordered = sorted(value for value in values if math.isfinite(value))
    low = max(0.0, 1 - 1.4 * max(1 - ordered[len(ordered) // 10], 0.02)) if len(ordered) > 10 else 0.0
    return Axis(label, low, 1.0, spell=spell_share)


def build_loss_axis(label: str, values: Iterable[float]) -> Axis:
    """Logarithmic where the values span more than one to twenty."""
    positive = [value for value in values if math.isfinite(value) and value > 0]
    is_log = bool(positive) and max(positive) > _MUCH * min(positive)
    return Axis(label, None if is_log else 0.0, is_log=is_log)


def draw_lines(lines: Sequence[Line], *, x: Axis, y: Axis, title: str, diagonal: bool = False) -> str:
    """A chart of lines with its axes and a legend of those that have a name; `title` is for who cannot see it.
    `diagonal` draws where x and y are equal. Empty where there is no point at all."""
    known = [(line, _thin(_finite(line.points, y.is_log))) for line in lines]
    known = [(line, points) for line, points in known if points]
    if not known:
        return ""
    scales = (
        _scale(x, (one[0] for _, points in known for one in points)),
        _scale(y, (one[1] for _, points in known for one in points)),
    )
    drawn = [_diagonal(*scales)] if diagonal else []
    # lines of one kind look alike
    too_many = {line.is_pale for line, points in known if len(points) > _FEW}
    for line, points in sorted(known, key=lambda one: not one[0].is_pale):
        drawn.append(_polyline(line, points, *scales, has_dots=line.is_pale not in too_many))
    drawn += [_dots([line.marked], *scales, f"mark stroke{line.colour}") for line, _ in known if line.marked]
    names = [(line.name, line.colour, line.is_dashed) for line, _ in known if line.name]
    return _frame("".join(drawn), scales, title) + (_legend(names) if names else "")


def draw_dots(points: Sequence[Point], *, x: Axis, y: Axis, title: str, diagonal: bool = False) -> str:
    """A scatter plot; all points are drawn, so that who calls thins them. Both axes share one range with `diagonal`."""
    points = _finite(points, y.is_log)
    if not points:
        return ""
    xs, ys = [one[0] for one in points], [one[1] for one in points]
    scales = (_scale(x, xs + ys), _scale(y, xs + ys)) if diagonal else (_scale(x, xs), _scale(y, ys))
    line = _diagonal(*scales) if diagonal else ""
    return _frame(line + _dots(points, *scales, "dots stroke0"), scales, title)


def draw_bars(bins: Sequence[tuple[float, float, float]], *, x: Axis, y: Axis, title: str) -> str:
    """A histogram: a bar for each of `bins` (from, to, how many); those that are missing are empty."""
    if not bins:
        return ""
    ends = [end for low, high, _ in bins for end in (low, high)]
    scales = _scale(x, ends), _scale(replace(y, low=0.0), [count for _, _, count in bins])
    bars = []
    for low, high, count in bins:
        left, right, height = scales[0].place(low), scales[0].place(high), scales[1].place(count)
        where = f'x="{left:g}" y="{_SIZE - height:g}" width="{max(right - left - 2, 1):g}" height="{height:g}"'
        bars.append(f'<rect class="fill0" {where}/>' if count else "")
    return _frame("".join(bars), scales, title)


# ---- scales


@dataclass(frozen=True)
class _Scale:
    axis: Axis
    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """0 to 1,000 from `low` to `high`; a logarithmic axis has what has no logarithm at its end."""
        low, high = self.low, self.high
        if self.axis.is_log and value <= 0:
            return 0.0
        if self.axis.is_log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return round(_SIZE * min(max((value - low) / (high - low), -0.5), 1.5), 1)


def _scale(axis: Axis, values: Iterable[float]) -> _Scale:
    values = list(values)
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if axis.is_log:
        low, high = (low / 1.15, high * 1.15) if low < high else (low / 2, high * 2)
        return _Scale(axis, low, high, tuple(_log_ticks(low, high)))
    if high <= low:
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    room = 0.04 * (high - low)
    low, high = low - room * (axis.low is None), high + room * (axis.high is None)
    return _Scale(axis, low, high, tuple(_ticks(low, high, is_whole=axis.is_whole)))


def _ticks(low: float, high: float, n: int = 5, *, is_whole: bool = False) -> Iterable[float]:
    """Round numbers between the two, about `n`."""
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 2.5, 5, 10) if power * one >= rough * 0.999)
    step = max(math.ceil(step), 1) if is_whole else step
    first = math.ceil(low / step - 1e-9)
    return (round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1))


def _log_ticks(low: float, high: float) -> Iterable[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, len(decades) // 6)
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    found = [m * 10.0**k for k in decades if k % every == 0 for m in steps if low <= m * 10.0**k <= high]
    return found or [low, high]


def spell_tick(value: float) -> str:
    """Short: 1,000, 2.5, 1e-05."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def spell_share(value: float) -> str:
    """0 to 1 in percent: 97.5%."""
    return f"{100 * value:.4g}%"


# ---- what is drawn


def _finite(points: Sequence[Point], is_log: bool) -> list[Point]:
    return [
        (one, other)
        for one, other in points
        if math.isfinite(one) and math.isfinite(other) and (not is_log or other > 0)
    ]


def _thin(points: list[Point]) -> list[Point]:
    """Of very many points the lowest and the highest of each stretch: no spike is lost."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-2 * len(points) // _MOST_POINTS)
    kept = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        kept += sorted({min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])})
    return [points[0], *(one for one in kept if one not in (points[0], points[-1])), points[-1]]


def _polyline(line: Line, points: Sequence[Point], x: _Scale, y: _Scale, *, has_dots: bool) -> str:
    where = " ".join(f"{x.place(one):g},{_SIZE - y.place(other):g}" for one, other in points)
    looks = f"stroke{line.colour}" + (" dashed" if line.is_dashed else "") + (" pale" if line.is_pale else "")
    if len(points) == 1:
        return _dots(points, x, y, f"mark {looks}")
    dots = _dots(points, x, y, f"few {looks}") if has_dots else ""
    return f'<polyline class="{looks}" points="{where}"/>{dots}'


def _dots(points: Sequence[Point], x: _Scale, y: _Scale, looks: str) -> str:
    """Strokes of no length with round ends: round, however the drawing is stretched."""
    where = "".join(f"M{x.place(one):g} {_SIZE - y.place(other):g}h0" for one, other in points)
    return f'<path class="{looks}" d="{where}"/>'


def _diagonal(x: _Scale, y: _Scale) -> str:
    low, high = max(x.low, y.low), min(x.high, y.high)
    ends = [(x.place(one), _SIZE - y.place(one)) for one in (low, high)]
    return f'<polyline class="diagonal" points="{" ".join(f"{a:g},{b:g}" for a, b in ends)}"/>'


def _frame(drawn: str, scales: tuple[_Scale, _Scale], title: str) -> str:
    x, y = scales
    grid = "".join(f'<path class="rule" d="M0 {_SIZE - y.place(one):g}H{_SIZE}"/>' for one in y.ticks)
    beside = "".join(
        f'<span style="bottom:{y.place(one) / 10:g}%">{escape(y.axis.spell(one))}</span>' for one in y.ticks
    )
    below = "".join(f'<span style="left:{x.place(one) / 10:g}%">{escape(x.axis.spell(one))}</span>' for one in x.ticks)
    widest = max((len(y.axis.spell(one)) for one in y.ticks), default=1)
    svg = f'<svg viewBox="0 0 {_SIZE} {_SIZE}" preserveAspectRatio="none" aria-hidden="true">{grid}{drawn}</svg>'
    return (
        f'<div class="chart" role="img" aria-label="{escape(title)}" style="--beside:{widest + 1}ch">'
        f'<p class="of">{escape(y.axis.label)}</p><div class="beside">{beside}</div><div class="drawing">{svg}</div>'
        f'<div class="below">{below}</div><p class="along">{escape(x.axis.label)}</p></div>'
    )


def _legend(names: Sequence[tuple[str, int, bool]]) -> str:
    items = "".join(
        f'<span><i class="fill{colour}{" dashed" if is_dashed else ""}"></i>{escape(name)}</span>'
        for name, colour, is_dashed in names
    )
    return f'<p class="legend">{items}</p>'
