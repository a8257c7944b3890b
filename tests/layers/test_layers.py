from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.layers.activation import FusedActivation
from railcar.layers.images import ResizeImages, ScaleImages, average_views, resize_images
from railcar.layers.norm import FusedBatchNormalization
from railcar.layers.whiten import WhitenPatches


def test_an_image_resized_before_is_the_same_as_one_resized_in_the_model():
    images = np.random.default_rng(0).integers(0, 256, (3, 31, 17, 3), dtype=np.uint8)
    before = resize_images(images, (12, 10)).numpy()
    layer = ResizeImages(12, 10)
    np.testing.assert_array_equal(layer(tf.constant(images)).numpy(), before)
    np.testing.assert_array_equal(layer(tf.constant(before)).numpy(), before)
    assert before.dtype == np.uint8


def test_scaling_subtracts_and_divides_channel_by_channel():
    images = np.array([[[[10, 200]]]], np.uint8)
    scaled = ScaleImages((10.0, 100.0), (2.0, 50.0))(tf.constant(images)).numpy()
    np.testing.assert_allclose(scaled.ravel(), [0.0, 2.0], rtol=1e-6)
    assert ScaleImages((0.0,), (1.0,), dtype="mixed_bfloat16")(tf.constant(images[..., :1])).dtype == tf.bfloat16


@pytest.mark.parametrize("training", [True, False])
def test_fused_batch_normalisation_computes_what_keras_does(training: bool):
    images = tf.constant(np.random.default_rng(0).normal(2.0, 3.0, (8, 5, 5, 4)).astype(np.float32))
    ours: Any
    theirs: Any
    ours, theirs = FusedBatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    for layer in (ours, theirs):
        layer.build(images.shape)
        layer.gamma.assign([1.0, 2.0, 0.5, 1.5])
        layer.beta.assign([0.0, 1.0, -1.0, 0.5])
    tape: Any = tf.GradientTape(persistent=True)
    with tape:
        tape.watch(images)
        left, right = ours(images, training=training), theirs(images, training=training)
        sums = tf.reduce_sum(left**3), tf.reduce_sum(right**3)
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(tape.gradient(sums[0], images), tape.gradient(sums[1], images), rtol=2e-3, atol=2e-2)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-4, atol=1e-5)
    # TensorFlow's kernel keeps the unbiased variance: n / (n - 1), n = 8 * 5 * 5
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=200 / 199 - 1 + 1e-4)


def _shift(images: np.ndarray, by: int) -> np.ndarray:
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return wide[:, 1 + by : 7 + by, 1 + by : 7 + by]


@pytest.mark.parametrize(("mirror", "shift"), [(True, False), (False, True), (True, True)])
def test_views_are_averaged_and_the_model_is_saved_with_that(tmp_path: Path, mirror: bool, shift: bool):
    inputs = keras.Input((None, None, 1), dtype="uint8", name="image")
    hidden = ScaleImages((0.0,), (255.0,))(ResizeImages(6, 6)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(hidden)), name="tiny")
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 1), dtype=np.uint8)
    both = average_views(network, size=(6, 6), mirror=mirror, shift=shift)

    def answer(seen: np.ndarray) -> np.ndarray:
        return (network(seen).numpy() + network(seen[:, :, ::-1]).numpy()) / 2 if mirror else network(seen).numpy()

    expected = answer(images)
    if shift:
        expected = expected / 2 + (answer(_shift(images, -1)) + answer(_shift(images, 1))) / 4
    np.testing.assert_allclose(both(images).numpy(), expected, rtol=1e-5)
    assert [one.name for one in both.variables] == [one.name for one in network.variables]
    both.save(tmp_path / "model.keras")
    loaded: Any = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(loaded(images).numpy(), both(images).numpy())


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_fused_activations_have_the_values_and_gradients_of_keras_own(name: str):
    values = tf.constant(np.linspace(-6.0, 6.0, 401, dtype=np.float32).reshape(1, 401))
    plain: Any = keras.activations.get(name)
    layer: Any = FusedActivation(name)
    results = []
    for compute in (plain, lambda one: layer(one, training=True), lambda one: layer(one, training=False)):
        tape: Any = tf.GradientTape()
        with tape:
            tape.watch(values)
            output = compute(values)
        results.append((output.numpy(), tape.gradient(output, values).numpy()))
    for output, gradient in results[1:]:
        np.testing.assert_allclose(output, results[0][0], atol=2e-6)
        np.testing.assert_allclose(gradient, results[0][1], atol=2e-6)
    half = FusedActivation(name, dtype="mixed_bfloat16")
    assert half(tf.cast(values, tf.bfloat16), training=True).dtype == tf.bfloat16


def test_whitened_patches_are_uncorrelated_with_variance_one(tmp_path: Path):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(50, 9, 9, 3)).astype(np.float32)
    images = images + np.roll(images, 1, axis=1) + 0.5 * np.roll(images, 1, axis=2) + images.mean(axis=3, keepdims=True)
    layer: Any = WhitenPatches(2)
    layer.build(images.shape)
    layer.adapt(images, epsilon=0.0)
    patches = layer(images).numpy().reshape(-1, 24)
    covariance = patches.T @ patches / len(patches)
    np.testing.assert_allclose(covariance[:12, :12], np.eye(12), atol=1e-3)
    np.testing.assert_allclose(patches[:, 12:], -patches[:, :12], atol=1e-5)
    assert [one.name for one in layer.trainable_variables] == ["bias"]
