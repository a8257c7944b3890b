"""What a served model takes and gives, as the wire formats must know it; and the error of a question that does not fit.

Read from `model.json` of an export, or made of an artifact: no TensorFlow here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_BATCH = 1024
"""Inputs in one question."""
MAX_TEXT, MAX_EXPLAINED = 1_000_000, 50_000
"""Characters of a text, and of one that is explained, for which it is asked about many times."""


class BadRequest(Exception):
    """A question that cannot be answered, in words for whoever asked; `status` is that of HTTP."""

    def __init__(self, what: str, status: int = 400) -> None:
        super().__init__(what)
        self.what = what
        self.status = status


@dataclass(frozen=True)
class Feature:
    """A column of a table: `type` number, boolean, date or category; `form` how its cells are written
    (`storage/columns.py`); of a category `values`, those that the training saw; of the others `mean`."""

    name: str
    type: str
    form: str = ""
    values: tuple[str, ...] = ()
    mean: float = 0.0


@dataclass(frozen=True)
class Spec:
    """`kind` image, text or table; `task` classification or regression; `labels` those of the answers, in their order;
    `image_shape` (height, width, channels) inside the network; `features` the columns of a table; `about` all that
    `model.json` says."""

    kind: str
    task: str
    labels: tuple[str, ...]
    image_shape: tuple[int, int, int]
    features: tuple[Feature, ...]
    about: Mapping[str, Any]

    @property
    def is_number(self) -> bool:
        """Whether answers are numbers, not probabilities."""
        return self.task == "regression"

    @property
    def n_outputs(self) -> int:
        return 1 if self.is_number else len(self.labels)


def read_spec(about: Mapping[str, Any]) -> Spec:
    """Of `model.json`. Raises `KeyError` or `TypeError` for what is none."""
    kind = about["kind"]
    shape = (0, 0, 0)
    if kind == "image":
        height, width, channels = about["input"]["shape"][1:]
        shape = (height, width, channels)
    columns = about["encoding"]["columns"] if kind == "table" else ()
    features = tuple(
        Feature(one["name"], one["type"], one.get("form", ""), tuple(one.get("values", ())), one.get("mean", 0.0))
        for one in columns
    )
    return Spec(kind, about["task"], tuple(about["labels"]), shape, features, about)


def spell_cell(cell: Any, feature: Feature) -> Any:
    """A sample's cell, which is as the network takes it, as a user would write it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if feature.type == "date":
        if isinstance(cell, str):
            return cell
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=float(cell))
        has_time = day.time().replace(microsecond=0) != datetime.min.time() and not feature.form
        return day.strftime(feature.form or ("%Y-%m-%d %H:%M:%S" if has_time else "%Y-%m-%d"))
    if feature.type == "boolean":
        return bool(cell)
    if feature.type == "number":
        # float32 written shortly: 39.1, not 39.099998474121094
        value = json.loads(f"{cell:.7g}")
        return int(value) if value == int(value) else value
    return cell
