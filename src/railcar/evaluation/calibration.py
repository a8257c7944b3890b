"""Whether probabilities can be believed, and the one number that mends most of it.

Pure functions of NumPy arrays. Guo et al., "On Calibration of Modern Neural Networks" (2017): of all answers of about
90% nine in ten should be right; dividing the logits by a temperature, found on the validation side, changes no answer
and brings them nearer to that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.evaluation.metrics import log_loss

N_BINS = 15
_SEARCH = (math.log(0.01), math.log(1000.0))
_GOLDEN = (math.sqrt(5) - 1) / 2


def measure_calibration(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], n_bins: int = N_BINS
) -> dict[str, Any]:
    """The expected calibration error and its bins, of the probability of each answer. `probabilities` [n, k], `labels`
    [n]. `bins` are those with examples in them: each from above `low` up to `high`, `n` examples, their mean
    `confidence` and the share that is right, `accuracy`."""
    confidence = probabilities.max(axis=-1).astype(np.float64)
    is_right = probabilities.argmax(axis=-1) == labels
    at = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    counts = np.bincount(at, minlength=n_bins)
    confidences = np.bincount(at, confidence, n_bins)
    rights = np.bincount(at, is_right, n_bins)
    bins = [
        {
            "low": index / n_bins,
            "high": (index + 1) / n_bins,
            "n": int(counts[index]),
            "confidence": float(confidences[index] / counts[index]),
            "accuracy": float(rights[index] / counts[index]),
        }
        for index in np.flatnonzero(counts).tolist()
    ]
    return {"ece": float(np.abs(confidences - rights).sum() / len(labels)), "bins": bins}


def brier_score(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The mean squared distance of the probabilities [n, k] from the right answers: 0 to 2 (Brier, 1950)."""
    squared = (probabilities.astype(np.float64) ** 2).sum(axis=-1)
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float((squared - 2 * of_label + 1).mean())


def mean_log_loss(logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0) -> float:
    """Of logits [n, k] divided by `temperature`, in nats."""
    return float(log_loss(logits.astype(np.float64) / temperature, labels).mean())


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature, 0.01 to 1,000, with the smallest log loss for logits [n, k] of `labels` [n]; convex in its
    inverse, so that it has one minimum, which is closed in on."""
    low, high = _SEARCH
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [mean_log_loss(logits, labels, math.exp(one)) for one in inner]
    while high - low > 1e-4:
        if losses[0] <= losses[1]:
            high = inner[1]
            inner = [high - _GOLDEN * (high - low), inner[0]]
            losses = [mean_log_loss(logits, labels, math.exp(inner[0])), losses[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + _GOLDEN * (high - low)]
            losses = [losses[1], mean_log_loss(logits, labels, math.exp(inner[1]))]
    return math.exp((low + high) / 2)
