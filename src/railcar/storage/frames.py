"""Frames in memory, of whatever library -> polars; frames of typed columns -> arrays, as a model's inputs.

The one way of training and of prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError

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


def to_frame(data: Any) -> pl.DataFrame:
    """A polars frame of a frame of polars or pandas, a dict of columns or a list of dicts. Raises `DataError` for
    anything else."""
    import polars as pl

    if isinstance(data, pl.DataFrame):
        return data
    try:
        if hasattr(data, "columns") and hasattr(data, "to_dict"):
            data = {str(name): [_fill(cell) for cell in data[name].tolist()] for name in data.columns}
        return pl.DataFrame(data, strict=False)
    except Exception as error:  # polars raises many kinds
        raise DataError(
            f"{type(data).__name__}: no rows of a table", hint="give a frame, a dict of columns or a list of dicts"
        ) from error


def _fill(cell: Any) -> Any:
    """pandas says NaN (or NaT, NA) for what is missing, in columns of words too."""
    return None if type(cell).__name__ in ("NAType", "NaTType") or cell != cell else cell
