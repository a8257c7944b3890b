"""All rows, in the order of their numbers."""

from __future__ import annotations

from tests.bad_inputs import files, folders, images, models, system, tables
from tests.bad_inputs.row import Row

ROWS: tuple[Row, ...] = tuple(
    sorted((*images.ROWS, *folders.ROWS, *tables.ROWS, *files.ROWS, *system.ROWS), key=lambda row: row.number)
)
"""What `train` and `data check` are given."""
MODEL_ROWS: tuple[Row, ...] = models.ROWS
"""What `predict` is given."""
ALL_ROWS = (*ROWS, *MODEL_ROWS)
