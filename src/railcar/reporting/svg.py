"""Small charts as inline SVG: they stretch to the width that they are given, take their colours from the page, and hold
no text (that would be stretched, too): the page sets it beside them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from railcar.data.summary import Spread


def draw_histogram(spread: Spread, *, title: str) -> str:
    """A bar for each bin; `title` is for who cannot see it."""
    n_bins, most = len(spread.counts), max(*spread.counts, 1)
    width = 100 / n_bins
    bars = "".join(
        f'<rect x="{index * width:.3f}" y="{40 - height:.2f}" width="{width * 0.9:.3f}" height="{height:.2f}"/>'
        for index, count in enumerate(spread.counts)
        # what is there at all is to be seen
        if (height := max(39 * count / most, 0.7 if count else 0.0))
    )
    return (
        f'<svg class="histogram" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{bars}</svg>'
    )


def draw_stacked_bar(parts: Sequence[float], most: float, *, title: str) -> str:
    """One bar of several parts, of classes `part0`, `part1`, ...; `most` is what fills the width."""
    at, bars = 0.0, []
    for number, part in enumerate(parts):
        width = 100 * part / most if most else 0.0
        bars.append(f'<rect class="part{number}" x="{at:.3f}" y="0" width="{width:.3f}" height="10"/>')
        at += width
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{"".join(bars)}</svg>'
    )
