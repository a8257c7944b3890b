"""Columns that give the label away: what would not be known yet when the model is asked.

Owns the search, one column at a time, for rules that are too simple to be right as often as they are. It is
conservative: a column that is named deserves a look, and one that is merely useful is not named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from railcar.storage.columns import Column, decode_cells

if TYPE_CHECKING:
    import polars as pl

MAX_ROWS = 20_000
MIN_ROWS = 40
MIN_ROWS_PER_VALUE = 10
MIN_ACCURACY = 0.95
MAX_ERRORS_LEFT = 0.2
"""Of the errors of always naming the most frequent label, how many a rule may leave."""
MIN_FILLED_ROWS = 30
MAX_CHANCE = 1e-6
MIN_CORRELATION = 0.9999
MAX_COUNTS = 5_000_000


@dataclass(frozen=True)
class Answers:
    """Labels as int64 [n] codes of 0 to `n_classes` - 1, their `names`, and bool [n], in which half each row is."""

    codes: NDArray[np.int64]
    names: list[str]
    half: NDArray[np.bool_]

    @property
    def n_classes(self) -> int:
        return len(self.names)

    @property
    def majority(self) -> float:
        return float(np.bincount(self.codes).max() / len(self.codes))

    def is_suspicious(self, accuracy: float) -> bool:
        return accuracy >= MIN_ACCURACY and 1 - accuracy <= MAX_ERRORS_LEFT * (1 - self.majority)


def find_giveaways(frame: pl.DataFrame, labels: pl.Series, columns: Sequence[Column]) -> list[tuple[str, str]]:
    """(name, reason) of the `columns` of `frame` from which alone the label follows; the frame is as it was read, or as
    `to_typed` gives it.

    A rule is made on one half of the rows and tried on the other, and the other way round: from whether the value is
    there, from the value (those with ten rows and more), or from a threshold. For labels that are floats, it is the
    correlation. Of large tables, 20,000 rows are looked at.
    """
    rows = np.flatnonzero(labels.is_not_null().to_numpy())
    if len(rows) < MIN_ROWS:
        return []
    rows = np.random.default_rng(0).permutation(rows)[:MAX_ROWS]
    labels = labels[rows]
    found = []
    if labels.dtype.is_float():
        target = labels.to_numpy()
        reasons = (
            (column.name, _find_copy(_to_numbers(frame[column.name][rows], column), target)) for column in columns
        )
        return [(name, reason) for name, reason in reasons if reason]
    names, codes = np.unique(labels.cast(str).to_numpy().astype(str), return_inverse=True)
    answers = Answers(codes.astype(np.int64), names.tolist(), np.arange(len(rows)) % 2 == 0)
    if answers.n_classes < 2:
        return []
    for column in columns:
        if reason := _explain_column(frame[column.name][rows], column, answers):
            found.append((column.name, reason))
    return found


def _explain_column(values: pl.Series, column: Column, answers: Answers) -> str:
    """Why the column gives the label away; empty when it does not."""
    numbers = _to_numbers(values, column)
    if column.type == "category":
        words = ["" if word is None else f"={word}" for word in decode_cells(values, column)[0].to_list()]
        distinct, groups = np.unique(np.array(words), return_inverse=True)
        is_there = np.array([bool(word) for word in words])
    else:
        distinct, groups = np.unique(numbers, return_inverse=True)
        is_there = ~np.isnan(numbers)
    accuracy = _score_groups(is_there.astype(np.int64), 2, answers)
    if answers.is_suspicious(accuracy):
        return f"its being empty or not tells {_percent(accuracy)} of the labels"
    accuracy = _score_groups(groups.astype(np.int64), len(distinct), answers)
    if answers.is_suspicious(accuracy):
        return f"its value alone tells {_percent(accuracy)} of the labels"
    if column.type != "category":
        accuracy, threshold = _score_threshold(numbers, answers)
        if answers.is_suspicious(accuracy):
            return f"whether it is above {threshold:.3g} tells {_percent(accuracy)} of the labels"
    return _explain_purity(is_there, answers)


def _to_numbers(values: pl.Series, column: Column) -> NDArray[np.float64]:
    """float64 [n], NaN where a value is missing (and for words)."""
    if column.type == "category":
        return np.full(len(values), np.nan)
    numbers = values if values.dtype.is_float() else decode_cells(values, column)[0]
    return numbers.to_numpy().astype(np.float64)


def _score_groups(groups: NDArray[np.int64], n_groups: int, answers: Answers) -> float:
    """The accuracy of naming the most frequent label of the row's group, as the other half has it; of a small group,
    the most frequent label of all."""
    if n_groups * answers.n_classes > MAX_COUNTS:
        return 0.0
    n_right = 0
    for known in (answers.half, ~answers.half):
        cells = groups[known] * answers.n_classes + answers.codes[known]
        counts = np.bincount(cells, minlength=n_groups * answers.n_classes).reshape(n_groups, -1)
        guess = counts.argmax(axis=1)
        guess[counts.sum(axis=1) < MIN_ROWS_PER_VALUE // 2] = counts.sum(axis=0).argmax()
        n_right += int((guess[groups[~known]] == answers.codes[~known]).sum())
    return n_right / len(groups)


def _score_threshold(numbers: NDArray[np.float64], answers: Answers) -> tuple[float, float]:
    """The accuracy of naming one label above the best threshold and another below; and the threshold."""
    is_there = ~np.isnan(numbers)
    if is_there.sum() < MIN_ROWS or is_there.sum() * answers.n_classes > MAX_COUNTS:
        return 0.0, 0.0
    n_right, threshold = 0, 0.0
    for known in (answers.half, ~answers.half):
        chosen = np.flatnonzero(known & is_there)
        chosen = chosen[np.argsort(numbers[chosen], kind="stable")]
        below = np.cumsum(np.eye(answers.n_classes, dtype=np.int64)[answers.codes[chosen]], axis=0)
        above = below[-1] - below
        score = below.max(axis=1) + above.max(axis=1)
        score[:-1][numbers[chosen[:-1]] == numbers[chosen[1:]]] = 0
        best = int(score[:-1].argmax())
        threshold = float(numbers[chosen[best : best + 2]].mean())
        guess = np.where(numbers > threshold, above[best].argmax(), below[best].argmax())
        guess[~is_there] = np.bincount(answers.codes[known]).argmax()
        n_right += int((guess[~known] == answers.codes[~known]).sum())
    return n_right / len(numbers), threshold


def _explain_purity(is_there: NDArray[np.bool_], answers: Answers) -> str:
    """A column that is filled in for the examples of one label only, more often than chance would have it."""
    counts = np.bincount(answers.codes[is_there], minlength=answers.n_classes)
    n, best = int(counts.sum()), int(counts.argmax())
    share = float((answers.codes == best).mean())
    if n < MIN_FILLED_ROWS or n == len(is_there) or counts[best] < n or share**n > MAX_CHANCE:
        return ""
    return f"where it is filled in ({n:,} rows), the label is always {answers.names[best]!r}"


def _find_copy(numbers: NDArray[np.float64], target: NDArray[np.float64]) -> str:
    both = np.isfinite(numbers) & np.isfinite(target)
    if both.sum() < MIN_ROWS or np.ptp(numbers[both]) == 0 or np.ptp(target[both]) == 0:
        return ""
    correlation = float(np.corrcoef(numbers[both], target[both])[0, 1])
    return (
        f"it is the label, but for its scale (correlation {correlation:.4f})"
        if abs(correlation) > MIN_CORRELATION
        else ""
    )


def _percent(accuracy: float) -> str:
    return f"{int(accuracy * 100)}%"
