"""A model's preprocessing as one SVG picture that stands on its own: light and dark, with no font of another host.

Owns how it looks. Text in SVG does not wrap: lines are broken, and names cut, by the room that wide letters would take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from textwrap import wrap
from unicodedata import east_asian_width

from railcar.reporting.preprocessing import ColumnStep, Preprocessing, Step

MAX_COLUMNS = 30
MAX_DROPPED = 10
WIDTH = 900
_LEFT, _RIGHT = 24, WIDTH - 24
_AT = (_LEFT + 18, 214, 320, 478, _RIGHT - 18)
"""Where name, type (or facts), gaps and values begin, and where results end; pixels."""
_FACT_LETTERS = 60
_CELL_LETTERS = (21, 12, 21, 43)
_LINE, _ROW, _GAP = 19, 24, 26

_STYLE = """
.flow { --paper: #fbfbfa; --card: #fff; --ink: #1d1f21; --pale: #5f6468; --line: #d3d5d2; --accent: #0072b2;
  --training: #9a5a00; font: 13px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  .flow { --paper: #16181a; --card: #1f2224; --ink: #e7e8e8; --pale: #a2a8ad; --line: #43484c; --accent: #56b4e9;
    --training: #f0b93a; }
}
.flow text { fill: var(--ink); }
.flow .title { font-size: 17px; font-weight: 600; }
.flow .name { font-weight: 600; }
.flow .pale { fill: var(--pale); }
.flow .result { fill: var(--accent); font: 12px ui-monospace, monospace; text-anchor: end; }
.flow .card { fill: var(--card); stroke: var(--line); }
.flow .ground { fill: var(--paper); }
.flow .rule { stroke: var(--line); }
.flow .arrow { stroke: var(--pale); fill: none; stroke-width: 1.5; }
.flow .training .card { stroke: var(--training); stroke-dasharray: 6 4; stroke-width: 1.5; }
.flow .training .when { fill: var(--training); }
"""


def draw_flow(flow: Preprocessing) -> str:
    """The whole picture, an SVG document."""
    top = 62
    parts = []
    for step in (flow.given, *flow.steps):
        if parts:
            parts.append(_draw_arrow(top))
            top += _GAP
        drawn, height = _draw_step(step, top)
        parts.append(drawn)
        top += height
        if step is flow.given and flow.columns:
            parts.append(_draw_arrow(top))
            drawn, height = _draw_columns(flow.columns, top + _GAP)
            parts.append(drawn)
            top += _GAP + height
    height = top + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(_clean(flow.title))}"><style>{_STYLE}</style>'
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>{_text(_LEFT, 40, flow.title, "title")}'
        f"{''.join(parts)}</svg>\n"
    )


def _draw_step(step: Step, top: int) -> tuple[str, int]:
    """A card: its name, how it is done, what it gives."""
    lines = [line for fact in step.facts for line in wrap(cut(fact, 3 * _FACT_LETTERS), _FACT_LETTERS)]
    n_lines = max(len(lines), 2 if step.is_training_only else 1)
    height = 18 + _LINE * n_lines
    parts = [_card(top, height), _text(_AT[0], top + 23, cut(step.name, _CELL_LETTERS[0]), "name")]
    if step.is_training_only:
        parts.append(_text(_AT[0], top + 23 + _LINE, "in training only", "when"))
    parts += [_text(_AT[1], top + 23 + _LINE * number, line) for number, line in enumerate(lines)]
    parts.append(_text(_AT[4], top + 23, step.result, "result"))
    look = ' class="training"' if step.is_training_only else ""
    return f"<g{look}>{''.join(parts)}</g>", height


def _draw_columns(columns: Sequence[ColumnStep], top: int) -> tuple[str, int]:
    """One card with a line for each column, those that are left out last."""
    read = [one for one in columns if not one.dropped]
    dropped = [one for one in columns if one.dropped]
    rows = [_draw_cells(("column", "type", "a gap counts", "values", "numbers"), is_head=True)]
    rows += [_draw_cells((one.name, one.type, one.gaps, one.values, one.result)) for one in read[:MAX_COLUMNS]]
    if rest := read[MAX_COLUMNS:]:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in Counter(one.type for one in rest).most_common())
        rows.append([_text(_AT[0], 0, f"and {len(rest):,} more: {kinds}", "pale")])
    for one in dropped[:MAX_DROPPED]:
        words = cut(f"left out: {one.dropped}", 90)
        rows.append([_text(_AT[0], 0, cut(one.name, _CELL_LETTERS[0]), "pale"), _text(_AT[1], 0, words, "pale")])
    if rest := dropped[MAX_DROPPED:]:
        rows.append([_text(_AT[0], 0, f"and {len(rest):,} more are left out", "pale")])
    height = 12 + _ROW * len(rows)
    parts = [_card(top, height)]
    for number, row in enumerate(rows):
        at = top + 6 + _ROW * number
        if number:
            parts.append(f'<path class="rule" d="M{_LEFT + 12} {at}H{_RIGHT - 12}"/>')
        parts.append(f'<g transform="translate(0 {at + 17})">{"".join(row)}</g>')
    return "".join(parts), height


def _draw_cells(cells: Sequence[str], *, is_head: bool = False) -> list[str]:
    looks = ["pale"] * 4 if is_head else ["name", "pale", "", ""]
    found = [
        _text(_AT[number], 0, cut(cells[number], _CELL_LETTERS[number]), looks[number]) for number in range(len(looks))
    ]
    return [*found, _text(_AT[4], 0, cells[4], "result")]


def _draw_arrow(top: int) -> str:
    x, end = _AT[0] + 14, top + _GAP - 4
    return f'<path class="arrow" d="M{x} {top + 4}V{end}M{x - 4} {end - 5}L{x} {end}L{x + 4} {end - 5}"/>'


def _card(top: int, height: int) -> str:
    return f'<rect class="card" x="{_LEFT}" y="{top}" width="{_RIGHT - _LEFT}" height="{height}" rx="6"/>'


def _text(x: int, y: int, words: str, look: str = "") -> str:
    if not words:
        return ""
    looks = f' class="{look}"' if look else ""
    return f'<text x="{x}" y="{y}"{looks}>{escape(_clean(words))}</text>'


def _clean(words: str) -> str:
    """Without what XML does not allow, which a column's name may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in words)


def cut(words: str, n_letters: int) -> str:
    """As much as takes the room of so many small letters; a last sign says that there is more."""
    taken, kept = 0.0, 0
    for letter in words:
        taken += _measure(letter)
        kept += taken <= n_letters - 1
    return words if taken <= n_letters else words[:kept] + "…"


def _measure(letter: str) -> float:
    """How many small letters it is as wide as, about."""
    if east_asian_width(letter) in "WF":
        return 2.0
    if letter in "MWmw@%":
        return 1.8
    return 1.3 if letter.isupper() else 1.0
