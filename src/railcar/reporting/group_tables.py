"""The figures of groups, as `evaluate --by` measures them, as plain text, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from railcar.reporting.tables import cut_name

_MAX_NAME = 24
_SPLITS = ("test", "data", "validation", "train")


def format_groups(evaluation: dict[str, Any]) -> list[str]:
    """A table for each column whose values the splits were grouped by, and what the differences are worth."""
    return [
        _format_column(f"{split} by {cut_name(column, 50)}", found)
        for split in _SPLITS
        for column, found in evaluation.get(split, {}).get("groups", {}).items()
    ]


def _format_column(title: str, found: dict[str, Any]) -> str:
    rows = found["groups"]
    is_share = found["difference"]["measure"] == "accuracy"
    title = f"{title}, by its quartiles" if found["form"] == "quartiles" else title
    width = min(max(len("group"), *(len(row["group"]) for row in rows)) + 1, _MAX_NAME)
    if is_share:
        head = f"{'accuracy':>9}  {'95% interval':<17}{'balanced':>10}{'n':>10}"
    else:
        head = f"{'mean error':>12}{'root of squares':>17}{'bias':>11}{'n':>10}"
    lines = [textwrap.shorten(title, 80, placeholder="…"), f"{'group':<{width}}{head}"]
    for row in rows:
        figures = _format_share(row) if is_share else _format_error(row)
        lines.append(f"{cut_name(row['group'], width):<{width}}{figures}{_mark(row, rows)}")
    return "\n".join([*lines, *textwrap.wrap(describe_difference(found), 80, break_on_hyphens=False)])


def _format_share(row: dict[str, Any]) -> str:
    low, high = row["accuracy_95"]
    interval = f"{low:.2%} to {high:.2%}"
    return f"{row['accuracy']:>9.2%}  {interval:<17}{row['balanced_accuracy']:>10.2%}{row['n']:>10,}"


def _format_error(row: dict[str, Any]) -> str:
    return f"{row['mae']:>12.5g}{row['rmse']:>17.5g}{row['bias']:>+11.4g}{row['n']:>10,}"


def _mark(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Of two groups one is worse; of more, those that are apart from all others together."""
    if not row["is_apart"]:
        return ""
    measure = "accuracy" if "accuracy" in row else "mae"
    n = sum(one["n"] for one in rows)
    mean = sum(one[measure] * one["n"] for one in rows) / n
    return "  better" if (row[measure] > mean) == (measure == "accuracy") else "  worse"


def describe_difference(found: Mapping[str, Any]) -> str:
    """In words: how far the best and the worst group are apart, and whether that is more than luck."""
    if len(found["groups"]) < 2:
        return "one group only: there is nothing to compare"
    n_left = sum(row["p"] is None for row in found["groups"])
    note = f"; groups of fewer than {found['fewest']} are not compared" if n_left else ""
    one = found["difference"]
    if one["measure"] == "accuracy":
        best, worst, size = one["high"], one["low"], f"{100 * one['value']:.2f} points of accuracy"
    else:
        best, worst, size = one["low"], one["high"], f"{one['value']:.4g} of mean error"
    said = "more than luck" if found["is_real"] else "no more than luck makes of groups that are alike"
    return f"largest difference {size}, {_quote(best)} before {_quote(worst)}: {said} (p {found['p']:.2g}){note}"


def _quote(name: str) -> str:
    return cut_name(name, _MAX_NAME)
