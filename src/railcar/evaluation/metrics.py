"""Metrics of a classification, as pure functions of NumPy arrays. No files, no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(labels: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> NDArray[np.int64]:
    """int64 [n_classes, n_classes]: how many examples of the row's class were called the column's."""
    pairs = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def per_class(confusion: NDArray[np.int64], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, 0 where undefined (never predicted, or not there), and its count."""
    hits = np.diag(confusion).astype(float)
    n_true, n_predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    rows = []
    for index, name in enumerate(class_names):
        precision = float(hits[index] / n_predicted[index]) if n_predicted[index] else 0.0
        recall = float(hits[index] / n_true[index]) if n_true[index] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append({"class": name, "precision": precision, "recall": recall, "f1": f1, "n": int(n_true[index])})
    return rows


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927): honest near 0 and 1, where the usual +- is not."""
    if n == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share = n_right / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, center - half), min(1.0, center + half)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """float32 [n, k] probabilities, computed in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def log_loss(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """float64 [n]: the softmax cross entropy of each example, in nats."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(labels)), labels]


def find_mistakes(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """int64 [m]: the examples that are called another class than theirs, those first whose class got the least
    probability."""
    worst = np.argsort(-log_loss(logits, labels), kind="stable")
    return worst[logits.argmax(axis=-1)[worst] != labels[worst]]


def in_unit(
    outputs: NDArray[np.floating], labels: NDArray[np.floating], target: tuple[float, float] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predictions and targets of a regression, float32 [n] each, in the targets' own unit. `outputs` [n, 1] and
    `labels` [n] are scaled; `target` is the mean and the deviation that they were scaled by."""
    mean, std = target or (0.0, 1.0)
    unscaled = [np.asarray(one, np.float64) * std + mean for one in (outputs[:, 0], labels)]
    return unscaled[0].astype(np.float32), unscaled[1].astype(np.float32)


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """The mean of the recalls of the classes that are there."""
    n_true = confusion.sum(axis=1)
    there = n_true > 0
    return float((np.diag(confusion)[there] / n_true[there]).mean())


def top_k_accuracy(scores: NDArray[np.floating], labels: NDArray[np.integer], k: int) -> float:
    """The share whose class is among the `k` with the highest scores [n, n_classes]; of equal ones the later counts as
    the higher, as in scikit-learn."""
    best = np.argsort(scores, axis=-1, kind="stable")[:, ::-1][:, :k]
    return float((best == labels[:, None]).any(axis=-1).mean())
