"""`evaluate --by COLUMN`: which group of a column's values each example is in, and the model's figures for each group.

Owns the way from a column's name to groups; the arithmetic is `evaluation/groups.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from railcar.data.source_columns import Origin, SourceColumn, read_source_column
from railcar.data.types import Dataset, Split
from railcar.errors import DataError
from railcar.evaluation.groups import (
    MAX_GROUPS,
    Grouping,
    group_dates,
    group_numbers,
    group_words,
    measure_group_errors,
    measure_groups,
)
from railcar.evaluation.metrics import in_unit
from railcar.evaluation.significance import LEVEL, correct_for_many
from railcar.workflows.inputs import Input


def name_columns(by: str | Sequence[str] | None) -> tuple[str, ...]:
    """The columns that are asked for, each once."""
    return tuple(dict.fromkeys([by] if isinstance(by, str) else by or ()))


def read_groups(given: Input, dataset: Dataset, split: Split, columns: Sequence[str]) -> dict[str, Grouping]:
    """The groups of the examples of `split`, by column. `given` is where `dataset` was read from. Raises `DataError`
    for a column that is not there, or that groups nothing. Imports no TensorFlow."""
    if not columns:
        return {}
    node = given.recipe.data
    sides = {"validation": node.validation, "test": node.test}
    others = {side: share for side, share in sides.items() if isinstance(share, str)}
    frame = None
    if given.arrays is not None and given.arrays.frame is not None:
        from railcar.storage.frames import to_frame

        frame = to_frame(given.arrays.frame)
    origin = Origin(node.source if given.arrays is None else "", frame, others, node.label, node.columns)
    return {name: _group(read_source_column(origin, dataset, split, name)) for name in columns}


def _group(column: SourceColumn) -> Grouping:
    if column.type == "number":
        return group_numbers(column.cells.fill_null(float("nan")).to_numpy())
    if column.type == "date":
        return group_dates(column.cells.fill_null(float("nan")).to_numpy())
    n = column.cells.n_unique()
    if n == len(column.cells) > MAX_GROUPS:
        raise DataError(
            f"column {column.name!r}: {n:,} different values in {n:,} examples make no groups",
            hint="name a column whose values are shared by many",
        )
    return group_words(column.cells.to_list())


def measure_by_groups(finished: Any, split: Split, groups: Mapping[str, Grouping]) -> dict[str, Any]:
    """What evaluation.json has under `groups` of a split: of each column its groups' figures, and `p` for whether they
    differ, corrected for the number of columns. `finished` is a `results.Finished`."""
    if not groups:
        return {}
    features, logits, labels = finished.dataset.features, finished.logits(split), split.label_array()
    found: dict[str, Any] = {}
    for column, grouping in groups.items():
        if features.task == "regression":
            found[column] = measure_group_errors(grouping, *in_unit(logits, labels, features.target))
        else:
            found[column] = measure_groups(grouping, labels, logits.argmax(axis=-1), features.n_classes)
    for one, p in zip(found.values(), correct_for_many([one["p"] for one in found.values()]), strict=True):
        one |= {"p": p, "is_real": p < LEVEL}
    return {"groups": found}


def keep_groups(before: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """`evaluation` with the groups of columns that were measured `before`, by the same checkpoint, and are not now."""
    kept = dict(evaluation)
    for name, one in evaluation.items():
        known = before.get(name)
        if isinstance(one, dict) and isinstance(known, dict) and known.get("groups"):
            kept[name] = {**one, "groups": {**known["groups"], **one.get("groups", {})}}
    return kept
