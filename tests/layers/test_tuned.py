from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.layers.pooling import FusedMaxPooling2D
from railcar.layers.tuned import INPUT, KERNEL, TunedConv2D, TunedDense


def _differentiate(layer: Any, inputs: Any, *, training: bool = True) -> list[Any]:
    """Output, and the gradients of a sum of its cubes by the input and the layer's variables."""
    tape: Any = tf.GradientTape()
    with tape:
        tape.watch(inputs)
        output = layer(inputs, training=training) if isinstance(layer, FusedMaxPooling2D) else layer(inputs)
        total = tf.reduce_sum(tf.cast(output, tf.float32) ** 3)
    return [output, *tape.gradient(total, [inputs, *(one.value for one in layer.trainable_variables)])]


def _normal(*shape: int, seed: int = 0) -> Any:
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("forward", [{INPUT}, {KERNEL}, {INPUT, KERNEL}])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(3, 3), (2, 2), (4, 5), (1, 1)])
def test_a_convolution_has_the_same_gradients_either_way(forward: set[str], padding: str, size: tuple[int, int]):
    inputs = _normal(5, 9, 7, 3)
    layer: Any = TunedConv2D(4, size, padding=padding, activation="relu")
    own = _differentiate(layer, inputs)
    assert layer.tunable_gradients == (INPUT, KERNEL)
    layer.forward_gradients = frozenset(forward)
    for one, other in zip(_differentiate(layer, inputs), own, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-4)


def test_a_convolution_that_strides_has_no_choice():
    assert TunedConv2D(4, 3, strides=2).tunable_gradients == ()
    assert TunedConv2D(4, 3, dilation_rate=2).tunable_gradients == ()


def test_a_dense_layer_has_the_same_gradients_either_way():
    inputs = _normal(6, 20)
    layer: Any = TunedDense(8, activation="relu", bias_initializer="ones")
    own = _differentiate(layer, inputs)
    layer.forward_gradients = frozenset({INPUT})
    for one, other in zip(_differentiate(layer, inputs), own, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-4)
    half: Any = TunedDense(8, dtype="mixed_bfloat16")
    half.forward_gradients = frozenset({INPUT})
    assert half(inputs).dtype == tf.bfloat16


def test_what_is_saved_knows_nothing_of_the_choice(tmp_path: Path):
    inputs = keras.Input((6, 6, 1))
    convolution: Any = TunedConv2D(2, 3, name="convolution")
    hidden = keras.layers.Flatten()(FusedMaxPooling2D(2)(convolution(inputs)))
    model = keras.Model(inputs, TunedDense(3)(hidden))
    convolution.forward_gradients = frozenset({INPUT, KERNEL})
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.get_layer("convolution").forward_gradients == frozenset()
    images = _normal(2, 6, 6, 1)
    np.testing.assert_allclose(loaded(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (3, 3), (2, 2)])
def test_fused_pooling_has_the_values_and_gradients_of_keras_own(padding: str, size: tuple[int, int]):
    inputs = _normal(3, *size, 4)
    layer: Any = FusedMaxPooling2D(2, padding=padding)
    plain = _differentiate(layer, inputs)
    layer.is_fused = True
    for one, other in zip(_differentiate(layer, inputs), plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_equal_values_in_a_window_one_gets_the_whole_gradient():
    layer: Any = FusedMaxPooling2D(2)
    layer.is_fused = True
    _, gradient = _differentiate(layer, tf.ones((1, 4, 4, 1)))
    expected = np.zeros((4, 4), np.float32)
    expected[::2, ::2] = 3.0
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


def test_pooling_of_other_sizes_is_keras_own():
    inputs = _normal(2, 9, 9, 3)
    for size, strides in ((3, None), (2, 1)):
        ours: Any = FusedMaxPooling2D(size, strides)
        ours.is_fused = True
        theirs: Any = keras.layers.MaxPooling2D(size, strides)
        np.testing.assert_array_equal(ours(inputs, training=True), theirs(inputs))


def test_no_gradient_kernel_of_tensorflow_is_left_in_the_graph_when_all_are_computed_otherwise():
    convolution: Any = TunedConv2D(4, 3, padding="same")
    pooling: Any = FusedMaxPooling2D(2)

    def find() -> set[str]:
        def learn(inputs: Any) -> Any:
            tape: Any = tf.GradientTape()
            with tape:
                tape.watch(inputs)
                total = tf.reduce_sum(pooling(convolution(inputs), training=True) ** 2)
            return tape.gradient(total, [inputs, convolution.kernel.value])

        traced: Any = tf.function(learn, autograph=False).get_concrete_function(tf.TensorSpec((2, 8, 8, 3)))
        own = ("Conv2DBackpropInput", "Conv2DBackpropFilter", "MaxPoolGrad")
        return {operation.type for operation in traced.graph.get_operations()} & set(own)

    convolution(tf.zeros((1, 8, 8, 3)))
    assert find() == {"Conv2DBackpropInput", "Conv2DBackpropFilter", "MaxPoolGrad"}
    convolution.forward_gradients, pooling.is_fused = frozenset({INPUT, KERNEL}), True
    assert find() == set()
