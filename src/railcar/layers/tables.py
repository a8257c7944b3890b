"""Columns of a table -> a row of numbers, inside the model: standardised, gaps filled and marked, categories numbered.

The data of a training is encoded by the same layer when it is prepared, so training and prediction cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

_DAYS_A_YEAR = 365.2425


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


@keras.saving.register_keras_serializable("railcar")
class EncodeColumns(keras.layers.Layer):
    """A dict of columns, each [n], named as `name_inputs` does -> float32 [n, numbers]: first the numbers, then a code
    for each category column.

    `columns` is a list of dicts with `name` and `type`. A "number", "boolean" or "date" (float32, NaN for a gap; dates
    in days since 1970) has `mean` and `std`, and `has_gaps`: then a number of its own says where there was none, and a
    gap counts as the mean. A date gives its place in the year and in the week, too. A "category" (string, empty for a
    gap) has `values`: their codes begin with 2; 0 is a gap, 1 any other value.
    """

    def __init__(self, columns: Sequence[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **{key: value for key, value in kwargs.items() if key != "dtype"})
        self.columns = [dict(one) for one in columns]
        self.numbers = [one for one in self.columns if one["type"] != "category"]
        self.categories = [one for one in self.columns if one["type"] == "category"]
        self._lookups = [
            keras.layers.StringLookup(vocabulary=list(one["values"]), mask_token="", name=f"lookup{number}")
            for number, one in enumerate(self.categories)
        ]

    @property
    def n_numbers(self) -> int:
        """How many of the output are numbers; the rest are codes."""
        return sum(1 + (4 if one["type"] == "date" else 0) + bool(one["has_gaps"]) for one in self.numbers)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many codes each category column has."""
        return tuple(len(one["values"]) + 2 for one in self.categories)

    def build(self, input_shape: Any) -> None:
        for lookup in self._lookups:
            lookup.build((None,))

    def call(self, inputs: Mapping[str, Any]) -> Any:
        keys = name_inputs([one["name"] for one in self.columns])
        parts = [part for one in self.numbers for part in _encode_number(one, inputs[keys[one["name"]]])]
        for one, lookup in zip(self.categories, self._lookups, strict=True):
            parts.append(tf.cast(lookup(inputs[keys[one["name"]]]), tf.float32))
        return tf.stack(parts, axis=-1)

    def compute_output_spec(self, inputs: Mapping[str, Any], *args: Any, **kwargs: Any) -> keras.KerasTensor:
        n_rows = next(iter(inputs.values())).shape[0]
        return keras.KerasTensor((n_rows, self.n_numbers + len(self.categories)), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "columns": self.columns}


def _encode_number(column: Mapping[str, Any], values: Any) -> list[Any]:
    values = tf.cast(values, tf.float32)
    is_gap = tf.math.is_nan(values)
    known = tf.where(is_gap, tf.constant(column["mean"], tf.float32), values)
    parts = [(known - column["mean"]) / column["std"]]
    if column["type"] == "date":
        for days in (_DAYS_A_YEAR, 7.0):
            # The rest first: of a large angle float32 leaves a thousandth of a turn to chance.
            angle = tf.math.floormod(known, days) * (2.0 * math.pi / days)
            parts += [tf.where(is_gap, 0.0, tf.sin(angle)), tf.where(is_gap, 0.0, tf.cos(angle))]
    if column["has_gaps"]:
        parts.append(tf.cast(is_gap, tf.float32))
    return parts


@keras.saving.register_keras_serializable("railcar")
class SplitColumns(keras.layers.Layer):
    """float32 [n, numbers + categories] -> float32 [n, numbers] and int32 [n, categories]; the codes of the latter are
    counted on from column to column, so that one table of vectors serves all of them."""

    def __init__(self, n_numbers: int, cardinalities: Sequence[int], **kwargs: Any) -> None:
        super().__init__(dtype="float32", **{key: value for key, value in kwargs.items() if key != "dtype"})
        self.n_numbers = n_numbers
        self.cardinalities = tuple(cardinalities)

    def call(self, rows: Any) -> tuple[Any, Any]:
        starts = [sum(self.cardinalities[:number]) for number in range(len(self.cardinalities))]
        codes = tf.cast(rows[:, self.n_numbers :], tf.int32) + tf.constant(starts, tf.int32, (len(starts),))
        return rows[:, : self.n_numbers], codes

    def compute_output_spec(self, rows: Any, *args: Any, **kwargs: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        n_rows = rows.shape[0]
        codes = keras.KerasTensor((n_rows, len(self.cardinalities)), dtype="int32")
        return keras.KerasTensor((n_rows, self.n_numbers), dtype="float32"), codes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_numbers": self.n_numbers, "cardinalities": self.cardinalities}
