"""Spaces around the values of a text file: nobody means them, and they would make ` cat` another class than `cat`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl


def strip_spaces(path: Path, frame: pl.DataFrame, lines: NDArray[np.int64]) -> tuple[pl.DataFrame, list[str]]:
    """The frame without the spaces around its strings, null for one of spaces, and a note that names the first line
    where there were any. `lines` int64 [n] are those of the rows."""
    import polars as pl

    names = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    if not names:
        return frame, []
    strings = frame.select(names)
    n_bytes = pl.all().str.len_bytes().sum()
    bare = strings.select(pl.all().str.strip_chars())
    counts = zip(names, strings.select(n_bytes).row(0), bare.select(n_bytes).row(0), strict=True)
    changed = [name for name, before, after in counts if before != after]
    if not changed:
        return frame, []
    blank_to_null = [pl.when((bare[name] != "") | (frame[name] == "")).then(bare[name]).alias(name) for name in changed]
    first = min((frame[name] != bare[name]).fill_null(False).arg_max() or 0 for name in changed)
    note = f"{path.name}: spaces around values are stripped, the first on line {lines[first]}"
    return frame.with_columns(blank_to_null), [note]
