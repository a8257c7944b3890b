"""What a report says to do next: each rule, where it speaks and where it is silent."""

from __future__ import annotations

from typing import Any

import pytest

from railcar.evaluation.metrics import wilson_interval
from railcar.reporting.advice import Result, advise


def measured(n_right: int = 950, n: int = 1000, **more: Any) -> dict[str, Any]:
    """A split of a classification with three classes that are found about equally well."""
    low, high = wilson_interval(n_right, n)
    share = n_right / n
    names = ("cat", "dog", "owl")
    per_class = [{"class": name, "precision": share, "recall": share, "f1": share, "n": n // 3} for name in names]
    split = {"n": n, "n_right": n_right, "accuracy": share, "accuracy_95": [low, high], "per_class": per_class}
    return {**split, "calibration": {"ece": 0.01}, **more}


def rows(losses: list[float], train: float = 0.95, held: float = 0.95, rise: float = 0.0) -> list[dict[str, Any]]:
    steps = range(100, 100 * len(losses) + 1, 100)
    return [
        {"step": step, "accuracy": train, "val_accuracy": held - rise * (steps[-1] - step), "val_loss": loss}
        for step, loss in zip(steps, losses, strict=True)
    ]


FALLING = [0.9, 0.7, 0.5, 0.4, 0.3, 0.2]
STEADY = [0.5, 0.3, 0.25, 0.24, 0.24, 0.245]


def said(evaluation: dict[str, Any], losses: list[float] = STEADY, **more: Any) -> list[str]:
    logged = rows(losses, more.pop("train", 0.95), more.pop("held", 0.95), more.pop("rise", 0.0))
    result = Result({"checkpoint": "step-00000200", **evaluation}, logged, **more)
    return [f"{one.level}: {one.what}; {one.mend}" for one in advise(result)]


def test_of_a_good_result_nothing_is_said():
    assert said({"test": measured(), "validation": measured()}) == []


COLUMNS = [{"column": "id", "drop": 0.5}, {"column": "a", "drop": 0.0}, {"column": "b", "drop": 0.01}]
GOOD = measured()


@pytest.mark.parametrize(
    ("expected", "test", "more"),
    [
        ("error: it is hardly better than always saying", measured(340), {}),
        ("warning: it knows its training examples by heart (overfitting): 99.0%", GOOD, {"train": 0.99, "held": 0.9}),
        ("warning: it was still learning at the end", GOOD, {"losses": FALLING, "rise": 1e-4}),
        (
            "note: the loss on validation was lowest at step 200 of 600",
            GOOD,
            {"losses": [0.5, 0.3, 0.33, 0.4, 0.4, 0.5]},
        ),
        ("warning: it fits even its training examples badly (60.0%", measured(600), {"train": 0.6, "held": 0.6}),
        ("warning: all 1,000 examples are right: too good to be true", measured(1000), {}),
        ("note: it was measured on 60 examples only", measured(55, 60), {}),
        ("note: its probabilities are off by 6.0% on average", measured(calibration={"ece": 0.06}), {}),
        ("warning: the test data is not like the validation data", GOOD, {"validation": measured(990)}),
        ("note: 3 labels look wrong", GOOD, {"n_doubtful": 3}),
        ("warning: the column id decides nearly alone", GOOD, {"importance": COLUMNS}),
    ],
)
def test_each_rule_speaks_where_it_applies(expected: str, test: dict[str, Any], more: dict[str, Any]):
    sides = {name: more[name] for name in more if name == "validation"}
    found = said({"test": test, **sides}, **{name: value for name, value in more.items() if name not in sides})
    assert [line for line in found if line.startswith(expected)], found


def test_what_falls_in_loss_alone_or_is_next_to_nothing_is_no_reason_to_train_on_or_to_stop_sooner():
    assert said({"test": GOOD}, FALLING) == []
    assert said({"test": GOOD}, [1e-4, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]) == []


def test_what_was_seen_less_than_once_and_what_was_not_tested_is_told():
    split = measured()
    split["per_class"][1] |= {"n": 0, "f1": 0.0}
    (line,) = said({"test": split})
    assert line.startswith("warning: there was nothing to test 1 of 3 classes by: dog")
    logged = [{"step": 10, "epoch": 0.5, "accuracy": 0.6, "val_accuracy": 0.6}]
    (first, *_) = advise(Result({"checkpoint": "step-00000010", "test": measured(600)}, logged))
    assert first.what == "it has seen only 50% of its training examples"


def test_a_group_that_is_worse_is_named():
    rows_ = [
        {"group": "north", "accuracy": 0.99, "is_apart": False},
        {"group": "south", "accuracy": 0.7, "is_apart": True},
    ]
    split = measured(groups={"region": {"groups": rows_, "is_real": True}})
    (line,) = said({"test": split})
    assert "it is worse for south (region) than for all: 70.0% right of 95.0%" in line
    split["groups"]["region"]["is_real"] = False
    assert said({"test": split}) == []


def test_a_weak_class_with_few_examples_is_named_with_their_number():
    split = measured()
    split["per_class"][2] |= {"f1": 0.5}
    (line,) = said({"test": split}, n_train={"cat": 900, "dog": 1000, "owl": 50})
    assert "owl (F1 0.50)" in line
    assert "50 of owl" in line
    (line,) = said({"test": split}, n_train={"cat": 900, "dog": 1000, "owl": 800})
    assert "trained on" not in line


def test_a_temperature_ends_the_advice_to_calibrate():
    assert said({"test": measured(calibration={"ece": 0.06}), "temperature": 1.4}) == []


def test_the_gravest_comes_first():
    found = said({"test": measured(20, 60)}, n_doubtful=2)
    levels = [line.partition(":")[0] for line in found]
    assert levels == sorted(levels, key=("error", "warning", "note").index)
    assert levels[0] == "error"


def test_a_regression_that_learnt_nothing_or_by_heart_is_told():
    split = {"n": 500, "mae": 3.0, "rmse": 4.0, "r2": 0.01, "bias": 0.0}
    (line,) = [advice.what for advice in advise(Result({"checkpoint": "step-00000010", "test": split}, []))]
    assert "no better than always saying the mean" in line
    logged = [{"step": 10 * step, "mae": 1.0, "val_mae": 2.0} for step in range(1, 11)]
    (line,) = [
        one.what for one in advise(Result({"checkpoint": "step-00000010", "test": {**split, "r2": 0.8}}, logged))
    ]
    assert "mean error 1 in training, 2 on validation" in line


def test_where_nothing_was_measured_nothing_is_advised():
    assert advise(Result({}, [])) == []
