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

    stripped, first = [], frame.height
    for name, dtype in frame.schema.items():  # one after the other: all at once a large table would be there twice
        if dtype != pl.String:
            continue
        bare = frame[name].str.strip_chars()
        if bare.str.len_bytes().sum() == frame[name].str.len_bytes().sum():
            continue
        first = min(first, (frame[name] != bare).fill_null(False).arg_max() or 0)
        stripped.append(bare.set((bare == "") & (frame[name] != ""), None))
    if not stripped:
        return frame, []
    note = f"{path.name}: spaces around values are stripped, the first on line {lines[first]}"
    return frame.with_columns(stripped), [note]
