"""What evaluation.json says of one split: all figures of a classification or of a regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.evaluation.calibration import brier_score, measure_calibration
from railcar.evaluation.curves import average_precision, count_above, roc_auc
from railcar.evaluation.metrics import (
    balanced_accuracy,
    confusion_matrix,
    log_loss,
    per_class,
    softmax,
    top_k_accuracy,
    wilson_interval,
)

_TOP = (3, 5)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def describe(logits: NDArray[np.floating], labels: NDArray[np.integer], class_names: Sequence[str]) -> dict[str, Any]:
    """Of a classification. `logits` [n, k], `labels` [n]. What is not defined, as the area under the ROC curve of a
    class that is not there, is None; the areas of all are the means of those that are defined, and of two classes that
    of the second."""
    predicted = logits.argmax(axis=-1)
    n_right = int((predicted == labels).sum())
    confusion = confusion_matrix(labels, predicted, len(class_names))
    probabilities = softmax(logits)
    rows = per_class(confusion, class_names)
    for index, row in enumerate(rows):
        counts = count_above(probabilities[:, index], labels == index)
        row |= {"roc_auc": roc_auc(counts), "average_precision": average_precision(counts)}
    there = [row for row in rows if row["n"]]
    return {
        "n": len(labels),
        "n_right": n_right,
        "accuracy": n_right / len(labels),
        "accuracy_95": list(wilson_interval(n_right, len(labels))),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": sum(row["f1"] for row in there) / len(there),
        "top_k": {str(k): top_k_accuracy(probabilities, labels, k) for k in _TOP if k < len(class_names)},
        "loss": float(log_loss(logits, labels).mean()),
        "brier": brier_score(probabilities, labels),
        "roc_auc": _summarize(rows, "roc_auc"),
        "average_precision": _summarize(rows, "average_precision"),
        "calibration": measure_calibration(probabilities, labels),
        "per_class": rows,
        "confusion": confusion.tolist(),
    }


def _summarize(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    found = [row[key] for row in (rows[1:] if len(rows) == 2 else rows) if row[key] is not None]
    return sum(found) / len(found) if found else None


def describe_regression(
    predicted: NDArray[np.floating], targets: NDArray[np.floating], *, scale: float
) -> dict[str, Any]:
    """Of a regression: mean absolute error, root of the mean squared error, R2, the share of the targets' variance that
    is explained, quantiles of the errors (predicted less right), and the loss, the mean squared error in units of
    `scale`. Both [n], in the targets' unit."""
    errors = predicted.astype(np.float64) - targets
    squared = float((errors**2).mean())
    variance = float(np.var(targets.astype(np.float64)))
    return {
        "n": len(targets),
        "mae": float(np.abs(errors).mean()),
        "rmse": math.sqrt(squared),
        "r2": 1.0 - squared / variance if variance else 0.0,
        "bias": float(errors.mean()),
        "error_quantiles": {f"{one:g}": float(np.quantile(errors, one)) for one in _QUANTILES},
        "loss": squared / scale**2,
    }
