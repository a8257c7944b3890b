"""Which columns of a table a finished model leans on, in the time there is.

Owns which numbers that the network takes stand for a column, and what a worse answer is; the shuffling is
`explanation/permutation.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.types import Split
from railcar.explanation.permutation import choose_rows, measure_importance
from railcar.workflows.results import Finished

_N_TIMED = 512


def measure_columns(finished: Finished, split: Split, seed: int, until: float) -> tuple[list[dict[str, Any]], str]:
    """{"column", "drop", "deviation"} of each column, the most important first: how much the accuracy falls, of a
    regression how much the mean absolute error rises, in its unit. And a sentence where there was no time, till
    `until` by `time.monotonic`, to measure it as usual."""
    features = finished.dataset.features
    columns = place_columns(features.encoding or {})

    def answer(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(finished.network(tf.constant(rows), training=False))

    measured = finished.measured.splits[split.name]
    timed = np.resize(measured.rows, min(_N_TIMED, 4 * len(measured)))
    encoded = np.asarray(measured.inputs[timed], np.float32)
    answer(encoded)
    began = time.monotonic()
    answer(encoded)
    rows_per_s = len(timed) / max(time.monotonic() - began, 1e-6)
    n_rows, n_repeats = choose_rows(len(measured), len(columns), rows_per_s, until - time.monotonic())
    if not n_repeats:
        return [], "there was no time to measure the importance of the columns"
    chosen = np.sort(np.random.default_rng(seed).permutation(len(measured))[:n_rows])
    labels = measured.label_array()[chosen]
    scale = features.target[1] if features.target else 1.0

    def judge(answers: NDArray[np.float32]) -> float:
        if features.task == "regression":
            return float(np.abs(answers[:, 0].astype(np.float64) - labels).mean() * scale)
        return float((answers.argmax(axis=-1) != labels).mean())

    rows = np.asarray(measured.inputs[measured.rows[chosen]], np.float32)
    found = measure_importance(answer, rows, columns, judge, n_repeats=n_repeats, seed=seed, until=until)
    if not all(np.isfinite(one.drop) for one in found):
        return [], "the importance of the columns cannot be measured: answers of the model are no numbers"
    digits = [{"column": one.column, "drop": _plain(one.drop), "deviation": _plain(one.deviation)} for one in found]
    return digits, ""


def place_columns(encoding: Mapping[str, Any]) -> dict[str, list[int]]:
    """Where the numbers of each column stand in an encoded row, as `layers/tables.EncodeColumns` puts them: the numbers
    of all, then the codes of the categories."""
    places: dict[str, list[int]] = {}
    at = 0
    for column in encoding["columns"]:
        if column["type"] != "category":
            n_numbers = 1 + (4 if column["type"] == "date" else 0) + bool(column["has_gaps"])
            places[column["name"]] = list(range(at, at + n_numbers))
            at += n_numbers
    for column in encoding["columns"]:
        if column["type"] == "category":
            places[column["name"]] = [at]
            at += 1
    return places


def _plain(value: float) -> float:
    return float(f"{value:.6g}")
