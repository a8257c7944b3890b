"""A split's figures for each value of a column: for whom, or where, a model is worse than its average says.

Pure functions of NumPy arrays: which example is in which group, what each group is measured to be, and whether they
differ by more than luck (`homogeneity.py`). Where a column comes from is not its business.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.evaluation.homogeneity import Verdict, compare_means, compare_shares
from railcar.evaluation.metrics import balanced_accuracy, confusion_matrix, wilson_interval
from railcar.evaluation.significance import LEVEL, correct_for_many

MAX_GROUPS = 20
MAX_SINGLE_NUMBERS = 10
"""So many different numbers, such as years or marks, are a group each; of more, the quartiles are."""
MAX_MONTHS = 12
FEWEST = 10
"""Smaller groups are shown and not compared, where two others are: one example would decide."""
NO_VALUE = "no value"
FORMS = ("values", "numbers", "quartiles", "years", "months", "days")


@dataclass(frozen=True)
class Grouping:
    """`codes` int64 [n] say which of the groups `names` each example is in; none of them is empty. `form` is one of
    `FORMS`; "quartiles" have `edges`, the numbers between them. `rest` is the number of the group of all values that
    have none of their own, and `n_rest` how many values those are; None and 0 where each has one."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    form: str
    edges: tuple[float, ...] = ()
    rest: int | None = None
    n_rest: int = 0


def group_words(words: Sequence[str | None]) -> Grouping:
    """By the words themselves, the most frequent first; what has none is the last."""
    counts = Counter(word for word in words if word is not None)
    names = sorted(counts, key=lambda word: (-counts[word], word))
    numbers = {name: number for number, name in enumerate(names)}
    return _gather(np.array([-1 if word is None else numbers[word] for word in words], np.int64), names, "values")


def group_numbers(values: NDArray[np.floating]) -> Grouping:
    """By value where there are few, else by quartiles, each from above its lower edge up to its upper one. NaN is no
    value."""
    is_there = ~np.isnan(values)
    present = values[is_there]
    different = np.unique(present)
    if len(different) <= MAX_SINGLE_NUMBERS:
        codes = np.where(is_there, np.searchsorted(different, values), -1)
        return _gather(codes, [_show(one, 15) for one in different.tolist()], "numbers")
    edges = np.unique(np.quantile(present, [0.25, 0.5, 0.75]))
    edges = edges[edges < different[-1]]  # nobody is above the largest
    if not len(edges):
        edges = different[-2:-1]
    codes = np.where(is_there, np.searchsorted(edges, values), -1)
    return _gather(codes, _name_ranges(edges.tolist()), "quartiles", tuple(edges.tolist()))


def group_dates(days: NDArray[np.floating]) -> Grouping:
    """Of days since 1970, the earliest first: by year, by month where they span at most twelve, by day within one
    month. NaN is no value."""
    is_there = ~np.isnan(days)
    dates = np.floor(days[is_there]).astype(np.int64).astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    n_months = int(np.ptp(months)) + 1 if len(months) else 0
    form, unit = ("days", "D") if n_months <= 1 else ("months", "M") if n_months <= MAX_MONTHS else ("years", "Y")
    different, numbers = np.unique(dates.astype(f"datetime64[{unit}]"), return_inverse=True)
    codes = np.full(len(days), -1, np.int64)
    codes[is_there] = numbers
    return _gather(
        codes, [str(one) for one in different.tolist()] if unit == "D" else different.astype(str).tolist(), form
    )


def _gather(codes: NDArray[np.integer], names: Sequence[str], form: str, edges: tuple[float, ...] = ()) -> Grouping:
    """`codes` [n] are numbers of `names`, -1 where there is no value. Of more than 20 groups the largest stay, in their
    order, and the others become one, the last."""
    names = [*names, NO_VALUE]
    codes = np.where(codes < 0, len(names) - 1, codes)
    counts = np.bincount(codes, minlength=len(names))
    used = np.flatnonzero(counts)
    kept = used
    if len(used) > MAX_GROUPS:
        kept = np.sort(used[np.argsort(-counts[used], kind="stable")][: MAX_GROUPS - 1])
    n_rest = len(used) - len(kept)
    table = np.full(len(names), len(kept), np.int64)
    table[kept] = np.arange(len(kept))
    shown = [names[one] for one in kept.tolist()] + ([f"{n_rest:,} other values"] if n_rest else [])
    return Grouping(table[codes], tuple(shown), form, edges, len(kept) if n_rest else None, n_rest)


def _name_ranges(edges: Sequence[float]) -> list[str]:
    digits = next((n for n in (4, 6, 9) if len({_show(edge, n) for edge in edges}) == len(edges)), 17)
    shown = [_show(edge, digits) for edge in edges]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
    return [f"up to {shown[0]}", *between, f"above {shown[-1]}"]


def _show(number: float, digits: int) -> str:
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.{digits}g}"


def measure_groups(
    grouping: Grouping, labels: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> dict[str, Any]:
    """Of a classification: of each group `n`, `n_right`, `accuracy` with its 95% interval, and `balanced_accuracy` over
    the classes that it has. `labels` and `predicted` [n] are class numbers."""
    rows = []
    for number, name in enumerate(grouping.names):
        where = grouping.codes == number
        confusion = confusion_matrix(labels[where], predicted[where], n_classes)
        n, n_right = int(where.sum()), int(np.trace(confusion))
        interval = list(wilson_interval(n_right, n))
        figures = {"n": n, "n_right": n_right, "accuracy": n_right / n, "accuracy_95": interval}
        rows.append({"group": name, **figures, "balanced_accuracy": balanced_accuracy(confusion)})
    compared = _choose_compared(rows)
    n_right, n = (np.array([rows[one][key] for one in compared]) for key in ("n_right", "n"))
    return _conclude(grouping, rows, compared, compare_shares(n_right, n), "accuracy")


def measure_group_errors(
    grouping: Grouping, predicted: NDArray[np.floating], targets: NDArray[np.floating]
) -> dict[str, Any]:
    """Of a regression: of each group `n`, mean absolute error, root of the mean squared error and bias, the mean of
    predicted less right. Both [n], in the targets' unit. What is compared is the mean absolute error."""
    errors = predicted.astype(np.float64) - targets
    rows = []
    for number, name in enumerate(grouping.names):
        own = errors[grouping.codes == number]
        figures = {
            "mae": float(np.abs(own).mean()),
            "rmse": math.sqrt(float((own**2).mean())),
            "bias": float(own.mean()),
        }
        rows.append({"group": name, "n": len(own), **figures})
    compared = _choose_compared(rows)
    table = np.full(len(rows), -1, np.int64)
    table[compared] = np.arange(len(compared))
    codes = table[grouping.codes]
    verdict = compare_means(np.abs(errors[codes >= 0]), codes[codes >= 0], len(compared))
    return _conclude(grouping, rows, compared, verdict, "mae")


def _choose_compared(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Numbers of the groups that are compared: by size alone, which says nothing of the outcome."""
    large = [number for number, row in enumerate(rows) if row["n"] >= FEWEST]
    return large if len(large) > 1 else list(range(len(rows)))


def _conclude(
    grouping: Grouping, rows: list[dict[str, Any]], compared: Sequence[int], verdict: Verdict, measure: str
) -> dict[str, Any]:
    """The groups with what their differences are worth. A group `is_apart` from all others together where its own `p`,
    corrected for their number, says so, and that of all groups does; of one that is not compared `p` is None."""
    p_each = correct_for_many(verdict.p_each) if len(compared) > 2 else list(verdict.p_each)
    known = dict(zip(compared, p_each, strict=True))
    for number, row in enumerate(rows):
        p = known.get(number)
        row |= {"p": p, "is_apart": p is not None and p < LEVEL and verdict.p < LEVEL}
    named = [rows[number] for number in compared if number != grouping.rest]
    high, low = (choose(named, key=lambda row: row[measure]) for choose in (max, min))
    difference = {"measure": measure, "value": high[measure] - low[measure]}
    return {
        "form": grouping.form,
        "edges": list(grouping.edges),
        "n_rest": grouping.n_rest,
        "fewest": FEWEST,
        "groups": rows,
        "difference": {**difference, "high": high["group"], "low": low["group"]},
        "p": verdict.p,
        "is_real": verdict.p < LEVEL,
    }
