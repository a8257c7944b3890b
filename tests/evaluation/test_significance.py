"""Whether a difference is more than luck."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from railcar.evaluation.significance import compare_answers, compare_errors, correct_for_many, sign_test


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 1), (0, 6), (9, 25), (25, 9), (100, 140), (5000, 5300), (7, 7)])
def test_the_sign_test_is_exact(one: int, other: int):
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert sign_test(one, other) == pytest.approx(float(expected), rel=1e-9)


def test_only_examples_count_on_which_two_differ():
    one = np.array([True] * 90 + [False] * 10)
    other = np.array([True] * 80 + [False] * 10 + [False] * 8 + [True] * 2)
    found = compare_answers(one, other)
    assert (found["n"], found["n_only_one"], found["n_only_other"]) == (100, 10, 2)
    assert found["p"] == pytest.approx(float(stats.binomtest(2, 12).pvalue))


def test_of_numbers_the_nearer_one_counts():
    found = compare_errors(np.array([0.1, -0.5, 2.0, 1.0]), np.array([-0.2, 0.4, -3.0, -1.0]))
    assert (found["n_only_one"], found["n_only_other"]) == (2, 1)


def test_many_comparisons_are_corrected_as_holm_did():
    assert correct_for_many([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_for_many([0.9, 0.8]) == [1.0, 1.0]
    assert correct_for_many([]) == []


def test_equally_good_models_are_seldom_told_apart():
    generator = np.random.default_rng(0)
    n_told = 0
    for _ in range(200):
        hard = generator.random(1000)
        one, other = (generator.random(1000) > 0.3 * hard for _ in range(2))
        n_told += compare_answers(one, other)["p"] < 0.05
    assert n_told <= 14  # 5% would be 10; the exact test stays below
