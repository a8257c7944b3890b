"""The figures of groups are scikit-learn's of each group alone, and luck is not taken for a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from railcar.evaluation import homogeneity
from railcar.evaluation.groups import (
    MAX_GROUPS,
    NO_VALUE,
    Grouping,
    group_dates,
    group_numbers,
    group_words,
    measure_group_errors,
    measure_groups,
)
from railcar.evaluation.homogeneity import chi_square_tail, compare_means, compare_shares

sk: Any = metrics


def make_answers(n: int, n_classes: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """(labels, predicted, codes of four groups), [n] each."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, n_classes, n)
    predicted = np.where(generator.random(n) < 0.7, labels, generator.integers(0, n_classes, n))
    return labels, predicted, generator.integers(0, 4, n)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("kind", ["random", "all right", "one class", "groups of one"])
def test_each_group_is_measured_as_by_scikit_learn_alone(kind: str, n_classes: int):
    labels, predicted, codes = make_answers(300, n_classes)
    if kind == "all right":
        predicted = labels.copy()
    elif kind == "one class":
        labels[codes == 1] = 1
    elif kind == "groups of one":
        labels, predicted, codes = labels[:4], predicted[:4], np.arange(4)
    found = measure_groups(Grouping(codes, ("a", "b", "c", "d"), "values"), labels, predicted, n_classes)
    assert [row["group"] for row in found["groups"]] == ["a", "b", "c", "d"]
    for number, row in enumerate(found["groups"]):
        own, said = labels[codes == number], predicted[codes == number]
        assert row["n"] == len(own)
        assert row["accuracy"] == pytest.approx(sk.accuracy_score(own, said))
        assert row["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(own, said))
        low, high = row["accuracy_95"]
        assert low <= row["accuracy"] <= high + 1e-9
    if kind == "all right":
        assert (found["p"], found["is_real"], found["difference"]["value"]) == (1.0, False, 0.0)


def test_of_a_regression_each_group_has_its_errors():
    generator = np.random.default_rng(0)
    targets, codes = generator.normal(size=200), generator.integers(0, 3, 200)
    predicted = targets + generator.normal(size=200) * (1 + 2 * (codes == 2)) + 0.5
    found = measure_group_errors(Grouping(codes, ("a", "b", "c"), "values"), predicted, targets)
    for number, row in enumerate(found["groups"]):
        own, said = targets[codes == number], predicted[codes == number]
        assert row["mae"] == pytest.approx(sk.mean_absolute_error(own, said))
        assert row["rmse"] == pytest.approx(sk.root_mean_squared_error(own, said))
        assert row["bias"] == pytest.approx((said - own).mean())
    assert found["is_real"] and found["difference"]["high"] == "c"
    assert [row["is_apart"] for row in found["groups"]] == [True, True, True]


def test_a_group_that_is_worse_is_named_and_those_too_small_to_tell_are_not_compared():
    codes = np.repeat([0, 1, 2, 3], [200, 200, 200, 1])
    right = np.ones(601, bool)
    right[:60] = right[-1] = False
    found = measure_groups(Grouping(codes, ("a", "b", "c", "d"), "values"), np.ones(601, int), right.astype(int), 2)
    assert found["is_real"] and found["difference"] == {
        "measure": "accuracy",
        "value": pytest.approx(0.3),
        "high": "b",
        "low": "a",
    }
    assert [row["is_apart"] for row in found["groups"]] == [True, True, True, False]
    assert found["groups"][3]["p"] is None and found["groups"][3]["accuracy"] == 0.0


def test_the_verdicts_are_those_of_the_tests_they_stand_for():
    n_right, n = np.array([45, 20]), np.array([50, 30])
    exact = float(stats.fisher_exact(np.array([n_right, n - n_right])).pvalue)  # type: ignore[union-attr]
    assert compare_shares(n_right, n).p == pytest.approx(exact, abs=0.01)
    n_right, n = np.array([180, 170, 150, 195]), np.array([200, 200, 200, 210])
    table = np.array([n_right, n - n_right])
    expected: Any = stats.chi2_contingency(table, correction=False)
    assert compare_shares(n_right, n).p == pytest.approx(expected.pvalue, abs=0.01)

    generator = np.random.default_rng(3)
    values, codes = generator.exponential(size=3000), generator.integers(0, 5, 3000)
    values[codes == 2] *= 1.08
    shuffled = compare_means(values, codes, 5)
    spread = ((values - values.mean()) ** 2).sum()
    sums = np.bincount(codes, values - values.mean(), 5).astype(float)
    limit = homogeneity._judge_by_limit(sums, np.bincount(codes), float(spread))
    np.testing.assert_allclose([shuffled.p, *shuffled.p_each], [limit.p, *limit.p_each], atol=0.04)
    for degrees in (1, 2, 3, 8, 19):
        for value in (0.0, 0.3, 4.0, 40.0):
            assert chi_square_tail(value, degrees) == pytest.approx(float(stats.chi2.sf(value, degrees)), rel=1e-9)


def test_groups_that_are_alike_are_seldom_told_apart():
    generator = np.random.default_rng(0)
    n_told = {"shares": 0, "means": 0}
    for _ in range(60):
        codes = generator.integers(0, 4, 200)
        right = generator.random(200) < 0.9
        n_told["shares"] += compare_shares(np.bincount(codes, right, 4).astype(int), np.bincount(codes)).p < 0.05
        n_told["means"] += compare_means(generator.exponential(size=200)[:60], codes[:60], 4).p < 0.05
    assert max(n_told.values()) <= 8  # three of sixty would be expected


def test_a_verdict_is_the_same_each_time():
    assert compare_shares(np.array([9, 7, 3]), np.array([10, 10, 10])) == compare_shares(
        np.array([9, 7, 3]), np.array([10, 10, 10])
    )
    assert compare_shares(np.array([5]), np.array([10])).p == 1.0
    assert compare_means(np.ones(30), np.arange(30) % 3, 3).p == 1.0


def test_words_are_groups_by_size_and_what_has_none_is_the_last():
    found = group_words(["b", "a", None, "b", "c", "a", "b"])
    assert found.names == ("b", "a", "c", NO_VALUE)
    assert found.codes.tolist() == [0, 1, 3, 0, 2, 1, 0]


def test_of_many_values_the_largest_are_groups_and_the_others_are_one():
    words = [f"w{one:02}" for one in range(50) for _ in range(60 - one)]
    found = group_words(words)
    assert len(found.names) == MAX_GROUPS and found.names[-1] == "31 other values"
    assert (found.rest, found.n_rest) == (19, 31)
    assert found.names[:2] == ("w00", "w01") and (found.codes == 19).sum() == sum(60 - one for one in range(19, 50))
    right = np.arange(len(words)) % 3 > 0
    measured = measure_groups(found, np.ones(len(words), int), right.astype(int), 2)
    assert "31 other values" not in (measured["difference"]["high"], measured["difference"]["low"])
    assert sum(row["n"] for row in measured["groups"]) == len(words)


def test_numbers_are_groups_by_value_where_few_and_by_quartiles_else():
    few = group_numbers(np.array([2009.0, 2007.0, np.nan, 2009.0, 0.5]))
    assert few.names == ("0.5", "2007", "2009", NO_VALUE) and few.codes.tolist() == [2, 1, 3, 2, 0]
    values = np.arange(1, 101).astype(float)
    many = group_numbers(values)
    assert many.form == "quartiles" and many.edges == (25.75, 50.5, 75.25)
    assert many.names == ("up to 25.75", "25.75 to 50.5", "50.5 to 75.25", "above 75.25")
    assert np.bincount(many.codes).tolist() == [25, 25, 25, 25]
    # Where most have the same value, fewer groups are left, none of them empty.
    tied = group_numbers(np.array([0.0] * 90 + list(range(1, 21))))
    assert tied.names == ("up to 0", "above 0") and np.bincount(tied.codes).tolist() == [90, 20]
    top = group_numbers(np.array([50.0] * 90 + list(range(20))))
    assert top.names == ("up to 19", "above 19") and np.bincount(top.codes).tolist() == [20, 90]
    near = group_numbers(1e6 + np.arange(40) / 100)
    assert len(set(near.names)) == 4
    nothing = group_numbers(np.array([np.nan, np.nan]))
    assert nothing.names == (NO_VALUE,) and nothing.codes.tolist() == [0, 0]


def test_dates_are_groups_by_the_unit_that_gives_a_few():
    def days(*dates: str) -> Any:
        return np.array(dates, "datetime64[D]").astype(np.int64).astype(float)

    assert group_dates(days("2021-03-05", "2024-01-01", "2024-12-31")).names == ("2021", "2024")
    by_month = group_dates(np.append(days("2024-03-05", "2023-11-30", "2024-03-31") + 0.7, np.nan))
    assert by_month.names == ("2023-11", "2024-03", NO_VALUE) and by_month.codes.tolist() == [1, 0, 1, 2]
    assert by_month.form == "months"
    assert group_dates(days("2024-03-05", "2024-03-07")).names == ("2024-03-05", "2024-03-07")
    assert group_dates(days("1969-12-31", "1968-01-01", "1970-02-02")).names == ("1968", "1969", "1970")
