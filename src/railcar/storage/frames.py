"""Frames of typed columns -> arrays, as a model's inputs. The one way of training and of prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl


def to_arrays(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns of these names: strings as object arrays with "" for a gap, numbers as float32 with NaN for one."""
    import polars as pl

    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        values = frame[name]
        if values.dtype == pl.String:
            arrays[name] = np.array(values.fill_null("").to_list(), dtype=object)
        else:
            arrays[name] = values.cast(pl.Float32).fill_null(np.nan).to_numpy()
    return arrays
