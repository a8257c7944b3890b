"""A network in lines: its layers with their shapes, parameters and operations, all of them or what fits on a screen.

Owns the words and columns; what the layers are is told by `models/build.py`, what they cost by `training/flops.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_LINES = 12
_HEAD = ("layer", "output", "parameters", "operations")
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def format_count(number: float) -> str:
    """Three digits and a unit: 1.23 M."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def sum_operations(layers: Sequence[Mapping[str, Any]]) -> float | None:
    """Of one example through all layers; None where one cannot be counted."""
    counts = [one["operations"] for one in layers]
    return None if None in counts else float(sum(counts))


def draw_layers(layers: Sequence[Mapping[str, Any]]) -> str:
    """All of them, a line each. A layer is a mapping of `name`, `type`, `shape` (of its output, without the batch),
    `parameters`, and `operations` of one example (multiplications and additions; None where they cannot be counted)."""
    rows = [(f"{one['name']} ({one['type']})", *_measure(one["shape"], one)) for one in layers]
    total = sum_operations(layers)
    n_parameters = f"{sum(one['parameters'] for one in layers):,}"
    rows.append(("all", "", n_parameters, "" if total is None else format_count(total)))
    return "\n".join(_align([_HEAD, *rows])) + "\n"


def fold_layers(layers: Sequence[Mapping[str, Any]], most: int = MOST_LINES) -> list[str]:
    """The same in `most` lines at most, below a head: a line a layer with a kernel, with what follows it up to the next
    one; of long networks the first and the last."""
    groups: list[list[Mapping[str, Any]]] = []
    for one in layers:
        if one["has_kernel"]:
            groups.append([one])
        elif groups:
            groups[-1].append(one)
    rows = []
    for group in groups:
        costs = [one["operations"] for one in group]
        whole = {
            "parameters": sum(one["parameters"] for one in group),
            "operations": None if None in costs else sum(costs),
        }
        rows.append((group[0]["name"], *_measure(group[-1]["shape"], whole)))
    head, *lines = _align([_HEAD, *rows])
    if len(lines) <= most:
        return [head, *lines]
    n_first = most // 2
    n_last = most - n_first - 1
    return [head, *lines[:n_first], f"... {len(lines) - n_first - n_last} more", *lines[-n_last:]]


def _measure(shape: Sequence[int | None], one: Mapping[str, Any]) -> tuple[str, str, str]:
    size = "x".join("any" if length is None else f"{length:,}" for length in shape) or "-"
    operations = "-" if one["operations"] is None else format_count(one["operations"])
    return size, f"{one['parameters']:,}", operations


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
