from __future__ import annotations

import numpy as np
import pytest

from railcar.evaluation.describe import describe
from railcar.evaluation.metrics import confusion_matrix, find_mistakes, log_loss, per_class, softmax, wilson_interval


def test_a_confusion_matrix_counts_rows_of_truth_and_columns_of_answers():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])


def test_precision_recall_and_f1_of_each_class_also_where_undefined():
    rows = per_class(np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]]), ["a", "b", "c"])
    assert rows[1] == {"class": "b", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "n": 1}
    assert (rows[2]["precision"], rows[2]["recall"], rows[2]["f1"]) == (0.0, 0.0, 0.0)


def test_the_interval_is_wilsons():
    low, high = wilson_interval(98, 100)
    assert (low, high) == (pytest.approx(0.9300, abs=1e-4), pytest.approx(0.9945, abs=1e-4))
    assert wilson_interval(0, 10)[0] == 0.0 and wilson_interval(10, 10)[1] == pytest.approx(1.0)


def test_cross_entropy_is_exact_for_large_logits():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(log_loss(logits, np.array([1, 0])), [1000.0, np.log(2)])
    np.testing.assert_allclose(softmax(logits), [[1, 0], [0.5, 0.5]])


def test_an_evaluation_has_what_evaluation_json_promises():
    found = describe(np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), np.array([0, 1, 1]), ["no", "yes"])
    assert (found["n"], found["n_right"], found["accuracy"]) == (3, 2, pytest.approx(2 / 3))
    assert found["confusion"] == [[1, 0], [1, 1]]
    assert found["accuracy_95"][0] < 2 / 3 < found["accuracy_95"][1]


def test_mistakes_are_the_wrong_answers_the_least_likely_class_first():
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [0.0, 3.0]])
    np.testing.assert_array_equal(find_mistakes(logits, np.array([0, 0, 1, 1])), [2, 1])
