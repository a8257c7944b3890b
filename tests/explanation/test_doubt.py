"""Which labels are doubted."""

from __future__ import annotations

import numpy as np

from railcar.explanation.doubt import agree_with_neighbours, find_sure_mistakes


def test_only_mistakes_that_the_model_is_sure_of_are_suspects_the_most_certain_first() -> None:
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.2, 0.8], [0.01, 0.99], [0.0, 1.0]], np.float32)
    labels = np.array([0, 1, 0, 0, 0])
    loss = -np.log(np.maximum(probabilities[np.arange(5), labels], 1e-9)).astype(np.float64)

    assert find_sure_mistakes(labels, probabilities, loss).tolist() == [4, 3, 1]


def test_all_three_neighbours_must_have_the_predicted_label() -> None:
    near = np.array([[1, 1, 1], [1, 0, 1], [1, 1, -1]])
    assert agree_with_neighbours(np.array([1, 1, 1]), near).tolist() == [True, False, False]
    assert agree_with_neighbours(np.array([1]), np.array([[1, 1]])).tolist() == [False]
    assert agree_with_neighbours(np.empty(0, np.int64), np.empty((0, 3), np.int64)).tolist() == []
