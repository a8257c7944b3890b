"""Vectors of words -> one of the whole text."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("railcar")
class AverageWords(keras.layers.Layer):
    """[vectors [n, words, width], words int [n, words]] -> [n, width]: the mean of the vectors of the words that are
    there (their number is not 0); zeros for a text without any."""

    def call(self, inputs: Any) -> Any:
        vectors, words = inputs
        weights = tf.cast(tf.not_equal(words, 0), vectors.dtype)[..., None]
        total = tf.reduce_sum(vectors * weights, axis=1)
        return total / tf.maximum(tf.reduce_sum(weights, axis=1), tf.cast(1.0, vectors.dtype))

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        vectors = inputs[0]
        return keras.KerasTensor((vectors.shape[0], vectors.shape[2]), dtype=self.compute_dtype)
