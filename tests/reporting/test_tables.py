"""Tables of results as text: what stands in them, within 80 columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from railcar.evaluation.describe import describe, describe_regression
from railcar.reporting.tables import format_details


def evaluate(n_classes: int, *, absent: bool = False, name: str = "class") -> dict[str, Any]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, n_classes - absent, 500)
    logits = generator.normal(size=(500, n_classes))
    logits[np.arange(500), labels] += 2
    return {"checkpoint": "step-1", "test": describe(logits, labels, [f"{name} {at}" for at in range(n_classes)])}


def test_each_class_has_a_line_and_what_is_not_defined_is_left_out():
    evaluation = evaluate(3, absent=True)
    text = format_details(evaluation)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    one = evaluation["test"]
    assert f"balanced accuracy {one['balanced_accuracy']:.2%}" in text
    assert f"ROC area {one['roc_auc']:.4f}" in text.replace("\n", " ")
    assert f"calibration error {one['calibration']['ece']:.2%}" in text.replace("\n", " ")
    assert [line.split()[:2] for line in lines[-3:-1]] == [["class", str(at)] for at in range(2)]
    assert lines[-1] == "and 1 of which there was none to test by"
    assert len(lines[-2].split()) == 7


def test_of_many_classes_those_found_worst_are_shown_and_long_names_are_cut():
    evaluation = evaluate(100, name="a name that is longer than what fits into the table")
    lines = format_details(evaluation).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "and 80 more, which are found better"
    scores = [float(line.split()[-3]) for line in lines[-21:-1]]
    assert scores == sorted(scores) and max(scores) <= np.median([row["f1"] for row in evaluation["test"]["per_class"]])
    assert "…" in lines[-2]
    assert "top 3" in " ".join(lines) and "top 5" in " ".join(lines)


def test_of_a_regression_the_spread_of_the_errors_is_told():
    predicted = np.array([1.0, 2.0, 3.0, 4.0, 9.0], np.float32)
    targets = np.array([1.0, 2.0, 4.0, 4.0, 5.0], np.float32)
    text = format_details({"checkpoint": "x", "validation": describe_regression(predicted, targets, scale=1.0)})
    assert text.startswith("errors of validation: mean +0.6, median +0,") and max(map(len, text.splitlines())) <= 80
