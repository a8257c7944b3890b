"""A column of a source's file, used by the model or not, for each example of a split.

Prepared data has only the columns that a model learns from, so the file is read again. Owns finding the file and the
rows that the examples were, and what type the column has; what is made of it is others' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from railcar.data.column_types import describe_columns
from railcar.data.columns import choose_label, find_image_column
from railcar.data.detect import locate
from railcar.data.sources.csv import find_csv_sides
from railcar.data.sources.image_list import clean_path, find_image_root, name_images
from railcar.data.sources.rows import skip_unlabelled
from railcar.data.types import Dataset, Split
from railcar.errors import DataError
from railcar.storage.archives import is_archive, unpack_archive
from railcar.storage.columns import Column, check_columns, decode_cells
from railcar.storage.rows import SUFFIXES, Rows, read_rows

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class SourceColumn:
    """`cells` of a split's examples, in its order, null where there is none: Float64 where `type` is "number" or "date"
    (days since 1970), else String."""

    name: str
    type: str
    cells: pl.Series


@dataclass(frozen=True)
class Origin:
    """Where data was read from, as its recipe says: the `source` or a `frame` in memory, neither of arrays; `others`,
    sources of held-out sides of their own; `label` and the `types` of columns, where they are declared."""

    source: str
    frame: pl.DataFrame | None = None
    others: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)


def read_source_column(origin: Origin, dataset: Dataset, split: Split, name: str) -> SourceColumn:
    """The column `name` of the examples of `split`, one of those of `dataset`. Raises `DataError` where the data has no
    columns, and where there is none of that name."""
    rows = _find_rows(origin, split)
    if rows is None or (dataset.features.kind == "image" and isinstance(split.ids, str)):
        raise DataError(
            f"{dataset.source}: its {dataset.features.noun} have no columns, and so no {name!r}",
            hint="groups are values of a column: of a .csv, .jsonl, .parquet or .arrow file, of rows or of image files",
        )
    check_columns(rows.frame.columns, [name], str(rows.path))
    label = dataset.label or origin.label or choose_label(rows, None)[0]
    rows = skip_unlabelled({"train": rows}, label)[0]["train"]
    column, cells = _decode(rows, name, origin.types)
    at = split.rows if isinstance(split.ids, str) else _find_images(rows, label, split)
    if len(at) and (int(at.max()) >= len(cells) or (isinstance(split.ids, str) and len(cells) != len(split.labels))):
        raise DataError(f"{rows.path}: has other rows than before", hint="it was changed while it was read; try again")
    return SourceColumn(name, column.type, cells[at.tolist()])


def _find_rows(origin: Origin, split: Split) -> Rows | None:
    """Those of the side that the split is of, or was drawn from; None where its source has none."""
    if origin.frame is not None:
        return Rows(origin.frame, "frame", (), None, Path("frame"))
    if not origin.source:
        return None
    files = _list_row_files(origin.source)
    if split.name not in files and (other := origin.others.get(split.name)):
        files = _list_row_files(other)
    side = split.ids if isinstance(split.ids, str) else split.name
    file = files.get(side) or files.get("train")
    return read_rows(file) if file else None


def _list_row_files(source: str) -> dict[str, Path]:
    path = locate(source)
    while path.is_file() and is_archive(path):
        path = unpack_archive(path)
    if path.is_dir():
        return find_csv_sides(path, SUFFIXES)
    return {"train": path} if path.name.lower().endswith(SUFFIXES) else {}


def _find_images(rows: Rows, label: str, split: Split) -> Any:
    """int64 [n]: the rows that name the split's images."""
    column = find_image_column(rows, label)[0]
    paths = rows.frame[column].cast(str).fill_null("").to_list()
    root = find_image_root([path for path in paths if path], rows.path.parent)
    numbers = {name: row for row, name in enumerate(name_images([clean_path(path) for path in paths], root))}
    found = [numbers.get(split.id_of(index)) for index in range(len(split))]
    if None in found:
        missing = split.id_of(found.index(None))
        raise DataError(f"{rows.path}: names no image {missing!r}", hint="it was changed; train anew, or restore it")
    return np.array(found, np.int64)


def _decode(rows: Rows, name: str, types: Mapping[str, str]) -> tuple[Column, pl.Series]:
    """The column's type, as training would find it, and its cells. Columns that training leaves out have one, too."""
    import polars as pl

    declared = {name: types[name]} if types.get(name, "text") != "text" else {}
    columns, _, _ = describe_columns(rows, [name], declared)
    values = rows.frame[name]
    column = columns[0] if columns else Column(name, "number" if _are_numbers(values) else "category")
    if column.type == "boolean":
        column = Column(name, "category")
    cells, _ = decode_cells(values, column)
    return column, cells.cast(pl.String if column.type == "category" else pl.Float64)


def _are_numbers(values: pl.Series) -> bool:
    """Whether a column that is left out, such as an id, is one of numbers."""
    cells, is_fault = decode_cells(values, Column(values.name, "number"))
    return not is_fault.any() and cells.null_count() < len(cells)
