"""Activations whose forward and backward are one pass over memory each.

TensorFlow computes GELU and its gradient in about fifteen passes on a CPU; compiled by XLA they are two, which takes a
third of the time (`docs/concepts/performance.md`). ReLU and its like are one pass anyway.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

FUSED = ("gelu", "silu")


@keras.saving.register_keras_serializable("railcar")
class FusedActivation(keras.layers.Layer):
    """GELU (Hendrycks and Gimpel, 2016, the exact one) or SiLU, any shape -> the same shape and dtype.

    In training it is compiled by XLA and computes in float32; otherwise it is Keras' own, so that exported models hold
    plain operations.
    """

    def __init__(self, activation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training:
            return _gelu(inputs) if self.activation == "gelu" else _silu(inputs)
        plain: Any = keras.activations.get(self.activation)
        return plain(inputs)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}


def build_activation(activation: str, **kwargs: Any) -> keras.layers.Layer:
    """The layer for a recipe's `model.activation`."""
    kind: Any = FusedActivation if activation in FUSED else keras.layers.Activation
    return kind(activation, **kwargs)


@tf.custom_gradient
def _gelu(values: Any) -> Any:
    return _gelu_forward(values), lambda upstream: _gelu_backward(values, upstream)


@tf.custom_gradient
def _silu(values: Any) -> Any:
    return _silu_forward(values), lambda upstream: _silu_backward(values, upstream)


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _gelu_forward(values: Any) -> Any:
    wide = tf.cast(values, tf.float32)
    return tf.cast(wide * _normal_share(wide), values.dtype)


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _gelu_backward(values: Any, upstream: Any) -> Any:
    wide = tf.cast(values, tf.float32)
    slope = _normal_share(wide) + wide * tf.exp(-0.5 * wide * wide) / math.sqrt(2.0 * math.pi)
    return tf.cast(tf.cast(upstream, tf.float32) * slope, values.dtype)


def _normal_share(values: Any) -> Any:
    """The standard normal distribution's cumulative function."""
    return 0.5 * (1.0 + tf.math.erf(values * math.sqrt(0.5)))


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _silu_forward(values: Any) -> Any:
    wide = tf.cast(values, tf.float32)
    return tf.cast(wide * tf.sigmoid(wide), values.dtype)


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _silu_backward(values: Any, upstream: Any) -> Any:
    wide = tf.cast(values, tf.float32)
    share = tf.sigmoid(wide)
    return tf.cast(tf.cast(upstream, tf.float32) * share * (1.0 + wide * (1.0 - share)), values.dtype)
