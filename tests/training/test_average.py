from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from railcar.training.average import WeightAverage


def make_model() -> keras.Model:
    model: Any = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, use_bias=False), keras.layers.Dropout(0.5, seed=1)]
    )
    model.layers[0].set_weights([np.zeros((2, 1), np.float32)])
    return model


def test_the_average_follows_the_weights_fast_at_first_and_slowly_later():
    model = make_model()
    average = WeightAverage(model, decay=0.9, every=2, lookahead=False, n_steps=100)
    expected = 0.0
    for step in range(1, 41):
        model.layers[0].kernel.assign(np.full((2, 1), float(step)))
        average.update(tf.constant(step, tf.int64))
        if step % 2 == 0:
            kept = min(0.9**2, (1 + step / 2) / (10 + step / 2))
            expected = kept * expected + (1 - kept) * step
        np.testing.assert_allclose(average.variables[0].numpy(), expected, rtol=1e-5)
    assert model.layers[0].kernel.numpy()[0, 0] == 40.0


def test_with_lookahead_the_weights_go_on_from_the_average():
    model = make_model()
    average = WeightAverage(model, decay=0.5, every=1, lookahead=True, n_steps=2)
    model.layers[0].kernel.assign(np.full((2, 1), 8.0))
    average.update(tf.constant(1, tf.int64))
    kept = 0.5 * 0.5**3
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), 8.0 * (1 - kept), rtol=1e-6)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), average.variables[0].numpy())


def test_the_average_stands_in_for_the_weights_and_goes_again():
    model = make_model()
    average = WeightAverage(model, decay=0.9, every=1, lookahead=False, n_steps=10)
    model.layers[0].kernel.assign(np.full((2, 1), 5.0))
    with average.in_place():
        np.testing.assert_array_equal(model.layers[0].kernel.numpy(), 0.0)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), 5.0)
    assert [one.name for one in average.variables] == [one.name for one in model.variables]
    assert [one.dtype for one in average.variables] == [one.dtype for one in model.variables]
