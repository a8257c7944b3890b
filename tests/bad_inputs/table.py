"""All rows, in the order of their numbers."""

from __future__ import annotations

from tests.bad_inputs import files, folders, images, system, tables
from tests.bad_inputs.row import Row

ROWS: tuple[Row, ...] = tuple(
    sorted((*images.ROWS, *folders.ROWS, *tables.ROWS, *files.ROWS, *system.ROWS), key=lambda row: row.number)
)
