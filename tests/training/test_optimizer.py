from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.training.optimizer import FusedAdam, FusedSGD, Schedule, build_optimizer


def train_dense(optimizer: keras.optimizers.Optimizer, n_steps: int = 20) -> np.ndarray:
    dense: Any = keras.layers.Dense
    model = keras.Sequential([keras.Input((5,)), dense(3, kernel_initializer=keras.initializers.GlorotUniform(1))])
    generator = np.random.default_rng(0)
    optimizer.build(model.trainable_variables)
    for _ in range(n_steps):
        rows = tf.constant(generator.normal(size=(4, 5)).astype(np.float32))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(rows) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    return np.concatenate([one.numpy().ravel() for one in model.trainable_variables])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: FusedAdam(1e-2), lambda: keras.optimizers.Adam(1e-2)),
        (lambda: FusedAdam(1e-2, weight_decay=0.1), lambda: keras.optimizers.Adam(1e-2, weight_decay=0.1)),
        (
            lambda: FusedSGD(1e-2, momentum=0.9, nesterov=True),
            lambda: keras.optimizers.SGD(1e-2, momentum=0.9, nesterov=True),
        ),
        (lambda: FusedSGD(1e-2, momentum=0.0), lambda: keras.optimizers.SGD(1e-2)),
    ],
)
def test_a_fused_optimizer_makes_the_steps_of_keras_own(ours, theirs):
    np.testing.assert_allclose(train_dense(ours()), train_dense(theirs()), rtol=1e-5, atol=1e-6)


def test_a_cosine_rises_over_the_warm_up_and_falls_to_zero():
    rate = Schedule("cosine", peak=1.0, warmup_steps=10, n_steps=110)
    assert float(rate(0)) == pytest.approx(0.1)
    assert float(rate(9)) == pytest.approx(1.0)
    assert float(rate(60)) == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 0.5))
    assert float(rate(110)) == pytest.approx(0.0, abs=1e-6)


def test_a_line_falls_evenly_and_a_constant_stays():
    assert float(Schedule("linear", peak=2.0, warmup_steps=0, n_steps=4)(1)) == pytest.approx(1.5)
    assert float(Schedule("constant", peak=2.0, warmup_steps=0, n_steps=4)(3)) == pytest.approx(2.0)


def test_biases_and_normalisation_are_not_decayed():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, bias_initializer="ones")])
    rate = Schedule("constant", peak=0.1, warmup_steps=0, n_steps=1)
    optimizer = build_optimizer("adamw", rate, weight_decay=0.5, model=model)
    kernel, bias = (one.numpy() for one in model.trainable_variables)
    optimizer.apply([tf.zeros((5, 3)), tf.zeros(3)], model.trainable_variables)
    np.testing.assert_allclose(model.trainable_variables[0].numpy(), kernel * 0.95, rtol=1e-5)
    np.testing.assert_array_equal(model.trainable_variables[1].numpy(), bias)


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_the_rate_in_records_is_the_rate_of_the_graph(kind: str):
    schedule = Schedule(kind, peak=0.3, warmup_steps=5, n_steps=40)
    for step in (0, 3, 4, 5, 20, 39, 40):
        assert schedule.value_at(step) == pytest.approx(float(schedule(step)), rel=1e-5, abs=1e-7)
