"""Members of one network: own losses in training, one answer outside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.layers.members import MemberAnswers, MemberDense
from railcar.training.compiled import build_comparison


def _model(n_outputs: int) -> keras.Model:
    rows = keras.Input((3,), dtype="float32")
    hidden = MemberDense(5, 4, activation="relu", differ=True, seed=1, name="dense1")(rows)
    hidden = MemberDense(5, 4, activation="relu", seed=3, name="dense2")(hidden)
    return keras.Model(rows, MemberAnswers(n_outputs, seed=5, name="logits")(hidden))


def test_members_share_their_weights_and_begin_from_other_signs():
    layer = MemberDense(5, 4, differ=True, seed=1)
    rows = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    found = np.asarray(layer(rows))

    signs = np.asarray(layer.scale_in).reshape(4, 3)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert found == pytest.approx(np.einsum("nmi,iu->nmu", rows[:, None] * signs, np.asarray(layer.kernel)), rel=1e-5)


def test_in_training_each_answers_for_itself_and_else_by_the_mean_of_their_probabilities():
    model = _model(3)
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    each = np.asarray(model(rows, training=True))
    together = np.asarray(model(rows, training=False))

    assert each.shape == (6, 4, 3)
    mean = np.asarray(tf.nn.softmax(each)).mean(axis=1)
    assert np.exp(together) == pytest.approx(mean, rel=1e-5)


def test_of_a_regression_the_mean_of_their_numbers_is_the_answer():
    model = _model(1)
    rows = np.ones((2, 3), np.float32)
    assert np.asarray(model(rows)) == pytest.approx(np.asarray(model(rows, training=True)).mean(axis=1), rel=1e-5)


def test_the_loss_is_the_mean_of_the_members_and_a_hit_is_one_of_their_common_answer():
    outputs = tf.constant([[[4.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    losses, hits = build_comparison(0.0, None, None)(tf.constant([0, 0]), outputs)

    apart = -np.log(np.asarray(tf.nn.softmax(outputs))[..., 0])
    assert np.asarray(losses) == pytest.approx(apart.mean(axis=1), rel=1e-5)
    assert np.asarray(hits).tolist() == [1.0, 0.0]


def test_of_numbers_errors_are_those_of_the_mean():
    losses, errors = build_comparison(0.0, 10.0, None)(tf.constant([1.0]), tf.constant([[[0.0], [4.0]]]))
    assert np.asarray(losses) == pytest.approx([(1 + 9) / 2])
    assert np.asarray(errors) == pytest.approx([10.0])


def test_a_saved_model_of_members_answers_as_before(tmp_path: Path):
    model = _model(2)
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(np.asarray(model(rows)), np.asarray(loaded(rows)))
