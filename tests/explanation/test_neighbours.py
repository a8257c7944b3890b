"""Who is nearest, and among whom."""

from __future__ import annotations

import numpy as np
import pytest

from railcar.explanation.neighbours import draw_balanced, find_nearest


def test_the_nearest_are_those_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    generator = np.random.default_rng(0)
    examples, queries = generator.normal(size=(300, 20)), generator.normal(size=(17, 20))
    expected = neighbors.NearestNeighbors(n_neighbors=3, metric="cosine", algorithm="brute").fit(examples)
    distances, indices = expected.kneighbors(queries)

    nearest, far = find_nearest(queries.astype(np.float32), examples.astype(np.float32))

    np.testing.assert_array_equal(nearest, indices)
    np.testing.assert_allclose(far, distances, atol=1e-5)


def test_length_does_not_count_and_an_example_is_not_its_own_neighbour() -> None:
    examples = np.array([[1, 0], [5, 0], [0, 2], [-1, 0]], np.float32)
    nearest, far = find_nearest(examples[:2] * 7, examples, k=2, own=np.array([0, -1]))

    assert nearest.tolist() == [[1, 2], [0, 1]]
    np.testing.assert_allclose(far, [[0, 1], [0, 0]], atol=1e-6)


def test_of_few_examples_there_are_few_neighbours() -> None:
    nearest, far = find_nearest(np.ones((2, 3), np.float32), np.ones((1, 3), np.float32))
    assert nearest.shape == far.shape == (2, 1)


def test_zeros_large_numbers_and_what_is_no_number_have_distances_too() -> None:
    queries = np.array([[0, 0], [np.nan, 1], [3e38, 3e38]], np.float32)
    nearest, far = find_nearest(queries, np.array([[0, 1], [np.inf, 0], [1, 1]], np.float32))

    assert np.isfinite(far).all() and far[0].tolist() == [1, 1, 1]
    assert nearest[1, 0] == 0 and nearest[2, 0] == 2


def test_each_beginning_of_the_sample_has_as_many_of_each_class_while_they_last() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    order = draw_balanced(labels, 1000, seed=3)

    assert sorted(order) == list(range(1000))
    assert np.bincount(labels[order[:30]]).tolist() == [10, 10, 10]
    assert np.bincount(labels[order[:130]]).tolist() == [60, 60, 10]
    np.testing.assert_array_equal(order, draw_balanced(labels, 1000, seed=3))
    assert (order != draw_balanced(labels, 1000, seed=4)).any()
    assert sorted(draw_balanced(None, 50, seed=3)) == list(range(50))
