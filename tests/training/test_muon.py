from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from railcar.models.airbench import adapt_whitening, build_airbench
from railcar.training.muon import Muon, make_orthogonal
from railcar.training.optimizer import Schedule


def test_all_singular_values_of_an_update_come_near_one():
    for shape in ((90, 16), (16, 90), (20, 20)):
        matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32) @ np.diag(
            np.geomspace(1.0, 20.0, shape[1]).astype(np.float32)
        )
        result = make_orthogonal(tf.constant(matrix), n_iterations=6).numpy()
        values = np.linalg.svd(result, compute_uv=False)
        assert result.shape == shape and values.min() > 0.5 and values.max() < 1.3


def test_filters_keep_their_norm_and_the_others_get_sgd():
    make: Any = tf.Variable
    kernel = make(np.random.default_rng(0).normal(size=(3, 3, 4, 8)).astype(np.float32))
    bias, head = make(np.ones(8, np.float32)), make(np.ones((8, 3), np.float32))
    schedule = Schedule("linear", peak=0.2, warmup_steps=0, n_steps=10)
    optimizer = Muon(schedule, momentum=0.6, bias_learning_rate=2.0, head_learning_rate=0.5, decay=0.1)
    optimizer.build([kernel, bias, head])
    optimizer.apply([tf.ones_like(one) for one in (kernel, bias, head)], [kernel, bias, head])
    # All gradients are equal: the update of the filters has one singular value, of length about one.
    assert abs(np.linalg.norm(kernel.numpy()) - np.sqrt(8)) < 0.2 * 1.3
    # Nesterov: (1 + momentum) times rate times (gradient + decay / rate * weight).
    np.testing.assert_allclose(bias.numpy(), 1.0 - 1.85 * 2.0 * (1.0 + 0.1 / 2.0), rtol=1e-5)
    np.testing.assert_allclose(head.numpy(), 1.0 - 1.85 * 0.5 * (1.0 + 0.1 / 0.5), rtol=1e-5)


def test_the_network_of_airbench_begins_with_filters_that_pass_their_input_on():
    model = build_airbench(image_shape=(16, 16, 3), n_classes=5, mean=(1.0,) * 3, std=(2.0,) * 3, filters=(32, 40))
    kernel = model.get_layer("conv1_1").kernel.numpy()
    np.testing.assert_array_equal(kernel[1, 1, :, :24], np.eye(24))
    assert np.abs(kernel[..., 24:]).max() > 0
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    assert not model.get_layer("whiten").kernel.numpy().any()
    adapt_whitening(model, lambda: images)
    assert model.get_layer("whiten").kernel.numpy().any()
    assert model(images).shape == (20, 5)
