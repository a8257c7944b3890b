"""How much a model leans on a column."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from railcar.explanation.permutation import MAX_ROWS, choose_rows, measure_importance

ROWS = np.random.default_rng(0).normal(size=(1500, 4)).astype(np.float32)
COLUMNS = {"a": [0], "b": [1, 2], "c": [3]}
WEIGHTS = np.array([2.0, 1.0, 1.0, 0.0], np.float32)


def add_up(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return (rows @ WEIGHTS)[:, None]


def judge(answers: NDArray[np.float32]) -> float:
    return float(np.abs(answers[:, 0] - ROWS @ WEIGHTS).mean())


def test_columns_count_by_their_weight_and_those_of_several_numbers_are_shuffled_as_one() -> None:
    found = {one.column: one for one in measure_importance(add_up, ROWS, COLUMNS, judge, seed=1)}

    # |N(0, s) - N(0, s)| has the mean 2 s / sqrt(pi).
    for column, deviation in (("a", 2.0), ("b", 2**0.5)):
        assert found[column].drop == pytest.approx(2 * deviation / np.pi**0.5, rel=0.05)
        assert 0 < found[column].deviation < 0.1
    assert found["c"].drop == found["c"].deviation == 0.0
    assert list(found) == ["a", "b", "c"]


def test_the_means_are_those_of_scikit_learn() -> None:
    inspection = pytest.importorskip("sklearn.inspection")
    linear = pytest.importorskip("sklearn.linear_model")
    labels = (ROWS @ WEIGHTS + np.random.default_rng(1).normal(size=len(ROWS)) > 0).astype(int)
    model = linear.LogisticRegression().fit(ROWS, labels)
    expected = inspection.permutation_importance(model, ROWS, labels, n_repeats=20, random_state=0)

    def count_errors(answers: NDArray[np.float32]) -> float:
        return float((answers.argmax(axis=1) != labels).mean())

    columns = {name: [at] for at, name in enumerate("abcd")}
    found = measure_importance(model.predict_proba, ROWS, columns, count_errors, n_repeats=20)
    drops = {one.column: one.drop for one in found}
    np.testing.assert_allclose([drops[name] for name in "abcd"], expected.importances_mean, atol=0.012)


def test_rows_stay_as_they_were_and_the_same_seed_says_the_same() -> None:
    before = ROWS.copy()
    one, other = (measure_importance(add_up, ROWS, COLUMNS, judge, n_repeats=2, seed=5) for _ in range(2))
    assert one == other and (before == ROWS).all()


def test_it_ends_when_the_time_is_over_with_the_repeats_that_it_has() -> None:
    asked: list[Any] = []

    def answer(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(len(rows))
        return add_up(rows)

    found = measure_importance(answer, ROWS, COLUMNS, judge, until=time.monotonic())
    assert sum(asked) == len(ROWS) * (1 + len(COLUMNS))
    assert found[0].drop > 0 and found[0].deviation == 0


@pytest.mark.parametrize(
    ("n", "n_columns", "rows_per_s", "expected"),
    [
        (300, 7, 1e6, (300, 5)),
        (50_000, 7, 1e6, (MAX_ROWS, 5)),
        (2000, 10, 40_000, (2000, 2)),
        (2000, 100, 40_000, (400, 1)),
        (2000, 1000, 40_000, (0, 0)),
        (40, 10, 40_000, (40, 5)),
        (40, 10, 0.0, (0, 0)),
    ],
)
def test_what_there_is_time_for_is_fewer_repeats_first_then_fewer_rows(
    n: int, n_columns: int, rows_per_s: float, expected: tuple[int, int]
) -> None:
    assert choose_rows(n, n_columns, rows_per_s, seconds=1.0) == expected
