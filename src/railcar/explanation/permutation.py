"""How much a model leans on each column of a table: how much worse it gets when the column's values are shuffled among
the rows (Breiman, 2001, "Random Forests", section 10; Fisher, Rudin and Dominici, 2019, arXiv:1801.01489).

Pure NumPy: takes a function that answers, and one that says how bad answers are. Of columns that say the same the
model may lean on either: both may then look unimportant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Encoded rows float32 [m, d] -> answers [m, n_outputs]."""
Judge = Callable[[NDArray[np.float32]], float]
"""Answers to all rows, in their order -> how bad they are: 1 - accuracy, or a mean error."""

N_REPEATS = 5
MAX_ROWS = 2000
_MIN_ROWS = 100
_BATCH = 8192


@dataclass(frozen=True)
class Importance:
    """`drop` is how much worse the answers get without the column, the mean over the repeats, and `deviation` the
    standard deviation over them."""

    column: str
    drop: float
    deviation: float


def choose_rows(n: int, n_columns: int, rows_per_s: float, seconds: float) -> tuple[int, int]:
    """(rows, repeats) that fit into `seconds`, of `n` rows at most `MAX_ROWS`: fewer repeats first, then fewer rows,
    not below 100; (0, 0) where not even these fit."""
    affordable = max(seconds, 0.0) * rows_per_s / max(n_columns, 1)
    n_rows = min(n, MAX_ROWS)
    if affordable < n_rows:
        n_rows = min(n_rows, max(int(affordable), _MIN_ROWS))
    n_repeats = min(int(affordable / max(n_rows, 1)), N_REPEATS)
    return (n_rows, n_repeats) if n_repeats else (0, 0)


def measure_importance(
    answer: Answer,
    rows: NDArray[np.float32],
    columns: Mapping[str, Sequence[int]],
    judge: Judge,
    *,
    n_repeats: int = N_REPEATS,
    seed: int = 0,
    until: float = float("inf"),
) -> list[Importance]:
    """The columns, the most important first. `rows` float32 [n, d] as the network takes them; `columns` says which of
    their numbers stand for a column: these are shuffled together. `judge` is given the answers to all of `rows`.

    Ends with the repeats that it has at `until`, by `time.monotonic`; the first is always made.
    """
    whole = judge(_answer_in_batches(answer, rows))
    generator = np.random.default_rng(seed)
    falls: list[list[float]] = []
    for _ in range(n_repeats):
        order = generator.permutation(len(rows))
        falls.append([judge(found) - whole for found in _answer_shuffled(answer, rows, columns, order)])
        if time.monotonic() > until:
            break
    table = np.array(falls, np.float64).reshape(len(falls), len(columns))
    found = [Importance(name, float(table[:, at].mean()), float(table[:, at].std())) for at, name in enumerate(columns)]
    return sorted(found, key=lambda one: -one.drop)


def _answer_shuffled(
    answer: Answer, rows: NDArray[np.float32], columns: Mapping[str, Sequence[int]], order: NDArray[np.int64]
) -> list[NDArray[np.float32]]:
    """For each column the answers to all rows with that column in `order`; small tables are asked about together."""
    n, found = len(rows), []
    names = list(columns)
    n_together = max(_BATCH // max(n, 1), 1)
    for start in range(0, len(names), n_together):
        some = names[start : start + n_together]
        changed = np.concatenate([rows] * len(some))
        for at, name in enumerate(some):
            places = list(columns[name])
            changed[at * n : (at + 1) * n, places] = rows[order][:, places]
        answers = _answer_in_batches(answer, changed)
        found += [answers[at * n : (at + 1) * n] for at in range(len(some))]
    return found


def _answer_in_batches(answer: Answer, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [answer(rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)]
    return np.concatenate(parts)
