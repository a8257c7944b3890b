from __future__ import annotations

import numpy as np

from railcar.data.balance import oversample, weigh_classes
from railcar.data.types import Split

LABELS = np.array([0] * 60 + [1] * 30 + [2] * 7, np.int32)


def test_weights_let_all_classes_count_alike():
    weights = np.array(weigh_classes(LABELS, 3))
    shares = np.bincount(LABELS, weights[LABELS])
    np.testing.assert_allclose(shares, len(LABELS) / 3)
    assert weigh_classes(LABELS[:90], 3)[2] > 0


def test_oversampling_repeats_each_example_about_as_often_and_the_same_ones_for_a_seed():
    split = Split("train", np.zeros((97, 1)), LABELS, np.arange(97), "row")
    balanced = oversample(split, 3, seed=1)
    assert np.bincount(balanced.label_array()).tolist() == [60, 60, 60]
    times = np.bincount(balanced.rows)
    assert times[:60].tolist() == [1] * 60 and times[60:90].tolist() == [2] * 30
    assert sorted(times[90:].tolist()) == [8, 8, 8, 9, 9, 9, 9]
    assert np.array_equal(oversample(split, 3, seed=1).rows, balanced.rows)
    assert not np.array_equal(oversample(split, 3, seed=2).rows, balanced.rows)
