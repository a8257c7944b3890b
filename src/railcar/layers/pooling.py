"""Maximum pooling whose gradient is one pass over memory.

TensorFlow's kernel for the gradient of a maximum takes ten times as long as that for the maximum on a CPU, as long as
the convolution before it; compiled by XLA it is one pass (`docs/concepts/performance.md`).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("railcar")
class FusedMaxPooling2D(keras.layers.MaxPooling2D):
    """[n, height, width, channels] -> [n, height / 2, width / 2, channels], as Keras' MaxPooling2D(2).

    With `is_fused`, which `training/kernels.py` sets and which is never saved, the gradient is compiled by XLA; where
    several values of a window are the largest, the first gets it. Other sizes and strides than 2 are Keras' own.
    """

    is_fused = False

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        is_known = None not in inputs.shape[1:] and self.data_format == "channels_last"
        if self.is_fused and training and is_known and self.pool_size == self.strides == (2, 2):
            return _pool(inputs, self.padding.upper())
        return super().call(inputs)


def _pool(inputs: Any, padding: str) -> Any:
    @tf.custom_gradient
    def compute(inputs: Any) -> Any:
        largest = tf.nn.max_pool2d(inputs, 2, 2, padding)
        return largest, lambda upstream: _hand_back(inputs, largest, upstream)

    return compute(inputs)


@tf.function(jit_compile=True, autograph=False)
def _hand_back(inputs: Any, largest: Any, upstream: Any) -> Any:
    """`upstream` [n, rows, columns, channels] to the place of each window's largest value."""
    height, width = inputs.shape[1:3]
    rows, columns = largest.shape[1:3]
    is_free = tf.ones_like(upstream, tf.bool)
    places: list[list[Any]] = [[], []]
    for down in (0, 1):
        for right in (0, 1):
            values = inputs[:, down : rows * 2 : 2, right : columns * 2 : 2]
            short = [[0, 0], [0, rows - values.shape[1]], [0, columns - values.shape[2]], [0, 0]]
            is_largest = tf.pad(values == largest[:, : values.shape[1], : values.shape[2]], short) & is_free
            is_free &= ~is_largest
            places[down].append(tf.where(is_largest, upstream, tf.zeros_like(upstream)))
    pairs = tf.stack([tf.stack(row, axis=3) for row in places], axis=2)
    whole = tf.reshape(pairs, (-1, rows * 2, columns * 2, inputs.shape[3]))[:, :height, :width]
    return tf.pad(whole, [[0, 0], [0, max(height - 2 * rows, 0)], [0, max(width - 2 * columns, 0)], [0, 0]])
