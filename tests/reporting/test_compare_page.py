"""The page of `runs compare`: what stands in it, for runs that are alike, different, many, and of different data."""

from __future__ import annotations

import re
from typing import Any

import pytest

from railcar.reporting.compare_page import Compared, describe_pairs, name_letters, render_comparison

CLASSES = ["cat", "dog", "<b>"]


def make_run(name: str, f1: float = 0.9, *, fingerprint: str = "f", classes: list[str] = CLASSES) -> Compared:
    rows: list[dict[str, Any]] = [
        {"step": step, "loss": 2.0 / step, "accuracy": 1 - 1 / step, "val_loss": 2.5 / step, "val_accuracy": 0.8}
        for step in range(2, 40, 2)
    ]
    per_class = [{"class": one, "f1": f1 - 0.1 * at, "n": 50} for at, one in enumerate(classes)]
    return Compared(
        name,
        {"data": {"fingerprint": fingerprint, "n_train": 320, "source": "/home/x/photos"}, "step": 40},
        {"model": {"name": "cnn"}},
        {"test": {"accuracy": f1, "per_class": per_class}},
        rows,
    )


def make_pair(
    one: int, other: int, n_one: int, n_other: int, *, is_real: bool, test: str = "mcnemar"
) -> dict[str, Any]:
    counts = {"n": 400, "n_only_one": n_one, "n_only_other": n_other, "p": 0.001 if is_real else 0.7}
    return {"one": one, "other": other, "test": test, "is_real": is_real, **counts}


def make_comparison(runs: list[Compared], pairs: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [run.evaluation["test"]["accuracy"] for run in runs]
    return {
        "runs": [run.name for run in runs],
        "recipe": {"training.steps": [40 + at for at in range(len(runs))], "model.filters": [[32, 64]] * len(runs)},
        "metrics": {
            "test.accuracy": accuracies,
            "test.loss": [1 - one for one in accuracies],
            "test.mae": [None] * len(runs),
            "seconds_training": [12.0 + at for at in range(len(runs))],
        },
        "pairs": pairs,
    }


def test_two_runs_stand_side_by_side_with_the_better_figures_in_bold():
    runs = [make_run("good-1", 0.95), make_run("poor-2", 0.85)]
    page = render_comparison(runs, make_comparison(runs, [make_pair(0, 1, 45, 5, is_real=True)]))
    assert "A is better than B (by 10.00 points of accuracy)." in page
    assert "<td><strong>A is better</strong></td><td>0.001</td><td>45</td><td>5</td><td>400</td>" in page
    assert "<th>test accuracy</th><td><strong>95.00%</strong></td><td>85.00%</td>" in page
    assert "<th>test loss</th><td><strong>0.05</strong></td><td>0.15</td>" in page
    assert "mean error" not in page  # none of them has one
    assert "<th>training.steps</th><td>40</td><td>41</td>" in page and "[32, 64]" in page
    assert page.count('class="chart"') == 2 and page.count("<polyline") == 8
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert "320 examples of photos" in page and "/home" not in page


def test_of_equal_runs_nothing_is_in_bold_and_of_other_data_neither():
    same = [make_run("one"), make_run("two")]
    page = render_comparison(same, make_comparison(same, [make_pair(0, 1, 7, 8, is_real=False)]))
    assert "Between A and B no difference is seen that is more than luck." in page
    assert "<strong>90.00%</strong>" not in page and "<strong>0.900</strong>" not in page
    other = [make_run("one"), make_run("two", 0.8, fingerprint="g", classes=["x", "y"])]
    pair = {"one": 0, "other": 1, "reason": "they were tested on other data"}
    page = render_comparison(other, make_comparison(other, [pair]))
    assert "A and B cannot be compared: they were tested on other data." in page
    assert "<strong>90.00%</strong>" not in page and 'id="classes"' not in page


def test_more_runs_than_colours_have_lines_of_their_own():
    runs = [make_run(f"run-{at}", 0.9 - at / 100) for at in range(10)]
    page = render_comparison(
        runs, make_comparison(runs, [make_pair(0, at, 9, 5, is_real=False) for at in range(1, 10)])
    )
    assert "Between A and B, C, D, E, F, G, H, I or J no difference" in page
    lines = set(re.findall(r'<polyline class="([^"]*)"', page))
    assert len(lines) == 20 and page.count("<polyline") == 40  # training and validation, of loss and accuracy


def test_a_run_without_files_is_shown_without_them():
    runs = [Compared("one"), Compared("two")]
    comparison = {"runs": ["one", "two"], "recipe": {}, "metrics": {"step": [None, None]}, "pairs": []}
    page = render_comparison(runs, comparison)
    assert "No key differs." in page and 'id="curves"' not in page and 'id="metrics"' not in page


@pytest.mark.parametrize("test", ["mcnemar", "sign"])
def test_verdicts_are_told_by_who_wins(test: str):
    pairs = [
        make_pair(0, 1, 5, 45, is_real=True, test=test),
        make_pair(0, 2, 9, 8, is_real=False, test=test),
        make_pair(1, 2, 30, 10, is_real=True, test=test),
    ]
    first, second = describe_pairs(pairs, name_letters(3))
    by = (" (by 10.00 points of accuracy)", " (by 5.00 points of accuracy)") if test == "mcnemar" else ("", "")
    assert first == f"B is better than A{by[0]} and C{by[1]}."
    assert second == "Between A and C no difference is seen that is more than luck."
    assert name_letters(28)[-2:] == ["27", "28"]
