"""Words for numbers, and tables of words: what several commands print alike. Knows no command."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_BLOCKS = "▁▂▃▄▅▆▇█"


def format_table(rows: Sequence[Sequence[str]], right_from: int = 1) -> str:
    """Columns two blanks apart; those from `right_from` on are set flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column >= right_from else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def format_size(n_bytes: float) -> str:
    """980 B, 1.2 KB, 12 MB, 1.5 GB."""
    for unit in ("B", "KB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" or n_bytes >= 10 else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def format_age(moment: datetime | None) -> str:
    """How long ago that was: 40 s, 5 min, 3 h, 12 d."""
    if moment is None:
        return "-"
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0.0)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


def format_duration(seconds: float | None) -> str:
    """8.2s, 12m40s, 3h05m."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    return f"{whole // 60}m{whole % 60:02}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02}m"


def share_text(share: float | None) -> str:
    """94.05%, or - for what is not known."""
    return "-" if share is None else f"{share:.2%}"


def result_text(accuracy: float | None, mae: float | None, loss: float | None) -> str:
    """What came of a run, by the first of these that is known: 94.05%, mae 2.31 or loss 0.123."""
    if accuracy is not None:
        return share_text(accuracy)
    known = next(((name, value) for name, value in (("mae", mae), ("loss", loss)) if value is not None), None)
    return f"{known[0]} {known[1]:.4g}" if known else "-"


def draw_sparkline(values: Sequence[float]) -> str:
    """A character a value, from ▁ for the lowest to █ for the highest; in the middle where all are alike."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return _BLOCKS[3] * len(values)
    return "".join(_BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))] for value in values)


def value_text(value: Any) -> str:
    """A value of a recipe as it is shown: numbers short, lists in brackets, - for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
