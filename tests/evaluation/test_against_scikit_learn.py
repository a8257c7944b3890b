"""The figures of an evaluation are those of scikit-learn, of random answers and of degenerate ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special
from sklearn import metrics
from sklearn.calibration import calibration_curve

from railcar.evaluation.calibration import brier_score, fit_temperature, mean_log_loss, measure_calibration
from railcar.evaluation.curves import count_above, precision_recall_curve, roc_curve
from railcar.evaluation.describe import describe, describe_regression
from railcar.evaluation.metrics import softmax

sk: Any = metrics  # its types are guessed from its code, and wrong
SAME: dict[str, Any] = {"rel": 1e-6, "abs": 1e-6}


def make(kind: str, n_classes: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(logits [n, k], labels [n])"""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, n_classes, 400)
    logits = generator.normal(size=(400, n_classes)).astype(np.float32)
    logits[np.arange(400), labels] += 1.5
    if kind == "a class is absent":
        labels[labels == n_classes - 1] = 0
    elif kind == "all right":
        logits[np.arange(400), labels] += 30
    elif kind == "all wrong":
        logits[np.arange(400), labels] -= 30
    elif kind == "ties":
        logits = np.round(logits)
    elif kind == "all the same":
        logits[:] = 0
    elif kind == "one class only":
        labels[:] = 1
    elif kind == "few":
        logits, labels = logits[:3], labels[:3]
    return logits, labels


KINDS = ("random", "a class is absent", "all right", "all wrong", "ties", "all the same", "one class only", "few")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_classes", [2, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_a_classification_is_measured_as_by_scikit_learn(kind: str, n_classes: int):
    logits, labels = make(kind, n_classes)
    classes = list(range(n_classes))
    found = describe(logits, labels, [f"c{one}" for one in classes])
    probabilities, predicted = softmax(logits), logits.argmax(axis=-1)
    exact = special.softmax(logits.astype(np.float64), axis=-1)  # of float32 it takes away what is below 1e-7

    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted), **SAME)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted), **SAME)
    assert found["loss"] == pytest.approx(sk.log_loss(labels, exact, labels=classes), **SAME)
    np.testing.assert_array_equal(found["confusion"], sk.confusion_matrix(labels, predicted, labels=classes))
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    for row, *expected in zip(found["per_class"], precision, recall, f1, n, strict=True):
        assert [row[key] for key in ("precision", "recall", "f1", "n")] == pytest.approx(expected, **SAME)
    there = np.unique(labels)
    assert found["macro_f1"] == pytest.approx(
        sk.f1_score(labels, predicted, labels=there, average="macro", zero_division=0), **SAME
    )
    for k, value in found["top_k"].items():
        assert value == pytest.approx(sk.top_k_accuracy_score(labels, probabilities, k=int(k), labels=classes), **SAME)
    assert set(found["top_k"]) == ({"3", "5"} if n_classes == 7 else set())
    _check_areas(found, probabilities, labels)


def _check_areas(found: dict[str, Any], probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    areas = []
    for index, row in enumerate(found["per_class"]):
        positive, scores = labels == index, probabilities[:, index]
        if positive.all() or not positive.any():
            assert row["roc_auc"] is None
        else:
            assert row["roc_auc"] == pytest.approx(sk.roc_auc_score(positive, scores), **SAME)
            areas.append(row["roc_auc"])
        if positive.any():
            assert row["average_precision"] == pytest.approx(sk.average_precision_score(positive, scores), **SAME)
        else:
            assert row["average_precision"] is None
    if len(areas) == len(found["per_class"]) > 2:
        assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr"), **SAME)
    elif len(areas) == 2:
        assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, probabilities[:, 1]), **SAME)
    elif not areas:
        assert found["roc_auc"] is None


@pytest.mark.parametrize("kind", ["random", "ties", "all right", "all wrong", "all the same"])
def test_curves_are_those_of_scikit_learn(kind: str):
    logits, labels = make(kind, 2)
    positive, scores = labels == 1, softmax(logits)[:, 1]
    counts = count_above(scores, positive)
    roc, precision_recall = roc_curve(counts), precision_recall_curve(counts)
    assert roc is not None and precision_recall is not None
    expected = sk.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc[0], expected[0])
    np.testing.assert_allclose(roc[1], expected[1])
    precision, recall, thresholds = sk.precision_recall_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(precision_recall[0][::-1], recall[:-1])
    np.testing.assert_allclose(precision_recall[1][::-1], precision[:-1])
    np.testing.assert_allclose(counts.thresholds[::-1], thresholds)


def test_no_examples_have_no_curve():
    counts = count_above(np.zeros(0), np.zeros(0, bool))
    assert roc_curve(counts) is None and precision_recall_curve(counts) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_regression_is_measured_as_by_scikit_learn(seed: int):
    generator = np.random.default_rng(seed)
    targets = generator.normal(3, 2, 300).astype(np.float32)
    predicted = (targets + generator.normal(0.2, 1, 300)).astype(np.float32)
    found = describe_regression(predicted, targets, scale=2.0)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(targets, predicted), **SAME)
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(targets, predicted), **SAME)
    assert found["r2"] == pytest.approx(sk.r2_score(targets, predicted), **SAME)
    assert found["loss"] == pytest.approx(sk.mean_squared_error(targets, predicted) / 4, **SAME)
    assert found["bias"] == pytest.approx(float((predicted - targets).mean()), **SAME)
    assert found["error_quantiles"]["0.5"] == pytest.approx(float(np.median(predicted - targets)), **SAME)


@pytest.mark.parametrize("kind", ["random", "all right", "all wrong", "ties", "few"])
def test_calibration_is_that_of_scikit_learn(kind: str):
    logits, labels = make(kind, 5)
    probabilities = softmax(logits)
    found = measure_calibration(probabilities, labels, n_bins=10)
    confidence, is_right = probabilities.max(axis=-1), probabilities.argmax(axis=-1) == labels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares, means = calibration_curve(is_right, confidence, n_bins=10)
    assert [one["accuracy"] for one in found["bins"]] == pytest.approx(shares.tolist(), **SAME)
    assert [one["confidence"] for one in found["bins"]] == pytest.approx(means.tolist(), **SAME)
    weights = np.array([one["n"] for one in found["bins"]]) / len(labels)
    assert weights.sum() == pytest.approx(1.0)
    assert found["ece"] == pytest.approx(float((weights * np.abs(shares - means)).sum()), **SAME)
    one_hot = np.eye(5)[labels]
    assert brier_score(probabilities, labels) == pytest.approx(
        float(((one_hot - probabilities) ** 2).sum(axis=1).mean()), **SAME
    )


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_a_temperature_undoes_too_much_and_too_little_confidence(factor: float):
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 2, (4000, 4))
    labels = np.array([generator.choice(4, p=row) for row in softmax(logits)])
    temperature = fit_temperature(logits * factor, labels)
    assert temperature == pytest.approx(factor, rel=0.1)
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 400))
    best = min(mean_log_loss(logits * factor, labels, one) for one in grid)
    assert mean_log_loss(logits * factor, labels, temperature) <= best + 1e-9
    before = measure_calibration(softmax(logits * factor), labels)["ece"]
    after = measure_calibration(softmax(logits * factor / temperature), labels)["ece"]
    assert after < 0.03 and (factor == 1.0 or after < before / 3)
