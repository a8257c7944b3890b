"""How well scores put the examples of a class before the others: ROC and precision-recall curves and their areas.

Pure functions of NumPy arrays: `scores` float [n], `positive` bool [n]. Values are those of scikit-learn; where it has
none to give (no example of the class, or nothing but them), they are None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """At each distinct score, from the highest down: how many examples have at least that much. int64 [m] each."""

    hits: NDArray[np.int64]
    false_alarms: NDArray[np.int64]
    thresholds: Floats

    @property
    def n_positive(self) -> int:
        return int(self.hits[-1]) if len(self.hits) else 0

    @property
    def n_negative(self) -> int:
        return int(self.false_alarms[-1]) if len(self.false_alarms) else 0


def count_above(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Counts:
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    sorted_scores = scores[order].astype(np.float64)
    ends = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True)) if len(scores) else np.zeros(0, np.int64)
    hits = np.cumsum(positive[order], dtype=np.int64)[ends]
    return Counts(hits, ends + 1 - hits, sorted_scores[ends])


def roc_curve(counts: Counts) -> tuple[Floats, Floats] | None:
    """(false positive rate, true positive rate), float64 [m + 1] each, from (0, 0) to (1, 1)."""
    if not counts.n_positive or not counts.n_negative:
        return None
    rates = (counts.false_alarms / counts.n_negative, counts.hits / counts.n_positive)
    return np.append(0.0, rates[0]), np.append(0.0, rates[1])


def roc_auc(counts: Counts) -> float | None:
    """The probability that an example of the class has the higher score than one of the others, ties counted half
    (Hanley and McNeil, 1982)."""
    curve = roc_curve(counts)
    return None if curve is None else float(np.trapezoid(curve[1], curve[0]))


def precision_recall_curve(counts: Counts) -> tuple[Floats, Floats] | None:
    """(recall, precision), float64 [m] each, from the highest score down."""
    if not counts.n_positive:
        return None
    return counts.hits / counts.n_positive, counts.hits / (counts.hits + counts.false_alarms)


def average_precision(counts: Counts) -> float | None:
    """The mean of the precision over the recall that each step gains: the area under the curve without
    interpolation."""
    curve = precision_recall_curve(counts)
    if curve is None:
        return None
    recall, precision = curve
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
