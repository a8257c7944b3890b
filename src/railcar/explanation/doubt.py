"""Labels that look wrong: the model is sure of another one, and so are the training examples nearest to it.

Pure NumPy. The first half is confident learning's (Northcutt, Jiang and Chuang, 2021, arXiv:1911.00068) with a bar that
is the same for all classes; the second keeps out answers that are merely far too sure. What is found are candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_CONFIDENCE = 0.9
"""Probability from which the model counts as sure."""
N_NEIGHBOURS = 3
"""So many of the nearest examples must all have the predicted label."""


def find_sure_mistakes(
    labels: NDArray[np.integer], probabilities: NDArray[np.float32], loss: NDArray[np.float64]
) -> NDArray[np.int64]:
    """int64 [k]: the examples to which the model gives another label with confidence, the most certain first.
    `labels` int [n], `probabilities` [n, n_classes]; `loss` float64 [n], the log loss, tells apart what is rounded to
    1."""
    predicted = probabilities.argmax(axis=1)
    is_sure = (predicted != labels) & (probabilities.max(axis=1) >= MIN_CONFIDENCE)
    rows = np.flatnonzero(is_sure)
    return rows[np.argsort(-loss[rows], kind="stable")]


def agree_with_neighbours(predicted: NDArray[np.integer], neighbour_labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """bool [m]: whether all of the nearest examples, labels int [m, k], have the `predicted` label, int [m]. Of fewer
    than `N_NEIGHBOURS` none is proof."""
    if neighbour_labels.shape[1] < N_NEIGHBOURS:
        return np.zeros(len(predicted), bool)
    return (neighbour_labels[:, :N_NEIGHBOURS] == predicted[:, None]).all(axis=1)
