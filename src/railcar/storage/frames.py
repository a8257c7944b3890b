"""Frames of typed columns -> arrays, as a model's inputs. The one way of training and of prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl


def to_arrays(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns of these names, by the names of the model's inputs: strings as object arrays with "" for a gap,
    numbers as float32 with NaN for one."""
    import polars as pl

    arrays: dict[str, NDArray[Any]] = {}
    for name, key in name_inputs(names).items():
        values = frame[name]
        if values.dtype == pl.String:
            arrays[key] = np.array(values.fill_null("").to_list(), dtype=object)
        else:
            arrays[key] = values.cast(pl.Float32).fill_null(np.nan).to_numpy()
    return arrays


def name_inputs(names: Sequence[str]) -> dict[str, str]:
    """What the model's input for each column is called: as the column, but for a slash, which Keras does not allow."""
    taken, found = {name for name in names if "/" not in name}, {}
    for name in names:
        key = plain = name.replace("/", "_")
        number = 2
        while "/" in name and key in taken:
            key, number = f"{plain}_{number}", number + 1
        taken.add(key)
        found[name] = key
    return found
